/* agent/lease_ranges.h: answers a worker's questions for ranges of inputs that are no local files.
 *
 * Owns:    one thread while a worker asks. A store that cannot be reached is asked again, for less than the
 *          watchdog's time, so that the worker hears the reason.
 * Threads: init, start, end: one thread. stop: any.
 */
#ifndef SL_AGENT_LEASE_RANGES_H
#define SL_AGENT_LEASE_RANGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "agent/range_cache.h"
#include "agent/store.h"

struct lease_ranges {
    struct range_cache *cache;
    struct agent_store *store; /* borrowed */
    const struct sync_grant *grant;
    pthread_t thread;
    bool started;
    int socket;
    atomic_bool stop;
};

void lease_ranges_init(struct lease_ranges *ranges, struct range_cache *cache,
                       struct agent_store *store, const struct sync_grant *grant);
/* *worker_fd is the worker's end, the caller's to close. */
int lease_ranges_start(struct lease_ranges *ranges, int *worker_fd, struct sl_failure *why);
void lease_ranges_stop(struct lease_ranges *ranges);
void lease_ranges_end(struct lease_ranges *ranges);

#endif
