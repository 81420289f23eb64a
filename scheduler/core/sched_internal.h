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

/* A task's own demand: VRAM is its route's. */
struct task_demand {
    int32_t cpu_millicores;
    int32_t sessions;
    int64_t memory_bytes;
    int64_t work_mpix;
    int64_t fetch_bytes;
};

#define DEVICE_NONE UINT8_MAX

struct task {
    int64_t id;
    uint32_t video;
    uint32_t video_next; /* by id */
    uint32_t video_prev;
    uint32_t route; /* slot; SLOT_NONE: needs no codec */
    uint8_t step;
    uint8_t state;
    uint8_t codec;
    uint8_t place;
    bool needs_codec;
    bool ten_bit;  /* its route's */
    bool seen;     /* running: the node has stated the token */
    bool restored; /* running: granted before the core was restored and not stated since */
    bool dirty;    /* on s->dirty_tasks */
    /* Under which entry of its route it is queued, runs or was done; and while it runs, on which of the node's devices
     * it is reckoned (DEVICE_NONE: the node has not said which it has), with how many sessions. */
    uint8_t entry;
    uint8_t kind;
    uint8_t device;
    uint16_t sessions;
    int32_t piece;
    uint32_t wait_mask;
    struct task_demand demand;
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

/* Of one codec of one video. */
struct route {
    int64_t id; /* the video's */
    uint32_t video;
    uint8_t codec;
    uint8_t count;
    bool mix;
    bool ten_bit;
    bool conditional; /* an entry waits for the queue of others */
    bool implied;     /* nobody put it: CPUs */
    uint8_t entry;    /* without mix: of all its tasks that are queued, run or are done */
    uint8_t kinds[POLICY_ROUTE_MAX];
    uint32_t longer_ms[POLICY_ROUTE_MAX];
    int32_t cpu_millicores; /* on a device */
    int32_t sessions;
    int64_t memory_bytes;
    int64_t vram_bytes;
    int32_t counts[TASK_STATE_COUNT];
};

/* What matters of a device to a task: its kind, the codec, and whether ten bits are asked for. */
#define CLASS_COUNT (CODEC_COUNT * 2 * DEVICE_KIND_COUNT)

struct device_class {
    int64_t nodes;           /* live ones that take work and have a usable device of it */
    int64_t absent_since_ns; /* while nodes is 0 */
    bool gone;               /* absent for a lease timeout */
    int64_t queued;          /* tasks in lanes under it */
    int64_t queued_mpix;
    int64_t running;
    int64_t running_mpix;
};

struct failure {
    int64_t id; /* of the task or video */
    struct sl_failure failure;
};

struct video {
    int64_t id;
    int64_t created_unix_ns;
    int32_t attempts_max; /* charged attempts of a task before it is dead */
    uint32_t routes[CODEC_COUNT];
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
    bool retally;       /* its rates changed */
    bool deadline_unix; /* the drain's deadline is yet to be reckoned from the row */
    uint8_t state;
    uint8_t state_told;
    uint64_t lanes;                                /* of which it can run tasks */
    uint32_t healthy;                              /* classes of its healthy devices */
    uint32_t usable;                               /* and of its suspect ones */
    uint32_t tallied;                              /* classes that s->classes counts it in */
    int64_t rates[CODEC_COUNT][DEVICE_KIND_COUNT]; /* mpix a second; as tallied, below */
    int64_t rates_tallied[CODEC_COUNT][DEVICE_KIND_COUNT];
    int32_t session_limits[CODEC_COUNT]; /* of CPU devices, summed; 0: none */
    int32_t sessions_used[CODEC_COUNT];  /* on CPUs */
    /* Beside devices: what placing needs of each, and what the leases of the core take of it. */
    struct device_slot {
        uint32_t classes; /* 0: not usable */
        uint8_t kind;
        bool healthy;
        bool shared; /* its limit is one for all of its kind that say so */
        int32_t limit;
        int64_t vram_bytes; /* 0: unknown */
        struct device_use {
            int32_t leases;
            int32_t sessions;
            int64_t vram_bytes;
        } use;
    } slots[NODE_DEVICES_MAX];
    int32_t encoders; /* devices that encode and are no CPUs */
    int32_t kind_leases[DEVICE_KIND_COUNT];
    struct demand total;
    struct demand used;
    struct device_row *devices;
    int32_t device_count;
    int32_t running;
    uint32_t lease_first;
    uint32_t lease_last;
    uint32_t stamp;
    uint32_t timer;
    uint64_t tried;         /* s->epoch when nothing fitted */
    uint64_t tried_suspect; /* likewise, with its suspect devices */
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

/* LANE_CODEC + codec * DEVICE_KIND_COUNT + kind: what waits for that kind of device to encode it. */
enum lane_kind {
    LANE_SMALL,
    LANE_CPU,
    LANE_CODEC,
    LANE_KIND_COUNT = LANE_CODEC + CODEC_COUNT * DEVICE_KIND_COUNT
};

#define LANE_COUNT (LANE_KIND_COUNT * PRIORITY_COUNT)

_Static_assert(LANE_COUNT <= 64, "lanes are bits of 64");

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
    struct slab routes;
    struct slab route_trees;
    struct tree route_order; /* by video and codec */

    struct tree lanes[LANE_COUNT];
    uint64_t lane_mask; /* lanes that hold something */
    struct tree dead;
    struct tree open[2]; /* nodes that may get grants, most free CPU first; [1]: spot */
    struct timers timers;

    /* What the step under way has touched. */
    struct slots dirty_tasks;
    struct slots dirty_videos;
    struct slots dirty_nodes;
    struct slots gained;

    /* See sched_route.c. */
    struct device_class classes[CLASS_COUNT];
    bool classes_begun;
    int64_t classes_due_ns;                        /* when the next absent class is gone */
    int64_t rates[CODEC_COUNT][DEVICE_KIND_COUNT]; /* of all that classes count */
    int64_t device_work; /* encodes in lanes or running whose kind is not the CPU */
    int64_t conditional; /* routes with an entry that waits for a queue */
    uint32_t sweep_left; /* routes to look at, from sweep_place on */
    struct tree_node sweep_place;
    int64_t sweep_at_ns; /* when to look at them next if time alone may change them */

    /* The matcher's memory, see sched_match.c. */
    uint64_t epoch;
    uint64_t epoch_matched;
    bool truncated;
    uint32_t rotate_next;
    uint32_t rotate_left;
    struct slots suspects; /* nodes with a suspect device that could be used, by id */

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

static inline struct route *route_at(const struct sched *s, uint32_t slot)
{
    return (struct route *)s->routes.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

static inline struct tree_node *route_tree(const struct sched *s, uint32_t slot)
{
    return (struct tree_node *)s->route_trees.chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
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
/* The key of all tasks of a video. */
int64_t queue_key(const struct sched *s, const struct video *v);
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

/* ---- sched_route.c ---- */

int route_put(struct sched *s, const struct sched_event *event);
/* The route of a codec of a video, made where there is none; SLOT_NONE when memory is out. */
uint32_t route_of(struct sched *s, uint32_t video, enum codec codec);
int route_restore(struct sched *s, uint32_t video, const struct sched_route *row);
void route_row_fill(const struct sched *s, const struct route *r, struct sched_route_row *row);
void routes_free(struct sched *s, struct video *v);
/* Decides under which entry a task is about to be placed. */
void route_place(struct sched *s, uint32_t task);
/* What changes by time or by nodes: classes that are gone, queues that got long or short, codecs whose device is gone. */
void routes_run(struct sched *s);
int64_t routes_deadline_ns(const struct sched *s);
/* The encoder that an entry stands for, and all of them: "nvenc, vaapi or x265". */
const char *route_encoder(const struct route *r, int entry);
const char *route_names(const struct route *r, char *text, size_t bytes);
/* How long what is before the place waits for that kind. */
int64_t route_wait_ns(const struct sched *s, enum device_kind kind, const struct tree_node *place);

static inline int class_of(int codec, bool ten_bit, int kind)
{
    return (codec * 2 + ten_bit) * DEVICE_KIND_COUNT + kind;
}

/* A lane's bit of lane_mask and of a node's lanes. */
static inline uint64_t lane_bit(int lane)
{
    return UINT64_C(1) << lane;
}

static inline struct device_class *task_class(struct sched *s, const struct task *t)
{
    return &s->classes[class_of(t->codec, t->ten_bit, t->kind)];
}

/* ---- sched_device.c ---- */

/* A device that says no limit of its sessions is given at most so many. */
#define SESSIONS_ASSUMED 24
/* What it takes to feed an encoder of its own: kept free on its node by what encodes on CPUs. */
#define FEED_MILLICORES  500

/* What an encode on a CPU takes of its codec's pool: it has no sessions, and counts as one. */
static inline int32_t pool_share(const struct task *t)
{
    return t->demand.sessions > 0 ? t->demand.sessions : 1;
}

bool device_usable(const struct device_row *device, bool suspects);
bool device_encodes(const struct device_row *device, enum codec codec, bool ten_bit);
/* From n->devices: slots, classes, lanes, rates, limits. */
void devices_reckon(struct sched *s, uint32_t node);
/* Leases to devices anew, after n->devices has changed from old. */
void devices_recount(struct sched *s, uint32_t node, const struct device_row *old,
                     int32_t old_count);
/* What a task asks of a node under the entry it is placed under. */
struct demand task_demand_of(const struct sched *s, const struct task *t);
/* The device of the task's kind on which it fits: healthy before suspect, most free sessions first; DEVICE_NONE. */
uint8_t device_pick(const struct sched *s, const struct node *n, const struct task *t,
                    bool suspects);
/* The most sessions a task may ask for to fit on a device of that kind; INT32_MAX: an idle one is there. */
int32_t device_room(const struct node *n, enum device_kind kind);
/* CPU that is kept for devices that nothing feeds now, while the farm has work for devices. */
int32_t device_reserve(const struct sched *s, const struct node *n);
void device_work_add(struct sched *s, const struct task *t, int64_t by);
/* The device and the sessions of a grant. */
void device_assign(const struct sched *s, const struct node *n, struct task *t);
void device_take(struct sched *s, struct node *n, struct task *t);
void device_give(struct sched *s, struct node *n, struct task *t);
/* What s->classes and s->rates count of the node. */
void node_tally(struct sched *s, uint32_t node);

/* ---- sched_retry.c ---- */

void retry_failure(struct sched *s, uint32_t task, const struct sl_failure *failure);
int64_t retry_backoff_ns(const struct sched *s, const struct task *t);
/* As the video's policy says, or else the configuration. */
int32_t retry_attempts_max(const struct sched *s, const struct task *t);

/* ---- sched_match.c ---- */

/* By the node's whole size, whatever it holds. */
bool match_capable(const struct sched *s, const struct node *n, const struct task *t);
bool match_fits(const struct sched *s, const struct node *n, const struct task *t, bool suspects);
/* Encodes on CPUs wait on this node for work of its devices that would fit but for CPU. */
bool match_holds(struct sched *s, const struct node *n, const struct task *t);
bool match_avoided(const struct node *n, const struct task *t);
/* Counts nodes that could run it and are neither away nor avoided; stops at max. */
int32_t match_capable_count(const struct sched *s, const struct task *t, bool unavoided,
                            int32_t max);
void match_run(struct sched *s);
bool match_pending(const struct sched *s);

#endif
