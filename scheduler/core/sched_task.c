/* One task and its states.
 *
 * Invariants:
 *  T1. A queued task is in exactly one place: its lane, the backoff timer, or held with its failed video.
 *  T2. A running task has a token, is on the lease list of its node, and no other task has that token.
 *  T3. A done task has the token that committed it; no other state has a token.
 *  T4. A dead task, and no other, is in the tree of dead tasks.
 *  T5. attempts counts charged failures only, losses silent ones only.
 *  T6. A task's timer runs exactly while it backs off, is an unseen grant, or is a restored lease.
 *
 *   from       to          by
 *   -          waiting     task_new
 *   waiting    queued      task_queue (video_settle, video_tasks_add)
 *   queued     running     lease_grant
 *   running    done        task_commit
 *   running    queued      task_queue (retry_failure, lease_lose, lease_return)
 *   running    dead        task_kill (retry_failure, lease_lose)
 *   waiting, queued, running, dead   cancelled   task_cancel
 *   dead, cancelled, queued, running, done   waiting or queued   task_renew (sched_rework.c)
 *   any        gone        task_delete
 */
#include <assert.h>
#include <string.h>

#include "scheduler/core/sched_internal.h"

uint32_t task_find(const struct sched *s, struct task_id id)
{
    return id_map_get(&s->task_ids, id.v);
}

/* New ids are the largest; restored rows may come in any order. */
static void video_link(struct sched *s, struct video *v, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    uint32_t after = v->last;
    while (after != SLOT_NONE && task_at(s, after)->id > t->id)
        after = task_at(s, after)->video_prev;
    t->video_prev = after;
    t->video_next = after == SLOT_NONE ? v->first : task_at(s, after)->video_next;
    if (after == SLOT_NONE)
        v->first = slot;
    else
        task_at(s, after)->video_next = slot;
    if (t->video_next == SLOT_NONE)
        v->last = slot;
    else
        task_at(s, t->video_next)->video_prev = slot;
}

static void count(struct sched *s, const struct task *t, int32_t by)
{
    struct video *v = video_at(s, t->video);
    v->counts[t->step][t->state] += by;
    v->by_state[t->state] += by;
    v->task_count += by;
    s->state_counts[t->state] += by;
    if (t->state == TASK_QUEUED)
        s->queued_by_priority[v->priority] += by;
    if (t->needs_codec)
        route_at(s, t->route)->counts[t->state] += by;
}

uint32_t task_new(struct sched *s, uint32_t video, int64_t id, const struct sched_task_spec *spec,
                  enum task_state state)
{
    uint32_t slot = slab_take(&s->tasks);
    if (slot == SLOT_NONE || !slab_reach(&s->task_trees, s->tasks.end) ||
        !id_map_put(&s->task_ids, id, slot)) {
        s->out_of_memory = true;
        return SLOT_NONE;
    }
    struct task *t = task_at(s, slot);
    t->id = id;
    t->video = video;
    t->step = (uint8_t)spec->step;
    t->state = (uint8_t)state;
    t->codec = (uint8_t)spec->codec;
    t->needs_codec = spec->needs_codec;
    t->piece = spec->piece;
    t->wait_mask = spec->wait_mask;
    t->demand = (struct task_demand){
        .cpu_millicores = spec->demand.cpu_millicores,
        .sessions = spec->demand.sessions,
        .memory_bytes = spec->demand.memory_bytes,
        .work_mpix = spec->demand.work_mpix,
        .fetch_bytes = spec->demand.fetch_bytes,
    };
    t->route = SLOT_NONE;
    t->device = DEVICE_NONE;
    if (spec->needs_codec) {
        t->route = route_of(s, video, spec->codec);
        if (t->route == SLOT_NONE)
            return SLOT_NONE;
        const struct route *r = route_at(s, t->route);
        t->ten_bit = r->ten_bit;
        t->entry = r->entry;
        t->kind = r->kinds[r->entry];
    }
    t->node = t->lease_next = t->lease_prev = SLOT_NONE;
    t->timer = t->failure = SLOT_NONE;
    t->since_ns = s->now_ns;
    struct tree_node *node = task_tree(s, slot);
    *node = (struct tree_node){.order = spec->order, .id = id};
    video_link(s, video_at(s, video), slot);
    count(s, t, 1);
    return slot;
}

/* Out of whatever its state had put it into. */
static void state_leave(struct sched *s, uint32_t slot)
{
    switch ((enum task_state)task_at(s, slot)->state) {
    case TASK_QUEUED:
        queue_unplace(s, slot);
        timer_set(s, TIMER_TASK, slot, INT64_MAX);
        break;
    case TASK_RUNNING:
        lease_detach(s, slot);
        break;
    case TASK_DEAD:
        tree_remove(&s->dead, slot);
        break;
    default:
        break;
    }
}

void task_delete(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    struct video *v = video_at(s, t->video);
    state_leave(s, slot);
    count(s, t, -1);
    if (t->video_prev == SLOT_NONE)
        v->first = t->video_next;
    else
        task_at(s, t->video_prev)->video_next = t->video_next;
    if (t->video_next == SLOT_NONE)
        v->last = t->video_prev;
    else
        task_at(s, t->video_next)->video_prev = t->video_prev;
    struct sl_failure none = {0};
    failure_keep(s, &t->failure, t->id, &none);
    id_map_remove(&s->task_ids, t->id);
    slab_give(&s->tasks, slot);
}

void task_row_fill(const struct sched *s, const struct task *t, struct sched_task_row *row)
{
    uint32_t slot = id_map_get(&s->task_ids, t->id);
    row->task.v = t->id;
    row->video.v = video_at(s, t->video)->id;
    row->step = (enum step)t->step;
    row->piece = t->piece;
    row->wait_mask = t->wait_mask;
    row->codec = (enum codec)t->codec;
    row->needs_codec = t->needs_codec;
    row->order = task_tree(s, slot)->order;
    row->demand = (struct demand){
        .cpu_millicores = t->demand.cpu_millicores,
        .sessions = t->demand.sessions,
        .memory_bytes = t->demand.memory_bytes,
        .work_mpix = t->demand.work_mpix,
        .fetch_bytes = t->demand.fetch_bytes,
    };
    row->state = (enum task_state)t->state;
    if (t->needs_codec && (t->state == TASK_RUNNING || t->state == TASK_DONE)) {
        row->entry = t->entry;
        row->kind = (enum device_kind)t->kind;
        row->sessions = t->sessions;
    }
    row->attempts = t->attempts;
    row->losses = t->losses;
    row->preroll = t->preroll;
    row->not_before_unix_ns = t->not_before_unix_ns;
    row->token.v = t->token;
    row->node.v = t->node == SLOT_NONE ? 0 : node_at(s, t->node)->id;
    row->granted_unix_ns = t->granted_unix_ns;
    for (int i = 0; i < 4; i++)
        row->avoid[i].v = t->avoid[i];
    row->lost_nodes = t->lost_nodes;
    if (t->failure != SLOT_NONE)
        row->failure = failure_at(s, t->failure)->failure;
}

void task_move(struct sched *s, uint32_t slot, enum task_state to)
{
    struct task *t = task_at(s, slot);
    state_leave(s, slot);
    count(s, t, -1);
    t->state = (uint8_t)to;
    count(s, t, 1);
    t->since_ns = s->now_ns;
    if (to == TASK_DEAD) {
        struct tree_node *node = task_tree(s, slot);
        node->key = t->id;
        node->group = 0;
        tree_insert(&s->dead, slot);
    }
    if (to != TASK_QUEUED)
        t->not_before_unix_ns = 0;
    if (to != TASK_RUNNING && to != TASK_DONE) {
        t->node = SLOT_NONE;
        t->granted_unix_ns = 0;
    }
    task_touch(s, slot);
}

void task_queue(struct sched *s, uint32_t slot, int64_t delay_ns)
{
    struct task *t = task_at(s, slot);
    assert(t->token == 0);
    task_move(s, slot, TASK_QUEUED);
    if (t->needs_codec)
        route_place(s, slot);
    t->not_before_unix_ns = delay_ns > 0 ? s->now_unix_ns + delay_ns : 0;
    if (delay_ns > 0)
        timer_set(s, TIMER_TASK, slot, s->now_ns + delay_ns);
    queue_place(s, slot);
    video_touch(s, t->video, false);
}

void task_commit(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    struct sched_action *action = action_add(s, SCHED_TASK_COMMITTED);
    action->video.v = video_at(s, t->video)->id;
    action->task.v = t->id;
    action->node.v = node_at(s, t->node)->id;
    action->token.v = t->token;
    node_success(node_at(s, t->node));
    task_move(s, slot, TASK_DONE);
    struct sl_failure none = {0};
    failure_keep(s, &t->failure, t->id, &none);
    memset(t->avoid, 0, sizeof t->avoid);
    s->completions++;
    video_settle(s, t->video);
}

void task_kill(struct sched *s, uint32_t slot, const struct sl_failure *failure)
{
    struct task *t = task_at(s, slot);
    assert(t->token == 0);
    failure_keep(s, &t->failure, t->id, failure);
    task_move(s, slot, TASK_DEAD);
    video_hold(s, t->video);
}

void task_cancel(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    if (t->token)
        lease_token_kill(s, slot);
    task_move(s, slot, TASK_CANCELLED);
    video_touch(s, t->video, false);
}

void task_renew(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    struct video *v = video_at(s, t->video);
    if (t->token)
        lease_token_kill(s, slot);
    struct sl_failure none = {0};
    failure_keep(s, &t->failure, t->id, &none);
    t->attempts = 0;
    t->losses = 0;
    t->lost_nodes = 0;
    memset(t->avoid, 0, sizeof t->avoid);
    task_move(s, slot, TASK_WAITING);
    if (!(t->wait_mask & ~v->finished))
        task_queue(s, slot, 0);
    video_touch(s, t->video, false);
}

void task_timer_due(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    if (t->state == TASK_RUNNING) {
        /* Never stated: the grant did not arrive, or nobody came back with it. */
        s->lapses++;
        lease_return(s, slot);
        return;
    }
    assert(t->state == TASK_QUEUED && t->place == PLACE_BACKOFF);
    queue_unplace(s, slot);
    queue_place(s, slot);
}
