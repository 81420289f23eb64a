#include "media/media_probe.h"

#include <libavcodec/avcodec.h>
#include <libavutil/display.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "media/media_extras.h"
#include "media/media_limits.h"
#include "media/media_streams.h"
#include "media/media_try.h"

#define PROGRESS_EVERY_PACKETS 256
#define LISTEN_PACKETS_MAX     500

struct row {
    int64_t pts;
    int64_t byte_offset;
    int64_t duration;
    int32_t byte_length;
    uint8_t key;
};

struct rows {
    struct row *row;
    size_t count, capacity;
    size_t without_time;   /* packets without a usable pts */
    int64_t first_key_pts; /* in coding order, hidden packets included */
    int64_t tail_duration; /* of the last packet in coding order */
    int64_t bytes;
};

static void word_copy(char out[MEDIA_WORD_BYTES], const char *text)
{
    snprintf(out, MEDIA_WORD_BYTES, "%.*s", MEDIA_WORD_BYTES - 1, text ? text : "");
}

static struct rational rational_of(AVRational r)
{
    return (struct rational){r.num, r.den};
}

/* ---- streams ---- */

static bool is_picture(const AVStream *stream)
{
    return (stream->disposition &
            (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) != 0;
}

static void count_streams(const AVFormatContext *format, struct media_info *info)
{
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        switch (stream->codecpar->codec_type) {
        case AVMEDIA_TYPE_VIDEO:
            info->video_stream_count += !is_picture(stream);
            break;
        case AVMEDIA_TYPE_AUDIO:
            info->audio_stream_count++;
            break;
        case AVMEDIA_TYPE_SUBTITLE:
            info->subtitle_stream_count++;
            break;
        default:
            break;
        }
    }
}

/* *out stays NULL for a source without a picture. */
static int find_video(AVFormatContext *format, const struct media_info *info, AVStream **out,
                      struct sl_failure *why)
{
    if (info->video_stream_count == 0 && info->audio_stream_count > 0)
        return SL_OK; /* sound alone; cover art is no picture */
    if (info->video_stream_count == 0)
        return sl_fail(why, SL_ENOVIDEO,
                       "the file has neither a video nor an audio stream (%d subtitle): send one "
                       "with a picture or sound",
                       info->subtitle_stream_count);
    int best = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (best >= 0 && is_picture(format->streams[best]))
        best = -1;
    for (unsigned i = 0; best < 0 && i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !is_picture(format->streams[i]))
            best = (int)i;
    AVStream *stream = format->streams[best];
    const AVCodec *codec = NULL;
    int code = media_codec_find(stream->codecpar, &codec, why);
    if (code != SL_OK)
        return code;
    if (stream->codecpar->width <= 0 || stream->codecpar->height <= 0)
        return sl_fail(why, SL_EDECODE,
                       "the video stream (%s) does not say how large its picture is",
                       avcodec_get_name(stream->codecpar->codec_id));
    code = media_limit_picture(stream->codecpar->width, stream->codecpar->height, why);
    if (code == SL_OK)
        *out = stream;
    return code;
}

static int32_t rotation_of(const AVStream *stream)
{
    const uint8_t *matrix = NULL;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *side =
        av_packet_side_data_get(stream->codecpar->coded_side_data,
                                stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (side && side->size >= 9 * sizeof(int32_t))
        matrix = side->data;
#else
    size_t bytes = 0;
    matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
    if (bytes < 9 * sizeof(int32_t))
        matrix = NULL;
#endif
    if (!matrix)
        return 0;
    int32_t copy[9];
    memcpy(copy, matrix, sizeof copy);
    double degrees = av_display_rotation_get(copy); /* counterclockwise */
    if (isnan(degrees))
        return 0;
    long turn = lround(-degrees / 90.0) * 90 % 360;
    return (int32_t)(turn < 0 ? turn + 360 : turn);
}

static void fill_video(AVFormatContext *format, AVStream *stream, struct media_video *video)
{
    const AVCodecParameters *par = stream->codecpar;
    video->stream_index = stream->index;
    word_copy(video->codec, avcodec_get_name(par->codec_id));
    word_copy(video->profile, avcodec_profile_name(par->codec_id, par->profile));
    word_copy(video->pix_fmt, av_get_pix_fmt_name(par->format));
    video->width = par->width;
    video->height = par->height;
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get(par->format);
    video->bit_depth = shape ? shape->comp[0].depth : 8;
    video->rotation_degrees = rotation_of(stream);
    AVRational sar = av_guess_sample_aspect_ratio(format, stream, NULL);
    video->sar = sar.num > 0 && sar.den > 0 ? rational_of(sar) : (struct rational){1, 1};
    video->time_base = rational_of(stream->time_base);
    video->interlaced =
        par->field_order != AV_FIELD_UNKNOWN && par->field_order != AV_FIELD_PROGRESSIVE;
    video->color_primaries = par->color_primaries;
    video->color_transfer = par->color_trc;
    video->color_matrix = par->color_space;
    video->full_range = par->color_range == AVCOL_RANGE_JPEG;
}

/* ---- packets ---- */

static int note_video(const AVPacket *packet, const AVStream *stream, struct rows *rows,
                      struct sl_failure *why)
{
    if (packet->size == 0)
        return SL_OK;
    int64_t pts = packet->pts;
    /* Without reordering both times are the same. */
    if (pts == AV_NOPTS_VALUE && stream->codecpar->video_delay == 0)
        pts = packet->dts;
    if (pts == AV_NOPTS_VALUE) {
        rows->without_time++;
        return SL_OK;
    }
    rows->bytes += packet->size;
    rows->tail_duration = packet->duration;
    if ((packet->flags & AV_PKT_FLAG_KEY) && rows->first_key_pts == AV_NOPTS_VALUE)
        rows->first_key_pts = pts;
    if (packet->flags & AV_PKT_FLAG_DISCARD)
        return SL_OK;
    int code = media_limit_frames(rows->count + 1, why);
    if (code != SL_OK)
        return code;
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : 4096;
        struct row *grown = realloc(rows->row, capacity * sizeof *grown);
        if (!grown)
            return sl_fail(why, SL_ENOMEM, "no memory for the index of %zu frames", capacity);
        rows->row = grown;
        rows->capacity = capacity;
    }
    rows->row[rows->count++] = (struct row){
        .pts = pts,
        .byte_offset = packet->pos,
        .duration = packet->duration,
        .byte_length = packet->size,
        .key = (packet->flags & AV_PKT_FLAG_KEY) != 0,
    };
    return SL_OK;
}

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

static int read_packets(struct media_source *source, const AVStream *video_stream,
                        struct listener *listener, const struct media_progress *progress,
                        struct rows *rows, struct media_info *info, struct sl_failure *why)
{
    AVPacket *packet = av_packet_alloc();
    if (!packet)
        return sl_fail(why, SL_ENOMEM, "no memory for a packet");
    int code;
    for (size_t n = 0; (code = media_source_read(source, packet, why)) > 0; n++) {
        code = media_limit_packets(n + 1, why);
        if (code == SL_OK) /* some containers tell of more as they go */
            code = media_limit_streams(media_source_format(source)->nb_streams, why);
        if (code == SL_OK && video_stream && packet->stream_index == video_stream->index)
            code = note_video(packet, video_stream, rows, why);
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

/* ---- the index ---- */

static int row_compare(const void *a, const void *b)
{
    int64_t left = ((const struct row *)a)->pts;
    int64_t right = ((const struct row *)b)->pts;
    return (left > right) - (left < right);
}

static bool is_sorted(const struct rows *rows)
{
    for (size_t i = 1; i < rows->count; i++)
        if (rows->row[i - 1].pts > rows->row[i].pts)
            return false;
    return true;
}

/* Sorts, drops what no decoder shows, and makes one row of packets with one time (two fields). */
static void rows_settle(struct rows *rows, enum AVCodecID codec)
{
    if (!is_sorted(rows))
        qsort(rows->row, rows->count, sizeof *rows->row, row_compare);
    bool needs_key = codec == AV_CODEC_ID_H264 || codec == AV_CODEC_ID_HEVC;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->row[i];
        if (needs_key && rows->first_key_pts != AV_NOPTS_VALUE && row->pts < rows->first_key_pts)
            continue;
        if (kept && rows->row[kept - 1].pts == row->pts) {
            rows->row[kept - 1].key |= row->key;
            continue;
        }
        rows->row[kept++] = *row;
    }
    rows->count = kept;
}

/* Where frames are reordered a packet's duration is the step to the next decoding, which is not how long its frame
 * shows; only behind the last packet there is no step, and the container says what it knows. */
static int64_t last_duration(const struct rows *rows, const AVStream *stream)
{
    const struct row *last = &rows->row[rows->count - 1];
    if (stream->codecpar->video_delay > 0 && rows->tail_duration > 0)
        return rows->tail_duration;
    if (last->duration > 0)
        return last->duration;
    if (rows->count > 1)
        return last->pts - rows->row[rows->count - 2].pts;
    AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : (AVRational){25, 1};
    int64_t ticks = av_rescale_q(1, av_inv_q(rate), stream->time_base);
    return ticks > 0 ? ticks : 1;
}

static int index_fill(const struct rows *rows, const AVStream *stream, struct sl_arena *arena,
                      struct media_index *index, struct sl_failure *why)
{
    *index = (struct media_index){
        .time_base = rational_of(stream->time_base),
        .count = rows->count,
        .end_pts = rows->row[rows->count - 1].pts + last_duration(rows, stream),
        .pts = sl_arena_array(arena, rows->count, sizeof *index->pts),
        .key = sl_arena_array(arena, rows->count, sizeof *index->key),
        .byte_offset = sl_arena_array(arena, rows->count, sizeof *index->byte_offset),
        .byte_length = sl_arena_array(arena, rows->count, sizeof *index->byte_length),
    };
    if (!index->pts || !index->key || !index->byte_offset || !index->byte_length)
        return sl_fail(why, SL_ENOMEM, "no memory for the index of %zu frames", rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        index->pts[i] = rows->row[i].pts;
        index->key[i] = rows->row[i].key;
        index->byte_offset[i] = rows->row[i].byte_offset;
        index->byte_length[i] = rows->row[i].byte_length;
    }
    return SL_OK;
}

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
    video->frame_rate = rate.num > 0 && rate.den > 0 ? rational_of(rate) : (struct rational){25, 1};
}

static int64_t last_key_pts(const struct media_index *index)
{
    size_t last = index->count;
    while (last > 0 && !index->key[last - 1])
        last--;
    return last ? index->pts[last - 1] : AV_NOPTS_VALUE;
}

/* Whether a seek to the last keyframe lands on a keyframe at or before it, tried once. */
static bool try_seek(struct media_source *source, const AVStream *stream, int64_t target)
{
    if (target == AV_NOPTS_VALUE)
        return false;
    AVPacket *packet = av_packet_alloc();
    if (!packet)
        return false;
    media_source_only(source, stream->index);
    bool landed = false;
    if (av_seek_frame(media_source_format(source), stream->index, target, AVSEEK_FLAG_BACKWARD) >=
        0)
        while (media_source_read(source, packet, NULL) > 0) {
            bool key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
            int64_t pts = packet->pts;
            av_packet_unref(packet);
            if (key) {
                landed = pts != AV_NOPTS_VALUE && pts <= target;
                break;
            }
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
        code = read_packets(source, NULL, &listener, progress, NULL, info, why);
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

static int probe_opened(struct media_source *source, const struct media_input *input,
                        struct rows *rows, struct sl_arena *arena,
                        const struct media_progress *progress, struct media_info *info,
                        struct media_index *index, struct sl_failure *why)
{
    AVFormatContext *format = media_source_format(source);
    word_copy(info->container, format->iformat->name);
    info->size_bytes = input->bytes;
    count_streams(format, info);
    AVStream *video = NULL;
    int code = media_extras_find(format, arena, info, why);
    if (code == SL_OK)
        code = find_video(format, info, &video, why);
    if (code != SL_OK)
        return code;
    code = media_streams_find(format, video, info, why);
    if (code != SL_OK)
        return code;
    media_source_only(source, video ? video->index : -1);
    for (int32_t i = 0; i < info->audio_count; i++)
        format->streams[info->audio[i].stream_index]->discard = AVDISCARD_DEFAULT;
    if (!video)
        return probe_sound(source, progress, info, index, why);
    fill_video(format, video, &info->video);
    struct listener deaf = {0};
    code = read_packets(source, video, &deaf, progress, rows, info, why);
    if (code < 0)
        return code;
    media_streams_settle(info);
    if (rows->without_time > 0)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "%zu packets of the video stream (%s in %.24s) carry no presentation time: "
                       "remux the file into Matroska or MP4",
                       rows->without_time, info->video.codec, info->container);
    rows_settle(rows, video->codecpar->codec_id);
    if (rows->count == 0)
        return sl_fail(why, SL_EDECODE, "the video stream (%s) has no frame", info->video.codec);

    code = index_fill(rows, video, arena, index, why);
    if (code != SL_OK)
        return code;
    info->has_video = true;
    info->video.first_pts = index->pts[0];
    info->video.end_pts = index->end_pts;
    info->video.frame_count = (int64_t)index->count;
    info->video.bytes = rows->bytes;
    info->duration_ns = av_rescale_q(index->end_pts - index->pts[0], video->time_base,
                                     (AVRational){1, (int)SL_NS_PER_S});
    code = media_limit_duration(info->duration_ns, why);
    if (code != SL_OK)
        return code;
    fill_rate(index, video, &info->video);
    int64_t last_key = last_key_pts(index);
    info->video.seekable = try_seek(source, video, last_key);
    return media_try_video(source, video, index->pts[0],
                           info->video.seekable ? last_key : AV_NOPTS_VALUE, why);
}

int media_probe(const struct media_input *input, struct sl_arena *arena,
                const struct media_progress *progress, struct media_info *info,
                struct media_index *index, struct sl_failure *why)
{
    struct media_source *source = NULL;
    int code = media_source_open(input, &source, why);
    if (code != SL_OK)
        return code;
    struct rows rows = {.first_key_pts = AV_NOPTS_VALUE};
    struct media_info found = {0};
    struct media_index built = {0};
    code = probe_opened(source, input, &rows, arena, progress, &found, &built, why);
    free(rows.row);
    media_source_close(&source);
    if (code == SL_OK) {
        *info = found;
        *index = built;
    }
    return code;
}
