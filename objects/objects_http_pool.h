/* objects/objects_http_pool.h: curl handles kept with their connections.
 *
 * Owns:    the handles; one is borrowed for one request and comes back with its connection alive.
 * Threads: take and give from any. take waits while OBJECTS_HTTP_HANDLES_MAX are out.
 */
#ifndef SL_OBJECTS_OBJECTS_HTTP_POOL_H
#define SL_OBJECTS_OBJECTS_HTTP_POOL_H

#include <curl/curl.h>
#include <pthread.h>

#include "objects/objects_http.h"

struct http_pool {
    pthread_mutex_t lock;
    pthread_cond_t free_again;
    CURL *idle
        [OBJECTS_HTTP_HANDLES_MAX]; /* the last given back is taken first: its connection is warm */
    int idle_count;
    int out_count;
};

void http_pool_init(struct http_pool *pool);
/* No handle may be out. */
void http_pool_fini(struct http_pool *pool);

/* A handle without options set, or NULL: no memory. */
CURL *http_pool_take(struct http_pool *pool);
void http_pool_give(struct http_pool *pool, CURL *curl);

#endif
