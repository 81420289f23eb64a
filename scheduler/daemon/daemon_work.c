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
    struct daemon_work_queue *queue = work->kind == WORK_INGEST ? &w->copies : &w->quick;
    pthread_mutex_lock(&w->lock);
    work->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = work;
    queue->last = work;
    pthread_cond_broadcast(&w->some);
    pthread_mutex_unlock(&w->lock);
}

static struct daemon_work *queue_pop(struct daemon_work_queue *queue)
{
    struct daemon_work *work = queue->first;
    if (work) {
        queue->first = work->next;
        if (!queue->first)
            queue->last = NULL;
        work->next = NULL;
    }
    return work;
}

static struct daemon_work *work_take(struct daemon_workers *w, bool copies)
{
    struct daemon_work *work = NULL;
    pthread_mutex_lock(&w->lock);
    while (!w->stop && !(work = queue_pop(&w->quick)) &&
           !(copies && (work = queue_pop(&w->copies))))
        pthread_cond_wait(&w->some, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void worker_run(struct daemon *d, bool copies)
{
    struct store *reader = NULL;
    struct daemon_work *work;
    while ((work = work_take(&d->workers, copies))) {
        if (!reader && work->kind == WORK_SET)
            work->code = store_open(d->store_url, true, &reader, &work->failure);
        if (work->code == SL_OK)
            daemon_work_run(d, work, reader);
        if (daemon_inbox_post(&d->inbox, ITEM_WORK, work, true) != SL_OK)
            abort();
    }
    store_close(&reader);
}

static void *quick_run(void *arg)
{
    worker_run(arg, false);
    return NULL;
}

static void *any_run(void *arg)
{
    worker_run(arg, true);
    return NULL;
}

int daemon_workers_start(struct daemon *d)
{
    struct daemon_workers *w = &d->workers;
    for (; w->thread_count < DAEMON_WORKERS; w->thread_count++)
        if (pthread_create(&w->threads[w->thread_count], NULL,
                           w->thread_count == 0 ? quick_run : any_run, d) != 0)
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
    struct daemon_work *work;
    while ((work = queue_pop(&w->quick)) || (work = queue_pop(&w->copies)))
        daemon_work_free(&work);
}
