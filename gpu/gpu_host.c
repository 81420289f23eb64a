#include "gpu/gpu_host.h"

#include <libavutil/buffer.h>
#include <libavutil/hwcontext.h>
#include <stdlib.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_scale.h"

/* Rows begin where encoders' vector code likes them to; the kernel needs no more than 8. */
#define ROW_ALIGN 64

static const enum AVPixelFormat formats[HAL_LAYOUT_COUNT] = {
    [HAL_I420] = AV_PIX_FMT_YUV420P,
    [HAL_I420_10] = AV_PIX_FMT_YUV420P10LE,
    [HAL_NV12] = AV_PIX_FMT_NV12,
    [HAL_P010] = AV_PIX_FMT_P010LE,
};

struct gpu_host {
    const struct gpu_driver *driver;
    enum hal_layout layout;
    int32_t width, height;
    int32_t strides[2];
    size_t offsets[3]; /* of planes; of one that is not there: the end */
    size_t bytes;
    CUdeviceptr made;
    AVBufferPool *pool;
};

/* ---- host memory ---- */

/* What pinned memory is given back with; the pool's, so that it lasts as long as the last picture. */
struct pinner {
    const struct gpu_driver *driver;
    AVBufferRef *context;
};

static void pinned_free(void *opaque, uint8_t *data)
{
    struct pinner *pinner = opaque;
    struct sl_failure why = {0};
    if (gpu_context_enter(pinner->context, &why) != SL_OK)
        return; /* the process is about to end: its GPU is lost */
    pinner->driver->host_free(data);
    gpu_context_leave(pinner->context);
}

/* Plain memory does as well, only slower. Called with the context entered. */
static AVBufferRef *picture_alloc(void *opaque, size_t bytes)
{
    struct pinner *pinner = opaque;
    void *data = NULL;
    if (!pinner->driver->host_alloc || !pinner->driver->host_free ||
        pinner->driver->host_alloc(&data, bytes) != CUDA_SUCCESS)
        return av_buffer_alloc(bytes);
    AVBufferRef *buffer = av_buffer_create(data, bytes, pinned_free, pinner, 0);
    if (!buffer)
        pinner->driver->host_free(data);
    return buffer;
}

static void pinner_free(void *opaque)
{
    struct pinner *pinner = opaque;
    av_buffer_unref(&pinner->context);
    free(pinner);
}

static AVBufferPool *pool_make(const struct gpu_driver *driver, AVBufferRef *context, size_t bytes)
{
    struct pinner *pinner = calloc(1, sizeof *pinner);
    AVBufferPool *pool = NULL;
    if (!pinner)
        return NULL;
    pinner->driver = driver;
    pinner->context = av_buffer_ref(context);
    if (pinner->context)
        pool = av_buffer_pool_init2(bytes, pinner, picture_alloc, pinner_free);
    if (!pool)
        pinner_free(pinner);
    return pool;
}

/* ---- pictures ---- */

static int32_t aligned(int32_t bytes)
{
    return (bytes + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
}

static void shape_make(struct gpu_host *host)
{
    int32_t sample = gpu_layout_is_wide(host->layout) ? 2 : 1;
    bool mixed = gpu_layout_is_interleaved(host->layout);
    host->strides[0] = aligned(host->width * sample);
    host->strides[1] = aligned(host->width / 2 * sample * (mixed ? 2 : 1));
    size_t chroma = (size_t)host->strides[1] * (size_t)(host->height / 2);
    host->offsets[1] = (size_t)host->strides[0] * (size_t)host->height;
    host->offsets[2] = host->offsets[1] + chroma;
    host->bytes = host->offsets[2] + (mixed ? 0 : chroma);
}

int gpu_host_open(const struct gpu_driver *driver, AVBufferRef *context, enum hal_layout layout,
                  int32_t width, int32_t height, struct gpu_host **out, struct sl_failure *why)
{
    struct gpu_host *host = calloc(1, sizeof *host);
    if (!host)
        return sl_fail(why, SL_ENOMEM, "no memory for pictures of %dx%d", width, height);
    host->driver = driver;
    host->layout = layout;
    host->width = width;
    host->height = height;
    shape_make(host);
    CUresult result = driver->cuda->cuMemAlloc(&host->made, host->bytes);
    if (result != CUDA_SUCCESS) {
        free(host);
        return gpu_fail(why, GPU_CUDA, (int)result, "the GPU has no room for pictures");
    }
    host->pool = pool_make(driver, context, host->bytes);
    if (!host->pool) {
        gpu_host_close(&host);
        return sl_fail(why, SL_ENOMEM, "no memory for pictures of %dx%d", width, height);
    }
    *out = host;
    return SL_OK;
}

int32_t gpu_host_stride(const struct gpu_host *host, int kind)
{
    return host->strides[kind];
}

CUdeviceptr gpu_host_plane(const struct gpu_host *host, int p)
{
    bool mixed = gpu_layout_is_interleaved(host->layout);
    return host->made + host->offsets[mixed && p == 2 ? 1 : p];
}

int gpu_host_take(struct gpu_host *host, AVFrame *into, struct sl_failure *why)
{
    into->buf[0] = av_buffer_pool_get(host->pool);
    if (!into->buf[0])
        return sl_fail(why, SL_ENOMEM, "no memory for a picture of %dx%d", host->width,
                       host->height);
    into->format = formats[host->layout];
    into->width = host->width;
    into->height = host->height;
    for (int p = 0; p < 3 && host->offsets[p] < host->bytes; p++) {
        into->data[p] = into->buf[0]->data + host->offsets[p];
        into->linesize[p] = host->strides[p ? 1 : 0];
    }
    return SL_OK;
}

int gpu_host_fetch(struct gpu_host *host, const AVFrame *into, struct sl_failure *why)
{
    CUresult result =
        host->driver->cuda->cuMemcpyDtoHAsync(into->data[0], host->made, host->bytes, NULL);
    return result == CUDA_SUCCESS
               ? SL_OK
               : gpu_fail(why, GPU_CUDA, (int)result, "a picture does not come back from the GPU");
}

void gpu_host_close(struct gpu_host **host)
{
    struct gpu_host *h = host ? *host : NULL;
    if (!h)
        return;
    if (h->made)
        h->driver->cuda->cuMemFree(h->made);
    av_buffer_pool_uninit(&h->pool);
    free(h);
    *host = NULL;
}
