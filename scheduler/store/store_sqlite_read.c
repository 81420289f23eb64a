#include <string.h>

#include "scheduler/store/store_sqlite_priv.h"

static struct store_sqlite *sqlite_of(struct store *base)
{
    return (struct store_sqlite *)base;
}

/* Reads in the order of the columns. */
struct reader {
    sqlite3_stmt *stmt;
    int column;
    bool damaged; /* a number that no version of sluice wrote */
};

static int64_t read_number(struct reader *r)
{
    return sqlite3_column_int64(r->stmt, r->column++);
}

static int32_t read_below(struct reader *r, int32_t limit)
{
    int64_t value = read_number(r);
    if (value < 0 || value >= limit) {
        r->damaged = true;
        return 0;
    }
    return (int32_t)value;
}

static const char *read_text(struct reader *r)
{
    return (const char *)sqlite3_column_text(r->stmt, r->column++);
}

static const uint8_t *read_blob(struct reader *r, size_t *length)
{
    const uint8_t *bytes = sqlite3_column_blob(r->stmt, r->column);
    *length = (size_t)sqlite3_column_bytes(r->stmt, r->column);
    r->column++;
    return bytes;
}

static void read_failure(struct reader *r, struct sl_failure *out)
{
    out->code = (int)read_number(r);
    const char *message = read_text(r);
    size_t length = message ? strnlen(message, sizeof out->message - 1) : 0;
    if (length > 0)
        memcpy(out->message, message, length);
    out->message[length] = '\0';
}

static void read_video(struct reader *r, struct store_video *out)
{
    *out = (struct store_video){0};
    out->video.v = read_number(r);
    out->provider = read_text(r);
    out->external_id = read_text(r);
    out->priority = (enum priority)read_below(r, PRIORITY_COUNT);
    out->status = (enum video_status)read_below(r, VIDEO_STATUS_COUNT);
    out->name = read_text(r);
    out->policy_name = read_text(r);
    out->policy_text = read_text(r);
    out->original_key = read_text(r);
    out->original_bytes = read_number(r);
    size_t sha256_bytes;
    out->original_sha256 = read_blob(r, &sha256_bytes);
    if (out->original_sha256 && sha256_bytes != 32)
        r->damaged = true;
    out->created_unix_ns = read_number(r);
    out->started_unix_ns = read_number(r);
    out->completed_unix_ns = read_number(r);
    out->info = read_blob(r, &out->info_bytes);
    out->index_key = read_text(r);
    out->plan_key = read_text(r);
    out->version = (int32_t)read_number(r);
    out->published_key = read_text(r);
    out->result = read_blob(r, &out->result_bytes);
    out->cancelled = read_number(r) != 0;
    out->steps_done = (uint32_t)read_number(r);
    out->steps_skipped = (uint32_t)read_number(r);
    out->failure_step = (enum step)read_below(r, STEP_COUNT);
    read_failure(r, &out->failure);
    out->stream_asked = (int32_t)read_number(r);
}

static void read_task(struct reader *r, struct store_task *out)
{
    *out = (struct store_task){0};
    out->task.v = read_number(r);
    out->video.v = read_number(r);
    out->step = (enum step)read_below(r, STEP_COUNT);
    out->piece = (int32_t)read_number(r);
    out->wait_mask = (uint32_t)read_number(r);
    out->codec = (enum codec)read_below(r, CODEC_COUNT);
    out->needs_codec = read_number(r) != 0;
    out->order = read_number(r);
    out->demand.cpu_millicores = (int32_t)read_number(r);
    out->demand.sessions = (int32_t)read_number(r);
    out->demand.memory_bytes = read_number(r);
    out->demand.vram_bytes = read_number(r);
    out->demand.work_mpix = read_number(r);
    out->demand.fetch_bytes = read_number(r);
    out->state = (enum task_state)read_below(r, TASK_STATE_COUNT);
    out->attempts = (int32_t)read_number(r);
    out->losses = (int32_t)read_number(r);
    out->preroll = (int32_t)read_number(r);
    out->not_before_unix_ns = read_number(r);
    out->token.v = (uint64_t)read_number(r);
    out->node.v = read_number(r);
    out->granted_unix_ns = read_number(r);
    for (int i = 0; i < 4; i++)
        out->avoid[i].v = read_number(r);
    out->lost_nodes = (uint64_t)read_number(r);
    read_failure(r, &out->failure);
    out->finished_unix_ns = read_number(r);
    out->entry = read_below(r, POLICY_ROUTE_MAX);
    out->kind = (enum device_kind)read_below(r, DEVICE_KIND_COUNT);
    out->sessions = (int32_t)read_number(r);
}

static void read_route(struct reader *r, struct store_route *out)
{
    *out = (struct store_route){0};
    out->video.v = read_number(r);
    out->codec = (enum codec)read_below(r, CODEC_COUNT);
    out->count = read_below(r, POLICY_ROUTE_MAX + 1);
    for (int i = 0; i < POLICY_ROUTE_MAX; i++) {
        out->entries[i].kind = (enum device_kind)read_below(r, DEVICE_KIND_COUNT);
        out->entries[i].queue_longer_ns = read_number(r);
    }
    out->mix = read_number(r) != 0;
    out->ten_bit = read_number(r) != 0;
    out->device.cpu_millicores = (int32_t)read_number(r);
    out->device.sessions = (int32_t)read_number(r);
    out->device.memory_bytes = read_number(r);
    out->device.vram_bytes = read_number(r);
}

static int damaged(struct store_sqlite *store, const char *what, int64_t id)
{
    return store_fail(&store->base, SL_EIO,
                      "%.120s: %s %lld is damaged; stop sluiced and restore the file from a copy",
                      store->path, what, (long long)id);
}

/* What a walk does with each row; exactly one function is set. */
struct row_call {
    store_video_fn *video_fn;
    store_route_fn *route_fn;
    store_task_fn *task_fn;
    store_report_fn *report_fn;
    store_node_fn *node_fn;
    void *arg;
};

static int row_hand_over(struct store_sqlite *store, sqlite3_stmt *stmt,
                         const struct row_call *call)
{
    struct reader r = {.stmt = stmt};
    if (call->video_fn) {
        struct store_video video;
        read_video(&r, &video);
        return r.damaged ? damaged(store, "video", video.video.v)
                         : call->video_fn(call->arg, &video);
    }
    if (call->route_fn) {
        struct store_route route;
        read_route(&r, &route);
        return r.damaged ? damaged(store, "a route of video", route.video.v)
                         : call->route_fn(call->arg, &route);
    }
    if (call->task_fn) {
        struct store_task task;
        read_task(&r, &task);
        return r.damaged ? damaged(store, "task", task.task.v) : call->task_fn(call->arg, &task);
    }
    if (call->report_fn) {
        struct task_id task = {read_number(&r)};
        enum step step = (enum step)read_below(&r, STEP_COUNT);
        int32_t piece = (int32_t)read_number(&r);
        size_t length;
        const uint8_t *bytes = read_blob(&r, &length);
        return r.damaged ? damaged(store, "task", task.v)
                         : call->report_fn(call->arg, task, step, piece, bytes, length);
    }
    struct store_node node = {.node = {read_number(&r)}};
    node.uuid = read_text(&r);
    node.name = read_text(&r);
    node.spot = read_number(&r) != 0;
    node.drain = read_number(&r) != 0;
    node.drain_deadline_unix_ns = read_number(&r);
    return call->node_fn(call->arg, &node);
}

/* Binds the numbers, hands over every row, and gives the statement back. out_rows may be NULL. */
static int rows_walk(struct store *base, enum store_sql sql, const int64_t *numbers, int count,
                     const struct row_call *call, int *out_rows)
{
    struct store_sqlite *store = sqlite_of(base);
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, sql, &stmt);
    if (code != SL_OK)
        return code;
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64(stmt, i + 1, numbers[i]);
    int rc;
    int rows = 0;
    while (code == SL_OK && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            code = store_sqlite_fail(store, rc);
            break;
        }
        rows++;
        code = row_hand_over(store, stmt, call);
    }
    store_sqlite_give(store, sql, stmt);
    if (out_rows)
        *out_rows = rows;
    return code;
}

int store_sqlite_walk_nodes(struct store *base, store_node_fn *fn, void *arg)
{
    struct row_call call = {.node_fn = fn, .arg = arg};
    return rows_walk(base, SQL_WALK_NODES, NULL, 0, &call, NULL);
}

int store_sqlite_walk_live_videos(struct store *base, store_video_fn *fn, void *arg)
{
    struct row_call call = {.video_fn = fn, .arg = arg};
    return rows_walk(base, SQL_WALK_LIVE_VIDEOS, NULL, 0, &call, NULL);
}

int store_sqlite_walk_routes(struct store *base, struct video_id video, store_route_fn *fn,
                             void *arg)
{
    struct row_call call = {.route_fn = fn, .arg = arg};
    return rows_walk(base, SQL_WALK_ROUTES, &video.v, 1, &call, NULL);
}

int store_sqlite_walk_tasks(struct store *base, struct video_id video, store_task_fn *fn, void *arg)
{
    struct row_call call = {.task_fn = fn, .arg = arg};
    return rows_walk(base, SQL_WALK_TASKS, &video.v, 1, &call, NULL);
}

int store_sqlite_walk_reports(struct store *base, struct video_id video, store_report_fn *fn,
                              void *arg)
{
    struct row_call call = {.report_fn = fn, .arg = arg};
    return rows_walk(base, SQL_WALK_REPORTS, &video.v, 1, &call, NULL);
}

int store_sqlite_get_video(struct store *base, struct video_id video, store_video_fn *fn, void *arg)
{
    struct row_call call = {.video_fn = fn, .arg = arg};
    int rows;
    int code = rows_walk(base, SQL_GET_VIDEO, &video.v, 1, &call, &rows);
    if (code != SL_OK || rows > 0)
        return code;
    char text[VIDEO_ID_TEXT_BYTES];
    return store_fail(base, SL_ENOENT, "there is no video %s", video_id_format(video, text));
}

int store_sqlite_get_task(struct store *base, struct task_id task, store_task_fn *fn, void *arg)
{
    struct row_call call = {.task_fn = fn, .arg = arg};
    int rows;
    int code = rows_walk(base, SQL_GET_TASK, &task.v, 1, &call, &rows);
    if (code != SL_OK || rows > 0)
        return code;
    char text[TASK_ID_TEXT_BYTES];
    return store_fail(base, SL_ENOENT, "there is no task %s", task_id_format(task, text));
}

int store_sqlite_list_videos(struct store *base, struct video_id before, enum video_status status,
                             int32_t limit, store_video_fn *fn, void *arg)
{
    struct row_call call = {.video_fn = fn, .arg = arg};
    int64_t numbers[] = {before.v > 0 ? before.v : INT64_MAX, limit, status};
    bool all = status >= VIDEO_STATUS_COUNT;
    return rows_walk(base, all ? SQL_LIST_VIDEOS : SQL_LIST_VIDEOS_STATUS, numbers, all ? 2 : 3,
                     &call, NULL);
}

int store_sqlite_find_external(struct store *base, const char *provider, const char *external_id,
                               struct video_id *out)
{
    struct store_sqlite *store = sqlite_of(base);
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, SQL_FIND_EXTERNAL, &stmt);
    if (code != SL_OK)
        return code;
    sqlite3_bind_text(stmt, 1, provider, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, external_id, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        out->v = sqlite3_column_int64(stmt, 0);
    else if (rc == SQLITE_DONE)
        code =
            store_fail(base, SL_ENOENT, "no video has provider \"%.80s\" and external id \"%.80s\"",
                       provider, external_id);
    else
        code = store_sqlite_fail(store, rc);
    store_sqlite_give(store, SQL_FIND_EXTERNAL, stmt);
    return code;
}

int store_sqlite_load_counters(struct store *base, struct store_counters *out)
{
    struct store_sqlite *store = sqlite_of(base);
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, SQL_LOAD_COUNTERS, &stmt);
    if (code != SL_OK)
        return code;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = (struct store_counters){.next_task = sqlite3_column_int64(stmt, 0),
                                       .next_token = (uint64_t)sqlite3_column_int64(stmt, 1),
                                       .next_node = sqlite3_column_int64(stmt, 2)};
    else if (rc == SQLITE_DONE)
        *out = (struct store_counters){.next_task = 1, .next_token = 1, .next_node = 1};
    else
        code = store_sqlite_fail(store, rc);
    store_sqlite_give(store, SQL_LOAD_COUNTERS, stmt);
    return code;
}

int store_sqlite_count_videos(struct store *base, int64_t counts[VIDEO_STATUS_COUNT])
{
    struct store_sqlite *store = sqlite_of(base);
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, SQL_COUNT_VIDEOS, &stmt);
    if (code != SL_OK)
        return code;
    int64_t found[VIDEO_STATUS_COUNT] = {0};
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t status = sqlite3_column_int64(stmt, 0);
        if (status >= 0 && status < VIDEO_STATUS_COUNT)
            found[status] = sqlite3_column_int64(stmt, 1);
    }
    if (rc == SQLITE_DONE)
        memcpy(counts, found, sizeof found);
    else
        code = store_sqlite_fail(store, rc);
    store_sqlite_give(store, SQL_COUNT_VIDEOS, stmt);
    return code;
}

int store_sqlite_get_meta(struct store_sqlite *store, const char *key, void *into, size_t bytes)
{
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, SQL_GET_META, &stmt);
    if (code != SL_OK)
        return code;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && (size_t)sqlite3_column_bytes(stmt, 0) == bytes)
        memcpy(into, sqlite3_column_blob(stmt, 0), bytes);
    else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        code = store_fail(&store->base, SL_EIO, "%.120s is damaged: its %s is not there",
                          store->path, key);
    else
        code = store_sqlite_fail(store, rc);
    store_sqlite_give(store, SQL_GET_META, stmt);
    return code;
}
