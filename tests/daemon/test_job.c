/* A video's way through the daemon, with a scripted agent on the real wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
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

static void nap_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static const char *text_at(json_t *value, const char *name)
{
    return json_string_value(json_object_get(value, name));
}

struct count {
    int all;
    int with_token;
    uint64_t token;
};

static int key_count(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct count *count = arg;
    count->all++;
    count->with_token += objects_key_token(key) == count->token;
    return 0;
}

static int keys_below(struct farm *farm, const char *fmt, const char *video)
{
    char prefix[96];
    struct count count = {0};
    snprintf(prefix, sizeof prefix, fmt, video);
    objects_list(farm->objects, prefix, key_count, &count, NULL);
    return count.all;
}

static int keys_of_token(struct farm *farm, const char *video, uint64_t token)
{
    char prefix[96];
    struct count count = {.token = token};
    snprintf(prefix, sizeof prefix, "published/%s/", video);
    objects_list(farm->objects, prefix, key_count, &count, NULL);
    return count.with_token;
}

/* Cleaning up comes after the video is ready. */
static void keys_wait(struct farm *farm, const char *fmt, const char *video, int wanted)
{
    for (int i = 0; i < 300 && keys_below(farm, fmt, video) != wanted; i++)
        nap_ms(10);
    assert_int_equal(keys_below(farm, fmt, video), wanted);
}

static void test_video_goes_from_submit_to_ready(void **state)
{
    struct world *w = *state;
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    assert_int_equal(w->agent.transcodes, FARM_CHUNKS);
    assert_int_equal(w->agent.stale, 0);
    assert_int_equal(w->agent.held_count, 0);

    json_t *status = farm_status(&w->farm, w->video);
    json_t *progress = json_object_get(status, "pipeline_progress");
    assert_string_equal(text_at(progress, "probe"), "completed");
    assert_string_equal(text_at(progress, "verify"), "completed");
    assert_string_equal(text_at(progress, "subtitles"), "skipped");
    json_t *transcode = json_object_get(progress, "transcode");
    assert_int_equal(json_integer_value(json_object_get(transcode, "completed")), FARM_CHUNKS);
    assert_int_equal(json_integer_value(json_object_get(transcode, "percent")), 100);
    assert_true(json_real_value(json_object_get(status, "playable_seconds")) == FARM_SECONDS);
    json_t *renditions = json_object_get(status, "renditions");
    assert_int_equal(json_array_size(renditions), 2);
    json_t *top = json_array_get(renditions, 0);
    assert_string_equal(text_at(top, "name"), "360p");
    assert_string_equal(text_at(top, "encoder"), "x264");
    assert_int_equal(json_integer_value(json_object_get(top, "frames")), FARM_SECONDS * FARM_FPS);
    assert_string_equal(json_string_value(json_array_get(json_object_get(top, "devices"), 0)),
                        "cpu");
    const char *hls = text_at(json_object_get(status, "manifests"), "hls");
    assert_non_null(hls);
    struct reply reply;
    farm_http(&w->farm, "GET", strstr(hls, "/media/"), NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(reply_has_header(&reply, "content-type: application/vnd.apple.mpegurl"));
    reply_free(&reply);
    json_decref(status);

    keys_wait(&w->farm, "work/%s/", w->video, 0);
    assert_int_equal(keys_below(&w->farm, "originals/%s/", w->video), 1);
    keys_wait(&w->farm, "published/%s/", w->video, FARM_OBJECTS);
}

static void test_repeated_syncs_change_nothing(void **state)
{
    struct world *w = *state;
    farm_submit(&w->farm, w->video);
    struct agent_held *probe = agent_wait(&w->agent, STEP_PROBE);
    agent_work(&w->agent, probe);
    w->agent.forget = false;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(agent_sync(&w->agent, false), SL_OK);
        bool accepted = false;
        for (int32_t v = 0; v < w->agent.last.verdict_count; v++)
            if (w->agent.last.verdicts[v].token.v == w->agent.held[0].token.v)
                accepted = w->agent.last.verdicts[v].kind == VERDICT_ACCEPTED;
        assert_true(accepted);
    }
    /* All the way with every token stated again and again, and the video gone from the queues. */
    agent_run(&w->agent, w->video, "ready");
    w->agent.stale = 0;
    keys_wait(&w->farm, "published/%s/", w->video, FARM_OBJECTS);
    int before = keys_below(&w->farm, "published/%s/", w->video);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_int_equal(w->agent.last.verdict_count, w->agent.held_count);
    assert_int_equal(w->agent.stale, 0);
    assert_int_equal(keys_below(&w->farm, "published/%s/", w->video), before);
}

static void test_unseen_grants_are_sent_again(void **state)
{
    struct world *w = *state;
    farm_submit(&w->farm, w->video);
    struct agent_held *probe = agent_wait(&w->agent, STEP_PROBE);
    uint64_t token = probe->token.v;
    /* The answer was lost on its way: the agent does not state the token. */
    sl_buf_fini(&probe->job);
    w->agent.held_count = 0;
    assert_int_equal(agent_sync(&w->agent, true), SL_OK);
    assert_int_equal(w->agent.held_count, 1);
    assert_true(w->agent.held[0].token.v == token);
}

static void test_late_completion_after_lapse_is_stale(void **state)
{
    struct world *w = *state;
    struct agent other;
    farm_submit(&w->farm, w->video);
    struct agent_held *held = agent_wait(&w->agent, STEP_TRANSCODE);
    uint64_t token = held->token.v;
    int32_t first = held->piece_start;
    for (int32_t i = 0; i < w->agent.held_count; i++)
        agent_work(&w->agent, &w->agent.held[i]);
    assert_true(keys_of_token(&w->farm, w->video, token) > 0);
    int32_t finished = w->agent.held_count;
    /* Silent for longer than the lease; another node does it all. */
    nap_ms(2000);
    agent_open(&other, &w->farm, 2);
    agent_run(&other, w->video, "ready");
    assert_int_equal(other.transcodes, FARM_CHUNKS);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_int_equal(w->agent.stale, finished);
    assert_int_equal(w->agent.held_count, 0);
    /* What it had stored went with the sweep. */
    assert_int_equal(keys_of_token(&w->farm, w->video, token), 0);
    keys_wait(&w->farm, "published/%s/", w->video, FARM_OBJECTS);
    assert_true(first >= 0);
    agent_close(&other);
}

static void test_output_that_is_not_stored_is_refused(void **state)
{
    struct world *w = *state;
    farm_submit(&w->farm, w->video);
    struct agent_held *held = agent_wait(&w->agent, STEP_TRANSCODE);
    uint64_t token = held->token.v;
    agent_work(&w->agent, held);
    char key[OBJECT_KEY_BYTES];
    objects_token_key(held->output_prefix, "h264/240p/000000.m4s", token, key, sizeof key);
    if (held->piece_start == 0)
        assert_int_equal(objects_delete(w->farm.objects, NULL, key, NULL), SL_OK);
    else
        held->report.length--; /* and a report cut short is refused as well */
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    json_t *status = farm_status(&w->farm, w->video);
    json_t *transcode = json_object_get(json_object_get(status, "pipeline_progress"), "transcode");
    assert_int_equal(json_integer_value(json_object_get(transcode, "completed")), 0);
    json_decref(status);
    agent_run(&w->agent, w->video, "ready");
    assert_int_equal(w->agent.transcodes, FARM_CHUNKS + 1);
    assert_int_equal(keys_of_token(&w->farm, w->video, token), 0);
}

static void test_seam_that_does_not_hold_is_decoded_from_further_back(void **state)
{
    struct world *w = *state;
    w->agent.seam_lie = 5;
    w->agent.seam_cure = 2; /* holds from preroll 2 on: levels 0 and 1 are tried first */
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    /* Two repeats at each seam. */
    assert_int_equal(w->agent.transcodes, FARM_CHUNKS + (FARM_CHUNKS - 1) * 2);
    keys_wait(&w->farm, "published/%s/", w->video, FARM_OBJECTS);
}

static void test_seam_that_never_holds_fails_the_video(void **state)
{
    struct world *w = *state;
    w->agent.seam_lie = 5;
    w->agent.seam_cure = PREROLL_LINEAR + 1;
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "failed");
    json_t *status = farm_status(&w->farm, w->video);
    json_t *error = json_object_get(status, "error");
    assert_string_equal(text_at(error, "code"), "seam_mismatch");
    assert_string_equal(text_at(error, "class"), "device");
    assert_string_equal(text_at(error, "step"), "transcode");
    json_decref(status);
}

static void test_refused_probe_fails_the_video_at_once(void **state)
{
    struct world *w = *state;
    farm_submit(&w->farm, w->video);
    struct agent_held *probe = agent_wait(&w->agent, STEP_PROBE);
    probe->state = HELD_FAILED;
    sl_fail(&probe->failure, SL_EFORMAT, "the file is no \"media\" \xff at all");
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    farm_status_wait(&w->farm, w->video, "failed");
    json_t *status = farm_status(&w->farm, w->video);
    json_t *error = json_object_get(status, "error");
    assert_string_equal(text_at(error, "class"), "input");
    assert_string_equal(text_at(error, "code"), "unreadable");
    assert_string_equal(text_at(error, "step"), "probe");
    assert_string_equal(text_at(error, "message"), "the file is no \"media\" \xef\xbf\xbd at all");
    json_decref(status);
    /* It waits in the dead-letter queue, and a person may try again. */
    json_t *dead = farm_json(&w->farm, "GET", "/api/v1/dlq", NULL, 200);
    json_t *tasks = json_object_get(dead, "tasks");
    assert_int_equal(json_array_size(tasks), 1);
    char path[64];
    snprintf(path, sizeof path, "/api/v1/dlq/%s/redrive",
             text_at(json_array_get(tasks, 0), "task_id"));
    json_decref(dead);
    json_decref(farm_json(&w->farm, "POST", path, NULL, 200));
    agent_run(&w->agent, w->video, "ready");
}

static void test_parked_sync_is_answered_when_there_is_work(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    /* Nothing to do: the answer comes when the renewal is due. */
    int64_t begun_ns = sl_now_ns();
    assert_int_equal(agent_sync(&w->agent, true), SL_OK);
    int64_t waited_ns = sl_now_ns() - begun_ns;
    assert_int_equal(w->agent.last.grant_count, 0);
    assert_true(waited_ns > SL_MS_TO_NS(200) && waited_ns < SL_MS_TO_NS(1500));
    farm_submit(&w->farm, w->video);
    agent_wait(&w->agent, STEP_PROBE);
}

static void test_parked_sync_is_woken_long_before_its_time(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
    farm_open(&farm);
    farm.options.config.daemon.renew_interval_ns = SL_S_TO_NS(8);
    farm.options.config.daemon.lease_timeout_ns = SL_S_TO_NS(20);
    farm_start(&farm);
    agent_open(&agent, &farm, 1);
    assert_int_equal(agent_sync(&agent, false), SL_OK);
    int64_t begun_ns = sl_now_ns();
    farm_submit(&farm, video);
    agent_wait(&agent, STEP_VERIFY);
    assert_true(sl_now_ns() - begun_ns < SL_S_TO_NS(6));
    agent_close(&agent);
    farm_close(&farm);
}

static void test_second_live_node_of_one_identity_is_refused(void **state)
{
    struct world *w = *state;
    struct agent twin;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    agent_open(&twin, &w->farm, 1);
    twin.session++;
    assert_int_equal(agent_sync(&twin, false), SL_ECONFLICT);
    assert_non_null(strstr(twin.last.refused.message, "--scratch"));
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    agent_close(&twin);
}

static void test_garbage_and_other_versions_are_refused(void **state)
{
    struct world *w = *state;
    struct sync_answer answer;
    struct sl_arena arena = {0};
    void *got = NULL;
    size_t length = 0;
    assert_int_equal(wire_client_ask(w->agent.client, 0, "\xff\xff\xff garbage", 11, SL_S_TO_NS(5),
                                     &got, &length, NULL),
                     SL_OK);
    assert_int_equal(wire_answer_decode(got, length, &arena, &answer, NULL), SL_OK);
    assert_int_equal(answer.refused.code, SL_EPROTO);
    free(got);
    sl_arena_fini(&arena);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
}

static void test_tokens_of_finished_videos_count_as_stale(void **state)
{
    struct world *w = *state;
    struct reply reply;
    farm_submit(&w->farm, w->video);
    struct agent_held late = *agent_wait(&w->agent, STEP_PROBE);
    agent_run(&w->agent, w->video, "ready");
    assert_int_equal(w->agent.held_count, 0);
    /* Its video has left the core, and the agent still runs it, as after a long pause. */
    late.state = HELD_RUNNING;
    late.job = late.report = (struct sl_buf){0};
    w->agent.held[0] = late;
    w->agent.held_count = 1;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    assert_non_null(strstr((char *)reply.body.data, "\nsluice_stale_total 1\n"));
    reply_free(&reply);
}

static void test_cancel_makes_tokens_stale_and_retry_goes_on(void **state)
{
    struct world *w = *state;
    char path[64];
    farm_submit(&w->farm, w->video);
    agent_wait(&w->agent, STEP_TRANSCODE);
    snprintf(path, sizeof path, "/api/v1/videos/%s/cancel", w->video);
    json_decref(farm_json(&w->farm, "POST", path, NULL, 200));
    assert_true(farm_status_is(&w->farm, w->video, "cancelled"));
    int32_t held = w->agent.held_count;
    for (int32_t i = 0; i < held; i++)
        w->agent.held[i].state = HELD_RUNNING;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_true(w->agent.stale > 0);
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, NULL, 200));
    agent_run(&w->agent, w->video, "ready");
    farm_error(&w->farm, "POST", path, NULL, 409, "conflict", "--from probe");
}

static void test_delete_removes_objects_and_keeps_the_original(void **state)
{
    struct world *w = *state;
    char path[64];
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    snprintf(path, sizeof path, "/api/v1/videos/%s", w->video);
    json_t *value = farm_json(&w->farm, "DELETE", path, NULL, 200);
    assert_non_null(strstr(text_at(value, "original_kept"), w->video));
    json_decref(value);
    assert_int_equal(keys_below(&w->farm, "published/%s/", w->video), 0);
    assert_int_equal(keys_below(&w->farm, "originals/%s/", w->video), 1);
    farm_error(&w->farm, "DELETE", path, NULL, 404, "not_found", w->video);

    char other[VIDEO_ID_TEXT_BYTES];
    farm_submit(&w->farm, other);
    struct agent_held *held = agent_wait(&w->agent, STEP_TRANSCODE);
    for (int32_t i = 0; i < w->agent.held_count; i++)
        agent_work(&w->agent, &w->agent.held[i]);
    (void)held;
    snprintf(path, sizeof path, "/api/v1/videos/%s?original=1", other);
    value = farm_json(&w->farm, "DELETE", path, NULL, 200);
    assert_true(json_is_null(json_object_get(value, "original_kept")));
    json_decref(value);
    assert_int_equal(keys_below(&w->farm, "originals/%s/", other), 0);
    w->agent.stale = 0;
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_true(w->agent.stale > 0);
}

/* By a node that did not hear of the deletion, and then died; over a restart as well. */
static void test_what_is_stored_after_a_deletion_goes_too(void **state)
{
    struct world *w = *state;
    char path[64], late[OBJECT_KEY_BYTES], mark[OBJECT_KEY_BYTES];
    for (int restart = 0; restart < 2; restart++) {
        farm_stop(&w->farm);
        w->farm.options.late_ns = SL_MS_TO_NS(1500);
        farm_start(&w->farm);
        farm_submit(&w->farm, w->video);
        snprintf(path, sizeof path, "/api/v1/videos/%s", w->video);
        json_decref(farm_json(&w->farm, "DELETE", path, NULL, 200));
        snprintf(late, sizeof late, "published/%s/1/h264/240p/000000.t9.m4s", w->video);
        assert_int_equal(objects_put_bytes(w->farm.objects, NULL, late, "late", 4, false, NULL),
                         SL_OK);
        if (restart) {
            farm_stop(&w->farm);
            farm_start(&w->farm);
        }
        assert_int_equal(keys_below(&w->farm, "published/%s/", w->video), 1);
        int64_t bytes;
        snprintf(mark, sizeof mark, "work/deleted/%s", w->video);
        assert_int_equal(objects_size(w->farm.objects, NULL, mark, &bytes, NULL), SL_OK);
        for (int i = 0; i < 1000; i++) {
            if (objects_size(w->farm.objects, NULL, mark, &bytes, NULL) == SL_ENOENT)
                break;
            nap_ms(10);
        }
        assert_int_equal(objects_size(w->farm.objects, NULL, mark, &bytes, NULL), SL_ENOENT);
        assert_int_equal(keys_below(&w->farm, "published/%s/", w->video), 0);
    }
}

static void test_retry_of_a_ready_video_makes_a_new_version(void **state)
{
    struct world *w = *state;
    char path[64];
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{\"from\":\"probe\"}", 200));
    /* The old one plays until the new one does. */
    agent_wait(&w->agent, STEP_TRANSCODE);
    json_t *status = farm_status(&w->farm, w->video);
    assert_non_null(strstr(text_at(json_object_get(status, "manifests"), "hls"), "/1/master.m3u8"));
    json_decref(status);
    agent_run(&w->agent, w->video, "ready");
    status = farm_status(&w->farm, w->video);
    assert_non_null(strstr(text_at(json_object_get(status, "manifests"), "hls"), "/2/master.m3u8"));
    json_decref(status);
    keys_wait(&w->farm, "published/%s/1/", w->video, 0);
    keys_wait(&w->farm, "published/%s/2/", w->video, FARM_OBJECTS);
}

static void test_drained_node_finishes_and_gets_nothing_new(void **state)
{
    struct world *w = *state;
    char path[80];
    farm_submit(&w->farm, w->video);
    agent_wait(&w->agent, STEP_TRANSCODE);
    json_decref(farm_json(&w->farm, "POST", "/api/v1/nodes/node-1/drain", NULL, 200));
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_int_equal(w->agent.last.node_state, NODE_DRAINING);
    int32_t held = w->agent.held_count;
    for (int32_t i = 0; i < w->agent.held_count; i++)
        agent_work(&w->agent, &w->agent.held[i]);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
    assert_true(held > 0 && w->agent.held_count == 0);
    assert_int_equal(agent_sync(&w->agent, true), SL_OK);
    assert_int_equal(w->agent.last.node_state, NODE_DRAINED);
    assert_int_equal(w->agent.last.grant_count, 0);
    snprintf(path, sizeof path, "/api/v1/nodes/%s/undrain", w->agent.uuid);
    json_decref(farm_json(&w->farm, "POST", path, NULL, 200));
    agent_run(&w->agent, w->video, "ready");
}

/* ---- a store that fails ---- */

static atomic_int fault_code;

static int fault(void *arg)
{
    (void)arg;
    return atomic_load(&fault_code);
}

/* Makes room again after a while. */
static void *room_make(void *arg)
{
    nap_ms(*(long *)arg);
    atomic_store(&fault_code, 0);
    return NULL;
}

static void *submit_run(void *arg)
{
    char video[VIDEO_ID_TEXT_BYTES];
    struct farm farm = *(struct farm *)arg;
    farm_submit(&farm, video);
    return NULL;
}

static void test_failing_commit_holds_replies_and_loses_nothing(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    struct reply reply;
    char video[VIDEO_ID_TEXT_BYTES];
    long full_ms = 2500; /* longer than a lease lives */
    pthread_t thread;
    farm_open(&farm);
    farm.options.commit_fault = fault;
    farm_start(&farm);
    agent_open(&agent, &farm, 1);
    farm_submit(&farm, video);
    agent_wait(&agent, STEP_TRANSCODE);
    for (int32_t i = 0; i < agent.held_count; i++)
        agent_work(&agent, &agent.held[i]);
    int32_t finished = agent.held_count;

    atomic_store(&fault_code, SL_ENOSPC);
    assert_int_equal(pthread_create(&thread, NULL, room_make, &full_ms), 0);
    int64_t begun_ns = sl_now_ns();
    /* The completions are answered when they are on disk, and not before. */
    assert_int_equal(agent_sync(&agent, false), SL_OK);
    assert_true(sl_now_ns() - begun_ns > SL_MS_TO_NS(full_ms - 200));
    assert_int_equal(agent.stale, 0);
    assert_true(agent.transcodes > 0 && agent.transcodes <= finished);
    pthread_join(thread, NULL);
    agent_run(&agent, video, "ready");
    assert_int_equal(agent.transcodes, FARM_CHUNKS);
    assert_int_equal(agent.stale, 0);

    /* While it lasts, health says what to do, and finished videos are there. */
    atomic_store(&fault_code, SL_ENOSPC);
    full_ms = 1000;
    assert_int_equal(pthread_create(&thread, NULL, room_make, &full_ms), 0);
    pthread_t submitter;
    assert_int_equal(pthread_create(&submitter, NULL, submit_run, &farm), 0);
    nap_ms(300);
    farm_error(&farm, "GET", "/healthz", NULL, 503, "disk_full", "free some space");
    snprintf(farm.source, sizeof farm.source, "/media/%s/1/master.m3u8", video);
    farm_http(&farm, "GET", farm.source, NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    pthread_join(thread, NULL);
    pthread_join(submitter, NULL);
    json_decref(farm_json(&farm, "GET", "/healthz", NULL, 200));
    agent_close(&agent);
    farm_close(&farm);
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD(test_video_goes_from_submit_to_ready),
        WORLD(test_repeated_syncs_change_nothing),
        WORLD(test_unseen_grants_are_sent_again),
        WORLD(test_late_completion_after_lapse_is_stale),
        WORLD(test_output_that_is_not_stored_is_refused),
        WORLD(test_seam_that_does_not_hold_is_decoded_from_further_back),
        WORLD(test_seam_that_never_holds_fails_the_video),
        WORLD(test_refused_probe_fails_the_video_at_once),
        WORLD(test_parked_sync_is_answered_when_there_is_work),
        cmocka_unit_test(test_parked_sync_is_woken_long_before_its_time),
        WORLD(test_second_live_node_of_one_identity_is_refused),
        WORLD(test_garbage_and_other_versions_are_refused),
        WORLD(test_tokens_of_finished_videos_count_as_stale),
        WORLD(test_cancel_makes_tokens_stale_and_retry_goes_on),
        WORLD(test_delete_removes_objects_and_keeps_the_original),
        WORLD(test_what_is_stored_after_a_deletion_goes_too),
        WORLD(test_retry_of_a_ready_video_makes_a_new_version),
        WORLD(test_drained_node_finishes_and_gets_nothing_new),
        cmocka_unit_test(test_failing_commit_holds_replies_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
