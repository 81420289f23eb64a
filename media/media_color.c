#include "media/media_color.h"

#include <libavutil/pixdesc.h>

static int32_t known(int number, uint32_t bits)
{
    return number >= 0 && number < 32 && bits & UINT32_C(1) << number ? number
                                                                      : MEDIA_COLOR_UNSPECIFIED;
}

#define BIT(n) (UINT32_C(1) << (n))

int32_t media_color_primaries(int number)
{
    return known(number, BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) |
                             BIT(11) | BIT(12) | BIT(22));
}

int32_t media_color_transfer(int number)
{
    return known(number, BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) |
                             BIT(11) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(18));
}

int32_t media_color_matrix(int number)
{
    return known(number, BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) |
                             BIT(12) | BIT(13) | BIT(14));
}

static bool is_rgb(const AVFrame *frame)
{
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    return shape && shape->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
}

void media_color_settle(AVFrame *frame, const struct plan_picture *how)
{
    int32_t primaries = media_color_primaries((int)frame->color_primaries);
    int32_t transfer = media_color_transfer((int)frame->color_trc);
    int32_t matrix = media_color_matrix((int)frame->colorspace);
    frame->color_primaries = (enum AVColorPrimaries)(
        primaries == MEDIA_COLOR_UNSPECIFIED ? how->source_primaries : primaries);
    frame->color_trc = (enum AVColorTransferCharacteristic)(
        transfer == MEDIA_COLOR_UNSPECIFIED ? how->source_transfer : transfer);
    frame->colorspace =
        (enum AVColorSpace)(matrix == MEDIA_COLOR_UNSPECIFIED ? how->source_matrix : matrix);
    if (is_rgb(frame)) {
        frame->colorspace = AVCOL_SPC_RGB;
        if (frame->color_range == AVCOL_RANGE_UNSPECIFIED)
            frame->color_range = AVCOL_RANGE_JPEG;
    }
}

static bool differs(int found, int32_t planned)
{
    return found != planned && found != MEDIA_COLOR_UNSPECIFIED &&
           planned != MEDIA_COLOR_UNSPECIFIED;
}

bool media_color_differs(const AVFrame *frame, const struct plan_picture *how)
{
    return differs((int)frame->color_primaries, how->primaries) ||
           differs((int)frame->color_trc, how->transfer) ||
           differs((int)frame->colorspace, how->matrix);
}

bool media_color_is_hdr(const AVFrame *frame)
{
    return (int)frame->color_trc == MEDIA_COLOR_PQ || (int)frame->color_trc == MEDIA_COLOR_HLG;
}

bool media_color_keeps_hdr(const struct plan_picture *how)
{
    return how->transfer == MEDIA_COLOR_PQ || how->transfer == MEDIA_COLOR_HLG;
}

/* In 1/unit, or -1 outside 0 … most. */
static int64_t scaled(AVRational value, int64_t unit, int64_t most)
{
    if (value.den <= 0 || value.num < 0)
        return -1;
    int64_t units = av_rescale(value.num, unit, value.den);
    return units <= most ? units : -1;
}

/* Coordinates of chromaticity are up to 1, luminances up to what PQ reaches. */
static bool mastering_take(const AVMasteringDisplayMetadata *from, struct media_hdr *out)
{
    const int64_t unit = 50000, lux = 10000, most = 10000 * lux;
    if (!from->has_primaries || !from->has_luminance)
        return false;
    for (int i = 0; i < 6; i++) {
        int64_t at = scaled(from->display_primaries[i / 2][i % 2], unit, unit);
        out->primaries[i / 2][i % 2] = (int32_t)at;
        if (at < 0)
            return false;
    }
    for (int i = 0; i < 2; i++) {
        int64_t at = scaled(from->white_point[i], unit, unit);
        out->white[i] = (int32_t)at;
        if (at < 0)
            return false;
    }
    out->luminance_max = scaled(from->max_luminance, lux, most);
    out->luminance_min = scaled(from->min_luminance, lux, most);
    return out->luminance_min >= 0 && out->luminance_max > out->luminance_min;
}

void media_color_hdr(const AVMasteringDisplayMetadata *mastering,
                     const AVContentLightMetadata *light, struct media_hdr *out)
{
    struct media_hdr found = *out;
    if (mastering && !out->mastering && mastering_take(mastering, &found)) {
        found.mastering = true;
        *out = found;
    }
    /* Two zeros say nothing. */
    if (light && !out->light && (light->MaxCLL || light->MaxFALL) && light->MaxCLL <= UINT16_MAX &&
        light->MaxFALL <= UINT16_MAX) {
        out->light = true;
        out->light_max_nits = (int32_t)light->MaxCLL;
        out->light_average_nits = (int32_t)light->MaxFALL;
    }
}

void media_color_frame_hdr(const AVFrame *frame, struct media_hdr *out)
{
    const AVFrameSideData *mastering =
        av_frame_get_side_data(frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    const AVFrameSideData *light = av_frame_get_side_data(frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    media_color_hdr(
        mastering && mastering->size >= sizeof(AVMasteringDisplayMetadata)
            ? (const void *)mastering->data
            : NULL,
        light && light->size >= sizeof(AVContentLightMetadata) ? (const void *)light->data : NULL,
        out);
}
