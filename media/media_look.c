#include "media/media_look.h"

#include <libavutil/mastering_display_metadata.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/media_color.h"
#include "media/media_frame.h"
#include "media/media_graph.h"
#include "media/media_limits.h"
#include "media/media_video.h"

#define TRY_FRAMES  8   /* a decoder may hold back as many as it reorders */
#define TRY_PACKETS 300 /* without a frame in so many there is none to be expected */
#define FIELD_FRAMES                                                                               \
    75 /* looked at for fields at each place: 15 rounds of the pulldown's five frames */
#define FIELD_PLACES    3
#define PULLDOWN_ONE_IN 25

struct look {
    struct media_source *source;
    const AVStream *stream;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    struct media_video *video;
    bool has_first;
    struct media_graph *idet;
    AVFrame *judged;
    int interlaced, top_first; /* frames that say so */
    int judged_count;          /* frames that idet saw */
    int tops, bottoms;         /* of these, with the top or bottom field of the one before */
};

static int32_t light_of(const AVFrame *frame)
{
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    if (side && side->size >= sizeof(AVContentLightMetadata)) {
        const AVContentLightMetadata *light = (const void *)side->data;
        if (light->MaxCLL > 0 && light->MaxCLL <= INT16_MAX)
            return (int32_t)light->MaxCLL;
    }
    side = av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    if (side && side->size >= sizeof(AVMasteringDisplayMetadata)) {
        const AVMasteringDisplayMetadata *mastering = (const void *)side->data;
        double nits = mastering->has_luminance ? av_q2d(mastering->max_luminance) : 0;
        if (nits > 0 && nits <= INT16_MAX)
            return (int32_t)nits;
    }
    return 0;
}

/* The first frame is the truth: that is what chunks will see. */
static int first_frame(struct look *look, struct sl_failure *why)
{
    const AVFrame *frame = look->frame;
    struct media_video *video = look->video;
    int code = media_limit_picture(frame->width, frame->height, why);
    if (code != SL_OK)
        return code;
    video->width = frame->width;
    video->height = frame->height;
    if (video->crop_left + video->crop_right >= video->width ||
        video->crop_top + video->crop_bottom >= video->height)
        video->crop_left = video->crop_right = video->crop_top = video->crop_bottom = 0;
    const char *name = av_get_pix_fmt_name((enum AVPixelFormat)frame->format);
    snprintf(video->pix_fmt, sizeof video->pix_fmt, "%.31s", name ? name : "");
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    if (!shape || shape->flags & AV_PIX_FMT_FLAG_HWACCEL)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the decoder gives pictures of a kind (%s) that cannot "
                       "be read here",
                       video->pix_fmt);
    video->bit_depth = shape->comp[0].depth;
    video->frame_sar =
        (struct rational){frame->sample_aspect_ratio.num, frame->sample_aspect_ratio.den};
    if (video->sar.num <= 0 || video->sar.den <= 0)
        video->sar = video->frame_sar.num > 0 && video->frame_sar.den > 0 ? video->frame_sar
                                                                          : (struct rational){1, 1};
    int32_t primaries = media_color_primaries((int)frame->color_primaries);
    int32_t transfer = media_color_transfer((int)frame->color_trc);
    int32_t matrix = media_color_matrix((int)frame->colorspace);
    if (primaries != MEDIA_COLOR_UNSPECIFIED)
        video->color_primaries = primaries;
    if (transfer != MEDIA_COLOR_UNSPECIFIED)
        video->color_transfer = transfer;
    if (matrix != MEDIA_COLOR_UNSPECIFIED)
        video->color_matrix = matrix;
    if (shape->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL))
        video->color_matrix =
            MEDIA_COLOR_UNSPECIFIED; /* it has none; the output's is chosen by size */
    if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        video->full_range = frame->color_range == AVCOL_RANGE_JPEG;
    if (!video->hdr_peak_nits)
        video->hdr_peak_nits = light_of(frame);
    media_color_frame_hdr(frame, &video->hdr);
    const AVFrameSideData *matrix_side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (matrix_side && !video->mirrored && !video->rotation_degrees &&
        !media_video_orientation(matrix_side->data, matrix_side->size, video))
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the stream turns the picture by an angle that is no quarter turn: send it "
                       "upright");
    look->has_first = true;
    return SL_OK;
}

/* ---- fields ---- */

static const char *idet_word(const AVFrame *frame, const char *key)
{
    const AVDictionaryEntry *entry = av_dict_get(frame->metadata, key, NULL, 0);
    return entry ? entry->value : "";
}

static int idet_take(struct look *look, struct sl_failure *why)
{
    int got;
    while ((got = media_graph_pull(look->idet, look->judged, why)) > 0) {
        const char *repeated = idet_word(look->judged, "lavfi.idet.repeated.current_frame");
        look->judged_count++;
        look->tops += strcmp(repeated, "top") == 0;
        look->bottoms += strcmp(repeated, "bottom") == 0;
        av_frame_unref(look->judged);
    }
    return got;
}

static int fields_note(struct look *look, struct sl_failure *why)
{
    if (!look->idet || !media_graph_fits(look->idet, look->frame)) {
        media_graph_close(&look->idet);
        int code = media_graph_open("idet", look->frame, look->video->time_base, &look->idet, why);
        if (code != SL_OK)
            return code;
    }
    int code = media_graph_push(look->idet, look->frame, why);
    return code == SL_OK ? idet_take(look, why) : code;
}

static int frame_note(struct look *look, bool fields, struct sl_failure *why)
{
    int code = look->has_first ? SL_OK : first_frame(look, why);
    if (code != SL_OK)
        return code;
    if (media_frame_is_interlaced(look->frame)) {
        look->interlaced++;
        look->top_first += media_frame_is_top_first(look->frame);
    }
    return fields ? fields_note(look, why) : SL_OK;
}

/* Decodes from where the source stands; *frames counts those that came. */
static int sample(struct look *look, int wanted, bool fields, int *frames, struct sl_failure *why)
{
    bool ended = false;
    *frames = 0;
    for (int packets = 0; *frames < wanted && packets < TRY_PACKETS;) {
        int got = avcodec_receive_frame(look->decoder, look->frame);
        if (got >= 0) {
            int code = frame_note(look, fields, why);
            av_frame_unref(look->frame);
            if (code != SL_OK)
                return code;
            ++*frames;
            continue;
        }
        if (got == AVERROR(ENOMEM))
            return sl_fail(why, SL_ENOMEM, "no memory to decode");
        if (ended)
            return SL_OK;
        got = media_source_read(look->source, look->packet, why);
        if (got < 0)
            return got;
        packets++;
        ended = got == 0;
        /* What it refuses gives no frame. */
        avcodec_send_packet(look->decoder, ended ? NULL : look->packet);
        av_packet_unref(look->packet);
    }
    return SL_OK;
}

static int64_t key_before(const struct media_index *index, size_t row)
{
    while (row > 0 && !index->key[row])
        row--;
    return index->pts[row];
}

/* Samples at several places, the first of them at the start. */
static int places(struct look *look, const struct media_index *index, int count, int wanted,
                  bool fields, struct sl_failure *why)
{
    AVFormatContext *format = media_source_format(look->source);
    int stream = look->stream->index;
    for (int i = 0; i < count; i++) {
        size_t row = i ? (index->count - 1) * (size_t)i / (size_t)(count - 1) : 0;
        if (fields && i)
            row = index->count * (size_t)i / (size_t)count;
        int64_t at = i ? key_before(index, row) : index->pts[0];
        if (i && (!look->video->seekable || at <= index->pts[0]))
            continue;
        if (av_seek_frame(format, stream, at, AVSEEK_FLAG_BACKWARD) < 0 &&
            (i || av_seek_frame(format, -1, 0, AVSEEK_FLAG_BYTE) < 0))
            continue;
        avcodec_flush_buffers(look->decoder);
        media_graph_close(&look->idet);
        int frames = 0;
        int code = sample(look, wanted, fields, &frames, why);
        if (code == SL_OK && !look->has_first)
            code =
                sl_fail(why, SL_EDECODE,
                        "no picture of the video stream (%s) can be decoded: it is encrypted, or "
                        "its data are missing or damaged",
                        avcodec_get_name(look->stream->codecpar->codec_id));
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

static int fields_look(struct look *look, const struct media_index *index, struct sl_failure *why)
{
    struct media_video *video = look->video;
    if (look->interlaced == 0 && !video->interlaced)
        return SL_OK;
    if (look->interlaced && look->stream->codecpar->codec_id == AV_CODEC_ID_HEVC)
        return sl_fail(
            why, SL_EUNSUPPORTED,
            "the video is H.265 with each field a picture of its own: send it with whole "
            "frames");
    look->interlaced = look->top_first = 0;
    int code = places(look, index, FIELD_PLACES, FIELD_FRAMES, true, why);
    if (code != SL_OK)
        return code;
    video->interlaced = true;
    if (look->interlaced)
        video->top_field_first = look->top_first * 2 > look->interlaced;
    /* Pulldown repeats a top field and a bottom field in each five frames. Where little moves it cannot be seen, and
     * coding hides some; fields of a camera repeat never. */
    video->telecined = look->interlaced && look->judged_count >= FIELD_FRAMES / 3 &&
                       look->tops * PULLDOWN_ONE_IN >= look->judged_count &&
                       look->bottoms * PULLDOWN_ONE_IN >= look->judged_count;
    return SL_OK;
}

int media_look(struct media_source *source, const AVStream *stream, const struct media_index *index,
               struct media_video *video, struct sl_failure *why)
{
    struct look look = {
        .source = source,
        .stream = stream,
        .packet = av_packet_alloc(),
        .frame = av_frame_alloc(),
        .judged = av_frame_alloc(),
        .video = video,
    };
    int code = look.packet && look.frame && look.judged
                   ? media_decoder_open(stream, &look.decoder, why)
                   : sl_fail(why, SL_ENOMEM, "no memory to decode");
    media_source_only(source, stream->index);
    if (code == SL_OK)
        code = places(&look, index, 2, TRY_FRAMES, false, why);
    if (code == SL_OK)
        code = fields_look(&look, index, why);
    media_graph_close(&look.idet);
    avcodec_free_context(&look.decoder);
    av_packet_free(&look.packet);
    av_frame_free(&look.frame);
    av_frame_free(&look.judged);
    return code;
}
