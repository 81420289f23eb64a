#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

/* Media time scales that every muxer and player takes; a time base outside is scaled or rounded. */
#define TIMESCALE_MIN     1000
#define TIMESCALE_MAX     1000000
#define TIMESCALE_ROUNDED 90000
/* Frames that an encoder may hold back to reorder: x264 with its pyramid of B-frames needs 2, x265 up to 4. */
#define REORDER_FRAMES    4
#define DURATION_MAX_NS   SL_S_TO_NS(30 * 86400)

static int32_t common_divisor(int32_t a, int32_t b)
{
    while (b) {
        int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t plan_ns_to_pts(const struct plan *plan, int64_t ns)
{
    const struct rational *base = &plan->video.time_base;
    int64_t pts = sl_muldiv_i64(ns, base->den, base->num * SL_NS_PER_S);
    return pts < 1 ? 1 : pts;
}

int64_t plan_work_mpix(int64_t frames, int64_t pix)
{
    const int64_t mpix = 1000000;
    return sl_muldiv_i64(frames, pix, mpix) + (frames % mpix * (pix % mpix) % mpix != 0);
}

int64_t plan_ticks(const struct plan *plan, int64_t pts)
{
    const struct rational *base = &plan->video.time_base;
    __int128 ticks = ((__int128)pts - plan->origin_pts) * base->num * plan->timescale;
    __int128 half = ticks < 0 ? -(__int128)base->den : base->den;
    return (int64_t)((2 * ticks + half) / (2 * (__int128)base->den));
}

/* gap_min: the shortest distance of two frames. */
static int32_t timescale_choose(struct rational base, int64_t gap_min)
{
    int32_t divisor = common_divisor(base.num, base.den);
    int32_t num = base.num / divisor, den = base.den / divisor;
    if (den < TIMESCALE_MIN)
        return den * ((TIMESCALE_MIN + den - 1) / den);
    if (den <= TIMESCALE_MAX)
        return den;
    if (sl_muldiv_i64(gap_min * num, TIMESCALE_ROUNDED, den) >= 1)
        return TIMESCALE_ROUNDED;
    if (sl_muldiv_i64(gap_min * num, TIMESCALE_MAX, den) >= 1)
        return TIMESCALE_MAX;
    return den;
}

static int index_check(const struct media_info *info, const struct media_index *index,
                       struct sl_failure *why)
{
    if (index->count == 0)
        return sl_fail(why, SL_EFORMAT,
                       "no packet of video stream %d has a presentation time; the file "
                       "needs to be remuxed",
                       (int)info->video.stream_index);
    if (index->count > INT32_MAX)
        return sl_fail(why, SL_ETOOBIG, "the index has %zu frames; %d are the most", index->count,
                       INT32_MAX);
    if (index->time_base.num != info->video.time_base.num ||
        index->time_base.den != info->video.time_base.den || index->time_base.num < 1 ||
        index->time_base.den < 1)
        return sl_fail(why, SL_EFORMAT,
                       "the index counts in %d/%d s and the stream in %d/%d s; they must be "
                       "equal and positive",
                       (int)index->time_base.num, (int)index->time_base.den,
                       (int)info->video.time_base.num, (int)info->video.time_base.den);
    int64_t last = index->pts[index->count - 1];
    if (index->pts[0] < -PLAN_PTS_LIMIT || index->end_pts > PLAN_PTS_LIMIT ||
        index->end_pts <= last)
        return sl_fail(why, SL_EFORMAT,
                       "the index runs from %lld to %lld and ends at %lld; the end must "
                       "follow the last frame",
                       (long long)index->pts[0], (long long)last, (long long)index->end_pts);
    for (size_t i = 1; i < index->count; i++)
        if (index->pts[i] <= index->pts[i - 1])
            return sl_fail(why, SL_EFORMAT,
                           "frame %zu of the index has pts %lld after %lld; they must grow", i,
                           (long long)index->pts[i], (long long)index->pts[i - 1]);
    return SL_OK;
}

static int input_check(const struct media_info *info, const struct media_index *index,
                       struct sl_failure *why)
{
    const struct media_video *video = &info->video;
    if (video->width < 1 || video->height < 1 || video->width > PLAN_SIDE_MAX ||
        video->height > PLAN_SIDE_MAX)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the picture is %dx%d; sides of 1 to %d samples are supported",
                       (int)video->width, (int)video->height, PLAN_SIDE_MAX);
    if (video->crop_left < 0 || video->crop_right < 0 || video->crop_top < 0 ||
        video->crop_bottom < 0 || video->crop_left >= video->width - video->crop_right ||
        video->crop_top >= video->height - video->crop_bottom)
        return sl_fail(why, SL_EUNSUPPORTED, "the container's crop leaves nothing of the %dx%d",
                       (int)video->width, (int)video->height);
    struct plan_size upright = plan_upright_size(video);
    if (upright.width < PLAN_SIDE_MIN || upright.height < PLAN_SIDE_MIN)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the picture is shown as %dx%d; encoders take sides of %d samples and more",
                       (int)upright.width, (int)upright.height, PLAN_SIDE_MIN);
    int rc = index_check(info, index, why);
    if (rc)
        return rc;
    int64_t duration_ns = sl_muldiv_i64(index->end_pts - index->pts[0],
                                        index->time_base.num * SL_NS_PER_S, index->time_base.den);
    if (duration_ns > DURATION_MAX_NS)
        return sl_fail(why, SL_ETOOBIG, "the video lasts %lld s; %lld s are the most",
                       (long long)(duration_ns / SL_NS_PER_S),
                       (long long)(DURATION_MAX_NS / SL_NS_PER_S));
    return SL_OK;
}

/* The stream's, or frames over duration where the stream says nothing. */
static struct rational frame_rate_choose(const struct media_video *video,
                                         const struct media_index *index)
{
    if (video->frame_rate.num > 0 && video->frame_rate.den > 0)
        return video->frame_rate;
    int64_t span = (index->end_pts - index->pts[0]) * index->time_base.num;
    int64_t milli = sl_muldiv_i64((int64_t)index->count * 1000, index->time_base.den, span);
    if (milli < 1)
        milli = 1;
    if (milli > INT32_MAX)
        milli = INT32_MAX;
    int32_t divisor = common_divisor((int32_t)milli, 1000);
    return (struct rational){(int32_t)milli / divisor, 1000 / divisor};
}

static void time_line_choose(const struct media_index *index, struct plan *plan)
{
    size_t count = index->count;
    int64_t gap_min = index->end_pts - index->pts[count - 1];
    for (size_t i = 1; i < count; i++)
        if (index->pts[i] - index->pts[i - 1] < gap_min)
            gap_min = index->pts[i] - index->pts[i - 1];
    plan->origin_pts = index->pts[0];
    plan->end_pts = index->end_pts;
    plan->timescale = timescale_choose(plan->video.time_base, gap_min);

    int64_t reorder_pts = count > REORDER_FRAMES ? 0 : index->end_pts - index->pts[0];
    for (size_t i = REORDER_FRAMES; i < count; i++)
        if (index->pts[i] - index->pts[i - REORDER_FRAMES] > reorder_pts)
            reorder_pts = index->pts[i] - index->pts[i - REORDER_FRAMES];
    plan->reorder_ticks = plan_ticks(plan, plan->origin_pts + reorder_pts);
    /* Rounded ticks of two frames may lie one further apart than the rounded distance. */
    const struct rational *base = &plan->video.time_base;
    if ((__int128)base->num * plan->timescale % base->den != 0)
        plan->reorder_ticks++;
}

static int picture_plan(const struct media_info *info, const struct media_index *index,
                        const struct policy *policy, struct sl_arena *arena, struct plan *plan,
                        struct sl_failure *why)
{
    int rc = input_check(info, index, why);
    if (rc)
        return rc;
    plan->video = info->video;
    for (int32_t i = 0; i < CODEC_COUNT; i++)
        plan_picture_choose(&plan->video, policy_codec_find(policy, (enum codec)i),
                            &plan->pictures[i]);
    plan->frame_rate = frame_rate_choose(&info->video, index);
    time_line_choose(index, plan);
    rc = plan_rungs_choose(policy, arena, plan, why);
    return rc ? rc : plan_cut(index, policy, arena, plan, why);
}

int plan_build(const struct media_info *info, const struct media_index *index,
               const struct policy *policy, struct sl_arena *arena, struct plan *out,
               struct sl_failure *why)
{
    if (!info->has_video && info->audio_count < 1)
        return sl_fail(why, SL_ENOVIDEO, "the file has neither a picture nor sound");
    if (policy->gop_ns < 1 || policy->segment_ns < policy->gop_ns)
        return sl_fail(why, SL_EINVAL,
                       "policy %.63s has a segment of %lld ns and a GOP of %lld ns; a segment "
                       "must hold a GOP",
                       policy->name, (long long)policy->segment_ns, (long long)policy->gop_ns);
    struct plan plan = {.gop_ns = policy->gop_ns};
    int rc = plan_audio_choose(info, policy, arena, &plan, why);
    if (rc == SL_OK)
        rc = info->has_video ? picture_plan(info, index, policy, arena, &plan, why)
                             : plan_audio_time_line(policy, arena, &plan, why);
    if (rc == SL_OK)
        rc = plan_texts_choose(info, policy, arena, &plan, why);
    if (rc == SL_OK)
        rc = plan_chapters_choose(info, arena, &plan, why);
    if (rc == SL_OK && info->has_video)
        rc = plan_images_choose(index, policy, arena, &plan, why);
    if (rc)
        return rc;
    int64_t longest_pts = 0;
    for (int32_t i = 0; i < plan.segment_count; i++)
        if (plan.segments[i].end_pts - plan.segments[i].start_pts > longest_pts)
            longest_pts = plan.segments[i].end_pts - plan.segments[i].start_pts;
    plan.segment_duration_max_ns =
        sl_muldiv_i64(longest_pts, plan.video.time_base.num * SL_NS_PER_S,
                      plan.video.time_base.den) +
        1;
    *out = plan;
    return SL_OK;
}
