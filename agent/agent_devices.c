#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

#define PROBE_AGAIN_FIRST_NS  SL_S_TO_NS(1)
#define PROBE_AGAIN_MAX_NS    SL_S_TO_NS(60)
/* For a GPU that said nothing of encoders; twice as long each time. One without any is left alone in the end. */
#define ENCODERS_AGAIN_NS     SL_S_TO_NS(10)
#define ENCODERS_AGAIN_MAX_NS SL_S_TO_NS(640)
/* Beyond the CPUs, so that probing or packaging one video need not wait for another's encodes. */
#define LIGHT_MILLICORES      500
/* Where no device has a limit. */
#define SESSIONS_UNLIMITED    1024

static const struct device_row *cpu_find(const struct device_row *rows, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (rows[i].kind == DEVICE_CPU)
            return &rows[i];
    return NULL;
}

static struct demand capacity_of(const struct config_agent *config, const struct device_row *rows,
                                 int32_t count, int32_t *cpus)
{
    const struct device_row *cpu = cpu_find(rows, count);
    struct demand total = {0};
    *cpus = config->cpus ? config->cpus : cpu ? cpu->cpus : 0;
    if (*cpus > 0)
        total.cpu_millicores = *cpus * 1000 + LIGHT_MILLICORES;
    int64_t memory = cpu ? cpu->memory_bytes : 0;
    total.memory_bytes = config->memory_bytes ? config->memory_bytes : memory - memory / 10;
    for (int32_t i = 0; i < count; i++) {
        total.sessions += rows[i].session_limit ? rows[i].session_limit : SESSIONS_UNLIMITED;
        total.vram_bytes += rows[i].vram_bytes;
    }
    return total;
}

void agent_devices_state(struct agent *agent)
{
    struct device_row rows[NODE_DEVICES_MAX];
    int32_t cpus;
    if (!agent->offers)
        return;
    int32_t count = device_table_rows(agent->devices, rows);
    struct demand total = capacity_of(&agent->options.config, rows, count, &cpus);
    for (int32_t i = 0; i < count; i++)
        if (rows[i].kind == DEVICE_CPU)
            memcpy(rows[i].codec_leases, agent->options.config.pools, sizeof rows[i].codec_leases);
    agent_core_devices_set(agent->core, rows, count, &total);
}

static void devices_take(struct agent *agent, const struct device_row *rows, int32_t count)
{
    int32_t cpus;
    struct demand total = capacity_of(&agent->options.config, rows, count, &cpus);
    const struct device_row *cpu = cpu_find(rows, count);
    for (int32_t i = 0; i < count; i++)
        sl_info(NULL, "device %s: %s, %s", rows[i].device_id, rows[i].name,
                device_health_word(rows[i].health));
    sl_info(NULL, "this node offers %d CPUs and %" PRId64 " MiB", cpus, total.memory_bytes >> 20);
    worker_pool_slots_set(agent->pool, cpus);
    device_table_fill(agent->devices, rows, count);
    agent_speeds_take(agent);
    agent_health_recall(agent);
    pthread_mutex_lock(&agent->lock);
    agent->offers = true;
    agent_devices_state(agent);
    if (cpu)
        memcpy(agent->device_id, cpu->device_id, sizeof agent->device_id);
    pthread_mutex_unlock(&agent->lock);
}

/* With the lock held: until ns have passed or all ends. */
static void prober_wait(struct agent *agent, int64_t ns)
{
    int64_t until_ns = sl_now_ns() + ns;
    for (int64_t left_ns = ns; left_ns > 0 && !agent->quit; left_ns = until_ns - sl_now_ns())
        agent_pause(agent, left_ns);
}

static int worker_try(struct agent *agent, struct sl_failure *why)
{
    struct worker_process worker;
    int code = worker_process_start(agent->worker, NULL, &worker, why);
    if (code)
        return code;
    code = worker_process_ready(&worker, WORKER_START_NS, why);
    worker_process_reap(&worker, 0, NULL);
    return code;
}

/* With the lock held: the devices are there, and nothing can use them. */
static void devices_withdraw(struct agent *agent, const struct device_row *rows, int32_t count)
{
    static const struct demand nothing;
    struct device_row useless[NODE_DEVICES_MAX];
    for (int32_t i = 0; i < count; i++) {
        useless[i] = rows[i];
        useless[i].health = HEALTH_SUSPECT;
        snprintf(useless[i].health_reason, sizeof useless[i].health_reason, "%s",
                 agent->workers.message);
    }
    agent->offers = false;
    agent_core_devices_set(agent->core, useless, count, &nothing);
    pthread_cond_broadcast(&agent->changed);
}

static int64_t later(int64_t wait_ns)
{
    return wait_ns * 2 < PROBE_AGAIN_MAX_NS ? wait_ns * 2 : PROBE_AGAIN_MAX_NS;
}

/* A node whose workers do not start any more would take lease after lease and fail them all: it offers nothing until
 * one has started. With the lock held on entry and return. */
static void workers_recover(struct agent *agent, const struct device_row *rows, int32_t count)
{
    sl_error(NULL, "%s; the node offers nothing until a worker starts", agent->workers.message);
    devices_withdraw(agent, rows, count);
    for (int64_t wait_ns = PROBE_AGAIN_FIRST_NS; agent->workers.code && !agent->quit;) {
        prober_wait(agent, wait_ns);
        wait_ns = later(wait_ns);
        pthread_mutex_unlock(&agent->lock);
        struct sl_failure why = {0};
        int code = worker_try(agent, &why);
        if (code == SL_OK)
            devices_take(agent, rows, count);
        pthread_mutex_lock(&agent->lock);
        if (code == SL_OK)
            agent->workers = (struct sl_failure){0};
    }
}

/* A GPU that was lost, or had no session to spare, when the agent started. */
static bool encoders_lack(struct agent *agent)
{
    struct device_row rows[NODE_DEVICES_MAX];
    int32_t count = device_table_rows(agent->devices, rows);
    for (int32_t i = 0; i < count; i++)
        if (rows[i].kind != DEVICE_CPU && !rows[i].encodes && rows[i].health != HEALTH_QUARANTINED)
            return true;
    return false;
}

/* With the lock held on entry and return. */
static void encoders_ask(struct agent *agent, int64_t wait_ns)
{
    struct device_row rows[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    int64_t until_ns = sl_now_ns() + wait_ns;
    for (int64_t left_ns = wait_ns; left_ns > 0 && !agent->quit && !agent->workers.code;
         left_ns = until_ns - sl_now_ns())
        agent_pause(agent, left_ns);
    if (agent->quit || agent->workers.code)
        return;
    pthread_mutex_unlock(&agent->lock);
    bool taken =
        worker_process_probe(agent->worker, rows, NODE_DEVICES_MAX, &count, &why) == SL_OK &&
        device_table_encoders_take(agent->devices, rows, count);
    if (taken) {
        sl_info(NULL, "a device that encoded nothing at the start does so now");
        agent_speeds_take(agent);
    }
    pthread_mutex_lock(&agent->lock);
    if (taken)
        agent_devices_state(agent);
    if (taken)
        pthread_cond_broadcast(&agent->changed);
}

void *agent_prober(void *arg)
{
    struct agent *agent = arg;
    struct device_row rows[NODE_DEVICES_MAX];
    int32_t count = 0;
    int64_t wait_ns = PROBE_AGAIN_FIRST_NS;
    bool found = false, quit = false;
    while (!found && !quit) {
        struct sl_failure why = {0};
        int code = worker_process_probe(agent->worker, rows, NODE_DEVICES_MAX, &count, &why);
        found = code == SL_OK && count > 0;
        if (found)
            devices_take(agent, rows, count);
        else
            sl_error(NULL, "%s; the node offers nothing; trying again in %d s",
                     code ? why.message : "the worker found no device at all",
                     (int)(wait_ns / SL_NS_PER_S));
        pthread_mutex_lock(&agent->lock);
        agent->probed = true;
        pthread_cond_broadcast(&agent->changed);
        if (!found)
            prober_wait(agent, wait_ns);
        quit = agent->quit;
        pthread_mutex_unlock(&agent->lock);
        wait_ns = later(wait_ns);
    }
    pthread_mutex_lock(&agent->lock);
    wait_ns = ENCODERS_AGAIN_NS;
    while (!agent->quit) {
        if (agent->workers.code) {
            workers_recover(agent, rows, count);
            wait_ns = ENCODERS_AGAIN_NS; /* it takes the rows of the start */
        } else if (wait_ns <= ENCODERS_AGAIN_MAX_NS && encoders_lack(agent)) {
            encoders_ask(agent, wait_ns);
            wait_ns *= 2;
        } else {
            pthread_cond_wait(&agent->changed, &agent->lock);
        }
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}
