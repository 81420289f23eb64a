#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/agent/place.h"
#include "wire/wire_codec.h"

static struct test_place test;
static struct scratch scratch;
static struct lease_place place;
static int64_t progress_max;

static int group_open(void **state)
{
    (void)state;
    struct sl_failure why = {0};
    test_place_open(&test);
    test_place_put(&test, "originals/v1/source", 700000);
    test_place_put(&test, "work/v1/other", 5);
    if (scratch_open(test.scratch_path, &scratch, &why) ||
        worker_pool_open(fake_worker_path(), &place.pool) ||
        range_cache_open(scratch.cache_fd, 8 * RANGE_BLOCK_BYTES, &place.cache))
        return -1;
    struct sync_answer answer = {0};
    memcpy(answer.store_id, test.store_id, sizeof answer.store_id);
    snprintf(answer.store_path, sizeof answer.store_path, "%s", test.store_path);
    place.leases_fd = scratch.leases_fd;
    strcpy(place.device_id, "cpu");
    int code = agent_store_open(&answer, "127.0.0.1", false, &place.store, &why);
    if (code)
        print_error("%s\n", why.message);
    return code;
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

static void on_progress(void *arg, int64_t done, int64_t total)
{
    (void)arg;
    (void)total;
    progress_max = done > progress_max ? done : progress_max;
}

static const char *const inputs[] = {"originals/v1/source", "work/v1/other"};
static const int64_t input_bytes[] = {700000, 5};

static uint64_t last_token;

struct outcome {
    struct sync_grant *grant;
    struct lease_run *run;
    struct lease_result result;
};

static void lease_begin(struct outcome *o, const char *scenario)
{
    struct sl_failure why = {0};
    memset(o, 0, sizeof *o);
    o->grant = grant_make(++last_token, scenario, inputs, input_bytes, 2);
    assert_int_equal(lease_run_open(&place, o->grant, on_progress, NULL, &o->run, &why), SL_OK);
}

static void lease_end(struct outcome *o)
{
    lease_run_close(&o->run);
    sl_buf_fini(&o->result.report);
    grant_free(o->grant);
}

static void lease_perform(struct outcome *o, const char *scenario)
{
    lease_begin(o, scenario);
    lease_run_go(o->run, &o->result);
}

static void fails(const char *scenario, int code, const char *word)
{
    struct outcome o;
    lease_perform(&o, scenario);
    if (o.result.failure.code != code)
        fail_msg("%s: %s (%s), not %s", scenario, sl_error_word(o.result.failure.code),
                 o.result.failure.message, sl_error_word(code));
    if (!strstr(o.result.failure.message, word))
        fail_msg("%s: \"%s\" does not say \"%s\"", scenario, o.result.failure.message, word);
    assert_int_equal(o.result.report.length, 0);
    lease_end(&o);
    assert_int_equal(test_place_count(&test, "published/"), 0);
}

static struct report *report_of(struct outcome *o, struct sl_arena *arena)
{
    struct report *report = sl_arena_alloc(arena, sizeof *report);
    struct sl_failure why = {0};
    if (o->result.failure.code)
        fail_msg("%s", o->result.failure.message);
    if (wire_report_decode(o->result.report.data, o->result.report.length, arena, report, &why))
        fail_msg("%s", why.message);
    return report;
}

static void test_a_lease_ends_with_a_report_of_stored_outputs(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
    progress_max = 0;
    lease_perform(&o, "burn:50");
    struct report *report = report_of(&o, &arena);
    assert_int_equal(report->output_count, 2);
    char key[OBJECT_KEY_BYTES], expected[JOB_NAME_BYTES];
    snprintf(expected, sizeof expected, "h264/240p/000000.t%llu.m4s",
             (unsigned long long)last_token);
    assert_string_equal(report->outputs[0].key, expected);
    assert_string_equal(o.result.device_id, "cpu");
    assert_true(report->cpu_ns > 0);
    assert_true(report->wall_ns > 0);
    assert_true(report->memory_max_bytes > 100000);
    assert_int_equal(progress_max, 2);
    /* What was stored is what was read. */
    snprintf(key, sizeof key, "published/v1/1/%s", expected);
    static unsigned char source[700000], copy[700000];
    size_t n = 0;
    assert_int_equal(
        objects_get_range(test.objects, NULL, inputs[0], 0, source, sizeof source, &n, NULL),
        SL_OK);
    assert_int_equal(objects_get_range(test.objects, NULL, key, 0, copy, sizeof copy, &n, NULL),
                     SL_OK);
    assert_int_equal(n, sizeof copy);
    assert_memory_equal(source, copy, sizeof copy);
    /* A verdict may still take it back. */
    assert_int_equal(test_place_count(&test, "published/"), 2);
    lease_run_delete_outputs(o.run);
    assert_int_equal(test_place_count(&test, "published/"), 0);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_many_outputs_pass_through_few_open_files(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
    lease_perform(&o, "many:200");
    assert_int_equal(report_of(&o, &arena)->output_count, 200);
    assert_int_equal(test_place_count(&test, "published/"), 200);
    lease_run_delete_outputs(o.run);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_an_output_that_the_report_leaves_out_is_deleted(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
    lease_perform(&o, "extra");
    assert_int_equal(report_of(&o, &arena)->output_count, 2);
    assert_int_equal(test_place_count(&test, "published/"), 2);
    lease_run_delete_outputs(o.run);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_a_crash_names_the_signal_and_leaves_nothing(void **state)
{
    (void)state;
    fails("crash", SL_ECRASH, "signal 11 (SIGSEGV)");
}

static void test_a_worker_stopped_by_its_sandbox_is_told_from_a_crash(void **state)
{
    (void)state;
    fails("sandbox", SL_ECRASH, "killed by the sandbox");
}

static void test_a_file_that_was_handed_over_is_out_of_its_workers_reach(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
    lease_perform(&o, "rewrite");
    struct report *report = report_of(&o, &arena);
    char key[OBJECT_KEY_BYTES], bytes[8] = "";
    snprintf(key, sizeof key, "published/v1/1/%s", report->outputs[0].key);
    size_t n = 0;
    assert_int_equal(objects_get_range(test.objects, NULL, key, 0, bytes, 8, &n, NULL), SL_OK);
    assert_int_equal(n, 4);
    assert_string_equal(bytes, "good");
    lease_run_delete_outputs(o.run);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_the_limits_of_a_job_are_put_on_its_worker(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("memory is not limited in builds with a sanitizer\n");
    skip();
#endif
    limits_default(&grant_limits);
    grant_limits.probe_memory = INT64_C(300) << 20;
    grant_limits.output_file = INT64_C(5) << 20;
    grant_limits.descriptors = 100;
    grant_limits.probe_time = SL_S_TO_NS(1);
    lease_perform(&o, "limits");
    report_of(&o, &arena);
    lease_end(&o);
    lease_begin(&o, "spin");
    o.grant->watchdog_ns = SL_S_TO_NS(60);
    lease_run_go(o.run, &o.result);
    memset(&grant_limits, 0, sizeof grant_limits);
    assert_int_equal(o.result.failure.code, SL_ETOOBIG);
    assert_non_null(strstr(o.result.failure.message, "limits.probe_time"));
    lease_end(&o);
    sl_arena_fini(&arena);
}

static void test_an_end_without_a_report_is_a_failure(void **state)
{
    (void)state;
    fails("exit", SL_EWORKER, "status 7");
}

static void test_repeating_the_same_progress_is_a_hang(void **state)
{
    (void)state;
    int64_t start_ns = sl_now_ns();
    fails("hang", SL_EHANG, "no progress for 1.0 s");
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(8));
}

static void test_growing_progress_keeps_the_watchdog_quiet(void **state)
{
    (void)state;
    struct outcome o;
    struct sl_arena arena = {0};
    lease_perform(&o, "slow:75"); /* 1.5 s under a watchdog of 1 s */
    report_of(&o, &arena);
    lease_run_delete_outputs(o.run);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_lies_about_outputs_are_found(void **state)
{
    (void)state;
    fails("lie_bytes", SL_EMISMATCH, "has 5 bytes; its file has 4");
    fails("lie_report", SL_EMISMATCH, "000001.m4s, which was never written");
    struct outcome o;
    lease_perform(&o, "lie_hash");
    assert_int_not_equal(o.result.failure.code, SL_OK);
    lease_end(&o);
    assert_int_equal(test_place_count(&test, "published/"), 0);
}

static void test_names_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    fails("escape", SL_EPROTO, "../../secret");
}

static void test_garbage_from_a_worker_ends_its_lease_only(void **state)
{
    (void)state;
    fails("garbage", SL_EWORKER, "unreadable");
}

static void test_a_failure_is_passed_on_in_the_workers_words(void **state)
{
    (void)state;
    fails("fail", SL_EDECODE, "no picture at 12.5 s");
}

static void test_a_source_that_changed_or_vanished_is_explained(void **state)
{
    (void)state;
    struct outcome o;
    lease_begin(&o, "succeed");
    o.grant->inputs[0].bytes++;
    lease_run_go(o.run, &o.result);
    assert_int_equal(o.result.failure.code, SL_ECHANGED);
    assert_non_null(strstr(o.result.failure.message, "originals/v1/source"));
    lease_end(&o);
    lease_begin(&o, "succeed");
    strcpy(o.grant->inputs[1].key, "work/v1/none");
    lease_run_go(o.run, &o.result);
    assert_int_equal(o.result.failure.code, SL_EIO); /* not final: another node may see it */
    assert_non_null(strstr(o.result.failure.message, "work/v1/none"));
    lease_end(&o);
}

static void test_inputs_beyond_the_descriptors_come_over_the_range_socket(void **state)
{
    (void)state;
    enum { MANY = LEASE_INPUT_FDS_MAX + 10 };
    const char *names[MANY];
    int64_t bytes[MANY];
    for (int i = 0; i < MANY; i++) {
        names[i] = inputs[i % 2];
        bytes[i] = input_bytes[i % 2];
    }
    struct outcome o = {0};
    struct sl_arena arena = {0};
    o.grant = grant_make(++last_token, "succeed", names, bytes, MANY);
    assert_int_equal(lease_run_open(&place, o.grant, on_progress, NULL, &o.run, NULL), SL_OK);
    lease_run_go(o.run, &o.result);
    struct report *report = report_of(&o, &arena);
    assert_int_equal(report->output_count, MANY);
    /* Equal inputs, equal hashes, whichever way they came. */
    assert_memory_equal(report->outputs[0].sha256, report->outputs[MANY - 2].sha256, SHA256_BYTES);
    lease_run_delete_outputs(o.run);
    sl_arena_fini(&arena);
    lease_end(&o);
}

static void test_an_input_missing_behind_the_range_socket_is_not_final(void **state)
{
    (void)state;
    enum { MANY = LEASE_INPUT_FDS_MAX + 1 };
    const char *names[MANY];
    int64_t bytes[MANY];
    for (int i = 0; i < MANY; i++) {
        names[i] = inputs[0];
        bytes[i] = input_bytes[0];
    }
    struct outcome o = {0};
    o.grant = grant_make(++last_token, "succeed", names, bytes, MANY);
    strcpy(o.grant->inputs[MANY - 1].key, "work/v1/none");
    assert_int_equal(lease_run_open(&place, o.grant, on_progress, NULL, &o.run, NULL), SL_OK);
    lease_run_go(o.run, &o.result);
    assert_int_equal(o.result.failure.code, SL_EIO);
    lease_run_delete_outputs(o.run);
    lease_end(&o);
}

static void *stop_soon(void *arg)
{
    usleep(300000);
    lease_run_stop(arg);
    return NULL;
}

static void test_a_stopped_lease_ends_soon_and_leaves_nothing(void **state)
{
    (void)state;
    struct outcome o;
    pthread_t thread;
    lease_begin(&o, "slow:100000");
    int64_t start_ns = sl_now_ns();
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, o.run), 0);
    lease_run_go(o.run, &o.result);
    pthread_join(thread, NULL);
    assert_true(o.result.stopped);
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(3));
    lease_end(&o);
    assert_int_equal(test_place_count(&test, "published/"), 0);
}

static void test_a_worker_waits_before_there_is_work(void **state)
{
    (void)state;
    worker_pool_slots_set(place.pool, 2);
    usleep(200000);
    struct outcome o;
    struct sl_arena arena = {0};
    for (int i = 0; i < 5; i++) {
        lease_perform(&o, "succeed");
        report_of(&o, &arena);
        lease_run_delete_outputs(o.run);
        lease_end(&o);
    }
    worker_pool_slots_set(place.pool, 0);
    sl_arena_fini(&arena);
}

static void test_a_worker_that_cannot_start_is_named(void **state)
{
    (void)state;
    struct worker_pool *good = place.pool;
    assert_int_equal(worker_pool_open("/nowhere/sluice-worker", &place.pool), SL_OK);
    struct outcome o;
    lease_perform(&o, "succeed");
    assert_int_equal(o.result.failure.code, SL_EWORKER); /* charged to the node, tried elsewhere */
    assert_non_null(strstr(o.result.failure.message, "/nowhere/sluice-worker"));
    lease_end(&o);
    worker_pool_close(&place.pool);
    place.pool = good;
}

static void test_only_a_worker_can_end_a_task_for_all_nodes(void **state)
{
    (void)state;
    fails("refuse", SL_ENOENCODER, "no such encoder");
    assert_int_equal(sl_error_class(SL_ENOENCODER), SL_CLASS_CONFIG);
}

static void test_a_worker_that_holds_its_outputs_open_is_ended(void **state)
{
    (void)state;
    int64_t start_ns = sl_now_ns();
    fails("hold:65", SL_EWORKER, "holds 64 outputs open, the oldest of them h264/240p/000000.m4s");
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(3));
}

static void *close_later(void *arg)
{
    usleep(3000000);
    close(*(int *)arg);
    return NULL;
}

static void test_a_store_that_never_answers_does_not_hold_a_lease(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t length = sizeof address;
    int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(mute, 16), 0);
    assert_int_equal(getsockname(mute, (struct sockaddr *)&address, &length), 0);
    struct agent_store *good = place.store;
    struct sync_answer answer = {.http_port = ntohs(address.sin_port)};
    assert_int_equal(agent_store_open(&answer, "127.0.0.1", true, &place.store, NULL), SL_OK);
    pthread_t thread;
    struct outcome o;
    lease_begin(&o, "many:100");
    assert_int_equal(pthread_create(&thread, NULL, close_later, &mute), 0);
    lease_run_go(o.run, &o.result);
    pthread_join(thread, NULL);
    assert_int_equal(o.result.failure.code, SL_EHANG);
    assert_non_null(strstr(o.result.failure.message, "storing an output took longer than 1.0 s"));
    lease_end(&o);
    agent_store_unref(&place.store);
    place.store = good;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_ends_with_a_report_of_stored_outputs),
        cmocka_unit_test(test_many_outputs_pass_through_few_open_files),
        cmocka_unit_test(test_an_output_that_the_report_leaves_out_is_deleted),
        cmocka_unit_test(test_a_crash_names_the_signal_and_leaves_nothing),
        cmocka_unit_test(test_an_end_without_a_report_is_a_failure),
        cmocka_unit_test(test_a_worker_stopped_by_its_sandbox_is_told_from_a_crash),
        cmocka_unit_test(test_a_file_that_was_handed_over_is_out_of_its_workers_reach),
        cmocka_unit_test(test_the_limits_of_a_job_are_put_on_its_worker),
        cmocka_unit_test(test_repeating_the_same_progress_is_a_hang),
        cmocka_unit_test(test_growing_progress_keeps_the_watchdog_quiet),
        cmocka_unit_test(test_lies_about_outputs_are_found),
        cmocka_unit_test(test_names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(test_garbage_from_a_worker_ends_its_lease_only),
        cmocka_unit_test(test_a_failure_is_passed_on_in_the_workers_words),
        cmocka_unit_test(test_a_source_that_changed_or_vanished_is_explained),
        cmocka_unit_test(test_inputs_beyond_the_descriptors_come_over_the_range_socket),
        cmocka_unit_test(test_an_input_missing_behind_the_range_socket_is_not_final),
        cmocka_unit_test(test_a_stopped_lease_ends_soon_and_leaves_nothing),
        cmocka_unit_test(test_a_worker_waits_before_there_is_work),
        cmocka_unit_test(test_a_worker_that_cannot_start_is_named),
        cmocka_unit_test(test_only_a_worker_can_end_a_task_for_all_nodes),
        cmocka_unit_test(test_a_worker_that_holds_its_outputs_open_is_ended),
        cmocka_unit_test(test_a_store_that_never_answers_does_not_hold_a_lease),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
