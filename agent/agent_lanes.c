#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"
#include "wire/wire_codec.h"

/* A parked request is answered within the renew interval; much later the daemon must be gone. */
#define ASK_TIMEOUT_NS     SL_S_TO_NS(20)
#define RETRY_FIRST_NS     SL_MS_TO_NS(200)
#define RETRY_MAX_NS       SL_S_TO_NS(2)
/* An answer that came sooner was not parked for long. One such without news is a daemon that wants this node's word, as
 * when a lease was cancelled: it is asked again at once. After several in a row the next question waits. */
#define PARKED_AT_LEAST_NS SL_MS_TO_NS(500)
#define QUICK_WAIT_MIN_NS  SL_MS_TO_NS(100)
#define QUICK_WAIT_MAX_NS  SL_S_TO_NS(3)
/* A restarted agent may be taken for a second one until its former self's leases have lapsed. */
#define CONFLICT_MARGIN_NS SL_S_TO_NS(3)

struct asked {
    int code; /* 0: answered and not refused */
    struct sl_failure why;
    uint64_t seq;
    bool leaving; /* it said so */
    bool busy;    /* it had grants or verdicts */
    int64_t wait_ns;
};

/* ---- answers ---- */

static void store_update(struct agent *agent, const struct sync_answer *answer)
{
    const char *host = wire_client_host(agent->client);
    pthread_mutex_lock(&agent->lock);
    bool same = agent->store && agent_store_matches(agent->store, answer, host);
    pthread_mutex_unlock(&agent->lock);
    if (same || (!answer->store_path[0] && !answer->http_port))
        return;
    struct agent_store *store = NULL;
    struct sl_failure why = {0};
    if (agent_store_open(answer, host, agent->options.config.objects_http, &store, &why)) {
        sl_error(NULL, "the daemon's objects cannot be reached: %s", why.message);
        return;
    }
    pthread_mutex_lock(&agent->lock);
    struct agent_store *old = agent->store;
    agent->store = store;
    pthread_mutex_unlock(&agent->lock);
    agent_store_unref(&old); /* leases keep theirs */
}

/* With the lock held. */
static void refusal_take(struct agent *agent, const struct sl_failure *refused)
{
    int64_t now_ns = sl_now_ns();
    bool conflict = refused->code == SL_ECONFLICT;
    bool final = refused->code == SL_EVERSION || sl_error_class(refused->code) == SL_CLASS_CONFIG;
    if (conflict && !agent->refused_since_ns) {
        agent->refused_since_ns = now_ns;
        sl_warn(NULL,
                "the daemon refuses this node: %s; trying until the other's leases have "
                "lapsed",
                refused->message);
    }
    if (conflict && now_ns - agent->refused_since_ns < agent->lease_timeout_ns + CONFLICT_MARGIN_NS)
        return;
    if (!conflict && !final)
        return;
    sl_error(NULL, "refused by the daemon: %s%s", refused->message,
             conflict ? "; another live agent has this node's identity: give one of them a scratch "
                        "folder of its own, or delete node-id in it"
                      : "");
    agent_end(agent, AGENT_EXIT_REFUSED);
}

static void answer_take(struct agent *agent, const struct sync_answer *answer, struct asked *out)
{
    if (!answer->refused.code)
        store_update(agent, answer);
    struct agent_actions *actions = malloc(sizeof *actions);
    pthread_mutex_lock(&agent->lock);
    out->code = actions ? agent_core_answer(agent->core, sl_now_ns(), answer, actions) : SL_ENOMEM;
    if (answer->lease_timeout_ns > 0)
        agent->lease_timeout_ns = answer->lease_timeout_ns;
    if (answer->refused.code) {
        refusal_take(agent, &answer->refused);
    } else if (!out->code) {
        agent->refused_since_ns = 0;
        if (!agent->reached)
            sl_info(NULL, "in touch with the daemon at %s", wire_client_host(agent->client));
        agent->reached = true;
        agent->leave_said |= out->leaving;
        pthread_cond_broadcast(&agent->changed);
        agent_actions_take(agent, actions, answer);
    }
    pthread_mutex_unlock(&agent->lock);
    free(actions);
    out->busy = answer->grant_count > 0 || answer->verdict_count > 0;
    out->wait_ns = answer->wait_ns;
}

/* ---- questions ---- */

static int question_make(struct agent *agent, bool park, struct sl_buf *bytes, struct asked *out)
{
    struct sl_arena arena = {0};
    struct sync_request request;
    pthread_mutex_lock(&agent->lock);
    agent_devices_state(agent);
    int code = agent_core_request(agent->core, park, &arena, &request);
    pthread_mutex_unlock(&agent->lock);
    if (!code) {
        out->seq = request.seq;
        out->leaving = request.leaving;
        code = wire_request_encode(&request, bytes);
    }
    sl_arena_fini(&arena);
    return code;
}

static void ask(struct agent *agent, int lane, bool park, struct asked *out)
{
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    void *reply = NULL;
    size_t length = 0;
    *out = (struct asked){0};
    out->code = question_make(agent, park, &bytes, out);
    if (out->code)
        sl_fail(&out->why, out->code, "a request could not be made: %s", sl_error_text(out->code));
    else
        out->code = wire_client_ask(agent->client, lane, bytes.data, bytes.length, ASK_TIMEOUT_NS,
                                    &reply, &length, &out->why);
    struct sync_answer answer;
    if (!out->code)
        out->code = wire_answer_decode(reply, length, &arena, &answer, &out->why);
    if (!out->code)
        answer_take(agent, &answer, out);
    if (out->code) {
        pthread_mutex_lock(&agent->lock);
        agent_core_request_lost(agent->core, out->seq);
        if (out->code == SL_EVERSION && out->why.code) {
            sl_error(NULL, "%s", out->why.message);
            agent_end(agent, AGENT_EXIT_REFUSED);
        }
        pthread_mutex_unlock(&agent->lock);
    }
    sl_arena_fini(&arena);
    sl_buf_fini(&bytes);
    free(reply);
}

/* With the lock held: what was lost is said once; leases are given up in the end. */
static void daemon_lost(struct agent *agent, const struct asked *asked)
{
    if (agent->reached && asked->why.code)
        sl_warn(NULL, "%s; encoding goes on, and the daemon is asked again", asked->why.message);
    agent->reached = false;
    struct agent_actions *actions = malloc(sizeof *actions);
    if (!actions)
        return;
    agent_core_tick(agent->core, sl_now_ns(), actions);
    if (actions->count)
        sl_warn(NULL, "no daemon for %d s: %d running leases are given up",
                (int)(agent->options.config.give_up_ns / SL_NS_PER_S), actions->count);
    agent_actions_take(agent, actions, NULL);
    free(actions);
}

/* Spread, so that a farm does not come back in step. */
static int64_t spread(int64_t ns, uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ns / 2 + (int64_t)((*state >> 33) % (uint64_t)(ns / 2 + 1));
}

void *agent_lane_parked(void *arg)
{
    struct agent *agent = arg;
    int64_t retry_ns = RETRY_FIRST_NS;
    uint64_t state = (uint64_t)sl_now_ns();
    bool first_said = false;
    int64_t quick_ns = 0; /* for the next quick answer in a row */
    pthread_mutex_lock(&agent->lock);
    while (!agent->probed && !agent->quit)
        pthread_cond_wait(&agent->changed, &agent->lock);
    while (!agent->quit) {
        pthread_mutex_unlock(&agent->lock);
        struct asked asked;
        int64_t start_ns = sl_now_ns();
        ask(agent, LANE_PARKED, true, &asked);
        int64_t took_ns = sl_now_ns() - start_ns;
        bool unreached = asked.code && asked.why.code && asked.code != SL_ECANCELLED;
        if (unreached)
            wire_client_next(agent->client, NULL);
        pthread_mutex_lock(&agent->lock);
        if (agent->quit || agent->exit_code >= 0)
            break;
        if (asked.code) {
            if (unreached && !first_said && !agent->reached)
                sl_warn(NULL, "%s; trying on", asked.why.message);
            first_said = true;
            daemon_lost(agent, &asked);
            agent_pause(agent, spread(retry_ns, &state));
            retry_ns = retry_ns * 2 < RETRY_MAX_NS ? retry_ns * 2 : RETRY_MAX_NS;
            continue;
        }
        retry_ns = RETRY_FIRST_NS;
        if (asked.busy || took_ns >= PARKED_AT_LEAST_NS) {
            quick_ns = 0;
            continue;
        }
        if (quick_ns > 0)
            agent_pause(agent, quick_ns < asked.wait_ns ? quick_ns : asked.wait_ns);
        quick_ns = quick_ns ? quick_ns * 2 : QUICK_WAIT_MIN_NS;
        quick_ns = quick_ns < QUICK_WAIT_MAX_NS ? quick_ns : QUICK_WAIT_MAX_NS;
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}

void *agent_lane_news(void *arg)
{
    struct agent *agent = arg;
    int64_t retry_ns = RETRY_FIRST_NS;
    uint64_t state = (uint64_t)sl_now_ns() ^ 1;
    pthread_mutex_lock(&agent->lock);
    while (!agent->quit) {
        if (!agent_core_news(agent->core) && (!agent->leaving || agent->leave_said)) {
            pthread_cond_wait(&agent->changed, &agent->lock);
            continue;
        }
        pthread_mutex_unlock(&agent->lock);
        struct asked asked;
        ask(agent, LANE_NEWS, false, &asked);
        pthread_mutex_lock(&agent->lock);
        if (asked.code && !agent->quit) {
            agent_pause(agent, spread(retry_ns, &state));
            retry_ns = retry_ns * 2 < RETRY_MAX_NS ? retry_ns * 2 : RETRY_MAX_NS;
        } else {
            retry_ns = RETRY_FIRST_NS;
        }
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}
