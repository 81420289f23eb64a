/* gpu/gpu_decode.h: what a GPU's NVDEC decodes, asked of its driver.
 *
 * Decoding itself is libavcodec's, by its cuda hwaccel in a context of gpu/gpu_cuda.h (media/media_range.h).
 *
 * Threads: any.
 */
#ifndef SL_GPU_GPU_DECODE_H
#define SL_GPU_GPU_DECODE_H

#include "gpu/gpu_driver.h"
#include "hal/hal.h"
#include "model/media_types.h"

/* Appends a row for each codec; none where the driver has no libnvcuvid or does not answer. */
void gpu_decode_rows(const struct gpu_driver *driver, struct hal_device *device);

/* Does a row take this source? */
bool gpu_decodes(const struct hal_device *device, const struct media_video *video);

#endif
