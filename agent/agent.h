/* agent/agent.h: the shell around agent/core: lanes to the daemon, leases, devices.
 *
 * Two threads ask the daemon: lane 0 has a request parked there until there is work, lane 1 carries news at
 * once, one request for all that has happened while the last was under way. Each lease has a thread that lasts
 * from its grant to the verdict on it. One thread probes the devices until that succeeds; another
 * measures, when the node has nothing to do, devices whose speed is not known.
 *
 * Owns:     the scratch folder's lock, the connection, all threads and workers.
 * Errors:   open's sentence says what to do.
 * Threads:  open and close: one; leave and wait: any.
 * Blocking: wait, until the agent has left or given up; close, some seconds at most.
 */
#ifndef SL_AGENT_AGENT_H
#define SL_AGENT_AGENT_H

#include <stdbool.h>

#include "config/config.h"
#include "model/sync_types.h"

#define AGENT_WIRES_MAX 16
/* What has not been told to the daemon by then is told by nobody. */
#define AGENT_LEAVE_NS  SL_S_TO_NS(4)

/* Exit status, as design section 10 has them. */
enum { AGENT_EXIT_LEFT = 0, AGENT_EXIT_USAGE = 2, AGENT_EXIT_REFUSED = 5, AGENT_EXIT_FAULT = 6 };

#define AGENT_CALIBRATE_IDLE_NS SL_S_TO_NS(10)

struct agent_options {
    const char *wires[AGENT_WIRES_MAX];
    int wire_count;
    const char *scratch;
    const char *worker; /* path of sluice-worker */
    char name[NODE_NAME_BYTES];
    int64_t
        calibrate_idle_ns; /* without a lease for so long, unknown speeds are measured; 0: AGENT_CALIBRATE_IDLE_NS */
    struct config_agent config;
};

struct agent;

int agent_open(const struct agent_options *options, struct agent **out, struct sl_failure *why);
/* Running leases go back to the daemon; nothing new is taken. */
void agent_leave(struct agent *agent);
/* Until it has left, or was refused for good. */
int agent_wait(struct agent *agent);
void agent_close(struct agent **agent);

#endif
