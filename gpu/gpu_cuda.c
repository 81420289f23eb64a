#include "gpu/gpu_cuda.h"

#include <libavutil/hwcontext.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"

#include <libavutil/hwcontext_cuda.h> /* after CUDA's own types */

/* Of <cuda.h>; ffnvcodec lists but some attributes. */
#define ATTRIBUTE_PCI_BUS    ((CUdevice_attribute)33)
#define ATTRIBUTE_PCI_DEVICE ((CUdevice_attribute)34)
#define ATTRIBUTE_PCI_DOMAIN ((CUdevice_attribute)50)

struct opened {
    char device_id[DEVICE_ID_BYTES];
    AVBufferRef *context;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct opened opened[NODE_DEVICES_MAX];
static int32_t opened_count;

/* ---- identity ---- */

static void uuid_print(const CUuuid *uuid, char out[DEVICE_ID_BYTES])
{
    const uint8_t *b = (const uint8_t *)uuid->bytes;
    snprintf(out, DEVICE_ID_BYTES,
             "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

static void pci_print(const struct gpu_driver *driver, CUdevice device, char out[GPU_PCI_BYTES])
{
    int domain = 0, bus = 0, slot = 0;
    out[0] = '\0';
    if (driver->cuda->cuDeviceGetAttribute(&domain, ATTRIBUTE_PCI_DOMAIN, device) == CUDA_SUCCESS &&
        driver->cuda->cuDeviceGetAttribute(&bus, ATTRIBUTE_PCI_BUS, device) == CUDA_SUCCESS &&
        driver->cuda->cuDeviceGetAttribute(&slot, ATTRIBUTE_PCI_DEVICE, device) == CUDA_SUCCESS)
        snprintf(out, GPU_PCI_BYTES, "%04x:%02x:%02x.0", (unsigned)domain, (unsigned)bus & 0xff,
                 (unsigned)slot & 0xff);
}

int gpu_identity_read(const struct gpu_driver *driver, int32_t ordinal, struct gpu_identity *out,
                      struct sl_failure *why)
{
    struct gpu_identity id = {0};
    CUresult result = driver->cuda->cuDeviceGet(&id.device, ordinal);
    if (result != CUDA_SUCCESS)
        return gpu_fail(why, GPU_CUDA, (int)result, "a GPU cannot be asked who it is");
    pci_print(driver, id.device, id.pci);
    CUuuid uuid;
    if (driver->cuda->cuDeviceGetUuid &&
        driver->cuda->cuDeviceGetUuid(&uuid, id.device) == CUDA_SUCCESS)
        uuid_print(&uuid, id.device_id);
    else if (id.pci[0])
        snprintf(id.device_id, sizeof id.device_id, "gpu-%s", id.pci);
    else
        snprintf(id.device_id, sizeof id.device_id, "gpu-%d", ordinal);
    *out = id;
    return SL_OK;
}

/* ---- contexts ---- */

static int device_find(const struct gpu_driver *driver, const char *device_id, CUdevice *out,
                       struct sl_failure *why)
{
    for (int32_t i = 0; i < driver->device_count; i++) {
        struct gpu_identity id;
        if (gpu_identity_read(driver, i, &id, why) == SL_OK &&
            strcmp(id.device_id, device_id) == 0) {
            *out = id.device;
            return SL_OK;
        }
    }
    return sl_fail(why, SL_EDEVICELOST, "the GPU %s is not on this machine any more", device_id);
}

static int context_open(const struct gpu_driver *driver, const char *device_id, AVBufferRef **out,
                        struct sl_failure *why)
{
    CUdevice device = 0;
    CUcontext context, none;
    int code = device_find(driver, device_id, &device, why);
    if (code != SL_OK)
        return code;
    /* A thread that waits for the GPU sleeps: its CPU has work of its own. */
    CUresult result = driver->cuda->cuCtxCreate(&context, CU_CTX_SCHED_BLOCKING_SYNC, device);
    if (result != CUDA_SUCCESS)
        return gpu_fail(why, GPU_CUDA, (int)result, "the GPU gives no context");
    driver->cuda->cuCtxPopCurrent(&none);
    AVBufferRef *ref = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA);
    int rc = AVERROR(ENOMEM);
    if (ref) {
        AVHWDeviceContext *av = (AVHWDeviceContext *)(void *)ref->data;
        AVCUDADeviceContext *cuda = av->hwctx;
        cuda->cuda_ctx = context;
        rc = av_hwdevice_ctx_init(ref);
    }
    if (rc < 0) {
        av_buffer_unref(&ref);
        driver->cuda->cuCtxDestroy(context);
        return sl_fail(why, rc == AVERROR(ENOMEM) ? SL_ENOMEM : SL_ENOENCODER,
                       "libavutil takes no CUDA context of the GPU %s (%d)", device_id, rc);
    }
    *out = ref;
    return SL_OK;
}

int gpu_context(const char *device_id, AVBufferRef **out, struct sl_failure *why)
{
    const struct gpu_driver *driver;
    int code = gpu_driver_load(&driver, why);
    if (code != SL_OK)
        return code;
    pthread_mutex_lock(&lock);
    struct opened *of = opened;
    while (of < opened + opened_count && strcmp(of->device_id, device_id) != 0)
        of++;
    if (of == opened + NODE_DEVICES_MAX) {
        code = sl_fail(why, SL_ELIMIT, "contexts on %d GPUs are open", NODE_DEVICES_MAX);
    } else if (of == opened + opened_count) {
        code = context_open(driver, device_id, &of->context, why);
        if (code == SL_OK) {
            snprintf(of->device_id, sizeof of->device_id, "%s", device_id);
            opened_count++;
        }
    }
    if (code == SL_OK)
        *out = of->context;
    pthread_mutex_unlock(&lock);
    return code;
}

CUcontext gpu_context_cuda(const AVBufferRef *context)
{
    const AVHWDeviceContext *av = (const AVHWDeviceContext *)(const void *)context->data;
    return ((const AVCUDADeviceContext *)av->hwctx)->cuda_ctx;
}

int gpu_context_enter(AVBufferRef *context, struct sl_failure *why)
{
    const struct gpu_driver *driver;
    int code = gpu_driver_load(&driver, why);
    if (code != SL_OK)
        return code;
    CUresult result = driver->cuda->cuCtxPushCurrent(gpu_context_cuda(context));
    return result == CUDA_SUCCESS
               ? SL_OK
               : gpu_fail(why, GPU_CUDA, (int)result, "the GPU's context cannot be used");
}

void gpu_context_leave(AVBufferRef *context)
{
    const struct gpu_driver *driver;
    CUcontext left;
    (void)context;
    if (gpu_driver_load(&driver, NULL) == SL_OK)
        driver->cuda->cuCtxPopCurrent(&left);
}

int64_t gpu_memory_free_bytes(AVBufferRef *context)
{
    const struct gpu_driver *driver;
    size_t left = 0, total = 0;
    if (gpu_driver_load(&driver, NULL) != SL_OK || !driver->memory_info ||
        gpu_context_enter(context, NULL) != SL_OK)
        return -1;
    CUresult result = driver->memory_info(&left, &total);
    gpu_context_leave(context);
    return result == CUDA_SUCCESS ? (int64_t)left : -1;
}
