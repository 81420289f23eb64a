/* gpu/gpu_scale.h: the tables of the ladder kernel: what each thread of a launch will read, weigh and write.
 *
 * Bicubic (Catmull-Rom, as cpu/cpu_scale.h), widened by the ratio where a picture shrinks, so that nothing folds back. Weights
 * are whole numbers along rows and floats down columns; both come from here alone, for kernel and twin.
 *
 * Positions are those of the stored picture: crop, mirror and turn are a matter of where taps begin and where targets'
 * samples go, and cost nothing.
 *
 * Owns:    the blob, which holds a struct kernel_ladder at its start and is to be copied into device memory.
 * Errors:  SL_EUNSUPPORTED for a picture that the kernel cannot make, with the reason; SL_EINVAL, SL_ENOMEM.
 * Threads: everything here is pure.
 */
#ifndef SL_GPU_GPU_SCALE_H
#define SL_GPU_GPU_SCALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gpu/gpu_abi.h"
#include "hal/hal.h"

struct gpu_scale_rung {
    enum hal_layout layout;
    int32_t width, height; /* even; as shown, after the turn */
    int32_t strides[2];    /* bytes: luma, chroma */
};

struct gpu_scale_params {
    enum hal_layout layout; /* of the source */
    int32_t width, height;  /* as decoded */
    int32_t crop_left, crop_top, crop_right, crop_bottom;
    bool mirrored;            /* before it is turned */
    int32_t rotation_degrees; /* clockwise: 0, 90, 180, 270 */
    bool
        chroma_left; /* chroma sits beside the left of two luma samples, as MPEG-2 has it; else between */
    bool chroma_top; /* beside the upper of two rows; else between */
    bool full_range; /* of the source, which becomes limited */
    struct gpu_scale_rung rungs[GPU_RUNGS_MAX];
    int32_t rung_count;
    int32_t batch; /* pictures of one launch; how finely they are cut up for a GPU depends on it */
};

struct gpu_scale {
    unsigned char *blob;
    size_t blob_bytes;
    const char *kernel; /* its name */
    uint32_t blocks, threads, shared_bytes;
    /* Bytes from a target plane's start to where sample (0, 0) of the source lands. */
    int64_t target_offsets[GPU_RUNGS_MAX][3];
};

int gpu_scale_make(const struct gpu_scale_params *params, struct gpu_scale *out,
                   struct sl_failure *why);
/* Turns the blob's offsets into addresses: base is where it will lie. Once only. */
void gpu_scale_place(struct gpu_scale *scale, uint64_t base);
void gpu_scale_free(struct gpu_scale *scale);

bool gpu_layout_is_wide(enum hal_layout layout);
bool gpu_layout_is_interleaved(enum hal_layout layout);
int32_t gpu_layout_shift(enum hal_layout layout);

#endif
