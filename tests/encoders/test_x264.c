#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"

static const struct hal_backends backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&x264_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {
    .backends = &backends, .encoder = "x264", .codec = CODEC_H264};

static int setup(void **state)
{
    *state = &conformance;
    return 0;
}

/* 700 bytes of options a chunk would be half a per cent of a small rung. */
static void test_no_packet_tells_the_options_of_x264(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    struct sl_failure why = {0};
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 30, 1001);
    clip.idr[20] = true;
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, 24000);
    assert_int_equal(clip_encode(c->backends, &c->device, "x264", &params, &clip, &encode, &why),
                     SL_OK);
    for (int32_t i = 0; i < encode.count; i++)
        assert_null(memmem(encode.packets[i].data, encode.packets[i].bytes, "x264 - core", 11));
    assert_null(memmem(encode.extradata, encode.extradata_bytes, "x264 - core", 11));
    clip_encode_free(&encode);
}

static void test_profile_and_preset_reach_the_stream(void **state)
{
    struct conformance *c = *state;
    static const struct {
        const char *profile;
        int idc;
    } cases[] = {{"baseline", 66}, {"main", 77}, {"high", 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip clip;
        struct clip_encode encode;
        struct sl_failure why = {0};
        clip_init(&clip, CLIP_SMOOTH, 192, 112, 30, 1001);
        struct hal_encode_params params = clip_params(&clip, CODEC_H264, 24000);
        snprintf(params.profile, sizeof params.profile, "%s", cases[i].profile);
        snprintf(params.preset, sizeof params.preset, "veryfast");
        assert_int_equal(
            clip_encode(c->backends, &c->device, "x264", &params, &clip, &encode, &why), SL_OK);
        assert_int_equal(encode.extradata[1], cases[i].idc);
        clip_encode_free(&encode);
    }
}

/* A session is a chunk: its first picture must be as good as the same one inside a longer encode. */
static void test_first_key_frame_is_as_good_as_a_later_one(void **state)
{
    struct conformance *c = *state;
    static const char *const presets[] = {"veryfast", "medium"};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        struct clip clip;
        struct clip_encode encode;
        struct sl_failure why = {0};
        clip_init(&clip, CLIP_NOISE, 192, 112, 60, 1001);
        clip.period = 12;
        for (int32_t frame = 0; frame < clip.frames; frame += clip.period)
            clip.idr[frame] = true;
        struct hal_encode_params params = clip_params(&clip, CODEC_H264, 24000);
        params.crf_tenths = 300;
        snprintf(params.preset, sizeof params.preset, "%s", presets[i]);
        assert_int_equal(
            clip_encode(c->backends, &c->device, "x264", &params, &clip, &encode, &why), SL_OK);
        double first = 0, last = 0;
        for (int32_t at = 0; at < encode.count; at++)
            if (encode.packets[at].idr) {
                last = (double)encode.packets[at].bytes;
                if (first == 0)
                    first = last;
            }
        print_message("%s: first %.0f bytes, last %.0f\n", presets[i], first, last);
        assert_true(first > 0.95 * last && first < 1.05 * last);
        clip_encode_free(&encode);
    }
}

static void test_ten_bit_in_an_eight_bit_profile_is_refused(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    struct sl_failure why = {0};
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 1, 1001);
    clip.layout = HAL_I420_10;
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, 24000);
    snprintf(params.profile, sizeof params.profile, "high");
    assert_int_equal(clip_encode(c->backends, &c->device, "x264", &params, &clip, &encode, &why),
                     SL_EINVAL);
    assert_non_null(strstr(why.message, "high10"));
    snprintf(params.profile, sizeof params.profile, "high12");
    assert_int_equal(clip_encode(c->backends, &c->device, "x264", &params, &clip, &encode, &why),
                     SL_EINVAL);
    assert_non_null(strstr(why.message, "baseline, main, high, high10"));
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (!avcodec_find_encoder_by_name("libx264") || !conformance_find(&conformance)) {
        printf("SKIP: this libavcodec has no libx264\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        CONFORMANCE_TESTS,
        cmocka_unit_test(test_no_packet_tells_the_options_of_x264),
        cmocka_unit_test(test_profile_and_preset_reach_the_stream),
        cmocka_unit_test(test_first_key_frame_is_as_good_as_a_later_one),
        cmocka_unit_test(test_ten_bit_in_an_eight_bit_profile_is_refused),
    };
    return cmocka_run_group_tests_name("x264", tests, setup, NULL);
}
