#include "tests/objects/objects_conformance.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/objects/objects_build.h"

static const struct objects_place *place;

static int place_open(void **state)
{
    *state = place->open();
    return 0;
}

static int place_close(void **state)
{
    place->close((struct objects **)state);
    return 0;
}

static void ok(int rc, const struct sl_failure *why)
{
    if (rc != SL_OK)
        fail_msg("%s: %s", sl_error_word(rc), why->message);
}

static void test_object_comes_back_whole_at_every_size(void **state)
{
    struct objects *objects = *state;
    const size_t sizes[] = {0, 1, 4095, 4096, 65537, 3 * 1024 * 1024 + 5};
    for (uint32_t i = 0; i < 6; i++) {
        char key[64];
        struct sl_failure why = {0};
        snprintf(key, sizeof key, "published/v1/1/h264/%u/a.m4s", i);
        ok(build_put(objects, place->ticket, key, sizes[i], i, &why), &why);
        build_expect(objects, place->ticket, key, sizes[i], i);
    }
}

static void test_ranges_are_exact_and_short_only_at_the_end(void **state)
{
    struct objects *objects = *state;
    enum { LENGTH = 10000 };
    uint8_t bytes[LENGTH];
    uint8_t found[LENGTH + 100];
    struct sl_failure why = {0};
    build_bytes(bytes, LENGTH, 5);
    ok(build_put(objects, place->ticket, "a/b", LENGTH, 5, &why), &why);
    const struct {
        uint64_t offset;
        size_t length;
        size_t read;
    } ranges[] = {{0, 1, 1},          {0, LENGTH, LENGTH}, {1, LENGTH, LENGTH - 1}, {9999, 1, 1},
                  {9999, 2, 1},       {10000, 5, 0},       {1 << 30, 5, 0},         {17, 0, 0},
                  {4000, 3000, 3000}, {9000, 5000, 1000}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        size_t got = 77;
        memset(found, 0xee, sizeof found);
        ok(objects_get_range(objects, place->ticket, "a/b", ranges[i].offset, found,
                             ranges[i].length, &got, &why),
           &why);
        assert_int_equal(got, ranges[i].read);
        if (got > 0)
            assert_memory_equal(found, bytes + ranges[i].offset, got);
        assert_int_equal(found[got], 0xee);
    }
}

static void test_absent_objects_are_named(void **state)
{
    struct objects *objects = *state;
    struct sl_failure why = {0};
    uint8_t byte;
    size_t got = 5;
    int64_t bytes = 5;
    assert_int_equal(objects_get_range(objects, place->ticket, "no/such", 0, &byte, 1, &got, &why),
                     SL_ENOENT);
    assert_non_null(strstr(why.message, "no/such"));
    assert_int_equal(objects_get_range(objects, place->ticket, "no/such", 0, &byte, 0, &got, &why),
                     SL_ENOENT);
    assert_int_equal(objects_size(objects, place->ticket, "no/such", &bytes, &why), SL_ENOENT);
    assert_int_equal(got, 5);
    assert_int_equal(bytes, 5);
    ok(objects_delete(objects, place->ticket, "no/such", &why), &why);
    /* A folder is no object. */
    ok(build_put(objects, place->ticket, "folder/x", 3, 1, &why), &why);
    assert_int_equal(objects_size(objects, place->ticket, "folder", &bytes, &why), SL_ENOENT);
    ok(objects_delete(objects, place->ticket, "folder", &why), &why);
    build_expect(objects, place->ticket, "folder/x", 3, 1);
}

static void test_put_new_never_overwrites_and_repeats_quietly(void **state)
{
    struct objects *objects = *state;
    struct sl_failure why = {0};
    ok(build_put(objects, place->ticket, "k", 5000, 1, &why), &why);
    ok(build_put(objects, place->ticket, "k", 5000, 1, &why), &why);
    assert_int_equal(build_put(objects, place->ticket, "k", 5000, 2, &why), SL_EEXIST);
    assert_int_equal(build_put(objects, place->ticket, "k", 5001, 1, &why), SL_EEXIST);
    assert_non_null(strstr(why.message, "k"));
    build_expect(objects, place->ticket, "k", 5000, 1);
    assert_int_equal(objects_put_bytes(objects, place->ticket, "k", "x", 1, false, &why),
                     SL_EEXIST);
    ok(objects_delete(objects, place->ticket, "k", &why), &why);
    ok(build_put(objects, place->ticket, "k", 5000, 2, &why), &why);
    build_expect(objects, place->ticket, "k", 5000, 2);
}

static void test_bytes_that_are_not_the_promised_ones_are_not_stored(void **state)
{
    struct objects *objects = *state;
    uint8_t bytes[1000];
    uint8_t sum[OBJECTS_SHA256_BYTES];
    struct sl_failure why = {0};
    int64_t size;
    build_bytes(bytes, sizeof bytes, 1);
    build_sum(bytes, sizeof bytes, sum);
    bytes[999] ^= 1;
    int fd = build_fd(bytes, sizeof bytes);
    assert_int_equal(objects_put_new(objects, place->ticket, "bad", fd, 1000, sum, &why), SL_EIO);
    assert_non_null(strstr(why.message, "SHA-256"));
    assert_int_equal(objects_size(objects, place->ticket, "bad", &size, &why), SL_ENOENT);
    /* Shorter than promised. */
    assert_int_equal(objects_put_new(objects, place->ticket, "bad", fd, 1001, sum, &why), SL_EIO);
    assert_int_equal(objects_size(objects, place->ticket, "bad", &size, &why), SL_ENOENT);
    assert_int_equal(objects_put_new(objects, place->ticket, "bad", fd, 0, sum, &why), SL_EIO);
    /* Longer is fine: the first bytes count. */
    build_sum(bytes, 600, sum);
    ok(objects_put_new(objects, place->ticket, "good", fd, 600, sum, &why), &why);
    ok(objects_size(objects, place->ticket, "good", &size, &why), &why);
    assert_int_equal(size, 600);
    close(fd);
}

static void test_descriptor_is_read_from_its_start_and_left_where_it_was(void **state)
{
    struct objects *objects = *state;
    uint8_t bytes[3000];
    uint8_t sum[OBJECTS_SHA256_BYTES];
    struct sl_failure why = {0};
    build_bytes(bytes, sizeof bytes, 9);
    build_sum(bytes, sizeof bytes, sum);
    int fd = build_fd(bytes, sizeof bytes);
    lseek(fd, 1234, SEEK_SET);
    ok(objects_put_new(objects, place->ticket, "start", fd, sizeof bytes, sum, &why), &why);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1234);
    close(fd);
    build_expect(objects, place->ticket, "start", sizeof bytes, 9);
}

static void test_small_texts_are_put_and_replaced(void **state)
{
    struct objects *objects = *state;
    struct sl_failure why = {0};
    char text[16] = "";
    size_t got = 0;
    ok(objects_put_bytes(objects, place->ticket, "t/m", "one", 3, false, &why), &why);
    ok(objects_put_bytes(objects, place->ticket, "t/m", "one", 3, false, &why), &why);
    int rc = objects_put_bytes(objects, place->ticket, "t/m", "second", 6, true, &why);
    assert_int_equal(rc, place->replaces ? SL_OK : SL_EUNSUPPORTED);
    if (place->replaces)
        ok(objects_put_bytes(objects, place->ticket, "t/new", "", 0, true, &why), &why);
    ok(objects_get_range(objects, place->ticket, "t/m", 0, text, sizeof text, &got, &why), &why);
    assert_int_equal(got, place->replaces ? 6 : 3);
    assert_memory_equal(text, place->replaces ? "second" : "one", got);
}

static void test_keys_that_are_none_are_refused(void **state)
{
    struct objects *objects = *state;
    char long_key[OBJECT_KEY_BYTES + 1];
    memset(long_key, 'a', sizeof long_key);
    long_key[OBJECT_KEY_BYTES] = '\0';
    const char *const bad[] = {"",     "/a",  "a/",   "a//b", ".",       "..",    "a/../b",
                               "../a", "a/.", "./a",  "a b",  "a\\b",    "a\nb",  "\xc3\xa9",
                               "a:b",  "a%2", "a/..", "?x",   "a#fragm", long_key};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sl_failure why = {0};
        size_t got;
        int64_t size;
        char byte;
        assert_int_equal(build_put(objects, place->ticket, bad[i], 1, 1, &why), SL_EINVAL);
        assert_int_equal(objects_get_range(objects, place->ticket, bad[i], 0, &byte, 1, &got, &why),
                         SL_EINVAL);
        assert_int_equal(objects_size(objects, place->ticket, bad[i], &size, &why), SL_EINVAL);
        assert_int_equal(objects_delete(objects, place->ticket, bad[i], &why), SL_EINVAL);
        assert_non_null(strstr(why.message, "no key"));
    }
    struct sl_failure why = {0};
    long_key[OBJECT_KEY_BYTES - 1] = '\0';
    long_key[100] = '/';
    ok(build_put(objects, place->ticket, long_key, 10, 1, &why), &why);
    build_expect(objects, place->ticket, long_key, 10, 1);
    ok(build_put(objects, place->ticket, "...", 10, 1, &why), &why);
    ok(build_put(objects, place->ticket, "a..b/.c", 10, 1, &why), &why);
}

static void test_what_a_driver_does_not_offer_says_so(void **state)
{
    struct objects *objects = *state;
    struct sl_failure why = {0};
    int fd = -1;
    char path[4096];
    ok(build_put(objects, place->ticket, "x", 10, 1, &why), &why);
    int expected = place->lists ? SL_OK : SL_EUNSUPPORTED;
    assert_int_equal(objects_open_fd(objects, "x", &fd), expected);
    if (fd >= 0)
        close(fd);
    fd = -1;
    assert_int_equal(objects_open_scratch(objects, &fd, &why), expected);
    if (fd >= 0)
        close(fd);
    assert_int_equal(objects_path(objects, "x", path, sizeof path), expected);
    assert_int_equal(objects_delete_prefix(objects, "y", &why), expected);
}

/* ---- threads ---- */

enum { THREADS = 24, ROUNDS = 8 };

struct racer {
    struct objects *objects;
    uint32_t number;
    atomic_int *won; /* per round */
    atomic_int *odd; /* answers that should not be */
};

static void *race_run(void *arg)
{
    struct racer *racer = arg;
    for (int round = 0; round < ROUNDS; round++) {
        char key[64];
        snprintf(key, sizeof key, "race/%d/deep/er/k", round);
        int rc = build_put(racer->objects, place->ticket, key, 20000, racer->number, NULL);
        if (rc == SL_OK)
            atomic_fetch_add(&racer->won[round], 1);
        else if (rc != SL_EEXIST)
            atomic_fetch_add(racer->odd, 1);
        snprintf(key, sizeof key, "own/%u/%d", racer->number, round);
        if (build_put(racer->objects, place->ticket, key, 1000, racer->number, NULL) != SL_OK ||
            objects_delete(racer->objects, place->ticket, key, NULL) != SL_OK)
            atomic_fetch_add(racer->odd, 1);
    }
    return NULL;
}

static void test_of_many_writers_of_one_key_just_one_wins(void **state)
{
    struct objects *objects = *state;
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    atomic_int won[ROUNDS] = {0};
    atomic_int odd = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){objects, i, won, &odd};
        pthread_create(&threads[i], NULL, race_run, &racers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(odd, 0);
    for (int round = 0; round < ROUNDS; round++)
        assert_int_equal(won[round], 1);
}

int objects_conformance_run(const struct objects_place *given)
{
    place = given;
#define CASE(name) cmocka_unit_test_setup_teardown(name, place_open, place_close)
    const struct CMUnitTest tests[] = {
        CASE(test_object_comes_back_whole_at_every_size),
        CASE(test_ranges_are_exact_and_short_only_at_the_end),
        CASE(test_absent_objects_are_named),
        CASE(test_put_new_never_overwrites_and_repeats_quietly),
        CASE(test_bytes_that_are_not_the_promised_ones_are_not_stored),
        CASE(test_descriptor_is_read_from_its_start_and_left_where_it_was),
        CASE(test_small_texts_are_put_and_replaced),
        CASE(test_keys_that_are_none_are_refused),
        CASE(test_what_a_driver_does_not_offer_says_so),
        CASE(test_of_many_writers_of_one_key_just_one_wins),
    };
#undef CASE
    return cmocka_run_group_tests_name(place->driver, tests, NULL, NULL);
}
