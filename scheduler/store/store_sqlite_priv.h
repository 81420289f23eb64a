/* scheduler/store/store_sqlite_priv.h: shared by the files of the SQLite driver only. */
#ifndef SL_SCHEDULER_STORE_STORE_SQLITE_PRIV_H
#define SL_SCHEDULER_STORE_STORE_SQLITE_PRIV_H

#include <sqlite3.h>

#include "scheduler/store/store_ops.h"

enum store_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_PUT_VIDEO,
    SQL_PUT_ROUTE,
    SQL_PUT_TASK,
    SQL_PUT_REPORT,
    SQL_PUT_NODE,
    SQL_PUT_COUNTERS,
    SQL_DELETE_VIDEO,
    SQL_DELETE_TASKS,
    SQL_CLEAR_REPORTS,
    SQL_PRUNE_TASKS,
    SQL_PRUNE_ROUTES,
    SQL_LOAD_COUNTERS,
    SQL_WALK_NODES,
    SQL_WALK_LIVE_VIDEOS,
    SQL_WALK_ROUTES,
    SQL_WALK_TASKS,
    SQL_WALK_REPORTS,
    SQL_GET_VIDEO,
    SQL_FIND_EXTERNAL,
    SQL_GET_TASK,
    SQL_LIST_VIDEOS,
    SQL_LIST_VIDEOS_STATUS,
    SQL_COUNT_VIDEOS,
    SQL_GET_META,
    SQL_COUNT
};

struct store_sqlite {
    struct store base;
    sqlite3 *db;
    int lock_fd; /* -1: a reading handle */
    char path[STORE_PATH_BYTES];
    sqlite3_stmt *cached[SQL_COUNT];
};

/* A step of the schema. Its number is its place in the list, from 1, and PRAGMA user_version holds the
 * number of the last one applied. Steps are only ever added at the end. */
struct store_migration {
    const char *sql;
};

/* The text of a cached statement. */
const char *store_sqlite_text(enum store_sql sql);

/* A cached statement, or a fresh one while a walk is in the middle of the cached. */
int store_sqlite_take(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt **out);
void store_sqlite_give(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt *stmt);

/* Steps a statement that returns no rows and gives it back. */
int store_sqlite_run(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt *stmt);

/* Maps the failure of the last call, and leaves a sentence about path and remedy. */
int store_sqlite_fail(struct store_sqlite *store, int sqlite_rc);

/* Brings the schema to its newest step. SL_EVERSION for a newer file, SL_EINVAL for a foreign one. */
int store_sqlite_schema_open(struct store_sqlite *store);
int store_sqlite_migrate(struct store_sqlite *store, const struct store_migration *list, int count);

/* Rows: store_sqlite_write.c and store_sqlite_read.c. */
int store_sqlite_put_video(struct store *base, const struct store_video *video);
int store_sqlite_put_route(struct store *base, const struct store_route *route);
int store_sqlite_put_task(struct store *base, const struct store_task *task);
int store_sqlite_put_report(struct store *base, struct task_id task, const uint8_t *bytes,
                            size_t length);
int store_sqlite_put_node(struct store *base, const struct store_node *node);
int store_sqlite_put_counters(struct store *base, const struct store_counters *counters);
int store_sqlite_delete_video(struct store *base, struct video_id video);
int store_sqlite_delete_tasks(struct store *base, struct video_id video, uint32_t step_mask);
int store_sqlite_clear_reports(struct store *base, struct video_id video);
int store_sqlite_prune_tasks(struct store *base, int32_t keep, int32_t most);
int store_sqlite_load_counters(struct store *base, struct store_counters *out);
int store_sqlite_walk_nodes(struct store *base, store_node_fn *fn, void *arg);
int store_sqlite_walk_live_videos(struct store *base, store_video_fn *fn, void *arg);
int store_sqlite_walk_routes(struct store *base, struct video_id video, store_route_fn *fn,
                             void *arg);
int store_sqlite_walk_tasks(struct store *base, struct video_id video, store_task_fn *fn,
                            void *arg);
int store_sqlite_walk_reports(struct store *base, struct video_id video, store_report_fn *fn,
                              void *arg);
int store_sqlite_get_video(struct store *base, struct video_id video, store_video_fn *fn,
                           void *arg);
int store_sqlite_find_external(struct store *base, const char *provider, const char *external_id,
                               struct video_id *out);
int store_sqlite_get_task(struct store *base, struct task_id task, store_task_fn *fn, void *arg);
int store_sqlite_list_videos(struct store *base, struct video_id before, enum video_status status,
                             int32_t limit, store_video_fn *fn, void *arg);
int store_sqlite_count_videos(struct store *base, int64_t counts[VIDEO_STATUS_COUNT]);
/* bytes long exactly, else the file is damaged. */
int store_sqlite_get_meta(struct store_sqlite *store, const char *key, void *into, size_t bytes);

#endif
