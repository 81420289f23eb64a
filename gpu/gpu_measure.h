/* gpu/gpu_measure.h: how far two pictures are apart, measured on the GPU.
 *
 * PSNR and SSIM as libavfilter's psnr and ssim filters have them, so that figures can be compared.
 *
 * Errors:  SL_EINVAL for pictures that differ in shape, SL_EUNSUPPORTED without kernels; gpu/gpu_error.h.
 * Threads: any; a call waits for its result.
 */
#ifndef SL_GPU_GPU_MEASURE_H
#define SL_GPU_GPU_MEASURE_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "gpu/gpu_abi.h"

struct gpu_measure {
    uint64_t squared_errors[3]; /* Y, U, V */
    double psnr[3];             /* dB; infinite for equal planes */
    double psnr_all;
    double ssim[3];
    double ssim_all;
};

/* Two surfaces (NV12 or P010) of the context. */
int gpu_measure_run(AVBufferRef *context, const AVFrame *a, const AVFrame *b,
                    struct gpu_measure *out, struct sl_failure *why);

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
