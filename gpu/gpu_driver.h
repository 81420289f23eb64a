/* gpu/gpu_driver.h: NVIDIA's driver, loaded at run time and kept.
 *
 * libcuda.so.1 is required; libnvidia-encode.so.1 and libnvcuvid.so.1 are looked for beside it, and a machine
 * without either decodes, scales or encodes elsewhere. Symbols are required where libavcodec requires them (the loader of
 * ffnvcodec says which) and optional otherwise.
 *
 * Nothing is unloaded: in a sandbox that opens no files, libavcodec's own dlopen of a library that is loaded already is
 * answered by its name alone.
 *
 * Errors:  SL_ENOENT: there is no driver, or no GPU for it, which is no fault of the machine.
 * Threads: any; the first call loads.
 */
#ifndef SL_GPU_GPU_DRIVER_H
#define SL_GPU_GPU_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ffnvcodec/dynlink_cuda.h>

#include "base/error.h"

struct CudaFunctions;  /* ffnvcodec/dynlink_loader.h; by gpu/gpu_loader.h alone */
struct NvencFunctions; /* the same */
struct CuvidFunctions; /* the same */

struct gpu_driver {
    const struct CudaFunctions *cuda;
    const struct NvencFunctions *nvenc; /* NULL: no libnvidia-encode.so.1 */
    const struct CuvidFunctions *cuvid; /* NULL: no libnvcuvid.so.1 */
    int32_t device_count;               /* those that CUDA_VISIBLE_DEVICES shows */
    int32_t cuda_version;               /* 12040 is CUDA 12.4; 0: it does not say */
    bool standin;                       /* it is tests/standin's: nothing of it runs on a GPU */
    /* Optional; NULL where this driver lacks them. */
    CUresult (*memory_total)(size_t *bytes, CUdevice device);
    CUresult (*memory_info)(size_t *free_bytes, size_t *total_bytes); /* of the current context */
    CUresult (*host_alloc)(void **out, size_t bytes); /* pinned, of the current context */
    CUresult (*host_free)(void *address);
};

int gpu_driver_load(const struct gpu_driver **out, struct sl_failure *why);

#endif
