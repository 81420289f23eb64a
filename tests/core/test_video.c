/* Videos: steps that wait on each other, status, cancel, retry, redo, and the DLQ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

static struct fix_agent a;

static int setup(void **state)
{
    static struct fix f;
    fix_open(&f, 1);
    fix_agent_init(&a, "a", 16);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    return 0;
}

#define MEDIA (STEP_BIT(STEP_TRANSCODE) | STEP_BIT(STEP_AUDIO))

struct made {
    int64_t video, probe, chunks, audio, package, verify;
};

static struct made planned(struct fix *f)
{
    struct made m = {.video = fix_video(f, PRIORITY_NORMAL)};
    m.probe = fix_tasks(f, m.video, STEP_PROBE, 1, 0);
    fix_work(f, &a);
    m.chunks = fix_encodes(f, m.video, 3, STEP_BIT(STEP_PLAN), CODEC_H264);
    m.audio = fix_tasks(f, m.video, STEP_AUDIO, 1, STEP_BIT(STEP_PLAN));
    m.package = fix_tasks(f, m.video, STEP_PACKAGE, 1, MEDIA);
    m.verify = fix_tasks(f, m.video, STEP_VERIFY, 1, STEP_BIT(STEP_PACKAGE));
    assert_int_equal(fix_video_event(f, SCHED_STEP_SKIP, m.video, STEP_SUBTITLES), 0);
    assert_int_equal(fix_video_event(f, SCHED_STEP_DONE, m.video, STEP_PLAN), 0);
    return m;
}

static void finish(struct fix *f, int64_t task)
{
    fix_sync(f, &a);
    fix_finish(&a, task);
    fix_sync_send(f, &a);
}

static enum step ready_step(const struct fix *f)
{
    const struct sched_action *action = fix_find(f, SCHED_STEP_READY);
    return action ? action->step : STEP_COUNT;
}

static void test_a_video_goes_through_its_steps_in_order(void **state)
{
    struct fix *f = *state;
    fix_sync(f, &a);
    int64_t video = fix_video(f, PRIORITY_NORMAL);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_UPLOADED);
    int64_t probe = fix_tasks(f, video, STEP_PROBE, 1, 0);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_PROBING);
    finish(f, probe);
    assert_int_equal(ready_step(f), STEP_PROBE);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_TRANSCODING);
    fix_sync_read(f, &a);
    struct made m = {.video = video};
    m.chunks = fix_encodes(f, video, 2, STEP_BIT(STEP_PLAN), CODEC_H264);
    m.audio = fix_tasks(f, video, STEP_AUDIO, 1, STEP_BIT(STEP_PLAN));
    m.package = fix_tasks(f, video, STEP_PACKAGE, 1, MEDIA);
    m.verify = fix_tasks(f, video, STEP_VERIFY, 1, STEP_BIT(STEP_PACKAGE));
    assert_int_equal(fix_state(f, m.chunks), TASK_WAITING);
    assert_int_equal(fix_video_event(f, SCHED_STEP_DONE, video, STEP_PLAN), 0);
    assert_int_equal(fix_state(f, m.chunks), TASK_RUNNING);
    finish(f, m.chunks);
    assert_int_equal(ready_step(f), STEP_COUNT);
    finish(f, m.chunks + 1);
    assert_int_equal(ready_step(f), STEP_TRANSCODE);
    assert_int_equal(fix_state(f, m.package), TASK_WAITING);
    finish(f, m.audio);
    assert_int_equal(ready_step(f), STEP_AUDIO);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_PACKAGING);
    finish(f, m.package);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_VERIFYING);
    finish(f, m.verify);
    assert_int_equal(ready_step(f), STEP_VERIFY);
    assert_int_equal(fix_find(f, SCHED_STATUS)->status, VIDEO_READY);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_CANCEL, video, STEP_COUNT), SL_ECONFLICT);
}

static void test_each_row_is_written_once_a_step(void **state)
{
    struct fix *f = *state;
    fix_sync(f, &a);
    fix_tasks(f, fix_video(f, PRIORITY_NORMAL), STEP_PROBE, 1, 0);
    assert_int_equal(fix_count(f, SCHED_PUT_TASK), 1);
    assert_int_equal(fix_find(f, SCHED_PUT_TASK)->task_row.state, TASK_RUNNING);
    assert_int_equal(fix_count(f, SCHED_PUT_COUNTERS), 1);
    assert_int_equal(fix_count(f, SCHED_WAKE_NODE), 1);
}

static void test_cancel_ends_everything_and_retry_brings_it_back(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    finish(f, m.chunks);
    fix_sync_read(f, &a);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_CANCEL, m.video, STEP_COUNT), 0);
    assert_int_equal(fix_status(f, m.video), VIDEO_CANCELLED);
    assert_int_equal(fix_state(f, m.chunks), TASK_DONE);
    assert_int_equal(fix_state(f, m.verify), TASK_CANCELLED);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_CANCEL, m.video, STEP_COUNT), 0);
    assert_int_equal(f->actions.count, 0);
    assert_int_equal(fix_video_event(f, SCHED_STEP_DONE, m.video, STEP_IMAGES), SL_ECONFLICT);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_COUNT), 0);
    assert_int_equal(fix_status(f, m.video), VIDEO_TRANSCODING);
    assert_int_equal(fix_state(f, m.chunks), TASK_DONE);
    assert_int_equal(fix_state(f, m.chunks + 1), TASK_RUNNING);
    assert_int_equal(fix_state(f, m.verify), TASK_WAITING);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
}

static void test_a_failed_video_holds_back_what_is_queued(void **state)
{
    struct fix *f = *state;
    a.total.cpu_millicores = 2000;
    struct made m = planned(f);
    fix_sync(f, &a);
    assert_int_equal(fix_totals(f).running, 2);
    fix_fail(&a, a.held[0].task.v, SL_ENOENCODER);
    int64_t dead = a.held[0].task.v, other = a.held[1].task.v;
    fix_sync(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_FAILED);
    assert_int_equal(fix_state(f, dead), TASK_DEAD);
    assert_int_equal(fix_totals(f).running, 1);
    finish(f, other);
    assert_int_equal(fix_state(f, other), TASK_DONE);
    assert_int_equal(fix_totals(f).running, 0);
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDRIVE, other, 0), SL_ECONFLICT);
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDRIVE, dead, 0), 0);
    assert_int_equal(fix_task(f, dead).attempts, 0);
    assert_int_equal(fix_totals(f).running, 2);
    fix_sync_read(f, &a);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
}

static int count_rows(void *arg, const struct sched_task_row *row)
{
    int64_t *last = arg;
    assert_true(row->task.v > *last);
    *last = row->task.v;
    return 0;
}

static void test_dropped_task_leaves_the_dlq_and_its_video_failed(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    fix_sync(f, &a);
    for (int i = 2; i >= 0; i--)
        fix_fail(&a, m.chunks + i, SL_ENOENCODER);
    fix_sync(f, &a);
    int64_t last = 0;
    assert_int_equal(sched_dead_tasks_walk(f->s, count_rows, &last), 0);
    assert_int_equal(last, m.chunks + 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fix_task_event(f, SCHED_TASK_DROP, m.chunks + i, 0), 0);
    assert_int_equal(fix_totals(f).dead, 0);
    assert_int_equal(fix_status(f, m.video), VIDEO_FAILED);
    struct sched_video_view view;
    sched_video_find(f->s, (struct video_id){m.video}, &view);
    assert_int_equal(view.failure.code, SL_ENOENCODER);
    assert_int_equal(view.failure_step, STEP_TRANSCODE);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_COUNT), 0);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
}

static void test_failed_plan_survives_a_restart_and_is_made_again_on_retry(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL);
    fix_tasks(f, video, STEP_PROBE, 1, 0);
    fix_work(f, &a);
    assert_int_equal(fix_video_fail(f, video, STEP_PLAN, SL_ETOOBIG), 0);
    assert_int_equal(fix_status(f, video), VIDEO_FAILED);
    fix_restart(f);
    assert_null(fix_find(f, SCHED_STEP_READY));
    struct sched_video_view view;
    sched_video_find(f->s, (struct video_id){video}, &view);
    assert_int_equal(view.status, VIDEO_FAILED);
    assert_int_equal(view.failure_step, STEP_PLAN);
    assert_int_equal(view.failure.code, SL_ETOOBIG);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, video, STEP_COUNT), 0);
    assert_int_equal(ready_step(f), STEP_PROBE);
    assert_int_equal(fix_status(f, video), VIDEO_TRANSCODING);
}

static void test_retry_from_a_step_takes_along_what_depends_on_it(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
    uint64_t audio = fix_task(f, m.audio).token.v;
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_TRANSCODE), 0);
    assert_int_equal(fix_count(f, SCHED_TOKEN_DEAD), 5);
    assert_int_equal(fix_task(f, m.audio).token.v, audio);
    assert_int_equal(fix_state(f, m.chunks), TASK_RUNNING);
    assert_int_equal(fix_state(f, m.package), TASK_WAITING);
    assert_int_equal(fix_status(f, m.video), VIDEO_TRANSCODING);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
}

static void test_retry_from_probe_drops_what_the_plan_made(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    fix_sync(f, &a);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_PROBE), 0);
    assert_int_equal(fix_count(f, SCHED_DELETE_TASKS), 4);
    assert_int_equal(f->store.task_count, 1);
    assert_int_equal(fix_state(f, m.probe), TASK_RUNNING);
    assert_int_equal(fix_status(f, m.video), VIDEO_PROBING);
    fix_restart(f);
    assert_int_equal(fix_status(f, m.video), VIDEO_PROBING);
}

static void test_retry_from_plan_keeps_the_probe(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_PLAN), 0);
    assert_int_equal(fix_state(f, m.probe), TASK_DONE);
    assert_int_equal(ready_step(f), STEP_PROBE);
    assert_int_equal(f->store.task_count, 1);
}

static void test_retry_with_nothing_to_retry_is_refused(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_COUNT), SL_ECONFLICT);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, m.video, STEP_IMAGES), SL_ECONFLICT);
    assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, 1, STEP_COUNT), SL_ENOENT);
}

static void test_redo_of_a_seam_reopens_its_step(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    fix_work(f, &a);
    uint64_t before = fix_task(f, m.chunks + 1).token.v;
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDO, m.chunks + 1, 99), SL_EINVAL);
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDO, m.chunks + 1, 2), 0);
    struct sched_task_row row = fix_task(f, m.chunks + 1);
    assert_true(row.token.v > before);
    assert_int_equal(row.preroll, 2);
    assert_int_equal(fix_state(f, m.chunks), TASK_DONE);
    assert_int_equal(fix_state(f, m.package), TASK_WAITING);
    assert_int_equal(fix_state(f, m.verify), TASK_WAITING);
    assert_int_equal(fix_status(f, m.video), VIDEO_TRANSCODING);
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDO, m.chunks + 1, 2), SL_ECONFLICT);
    fix_work(f, &a);
    assert_int_equal(fix_status(f, m.video), VIDEO_READY);
}

static void test_tasks_of_a_closed_step_are_refused(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    int64_t id;
    struct sched_task_spec spec = {.step = STEP_SUBTITLES};
    assert_int_equal(fix_spec(f, m.video, &spec, &id), SL_ECONFLICT);
    spec.step = STEP_PROBE;
    assert_int_equal(fix_spec(f, m.video, &spec, &id), SL_ECONFLICT);
    assert_int_equal(fix_video_event(f, SCHED_STEP_DONE, m.video, STEP_AUDIO), SL_ECONFLICT);
}

static bool said(struct fix *f, int64_t task, const char *text)
{
    char reasons[8][SL_MESSAGE_BYTES];
    size_t count = sched_explain(f->s, (struct task_id){task}, f->now_ns, reasons, 8);
    for (size_t i = 0; i < count; i++)
        if (strstr(reasons[i], text))
            return true;
    for (size_t i = 0; i < count; i++)
        print_message("%s\n", reasons[i]);
    return false;
}

static void test_explain_says_why(void **state)
{
    struct fix *f = *state;
    struct made m = planned(f);
    assert_true(said(f, m.package, "waiting for transcode: 0 of 3 done"));
    assert_true(said(f, m.chunks, "given to node-a 0 ms ago"));
    fix_sync(f, &a);
    fix_sync(f, &a);
    fix_pass(f, 2 * FIX_S);
    assert_true(said(f, m.chunks, "running on node-a for 2 s"));
    int64_t h265 = fix_encodes(f, fix_video(f, PRIORITY_HIGH), 2, 0, CODEC_H265);
    fix_pass(f, 3 * FIX_S);
    assert_true(said(f, h265 + 1, "queued 3 s ago at priority high; 1 task is ahead"));
    assert_true(said(f, h265 + 1, "no node can encode h265 by x265: 1 node is ready"));
    int64_t big = 0;
    struct sched_task_spec spec = {.step = STEP_AUDIO, .demand.cpu_millicores = 99000};
    assert_int_equal(fix_spec(f, fix_video(f, PRIORITY_LOW), &spec, &big), 0);
    assert_true(said(f, big, "no node is large enough: it needs 99000 millicores"));
    fix_fail(&a, m.audio, SL_EIO);
    fix_sync(f, &a);
    assert_true(said(f, m.audio, "backing off until 20"));
    assert_true(said(f, m.audio, "attempt 1 of 4 failed with io_error"));
    fix_fail(&a, m.chunks, SL_ENOENCODER);
    fix_sync(f, &a);
    assert_true(said(f, m.chunks, "in the dead-letter queue"));
    fix_pass(f, 5 * FIX_S);
    assert_true(said(f, m.audio, "its video has failed"));
    fix_pass(f, 60 * FIX_S);
    assert_true(said(f, h265, "no node is ready: 1 lost"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_video_goes_through_its_steps_in_order),
        CASE(test_each_row_is_written_once_a_step),
        CASE(test_cancel_ends_everything_and_retry_brings_it_back),
        CASE(test_a_failed_video_holds_back_what_is_queued),
        CASE(test_dropped_task_leaves_the_dlq_and_its_video_failed),
        CASE(test_failed_plan_survives_a_restart_and_is_made_again_on_retry),
        CASE(test_retry_from_a_step_takes_along_what_depends_on_it),
        CASE(test_retry_from_probe_drops_what_the_plan_made),
        CASE(test_retry_from_plan_keeps_the_probe),
        CASE(test_retry_with_nothing_to_retry_is_refused),
        CASE(test_redo_of_a_seam_reopens_its_step),
        CASE(test_tasks_of_a_closed_step_are_refused),
        CASE(test_explain_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
