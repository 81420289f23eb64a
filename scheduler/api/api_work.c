/* Routes about a video's work: its tasks with nodes and times, and what the daemon logged of it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "scheduler/api/api_http.h"

/* ---- tasks ---- */

struct task_list {
    json_t *nodes; /* id in decimals to {"node_id", "node"} */
    json_t *tasks;
};

static int node_note(void *arg, const struct store_node *row)
{
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)row->node.v);
    json_object_set_new(
        arg, id,
        json_pack("{s:o,s:o}", "node_id", api_text(row->uuid), "node", api_text(row->name)));
    return 0;
}

/* Rows are committed with every change, so they say what the core says. */
static int task_add(void *arg, const struct store_task *row)
{
    struct task_list *list = arg;
    char id[TASK_ID_TEXT_BYTES], node[24];
    snprintf(node, sizeof node, "%lld", (long long)row->node.v);
    json_t *value = json_pack(
        "{s:s,s:s,s:i,s:s,s:i,s:o,s:o,s:o}", "task_id", task_id_format(row->task, id), "step",
        step_word(row->step), "piece", row->piece, "state", task_state_word(row->state), "attempts",
        row->attempts, "started_at",
        api_time(row->state == TASK_WAITING || row->state == TASK_QUEUED ? 0
                                                                         : row->granted_unix_ns),
        "finished_at", api_time(row->finished_unix_ns), "error",
        row->state == TASK_DONE ? json_null() : api_failure_json(&row->failure));
    if (row->codec < CODEC_COUNT && row->needs_codec)
        json_object_set_new(value, "codec", json_string(codec_word(row->codec)));
    if (row->needs_codec && (row->state == TASK_RUNNING || row->state == TASK_DONE)) {
        json_object_set_new(value, "kind", json_string(device_kind_word(row->kind)));
        json_object_set_new(value, "sessions", json_integer(row->sessions));
    }
    json_t *where = json_object_get(list->nodes, node);
    if (where)
        json_object_update(value, where);
    return json_array_append_new(list->tasks, value) == 0 ? 0 : SL_ENOMEM;
}

static int nothing_take(void *arg, const struct store_video *row)
{
    (void)arg;
    (void)row;
    return 0;
}

/* False after having replied. */
static bool video_is_there(struct api_request *request, struct store *store, struct video_id video)
{
    int code = store_get_video(store, video, nothing_take, NULL);
    if (code == SL_OK)
        return true;
    char id[VIDEO_ID_TEXT_BYTES];
    if (code == SL_ENOENT)
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "there is no video %s; `sluice list` shows those there are",
                        video_id_format(video, id));
    else
        api_reply_error(request, api_status_of(code), sl_error_word(code), NULL, "%s",
                        store_why(store));
    return false;
}

/* A handle of the store where the video of the path is; NULL after having replied. */
static struct store *video_reader(struct api_request *request, struct video_id *video)
{
    struct sl_failure why = {0};
    if (!api_param_video(request, 0, video))
        return NULL;
    struct store *store = api_reader_take(request->api, &why);
    if (!store) {
        api_reply_failure(request, &why);
        return NULL;
    }
    if (video_is_there(request, store, *video))
        return store;
    api_reader_give(request->api, store);
    return NULL;
}

void api_video_tasks(struct api_request *request)
{
    struct video_id video;
    struct store *store = video_reader(request, &video);
    if (!store)
        return;
    struct task_list list = {json_object(), json_array()};
    int code = store_walk_nodes(store, node_note, list.nodes);
    if (code == SL_OK)
        code = store_walk_tasks(store, video, task_add, &list);
    if (code == SL_OK) {
        api_reply_json(request, MHD_HTTP_OK, json_pack("{s:O}", "tasks", list.tasks));
    } else {
        struct sl_failure why = {0};
        sl_fail(&why, code, "%s", store_why(store));
        api_reply_failure(request, &why);
    }
    api_reader_give(request->api, store);
    json_decref(list.nodes);
    json_decref(list.tasks);
}

/* ---- log ---- */

static void line_add(void *arg, const struct sl_log_line *line)
{
    char task[TASK_ID_TEXT_BYTES];
    json_t *value = json_pack("{s:o,s:s,s:o}", "time", api_time(line->unix_ns), "level",
                              sl_log_level_word(line->level), "message", api_text(line->message));
    if (line->task)
        json_object_set_new(value, "task_id",
                            json_string(task_id_format((struct task_id){line->task}, task)));
    json_array_append_new(arg, value);
}

void api_video_log(struct api_request *request)
{
    struct video_id video;
    struct store *store = video_reader(request, &video);
    if (!store)
        return;
    api_reader_give(request->api, store);
    char id[VIDEO_ID_TEXT_BYTES];
    json_t *lines = json_array();
    sl_log_kept(video_id_format(video, id), line_add, lines);
    api_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "lines", lines));
}
