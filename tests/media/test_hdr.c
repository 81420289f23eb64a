/* HDR10 from the probe on: what frames say of their mastering, pictures that stay HDR, and the check of what was made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/media_check.h"
#include "media/media_filter.h"
#include "tests/media/media_kit.h"

#define FRAMES 10

static const struct media_hdr mastered = {
    .mastering = true,
    .primaries = {{34000, 16000}, {13250, 34500}, {7500, 3000}},
    .white = {15635, 16450},
    .luminance_max = 10000000,
    .luminance_min = 50,
    .light = true,
    .light_max_nits = 700,
    .light_average_nits = 200,
};

static bool hdr10_open(struct kit_clip *clip)
{
    if (kit_trait_open(
            clip, "mp4", "testsrc2=size=160x96:rate=25:duration=0.4",
            "-pix_fmt yuv420p10le -vf setparams=color_primaries=bt2020:color_trc=smpte2084:"
            "colorspace=bt2020nc -c:v libx265 -preset ultrafast -bf 0 -color_primaries bt2020 "
            "-color_trc smpte2084 -colorspace bt2020nc -movflags +empty_moov -x265-params "
            "'log-level=none:bframes=0:pools=none:hdr10=1:repeat-headers=1:max-cll=700,200:"
            "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
            "'"))
        return true;
    print_message("no ffmpeg with libx265 to make a clip\n");
    return false;
}

static void test_mastering_is_taken_from_frames_where_the_container_has_none(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!hdr10_open(&clip))
        skip();
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    const struct media_hdr *found = &info.video.hdr;
    assert_int_equal(info.video.color_transfer, 16);
    assert_int_equal(info.video.bit_depth, 10);
    assert_int_equal(info.video.hdr_peak_nits, 700);
    assert_true(found->mastering && found->light);
    assert_memory_equal(found->primaries, mastered.primaries, sizeof mastered.primaries);
    assert_memory_equal(found->white, mastered.white, sizeof mastered.white);
    assert_int_equal(found->luminance_max, mastered.luminance_max);
    assert_int_equal(found->luminance_min, mastered.luminance_min);
    assert_int_equal(found->light_max_nits, 700);
    assert_int_equal(found->light_average_nits, 200);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

/* The first picture of the clip as the plan makes it: 1 with its format and transfer, or the failure. */
static int first_picture(const struct kit_clip *clip, const struct plan_picture *how, int *format,
                         int *transfer, struct sl_failure *why)
{
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(clip, &arena, &info, &index);
    struct media_range *range = NULL;
    struct media_filter *filter = NULL;
    struct media_range_params from = {&info.video, info.video.first_pts, info.video.end_pts, 0,
                                      false};
    struct media_filter_params params = {&info.video, how, from.start_pts, from.end_pts};
    assert_int_equal(media_range_open(&clip->input, &from, &range, why), SL_OK);
    assert_int_equal(media_filter_open(range, &params, &filter, why), SL_OK);
    AVFrame *frame;
    int got = media_filter_next(filter, &frame, why);
    if (got > 0) {
        *format = frame->format;
        *transfer = (int)frame->color_trc;
    }
    media_filter_close(&filter);
    media_range_close(&range);
    sl_arena_fini(&arena);
    return got;
}

static void test_hdr_stays_where_the_plan_keeps_it(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!hdr10_open(&clip))
        skip();
    struct sl_failure why = {0};
    int format = -1, transfer = -1;
    struct plan_picture how = {.source_primaries = 9,
                               .source_transfer = 16,
                               .source_matrix = 9,
                               .primaries = 9,
                               .transfer = 16,
                               .matrix = 9,
                               .bit_depth = 10};
    assert_int_equal(first_picture(&clip, &how, &format, &transfer, &why), 1);
    assert_int_equal(format, AV_PIX_FMT_YUV420P10LE);
    assert_int_equal(transfer, 16);
    how.primaries = how.transfer = how.matrix = 1;
    how.tonemap_peak_nits = 1000;
    assert_int_equal(first_picture(&clip, &how, &format, &transfer, &why), 1);
    assert_int_equal(format, AV_PIX_FMT_YUV420P10LE); /* ten bits until a rung has fewer */
    assert_int_equal(transfer, 1);
    how.tonemap_peak_nits = 0;
    assert_int_equal(first_picture(&clip, &how, &format, &transfer, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "is HDR, and the video began as SDR"));
    kit_clip_close(&clip);
    if (!kit_made_open(&clip))
        skip();
    how.primaries = how.matrix = 9;
    how.transfer = 18;
    how.source_transfer = 1;
    assert_int_equal(first_picture(&clip, &how, &format, &transfer, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "is SDR, and the video began as HDR"));
    kit_clip_close(&clip);
}

static int check(const struct kit_clip *clip, const struct media_check_want *want,
                 struct sl_failure *why)
{
    static uint8_t bytes[1 << 20];
    ssize_t length = pread(clip->input.fd, bytes, sizeof bytes, 0);
    assert_true(length > 0 && (size_t)length < sizeof bytes);
    return media_check_segment(bytes, (size_t)length, NULL, 0, want, NULL, why);
}

static void test_the_check_sees_depth_colours_and_mastering(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!hdr10_open(&clip))
        skip();
    const struct media_hdr none = {0};
    const struct media_check_want good = {.timescale = 12800,
                                          .frame_count = FRAMES,
                                          .last_ticks = (FRAMES - 1) * 512,
                                          .width = 160,
                                          .height = 96,
                                          .bit_depth = 10,
                                          .color_primaries = 9,
                                          .color_transfer = 16,
                                          .color_matrix = 9,
                                          .hdr = &none,
                                          .decode = MEDIA_CHECK_WHOLE};
    struct media_check_want want = good;
    struct sl_failure why = {0};
    if (check(&clip, &want, &why) != SL_OK)
        fail_msg("%s", why.message);
    want.bit_depth = 8;
    assert_int_equal(check(&clip, &want, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "yuv420p10le, which has not 8 bits"));
    want = good, want.color_transfer = 18;
    assert_int_equal(check(&clip, &want, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "primaries 9, transfer 16, matrix 9, not 9, 18, 9"));
    want = good, want.color_primaries = 1;
    assert_int_equal(check(&clip, &want, &why), SL_EMISMATCH);
    want = good, want.color_matrix = 1;
    assert_int_equal(check(&clip, &want, &why), SL_EMISMATCH);
    want = good, want.hdr = &mastered;
    assert_int_equal(check(&clip, &want, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "a display up to 1000, 700 and 200 nits"));
    kit_clip_close(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mastering_is_taken_from_frames_where_the_container_has_none),
        cmocka_unit_test(test_hdr_stays_where_the_plan_keeps_it),
        cmocka_unit_test(test_the_check_sees_depth_colours_and_mastering),
    };
    return cmocka_run_group_tests_name("hdr", tests, NULL, NULL);
}
