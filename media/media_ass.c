#include "media/media_ass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EVENT_FIELDS 8 /* before the text */
#define STYLE_FIELDS 32
/* Of a script that does not say its own. */
#define ASS_WIDTH    384
#define ASS_HEIGHT   288

static const struct media_ass_style plain = {.place = 2};

/* ---- the header ---- */

/* A field up to the next comma, trimmed. */
static const char *field_next(const char *at, const char *end, const char **from, size_t *length)
{
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *stop = comma ? comma : end;
    while (at < stop && (*at == ' ' || *at == '\t'))
        at++;
    *from = at;
    while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
        stop--;
    *length = (size_t)(stop - at);
    return comma ? comma + 1 : end;
}

enum style_field {
    FIELD_OTHER,
    FIELD_NAME,
    FIELD_BOLD,
    FIELD_ITALIC,
    FIELD_UNDERLINE,
    FIELD_PLACE
};

static int format_read(const char *at, const char *end, enum style_field fields[STYLE_FIELDS])
{
    static const char *const words[] = {"", "Name", "Bold", "Italic", "Underline", "Alignment"};
    int count = 0;
    while (at < end && count < STYLE_FIELDS) {
        const char *from;
        size_t length;
        at = field_next(at, end, &from, &length);
        fields[count] = FIELD_OTHER;
        for (int i = FIELD_NAME; i <= FIELD_PLACE; i++)
            if (strlen(words[i]) == length && strncasecmp(words[i], from, length) == 0)
                fields[count] = (enum style_field)i;
        count++;
    }
    return count;
}

/* SSA counts 1 to 3 for the bottom, 5 to 7 for the top and 9 to 11 for the middle. */
static int place_of(long number, bool old)
{
    if (!old)
        return number >= 1 && number <= 9 ? (int)number : 2;
    int column = (int)(number & 3);
    if (column < 1 || column > 3 || number < 1 || number > 11)
        return 2;
    return number > 8 ? column + 3 : number > 4 ? column + 6 : column;
}

static void style_read(struct media_ass *ass, const char *at, const char *end,
                       const enum style_field fields[STYLE_FIELDS], int field_count, bool old)
{
    if (ass->style_count == MEDIA_ASS_STYLES_MAX)
        return;
    struct media_ass_style style = plain;
    for (int i = 0; i < field_count && at < end; i++) {
        const char *from;
        size_t length;
        char word[MEDIA_ASS_STYLE_BYTES];
        at = field_next(at, end, &from, &length);
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1),
                 from);
        long number = strtol(word, NULL, 10);
        switch (fields[i]) {
        case FIELD_NAME:
            memcpy(style.name, word, sizeof style.name);
            break;
        case FIELD_BOLD:
            style.bold = number != 0;
            break;
        case FIELD_ITALIC:
            style.italic = number != 0;
            break;
        case FIELD_UNDERLINE:
            style.underline = number != 0;
            break;
        case FIELD_PLACE:
            style.place = place_of(number, old);
            break;
        case FIELD_OTHER:
            break;
        }
    }
    ass->styles[ass->style_count++] = style;
}

static bool line_begins(const char *at, const char *end, const char *word, const char **rest)
{
    size_t length = strlen(word);
    if ((size_t)(end - at) < length || strncasecmp(at, word, length) != 0)
        return false;
    *rest = at + length;
    return true;
}

static void size_read(const char *at, const char *end, int *out)
{
    char word[16];
    snprintf(word, sizeof word, "%.*s", (int)(end - at < 15 ? end - at : 15), at);
    long size = strtol(word, NULL, 10);
    if (size > 0 && size <= 65536)
        *out = (int)size;
}

void media_ass_header(struct media_ass *ass, const char *header, size_t bytes)
{
    enum style_field fields[STYLE_FIELDS];
    int field_count = 0;
    ass->width = ASS_WIDTH;
    ass->height = ASS_HEIGHT;
    bool in_styles = false, old = false;
    const char *end = header + bytes, *rest;
    for (const char *at = header; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        if (line_begins(at, stop, "PlayResX:", &rest))
            size_read(rest, stop, &ass->width);
        else if (line_begins(at, stop, "PlayResY:", &rest))
            size_read(rest, stop, &ass->height);
        if (*at == '[') {
            old = line_begins(at, stop, "[V4 Styles]", &rest);
            in_styles = old || line_begins(at, stop, "[V4+ Styles]", &rest);
        } else if (in_styles && line_begins(at, stop, "Format:", &rest)) {
            field_count = format_read(rest, stop, fields);
        } else if (in_styles && line_begins(at, stop, "Style:", &rest)) {
            style_read(ass, rest, stop, fields, field_count, old);
        }
        at = newline ? newline + 1 : end;
    }
}

static const struct media_ass_style *style_find(const struct media_ass *ass, const char *name,
                                                size_t length)
{
    while (length > 0 && *name == '*') { /* old scripts mark the default so */
        name++;
        length--;
    }
    for (int i = 0; i < ass->style_count; i++)
        if (strlen(ass->styles[i].name) == length &&
            strncasecmp(ass->styles[i].name, name, length) == 0)
            return &ass->styles[i];
    return &plain;
}

/* ---- an event ---- */

enum { BOLD = 1, ITALIC = 2, UNDERLINE = 4 };
static const char tags[] = "biu";

struct writer {
    const struct media_ass *ass;
    const struct media_ass_style *style;
    struct sl_buf *out;
    size_t begun;  /* length of out before the event */
    unsigned want; /* what the next letter shall look like */
    unsigned have; /* tags that are open */
    bool newline;  /* due before the next letter */
    bool space;
    bool drawing;
    int place;
};

static unsigned style_marks(const struct media_ass_style *style)
{
    return (style->bold ? BOLD : 0u) | (style->italic ? ITALIC : 0u) |
           (style->underline ? UNDERLINE : 0u);
}

static void tags_close(struct writer *w)
{
    for (int i = 2; i >= 0; i--)
        if (w->have & 1u << i)
            sl_buf_printf(w->out, "</%c>", tags[i]);
    w->have = 0;
}

/* Spaces and breaks are written only between letters: a blank line would end the cue. */
static void letter_put(struct writer *w, const char *bytes, size_t length)
{
    if (w->drawing)
        return;
    if (w->want != w->have)
        tags_close(w);
    if (w->out->length > w->begun) {
        if (w->newline)
            sl_buf_text(w->out, "\n");
        else if (w->space)
            sl_buf_text(w->out, " ");
    }
    w->newline = w->space = false;
    if (w->want != w->have) {
        for (int i = 0; i < 3; i++)
            if (w->want & 1u << i)
                sl_buf_printf(w->out, "<%c>", tags[i]);
        w->have = w->want;
    }
    if (length == 1 && *bytes == '&')
        sl_buf_text(w->out, "&amp;");
    else if (length == 1 && *bytes == '<')
        sl_buf_text(w->out, "&lt;");
    else if (length == 1 && *bytes == '>')
        sl_buf_text(w->out, "&gt;");
    else
        sl_buf_append(w->out, bytes, length);
}

static void mark_set(struct writer *w, unsigned mark, const char *value)
{
    bool on = *value >= '0' && *value <= '9' ? strtol(value, NULL, 10) != 0
                                             : (style_marks(w->style) & mark) != 0;
    w->want = on ? w->want | mark : w->want & ~mark;
}

static int third_of(double at, int size)
{
    return at * 3 < size ? 0 : at * 3 > 2.0 * size ? 2 : 1;
}

/* "x,y)": an exact place becomes the ninth of the picture that it lies in. */
static void pos_take(struct writer *w, const char *text)
{
    char *end;
    double x = strtod(text, &end);
    if (*end != ',')
        return;
    double y = strtod(end + 1, &end);
    if (*end == ')')
        w->place = 7 - 3 * third_of(y, w->ass->height) + third_of(x, w->ass->width);
}

/* One "\tag" of an override block; at is behind the backslash, length up to the next one. */
static void override_take(struct writer *w, const char *at, size_t length)
{
    char tag[MEDIA_ASS_STYLE_BYTES];
    snprintf(tag, sizeof tag, "%.*s", (int)(length < sizeof tag ? length : sizeof tag - 1), at);
    bool plain_value = tag[0] && (tag[1] == '\0' || (tag[1] >= '0' && tag[1] <= '9'));
    if (tag[0] == 'b' && plain_value) {
        mark_set(w, BOLD, tag + 1);
    } else if (tag[0] == 'i' && plain_value) {
        mark_set(w, ITALIC, tag + 1);
    } else if (tag[0] == 'u' && plain_value) {
        mark_set(w, UNDERLINE, tag + 1);
    } else if (tag[0] == 'p' && plain_value) {
        w->drawing = strtol(tag + 1, NULL, 10) > 0;
    } else if (tag[0] == 'r') {
        const struct media_ass_style *style =
            tag[1] ? style_find(w->ass, tag + 1, strlen(tag + 1)) : w->style;
        w->want = style_marks(style);
    } else if (strncmp(tag, "pos(", 4) == 0) {
        pos_take(w, tag + 4);
    } else if (tag[0] == 'a' && tag[1] == 'n') {
        w->place = place_of(strtol(tag + 2, NULL, 10), false);
    } else if (tag[0] == 'a' && plain_value) {
        w->place = place_of(strtol(tag + 1, NULL, 10), true);
    }
}

/* Behind the "{"; returns behind the "}". */
static const char *block_take(struct writer *w, const char *at, const char *close)
{
    while (at < close) {
        const char *tag = memchr(at, '\\', (size_t)(close - at));
        if (!tag)
            break;
        tag++;
        const char *next = memchr(tag, '\\', (size_t)(close - tag));
        override_take(w, tag, (size_t)((next ? next : close) - tag));
        at = next ? next : close;
    }
    return close + 1;
}

/* How many bytes the character has; 0 for one that is left out: controls, and marks that turn the direction of what
 * follows. The text is UTF-8; a byte that is none counts as left out. */
static size_t letter_length(const unsigned char *at, bool *drop)
{
    size_t length = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc2 ? 2 : 1;
    *drop = *at < 0x20 || *at == 0x7f || (*at >= 0x80 && *at < 0xc2);
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80) {
            *drop = true;
            return i;
        }
    if (length == 2 && at[0] == 0xc2 && at[1] < 0xa0)
        *drop = true; /* C1 */
    if (length == 3 && at[0] == 0xe2 &&
        ((at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) ||
         (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9)))
        *drop = true; /* line separators, U+202A to U+202E, U+2066 to U+2069 */
    return length;
}

static void text_take(struct writer *w, const char *at)
{
    while (*at) {
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        bool drop;
        if (close) {
            at = block_take(w, at + 1, close);
        } else if (*at == '\\' && (at[1] == 'N' || at[1] == 'n' || at[1] == 'h')) {
            if (at[1] == 'h')
                letter_put(w, "\xc2\xa0", 2);
            w->newline |= at[1] == 'N';
            w->space |= at[1] == 'n';
            at += 2;
        } else if (*at == '\\' && (at[1] == '{' || at[1] == '}' || at[1] == '\\')) {
            letter_put(w, at + 1, 1);
            at += 2;
        } else if (*at == '\n' || *at == ' ' || *at == '\t') {
            w->newline |= *at == '\n';
            w->space |= *at != '\n';
            at++;
        } else {
            size_t length = letter_length((const unsigned char *)at, &drop);
            if (!drop)
                letter_put(w, at, length);
            at += length;
        }
    }
    tags_close(w);
}

static void settings_fill(int place, char settings[MEDIA_ASS_SETTINGS_BYTES])
{
    const char *line = place >= 7 ? "line:0" : place >= 4 ? "line:50%" : "";
    const char *align = place % 3 == 1 ? "align:left" : place % 3 == 0 ? "align:right" : "";
    snprintf(settings, MEDIA_ASS_SETTINGS_BYTES, "%s%s%s", line, *line && *align ? " " : "", align);
}

void media_ass_event(const struct media_ass *ass, const char *event, struct sl_buf *text,
                     char settings[MEDIA_ASS_SETTINGS_BYTES])
{
    struct writer w = {.ass = ass, .style = &plain, .out = text, .begun = text->length};
    for (int field = 0; field < EVENT_FIELDS; field++) {
        const char *comma = strchr(event, ',');
        if (!comma)
            break;
        if (field == 2)
            w.style = style_find(ass, event, (size_t)(comma - event));
        event = comma + 1;
    }
    w.want = style_marks(w.style);
    w.place = w.style->place;
    text_take(&w, event);
    settings_fill(w.place, settings);
}
