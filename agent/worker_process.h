/* agent/worker_process.h: one sluice-worker: started, watched, ended, its costs known.
 *
 * A worker gets descriptors 0 (/dev/null), 1 and 2 (standard error, where its log lines go) and CONTROL_FD,
 * nothing else; a process group of its own; and only the variables of the environment that are named in the
 * source: what drivers are told by theirs among them. It ends by itself when its end of the socket closes, so none outlives its agent.
 *
 * Owns:    the process until worker_process_reap, and the agent's end of the socket.
 * Threads: one at a time per worker.
 */
#ifndef SL_AGENT_WORKER_PROCESS_H
#define SL_AGENT_WORKER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/time.h"
#include "model/device_types.h"
#include "model/limit_types.h"

/* A worker is up, or has probed its devices, within this. */
#define WORKER_START_NS SL_S_TO_NS(30)
/* A last word was said and the process is still there: it is killed. */
#define WORKER_EXIT_NS  SL_S_TO_NS(5)

struct worker_process {
    pid_t pid;
    int socket;
    int64_t cpu_before_ns; /* spent before it got a job */
    bool serves_more;      /* leases after this one (agent/worker_warm.h) */
    int32_t leases;        /* that it served */
};

struct worker_costs {
    int64_t cpu_ns; /* user and system, since worker_process_mark */
    int64_t memory_max_bytes;
    int exit_code; /* or -1 */
    int signal;    /* or 0 */
};

/* arguments: what comes after the program's name, at most WORKER_ARGUMENTS_MAX and then NULL; NULL alone: one that waits
 * for a job. */
#define WORKER_ARGUMENTS_MAX 8
int worker_process_start(const char *program, const char *const *arguments,
                         struct worker_process *out, struct sl_failure *why);
/* Waits for its READY, WORKER_START_NS or less. What it says instead is the failure; SL_EUNREACH: it has ended. */
int worker_process_ready(struct worker_process *worker, int64_t patience_ns,
                         struct sl_failure *why);
/* From here on its CPU time counts. */
void worker_process_mark(struct worker_process *worker);
/* Sets what the process may use from here on, from outside: it need not be trusted with that, and cannot undo it.
 * memory and cpu are those of the step. One that serves more leases gets them anew for each. */
void worker_process_limit(const struct worker_process *worker, const struct limits *limits,
                          int64_t memory_bytes, int64_t cpu_ns);
/* What it has cost since the mark, while it goes on. */
void worker_process_costs(const struct worker_process *worker, struct worker_costs *out);
/* Ends its whole process group. */
void worker_process_kill(const struct worker_process *worker);
/* Closes the socket and waits for the process; kills it after patience_ns (0: at once). */
void worker_process_reap(struct worker_process *worker, int64_t patience_ns,
                         struct worker_costs *out);

/* Says in words how it ended, as the failure of its lease: SL_ECRASH, SL_EWORKER. */
int worker_process_explain(const struct worker_costs *costs, struct sl_failure *out);

/* Waits for the end of one that says nothing over its socket. SL_ETIMEDOUT after patience_ns. */
int worker_process_wait(const struct worker_process *worker, int64_t patience_ns);

/* Runs the worker with --probe-devices. */
int worker_process_probe(const char *program, struct device_row *rows, int32_t max, int32_t *count,
                         struct sl_failure *why);

#endif
