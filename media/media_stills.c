#include "media/media_stills.h"

#include <stdlib.h>

/* Packets looked through for a keyframe behind where a seek landed: several GOPs. Past them it counts as not there. */
#define SEARCH_PACKETS_MAX 5000
#define SEEK_TRIES_MAX     5
/* Packets decoded for the first whole picture behind a keyframe that gives none: the refresh of ten seconds at 60 Hz. */
#define WHOLE_PACKETS_MAX  600

struct media_stills {
    struct media_input input;
    const struct media_video *video;
    struct media_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    int64_t at_pts; /* keyframe shown last; INT64_MIN: none since the source was opened */
    int64_t resume_pts;
    bool running; /* the decoder goes on behind at_pts */
};

static int source_begin(struct media_stills *s, struct sl_failure *why)
{
    avcodec_free_context(&s->decoder);
    media_source_close(&s->source);
    int code = media_source_open(&s->input, &s->source, why);
    if (code == SL_OK)
        code = media_source_video(s->source, s->video, &s->stream, why);
    if (code == SL_OK)
        code = media_decoder_open(s->stream, &s->decoder, why);
    if (code == SL_OK)
        media_source_only(s->source, s->stream->index);
    s->at_pts = INT64_MIN;
    s->running = false;
    return code;
}

int media_stills_open(const struct media_input *input, const struct media_video *video,
                      struct media_stills **out, struct sl_failure *why)
{
    struct media_stills *s = calloc(1, sizeof *s);
    if (!s)
        return sl_fail(why, SL_ENOMEM, "no memory for a decoder");
    s->input = *input;
    s->video = video;
    s->packet = av_packet_alloc();
    s->frame = av_frame_alloc();
    int code = s->packet && s->frame ? source_begin(s, why)
                                     : sl_fail(why, SL_ENOMEM, "no memory for a decoder");
    if (code != SL_OK)
        media_stills_close(&s);
    else
        *out = s;
    return code;
}

void media_stills_close(struct media_stills **stills)
{
    struct media_stills *s = *stills;
    if (!s)
        return;
    avcodec_free_context(&s->decoder);
    media_source_close(&s->source);
    av_packet_free(&s->packet);
    av_frame_free(&s->frame);
    free(s);
    *stills = NULL;
}

static int64_t packet_time(const struct media_stills *s)
{
    if (s->packet->pts != AV_NOPTS_VALUE)
        return s->packet->pts;
    return s->stream->codecpar->video_delay == 0 ? s->packet->dts : AV_NOPTS_VALUE;
}

/* Leaves the key packet at pts in s->packet: 1, or 0 when it does not come. Of a source whose packets have no times
 * only the first keyframe is known as one. */
static int packet_find(struct media_stills *s, int64_t pts, int64_t packets_max,
                       struct sl_failure *why)
{
    for (int64_t n = 0; packets_max == 0 || n < packets_max; n++) {
        int got = media_source_read(s->source, s->packet, why);
        if (got <= 0)
            return got;
        bool key =
            s->packet->stream_index == s->stream->index && (s->packet->flags & AV_PKT_FLAG_KEY);
        if (key && (s->video->times != FRAME_TIMES_PACKETS || packet_time(s) == pts))
            return 1;
        bool past = key && packet_time(s) != AV_NOPTS_VALUE && packet_time(s) > pts;
        av_packet_unref(s->packet);
        if (past)
            return 0;
    }
    return 0;
}

/* Where a container knows no keyframes a seek may land behind the one wanted: then from ever farther back. */
static int packet_seek(struct media_stills *s, int64_t pts, struct sl_failure *why)
{
    int64_t back = 0, second = av_rescale_q(1, (AVRational){1, 1}, s->stream->time_base);
    int got = 0;
    for (int i = 0; i < SEEK_TRIES_MAX && got == 0; i++) {
        if (av_seek_frame(media_source_format(s->source), s->stream->index, pts - back,
                          AVSEEK_FLAG_BACKWARD) < 0)
            return 0;
        got = packet_find(s, pts, SEARCH_PACKETS_MAX, why);
        back = back ? back * 2 : (second > 0 ? second : 1);
    }
    return got;
}

static int decode_alone(struct media_stills *s, struct sl_failure *why)
{
    avcodec_flush_buffers(s->decoder);
    int sent = avcodec_send_packet(s->decoder, s->packet);
    av_packet_unref(s->packet);
    if (sent == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory to decode");
    avcodec_send_packet(s->decoder, NULL);
    int got = avcodec_receive_frame(s->decoder, s->frame);
    avcodec_flush_buffers(s->decoder);
    if (got == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory to decode");
    return got >= 0;
}

/* The keyframe itself goes through the decoder once more, so that what follows has its reference. */
static int resume(struct media_stills *s, struct sl_failure *why)
{
    int64_t pts = s->at_pts;
    if (!s->video->seekable) {
        int code = source_begin(s, why);
        if (code != SL_OK)
            return code;
    }
    int got = s->video->seekable ? packet_seek(s, pts, why) : packet_find(s, pts, 0, why);
    if (got <= 0)
        return got;
    avcodec_flush_buffers(s->decoder);
    avcodec_send_packet(s->decoder, s->packet);
    av_packet_unref(s->packet);
    s->at_pts = s->resume_pts = pts;
    s->running = true;
    return 1;
}

/* The next frame behind the latest, in s->frame: 1, or 0 where there is none, or so many packets (0: any number) give
 * none. */
static int next_frame(struct media_stills *s, int64_t packets_max, struct sl_failure *why)
{
    for (int64_t packets = 0;;) {
        av_frame_unref(s->frame);
        int got = avcodec_receive_frame(s->decoder, s->frame);
        if (got >= 0) {
            int64_t pts =
                s->frame->pts != AV_NOPTS_VALUE ? s->frame->pts : s->frame->best_effort_timestamp;
            if (pts == AV_NOPTS_VALUE || pts <= s->resume_pts)
                continue; /* the keyframe again, or what an open GOP shows before it */
            s->resume_pts = s->frame->pts = pts;
            return 1;
        }
        if (got == AVERROR(ENOMEM))
            return sl_fail(why, SL_ENOMEM, "no memory to decode");
        if (got != AVERROR(EAGAIN) || (packets_max && packets == packets_max))
            return 0;
        got = media_source_read(s->source, s->packet, why);
        if (got < 0)
            return got;
        if (got > 0 && s->packet->stream_index == s->stream->index) {
            avcodec_send_packet(s->decoder, s->packet);
            packets++;
        } else if (got == 0) {
            avcodec_send_packet(s->decoder, NULL);
        }
        av_packet_unref(s->packet);
    }
}

/* Where a stream refreshes bit by bit no keyframe decodes alone: the first whole picture behind it stands for it. */
static int decode_on(struct media_stills *s, struct sl_failure *why)
{
    int got = resume(s, why);
    if (got > 0)
        got = next_frame(s, WHOLE_PACKETS_MAX, why);
    s->running = false;
    return got;
}

int media_stills_at(struct media_stills *s, int64_t pts, AVFrame **out, struct sl_failure *why)
{
    av_frame_unref(s->frame);
    s->running = false;
    if (!s->video->seekable && s->at_pts != INT64_MIN && pts <= s->at_pts) {
        int code = source_begin(s, why);
        if (code != SL_OK)
            return code;
    }
    int got = s->video->seekable ? packet_seek(s, pts, why) : packet_find(s, pts, 0, why);
    if (got <= 0)
        return got;
    s->at_pts = pts;
    got = decode_alone(s, why);
    if (got == 0 && s->video->seekable)
        got = decode_on(s, why);
    if (got > 0) {
        s->frame->pts = pts;
        *out = s->frame;
    }
    return got;
}

int media_stills_on(struct media_stills *s, AVFrame **out, struct sl_failure *why)
{
    if (s->at_pts == INT64_MIN)
        return sl_fail(why, SL_EINTERNAL, "no keyframe was decoded yet");
    if (!s->running) {
        int got = resume(s, why);
        if (got <= 0)
            return got;
    }
    int got = next_frame(s, 0, why);
    if (got > 0)
        *out = s->frame;
    return got;
}
