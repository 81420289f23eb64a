/* A beep at a known time must come out at that time, to the sample's neighbourhood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "media/media_audio.h"
#include "tests/media/media_kit.h"

#define RATE         48000
#define SEGMENTS_MAX 16
/* AAC smears an onset over a good part of a frame of 1024. */
#define ONSET_SLACK  400

struct made {
    AVCodecContext *decoder;
    AVFrame *frame;
    float *samples; /* decoded, without the priming */
    int64_t sample_count, sample_room;
    int32_t priming;
    int32_t segment_count;
    int64_t starts[SEGMENTS_MAX], ends[SEGMENTS_MAX];
    int64_t next_pts;
    int64_t skip;
};

static int take_track(void *arg, const struct media_audio_track *track, struct sl_failure *why)
{
    (void)why;
    struct made *made = arg;
    assert_true(track->extradata_bytes >= 2);
    assert_int_equal(track->sample_rate_hz, RATE);
    made->priming = track->priming;
    made->skip = track->priming;
    made->next_pts = -track->priming;
    made->decoder = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_AAC));
    made->frame = av_frame_alloc();
    made->decoder->extradata = av_mallocz(track->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(made->decoder->extradata, track->extradata, track->extradata_bytes);
    made->decoder->extradata_size = (int)track->extradata_bytes;
    assert_int_equal(avcodec_open2(made->decoder, NULL, NULL), 0);
    return SL_OK;
}

static void decode(struct made *made, const struct media_audio_packet *packet)
{
    AVPacket *in = av_packet_alloc();
    assert_int_equal(av_new_packet(in, (int)packet->bytes), 0);
    memcpy(in->data, packet->data, packet->bytes);
    assert_int_equal(avcodec_send_packet(made->decoder, in), 0);
    while (avcodec_receive_frame(made->decoder, made->frame) >= 0) {
        const float *from = (const float *)made->frame->data[0];
        for (int i = 0; i < made->frame->nb_samples; i++) {
            if (made->skip > 0) {
                made->skip--;
                continue;
            }
            if (made->sample_count == made->sample_room) {
                made->sample_room = made->sample_room ? made->sample_room * 2 : RATE;
                made->samples =
                    realloc(made->samples, (size_t)made->sample_room * sizeof *made->samples);
            }
            made->samples[made->sample_count++] = from[i];
        }
    }
    av_packet_free(&in);
}

static int take_segment(void *arg, const struct media_audio_segment *segment,
                        struct sl_failure *why)
{
    (void)why;
    struct made *made = arg;
    assert_int_equal(segment->number, made->segment_count);
    assert_int_equal(segment->start_ticks, made->next_pts);
    assert_true(segment->packet_count > 0);
    for (size_t i = 0; i < segment->packet_count; i++) {
        assert_int_equal(segment->packets[i].pts, made->next_pts);
        made->next_pts += 1024;
        decode(made, &segment->packets[i]);
    }
    assert_int_equal(segment->end_ticks, made->next_pts);
    made->starts[made->segment_count] = segment->start_ticks;
    made->ends[made->segment_count++] = segment->end_ticks;
    return SL_OK;
}

static void made_fini(struct made *made)
{
    avcodec_free_context(&made->decoder);
    av_frame_free(&made->frame);
    free(made->samples);
}

/* Where it first becomes loud at or behind `from`; -1: never. */
static int64_t onset(const struct made *made, int64_t from)
{
    for (int64_t i = from; i < made->sample_count; i++)
        if (fabsf(made->samples[i]) > 0.1f)
            return i;
    return -1;
}

/* Four seconds with a beep of 0.1 s at each full second from the first on. */
static bool beeps_open(struct kit_clip *clip, const char *before_audio, const char *layout,
                       int rate)
{
    char path[] = "/tmp/sluice-test-XXXXXX.mkv";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    close(fd);
    char command[1024];
    snprintf(
        command, sizeof command,
        "ffmpeg -nostdin -loglevel error -y -f lavfi -i color=size=64x64:rate=25:duration=4 %s "
        "-f lavfi -i \"aevalsrc='if(gte(t,1)*lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':"
        "s=%d:d=4\" -map 0:v -map 1:a -c:v libx264 -preset ultrafast -c:a flac "
        "-channel_layout %s -ac %s %s",
        before_audio, rate, layout, strcmp(layout, "mono") == 0 ? "1" : "2", path);
    bool made = system(command) == 0;
    fd = made ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unlink(path);
    if (fd < 0)
        return false;
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    clip->fd = fd;
    clip->input = (struct media_input){.fd = fd, .bytes = status.st_size};
    return true;
}

static void run(const struct kit_clip *clip, int64_t origin_ms, int64_t end_ms, struct made *made)
{
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(clip, &arena, &info, &index);
    assert_true(info.audio_count > 0);
    int64_t boundaries[] = {0, end_ms / 2 + 3, end_ms};
    struct job_audio job = {
        .source = info.audio[0],
        .out = {.codec = AUDIO_AAC, .bitrate_kbps = 128, .channels = 2, .sample_rate_hz = RATE},
        .origin_pts = origin_ms,
        .origin_time_base = {1, 1000},
        .timescale = 1000,
        .boundary_ticks = boundaries,
        .boundary_count = 3,
    };
    struct media_audio_sink sink = {.arg = made, .track = take_track, .segment = take_segment};
    struct sl_failure why = {0};
    if (media_audio_run(&clip->input, &job, &sink, &why) != SL_OK)
        fail_msg("%s", why.message);
    assert_int_equal(made->segment_count, 2);
    assert_int_equal(made->starts[0], -made->priming);
    int64_t cut = (end_ms / 2 + 3) * RATE / 1000;
    assert_true(llabs(made->starts[1] - cut) <= 512);
    int64_t end = end_ms * RATE / 1000;
    assert_true(made->ends[1] >= end && made->ends[1] < end + 1024);
    sl_arena_fini(&arena);
}

static void beeps_at(const struct made *made, int64_t first_ms, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t want = (first_ms + i * 1000) * RATE / 1000;
        int64_t got = onset(made, want - RATE / 2 > 0 ? want - RATE / 2 : 0);
        if (llabs(got - want) > ONSET_SLACK)
            fail_msg("beep %d came at %lld, not at %lld", i, (long long)got, (long long)want);
    }
}

static void beeps_come_in_time(const char *before_audio, const char *layout, int rate,
                               int64_t origin_ms, int64_t end_ms, int64_t first_ms, int count)
{
    struct kit_clip clip;
    if (!beeps_open(&clip, before_audio, layout, rate)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct made made = {0};
    run(&clip, origin_ms, end_ms, &made);
    beeps_at(&made, first_ms, count);
    made_fini(&made);
    kit_clip_close(&clip);
}

static void test_beeps_stay_where_they_are(void **state)
{
    (void)state;
    beeps_come_in_time("", "stereo", 48000, 0, 4000, 1000, 3);
}

static void test_beeps_stay_when_resampled_and_mixed(void **state)
{
    (void)state;
    beeps_come_in_time("", "mono", 44100, 0, 4000, 1000, 3);
}

static void test_audio_before_zero_is_cut(void **state)
{
    (void)state;
    beeps_come_in_time("", "stereo", 44100, 640, 3360, 360, 3);
}

static void test_audio_that_starts_late_waits_in_silence(void **state)
{
    (void)state;
    beeps_come_in_time("-itsoffset 0.35", "stereo", 48000, 0, 4000, 1350, 3);
    beeps_come_in_time("", "stereo", 48000, -250, 4250, 1250, 3);
}

static void test_the_end_is_filled_with_silence(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!beeps_open(&clip, "", "stereo", 48000)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct made made = {0};
    run(&clip, 0, 7000, &made);
    beeps_at(&made, 1000, 3);
    assert_int_equal(onset(&made, 4 * RATE), -1);
    assert_true(made.sample_count >= 7 * RATE);
    made_fini(&made);
    kit_clip_close(&clip);
}

static void test_what_lies_behind_the_video_is_cut(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!beeps_open(&clip, "", "stereo", 48000)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct made made = {0};
    run(&clip, 0, 2500, &made);
    beeps_at(&made, 1000, 2);
    made_fini(&made);
    kit_clip_close(&clip);
}

static void test_an_audio_codec_without_encoder_is_named(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_made_open(&clip)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    int64_t boundaries[] = {0, 3000};
    struct job_audio job = {
        .source = {.stream_index = 1},
        .out = {.codec = AUDIO_OPUS, .bitrate_kbps = 96, .channels = 2, .sample_rate_hz = RATE},
        .origin_time_base = {1, 1000},
        .timescale = 1000,
        .boundary_ticks = boundaries,
        .boundary_count = 2,
    };
    struct media_audio_sink sink = {.track = take_track, .segment = take_segment};
    struct sl_failure why = {0};
    assert_int_equal(media_audio_run(&clip.input, &job, &sink, &why), SL_ENOENCODER);
    assert_non_null(strstr(why.message, "opus"));
    job.source.stream_index = 0; /* the video */
    assert_int_equal(media_audio_run(&clip.input, &job, &sink, &why), SL_ECHANGED);
    kit_clip_close(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beeps_stay_where_they_are),
        cmocka_unit_test(test_beeps_stay_when_resampled_and_mixed),
        cmocka_unit_test(test_audio_before_zero_is_cut),
        cmocka_unit_test(test_audio_that_starts_late_waits_in_silence),
        cmocka_unit_test(test_the_end_is_filled_with_silence),
        cmocka_unit_test(test_what_lies_behind_the_video_is_cut),
        cmocka_unit_test(test_an_audio_codec_without_encoder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
