#include "media/media_picture.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <string.h>

/* Thumbnails of a preview are small; a finer or slower setting shows no difference. */
#define WEBP_QUALITY "60"
#define WEBP_METHOD  1

static int encoder_open(const AVCodec *codec, const char *name, const AVFrame *like,
                        AVRational time_base, AVCodecContext **out, struct sl_failure *why)
{
    if (!codec)
        return sl_fail(why, SL_EUNSUPPORTED, "this node's libavcodec has no encoder %s", name);
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    if (!encoder)
        return sl_fail(why, SL_ENOMEM, "no memory for a picture");
    bool jpeg = codec->id == AV_CODEC_ID_MJPEG;
    encoder->width = like->width;
    encoder->height = like->height;
    encoder->pix_fmt = jpeg ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
    encoder->color_range = jpeg ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    encoder->colorspace = AVCOL_SPC_SMPTE170M;
    encoder->time_base = time_base;
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    *out = encoder;
    return SL_OK;
}

/* Sends a frame (NULL: the end) and appends what comes out. */
static int encode(AVCodecContext *encoder, const AVFrame *frame, struct sl_buf *out,
                  struct sl_failure *why)
{
    AVPacket *packet = av_packet_alloc();
    if (!packet)
        return sl_fail(why, SL_ENOMEM, "no memory for a picture");
    int got = avcodec_send_frame(encoder, frame);
    while (got >= 0 && (got = avcodec_receive_packet(encoder, packet)) >= 0) {
        sl_buf_append(out, packet->data, (size_t)packet->size);
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    if (out->failed || got == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory for a picture");
    if (got != AVERROR(EAGAIN) && got != AVERROR_EOF)
        return sl_fail(why, SL_EENCODE, "the encoder %s refused a picture of %dx%d",
                       encoder->codec->name, encoder->width, encoder->height);
    return SL_OK;
}

/* The planes of frame under the tags that the encoder expects; shares the buffers. */
static AVFrame *frame_tagged(const AVFrame *frame, const AVCodecContext *encoder, int64_t pts)
{
    AVFrame *copy = av_frame_clone(frame);
    if (!copy)
        return NULL;
    copy->format = encoder->pix_fmt;
    copy->color_range = encoder->color_range;
    copy->colorspace = encoder->colorspace;
    copy->pts = pts;
    copy->pict_type = AV_PICTURE_TYPE_NONE;
    copy->quality = encoder->global_quality;
    return copy;
}

int media_picture_jpeg(const AVFrame *frame, int quality, struct sl_buf *out,
                       struct sl_failure *why)
{
    AVCodecContext *encoder = NULL;
    int code = encoder_open(avcodec_find_encoder_by_name("mjpeg"), "mjpeg", frame,
                            (AVRational){1, 25}, &encoder, why);
    if (code != SL_OK)
        return code;
    encoder->flags |= AV_CODEC_FLAG_QSCALE;
    encoder->global_quality = quality * FF_QP2LAMBDA;
    AVFrame *tagged = frame_tagged(frame, encoder, 0);
    if (!tagged)
        code = sl_fail(why, SL_ENOMEM, "no memory for a picture");
    else if (avcodec_open2(encoder, encoder->codec, NULL) < 0)
        code = sl_fail(why, SL_EENCODE, "the encoder mjpeg does not open for %dx%d", frame->width,
                       frame->height);
    if (code == SL_OK)
        code = encode(encoder, tagged, out, why);
    av_frame_free(&tagged);
    avcodec_free_context(&encoder);
    return code;
}

int media_picture_webp(AVFrame *const *frames, int count, int frame_ms, struct sl_buf *out,
                       struct sl_failure *why)
{
    if (count < 1)
        return sl_fail(why, SL_EINVAL, "an animation of no picture");
    AVCodecContext *encoder = NULL;
    int code = encoder_open(avcodec_find_encoder_by_name("libwebp_anim"), "libwebp_anim", frames[0],
                            (AVRational){1, 1000}, &encoder, why);
    if (code != SL_OK)
        return code;
    encoder->compression_level = WEBP_METHOD;
    AVDictionary *options = NULL;
    av_dict_set(&options, "quality", WEBP_QUALITY, 0);
    int got = avcodec_open2(encoder, encoder->codec, &options);
    av_dict_free(&options);
    if (got < 0)
        code = sl_fail(why, SL_EENCODE, "the encoder libwebp_anim does not open for %dx%d",
                       frames[0]->width, frames[0]->height);
    for (int i = 0; i < count && code == SL_OK; i++) {
        AVFrame *tagged = frame_tagged(frames[i], encoder, (int64_t)i * frame_ms);
        if (tagged) {
            tagged->format = AV_PIX_FMT_YUV420P;
            code = encode(encoder, tagged, out, why);
        } else {
            code = sl_fail(why, SL_ENOMEM, "no memory for a picture");
        }
        av_frame_free(&tagged);
    }
    /* The encoder gives the last picture the time between the two before it. */
    if (code == SL_OK)
        code = encode(encoder, NULL, out, why);
    avcodec_free_context(&encoder);
    return code;
}

/* RIFF…WEBP says its size in the header: of an animation in a VP8X chunk, of one picture in that picture's own.
 * libavcodec does not decode animations. */
static bool webp_read(const uint8_t *b, size_t length, int32_t *width, int32_t *height)
{
    if (length < 30 || memcmp(b, "RIFF", 4) != 0)
        return false;
    if (memcmp(b + 8, "WEBPVP8 ", 8) == 0 && memcmp(b + 23, "\x9d\x01\x2a", 3) == 0) {
        *width = (b[26] | b[27] << 8) & 0x3fff;
        *height = (b[28] | b[29] << 8) & 0x3fff;
        return true;
    }
    if (memcmp(b + 8, "WEBPVP8X", 8) != 0)
        return false;
    *width = 1 + (b[24] | b[25] << 8 | b[26] << 16);
    *height = 1 + (b[27] | b[28] << 8 | b[29] << 16);
    return true;
}

int media_picture_check(const void *bytes, size_t length, int32_t *out_width, int32_t *out_height,
                        struct sl_failure *why)
{
    const uint8_t *b = bytes;
    if (webp_read(b, length, out_width, out_height))
        return SL_OK;
    if (length < 4 || b[0] != 0xff || b[1] != 0xd8)
        return sl_fail(why, SL_EVERIFY, "a picture of %zu bytes is neither JPEG nor WebP", length);
    const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_MJPEG);
    AVCodecContext *decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int got = decoder && packet && frame ? avcodec_open2(decoder, codec, NULL) : AVERROR(ENOMEM);
    if (got >= 0)
        got = av_new_packet(packet, (int)length);
    if (got >= 0) {
        memcpy(packet->data, bytes, length);
        got = avcodec_send_packet(decoder, packet);
    }
    if (got >= 0)
        got = avcodec_receive_frame(decoder, frame);
    bool good = got >= 0 && !frame->decode_error_flags && !(frame->flags & AV_FRAME_FLAG_CORRUPT);
    if (good) {
        *out_width = frame->width;
        *out_height = frame->height;
    }
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    return good ? SL_OK : sl_fail(why, SL_EVERIFY, "a JPEG of %zu bytes does not decode", length);
}
