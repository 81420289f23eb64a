/* gpu/gpu_error.h: what NVIDIA's codes mean, in one table for each interface.
 *
 * A failure's sentence carries both codes: sluice's word comes from the table, the vendor's name and number are in the text.
 *
 * Threads: everything here is pure.
 */
#ifndef SL_GPU_GPU_ERROR_H
#define SL_GPU_GPU_ERROR_H

#include "base/error.h"

#define GPU_CUDA_NO_DEVICE 100

enum gpu_interface { GPU_CUDA, GPU_NVENC };

struct gpu_error {
    int number;
    const char *name; /* "NV_ENC_ERR_UNSUPPORTED_DEVICE" */
    int code;         /* SL_E* */
    const char *text; /* what it means here and what would help; for an operator */
};

/* Never NULL: an unknown number has a row of its own. */
const struct gpu_error *gpu_error_find(enum gpu_interface interface, int number);

/* "WHAT: TEXT (NAME, NUMBER)"; returns the table's code. */
int gpu_fail(struct sl_failure *why, enum gpu_interface interface, int number, const char *what);

/* "470.57.02": the oldest driver that has what this program was built for. */
extern const char gpu_driver_needed[];

#endif
