/* gpu/gpu_tone.h: pictures whose colours a table replaces, on the GPU: HDR made SDR, or colours of one standard those of another, before
 * the ladder scales them.
 *
 * What the table says is its maker's (media/media_tone.h asks the CPU's own filters, so both make the same pictures); here it is
 * packed, kept on the GPU, and applied by the kernel "tone". The picture made is P010, its chroma where it was.
 *
 * Owns:    the table and one picture in the GPU's memory, which the next one follows.
 * Errors:  gpu/gpu_error.h.
 * Threads: one thread; the context is entered by the caller.
 */
#ifndef SL_GPU_GPU_TONE_H
#define SL_GPU_GPU_TONE_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_kernels.h"

struct gpu_tone;

struct gpu_tone_shape {
    int32_t width, height;
    bool wide, interleaved;
    int32_t shift; /* how far the source's samples are shifted up in their words */
    bool chroma_left, chroma_top;
};

/* table: uint16_t[Cr][Cb][Y][3], GPU_TONE_SIDE of each; the corner at 16 * i levels of 10 bits, of which a level of
 * 8 bits is four. Not kept. */
int gpu_tone_open(const struct gpu_kernels *kernels, const uint16_t *table, struct gpu_tone **out,
                  struct sl_failure *why);

/* picture: what to map, and then what was made of it; queued on the context's stream. */
int gpu_tone_run(struct gpu_tone *tone, const struct gpu_tone_shape *shape,
                 struct kernel_source *picture, struct sl_failure *why);

void gpu_tone_close(struct gpu_tone **tone);

/* The table as the kernel reads it: lumas, then chromas; 0 where there is no memory. For the caller to free. */
gpu_u32 *gpu_tone_pack(const uint16_t *table);

#endif
