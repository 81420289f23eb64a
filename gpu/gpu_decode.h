/* gpu/gpu_decode.h: what a GPU decodes: NVDEC, asked of its driver here, and VA-API (gpu/gpu_va.h has its rows).
 *
 * Decoding itself is libavcodec's, by its cuda and vaapi hwaccels in a context of gpu/gpu_cuda.h or gpu/gpu_va.h
 * (media/media_range.h).
 *
 * Threads: any.
 */
#ifndef SL_GPU_GPU_DECODE_H
#define SL_GPU_GPU_DECODE_H

#include <libavutil/buffer.h>
#include <libavutil/pixfmt.h>

#include "gpu/gpu_driver.h"
#include "hal/hal.h"
#include "model/media_types.h"

/* Appends a row for each codec; none where the driver has no libnvcuvid or does not answer. */
void gpu_decode_rows(const struct gpu_driver *driver, struct hal_device *device);

/* Does a row take this source? */
bool gpu_decodes(const struct hal_device *device, const struct media_video *video);

/* The context to decode in, lent, and the format of its surfaces. SL_EUNSUPPORTED: a device of another kind. */
int gpu_decode_context(const struct hal_device *device, AVBufferRef **out,
                       enum AVPixelFormat *surface, struct sl_failure *why);

#endif
