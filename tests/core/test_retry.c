/* The table of failure classes: what each failure does to its task, its video and its node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

static struct fix_agent agents[4];

static int setup(void **state)
{
    static struct fix f;
    fix_open(&f, 1);
    const char *names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        fix_agent_init(&agents[i], names[i], 1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    return 0;
}

static int64_t one(struct fix *f, enum step step)
{
    return fix_tasks(f, fix_video(f, PRIORITY_NORMAL), step, 1, 0);
}

static void sync_all(struct fix *f, int count)
{
    for (int i = 0; i < count; i++)
        fix_sync(f, &agents[i]);
}

/* Whoever runs the task reports the failure; the others only sync. Returns that agent. */
static struct fix_agent *run_and_fail(struct fix *f, int count, int64_t task, int code)
{
    sync_all(f, count);
    for (int i = 0; i < count; i++)
        if (fix_task(f, task).node.v == agents[i].node) {
            fix_fail(&agents[i], task, code);
            fix_sync_send(f, &agents[i]);
            size_t dead = fix_count(f, SCHED_TOKEN_DEAD);
            fix_sync_read(f, &agents[i]);
            assert_int_equal(dead, 1);
            return &agents[i];
        }
    fail_msg("nobody runs task %d", (int)task);
    return NULL;
}

static void test_refusal_by_the_probe_is_final(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_PROBE);
    run_and_fail(f, 2, task, SL_ENOVIDEO);
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    struct sched_task_row row = fix_task(f, task);
    assert_int_equal(fix_status(f, row.video.v), VIDEO_FAILED);
    struct sched_video_view view;
    sched_video_find(f->s, row.video, &view);
    assert_int_equal(view.failure.code, SL_ENOVIDEO);
    assert_int_equal(view.failure_step, STEP_PROBE);
}

static void test_bad_input_is_dead_when_three_nodes_agree(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    struct fix_agent *first = run_and_fail(f, 4, task, SL_EDECODE);
    struct fix_agent *second = run_and_fail(f, 4, task, SL_EDECODE);
    assert_ptr_not_equal(first, second);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    run_and_fail(f, 4, task, SL_EDECODE);
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    assert_int_equal(fix_task(f, task).attempts, 3);
}

static void test_bad_input_needs_no_more_nodes_than_there_are(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 1, task, SL_EDECODE);
    assert_int_equal(fix_state(f, task), TASK_DEAD);
}

static void test_no_room_is_not_charged_and_backs_off(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    for (int i = 0; i < 20; i++) {
        run_and_fail(f, 1, task, SL_ENOSPC);
        assert_int_equal(fix_state(f, task), TASK_QUEUED);
        fix_pass(f, 3 * FIX_S);
    }
    assert_int_equal(fix_task(f, task).attempts, 0);
}

static void test_device_fault_is_charged_and_retried_elsewhere(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    struct fix_agent *a = run_and_fail(f, 2, task, SL_EHANG);
    assert_int_equal(fix_task(f, task).attempts, 1);
    sync_all(f, 2);
    assert_int_not_equal(fix_task(f, task).node.v, a->node);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_device_fault_with_nowhere_else_comes_back_after_a_while(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 1, task, SL_EHANG);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    fix_pass(f, 3 * FIX_S);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_an_avoided_node_is_used_when_the_others_are_gone(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO), other = one(f, STEP_AUDIO);
    sync_all(f, 2);
    sync_all(f, 2);
    struct fix_agent *a = run_and_fail(f, 2, task, SL_EHANG);
    struct fix_agent *b = a == &agents[0] ? &agents[1] : &agents[0];
    assert_int_equal(fix_task(f, other).node.v, b->node);
    fix_sync(f, a);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    assert_int_equal(fix_node_event(f, SCHED_NODE_DRAIN, b->node, 0), 0);
    assert_int_equal(fix_task(f, task).node.v, a->node);
}

static void test_transient_failures_back_off_twice_as_long_each_time(void **state)
{
    struct fix *f = *state;
    f->config.attempts_max = 10;
    fix_restart(f);
    int64_t task = one(f, STEP_AUDIO), expected_ns = f->config.retry_base_ns;
    for (int i = 0; i < 9; i++) {
        run_and_fail(f, 1, task, SL_EIO);
        int64_t wait_ns = fix_task(f, task).not_before_unix_ns - f->now_unix_ns;
        assert_in_range(wait_ns, expected_ns / 10 * 8 - 1000, expected_ns / 10 * 12 + 1000);
        expected_ns *= 2;
        if (expected_ns > f->config.retry_max_ns)
            expected_ns = f->config.retry_max_ns;
        agents[0].held_count = 0;
        fix_pass(f, wait_ns - 1);
        fix_sync(f, &agents[0]);
        assert_int_equal(fix_state(f, task), TASK_QUEUED);
        fix_pass(f, 1);
        assert_int_equal(fix_state(f, task), TASK_RUNNING);
    }
}

static void test_charged_attempts_have_a_limit(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    for (int i = 1; i <= f->config.attempts_max; i++) {
        run_and_fail(f, 1, task, SL_EIO);
        assert_int_equal(fix_state(f, task), i < f->config.attempts_max ? TASK_QUEUED : TASK_DEAD);
        fix_pass(f, 60 * FIX_S);
    }
}

/* A policy's number holds for its video alone, and over a restart. */
static void test_a_video_may_bring_its_own_limit(void **state)
{
    struct fix *f = *state;
    int64_t task = fix_tasks(f, fix_video_attempts(f, 2), STEP_AUDIO, 1, 0);
    run_and_fail(f, 1, task, SL_EIO);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    fix_restart(f);
    fix_pass(f, 60 * FIX_S);
    run_and_fail(f, 1, task, SL_EIO);
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    assert_true(f->config.attempts_max > 2);
}

static void test_configuration_mistakes_are_final(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 2, task, SL_ENOENCODER);
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    assert_int_equal(fix_task(f, task).failure.code, SL_ENOENCODER);
}

static void test_preempted_work_is_queued_at_once_uncharged(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 1, task, SL_EPREEMPTED);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    assert_int_equal(fix_task(f, task).attempts, 0);
}

static void test_a_worker_that_says_cancelled_fails_the_video_with_a_reason(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 1, task, SL_ECANCELLED);
    assert_int_equal(fix_state(f, task), TASK_CANCELLED);
    assert_int_equal(fix_status(f, fix_task(f, task).video.v), VIDEO_FAILED);
}

static void test_a_failure_without_a_name_is_an_internal_one(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    run_and_fail(f, 1, task, SL_OK);
    assert_int_equal(fix_task(f, task).failure.code, SL_EINTERNAL);
    assert_int_equal(fix_task(f, task).attempts, 1);
}

static void test_five_silent_losses_on_three_nodes_are_poison(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fix_task(f, task).losses, i);
        struct fix_agent *a = &agents[i % 3];
        fix_sync(f, a);
        fix_sync(f, a);
        fix_pass(f, 2 * f->config.lease_timeout_ns);
        a->held_count = 0;
    }
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    assert_int_equal(fix_task(f, task).failure.code, SL_EPOISON);
    assert_int_equal(fix_task(f, task).attempts, 0);
}

static void test_losses_after_notice_are_no_sign_of_poison(void **state)
{
    struct fix *f = *state;
    int64_t task = one(f, STEP_AUDIO);
    fix_sync(f, &agents[0]);
    agents[0].notice_ns = 30 * FIX_S;
    fix_sync(f, &agents[0]);
    fix_pass(f, 2 * f->config.lease_timeout_ns);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    assert_int_equal(fix_task(f, task).losses, 0);
}

static void test_three_faults_in_a_row_make_a_node_suspect_for_a_while(void **state)
{
    struct fix *f = *state;
    struct sched_node_view view;
    for (int round = 0; round < 3; round++) {
        int64_t tasks[3];
        for (int i = 0; i < (round ? 1 : 3); i++) {
            tasks[i] = one(f, STEP_AUDIO);
            run_and_fail(f, 1, tasks[i], SL_ECRASH);
            assert_int_equal(
                fix_video_event(f, SCHED_VIDEO_CANCEL, fix_task(f, tasks[i]).video.v, STEP_COUNT),
                0);
        }
        sched_node_find(f->s, (struct node_id){agents[0].node}, &view);
        int64_t away_ns = f->config.suspect_base_ns << round;
        assert_int_equal(view.suspect_until_ns, f->now_ns + away_ns);
        int64_t task = one(f, STEP_AUDIO);
        while (away_ns > 5 * FIX_S) {
            fix_sync(f, &agents[0]);
            assert_int_equal(fix_state(f, task), TASK_QUEUED);
            fix_pass(f, 5 * FIX_S);
            away_ns -= 5 * FIX_S;
        }
        fix_sync(f, &agents[0]);
        fix_pass(f, away_ns);
        assert_int_equal(fix_state(f, task), TASK_RUNNING);
        if (round == 2) {
            fix_sync(f, &agents[0]);
            fix_finish(&agents[0], task);
            fix_sync(f, &agents[0]);
            task = one(f, STEP_AUDIO);
            run_and_fail(f, 1, task, SL_ECRASH);
            sched_node_find(f->s, (struct node_id){agents[0].node}, &view);
            assert_int_equal(view.suspect_until_ns, 0);
        } else {
            fix_sync(f, &agents[0]);
            fix_hand_back(&agents[0], task);
            fix_video_event(f, SCHED_VIDEO_CANCEL, fix_task(f, task).video.v, STEP_COUNT);
            fix_sync(f, &agents[0]);
        }
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_refusal_by_the_probe_is_final),
        CASE(test_bad_input_is_dead_when_three_nodes_agree),
        CASE(test_bad_input_needs_no_more_nodes_than_there_are),
        CASE(test_no_room_is_not_charged_and_backs_off),
        CASE(test_device_fault_is_charged_and_retried_elsewhere),
        CASE(test_device_fault_with_nowhere_else_comes_back_after_a_while),
        CASE(test_an_avoided_node_is_used_when_the_others_are_gone),
        CASE(test_transient_failures_back_off_twice_as_long_each_time),
        CASE(test_charged_attempts_have_a_limit),
        CASE(test_a_video_may_bring_its_own_limit),
        CASE(test_configuration_mistakes_are_final),
        CASE(test_preempted_work_is_queued_at_once_uncharged),
        CASE(test_a_worker_that_says_cancelled_fails_the_video_with_a_reason),
        CASE(test_a_failure_without_a_name_is_an_internal_one),
        CASE(test_five_silent_losses_on_three_nodes_are_poison),
        CASE(test_losses_after_notice_are_no_sign_of_poison),
        CASE(test_three_faults_in_a_row_make_a_node_suspect_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
