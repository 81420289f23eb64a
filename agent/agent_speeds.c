/* How fast this node's devices are: read from scratch, measured there where it is not known.
 *
 * The file outlives the agent. `sluice bench --scratch` writes to it as well; it is looked at again now and then. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"

#define LOOK_NS      SL_S_TO_NS(1)
#define READ_NS      SL_S_TO_NS(30)
#define CALIBRATE_NS SL_S_TO_NS(120) /* a device that needs longer hangs */

static void path_make(const struct agent *agent, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/speeds", agent->options.scratch);
}

static int speeds_load(const struct agent *agent, struct hal_speeds *out)
{
    char path[PATH_MAX];
    struct sl_failure why = {0};
    path_make(agent, path);
    int code = hal_speeds_load(path, out, &why);
    if (code)
        sl_warn(NULL, "%s; devices count as of unknown speed", why.message);
    return code;
}

void agent_speeds_take(struct agent *agent)
{
    struct hal_speeds speeds;
    if (speeds_load(agent, &speeds) == SL_OK)
        device_table_speeds(agent->devices, &speeds);
    hal_speeds_fini(&speeds);
}

/* The first device whose speed nobody knows; -1: there is none. tried: bits of devices that could not be measured. */
static int32_t unknown_find(struct agent *agent, uint32_t tried,
                            struct device_row rows[NODE_DEVICES_MAX])
{
    struct hal_speeds speeds;
    int32_t count = device_table_rows(agent->devices, rows), found = -1;
    if (speeds_load(agent, &speeds) == SL_OK)
        for (int32_t i = 0; i < count && found < 0; i++)
            if (!(tried & 1u << i) && (rows[i].encodes || rows[i].feed == FEED_UNMEASURED) &&
                !rows[i].standin && rows[i].health == HEALTH_HEALTHY &&
                !hal_speeds_know(&speeds, &rows[i]))
                found = i;
    hal_speeds_fini(&speeds);
    return found;
}

/* False: a lease or the agent's end cut it short. */
static bool measure(struct agent *agent, const struct device_row *row)
{
    char device[DEVICE_ID_BYTES + 16], path[PATH_MAX];
    snprintf(device, sizeof device, "%s:%s", device_kind_word(row->kind), row->device_id);
    path_make(agent, path);
    const char *const arguments[] = {"--calibrate", device, "--quick", "--quiet",
                                     "--into",      path,   NULL};
    struct worker_process worker;
    struct worker_costs costs;
    struct sl_failure why = {0};
    if (worker_process_start(agent->worker, arguments, &worker, &why)) {
        sl_warn(NULL, "%s", why.message);
        return true;
    }
    setpriority(PRIO_PROCESS, (id_t)worker.pid, 19);
    int64_t end_ns = sl_now_ns() + CALIBRATE_NS;
    bool wanted = true;
    while (wanted && sl_now_ns() < end_ns &&
           worker_process_wait(&worker, SL_MS_TO_NS(100)) == SL_ETIMEDOUT) {
        pthread_mutex_lock(&agent->lock);
        wanted = !agent->quit && agent->lease_count == 0;
        pthread_mutex_unlock(&agent->lock);
    }
    if (!wanted || sl_now_ns() >= end_ns)
        worker_process_kill(&worker);
    worker_process_reap(&worker, WORKER_EXIT_NS, &costs);
    if (!wanted)
        return false;
    if (costs.exit_code == 0)
        sl_info(NULL, "device %s: its speed was measured", row->device_id);
    else
        sl_warn(NULL,
                "device %s: its speed could not be measured; `sluice bench --device %s` says why",
                row->device_id, row->device_id);
    return true;
}

static int64_t file_time(const struct agent *agent)
{
    char path[PATH_MAX];
    struct stat st;
    path_make(agent, path);
    return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * SL_NS_PER_S + st.st_mtim.tv_nsec : 0;
}

static void speeds_follow(struct agent *agent)
{
    agent_speeds_take(agent);
    pthread_mutex_lock(&agent->lock);
    agent_devices_state(agent);
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

void *agent_calibrator(void *arg)
{
    struct agent *agent = arg;
    struct device_row rows[NODE_DEVICES_MAX];
    uint32_t tried = 0;
    int64_t idle_ns = agent->options.calibrate_idle_ns;
    int64_t idle_since_ns = sl_now_ns(), looked_ns = sl_now_ns(), seen = file_time(agent);
    pthread_mutex_lock(&agent->lock);
    while (!agent->quit) {
        agent_pause(agent, idle_ns < LOOK_NS ? idle_ns : LOOK_NS);
        int64_t now_ns = sl_now_ns();
        if (agent->lease_count || !agent->offers)
            idle_since_ns = now_ns;
        bool idle = agent->options.config.calibrate && now_ns - idle_since_ns >= idle_ns;
        if (agent->quit || (!idle && now_ns - looked_ns < READ_NS))
            continue;
        pthread_mutex_unlock(&agent->lock);
        int32_t at = idle ? unknown_find(agent, tried, rows) : -1;
        if (at >= 0 && measure(agent, &rows[at]))
            tried |= 1u << at;
        looked_ns = idle_since_ns = sl_now_ns();
        if (file_time(agent) != seen) {
            seen = file_time(agent);
            speeds_follow(agent);
        }
        pthread_mutex_lock(&agent->lock);
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}
