/* worker/prove.h: a golden chunk, which says whether a device can be trusted again.
 *
 * The device is opened; each of its encoders gets the golden pictures (hal/hal_golden.h), what it makes of them is cut into a
 * segment like any other, read back by software decoders and held against the pictures that went in: their number, their
 * order, and that each is the right one. Where the GPU runs kernels, their measure of each picture has to be the CPU's. Nothing of a source is read, so there is no sandbox.
 */
#ifndef SL_WORKER_PROVE_H
#define SL_WORKER_PROVE_H

#include "hal/hal.h"

/* READY or FAILED to the agent on socket; without one (-1) a line on standard output. The exit status. */
int prove(enum device_kind kind, const char *device_id, int socket);

#endif
