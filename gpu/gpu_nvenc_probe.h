/* gpu/gpu_nvenc_probe.h: what a GPU's encode engine can do and whether a session is free, asked of the driver itself.
 *
 * libavcodec says neither: it has no list of capabilities, and the numbers it fails with mean several things each. The
 * probe opens a session of its own for as long as it asks, which costs one of those that a limit counts.
 *
 * Errors:  SL_ENOENCODER: no encode library, an old driver or no encode engine; SL_ESESSIONS: no session is
 *          free; SL_ENOMEM: the GPU's memory is full; SL_EDEVICELOST; the sentence says which and what would help.
 * Threads: any.
 * Blocking: some milliseconds; a driver that hangs hangs it.
 */
#ifndef SL_GPU_GPU_NVENC_PROBE_H
#define SL_GPU_GPU_NVENC_PROBE_H

#include "hal/hal.h"

struct gpu_nvenc_codec {
    bool present;
    bool ten_bit;
    bool lookahead;
    bool temporal_aq;
    bool b_middle; /* the middle one of several B-frames may be a reference */
    int32_t width_min, height_min, width_max, height_max;
    int32_t bframes_max;
    int32_t mb_per_s;       /* a hint of the driver's, macroblocks; 0 unknown */
    uint32_t rate_modes;    /* NV_ENC_PARAMS_RC_* */
    uint32_t profile_count; /* that the driver lists */
};

struct gpu_nvenc_caps {
    int32_t api_major, api_minor; /* the driver's */
    int32_t engines;              /* encode engines of the GPU; 0 unknown */
    struct gpu_nvenc_codec codecs[CODEC_COUNT];
};

/* What the device can do, asked of the driver once. */
int gpu_nvenc_caps(const char *device_id, struct gpu_nvenc_caps *out, struct sl_failure *why);

/* Asks the driver now. out may be NULL: is a session to be had? */
int gpu_nvenc_probe(const char *device_id, struct gpu_nvenc_caps *out, struct sl_failure *why);

#endif
