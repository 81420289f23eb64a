/* Leases: tokens, silence, sessions, late and repeated reports, drains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

static int setup(void **state)
{
    static struct fix f;
    fix_open(&f, 1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    return 0;
}

/* A node with the one task of a video, stated once. */
static int64_t held_task(struct fix *f, struct fix_agent *a)
{
    fix_agent_init(a, "a", 1);
    int64_t task = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    fix_sync(f, a);
    fix_sync(f, a);
    assert_int_equal(a->held_count, 1);
    return task;
}

static void test_lease_expires_when_node_is_silent(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    fix_pass(f, f->config.lease_timeout_ns - 1);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    fix_pass(f, 1);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    assert_int_equal(fix_task(f, task).attempts, 0);
    assert_int_equal(fix_task(f, task).losses, 1);
    assert_int_equal(fix_totals(f).nodes_live, 0);
}

static void test_syncs_keep_a_lease_for_ever(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    for (int i = 0; i < 100; i++) {
        fix_pass(f, f->config.renew_interval_ns);
        fix_sync(f, &a);
    }
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    assert_int_equal(fix_totals(f).grants, 1);
}

static void test_late_completion_of_a_lapsed_lease_is_stale(void **state)
{
    struct fix *f = *state;
    struct fix_agent a, b;
    int64_t task = held_task(f, &a);
    fix_pass(f, 2 * f->config.lease_timeout_ns);
    fix_agent_init(&b, "b", 1);
    fix_sync(f, &b);
    assert_int_equal(b.held_count, 1);
    fix_finish(&a, task);
    a.total.cpu_millicores = 0;
    fix_sync(f, &a);
    assert_int_equal(a.stale, 1);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    fix_finish(&b, task);
    fix_sync(f, &b);
    assert_int_equal(b.accepted, 1);
    assert_int_equal(fix_state(f, task), TASK_DONE);
}

static void test_repeated_completion_is_accepted_again_and_commits_once(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    fix_finish(&a, task);
    struct sched_held again = a.held[0];
    fix_sync_send(f, &a);
    assert_int_equal(fix_count(f, SCHED_TASK_COMMITTED), 1);
    /* The answer was lost: the agent says it again, and even that it is running. */
    fix_sync_send(f, &a);
    assert_int_equal(fix_count(f, SCHED_TASK_COMMITTED), 0);
    assert_int_equal(fix_find(f, SCHED_VERDICT)->verdict, VERDICT_ACCEPTED);
    again.state = HELD_RUNNING;
    a.held[0] = again;
    fix_sync(f, &a);
    assert_int_equal(a.stale, 0);
    assert_int_equal(a.accepted, 1);
}

static void test_older_sync_is_not_taken_as_state(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    struct fix_agent late = a;
    late.seq -= 2;
    late.held_count = 0;
    assert_int_equal(fix_sync_send(f, &late), 0);
    assert_int_equal(f->actions.count, 0);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_a_token_missing_in_a_newer_sync_is_lost(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    uint64_t token = a.held[0].token.v;
    a.held_count = 0;
    fix_sync_send(f, &a);
    assert_int_equal(fix_find(f, SCHED_TOKEN_DEAD)->token.v, token);
    assert_int_equal(fix_task(f, task).losses, 1);
    assert_true(fix_task(f, task).token.v > token);
}

static void test_a_grant_is_sent_until_seen_and_then_no_more(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    struct sched_grant_view grant;
    for (int i = 0; i < 3; i++) {
        fix_sync_send(f, &a);
        assert_int_equal(sched_node_grants(f->s, (struct node_id){a.node}, &grant, 1), 1);
    }
    fix_sync_read(f, &a);
    fix_sync_send(f, &a);
    assert_int_equal(sched_node_grants(f->s, (struct node_id){a.node}, &grant, 1), 0);
}

static void test_a_grant_never_seen_is_taken_back_uncharged(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    int64_t task = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    fix_sync_send(f, &a);
    uint64_t token = fix_task(f, task).token.v;
    for (int i = 0; i < 4; i++) {
        fix_pass(f, f->config.renew_interval_ns);
        fix_sync_send(f, &a);
    }
    assert_true(fix_task(f, task).token.v > token);
    assert_int_equal(fix_task(f, task).attempts, 0);
    assert_int_equal(fix_task(f, task).losses, 0);
}

static void test_second_live_node_of_one_identity_is_refused(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    struct fix_agent twin = a;
    twin.session = 2;
    assert_int_equal(fix_sync(f, &twin), SL_ECONFLICT);
    assert_int_equal(f->actions.count, 0);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_new_session_takes_over_a_silent_one(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    uint64_t token = a.held[0].token.v;
    fix_pass(f, 2 * f->config.renew_interval_ns);
    a.session = 2;
    a.seq = 0;
    a.held_count = 0;
    assert_int_equal(fix_sync_send(f, &a), 0);
    assert_int_equal(fix_find(f, SCHED_TOKEN_DEAD)->token.v, token);
    assert_int_equal(fix_task(f, task).losses, 1);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_new_session_does_not_inherit_grants_that_were_under_way(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    int64_t task = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    fix_sync_send(f, &a);
    uint64_t token = fix_task(f, task).token.v;
    fix_pass(f, 2 * f->config.renew_interval_ns);
    a.session = 2;
    assert_int_equal(fix_sync_send(f, &a), 0);
    assert_int_equal(fix_find(f, SCHED_TOKEN_DEAD)->token.v, token);
    assert_int_equal(fix_task(f, task).losses, 0);
    assert_true(fix_task(f, task).token.v > token);
}

static void test_an_agent_that_said_goodbye_is_back_at_once(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    fix_sync(f, &a);
    a.leaving = true;
    fix_sync(f, &a);
    assert_int_equal(fix_find(f, SCHED_NODE_CHANGED)->node_state, NODE_PREEMPTING);
    a.leaving = false;
    a.session = 2;
    assert_int_equal(fix_sync(f, &a), 0);
    assert_int_equal(fix_find(f, SCHED_NODE_CHANGED)->node_state, NODE_READY);
}

static void test_another_node_cannot_use_a_token(void **state)
{
    struct fix *f = *state;
    struct fix_agent a, b;
    int64_t task = held_task(f, &a);
    fix_agent_init(&b, "b", 1);
    b.held[0] = a.held[0];
    b.held_count = 1;
    fix_finish(&b, task);
    fix_sync(f, &b);
    assert_int_equal(b.stale, 1);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_an_unknown_task_gets_no_verdict_here(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    struct sched_task_row row = fix_task(f, task);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_FORGET, row.video.v, STEP_COUNT), 0);
    assert_int_equal(fix_find(f, SCHED_TOKEN_DEAD)->token.v, row.token.v);
    fix_finish(&a, task);
    fix_sync_send(f, &a);
    assert_int_equal(fix_count(f, SCHED_VERDICT), 0);
    assert_int_equal(fix_totals(f).videos, 0);
}

static void test_handed_back_task_runs_again_uncharged(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    fix_hand_back(&a, task);
    fix_sync(f, &a);
    assert_int_equal(a.accepted, 1);
    assert_int_equal(fix_task(f, task).attempts, 0);
    assert_int_equal(fix_task(f, task).losses, 0);
    assert_int_equal(a.held_count, 1);
}

static void test_stalled_commits_cost_no_lease(void **state)
{
    struct fix *f = *state;
    struct fix_agent a, b;
    int64_t task = held_task(f, &a);
    int64_t unseen = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    fix_agent_init(&b, "b", 1);
    fix_sync_send(f, &b);
    uint64_t token = fix_task(f, unseen).token.v;
    f->now_ns += 60 * FIX_S;
    sched_extend_leases(f->s, 60 * FIX_S);
    fix_pass(f, f->config.lease_timeout_ns / 2);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    assert_int_equal(fix_task(f, unseen).token.v, token);
    fix_pass(f, f->config.lease_timeout_ns);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
}

static void test_drain_finishes_what_runs_and_takes_nothing_new(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 3, 0);
    assert_int_equal(fix_node_event(f, SCHED_NODE_DRAIN, a.node, 0), 0);
    assert_int_equal(fix_find(f, SCHED_NODE_CHANGED)->node_state, NODE_DRAINING);
    assert_int_equal(fix_count(f, SCHED_PUT_NODE), 1);
    fix_finish(&a, task);
    fix_sync(f, &a);
    assert_int_equal(fix_find(f, SCHED_NODE_CHANGED)->node_state, NODE_DRAINED);
    assert_int_equal(a.held_count, 0);
    assert_int_equal(fix_node_event(f, SCHED_NODE_UNDRAIN, a.node, 0), 0);
    assert_int_equal(fix_find(f, SCHED_NODE_CHANGED)->node_state, NODE_READY);
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 1);
}

static void test_drain_deadline_takes_the_rest_back_uncharged(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    assert_int_equal(fix_node_event(f, SCHED_NODE_DRAIN, a.node, 5 * FIX_S), 0);
    fix_pass(f, 5 * FIX_S);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    assert_int_equal(fix_task(f, task).losses, 0);
    fix_sync(f, &a);
    assert_int_equal(a.stale, 1);
}

static void test_a_node_under_notice_gets_nothing(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 4);
    a.notice_ns = 120 * FIX_S;
    fix_sync(f, &a);
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 3, 0);
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 0);
    a.notice_ns = 0;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 3);
}

static void test_a_cancelled_lease_is_stale_and_its_node_is_woken(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    int64_t task = held_task(f, &a);
    struct sched_task_row row = fix_task(f, task);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_CANCEL, row.video.v, STEP_COUNT), 0);
    assert_int_equal(fix_find(f, SCHED_WAKE_NODE)->node.v, a.node);
    assert_int_equal(fix_find(f, SCHED_TOKEN_DEAD)->token.v, row.token.v);
    fix_sync(f, &a);
    assert_int_equal(a.stale, 1);
    assert_int_equal(fix_state(f, task), TASK_CANCELLED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_lease_expires_when_node_is_silent),
        CASE(test_syncs_keep_a_lease_for_ever),
        CASE(test_late_completion_of_a_lapsed_lease_is_stale),
        CASE(test_repeated_completion_is_accepted_again_and_commits_once),
        CASE(test_older_sync_is_not_taken_as_state),
        CASE(test_a_token_missing_in_a_newer_sync_is_lost),
        CASE(test_a_grant_is_sent_until_seen_and_then_no_more),
        CASE(test_a_grant_never_seen_is_taken_back_uncharged),
        CASE(test_second_live_node_of_one_identity_is_refused),
        CASE(test_new_session_takes_over_a_silent_one),
        CASE(test_new_session_does_not_inherit_grants_that_were_under_way),
        CASE(test_an_agent_that_said_goodbye_is_back_at_once),
        CASE(test_another_node_cannot_use_a_token),
        CASE(test_an_unknown_task_gets_no_verdict_here),
        CASE(test_handed_back_task_runs_again_uncharged),
        CASE(test_stalled_commits_cost_no_lease),
        CASE(test_drain_finishes_what_runs_and_takes_nothing_new),
        CASE(test_drain_deadline_takes_the_rest_back_uncharged),
        CASE(test_a_node_under_notice_gets_nothing),
        CASE(test_a_cancelled_lease_is_stale_and_its_node_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
