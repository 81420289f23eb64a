/* tests/store/store_build.h: rows for tests. */
#ifndef SL_TESTS_STORE_STORE_BUILD_H
#define SL_TESTS_STORE_STORE_BUILD_H

#include "scheduler/store/store.h"

struct store_video build_video(int64_t id);
struct store_task build_task(int64_t id, int64_t video);

/* Opens or fails the test with the sentence. */
struct store *build_open(const char *url, bool readonly);
/* Fails the test with the sentence when rc is not SL_OK. */
void build_ok(struct store *store, int rc);

int64_t build_task_count(struct store *store, int64_t video);
bool build_has_video(struct store *store, int64_t id);

/* A folder of its own under TMPDIR, and its removal with all in it. */
void build_folder_make(char path[200]);
void build_folder_remove(const char *path);

#endif
