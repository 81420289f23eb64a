#include "tests/store/store_build.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct store_video build_video(int64_t id)
{
    return (struct store_video){.video = {id},
                                .priority = PRIORITY_NORMAL,
                                .status = VIDEO_UPLOADED,
                                .created_unix_ns = id * 10};
}

struct store_task build_task(int64_t id, int64_t video)
{
    return (struct store_task){.task = {id}, .video = {video}, .step = STEP_TRANSCODE, .order = id};
}

struct store *build_open(const char *url, bool readonly)
{
    struct store *store = NULL;
    struct sl_failure why = {0};
    if (store_open(url, readonly, &store, &why) != SL_OK)
        fail_msg("%s: %s", url, why.message);
    return store;
}

void build_ok(struct store *store, int rc)
{
    if (rc != SL_OK)
        fail_msg("%s: %s", sl_error_word(rc), store_why(store));
}

static int task_count(void *arg, const struct store_task *task)
{
    (void)task;
    ++*(int64_t *)arg;
    return 0;
}

int64_t build_task_count(struct store *store, int64_t video)
{
    int64_t count = 0;
    build_ok(store, store_walk_tasks(store, (struct video_id){video}, task_count, &count));
    return count;
}

static int video_ignore(void *arg, const struct store_video *video)
{
    (void)arg;
    (void)video;
    return 0;
}

bool build_has_video(struct store *store, int64_t id)
{
    int rc = store_get_video(store, (struct video_id){id}, video_ignore, NULL);
    if (rc != SL_ENOENT)
        build_ok(store, rc);
    return rc == SL_OK;
}

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
    nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}
