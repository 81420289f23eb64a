#include "gpu/gpu_error.h"

#include <stddef.h>

/* NVENCSTATUS. Numbers, because a driver may be newer than the headers. 10 is what older drivers answer when no session is
 * free, and 21 what newer ones do; an open that lacks memory answers 10 as well (gpu/gpu_nvenc_probe.c tells them
 * apart). */
static const struct gpu_error nvenc_errors[] = {
    {1, "NV_ENC_ERR_NO_ENCODE_DEVICE", SL_ENOENCODER, "the GPU has no encode engine"},
    {2, "NV_ENC_ERR_UNSUPPORTED_DEVICE", SL_ENOENCODER, "the GPU has no encode engine"},
    {3, "NV_ENC_ERR_INVALID_ENCODERDEVICE", SL_EINTERNAL, "the driver knows no such context"},
    {4, "NV_ENC_ERR_INVALID_DEVICE", SL_EDEVICELOST, "the driver knows no such GPU any more"},
    {5, "NV_ENC_ERR_DEVICE_NOT_EXIST", SL_EDEVICELOST, "the GPU is gone"},
    {6, "NV_ENC_ERR_INVALID_PTR", SL_EINTERNAL, "a wrong call"},
    {8, "NV_ENC_ERR_INVALID_PARAM", SL_EINVAL, "a parameter is out of range for this GPU"},
    {9, "NV_ENC_ERR_INVALID_CALL", SL_EINTERNAL, "a wrong call"},
    {10, "NV_ENC_ERR_OUT_OF_MEMORY", SL_ESESSIONS, "no encoder session is free"},
    {11, "NV_ENC_ERR_ENCODER_NOT_INITIALIZED", SL_EINTERNAL, "a wrong call"},
    {12, "NV_ENC_ERR_UNSUPPORTED_PARAM", SL_EINVAL, "this GPU cannot do what was asked"},
    {13, "NV_ENC_ERR_LOCK_BUSY", SL_EENCODE, "the encoder is busy"},
    {14, "NV_ENC_ERR_NOT_ENOUGH_BUFFER", SL_EENCODE, "a buffer is too small"},
    {15, "NV_ENC_ERR_INVALID_VERSION", SL_ENOENCODER, "the driver is too old for this program"},
    {16, "NV_ENC_ERR_MAP_FAILED", SL_EENCODE, "a picture cannot be mapped"},
    {18, "NV_ENC_ERR_ENCODER_BUSY", SL_EENCODE, "the encoder is busy"},
    {20, "NV_ENC_ERR_GENERIC", SL_EENCODE, "the driver does not say why"},
    {21, "NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY", SL_ESESSIONS, "no encoder session is free"},
    {22, "NV_ENC_ERR_UNIMPLEMENTED", SL_EINVAL, "this driver cannot do what was asked"},
    {23, "NV_ENC_ERR_RESOURCE_REGISTER_FAILED", SL_EENCODE, "a picture cannot be registered"},
    {24, "NV_ENC_ERR_RESOURCE_NOT_REGISTERED", SL_EINTERNAL, "a wrong call"},
    {25, "NV_ENC_ERR_RESOURCE_NOT_MAPPED", SL_EINTERNAL, "a wrong call"},
    {0, "unknown", SL_EENCODE, "the driver answered with a number that is not in its interface"},
};

/* CUresult. */
static const struct gpu_error cuda_errors[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", SL_EINTERNAL, "a wrong call"},
    /* A worker's own memory is another thing: what that lacks, it lacks on every node. */
    {2, "CUDA_ERROR_OUT_OF_MEMORY", SL_ESESSIONS, "the GPU's memory is full"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", SL_EINTERNAL, "a wrong call"},
    {4, "CUDA_ERROR_DEINITIALIZED", SL_EDEVICELOST, "the driver is shutting down"},
    {34, "CUDA_ERROR_STUB_LIBRARY", SL_ENOENCODER,
     "libcuda.so.1 is the toolkit's stub; put the driver's own before it in the library path"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", SL_EBUSY,
     "another program has the GPU to itself (nvidia-smi -c 0 lets it be shared)"},
    {GPU_CUDA_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", SL_ENOENT, "the driver shows no GPU"},
    {101, "CUDA_ERROR_INVALID_DEVICE", SL_EDEVICELOST, "the driver knows no such GPU any more"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", SL_EINTERNAL, "a wrong call"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", SL_EUNSUPPORTED, "the kernels do not fit this GPU"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", SL_EDEVICELOST,
     "the GPU's memory has an error that cannot be corrected"},
    {218, "CUDA_ERROR_INVALID_PTX", SL_EUNSUPPORTED, "the kernels do not fit this driver"},
    {221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", SL_EUNSUPPORTED,
     "the driver lacks its compiler (libnvidia-ptxjitcompiler), which the kernels need here"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", SL_EUNSUPPORTED,
     "the driver is too old for the kernels"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", SL_EDEVICELOST, "the context is broken"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", SL_EDEVICELOST, "a kernel took too long"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", SL_EDEVICELOST, "the context is gone"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", SL_EDEVICELOST, "the context is broken"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", SL_EUNSUPPORTED, "this driver or GPU cannot do it"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", SL_EBUSY,
     "the system of GPUs is not up yet (nvidia-fabricmanager)"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", SL_ENOENCODER,
     "the driver's libraries and its kernel module are of two versions; reboot or reload it"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", SL_ENOENCODER,
     "this GPU does not take the compatibility libraries; use the driver's own"},
    {999, "CUDA_ERROR_UNKNOWN", SL_EDEVICELOST, "the driver does not say why; see dmesg for Xid"},
    {0, "unknown", SL_EENCODE, "the driver answered with a number that is not in its interface"},
};

const struct gpu_error *gpu_error_find(enum gpu_interface interface, int number)
{
    const struct gpu_error *row = interface == GPU_CUDA ? cuda_errors : nvenc_errors;
    while (row->number && row->number != number)
        row++;
    return row;
}

int gpu_fail(struct sl_failure *why, enum gpu_interface interface, int number, const char *what)
{
    const struct gpu_error *row = gpu_error_find(interface, number);
    return sl_fail(why, row->code, "%s: %s (%s, %d)", what, row->text, row->name, number);
}
