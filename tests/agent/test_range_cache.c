#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/range_cache.h"

#define BLOCK RANGE_BLOCK_BYTES

/* An object whose byte at n is known, and that counts how often it is asked. */
struct remote {
    int64_t bytes;      /* as it is */
    unsigned char salt; /* which object */
    atomic_int fetches;
    atomic_llong fetched_bytes;
    atomic_int code; /* to fail with */
    int delay_us;
};

static unsigned char byte_at(const struct remote *r, uint64_t n)
{
    return (unsigned char)((n * 2654435761u >> 13) + r->salt);
}

static int fetch(void *arg, const char *key, uint64_t offset, void *into, size_t length,
                 size_t *out_read, struct sl_failure *why)
{
    struct remote *r = arg;
    (void)key;
    atomic_fetch_add(&r->fetches, 1);
    atomic_fetch_add(&r->fetched_bytes, (long long)length);
    if (r->delay_us)
        usleep((useconds_t)r->delay_us);
    if (atomic_load(&r->code))
        return sl_fail(why, atomic_load(&r->code), "the fake store fails");
    size_t n = 0;
    for (; n < length && offset + n < (uint64_t)r->bytes; n++)
        ((unsigned char *)into)[n] = byte_at(r, offset + n);
    *out_read = n;
    return SL_OK;
}

static char folder[] = "/tmp/sluice-test-cache-XXXXXX";
static int folder_fd;

static int group_open(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder_fd < 0;
}

static int group_close(void **state)
{
    (void)state;
    close(folder_fd);
    return rmdir(folder); /* fails when a file with a name was left */
}

static struct range_cache *cache_open(int64_t bytes_max)
{
    struct range_cache *cache;
    assert_int_equal(range_cache_open(folder_fd, bytes_max, &cache), SL_OK);
    return cache;
}

static void reads(struct range_cache *cache, struct remote *r, const char *key, uint64_t offset,
                  size_t length)
{
    struct range_source source = {key, r->bytes, fetch, r};
    unsigned char *into = malloc(length + 1);
    size_t got = 0;
    struct sl_failure why = {0};
    if (range_cache_read(cache, &source, offset, into, length, &got, &why))
        fail_msg("%s", why.message);
    size_t left = offset < (uint64_t)r->bytes ? (size_t)((uint64_t)r->bytes - offset) : 0;
    assert_int_equal(got, left < length ? left : length);
    for (size_t i = 0; i < got; i++)
        if (into[i] != byte_at(r, offset + i))
            fail_msg("byte %zu of a read at %llu is wrong", i, (unsigned long long)offset);
    free(into);
}

static void test_a_range_is_fetched_once(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(64 * BLOCK);
    struct remote r = {.bytes = 10 * BLOCK + 777};
    reads(cache, &r, "a", 100, 1000);
    assert_int_equal(r.fetches, 1);
    assert_int_equal(r.fetched_bytes, RANGE_AHEAD * BLOCK);
    reads(cache, &r, "a", 0, RANGE_AHEAD * BLOCK); /* read ahead */
    assert_int_equal(r.fetches, 1);
    reads(cache, &r, "a", 0, (size_t)r.bytes + 5000);
    reads(cache, &r, "a", (uint64_t)r.bytes - 1, 10);
    reads(cache, &r, "a", (uint64_t)r.bytes, 10);
    assert_int_equal(r.fetched_bytes, r.bytes);
    range_cache_close(&cache);
}

struct reader {
    struct range_cache *cache;
    struct remote *remote;
    unsigned seed;
    pthread_t thread;
};

static void *reader_run(void *arg)
{
    struct reader *reader = arg;
    struct range_source source = {"shared", reader->remote->bytes, fetch, reader->remote};
    unsigned char *into = malloc(3 * BLOCK);
    for (int i = 0; i < 60; i++) {
        uint64_t offset = (uint64_t)rand_r(&reader->seed) % (uint64_t)reader->remote->bytes;
        size_t length = 1 + (size_t)rand_r(&reader->seed) % (3 * BLOCK - 1), got = 0;
        if (range_cache_read(reader->cache, &source, offset, into, length, &got, NULL) != SL_OK)
            abort();
        for (size_t k = 0; k < got; k += 997)
            if (into[k] != byte_at(reader->remote, offset + k))
                abort();
    }
    free(into);
    return NULL;
}

static void readers_run(struct range_cache *cache, struct remote *r)
{
    struct reader readers[6];
    for (unsigned i = 0; i < 6; i++) {
        readers[i] = (struct reader){.cache = cache, .remote = r, .seed = i + 1};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
    }
    for (int i = 0; i < 6; i++)
        pthread_join(readers[i].thread, NULL);
}

static void test_many_readers_fetch_each_block_once(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(64 * BLOCK);
    struct remote r = {.bytes = 20 * BLOCK + 1, .delay_us = 2000};
    readers_run(cache, &r);
    assert_true(r.fetched_bytes <= r.bytes);
    range_cache_close(&cache);
}

static void test_a_cache_smaller_than_the_work_stays_right_and_small(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(6 * BLOCK);
    struct remote r = {.bytes = 20 * BLOCK + 1};
    readers_run(cache, &r);
    assert_true(range_cache_bytes(cache) <= 6 * BLOCK);
    range_cache_close(&cache);
}

static void test_what_was_read_lately_stays(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(8 * BLOCK);
    struct remote a = {.bytes = BLOCK}, b = {.bytes = 100 * BLOCK, .salt = 9};
    reads(cache, &a, "a", 0, BLOCK);
    for (int i = 0; i < 25; i++) {
        reads(cache, &b, "b", (uint64_t)i * RANGE_AHEAD * BLOCK, 10);
        reads(cache, &a, "a", 0, 10);
    }
    assert_int_equal(a.fetches, 1);
    assert_int_equal(b.fetches, 25);
    reads(cache, &b, "b", 0, 10); /* gone long ago */
    assert_int_equal(b.fetches, 26);
    assert_int_equal(range_cache_bytes(cache), 8 * BLOCK);
    range_cache_close(&cache);
}

static void test_a_failed_fetch_is_told_and_tried_again_by_the_next(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(8 * BLOCK);
    struct remote r = {.bytes = 3 * BLOCK, .code = SL_EUNREACH};
    struct range_source source = {"a", r.bytes, fetch, &r};
    unsigned char into[100];
    size_t got = 0;
    struct sl_failure why = {0};
    assert_int_equal(range_cache_read(cache, &source, 0, into, sizeof into, &got, &why),
                     SL_EUNREACH);
    assert_string_equal(why.message, "the fake store fails");
    atomic_store(&r.code, SL_OK);
    reads(cache, &r, "a", 0, 100);
    range_cache_close(&cache);
}

static void test_an_object_that_was_cut_short_is_named(void **state)
{
    (void)state;
    struct range_cache *cache = cache_open(8 * BLOCK);
    struct remote r = {.bytes = BLOCK};
    struct range_source source = {"originals/v1/source", 2 * BLOCK, fetch, &r};
    unsigned char into[100];
    size_t got = 0;
    struct sl_failure why = {0};
    assert_int_equal(range_cache_read(cache, &source, 0, into, sizeof into, &got, &why),
                     SL_ECHANGED);
    assert_non_null(strstr(why.message, "originals/v1/source"));
    range_cache_close(&cache);
}

static int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < 4 * RANGE_OBJECTS_MAX; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void test_more_small_objects_than_may_be_open_pass_one_after_another(void **state)
{
    (void)state;
    int before = open_files();
    struct range_cache *cache = cache_open((int64_t)8 * RANGE_OBJECTS_MAX * BLOCK);
    struct remote often = {.bytes = 2 * BLOCK, .salt = 7};
    for (int i = 0; i < 5 * RANGE_OBJECTS_MAX; i++) {
        char key[32];
        struct remote r = {.bytes = 100, .salt = (unsigned char)i};
        snprintf(key, sizeof key, "small-%d", i);
        reads(cache, &r, key, 0, 100);
        reads(cache, &often, "often", (uint64_t)(i % 2) * BLOCK, 100);
    }
    assert_int_equal(often.fetches, 1);
    assert_int_equal(open_files() - before, RANGE_OBJECTS_MAX);
    assert_int_equal(range_cache_bytes(cache), (RANGE_OBJECTS_MAX + 1) * BLOCK);
    struct remote first = {.bytes = 100}, last = {.bytes = 100, .salt = 255};
    reads(cache, &first, "small-0", 0, 100);
    assert_int_equal(first.fetches, 1); /* it had given way */
    char key[32];
    snprintf(key, sizeof key, "small-%d", 5 * RANGE_OBJECTS_MAX - 1);
    reads(cache, &last, key, 0, 100);
    assert_int_equal(last.fetches, 0);
    range_cache_close(&cache);
    assert_int_equal(open_files(), before);
}

struct nest {
    struct range_cache *cache;
    int depth;
    int code; /* of the read that went one too deep */
};

/* Reads another object while this one is in use. */
static int fetch_nested(void *arg, const char *key, uint64_t offset, void *into, size_t length,
                        size_t *out_read, struct sl_failure *why)
{
    struct nest *nest = arg;
    char deeper[32], byte;
    size_t got;
    (void)key;
    (void)offset;
    (void)why;
    snprintf(deeper, sizeof deeper, "%d", ++nest->depth);
    struct range_source source = {deeper, 10, fetch_nested, nest};
    int code = range_cache_read(nest->cache, &source, 0, &byte, 1, &got, NULL);
    nest->code = code ? code : nest->code;
    memset(into, 0, length);
    *out_read = length;
    return SL_OK;
}

static void test_more_objects_in_use_than_may_be_open_are_refused(void **state)
{
    (void)state;
    struct nest nest = {.cache = cache_open((int64_t)2 * RANGE_OBJECTS_MAX * BLOCK)};
    struct range_source source = {"first", 10, fetch_nested, &nest};
    char byte;
    size_t got;
    assert_int_equal(range_cache_read(nest.cache, &source, 0, &byte, 1, &got, NULL), SL_OK);
    assert_int_equal(nest.code, SL_ELIMIT);
    assert_int_equal(nest.depth, RANGE_OBJECTS_MAX);
    range_cache_close(&nest.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_range_is_fetched_once),
        cmocka_unit_test(test_many_readers_fetch_each_block_once),
        cmocka_unit_test(test_a_cache_smaller_than_the_work_stays_right_and_small),
        cmocka_unit_test(test_what_was_read_lately_stays),
        cmocka_unit_test(test_a_failed_fetch_is_told_and_tried_again_by_the_next),
        cmocka_unit_test(test_an_object_that_was_cut_short_is_named),
        cmocka_unit_test(test_more_small_objects_than_may_be_open_pass_one_after_another),
        cmocka_unit_test(test_more_objects_in_use_than_may_be_open_are_refused),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
