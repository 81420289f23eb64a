/* Routes through the daemon: encoders of grants, reports held against them, loss of a kind, restart. The devices are
 * rows that a scripted agent tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct agent gpu;
    struct agent cpu;
    char video[VIDEO_ID_TEXT_BYTES];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    farm_open(&w->farm);
    farm_start(&w->farm);
    agent_open(&w->cpu, &w->farm, 1);
    agent_open(&w->gpu, &w->farm, 2);
    w->gpu.device_count = 1;
    struct device_row *row = &w->gpu.devices[0];
    strcpy(row->device_id, "nvenc0");
    strcpy(row->name, "a GPU of the test");
    row->kind = DEVICE_NVENC;
    row->encodes = 1 << CODEC_H264;
    row->session_limit = 3;
    row->session_scope = SCOPE_DEVICE;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    agent_close(&w->cpu);
    agent_close(&w->gpu);
    farm_close(&w->farm);
    free(w);
    return 0;
}

#define RUNGS                                                                                      \
    "  rungs:\n"                                                                                   \
    "  - {name: 240p, height: 240, crf: 23, maxrate: 400k}\n"                                      \
    "  - {name: 360p, height: 360, crf: 23, maxrate: 800k}\n"

static void submit(struct world *w, const char *route)
{
    char text[1024];
    snprintf(text, sizeof text,
             "name: p\ncodecs:\n- codec: h264\n  preset: fast\n  route: %s\n" RUNGS, route);
    json_t *body = json_pack("{s:s, s:s, s:s}", "path", w->farm.source, "policy_text", text,
                             "provider", "acme");
    char *dump = json_dumps(body, 0);
    json_t *value = farm_json(&w->farm, "POST", "/api/v1/videos", dump, 201);
    snprintf(w->video, sizeof w->video, "%s",
             json_string_value(json_object_get(value, "video_id")));
    json_decref(value);
    json_decref(body);
    free(dump);
}

static void job_of(const struct agent_held *held, struct sl_arena *arena, struct job *job)
{
    assert_int_equal(wire_job_decode(held->job.data, held->job.length, arena, job, NULL), SL_OK);
}

/* Every rendition by that encoder, on that device and no other. */
static void made_by(struct world *w, const char *encoder, const char *device)
{
    json_t *status = farm_status(&w->farm, w->video);
    json_t *renditions = json_object_get(status, "renditions");
    assert_int_equal(json_array_size(renditions), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *rendition = json_array_get(renditions, i);
        json_t *devices = json_object_get(rendition, "devices");
        assert_string_equal(json_string_value(json_object_get(rendition, "encoder")), encoder);
        assert_int_equal(json_array_size(devices), 1);
        assert_string_equal(json_string_value(json_array_get(devices, 0)), device);
    }
    json_decref(status);
}

static bool explained(struct world *w, const char *part)
{
    char path[96];
    bool found = false;
    snprintf(path, sizeof path, "/api/v1/explain/%s", w->video);
    json_t *value = farm_json(&w->farm, "GET", path, NULL, 200);
    json_t *reasons = json_object_get(value, "reasons");
    for (size_t i = 0; i < json_array_size(reasons); i++)
        found = found || strstr(json_string_value(json_array_get(reasons, i)), part);
    if (!found) {
        char *text = json_dumps(value, JSON_INDENT(1));
        print_message("%s\n", text);
        free(text);
    }
    json_decref(value);
    return found;
}

static void test_a_grant_says_encoder_preset_quality_and_sessions(void **state)
{
    struct world *w = *state;
    struct sl_arena arena = {0};
    struct job job;
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    submit(w, "[{encoder: nvenc, preset: p5, crf_offset: 2.5}, x264]");
    struct agent_held *held = agent_wait(&w->gpu, STEP_TRANSCODE);
    job_of(held, &arena, &job);
    assert_int_equal(job.transcode.rung_count, 2);
    assert_int_equal(job.sessions, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(job.transcode.rungs[i].encoder, "nvenc");
        assert_string_equal(job.transcode.rungs[i].preset, "p5");
        assert_int_equal(job.transcode.rungs[i].crf_tenths, 255);
    }
    /* Two of three sessions are in use: the next chunk wants two as well. */
    assert_true(explained(w,
                          "waits for an nvenc session: 2 of 3 in use on 1 device; x264 only when "
                          "that is gone, since chunks are made by nvenc already"));
    char path[96];
    snprintf(path, sizeof path, "/api/v1/videos/%s/tasks", w->video);
    json_t *tasks = farm_json(&w->farm, "GET", path, NULL, 200);
    int on_gpu = 0;
    size_t index;
    json_t *task;
    json_array_foreach(json_object_get(tasks, "tasks"), index, task)
    {
        json_t *kind = json_object_get(task, "kind");
        on_gpu += kind && strcmp(json_string_value(kind), "nvenc") == 0 &&
                  json_integer_value(json_object_get(task, "sessions")) == 2;
    }
    assert_int_equal(on_gpu, 1);
    json_decref(tasks);
    struct reply reply;
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    const char *text = (const char *)reply.body.data;
    assert_non_null(strstr(text, "sluice_sessions_in_use{kind=\"nvenc\"} 2\n"));
    assert_non_null(strstr(text, "sluice_session_limit{kind=\"nvenc\"} 3\n"));
    assert_non_null(strstr(text, "sluice_encodes_running{kind=\"nvenc\"} 1\n"));
    assert_non_null(strstr(text, "sluice_encodes_queued{kind=\"nvenc\"} 10\n"));
    reply_free(&reply);
    sl_arena_fini(&arena);
    agent_run(&w->gpu, w->video, "ready");
    made_by(w, "nvenc", "nvenc0");
}

static void test_a_report_of_another_encoder_is_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    submit(w, "[nvenc, x264]");
    struct agent_held *held = agent_wait(&w->gpu, STEP_TRANSCODE);
    w->gpu.encoder_lie = "x264";
    agent_work(&w->gpu, held);
    w->gpu.encoder_lie = NULL;
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    assert_true(explained(w, "was made by x264 and was granted to nvenc"));
    agent_run(&w->gpu, w->video, "ready");
    made_by(w, "nvenc", "nvenc0");
}

static void test_a_farm_without_gpus_goes_on_to_the_cpu(void **state)
{
    struct world *w = *state;
    submit(w, "[nvenc, {encoder: x264, preset: ultrafast}]");
    agent_run(&w->cpu, w->video, "ready");
    made_by(w, "x264", "cpu");
}

/* A GPU makes some chunks and is gone for good, between two lives of the daemon. */
static void test_a_lost_gpu_leaves_nothing_in_the_published_set(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    submit(w, "[nvenc, x264]");
    for (int done = 0; done < 3; done++) {
        agent_work(&w->gpu, agent_wait(&w->gpu, STEP_TRANSCODE));
        assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    }
    assert_int_equal(w->gpu.transcodes, 3);
    assert_int_equal(agent_sync(&w->cpu, false), SL_OK);
    farm_stop(&w->farm);
    farm_start(&w->farm);
    agent_run(&w->cpu, w->video, "ready");
    made_by(w, "x264", "cpu");
    assert_int_equal(w->cpu.transcodes, FARM_CHUNKS);
}

static void test_a_restart_goes_on_with_the_same_encoder(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    submit(w, "[nvenc, x264]");
    agent_work(&w->gpu, agent_wait(&w->gpu, STEP_TRANSCODE));
    assert_int_equal(agent_sync(&w->gpu, false), SL_OK);
    agent_wait(&w->gpu, STEP_TRANSCODE); /* one that runs while the daemon is away */
    farm_stop(&w->farm);
    farm_start(&w->farm);
    agent_run(&w->gpu, w->video, "ready");
    made_by(w, "nvenc", "nvenc0");
    assert_int_equal(w->gpu.transcodes, FARM_CHUNKS);
    assert_int_equal(w->gpu.stale, 0);
}

static void test_conditions_choose_by_size_and_provider(void **state)
{
    struct world *w = *state;
    submit(w, "[{encoder: nvenc, when: {min_height: 361}}, "
              "{encoder: x264, when: {provider: other}}, "
              "{encoder: x264, preset: slow, when: {provider: acme, max_height: 360}}]");
    struct sl_arena arena = {0};
    struct job job;
    job_of(agent_wait(&w->cpu, STEP_TRANSCODE), &arena, &job);
    assert_string_equal(job.transcode.rungs[0].encoder, "x264");
    assert_string_equal(job.transcode.rungs[0].preset, "slow");
    assert_int_equal(job.sessions, 0);
    sl_arena_fini(&arena);
}

static void test_a_route_with_no_entry_left_fails_with_its_reason(void **state)
{
    struct world *w = *state;
    submit(w, "[{encoder: nvenc, when: {min_height: 2160}}, {encoder: x264, when: {depth: 10}}]");
    agent_run(&w->cpu, w->video, "failed");
    json_t *status = farm_status(&w->farm, w->video);
    json_t *error = json_object_get(status, "error");
    assert_string_equal(json_string_value(json_object_get(error, "step")), "plan");
    assert_string_equal(json_string_value(json_object_get(error, "message")),
                        "no condition of h264's route (nvenc, x264) holds for this video: 640x360, "
                        "8 bits, provider \"acme\", priority normal; add an encoder without a "
                        "condition");
    json_decref(status);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_a_grant_says_encoder_preset_quality_and_sessions),
        WORLD(test_a_report_of_another_encoder_is_refused),
        WORLD(test_a_farm_without_gpus_goes_on_to_the_cpu),
        WORLD(test_a_lost_gpu_leaves_nothing_in_the_published_set),
        WORLD(test_a_restart_goes_on_with_the_same_encoder),
        WORLD(test_conditions_choose_by_size_and_provider),
        WORLD(test_a_route_with_no_entry_left_fails_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
