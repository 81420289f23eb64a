/* gpu/gpu_nvml.h: what the driver says of a GPU's load, memory, heat and power, by libnvidia-ml.so.1.
 *
 * Loaded at run time with prototypes of our own, because no header is packaged; whatever is missing, the library or one
 * of its symbols, leaves its members unknown.
 *
 * Threads:  any.
 * Blocking: a call may take some milliseconds, and hangs where the driver hangs.
 */
#ifndef SL_GPU_GPU_NVML_H
#define SL_GPU_GPU_NVML_H

#include "model/device_types.h"

/* device_id: "GPU-…", its UUID. */
void gpu_nvml_read(const char *device_id, struct device_telemetry *out);

/* "550.54.14"; "" where nothing says it. */
const char *gpu_nvml_driver_version(void);

#endif
