/* The devices' telemetry: a worker that asks their drivers (worker/watch_devices.h), whose words go into the device table.
 *
 * They are stated with the next request, whatever that is for; nobody is woken for them. When the worker ends or falls
 * silent, loads are unknown until another has started. */
#include <string.h>
#include <sys/socket.h>

#include "agent/agent_internal.h"
#include "base/log.h"
#include "base/time.h"
#include "wire/wire_control.h"

#define SILENCE_NS     SL_S_TO_NS(30) /* a driver that hangs */
#define EXIT_NS        SL_S_TO_NS(1)
#define AGAIN_FIRST_NS SL_MS_TO_NS(500)
#define AGAIN_MAX_NS   SL_S_TO_NS(60)

/* False: all ends. */
static bool socket_state(struct agent *agent, int socket)
{
    pthread_mutex_lock(&agent->lock);
    agent->watch_socket = socket;
    bool quit = agent->quit;
    pthread_mutex_unlock(&agent->lock);
    return !quit;
}

/* Takes what the worker says until it ends, of these devices alone. */
static int words_take(struct agent *agent, int socket, struct sl_failure *why)
{
    struct device_row rows[NODE_DEVICES_MAX];
    int32_t count = device_table_rows(agent->devices, rows);
    struct control_frame frame = {0};
    int code = control_devices_send(socket, rows, count);
    while (code == SL_OK) {
        code = control_receive(socket, &frame, SILENCE_NS);
        if (code == SL_OK)
            code = control_devices_parse(&frame, rows, NODE_DEVICES_MAX, &count);
        if (code == SL_OK)
            device_table_telemetry(agent->devices, rows, count);
    }
    control_frame_fini(&frame);
    if (code == SL_ETIMEDOUT)
        sl_fail(why, SL_EHANG, "its worker said nothing for %d s: a driver hangs",
                (int)(SILENCE_NS / SL_NS_PER_S));
    else if (code != SL_EUNREACH)
        sl_fail(why, code, "its worker said what nobody understands: %s", sl_error_text(code));
    return code;
}

static void watch(struct agent *agent, struct sl_failure *why)
{
    static const char *const arguments[] = {"--watch-devices", NULL};
    struct worker_process worker;
    struct worker_costs costs;
    if (worker_process_start(agent->worker, arguments, &worker, why))
        return;
    int code = SL_EUNREACH;
    if (socket_state(agent, worker.socket))
        code = words_take(agent, worker.socket, why);
    socket_state(agent, -1);
    shutdown(worker.socket, SHUT_RDWR);
    worker_process_reap(&worker, code == SL_ETIMEDOUT ? 0 : EXIT_NS, &costs);
    if (code == SL_EUNREACH)
        worker_process_explain(&costs, why);
}

static void telemetry_forget(struct agent *agent)
{
    struct device_row rows[NODE_DEVICES_MAX];
    int32_t count = device_table_rows(agent->devices, rows);
    for (int32_t i = 0; i < count; i++)
        rows[i].telemetry = device_telemetry_unknown;
    device_table_telemetry(agent->devices, rows, count);
}

void agent_watch_stop(struct agent *agent)
{
    if (agent->watch_socket >= 0)
        shutdown(agent->watch_socket, SHUT_RDWR);
}

void *agent_watcher(void *arg)
{
    struct agent *agent = arg;
    int64_t wait_ns = AGAIN_FIRST_NS;
    pthread_mutex_lock(&agent->lock);
    while (!agent->offers && !agent->quit)
        pthread_cond_wait(&agent->changed, &agent->lock);
    while (!agent->quit) {
        pthread_mutex_unlock(&agent->lock);
        struct sl_failure why = {0};
        int64_t began_ns = sl_now_ns();
        watch(agent, &why);
        telemetry_forget(agent);
        if (sl_now_ns() - began_ns > AGAIN_MAX_NS)
            wait_ns = AGAIN_FIRST_NS;
        pthread_mutex_lock(&agent->lock);
        if (agent->quit)
            break;
        sl_warn(NULL, "the devices' load is unknown: %s; asking again in %d s", why.message,
                (int)((wait_ns + SL_NS_PER_S - 1) / SL_NS_PER_S));
        int64_t until_ns = sl_now_ns() + wait_ns;
        for (int64_t left_ns = wait_ns; left_ns > 0 && !agent->quit;
             left_ns = until_ns - sl_now_ns())
            agent_pause(agent, left_ns);
        wait_ns = wait_ns * 2 < AGAIN_MAX_NS ? wait_ns * 2 : AGAIN_MAX_NS;
    }
    pthread_mutex_unlock(&agent->lock);
    return NULL;
}
