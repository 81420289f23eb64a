/* agent/lease_worker.h: the device and the worker of one lease, from claim to release.
 *
 * Jobs that encode on a GPU get a claim of its sessions and a worker that is warm for their video; all others get a worker
 * for a CPU slot, which serves them alone. Those that encode on CPUs may get a GPU that feeds them (hal_table_feed) and a worker
 * that is warm for the two; where it does not start, they do without.
 *
 * Owns:    the claim and the process until settle.
 * Threads: the lease's.
 */
#ifndef SL_AGENT_LEASE_WORKER_H
#define SL_AGENT_LEASE_WORKER_H

#include "agent/lease_run.h"
#include "model/job_types.h"

struct lease_worker {
    const struct lease_place *place;
    struct video_id video;
    struct hal_claim claim; /* device_id empty: none */
    struct hal_claim feed;  /* of a GPU that feeds; device_id empty: none */
    int32_t rungs;
    bool on_gpu;
    bool killed; /* its process ended by SIGKILL, which no driver's crash is */
    struct worker_process process;
};

/* Names the device and its sessions in the job. no_worker: no worker for CPU slots starts on this node. */
int lease_worker_take(struct lease_worker *w, const struct lease_place *place,
                      struct video_id video, struct job *job, bool *no_worker,
                      struct sl_failure *why);
/* The device whose driver its worker has open, or "". */
const char *lease_worker_driver(const struct lease_worker *w);
/* Ends the process, waiting for patience_ns, and says what it cost. */
void lease_worker_end(struct lease_worker *w, int64_t patience_ns, struct worker_costs *out);
/* Instead of ending it, after its last word: well: it may serve the next lease. fed: a GPU made the pictures, as it said. */
void lease_worker_give(struct lease_worker *w, bool well, bool fed);
/* The lease has ended with failure (code 0: well), having had so many sessions open. Says so of the device, learns, names
 * the device in the failure, and releases the claim. */
void lease_worker_settle(struct lease_worker *w, struct sl_failure *failure, int32_t sessions);

#endif
