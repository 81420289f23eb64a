/* scheduler/store/store_ops.h: what a driver of the store fills.
 *
 * store.c checks arguments, limits and the state of the batch once; drivers assume them. A driver's
 * handle starts with struct store. Every entry is required.
 *
 * Owns:    open gives the handle, close frees it and tolerates a half-opened one.
 * Errors:  0 or a negative SL_E*; a driver that fails leaves its sentence with store_fail.
 *          A failed put or commit may leave the transaction open: store.c rolls back.
 * Threads: one handle per thread.
 */
#ifndef SL_SCHEDULER_STORE_STORE_OPS_H
#define SL_SCHEDULER_STORE_STORE_OPS_H

#include "scheduler/store/store.h"

typedef int store_video_fn(void *arg, const struct store_video *video);
typedef int store_task_fn(void *arg, const struct store_task *task);
typedef int store_route_fn(void *arg, const struct store_route *route);
typedef int store_node_fn(void *arg, const struct store_node *node);
typedef int store_report_fn(void *arg, struct task_id task, enum step step, int32_t piece,
                            const uint8_t *bytes, size_t length);

struct store_ops {
    const char *name; /* the scheme of its URLs: "sqlite" */
    int (*open)(const char *place, bool readonly, struct store **out, struct sl_failure *why);
    void (*close)(struct store *store);
    int (*farm_id)(struct store *store, char text[NODE_UUID_BYTES]);
    int (*secret)(struct store *store, uint8_t secret[STORE_SECRET_BYTES]);

    int (*begin)(struct store *store);
    int (*commit)(struct store *store);
    void (*rollback)(struct store *store);

    int (*put_video)(struct store *store, const struct store_video *video);
    int (*put_route)(struct store *store, const struct store_route *route);
    int (*put_task)(struct store *store, const struct store_task *task);
    int (*put_report)(struct store *store, struct task_id task, const uint8_t *bytes,
                      size_t length);
    int (*put_node)(struct store *store, const struct store_node *node);
    int (*put_counters)(struct store *store, const struct store_counters *counters);
    int (*delete_video)(struct store *store, struct video_id video);
    int (*delete_tasks)(struct store *store, struct video_id video, uint32_t step_mask);
    int (*clear_reports)(struct store *store, struct video_id video);
    int (*prune_tasks)(struct store *store, int32_t keep, int32_t most);

    int (*load_counters)(struct store *store, struct store_counters *out);
    int (*walk_nodes)(struct store *store, store_node_fn *fn, void *arg);
    int (*walk_live_videos)(struct store *store, store_video_fn *fn, void *arg);
    int (*walk_routes)(struct store *store, struct video_id video, store_route_fn *fn, void *arg);
    int (*walk_tasks)(struct store *store, struct video_id video, store_task_fn *fn, void *arg);
    int (*walk_reports)(struct store *store, struct video_id video, store_report_fn *fn, void *arg);
    int (*get_video)(struct store *store, struct video_id video, store_video_fn *fn, void *arg);
    int (*find_external)(struct store *store, const char *provider, const char *external_id,
                         struct video_id *out);
    int (*get_task)(struct store *store, struct task_id task, store_task_fn *fn, void *arg);
    int (*list_videos)(struct store *store, struct video_id before, enum video_status status,
                       int32_t limit, store_video_fn *fn, void *arg);
    int (*count_videos)(struct store *store, int64_t counts[VIDEO_STATUS_COUNT]);
};

/* The head of every driver's handle; store.c keeps it. */
struct store {
    const struct store_ops *ops;
    bool readonly;
    bool in_batch;
    int batch_code; /* first failure inside the batch; it can then only be rolled back */
    struct sl_failure why;
};

/* Leaves the sentence and returns code. */
int store_fail(struct store *store, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
