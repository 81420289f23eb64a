/* One timer for each task and node, in a binary heap by time, kind and slot.
 * A task's timer is its backoff (queued) or the end of an unseen grant or of a restored lease (running).
 * A node's timer is the earliest of its silence, its drain's deadline and the end of suspicion; a sync
 * does not move it, so it may come early, and then arms itself again.
 */
#include <stdlib.h>

#include "scheduler/core/sched_internal.h"

static uint32_t *position(const struct sched *s, const struct timer *timer)
{
    return timer->kind == TIMER_TASK ? &task_at(s, timer->slot)->timer
                                     : &node_at(s, timer->slot)->timer;
}

static bool timer_before(const struct timer *a, const struct timer *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    if (a->kind != b->kind)
        return a->kind < b->kind;
    return a->slot < b->slot;
}

static void timer_put(struct sched *s, uint32_t index, struct timer timer)
{
    s->timers.items[index] = timer;
    *position(s, &timer) = index;
}

static uint32_t sift_up(struct sched *s, uint32_t index, const struct timer *timer)
{
    struct timers *timers = &s->timers;
    while (index > 0 && timer_before(timer, &timers->items[(index - 1) / 2])) {
        timer_put(s, index, timers->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    return index;
}

static uint32_t sift_down(struct sched *s, uint32_t index, const struct timer *timer)
{
    struct timers *timers = &s->timers;
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= timers->count)
            return index;
        if (child + 1 < timers->count &&
            timer_before(&timers->items[child + 1], &timers->items[child]))
            child++;
        if (!timer_before(&timers->items[child], timer))
            return index;
        timer_put(s, index, timers->items[child]);
        index = child;
    }
}

static void sift(struct sched *s, uint32_t index, struct timer timer)
{
    index = sift_up(s, index, &timer);
    index = sift_down(s, index, &timer);
    timer_put(s, index, timer);
}

void timer_set(struct sched *s, enum timer_kind kind, uint32_t slot, int64_t at_ns)
{
    struct timers *timers = &s->timers;
    struct timer timer = {.at_ns = at_ns, .slot = slot, .kind = kind};
    uint32_t *where = position(s, &timer);
    uint32_t index = *where;
    if (at_ns == INT64_MAX) {
        if (index == SLOT_NONE)
            return;
        *where = SLOT_NONE;
        struct timer last = timers->items[--timers->count];
        if (index < timers->count)
            sift(s, index, last);
        return;
    }
    if (index == SLOT_NONE) {
        if (timers->count == timers->capacity) {
            uint32_t capacity = timers->capacity ? timers->capacity * 2 : 256;
            struct timer *items = realloc(timers->items, capacity * sizeof *items);
            if (!items) {
                s->out_of_memory = true;
                return;
            }
            timers->items = items;
            timers->capacity = capacity;
        }
        index = timers->count++;
    }
    sift(s, index, timer);
}

int64_t timer_at(const struct sched *s, enum timer_kind kind, uint32_t slot)
{
    struct timer timer = {.slot = slot, .kind = kind};
    uint32_t index = *position(s, &timer);
    return index == SLOT_NONE ? INT64_MAX : s->timers.items[index].at_ns;
}

void timers_extend(struct sched *s, int64_t stall_ns)
{
    struct timers *timers = &s->timers;
    for (uint32_t i = 0; i < timers->count; i++) {
        struct timer *timer = &timers->items[i];
        if (timer->kind == TIMER_TASK && task_at(s, timer->slot)->state == TASK_RUNNING)
            timer->at_ns += stall_ns;
    }
    for (uint32_t i = timers->count / 2; i-- > 0;) {
        struct timer timer = timers->items[i];
        timer_put(s, sift_down(s, i, &timer), timer);
    }
}

void timers_run(struct sched *s)
{
    while (s->timers.count && s->timers.items[0].at_ns <= s->now_ns) {
        struct timer timer = s->timers.items[0];
        timer_set(s, timer.kind, timer.slot, INT64_MAX);
        if (timer.kind == TIMER_TASK)
            task_timer_due(s, timer.slot);
        else
            node_timer_due(s, timer.slot);
    }
}
