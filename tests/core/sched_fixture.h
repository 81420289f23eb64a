/* tests/core/sched_fixture.h: a core, a store made of its own actions, and agents, in a few lines.
 *
 * Every step applies its persist actions to the store, checks what must hold of any actions, and runs
 * sched_check. fix_restart drops the core and restores it from the store, as the daemon would.
 * Owns:    fix_close frees everything.
 * Threads: one.
 */
#ifndef SL_TESTS_CORE_SCHED_FIXTURE_H
#define SL_TESTS_CORE_SCHED_FIXTURE_H

#include "scheduler/core/sched.h"

#define FIX_S  INT64_C(1000000000)
#define FIX_MS INT64_C(1000000)
#define FIX_GB (INT64_C(1) << 30)

struct fix_store {
    struct sched_video_row *videos;
    size_t video_count, video_capacity;
    struct sched_route_row *routes;
    size_t route_count, route_capacity;
    struct sched_task_row *tasks;
    size_t task_count, task_capacity;
    struct sched_node_row *nodes;
    size_t node_count, node_capacity;
    struct sched_counters counters;
};

/* What the world knows of a token, by number. */
enum fix_token { FIX_TOKEN_NONE, FIX_TOKEN_LIVE, FIX_TOKEN_COMMITTED, FIX_TOKEN_DEAD };

struct fix {
    struct sched *s;
    struct sched_config config;
    uint64_t seed;
    int64_t now_ns;
    int64_t now_unix_ns;
    struct sched_actions actions; /* of the last step */
    struct fix_store store;
    uint8_t *tokens;
    size_t token_capacity;
    int64_t next_video;
    enum sched_event_kind stepping;
    uint64_t again;  /* the last token that SCHED_TASK_AGAIN took back */
    bool unchecked;  /* leave sched_check out (large states) */
    uint64_t digest; /* of the bytes of all actions */
};

void fix_open(struct fix *f, uint64_t seed);
void fix_close(struct fix *f);
/* SLUICE_SEED, or the given one; printed. */
uint64_t fix_seed(uint64_t otherwise);
void fix_restart(struct fix *f);
/* Aborts unless the core's rows are, field by field, what it asked to persist. */
void fix_compare(const struct fix *f);
int fix_step(struct fix *f, const struct sched_event *event);
/* Moves both clocks on, stepping a tick whenever the core wants one. */
void fix_pass(struct fix *f, int64_t ns);

int64_t fix_video(struct fix *f, enum priority priority);
int64_t fix_video_attempts(struct fix *f, int32_t attempts_max);
/* count tasks of one step, 1000 millicores and 1 GB each, any CPU; the first one's id. */
int64_t fix_tasks(struct fix *f, int64_t video, enum step step, int32_t count, uint32_t wait_mask);
/* As fix_tasks, but each needs a session of a device that encodes the codec. */
int64_t fix_encodes(struct fix *f, int64_t video, int32_t count, uint32_t wait_mask,
                    enum codec codec);
/* A route by kinds, as its task of rungs wants it on a device: 500 millicores, 1 GB, 1 GB of VRAM. */
struct sched_route fix_route(enum codec codec, int32_t rungs, int32_t count,
                             const enum device_kind *kinds);
int fix_route_put(struct fix *f, int64_t video, const struct sched_route *route);
int fix_spec(struct fix *f, int64_t video, const struct sched_task_spec *spec, int64_t *out);
/* The event kinds that name a video, a task or a node and one number. */
int fix_video_event(struct fix *f, enum sched_event_kind kind, int64_t video, enum step step);
int fix_video_fail(struct fix *f, int64_t video, enum step step, int code);
int fix_task_event(struct fix *f, enum sched_event_kind kind, int64_t task, int32_t preroll);
int fix_node_event(struct fix *f, enum sched_event_kind kind, int64_t node, int64_t deadline_ns);

enum task_state fix_state(const struct fix *f, int64_t task);
struct sched_task_row fix_task(const struct fix *f, int64_t task);
enum video_status fix_status(const struct fix *f, int64_t video);
struct sched_totals fix_totals(const struct fix *f);
/* How many of the last step's actions are of the kind. */
size_t fix_count(const struct fix *f, enum sched_action_kind kind);
const struct sched_action *fix_find(const struct fix *f, enum sched_action_kind kind);

/* An agent as the core sees one: what it holds, in sync with nothing but its own past. */
struct fix_agent {
    char uuid[NODE_UUID_BYTES];
    uint64_t session;
    uint64_t seq;
    bool spot;
    bool leaving;
    int64_t notice_ns;
    struct demand total;
    struct device_row devices[4];
    int32_t device_count;
    struct sched_held held[SYNC_HELD_MAX];
    int32_t held_count;
    int64_t node;  /* 0 before the first sync */
    int32_t stale; /* verdicts got */
    int32_t accepted;
    int rc;
};

/* cpus whole CPUs, as many sessions, 4 GB each, one device that encodes H.264. */
void fix_agent_init(struct fix_agent *a, const char *uuid, int32_t cpus);
/* Behind the CPU: a healthy device of its own that encodes H.264 and H.265, 8 and 10 bits; its row. */
struct device_row *fix_device_add(struct fix_agent *a, enum device_kind kind, int32_t limit);
/* One sync: states what it holds, obeys the verdicts, takes the grants. Returns the step's result. */
int fix_sync(struct fix *f, struct fix_agent *a);
/* Only builds and steps the request; verdicts and grants are not read. */
int fix_sync_send(struct fix *f, struct fix_agent *a);
void fix_sync_read(struct fix *f, struct fix_agent *a);
struct sched_held *fix_held(struct fix_agent *a, int64_t task);
/* The next sync says so. */
void fix_finish(struct fix_agent *a, int64_t task);
void fix_fail(struct fix_agent *a, int64_t task, int code);
void fix_hand_back(struct fix_agent *a, int64_t task);
/* Sync, finish everything, sync; until the agent gets nothing more. */
void fix_work(struct fix *f, struct fix_agent *a);
void fix_drop(struct fix_agent *a, int32_t index);

#endif
