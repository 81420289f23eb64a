/* gpu/gpu_ladder.h: one decoded picture to all pictures of a ladder, by one kernel that reads it once.
 *
 * What cpu/cpu_scale.h does for one rung on the CPU, for all of them on the GPU: antialiased bicubic, range, matrix and
 * depth converted, chroma sited left. Pictures come out as surfaces of AV_PIX_FMT_CUDA that an encoder session on the
 * same context takes without a copy, or in host memory. There a rung that is the source itself is a reference to it, where the
 * source lies in host memory as well.
 *
 * Owns:    kernels, tables, and a pool of surfaces for each rung. A surface given out stays the caller's until
 *          it is unreferenced, however long an encoder looks ahead; the decoder's own surface is free when run returns.
 * Errors:  SL_EUNSUPPORTED: this source needs what the kernel cannot do (the sentence names it); the caller then
 *          scales on the CPU. SL_EDEVICELOST and others: gpu/gpu_error.h.
 * Threads: one thread per ladder; surfaces may be unreferenced on any.
 */
#ifndef SL_GPU_GPU_LADDER_H
#define SL_GPU_GPU_LADDER_H

#include <libavutil/frame.h>

#include "hal/hal.h"

struct gpu_ladder;

struct gpu_ladder_rung {
    enum hal_layout layout; /* HAL_NV12 or HAL_P010; in host memory any */
    int32_t width, height;  /* even */
};

struct gpu_ladder_params {
    struct gpu_ladder_rung rungs[POLICY_RUNGS_MAX];
    int32_t rung_count;
    bool
        to_host; /* pictures are for encoders on CPUs: they come out in host memory (gpu/gpu_host.h) */
    int32_t color_primaries, color_transfer, color_matrix; /* ITU-T H.273; 2: keep the source's */
    bool full_range;
    bool
        mirrored; /* what each picture's crop members leave is mirrored, then turned clockwise by 0, 90, 180 or 270 */
    int32_t rotation_degrees;
    /* What becomes of colours like those of the first picture (gpu/gpu_tone.h); NULL: nothing. Not kept. The table's are the colours
     * named above, in limited range. */
    const uint16_t *tones;
};

/* context: gpu_context's. like: a picture with the source's format, size and colour, in host memory or on the GPU. */
int gpu_ladder_open(AVBufferRef *context, const AVFrame *like,
                    const struct gpu_ladder_params *params, struct gpu_ladder **out,
                    struct sl_failure *why);

/* The AVHWFramesContext of a rung's surfaces (struct hal_encode_params, surfaces); lent. NULL: it is in host memory. */
AVBufferRef *gpu_ladder_surfaces(const struct gpu_ladder *ladder, int32_t rung);

/* from: a surface of the context, or a picture in host memory, which is uploaded once. A source may change its size, format or
 * colour in mid-stream: tables are made anew then, surfaces stay. out[i]: an empty AVFrame for rung i, which becomes a
 * reference to its picture, or NULL: rung i is left out; the caller sets times. */
int gpu_ladder_run(struct gpu_ladder *ladder, const AVFrame *from, AVFrame *const *out,
                   struct sl_failure *why);

void gpu_ladder_close(struct gpu_ladder **ladder);

#endif
