/* agent/worker_warm.h: workers that keep a GPU's driver open from lease to lease.
 *
 * Opening a driver's context takes hundreds of milliseconds, a chunk may take less. So a worker of a device serves the
 * leases of one video one after another, and no other video's: what one source may have done to it meets that source
 * only. It is replaced after a fault, WARM_LEASES_MAX leases or WARM_IDLE_NS without one, and when another video needs
 * its place. Encoder sessions end with their lease, so one that waits holds none.
 *
 * So do workers of CPU slots that a GPU feeds (hal_claim.feeds): of these there are never more than leases at once, since each
 * lease that finds none of its video ends one that waits for another.
 *
 * Owns:     the workers that wait. One that was taken is the caller's until it is given back or reaped.
 * Threads:  any; one of its own ends what has waited too long.
 * Errors:   SL_EDEVICELOST, SL_EHANG where the driver cannot be opened, SL_ESESSIONS, or what the worker said.
 * Blocking: take, until the worker is ready, at most WORKER_START_NS.
 */
#ifndef SL_AGENT_WORKER_WARM_H
#define SL_AGENT_WORKER_WARM_H

#include "agent/worker_process.h"
#include "hal/hal_table.h"
#include "model/ids.h"

#define WARM_LEASES_MAX 32
#define WARM_IDLE_NS    SL_S_TO_NS(15)
#define WARM_IDLE_MAX   32
#define WARM_UNFED_MAX  64

struct worker_warm;

/* program is copied. idle_ns: WARM_IDLE_NS but in tests. */
int worker_warm_open(const char *program, int64_t idle_ns, struct worker_warm **out);
void worker_warm_close(struct worker_warm **warm);

/* A device on which a worker of the video waits, or "". feeds: one that it feeds. */
void worker_warm_device(struct worker_warm *warm, struct video_id video, bool feeds,
                        char out[DEVICE_ID_BYTES]);

/* No GPU makes this video's pictures, as a lease has shown: it is not worth another try while it is among the last such. */
void worker_warm_unfed(struct worker_warm *warm, struct video_id video);
bool worker_warm_is_unfed(struct worker_warm *warm, struct video_id video);

/* A worker for a lease of the video on the claim's device. One that has to be started is up within patience_ns, or its device
 * hangs. */
int worker_warm_take(struct worker_warm *warm, struct video_id video, const struct hal_claim *claim,
                     int64_t patience_ns, struct worker_process *out, struct sl_failure *why);
/* After a lease that ended well; keeps or ends it. */
void worker_warm_give(struct worker_warm *warm, struct video_id video,
                      const struct hal_claim *claim, struct worker_process *worker);
/* Ends those that wait on a device: it is ill. */
void worker_warm_clear(struct worker_warm *warm, const char *device_id);

#endif
