#include "cli/cli_term.h"

#include <langinfo.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define WIDTH_UNKNOWN 80
#define WIDTH_MAX     1000

void cli_term_open(struct cli_term *term, FILE *file)
{
    const char *kind = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    term->file = file;
    term->terminal = isatty(fileno(file)) == 1;
    term->colour =
        term->terminal && (!no_colour || !no_colour[0]) && (!kind || strcmp(kind, "dumb") != 0);
    term->utf8 = strcasecmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int cli_term_width(const struct cli_term *term)
{
    struct winsize size;
    if (!term->terminal)
        return 0;
    int columns = WIDTH_UNKNOWN;
    if (ioctl(fileno(term->file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    else if (getenv("COLUMNS") && atoi(getenv("COLUMNS")) > 0)
        columns = atoi(getenv("COLUMNS"));
    if (columns < CLI_WIDTH_MIN)
        columns = CLI_WIDTH_MIN;
    return columns > WIDTH_MAX ? WIDTH_MAX : columns;
}

/* One character of UTF-8; returns its bytes, or 0 when the bytes are none. */
static int utf8_decode(const unsigned char *bytes, uint32_t *out)
{
    uint32_t c = bytes[0];
    if (c < 0x80) {
        *out = c;
        return 1;
    }
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    c &= 0x3Fu >> more;
    for (int i = 1; i <= more; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (bytes[i] & 0x3Fu);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *out = c;
    return more + 1;
}

static bool harmless(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7F && c < 0xA0))
        return false;
    if (c == 0x061C || c == 0x200E || c == 0x200F || c == 0xFEFF)
        return false;
    return !(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069);
}

static int char_columns(uint32_t c)
{
    if (c < 0x80)
        return 1;
    int columns = wcwidth((wchar_t)c);
    return columns < 0 ? 1 : columns;
}

/* Walks text; out NULL only measures. */
static int text_walk(const struct cli_term *term, struct sl_buf *out, const char *text, int limit)
{
    const unsigned char *at = (const unsigned char *)text;
    int used = 0;
    while (*at) {
        uint32_t c = 0;
        int bytes = utf8_decode(at, &c);
        bool keep = bytes > 0 && harmless(c) && (c < 0x80 || term->utf8);
        int columns = keep ? char_columns(c) : 1;
        if (limit >= 0 && used + columns > limit)
            break;
        if (out && keep)
            sl_buf_append(out, at, (size_t)bytes);
        else if (out)
            sl_buf_text(out, term->utf8 ? "\xEF\xBF\xBD" : "?");
        at += bytes > 0 ? bytes : 1;
        used += columns;
    }
    return used;
}

int cli_term_columns(const struct cli_term *term, const char *text)
{
    return text_walk(term, NULL, text, -1);
}

int cli_term_text(const struct cli_term *term, struct sl_buf *out, const char *text, int columns)
{
    if (columns < 0 || cli_term_columns(term, text) <= columns)
        return text_walk(term, out, text, -1);
    if (columns == 0)
        return 0;
    int used = text_walk(term, out, text, columns - 1);
    sl_buf_text(out, term->utf8 ? "\xE2\x80\xA6" : "~");
    return used + 1;
}

void cli_term_colour(const struct cli_term *term, struct sl_buf *out, enum cli_colour colour)
{
    static const char *const sequences[] = {
        [CLI_PLAIN] = "\033[0m", [CLI_BOLD] = "\033[1m",   [CLI_DIM] = "\033[2m",
        [CLI_RED] = "\033[31m",  [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
        [CLI_BLUE] = "\033[34m",
    };
    if (term->colour)
        sl_buf_text(out, sequences[colour]);
}

enum cli_colour cli_term_state_colour(const char *word)
{
    static const struct {
        const char *word;
        enum cli_colour colour;
    } states[] = {
        {"ready", CLI_GREEN},     {"completed", CLI_GREEN},   {"healthy", CLI_GREEN},
        {"failed", CLI_RED},      {"lost", CLI_RED},          {"dead", CLI_RED},
        {"quarantined", CLI_RED}, {"cancelled", CLI_YELLOW},  {"draining", CLI_YELLOW},
        {"drained", CLI_YELLOW},  {"preempting", CLI_YELLOW}, {"suspect", CLI_YELLOW},
        {"proving", CLI_YELLOW},  {"probing", CLI_BLUE},      {"transcoding", CLI_BLUE},
        {"packaging", CLI_BLUE},  {"verifying", CLI_BLUE},    {"running", CLI_BLUE},
        {"pending", CLI_DIM},     {"skipped", CLI_DIM},       {"uploaded", CLI_DIM},
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(states[i].word, word) == 0)
            return states[i].colour;
    return CLI_PLAIN;
}

void cli_term_spaces(struct sl_buf *out, int count)
{
    if (count > 0)
        sl_buf_printf(out, "%*s", count, "");
}

void cli_term_write(const struct cli_term *term, struct sl_buf *text)
{
    if (text->length)
        fwrite(text->data, 1, text->length, term->file);
    fflush(term->file);
    sl_buf_reset(text);
}
