#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "scheduler/store/store_sqlite_priv.h"
#include "tests/store/fault_vfs.h"
#include "tests/store/store_build.h"

#define BATCH_TASKS 100

struct fixture {
    char folder[200];
    char path[240];
    char url[250];
};

static int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    build_folder_make(f->folder);
    snprintf(f->path, sizeof f->path, "%s/sluice.db", f->folder);
    snprintf(f->url, sizeof f->url, "sqlite:%s", f->path);
    *state = f;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    build_folder_remove(f->folder);
    free(f);
    return 0;
}

static int open_code(const char *url, bool readonly, struct sl_failure *why)
{
    struct store *store = NULL;
    *why = (struct sl_failure){0};
    int rc = store_open(url, readonly, &store, why);
    if (rc == SL_OK)
        store_close(&store);
    else
        assert_null(store);
    return rc;
}

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void sql_run(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- one daemon per file ---- */

static void test_second_daemon_is_refused_by_pid_until_the_first_is_killed(void **state)
{
    struct fixture *f = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no holder behind */
        struct store *store = NULL;
        if (store_open(f->url, false, &store, NULL) == SL_OK && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct sl_failure why;
    assert_int_equal(open_code(f->url, false, &why), SL_EBUSY);
    char expected[2 * SL_MESSAGE_BYTES];
    snprintf(expected, sizeof expected,
             "another sluiced (pid %d) already uses %s; stop it or choose another --data", child,
             f->path);
    assert_string_equal(why.message, expected);
    assert_int_equal(open_code(f->url, true, &why), SL_OK); /* readers need no lock */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(open_code(f->url, false, &why), SL_OK);
    close(ready[0]);
    close(ready[1]);
}

static int64_t pragma_read(struct store *store, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = ((struct store_sqlite *)store)->db;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

/* What a killed process cannot show: whether a commit waits for the disk. */
static void test_commits_wait_for_the_disk(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    assert_int_equal(pragma_read(store, "PRAGMA synchronous"), 2);
    assert_int_equal(pragma_read(store, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(pragma_read(store, "PRAGMA foreign_keys"), 1);
    struct store *reader = build_open(f->url, true);
    assert_int_equal(pragma_read(reader, "PRAGMA query_only"), 1);
    store_close(&reader);
    store_close(&store);
}

static void test_files_are_for_their_owner_only(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    build_ok(store, store_begin(store));
    build_ok(store, store_commit(store));
    const char *const suffixes[] = {"", ".lock", "-wal", "-shm"};
    for (size_t i = 0; i < 4; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
        struct stat st;
        if (stat(path, &st) == 0)
            assert_int_equal(st.st_mode & 0777, 0600);
        else
            assert_true(i >= 2);
    }
    store_close(&store);
}

/* ---- what is refused ---- */

static void test_urls_and_places_that_cannot_be_are_refused(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why;
    assert_int_equal(open_code("mysql:db", false, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "sqlite:PATH"));
    assert_int_equal(open_code("sqlite:", false, &why), SL_EINVAL);
    assert_int_equal(open_code("sqlite::memory:", false, &why), SL_EINVAL);
    assert_int_equal(open_code(f->url, true, &why), SL_ENOENT);
    assert_non_null(strstr(why.message, "start sluiced there once"));
    char url[300];
    snprintf(url, sizeof url, "sqlite:%s/absent/sluice.db", f->folder);
    assert_int_equal(open_code(url, false, &why), SL_ENOENT);
    assert_non_null(strstr(why.message, "folder of"));
    snprintf(url, sizeof url, "sqlite:%s", f->folder);
    assert_int_equal(open_code(url, false, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "no regular file"));
    snprintf(url, sizeof url, "%s.lock", f->folder);
    unlink(url);
}

static void test_foreign_files_are_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why;
    file_write(f->path, "this was never a database, and it is longer than a header of one hundred "
                        "bytes, which SQLite looks at first.\n");
    assert_int_equal(open_code(f->url, false, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "no store of sluice"));
    unlink(f->path);
    sql_run(f->path, "CREATE TABLE t(x); INSERT INTO t VALUES(1);");
    assert_int_equal(open_code(f->url, false, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "another program"));
    sql_run(f->path, "INSERT INTO t VALUES(2);");
}

static void test_newer_schema_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    store_close(&store);
    sql_run(f->path, "PRAGMA user_version = 99");
    struct sl_failure why;
    assert_int_equal(open_code(f->url, false, &why), SL_EVERSION);
    assert_non_null(strstr(why.message, "schema 99"));
    assert_int_equal(open_code(f->url, true, &why), SL_EVERSION);
}

static int entry_check(void *arg, const struct store_task *task)
{
    (void)arg;
    assert_int_equal(task->entry, 0);
    assert_int_equal(task->kind, DEVICE_CPU);
    assert_int_equal(task->sessions, 0);
    return 45;
}

/* A database of before routes: its tasks ran on CPUs. */
static void test_tasks_of_an_older_schema_are_the_cpus(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    struct store_video video = build_video(1);
    struct store_task task = build_task(7, 1);
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_put_task(store, &task));
    build_ok(store, store_commit(store));
    store_close(&store);
    sql_run(f->path,
            "DROP TABLE routes; ALTER TABLE tasks DROP COLUMN entry; ALTER TABLE tasks DROP COLUMN "
            "kind; ALTER TABLE tasks DROP COLUMN lease_sessions; PRAGMA user_version = 3");
    store = build_open(f->url, false);
    assert_int_equal(store_get_task(store, task.task, entry_check, NULL), 45);
    struct store_route route = {.video = {1}, .codec = CODEC_H264, .count = 1};
    build_ok(store, store_begin(store));
    build_ok(store, store_put_route(store, &route));
    build_ok(store, store_commit(store));
    store_close(&store);
}

static void test_migrations_apply_once_in_order_and_whole(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    struct store_sqlite *sqlite = (struct store_sqlite *)store;
    sqlite3_exec(sqlite->db, "PRAGMA user_version = 1", NULL, NULL, NULL);
    const struct store_migration list[] = {
        {"never applied again"},
        {"CREATE TABLE later(x); INSERT INTO later VALUES(1);"},
        {"INSERT INTO later SELECT count(*) + 1 FROM later;"},
        {"INSERT INTO later VALUES(9); INSERT INTO absent VALUES(1);"},
    };
    build_ok(store, store_sqlite_migrate(sqlite, list, 3));
    build_ok(store, store_sqlite_migrate(sqlite, list, 3));
    assert_int_not_equal(store_sqlite_migrate(sqlite, list, 4), SL_OK);
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(sqlite->db,
                       "SELECT group_concat(x), (SELECT user_version FROM pragma_user_version) "
                       "FROM later",
                       -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "1,2");
    assert_int_equal(sqlite3_column_int(stmt, 1), 3);
    sqlite3_finalize(stmt);
    store_close(&store);
}

static int video_never(void *arg, const struct store_video *video)
{
    (void)arg;
    (void)video;
    fail_msg("a damaged row was handed out");
    return 0;
}

static void test_damaged_row_is_named(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    struct store_video video = build_video(1);
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_commit(store));
    store_close(&store);
    sql_run(f->path, "UPDATE videos SET priority = 77");
    store = build_open(f->url, false);
    assert_int_equal(store_walk_live_videos(store, video_never, NULL), SL_EIO);
    assert_non_null(strstr(store_why(store), "video 1 is damaged"));
    store_close(&store);
}

/* ---- durability and faults ---- */

/* Batch n: task rows 1 … BATCH_TASKS all with attempts n, and a video n. */
static int batch_put(struct store *store, int n)
{
    int rc = store_begin(store);
    struct store_video video = build_video(n);
    video.policy_text = "a policy: with some text to fill pages\n";
    if (rc == SL_OK)
        rc = store_put_video(store, &video);
    for (int i = 1; i <= BATCH_TASKS && rc == SL_OK; i++) {
        struct store_task task = build_task(i, 1);
        task.attempts = n;
        rc = store_put_task(store, &task);
    }
    if (rc == SL_OK)
        return store_commit(store);
    store_rollback(store);
    return rc;
}

struct attempts {
    int count;
    int32_t first;
};

static int attempts_see(void *arg, const struct store_task *task)
{
    struct attempts *seen = arg;
    if (seen->count++ == 0)
        seen->first = task->attempts;
    assert_int_equal(task->attempts, seen->first);
    return 0;
}

/* The number of the last whole batch; fails on a half one. */
static int batch_last(struct store *store)
{
    struct attempts seen = {0};
    build_ok(store, store_walk_tasks(store, (struct video_id){1}, attempts_see, &seen));
    if (seen.count == 0) {
        assert_false(build_has_video(store, 1));
        return 0;
    }
    assert_int_equal(seen.count, BATCH_TASKS);
    for (int n = 1; n <= seen.first; n++)
        assert_true(build_has_video(store, n));
    assert_false(build_has_video(store, seen.first + 1));
    return seen.first;
}

static void test_killed_daemon_keeps_every_acknowledged_batch_whole(void **state)
{
    struct fixture *f = *state;
    const char *given = getenv("SLUICE_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    srandom(seed);
    int last = 0;
    for (int round = 0; round < 6; round++) {
        int acks[2];
        assert_int_equal(pipe(acks), 0);
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            struct store *store = NULL;
            if (store_open(f->url, false, &store, NULL) != SL_OK)
                _exit(1);
            for (int n = last + 1;; n++)
                if (batch_put(store, n) != SL_OK || write(acks[1], &n, sizeof n) != sizeof n)
                    _exit(1);
        }
        close(acks[1]);
        int acked = last;
        long wanted = 1 + random() % 10;
        for (long i = 0; i < wanted; i++)
            assert_int_equal(read(acks[0], &acked, sizeof acked), sizeof acked);
        usleep((useconds_t)(random() % 3000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(acks[0], &acked, sizeof acked) == sizeof acked)
            ;
        close(acks[0]);
        struct store *store = build_open(f->url, false);
        int found = batch_last(store);
        assert_in_range(found, acked, acked + 1);
        last = found;
        store_close(&store);
    }
}

static void fault_try(struct fixture *f, enum fault_kind kind, int expected, int *out_struck)
{
    struct store *store = build_open(f->url, false);
    int n = batch_last(store);
    *out_struck = 0;
    for (int nth = 1; nth < 200; nth++) {
        fault_vfs_fail(kind, nth);
        int rc = batch_put(store, n + 1);
        int struck = fault_vfs_struck();
        fault_vfs_fail(FAULT_NONE, 0);
        if (rc == SL_OK) {
            /* A checkpoint after the commit may fail without a word; the log keeps all. */
            assert_int_equal(batch_last(store), ++n);
            if (!struck)
                break;
            continue;
        }
        ++*out_struck;
        assert_int_equal(rc, expected);
        assert_non_null(strstr(store_why(store), f->path));
        assert_int_equal(batch_last(store), n);
        build_ok(store, batch_put(store, ++n)); /* the same batch, once the fault is gone */
        assert_int_equal(batch_last(store), n);
        if (nth % 3 == 0) {
            store_close(&store);
            store = build_open(f->url, false);
            assert_int_equal(batch_last(store), n);
        }
    }
    store_close(&store);
}

static void test_each_failing_write_leaves_nothing_and_the_batch_can_be_repeated(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    build_ok(store, batch_put(store, 1));
    store_close(&store);
    const struct {
        enum fault_kind kind;
        int code;
    } faults[] = {{FAULT_FULL, SL_ENOSPC},
                  {FAULT_FULL_LONG, SL_ENOSPC},
                  {FAULT_WRITE, SL_EIO},
                  {FAULT_SYNC, SL_EIO}};
    for (size_t i = 0; i < 4; i++) {
        int struck;
        fault_try(f, faults[i].kind, faults[i].code, &struck);
        assert_true(struck > 0);
    }
}

static void test_fault_while_opening_is_reported_and_leaves_an_openable_store(void **state)
{
    struct fixture *f = *state;
    int failed = 0;
    for (int nth = 1; nth < 100; nth++) {
        struct sl_failure why;
        fault_vfs_fail(FAULT_FULL_LONG, nth);
        int rc = open_code(f->url, false, &why);
        int struck = fault_vfs_struck();
        fault_vfs_fail(FAULT_NONE, 0);
        if (rc != SL_OK) {
            failed++;
            assert_int_equal(rc, SL_ENOSPC);
        }
        assert_int_equal(open_code(f->url, false, &why), SL_OK);
        if (!struck)
            break;
        fixture_close(state);
        fixture_open(state);
        f = *state;
    }
    assert_true(failed > 0);
}

static void test_full_file_system_is_named_and_work_goes_on_when_space_is_back(void **state)
{
    struct fixture *f = *state;
    char place[220];
    snprintf(place, sizeof place, "%s/small", f->folder);
    assert_int_equal(mkdir(place, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", place, "tmpfs", 0, "size=1m") != 0) {
        print_message("skipped: no right to mount a small tmpfs\n");
        skip();
    }
    char url[256];
    char filler[256];
    snprintf(url, sizeof url, "sqlite:%s/sluice.db", place);
    snprintf(filler, sizeof filler, "%s/filler", place);
    struct store *store = build_open(url, false);
    build_ok(store, batch_put(store, 1));

    int fd = open(filler, O_CREAT | O_WRONLY, 0600);
    static char block[4096];
    while (write(fd, block, sizeof block) > 0)
        ;
    int n = 2;
    int rc;
    while ((rc = batch_put(store, n)) == SL_OK && n < 1000)
        n++;
    assert_int_equal(rc, SL_ENOSPC);
    assert_non_null(strstr(store_why(store), place));
    assert_non_null(strstr(store_why(store), "free some"));
    assert_int_equal(batch_last(store), n - 1);
    assert_int_equal(batch_put(store, n), SL_ENOSPC);
    assert_int_equal(ftruncate(fd, 0), 0);
    build_ok(store, batch_put(store, n));
    store_close(&store);
    store = build_open(url, false);
    assert_int_equal(batch_last(store), n);
    store_close(&store);
    close(fd);
    umount(place);
}

/* ---- speed ---- */

static void test_reads_use_their_indices(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    const struct {
        enum store_sql sql;
        const char *index;
    } expected[] = {
        {SQL_WALK_LIVE_VIDEOS, "videos_live"},     {SQL_WALK_TASKS, "tasks_video"},
        {SQL_WALK_REPORTS, "tasks_video"},         {SQL_FIND_EXTERNAL, "videos_external"},
        {SQL_LIST_VIDEOS_STATUS, "videos_status"}, {SQL_LIST_VIDEOS, "INTEGER PRIMARY KEY"},
        {SQL_DELETE_TASKS, "tasks_video"},         {SQL_CLEAR_REPORTS, "tasks_video"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char sql[4096];
        char plan[1024] = "";
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", store_sqlite_text(expected[i].sql));
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(
            sqlite3_prepare_v2(((struct store_sqlite *)store)->db, sql, -1, &stmt, NULL),
            SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW)
            snprintf(plan + strlen(plan), sizeof plan - strlen(plan), "%s\n",
                     (const char *)sqlite3_column_text(stmt, 3));
        sqlite3_finalize(stmt);
        if (!strstr(plan, expected[i].index) || strstr(plan, "TEMP B-TREE"))
            fail_msg("%s\n%s", sql, plan);
    }
    store_close(&store);
}

static void test_large_batches_are_written_and_measured(void **state)
{
    struct fixture *f = *state;
    struct store *store = build_open(f->url, false);
    enum { ROWS = 2000, BATCHES = 10 };
    struct store_video video = build_video(1);
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_commit(store));
    for (int pass = 0; pass < 2; pass++) {
        int64_t start_ns = sl_now_ns();
        int64_t puts_ns = 0;
        for (int b = 0; b < BATCHES; b++) {
            int64_t put_ns = sl_now_ns();
            build_ok(store, store_begin(store));
            for (int i = 0; i < ROWS; i++) {
                struct store_task task = build_task(b * ROWS + i + 1, 1);
                task.token.v = (uint64_t)task.task.v + 1000000;
                task.attempts = pass;
                build_ok(store, store_put_task(store, &task));
            }
            puts_ns += sl_now_ns() - put_ns;
            build_ok(store, store_commit(store));
        }
        int64_t all_ns = sl_now_ns() - start_ns;
        print_message("%s: %d rows, %.0f upserts/s in the transaction, %.0f/s with commits\n",
                      pass ? "update" : "insert", ROWS * BATCHES, 1e9 * ROWS * BATCHES / puts_ns,
                      1e9 * ROWS * BATCHES / all_ns);
    }
    assert_int_equal(build_task_count(store, 1), ROWS * BATCHES);
    store_close(&store);
}

int main(void)
{
    fault_vfs_install();
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        CASE(test_second_daemon_is_refused_by_pid_until_the_first_is_killed),
        CASE(test_commits_wait_for_the_disk),
        CASE(test_files_are_for_their_owner_only),
        CASE(test_urls_and_places_that_cannot_be_are_refused),
        CASE(test_foreign_files_are_refused_and_left_alone),
        CASE(test_newer_schema_is_refused),
        CASE(test_tasks_of_an_older_schema_are_the_cpus),
        CASE(test_migrations_apply_once_in_order_and_whole),
        CASE(test_damaged_row_is_named),
        CASE(test_killed_daemon_keeps_every_acknowledged_batch_whole),
        CASE(test_each_failing_write_leaves_nothing_and_the_batch_can_be_repeated),
        CASE(test_fault_while_opening_is_reported_and_leaves_an_openable_store),
        CASE(test_full_file_system_is_named_and_work_goes_on_when_space_is_back),
        CASE(test_reads_use_their_indices),
        CASE(test_large_batches_are_written_and_measured),
    };
#undef CASE
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
