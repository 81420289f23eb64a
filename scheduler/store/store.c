#include "scheduler/store/store.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/store/store_ops.h"
#include "scheduler/store/store_sqlite.h"

static const struct store_ops *const drivers[] = {&store_sqlite_ops};

int store_fail(struct store *store, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    store->why.code = code;
    vsnprintf(store->why.message, sizeof store->why.message, fmt, args);
    va_end(args);
    return code;
}

int store_open(const char *url, bool readonly, struct store **out, struct sl_failure *why)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        size_t scheme = strlen(drivers[i]->name);
        if (strncmp(url, drivers[i]->name, scheme) != 0 || url[scheme] != ':')
            continue;
        const char *place = url + scheme + 1;
        if (*place == '\0')
            return sl_fail(why, SL_EINVAL, "store \"%.80s\" names no place; write %s:PATH", url,
                           drivers[i]->name);
        struct store *store = NULL;
        int rc = drivers[i]->open(place, readonly, &store, why);
        if (rc != SL_OK)
            return rc;
        store->ops = drivers[i];
        store->readonly = readonly;
        *out = store;
        return SL_OK;
    }
    return sl_fail(why, SL_EINVAL, "store \"%.80s\" is of no known kind; write sqlite:PATH", url);
}

void store_close(struct store **store)
{
    if (!*store)
        return;
    store_rollback(*store);
    (*store)->ops->close(*store);
    *store = NULL;
}

const char *store_why(const struct store *store)
{
    return store->why.message;
}

int store_farm_id(struct store *store, char text[NODE_UUID_BYTES])
{
    return store->ops->farm_id(store, text);
}

int store_secret(struct store *store, uint8_t secret[STORE_SECRET_BYTES])
{
    return store->ops->secret(store, secret);
}

int store_begin(struct store *store)
{
    if (store->readonly)
        return store_fail(store, SL_EACCES, "the store was opened for reading only");
    if (store->in_batch)
        return store_fail(store, SL_ECONFLICT, "a batch is open already; commit it first");
    int rc = store->ops->begin(store);
    if (rc != SL_OK)
        return rc;
    store->in_batch = true;
    store->batch_code = SL_OK;
    return SL_OK;
}

void store_rollback(struct store *store)
{
    if (!store->in_batch)
        return;
    store->ops->rollback(store);
    store->in_batch = false;
}

int store_commit(struct store *store)
{
    if (!store->in_batch)
        return store_fail(store, SL_ECONFLICT, "no batch is open; begin one first");
    int rc = store->batch_code != SL_OK ? store->batch_code : store->ops->commit(store);
    if (rc != SL_OK)
        store_rollback(store);
    store->in_batch = false;
    return rc;
}

static int batch_check(struct store *store)
{
    if (!store->in_batch)
        return store_fail(store, SL_ECONFLICT, "rows are written inside a batch; begin one first");
    return store->batch_code;
}

static int batch_note(struct store *store, int rc)
{
    if (rc != SL_OK && store->batch_code == SL_OK)
        store->batch_code = rc;
    return rc;
}

static int text_check(struct store *store, const char *what, const char *text, size_t limit)
{
    if (!text || strnlen(text, limit) < limit)
        return SL_OK;
    return store_fail(store, SL_ELIMIT, "%s of a row is longer than %zu bytes", what, limit - 1);
}

static int blob_check(struct store *store, const char *what, const void *bytes, size_t length)
{
    if (length > STORE_BLOB_BYTES)
        return store_fail(store, SL_ELIMIT, "%s of a row has %zu bytes; the limit is %d", what,
                          length, STORE_BLOB_BYTES);
    if (length > 0 && !bytes)
        return store_fail(store, SL_EINVAL, "%s of a row has a length and no bytes", what);
    return SL_OK;
}

static int video_check(struct store *store, const struct store_video *video)
{
    if (video->video.v <= 0)
        return store_fail(store, SL_EINVAL, "a video without an id cannot be stored");
    const struct {
        const char *what;
        const char *text;
        size_t limit;
    } texts[] = {
        {"the provider", video->provider, STORE_TEXT_BYTES},
        {"the external id", video->external_id, STORE_TEXT_BYTES},
        {"the name", video->name, STORE_TEXT_BYTES},
        {"the policy's name", video->policy_name, STORE_TEXT_BYTES},
        {"the policy", video->policy_text, STORE_BLOB_BYTES},
        {"the original's key", video->original_key, STORE_PATH_BYTES},
        {"the index key", video->index_key, STORE_PATH_BYTES},
        {"the plan key", video->plan_key, STORE_PATH_BYTES},
        {"the published key", video->published_key, STORE_PATH_BYTES},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int rc = text_check(store, texts[i].what, texts[i].text, texts[i].limit);
        if (rc != SL_OK)
            return rc;
    }
    int rc = blob_check(store, "the media info", video->info, video->info_bytes);
    return rc != SL_OK ? rc : blob_check(store, "the result", video->result, video->result_bytes);
}

int store_put_video(struct store *store, const struct store_video *video)
{
    int rc = batch_check(store);
    if (rc != SL_OK)
        return rc;
    rc = video_check(store, video);
    if (rc == SL_OK)
        rc = store->ops->put_video(store, video);
    return rc == SL_EEXIST ? rc : batch_note(store, rc);
}

int store_put_route(struct store *store, const struct store_route *route)
{
    int rc = batch_check(store);
    if (rc != SL_OK)
        return rc;
    if (route->video.v <= 0 || route->count < 1 || route->count > POLICY_ROUTE_MAX)
        rc = store_fail(store, SL_EINVAL,
                        "a route without a video, or with %d encoders, cannot be stored",
                        (int)route->count);
    else
        rc = store->ops->put_route(store, route);
    return batch_note(store, rc);
}

int store_put_task(struct store *store, const struct store_task *task)
{
    int rc = batch_check(store);
    if (rc != SL_OK)
        return rc;
    if (task->task.v <= 0 || task->video.v <= 0)
        rc = store_fail(store, SL_EINVAL, "a task without an id or a video cannot be stored");
    else
        rc = store->ops->put_task(store, task);
    return batch_note(store, rc);
}

int store_put_report(struct store *store, struct task_id task, const uint8_t *bytes, size_t length)
{
    int rc = batch_check(store);
    if (rc != SL_OK)
        return rc;
    rc = blob_check(store, "the report", bytes, length);
    if (rc == SL_OK)
        rc = store->ops->put_report(store, task, bytes, length);
    return batch_note(store, rc);
}

int store_put_node(struct store *store, const struct store_node *node)
{
    int rc = batch_check(store);
    if (rc != SL_OK)
        return rc;
    if (node->node.v <= 0 || !node->uuid)
        rc = store_fail(store, SL_EINVAL, "a node without an id or a UUID cannot be stored");
    if (rc == SL_OK)
        rc = text_check(store, "the node's UUID", node->uuid, NODE_UUID_BYTES);
    if (rc == SL_OK)
        rc = text_check(store, "the node's name", node->name, STORE_TEXT_BYTES);
    if (rc == SL_OK)
        rc = store->ops->put_node(store, node);
    return batch_note(store, rc);
}

int store_put_counters(struct store *store, const struct store_counters *counters)
{
    int rc = batch_check(store);
    return rc != SL_OK ? rc : batch_note(store, store->ops->put_counters(store, counters));
}

int store_delete_video(struct store *store, struct video_id video)
{
    int rc = batch_check(store);
    return rc != SL_OK ? rc : batch_note(store, store->ops->delete_video(store, video));
}

int store_delete_tasks(struct store *store, struct video_id video, uint32_t step_mask)
{
    int rc = batch_check(store);
    return rc != SL_OK ? rc : batch_note(store, store->ops->delete_tasks(store, video, step_mask));
}

int store_clear_reports(struct store *store, struct video_id video)
{
    int rc = batch_check(store);
    return rc != SL_OK ? rc : batch_note(store, store->ops->clear_reports(store, video));
}

int store_prune_tasks(struct store *store, int32_t keep, int32_t most)
{
    int rc = batch_check(store);
    if (rc == SL_OK && keep < 0)
        rc = SL_EINVAL;
    return rc != SL_OK ? rc : batch_note(store, store->ops->prune_tasks(store, keep, most));
}

int store_load_counters(struct store *store, struct store_counters *out)
{
    return store->ops->load_counters(store, out);
}

int store_walk_nodes(struct store *store, store_node_fn *fn, void *arg)
{
    return store->ops->walk_nodes(store, fn, arg);
}

int store_walk_live_videos(struct store *store, store_video_fn *fn, void *arg)
{
    return store->ops->walk_live_videos(store, fn, arg);
}

int store_walk_routes(struct store *store, struct video_id video, store_route_fn *fn, void *arg)
{
    return store->ops->walk_routes(store, video, fn, arg);
}

int store_walk_tasks(struct store *store, struct video_id video, store_task_fn *fn, void *arg)
{
    return store->ops->walk_tasks(store, video, fn, arg);
}

int store_walk_reports(struct store *store, struct video_id video, store_report_fn *fn, void *arg)
{
    return store->ops->walk_reports(store, video, fn, arg);
}

int store_get_video(struct store *store, struct video_id video, store_video_fn *fn, void *arg)
{
    return store->ops->get_video(store, video, fn, arg);
}

int store_find_external(struct store *store, const char *provider, const char *external_id,
                        struct video_id *out)
{
    if (!provider || !external_id)
        return store_fail(store, SL_ENOENT, "a video is found by provider and external id");
    return store->ops->find_external(store, provider, external_id, out);
}

int store_get_task(struct store *store, struct task_id task, store_task_fn *fn, void *arg)
{
    return store->ops->get_task(store, task, fn, arg);
}

int store_list_videos(struct store *store, struct video_id before, enum video_status status,
                      int32_t limit, store_video_fn *fn, void *arg)
{
    if (limit < 1)
        return store_fail(store, SL_EINVAL, "a page of %d videos was asked for; ask for 1 to %d",
                          (int)limit, STORE_LIST_MAX);
    return store->ops->list_videos(store, before, status,
                                   limit < STORE_LIST_MAX ? limit : STORE_LIST_MAX, fn, arg);
}

int store_count_videos(struct store *store, int64_t counts[VIDEO_STATUS_COUNT])
{
    return store->ops->count_videos(store, counts);
}
