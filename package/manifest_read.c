#include "package/manifest_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

enum { H273_PQ = 16, H273_HLG = 18 };

#define ENTRIES_MAX PLAN_SEGMENTS_MAX

/* ---- texts ---- */

/* A run of the manifest. */
struct span {
    const char *at;
    size_t length;
};

static bool span_is(struct span s, const char *word)
{
    return s.length == strlen(word) && memcmp(s.at, word, s.length) == 0;
}

static bool span_starts(struct span s, const char *word)
{
    return s.length >= strlen(word) && memcmp(s.at, word, strlen(word)) == 0;
}

static struct span span_after(struct span s, size_t skip)
{
    return (struct span){s.at + skip, s.length - skip};
}

/* The next line without its end; false at the end of the text. */
static bool line_next(struct span *text, struct span *line)
{
    if (text->length == 0)
        return false;
    const char *end = memchr(text->at, '\n', text->length);
    size_t length = end ? (size_t)(end - text->at) : text->length;
    *line = (struct span){text->at, length};
    *text = span_after(*text, end ? length + 1 : length);
    if (line->length > 0 && line->at[line->length - 1] == '\r')
        line->length--;
    return true;
}

/* Decimal digits and no more. */
static bool number_read(struct span s, int64_t *out)
{
    int64_t value = 0;
    if (s.length == 0 || s.length > 18)
        return false;
    for (size_t i = 0; i < s.length; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        value = value * 10 + (s.at[i] - '0');
    }
    *out = value;
    return true;
}

/* "6.006000" in microseconds. */
static bool seconds_read(struct span s, int64_t *out_us)
{
    const char *dot = memchr(s.at, '.', s.length);
    size_t whole = dot ? (size_t)(dot - s.at) : s.length;
    int64_t seconds, part = 0;
    if (!number_read((struct span){s.at, whole}, &seconds) || seconds > INT64_MAX / 2000000)
        return false;
    if (dot) {
        struct span fraction = span_after(s, whole + 1);
        if (fraction.length > 6 || !number_read(fraction, &part))
            return false;
        for (size_t i = fraction.length; i < 6; i++)
            part *= 10;
    }
    *out_us = seconds * 1000000 + part;
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Resolves a relative reference against the manifest's own key; false when it leads outside. */
static bool uri_resolve(const char *from, struct span uri, char out[JOB_NAME_BYTES])
{
    const char *slash = strrchr(from, '/');
    size_t length = slash ? (size_t)(slash + 1 - from) : 0;
    if (length >= JOB_NAME_BYTES)
        return false;
    memcpy(out, from, length);
    while (span_starts(uri, "../")) {
        if (length == 0)
            return false;
        for (length--; length > 0 && out[length - 1] != '/';)
            length--;
        uri = span_after(uri, 3);
    }
    for (size_t i = 0; i < uri.length; i++) {
        if (length + 1 >= JOB_NAME_BYTES)
            return false;
        char c = uri.at[i];
        if (c == '%') {
            int high = i + 2 < uri.length ? hex(uri.at[i + 1]) : -1;
            int low = i + 2 < uri.length ? hex(uri.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[length++] = c;
    }
    out[length] = '\0';
    return true;
}

/* The value of NAME="value" or NAME=value in an attribute list of HLS (commas) or of an XML tag (spaces). */
static bool attribute(struct span list, const char *name, char separator, struct span *out)
{
    size_t name_length = strlen(name);
    bool quoted = false;
    for (size_t i = 0; i + name_length < list.length; i++) {
        if (list.at[i] == '"')
            quoted = !quoted;
        bool starts = i == 0 || list.at[i - 1] == separator;
        if (quoted || !starts || memcmp(list.at + i, name, name_length) != 0 ||
            list.at[i + name_length] != '=')
            continue;
        struct span value = span_after(list, i + name_length + 1);
        bool in_quotes = value.length > 0 && value.at[0] == '"';
        if (in_quotes)
            value = span_after(value, 1);
        const char *end = memchr(value.at, in_quotes ? '"' : separator, value.length);
        if (in_quotes && !end)
            return false;
        *out = (struct span){value.at, end ? (size_t)(end - value.at) : value.length};
        return true;
    }
    return false;
}

static bool attribute_number(struct span list, const char *name, char separator, int64_t *out)
{
    struct span value;
    return attribute(list, name, separator, &value) && number_read(value, out);
}

/* ---- what the set says ---- */

static int64_t presented_start(const struct published_segment *s)
{
    return s->start_ticks > 0 ? s->start_ticks : 0;
}

/* Is this instant, in microseconds, the one of these ticks, rounded? */
static bool meets(int64_t us, int64_t ticks, int32_t timescale)
{
    int64_t off_us = us - sl_muldiv_i64(ticks, 1000000, timescale);
    return off_us >= -1 && off_us <= 1;
}

static int text_check(const char *text, size_t bytes, const char *begins, struct sl_failure *why)
{
    if (bytes > MANIFEST_BYTES_MAX)
        return sl_fail(why, SL_EVERIFY, "a manifest of %zu bytes is over %d", bytes,
                       MANIFEST_BYTES_MAX);
    if (bytes < strlen(begins) || memcmp(text, begins, strlen(begins)) != 0)
        return sl_fail(why, SL_EVERIFY, "a manifest of %zu bytes does not begin with %s", bytes,
                       begins);
    return SL_OK;
}

/* ---- HLS ---- */

int manifest_hls_read(const char *text, size_t bytes, struct sl_arena *arena,
                      struct manifest_playlist *out, struct sl_failure *why)
{
    int rc = text_check(text, bytes, "#EXTM3U\n", why);
    if (rc < 0)
        return rc;
    struct span rest = {text, bytes}, line, value;
    int32_t room = 0;
    while (line_next(&rest, &line))
        room += span_starts(line, "#EXTINF:");
    struct manifest_playlist list = {0};
    if (room > ENTRIES_MAX)
        return sl_fail(why, SL_EVERIFY, "a playlist of %d segments is over %d", room, ENTRIES_MAX);
    list.entries = sl_arena_array(arena, (size_t)room, sizeof *list.entries);
    if (!list.entries)
        return sl_fail(why, SL_ENOMEM, "no memory for a playlist of %d segments", room);
    rest = (struct span){text, bytes};
    int64_t duration_us = -1;
    for (int number = 1; line_next(&rest, &line); number++) {
        bool good = !list.ended || line.length == 0;
        if (span_starts(line, "#EXTINF:")) {
            const char *comma = memchr(line.at, ',', line.length);
            good &= comma && duration_us < 0 &&
                    seconds_read((struct span){line.at + 8, (size_t)(comma - line.at) - 8},
                                 &duration_us);
        } else if (span_starts(line, "#EXT-X-TARGETDURATION:")) {
            good &= number_read(span_after(line, 22), &list.target_s);
        } else if (span_starts(line, "#EXT-X-MAP:")) {
            good &= !list.map_uri && attribute(span_after(line, 11), "URI", ',', &value);
            if (good)
                list.map_uri = sl_arena_strndup(arena, value.at, value.length);
        } else if (span_is(line, "#EXT-X-ENDLIST")) {
            good &= duration_us < 0;
            list.ended = true;
        } else if (line.length > 0 && line.at[0] != '#') {
            good &= duration_us >= 0;
            if (good) {
                struct manifest_entry *entry = &list.entries[list.count++];
                entry->duration_us = duration_us;
                entry->uri = sl_arena_strndup(arena, line.at, line.length);
                list.total_us += duration_us;
                duration_us = -1;
                if (!entry->uri)
                    return sl_fail(why, SL_ENOMEM, "no memory for a playlist");
            }
        }
        if (!good)
            return sl_fail(why, SL_EVERIFY, "line %d of the playlist is out of place: %.*s", number,
                           line.length < 80 ? (int)line.length : 80, line.at);
    }
    if (duration_us >= 0)
        return sl_fail(why, SL_EVERIFY, "the playlist ends without its last segment");
    *out = list;
    return SL_OK;
}

/* r->init_key empty: the playlist has no init segment. */
static int playlist_check(const struct published_rendition *r, const char *key, const char *text,
                          size_t bytes, struct sl_failure *why)
{
    struct sl_arena arena = {0};
    struct manifest_playlist list;
    int rc = manifest_hls_read(text, bytes, &arena, &list, why);
    if (rc < 0)
        goto done;
    char name[JOB_NAME_BYTES];
    if (!list.map_uri != !r->init_key[0])
        rc = sl_fail(why, SL_EVERIFY, "the playlist of %s has %s init segment", r->name,
                     list.map_uri ? "an" : "no");
    else if (!list.ended)
        rc = sl_fail(why, SL_EVERIFY, "the playlist of %s has no end", r->name);
    else if (list.count != r->segment_count)
        rc = sl_fail(why, SL_EVERIFY, "the playlist of %s has %d segments of %d", r->name,
                     list.count, r->segment_count);
    else if (list.map_uri &&
             (!uri_resolve(key, (struct span){list.map_uri, strlen(list.map_uri)}, name) ||
              strcmp(name, r->init_key) != 0))
        rc = sl_fail(why, SL_EVERIFY, "the playlist of %s begins with %.64s, not with %s", r->name,
                     list.map_uri, r->init_key);
    if (rc < 0)
        goto done;
    int64_t zero_ticks = presented_start(&r->segments[0]);
    int64_t at_us = sl_muldiv_i64(zero_ticks, 1000000, r->timescale);
    for (int32_t i = 0; i < list.count && rc == SL_OK; i++) {
        const struct manifest_entry *entry = &list.entries[i];
        at_us += entry->duration_us;
        if (!uri_resolve(key, (struct span){entry->uri, strlen(entry->uri)}, name) ||
            strcmp(name, r->segments[i].key) != 0)
            rc = sl_fail(why, SL_EVERIFY, "segment %d of %s is %.64s in its playlist, not %s", i,
                         r->name, entry->uri, r->segments[i].key);
        else if (!meets(at_us, r->segments[i].end_ticks, r->timescale))
            rc = sl_fail(why, SL_EVERIFY, "segment %d of %s ends at %lld us in its playlist", i,
                         r->name, (long long)at_us);
        else if ((entry->duration_us + 500000) / 1000000 > list.target_s)
            rc = sl_fail(why, SL_EVERIFY, "segment %d of %s is longer than TARGETDURATION %lld", i,
                         r->name, (long long)list.target_s);
    }
done:
    sl_arena_fini(&arena);
    return rc;
}

int manifest_hls_check(const struct published_set *set, int32_t rendition, const char *key,
                       const char *text, size_t bytes, struct sl_failure *why)
{
    if (rendition < 0 || rendition >= set->rendition_count)
        return sl_fail(why, SL_EINVAL, "video %s has no rendition %d", set->video, rendition);
    return playlist_check(&set->renditions[rendition], key, text, bytes, why);
}

int manifest_text_check(const struct published_set *set, int32_t text, const char *key,
                        const char *bytes, size_t length, struct sl_failure *why)
{
    if (text < 0 || text >= set->text_count)
        return sl_fail(why, SL_EINVAL, "video %s has no subtitles %d", set->video, text);
    const struct published_text *track = &set->texts[text];
    struct published_rendition as_rendition = {.timescale = track->timescale,
                                               .segments = track->segments,
                                               .segment_count = track->segment_count};
    memcpy(as_rendition.name, track->name, sizeof as_rendition.name);
    return playlist_check(&as_rendition, key, bytes, length, why);
}

/* Texts count on behind the renditions. */
static int32_t rendition_of(const struct published_set *set, struct span uri)
{
    char name[JOB_NAME_BYTES];
    if (!uri_resolve("", uri, name))
        return -1;
    for (int32_t i = 0; i < set->rendition_count; i++)
        if (strcmp(set->renditions[i].playlist_key, name) == 0)
            return i;
    for (int32_t i = 0; i < set->text_count; i++)
        if (strcmp(set->texts[i].playlist_key, name) == 0)
            return set->rendition_count + i;
    return -1;
}

static int variant_check(const struct published_rendition *r, struct span tag,
                         struct sl_failure *why)
{
    int64_t peak, average;
    struct span value;
    if (!attribute_number(tag, "BANDWIDTH", ',', &peak) ||
        !attribute_number(tag, "AVERAGE-BANDWIDTH", ',', &average) || average <= 0 ||
        peak < average)
        return sl_fail(why, SL_EVERIFY, "the variant of %s has no measured bandwidth", r->name);
    if (!attribute(tag, "CODECS", ',', &value) || !span_starts(value, r->codecs))
        return sl_fail(why, SL_EVERIFY, "the variant of %s does not name its codec %s", r->name,
                       r->codecs);
    char size[32];
    snprintf(size, sizeof size, "%dx%d", r->width, r->height);
    if (!r->audio && (!attribute(tag, "RESOLUTION", ',', &value) || !span_is(value, size)))
        return sl_fail(why, SL_EVERIFY, "the variant of %s does not say %s", r->name, size);
    const char *range = r->color_transfer == H273_PQ    ? "PQ"
                        : r->color_transfer == H273_HLG ? "HLG"
                                                        : "SDR";
    if (!r->audio && (!attribute(tag, "VIDEO-RANGE", ',', &value) || !span_is(value, range)))
        return sl_fail(why, SL_EVERIFY, "the variant of %s does not say that it is %s", r->name,
                       range);
    return SL_OK;
}

/* The n-th EXT-X-MEDIA line of the text, without its name. */
static bool media_line(struct span text, int32_t n, struct span *out)
{
    struct span line;
    while (line_next(&text, &line))
        if (span_starts(line, "#EXT-X-MEDIA:") && n-- == 0) {
            *out = span_after(line, 13);
            return true;
        }
    return false;
}

static bool span_same(struct span a, struct span b)
{
    return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

/* A variant's group is there, with one default, and no two of it by one name. */
static int group_check(struct span text, struct span tag, struct sl_failure *why)
{
    struct span wanted, line, group, name, other, value;
    if (!attribute(tag, "AUDIO", ',', &wanted))
        return SL_OK;
    int32_t members = 0, defaults = 0;
    for (int32_t i = 0; media_line(text, i, &line); i++) {
        if (!attribute(line, "GROUP-ID", ',', &group) || !attribute(line, "NAME", ',', &name) ||
            name.length == 0)
            return sl_fail(why, SL_EVERIFY,
                           "an audio rendition of the master has no group or name");
        if (!span_same(group, wanted))
            continue;
        members++;
        defaults += attribute(line, "DEFAULT", ',', &value) && span_is(value, "YES");
        for (int32_t j = 0; j < i && media_line(text, j, &line); j++)
            if (attribute(line, "GROUP-ID", ',', &group) && span_same(group, wanted) &&
                attribute(line, "NAME", ',', &other) && span_same(other, name))
                return sl_fail(why, SL_EVERIFY, "two audio renditions of a group are called %.*s",
                               (int)name.length, name.at);
    }
    if (members == 0 || defaults != 1)
        return sl_fail(why, SL_EVERIFY, "audio group %.*s has %d renditions and %d defaults",
                       (int)wanted.length, wanted.at, members, defaults);
    return SL_OK;
}

int manifest_master_check(const struct published_set *set, const char *text, size_t bytes,
                          struct sl_failure *why)
{
    int rc = text_check(text, bytes, "#EXTM3U\n", why);
    if (rc < 0)
        return rc;
    bool *named = calloc((size_t)set->rendition_count + (size_t)set->text_count + 1, sizeof *named);
    if (!named)
        return sl_fail(why, SL_ENOMEM, "no memory for %d renditions", set->rendition_count);
    struct span rest = {text, bytes}, line, value, tag = {0};
    while (rc == SL_OK && line_next(&rest, &line)) {
        int32_t found = -1;
        if (span_starts(line, "#EXT-X-MEDIA:")) {
            if (!attribute(span_after(line, 13), "URI", ',', &value) ||
                (found = rendition_of(set, value)) < 0)
                rc = sl_fail(why, SL_EVERIFY, "the master names an unknown playlist: %.*s",
                             line.length < 120 ? (int)line.length : 120, line.at);
        } else if (span_starts(line, "#EXT-X-STREAM-INF:")) {
            tag = span_after(line, 18);
        } else if (line.length > 0 && line.at[0] != '#') {
            found = rendition_of(set, line);
            if (found < 0 || found >= set->rendition_count || tag.length == 0)
                rc = sl_fail(why, SL_EVERIFY, "the master names an unknown playlist: %.*s",
                             line.length < 120 ? (int)line.length : 120, line.at);
            else
                rc = variant_check(&set->renditions[found], tag, why);
            if (rc == SL_OK)
                rc = group_check((struct span){text, bytes}, tag, why);
            tag = (struct span){0};
        }
        if (found >= 0)
            named[found] = true;
    }
    for (int32_t i = 0; i < set->rendition_count && rc == SL_OK; i++)
        if (!named[i])
            rc = sl_fail(why, SL_EVERIFY, "the master does not name the playlist of %s",
                         set->renditions[i].name);
    for (int32_t i = 0; i < set->text_count && rc == SL_OK; i++)
        if (!named[set->rendition_count + i])
            rc = sl_fail(why, SL_EVERIFY, "the master does not name the playlist of subtitles %s",
                         set->texts[i].name);
    free(named);
    return rc;
}

/* ---- DASH ---- */

/* The next tag, without its brackets. Text between tags stands behind it in text. */
static bool tag_next(struct span *text, struct span *tag)
{
    const char *open = text->length ? memchr(text->at, '<', text->length) : NULL;
    if (!open)
        return false;
    struct span from = span_after(*text, (size_t)(open - text->at) + 1);
    const char *close = memchr(from.at, '>', from.length);
    if (!close)
        return false;
    *tag = (struct span){from.at, (size_t)(close - from.at)};
    *text = span_after(from, tag->length + 1);
    return true;
}

/* Where the reader stands in one Representation. */
struct place {
    const struct published_rendition *rendition;
    int64_t timescale;
    int32_t timed; /* segments that the time line has covered */
    bool named;    /* the template makes every segment's name */
};

static int timeline_step(struct place *p, struct span tag, struct sl_failure *why)
{
    const struct published_rendition *r = p->rendition;
    int64_t t, d, repeat = 0;
    struct span value;
    if (!attribute_number(tag, "t", ' ', &t) || !attribute_number(tag, "d", ' ', &d) ||
        (attribute(tag, "r", ' ', &value) && !number_read(value, &repeat)) || repeat > INT32_MAX)
        return sl_fail(why, SL_EVERIFY, "the time line of %s has a step without t and d", r->name);
    for (int64_t i = 0; i <= repeat; i++, p->timed++, t += d) {
        if (p->timed >= r->segment_count)
            return sl_fail(why, SL_EVERIFY, "the time line of %s is longer than its %d segments",
                           r->name, r->segment_count);
        const struct published_segment *s = &r->segments[p->timed];
        if (t != presented_start(s) || t + d != s->end_ticks)
            return sl_fail(
                why, SL_EVERIFY, "segment %d of %s lasts from %lld to %lld in the MPD, not to %lld",
                p->timed, r->name, (long long)t, (long long)(t + d), (long long)s->end_ticks);
    }
    return SL_OK;
}

/* "h264/720p/000012.t57.m4s" without its ".t57". */
static bool plain_name(const char *key, char plain[JOB_NAME_BYTES])
{
    const char *dot = strrchr(key, '.');
    const char *token = dot ? memrchr(key, '.', (size_t)(dot - key)) : NULL;
    if (!token || token[1] != 't')
        return false;
    return snprintf(plain, JOB_NAME_BYTES, "%.*s%s", (int)(token - key), key, dot) < JOB_NAME_BYTES;
}

/* Does the template make the segment's name of its number? "$Number%06d$" stands in it once. */
static bool template_makes(struct span template, int32_t number, const char *key)
{
    static const char mark[] = "$Number%06d$";
    const char *at = memmem(template.at, template.length, mark, sizeof mark - 1);
    if (!at)
        return false;
    char made[2 * JOB_NAME_BYTES], resolved[JOB_NAME_BYTES], plain[JOB_NAME_BYTES];
    size_t before = (size_t)(at - template.at);
    struct span after = span_after(template, before + sizeof mark - 1);
    int length = snprintf(made, sizeof made, "%.*s%06d%.*s", (int)before, template.at, number,
                          (int)after.length, after.at);
    return length > 0 && (size_t)length < sizeof made &&
           uri_resolve("", (struct span){made, (size_t)length}, resolved) &&
           plain_name(key, plain) && strcmp(resolved, plain) == 0;
}

static int template_step(struct place *p, struct span tag, struct sl_failure *why)
{
    const struct published_rendition *r = p->rendition;
    char name[JOB_NAME_BYTES];
    struct span value;
    int64_t first;
    if (!attribute_number(tag, "timescale", ' ', &p->timescale) ||
        !attribute_number(tag, "startNumber", ' ', &first))
        return sl_fail(why, SL_EVERIFY, "the MPD has no time scale or first number for %s",
                       r->name);
    if (!attribute(tag, "initialization", ' ', &value) || !uri_resolve("", value, name) ||
        strcmp(name, r->init_key) != 0)
        return sl_fail(why, SL_EVERIFY, "the MPD does not name %s of %s", r->init_key, r->name);
    if (!attribute(tag, "media", ' ', &value))
        return sl_fail(why, SL_EVERIFY, "the MPD has no template for %s", r->name);
    for (int32_t i = 0; i < r->segment_count; i++)
        if (!template_makes(value, (int32_t)first + i, r->segments[i].key))
            return sl_fail(why, SL_EVERIFY, "the MPD does not name %s of %s", r->segments[i].key,
                           r->name);
    p->named = true;
    return SL_OK;
}

static int representation_end(const struct place *p, struct sl_failure *why)
{
    const struct published_rendition *r = p->rendition;
    if (!p->named || p->timescale != r->timescale || p->timed != r->segment_count)
        return sl_fail(why, SL_EVERIFY, "the MPD has %d times for the %d segments of %s%s",
                       p->timed, r->segment_count, r->name, p->named ? "" : " and no names");
    return SL_OK;
}

/* What the reader knows of an AdaptationSet. */
struct adaptation {
    const struct published_rendition *first;
    int64_t transfer; /* 0: it says nothing */
};

static void adaptation_step(struct adaptation *set, struct span tag)
{
    struct span scheme;
    if (span_starts(tag, "AdaptationSet "))
        *set = (struct adaptation){0};
    if (span_starts(tag, "EssentialProperty ") && attribute(tag, "schemeIdUri", ' ', &scheme) &&
        span_is(scheme, "urn:mpeg:mpegB:cicp:TransferCharacteristics") &&
        !attribute_number(tag, "value", ' ', &set->transfer))
        set->transfer = -1;
}

/* Players switch freely inside a set, and choose or leave it by what it says of its light. */
static int adaptation_check(struct adaptation *set, const struct published_rendition *r,
                            struct sl_failure *why)
{
    bool hdr = !r->audio && (r->color_transfer == H273_PQ || r->color_transfer == H273_HLG);
    if (set->transfer != (hdr ? r->color_transfer : 0))
        return sl_fail(why, SL_EVERIFY, "the MPD's set of %s has transfer %lld, not %d", r->name,
                       (long long)set->transfer, hdr ? r->color_transfer : 0);
    if (!set->first)
        set->first = r;
    if (set->first->audio != r->audio || (!r->audio && set->first->codec != r->codec))
        return sl_fail(why, SL_EVERIFY, "%s and %s are in one set of the MPD, but of two codecs",
                       set->first->name, r->name);
    return SL_OK;
}

/* A tag inside a Representation. */
static int representation_step(struct place *p, struct span tag, struct sl_failure *why)
{
    if (span_starts(tag, "SegmentTemplate "))
        return template_step(p, tag, why);
    return span_starts(tag, "S ") ? timeline_step(p, tag, why) : SL_OK;
}

/* A Representation of one file, whose address is the text of its BaseURL. */
static int text_file_check(const struct published_text *track, struct span rest,
                           struct sl_failure *why)
{
    struct span tag = {0};
    char name[JOB_NAME_BYTES];
    bool found = tag_next(&rest, &tag) && span_is(tag, "BaseURL");
    const char *end = found && rest.length ? memchr(rest.at, '<', rest.length) : NULL;
    if (!end || !uri_resolve("", (struct span){rest.at, (size_t)(end - rest.at)}, name) ||
        strcmp(name, track->whole_key) != 0)
        return sl_fail(why, SL_EVERIFY, "the MPD does not name %s of subtitles %s",
                       track->whole_key, track->name);
    return SL_OK;
}

int manifest_dash_check(const struct published_set *set, const char *text, size_t bytes,
                        struct sl_failure *why)
{
    int rc = text_check(text, bytes, "<?xml", why);
    if (rc < 0)
        return rc;
    struct span rest = {text, bytes}, tag = {0};
    int32_t index = -1;
    struct place place = {0};
    struct adaptation adaptation = {0};
    bool mpd_closed = false;
    while (rc == SL_OK && tag_next(&rest, &tag)) {
        if (span_starts(tag, "Representation ")) {
            if (++index >= set->rendition_count + set->text_count)
                return sl_fail(why, SL_EVERIFY, "the MPD has more than %d representations",
                               set->rendition_count + set->text_count);
            if (index >= set->rendition_count) {
                rc = text_file_check(&set->texts[index - set->rendition_count], rest, why);
                continue;
            }
            place = (struct place){.rendition = &set->renditions[index]};
            int64_t bandwidth;
            struct span codecs;
            if (!attribute_number(tag, "bandwidth", ' ', &bandwidth) || bandwidth <= 0 ||
                !attribute(tag, "codecs", ' ', &codecs) ||
                !span_is(codecs, place.rendition->codecs))
                rc = sl_fail(why, SL_EVERIFY, "the MPD lacks codecs %s or bandwidth for %s",
                             place.rendition->codecs, place.rendition->name);
            else
                rc = adaptation_check(&adaptation, place.rendition, why);
        } else if (span_is(tag, "/Representation") && place.rendition) {
            rc = representation_end(&place, why);
            place.rendition = NULL;
        } else if (place.rendition) {
            rc = representation_step(&place, tag, why);
        } else {
            adaptation_step(&adaptation, tag);
        }
        mpd_closed = span_is(tag, "/MPD");
    }
    if (rc == SL_OK && (!mpd_closed || index + 1 != set->rendition_count + set->text_count))
        rc = sl_fail(why, SL_EVERIFY, "the MPD ends after %d of %d representations", index + 1,
                     set->rendition_count + set->text_count);
    return rc;
}
