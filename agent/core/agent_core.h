/* agent/core/agent_core.h: what a node holds, as a pure function of what happened.
 *
 * Invariants:
 *  1. A token is stated in every request from its grant until a verdict on it.
 *  2. A token is started once, however often it is granted: tokens that were let go are remembered, so that an
 *     answer that was overtaken by a newer one cannot start its work again.
 *  3. Outputs of a token whose report may have left the node are deleted only on a STALE verdict that answers
 *     a request with the report: without one nobody here knows whether the daemon committed them. (Two
 *     requests may overtake each other, and one that still says running is stale once the other was taken.)
 *  4. What was stated as ended is never again stated as running.
 *
 *  state         event                         next         function
 *  -             grant                         running      grant_take
 *  -             grant while leaving           handed back  grant_take
 *  running       the worker's report, stored   finished     agent_core_finished
 *  running       failure                       failed       agent_core_failed
 *  running       agent_core_leave, and the     handed back  agent_core_handed_back
 *                work has been stopped
 *  any           STALE, invariant 3            - (DROP)     agent_core_answer
 *  not running   ACCEPTED                      - (FORGET)   agent_core_answer
 *  running       no daemon for give_up_ns      - (DROP)     agent_core_tick
 *
 * Owns:    its table and the reports in it. Requests are built into the caller's arena.
 * Errors:  SL_ENOMEM; SL_ELIMIT for a full table is not an error: the grant is left to be sent again.
 * Threads: one at a time; no clock, no I/O.
 */
#ifndef SL_AGENT_CORE_AGENT_CORE_H
#define SL_AGENT_CORE_AGENT_CORE_H

#include "base/arena.h"
#include "model/report_types.h"
#include "model/sync_types.h"

struct agent_core;

struct agent_core_options {
    char node_uuid[NODE_UUID_BYTES];
    char node_name[NODE_NAME_BYTES];
    uint64_t session;
    bool spot;
    int64_t give_up_ns;
};

enum agent_action_kind {
    AGENT_START,  /* do the work of grants[grant] */
    AGENT_FORGET, /* the daemon took note */
    AGENT_DROP    /* stop if it runs, delete its outputs */
};

struct agent_action {
    enum agent_action_kind kind;
    struct lease_token token;
    int32_t grant; /* START: index into the answer's grants */
};

#define AGENT_ACTIONS_MAX (SYNC_GRANTS_MAX + SYNC_HELD_MAX)

struct agent_actions {
    struct agent_action items[AGENT_ACTIONS_MAX];
    int32_t count;
};

int agent_core_open(const struct agent_core_options *options, int64_t now_ns,
                    struct agent_core **out);
void agent_core_close(struct agent_core **core);

/* count 0: the node offers nothing. */
void agent_core_devices_set(struct agent_core *core, const struct device_row *rows, int32_t count,
                            const struct demand *total);
/* From now on nothing new is taken. */
void agent_core_leave(struct agent_core *core);

/* The next request. Reports that do not fit into one message wait for the next: their tokens are stated as
 * running meanwhile. It parks only when it has no news. */
int agent_core_request(struct agent_core *core, bool park, struct sl_arena *arena,
                       struct sync_request *out);
/* No answer came to it: its news is news again. */
void agent_core_request_lost(struct agent_core *core, uint64_t seq);

/* Returns the code of a refusal, which changes nothing here. actions is emptied first. */
int agent_core_answer(struct agent_core *core, int64_t now_ns, const struct sync_answer *answer,
                      struct agent_actions *actions);
void agent_core_tick(struct agent_core *core, int64_t now_ns, struct agent_actions *actions);
/* When the next tick can do something. */
int64_t agent_core_next_deadline_ns(const struct agent_core *core);

/* Words about a token that is not running are ignored: it was dropped meanwhile. */
void agent_core_progress(struct agent_core *core, struct lease_token token, int64_t done,
                         int64_t total);
int agent_core_finished(struct agent_core *core, struct lease_token token, const char *device_id,
                        const void *report, size_t report_bytes);
void agent_core_failed(struct agent_core *core, struct lease_token token, const char *device_id,
                       const struct sl_failure *failure);
void agent_core_handed_back(struct agent_core *core, struct lease_token token);

/* Is there news that no request under way carries? */
bool agent_core_news(const struct agent_core *core);
int32_t agent_core_held_count(const struct agent_core *core);

#endif
