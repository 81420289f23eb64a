/* scheduler/core/sched.h: the deterministic core of the daemon.
 *
 * A function from events to actions: it reads no clock, socket, disk or environment, walks in id
 * order, and the same events give the same bytes. The shell (scheduler/daemon) drains what has
 * arrived, steps each event, commits the persist actions of the whole batch in one transaction, and
 * only then releases replies. If the commit fails, the shell repeats it with the identical batch and
 * does not step meanwhile; after an unknown outcome it closes the core and restores it from the store.
 *
 * Owns:     everything it allocates; event arrays stay the caller's and are copied.
 * Shapes:   a video has tasks; a task belongs to one step and waits until all tasks of the steps in
 *           its wait mask are done. A node holds leases; a task has at most one live token. Tasks of one codec
 *           of a video share a route: kinds of devices in order of preference (sched_route.c).
 * Units:    now_ns and *_at_ns are the shell's monotonic clock, *_unix_ns wall clock.
 * Errors:   0 or a negative SL_E*. An event that is refused changes nothing. SL_ENOMEM is fatal: the
 *           caller drops the core.
 * Order:    the actions of one step are the news first (verdicts, committed, dead tokens, steps ready,
 *           deletions), then the final rows, each once, then who to wake. All of it belongs to one
 *           transaction.
 * Unknown:  a held token of a task that the core does not know (its video has left the core, or the
 *           task was dropped) gets no verdict from here; the shell answers it from its store.
 * Threads:  one. Blocking: never.
 */
#ifndef SL_SCHEDULER_CORE_SCHED_H
#define SL_SCHEDULER_CORE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/device_types.h"
#include "model/ids.h"
#include "model/sync_types.h"
#include "model/task_types.h"

struct sched;

/* Named limits; reaching one is SL_ELIMIT. */
#define SCHED_VIDEOS_MAX      1000000
#define SCHED_NODES_MAX       10000
#define SCHED_TASKS_MAX       4000000
#define SCHED_TASKS_ADD_MAX   2000 /* per event */
#define SCHED_NODE_LEASES_MAX SYNC_HELD_MAX

struct sched_config {
    int64_t lease_timeout_ns;  /* 12 s */
    int64_t renew_interval_ns; /* 3 s: how long a sync may be parked */
    int64_t retry_base_ns;     /* first backoff, doubled for each charged attempt */
    int64_t retry_max_ns;
    int32_t attempts_max; /* charged attempts before a task is dead, where its video says nothing */
    int64_t
        aging_ns[PRIORITY_COUNT]; /* head start of a priority over low: FIFO by created - this */
    int64_t suspect_base_ns;      /* how long a node is left alone after three faults in a row */
    int64_t unplaced_ns; /* a task that no node of the farm can encode is dead after so long */
};

void sched_config_default(struct sched_config *config);

/* ---- rows: what is persisted and restored ---- */

struct sched_video_row {
    struct video_id video;
    enum priority priority;
    int64_t created_unix_ns;
    int32_t attempts_max; /* of its policy; 0: the configuration's */
    bool cancelled;
    uint32_t steps_skipped; /* STEP_BITs of SCHED_STEP_SKIP */
    uint32_t steps_done;    /* STEP_BITs of SCHED_STEP_DONE */
    /* Failed by the daemon's own step, by a dropped task or by a task that ended as cancelled; a video
     * with a dead task has failed without this. */
    bool failed;
    enum step failure_step;
    struct sl_failure failure;
};

/* An encoder of a route, as far as the core needs it. */
struct sched_route_entry {
    enum device_kind kind;
    /* Whole milliseconds. May be used only while the wait for those before it is longer, or when they are gone;
     * 0: only when they are gone. */
    int64_t queue_longer_ns;
};

/* How the transcode tasks of one codec of a video may be run. */
struct sched_route {
    enum codec codec;
    int32_t count;
    struct sched_route_entry entries[POLICY_ROUTE_MAX]; /* in order of preference */
    bool
        mix; /* tasks may run under different entries; else all run under that of the first grant */
    bool ten_bit; /* needs a device that encodes ten bits */
    /* What a task asks of a node under an entry whose kind is not the CPU, beside its work: sessions are as many as it
     * has use for. Its own demand is what it asks of CPUs. */
    struct demand device;
};

struct sched_route_row {
    struct video_id video;
    struct sched_route route;
};

struct sched_task_row {
    struct task_id task;
    struct video_id video;
    enum step step;
    int32_t piece;      /* index within the step: chunk * codecs + codec; audio rung; 0 */
    uint32_t wait_mask; /* STEP_BITs that must be done before it is queued */
    enum codec codec;   /* of a transcode task; with its route decides which devices can run it */
    bool needs_codec;   /* false: any node's CPU will do */
    int64_t order;      /* within its video: smaller first */
    struct demand demand;
    /* Of a running or done task that needs a codec: the entry of its route that it was granted under, what that is, and
     * the encoder sessions it was given. */
    int32_t entry;
    enum device_kind kind;
    int32_t sessions;
    enum task_state state;
    int32_t attempts;           /* charged */
    int32_t losses;             /* silent, not charged */
    int32_t preroll;            /* level of a seam's repeat, see model/job_types.h */
    int64_t not_before_unix_ns; /* backoff */
    struct lease_token token;   /* running: the live one; done: the committed one */
    struct node_id node;        /* that holds or did it */
    int64_t granted_unix_ns;
    struct node_id avoid[4];   /* nodes on which it failed with failure.code, newest first */
    uint64_t lost_nodes;       /* small bloom of nodes it was lost on */
    struct sl_failure failure; /* the last one reported; silent losses are only counted */
};

struct sched_node_row {
    struct node_id node;
    char uuid[NODE_UUID_BYTES];
    char name[NODE_NAME_BYTES];
    bool spot;
    bool drain;                     /* wanted by a person; outlives restarts */
    int64_t drain_deadline_unix_ns; /* 0: none */
};

struct sched_counters {
    int64_t next_task;
    uint64_t next_token;
    int64_t next_node;
};

/* ---- events ---- */

enum sched_event_kind {
    SCHED_TICK,      /* time passed; do what is due */
    SCHED_VIDEO_ADD, /* a video with no tasks yet */
    /* The route of a codec of a video, before its tasks: those of a codec without one go to CPUs. Again it changes
     * nothing; another one is SL_ECONFLICT while there are tasks of the codec. */
    SCHED_ROUTE_PUT,
    SCHED_TASKS_ADD,  /* tasks of a video; ids are given out in order and returned in the rows */
    SCHED_STEP_DONE,  /* the daemon finished a step that it does itself (plan) */
    SCHED_STEP_SKIP,  /* the step has no tasks for this video */
    SCHED_VIDEO_FAIL, /* the daemon's own step failed: failure says why */
    SCHED_VIDEO_CANCEL,
    /* Dead and cancelled tasks, or from a step on all tasks, go back to waiting or queued. From probe
     * or plan on, the tasks that the plan made are dropped (SCHED_DELETE_TASKS): the daemon plans anew. */
    SCHED_VIDEO_RETRY,
    SCHED_VIDEO_FORGET, /* deleted, or finished and stored: drop it and all its tasks */
    SCHED_TASK_REDO,    /* a done task is wanted again with a longer preroll (seam mismatch) */
    SCHED_TASK_REDRIVE, /* from the DLQ back to the queue, attempts at 0 */
    SCHED_TASK_DROP,    /* from the DLQ to cancelled; its video stays failed */
    SCHED_NODE_SYNC,
    SCHED_NODE_DRAIN,
    SCHED_NODE_UNDRAIN,
    SCHED_EVENT_KIND_COUNT
};

/* What to create; the core fills task ids into out_ids. */
struct sched_task_spec {
    enum step step;
    int32_t piece;
    uint32_t wait_mask;
    enum codec codec;
    bool needs_codec;
    int64_t order;
    struct demand demand;
};

/* A held token as the core needs it: the shell has decoded and checked the report already, and turned
 * a report that does not match the plan into HELD_FAILED with SL_EMISMATCH. */
struct sched_held {
    struct lease_token token;
    struct task_id task;
    enum held_state state;
    struct sl_failure failure;
};

struct sched_event {
    enum sched_event_kind kind;
    int64_t now_unix_ns; /* wall clock of the same moment as now_ns, for rows */
    struct video_id video;
    struct task_id task;
    struct node_id node;   /* drain, undrain */
    enum step failed_step; /* VIDEO_FAIL: the step that `failure` is of */
    union {
        struct sched_video_row video_row; /* VIDEO_ADD */
        struct {
            const struct sched_task_spec *specs;
            int32_t count;
            struct task_id *out_ids; /* may be NULL */
        } tasks;
        struct sched_route route; /* ROUTE_PUT */
        enum step
            step; /* STEP_DONE, STEP_SKIP; RETRY: the step to begin from, STEP_COUNT: where it failed */
        struct sl_failure failure; /* VIDEO_FAIL */
        int32_t preroll;           /* TASK_REDO */
        int64_t drain_deadline_ns; /* NODE_DRAIN: remaining time, 0: none */
        struct {
            char uuid[NODE_UUID_BYTES];
            char name[NODE_NAME_BYTES];
            uint64_t session;
            uint64_t seq;
            bool spot;
            bool leaving;
            int64_t notice_remaining_ns;
            struct demand total;
            const struct device_row *devices;
            int32_t device_count;
            const struct sched_held *held;
            int32_t held_count;
        } sync;
    };
};

/* ---- actions ---- */

enum sched_action_kind {
    SCHED_PUT_VIDEO, /* persist: */
    SCHED_PUT_ROUTE,
    SCHED_PUT_TASK,
    SCHED_PUT_NODE,
    SCHED_PUT_COUNTERS,
    SCHED_DELETE_VIDEO, /* its routes and its tasks */
    SCHED_VERDICT,      /* for the sync's node: what became of a token it stated */
    SCHED_WAKE_NODE,    /* its parked sync has something to carry */
    /* All tasks of `step` are done: the daemon goes on (plan, publish). Said again after a restore and
     * after a retry for every such step of a video that is under way, so acting on it is idempotent. */
    SCHED_STEP_READY,
    SCHED_STATUS,         /* the video's status changed */
    SCHED_TASK_COMMITTED, /* done under `token`: keep its report in this transaction */
    SCHED_TOKEN_DEAD,     /* lapsed, refused or failed: its outputs may be swept */
    /* A committed task is wanted again, since its codec goes on with another entry of its route: what the lost kind of
     * device had made is not mixed with what is to come. */
    SCHED_TASK_AGAIN,
    SCHED_NODE_CHANGED, /* state changed: for events and logs */
    SCHED_DELETE_TASKS, /* persist: all rows of `video` and `step` are gone */
    SCHED_ACTION_KIND_COUNT
};

struct sched_action {
    enum sched_action_kind kind;
    struct video_id video;
    struct task_id task;
    struct node_id node;
    struct lease_token token;
    union {
        struct sched_video_row video_row;
        struct sched_route_row route_row;
        struct sched_task_row task_row;
        struct sched_node_row node_row;
        struct sched_counters counters;
        enum verdict_kind verdict;
        enum step step;
        enum video_status status;
        enum node_state node_state;
    };
};

/* Grown by the core, emptied and freed by the shell. Zero-initialised is empty. */
struct sched_actions {
    struct sched_action *items;
    size_t count;
    size_t capacity;
};

void sched_actions_reset(struct sched_actions *actions);
void sched_actions_fini(struct sched_actions *actions);

/* ---- life ---- */

/* seed feeds the jitter of backoffs and nothing else. */
int sched_open(const struct sched_config *config, uint64_t seed, struct sched **out);
void sched_close(struct sched **sched);

/* Restoring: counters, nodes, videos, routes, tasks, in that order, before the first step. Running tasks keep
 * their tokens and wait one lease timeout from now_ns for their agents to present them. */
void sched_restore_counters(struct sched *sched, const struct sched_counters *counters);
int sched_restore_node(struct sched *sched, const struct sched_node_row *row);
int sched_restore_video(struct sched *sched, const struct sched_video_row *row);
int sched_restore_route(struct sched *sched, const struct sched_route_row *row);
int sched_restore_task(struct sched *sched, const struct sched_task_row *row, int64_t now_ns,
                       int64_t now_unix_ns);
/* Tasks are placed and what is left of a drain's deadline is reckoned here and at the first step.
 * After the last row: the actions name the steps that are ready for the daemon (SCHED_STEP_READY). */
int sched_restore_done(struct sched *sched, int64_t now_ns, struct sched_actions *actions);

/* Appends to actions. What was due by now_ns is done before the event is looked at, so a refused event may
 * have actions too: commit them. Refusals: a sync of a second live node under one uuid is SL_ECONFLICT; an unknown
 * video, task or node SL_ENOENT; what the state does not allow SL_ECONFLICT. */
int sched_step(struct sched *sched, int64_t now_ns, const struct sched_event *event,
               struct sched_actions *actions);

/* When to step a SCHED_TICK at the latest; INT64_MAX when nothing is due. */
int64_t sched_next_deadline_ns(const struct sched *sched);

/* The stall of a failing commit: no lease lapses for it. */
void sched_extend_leases(struct sched *sched, int64_t stall_ns);

/* Walks every invariant of the state and aborts with its number on the first that is broken. */
void sched_check(const struct sched *sched);

/* ---- reading ---- */

struct sched_grant_view {
    struct lease_token token;
    struct task_id task;
    struct video_id video;
    enum step step;
    int32_t piece;
    int32_t preroll;
    bool needs_codec;
    int32_t entry; /* of its route */
    enum device_kind kind;
    struct demand demand; /* on that kind; sessions are those it may open */
};

/* Grants of a node that it has not yet been seen to hold, oldest first: they go into every answer until
 * then. Returns how many there are; fills at most max. */
size_t sched_node_grants(const struct sched *sched, struct node_id node,
                         struct sched_grant_view *out, size_t max);

struct sched_step_view {
    int32_t waiting, queued, running, done, dead, cancelled;
    bool skipped;
    bool finished; /* all done, or done by the daemon */
};

struct sched_video_view {
    struct video_id video;
    enum priority priority;
    enum video_status status;
    int64_t created_unix_ns;
    struct sched_step_view steps[STEP_COUNT];
    struct sl_failure failure; /* of the dead task or step that failed the video */
    enum step failure_step;
};

struct sched_node_view {
    struct sched_node_row row;
    enum node_state state;
    int32_t running;
    struct demand total;
    struct demand used;
    const struct device_row *devices; /* the core's; until the next step */
    int32_t device_count;
    int64_t last_sync_at_ns;
    int64_t suspect_until_ns; /* after faults in a row: gets nothing until then; 0: not suspect */
};

/* All find functions return SL_ENOENT for an id that is not held. */
int sched_video_find(const struct sched *sched, struct video_id video,
                     struct sched_video_view *out);
int sched_task_find(const struct sched *sched, struct task_id task, struct sched_task_row *out);
int sched_node_find(const struct sched *sched, struct node_id node, struct sched_node_view *out);
int sched_node_by_uuid(const struct sched *sched, const char *uuid, struct node_id *out);

/* Walks in id order until fn returns non-zero, and returns that. */
int sched_video_tasks_walk(const struct sched *sched, struct video_id video,
                           int (*fn)(void *arg, const struct sched_task_row *row), void *arg);
int sched_dead_tasks_walk(const struct sched *sched,
                          int (*fn)(void *arg, const struct sched_task_row *row), void *arg);
int sched_nodes_walk(const struct sched *sched,
                     int (*fn)(void *arg, const struct sched_node_view *view), void *arg);

struct sched_totals {
    int64_t videos, queued, waiting, running, dead, nodes_live;
    int64_t by_priority[PRIORITY_COUNT];                  /* queued */
    int64_t grants, completions, failures, lapses, stale; /* since open */
};

void sched_totals(const struct sched *sched, struct sched_totals *out);

/* Of all live nodes, by kind of device. */
struct sched_kind_view {
    int64_t devices;         /* that encode and are not quarantined */
    int64_t sessions;        /* in use by leases; CPU: leases */
    int64_t session_limit;   /* of the devices that have one, together; CPU: 0 */
    int64_t queued, running; /* tasks that need a codec */
    int64_t
        wait_ns; /* how long all that is queued and running will take, as far as throughput is known */
};

void sched_kinds(const struct sched *sched, struct sched_kind_view out[DEVICE_KIND_COUNT]);

/* Why a task is where it is, in sentences: at most max of SL_MESSAGE_BYTES each. Returns their number. */
size_t sched_explain(const struct sched *sched, struct task_id task, int64_t now_ns,
                     char (*reasons)[SL_MESSAGE_BYTES], size_t max);

#endif
