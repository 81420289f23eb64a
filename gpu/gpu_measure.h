/* gpu/gpu_measure.h: how far two pictures are apart, measured on the GPU.
 *
 * Errors:  SL_EINVAL for pictures that differ in shape, SL_EUNSUPPORTED without kernels; gpu/gpu_error.h.
 * Threads: any; a call waits for its result.
 */
#ifndef SL_GPU_GPU_MEASURE_H
#define SL_GPU_GPU_MEASURE_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "gpu/gpu_measure_plan.h"

/* Two surfaces (NV12 or P010) of the context. */
int gpu_measure_run(AVBufferRef *context, const AVFrame *a, const AVFrame *b,
                    struct gpu_measure *out, struct sl_failure *why);

#endif
