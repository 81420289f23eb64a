/* Every route, what it answers, and what it says when something is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "scheduler/api/api.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    farm_open(&world->farm);
    farm_start(&world->farm);
    agent_open(&world->agent, &world->farm, 1);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    agent_close(&world->agent);
    farm_close(&world->farm);
    free(world);
    return 0;
}

static const char *text_at(const json_t *value, const char *name)
{
    return json_string_value(json_object_get(value, name));
}

static void video_path(const struct world *w, const char *rest, char path[96])
{
    snprintf(path, 96, "/api/v1/videos/%s%s", w->video, rest);
}

/* ---- submit ---- */

static void test_submit_is_idempotent_by_external_id(void **state)
{
    struct world *w = *state;
    const char *body = "{\"provider\":\"studio\",\"external_id\":\"42\",\"name\":\"a\"}";
    json_t *first = farm_json(&w->farm, "POST", "/api/v1/videos", body, 201);
    json_t *again = farm_json(&w->farm, "POST", "/api/v1/videos", body, 200);
    assert_string_equal(text_at(first, "video_id"), text_at(again, "video_id"));
    assert_true(json_is_true(json_object_get(first, "created")));
    assert_true(json_is_false(json_object_get(again, "created")));
    json_decref(again);
    /* Over a restart as well, and another provider's 42 is another video. */
    farm_stop(&w->farm);
    farm_start(&w->farm);
    again = farm_json(&w->farm, "POST", "/api/v1/videos", body, 200);
    assert_string_equal(text_at(first, "video_id"), text_at(again, "video_id"));
    json_decref(again);
    again = farm_json(&w->farm, "POST", "/api/v1/videos",
                      "{\"provider\":\"other\",\"external_id\":\"42\"}", 201);
    assert_string_not_equal(text_at(first, "video_id"), text_at(again, "video_id"));
    json_decref(again);
    json_decref(first);
    /* An external id alone counts too. */
    json_decref(farm_json(&w->farm, "POST", "/api/v1/videos", "{\"external_id\":\"7\"}", 201));
    json_decref(farm_json(&w->farm, "POST", "/api/v1/videos", "{\"external_id\":\"7\"}", 200));
}

static void test_submit_refuses_what_it_cannot_take(void **state)
{
    struct world *w = *state;
    char fifo[128], body[512];
    const struct {
        const char *body;
        long status;
        const char *code;
        const char *says;
    } cases[] = {
        {"{\"path\":", 400, "invalid", "line 1, column"},
        {"[1]", 400, "invalid", "JSON object"},
        {"{\"paht\":\"/x\"}", 400, "invalid", "valid are: path"},
        {"{\"path\":7}", 400, "invalid", "\"path\" must be a string"},
        {"{\"path\":\"/a\\u0000b\"}", 400, "invalid", ""},
        {"{\"name\":\"\xff\"}", 400, "invalid", "JSON"},
        {"{\"path\":\"relative.mp4\"}", 400, "invalid", "absolute"},
        {"{\"path\":\"/no/such/file.mp4\"}", 404, "not_found", "/no/such/file.mp4"},
        {"{\"path\":\"/tmp\"}", 422, "unsupported", "a folder"},
        {"{\"path\":\"/dev/null\"}", 422, "unsupported", "a device"},
        {"{\"priority\":\"asap\"}", 400, "invalid", "low, normal, high or urgent"},
        {"{\"policy\":\"nope\"}", 400, "invalid", "there is no policy \"nope\""},
        {"{\"policy\":\"../../etc/passwd\"}", 400, "invalid", "no policy's name"},
        {"{\"policy\":\"default\",\"policy_text\":\"x\"}", 400, "invalid", "not both"},
        {"{\"policy_text\":\"gop: banana\\n\"}", 422, "invalid", "policy_text:1:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        farm_error(&w->farm, "POST", "/api/v1/videos", cases[i].body, cases[i].status,
                   cases[i].code, cases[i].says);
    snprintf(fifo, sizeof fifo, "%s/pipe", w->farm.folder);
    assert_int_equal(mkfifo(fifo, 0644), 0);
    snprintf(body, sizeof body, "{\"path\":\"%s\"}", fifo);
    farm_error(&w->farm, "POST", "/api/v1/videos", body, 422, "unsupported", "a FIFO");
    json_t *list = farm_json(&w->farm, "GET", "/api/v1/videos", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "videos")), 0);
    json_decref(list);
}

static void test_bodies_are_bounded(void **state)
{
    struct world *w = *state;
    size_t length = 3 << 20;
    char *body = malloc(length + 1);
    memset(body, ' ', length);
    body[length] = '\0';
    farm_error(&w->farm, "POST", "/api/v1/videos", body, 413, "over_limit", "at most");
    struct reply reply;
    const char *headers[] = {"Transfer-Encoding: chunked", NULL};
    farm_http(&w->farm, "POST", "/api/v1/videos", headers, body, length, &reply);
    assert_int_equal(reply.status, 413);
    reply_free(&reply);
    free(body);
}

static void test_hostile_names_stay_texts(void **state)
{
    struct world *w = *state;
    json_t *value = farm_json(&w->farm, "POST", "/api/v1/videos",
                              "{\"name\":\"<script>alert(1)</script>\\n\\u001b[2J'; DROP TABLE "
                              "videos;--\",\"external_id\":\"' OR 1=1 --\"}",
                              201);
    snprintf(w->video, sizeof w->video, "%s", text_at(value, "video_id"));
    json_decref(value);
    value = farm_status(&w->farm, w->video);
    assert_string_equal(text_at(value, "name"),
                        "<script>alert(1)</script>\n\x1b[2J'; DROP TABLE videos;--");
    json_decref(value);
    json_decref(
        farm_json(&w->farm, "POST", "/api/v1/videos", "{\"external_id\":\"' OR 1=1 --\"}", 200));
}

/* ---- routes ---- */

static void test_unknown_routes_and_methods_are_told(void **state)
{
    struct world *w = *state;
    struct reply reply;
    farm_error(&w->farm, "GET", "/nothing", NULL, 404, "not_found", "/api/v1/");
    farm_error(&w->farm, "GET", "/api/v1/videos/", NULL, 404, "not_found", "");
    farm_error(&w->farm, "GET", "/api/v1/videos/x/y/z", NULL, 404, "not_found", "");
    farm_http(&w->farm, "PATCH", "/api/v1/videos", NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 405);
    assert_true(reply_has_header(&reply, "Allow: POST, GET"));
    reply_free(&reply);
    farm_error(&w->farm, "GET", "/api/v1/videos/nonsense/status", NULL, 404, "not_found",
               "nonsense");
    farm_error(&w->farm, "GET", "/api/v1/videos/v0000000000001/status", NULL, 404, "not_found", "");
    farm_error(&w->farm, "GET", "/api/v1/videos/v000000000000z/status", NULL, 404, "not_found",
               "there is no video");
    static const struct {
        const char *method, *path;
    } missing[] = {
        {"POST", "/api/v1/videos/v0cmyh4af51zfg/cancel"},
        {"POST", "/api/v1/videos/v0cmyh4af51zfg/retry"},
        {"DELETE", "/api/v1/videos/v0cmyh4af51zfg"},
        {"GET", "/api/v1/videos/v0cmyh4af51zfg/source"},
        {"PUT", "/api/v1/videos/v0cmyh4af51zfg/source"},
        {"GET", "/api/v1/explain/v0cmyh4af51zfg"},
        {"GET", "/api/v1/explain/t999"},
        {"GET", "/api/v1/dlq/t999"},
        {"POST", "/api/v1/dlq/t999/redrive"},
        {"POST", "/api/v1/dlq/t999/drop"},
        {"POST", "/api/v1/dlq/what/drop"},
        {"POST", "/api/v1/nodes/nobody/drain"},
        {"POST", "/api/v1/nodes/nobody/undrain"},
    };
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
        farm_error(&w->farm, missing[i].method, missing[i].path,
                   strcmp(missing[i].method, "GET") == 0 ? NULL : "", 404, "not_found", "there is");
    farm_error(&w->farm, "GET", "/api/v1/explain/what", NULL, 404, "not_found", "is no video");
    farm_error(&w->farm, "GET", "/api/v1/videos?status=done", NULL, 400, "invalid", "there are");
    farm_error(&w->farm, "GET", "/api/v1/videos?limit=0", NULL, 400, "invalid", "1 to");
    farm_error(&w->farm, "GET", "/api/v1/videos?next=abc", NULL, 400, "invalid", "next");
    farm_error(&w->farm, "DELETE", "/api/v1/videos/v0cmyh4af51zfg?original=maybe", NULL, 400,
               "invalid", "original");
}

static void test_list_pages_and_filters(void **state)
{
    struct world *w = *state;
    char first[VIDEO_ID_TEXT_BYTES] = "";
    for (int i = 0; i < 5; i++) {
        json_t *value = farm_json(&w->farm, "POST", "/api/v1/videos", "{}", 201);
        if (i == 0)
            snprintf(first, sizeof first, "%s", text_at(value, "video_id"));
        json_decref(value);
        usleep(2000); /* ids made in one millisecond have no order */
    }
    char path[128] = "/api/v1/videos?limit=2", last[VIDEO_ID_TEXT_BYTES] = "";
    int seen = 0;
    for (;;) {
        json_t *page = farm_json(&w->farm, "GET", path, NULL, 200);
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(page, "videos"), i, row)
        {
            seen++;
            snprintf(last, sizeof last, "%s", text_at(row, "video_id"));
            assert_string_equal(text_at(row, "status"), "uploaded");
            assert_string_equal(text_at(row, "policy"), "default");
            assert_true(json_is_integer(json_object_get(row, "percent")));
        }
        const char *next = text_at(page, "next");
        if (next)
            snprintf(path, sizeof path, "/api/v1/videos?limit=2&next=%s", next);
        json_decref(page);
        if (!next)
            break;
    }
    assert_int_equal(seen, 5);
    assert_string_equal(last, first);
    json_t *none = farm_json(&w->farm, "GET", "/api/v1/videos?status=ready", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(none, "videos")), 0);
    assert_true(json_is_null(json_object_get(none, "next")));
    json_decref(none);
}

static void ready_put(struct store *store, int64_t unix_ns, const char *provider, const char *id)
{
    struct store_video video = {.video = video_id_make(unix_ns, 1),
                                .priority = PRIORITY_NORMAL,
                                .status = VIDEO_READY,
                                .provider = provider,
                                .external_id = id,
                                .created_unix_ns = unix_ns};
    assert_int_equal(store_put_video(store, &video), SL_OK);
}

/* One request looks at 20,000 rows; what lies beyond is on a later page. */
static void test_a_list_looks_at_so_many_rows_and_no_more(void **state)
{
    struct world *w = *state;
    struct store *store = NULL;
    struct sl_failure why = {0};
    char url[128], path[160] = "/api/v1/videos?provider=rare";
    int64_t begin_ns = SL_S_TO_NS(1700000000);
    agent_close(&w->agent);
    farm_stop(&w->farm);
    snprintf(url, sizeof url, "sqlite:%s/sluice.db", w->farm.data);
    assert_int_equal(store_open(url, false, &store, &why), SL_OK);
    assert_int_equal(store_begin(store), SL_OK);
    ready_put(store, begin_ns, "rare", "1");
    for (int i = 1; i <= 20500; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        ready_put(store, begin_ns + SL_MS_TO_NS(i), "common", id);
    }
    assert_int_equal(store_commit(store), SL_OK);
    store_close(&store);
    farm_start(&w->farm);
    agent_open(&w->agent, &w->farm, 1);
    json_t *page = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "videos")), 0);
    assert_non_null(text_at(page, "next"));
    snprintf(path, sizeof path, "/api/v1/videos?provider=rare&next=%s", text_at(page, "next"));
    json_decref(page);
    page = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "videos")), 1);
    assert_true(json_is_null(json_object_get(page, "next")));
    json_decref(page);
    /* Times lead straight to the rows. */
    page = farm_json(&w->farm, "GET",
                     "/api/v1/videos?provider=rare&created_before=2023-11-14T22:13:20.002Z", NULL,
                     200);
    assert_int_equal(json_array_size(json_object_get(page, "videos")), 1);
    json_decref(page);
    page = farm_json(&w->farm, "GET",
                     "/api/v1/videos?limit=7&created_after=2023-11-14T22:13:40.496Z", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "videos")), 5);
    assert_true(json_is_null(json_object_get(page, "next")));
    json_decref(page);
}

static void test_status_has_the_shape_of_the_contract(void **state)
{
    struct world *w = *state;
    static const char *const members[] = {"video_id",         "status",
                                          "priority",         "policy",
                                          "created_at",       "started_at",
                                          "completed_at",     "estimated_completion",
                                          "playable_seconds", "pipeline_progress",
                                          "source",           "renditions",
                                          "manifests",        "error"};
    farm_submit(&w->farm, w->video);
    agent_wait(&w->agent, STEP_TRANSCODE);
    json_t *status = farm_status(&w->farm, w->video);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        assert_non_null(json_object_get(status, members[i]));
    assert_string_equal(text_at(status, "status"), "transcoding");
    assert_true(json_is_null(json_object_get(status, "manifests")));
    assert_true(json_is_null(json_object_get(status, "error")));
    assert_true(json_is_null(json_object_get(status, "completed_at")));
    json_t *source = json_object_get(status, "source");
    assert_int_equal(json_integer_value(json_object_get(source, "width")), 640);
    assert_int_equal(json_integer_value(json_object_get(source, "frames")),
                     FARM_SECONDS * FARM_FPS);
    assert_int_equal(strlen(text_at(source, "sha256")), 64);
    assert_string_equal(text_at(source, "codec"), "h264");
    json_t *progress = json_object_get(status, "pipeline_progress");
    assert_string_equal(text_at(progress, "probe"), "completed");
    assert_string_equal(text_at(progress, "plan"), "completed");
    assert_string_equal(text_at(progress, "subtitles"), "skipped");
    assert_string_equal(text_at(progress, "package"), "pending");
    json_t *transcode = json_object_get(progress, "transcode");
    assert_int_equal(json_integer_value(json_object_get(transcode, "total")), FARM_CHUNKS);
    json_decref(status);
}

static int64_t device_number(struct world *w, const char *name)
{
    json_t *value = farm_json(&w->farm, "GET", "/api/v1/devices", NULL, 200);
    json_t *device = json_array_get(json_object_get(value, "devices"), 1);
    json_t *number = json_object_get(json_object_get(device, "telemetry"), name);
    int64_t told = number ? (int64_t)json_number_value(number) : -1;
    json_decref(value);
    return told;
}

static void test_what_devices_say_of_themselves_is_told(void **state)
{
    struct world *w = *state;
    struct device_row *gpu = &w->agent.devices[0];
    *gpu = (struct device_row){
        .kind = DEVICE_NVENC,
        .device_id = "GPU-1",
        .name = "a GPU",
        .driver = "550.1",
        .standin = true,
        .health = HEALTH_QUARANTINED,
        .health_reason = "hang",
        .encodes = 1 << CODEC_H264 | 1 << CODEC_H265,
        .encodes_ten_bit = 1 << CODEC_H265,
        .decodes = 1 << CODEC_VP9,
        .sessions_in_use = 2,
        .session_limit = 3,
        .vram_bytes = 4000,
        .feed = FEED_FASTER,
        .feed_permille = 1125,
        .telemetry = {7, -1, 0, 1500, 61, 70500},
    };
    w->agent.device_count = 1;
    snprintf(w->agent.name, sizeof w->agent.name, "a \\ \"node\"");
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    json_t *value = farm_json(&w->farm, "GET", "/api/v1/devices", NULL, 200);
    json_t *device = json_array_get(json_object_get(value, "devices"), 1);
    assert_string_equal(text_at(device, "driver"), "550.1");
    assert_string_equal(text_at(device, "health_reason"), "hang");
    assert_true(json_is_true(json_object_get(device, "standin")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(device, "ten_bit"), 0)),
                        "h265");
    assert_string_equal(json_string_value(json_array_get(json_object_get(device, "decodes"), 0)),
                        "vp9");
    assert_int_equal(json_integer_value(json_object_get(device, "memory_bytes")), 4000);
    assert_string_equal(text_at(device, "feed"), "faster");
    assert_true(json_real_value(json_object_get(device, "feed_ratio")) == 1.125);
    json_t *telemetry = json_object_get(device, "telemetry");
    assert_int_equal(json_object_size(telemetry), 5);
    assert_null(json_object_get(telemetry, "encoder_percent"));
    assert_true(json_real_value(json_object_get(telemetry, "power_watts")) == 70.5);
    telemetry = json_object_get(json_array_get(json_object_get(value, "devices"), 0), "telemetry");
    assert_int_equal(json_object_size(telemetry), 0);
    json_decref(value);
    assert_int_equal(device_number(w, "temperature_c"), 61);

    struct reply reply;
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    char labels[256], row[400];
    snprintf(labels, sizeof labels,
             "{node=\"a \\\\ \\\"node\\\"\",node_id=\"%s\",device=\"GPU-1\",kind=\"nvenc\"",
             w->agent.uuid);
    static const char *const rows[][2] = {
        {"sluice_device_busy_ratio", "} 0.07"},
        {"sluice_device_decoder_busy_ratio", "} 0"},
        {"sluice_device_memory_used_bytes", "} 1500"},
        {"sluice_device_temperature_celsius", "} 61"},
        {"sluice_device_power_watts", "} 70.5"},
        {"sluice_device_sessions", "} 2"},
        {"sluice_device_health", ",state=\"quarantined\"} 1"},
        {"sluice_device_health", ",state=\"healthy\"} 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(row, sizeof row, "\n%s%s%s\n", rows[i][0], labels, rows[i][1]);
        if (!strstr((const char *)reply.body.data, row))
            fail_msg("no %s", row);
    }
    assert_null(strstr((const char *)reply.body.data, "sluice_device_encoder_busy_ratio{"));
    reply_free(&reply);

    /* A word about the load alone is taken as well. */
    gpu->telemetry.temperature_c = 62;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_int_equal(device_number(w, "temperature_c"), 62);
}

static void test_nodes_devices_and_farm_status(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    json_t *value = farm_json(&w->farm, "GET", "/api/v1/nodes", NULL, 200);
    json_t *node = json_array_get(json_object_get(value, "nodes"), 0);
    assert_string_equal(text_at(node, "node_id"), w->agent.uuid);
    assert_string_equal(text_at(node, "name"), "node-1");
    assert_string_equal(text_at(node, "state"), "ready");
    assert_true(json_is_false(json_object_get(node, "spot")));
    json_t *device = json_array_get(json_object_get(node, "devices"), 0);
    assert_string_equal(text_at(device, "device_id"), "cpu");
    assert_string_equal(text_at(device, "kind"), "cpu");
    assert_string_equal(text_at(device, "health"), "healthy");
    assert_string_equal(json_string_value(json_array_get(json_object_get(device, "encodes"), 0)),
                        "h264");
    json_decref(value);
    value = farm_json(&w->farm, "GET", "/api/v1/devices", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(value, "devices")), 1);
    json_decref(value);
    value = farm_json(&w->farm, "GET", "/api/v1/status", NULL, 200);
    assert_true(json_is_true(json_object_get(value, "leader")));
    assert_int_equal(json_integer_value(json_object_get(value, "nodes")), 1);
    assert_non_null(json_object_get(json_object_get(value, "videos"), "ready"));
    json_decref(value);

    farm_error(&w->farm, "POST", "/api/v1/nodes/node-1/drain", "{\"deadline\":\"soon\"}", 400,
               "invalid", "duration");
    value =
        farm_json(&w->farm, "POST", "/api/v1/nodes/node-1/drain", "{\"deadline\":\"10m\"}", 200);
    assert_string_equal(text_at(value, "state"), "drained");
    json_decref(value);
    value = farm_json(&w->farm, "POST", "/api/v1/nodes/node-1/undrain", "", 200);
    assert_string_equal(text_at(value, "state"), "ready");
    json_decref(value);
    /* Two nodes of one name: the name says too little. */
    struct agent other;
    agent_open(&other, &w->farm, 2);
    strcpy(other.name, "node-1");
    assert_int_equal(agent_sync(&other, false), SL_OK);
    farm_error(&w->farm, "POST", "/api/v1/nodes/node-1/drain", "", 409, "conflict", "node_id");
    agent_close(&other);
}

static void test_dead_letters_are_shown_redriven_and_dropped(void **state)
{
    struct world *w = *state;
    char path[96];
    farm_submit(&w->farm, w->video);
    struct agent_held *probe = agent_wait(&w->agent, STEP_PROBE);
    probe->state = HELD_FAILED;
    sl_fail(&probe->failure, SL_EFORMAT, "no media");
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    json_t *value = farm_json(&w->farm, "GET", "/api/v1/dlq", NULL, 200);
    json_t *task = json_array_get(json_object_get(value, "tasks"), 0);
    assert_string_equal(text_at(task, "video_id"), w->video);
    assert_string_equal(text_at(task, "step"), "probe");
    assert_string_equal(text_at(json_object_get(task, "error"), "code"), "unreadable");
    char id[32];
    snprintf(id, sizeof id, "%s", text_at(task, "task_id"));
    json_decref(value);
    snprintf(path, sizeof path, "/api/v1/dlq/%s", id);
    value = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_string_equal(text_at(value, "task_id"), id);
    json_decref(value);
    snprintf(path, sizeof path, "/api/v1/explain/%s", w->video);
    value = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_string_equal(text_at(value, "state"), "failed");
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(value, "reasons"), 0)),
                           "no media"));
    json_decref(value);
    snprintf(path, sizeof path, "/api/v1/dlq/%s/drop", id);
    value = farm_json(&w->farm, "POST", path, "", 200);
    assert_string_equal(text_at(value, "state"), "cancelled");
    json_decref(value);
    farm_error(&w->farm, "POST", path, "", 409, "conflict", "not dead");
    video_path(w, "/retry", path);
    farm_error(&w->farm, "POST", path, "{\"from\":\"lunch\"}", 400, "invalid", "there are probe");
    farm_error(&w->farm, "POST", path, "{\"from\":\"transcode\"}", 409, "conflict", "transcode");
    json_decref(farm_json(&w->farm, "POST", path, "", 200));
    agent_run(&w->agent, w->video, "ready");
    video_path(w, "/cancel", path);
    farm_error(&w->farm, "POST", path, "", 409, "conflict", "ready");
    snprintf(path, sizeof path, "/api/v1/explain/%s", w->video);
    value = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_string_equal(text_at(value, "state"), "ready");
    json_decref(value);
}

static void test_metrics_are_prometheus_text(void **state)
{
    struct world *w = *state;
    struct reply reply;
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(reply_has_header(&reply, "content-type: text/plain; version=0.0.4"));
    const char *text = (const char *)reply.body.data;
    assert_non_null(strstr(text, "\nsluice_completions_total 16\n"));
    assert_non_null(strstr(text, "\nsluice_queue_wait_seconds_count 16\n"));
    assert_non_null(strstr(text, "sluice_tasks_queued{priority=\"urgent\"} 0\n"));
    assert_non_null(strstr(text, "sluice_encode_devices{kind=\"cpu\"} 1\n"));
    assert_non_null(strstr(text, "sluice_sessions_in_use{kind=\"nvenc\"} 0\n"));
    assert_non_null(strstr(text, "sluice_commit_seconds_bucket{le=\"+Inf\"}"));
    assert_non_null(strstr(text,
                           "sluice_http_requests_total{method=\"POST\",route=\"/api/v1/videos\","
                           "status=\"201\"} 1\n"));
    assert_non_null(strstr(text,
                           "sluice_http_request_seconds_count{method=\"POST\",route=\"/api/v1/"
                           "videos\"} 1\n"));
    reply_free(&reply);
}

/* ---- events ---- */

static int connect_to(const struct farm *farm, uint32_t address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)farm->http_port), .sin_addr = {address}};
    struct timeval patience = {.tv_sec = 6}; /* less than a ping takes */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Reads until the text was seen. */
static void read_until(int fd, char *into, size_t bytes, const char *text)
{
    size_t used = 0;
    into[0] = '\0';
    while (!strstr(into, text)) {
        ssize_t got = recv(fd, into + used, bytes - used - 1, 0);
        if (got <= 0)
            fail_msg("\"%s\" did not come; \"%s\" did", text, into);
        used += (size_t)got;
        into[used] = '\0';
    }
}

static void test_events_follow_what_changes(void **state)
{
    struct world *w = *state;
    char got[8192], wanted[96];
    int fd = connect_to(&w->farm, htonl(INADDR_LOOPBACK));
    const char *ask = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_int_equal(send(fd, ask, strlen(ask), 0), strlen(ask));
    read_until(fd, got, sizeof got, "retry: 2000");
    assert_non_null(strstr(got, "text/event-stream"));
    farm_submit(&w->farm, w->video);
    snprintf(wanted, sizeof wanted, "{\"video_id\":\"%s\",\"status\":\"probing\",", w->video);
    read_until(fd, got, sizeof got, wanted);
    const char *id = strstr(got, "id: ");
    assert_non_null(id);
    unsigned long long first = strtoull(id + 4, NULL, 10);
    close(fd);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    /* Who comes back hears what happened meanwhile. */
    fd = connect_to(&w->farm, htonl(INADDR_LOOPBACK));
    char again[128];
    snprintf(again, sizeof again,
             "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %llu\r\n\r\n",
             first);
    assert_int_equal(send(fd, again, strlen(again), 0), strlen(again));
    read_until(fd, got, sizeof got, "event: node");
    assert_non_null(strstr(got, w->agent.uuid));
    close(fd);
    /* Who was away for too long starts over. */
    fd = connect_to(&w->farm, htonl(INADDR_LOOPBACK));
    snprintf(again, sizeof again,
             "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 5\r\n\r\n");
    assert_int_equal(send(fd, again, strlen(again), 0), strlen(again));
    read_until(fd, got, sizeof got, "event: reset");
    close(fd);
}

/* ---- who may ---- */

static bool own_address(struct in_addr *out)
{
    struct ifaddrs *list = NULL;
    bool found = false;
    if (getifaddrs(&list) != 0)
        return false;
    for (struct ifaddrs *at = list; at && !found; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET)
            continue;
        *out = ((struct sockaddr_in *)at->ifa_addr)->sin_addr;
        found = ntohl(out->s_addr) >> 24 != 127;
    }
    freeifaddrs(list);
    return found;
}

static long status_from(const struct farm *farm, struct in_addr address, const char *lines)
{
    char got[4096];
    int fd = connect_to(farm, address.s_addr);
    assert_int_equal(send(fd, lines, strlen(lines), 0), strlen(lines));
    read_until(fd, got, sizeof got, "\r\n\r\n");
    close(fd);
    return strtol(got + 9, NULL, 10);
}

static void test_other_machines_need_the_secret(void **state)
{
    (void)state;
    struct farm farm;
    struct in_addr address = {0};
    if (!own_address(&address)) {
        print_message("this machine has no address but loopback\n");
        skip();
    }
    farm_open(&farm);
    strcpy(farm.options.config.daemon.http_host, "0.0.0.0");
    farm.options.config.daemon.farm.secret_bytes = 16;
    memcpy(farm.options.config.daemon.farm.secret, "sixteen letters!", 16);
    farm_start(&farm);
    assert_int_equal(
        status_from(&farm, address, "GET /api/v1/videos HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401);
    assert_int_equal(
        status_from(&farm, address, "GET /media/x/y HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401);
    assert_int_equal(
        status_from(&farm, address,
                    "GET /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                    "sixteen letters?\r\n\r\n"),
        401);
    assert_int_equal(
        status_from(&farm, address,
                    "GET /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                    "sixteen letters!\r\n\r\n"),
        200);
    assert_int_equal(
        status_from(&farm, address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    json_decref(farm_json(&farm, "GET", "/api/v1/videos", NULL, 200)); /* this machine */
    farm_close(&farm);
}

static void test_pages_of_other_origins_cannot_steer(void **state)
{
    struct world *w = *state;
    struct reply reply;
    const char *headers[] = {"Origin: http://evil.example", "Content-Type: text/plain", NULL};
    farm_http(&w->farm, "POST", "/api/v1/videos", headers, "{}", 2, &reply);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    char own[64];
    snprintf(own, sizeof own, "Origin: http://127.0.0.1:%d", w->farm.http_port);
    const char *same[] = {own, NULL};
    farm_http(&w->farm, "POST", "/api/v1/videos", same, "{}", 2, &reply);
    assert_int_equal(reply.status, 201);
    reply_free(&reply);
}

static void test_names_that_strangers_point_here_are_refused(void **state)
{
    struct world *w = *state;
    const char *headers[] = {"Host: evil.example:8800", "Origin: http://evil.example:8800", NULL};
    struct reply reply;
    farm_http(&w->farm, "POST", "/api/v1/videos", headers, "{}", 2, &reply);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    farm_http(&w->farm, "GET", "/api/v1/videos", headers, NULL, 0, &reply);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    const char *ours[] = {"Host: [::1]:8800", NULL};
    farm_http(&w->farm, "GET", "/api/v1/videos", ours, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

static void test_connections_are_bounded(void **state)
{
    struct world *w = *state;
    int fds[600];
    size_t count = sizeof fds / sizeof fds[0];
    assert_true((int)count > w->farm.options.config.daemon.api.connections);
    for (size_t i = 0; i < count; i++)
        fds[i] = connect_to(&w->farm, htonl(INADDR_LOOPBACK));
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    /* And served again when they have gone. */
    struct reply reply = {0};
    for (int i = 0; i < 200 && reply.status != 200; i++) {
        reply_free(&reply);
        usleep(20000);
        farm_http(&w->farm, "GET", "/healthz", NULL, NULL, 0, &reply);
    }
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD(test_submit_is_idempotent_by_external_id),
        WORLD(test_submit_refuses_what_it_cannot_take),
        WORLD(test_bodies_are_bounded),
        WORLD(test_hostile_names_stay_texts),
        WORLD(test_unknown_routes_and_methods_are_told),
        WORLD(test_list_pages_and_filters),
        WORLD(test_a_list_looks_at_so_many_rows_and_no_more),
        WORLD(test_status_has_the_shape_of_the_contract),
        WORLD(test_nodes_devices_and_farm_status),
        WORLD(test_what_devices_say_of_themselves_is_told),
        WORLD(test_dead_letters_are_shown_redriven_and_dropped),
        WORLD(test_metrics_are_prometheus_text),
        WORLD(test_events_follow_what_changes),
        cmocka_unit_test(test_other_machines_need_the_secret),
        WORLD(test_pages_of_other_origins_cannot_steer),
        WORLD(test_names_that_strangers_point_here_are_refused),
        WORLD(test_connections_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
