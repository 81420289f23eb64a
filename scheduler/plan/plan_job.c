#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

#define MIB                  INT64_C(1048576)

/* A transcode runs its encoders on one CPU. Its memory was measured on x264 medium with all seven rungs
 * of a 2160p source: 2.7 GB, most of it lookahead and reference frames of the encoders. */
#define TRANSCODE_MILLICORES 1000
#define TRANSCODE_BASE_BYTES (64 * MIB)
#define AUDIO_MILLICORES     1000
#define AUDIO_BYTES          (256 * MIB)
/* A walk through the source, and memory for TEXT_BYTES_MAX of cues a few times over. */
#define TEXT_MILLICORES      250
#define TEXT_BYTES           (192 * MIB)
/* One decoder, one picture of full size, sheets of 1600x900 and a preview. */
#define IMAGES_MILLICORES    500
#define IMAGES_BYTES         (384 * MIB)
/* The index of ten hours at 60 Hz is 45 MB and grows by doubling. */
#define PROBE_MILLICORES     250
#define PROBE_BYTES          (256 * MIB)
#define PACKAGE_MILLICORES   250
#define PACKAGE_BYTES        (256 * MIB)
/* Decodes samples of every rung, one at a time. */
#define VERIFY_MILLICORES    500
#define VERIFY_BYTES         (512 * MIB)

/* Of the CPU's encoder of each codec at preset medium in one thread. From the peaks of single sessions at 1080p, 720p and
 * 360p a line was laid; of H.264 in 8 bits the ladder above is the measure. */
static const struct encode_memory {
    int64_t per_pix;      /* 8 bits */
    int64_t per_pix_deep; /* 10 bits */
    int64_t per_rung;
} encode_memory[CODEC_COUNT] = {
    [CODEC_H264] = {144, 288, 0},
    [CODEC_H265] = {170, 310, 37 * MIB},
    [CODEC_AV1] = {186, 312, 45 * MIB},
    [CODEC_VP9] = {78, 106, 15 * MIB},
};

/* Of all rungs of a codec. frame_pix: theirs together. */
static int64_t encode_bytes(const struct plan *plan, enum codec codec, int64_t frame_pix)
{
    const struct encode_memory *of = &encode_memory[codec];
    bool deep = plan->pictures[codec].bit_depth > 8;
    return frame_pix * (deep ? of->per_pix_deep : of->per_pix) +
           plan_codec_rungs(plan, codec, NULL) * of->per_rung;
}

bool plan_piece_split(const struct plan *plan, int32_t piece, int32_t *chunk, enum codec *codec)
{
    if (piece < 0 || plan->codec_count < 1 || piece / plan->codec_count >= plan->chunk_count)
        return false;
    *chunk = piece / plan->codec_count;
    *codec = plan_codec_at(plan, piece % plan->codec_count);
    return *codec != CODEC_COUNT;
}

static int64_t fetch_estimate(const struct plan *plan, const struct plan_chunk *chunk)
{
    if (chunk->byte_first >= 0 && chunk->byte_end > chunk->byte_first)
        return chunk->byte_end - chunk->byte_first;
    int64_t frames = 0;
    for (int32_t i = 0; i < plan->chunk_count; i++)
        frames += plan->chunks[i].frame_count;
    return frames ? sl_muldiv_i64(plan->video.bytes, chunk->frame_count, frames) : 0;
}

struct demand plan_transcode_demand(const struct plan *plan, int32_t piece)
{
    int32_t at;
    enum codec codec;
    if (!plan_piece_split(plan, piece, &at, &codec))
        return (struct demand){0};
    const struct plan_chunk *chunk = &plan->chunks[at];
    int64_t source_pix = (int64_t)plan->video.width * plan->video.height;
    int64_t frame_pix = plan_frame_pix(plan, codec);
    return (struct demand){
        .cpu_millicores = TRANSCODE_MILLICORES,
        .memory_bytes = TRANSCODE_BASE_BYTES + source_pix * PLAN_DECODE_BYTES_PER_PIX +
                        encode_bytes(plan, codec, frame_pix - source_pix),
        .work_mpix = plan_work_mpix(chunk->frame_count, frame_pix),
        .fetch_bytes = fetch_estimate(plan, chunk),
    };
}

int64_t plan_transcode_order(const struct plan *plan, int32_t piece)
{
    int32_t at;
    enum codec codec;
    if (!plan_piece_split(plan, piece, &at, &codec))
        return INT64_MAX;
    /* What plays first is one codec; the others are for when all is ready. */
    bool plays_first = codec == plan_codec_at(plan, 0);
    if (at == 0 && plays_first)
        return PLAN_ORDER_FIRST;
    if (at <= plan->chunk_count / 2 && plays_first)
        return PLAN_ORDER_AUDIO + at;
    int64_t frames_max = 0, pix_max = 0;
    for (int32_t i = 0; i < plan->chunk_count; i++)
        if (plan->chunks[i].frame_count > frames_max)
            frames_max = plan->chunks[i].frame_count;
    for (int32_t i = 0; i < plan->codec_count; i++) {
        int64_t pix = plan_frame_pix(plan, plan_codec_at(plan, i));
        if (pix > pix_max)
            pix_max = pix;
    }
    return PLAN_ORDER_AUDIO + 1 + plan->chunk_count + plan_work_mpix(frames_max, pix_max) -
           plan_work_mpix(plan->chunks[at].frame_count, plan_frame_pix(plan, codec));
}

struct demand plan_step_demand(enum step step)
{
    switch (step) {
    case STEP_PROBE:
        return (struct demand){.cpu_millicores = PROBE_MILLICORES, .memory_bytes = PROBE_BYTES};
    case STEP_AUDIO:
        return (struct demand){.cpu_millicores = AUDIO_MILLICORES, .memory_bytes = AUDIO_BYTES};
    case STEP_SUBTITLES:
        return (struct demand){.cpu_millicores = TEXT_MILLICORES, .memory_bytes = TEXT_BYTES};
    case STEP_IMAGES:
        return (struct demand){.cpu_millicores = IMAGES_MILLICORES, .memory_bytes = IMAGES_BYTES};
    case STEP_PACKAGE:
        return (struct demand){.cpu_millicores = PACKAGE_MILLICORES, .memory_bytes = PACKAGE_BYTES};
    case STEP_VERIFY:
        return (struct demand){.cpu_millicores = VERIFY_MILLICORES, .memory_bytes = VERIFY_BYTES};
    default:
        return (struct demand){0};
    }
}

int plan_transcode_job(const struct plan *plan, const struct policy *policy, int32_t piece,
                       int32_t preroll, struct sl_arena *arena, struct job *out)
{
    int32_t at;
    enum codec codec;
    if (!plan_piece_split(plan, piece, &at, &codec) || preroll < PREROLL_NONE ||
        preroll > PREROLL_LINEAR)
        return SL_EINVAL;
    const struct plan_chunk *chunk = &plan->chunks[at];
    int32_t rung_first = 0;
    int32_t rung_count = plan_codec_rungs(plan, codec, &rung_first);
    struct job_segment *segments =
        sl_arena_array(arena, (size_t)chunk->segment_count, sizeof *segments);
    if (!segments)
        return SL_ENOMEM;
    for (int32_t i = 0; i < chunk->segment_count; i++) {
        const struct plan_segment *from = &plan->segments[chunk->segment_first + i];
        segments[i] = (struct job_segment){
            .number = chunk->segment_first + i,
            .start_pts = from->start_pts,
            .end_pts = from->end_pts,
            .frame_count = from->frame_count,
        };
    }
    *out = (struct job){
        .step = STEP_TRANSCODE,
        .watchdog_ns = policy->watchdog_ns,
        .transcode =
            {
                .source = plan->video,
                .picture = plan->pictures[codec],
                .start_pts = chunk->start_pts,
                .end_pts = chunk->end_pts,
                .origin_pts = plan->origin_pts,
                .byte_first = chunk->byte_first,
                .timescale = plan->timescale,
                .reorder_ticks = plan->reorder_ticks,
                .gop_ns = plan->gop_ns,
                .frame_rate = plan->frame_rate,
                .preroll = plan->video.seekable ? preroll : PREROLL_LINEAR,
                .last_chunk = at == plan->chunk_count - 1,
                .write_init = at == 0,
                .check = policy->check,
                .segments = segments,
                .segment_count = chunk->segment_count,
                .rungs = plan->rungs + rung_first,
                .rung_count = rung_count,
            },
    };
    return SL_OK;
}

/* Starts of all segments and, last, the end of the video. */
static int64_t *boundaries_make(const struct plan *plan, struct sl_arena *arena)
{
    int64_t *boundaries =
        sl_arena_array(arena, (size_t)plan->segment_count + 1, sizeof *boundaries);
    for (int32_t i = 0; boundaries && i < plan->segment_count; i++)
        boundaries[i] = plan_ticks(plan, plan->segments[i].start_pts);
    if (boundaries)
        boundaries[plan->segment_count] = plan_ticks(plan, plan->end_pts);
    return boundaries;
}

int plan_text_job(const struct plan *plan, int32_t piece, struct sl_arena *arena, struct job *out)
{
    if (piece < 0 || piece >= plan->text_count)
        return SL_EINVAL;
    int64_t *boundaries = boundaries_make(plan, arena);
    if (!boundaries)
        return SL_ENOMEM;
    *out = (struct job){
        .step = STEP_SUBTITLES,
        .text =
            {
                .text = plan->texts[piece],
                .origin_pts = plan->origin_pts,
                .origin_time_base = plan->video.time_base,
                .timescale = plan->timescale,
                .boundary_ticks = boundaries,
                .boundary_count = plan->segment_count + 1,
            },
    };
    return SL_OK;
}

int plan_images_job(const struct plan *plan, struct job *out)
{
    if (plan->images.still_count < 1)
        return SL_EINVAL;
    *out = (struct job){
        .step = STEP_IMAGES,
        .images =
            {
                .source = plan->video,
                .picture = plan->pictures[CODEC_H264],
                .images = plan->images,
                .origin_pts = plan->origin_pts,
                .end_pts = plan->end_pts,
            },
    };
    return SL_OK;
}

int plan_audio_job(const struct plan *plan, int32_t piece, struct sl_arena *arena, struct job *out)
{
    if (piece < 0 || piece >= plan->audio_count)
        return SL_EINVAL;
    int64_t *boundaries = boundaries_make(plan, arena);
    if (!boundaries)
        return SL_ENOMEM;
    *out = (struct job){
        .step = STEP_AUDIO,
        .audio =
            {
                .source = plan->sources[plan->audio[piece].track],
                .out = plan->audio[piece],
                .origin_pts = plan->origin_pts,
                .origin_time_base = plan->video.time_base,
                .timescale = plan->timescale,
                .boundary_ticks = boundaries,
                .boundary_count = plan->segment_count + 1,
            },
    };
    return SL_OK;
}
