#include "cli/cli_table.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GAP     2
#define CUT_MIN 6

struct cli_table {
    const struct cli_column *columns;
    int column_count;
    char **cells; /* row by row */
    int rows;
    int capacity;
    int left_out;
};

struct cli_table *cli_table_open(const struct cli_column *columns, int column_count)
{
    assert(column_count > 0 && column_count <= CLI_COLUMNS_MAX);
    struct cli_table *table = calloc(1, sizeof *table);
    assert(table);
    table->columns = columns;
    table->column_count = column_count;
    return table;
}

void cli_table_row(struct cli_table *table, const char *const *cells)
{
    if (table->rows == CLI_ROWS_MAX) {
        table->left_out++;
        return;
    }
    if (table->rows == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 32;
        table->cells = realloc(table->cells, (size_t)table->capacity * (size_t)table->column_count *
                                                 sizeof *table->cells);
        assert(table->cells);
    }
    char **row = table->cells + (size_t)table->rows * (size_t)table->column_count;
    for (int i = 0; i < table->column_count; i++) {
        row[i] = strdup(cells[i] ? cells[i] : "");
        assert(row[i]);
    }
    table->rows++;
}

int cli_table_rows(const struct cli_table *table)
{
    return table->rows;
}

static int widths_total(const int *widths, int count)
{
    int total = 0;
    for (int i = 0; i < count; i++)
        if (widths[i] > 0)
            total += widths[i] + (total ? GAP : 0);
    return total;
}

/* Width 0 afterwards: the column is left out. */
static void widths_fit(const struct cli_table *table, int *widths, int limit)
{
    int count = table->column_count;
    while (widths_total(widths, count) > limit) {
        int widest = -1;
        for (int i = 0; i < count; i++)
            if (table->columns[i].fit == CLI_CUT && widths[i] > CUT_MIN &&
                (widest < 0 || widths[i] > widths[widest]))
                widest = i;
        if (widest < 0)
            break;
        widths[widest]--;
    }
    for (int i = count - 1; i >= 0 && widths_total(widths, count) > limit; i--)
        if (table->columns[i].fit == CLI_SPARE)
            widths[i] = 0;
    for (int i = count - 1; i > 0 && widths_total(widths, count) > limit; i--) {
        int over = widths_total(widths, count) - limit;
        widths[i] = widths[i] > over ? widths[i] - over : 0;
    }
    if (widths[0] > limit)
        widths[0] = limit;
}

static void line_append(const struct cli_table *table, const struct cli_term *term,
                        const int *widths, const char *const *cells, bool heading,
                        struct sl_buf *out)
{
    int pending = 0; /* spaces owed before the next text, so that no line ends in blanks */
    bool first = true;
    for (int i = 0; i < table->column_count; i++) {
        if (widths[i] == 0)
            continue;
        const struct cli_column *column = &table->columns[i];
        pending += first ? 0 : GAP;
        first = false;
        int columns = cli_term_columns(term, cells[i]);
        int shown = columns < widths[i] ? columns : widths[i];
        int blank = widths[i] - shown;
        if (shown == 0) {
            pending += blank;
            continue;
        }
        cli_term_spaces(out, pending + (column->right ? blank : 0));
        enum cli_colour colour = heading                    ? CLI_BOLD
                                 : column->fit == CLI_STATE ? cli_term_state_colour(cells[i])
                                                            : CLI_PLAIN;
        if (colour != CLI_PLAIN)
            cli_term_colour(term, out, colour);
        cli_term_text(term, out, cells[i], widths[i]);
        if (colour != CLI_PLAIN)
            cli_term_colour(term, out, CLI_PLAIN);
        pending = column->right ? 0 : blank;
    }
    sl_buf_text(out, "\n");
}

void cli_table_print(struct cli_table *table, const struct cli_term *term)
{
    int widths[CLI_COLUMNS_MAX];
    const char *titles[CLI_COLUMNS_MAX];
    for (int i = 0; i < table->column_count; i++) {
        titles[i] = table->columns[i].title;
        widths[i] = 0;
        for (int row = 0; row < table->rows; row++) {
            int columns = cli_term_columns(term, table->cells[row * table->column_count + i]);
            if (columns > widths[i])
                widths[i] = columns;
        }
    }
    for (int i = 0; i < table->column_count; i++) {
        int title = cli_term_columns(term, titles[i]);
        bool shown =
            i == 0 || widths[i] > 0 || table->rows == 0; /* nothing but blanks is left out */
        if (shown && widths[i] < title)
            widths[i] = title;
    }
    int limit = cli_term_width(term);
    if (limit > 0)
        widths_fit(table, widths, limit);
    struct sl_buf out = {0};
    line_append(table, term, widths, titles, true, &out);
    for (int row = 0; row < table->rows; row++) {
        char **cells = table->cells + row * table->column_count;
        line_append(table, term, widths, (const char *const *)cells, false, &out);
    }
    if (table->left_out)
        sl_buf_printf(&out, "and %d more, not shown\n", table->left_out);
    cli_term_write(term, &out);
    sl_buf_fini(&out);
    for (int i = 0; i < table->rows * table->column_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}
