#include "gpu/gpu_agree.h"

#include <libavutil/hwcontext.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_measure.h"

#define SLACK_DB 0.01
/* What hal_golden_psnr says of equal pictures, and what stands here for infinite. */
#define EQUAL_DB 100.0

struct gpu_agree {
    AVBufferRef *context;
    AVFrame *host;
    AVFrame *surfaces[2];
    bool unsupported; /* the GPU is too old for kernels, say */
};

static AVFrame *surface_make(AVBufferRef *context, int32_t width, int32_t height)
{
    AVBufferRef *pool = av_hwframe_ctx_alloc(context);
    AVFrame *surface = av_frame_alloc();
    int rc = AVERROR(ENOMEM);
    if (pool && surface) {
        AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
        frames->format = AV_PIX_FMT_CUDA;
        frames->sw_format = AV_PIX_FMT_NV12;
        frames->width = width;
        frames->height = height;
        rc = av_hwframe_ctx_init(pool);
        if (rc >= 0)
            rc = av_hwframe_get_buffer(pool, surface, 0);
    }
    av_buffer_unref(&pool);
    if (rc < 0)
        av_frame_free(&surface);
    return surface;
}

int gpu_agree_open(const struct hal_device *device, int32_t width, int32_t height,
                   struct gpu_agree **out, struct sl_failure *why)
{
    if (device->kind != DEVICE_NVENC || !gpu_kernels_available())
        return SL_OK;
    struct gpu_agree *measure = calloc(1, sizeof *measure);
    if (!measure)
        return sl_fail(why, SL_ENOMEM, "no memory for golden pictures");
    *out = measure;
    int code = gpu_context(device->device_id, &measure->context, why);
    if (code != SL_OK)
        return code;
    measure->host = av_frame_alloc();
    if (measure->host) {
        measure->host->format = AV_PIX_FMT_NV12;
        measure->host->width = width;
        measure->host->height = height;
    }
    if (!measure->host || av_frame_get_buffer(measure->host, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for golden pictures");
    for (int i = 0; i < 2; i++) {
        measure->surfaces[i] = surface_make(measure->context, width, height);
        if (!measure->surfaces[i])
            return sl_fail(why, SL_ENOMEM, "the GPU has no memory for golden pictures");
    }
    return SL_OK;
}

static int picture_upload(const struct gpu_agree *measure, const struct hal_frame *from,
                          AVFrame *into, struct sl_failure *why)
{
    AVFrame *host = measure->host;
    for (int32_t y = 0; y < host->height; y++)
        memcpy(host->data[0] + (ptrdiff_t)y * host->linesize[0],
               from->planes[0] + (ptrdiff_t)y * from->stride_bytes[0], (size_t)host->width);
    for (int plane = 1; plane < 3; plane++)
        for (int32_t y = 0; y < host->height / 2; y++)
            for (int32_t x = 0; x < host->width / 2; x++)
                host->data[1][(ptrdiff_t)y * host->linesize[1] + 2 * x + plane - 1] =
                    from->planes[plane][(ptrdiff_t)y * from->stride_bytes[plane] + x];
    int rc = av_hwframe_transfer_data(into, host, 0);
    return rc >= 0
               ? SL_OK
               : sl_fail(why, SL_EDEVICELOST, "a golden picture does not reach the GPU (%d)", rc);
}

int gpu_agree_on(struct gpu_agree *measure, const struct hal_frame *want,
                 const struct hal_frame *got, double psnr, struct sl_failure *why)
{
    struct gpu_measure found;
    if (!measure || measure->unsupported)
        return SL_OK;
    if (want->layout != HAL_I420 || got->layout != HAL_I420 || got->width != measure->host->width ||
        got->height != measure->host->height)
        return sl_fail(why, SL_EINVAL, "golden pictures are compared in one size and layout");
    int code = picture_upload(measure, want, measure->surfaces[0], why);
    if (code == SL_OK)
        code = picture_upload(measure, got, measure->surfaces[1], why);
    if (code == SL_OK)
        code = gpu_measure_run(measure->context, measure->surfaces[0], measure->surfaces[1], &found,
                               why);
    if (code == SL_EUNSUPPORTED) {
        measure->unsupported = true;
        *why = (struct sl_failure){0};
        return SL_OK;
    }
    if (code != SL_OK)
        return code;
    double measured = isinf(found.psnr[0]) ? EQUAL_DB : found.psnr[0];
    return fabs(measured - psnr) <= SLACK_DB
               ? SL_OK
               : sl_fail(why, SL_EMISMATCH,
                         "the GPU's kernel measures a picture at %.2f dB that is at %.2f", measured,
                         psnr);
}

void gpu_agree_close(struct gpu_agree **measure)
{
    struct gpu_agree *m = *measure;
    if (!m)
        return;
    for (int i = 0; i < 2; i++)
        av_frame_free(&m->surfaces[i]);
    av_frame_free(&m->host);
    free(m);
    *measure = NULL;
}
