/* Reading: copies for the API, walks in id order. */
#include "scheduler/core/sched_internal.h"

size_t sched_node_grants(const struct sched *s, struct node_id node, struct sched_grant_view *out,
                         size_t max)
{
    uint32_t slot = node_find(s, node);
    if (slot == SLOT_NONE)
        return 0;
    size_t count = 0;
    for (uint32_t t = node_at(s, slot)->lease_first; t != SLOT_NONE;
         t = task_at(s, t)->lease_next) {
        const struct task *task = task_at(s, t);
        if (task->seen || task->restored)
            continue;
        if (count < max)
            out[count] = (struct sched_grant_view){
                .token.v = task->token,
                .task.v = task->id,
                .video.v = video_at(s, task->video)->id,
                .step = (enum step)task->step,
                .piece = task->piece,
                .preroll = task->preroll,
                .needs_codec = task->needs_codec,
                .entry = task->entry,
                .kind = (enum device_kind)task->kind,
                .demand = task_demand_of(s, task),
            };
        if (count < max && task->needs_codec && task->kind != DEVICE_CPU)
            out[count].demand.sessions = task->sessions;
        count++;
    }
    return count;
}

/* The dead task with the smallest id speaks for its video, unless the row does. */
static void failure_view(const struct sched *s, const struct video *v, struct sched_video_view *out)
{
    if (v->failed) {
        out->failure_step = (enum step)v->failure_step;
        if (v->failure != SLOT_NONE)
            out->failure = failure_at(s, v->failure)->failure;
        return;
    }
    for (uint32_t t = v->first; v->by_state[TASK_DEAD] && t != SLOT_NONE;
         t = task_at(s, t)->video_next) {
        const struct task *task = task_at(s, t);
        if (task->state != TASK_DEAD)
            continue;
        out->failure_step = (enum step)task->step;
        if (task->failure != SLOT_NONE)
            out->failure = failure_at(s, task->failure)->failure;
        return;
    }
}

int sched_video_find(const struct sched *s, struct video_id video, struct sched_video_view *out)
{
    uint32_t slot = video_find(s, video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    const struct video *v = video_at(s, slot);
    *out = (struct sched_video_view){
        .video = video,
        .priority = (enum priority)v->priority,
        .status = video_status_of(v),
        .created_unix_ns = v->created_unix_ns,
    };
    for (int step = 0; step < STEP_COUNT; step++) {
        const int32_t *counts = v->counts[step];
        out->steps[step] = (struct sched_step_view){
            .waiting = counts[TASK_WAITING],
            .queued = counts[TASK_QUEUED],
            .running = counts[TASK_RUNNING],
            .done = counts[TASK_DONE],
            .dead = counts[TASK_DEAD],
            .cancelled = counts[TASK_CANCELLED],
            .skipped = (v->steps_skipped & STEP_BIT(step)) != 0,
            .finished = (v->finished & STEP_BIT(step)) != 0 && !(v->steps_skipped & STEP_BIT(step)),
        };
    }
    failure_view(s, v, out);
    return 0;
}

int sched_task_find(const struct sched *s, struct task_id task, struct sched_task_row *out)
{
    uint32_t slot = task_find(s, task);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    *out = (struct sched_task_row){0};
    task_row_fill(s, task_at(s, slot), out);
    return 0;
}

static void node_view(const struct node *n, struct sched_node_view *out)
{
    *out = (struct sched_node_view){
        .row = n->row,
        .state = node_state_of(n),
        .running = n->running,
        .total = n->total,
        .used = n->used,
        .devices = n->devices,
        .device_count = n->device_count,
        .last_sync_at_ns = n->last_sync_at_ns,
        .suspect_until_ns = n->suspect_until_ns,
    };
}

int sched_node_find(const struct sched *s, struct node_id node, struct sched_node_view *out)
{
    uint32_t slot = node_find(s, node);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    node_view(node_at(s, slot), out);
    return 0;
}

int sched_node_by_uuid(const struct sched *s, const char *uuid, struct node_id *out)
{
    uint32_t slot = node_find_uuid(s, uuid);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    out->v = node_at(s, slot)->id;
    return 0;
}

int sched_video_tasks_walk(const struct sched *s, struct video_id video,
                           int (*fn)(void *arg, const struct sched_task_row *row), void *arg)
{
    uint32_t slot = video_find(s, video);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    int rc = 0;
    for (uint32_t t = video_at(s, slot)->first; t != SLOT_NONE && rc == 0;
         t = task_at(s, t)->video_next) {
        struct sched_task_row row = {0};
        task_row_fill(s, task_at(s, t), &row);
        rc = fn(arg, &row);
    }
    return rc;
}

int sched_dead_tasks_walk(const struct sched *s,
                          int (*fn)(void *arg, const struct sched_task_row *row), void *arg)
{
    int rc = 0;
    for (uint32_t t = s->dead.first; t != SLOT_NONE && rc == 0; t = tree_next(&s->dead, t)) {
        struct sched_task_row row = {0};
        task_row_fill(s, task_at(s, t), &row);
        rc = fn(arg, &row);
    }
    return rc;
}

int sched_nodes_walk(const struct sched *s,
                     int (*fn)(void *arg, const struct sched_node_view *view), void *arg)
{
    int rc = 0;
    for (uint32_t i = 0; i < s->node_order.count && rc == 0; i++) {
        struct sched_node_view view;
        node_view(node_at(s, s->node_order.items[i]), &view);
        rc = fn(arg, &view);
    }
    return rc;
}

static void kind_devices(const struct node *n, struct sched_kind_view *out)
{
    int64_t shared[DEVICE_KIND_COUNT] = {0};
    for (int32_t i = 0; i < n->device_count; i++) {
        const struct device_row *device = &n->devices[i];
        if (!device->encodes || !device_usable(device, true) ||
            (unsigned)device->kind >= DEVICE_KIND_COUNT)
            continue;
        out[device->kind].devices++;
        out[device->kind].sessions += n->slots[i].use.sessions;
        if (device->session_scope == SCOPE_SYSTEM)
            shared[device->kind] = device->session_limit;
        else
            out[device->kind].session_limit += device->session_limit;
    }
    for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++)
        out[kind].session_limit += shared[kind];
    out[DEVICE_CPU].sessions += n->kind_leases[DEVICE_CPU];
}

void sched_kinds(const struct sched *s, struct sched_kind_view out[DEVICE_KIND_COUNT])
{
    for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++) {
        out[kind] =
            (struct sched_kind_view){.wait_ns = route_wait_ns(s, (enum device_kind)kind, NULL)};
        for (int cls = kind; cls < CLASS_COUNT; cls += DEVICE_KIND_COUNT) {
            out[kind].queued += s->classes[cls].queued;
            out[kind].running += s->classes[cls].running;
        }
    }
    for (uint32_t i = 0; i < s->node_order.count; i++)
        if (node_at(s, s->node_order.items[i])->live)
            kind_devices(node_at(s, s->node_order.items[i]), out);
}

void sched_totals(const struct sched *s, struct sched_totals *out)
{
    *out = (struct sched_totals){
        .videos = s->videos.live,
        .queued = s->state_counts[TASK_QUEUED],
        .waiting = s->state_counts[TASK_WAITING],
        .running = s->state_counts[TASK_RUNNING],
        .dead = s->state_counts[TASK_DEAD],
        .nodes_live = s->nodes_live,
        .grants = s->grants,
        .completions = s->completions,
        .failures = s->failed,
        .lapses = s->lapses,
        .stale = s->stale,
    };
    for (int p = 0; p < PRIORITY_COUNT; p++)
        out->by_priority[p] = s->queued_by_priority[p];
}
