/* build/sluiced killed and started again, and what it says when it cannot start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/daemon/farm_kit.h"

static void nap_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Syncs until the daemon answers; it may be away. */
static void sync_through(struct agent *agent)
{
    int64_t until_ns = sl_now_ns() + SL_S_TO_NS(20);
    while (agent_sync(agent, false) != SL_OK) {
        if (sl_now_ns() > until_ns)
            fail_msg("the daemon does not come back");
        wire_client_next(agent->client, NULL);
        nap_ms(10);
    }
}

static void held_work(struct agent *agent)
{
    for (int32_t i = 0; i < agent->held_count; i++)
        if (agent->held[i].state == HELD_RUNNING)
            agent_work(agent, &agent->held[i]);
}

static int key_count(void *arg, const char *key, int64_t bytes)
{
    (void)key;
    (void)bytes;
    ++*(int *)arg;
    return 0;
}

static int published_count(struct farm *farm, const char *video)
{
    char prefix[64];
    int count = 0;
    snprintf(prefix, sizeof prefix, "published/%s/", video);
    objects_list(farm->objects, prefix, key_count, &count, NULL);
    return count;
}

/* Two rungs and audio with init, segments and two playlists each, two manifests and four images. What has a stable
 * name may have stayed under its first one too, when the daemon was killed before it removed that. */
static void published_check(struct farm *farm, const char *video)
{
    for (int i = 0; i < 100 && published_count(farm, video) != FARM_OBJECTS; i++)
        nap_ms(10);
    int count = published_count(farm, video);
    assert_true(count >= FARM_OBJECTS && count <= FARM_OBJECTS + 5);
}

static void test_kill_after_every_sync_loses_and_repeats_nothing(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
    int kills = 0, idle = 0;
    farm_open(&farm);
    farm_spawn(&farm);
    agent_open(&agent, &farm, 1);
    /* One lease at a time makes the most phases. */
    agent.total.cpu_millicores = 1000;
    farm_submit(&farm, video);
    while (!farm_status_is(&farm, video, "ready")) {
        assert_true(kills < 200);
        sync_through(&agent);
        /* A grant that was on its way when the daemon died is given again when its lease has lapsed, and
         * each start gives it a whole one. */
        idle = agent.held_count == 0 ? idle + 1 : 0;
        if (idle > 3) {
            nap_ms(100);
            continue;
        }
        farm_kill(&farm);
        kills++;
        held_work(&agent);
        farm_spawn(&farm);
    }
    sync_through(&agent);
    print_message("%d kills\n", kills);
    assert_true(kills > 5);
    assert_int_equal(agent.transcodes, FARM_CHUNKS);
    assert_int_equal(agent.stale, 0);
    published_check(&farm, video);
    agent_close(&agent);
    farm_close(&farm);
}

struct killer {
    struct farm *farm;
    unsigned seed;
    atomic_bool stop;
    atomic_bool stopped;
    atomic_bool leave; /* the daemon dies with the thread that started it */
    int kills;
};

static void *killer_run(void *arg)
{
    struct killer *killer = arg;
    /* Not for ever: a grant whose answer died with the daemon waits for its lease to lapse. */
    while (!atomic_load(&killer->stop) && killer->kills < 15) {
        nap_ms(5 + rand_r(&killer->seed) % 100);
        farm_kill(killer->farm);
        farm_spawn(killer->farm);
        killer->kills++;
    }
    atomic_store(&killer->stopped, true);
    while (!atomic_load(&killer->leave))
        nap_ms(10);
    return NULL;
}

static bool is_ready(struct farm *farm, const char *video)
{
    char path[64];
    struct reply reply;
    snprintf(path, sizeof path, "/api/v1/videos/%s/status", video);
    farm_http(farm, "GET", path, NULL, NULL, 0, &reply);
    bool ready = reply.status == 200 && strstr((char *)reply.body.data, "\"status\":\"ready\"");
    reply_free(&reply);
    return ready;
}

static void test_kills_at_any_moment_end_in_one_published_set(void **state)
{
    (void)state;
    const char *given = getenv("SLUICE_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    for (int round = 0; round < 5; round++) {
        struct farm farm;
        struct agent agent;
        struct killer killer = {.farm = &farm, .seed = seed + (unsigned)round};
        char video[VIDEO_ID_TEXT_BYTES];
        pthread_t thread;
        farm_open(&farm);
        farm_spawn(&farm);
        agent_open(&agent, &farm, 1);
        agent.total.cpu_millicores = 1000;
        agent.patience_ns = SL_MS_TO_NS(200);
        farm_submit(&farm, video);
        assert_int_equal(pthread_create(&thread, NULL, killer_run, &killer), 0);
        int64_t until_ns = sl_now_ns() + SL_S_TO_NS(60);
        while (!is_ready(&farm, video)) {
            if (sl_now_ns() > until_ns)
                fail_msg("not ready after %d kills", killer.kills);
            sync_through(&agent);
            held_work(&agent);
        }
        atomic_store(&killer.stop, true);
        while (!atomic_load(&killer.stopped))
            nap_ms(10);
        sync_through(&agent);
        print_message("%d kills\n", killer.kills);
        assert_int_equal(agent.transcodes, FARM_CHUNKS);
        assert_int_equal(agent.stale, 0);
        published_check(&farm, video);
        agent_close(&agent);
        farm_close(&farm);
        atomic_store(&killer.leave, true);
        pthread_join(thread, NULL);
    }
}

/* More tasks than one batch takes: killed while they are being inserted, and planned on. */
static void test_kill_between_batches_of_tasks_adds_each_once(void **state)
{
    (void)state;
    for (long wait_ms = 0; wait_ms <= 120; wait_ms += 30) {
        struct farm farm;
        struct agent agent;
        char video[VIDEO_ID_TEXT_BYTES];
        int64_t queued = 0;
        farm_open(&farm);
        farm_spawn(&farm);
        agent_open(&agent, &farm, 1);
        agent.seconds = 30000;
        agent.fps = 1;
        agent.total.cpu_millicores = 500; /* the probe, and no encode */
        farm_submit(&farm, video);
        agent_work(&agent, agent_wait(&agent, STEP_PROBE));
        sync_through(&agent);
        nap_ms(wait_ms);
        farm_kill(&farm);
        farm_spawn(&farm);
        for (int i = 0; i < 500 && queued < 5003; i++) {
            json_t *status = farm_json(&farm, "GET", "/api/v1/status", NULL, 200);
            queued = json_integer_value(json_object_get(status, "queued"));
            json_decref(status);
            nap_ms(10);
        }
        assert_int_equal(queued, 5001 + 2); /* and audio and images */
        json_t *status = farm_status(&farm, video);
        json_t *transcode =
            json_object_get(json_object_get(status, "pipeline_progress"), "transcode");
        assert_int_equal(json_integer_value(json_object_get(transcode, "total")), 5001);
        json_decref(status);
        agent_close(&agent);
        farm_close(&farm);
    }
}

static void test_source_that_changes_while_copied_is_refused(void **state)
{
    (void)state;
    struct farm farm;
    char video[VIDEO_ID_TEXT_BYTES];
    farm_open(&farm);
    int fd = open(farm.source, O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && ftruncate(fd, 600 << 20) == 0);
    farm_start(&farm);
    farm_submit(&farm, video);
    nap_ms(60); /* it has begun */
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
    farm_status_wait(&farm, video, "failed");
    json_t *status = farm_status(&farm, video);
    json_t *error = json_object_get(status, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "source_changed");
    assert_string_equal(json_string_value(json_object_get(error, "class")), "input");
    json_decref(status);
    /* Nothing half is left, and a second try takes what is there now. */
    char path[160];
    snprintf(path, sizeof path, "%s/originals/%s/source.part", farm.data, video);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", video);
    json_decref(farm_json(&farm, "POST", path, "", 200));
    farm_status_wait(&farm, video, "probing");
    farm_close(&farm);
}

static void *delete_run(void *arg)
{
    struct farm *farm = ((void **)arg)[0];
    char path[64];
    snprintf(path, sizeof path, "/api/v1/videos/%s", (char *)((void **)arg)[1]);
    json_decref(farm_json(farm, "DELETE", path, NULL, 200));
    return NULL;
}

/* Its id must not be given out for a video that is about to be gone. */
static void test_external_id_of_a_video_being_deleted_waits(void **state)
{
    (void)state;
    struct farm farm;
    char body[256], video[32];
    farm_open(&farm);
    assert_int_equal(truncate(farm.source, 600 << 20), 0); /* copied for long enough */
    farm_start(&farm);
    snprintf(body, sizeof body, "{\"path\":\"%s\",\"provider\":\"p\",\"external_id\":\"7\"}",
             farm.source);
    json_t *reply = farm_json(&farm, "POST", "/api/v1/videos", body, 201);
    snprintf(video, sizeof video, "%s", json_string_value(json_object_get(reply, "video_id")));
    json_decref(reply);
    pthread_t thread;
    void *args[] = {&farm, video};
    assert_int_equal(pthread_create(&thread, NULL, delete_run, args), 0);
    nap_ms(60);
    farm_error(&farm, "POST", "/api/v1/videos", body, 409, "conflict", video);
    pthread_join(thread, NULL);
    reply = farm_json(&farm, "POST", "/api/v1/videos", body, 201);
    assert_string_not_equal(json_string_value(json_object_get(reply, "video_id")), video);
    json_decref(reply);
    farm_close(&farm);
}

static void test_registered_source_is_copied_after_a_kill(void **state)
{
    (void)state;
    struct farm farm;
    farm_open(&farm);
    /* Large enough that the copy is still under way. */
    int fd = open(farm.source, O_WRONLY);
    assert_true(fd >= 0 && ftruncate(fd, 600 << 20) == 0);
    close(fd);
    farm_spawn(&farm);
    char video[VIDEO_ID_TEXT_BYTES];
    farm_submit(&farm, video);
    farm_kill(&farm);
    farm_spawn(&farm);
    farm_status_wait(&farm, video, "probing");
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/originals/%s/source", farm.data, video);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size == 600 << 20);
    farm_close(&farm);
}

static void test_plan_of_another_release_begins_with_the_probe(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES], path[160];
    farm_open(&farm);
    farm_spawn(&farm);
    agent_open(&agent, &farm, 1);
    farm_submit(&farm, video);
    while (!agent_holds(&agent, STEP_TRANSCODE)) {
        held_work(&agent);
        sync_through(&agent);
    }
    held_work(&agent);
    sync_through(&agent);
    farm_kill(&farm);
    snprintf(path, sizeof path, "%s/work/%s/1/plan", farm.data, video);
    FILE *plan = fopen(path, "w");
    assert_non_null(plan);
    fputs("no plan", plan);
    fclose(plan);
    farm_spawn(&farm);
    sync_through(&agent);
    agent_run(&agent, video, "ready");
    assert_true(agent.transcodes > FARM_CHUNKS);
    published_check(&farm, video);
    agent_close(&agent);
    farm_close(&farm);
}

static void test_drain_and_identity_outlive_a_kill(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    farm_open(&farm);
    farm_spawn(&farm);
    agent_open(&agent, &farm, 1);
    sync_through(&agent);
    json_decref(farm_json(&farm, "POST", "/api/v1/nodes/node-1/drain", NULL, 200));
    farm_kill(&farm);
    farm_spawn(&farm);
    json_t *value = farm_json(&farm, "GET", "/api/v1/nodes", NULL, 200);
    json_t *node = json_array_get(json_object_get(value, "nodes"), 0);
    assert_string_equal(json_string_value(json_object_get(node, "node_id")), agent.uuid);
    json_decref(value);
    sync_through(&agent);
    assert_int_equal(agent.last.node_state, NODE_DRAINED);
    agent_close(&agent);
    farm_close(&farm);
}

static void test_stopped_daemon_takes_no_lease_for_its_own_silence(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
    farm_open(&farm);
    farm_spawn(&farm);
    agent_open(&agent, &farm, 1);
    farm_submit(&farm, video);
    agent_wait(&agent, STEP_TRANSCODE);
    sync_through(&agent);
    /* For longer than a lease lives. */
    kill(farm.pid, SIGSTOP);
    nap_ms(7000);
    kill(farm.pid, SIGCONT);
    nap_ms(200);
    held_work(&agent);
    sync_through(&agent);
    assert_int_equal(agent.stale, 0);
    assert_true(agent.transcodes > 0);
    agent_close(&agent);
    farm_close(&farm);
}

static void test_second_daemon_on_the_data_is_refused(void **state)
{
    (void)state;
    struct farm farm;
    char errors[1024];
    farm_open(&farm);
    farm_spawn(&farm);
    const char *args[] = {"--data", farm.data,           "--http", "127.0.0.1:0",
                          "--wire", "tcp://127.0.0.1:0", NULL};
    assert_int_equal(farm_run(args, errors, sizeof errors), 5);
    assert_non_null(strstr(errors, "another"));
    assert_non_null(strstr(errors, farm.data));
    /* The first one is not disturbed. */
    json_decref(farm_json(&farm, "GET", "/healthz", NULL, 200));
    farm_close(&farm);
}

static void test_start_that_fails_says_what_to_do(void **state)
{
    (void)state;
    struct farm farm;
    char errors[2048], http[32], wire[48], config[96], data[96];
    farm_open(&farm);
    farm_spawn(&farm);
    snprintf(data, sizeof data, "%s/other", farm.folder);
    snprintf(http, sizeof http, "127.0.0.1:%d", farm.http_port);
    snprintf(wire, sizeof wire, "tcp://127.0.0.1:%d", farm.wire_port);
    snprintf(config, sizeof config, "%s/bad.yaml", farm.folder);
    FILE *file = fopen(config, "w");
    fputs("daemon:\n  htp: 127.0.0.1:1\n", file);
    fclose(file);
    const struct {
        const char *args[8];
        int code;
        const char *says;
    } cases[] = {
        {{NULL}, 2, "--data DIR is missing"},
        {{"--data", data, "--frobnicate", NULL}, 2, "--help"},
        {{"--data", data, "extra", NULL}, 2, "extra"},
        {{"--data", data, "--http", "here", NULL}, 2, "ADDR:PORT"},
        {{"--data", data, "--config", config, NULL}, 2, "bad.yaml:2:3"},
        {{"--data", data, "--config", "/no/such.yaml", NULL}, 2, "/no/such.yaml"},
        {{"--data", data, "--http", http, NULL}, 5, "taken"},
        {{"--data", data, "--http", "127.0.0.1:0", "--wire", wire, NULL}, 5, "taken"},
        {{"--data", data, "--http", "0.0.0.0:0", NULL}, 5, "farm.secret_file"},
        {{"--data", data, "--http", "127.0.0.1:0", "--wire", "tcp://0.0.0.0:0", NULL}, 5, "secret"},
        {{"--data", data, "--http", "192.0.2.1:0", NULL}, 5, "farm.secret_file"},
        {{"--data", data, "--store", "ftp://somewhere", NULL}, 2, "file:///FOLDER"},
        {{"--data", farm.source, NULL}, 2, "folder"},
        {{"--data", "/proc/no/such", NULL}, 2, "/proc/no/such"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = farm_run(cases[i].args, errors, sizeof errors);
        if (code != cases[i].code || !strstr(errors, cases[i].says))
            fail_msg("case %zu: exit %d, not %d: %s", i, code, cases[i].code, errors);
        assert_true(strncmp(errors, "sluiced: ", 9) == 0 || strstr(errors, "sluiced: "));
    }
    farm_close(&farm);
}

static void test_full_disk_waits_and_goes_on(void **state)
{
    (void)state;
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES], ballast[160];
    farm_open(&farm);
    mkdir(farm.data, 0755);
    if (mount("tmpfs", farm.data, "tmpfs", 0, "size=6m") != 0) {
        farm_close(&farm);
        print_message("a small tmpfs cannot be mounted here\n");
        skip();
    }
    farm_spawn(&farm);
    agent_open(&agent, &farm, 1);
    farm_submit(&farm, video);
    agent_wait(&agent, STEP_TRANSCODE);
    held_work(&agent);
    /* Everything that is left, so that not even the log of the next commit fits. */
    snprintf(ballast, sizeof ballast, "%s/ballast", farm.data);
    int fd = open(ballast, O_WRONLY | O_CREAT, 0644);
    char block[4096] = {0};
    while (write(fd, block, sizeof block) == sizeof block)
        ;
    close(fd);
    /* Submissions need room: refused, with the remedy. */
    char body[160];
    snprintf(body, sizeof body, "{\"path\":\"%s\"}", farm.source);
    farm_error(&farm, "POST", "/api/v1/videos", body, 503, "disk_full", "free some space");
    nap_ms(500);
    assert_int_equal(unlink(ballast), 0);
    agent_run(&agent, video, "ready");
    assert_int_equal(agent.transcodes, FARM_CHUNKS);
    assert_int_equal(agent.stale, 0);
    agent_close(&agent);
    farm_kill(&farm);
    objects_close(&farm.objects);
    umount2(farm.data, MNT_DETACH);
    farm_close(&farm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_after_every_sync_loses_and_repeats_nothing),
        cmocka_unit_test(test_kills_at_any_moment_end_in_one_published_set),
        cmocka_unit_test(test_kill_between_batches_of_tasks_adds_each_once),
        cmocka_unit_test(test_source_that_changes_while_copied_is_refused),
        cmocka_unit_test(test_external_id_of_a_video_being_deleted_waits),
        cmocka_unit_test(test_registered_source_is_copied_after_a_kill),
        cmocka_unit_test(test_plan_of_another_release_begins_with_the_probe),
        cmocka_unit_test(test_drain_and_identity_outlive_a_kill),
        cmocka_unit_test(test_stopped_daemon_takes_no_lease_for_its_own_silence),
        cmocka_unit_test(test_second_daemon_on_the_data_is_refused),
        cmocka_unit_test(test_start_that_fails_says_what_to_do),
        cmocka_unit_test(test_full_disk_waits_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
