/* The matcher between the task queue and the worker queue.
 *
 * A pass offers the queue to nodes, the one with the most free CPU first, one task at a time, so that work
 * spreads. For a node the best entry that fits is taken: small steps before other work of the same or a
 * lower priority, else by key. Work per step is bounded: a pass visits at most PASS_NODES nodes from the top
 * and as many from a cursor that goes round, looks at FIT_VISITS entries of a lane, and makes at most
 * PASS_GRANTS grants; what was cut off is continued by the next step, which match_pending asks for.
 *
 * Nodes with encoders of their own (GPUs) are kept for them, and what encodes on CPUs uses their idle cores: it leaves
 * what feeds an idle encoder free while the farm has work for encoders, goes to a node without encoders where one has room, and lets work for the encoders
 * go first as long as that is no more than FEED_HEAD_START_NS younger. Where such work would fit but for CPU, it waits.
 * Suspect devices are offered what is left when all others have been tried.
 *
 * Invariants:
 *  M1. tried == epoch of an open node means: nothing that was queued then fits it, and it has gained
 *      nothing since.
 *  M2. When nothing is pending, every open node with room for the smallest demand has been tried in the
 *      present epoch.
 */
#include "base/time.h"
#include "scheduler/core/sched_internal.h"

#define PASS_NODES         32
#define PASS_GRANTS        1024
#define FIT_VISITS         128
#define BETTER_LOOK        16 /* nodes looked at before a task goes to one that is meant for others */
#define FEED_HEAD_START_NS SL_S_TO_NS(600)

static bool has_class(uint32_t classes, const struct task *t)
{
    return (classes & UINT32_C(1) << class_of(t->codec, t->ten_bit, t->kind)) != 0;
}

bool match_capable(const struct sched *s, const struct node *n, const struct task *t)
{
    if (t->needs_codec && !has_class(n->usable, t))
        return false;
    struct demand demand = task_demand_of(s, t);
    if (demand.cpu_millicores > n->total.cpu_millicores ||
        demand.memory_bytes > n->total.memory_bytes)
        return false;
    if (t->needs_codec && t->kind != DEVICE_CPU)
        return true; /* an idle device takes anything */
    int32_t limit = t->needs_codec ? n->session_limits[t->codec] : 0;
    return demand.sessions <= n->total.sessions && (!limit || pool_share(t) <= limit);
}

static bool cpu_device_fits(const struct node *n, const struct task *t, bool suspects)
{
    int32_t limit = n->session_limits[t->codec];
    return has_class(suspects ? n->usable : n->healthy, t) &&
           (!limit || n->sessions_used[t->codec] + pool_share(t) <= limit);
}

/* What encodes on CPUs leaves for the node's encoders, where it would fit at all beside that. */
static int32_t reserve_of(const struct sched *s, const struct node *n, const struct task *t)
{
    if (!n->encoders || !t->needs_codec || t->kind != DEVICE_CPU)
        return 0;
    int32_t reserve = device_reserve(s, n);
    return t->demand.cpu_millicores + reserve <= n->total.cpu_millicores ? reserve : 0;
}

static bool fits(const struct sched *s, const struct node *n, const struct task *t, bool suspects,
                 bool but_for_cpu)
{
    struct demand demand = task_demand_of(s, t);
    if (t->needs_codec && t->kind != DEVICE_CPU) {
        if (!has_class(suspects ? n->usable : n->healthy, t) ||
            device_pick(s, n, t, suspects) == DEVICE_NONE)
            return false;
    } else if ((t->needs_codec && !cpu_device_fits(n, t, suspects)) ||
               demand.sessions > n->total.sessions - n->used.sessions) {
        return false;
    }
    int32_t free_cpu = n->total.cpu_millicores - n->used.cpu_millicores - reserve_of(s, n, t);
    return demand.memory_bytes <= n->total.memory_bytes - n->used.memory_bytes &&
           (but_for_cpu ? demand.cpu_millicores <= n->total.cpu_millicores
                        : demand.cpu_millicores <= free_cpu);
}

bool match_fits(const struct sched *s, const struct node *n, const struct task *t, bool suspects)
{
    return fits(s, n, t, suspects, false);
}

bool match_avoided(const struct node *n, const struct task *t)
{
    return t->avoid[0] && (t->avoid[0] == n->id || t->avoid[1] == n->id || t->avoid[2] == n->id ||
                           t->avoid[3] == n->id);
}

int32_t match_capable_count(const struct sched *s, const struct task *t, bool unavoided,
                            int32_t max)
{
    int32_t count = 0;
    for (uint32_t i = 0; i < s->node_order.count && count < max; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        if (n->live && !n->leaving && !n->notice && !n->row.drain && match_capable(s, n, t) &&
            !(unavoided && match_avoided(n, t)))
            count++;
    }
    return count;
}

static bool acceptable(const struct sched *s, const struct node *n, const struct task *t,
                       bool suspects, bool but_for_cpu)
{
    return fits(s, n, t, suspects, but_for_cpu) &&
           (!match_avoided(n, t) || match_capable_count(s, t, true, 1) == 0);
}

/* ---- the best entry for a node ---- */

struct search {
    const struct sched *s;
    const struct node *n;
    int32_t
        free_cpu; /* in the tree's units, so that only what surely does not fit is passed over */
    int64_t free_memory;
    int32_t free_sessions; /* of the lane's kind */
    bool suspects;
    bool but_for_cpu;
    int visits;
};

static bool pruned(const struct search *search, const struct tree_node *node)
{
    return node->min_cpu > search->free_cpu || node->min_memory > search->free_memory ||
           node->min_sessions > search->free_sessions;
}

/* The first in order that is acceptable. */
static uint32_t subtree_fit(struct search *search, uint32_t slot)
{
    if (slot == SLOT_NONE || search->visits <= 0)
        return SLOT_NONE;
    const struct tree_node *node = task_tree(search->s, slot);
    if (pruned(search, node))
        return SLOT_NONE;
    search->visits--;
    uint32_t found = subtree_fit(search, node->left);
    if (found != SLOT_NONE)
        return found;
    if (acceptable(search->s, search->n, task_at(search->s, slot), search->suspects,
                   search->but_for_cpu))
        return slot;
    return subtree_fit(search, node->right);
}

static uint32_t lane_fit(struct sched *s, int lane, struct search *search)
{
    const struct tree *tree = &s->lanes[lane];
    if (!(s->lane_mask & search->n->lanes & lane_bit(lane)) ||
        pruned(search, task_tree(s, tree->root)))
        return SLOT_NONE;
    if (acceptable(s, search->n, task_at(s, tree->first), search->suspects, search->but_for_cpu))
        return tree->first;
    search->visits = FIT_VISITS;
    uint32_t found = subtree_fit(search, tree->root);
    if (search->visits <= 0)
        s->truncated = true;
    return found;
}

static bool before(const struct sched *s, uint32_t a, uint32_t b)
{
    return b == SLOT_NONE || tree_before(task_tree(s, a), task_tree(s, b));
}

static enum device_kind lane_device(int lane)
{
    return (enum device_kind)((lane / PRIORITY_COUNT - LANE_CODEC) % DEVICE_KIND_COUNT);
}

struct pick {
    uint32_t slot;
    int priority;
};

/* The best of the lanes in mask. */
static struct pick lanes_pick(struct sched *s, struct search *search, uint64_t mask)
{
    struct pick best = {.slot = SLOT_NONE};
    const struct node *n = search->n;
    int32_t cpu_sessions = n->total.sessions - n->used.sessions;
    int32_t rooms[DEVICE_KIND_COUNT] = {cpu_sessions, -1, -1};
    for (uint64_t lanes = s->lane_mask & n->lanes & mask; lanes; lanes &= lanes - 1) {
        int lane = __builtin_ctzll(lanes);
        search->free_sessions = cpu_sessions;
        if (lane >= LANE_CODEC * PRIORITY_COUNT) {
            enum device_kind kind = lane_device(lane);
            if (rooms[kind] == -1)
                rooms[kind] = device_room(n, kind);
            search->free_sessions = rooms[kind];
            if (kind != DEVICE_CPU && rooms[kind] <= 0)
                continue;
        }
        uint32_t found = lane_fit(s, lane, search);
        if (found != SLOT_NONE && before(s, found, best.slot))
            best = (struct pick){found, lane % PRIORITY_COUNT};
    }
    return best;
}

#define LANES_OF(kind) (((UINT64_C(1) << PRIORITY_COUNT) - 1) << ((kind)*PRIORITY_COUNT))

/* Lanes of what encodes on CPUs, and on devices of their own. */
static uint64_t encode_lanes(bool cpu)
{
    uint64_t mask = 0;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++)
            if ((kind == DEVICE_CPU) == cpu)
                mask |= LANES_OF(LANE_CODEC + codec * DEVICE_KIND_COUNT + kind);
    return mask;
}

static bool fed_first(const struct sched *s, uint32_t device, uint32_t cpu)
{
    return device != SLOT_NONE &&
           task_tree(s, device)->key - FEED_HEAD_START_NS <= task_tree(s, cpu)->key;
}

/* Work for the node's encoders that fits but for CPU. */
static uint32_t unfed(struct sched *s, const struct search *search, uint64_t device_lanes)
{
    struct search wider = *search;
    wider.free_cpu = INT32_MAX;
    wider.but_for_cpu = true;
    return lanes_pick(s, &wider, device_lanes).slot;
}

static struct pick encode_pick(struct sched *s, struct search *search)
{
    uint64_t device_lanes = encode_lanes(false);
    struct pick cpu = lanes_pick(s, search, encode_lanes(true));
    if (!search->n->encoders || !(s->lane_mask & search->n->lanes & device_lanes))
        return cpu;
    struct pick device = lanes_pick(s, search, device_lanes);
    if (cpu.slot == SLOT_NONE || fed_first(s, device.slot, cpu.slot))
        return device;
    if (fed_first(s, unfed(s, search, device_lanes), cpu.slot)) {
        s->truncated = true; /* when that work goes elsewhere this node is looked at again */
        return device;
    }
    return cpu;
}

static struct search search_of(const struct sched *s, const struct node *n, bool suspects)
{
    return (struct search){
        .s = s,
        .n = n,
        .suspects = suspects,
        .free_cpu = (n->total.cpu_millicores - n->used.cpu_millicores) / TREE_CPU_UNIT,
        .free_memory = (n->total.memory_bytes - n->used.memory_bytes) / TREE_MEMORY_UNIT,
    };
}

bool match_holds(struct sched *s, const struct node *n, const struct task *t)
{
    struct search search = search_of(s, n, true);
    return n->encoders && t->needs_codec && t->kind == DEVICE_CPU &&
           unfed(s, &search, encode_lanes(false)) != SLOT_NONE;
}

static uint32_t node_pick(struct sched *s, const struct node *n, bool suspects)
{
    struct search search = search_of(s, n, suspects);
    struct pick big = encode_pick(s, &search);
    struct pick other = lanes_pick(s, &search, LANES_OF(LANE_CPU));
    if (other.slot != SLOT_NONE && before(s, other.slot, big.slot))
        big = other;
    uint32_t small = SLOT_NONE;
    search.free_sessions = n->total.sessions - n->used.sessions;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
        uint32_t found = lane_fit(s, LANE_SMALL * PRIORITY_COUNT + priority, &search);
        if (found == SLOT_NONE || !before(s, found, small))
            continue;
        if (big.slot == SLOT_NONE || priority >= big.priority || before(s, found, big.slot))
            small = found;
    }
    return small != SLOT_NONE ? small : big.slot;
}

/* Small steps end a video's stage: they go where nobody takes the node away. What encodes on CPUs goes where no encoder
 * wants them. Both if there is room. */
static uint32_t better_node(struct sched *s, uint32_t node, uint32_t task)
{
    const struct task *t = task_at(s, task);
    bool is_spot = node_at(s, node)->row.spot && queue_lane(s, t) / PRIORITY_COUNT == LANE_SMALL;
    bool is_gpu = node_at(s, node)->encoders && t->needs_codec && t->kind == DEVICE_CPU;
    if (!is_spot && !is_gpu)
        return node;
    uint32_t other = s->open[0].first;
    for (int i = 0; i < BETTER_LOOK && other != SLOT_NONE; i++) {
        const struct node *n = node_at(s, other);
        if ((is_spot || !n->encoders) && acceptable(s, n, t, false, false))
            return other;
        other = tree_next(&s->open[0], other);
    }
    return node;
}

/* One grant to the node, or to a steadier one in its place. */
static bool node_offer(struct sched *s, uint32_t node, bool suspects)
{
    struct node *n = node_at(s, node);
    uint32_t task = node_pick(s, n, suspects);
    if (task == SLOT_NONE) {
        *(suspects ? &n->tried_suspect : &n->tried) = s->epoch;
        return false;
    }
    node = better_node(s, node, task);
    lease_grant(s, node, task);
    node_reopen(s, node);
    return true;
}

/* ---- passes ---- */

/* The least CPU that any entry asks for; INT32_MAX when the queue is empty. */
static int32_t cpu_least(const struct sched *s)
{
    int32_t least = INT32_MAX;
    for (uint64_t lanes = s->lane_mask; lanes; lanes &= lanes - 1) {
        int32_t cpu = task_tree(s, s->lanes[__builtin_ctzll(lanes)].root)->min_cpu * TREE_CPU_UNIT;
        if (cpu < least)
            least = cpu;
    }
    return least;
}

static int32_t cpu_free(const struct node *n)
{
    return n->total.cpu_millicores - n->used.cpu_millicores;
}

/* The next open node at or after a place, of both trees. */
static uint32_t open_from(const struct sched *s, const struct tree_node *place)
{
    uint32_t a = tree_from(&s->open[0], place), b = tree_from(&s->open[1], place);
    if (a == SLOT_NONE || b == SLOT_NONE)
        return a == SLOT_NONE ? b : a;
    return tree_before(node_tree(s, a), node_tree(s, b)) ? a : b;
}

/* From the most free CPU down; true when it came to the end. */
static bool pass_top(struct sched *s, int *grants)
{
    int32_t least = cpu_least(s);
    struct tree_node place = {.key = INT64_MIN};
    for (int visits = 0; visits < PASS_NODES && *grants < PASS_GRANTS;) {
        uint32_t slot = open_from(s, &place);
        if (!s->lane_mask || slot == SLOT_NONE || cpu_free(node_at(s, slot)) < least)
            return true;
        place = *node_tree(s, slot);
        bool granted = node_at(s, slot)->tried != s->epoch && node_offer(s, slot, false);
        if (granted) {
            ++*grants;
        } else {
            visits++;
            place.id++;
        }
    }
    return false;
}

/* By id from where the last one stopped. */
static void pass_round(struct sched *s, int *grants)
{
    for (int visits = 0; visits < PASS_NODES && s->rotate_left > 0 && *grants < PASS_GRANTS;) {
        if (s->rotate_next >= s->node_order.count)
            s->rotate_next = 0;
        uint32_t slot = s->node_order.items[s->rotate_next];
        struct node *n = node_at(s, slot);
        if (n->open && n->tried != s->epoch && s->lane_mask && node_offer(s, slot, false)) {
            ++*grants;
            continue;
        }
        visits++;
        s->rotate_next++;
        s->rotate_left--;
    }
}

/* Nodes that gained room since the last step: the one with the most free CPU first. */
static void pass_gained(struct sched *s, int *grants)
{
    while (s->lane_mask && *grants < PASS_GRANTS) {
        uint32_t best = SLOT_NONE;
        for (uint32_t i = 0; i < s->gained.count && i < PASS_NODES; i++) {
            const struct node *n = node_at(s, s->gained.items[i]);
            if (!n->open || n->tried == s->epoch)
                continue;
            if (best == SLOT_NONE || cpu_free(n) > cpu_free(node_at(s, best)) ||
                (cpu_free(n) == cpu_free(node_at(s, best)) && n->id < node_at(s, best)->id))
                best = s->gained.items[i];
        }
        if (best == SLOT_NONE)
            return;
        if (node_offer(s, best, false))
            ++*grants;
    }
}

/* What no healthy device has taken. */
static void pass_suspects(struct sched *s, int *grants)
{
    for (uint32_t i = 0; i < s->suspects.count && s->lane_mask && *grants < PASS_GRANTS;) {
        uint32_t slot = s->suspects.items[i];
        const struct node *n = node_at(s, slot);
        if (n->open && n->tried_suspect != s->epoch && node_offer(s, slot, true))
            ++*grants;
        else
            i++;
    }
}

void match_run(struct sched *s)
{
    int grants = 0;
    if (s->gained.count > PASS_NODES)
        s->epoch++;
    if (s->lane_mask && s->epoch != s->epoch_matched) {
        s->epoch_matched = s->epoch;
        s->rotate_left = pass_top(s, &grants) ? 0 : s->node_order.count;
    }
    pass_gained(s, &grants);
    pass_round(s, &grants);
    if (s->suspects.count && s->rotate_left == 0 && s->epoch == s->epoch_matched)
        pass_suspects(s, &grants);
    if (grants >= PASS_GRANTS)
        s->rotate_left = s->node_order.count;
    for (uint32_t i = 0; i < s->gained.count; i++)
        node_at(s, s->gained.items[i])->gained = false;
    s->gained.count = 0;
}

bool match_pending(const struct sched *s)
{
    return s->lane_mask && (s->rotate_left > 0 || s->epoch != s->epoch_matched) &&
           s->nodes_live > 0;
}
