#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/agent_core.h"
#include "base/time.h"

#define GIVE_UP_NS SL_S_TO_NS(600)

static struct agent_actions actions;

static struct agent_core *core_open(void)
{
    struct agent_core_options options = {.node_uuid = "11111111-2222-3333-4444-555555555555",
                                         .node_name = "node",
                                         .session = 99,
                                         .give_up_ns = GIVE_UP_NS};
    struct agent_core *core;
    assert_int_equal(agent_core_open(&options, 0, &core), SL_OK);
    return core;
}

static void granted(struct agent_core *core, const uint64_t *tokens, int32_t count)
{
    struct sync_grant grants[SYNC_GRANTS_MAX];
    memset(grants, 0, sizeof grants);
    for (int32_t i = 0; i < count; i++) {
        grants[i].token.v = tokens[i];
        grants[i].task.v = (int64_t)tokens[i] * 10;
    }
    struct sync_answer answer = {.grants = grants, .grant_count = count};
    assert_int_equal(agent_core_answer(core, SL_S_TO_NS(1), &answer, &actions), SL_OK);
}

static void grant(struct agent_core *core, uint64_t token)
{
    granted(core, &token, 1);
}

static void judged_at(struct agent_core *core, uint64_t seq, uint64_t token, enum verdict_kind kind)
{
    struct sync_verdict verdict = {{token}, kind};
    struct sync_answer answer = {.seq = seq, .verdicts = &verdict, .verdict_count = 1};
    assert_int_equal(agent_core_answer(core, SL_S_TO_NS(1), &answer, &actions), SL_OK);
}

static void judged(struct agent_core *core, uint64_t token, enum verdict_kind kind)
{
    judged_at(core, UINT64_MAX, token, kind);
}

static void acted(int32_t at, enum agent_action_kind kind, uint64_t token)
{
    assert_true(at < actions.count);
    assert_int_equal(actions.items[at].kind, kind);
    assert_int_equal(actions.items[at].token.v, token);
}

static struct sync_request requested(struct agent_core *core, bool park, struct sl_arena *arena)
{
    struct sync_request request;
    assert_int_equal(agent_core_request(core, park, arena, &request), SL_OK);
    return request;
}

static void finish(struct agent_core *core, uint64_t token, size_t bytes)
{
    void *report = calloc(1, bytes);
    assert_int_equal(agent_core_finished(core, (struct lease_token){token}, "cpu", report, bytes),
                     SL_OK);
    free(report);
}

static void test_a_grant_is_started_once_however_often_it_comes(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    granted(core, (uint64_t[]){7, 5}, 2);
    assert_int_equal(actions.count, 2);
    acted(0, AGENT_START, 7);
    acted(1, AGENT_START, 5);
    assert_int_equal(actions.items[1].grant, 1);
    granted(core, (uint64_t[]){5, 7}, 2);
    assert_int_equal(actions.count, 0);
    struct sl_arena arena = {0};
    struct sync_request request = requested(core, true, &arena);
    assert_true(request.park);
    assert_int_equal(request.held_count, 2);
    assert_int_equal(request.held[0].token.v, 5); /* in order of tokens */
    assert_int_equal(request.held[0].task.v, 50);
    assert_int_equal(request.held[0].state, HELD_RUNNING);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_an_overtaken_answer_does_not_start_finished_work_again(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    grant(core, 5);
    finish(core, 5, 10);
    judged(core, 5, VERDICT_ACCEPTED);
    acted(0, AGENT_FORGET, 5);
    assert_int_equal(agent_core_held_count(core), 0);
    grant(core, 5); /* from an answer that was made before the verdict */
    assert_int_equal(actions.count, 0);
    assert_int_equal(agent_core_held_count(core), 0);
    agent_core_close(&core);
}

static void test_news_are_carried_until_they_are_answered(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    grant(core, 5);
    assert_false(agent_core_news(core));
    finish(core, 5, 10);
    assert_true(agent_core_news(core));
    struct sync_request request = requested(core, true, &arena);
    assert_false(request.park);
    assert_int_equal(request.held[0].state, HELD_FINISHED);
    assert_int_equal(request.held[0].report_bytes, 10);
    assert_string_equal(request.held[0].device_id, "cpu");
    assert_false(agent_core_news(core)); /* on its way */
    agent_core_request_lost(core, request.seq + 1);
    assert_false(agent_core_news(core));
    agent_core_request_lost(core, request.seq);
    assert_true(agent_core_news(core));
    uint64_t before = request.seq;
    request = requested(core, false, &arena);
    assert_true(request.seq > before);
    assert_int_equal(request.held[0].state, HELD_FINISHED);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_a_stale_verdict_drops_whatever_the_state(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    granted(core, (uint64_t[]){1, 2, 3}, 3);
    finish(core, 2, 5);
    struct sl_failure failure = {SL_ECRASH, "killed"};
    agent_core_failed(core, (struct lease_token){3}, "cpu", &failure);
    for (uint64_t token = 1; token <= 3; token++) {
        judged(core, token, VERDICT_STALE);
        assert_int_equal(actions.count, 1);
        acted(0, AGENT_DROP, token);
    }
    assert_int_equal(agent_core_held_count(core), 0);
    judged(core, 1, VERDICT_STALE);
    assert_int_equal(actions.count, 0);
    agent_core_close(&core);
}

static void test_an_overtaken_request_does_not_cost_a_committed_output(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    grant(core, 5);
    uint64_t running = requested(core, true, &arena).seq;
    finish(core, 5, 10);
    uint64_t ended = requested(core, false, &arena).seq;
    agent_core_request_lost(core, ended); /* its answer is late; the daemon has committed */
    judged_at(core, running, 5, VERDICT_STALE);
    assert_int_equal(actions.count, 0);
    assert_int_equal(agent_core_held_count(core), 1);
    judged_at(core, ended, 5, VERDICT_ACCEPTED);
    acted(0, AGENT_FORGET, 5);

    /* Never told of its end: stale is stale. */
    grant(core, 6);
    running = requested(core, true, &arena).seq;
    finish(core, 6, 10);
    judged_at(core, running, 6, VERDICT_STALE);
    acted(0, AGENT_DROP, 6);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_what_was_told_as_ended_is_never_told_as_running(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    granted(core, (uint64_t[]){1, 2, 3}, 3);
    finish(core, 2, 300 * 1024);
    finish(core, 3, 300 * 1024);
    struct sync_request request = requested(core, false, &arena);
    assert_int_equal(request.held[2].state, HELD_FINISHED);
    agent_core_request_lost(core, request.seq);
    finish(core, 1, 300 * 1024); /* stands first in order, but must wait */
    request = requested(core, false, &arena);
    assert_int_equal(request.held[0].state, HELD_RUNNING);
    assert_int_equal(request.held[1].state, HELD_FINISHED);
    assert_int_equal(request.held[2].state, HELD_FINISHED);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_work_that_was_dropped_has_no_say(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    grant(core, 1);
    judged(core, 1, VERDICT_STALE);
    finish(core, 1, 5);
    agent_core_progress(core, (struct lease_token){1}, 3, 4);
    agent_core_handed_back(core, (struct lease_token){1});
    assert_false(agent_core_news(core));
    assert_int_equal(agent_core_held_count(core), 0);
    agent_core_close(&core);
}

static void test_without_a_daemon_running_work_is_given_up_but_no_finished_output(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    granted(core, (uint64_t[]){1, 2, 3}, 3); /* contact at 1 s */
    finish(core, 2, 5);
    assert_int_equal(agent_core_next_deadline_ns(core), SL_S_TO_NS(601));
    agent_core_tick(core, SL_S_TO_NS(601) - 1, &actions);
    assert_int_equal(actions.count, 0);
    agent_core_tick(core, SL_S_TO_NS(601), &actions);
    assert_int_equal(actions.count, 2);
    acted(0, AGENT_DROP, 3);
    acted(1, AGENT_DROP, 1);
    /* The daemon may have committed it before it fell silent. */
    assert_int_equal(agent_core_held_count(core), 1);
    assert_int_equal(agent_core_next_deadline_ns(core), INT64_MAX);
    agent_core_close(&core);
}

static void test_contact_puts_giving_up_off(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    grant(core, 1);
    struct sync_answer answer = {0};
    agent_core_answer(core, SL_S_TO_NS(500), &answer, &actions);
    agent_core_tick(core, SL_S_TO_NS(1000), &actions);
    assert_int_equal(actions.count, 0);
    answer.refused.code = SL_ECONFLICT; /* a refusal is no contact */
    assert_int_equal(agent_core_answer(core, SL_S_TO_NS(1050), &answer, &actions), SL_ECONFLICT);
    agent_core_tick(core, SL_S_TO_NS(1100), &actions);
    assert_int_equal(actions.count, 1);
    agent_core_close(&core);
}

static void test_an_agent_that_leaves_hands_new_grants_back(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    grant(core, 1);
    agent_core_leave(core);
    grant(core, 2);
    assert_int_equal(actions.count, 0);
    agent_core_handed_back(core, (struct lease_token){1});
    struct sync_request request = requested(core, true, &arena);
    assert_true(request.leaving);
    assert_false(request.park);
    assert_int_equal(request.held_count, 2);
    assert_int_equal(request.held[0].state, HELD_HANDED_BACK);
    assert_int_equal(request.held[1].state, HELD_HANDED_BACK);
    judged(core, 1, VERDICT_ACCEPTED);
    judged(core, 2, VERDICT_ACCEPTED);
    assert_int_equal(agent_core_held_count(core), 0);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_reports_that_do_not_fit_wait_for_the_next_request(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    granted(core, (uint64_t[]){1, 2, 3}, 3);
    for (uint64_t token = 1; token <= 3; token++)
        finish(core, token, 300 * 1024);
    struct sync_request request = requested(core, false, &arena);
    assert_int_equal(request.held_count, 3);
    assert_int_equal(request.held[1].state, HELD_FINISHED);
    assert_int_equal(request.held[2].state,
                     HELD_RUNNING); /* still stated, so that it does not lapse */
    assert_true(agent_core_news(core));
    judged(core, 1, VERDICT_ACCEPTED);
    judged(core, 2, VERDICT_ACCEPTED);
    request = requested(core, false, &arena);
    assert_int_equal(request.held_count, 1);
    assert_int_equal(request.held[0].state, HELD_FINISHED);
    assert_false(agent_core_news(core));
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

static void test_a_full_table_leaves_grants_to_be_sent_again(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    for (uint64_t token = 1; token <= SYNC_HELD_MAX; token++)
        grant(core, token);
    assert_int_equal(agent_core_held_count(core), SYNC_HELD_MAX);
    grant(core, 100000);
    assert_int_equal(actions.count, 0);
    judged(core, 7, VERDICT_STALE);
    grant(core, 100000);
    acted(0, AGENT_START, 100000);
    agent_core_close(&core);
}

static void test_acceptance_of_running_work_is_not_believed(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    grant(core, 1);
    judged(core, 1, VERDICT_ACCEPTED);
    assert_int_equal(actions.count, 0);
    assert_int_equal(agent_core_held_count(core), 1);
    agent_core_close(&core);
}

static void test_a_request_states_capacity_and_progress(void **state)
{
    (void)state;
    struct agent_core *core = core_open();
    struct sl_arena arena = {0};
    struct device_row row = {.device_id = "cpu", .cpus = 4};
    struct demand total = {.cpu_millicores = 4500};
    agent_core_devices_set(core, &row, 1, &total);
    grant(core, 1);
    agent_core_progress(core, (struct lease_token){1}, 30, 100);
    struct sync_request request = requested(core, true, &arena);
    assert_int_equal(request.version, SYNC_VERSION);
    assert_int_equal(request.session, 99);
    assert_int_equal(request.device_count, 1);
    assert_int_equal(request.devices[0].cpus, 4);
    assert_int_equal(request.total.cpu_millicores, 4500);
    assert_int_equal(request.held[0].done_units, 30);
    assert_int_equal(request.held[0].total_units, 100);
    sl_arena_fini(&arena);
    agent_core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_grant_is_started_once_however_often_it_comes),
        cmocka_unit_test(test_an_overtaken_answer_does_not_start_finished_work_again),
        cmocka_unit_test(test_news_are_carried_until_they_are_answered),
        cmocka_unit_test(test_a_stale_verdict_drops_whatever_the_state),
        cmocka_unit_test(test_an_overtaken_request_does_not_cost_a_committed_output),
        cmocka_unit_test(test_what_was_told_as_ended_is_never_told_as_running),
        cmocka_unit_test(test_work_that_was_dropped_has_no_say),
        cmocka_unit_test(test_without_a_daemon_running_work_is_given_up_but_no_finished_output),
        cmocka_unit_test(test_contact_puts_giving_up_off),
        cmocka_unit_test(test_an_agent_that_leaves_hands_new_grants_back),
        cmocka_unit_test(test_reports_that_do_not_fit_wait_for_the_next_request),
        cmocka_unit_test(test_a_full_table_leaves_grants_to_be_sent_again),
        cmocka_unit_test(test_acceptance_of_running_work_is_not_believed),
        cmocka_unit_test(test_a_request_states_capacity_and_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
