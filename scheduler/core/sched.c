/* Life of the core and the frame of a step: check, run what is due, apply the event, match, write rows.
 *
 * A refused event must change nothing, so the event's function checks everything before its first change.
 * What is due by now_ns is done before the event is looked at, and stays done when the event is refused.
 */
#include "scheduler/core/sched.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/core/sched_internal.h"

void sched_config_default(struct sched_config *config)
{
    *config = (struct sched_config){
        .lease_timeout_ns = SL_S_TO_NS(12),
        .renew_interval_ns = SL_S_TO_NS(3),
        .retry_base_ns = SL_S_TO_NS(2),
        .retry_max_ns = SL_S_TO_NS(300),
        .attempts_max = 4,
        .aging_ns = {[PRIORITY_LOW] = 0,
                     [PRIORITY_NORMAL] = SL_S_TO_NS(600),
                     [PRIORITY_HIGH] = SL_S_TO_NS(3600),
                     [PRIORITY_URGENT] = SL_S_TO_NS(86400)},
        .suspect_base_ns = SL_S_TO_NS(30),
        .unplaced_ns = SL_S_TO_NS(600),
    };
}

/* ---- actions ---- */

void sched_actions_reset(struct sched_actions *actions)
{
    actions->count = 0;
}

void sched_actions_fini(struct sched_actions *actions)
{
    free(actions->items);
    *actions = (struct sched_actions){0};
}

struct sched_action *action_add(struct sched *s, enum sched_action_kind kind)
{
    struct sched_actions *actions = s->actions;
    struct sched_action *action = &s->spill;
    if (actions->count == actions->capacity) {
        size_t capacity = actions->capacity ? actions->capacity * 2 : 64;
        struct sched_action *items = realloc(actions->items, capacity * sizeof *items);
        if (items) {
            actions->items = items;
            actions->capacity = capacity;
        }
    }
    if (actions->count < actions->capacity)
        action = &actions->items[actions->count++];
    else
        s->out_of_memory = true;
    /* All bytes, so that equal actions are equal memory. */
    memset(action, 0, sizeof *action);
    action->kind = kind;
    return action;
}

void failure_keep(struct sched *s, uint32_t *slot, int64_t id, const struct sl_failure *failure)
{
    if (failure->code == SL_OK) {
        if (*slot != SLOT_NONE)
            slab_give(&s->failures, *slot);
        *slot = SLOT_NONE;
        return;
    }
    if (*slot == SLOT_NONE)
        *slot = slab_take(&s->failures);
    if (*slot == SLOT_NONE) {
        s->out_of_memory = true;
        return;
    }
    struct failure *kept = failure_at(s, *slot);
    kept->id = id;
    kept->failure = *failure;
    kept->failure.message[SL_MESSAGE_BYTES - 1] = '\0';
}

/* ---- what a step touches ---- */

void task_touch(struct sched *s, uint32_t slot)
{
    struct task *t = task_at(s, slot);
    if (t->dirty || s->restoring)
        return;
    t->dirty = true;
    if (!slots_push(&s->dirty_tasks, slot))
        s->out_of_memory = true;
}

void video_touch(struct sched *s, uint32_t slot, bool put)
{
    struct video *v = video_at(s, slot);
    if (put)
        v->put = true;
    if (v->dirty)
        return;
    v->dirty = true;
    if (!slots_push(&s->dirty_videos, slot))
        s->out_of_memory = true;
}

void node_touch(struct sched *s, uint32_t slot, bool put, bool wake)
{
    struct node *n = node_at(s, slot);
    if (put)
        n->put = true;
    if (wake)
        n->wake = true;
    if (n->dirty)
        return;
    n->dirty = true;
    if (!slots_push(&s->dirty_nodes, slot))
        s->out_of_memory = true;
}

static void videos_write(struct sched *s)
{
    for (uint32_t i = 0; i < s->dirty_videos.count; i++) {
        struct video *v = video_at(s, s->dirty_videos.items[i]);
        if (!v->id || !v->dirty)
            continue;
        v->dirty = false;
        if (v->put) {
            struct sched_action *action = action_add(s, SCHED_PUT_VIDEO);
            action->video.v = v->id;
            video_row_fill(s, v, &action->video_row);
        }
        v->put = false;
        enum video_status status = video_status_of(v);
        if (status != v->status) {
            v->status = (uint8_t)status;
            struct sched_action *action = action_add(s, SCHED_STATUS);
            action->video.v = v->id;
            action->status = status;
        }
    }
    s->dirty_videos.count = 0;
}

static void tasks_write(struct sched *s)
{
    for (uint32_t i = 0; i < s->dirty_tasks.count; i++) {
        uint32_t slot = s->dirty_tasks.items[i];
        struct task *t = task_at(s, slot);
        if (!t->id || !t->dirty)
            continue;
        t->dirty = false;
        struct sched_action *action = action_add(s, SCHED_PUT_TASK);
        action->task.v = t->id;
        action->video.v = video_at(s, t->video)->id;
        task_row_fill(s, t, &action->task_row);
    }
    s->dirty_tasks.count = 0;
}

static void nodes_write(struct sched *s)
{
    for (uint32_t i = 0; i < s->dirty_nodes.count; i++) {
        struct node *n = node_at(s, s->dirty_nodes.items[i]);
        if (n->put) {
            struct sched_action *action = action_add(s, SCHED_PUT_NODE);
            action->node.v = n->id;
            action->node_row = n->row;
        }
        n->state = (uint8_t)node_state_of(n);
        if (n->state != n->state_told) {
            n->state_told = n->state;
            struct sched_action *action = action_add(s, SCHED_NODE_CHANGED);
            action->node.v = n->id;
            action->node_state = (enum node_state)n->state;
        }
    }
    if (s->counters_put)
        action_add(s, SCHED_PUT_COUNTERS)->counters = s->counters;
    s->counters_put = false;
    for (uint32_t i = 0; i < s->dirty_nodes.count; i++) {
        struct node *n = node_at(s, s->dirty_nodes.items[i]);
        if (n->wake)
            action_add(s, SCHED_WAKE_NODE)->node.v = n->id;
        n->wake = n->put = n->dirty = false;
    }
    s->dirty_nodes.count = 0;
}

static void step_end(struct sched *s)
{
    for (uint32_t i = 0; i < s->dirty_nodes.count; i++) {
        node_tally(s, s->dirty_nodes.items[i]);
        node_reopen(s, s->dirty_nodes.items[i]);
    }
    routes_run(s);
    match_run(s);
    videos_write(s);
    tasks_write(s);
    nodes_write(s);
    s->actions = NULL;
}

/* ---- life ---- */

int sched_open(const struct sched_config *config, uint64_t seed, struct sched **out)
{
    if (config->lease_timeout_ns <= 0 || config->renew_interval_ns <= 0 ||
        config->retry_base_ns <= 0 || config->retry_max_ns < config->retry_base_ns ||
        config->attempts_max < 1 || config->suspect_base_ns <= 0 || config->unplaced_ns <= 0)
        return SL_EINVAL;
    for (int p = 0; p < PRIORITY_COUNT; p++)
        if (config->aging_ns[p] < 0 || (p && config->aging_ns[p] < config->aging_ns[p - 1]))
            return SL_EINVAL;
    struct sched *s = calloc(1, sizeof *s);
    if (!s)
        return SL_ENOMEM;
    s->config = *config;
    s->seed = seed;
    s->counters = (struct sched_counters){.next_task = 1, .next_token = 1, .next_node = 1};
    s->restoring = true;
    s->epoch = 1;
    s->epoch_matched = 1;
    slab_init(&s->tasks, sizeof(struct task));
    slab_init(&s->task_trees, sizeof(struct tree_node));
    slab_init(&s->videos, sizeof(struct video));
    slab_init(&s->nodes, sizeof(struct node));
    slab_init(&s->node_trees, sizeof(struct tree_node));
    slab_init(&s->failures, sizeof(struct failure));
    slab_init(&s->routes, sizeof(struct route));
    slab_init(&s->route_trees, sizeof(struct tree_node));
    tree_init(&s->route_order, &s->route_trees);
    for (int i = 0; i < LANE_COUNT; i++)
        tree_init(&s->lanes[i], &s->task_trees);
    tree_init(&s->dead, &s->task_trees);
    tree_init(&s->open[0], &s->node_trees);
    tree_init(&s->open[1], &s->node_trees);
    *out = s;
    return 0;
}

void sched_close(struct sched **sched)
{
    struct sched *s = *sched;
    if (!s)
        return;
    for (uint32_t i = 0; i < s->nodes.end; i++)
        free(node_at(s, i)->devices);
    slab_fini(&s->tasks);
    slab_fini(&s->task_trees);
    slab_fini(&s->videos);
    slab_fini(&s->nodes);
    slab_fini(&s->node_trees);
    slab_fini(&s->failures);
    slab_fini(&s->routes);
    slab_fini(&s->route_trees);
    id_map_fini(&s->task_ids);
    id_map_fini(&s->video_ids);
    id_map_fini(&s->node_ids);
    id_map_fini(&s->node_uuids);
    slots_fini(&s->node_order);
    slots_fini(&s->dirty_tasks);
    slots_fini(&s->dirty_videos);
    slots_fini(&s->dirty_nodes);
    slots_fini(&s->gained);
    slots_fini(&s->suspects);
    free(s->timers.items);
    free(s);
    *sched = NULL;
}

/* ---- steps ---- */

static int event_apply(struct sched *s, const struct sched_event *event)
{
    switch (event->kind) {
    case SCHED_TICK:
        return 0;
    case SCHED_VIDEO_ADD:
        return video_add(s, event);
    case SCHED_ROUTE_PUT:
        return route_put(s, event);
    case SCHED_TASKS_ADD:
        return video_tasks_add(s, event);
    case SCHED_STEP_DONE:
    case SCHED_STEP_SKIP:
        return video_step_mark(s, event);
    case SCHED_VIDEO_FAIL:
        return video_fail(s, event);
    case SCHED_VIDEO_CANCEL:
        return video_cancel(s, event);
    case SCHED_VIDEO_RETRY:
        return video_retry(s, event);
    case SCHED_VIDEO_FORGET:
        return video_forget(s, event);
    case SCHED_TASK_REDO:
        return task_redo(s, event);
    case SCHED_TASK_REDRIVE:
        return task_redrive(s, event);
    case SCHED_TASK_DROP:
        return task_drop(s, event);
    case SCHED_NODE_SYNC:
        return node_sync(s, event);
    case SCHED_NODE_DRAIN:
        return node_drain(s, event);
    case SCHED_NODE_UNDRAIN:
        return node_undrain(s, event);
    case SCHED_EVENT_KIND_COUNT:
        break;
    }
    return SL_EINVAL;
}

int sched_step(struct sched *s, int64_t now_ns, const struct sched_event *event,
               struct sched_actions *actions)
{
    if (s->out_of_memory)
        return SL_ENOMEM;
    s->restoring = false;
    s->actions = actions;
    if (now_ns > s->now_ns)
        s->now_ns = now_ns;
    s->now_unix_ns = event->now_unix_ns;
    if (s->deadlines_unix)
        nodes_rebase(s);
    timers_run(s);
    int rc = event_apply(s, event);
    step_end(s);
    return s->out_of_memory ? SL_ENOMEM : rc;
}

int64_t sched_next_deadline_ns(const struct sched *s)
{
    if (match_pending(s) || s->deadlines_unix)
        return s->now_ns;
    int64_t at_ns = s->timers.count ? s->timers.items[0].at_ns : INT64_MAX;
    int64_t routes_ns = routes_deadline_ns(s);
    return routes_ns < at_ns ? routes_ns : at_ns;
}

void sched_extend_leases(struct sched *s, int64_t stall_ns)
{
    if (stall_ns <= 0)
        return;
    timers_extend(s, stall_ns);
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        struct node *n = node_at(s, s->node_order.items[i]);
        if (n->live)
            n->last_sync_at_ns += stall_ns;
    }
}

/* ---- restore ---- */

void sched_restore_counters(struct sched *s, const struct sched_counters *counters)
{
    assert(s->restoring);
    s->counters = *counters;
}

int sched_restore_node(struct sched *s, const struct sched_node_row *row)
{
    assert(s->restoring);
    if (row->node.v <= 0 || node_find(s, row->node) != SLOT_NONE ||
        node_find_uuid(s, row->uuid) != SLOT_NONE)
        return SL_EEXIST;
    if (s->nodes.live >= SCHED_NODES_MAX)
        return SL_ELIMIT;
    if (node_new(s, row) == SLOT_NONE)
        return SL_ENOMEM;
    if (s->counters.next_node <= row->node.v)
        s->counters.next_node = row->node.v + 1;
    return 0;
}

int sched_restore_video(struct sched *s, const struct sched_video_row *row)
{
    assert(s->restoring);
    if (row->video.v <= 0 || video_find(s, row->video) != SLOT_NONE)
        return SL_EEXIST;
    if (s->videos.live >= SCHED_VIDEOS_MAX)
        return SL_ELIMIT;
    return video_new(s, row) == SLOT_NONE ? SL_ENOMEM : 0;
}

static bool row_is_sound(const struct sched *s, const struct sched_task_row *row)
{
    bool has_token = row->state == TASK_RUNNING || row->state == TASK_DONE;
    return row->task.v > 0 && (unsigned)row->step < STEP_COUNT &&
           (unsigned)row->state < TASK_STATE_COUNT && (unsigned)row->codec < CODEC_COUNT &&
           has_token == (row->token.v != 0) && row->attempts >= 0 && row->losses >= 0 &&
           row->entry >= 0 && row->entry < POLICY_ROUTE_MAX && row->sessions >= 0 &&
           row->sessions <= UINT16_MAX &&
           (row->state != TASK_RUNNING || node_find(s, row->node) != SLOT_NONE) &&
           (row->state != TASK_DEAD || row->failure.code != SL_OK);
}

int sched_restore_route(struct sched *s, const struct sched_route_row *row)
{
    assert(s->restoring);
    uint32_t video = video_find(s, row->video);
    return video == SLOT_NONE ? SL_ENOENT : route_restore(s, video, &row->route);
}

static bool entry_is_sound(const struct sched *s, uint32_t video, const struct sched_task_row *row)
{
    uint32_t route = video_at(s, video)->routes[row->codec];
    return !row->needs_codec || row->entry < (route == SLOT_NONE ? 1 : route_at(s, route)->count);
}

/* What runs or is done says which entry its codec is bound to. */
static void entry_restore(struct sched *s, struct task *t, const struct sched_task_row *row)
{
    if (!t->needs_codec || (row->state != TASK_RUNNING && row->state != TASK_DONE))
        return;
    struct route *r = route_at(s, t->route);
    t->entry = (uint8_t)row->entry;
    t->kind = r->kinds[t->entry];
    t->sessions = (uint16_t)row->sessions;
    if (!r->mix)
        r->entry = t->entry;
}

int sched_restore_task(struct sched *s, const struct sched_task_row *row, int64_t now_ns,
                       int64_t now_unix_ns)
{
    assert(s->restoring);
    uint32_t video = video_find(s, row->video);
    if (video == SLOT_NONE)
        return SL_ENOENT;
    if (!row_is_sound(s, row) || !entry_is_sound(s, video, row))
        return SL_EINVAL;
    if (task_find(s, row->task) != SLOT_NONE)
        return SL_EEXIST;
    if (s->tasks.live >= SCHED_TASKS_MAX)
        return SL_ELIMIT;
    if (now_ns > s->now_ns)
        s->now_ns = now_ns;
    s->now_unix_ns = now_unix_ns;
    struct sched_task_spec spec = {
        .step = row->step,
        .piece = row->piece,
        .wait_mask = row->wait_mask,
        .codec = row->codec,
        .needs_codec = row->needs_codec,
        .order = row->order,
        .demand = row->demand,
    };
    uint32_t slot = task_new(s, video, row->task.v, &spec, row->state);
    if (slot == SLOT_NONE)
        return SL_ENOMEM;
    struct task *t = task_at(s, slot);
    entry_restore(s, t, row);
    t->attempts = row->attempts;
    t->losses = row->losses;
    t->preroll = row->preroll;
    t->not_before_unix_ns = row->not_before_unix_ns;
    t->token = row->token.v;
    t->granted_unix_ns = row->granted_unix_ns;
    t->lost_nodes = row->lost_nodes;
    t->node = node_find(s, row->node);
    for (int i = 0; i < 4; i++)
        t->avoid[i] = row->avoid[i].v;
    failure_keep(s, &t->failure, t->id, &row->failure);
    if (s->counters.next_task <= t->id)
        s->counters.next_task = t->id + 1;
    if (s->counters.next_token <= t->token)
        s->counters.next_token = t->token + 1;
    if (row->state == TASK_RUNNING) {
        uint32_t node = t->node;
        t->node = SLOT_NONE;
        lease_attach(s, node, slot);
        t->restored = true;
    } else if (row->state == TASK_DEAD) {
        task_tree(s, slot)->key = t->id;
        tree_insert(&s->dead, slot);
    } else if (row->state == TASK_QUEUED && row->not_before_unix_ns > now_unix_ns) {
        /* A clock that was set back must not stretch a backoff. */
        int64_t delay_ns = row->not_before_unix_ns - now_unix_ns;
        int64_t longest_ns = s->config.retry_max_ns + s->config.retry_max_ns / 5;
        timer_set(s, TIMER_TASK, slot, now_ns + (delay_ns < longest_ns ? delay_ns : longest_ns));
    }
    return s->out_of_memory ? SL_ENOMEM : 0;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int sched_restore_done(struct sched *s, int64_t now_ns, struct sched_actions *actions)
{
    assert(s->restoring);
    if (now_ns > s->now_ns)
        s->now_ns = now_ns;
    s->restoring = false;
    s->actions = actions;
    int64_t *ids = malloc((s->videos.live + 1) * sizeof *ids);
    if (!ids)
        return SL_ENOMEM;
    size_t count = 0;
    for (uint32_t i = 0; i < s->videos.end; i++)
        if (video_at(s, i)->id)
            ids[count++] = video_at(s, i)->id;
    qsort(ids, count, sizeof *ids, by_id);
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = video_find(s, (struct video_id){ids[i]});
        struct video *v = video_at(s, slot);
        v->finished = video_finished_mask(v);
        v->held = video_has_failed(v);
        for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
            struct task *task = task_at(s, t);
            if (task->state == TASK_QUEUED) {
                if (task->needs_codec)
                    route_place(s, t);
                queue_place(s, t);
            } else if (task->state == TASK_RUNNING)
                timer_set(s, TIMER_TASK, t, s->now_ns + s->config.lease_timeout_ns);
            else if (task->state == TASK_WAITING && !(task->wait_mask & ~v->finished))
                task_queue(s, t, 0);
        }
        video_steps_tell(s, v);
        /* Told by the rows already: a status is news only when it changes from now on. */
        v->status = (uint8_t)video_status_of(v);
    }
    free(ids);
    step_end(s);
    return s->out_of_memory ? SL_ENOMEM : 0;
}
