#include "worker/backends.h"

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"
#include "gpu/gpu_cuda.h"

const struct hal_backends worker_backends = {
    .devices = {&cpu_device_ops, &gpu_device_ops},
    .device_count = 2,
    .encoders = {&x264_encode_ops, &x265_encode_ops, &nvenc_encode_ops},
    .encoder_count = 3,
};
