/* A seeded simulation: a small farm in which everything goes wrong, then heals.
 *
 * While it is broken only safety counts: the fixture checks tokens and rows after each step, sched_check the
 * state, fix_compare that nothing lives in the core that would not survive it. Then everything heals, and
 * every video has to end. SLUICE_SEED replays one seed; without it several run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/core/sched_fixture.h"

#define AGENTS   7
#define VIDEOS   24
#define LATE_MAX 16
#define STEPS    10000
#define SEEDS    12

struct sim_agent {
    struct fix_agent agent;
    int64_t silent_until_ns;
};

struct sim {
    struct fix f;
    uint64_t random;
    struct sim_agent agents[AGENTS];
    struct fix_agent late[LATE_MAX]; /* requests that arrive again, or only now */
    int late_count;
    int64_t videos[VIDEOS]; /* 0: free */
    uint32_t ready[VIDEOS]; /* steps the daemon has yet to act on */
    int64_t redos;
    int64_t agains;                   /* chunks made again by another encoder */
    int64_t kinds[DEVICE_KIND_COUNT]; /* commits */
    bool healed;
};

static uint32_t draw(struct sim *sim, uint32_t below)
{
    sim->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = sim->random;
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((x ^ (x >> 31)) >> 32) % below;
}

static bool chance(struct sim *sim, uint32_t percent)
{
    return draw(sim, 100) < percent;
}

/* ---- the daemon's own part ---- */

static int video_index(const struct sim *sim, int64_t video)
{
    for (int i = 0; i < VIDEOS; i++)
        if (sim->videos[i] == video)
            return i;
    return -1;
}

static void news_read(struct sim *sim)
{
    for (size_t i = 0; i < sim->f.actions.count; i++) {
        const struct sched_action *action = &sim->f.actions.items[i];
        struct sched_task_row row;
        sim->agains += action->kind == SCHED_TASK_AGAIN;
        if (action->kind == SCHED_TASK_COMMITTED &&
            sched_task_find(sim->f.s, action->task, &row) == 0 && row.needs_codec)
            sim->kinds[row.kind]++;
        int index = action->kind == SCHED_STEP_READY ? video_index(sim, action->video.v) : -1;
        if (index >= 0)
            sim->ready[index] |= STEP_BIT(action->step);
    }
}

static int step_sim(struct sim *sim, int rc)
{
    news_read(sim);
    return rc;
}

static int64_t step_total(const struct sched_step_view *step)
{
    return (int64_t)step->waiting + step->queued + step->running + step->done + step->dead +
           step->cancelled;
}

/* Routes over devices that come and go; without one, CPUs. */
static void encodes_add(struct sim *sim, int64_t video)
{
    static const enum device_kind kinds[][3] = {
        {DEVICE_NVENC},
        {DEVICE_VAAPI, DEVICE_NVENC},
        {DEVICE_NVENC, DEVICE_CPU},
        {DEVICE_VAAPI, DEVICE_CPU},
        {DEVICE_NVENC, DEVICE_VAAPI, DEVICE_CPU},
    };
    static const int32_t counts[] = {1, 2, 2, 2, 3};
    struct fix *f = &sim->f;
    enum codec codec = chance(sim, 80) ? CODEC_H264 : CODEC_H265;
    uint32_t which = draw(sim, 9);
    if (which < 5) {
        struct sched_route route =
            fix_route(codec, 1 + (int32_t)draw(sim, 5), counts[which], kinds[which]);
        route.mix = chance(sim, 30);
        for (int32_t i = 1; i < route.count; i++)
            if (chance(sim, 40))
                route.entries[i].queue_longer_ns = (int64_t)(1 + draw(sim, 30)) * FIX_S;
        assert_int_equal(fix_route_put(f, video, &route), 0);
    }
    fix_encodes(f, video, 1 + (int32_t)draw(sim, 9), STEP_BIT(STEP_PLAN), codec);
}

/* Plans in several events, any of which may be the last before a crash. */
static void plan(struct sim *sim, int64_t video)
{
    struct fix *f = &sim->f;
    struct sched_video_view view;
    if (sched_video_find(f->s, (struct video_id){video}, &view) != 0)
        return;
    const uint32_t media = STEP_BIT(STEP_TRANSCODE) | STEP_BIT(STEP_AUDIO);
    if (view.status == VIDEO_CANCELLED || view.status == VIDEO_FAILED ||
        view.steps[STEP_PLAN].finished || !view.steps[STEP_PROBE].finished)
        return;
    if (!sim->healed && chance(sim, 4)) {
        step_sim(sim, fix_video_fail(f, video, STEP_PLAN, SL_ETOOBIG));
        return;
    }
    if (step_total(&view.steps[STEP_TRANSCODE]) == 0)
        encodes_add(sim, video);
    else if (step_total(&view.steps[STEP_AUDIO]) == 0)
        fix_tasks(f, video, STEP_AUDIO, 1, STEP_BIT(STEP_PLAN));
    else if (step_total(&view.steps[STEP_PACKAGE]) == 0)
        fix_tasks(f, video, STEP_PACKAGE, 1, media);
    else if (step_total(&view.steps[STEP_VERIFY]) == 0)
        fix_tasks(f, video, STEP_VERIFY, 1, STEP_BIT(STEP_PACKAGE));
    else if (!view.steps[STEP_IMAGES].skipped)
        assert_int_equal(fix_video_event(f, SCHED_STEP_SKIP, video, STEP_IMAGES), 0);
    else
        assert_int_equal(fix_video_event(f, SCHED_STEP_DONE, video, STEP_PLAN), 0);
    news_read(sim);
    sim->ready[video_index(sim, video)] |= STEP_BIT(STEP_PROBE);
}

static int task_pick(void *arg, const struct sched_task_row *row)
{
    int64_t *want = arg;
    if (row->step == STEP_TRANSCODE && row->state == TASK_DONE && want[0]-- == 0) {
        want[1] = row->task.v;
        want[2] = row->preroll;
        return 1;
    }
    return 0;
}

static void daemon_act(struct sim *sim)
{
    struct fix *f = &sim->f;
    int i = (int)draw(sim, VIDEOS);
    for (int step = 0; step < STEP_COUNT && sim->videos[i]; step++) {
        if (!(sim->ready[i] & STEP_BIT(step)))
            continue;
        sim->ready[i] &= ~STEP_BIT(step);
        if (step == STEP_PROBE)
            plan(sim, sim->videos[i]);
        int64_t want[3] = {draw(sim, 4), 0, 0};
        if (step == STEP_TRANSCODE && !sim->healed && chance(sim, 40) &&
            sched_video_tasks_walk(f->s, (struct video_id){sim->videos[i]}, task_pick, want) == 1 &&
            want[2] < 15) {
            int rc = fix_task_event(f, SCHED_TASK_REDO, want[1], (int32_t)want[2] + 1);
            assert_true(rc == 0 || rc == SL_ECONFLICT);
            sim->redos++;
            news_read(sim);
        }
    }
}

/* ---- people ---- */

static void people_act(struct sim *sim)
{
    struct fix *f = &sim->f;
    int i = (int)draw(sim, VIDEOS);
    if (!sim->videos[i]) {
        sim->videos[i] = fix_video(f, (enum priority)draw(sim, PRIORITY_COUNT));
        sim->ready[i] = 0;
        fix_tasks(f, sim->videos[i], STEP_PROBE, 1, 0);
        return;
    }
    int64_t video = sim->videos[i];
    switch (draw(sim, 20)) {
    case 0:
        step_sim(sim, fix_video_event(f, SCHED_VIDEO_CANCEL, video, STEP_COUNT));
        break;
    case 1:
    case 2:
    case 6:
    case 7:
        step_sim(sim, fix_video_event(f, SCHED_VIDEO_RETRY, video, STEP_COUNT));
        break;
    case 3:
        step_sim(sim,
                 fix_video_event(f, SCHED_VIDEO_RETRY, video, (enum step)draw(sim, STEP_COUNT)));
        break;
    case 4:
    case 8:
    case 9:
        if (fix_status(f, video) == VIDEO_READY || chance(sim, 10)) {
            assert_int_equal(fix_video_event(f, SCHED_VIDEO_FORGET, video, STEP_COUNT), 0);
            sim->videos[i] = 0;
        }
        break;
    case 5:
        step_sim(sim, fix_video_fail(f, video, STEP_TRANSCODE, SL_ESEAM));
        break;
    default:
        break;
    }
}

static int dead_pick(void *arg, const struct sched_task_row *row)
{
    *(int64_t *)arg = row->task.v;
    return 1;
}

static void operator_act(struct sim *sim)
{
    struct fix *f = &sim->f;
    struct fix_agent *a = &sim->agents[draw(sim, AGENTS)].agent;
    int64_t dead = 0;
    switch (draw(sim, 5)) {
    case 0:
        if (a->node)
            fix_node_event(f, SCHED_NODE_DRAIN, a->node,
                           chance(sim, 50) ? (int64_t)draw(sim, 20) * FIX_S : 0);
        break;
    case 1:
    case 2:
        if (a->node)
            fix_node_event(f, SCHED_NODE_UNDRAIN, a->node, 0);
        break;
    default:
        if (sched_dead_tasks_walk(f->s, dead_pick, &dead))
            assert_int_equal(
                fix_task_event(f, chance(sim, 70) ? SCHED_TASK_REDRIVE : SCHED_TASK_DROP, dead, 0),
                0);
        break;
    }
    news_read(sim);
}

/* ---- agents ---- */

static int failure_draw(struct sim *sim)
{
    static const int codes[] = {SL_EDECODE,  SL_ENOSPC,     SL_EHANG,      SL_ECRASH, SL_EIO,
                                SL_EUNREACH, SL_EPREEMPTED, SL_ENOENCODER, SL_ENOMEM, SL_ECANCELLED,
                                SL_EVERIFY,  SL_ESESSIONS,  SL_OK};
    return codes[draw(sim, sizeof codes / sizeof codes[0])];
}

static void agent_work(struct sim *sim, struct fix_agent *a)
{
    for (int32_t h = 0; h < a->held_count; h++) {
        if (a->held[h].state != HELD_RUNNING || !chance(sim, 40))
            continue;
        uint32_t luck = sim->healed ? 0 : draw(sim, 100);
        if (luck < 87)
            a->held[h].state = HELD_FINISHED;
        else if (luck < 96)
            fix_fail(a, a->held[h].task.v, failure_draw(sim));
        else
            a->held[h].state = HELD_HANDED_BACK;
    }
}

static void verdicts_check(struct sim *sim, const struct fix_agent *a)
{
    struct fix *f = &sim->f;
    for (size_t i = 0; i < f->actions.count; i++) {
        const struct sched_action *action = &f->actions.items[i];
        if (action->kind != SCHED_VERDICT)
            continue;
        for (int32_t h = 0; h < a->held_count; h++) {
            if (a->held[h].token.v != action->token.v)
                continue;
            struct sched_task_row row = fix_task(f, action->task.v);
            bool committed = row.state == TASK_DONE && row.token.v == action->token.v;
            if (a->held[h].state == HELD_FINISHED)
                assert_int_equal(committed, action->verdict == VERDICT_ACCEPTED);
            if (action->verdict == VERDICT_STALE)
                assert_false(committed);
        }
    }
}

/* The shell answers tokens of tasks that the core does not know. */
static void unknown_drop(struct sim *sim, struct fix_agent *a)
{
    struct sched_task_row row;
    for (int32_t h = a->held_count; h-- > 0;)
        if (sched_task_find(sim->f.s, a->held[h].task, &row) == SL_ENOENT)
            fix_drop(a, h);
}

static void agent_sync(struct sim *sim, struct fix_agent *a)
{
    struct fix *f = &sim->f;
    unknown_drop(sim, a);
    int rc = fix_sync_send(f, a);
    news_read(sim);
    assert_true(rc == 0 || rc == SL_ECONFLICT);
    if (rc)
        return;
    verdicts_check(sim, a);
    if (!sim->healed && chance(sim, 10) && sim->late_count < LATE_MAX)
        sim->late[sim->late_count++] = *a;
    if (sim->healed || chance(sim, 85))
        fix_sync_read(f, a);
}

/* A copy of an old request arrives; nobody waits for its answer. */
static void late_arrives(struct sim *sim)
{
    if (!sim->late_count)
        return;
    int i = (int)draw(sim, (uint32_t)sim->late_count);
    struct fix_agent copy = sim->late[i];
    copy.seq--;
    fix_sync_send(&sim->f, &copy);
    news_read(sim);
    verdicts_check(sim, &copy);
    if (chance(sim, 60))
        sim->late[i] = sim->late[--sim->late_count];
}

/* Devices fall ill, change their limits, vanish and are listed in another order. */
static void device_trouble(struct sim *sim, struct fix_agent *a)
{
    if (a->device_count < 2)
        return;
    struct device_row *row = &a->devices[1 + draw(sim, (uint32_t)a->device_count - 1)];
    struct device_row last = a->devices[a->device_count - 1];
    switch (draw(sim, 4)) {
    case 0:
        row->session_limit = (int32_t)draw(sim, 5);
        break;
    case 1:
        a->devices[a->device_count - 1] = *row;
        *row = last;
        break;
    default:
        row->health = (enum device_health)draw(sim, HEALTH_COUNT);
        break;
    }
}

static void agent_trouble(struct sim *sim, struct sim_agent *sa)
{
    struct fix_agent *a = &sa->agent;
    if (chance(sim, 40))
        device_trouble(sim, a);
    switch (draw(sim, 8)) {
    case 0: /* killed; starts again with nothing, or with what its disk says */
        a->session = a->session * 3 + 1 + draw(sim, 1000);
        a->seq = 0;
        if (chance(sim, 70))
            a->held_count = 0;
        sa->silent_until_ns = sim->f.now_ns + (int64_t)draw(sim, 15) * FIX_S;
        break;
    case 1:
    case 2: /* cut off, working on */
        sa->silent_until_ns = sim->f.now_ns + (int64_t)draw(sim, 30) * FIX_S;
        break;
    case 3:
        a->notice_ns = a->notice_ns ? 0 : 30 * FIX_S;
        break;
    case 4:
        a->leaving = !a->leaving;
        break;
    case 5:
        a->devices[0].health =
            a->devices[0].health == HEALTH_HEALTHY ? HEALTH_SUSPECT : HEALTH_HEALTHY;
        break;
    case 6:
        a->total.cpu_millicores = 1000 * (1 + (int32_t)draw(sim, 6));
        a->devices[0].session_limit = (int32_t)draw(sim, 4);
        break;
    default: /* forgets one lease */
        if (a->held_count)
            fix_drop(a, (int32_t)draw(sim, (uint32_t)a->held_count));
        break;
    }
}

static void farm_open(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    fix_open(&sim->f, seed);
    sim->random = seed;
    for (int i = 0; i < AGENTS; i++) {
        struct fix_agent *a = &sim->agents[i].agent;
        fix_agent_init(a, (char[]){'n', (char)('0' + i), 0}, 1 + i % 4);
        a->spot = i % 3 == 2;
        if (i % 2)
            a->devices[0].encodes |= UINT32_C(1) << CODEC_H265;
        for (int gpus = 0; gpus < i % 3; gpus++) {
            struct device_row *row =
                fix_device_add(a, gpus || i > 3 ? DEVICE_VAAPI : DEVICE_NVENC, i % 4);
            row->mpix_per_s[CODEC_H264] = row->mpix_per_s[CODEC_H265] = 10;
            if (i == 5)
                row->session_scope = SCOPE_SYSTEM;
        }
    }
}

static void farm_break(struct sim *sim, int steps)
{
    struct fix *f = &sim->f;
    for (int step = 0; step < steps; step++) {
        struct sim_agent *sa = &sim->agents[draw(sim, AGENTS)];
        uint32_t what = draw(sim, 100);
        if (what < 50) {
            agent_work(sim, &sa->agent);
            if (sa->silent_until_ns <= f->now_ns)
                agent_sync(sim, &sa->agent);
        } else if (what < 65) {
            daemon_act(sim);
        } else if (what < 75) {
            people_act(sim);
        } else if (what < 79) {
            operator_act(sim);
        } else if (what < 83) {
            late_arrives(sim);
        } else if (what < 86) {
            agent_trouble(sim, sa);
        } else if (what < 87) {
            fix_restart(f);
            memset(sim->ready, 0, sizeof sim->ready);
            news_read(sim);
        } else if (what < 88) {
            f->now_unix_ns += ((int64_t)draw(sim, 7200) - 3600) * FIX_S;
        } else if (what < 89) {
            f->now_ns += 5 * FIX_S;
            sched_extend_leases(f->s, 5 * FIX_S);
        } else {
            fix_pass(f, (int64_t)draw(sim, chance(sim, 5) ? 20000 : 2000) * FIX_MS);
        }
        if (step % 20 == 0)
            fix_compare(f);
    }
    fix_compare(f);
}

static bool all_ended(struct sim *sim)
{
    for (int i = 0; i < VIDEOS; i++) {
        if (!sim->videos[i])
            continue;
        struct sched_video_view view;
        assert_int_equal(sched_video_find(sim->f.s, (struct video_id){sim->videos[i]}, &view), 0);
        if (view.status == VIDEO_FAILED)
            assert_int_not_equal(view.failure.code, 0);
        else if (view.status != VIDEO_READY && view.status != VIDEO_CANCELLED)
            return false;
    }
    return fix_totals(&sim->f).running == 0;
}

static void farm_run(struct sim *sim)
{
    for (int round = 0; !all_ended(sim); round++) {
        assert_in_range(round, 0, 4000);
        for (int i = 0; i < AGENTS; i++) {
            agent_work(sim, &sim->agents[i].agent);
            agent_sync(sim, &sim->agents[i].agent);
        }
        for (int i = 0; i < 4 * VIDEOS; i++)
            daemon_act(sim);
        fix_pass(&sim->f, 500 * FIX_MS);
        news_read(sim);
    }
}

static void farm_heal(struct sim *sim)
{
    struct fix *f = &sim->f;
    sim->healed = true;
    for (int i = 0; i < AGENTS; i++) {
        struct fix_agent *a = &sim->agents[i].agent;
        a->notice_ns = 0;
        a->leaving = false;
        a->devices[0].health = HEALTH_HEALTHY;
        a->devices[0].session_limit = 0;
        for (int32_t d = 1; d < a->device_count; d++)
            a->devices[d].health = HEALTH_HEALTHY;
        if (a->node)
            fix_node_event(f, SCHED_NODE_UNDRAIN, a->node, 0);
        news_read(sim);
    }
    farm_run(sim);
    /* What failed while things were broken is retried now, and has to get through. */
    for (int i = 0; i < VIDEOS; i++)
        if (sim->videos[i] && fix_status(f, sim->videos[i]) != VIDEO_READY) {
            assert_int_equal(fix_video_event(f, SCHED_VIDEO_RETRY, sim->videos[i], STEP_COUNT), 0);
            news_read(sim);
        }
    farm_run(sim);
    fix_compare(f);
    for (int i = 0; i < VIDEOS; i++)
        if (sim->videos[i])
            assert_int_equal(fix_status(f, sim->videos[i]), VIDEO_READY);
}

static struct sim farm;

static int64_t again_sum; /* over all seeds */

static void run(uint64_t seed)
{
    printf("seed %llu: ", (unsigned long long)seed);
    fflush(stdout);
    farm_open(&farm, seed);
    farm_break(&farm, STEPS);
    int committed = 0, dead = 0;
    for (size_t t = 0; t < farm.f.token_capacity; t++) {
        committed += farm.f.tokens[t] == FIX_TOKEN_COMMITTED;
        dead += farm.f.tokens[t] == FIX_TOKEN_DEAD;
    }
    farm_heal(&farm);
    printf("while broken %d commits, %d dead tokens, %lld redos, %lld made again; %lld tokens in "
           "all; by CPU, NVENC and VA-API %lld, %lld, %lld\n",
           committed, dead, (long long)farm.redos, (long long)farm.agains,
           (long long)farm.f.store.counters.next_token - 1, (long long)farm.kinds[DEVICE_CPU],
           (long long)farm.kinds[DEVICE_NVENC], (long long)farm.kinds[DEVICE_VAAPI]);
    /* A simulation in which nothing happens proves nothing. */
    assert_true(committed > 50 && dead > 50);
    assert_true(farm.kinds[DEVICE_CPU] > 5 && farm.kinds[DEVICE_NVENC] > 5 &&
                farm.kinds[DEVICE_VAAPI] > 5);
    again_sum += farm.agains;
    fix_close(&farm.f);
}

static void test_a_broken_farm_is_safe_and_a_healed_one_finishes(void **state)
{
    (void)state;
    uint64_t seed = fix_seed(20261121);
    int seeds = getenv("SLUICE_SEED") ? 1 : SEEDS;
    for (int i = 0; i < seeds; i++)
        run(seed + (uint64_t)i);
    if (seeds > 1)
        assert_true(again_sum > 0);
}

static void test_same_seed_and_events_give_the_same_bytes(void **state)
{
    (void)state;
    uint64_t seed = fix_seed(7), digests[2];
    for (int i = 0; i < 2; i++) {
        farm_open(&farm, seed);
        farm_break(&farm, 800);
        digests[i] = farm.f.digest;
        fix_close(&farm.f);
    }
    assert_true(digests[0] == digests[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broken_farm_is_safe_and_a_healed_one_finishes),
        cmocka_unit_test(test_same_seed_and_events_give_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
