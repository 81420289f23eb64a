/* The worker queue: nodes, what they say of themselves, and when they are believed gone.
 *
 * Invariants:
 *  N1. A live node has synced within the lease timeout (a tick later at the most) and has its timer armed.
 *  N2. Only a node that may be granted to is among the open ones, at the place of its free CPU.
 *  N3. Of one identity there is one session; another one is refused while the first is heard.
 *  N4. Only a sync that is newer than all earlier ones of its session is taken as the node's state.
 *
 *   state        to           by
 *   -            ready        node_sync (first sync)
 *   lost         ready, draining, drained, preempting   node_sync (heard again)
 *   ready        draining     node_drain; drained when it holds nothing
 *   draining     drained      lease_detach (the last lease), node_timer_due (the drain's deadline)
 *   draining, drained   ready node_undrain
 *   any live     preempting   node_sync (notice, or the agent is leaving), and back
 *   any live     lost         node_timer_due (silent for the lease timeout)
 * After NODE_FAULTS_IN_ROW faults on different tasks a node is suspect: it stays in its state and gets
 * nothing until suspect_until_ns (node_fault, node_timer_due).
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/core/sched_internal.h"

uint32_t node_find(const struct sched *s, struct node_id id)
{
    return id_map_get(&s->node_ids, id.v);
}

/* FNV-1a; where two uuids meet, the later one has the next free key. */
static int64_t uuid_key(const char *uuid)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *uuid; uuid++)
        hash = (hash ^ (unsigned char)*uuid) * UINT64_C(0x100000001B3);
    return hash ? (int64_t)hash : 1;
}

static int64_t key_after(int64_t key)
{
    uint64_t next = (uint64_t)key + 1;
    return next ? (int64_t)next : 1;
}

uint32_t node_find_uuid(const struct sched *s, const char *uuid)
{
    for (int64_t key = uuid_key(uuid);; key = key_after(key)) {
        uint32_t slot = id_map_get(&s->node_uuids, key);
        if (slot == SLOT_NONE || strcmp(node_at(s, slot)->row.uuid, uuid) == 0)
            return slot;
    }
}

static bool order_insert(struct sched *s, uint32_t slot)
{
    struct slots *order = &s->node_order;
    if (!slots_push(order, slot))
        return false;
    uint32_t i = order->count - 1;
    for (; i > 0 && node_at(s, order->items[i - 1])->id > node_at(s, slot)->id; i--)
        order->items[i] = order->items[i - 1];
    order->items[i] = slot;
    return true;
}

uint32_t node_new(struct sched *s, const struct sched_node_row *row)
{
    uint32_t slot = slab_take(&s->nodes);
    if (slot == SLOT_NONE)
        goto fail;
    struct node *n = node_at(s, slot);
    n->id = row->node.v;
    n->row = *row;
    n->uuid_key = uuid_key(row->uuid);
    while (id_map_get(&s->node_uuids, n->uuid_key) != SLOT_NONE)
        n->uuid_key = key_after(n->uuid_key);
    n->state = n->state_told = NODE_LOST;
    n->lease_first = n->lease_last = SLOT_NONE;
    n->timer = SLOT_NONE;
    n->drain_deadline_at_ns = INT64_MAX;
    if (row->drain && row->drain_deadline_unix_ns) {
        n->deadline_unix = true;
        s->deadlines_unix++;
    }
    if (slab_reach(&s->node_trees, s->nodes.end) && id_map_put(&s->node_ids, n->id, slot) &&
        id_map_put(&s->node_uuids, n->uuid_key, slot) && order_insert(s, slot))
        return slot;
fail:
    s->out_of_memory = true;
    return SLOT_NONE;
}

enum node_state node_state_of(const struct node *n)
{
    if (!n->live)
        return NODE_LOST;
    if (n->leaving || n->notice)
        return NODE_PREEMPTING;
    if (n->row.drain)
        return n->running ? NODE_DRAINING : NODE_DRAINED;
    return NODE_READY;
}

bool node_grantable(const struct sched *s, const struct node *n)
{
    return n->live && !n->leaving && !n->notice && !n->row.drain &&
           n->suspect_until_ns <= s->now_ns && n->running < SCHED_NODE_LEASES_MAX;
}

void node_gain(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    n->tried = 0;
    n->tried_suspect = 0;
    node_touch(s, slot, false, false);
    if (n->gained)
        return;
    n->gained = true;
    if (!slots_push(&s->gained, slot))
        s->out_of_memory = true;
}

void node_reopen(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    struct tree_node *place = node_tree(s, slot);
    uint8_t want = node_grantable(s, n) ? (n->row.spot ? 2 : 1) : 0;
    int64_t key = (int64_t)n->used.cpu_millicores - n->total.cpu_millicores;
    if (n->open == want && (!want || place->key == key))
        return;
    if (n->open)
        tree_remove(&s->open[n->open - 1], slot);
    n->open = want;
    if (!want)
        return;
    *place = (struct tree_node){.key = key, .id = n->id};
    tree_insert(&s->open[want - 1], slot);
}

void node_timer_arm(struct sched *s, uint32_t slot)
{
    const struct node *n = node_at(s, slot);
    int64_t at_ns = INT64_MAX;
    if (n->live)
        at_ns = n->last_sync_at_ns + s->config.lease_timeout_ns;
    if (n->drain_deadline_at_ns < at_ns)
        at_ns = n->drain_deadline_at_ns;
    if (n->suspect_until_ns > s->now_ns && n->suspect_until_ns < at_ns)
        at_ns = n->suspect_until_ns;
    timer_set(s, TIMER_NODE, slot, at_ns);
}

/* ---- silence, deadlines, suspicion ---- */

static void node_lose(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    n->live = false;
    s->nodes_live--;
    node_touch(s, slot, false, false);
    for (uint32_t t = n->lease_first, next; t != SLOT_NONE; t = next) {
        next = task_at(s, t)->lease_next;
        /* A node that was said to go is not a sign of poison, nor is a grant that never arrived. */
        if (task_at(s, t)->seen && !n->notice && !n->leaving) {
            lease_lose(s, t);
        } else {
            s->lapses++;
            lease_return(s, t);
        }
    }
    /* Tasks that avoid another node may have no choice any more. */
    s->epoch++;
}

static void drain_end(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    n->drain_deadline_at_ns = INT64_MAX;
    n->row.drain_deadline_unix_ns = 0;
    node_touch(s, slot, true, true);
    while (n->lease_first != SLOT_NONE)
        lease_return(s, n->lease_first);
}

void node_timer_due(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    if (n->live && n->last_sync_at_ns + s->config.lease_timeout_ns <= s->now_ns)
        node_lose(s, slot);
    if (n->drain_deadline_at_ns <= s->now_ns)
        drain_end(s, slot);
    if (n->suspect_until_ns && n->suspect_until_ns <= s->now_ns) {
        n->suspect_until_ns = 0;
        node_gain(s, slot);
    }
    node_timer_arm(s, slot);
}

void node_fault(struct sched *s, uint32_t slot, int64_t task)
{
    struct node *n = node_at(s, slot);
    for (int i = 0; i < NODE_FAULTS_IN_ROW; i++)
        if (n->fault_tasks[i] == task)
            return;
    n->fault_tasks[n->faults % NODE_FAULTS_IN_ROW] = task;
    n->faults++;
    if (n->faults < NODE_FAULTS_IN_ROW)
        return;
    int shift = n->suspects < NODE_SUSPECT_SHIFT_MAX ? n->suspects : NODE_SUSPECT_SHIFT_MAX;
    n->suspects = shift + 1;
    n->suspect_until_ns = s->now_ns + s->config.suspect_base_ns * (INT64_C(1) << shift);
    node_timer_arm(s, slot);
    node_touch(s, slot, false, false);
}

void node_success(struct node *n)
{
    n->faults = 0;
    n->suspects = 0;
    memset(n->fault_tasks, 0, sizeof n->fault_tasks);
}

/* ---- the sync ---- */

static bool sync_is_sound(const struct sched_event *event)
{
    const char *uuid = event->sync.uuid;
    const struct demand *total = &event->sync.total;
    if (!uuid[0] || !memchr(uuid, 0, NODE_UUID_BYTES) ||
        !memchr(event->sync.name, 0, NODE_NAME_BYTES) || event->sync.session == 0 ||
        total->cpu_millicores < 0 || total->memory_bytes < 0 || total->sessions < 0)
        return false;
    for (int32_t i = 0; i < event->sync.held_count; i++)
        if ((unsigned)event->sync.held[i].state >= HELD_STATE_COUNT)
            return false;
    return true;
}

static bool offer_changed(const struct node *before, const struct node *now,
                          const struct device_row *old, int32_t old_count)
{
    bool changed =
        old_count != now->device_count || before->lanes != now->lanes ||
        before->healthy != now->healthy || before->usable != now->usable ||
        memcmp(before->rates, now->rates, sizeof now->rates) != 0 ||
        memcmp(before->session_limits, now->session_limits, sizeof now->session_limits) != 0;
    for (int32_t i = 0; i < now->device_count && !changed; i++)
        changed = old[i].session_limit != now->devices[i].session_limit ||
                  old[i].session_scope != now->devices[i].session_scope ||
                  old[i].health != now->devices[i].health ||
                  old[i].vram_bytes != now->devices[i].vram_bytes ||
                  strcmp(old[i].device_id, now->devices[i].device_id) != 0;
    return changed;
}

static void capacity_take(struct sched *s, uint32_t slot, const struct sched_event *event)
{
    struct node *n = node_at(s, slot);
    size_t bytes = (size_t)event->sync.device_count * sizeof *n->devices;
    const struct demand *total = &event->sync.total;
    bool resized = n->lanes == 0 || n->total.cpu_millicores != total->cpu_millicores ||
                   n->total.sessions != total->sessions ||
                   n->total.memory_bytes != total->memory_bytes;
    bool changed = resized;
    n->total = *total;
    struct device_row old[NODE_DEVICES_MAX];
    int32_t old_count = n->device_count;
    if (old_count)
        memcpy(old, n->devices, (size_t)old_count * sizeof *old);
    /* Taken along, and no change. */
    for (int32_t i = 0; i < old_count && old_count == event->sync.device_count; i++)
        n->devices[i].telemetry = event->sync.devices[i].telemetry;
    if (n->device_count != event->sync.device_count ||
        (bytes && memcmp(n->devices, event->sync.devices, bytes) != 0)) {
        if (n->device_count < event->sync.device_count) {
            struct device_row *devices = realloc(n->devices, bytes);
            if (!devices) {
                s->out_of_memory = true;
                return;
            }
            n->devices = devices;
        }
        if (bytes)
            memcpy(n->devices, event->sync.devices, bytes);
        n->device_count = event->sync.device_count;
        changed = true;
    }
    if (!changed)
        return;
    struct node before = *n;
    devices_reckon(s, slot);
    devices_recount(s, slot, old, old_count);
    /* Most changes of a row are counts that other parts look at. */
    if (!resized && !offer_changed(&before, n, old, old_count))
        return;
    s->epoch++;
    node_gain(s, slot);
}

static int node_join(struct sched *s, const struct sched_event *event, uint32_t *out)
{
    if (s->nodes.live >= SCHED_NODES_MAX)
        return SL_ELIMIT;
    struct sched_node_row row = {.node.v = s->counters.next_node, .spot = event->sync.spot};
    memcpy(row.uuid, event->sync.uuid, strlen(event->sync.uuid));
    memcpy(row.name, event->sync.name, strlen(event->sync.name));
    *out = node_new(s, &row);
    if (*out == SLOT_NONE)
        return SL_ENOMEM;
    s->counters.next_node++;
    s->counters_put = true;
    node_touch(s, *out, true, false);
    return 0;
}

static void identity_take(struct sched *s, uint32_t slot, const struct sched_event *event)
{
    struct node *n = node_at(s, slot);
    if (n->row.spot == event->sync.spot && strcmp(n->row.name, event->sync.name) == 0)
        return;
    n->row.spot = event->sync.spot;
    memset(n->row.name, 0, sizeof n->row.name);
    memcpy(n->row.name, event->sync.name, strlen(event->sync.name));
    node_touch(s, slot, true, false);
    node_gain(s, slot);
}

/* What the sync should have stated and did not. */
static void missing_take(struct sched *s, uint32_t slot, bool new_session)
{
    struct node *n = node_at(s, slot);
    for (uint32_t t = n->lease_first, next; t != SLOT_NONE; t = next) {
        struct task *task = task_at(s, t);
        next = task->lease_next;
        if (task->seen && task->stamp != n->stamp)
            lease_lose(s, t);
        else if (!task->seen && !task->restored && new_session)
            lease_return(s, t);
    }
}

int node_sync(struct sched *s, const struct sched_event *event)
{
    if (event->sync.held_count < 0 || event->sync.device_count < 0)
        return SL_EINVAL;
    if (event->sync.held_count > SYNC_HELD_MAX || event->sync.device_count > NODE_DEVICES_MAX)
        return SL_ELIMIT;
    if (!sync_is_sound(event))
        return SL_EINVAL;
    uint32_t slot = node_find_uuid(s, event->sync.uuid);
    bool new_session = false;
    if (slot == SLOT_NONE) {
        int rc = node_join(s, event, &slot);
        if (rc)
            return rc;
    } else {
        const struct node *n = node_at(s, slot);
        if (n->session == event->sync.session && event->sync.seq <= n->seq)
            return 0;
        new_session = n->session != 0 && n->session != event->sync.session;
        /* An agent that said that it leaves is not a second one when it is back. */
        if (new_session && n->live && !n->leaving &&
            s->now_ns - n->last_sync_at_ns < 2 * s->config.renew_interval_ns)
            return SL_ECONFLICT;
    }
    struct node *n = node_at(s, slot);
    bool notice = event->sync.notice_remaining_ns > 0;
    bool was_live = n->live;
    bool changed = !was_live || (n->leaving || n->notice) != (event->sync.leaving || notice);
    if (!was_live)
        s->nodes_live++;
    n->live = true;
    n->session = event->sync.session;
    n->seq = event->sync.seq;
    n->leaving = event->sync.leaving;
    n->notice = notice;
    /* After a stall it may lie ahead, and the timer counts on its never going back. */
    if (s->now_ns > n->last_sync_at_ns)
        n->last_sync_at_ns = s->now_ns;
    n->stamp++;
    if (changed) {
        node_gain(s, slot);
        s->epoch++;
    }
    identity_take(s, slot, event);
    capacity_take(s, slot, event);
    /* Armed already it comes early at the worst; a silent node's timer is for other things. */
    if (!was_live)
        node_timer_arm(s, slot);
    for (int32_t i = 0; i < event->sync.held_count; i++)
        lease_present(s, slot, &event->sync.held[i]);
    missing_take(s, slot, new_session);
    return 0;
}

/* ---- drain ---- */

int node_drain(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = node_find(s, event->node);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    if (event->drain_deadline_ns < 0)
        return SL_EINVAL;
    struct node *n = node_at(s, slot);
    int64_t remaining_ns = event->drain_deadline_ns;
    n->row.drain = true;
    n->row.drain_deadline_unix_ns = remaining_ns ? s->now_unix_ns + remaining_ns : 0;
    n->drain_deadline_at_ns = remaining_ns ? s->now_ns + remaining_ns : INT64_MAX;
    node_timer_arm(s, slot);
    node_touch(s, slot, true, true);
    s->epoch++;
    return 0;
}

int node_undrain(struct sched *s, const struct sched_event *event)
{
    uint32_t slot = node_find(s, event->node);
    if (slot == SLOT_NONE)
        return SL_ENOENT;
    struct node *n = node_at(s, slot);
    if (!n->row.drain)
        return 0;
    n->row.drain = false;
    n->row.drain_deadline_unix_ns = 0;
    n->drain_deadline_at_ns = INT64_MAX;
    node_timer_arm(s, slot);
    node_touch(s, slot, true, true);
    node_gain(s, slot);
    s->epoch++;
    return 0;
}

void nodes_rebase(struct sched *s)
{
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        struct node *n = node_at(s, s->node_order.items[i]);
        if (!n->deadline_unix)
            continue;
        n->deadline_unix = false;
        int64_t remaining_ns = n->row.drain_deadline_unix_ns - s->now_unix_ns;
        n->drain_deadline_at_ns = s->now_ns + (remaining_ns > 0 ? remaining_ns : 0);
        node_timer_arm(s, s->node_order.items[i]);
    }
    s->deadlines_unix = 0;
}
