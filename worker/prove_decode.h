/* worker/prove_decode.h: what a GPU's driver says that it decodes, held against the CPU.
 *
 * Before a worker enters its sandbox it encodes some golden pictures, on the device or on the CPUs that it feeds, and has them decoded by both. What does
 * not come out equal, bit for bit, loses its layout in the device's row (HAL_DECODE) and is decoded on the CPU, which is
 * always right. A codec that by does not encode cannot be tried.
 */
#ifndef SL_WORKER_PROVE_DECODE_H
#define SL_WORKER_PROVE_DECODE_H

#include "hal/hal.h"

void prove_decode(const struct hal_backends *backends, struct hal_device *device,
                  struct hal_device *by);

#endif
