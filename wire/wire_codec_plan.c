#include "wire/wire_codec.h"

#include "wire/wire_fields.h"

/* clang-format off */
#define RUNG_MEMBERS(I, T, E, R)                                                                   \
    E(codec, CODEC_COUNT) T(name) I(width) I(height) I(crf_tenths) I(maxrate_kbps)                 \
    I(bufsize_kbit) T(encoder) T(preset) T(profile)

#define PLAN_AUDIO_MEMBERS(I, T, E, R)                                                             \
    E(codec, AUDIO_CODEC_COUNT) I(bitrate_kbps) I(channels) I(sample_rate_hz) T(name) T(group)     \
    T(label) I(track)

#define SEGMENT_MEMBERS(I, T, E, R)                                                                \
    I(start_pts) I(end_pts) I(frame_count) I(chunk)

#define CHUNK_MEMBERS(I, T, E, R)                                                                  \
    I(start_pts) I(end_pts) I(segment_first) I(segment_count) I(frame_count) I(byte_first)         \
    I(byte_end) I(work_mpix)

#define PICTURE_MEMBERS(I, T, E, R)                                                                \
    I(deinterlace) I(tonemap_peak_nits) I(source_primaries) I(source_transfer) I(source_matrix)    \
    I(primaries) I(transfer) I(matrix) I(bit_depth)

#define PLAN_MEMBERS(I, T, E, R)                                                                   \
    I(origin_pts) I(end_pts) I(timescale) I(reorder_ticks) I(gop_ns) I(segment_duration_max_ns)    \
    R(frame_rate) I(codec_count) T(left_out)
/* clang-format on */

#define PLAN_RUNGS_MAX (POLICY_RUNGS_MAX * CODEC_COUNT)

void wire_rung_put(const struct plan_rung *from, Sluice__V1__Rung *to)
{
    sluice__v1__rung__init(to);
    RUNG_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

int wire_rung_get(struct wire_decoder *d, const Sluice__V1__Rung *in, struct plan_rung *out)
{
    RUNG_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

int wire_picture_put(const struct plan_picture *from, struct sl_arena *arena,
                     Sluice__V1__PlanPicture *to)
{
    sluice__v1__plan_picture__init(to);
    PICTURE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    return wire_hdr_put(&from->hdr, arena, &to->hdr);
}

int wire_picture_get(struct wire_decoder *d, const Sluice__V1__PlanPicture *in,
                     struct plan_picture *out)
{
    if (!in)
        return wire_fail(d, "picture", "missing");
    PICTURE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return wire_hdr_get(d, in->hdr, &out->hdr);
}

void wire_plan_audio_put(const struct plan_audio *from, Sluice__V1__PlanAudio *to)
{
    sluice__v1__plan_audio__init(to);
    PLAN_AUDIO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->loudness_on = from->loudness.on;
    to->loudness_target_tenths = from->loudness.target_tenths;
    to->loudness_peak_tenths = from->loudness.peak_tenths;
}

int wire_plan_audio_get(struct wire_decoder *d, const Sluice__V1__PlanAudio *in,
                        struct plan_audio *out)
{
    if (!in)
        return wire_fail(d, "audio", "missing");
    PLAN_AUDIO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    out->loudness = (struct policy_loudness){in->loudness_on, in->loudness_target_tenths,
                                             in->loudness_peak_tenths};
    return SL_OK;
}

static void segment_put(const struct plan_segment *from, Sluice__V1__PlanSegment *to)
{
    sluice__v1__plan_segment__init(to);
    SEGMENT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void chunk_put(const struct plan_chunk *from, Sluice__V1__PlanChunk *to)
{
    sluice__v1__plan_chunk__init(to);
    CHUNK_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int plan_put(const struct plan *from, struct sl_arena *arena, Sluice__V1__Plan *to)
{
    PLAN_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    Sluice__V1__Rung *rungs;
    Sluice__V1__MediaAudio *sources;
    Sluice__V1__PlanAudio *audio;
    Sluice__V1__PlanSegment *segments;
    Sluice__V1__PlanChunk *chunks;
    to->n_rungs = (size_t)from->rung_count;
    to->rungs = wire_repeated(arena, to->n_rungs, sizeof *rungs, (void **)&rungs);
    to->n_sources = (size_t)from->source_count;
    to->sources = wire_repeated(arena, to->n_sources, sizeof *sources, (void **)&sources);
    to->n_audio = (size_t)from->audio_count;
    to->audio = wire_repeated(arena, to->n_audio, sizeof *audio, (void **)&audio);
    to->n_segments = (size_t)from->segment_count;
    to->segments = wire_repeated(arena, to->n_segments, sizeof *segments, (void **)&segments);
    to->n_chunks = (size_t)from->chunk_count;
    to->chunks = wire_repeated(arena, to->n_chunks, sizeof *chunks, (void **)&chunks);
    if (!to->rungs || !to->sources || !to->audio || !to->segments || !to->chunks)
        return SL_ENOMEM;
    Sluice__V1__PlanText *texts;
    to->n_texts = (size_t)from->text_count;
    to->texts = wire_repeated(arena, to->n_texts, sizeof *texts, (void **)&texts);
    to->images = sl_arena_alloc(arena, sizeof *to->images);
    if (!to->texts || !to->images)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_texts; i++)
        wire_plan_text_put(&from->texts[i], &texts[i]);
    int code = wire_plan_images_put(&from->images, arena, to->images);
    if (!code)
        code = wire_chapters_put(from->chapters, from->chapter_count, arena, &to->n_chapters,
                                 &to->chapters);
    if (code)
        return code;
    Sluice__V1__PlanPicture *pictures;
    to->n_pictures = CODEC_COUNT;
    to->pictures = wire_repeated(arena, to->n_pictures, sizeof *pictures, (void **)&pictures);
    to->video = sl_arena_alloc(arena, sizeof *to->video);
    if (!to->pictures || !to->video)
        return SL_ENOMEM;
    code = wire_video_put(&from->video, arena, to->video);
    for (size_t i = 0; i < to->n_pictures && !code; i++)
        code = wire_picture_put(&from->pictures[i], arena, &pictures[i]);
    if (code)
        return code;
    for (size_t i = 0; i < to->n_rungs; i++)
        wire_rung_put(&from->rungs[i], &rungs[i]);
    for (size_t i = 0; i < to->n_sources; i++)
        wire_audio_put(&from->sources[i], &sources[i]);
    for (size_t i = 0; i < to->n_audio; i++)
        wire_plan_audio_put(&from->audio[i], &audio[i]);
    for (size_t i = 0; i < to->n_segments; i++)
        segment_put(&from->segments[i], &segments[i]);
    for (size_t i = 0; i < to->n_chunks; i++)
        chunk_put(&from->chunks[i], &chunks[i]);
    return SL_OK;
}

static bool count_within(int32_t count, int32_t max)
{
    return count >= 0 && count <= max;
}

int wire_plan_encode(const struct plan *plan, struct sl_buf *out)
{
    if (!count_within(plan->rung_count, PLAN_RUNGS_MAX) ||
        !count_within(plan->source_count, MEDIA_AUDIO_MAX) ||
        !count_within(plan->audio_count, PLAN_AUDIO_MAX) ||
        !count_within(plan->text_count, PLAN_TEXTS_MAX) ||
        !count_within(plan->segment_count, PLAN_SEGMENTS_MAX) ||
        !count_within(plan->chunk_count, PLAN_SEGMENTS_MAX))
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    Sluice__V1__Plan message = SLUICE__V1__PLAN__INIT;
    int code = plan_put(plan, &arena, &message);
    if (!code)
        code = wire_pack(&message.base, SIZE_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

static int segment_get(const Sluice__V1__PlanSegment *in, struct plan_segment *out)
{
    SEGMENT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int chunk_get(const Sluice__V1__PlanChunk *in, struct plan_chunk *out)
{
    CHUNK_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int plan_arrays_get(struct wire_decoder *d, const Sluice__V1__Plan *in, struct plan *out)
{
    for (size_t i = 0; i < in->n_rungs; i++)
        if (wire_rung_get(d, in->rungs[i], &out->rungs[i]))
            return d->code;
    for (size_t i = 0; i < in->n_sources; i++)
        if (wire_audio_get(d, in->sources[i], &out->sources[i]))
            return d->code;
    for (size_t i = 0; i < in->n_audio; i++) {
        if (wire_plan_audio_get(d, in->audio[i], &out->audio[i]))
            return d->code;
        if (out->audio[i].track < 0 || out->audio[i].track >= out->source_count)
            return wire_fail(d, "audio.track", "there is no such source");
    }
    for (size_t i = 0; i < in->n_texts; i++)
        if (wire_plan_text_get(d, in->texts[i], &out->texts[i]))
            return d->code;
    if (wire_plan_images_get(d, in->images, &out->images) ||
        wire_chapters_get(d, in->n_chapters, in->chapters, &out->chapters, &out->chapter_count))
        return d->code;
    for (size_t i = 0; i < in->n_segments; i++) {
        segment_get(in->segments[i], &out->segments[i]);
        if (out->segments[i].chunk < -1 || out->segments[i].chunk >= out->chunk_count)
            return wire_fail(d, "segment.chunk", "there is no such chunk");
    }
    for (size_t i = 0; i < in->n_chunks; i++) {
        struct plan_chunk *chunk = &out->chunks[i];
        chunk_get(in->chunks[i], chunk);
        if (chunk->segment_first < 0 || chunk->segment_count < 0 ||
            chunk->segment_first > out->segment_count ||
            chunk->segment_count > out->segment_count - chunk->segment_first)
            return wire_fail(d, "chunk.segment_first", "there are no such segments");
    }
    return SL_OK;
}

static int plan_get(struct wire_decoder *d, const Sluice__V1__Plan *in, struct plan *out)
{
    PLAN_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_video_get(d, in->video, &out->video) ||
        wire_count_get(d, "rungs", in->n_rungs, PLAN_RUNGS_MAX, &out->rung_count) ||
        wire_count_get(d, "sources", in->n_sources, MEDIA_AUDIO_MAX, &out->source_count) ||
        wire_count_get(d, "audio", in->n_audio, PLAN_AUDIO_MAX, &out->audio_count) ||
        wire_count_get(d, "texts", in->n_texts, PLAN_TEXTS_MAX, &out->text_count) ||
        wire_count_get(d, "segments", in->n_segments, PLAN_SEGMENTS_MAX, &out->segment_count) ||
        wire_count_get(d, "chunks", in->n_chunks, PLAN_SEGMENTS_MAX, &out->chunk_count))
        return d->code;
    if (in->n_pictures != CODEC_COUNT)
        return wire_fail(d, "pictures", "not one for each codec");
    for (size_t i = 0; i < in->n_pictures; i++)
        if (wire_picture_get(d, in->pictures[i], &out->pictures[i]))
            return d->code;
    out->rungs = sl_arena_array(d->arena, in->n_rungs, sizeof *out->rungs);
    out->sources = sl_arena_array(d->arena, in->n_sources, sizeof *out->sources);
    out->audio = sl_arena_array(d->arena, in->n_audio, sizeof *out->audio);
    out->segments = sl_arena_array(d->arena, in->n_segments, sizeof *out->segments);
    out->chunks = sl_arena_array(d->arena, in->n_chunks, sizeof *out->chunks);
    out->texts = sl_arena_array(d->arena, in->n_texts, sizeof *out->texts);
    if (!out->rungs || !out->sources || !out->audio || !out->segments || !out->chunks ||
        !out->texts)
        return wire_no_memory(d);
    return plan_arrays_get(d, in, out);
}

int wire_plan_decode(const void *bytes, size_t length, struct sl_arena *arena, struct plan *out,
                     struct sl_failure *why)
{
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__Plan *in =
        wire_unpack(&d, &sluice__v1__plan__descriptor, "plan", bytes, length);
    struct plan plan = {0};
    if (in)
        plan_get(&d, in, &plan);
    if (!d.code)
        *out = plan;
    wire_decoder_fini(&d);
    return d.code;
}
