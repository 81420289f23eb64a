#include "worker/prove_feed.h"

#include <math.h>
#include <string.h>

#include "cpu/cpu_scale.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_ladder.h"
#include "hal/hal_golden.h"
#include "media/media_frame.h"

#define WIDTH      640
#define HEIGHT     360
#define FRAMES     4
/* The two scalers come to 52 dB of each other and more, the next golden picture to 27. */
#define PSNR_LEAST 45.0

static const struct gpu_ladder_params ladder_params = {
    .rungs = {{HAL_I420, 426, 240}, {HAL_I420, 192, 108}},
    .rung_count = 2,
    .to_host = true,
    .color_primaries = 2,
    .color_transfer = 2,
    .color_matrix = 2,
};

static double psnr(const AVFrame *a, const AVFrame *b)
{
    double squares = 0, samples = 0;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? a->height / 2 : a->height); y++)
            for (int x = 0; x < (p ? a->width / 2 : a->width); x++, samples++) {
                double d = a->data[p][(ptrdiff_t)y * a->linesize[p] + x] -
                           b->data[p][(ptrdiff_t)y * b->linesize[p] + x];
                squares += d * d;
            }
    return squares > 0 ? 10 * log10(255.0 * 255 * samples / squares) : INFINITY;
}

static int rung_judge(const AVFrame *source, const AVFrame *made, struct sl_failure *why)
{
    struct cpu_scale_target target = {HAL_I420, made->width, made->height, 2, 2, 2, false};
    struct cpu_scale *scale = NULL;
    AVFrame *truth = media_frame_make(HAL_I420, made->width, made->height);
    int code = truth ? cpu_scale_open(source, &target, &scale, why)
                     : sl_fail(why, SL_ENOMEM, "no memory for golden pictures");
    if (code == SL_OK)
        code = cpu_scale_run(scale, source, truth, why);
    double near = code == SL_OK ? psnr(made, truth) : 0;
    if (code == SL_OK && near < PSNR_LEAST)
        code = sl_fail(why, SL_EMISMATCH,
                       "a golden picture comes back from the GPU's scaler at %.1f dB of the CPU's; "
                       "at least %.0f is right",
                       near, PSNR_LEAST);
    cpu_scale_close(&scale);
    av_frame_free(&truth);
    return code;
}

static int picture_prove(struct gpu_ladder *ladder, const AVFrame *source, struct sl_failure *why)
{
    AVFrame *out[] = {av_frame_alloc(), av_frame_alloc()};
    int code = out[0] && out[1] ? gpu_ladder_run(ladder, source, out, why)
                                : sl_fail(why, SL_ENOMEM, "no memory for golden pictures");
    for (int i = 0; i < 2; i++) {
        if (code == SL_OK)
            code = rung_judge(source, out[i], why);
        av_frame_free(&out[i]);
    }
    return code;
}

static int pictures_prove(AVBufferRef *context, struct hal_golden *golden, AVFrame *source,
                          struct sl_failure *why)
{
    struct gpu_ladder *ladder = NULL;
    int code = gpu_ladder_open(context, source, &ladder_params, &ladder, why);
    for (int32_t n = 0; n < FRAMES && code == SL_OK; n++) {
        const struct hal_frame *painted = hal_golden_frame(golden, n);
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (p ? HEIGHT / 2 : HEIGHT); y++)
                memcpy(source->data[p] + (ptrdiff_t)y * source->linesize[p],
                       painted->planes[p] + (size_t)y * painted->stride_bytes[p],
                       p ? WIDTH / 2 : WIDTH);
        code = picture_prove(ladder, source, why);
    }
    gpu_ladder_close(&ladder);
    return code;
}

int prove_feed(const struct hal_device *device, struct sl_failure *why)
{
    struct hal_golden *golden = NULL;
    AVBufferRef *context = NULL;
    if (device->kind != DEVICE_NVENC || !gpu_kernels_available())
        return SL_OK;
    AVFrame *source = media_frame_make(HAL_I420, WIDTH, HEIGHT);
    int code = source ? hal_golden_open(HAL_I420, WIDTH, HEIGHT, &golden) : SL_ENOMEM;
    if (code != SL_OK)
        sl_fail(why, code, "no memory for golden pictures");
    if (code == SL_OK)
        code = gpu_context(device->device_id, &context, why);
    if (code == SL_OK)
        code = pictures_prove(context, golden, source, why);
    hal_golden_close(&golden);
    av_frame_free(&source);
    if (code != SL_EUNSUPPORTED)
        return code;
    *why = (struct sl_failure){0};
    return SL_OK;
}
