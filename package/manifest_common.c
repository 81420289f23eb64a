#include "package/manifest_common.h"

#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/time.h"

static int rendition_check(const struct published_set *set, int32_t index, struct sl_failure *why)
{
    const struct published_rendition *r = &set->renditions[index];
    if (r->segment_count <= 0 || r->timescale <= 0 || !r->init_key[0] || !r->codecs[0])
        return sl_fail(why, SL_EMISMATCH, "rendition %s lacks %s", r->name,
                       r->segment_count <= 0 ? "segments"
                       : r->timescale <= 0   ? "a time scale"
                       : !r->init_key[0]     ? "an init segment"
                                             : "a codecs string");
    if (!r->audio && (r->width <= 0 || r->height <= 0))
        return sl_fail(why, SL_EMISMATCH, "rendition %s has no size", r->name);
    if (index > 0 && !r->audio && set->renditions[index - 1].audio)
        return sl_fail(why, SL_EMISMATCH, "video rendition %s stands behind audio", r->name);
    for (int32_t i = 0; i < r->segment_count; i++) {
        const struct published_segment *s = &r->segments[i];
        if (!s->key[0] || s->bytes <= 0)
            return sl_fail(why, SL_EMISMATCH, "segment %d of %s has no object", i, r->name);
        if (manifest_start_ticks(s) >= s->end_ticks)
            return sl_fail(why, SL_EMISMATCH, "segment %d of %s lasts from %lld to %lld", i,
                           r->name, (long long)s->start_ticks, (long long)s->end_ticks);
        if (i > 0 && s->start_ticks != r->segments[i - 1].end_ticks)
            return sl_fail(why, SL_EMISMATCH,
                           "segment %d of %s starts at %lld, but the one before ends at %lld", i,
                           r->name, (long long)s->start_ticks,
                           (long long)r->segments[i - 1].end_ticks);
    }
    return SL_OK;
}

static int text_check(const struct published_set *set, const struct published_text *text,
                      struct sl_failure *why)
{
    if (!text->whole_key[0] || text->segment_count <= 0 || text->timescale <= 0)
        return sl_fail(why, SL_EMISMATCH, "subtitles %s lack %s", text->name,
                       text->whole_key[0] ? "segments" : "the whole track");
    for (int32_t i = 0; i < text->segment_count; i++) {
        const struct published_segment *s = &text->segments[i];
        if (!s->key[0] || s->end_ticks <= s->start_ticks ||
            (i > 0 && s->start_ticks != text->segments[i - 1].end_ticks))
            return sl_fail(why, SL_EMISMATCH, "segment %d of subtitles %s lasts from %lld to %lld",
                           i, text->name, (long long)s->start_ticks, (long long)s->end_ticks);
    }
    const struct published_rendition *first = &set->renditions[0];
    if (!first->audio && text->segment_count != first->segment_count)
        return sl_fail(why, SL_EMISMATCH, "subtitles %s have %d segments, %s has %d", text->name,
                       text->segment_count, first->name, first->segment_count);
    return SL_OK;
}

int manifest_set_check(const struct published_set *set, struct sl_failure *why)
{
    if (set->rendition_count <= 0)
        return sl_fail(why, SL_EMISMATCH, "video %s has no renditions", set->video);
    const struct published_rendition *first = &set->renditions[0];
    for (int32_t i = 0; i < set->rendition_count; i++) {
        int rc = rendition_check(set, i, why);
        if (rc < 0)
            return rc;
        const struct published_rendition *r = &set->renditions[i];
        if (r->audio || i == 0)
            continue;
        if (r->segment_count != first->segment_count)
            return sl_fail(why, SL_EMISMATCH, "rendition %s has %d segments, %s has %d", r->name,
                           r->segment_count, first->name, first->segment_count);
        for (int32_t j = 0; j < r->segment_count; j++)
            if ((__int128)r->segments[j].start_ticks * first->timescale !=
                (__int128)first->segments[j].start_ticks * r->timescale)
                return sl_fail(why, SL_EMISMATCH,
                               "segment %d of %s starts elsewhere than that of %s", j, r->name,
                               first->name);
    }
    for (int32_t i = 0; i < set->text_count; i++) {
        int rc = text_check(set, &set->texts[i], why);
        if (rc < 0)
            return rc;
    }
    return SL_OK;
}

/* Its own words, which another track may have too. */
static void text_words(const struct published_text *text, char words[MANIFEST_LABEL_BYTES])
{
    const char *language = manifest_language(text->language);
    const char *name = sl_language_name(text->language);
    if (text->title[0])
        snprintf(words, MANIFEST_LABEL_BYTES, "%s", text->title);
    else
        snprintf(words, MANIFEST_LABEL_BYTES, "%s%s",
                 name                           ? name
                 : strcmp(language, "und") == 0 ? "Subtitles"
                                                : language,
                 text->forced ? " (forced)" : "");
}

void manifest_text_label(const struct published_set *set, int32_t text,
                         char label[MANIFEST_LABEL_BYTES])
{
    int alike = 1;
    text_words(&set->texts[text], label);
    for (int32_t i = 0; i < text; i++) {
        char other[MANIFEST_LABEL_BYTES];
        text_words(&set->texts[i], other);
        alike += strcmp(other, label) == 0;
    }
    size_t length = strlen(label);
    if (alike > 1)
        snprintf(label + length, MANIFEST_LABEL_BYTES - length, " %d", alike);
}

int64_t manifest_start_ticks(const struct published_segment *segment)
{
    return segment->start_ticks < 0 ? 0 : segment->start_ticks;
}

int64_t manifest_ticks_us(int64_t ticks, int32_t timescale)
{
    return sl_muldiv_i64(2 * ticks + 1, 1000000, INT64_C(2) * timescale);
}

int64_t manifest_duration_us(const struct published_rendition *rendition, int32_t segment)
{
    const struct published_segment *s = &rendition->segments[segment];
    return manifest_ticks_us(s->end_ticks, rendition->timescale) -
           manifest_ticks_us(manifest_start_ticks(s), rendition->timescale);
}

int64_t manifest_longest_us(const struct published_rendition *rendition)
{
    int64_t longest = 0;
    for (int32_t i = 0; i < rendition->segment_count; i++) {
        int64_t us = manifest_duration_us(rendition, i);
        if (us > longest)
            longest = us;
    }
    return longest;
}

int64_t manifest_target_s(const struct published_set *set)
{
    int64_t longest_us = 0;
    for (int32_t i = 0; i < set->rendition_count; i++) {
        int64_t us = manifest_longest_us(&set->renditions[i]);
        longest_us = us > longest_us ? us : longest_us;
    }
    int64_t target = (longest_us + 500000) / 1000000;
    return target > 0 ? target : 1;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~/", c) != NULL;
}

void manifest_uri_put(struct sl_buf *out, const char *from, const char *key)
{
    size_t shared = 0; /* length of the folders in common, the last '/' included */
    for (size_t i = 0; from[i] && from[i] == key[i]; i++)
        if (from[i] == '/')
            shared = i + 1;
    for (const char *c = from + shared; *c; c++)
        if (*c == '/')
            sl_buf_text(out, "../");
    for (const char *c = key + shared; *c; c++) {
        if (is_plain(*c))
            sl_buf_append(out, c, 1);
        else
            sl_buf_printf(out, "%%%02X", (unsigned)(unsigned char)*c);
    }
}

const char *manifest_language(const char *iso639_2)
{
    return sl_language_tag(iso639_2);
}

/* RFC 8216, 4.3.4.2: the peak is the largest rate of any run of segments that lasts between half and one and
 * a half target durations, so that a short last segment alone does not count. */
void manifest_bandwidth(const struct published_rendition *rendition, int64_t *peak_bps,
                        int64_t *average_bps)
{
    if (rendition->declared_bps > 0) {
        *peak_bps = rendition->declared_bps;
        *average_bps = rendition->maxrate_kbps > 0 ? INT64_C(1000) * rendition->maxrate_kbps
                                                   : rendition->declared_bps;
        return;
    }
    int64_t target_us = manifest_longest_us(rendition);
    int64_t bytes = 0, us = 0, peak = 0;
    for (int32_t i = 0; i < rendition->segment_count; i++) {
        bytes += rendition->segments[i].bytes;
        us += manifest_duration_us(rendition, i);
        int64_t run_bytes = 0, run_us = 0;
        for (int32_t j = i; j < rendition->segment_count; j++) {
            run_bytes += rendition->segments[j].bytes;
            run_us += manifest_duration_us(rendition, j);
            if (run_us > target_us + target_us / 2)
                break;
            if (run_us >= target_us / 2) {
                /* Rounded up: it is a bound. */
                int64_t rate = -sl_muldiv_i64(-run_bytes, 8000000, run_us);
                peak = rate > peak ? rate : peak;
            }
        }
    }
    *average_bps = us > 0 ? sl_muldiv_i64(bytes, 8000000, us) : 0;
    *peak_bps = peak > *average_bps ? peak : *average_bps;
}
