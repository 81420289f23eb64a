/* scheduler/store/store.h: what the daemon remembers, behind one narrow interface.
 *
 * Drivers: SQLite (store_sqlite.c), the embedded default: WAL, synchronous=FULL, one daemon per file.
 * A second driver joins by filling struct store_ops; one conformance suite runs over all.
 *
 * Writes happen inside one transaction per batch: begin, puts, commit. A commit that fails leaves
 * nothing of the batch; repeating the same batch is always right (every put is an upsert by id).
 * A put that fails spoils its batch: later puts and the commit return the same code, and nothing of
 * it is kept. The one exception is SL_EEXIST of store_put_video (another video has that provider and
 * external id), which refuses that row alone. A task or a route needs its video and a report its task by the time
 * of the commit, else SL_ECONFLICT.
 * Callbacks of walks may use the same handle, also for a walk of the same kind.
 *
 * Owns:    rows given are copied; rows handed to callbacks are valid during the call only.
 * Errors:  SL_ENOSPC, SL_EIO, SL_EBUSY (another daemon has the store), SL_EVERSION (a newer schema) …
 *          store_why() has the sentence for the last failure.
 * Threads: one handle per thread; the API opens its own read-only handles.
 */
#ifndef SL_SCHEDULER_STORE_STORE_H
#define SL_SCHEDULER_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/ids.h"
#include "model/policy_types.h"
#include "model/task_types.h"

struct store;

/* Limits of one row, a text's NUL included; what passes them is refused with SL_ELIMIT. */
#define STORE_TEXT_BYTES   256           /* names, provider, external id */
#define STORE_PATH_BYTES   1024          /* keys and folders */
#define STORE_BLOB_BYTES   (1024 * 1024) /* policy text, media info, result, report */
#define STORE_LIST_MAX     1000          /* videos in one page; a larger limit is cut to it */
#define STORE_SECRET_BYTES 32

/* A video as it is remembered. Texts are borrowed: NULL is stored as NULL. */
struct store_video {
    struct video_id video;
    const char *provider; /* with external_id unique where both are given */
    const char *external_id;
    enum priority priority;
    enum video_status status;
    const char *name; /* the file name it came with, as bytes, for people */
    const char *policy_name;
    const char *policy_text;  /* snapshot of the YAML */
    int32_t stream_asked;     /* index of the video stream to take; -1: the best */
    const char *original_key; /* NULL until the source has arrived whole */
    int64_t original_bytes;
    const uint8_t *original_sha256; /* 32 bytes, or NULL */
    int64_t created_unix_ns;
    int64_t started_unix_ns;   /* 0: not yet */
    int64_t completed_unix_ns; /* 0: not yet */
    const uint8_t *info;       /* encoded media_info, after the probe */
    size_t info_bytes;
    const char *index_key;     /* the index object, after the probe */
    const char *plan_key;      /* the plan object, after planning */
    int32_t version;           /* of the published set being made or made, from 1 */
    const char *published_key; /* catalog: the finished version's folder; NULL until ready */
    const uint8_t *result;     /* encoded published_set summary shown by status, after publishing */
    size_t result_bytes;
    /* What the scheduling core keeps of the video (scheduler/core/sched.h, sched_video_row). */
    bool cancelled;
    uint32_t steps_done; /* STEP_BITs done by the daemon itself */
    uint32_t steps_skipped;
    enum step failure_step;
    struct sl_failure failure; /* code 0: none */
};

/* How the transcode tasks of one codec of a video may be run; the same members as sched_route_row. */
struct store_route {
    struct video_id video;
    enum codec codec;
    int32_t count;
    struct store_route_entry {
        enum device_kind kind;
        int64_t queue_longer_ns;
    } entries[POLICY_ROUTE_MAX];
    bool mix;
    bool ten_bit;
    struct demand device; /* millicores, sessions, memory, VRAM */
};

/* A task; the same members as sched_task_row, kept apart so that neither folder knows the other. */
struct store_task {
    struct task_id task;
    struct video_id video;
    enum step step;
    int32_t piece;
    uint32_t wait_mask;
    enum codec codec;
    bool needs_codec;
    int64_t order;
    struct demand demand;
    int32_t entry; /* of its route; the kind and the sessions of its lease */
    enum device_kind kind;
    int32_t sessions;
    enum task_state state;
    int32_t attempts;
    int32_t losses;
    int32_t preroll;
    int64_t not_before_unix_ns;
    struct lease_token token;
    struct node_id node;
    int64_t granted_unix_ns;
    /* Of a done, dead or cancelled task, for people: putting the same state again keeps the first. */
    int64_t finished_unix_ns;
    struct node_id avoid[4];
    uint64_t lost_nodes;
    struct sl_failure failure;
};

struct store_node {
    struct node_id node;
    const char *uuid;
    const char *name;
    bool spot;
    bool drain;
    int64_t drain_deadline_unix_ns;
};

struct store_counters {
    int64_t next_task;
    uint64_t next_token;
    int64_t next_node;
};

/* url: "sqlite:PATH". Creates or migrates the schema. readonly handles take no lock and cannot begin. */
int store_open(const char *url, bool readonly, struct store **out, struct sl_failure *why);
void store_close(struct store **store);

/* The sentence of the last failure on this handle. */
const char *store_why(const struct store *store);

/* Random bytes made with the store and never shown: the key that signs object tickets. */
int store_secret(struct store *store, uint8_t secret[STORE_SECRET_BYTES]);

/* A random UUID made with the store: the farm's identity. */
int store_farm_id(struct store *store, char text[NODE_UUID_BYTES]);

int store_begin(struct store *store);
int store_commit(struct store *store);
void store_rollback(struct store *store);

int store_put_video(struct store *store, const struct store_video *video);
/* One for each codec of a video; goes with the video, and with its pruned tasks. */
int store_put_route(struct store *store, const struct store_route *route);
int store_put_task(struct store *store, const struct store_task *task);
/* The report of a done task (encoded struct report); dropped by store_clear_reports. */
int store_put_report(struct store *store, struct task_id task, const uint8_t *bytes, size_t length);
int store_put_node(struct store *store, const struct store_node *node);
int store_put_counters(struct store *store, const struct store_counters *counters);
int store_delete_video(struct store *store, struct video_id video); /* and its tasks and reports */
int store_delete_tasks(struct store *store, struct video_id video, uint32_t step_mask);
int store_clear_reports(struct store *store, struct video_id video);
/* Drops the tasks of ready videos, the newest `keep` excepted: of the next `most` of them, or of all (most < 0). */
int store_prune_tasks(struct store *store, int32_t keep, int32_t most);

/* Walks in id order; a non-zero return of fn stops and is returned. */
/* All 1 in a new store. */
int store_load_counters(struct store *store, struct store_counters *out);
int store_walk_nodes(struct store *store, int (*fn)(void *arg, const struct store_node *),
                     void *arg);
/* Videos that are neither ready nor forgotten: what the core is restored from. */
int store_walk_live_videos(struct store *store, int (*fn)(void *arg, const struct store_video *),
                           void *arg);
int store_walk_routes(struct store *store, struct video_id video,
                      int (*fn)(void *arg, const struct store_route *), void *arg);
int store_walk_tasks(struct store *store, struct video_id video,
                     int (*fn)(void *arg, const struct store_task *), void *arg);
int store_walk_reports(struct store *store, struct video_id video,
                       int (*fn)(void *arg, struct task_id task, enum step step, int32_t piece,
                                 const uint8_t *bytes, size_t length),
                       void *arg);

/* One video; fn is called at most once. SL_ENOENT. */
int store_get_video(struct store *store, struct video_id video,
                    int (*fn)(void *arg, const struct store_video *), void *arg);
int store_find_external(struct store *store, const char *provider, const char *external_id,
                        struct video_id *out);
int store_get_task(struct store *store, struct task_id task,
                   int (*fn)(void *arg, const struct store_task *), void *arg);

/* Newest first, after `before` (0: from the newest), at most limit; status VIDEO_STATUS_COUNT: all. */
int store_list_videos(struct store *store, struct video_id before, enum video_status status,
                      int32_t limit, int (*fn)(void *arg, const struct store_video *), void *arg);
int store_count_videos(struct store *store, int64_t counts[VIDEO_STATUS_COUNT]);

#endif
