/* Routes: which kind of device tasks are placed under, sessions, and what happens when a kind goes or comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

static const enum device_kind nvenc_cpu[] = {DEVICE_NVENC, DEVICE_CPU};
static const enum device_kind only_nvenc[] = {DEVICE_NVENC};

/* A video whose h265 takes that route, with count chunks queued; the first one's id. */
static int64_t routed(struct fix *f, const struct sched_route *route, int32_t count, int64_t *video)
{
    *video = fix_video(f, PRIORITY_NORMAL);
    assert_int_equal(fix_route_put(f, *video, route), 0);
    return fix_encodes(f, *video, count, 0, route->codec);
}

static void cpu_agent(struct fix_agent *a, const char *uuid, int32_t cpus)
{
    fix_agent_init(a, uuid, cpus);
    a->devices[0].encodes |= UINT32_C(1) << CODEC_H265;
}

static int32_t held_of_kind(const struct fix *f, const struct fix_agent *a, enum device_kind kind)
{
    int32_t count = 0;
    for (int32_t i = 0; i < a->held_count; i++)
        count += fix_task(f, a->held[i].task.v).kind == kind;
    return count;
}

/* Two syncs later every class that nobody has is known to be gone. */
static void settle(struct fix *f, struct fix_agent *a)
{
    for (int i = 0; i < 8; i++) {
        fix_sync(f, a);
        fix_pass(f, 2 * FIX_S);
    }
    fix_sync(f, a);
}

static void test_the_first_kind_that_is_there_is_taken(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    cpu_agent(&gpu, "gpu", 8);
    fix_device_add(&gpu, DEVICE_NVENC, 4);
    cpu_agent(&cpu, "cpu", 8);
    fix_sync(f, &gpu);
    fix_sync(f, &cpu);
    routed(f, &route, 5, &video);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    /* Four sessions are two leases of two; the rest waits for them, however idle the CPUs are. */
    assert_int_equal(cpu.held_count, 0);
    assert_int_equal(gpu.held_count, 2);
    assert_int_equal(held_of_kind(f, &gpu, DEVICE_NVENC), 2);
    assert_int_equal(fix_task(f, gpu.held[0].task.v).sessions, 2);
    fix_work(f, &gpu);
    struct sched_video_view view;
    assert_int_equal(sched_video_find(f->s, (struct video_id){video}, &view), 0);
    assert_int_equal(view.steps[STEP_TRANSCODE].done, 5);
}

static void test_a_kind_that_never_came_is_passed_over_after_a_while(void **state)
{
    struct fix *f = *state;
    struct fix_agent cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    cpu_agent(&cpu, "cpu", 4);
    fix_sync(f, &cpu);
    int64_t task = routed(f, &route, 3, &video);
    fix_sync(f, &cpu);
    assert_int_equal(cpu.held_count, 0);
    char reasons[8][SL_MESSAGE_BYTES];
    assert_int_equal(sched_explain(f->s, (struct task_id){task}, f->now_ns, reasons, 8), 2);
    assert_string_equal(reasons[1],
                        "no node has nvenc at present; it is taken for gone 12 s from now; "
                        "x265 only when that is gone from the farm");
    settle(f, &cpu);
    assert_int_equal(cpu.held_count, 3);
    assert_int_equal(fix_task(f, task).kind, DEVICE_CPU);
    assert_int_equal(fix_task(f, task).entry, 1);
    /* Known by now: what comes next does not wait. */
    task = routed(f, &route, 1, &video);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_sessions_bound_each_device(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu;
    int64_t video;
    struct sched_route two = fix_route(CODEC_H265, 2, 1, only_nvenc);
    struct sched_route four = fix_route(CODEC_H265, 4, 1, only_nvenc);
    cpu_agent(&gpu, "gpu", 16);
    fix_device_add(&gpu, DEVICE_NVENC, 3);
    fix_device_add(&gpu, DEVICE_NVENC, 3);
    fix_sync(f, &gpu);
    routed(f, &two, 4, &video);
    fix_sync(f, &gpu);
    /* Two and two; the one session left on each is too few for the next, though together they are two. */
    assert_int_equal(gpu.held_count, 2);
    fix_work(f, &gpu);
    /* More rungs than the limit: an idle device whole, one after another. */
    int64_t task = routed(f, &four, 3, &video);
    fix_sync(f, &gpu);
    assert_int_equal(gpu.held_count, 2);
    assert_int_equal(fix_task(f, task).sessions, 3);
}

static void test_a_limit_of_the_system_is_one_for_all_its_devices(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    cpu_agent(&gpu, "gpu", 16);
    for (int i = 0; i < 2; i++)
        fix_device_add(&gpu, DEVICE_NVENC, 3)->session_scope = SCOPE_SYSTEM;
    fix_sync(f, &gpu);
    routed(f, &route, 8, &video);
    fix_sync(f, &gpu);
    assert_int_equal(gpu.held_count, 3);
    struct sched_kind_view kinds[DEVICE_KIND_COUNT];
    sched_kinds(f->s, kinds);
    assert_int_equal(kinds[DEVICE_NVENC].session_limit, 3);
}

static void test_no_session_is_no_attempt(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    cpu_agent(&gpu, "gpu", 4);
    fix_device_add(&gpu, DEVICE_NVENC, 0);
    fix_sync(f, &gpu);
    int64_t task = routed(f, &route, 1, &video);
    for (int i = 0; i < 10; i++) {
        fix_sync(f, &gpu);
        fix_fail(&gpu, task, SL_ESESSIONS);
        fix_sync(f, &gpu);
        assert_int_equal(fix_state(f, task), TASK_QUEUED);
        assert_int_equal(fix_task(f, task).attempts, 0);
        fix_pass(f, 3 * FIX_S);
    }
    fix_work(f, &gpu);
    assert_int_equal(fix_state(f, task), TASK_DONE);
}

/* The GPU's node makes two of six chunks and is gone; a CPU makes all six. */
static void test_a_lost_kind_is_followed_by_the_next_and_never_mixed(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    cpu_agent(&gpu, "gpu", 4);
    fix_device_add(&gpu, DEVICE_NVENC, 2);
    cpu_agent(&cpu, "cpu", 8);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    int64_t first = routed(f, &route, 6, &video);
    int64_t audio = fix_tasks(f, video, STEP_AUDIO, 1, STEP_BIT(STEP_TRANSCODE));
    for (int done = 0; done < 2; done++) {
        fix_sync(f, &gpu);
        fix_finish(&gpu, gpu.held[0].task.v);
        fix_sync(f, &gpu);
    }
    assert_int_equal(fix_state(f, first), TASK_DONE);
    assert_int_equal(fix_state(f, first + 1), TASK_DONE);
    uint64_t committed = fix_task(f, first).token.v;
    /* Silence, then the grace: in between nothing moves. */
    for (int i = 0; i < 11; i++) {
        fix_pass(f, 2 * FIX_S);
        fix_sync(f, &cpu);
    }
    assert_int_equal(cpu.held_count, 0);
    assert_int_equal(fix_task(f, first).token.v, committed);
    for (int i = 0; i < 3; i++) {
        fix_pass(f, 2 * FIX_S);
        fix_sync(f, &cpu);
    }
    assert_int_equal(cpu.held_count, 6);
    assert_int_equal(held_of_kind(f, &cpu, DEVICE_CPU), 6);
    assert_int_equal(f->tokens[committed], FIX_TOKEN_DEAD);
    assert_int_equal(fix_state(f, audio), TASK_WAITING);
    /* The GPU is back: the video stays where it is now. */
    gpu.held_count = 0;
    fix_sync(f, &gpu);
    fix_work(f, &cpu);
    for (int i = 0; i < 6; i++)
        assert_int_equal(fix_task(f, first + i).kind, DEVICE_CPU);
    /* And the next one goes to the GPU again. */
    int64_t next = routed(f, &route, 1, &video);
    fix_sync(f, &gpu);
    assert_int_equal(fix_task(f, next).kind, DEVICE_NVENC);
}

static void test_quarantine_takes_a_kind_away_like_silence(void **state)
{
    struct fix *f = *state;
    struct fix_agent node;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    cpu_agent(&node, "node", 4);
    struct device_row *gpu = fix_device_add(&node, DEVICE_NVENC, 2);
    fix_sync(f, &node);
    int64_t task = routed(f, &route, 1, &video);
    fix_sync(f, &node);
    assert_int_equal(fix_task(f, task).kind, DEVICE_NVENC);
    fix_fail(&node, task, SL_EDEVICELOST);
    gpu->health = HEALTH_QUARANTINED;
    fix_sync(f, &node);
    settle(f, &node);
    assert_int_equal(fix_task(f, task).kind, DEVICE_CPU);
    assert_int_equal(fix_task(f, task).attempts, 1);
    fix_work(f, &node);
    gpu->health = HEALTH_PROVING;
    fix_sync(f, &node);
    task = routed(f, &route, 1, &video);
    fix_sync(f, &node);
    assert_int_equal(fix_task(f, task).kind, DEVICE_CPU);
}

static void test_mix_lets_each_chunk_go_where_the_route_says(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    route.mix = true;
    cpu_agent(&gpu, "gpu", 4);
    fix_device_add(&gpu, DEVICE_NVENC, 2);
    cpu_agent(&cpu, "cpu", 8);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    int64_t first = routed(f, &route, 3, &video);
    fix_sync(f, &gpu);
    fix_finish(&gpu, first);
    fix_sync(f, &gpu);
    for (int i = 0; i < 14; i++) {
        fix_pass(f, 2 * FIX_S);
        fix_sync(f, &cpu);
    }
    fix_work(f, &cpu);
    assert_int_equal(fix_task(f, first).kind, DEVICE_NVENC);
    assert_int_equal(fix_task(f, first + 1).kind, DEVICE_CPU);
    assert_int_equal(fix_task(f, first + 2).kind, DEVICE_CPU);
    assert_int_equal(fix_state(f, first), TASK_DONE);
}

/* Work of 600 Mpix a chunk on a GPU that makes 100 a second: a chunk is six seconds. */
static int64_t heavy(struct fix *f, struct sched_route *route, int32_t count, int64_t *video)
{
    struct sched_task_spec spec = {
        .step = STEP_TRANSCODE, .codec = CODEC_H265, .needs_codec = true};
    int64_t first = 0, id;
    spec.demand = (struct demand){
        .cpu_millicores = 1000, .sessions = 1, .memory_bytes = FIX_GB, .work_mpix = 600};
    *video = fix_video(f, PRIORITY_NORMAL);
    assert_int_equal(fix_route_put(f, *video, route), 0);
    for (int32_t i = 0; i < count; i++) {
        spec.piece = i;
        spec.order = i;
        assert_int_equal(fix_spec(f, *video, &spec, &id), 0);
        first = first ? first : id;
    }
    return first;
}

static void heavy_farm(struct fix *f, struct fix_agent *gpu, struct fix_agent *cpu)
{
    cpu_agent(gpu, "gpu", 4);
    gpu->devices[0].encodes = 0;
    fix_device_add(gpu, DEVICE_NVENC, 1)->mpix_per_s[CODEC_H265] = 100;
    cpu_agent(cpu, "cpu", 8);
    fix_sync(f, cpu);
    fix_sync(f, gpu);
}

static void test_a_queue_condition_holds_only_while_the_wait_is_longer(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t videos[4], first[4];
    struct sched_route route = fix_route(CODEC_H265, 1, 2, nvenc_cpu);
    route.entries[1].queue_longer_ns = 60 * FIX_S;
    heavy_farm(f, &gpu, &cpu);
    /* Thirty seconds of work each: the third waits for just sixty, the fourth for ninety. */
    for (int i = 0; i < 4; i++) {
        first[i] = heavy(f, &route, 5, &videos[i]);
        fix_pass(f, FIX_MS);
    }
    fix_sync(f, &gpu);
    fix_pass(f, 2 * FIX_S);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    assert_int_equal(cpu.held_count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fix_task(f, first[3] + i).kind, DEVICE_CPU);
    assert_int_equal(fix_state(f, first[2]), TASK_QUEUED);
    char reasons[8][SL_MESSAGE_BYTES];
    size_t count = sched_explain(f->s, (struct task_id){first[2]}, f->now_ns, reasons, 8);
    bool said = false;
    for (size_t i = 0; i < count; i++)
        said = said || strstr(reasons[i],
                              "waits for an nvenc session: 1 of 1 in use on 1 device; x265 only "
                              "when the wait passes 60 s, now about 60 s");
    if (!said)
        fail_msg("%s / %s / %s", reasons[0], reasons[1], reasons[2]);
    /* With the queue gone, the next video goes to the GPU. */
    fix_work(f, &cpu);
    fix_work(f, &gpu);
    int64_t last = heavy(f, &route, 2, &videos[0]);
    fix_sync(f, &gpu);
    assert_int_equal(fix_task(f, last).kind, DEVICE_NVENC);
}

static void test_what_was_to_overflow_comes_back_when_the_queue_is_short_again(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t ahead, behind;
    struct sched_route route = fix_route(CODEC_H265, 1, 2, nvenc_cpu);
    route.entries[1].queue_longer_ns = 20 * FIX_S;
    heavy_farm(f, &gpu, &cpu);
    cpu.total.memory_bytes = 1; /* CPUs are there, and have no room */
    fix_sync(f, &cpu);
    heavy(f, &route, 6, &ahead);
    int64_t task = heavy(f, &route, 1, &behind);
    fix_pass(f, 2 * FIX_S);
    fix_sync(f, &gpu);
    struct sched_kind_view kinds[DEVICE_KIND_COUNT];
    sched_kinds(f->s, kinds);
    assert_int_equal(kinds[DEVICE_CPU].queued, 1);
    for (int i = 0; i < 5; i++) {
        fix_finish(&gpu, gpu.held[0].task.v);
        fix_sync(f, &gpu);
    }
    fix_pass(f, 2 * FIX_S);
    fix_finish(&gpu, gpu.held[0].task.v);
    fix_sync(f, &gpu);
    fix_sync(f, &gpu);
    assert_int_equal(fix_task(f, task).kind, DEVICE_NVENC);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
}

static void test_ten_bits_need_a_device_that_has_them(void **state)
{
    struct fix *f = *state;
    struct fix_agent node;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 1, 2, nvenc_cpu);
    route.ten_bit = true;
    cpu_agent(&node, "node", 4);
    node.devices[0].encodes_ten_bit = UINT32_C(1) << CODEC_H265;
    fix_device_add(&node, DEVICE_NVENC, 2)->encodes_ten_bit = 0;
    fix_sync(f, &node);
    int64_t task = routed(f, &route, 1, &video);
    settle(f, &node);
    assert_int_equal(fix_task(f, task).kind, DEVICE_CPU);
}

static void test_suspect_devices_come_after_healthy_ones(void **state)
{
    struct fix *f = *state;
    struct fix_agent a, b;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    cpu_agent(&a, "a", 16); /* looked at first: it has more CPU */
    fix_device_add(&a, DEVICE_NVENC, 4)->health = HEALTH_SUSPECT;
    cpu_agent(&b, "b", 8);
    fix_device_add(&b, DEVICE_NVENC, 2);
    fix_sync(f, &a);
    fix_sync(f, &b);
    routed(f, &route, 3, &video);
    fix_sync(f, &a);
    fix_sync(f, &b);
    assert_int_equal(b.held_count, 2);
    assert_int_equal(a.held_count, 1);
}

static void test_feeding_a_gpu_goes_before_encodes_on_cpus(void **state)
{
    struct fix *f = *state;
    struct fix_agent node;
    int64_t video;
    cpu_agent(&node, "node", 4);
    fix_device_add(&node, DEVICE_NVENC, 3);
    fix_sync(f, &node);
    int64_t on_cpu = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 8, 0, CODEC_H264);
    fix_sync(f, &node);
    assert_int_equal(node.held_count, 4);
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    int64_t task = routed(f, &route, 4, &video);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    /* CPU that comes free feeds the encoder first, though the other encodes are older. */
    fix_finish(&node, on_cpu);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, task + 1), TASK_RUNNING);
    assert_int_equal(fix_state(f, on_cpu + 4), TASK_QUEUED);
    fix_finish(&node, on_cpu + 1);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, task + 2), TASK_RUNNING);
    assert_int_equal(fix_state(f, on_cpu + 4), TASK_QUEUED);
    fix_work(f, &node);
    assert_int_equal(fix_totals(f).queued, 0);
}

static void test_what_feeds_an_idle_gpu_is_kept_while_there_is_work_for_gpus(void **state)
{
    struct fix *f = *state;
    struct fix_agent node;
    int64_t video;
    cpu_agent(&node, "node", 4);
    fix_device_add(&node, DEVICE_NVENC, 1);
    fix_device_add(&node, DEVICE_NVENC, 1);
    fix_sync(f, &node);
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    int64_t task = routed(f, &route, 1, &video);
    int64_t on_cpu = fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 8, 0, CODEC_H264);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, on_cpu + 2), TASK_RUNNING);
    assert_int_equal(fix_state(f, on_cpu + 3), TASK_QUEUED);
    fix_finish(&node, task);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, on_cpu + 3), TASK_RUNNING);
}

/* Encodes of a quarter of a CPU each would take every bit that comes free. */
static void test_small_encodes_do_not_nibble_away_what_a_gpu_waits_for(void **state)
{
    struct fix *f = *state;
    struct fix_agent node;
    int64_t video, small[6], other = fix_video(f, PRIORITY_NORMAL);
    struct sched_task_spec spec = {
        .step = STEP_TRANSCODE, .codec = CODEC_H264, .needs_codec = true};
    spec.demand = (struct demand){.cpu_millicores = 250, .memory_bytes = 1};
    cpu_agent(&node, "node", 1);
    fix_device_add(&node, DEVICE_NVENC, 2);
    fix_sync(f, &node);
    for (int i = 0; i < 6; i++)
        assert_int_equal(fix_spec(f, other, &spec, &small[i]), 0);
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    int64_t task = routed(f, &route, 1, &video);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, small[3]), TASK_RUNNING);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    fix_finish(&node, small[0]);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, small[4]), TASK_QUEUED);
    fix_finish(&node, small[1]);
    fix_sync(f, &node);
    assert_int_equal(fix_state(f, task), TASK_RUNNING);
    fix_work(f, &node);
    assert_int_equal(fix_totals(f).queued, 0);
}

static void test_idle_cores_of_a_gpu_node_are_used_when_others_are_full(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    cpu_agent(&gpu, "gpu", 8); /* looked at first: it has more CPU */
    fix_device_add(&gpu, DEVICE_NVENC, 2);
    cpu_agent(&cpu, "cpu", 4);
    fix_sync(f, &gpu);
    fix_sync(f, &cpu);
    fix_encodes(f, fix_video(f, PRIORITY_NORMAL), 6, 0, CODEC_H264);
    fix_sync(f, &gpu);
    fix_sync(f, &cpu);
    assert_int_equal(cpu.held_count, 4);
    assert_int_equal(gpu.held_count, 2);
}

static void test_what_no_known_device_can_make_is_dead_after_a_while(void **state)
{
    struct fix *f = *state;
    struct fix_agent cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_AV1, 1, 1, only_nvenc);
    /* Without any node nothing is known. */
    int64_t task = routed(f, &route, 2, &video);
    fix_pass(f, 3600 * FIX_S);
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    cpu_agent(&cpu, "cpu", 4);
    for (int i = 0; i < 4; i++) {
        fix_sync(f, &cpu);
        fix_pass(f, 5 * FIX_S);
    }
    assert_int_equal(fix_state(f, task), TASK_DEAD);
    assert_int_equal(fix_status(f, video), VIDEO_FAILED);
    struct sched_task_row row = fix_task(f, task);
    assert_int_equal(row.failure.code, SL_EUNPLACED);
    assert_int_equal(row.attempts, 0);
    assert_string_equal(row.failure.message,
                        "no node of the farm can encode av1 by nvenc; add a device that does, or "
                        "another encoder to the policy's route");
    /* Redriven it has as long again; a device that is only away is no reason. */
    assert_int_equal(fix_task_event(f, SCHED_TASK_REDRIVE, task, 0), 0);
    fix_device_add(&cpu, DEVICE_NVENC, 1)->encodes = UINT32_C(1) << CODEC_AV1;
    cpu.devices[1].health = HEALTH_QUARANTINED;
    for (int i = 0; i < 300; i++) {
        fix_sync(f, &cpu);
        fix_pass(f, 5 * FIX_S);
    }
    assert_int_equal(fix_state(f, task), TASK_QUEUED);
    cpu.devices[1].health = HEALTH_HEALTHY;
    fix_work(f, &cpu);
    assert_int_equal(fix_state(f, task), TASK_DONE);
}

static void test_a_restart_keeps_the_binding_and_the_sessions(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu, cpu;
    int64_t video;
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    cpu_agent(&gpu, "gpu", 8);
    fix_device_add(&gpu, DEVICE_NVENC, 2);
    cpu_agent(&cpu, "cpu", 8);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    int64_t task = routed(f, &route, 3, &video);
    fix_sync(f, &gpu);
    assert_int_equal(fix_task(f, task).kind, DEVICE_NVENC);
    fix_restart(f);
    fix_compare(f);
    assert_int_equal(fix_task(f, task).kind, DEVICE_NVENC);
    assert_int_equal(fix_task(f, task).sessions, 2);
    fix_sync(f, &cpu);
    fix_sync(f, &gpu);
    /* Its two sessions are taken: nothing more fits, and nothing goes to the CPUs. */
    assert_int_equal(gpu.held_count, 1);
    assert_int_equal(cpu.held_count, 0);
    fix_work(f, &gpu);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fix_task(f, task + i).kind, DEVICE_NVENC);
}

static void test_routes_that_make_no_sense_are_refused(void **state)
{
    struct fix *f = *state;
    int64_t video = fix_video(f, PRIORITY_NORMAL);
    struct sched_route route = fix_route(CODEC_H265, 2, 2, nvenc_cpu);
    assert_int_equal(fix_route_put(f, video + 1, &route), SL_ENOENT);
    route.count = 0;
    assert_int_equal(fix_route_put(f, video, &route), SL_EINVAL);
    route.count = POLICY_ROUTE_MAX + 1;
    assert_int_equal(fix_route_put(f, video, &route), SL_EINVAL);
    route.count = 2;
    route.entries[1].queue_longer_ns = -1;
    assert_int_equal(fix_route_put(f, video, &route), SL_EINVAL);
    route.entries[1].queue_longer_ns = 0;
    assert_int_equal(fix_route_put(f, video, &route), 0);
    assert_int_equal(fix_count(f, SCHED_PUT_ROUTE), 1);
    assert_int_equal(fix_route_put(f, video, &route), 0);
    assert_int_equal(fix_count(f, SCHED_PUT_ROUTE), 0);
    fix_encodes(f, video, 1, 0, CODEC_H265);
    route.mix = true;
    assert_int_equal(fix_route_put(f, video, &route), SL_ECONFLICT);
}

static void test_kinds_are_counted(void **state)
{
    struct fix *f = *state;
    struct fix_agent gpu;
    int64_t video;
    struct sched_kind_view kinds[DEVICE_KIND_COUNT];
    struct sched_route route = fix_route(CODEC_H265, 1, 1, only_nvenc);
    cpu_agent(&gpu, "gpu", 8);
    fix_device_add(&gpu, DEVICE_NVENC, 1)->mpix_per_s[CODEC_H265] = 100;
    fix_device_add(&gpu, DEVICE_NVENC, 1)->mpix_per_s[CODEC_H265] = 100;
    fix_sync(f, &gpu);
    heavy(f, &route, 6, &video);
    sched_kinds(f->s, kinds);
    assert_int_equal(kinds[DEVICE_NVENC].devices, 2);
    assert_int_equal(kinds[DEVICE_NVENC].sessions, 2);
    assert_int_equal(kinds[DEVICE_NVENC].session_limit, 2);
    assert_int_equal(kinds[DEVICE_NVENC].running, 2);
    assert_int_equal(kinds[DEVICE_NVENC].queued, 4);
    assert_int_equal(kinds[DEVICE_NVENC].wait_ns, 18 * FIX_S);
    assert_int_equal(kinds[DEVICE_CPU].queued, 0);
}

static struct fix fixture;

static int setup(void **state)
{
    fix_open(&fixture, 1);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    fix_close(*state);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_the_first_kind_that_is_there_is_taken),
        CASE(test_a_kind_that_never_came_is_passed_over_after_a_while),
        CASE(test_sessions_bound_each_device),
        CASE(test_a_limit_of_the_system_is_one_for_all_its_devices),
        CASE(test_no_session_is_no_attempt),
        CASE(test_a_lost_kind_is_followed_by_the_next_and_never_mixed),
        CASE(test_quarantine_takes_a_kind_away_like_silence),
        CASE(test_mix_lets_each_chunk_go_where_the_route_says),
        CASE(test_a_queue_condition_holds_only_while_the_wait_is_longer),
        CASE(test_what_was_to_overflow_comes_back_when_the_queue_is_short_again),
        CASE(test_ten_bits_need_a_device_that_has_them),
        CASE(test_suspect_devices_come_after_healthy_ones),
        CASE(test_feeding_a_gpu_goes_before_encodes_on_cpus),
        CASE(test_what_feeds_an_idle_gpu_is_kept_while_there_is_work_for_gpus),
        CASE(test_small_encodes_do_not_nibble_away_what_a_gpu_waits_for),
        CASE(test_idle_cores_of_a_gpu_node_are_used_when_others_are_full),
        CASE(test_what_no_known_device_can_make_is_dead_after_a_while),
        CASE(test_a_restart_keeps_the_binding_and_the_sessions),
        CASE(test_routes_that_make_no_sense_are_refused),
        CASE(test_kinds_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
