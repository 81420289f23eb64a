#include "media/media_try.h"

#include "media/media_limits.h"

#define TRY_FRAMES  8   /* a decoder may hold back as many as it reorders */
#define TRY_PACKETS 300 /* without a frame in so many there is none to be expected */

struct
try {
    struct media_source *source;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    int width, height; /* of the first frame */
};

static int frame_judge(struct try *t, struct sl_failure *why)
{
    int width = t->frame->width, height = t->frame->height;
    if (t->width == 0) {
        t->width = width;
        t->height = height;
        return media_limit_picture(width, height, why);
    }
    if (width == t->width && height == t->height)
        return SL_OK;
    return sl_fail(why, SL_EUNSUPPORTED,
                   "the picture changes its size within the video, from %dx%d to %dx%d: send one "
                   "of one size",
                   t->width, t->height, width, height);
}

/* Decodes from where the source stands; *frames counts those that came. */
static int sample(struct try *t, int *frames, struct sl_failure *why)
{
    bool ended = false;
    *frames = 0;
    for (int packets = 0; *frames < TRY_FRAMES && packets < TRY_PACKETS;) {
        int got = avcodec_receive_frame(t->decoder, t->frame);
        if (got >= 0) {
            int code = frame_judge(t, why);
            av_frame_unref(t->frame);
            if (code != SL_OK)
                return code;
            ++*frames;
            continue;
        }
        if (got == AVERROR(ENOMEM))
            return sl_fail(why, SL_ENOMEM, "no memory to decode");
        if (ended)
            return SL_OK;
        got = media_source_read(t->source, t->packet, why);
        if (got < 0)
            return got;
        packets++;
        ended = got == 0;
        avcodec_send_packet(t->decoder,
                            ended ? NULL : t->packet); /* what it refuses gives no frame */
        av_packet_unref(t->packet);
    }
    return SL_OK;
}

static int both_ends(struct try *t, const AVStream *stream, int64_t first_pts, int64_t last_key_pts,
                     struct sl_failure *why)
{
    AVFormatContext *format = media_source_format(t->source);
    int frames = 0;
    media_source_only(t->source, stream->index);
    if (av_seek_frame(format, stream->index, first_pts, AVSEEK_FLAG_BACKWARD) < 0)
        av_seek_frame(format, -1, 0, AVSEEK_FLAG_BYTE);
    int code = sample(t, &frames, why);
    if (code == SL_OK && frames == 0)
        code = sl_fail(why, SL_EDECODE,
                       "no picture of the video stream (%s) can be decoded: it is encrypted, or "
                       "its data are missing or damaged",
                       avcodec_get_name(stream->codecpar->codec_id));
    if (code != SL_OK || last_key_pts == AV_NOPTS_VALUE || last_key_pts <= first_pts ||
        av_seek_frame(format, stream->index, last_key_pts, AVSEEK_FLAG_BACKWARD) < 0)
        return code;
    avcodec_flush_buffers(t->decoder);
    return sample(t, &frames, why);
}

int media_try_video(struct media_source *source, const AVStream *stream, int64_t first_pts,
                    int64_t last_key_pts, struct sl_failure *why)
{
    struct try t = {.source = source, .packet = av_packet_alloc(), .frame = av_frame_alloc()};
    int code = t.packet && t.frame ? media_decoder_open(stream, &t.decoder, why)
                                   : sl_fail(why, SL_ENOMEM, "no memory to decode");
    if (code == SL_OK)
        code = both_ends(&t, stream, first_pts, last_key_pts, why);
    avcodec_free_context(&t.decoder);
    av_packet_free(&t.packet);
    av_frame_free(&t.frame);
    return code;
}
