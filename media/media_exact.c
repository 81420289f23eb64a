#include "media/media_exact.h"

#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/mem.h>
#include <string.h>

#include "media/media_frame.h"
#include "media/media_limits.h"
#include "media/media_source.h"

_Static_assert(MEDIA_EXACT_ROOM >= AV_INPUT_BUFFER_PADDING_SIZE, "decoders read beyond packets");

static const enum AVCodecID ids[CODEC_COUNT] = {
    [CODEC_H264] = AV_CODEC_ID_H264,
    [CODEC_H265] = AV_CODEC_ID_HEVC,
    [CODEC_AV1] = AV_CODEC_ID_AV1,
    [CODEC_VP9] = AV_CODEC_ID_VP9,
};

struct pictures {
    int32_t count;
    int32_t surfaces;
    uint64_t hash; /* of all of them, in order */
};

static AVCodecContext *decoder_open(void *device, enum codec codec, const uint8_t *extradata,
                                    size_t extradata_bytes)
{
    const AVCodec *found = media_codec_on_cpu(ids[codec]);
    if (found && device)
        found = media_decoder_on_device(found);
    AVCodecContext *c = found ? avcodec_alloc_context3(found) : NULL;
    if (!c)
        return NULL;
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    c->extradata = av_mallocz(extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    if (c->extradata) {
        memcpy(c->extradata, extradata, extradata_bytes);
        c->extradata_size = (int)extradata_bytes;
    }
    if (device)
        c->hw_device_ctx = av_buffer_ref(device);
    if (!c->extradata || avcodec_open2(c, found, NULL) < 0)
        avcodec_free_context(&c);
    return c;
}

static uint64_t picture_hash(const AVFrame *frame)
{
    if (!media_frame_is_surface(frame))
        return media_frame_hash(frame);
    const AVHWFramesContext *pool = (const void *)frame->hw_frames_ctx->data;
    AVFrame *host = media_frame_download(
        frame, pool->sw_format == AV_PIX_FMT_P010LE ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P);
    uint64_t hash = host ? media_frame_hash(host) : 0;
    av_frame_free(&host);
    return hash;
}

static void pictures_take(AVCodecContext *c, AVFrame *frame, struct pictures *out)
{
    while (avcodec_receive_frame(c, frame) >= 0) {
        out->count++;
        out->surfaces += media_frame_is_surface(frame);
        out->hash = out->hash * 0x9e3779b97f4a7c15u + picture_hash(frame);
        av_frame_unref(frame);
    }
}

static int decode(void *device, enum codec codec, const uint8_t *extradata, size_t extradata_bytes,
                  const struct media_exact_packet *packets, int32_t count, struct pictures *out)
{
    AVCodecContext *c = decoder_open(device, codec, extradata, extradata_bytes);
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    bool whole = c && frame && packet;
    for (int32_t i = 0; whole && i < count; i++) {
        packet->data = packets[i].data;
        packet->size = (int)packets[i].bytes;
        packet->pts = packets[i].pts;
        whole = avcodec_send_packet(c, packet) >= 0;
        av_packet_unref(packet);
        if (whole)
            pictures_take(c, frame, out);
    }
    if (whole && avcodec_send_packet(c, NULL) >= 0)
        pictures_take(c, frame, out);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&c);
    return whole ? SL_OK : SL_EDECODE;
}

int media_exact(void *device, enum codec codec, const uint8_t *extradata, size_t extradata_bytes,
                const struct media_exact_packet *packets, int32_t count, struct sl_failure *why)
{
    struct pictures here = {0}, there = {0};
    int code = decode(NULL, codec, extradata, extradata_bytes, packets, count, &here);
    if (code != SL_OK)
        return sl_fail(why, code, "a sample of %s does not decode", codec_word(codec));
    code = decode(device, codec, extradata, extradata_bytes, packets, count, &there);
    if (code != SL_OK || there.surfaces == 0)
        return sl_fail(why, SL_EUNSUPPORTED, "the device does not decode %s", codec_word(codec));
    if (there.surfaces != there.count || there.count != here.count || there.hash != here.hash)
        return sl_fail(why, SL_EMISMATCH,
                       "the device decodes %s to other pictures than the CPU does",
                       codec_word(codec));
    return SL_OK;
}
