#include "media/media_frame.h"

#include <libavutil/hwcontext.h>
#include <libavutil/imgutils.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <libavutil/murmur3.h>
#include <libavutil/pixdesc.h>
#include <string.h>

bool media_frame_is_surface(const AVFrame *frame)
{
    return frame->hw_frames_ctx != NULL;
}

/* Chroma that lies U, V, U, V and samples that lie high in their words, as planes of low ones. */
static void planes_part(const AVFrame *from, AVFrame *into, bool deep)
{
    for (int y = 0; y < into->height; y++) {
        const uint8_t *row = from->data[0] + (ptrdiff_t)y * from->linesize[0];
        uint8_t *to = into->data[0] + (ptrdiff_t)y * into->linesize[0];
        if (!deep)
            memcpy(to, row, (size_t)into->width);
        else
            for (int x = 0; x < into->width; x++)
                AV_WL16(to + x * 2, AV_RL16(row + x * 2) >> 6);
    }
    for (int y = 0; y < (into->height + 1) / 2; y++) {
        const uint8_t *row = from->data[1] + (ptrdiff_t)y * from->linesize[1];
        for (int x = 0; x < (into->width + 1) / 2; x++)
            for (int plane = 1; plane < 3; plane++) {
                uint8_t *to = into->data[plane] + (ptrdiff_t)y * into->linesize[plane];
                int at = x * 2 + plane - 1;
                if (deep)
                    AV_WL16(to + x * 2, AV_RL16(row + at * 2) >> 6);
                else
                    to[x] = row[at];
            }
    }
}

AVFrame *media_frame_download(const AVFrame *surface, enum AVPixelFormat samples)
{
    bool deep = samples == AV_PIX_FMT_YUV420P10LE;
    AVFrame *mixed = av_frame_alloc(), *planar = av_frame_alloc();
    bool good = mixed && planar && av_hwframe_transfer_data(mixed, surface, 0) >= 0 &&
                mixed->format == (int)(deep ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12);
    if (good) {
        planar->format = samples;
        planar->width = surface->width;
        planar->height = surface->height;
        good = av_frame_get_buffer(planar, 0) >= 0 && av_frame_copy_props(planar, surface) >= 0;
    }
    if (good)
        planes_part(mixed, planar, deep);
    else
        av_frame_free(&planar);
    av_frame_free(&mixed);
    return planar;
}

static void hash_i64(struct AVMurMur3 *hash, int64_t value)
{
    uint8_t bytes[8];
    AV_WL64(bytes, (uint64_t)value);
    av_murmur3_update(hash, bytes, sizeof bytes);
}

uint64_t media_frame_hash(const AVFrame *frame)
{
    struct AVMurMur3 *hash = av_murmur3_alloc();
    if (!hash)
        return 0;
    av_murmur3_init(hash);
    hash_i64(hash, frame->width);
    hash_i64(hash, frame->height);
    hash_i64(hash, frame->format);
    hash_i64(hash, frame->pts);
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get(frame->format);
    int planes = av_pix_fmt_count_planes(frame->format);
    for (int plane = 0; shape && plane < planes; plane++) {
        int bytes = av_image_get_linesize(frame->format, frame->width, plane);
        bool chroma = plane == 1 || plane == 2;
        int rows = chroma ? AV_CEIL_RSHIFT(frame->height, shape->log2_chroma_h) : frame->height;
        const uint8_t *at = frame->data[plane];
        for (int row = 0; at && row < rows; row++, at += frame->linesize[plane])
            av_murmur3_update(hash, at, (size_t)bytes);
    }
    uint8_t digest[16];
    av_murmur3_final(hash, digest);
    av_free(hash);
    uint64_t value = AV_RL64(digest);
    return value ? value : 1;
}

bool media_frame_is_interlaced(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return frame->interlaced_frame != 0;
#endif
}

bool media_frame_is_top_first(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (frame->flags & AV_FRAME_FLAG_TOP_FIELD_FIRST) != 0;
#else
    return frame->top_field_first != 0;
#endif
}

void media_frame_say_fields(AVFrame *frame, bool top_first)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    frame->flags &= ~AV_FRAME_FLAG_TOP_FIELD_FIRST;
    frame->flags |= AV_FRAME_FLAG_INTERLACED | (top_first ? AV_FRAME_FLAG_TOP_FIELD_FIRST : 0);
#else
    frame->interlaced_frame = 1;
    frame->top_field_first = top_first;
#endif
}

static enum AVPixelFormat format_of(enum hal_layout layout)
{
    switch (layout) {
    case HAL_I420:
        return AV_PIX_FMT_YUV420P;
    case HAL_I420_10:
        return AV_PIX_FMT_YUV420P10LE;
    case HAL_NV12:
        return AV_PIX_FMT_NV12;
    case HAL_P010:
        return AV_PIX_FMT_P010LE;
    case HAL_LAYOUT_COUNT:
        break;
    }
    return AV_PIX_FMT_NONE;
}

void media_frame_view(const AVFrame *frame, enum hal_layout layout, struct hal_frame *out)
{
    *out = (struct hal_frame){.layout = layout, .width = frame->width, .height = frame->height};
    for (int i = 0; i < 3; i++) {
        out->planes[i] = frame->data[i];
        out->stride_bytes[i] = (size_t)frame->linesize[i];
    }
}

AVFrame *media_frame_make(enum hal_layout layout, int32_t width, int32_t height)
{
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        return NULL;
    frame->format = format_of(layout);
    frame->width = width;
    frame->height = height;
    if (av_frame_get_buffer(frame, 0) < 0)
        av_frame_free(&frame);
    return frame;
}
