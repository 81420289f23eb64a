/* scheduler/core/sched_internal.h: the core's state and the functions its files share.
 *
 * Everything lives in slabs and is linked by slot numbers, so that a record is small, its address is
 * stable and no event allocates once the slabs have grown. Slots are private: whatever leaves the core
 * is ordered by id.
 * Owns:    struct sched owns every slab, map, heap and list below it.
 * Errors:  a failed allocation sets s->out_of_memory; the step then ends with SL_ENOMEM, and the caller
 *          drops the core, so no function below has to unwind.
 * Threads: one.
 */
#ifndef SL_SCHEDULER_CORE_SCHED_INTERNAL_H
#define SL_SCHEDULER_CORE_SCHED_INTERNAL_H

#include "scheduler/core/sched.h"

#define SLOT_NONE  UINT32_MAX

#define SLAB_SHIFT 10
#define SLAB_MASK  ((UINT32_C(1) << SLAB_SHIFT) - 1)

/* ---- sched_slab.c: records by slot, slots by id ---- */

/* Items start with their int64 id; 0 marks a free item. */
struct slab {
    size_t item_bytes;
    char **chunks;
    uint32_t chunk_count;
    uint32_t chunk_capacity;
    uint32_t end; /* slots handed out so far, freed ones included */
    uint32_t free_first;
    uint32_t live;
};

void slab_init(struct slab *slab, size_t item_bytes);
void slab_fini(struct slab *slab);
/* A zeroed item, or SLOT_NONE when memory is out. */
uint32_t slab_take(struct slab *slab);
void slab_give(struct slab *slab, uint32_t slot);
/* Makes slots below end exist, for a slab that runs beside another one. */
bool slab_reach(struct slab *slab, uint32_t end);
size_t slab_bytes(const struct slab *slab);

/* Open addressing; key 0 is no key. */
struct id_map {
    int64_t *keys;
    uint32_t *slots;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
};

bool id_map_put(struct id_map *map, int64_t key, uint32_t slot);
uint32_t id_map_get(const struct id_map *map, int64_t key);
void id_map_remove(struct id_map *map, int64_t key);
void id_map_fini(struct id_map *map);

/* A growing list of slots. */
struct slots {
    uint32_t *items;
    uint32_t count;
    uint32_t capacity;
};

bool slots_push(struct slots *list, uint32_t slot);
void slots_fini(struct slots *list);

/* ---- sched_tree.c: ordered sets with ranks and "the first that fits" ---- */

/* A treap: heap order by a hash of the slot, so its shape does not depend on history. One cache line.
 * Demands are rounded down to coarse units and serve to prune; the exact test is the caller's. */
struct tree_node {
    int64_t key;
    int64_t group;
    int64_t order;
    int64_t id;
    uint32_t left;
    uint32_t right;
    uint32_t parent;
    uint32_t size; /* of the subtree; 0: in no tree */
    uint16_t own_cpu;
    uint16_t own_memory;
    uint16_t own_sessions;
    uint16_t min_cpu; /* over the subtree */
    uint16_t min_memory;
    uint16_t min_sessions;
};

struct tree {
    struct slab *nodes;
    uint32_t root;
    uint32_t first;
};

#define TREE_CPU_UNIT    50                  /* millicores */
#define TREE_MEMORY_UNIT (INT64_C(16) << 20) /* bytes */

void tree_init(struct tree *tree, struct slab *nodes);
void tree_demand_set(struct tree_node *node, const struct demand *demand);
void tree_insert(struct tree *tree, uint32_t slot);
void tree_remove(struct tree *tree, uint32_t slot);
uint32_t tree_next(const struct tree *tree, uint32_t slot);
/* The first whose place is after the given one; equal ones count as after. */
uint32_t tree_from(const struct tree *tree, const struct tree_node *place);
/* How many come before the place. */
uint32_t tree_rank(const struct tree *tree, const struct tree_node *place);
uint32_t tree_count(const struct tree *tree);
bool tree_before(const struct tree_node *a, const struct tree_node *b);
/* Whether every link, size, minimum and order of the tree is right. */
bool tree_valid(const struct tree *tree);

/* ---- records ---- */

enum place {
    PLACE_NONE,
    PLACE_LANE,    /* queued and to be had */
    PLACE_BACKOFF, /* queued, waiting for its timer */
    PLACE_HELD     /* queued, but its video has failed */
};

struct task {
    int64_t id;
    uint32_t video;
    uint32_t video_next; /* by id */
    uint32_t video_prev;
    uint8_t step;
    uint8_t state;
    uint8_t codec;
    uint8_t place;
    bool needs_codec;
    bool seen;     /* running: the node has stated the token */
    bool restored; /* running: granted before the core was restored and not stated since */
    bool dirty;    /* on s->dirty_tasks */
    int32_t piece;
    uint32_t wait_mask;
    struct demand demand;
    int32_t attempts;
    int32_t losses;
    int32_t preroll;
    uint32_t node; /* slot */
    uint32_t lease_next;
    uint32_t lease_prev;
    uint32_t timer;   /* position in s->timers */
    uint32_t failure; /* slot in s->failures */
    uint32_t stamp;   /* of the sync that last stated it */
    uint64_t token;
    int64_t not_before_unix_ns;
    int64_t granted_unix_ns;
    int64_t since_ns; /* when it came into its state, in this process */
    int64_t avoid[4];
    uint64_t lost_nodes;
};

struct failure {
    int64_t id; /* of the task or video */
    struct sl_failure failure;
};

struct video {
    int64_t id;
    int64_t created_unix_ns;
    int32_t attempts_max; /* charged attempts of a task before it is dead */
    uint8_t priority;
    uint8_t status;
    uint8_t failure_step;
    bool cancelled;
    bool failed; /* the row's */
    bool dirty;  /* on s->dirty_videos */
    bool put;    /* its row changed */
    bool held;   /* its queued tasks are held back */
    uint32_t steps_skipped;
    uint32_t steps_done;
    uint32_t finished; /* steps that count as done: skipped, by the daemon, or by all their tasks */
    uint32_t failure;
    uint32_t first;
    uint32_t last;
    int32_t task_count;
    int32_t counts[STEP_COUNT][TASK_STATE_COUNT];
    int32_t by_state[TASK_STATE_COUNT];
};

#define NODE_FAULTS_IN_ROW     3
#define NODE_SUSPECT_SHIFT_MAX 6

struct node {
    int64_t id;
    struct sched_node_row row;
    int64_t uuid_key;
    uint64_t session; /* 0: none since the core was opened */
    uint64_t seq;
    bool live;
    bool leaving;
    bool notice;
    uint8_t open; /* 0: in none of s->open, else 1 + which */
    bool dirty;   /* on s->dirty_nodes */
    bool put;
    bool wake;
    bool gained;        /* on s->gained */
    bool deadline_unix; /* the drain's deadline is yet to be reckoned from the row */
    uint8_t state;
    uint8_t state_told;
    uint32_t codecs;                     /* bits of what its healthy devices encode */
    uint32_t lanes;                      /* of which it can run tasks */
    int32_t session_limits[CODEC_COUNT]; /* summed; 0: none */
    int32_t sessions_used[CODEC_COUNT];
    struct demand total;
    struct demand used;
    struct device_row *devices;
    int32_t device_count;
    int32_t running;
    uint32_t lease_first;
    uint32_t lease_last;
    uint32_t stamp;
    uint32_t timer;
    uint64_t tried; /* s->epoch when nothing fitted */
    int64_t last_sync_at_ns;
    int64_t drain_deadline_at_ns; /* INT64_MAX: none */
    int64_t suspect_until_ns;
    int32_t faults;   /* in a row */
    int32_t suspects; /* in a row */
    int64_t fault_tasks[NODE_FAULTS_IN_ROW];
};

/* ---- sched_timer.c ---- */

enum timer_kind { TIMER_TASK, TIMER_NODE };

struct timer {
    int64_t at_ns;
    uint32_t slot;
    uint32_t kind;
};

struct timers {
    struct timer *items;
    uint32_t count;
    uint32_t capacity;
};

/* ---- lanes ---- */

enum lane_kind { LANE_SMALL, LANE_CPU, LANE_CODEC, LANE_KIND_COUNT = LANE_CODEC + CODEC_COUNT };

#define LANE_COUNT (LANE_KIND_COUNT * PRIORITY_COUNT)

/* ---- the core ---- */

struct sched {
    struct sched_config config;
    uint64_t seed;
    struct sched_counters counters;
    bool counters_put;
    bool restoring;
    bool out_of_memory;
    int64_t now_ns;
    int64_t now_unix_ns;
    struct sched_actions *actions; /* of the step under way */
    struct sched_action spill;     /* what is written to when actions cannot grow */

    struct slab tasks;
    struct slab task_trees; /* beside tasks */
    struct id_map task_ids;
    struct slab videos;
    struct id_map video_ids;
    struct slab nodes;
    struct slab node_trees; /* beside nodes */
    struct id_map node_ids;
    struct id_map node_uuids;
    struct slots node_order; /* all nodes by id */
    struct slab failures;

    struct tree lanes[LANE_COUNT];
    uint32_t lane_mask; /* lanes that hold something */
    struct tree dead;
    struct tree open[2]; /* nodes that may get grants, most free CPU first; [1]: spot */
    struct timers timers;

    /* What the step under way has touched. */
    struct slots dirty_tasks;
    struct slots dirty_videos;
    struct slots dirty_nodes;
    struct slots gained;

    /* The matcher's memory, see sched_match.c. */
    uint64_t epoch;
    uint64_t epoch_matched;
    bool truncated;
    uint32_t rotate_next;
    uint32_t rotate_left;

    int64_t deadlines_unix; /* nodes whose drain deadline is yet to be reckoned */
    int64_t state_counts[TASK_STATE_COUNT];
    int64_t queued_by_priority[PRIORITY_COUNT];
    int64_t nodes_live;
    int64_t grants, completions, failed, lapses, stale;
};

static inline struct task *task_at(const struct sched *s, uint32_t slot)
{
    return (struct task *)s->tasks.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct tree_node *task_tree(const struct sched *s, uint32_t slot)
{
    return (struct tree_node *)s->task_trees.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct video *video_at(const struct sched *s, uint32_t slot)
{
    return (struct video *)s->videos.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct node *node_at(const struct sched *s, uint32_t slot)
{
    return (struct node *)s->nodes.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct tree_node *node_tree(const struct sched *s, uint32_t slot)
{
    return (struct tree_node *)s->node_trees.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct failure *failure_at(const struct sched *s, uint32_t slot)
{
    return (struct failure *)s->failures.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

/* ---- sched.c ---- */

struct sched_action *action_add(struct sched *s, enum sched_action_kind kind);
/* Replaces the failure kept at *slot, or lets it go for code 0. */
void failure_keep(struct sched *s, uint32_t *slot, int64_t id, const struct sl_failure *failure);
/* Marks what the step has touched; the rows are written once, when it ends. */
void task_touch(struct sched *s, uint32_t slot);
void video_touch(struct sched *s, uint32_t slot, bool put);
void node_touch(struct sched *s, uint32_t slot, bool put, bool wake);

/* ---- sched_timer.c ---- */

/* Arms, moves or (INT64_MAX) stops the one timer of a task or node. */
void timer_set(struct sched *s, enum timer_kind kind, uint32_t slot, int64_t at_ns);
int64_t timer_at(const struct sched *s, enum timer_kind kind, uint32_t slot);
/* Shifts the timers of running tasks. */
void timers_extend(struct sched *s, int64_t stall_ns);
void timers_run(struct sched *s);

/* ---- sched_video.c ---- */

uint32_t video_find(const struct sched *s, struct video_id id);
uint32_t video_new(struct sched *s, const struct sched_video_row *row);
void video_row_fill(const struct sched *s, const struct video *v, struct sched_video_row *row);
bool video_has_failed(const struct video *v);
enum video_status video_status_of(const struct video *v);
/* After a change of tasks or masks: finishes and reopens steps, releases waiting tasks. */
void video_settle(struct sched *s, uint32_t slot);
uint32_t video_finished_mask(const struct video *v);
void video_steps_tell(struct sched *s, const struct video *v);
/* After has_failed may have changed: takes its queued tasks from the lanes or puts them back. */
void video_hold(struct sched *s, uint32_t slot);
/* Unless the row says so already. */
void video_fail_keep(struct sched *s, uint32_t slot, enum step step,
                     const struct sl_failure *failure);
int video_add(struct sched *s, const struct sched_event *event);
int video_tasks_add(struct sched *s, const struct sched_event *event);
int video_step_mark(struct sched *s, const struct sched_event *event);
int video_fail(struct sched *s, const struct sched_event *event);
int video_cancel(struct sched *s, const struct sched_event *event);
int video_forget(struct sched *s, const struct sched_event *event);

/* ---- sched_rework.c ---- */

int video_retry(struct sched *s, const struct sched_event *event);
int task_redo(struct sched *s, const struct sched_event *event);
int task_redrive(struct sched *s, const struct sched_event *event);
int task_drop(struct sched *s, const struct sched_event *event);

/* ---- sched_task.c ---- */

uint32_t task_find(const struct sched *s, struct task_id id);
/* A linked record in `state` that is in no lane, list or heap yet. */
uint32_t task_new(struct sched *s, uint32_t video, int64_t id, const struct sched_task_spec *spec,
                  enum task_state state);
void task_delete(struct sched *s, uint32_t slot);
void task_row_fill(const struct sched *s, const struct task *t, struct sched_task_row *row);
/* The only function that changes a state. Leaves the old state's lane, list or heap. */
void task_move(struct sched *s, uint32_t slot, enum task_state to);
/* To queued, in place at once or after delay_ns. */
void task_queue(struct sched *s, uint32_t slot, int64_t delay_ns);
/* Running to done under its token. */
void task_commit(struct sched *s, uint32_t slot);
void task_kill(struct sched *s, uint32_t slot, const struct sl_failure *failure);
void task_cancel(struct sched *s, uint32_t slot);
/* To waiting or queued as its video stands, as if new. */
void task_renew(struct sched *s, uint32_t slot);
void task_timer_due(struct sched *s, uint32_t slot);

/* ---- sched_queue.c ---- */

/* Puts a queued task where it belongs: backoff when its timer runs, held, or its lane. */
void queue_place(struct sched *s, uint32_t slot);
void queue_unplace(struct sched *s, uint32_t slot);
int queue_lane(const struct sched *s, const struct task *t);
void queue_key_set(struct sched *s, uint32_t slot);
uint32_t queue_ahead(const struct sched *s, uint32_t slot);

/* ---- sched_lease.c ---- */

void lease_grant(struct sched *s, uint32_t node, uint32_t task);
void lease_attach(struct sched *s, uint32_t node, uint32_t task);
void lease_detach(struct sched *s, uint32_t task);
/* The live or committed token of the task dies. */
void lease_token_kill(struct sched *s, uint32_t task);
/* Silent: the node, or the token on it, is gone. May end in the DLQ as poison. */
void lease_lose(struct sched *s, uint32_t task);
/* Not charged and not counted. */
void lease_return(struct sched *s, uint32_t task);
/* What one stated token means. */
void lease_present(struct sched *s, uint32_t node, const struct sched_held *held);

/* ---- sched_node.c ---- */

uint32_t node_find(const struct sched *s, struct node_id id);
uint32_t node_find_uuid(const struct sched *s, const char *uuid);
uint32_t node_new(struct sched *s, const struct sched_node_row *row);
int node_sync(struct sched *s, const struct sched_event *event);
int node_drain(struct sched *s, const struct sched_event *event);
int node_undrain(struct sched *s, const struct sched_event *event);
void node_timer_due(struct sched *s, uint32_t slot);
void node_timer_arm(struct sched *s, uint32_t slot);
enum node_state node_state_of(const struct node *n);
bool node_grantable(const struct sched *s, const struct node *n);
/* The node has more room than before, or may be granted to again. */
void node_gain(struct sched *s, uint32_t slot);
/* Keeps its place among the open nodes. */
void node_reopen(struct sched *s, uint32_t slot);
void node_fault(struct sched *s, uint32_t slot, int64_t task);
void node_success(struct node *n);
/* Reckons drain deadlines of restored rows, once both clocks are known. */
void nodes_rebase(struct sched *s);

/* ---- sched_retry.c ---- */

void retry_failure(struct sched *s, uint32_t task, const struct sl_failure *failure);
int64_t retry_backoff_ns(const struct sched *s, const struct task *t);
/* As the video's policy says, or else the configuration. */
int32_t retry_attempts_max(const struct sched *s, const struct task *t);

/* ---- sched_match.c ---- */

/* By the node's whole size, whatever it holds. */
bool match_capable(const struct node *n, const struct task *t);
bool match_fits(const struct node *n, const struct task *t);
bool match_avoided(const struct node *n, const struct task *t);
/* Counts nodes that could run it and are neither away nor avoided; stops at max. */
int32_t match_capable_count(const struct sched *s, const struct task *t, bool unavoided,
                            int32_t max);
void match_run(struct sched *s);
bool match_pending(const struct sched *s);

#endif
