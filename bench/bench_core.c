/* The core alone: events per second on one thread with 100,000 queued tasks, and their memory.
 *
 * The mix of a busy farm: agents sync in turn, stating every lease they hold; a part of the syncs finishes
 * a lease, which frees room and leads to a new grant; videos arrive and are forgotten so that the queue
 * keeps its length. Building an event is part of the time. Prints one line of JSON.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/core/sched.h"

#define QUEUED      100000
#define NODES       200
#define NODE_CPUS   16
#define VIDEO_TASKS 50
#define EVENTS      1000000

struct bench_node {
    struct sched_held held[NODE_CPUS * 2];
    int32_t held_count;
    uint64_t seq;
    int64_t id;
    bool news; /* has grants to fetch */
};

struct bench {
    struct sched *s;
    struct sched_actions actions;
    struct bench_node nodes[NODES];
    struct device_row device;
    int64_t now_ns;
    int64_t next_video;
    int64_t done_videos[1024]; /* ready to be forgotten */
    int done_count;
    int64_t events, syncs, finished, submits, grants;
};

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "bench_core: %s\n", what);
    exit(1);
}

static void step(struct bench *b, const struct sched_event *event)
{
    sched_actions_reset(&b->actions);
    must(sched_step(b->s, b->now_ns, event, &b->actions) == 0, "an event was refused");
    b->events++;
    for (size_t i = 0; i < b->actions.count; i++) {
        const struct sched_action *action = &b->actions.items[i];
        if (action->kind == SCHED_WAKE_NODE)
            b->nodes[action->node.v - 1].news = true;
        else if (action->kind == SCHED_STEP_READY && b->done_count < 1024)
            b->done_videos[b->done_count++] = action->video.v;
    }
}

static void submit(struct bench *b)
{
    struct sched_event event = {.kind = SCHED_VIDEO_ADD, .now_unix_ns = b->now_ns};
    event.video.v = event.video_row.video.v = ++b->next_video;
    event.video_row.priority = (enum priority)(b->next_video % PRIORITY_COUNT);
    event.video_row.created_unix_ns = b->now_ns;
    step(b, &event);
    struct sched_task_spec specs[VIDEO_TASKS];
    memset(specs, 0, sizeof specs);
    for (int i = 0; i < VIDEO_TASKS; i++) {
        specs[i].step = STEP_TRANSCODE;
        specs[i].piece = i;
        specs[i].order = i;
        specs[i].needs_codec = true;
        specs[i].demand =
            (struct demand){.cpu_millicores = 1000, .sessions = 1, .memory_bytes = 1 << 30};
    }
    struct sched_event tasks = {.kind = SCHED_TASKS_ADD, .now_unix_ns = b->now_ns};
    tasks.video = event.video;
    tasks.tasks.specs = specs;
    tasks.tasks.count = VIDEO_TASKS;
    step(b, &tasks);
    b->submits++;
}

/* States all leases; `finish` says that the oldest is finished. */
static void sync_node(struct bench *b, int index, bool finish)
{
    struct bench_node *n = &b->nodes[index];
    struct sched_event event = {.kind = SCHED_NODE_SYNC, .now_unix_ns = b->now_ns};
    snprintf(event.sync.uuid, sizeof event.sync.uuid, "node-%04d", index);
    memcpy(event.sync.name, event.sync.uuid, sizeof event.sync.uuid);
    event.sync.session = 1;
    event.sync.seq = ++n->seq;
    event.sync.total = (struct demand){.cpu_millicores = NODE_CPUS * 1000,
                                       .sessions = NODE_CPUS,
                                       .memory_bytes = INT64_C(64) << 30};
    event.sync.devices = &b->device;
    event.sync.device_count = 1;
    event.sync.held = n->held;
    event.sync.held_count = n->held_count;
    finish = finish && n->held_count == NODE_CPUS;
    if (finish)
        n->held[0].state = HELD_FINISHED;
    step(b, &event);
    b->syncs++;
    if (finish) {
        memmove(n->held, n->held + 1, (size_t)--n->held_count * sizeof n->held[0]);
        b->finished++;
    }
    if (!n->news)
        return;
    n->news = false;
    struct node_id id = {index + 1};
    struct sched_grant_view grants[NODE_CPUS];
    size_t count = sched_node_grants(b->s, id, grants, NODE_CPUS);
    for (size_t i = 0; i < count; i++) {
        n->held[n->held_count++] = (struct sched_held){
            .token = grants[i].token, .task = grants[i].task, .state = HELD_RUNNING};
        b->grants++;
    }
}

static void forget(struct bench *b)
{
    struct sched_event event = {.kind = SCHED_VIDEO_FORGET, .now_unix_ns = b->now_ns};
    event.video.v = b->done_videos[--b->done_count];
    step(b, &event);
}

static int64_t queued(const struct bench *b)
{
    struct sched_totals totals;
    sched_totals(b->s, &totals);
    return totals.queued;
}

int main(void)
{
    static struct bench b;
    struct sched_config config;
    sched_config_default(&config);
    must(sched_open(&config, 1, &b.s) == 0, "the core does not open");
    b.now_ns = SL_NS_PER_S;
    b.device.encodes = UINT32_C(1) << CODEC_H264;
    size_t before_bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
    while (queued(&b) < QUEUED)
        submit(&b);
    /* Actions are the shell's. */
    size_t after_bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
    after_bytes -= b.actions.capacity * sizeof *b.actions.items;
    int64_t task_bytes = (int64_t)(after_bytes - before_bytes) / queued(&b);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < NODES; i++)
            sync_node(&b, i, false);
    while (queued(&b) < QUEUED)
        submit(&b);

    b.events = b.syncs = b.finished = b.submits = b.grants = 0;
    int64_t start_ns = sl_now_ns();
    for (int turn = 0; b.events < EVENTS; turn++) {
        b.now_ns += SL_NS_PER_MS;
        sync_node(&b, turn % NODES, turn % 2 == (turn / NODES) % 2);
        while (b.done_count)
            forget(&b);
        if (b.finished / VIDEO_TASKS > b.submits)
            submit(&b);
    }
    int64_t took_ns = sl_now_ns() - start_ns;
    sched_check(b.s);
    printf("{\"bench\": \"core\", \"queued\": %" PRId64 ", \"events\": %" PRId64
           ", \"events_per_s\": %" PRId64 ", \"syncs\": %" PRId64 ", \"finished\": %" PRId64
           ", \"granted\": %" PRId64 ", \"videos\": %" PRId64 ", \"bytes_per_task\": %" PRId64
           "}\n",
           queued(&b), b.events, sl_muldiv_i64(b.events, SL_NS_PER_S, took_ns), b.syncs, b.finished,
           b.grants, b.submits, task_bytes);
    sched_actions_fini(&b.actions);
    sched_close(&b.s);
    return 0;
}
