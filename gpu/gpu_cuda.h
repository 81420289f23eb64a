/* gpu/gpu_cuda.h: the GPUs of this machine and one CUDA context on each.
 *
 * Whatever works on a GPU (NVDEC, kernels, NVENC through libavcodec) works in this context, so that pictures pass from one
 * to the next without a copy. It is opened when first asked for and kept until the process ends: closing it could hang with a
 * broken device, and takes as long as the next opening would.
 *
 * Identity: "GPU-" and the UUID as nvidia-smi prints it; a driver without UUIDs gives "gpu-" and the PCI address.
 * Errors:   gpu/gpu_error.h.
 * Threads:  any.
 * Blocking: opening a context takes up to a second on a real GPU.
 */
#ifndef SL_GPU_GPU_CUDA_H
#define SL_GPU_GPU_CUDA_H

#include <libavutil/buffer.h>

#include "gpu/gpu_driver.h"
#include "hal/hal.h"

#define GPU_PCI_BYTES 20

/* A GPU as the driver numbers it. */
struct gpu_identity {
    char device_id[DEVICE_ID_BYTES];
    char pci[GPU_PCI_BYTES]; /* "0000:41:00.0"; empty: unknown */
    CUdevice device;
};

int gpu_identity_read(const struct gpu_driver *driver, int32_t ordinal, struct gpu_identity *out,
                      struct sl_failure *why);

/* The context of a device as libav's AVHWDeviceContext; lent, av_buffer_ref it to keep it. */
int gpu_context(const char *device_id, AVBufferRef **out, struct sl_failure *why);

/* The CUcontext inside, made current on this thread; every enter needs its leave. */
int gpu_context_enter(AVBufferRef *context, struct sl_failure *why);
void gpu_context_leave(AVBufferRef *context);
CUcontext gpu_context_cuda(const AVBufferRef *context);

/* Of the context's device; -1 where the driver does not say. */
int64_t gpu_memory_free_bytes(AVBufferRef *context);

/* DEVICE_NVENC: every GPU, with or without an encode engine. */
extern const struct hal_device_ops gpu_device_ops;

#endif
