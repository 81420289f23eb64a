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

bool media_color_is_hdr(const AVFrame *frame)
{
    return (int)frame->color_trc == MEDIA_COLOR_PQ || (int)frame->color_trc == MEDIA_COLOR_HLG;
}
