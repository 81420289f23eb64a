/* cli/cli_term.h: where text for people goes, and how it is kept harmless there.
 *
 * Names come from strangers: file names, node names, messages of demuxers. Before they reach a terminal or
 * a line of output, control characters (C0, DEL, C1), line separators, characters that turn the direction
 * of writing, and bytes that are no UTF-8 become U+FFFD (or "?" where the locale is not UTF-8).
 *
 * Units:   columns are what a terminal's cursor moves by: 0, 1 or 2 per character.
 * Threads: any; cli_term_open reads the environment once.
 */
#ifndef SL_CLI_CLI_TERM_H
#define SL_CLI_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"

#define CLI_WIDTH_MIN 20

enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW, CLI_BLUE };

struct cli_term {
    FILE *file;
    bool terminal;
    bool colour; /* a terminal, NO_COLOR unset, TERM not "dumb" */
    bool utf8;
};

void cli_term_open(struct cli_term *term, FILE *file);

/* Columns now: asked afresh, since windows change. At least CLI_WIDTH_MIN; 0 when not a terminal: no limit. */
int cli_term_width(const struct cli_term *term);

/* Appends text made harmless, cut to columns with "…" when longer (columns < 0: whole). Returns the columns used. */
int cli_term_text(const struct cli_term *term, struct sl_buf *out, const char *text, int columns);

/* Columns that cli_term_text would use without a limit. */
int cli_term_columns(const struct cli_term *term, const char *text);

/* Appends the escape sequence for a colour, nothing without colour. CLI_PLAIN ends one. */
void cli_term_colour(const struct cli_term *term, struct sl_buf *out, enum cli_colour colour);

/* The colour of a state's word: green when fine, red when failed, yellow when in between. */
enum cli_colour cli_term_state_colour(const char *word);

void cli_term_spaces(struct sl_buf *out, int count);

/* Writes and flushes; drops the buffer's text. */
void cli_term_write(const struct cli_term *term, struct sl_buf *text);

#endif
