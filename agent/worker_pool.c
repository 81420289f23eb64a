#include "agent/worker_pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

#define TRIES 3

struct worker_pool {
    char program[4096];
    pthread_mutex_t lock;
    struct worker_process
        spare[POOL_SPARE_MAX]; /* the oldest first: it is the likeliest to be up */
    int32_t spare_count;
    int32_t slots;
    int32_t running;
    uint32_t started;
    int64_t complained_at_ns;
};

int worker_pool_open(const char *program, struct worker_pool **out)
{
    struct worker_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return SL_ENOMEM;
    snprintf(pool->program, sizeof pool->program, "%s", program);
    pthread_mutex_init(&pool->lock, NULL);
    *out = pool;
    return SL_OK;
}

void worker_pool_close(struct worker_pool **at)
{
    struct worker_pool *pool = *at;
    if (!pool)
        return;
    *at = NULL;
    for (int32_t i = 0; i < pool->spare_count; i++)
        worker_process_kill(&pool->spare[i]);
    for (int32_t i = 0; i < pool->spare_count; i++)
        worker_process_reap(&pool->spare[i], 0, NULL);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* With the lock held. Numbered in turn: that spreads them over the machine's memory nodes (cpu/cpu_pool.h). */
static int start(struct worker_pool *pool, struct worker_process *out, struct sl_failure *why)
{
    char slot[32];
    snprintf(slot, sizeof slot, "--slot=%u", pool->started++ & 0xffff);
    const char *const arguments[] = {slot, NULL};
    return worker_process_start(pool->program, arguments, out, why);
}

static int32_t spare_wanted(const struct worker_pool *pool)
{
    if (pool->slots == 0)
        return 0;
    int32_t wanted = pool->slots - pool->running;
    if (wanted < 1)
        wanted = 1;
    return wanted > POOL_SPARE_MAX ? POOL_SPARE_MAX : wanted;
}

/* With the lock held. */
static void spare_fill(struct worker_pool *pool)
{
    while (pool->spare_count < spare_wanted(pool)) {
        struct sl_failure why = {0};
        if (start(pool, &pool->spare[pool->spare_count], &why)) {
            int64_t now_ns = sl_now_ns();
            if (!pool->complained_at_ns || now_ns - pool->complained_at_ns > 60 * SL_NS_PER_S)
                sl_warn(NULL, "no worker waits for work: %s", why.message);
            pool->complained_at_ns = now_ns;
            return;
        }
        pool->spare_count++;
    }
}

void worker_pool_slots_set(struct worker_pool *pool, int32_t slots)
{
    pthread_mutex_lock(&pool->lock);
    pool->slots = slots;
    spare_fill(pool);
    pthread_mutex_unlock(&pool->lock);
}

int worker_pool_take(struct worker_pool *pool, struct worker_process *out, struct sl_failure *why)
{
    int code = SL_OK;
    for (int try = 0; try < TRIES; try++) {
        struct worker_process worker;
        pthread_mutex_lock(&pool->lock);
        bool spare = pool->spare_count > 0;
        if (spare) {
            worker = pool->spare[0];
            pool->spare_count--;
            memmove(pool->spare, pool->spare + 1,
                    (size_t)pool->spare_count * sizeof pool->spare[0]);
        } else {
            code = start(pool, &worker, why);
        }
        pthread_mutex_unlock(&pool->lock);
        if (code)
            return code;
        code = worker_process_ready(&worker, WORKER_START_NS, why);
        if (code) {
            struct worker_costs costs;
            worker_process_reap(&worker, code == SL_EUNREACH ? WORKER_EXIT_NS : 0, &costs);
            if (code == SL_EUNREACH)
                code = worker_process_explain(&costs, why);
            continue; /* one that waited may have died long ago */
        }
        worker_process_mark(&worker);
        pthread_mutex_lock(&pool->lock);
        pool->running++;
        pthread_mutex_unlock(&pool->lock);
        *out = worker;
        return SL_OK;
    }
    return code;
}

void worker_pool_lend(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->running++;
    pthread_mutex_unlock(&pool->lock);
}

void worker_pool_refill(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    spare_fill(pool);
    pthread_mutex_unlock(&pool->lock);
}

void worker_pool_done(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    spare_fill(pool);
    pthread_mutex_unlock(&pool->lock);
}
