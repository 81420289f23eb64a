/* Walks every invariant that the state machines' files open with, and asserts it. Slow on
 * purpose: it recounts everything from the tasks up. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/core/sched_internal.h"

/* The assertion's text names the invariant; id is there for a debugger. */
#define CHECK(condition, invariant, id)                                                            \
    do {                                                                                           \
        (void)(id);                                                                                \
        assert((condition) && invariant);                                                          \
    } while (0)

static void check_task(const struct sched *s, uint32_t slot)
{
    const struct task *t = task_at(s, slot);
    const struct video *v = video_at(s, t->video);
    const struct tree_node *place = task_tree(s, slot);
    CHECK(t->state < TASK_STATE_COUNT && t->step < STEP_COUNT && v->id, "T0 sound fields", t->id);
    CHECK(task_find(s, (struct task_id){t->id}) == slot, "T0 found by id", t->id);
    CHECK(t->id < s->counters.next_task, "T0 ids grow", t->id);
    CHECK((t->state == TASK_QUEUED) == (t->place != PLACE_NONE), "T1 queued in a place", t->id);
    CHECK((t->place == PLACE_LANE || t->state == TASK_DEAD) == (place->size > 0), "T1, T4 tree",
          t->id);
    CHECK(t->place != PLACE_LANE || !v->held, "V5 held", t->id);
    CHECK(t->place != PLACE_HELD || v->held, "V5 not held", t->id);
    bool has_token = t->state == TASK_RUNNING || t->state == TASK_DONE;
    CHECK(has_token == (t->token != 0), "T2, T3 token", t->id);
    CHECK(t->token < s->counters.next_token, "L1 tokens grow", t->id);
    CHECK(t->state != TASK_RUNNING || t->node != SLOT_NONE, "T2 node", t->id);
    CHECK(t->attempts >= 0 && t->losses >= 0, "T5 attempts", t->id);
    bool timed = t->place == PLACE_BACKOFF || (t->state == TASK_RUNNING && !t->seen);
    CHECK(timed == (t->timer != SLOT_NONE), "T6 timer", t->id);
    CHECK(!(t->seen && t->restored), "T6 restored", t->id);
    CHECK(t->state != TASK_DEAD || t->failure != SLOT_NONE, "T4 dead with a reason", t->id);
    CHECK(!t->dirty, "step wrote all rows", t->id);
    bool ready = !(t->wait_mask & ~v->finished);
    if (t->state == TASK_WAITING)
        CHECK(!ready, "V3 waits on something", t->id);
    if (t->state == TASK_QUEUED || t->state == TASK_RUNNING)
        CHECK(ready, "V3 not before its steps", t->id);
    if (t->place == PLACE_LANE) {
        const struct tree *lane = &s->lanes[queue_lane(s, t)];
        CHECK(place->key == v->created_unix_ns - s->config.aging_ns[v->priority] &&
                  place->group == v->id && place->id == t->id,
              "Q1 key", t->id);
        CHECK(tree_from(lane, place) == slot, "Q1 in its lane", t->id);
    }
    if (t->state == TASK_DEAD)
        CHECK(tree_from(&s->dead, place) == slot, "T4 among the dead", t->id);
}

static void check_video(const struct sched *s, uint32_t slot)
{
    const struct video *v = video_at(s, slot);
    int32_t counts[STEP_COUNT][TASK_STATE_COUNT] = {{0}};
    int32_t total = 0;
    uint32_t before = SLOT_NONE;
    for (uint32_t t = v->first; t != SLOT_NONE; before = t, t = task_at(s, t)->video_next) {
        const struct task *task = task_at(s, t);
        CHECK(task->video == slot && task->video_prev == before, "V0 links", v->id);
        CHECK(before == SLOT_NONE || task_at(s, before)->id < task->id, "V0 id order", v->id);
        counts[task->step][task->state]++;
        total++;
    }
    CHECK(v->last == before && total == v->task_count, "V0 list", v->id);
    CHECK(memcmp(counts, v->counts, sizeof counts) == 0, "V1 counts", v->id);
    for (int state = 0; state < TASK_STATE_COUNT; state++) {
        int32_t sum = 0;
        for (int step = 0; step < STEP_COUNT; step++)
            sum += counts[step][state];
        CHECK(sum == v->by_state[state], "V1 sums", v->id);
    }
    CHECK(v->finished == video_finished_mask(v), "V2 finished", v->id);
    CHECK(!v->cancelled || v->by_state[TASK_WAITING] + v->by_state[TASK_QUEUED] +
                                   v->by_state[TASK_RUNNING] + v->by_state[TASK_DEAD] ==
                               0,
          "V4 cancelled", v->id);
    CHECK(v->held == video_has_failed(v), "V5 held", v->id);
    CHECK(v->status == video_status_of(v), "V6 status", v->id);
    CHECK(v->failed == (v->failure != SLOT_NONE), "V6 failed with a reason", v->id);
    CHECK(video_find(s, (struct video_id){v->id}) == slot, "V0 found by id", v->id);
    CHECK(!v->dirty && !v->put, "step wrote all rows", v->id);
}

static bool in_window(const struct sched *s, const struct node *n)
{
    return n->last_sync_at_ns + s->config.lease_timeout_ns > s->now_ns;
}

static void check_node(const struct sched *s, uint32_t slot)
{
    const struct node *n = node_at(s, slot);
    struct demand used = {0};
    int32_t sessions[CODEC_COUNT] = {0};
    struct device_use uses[NODE_DEVICES_MAX];
    memset(uses, 0, sizeof uses);
    int32_t running = 0;
    uint32_t before = SLOT_NONE;
    for (uint32_t t = n->lease_first; t != SLOT_NONE; before = t, t = task_at(s, t)->lease_next) {
        const struct task *task = task_at(s, t);
        CHECK(task->state == TASK_RUNNING && task->node == slot && task->lease_prev == before,
              "T2 lease list", n->id);
        CHECK(n->live || task->restored, "N1 leases of a silent node", n->id);
        struct demand demand = task_demand_of(s, task);
        used.cpu_millicores += demand.cpu_millicores;
        used.memory_bytes += demand.memory_bytes;
        if (task->kind == DEVICE_CPU)
            used.sessions += task->demand.sessions;
        if (task->needs_codec && task->kind == DEVICE_CPU)
            sessions[task->codec] += pool_share(task);
        if (task->device != DEVICE_NONE) {
            CHECK(task->device < n->device_count &&
                      n->devices[task->device].kind == (enum device_kind)task->kind,
                  "D1 device", task->id);
            uses[task->device].leases++;
            uses[task->device].sessions += task->sessions;
            uses[task->device].vram_bytes += route_at(s, task->route)->vram_bytes;
        }
        running++;
    }
    CHECK(n->lease_last == before && running == n->running, "L2 running", n->id);
    CHECK(used.cpu_millicores == n->used.cpu_millicores && used.sessions == n->used.sessions &&
              used.memory_bytes == n->used.memory_bytes &&
              memcmp(sessions, n->sessions_used, sizeof sessions) == 0,
          "L2 used", n->id);
    for (int i = 0; i < NODE_DEVICES_MAX; i++)
        CHECK(memcmp(&uses[i], &n->slots[i].use, sizeof uses[i]) == 0, "D1 uses", n->id);
    bool takes =
        n->live && !n->leaving && !n->notice && !n->row.drain && n->total.cpu_millicores > 0;
    CHECK(n->tallied == (takes ? n->usable : 0), "D3 tallied", n->id);
    CHECK(running <= SCHED_NODE_LEASES_MAX, "L3 leases", n->id);
    CHECK(!n->live || (in_window(s, n) && n->timer != SLOT_NONE), "N1 heard", n->id);
    CHECK((n->open != 0) == node_grantable(s, n), "N2 open", n->id);
    if (n->open) {
        CHECK(n->open == (n->row.spot ? 2 : 1) &&
                  node_tree(s, slot)->key ==
                      (int64_t)n->used.cpu_millicores - n->total.cpu_millicores,
              "N2 place", n->id);
        CHECK(tree_from(&s->open[n->open - 1], node_tree(s, slot)) == slot, "N2 tree", n->id);
    }
    CHECK(!n->dirty && !n->put && !n->wake && !n->gained, "step wrote all rows", n->id);
    CHECK(n->state == n->state_told && (n->state == node_state_of(n)), "N0 state told", n->id);
    CHECK(node_find(s, (struct node_id){n->id}) == slot && node_find_uuid(s, n->row.uuid) == slot,
          "N3 found by id and uuid", n->id);
}

/* M1 on every open node that was tried: nothing in a lane may fit it. */
static void check_match(const struct sched *s)
{
    if (s->truncated || match_pending(s))
        return;
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        if (!n->open)
            continue;
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            const struct tree *tree = &s->lanes[lane];
            int looked = 0;
            for (uint32_t t = tree->first; t != SLOT_NONE && looked < 64;
                 t = tree_next(tree, t), looked++)
                CHECK(!match_fits(s, n, task_at(s, t), true) ||
                          (match_avoided(n, task_at(s, t)) &&
                           match_capable_count(s, task_at(s, t), true, 1)) ||
                          match_holds((struct sched *)s, n, task_at(s, t)),
                      "M2 idle room and fitting work", n->id);
        }
    }
}

struct check_class {
    int64_t nodes, queued, queued_mpix, running, running_mpix;
};

static void check_route(const struct sched *s, uint32_t slot, struct check_class *classes)
{
    const struct route *r = route_at(s, slot);
    int32_t counts[TASK_STATE_COUNT] = {0};
    CHECK(video_at(s, r->video)->routes[r->codec] == slot, "R0 of its video", r->id);
    for (uint32_t t = video_at(s, r->video)->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        const struct task *task = task_at(s, t);
        if (task->route != slot)
            continue;
        counts[task->state]++;
        CHECK(task->codec == r->codec && task->ten_bit == r->ten_bit, "R0 codec", task->id);
        if (task->state != TASK_QUEUED && task->state != TASK_RUNNING && task->state != TASK_DONE)
            continue;
        CHECK(r->mix || task->entry == r->entry, "R2 one entry", task->id);
        CHECK(task->entry < r->count && task->kind == r->kinds[task->entry], "R3 kind", task->id);
        struct check_class *cls = &classes[class_of(task->codec, task->ten_bit, task->kind)];
        if (task->place == PLACE_LANE) {
            cls->queued++;
            cls->queued_mpix += task->demand.work_mpix;
        }
        if (task->state == TASK_RUNNING) {
            cls->running++;
            cls->running_mpix += task->demand.work_mpix;
        }
    }
    CHECK(memcmp(counts, r->counts, sizeof counts) == 0, "R1 counts", r->id);
}

static void check_routes(const struct sched *s)
{
    struct check_class classes[CLASS_COUNT] = {{0}};
    int64_t rates[CODEC_COUNT][DEVICE_KIND_COUNT] = {{0}};
    uint32_t routes = 0;
    for (uint32_t i = 0; i < s->routes.end; i++)
        if (route_at(s, i)->id) {
            check_route(s, i, classes);
            routes++;
        }
    CHECK(routes == s->routes.live && routes == tree_count(&s->route_order) &&
              tree_valid(&s->route_order),
          "R0 in order", routes);
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        for (int c = 0; c < CLASS_COUNT; c++)
            classes[c].nodes += n->tallied >> c & 1;
        for (int codec = 0; codec < CODEC_COUNT; codec++)
            for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++)
                rates[codec][kind] += n->rates_tallied[codec][kind];
    }
    CHECK(memcmp(rates, s->rates, sizeof rates) == 0, "D3 rates", 0);
    int64_t work = 0;
    for (int c = 0; c < CLASS_COUNT; c++)
        work += c % DEVICE_KIND_COUNT == DEVICE_CPU ? 0 : classes[c].queued + classes[c].running;
    CHECK(work == s->device_work, "R3 work for devices", work);
    for (int c = 0; c < CLASS_COUNT; c++) {
        const struct device_class *cls = &s->classes[c];
        CHECK(cls->nodes == classes[c].nodes && cls->queued == classes[c].queued &&
                  cls->queued_mpix == classes[c].queued_mpix &&
                  cls->running == classes[c].running &&
                  cls->running_mpix == classes[c].running_mpix,
              "R3, D3 classes", c);
        CHECK(!cls->gone || cls->nodes == 0, "D3 gone", c);
    }
}

static int by_token(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void check_tokens(const struct sched *s)
{
    uint64_t *tokens = malloc((s->tasks.live + 1) * sizeof *tokens);
    CHECK(tokens, "memory for the check", 0);
    size_t count = 0;
    for (uint32_t i = 0; i < s->tasks.end; i++)
        if (task_at(s, i)->id && task_at(s, i)->token)
            tokens[count++] = task_at(s, i)->token;
    qsort(tokens, count, sizeof *tokens, by_token);
    for (size_t i = 1; i < count; i++)
        CHECK(tokens[i - 1] != tokens[i], "T2 one task for a token", (int64_t)tokens[i]);
    free(tokens);
}

void sched_check(const struct sched *s)
{
    int64_t states[TASK_STATE_COUNT] = {0}, queued[PRIORITY_COUNT] = {0};
    uint32_t placed = 0, failures = 0, timers = 0, live_nodes = 0;
    for (uint32_t i = 0; i < s->tasks.end; i++) {
        const struct task *t = task_at(s, i);
        if (!t->id)
            continue;
        check_task(s, i);
        states[t->state]++;
        placed += t->place == PLACE_LANE;
        failures += t->failure != SLOT_NONE;
        timers += t->timer != SLOT_NONE;
        if (t->state == TASK_QUEUED)
            queued[video_at(s, t->video)->priority]++;
    }
    CHECK(memcmp(states, s->state_counts, sizeof states) == 0, "V1 totals", 0);
    CHECK(memcmp(queued, s->queued_by_priority, sizeof queued) == 0, "V1 queued totals", 0);
    for (uint32_t i = 0; i < s->videos.end; i++)
        if (video_at(s, i)->id) {
            check_video(s, i);
            failures += video_at(s, i)->failure != SLOT_NONE;
        }
    uint32_t in_lanes = 0;
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        CHECK(tree_valid(&s->lanes[lane]), "Q1 lane", lane);
        CHECK((s->lanes[lane].root != SLOT_NONE) == ((s->lane_mask & lane_bit(lane)) != 0),
              "Q2 mask", lane);
        in_lanes += tree_count(&s->lanes[lane]);
    }
    CHECK(in_lanes == placed, "T1 lanes", in_lanes);
    CHECK(tree_valid(&s->dead) && tree_count(&s->dead) == states[TASK_DEAD], "T4 dead", 0);
    CHECK(tree_valid(&s->open[0]) && tree_valid(&s->open[1]), "N2 open trees", 0);
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        uint32_t slot = s->node_order.items[i];
        check_node(s, slot);
        CHECK(i == 0 || node_at(s, s->node_order.items[i - 1])->id < node_at(s, slot)->id,
              "N0 id order", node_at(s, slot)->id);
        live_nodes += node_at(s, slot)->live;
        timers += node_at(s, slot)->timer != SLOT_NONE;
    }
    CHECK((int64_t)live_nodes == s->nodes_live, "N0 live", live_nodes);
    CHECK(failures == s->failures.live, "T0 failures", failures);
    CHECK(timers == s->timers.count, "T6 timers", timers);
    for (uint32_t i = 1; i < s->timers.count; i++)
        CHECK(s->timers.items[(i - 1) / 2].at_ns <= s->timers.items[i].at_ns, "T6 heap", i);
    check_tokens(s);
    check_routes(s);
    check_match(s);
}
