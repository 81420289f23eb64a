/* What a node's devices can do, and which of them its leases are reckoned on.
 *
 * The node chooses the device of a lease itself. The core reckons its leases on devices as well, the emptiest first, so
 * that it grants no more sessions than some choice of the node can place; a node that chose otherwise gives a lease
 * fewer sessions, which is slower and never wrong.
 *
 * Invariants:
 *  D1. slots[i].use is the sum over the node's leases whose device is i.
 *  D2. A grant opens no more sessions on a device, or on all devices that share a limit, than the limit; a limit that
 *      shrinks later may be passed. What has use for more sessions than the limit gets an idle device whole.
 *  D3. s->classes[].nodes and s->rates are the sums of `tallied` and `rates_tallied` over all nodes, and those are
 *      what a node offers while it takes work, else nothing.
 */
#include <string.h>

#include "scheduler/core/sched_internal.h"

/* Luma samples in millions a second that one encoder is taken to make where nobody has measured it. */
static const int64_t rates_assumed[DEVICE_KIND_COUNT] = {
    [DEVICE_CPU] = 20, [DEVICE_NVENC] = 400, [DEVICE_VAAPI] = 200};

bool device_usable(const struct device_row *device, bool suspects)
{
    return device->health == HEALTH_HEALTHY || (suspects && device->health == HEALTH_SUSPECT);
}

bool device_encodes(const struct device_row *device, enum codec codec, bool ten_bit)
{
    return ((ten_bit ? device->encodes_ten_bit : device->encodes) & UINT32_C(1) << codec) != 0;
}

static uint32_t device_classes(const struct device_row *device)
{
    uint32_t classes = 0;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        for (int ten_bit = 0; ten_bit < 2; ten_bit++)
            if (device_encodes(device, (enum codec)codec, ten_bit))
                classes |= UINT32_C(1) << class_of(codec, ten_bit, (int)device->kind);
    return classes;
}

/* Engines limit what a GPU makes, not sessions; a CPU makes so much on each of its CPUs. */
static void rates_add(struct node *n, const struct device_row *device)
{
    int64_t engines = device->kind == DEVICE_CPU ? n->total.cpu_millicores / 1000 : 1;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (device_encodes(device, (enum codec)codec, false)) {
            int64_t rate = device->mpix_per_s[codec];
            if (rate <= 0)
                rate = rates_assumed[device->kind];
            n->rates[codec][device->kind] += rate * (engines > 0 ? engines : 1);
        }
}

static void cpu_limits_reckon(struct node *n)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        int64_t limit = 0;
        bool unlimited = false;
        for (int32_t i = 0; i < n->device_count; i++) {
            const struct device_row *device = &n->devices[i];
            if (device->kind != DEVICE_CPU || !device_usable(device, true) ||
                !device_encodes(device, (enum codec)codec, false))
                continue;
            int32_t own = device->codec_leases[codec] > 0 ? device->codec_leases[codec]
                                                          : device->session_limit;
            unlimited = unlimited || own <= 0;
            limit += own;
        }
        n->session_limits[codec] = unlimited ? 0 : limit > INT32_MAX ? INT32_MAX : (int32_t)limit;
    }
}

static void suspects_note(struct sched *s, uint32_t slot, bool want)
{
    struct slots *list = &s->suspects;
    const struct node *n = node_at(s, slot);
    uint32_t at = 0;
    while (at < list->count && list->items[at] != slot)
        at++;
    if (want == (at < list->count))
        return;
    if (!want) {
        memmove(&list->items[at], &list->items[at + 1],
                (list->count - at - 1) * sizeof list->items[0]);
        list->count--;
        return;
    }
    if (!slots_push(list, slot)) {
        s->out_of_memory = true;
        return;
    }
    for (at = list->count - 1; at > 0 && node_at(s, list->items[at - 1])->id > n->id; at--) {
        list->items[at] = list->items[at - 1];
        list->items[at - 1] = slot;
    }
}

static uint32_t slot_fill(struct device_slot *slot, const struct device_row *device)
{
    bool usable = device_usable(device, true) && (unsigned)device->kind < DEVICE_KIND_COUNT;
    slot->classes = usable ? device_classes(device) : 0;
    slot->kind = (uint8_t)device->kind;
    slot->healthy = device->health == HEALTH_HEALTHY;
    slot->shared = device->session_limit > 0 && device->session_scope == SCOPE_SYSTEM;
    slot->limit = device->session_limit > 0 ? device->session_limit : SESSIONS_ASSUMED;
    slot->vram_bytes = device->vram_bytes;
    return slot->classes;
}

void devices_reckon(struct sched *s, uint32_t slot)
{
    const uint64_t all = (UINT64_C(1) << PRIORITY_COUNT) - 1;
    struct node *n = node_at(s, slot);
    n->healthy = n->usable = 0;
    n->retally = true;
    n->encoders = 0;
    bool suspects = false;
    memset(n->rates, 0, sizeof n->rates);
    n->lanes = all << (LANE_SMALL * PRIORITY_COUNT) | all << (LANE_CPU * PRIORITY_COUNT);
    for (int32_t i = 0; i < n->device_count; i++) {
        const struct device_row *device = &n->devices[i];
        uint32_t classes = slot_fill(&n->slots[i], device);
        if (!classes)
            continue;
        n->usable |= classes;
        if (n->slots[i].healthy)
            n->healthy |= classes;
        else
            suspects = true;
        n->encoders += device->kind != DEVICE_CPU;
        rates_add(n, device);
    }
    for (int cls = 0; cls < CLASS_COUNT; cls++)
        if (n->usable & UINT32_C(1) << cls) {
            int codec = cls / (2 * DEVICE_KIND_COUNT), kind = cls % DEVICE_KIND_COUNT;
            int lane = LANE_CODEC + codec * DEVICE_KIND_COUNT + kind;
            n->lanes |= all << (lane * PRIORITY_COUNT);
        }
    cpu_limits_reckon(n);
    suspects_note(s, slot, suspects);
}

/* ---- sessions ---- */

/* Of the device, or of all that share its limit. */
static struct device_use use_of(const struct node *n, int32_t i)
{
    struct device_use use = n->slots[i].use;
    for (int32_t j = 0; n->slots[i].shared && j < n->device_count; j++)
        if (j != i && n->slots[j].kind == n->slots[i].kind && n->slots[j].shared) {
            use.leases += n->slots[j].use.leases;
            use.sessions += n->slots[j].use.sessions;
        }
    return use;
}

static int32_t room_of(const struct node *n, int32_t i)
{
    struct device_use use = use_of(n, i);
    return use.leases == 0 ? INT32_MAX : n->slots[i].limit - use.sessions;
}

int32_t device_room(const struct node *n, enum device_kind kind)
{
    int32_t most = 0;
    for (int32_t i = 0; i < n->device_count; i++)
        if (n->slots[i].kind == kind && n->slots[i].classes) {
            int32_t room = room_of(n, i);
            most = room > most ? room : most;
        }
    return most;
}

void device_work_add(struct sched *s, const struct task *t, int64_t by)
{
    if (t->kind == DEVICE_CPU)
        return;
    s->device_work += by;
    if (s->device_work == 0)
        s->epoch++; /* what was kept for it is to be had */
}

int32_t device_reserve(const struct sched *s, const struct node *n)
{
    int32_t idle = 0;
    for (int32_t i = 0; n->encoders && s->device_work > 0 && i < n->device_count; i++)
        idle += n->slots[i].kind != DEVICE_CPU && n->slots[i].classes && n->slots[i].healthy &&
                n->slots[i].use.leases == 0;
    return idle * FEED_MILLICORES;
}

struct demand task_demand_of(const struct sched *s, const struct task *t)
{
    struct demand demand = {
        .cpu_millicores = t->demand.cpu_millicores,
        .sessions = t->demand.sessions,
        .memory_bytes = t->demand.memory_bytes,
        .work_mpix = t->demand.work_mpix,
        .fetch_bytes = t->demand.fetch_bytes,
    };
    if (t->needs_codec && t->kind != DEVICE_CPU) {
        const struct route *r = route_at(s, t->route);
        demand.cpu_millicores = r->cpu_millicores;
        demand.sessions = r->sessions;
        demand.memory_bytes = r->memory_bytes;
        demand.vram_bytes = r->vram_bytes;
    }
    return demand;
}

/* An idle device takes anything: with fewer sessions or less memory than a task has use for, the worker goes over its
 * source more than once. */
static bool device_fits(const struct node *n, int32_t i, const struct route *r)
{
    const struct device_slot *slot = &n->slots[i];
    return room_of(n, i) >= r->sessions &&
           (slot->use.leases == 0 || slot->vram_bytes <= 0 ||
            slot->use.vram_bytes + r->vram_bytes <= slot->vram_bytes);
}

uint8_t device_pick(const struct sched *s, const struct node *n, const struct task *t,
                    bool suspects)
{
    const struct route *r = route_at(s, t->route);
    uint32_t cls = UINT32_C(1) << class_of(t->codec, t->ten_bit, t->kind);
    int32_t best = -1, best_free = 0;
    for (int32_t i = 0; i < n->device_count; i++) {
        const struct device_slot *slot = &n->slots[i];
        if (!(slot->classes & cls) || !(slot->healthy || suspects) || !device_fits(n, i, r))
            continue;
        int32_t free = slot->limit - use_of(n, i).sessions;
        bool better = best < 0 ||
                      (slot->healthy == n->slots[best].healthy ? free > best_free : slot->healthy);
        if (better) {
            best = i;
            best_free = free;
        }
    }
    return best < 0 ? DEVICE_NONE : (uint8_t)best;
}

void device_assign(const struct sched *s, const struct node *n, struct task *t)
{
    t->device = DEVICE_NONE;
    t->sessions = 0;
    if (t->kind == DEVICE_CPU)
        return;
    t->device = device_pick(s, n, t, true);
    int32_t limit = n->slots[t->device].limit, wanted = route_at(s, t->route)->sessions;
    t->sessions = (uint16_t)(wanted < limit ? wanted : limit);
}

static void use_add(struct node *n, const struct sched *s, const struct task *t, int32_t by)
{
    if (t->device == DEVICE_NONE)
        return;
    struct device_use *use = &n->slots[t->device].use;
    use->leases += by;
    use->sessions += by * t->sessions;
    use->vram_bytes += by * route_at(s, t->route)->vram_bytes;
}

void device_take(struct sched *s, struct node *n, struct task *t)
{
    n->kind_leases[t->kind]++;
    if (t->kind == DEVICE_CPU)
        n->sessions_used[t->codec] += pool_share(t);
    else
        use_add(n, s, t, 1);
}

void device_give(struct sched *s, struct node *n, struct task *t)
{
    n->kind_leases[t->kind]--;
    if (t->kind == DEVICE_CPU)
        n->sessions_used[t->codec] -= pool_share(t);
    else
        use_add(n, s, t, -1);
    t->device = DEVICE_NONE;
}

static uint8_t device_by_id(const struct node *n, const char *id)
{
    for (int32_t i = 0; i < n->device_count; i++)
        if (strcmp(n->devices[i].device_id, id) == 0)
            return (uint8_t)i;
    return DEVICE_NONE;
}

/* Where a lease that came with a restart is most likely: on the emptiest device that could have it. */
static uint8_t device_guess(const struct node *n, const struct task *t)
{
    int32_t best = -1;
    for (int32_t i = 0; i < n->device_count; i++)
        if (n->devices[i].kind == (enum device_kind)t->kind &&
            device_encodes(&n->devices[i], (enum codec)t->codec, t->ten_bit) &&
            (best < 0 || n->slots[i].use.sessions < n->slots[best].use.sessions))
            best = i;
    return best < 0 ? DEVICE_NONE : (uint8_t)best;
}

void devices_recount(struct sched *s, uint32_t slot, const struct device_row *old,
                     int32_t old_count)
{
    struct node *n = node_at(s, slot);
    for (int32_t i = 0; i < NODE_DEVICES_MAX; i++)
        n->slots[i].use = (struct device_use){0};
    for (int known = 1; known >= 0; known--)
        for (uint32_t i = n->lease_first; i != SLOT_NONE; i = task_at(s, i)->lease_next) {
            struct task *t = task_at(s, i);
            if (!t->needs_codec || t->kind == DEVICE_CPU || (t->device != DEVICE_NONE) != known)
                continue;
            if (known && t->device < old_count)
                t->device = device_by_id(n, old[t->device].device_id);
            else if (!known)
                t->device = device_guess(n, t);
            use_add(n, s, t, 1);
        }
}

/* ---- the farm ---- */

void node_tally(struct sched *s, uint32_t slot)
{
    struct node *n = node_at(s, slot);
    bool takes =
        n->live && !n->leaving && !n->notice && !n->row.drain && n->total.cpu_millicores > 0;
    uint32_t classes = takes ? n->usable : 0;
    if (classes == n->tallied && !n->retally)
        return;
    n->retally = false;
    for (uint32_t news = classes ^ n->tallied; news; news &= news - 1) {
        int at = __builtin_ctz(news);
        struct device_class *cls = &s->classes[at];
        cls->nodes += classes & UINT32_C(1) << at ? 1 : -1;
        if (cls->nodes == 0) {
            int64_t due_ns = s->now_ns + s->config.lease_timeout_ns;
            cls->absent_since_ns = s->now_ns;
            s->classes_due_ns = due_ns < s->classes_due_ns ? due_ns : s->classes_due_ns;
        }
        if (cls->nodes == 1 && cls->gone) {
            cls->gone = false;
            s->sweep_left = tree_count(&s->route_order);
        }
    }
    n->tallied = classes;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++) {
            int64_t rate = takes ? n->rates[codec][kind] : 0;
            s->rates[codec][kind] += rate - n->rates_tallied[codec][kind];
            n->rates_tallied[codec][kind] = rate;
        }
}
