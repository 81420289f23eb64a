#include "tests/standin/soft_decode.h"

#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

/* Above every level that is ever shown. */
#define SILENCE 1000

struct soft_decoder {
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *shown;  /* what the decoder gives out, and no one wants */
    AVFrame *caught; /* what it decodes into */
};

static int buffer_get(AVCodecContext *codec, AVFrame *frame, int flags)
{
    struct soft_decoder *decoder = codec->opaque;
    int rc = avcodec_default_get_buffer2(codec, frame, flags);
    av_frame_unref(decoder->caught);
    return rc < 0 ? rc : av_frame_ref(decoder->caught, frame);
}

struct soft_decoder *soft_decoder_open(const char *name)
{
    const AVCodec *found = avcodec_find_decoder_by_name(name);
    struct soft_decoder *decoder = found ? calloc(1, sizeof *decoder) : NULL;
    if (!decoder)
        return NULL;
    decoder->codec = avcodec_alloc_context3(found);
    decoder->packet = av_packet_alloc();
    decoder->shown = av_frame_alloc();
    decoder->caught = av_frame_alloc();
    if (decoder->codec && decoder->packet && decoder->shown && decoder->caught) {
        decoder->codec->thread_count = 1;
        decoder->codec->flags |= AV_CODEC_FLAG_BITEXACT;
        decoder->codec->get_buffer2 = buffer_get;
        decoder->codec->opaque = decoder;
        decoder->codec->log_level_offset = SILENCE;
        if (avcodec_open2(decoder->codec, found, NULL) >= 0)
            return decoder;
    }
    soft_decoder_close(&decoder);
    return NULL;
}

AVFrame *soft_decode(struct soft_decoder *decoder, const uint8_t *data, size_t bytes)
{
    av_frame_unref(decoder->caught);
    if (av_new_packet(decoder->packet, (int)bytes) < 0)
        return NULL;
    memcpy(decoder->packet->data, data, bytes);
    int rc = avcodec_send_packet(decoder->codec, decoder->packet);
    av_packet_unref(decoder->packet);
    while (avcodec_receive_frame(decoder->codec, decoder->shown) >= 0)
        av_frame_unref(decoder->shown);
    AVFrame *picture = rc >= 0 && decoder->caught->buf[0] ? av_frame_alloc() : NULL;
    if (picture)
        av_frame_move_ref(picture, decoder->caught);
    return picture;
}

void soft_decoder_flush(struct soft_decoder *decoder)
{
    avcodec_flush_buffers(decoder->codec);
}

void soft_decoder_close(struct soft_decoder **decoder)
{
    struct soft_decoder *d = *decoder;
    if (!d)
        return;
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    av_frame_free(&d->shown);
    av_frame_free(&d->caught);
    free(d);
    *decoder = NULL;
}
