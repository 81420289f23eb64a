#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

static struct media_info source(int32_t width, int32_t height, int32_t primaries, int32_t transfer,
                                int32_t matrix)
{
    return (struct media_info){
        .has_video = true,
        .stream_asked = -1,
        .video_stream_count = 1,
        .video = {.width = width,
                  .height = height,
                  .sar = {1, 1},
                  .bit_depth = 8,
                  .color_primaries = primaries,
                  .color_transfer = transfer,
                  .color_matrix = matrix},
    };
}

static void expect(int32_t width, int32_t height, const int32_t from[3], const int32_t as[3],
                   const int32_t into[3])
{
    struct media_info info = source(width, height, from[0], from[1], from[2]);
    struct plan_picture picture;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.source_primaries, as[0]);
    assert_int_equal(picture.source_transfer, as[1]);
    assert_int_equal(picture.source_matrix, as[2]);
    assert_int_equal(picture.primaries, into[0]);
    assert_int_equal(picture.transfer, into[1]);
    assert_int_equal(picture.matrix, into[2]);
}

#define C(...)                                                                                     \
    (const int32_t[3])                                                                             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void test_unsaid_colours_follow_the_size(void **state)
{
    (void)state;
    expect(1920, 1080, C(2, 2, 2), C(1, 1, 1), C(1, 1, 1));
    expect(720, 576, C(2, 2, 2), C(5, 6, 6), C(5, 6, 6));
    expect(720, 480, C(2, 2, 2), C(6, 6, 6), C(6, 6, 6));
    expect(640, 360, C(2, 2, 1), C(6, 6, 1), C(6, 6, 1));
}

static void test_what_players_know_is_kept_and_all_else_becomes_bt709(void **state)
{
    (void)state;
    expect(1920, 1080, C(6, 6, 6), C(6, 6, 6), C(6, 6, 6));
    expect(720, 576, C(5, 5, 5), C(5, 5, 5), C(5, 5, 5));
    expect(1920, 1080, C(9, 14, 9), C(9, 14, 9), C(1, 1, 1)); /* wide gamut, not HDR */
    expect(1920, 1080, C(9, 2, 9), C(9, 14, 9), C(1, 1, 1));
    expect(1920, 1080, C(7, 7, 7), C(7, 7, 7), C(1, 1, 1));
    expect(1920, 1080, C(1, 8, 1), C(1, 8, 1), C(1, 1, 1)); /* linear light */
}

static void test_hdr_is_mapped_from_one_peak(void **state)
{
    (void)state;
    struct media_info info = source(1920, 1080, 9, 16, 9);
    struct plan_picture picture;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.tonemap_peak_nits, 1000);
    info.video.hdr_peak_nits = 4000;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.tonemap_peak_nits, 4000);
    info.video.hdr_peak_nits = 30000;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.tonemap_peak_nits, 10000);
    info.video.hdr_peak_nits = 1;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.tonemap_peak_nits, 100);
    assert_int_equal(picture.matrix, 1);
    info.video.color_transfer = 1;
    plan_picture_choose(&info.video, NULL, &picture);
    assert_int_equal(picture.tonemap_peak_nits, 0);
}

static void test_depth_and_hdr_are_each_codec_s_own(void **state)
{
    (void)state;
    struct media_info info = source(1920, 1080, 9, 16, 9);
    struct plan_picture picture;
    info.video.bit_depth = 10;
    info.video.hdr = (struct media_hdr){.light = true, .light_max_nits = 600};
    struct policy_codec codec = {.codec = CODEC_H265, .depth = 8};
    plan_picture_choose(&info.video, &codec, &picture);
    assert_int_equal(picture.bit_depth, 8);
    assert_int_equal(picture.transfer, 1);
    assert_false(picture.hdr.light);
    codec.depth = 0; /* as the source */
    plan_picture_choose(&info.video, &codec, &picture);
    assert_int_equal(picture.bit_depth, 10);
    assert_int_equal(picture.tonemap_peak_nits, 1000);
    codec.hdr_keep = true;
    plan_picture_choose(&info.video, &codec, &picture);
    assert_int_equal(picture.bit_depth, 10);
    assert_int_equal(picture.tonemap_peak_nits, 0);
    assert_int_equal(picture.primaries, 9);
    assert_int_equal(picture.transfer, 16);
    assert_int_equal(picture.matrix, 9);
    assert_int_equal(picture.hdr.light_max_nits, 600);
    codec.codec = CODEC_H264; /* what no policy says, and a stored one might */
    plan_picture_choose(&info.video, &codec, &picture);
    assert_int_equal(picture.bit_depth, 8);
    assert_int_equal(picture.transfer, 1);
    /* A source that is SDR is not made HDR. */
    codec.codec = CODEC_AV1;
    info.video.color_transfer = 1;
    info.video.bit_depth = 8;
    plan_picture_choose(&info.video, &codec, &picture);
    assert_int_equal(picture.bit_depth, 8);
    assert_int_equal(picture.transfer, 1);
    assert_false(picture.hdr.light);
}

static const struct policy h264_only = {.codecs = {{.codec = CODEC_H264}}, .codec_count = 1};

static bool said(const struct plan_notes *notes, const char *part)
{
    for (int32_t i = 0; i < notes->count; i++)
        if (strstr(notes->text[i], part))
            return true;
    return false;
}

static void test_a_plain_source_needs_no_word(void **state)
{
    (void)state;
    struct media_info info = source(1920, 1080, 1, 1, 1);
    struct plan_notes notes;
    plan_notes_make(&info, &h264_only, &notes);
    assert_int_equal(notes.count, 0);
}

static void test_sound_without_a_picture_is_told(void **state)
{
    (void)state;
    struct media_info info = source(720, 480, 1, 1, 1);
    struct plan_notes notes;
    info.video.time_base = (struct rational){1, 25};
    info.video.first_pts = 25;
    info.video.end_pts = 75;
    info.audio_count = 2;
    info.audio[0] = (struct media_audio){
        .stream_index = 1, .time_base = {1, 1000}, .first_pts = 600, .end_pts = 3400};
    info.audio[1] = (struct media_audio){
        .stream_index = 2, .time_base = {1, 48000}, .first_pts = 48000, .end_pts = 147000};
    plan_notes_make(&info, &h264_only, &notes);
    assert_int_equal(notes.count, 0);
    info.audio[0].first_pts = -500;
    info.audio[1].end_pts = 48000 * 11;
    plan_notes_make(&info, &h264_only, &notes);
    assert_int_equal(notes.count, 2);
    assert_true(said(&notes, "sound of stream 1 begins 1.5 s before the first picture"));
    assert_true(said(&notes, "sound of stream 2 goes on for 8.0 s behind the last picture"));
}

static void test_what_each_codec_keeps_is_told(void **state)
{
    (void)state;
    struct media_info info = source(1920, 1080, 9, 16, 9);
    info.video.bit_depth = 10;
    info.video.dolby_vision = 8;
    info.video.hdr.mastering = true;
    const struct policy both = {
        .codecs = {{.codec = CODEC_H264, .depth = 8}, {.codec = CODEC_AV1, .hdr_keep = true}},
        .codec_count = 2};
    struct plan_notes notes;
    plan_notes_make(&info, &both, &notes);
    assert_true(said(&notes, "Dolby Vision of profile 8: its base layer"));
    assert_true(said(&notes, "tone-mapped to BT.709 SDR for h264"));
    assert_true(said(&notes, "HDR (PQ) kept for av1, with what it says of its mastering"));
    assert_true(said(&notes, "10 bits a sample made 8, with dither for h264"));
    const struct policy one = {.codecs = {{.codec = CODEC_AV1, .hdr_keep = true}},
                               .codec_count = 1};
    plan_notes_make(&info, &one, &notes);
    assert_true(said(&notes, "HDR (PQ) kept, with"));
    assert_false(said(&notes, "tone-mapped"));
    assert_false(said(&notes, "dither"));
}

static void test_all_that_was_changed_is_told(void **state)
{
    (void)state;
    struct media_info info = source(720, 480, 9, 18, 9);
    info.video_stream_count = 2;
    info.stream_count = 2;
    info.streams[0] = (struct media_stream){0, -1, "h264", 320, 180, true};
    info.streams[1] = (struct media_stream){3, 7, "hevc", 720, 480, false};
    info.video.stream_index = 3;
    info.video.sar = (struct rational){32, 27};
    info.video.mirrored = info.video.interlaced = info.video.telecined = true;
    info.video.rotation_degrees = 270;
    info.video.bit_depth = 10;
    info.video.full_range = info.video.variable_frame_rate = true;
    info.video.crop_left = 8;
    struct plan_notes notes;
    plan_notes_make(&info, &h264_only, &notes);
    assert_true(said(&notes, "video stream 3 was taken of 2 (0: h264 320x180, 3: hevc 720x480 of "
                             "program 7)"));
    assert_true(said(&notes, "shown as 480x844"));
    assert_true(said(&notes, "mirrored"));
    assert_true(said(&notes, "by 270 degrees"));
    assert_true(said(&notes, "bottom field first"));
    assert_true(said(&notes, "pulldown"));
    assert_true(said(&notes, "HLG, up to 1000 nits assumed"));
    assert_true(said(&notes, "full range"));
    assert_true(said(&notes, "10 bits"));
    assert_true(said(&notes, "8 left"));
    assert_true(said(&notes, "variable frame rate"));
    assert_true(notes.count <= PLAN_NOTES_MAX);
    info.video.sar = (struct rational){100, 1};
    plan_notes_make(&info, &h264_only, &notes);
    assert_true(
        said(&notes, "samples of 100:1 are nonsense for 720x480, and are taken for square"));
    assert_false(said(&notes, "made square"));
    info.stream_asked = 3;
    plan_notes_make(&info, &h264_only, &notes);
    assert_true(said(&notes, "stream 3 was asked for"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unsaid_colours_follow_the_size),
        cmocka_unit_test(test_depth_and_hdr_are_each_codec_s_own),
        cmocka_unit_test(test_what_each_codec_keeps_is_told),
        cmocka_unit_test(test_what_players_know_is_kept_and_all_else_becomes_bt709),
        cmocka_unit_test(test_hdr_is_mapped_from_one_peak),
        cmocka_unit_test(test_a_plain_source_needs_no_word),
        cmocka_unit_test(test_sound_without_a_picture_is_told),
        cmocka_unit_test(test_all_that_was_changed_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
