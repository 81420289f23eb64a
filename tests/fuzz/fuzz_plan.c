/* A probe's report and index as a worker that was taken over might make them, and policies within their ranges. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "config/config.h"
#include "scheduler/plan/plan.h"
#include "wire/wire_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS_MAX   400
#define PIECES_MAX 20

struct cursor {
    const uint8_t *at;
    size_t left;
};

static uint64_t take(struct cursor *c, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && c->left; i++, c->at++, c->left--)
        value = value << 8 | *c->at;
    return value;
}

/* Mostly small, sometimes anything, sometimes the ends. */
static int64_t number(struct cursor *c)
{
    static const int64_t ends[] = {0, 1, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 90000};
    switch (take(c, 1) % 6) {
    case 0:
        return (int64_t)take(c, 8);
    case 1:
        return ends[take(c, 1) % 8];
    case 2:
        return (int64_t)take(c, 4);
    case 3:
        return -(int64_t)take(c, 2);
    default:
        return (int64_t)take(c, 2);
    }
}

static void video_fill(struct cursor *c, struct media_video *v)
{
    strcpy(v->codec, "h264");
    v->stream_index = (int32_t)number(c);
    v->width = (int32_t)number(c);
    v->height = (int32_t)number(c);
    v->rotation_degrees = (int32_t)number(c);
    v->bit_depth = (int32_t)number(c);
    v->sar = (struct rational){(int32_t)number(c), (int32_t)number(c)};
    v->time_base = (struct rational){(int32_t)number(c), (int32_t)number(c)};
    v->frame_rate = (struct rational){(int32_t)number(c), (int32_t)number(c)};
    v->first_pts = number(c);
    v->end_pts = number(c);
    v->frame_count = number(c);
    v->bytes = number(c);
    v->variable_frame_rate = take(c, 1) & 1;
    v->seekable = take(c, 1) & 1;
}

static void audio_fill(struct cursor *c, struct media_audio *a)
{
    a->channels = (int32_t)number(c);
    a->sample_rate_hz = (int32_t)number(c);
    a->time_base = (struct rational){(int32_t)number(c), (int32_t)number(c)};
    a->first_pts = number(c);
    a->end_pts = number(c);
}

/* What the daemon would accept of it: as decoded from the wire. */
static bool index_fill(struct cursor *c, const struct media_video *video, struct sl_arena *arena,
                       struct media_index *out)
{
    static int64_t pts[ROWS_MAX], offset[ROWS_MAX];
    static uint8_t key[ROWS_MAX];
    static int32_t length[ROWS_MAX];
    struct media_index index = {.time_base = video->time_base,
                                .pts = pts,
                                .key = key,
                                .byte_offset = offset,
                                .byte_length = length};
    if (take(c, 1) % 8 == 0)
        index.time_base.den = (int32_t)number(c);
    int64_t at = number(c), place = 0;
    int64_t step = number(c);
    bool wild_end = take(c, 1) % 8 == 0;
    int64_t end = number(c);
    while (index.count < ROWS_MAX && c->left) {
        uint64_t kind = take(c, 1);
        if (kind % 16 == 0)
            step = number(c);
        pts[index.count] = at;
        key[index.count] = kind % 4 == 0 || index.count == 0;
        offset[index.count] = kind % 32 == 31 ? number(c) : place;
        length[index.count] = (int32_t)(kind * 10);
        place += length[index.count++];
        if (__builtin_add_overflow(at, step > 0 ? step : 1, &at))
            break;
    }
    index.end_pts = wild_end ? end : at;
    struct sl_buf bytes = {0};
    struct sl_failure why = {0};
    bool taken = wire_index_encode(&index, &bytes) == SL_OK &&
                 wire_index_decode(bytes.data, bytes.length, arena, out, &why) == SL_OK;
    sl_buf_fini(&bytes);
    return taken;
}

static void policy_fill(struct cursor *c, struct policy *p)
{
    config_policy_default(p);
    p->gop_ns = INT64_C(500000000) * (int64_t)(1 + take(c, 1) % 8);
    p->segment_ns = p->gop_ns * (int64_t)(1 + take(c, 1) % 5);
    p->chunk_ns = p->segment_ns * (int64_t)(1 + take(c, 1) % 4);
}

static void plan_check(const struct media_info *info, const struct plan *plan,
                       const struct policy *policy, struct sl_arena *arena)
{
    if (!info->has_video && (plan->chunk_count || plan->rung_count))
        abort();
    if (plan->segment_count < 0 || plan->chunk_count < 0 || plan->rung_count < 0)
        abort();
    for (int32_t i = 0; i < plan->rung_count; i++)
        if (plan->rungs[i].width < 2 || plan->rungs[i].height < 2 || plan->rungs[i].width % 2 ||
            plan->rungs[i].height % 2)
            abort();
    for (int32_t i = 0; i < plan->segment_count; i++)
        if (plan->segments[i].start_pts >= plan->segments[i].end_pts ||
            (i && plan->segments[i].start_pts != plan->segments[i - 1].end_pts) ||
            plan->segments[i].chunk < (plan->chunk_count ? 0 : -1) ||
            plan->segments[i].chunk >= plan->chunk_count)
            abort();
    for (int32_t i = 0; i < plan->audio_count; i++) {
        struct job job = {0};
        if (plan_audio_job(plan, i, arena, &job) != SL_OK)
            abort();
    }
    for (int32_t i = 0; i < plan->chunk_count * plan->codec_count && i < PIECES_MAX; i++) {
        struct job job = {0};
        struct sl_buf bytes = {0};
        plan_transcode_demand(plan, i);
        plan_transcode_order(plan, i);
        if (plan_transcode_job(plan, policy, i, PREROLL_NONE, arena, &job) != SL_OK)
            abort();
        job.step = STEP_TRANSCODE;
        if (wire_job_encode(&job, &bytes) != SL_OK)
            abort();
        sl_buf_fini(&bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = {data, size};
    struct sl_arena arena = {0};
    struct media_info info = {.container = "mov", .has_video = true, .video_stream_count = 1};
    struct media_index index;
    struct policy policy;
    struct plan plan;
    struct sl_failure why = {0};
    policy_fill(&c, &policy);
    info.size_bytes = number(&c);
    info.duration_ns = number(&c);
    video_fill(&c, &info.video);
    info.audio_count = (int32_t)(take(&c, 1) % (MEDIA_AUDIO_MAX + 1));
    for (int32_t i = 0; i < info.audio_count; i++)
        audio_fill(&c, &info.audio[i]);
    info.has_video = take(&c, 1) % 8 != 0; /* else sound alone */
    if (index_fill(&c, &info.video, &arena, &index)) {
        if (plan_build(&info, &index, &policy, &arena, &plan, &why) == SL_OK)
            plan_check(&info, &plan, &policy, &arena);
        else if (!why.message[0])
            abort();
    }
    sl_arena_fini(&arena);
    return 0;
}
