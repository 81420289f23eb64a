#include "worker/session_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX POLICY_RUNGS_MAX

struct session_cache {
    pthread_mutex_t lock;
    struct hal_session *waiting[WAITING_MAX]; /* the longest first */
    int32_t count;
    int32_t taken;
    int32_t limit; /* of those that wait and those taken; 0: none */
};

int session_cache_open(struct session_cache **out)
{
    struct session_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return SL_ENOMEM;
    pthread_mutex_init(&cache->lock, NULL);
    *out = cache;
    return SL_OK;
}

/* With the lock held. */
static struct hal_session *waiting_remove(struct session_cache *cache, int32_t at)
{
    struct hal_session *session = cache->waiting[at];
    cache->count--;
    memmove(cache->waiting + at, cache->waiting + at + 1,
            (size_t)(cache->count - at) * sizeof cache->waiting[0]);
    return session;
}

static void waiting_close(struct session_cache *cache, int32_t most)
{
    while (cache->count > most) {
        struct hal_session *session = waiting_remove(cache, 0);
        hal_encode_close(&session);
    }
}

void session_cache_close(struct session_cache **at)
{
    struct session_cache *cache = *at;
    if (!cache)
        return;
    *at = NULL;
    waiting_close(cache, 0);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void session_cache_limit(struct session_cache *cache, int32_t sessions)
{
    if (!cache)
        return;
    pthread_mutex_lock(&cache->lock);
    cache->limit = sessions;
    if (sessions > 0)
        waiting_close(cache, sessions > cache->taken ? sessions - cache->taken : 0);
    pthread_mutex_unlock(&cache->lock);
}

static struct hal_session *matching(struct session_cache *cache, const struct hal_device *device,
                                    const char *encoder, const struct hal_encode_params *params)
{
    for (int32_t i = cache->count - 1; i >= 0; i--)
        if (hal_encode_matches(cache->waiting[i], device, encoder, params))
            return waiting_remove(cache, i);
    return NULL;
}

int session_cache_take(struct session_cache *cache, const struct hal_backends *backends,
                       struct hal_device *device, const char *encoder,
                       const struct hal_encode_params *params, struct hal_session **out,
                       struct sl_failure *why)
{
    if (!cache)
        return hal_encode_open(backends, device, encoder, params, out, why);
    pthread_mutex_lock(&cache->lock);
    int code = SL_OK;
    struct hal_session *session =
        params->surfaces ? NULL : matching(cache, device, encoder, params);
    if (!session) {
        if (cache->limit > 0)
            waiting_close(cache, cache->limit > cache->taken ? cache->limit - cache->taken - 1 : 0);
        code = hal_encode_open(backends, device, encoder, params, &session, why);
        if (code == SL_ESESSIONS && cache->count > 0) {
            waiting_close(cache, 0);
            code = hal_encode_open(backends, device, encoder, params, &session, why);
        }
    }
    if (code == SL_OK) {
        cache->taken++;
        *out = session;
    }
    pthread_mutex_unlock(&cache->lock);
    return code;
}

void session_cache_give(struct session_cache *cache, struct hal_session **session)
{
    if (!cache || !*session) {
        hal_encode_close(session);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    cache->taken--;
    bool full = cache->count == WAITING_MAX ||
                (cache->limit > 0 && cache->count + cache->taken >= cache->limit);
    if (!full && hal_encode_reset(*session, NULL) == SL_OK) {
        cache->waiting[cache->count++] = *session;
        *session = NULL;
    }
    pthread_mutex_unlock(&cache->lock);
    hal_encode_close(session);
}
