/* The running queue: leases, their tokens, and what a stated token means.
 *
 * Invariants:
 *  L1. Tokens only grow; a token is given out once.
 *  L2. A node's used is the sum of the demands on its lease list, running their number.
 *  L3. A grant never takes a node past its total (a node that shrinks later may be over it).
 *  L4. Everything that ends a lease without committing it says SCHED_TOKEN_DEAD, once; STALE is said for a
 *      token only when it is neither live nor committed, because agents delete the outputs of stale ones.
 *
 *   lease         event                              by
 *   granted       stated by its node                 lease_present: seen
 *   granted       not stated for a lease timeout     task_timer_due: lease_return
 *   restored      stated, by whatever session        lease_present: seen
 *   restored      not stated for a lease timeout     task_timer_due: lease_return
 *   seen          missing in a newer sync            node_sync: lease_lose
 *   seen          node silent                        node_timer_due: lease_lose
 *   any           finished                           lease_present: task_commit
 *   any           failed                             lease_present: retry_failure
 *   any           handed back                        lease_present: lease_return
 *   any           drain deadline                     node_timer_due: lease_return
 *   any           cancelled, redone, forgotten       lease_token_kill
 */
#include <assert.h>

#include "scheduler/core/sched_internal.h"

#define LOSSES_MAX       5 /* silent losses … */
#define LOSSES_NODES_MIN 3 /* … on so many nodes make a task poison */

/* by: 1 or -1. Sessions of devices are reckoned on the devices. */
static void use_add(struct sched *s, struct node *n, const struct task *t, int by)
{
    struct demand demand = task_demand_of(s, t);
    n->used.cpu_millicores += by * demand.cpu_millicores;
    n->used.sessions += by * t->demand.sessions * (t->kind == DEVICE_CPU);
    n->used.memory_bytes += by * demand.memory_bytes;
    n->used.vram_bytes += by * demand.vram_bytes;
    n->used.work_mpix += by * demand.work_mpix;
    n->used.fetch_bytes += by * demand.fetch_bytes;
    n->running += by;
    if (!t->needs_codec)
        return;
    struct device_class *cls = task_class(s, t);
    cls->running += by;
    cls->running_mpix += by * demand.work_mpix;
    device_work_add(s, t, by);
}

void lease_attach(struct sched *s, uint32_t node, uint32_t task)
{
    struct node *n = node_at(s, node);
    struct task *t = task_at(s, task);
    t->node = node;
    t->lease_prev = n->lease_last;
    t->lease_next = SLOT_NONE;
    if (n->lease_last == SLOT_NONE)
        n->lease_first = task;
    else
        task_at(s, n->lease_last)->lease_next = task;
    n->lease_last = task;
    use_add(s, n, t, 1);
    if (t->needs_codec)
        device_take(s, n, t);
}

void lease_detach(struct sched *s, uint32_t task)
{
    struct task *t = task_at(s, task);
    struct node *n = node_at(s, t->node);
    if (t->lease_prev == SLOT_NONE)
        n->lease_first = t->lease_next;
    else
        task_at(s, t->lease_prev)->lease_next = t->lease_next;
    if (t->lease_next == SLOT_NONE)
        n->lease_last = t->lease_prev;
    else
        task_at(s, t->lease_next)->lease_prev = t->lease_prev;
    t->lease_next = t->lease_prev = SLOT_NONE;
    use_add(s, n, t, -1);
    if (t->needs_codec)
        device_give(s, n, t);
    t->seen = t->restored = false;
    timer_set(s, TIMER_TASK, task, INT64_MAX);
    node_gain(s, t->node);
}

void lease_grant(struct sched *s, uint32_t node, uint32_t task)
{
    struct node *n = node_at(s, node);
    struct task *t = task_at(s, task);
    assert(node_grantable(s, n) && match_fits(s, n, t, true));
    task_move(s, task, TASK_RUNNING);
    if (t->needs_codec)
        device_assign(s, n, t);
    lease_attach(s, node, task);
    t->token = s->counters.next_token++;
    s->counters_put = true;
    t->granted_unix_ns = s->now_unix_ns;
    timer_set(s, TIMER_TASK, task, s->now_ns + s->config.lease_timeout_ns);
    video_touch(s, t->video, false);
    node_touch(s, node, false, true);
    s->grants++;
}

void lease_token_kill(struct sched *s, uint32_t task)
{
    struct task *t = task_at(s, task);
    assert(t->token != 0);
    struct sched_action *action = action_add(s, SCHED_TOKEN_DEAD);
    action->video.v = video_at(s, t->video)->id;
    action->task.v = t->id;
    action->node.v = t->node == SLOT_NONE ? 0 : node_at(s, t->node)->id;
    action->token.v = t->token;
    t->token = 0;
    /* So that the node hears of it before its parked sync runs out. */
    if (t->state == TASK_RUNNING && node_at(s, t->node)->live)
        node_touch(s, t->node, false, true);
}

void lease_return(struct sched *s, uint32_t task)
{
    lease_token_kill(s, task);
    task_queue(s, task, 0);
}

void lease_lose(struct sched *s, uint32_t task)
{
    struct task *t = task_at(s, task);
    const struct node *n = node_at(s, t->node);
    t->losses++;
    t->lost_nodes |= UINT64_C(1) << (((uint64_t)n->id * UINT64_C(0x9E3779B97F4A7C15)) >> 58);
    s->lapses++;
    if (t->losses < LOSSES_MAX || __builtin_popcountll(t->lost_nodes) < LOSSES_NODES_MIN) {
        lease_return(s, task);
        return;
    }
    struct sl_failure poison;
    sl_fail(&poison, SL_EPOISON,
            "%d nodes or agents fell silent while running this task, the last one %s; redrive it "
            "when they are known to be sound",
            t->losses, n->row.name);
    lease_token_kill(s, task);
    task_kill(s, task, &poison);
}

static void verdict_add(struct sched *s, const struct node *n, const struct sched_held *held,
                        const struct task *t, enum verdict_kind kind)
{
    struct sched_action *action = action_add(s, SCHED_VERDICT);
    action->video.v = video_at(s, t->video)->id;
    action->task.v = t->id;
    action->node.v = n->id;
    action->token = held->token;
    action->verdict = kind;
    if (kind == VERDICT_STALE)
        s->stale++;
}

void lease_present(struct sched *s, uint32_t node, const struct sched_held *held)
{
    struct node *n = node_at(s, node);
    uint32_t slot = task_find(s, held->task);
    if (slot == SLOT_NONE)
        return;
    struct task *t = task_at(s, slot);
    bool same = held->token.v != 0 && t->token == held->token.v;
    if (!same || t->state != TASK_RUNNING || t->node != node) {
        bool committed = same && t->state == TASK_DONE;
        verdict_add(s, n, held, t, committed ? VERDICT_ACCEPTED : VERDICT_STALE);
        return;
    }
    t->stamp = n->stamp;
    if (!t->seen) {
        t->seen = true;
        t->restored = false;
        timer_set(s, TIMER_TASK, slot, INT64_MAX);
    }
    if (held->state == HELD_RUNNING)
        return;
    verdict_add(s, n, held, t, VERDICT_ACCEPTED);
    if (held->state == HELD_FINISHED)
        task_commit(s, slot);
    else if (held->state == HELD_FAILED)
        retry_failure(s, slot, &held->failure);
    else
        lease_return(s, slot);
}
