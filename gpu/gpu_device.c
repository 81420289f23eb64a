/* Every GPU that the driver shows, as a device; encoders/nvenc.c adds what it can encode. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_decode.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_nvml.h"

/* "550.54.14, CUDA 12.4, 0000:41:00.0" */
static void driver_describe(const struct gpu_driver *driver, const struct gpu_identity *id,
                            char out[DEVICE_NAME_BYTES])
{
    char cuda[24] = "";
    const char *version = gpu_nvml_driver_version();
    if (driver->cuda_version > 0)
        snprintf(cuda, sizeof cuda, ", CUDA %d.%d", driver->cuda_version / 1000,
                 driver->cuda_version % 1000 / 10);
    snprintf(out, DEVICE_NAME_BYTES, "%.32s%s%s%s", version[0] ? version : "NVIDIA", cuda,
             id->pci[0] ? ", " : "", id->pci);
}

static int gpu_device_read(const struct gpu_driver *driver, int32_t ordinal, struct hal_device *out,
                           struct sl_failure *why)
{
    struct gpu_identity id;
    int code = gpu_identity_read(driver, ordinal, &id, why);
    if (code != SL_OK)
        return code;
    char name[DEVICE_NAME_BYTES] = "NVIDIA GPU";
    size_t memory = 0;
    driver->cuda->cuDeviceGetName(name, sizeof name, id.device);
    if (driver->memory_total)
        driver->memory_total(&memory, id.device);
    *out = (struct hal_device){
        .kind = DEVICE_NVENC,
        /* Consumer cards have a limit for all of them together; no interface tells it, a refused open does. */
        .sessions = {.scope = SCOPE_SYSTEM},
        .health = HEALTH_HEALTHY,
        .memory_bytes = (int64_t)memory,
        .standin = driver->standin,
    };
    snprintf(out->device_id, sizeof out->device_id, "%s", id.device_id);
    snprintf(out->name, sizeof out->name, "%.80s%s", name,
             driver->standin && !strstr(name, "stand-in") ? " (stand-in)" : "");
    driver_describe(driver, &id, out->driver);
    gpu_nvml_read(id.device_id, &out->telemetry);
    gpu_decode_rows(driver, out);
    return SL_OK;
}

static int gpu_devices_probe(struct hal_device *out, int32_t max, int32_t *count,
                             struct sl_failure *why)
{
    const struct gpu_driver *driver;
    int32_t found = 0;
    int code = gpu_driver_load(&driver, why);
    for (int32_t i = 0; code == SL_OK && i < driver->device_count && found < max; i++)
        /* One that does not answer leaves the others. */
        found += gpu_device_read(driver, i, &out[found], why) == SL_OK;
    *count = found;
    /* No driver or no GPU is an answer as well. */
    return SL_OK;
}

/* The driver compiles the kernels for its GPU when they are loaded, with a library that it opens for that: a sandbox
 * later on would not let it. Without kernels the CPU scales. */
static int gpu_device_prepare(const struct hal_device *device, struct sl_failure *why)
{
    AVBufferRef *context;
    const struct gpu_kernels *kernels;
    struct sl_failure without = {0};
    int code = gpu_context(device->device_id, &context, why);
    if (code == SL_OK)
        code = gpu_context_enter(context, why);
    if (code != SL_OK)
        return code;
    if (gpu_kernels_open(context, &kernels, &without) != SL_OK)
        sl_debug(NULL, "device %s: no kernels: %s", device->device_id, without.message);
    gpu_context_leave(context);
    return SL_OK;
}

const struct hal_device_ops gpu_device_ops = {
    .kind = DEVICE_NVENC,
    .probe = gpu_devices_probe,
    .prepare = gpu_device_prepare,
    .telemetry = gpu_nvml_read,
};
