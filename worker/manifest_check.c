#include "worker/manifest_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/manifest_common.h"

#define DURATION_SLACK_S 0.5
#define LINE_BYTES_MAX   2048

/* The lines of a text, one after another. */
struct lines {
    const char *at, *end;
    char line[LINE_BYTES_MAX];
    bool too_long;
};

static bool line_next(struct lines *lines)
{
    if (lines->at >= lines->end)
        return false;
    const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    size_t length = (size_t)((newline ? newline : lines->end) - lines->at);
    lines->at = newline ? newline + 1 : lines->end;
    if (length >= sizeof lines->line) {
        lines->too_long = true;
        return false;
    }
    memcpy(lines->line, lines->at - length - (newline ? 1 : 0), length);
    lines->line[length] = '\0';
    if (length && lines->line[length - 1] == '\r')
        lines->line[length - 1] = '\0';
    return true;
}

static const char *after(const char *line, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(line, prefix, length) == 0 ? line + length : NULL;
}

/* A URI in a playlist that lies beside init_key, as a key: decoded and put behind the folder. */
static bool uri_key(const char *init_key, const char *uri, size_t length, char out[JOB_NAME_BYTES])
{
    const char *slash = strrchr(init_key, '/');
    size_t n = slash ? (size_t)(slash - init_key) + 1 : 0;
    if (n >= JOB_NAME_BYTES)
        return false;
    memcpy(out, init_key, n);
    for (size_t i = 0; i < length; i++) {
        char c = uri[i];
        if (c == '%') {
            unsigned value;
            if (i + 2 >= length || sscanf(uri + i + 1, "%2x", &value) != 1)
                return false;
            c = (char)value;
            i += 2;
        }
        if (n + 1 >= JOB_NAME_BYTES)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

static double rendition_end_s(const struct published_rendition *rendition)
{
    return (double)rendition->segments[rendition->segment_count - 1].end_ticks /
           rendition->timescale;
}

int manifest_check_media(const struct published_set *set, int32_t rendition,
                         const struct sl_buf *text, struct sl_failure *why)
{
    const struct published_rendition *r = &set->renditions[rendition];
    struct lines lines = {(const char *)text->data, (const char *)text->data + text->length};
    if (text->length == 0 || !line_next(&lines) || strcmp(lines.line, "#EXTM3U") != 0)
        return sl_fail(why, SL_EVERIFY, "the playlist of %s is none", r->name);
    char key[JOB_NAME_BYTES];
    int32_t segments = 0;
    double seconds = 0;
    bool has_init = false, ended = false;
    while (line_next(&lines)) {
        const char *rest;
        if ((rest = after(lines.line, "#EXT-X-MAP:URI=\""))) {
            if (!uri_key(r->init_key, rest, strcspn(rest, "\""), key) ||
                strcmp(key, r->init_key) != 0)
                return sl_fail(why, SL_EVERIFY, "the playlist of %s names init %.60s, not %.60s",
                               r->name, rest, r->init_key);
            has_init = true;
        } else if ((rest = after(lines.line, "#EXTINF:"))) {
            seconds += strtod(rest, NULL);
        } else if (strcmp(lines.line, "#EXT-X-ENDLIST") == 0) {
            ended = true;
        } else if (lines.line[0] && lines.line[0] != '#') {
            if (segments == r->segment_count)
                return sl_fail(why, SL_EVERIFY, "the playlist of %s names more than %d segments",
                               r->name, r->segment_count);
            if (!uri_key(r->init_key, lines.line, strlen(lines.line), key) ||
                strcmp(key, r->segments[segments].key) != 0)
                return sl_fail(why, SL_EVERIFY,
                               "the playlist of %s names %.60s where segment %d is %.60s", r->name,
                               lines.line, segments, r->segments[segments].key);
            segments++;
        }
    }
    if (lines.too_long || !has_init || !ended || segments != r->segment_count)
        return sl_fail(why, SL_EVERIFY,
                       "the playlist of %s has %d of %d segments, %s init and %s end", r->name,
                       segments, r->segment_count, has_init ? "an" : "no", ended ? "an" : "no");
    if (fabs(seconds - rendition_end_s(r)) > DURATION_SLACK_S)
        return sl_fail(why, SL_EVERIFY, "the playlist of %s lasts %.3f s, its segments %.3f s",
                       r->name, seconds, rendition_end_s(r));
    return SL_OK;
}

/* Is needle in the text at or behind *at? Then *at moves behind it. */
static bool find_on(const struct sl_buf *text, size_t *at, const char *needle)
{
    if (*at > text->length)
        return false;
    const unsigned char *found =
        memmem(text->data + *at, text->length - *at, needle, strlen(needle));
    if (!found)
        return false;
    *at = (size_t)(found - text->data) + strlen(needle);
    return true;
}

int manifest_check_master(const struct published_set *set, const struct sl_buf *text,
                          struct sl_failure *why)
{
    size_t start = 0;
    if (!find_on(text, &start, "#EXTM3U"))
        return sl_fail(why, SL_EVERIFY, "the master playlist is none");
    for (int32_t i = 0; i < set->rendition_count; i++) {
        const struct published_rendition *r = &set->renditions[i];
        char want[96];
        if (r->audio)
            snprintf(want, sizeof want, "TYPE=AUDIO,GROUP-ID=\"%s\"", r->name);
        else
            snprintf(want, sizeof want, ",RESOLUTION=%dx%d", r->width, r->height);
        size_t at = 0;
        bool only_audio = set->renditions[0].audio;
        if (!find_on(text, &at, want) && !(r->audio && only_audio))
            return sl_fail(why, SL_EVERIFY, "the master playlist lacks rendition %s (%s)", r->name,
                           want);
        at = 0;
        if (r->playlist_key[0] && !find_on(text, &at, r->playlist_key))
            return sl_fail(why, SL_EVERIFY, "the master playlist does not name %s",
                           r->playlist_key);
    }
    return SL_OK;
}

int manifest_check_mpd(const struct published_set *set, const struct sl_buf *text,
                       struct sl_failure *why)
{
    size_t at = 0;
    if (!find_on(text, &at, "<MPD"))
        return sl_fail(why, SL_EVERIFY, "the MPD is none");
    struct sl_buf uri = {0};
    int code = SL_OK;
    for (int32_t i = 0; code == SL_OK && i < set->rendition_count; i++) {
        const struct published_rendition *r = &set->renditions[i];
        for (int32_t s = -1; code == SL_OK && s < r->segment_count; s++) {
            const char *key = s < 0 ? r->init_key : r->segments[s].key;
            sl_buf_reset(&uri);
            sl_buf_text(&uri, "\"");
            manifest_uri_put(&uri, "", key);
            sl_buf_text(&uri, "\"");
            if (uri.failed)
                code = sl_fail(why, SL_ENOMEM, "no memory to check the MPD");
            else if (!find_on(text, &at, (const char *)uri.data))
                code = sl_fail(why, SL_EVERIFY, "the MPD does not name %.80s of %s in its place",
                               key, r->name);
        }
    }
    size_t end = at;
    if (code == SL_OK && !find_on(text, &end, "</MPD>"))
        code = sl_fail(why, SL_EVERIFY, "the MPD breaks off");
    sl_buf_fini(&uri);
    return code;
}
