/* cli/cli_table.h: rows and columns that fit the terminal.
 *
 * On a terminal too narrow for a table first the columns that may give way are cut ("…"), then those
 * that may be left out are. Into a file or pipe everything is written whole.
 *
 * Owns:    copies of its cells; freed by cli_table_print.
 * Errors:  rows over CLI_ROWS_MAX are counted and said at the end.
 * Threads: one thread per table.
 */
#ifndef SL_CLI_CLI_TABLE_H
#define SL_CLI_CLI_TABLE_H

#include "cli/cli_term.h"

#define CLI_COLUMNS_MAX 12
#define CLI_ROWS_MAX    100000

enum cli_fit {
    CLI_KEEP,  /* always whole: an id that a person will copy */
    CLI_CUT,   /* may be cut down */
    CLI_SPARE, /* may be left out, later columns before earlier ones */
    CLI_STATE  /* kept whole and coloured by its word */
};

struct cli_column {
    const char *title;
    enum cli_fit fit;
    bool right; /* numbers */
};

struct cli_table;

struct cli_table *cli_table_open(const struct cli_column *columns, int column_count);

/* As many texts as there are columns; NULL is an empty cell. */
void cli_table_row(struct cli_table *table, const char *const *cells);
int cli_table_rows(const struct cli_table *table);

/* Prints with a heading and takes the table. */
void cli_table_print(struct cli_table *table, const struct cli_term *term);

#endif
