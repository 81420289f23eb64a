#include "agent/worker_warm.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/time.h"

struct idle {
    struct worker_process worker;
    struct video_id video;
    char device_id[DEVICE_ID_BYTES];
    bool feeds;
    int64_t since_ns;
};

struct worker_warm {
    char program[4096];
    int64_t idle_ns;
    pthread_t thread;
    pthread_mutex_t lock; /* below */
    pthread_cond_t changed;
    struct idle idle[WARM_IDLE_MAX]; /* the longest idle first */
    int32_t count;
    uint32_t started;
    int64_t unfed[WARM_UNFED_MAX]; /* videos; the oldest is replaced */
    uint32_t unfed_count;
    bool quit;
};

/* Workers to be ended once the lock is given up. */
struct ended {
    struct worker_process workers[WARM_IDLE_MAX];
    int32_t count;
};

static void ended_reap(struct ended *ended)
{
    for (int32_t i = 0; i < ended->count; i++)
        worker_process_kill(&ended->workers[i]);
    for (int32_t i = 0; i < ended->count; i++)
        worker_process_reap(&ended->workers[i], 0, NULL);
}

/* With the lock held. */
static struct idle idle_remove(struct worker_warm *warm, int32_t at)
{
    struct idle one = warm->idle[at];
    warm->count--;
    memmove(warm->idle + at, warm->idle + at + 1,
            (size_t)(warm->count - at) * sizeof warm->idle[0]);
    return one;
}

static void idle_end(struct worker_warm *warm, int32_t at, struct ended *ended)
{
    ended->workers[ended->count++] = idle_remove(warm, at).worker;
}

/* Until nothing has waited for too long any more. */
static void *retire(void *arg)
{
    struct worker_warm *warm = arg;
    pthread_mutex_lock(&warm->lock);
    while (!warm->quit) {
        if (warm->count == 0) {
            pthread_cond_wait(&warm->changed, &warm->lock);
            continue;
        }
        int64_t until_ns = warm->idle[0].since_ns + warm->idle_ns;
        if (until_ns > sl_now_ns()) {
            struct timespec until = {.tv_sec = (time_t)(until_ns / SL_NS_PER_S),
                                     .tv_nsec = (long)(until_ns % SL_NS_PER_S)};
            pthread_cond_timedwait(&warm->changed, &warm->lock, &until);
            continue;
        }
        struct ended ended = {.count = 0};
        idle_end(warm, 0, &ended);
        pthread_mutex_unlock(&warm->lock);
        ended_reap(&ended);
        pthread_mutex_lock(&warm->lock);
    }
    pthread_mutex_unlock(&warm->lock);
    return NULL;
}

int worker_warm_open(const char *program, int64_t idle_ns, struct worker_warm **out)
{
    struct worker_warm *warm = calloc(1, sizeof *warm);
    if (!warm)
        return SL_ENOMEM;
    snprintf(warm->program, sizeof warm->program, "%s", program);
    warm->idle_ns = idle_ns;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&warm->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&warm->lock, NULL);
    if (pthread_create(&warm->thread, NULL, retire, warm) != 0) {
        free(warm);
        return SL_ENOMEM;
    }
    *out = warm;
    return SL_OK;
}

void worker_warm_close(struct worker_warm **at)
{
    struct worker_warm *warm = *at;
    if (!warm)
        return;
    *at = NULL;
    pthread_mutex_lock(&warm->lock);
    warm->quit = true;
    pthread_cond_broadcast(&warm->changed);
    pthread_mutex_unlock(&warm->lock);
    pthread_join(warm->thread, NULL);
    struct ended ended = {.count = 0};
    while (warm->count)
        idle_end(warm, 0, &ended);
    ended_reap(&ended);
    pthread_cond_destroy(&warm->changed);
    pthread_mutex_destroy(&warm->lock);
    free(warm);
}

void worker_warm_device(struct worker_warm *warm, struct video_id video, bool feeds,
                        char out[DEVICE_ID_BYTES])
{
    out[0] = '\0';
    pthread_mutex_lock(&warm->lock);
    for (int32_t i = 0; i < warm->count; i++)
        if (warm->idle[i].video.v == video.v && warm->idle[i].feeds == feeds)
            memcpy(out, warm->idle[i].device_id, DEVICE_ID_BYTES);
    pthread_mutex_unlock(&warm->lock);
}

void worker_warm_unfed(struct worker_warm *warm, struct video_id video)
{
    pthread_mutex_lock(&warm->lock);
    warm->unfed[warm->unfed_count++ % WARM_UNFED_MAX] = video.v;
    pthread_mutex_unlock(&warm->lock);
}

bool worker_warm_is_unfed(struct worker_warm *warm, struct video_id video)
{
    bool found = false;
    pthread_mutex_lock(&warm->lock);
    for (uint32_t i = 0; i < warm->unfed_count && i < WARM_UNFED_MAX; i++)
        found |= warm->unfed[i] == video.v;
    pthread_mutex_unlock(&warm->lock);
    return found;
}

/* With the lock held: the one that waited for this video and device, or a place on the device for another. */
static bool idle_take(struct worker_warm *warm, struct video_id video,
                      const struct hal_claim *claim, struct worker_process *out,
                      struct ended *ended)
{
    int32_t victim = -1;
    for (int32_t i = warm->count - 1; i >= 0; i--) {
        if (strcmp(warm->idle[i].device_id, claim->device_id) != 0)
            continue;
        if (warm->idle[i].video.v == video.v && warm->idle[i].feeds == claim->feeds) {
            *out = idle_remove(warm, i).worker;
            return true;
        }
        victim = i;
    }
    if (victim >= 0)
        idle_end(warm, victim, ended);
    return false;
}

/* One that waits says nothing: whatever can be read is its end. */
static bool is_alive(const struct worker_process *worker)
{
    struct pollfd waiting = {.fd = worker->socket, .events = POLLIN};
    return poll(&waiting, 1, 0) == 0;
}

/* Nothing of any source has reached it yet: whatever goes wrong here is the driver's doing. */
static int start(struct worker_warm *warm, const struct hal_claim *claim, int64_t patience_ns,
                 struct worker_process *out, struct sl_failure *why)
{
    char argument[DEVICE_ID_BYTES + 32], slot[32];
    snprintf(argument, sizeof argument, "--%s=%s:%s", claim->feeds ? "feed" : "device",
             device_kind_word(claim->kind), claim->device_id);
    /* As worker_pool's: what encodes on CPUs is spread over the machine's memory nodes. */
    snprintf(slot, sizeof slot, "--slot=%u",
             __atomic_fetch_add(&warm->started, 1, __ATOMIC_RELAXED) & 0xffff);
    const char *const arguments[] = {argument, claim->feeds ? slot : NULL, NULL};
    int code = worker_process_start(warm->program, arguments, out, why);
    if (code)
        return code;
    out->serves_more = true;
    code = worker_process_ready(out, patience_ns, why);
    if (!code)
        return SL_OK;
    struct worker_costs costs;
    worker_process_reap(out, code == SL_EUNREACH ? WORKER_EXIT_NS : 0, &costs);
    if (code == SL_ETIMEDOUT)
        return sl_fail(why, SL_EHANG, "the driver of device %s was not open within %d s",
                       claim->device_id, (int)(patience_ns / SL_NS_PER_S));
    if (code != SL_EUNREACH)
        return code;
    struct sl_failure end;
    if (worker_process_explain(&costs, &end) == SL_EWORKER)
        return sl_fail(why, SL_EWORKER, "%s", end.message);
    return sl_fail(why, SL_EDEVICELOST,
                   "the driver of device %s crashed when it was opened: %.120s", claim->device_id,
                   end.message);
}

int worker_warm_take(struct worker_warm *warm, struct video_id video, const struct hal_claim *claim,
                     int64_t patience_ns, struct worker_process *out, struct sl_failure *why)
{
    struct ended ended = {.count = 0};
    pthread_mutex_lock(&warm->lock);
    bool found = idle_take(warm, video, claim, out, &ended);
    pthread_mutex_unlock(&warm->lock);
    ended_reap(&ended);
    if (found && !is_alive(out)) {
        worker_process_reap(out, 0, NULL);
        found = false;
    }
    int code = found ? SL_OK : start(warm, claim, patience_ns, out, why);
    if (!code)
        worker_process_mark(out);
    return code;
}

void worker_warm_give(struct worker_warm *warm, struct video_id video,
                      const struct hal_claim *claim, struct worker_process *worker)
{
    struct ended ended = {.count = 0};
    worker->leases++;
    pthread_mutex_lock(&warm->lock);
    if (worker->leases >= WARM_LEASES_MAX || warm->quit) {
        ended.workers[ended.count++] = *worker;
    } else {
        if (warm->count == WARM_IDLE_MAX)
            idle_end(warm, 0, &ended);
        struct idle *one = &warm->idle[warm->count++];
        *one = (struct idle){
            .worker = *worker, .video = video, .feeds = claim->feeds, .since_ns = sl_now_ns()};
        memcpy(one->device_id, claim->device_id, sizeof one->device_id);
        pthread_cond_broadcast(&warm->changed);
    }
    pthread_mutex_unlock(&warm->lock);
    worker->socket = -1;
    ended_reap(&ended);
}

void worker_warm_clear(struct worker_warm *warm, const char *device_id)
{
    struct ended ended = {.count = 0};
    pthread_mutex_lock(&warm->lock);
    for (int32_t i = warm->count - 1; i >= 0; i--)
        if (strcmp(warm->idle[i].device_id, device_id) == 0)
            idle_end(warm, i, &ended);
    pthread_mutex_unlock(&warm->lock);
    ended_reap(&ended);
}
