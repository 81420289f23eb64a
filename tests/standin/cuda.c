/* The stand-in libcuda: devices and contexts. */
#include "tests/standin/cuda.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/cuda_private.h"
#include "tests/standin/state.h"

#define CONTEXT_MAGIC 0x63747831u
#define DEPTH_MAX     16

const char sluice_standin[] = "sluice stand-in for libcuda";

/* As large as a middling GPU's, so that what is planned by it is real. */
#define TOTAL_BYTES (UINT64_C(8) << 30)

static int machine_count;
static int visible[STANDIN_DEVICES_MAX];
static int visible_count;
static bool initialized;

static __thread struct CUctx_st *stack[DEPTH_MAX];
static __thread int depth;

/* ---- devices ---- */

void standin_cuda_uuid(int device, uint8_t out[16])
{
    memcpy(out, "sluice stand-in", 15);
    out[15] = (uint8_t)('0' + device);
}

void standin_cuda_name(int device, char *out, int out_bytes)
{
    snprintf(out, (size_t)out_bytes, "sluice stand-in GPU %d", device);
}

/* In a domain that no machine uses. */
void standin_cuda_pci(int device, char *out, int out_bytes)
{
    snprintf(out, (size_t)out_bytes, "ffff:%02x:00.0", device + 1);
}

int standin_cuda_machine_count(void)
{
    return machine_count;
}

uint64_t standin_cuda_total_bytes(int device)
{
    const struct standin_fault *memory = standin_fault(FAULT_MEMORY, device);
    return memory ? (uint64_t)memory->number : TOTAL_BYTES;
}

/* Its place in the machine by what CUDA_VISIBLE_DEVICES calls it: a number or the start of a UUID. */
static int device_named(const char *name)
{
    char *end;
    long number = strtol(name, &end, 10);
    if (end != name && *end == 0)
        return number >= 0 && number < machine_count ? (int)number : -1;
    for (int i = 0; i < machine_count; i++) {
        uint8_t uuid[16];
        char text[48] = "GPU-";
        standin_cuda_uuid(i, uuid);
        for (int b = 0, at = 4; b < 16; b++)
            at += sprintf(text + at, "%s%02x", b == 4 || b == 6 || b == 8 || b == 10 ? "-" : "",
                          uuid[b]);
        if (strncmp(text, name, strlen(name)) == 0)
            return i;
    }
    return -1;
}

static void devices_find(void)
{
    const char *count = getenv("SLUICE_STANDIN_NVENC");
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    machine_count = count && *count ? atoi(count) : 1;
    if (machine_count < 0)
        machine_count = 0;
    if (machine_count > STANDIN_DEVICES_MAX)
        machine_count = STANDIN_DEVICES_MAX;
    visible_count = 0;
    if (!wanted) {
        for (; visible_count < machine_count; visible_count++)
            visible[visible_count] = visible_count;
        return;
    }
    char text[512], *rest = text;
    snprintf(text, sizeof text, "%s", wanted);
    for (char *name; (name = strsep(&rest, ", ")) && visible_count < STANDIN_DEVICES_MAX;) {
        if (!*name)
            continue;
        int device = device_named(name);
        if (device < 0)
            break; /* what follows an unknown one is not seen either */
        visible[visible_count++] = device;
    }
}

int standin_cuda_init(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int rc = 0;
    pthread_mutex_lock(&lock);
    if (!initialized) {
        devices_find();
        if (!standin_start("nvenc"))
            rc = (int)CUDA_INVALID_VALUE;
        else
            initialized = true;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

STANDIN_EXPORT CUresult cuInit(unsigned flags)
{
    int rc = flags ? (int)CUDA_INVALID_VALUE : standin_cuda_init();
    if (rc)
        return (CUresult)rc;
    const struct standin_fault *code = standin_fault(FAULT_INIT_CODE, -1);
    if (standin_fault(FAULT_CRASH_AT_INIT, -1))
        raise(SIGSEGV);
    while (standin_fault(FAULT_HANG_AT_INIT, -1))
        sleep(1);
    if (code)
        return (CUresult)code->number;
    return visible_count ? CUDA_SUCCESS : CUDA_NO_DEVICE;
}

STANDIN_EXPORT CUresult cuDriverGetVersion(int *out)
{
    /* This one may be asked before cuInit. */
    standin_cuda_init();
    *out = standin_fault(FAULT_OLD_DRIVER, -1) ? STANDIN_CUDA_VERSION_OLD : STANDIN_CUDA_VERSION;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGetCount(int *out)
{
    if (!initialized)
        return CUDA_NOT_INITIALIZED;
    *out = visible_count;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGet(CUdevice *out, int ordinal)
{
    if (!initialized)
        return CUDA_NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= visible_count)
        return CUDA_INVALID_DEVICE;
    *out = ordinal;
    return CUDA_SUCCESS;
}

/* The device's place in the machine, or -1. */
static int machine_device(CUdevice device)
{
    return initialized && device >= 0 && device < visible_count ? visible[device] : -1;
}

STANDIN_EXPORT CUresult cuDeviceGetName(char *out, int out_bytes, CUdevice device)
{
    if (machine_device(device) < 0)
        return CUDA_INVALID_DEVICE;
    standin_cuda_name(machine_device(device), out, out_bytes);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGetUuid(CUuuid *out, CUdevice device)
{
    if (machine_device(device) < 0)
        return CUDA_INVALID_DEVICE;
    standin_cuda_uuid(machine_device(device), (uint8_t *)out->bytes);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *out, CUdevice device)
{
    return cuDeviceGetUuid(out, device);
}

STANDIN_EXPORT CUresult cuDeviceGetPCIBusId(char *out, int out_bytes, CUdevice device)
{
    if (machine_device(device) < 0)
        return CUDA_INVALID_DEVICE;
    standin_cuda_pci(machine_device(device), out, out_bytes);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGetByPCIBusId(CUdevice *out, const char *id)
{
    for (int i = 0; i < visible_count; i++) {
        char text[32];
        standin_cuda_pci(visible[i], text, sizeof text);
        if (strcasecmp(text, id) == 0) {
            *out = i;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_INVALID_VALUE;
}

STANDIN_EXPORT CUresult cuDeviceTotalMem_v2(size_t *out, CUdevice device)
{
    if (machine_device(device) < 0)
        return CUDA_INVALID_DEVICE;
    *out = standin_cuda_total_bytes(machine_device(device));
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    if (machine_device(device) < 0)
        return CUDA_INVALID_DEVICE;
    *major = 7;
    *minor = 5;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDeviceGetAttribute(int *out, CUdevice_attribute attribute,
                                             CUdevice device)
{
    /* 1, 2, 5, 8, 10 and 12 are limits of blocks, 39 and 81 threads and shared memory of a multiprocessor. */
    static const struct {
        int attribute, value;
    } values[] = {{1, 1024},
                  {2, 1024},
                  {3, 1024},
                  {4, 64},
                  {5, 0x7fffffff},
                  {6, 65535},
                  {7, 65535},
                  {8, 48 << 10},
                  {10, 32},
                  {12, 65536},
                  {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1000000},
                  {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
                  {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1},
                  {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
                  {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1000000},
                  {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 64},
                  {39, 1024},
                  {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
                  {CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 0xffff},
                  {CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 32},
                  {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 7},
                  {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 5},
                  {81, 64 << 10},
                  {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1}};
    int place = machine_device(device);
    if (place < 0)
        return CUDA_INVALID_DEVICE;
    *out = (int)attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID ? place + 1 : 0;
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        if (values[i].attribute == (int)attribute)
            *out = values[i].value;
    return CUDA_SUCCESS;
}

/* ---- contexts ---- */

int standin_cuda_device(const void *context)
{
    const struct CUctx_st *c = context;
    return c && c->magic == CONTEXT_MAGIC ? c->device : -1;
}

bool standin_cuda_dead(const void *context)
{
    const struct CUctx_st *c = context;
    return c->losses != standin_losses(c->device);
}

struct CUctx_st *context_current(void)
{
    return depth ? stack[depth - 1] : NULL;
}

CUresult context_check(void)
{
    const struct CUctx_st *context = context_current();
    if (!context)
        return CUDA_INVALID_CONTEXT;
    return standin_cuda_dead(context) ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

static CUresult context_make(CUcontext *out, CUdevice device)
{
    int place = machine_device(device);
    if (!initialized)
        return CUDA_NOT_INITIALIZED;
    if (place < 0)
        return CUDA_INVALID_DEVICE;
    if (standin_lost(place))
        return CUDA_ERROR_UNKNOWN;
    struct CUctx_st *context = calloc(1, sizeof *context);
    if (!context)
        return CUDA_OUT_OF_MEMORY;
    context->magic = CONTEXT_MAGIC;
    context->device = place;
    context->ordinal = device;
    context->losses = standin_losses(place);
    *out = context;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (standin_cuda_device(context) < 0)
        return CUDA_INVALID_CONTEXT;
    if (depth == DEPTH_MAX)
        return CUDA_OUT_OF_MEMORY;
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *out)
{
    if (!depth)
        return CUDA_INVALID_CONTEXT;
    depth--;
    if (out)
        *out = stack[depth];
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxSetCurrent(CUcontext context)
{
    if (depth)
        depth--;
    return context ? cuCtxPushCurrent_v2(context) : CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxGetCurrent(CUcontext *out)
{
    *out = context_current();
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxGetDevice(CUdevice *out)
{
    if (!context_current())
        return CUDA_INVALID_CONTEXT;
    *out = context_current()->ordinal;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxCreate_v2(CUcontext *out, unsigned flags, CUdevice device)
{
    (void)flags;
    CUresult rc = context_make(out, device);
    return rc ? rc : cuCtxPushCurrent_v2(*out);
}

STANDIN_EXPORT CUresult cuCtxDestroy_v2(CUcontext context)
{
    if (standin_cuda_device(context) < 0)
        return CUDA_INVALID_CONTEXT;
    if (context_current() == context)
        depth--;
    context->magic = 0;
    free(context);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    (void)limit;
    (void)value;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuCtxSynchronize(void)
{
    return context_check();
}

/* One per device and process, made by the first retain; it lives on, as a lost device's does. */
static struct CUctx_st *primary[STANDIN_DEVICES_MAX];
static int primary_refs[STANDIN_DEVICES_MAX];
static pthread_mutex_t primary_lock = PTHREAD_MUTEX_INITIALIZER;

STANDIN_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
    int place = machine_device(device);
    CUresult rc = CUDA_SUCCESS;
    if (place < 0)
        return CUDA_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    if (!primary[place])
        rc = context_make(&primary[place], device);
    if (rc == CUDA_SUCCESS) {
        primary_refs[place]++;
        *out = primary[place];
    }
    pthread_mutex_unlock(&primary_lock);
    return rc;
}

STANDIN_EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    int place = machine_device(device);
    if (place < 0)
        return CUDA_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    CUresult rc = primary_refs[place] ? CUDA_SUCCESS : CUDA_INVALID_CONTEXT;
    if (rc == CUDA_SUCCESS && --primary_refs[place] == 0) {
        cuCtxDestroy_v2(primary[place]);
        primary[place] = NULL;
    }
    pthread_mutex_unlock(&primary_lock);
    return rc;
}

STANDIN_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    return cuDevicePrimaryCtxRelease(device);
}

STANDIN_EXPORT CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags)
{
    (void)flags;
    return machine_device(device) < 0 ? CUDA_INVALID_DEVICE : CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    int place = machine_device(device);
    if (place < 0)
        return CUDA_INVALID_DEVICE;
    pthread_mutex_lock(&primary_lock);
    *flags = CU_CTX_SCHED_BLOCKING_SYNC;
    *active = primary_refs[place] > 0;
    pthread_mutex_unlock(&primary_lock);
    return CUDA_SUCCESS;
}

/* ---- errors ---- */

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static int error_row(CUresult code)
{
    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code)
            return (int)i;
    return -1;
}

STANDIN_EXPORT CUresult cuGetErrorName(CUresult code, const char **out)
{
    int row = error_row(code);
    *out = row < 0 ? NULL : errors[row].name;
    return row < 0 ? CUDA_INVALID_VALUE : CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuGetErrorString(CUresult code, const char **out)
{
    int row = error_row(code);
    *out = row < 0 ? NULL : errors[row].text;
    return row < 0 ? CUDA_INVALID_VALUE : CUDA_SUCCESS;
}
