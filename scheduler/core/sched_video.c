/* A video and its DAG of steps.
 *
 * Invariants:
 *  V1. counts[step][state] are the numbers of its tasks, by_state their sums over steps.
 *  V2. finished has the bit of a step exactly when the step was skipped, was done by the daemon, or has
 *      tasks and all of them are done.
 *  V3. No task waits on finished steps only, and none is queued or running before its steps are finished,
 *      unless the video was cancelled.
 *  V4. A cancelled video has no waiting, queued, running or dead task.
 *  V5. held exactly when it has failed: then none of its tasks is in a lane.
 *  V6. status is what video_status_of says of the fields.
 *
 * Status follows from the tasks; these are the functions that move it:
 *   from          to            by
 *   -             uploaded      video_add
 *   uploaded      probing       video_tasks_add
 *   probing       transcoding   video_settle (task_commit of the probe)
 *   transcoding   packaging     video_settle
 *   packaging     verifying     video_settle
 *   verifying     ready         video_settle
 *   any           failed        task_kill, video_fail
 *   not ready     cancelled     video_cancel
 *   failed, cancelled, (from a step on) any   where its tasks are   video_retry, task_redrive
 *   transcoding … ready         transcoding   task_redo
 *   any           gone          video_forget
 */
#include "scheduler/core/sched_internal.h"

uint32_t video_find(const struct sched *s, struct video_id id)
{
    return id_map_get(&s->video_ids, id.v);
}

uint32_t video_new(struct sched *s, const struct sched_video_row *row)
{
    uint32_t slot = slab_take(&s->videos);
    if (slot == SLOT_NONE || !id_map_put(&s->video_ids, row->video.v, slot)) {
        s->out_of_memory = true;
        return SLOT_NONE;
    }
    struct video *v = video_at(s, slot);
    v->id = row->video.v;
    v->created_unix_ns = row->created_unix_ns;
    v->attempts_max = row->attempts_max;
    v->priority = (uint8_t)row->priority;
    v->status = VIDEO_STATUS_COUNT;
    v->cancelled = row->cancelled;
    v->failed = row->failed;
    v->failure_step = (uint8_t)row->failure_step;
    v->steps_skipped = row->steps_skipped;
    v->steps_done = row->steps_done;
    v->failure = SLOT_NONE;
    v->first = v->last = SLOT_NONE;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        v->routes[codec] = SLOT_NONE;
    if (v->failed)
        failure_keep(s, &v->failure, v->id, &row->failure);
    v->finished = video_finished_mask(v);
    v->held = v->failed;
    return slot;
}

void video_row_fill(const struct sched *s, const struct video *v, struct sched_video_row *row)
{
    row->video.v = v->id;
    row->priority = (enum priority)v->priority;
    row->created_unix_ns = v->created_unix_ns;
    row->attempts_max = v->attempts_max;
    row->cancelled = v->cancelled;
    row->steps_skipped = v->steps_skipped;
    row->steps_done = v->steps_done;
    row->failed = v->failed;
    row->failure_step = (enum step)v->failure_step;
    if (v->failure != SLOT_NONE)
        row->failure = failure_at(s, v->failure)->failure;
}

static int32_t step_total(const struct video *v, int step)
{
    int32_t total = 0;
    for (int state = 0; state < TASK_STATE_COUNT; state++)
        total += v->counts[step][state];
    return total;
}

uint32_t video_finished_mask(const struct video *v)
{
    uint32_t mask = v->steps_skipped | v->steps_done;
    for (int step = 0; step < STEP_COUNT; step++) {
        int32_t done = v->counts[step][TASK_DONE];
        if (done > 0 && done == step_total(v, step))
            mask |= STEP_BIT(step);
    }
    return mask;
}

bool video_has_failed(const struct video *v)
{
    return v->failed || v->by_state[TASK_DEAD] > 0;
}

static bool step_unfinished(const struct video *v, enum step step)
{
    return !(v->finished & STEP_BIT(step));
}

enum video_status video_status_of(const struct video *v)
{
    if (v->cancelled)
        return VIDEO_CANCELLED;
    if (video_has_failed(v))
        return VIDEO_FAILED;
    if (v->task_count == 0 && v->finished == 0)
        return VIDEO_UPLOADED;
    if (step_unfinished(v, STEP_PROBE))
        return VIDEO_PROBING;
    /* Steps that the policy may leave out hold the video up only when they have tasks. */
    static const enum step optional[] = {STEP_AUDIO, STEP_SUBTITLES, STEP_IMAGES};
    bool made = !step_unfinished(v, STEP_TRANSCODE);
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        if (step_unfinished(v, optional[i]) && step_total(v, optional[i]) > 0)
            made = false;
    if (!made)
        return VIDEO_TRANSCODING;
    if (step_unfinished(v, STEP_PACKAGE))
        return VIDEO_PACKAGING;
    return step_unfinished(v, STEP_VERIFY) ? VIDEO_VERIFYING : VIDEO_READY;
}

static void step_tell(struct sched *s, const struct video *v, int step)
{
    struct sched_action *action = action_add(s, SCHED_STEP_READY);
    action->video.v = v->id;
    action->step = (enum step)step;
}

void video_steps_tell(struct sched *s, const struct video *v)
{
    if (v->cancelled || video_has_failed(v))
        return;
    for (int step = 0; step < STEP_COUNT; step++)
        if (!step_unfinished(v, (enum step)step) && v->counts[step][TASK_DONE] > 0)
            step_tell(s, v, step);
}

void video_settle(struct sched *s, uint32_t slot)
{
    struct video *v = video_at(s, slot);
    uint32_t before = v->finished;
    v->finished = video_finished_mask(v);
    video_touch(s, slot, false);
    uint32_t news = v->finished & ~before;
    if (!news)
        return;
    for (int step = 0; step < STEP_COUNT; step++)
        if ((news & STEP_BIT(step)) && v->counts[step][TASK_DONE] > 0)
            step_tell(s, v, step);
    if (v->by_state[TASK_WAITING] == 0)
        return;
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next)
        if (task_at(s, t)->state == TASK_WAITING && !(task_at(s, t)->wait_mask & ~v->finished))
            task_queue(s, t, 0);
}

void video_hold(struct sched *s, uint32_t slot)
{
    struct video *v = video_at(s, slot);
    video_touch(s, slot, false);
    if (v->held == video_has_failed(v))
        return;
    v->held = !v->held;
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        uint8_t place = task_at(s, t)->place;
        if (place != PLACE_LANE && place != PLACE_HELD)
            continue;
        queue_unplace(s, t);
        queue_place(s, t);
    }
}

void video_fail_keep(struct sched *s, uint32_t slot, enum step step,
                     const struct sl_failure *failure)
{
    struct video *v = video_at(s, slot);
    if (v->failed)
        return;
    v->failed = true;
    v->failure_step = (uint8_t)step;
    failure_keep(s, &v->failure, v->id, failure);
    video_touch(s, slot, true);
}

/* ---- events ---- */

int video_add(struct sched *s, const struct sched_event *event)
{
    const struct sched_video_row *row = &event->video_row;
    if (row->video.v <= 0 || (unsigned)row->priority >= PRIORITY_COUNT || row->attempts_max < 0 ||
        row->cancelled || row->failed)
        return SL_EINVAL;
    if (video_find(s, row->video) != SLOT_NONE)
        return SL_EEXIST;
    if (s->videos.live >= SCHED_VIDEOS_MAX)
        return SL_ELIMIT;
    uint32_t slot = video_new(s, row);
    if (slot == SLOT_NONE)
        return SL_ENOMEM;
    video_touch(s, slot, true);
    return 0;
}

static bool spec_is_sound(const struct sched_task_spec *spec)
{
    const struct demand *d = &spec->demand;
    return (unsigned)spec->step < STEP_COUNT && spec->step != STEP_PLAN &&
           (unsigned)spec->codec < CODEC_COUNT && !(spec->wait_mask >> STEP_COUNT) &&
           !(spec->wait_mask & STEP_BIT(spec->step)) && d->cpu_millicores >= 0 &&
           d->sessions >= 0 && d->memory_bytes >= 0;
}

int video_tasks_add(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct video *v = video_at(s, slot);
    int32_t count = event->tasks.count;
    if (v->cancelled)
        return SL_ECONFLICT;
    if (count < 0)
        return SL_EINVAL;
    if (count > SCHED_TASKS_ADD_MAX || s->tasks.live + (uint32_t)count > SCHED_TASKS_MAX)
        return SL_ELIMIT;
    /* Steps that others have built upon already are closed. */
    for (int32_t i = 0; i < count; i++)
        if (!spec_is_sound(&event->tasks.specs[i]))
            return SL_EINVAL;
        else if (v->finished & STEP_BIT(event->tasks.specs[i].step))
            return SL_ECONFLICT;
    uint32_t first = SLOT_NONE;
    for (int32_t i = 0; i < count; i++) {
        const struct sched_task_spec *spec = &event->tasks.specs[i];
        int64_t id = s->counters.next_task++;
        uint32_t t = task_new(s, slot, id, spec, TASK_WAITING);
        if (t == SLOT_NONE)
            return SL_ENOMEM;
        if (i == 0)
            first = t;
        task_touch(s, t);
        if (event->tasks.out_ids)
            event->tasks.out_ids[i].v = id;
    }
    s->counters_put = s->counters_put || count > 0;
    for (uint32_t t = first; t != SLOT_NONE; t = task_at(s, t)->video_next)
        if (!(task_at(s, t)->wait_mask & ~v->finished))
            task_queue(s, t, 0);
    video_touch(s, slot, false);
    return 0;
}

int video_step_mark(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct video *v = video_at(s, slot);
    if ((unsigned)event->step >= STEP_COUNT)
        return SL_EINVAL;
    if (v->cancelled || step_total(v, event->step) > 0)
        return SL_ECONFLICT;
    uint32_t bit = STEP_BIT(event->step);
    uint32_t *mask = event->kind == SCHED_STEP_DONE ? &v->steps_done : &v->steps_skipped;
    if (*mask & bit)
        return 0;
    *mask |= bit;
    video_touch(s, slot, true);
    video_settle(s, slot);
    return 0;
}

int video_fail(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    if (event->failure.code == SL_OK || (unsigned)event->failed_step >= STEP_COUNT)
        return SL_EINVAL;
    if (video_at(s, slot)->cancelled)
        return SL_ECONFLICT;
    video_fail_keep(s, slot, event->failed_step, &event->failure);
    video_hold(s, slot);
    return 0;
}

int video_cancel(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct video *v = video_at(s, slot);
    if (v->cancelled)
        return 0;
    if (video_status_of(v) == VIDEO_READY)
        return SL_ECONFLICT;
    v->cancelled = true;
    video_touch(s, slot, true);
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next)
        if (task_at(s, t)->state != TASK_DONE && task_at(s, t)->state != TASK_CANCELLED)
            task_cancel(s, t);
    video_hold(s, slot);
    return 0;
}

int video_forget(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct video *v = video_at(s, slot);
    for (uint32_t t = v->first, next; t != SLOT_NONE; t = next) {
        next = task_at(s, t)->video_next;
        /* Committed tokens live on: they are what was published. */
        if (task_at(s, t)->state == TASK_RUNNING)
            lease_token_kill(s, t);
        task_delete(s, t);
    }
    routes_free(s, v);
    action_add(s, SCHED_DELETE_VIDEO)->video = event->video;
    struct sl_failure none = {0};
    failure_keep(s, &v->failure, v->id, &none);
    id_map_remove(&s->video_ids, v->id);
    slab_give(&s->videos, slot);
    return 0;
}
