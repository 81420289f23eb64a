#include "media/media_video.h"

#include <libavcodec/avcodec.h>
#include <libavutil/display.h>
#include <libavutil/dovi_meta.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "media/media_color.h"
#include "media/media_limits.h"

static struct rational rational_of(AVRational r)
{
    return (struct rational){r.num, r.den};
}

static void word_copy(char out[MEDIA_WORD_BYTES], const char *text)
{
    snprintf(out, MEDIA_WORD_BYTES, "%.*s", MEDIA_WORD_BYTES - 1, text ? text : "");
}

static bool is_picture(const AVStream *stream)
{
    return (stream->disposition &
            (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) != 0;
}

static bool is_video(const AVStream *stream)
{
    return stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !is_picture(stream);
}

static void stream_list(AVFormatContext *format, const AVStream *stream, struct media_info *info)
{
    if (info->stream_count == MEDIA_STREAMS_MAX)
        return;
    const AVProgram *program = av_find_program_from_stream(format, NULL, stream->index);
    struct media_stream *row = &info->streams[info->stream_count++];
    *row = (struct media_stream){
        .index = stream->index,
        .program = program ? program->id : -1,
        .width = stream->codecpar->width,
        .height = stream->codecpar->height,
        .is_default = (stream->disposition & AV_DISPOSITION_DEFAULT) != 0,
    };
    word_copy(row->codec, avcodec_get_name(stream->codecpar->codec_id));
}

void media_video_list(AVFormatContext *format, struct media_info *info)
{
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        if (is_video(stream)) {
            info->video_stream_count++;
            stream_list(format, stream, info);
        }
        info->audio_stream_count += stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
        info->subtitle_stream_count += stream->codecpar->codec_type == AVMEDIA_TYPE_SUBTITLE;
    }
}

static int asked_refuse(AVFormatContext *format, const struct media_info *info,
                        struct sl_failure *why)
{
    char list[192] = "";
    for (int32_t i = 0; i < info->stream_count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%d (%.15s %dx%d)", i ? ", " : "",
                 info->streams[i].index, info->streams[i].codec, info->streams[i].width,
                 info->streams[i].height);
    }
    char is[48] = "";
    if ((unsigned)info->stream_asked < format->nb_streams) {
        const AVStream *stream = format->streams[info->stream_asked];
        const char *kind = av_get_media_type_string(stream->codecpar->codec_type);
        snprintf(is, sizeof is, "is %.20s",
                 is_picture(stream) ? "a still picture" : (kind ? kind : "of unknown kind"));
    } else {
        snprintf(is, sizeof is, "is not there, of %u", format->nb_streams);
    }
    return sl_fail(why, SL_EUNSUPPORTED,
                   "stream %d %s; the file's video streams are: %s: ask for one of them",
                   info->stream_asked, is, list[0] ? list : "none");
}

int media_video_choose(AVFormatContext *format, const struct media_info *info, AVStream **out,
                       struct sl_failure *why)
{
    if (info->video_stream_count == 0 && info->stream_asked >= 0)
        return asked_refuse(format, info, why);
    if (info->video_stream_count == 0 && info->audio_stream_count > 0)
        return SL_OK; /* sound alone; cover art is no picture */
    if (info->video_stream_count == 0)
        return sl_fail(why, SL_ENOVIDEO,
                       "the file has neither a video nor an audio stream (%d subtitle): send one "
                       "with a picture or sound",
                       info->subtitle_stream_count);
    int best = -1;
    if (info->stream_asked >= 0) {
        if ((unsigned)info->stream_asked >= format->nb_streams ||
            !is_video(format->streams[info->stream_asked]))
            return asked_refuse(format, info, why);
        best = info->stream_asked;
    } else {
        best = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    }
    if (best >= 0 && is_picture(format->streams[best]))
        best = -1;
    for (unsigned i = 0; best < 0 && i < format->nb_streams; i++)
        if (is_video(format->streams[i]))
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

/* ---- what headers say ---- */

static const uint8_t *side_data(const AVStream *stream, enum AVPacketSideDataType type,
                                size_t *bytes)
{
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *side = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, type);
    *bytes = side ? side->size : 0;
    return side ? side->data : NULL;
#else
    *bytes = 0;
    return av_stream_get_side_data(stream, type, bytes);
#endif
}

bool media_video_orientation(const uint8_t *matrix, size_t bytes, struct media_video *video)
{
    video->mirrored = false;
    video->rotation_degrees = 0;
    if (!matrix || bytes < 9 * sizeof(int32_t))
        return true;
    int32_t copy[9];
    memcpy(copy, matrix, sizeof copy);
    double a = copy[0], b = copy[1], c = copy[3], d = copy[4];
    if (a * d - b * c < 0) {
        video->mirrored = true;
        copy[0] = -copy[0]; /* undoes the mirror, which comes before the turn */
        copy[1] = -copy[1];
    }
    double degrees = av_display_rotation_get(copy); /* counterclockwise */
    if (isnan(degrees))
        return true; /* a matrix of zeros says nothing */
    long turn = lround(-degrees / 90.0) * 90;
    if (fabs(-degrees - (double)turn) > 1.0)
        return false;
    turn %= 360;
    video->rotation_degrees = (int32_t)(turn < 0 ? turn + 360 : turn);
    return true;
}

/* Light levels of the whole stream, where the container has them. */
static int32_t peak_of(const AVStream *stream)
{
    size_t bytes = 0;
    const AVContentLightMetadata *light =
        (const void *)side_data(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, &bytes);
    if (light && bytes >= sizeof *light && light->MaxCLL > 0)
        return (int32_t)(light->MaxCLL > INT16_MAX ? INT16_MAX : light->MaxCLL);
    const AVMasteringDisplayMetadata *mastering =
        (const void *)side_data(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, &bytes);
    if (mastering && bytes >= sizeof *mastering && mastering->has_luminance) {
        double nits = av_q2d(mastering->max_luminance);
        return nits > 0 && nits < INT16_MAX ? (int32_t)nits : 0;
    }
    return 0;
}

void media_video_hdr(const AVStream *stream, struct media_hdr *out)
{
    size_t bytes = 0, light_bytes = 0;
    const AVMasteringDisplayMetadata *mastering =
        (const void *)side_data(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, &bytes);
    const AVContentLightMetadata *light =
        (const void *)side_data(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, &light_bytes);
    media_color_hdr(mastering && bytes >= sizeof *mastering ? mastering : NULL,
                    light && light_bytes >= sizeof *light ? light : NULL, out);
}

static int crop_of(const AVStream *stream, struct media_video *video, struct sl_failure *why)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 9, 100)
    size_t bytes = 0;
    const uint8_t *crop = side_data(stream, AV_PKT_DATA_FRAME_CROPPING, &bytes);
    if (!crop || bytes < 16)
        return SL_OK;
    uint32_t top = AV_RL32(crop), bottom = AV_RL32(crop + 4), left = AV_RL32(crop + 8),
             right = AV_RL32(crop + 12);
    if (top > INT16_MAX || bottom > INT16_MAX || left > INT16_MAX || right > INT16_MAX ||
        (int)(top + bottom) >= video->height || (int)(left + right) >= video->width)
        return sl_fail(why, SL_EUNSUPPORTED, "the container's crop leaves nothing of the %dx%d",
                       video->width, video->height);
    video->crop_top = (int32_t)top;
    video->crop_bottom = (int32_t)bottom;
    video->crop_left = (int32_t)left;
    video->crop_right = (int32_t)right;
#else
    (void)stream; /* libavformat before 7.1 does not hand it out */
    (void)video;
    (void)why;
#endif
    return SL_OK;
}

int media_video_fill(AVFormatContext *format, AVStream *stream, struct media_video *video,
                     struct sl_failure *why)
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
    size_t bytes = 0;
    const uint8_t *matrix = side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
    if (!media_video_orientation(matrix, bytes, video))
        return sl_fail(
            why, SL_EUNSUPPORTED,
            "the container turns the picture by an angle that is no quarter turn: send it "
            "upright");
    const AVDOVIDecoderConfigurationRecord *dovi =
        (const void *)side_data(stream, AV_PKT_DATA_DOVI_CONF, &bytes);
    if (dovi && bytes >= sizeof *dovi) {
        video->dolby_vision = dovi->dv_profile;
        /* Of AV1 the base layer may be made for nothing else as well. */
        if (dovi->dv_profile == 5 ||
            (dovi->dv_profile == 10 && dovi->dv_bl_signal_compatibility_id == 0))
            return sl_fail(
                why, SL_EUNSUPPORTED,
                "the picture is Dolby Vision of profile %d, whose colours nothing else reads: "
                "send HDR10, HLG or SDR",
                dovi->dv_profile);
    }
    AVRational sar = av_guess_sample_aspect_ratio(format, stream, NULL);
    video->sar = sar.num > 0 && sar.den > 0 ? rational_of(sar) : (struct rational){0, 0};
    video->time_base = rational_of(stream->time_base);
    video->interlaced =
        par->field_order != AV_FIELD_UNKNOWN && par->field_order != AV_FIELD_PROGRESSIVE;
    video->top_field_first = par->field_order == AV_FIELD_TT || par->field_order == AV_FIELD_BT;
    video->color_primaries = media_color_primaries(par->color_primaries);
    video->color_transfer = media_color_transfer(par->color_trc);
    video->color_matrix = media_color_matrix(par->color_space);
    video->full_range = par->color_range == AVCOL_RANGE_JPEG;
    video->hdr_peak_nits = peak_of(stream);
    media_video_hdr(stream, &video->hdr);
    return crop_of(stream, video, why);
}
