/* scheduler/daemon/daemon.h: the shell around the deterministic core.
 *
 * One thread, the shell's, owns the core (scheduler/core), the writable store and every struct
 * daemon_video. Everything else reaches it through its inbox: syncs decoded on the wire's thread, calls
 * of the HTTP side, results of the work threads. It drains what has arrived, steps the core, commits one
 * transaction for the batch, and only then releases replies.
 *
 * Owns:     the data folder, the sockets and all threads, from daemon_open to daemon_close.
 * Errors:   one sentence in why that says what to do.
 * Threads:  open and close from one thread; the rest from any.
 * Blocking: close waits for what is under way, at most for some seconds.
 */
#ifndef SL_SCHEDULER_DAEMON_DAEMON_H
#define SL_SCHEDULER_DAEMON_DAEMON_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct daemon;

struct daemon_options {
    const char *data;     /* the data folder; made if absent */
    struct config config; /* addresses included */
    /* For tests: called before each commit; a code other than 0 makes the commit fail with it. */
    int (*commit_fault)(void *arg);
    void *commit_fault_arg;
    int64_t late_ns; /* 0: as long as nodes may store without a daemon; tests wait less */
};

int daemon_open(const struct daemon_options *options, struct daemon **out, struct sl_failure *why);
void daemon_close(struct daemon **daemon);

int daemon_http_port(const struct daemon *daemon);
int daemon_wire_port(const struct daemon *daemon);

/* True after a fault from which only a restart helps; the log has said which. */
bool daemon_is_broken(const struct daemon *daemon);

#endif
