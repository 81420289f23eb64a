#include "worker/backends.h"

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_va.h"

const struct hal_backends worker_backends = {
    .devices = {&cpu_device_ops, &gpu_device_ops, &gpu_va_device_ops},
    .device_count = 3,
    .encoders = {&x264_encode_ops, &x265_encode_ops, &svtav1_encode_ops, &vpx_encode_ops,
                 &nvenc_encode_ops, &vaapi_encode_ops},
    .encoder_count = 6,
};
