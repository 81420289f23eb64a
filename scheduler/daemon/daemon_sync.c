/* Syncs: decoded on the wire's thread, handled in a batch, answered after its commit. One that may wait
 * and has nothing to carry is parked; a node has at most one parked, the newest. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

#define SYNC_ARENA_BYTES   ((size_t)32 * 1024 * 1024)
#define REFUSED_LOG_GAP_NS SL_S_TO_NS(60)
#define ANSWER_AGAIN_NS    SL_MS_TO_NS(1)

/* ---- on the wire's thread ---- */

static void refuse(struct wire_pending *pending, uint64_t seq, const struct sl_failure *why,
                   int64_t wait_ns)
{
    struct sync_answer answer = {
        .version = SYNC_VERSION, .refused = *why, .seq = seq, .wait_ns = wait_ns};
    struct sl_buf bytes = {0};
    if (wire_answer_encode(&answer, &bytes) == SL_OK)
        wire_server_reply(pending, bytes.data, bytes.length);
    else
        wire_pending_drop(pending);
    sl_buf_fini(&bytes);
}

/* Garbage can come at any rate; the log takes one line a minute of it. */
static void refusal_log(struct daemon *d, const struct sl_failure *why)
{
    long long count = atomic_fetch_add(&d->syncs_refused, 1) + 1;
    long long now_ns = sl_now_ns();
    long long last_ns = atomic_load(&d->refused_logged_at_ns);
    if (last_ns != 0 && now_ns - last_ns < REFUSED_LOG_GAP_NS)
        return;
    if (atomic_compare_exchange_strong(&d->refused_logged_at_ns, &last_ns, now_ns))
        sl_warn(NULL, "a message was refused: %s (%lld so far)", why->message, count);
}

void daemon_sync_free(struct daemon_sync **sync_at)
{
    struct daemon_sync *sync = *sync_at;
    if (!sync)
        return;
    if (sync->pending)
        wire_pending_drop(sync->pending);
    sl_arena_fini(&sync->arena);
    free(sync);
    *sync_at = NULL;
}

static int reports_decode(struct daemon_sync *sync)
{
    size_t count = (size_t)sync->request.held_count;
    sync->reports = sl_arena_array(&sync->arena, count, sizeof *sync->reports);
    sync->report_failures = sl_arena_array(&sync->arena, count, sizeof *sync->report_failures);
    sync->verdicts = sl_arena_array(&sync->arena, SYNC_HELD_MAX, sizeof *sync->verdicts);
    if (!sync->reports || !sync->report_failures || !sync->verdicts)
        return SL_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct sync_held *held = &sync->request.held[i];
        if (held->state != HELD_FINISHED)
            continue;
        struct report *report = sl_arena_alloc(&sync->arena, sizeof *report);
        if (!report)
            return SL_ENOMEM;
        struct sl_failure *why = &sync->report_failures[i];
        int code =
            held->report_bytes > REPORT_BYTES_MAX
                ? sl_fail(why, SL_EPROTO, "the report is larger than %d bytes", REPORT_BYTES_MAX)
                : wire_report_decode(held->report, held->report_bytes, &sync->arena, report, why);
        if (code == SL_OK)
            sync->reports[i] = report;
        else
            why->code = code;
    }
    return SL_OK;
}

void daemon_wire_request(void *arg, struct wire_pending *pending, const void *bytes, size_t length)
{
    struct daemon *d = arg;
    struct sl_failure why = {0};
    struct daemon_sync *sync = calloc(1, sizeof *sync);
    if (!sync) {
        wire_pending_drop(pending);
        return;
    }
    sync->received_at_ns = sl_now_ns();
    sync->arena.limit_bytes = SYNC_ARENA_BYTES;
    int code = wire_request_decode(bytes, length, &sync->arena, &sync->request, &why);
    if (code == SL_OK && sync->request.version != SYNC_VERSION)
        code = sl_fail(&why, SL_EVERSION,
                       "the agent speaks version %u and the daemon %d; install the same release",
                       sync->request.version, SYNC_VERSION);
    if (code == SL_OK && strnlen(sync->request.node_uuid, NODE_UUID_BYTES) != NODE_UUID_BYTES - 1)
        code = sl_fail(&why, SL_EPROTO, "the agent gave no node id");
    if (code == SL_OK)
        code = reports_decode(sync);
    if (code != SL_OK) {
        why.code = code;
        refusal_log(d, &why);
        refuse(pending, sync->request.seq, &why, d->config.daemon.renew_interval_ns);
        daemon_sync_free(&sync);
        return;
    }
    sync->pending = pending;
    if (daemon_inbox_post(&d->inbox, ITEM_SYNC, sync, false) != SL_OK) {
        atomic_fetch_add(&d->inbox_refused, 1);
        sl_fail(&why, SL_EBUSY, "the daemon has too many requests waiting");
        sync->pending = NULL;
        refuse(pending, sync->request.seq, &why, d->config.daemon.renew_interval_ns);
        daemon_sync_free(&sync);
    }
}

/* ---- in the batch ---- */

static void verdict_add(struct daemon_sync *sync, struct lease_token token, enum verdict_kind kind)
{
    if (sync->verdict_count < SYNC_HELD_MAX)
        sync->verdicts[sync->verdict_count++] = (struct sync_verdict){token, kind};
}

struct task_look {
    uint64_t token;
    enum task_state state;
};

static int task_look(void *arg, const struct store_task *row)
{
    struct task_look *look = arg;
    look->token = row->token.v;
    look->state = row->state;
    return 0;
}

static int video_look(void *arg, const struct store_video *row)
{
    (void)arg;
    (void)row;
    return 0;
}

/* A token of a task that has left the core. What was committed must not be deleted by an agent that missed
 * the answer; of a finished one that cannot be told any more the outputs are left to the sweep. */
static enum verdict_kind verdict_of_unknown(struct daemon *d, const struct sync_held *held)
{
    struct task_look look = {0};
    if (held->state == HELD_RUNNING)
        return VERDICT_STALE;
    if (held->state != HELD_FINISHED)
        return VERDICT_ACCEPTED;
    if (store_get_task(d->store, held->task, task_look, &look) == SL_OK)
        return look.state == TASK_DONE && look.token == held->token.v ? VERDICT_ACCEPTED
                                                                      : VERDICT_STALE;
    return store_get_video(d->store, held->video, video_look, NULL) == SL_OK ? VERDICT_ACCEPTED
                                                                             : VERDICT_STALE;
}

/* Fills the core's view of one held token; false when the core does not know its task. */
static bool held_take(struct daemon *d, struct daemon_sync *sync, int32_t i, struct sched_held *out)
{
    const struct sync_held *held = &sync->request.held[i];
    struct sched_task_row row;
    if (sched_task_find(d->sched, held->task, &row) != SL_OK) {
        enum verdict_kind kind = verdict_of_unknown(d, held);
        d->metrics.stale += kind == VERDICT_STALE;
        verdict_add(sync, held->token, kind);
        return false;
    }
    *out = (struct sched_held){held->token, held->task, held->state, held->failure};
    if (held->state != HELD_FINISHED || row.state != TASK_RUNNING || row.token.v != held->token.v)
        return true;
    struct sl_failure failure = sync->report_failures[i];
    if (sync->reports[i])
        daemon_report_check(d, &row, held->token.v, sync->reports[i], &failure);
    if (failure.code != SL_OK) {
        struct daemon_video *video = daemon_video_find(d, row.video);
        struct sl_log_about about = {.video = video ? video->text : NULL,
                                     .node = sync->request.node_name,
                                     .task = row.task.v,
                                     .token = row.token.v};
        sl_warn(&about, "%s %d is not taken: %s", step_word(row.step), (int)row.piece,
                failure.message);
        out->state = HELD_FAILED;
        out->failure = failure;
    }
    return true;
}

static void failures_log(struct daemon_sync *sync)
{
    char video[VIDEO_ID_TEXT_BYTES];
    for (int32_t i = 0; i < sync->request.held_count; i++) {
        const struct sync_held *held = &sync->request.held[i];
        if (held->state != HELD_FAILED)
            continue;
        struct sl_log_about about = {.video = video_id_format(held->video, video),
                                     .node = sync->request.node_name,
                                     .task = held->task.v,
                                     .token = held->token.v};
        sl_warn(&about, "the lease failed on %s: %s (%s)", held->device_id, held->failure.message,
                sl_error_word(held->failure.code));
    }
}

void daemon_sync_handle(struct daemon *d, struct daemon_sync *sync)
{
    const struct sync_request *request = &sync->request;
    d->metrics.syncs++;
    if (!daemon_list_push(&d->batch.syncs, sync))
        abort();
    struct sched_held *held =
        sl_arena_array(&sync->arena, (size_t)request->held_count, sizeof *held);
    if (!held) {
        sl_fail(&sync->refused, SL_ENOMEM, "the message does not fit into memory");
        return;
    }
    int32_t count = 0;
    for (int32_t i = 0; i < request->held_count; i++)
        if (held_take(d, sync, i, &held[count]))
            count++;
    struct sched_event event = daemon_event(d, SCHED_NODE_SYNC);
    memcpy(event.sync.uuid, request->node_uuid, sizeof event.sync.uuid);
    memcpy(event.sync.name, request->node_name, sizeof event.sync.name);
    event.sync.session = request->session;
    event.sync.seq = request->seq;
    event.sync.spot = request->spot;
    event.sync.leaving = request->leaving;
    event.sync.notice_remaining_ns = request->notice_remaining_ns;
    event.sync.total = request->total;
    event.sync.devices = request->devices;
    event.sync.device_count = request->device_count;
    event.sync.held = held;
    event.sync.held_count = count;
    d->batch.sync = sync;
    int code = daemon_step(d, &event);
    d->batch.sync = NULL;
    if (code == SL_ECONFLICT) {
        sl_fail(&sync->refused, code,
                "another live agent has the identity %s; give each agent a --scratch folder of its "
                "own",
                request->node_uuid);
        refusal_log(d, &sync->refused);
    } else if (code != SL_OK) {
        sl_fail(&sync->refused, code, "the daemon did not take the sync: %s", sl_error_text(code));
        refusal_log(d, &sync->refused);
    } else {
        failures_log(sync);
        sched_node_by_uuid(d->sched, request->node_uuid, &sync->node);
    }
}

/* ---- answers ---- */

static size_t grant_size(const struct sync_grant *grant)
{
    return grant->job_bytes + (size_t)grant->input_count * (OBJECT_KEY_BYTES + 16) + 1024;
}

/* As many grants as fit; *left tells that there are more that can be carried now. */
static int grants_fill(struct daemon *d, struct node_id node, struct sync_answer *answer,
                       bool *left)
{
    static _Thread_local struct sched_grant_view views[SYNC_GRANTS_MAX];
    size_t count = sched_node_grants(d->sched, node, views, SYNC_GRANTS_MAX);
    *left = count > SYNC_GRANTS_MAX;
    if (count > SYNC_GRANTS_MAX)
        count = SYNC_GRANTS_MAX;
    if (count == 0)
        return SL_OK;
    answer->grants = sl_arena_array(&d->scratch, count, sizeof *answer->grants);
    if (!answer->grants)
        return SL_ENOMEM;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct sync_grant *grant = &answer->grants[answer->grant_count];
        int code = daemon_grant_build(d, &views[i], &d->scratch, grant);
        if (code == SL_EBUSY)
            continue;
        if (code == SL_ENOMEM)
            return code;
        if (code != SL_OK) {
            char video[VIDEO_ID_TEXT_BYTES];
            struct sl_log_about about = {.video = video_id_format(views[i].video, video),
                                         .task = views[i].task.v,
                                         .token = views[i].token.v};
            sl_error(&about, "the job of %s %d cannot be built: %s", step_word(views[i].step),
                     (int)views[i].piece, sl_error_text(code));
            continue;
        }
        bytes += grant_size(grant);
        if (bytes > DAEMON_ANSWER_BYTES && answer->grant_count > 0) {
            *left = true;
            break;
        }
        answer->grant_count++;
    }
    return SL_OK;
}

static void answer_fill(struct daemon *d, struct node_id node, struct sync_answer *answer)
{
    struct sched_node_view view;
    answer->version = SYNC_VERSION;
    answer->wait_ns = d->config.daemon.renew_interval_ns;
    answer->lease_timeout_ns = d->config.daemon.lease_timeout_ns;
    memcpy(answer->store_id, d->store_id, sizeof answer->store_id);
    memcpy(answer->store_path, d->store_path, sizeof answer->store_path);
    memcpy(answer->http_host, d->http_host, sizeof answer->http_host);
    answer->http_port = d->api ? api_port(d->api) : 0;
    if (sched_node_find(d->sched, node, &view) == SL_OK)
        answer->node_state = view.state;
}

static void answer_send(struct wire_pending *pending, const struct sync_answer *answer)
{
    struct sl_buf bytes = {0};
    if (wire_answer_encode(answer, &bytes) == SL_OK)
        wire_server_reply(pending, bytes.data, bytes.length);
    else
        wire_pending_drop(pending);
    sl_buf_fini(&bytes);
}

static void park_remove(struct daemon *d, struct daemon_park *park)
{
    *(park->prev ? &park->prev->next : &d->park_first) = park->next;
    *(park->next ? &park->next->prev : &d->park_last) = park->prev;
    daemon_map_remove(&d->parks, park->node.v);
    d->metrics.syncs_parked--;
}

/* Answers a node's parked sync with what there is now. */
static void park_answer(struct daemon *d, struct daemon_park *park)
{
    struct sync_answer answer = {.seq = park->seq};
    bool left = false;
    park_remove(d, park);
    answer_fill(d, park->node, &answer);
    if (grants_fill(d, park->node, &answer, &left) != SL_OK)
        answer.grant_count = 0;
    if (left)
        answer.wait_ns = ANSWER_AGAIN_NS;
    answer_send(park->pending, &answer);
    free(park);
    sl_arena_reset(&d->scratch);
}

void daemon_park_wake(struct daemon *d, struct node_id node)
{
    struct daemon_map_slot *slot = daemon_map_find(&d->parks, node.v);
    if (slot)
        park_answer(d, slot->pointer);
}

void daemon_parks_expire(struct daemon *d, int64_t now_ns)
{
    while (d->park_first && d->park_first->deadline_at_ns <= now_ns)
        park_answer(d, d->park_first);
}

void daemon_parks_drop(struct daemon *d)
{
    while (d->park_first) {
        struct daemon_park *park = d->park_first;
        park_remove(d, park);
        wire_pending_drop(park->pending);
        free(park);
    }
    daemon_map_fini(&d->parks);
}

/* Takes the sync's pending; false when there was no memory for it. */
static bool park_put(struct daemon *d, struct daemon_sync *sync)
{
    daemon_park_wake(d, sync->node);
    struct daemon_park *park = calloc(1, sizeof *park);
    struct daemon_map_slot *slot = park ? daemon_map_put(&d->parks, sync->node.v) : NULL;
    if (!slot) {
        free(park);
        return false;
    }
    slot->pointer = park;
    park->node = sync->node;
    park->pending = sync->pending;
    park->seq = sync->request.seq;
    park->deadline_at_ns = sync->received_at_ns + d->config.daemon.renew_interval_ns;
    park->prev = d->park_last;
    *(d->park_last ? &d->park_last->next : &d->park_first) = park;
    d->park_last = park;
    d->metrics.syncs_parked++;
    sync->pending = NULL;
    return true;
}

void daemon_sync_answer(struct daemon *d, struct daemon_sync *sync)
{
    struct sync_answer answer = {.seq = sync->request.seq, .refused = sync->refused};
    bool left = false;
    answer_fill(d, sync->node, &answer);
    if (sync->refused.code == SL_OK) {
        int code = grants_fill(d, sync->node, &answer, &left);
        if (code != SL_OK) {
            answer.grant_count = 0;
            sl_error(NULL, "grants could not be put into an answer: %s", sl_error_text(code));
        }
        answer.verdicts = sync->verdicts;
        answer.verdict_count = sync->verdict_count;
        bool nothing = answer.grant_count == 0 && answer.verdict_count == 0;
        if (sync->request.park && nothing && !sync->request.leaving && park_put(d, sync))
            goto done;
    }
    if (left)
        answer.wait_ns = ANSWER_AGAIN_NS;
    answer_send(sync->pending, &answer);
    sync->pending = NULL;
done:
    sl_arena_reset(&d->scratch);
    daemon_sync_free(&sync);
}
