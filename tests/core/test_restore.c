/* A core restored from the rows that it asked to persist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

static struct fix_agent a;

static int setup(void **state)
{
    static struct fix f;
    fix_open(&f, 1);
    fix_agent_init(&a, "a", 2);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    return 0;
}

static int64_t running(struct fix *f)
{
    int64_t task = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 2, 0);
    fix_sync(f, &a);
    fix_sync(f, &a);
    fix_restart(f);
    return task;
}

static void test_running_tasks_keep_their_tokens_over_a_restart(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    struct sched_task_row row = fix_task(f, task);
    assert_int_equal(row.state, TASK_RUNNING);
    fix_pass(f, f->config.lease_timeout_ns / 2);
    fix_sync(f, &a);
    fix_pass(f, f->config.lease_timeout_ns / 2 + FIX_S);
    fix_finish(&a, task);
    fix_sync(f, &a);
    assert_int_equal(a.stale, 0);
    assert_int_equal(fix_task(f, task).token.v, row.token.v);
    assert_int_equal(fix_state(f, task), TASK_DONE);
}

static void test_another_session_may_present_a_restored_token(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    a.session = 77;
    a.seq = 0;
    assert_int_equal(fix_sync(f, &a), 0);
    assert_int_equal(a.stale, 0);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_restored_tasks_that_nobody_presents_are_queued_uncharged(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    struct sched_grant_view grant;
    a.held_count = 1;
    fix_sync_send(f, &a);
    assert_int_equal(sched_node_grants(f->s, (struct node_id){a.node}, &grant, 1), 0);
    fix_pass(f, f->config.lease_timeout_ns - 1);
    assert_int_equal(fix_state(f, task + 1), TASK_RUNNING);
    a.total.cpu_millicores = 1000;
    fix_sync_send(f, &a);
    fix_pass(f, 1);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    assert_int_equal(fix_state(f, task + 1), TASK_QUEUED);
    assert_int_equal(fix_task(f, task + 1).losses, 0);
}

static void test_a_finished_report_is_taken_right_after_a_restart(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    fix_finish(&a, task);
    fix_sync(f, &a);
    assert_int_equal(a.accepted, 1);
    assert_int_equal(fix_state(f, task), TASK_DONE);
    /* And said again over one more restart, because the answer was lost. */
    fix_restart(f);
    a.held[a.held_count++] = (struct sched_held){
        .token = fix_task(f, task).token, .task.v = task, .state = HELD_FINISHED};
    fix_sync(f, &a);
    assert_int_equal(a.accepted, 2);
    assert_int_equal(a.stale, 0);
}

static void test_tokens_and_ids_are_never_given_out_twice(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    uint64_t token = fix_task(f, task + 1).token.v;
    int64_t later = fix_tasks(f, fix_video(f, PRIORITY_URGENT), STEP_PROBE, 1, 0);
    assert_true(later > task + 1);
    a.total.cpu_millicores = 3000;
    a.total.memory_bytes = 100 * FIX_GB;
    fix_sync(f, &a);
    assert_true(fix_task(f, later).token.v > token);
}

static void test_backoff_continues_and_a_clock_set_back_does_not_stretch_it(void **state)
{
    struct fix *f = *state;
    int64_t task = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    fix_sync(f, &a);
    fix_fail(&a, task, SL_EIO);
    fix_sync(f, &a);
    fix_pass(f, FIX_S);
    fix_restart(f);
    fix_sync(f, &a);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    fix_pass(f, 2 * FIX_S);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    fix_sync(f, &a);
    fix_fail(&a, task, SL_EIO);
    fix_sync(f, &a);
    f->now_unix_ns -= 1000000 * FIX_S;
    fix_restart(f);
    for (int i = 0; i < 130; i++) {
        fix_sync(f, &a);
        fix_pass(f, 3 * FIX_S);
    }
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_drain_and_its_deadline_outlive_a_restart(void **state)
{
    struct fix *f = *state;
    int64_t task = running(f);
    fix_sync(f, &a);
    assert_int_equal(fix_node_event(f, SCHED_NODE_DRAIN, a.node, 8 * FIX_S), 0);
    fix_pass(f, 3 * FIX_S);
    fix_restart(f);
    fix_sync(f, &a);
    struct sched_node_view view;
    assert_int_equal(sched_node_find(f->s, (struct node_id){a.node}, &view), 0);
    assert_int_equal(view.state, NODE_DRAINING);
    fix_pass(f, 4 * FIX_S);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    fix_pass(f, FIX_S);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
}

static void test_restore_tells_steps_that_the_daemon_may_have_missed(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL);
    fix_tasks(f, video, STEP_PROBE, 1, 0);
    fix_work(f, &a);
    fix_restart(f);
    const struct sched_action *ready = fix_find(f, SCHED_STEP_READY);
    assert_non_null(ready);
    assert_int_equal(ready->video.v, video);
    assert_int_equal(ready->step, STEP_PROBE);
}

static void test_rows_that_contradict_each_other_are_refused(void **state)
{
    struct fix *f = *state;
    struct sched *s;
    assert_int_equal(sched_open(&f->config, 1, &s), 0);
    struct sched_task_row row = {.task.v = 1, .video.v = 5, .state = TASK_RUNNING, .token.v = 1};
    assert_int_equal(sched_restore_task(s, &row, 0, 0), SL_ENOENT);
    struct sched_video_row video = {.video.v = 5};
    assert_int_equal(sched_restore_video(s, &video), 0);
    assert_int_equal(sched_restore_video(s, &video), SL_EEXIST);
    assert_int_equal(sched_restore_task(s, &row, 0, 0), SL_EINVAL);
    row.state = TASK_WAITING;
    assert_int_equal(sched_restore_task(s, &row, 0, 0), SL_EINVAL);
    sched_close(&s);
    sched_close(&s);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_running_tasks_keep_their_tokens_over_a_restart),
        CASE(test_another_session_may_present_a_restored_token),
        CASE(test_restored_tasks_that_nobody_presents_are_queued_uncharged),
        CASE(test_a_finished_report_is_taken_right_after_a_restart),
        CASE(test_tokens_and_ids_are_never_given_out_twice),
        CASE(test_backoff_continues_and_a_clock_set_back_does_not_stretch_it),
        CASE(test_drain_and_its_deadline_outlive_a_restart),
        CASE(test_restore_tells_steps_that_the_daemon_may_have_missed),
        CASE(test_rows_that_contradict_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
