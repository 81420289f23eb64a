#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavutil/intreadwrite.h>
#include <stdlib.h>
#include <string.h>

#include "media/media_filter.h"
#include "media/media_frame.h"
#include "media/media_video.h"
#include "tests/media/media_kit.h"

#define FRAMES_MAX 1024

static const struct plan_picture deinterlaced = {.deinterlace = true,
                                                 .source_primaries = 6,
                                                 .source_transfer = 6,
                                                 .source_matrix = 6,
                                                 .primaries = 6,
                                                 .transfer = 6,
                                                 .matrix = 6};

/* The pictures of a range, as a chunk makes them. */
static size_t pictures(const struct media_input *input, const struct media_video *video,
                       const struct plan_picture *how, bool context, int64_t start, int64_t end,
                       int32_t preroll, struct kit_frame *out)
{
    struct sl_failure why = {0};
    struct media_range *range = NULL;
    struct media_filter *filter = NULL;
    struct media_range_params from = {video, start, end, preroll, context};
    struct media_filter_params params = {video, how, start, end};
    assert_int_equal(media_range_open(input, &from, &range, &why), SL_OK);
    assert_int_equal(media_filter_open(range, &params, &filter, &why), SL_OK);
    size_t count = 0;
    AVFrame *frame;
    int got;
    while ((got = media_filter_next(filter, &frame, &why)) > 0) {
        assert_true(count < FRAMES_MAX);
        out[count++] = (struct kit_frame){frame->pts, media_frame_hash(frame)};
    }
    if (got < 0)
        fail_msg("%s", why.message);
    media_filter_close(&filter);
    media_range_close(&range);
    return count;
}

/* Chunks against the whole: how many pictures differ. */
static size_t differing(const struct kit_clip *clip, bool context)
{
    static struct kit_frame whole[FRAMES_MAX], part[FRAMES_MAX];
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(clip, &arena, &info, &index);
    const struct media_video *video = &info.video;
    assert_true(video->interlaced);
    assert_true(video->seekable);
    size_t all = pictures(&clip->input, video, &deinterlaced, true, video->first_pts,
                          video->end_pts, PREROLL_LINEAR, whole);
    assert_int_equal(all, index.count);
    size_t wrong = 0, chunks = 0;
    for (size_t at = 0; at < index.count; chunks++) {
        size_t next = at + 1;
        while (next < index.count && !index.key[next])
            next++;
        int64_t end = next < index.count ? index.pts[next] : video->end_pts;
        size_t count = pictures(&clip->input, video, &deinterlaced, context, index.pts[at], end,
                                PREROLL_NONE, part);
        assert_int_equal(count, next - at);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(part[i].pts, index.pts[at + i]);
            wrong += part[i].hash != whole[at + i].hash;
        }
        at = next;
    }
    assert_true(chunks >= 3);
    sl_arena_fini(&arena);
    return wrong;
}

static void fields_test(const char *kind, const char *args)
{
    struct kit_clip clip;
    if (!kit_trait_open(&clip, kind, "testsrc2=size=320x240:rate=50:duration=2", args)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    assert_int_equal(differing(&clip, true), 0);
    /* And it is the context that does it. */
    assert_true(differing(&clip, false) > 0);
    kit_clip_close(&clip);
}

static void test_deinterlaced_chunks_meet(void **state)
{
    (void)state;
    fields_test("ts", "-vf tinterlace=interleave_top -c:v mpeg2video -b:v 3M -flags +ildct+ilme "
                      "-top 1 -g 12 -bf 2");
    fields_test("mp4", "-vf tinterlace=interleave_bottom -c:v libx264 -preset veryfast -g 12 "
                       "-flags +ildct+ilme -x264opts bff=1");
}

/* Frames as they are, with those around the range, for who makes pictures of fields; and from the first on pictures after all,
 * the same as ever. */
static void test_fields_are_left_to_who_asks(void **state)
{
    (void)state;
    static struct kit_frame made[FRAMES_MAX];
    struct kit_clip clip;
    if (!kit_trait_open(&clip, "mp4", "testsrc2=size=64x64:rate=50:duration=2",
                        "-vf tinterlace=interleave_top -c:v libx264 -preset veryfast -g 12 "
                        "-flags +ildct+ilme -x264opts tff=1")) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    const struct media_video *video = &info.video;
    const int64_t start = index.pts[12], end = index.pts[24];
    assert_true(index.key[12] && index.key[24]);
    assert_int_equal(
        pictures(&clip.input, video, &deinterlaced, true, start, end, PREROLL_NONE, made), 12);
    for (int to_host = 0; to_host < 2; to_host++) {
        struct sl_failure why = {0};
        struct media_range *range = NULL;
        struct media_filter *filter = NULL;
        struct media_range_params from = {video, start, end, PREROLL_NONE, true};
        struct media_filter_params params = {video, &deinterlaced, start, end, true, true};
        assert_int_equal(media_range_open(&clip.input, &from, &range, &why), SL_OK);
        assert_int_equal(media_filter_open(range, &params, &filter, &why), SL_OK);
        AVFrame *frame;
        int count = 0, got = media_filter_next(filter, &frame, &why);
        if (to_host && got > 0)
            assert_int_equal(media_filter_to_host(filter, &why), SL_OK);
        for (; got > 0; got = media_filter_next(filter, &frame, &why), count++) {
            assert_int_equal(media_frame_is_interlaced(frame), !to_host);
            assert_int_equal(frame->pts, index.pts[12 + count - (to_host ? 0 : 1)]);
            if (to_host)
                assert_true(media_frame_hash(frame) == made[count].hash);
        }
        assert_int_equal(got, 0);
        assert_int_equal(count, to_host ? 12 : 14);
        media_filter_close(&filter);
        media_range_close(&range);
    }
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_frame_that_needs_nothing_passes_untouched(void **state)
{
    (void)state;
    static struct kit_frame through[FRAMES_MAX];
    struct kit_clip clip;
    if (!kit_made_open(&clip)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    struct plan_picture how = deinterlaced;
    how.deinterlace = false;
    size_t count = pictures(&clip.input, &info.video, &how, false, info.video.first_pts,
                            info.video.end_pts, PREROLL_NONE, through);
    size_t all = 0;
    struct kit_frame *walk = kit_range(&clip.input, &info.video, info.video.first_pts,
                                       info.video.end_pts, PREROLL_LINEAR, &all, NULL, NULL, NULL);
    assert_int_equal(count, all);
    for (size_t i = 0; i < all; i++)
        assert_true(walk[i].hash == through[i].hash);
    free(walk);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_fields_that_the_plan_knows_nothing_of_are_refused(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_trait_open(
            &clip, "ts", "testsrc2=size=320x240:rate=50:duration=1",
            "-vf tinterlace=interleave_top -c:v mpeg2video -flags +ildct+ilme -top 1")) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    struct plan_picture how = deinterlaced;
    how.deinterlace = false;
    struct sl_failure why = {0};
    struct media_range *range = NULL;
    struct media_filter *filter = NULL;
    struct media_range_params from = {&info.video, info.video.first_pts, info.video.end_pts, 0,
                                      false};
    struct media_filter_params params = {&info.video, &how, from.start_pts, from.end_pts};
    AVFrame *frame;
    assert_int_equal(media_range_open(&clip.input, &from, &range, &why), SL_OK);
    assert_int_equal(media_filter_open(range, &params, &filter, &why), SL_OK);
    assert_int_equal(media_filter_next(filter, &frame, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "interlaced"));
    media_filter_close(&filter);
    media_range_close(&range);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

/* A grey picture with one bright corner: where it goes tells the orientation. */
static void corner_is(const int32_t matrix[4], int x, int y)
{
    int32_t words[9] = {matrix[0] * 65536,
                        matrix[1] * 65536,
                        0,
                        matrix[2] * 65536,
                        matrix[3] * 65536,
                        0,
                        0,
                        0,
                        1 << 30};
    struct media_video video = {.width = 64, .height = 32, .sar = {1, 1}, .time_base = {1, 25}};
    assert_true(media_video_orientation((const uint8_t *)words, sizeof words, &video));
    AVFrame *frame = media_frame_make(HAL_I420, 64, 32);
    for (int plane = 0; plane < 3; plane++)
        memset(frame->data[plane], 128, (size_t)frame->linesize[plane] * (size_t)(plane ? 16 : 32));
    for (int row = 0; row < 8; row++)
        memset(frame->data[0] + row * frame->linesize[0], 255, 8); /* top left */
    struct plan_picture how = deinterlaced;
    how.deinterlace = false;
    struct media_filter_params params = {&video, &how, 0, 1};
    struct sl_failure why = {0};
    if (media_filter_frame(&params, frame, &why) != SL_OK)
        fail_msg("%s", why.message);
    bool turned = matrix[0] == 0;
    assert_int_equal(frame->width, turned ? 32 : 64);
    assert_int_equal(frame->height, turned ? 64 : 32);
    for (int i = 0; i < 4; i++) {
        int at_x = i & 1, at_y = i >> 1;
        uint8_t luma = frame->data[0][(at_y ? frame->height - 2 : 2) * frame->linesize[0] +
                                      (at_x ? frame->width - 2 : 2)];
        assert_int_equal(luma, at_x == x && at_y == y ? 255 : 128);
    }
    assert_true(frame->linesize[0] > 0);
    av_frame_free(&frame);
}

/* x' = a x + c y, y' = b x + d y: the top left corner moves to the side where the sum of its column is negative. */
static void test_the_eight_orientations(void **state)
{
    (void)state;
    static const int32_t all[8][4] = {{1, 0, 0, 1},  {-1, 0, 0, 1}, {1, 0, 0, -1}, {-1, 0, 0, -1},
                                      {0, 1, -1, 0}, {0, -1, 1, 0}, {0, 1, 1, 0},  {0, -1, -1, 0}};
    for (int i = 0; i < 8; i++)
        corner_is(all[i], all[i][0] + all[i][2] < 0, all[i][1] + all[i][3] < 0);
    struct media_video video = {0};
    const int32_t askew[9] = {46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30};
    assert_false(media_video_orientation((const uint8_t *)askew, sizeof askew, &video));
}

#define RAMP_SIDE 24

/* What a ramp has at a place of the picture. */
static double ramp(double x, double y)
{
    return 30 + 4 * x + 5 * y;
}

/* Chroma is found in the turned picture where it says that it sits. */
static void chroma_stays_in_place(const int32_t turn[4], enum AVChromaLocation site)
{
    struct media_video video = {
        .width = RAMP_SIDE, .height = RAMP_SIDE, .sar = {1, 1}, .time_base = {1, 1}};
    const int32_t matrix[9] = {
        turn[0] * 65536, turn[1] * 65536, 0, turn[2] * 65536, turn[3] * 65536, 0, 0, 0, 1 << 30};
    const struct plan_picture how = {.primaries = 1, .transfer = 1, .matrix = 1};
    struct media_filter_params params = {.video = &video, .how = &how};
    struct sl_failure why = {0};
    assert_true(media_video_orientation((const uint8_t *)matrix, sizeof matrix, &video));
    AVFrame *frame = media_frame_make(HAL_I420, RAMP_SIDE, RAMP_SIDE);
    frame->chroma_location = site;
    double right = site == AVCHROMA_LOC_CENTER ? 0.5 : 0;
    double down = site == AVCHROMA_LOC_TOPLEFT ? 0 : 0.5;
    for (int y = 0; y < RAMP_SIDE; y++)
        memset(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], 128, RAMP_SIDE);
    for (int y = 0; y < RAMP_SIDE / 2; y++)
        for (int x = 0; x < RAMP_SIDE / 2; x++)
            for (int p = 1; p < 3; p++)
                frame->data[p][(ptrdiff_t)y * frame->linesize[p] + x] =
                    (uint8_t)(ramp(2 * x + right, 2 * y + down) + 0.5);
    if (media_filter_frame(&params, frame, &why) != SL_OK)
        fail_msg("%s", why.message);
    enum AVChromaLocation now = frame->chroma_location;
    right = now == AVCHROMA_LOC_LEFT || now == AVCHROMA_LOC_TOPLEFT ||
                    now == AVCHROMA_LOC_UNSPECIFIED || now == AVCHROMA_LOC_BOTTOMLEFT
                ? 0
                : 0.5;
    down = now == AVCHROMA_LOC_TOPLEFT || now == AVCHROMA_LOC_TOP         ? 0
           : now == AVCHROMA_LOC_BOTTOMLEFT || now == AVCHROMA_LOC_BOTTOM ? 1
                                                                          : 0.5;
    /* The filter that moves it has nothing beyond the edges. */
    for (int y = 3; y < RAMP_SIDE / 2 - 3; y++)
        for (int x = 3; x < RAMP_SIDE / 2 - 3; x++) {
            double middle = (RAMP_SIDE - 1) / 2.0;
            double at_x = 2 * x + right - middle, at_y = 2 * y + down - middle;
            double from_x = turn[0] * at_x + turn[1] * at_y + middle;
            double from_y = turn[2] * at_x + turn[3] * at_y + middle;
            double off =
                frame->data[1][(ptrdiff_t)y * frame->linesize[1] + x] - ramp(from_x, from_y);
            if (off < -1.5 || off > 1.5)
                fail_msg("turn %d %d %d %d: chroma %d, %d is off by %.1f", turn[0], turn[1],
                         turn[2], turn[3], x, y, off);
        }
    av_frame_free(&frame);
}

static void test_chroma_stays_where_it_sits_in_turned_pictures(void **state)
{
    (void)state;
    static const int32_t all[8][4] = {{1, 0, 0, 1},  {-1, 0, 0, 1}, {1, 0, 0, -1}, {-1, 0, 0, -1},
                                      {0, 1, -1, 0}, {0, -1, 1, 0}, {0, 1, 1, 0},  {0, -1, -1, 0}};
    for (int i = 0; i < 8; i++) {
        chroma_stays_in_place(all[i], AVCHROMA_LOC_UNSPECIFIED);
        chroma_stays_in_place(all[i], AVCHROMA_LOC_LEFT);
        chroma_stays_in_place(all[i], AVCHROMA_LOC_CENTER);
        chroma_stays_in_place(all[i], AVCHROMA_LOC_TOPLEFT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deinterlaced_chunks_meet),
        cmocka_unit_test(test_fields_are_left_to_who_asks),
        cmocka_unit_test(test_a_frame_that_needs_nothing_passes_untouched),
        cmocka_unit_test(test_fields_that_the_plan_knows_nothing_of_are_refused),
        cmocka_unit_test(test_the_eight_orientations),
        cmocka_unit_test(test_chroma_stays_where_it_sits_in_turned_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
