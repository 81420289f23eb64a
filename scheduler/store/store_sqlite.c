#include "scheduler/store/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scheduler/store/store_sqlite_priv.h"

/* Nobody else writes; what is waited for is a reader's recovery or a checkpoint. */
#define BUSY_TIMEOUT_MS 1000

static struct store_sqlite *sqlite_of(struct store *base)
{
    return (struct store_sqlite *)base;
}

static int code_of(struct store_sqlite *store, int sqlite_rc)
{
    int os_error = store->db ? sqlite3_system_errno(store->db) : 0;
    switch (sqlite_rc & 0xff) {
    case SQLITE_FULL:
        return SL_ENOSPC;
    case SQLITE_IOERR:
        if (sqlite_rc == SQLITE_IOERR_NOMEM)
            return SL_ENOMEM;
        return os_error == ENOSPC || os_error == EDQUOT ? SL_ENOSPC : SL_EIO;
    case SQLITE_CANTOPEN:
        return os_error ? sl_error_from_errno(os_error) : SL_EIO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return SL_EACCES;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SL_EBUSY;
    case SQLITE_NOMEM:
        return SL_ENOMEM;
    case SQLITE_CONSTRAINT:
        return sqlite_rc == SQLITE_CONSTRAINT_UNIQUE ? SL_EEXIST : SL_ECONFLICT;
    case SQLITE_NOTADB:
        return SL_EINVAL;
    case SQLITE_TOOBIG:
        return SL_ELIMIT;
    case SQLITE_CORRUPT:
        return SL_EIO;
    default:
        return SL_EINTERNAL;
    }
}

int store_sqlite_fail(struct store_sqlite *store, int sqlite_rc)
{
    const char *text = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(sqlite_rc);
    int code = code_of(store, sqlite_rc);
    struct store *base = &store->base;
    if ((sqlite_rc & 0xff) == SQLITE_CORRUPT)
        return store_fail(base, code, "%.120s is damaged; stop sluiced and restore it from a copy",
                          store->path);
    switch (code) {
    case SL_ENOSPC:
        return store_fail(base, code,
                          "no space left for %.120s; free some on its disk and the work goes on",
                          store->path);
    case SL_EIO:
        return store_fail(base, code, "%.120s: reading or writing failed (%.40s); check its disk",
                          store->path, text);
    case SL_EACCES:
        return store_fail(base, code,
                          "%.120s cannot be written; its folder must belong to the user of sluiced",
                          store->path);
    case SL_EBUSY:
        return store_fail(base, code, "%.120s is held by another program; close that one",
                          store->path);
    case SL_EINVAL:
        return store_fail(base, code, "%.120s is no store of sluice; choose another --data",
                          store->path);
    case SL_EEXIST:
        return store_fail(base, code, "%.80s: a row with the same name is there (%.80s)",
                          store->path, text);
    case SL_ECONFLICT:
        return store_fail(base, code,
                          "%.80s: a row names a video or task that is not there (%.60s)",
                          store->path, text);
    default:
        return store_fail(base, code, "%.120s: %.100s", store->path, text);
    }
}

int store_sqlite_take(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt **out)
{
    bool fresh = store->cached[sql] && sqlite3_stmt_busy(store->cached[sql]);
    if (store->cached[sql] && !fresh) {
        *out = store->cached[sql];
        return SL_OK;
    }
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(store->db, store_sqlite_text(sql), -1,
                                fresh ? 0 : SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        return store_sqlite_fail(store, rc);
    if (!fresh)
        store->cached[sql] = stmt;
    *out = stmt;
    return SL_OK;
}

void store_sqlite_give(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt *stmt)
{
    if (stmt != store->cached[sql]) {
        sqlite3_finalize(stmt);
        return;
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

int store_sqlite_run(struct store_sqlite *store, enum store_sql sql, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    int code = rc == SQLITE_DONE || rc == SQLITE_ROW ? SL_OK : store_sqlite_fail(store, rc);
    store_sqlite_give(store, sql, stmt);
    return code;
}

static int simple_run(struct store *base, enum store_sql sql)
{
    struct store_sqlite *store = sqlite_of(base);
    sqlite3_stmt *stmt = NULL;
    int code = store_sqlite_take(store, sql, &stmt);
    return code != SL_OK ? code : store_sqlite_run(store, sql, stmt);
}

static int sqlite_begin(struct store *base)
{
    return simple_run(base, SQL_BEGIN);
}

static int sqlite_commit(struct store *base)
{
    return simple_run(base, SQL_COMMIT);
}

static void sqlite_rollback(struct store *base)
{
    struct store_sqlite *store = sqlite_of(base);
    /* SQLite has rolled back by itself after some failures, among them a full disk. The sentence of
     * the failure that led here must stay. */
    struct sl_failure why = base->why;
    if (!sqlite3_get_autocommit(store->db))
        simple_run(base, SQL_ROLLBACK);
    base->why = why;
}

static void sqlite_close(struct store *base)
{
    struct store_sqlite *store = sqlite_of(base);
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(store->cached[i]);
    sqlite3_close(store->db);
    /* Last, so that the next holder finds the file at rest. */
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store);
}

/* ---- opening ---- */

static int lock_take(struct store_sqlite *store)
{
    char path[STORE_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s.lock", store->path);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0) {
        int code = sl_error_from_errno(errno);
        if (code == SL_ENOENT)
            return store_fail(&store->base, code, "the folder of %.150s is not there; make it",
                              store->path);
        return store_fail(&store->base, code, "%.150s cannot be opened: %s", path, strerror(errno));
    }
    char pid[24] = "";
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t got = pread(store->lock_fd, pid, sizeof pid - 1, 0);
        pid[got > 0 ? got : 0] = '\0';
        long holder = strtol(pid, NULL, 10);
        if (holder > 0)
            return store_fail(&store->base, SL_EBUSY,
                              "another sluiced (pid %ld) already uses %.130s; stop it or choose "
                              "another --data",
                              holder, store->path);
        return store_fail(&store->base, SL_EBUSY,
                          "another sluiced already uses %.130s; stop it or choose another --data",
                          store->path);
    }
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* The number is for people; a full disk must not keep the daemon from starting. */
    bool noted = ftruncate(store->lock_fd, 0) == 0 &&
                 pwrite(store->lock_fd, pid, (size_t)length, 0) == length;
    (void)noted;
    return SL_OK;
}

/* SQLite would make the file readable by everybody. Only when it is absent: closing a descriptor of a
 * file that SQLite has open would drop SQLite's locks on it. */
static int file_make(struct store_sqlite *store)
{
    struct stat st;
    if (lstat(store->path, &st) == 0) {
        if (S_ISREG(st.st_mode))
            return SL_OK;
        return store_fail(&store->base, SL_EINVAL,
                          "%.150s is no regular file; choose another --data", store->path);
    }
    int fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return store_fail(&store->base, sl_error_from_errno(errno), "%.150s cannot be made: %s",
                          store->path, strerror(errno));
    close(fd);
    return SL_OK;
}

static int pragmas_set(struct store_sqlite *store)
{
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    sqlite3_extended_result_codes(store->db, 1);
    int rc = sqlite3_exec(store->db,
                          "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;"
                          "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
                          "PRAGMA cache_size = -8192;",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK && store->base.readonly)
        rc = sqlite3_exec(store->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return store_sqlite_fail(store, rc);
    if (store->base.readonly)
        return SL_OK;

    sqlite3_stmt *stmt = NULL;
    rc = sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    const char *mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    int code = SL_OK;
    if (rc != SQLITE_ROW)
        code = store_sqlite_fail(store, rc);
    else if (!mode || strcmp(mode, "wal") != 0)
        code = store_fail(&store->base, SL_EIO,
                          "%.120s: its file system cannot share memory, which the store needs; "
                          "put --data on a local disk",
                          store->path);
    sqlite3_finalize(stmt);
    if (code != SL_OK)
        return code;
    /* After a burst the log file shrinks to this at its next reset. */
    rc = sqlite3_exec(store->db, "PRAGMA journal_size_limit = 67108864", NULL, NULL, NULL);
    return rc == SQLITE_OK ? SL_OK : store_sqlite_fail(store, rc);
}

static int db_open(struct store_sqlite *store)
{
    /* A reader needs the write flag to take part in the shared memory of the log; query_only keeps it
     * from writing rows. */
    int rc =
        sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        int code = code_of(store, rc);
        if (code == SL_ENOENT)
            return store_fail(&store->base, code,
                              "there is no store at %.150s; start sluiced there once", store->path);
        return store_sqlite_fail(store, rc);
    }
    int code = pragmas_set(store);
    return code != SL_OK ? code : store_sqlite_schema_open(store);
}

static int sqlite_open(const char *place, bool readonly, struct store **out, struct sl_failure *why)
{
    /* ":memory:" and its like would forget everything. */
    if (place[0] == ':' || strlen(place) >= STORE_PATH_BYTES)
        return sl_fail(why, SL_EINVAL, "\"%.80s\" is no path for a store", place);
    struct store_sqlite *store = calloc(1, sizeof *store);
    if (!store)
        return sl_fail(why, SL_ENOMEM, "not enough memory to open %.150s", place);
    store->base.readonly = readonly;
    store->lock_fd = -1;
    snprintf(store->path, sizeof store->path, "%s", place);

    int code = readonly ? SL_OK : lock_take(store);
    if (code == SL_OK && !readonly)
        code = file_make(store);
    if (code == SL_OK)
        code = db_open(store);
    if (code != SL_OK) {
        if (why)
            *why = store->base.why;
        sqlite_close(&store->base);
        return code;
    }
    *out = &store->base;
    return SL_OK;
}

static int sqlite_farm_id(struct store *base, char text[NODE_UUID_BYTES])
{
    char id[NODE_UUID_BYTES] = "";
    int code = store_sqlite_get_meta(sqlite_of(base), "farm_id", id, NODE_UUID_BYTES - 1);
    if (code == SL_OK)
        memcpy(text, id, sizeof id);
    return code;
}

static int sqlite_secret(struct store *base, uint8_t secret[STORE_SECRET_BYTES])
{
    return store_sqlite_get_meta(sqlite_of(base), "secret", secret, STORE_SECRET_BYTES);
}

const struct store_ops store_sqlite_ops = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .farm_id = sqlite_farm_id,
    .secret = sqlite_secret,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .put_video = store_sqlite_put_video,
    .put_route = store_sqlite_put_route,
    .put_task = store_sqlite_put_task,
    .put_report = store_sqlite_put_report,
    .put_node = store_sqlite_put_node,
    .put_counters = store_sqlite_put_counters,
    .delete_video = store_sqlite_delete_video,
    .delete_tasks = store_sqlite_delete_tasks,
    .clear_reports = store_sqlite_clear_reports,
    .prune_tasks = store_sqlite_prune_tasks,
    .load_counters = store_sqlite_load_counters,
    .walk_nodes = store_sqlite_walk_nodes,
    .walk_live_videos = store_sqlite_walk_live_videos,
    .walk_routes = store_sqlite_walk_routes,
    .walk_tasks = store_sqlite_walk_tasks,
    .walk_reports = store_sqlite_walk_reports,
    .get_video = store_sqlite_get_video,
    .find_external = store_sqlite_find_external,
    .get_task = store_sqlite_get_task,
    .list_videos = store_sqlite_list_videos,
    .count_videos = store_sqlite_count_videos,
};
