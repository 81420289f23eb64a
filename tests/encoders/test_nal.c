#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "encoders/nal.h"

/* What x265 3.5 writes for 192x112 at level 1, in front of each a start code. */
#define VPS                                                                                        \
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00,      \
        0x03, 0x00, 0x00, 0x03, 0x00, 0x1e, 0x95, 0x98, 0x09
#define SPS                                                                                        \
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,      \
        0x03, 0x00, 0x1e, 0xa0, 0x18, 0x20, 0x71, 0x65, 0x95, 0x9a, 0x49, 0x32, 0xb9, 0xa0, 0x20,  \
        0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x03, 0x03, 0x21
#define PPS 0x44, 0x01, 0xc1, 0x72, 0xb4, 0x22, 0x40

static const uint8_t h265_sets[] = {0, 0, 0, 1, VPS, 0, 0, 0, 1, SPS, 0, 0, 1, PPS};

static void test_units_are_found_behind_start_codes_and_lengths(void **state)
{
    (void)state;
    struct nal nal;
    size_t at = 0;
    static const int types[] = {32, 33, 34};
    static const size_t sizes[] = {24, 40, 7};
    for (size_t i = 0; i < 3; i++) {
        assert_true(nal_next(h265_sets, sizeof h265_sets, NAL_START_CODES, &at, &nal));
        assert_int_equal(nal_type(&nal, CODEC_H265), types[i]);
        assert_int_equal(nal.bytes, sizes[i]);
    }
    assert_false(nal_next(h265_sets, sizeof h265_sets, NAL_START_CODES, &at, &nal));
    assert_int_equal(nal_form_of(h265_sets, sizeof h265_sets), NAL_START_CODES);

    static const uint8_t lengths[] = {0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68};
    at = 0;
    assert_int_equal(nal_form_of(lengths, sizeof lengths), NAL_LENGTHS);
    assert_true(nal_next(lengths, sizeof lengths, NAL_LENGTHS, &at, &nal));
    assert_int_equal(nal_type(&nal, CODEC_H264), 7);
    assert_true(nal_next(lengths, sizeof lengths, NAL_LENGTHS, &at, &nal));
    assert_int_equal(nal_type(&nal, CODEC_H264), 8);
    assert_false(nal_next(lengths, sizeof lengths, NAL_LENGTHS, &at, &nal));
}

static void test_units_that_leave_their_buffer_are_not_found(void **state)
{
    (void)state;
    struct nal nal;
    static const uint8_t long_one[] = {0, 0, 0, 9, 0x67, 1, 2, 3, 4, 5, 6, 7};
    static const uint8_t empty[] = {0, 0, 0, 0, 0x67, 1, 2, 3};
    static const uint8_t code_only[] = {0, 0, 1};
    size_t at = 0;
    assert_false(nal_next(long_one, sizeof long_one, NAL_LENGTHS, &at, &nal));
    assert_false(nal_next(empty, sizeof empty, NAL_LENGTHS, &at, &nal));
    assert_false(nal_next(code_only, sizeof code_only, NAL_START_CODES, &at, &nal));
    assert_false(nal_next(NULL, 0, NAL_START_CODES, &at, &nal));
}

static void test_hvcc_repeats_what_the_sps_says(void **state)
{
    (void)state;
    struct lavc lavc = {.codec_name = "test"};
    struct sl_failure why = {0};
    assert_int_equal(
        nal_extradata_make(&lavc, CODEC_H265, h265_sets, sizeof h265_sets, NAL_START_CODES, &why),
        SL_OK);
    static const uint8_t want[] = {
        1,    0x01, 0x60, 0,    0,    0,    0x90, 0,   0,    0, 0,    0, 0x1e, /* Main, level 1 */
        0xf0, 0,    0xfc, 0xfd, 0xf8, 0xf8, 0,    0,   0x0f, 3, 0xa0, 0, 1,    0,
        24,   VPS,  0xa1, 0,    1,    0,    40,   SPS, 0xa2, 0, 1,    0, 7,    PPS};
    assert_int_equal(lavc.extradata_bytes, sizeof want);
    assert_memory_equal(lavc.extradata, want, sizeof want);
    lavc_close(&lavc);
}

static void test_sets_that_lack_one_are_refused(void **state)
{
    (void)state;
    struct lavc lavc = {.codec_name = "libx"};
    struct sl_failure why = {0};
    static const uint8_t no_pps[] = {0, 0, 1, VPS, 0, 0, 1, SPS};
    static const uint8_t cut_sps[] = {0, 0, 1, VPS, 0, 0, 1, 0x42, 1, 1, 1, 0x60, 0, 0, 1, PPS};
    assert_int_equal(
        nal_extradata_make(&lavc, CODEC_H265, no_pps, sizeof no_pps, NAL_START_CODES, &why),
        SL_EENCODE);
    assert_non_null(strstr(why.message, "libx"));
    assert_int_equal(
        nal_extradata_make(&lavc, CODEC_H265, cut_sps, sizeof cut_sps, NAL_START_CODES, &why),
        SL_EENCODE);
    assert_null(lavc.extradata);
}

static AVPacket *packet_of(const uint8_t *bytes, size_t count)
{
    AVPacket *packet = av_packet_alloc();
    assert_int_equal(av_new_packet(packet, (int)count), 0);
    memcpy(packet->data, bytes, count);
    packet->pts = 7;
    return packet;
}

static void test_packets_get_lengths_and_lose_their_parameter_sets(void **state)
{
    (void)state;
    struct lavc lavc = {.codec_name = "test"};
    struct sl_failure why = {0};
    static const uint8_t in[] = {0,    0, 0,    1,    0x46, 1,   0x10, /* delimiter */ 0,
                                 0,    1, 0x4e, 1,    0x89, /* SEI */
                                 0,    0, 0,    1,    VPS,  0,   0,    1,
                                 SPS,  0, 0,    1,    PPS,  0,   0,    1,
                                 0x28, 1, 0xaf, 0,    0,    3,   1,    0,
                                 0,    0, 1,    0x28, 1,    0x20};
    static const uint8_t want[] = {0,    0, 0, 3, 0x4e, 1, 0x89, 0, 0, 0,    7, 0x28, 1,
                                   0xaf, 0, 0, 3, 1,    0, 0,    0, 3, 0x28, 1, 0x20};
    AVPacket *packet = packet_of(in, sizeof in);
    assert_int_equal(nal_packet_fix(&lavc, packet, CODEC_H265, NAL_START_CODES, &why), SL_OK);
    assert_int_equal(packet->size, sizeof want);
    assert_memory_equal(packet->data, want, sizeof want);
    assert_int_equal(packet->pts, 7);
    /* With lengths and nothing to leave out it stays what it is. */
    const uint8_t *same = packet->data;
    assert_int_equal(nal_packet_fix(&lavc, packet, CODEC_H265, NAL_LENGTHS, &why), SL_OK);
    assert_ptr_equal(packet->data, same);
    av_packet_free(&packet);

    static const uint8_t sets_only[] = {0, 0, 1, 0x67, 1, 2, 3, 0, 0, 1, 0x68, 1};
    packet = packet_of(sets_only, sizeof sets_only);
    assert_int_equal(nal_packet_fix(&lavc, packet, CODEC_H264, NAL_START_CODES, &why), SL_EENCODE);
    av_packet_free(&packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_are_found_behind_start_codes_and_lengths),
        cmocka_unit_test(test_units_that_leave_their_buffer_are_not_found),
        cmocka_unit_test(test_hvcc_repeats_what_the_sps_says),
        cmocka_unit_test(test_sets_that_lack_one_are_refused),
        cmocka_unit_test(test_packets_get_lengths_and_lose_their_parameter_sets),
    };
    return cmocka_run_group_tests_name("nal", tests, NULL, NULL);
}
