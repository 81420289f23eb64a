/* gpu/gpu_va.h: VA-API devices: one display each, opened by us and kept until the process ends.
 *
 * A device is a render node ("/dev/dri/renderD128"), whose VA driver libva finds by the kernel's driver or by
 * LIBVA_DRIVER_NAME, or a driver that is named without any node or X server: that is how the stand-in's devices open
 * ("standin-va0" …; SLUICE_STANDIN_VAAPI says how many). Nodes of NVIDIA's kernel driver are left to DEVICE_NVENC: what VA
 * drivers there are for them only decode.
 *
 * Owns:     displays and the AVHWDeviceContexts over them; closing one could hang with a broken device.
 * Errors:   SL_EDEVICELOST: it was not found, or does not open any more; the sentence says why and what would help.
 * Threads:  probing: one; the rest: any.
 * Blocking: a driver's start takes as long as it takes; the caller's watchdog owns deadlines.
 */
#ifndef SL_GPU_GPU_VA_H
#define SL_GPU_GPU_VA_H

#include <libavutil/buffer.h>
#include <va/va.h>

#include "hal/hal.h"

/* What a driver says of one profile, of its better entry point: EncSlice before EncSliceLP (low power). */
struct gpu_va_encode {
    VAEntrypoint entrypoint;
    uint32_t rt_formats;    /* VA_RT_FORMAT_* */
    uint32_t rate_modes;    /* VA_RC_* */
    int32_t refs_future;    /* 0: no B-frames */
    int32_t quality_levels; /* 1 is the best; 0: it has no such scale */
    int32_t width_max, height_max;
};

/* The device as libav's AVHWDeviceContext; lent, av_buffer_ref it to keep it. */
int gpu_va_context(const char *device_id, AVBufferRef **out, struct sl_failure *why);
VADisplay gpu_va_display(const AVBufferRef *context);

/* False where the driver has no encoder for this profile. */
bool gpu_va_encodes(VADisplay display, VAProfile profile, struct gpu_va_encode *out);
bool gpu_va_decodes(VADisplay display, VAProfile profile);
/* Does it scale pictures? */
bool gpu_va_scales(VADisplay display);

/* Does the device answer? A driver whose device is gone says so to the smallest request. */
bool gpu_va_alive(VADisplay display);
/* Would it take another encoder of this profile? The status of making one. */
VAStatus gpu_va_encoder_try(VADisplay display, VAProfile profile, const struct gpu_va_encode *with,
                            int32_t width, int32_t height);

/* DEVICE_VAAPI: every device whose driver opens. */
extern const struct hal_device_ops gpu_va_device_ops;

#endif
