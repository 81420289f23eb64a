#include "cpu/cpu_scale.h"

#include <libavutil/cpu.h>
#include <libavutil/imgutils.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include <zimg.h>

#define H273_UNSPECIFIED 2

/* What of a source frame decides the graph. */
struct geometry {
    int format;
    int width, height;
    int primaries, transfer, matrix;
    int chroma_location;
    bool full_range;
};

static const struct {
    enum AVPixelFormat format, planar;
} formats[HAL_LAYOUT_COUNT] = {
    [HAL_I420] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P},
    [HAL_I420_10] = {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV420P10LE},
    [HAL_NV12] = {AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P},
    [HAL_P010] = {AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P10LE},
};

struct cpu_scale {
    struct geometry from;
    struct cpu_scale_target target;
    enum AVPixelFormat into_format;
    enum AVPixelFormat planar_format; /* into_format with chroma in two planes, as zimg writes it */
    int align;
    bool copy;
    zimg_filter_graph *graph;
    void *scratch;
    AVFrame *
        aligned_from; /* when a decoder's planes are not as zimg reads them: aligned, with whole chroma samples */
    AVFrame *aligned_into;
    AVFrame *planar; /* chroma (with P010 luma too) before it is packed */
};

static struct geometry geometry_of(const AVFrame *frame)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    bool rgb = desc && desc->flags & AV_PIX_FMT_FLAG_RGB;
    bool full = frame->color_range == AVCOL_RANGE_JPEG ||
                (rgb && frame->color_range != AVCOL_RANGE_MPEG) ||
                frame->format == AV_PIX_FMT_YUVJ420P || frame->format == AV_PIX_FMT_YUVJ422P ||
                frame->format == AV_PIX_FMT_YUVJ444P || frame->format == AV_PIX_FMT_YUVJ440P ||
                frame->format == AV_PIX_FMT_YUVJ411P;
    return (struct geometry){
        .format = frame->format,
        .width = frame->width,
        .height = frame->height,
        .primaries = (int)frame->color_primaries,
        .transfer = (int)frame->color_trc,
        .matrix = rgb ? (int)AVCOL_SPC_RGB : (int)frame->colorspace,
        .chroma_location = (int)frame->chroma_location,
        .full_range = full,
    };
}

static zimg_chroma_location_e chroma_location(int location)
{
    switch (location) {
    case AVCHROMA_LOC_CENTER:
        return ZIMG_CHROMA_CENTER;
    case AVCHROMA_LOC_TOPLEFT:
        return ZIMG_CHROMA_TOP_LEFT;
    case AVCHROMA_LOC_TOP:
        return ZIMG_CHROMA_TOP;
    case AVCHROMA_LOC_BOTTOMLEFT:
        return ZIMG_CHROMA_BOTTOM_LEFT;
    case AVCHROMA_LOC_BOTTOM:
        return ZIMG_CHROMA_BOTTOM;
    default:
        return ZIMG_CHROMA_LEFT;
    }
}

static bool format_readable(const AVPixFmtDescriptor *desc)
{
    const uint64_t never = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                           AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
    if (!desc || (desc->flags & never) || desc->comp[0].depth < 8 || desc->comp[0].shift)
        return false;
    if (desc->nb_components <= 2)
        return desc->nb_components == 1;
    if (!(desc->flags & AV_PIX_FMT_FLAG_PLANAR) || desc->log2_chroma_w > 2 ||
        desc->log2_chroma_h > 2)
        return false;
    return desc->comp[0].plane != desc->comp[1].plane &&
           desc->comp[1].plane != desc->comp[2].plane && desc->comp[2].plane != desc->comp[0].plane;
}

static int pick(int source, int target)
{
    return source == H273_UNSPECIFIED || target == H273_UNSPECIFIED ? source : target;
}

static void describe(zimg_image_format *out, const AVPixFmtDescriptor *desc, int width, int height,
                     bool full_range)
{
    zimg_image_format_default(out, ZIMG_API_VERSION);
    out->width = (unsigned)width;
    out->height = (unsigned)height;
    out->pixel_type = desc->comp[0].depth > 8 ? ZIMG_PIXEL_WORD : ZIMG_PIXEL_BYTE;
    out->depth = (unsigned)desc->comp[0].depth;
    out->pixel_range = full_range ? ZIMG_RANGE_FULL : ZIMG_RANGE_LIMITED;
    if (desc->flags & AV_PIX_FMT_FLAG_RGB) {
        out->color_family = ZIMG_COLOR_RGB;
    } else if (desc->nb_components >= 3) {
        out->color_family = ZIMG_COLOR_YUV;
        out->subsample_w = desc->log2_chroma_w;
        out->subsample_h = desc->log2_chroma_h;
    }
}

/* zimg has no halves of chroma samples: an odd picture is one more sample wide, which is not shown. */
static int whole(int size, int log2)
{
    return AV_CEIL_RSHIFT(size, log2) << log2;
}

static int graph_build(struct cpu_scale *scale, const AVPixFmtDescriptor *from_desc,
                       const AVPixFmtDescriptor *into_desc, struct sl_failure *why)
{
    const struct geometry *from = &scale->from;
    const struct cpu_scale_target *target = &scale->target;
    zimg_image_format src, dst;
    describe(&src, from_desc, whole(from->width, from_desc->log2_chroma_w),
             whole(from->height, from_desc->log2_chroma_h), from->full_range);
    src.active_region.left = src.active_region.top = 0;
    src.active_region.width = from->width;
    src.active_region.height = from->height;
    describe(&dst, into_desc, target->width, target->height, target->full_range);
    src.matrix_coefficients = (zimg_matrix_coefficients_e)from->matrix;
    src.transfer_characteristics = (zimg_transfer_characteristics_e)from->transfer;
    src.color_primaries = (zimg_color_primaries_e)from->primaries;
    src.chroma_location = chroma_location(from->chroma_location);
    dst.matrix_coefficients = (zimg_matrix_coefficients_e)pick(from->matrix, target->color_matrix);
    dst.transfer_characteristics =
        (zimg_transfer_characteristics_e)pick(from->transfer, target->color_transfer);
    dst.color_primaries = (zimg_color_primaries_e)pick(from->primaries, target->color_primaries);
    dst.chroma_location = ZIMG_CHROMA_LEFT;
    if (src.color_family == ZIMG_COLOR_GREY) {
        /* Luma alone has no matrix to convert; the chroma planes are filled in cpu_scale_run. */
        dst.color_family = ZIMG_COLOR_GREY;
        dst.subsample_w = dst.subsample_h = 0;
        src.matrix_coefficients = dst.matrix_coefficients = ZIMG_MATRIX_UNSPECIFIED;
        src.transfer_characteristics = dst.transfer_characteristics = ZIMG_TRANSFER_UNSPECIFIED;
        src.color_primaries = dst.color_primaries = ZIMG_PRIMARIES_UNSPECIFIED;
    }

    zimg_graph_builder_params params;
    zimg_graph_builder_params_default(&params, ZIMG_API_VERSION);
    params.resample_filter = params.resample_filter_uv = ZIMG_RESIZE_BICUBIC;
    /* Catmull-Rom: keeps edges that zimg's own default (Mitchell) softens. */
    params.filter_param_a = params.filter_param_a_uv = 0.0;
    params.filter_param_b = params.filter_param_b_uv = 0.5;
    params.dither_type = src.depth > dst.depth ? ZIMG_DITHER_ORDERED : ZIMG_DITHER_NONE;
    params.cpu_type = ZIMG_CPU_AUTO_64B;

    zimg_clear_last_error();
    scale->graph = zimg_filter_graph_build(&src, &dst, &params);
    size_t scratch_bytes = 0;
    if (!scale->graph || zimg_filter_graph_get_tmp_size(scale->graph, &scratch_bytes)) {
        char text[160] = "";
        zimg_get_last_error(text, sizeof text);
        return sl_fail(why, SL_EUNSUPPORTED, "zimg cannot turn %s %dx%d into %s %dx%d: %s",
                       from_desc->name, from->width, from->height, into_desc->name, target->width,
                       target->height, text);
    }
    scale->scratch = av_malloc(scratch_bytes ? scratch_bytes : 1);
    if (!scale->scratch)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of scaling scratch", scratch_bytes);
    return SL_OK;
}

int cpu_scale_open(const AVFrame *like, const struct cpu_scale_target *target,
                   struct cpu_scale **out, struct sl_failure *why)
{
    const AVPixFmtDescriptor *from_desc = av_pix_fmt_desc_get((enum AVPixelFormat)like->format);
    if (!format_readable(from_desc))
        return sl_fail(
            why, SL_EUNSUPPORTED,
            "pixel format %s cannot be scaled on the CPU; planar YUV of 8 to 16 bits can",
            from_desc ? from_desc->name : "unknown");
    if (target->layout < 0 || target->layout >= HAL_LAYOUT_COUNT || target->width <= 0 ||
        target->height <= 0 || target->width % 2 || target->height % 2)
        return sl_fail(why, SL_EINVAL, "a scaled picture has an even size, not layout %d of %dx%d",
                       (int)target->layout, target->width, target->height);
    if (like->width <= 0 || like->height <= 0)
        return sl_fail(why, SL_EINVAL, "a picture of %dx%d cannot be scaled", like->width,
                       like->height);

    struct cpu_scale *scale = calloc(1, sizeof *scale);
    if (!scale)
        return sl_fail(why, SL_ENOMEM, "no memory for a scaler");
    scale->from = geometry_of(like);
    scale->target = *target;
    scale->into_format = formats[target->layout].format;
    scale->planar_format = formats[target->layout].planar;
    scale->align = (int)av_cpu_max_align();
    const struct geometry *from = &scale->from;
    const AVPixFmtDescriptor *into_desc = av_pix_fmt_desc_get(scale->planar_format);
    scale->copy = from_desc->nb_components == 3 &&
                  from_desc->comp[0].depth == into_desc->comp[0].depth &&
                  from_desc->log2_chroma_w == 1 && from_desc->log2_chroma_h == 1 &&
                  from->width == target->width && from->height == target->height &&
                  from->full_range == target->full_range &&
                  pick(from->matrix, target->color_matrix) == from->matrix &&
                  pick(from->transfer, target->color_transfer) == from->transfer &&
                  pick(from->primaries, target->color_primaries) == from->primaries &&
                  chroma_location(from->chroma_location) == ZIMG_CHROMA_LEFT;
    int rc = scale->copy ? SL_OK : graph_build(scale, from_desc, into_desc, why);
    if (rc < 0) {
        cpu_scale_close(&scale);
        return rc;
    }
    *out = scale;
    return SL_OK;
}

bool cpu_scale_fits(const struct cpu_scale *scale, const AVFrame *frame)
{
    struct geometry g = geometry_of(frame);
    const struct geometry *f = &scale->from;
    return g.format == f->format && g.width == f->width && g.height == f->height &&
           g.primaries == f->primaries && g.transfer == f->transfer && g.matrix == f->matrix &&
           g.chroma_location == f->chroma_location && g.full_range == f->full_range;
}

bool cpu_scale_is_copy(const struct cpu_scale *scale)
{
    return scale->copy && scale->planar_format == scale->into_format;
}

static bool is_aligned(const AVFrame *frame, int planes, int align)
{
    for (int i = 0; i < planes; i++)
        if ((uintptr_t)frame->data[i] % (uintptr_t)align || frame->linesize[i] % align)
            return false;
    return true;
}

/* A frame of our own whose planes zimg accepts. */
static AVFrame *stand_in(AVFrame **kept, int format, int width, int height, int align)
{
    if (!*kept) {
        AVFrame *frame = av_frame_alloc();
        if (!frame)
            return NULL;
        frame->format = format;
        frame->width = width;
        frame->height = height;
        if (av_frame_get_buffer(frame, align) < 0)
            av_frame_free(&frame);
        *kept = frame;
    }
    return *kept;
}

static void planes_copy(AVFrame *into, const AVFrame *from)
{
    av_image_copy(into->data, into->linesize, (const uint8_t **)from->data, from->linesize,
                  (enum AVPixelFormat)into->format, from->width, from->height);
}

/* Luma up to the end of the last chroma sample is that of the edge. */
static void edges_repeat(AVFrame *into, const AVFrame *from, const AVPixFmtDescriptor *desc)
{
    size_t sample = desc->comp[0].depth > 8 ? 2 : 1;
    for (int y = 0; y < into->height; y++) {
        uint8_t *row = into->data[0] + (ptrdiff_t)y * into->linesize[0];
        if (y >= from->height)
            memcpy(row, row - into->linesize[0], (size_t)into->width * sample);
        for (int x = from->width; x < into->width; x++)
            memcpy(row + (size_t)x * sample, row + (size_t)(x - 1) * sample, sample);
    }
}

static void chroma_fill_grey(AVFrame *into, bool deep)
{
    for (int plane = 1; plane < 3; plane++)
        for (int y = 0; y < into->height / 2; y++) {
            uint8_t *row = into->data[plane] + (ptrdiff_t)y * into->linesize[plane];
            if (!deep)
                memset(row, 128, (size_t)into->width / 2);
            else
                for (int x = 0; x < into->width / 2; x++)
                    ((uint16_t *)(void *)row)[x] = 512;
        }
}

/* Chroma into pairs; P010 has its ten bits at the top of sixteen. */
static void planes_pack(AVFrame *into, const AVFrame *planar)
{
    for (int y = 0; into->format == AV_PIX_FMT_P010LE && y < into->height; y++) {
        uint16_t *out = (void *)(into->data[0] + (ptrdiff_t)y * into->linesize[0]);
        const uint16_t *luma = (const void *)(planar->data[0] + (ptrdiff_t)y * planar->linesize[0]);
        for (int x = 0; x < into->width; x++)
            out[x] = (uint16_t)(luma[x] << 6);
    }
    for (int y = 0; y < into->height / 2; y++) {
        uint8_t *out = into->data[1] + (ptrdiff_t)y * into->linesize[1];
        const uint8_t *u = planar->data[1] + (ptrdiff_t)y * planar->linesize[1];
        const uint8_t *v = planar->data[2] + (ptrdiff_t)y * planar->linesize[2];
        if (into->format == AV_PIX_FMT_NV12)
            for (int x = 0; x < into->width / 2; x++) {
                out[2 * x] = u[x];
                out[2 * x + 1] = v[x];
            }
        else
            for (int x = 0; x < into->width / 2; x++) {
                ((uint16_t *)(void *)out)[2 * x] =
                    (uint16_t)(((const uint16_t *)(const void *)u)[x] << 6);
                ((uint16_t *)(void *)out)[2 * x + 1] =
                    (uint16_t)(((const uint16_t *)(const void *)v)[x] << 6);
            }
    }
}

static int picture_scale(struct cpu_scale *scale, const AVFrame *from, AVFrame *into,
                         struct sl_failure *why);

/* Scaled or copied in planes first; of NV12 the luma is written where it belongs at once. */
static int picture_pack(struct cpu_scale *scale, const AVFrame *from, AVFrame *into,
                        struct sl_failure *why)
{
    AVFrame *planar = stand_in(&scale->planar, (int)scale->planar_format, into->width, into->height,
                               scale->align);
    if (!planar)
        return sl_fail(why, SL_ENOMEM, "no memory for a picture in planes");
    uint8_t *luma = planar->data[0];
    int stride = planar->linesize[0];
    if (into->format == AV_PIX_FMT_NV12) {
        planar->data[0] = into->data[0];
        planar->linesize[0] = into->linesize[0];
    }
    int code = picture_scale(scale, from, planar, why);
    if (code == SL_OK)
        planes_pack(into, planar);
    planar->data[0] = luma;
    planar->linesize[0] = stride;
    return code;
}

int cpu_scale_run(struct cpu_scale *scale, const AVFrame *from, AVFrame *into,
                  struct sl_failure *why)
{
    if (into->format != (int)scale->into_format || into->width != scale->target.width ||
        into->height != scale->target.height || !into->data[0])
        return sl_fail(why, SL_EINVAL, "the picture to scale into is no %s of %dx%d",
                       av_get_pix_fmt_name(scale->into_format), scale->target.width,
                       scale->target.height);
    if (!cpu_scale_fits(scale, from))
        return sl_fail(why, SL_EINVAL, "the source changed to %s %dx%d; open another scaler",
                       av_get_pix_fmt_name((enum AVPixelFormat)from->format), from->width,
                       from->height);
    return scale->planar_format == scale->into_format ? picture_scale(scale, from, into, why)
                                                      : picture_pack(scale, from, into, why);
}

static int picture_scale(struct cpu_scale *scale, const AVFrame *from, AVFrame *into,
                         struct sl_failure *why)
{
    if (scale->copy) {
        planes_copy(into, from);
        return SL_OK;
    }

    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)from->format);
    bool grey = desc->nb_components < 3;
    int planes = grey ? 1 : 3;
    const AVFrame *src = from;
    AVFrame *dst = into;
    int width = whole(from->width, desc->log2_chroma_w);
    int height = whole(from->height, desc->log2_chroma_h);
    if (!is_aligned(from, planes, scale->align) || width != from->width || height != from->height) {
        AVFrame *copy = stand_in(&scale->aligned_from, from->format, width, height, scale->align);
        if (!copy)
            return sl_fail(why, SL_ENOMEM, "no memory for an aligned picture");
        planes_copy(copy, from);
        edges_repeat(copy, from, desc);
        src = copy;
    }
    if (!is_aligned(into, planes, scale->align)) {
        dst = stand_in(&scale->aligned_into, into->format, into->width, into->height, scale->align);
        if (!dst)
            return sl_fail(why, SL_ENOMEM, "no memory for an aligned picture");
    }

    zimg_image_buffer_const in = {.version = ZIMG_API_VERSION};
    zimg_image_buffer out = {.version = ZIMG_API_VERSION};
    for (int i = 0; i < planes; i++) {
        /* zimg has R, G, B in this order; libav's planar RGB lies as G, B, R. */
        int plane = desc->comp[i].plane;
        in.plane[i].data = src->data[plane];
        in.plane[i].stride = src->linesize[plane];
        in.plane[i].mask = ZIMG_BUFFER_MAX;
        out.plane[i].data = dst->data[i];
        out.plane[i].stride = dst->linesize[i];
        out.plane[i].mask = ZIMG_BUFFER_MAX;
    }
    if (zimg_filter_graph_process(scale->graph, &in, &out, scale->scratch, NULL, NULL, NULL,
                                  NULL)) {
        char text[160] = "";
        zimg_get_last_error(text, sizeof text);
        return sl_fail(why, SL_EINTERNAL, "zimg failed on a frame: %s", text);
    }
    if (grey)
        chroma_fill_grey(dst, scale->planar_format == AV_PIX_FMT_YUV420P10LE);
    if (dst != into)
        planes_copy(into, dst);
    return SL_OK;
}

void cpu_scale_close(struct cpu_scale **scale)
{
    if (!scale || !*scale)
        return;
    struct cpu_scale *s = *scale;
    zimg_filter_graph_free(s->graph);
    av_free(s->scratch);
    av_frame_free(&s->aligned_from);
    av_frame_free(&s->aligned_into);
    av_frame_free(&s->planar);
    free(s);
    *scale = NULL;
}
