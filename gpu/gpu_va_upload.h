/* gpu/gpu_va_upload.h: pictures of host memory into VA surfaces.
 *
 * Shapes:   I420 and I420 of 10 bits become NV12 and P010 on the way.
 * Errors:   SL_EDEVICELOST: the device gives no surface, or does not let it be written.
 * Threads:  one per pool.
 */
#ifndef SL_GPU_GPU_VA_UPLOAD_H
#define SL_GPU_GPU_VA_UPLOAD_H

#include <libavutil/frame.h>

#include "hal/hal.h"

/* A pool of NV12 or P010 surfaces, an AVHWFramesContext; it grows as needed. */
int gpu_va_pool_make(AVBufferRef *context, enum hal_layout layout, int32_t width, int32_t height,
                     AVBufferRef **out, struct sl_failure *why);

/* out: an empty AVFrame, which becomes a surface of the pool with the picture in it. */
int gpu_va_upload(AVBufferRef *pool, const struct hal_frame *in, AVFrame *out,
                  struct sl_failure *why);

#endif
