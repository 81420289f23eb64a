/* Why a task is where it is, in sentences for people. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/core/sched_internal.h"

struct reasons {
    char (*items)[SL_MESSAGE_BYTES];
    size_t max;
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void say(struct reasons *reasons, const char *fmt, ...)
{
    if (reasons->count == reasons->max)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(reasons->items[reasons->count++], SL_MESSAGE_BYTES, fmt, args);
    va_end(args);
}

/* "850 ms", "3 s", "4 min", "2 h". */
static const char *span(int64_t ns, char text[32])
{
    if (ns < 0)
        ns = 0;
    if (ns < SL_NS_PER_S)
        snprintf(text, 32, "%" PRId64 " ms", ns / SL_NS_PER_MS);
    else if (ns < 120 * SL_NS_PER_S)
        snprintf(text, 32, "%" PRId64 " s", ns / SL_NS_PER_S);
    else if (ns < 7200 * SL_NS_PER_S)
        snprintf(text, 32, "%" PRId64 " min", ns / (60 * SL_NS_PER_S));
    else
        snprintf(text, 32, "%" PRId64 " h", ns / (3600 * SL_NS_PER_S));
    return text;
}

static void say_last_failure(struct reasons *r, const struct sched *s, const struct task *t)
{
    if (t->failure == SLOT_NONE)
        return;
    const struct sl_failure *failure = &failure_at(s, t->failure)->failure;
    if (t->state == TASK_DEAD)
        say(r, "the last failure is %s: %.180s", sl_error_word(failure->code), failure->message);
    else
        say(r, "attempt %d of %d failed with %s: %.160s", t->attempts, retry_attempts_max(s, t),
            sl_error_word(failure->code), failure->message);
}

static void explain_waiting(struct reasons *r, const struct sched *s, const struct task *t)
{
    const struct video *v = video_at(s, t->video);
    uint32_t open = t->wait_mask & ~v->finished;
    for (int step = 0; step < STEP_COUNT; step++) {
        if (!(open & STEP_BIT(step)))
            continue;
        int32_t done = v->counts[step][TASK_DONE], total = 0;
        for (int state = 0; state < TASK_STATE_COUNT; state++)
            total += v->counts[step][state];
        if (total)
            say(r, "waiting for %s: %d of %d done", step_word((enum step)step), done, total);
        else
            say(r, "waiting for %s", step_word((enum step)step));
    }
}

/* How the live nodes stand to a task, each counted once, by the first thing that is in the way. */
struct standing {
    int32_t lost, away, suspect, incapable, too_small, avoided, full, free;
};

static struct standing standing_of(const struct sched *s, const struct task *t)
{
    struct standing st = {0};
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        if (!n->live)
            st.lost++;
        else if (n->row.drain || n->leaving || n->notice)
            st.away++;
        else if (t->needs_codec &&
                 !(n->usable & UINT32_C(1) << class_of(t->codec, t->ten_bit, t->kind)))
            st.incapable++;
        else if (!match_capable(s, n, t))
            st.too_small++;
        else if (n->suspect_until_ns > s->now_ns)
            st.suspect++;
        else if (match_avoided(n, t))
            st.avoided++;
        else if (!match_fits(s, n, t, true))
            st.full++;
        else
            st.free++;
    }
    return st;
}

static void explain_nodes(struct reasons *r, const struct sched *s, const struct task *t)
{
    struct standing st = standing_of(s, t);
    int32_t ready = st.suspect + st.incapable + st.too_small + st.avoided + st.full + st.free;
    struct demand demand = task_demand_of(s, t);
    int32_t capable = st.suspect + st.avoided + st.full + st.free;
    if (ready == 0) {
        say(r, "no node is ready: %d lost, %d draining or leaving", st.lost, st.away);
        return;
    }
    if (capable == 0 && st.too_small == 0 && t->needs_codec) {
        char names[128];
        say(r, "no node can encode %s%s by %s: %d %s ready, none has a usable device for it",
            codec_word((enum codec)t->codec), t->ten_bit ? " with ten bits" : "",
            route_names(route_at(s, t->route), names, sizeof names), ready,
            ready == 1 ? "node is" : "nodes are");
    } else if (capable == 0)
        say(r,
            "no node is large enough: it needs %d millicores, %" PRId64
            " MiB and %d sessions; start a larger node or give an agent more",
            demand.cpu_millicores, demand.memory_bytes >> 20, demand.sessions);
    else if (st.free)
        say(r, "%d of %d capable nodes %s room for it", st.free, capable,
            st.free == 1 ? "has" : "have");
    else
        say(r,
            "%d capable %s: %d full, %d suspect after faults, %d avoided because it failed there",
            capable, capable == 1 ? "node" : "nodes", st.full, st.suspect, st.avoided);
}

/* ---- routes ---- */

struct use_sum {
    int64_t devices, sessions, limit;
    bool unlimited;
};

static struct use_sum use_sum_of(const struct sched *s, const struct task *t)
{
    struct use_sum sum = {0};
    for (uint32_t i = 0; i < s->node_order.count; i++) {
        const struct node *n = node_at(s, s->node_order.items[i]);
        int64_t shared = 0;
        for (int32_t d = 0; n->tallied && d < n->device_count; d++) {
            const struct device_row *device = &n->devices[d];
            if (device->kind != (enum device_kind)t->kind || !device_usable(device, true) ||
                !device_encodes(device, (enum codec)t->codec, t->ten_bit))
                continue;
            sum.devices++;
            sum.sessions += n->slots[d].use.sessions;
            sum.unlimited = sum.unlimited || device->session_limit <= 0;
            if (device->session_scope == SCOPE_SYSTEM)
                shared = device->session_limit;
            else
                sum.limit += device->session_limit;
        }
        sum.limit += shared;
    }
    return sum;
}

/* What an entry further on is waiting for: "; x265 only when …". */
static void later_entry(const struct sched *s, const struct task *t, char *text, size_t bytes)
{
    const struct route *r = route_at(s, t->route);
    char limit[32], now[32];
    text[0] = '\0';
    for (int i = t->entry + 1; i < r->count; i++) {
        struct tree_node place = *task_tree(s, id_map_get(&s->task_ids, t->id));
        if (s->classes[class_of(r->codec, r->ten_bit, r->kinds[i])].gone)
            continue;
        place.order = r->mix ? place.order : INT64_MIN;
        if (!r->mix && r->counts[TASK_RUNNING] + r->counts[TASK_DONE] > 0)
            snprintf(text, bytes,
                     "; %s only when that is gone, since chunks are made by %s already",
                     route_encoder(r, i), route_encoder(r, t->entry));
        else if (r->longer_ms[i])
            snprintf(text, bytes, "; %s only when the wait passes %s, now about %s",
                     route_encoder(r, i), span(SL_MS_TO_NS((int64_t)r->longer_ms[i]), limit),
                     span(route_wait_ns(s, (enum device_kind)t->kind, &place), now));
        else
            snprintf(text, bytes, "; %s only when that is gone from the farm", route_encoder(r, i));
        return;
    }
}

/* False where nothing is to be said of nodes: the kind may come back, else another follows. */
static bool explain_device(struct reasons *r, const struct sched *s, const struct task *t)
{
    const struct route *route = route_at(s, t->route);
    const struct device_class *cls = &s->classes[class_of(t->codec, t->ten_bit, t->kind)];
    const char *name = route_encoder(route, t->entry);
    char later[128], text[32];
    later_entry(s, t, later, sizeof later);
    if (cls->nodes == 0 && !cls->gone && later[0] && s->nodes_live > 0) {
        int64_t left_ns = cls->absent_since_ns + s->config.lease_timeout_ns - s->now_ns;
        say(r, "no node has %s at present; it is taken for gone %s from now%s", name,
            span(left_ns, text), later);
        return false;
    }
    if (cls->nodes == 0 || t->kind == DEVICE_CPU)
        return true;
    struct use_sum sum = use_sum_of(s, t);
    const char *article = strchr("aeinou", name[0]) ? "an" : "a";
    const char *devices = sum.devices == 1 ? "device" : "devices";
    if (sum.unlimited)
        say(r, "waits for %s %s session: %" PRId64 " in use on %" PRId64 " %s%s", article, name,
            sum.sessions, sum.devices, devices, later);
    else
        say(r, "waits for %s %s session: %" PRId64 " of %" PRId64 " in use on %" PRId64 " %s%s",
            article, name, sum.sessions, sum.limit, sum.devices, devices, later);
    return true;
}

static void explain_queued(struct reasons *r, const struct sched *s, uint32_t slot, int64_t now_ns)
{
    const struct task *t = task_at(s, slot);
    const struct video *v = video_at(s, t->video);
    const char *priority = priority_word((enum priority)v->priority);
    char text[32], at[SL_TIME_TEXT_BYTES];
    span(now_ns - t->since_ns, text);
    if (t->place == PLACE_HELD) {
        say(r,
            "queued %s ago at priority %s; held back because its video has failed: retry the "
            "video to go on",
            text, priority);
        return;
    }
    if (t->place == PLACE_BACKOFF) {
        char left[32];
        say(r, "backing off until %s, %s from now", sl_time_format(t->not_before_unix_ns, at),
            span(timer_at(s, TIMER_TASK, slot) - now_ns, left));
        say_last_failure(r, s, t);
        return;
    }
    uint32_t ahead = queue_ahead(s, slot);
    say(r, "queued %s ago at priority %s; %u %s ahead", text, priority, ahead,
        ahead == 1 ? "task is" : "tasks are");
    if (!t->needs_codec || explain_device(r, s, t))
        explain_nodes(r, s, t);
    say_last_failure(r, s, t);
    if (t->losses)
        say(r, "its node fell silent %d %s while running it", t->losses,
            t->losses == 1 ? "time" : "times");
}

static void explain_running(struct reasons *r, const struct sched *s, uint32_t slot, int64_t now_ns)
{
    const struct task *t = task_at(s, slot);
    const struct node *n = node_at(s, t->node);
    char text[32];
    if (t->restored)
        say(r, "was running on %s when the daemon started again; waiting for that node to say so",
            n->row.name);
    else if (!t->seen)
        say(r, "given to %s %s ago; the node has not confirmed it yet", n->row.name,
            span(now_ns - t->since_ns, text));
    else
        say(r, "running on %s for %s", n->row.name, span(now_ns - t->since_ns, text));
    if (t->needs_codec && t->kind != DEVICE_CPU)
        say(r, "encoding by %s with %d %s", route_encoder(route_at(s, t->route), t->entry),
            t->sessions, t->sessions == 1 ? "session" : "sessions");
    if (n->live)
        say(r, "the node was heard %s ago", span(now_ns - n->last_sync_at_ns, text));
    if (n->row.drain)
        say(r, "the node is draining: this task finishes there, nothing new starts");
}

size_t sched_explain(const struct sched *s, struct task_id task, int64_t now_ns,
                     char (*reasons)[SL_MESSAGE_BYTES], size_t max)
{
    struct reasons r = {.items = reasons, .max = max};
    uint32_t slot = task_find(s, task);
    if (slot == SLOT_NONE)
        return 0;
    const struct task *t = task_at(s, slot);
    char text[32];
    switch ((enum task_state)t->state) {
    case TASK_WAITING:
        explain_waiting(&r, s, t);
        break;
    case TASK_QUEUED:
        explain_queued(&r, s, slot, now_ns);
        break;
    case TASK_RUNNING:
        explain_running(&r, s, slot, now_ns);
        break;
    case TASK_DONE:
        say(&r, "done, committed under token %" PRIu64 "%s%s", t->token,
            t->node == SLOT_NONE ? "" : " by ",
            t->node == SLOT_NONE ? "" : node_at(s, t->node)->row.name);
        break;
    case TASK_DEAD:
        say(&r,
            "in the dead-letter queue for %s after %d charged attempts and %d silent losses; "
            "redrive or drop it",
            span(now_ns - t->since_ns, text), t->attempts, t->losses);
        say_last_failure(&r, s, t);
        break;
    default:
        say(&r, video_at(s, t->video)->cancelled
                    ? "cancelled with its video"
                    : "cancelled; its video stays failed until a retry");
        say_last_failure(&r, s, t);
        break;
    }
    return r.count;
}
