#include "agent/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

void agent_pause(struct agent *agent, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = until.tv_nsec + ns;
    until.tv_sec += (time_t)(at_ns / SL_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SL_NS_PER_S);
    pthread_cond_timedwait(&agent->changed, &agent->lock, &until);
}

void agent_end(struct agent *agent, int exit_code)
{
    if (agent->exit_code < 0)
        agent->exit_code = exit_code;
    pthread_cond_broadcast(&agent->changed);
}

static int worker_check(const char *path, struct sl_failure *why)
{
    if (access(path, X_OK) == 0)
        return SL_OK;
    return sl_fail(why, SL_EINVAL,
                   "%s cannot be run: %s; install sluice-worker beside sluice-agent or name it "
                   "with --worker",
                   path, strerror(errno));
}

static int core_make(struct agent *agent, struct sl_failure *why)
{
    struct agent_core_options options = {.spot = agent->options.config.spot,
                                         .give_up_ns = agent->options.config.give_up_ns};
    memcpy(options.node_uuid, agent->scratch.node_uuid, sizeof options.node_uuid);
    memcpy(options.node_name, agent->options.name, sizeof options.node_name);
    while (getrandom(&options.session, sizeof options.session, 0) != sizeof options.session)
        continue;
    if (agent_core_open(&options, sl_now_ns(), &agent->core))
        return sl_fail(why, SL_ENOMEM, "not enough memory to start");
    return SL_OK;
}

static int threads_start(struct agent *agent, struct sl_failure *why)
{
    static void *(*const runs[])(void *) = {agent_lane_parked, agent_lane_news, agent_prober,
                                            agent_calibrator,  agent_healer,    agent_watcher};
    pthread_t *const threads[] = {&agent->lanes[0],   &agent->lanes[1], &agent->prober,
                                  &agent->calibrator, &agent->healer,   &agent->watcher};
    for (int i = 0; i < LANES + 4; i++) {
        if (pthread_create(threads[i], NULL, runs[i], agent) != 0)
            return sl_fail(why, SL_ENOMEM, "cannot start a thread");
        agent->thread_count++;
    }
    return SL_OK;
}

/* For the prober, which looks after the devices' health, and so that the daemon is told at the next request. */
static void on_devices(void *arg)
{
    struct agent *agent = arg;
    pthread_mutex_lock(&agent->lock);
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

int agent_open(const struct agent_options *options, struct agent **out, struct sl_failure *why)
{
    struct agent *agent = calloc(1, sizeof *agent);
    if (!agent)
        return sl_fail(why, SL_ENOMEM, "not enough memory to start");
    agent->options = *options;
    if (agent->options.calibrate_idle_ns <= 0)
        agent->options.calibrate_idle_ns = AGENT_CALIBRATE_IDLE_NS;
    agent->exit_code = -1;
    agent->watch_socket = -1;
    agent->lease_timeout_ns = SL_S_TO_NS(12);
    agent->scratch =
        (struct scratch){.folder_fd = -1, .lock_fd = -1, .leases_fd = -1, .cache_fd = -1};
    snprintf(agent->worker, sizeof agent->worker, "%s", options->worker);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&agent->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&agent->lock, NULL);

    struct wire_secret secret = {.length = options->config.farm.secret_bytes};
    if (secret.length > sizeof secret.bytes)
        secret.length = sizeof secret.bytes;
    memcpy(secret.bytes, options->config.farm.secret, secret.length);
    int code = worker_check(agent->worker, why);
    if (!code)
        code = scratch_open(options->scratch, &agent->scratch, why);
    if (!code)
        code = core_make(agent, why);
    if (!code)
        code = wire_client_open(options->wires, options->wire_count, &secret, &agent->client, why);
    if (!code &&
        (worker_pool_open(agent->worker, &agent->pool) ||
         worker_warm_open(agent->worker, WARM_IDLE_NS, &agent->warm) ||
         device_table_open(agent->options.config.devices, agent->options.config.device_count,
                           on_devices, agent, &agent->devices) ||
         range_cache_open(agent->scratch.cache_fd, options->config.cache_bytes_max, &agent->cache)))
        code = sl_fail(why, SL_ENOMEM, "not enough memory to start");
    if (!code) {
        sl_info(NULL, "node %s (%s) starts", agent->scratch.node_uuid, agent->options.name);
        code = threads_start(agent, why);
    }
    if (code) {
        agent_close(&agent);
        return code;
    }
    *out = agent;
    return SL_OK;
}

void agent_leave(struct agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    agent->leaving = true;
    agent_core_leave(agent->core);
    agent_leases_stop(agent);
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

int agent_wait(struct agent *agent)
{
    int64_t leave_by_ns = 0;
    pthread_mutex_lock(&agent->lock);
    while (agent->exit_code < 0) {
        if (!agent->leaving) {
            pthread_cond_wait(&agent->changed, &agent->lock);
            continue;
        }
        int64_t now_ns = sl_now_ns();
        if (!leave_by_ns)
            leave_by_ns = now_ns + AGENT_LEAVE_NS;
        bool told = agent->leave_said || !agent->reached;
        if ((agent_core_held_count(agent->core) == 0 && told) || now_ns >= leave_by_ns)
            agent_end(agent, AGENT_EXIT_LEFT);
        else
            agent_pause(agent, leave_by_ns - now_ns);
    }
    int untold = agent_core_held_count(agent->core);
    int exit_code = agent->exit_code;
    pthread_mutex_unlock(&agent->lock);
    if (untold)
        sl_warn(NULL, "left with %d leases that the daemon has not taken back; they lapse there",
                untold);
    return exit_code;
}

/* With the lock held: until all lease threads are gone. */
static void leases_end(struct agent *agent)
{
    agent_leases_stop(agent);
    pthread_cond_broadcast(&agent->changed);
    while (agent->lease_count)
        pthread_cond_wait(&agent->changed, &agent->lock);
}

void agent_close(struct agent **at)
{
    struct agent *agent = *at;
    if (!agent)
        return;
    *at = NULL;
    pthread_mutex_lock(&agent->lock);
    agent->leaving = true;
    agent->quit = true;
    agent_watch_stop(agent);
    if (agent->core) {
        agent_core_leave(agent->core); /* an answer that still comes starts nothing */
        leases_end(agent);
    }
    pthread_mutex_unlock(&agent->lock);
    pthread_t *const threads[] = {&agent->lanes[0],   &agent->lanes[1], &agent->prober,
                                  &agent->calibrator, &agent->healer,   &agent->watcher};
    for (int i = 0; i < LANES && agent->client; i++)
        wire_client_interrupt(agent->client, i);
    for (int i = 0; i < agent->thread_count; i++)
        pthread_join(*threads[i], NULL);
    wire_client_close(&agent->client);
    worker_pool_close(&agent->pool);
    worker_warm_close(&agent->warm);
    device_table_close(&agent->devices);
    range_cache_close(&agent->cache);
    agent_store_unref(&agent->store);
    agent_core_close(&agent->core);
    scratch_close(&agent->scratch);
    pthread_cond_destroy(&agent->changed);
    pthread_mutex_destroy(&agent->lock);
    free(agent);
}
