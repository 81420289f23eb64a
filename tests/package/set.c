#include "tests/package/set.h"

#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"
#include "package/cmaf.h"

static const struct hal_backends backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&x264_encode_ops},
    .encoder_count = 1,
};

bool set_has_x264(void)
{
    return avcodec_find_encoder_by_name("libx264") != NULL;
}

int64_t clip_reorder_ticks(const struct clip *clip)
{
    int64_t most = 1;
    for (int32_t i = 0; i + 4 < clip->frames; i++)
        if (clip->pts[i + 4] - clip->pts[i] > most)
            most = clip->pts[i + 4] - clip->pts[i];
    return most;
}

static int64_t clip_end(const struct clip *clip)
{
    int32_t n = clip->frames;
    return clip->pts[n - 1] + (n > 1 ? clip->pts[n - 1] - clip->pts[n - 2] : 1);
}

static void segment_keep(struct track *out, int32_t number, struct cmaf_writer *writer,
                         const struct cmaf_packet *packets, size_t count, int64_t start,
                         int64_t end, int64_t last)
{
    struct sl_failure why = {0};
    if (cmaf_segment(writer, number, packets, count, start, end, &out->segments[number], &why) < 0)
        fail_msg("%s", why.message);
    struct published_segment *s = &out->published[number];
    *s = (struct published_segment){.bytes = (int64_t)out->segments[number].length,
                                    .frame_count = (int32_t)count,
                                    .start_ticks = start,
                                    .end_ticks = end,
                                    .last_ticks = last};
    out->count = number + 1;
}

/* One worker's part: a session and a writer of its own for segments first … next - 1. */
static void chunk_make(const struct clip *whole, const struct hal_encode_params *params,
                       const int32_t *starts, int32_t segments, int32_t first, int32_t next,
                       struct track *out)
{
    struct hal_device device;
    int32_t count = 0;
    struct sl_failure why = {0};
    assert_int_equal(hal_probe(&backends, &device, 1, &count, &why), SL_OK);

    struct clip clip = *whole;
    int32_t frame_first = starts[first];
    int32_t frame_next = next < segments ? starts[next] : whole->frames;
    clip.frames = frame_next - frame_first;
    for (int32_t i = 0; i < clip.frames; i++) {
        clip.pts[i] = whole->pts[frame_first + i];
        clip.idr[i] = whole->idr[frame_first + i];
    }
    for (int32_t i = first; i < next; i++)
        clip.idr[starts[i] - frame_first] = true;
    struct clip_encode encode;
    if (clip_encode(&backends, &device, "x264", params, &clip, &encode, &why) < 0)
        fail_msg("%s", why.message);
    assert_int_equal(encode.count, clip.frames);

    struct cmaf_track track = {
        .codec = CODEC_H264,
        .extradata = encode.extradata,
        .extradata_bytes = encode.extradata_bytes,
        .timescale = out->timescale,
        .reorder_ticks = out->reorder_ticks,
        .width = clip.width,
        .height = clip.height,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    struct cmaf_writer *writer = NULL;
    struct sl_buf init = {0};
    if (cmaf_open(&track, &writer, &why) < 0 || cmaf_init(writer, &init, &why) < 0 ||
        cmaf_codecs(&track, out->codecs, &why) < 0)
        fail_msg("%s", why.message);
    if (out->init.length == 0) {
        sl_buf_append(&out->init, init.data, init.length);
    } else {
        assert_int_equal(init.length, out->init.length);
        assert_memory_equal(init.data, out->init.data, init.length);
    }
    sl_buf_fini(&init);

    static struct cmaf_packet packets[CLIP_FRAMES_MAX];
    int32_t at = 0;
    for (int32_t s = first; s < next; s++) {
        int32_t end = s + 1 < segments ? starts[s + 1] : whole->frames;
        int32_t frames = end - starts[s];
        for (int32_t i = 0; i < frames; i++, at++)
            packets[i] = (struct cmaf_packet){.data = encode.packets[at].data,
                                              .bytes = encode.packets[at].bytes,
                                              .pts = encode.packets[at].pts,
                                              .idr = encode.packets[at].idr};
        segment_keep(out, s, writer, packets, (size_t)frames, whole->pts[starts[s]],
                     end < whole->frames ? whole->pts[end] : clip_end(whole), whole->pts[end - 1]);
    }
    cmaf_close(&writer);
    clip_encode_free(&encode);
}

void track_video(const struct clip *clip, int32_t timescale, int32_t width, int32_t height,
                 const int32_t *starts, int32_t segments, uint32_t chunk_bits, struct track *out)
{
    assert_true(segments <= SET_SEGMENTS_MAX);
    *out = (struct track){.timescale = timescale, .reorder_ticks = clip_reorder_ticks(clip)};
    struct clip sized = *clip;
    sized.width = width;
    sized.height = height;
    struct hal_encode_params params = clip_params(&sized, CODEC_H264, timescale);
    params.maxrate_kbps = 1000;
    params.bufsize_kbit = 2000;
    for (int32_t first = 0; first < segments;) {
        int32_t next = first + 1;
        while (next < segments && !(chunk_bits & 1u << next))
            next++;
        chunk_make(&sized, &params, starts, segments, first, next, out);
        first = next;
    }
}

/* ---- audio ---- */

struct aac {
    struct cmaf_packet packets[4096];
    int32_t count;
};

static void aac_take(AVCodecContext *codec, AVPacket *packet, struct aac *aac)
{
    while (avcodec_receive_packet(codec, packet) >= 0) {
        assert_true(aac->count < 4096);
        uint8_t *data = malloc((size_t)packet->size);
        memcpy(data, packet->data, (size_t)packet->size);
        aac->packets[aac->count++] =
            (struct cmaf_packet){.data = data, .bytes = (size_t)packet->size, .pts = packet->pts};
        av_packet_unref(packet);
    }
}

void track_audio(int32_t seconds, int32_t rate, int32_t segment_samples, struct track *out)
{
    static struct aac aac;
    aac.count = 0;
    AVCodecContext *codec = avcodec_alloc_context3(avcodec_find_encoder(AV_CODEC_ID_AAC));
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    assert_non_null(codec);
    codec->sample_rate = rate;
    codec->sample_fmt = AV_SAMPLE_FMT_FLTP;
    codec->bit_rate = 128000;
    codec->time_base = (AVRational){1, rate};
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_channel_layout_default(&codec->ch_layout, 2);
    assert_int_equal(avcodec_open2(codec, NULL, NULL), 0);
    int64_t total = (int64_t)seconds * rate;
    for (int64_t at = 0; at < total; at += codec->frame_size) {
        frame->nb_samples = (int)(total - at < codec->frame_size ? total - at : codec->frame_size);
        frame->format = codec->sample_fmt;
        frame->pts = at;
        av_channel_layout_copy(&frame->ch_layout, &codec->ch_layout);
        assert_int_equal(av_frame_get_buffer(frame, 0), 0);
        for (int i = 0; i < frame->nb_samples; i++)
            for (int c = 0; c < 2; c++)
                ((float *)(void *)frame->data[c])[i] = (at + i) % rate == rate / 2 ? 0.9f : 0.0f;
        assert_int_equal(avcodec_send_frame(codec, frame), 0);
        av_frame_unref(frame);
        aac_take(codec, packet, &aac);
    }
    avcodec_send_frame(codec, NULL);
    aac_take(codec, packet, &aac);

    *out = (struct track){.timescale = rate, .reorder_ticks = codec->initial_padding};
    struct cmaf_track track = {
        .audio = true,
        .audio_codec = AUDIO_AAC,
        .extradata = codec->extradata,
        .extradata_bytes = (size_t)codec->extradata_size,
        .timescale = rate,
        .reorder_ticks = codec->initial_padding,
        .channels = 2,
        .sample_rate_hz = rate,
        .language = "eng",
    };
    struct cmaf_writer *writer = NULL;
    struct sl_failure why = {0};
    if (cmaf_open(&track, &writer, &why) < 0 || cmaf_init(writer, &out->init, &why) < 0 ||
        cmaf_codecs(&track, out->codecs, &why) < 0)
        fail_msg("%s", why.message);
    int32_t per_segment = (segment_samples + 512) / 1024;
    int32_t number = 0;
    for (int32_t first = 0; first < aac.count; first += per_segment, number++) {
        assert_true(number < SET_SEGMENTS_MAX);
        int32_t next = first + per_segment < aac.count ? first + per_segment : aac.count;
        segment_keep(out, number, writer, aac.packets + first, (size_t)(next - first),
                     aac.packets[first].pts,
                     next < aac.count ? aac.packets[next].pts : aac.packets[next - 1].pts + 1024,
                     aac.packets[next - 1].pts);
    }
    cmaf_close(&writer);
    for (int32_t i = 0; i < aac.count; i++)
        free((void *)(uintptr_t)aac.packets[i].data);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&codec);
}

void track_free(struct track *track)
{
    sl_buf_fini(&track->init);
    for (int32_t i = 0; i < track->count; i++)
        sl_buf_fini(&track->segments[i]);
    track->count = 0;
}

void track_join(const struct track *track, struct sl_buf *out)
{
    sl_buf_append(out, track->init.data, track->init.length);
    for (int32_t i = 0; i < track->count; i++)
        sl_buf_append(out, track->segments[i].data, track->segments[i].length);
}
