#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/media_range.h"
#include "media/media_stills.h"
#include "tests/media/media_kit.h"

struct seen {
    int chunks;
    int linear;
    size_t frames;
};

static void frames_equal(const struct kit_frame *want, const struct kit_frame *got, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i].pts, want[i].pts);
        assert_true(got[i].hash == want[i].hash);
    }
}

/* Every cut at a keyframe against one walk from the start. */
static struct seen cuts_equal_the_walk(const struct kit_clip *clip)
{
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    struct seen seen = {0};
    kit_probe(clip, &arena, &info, &index);
    const struct media_video *video = &info.video;
    size_t all = 0;
    struct kit_frame *walk = kit_range(&clip->input, video, video->first_pts, video->end_pts,
                                       PREROLL_LINEAR, &all, NULL, NULL, NULL);
    assert_int_equal(all, index.count);
    for (size_t i = 0; i < all; i++)
        assert_int_equal(walk[i].pts, index.pts[i]);

    uint64_t seam = 0;
    size_t at = 0;
    while (at < index.count) {
        size_t next = at + 1;
        while (next < index.count && !index.key[next])
            next++;
        int64_t end = next < index.count ? index.pts[next] : video->end_pts;
        size_t count = 0;
        uint64_t first, after;
        bool linear;
        struct kit_frame *part = kit_range(&clip->input, video, index.pts[at], end, PREROLL_NONE,
                                           &count, &first, &after, &linear);
        assert_int_equal(count, next - at);
        frames_equal(walk + at, part, count);
        if (at > 0)
            assert_true(seam == first);
        seam = after;
        seen.linear += linear && at > 0;
        seen.chunks++;
        free(part);
        at = next;
    }
    assert_true(seam == 0); /* nothing behind the last */
    seen.frames = all;
    free(walk);
    sl_arena_fini(&arena);
    return seen;
}

static void clip_test(const char *name, size_t frames, int chunks_min)
{
    struct kit_clip clip;
    if (!kit_clip_open(&clip, name)) {
        print_message("%s is not there\n", name);
        skip();
    }
    struct seen seen = cuts_equal_the_walk(&clip);
    print_message("%s: %zu frames in %d ranges, %d of them linear\n", name, seen.frames,
                  seen.chunks, seen.linear);
    assert_int_equal(seen.frames, frames);
    assert_true(seen.chunks >= chunks_min);
    assert_int_equal(seen.linear, 0);
    kit_clip_close(&clip);
}

static void test_sintel_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("sintel-trailer-720p24-h264-aac.mp4", 1253, 9);
}

static void test_bbb_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("bbb-480p24-h264-aac51.mp4", 720, 3);
}

static void test_vp9_in_webm_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("sintel-720p-vp9-opus-derived.webm", 288, 2);
}

static void test_baseline_camera_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("cars-768x432-baseline-12_5fps.mp4", 377, 2);
}

static void test_vfr_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("sintel-vfr-derived.mp4", 278, 6);
}

static void test_odd_rate_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("bottles-video-only-179-6fps.mp4", 1189, 2);
}

static void test_open_gop_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    clip_test("bbb-480p-opengop-bpyramid-derived.mp4", 480, 2);
}

/* A made clip where there are no others, else sintel. */
static void small_clip(struct kit_clip *clip)
{
    if (!kit_made_open(clip) && !kit_clip_open(clip, "bbb-480p24-h264-aac51.mp4")) {
        print_message("neither ffmpeg to make a clip nor clips\n");
        skip();
    }
}

static void test_made_clip_cuts_equal_the_linear_walk(void **state)
{
    (void)state;
    struct kit_clip clip;
    small_clip(&clip);
    cuts_equal_the_walk(&clip);
    kit_clip_close(&clip);
}

static void test_cuts_without_real_keyframes_equal_the_linear_walk(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_trait_open(&clip, "mp4", "testsrc2=size=160x120:rate=25:duration=6",
                        "-c:v libx264 -preset ultrafast -x264-params intra-refresh=1:keyint=25"))
        skip();
    struct seen seen = cuts_equal_the_walk(&clip);
    assert_int_equal(seen.frames, 150);
    assert_int_equal(seen.chunks, 6);

    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    struct media_stills *stills = NULL;
    struct sl_failure why = {0};
    assert_int_equal(media_stills_open(&clip.input, &info.video, &stills, &why), SL_OK);
    int keys = 0;
    for (size_t i = 0; i < index.count; i++) {
        AVFrame *frame = NULL;
        if (!index.key[i])
            continue;
        assert_int_equal(media_stills_at(stills, index.pts[i], &frame, &why), 1);
        assert_int_equal(frame->width, 160);
        keys++;
    }
    assert_int_equal(keys, 6);
    media_stills_close(&stills);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

/* Every tenth frame has the time of the one before it, and so has a keyframe. */
static void test_of_frames_with_one_time_the_first_is_shown(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_trait_open(&clip, "mkv", "testsrc2=size=160x120:rate=25:duration=3",
                        "-c:v libx264 -preset ultrafast -g 20 -bf 0 -bsf:v "
                        "\"setts=ts='if(eq(mod(N,10),3)+eq(N,40),PREV_OUTPTS,PTS)'\""))
        skip();
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    assert_int_equal(index.count, 75 - 8 - 1);
    size_t count;
    struct kit_frame *walk =
        kit_range(&clip.input, &info.video, info.video.first_pts, info.video.end_pts,
                  PREROLL_LINEAR, &count, NULL, NULL, NULL);
    assert_int_equal(count, index.count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(walk[i].pts, index.pts[i]);
    /* A range between keyframes, with a doubled frame at its start and one before it. */
    struct kit_frame *part = kit_range(&clip.input, &info.video, index.pts[11], index.pts[30],
                                       PREROLL_NONE, &count, NULL, NULL, NULL);
    assert_int_equal(count, 19);
    frames_equal(walk + 11, part, count);
    free(part);
    free(walk);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_range_may_start_and_end_between_keyframes(void **state)
{
    (void)state;
    struct kit_clip clip;
    small_clip(&clip);
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    size_t all, count;
    struct kit_frame *walk = kit_range(&clip.input, &info.video, info.video.first_pts,
                                       info.video.end_pts, PREROLL_LINEAR, &all, NULL, NULL, NULL);
    static const size_t pairs[][2] = {{3, 4}, {10, 33}, {26, 74}, {60, 61}};
    for (size_t i = 0; i < 4; i++) {
        bool linear;
        struct kit_frame *part =
            kit_range(&clip.input, &info.video, index.pts[pairs[i][0]], index.pts[pairs[i][1]],
                      PREROLL_NONE, &count, NULL, NULL, &linear);
        assert_int_equal(count, pairs[i][1] - pairs[i][0]);
        assert_false(linear);
        frames_equal(walk + pairs[i][0], part, count);
        free(part);
    }
    free(walk);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_every_preroll_gives_the_same_frames(void **state)
{
    (void)state;
    struct kit_clip clip;
    small_clip(&clip);
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    size_t start = index.count - 1;
    while (!index.key[start])
        start--;
    assert_true(start > 0);
    size_t count, again;
    bool linear;
    struct kit_frame *none = kit_range(&clip.input, &info.video, index.pts[start], index.end_pts,
                                       PREROLL_NONE, &count, NULL, NULL, &linear);
    static const int32_t prerolls[] = {1, 2, 14, PREROLL_LINEAR};
    for (size_t i = 0; i < 4; i++) {
        struct kit_frame *part = kit_range(&clip.input, &info.video, index.pts[start],
                                           index.end_pts, prerolls[i], &again, NULL, NULL, &linear);
        assert_int_equal(again, count);
        frames_equal(none, part, count);
        free(part);
    }
    assert_true(linear);
    free(none);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_source_that_cannot_seek_is_walked(void **state)
{
    (void)state;
    struct kit_clip clip;
    small_clip(&clip);
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    assert_true(info.video.seekable);
    info.video.seekable = false;
    size_t count;
    bool linear;
    struct kit_frame *part = kit_range(&clip.input, &info.video, index.pts[30], index.pts[40],
                                       PREROLL_NONE, &count, NULL, NULL, &linear);
    assert_true(linear);
    assert_int_equal(count, 10);
    free(part);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

/* ---- reading through a function ---- */

struct remote {
    int fd;
    int64_t bytes_read;
    int64_t fail_from; /* reads at or behind this fail; 0: none */
    uint32_t longest;
};

static int remote_read(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    struct remote *remote = arg;
    if (remote->fail_from && (int64_t)offset >= remote->fail_from)
        return SL_EUNREACH;
    uint32_t some = length > 1000 ? length / 2 : length; /* short reads are allowed */
    ssize_t got = pread(remote->fd, into, some, (off_t)offset);
    assert_true(got >= 0);
    remote->bytes_read += got;
    if (length > remote->longest)
        remote->longest = length;
    *out_read = (uint32_t)got;
    return SL_OK;
}

static void test_a_remote_source_is_read_in_part(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_clip_open(&clip, "sintel-trailer-720p24-h264-aac.mp4")) {
        print_message("the clip is not there\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    size_t start = index.count / 2;
    while (!index.key[start])
        start++;
    struct remote remote = {.fd = clip.fd};
    struct media_input input = {
        .fd = -1, .read = remote_read, .arg = &remote, .bytes = clip.input.bytes};
    size_t count, again;
    bool linear;
    struct kit_frame *far = kit_range(&input, &info.video, index.pts[start], index.pts[start + 24],
                                      PREROLL_NONE, &count, NULL, NULL, &linear);
    struct kit_frame *near =
        kit_range(&clip.input, &info.video, index.pts[start], index.pts[start + 24], PREROLL_NONE,
                  &again, NULL, NULL, NULL);
    assert_int_equal(count, 24);
    assert_int_equal(again, 24);
    frames_equal(near, far, count);
    assert_false(linear);
    print_message("one second in the middle read %lld of %lld bytes\n",
                  (long long)remote.bytes_read, (long long)input.bytes);
    assert_true(remote.bytes_read < input.bytes / 3);
    assert_true(remote.longest <= MEDIA_READ_BYTES);
    free(far);
    free(near);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_read_that_fails_is_not_the_end_of_the_source(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_clip_open(&clip, "sintel-trailer-720p24-h264-aac.mp4")) {
        print_message("the clip is not there\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    struct remote remote = {.fd = clip.fd};
    struct media_input input = {
        .fd = -1, .read = remote_read, .arg = &remote, .bytes = clip.input.bytes};
    struct media_range_params params = {
        .video = &info.video, .start_pts = info.video.first_pts, .end_pts = info.video.end_pts};
    struct sl_failure why = {0};
    struct media_range *range = NULL;
    assert_int_equal(media_range_open(&input, &params, &range, &why), SL_OK);
    remote.fail_from = clip.input.bytes / 2; /* from now on, behind the half */
    AVFrame *frame;
    int code;
    int frames = 0;
    while ((code = media_range_next(range, &frame, &why)) > 0)
        frames++;
    assert_true(frames > 100);
    assert_int_equal(code, SL_EUNREACH);
    assert_int_equal(why.code, SL_EUNREACH);
    assert_non_null(strstr(why.message, "byte"));
    media_range_close(&range);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_source_of_another_length_is_refused_as_changed(void **state)
{
    (void)state;
    struct kit_clip clip;
    small_clip(&clip);
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    struct media_input input = clip.input;
    input.bytes--;
    struct media_range_params params = {.video = &info.video, .start_pts = 0, .end_pts = 10};
    struct media_range *range = NULL;
    struct sl_failure why = {0};
    assert_int_equal(media_range_open(&input, &params, &range, &why), SL_ECHANGED);
    info.video.time_base.den++;
    assert_int_equal(media_range_open(&clip.input, &params, &range, &why), SL_ECHANGED);
    assert_null(range);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sintel_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_bbb_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_vp9_in_webm_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_baseline_camera_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_vfr_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_odd_rate_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_open_gop_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_made_clip_cuts_equal_the_linear_walk),
        cmocka_unit_test(test_cuts_without_real_keyframes_equal_the_linear_walk),
        cmocka_unit_test(test_of_frames_with_one_time_the_first_is_shown),
        cmocka_unit_test(test_a_range_may_start_and_end_between_keyframes),
        cmocka_unit_test(test_every_preroll_gives_the_same_frames),
        cmocka_unit_test(test_a_source_that_cannot_seek_is_walked),
        cmocka_unit_test(test_a_remote_source_is_read_in_part),
        cmocka_unit_test(test_a_read_that_fails_is_not_the_end_of_the_source),
        cmocka_unit_test(test_a_source_of_another_length_is_refused_as_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
