#include "objects/objects_http_pool.h"

void http_pool_init(struct http_pool *pool)
{
    *pool = (struct http_pool){0};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->free_again, NULL);
}

void http_pool_fini(struct http_pool *pool)
{
    for (int i = 0; i < pool->idle_count; i++)
        curl_easy_cleanup(pool->idle[i]);
    pthread_cond_destroy(&pool->free_again);
    pthread_mutex_destroy(&pool->lock);
}

CURL *http_pool_take(struct http_pool *pool)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&pool->lock);
    while (pool->out_count == OBJECTS_HTTP_HANDLES_MAX)
        pthread_cond_wait(&pool->free_again, &pool->lock);
    pool->out_count++;
    if (pool->idle_count > 0)
        curl = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->lock);
    if (curl)
        return curl;
    curl = curl_easy_init();
    if (!curl)
        http_pool_give(pool, NULL);
    return curl;
}

void http_pool_give(struct http_pool *pool, CURL *curl)
{
    if (curl)
        curl_easy_reset(curl); /* keeps the connection */
    pthread_mutex_lock(&pool->lock);
    if (curl)
        pool->idle[pool->idle_count++] = curl;
    pool->out_count--;
    pthread_cond_signal(&pool->free_again);
    pthread_mutex_unlock(&pool->lock);
}
