#include "gpu/gpu_measure_plan.h"

#include <math.h>

void gpu_measure_shape(int32_t width, int32_t height, int32_t step, int32_t depth, int32_t shift,
                       struct kernel_measure_args *out)
{
    double top = (1 << depth) - 1;
    *out = (struct kernel_measure_args){
        .c1 = (gpu_u64)(.01 * .01 * top * top * 64 + .5),
        .c2 = (gpu_u64)(.03 * .03 * top * top * 64 * 63 + .5),
        .width = width,
        .height = height,
        .step = step,
        .wide = depth > 8,
        .shift = shift,
        .fast = depth == 8 && step == 1,
    };
}

void gpu_measure_grids(const struct kernel_measure_args *args, unsigned batch, unsigned sse[3],
                       unsigned ssim[3])
{
    unsigned wide = (unsigned)(args->width / 4), high = (unsigned)(args->height / 4);
    sse[0] = (unsigned)(args->height + GPU_SSE_ROWS - 1) / GPU_SSE_ROWS;
    sse[1] = 1;
    ssim[0] = (wide + GPU_SSIM_WIDE - 1) / GPU_SSIM_WIDE;
    ssim[1] = (high + GPU_SSIM_HIGH - 1) / GPU_SSIM_HIGH;
    ssim[0] += ssim[0] == 0;
    ssim[1] += ssim[1] == 0;
    sse[2] = ssim[2] = batch;
}

static double decibels(double squares, double samples, double top)
{
    return squares > 0 ? 10 * log10(top * top * samples / squares) : INFINITY;
}

void gpu_measure_sum_up(const struct kernel_measure_args shapes[3], const uint64_t sse[3],
                        const int64_t ssim[3], int32_t depth, struct gpu_measure *out)
{
    double top = (1 << depth) - 1, squares = 0, samples = 0, similar = 0;
    *out = (struct gpu_measure){0};
    for (int p = 0; p < 3; p++) {
        double own = (double)shapes[p].width * shapes[p].height;
        double windows = (double)(shapes[p].width / 4 - 1) * (shapes[p].height / 4 - 1);
        out->squared_errors[p] = sse[p];
        out->psnr[p] = decibels((double)sse[p], own, top);
        out->ssim[p] = windows > 0 ? (double)ssim[p] / (double)GPU_SSIM_UNIT / windows : 1;
        squares += (double)sse[p];
        samples += own;
        similar += out->ssim[p] * own;
    }
    out->psnr_all = decibels(squares, samples, top);
    out->ssim_all = similar / samples;
}
