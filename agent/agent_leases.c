/* Lease threads. Order: `lock` may be held when lease_run_stop is called; it takes locks of its own below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

static int grant_copy(struct lease *lease, const struct sync_grant *from)
{
    struct sync_grant *to = &lease->grant;
    *to = *from;
    to->inputs = sl_arena_memdup(&lease->arena, from->inputs,
                                 (size_t)from->input_count * sizeof *from->inputs);
    to->job = sl_arena_memdup(&lease->arena, from->job, from->job_bytes);
    return to->inputs && to->job ? SL_OK : SL_ENOMEM;
}

static void lease_free(struct lease *lease)
{
    agent_store_unref(&lease->store);
    sl_arena_fini(&lease->arena);
    free(lease);
}

static void on_progress(void *arg, int64_t done, int64_t total)
{
    struct lease *lease = arg;
    pthread_mutex_lock(&lease->agent->lock);
    agent_core_progress(lease->agent->core, lease->token, done, total);
    pthread_mutex_unlock(&lease->agent->lock);
}

/* With the lock held: the result becomes news. */
static void result_take(struct lease *lease, const struct lease_result *result)
{
    struct agent *agent = lease->agent;
    struct sl_failure failure = result->failure;
    if (result->no_worker && !result->stopped)
        agent->workers = failure; /* the prober takes the node out */
    if (result->stopped && agent->leaving) {
        agent_core_handed_back(agent->core, lease->token);
    } else if (failure.code == SL_OK) {
        int code = agent_core_finished(agent->core, lease->token, result->device_id,
                                       result->report.data, result->report.length);
        if (code)
            sl_fail(&failure, code, "the report could not be kept: %s", sl_error_text(code));
    }
    if (failure.code)
        agent_core_failed(agent->core, lease->token, result->device_id, &failure);
    pthread_cond_broadcast(&agent->changed);
}

/* With the lock held on entry and return. */
static void lease_work(struct lease *lease, struct lease_result *result)
{
    struct agent *agent = lease->agent;
    struct lease_place place = {.pool = agent->pool,
                                .devices = agent->devices,
                                .warm = agent->warm,
                                .cache = agent->cache,
                                .store = lease->store,
                                .leases_fd = agent->scratch.leases_fd};
    memcpy(place.device_id, agent->device_id, sizeof place.device_id);
    if (lease->verdict != LEASE_HELD || agent->leaving) {
        result->stopped = true;
        result->failure.code = SL_ECANCELLED;
        return;
    }
    struct lease_run *run = NULL;
    if (lease_run_open(&place, &lease->grant, on_progress, lease, &run, &result->failure))
        return;
    lease->run = run;
    pthread_mutex_unlock(&agent->lock);
    lease_run_go(run, result);
    pthread_mutex_lock(&agent->lock);
}

static void *lease_thread(void *arg)
{
    struct lease *lease = arg;
    struct agent *agent = lease->agent;
    struct lease_result result = {0};
    pthread_mutex_lock(&agent->lock);
    lease_work(lease, &result);
    result_take(lease, &result);
    lease->ended = true;
    sl_buf_fini(&result.report);
    /* What it made may have to be deleted still. */
    while (lease->verdict == LEASE_HELD && !agent->quit)
        pthread_cond_wait(&agent->changed, &agent->lock);
    bool drop = lease->verdict == LEASE_DROPPED && lease->run;
    struct lease_run *run = lease->run;
    lease->run = NULL;
    pthread_mutex_unlock(&agent->lock);
    if (drop)
        lease_run_delete_outputs(run);
    lease_run_close(&run);

    pthread_mutex_lock(&agent->lock);
    struct lease **at = &agent->leases;
    while (*at != lease)
        at = &(*at)->next;
    *at = lease->next;
    lease_free(lease);
    agent->lease_count--;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}

static int lease_start(struct agent *agent, const struct sync_grant *grant)
{
    if (!agent->store)
        return SL_EUNREACH;
    struct lease *lease = calloc(1, sizeof *lease);
    if (!lease)
        return SL_ENOMEM;
    lease->agent = agent;
    lease->token = grant->token;
    if (grant_copy(lease, grant)) {
        lease_free(lease);
        return SL_ENOMEM;
    }
    lease->store = agent_store_ref(agent->store);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, lease_thread, lease);
    pthread_attr_destroy(&attributes);
    if (error) {
        lease_free(lease);
        return SL_ENOMEM;
    }
    lease->next = agent->leases;
    agent->leases = lease;
    agent->lease_count++;
    return SL_OK;
}

static struct lease *lease_find(struct agent *agent, struct lease_token token)
{
    for (struct lease *lease = agent->leases; lease; lease = lease->next)
        if (lease->token.v == token.v)
            return lease;
    return NULL;
}

static void lease_settle(struct agent *agent, struct lease_token token, enum lease_verdict verdict)
{
    struct lease *lease = lease_find(agent, token);
    if (!lease)
        return; /* handed back before it began */
    lease->verdict = verdict;
    if (verdict == LEASE_DROPPED) {
        struct sl_log_about about = {.task = lease->grant.task.v, .token = token.v};
        sl_info(&about, "the lease was given to another or cancelled; its output goes");
        if (lease->run && !lease->ended)
            lease_run_stop(lease->run);
    }
}

void agent_actions_take(struct agent *agent, const struct agent_actions *actions,
                        const struct sync_answer *answer)
{
    for (int32_t i = 0; i < actions->count; i++) {
        const struct agent_action *action = &actions->items[i];
        switch (action->kind) {
        case AGENT_START: {
            int code = lease_start(agent, &answer->grants[action->grant]);
            struct sl_failure failure;
            if (code) {
                sl_fail(&failure, code, "the node cannot start another lease: %s",
                        sl_error_text(code));
                agent_core_failed(agent->core, action->token, "", &failure);
            }
            break;
        }
        case AGENT_FORGET:
            lease_settle(agent, action->token, LEASE_FORGOTTEN);
            break;
        case AGENT_DROP:
            lease_settle(agent, action->token, LEASE_DROPPED);
            break;
        }
    }
    if (actions->count)
        pthread_cond_broadcast(&agent->changed);
}

void agent_leases_stop(struct agent *agent)
{
    for (struct lease *lease = agent->leases; lease; lease = lease->next)
        if (lease->run && !lease->ended)
            lease_run_stop(lease->run);
}
