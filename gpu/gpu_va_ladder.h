/* gpu/gpu_va_ladder.h: what gpu/gpu_ladder.h is for CUDA, by the scaler of a VA-API device: one decoded picture to all
 * pictures of a ladder, each in a surface that an encoder session on the same device takes without a copy.
 *
 * A picture from host memory goes up once; a rung of its size takes that very surface.
 *
 * Owns, Threads: as gpu/gpu_ladder.h.
 * Errors:  SL_EUNSUPPORTED: the device does not scale, or the source needs a conversion of colour, which drivers do in ways
 *          of their own; the caller then scales on the CPU. SL_EDEVICELOST: it does not answer.
 */
#ifndef SL_GPU_GPU_VA_LADDER_H
#define SL_GPU_GPU_VA_LADDER_H

#include "gpu/gpu_ladder.h"

struct gpu_va_ladder;

/* context: gpu_va_context's. */
int gpu_va_ladder_open(AVBufferRef *context, const AVFrame *like,
                       const struct gpu_ladder_params *params, struct gpu_va_ladder **out,
                       struct sl_failure *why);
AVBufferRef *gpu_va_ladder_surfaces(const struct gpu_va_ladder *ladder, int32_t rung);
int gpu_va_ladder_run(struct gpu_va_ladder *ladder, const AVFrame *from, AVFrame *const *out,
                      struct sl_failure *why);
void gpu_va_ladder_close(struct gpu_va_ladder **ladder);

#endif
