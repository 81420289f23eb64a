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

static void media_put(struct sl_buf *out, const struct published_rendition *audio, bool first)
{
    const char *language = manifest_language(audio->language);
    sl_buf_text(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=");
    quoted_put(out, audio->name);
    sl_buf_text(out, ",NAME=");
    quoted_put(out, strcmp(language, "und") == 0 ? "Audio" : language);
    if (strcmp(language, "und") != 0)
        sl_buf_printf(out, ",LANGUAGE=\"%s\"", language);
    sl_buf_printf(out, ",DEFAULT=%s,AUTOSELECT=YES", first ? "YES" : "NO");
    if (audio->channels > 0)
        sl_buf_printf(out, ",CHANNELS=\"%d\"", audio->channels);
    sl_buf_text(out, ",URI=\"");
    manifest_uri_put(out, "", audio->playlist_key);
    sl_buf_text(out, "\"\n");
}

static void variant_put(struct sl_buf *out, const struct published_set *set,
                        const struct published_rendition *video,
                        const struct published_rendition *audio)
{
    int64_t peak, average;
    manifest_bandwidth(video, &peak, &average);
    if (audio && audio != video) {
        int64_t audio_peak, audio_average;
        manifest_bandwidth(audio, &audio_peak, &audio_average);
        peak += audio_peak;
        average += audio_average;
    }
    sl_buf_printf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%" PRId64 ",AVERAGE-BANDWIDTH=%" PRId64, peak,
                  average);
    sl_buf_text(out, ",CODECS=\"");
    sl_buf_text(out, video->codecs);
    if (audio && audio != video) {
        sl_buf_text(out, ",");
        sl_buf_text(out, audio->codecs);
    }
    sl_buf_text(out, "\"");
    if (!video->audio) {
        sl_buf_printf(out, ",RESOLUTION=%dx%d", video->width, video->height);
        if (set->frame_rate.num > 0 && set->frame_rate.den > 0) {
            int64_t millis =
                sl_muldiv_i64(INT64_C(2) * set->frame_rate.num * 1000 + set->frame_rate.den, 1,
                              INT64_C(2) * set->frame_rate.den);
            sl_buf_printf(out, ",FRAME-RATE=%" PRId64 ".%03" PRId64, millis / 1000, millis % 1000);
        }
    }
    if (audio) {
        sl_buf_text(out, ",AUDIO=");
        quoted_put(out, audio->name);
    }
    sl_buf_text(out, "\n");
    manifest_uri_put(out, "", video->playlist_key);
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
    /* One group for each audio rendition, and each video once per group: its bandwidth differs. */
    for (int32_t i = videos; i < set->rendition_count; i++)
        media_put(out, &r[i], true);
    if (videos == 0)
        for (int32_t i = 0; i < set->rendition_count; i++)
            variant_put(out, set, &r[i], &r[i]);
    for (int32_t i = 0; i < videos; i++) {
        if (videos == set->rendition_count)
            variant_put(out, set, &r[i], NULL);
        for (int32_t j = videos; j < set->rendition_count; j++)
            variant_put(out, set, &r[i], &r[j]);
    }
    return done(out, why);
}
