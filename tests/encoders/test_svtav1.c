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
#include "encoders/obu.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"

static const struct hal_backends backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&svtav1_encode_ops},
    .encoder_count = 1,
};

/* SVT-AV1 holds a rate on average, and knows no buffer: the first GOP of noise takes 1.8 times the buffer, the next
 * ones pay it back. */
static struct conformance conformance = {.backends = &backends,
                                         .encoder = "svtav1",
                                         .codec = CODEC_AV1,
                                         .preset = "ultrafast",
                                         .buffer_missing_percent = 100};

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

/* A player trusts the level and tier of av1C before it has seen the stream. */
static void test_av1c_tells_level_and_tier(void **state)
{
    (void)state;
    /* SVT-AV1's for 1920x1080 at 30 fps, which is level 4.0: 8. */
    uint8_t header[] = {0x0a, 0x0b, 0, 0, 0, 0x42, 0xab, 0xbf, 0xc3, 0x70, 0x0b, 0xe0, 0x01};
    struct lavc lavc = {.codec_name = "test"};
    struct sl_failure why = {0};
    assert_int_equal(obu_extradata_make(&lavc, header, sizeof header, HAL_I420, &why), SL_OK);
    assert_int_equal(lavc.extradata[1] & 31, 8);
    assert_int_equal(lavc.extradata[2] >> 7, 0);
    header[5] |= 4; /* high tier */
    assert_int_equal(obu_extradata_make(&lavc, header, sizeof header, HAL_I420, &why), SL_OK);
    assert_int_equal(lavc.extradata[1] & 31, 8);
    assert_int_equal(lavc.extradata[2] >> 7, 1);
    header[5] = 0x3c; /* 3.3: up to there the bit behind the level is no tier */
    assert_int_equal(obu_extradata_make(&lavc, header, sizeof header, HAL_I420, &why), SL_OK);
    assert_int_equal(lavc.extradata[1] & 31, 7);
    assert_int_equal(lavc.extradata[2] >> 7, 0);
    lavc_close(&lavc);
}

/* No temporal delimiter; a sequence header, the one of av1C, where decoding may begin. */
static void test_samples_are_what_mp4_wants(void **state)
{
    struct conformance *c = *state;
    static const enum hal_layout layouts[] = {HAL_I420, HAL_I420_10};
    for (int i = 0; i < 2; i++) {
        struct clip clip;
        struct clip_encode out;
        clip_init(&clip, CLIP_SMOOTH, 192, 112, 40, 1001);
        clip.layout = layouts[i];
        clip.idr[20] = true;
        struct hal_encode_params params = clip_params(&clip, CODEC_AV1, 24000);
        snprintf(params.preset, sizeof params.preset, "12");
        encode(c, &params, &clip, &out);
        assert_int_equal(out.extradata[1] >> 5, 0);                 /* main */
        assert_int_equal(out.extradata[2] & 0x7c, i ? 0x4c : 0x0c); /* depth, 4:2:0 */
        for (int32_t at = 0; at < out.count; at++) {
            struct obu obu;
            size_t end = 0;
            int headers = 0;
            while (obu_next(out.packets[at].data, out.packets[at].bytes, &end, &obu)) {
                assert_int_not_equal(obu.type, OBU_TEMPORAL_DELIMITER);
                assert_int_not_equal(obu.type, OBU_METADATA);
                if (obu.type == OBU_SEQUENCE_HEADER) {
                    headers++;
                    assert_int_equal(obu.bytes, out.extradata_bytes - 4);
                    assert_memory_equal(obu.data, out.extradata + 4, obu.bytes);
                }
            }
            assert_int_equal(end, out.packets[at].bytes);
            assert_int_equal(headers, out.packets[at].idr);
            assert_int_equal(out.packets[at].dts, out.packets[at].pts);
        }
        clip_encode_free(&out);
    }
}

static void test_mastering_of_an_hdr_source_is_in_every_key_frame(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode out;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 30, 1001);
    clip.layout = HAL_I420_10;
    clip.idr[20] = true;
    struct hal_encode_params params = clip_params(&clip, CODEC_AV1, 24000);
    snprintf(params.preset, sizeof params.preset, "12");
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
    for (int32_t at = 0; at < out.count; at++) {
        struct obu obu;
        int found = 0;
        for (size_t end = 0; obu_next(out.packets[at].data, out.packets[at].bytes, &end, &obu);) {
            if (obu.type != OBU_METADATA)
                continue;
            const uint8_t *d = obu.data + obu.payload;
            if (d[0] == 1) { /* content light level */
                assert_int_equal(d[1] << 8 | d[2], 1000);
                assert_int_equal(d[3] << 8 | d[4], 400);
                found |= 1;
            } else if (d[0] == 2) { /* red x and y, in 1/65536; cd/m2 in 1/256 */
                assert_in_range(d[1] << 8 | d[2], 46398, 46401);
                assert_int_equal(d[17] << 24 | d[18] << 16 | d[19] << 8 | d[20], 1000 << 8);
                found |= 2;
            }
        }
        assert_int_equal(found, out.packets[at].idr ? 3 : 0);
    }
    clip_encode_free(&out);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (!avcodec_find_encoder_by_name("libsvtav1") || !conformance_find(&conformance)) {
        printf("SKIP: this libavcodec has no libsvtav1\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        CONFORMANCE_TESTS,
        cmocka_unit_test(test_av1c_tells_level_and_tier),
        cmocka_unit_test(test_samples_are_what_mp4_wants),
        cmocka_unit_test(test_mastering_of_an_hdr_source_is_in_every_key_frame),
    };
    return cmocka_run_group_tests_name("svtav1", tests, setup, NULL);
}
