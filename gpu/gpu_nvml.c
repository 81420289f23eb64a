#include "gpu/gpu_nvml.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Of NVML's interface, which is stable: a device is a pointer, 0 is success. */
typedef void *nvml_device;

struct nvml_utilization {
    unsigned int gpu, memory; /* per cent */
};

struct nvml_memory {
    unsigned long long total, free, used;
};

#define NVML_TEMPERATURE_GPU 0
#define NVML_VERSION_BYTES   80

static struct {
    int (*init)(void);
    int (*driver_version)(char *text, unsigned int bytes);
    int (*by_uuid)(const char *uuid, nvml_device *out);
    int (*utilization)(nvml_device device, struct nvml_utilization *out);
    int (*encoder)(nvml_device device, unsigned int *percent, unsigned int *period_us);
    int (*decoder)(nvml_device device, unsigned int *percent, unsigned int *period_us);
    int (*memory)(nvml_device device, struct nvml_memory *out);
    int (*temperature)(nvml_device device, int sensor, unsigned int *celsius);
    int (*power)(nvml_device device, unsigned int *milliwatts);
    char version[NVML_VERSION_BYTES];
    bool open;
} nvml;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    const struct {
        const char *name;
        void *at;
    } symbols[] = {
        {"nvmlInit_v2", &nvml.init},
        {"nvmlSystemGetDriverVersion", &nvml.driver_version},
        {"nvmlDeviceGetHandleByUUID", &nvml.by_uuid},
        {"nvmlDeviceGetUtilizationRates", &nvml.utilization},
        {"nvmlDeviceGetEncoderUtilization", &nvml.encoder},
        {"nvmlDeviceGetDecoderUtilization", &nvml.decoder},
        {"nvmlDeviceGetMemoryInfo", &nvml.memory},
        {"nvmlDeviceGetTemperature", &nvml.temperature},
        {"nvmlDeviceGetPowerUsage", &nvml.power},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        memcpy(symbols[i].at, &found, sizeof found);
    }
    nvml.open = nvml.init && nvml.by_uuid && nvml.init() == 0;
    if (!nvml.open || !nvml.driver_version ||
        nvml.driver_version(nvml.version, sizeof nvml.version) != 0)
        nvml.version[0] = '\0';
}

const char *gpu_nvml_driver_version(void)
{
    pthread_once(&once, load);
    return nvml.version;
}

void gpu_nvml_read(const char *device_id, struct device_telemetry *out)
{
    nvml_device device = NULL;
    struct nvml_utilization busy;
    struct nvml_memory memory;
    unsigned int value = 0, period_us = 0;
    *out = device_telemetry_unknown;
    pthread_once(&once, load);
    if (!nvml.open || nvml.by_uuid(device_id, &device) != 0)
        return;
    if (nvml.utilization && nvml.utilization(device, &busy) == 0)
        out->busy_percent = busy.gpu;
    if (nvml.encoder && nvml.encoder(device, &value, &period_us) == 0)
        out->encoder_percent = value;
    if (nvml.decoder && nvml.decoder(device, &value, &period_us) == 0)
        out->decoder_percent = value;
    if (nvml.memory && nvml.memory(device, &memory) == 0)
        out->memory_used_bytes = (int64_t)memory.used;
    if (nvml.temperature && nvml.temperature(device, NVML_TEMPERATURE_GPU, &value) == 0)
        out->temperature_c = value;
    if (nvml.power && nvml.power(device, &value) == 0)
        out->power_mw = value;
}
