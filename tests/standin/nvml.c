/* The stand-in libnvidia-ml: telemetry. What is counted is true (busy time, sessions, memory); temperature and power
 * are made up from how busy the device is: 40 to 70 degrees, 20 to 70 watts. No header of it is packaged, so its
 * interface is declared here. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/cuda.h"
#include "tests/standin/state.h"

enum {
    NVML_SUCCESS = 0,
    NVML_UNINITIALIZED = 1,
    NVML_INVALID_ARGUMENT = 2,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_GPU_IS_LOST = 15,
};

struct nvml_device {
    int index;
    uint64_t busy_ns; /* when it was last asked */
    int64_t asked_ns;
    unsigned percent;
};

struct nvml_utilization {
    unsigned gpu, memory;
};

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

/* As long as a test needs; below it the last answer is given again. */
#define SAMPLE_NS INT64_C(200000000)

static struct nvml_device devices[STANDIN_DEVICES_MAX];
static int device_count = -1;

STANDIN_EXPORT int nvmlInit_v2(void);
STANDIN_EXPORT int nvmlShutdown(void);
STANDIN_EXPORT const char *nvmlErrorString(int code);
STANDIN_EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned bytes);
STANDIN_EXPORT int nvmlDeviceGetCount_v2(unsigned *out);
STANDIN_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct nvml_device **out);
STANDIN_EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_device **out);
STANDIN_EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *id, struct nvml_device **out);
STANDIN_EXPORT int nvmlDeviceGetName(struct nvml_device *device, char *out, unsigned bytes);
STANDIN_EXPORT int nvmlDeviceGetUUID(struct nvml_device *device, char *out, unsigned bytes);
STANDIN_EXPORT int nvmlDeviceGetPciInfo_v3(struct nvml_device *device, struct nvml_pci *out);
STANDIN_EXPORT int nvmlDeviceGetUtilizationRates(struct nvml_device *device,
                                                 struct nvml_utilization *out);
STANDIN_EXPORT int nvmlDeviceGetEncoderUtilization(struct nvml_device *device, unsigned *out,
                                                   unsigned *period_us);
STANDIN_EXPORT int nvmlDeviceGetDecoderUtilization(struct nvml_device *device, unsigned *out,
                                                   unsigned *period_us);
STANDIN_EXPORT int nvmlDeviceGetEncoderStats(struct nvml_device *device, unsigned *sessions,
                                             unsigned *fps, unsigned *latency_us);
STANDIN_EXPORT int nvmlDeviceGetMemoryInfo(struct nvml_device *device, struct nvml_memory *out);
STANDIN_EXPORT int nvmlDeviceGetTemperature(struct nvml_device *device, int sensor, unsigned *out);
STANDIN_EXPORT int nvmlDeviceGetPowerUsage(struct nvml_device *device, unsigned *milliwatts);

int nvmlInit_v2(void)
{
    if (standin_cuda_init())
        return NVML_DRIVER_NOT_LOADED;
    if (device_count < 0) {
        device_count = standin_cuda_machine_count();
        for (int i = 0; i < device_count; i++)
            devices[i].index = i;
    }
    return device_count ? NVML_SUCCESS : NVML_DRIVER_NOT_LOADED;
}

int nvmlShutdown(void)
{
    return device_count < 0 ? NVML_UNINITIALIZED : NVML_SUCCESS;
}

const char *nvmlErrorString(int code)
{
    switch (code) {
    case NVML_SUCCESS:
        return "Success";
    case NVML_UNINITIALIZED:
        return "Uninitialized";
    case NVML_INVALID_ARGUMENT:
        return "Invalid Argument";
    case NVML_NOT_FOUND:
        return "Not Found";
    case NVML_INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case NVML_DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case NVML_GPU_IS_LOST:
        return "GPU is lost";
    }
    return "Unknown Error";
}

static int text_put(char *out, unsigned bytes, const char *text)
{
    if (strlen(text) >= bytes)
        return NVML_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned bytes)
{
    return text_put(out, bytes,
                    standin_fault(FAULT_OLD_DRIVER, -1) ? "390.157" : "535.0 (stand-in)");
}

int nvmlDeviceGetCount_v2(unsigned *out)
{
    if (device_count < 0)
        return NVML_UNINITIALIZED;
    *out = (unsigned)device_count;
    return NVML_SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct nvml_device **out)
{
    if (device_count < 0)
        return NVML_UNINITIALIZED;
    if (index >= (unsigned)device_count)
        return NVML_INVALID_ARGUMENT;
    *out = &devices[index];
    return NVML_SUCCESS;
}

int nvmlDeviceGetUUID(struct nvml_device *device, char *out, unsigned bytes)
{
    uint8_t uuid[16];
    char text[48] = "GPU-";
    standin_cuda_uuid(device->index, uuid);
    for (int b = 0, at = 4; b < 16; b++)
        at +=
            sprintf(text + at, "%s%02x", b == 4 || b == 6 || b == 8 || b == 10 ? "-" : "", uuid[b]);
    return text_put(out, bytes, text);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_device **out)
{
    for (int i = 0; i < device_count; i++) {
        char text[48];
        nvmlDeviceGetUUID(&devices[i], text, sizeof text);
        if (strcmp(text, uuid) == 0) {
            *out = &devices[i];
            return NVML_SUCCESS;
        }
    }
    return device_count < 0 ? NVML_UNINITIALIZED : NVML_NOT_FOUND;
}

/* With a domain of four digits as CUDA writes it or of eight as NVML does. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, struct nvml_device **out)
{
    for (int i = 0; i < device_count; i++) {
        char text[32];
        standin_cuda_pci(i, text, sizeof text);
        if (strcasecmp(strncmp(id, "0000", 4) == 0 ? id + 4 : id, text) == 0) {
            *out = &devices[i];
            return NVML_SUCCESS;
        }
    }
    return device_count < 0 ? NVML_UNINITIALIZED : NVML_NOT_FOUND;
}

int nvmlDeviceGetName(struct nvml_device *device, char *out, unsigned bytes)
{
    char text[64];
    standin_cuda_name(device->index, text, sizeof text);
    return text_put(out, bytes, text);
}

int nvmlDeviceGetPciInfo_v3(struct nvml_device *device, struct nvml_pci *out)
{
    *out = (struct nvml_pci){.domain = 0xffff, .bus = (unsigned)device->index + 1};
    standin_cuda_pci(device->index, out->bus_id_legacy, sizeof out->bus_id_legacy);
    snprintf(out->bus_id, sizeof out->bus_id, "0000%s", out->bus_id_legacy);
    return NVML_SUCCESS;
}

/* Encoding time since the last question over the time since then. */
static int busy(struct nvml_device *device, unsigned *percent)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (standin_lost(device->index))
        return NVML_GPU_IS_LOST;
    pthread_mutex_lock(&lock);
    int64_t now = standin_now_ns();
    uint64_t spent =
        __atomic_load_n(&standin_shared->devices[device->index].busy_ns, __ATOMIC_RELAXED);
    if (now - device->asked_ns >= SAMPLE_NS) {
        uint64_t share = device->asked_ns
                             ? (spent - device->busy_ns) * 100 / (uint64_t)(now - device->asked_ns)
                             : 0;
        device->percent = share > 100 ? 100 : (unsigned)share;
        device->busy_ns = spent;
        device->asked_ns = now;
    }
    *percent = device->percent;
    pthread_mutex_unlock(&lock);
    return NVML_SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct nvml_device *device, struct nvml_utilization *out)
{
    out->memory = 0;
    return busy(device, &out->gpu);
}

int nvmlDeviceGetEncoderUtilization(struct nvml_device *device, unsigned *out, unsigned *period_us)
{
    *period_us = (unsigned)(SAMPLE_NS / 1000);
    return busy(device, out);
}

int nvmlDeviceGetDecoderUtilization(struct nvml_device *device, unsigned *out, unsigned *period_us)
{
    *out = 0;
    *period_us = (unsigned)(SAMPLE_NS / 1000);
    return standin_lost(device->index) ? NVML_GPU_IS_LOST : NVML_SUCCESS;
}

int nvmlDeviceGetEncoderStats(struct nvml_device *device, unsigned *sessions, unsigned *fps,
                              unsigned *latency_us)
{
    if (standin_lost(device->index))
        return NVML_GPU_IS_LOST;
    standin_lock();
    *sessions = standin_sessions(device->index);
    standin_unlock();
    *fps = *latency_us = 0;
    return NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo(struct nvml_device *device, struct nvml_memory *out)
{
    if (standin_lost(device->index))
        return NVML_GPU_IS_LOST;
    standin_lock();
    out->used = standin_memory(device->index);
    standin_unlock();
    out->total = standin_cuda_total_bytes(device->index);
    out->free = out->used < out->total ? out->total - out->used : 0;
    return NVML_SUCCESS;
}

int nvmlDeviceGetTemperature(struct nvml_device *device, int sensor, unsigned *out)
{
    unsigned percent;
    int rc = busy(device, &percent);
    (void)sensor;
    if (rc == NVML_SUCCESS)
        *out = 40 + percent * 3 / 10;
    return rc;
}

int nvmlDeviceGetPowerUsage(struct nvml_device *device, unsigned *milliwatts)
{
    unsigned percent;
    int rc = busy(device, &percent);
    if (rc == NVML_SUCCESS)
        *milliwatts = 20000 + percent * 500;
    return rc;
}
