/* A sound clip that is over one limit after the other: each refusal names the limit, what was found and what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/time.h"
#include "media/media_limits.h"
#include "media/media_probe.h"
#include "tests/media/media_kit.h"

static struct limits limits;

static int begin(void **state)
{
    (void)state;
    limits_default(&limits);
    return 0;
}

static int probe(struct sl_failure *why)
{
    struct kit_clip clip;
    if (!kit_made_open(&clip)) { /* 3 s of 320x180 at 25 Hz, with a tone */
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    media_limits_set(&limits);
    int code = media_probe(&clip.input, -1, &arena, NULL, &info, &index, why);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
    return code;
}

static void refused(const char *key, const char *found)
{
    struct sl_failure why = {0};
    assert_int_equal(probe(&why), SL_ETOOBIG);
    print_message("%s\n", why.message);
    assert_non_null(strstr(why.message, key));
    assert_non_null(strstr(why.message, found));
}

static void test_the_clip_is_taken_within_the_limits(void **state)
{
    (void)state;
    struct sl_failure why = {0};
    if (probe(&why) != SL_OK)
        fail_msg("%s", why.message);
    limits.width = 320;
    limits.height = 180;
    limits.pixels = 320 * 180;
    limits.streams = 2;
    limits.frames = 75;
    limits.duration = SL_S_TO_NS(3);
    if (probe(&why) != SL_OK)
        fail_msg("%s", why.message);
}

static void test_pictures_are_limited(void **state)
{
    (void)state;
    limits.width = 319;
    refused("limits.width", "320x180");
    limits.width = 8192;
    limits.height = 179;
    refused("limits.height", "320x180");
    limits.height = 8192;
    limits.pixels = 320 * 180 - 1;
    refused("limits.pixels", "57600");
}

static void test_streams_are_limited(void **state)
{
    (void)state;
    limits.streams = 1;
    refused("limits.streams", "2 streams");
}

static void test_packets_are_limited(void **state)
{
    (void)state;
    limits.packets = 60;
    refused("limits.packets", "more than the 60 packets");
}

static void test_frames_are_limited(void **state)
{
    (void)state;
    limits.frames = 74;
    refused("limits.frames", "more than the 74 frames");
}

static void test_durations_are_limited(void **state)
{
    (void)state;
    limits.duration = SL_MS_TO_NS(2900);
    refused("limits.duration", "3.0 s");
}

static void test_a_decoder_is_opened_under_the_limit_of_pixels(void **state)
{
    (void)state;
    AVFormatContext *format = avformat_alloc_context();
    AVStream *stream = avformat_new_stream(format, NULL);
    stream->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    stream->codecpar->codec_id = AV_CODEC_ID_H264;
    AVCodecContext *decoder = NULL;
    struct sl_failure why = {0};
    limits.pixels = 1234;
    media_limits_set(&limits);
    assert_int_equal(media_decoder_open(stream, &decoder, &why), SL_OK);
    assert_int_equal(decoder->max_pixels, 1234);
    avcodec_free_context(&decoder);
    /* One that no upload needs, though there is a decoder for it. */
    stream->codecpar->codec_id = AV_CODEC_ID_BINKVIDEO;
    assert_int_equal(media_decoder_open(stream, &decoder, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "binkvideo"));
    assert_null(strstr(media_codec_names(), "binkvideo"));
    assert_non_null(strstr(media_codec_names(), "h264"));
    avformat_free_context(format);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_clip_is_taken_within_the_limits, begin),
        cmocka_unit_test_setup(test_pictures_are_limited, begin),
        cmocka_unit_test_setup(test_streams_are_limited, begin),
        cmocka_unit_test_setup(test_packets_are_limited, begin),
        cmocka_unit_test_setup(test_frames_are_limited, begin),
        cmocka_unit_test_setup(test_durations_are_limited, begin),
        cmocka_unit_test_setup(test_a_decoder_is_opened_under_the_limit_of_pixels, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
