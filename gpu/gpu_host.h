/* gpu/gpu_host.h: a ladder's pictures on their way from the GPU to host memory, for encoders on CPUs.
 *
 * The kernel writes each rung into a buffer of the GPU that has the very shape of the host's picture, planes apart as CPU
 * encoders read them, so that one copy of bytes brings it over and no CPU touches it in between.
 *
 * Owns:    a buffer of the GPU for each rung, and pools of host pictures that are used again and again. They are pinned where
 *          the driver gives such memory: only that is copied without the CPU's help. A picture that was given out outlives
 *          all of this, until it is unreferenced.
 * Errors:  gpu/gpu_error.h.
 * Threads: one; with the context entered. Pictures may be unreferenced on any.
 */
#ifndef SL_GPU_GPU_HOST_H
#define SL_GPU_GPU_HOST_H

#include <libavutil/frame.h>

#include "gpu/gpu_driver.h"
#include "hal/hal.h"

struct gpu_host;

/* For pictures of one rung. context: gpu_context's. */
int gpu_host_open(const struct gpu_driver *driver, AVBufferRef *context, enum hal_layout layout,
                  int32_t width, int32_t height, struct gpu_host **out, struct sl_failure *why);

/* Bytes from row to row of luma and of chroma, in both memories. */
int32_t gpu_host_stride(const struct gpu_host *host, int kind);
/* Where the kernel writes plane p. */
CUdeviceptr gpu_host_plane(const struct gpu_host *host, int p);

/* An empty AVFrame becomes a picture of the pool. */
int gpu_host_take(struct gpu_host *host, AVFrame *into, struct sl_failure *why);
/* Queues the copy of what the kernel wrote; the picture is there when the context's stream has been waited for. */
int gpu_host_fetch(struct gpu_host *host, const AVFrame *into, struct sl_failure *why);

void gpu_host_close(struct gpu_host **host);

#endif
