#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "package/manifest_common.h"

#define US_PER_S INT64_C(1000000)

/* HLS quoted strings have no escapes; these bytes cannot be in one. */
static void quoted_put(struct sl_buf *out, const char *text)
{
    sl_buf_text(out, "\"");
    for (const char *c = text; *c; c++)
        sl_buf_append(out, *c == '"' || (unsigned char)*c < 0x20 || *c == 0x7f ? "_" : c, 1);
    sl_buf_text(out, "\"");
}

static int done(const struct sl_buf *out, struct sl_failure *why)
{
    return out->failed ? sl_fail(why, SL_ENOMEM, "no memory for a playlist") : SL_OK;
}

static void head_put(struct sl_buf *out, const struct published_rendition *r, const char *key,
                     const char *type, int64_t target_s)
{
    sl_buf_printf(out,
                  "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%" PRId64
                  "\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:%s\n"
                  "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"",
                  target_s, type);
    manifest_uri_put(out, key, r->init_key);
    sl_buf_text(out, "\"\n");
}

void manifest_hls_head(const struct published_rendition *rendition, const char *key,
                       int64_t target_s, struct sl_buf *out)
{
    /* Players join a growing playlist near its end unless they are told where to start. */
    head_put(out, rendition, key, "EVENT\n#EXT-X-START:TIME-OFFSET=0", target_s);
}

void manifest_hls_lines(const struct published_rendition *rendition, const char *key,
                        struct sl_buf *out)
{
    for (int32_t i = 0; i < rendition->segment_count; i++) {
        int64_t us = manifest_duration_us(rendition, i);
        sl_buf_printf(out, "#EXTINF:%" PRId64 ".%06" PRId64 ",\n", us / US_PER_S, us % US_PER_S);
        manifest_uri_put(out, key, rendition->segments[i].key);
        sl_buf_text(out, "\n");
    }
}

int manifest_hls_event_key(const struct published_rendition *rendition, char out[JOB_NAME_BYTES])
{
    const char *slash = strrchr(rendition->segments[0].key, '/');
    int folder = slash ? (int)(slash + 1 - rendition->segments[0].key) : 0;
    int n = snprintf(out, JOB_NAME_BYTES, "%.*splaylist.m3u8", folder, rendition->segments[0].key);
    return n < JOB_NAME_BYTES ? SL_OK : SL_ELIMIT;
}

static int playlist_check(const struct published_set *set, int32_t rendition,
                          struct sl_failure *why)
{
    int rc = manifest_set_check(set, why);
    if (rc < 0)
        return rc;
    if (rendition < 0 || rendition >= set->rendition_count)
        return sl_fail(why, SL_EINVAL, "video %s has no rendition %d", set->video, rendition);
    return SL_OK;
}

int manifest_hls_media(const struct published_set *set, int32_t rendition, const char *key,
                       struct sl_buf *out, struct sl_failure *why)
{
    int rc = playlist_check(set, rendition, why);
    if (rc < 0)
        return rc;
    const struct published_rendition *r = &set->renditions[rendition];
    head_put(out, r, key, "VOD", manifest_target_s(set));
    manifest_hls_lines(r, key, out);
    sl_buf_text(out, MANIFEST_HLS_END);
    return done(out, why);
}

int manifest_hls_text(const struct published_set *set, int32_t text, const char *key,
                      struct sl_buf *out, struct sl_failure *why)
{
    int rc = manifest_set_check(set, why);
    if (rc < 0)
        return rc;
    if (text < 0 || text >= set->text_count)
        return sl_fail(why, SL_EINVAL, "video %s has no subtitles %d", set->video, text);
    const struct published_text *track = &set->texts[text];
    const struct published_rendition as_rendition = {.timescale = track->timescale,
                                                     .segments = track->segments,
                                                     .segment_count = track->segment_count};
    int64_t target = (manifest_longest_us(&as_rendition) + US_PER_S / 2) / US_PER_S;
    sl_buf_printf(out,
                  "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%" PRId64
                  "\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
                  target > 0 ? target : 1);
    for (int32_t i = 0; i < track->segment_count; i++) {
        int64_t us = manifest_duration_us(&as_rendition, i);
        sl_buf_printf(out, "#EXTINF:%" PRId64 ".%06" PRId64 ",\n", us / US_PER_S, us % US_PER_S);
        manifest_uri_put(out, key, track->segments[i].key);
        sl_buf_text(out, "\n");
    }
    sl_buf_text(out, "#EXT-X-ENDLIST\n");
    return done(out, why);
}

static void text_put(struct sl_buf *out, const struct published_set *set, int32_t at)
{
    const struct published_text *text = &set->texts[at];
    const char *language = manifest_language(text->language);
    char label[MANIFEST_LABEL_BYTES];
    manifest_text_label(set, at, label);
    sl_buf_text(out, "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=");
    quoted_put(out, label);
    if (strcmp(language, "und") != 0)
        sl_buf_printf(out, ",LANGUAGE=\"%s\"", language);
    sl_buf_printf(out, ",DEFAULT=%s,AUTOSELECT=YES,FORCED=%s", text->is_default ? "YES" : "NO",
                  text->forced ? "YES" : "NO");
    if (text->impaired)
        sl_buf_text(out, ",CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,"
                         "public.accessibility.describes-music-and-sound\"");
    sl_buf_text(out, ",URI=\"");
    manifest_uri_put(out, "", text->playlist_key);
    sl_buf_text(out, "\"\n");
}

int manifest_hls_event(const struct published_set *set, int32_t rendition, const char *key,
                       struct sl_buf *out, struct sl_failure *why)
{
    int rc = playlist_check(set, rendition, why);
    if (rc < 0)
        return rc;
    const struct published_rendition *r = &set->renditions[rendition];
    manifest_hls_head(r, key, manifest_target_s(set), out);
    manifest_hls_lines(r, key, out);
    sl_buf_text(out, MANIFEST_HLS_END);
    return done(out, why);
}

/* ---- audio groups ---- */

/* Every group offers every track, so that a player which changes the group keeps its language. */
struct groups {
    const struct published_rendition *audio; /* of the set */
    int32_t count;
    int32_t track_count;
};

static struct groups groups_of(const struct published_set *set, int32_t videos)
{
    struct groups g = {set->renditions + videos, set->rendition_count - videos, 0};
    for (int32_t i = 0; i < g.count; i++)
        if (g.audio[i].track >= g.track_count)
            g.track_count = g.audio[i].track + 1;
    return g;
}

/* The first rendition of a group stands for it. */
static bool opens_group(const struct groups *g, int32_t index)
{
    for (int32_t i = 0; i < index; i++)
        if (strcmp(g->audio[i].group, g->audio[index].group) == 0)
            return false;
    return true;
}

/* What a group plays of a track: its own rendition; where it has none (a stereo track beside a surround one) that of
 * another group, of the same codec if there is one. NULL: the track has none at all. */
static const struct published_rendition *
member(const struct groups *g, const struct published_rendition *group, int32_t track)
{
    const struct published_rendition *same_codec = NULL, *any = NULL;
    for (int32_t i = 0; i < g->count; i++) {
        const struct published_rendition *r = &g->audio[i];
        if (r->track != track)
            continue;
        if (strcmp(r->group, group->group) == 0)
            return r;
        if (!same_codec && r->audio_codec == group->audio_codec)
            same_codec = r;
        any = any ? any : r;
    }
    return same_codec ? same_codec : any;
}

/* A player may choose by language alone among those that nothing else tells apart. */
static bool chosen_by_language(const struct groups *g, const struct published_rendition *r)
{
    for (int32_t i = 0; i < g->count; i++)
        if (g->audio[i].track < r->track && g->audio[i].role == r->role &&
            strcmp(g->audio[i].language, r->language) == 0)
            return false;
    return r->role != AUDIO_ROLE_COMMENTARY;
}

static void media_put(struct sl_buf *out, const struct groups *g,
                      const struct published_rendition *group, const struct published_rendition *r)
{
    const char *language = manifest_language(r->language);
    sl_buf_text(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=");
    quoted_put(out, group->group);
    sl_buf_text(out, ",NAME=");
    quoted_put(out, r->label);
    if (strcmp(language, "und") != 0)
        sl_buf_printf(out, ",LANGUAGE=\"%s\"", language);
    sl_buf_printf(out, ",DEFAULT=%s,AUTOSELECT=%s", r->track == 0 ? "YES" : "NO",
                  r->track == 0 || chosen_by_language(g, r) ? "YES" : "NO");
    if (r->role == AUDIO_ROLE_DESCRIPTION)
        sl_buf_text(out, ",CHARACTERISTICS=\"public.accessibility.describes-video\"");
    if (r->channels > 0)
        sl_buf_printf(out, ",CHANNELS=\"%d\"", r->channels);
    sl_buf_text(out, ",URI=\"");
    manifest_uri_put(out, "", r->playlist_key);
    sl_buf_text(out, "\"\n");
}

static void medias_put(struct sl_buf *out, const struct groups *g)
{
    for (int32_t i = 0; i < g->count; i++)
        for (int32_t track = 0; track < g->track_count && opens_group(g, i); track++) {
            const struct published_rendition *r = member(g, &g->audio[i], track);
            if (r)
                media_put(out, g, &g->audio[i], r);
        }
}

/* ---- variants ---- */

/* What a group adds to a variant: the rates of its largest member, and the codecs of all. */
static void group_sum(const struct groups *g, const struct published_rendition *group,
                      int64_t *peak, int64_t *average, struct sl_buf *codecs)
{
    *peak = *average = 0;
    for (int32_t track = 0; track < g->track_count; track++) {
        const struct published_rendition *r = member(g, group, track);
        int64_t r_peak, r_average;
        if (!r)
            continue;
        manifest_bandwidth(r, &r_peak, &r_average);
        *peak = r_peak > *peak ? r_peak : *peak;
        *average = r_average > *average ? r_average : *average;
        if (!codecs->length || !strstr((const char *)codecs->data, r->codecs))
            sl_buf_printf(codecs, "%s%s", codecs->length ? "," : "", r->codecs);
    }
}

/* draft-pantos-hls-rfc8216bis, 4.4.6.2. Transfer characteristics 16 is PQ, 18 is HLG. What SUPPLEMENTAL-CODECS is for,
 * layers beside a base (Dolby Vision), is not made. */
static const char *range_word(int32_t transfer)
{
    return transfer == 16 ? "PQ" : transfer == 18 ? "HLG" : "SDR";
}

/* video NULL: sound alone, the group's first track. group NULL: a picture without sound. */
static void variant_put(struct sl_buf *out, const struct published_set *set,
                        const struct published_rendition *video, const struct groups *g,
                        const struct published_rendition *group)
{
    int64_t peak = 0, average = 0, audio_peak = 0, audio_average = 0;
    struct sl_buf codecs = {0};
    if (video) {
        manifest_bandwidth(video, &peak, &average);
        sl_buf_printf(&codecs, "%s", video->codecs);
    }
    if (group)
        group_sum(g, group, &audio_peak, &audio_average, &codecs);
    sl_buf_printf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%" PRId64 ",AVERAGE-BANDWIDTH=%" PRId64,
                  peak + audio_peak, average + audio_average);
    sl_buf_text(out, ",CODECS=");
    quoted_put(out, codecs.data ? (const char *)codecs.data : "");
    out->failed |= codecs.failed;
    sl_buf_fini(&codecs);
    if (video) {
        sl_buf_printf(out, ",RESOLUTION=%dx%d", video->width, video->height);
        if (set->frame_rate.num > 0 && set->frame_rate.den > 0) {
            int64_t millis =
                sl_muldiv_i64(INT64_C(2) * set->frame_rate.num * 1000 + set->frame_rate.den, 1,
                              INT64_C(2) * set->frame_rate.den);
            sl_buf_printf(out, ",FRAME-RATE=%" PRId64 ".%03" PRId64, millis / 1000, millis % 1000);
        }
        sl_buf_printf(out, ",VIDEO-RANGE=%s", range_word(video->color_transfer));
    }
    if (group) {
        sl_buf_text(out, ",AUDIO=");
        quoted_put(out, group->group);
    }
    if (set->text_count > 0)
        sl_buf_text(out, ",SUBTITLES=\"subtitles\"");
    sl_buf_text(out, "\n");
    manifest_uri_put(out, "", video ? video->playlist_key : member(g, group, 0)->playlist_key);
    sl_buf_text(out, "\n");
}

int manifest_hls_master(const struct published_set *set, struct sl_buf *out, struct sl_failure *why)
{
    int rc = manifest_set_check(set, why);
    if (rc < 0)
        return rc;
    int32_t videos = 0;
    for (int32_t i = 0; i < set->rendition_count; i++) {
        if (!set->renditions[i].playlist_key[0])
            return sl_fail(why, SL_EMISMATCH, "rendition %s has no playlist yet",
                           set->renditions[i].name);
        videos += !set->renditions[i].audio;
    }
    const struct published_rendition *r = set->renditions;
    sl_buf_text(out, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    struct groups g = groups_of(set, videos);
    medias_put(out, &g);
    for (int32_t i = 0; i < set->text_count; i++) {
        if (!set->texts[i].playlist_key[0])
            return sl_fail(why, SL_EMISMATCH, "subtitles %s have no playlist yet",
                           set->texts[i].name);
        text_put(out, set, i);
    }
    /* Each picture once with each group: bandwidth and codecs differ. The policy's first group comes first. */
    for (int32_t i = 0; i < g.count; i++) {
        if (!opens_group(&g, i))
            continue;
        if (videos == 0)
            variant_put(out, set, NULL, &g, &g.audio[i]);
        for (int32_t v = 0; v < videos; v++)
            variant_put(out, set, &r[v], &g, &g.audio[i]);
    }
    for (int32_t v = 0; v < videos && g.count == 0; v++)
        variant_put(out, set, &r[v], &g, NULL);
    return done(out, why);
}
