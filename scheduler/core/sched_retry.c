/* What a failure means for its task: the class table of docs/architecture.md, in one place.
 *
 *   class      charged  node blamed  then
 *   input      yes      no           dead at once from a probe; dead when min(3, capable) nodes agree
 *   capacity   no       no           backoff
 *   device     yes      yes          elsewhere
 *   crash      yes      yes          elsewhere
 *   transient  yes      no           backoff
 *   lost       no       no           queued at once
 *   config     yes      no           dead
 *   cancelled  no       no           cancelled, and its video has failed
 * A charged failure that reaches the limit of attempts is dead whatever its class says.
 */
#include <string.h>

#include "scheduler/core/sched_internal.h"

enum then { THEN_AGREE, THEN_BACKOFF, THEN_ELSEWHERE, THEN_QUEUE, THEN_DEAD, THEN_CANCEL };

static const struct {
    bool charged;
    bool blames_node;
    enum then then;
} rules[SL_CLASS_COUNT] = {
    [SL_CLASS_NONE] = {true, false,
                       THEN_BACKOFF}, /* replaced by SL_EINTERNAL before it gets here */
    [SL_CLASS_INPUT] = {true, false, THEN_AGREE},
    [SL_CLASS_CAPACITY] = {false, false, THEN_BACKOFF},
    [SL_CLASS_DEVICE] = {true, true, THEN_ELSEWHERE},
    [SL_CLASS_CRASH] = {true, true, THEN_ELSEWHERE},
    [SL_CLASS_TRANSIENT] = {true, false, THEN_BACKOFF},
    [SL_CLASS_LOST] = {false, false, THEN_QUEUE},
    [SL_CLASS_CONFIG] = {true, false, THEN_DEAD},
    [SL_CLASS_CANCELLED] = {false, false, THEN_CANCEL},
};

#define AGREE_NODES 3

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Doubles with each charged attempt up to the maximum, then moved by up to a fifth either way, so that
 * tasks that failed together do not come back together. */
int32_t retry_attempts_max(const struct sched *s, const struct task *t)
{
    int32_t own = video_at(s, t->video)->attempts_max;
    return own > 0 ? own : s->config.attempts_max;
}

int64_t retry_backoff_ns(const struct sched *s, const struct task *t)
{
    int64_t backoff_ns = s->config.retry_base_ns;
    for (int32_t i = 1; i < t->attempts && backoff_ns < s->config.retry_max_ns; i++)
        backoff_ns = backoff_ns > INT64_MAX / 2 ? INT64_MAX : backoff_ns * 2;
    if (backoff_ns > s->config.retry_max_ns)
        backoff_ns = s->config.retry_max_ns;
    uint64_t draw = mix(s->seed ^ mix((uint64_t)t->id ^ mix((uint64_t)t->attempts)));
    int64_t thousandths = (int64_t)(draw % 401) - 200;
    return backoff_ns + backoff_ns / 1000 * thousandths;
}

/* avoid lists the nodes that failed with one and the same code, so its length is how many agree. */
static int32_t avoid_add(struct task *t, int64_t node, bool same_code)
{
    if (!same_code)
        memset(t->avoid, 0, sizeof t->avoid);
    int at = 0;
    while (at < 3 && t->avoid[at] && t->avoid[at] != node)
        at++;
    for (; at > 0; at--)
        t->avoid[at] = t->avoid[at - 1];
    t->avoid[0] = node;
    int32_t agreeing = 0;
    while (agreeing < 4 && t->avoid[agreeing])
        agreeing++;
    return agreeing;
}

static bool input_is_final(const struct sched *s, const struct task *t, int32_t agreeing)
{
    if (t->step == STEP_PROBE)
        return true;
    int32_t capable = match_capable_count(s, t, false, AGREE_NODES);
    return agreeing >= (capable > 0 ? capable : 1);
}

void retry_failure(struct sched *s, uint32_t slot, const struct sl_failure *reported)
{
    struct task *t = task_at(s, slot);
    uint32_t node = t->node;
    struct sl_failure failure = *reported;
    failure.message[SL_MESSAGE_BYTES - 1] = '\0';
    if (failure.code == SL_OK)
        sl_fail(&failure, SL_EINTERNAL, "the agent reported a failure without naming it");
    enum sl_class cls = sl_error_class(failure.code);
    bool same_code =
        t->failure != SLOT_NONE && failure_at(s, t->failure)->failure.code == failure.code;
    failure_keep(s, &t->failure, t->id, &failure);
    s->failed++;
    lease_token_kill(s, slot);
    if (rules[cls].charged)
        t->attempts++;
    int32_t agreeing = 0;
    if (rules[cls].then == THEN_AGREE || rules[cls].then == THEN_ELSEWHERE)
        agreeing = avoid_add(t, node_at(s, node)->id, same_code);
    if (rules[cls].blames_node)
        node_fault(s, node, t->id);
    if (rules[cls].then == THEN_DEAD ||
        (rules[cls].then == THEN_AGREE && input_is_final(s, t, agreeing)) ||
        (rules[cls].charged && t->attempts >= retry_attempts_max(s, t))) {
        task_kill(s, slot, &failure);
        return;
    }
    switch (rules[cls].then) {
    case THEN_CANCEL:
        video_fail_keep(s, t->video, (enum step)t->step, &failure);
        task_cancel(s, slot);
        video_hold(s, t->video);
        break;
    case THEN_QUEUE:
        task_queue(s, slot, 0);
        break;
    case THEN_AGREE:
    case THEN_ELSEWHERE:
        /* With nowhere else to go it comes back to the same node, but not at once. */
        task_queue(s, slot, match_capable_count(s, t, true, 1) ? 0 : retry_backoff_ns(s, t));
        break;
    default:
        task_queue(s, slot, retry_backoff_ns(s, t));
        break;
    }
}
