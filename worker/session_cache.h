/* worker/session_cache.h: encoder sessions that outlive a job, for the next chunk of the same video.
 *
 * Opening a session on a GPU takes tens of milliseconds. One whose back end can start it anew (hal_encode_reset) is kept
 * when its rung is done, and given to the next rung with the same parameters. Sessions whose pictures lie in surfaces of
 * one job's pool end with that job.
 *
 * Owns:    the sessions that wait.
 * Threads: any.
 */
#ifndef SL_WORKER_SESSION_CACHE_H
#define SL_WORKER_SESSION_CACHE_H

#include "hal/hal.h"

struct session_cache;

int session_cache_open(struct session_cache **out);
void session_cache_close(struct session_cache **cache);

/* cache NULL: hal_encode_open. Sessions that wait are closed where they keep this one from opening. */
int session_cache_take(struct session_cache *cache, const struct hal_backends *backends,
                       struct hal_device *device, const char *encoder,
                       const struct hal_encode_params *params, struct hal_session **out,
                       struct sl_failure *why);
/* Keeps the session, or closes it; NULL is none. */
void session_cache_give(struct session_cache *cache, struct hal_session **session);
/* A job may have so many open; those that wait and are too many are closed. 0: any number. */
void session_cache_limit(struct session_cache *cache, int32_t sessions);

#endif
