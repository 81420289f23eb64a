#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "objects/objects_local.h"
#include "tests/objects/objects_build.h"

struct fixture {
    char folder[200];
    struct objects *objects;
};

static int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    build_folder_make(f->folder);
    f->objects = build_local(f->folder);
    *state = f;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    objects_close(&f->objects);
    build_folder_remove(f->folder);
    free(f);
    return 0;
}

static void ok(int rc, const struct sl_failure *why)
{
    if (rc != SL_OK)
        fail_msg("%s: %s", sl_error_word(rc), why->message);
}

static void path_in(const struct fixture *f, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", f->folder, name);
}

static void put(struct objects *objects, const char *key)
{
    struct sl_failure why = {0};
    ok(build_put(objects, NULL, key, 100, 1, &why), &why);
}

/* ---- opening ---- */

static void test_store_keeps_its_id_and_a_plain_folder_is_none(void **state)
{
    struct fixture *f = *state;
    char folder[512];
    char id[NODE_UUID_BYTES];
    char again[NODE_UUID_BYTES];
    struct sl_failure why = {0};
    struct objects *other = NULL;
    path_in(f, "not/yet/there", folder);
    assert_int_equal(objects_open_local(folder, false, &other, id, &why), SL_ENOENT);
    ok(objects_open_local(folder, true, &other, id, &why), &why);
    objects_close(&other);
    ok(objects_open_local(folder, false, &other, again, &why), &why);
    objects_close(&other);
    assert_string_equal(id, again);
    assert_int_equal(strlen(id), 36);
    ok(objects_open_local(f->folder, true, &other, again, &why), &why);
    objects_close(&other);
    assert_string_not_equal(id, again);

    path_in(f, "plain", folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    assert_int_equal(objects_open_local(folder, false, &other, id, &why), SL_ENOENT);
    assert_non_null(strstr(why.message, "no object store"));
    assert_null(other);
}

static void test_leftovers_older_than_an_hour_are_swept(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = {"tmp/old", "tmp/young"};
    char path[512];
    for (int i = 0; i < 2; i++) {
        path_in(f, names[i], path);
        close(open(path, O_CREAT | O_WRONLY, 0600));
        struct timespec times[2] = {{.tv_sec = time(NULL) - (i == 0 ? 3700 : 3500)}};
        times[1] = times[0];
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    put(f->objects, "tmpfile/x"); /* starts alike, is no leftover */
    objects_close(&f->objects);
    struct sl_failure why = {0};
    ok(objects_open_local(f->folder, false, &f->objects, NULL, &why), &why);
    path_in(f, names[0], path);
    assert_int_equal(access(path, F_OK), 0); /* who only looks does not sweep */
    objects_close(&f->objects);
    f->objects = build_local(f->folder);
    assert_int_not_equal(access(path, F_OK), 0);
    path_in(f, names[1], path);
    assert_int_equal(access(path, F_OK), 0);
    build_expect(f->objects, NULL, "tmpfile/x", 100, 1);
}

static void test_own_names_of_the_store_are_no_objects(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    int64_t bytes;
    int fd;
    const char *const names[] = {"tmp", "tmp/x", ".sluice-store"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(build_put(f->objects, NULL, names[i], 1, 1, &why), SL_EINVAL);
        assert_int_equal(objects_put_bytes(f->objects, NULL, names[i], "", 0, true, &why),
                         SL_EINVAL);
        assert_int_equal(objects_delete(f->objects, NULL, names[i], &why), SL_EINVAL);
        assert_int_equal(objects_size(f->objects, NULL, names[i], &bytes, &why), SL_ENOENT);
        assert_int_equal(objects_open_fd(f->objects, names[i], &fd), SL_ENOENT);
    }
}

/* ---- putting ---- */

static int scratch_write(struct objects *objects, size_t length, uint32_t seed, uint8_t *sum)
{
    int fd = -1;
    struct sl_failure why = {0};
    ok(objects_open_scratch(objects, &fd, &why), &why);
    uint8_t *bytes = malloc(length);
    build_bytes(bytes, length, seed);
    build_sum(bytes, length, sum);
    assert_int_equal(write(fd, bytes, length), length);
    free(bytes);
    return fd;
}

static void test_scratch_is_moved_not_copied(void **state)
{
    struct fixture *f = *state;
    if (!((struct objects_local *)f->objects)->unnamed) {
        print_message("skipped: the file system has no files without a name\n");
        skip();
    }
    struct sl_failure why = {0};
    uint8_t sum[OBJECTS_SHA256_BYTES];
    int fd = scratch_write(f->objects, 50000, 3, sum);
    ok(objects_put_new(f->objects, NULL, "a/b/moved", fd, 50000, sum, &why), &why);
    struct stat scratch;
    struct stat object;
    char path[512];
    path_in(f, "a/b/moved", path);
    assert_int_equal(fstat(fd, &scratch), 0);
    assert_int_equal(stat(path, &object), 0);
    assert_int_equal(scratch.st_ino, object.st_ino);
    assert_int_equal(object.st_mode & 0777, 0444);
    build_expect(f->objects, NULL, "a/b/moved", 50000, 3);
    /* Given again under another name it is copied: two objects never share bytes. */
    ok(objects_put_new(f->objects, NULL, "a/b/second", fd, 50000, sum, &why), &why);
    path_in(f, "a/b/second", path);
    assert_int_equal(stat(path, &object), 0);
    assert_int_not_equal(scratch.st_ino, object.st_ino);
    /* Removed and given once more: it has no name again and cannot get one. */
    ok(objects_delete(f->objects, NULL, "a/b/moved", &why), &why);
    ok(objects_put_new(f->objects, NULL, "a/b/third", fd, 50000, sum, &why), &why);
    build_expect(f->objects, NULL, "a/b/third", 50000, 3);
    /* Only a part of it is wanted. */
    uint8_t bytes[1000];
    int part = scratch_write(f->objects, 2000, 3, sum);
    build_bytes(bytes, sizeof bytes, 3);
    build_sum(bytes, sizeof bytes, sum);
    ok(objects_put_new(f->objects, NULL, "part", part, 1000, sum, &why), &why);
    build_expect(f->objects, NULL, "part", 1000, 3);
    close(part);
    close(fd);
}

static void test_scratch_with_wrong_sum_is_not_published(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    uint8_t sum[OBJECTS_SHA256_BYTES];
    int fd = scratch_write(f->objects, 500, 3, sum);
    sum[0] ^= 1;
    assert_int_equal(objects_put_new(f->objects, NULL, "x", fd, 500, sum, &why), SL_EIO);
    close(fd);
    assert_int_equal(build_file_count(f->folder), 1); /* the id alone */
}

static void test_nothing_is_left_behind_by_puts(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    put(f->objects, "a/b");
    assert_int_equal(build_put(f->objects, NULL, "a/b", 100, 2, &why), SL_EEXIST);
    ok(objects_put_bytes(f->objects, NULL, "m", "1", 1, true, &why), &why);
    ok(objects_put_bytes(f->objects, NULL, "m", "2", 1, true, &why), &why);
    /* A folder has the name, or an object has the folder's. */
    assert_int_equal(build_put(f->objects, NULL, "a", 100, 2, &why), SL_ECONFLICT);
    assert_int_equal(build_put(f->objects, NULL, "a/b/c", 100, 2, &why), SL_ECONFLICT);
    assert_int_equal(objects_put_bytes(f->objects, NULL, "a", "2", 1, true, &why), SL_ECONFLICT);
    assert_int_equal(build_file_count(f->folder), 3);
}

/* The driver without openat2 and without nameless files, as on older kernels and network folders. */
static void test_plain_ways_do_the_same(void **state)
{
    struct fixture *f = *state;
    struct objects_local *local = (struct objects_local *)f->objects;
    struct sl_failure why = {0};
    uint8_t sum[OBJECTS_SHA256_BYTES];
    local->openat2 = false;
    local->unnamed = false;
    put(f->objects, "p/q/r");
    put(f->objects, "p/q/r");
    assert_int_equal(build_put(f->objects, NULL, "p/q/r", 100, 2, &why), SL_EEXIST);
    build_expect(f->objects, NULL, "p/q/r", 100, 1);
    int fd = scratch_write(f->objects, 5000, 3, sum);
    ok(objects_put_new(f->objects, NULL, "s", fd, 5000, sum, &why), &why);
    close(fd);
    build_expect(f->objects, NULL, "s", 5000, 3);
    char path[512];
    path_in(f, "link", path);
    assert_int_equal(symlink("p", path), 0);
    int64_t bytes;
    assert_int_equal(objects_size(f->objects, NULL, "link/q/r", &bytes, &why), SL_EACCES);
    assert_int_equal(build_file_count(f->folder), 4);
    ok(objects_delete(f->objects, NULL, "p/q/r", &why), &why);
    assert_int_equal(objects_size(f->objects, NULL, "p/q/r", &bytes, &why), SL_ENOENT);
}

static void test_symbolic_links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    char outside[200];
    char path[512];
    build_folder_make(outside);
    struct objects *other = build_local(outside);
    put(other, "secret");
    objects_close(&other);
    path_in(f, "out", path);
    assert_int_equal(symlink(outside, path), 0);
    path_in(f, "file", path);
    char target[300];
    snprintf(target, sizeof target, "%s/secret", outside);
    assert_int_equal(symlink(target, path), 0);
    put(f->objects, "in/x");
    path_in(f, "in/up", path);
    assert_int_equal(symlink("../../../../../../etc", path), 0);

    struct sl_failure why = {0};
    int64_t bytes;
    int fd;
    const char *const keys[] = {"out/secret", "file", "in/up/passwd"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(objects_size(f->objects, NULL, keys[i], &bytes, &why), SL_EACCES);
        assert_non_null(strstr(why.message, "symbolic link"));
        assert_int_equal(objects_open_fd(f->objects, keys[i], &fd), SL_EACCES);
    }
    assert_int_equal(build_put(f->objects, NULL, "out/new", 10, 1, &why), SL_EACCES);
    assert_int_equal(build_put(f->objects, NULL, "out/new/er", 10, 1, &why), SL_EACCES);
    assert_int_equal(objects_delete(f->objects, NULL, "out/secret", &why), SL_EACCES);
    ok(objects_delete_prefix(f->objects, "in", &why), &why);
    assert_int_equal(build_file_count(outside), 2);
    build_folder_remove(outside);
}

static void test_killed_writer_leaves_an_object_whole_or_absent(void **state)
{
    struct fixture *f = *state;
    const char *given = getenv("SLUICE_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    srandom(seed);
    enum { LENGTH = 3000000 };
    int whole = 0;
    int absent = 0;
    for (int round = 0; round < 40; round++) {
        char key[64];
        snprintf(key, sizeof key, "v/%d/x", round);
        struct objects_local *local = (struct objects_local *)f->objects;
        local->unnamed = round % 2 == 0 && local->unnamed;
        pid_t child = fork();
        if (child == 0)
            _exit(build_put(f->objects, NULL, key, LENGTH, (uint32_t)round, NULL) == SL_OK ? 0 : 1);
        usleep((useconds_t)(random() % 30000));
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        int64_t bytes = 0;
        int rc = objects_size(f->objects, NULL, key, &bytes, NULL);
        if (rc == SL_OK)
            build_expect(f->objects, NULL, key, LENGTH, (uint32_t)round);
        else
            assert_int_equal(rc, SL_ENOENT);
        assert_true(rc == SL_OK || !WIFEXITED(status)); /* what was acknowledged is there */
        whole += rc == SL_OK;
        absent += rc != SL_OK;
        /* The next one finishes the work in either case. */
        struct sl_failure why = {0};
        ok(build_put(f->objects, NULL, key, LENGTH, (uint32_t)round, &why), &why);
    }
    print_message("%d whole, %d absent\n", whole, absent);
}

static void test_full_file_system_is_named_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char place[512];
    path_in(f, "small", place);
    assert_int_equal(mkdir(place, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", place, "tmpfs", 0, "size=256k") != 0) {
        print_message("skipped: no right to mount a small tmpfs\n");
        skip();
    }
    struct objects *objects = build_local(place);
    struct sl_failure why = {0};
    ok(build_put(objects, NULL, "a", 100000, 1, &why), &why);
    for (int unnamed = 0; unnamed < 2; unnamed++) {
        ((struct objects_local *)objects)->unnamed = unnamed;
        assert_int_equal(build_put(objects, NULL, "b/c", 200000, 2, &why), SL_ENOSPC);
        assert_non_null(strstr(why.message, place));
        assert_non_null(strstr(why.message, "free some"));
        static char text[200000];
        assert_int_equal(objects_put_bytes(objects, NULL, "b/c", text, sizeof text, true, &why),
                         SL_ENOSPC);
        assert_int_equal(build_file_count(place), 2);
    }
    ok(objects_delete(objects, NULL, "a", &why), &why);
    ok(build_put(objects, NULL, "b/c", 200000, 2, &why), &why);
    build_expect(objects, NULL, "b/c", 200000, 2);
    objects_close(&objects);
    umount(place);
}

/* ---- listing ---- */

struct seen {
    struct objects *objects;
    char keys[64][OBJECT_KEY_BYTES];
    int count;
    bool deletes;
    int stop_after;
};

static int key_see(void *arg, const char *key, int64_t bytes)
{
    struct seen *seen = arg;
    assert_int_equal(bytes, 100);
    snprintf(seen->keys[seen->count++], OBJECT_KEY_BYTES, "%s", key);
    if (seen->deletes)
        ok(objects_delete(seen->objects, NULL, key, NULL), &(struct sl_failure){0});
    return seen->stop_after && seen->count == seen->stop_after ? 9 : 0;
}

static void test_listing_is_in_byte_order_below_a_folder(void **state)
{
    struct fixture *f = *state;
    /* '-' and '.' sort before '/', letters and digits after. */
    static const char *const ordered[] = {"a-b",  "a.b", "a/b/c-d", "a/b/c/d", "a/b/c0",
                                          "a/b0", "a0",  "ab/c",    "b/z"};
    enum { COUNT = sizeof ordered / sizeof ordered[0] };
    for (int i = 0; i < COUNT; i++)
        put(f->objects, ordered[(i * 5 + 3) % COUNT]);
    struct seen seen = {.objects = f->objects};
    struct sl_failure why = {0};
    ok(objects_list(f->objects, "", key_see, &seen, &why), &why);
    assert_int_equal(seen.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_string_equal(seen.keys[i], ordered[i]);

    const char *const prefixes[] = {"a", "a/"};
    for (int i = 0; i < 2; i++) {
        seen.count = 0;
        ok(objects_list(f->objects, prefixes[i], key_see, &seen, &why), &why);
        assert_int_equal(seen.count, 4);
        assert_string_equal(seen.keys[0], "a/b/c-d");
        assert_string_equal(seen.keys[3], "a/b0");
    }
    seen.count = 0;
    ok(objects_list(f->objects, "none/such", key_see, &seen, &why), &why);
    ok(objects_list(f->objects, "a0", key_see, &seen, &why), &why); /* an object is no folder */
    ok(objects_list(f->objects, "tmp", key_see, &seen, &why), &why);
    assert_int_equal(seen.count, 0);
    assert_int_equal(objects_list(f->objects, "../x", key_see, &seen, &why), SL_EINVAL);
    assert_int_equal(objects_list(f->objects, "/", key_see, &seen, &why), SL_EINVAL);
    seen.stop_after = 2;
    assert_int_equal(objects_list(f->objects, "a", key_see, &seen, &why), 9);
    assert_int_equal(seen.count, 2);
    seen = (struct seen){.objects = f->objects, .deletes = true};
    ok(objects_list(f->objects, "a", key_see, &seen, &why), &why);
    assert_int_equal(seen.count, 4);
    assert_int_equal(build_file_count(f->folder), 1 + COUNT - 4);
}

static void test_deleting_a_folder_spares_neighbours_and_removes_empty_folders(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    put(f->objects, "published/v1/1/h264/720p/0.m4s");
    put(f->objects, "published/v1/1/master.m3u8");
    put(f->objects, "published/v10/1/x");
    put(f->objects, "published/v1x");
    ok(objects_delete_prefix(f->objects, "published/v1", &why), &why);
    char path[512];
    path_in(f, "published/v1", path);
    assert_int_not_equal(access(path, F_OK), 0);
    build_expect(f->objects, NULL, "published/v10/1/x", 100, 1);
    build_expect(f->objects, NULL, "published/v1x", 100, 1);
    assert_int_equal(objects_delete_prefix(f->objects, "", &why), SL_EINVAL);
    put(f->objects, "published/v1/1/again"); /* the folder comes back */
    assert_int_equal(build_file_count(f->folder), 4);
}

static void test_alias_is_a_second_name_of_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why;
    char first[PATH_MAX], second[PATH_MAX];
    struct stat a, b;
    put(f->objects, "v/1/0.t5.m4s");
    put(f->objects, "v/1/0.t6.m4s");
    path_in(f, "v/1/0.t6.m4s", first);
    path_in(f, "v/1/0.m4s", second);
    /* Again, and from another object: the name has the newest meaning. */
    static const char *const keys[] = {"v/1/0.t5.m4s", "v/1/0.t6.m4s", "v/1/0.t6.m4s"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(objects_alias(f->objects, keys[i], "v/1/0.m4s", &why), SL_OK);
    assert_int_equal(objects_sync_folder(f->objects, "v/1/0.m4s", &why), SL_OK);
    assert_int_equal(stat(first, &a), 0);
    assert_int_equal(stat(second, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    /* Each name goes alone. */
    assert_int_equal(objects_delete(f->objects, NULL, "v/1/0.t6.m4s", &why), SL_OK);
    assert_int_equal(stat(second, &b), 0);
    assert_int_equal(objects_alias(f->objects, "v/1/absent", "v/1/x", &why), SL_ENOENT);
    assert_int_equal(objects_alias(f->objects, "v/1/0.m4s", "tmp/x", &why), SL_EINVAL);
    assert_int_equal(objects_alias(f->objects, "v/1/0.m4s", "../x", &why), SL_EINVAL);
}

static void test_path_and_descriptor_name_the_object(void **state)
{
    struct fixture *f = *state;
    put(f->objects, "x/y");
    char path[PATH_MAX];
    char expected[PATH_MAX];
    char real[PATH_MAX];
    assert_non_null(realpath(f->folder, real));
    snprintf(expected, sizeof expected, "%.4000s/x/y", real);
    assert_int_equal(objects_path(f->objects, "x/y", path, sizeof path), SL_OK);
    assert_string_equal(path, expected);
    assert_int_equal(objects_path(f->objects, "x/y", path, 10), SL_ELIMIT);
    int fd = -1;
    assert_int_equal(objects_open_fd(f->objects, "x/y", &fd), SL_OK);
    assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
    assert_int_equal(objects_open_fd(f->objects, "x", &fd), SL_ENOENT);
    path_in(f, "fifo", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(objects_open_fd(f->objects, "fifo", &fd), SL_ENOENT); /* and does not wait */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        CASE(test_store_keeps_its_id_and_a_plain_folder_is_none),
        CASE(test_leftovers_older_than_an_hour_are_swept),
        CASE(test_own_names_of_the_store_are_no_objects),
        CASE(test_scratch_is_moved_not_copied),
        CASE(test_scratch_with_wrong_sum_is_not_published),
        CASE(test_nothing_is_left_behind_by_puts),
        CASE(test_plain_ways_do_the_same),
        CASE(test_symbolic_links_are_not_followed),
        CASE(test_killed_writer_leaves_an_object_whole_or_absent),
        CASE(test_full_file_system_is_named_and_leaves_nothing),
        CASE(test_listing_is_in_byte_order_below_a_folder),
        CASE(test_deleting_a_folder_spares_neighbours_and_removes_empty_folders),
        CASE(test_alias_is_a_second_name_of_the_same_bytes),
        CASE(test_path_and_descriptor_name_the_object),
    };
#undef CASE
    return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
