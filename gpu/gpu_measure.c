#include "gpu/gpu_measure.h"

#include <libavutil/hwcontext.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_loader.h"

static enum AVPixelFormat samples_of(const AVFrame *frame)
{
    if (frame->format != AV_PIX_FMT_CUDA || !frame->hw_frames_ctx)
        return AV_PIX_FMT_NONE;
    return ((const AVHWFramesContext *)(const void *)frame->hw_frames_ctx->data)->sw_format;
}

static int measure(const struct gpu_driver *driver, const struct gpu_kernels *kernels,
                   const AVFrame *a, const AVFrame *b, CUdeviceptr sums, struct gpu_measure *out,
                   struct sl_failure *why)
{
    int32_t depth = samples_of(a) == AV_PIX_FMT_P010LE ? 10 : 8, shift = depth > 8 ? 6 : 0;
    struct kernel_measure_args shapes[3];
    uint64_t found[6] = {0};
    CUresult result = driver->cuda->cuMemcpyHtoD(sums, found, sizeof found);
    int code = SL_OK;
    for (int p = 0; p < 3 && code == SL_OK && result == CUDA_SUCCESS; p++) {
        struct kernel_measure_args *args = &shapes[p];
        int plane = p > 0, channel = (p == 2) * (depth > 8 ? 2 : 1);
        unsigned sse[3], ssim[3];
        gpu_measure_shape((a->width + plane) >> plane, (a->height + plane) >> plane, 1 + plane,
                          depth, shift, args);
        args->a[0] = (gpu_u64)(uintptr_t)a->data[plane] + (gpu_u64)channel;
        args->b[0] = (gpu_u64)(uintptr_t)b->data[plane] + (gpu_u64)channel;
        args->stride_a = a->linesize[plane];
        args->stride_b = b->linesize[plane];
        args->fast =
            args->fast &&
            (args->a[0] | args->b[0] | (gpu_u64)args->stride_a | (gpu_u64)args->stride_b) % 16 == 0;
        gpu_measure_grids(args, 1, sse, ssim);
        args->sums = sums + (size_t)p * 8;
        code = gpu_kernels_launch(kernels, "sse", sse, GPU_MEASURE_THREADS, 0, args, why);
        args->sums = sums + (size_t)(3 + p) * 8;
        if (code == SL_OK)
            code = gpu_kernels_launch(kernels, "ssim", ssim, GPU_MEASURE_THREADS, 0, args, why);
    }
    if (code == SL_OK && result == CUDA_SUCCESS)
        result = driver->cuda->cuMemcpyDtoH(found, sums, sizeof found);
    if (code == SL_OK && result != CUDA_SUCCESS)
        code = gpu_fail(why, GPU_CUDA, (int)result, "pictures cannot be compared on the GPU");
    if (code != SL_OK)
        return code;
    const int64_t similar[3] = {(int64_t)found[3], (int64_t)found[4], (int64_t)found[5]};
    gpu_measure_sum_up(shapes, found, similar, depth, out);
    return SL_OK;
}

int gpu_measure_run(AVBufferRef *context, const AVFrame *a, const AVFrame *b,
                    struct gpu_measure *out, struct sl_failure *why)
{
    const struct gpu_driver *driver;
    const struct gpu_kernels *kernels;
    enum AVPixelFormat format = samples_of(a);
    if (a->width != b->width || a->height != b->height || format != samples_of(b) ||
        (format != AV_PIX_FMT_NV12 && format != AV_PIX_FMT_P010LE))
        return sl_fail(why, SL_EINVAL, "the GPU compares surfaces of one size, NV12 or P010");
    int code = gpu_driver_load(&driver, why);
    if (code == SL_OK)
        code = gpu_context_enter(context, why);
    if (code != SL_OK)
        return code;
    CUdeviceptr sums = 0;
    code = gpu_kernels_open(context, &kernels, why);
    CUresult result = code == SL_OK ? driver->cuda->cuMemAlloc(&sums, 64) : CUDA_SUCCESS;
    if (result != CUDA_SUCCESS)
        code = gpu_fail(why, GPU_CUDA, (int)result, "pictures cannot be compared on the GPU");
    if (code == SL_OK)
        code = measure(driver, kernels, a, b, sums, out, why);
    if (sums)
        driver->cuda->cuMemFree(sums);
    gpu_context_leave(context);
    return code;
}
