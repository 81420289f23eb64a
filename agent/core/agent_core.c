#include "agent/core/agent_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens let go that an overtaken answer may still name: two requests are under way at most. */
#define LET_GO_MAX     1024
/* Reports in one request; the rest of the message is far below what then remains. */
#define NEWS_BYTES_MAX (SYNC_BYTES_MAX - 256 * 1024)

struct held {
    struct sync_held said; /* report points to its own memory */
    uint64_t sent_seq;     /* request under way that carries the end of it; 0: none */
    uint64_t end_seq;      /* first request that stated the end of it; 0: none */
};

struct agent_core {
    struct agent_core_options options;
    struct device_row devices[NODE_DEVICES_MAX];
    int32_t device_count;
    struct demand total;
    bool leaving;
    uint64_t seq;
    int64_t contact_at_ns;
    struct held table[SYNC_HELD_MAX]; /* ascending by token */
    int32_t count;
    uint64_t let_go[LET_GO_MAX];
    uint32_t let_go_next;
};

int agent_core_open(const struct agent_core_options *options, int64_t now_ns,
                    struct agent_core **out)
{
    struct agent_core *core = calloc(1, sizeof *core);
    if (!core)
        return SL_ENOMEM;
    core->options = *options;
    core->contact_at_ns = now_ns;
    *out = core;
    return SL_OK;
}

void agent_core_close(struct agent_core **at)
{
    struct agent_core *core = *at;
    if (!core)
        return;
    *at = NULL;
    for (int32_t i = 0; i < core->count; i++)
        free((void *)core->table[i].said.report);
    free(core);
}

void agent_core_devices_set(struct agent_core *core, const struct device_row *rows, int32_t count,
                            const struct demand *total)
{
    core->device_count = count;
    for (int32_t i = 0; i < count; i++)
        core->devices[i] = rows[i];
    core->total = *total;
}

void agent_core_leave(struct agent_core *core)
{
    core->leaving = true;
}

/* ---- the table ---- */

/* The first place whose token is not below. */
static int32_t place_find(const struct agent_core *core, uint64_t token)
{
    int32_t low = 0, high = core->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (core->table[middle].said.token.v < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct held *held_find(struct agent_core *core, struct lease_token token)
{
    int32_t at = place_find(core, token.v);
    return at < core->count && core->table[at].said.token.v == token.v ? &core->table[at] : NULL;
}

static struct held *running_find(struct agent_core *core, struct lease_token token)
{
    struct held *held = held_find(core, token);
    return held && held->said.state == HELD_RUNNING ? held : NULL;
}

static void held_remove(struct agent_core *core, struct held *held)
{
    core->let_go[core->let_go_next++ % LET_GO_MAX] = held->said.token.v;
    free((void *)held->said.report);
    int32_t at = (int32_t)(held - core->table);
    memmove(held, held + 1, (size_t)(core->count - at - 1) * sizeof *held);
    core->count--;
}

static bool was_let_go(const struct agent_core *core, uint64_t token)
{
    for (int i = 0; i < LET_GO_MAX; i++)
        if (core->let_go[i] == token)
            return true;
    return false;
}

static void action_add(struct agent_actions *actions, enum agent_action_kind kind,
                       struct lease_token token, int32_t grant)
{
    actions->items[actions->count++] = (struct agent_action){kind, token, grant};
}

/* ---- requests ---- */

/* States the ends of those that were stated as ended before, or of the others, as far as they fit. */
static int news_put(struct agent_core *core, bool again, struct sl_arena *arena, size_t *news_bytes,
                    struct sync_held *out)
{
    for (int32_t i = 0; i < core->count; i++) {
        struct held *held = &core->table[i];
        if (held->said.state == HELD_RUNNING || (held->end_seq != 0) != again)
            continue;
        if (*news_bytes + held->said.report_bytes > NEWS_BYTES_MAX) {
            out[i].state = HELD_RUNNING;
            continue;
        }
        /* A copy: the report may be let go by another answer while this request is being encoded. */
        if (held->said.report_bytes) {
            out[i].report = sl_arena_memdup(arena, held->said.report, held->said.report_bytes);
            if (!out[i].report)
                return SL_ENOMEM;
            out[i].report_bytes = held->said.report_bytes;
        }
        *news_bytes += held->said.report_bytes;
        held->sent_seq = core->seq;
        if (!held->end_seq)
            held->end_seq = core->seq;
    }
    return SL_OK;
}

int agent_core_request(struct agent_core *core, bool park, struct sl_arena *arena,
                       struct sync_request *out)
{
    struct sync_request request = {
        .version = SYNC_VERSION,
        .session = core->options.session,
        .seq = ++core->seq,
        .spot = core->options.spot,
        .leaving = core->leaving,
        .total = core->total,
        .device_count = core->device_count,
        .held_count = core->count,
    };
    memcpy(request.node_uuid, core->options.node_uuid, sizeof request.node_uuid);
    memcpy(request.node_name, core->options.node_name, sizeof request.node_name);
    memcpy(request.devices, core->devices, sizeof request.devices);
    request.held = sl_arena_array(arena, (size_t)core->count, sizeof *request.held);
    if (!request.held)
        return SL_ENOMEM;
    size_t news_bytes = 0;
    for (int32_t i = 0; i < core->count; i++) {
        request.held[i] = core->table[i].said;
        request.held[i].report = NULL;
        request.held[i].report_bytes = 0;
    }
    /* What was stated as ended stays so; all of it fitted into one request before. */
    int code = news_put(core, true, arena, &news_bytes, request.held);
    if (!code)
        code = news_put(core, false, arena, &news_bytes, request.held);
    if (code)
        return code;
    bool news = false;
    for (int32_t i = 0; i < core->count; i++)
        news |= core->table[i].said.state != HELD_RUNNING;
    request.park = park && !news && !core->leaving;
    *out = request;
    return SL_OK;
}

void agent_core_request_lost(struct agent_core *core, uint64_t seq)
{
    for (int32_t i = 0; i < core->count; i++)
        if (core->table[i].sent_seq == seq)
            core->table[i].sent_seq = 0;
}

/* ---- answers ---- */

static void grant_take(struct agent_core *core, const struct sync_grant *grant, int32_t number,
                       struct agent_actions *actions)
{
    if (held_find(core, grant->token) || was_let_go(core, grant->token.v) ||
        core->count == SYNC_HELD_MAX)
        return;
    int32_t at = place_find(core, grant->token.v);
    struct held *held = &core->table[at];
    memmove(held + 1, held, (size_t)(core->count - at) * sizeof *held);
    core->count++;
    *held = (struct held){.said = {.token = grant->token,
                                   .task = grant->task,
                                   .video = grant->video,
                                   .state = core->leaving ? HELD_HANDED_BACK : HELD_RUNNING}};
    if (!core->leaving)
        action_add(actions, AGENT_START, grant->token, number);
}

static void verdict_take(struct agent_core *core, uint64_t seq, const struct sync_verdict *verdict,
                         struct agent_actions *actions)
{
    struct held *held = held_find(core, verdict->token);
    /* The answer to a request that still said running may call a token stale just because a later one, which
     * overtook it, told of its end. Only an answer to the end decides about the output. */
    if (!held || seq < held->end_seq)
        return;
    if (verdict->kind == VERDICT_STALE)
        action_add(actions, AGENT_DROP, verdict->token, -1);
    else if (held->said.state != HELD_RUNNING)
        action_add(actions, AGENT_FORGET, verdict->token, -1);
    else
        return;
    held_remove(core, held);
}

int agent_core_answer(struct agent_core *core, int64_t now_ns, const struct sync_answer *answer,
                      struct agent_actions *actions)
{
    actions->count = 0;
    if (answer->refused.code)
        return answer->refused.code;
    core->contact_at_ns = now_ns;
    for (int32_t i = 0; i < answer->verdict_count; i++)
        verdict_take(core, answer->seq, &answer->verdicts[i], actions);
    for (int32_t i = 0; i < answer->grant_count; i++)
        grant_take(core, &answer->grants[i], i, actions);
    return SL_OK;
}

void agent_core_tick(struct agent_core *core, int64_t now_ns, struct agent_actions *actions)
{
    actions->count = 0;
    if (now_ns - core->contact_at_ns < core->options.give_up_ns)
        return;
    for (int32_t i = core->count; i-- > 0;) {
        struct held *held = &core->table[i];
        if (held->said.state != HELD_RUNNING)
            continue;
        action_add(actions, AGENT_DROP, held->said.token, -1);
        held_remove(core, held);
    }
}

int64_t agent_core_next_deadline_ns(const struct agent_core *core)
{
    for (int32_t i = 0; i < core->count; i++)
        if (core->table[i].said.state == HELD_RUNNING)
            return core->contact_at_ns + core->options.give_up_ns;
    return INT64_MAX;
}

/* ---- words from the work ---- */

void agent_core_progress(struct agent_core *core, struct lease_token token, int64_t done,
                         int64_t total)
{
    struct held *held = running_find(core, token);
    if (!held)
        return;
    held->said.done_units = done;
    held->said.total_units = total;
}

static void device_note(struct held *held, const char *device_id)
{
    snprintf(held->said.device_id, sizeof held->said.device_id, "%s", device_id);
}

int agent_core_finished(struct agent_core *core, struct lease_token token, const char *device_id,
                        const void *report, size_t report_bytes)
{
    struct held *held = running_find(core, token);
    if (!held)
        return SL_OK;
    if (report_bytes > REPORT_BYTES_MAX)
        return SL_ELIMIT;
    uint8_t *copy = malloc(report_bytes ? report_bytes : 1);
    if (!copy)
        return SL_ENOMEM;
    memcpy(copy, report, report_bytes);
    held->said.report = copy;
    held->said.report_bytes = report_bytes;
    held->said.state = HELD_FINISHED;
    device_note(held, device_id);
    return SL_OK;
}

void agent_core_failed(struct agent_core *core, struct lease_token token, const char *device_id,
                       const struct sl_failure *failure)
{
    struct held *held = running_find(core, token);
    if (!held)
        return;
    held->said.failure = *failure;
    held->said.state = HELD_FAILED;
    device_note(held, device_id);
}

void agent_core_handed_back(struct agent_core *core, struct lease_token token)
{
    struct held *held = running_find(core, token);
    if (held)
        held->said.state = HELD_HANDED_BACK;
}

bool agent_core_news(const struct agent_core *core)
{
    for (int32_t i = 0; i < core->count; i++)
        if (core->table[i].said.state != HELD_RUNNING && core->table[i].sent_seq == 0)
            return true;
    return false;
}

int32_t agent_core_held_count(const struct agent_core *core)
{
    return core->count;
}
