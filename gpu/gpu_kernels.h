/* gpu/gpu_kernels.h: the kernels, built into the program and given to the driver at run time.
 *
 * nvcc makes machine code for several GPUs beside PTX, clang makes PTX, which the driver compiles when it is loaded (a few
 * seconds). A program that was built without either has no kernels, and says so.
 *
 * Owns:    one module for each context, kept as long as the context is: until the process ends.
 * Errors:  SL_EUNSUPPORTED: no kernels in this program, or the driver or GPU cannot run them; gpu/gpu_error.h.
 * Threads: any.
 */
#ifndef SL_GPU_GPU_KERNELS_H
#define SL_GPU_GPU_KERNELS_H

#include <stdbool.h>

#include "gpu/gpu_cuda.h"

struct gpu_kernels;

/* Which compiler made them ("nvcc", "clang"), or NULL with the reason why there are none. */
const char *gpu_kernels_made_by(const char **why_not);
static inline bool gpu_kernels_available(void)
{
    const char *why_not;
    return gpu_kernels_made_by(&why_not) != NULL;
}

/* As cuModuleLoadData takes them; NULL without kernels. */
const void *gpu_kernels_image(void);

/* Of a context of gpu_context; lent. The context must be entered. */
int gpu_kernels_open(AVBufferRef *context, const struct gpu_kernels **out, struct sl_failure *why);

/* args: the kernel's struct of gpu_abi.h. Returns when it is queued on the context's stream. */
int gpu_kernels_launch(const struct gpu_kernels *kernels, const char *name, const unsigned grid[3],
                       unsigned threads, unsigned shared_bytes, const void *args,
                       struct sl_failure *why);

#endif
