#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "scheduler/store/store_sqlite_priv.h"

/* "sluc" in the file's header tells our file from another program's. */
#define APPLICATION_ID 0x736c7563

/* video_counts is kept by triggers because the status page asks for it often and counting millions of
 * finished videos each time would not do. 5 is VIDEO_READY. */
static const struct store_migration migrations[] = {
    {"CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
     "CREATE TABLE counters("
     " id INTEGER PRIMARY KEY CHECK(id = 1),"
     " next_task INTEGER NOT NULL, next_token INTEGER NOT NULL, next_node INTEGER NOT NULL);"
     "CREATE TABLE nodes("
     " id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT,"
     " spot INTEGER NOT NULL, drain INTEGER NOT NULL, drain_deadline_unix_ns INTEGER NOT NULL);"
     "CREATE TABLE videos("
     " id INTEGER PRIMARY KEY, provider TEXT, external_id TEXT, priority INTEGER NOT NULL,"
     " status INTEGER NOT NULL, name TEXT, policy_name TEXT, policy_text TEXT, original_key TEXT,"
     " original_bytes INTEGER NOT NULL, original_sha256 BLOB, created_unix_ns INTEGER NOT NULL,"
     " started_unix_ns INTEGER NOT NULL, completed_unix_ns INTEGER NOT NULL, info BLOB,"
     " index_key TEXT, plan_key TEXT, version INTEGER NOT NULL, published_key TEXT, result BLOB,"
     " cancelled INTEGER NOT NULL, steps_done INTEGER NOT NULL, steps_skipped INTEGER NOT NULL,"
     " failure_step INTEGER NOT NULL, failure_code INTEGER NOT NULL, failure_message TEXT);"
     "CREATE UNIQUE INDEX videos_external ON videos(provider, external_id)"
     " WHERE provider IS NOT NULL AND external_id IS NOT NULL;"
     "CREATE INDEX videos_status ON videos(status, id);"
     "CREATE INDEX videos_live ON videos(id) WHERE status <> 5;"
     "CREATE TABLE tasks("
     " id INTEGER PRIMARY KEY,"
     " video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE"
     "  DEFERRABLE INITIALLY DEFERRED,"
     " step INTEGER NOT NULL, piece INTEGER NOT NULL, wait_mask INTEGER NOT NULL,"
     " codec INTEGER NOT NULL, needs_codec INTEGER NOT NULL, rank INTEGER NOT NULL,"
     " cpu_millicores INTEGER NOT NULL, sessions INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
     " vram_bytes INTEGER NOT NULL, work_mpix INTEGER NOT NULL, fetch_bytes INTEGER NOT NULL,"
     " state INTEGER NOT NULL, attempts INTEGER NOT NULL, losses INTEGER NOT NULL,"
     " preroll INTEGER NOT NULL, not_before_unix_ns INTEGER NOT NULL, token INTEGER NOT NULL,"
     " node INTEGER NOT NULL, granted_unix_ns INTEGER NOT NULL, avoid0 INTEGER NOT NULL,"
     " avoid1 INTEGER NOT NULL, avoid2 INTEGER NOT NULL, avoid3 INTEGER NOT NULL,"
     " lost_nodes INTEGER NOT NULL, failure_code INTEGER NOT NULL, failure_message TEXT);"
     "CREATE INDEX tasks_video ON tasks(video, id);"
     "CREATE TABLE reports("
     " task INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE"
     "  DEFERRABLE INITIALLY DEFERRED,"
     " bytes BLOB NOT NULL);"
     "CREATE TABLE video_counts(status INTEGER PRIMARY KEY, count INTEGER NOT NULL);"
     "CREATE TRIGGER videos_counted_in AFTER INSERT ON videos BEGIN"
     " INSERT INTO video_counts VALUES(NEW.status, 1)"
     "  ON CONFLICT(status) DO UPDATE SET count = count + 1; END;"
     "CREATE TRIGGER videos_counted_out AFTER DELETE ON videos BEGIN"
     " UPDATE video_counts SET count = count - 1 WHERE status = OLD.status; END;"
     "CREATE TRIGGER videos_counted_over AFTER UPDATE OF status ON videos"
     " WHEN NEW.status <> OLD.status BEGIN"
     " UPDATE video_counts SET count = count - 1 WHERE status = OLD.status;"
     " INSERT INTO video_counts VALUES(NEW.status, 1)"
     "  ON CONFLICT(status) DO UPDATE SET count = count + 1; END;"},
    {"ALTER TABLE tasks ADD COLUMN finished_unix_ns INTEGER NOT NULL DEFAULT 0;"},
    {"ALTER TABLE videos ADD COLUMN stream_asked INTEGER NOT NULL DEFAULT -1;"},
    /* Tasks of before ran on CPUs, which is kind 0, and their codecs have no rows: the core takes that for a route of
     * CPUs alone. */
    {"CREATE TABLE routes("
     " video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE"
     "  DEFERRABLE INITIALLY DEFERRED,"
     " codec INTEGER NOT NULL, count INTEGER NOT NULL, kind0 INTEGER NOT NULL,"
     " longer_ns0 INTEGER NOT NULL, kind1 INTEGER NOT NULL, longer_ns1 INTEGER NOT NULL,"
     " kind2 INTEGER NOT NULL, longer_ns2 INTEGER NOT NULL, kind3 INTEGER NOT NULL,"
     " longer_ns3 INTEGER NOT NULL, mix INTEGER NOT NULL, ten_bit INTEGER NOT NULL,"
     " cpu_millicores INTEGER NOT NULL, sessions INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
     " vram_bytes INTEGER NOT NULL, PRIMARY KEY(video, codec)) WITHOUT ROWID;"
     "ALTER TABLE tasks ADD COLUMN entry INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE tasks ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE tasks ADD COLUMN lease_sessions INTEGER NOT NULL DEFAULT 0;"},
};

_Static_assert(POLICY_ROUTE_MAX == 4, "a route has four entries in the table");
_Static_assert(VIDEO_READY == 5, "the index of live videos names VIDEO_READY by its number");

static int number_read(struct store_sqlite *store, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    int code = rc == SQLITE_ROW ? SL_OK : store_sqlite_fail(store, rc);
    sqlite3_finalize(stmt);
    return code;
}

static int meta_make(struct store_sqlite *store)
{
    uint8_t random[16 + STORE_SECRET_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return store_fail(&store->base, SL_EIO,
                          "the kernel gave no random bytes for the store's id");
    /* A version 4 UUID. */
    random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
    random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
    char id[NODE_UUID_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < 16; i++)
        at += (size_t)snprintf(id + at, sizeof id - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", random[i]);

    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(store->db, "INSERT INTO meta VALUES('farm_id', ?), ('secret', ?)",
                                -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_blob(stmt, 1, id, (int)strlen(id), SQLITE_STATIC);
        sqlite3_bind_blob(stmt, 2, random + 16, STORE_SECRET_BYTES, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
    }
    int code = rc == SQLITE_DONE ? SL_OK : store_sqlite_fail(store, rc);
    sqlite3_finalize(stmt);
    return code;
}

static int step_apply(struct store_sqlite *store, const struct store_migration *migration,
                      int number)
{
    char stamp[96];
    snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, number);
    int code = SL_OK;
    int rc = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(store->db, migration->sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK && number == 1)
        code = meta_make(store);
    if (rc == SQLITE_OK && code == SL_OK)
        rc = sqlite3_exec(store->db, stamp, NULL, NULL, NULL);
    if (rc == SQLITE_OK && code == SL_OK)
        rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        code = store_sqlite_fail(store, rc);
    if (code != SL_OK && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

int store_sqlite_migrate(struct store_sqlite *store, const struct store_migration *list, int count)
{
    int64_t version = 0;
    int64_t application = 0;
    int64_t tables = 0;
    int code = number_read(store, "PRAGMA user_version", &version);
    if (code == SL_OK)
        code = number_read(store, "PRAGMA application_id", &application);
    if (code == SL_OK)
        code = number_read(store, "SELECT count(*) FROM sqlite_schema", &tables);
    if (code != SL_OK)
        return code;
    if (application != APPLICATION_ID && (tables > 0 || version != 0))
        return store_fail(&store->base, SL_EINVAL,
                          "%s is a database of another program; choose another --data",
                          store->path);
    if (version > count)
        return store_fail(&store->base, SL_EVERSION,
                          "%s has schema %lld and this sluiced knows %d; start the newer sluiced "
                          "that wrote it",
                          store->path, (long long)version, count);
    if (version < count && store->base.readonly)
        return store_fail(&store->base, SL_EVERSION,
                          "%s has schema %lld and this program needs %d; start sluiced on it once",
                          store->path, (long long)version, count);
    for (int number = (int)version + 1; number <= count && code == SL_OK; number++)
        code = step_apply(store, &list[number - 1], number);
    return code;
}

int store_sqlite_schema_open(struct store_sqlite *store)
{
    return store_sqlite_migrate(store, migrations, sizeof migrations / sizeof migrations[0]);
}
