#include "tests/media/audio_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int take_track(void *arg, const struct media_audio_track *track, struct sl_failure *why)
{
    (void)why;
    struct made *made = arg;
    assert_true(track->extradata_bytes >= 2);
    assert_int_equal(track->sample_rate_hz, RATE);
    made->channels = track->channels;
    made->priming = track->priming;
    made->next_pts = -track->priming;
    made->frame_samples = made->codec == AUDIO_OPUS ? 960 : 1024;
    made->decoder =
        avcodec_alloc_context3(made->codec == AUDIO_OPUS ? avcodec_find_decoder_by_name("opus")
                                                         : avcodec_find_decoder(AV_CODEC_ID_AAC));
    made->frame = av_frame_alloc();
    made->decoder->pkt_timebase = (AVRational){1, RATE};
    made->decoder->extradata = av_mallocz(track->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(made->decoder->extradata, track->extradata, track->extradata_bytes);
    made->decoder->extradata_size = (int)track->extradata_bytes;
    assert_int_equal(avcodec_open2(made->decoder, NULL, NULL), 0);
    return SL_OK;
}

static void keep(struct made *made)
{
    const AVFrame *frame = made->frame;
    assert_int_equal(frame->format, AV_SAMPLE_FMT_FLTP);
    assert_int_equal(frame->ch_layout.nb_channels, made->channels);
    for (int i = 0; i < frame->nb_samples; i++) {
        int64_t at = frame->pts + i;
        if (at < 0)
            continue;
        assert_int_equal(at, made->count);
        if (made->count == made->room) {
            made->room = made->room ? made->room * 2 : RATE;
            made->samples = realloc(made->samples, (size_t)made->room * (size_t)made->channels *
                                                       sizeof *made->samples);
            assert_non_null(made->samples);
        }
        for (int c = 0; c < made->channels; c++)
            made->samples[made->count * made->channels + c] =
                ((const float *)(const void *)frame->extended_data[c])[i];
        made->count++;
    }
}

static void decode(struct made *made, const struct media_audio_packet *packet)
{
    AVPacket *in = av_packet_alloc();
    assert_int_equal(av_new_packet(in, (int)packet->bytes), 0);
    memcpy(in->data, packet->data, packet->bytes);
    in->pts = in->dts = packet->pts;
    in->duration = made->frame_samples;
    assert_int_equal(avcodec_send_packet(made->decoder, in), 0);
    while (avcodec_receive_frame(made->decoder, made->frame) >= 0)
        keep(made);
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
        made->next_pts += made->frame_samples;
        decode(made, &segment->packets[i]);
    }
    assert_int_equal(segment->end_ticks, made->next_pts);
    made->starts[made->segment_count] = segment->start_ticks;
    made->ends[made->segment_count++] = segment->end_ticks;
    return SL_OK;
}

void made_run(struct made *made, const struct kit_clip *clip, const struct plan_audio *out,
              int64_t origin_ms, int64_t end_ms)
{
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(clip, &arena, &info, &index);
    assert_true(info.audio_count > 0);
    int64_t boundaries[] = {0, end_ms / 2 + 3, end_ms};
    struct job_audio job = {
        .source = info.audio[0],
        .out = *out,
        .origin_pts = origin_ms,
        .origin_time_base = {1, 1000},
        .timescale = 1000,
        .boundary_ticks = boundaries,
        .boundary_count = 3,
    };
    *made = (struct made){.codec = out->codec};
    struct media_audio_sink sink = {.arg = made, .track = take_track, .segment = take_segment};
    struct sl_failure why = {0};
    if (media_audio_run(&clip->input, &job, &sink, &why) != SL_OK)
        fail_msg("%s", why.message);
    assert_int_equal(made->segment_count, 2);
    assert_int_equal(made->starts[0], -made->priming);
    int64_t cut = (end_ms / 2 + 3) * RATE / 1000;
    assert_true(llabs(made->starts[1] - cut) <= made->frame_samples / 2);
    int64_t end = end_ms * RATE / 1000;
    assert_true(made->ends[1] >= end && made->ends[1] < end + made->frame_samples);
    sl_arena_fini(&arena);
}

void made_fini(struct made *made)
{
    avcodec_free_context(&made->decoder);
    av_frame_free(&made->frame);
    free(made->samples);
}

float made_at(const struct made *made, int64_t sample, int channel)
{
    return made->samples[sample * made->channels + channel];
}

double made_level(const struct made *made, int channel, int64_t from_ms, int64_t to_ms)
{
    double sum = 0;
    int64_t from = from_ms * RATE / 1000, to = to_ms * RATE / 1000;
    assert_true(from < to && to <= made->count);
    for (int64_t i = from; i < to; i++)
        sum += (double)made_at(made, i, channel) * (double)made_at(made, i, channel);
    return sqrt(sum / (double)(to - from));
}

float made_peak(const struct made *made)
{
    float peak = 0;
    for (int64_t i = 0; i < made->count * made->channels; i++)
        peak = fabsf(made->samples[i]) > peak ? fabsf(made->samples[i]) : peak;
    return peak;
}

bool made_clip(struct kit_clip *clip, const char *suffix, const char *arguments)
{
    char path[64], command[2048];
    snprintf(path, sizeof path, "/tmp/sluice-test-XXXXXX.%s", suffix);
    int fd = mkstemps(path, (int)strlen(suffix) + 1);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "ffmpeg -nostdin -loglevel error -y %s %s", arguments, path);
    bool done = system(command) == 0;
    fd = done ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unlink(path);
    if (fd < 0)
        return false;
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    clip->fd = fd;
    clip->input = (struct media_input){.fd = fd, .bytes = status.st_size};
    return true;
}
