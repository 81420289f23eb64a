#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

#define RENDITIONS_MAX        (CODEC_COUNT * PLAN_CODEC_RUNGS_MAX + PLAN_AUDIO_MAX)
#define SAMPLES_PER_RENDITION 2
/* Verify reads the set, the master, the MPD, a playlist and an init segment per rendition, and the samples: one each,
 * and a second one as long as there is room. */
_Static_assert(3 + RENDITIONS_MAX * 3 <= JOB_INPUTS_MAX, "verify has room for its inputs");

static void output_take(const struct report *report, int32_t at, char key[JOB_NAME_BYTES],
                        int64_t *bytes)
{
    memcpy(key, report->outputs[at].key, JOB_NAME_BYTES);
    *bytes = report->outputs[at].bytes;
}

static void segment_take(const struct report *report, const struct report_segment *from,
                         struct published_segment *to)
{
    output_take(report, from->output, to->key, &to->bytes);
    to->frame_count = from->frame_count;
    to->start_ticks = from->start_ticks;
    to->end_ticks = from->end_ticks;
    to->last_ticks = from->last_ticks;
}

/* Reports were checked before: the rendition is there. */
static const struct report_rendition *rendition_named(const struct report *report, const char *name,
                                                      enum codec codec)
{
    const struct report_rendition *found = NULL;
    for (int32_t i = 0; i < report->rendition_count && !found; i++)
        if (report->renditions[i].codec == codec &&
            strncmp(report->renditions[i].name, name, POLICY_WORD_BYTES) == 0)
            found = &report->renditions[i];
    assert(found);
    return found;
}

/* All but the segments; first is the rung in the report of chunk 0. */
static void video_fill(const struct plan *plan, const struct plan_rung *rung,
                       const struct report_rendition *first, struct published_rendition *out)
{
    const struct plan_picture *picture = &plan->pictures[rung->codec];
    *out = (struct published_rendition){
        .codec = rung->codec,
        .width = rung->width,
        .height = rung->height,
        .bit_depth = picture->bit_depth,
        .color_primaries = picture->primaries,
        .color_transfer = picture->transfer,
        .color_matrix = picture->matrix,
        .hdr = picture->hdr,
        .maxrate_kbps = rung->maxrate_kbps,
        .timescale = plan->timescale,
    };
    memcpy(out->name, rung->name, sizeof out->name);
    memcpy(out->codecs, first->codecs, sizeof out->codecs);
    memcpy(out->encoder, first->encoder, sizeof out->encoder);
}

static void encoder_add(char to[POLICY_WORD_BYTES], const char *encoder)
{
    size_t length = strnlen(encoder, POLICY_WORD_BYTES), used = strlen(to);
    for (const char *at = to; at && *at; at = strchr(at, '+') ? strchr(at, '+') + 1 : NULL)
        if (strncmp(at, encoder, length) == 0 && (at[length] == '+' || !at[length]))
            return;
    if (used + 1 + length < POLICY_WORD_BYTES)
        snprintf(to + used, POLICY_WORD_BYTES - used, "+%.*s", (int)length, encoder);
}

static int video_publish(const struct plan *plan, const struct plan_rung *rung, int32_t codec_at,
                         const struct report *const *transcode, struct sl_arena *arena,
                         struct published_rendition *out, struct sl_failure *why)
{
    const struct report_rendition *first =
        rendition_named(transcode[codec_at], rung->name, rung->codec);
    video_fill(plan, rung, first, out);
    out->segment_count = plan->segment_count;
    output_take(transcode[codec_at], first->init_output, out->init_key, &out->init_bytes);
    out->segments = sl_arena_array(arena, (size_t)plan->segment_count, sizeof *out->segments);
    if (!out->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for the segments of the published set");
    for (int32_t c = 0; c < plan->chunk_count; c++) {
        const struct report *report = transcode[c * plan->codec_count + codec_at];
        const struct report_rendition *rendition = rendition_named(report, rung->name, rung->codec);
        const char *differs = NULL;
        if (memcmp(rendition->init_sha256, first->init_sha256, SHA256_BYTES) != 0)
            differs = "init segment";
        else if (strncmp(rendition->codecs, first->codecs, CODECS_BYTES) != 0)
            differs = "codecs string";
        else if (rung->encoder[0] &&
                 strncmp(rendition->encoder, first->encoder, POLICY_WORD_BYTES) != 0)
            differs = "encoder";
        if (differs)
            return sl_fail(why, SL_EMISMATCH,
                           "%s %.31s: chunk %d has another %s than chunk 0; its segments would not "
                           "play behind chunk 0's init segment",
                           codec_word(rung->codec), rung->name, (int)c, differs);
        encoder_add(out->encoder, rendition->encoder);
        for (int32_t i = 0; i < rendition->segment_count; i++)
            segment_take(report, &rendition->segments[i],
                         &out->segments[plan->chunks[c].segment_first + i]);
    }
    return SL_OK;
}

/* The most that a rung's segments take, before they can be measured: an encoder's buffer is full at 0.9 where each
 * chunk begins. A rung without a bound is put at a bit per sample. */
static int64_t declared_bps(const struct plan *plan, const struct plan_rung *rung)
{
    int64_t frame_pix = (int64_t)rung->width * rung->height;
    if (rung->maxrate_kbps <= 0)
        return sl_muldiv_i64(frame_pix, plan->frame_rate.num, plan->frame_rate.den) + 1;
    int64_t span_ns = sl_muldiv_i64(plan_ticks(plan, plan->end_pts), SL_NS_PER_S, plan->timescale);
    int64_t segment_ns = span_ns / plan->segment_count;
    int64_t rate = (int64_t)rung->maxrate_kbps * 1000;
    return rate + sl_muldiv_i64((int64_t)rung->bufsize_kbit * 900, SL_NS_PER_S,
                                segment_ns > 0 ? segment_ns : SL_NS_PER_S);
}

int plan_publish_chunk(const struct plan *plan, int32_t piece, const struct report *report,
                       struct sl_arena *arena, struct published_rendition **out, int32_t *count)
{
    int32_t chunk, rung_first = 0;
    enum codec codec;
    if (!plan_piece_split(plan, piece, &chunk, &codec))
        return SL_EINVAL;
    *count = plan_codec_rungs(plan, codec, &rung_first);
    *out = sl_arena_array(arena, (size_t)*count, sizeof **out);
    if (!*out)
        return SL_ENOMEM;
    for (int32_t r = 0; r < *count; r++) {
        const struct plan_rung *rung = &plan->rungs[rung_first + r];
        const struct report_rendition *from = rendition_named(report, rung->name, codec);
        struct published_rendition *to = &(*out)[r];
        video_fill(plan, rung, from, to);
        to->declared_bps = declared_bps(plan, rung);
        if (from->init_output >= 0)
            output_take(report, from->init_output, to->init_key, &to->init_bytes);
        to->segment_count = from->segment_count;
        to->segments = sl_arena_array(arena, (size_t)from->segment_count, sizeof *to->segments);
        if (!to->segments)
            return SL_ENOMEM;
        for (int32_t i = 0; i < from->segment_count; i++)
            segment_take(report, &from->segments[i], &to->segments[i]);
    }
    return SL_OK;
}

int plan_publish_audio(const struct plan *plan, int32_t piece, const struct report *report,
                       struct sl_arena *arena, struct published_rendition *out,
                       struct sl_failure *why)
{
    const struct plan_audio *audio = &plan->audio[piece];
    const struct report_rendition *rendition = &report->renditions[0];
    *out = (struct published_rendition){
        .audio = true,
        .audio_codec = audio->codec,
        .channels = audio->channels,
        .sample_rate_hz = audio->sample_rate_hz,
        .maxrate_kbps = audio->bitrate_kbps,
        .timescale = rendition->timescale,
        .segment_count = plan->segment_count,
    };
    memcpy(out->name, audio->name, sizeof out->name);
    memcpy(out->codecs, rendition->codecs, sizeof out->codecs);
    memcpy(out->encoder, rendition->encoder, sizeof out->encoder);
    memcpy(out->group, audio->group, sizeof out->group);
    memcpy(out->label, audio->label, sizeof out->label);
    memcpy(out->language, plan->sources[audio->track].language, sizeof out->language);
    out->track = audio->track;
    out->role = plan->sources[audio->track].role;
    output_take(report, rendition->init_output, out->init_key, &out->init_bytes);
    out->segments = sl_arena_array(arena, (size_t)plan->segment_count, sizeof *out->segments);
    if (!out->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for the segments of the published set");
    for (int32_t i = 0; i < plan->segment_count; i++)
        segment_take(report, &rendition->segments[i], &out->segments[i]);
    return SL_OK;
}

static int text_publish(const struct plan *plan, const struct plan_text *text,
                        const struct report *report, struct sl_arena *arena,
                        struct published_text *out, struct sl_failure *why)
{
    const struct report_rendition *track = &report->renditions[0];
    *out = (struct published_text){
        .is_default = text->is_default,
        .forced = text->forced,
        .impaired = text->impaired,
        .timescale = plan->timescale,
        .segment_count = plan->segment_count,
    };
    memcpy(out->name, text->name, sizeof out->name);
    memcpy(out->language, text->language, sizeof out->language);
    memcpy(out->title, text->title, sizeof out->title);
    output_take(report, track->init_output, out->whole_key, &out->whole_bytes);
    out->segments = sl_arena_array(arena, (size_t)plan->segment_count, sizeof *out->segments);
    if (!out->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for the segments of the published set");
    for (int32_t i = 0; i < plan->segment_count; i++) {
        segment_take(report, &track->segments[i], &out->segments[i]);
        out->cue_count += track->segments[i].frame_count;
    }
    return SL_OK;
}

static void image_take(const struct report *report, int32_t output, struct published_image *out)
{
    if (output >= 0)
        output_take(report, output, out->key, &out->bytes);
}

static int extras_publish(const struct plan *plan, const struct report *const *texts,
                          const struct report *images, struct sl_arena *arena,
                          struct published_set *set, struct sl_failure *why)
{
    set->text_count = plan->text_count;
    set->texts = sl_arena_array(arena, (size_t)plan->text_count, sizeof *set->texts);
    if (!set->texts)
        return sl_fail(why, SL_ENOMEM, "no memory for the subtitles of the published set");
    for (int32_t i = 0; i < plan->text_count; i++) {
        int rc = texts && texts[i] ? plan_check_text(plan, i, texts[i], why)
                                   : sl_fail(why, SL_EMISMATCH, "subtitles %.31s have no report",
                                             plan->texts[i].name);
        if (rc == SL_OK)
            rc = text_publish(plan, &plan->texts[i], texts[i], arena, &set->texts[i], why);
        if (rc)
            return rc;
    }
    if (plan->images.still_count > 0) {
        int rc = images ? plan_check_images(plan, images, why)
                        : sl_fail(why, SL_EMISMATCH, "the images have no report");
        if (rc)
            return rc;
        const struct report_images *made = &images->images;
        image_take(images, made->poster_output, &set->images.poster);
        image_take(images, made->thumbnails_output, &set->images.thumbnails);
        image_take(images, made->preview_output, &set->images.preview);
        set->images.sheet_count = made->sheet_count;
        for (int32_t i = 0; i < made->sheet_count; i++)
            image_take(images, made->sheet_first_output + i, &set->images.sheets[i]);
    }
    set->chapters = plan->chapters;
    set->chapter_count = plan->chapter_count;
    return SL_OK;
}

/* What a player relies on, held against the finished set once more: segments follow one another in
 * all renditions, and the codecs hold the same frames. */
static int set_check(const struct published_set *set, struct sl_failure *why)
{
    for (int32_t r = 0; r < set->rendition_count; r++) {
        const struct published_rendition *rendition = &set->renditions[r];
        int64_t frames = 0;
        for (int32_t i = 0; i < rendition->segment_count; i++) {
            const struct published_segment *segment = &rendition->segments[i];
            frames += segment->frame_count;
            if (i > 0 && segment->start_ticks != segment[-1].end_ticks)
                return sl_fail(
                    why, SL_EMISMATCH,
                    "%.31s: segment %d starts at %" PRId64 " and the one before ends at %" PRId64,
                    rendition->name, (int)i, segment->start_ticks, segment[-1].end_ticks);
        }
        if (!rendition->audio && frames != set->frame_count)
            return sl_fail(
                why, SL_EMISMATCH, "%s %.31s has %" PRId64 " frames and %s %.31s has %" PRId64,
                codec_word(rendition->codec), rendition->name, frames,
                codec_word(set->renditions[0].codec), set->renditions[0].name, set->frame_count);
    }
    return SL_OK;
}

static int reports_check(const struct plan *plan, const struct report *const *transcode,
                         const struct report *const *audio, struct sl_failure *why)
{
    for (int32_t piece = 0; piece < plan->chunk_count * plan->codec_count; piece++) {
        if (!transcode[piece])
            return sl_fail(why, SL_EMISMATCH, "chunk %d of %s has no report",
                           (int)(piece / plan->codec_count),
                           codec_word(plan_codec_at(plan, piece % plan->codec_count)));
        int rc = plan_check_transcode(plan, piece, transcode[piece], NULL, why);
        if (rc)
            return rc;
    }
    for (int32_t piece = 0; piece < plan->audio_count; piece++) {
        if (!audio || !audio[piece])
            return sl_fail(why, SL_EMISMATCH, "audio %.31s has no report", plan->audio[piece].name);
        int rc = plan_check_audio(plan, piece, audio[piece], why);
        if (rc)
            return rc;
    }
    return SL_OK;
}

int plan_publish(const struct plan *plan, const char *video, const struct report *const *transcode,
                 const struct report *const *audio, const struct report *const *texts,
                 const struct report *images, struct sl_arena *arena, struct published_set *out,
                 struct sl_failure *why)
{
    int rc = reports_check(plan, transcode, audio, why);
    if (rc)
        return rc;
    struct published_set set = {
        .frame_rate = plan->frame_rate,
        .duration_ticks = plan_ticks(plan, plan->end_pts),
        .timescale = plan->timescale,
        .rendition_count = plan->rung_count + plan->audio_count,
    };
    snprintf(set.video, sizeof set.video, "%s", video);
    set.renditions = sl_arena_array(arena, (size_t)set.rendition_count, sizeof *set.renditions);
    if (!set.renditions)
        return sl_fail(why, SL_ENOMEM, "no memory for the renditions of the published set");
    int32_t codec_at = 0;
    for (int32_t r = 0; r < plan->rung_count; r++) {
        if (r > 0 && plan->rungs[r].codec != plan->rungs[r - 1].codec)
            codec_at++;
        rc = video_publish(plan, &plan->rungs[r], codec_at, transcode, arena, &set.renditions[r],
                           why);
        if (rc)
            return rc;
    }
    for (int32_t piece = 0; piece < plan->audio_count; piece++) {
        rc = plan_publish_audio(plan, piece, audio[piece], arena,
                                &set.renditions[plan->rung_count + piece], why);
        if (rc)
            return rc;
    }
    for (int32_t i = 0; i < plan->segment_count && plan->rung_count > 0; i++)
        set.frame_count += set.renditions[0].segments[i].frame_count;
    rc = set_check(&set, why);
    if (rc == SL_OK)
        rc = extras_publish(plan, texts, images, arena, &set, why);
    if (rc)
        return rc;
    *out = set;
    return SL_OK;
}

/* splitmix64: a well mixed number of each seed. */
static uint64_t mix(uint64_t seed)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    seed = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    seed = (seed ^ seed >> 27) * UINT64_C(0x94d049bb133111eb);
    return seed ^ seed >> 31;
}

int plan_verify_samples(const struct published_set *set, uint64_t seed, struct sl_arena *arena,
                        struct job_sample **out, int32_t *out_count)
{
    if (set->rendition_count < 0 || set->rendition_count > RENDITIONS_MAX)
        return SL_ELIMIT;
    struct job_sample *samples = sl_arena_array(
        arena, (size_t)set->rendition_count * SAMPLES_PER_RENDITION, sizeof *samples);
    if (!samples)
        return SL_ENOMEM;
    int32_t count = 0, room = JOB_INPUTS_MAX - 3 - 3 * set->rendition_count;
    for (int32_t r = 0; r < set->rendition_count; r++) {
        int32_t segments = set->renditions[r].segment_count;
        if (segments > 0)
            samples[count++] = (struct job_sample){.rendition = r, .segment = 0};
        if (segments > 1 && room-- > 0) {
            uint64_t other = mix(seed ^ mix((uint64_t)r)) % (uint64_t)(segments - 1);
            samples[count++] = (struct job_sample){.rendition = r, .segment = 1 + (int32_t)other};
        }
    }
    *out = samples;
    *out_count = count;
    return SL_OK;
}
