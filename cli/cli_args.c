#include "cli/cli_args.h"

#include <assert.h>
#include <string.h>

static int option_find(const struct cli_option *options, int option_count, const char *name,
                       size_t length)
{
    for (int i = 0; i < option_count; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
            return i;
    return -1;
}

/* The option nearest in spelling, for the sentence; NULL when none begins alike. */
static const char *option_like(const struct cli_option *options, int option_count, const char *name,
                               size_t length)
{
    for (size_t n = length < 4 ? length : 4; n >= 2; n--)
        for (int i = 0; i < option_count; i++)
            if (strncmp(options[i].name, name, n) == 0)
                return options[i].name;
    return NULL;
}

int cli_args_parse(int argc, char *const *argv, const struct cli_option *options, int option_count,
                   bool stop_at_word, struct cli_args *out, int *out_used, struct sl_failure *why)
{
    assert(option_count <= CLI_OPTIONS_MAX);
    struct cli_args args = {.options = options, .option_count = option_count};
    bool words_only = false;
    int i = 0;
    for (; i < argc; i++) {
        const char *text = argv[i];
        if (!words_only && strcmp(text, "--") == 0) {
            words_only = true;
            continue;
        }
        if (words_only || text[0] != '-' || text[1] == '\0') {
            if (stop_at_word)
                break;
            if (args.word_count == CLI_WORDS_MAX)
                return sl_fail(why, SL_EINVAL, "too many words: \"%s\" is one too many", text);
            args.words[args.word_count++] = text;
            continue;
        }
        const char *name = text + 1;
        if (strcmp(text, "-h") == 0)
            name = "help";
        else if (text[1] == '-')
            name = text + 2;
        else
            return sl_fail(why, SL_EINVAL, "there is no option \"%s\"; options begin with --",
                           text);
        size_t length = strcspn(name, "=");
        int at = option_find(options, option_count, name, length);
        if (at < 0) {
            const char *like = option_like(options, option_count, name, length);
            return sl_fail(why, SL_EINVAL, "there is no option \"--%.*s\"%s%s%s", (int)length, name,
                           like ? "; did you mean --" : "", like ? like : "", like ? "?" : "");
        }
        if (!options[at].value) {
            if (name[length] == '=')
                return sl_fail(why, SL_EINVAL, "--%s takes no value", options[at].name);
            args.values[at] = "";
        } else if (name[length] == '=') {
            args.values[at] = name + length + 1;
        } else if (i + 1 < argc) {
            args.values[at] = argv[++i];
        } else {
            return sl_fail(why, SL_EINVAL, "--%s needs %s after it", options[at].name,
                           options[at].value);
        }
        if (options[at].value && args.values[at][0] == '\0')
            return sl_fail(why, SL_EINVAL, "--%s needs %s, not an empty word", options[at].name,
                           options[at].value);
        if (args.given_count == CLI_GIVEN_MAX)
            return sl_fail(why, SL_EINVAL, "too many options: %d are the most", CLI_GIVEN_MAX);
        args.given[args.given_count].option = at;
        args.given[args.given_count++].value = args.values[at];
    }
    *out = args;
    if (out_used)
        *out_used = i;
    return SL_OK;
}

const char *cli_args_text(const struct cli_args *args, const char *name)
{
    int at = option_find(args->options, args->option_count, name, strlen(name));
    assert(at >= 0);
    return args->values[at];
}

const char *cli_args_nth(const struct cli_args *args, const char *name, int n)
{
    int at = option_find(args->options, args->option_count, name, strlen(name));
    assert(at >= 0);
    for (int i = 0; i < args->given_count; i++)
        if (args->given[i].option == at && n-- == 0)
            return args->given[i].value;
    return NULL;
}

bool cli_args_has(const struct cli_args *args, const char *name)
{
    return cli_args_text(args, name) != NULL;
}
