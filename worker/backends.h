/* worker/backends.h: the concrete back ends that this program was put together from. */
#ifndef SL_WORKER_BACKENDS_H
#define SL_WORKER_BACKENDS_H

#include "hal/hal.h"

extern const struct hal_backends worker_backends;

#endif
