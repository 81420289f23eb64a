#include "worker/backends.h"

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"

const struct hal_backends worker_backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&x264_encode_ops},
    .encoder_count = 1,
};
