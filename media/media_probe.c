#include "media/media_probe.h"

#include <libavcodec/avcodec.h>
#include <stdio.h>

#include "media/media_extras.h"
#include "media/media_index.h"
#include "media/media_limits.h"
#include "media/media_look.h"
#include "media/media_range.h"
#include "media/media_streams.h"
#include "media/media_video.h"

#define PROGRESS_EVERY_PACKETS 256
#define LISTEN_PACKETS_MAX     500
#define SEEK_TRIES_MAX         5
/* Any time at all: far inside 64 bits, so that differences stay there as well. */
#define PTS_ANY                (INT64_C(1) << 60)

/* ---- packets ---- */

/* Of sound alone a piece is decoded: text taken for MP3 has packets, but never a frame. */
struct listener {
    int stream_index;
    AVCodecContext *decoder; /* NULL: nothing is tried, or enough was */
    bool heard;
    int32_t packets;
};

static void listen(struct listener *l, const AVPacket *packet)
{
    AVFrame *frame = av_frame_alloc();
    if (frame && avcodec_send_packet(l->decoder, packet) >= 0)
        l->heard = avcodec_receive_frame(l->decoder, frame) >= 0;
    av_frame_free(&frame);
    if (l->heard || ++l->packets == LISTEN_PACKETS_MAX)
        avcodec_free_context(&l->decoder);
}

static int read_packets(struct media_source *source, struct listener *listener,
                        const struct media_progress *progress, struct media_rows *rows,
                        struct media_info *info, struct sl_failure *why)
{
    AVPacket *packet = av_packet_alloc();
    if (!packet)
        return sl_fail(why, SL_ENOMEM, "no memory for a packet");
    int code;
    for (size_t n = 0; (code = media_source_read(source, packet, why)) > 0; n++) {
        code = media_limit_packets(n + 1, why);
        if (code == SL_OK) /* some containers tell of more as they go */
            code = media_limit_streams(media_source_format(source)->nb_streams, why);
        if (code == SL_OK && rows && packet->stream_index == rows->stream->index)
            code = media_rows_note(rows, packet, why);
        else
            media_streams_note(packet, info);
        if (listener->decoder && packet->stream_index == listener->stream_index)
            listen(listener, packet);
        int64_t at = packet->pos;
        av_packet_unref(packet);
        if (code < 0)
            break;
        if (progress && progress->note && n % PROGRESS_EVERY_PACKETS == 0)
            progress->note(progress->arg, at > 0 ? at : 0, info->size_bytes);
    }
    av_packet_free(&packet);
    return code;
}

/* Where packets lack times, the source is decoded once from start to end and its frames are the rows: with the times
 * that the decoder makes up, or by their number where not one packet has any. Chunks will walk it alike. */
static int decode_rows(const struct media_input *input, struct media_rows *rows,
                       struct media_video *video, struct sl_failure *why)
{
    const AVStream *stream = rows->stream;
    bool none = rows->without_time == rows->packets;
    AVRational rate =
        stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0)
        rate = (AVRational){25, 1};
    video->times = none ? FRAME_TIMES_COUNTED : FRAME_TIMES_DECODED;
    video->frame_rate = (struct rational){rate.num, rate.den};
    video->seekable = false;
    struct media_range_params params = {
        .video = video, .start_pts = -PTS_ANY, .end_pts = PTS_ANY, .preroll = PREROLL_LINEAR};
    struct media_range *range = NULL;
    int got = media_range_open(input, &params, &range, why);
    AVFrame *frame = NULL;
    rows->count = 0;
    rows->first_key_pts = AV_NOPTS_VALUE;
    rows->clock = (struct sl_failure){0};
    while (got >= 0 && (got = media_range_next(range, &frame, why)) > 0) {
        int code = media_rows_note_frame(rows, frame->pts, why);
        if (code != SL_OK)
            got = code;
    }
    media_range_close(&range);
    return got;
}

/* ---- what the index tells ---- */

/* The mean rate, and whether frames keep to it: steps may differ by a tick or by 1.5 ms of rounding. */
static void fill_rate(const struct media_index *index, const AVStream *stream,
                      struct media_video *video)
{
    int64_t least = INT64_MAX, most = 0;
    for (size_t i = 1; i < index->count; i++) {
        int64_t step = index->pts[i] - index->pts[i - 1];
        least = step < least ? step : least;
        most = step > most ? step : most;
    }
    if (index->count > 1) {
        int64_t slack_ns =
            av_rescale_q(most - least, stream->time_base, (AVRational){1, (int)SL_NS_PER_S});
        video->variable_frame_rate = most - least > 1 && slack_ns > 1500000;
    }
    AVRational rate = stream->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || video->variable_frame_rate) {
        int64_t span = index->end_pts - index->pts[0];
        av_reduce(&rate.num, &rate.den, (int64_t)index->count * stream->time_base.den,
                  span * stream->time_base.num, 1000000);
    }
    video->frame_rate = rate.num > 0 && rate.den > 0 ? (struct rational){rate.num, rate.den}
                                                     : (struct rational){25, 1};
}

static int64_t last_key_pts(const struct media_index *index)
{
    size_t last = index->count;
    while (last > 0 && !index->key[last - 1])
        last--;
    return last ? index->pts[last - 1] : AV_NOPTS_VALUE;
}

/* The time of the first keyframe behind where the source stands; AV_NOPTS_VALUE: none, or without a time. */
static int64_t next_key_pts(struct media_source *source, const AVStream *stream, AVPacket *packet)
{
    while (media_source_read(source, packet, NULL) > 0) {
        bool key = packet->stream_index == stream->index && (packet->flags & AV_PKT_FLAG_KEY);
        int64_t pts = packet->pts;
        av_packet_unref(packet);
        if (key)
            return pts;
    }
    return AV_NOPTS_VALUE;
}

/* Whether a seek to the last keyframe lands on a keyframe at or before it, tried as media_range.c seeks: where a
 * container knows no keyframes, from ever farther back. */
static bool try_seek(struct media_source *source, const AVStream *stream, int64_t target)
{
    AVPacket *packet = target == AV_NOPTS_VALUE ? NULL : av_packet_alloc();
    if (!packet)
        return false;
    media_source_only(source, stream->index);
    int64_t second = av_rescale_q(1, (AVRational){1, 1}, stream->time_base);
    bool landed = false;
    int64_t back = 0;
    for (int i = 0; i < SEEK_TRIES_MAX && !landed; i++) {
        if (av_seek_frame(media_source_format(source), stream->index, target - back,
                          AVSEEK_FLAG_BACKWARD) < 0)
            break;
        int64_t pts = next_key_pts(source, stream, packet);
        landed = pts != AV_NOPTS_VALUE && pts <= target;
        back = back ? back * 2 : (second > 0 ? second : 1);
    }
    av_packet_free(&packet);
    return landed;
}

static int probe_sound(struct media_source *source, const struct media_progress *progress,
                       struct media_info *info, struct media_index *index, struct sl_failure *why)
{
    struct listener listener = {.stream_index = info->audio[0].stream_index};
    struct media_audio *first = &info->audio[0];
    int code = media_decoder_open(media_source_format(source)->streams[listener.stream_index],
                                  &listener.decoder, why);
    if (code == SL_OK)
        code = read_packets(source, &listener, progress, NULL, info, why);
    avcodec_free_context(&listener.decoder);
    if (code < 0)
        return code;
    media_streams_settle(info);
    if (!listener.heard || info->audio_count == 0)
        return sl_fail(why, SL_EDECODE, "the file has sound only, and nothing of it (%s) decodes",
                       first->codec);
    info->duration_ns = av_rescale_q(first->end_pts - first->first_pts,
                                     (AVRational){first->time_base.num, first->time_base.den},
                                     (AVRational){1, (int)SL_NS_PER_S});
    *index = (struct media_index){.time_base = {first->time_base.num, first->time_base.den}};
    return media_limit_duration(info->duration_ns, why);
}

static int probe_picture(struct media_source *source, const struct media_input *input,
                         AVStream *video, struct media_rows *rows, struct sl_arena *arena,
                         const struct media_progress *progress, struct media_info *info,
                         struct media_index *index, struct sl_failure *why)
{
    struct media_video *seen = &info->video;
    int code = media_rows_init(rows, video, why);
    if (code == SL_OK)
        code = media_video_fill(media_source_format(source), video, seen, why);
    if (code != SL_OK)
        return code;
    struct listener deaf = {0};
    code = read_packets(source, &deaf, progress, rows, info, why);
    if (code >= 0 && rows->without_time > 0)
        code = decode_rows(input, rows, seen, why);
    if (code >= 0)
        code = media_rows_settle(rows, why);
    if (code < 0)
        return code;
    media_streams_settle(info);

    code = media_index_fill(rows, arena, index, why);
    if (code != SL_OK)
        return code;
    info->has_video = true;
    seen->first_pts = index->pts[0];
    seen->end_pts = index->end_pts;
    seen->frame_count = (int64_t)index->count;
    seen->bytes = rows->bytes;
    if (rows->interlaced) {
        seen->interlaced = true;
        seen->top_field_first = rows->top_field_first;
    }
    info->duration_ns = av_rescale_q(index->end_pts - index->pts[0], video->time_base,
                                     (AVRational){1, (int)SL_NS_PER_S});
    code = media_limit_duration(info->duration_ns, why);
    if (code != SL_OK)
        return code;
    if (seen->times != FRAME_TIMES_COUNTED)
        fill_rate(index, video, seen);
    seen->seekable =
        seen->times == FRAME_TIMES_PACKETS && try_seek(source, video, last_key_pts(index));
    return media_look(source, video, index, seen, why);
}

static int probe_opened(struct media_source *source, const struct media_input *input,
                        struct media_rows *rows, struct sl_arena *arena,
                        const struct media_progress *progress, struct media_info *info,
                        struct media_index *index, struct sl_failure *why)
{
    AVFormatContext *format = media_source_format(source);
    snprintf(info->container, sizeof info->container, "%.*s", MEDIA_WORD_BYTES - 1,
             format->iformat->name);
    info->size_bytes = input->bytes;
    media_video_list(format, info);
    AVStream *video = NULL;
    int code = media_extras_find(format, arena, info, why);
    if (code == SL_OK)
        code = media_video_choose(format, info, &video, why);
    if (code == SL_OK)
        code = media_streams_find(format, video, info, why);
    if (code != SL_OK)
        return code;
    media_source_only(source, video ? video->index : -1);
    for (int32_t i = 0; i < info->audio_count; i++)
        format->streams[info->audio[i].stream_index]->discard = AVDISCARD_DEFAULT;
    return video ? probe_picture(source, input, video, rows, arena, progress, info, index, why)
                 : probe_sound(source, progress, info, index, why);
}

int media_probe(const struct media_input *input, int32_t stream_asked, struct sl_arena *arena,
                const struct media_progress *progress, struct media_info *info,
                struct media_index *index, struct sl_failure *why)
{
    struct media_source *source = NULL;
    int code = media_source_open(input, &source, why);
    if (code != SL_OK)
        return code;
    struct media_rows rows = {0};
    struct media_info found = {.stream_asked = stream_asked};
    struct media_index built = {0};
    code = probe_opened(source, input, &rows, arena, progress, &found, &built, why);
    media_rows_fini(&rows);
    media_source_close(&source);
    if (code == SL_OK) {
        *info = found;
        *index = built;
    }
    return code;
}
