/* Routes: which kind of device the tasks of a codec are placed under, and when that changes.
 *
 * A class is what matters of devices here: kind, codec and bit depth. It is gone when no node that takes work has had a
 * device of it for a lease timeout: an agent that starts anew, or a daemon that does, moves nothing.
 *
 * Invariants:
 *  R1. counts[state] are the numbers of its tasks.
 *  R2. Without mix all its tasks that are queued, running or done have the entry of the route.
 *  R3. A queued task's lane is that of its codec and of the kind of its entry; classes count the tasks of their lanes
 *      and the leases of their kind.
 *  R4. An entry whose class is gone has queued tasks only while all classes of the route are gone, while a lease runs
 *      under it, or until the sweep comes by.
 *
 *   a task is placed under              when                                         by
 *   the route's entry                   it is queued, without mix                    route_place
 *   the first entry that is not gone    it is queued, with mix                       route_place
 *   the entry that entry_choose says    nothing has run yet, or with mix: a class    routes_run (route_visit)
 *                                       came or went, or a queue got long or short
 *   another entry, and what is done     without mix: the class of its entry is       routes_run (route_rebind)
 *   is wanted again                     gone, and tasks are queued and none runs
 *   none: it is dead                    all classes gone for unplaced_ns             routes_run (route_unplaced)
 *
 * Work per step is bounded: SWEEP_VISITS routes; time alone has them looked at every SWEEP_NS, SWEEP_TURN at a time.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/core/sched_internal.h"

#define SWEEP_NS      SL_S_TO_NS(1)
#define SWEEP_DARK_NS SL_S_TO_NS(10) /* where no queue is waited for, only for devices */
#define SWEEP_VISITS  256
#define SWEEP_TURN    4096
#define ENTRY_NONE    UINT8_MAX

/* ---- records ---- */

static bool route_is_sound(const struct sched_route *route)
{
    const struct demand *d = &route->device;
    if ((unsigned)route->codec >= CODEC_COUNT || route->count < 1 ||
        route->count > POLICY_ROUTE_MAX || d->cpu_millicores < 0 || d->memory_bytes < 0 ||
        d->vram_bytes < 0 || d->sessions < 0 || d->sessions > UINT16_MAX)
        return false;
    for (int32_t i = 0; i < route->count; i++)
        if ((unsigned)route->entries[i].kind >= DEVICE_KIND_COUNT ||
            route->entries[i].queue_longer_ns < 0 ||
            route->entries[i].queue_longer_ns / SL_NS_PER_MS > UINT32_MAX)
            return false;
    return true;
}

static void route_fill(struct sched *s, struct route *r, const struct sched_route *from)
{
    s->conditional -= r->conditional;
    r->count = (uint8_t)from->count;
    r->mix = from->mix;
    r->ten_bit = from->ten_bit;
    r->conditional = false;
    r->entry = 0;
    r->cpu_millicores = from->device.cpu_millicores;
    r->sessions = from->device.sessions > 0 ? from->device.sessions : 1;
    r->memory_bytes = from->device.memory_bytes;
    r->vram_bytes = from->device.vram_bytes;
    for (int32_t i = 0; i < POLICY_ROUTE_MAX; i++) {
        bool used = i < from->count;
        r->kinds[i] = used ? (uint8_t)from->entries[i].kind : 0;
        r->longer_ms[i] = used ? (uint32_t)(from->entries[i].queue_longer_ns / SL_NS_PER_MS) : 0;
        r->conditional = r->conditional || r->longer_ms[i] > 0;
    }
    s->conditional += r->conditional;
    if (r->conditional && s->sweep_at_ns > s->now_ns + SWEEP_NS)
        s->sweep_at_ns = s->now_ns + SWEEP_NS;
}

static uint32_t route_new(struct sched *s, uint32_t video, const struct sched_route *from)
{
    struct video *v = video_at(s, video);
    uint32_t slot = slab_take(&s->routes);
    if (slot == SLOT_NONE || !slab_reach(&s->route_trees, s->routes.end)) {
        s->out_of_memory = true;
        return SLOT_NONE;
    }
    struct route *r = route_at(s, slot);
    r->id = v->id;
    r->video = video;
    r->codec = (uint8_t)from->codec;
    route_fill(s, r, from);
    *route_tree(s, slot) = (struct tree_node){.key = v->id, .id = r->codec};
    tree_insert(&s->route_order, slot);
    v->routes[from->codec] = slot;
    return slot;
}

uint32_t route_of(struct sched *s, uint32_t video, enum codec codec)
{
    uint32_t slot = video_at(s, video)->routes[codec];
    if (slot != SLOT_NONE)
        return slot;
    const struct sched_route cpus = {.codec = codec, .count = 1};
    slot = route_new(s, video, &cpus);
    if (slot != SLOT_NONE)
        route_at(s, slot)->implied = true;
    return slot;
}

void routes_free(struct sched *s, struct video *v)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        uint32_t slot = v->routes[codec];
        if (slot == SLOT_NONE)
            continue;
        s->conditional -= route_at(s, slot)->conditional;
        tree_remove(&s->route_order, slot);
        slab_give(&s->routes, slot);
        v->routes[codec] = SLOT_NONE;
    }
}

void route_row_fill(const struct sched *s, const struct route *r, struct sched_route_row *row)
{
    row->video.v = video_at(s, r->video)->id;
    row->route.codec = (enum codec)r->codec;
    row->route.count = r->count;
    for (int32_t i = 0; i < r->count; i++) {
        row->route.entries[i].kind = (enum device_kind)r->kinds[i];
        row->route.entries[i].queue_longer_ns = SL_MS_TO_NS((int64_t)r->longer_ms[i]);
    }
    row->route.mix = r->mix;
    row->route.ten_bit = r->ten_bit;
    row->route.device.cpu_millicores = r->cpu_millicores;
    row->route.device.sessions = r->sessions;
    row->route.device.memory_bytes = r->memory_bytes;
    row->route.device.vram_bytes = r->vram_bytes;
}

static int32_t task_total(const struct route *r)
{
    int32_t total = 0;
    for (int state = 0; state < TASK_STATE_COUNT; state++)
        total += r->counts[state];
    return total;
}

static bool route_equals(const struct route *r, const struct sched_route *other)
{
    bool equal = r->count == other->count && r->mix == other->mix && r->ten_bit == other->ten_bit &&
                 r->sessions == (other->device.sessions > 0 ? other->device.sessions : 1) &&
                 r->cpu_millicores == other->device.cpu_millicores &&
                 r->memory_bytes == other->device.memory_bytes &&
                 r->vram_bytes == other->device.vram_bytes;
    for (int32_t i = 0; i < r->count && equal; i++)
        equal = r->kinds[i] == other->entries[i].kind &&
                r->longer_ms[i] == other->entries[i].queue_longer_ns / SL_NS_PER_MS;
    return equal;
}

int route_put(struct sched *s, const struct sched_event *event)
{
    uint32_t video = video_find(s, event->video);
    if (video == SLOT_NONE)
        return SL_ENOENT;
    if (!route_is_sound(&event->route))
        return SL_EINVAL;
    uint32_t slot = video_at(s, video)->routes[event->route.codec];
    struct route *r = slot == SLOT_NONE ? NULL : route_at(s, slot);
    if (r && !r->implied && route_equals(r, &event->route))
        return 0;
    if (r && task_total(r) > 0)
        return SL_ECONFLICT;
    if (r)
        route_fill(s, r, &event->route);
    else
        slot = route_new(s, video, &event->route);
    if (slot == SLOT_NONE)
        return SL_ENOMEM;
    r = route_at(s, slot);
    r->implied = false;
    struct sched_action *action = action_add(s, SCHED_PUT_ROUTE);
    action->video = event->video;
    route_row_fill(s, r, &action->route_row);
    return 0;
}

int route_restore(struct sched *s, uint32_t video, const struct sched_route *row)
{
    if (!route_is_sound(row))
        return SL_EINVAL;
    if (video_at(s, video)->routes[row->codec] != SLOT_NONE)
        return SL_EEXIST;
    return route_new(s, video, row) == SLOT_NONE ? SL_ENOMEM : 0;
}

/* ---- how long a kind would have one wait ---- */

static uint32_t lane_ahead(const struct sched *s, int codec, enum device_kind kind,
                           const struct tree_node *place)
{
    uint32_t ahead = 0;
    int lane = (LANE_CODEC + codec * DEVICE_KIND_COUNT + (int)kind) * PRIORITY_COUNT;
    for (int priority = 0; priority < PRIORITY_COUNT; priority++)
        ahead += tree_rank(&s->lanes[lane + priority], place);
    return ahead;
}

/* What runs counts whole; what is queued counts by the average of its lane, since only ranks are known of a place. */
int64_t route_wait_ns(const struct sched *s, enum device_kind kind, const struct tree_node *place)
{
    int64_t wait_ns = 0;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        int64_t rate = s->rates[codec][kind];
        if (rate <= 0)
            continue;
        const struct device_class *eight = &s->classes[class_of(codec, false, kind)];
        const struct device_class *ten = &s->classes[class_of(codec, true, kind)];
        int64_t queued = eight->queued + ten->queued;
        int64_t mpix = eight->running_mpix + ten->running_mpix;
        if (queued > 0)
            mpix += sl_muldiv_i64(eight->queued_mpix + ten->queued_mpix,
                                  place ? lane_ahead(s, codec, kind, place) : queued, queued);
        wait_ns += sl_muldiv_i64(mpix, SL_NS_PER_S, rate);
    }
    return wait_ns;
}

/* ---- choosing ---- */

static const struct device_class *entry_class(const struct sched *s, const struct route *r,
                                              int entry)
{
    return &s->classes[class_of(r->codec, r->ten_bit, r->kinds[entry])];
}

/* The first entry that is not gone, and behind it each whose queue condition holds for the place; ENTRY_NONE when all
 * are gone. place NULL: conditions are left to the sweep. */
static uint8_t entry_choose(const struct sched *s, const struct route *r,
                            const struct tree_node *place)
{
    uint8_t chosen = ENTRY_NONE;
    int64_t wait_ns = INT64_MAX;
    for (uint8_t i = 0; i < r->count; i++) {
        if (entry_class(s, r, i)->gone)
            continue;
        if (chosen == ENTRY_NONE ||
            (place && r->longer_ms[i] > 0 && wait_ns > SL_MS_TO_NS((int64_t)r->longer_ms[i])))
            chosen = i;
        if (!r->conditional || !place)
            break;
        int64_t own_ns = route_wait_ns(s, (enum device_kind)r->kinds[i], place);
        wait_ns = own_ns < wait_ns ? own_ns : wait_ns;
    }
    return chosen;
}

static bool route_is_bound(const struct route *r)
{
    return !r->mix && r->counts[TASK_RUNNING] + r->counts[TASK_DONE] > 0;
}

void route_place(struct sched *s, uint32_t task)
{
    struct task *t = task_at(s, task);
    struct route *r = route_at(s, t->route);
    uint8_t *entry = r->mix ? &t->entry : &r->entry;
    /* Others that are queued already are moved by the sweep, if at all. */
    if (r->mix ? entry_class(s, r, *entry)->gone
               : !route_is_bound(r) && r->counts[TASK_QUEUED] <= 1) {
        uint8_t chosen = entry_choose(s, r, NULL);
        *entry = chosen == ENTRY_NONE ? *entry : chosen;
    }
    t->entry = *entry;
    t->kind = r->kinds[t->entry];
}

/* ---- moving what is placed ---- */

static void task_replace(struct sched *s, uint32_t slot, uint8_t entry)
{
    struct task *t = task_at(s, slot);
    bool placed = t->place == PLACE_LANE || t->place == PLACE_HELD;
    if (t->entry == entry)
        return;
    if (placed)
        queue_unplace(s, slot);
    t->entry = entry;
    t->kind = route_at(s, t->route)->kinds[entry];
    if (placed)
        queue_place(s, slot);
}

static void route_move(struct sched *s, uint32_t slot, uint8_t entry)
{
    struct route *r = route_at(s, slot);
    r->entry = entry;
    for (uint32_t t = video_at(s, r->video)->first; t != SLOT_NONE; t = task_at(s, t)->video_next)
        if (task_at(s, t)->route == slot && task_at(s, t)->state == TASK_QUEUED)
            task_replace(s, t, entry);
}

/* What the lost devices made is not mixed with what is to come. */
static void route_rebind(struct sched *s, uint32_t slot, uint8_t entry)
{
    struct route *r = route_at(s, slot);
    struct video *v = video_at(s, r->video);
    route_move(s, slot, entry);
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        struct task *task = task_at(s, t);
        if (task->route != slot || task->state != TASK_DONE)
            continue;
        struct sched_action *action = action_add(s, SCHED_TASK_AGAIN);
        action->video.v = v->id;
        action->task.v = task->id;
        action->token.v = task->token;
        lease_token_kill(s, t);
        task_move(s, t, TASK_WAITING);
        task_renew(s, t);
    }
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next)
        if (task_at(s, t)->route == slot && task_at(s, t)->state == TASK_QUEUED) {
            memset(task_at(s, t)->avoid, 0, sizeof task_at(s, t)->avoid);
            task_touch(s, t);
        }
    video_settle(s, r->video);
}

/* Whether any node that was heard of has a device for it, be it away or its device quarantined. */
static bool known_anywhere(const struct sched *s, const struct route *r)
{
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        for (int32_t d = 0; d < n->device_count; d++)
            for (int e = 0; e < r->count; e++)
                if (n->devices[d].kind == (enum device_kind)r->kinds[e] &&
                    device_encodes(&n->devices[d], (enum codec)r->codec, r->ten_bit))
                    return true;
    }
    return false;
}

/* The first task, once all have waited so long; its death holds the others back. */
static void route_unplaced(struct sched *s, uint32_t slot)
{
    struct route *r = route_at(s, slot);
    int64_t since_ns = 0;
    for (int i = 0; i < r->count; i++)
        if (entry_class(s, r, i)->absent_since_ns > since_ns)
            since_ns = entry_class(s, r, i)->absent_since_ns;
    if (s->nodes_live == 0 || s->now_ns - since_ns < s->config.unplaced_ns || known_anywhere(s, r))
        return;
    uint32_t first = SLOT_NONE;
    for (uint32_t t = video_at(s, r->video)->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        const struct task *task = task_at(s, t);
        if (task->route != slot || task->place != PLACE_LANE)
            continue;
        if (s->now_ns - task->since_ns < s->config.unplaced_ns)
            return;
        first = first == SLOT_NONE ? t : first;
    }
    if (first == SLOT_NONE)
        return;
    struct sl_failure why;
    char names[128];
    sl_fail(&why, SL_EUNPLACED,
            "no node of the farm can encode %s%s by %s; add a device that does, or another "
            "encoder to the policy's route",
            codec_word((enum codec)r->codec), r->ten_bit ? " with ten bits" : "",
            route_names(r, names, sizeof names));
    task_kill(s, first, &why);
}

static void mix_visit(struct sched *s, uint32_t slot)
{
    struct route *r = route_at(s, slot);
    const struct video *v = video_at(s, r->video);
    for (uint32_t t = v->first; t != SLOT_NONE; t = task_at(s, t)->video_next) {
        if (task_at(s, t)->route != slot || task_at(s, t)->state != TASK_QUEUED)
            continue;
        struct tree_node place = *task_tree(s, t);
        place.key = queue_key(s, v);
        place.group = v->id;
        uint8_t chosen = entry_choose(s, r, &place);
        if (chosen != ENTRY_NONE)
            task_replace(s, t, chosen);
    }
}

static void route_visit(struct sched *s, uint32_t slot)
{
    struct route *r = route_at(s, slot);
    if (r->counts[TASK_QUEUED] == 0)
        return;
    bool gone = entry_class(s, r, r->entry)->gone;
    if (r->mix) {
        if (r->count > 1)
            mix_visit(s, slot);
    } else if (!route_is_bound(r) ? r->count > 1 : gone && r->counts[TASK_RUNNING] == 0) {
        const struct video *v = video_at(s, r->video);
        struct tree_node place = {.key = queue_key(s, v), .group = v->id, .order = INT64_MIN};
        uint8_t chosen = entry_choose(s, r, &place);
        if (chosen != ENTRY_NONE && chosen != r->entry) {
            if (route_is_bound(r))
                route_rebind(s, slot, chosen);
            else
                route_move(s, slot, chosen);
        }
    }
    if (entry_choose(s, r, NULL) == ENTRY_NONE)
        route_unplaced(s, slot);
}

/* ---- what time does ---- */

/* Has work that no node can take, so that time alone decides about it. */
static bool any_dark(const struct sched *s)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        if (s->classes[i].queued > 0 && s->classes[i].nodes == 0)
            return true;
    return false;
}

static int64_t classes_due_ns(const struct sched *s)
{
    int64_t due_ns = INT64_MAX;
    for (int i = 0; i < CLASS_COUNT; i++) {
        const struct device_class *cls = &s->classes[i];
        if (cls->nodes == 0 && !cls->gone &&
            cls->absent_since_ns + s->config.lease_timeout_ns < due_ns)
            due_ns = cls->absent_since_ns + s->config.lease_timeout_ns;
    }
    return due_ns;
}

static void classes_expire(struct sched *s)
{
    for (int i = 0; i < CLASS_COUNT; i++) {
        struct device_class *cls = &s->classes[i];
        if (cls->nodes == 0 && !cls->gone &&
            cls->absent_since_ns + s->config.lease_timeout_ns <= s->now_ns) {
            cls->gone = true;
            s->sweep_left = tree_count(&s->route_order);
        }
    }
    s->classes_due_ns = classes_due_ns(s);
}

void routes_run(struct sched *s)
{
    if (!s->classes_begun) {
        s->classes_begun = true;
        for (int i = 0; i < CLASS_COUNT; i++)
            s->classes[i].absent_since_ns = s->now_ns;
        s->classes_due_ns = classes_due_ns(s);
    }
    if (s->now_ns >= s->classes_due_ns)
        classes_expire(s);
    if (s->now_ns >= s->sweep_at_ns) {
        s->sweep_at_ns = s->now_ns + (s->conditional > 0 ? SWEEP_NS : SWEEP_DARK_NS);
        uint32_t all = tree_count(&s->route_order);
        if (s->sweep_left == 0 && (s->conditional > 0 || any_dark(s)))
            s->sweep_left = all < SWEEP_TURN ? all : SWEEP_TURN;
    }
    for (int visits = 0; visits < SWEEP_VISITS && s->sweep_left > 0; visits++, s->sweep_left--) {
        uint32_t slot = tree_from(&s->route_order, &s->sweep_place);
        if (slot == SLOT_NONE)
            slot = s->route_order.first;
        if (slot == SLOT_NONE) {
            s->sweep_left = 0;
            return;
        }
        s->sweep_place = *route_tree(s, slot);
        s->sweep_place.id++;
        route_visit(s, slot);
    }
}

int64_t routes_deadline_ns(const struct sched *s)
{
    if (s->route_order.root == SLOT_NONE)
        return INT64_MAX;
    if (s->sweep_left > 0)
        return s->now_ns;
    int64_t at_ns = s->classes_due_ns;
    if (s->sweep_at_ns < at_ns && (s->conditional > 0 || any_dark(s)))
        at_ns = s->sweep_at_ns;
    return at_ns;
}

/* ---- words ---- */

const char *route_encoder(const struct route *r, int entry)
{
    for (int i = 0; i < ENCODER_NAMES; i++)
        if (encoder_names[i].kind == (enum device_kind)r->kinds[entry] &&
            encoder_names[i].codecs & UINT32_C(1) << r->codec)
            return encoder_names[i].name;
    return device_kind_word((enum device_kind)r->kinds[entry]);
}

const char *route_names(const struct route *r, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < r->count && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s",
                                 i == 0              ? ""
                                 : i == r->count - 1 ? " or "
                                                     : ", ",
                                 route_encoder(r, i));
    return text;
}
