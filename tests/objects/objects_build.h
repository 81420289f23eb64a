/* tests/objects/objects_build.h: folders, bytes and short calls for the tests of the object store. */
#ifndef SL_TESTS_OBJECTS_OBJECTS_BUILD_H
#define SL_TESTS_OBJECTS_OBJECTS_BUILD_H

#include "objects/objects.h"

/* A folder of its own under TMPDIR, and its removal with all in it. */
void build_folder_make(char path[200]);
void build_folder_remove(const char *path);
/* Files, at any depth, that are no folders. */
int build_file_count(const char *path);

struct objects *build_local(const char *folder);

/* Bytes that depend on their place and on seed. */
void build_bytes(uint8_t *into, size_t length, uint32_t seed);
void build_sum(const void *bytes, size_t length, uint8_t sha256[OBJECTS_SHA256_BYTES]);
/* A memory file with those bytes. */
int build_fd(const void *bytes, size_t length);

/* put_new of build_bytes(length, seed). */
int build_put(struct objects *objects, const char *ticket, const char *key, size_t length,
              uint32_t seed, struct sl_failure *why);
/* Fails the test unless the object is build_bytes(length, seed). */
void build_expect(struct objects *objects, const char *ticket, const char *key, size_t length,
                  uint32_t seed);

#endif
