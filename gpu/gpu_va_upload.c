#include "gpu/gpu_va_upload.h"

#include <libavutil/hwcontext.h>
#include <string.h>

static bool is_ten_bit(enum hal_layout layout)
{
    return layout == HAL_P010 || layout == HAL_I420_10;
}

static int av_fail(struct sl_failure *why, int av, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(av, text, sizeof text);
    return sl_fail(why, av == AVERROR(ENOMEM) ? SL_ENOMEM : SL_EDEVICELOST, "VA-API: %s: %s (%d)",
                   what, text, av);
}

int gpu_va_pool_make(AVBufferRef *context, enum hal_layout layout, int32_t width, int32_t height,
                     AVBufferRef **out, struct sl_failure *why)
{
    AVBufferRef *pool = av_hwframe_ctx_alloc(context);
    if (!pool)
        return sl_fail(why, SL_ENOMEM, "no memory for a pool of surfaces");
    AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
    frames->format = AV_PIX_FMT_VAAPI;
    frames->sw_format = is_ten_bit(layout) ? AV_PIX_FMT_P010 : AV_PIX_FMT_NV12;
    frames->width = width;
    frames->height = height;
    int rc = av_hwframe_ctx_init(pool);
    if (rc < 0) {
        av_buffer_unref(&pool);
        return av_fail(why, rc, "no surfaces can be had");
    }
    *out = pool;
    return SL_OK;
}

static void rows_copy(uint8_t *to, ptrdiff_t to_stride, const uint8_t *from, size_t from_stride,
                      size_t row_bytes, int rows)
{
    for (int y = 0; y < rows; y++)
        memcpy(to + y * to_stride, from + (size_t)y * from_stride, row_bytes);
}

/* Samples side by side at step in out; ten bits go to the top of sixteen. */
static void row_spread(uint8_t *out, const uint8_t *in, int count, int step, bool deep)
{
    if (!deep) {
        for (int x = 0; x < count; x++)
            out[x * step] = in[x];
        return;
    }
    for (int x = 0; x < count; x++) {
        uint16_t sample;
        memcpy(&sample, in + (size_t)x * 2, 2);
        sample = (uint16_t)(sample << 6);
        memcpy(out + (size_t)x * (size_t)step * 2, &sample, 2);
    }
}

static void planes_put(const struct hal_frame *in, AVFrame *out)
{
    bool deep = is_ten_bit(in->layout);
    bool paired = in->layout == HAL_NV12 || in->layout == HAL_P010;
    size_t row_bytes = (size_t)in->width * (deep ? 2 : 1);
    int half_width = (in->width + 1) / 2, half_height = (in->height + 1) / 2;
    if (paired || !deep)
        rows_copy(out->data[0], out->linesize[0], in->planes[0], in->stride_bytes[0], row_bytes,
                  in->height);
    for (int y = 0; !paired && deep && y < in->height; y++)
        row_spread(out->data[0] + (ptrdiff_t)y * out->linesize[0],
                   in->planes[0] + (size_t)y * in->stride_bytes[0], in->width, 1, true);
    if (paired)
        rows_copy(out->data[1], out->linesize[1], in->planes[1], in->stride_bytes[1],
                  (size_t)half_width * (deep ? 4 : 2), half_height);
    for (int c = 1; !paired && c < 3; c++)
        for (int y = 0; y < half_height; y++)
            row_spread(out->data[1] + (ptrdiff_t)y * out->linesize[1] + (c - 1) * (deep ? 2 : 1),
                       in->planes[c] + (size_t)y * in->stride_bytes[c], half_width, 2, deep);
}

int gpu_va_upload(AVBufferRef *pool, const struct hal_frame *in, AVFrame *out,
                  struct sl_failure *why)
{
    AVFrame *map = av_frame_alloc();
    if (!map)
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    map->format = ((AVHWFramesContext *)(void *)pool->data)->sw_format;
    int rc = av_hwframe_get_buffer(pool, out, 0);
    if (rc >= 0)
        rc = av_hwframe_map(map, out, AV_HWFRAME_MAP_WRITE | AV_HWFRAME_MAP_OVERWRITE);
    if (rc >= 0)
        planes_put(in, map);
    av_frame_free(&map);
    if (rc >= 0)
        return SL_OK;
    av_frame_unref(out);
    return av_fail(why, rc, "a picture does not go into a surface");
}
