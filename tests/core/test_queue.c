/* The task queue and the matcher: who is granted what, and in which order. */
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

/* The task that a node of one CPU gets next. */
static int64_t next(struct fix *f, struct fix_agent *a)
{
    fix_sync(f, a);
    assert_int_equal(a->held_count, 1);
    int64_t task = a->held[0].task.v;
    a->held[0].state = HELD_FINISHED;
    return task;
}

static void test_tasks_of_one_priority_run_first_in_first_out(void **state)
{
    struct fix *f = *state;
    int64_t first = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 2, 0);
    fix_pass(f, FIX_S);
    int64_t second = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 1, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    assert_int_equal(next(f, &a), first);
    assert_int_equal(next(f, &a), first + 1);
    assert_int_equal(next(f, &a), second);
}

static void test_higher_priority_goes_first(void **state)
{
    struct fix *f = *state;
    int64_t tasks[PRIORITY_COUNT];
    for (int p = 0; p < PRIORITY_COUNT; p++)
        tasks[p] = fix_tasks(f, fix_video(f, (enum priority)p), STEP_AUDIO, 1, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    for (int p = PRIORITY_COUNT; p-- > 0;)
        assert_int_equal(next(f, &a), tasks[p]);
}

static void test_low_priority_overtakes_when_it_is_old_enough(void **state)
{
    struct fix *f = *state;
    int64_t low = fix_tasks(f, fix_video(f, PRIORITY_LOW), STEP_AUDIO, 1, 0);
    fix_pass(f, 599 * FIX_S);
    int64_t normal = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 1, 0);
    fix_pass(f, 2 * FIX_S);
    int64_t later = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 1, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    assert_int_equal(next(f, &a), normal);
    assert_int_equal(next(f, &a), low);
    assert_int_equal(next(f, &a), later);
}

static void test_small_steps_go_before_encodes_of_the_same_priority(void **state)
{
    struct fix *f = *state;
    int64_t encode = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 1, 0, CODEC_H264);
    int64_t urgent = fix_encodes(f, fix_video(f, PRIORITY_URGENT), 1, 0, CODEC_H264);
    fix_pass(f, 3600 * FIX_S);
    int64_t probe = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    assert_int_equal(next(f, &a), urgent);
    assert_int_equal(next(f, &a), probe);
    assert_int_equal(next(f, &a), encode);
}

static void test_order_within_a_video_is_the_plans(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL), last, first;
    struct sched_task_spec spec = {.step = STEP_AUDIO, .order = 7};
    spec.demand.cpu_millicores = 1000;
    assert_int_equal(fix_spec(f, video, &spec, &last), 0);
    spec.order = -1;
    assert_int_equal(fix_spec(f, video, &spec, &first), 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    assert_int_equal(next(f, &a), first);
    assert_int_equal(next(f, &a), last);
}

static void test_tasks_that_do_not_fit_do_not_block_those_behind(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL), task;
    struct sched_task_spec spec = {.step = STEP_AUDIO};
    spec.demand = (struct demand){.cpu_millicores = 1000, .memory_bytes = 900 * FIX_GB};
    for (int i = 0; i < 500; i++)
        assert_int_equal(fix_spec(f, video, &spec, &task), 0);
    int64_t small = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 1, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    assert_int_equal(next(f, &a), small);
}

static void test_a_node_is_never_given_more_than_it_has(void **state)
{
    struct fix *f = *state;
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 20, 0);
    struct fix_agent a;
    fix_agent_init(&a, "a", 8);
    a.total.memory_bytes = 5 * FIX_GB;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 5);
    a.total.memory_bytes = 100 * FIX_GB;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 8);
}

static void test_device_session_limits_bound_encodes(void **state)
{
    struct fix *f = *state;
    fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 20, 0, CODEC_H264);
    struct fix_agent a;
    fix_agent_init(&a, "a", 8);
    a.devices[0].session_limit = 3;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 3);
}

/* A pool of a codec leaves the other CPUs to the others. */
static void test_a_codecs_pool_bounds_its_leases_alone(void **state)
{
    struct fix *f = *state;
    fix_encodes(f, fix_video(f, PRIORITY_HIGH), 20, 0, CODEC_AV1);
    struct fix_agent a;
    fix_agent_init(&a, "a", 8);
    a.devices[0].encodes |= UINT32_C(1) << CODEC_AV1;
    a.devices[0].codec_leases[CODEC_AV1] = 2;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 2);
    fix_encodes(f, fix_video(f, PRIORITY_LOW), 20, 0, CODEC_H264);
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 8);
}

static void test_encodes_go_only_to_nodes_with_a_healthy_device(void **state)
{
    struct fix *f = *state;
    int64_t h265 = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 1, 0, CODEC_H265);
    struct fix_agent a;
    fix_agent_init(&a, "a", 8);
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 0);
    a.devices[0].encodes |= UINT32_C(1) << CODEC_H265;
    a.devices[0].health = HEALTH_QUARANTINED;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 0);
    a.devices[0].health = HEALTH_HEALTHY;
    fix_sync(f, &a);
    assert_int_equal(a.held_count, 1);
    assert_int_equal(a.held[0].task.v, h265);
}

static void test_work_spreads_over_nodes_with_most_free_cpu(void **state)
{
    struct fix *f = *state;
    static struct fix_agent agents[40];
    for (int i = 0; i < 40; i++) {
        fix_agent_init(&agents[i], (char[]){'n', (char)('A' + i), 0}, i == 7 ? 6 : 4);
        fix_sync(f, &agents[i]);
    }
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 42, 0);
    for (int i = 0; i < 40; i++) {
        fix_sync(f, &agents[i]);
        assert_int_equal(agents[i].held_count, i == 7 ? 3 : 1);
    }
}

static void test_every_idle_node_is_found_however_many_cannot_help(void **state)
{
    struct fix *f = *state;
    static struct fix_agent agents[60];
    for (int i = 0; i < 50; i++) {
        fix_agent_init(&agents[i], (char[]){'n', (char)('A' + i), 0}, i == 33 ? 2 : 16);
        if (i != 33)
            agents[i].device_count = 0;
        fix_sync(f, &agents[i]);
    }
    int64_t task = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 1, 0, CODEC_H264);
    fix_pass(f, FIX_MS);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    assert_int_equal(fix_task(f, task).node.v, agents[33].node);
}

static void test_small_steps_prefer_on_demand_nodes(void **state)
{
    struct fix *f = *state;
    struct fix_agent spot, steady;
    fix_agent_init(&spot, "spot", 16);
    spot.spot = true;
    fix_agent_init(&steady, "steady", 1);
    fix_sync(f, &spot);
    fix_sync(f, &steady);
    int64_t one = fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 2, 0);
    int64_t encode = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 1, 0, CODEC_H264);
    assert_int_equal(fix_task(f, one).node.v, steady.node);
    assert_int_equal(fix_task(f, one + 1).node.v, spot.node);
    assert_int_equal(fix_task(f, encode).node.v, spot.node);
}

static void test_limits_are_errors_that_change_nothing(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL);
    static struct sched_task_spec specs[SCHED_TASKS_ADD_MAX + 1];
    struct sched_event event = {.kind = SCHED_TASKS_ADD, .video.v = video};
    event.tasks.specs = specs;
    event.tasks.count = SCHED_TASKS_ADD_MAX + 1;
    assert_int_equal(fix_step(f, &event), SL_ELIMIT);
    assert_int_equal(f->actions.count, 0);
    event.tasks.count = SCHED_TASKS_ADD_MAX;
    assert_int_equal(fix_step(f, &event), 0);
    specs[3].step = STEP_PLAN;
    assert_int_equal(fix_step(f, &event), SL_EINVAL);
    assert_int_equal(f->actions.count, 0);
    event.video.v = 1;
    assert_int_equal(fix_step(f, &event), SL_ENOENT);
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    a.device_count = NODE_DEVICES_MAX + 1;
    assert_int_equal(fix_sync(f, &a), SL_ELIMIT);
    a.device_count = 0;
    a.held_count = SYNC_HELD_MAX + 1;
    assert_int_equal(fix_sync(f, &a), SL_ELIMIT);
    assert_int_equal(f->actions.count, 0);
}

static void test_a_node_holds_no_more_leases_than_a_sync_can_state(void **state)
{
    struct fix *f = *state;
    static struct fix_agent a;
    fix_agent_init(&a, "a", 2000);
    f->unchecked = true;
    fix_sync(f, &a);
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_AUDIO, 600, 0);
    fix_pass(f, FIX_MS);
    sched_check(f->s);
    assert_int_equal(fix_totals(f).running, SCHED_NODE_LEASES_MAX);
}

static void test_nodes_are_limited_in_number(void **state)
{
    struct fix *f = *state;
    struct fix_agent a;
    fix_agent_init(&a, "a", 1);
    f->unchecked = true;
    for (int i = 0; i <= SCHED_NODES_MAX; i++) {
        for (int digit = 0, rest = i; digit < 5; digit++, rest /= 10)
            a.uuid[digit] = (char)('0' + rest % 10);
        assert_int_equal(fix_sync_send(f, &a), i < SCHED_NODES_MAX ? 0 : SL_ELIMIT);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_tasks_of_one_priority_run_first_in_first_out),
        CASE(test_higher_priority_goes_first),
        CASE(test_low_priority_overtakes_when_it_is_old_enough),
        CASE(test_small_steps_go_before_encodes_of_the_same_priority),
        CASE(test_order_within_a_video_is_the_plans),
        CASE(test_tasks_that_do_not_fit_do_not_block_those_behind),
        CASE(test_a_node_is_never_given_more_than_it_has),
        CASE(test_device_session_limits_bound_encodes),
        CASE(test_a_codecs_pool_bounds_its_leases_alone),
        CASE(test_encodes_go_only_to_nodes_with_a_healthy_device),
        CASE(test_work_spreads_over_nodes_with_most_free_cpu),
        CASE(test_every_idle_node_is_found_however_many_cannot_help),
        CASE(test_small_steps_prefer_on_demand_nodes),
        CASE(test_limits_are_errors_that_change_nothing),
        CASE(test_a_node_holds_no_more_leases_than_a_sync_can_state),
        CASE(test_nodes_are_limited_in_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
