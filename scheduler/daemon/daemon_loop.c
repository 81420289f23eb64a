#include <stdlib.h>

#include "scheduler/daemon/daemon_internal.h"

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_deadline_ns(const struct daemon *d)
{
    if (d->again.count > 0)
        return 0;
    int64_t at_ns = sched_next_deadline_ns(d->sched);
    if (d->park_first)
        at_ns = earlier(at_ns, d->park_first->deadline_at_ns);
    for (const struct daemon_video *video = d->timed; video; video = video->next_timed)
        at_ns = earlier(at_ns, video->retry_at_ns);
    if (d->deleted)
        at_ns = earlier(at_ns, d->deleted->due_at_ns);
    return at_ns;
}

void daemon_batch_begin(struct daemon *d)
{
    struct daemon_batch *b = &d->batch;
    b->now_ns = sl_now_ns();
    b->now_unix_ns = sl_now_unix_ns();
    struct daemon_list again = d->again;
    d->again = (struct daemon_list){0};
    for (size_t i = 0; i < again.count; i++) {
        struct daemon_video *video =
            daemon_video_find(d, (struct video_id){(int64_t)(intptr_t)again.items[i]});
        if (video)
            daemon_video_touch(d, video);
    }
    daemon_list_fini(&again);
}

static void timers_run(struct daemon *d)
{
    for (struct daemon_video **at = &d->timed; *at;) {
        struct daemon_video *video = *at;
        if (video->retry_at_ns > d->batch.now_ns) {
            at = &video->next_timed;
            continue;
        }
        *at = video->next_timed;
        video->next_timed = NULL;
        video->retry_at_ns = 0;
        daemon_video_touch(d, video);
    }
}

/* What is due for the videos of this batch; looking at one may bring up others. */
static void touched_advance(struct daemon *d)
{
    for (size_t i = 0; i < d->batch.touched.count; i++) {
        struct daemon_video *video = d->batch.touched.items[i];
        video->touched = false;
        if (!video->gone)
            daemon_video_advance(d, video);
    }
    d->batch.touched.count = 0;
}

static double playable_seconds(const struct daemon_video *video)
{
    bool ready = video->status == VIDEO_READY && video->set;
    return (double)(ready ? video->set->duration_ns : daemon_live_playable_ns(video)) / 1e9;
}

static void news_tell(struct daemon *d)
{
    for (size_t i = 0; i < d->batch.live.count; i++)
        daemon_live_tell(d, d->batch.live.items[i]);
    d->batch.live.count = 0;
    for (size_t i = 0; i < d->batch.news.count; i++) {
        struct daemon_video *video = d->batch.news.items[i];
        if (d->api)
            api_event_video(d->api, video->id, video->status, playable_seconds(video));
    }
    d->batch.news.count = 0;
}

static void ops_settle(struct daemon *d)
{
    for (size_t i = 0; i < d->batch.op_count; i++)
        if (d->batch.ops[i].kind == OP_VIDEO)
            d->batch.ops[i].video->dirty = false;
    d->batch.op_count = 0;
}

static void batch_release(struct daemon *d)
{
    struct daemon_batch *b = &d->batch;
    for (size_t i = 0; i < b->syncs.count; i++)
        daemon_sync_answer(d, b->syncs.items[i]);
    b->syncs.count = 0;
    for (size_t i = 0; i < b->wake.count; i++)
        daemon_park_wake(d, (struct node_id){(int64_t)(intptr_t)b->wake.items[i]});
    b->wake.count = 0;
    news_tell(d);
    for (size_t i = 0; i < b->calls.count; i++)
        daemon_call_answer(d, b->calls.items[i]);
    b->calls.count = 0;
    for (size_t i = 0; i < b->works.count; i++)
        daemon_work_post(d, b->works.items[i]);
    b->works.count = 0;
    for (size_t i = 0; i < b->works_done.count; i++) {
        struct daemon_work *work = b->works_done.items[i];
        daemon_work_free(&work);
    }
    b->works_done.count = 0;
    for (size_t i = 0; i < b->gone.count; i++) {
        struct daemon_video *video = b->gone.items[i];
        if (d->api)
            api_live_drop(d->api, video->id);
        daemon_video_free(d, video);
    }
    b->gone.count = 0;
}

bool daemon_batch_end(struct daemon *d)
{
    touched_advance(d);
    if (d->batch.op_count > 0 && !daemon_batch_commit(d))
        return false;
    ops_settle(d);
    sched_actions_reset(&d->batch.actions);
    d->batch.handled = 0;
    batch_release(d);
    return true;
}

static void item_handle(struct daemon *d, struct daemon_item *item)
{
    switch (item->kind) {
    case ITEM_SYNC:
        daemon_sync_handle(d, item->sync);
        break;
    case ITEM_CALL:
        daemon_call_handle(d, item->call);
        break;
    case ITEM_WORK:
        daemon_work_result(d, item->work);
        break;
    }
}

/* Time in which this thread could take no sync is nobody's silence: a slow or failing commit, a machine
 * that slept, a daemon that was stopped. */
static void stall_forgive(struct daemon *d, int64_t stall_ns)
{
    if (stall_ns < DAEMON_STALL_NS)
        return;
    sl_warn(NULL, "the daemon stood still for %lld ms; leases live that much longer",
            (long long)SL_NS_TO_MS(stall_ns));
    sched_extend_leases(d->sched, stall_ns);
}

void *daemon_loop(void *arg)
{
    struct daemon *d = arg;
    int64_t done_ns = sl_now_ns();
    while (!atomic_load(&d->stopping)) {
        /* Short naps while there are deadlines: a nap that was too long is how a stall is noticed. */
        int64_t deadline_ns = next_deadline_ns(d);
        if (deadline_ns != INT64_MAX)
            deadline_ns = earlier(deadline_ns, done_ns + DAEMON_STALL_NS);
        struct daemon_item *items = daemon_inbox_take(&d->inbox, DAEMON_BATCH_MAX, deadline_ns);
        daemon_batch_begin(d);
        int64_t due_ns = deadline_ns > done_ns ? deadline_ns : done_ns;
        stall_forgive(d, d->batch.now_ns - due_ns);
        for (struct daemon_item *item = items; item;) {
            struct daemon_item *next = item->next;
            item_handle(d, item);
            free(item);
            item = next;
        }
        /* After the syncs, so that a renewal that has arrived counts before a lease lapses. */
        if (d->batch.now_ns >= sched_next_deadline_ns(d->sched)) {
            struct sched_event tick = daemon_event(d, SCHED_TICK);
            daemon_step(d, &tick);
        }
        timers_run(d);
        daemon_deleted_sweep(d);
        if (!daemon_batch_end(d))
            break;
        done_ns = sl_now_ns();
        stall_forgive(d, done_ns - d->batch.now_ns);
        daemon_parks_expire(d, done_ns);
    }
    return NULL;
}
