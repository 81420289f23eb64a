/* worker/prove_decode.h: what a GPU's driver says that it decodes, held against the CPU.
 *
 * Before a worker enters its sandbox the CPU's encoders make some golden pictures of each codec that the device decodes, and
 * both decode them. What does not come out equal, bit for bit, loses its layout in the device's row (HAL_DECODE) and is decoded
 * on the CPU, which is always right; so does what cannot be tried, because no encoder here makes it.
 */
#ifndef SL_WORKER_PROVE_DECODE_H
#define SL_WORKER_PROVE_DECODE_H

#include "hal/hal.h"

void prove_decode(const struct hal_backends *backends, struct hal_device *device);

#endif
