/* gpu/gpu_drm.h: render nodes of the kernel, and what it tells of them in text files: sysfs, hwmon, and the fdinfo of the
 * processes that use them. No driver is loaded for it, and nothing but reading happens.
 *
 * root: put before every path; "" on a real system, a made-up tree in tests.
 * node: its file name, "renderD128".
 * Errors: what is not there or not told is left out or unknown (-1).
 * Threads: any.
 */
#ifndef SL_GPU_GPU_DRM_H
#define SL_GPU_GPU_DRM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/device_types.h"

#define GPU_DRM_NODES_MAX  16
#define GPU_DRM_NODE_BYTES 16
#define GPU_DRM_WORD_BYTES 32

/* What engines have done since the system's start, summed over the processes that may be looked at, and the clock. */
struct gpu_drm_sample {
    int64_t at_ns;
    int64_t all_ns; /* of the busiest kind of engine, per engine of it */
    int64_t encode_ns;
    int64_t decode_ns;
    int64_t energy_uj; /* -1: not told */
    bool any;          /* engine was told of */
};

/* Names of the render nodes in /dev/dri, sorted by number. */
int32_t gpu_drm_nodes(const char *root, char nodes[][GPU_DRM_NODE_BYTES], int32_t max);

/* The kernel's driver ("amdgpu", "i915", "xe", "nvidia"), and the address on the bus ("0000:03:00.0"); empty: unknown. */
void gpu_drm_driver(const char *root, const char *node, char out[GPU_DRM_WORD_BYTES]);
void gpu_drm_address(const char *root, const char *node, char out[GPU_DRM_WORD_BYTES]);

/* Of its own memory; 0: it has none, or does not tell. */
int64_t gpu_drm_memory_bytes(const char *root, const char *node);

void gpu_drm_sample(const char *root, const char *node, int64_t now_ns, struct gpu_drm_sample *out);

/* What files tell at this moment, and what two samples tell of the time between them (before NULL: nothing). */
void gpu_drm_telemetry(const char *root, const char *node, const struct gpu_drm_sample *before,
                       const struct gpu_drm_sample *after, struct device_telemetry *out);

#endif
