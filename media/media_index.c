#include "media/media_index.h"

#include <libavcodec/avcodec.h>
#include <stdlib.h>

#include "media/media_limits.h"

static int64_t ns_of(const struct media_rows *rows, int64_t ticks)
{
    return av_rescale_q(ticks, rows->stream->time_base, (AVRational){1, (int)SL_NS_PER_S});
}

static double seconds_of(const struct media_rows *rows, int64_t ticks)
{
    return (double)ticks * av_q2d(rows->stream->time_base);
}

int media_rows_init(struct media_rows *rows, const AVStream *stream, struct sl_failure *why)
{
    *rows = (struct media_rows){
        .stream = stream,
        .first_key_pts = AV_NOPTS_VALUE,
        .last_dts = AV_NOPTS_VALUE,
        .most_pts = AV_NOPTS_VALUE,
    };
    enum AVCodecID id = stream->codecpar->codec_id;
    if (id != AV_CODEC_ID_H264 && id != AV_CODEC_ID_MPEG2VIDEO && id != AV_CODEC_ID_VC1)
        return SL_OK;
    rows->parser = av_parser_init(id);
    rows->parser_codec = avcodec_alloc_context3(NULL);
    if (rows->parser)
        rows->parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    if (!rows->parser_codec ||
        avcodec_parameters_to_context(rows->parser_codec, stream->codecpar) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for a parser");
    return SL_OK;
}

void media_rows_fini(struct media_rows *rows)
{
    if (rows->parser)
        av_parser_close(rows->parser);
    avcodec_free_context(&rows->parser_codec);
    free(rows->row);
    *rows = (struct media_rows){0};
}

static int row_add(struct media_rows *rows, const struct media_row *row, struct sl_failure *why)
{
    int code = media_limit_frames(rows->count + 1, why);
    if (code != SL_OK)
        return code;
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : 4096;
        struct media_row *grown = realloc(rows->row, capacity * sizeof *grown);
        if (!grown)
            return sl_fail(why, SL_ENOMEM, "no memory for the index of %zu frames", capacity);
        rows->row = grown;
        rows->capacity = capacity;
    }
    rows->row[rows->count++] = *row;
    return SL_OK;
}

/* ---- packets ---- */

static void fields_note(struct media_rows *rows, const AVPacket *packet)
{
    if (!rows->parser || rows->interlaced)
        return;
    uint8_t *frame = NULL;
    int frame_bytes = 0;
    av_parser_parse2(rows->parser, rows->parser_codec, &frame, &frame_bytes, packet->data,
                     packet->size, packet->pts, packet->dts, packet->pos);
    enum AVFieldOrder order = rows->parser->field_order;
    rows->interlaced = order != AV_FIELD_UNKNOWN && order != AV_FIELD_PROGRESSIVE;
    rows->top_field_first = order == AV_FIELD_TT || order == AV_FIELD_BT;
}

/* Frames that are decoded for others' sake and never shown. */
static bool is_hidden(enum AVCodecID id, const AVPacket *packet)
{
    const uint8_t *data = packet->data;
    if (id == AV_CODEC_ID_VP8)
        return (data[0] >> 4 & 1) == 0;
    if (id != AV_CODEC_ID_VP9 || (data[packet->size - 1] & 0xe0) == 0xc0)
        return false; /* a superframe holds a shown one */
    int profile = (data[0] >> 5 & 1) | (data[0] >> 3 & 2);
    int bit = profile == 3 ? 2 : 3; /* of show_existing_frame; frame_type and show_frame follow */
    bool existing = data[0] >> bit & 1;
    return data[0] >> 6 == 2 && !existing && !(data[0] >> (bit - 2) & 1);
}

/* A clock that runs on: decoding times grow, and nothing in front of a keyframe is shown after it. The first fault
 * is kept: it counts only where all packets have times. */
static void clock_check(struct media_rows *rows, const AVPacket *packet, int64_t pts)
{
    int64_t from = AV_NOPTS_VALUE, to = pts;
    int64_t second = av_rescale_q(1, (AVRational){1, 1}, rows->stream->time_base);
    if ((packet->flags & AV_PKT_FLAG_KEY) && rows->most_pts != AV_NOPTS_VALUE &&
        pts < rows->most_pts)
        from = rows->most_pts;
    if (packet->dts != AV_NOPTS_VALUE && rows->last_dts != AV_NOPTS_VALUE &&
        packet->dts < rows->last_dts - second) {
        from = rows->last_dts;
        to = packet->dts;
    }
    if (from != AV_NOPTS_VALUE && rows->clock.code == SL_OK)
        sl_fail(&rows->clock, SL_EUNSUPPORTED,
                "the clock of the video jumps back from %.3f s to %.3f s at byte %lld, as where "
                "recordings were joined: send the parts, or join them with a tool that rewrites "
                "times",
                seconds_of(rows, from), seconds_of(rows, to), (long long)packet->pos);
    if (packet->dts != AV_NOPTS_VALUE)
        rows->last_dts = packet->dts;
    if (rows->most_pts == AV_NOPTS_VALUE || pts > rows->most_pts)
        rows->most_pts = pts;
}

int media_rows_note(struct media_rows *rows, const AVPacket *packet, struct sl_failure *why)
{
    if (packet->size == 0)
        return SL_OK;
    rows->bytes += packet->size;
    fields_note(rows, packet);
    if (is_hidden(rows->stream->codecpar->codec_id, packet))
        return SL_OK;
    rows->packets++;
    int64_t pts = packet->pts;
    /* Without reordering both times are the same. */
    if (pts == AV_NOPTS_VALUE && rows->stream->codecpar->video_delay == 0)
        pts = packet->dts;
    if (pts == AV_NOPTS_VALUE) {
        rows->without_time++;
        return SL_OK;
    }
    rows->tail_duration = packet->duration;
    if ((packet->flags & AV_PKT_FLAG_KEY) && rows->first_key_pts == AV_NOPTS_VALUE)
        rows->first_key_pts = pts;
    if (packet->flags & AV_PKT_FLAG_DISCARD)
        return SL_OK;
    clock_check(rows, packet, pts);
    struct media_row row = {
        .pts = pts,
        .byte_offset = packet->pos,
        .duration = packet->duration,
        .byte_length = packet->size,
        .key = (packet->flags & AV_PKT_FLAG_KEY) != 0,
    };
    return row_add(rows, &row, why);
}

int media_rows_note_frame(struct media_rows *rows, int64_t pts, struct sl_failure *why)
{
    if (rows->count && pts <= rows->row[rows->count - 1].pts)
        return sl_fail(
            why, SL_EUNSUPPORTED,
            "packets of the video carry no presentation time, and those made up for them do "
            "not grow (%.3f s after %.3f s): remux the file into Matroska or MP4",
            seconds_of(rows, pts), seconds_of(rows, rows->row[rows->count - 1].pts));
    struct media_row row = {.pts = pts, .byte_offset = -1, .key = rows->count == 0};
    return row_add(rows, &row, why);
}

/* ---- the index ---- */

static int row_compare(const void *a, const void *b)
{
    int64_t left = ((const struct media_row *)a)->pts;
    int64_t right = ((const struct media_row *)b)->pts;
    return (left > right) - (left < right);
}

static bool is_sorted(const struct media_rows *rows)
{
    for (size_t i = 1; i < rows->count; i++)
        if (rows->row[i - 1].pts > rows->row[i].pts)
            return false;
    return true;
}

/* Sorts, drops what no decoder shows, and makes one row of packets with one time (two fields). */
static void rows_merge(struct media_rows *rows)
{
    enum AVCodecID codec = rows->stream->codecpar->codec_id;
    if (!is_sorted(rows))
        qsort(rows->row, rows->count, sizeof *rows->row, row_compare);
    bool needs_key = codec == AV_CODEC_ID_H264 || codec == AV_CODEC_ID_HEVC;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct media_row *row = &rows->row[i];
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

int media_rows_settle(struct media_rows *rows, struct sl_failure *why)
{
    if (rows->clock.code != SL_OK) {
        *why = rows->clock;
        return why->code;
    }
    rows_merge(rows);
    if (rows->count == 0)
        return sl_fail(why, SL_EDECODE, "the video stream (%s) has no frame",
                       avcodec_get_name(rows->stream->codecpar->codec_id));
    for (size_t i = 1; i < rows->count; i++) {
        int64_t before = rows->row[i - 1].pts, after = rows->row[i].pts;
        if (ns_of(rows, after - before) > MEDIA_GAP_MAX_NS)
            return sl_fail(
                why, SL_EUNSUPPORTED,
                "there is no frame between %.3f s and %.3f s: the clock of the video jumps; "
                "%d s without a frame are the most",
                seconds_of(rows, before), seconds_of(rows, after),
                (int)(MEDIA_GAP_MAX_NS / SL_NS_PER_S));
    }
    return SL_OK;
}

/* Where frames are reordered a packet's duration is the step to the next decoding, which is not how long its frame
 * shows; only behind the last packet there is no step, and the container says what it knows. */
static int64_t last_duration(const struct media_rows *rows)
{
    const AVStream *stream = rows->stream;
    const struct media_row *last = &rows->row[rows->count - 1];
    int64_t said = stream->codecpar->video_delay > 0 ? rows->tail_duration : 0;
    if (said <= 0)
        said = last->duration;
    if (said > 0 && ns_of(rows, said) <= MEDIA_GAP_MAX_NS)
        return said;
    if (rows->count > 1)
        return last->pts - rows->row[rows->count - 2].pts;
    AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : (AVRational){25, 1};
    int64_t ticks = av_rescale_q(1, av_inv_q(rate), stream->time_base);
    return ticks > 0 ? ticks : 1;
}

int media_index_fill(const struct media_rows *rows, struct sl_arena *arena,
                     struct media_index *index, struct sl_failure *why)
{
    const AVRational base = rows->stream->time_base;
    *index = (struct media_index){
        .time_base = {base.num, base.den},
        .count = rows->count,
        .end_pts = rows->row[rows->count - 1].pts + last_duration(rows),
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
