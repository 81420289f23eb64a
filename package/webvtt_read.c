#include "package/webvtt_read.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct line {
    const char *at;
    size_t length;
};

static bool line_next(const char **at, const char *end, struct line *out)
{
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = newline ? newline : end;
    *out = (struct line){*at, (size_t)(stop - *at)};
    *at = newline ? newline + 1 : end;
    return true;
}

static bool digits(const char *at, int count, int64_t *out)
{
    int64_t value = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        value = value * 10 + (at[i] - '0');
    }
    *out = value;
    return true;
}

/* "HH…:MM:SS.mmm"; returns its length, 0 for none. */
static size_t time_read(const char *at, size_t length, int64_t *out_ms)
{
    size_t hours = 0;
    while (hours < length && hours < 6 && at[hours] >= '0' && at[hours] <= '9')
        hours++;
    int64_t h, m, s, ms;
    if (hours < 2 || length < hours + 10 || at[hours] != ':' || at[hours + 3] != ':' ||
        at[hours + 6] != '.' || !digits(at, (int)hours, &h) || !digits(at + hours + 1, 2, &m) ||
        !digits(at + hours + 4, 2, &s) || !digits(at + hours + 7, 3, &ms) || m > 59 || s > 59)
        return 0;
    *out_ms = ((h * 60 + m) * 60 + s) * 1000 + ms;
    return hours + 10;
}

static bool span_read(struct line line, struct webvtt_cue *cue)
{
    size_t first = time_read(line.at, line.length, &cue->start_ms);
    if (first == 0 || line.length < first + 5 || memcmp(line.at + first, " --> ", 5) != 0)
        return false;
    size_t second = time_read(line.at + first + 5, line.length - first - 5, &cue->end_ms);
    size_t all = first + 5 + second;
    return second > 0 && (all == line.length || line.at[all] == ' ');
}

static bool holds_arrow(struct line line)
{
    for (size_t i = 0; i + 2 < line.length; i++)
        if (memcmp(line.at + i, "-->", 3) == 0)
            return true;
    return false;
}

int webvtt_read(const char *text, size_t bytes, int64_t most_ms,
                int (*take)(void *arg, const struct webvtt_cue *cue, struct sl_failure *why),
                void *arg, int64_t *out_count, struct sl_failure *why)
{
    const char *at = text, *end = text + bytes;
    struct line line;
    if (!line_next(&at, end, &line) || line.length != 6 || memcmp(line.at, "WEBVTT", 6) != 0)
        return sl_fail(why, SL_EVERIFY, "a WebVTT file does not begin with WEBVTT");
    while (line_next(&at, end, &line) && line.length > 0)
        ;
    int64_t before_ms = 0, count = 0;
    for (int number = 1; line_next(&at, end, &line); number++) {
        if (line.length == 0)
            continue;
        struct webvtt_cue cue = {0};
        if (!holds_arrow(line) && !line_next(&at, end, &line))
            return sl_fail(why, SL_EVERIFY, "a WebVTT file ends within a cue");
        if (!span_read(line, &cue))
            return sl_fail(why, SL_EVERIFY, "cue %d of a WebVTT file has no time: %.*s", number,
                           line.length < 80 ? (int)line.length : 80, line.at);
        if (cue.end_ms <= cue.start_ms || cue.end_ms > most_ms || cue.start_ms < before_ms)
            return sl_fail(why, SL_EVERIFY,
                           "cue %d lasts from %" PRId64 " to %" PRId64 " ms behind one at %" PRId64
                           " ms, in a video of %" PRId64 " ms",
                           number, cue.start_ms, cue.end_ms, before_ms, most_ms);
        before_ms = cue.start_ms;
        if (!line_next(&at, end, &line) || line.length == 0)
            return sl_fail(why, SL_EVERIFY, "cue %d of a WebVTT file is empty", number);
        cue.text = line.at;
        cue.text_bytes = line.length;
        do {
            if (holds_arrow(line))
                return sl_fail(why, SL_EVERIFY, "an arrow stands in the text of cue %d", number);
        } while (line_next(&at, end, &line) && line.length > 0);
        int code = take ? take(arg, &cue, why) : 0;
        if (code)
            return code;
        count++;
    }
    *out_count = count;
    return SL_OK;
}
