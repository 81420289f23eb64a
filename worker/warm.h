/* worker/warm.h: what costs time once per process, done before there is a job.
 *
 * Pages of the libraries are touched and an encoder is run for a few small frames, so that its tables are filled.
 * Failing to warm up is no error: the job will say what is wrong.
 */
#ifndef SL_WORKER_WARM_H
#define SL_WORKER_WARM_H

#include "hal/hal.h"

/* H.264 alone of the CPU's encoders: most leases of a farm are of it, and 6 ms here save 5 in each. All four would cost
 * every worker 90 ms and 32 MB, to save a lease of AV1 20 ms of minutes, and others 6. */
void worker_warm(const struct hal_backends *backends, struct hal_device *devices, int32_t count);

/* Encodes a little with each encoder of a GPU, one session at a time, so that its driver has loaded and opened what it
 * does at first use. SL_ESESSIONS, and codes of the class device, are returned; other mistakes are the job's to find. */
int worker_warm_device(const struct hal_backends *backends, struct hal_device *device,
                       struct sl_failure *why);

#endif
