/* The matcher between the task queue and the worker queue.
 *
 * A pass offers the queue to nodes, the one with the most free CPU first, one task at a time, so that work
 * spreads. For a node the best entry that fits is taken: small steps before other work of the same or a
 * lower priority, else by key. Work per step is bounded: a pass visits at most PASS_NODES nodes from the top
 * and as many from a cursor that goes round, looks at FIT_VISITS entries of a lane, and makes at most
 * PASS_GRANTS grants; what was cut off is continued by the next step, which match_pending asks for.
 *
 * Invariants:
 *  M1. tried == epoch of an open node means: nothing that was queued then fits it, and it has gained
 *      nothing since.
 *  M2. When nothing is pending, every open node with room for the smallest demand has been tried in the
 *      present epoch.
 */
#include "scheduler/core/sched_internal.h"

#define PASS_NODES     32
#define PASS_GRANTS    1024
#define FIT_VISITS     128
#define ON_DEMAND_LOOK 16 /* nodes looked at before a small step goes to a spot node */

bool match_capable(const struct node *n, const struct task *t)
{
    if (t->needs_codec && !(n->codecs & (UINT32_C(1) << t->codec)))
        return false;
    int32_t limit = t->needs_codec ? n->session_limits[t->codec] : 0;
    return t->demand.cpu_millicores <= n->total.cpu_millicores &&
           t->demand.memory_bytes <= n->total.memory_bytes &&
           t->demand.sessions <= n->total.sessions && (!limit || t->demand.sessions <= limit);
}

bool match_fits(const struct node *n, const struct task *t)
{
    if (t->needs_codec) {
        int32_t limit = n->session_limits[t->codec];
        if (!(n->codecs & (UINT32_C(1) << t->codec)) ||
            (limit && n->sessions_used[t->codec] + t->demand.sessions > limit))
            return false;
    }
    return t->demand.cpu_millicores <= n->total.cpu_millicores - n->used.cpu_millicores &&
           t->demand.memory_bytes <= n->total.memory_bytes - n->used.memory_bytes &&
           t->demand.sessions <= n->total.sessions - n->used.sessions;
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
        if (n->live && !n->leaving && !n->notice && !n->row.drain && match_capable(n, t) &&
            !(unavoided && match_avoided(n, t)))
            count++;
    }
    return count;
}

static bool acceptable(const struct sched *s, const struct node *n, const struct task *t)
{
    return match_fits(n, t) && (!match_avoided(n, t) || match_capable_count(s, t, true, 1) == 0);
}

/* ---- the best entry for a node ---- */

struct search {
    const struct sched *s;
    const struct node *n;
    int32_t
        free_cpu; /* in the tree's units, so that only what surely does not fit is passed over */
    int64_t free_memory;
    int32_t free_sessions;
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
    if (acceptable(search->s, search->n, task_at(search->s, slot)))
        return slot;
    return subtree_fit(search, node->right);
}

static uint32_t lane_fit(struct sched *s, int lane, struct search *search)
{
    const struct tree *tree = &s->lanes[lane];
    if (!(s->lane_mask & search->n->lanes & (UINT32_C(1) << lane)) ||
        pruned(search, task_tree(s, tree->root)))
        return SLOT_NONE;
    if (acceptable(s, search->n, task_at(s, tree->first)))
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

static uint32_t node_pick(struct sched *s, const struct node *n)
{
    struct search search = {
        .s = s,
        .n = n,
        .free_cpu = (n->total.cpu_millicores - n->used.cpu_millicores) / TREE_CPU_UNIT,
        .free_memory = (n->total.memory_bytes - n->used.memory_bytes) / TREE_MEMORY_UNIT,
        .free_sessions = n->total.sessions - n->used.sessions,
    };
    uint32_t big = SLOT_NONE;
    int big_priority = 0;
    uint32_t lanes = s->lane_mask & n->lanes & ~((UINT32_C(1) << PRIORITY_COUNT) - 1);
    for (; lanes; lanes &= lanes - 1) {
        int lane = __builtin_ctz(lanes);
        uint32_t found = lane_fit(s, lane, &search);
        if (found != SLOT_NONE && before(s, found, big)) {
            big = found;
            big_priority = lane % PRIORITY_COUNT;
        }
    }
    uint32_t small = SLOT_NONE;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
        uint32_t found = lane_fit(s, LANE_SMALL * PRIORITY_COUNT + priority, &search);
        if (found == SLOT_NONE || !before(s, found, small))
            continue;
        if (big == SLOT_NONE || priority >= big_priority || before(s, found, big))
            small = found;
    }
    return small != SLOT_NONE ? small : big;
}

/* Small steps end a video's stage: they go where nobody takes the node away, if there is room. */
static uint32_t steadier_node(struct sched *s, uint32_t node, uint32_t task)
{
    const struct task *t = task_at(s, task);
    if (!node_at(s, node)->row.spot || queue_lane(s, t) / PRIORITY_COUNT != LANE_SMALL)
        return node;
    uint32_t other = s->open[0].first;
    for (int i = 0; i < ON_DEMAND_LOOK && other != SLOT_NONE; i++) {
        if (acceptable(s, node_at(s, other), t))
            return other;
        other = tree_next(&s->open[0], other);
    }
    return node;
}

/* One grant to the node, or to a steadier one in its place. */
static bool node_offer(struct sched *s, uint32_t node)
{
    struct node *n = node_at(s, node);
    uint32_t task = node_pick(s, n);
    if (task == SLOT_NONE) {
        n->tried = s->epoch;
        return false;
    }
    node = steadier_node(s, node, task);
    lease_grant(s, node, task);
    node_reopen(s, node);
    return true;
}

/* ---- passes ---- */

/* The least CPU that any entry asks for; INT32_MAX when the queue is empty. */
static int32_t cpu_least(const struct sched *s)
{
    int32_t least = INT32_MAX;
    for (uint32_t lanes = s->lane_mask; lanes; lanes &= lanes - 1) {
        int32_t cpu = task_tree(s, s->lanes[__builtin_ctz(lanes)].root)->min_cpu * TREE_CPU_UNIT;
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
        bool granted = node_at(s, slot)->tried != s->epoch && node_offer(s, slot);
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
        if (n->open && n->tried != s->epoch && s->lane_mask && node_offer(s, slot)) {
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
        if (node_offer(s, best))
            ++*grants;
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
