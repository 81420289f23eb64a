/* The task queue: one ordered lane for each kind of work and priority.
 *
 * Invariants:
 *  Q1. A task's place in its lane is (created - head start of its priority, video, order, task): first in,
 *      first out inside a priority, and a lower priority overtakes as it gets older. The key never
 *      changes, so ageing costs nothing.
 *  Q2. lane_mask has exactly the lanes that are not empty.
 *  Q3. A new entry moves s->epoch on, which is what makes the matcher look at nodes again.
 *
 *   place      to        by
 *   -          lane, backoff, held   queue_place
 *   backoff    lane, held            task_timer_due
 *   lane       held, and back        video_hold
 *   any        -                     queue_unplace (task_move)
 */
#include <assert.h>

#include "scheduler/core/sched_internal.h"

/* Steps that take seconds and end a video's stage; they must not stand behind encodes. */
static bool is_small(const struct task *t)
{
    return !t->needs_codec &&
           (t->step == STEP_PROBE || t->step == STEP_PACKAGE || t->step == STEP_VERIFY);
}

int queue_lane(const struct sched *s, const struct task *t)
{
    int kind = t->needs_codec ? LANE_CODEC + t->codec * DEVICE_KIND_COUNT + t->kind
               : is_small(t)  ? LANE_SMALL
                              : LANE_CPU;
    return kind * PRIORITY_COUNT + video_at(s, t->video)->priority;
}

int64_t queue_key(const struct sched *s, const struct video *v)
{
    return v->created_unix_ns - s->config.aging_ns[v->priority];
}

static void class_queued(struct sched *s, const struct task *t, int64_t by)
{
    if (!t->needs_codec)
        return;
    struct device_class *cls = task_class(s, t);
    cls->queued += by;
    cls->queued_mpix += by * t->demand.work_mpix;
    device_work_add(s, t, by);
}

void queue_place(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    assert(t->state == TASK_QUEUED && t->place == PLACE_NONE);
    if (t->timer != SLOT_NONE) {
        t->place = PLACE_BACKOFF;
        return;
    }
    if (video_at(s, t->video)->held) {
        t->place = PLACE_HELD;
        return;
    }
    t->place = PLACE_LANE;
    int lane = queue_lane(s, t);
    struct tree_node *node = task_tree(s, slot);
    struct demand demand = task_demand_of(s, t);
    node->key = queue_key(s, video_at(s, t->video));
    node->group = video_at(s, t->video)->id;
    tree_demand_set(node, &demand);
    tree_insert(&s->lanes[lane], slot);
    class_queued(s, t, 1);
    s->lane_mask |= lane_bit(lane);
    s->epoch++;
}

void queue_unplace(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    if (t->place == PLACE_LANE) {
        int lane = queue_lane(s, t);
        tree_remove(&s->lanes[lane], slot);
        if (s->lanes[lane].root == SLOT_NONE)
            s->lane_mask &= ~lane_bit(lane);
        class_queued(s, t, -1);
        /* Someone may have looked no further than this entry. */
        if (s->truncated) {
            s->truncated = false;
            s->epoch++;
        }
    }
    t->place = PLACE_NONE;
}

uint32_t queue_ahead(const struct sched *s, uint32_t slot)
{
    const struct task *t = task_at(s, slot);
    struct tree_node place = *task_tree(s, slot);
    const struct video *v = video_at(s, t->video);
    place.key = queue_key(s, v);
    place.group = v->id;
    bool small = is_small(t);
    uint32_t ahead = 0;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        bool lane_small = lane / PRIORITY_COUNT == LANE_SMALL;
        int priority = lane % PRIORITY_COUNT;
        if (lane_small && !small && priority >= v->priority)
            ahead += tree_count(&s->lanes[lane]);
        else if (lane_small || !small || priority > v->priority)
            ahead += tree_rank(&s->lanes[lane], &place);
    }
    return ahead;
}
