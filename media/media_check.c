#include "media/media_check.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

#include "media/media_frame.h"
#include "media/media_source.h"
#include "media/media_video.h"

struct parts {
    const uint8_t *part[2];
    size_t bytes[2];
};

static int read_parts(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    const struct parts *parts = arg;
    uint32_t done = 0;
    for (int i = 0; i < 2; i++) {
        if (offset >= parts->bytes[i]) {
            offset -= parts->bytes[i];
            continue;
        }
        size_t left = parts->bytes[i] - (size_t)offset;
        uint32_t n = left < length - done ? (uint32_t)left : length - done;
        memcpy((uint8_t *)into + done, parts->part[i] + offset, n);
        done += n;
        offset = 0;
    }
    *out_read = done;
    return SL_OK;
}

struct check {
    const struct media_check_want *want;
    struct media_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    int64_t *seen; /* pts of packets, in ticks */
    int32_t seen_count;
    int32_t gops;
    int64_t last_shown;
    int64_t decoded;
};

/* BT.601 has two numbers, for its countries of 625 and 525 lines, and VP9 one code for both. */
static bool same_matrix(int a, int b)
{
    const int pal = 5, ntsc = 6;
    return (a == pal ? ntsc : a) == (b == pal ? ntsc : b);
}

static int judge_colours(const struct media_check_want *want, const AVFrame *frame,
                         struct sl_failure *why)
{
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    if (want->bit_depth == 0)
        return SL_OK;
    if (!shape || shape->comp[0].depth != want->bit_depth)
        return sl_fail(why, SL_EMISMATCH, "a decoded picture is %s, which has not %d bits",
                       shape ? shape->name : "of unknown kind", want->bit_depth);
    int primaries = (int)frame->color_primaries, transfer = (int)frame->color_trc,
        matrix = (int)frame->colorspace;
    if (primaries != want->color_primaries || transfer != want->color_transfer ||
        !same_matrix(matrix, want->color_matrix) || frame->color_range == AVCOL_RANGE_JPEG)
        return sl_fail(why, SL_EMISMATCH,
                       "a decoded picture has primaries %d, transfer %d, matrix %d%s, not %d, %d, "
                       "%d (H.273)",
                       primaries, transfer, matrix,
                       frame->color_range == AVCOL_RANGE_JPEG ? " of full range" : "",
                       want->color_primaries, want->color_transfer, want->color_matrix);
    return SL_OK;
}

static bool hdr_equal(const struct media_hdr *a, const struct media_hdr *b)
{
    return a->mastering == b->mastering &&
           memcmp(a->primaries, b->primaries, sizeof a->primaries) == 0 &&
           memcmp(a->white, b->white, sizeof a->white) == 0 &&
           a->luminance_max == b->luminance_max && a->luminance_min == b->luminance_min &&
           a->light == b->light && a->light_max_nits == b->light_max_nits &&
           a->light_average_nits == b->light_average_nits;
}

/* libavformat keeps what the sample entry says beside the stream. */
static int judge_hdr(const struct media_check_want *want, const AVStream *stream,
                     struct sl_failure *why)
{
    struct media_hdr found = {0};
    if (!want->hdr)
        return SL_OK;
    media_video_hdr(stream, &found);
    if (hdr_equal(&found, want->hdr))
        return SL_OK;
    return sl_fail(
        why, SL_EMISMATCH,
        "the sample entry says of mastering and light: %s up to %lld, %d and %d nits; it "
        "should: %s up to %lld, %d and %d nits",
        found.mastering ? "a display" : "no display", (long long)found.luminance_max / 10000,
        found.light_max_nits, found.light_average_nits,
        want->hdr->mastering ? "a display" : "no display",
        (long long)want->hdr->luminance_max / 10000, want->hdr->light_max_nits,
        want->hdr->light_average_nits);
}

static void show(const struct check *check, const AVFrame *frame)
{
    enum hal_layout layout = frame->format == AV_PIX_FMT_YUV420P10LE ? HAL_I420_10 : HAL_I420;
    struct hal_frame view;
    if (layout == HAL_I420 && frame->format != AV_PIX_FMT_YUV420P &&
        frame->format != AV_PIX_FMT_YUVJ420P)
        return;
    media_frame_view(frame, layout, &view);
    check->want->shown(check->want->shown_arg, check->decoded, &view);
}

static int take_frames(struct check *check, struct sl_failure *why)
{
    for (;;) {
        int got = avcodec_receive_frame(check->decoder, check->frame);
        if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
            return SL_OK;
        if (got < 0)
            return media_fail(why, got, SL_EMISMATCH, "the segment does not decode");
        const AVFrame *frame = check->frame;
        const struct media_check_want *want = check->want;
        int code = SL_OK;
        if ((frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags)
            code =
                sl_fail(why, SL_EMISMATCH, "the frame at %lld is damaged", (long long)frame->pts);
        else if (!want->audio && (frame->width != want->width || frame->height != want->height))
            code = sl_fail(why, SL_EMISMATCH, "a decoded picture is %dx%d, not %dx%d", frame->width,
                           frame->height, want->width, want->height);
        else if (!want->audio && frame->pts <= check->last_shown)
            code = sl_fail(why, SL_EMISMATCH, "the frame at %lld came after the one at %lld",
                           (long long)frame->pts, (long long)check->last_shown);
        else if (!want->audio)
            code = judge_colours(want, frame, why);
        if (code == SL_OK && want->shown)
            show(check, frame);
        check->last_shown = frame->pts;
        check->decoded++;
        av_frame_unref(check->frame);
        if (code != SL_OK)
            return code;
    }
}

static int take_packet(struct check *check, struct sl_failure *why)
{
    const struct media_check_want *want = check->want;
    AVPacket *packet = check->packet;
    if (packet->stream_index != check->stream->index)
        return SL_OK;
    bool key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    if (check->seen_count == 0 && !key)
        return sl_fail(why, SL_EMISMATCH, "the segment does not start with a keyframe");
    if (check->seen_count == want->frame_count)
        return sl_fail(why, SL_EMISMATCH, "the segment has more than %d frames", want->frame_count);
    int64_t ticks =
        av_rescale_q(packet->pts, check->stream->time_base, (AVRational){1, want->timescale});
    check->seen[check->seen_count++] = ticks;
    check->gops += key;
    if (want->decode == MEDIA_CHECK_FIRST_GOP && !want->audio && check->gops > 1)
        return SL_OK;
    int sent = avcodec_send_packet(check->decoder, packet);
    if (sent < 0)
        return media_fail(why, sent, SL_EMISMATCH, "the segment does not decode");
    return take_frames(check, why);
}

static int i64_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int judge_times(struct check *check, struct sl_failure *why)
{
    const struct media_check_want *want = check->want;
    if (check->seen_count != want->frame_count)
        return sl_fail(why, SL_EMISMATCH, "the segment has %d frames, not %d", check->seen_count,
                       want->frame_count);
    if (check->seen[0] != want->start_ticks)
        return sl_fail(why, SL_EMISMATCH, "the segment starts at %lld, not at %lld (1/%d s)",
                       (long long)check->seen[0], (long long)want->start_ticks, want->timescale);
    qsort(check->seen, (size_t)check->seen_count, sizeof *check->seen, i64_compare);
    for (int32_t i = 0; want->ticks && i < want->frame_count; i++)
        if (check->seen[i] != want->ticks[i])
            return sl_fail(why, SL_EMISMATCH,
                           "frame %d of the segment is at %lld, not at %lld (1/%d s)", i,
                           (long long)check->seen[i], (long long)want->ticks[i], want->timescale);
    if (check->seen[0] != want->start_ticks ||
        check->seen[want->frame_count - 1] != want->last_ticks)
        return sl_fail(why, SL_EMISMATCH,
                       "the segment shows %lld to %lld, not %lld to %lld (1/%d s)",
                       (long long)check->seen[0], (long long)check->seen[want->frame_count - 1],
                       (long long)want->start_ticks, (long long)want->last_ticks, want->timescale);
    return SL_OK;
}

static int check_run(struct check *check, struct sl_failure *why)
{
    const struct media_check_want *want = check->want;
    AVFormatContext *format = media_source_format(check->source);
    int best = av_find_best_stream(format, want->audio ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO,
                                   -1, -1, NULL, 0);
    if (best < 0)
        return sl_fail(why, SL_EMISMATCH, "the segment has no %s track",
                       want->audio ? "audio" : "video");
    check->stream = format->streams[best];
    check->packet = av_packet_alloc();
    check->frame = av_frame_alloc();
    check->seen = calloc((size_t)want->frame_count, sizeof *check->seen);
    if (!check->packet || !check->frame || !check->seen)
        return sl_fail(why, SL_ENOMEM, "no memory to check a segment");
    int code = judge_hdr(want, check->stream, why);
    if (code == SL_OK)
        code = media_decoder_open(check->stream, &check->decoder, why);
    int got;
    while (code == SL_OK && (got = media_source_read(check->source, check->packet, why)) != 0) {
        code = got < 0 ? got : take_packet(check, why);
        av_packet_unref(check->packet);
    }
    if (code == SL_OK)
        code = judge_times(check, why);
    if (code == SL_OK) {
        avcodec_send_packet(check->decoder, NULL);
        code = take_frames(check, why);
    }
    if (code == SL_OK && want->decode == MEDIA_CHECK_WHOLE && !want->audio &&
        check->decoded != want->frame_count)
        return sl_fail(why, SL_EMISMATCH, "%lld of the segment's %d frames decode",
                       (long long)check->decoded, want->frame_count);
    return code;
}

int media_check_segment(const void *init, size_t init_bytes, const void *segment,
                        size_t segment_bytes, const struct media_check_want *want,
                        int64_t *out_decoded, struct sl_failure *why)
{
    if (want->frame_count <= 0)
        return sl_fail(why, SL_EMISMATCH, "a segment without frames was promised");
    struct parts parts = {{init, segment}, {init_bytes, segment_bytes}};
    struct media_input input = {.fd = -1,
                                .read = read_parts,
                                .arg = &parts,
                                .bytes = (int64_t)(init_bytes + segment_bytes)};
    struct check check = {.want = want, .last_shown = INT64_MIN};
    int code = media_source_open(&input, &check.source, why);
    if (code == SL_EFORMAT && why)
        code = why->code = SL_EMISMATCH;
    if (code == SL_OK)
        code = check_run(&check, why);
    avcodec_free_context(&check.decoder);
    media_source_close(&check.source);
    av_packet_free(&check.packet);
    av_frame_free(&check.frame);
    free(check.seen);
    if (code == SL_OK && out_decoded)
        *out_decoded = check.decoded;
    return code;
}
