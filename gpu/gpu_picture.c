#include "gpu/gpu_picture.h"

#include <libavutil/hwcontext.h>

#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_scale.h"

/* Rows begin at multiples of this, as libavutil's own surfaces do. */
#define ROWS_ALIGN 256

int gpu_picture_format(const AVFrame *frame)
{
    if (frame->format != AV_PIX_FMT_CUDA)
        return frame->format;
    return frame->hw_frames_ctx
               ? (int)((const AVHWFramesContext *)(const void *)frame->hw_frames_ctx->data)
                     ->sw_format
               : (int)AV_PIX_FMT_NONE;
}

bool gpu_picture_layout(int format, enum hal_layout *out)
{
    switch (format) {
    case AV_PIX_FMT_NV12:
        *out = HAL_NV12;
        return true;
    case AV_PIX_FMT_YUV420P:
    case AV_PIX_FMT_YUVJ420P:
        *out = HAL_I420;
        return true;
    case AV_PIX_FMT_P010LE:
        *out = HAL_P010;
        return true;
    case AV_PIX_FMT_YUV420P10LE:
        *out = HAL_I420_10;
        return true;
    default:
        return false;
    }
}

void gpu_picture_shape(enum hal_layout layout, int32_t width, int32_t height,
                       struct gpu_picture *out)
{
    int32_t sample = gpu_layout_is_wide(layout) ? 2 : 1;
    int32_t half = (width + 1) / 2;
    bool mixed = gpu_layout_is_interleaved(layout);
    *out = (struct gpu_picture){
        .bytes = {width * sample, half * sample * (mixed ? 2 : 1), mixed ? 0 : half * sample},
        .rows = {height, (height + 1) / 2, mixed ? 0 : (height + 1) / 2},
    };
}

int gpu_picture_lend(const AVFrame *surface, struct gpu_picture *shaped, struct sl_failure *why)
{
    for (int p = 0; p < 3 && shaped->rows[p]; p++) {
        shaped->at.planes[p] = (gpu_u64)(uintptr_t)surface->data[p];
        shaped->at.strides[p] = surface->linesize[p];
        /* The kernels fetch 16 bytes at a time. */
        if (shaped->at.planes[p] % 16 || shaped->at.strides[p] % 16)
            return sl_fail(why, SL_EUNSUPPORTED,
                           "the decoder's surfaces are not aligned to 16 bytes");
    }
    return SL_OK;
}

int gpu_room_need(const struct gpu_driver *driver, struct gpu_room *room, size_t bytes,
                  struct sl_failure *why)
{
    CUdeviceptr at = 0;
    if (bytes <= room->bytes)
        return SL_OK;
    gpu_room_free(driver, room);
    CUresult result = driver->cuda->cuMemAlloc(&at, bytes);
    if (result != CUDA_SUCCESS)
        return gpu_fail(why, GPU_CUDA, (int)result, "no memory for a picture on the GPU");
    *room = (struct gpu_room){at, bytes};
    return SL_OK;
}

void gpu_room_free(const struct gpu_driver *driver, struct gpu_room *room)
{
    if (room->at)
        driver->cuda->cuMemFree(room->at);
    *room = (struct gpu_room){0};
}

static int plane_copy(const struct gpu_driver *driver, const AVFrame *from, int plane,
                      const struct gpu_picture *to)
{
    bool surface = from->format == AV_PIX_FMT_CUDA;
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = surface ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
        .srcPitch = (size_t)from->linesize[plane],
        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
        .dstDevice = to->at.planes[plane],
        .dstPitch = (size_t)to->at.strides[plane],
        .WidthInBytes = (size_t)to->bytes[plane],
        .Height = (size_t)to->rows[plane],
    };
    if (!surface) {
        copy.srcHost = from->data[plane];
        return (int)driver->cuda->cuMemcpy2D(&copy);
    }
    copy.srcDevice = (CUdeviceptr)(uintptr_t)from->data[plane];
    return (int)driver->cuda->cuMemcpy2DAsync(&copy, NULL);
}

int gpu_picture_copy(const struct gpu_driver *driver, const AVFrame *from, struct gpu_room *room,
                     struct gpu_picture *shaped, struct sl_failure *why)
{
    size_t offsets[3], whole = 0;
    for (int p = 0; p < 3; p++) {
        shaped->at.strides[p] = (shaped->bytes[p] + ROWS_ALIGN - 1) / ROWS_ALIGN * ROWS_ALIGN;
        offsets[p] = whole;
        whole += (size_t)shaped->at.strides[p] * (size_t)shaped->rows[p];
    }
    int code = gpu_room_need(driver, room, whole, why);
    for (int p = 0; p < 3 && shaped->rows[p] && code == SL_OK; p++) {
        shaped->at.planes[p] = room->at + offsets[p];
        int result = plane_copy(driver, from, p, shaped);
        if (result != CUDA_SUCCESS)
            code = gpu_fail(why, GPU_CUDA, result, "a picture does not reach the GPU");
    }
    return code;
}

int gpu_picture_missing(const struct gpu_driver *driver, int32_t width, int32_t height, int rc,
                        struct sl_failure *why)
{
    CUresult result = driver->cuda->cuStreamSynchronize(NULL);
    return result == CUDA_SUCCESS
               ? sl_fail(why, SL_ESESSIONS, "the GPU has no memory for pictures of %dx%d (%d)",
                         width, height, rc)
               : gpu_fail(why, GPU_CUDA, (int)result, "the GPU gives no memory for pictures");
}

int gpu_picture_pool(const struct gpu_driver *driver, AVBufferRef *context, enum hal_layout layout,
                     int32_t width, int32_t height, AVBufferRef **out, struct sl_failure *why)
{
    AVBufferRef *pool = av_hwframe_ctx_alloc(context);
    int rc = AVERROR(ENOMEM);
    if (pool) {
        AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
        frames->format = AV_PIX_FMT_CUDA;
        frames->sw_format = layout == HAL_P010 ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12;
        frames->width = width;
        frames->height = height;
        rc = av_hwframe_ctx_init(pool);
    }
    if (rc >= 0) {
        *out = pool;
        return SL_OK;
    }
    av_buffer_unref(&pool);
    return gpu_picture_missing(driver, width, height, rc, why);
}
