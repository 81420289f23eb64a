/* Work that is wanted again: retry of a video, redo of a seam, redrive and drop of a dead task.
 *
 * A step that is done again takes everything that depends on it along: those tasks were made from what is
 * about to change. Tokens that die here are told, so their outputs can be swept.
 */
#include "model/job_types.h"
#include "scheduler/core/sched_internal.h"

/* The steps in mask and all whose tasks wait on one of them, however far. */
static uint32_t dependents(const struct sched *s, const struct video *v, uint32_t mask)
{
    for (uint32_t before = 0; before != mask;) {
        before = mask;
        for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next)
            if (task_at(s, t)->wait_mask & mask)
                mask |= STEP_BIT(task_at(s, t)->step);
    }
    return mask;
}

/* Of the steps in mask only started or finished tasks have anything to undo; given up ones are renewed
 * when `revive`, wherever they are. */
static void renew(struct sched *s, uint32_t slot, uint32_t mask, bool revive)
{
    struct video *v = video_at(s, slot);
    /* Done tasks first fall back to waiting, so that finished is right before anything is queued. */
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        struct task *task = task_at(s, t);
        if ((mask & STEP_BIT(task->step)) && task->state == TASK_DONE) {
            lease_token_kill(s, t);
            task_move(s, t, TASK_WAITING);
        }
    }
    v->finished = video_finished_mask(v);
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        struct task *task = task_at(s, t);
        bool given_up = task->state == TASK_DEAD || task->state == TASK_CANCELLED;
        if (given_up ? revive : (mask & STEP_BIT(task->step)) != 0)
            task_renew(s, t);
    }
}

/* What the plan made: everything but the probe. */
static void plan_drop(struct sched *s, uint32_t slot)
{
    struct video *v = video_at(s, slot);
    uint32_t dropped = 0;
    for (uint32_t t = v->first, next; t != SLOT_NONE; t = next) {
        next = task_at(s, t)->video_next;
        if (task_at(s, t)->step == STEP_PROBE)
            continue;
        dropped |= STEP_BIT(task_at(s, t)->step);
        if (task_at(s, t)->token)
            lease_token_kill(s, t);
        task_delete(s, t);
    }
    for (int step = 0; step < STEP_COUNT; step++)
        if (dropped & STEP_BIT(step)) {
            struct sched_action *action = action_add(s, SCHED_DELETE_TASKS);
            action->video.v = v->id;
            action->step = (enum step)step;
        }
    v->steps_done = 0;
    v->steps_skipped = 0;
}

static bool has_tasks(const struct video *v, enum step step)
{
    for (int state = 0; state < TASK_STATE_COUNT; state++)
        if (v->counts[step][state])
            return true;
    return false;
}

int video_retry(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = video_find(s, event->video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct video *v = video_at(s, slot);
    enum step step = event->step;
    if ((unsigned)step > STEP_COUNT)
        return SL_EINVAL;
    if (step == STEP_COUNT ? !v->cancelled && !video_has_failed(v)
                           : !has_tasks(v, step == STEP_PLAN ? STEP_PROBE : step))
        return SL_ECONFLICT;
    v->cancelled = false;
    v->failed = false;
    v->failure_step = 0;
    struct sl_failure none = {0};
    failure_keep(s, &v->failure, v->id, &none);
    video_touch(s, slot, true);
    uint32_t mask = 0;
    if (step == STEP_PROBE || step == STEP_PLAN) {
        plan_drop(s, slot);
        mask = step == STEP_PROBE ? STEP_BIT(STEP_PROBE) : 0;
    } else if (step < STEP_COUNT) {
        mask = dependents(s, v, STEP_BIT(step));
        v->steps_done &= ~mask;
    }
    renew(s, slot, mask, true);
    video_hold(s, slot);
    video_settle(s, slot);
    video_steps_tell(s, v);
    return 0;
}

int task_redo(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = task_find(s, event->task);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    if (event->preroll < PREROLL_NONE || event->preroll > PREROLL_LINEAR)
        return SL_EINVAL;
    struct task *t = task_at(s, slot);
    struct video *v = video_at(s, t->video);
    if (t->state != TASK_DONE || v->cancelled)
        return SL_ECONFLICT;
    uint32_t own = STEP_BIT(t->step);
    uint32_t after = dependents(s, v, own) & ~own;
    lease_token_kill(s, slot);
    task_move(s, slot, TASK_WAITING);
    if (v->steps_done & after) {
        v->steps_done &= ~after;
        video_touch(s, t->video, true);
    }
    renew(s, t->video, after, false);
    t->preroll = event->preroll;
    task_renew(s, slot);
    video_settle(s, t->video);
    return 0;
}

int task_redrive(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = task_find(s, event->task);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct task *t = task_at(s, slot);
    if (t->state != TASK_DEAD)
        return SL_ECONFLICT;
    task_renew(s, slot);
    video_hold(s, t->video);
    return 0;
}

int task_drop(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = task_find(s, event->task);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct task *t = task_at(s, slot);
    if (t->state != TASK_DEAD)
        return SL_ECONFLICT;
    struct sl_failure failure = failure_at(s, t->failure)->failure;
    video_fail_keep(s, t->video, (enum step)t->step, &failure);
    task_cancel(s, slot);
    return 0;
}
