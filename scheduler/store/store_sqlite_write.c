#include <string.h>

#include "scheduler/store/store_sqlite_priv.h"

static struct store_sqlite *sqlite_of(struct store *base)
{
    return (struct store_sqlite *)base;
}

/* Binds in the order of the columns; texts are borrowed until the statement has run. */
struct binder {
    sqlite3_stmt *stmt;
    int column;
};

static void bind_number(struct binder *b, int64_t value)
{
    sqlite3_bind_int64(b->stmt, ++b->column, value);
}

static void bind_text(struct binder *b, const char *text)
{
    if (text)
        sqlite3_bind_text(b->stmt, ++b->column, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(b->stmt, ++b->column);
}

static void bind_blob(struct binder *b, const uint8_t *bytes, size_t length)
{
    if (bytes)
        sqlite3_bind_blob64(b->stmt, ++b->column, bytes, length, SQLITE_STATIC);
    else
        sqlite3_bind_null(b->stmt, ++b->column);
}

static void bind_failure(struct binder *b, const struct sl_failure *failure)
{
    bind_number(b, failure->code);
    bind_text(b, failure->code != 0 ? failure->message : NULL);
}

int store_sqlite_put_video(struct store *base, const struct store_video *video)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_VIDEO, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, video->video.v);
    bind_text(&b, video->provider);
    bind_text(&b, video->external_id);
    bind_number(&b, video->priority);
    bind_number(&b, video->status);
    bind_text(&b, video->name);
    bind_text(&b, video->policy_name);
    bind_text(&b, video->policy_text);
    bind_text(&b, video->original_key);
    bind_number(&b, video->original_bytes);
    bind_blob(&b, video->original_sha256, 32);
    bind_number(&b, video->created_unix_ns);
    bind_number(&b, video->started_unix_ns);
    bind_number(&b, video->completed_unix_ns);
    bind_blob(&b, video->info, video->info_bytes);
    bind_text(&b, video->index_key);
    bind_text(&b, video->plan_key);
    bind_number(&b, video->version);
    bind_text(&b, video->published_key);
    bind_blob(&b, video->result, video->result_bytes);
    bind_number(&b, video->cancelled);
    bind_number(&b, video->steps_done);
    bind_number(&b, video->steps_skipped);
    bind_number(&b, video->failure_step);
    bind_failure(&b, &video->failure);
    bind_number(&b, video->stream_asked);
    code = store_sqlite_run(store, SQL_PUT_VIDEO, b.stmt);
    if (code == SL_EEXIST)
        return store_fail(
            base, code, "another video has provider \"%.80s\" and external id \"%.80s\"",
            video->provider ? video->provider : "", video->external_id ? video->external_id : "");
    return code;
}

int store_sqlite_put_task(struct store *base, const struct store_task *task)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_TASK, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, task->task.v);
    bind_number(&b, task->video.v);
    bind_number(&b, task->step);
    bind_number(&b, task->piece);
    bind_number(&b, task->wait_mask);
    bind_number(&b, task->codec);
    bind_number(&b, task->needs_codec);
    bind_number(&b, task->order);
    bind_number(&b, task->demand.cpu_millicores);
    bind_number(&b, task->demand.sessions);
    bind_number(&b, task->demand.memory_bytes);
    bind_number(&b, task->demand.vram_bytes);
    bind_number(&b, task->demand.work_mpix);
    bind_number(&b, task->demand.fetch_bytes);
    bind_number(&b, task->state);
    bind_number(&b, task->attempts);
    bind_number(&b, task->losses);
    bind_number(&b, task->preroll);
    bind_number(&b, task->not_before_unix_ns);
    bind_number(&b, (int64_t)task->token.v);
    bind_number(&b, task->node.v);
    bind_number(&b, task->granted_unix_ns);
    for (int i = 0; i < 4; i++)
        bind_number(&b, task->avoid[i].v);
    bind_number(&b, (int64_t)task->lost_nodes);
    bind_failure(&b, &task->failure);
    bind_number(&b, task->finished_unix_ns);
    bind_number(&b, task->entry);
    bind_number(&b, task->kind);
    bind_number(&b, task->sessions);
    return store_sqlite_run(store, SQL_PUT_TASK, b.stmt);
}

int store_sqlite_put_route(struct store *base, const struct store_route *route)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_ROUTE, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, route->video.v);
    bind_number(&b, route->codec);
    bind_number(&b, route->count);
    for (int i = 0; i < POLICY_ROUTE_MAX; i++) {
        bind_number(&b, route->entries[i].kind);
        bind_number(&b, route->entries[i].queue_longer_ns);
    }
    bind_number(&b, route->mix);
    bind_number(&b, route->ten_bit);
    bind_number(&b, route->device.cpu_millicores);
    bind_number(&b, route->device.sessions);
    bind_number(&b, route->device.memory_bytes);
    bind_number(&b, route->device.vram_bytes);
    return store_sqlite_run(store, SQL_PUT_ROUTE, b.stmt);
}

int store_sqlite_put_report(struct store *base, struct task_id task, const uint8_t *bytes,
                            size_t length)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_REPORT, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, task.v);
    bind_blob(&b, bytes ? bytes : (const uint8_t *)"", length);
    return store_sqlite_run(store, SQL_PUT_REPORT, b.stmt);
}

int store_sqlite_put_node(struct store *base, const struct store_node *node)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_NODE, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, node->node.v);
    bind_text(&b, node->uuid);
    bind_text(&b, node->name);
    bind_number(&b, node->spot);
    bind_number(&b, node->drain);
    bind_number(&b, node->drain_deadline_unix_ns);
    code = store_sqlite_run(store, SQL_PUT_NODE, b.stmt);
    if (code == SL_EEXIST)
        return store_fail(base, code, "another node has the UUID %s", node->uuid);
    return code;
}

int store_sqlite_put_counters(struct store *base, const struct store_counters *counters)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, SQL_PUT_COUNTERS, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, counters->next_task);
    bind_number(&b, (int64_t)counters->next_token);
    bind_number(&b, counters->next_node);
    return store_sqlite_run(store, SQL_PUT_COUNTERS, b.stmt);
}

static int run_numbers(struct store *base, enum store_sql sql, int64_t first, const int64_t *second)
{
    struct store_sqlite *store = sqlite_of(base);
    struct binder b = {0};
    int code = store_sqlite_take(store, sql, &b.stmt);
    if (code != SL_OK)
        return code;
    bind_number(&b, first);
    if (second)
        bind_number(&b, *second);
    return store_sqlite_run(store, sql, b.stmt);
}

int store_sqlite_delete_video(struct store *base, struct video_id video)
{
    return run_numbers(base, SQL_DELETE_VIDEO, video.v, NULL);
}

int store_sqlite_delete_tasks(struct store *base, struct video_id video, uint32_t step_mask)
{
    int64_t mask = step_mask;
    return run_numbers(base, SQL_DELETE_TASKS, video.v, &mask);
}

int store_sqlite_clear_reports(struct store *base, struct video_id video)
{
    return run_numbers(base, SQL_CLEAR_REPORTS, video.v, NULL);
}

int store_sqlite_prune_tasks(struct store *base, int32_t keep, int32_t most)
{
    int64_t limit = most;
    int code = run_numbers(base, SQL_PRUNE_ROUTES, keep, &limit);
    return code != SL_OK ? code : run_numbers(base, SQL_PRUNE_TASKS, keep, &limit);
}
