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
#include "encoders/nal.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"

static const struct hal_backends backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&x265_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {
    .backends = &backends, .encoder = "x265", .codec = CODEC_H265, .preset = "veryfast"};

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

/* hvc1: parameter sets are in hvcC and nowhere else, and no SEI message tells x265's options. */
static void test_packets_hold_slices_alone(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode out;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 30, 1001);
    clip.idr[20] = true;
    struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
    encode(c, &params, &clip, &out);
    for (int32_t i = 0; i < out.count; i++) {
        const struct clip_packet *p = &out.packets[i];
        struct nal nal;
        size_t at = 0;
        while (nal_next(p->data, p->bytes, NAL_LENGTHS, &at, &nal)) {
            int type = nal_type(&nal, CODEC_H265);
            assert_true(type < 32);
            /* 19 and 20 are IDRs; a CRA, 21, could be followed by pictures that do not decode alone. */
            assert_int_equal(type == 19 || type == 20, p->idr);
            assert_true(type < 16 || p->idr);
        }
        assert_int_equal(at, p->bytes);
    }
    clip_encode_free(&out);
}

static void test_profile_and_depth_reach_hvcc(void **state)
{
    struct conformance *c = *state;
    static const struct {
        enum hal_layout layout;
        const char *profile;
        int idc, depth;
    } cases[] = {{HAL_I420, "", 1, 8},
                 {HAL_I420, "main", 1, 8},
                 {HAL_I420_10, "", 2, 10},
                 {HAL_I420_10, "main10", 2, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip clip;
        struct clip_encode out;
        clip_init(&clip, CLIP_SMOOTH, 192, 112, 2, 1001);
        clip.layout = cases[i].layout;
        struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
        snprintf(params.profile, sizeof params.profile, "%s", cases[i].profile);
        encode(c, &params, &clip, &out);
        assert_int_equal(out.extradata[1] & 31, cases[i].idc);
        assert_int_equal(out.extradata[16], 0xfd); /* 4:2:0 */
        assert_int_equal((out.extradata[17] & 7) + 8, cases[i].depth);
        assert_int_equal((out.extradata[18] & 7) + 8, cases[i].depth);
        clip_encode_free(&out);
    }
}

static void test_profiles_that_do_not_fit_are_refused(void **state)
{
    struct conformance *c = *state;
    static const struct {
        enum hal_layout layout;
        const char *profile, *says;
    } cases[] = {{HAL_I420_10, "main", "main10"},
                 {HAL_I420, "main10", "8 bits"},
                 {HAL_I420, "high", "main, main10"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip clip;
        struct clip_encode out;
        struct sl_failure why = {0};
        clip_init(&clip, CLIP_SMOOTH, 192, 112, 1, 1001);
        clip.layout = cases[i].layout;
        struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
        snprintf(params.profile, sizeof params.profile, "%s", cases[i].profile);
        assert_int_equal(clip_encode(c->backends, &c->device, "x265", &params, &clip, &out, &why),
                         SL_EINVAL);
        assert_non_null(strstr(why.message, cases[i].says));
    }
}

/* In every IDR, so that whoever starts anywhere knows; hvcC and other packets have none of it. */
static void test_mastering_of_an_hdr_source_is_in_every_idr(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode out;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 30, 1001);
    clip.layout = HAL_I420_10;
    clip.idr[20] = true;
    struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
    params.color_primaries = params.color_matrix = 9;
    params.color_transfer = 16;
    params.hdr = (struct media_hdr){
        .mastering = true,
        .primaries = {{35400, 14600}, {8500, 39850}, {6550, 2300}},
        .white = {15635, 16450},
        .luminance_max = 10000000,
        .luminance_min = 50,
        .light = true,
        .light_max_nits = 1000,
        .light_average_nits = 400,
    };
    encode(c, &params, &clip, &out);
    /* ITU-T H.265, D.2.28 and D.2.35: payload type, size, then green, blue, red. */
    static const uint8_t mastering[] = {137,        24,          8500 >> 8,  8500 & 255,
                                        39850 >> 8, 39850 & 255, 6550 >> 8,  6550 & 255,
                                        2300 >> 8,  2300 & 255,  35400 >> 8, 35400 & 255};
    static const uint8_t light[] = {144, 4, 1000 >> 8, 1000 & 255, 400 >> 8, 400 & 255};
    for (int32_t i = 0; i < out.count; i++) {
        const struct clip_packet *p = &out.packets[i];
        struct nal nal;
        int found = 0, sets = 0;
        for (size_t at = 0; nal_next(p->data, p->bytes, NAL_LENGTHS, &at, &nal);) {
            int type = nal_type(&nal, CODEC_H265);
            sets += type >= 32 && type <= 34;
            if (type == 39)
                found += (memmem(nal.data, nal.bytes, mastering, sizeof mastering) ? 1 : 0) +
                         (memmem(nal.data, nal.bytes, light, sizeof light) ? 2 : 0);
        }
        assert_int_equal(sets, 0);
        assert_int_equal(found, p->idr ? 3 : 0);
    }
    clip_encode_free(&out);
}

/* Of the first packets: the bytes of the first key frame, and of the smallest and largest later one. */
static void key_frames(const struct clip_encode *out, int32_t count, double *first, double *least,
                       double *most)
{
    *first = *least = *most = 0;
    for (int32_t at = 0; at < count; at++) {
        double bytes = (double)out->packets[at].bytes;
        if (!out->packets[at].idr)
            continue;
        if (*first == 0) {
            *first = bytes;
            continue;
        }
        *least = *least == 0 || bytes < *least ? bytes : *least;
        *most = bytes > *most ? bytes : *most;
    }
}

/* A session is a chunk: its first picture must be as good as the same one inside a longer encode. */
static void test_first_key_frame_is_as_good_as_a_later_one(void **state)
{
    struct conformance *c = *state;
    static const char *const presets[] = {"veryfast", "medium"};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        struct clip clip;
        struct clip_encode out;
        double first, least, most;
        clip_init(&clip, CLIP_NOISE, 96, 64, 30, 1001);
        clip.period = 6;
        for (int32_t frame = 0; frame < clip.frames; frame += clip.period)
            clip.idr[frame] = true;
        struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
        params.crf_tenths = 300;
        snprintf(params.preset, sizeof params.preset, "%s", presets[i]);
        encode(c, &params, &clip, &out);
        key_frames(&out, out.count, &first, &least, &most);
        print_message("%s: first %.0f bytes, later %.0f to %.0f\n", presets[i], first, least, most);
        assert_true(first > 0.97 * most && first < 1.03 * least);
        clip_encode_free(&out);
    }
}

/* What the first picture gets stays in memory that x265 uses for others. Those at the end are left out: x265 4.1 makes
 * them smaller, the less there is to come. */
static void test_no_later_picture_gets_what_the_first_one_got(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode out;
    double first, least, most;
    clip_init(&clip, CLIP_NOISE, 96, 64, 100, 1001);
    clip.period = 1;
    for (int32_t frame = 0; frame < clip.frames; frame++)
        clip.idr[frame] = true;
    struct hal_encode_params params = clip_params(&clip, CODEC_H265, 24000);
    params.crf_tenths = 300;
    params.bframes = 0;
    encode(c, &params, &clip, &out);
    assert_int_equal(out.count, clip.frames);
    key_frames(&out, clip.frames - 30, &first, &least, &most);
    print_message("%.0f to %.0f bytes\n", least, most);
    assert_true(most < 1.01 * least);
    clip_encode_free(&out);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (!avcodec_find_encoder_by_name("libx265") || !conformance_find(&conformance)) {
        printf("SKIP: this libavcodec has no libx265\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        CONFORMANCE_TESTS,
        cmocka_unit_test(test_packets_hold_slices_alone),
        cmocka_unit_test(test_profile_and_depth_reach_hvcc),
        cmocka_unit_test(test_profiles_that_do_not_fit_are_refused),
        cmocka_unit_test(test_mastering_of_an_hdr_source_is_in_every_idr),
        cmocka_unit_test(test_first_key_frame_is_as_good_as_a_later_one),
        cmocka_unit_test(test_no_later_picture_gets_what_the_first_one_got),
    };
    return cmocka_run_group_tests_name("x265", tests, setup, NULL);
}
