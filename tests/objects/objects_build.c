#include "tests/objects/objects_build.h"

#include <ftw.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

void build_folder_make(char path[200])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path, 200, "%s/sluice-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void build_folder_remove(const char *path)
{
    nftw(path, entry_remove, 32, FTW_DEPTH | FTW_PHYS);
}

static int files;

static int entry_count(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    files += kind != FTW_D;
    return 0;
}

int build_file_count(const char *path)
{
    files = 0;
    nftw(path, entry_count, 32, FTW_PHYS);
    return files;
}

struct objects *build_local(const char *folder)
{
    struct objects *objects = NULL;
    struct sl_failure why = {0};
    if (objects_open_local(folder, true, &objects, NULL, &why) != SL_OK)
        fail_msg("%s", why.message);
    return objects;
}

void build_bytes(uint8_t *into, size_t length, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < length; i++) {
        x = x * 1664525u + 1013904223u;
        into[i] = (uint8_t)(x >> 24);
    }
}

void build_sum(const void *bytes, size_t length, uint8_t sha256[OBJECTS_SHA256_BYTES])
{
    SHA256(bytes, length, sha256);
}

int build_fd(const void *bytes, size_t length)
{
    int fd = memfd_create("bytes", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, 0), length);
    return fd;
}

int build_put(struct objects *objects, const char *ticket, const char *key, size_t length,
              uint32_t seed, struct sl_failure *why)
{
    uint8_t *bytes = malloc(length ? length : 1);
    uint8_t sum[OBJECTS_SHA256_BYTES];
    build_bytes(bytes, length, seed);
    build_sum(bytes, length, sum);
    int fd = build_fd(bytes, length);
    int rc = objects_put_new(objects, ticket, key, fd, (int64_t)length, sum, why);
    close(fd);
    free(bytes);
    return rc;
}

void build_expect(struct objects *objects, const char *ticket, const char *key, size_t length,
                  uint32_t seed)
{
    uint8_t *bytes = malloc(length + 1);
    uint8_t *found = malloc(length + 1);
    build_bytes(bytes, length, seed);
    struct sl_failure why = {0};
    int64_t size = -1;
    size_t got = 0;
    if (objects_size(objects, ticket, key, &size, &why) != SL_OK ||
        objects_get_range(objects, ticket, key, 0, found, length + 1, &got, &why) != SL_OK)
        fail_msg("%s", why.message);
    assert_int_equal(size, length);
    assert_int_equal(got, length);
    assert_memory_equal(found, bytes, length);
    free(bytes);
    free(found);
}
