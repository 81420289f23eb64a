/* agent/lease_run.h: one lease on this node, from its grant to a report, a failure or a stop.
 *
 * A job that encodes is given a device of the node and sessions of it (agent/device_table.h), which it holds until its end;
 * how it ended says something about the device's health. On a GPU it is done by a worker that served the same video
 * before, if one waits (agent/worker_warm.h).
 *
 * A ready worker gets the job and its inputs: descriptors of the store's files where the node sees them, else
 * a socket answered from the range cache. Its outputs are stored as it goes. A worker without progress for the
 * grant's watchdog time is killed, group and all; so is one whose lease is stopped.
 *
 * Owns:     the run and its outputs until close: they are deleted on a late verdict.
 * Errors:   a failure is a result, not an error of these functions. One of the class CONFIG is always a worker's
 *           verdict; what this node itself could not do has another class (SL_EIO where errno would say so).
 * Threads:  open, go, close: one thread. stop: any, between open and close.
 * Blocking: go, as long as the work takes.
 */
#ifndef SL_AGENT_LEASE_RUN_H
#define SL_AGENT_LEASE_RUN_H

#include <stdbool.h>

#include "agent/device_table.h"
#include "agent/range_cache.h"
#include "agent/store.h"
#include "agent/worker_pool.h"
#include "agent/worker_warm.h"
#include "base/buf.h"

#define LEASE_WATCHDOG_DEFAULT_NS SL_S_TO_NS(60)
/* Inputs that go over as descriptors; further ones are asked for over the range socket. */
#define LEASE_INPUT_FDS_MAX       60

/* What every lease of the node uses. */
struct lease_place {
    struct worker_pool *pool;
    struct device_table *devices; /* NULL: every job is done on device_id, uncounted */
    struct worker_warm *warm;     /* with devices */
    struct range_cache *cache;
    struct agent_store *store;
    int leases_fd;
    char device_id[DEVICE_ID_BYTES]; /* for a job that names none */
};

typedef void lease_progress_fn(void *arg, int64_t done, int64_t total);

struct lease_result {
    bool stopped;   /* else finished when failure.code is 0 */
    bool no_worker; /* it failed because none could be started, which is this node's fault */
    struct sl_failure failure;
    char device_id[DEVICE_ID_BYTES];
    struct sl_buf report; /* encoded, keys and costs filled in; the caller's to free */
};

struct lease_run;

/* grant is borrowed until close. place is copied, with a reference to its store. */
int lease_run_open(const struct lease_place *place, const struct sync_grant *grant,
                   lease_progress_fn *progress, void *arg, struct lease_run **out,
                   struct sl_failure *why);
/* After anything but a finish, no output is left. */
void lease_run_go(struct lease_run *run, struct lease_result *out);
void lease_run_stop(struct lease_run *run);
/* For a finished lease that turned out to be stale. */
void lease_run_delete_outputs(struct lease_run *run);
void lease_run_close(struct lease_run **run);

#endif
