/* agent/agent_internal.h: what the files of the agent's shell share.
 *
 * `lock` guards everything that is not said to be otherwise. It is never held while something blocks: not
 * over a request to the daemon, an object, or a worker.
 */
#ifndef SL_AGENT_AGENT_INTERNAL_H
#define SL_AGENT_AGENT_INTERNAL_H

#include <pthread.h>

#include "agent/agent.h"
#include "agent/core/agent_core.h"
#include "agent/lease_run.h"
#include "agent/scratch.h"
#include "wire/wire_transport.h"

#define LANE_PARKED 0
#define LANE_NEWS   1
#define LANES       2

enum lease_verdict { LEASE_HELD, LEASE_FORGOTTEN, LEASE_DROPPED };

/* One lease and its thread; freed by the thread. */
struct lease {
    struct lease *next;
    struct agent *agent;
    struct lease_token token;
    struct sl_arena arena; /* of the grant */
    struct sync_grant grant;
    struct agent_store *store;
    struct lease_run *run; /* NULL until its thread has opened it */
    bool ended;
    enum lease_verdict verdict;
};

struct agent {
    struct agent_options options;
    char worker[4096];
    struct scratch scratch;
    struct wire_client *client;
    struct worker_pool *pool;
    struct worker_warm *warm;
    struct range_cache *cache;
    struct device_table *devices; /* has a lock of its own, below `lock` */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC; anything below */
    struct agent_core *core;
    struct lease *leases;
    int lease_count;
    struct agent_store *store;       /* NULL before the first answer */
    char device_id[DEVICE_ID_BYTES]; /* of the CPU */
    bool offers;                     /* devices were found and workers start */
    bool probed;                     /* once, whether it succeeded or not */
    struct sl_failure workers;       /* why none could be started; code 0: they start */
    bool leaving;
    bool leave_said;          /* the daemon has answered a request that says so */
    bool quit;                /* all threads end */
    int exit_code;            /* < 0: goes on */
    int64_t refused_since_ns; /* as a second live node; 0: not */
    int64_t lease_timeout_ns;
    bool reached; /* the daemon, since it was last lost */

    pthread_t lanes[LANES];
    pthread_t prober;
    pthread_t calibrator;
    pthread_t healer;
    pthread_t watcher;
    int watch_socket; /* of the worker that tells of loads; -1: none */
    int thread_count; /* lanes, prober, calibrator, healer, watcher */
};

/* With the lock held: waits for a change, ns at most. */
void agent_pause(struct agent *agent, int64_t ns);
void agent_end(struct agent *agent, int exit_code);

/* agent_lanes.c */
void *agent_lane_parked(void *agent);
void *agent_lane_news(void *agent);

/* agent_leases.c: with the lock held. */
void agent_actions_take(struct agent *agent, const struct agent_actions *actions,
                        const struct sync_answer *answer);
void agent_leases_stop(struct agent *agent);

/* agent_devices.c */
/* With the lock held: what the next request says of the devices. */
void agent_devices_state(struct agent *agent);
void *agent_prober(void *agent);

/* agent_health.c */
/* Without the lock, after a probe: what was quarantined when an earlier agent ended is so still. */
void agent_health_recall(struct agent *agent);
void *agent_healer(void *agent);

/* agent_watch.c */
/* With the lock held, after quit. */
void agent_watch_stop(struct agent *agent);
void *agent_watcher(void *agent);

/* agent_speeds.c */
/* Without the lock: what was measured of the devices goes into their table. */
void agent_speeds_take(struct agent *agent);
void *agent_calibrator(void *agent);

#endif
