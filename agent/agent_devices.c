#include <inttypes.h>
#include <string.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

#define PROBE_AGAIN_FIRST_NS SL_S_TO_NS(1)
#define PROBE_AGAIN_MAX_NS   SL_S_TO_NS(60)
/* Beyond the CPUs, so that probing or packaging one video need not wait for another's encodes. */
#define LIGHT_MILLICORES     500
/* Where no device has a limit. */
#define SESSIONS_UNLIMITED   1024

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
    pthread_mutex_lock(&agent->lock);
    agent_core_devices_set(agent->core, rows, count, &total);
    if (cpu)
        memcpy(agent->device_id, cpu->device_id, sizeof agent->device_id);
    pthread_mutex_unlock(&agent->lock);
}

void *agent_prober(void *arg)
{
    struct agent *agent = arg;
    int64_t wait_ns = PROBE_AGAIN_FIRST_NS;
    bool found = false;
    while (!found) {
        struct device_row rows[NODE_DEVICES_MAX];
        int32_t count = 0;
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
        for (int64_t until_ns = sl_now_ns() + wait_ns; !found && !agent->quit;) {
            int64_t left_ns = until_ns - sl_now_ns();
            if (left_ns <= 0)
                break;
            agent_pause(agent, left_ns);
        }
        bool quit = agent->quit;
        pthread_mutex_unlock(&agent->lock);
        if (quit)
            break;
        wait_ns = wait_ns * 2 < PROBE_AGAIN_MAX_NS ? wait_ns * 2 : PROBE_AGAIN_MAX_NS;
    }
    return NULL;
}
