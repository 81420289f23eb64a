/* gpu/gpu_measure_plan.h: what the kernels that measure are asked, and what their sums mean.
 *
 * PSNR and SSIM as libavfilter's psnr and ssim filters have them, so that figures can be compared.
 *
 * Threads: everything here is pure.
 */
#ifndef SL_GPU_GPU_MEASURE_PLAN_H
#define SL_GPU_GPU_MEASURE_PLAN_H

#include <stdint.h>

#include "gpu/gpu_abi.h"

struct gpu_measure {
    uint64_t squared_errors[3]; /* Y, U, V */
    double psnr[3];             /* dB; infinite for equal planes */
    double psnr_all;
    double ssim[3];
    double ssim_all;
};

/* One plane's shape in the kernels' terms, without addresses and sums. */
void gpu_measure_shape(int32_t width, int32_t height, int32_t step, int32_t depth, int32_t shift,
                       struct kernel_measure_args *out);
/* The grids that cover such a plane, of batch pictures. */
void gpu_measure_grids(const struct kernel_measure_args *args, unsigned batch, unsigned sse[3],
                       unsigned ssim[3]);
/* What the sums of all planes say. */
void gpu_measure_sum_up(const struct kernel_measure_args shapes[3], const uint64_t sse[3],
                        const int64_t ssim[3], int32_t depth, struct gpu_measure *out);

#endif
