/* worker/prove_feed.h: does a GPU that encodes nothing make the pictures that the CPU would?
 *
 * What a golden chunk is to a GPU with encoders: golden pictures go up, are scaled, come back, and are held against those
 * of the CPU's scaler. A GPU or a program without kernels has nothing to prove.
 *
 * Errors: SL_EMISMATCH where they differ by more than two scalers do; gpu/gpu_error.h.
 */
#ifndef SL_WORKER_PROVE_FEED_H
#define SL_WORKER_PROVE_FEED_H

#include "hal/hal.h"

int prove_feed(const struct hal_device *device, struct sl_failure *why);

#endif
