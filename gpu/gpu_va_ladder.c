#include "gpu/gpu_va_ladder.h"

#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
#include <stdlib.h>
#include <va/va_vpp.h>

#include "gpu/gpu_va.h"
#include "gpu/gpu_va_upload.h"

struct va_rung {
    struct gpu_ladder_rung shape;
    AVBufferRef *pool;
    VAContextID context; /* VA_INVALID_ID: none */
};

struct gpu_va_ladder {
    AVBufferRef *device;
    VADisplay display;
    unsigned quirks;
    VAConfigID config; /* VA_INVALID_ID: none */
    struct gpu_ladder_params params;
    struct va_rung rungs[POLICY_RUNGS_MAX];
    AVBufferRef *uploads; /* for pictures of no rung's size */
    int32_t upload_width, upload_height;
    enum hal_layout upload_layout;
    AVFrame *uploaded;
};

static const struct {
    enum AVPixelFormat format;
    enum hal_layout layout;
} layouts[] = {
    {AV_PIX_FMT_YUV420P, HAL_I420},
    {AV_PIX_FMT_YUV420P10LE, HAL_I420_10},
    {AV_PIX_FMT_NV12, HAL_NV12},
    {AV_PIX_FMT_P010LE, HAL_P010},
};

static bool is_ten_bit(enum hal_layout layout)
{
    return layout == HAL_P010 || layout == HAL_I420_10;
}

static int va_fail(struct sl_failure *why, VAStatus status, const char *what)
{
    return sl_fail(why, SL_EDEVICELOST, "VA-API: %s: %s (%d)", what, vaErrorStr(status), status);
}

/* The layout of a picture, by its own format or its surface's. */
static bool layout_of(const AVFrame *frame, enum hal_layout *out)
{
    int format = frame->format;
    if (format == AV_PIX_FMT_VAAPI && frame->hw_frames_ctx)
        format = ((const AVHWFramesContext *)(const void *)frame->hw_frames_ctx->data)->sw_format;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if ((int)layouts[i].format == format) {
            *out = layouts[i].layout;
            return true;
        }
    return false;
}

/* 2 is "not told" on either side, and then stays as it is. */
static bool differ(int source, int32_t wanted)
{
    return wanted != 2 && source != 2 && source != wanted;
}

static int source_judge(const struct gpu_ladder_params *params, const AVFrame *from,
                        enum hal_layout *layout, struct sl_failure *why)
{
    if (!layout_of(from, layout))
        return sl_fail(why, SL_EUNSUPPORTED, "the device scales 4:2:0 of 8 and 10 bits alone");
    if (differ(from->color_primaries, params->color_primaries) ||
        differ(from->color_trc, params->color_transfer) ||
        differ(from->colorspace, params->color_matrix) ||
        (from->color_range == AVCOL_RANGE_JPEG) != params->full_range)
        return sl_fail(why, SL_EUNSUPPORTED, "the source's colour is to be converted");
    for (int32_t i = 0; i < params->rung_count; i++)
        if (is_ten_bit(params->rungs[i].layout) != is_ten_bit(*layout))
            return sl_fail(why, SL_EUNSUPPORTED, "the source's depth is to be converted");
    return SL_OK;
}

static int rung_open(struct gpu_va_ladder *ladder, const struct gpu_ladder_rung *shape,
                     struct va_rung *rung, struct sl_failure *why)
{
    rung->shape = *shape;
    int code = gpu_va_pool_make(ladder->device, shape->layout, shape->width, shape->height,
                                &rung->pool, why);
    if (code != SL_OK)
        return code;
    VAStatus status = vaCreateContext(ladder->display, ladder->config, shape->width, shape->height,
                                      VA_PROGRESSIVE, NULL, 0, &rung->context);
    return status == VA_STATUS_SUCCESS ? SL_OK : va_fail(why, status, "no scaler can be had");
}

int gpu_va_ladder_open(AVBufferRef *context, const AVFrame *like,
                       const struct gpu_ladder_params *params, struct gpu_va_ladder **out,
                       struct sl_failure *why)
{
    enum hal_layout layout;
    int code = source_judge(params, like, &layout, why);
    if (code != SL_OK)
        return code;
    VADisplay display = gpu_va_display(context);
    if (!gpu_va_scales(display))
        return sl_fail(why, SL_EUNSUPPORTED, "the VA driver does not scale");
    struct gpu_va_ladder *ladder = calloc(1, sizeof *ladder);
    if (!ladder)
        return sl_fail(why, SL_ENOMEM, "no memory for a ladder");
    const AVHWDeviceContext *device = (const AVHWDeviceContext *)(const void *)context->data;
    ladder->display = display;
    ladder->quirks = ((const AVVAAPIDeviceContext *)device->hwctx)->driver_quirks;
    ladder->config = VA_INVALID_ID;
    ladder->params = *params;
    for (int32_t i = 0; i < POLICY_RUNGS_MAX; i++)
        ladder->rungs[i].context = VA_INVALID_ID;
    ladder->device = av_buffer_ref(context);
    ladder->uploaded = av_frame_alloc();
    if (!ladder->device || !ladder->uploaded)
        code = sl_fail(why, SL_ENOMEM, "no memory for a ladder");
    if (code == SL_OK) {
        VAStatus status =
            vaCreateConfig(display, VAProfileNone, VAEntrypointVideoProc, NULL, 0, &ladder->config);
        if (status != VA_STATUS_SUCCESS)
            code = va_fail(why, status, "no scaler can be had");
    }
    for (int32_t i = 0; code == SL_OK && i < params->rung_count; i++)
        code = rung_open(ladder, &params->rungs[i], &ladder->rungs[i], why);
    if (code == SL_OK)
        *out = ladder;
    else
        gpu_va_ladder_close(&ladder);
    return code;
}

AVBufferRef *gpu_va_ladder_surfaces(const struct gpu_va_ladder *ladder, int32_t rung)
{
    return ladder->rungs[rung].pool;
}

/* ---- one picture ---- */

/* Of the rung that has the picture's size, so that it needs no scaling; else a pool for pictures of that size. */
static int upload_pool(struct gpu_va_ladder *ladder, const AVFrame *from, enum hal_layout layout,
                       AVBufferRef **out, struct sl_failure *why)
{
    for (int32_t i = 0; i < ladder->params.rung_count; i++)
        if (ladder->rungs[i].shape.width == from->width &&
            ladder->rungs[i].shape.height == from->height) {
            *out = ladder->rungs[i].pool;
            return SL_OK;
        }
    if (!ladder->uploads || ladder->upload_width != from->width ||
        ladder->upload_height != from->height || ladder->upload_layout != layout) {
        av_buffer_unref(&ladder->uploads);
        int code = gpu_va_pool_make(ladder->device, layout, from->width, from->height,
                                    &ladder->uploads, why);
        if (code != SL_OK)
            return code;
        ladder->upload_width = from->width;
        ladder->upload_height = from->height;
        ladder->upload_layout = layout;
    }
    *out = ladder->uploads;
    return SL_OK;
}

/* ladder->uploaded becomes the picture as a surface. */
static int source_take(struct gpu_va_ladder *ladder, const AVFrame *from, struct sl_failure *why)
{
    enum hal_layout layout;
    AVBufferRef *pool;
    int code = source_judge(&ladder->params, from, &layout, why);
    if (code != SL_OK)
        return code;
    if (from->format == AV_PIX_FMT_VAAPI)
        return av_frame_ref(ladder->uploaded, from) < 0
                   ? sl_fail(why, SL_ENOMEM, "no memory for a frame")
                   : SL_OK;
    code = upload_pool(ladder, from, layout, &pool, why);
    if (code != SL_OK)
        return code;
    struct hal_frame view = {.layout = layout, .width = from->width, .height = from->height};
    for (int i = 0; i < 3; i++) {
        view.planes[i] = from->data[i];
        view.stride_bytes[i] = (size_t)from->linesize[i];
    }
    return gpu_va_upload(pool, &view, ladder->uploaded, why);
}

static VASurfaceID surface_of(const AVFrame *frame)
{
    return (VASurfaceID)(uintptr_t)frame->data[3];
}

static int scale(struct gpu_va_ladder *ladder, const struct va_rung *rung, AVFrame *to,
                 struct sl_failure *why)
{
    const AVFrame *from = ladder->uploaded;
    /* A decoder leaves what is to be cut at the left and the top of a surface to whom it is for. */
    VARectangle in = {
        .x = (int16_t)from->crop_left,
        .y = (int16_t)from->crop_top,
        .width = (uint16_t)((size_t)from->width - from->crop_left),
        .height = (uint16_t)((size_t)from->height - from->crop_top),
    };
    VARectangle out = {.width = (uint16_t)to->width, .height = (uint16_t)to->height};
    VAProcPipelineParameterBuffer how = {
        .surface = surface_of(from),
        .surface_region = &in,
        .output_region = &out,
        .output_background_color = 0xff000000,
        .filter_flags = VA_FRAME_PICTURE | VA_FILTER_SCALING_HQ,
    };
    VABufferID buffer;
    VAStatus status =
        vaCreateBuffer(ladder->display, rung->context, VAProcPipelineParameterBufferType,
                       sizeof how, 1, &how, &buffer);
    if (status != VA_STATUS_SUCCESS)
        return va_fail(why, status, "scaling failed");
    status = vaBeginPicture(ladder->display, rung->context, surface_of(to));
    bool begun = status == VA_STATUS_SUCCESS;
    if (begun)
        status = vaRenderPicture(ladder->display, rung->context, &buffer, 1);
    bool rendered = begun && status == VA_STATUS_SUCCESS;
    if (begun) {
        VAStatus ended = vaEndPicture(ladder->display, rung->context);
        status = status == VA_STATUS_SUCCESS ? ended : status;
    }
    /* Some drivers take the buffer with the picture, others leave it. */
    if (!rendered || ladder->quirks & AV_VAAPI_DRIVER_QUIRK_RENDER_PARAM_BUFFERS)
        vaDestroyBuffer(ladder->display, buffer);
    return status == VA_STATUS_SUCCESS ? SL_OK : va_fail(why, status, "scaling failed");
}

static int rung_make(struct gpu_va_ladder *ladder, const struct va_rung *rung, AVFrame *out,
                     struct sl_failure *why)
{
    const AVBufferRef *pool = ladder->uploaded->hw_frames_ctx;
    if (pool && pool->data == rung->pool->data)
        return av_frame_ref(out, ladder->uploaded) < 0
                   ? sl_fail(why, SL_ENOMEM, "no memory for a frame")
                   : SL_OK;
    int rc = av_hwframe_get_buffer(rung->pool, out, 0);
    if (rc < 0)
        return sl_fail(why, SL_EDEVICELOST, "VA-API: no surface of %dx%d can be had (%d)",
                       rung->shape.width, rung->shape.height, rc);
    int code = scale(ladder, rung, out, why);
    if (code != SL_OK)
        av_frame_unref(out);
    return code;
}

int gpu_va_ladder_run(struct gpu_va_ladder *ladder, const AVFrame *from, AVFrame *const *out,
                      struct sl_failure *why)
{
    int code = source_take(ladder, from, why);
    for (int32_t i = 0; code == SL_OK && i < ladder->params.rung_count; i++)
        if (out[i])
            code = rung_make(ladder, &ladder->rungs[i], out[i], why);
    av_frame_unref(ladder->uploaded);
    return code;
}

void gpu_va_ladder_close(struct gpu_va_ladder **ladder)
{
    if (!ladder || !*ladder)
        return;
    struct gpu_va_ladder *l = *ladder;
    for (int32_t i = 0; i < l->params.rung_count; i++) {
        if (l->rungs[i].context != VA_INVALID_ID)
            vaDestroyContext(l->display, l->rungs[i].context);
        av_buffer_unref(&l->rungs[i].pool);
    }
    if (l->config != VA_INVALID_ID)
        vaDestroyConfig(l->display, l->config);
    av_buffer_unref(&l->uploads);
    av_frame_free(&l->uploaded);
    av_buffer_unref(&l->device);
    free(l);
    *ladder = NULL;
}
