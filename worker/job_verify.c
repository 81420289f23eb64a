/* The last look before a video is ready: what is published holds together, as far as its own numbers say, and what was
 * picked of it reads back and decodes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "media/media_check.h"
#include "media/media_picture.h"
#include "package/manifest_read.h"
#include "package/webvtt_read.h"
#include "wire/wire_codec.h"
#include "worker/jobs.h"

#define DURATION_SLACK_NS SL_MS_TO_NS(500)
#define DRIFT_MAX_NS      SL_MS_TO_NS(50)
/* Before the media playlists come the set, the master and the MPD. */
#define PLAYLIST_INPUT    3

static int64_t ticks_ns(int64_t ticks, int32_t timescale)
{
    return sl_muldiv_i64(ticks, SL_NS_PER_S, timescale);
}

static int64_t end_ns(const struct published_rendition *r)
{
    return ticks_ns(r->segments[r->segment_count - 1].end_ticks, r->timescale);
}

/* Of audio the priming lies before the time line. */
static int64_t start_ns(const struct published_rendition *r)
{
    int64_t ticks = r->segments[0].start_ticks;
    return r->audio && ticks < 0 ? 0 : ticks_ns(ticks, r->timescale);
}

static int frames_judge(const struct published_set *set, const struct published_rendition *r,
                        struct sl_failure *why)
{
    int64_t frames = 0;
    for (int32_t i = 0; i < r->segment_count; i++)
        frames += r->segments[i].frame_count;
    if (frames != set->frame_count)
        return sl_fail(why, SL_EVERIFY, "%s %s has %" PRId64 " frames, the plan %" PRId64,
                       codec_word(r->codec), r->name, frames, set->frame_count);
    return SL_OK;
}

/* Players switch at segment starts: they must lie at the same times in all video renditions. */
static int switches_judge(const struct published_rendition *first,
                          const struct published_rendition *r, struct sl_failure *why)
{
    if (r->segment_count != first->segment_count)
        return sl_fail(why, SL_EVERIFY, "%s has %d segments, %s has %d", r->name, r->segment_count,
                       first->name, first->segment_count);
    for (int32_t i = 0; i < r->segment_count; i++)
        if ((__int128)r->segments[i].start_ticks * first->timescale !=
            (__int128)first->segments[i].start_ticks * r->timescale)
            return sl_fail(why, SL_EVERIFY,
                           "segment %d starts at %" PRId64 " ms in %s and at %" PRId64 " ms in %s",
                           i, SL_NS_TO_MS(ticks_ns(r->segments[i].start_ticks, r->timescale)),
                           r->name,
                           SL_NS_TO_MS(ticks_ns(first->segments[i].start_ticks, first->timescale)),
                           first->name);
    return SL_OK;
}

static int rendition_judge(const struct published_set *set, int32_t at, int64_t *drift_ns,
                           struct sl_failure *why)
{
    const struct published_rendition *r = &set->renditions[at];
    if (r->segment_count < 1 || r->timescale <= 0)
        return sl_fail(why, SL_EVERIFY, "rendition %s has no segment", r->name);
    for (int32_t i = 1; i < r->segment_count; i++)
        if (r->segments[i].start_ticks != r->segments[i - 1].end_ticks)
            return sl_fail(why, SL_EVERIFY,
                           "%s: segment %d starts at %" PRId64 ", the one before ends at %" PRId64,
                           r->name, i, r->segments[i].start_ticks, r->segments[i - 1].end_ticks);
    int64_t duration_ns = ticks_ns(set->duration_ticks, set->timescale);
    if (llabs(end_ns(r) - duration_ns) > DURATION_SLACK_NS)
        return sl_fail(why, SL_EVERIFY, "%s ends at %" PRId64 " ms, the video at %" PRId64 " ms",
                       r->name, SL_NS_TO_MS(end_ns(r)), SL_NS_TO_MS(duration_ns));
    if (!r->audio) {
        int code = frames_judge(set, r, why);
        return code == SL_OK ? switches_judge(&set->renditions[0], r, why) : code;
    }
    const struct published_rendition *video = &set->renditions[0];
    if (video->audio)
        return SL_OK;
    int64_t at_start_ns = llabs(start_ns(r) - start_ns(video));
    int64_t at_end_ns = llabs(end_ns(r) - end_ns(video));
    int64_t worst_ns = at_start_ns > at_end_ns ? at_start_ns : at_end_ns;
    if (worst_ns > *drift_ns)
        *drift_ns = worst_ns;
    if (worst_ns >= DRIFT_MAX_NS)
        return sl_fail(why, SL_EVERIFY,
                       "audio %s lies %" PRId64 " ms off the video at its start and %" PRId64
                       " ms at its end; less than %" PRId64 " is allowed",
                       r->name, SL_NS_TO_MS(at_start_ns), SL_NS_TO_MS(at_end_ns),
                       SL_NS_TO_MS(DRIFT_MAX_NS));
    return SL_OK;
}

/* The set was made before its playlists were; they are named by the lease that packaged it. */
static int playlists_name(struct published_set *set, struct lease_token package,
                          struct sl_failure *why)
{
    for (int32_t i = 0; i < set->rendition_count; i++) {
        struct published_rendition *r = &set->renditions[i];
        char name[JOB_NAME_BYTES];
        int code = job_playlist_name(r, name, why);
        if (code == SL_OK && run_output_key(name, package, r->playlist_key) != SL_OK)
            code = sl_fail(why, SL_ELIMIT, "the name of rendition %s is too long", r->name);
        if (code != SL_OK)
            return code;
    }
    for (int32_t i = 0; i < set->text_count; i++) {
        struct published_text *track = &set->texts[i];
        char name[JOB_NAME_BYTES];
        int code = job_text_playlist_name(track, name, why);
        if (code == SL_OK && run_output_key(name, package, track->playlist_key) != SL_OK)
            code = sl_fail(why, SL_ELIMIT, "the name of track %s is too long", track->name);
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

static int manifests_judge(struct worker_run *run, const struct published_set *set,
                           struct sl_failure *why)
{
    struct sl_buf text = {0};
    int code = run_input_whole(run, 1, &text, why);
    if (code == SL_OK)
        code = manifest_master_check(set, (const char *)text.data, text.length, why);
    sl_buf_reset(&text);
    if (code == SL_OK)
        code = run_input_whole(run, 2, &text, why);
    if (code == SL_OK)
        code = manifest_dash_check(set, (const char *)text.data, text.length, why);
    for (int32_t i = 0; code == SL_OK && i < set->rendition_count; i++) {
        sl_buf_reset(&text);
        code = run_input_whole(run, PLAYLIST_INPUT + i, &text, why);
        if (code == SL_OK)
            code = manifest_hls_check(set, i, set->renditions[i].playlist_key,
                                      (const char *)text.data, text.length, why);
    }
    for (int32_t i = 0; code == SL_OK && i < set->text_count; i++) {
        sl_buf_reset(&text);
        code = run_input_whole(run, PLAYLIST_INPUT + set->rendition_count + i, &text, why);
        if (code == SL_OK)
            code = manifest_text_check(set, i, set->texts[i].playlist_key, (const char *)text.data,
                                       text.length, why);
    }
    sl_buf_fini(&text);
    return code;
}

/* Cues lie within the video, and segments hold no cue that is seen elsewhere only. */
static int texts_judge(struct worker_run *run, const struct published_set *set, int32_t input,
                       struct sl_failure *why)
{
    struct sl_buf text = {0};
    int64_t most_ms = sl_muldiv_i64(set->duration_ticks, 1000, set->timescale) + 1;
    int code = SL_OK;
    for (int32_t i = 0; code == SL_OK && i < set->text_count; i++) {
        const struct published_text *track = &set->texts[i];
        struct sl_failure found = {0};
        int64_t cues = 0;
        sl_buf_reset(&text);
        code = run_input_whole(run, input + i, &text, why);
        if (code == SL_OK && (code = webvtt_read((const char *)text.data, text.length, most_ms,
                                                 NULL, NULL, &cues, &found)) != SL_OK)
            sl_fail(why, code, "%s: %.150s", track->whole_key, found.message);
        if (code == SL_OK && cues != track->cue_count)
            code = sl_fail(why, SL_EVERIFY, "%s has %" PRId64 " cues, its segments %" PRId64,
                           track->whole_key, cues, track->cue_count);
    }
    sl_buf_fini(&text);
    return code;
}

/* A place on the map: "images/sheet-000.t9.jpg#xywh=0,0,160,90", of a sheet that there is. */
static int place_judge(void *arg, const struct webvtt_cue *cue, struct sl_failure *why)
{
    const struct published_images *images = arg;
    const char *mark = memchr(cue->text, '#', cue->text_bytes);
    size_t length = mark ? (size_t)(mark - cue->text) : cue->text_bytes;
    for (int32_t i = 0; mark && i < images->sheet_count; i++)
        if (strlen(images->sheets[i].key) == length &&
            memcmp(images->sheets[i].key, cue->text, length) == 0)
            return SL_OK;
    return sl_fail(why, SL_EVERIFY, "the map of thumbnails names %.*s, which is no sheet",
                   length < 80 ? (int)length : 80, cue->text);
}

static int picture_judge(struct worker_run *run, const struct published_image *image, int32_t input,
                         struct sl_failure *why)
{
    struct sl_buf bytes = {0};
    struct sl_failure found = {0};
    int32_t width = 0, height = 0;
    int code = run_input_whole(run, input, &bytes, why);
    if (code == SL_OK && (int64_t)bytes.length != image->bytes)
        code = sl_fail(why, SL_EVERIFY, "%s has %zu bytes, its report said %" PRId64, image->key,
                       bytes.length, image->bytes);
    if (code == SL_OK &&
        (code = media_picture_check(bytes.data, bytes.length, &width, &height, &found)) != SL_OK)
        sl_fail(why, code, "%s: %.150s", image->key, found.message);
    sl_buf_fini(&bytes);
    return code;
}

static int images_judge(struct worker_run *run, const struct published_set *set, int32_t *input,
                        struct sl_failure *why)
{
    const struct published_images *images = &set->images;
    int code = SL_OK;
    if (images->poster.key[0])
        code = picture_judge(run, &images->poster, (*input)++, why);
    if (code == SL_OK && images->thumbnails.key[0]) {
        struct sl_buf text = {0};
        int64_t places = 0;
        code = run_input_whole(run, (*input)++, &text, why);
        if (code == SL_OK)
            code = webvtt_read((const char *)text.data, text.length,
                               sl_muldiv_i64(set->duration_ticks, 1000, set->timescale) + 1,
                               place_judge, (void *)images, &places, why);
        sl_buf_fini(&text);
    }
    if (code == SL_OK && images->preview.key[0])
        code = picture_judge(run, &images->preview, (*input)++, why);
    if (code == SL_OK && images->sheet_count > 0)
        code = picture_judge(run, &images->sheets[0], (*input)++, why);
    return code;
}

static int sample_judge(struct worker_run *run, const struct published_set *set,
                        const struct job_sample *sample, int64_t *frames, struct sl_failure *why)
{
    if (sample->rendition < 0 || sample->rendition >= set->rendition_count || sample->segment < 0 ||
        sample->segment >= set->renditions[sample->rendition].segment_count)
        return sl_fail(why, SL_EINVAL, "the set has no segment %d of rendition %d", sample->segment,
                       sample->rendition);
    const struct published_rendition *r = &set->renditions[sample->rendition];
    const struct published_segment *segment = &r->segments[sample->segment];
    struct media_check_want want = {
        .audio = r->audio,
        .timescale = r->timescale,
        .frame_count = segment->frame_count,
        .start_ticks = segment->start_ticks,
        .last_ticks = segment->last_ticks,
        .width = r->width,
        .height = r->height,
        .bit_depth = r->bit_depth,
        .color_primaries = r->color_primaries,
        .color_transfer = r->color_transfer,
        .color_matrix = r->color_matrix,
        .hdr = r->audio ? NULL : &r->hdr,
        .decode = MEDIA_CHECK_FIRST_GOP,
    };
    struct sl_buf init = {0}, body = {0};
    struct sl_failure found = {0};
    int64_t decoded = 0;
    int code = run_input_whole(run, sample->init_input, &init, why);
    if (code == SL_OK)
        code = run_input_whole(run, sample->segment_input, &body, why);
    if (code == SL_OK && (int64_t)body.length != segment->bytes)
        code = sl_fail(why, SL_EVERIFY, "%s has %zu bytes, its report said %" PRId64, segment->key,
                       body.length, segment->bytes);
    if (code == SL_OK) {
        code = media_check_segment(init.data, init.length, body.data, body.length, &want, &decoded,
                                   &found);
        if (code == SL_EMISMATCH)
            code = SL_EVERIFY;
        if (code != SL_OK)
            sl_fail(why, code, "%s: %.150s", segment->key, found.message);
    }
    *frames += decoded;
    sl_buf_fini(&init);
    sl_buf_fini(&body);
    return code;
}

int job_verify(struct worker_run *run, struct sl_failure *why)
{
    const struct job_verify *job = &run->job.verify;
    struct report_verify *report = &run->report.verify;
    struct sl_buf bytes = {0};
    struct published_set set = {0};
    int code = run_input_whole(run, 0, &bytes, why);
    run_first_work(run);
    if (code == SL_OK)
        code = wire_published_decode(bytes.data, bytes.length, &run->arena, &set, why);
    sl_buf_fini(&bytes);
    if (code == SL_OK && (set.rendition_count < 1 || set.timescale <= 0))
        code = sl_fail(why, SL_EVERIFY, "the published set has no rendition");
    for (int32_t i = 0; code == SL_OK && i < set.rendition_count; i++)
        code = rendition_judge(&set, i, &report->av_drift_ns, why);
    if (code == SL_OK)
        code = playlists_name(&set, job->package_token, why);
    if (code == SL_OK)
        code = manifests_judge(run, &set, why);
    int32_t input = PLAYLIST_INPUT + set.rendition_count + set.text_count;
    if (code == SL_OK)
        code = texts_judge(run, &set, input, why);
    input += set.text_count;
    if (code == SL_OK)
        code = images_judge(run, &set, &input, why);
    for (int32_t i = 0; code == SL_OK && i < job->sample_count; i++) {
        code = sample_judge(run, &set, &job->samples[i], &report->frames_decoded, why);
        run_progress(run, i + 1, job->sample_count);
    }
    if (code == SL_OK)
        report->duration_ns = ticks_ns(set.duration_ticks, set.timescale);
    return code;
}
