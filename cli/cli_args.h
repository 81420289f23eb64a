/* cli/cli_args.h: the words and options of one command line.
 *
 * "--name value" and "--name=value" are the same; "--" ends the options; options and words may mix.
 * An option given twice counts as its last, unless all of its values are asked for.
 *
 * Owns:    nothing; words and values point into argv.
 * Errors:  SL_EINVAL with a sentence that names the option or word.
 * Threads: any.
 */
#ifndef SL_CLI_CLI_ARGS_H
#define SL_CLI_CLI_ARGS_H

#include <stdbool.h>

#include "base/error.h"

#define CLI_OPTIONS_MAX 16
#define CLI_WORDS_MAX   8
#define CLI_GIVEN_MAX   64 /* options on one line */

struct cli_option {
    const char *name;  /* without its dashes */
    const char *value; /* what usage calls its value; NULL: a switch */
    const char *help;
};

struct cli_args {
    const char *words[CLI_WORDS_MAX];
    int word_count;
    const struct cli_option *options;
    int option_count;
    const char *values[CLI_OPTIONS_MAX]; /* by option; NULL: not given; "" for a switch that was */
    struct {
        int option;
        const char *value;
    } given[CLI_GIVEN_MAX]; /* in their order */
    int given_count;
};

/* argv[0] is the first word or option. With stop_at_word parsing ends before the first word; *out_used is
 * how many were read (NULL is allowed). */
int cli_args_parse(int argc, char *const *argv, const struct cli_option *options, int option_count,
                   bool stop_at_word, struct cli_args *out, int *out_used, struct sl_failure *why);

/* The value of an option, or NULL when it was not given. */
const char *cli_args_text(const struct cli_args *args, const char *name);
/* Its n-th value, from 0; NULL past the last. */
const char *cli_args_nth(const struct cli_args *args, const char *name, int n);
bool cli_args_has(const struct cli_args *args, const char *name);

#endif
