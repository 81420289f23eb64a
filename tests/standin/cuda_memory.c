/* The stand-in libcuda: memory, copies, streams, events, kernels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_twins.h"
#include "tests/standin/cuda_private.h"
#include "tests/standin/state.h"

/* What calls return that need a live context and have nothing to do. */
#define NEED_CONTEXT()                                                                             \
    do {                                                                                           \
        CUresult context_rc = context_check();                                                     \
        if (context_rc)                                                                            \
            return context_rc;                                                                     \
    } while (0)

static void *host(CUdeviceptr address)
{
    return (void *)(uintptr_t)address;
}

/* ---- memory ---- */

#define BLOCK_MAGIC 0x6d656d31u
#define BLOCK_ALIGN 512 /* as the driver aligns; also room for the header */

struct block {
    uint32_t magic;
    int device;
    size_t bytes;
};

static struct block *block_of(CUdeviceptr address)
{
    struct block *block = (struct block *)((char *)host(address) - BLOCK_ALIGN);
    return address % BLOCK_ALIGN == 0 && block->magic == BLOCK_MAGIC ? block : NULL;
}

STANDIN_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes)
{
    NEED_CONTEXT();
    int device = context_current()->device;
    if (!bytes)
        return CUDA_INVALID_VALUE;
    if (bytes > standin_cuda_total_bytes(device) ||
        !standin_memory_take(device, (int64_t)bytes, standin_cuda_total_bytes(device)))
        return CUDA_OUT_OF_MEMORY;
    size_t whole = (bytes + 2 * BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
    struct block *block = aligned_alloc(BLOCK_ALIGN, whole);
    if (!block) {
        standin_memory_take(device, -(int64_t)bytes, 0);
        return CUDA_OUT_OF_MEMORY;
    }
    *block = (struct block){BLOCK_MAGIC, device, bytes};
    *out = (CUdeviceptr)((uintptr_t)block + BLOCK_ALIGN);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemFree_v2(CUdeviceptr address)
{
    if (!address)
        return CUDA_SUCCESS;
    struct block *block = block_of(address);
    if (!block)
        return CUDA_INVALID_VALUE;
    standin_memory_take(block->device, -(int64_t)block->bytes, 0);
    block->magic = 0;
    free(block);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width_bytes,
                                           size_t height, unsigned element_bytes)
{
    (void)element_bytes;
    *pitch = (width_bytes + 511) / 512 * 512;
    return cuMemAlloc_v2(out, *pitch * height);
}

STANDIN_EXPORT CUresult cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned flags)
{
    (void)flags;
    return cuMemAlloc_v2(out, bytes);
}

STANDIN_EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    NEED_CONTEXT();
    int device = context_current()->device;
    standin_lock();
    uint64_t used = standin_memory(device);
    standin_unlock();
    *total_bytes = standin_cuda_total_bytes(device);
    *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemAllocHost_v2(void **out, size_t bytes)
{
    NEED_CONTEXT();
    *out = aligned_alloc(BLOCK_ALIGN, (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN);
    return *out ? CUDA_SUCCESS : CUDA_OUT_OF_MEMORY;
}

STANDIN_EXPORT CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
    (void)flags;
    return cuMemAllocHost_v2(out, bytes);
}

STANDIN_EXPORT CUresult cuMemFreeHost(void *address)
{
    free(address);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count)
{
    NEED_CONTEXT();
    memset(host(to), value, count);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count,
                                        CUstream stream)
{
    (void)stream;
    return cuMemsetD8_v2(to, value, count);
}

STANDIN_EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count)
{
    NEED_CONTEXT();
    for (size_t i = 0; i < count; i++)
        ((unsigned *)host(to))[i] = value;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count,
                                         CUstream stream)
{
    (void)stream;
    return cuMemsetD32_v2(to, value, count);
}

/* ---- copies ---- */

static CUresult copy(void *to, const void *from, size_t bytes)
{
    NEED_CONTEXT();
    memmove(to, from, bytes);
    return CUDA_SUCCESS;
}

/* Out of the device's memory, which is counted. */
static CUresult fetch(void *to, const void *from, size_t bytes)
{
    CUresult rc = copy(to, from, bytes);
    if (rc == CUDA_SUCCESS)
        standin_host_bytes(context_current()->device, bytes);
    return rc;
}

STANDIN_EXPORT CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return copy(host(to), host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                      CUstream stream)
{
    (void)stream;
    return copy(host(to), host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    return copy(host(to), from, bytes);
}

STANDIN_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                             CUstream stream)
{
    (void)stream;
    return copy(host(to), from, bytes);
}

STANDIN_EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    return fetch(to, host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
                                             CUstream stream)
{
    (void)stream;
    return fetch(to, host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return copy(host(to), host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                             CUstream stream)
{
    (void)stream;
    return copy(host(to), host(from), bytes);
}

STANDIN_EXPORT CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *c)
{
    NEED_CONTEXT();
    if (c->srcMemoryType == CU_MEMORYTYPE_ARRAY || c->dstMemoryType == CU_MEMORYTYPE_ARRAY)
        return CUDA_NOT_SUPPORTED;
    const char *from = c->srcMemoryType == CU_MEMORYTYPE_HOST ? c->srcHost : host(c->srcDevice);
    char *to = c->dstMemoryType == CU_MEMORYTYPE_HOST ? c->dstHost : host(c->dstDevice);
    if (!from || !to ||
        (c->Height > 1 && (c->srcPitch < c->WidthInBytes + c->srcXInBytes ||
                           c->dstPitch < c->WidthInBytes + c->dstXInBytes)))
        return CUDA_INVALID_VALUE;
    from += c->srcY * c->srcPitch + c->srcXInBytes;
    to += c->dstY * c->dstPitch + c->dstXInBytes;
    for (size_t y = 0; y < c->Height; y++)
        memcpy(to + y * c->dstPitch, from + y * c->srcPitch, c->WidthInBytes);
    if (c->srcMemoryType == CU_MEMORYTYPE_DEVICE && c->dstMemoryType == CU_MEMORYTYPE_HOST)
        standin_host_bytes(context_current()->device, c->WidthInBytes * c->Height);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream stream)
{
    (void)stream;
    return cuMemcpy2D_v2(c);
}

STANDIN_EXPORT CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *c)
{
    return cuMemcpy2D_v2(c);
}

/* ---- streams and events ---- */

struct CUstream_st {
    unsigned flags;
};

struct CUevent_st {
    int64_t at_ns;
};

STANDIN_EXPORT CUresult cuStreamCreate(CUstream *out, unsigned flags)
{
    NEED_CONTEXT();
    *out = calloc(1, sizeof **out);
    if (!*out)
        return CUDA_OUT_OF_MEMORY;
    (*out)->flags = flags;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuStreamCreateWithPriority(CUstream *out, unsigned flags, int priority)
{
    (void)priority;
    return cuStreamCreate(out, flags);
}

STANDIN_EXPORT CUresult cuStreamDestroy_v2(CUstream stream)
{
    free(stream);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuStreamSynchronize(CUstream stream)
{
    (void)stream;
    return context_check();
}

STANDIN_EXPORT CUresult cuStreamQuery(CUstream stream)
{
    (void)stream;
    return context_check();
}

STANDIN_EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    (void)stream;
    (void)event;
    (void)flags;
    return context_check();
}

STANDIN_EXPORT CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback *callback, void *arg,
                                            unsigned flags)
{
    (void)flags;
    NEED_CONTEXT();
    callback(stream, CUDA_SUCCESS, arg);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuEventCreate(CUevent *out, unsigned flags)
{
    (void)flags;
    NEED_CONTEXT();
    *out = calloc(1, sizeof **out);
    return *out ? CUDA_SUCCESS : CUDA_OUT_OF_MEMORY;
}

STANDIN_EXPORT CUresult cuEventDestroy_v2(CUevent event)
{
    free(event);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream)
{
    (void)stream;
    NEED_CONTEXT();
    event->at_ns = standin_now_ns();
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuEventSynchronize(CUevent event)
{
    (void)event;
    return context_check();
}

STANDIN_EXPORT CUresult cuEventQuery(CUevent event)
{
    (void)event;
    return context_check();
}

STANDIN_EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to)
{
    NEED_CONTEXT();
    *milliseconds = (float)((double)(to->at_ns - from->at_ns) / 1e6);
    return CUDA_SUCCESS;
}

/* ---- kernels ---- */

/* The images are not read: a function is the twin of that name. Weak, for a build without kernels. */
#pragma weak gpu_twins

struct CUmod_st {
    unsigned magic;
};

struct CUfunc_st {
    struct gpu_twin twin;
};

STANDIN_EXPORT CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
    NEED_CONTEXT();
    if (!image)
        return CUDA_INVALID_VALUE;
    *out = calloc(1, sizeof **out);
    return *out ? CUDA_SUCCESS : CUDA_OUT_OF_MEMORY;
}

STANDIN_EXPORT CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned count,
                                           CUjit_option *options, void **values)
{
    (void)count;
    (void)options;
    (void)values;
    return cuModuleLoadData(out, image);
}

STANDIN_EXPORT CUresult cuModuleUnload(CUmodule module)
{
    free(module);
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name)
{
    NEED_CONTEXT();
    if (!module)
        return CUDA_INVALID_HANDLE;
    for (const struct gpu_twin *twin = gpu_twins; twin && twin->name; twin++)
        if (strcmp(twin->name, name) == 0) {
            *out = (CUfunction)twin;
            return CUDA_SUCCESS;
        }
    return CUDA_NOT_FOUND;
}

STANDIN_EXPORT CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value)
{
    (void)function;
    (void)attribute;
    (void)value;
    return context_check();
}

STANDIN_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                       unsigned grid_z, unsigned block_x, unsigned block_y,
                                       unsigned block_z, unsigned shared_bytes, CUstream stream,
                                       void **args, void **extra)
{
    (void)shared_bytes;
    (void)stream;
    NEED_CONTEXT();
    const struct CUctx_st *context = context_current();
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    if (!function || extra || !grid_x || !grid_y || !grid_z ||
        (uint64_t)block_x * block_y * block_z == 0 || (uint64_t)block_x * block_y * block_z > 1024)
        return CUDA_INVALID_VALUE;
    /* A GPU without an engine shows its faults in the pictures that it scales. */
    if (standin_fault(FAULT_NO_ENGINE, context->device) &&
        strncmp(function->twin.name, "ladder", 6) == 0) {
        int spoilt = standin_picture(context->device, ENGINE_ENCODE);
        NEED_CONTEXT();
        if (spoilt >= 0)
            return CUDA_SUCCESS; /* what lay in the surfaces stays there */
    }
    function->twin.run(grid, block, args);
    return CUDA_SUCCESS;
}
