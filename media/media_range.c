#include "media/media_range.h"

#include <libavcodec/avcodec.h>
#include <stdlib.h>

#include "media/media_frame.h"

/* Packets held while looking for the keyframe at the start behind where a seek landed: a GOP of ten seconds at
 * 60 Hz. With more the decoder simply starts where the seek landed. */
#define HELD_MAX       600
/* How often a seek that landed late is tried again, twice as far back each time, before the source is walked. */
#define SEEK_TRIES_MAX 5

struct media_range {
    struct media_range_params params;
    struct media_input input;
    struct media_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    struct media_device device;
    AVPacket *packet;
    AVFrame *frame;
    AVPacket *held[HELD_MAX]; /* read while seeking, to be decoded first */
    int held_first, held_count;
    AVFrame *before;    /* context: the last one before the range */
    AVFrame *delayed;   /* the first of the range, while the one before it is given out */
    int64_t last_pts;   /* of those at or behind the start */
    int64_t seen_pts;   /* of the latest frame, wherever it lies */
    int64_t resume_pts; /* frames up to here came from the device before it was left */
    int64_t decoded;    /* frames since the start of the source, where packets have no times */
    int64_t made_pts, made_step; /* of the latest of these, and its distance from the one before */
    bool input_ended;
    bool done;
    struct media_range_stats stats;
};

/* ---- held packets ---- */

static void held_drop(struct media_range *range)
{
    for (int i = range->held_first; i < range->held_count; i++)
        av_packet_free(&range->held[i]);
    range->held_first = range->held_count = 0;
}

static int held_push(struct media_range *range, AVPacket *packet)
{
    AVPacket *copy = av_packet_alloc();
    if (!copy)
        return SL_ENOMEM;
    av_packet_move_ref(copy, packet);
    range->held[range->held_count++] = copy;
    return SL_OK;
}

static bool times_in_packets(const struct media_range *range)
{
    return range->params.video->times == FRAME_TIMES_PACKETS;
}

static int read_packet(struct media_range *range, struct sl_failure *why)
{
    if (range->held_first < range->held_count) {
        AVPacket **next = &range->held[range->held_first++];
        av_packet_move_ref(range->packet, *next);
        av_packet_free(next);
        return 1;
    }
    range->held_first = range->held_count = 0;
    for (;;) {
        int got = media_source_read(range->source, range->packet, why);
        if (got <= 0 || range->packet->stream_index == range->stream->index)
            return got;
        av_packet_unref(range->packet);
    }
}

/* ---- getting there ---- */

static int open_source(struct media_range *range, struct sl_failure *why)
{
    avcodec_free_context(&range->decoder);
    media_source_close(&range->source);
    int code = media_source_open(&range->input, &range->source, why);
    if (code == SL_OK)
        code = media_source_video(range->source, range->params.video, &range->stream, why);
    if (code != SL_OK)
        return code;
    media_source_only(range->source, range->stream->index);
    return media_decoder_open_on(range->stream, &range->device, &range->decoder, why);
}

/* Shows the decoder the stream's first packet. What comes of it does not matter. */
static int prime(struct media_range *range, struct sl_failure *why)
{
    int got = read_packet(range, why);
    if (got <= 0)
        return got;
    avcodec_send_packet(range->decoder, range->packet);
    av_packet_unref(range->packet);
    avcodec_receive_frame(range->decoder, range->frame);
    av_frame_unref(range->frame);
    avcodec_flush_buffers(range->decoder);
    return 1;
}

/* Reads to the first key packet and holds it: 1 with its time, 0 when there is none with a time. */
static int read_key(struct media_range *range, int64_t *out_pts, struct sl_failure *why)
{
    for (;;) {
        int got = read_packet(range, why);
        if (got <= 0)
            return got;
        if (range->packet->flags & AV_PKT_FLAG_KEY)
            break;
        av_packet_unref(range->packet);
    }
    int64_t pts = range->packet->pts;
    if (pts == AV_NOPTS_VALUE)
        pts = range->stream->codecpar->video_delay == 0 ? range->packet->dts : pts;
    *out_pts = pts;
    if (held_push(range, range->packet) != SL_OK)
        return sl_fail(why, SL_ENOMEM, "no memory for a packet");
    return pts == AV_NOPTS_VALUE ? 0 : 1;
}

/* Seeks to the last keyframe at or before target: 1 with its time, 0 when the demuxer cannot. */
static int seek_key(struct media_range *range, int64_t target, int64_t *out_pts,
                    struct sl_failure *why)
{
    int64_t back = 0;
    int64_t second = av_rescale_q(1, (AVRational){1, 1}, range->stream->time_base);
    for (int i = 0; i < SEEK_TRIES_MAX; i++) {
        held_drop(range);
        if (av_seek_frame(media_source_format(range->source), range->stream->index, target - back,
                          AVSEEK_FLAG_BACKWARD) < 0)
            return 0;
        int got = read_key(range, out_pts, why);
        if (got < 0)
            return got;
        if (got > 0 && *out_pts <= target)
            return 1;
        back = back ? back * 2 : (second > 0 ? second : 1);
    }
    return 0;
}

/* From a keyframe before the start, looks for the one at the start and drops what lies between. */
static int skip_to_start(struct media_range *range, struct sl_failure *why)
{
    int64_t start = range->params.start_pts;
    while (range->held_count < HELD_MAX) {
        int got = media_source_read(range->source, range->packet, why);
        if (got < 0)
            return got;
        if (got == 0)
            return SL_OK;
        if (range->packet->stream_index != range->stream->index) {
            av_packet_unref(range->packet);
            continue;
        }
        bool found = (range->packet->flags & AV_PKT_FLAG_KEY) && range->packet->pts == start;
        bool past = range->packet->dts != AV_NOPTS_VALUE && range->packet->dts > start;
        if (found)
            held_drop(range);
        if (held_push(range, range->packet) != SL_OK)
            return sl_fail(why, SL_ENOMEM, "no memory for a packet");
        if (found || past)
            return SL_OK;
    }
    return SL_OK;
}

/* 1: the next packet is a keyframe to start from; 0: walk the source instead. */
static int seek_range(struct media_range *range, struct sl_failure *why)
{
    int got = prime(range, why);
    if (got <= 0)
        return got;
    int64_t start = range->params.start_pts;
    int64_t at = 0;
    got = seek_key(range, start, &at, why);
    if (got <= 0)
        return got;
    /* The frame before the range is some frame of the keyframe span before it. */
    int32_t preroll = range->params.preroll;
    if (range->params.context && preroll == PREROLL_NONE)
        preroll = 1;
    for (int i = 0; i < preroll; i++) {
        int64_t before = at;
        got = seek_key(range, before - 1, &at, why);
        if (got < 0)
            return got;
        if (got == 0 || at >= before)
            return 0; /* there is nothing before: the start of the source is the preroll */
    }
    if (preroll == PREROLL_NONE && at < start) {
        int code = skip_to_start(range, why);
        if (code != SL_OK)
            return code;
    }
    return 1;
}

/* Opens the source and stands before the range, as far in front of it as the preroll says. */
static int begin(struct media_range *range, struct sl_failure *why)
{
    const struct media_range_params *params = &range->params;
    held_drop(range);
    int code = open_source(range, why);
    range->stats.linear = params->start_pts <= params->video->first_pts ||
                          params->preroll >= PREROLL_LINEAR || !params->video->seekable ||
                          !times_in_packets(range);
    if (code != SL_OK || range->stats.linear)
        return code;
    int got = seek_range(range, why);
    if (got != 0)
        return got < 0 ? got : SL_OK;
    held_drop(range);
    range->stats.linear = true;
    return open_source(range, why);
}

/* Streams that refresh bit by bit have no keyframe that decodes alone: the decoder gives nothing until the picture is
 * whole. Where the first frame of the range is lost, decoding begins earlier, at last at the start of the source. */
static bool wants_earlier(const struct media_range *range)
{
    return range->stats.frames == 0 && !range->stats.linear;
}

static int begin_earlier(struct media_range *range, struct sl_failure *why)
{
    int32_t preroll = range->params.preroll;
    range->params.preroll = preroll == PREROLL_NONE          ? 1
                            : preroll * 2 > PREROLL_KEYS_MAX ? PREROLL_LINEAR
                                                             : preroll * 2;
    av_frame_unref(range->frame);
    av_frame_unref(range->before);
    range->last_pts = range->seen_pts = INT64_MIN;
    range->input_ended = range->done = false;
    range->stats = (struct media_range_stats){0};
    return begin(range, why);
}

int media_range_open(const struct media_input *input, const struct media_range_params *params,
                     struct media_range **out, struct sl_failure *why)
{
    if (params->start_pts >= params->end_pts)
        return sl_fail(why, SL_EINVAL, "the range %lld to %lld is empty",
                       (long long)params->start_pts, (long long)params->end_pts);
    struct media_range *range = calloc(1, sizeof *range);
    if (!range)
        return sl_fail(why, SL_ENOMEM, "no memory for a decoder");
    range->params = *params;
    range->input = *input;
    range->device.context = params->device;
    range->device.surface = params->surface;
    range->last_pts = range->seen_pts = range->resume_pts = INT64_MIN;
    range->packet = av_packet_alloc();
    range->frame = av_frame_alloc();
    range->before = av_frame_alloc();
    range->delayed = av_frame_alloc();
    int code = range->packet && range->frame && range->before && range->delayed
                   ? begin(range, why)
                   : sl_fail(why, SL_ENOMEM, "no memory for a decoder");
    if (code != SL_OK)
        media_range_close(&range);
    else
        *out = range;
    return code;
}

/* ---- frames ---- */

/* What a device refuses, or shows differently, is decoded on the CPU, from the start of the range: its frames up to now were
 * right, and are not given out again. */
static int leave_device(struct media_range *range, struct sl_failure *why)
{
    bool any = range->stats.frames > 0;
    range->device.context = NULL;
    range->resume_pts = any ? range->last_pts : INT64_MIN;
    if (!any) {
        range->stats = (struct media_range_stats){0};
        range->last_pts = INT64_MIN;
    }
    range->stats.device_left = true;
    range->stats.errors = 0;
    range->seen_pts = INT64_MIN;
    range->decoded = 0;
    range->input_ended = false;
    av_frame_unref(range->frame);
    av_frame_unref(range->before);
    return begin(range, why);
}

static int feed(struct media_range *range, struct sl_failure *why)
{
    int got = read_packet(range, why);
    if (got < 0)
        return got;
    if (got == 0) {
        range->input_ended = true;
        avcodec_send_packet(range->decoder, NULL);
        return SL_OK;
    }
    int64_t pts = range->packet->pts;
    int sent = avcodec_send_packet(range->decoder, range->packet);
    av_packet_unref(range->packet);
    if (sent < 0 && range->device.context)
        return leave_device(range, why);
    if (sent == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory to decode");
    bool inside =
        !times_in_packets(range) ||
        (pts != AV_NOPTS_VALUE && pts >= range->params.start_pts && pts < range->params.end_pts);
    if (sent < 0 && inside)
        range->stats.errors++;
    return SL_OK;
}

/* Sources may claim any times, and have none: where there is no step, it is 0. */
static int64_t step_between(int64_t from, int64_t to)
{
    int64_t step;
    bool none = from == AV_NOPTS_VALUE || to == AV_NOPTS_VALUE;
    return none || __builtin_sub_overflow(to, from, &step) ? 0 : step;
}

static int64_t frame_time(struct media_range *range, const AVFrame *frame)
{
    const struct rational *rate = &range->params.video->frame_rate;
    switch (range->params.video->times) {
    case FRAME_TIMES_DECODED: {
        /* The decoder takes the time of the packet behind, so that the last frames have none. */
        int64_t pts = frame->best_effort_timestamp;
        if (pts == AV_NOPTS_VALUE && range->decoded > 1 &&
            __builtin_add_overflow(range->made_pts, range->made_step, &pts))
            pts = AV_NOPTS_VALUE;
        if (range->decoded > 0)
            range->made_step = step_between(range->made_pts, pts);
        range->made_pts = pts;
        range->decoded++;
        return pts;
    }
    case FRAME_TIMES_COUNTED:
        return av_rescale_q(range->decoded++, (AVRational){rate->den, rate->num},
                            range->stream->time_base);
    default:
        return frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->best_effort_timestamp;
    }
}

/* Of a surface, the hash of what the CPU's decoder would have given. 0: the device does not give it back. */
static uint64_t frame_hash(const struct media_range *range, const AVFrame *frame)
{
    if (!media_frame_is_surface(frame))
        return media_frame_hash(frame);
    AVFrame *host = media_frame_download(frame, range->device.samples);
    uint64_t hash = host ? media_frame_hash(host) : 0;
    av_frame_free(&host);
    return hash;
}

static int hash_missing(struct sl_failure *why)
{
    return sl_fail(why, SL_EDEVICELOST, "a decoded picture cannot be read back from its device");
}

/* Surfaces that are cropped at their left or top edge are shown whole by all that reads them. After a change of size
 * libavcodec has a new decoder, which knows none of the pictures that VP9 and AV1 may still predict from. Film grain is put on by
 * the CPU's decoders, or by each device in its own way. */
static bool suits_device(const struct media_range *range, const AVFrame *frame)
{
    const struct media_video *video = range->params.video;
    return !range->device.resized && frame->width == video->width &&
           frame->height == video->height && !frame->crop_left && !frame->crop_top &&
           !(range->decoder->properties & FF_CODEC_PROPERTY_FILM_GRAIN) &&
           !av_frame_get_side_data(frame, AV_FRAME_DATA_FILM_GRAIN_PARAMS);
}

/* 1: give it out; 0: drop it. */
static int judge(struct media_range *range, struct sl_failure *why)
{
    AVFrame *frame = range->frame;
    if (media_frame_is_surface(frame) && !suits_device(range, frame))
        return leave_device(range, why);
    frame->pts = frame_time(range, frame);
    if (frame->pts == AV_NOPTS_VALUE)
        return sl_fail(why, SL_EDECODE,
                       "a decoded frame carries no presentation time: remux the source into "
                       "Matroska or MP4");
    if (frame->pts <= range->resume_pts)
        return 0;
    /* Variable frame rate that was rounded: the index has one row for frames of one time, and the first is shown. */
    if (frame->pts == range->seen_pts)
        return 0;
    range->seen_pts = frame->pts;
    if (frame->pts < range->params.start_pts) {
        range->stats.frames_dropped++;
        if (range->params.context) {
            av_frame_unref(range->before);
            av_frame_move_ref(range->before, frame);
        }
        return 0;
    }
    if (frame->pts > range->params.start_pts && wants_earlier(range))
        return begin_earlier(range, why);
    if (frame->pts <= range->last_pts)
        return sl_fail(
            why, SL_EDECODE, "the decoder gave the frame at %lld after the one at %lld (1/%d s)",
            (long long)frame->pts, (long long)range->last_pts, range->stream->time_base.den);
    range->last_pts = frame->pts;
    if (frame->pts >= range->params.end_pts) {
        range->stats.seam_next = frame_hash(range, frame);
        range->done = true;
        if (!range->stats.seam_next)
            return hash_missing(why);
        return range->params.context ? 1 : 0;
    }
    if ((frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags)
        range->stats.errors++;
    if (range->stats.frames == 0) {
        range->stats.seam_first = frame_hash(range, frame);
        if (!range->stats.seam_first)
            return hash_missing(why);
    }
    range->stats.frames++;
    if (range->before->buf[0]) {
        av_frame_move_ref(range->delayed, frame);
        av_frame_move_ref(frame, range->before);
    }
    return 1;
}

int media_range_next(struct media_range *range, AVFrame **out, struct sl_failure *why)
{
    av_frame_unref(range->frame);
    if (range->delayed->buf[0]) {
        av_frame_move_ref(range->frame, range->delayed);
        *out = range->frame;
        return 1;
    }
    while (!range->done) {
        int got = avcodec_receive_frame(range->decoder, range->frame);
        if (got >= 0) {
            int code = judge(range, why);
            if (code > 0)
                *out = range->frame;
            if (code != 0)
                return code;
            av_frame_unref(range->frame);
        } else if (got == AVERROR(EAGAIN) && !range->input_ended) {
            int code = feed(range, why);
            if (code != SL_OK)
                return code;
        } else if (got == AVERROR_EOF || (got == AVERROR(EAGAIN) && range->input_ended)) {
            range->done = true;
        } else if (range->device.context) {
            int code = leave_device(range, why);
            if (code != SL_OK)
                return code;
        } else if (got == AVERROR(ENOMEM)) {
            return sl_fail(why, SL_ENOMEM, "no memory to decode");
        } else {
            range->stats.errors++;
            /* A decoder that refuses even to be drained has nothing more to give. */
            range->done = range->input_ended;
        }
        if (range->done && wants_earlier(range)) {
            int code = begin_earlier(range, why);
            if (code != SL_OK)
                return code;
        }
    }
    return 0;
}

enum AVPixelFormat media_range_samples(const struct media_range *range)
{
    return range->device.samples;
}

const struct media_range_stats *media_range_stats(const struct media_range *range)
{
    return &range->stats;
}

void media_range_close(struct media_range **range)
{
    struct media_range *r = *range;
    if (!r)
        return;
    held_drop(r);
    avcodec_free_context(&r->decoder);
    media_source_close(&r->source);
    av_packet_free(&r->packet);
    av_frame_free(&r->frame);
    av_frame_free(&r->before);
    av_frame_free(&r->delayed);
    free(r);
    *range = NULL;
}
