/* The pages as a fixed list of files, and the routes that feed them: tasks and log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct agent agent;
    char web[96];
};

static void file_put(const char *folder, const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_int_equal(sl_log_keep(), SL_OK);
    farm_open(&w->farm);
    snprintf(w->web, sizeof w->web, "%s/web", w->farm.folder);
    assert_int_equal(mkdir(w->web, 0755), 0);
    file_put(w->web, "index.html", "<!doctype html>list");
    file_put(w->web, "watch.html", "<!doctype html>watch");
    file_put(w->web, "app.js", "export {};");
    file_put(w->web, "secret.txt", "no page");
    file_put(w->web, ".js", "no name");
    file_put(w->farm.folder, "outside.js", "outside");
    char link[128];
    snprintf(link, sizeof link, "%s/pipe.js", w->web);
    assert_int_equal(mkfifo(link, 0644), 0);
    snprintf(w->farm.options.config.daemon.web_dir, sizeof w->farm.options.config.daemon.web_dir,
             "%s", w->web);
    farm_start(&w->farm);
    agent_open(&w->agent, &w->farm, 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    agent_close(&w->agent);
    farm_close(&w->farm);
    free(w);
    return 0;
}

static void page_is(struct world *w, const char *path, long status, const char *type,
                    const char *text)
{
    struct reply reply;
    farm_http(&w->farm, "GET", path, NULL, NULL, 0, &reply);
    if (reply.status != status)
        fail_msg("GET %s: %ld, not %ld", path, reply.status, status);
    if (status == 200) {
        assert_int_equal(reply.body.length, strlen(text));
        assert_memory_equal(reply.body.data, text, strlen(text));
        char line[96];
        snprintf(line, sizeof line, "Content-Type: %s", type);
        assert_true(reply_has_header(&reply, line));
        assert_true(reply_has_header(&reply, "X-Content-Type-Options: nosniff"));
        const char *policy = strstr((const char *)reply.headers.data, "Content-Security-Policy: ");
        assert_non_null(policy);
        assert_non_null(strstr(policy, "default-src 'self'"));
        assert_null(strstr(policy, "unsafe"));
    }
    reply_free(&reply);
}

static void test_pages_are_served_by_their_routes(void **state)
{
    struct world *w = *state;
    page_is(w, "/", 200, "text/html; charset=utf-8", "<!doctype html>list");
    page_is(w, "/watch/v0000000000000", 200, "text/html; charset=utf-8", "<!doctype html>watch");
    page_is(w, "/assets/app.js", 200, "text/javascript; charset=utf-8", "export {};");
    page_is(w, "/videos/v0000000000000", 404, NULL, NULL); /* video.html is not in the folder */
}

static void test_nothing_else_is_served(void **state)
{
    struct world *w = *state;
    static const char *const paths[] = {
        "/assets/secret.txt",
        "/assets/.js",
        "/assets/pipe.js",
        "/assets/../outside.js",
        "/assets/..%2foutside.js",
        "/assets/%2e%2e/outside.js",
        "/assets//app.js",
        "/assets/",
        "/assets/app.js/",
        "/assets/APP.JS",
        "/watch/",
        "/watch/a/b",
        "/index.html",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        page_is(w, paths[i], 404, NULL, NULL);
    /* The list was made at the start: what comes later is not on it. */
    file_put(w->web, "later.js", "later");
    page_is(w, "/assets/later.js", 404, NULL, NULL);
    farm_error(&w->farm, "POST", "/", "{}", 405, "invalid", "GET");
}

static void test_unchanged_pages_are_not_sent_again(void **state)
{
    struct world *w = *state;
    struct reply reply;
    farm_http(&w->farm, "GET", "/", NULL, NULL, 0, &reply);
    const char *at = strstr((const char *)reply.headers.data, "ETag: ");
    assert_non_null(at);
    char header[160];
    snprintf(header, sizeof header, "If-None-Match: %.*s", (int)strcspn(at + 6, "\r\n"), at + 6);
    reply_free(&reply);
    const char *headers[] = {header, NULL};
    farm_http(&w->farm, "GET", "/", headers, NULL, 0, &reply);
    assert_int_equal(reply.status, 304);
    assert_int_equal(reply.body.length, 0);
    reply_free(&reply);
    farm_http(&w->farm, "GET", "/assets/app.js", headers, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

static void test_without_a_folder_the_interface_works(void **state)
{
    struct world *w = *state;
    farm_stop(&w->farm);
    snprintf(w->farm.options.config.daemon.web_dir, sizeof w->farm.options.config.daemon.web_dir,
             "%s/absent", w->farm.folder);
    farm_start(&w->farm);
    farm_error(&w->farm, "GET", "/", NULL, 404, "not_found", "/api/v1/");
    json_decref(farm_json(&w->farm, "GET", "/api/v1/status", NULL, 200));
}

/* ---- tasks and log ---- */

static const char *text_at(const json_t *value, const char *name)
{
    return json_string_value(json_object_get(value, name));
}

/* Every task of a finished video is done, by the agent, with times in their order. */
static void tasks_are_done(struct world *w, const char *video)
{
    char path[96];
    snprintf(path, sizeof path, "/api/v1/videos/%s/tasks", video);
    json_t *answer = farm_json(&w->farm, "GET", path, NULL, 200);
    json_t *tasks = json_object_get(answer, "tasks"), *task;
    assert_true(json_array_size(tasks) >= 4);
    size_t i;
    json_array_foreach(tasks, i, task)
    {
        assert_string_equal(text_at(task, "state"), "done");
        assert_string_equal(text_at(task, "node_id"), w->agent.uuid);
        assert_string_equal(text_at(task, "node"), w->agent.name);
        assert_true(strcmp(text_at(task, "started_at"), text_at(task, "finished_at")) <= 0);
        assert_true(json_is_null(json_object_get(task, "error")));
    }
    json_decref(answer);
}

static void test_tasks_have_nodes_and_times_also_when_finished(void **state)
{
    struct world *w = *state;
    char video[VIDEO_ID_TEXT_BYTES], path[96];
    farm_submit(&w->farm, video);
    assert_non_null(agent_wait(&w->agent, STEP_PROBE));
    snprintf(path, sizeof path, "/api/v1/videos/%s/tasks", video);
    json_t *answer = farm_json(&w->farm, "GET", path, NULL, 200);
    json_t *probe = json_array_get(json_object_get(answer, "tasks"), 0);
    assert_string_equal(text_at(probe, "state"), "running");
    assert_non_null(text_at(probe, "started_at"));
    assert_true(json_is_null(json_object_get(probe, "finished_at")));
    assert_string_equal(text_at(probe, "node"), w->agent.name);
    json_decref(answer);
    agent_run(&w->agent, video, "ready");
    tasks_are_done(w, video);
    /* And from the store alone. */
    farm_stop(&w->farm);
    farm_start(&w->farm);
    tasks_are_done(w, video);
    farm_error(&w->farm, "GET", "/api/v1/videos/v0000000000000/tasks", NULL, 404, "not_found",
               "there is no video");
}

static void test_log_has_the_lines_of_its_video_only(void **state)
{
    struct world *w = *state;
    char video[VIDEO_ID_TEXT_BYTES], other[VIDEO_ID_TEXT_BYTES], path[96];
    farm_submit(&w->farm, video);
    farm_submit(&w->farm, other);
    /* Nobody takes their probes: the daemon has no more to say about them. */
    farm_status_wait(&w->farm, video, "probing");
    farm_status_wait(&w->farm, other, "probing");
    snprintf(path, sizeof path, "/api/v1/videos/%s/log", video);
    struct sl_log_about about = {.video = video, .task = 7};
    sl_warn(&about, "a line\nwith \x1b[2J in it");
    sl_debug(&about, "too small to keep");
    json_t *answer = farm_json(&w->farm, "GET", path, NULL, 200);
    json_t *lines = json_object_get(answer, "lines");
    size_t count = json_array_size(lines);
    assert_non_null(strstr(text_at(json_array_get(lines, 0), "message"), "submitted"));
    json_t *last = json_array_get(lines, count - 1);
    assert_string_equal(text_at(last, "message"), "a line\nwith \x1b[2J in it");
    assert_string_equal(text_at(last, "level"), "warn");
    assert_string_equal(text_at(last, "task_id"), "t7");
    json_decref(answer);
    /* What is kept is bounded: the oldest lines go. */
    struct sl_log_about noise = {.video = other};
    for (int i = 0; i < SL_LOG_KEPT; i++)
        sl_info(&noise, "line %d", i);
    answer = farm_json(&w->farm, "GET", path, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(answer, "lines")), 0);
    json_decref(answer);
    farm_error(&w->farm, "GET", "/api/v1/videos/v0000000000000/log", NULL, 404, "not_found",
               "there is no video");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_pages_are_served_by_their_routes),
        CASE(test_nothing_else_is_served),
        CASE(test_unchanged_pages_are_not_sent_again),
        CASE(test_without_a_folder_the_interface_works),
        CASE(test_tasks_have_nodes_and_times_also_when_finished),
        CASE(test_log_has_the_lines_of_its_video_only),
    };
    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
