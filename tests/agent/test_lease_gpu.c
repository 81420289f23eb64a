/* Leases on GPUs: who gets which device, which worker stays warm for whom, and what the end of a lease says of a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/agent/place.h"
#include "wire/wire_codec.h"

static struct test_place test;
static struct scratch scratch;
static struct lease_place place;
static int changes;
static uint64_t last_token;

static void on_change(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&changes, 1, __ATOMIC_RELAXED);
}

static void on_progress(void *arg, int64_t done, int64_t total)
{
    (void)arg, (void)done, (void)total;
}

static int group_open(void **state)
{
    (void)state;
    struct sl_failure why = {0};
    test_place_open(&test);
    if (scratch_open(test.scratch_path, &scratch, &why) ||
        worker_pool_open(fake_worker_path(), &place.pool) ||
        range_cache_open(scratch.cache_fd, 8 * RANGE_BLOCK_BYTES, &place.cache))
        return -1;
    struct sync_answer answer = {0};
    memcpy(answer.store_id, test.store_id, sizeof answer.store_id);
    snprintf(answer.store_path, sizeof answer.store_path, "%s", test.store_path);
    place.leases_fd = scratch.leases_fd;
    strcpy(place.device_id, "cpu");
    return agent_store_open(&answer, "127.0.0.1", false, &place.store, &why);
}

static int group_close(void **state)
{
    (void)state;
    worker_pool_close(&place.pool);
    range_cache_close(&place.cache);
    agent_store_unref(&place.store);
    scratch_close(&scratch);
    test_place_close(&test);
    return 0;
}

/* ---- devices ---- */

static struct device_row gpu(const char *id, int32_t limit, enum session_scope scope)
{
    struct device_row row = {.kind = DEVICE_NVENC,
                             .encodes = 1u << CODEC_H264,
                             .session_limit = limit,
                             .session_scope = scope};
    snprintf(row.device_id, sizeof row.device_id, "%s", id);
    return row;
}

static void node_with(const struct device_row *rows, int32_t count, int64_t idle_ns)
{
    worker_warm_close(&place.warm);
    device_table_close(&place.devices);
    assert_int_equal(worker_warm_open(fake_worker_path(), idle_ns, &place.warm), SL_OK);
    assert_int_equal(device_table_open(NULL, 0, on_change, NULL, &place.devices), SL_OK);
    device_table_fill(place.devices, rows, count);
    changes = 0;
}

static int test_end(void **state)
{
    (void)state;
    worker_warm_close(&place.warm);
    device_table_close(&place.devices);
    return 0;
}

static struct device_row row_now(int32_t at)
{
    struct device_row rows[NODE_DEVICES_MAX];
    assert_true(at < device_table_rows(place.devices, rows));
    return rows[at];
}

/* ---- leases ---- */

struct outcome {
    struct lease_result result;
    pid_t pid; /* of the worker; 0: it failed */
    int32_t sessions;
    int64_t cpu_limit_s;
    char feed[DEVICE_ID_BYTES];
};

static struct outcome lease_by(const char *encoder, int64_t video, const char *scenario,
                               int32_t rungs)
{
    struct sync_grant *grant = grant_encoder_make(
        __atomic_add_fetch(&last_token, 1, __ATOMIC_RELAXED), video, encoder, scenario, rungs);
    struct outcome o = {0};
    struct lease_run *run = NULL;
    struct sl_failure why = {0};
    struct sl_arena arena = {0};
    struct report report;
    assert_int_equal(lease_run_open(&place, grant, on_progress, NULL, &run, &why), SL_OK);
    lease_run_go(run, &o.result);
    if (o.result.failure.code == SL_OK) {
        assert_int_equal(
            wire_report_decode(o.result.report.data, o.result.report.length, &arena, &report, &why),
            SL_OK);
        o.pid = (pid_t)report.transcode.frame_count;
        memcpy(o.feed, report.feed_device_id, sizeof o.feed);
        o.sessions = report.transcode.sessions;
        o.cpu_limit_s = (int64_t)report.transcode.seam_first;
        assert_string_equal(report.device_id, o.result.device_id);
        assert_true(report.memory_max_bytes > 100000);
    }
    sl_arena_fini(&arena);
    sl_buf_fini(&o.result.report);
    lease_run_close(&run);
    grant_free(grant);
    return o;
}

static struct outcome lease(int64_t video, const char *scenario, int32_t rungs)
{
    return lease_by("nvenc", video, scenario, rungs);
}

static struct outcome lease_well(int64_t video, int32_t rungs)
{
    struct outcome o = lease(video, "well", rungs);
    if (o.result.failure.code)
        fail_msg("%s", o.result.failure.message);
    return o;
}

/* The process has ended, or does so within a second. */
static bool is_gone(pid_t pid)
{
    for (int i = 0; i < 100 && kill(pid, 0) == 0; i++)
        usleep(10000);
    return kill(pid, 0) != 0;
}

static void test_a_worker_serves_one_video_and_no_other(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE)};
    node_with(rows, 1, WARM_IDLE_NS);
    pid_t first = lease_well(1, 2).pid;
    assert_int_equal(lease_well(1, 2).pid, first);
    assert_int_equal(lease_well(1, 2).pid, first);
    pid_t other = lease_well(2, 2).pid;
    assert_int_not_equal(other, first);
    assert_true(is_gone(first)); /* the other took its place */
    assert_int_not_equal(lease_well(1, 2).pid, first);
    assert_int_equal(row_now(0).sessions_in_use, 0);
}

static void test_a_worker_is_replaced_after_so_many_leases_and_after_idling(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE)};
    node_with(rows, 1, SL_MS_TO_NS(1000));
    pid_t first = lease_well(1, 1).pid;
    for (int i = 1; i < WARM_LEASES_MAX; i++)
        assert_int_equal(lease_well(1, 1).pid, first);
    assert_true(is_gone(first));
    pid_t second = lease_well(1, 1).pid;
    assert_int_not_equal(second, first);
    usleep(1100000);
    assert_true(is_gone(second));
}

static void test_limits_hold_anew_for_each_lease(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE)};
    node_with(rows, 1, WARM_IDLE_NS);
    struct outcome first = lease(1, "burn", 1), second = lease_well(1, 1);
    assert_int_equal(second.pid, first.pid);
    /* What the first has spent is not counted again. */
    assert_true(second.cpu_limit_s > first.cpu_limit_s);
}

struct parallel {
    pthread_t thread;
    int64_t video;
    int32_t rungs;
    struct outcome outcome;
};

static void *parallel_run(void *arg)
{
    struct parallel *p = arg;
    p->outcome = lease(p->video, "slow", p->rungs);
    return NULL;
}

static void test_leases_at_once_share_two_devices_within_their_limit(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 3, SCOPE_DEVICE), gpu("g1", 3, SCOPE_DEVICE)};
    node_with(rows, 2, WARM_IDLE_NS);
    struct parallel p[3] = {
        {.video = 1, .rungs = 4}, {.video = 1, .rungs = 2}, {.video = 1, .rungs = 4}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&p[i].thread, NULL, parallel_run, &p[i]), 0);
        usleep(100000);
    }
    assert_int_equal(row_now(0).sessions_in_use, 3);
    assert_int_equal(row_now(1).sessions_in_use, 3);
    struct outcome none = lease(1, "well", 4);
    assert_int_equal(none.result.failure.code, SL_ESESSIONS); /* back to the queue, uncharged */
    assert_int_equal(sl_error_class(none.result.failure.code), SL_CLASS_CAPACITY);
    static const int32_t given[] = {3, 2, 1};
    static const char *const on[] = {"g0", "g1", "g1"};
    for (int i = 0; i < 3; i++) {
        pthread_join(p[i].thread, NULL);
        assert_int_equal(p[i].outcome.result.failure.code, SL_OK);
        assert_int_equal(p[i].outcome.sessions, given[i]);
        assert_string_equal(p[i].outcome.result.device_id, on[i]);
    }
    assert_int_equal(row_now(0).sessions_in_use + row_now(1).sessions_in_use, 0);
}

static void test_a_hang_is_killed_and_named_with_its_device(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE), gpu("g1", 0, SCOPE_NONE)};
    node_with(rows, 2, WARM_IDLE_NS);
    pid_t warm = lease_well(1, 2).pid;
    struct outcome o = lease(1, "hang", 2);
    assert_int_equal(o.result.failure.code, SL_EHANG);
    assert_non_null(strstr(o.result.failure.message, "on device g0; the worker was killed"));
    assert_string_equal(o.result.device_id, "g0");
    assert_true(is_gone(warm));
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
    assert_non_null(strstr(row_now(0).health_reason, "hang"));
    assert_int_equal(changes, 1);
    assert_string_equal(lease_well(1, 2).result.device_id,
                        "g1"); /* a quarantined one takes nothing */
}

static void test_a_lost_device_is_quarantined_and_takes_nothing(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE), gpu("g1", 0, SCOPE_NONE)};
    node_with(rows, 2, WARM_IDLE_NS);
    struct outcome o = lease(1, "lost", 2);
    assert_int_equal(o.result.failure.code, SL_EDEVICELOST);
    assert_string_equal(o.result.failure.message, "device g0: the encoder's device does not exist");
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
    assert_string_equal(lease_well(1, 2).result.device_id, "g1");
    lease(1, "lost", 2);
    o = lease(1, "well", 2);
    assert_int_equal(o.result.failure.code, SL_ESESSIONS);
    assert_non_null(strstr(o.result.failure.message, "quarantined"));
    /* Whoever proves it lets it in again. */
    device_table_note(place.devices, "g0", SL_OK, NULL);
    o = lease_well(1, 2);
    assert_string_equal(o.result.device_id, "g0");
    assert_int_equal(o.sessions, 1);
}

static void test_a_cpu_lease_that_gets_no_claim_ends_as_its_worker_says(void **state)
{
    (void)state;
    struct device_row rows[] = {{.device_id = "cpu0",
                                 .kind = DEVICE_CPU,
                                 .cpus = 4,
                                 .encodes = 1u << CODEC_H264,
                                 .session_limit = 1}};
    struct hal_claim held;
    struct sl_failure why = {0};
    node_with(rows, 1, WARM_IDLE_NS);
    assert_int_equal(device_table_claim(place.devices, CODEC_H264, "x264", 1, NULL, &held, &why),
                     SL_OK);
    strcpy(place.device_id, "succeed"); /* what the CPU's worker is to do */
    struct outcome o = lease_by("x264", 1, "", 1);
    strcpy(place.device_id, "cpu");
    device_table_release(place.devices, &held);
    assert_int_equal(o.result.failure.code, SL_OK);
}

static void test_a_driver_that_does_not_open_is_the_devices_fault(void **state)
{
    (void)state;
    struct device_row crash[] = {gpu("crash", 0, SCOPE_NONE)};
    node_with(crash, 1, WARM_IDLE_NS);
    struct outcome o = lease(1, "well", 2);
    assert_int_equal(o.result.failure.code, SL_EDEVICELOST);
    assert_non_null(strstr(o.result.failure.message,
                           "the driver of device crash crashed when it was opened: worker killed "
                           "by signal 11"));
    assert_false(o.result.no_worker); /* other work goes on */
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
    assert_int_equal(row_now(0).sessions_in_use, 0);
    struct device_row gone[] = {gpu("gone", 0, SCOPE_NONE)};
    node_with(gone, 1, WARM_IDLE_NS);
    o = lease(1, "well", 2);
    assert_int_equal(o.result.failure.code, SL_EDEVICELOST);
    assert_string_equal(o.result.failure.message, "device gone: no context");
}

static void test_refused_sessions_teach_the_limit(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_SYSTEM), gpu("g1", 0, SCOPE_SYSTEM)};
    node_with(rows, 2, WARM_IDLE_NS);
    struct outcome o = lease(1, "few", 4);
    assert_int_equal(o.result.failure.code, SL_OK); /* in passes */
    assert_int_equal(o.sessions, 3);
    assert_int_equal(row_now(0).session_limit, 3);
    assert_int_equal(row_now(1).session_limit, 3);
    assert_int_equal(row_now(0).health, HEALTH_HEALTHY);
    assert_int_equal(lease_well(1, 4).sessions, 3);
    /* None at all, with nothing of ours open, is another program's doing. */
    o = lease(1, "none", 2);
    assert_int_equal(o.result.failure.code, SL_ESESSIONS);
    assert_string_equal(o.result.failure.message, "device g0: no session is free");
    assert_int_equal(row_now(0).session_limit, 3);
    assert_int_equal(row_now(0).health, HEALTH_HEALTHY);
}

static void test_an_idle_worker_that_died_is_replaced(void **state)
{
    (void)state;
    struct device_row rows[] = {gpu("g0", 0, SCOPE_NONE)};
    node_with(rows, 1, WARM_IDLE_NS);
    pid_t first = lease_well(1, 1).pid;
    kill(first, SIGKILL);
    usleep(100000);
    assert_int_not_equal(lease_well(1, 1).pid, first);
}

/* ---- GPUs that encode nothing, beside CPUs that do ---- */

static const struct device_setting feed_always[] = {{.device = "nvenc", .feed = FEED_ALWAYS}};

static void node_fed(const char *gpu_id, bool always)
{
    struct device_row rows[] = {
        gpu(gpu_id, 0, SCOPE_NONE),
        {.device_id = "cpu0", .kind = DEVICE_CPU, .cpus = 4, .encodes = 1u << CODEC_H264}};
    rows[0].encodes = 0;
    rows[0].vram_bytes = INT64_C(8) << 30;
    node_with(rows, 0, WARM_IDLE_NS);
    device_table_close(&place.devices);
    assert_int_equal(device_table_open(feed_always, always, on_change, NULL, &place.devices),
                     SL_OK);
    device_table_fill(place.devices, rows, 2);
    changes = 0;
}

static struct outcome cpu_lease(int64_t video, const char *scenario)
{
    return lease_by("x264", video, scenario, 2);
}

static void measured(double ratio)
{
    struct hal_speed items[2] = {{.feed = HAL_SPEED_ALONE, .total_mpix_per_s = 100},
                                 {.feed = HAL_SPEED_FED, .total_mpix_per_s = 100 * ratio}};
    const struct hal_speeds speeds = {items, 2};
    for (int i = 0; i < 2; i++)
        strcpy(items[i].device_id, "g0");
    device_table_speeds(place.devices, &speeds);
}

static void test_a_gpu_feeds_cpu_leases_by_configuration_or_by_measurement(void **state)
{
    (void)state;
    node_fed("g0", true);
    struct outcome first = cpu_lease(1, "well"), second = cpu_lease(1, "well");
    assert_int_equal(first.result.failure.code, SL_OK);
    assert_string_equal(first.feed, "g0");
    assert_string_equal(first.result.device_id, "cpu0");
    assert_int_equal(second.pid, first.pid); /* one video, one worker */
    assert_int_not_equal(cpu_lease(2, "well").pid, first.pid);
    assert_int_equal(row_now(0).sessions_in_use, 0);
    /* It turns out to encode: the worker that waits is one that feeds, and no encoder's. */
    struct device_row later = gpu("g0", 0, SCOPE_NONE);
    pid_t feeds = cpu_lease(1, "well").pid;
    assert_true(device_table_encoders_take(place.devices, &later, 1));
    assert_int_not_equal(lease_well(1, 2).pid, feeds);
    assert_string_equal(cpu_lease(1, "well").feed, "");

    node_fed("g0", false);
    assert_string_equal(cpu_lease(1, "well").feed, ""); /* nobody knows */
    measured(1.04);
    assert_string_equal(cpu_lease(1, "well").feed, "");
    measured(1.06);
    assert_string_equal(cpu_lease(1, "well").feed, "g0");
}

static void test_a_video_that_no_gpu_feeds_is_left_to_cpus(void **state)
{
    (void)state;
    node_fed("g0", true);
    struct outcome o = cpu_lease(1, "unfed");
    assert_int_equal(o.result.failure.code, SL_OK);
    assert_true(o.pid > 0 && is_gone(o.pid)); /* a context kept for nothing */
    o = cpu_lease(1, "well");
    assert_int_equal(o.result.failure.code, SL_OK);
    assert_string_equal(o.feed, "");
    assert_string_equal(cpu_lease(2, "well").feed, "g0");
}

static void test_a_lost_feeder_is_its_own_fault_and_cpus_go_on_alone(void **state)
{
    (void)state;
    node_fed("g0", true);
    pid_t warm = cpu_lease(1, "well").pid;
    struct outcome o = cpu_lease(1, "lost");
    assert_int_equal(o.result.failure.code, SL_EDEVICELOST);
    assert_string_equal(o.result.failure.message, "device g0: the encoder's device does not exist");
    assert_true(is_gone(warm));
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
    assert_int_equal(row_now(1).health, HEALTH_HEALTHY);
    assert_int_equal(changes, 1);
    o = cpu_lease(1, "well");
    assert_int_equal(o.result.failure.code, SL_OK);
    assert_string_equal(o.feed, "");
    /* Whoever proves it lets it in again. */
    for (int i = 0; i < 4; i++)
        device_table_note(place.devices, "g0", SL_OK, NULL);
    assert_string_equal(cpu_lease(1, "well").feed, "g0");
    o = cpu_lease(1, "hang");
    assert_int_equal(o.result.failure.code, SL_EHANG);
    assert_non_null(strstr(o.result.failure.message, "on device g0; the worker was killed"));
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
}

static void test_a_feeder_that_was_killed_is_no_fault_of_the_gpu(void **state)
{
    (void)state;
    node_fed("g0", true);
    struct outcome o = cpu_lease(1, "killed");
    assert_int_equal(o.result.failure.code, SL_ECRASH);
    assert_null(strstr(o.result.failure.message, "g0"));
    assert_int_equal(row_now(0).health, HEALTH_HEALTHY);
    assert_int_equal(changes, 0);
    /* Memory may be why: the next try has none of a driver in it. */
    assert_string_equal(cpu_lease(1, "well").feed, "");
    assert_string_equal(cpu_lease(2, "well").feed, "g0");
}

static void test_a_feeder_whose_driver_does_not_open_costs_its_lease_nothing(void **state)
{
    (void)state;
    node_fed("crash", true);
    struct outcome o = cpu_lease(1, "well");
    assert_int_equal(o.result.failure.code, SL_OK);
    assert_string_equal(o.feed, "");
    assert_int_equal(row_now(0).health, HEALTH_QUARANTINED);
    assert_non_null(strstr(row_now(0).health_reason, "crashed when it was opened"));
}

int main(void)
{
#define GPU_TEST(name) cmocka_unit_test_teardown(name, test_end)
    const struct CMUnitTest tests[] = {
        GPU_TEST(test_a_worker_serves_one_video_and_no_other),
        GPU_TEST(test_a_worker_is_replaced_after_so_many_leases_and_after_idling),
        GPU_TEST(test_limits_hold_anew_for_each_lease),
        GPU_TEST(test_leases_at_once_share_two_devices_within_their_limit),
        GPU_TEST(test_a_hang_is_killed_and_named_with_its_device),
        GPU_TEST(test_a_lost_device_is_quarantined_and_takes_nothing),
        GPU_TEST(test_a_cpu_lease_that_gets_no_claim_ends_as_its_worker_says),
        GPU_TEST(test_a_driver_that_does_not_open_is_the_devices_fault),
        GPU_TEST(test_refused_sessions_teach_the_limit),
        GPU_TEST(test_an_idle_worker_that_died_is_replaced),
        GPU_TEST(test_a_gpu_feeds_cpu_leases_by_configuration_or_by_measurement),
        GPU_TEST(test_a_video_that_no_gpu_feeds_is_left_to_cpus),
        GPU_TEST(test_a_lost_feeder_is_its_own_fault_and_cpus_go_on_alone),
        GPU_TEST(test_a_feeder_that_was_killed_is_no_fault_of_the_gpu),
        GPU_TEST(test_a_feeder_whose_driver_does_not_open_costs_its_lease_nothing),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
