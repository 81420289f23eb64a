/* The work threads: a queue bounded by one piece of work per video, results back through the inbox. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

struct daemon_work *daemon_work_new(enum daemon_work_kind kind, struct daemon_video *video)
{
    struct daemon_work *work = calloc(1, sizeof *work);
    if (!work)
        return NULL;
    work->kind = kind;
    work->video = video;
    if (video)
        memcpy(work->text, video->text, sizeof work->text);
    return work;
}

void daemon_set_free(struct daemon_set **set)
{
    if (!*set)
        return;
    free((*set)->result);
    sl_arena_fini(&(*set)->arena);
    free(*set);
    *set = NULL;
}

void daemon_work_free(struct daemon_work **work_at)
{
    struct daemon_work *work = *work_at;
    if (!work)
        return;
    daemon_set_free(&work->set);
    sl_arena_fini(&work->arena);
    free(work->tokens);
    free(work);
    *work_at = NULL;
}

void daemon_work_post(struct daemon *d, struct daemon_work *work)
{
    struct daemon_workers *w = &d->workers;
    pthread_mutex_lock(&w->lock);
    work->next = NULL;
    *(w->last ? &w->last->next : &w->first) = work;
    w->last = work;
    pthread_cond_signal(&w->some);
    pthread_mutex_unlock(&w->lock);
}

static struct daemon_work *work_take(struct daemon_workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stop)
        pthread_cond_wait(&w->some, &w->lock);
    struct daemon_work *work = w->stop ? NULL : w->first;
    if (work) {
        w->first = work->next;
        if (!w->first)
            w->last = NULL;
        work->next = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void *worker_run(void *arg)
{
    struct daemon *d = arg;
    struct store *reader = NULL;
    struct daemon_work *work;
    while ((work = work_take(&d->workers))) {
        if (!reader && work->kind == WORK_SET)
            work->code = store_open(d->store_url, true, &reader, &work->failure);
        if (work->code == SL_OK)
            daemon_work_run(d, work, reader);
        if (daemon_inbox_post(&d->inbox, ITEM_WORK, work, true) != SL_OK)
            abort();
    }
    store_close(&reader);
    return NULL;
}

int daemon_workers_start(struct daemon *d)
{
    for (; d->workers.thread_count < DAEMON_WORKERS; d->workers.thread_count++)
        if (pthread_create(&d->workers.threads[d->workers.thread_count], NULL, worker_run, d) != 0)
            return SL_ENOMEM;
    return SL_OK;
}

void daemon_workers_stop(struct daemon *d)
{
    struct daemon_workers *w = &d->workers;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->some);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    w->thread_count = 0;
    while (w->first) {
        struct daemon_work *work = w->first;
        w->first = work->next;
        daemon_work_free(&work);
    }
    w->last = NULL;
}
