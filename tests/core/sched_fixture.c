#include "tests/core/sched_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the test program: a broken promise of the core is never part of a test's plan. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s, seed %" PRIu64 "\n", __FILE__, __LINE__, #condition,       \
                    f->seed);                                                                      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

uint64_t fix_seed(uint64_t otherwise)
{
    const char *text = getenv("SLUICE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : otherwise;
    printf("SLUICE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

void fix_open(struct fix *f, uint64_t seed)
{
    *f = (struct fix){.seed = seed, .now_ns = 1000 * FIX_S, .next_video = 1000};
    f->now_unix_ns = INT64_C(1700000000) * FIX_S;
    sched_config_default(&f->config);
    f->store.counters = (struct sched_counters){1, 1, 1};
    MUST(sched_open(&f->config, seed, &f->s) == 0);
}

void fix_close(struct fix *f)
{
    sched_close(&f->s);
    sched_actions_fini(&f->actions);
    free(f->store.videos);
    free(f->store.routes);
    free(f->store.tasks);
    free(f->store.nodes);
    free(f->tokens);
}

/* ---- the store ---- */

static void *grown(void *items, size_t *capacity, size_t count, size_t bytes)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 64;
    items = realloc(items, *capacity * bytes);
    if (!items)
        abort();
    return items;
}

static struct sched_task_row *store_task(struct fix_store *store, int64_t id)
{
    for (size_t i = store->task_count; i-- > 0;)
        if (store->tasks[i].task.v == id)
            return &store->tasks[i];
    return NULL;
}

static uint8_t *token_at(struct fix *f, uint64_t token)
{
    if (token >= f->token_capacity) {
        size_t capacity = (token + 1) * 2;
        f->tokens = realloc(f->tokens, capacity);
        if (!f->tokens)
            abort();
        memset(f->tokens + f->token_capacity, 0, capacity - f->token_capacity);
        f->token_capacity = capacity;
    }
    return &f->tokens[token];
}

static void task_put(struct fix *f, const struct sched_task_row *row)
{
    struct fix_store *store = &f->store;
    struct sched_task_row *old = store_task(store, row->task.v);
    /* A token may only be replaced after it was said to be dead, and a committed one stays. */
    if (old && old->token.v && old->token.v != row->token.v)
        MUST(*token_at(f, old->token.v) == FIX_TOKEN_DEAD);
    if (row->state == TASK_RUNNING) {
        uint8_t *token = token_at(f, row->token.v);
        MUST(*token == FIX_TOKEN_NONE || *token == FIX_TOKEN_LIVE);
        MUST(*token == FIX_TOKEN_LIVE || row->token.v >= store->counters.next_token);
        *token = FIX_TOKEN_LIVE;
    }
    if (row->state == TASK_DONE)
        MUST(*token_at(f, row->token.v) == FIX_TOKEN_COMMITTED);
    if (old) {
        MUST(old->video.v == row->video.v && old->step == row->step && old->piece == row->piece);
        *old = *row;
        return;
    }
    store->tasks = grown(store->tasks, &store->task_capacity, store->task_count, sizeof *row);
    store->tasks[store->task_count++] = *row;
}

static void video_put(struct fix_store *store, const struct sched_video_row *row)
{
    for (size_t i = 0; i < store->video_count; i++)
        if (store->videos[i].video.v == row->video.v) {
            store->videos[i] = *row;
            return;
        }
    store->videos = grown(store->videos, &store->video_capacity, store->video_count, sizeof *row);
    store->videos[store->video_count++] = *row;
}

static void route_put(struct fix_store *store, const struct sched_route_row *row)
{
    for (size_t i = 0; i < store->route_count; i++)
        if (store->routes[i].video.v == row->video.v &&
            store->routes[i].route.codec == row->route.codec) {
            store->routes[i] = *row;
            return;
        }
    store->routes = grown(store->routes, &store->route_capacity, store->route_count, sizeof *row);
    store->routes[store->route_count++] = *row;
}

static void node_put(struct fix_store *store, const struct sched_node_row *row)
{
    for (size_t i = 0; i < store->node_count; i++)
        if (store->nodes[i].node.v == row->node.v) {
            store->nodes[i] = *row;
            return;
        }
    store->nodes = grown(store->nodes, &store->node_capacity, store->node_count, sizeof *row);
    store->nodes[store->node_count++] = *row;
}

/* step STEP_COUNT: all of the video. */
static void tasks_delete(struct fix_store *store, int64_t video, enum step step)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->task_count; i++)
        if (store->tasks[i].video.v != video ||
            (step != STEP_COUNT && store->tasks[i].step != step))
            store->tasks[kept++] = store->tasks[i];
    store->task_count = kept;
}

static void video_delete(struct fix_store *store, int64_t video)
{
    tasks_delete(store, video, STEP_COUNT);
    size_t kept = 0;
    for (size_t i = 0; i < store->video_count; i++)
        if (store->videos[i].video.v != video)
            store->videos[kept++] = store->videos[i];
    store->video_count = kept;
    kept = 0;
    for (size_t i = 0; i < store->route_count; i++)
        if (store->routes[i].video.v != video)
            store->routes[kept++] = store->routes[i];
    store->route_count = kept;
}

static void action_apply(struct fix *f, const struct sched_action *action)
{
    switch (action->kind) {
    case SCHED_PUT_VIDEO:
        video_put(&f->store, &action->video_row);
        break;
    case SCHED_PUT_ROUTE:
        route_put(&f->store, &action->route_row);
        break;
    case SCHED_TASK_AGAIN:
        MUST(*token_at(f, action->token.v) == FIX_TOKEN_COMMITTED);
        f->again = action->token.v;
        break;
    case SCHED_PUT_TASK:
        task_put(f, &action->task_row);
        break;
    case SCHED_PUT_NODE:
        node_put(&f->store, &action->node_row);
        break;
    case SCHED_PUT_COUNTERS:
        f->store.counters = action->counters;
        break;
    case SCHED_DELETE_VIDEO:
        video_delete(&f->store, action->video.v);
        break;
    case SCHED_DELETE_TASKS:
        tasks_delete(&f->store, action->video.v, action->step);
        break;
    case SCHED_TASK_COMMITTED:
        MUST(*token_at(f, action->token.v) == FIX_TOKEN_LIVE);
        *token_at(f, action->token.v) = FIX_TOKEN_COMMITTED;
        break;
    case SCHED_TOKEN_DEAD:
        MUST(*token_at(f, action->token.v) == FIX_TOKEN_LIVE ||
             *token_at(f, action->token.v) == FIX_TOKEN_COMMITTED);
        if (*token_at(f, action->token.v) == FIX_TOKEN_COMMITTED)
            MUST(f->stepping == SCHED_TASK_REDO || f->stepping == SCHED_VIDEO_RETRY ||
                 f->again == action->token.v);
        *token_at(f, action->token.v) = FIX_TOKEN_DEAD;
        break;
    default:
        break;
    }
}

static void actions_apply(struct fix *f)
{
    for (size_t i = 0; i < f->actions.count; i++) {
        const struct sched_action *action = &f->actions.items[i];
        for (size_t b = 0; b < sizeof *action; b++)
            f->digest = (f->digest ^ ((const unsigned char *)action)[b]) * UINT64_C(0x100000001B3);
        action_apply(f, action);
    }
    /* Stale outputs are deleted: it must never be said of what is live or committed afterwards. */
    for (size_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == SCHED_VERDICT &&
            f->actions.items[i].verdict == VERDICT_STALE)
            MUST(*token_at(f, f->actions.items[i].token.v) != FIX_TOKEN_COMMITTED);
    if (!f->unchecked)
        sched_check(f->s);
}

int fix_step(struct fix *f, const struct sched_event *event)
{
    struct sched_event at = *event;
    at.now_unix_ns = f->now_unix_ns;
    f->stepping = event->kind;
    sched_actions_reset(&f->actions);
    int rc = sched_step(f->s, f->now_ns, &at, &f->actions);
    actions_apply(f);
    return rc;
}

static int task_by_id(const void *a, const void *b)
{
    int64_t x = ((const struct sched_task_row *)a)->task.v;
    int64_t y = ((const struct sched_task_row *)b)->task.v;
    return x < y ? -1 : x > y;
}

void fix_restart(struct fix *f)
{
    struct fix_store *store = &f->store;
    sched_close(&f->s);
    MUST(sched_open(&f->config, f->seed, &f->s) == 0);
    sched_restore_counters(f->s, &store->counters);
    for (size_t i = 0; i < store->node_count; i++)
        MUST(sched_restore_node(f->s, &store->nodes[i]) == 0);
    for (size_t i = 0; i < store->video_count; i++)
        MUST(sched_restore_video(f->s, &store->videos[i]) == 0);
    for (size_t i = 0; i < store->route_count; i++)
        MUST(sched_restore_route(f->s, &store->routes[i]) == 0);
    if (store->task_count)
        qsort(store->tasks, store->task_count, sizeof *store->tasks, task_by_id);
    for (size_t i = 0; i < store->task_count; i++)
        MUST(sched_restore_task(f->s, &store->tasks[i], f->now_ns, f->now_unix_ns) == 0);
    sched_actions_reset(&f->actions);
    MUST(sched_restore_done(f->s, f->now_ns, &f->actions) == 0);
    actions_apply(f);
}

void fix_compare(const struct fix *f)
{
    int64_t done = 0, dead = 0;
    for (size_t i = 0; i < f->store.task_count; i++) {
        struct sched_task_row kept = f->store.tasks[i], row;
        MUST(sched_task_find(f->s, kept.task, &row) == 0);
        MUST(memcmp(&kept, &row, sizeof row) == 0);
        done += row.state == TASK_DONE;
        dead += row.state == TASK_DEAD;
    }
    struct sched_totals totals = fix_totals(f);
    MUST(totals.queued + totals.waiting + totals.running + done + dead <=
         (int64_t)f->store.task_count);
    MUST(totals.dead == dead && totals.videos == (int64_t)f->store.video_count);
    for (size_t i = 0; i < f->store.video_count; i++) {
        const struct sched_video_row *kept = &f->store.videos[i];
        struct sched_video_view view;
        MUST(sched_video_find(f->s, kept->video, &view) == 0);
        MUST((view.status == VIDEO_CANCELLED) == kept->cancelled);
        MUST(!kept->failed || kept->cancelled || view.status == VIDEO_FAILED);
    }
    for (size_t i = 0; i < f->store.node_count; i++) {
        struct sched_node_view view;
        MUST(sched_node_find(f->s, f->store.nodes[i].node, &view) == 0);
        MUST(memcmp(&view.row, &f->store.nodes[i], sizeof view.row) == 0);
    }
}

void fix_pass(struct fix *f, int64_t ns)
{
    int64_t end_ns = f->now_ns + ns;
    int64_t skew_ns = f->now_unix_ns - f->now_ns;
    for (int guard = 0;; guard++) {
        int64_t due_ns = sched_next_deadline_ns(f->s);
        if (due_ns > end_ns)
            break;
        MUST(guard < 100000);
        if (due_ns > f->now_ns)
            f->now_ns = due_ns;
        f->now_unix_ns = f->now_ns + skew_ns;
        fix_step(f, &(struct sched_event){.kind = SCHED_TICK});
    }
    f->now_ns = end_ns;
    f->now_unix_ns = end_ns + skew_ns;
}

/* ---- builders ---- */

static int64_t video_add(struct fix *f, enum priority priority, int32_t attempts_max)
{
    struct sched_event event = {.kind = SCHED_VIDEO_ADD};
    event.video.v = event.video_row.video.v = ++f->next_video;
    event.video_row.priority = priority;
    event.video_row.created_unix_ns = f->now_unix_ns;
    event.video_row.attempts_max = attempts_max;
    MUST(fix_step(f, &event) == 0);
    return event.video.v;
}

int64_t fix_video(struct fix *f, enum priority priority)
{
    return video_add(f, priority, 0);
}

int64_t fix_video_attempts(struct fix *f, int32_t attempts_max)
{
    return video_add(f, PRIORITY_NORMAL, attempts_max);
}

static int64_t tasks_add(struct fix *f, int64_t video, const struct sched_task_spec *model,
                         int32_t count)
{
    struct sched_task_spec *specs = calloc((size_t)count, sizeof *specs);
    struct task_id *ids = calloc((size_t)count, sizeof *ids);
    MUST(specs && ids);
    for (int32_t i = 0; i < count; i++) {
        specs[i] = *model;
        specs[i].piece = i;
        specs[i].order = i;
    }
    struct sched_event event = {.kind = SCHED_TASKS_ADD, .video.v = video};
    event.tasks.specs = specs;
    event.tasks.count = count;
    event.tasks.out_ids = ids;
    MUST(fix_step(f, &event) == 0);
    int64_t first = ids[0].v;
    free(specs);
    free(ids);
    return first;
}

int64_t fix_tasks(struct fix *f, int64_t video, enum step step, int32_t count, uint32_t wait_mask)
{
    struct sched_task_spec spec = {.step = step, .wait_mask = wait_mask};
    spec.demand = (struct demand){.cpu_millicores = 1000, .memory_bytes = FIX_GB};
    return tasks_add(f, video, &spec, count);
}

int64_t fix_encodes(struct fix *f, int64_t video, int32_t count, uint32_t wait_mask,
                    enum codec codec)
{
    struct sched_task_spec spec = {
        .step = STEP_TRANSCODE, .wait_mask = wait_mask, .codec = codec, .needs_codec = true};
    spec.demand = (struct demand){
        .cpu_millicores = 1000, .sessions = 1, .memory_bytes = FIX_GB, .work_mpix = 100};
    return tasks_add(f, video, &spec, count);
}

struct sched_route fix_route(enum codec codec, int32_t rungs, int32_t count,
                             const enum device_kind *kinds)
{
    struct sched_route route = {
        .codec = codec,
        .count = count,
        .device = {.cpu_millicores = 500,
                   .sessions = rungs,
                   .memory_bytes = FIX_GB,
                   .vram_bytes = FIX_GB},
    };
    for (int32_t i = 0; i < count; i++)
        route.entries[i].kind = kinds[i];
    return route;
}

int fix_route_put(struct fix *f, int64_t video, const struct sched_route *route)
{
    struct sched_event event = {.kind = SCHED_ROUTE_PUT, .video.v = video};
    event.route = *route;
    return fix_step(f, &event);
}

int fix_spec(struct fix *f, int64_t video, const struct sched_task_spec *spec, int64_t *out)
{
    struct task_id id = {0};
    struct sched_event event = {.kind = SCHED_TASKS_ADD, .video.v = video};
    event.tasks.specs = spec;
    event.tasks.count = 1;
    event.tasks.out_ids = &id;
    int rc = fix_step(f, &event);
    *out = id.v;
    return rc;
}

int fix_video_event(struct fix *f, enum sched_event_kind kind, int64_t video, enum step step)
{
    struct sched_event event = {.kind = kind, .video.v = video};
    event.step = step;
    return fix_step(f, &event);
}

int fix_video_fail(struct fix *f, int64_t video, enum step step, int code)
{
    struct sched_event event = {.kind = SCHED_VIDEO_FAIL, .video.v = video, .failed_step = step};
    sl_fail(&event.failure, code, "as the test wants it");
    return fix_step(f, &event);
}

int fix_task_event(struct fix *f, enum sched_event_kind kind, int64_t task, int32_t preroll)
{
    struct sched_event event = {.kind = kind, .task.v = task};
    event.preroll = preroll;
    return fix_step(f, &event);
}

int fix_node_event(struct fix *f, enum sched_event_kind kind, int64_t node, int64_t deadline_ns)
{
    struct sched_event event = {.kind = kind, .node.v = node};
    event.drain_deadline_ns = deadline_ns;
    return fix_step(f, &event);
}

/* ---- looking ---- */

struct sched_task_row fix_task(const struct fix *f, int64_t task)
{
    struct sched_task_row row;
    MUST(sched_task_find(f->s, (struct task_id){task}, &row) == 0);
    return row;
}

enum task_state fix_state(const struct fix *f, int64_t task)
{
    return fix_task(f, task).state;
}

enum video_status fix_status(const struct fix *f, int64_t video)
{
    struct sched_video_view view;
    MUST(sched_video_find(f->s, (struct video_id){video}, &view) == 0);
    return view.status;
}

struct sched_totals fix_totals(const struct fix *f)
{
    struct sched_totals totals;
    sched_totals(f->s, &totals);
    return totals;
}

size_t fix_count(const struct fix *f, enum sched_action_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < f->actions.count; i++)
        count += f->actions.items[i].kind == kind;
    return count;
}

const struct sched_action *fix_find(const struct fix *f, enum sched_action_kind kind)
{
    for (size_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == kind)
            return &f->actions.items[i];
    return NULL;
}

/* ---- agents ---- */

void fix_agent_init(struct fix_agent *a, const char *uuid, int32_t cpus)
{
    memset(a, 0, sizeof *a);
    snprintf(a->uuid, sizeof a->uuid, "%s", uuid);
    a->session = 1;
    a->total = (struct demand){
        .cpu_millicores = cpus * 1000, .sessions = cpus, .memory_bytes = cpus * 4 * FIX_GB};
    a->device_count = 1;
    snprintf(a->devices[0].device_id, DEVICE_ID_BYTES, "cpu");
    a->devices[0].encodes = UINT32_C(1) << CODEC_H264;
}

struct device_row *fix_device_add(struct fix_agent *a, enum device_kind kind, int32_t limit)
{
    struct device_row *row = &a->devices[a->device_count];
    snprintf(row->device_id, DEVICE_ID_BYTES, "%s%d", device_kind_word(kind),
             (int)a->device_count++);
    row->kind = kind;
    row->encodes = row->encodes_ten_bit = UINT32_C(1) << CODEC_H264 | UINT32_C(1) << CODEC_H265;
    row->session_limit = limit;
    row->session_scope = SCOPE_DEVICE;
    return row;
}

int fix_sync_send(struct fix *f, struct fix_agent *a)
{
    struct sched_event event = {.kind = SCHED_NODE_SYNC};
    memcpy(event.sync.uuid, a->uuid, sizeof a->uuid);
    snprintf(event.sync.name, sizeof event.sync.name, "node-%s", a->uuid);
    event.sync.session = a->session;
    event.sync.seq = ++a->seq;
    event.sync.spot = a->spot;
    event.sync.leaving = a->leaving;
    event.sync.notice_remaining_ns = a->notice_ns;
    event.sync.total = a->total;
    event.sync.devices = a->devices;
    event.sync.device_count = a->device_count;
    event.sync.held = a->held;
    event.sync.held_count = a->held_count;
    a->rc = fix_step(f, &event);
    struct node_id node;
    if (a->rc == 0 && sched_node_by_uuid(f->s, a->uuid, &node) == 0)
        a->node = node.v;
    return a->rc;
}

void fix_drop(struct fix_agent *a, int32_t index)
{
    memmove(&a->held[index], &a->held[index + 1],
            (size_t)(a->held_count - index - 1) * sizeof a->held[0]);
    a->held_count--;
}

void fix_sync_read(struct fix *f, struct fix_agent *a)
{
    for (size_t i = 0; i < f->actions.count; i++) {
        const struct sched_action *action = &f->actions.items[i];
        if (action->kind != SCHED_VERDICT || action->node.v != a->node)
            continue;
        for (int32_t h = a->held_count; h-- > 0;)
            if (a->held[h].token.v == action->token.v)
                fix_drop(a, h);
        if (action->verdict == VERDICT_STALE)
            a->stale++;
        else
            a->accepted++;
    }
    struct sched_grant_view grants[SYNC_GRANTS_MAX];
    size_t count = sched_node_grants(f->s, (struct node_id){a->node}, grants, SYNC_GRANTS_MAX);
    for (size_t i = 0; i < count && i < SYNC_GRANTS_MAX; i++) {
        bool known = false;
        for (int32_t h = 0; h < a->held_count; h++)
            known = known || a->held[h].token.v == grants[i].token.v;
        if (known || a->held_count == SYNC_HELD_MAX)
            continue;
        a->held[a->held_count++] = (struct sched_held){
            .token = grants[i].token, .task = grants[i].task, .state = HELD_RUNNING};
    }
}

int fix_sync(struct fix *f, struct fix_agent *a)
{
    int rc = fix_sync_send(f, a);
    if (rc == 0)
        fix_sync_read(f, a);
    return rc;
}

struct sched_held *fix_held(struct fix_agent *a, int64_t task)
{
    for (int32_t h = 0; h < a->held_count; h++)
        if (a->held[h].task.v == task)
            return &a->held[h];
    fprintf(stderr, "node %s does not hold task %" PRId64 "\n", a->uuid, task);
    abort();
}

void fix_finish(struct fix_agent *a, int64_t task)
{
    fix_held(a, task)->state = HELD_FINISHED;
}

void fix_fail(struct fix_agent *a, int64_t task, int code)
{
    struct sched_held *held = fix_held(a, task);
    held->state = HELD_FAILED;
    sl_fail(&held->failure, code, "as the test wants it");
}

void fix_hand_back(struct fix_agent *a, int64_t task)
{
    fix_held(a, task)->state = HELD_HANDED_BACK;
}

void fix_work(struct fix *f, struct fix_agent *a)
{
    fix_sync(f, a);
    while (a->held_count) {
        for (int32_t h = 0; h < a->held_count; h++)
            a->held[h].state = HELD_FINISHED;
        if (fix_sync(f, a) != 0)
            return;
    }
}
