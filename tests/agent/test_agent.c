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
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/time.h"
#include "tests/agent/place.h"
#include "wire/wire_codec.h"
#include "wire/wire_transport.h"

#define GRANTS_MAX 32

/* nng 1.5.2 loses a message that is being sent while its socket closes (nng issue 1713), as happens here when an agent
 * ends. What nng allocated is not counted in this program; tests/wire/test_transport counts everything. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libnng.so\n";
}

/* A daemon that holds a list of grants and answers level-triggered, as the real one. */
struct script {
    struct sync_grant *grant;
    bool stated; /* seen running or ended */
    bool ended;
    bool stale;   /* say so when it is next stated */
    bool settled; /* a verdict was given */
    struct sync_held last;
    int32_t outputs; /* of its report */
};

struct fake_daemon {
    struct wire_server *server;
    int port;
    pthread_mutex_t lock;
    struct test_place place;
    struct script scripts[GRANTS_MAX];
    int count;
    struct sl_failure refuse;
    bool no_verdicts;
    int requests, leaving_requests;
    struct sync_request last; /* its arrays are gone */
    enum device_health last_health;
    int64_t last_mpix;
    struct device_row last_gpu; /* beside the CPUs */
    char last_reason[DEVICE_REASON_BYTES];
    struct device_telemetry last_telemetry;
    struct sync_answer base;
};

static struct script *script_find(struct fake_daemon *d, uint64_t token)
{
    for (int i = 0; i < d->count; i++)
        if (d->scripts[i].grant->token.v == token)
            return &d->scripts[i];
    return NULL;
}

static void held_note(struct fake_daemon *d, const struct sync_held *held,
                      struct sync_answer *answer)
{
    struct script *s = script_find(d, held->token.v);
    struct sync_verdict *verdict = &answer->verdicts[answer->verdict_count];
    verdict->token = held->token;
    if (!s) {
        verdict->kind = VERDICT_STALE;
        answer->verdict_count++;
        return;
    }
    if (s->settled)
        return; /* a request that was overtaken */
    s->stated = true;
    s->last = *held;
    if (held->state != HELD_RUNNING && !s->ended) {
        s->ended = true;
        struct sl_arena arena = {0};
        struct report report;
        if (held->state == HELD_FINISHED &&
            wire_report_decode(held->report, held->report_bytes, &arena, &report, NULL) == SL_OK)
            s->outputs = report.output_count;
        sl_arena_fini(&arena);
    }
    if (s->stale || (s->ended && !d->no_verdicts)) {
        verdict->kind = s->stale ? VERDICT_STALE : VERDICT_ACCEPTED;
        s->settled = true;
        answer->verdict_count++;
    }
}

static void on_request(void *arg, struct wire_pending *pending, const void *bytes, size_t length)
{
    struct fake_daemon *d = arg;
    struct sl_arena arena = {0};
    struct sl_buf out = {0};
    struct sync_request request;
    struct sl_failure why = {0};
    if (wire_request_decode(bytes, length, &arena, &request, &why)) {
        print_error("%s\n", why.message);
        wire_pending_drop(pending);
        sl_arena_fini(&arena);
        return;
    }
    struct sync_grant grants[GRANTS_MAX];
    struct sync_verdict verdicts[SYNC_HELD_MAX];
    pthread_mutex_lock(&d->lock);
    struct sync_answer answer = d->base;
    answer.seq = request.seq;
    answer.grants = grants;
    answer.verdicts = verdicts;
    answer.refused = d->refuse;
    d->requests++;
    d->leaving_requests += request.leaving;
    d->last = request;
    if (request.device_count > 0) {
        d->last_health = request.devices[0].health;
        d->last_mpix = request.devices[0].mpix_per_s[CODEC_H264];
        if (request.device_count > 1)
            d->last_gpu = request.devices[1];
        d->last_telemetry = request.devices[0].telemetry;
        memcpy(d->last_reason, request.devices[0].health_reason, sizeof d->last_reason);
    }
    if (!d->refuse.code) {
        for (int32_t i = 0; i < request.held_count; i++)
            held_note(d, &request.held[i], &answer);
        for (int i = 0; i < d->count; i++)
            if (!d->scripts[i].stated && !request.leaving && request.device_count > 0)
                grants[answer.grant_count++] = *d->scripts[i].grant;
    }
    pthread_mutex_unlock(&d->lock);
    assert_int_equal(wire_answer_encode(&answer, &out), SL_OK);
    wire_server_reply(pending, out.data, out.length);
    sl_buf_fini(&out);
    sl_arena_fini(&arena);
}

static void server_start(struct fake_daemon *d)
{
    char url[64];
    struct sl_failure why = {0};
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", d->port);
    if (wire_server_open(url, NULL, on_request, d, &d->server, &why))
        fail_msg("%s", why.message);
    d->port = wire_server_port(d->server);
}

static struct fake_daemon *daemon_start(void)
{
    struct fake_daemon *d = calloc(1, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    test_place_open(&d->place);
    test_place_put(&d->place, "originals/v1/source", 700000);
    d->base = (struct sync_answer){
        .version = SYNC_VERSION, .wait_ns = SL_MS_TO_NS(100), .lease_timeout_ns = SL_MS_TO_NS(200)};
    memcpy(d->base.store_id, d->place.store_id, sizeof d->base.store_id);
    snprintf(d->base.store_path, sizeof d->base.store_path, "%s", d->place.store_path);
    server_start(d);
    return d;
}

static void daemon_stop(struct fake_daemon *d)
{
    wire_server_close(&d->server);
    for (int i = 0; i < d->count; i++)
        grant_free(d->scripts[i].grant);
    test_place_close(&d->place);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static struct script *lease_add(struct fake_daemon *d, const char *scenario)
{
    static uint64_t token = 100;
    static const char *const inputs[] = {"originals/v1/source"};
    static const int64_t bytes[] = {700000};
    pthread_mutex_lock(&d->lock);
    assert_true(d->count < GRANTS_MAX);
    struct script *s = &d->scripts[d->count];
    *s = (struct script){.grant = grant_make(++token, scenario, inputs, bytes, 1)};
    d->count++;
    pthread_mutex_unlock(&d->lock);
    return s;
}

static struct agent_options options_for(struct fake_daemon *d, char url[64])
{
    struct agent_options options = {.wire_count = 1,
                                    .scratch = d->place.scratch_path,
                                    .worker = fake_worker_path(),
                                    .name = "test node"};
    struct config config;
    config_default(&config);
    options.config = config.agent;
    snprintf(url, 64, "tcp://127.0.0.1:%d", d->port);
    options.wires[0] = url;
    return options;
}

static struct agent *agent_begin(struct fake_daemon *d)
{
    static char url[64];
    struct agent_options options = options_for(d, url);
    struct agent *agent;
    struct sl_failure why = {0};
    if (agent_open(&options, &agent, &why))
        fail_msg("%s", why.message);
    return agent;
}

/* Reads what the daemon's thread writes. */
#define AWAIT(d, condition)                                                                        \
    do {                                                                                           \
        bool reached = false;                                                                      \
        for (int tries = 0; tries < 5000 && !reached; tries++) {                                   \
            pthread_mutex_lock(&(d)->lock);                                                        \
            reached = (condition);                                                                 \
            pthread_mutex_unlock(&(d)->lock);                                                      \
            if (!reached)                                                                          \
                usleep(2000);                                                                      \
        }                                                                                          \
        if (!reached)                                                                              \
            fail_msg("not reached in 10 s: %s", #condition);                                       \
    } while (0)

static void test_leases_are_done_and_reported(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct script *s[6];
    for (int i = 0; i < 6; i++)
        s[i] = lease_add(d, "succeed");
    struct script *crash = lease_add(d, "crash");
    struct agent *agent = agent_begin(d);
    for (int i = 0; i < 6; i++) {
        AWAIT(d, s[i]->settled);
        assert_int_equal(s[i]->last.state, HELD_FINISHED);
        assert_int_equal(s[i]->outputs, 1);
    }
    AWAIT(d, crash->settled);
    assert_int_equal(crash->last.state, HELD_FAILED);
    assert_int_equal(crash->last.failure.code, SL_ECRASH);
    AWAIT(d, d->last.held_count == 0);
    pthread_mutex_lock(&d->lock);
    assert_int_equal(d->last.total.cpu_millicores, 2500);
    assert_int_equal(d->last.total.memory_bytes, (1 << 30) - (1 << 30) / 10);
    assert_int_equal(d->last.device_count, 1);
    assert_string_equal(d->last.node_name, "test node");
    pthread_mutex_unlock(&d->lock);
    assert_int_equal(test_place_count(&d->place, "published/"), 6);
    agent_leave(agent);
    assert_int_equal(agent_wait(agent), AGENT_EXIT_LEFT);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_a_lease_given_to_another_is_stopped_and_its_output_goes(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct script *running = lease_add(d, "slow:100000");
    struct agent *agent = agent_begin(d);
    AWAIT(d, running->stated && running->last.done_units > 0);
    pthread_mutex_lock(&d->lock);
    running->stale = true;
    pthread_mutex_unlock(&d->lock);
    AWAIT(d, running->settled && d->last.held_count == 0);

    /* Finished, and only then told that it came too late. */
    struct script *late = lease_add(d, "succeed");
    pthread_mutex_lock(&d->lock);
    d->no_verdicts = true;
    pthread_mutex_unlock(&d->lock);
    AWAIT(d, late->ended);
    assert_int_equal(test_place_count(&d->place, "published/"), 1);
    pthread_mutex_lock(&d->lock);
    late->stale = true;
    pthread_mutex_unlock(&d->lock);
    AWAIT(d, late->settled && d->last.held_count == 0);
    for (int i = 0; i < 1000 && test_place_count(&d->place, "published/"); i++)
        usleep(5000);
    assert_int_equal(test_place_count(&d->place, "published/"), 0);
    agent_close(&agent);
    daemon_stop(d);
}

/* As the daemon does when a token dies: it wants to be asked again, and has nothing to say yet. */
static void test_an_empty_answer_keeps_no_grant_waiting(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    d->base.wait_ns = SL_S_TO_NS(3);
    struct agent *agent = agent_begin(d);
    AWAIT(d, d->requests > 0 && d->last.device_count > 0);
    struct script *s = lease_add(d, "succeed");
    int64_t start_ns = sl_now_ns();
    AWAIT(d, s->stated);
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(2));
    agent_close(&agent);
    daemon_stop(d);
}

static void test_leaving_hands_running_work_back(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct script *a = lease_add(d, "slow:100000"), *b = lease_add(d, "slow:100000");
    struct agent *agent = agent_begin(d);
    AWAIT(d, a->last.done_units > 0 && b->last.done_units > 0);
    int64_t start_ns = sl_now_ns();
    agent_leave(agent);
    assert_int_equal(agent_wait(agent), AGENT_EXIT_LEFT);
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(3));
    assert_int_equal(a->last.state, HELD_HANDED_BACK);
    assert_int_equal(b->last.state, HELD_HANDED_BACK);
    agent_close(&agent);
    assert_int_equal(test_place_count(&d->place, "published/"), 0);
    daemon_stop(d);
}

static void test_an_idle_agent_says_that_it_leaves(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct agent *agent = agent_begin(d);
    AWAIT(d, d->requests > 1);
    agent_leave(agent);
    assert_int_equal(agent_wait(agent), AGENT_EXIT_LEFT);
    pthread_mutex_lock(&d->lock);
    assert_true(d->leaving_requests > 0);
    pthread_mutex_unlock(&d->lock);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_work_goes_on_while_the_daemon_is_away(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct script *s = lease_add(d, "slow:60"); /* 1.2 s */
    struct agent *agent = agent_begin(d);
    AWAIT(d, s->stated);
    wire_server_close(&d->server);
    sleep(2);
    pthread_mutex_lock(&d->lock);
    assert_false(s->ended);
    pthread_mutex_unlock(&d->lock);
    server_start(d);
    AWAIT(d, s->settled);
    assert_int_equal(s->last.state, HELD_FINISHED);
    assert_int_equal(test_place_count(&d->place, "published/"), 1);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_a_second_live_node_is_refused_after_patience(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    sl_fail(&d->refuse, SL_ECONFLICT, "node x is already connected");
    struct agent *agent = agent_begin(d);
    int64_t start_ns = sl_now_ns();
    assert_int_equal(agent_wait(agent), AGENT_EXIT_REFUSED);
    assert_true(sl_now_ns() - start_ns > SL_S_TO_NS(2));
    assert_true(d->requests > 2);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_a_refusal_that_passes_is_survived(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    sl_fail(&d->refuse, SL_ECONFLICT, "node x is already connected");
    struct agent *agent = agent_begin(d);
    AWAIT(d, d->requests > 2);
    pthread_mutex_lock(&d->lock);
    d->refuse.code = SL_OK;
    pthread_mutex_unlock(&d->lock);
    struct script *s = lease_add(d, "succeed");
    AWAIT(d, s->settled);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_another_version_is_refused_at_once(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    d->base.version = SYNC_VERSION + 1;
    struct agent *agent = agent_begin(d);
    assert_int_equal(agent_wait(agent), AGENT_EXIT_REFUSED);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_a_worker_that_cannot_probe_offers_nothing(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char path[128], url[64];
    snprintf(path, sizeof path, "%s/worker.sh", d->place.folder);
    FILE *f = fopen(path, "w");
    fputs("#!/bin/sh\nkill -SEGV $$\n", f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
    struct script *s = lease_add(d, "succeed");
    struct agent_options options = options_for(d, url);
    options.worker = path;
    struct agent *agent;
    assert_int_equal(agent_open(&options, &agent, NULL), SL_OK);
    AWAIT(d, d->requests > 2);
    pthread_mutex_lock(&d->lock);
    assert_int_equal(d->last.device_count, 0);
    assert_int_equal(d->last.total.cpu_millicores, 0);
    assert_false(s->stated);
    pthread_mutex_unlock(&d->lock);
    agent_close(&agent);
    daemon_stop(d);
}

/* A node whose worker is gone must not go on taking leases to fail them. */
static void test_a_node_whose_workers_do_not_start_offers_nothing_meanwhile(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char url[64], program[160], away[170];
    struct agent_options options = options_for(d, url);
    snprintf(program, sizeof program, "%s/worker-here", d->place.scratch_path);
    snprintf(away, sizeof away, "%s-away", program);
    mkdir(d->place.scratch_path, 0700);
    assert_int_equal(link(fake_worker_path(), program), 0);
    options.worker = program;
    struct agent *agent;
    struct sl_failure why = {0};
    if (agent_open(&options, &agent, &why))
        fail_msg("%s", why.message);
    AWAIT(d, d->last.total.cpu_millicores > 0);
    assert_int_equal(rename(program, away), 0);
    /* Those that wait still serve; then none comes after them. */
    struct script *s[6];
    for (int i = 0; i < 6; i++)
        s[i] = lease_add(d, "succeed");
    AWAIT(d, s[5]->settled && d->last.device_count == 1 && d->last.total.cpu_millicores == 0);
    pthread_mutex_lock(&d->lock);
    assert_int_equal(d->last_health, HEALTH_SUSPECT);
    assert_non_null(strstr(d->last_reason, "worker-here"));
    pthread_mutex_unlock(&d->lock);
    assert_int_equal(rename(away, program), 0);
    AWAIT(d, d->last.total.cpu_millicores > 0);
    struct script *after = lease_add(d, "succeed");
    AWAIT(d, after->settled);
    assert_int_equal(after->last.state, HELD_FINISHED);
    agent_close(&agent);
    daemon_stop(d);
}

/* Idle for long enough, a device of unknown speed is measured; the daemon is told, and the next agent knows. */
static void test_unknown_speeds_are_measured_once_and_kept(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char url[64], speeds[160];
    struct stat before, after;
    struct agent_options options = options_for(d, url);
    options.calibrate_idle_ns = SL_MS_TO_NS(50);
    struct agent *agent;
    assert_int_equal(agent_open(&options, &agent, NULL), SL_OK);
    AWAIT(d, d->last_mpix == 123);
    agent_close(&agent);
    snprintf(speeds, sizeof speeds, "%s/speeds", d->place.scratch_path);
    assert_int_equal(stat(speeds, &before), 0);
    options.config.calibrate = false;
    pthread_mutex_lock(&d->lock);
    d->last_mpix = 0;
    pthread_mutex_unlock(&d->lock);
    assert_int_equal(agent_open(&options, &agent, NULL), SL_OK);
    AWAIT(d, d->last_mpix == 123);
    agent_close(&agent);
    assert_int_equal(stat(speeds, &after), 0);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    daemon_stop(d);
}

/* A GPU that encodes nothing is measured as well, and the daemon is told what it is good for. */
static void test_what_a_gpu_brings_to_cpus_is_measured(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char url[64];
    struct agent_options options = options_for(d, url);
    options.calibrate_idle_ns = SL_MS_TO_NS(50);
    struct agent *agent;
    setenv("SLUICE_STANDIN_FAULTS", "no_engine", 1);
    assert_int_equal(agent_open(&options, &agent, NULL), SL_OK);
    AWAIT(d, d->last_gpu.feed == FEED_FASTER && d->last_gpu.feed_permille == 1120);
    unsetenv("SLUICE_STANDIN_FAULTS");
    agent_close(&agent);
    daemon_stop(d);
}

static void test_telemetry_is_stated_and_outlives_a_crash(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char url[64];
    struct agent_options options = options_for(d, url);
    struct agent *agent;
    setenv("SLUICE_STANDIN_FAULTS", "watch_crash", 1);
    assert_int_equal(agent_open(&options, &agent, NULL), SL_OK);
    AWAIT(d, d->last_telemetry.busy_percent == 42);
    pthread_mutex_lock(&d->lock);
    int64_t first = d->last_telemetry.power_mw;
    pthread_mutex_unlock(&d->lock);
    AWAIT(d, d->last_telemetry.busy_percent == -1 && d->last_telemetry.power_mw == -1);
    AWAIT(d, d->last_telemetry.busy_percent == 42 && d->last_telemetry.power_mw != first);
    unsetenv("SLUICE_STANDIN_FAULTS");
    agent_close(&agent);
    daemon_stop(d);
}

static void test_one_scratch_folder_serves_one_agent(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct agent *agent = agent_begin(d), *second = NULL;
    char url[64], pid[32];
    struct agent_options options = options_for(d, url);
    struct sl_failure why = {0};
    assert_int_equal(agent_open(&options, &second, &why), SL_EBUSY);
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    assert_non_null(strstr(why.message, pid));
    assert_non_null(strstr(why.message, "--scratch"));
    agent_close(&agent);
    daemon_stop(d);
}

static void test_identity_outlives_restarts_and_leftovers_do_not(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    struct agent *agent = agent_begin(d);
    AWAIT(d, d->requests > 0);
    char before[NODE_UUID_BYTES];
    uint64_t session;
    pthread_mutex_lock(&d->lock);
    memcpy(before, d->last.node_uuid, sizeof before);
    session = d->last.session;
    d->requests = 0;
    pthread_mutex_unlock(&d->lock);
    agent_close(&agent);
    char path[160];
    snprintf(path, sizeof path, "%s/leases/1234-5", d->place.scratch_path);
    FILE *f = fopen(path, "w");
    fputs("left", f);
    fclose(f);
    agent = agent_begin(d);
    AWAIT(d, d->requests > 0 && d->last.session != session);
    pthread_mutex_lock(&d->lock);
    assert_string_equal(d->last.node_uuid, before);
    pthread_mutex_unlock(&d->lock);
    assert_int_not_equal(access(path, F_OK), 0);
    agent_close(&agent);
    daemon_stop(d);
}

static void test_a_missing_worker_is_named_at_start(void **state)
{
    (void)state;
    struct fake_daemon *d = daemon_start();
    char url[64];
    struct agent_options options = options_for(d, url);
    struct agent *agent = NULL;
    struct sl_failure why = {0};
    options.worker = "/nowhere/sluice-worker";
    assert_int_equal(agent_open(&options, &agent, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "--worker"));
    daemon_stop(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leases_are_done_and_reported),
        cmocka_unit_test(test_a_lease_given_to_another_is_stopped_and_its_output_goes),
        cmocka_unit_test(test_an_empty_answer_keeps_no_grant_waiting),
        cmocka_unit_test(test_leaving_hands_running_work_back),
        cmocka_unit_test(test_an_idle_agent_says_that_it_leaves),
        cmocka_unit_test(test_work_goes_on_while_the_daemon_is_away),
        cmocka_unit_test(test_a_second_live_node_is_refused_after_patience),
        cmocka_unit_test(test_a_refusal_that_passes_is_survived),
        cmocka_unit_test(test_another_version_is_refused_at_once),
        cmocka_unit_test(test_a_worker_that_cannot_probe_offers_nothing),
        cmocka_unit_test(test_a_node_whose_workers_do_not_start_offers_nothing_meanwhile),
        cmocka_unit_test(test_unknown_speeds_are_measured_once_and_kept),
        cmocka_unit_test(test_what_a_gpu_brings_to_cpus_is_measured),
        cmocka_unit_test(test_telemetry_is_stated_and_outlives_a_crash),
        cmocka_unit_test(test_one_scratch_folder_serves_one_agent),
        cmocka_unit_test(test_identity_outlives_restarts_and_leftovers_do_not),
        cmocka_unit_test(test_a_missing_worker_is_named_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
