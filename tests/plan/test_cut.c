#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "tests/plan/plan_kit.h"

static struct sl_arena arena;
static struct kit_source source;
static struct plan plan;

static int setup(void **state)
{
    (void)state;
    memset(&arena, 0, sizeof arena);
    memset(&source, 0, sizeof source);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sl_arena_fini(&arena);
    kit_source_close(&source);
    return 0;
}

static int build(const struct policy *policy, struct sl_failure *why)
{
    return plan_build(&source.info, &source.index, policy, &arena, &plan, why);
}

static void build_default(void)
{
    struct policy policy = kit_policy();
    struct sl_failure why = {0};
    int rc = build(&policy, &why);
    if (rc)
        print_error("%s\n", why.message);
    assert_int_equal(rc, SL_OK);
}

/* The row of a pts; the number of rows for the end; fails where a boundary is no frame. */
static size_t row_of(int64_t pts)
{
    const struct media_index *index = &source.index;
    if (pts == index->end_pts)
        return index->count;
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->pts[middle] < pts)
            low = middle + 1;
        else
            high = middle;
    }
    assert_true(low < index->count);
    assert_int_equal(index->pts[low], pts);
    return low;
}

/* What holds for every plan, whatever the source. */
static void check_plan(void)
{
    const struct media_index *index = &source.index;
    assert_int_equal(plan.origin_pts, index->pts[0]);
    assert_int_equal(plan.end_pts, index->end_pts);
    assert_true(plan.segment_count > 0 && plan.segment_count <= PLAN_SEGMENTS_MAX);
    size_t row = 0;
    int64_t at = index->pts[0];
    for (int32_t i = 0; i < plan.segment_count; i++) {
        const struct plan_segment *segment = &plan.segments[i];
        assert_int_equal(segment->start_pts, at);
        assert_true(segment->end_pts > segment->start_pts);
        size_t end = row_of(segment->end_pts);
        assert_int_equal(segment->frame_count, end - row);
        assert_true(segment->frame_count > 0);
        row = end;
        at = segment->end_pts;
    }
    assert_int_equal(row, index->count);
    assert_int_equal(at, index->end_pts);

    int32_t next = 0;
    for (int32_t c = 0; c < plan.chunk_count; c++) {
        const struct plan_chunk *chunk = &plan.chunks[c];
        assert_int_equal(chunk->segment_first, next);
        assert_in_range(chunk->segment_count, 1, PLAN_CHUNK_SEGMENTS_MAX);
        int64_t frames = 0;
        for (int32_t i = 0; i < chunk->segment_count; i++) {
            assert_int_equal(plan.segments[next + i].chunk, c);
            frames += plan.segments[next + i].frame_count;
        }
        assert_int_equal(chunk->frame_count, frames);
        assert_int_equal(chunk->start_pts, plan.segments[next].start_pts);
        next += chunk->segment_count;
        assert_int_equal(chunk->end_pts, plan.segments[next - 1].end_pts);
        /* Starts on a keyframe, unless the chunk before it was full. */
        size_t first = row_of(chunk->start_pts);
        if (c > 0 && !index->key[first])
            assert_true(!plan.video.seekable ||
                        plan.chunks[c - 1].segment_count > PLAN_CHUNK_SEGMENTS_MAX / 2);
        assert_true(chunk->work_mpix > 0);
    }
    assert_int_equal(next, plan.segment_count);
    for (int32_t r = 0; r < plan.rung_count; r++) {
        assert_int_equal(plan.rungs[r].width % 2, 0);
        assert_int_equal(plan.rungs[r].height % 2, 0);
        assert_true(plan.rungs[r].width >= 2 && plan.rungs[r].height >= 2);
    }
    assert_true(plan.rung_count >= 1);
}

static void test_regular_gops_give_chunks_of_about_the_target(void **state)
{
    (void)state;
    kit_source_cfr(&source, 1280, 720, (struct rational){1, 12800}, 512, 25 * 60, 50);
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 10);
    assert_int_equal(plan.segment_count, 10);
    assert_int_equal(plan.segment_duration_max_ns, SL_S_TO_NS(6) + 1);
    assert_int_equal(plan.chunks[3].frame_count, 150);
}

/* Keyframes of the Sintel trailer, 24 frames a second. */
static void test_irregular_keyframes_still_balance(void **state)
{
    (void)state;
    static const size_t keys[] = {0, 224, 334, 584, 621, 658, 772, 1022, 1140};
    kit_source_open(&source, 1280, 720, (struct rational){1, 24}, 1253);
    for (size_t i = 0; i < 1253; i++)
        source.index.pts[i] = (int64_t)i;
    source.index.end_pts = 1253;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        source.index.key[keys[i]] = 1;
    build_default();
    check_plan();
    assert_in_range(plan.chunk_count, 8, 9);
    for (int32_t i = 0; i < plan.segment_count; i++) {
        int64_t length = plan.segments[i].end_pts - plan.segments[i].start_pts;
        assert_in_range(length, 24 * 3, 24 * 9);
    }
    for (int32_t c = 0; c < plan.chunk_count; c++)
        assert_true(source.index.key[plan.chunks[c].start_pts]);
}

/* The opening is one short segment, wherever the keyframes are, and costs the later chunks nothing but frames that are
 * decoded twice where they have no keyframe of their own. */
static void test_opening_is_a_short_chunk(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    struct sl_failure why;
    policy.opening_ns = SL_S_TO_NS(2);
    kit_source_cfr(&source, 1280, 720, (struct rational){1, 25}, 1, 25 * 60, 150);
    assert_int_equal(build(&policy, &why), SL_OK);
    assert_int_equal(plan.chunk_count, 11);
    assert_int_equal(plan.chunks[0].frame_count, 50);
    assert_int_equal(plan.chunks[0].segment_count, 1);
    assert_int_equal(plan.chunks[1].frame_count, 100);
    assert_int_equal(plan.chunks[1].byte_first, plan.chunks[0].byte_first);
    assert_int_equal(plan.chunks[2].start_pts, 150);
    assert_true(plan.chunks[2].byte_first > plan.chunks[1].byte_first);
    /* A keyframe close by is taken, and what follows goes on from there. */
    source.index.key[60] = 1;
    assert_int_equal(build(&policy, &why), SL_OK);
    check_plan();
    assert_int_equal(plan.chunks[0].frame_count, 60);
    assert_true(plan.chunks[1].byte_first > plan.chunks[0].byte_first);
    kit_source_close(&source);
    /* A video that is as good as ready when it opens gets none. */
    kit_source_cfr(&source, 1280, 720, (struct rational){1, 25}, 1, 25 * 17, 0);
    assert_int_equal(build(&policy, &why), SL_OK);
    assert_int_equal(plan.chunk_count, 1);
}

static void test_final_stub_joins_its_neighbour(void **state)
{
    (void)state;
    /* 6 + 6 + 2.9 s: the stub joins. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 10}, 1, 149, 20);
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 2);
    kit_source_close(&source);
    /* 6 + 6 + 3.0 s stays. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 10}, 1, 150, 20);
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 3);
}

static void test_keyframe_span_is_divided_evenly_on_frames(void **state)
{
    (void)state;
    /* Keyframes 20 s apart at 25 Hz: three segments of 6.67 s in each chunk. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 1000, 500);
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 2);
    assert_int_equal(plan.segment_count, 6);
    for (int32_t i = 0; i < 6; i++)
        assert_in_range(plan.segments[i].frame_count, 166, 168);
}

static void test_segment_boundary_snaps_to_a_near_keyframe(void **state)
{
    (void)state;
    /* Chunks of 12 s with a keyframe at 5.4 s: within half a GOP of the middle. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 1200, 300);
    source.index.key[135] = 1;
    source.index.key[600 + 160] = 1; /* after the middle; nearer than the next */
    source.index.key[600 + 130] = 1;
    source.index.key[300 + 100] = 1; /* 4 s: too far from the middle */
    struct policy policy = kit_policy();
    policy.chunk_ns = SL_S_TO_NS(12);
    assert_int_equal(build(&policy, NULL), SL_OK);
    check_plan();
    assert_int_equal(plan.chunk_count, 4);
    assert_int_equal(plan.segment_count, 8);
    assert_int_equal(plan.segments[0].frame_count, 135);
    assert_int_equal(plan.segments[2].frame_count, 150);
    assert_int_equal(plan.segments[4].frame_count, 160);
}

static void test_one_keyframe_becomes_few_chunks_that_are_full(void **state)
{
    (void)state;
    /* 20 minutes: 200 segments in four chunks. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 25 * 1200, 0);
    build_default();
    check_plan();
    assert_int_equal(plan.segment_count, 200);
    assert_int_equal(plan.chunk_count, 4);
    for (int32_t c = 0; c < 4; c++) {
        assert_int_equal(plan.chunks[c].segment_count, 50);
        /* All decode from the only keyframe. */
        assert_int_equal(plan.chunks[c].byte_first, 48);
    }
    assert_int_equal(plan.chunks[0].byte_end, 48 + 1000 * 7500);
}

static void test_short_source_with_one_keyframe_is_one_chunk(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 25 * 60, 0);
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 1);
    assert_int_equal(plan.segment_count, 10);
}

static void test_source_that_cannot_seek_ignores_its_keyframes(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 25 * 60, 50);
    source.info.video.seekable = false;
    build_default();
    check_plan();
    assert_int_equal(plan.chunk_count, 1);
    struct policy policy = kit_policy();
    struct job job;
    assert_int_equal(plan_transcode_job(&plan, &policy, 0, PREROLL_NONE, &arena, &job), SL_OK);
    assert_int_equal(job.transcode.preroll, PREROLL_LINEAR);
}

static void test_single_frame_is_a_plan(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 1, 1);
    build_default();
    check_plan();
    assert_int_equal(plan.segment_count, 1);
    assert_int_equal(plan.reorder_ticks, plan_ticks(&plan, 1));
}

static void test_long_gap_between_frames_makes_no_empty_segment(void **state)
{
    (void)state;
    /* A slide every 25 s, and one of 200 s. */
    kit_source_open(&source, 640, 360, (struct rational){1, 1000}, 12);
    for (size_t i = 0; i < 12; i++) {
        source.index.pts[i] = (int64_t)i * 25000 + (i > 5 ? 175000 : 0);
        source.index.key[i] = i % 4 == 0;
    }
    source.index.end_pts = source.index.pts[11] + 25000;
    build_default();
    check_plan();
    assert_true(plan.reorder_ticks >= 275000);
}

static void test_zero_of_the_time_line_is_the_first_frame(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 90000}, 3600, 500, 50);
    for (size_t i = 0; i < 500; i++)
        source.index.pts[i] += 900000;
    source.index.end_pts += 900000;
    build_default();
    check_plan();
    assert_int_equal(plan.origin_pts, 900000);
    assert_int_equal(plan_ticks(&plan, 900000), 0);
    assert_int_equal(plan_ticks(&plan, 903600), 3600);
}

static void expect_timescale(struct rational base, int64_t step, int32_t timescale, int64_t ticks)
{
    kit_source_close(&source);
    kit_source_cfr(&source, 640, 360, base, step, 100, 10);
    build_default();
    check_plan();
    assert_int_equal(plan.timescale, timescale);
    assert_int_equal(plan_ticks(&plan, step), ticks);
}

static void test_timescale_comes_from_the_time_base(void **state)
{
    (void)state;
    expect_timescale((struct rational){1, 12800}, 512, 12800, 512);
    expect_timescale((struct rational){1, 24}, 1, 1008, 42);
    expect_timescale((struct rational){1001, 30000}, 1, 30000, 1001);
    expect_timescale((struct rational){6, 179}, 1, 1074, 36);
    expect_timescale((struct rational){1, 1000}, 41, 1000, 41);
    expect_timescale((struct rational){2, 2000}, 40, 1000, 40);
    expect_timescale((struct rational){1, 1000000}, 40000, 1000000, 40000);
    expect_timescale((struct rational){1, 1}, 1, 1000, 1000);
    /* Too fine: rounded, or finer where frames would meet. */
    expect_timescale((struct rational){1, 27000000}, 1080000, 90000, 3600);
    expect_timescale((struct rational){1, 1000000000}, 41666667, 90000, 3750);
    expect_timescale((struct rational){1, 27000000}, 100, 1000000, 4);
    expect_timescale((struct rational){1, 1000000000}, 100, 1000000000, 100);
}

static void test_rounded_ticks_never_meet(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 1000000000}, 11112, 1000, 10);
    build_default();
    assert_int_equal(plan.timescale, 90000);
    for (size_t i = 1; i < 1000; i++)
        assert_true(plan_ticks(&plan, source.index.pts[i]) >
                    plan_ticks(&plan, source.index.pts[i - 1]));
}

static void test_ticks_round_to_nearest_both_ways(void **state)
{
    (void)state;
    struct plan p = {.timescale = 90000, .video = {.time_base = {1, 180000}}, .origin_pts = 10};
    assert_int_equal(plan_ticks(&p, 10), 0);
    assert_int_equal(plan_ticks(&p, 11), 1); /* half a tick */
    assert_int_equal(plan_ticks(&p, 12), 1);
    assert_int_equal(plan_ticks(&p, 13), 2);
    assert_int_equal(plan_ticks(&p, 9), -1);
    assert_int_equal(plan_ticks(&p, 8), -1);
    assert_int_equal(plan_ticks(&p, 7), -2);
}

static void test_reorder_depth_covers_any_five_frames(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 90000}, 3600, 500, 50);
    for (size_t i = 300; i < 500; i++)
        source.index.pts[i] += 90000;
    source.index.end_pts += 90000;
    build_default();
    assert_int_equal(plan.reorder_ticks, 4 * 3600 + 90000);
    /* No rounding may take a tick off it. */
    kit_source_close(&source);
    kit_source_cfr(&source, 640, 360, (struct rational){1, 1000000000}, 33366667, 500, 50);
    build_default();
    for (size_t i = 4; i < 500; i++)
        assert_true(plan_ticks(&plan, source.index.pts[i]) -
                        plan_ticks(&plan, source.index.pts[i - 4]) <=
                    plan.reorder_ticks);
}

static void test_frame_rate_is_counted_where_the_stream_is_silent(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 1000}, 40, 500, 50);
    source.info.video.frame_rate = (struct rational){0, 0};
    build_default();
    assert_int_equal(plan.frame_rate.num, 25);
    assert_int_equal(plan.frame_rate.den, 1);
}

static void test_audio_is_planned_where_the_source_has_it(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    policy.audio[1] = (struct policy_audio){AUDIO_AAC, 128, 1, 48000};
    policy.audio[2] = (struct policy_audio){AUDIO_AAC, 96, 2, 48000};
    policy.audio_count = 3;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 500, 50);
    assert_int_equal(build(&policy, NULL), SL_OK);
    assert_int_equal(plan.audio_count, 3);
    assert_string_equal(plan.audio[0].name, "aac-128");
    assert_string_equal(plan.audio[1].name, "aac-96");
    assert_string_equal(plan.audio[2].name, "aac-128-1ch");
    source.info.audio_count = 0;
    assert_int_equal(build(&policy, NULL), SL_OK);
    assert_int_equal(plan.audio_count, 0);
}

static struct media_audio stream(const char *language, const char *title, int32_t channels)
{
    struct media_audio audio = source.info.audio[0];
    audio.channels = channels;
    snprintf(audio.language, sizeof audio.language, "%s", language);
    snprintf(audio.title, sizeof audio.title, "%s", title);
    return audio;
}

static void audio_is(int32_t at, const char *name, const char *group, const char *label,
                     int32_t channels, int32_t track)
{
    assert_true(at < plan.audio_count);
    assert_string_equal(plan.audio[at].name, name);
    assert_string_equal(plan.audio[at].group, group);
    assert_string_equal(plan.audio[at].label, label);
    assert_int_equal(plan.audio[at].channels, channels);
    assert_int_equal(plan.audio[at].track, track);
}

static void test_each_stream_gets_each_entry_that_fits_it(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    policy.audio[0] = (struct policy_audio){AUDIO_AAC, 128, 2, 48000};
    policy.audio[1] = (struct policy_audio){AUDIO_OPUS, 96, 2, 48000};
    policy.audio[2] = (struct policy_audio){AUDIO_AAC, 384, 6, 48000};
    policy.audio[3] = (struct policy_audio){AUDIO_AAC, 64, 2, 48000};
    policy.audio_count = 4;
    policy.loudness = (struct policy_loudness){true, -230, -10};
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 500, 50);
    source.info.audio[0] = stream("eng", "", 6);
    source.info.audio[1] = stream("deu", "", 2);
    source.info.audio[2] = stream("eng", "", 1);
    source.info.audio[3] = stream("", "Director", 2);
    source.info.audio[4] = stream("", "Director", 2);
    source.info.audio_count = 5;
    assert_int_equal(build(&policy, NULL), SL_OK);
    assert_int_equal(plan.audio_count, 4 + 4 * 3);
    assert_int_equal(plan.source_count, 5);
    assert_string_equal(plan.left_out, "");
    /* What a player may switch between stands together. */
    audio_is(0, "aac-128-eng", "aac-128", "English", 2, 0);
    audio_is(1, "aac-64-eng", "aac-64", "English", 2, 0);
    audio_is(2, "opus-96-eng", "opus-96", "English", 2, 0);
    audio_is(3, "aac-384-6ch-eng", "aac-384-6ch", "English", 6, 0);
    audio_is(4, "aac-128-deu", "aac-128", "German", 2, 1);
    audio_is(7, "aac-128-eng-3", "aac-128", "English 3", 2, 2);
    audio_is(10, "aac-128-4", "aac-128", "Director", 2, 3);
    audio_is(13, "aac-128-5", "aac-128", "Director 5", 2, 4);
    assert_int_equal(plan.audio[9].loudness.target_tenths, -230);
    struct job job;
    assert_int_equal(plan_audio_job(&plan, 4, &arena, &job), SL_OK);
    assert_string_equal(job.audio.source.language, "deu");
    /* Only a policy of surround alone makes stereo of what has none. */
    policy.audio[0] = policy.audio[2];
    policy.audio_count = 1;
    source.info.audio[0] = stream("eng", "", 2);
    source.info.audio_count = 1;
    assert_int_equal(build(&policy, NULL), SL_OK);
    assert_int_equal(plan.audio_count, 1);
    assert_int_equal(plan.audio[0].channels, 2);
}

static void test_streams_beyond_the_limit_are_named(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    policy.audio[1] = (struct policy_audio){AUDIO_OPUS, 96, 2, 48000};
    policy.audio[2] = (struct policy_audio){AUDIO_OPUS, 64, 2, 48000};
    policy.audio_count = 3;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 500, 50);
    for (int i = 0; i < 10; i++)
        source.info.audio[i] = stream("eng", "", 2);
    source.info.audio_count = 10;
    snprintf(source.info.audio_note, sizeof source.info.audio_note, "audio stream 7 (ac4) is odd");
    assert_int_equal(build(&policy, NULL), SL_OK);
    assert_int_equal(plan.source_count, 8);
    assert_int_equal(plan.audio_count, PLAN_AUDIO_MAX);
    assert_string_equal(plan.left_out, "audio stream 7 (ac4) is odd; 2 audio streams are left out: "
                                       "24 audio renditions are the most");
}

/* 20.5 s of sound that starts at 0.25 s, with a later and longer second stream. */
static void test_sound_alone_gets_segments_and_nothing_to_transcode(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    struct sl_failure why = {0};
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 500, 50);
    source.info.has_video = false;
    source.info.video = (struct media_video){0};
    source.info.audio[0].time_base = (struct rational){1, 44100};
    source.info.audio[0].first_pts = 11025;
    source.info.audio[0].end_pts = 11025 + 44100 * 20;
    source.info.audio[1] = source.info.audio[0];
    source.info.audio[1].first_pts += 44100;
    source.info.audio[1].end_pts += 22050;
    source.info.audio_count = 2;
    source.index.count = 0;
    assert_int_equal(build(&policy, &why), SL_OK);
    assert_int_equal(plan.chunk_count, 0);
    assert_int_equal(plan.codec_count, 0);
    assert_int_equal(plan.rung_count, 0);
    assert_int_equal(plan.timescale, 48000);
    assert_int_equal(plan.origin_pts, 12000);
    assert_int_equal(plan_ticks(&plan, plan.end_pts), 48000 * 41 / 2);
    int64_t at = plan.origin_pts;
    assert_true(plan.segment_count >= 3);
    for (int32_t i = 0; i < plan.segment_count; i++) {
        assert_int_equal(plan.segments[i].start_pts, at);
        assert_int_equal(plan.segments[i].chunk, -1);
        at = plan.segments[i].end_pts;
    }
    assert_int_equal(at, plan.end_pts);
    struct job job;
    assert_int_equal(plan_audio_job(&plan, 1, &arena, &job), SL_OK);
    assert_int_equal(job.audio.origin_pts, 12000);
    assert_int_equal(job.audio.origin_time_base.den, 48000);
    policy.audio_count = 0;
    assert_int_equal(build(&policy, &why), SL_ENOVIDEO);
    assert_non_null(strstr(why.message, "sound only"));
}

static void refuse(int code, const char *part)
{
    struct policy policy = kit_policy();
    struct sl_failure why = {0};
    struct plan before = plan;
    assert_int_equal(build(&policy, &why), code);
    assert_int_equal(why.code, code);
    assert_non_null(strstr(why.message, part));
    assert_memory_equal(&before, &plan, sizeof plan);
}

static void test_bad_input_is_refused_by_name(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 100, 50);
    source.info.has_video = false;
    source.info.audio_count = 0;
    refuse(SL_ENOVIDEO, "neither a picture nor sound");
    source.info.audio_count = 1;
    source.info.has_video = true;
    source.info.video.width = 20000;
    refuse(SL_EUNSUPPORTED, "20000x360");
    source.info.video.width = 640;
    source.index.pts[7] = source.index.pts[6];
    refuse(SL_EFORMAT, "frame 7 of the index has pts 6 after 6");
    source.index.pts[7] = 7;
    source.index.end_pts = 99;
    refuse(SL_EFORMAT, "ends at 99");
    source.index.end_pts = INT64_MAX;
    refuse(SL_EFORMAT, "must follow");
    source.index.end_pts = 100;
    source.index.time_base.den = 30;
    refuse(SL_EFORMAT, "1/30 s and the stream in 1/25 s");
    source.index.time_base.den = source.info.video.time_base.den = 0;
    refuse(SL_EFORMAT, "positive");
    source.index.time_base.den = source.info.video.time_base.den = 25;
    size_t count = source.index.count;
    source.index.count = 0;
    refuse(SL_EFORMAT, "presentation time");
    source.index.count = count;
    source.index.end_pts = INT64_C(25) * 86400 * 31;
    refuse(SL_ETOOBIG, "2592000 s are the most");
    source.index.end_pts = 100;
    build_default();
}

static void test_too_many_segments_are_refused_with_a_remedy(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    struct sl_failure why = {0};
    policy.segment_ns = policy.chunk_ns = SL_S_TO_NS(2);
    /* A frame each second for five days. */
    kit_source_cfr(&source, 640, 360, (struct rational){1, 1}, 1, 432000, 2);
    assert_int_equal(build(&policy, &why), SL_ETOOBIG);
    assert_non_null(strstr(why.message, "216000 segments and 200000 are the most"));
    policy.segment_ns = policy.chunk_ns = SL_S_TO_NS(4);
    assert_int_equal(build(&policy, &why), SL_OK);
}

static void test_impossible_policies_are_refused(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 100, 50);
    struct sl_failure why = {0};
    struct policy policy = kit_policy();
    policy.codec_count = 0;
    assert_int_equal(build(&policy, &why), SL_EINVAL);
    policy = kit_policy();
    policy.codecs[0].route_count = 0;
    assert_int_equal(build(&policy, &why), SL_EINVAL);
    policy = kit_policy();
    policy.segment_ns = SL_S_TO_NS(1);
    assert_int_equal(build(&policy, &why), SL_EINVAL);
    policy = kit_policy();
    kit_policy_codec_add(&policy, CODEC_H264);
    assert_int_equal(build(&policy, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "h264 twice"));
}

static void test_memory_ending_is_an_error(void **state)
{
    (void)state;
    kit_source_cfr(&source, 640, 360, (struct rational){1, 25}, 1, 25 * 600, 50);
    struct policy policy = kit_policy();
    struct sl_failure why;
    int rc = SL_ENOMEM;
    size_t limit = 16;
    for (; rc == SL_ENOMEM && limit < 1 << 20; limit += 64) {
        sl_arena_fini(&arena);
        arena = (struct sl_arena){.limit_bytes = limit};
        rc = build(&policy, &why);
    }
    assert_int_equal(rc, SL_OK);
    assert_true(limit > 1000);
}

static void test_ten_hours_of_4k60_plan_quickly_and_small(void **state)
{
    (void)state;
    kit_source_cfr(&source, 3840, 2160, (struct rational){1, 60000}, 1000, 60 * 36000, 120);
    clock_t start = clock();
    build_default();
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    check_plan();
    assert_int_equal(plan.chunk_count, 6000);
    print_message("ten hours: %.3f s of CPU, %zu bytes\n", seconds, arena.used_bytes);
    assert_true(arena.used_bytes < (size_t)6000 * 128 + 65536);
    /* The same with a single keyframe, and with keyframes only at the ends of long spans. */
    memset(source.index.key + 1, 0, source.index.count - 1);
    build_default();
    check_plan();
    assert_in_range(plan.chunk_count, 94, 100);
    source.index.key[100] = 1;
    build_default();
    check_plan();
}

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static void random_source(void)
{
    static const struct rational bases[] = {{1, 24},    {1, 1000},  {1, 12800},      {1001, 30000},
                                            {1, 90000}, {6, 179},   {1, 1000000000}, {1, 27000000},
                                            {1, 1},     {1, 600000}};
    struct rational base = bases[dice(sizeof bases / sizeof *bases)];
    size_t frames = 1 + dice(4000);
    kit_source_open(&source, (int32_t)(1 + dice(4200)), (int32_t)(1 + dice(2400)), base, frames);
    static const int32_t turns[] = {0, 90, 180, 270};
    source.info.video.rotation_degrees = turns[dice(4)];
    if (dice(3) == 0)
        source.info.video.sar = (struct rational){(int32_t)dice(50), (int32_t)dice(50)};
    source.info.video.seekable = dice(8) != 0;
    int64_t step = sl_muldiv_i64(base.den, 1, INT64_C(25) * base.num);
    step = step < 1 ? 1 : step;
    int64_t at = (int64_t)dice(100000) - 50000;
    bool vfr = dice(2);
    uint32_t key_odds = 1 + dice(400);
    for (size_t i = 0; i < frames; i++) {
        source.index.pts[i] = at;
        source.index.key[i] = i == 0 ? dice(4) != 0 : dice(key_odds) == 0;
        at +=
            vfr ? 1 + (int64_t)dice((uint32_t)(3 * step > INT32_MAX ? INT32_MAX : 3 * step)) : step;
        if (vfr && dice(500) == 0)
            at += step * (int64_t)dice(1000);
        if (dice(5000) == 0)
            source.index.byte_offset[i] = -1;
    }
    source.index.end_pts = at;
}

static void test_properties_hold_for_any_source(void **state)
{
    (void)state;
    const char *text = getenv("SLUICE_SEED");
    uint64_t first = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)first);
    for (int round = 0; round < 300; round++) {
        seed = first + (uint64_t)round * 7919;
        random_source();
        struct policy policy = kit_policy();
        policy.gop_ns = SL_MS_TO_NS(500) * (1 + dice(8));
        policy.segment_ns = policy.gop_ns * (1 + dice(5));
        policy.chunk_ns = SL_S_TO_NS(1 + dice(120));
        if (dice(3) == 0)
            kit_policy_codec_add(&policy, CODEC_H265);
        struct sl_failure why = {0};
        int rc = build(&policy, &why);
        if (rc == SL_EUNSUPPORTED && strstr(why.message, "encoders take")) {
            kit_source_close(&source); /* a side below 16 samples */
            continue;
        }
        if (rc)
            print_error("round %d: %s\n", round, why.message);
        assert_int_equal(rc, SL_OK);
        check_plan();
        int64_t half = plan.segments
                           ? sl_muldiv_i64(policy.segment_ns / 2, plan.video.time_base.den,
                                           plan.video.time_base.num * SL_NS_PER_S)
                           : 0;
        if (plan.segment_count > 1) {
            const struct plan_segment *last = &plan.segments[plan.segment_count - 1];
            assert_true(last->end_pts - last->start_pts >= half - 1);
        }
        int64_t before = -1;
        for (size_t i = 0; i < source.index.count; i++) {
            int64_t ticks = plan_ticks(&plan, source.index.pts[i]);
            assert_true(ticks > before);
            before = ticks;
            if (i >= 4)
                assert_true(ticks - plan_ticks(&plan, source.index.pts[i - 4]) <=
                            plan.reorder_ticks);
        }
        const struct media_video *video = &source.info.video;
        double wide = video->width, high = video->height;
        if (video->sar.num > 0 && video->sar.den > 0)
            wide = wide * video->sar.num / video->sar.den;
        if (wide < 1.5 || wide > 16384.5)
            wide = video->width;
        bool turned = video->rotation_degrees % 180 == 90;
        for (int32_t r = 0; r < plan.rung_count; r++) {
            assert_true(plan.rungs[r].width <= (turned ? high : wide + 0.5) ||
                        plan.rungs[r].width == 2);
            assert_true(plan.rungs[r].height <= (turned ? wide + 0.5 : high) ||
                        plan.rungs[r].height == 2);
            if (r > 0 && plan.rungs[r].codec == plan.rungs[r - 1].codec)
                assert_true((int64_t)plan.rungs[r].width * plan.rungs[r].height <
                            (int64_t)plan.rungs[r - 1].width * plan.rungs[r - 1].height);
        }
        struct plan again;
        assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &again, NULL),
                         SL_OK);
        assert_int_equal(again.segment_count, plan.segment_count);
        assert_memory_equal(again.segments, plan.segments,
                            (size_t)plan.segment_count * sizeof *plan.segments);
        assert_memory_equal(again.chunks, plan.chunks,
                            (size_t)plan.chunk_count * sizeof *plan.chunks);
        sl_arena_reset(&arena);
        kit_source_close(&source);
    }
    memset(&source, 0, sizeof source);
}

#define PLAN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAN_TEST(test_regular_gops_give_chunks_of_about_the_target),
        PLAN_TEST(test_irregular_keyframes_still_balance),
        PLAN_TEST(test_opening_is_a_short_chunk),
        PLAN_TEST(test_final_stub_joins_its_neighbour),
        PLAN_TEST(test_keyframe_span_is_divided_evenly_on_frames),
        PLAN_TEST(test_segment_boundary_snaps_to_a_near_keyframe),
        PLAN_TEST(test_one_keyframe_becomes_few_chunks_that_are_full),
        PLAN_TEST(test_short_source_with_one_keyframe_is_one_chunk),
        PLAN_TEST(test_source_that_cannot_seek_ignores_its_keyframes),
        PLAN_TEST(test_single_frame_is_a_plan),
        PLAN_TEST(test_long_gap_between_frames_makes_no_empty_segment),
        PLAN_TEST(test_zero_of_the_time_line_is_the_first_frame),
        PLAN_TEST(test_timescale_comes_from_the_time_base),
        PLAN_TEST(test_rounded_ticks_never_meet),
        PLAN_TEST(test_ticks_round_to_nearest_both_ways),
        PLAN_TEST(test_reorder_depth_covers_any_five_frames),
        PLAN_TEST(test_frame_rate_is_counted_where_the_stream_is_silent),
        PLAN_TEST(test_audio_is_planned_where_the_source_has_it),
        PLAN_TEST(test_each_stream_gets_each_entry_that_fits_it),
        PLAN_TEST(test_streams_beyond_the_limit_are_named),
        PLAN_TEST(test_sound_alone_gets_segments_and_nothing_to_transcode),
        PLAN_TEST(test_bad_input_is_refused_by_name),
        PLAN_TEST(test_too_many_segments_are_refused_with_a_remedy),
        PLAN_TEST(test_impossible_policies_are_refused),
        PLAN_TEST(test_memory_ending_is_an_error),
        PLAN_TEST(test_ten_hours_of_4k60_plan_quickly_and_small),
        PLAN_TEST(test_properties_hold_for_any_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
