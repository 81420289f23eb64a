/* What the core did, looked at; and the one transaction per batch that keeps it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/daemon/daemon_internal.h"

/* ---- collecting ---- */

/* Without memory nothing can be kept consistent; a restart reads the last commit again. */
static void out_of_memory(void)
{
    sl_error(NULL, "out of memory; the daemon ends and what was committed is safe");
    abort();
}

void daemon_op_add(struct daemon *d, struct daemon_op op)
{
    struct daemon_batch *b = &d->batch;
    if (b->op_count == b->op_capacity) {
        size_t capacity = b->op_capacity ? b->op_capacity * 2 : 64;
        struct daemon_op *ops = realloc(b->ops, capacity * sizeof *ops);
        if (!ops)
            out_of_memory();
        b->ops = ops;
        b->op_capacity = capacity;
    }
    b->ops[b->op_count++] = op;
}

void daemon_video_dirty(struct daemon *d, struct daemon_video *video)
{
    if (video->dirty)
        return;
    video->dirty = true;
    daemon_op_add(d, (struct daemon_op){.kind = OP_VIDEO, .video = video});
}

void daemon_video_touch(struct daemon *d, struct daemon_video *video)
{
    if (video->touched || video->gone)
        return;
    video->touched = true;
    if (!daemon_list_push(&d->batch.touched, video))
        out_of_memory();
}

struct sched_event daemon_event(struct daemon *d, enum sched_event_kind kind)
{
    return (struct sched_event){.kind = kind, .now_unix_ns = d->batch.now_unix_ns};
}

int daemon_step(struct daemon *d, const struct sched_event *event)
{
    int code = sched_step(d->sched, d->batch.now_ns, event, &d->batch.actions);
    if (code == SL_ENOMEM)
        out_of_memory();
    daemon_actions_handle(d);
    return code;
}

/* ---- looking at actions ---- */

static void status_take(struct daemon *d, struct daemon_video *video, enum video_status status)
{
    /* Ready is when the catalog has moved, which the shell does itself (WORK_FINISH). */
    if (status == VIDEO_READY)
        status = VIDEO_VERIFYING;
    if (video->status == status)
        return;
    struct sl_log_about about = daemon_about(video);
    video->status = status;
    video->completed_unix_ns = 0;
    daemon_live_touch(d, video);
    if (status == VIDEO_PROBING && video->started_unix_ns == 0)
        video->started_unix_ns = d->batch.now_unix_ns;
    if (status == VIDEO_FAILED || status == VIDEO_CANCELLED)
        video->completed_unix_ns = d->batch.now_unix_ns;
    daemon_video_dirty(d, video);
    if (!daemon_list_push(&d->batch.news, video))
        out_of_memory();
    if (status == VIDEO_FAILED) {
        struct sched_video_view view;
        if (sched_video_find(d->sched, video->id, &view) == SL_OK)
            sl_warn(&about, "failed in %s: %s (%s)", step_word(view.failure_step),
                    view.failure.message, sl_error_word(view.failure.code));
    } else {
        sl_info(&about, "%s", video_status_word(status));
    }
}

/* Queued and granted instants make the histogram of waiting. */
/* The instant is CLOCK_BOOTTIME, so that a worker's lines of the same machine can be set against it. */
static void ready_note(const struct sched_task_row *row, int64_t at_ns)
{
    char text[VIDEO_ID_TEXT_BYTES];
    struct sl_log_about about = {.video = video_id_format(row->video, text), .task = row->task.v};
    sl_debug(&about, "task ready at %" PRId64, at_ns);
}

static void task_time(struct daemon *d, const struct sched_task_row *row)
{
    if (row->state == TASK_QUEUED) {
        struct daemon_map_slot *slot = daemon_map_put(&d->queued_since, row->task.v);
        if (slot && slot->number == 0) {
            slot->number = d->batch.now_ns;
            ready_note(row, slot->number);
        }
        return;
    }
    struct daemon_map_slot *slot = daemon_map_find(&d->queued_since, row->task.v);
    if (!slot) {
        if (row->state == TASK_RUNNING && row->granted_unix_ns == d->batch.now_unix_ns) {
            api_histogram_add(&d->metrics.queue_wait, 0);
            ready_note(row, d->batch.now_ns);
        }
        return;
    }
    if (row->state == TASK_RUNNING)
        api_histogram_add(&d->metrics.queue_wait, d->batch.now_ns - slot->number);
    daemon_map_remove(&d->queued_since, row->task.v);
}

static void verdict_take(struct daemon *d, const struct sched_action *action)
{
    struct daemon_sync *sync = d->batch.sync;
    if (sync && sync->verdict_count < SYNC_HELD_MAX)
        sync->verdicts[sync->verdict_count++] =
            (struct sync_verdict){action->token, action->verdict};
}

static void committed_take(struct daemon *d, struct daemon_video *video,
                           const struct sched_action *action)
{
    struct daemon_sync *sync = d->batch.sync;
    struct sched_task_row row;
    if (!sync || sched_task_find(d->sched, action->task, &row) != SL_OK)
        return;
    for (int32_t i = 0; i < sync->request.held_count; i++) {
        const struct sync_held *held = &sync->request.held[i];
        if (held->token.v != action->token.v || !sync->reports[i])
            continue;
        daemon_report_commit(d, video, &row, sync->reports[i], held->report, held->report_bytes);
        return;
    }
}

static void node_news(struct daemon *d, struct node_id node, enum node_state state)
{
    struct sched_node_view view;
    if (sched_node_find(d->sched, node, &view) != SL_OK)
        return;
    struct sl_log_about about = {.node = view.row.name};
    if (state == NODE_LOST)
        sl_warn(&about, "node %s (%s) fell silent; its leases go back to the queue", view.row.name,
                view.row.uuid);
    else
        sl_info(&about, "node %s (%s) is %s", view.row.name, view.row.uuid, node_state_word(state));
    if (d->api)
        api_event_node(d->api, view.row.uuid, state);
}

static void action_take(struct daemon *d, size_t index)
{
    /* A copy: what follows may step the core and move the array. */
    struct sched_action action = d->batch.actions.items[index];
    struct daemon_video *video = action.video.v ? daemon_video_find(d, action.video) : NULL;
    switch (action.kind) {
    case SCHED_PUT_VIDEO:
        if (video) {
            video->row = action.video_row;
            daemon_video_dirty(d, video);
        }
        break;
    case SCHED_PUT_TASK:
        task_time(d, &action.task_row);
        daemon_op_add(d, (struct daemon_op){.kind = OP_ACTION, .action = index});
        break;
    case SCHED_PUT_ROUTE:
    case SCHED_PUT_NODE:
    case SCHED_PUT_COUNTERS:
        daemon_op_add(d, (struct daemon_op){.kind = OP_ACTION, .action = index});
        break;
    case SCHED_DELETE_TASKS:
        daemon_op_add(d, (struct daemon_op){.kind = OP_DELETE_TASKS,
                                            .video_id = action.video,
                                            .step_mask = STEP_BIT(action.step)});
        break;
    case SCHED_VERDICT:
        verdict_take(d, &action);
        break;
    case SCHED_WAKE_NODE:
        if (!daemon_list_push(&d->batch.wake, (void *)(intptr_t)action.node.v))
            out_of_memory();
        break;
    case SCHED_STEP_READY:
        if (video)
            daemon_video_touch(d, video);
        break;
    case SCHED_STATUS:
        if (video)
            status_take(d, video, action.status);
        break;
    case SCHED_TASK_COMMITTED:
        if (video)
            committed_take(d, video, &action);
        break;
    case SCHED_TASK_AGAIN:
        if (video)
            daemon_route_again(d, video, action.task);
        break;
    case SCHED_TOKEN_DEAD: {
        struct sl_log_about about = {
            .video = video ? video->text : NULL, .task = action.task.v, .token = action.token.v};
        sl_debug(&about, "the token is dead");
        break;
    }
    case SCHED_NODE_CHANGED:
        node_news(d, action.node, action.node_state);
        break;
    /* The shell decides itself what becomes of a video's row: it forgets finished ones as well. */
    case SCHED_DELETE_VIDEO:
    case SCHED_ACTION_KIND_COUNT:
        break;
    }
}

void daemon_actions_handle(struct daemon *d)
{
    struct daemon_batch *b = &d->batch;
    while (b->handled < b->actions.count)
        action_take(d, b->handled++);
}

/* ---- the transaction ---- */

static int task_put(struct store *store, const struct sched_task_row *row, int64_t now_unix_ns)
{
    bool over = row->state == TASK_DONE || row->state == TASK_DEAD || row->state == TASK_CANCELLED;
    struct store_task task = {
        .task = row->task,
        .video = row->video,
        .step = row->step,
        .piece = row->piece,
        .wait_mask = row->wait_mask,
        .codec = row->codec,
        .needs_codec = row->needs_codec,
        .order = row->order,
        .demand = row->demand,
        .entry = row->entry,
        .kind = row->kind,
        .sessions = row->sessions,
        .state = row->state,
        .attempts = row->attempts,
        .losses = row->losses,
        .preroll = row->preroll,
        .not_before_unix_ns = row->not_before_unix_ns,
        .token = row->token,
        .node = row->node,
        .granted_unix_ns = row->granted_unix_ns,
        .finished_unix_ns = over ? now_unix_ns : 0,
        .lost_nodes = row->lost_nodes,
        .failure = row->failure,
    };
    memcpy(task.avoid, row->avoid, sizeof task.avoid);
    return store_put_task(store, &task);
}

static int route_put(struct store *store, const struct sched_route_row *row)
{
    struct store_route route = {
        .video = row->video,
        .codec = row->route.codec,
        .count = row->route.count,
        .mix = row->route.mix,
        .ten_bit = row->route.ten_bit,
        .device = row->route.device,
    };
    for (int32_t i = 0; i < row->route.count; i++) {
        route.entries[i].kind = row->route.entries[i].kind;
        route.entries[i].queue_longer_ns = row->route.entries[i].queue_longer_ns;
    }
    return store_put_route(store, &route);
}

static int action_put(struct store *store, const struct sched_action *action, int64_t now_unix_ns)
{
    if (action->kind == SCHED_PUT_TASK)
        return task_put(store, &action->task_row, now_unix_ns);
    if (action->kind == SCHED_PUT_ROUTE)
        return route_put(store, &action->route_row);
    if (action->kind == SCHED_PUT_NODE) {
        const struct sched_node_row *row = &action->node_row;
        return store_put_node(store,
                              &(struct store_node){row->node, row->uuid, row->name, row->spot,
                                                   row->drain, row->drain_deadline_unix_ns});
    }
    const struct sched_counters *c = &action->counters;
    return store_put_counters(store,
                              &(struct store_counters){c->next_task, c->next_token, c->next_node});
}

static int op_write(struct daemon *d, const struct daemon_op *op)
{
    struct store_video row;
    switch (op->kind) {
    case OP_ACTION:
        return action_put(d->store, &d->batch.actions.items[op->action], d->batch.now_unix_ns);
    case OP_VIDEO:
        daemon_video_row(op->video, &row);
        return store_put_video(d->store, &row);
    case OP_REPORT:
        return store_put_report(d->store, op->task, op->bytes, op->length);
    case OP_DELETE_VIDEO:
        return store_delete_video(d->store, op->video_id);
    case OP_CLEAR_REPORTS:
        return store_clear_reports(d->store, op->video_id);
    case OP_PRUNE_TASKS:
        return store_prune_tasks(d->store, DAEMON_TASKS_KEPT, op->most);
    case OP_DELETE_TASKS:
        return store_delete_tasks(d->store, op->video_id, op->step_mask);
    }
    return SL_EINTERNAL;
}

static int batch_write(struct daemon *d)
{
    if (d->commit_fault) {
        int code = d->commit_fault(d->commit_fault_arg);
        if (code != SL_OK)
            return code;
    }
    int code = store_begin(d->store);
    if (code != SL_OK)
        return code;
    for (size_t i = 0; i < d->batch.op_count && code == SL_OK; i++)
        code = op_write(d, &d->batch.ops[i]);
    if (code == SL_OK)
        code = store_commit(d->store);
    if (code != SL_OK)
        store_rollback(d->store);
    return code;
}

void daemon_health_set(struct daemon *d, const struct sl_failure *failure)
{
    pthread_mutex_lock(&d->health_lock);
    d->health = failure ? *failure : (struct sl_failure){0};
    pthread_mutex_unlock(&d->health_lock);
}

int daemon_health(void *arg, struct sl_failure *why)
{
    struct daemon *d = arg;
    pthread_mutex_lock(&d->health_lock);
    if (why)
        *why = d->health;
    int code = d->health.code;
    pthread_mutex_unlock(&d->health_lock);
    return code;
}

/* A batch that the store will never take is a fault of ours; repeating it helps nobody. */
static bool is_hopeless(int code)
{
    return code == SL_EINVAL || code == SL_ECONFLICT || code == SL_ELIMIT || code == SL_EEXIST ||
           code == SL_ENOENT;
}

static void stall_begin(struct daemon *d, int code)
{
    struct sl_failure why;
    const char *reason = d->commit_fault ? sl_error_text(code) : store_why(d->store);
    sl_fail(&why, code,
            "the daemon cannot write its state to %s: %s; %s; work waits and goes on by itself",
            d->data, reason, code == SL_ENOSPC ? "free some space there" : "look after that disk");
    sl_error(NULL, "%s", why.message);
    daemon_health_set(d, &why);
}

bool daemon_batch_commit(struct daemon *d)
{
    int64_t begun_ns = sl_now_ns();
    int64_t pause_ns = DAEMON_COMMIT_FIRST_NS;
    int64_t stop_ns = 0;
    int64_t tries = 0;
    for (;; tries++) {
        int code = batch_write(d);
        if (code == SL_OK)
            break;
        if (is_hopeless(code)) {
            sl_error(NULL, "the store refuses a batch for good: %s; the daemon ends, restart it",
                     store_why(d->store));
            atomic_store(&d->broken, true);
            return false;
        }
        if (tries == 0)
            stall_begin(d, code);
        d->metrics.commit_retries++;
        if (atomic_load(&d->stopping)) {
            if (stop_ns == 0)
                stop_ns = sl_now_ns();
            if (sl_now_ns() - stop_ns > SL_S_TO_NS(1))
                return false;
            pause_ns = DAEMON_COMMIT_FIRST_NS;
        }
        struct timespec pause = {pause_ns / SL_NS_PER_S, pause_ns % SL_NS_PER_S};
        nanosleep(&pause, NULL);
        pause_ns = pause_ns * 2 < DAEMON_COMMIT_MAX_NS ? pause_ns * 2 : DAEMON_COMMIT_MAX_NS;
    }
    int64_t took_ns = sl_now_ns() - begun_ns;
    api_histogram_add(&d->metrics.commit, took_ns);
    if (tries > 0) {
        daemon_health_set(d, NULL);
        sl_info(NULL, "the daemon writes its state again after %" PRId64 " ms",
                SL_NS_TO_MS(took_ns));
    }
    return true;
}
