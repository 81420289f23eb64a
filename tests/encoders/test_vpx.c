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
    .encoders = {&vpx_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {.backends = &backends,
                                         .encoder = "vpx",
                                         .codec = CODEC_VP9,
                                         .preset = "veryfast",
                                         .no_parameter_sets = true};

static int setup(void **state)
{
    *state = &conformance;
    return 0;
}

static void encode(struct conformance *c, const struct hal_encode_params *params,
                   const struct clip *clip, struct clip_encode *out)
{
    struct sl_failure why = {0};
    if (clip_encode(c->backends, &c->device, c->encoder, params, clip, out, &why) != SL_OK)
        fail_msg("%s", why.message);
}

/* The uncompressed header (VP9 bitstream specification, 6.2): marker 2, profile, show_existing_frame, frame_type,
 * show_frame. */
static void test_each_packet_shows_one_picture_of_the_right_profile(void **state)
{
    struct conformance *c = *state;
    static const enum hal_layout layouts[] = {HAL_I420, HAL_I420_10};
    for (int i = 0; i < 2; i++) {
        struct clip clip;
        struct clip_encode out;
        clip_init(&clip, CLIP_CUTS, 192, 112, 40, 1001);
        clip.layout = layouts[i];
        clip.idr[20] = true;
        struct hal_encode_params params = clip_params(&clip, CODEC_VP9, 24000);
        snprintf(params.preset, sizeof params.preset, "5");
        encode(c, &params, &clip, &out);
        for (int32_t at = 0; at < out.count; at++) {
            uint8_t head = out.packets[at].data[0];
            assert_int_equal(head >> 6, 2);
            assert_int_equal(head >> 4 & 3,
                             i ? 1 : 0); /* profile 2 has its upper bit set, which comes second */
            assert_int_equal(head & 8, 0);
            assert_int_equal(!(head & 4), out.packets[at].idr);
            assert_int_equal(head & 2, 2);
            assert_int_equal(out.packets[at].dts, out.packets[at].pts);
        }
        clip_encode_free(&out);
    }
}

static void test_a_profile_that_does_not_fit_is_refused(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode out;
    struct sl_failure why = {0};
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 1, 1001);
    struct hal_encode_params params = clip_params(&clip, CODEC_VP9, 24000);
    snprintf(params.profile, sizeof params.profile, "2");
    assert_int_equal(clip_encode(c->backends, &c->device, "vpx", &params, &clip, &out, &why),
                     SL_EINVAL);
    assert_non_null(strstr(why.message, "profile 0 for pictures of 8 bits"));
}

/* Every word that a policy may use for any encoder is known, and the last is not the first. */
static void test_presets_go_from_fast_to_small(void **state)
{
    struct conformance *c = *state;
    static const char *const words[] = {"ultrafast", "medium", "slow", "0", "8"};
    size_t bytes[5] = {0};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct clip clip;
        struct clip_encode out;
        clip_init(&clip, CLIP_CUTS, 96, 64, 24, 1001);
        struct hal_encode_params params = clip_params(&clip, CODEC_VP9, 24000);
        snprintf(params.preset, sizeof params.preset, "%s", words[i]);
        encode(c, &params, &clip, &out);
        for (int32_t at = 0; at < out.count; at++)
            bytes[i] += out.packets[at].bytes;
        clip_encode_free(&out);
    }
    assert_true(bytes[0] == bytes[4]);
    assert_true(bytes[0] > bytes[1]);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (!conformance_find(&conformance))
        return 1;
    const struct CMUnitTest tests[] = {
        CONFORMANCE_TESTS,
        cmocka_unit_test(test_each_packet_shows_one_picture_of_the_right_profile),
        cmocka_unit_test(test_a_profile_that_does_not_fit_is_refused),
        cmocka_unit_test(test_presets_go_from_fast_to_small),
    };
    return cmocka_run_group_tests_name("vpx", tests, setup, NULL);
}
