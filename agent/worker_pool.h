/* agent/worker_pool.h: workers started before there is work, because linking and starting libav takes
 * tens of milliseconds.
 *
 * A worker serves one lease and ends. One waits for each free CPU slot, and one more is started as soon as
 * the last is taken, so that the next lease finds it up.
 *
 * Threads:  any.
 * Blocking: take waits for the worker to be ready, at most WORKER_START_NS for each of some tries.
 */
#ifndef SL_AGENT_WORKER_POOL_H
#define SL_AGENT_WORKER_POOL_H

#include "agent/worker_process.h"

#define POOL_SPARE_MAX 64

struct worker_pool;

/* program is copied. */
int worker_pool_open(const char *program, struct worker_pool **out);
void worker_pool_close(struct worker_pool **pool);

/* How many leases may run at once on CPUs; 0: none is kept waiting. Starts what is missing. */
void worker_pool_slots_set(struct worker_pool *pool, int32_t slots);
/* A ready worker for one lease; worker_pool_done once per success, after it was reaped. */
int worker_pool_take(struct worker_pool *pool, struct worker_process *out, struct sl_failure *why);
/* A lease of a CPU slot has a worker of another kind: one fewer has to wait for work. worker_pool_done ends it too. */
void worker_pool_lend(struct worker_pool *pool);
/* Starts what is missing; apart from take, so that a job goes out before its successor starts. */
void worker_pool_refill(struct worker_pool *pool);
void worker_pool_done(struct worker_pool *pool);

#endif
