/* Routes about the farm: nodes, devices, the dead-letter queue, explanations, the summary. */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/api/api_http.h"

/* ---- nodes and devices ---- */

static json_t *codecs_json(uint32_t codecs)
{
    json_t *words = json_array();
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (codecs & UINT32_C(1) << codec)
            json_array_append_new(words, json_string(codec_word((enum codec)codec)));
    return words;
}

/* What is known; what is not is left out. */
static json_t *telemetry_json(const struct device_telemetry *t)
{
    const struct {
        const char *name;
        int64_t value;
    } members[] = {{"busy_percent", t->busy_percent},
                   {"encoder_percent", t->encoder_percent},
                   {"decoder_percent", t->decoder_percent},
                   {"memory_used_bytes", t->memory_used_bytes},
                   {"temperature_c", t->temperature_c}};
    json_t *known = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value >= 0)
            json_object_set_new(known, members[i].name, json_integer(members[i].value));
    if (t->power_mw >= 0)
        json_object_set_new(known, "power_watts", json_real((double)t->power_mw / 1000));
    return known;
}

/* worker/probe_devices.c prints the same members. */
static json_t *device_json(const struct api_node *node, const struct device_row *row)
{
    json_t *rates = json_object();
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (row->encodes & UINT32_C(1) << codec && row->mpix_per_s[codec] > 0)
            json_object_set_new(rates, codec_word((enum codec)codec),
                                json_integer(row->mpix_per_s[codec]));
    bool gone = node->state == NODE_LOST; /* what it said of its load is long over */
    return json_pack(
        "{s:o,s:s,s:o,s:o,s:b,s:s,s:o,s:o,s:o,s:o,s:i,s:i,s:o,s:I,s:o,s:o,s:o}", "device_id",
        api_text(row->device_id), "kind", device_kind_word(row->kind), "name", api_text(row->name),
        "driver", api_text(row->driver), "standin", (int)row->standin, "health",
        device_health_word(row->health), "health_reason",
        api_text(row->health_reason[0] ? row->health_reason : NULL), "encodes",
        codecs_json(row->encodes), "ten_bit", codecs_json(row->encodes_ten_bit), "decodes",
        codecs_json(row->decodes), "sessions_in_use", row->sessions_in_use, "session_limit",
        row->session_limit, "mpix_per_s", rates, "memory_bytes",
        (json_int_t)(row->kind == DEVICE_CPU ? row->memory_bytes : row->vram_bytes), "telemetry",
        telemetry_json(gone ? &device_telemetry_unknown : &row->telemetry), "feed",
        api_text(row->feed ? device_feed_word(row->feed) : NULL), "feed_ratio",
        row->feed && row->feed_permille > 0 ? json_real((double)row->feed_permille / 1000)
                                            : json_null());
}

static struct api_call *nodes_ask(struct api_request *request)
{
    struct api_call *call = api_call_new(API_CALL_NODES);
    return api_ask(request, &call) ? call : NULL;
}

void api_nodes_list(struct api_request *request)
{
    struct api_call *call = nodes_ask(request);
    if (!call)
        return;
    json_t *nodes = json_array();
    for (int32_t i = 0; i < call->node_count; i++) {
        const struct api_node *node = &call->nodes[i];
        json_t *devices = json_array();
        for (int32_t d = 0; d < node->device_count; d++)
            json_array_append_new(devices, device_json(node, &node->devices[d]));
        json_array_append_new(
            nodes,
            json_pack("{s:o,s:o,s:s,s:b,s:i,s:{s:i,s:I},s:{s:i,s:I},s:o}", "node_id",
                      api_text(node->uuid), "name", api_text(node->name), "state",
                      node_state_word(node->state), "spot", (int)node->spot, "running",
                      node->running, "capacity", "cpu_millicores", node->total.cpu_millicores,
                      "memory_bytes", (json_int_t)node->total.memory_bytes, "used",
                      "cpu_millicores", node->used.cpu_millicores, "memory_bytes",
                      (json_int_t)node->used.memory_bytes, "devices", devices));
    }
    api_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "nodes", nodes));
    api_call_free(&call);
}

void api_devices_list(struct api_request *request)
{
    struct api_call *call = nodes_ask(request);
    if (!call)
        return;
    json_t *devices = json_array();
    for (int32_t i = 0; i < call->node_count; i++) {
        const struct api_node *node = &call->nodes[i];
        for (int32_t d = 0; d < node->device_count; d++) {
            json_t *device = device_json(node, &node->devices[d]);
            json_object_set_new(device, "node_id", api_text(node->uuid));
            json_object_set_new(device, "node", api_text(node->name));
            json_array_append_new(devices, device);
        }
    }
    api_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "devices", devices));
    api_call_free(&call);
}

static void node_act(struct api_request *request, struct api_call *call)
{
    if (call)
        call->node = sl_arena_strdup(&call->arena, request->params[0]);
    if (!api_ask(request, &call))
        return;
    const struct api_node *node = &call->nodes[0];
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:o,s:o,s:s,s:i}", "node_id", api_text(node->uuid), "name",
                             api_text(node->name), "state", node_state_word(node->state), "running",
                             node->running));
    api_call_free(&call);
}

void api_node_drain(struct api_request *request)
{
    static const char *const known[] = {"deadline", NULL};
    json_t *body = api_body_json(request);
    if (!body)
        return;
    if (!api_members_known(request, body, known)) {
        json_decref(body);
        return;
    }
    json_t *value = json_object_get(body, "deadline");
    const char *text =
        json_is_string(value) ? json_string_value(value) : api_query(request, "deadline");
    int64_t deadline_ns = 0;
    bool good = true;
    if (json_is_number(value))
        deadline_ns = (int64_t)(json_number_value(value) * 1e9);
    else if (text)
        good = sl_duration_parse(text, &deadline_ns) == SL_OK;
    json_decref(body);
    if (!good || deadline_ns < 0) {
        api_reply_error(
            request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
            "\"deadline\" is a duration such as \"90s\", \"10m\" or a number of seconds");
        return;
    }
    struct api_call *call = api_call_new(API_CALL_DRAIN);
    if (call)
        call->deadline_ns = deadline_ns;
    node_act(request, call);
}

void api_node_undrain(struct api_request *request)
{
    node_act(request, api_call_new(API_CALL_UNDRAIN));
}

/* ---- the dead-letter queue ---- */

static json_t *dead_json(const struct api_dead *row)
{
    char task[TASK_ID_TEXT_BYTES], video[VIDEO_ID_TEXT_BYTES];
    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:o}", "task_id", task_id_format(row->task, task),
                     "video_id", video_id_format(row->video, video), "step", step_word(row->step),
                     "piece", row->piece, "attempts", row->attempts, "error",
                     api_failure_json(&row->failure));
}

static bool param_task(struct api_request *request, struct task_id *out)
{
    if (task_id_parse(request->params[0], out) == SL_OK)
        return true;
    api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                    "there is no task \"%.32s\"; its id is t and a number, see GET /api/v1/dlq",
                    request->params[0]);
    return false;
}

void api_dead_list(struct api_request *request)
{
    struct api_call *call = api_call_new(API_CALL_DEAD);
    if (!api_ask(request, &call))
        return;
    json_t *tasks = json_array();
    for (int32_t i = 0; i < call->dead_count; i++)
        json_array_append_new(tasks, dead_json(&call->dead[i]));
    api_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "tasks", tasks));
    api_call_free(&call);
}

void api_dead_show(struct api_request *request)
{
    struct task_id task;
    if (!param_task(request, &task))
        return;
    struct api_call *call = api_call_new(API_CALL_DEAD);
    if (call)
        call->task = task;
    if (!api_ask(request, &call))
        return;
    if (call->dead_count == 1)
        api_reply_json(request, MHD_HTTP_OK, dead_json(&call->dead[0]));
    else
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "there is no task %s in the dead-letter queue; `sluice dlq` shows what is "
                        "there",
                        request->params[0]);
    api_call_free(&call);
}

static void dead_act(struct api_request *request, enum api_call_kind kind)
{
    struct task_id task;
    if (!param_task(request, &task))
        return;
    struct api_call *call = api_call_new(kind);
    if (call)
        call->task = task;
    if (!api_ask(request, &call))
        return;
    char video[VIDEO_ID_TEXT_BYTES];
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:s,s:s,s:s}", "task_id", request->params[0], "video_id",
                             video_id_format(call->video, video), "state",
                             call->state ? call->state : "unknown"));
    api_call_free(&call);
}

void api_dead_redrive(struct api_request *request)
{
    dead_act(request, API_CALL_REDRIVE);
}

void api_dead_drop(struct api_request *request)
{
    dead_act(request, API_CALL_DROP);
}

/* ---- explain ---- */

struct state_read {
    enum video_status status;
    struct sl_failure failure;
};

static int state_take(void *arg, const struct store_video *row)
{
    struct state_read *read = arg;
    read->status = row->status;
    read->failure = row->failure;
    return 0;
}

/* A video that has left the core. */
static void explain_stored(struct api_request *request, struct video_id video)
{
    struct sl_failure why = {0};
    struct store *store = api_reader_take(request->api, &why);
    if (!store) {
        api_reply_failure(request, &why);
        return;
    }
    struct state_read read = {0};
    int code = store_get_video(store, video, state_take, &read);
    api_reader_give(request->api, store);
    if (code != SL_OK) {
        api_reply_error(request, api_status_of(code), sl_error_word(code), NULL,
                        "there is no video %s; `sluice list` shows those there are",
                        request->params[0]);
        return;
    }
    const char *reason = read.status == VIDEO_READY ? "it is done and published"
                         : read.failure.code        ? read.failure.message
                                                    : "it has left the queues";
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:s,s:s,s:[o]}", "subject", request->params[0], "state",
                             video_status_word(read.status), "reasons", api_text(reason)));
}

void api_explain(struct api_request *request)
{
    const char *subject = request->params[0];
    struct video_id video = {0};
    struct task_id task = {0};
    struct api_call *call = NULL;
    if (video_id_parse(subject, &video) == SL_OK) {
        call = api_call_new(API_CALL_EXPLAIN_VIDEO);
    } else if (task_id_parse(subject, &task) == SL_OK) {
        call = api_call_new(API_CALL_EXPLAIN_TASK);
    } else {
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "\"%.64s\" is no video (v and 13 digits) and no task (t and a number)",
                        subject);
        return;
    }
    if (call) {
        call->video = video;
        call->task = task;
    }
    if (!api_ask(request, &call))
        return;
    if (!call->state) {
        explain_stored(request, video);
        api_call_free(&call);
        return;
    }
    json_t *reasons = json_array();
    for (int32_t i = 0; i < call->reason_count; i++)
        json_array_append_new(reasons, api_text(call->reasons[i]));
    api_reply_json(
        request, MHD_HTTP_OK,
        json_pack("{s:s,s:s,s:o}", "subject", subject, "state", call->state, "reasons", reasons));
    api_call_free(&call);
}

/* ---- summary, health ---- */

void api_farm_status(struct api_request *request)
{
    struct sl_failure why = {0};
    struct store *store = api_reader_take(request->api, &why);
    if (!store) {
        api_reply_failure(request, &why);
        return;
    }
    int64_t counts[VIDEO_STATUS_COUNT] = {0};
    int code = store_count_videos(store, counts);
    if (code != SL_OK)
        sl_fail(&why, code, "%s", store_why(store));
    api_reader_give(request->api, store);
    if (code != SL_OK) {
        api_reply_failure(request, &why);
        return;
    }
    struct api_call *call = api_call_new(API_CALL_METRICS);
    if (!api_ask(request, &call))
        return;
    json_t *videos = json_object();
    for (int i = 0; i < VIDEO_STATUS_COUNT; i++)
        json_object_set_new(videos, video_status_word((enum video_status)i),
                            json_integer(counts[i]));
    const struct api_metrics *m = call->metrics;
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:b,s:s,s:I,s:I,s:I,s:I,s:o}", "leader", 1, "version",
                             SLUICE_VERSION, "queued", (json_int_t)m->queued, "running",
                             (json_int_t)m->running, "dead", (json_int_t)m->dead, "nodes",
                             (json_int_t)m->nodes_live, "videos", videos));
    api_call_free(&call);
}

void api_health(struct api_request *request)
{
    const struct api_backend *backend = &request->api->config.backend;
    struct sl_failure why = {0};
    int code = backend->health(backend->arg, &why);
    if (code == SL_OK) {
        api_reply_json(request, MHD_HTTP_OK,
                       json_pack("{s:s,s:s}", "status", "ok", "version", SLUICE_VERSION));
        return;
    }
    api_reply_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, sl_error_word(code), NULL, "%s",
                    why.message);
}
