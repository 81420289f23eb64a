#include "tests/store/store_conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/store/store_build.h"

static const struct store_place *place;

struct fixture {
    char url[PLACE_URL_BYTES];
    struct store *store;
};

static int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    place->make(f->url);
    f->store = build_open(f->url, false);
    *state = f;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    place->remove(f->url);
    free(f);
    return 0;
}

static struct store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

static struct store *store_again(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    f->store = build_open(f->url, false);
    return f->store;
}

static void put_video(struct store *store, int64_t id)
{
    struct store_video video = build_video(id);
    build_ok(store, store_put_video(store, &video));
}

static void put_task(struct store *store, int64_t id, int64_t video)
{
    struct store_task task = build_task(id, video);
    build_ok(store, store_put_task(store, &task));
}

/* ---- videos ---- */

static const uint8_t sum[32] = {1, 2, 3, 255, 0, 7};
static const uint8_t info[] = {0, 1, 2, 0, 255};
static const uint8_t result[] = "a result";

static struct store_video full_video(void)
{
    return (struct store_video){
        .video = {INT64_MAX},
        .provider = "studio",
        .external_id = "x-1",
        .priority = PRIORITY_URGENT,
        .status = VIDEO_FAILED,
        .name = "f\xffilm '; DROP TABLE videos; --.mp4",
        .policy_name = "default",
        .policy_text = "name: default\n",
        .original_key = "originals/v1/source",
        .original_bytes = INT64_MAX,
        .original_sha256 = sum,
        .created_unix_ns = 1,
        .started_unix_ns = 2,
        .completed_unix_ns = 3,
        .info = info,
        .info_bytes = sizeof info,
        .index_key = "index",
        .plan_key = "plan",
        .version = 4,
        .published_key = "published/v1/4",
        .result = result,
        .result_bytes = sizeof result,
        .cancelled = true,
        .steps_done = UINT32_MAX,
        .steps_skipped = 5,
        .failure_step = STEP_VERIFY,
        .failure = {SL_EVERIFY, "frames are missing"},
    };
}

static void text_equal(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void blob_equal(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    assert_int_equal(a_bytes, b_bytes);
    assert_int_equal(!a, !b);
    if (a)
        assert_memory_equal(a, b, a_bytes);
}

static int video_equal(void *arg, const struct store_video *b)
{
    const struct store_video *a = arg;
    assert_int_equal(a->video.v, b->video.v);
    text_equal(a->provider, b->provider);
    text_equal(a->external_id, b->external_id);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->status, b->status);
    text_equal(a->name, b->name);
    text_equal(a->policy_name, b->policy_name);
    text_equal(a->policy_text, b->policy_text);
    text_equal(a->original_key, b->original_key);
    assert_int_equal(a->original_bytes, b->original_bytes);
    blob_equal(a->original_sha256, 32, b->original_sha256, 32);
    assert_int_equal(a->created_unix_ns, b->created_unix_ns);
    assert_int_equal(a->started_unix_ns, b->started_unix_ns);
    assert_int_equal(a->completed_unix_ns, b->completed_unix_ns);
    blob_equal(a->info, a->info_bytes, b->info, b->info_bytes);
    text_equal(a->index_key, b->index_key);
    text_equal(a->plan_key, b->plan_key);
    assert_int_equal(a->version, b->version);
    text_equal(a->published_key, b->published_key);
    blob_equal(a->result, a->result_bytes, b->result, b->result_bytes);
    assert_int_equal(a->cancelled, b->cancelled);
    assert_int_equal(a->steps_done, b->steps_done);
    assert_int_equal(a->steps_skipped, b->steps_skipped);
    assert_int_equal(a->failure_step, b->failure_step);
    assert_int_equal(a->failure.code, b->failure.code);
    assert_string_equal(a->failure.message, b->failure.message);
    return 42;
}

static void test_video_comes_back_as_it_was_put(void **state)
{
    struct store *store = store_of(state);
    struct store_video video = full_video();
    struct store_video bare = build_video(1);
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_put_video(store, &bare));
    build_ok(store, store_commit(store));
    store = store_again(state);
    assert_int_equal(store_get_video(store, video.video, video_equal, &video), 42);
    assert_int_equal(store_get_video(store, bare.video, video_equal, &bare), 42);
    assert_int_equal(store_get_video(store, (struct video_id){7}, video_equal, &bare), SL_ENOENT);
    assert_non_null(strstr(store_why(store), "there is no video v"));
}

static void test_putting_again_replaces_and_keeps_tasks(void **state)
{
    struct store *store = store_of(state);
    struct store_video video = build_video(9);
    for (int i = 0; i < 3; i++) {
        build_ok(store, store_begin(store));
        video.status = (enum video_status)i;
        video.name = i == 2 ? NULL : "name";
        build_ok(store, store_put_video(store, &video));
        put_task(store, 5, 9);
        build_ok(store, store_put_report(store, (struct task_id){5}, sum, sizeof sum));
        build_ok(store, store_commit(store));
        assert_int_equal(store_get_video(store, video.video, video_equal, &video), 42);
        assert_int_equal(build_task_count(store, 9), 1);
    }
}

static void test_external_id_is_unique_and_refuses_one_row_only(void **state)
{
    struct store *store = store_of(state);
    struct store_video a = build_video(1);
    struct store_video b = build_video(2);
    a.provider = b.provider = "p";
    a.external_id = b.external_id = "x";
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &a));
    assert_int_equal(store_put_video(store, &b), SL_EEXIST);
    assert_non_null(strstr(store_why(store), "\"p\""));
    put_video(store, 3);
    put_video(store, 4); /* two without an external id do not meet */
    b.provider = "q";
    build_ok(store, store_put_video(store, &b));
    build_ok(store, store_put_video(store, &a)); /* again, itself */
    build_ok(store, store_commit(store));
    struct video_id found = {0};
    build_ok(store, store_find_external(store, "p", "x", &found));
    assert_int_equal(found.v, 1);
    build_ok(store, store_find_external(store, "q", "x", &found));
    assert_int_equal(found.v, 2);
    assert_int_equal(store_find_external(store, "p", "y", &found), SL_ENOENT);
    assert_int_equal(store_find_external(store, NULL, "x", &found), SL_ENOENT);
    build_ok(store, store_begin(store));
    build_ok(store, store_delete_video(store, a.video));
    build_ok(store, store_commit(store));
    assert_int_equal(store_find_external(store, "p", "x", &found), SL_ENOENT);
    assert_true(build_has_video(store, 3));
}

struct seen {
    int64_t ids[64];
    int count;
    int stop_after;
};

static int video_see(void *arg, const struct store_video *video)
{
    struct seen *seen = arg;
    seen->ids[seen->count++] = video->video.v;
    return seen->stop_after && seen->count == seen->stop_after ? 7 : 0;
}

static void seen_equal(struct seen *seen, int count, const int64_t *ids)
{
    assert_int_equal(seen->count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(seen->ids[i], ids[i]);
    seen->count = 0;
}

static void test_listing_is_newest_first_by_status_and_page(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int64_t id = 1; id <= 6; id++) {
        struct store_video video = build_video(id);
        video.status = id % 2 ? VIDEO_READY : VIDEO_PROBING;
        build_ok(store, store_put_video(store, &video));
    }
    build_ok(store, store_commit(store));
    struct seen seen = {0};
    struct video_id none = {0};
    build_ok(store, store_list_videos(store, none, VIDEO_STATUS_COUNT, 4, video_see, &seen));
    seen_equal(&seen, 4, (int64_t[]){6, 5, 4, 3});
    struct video_id before = {3};
    build_ok(store, store_list_videos(store, before, VIDEO_STATUS_COUNT, 4, video_see, &seen));
    seen_equal(&seen, 2, (int64_t[]){2, 1});
    build_ok(store, store_list_videos(store, none, VIDEO_READY, 2, video_see, &seen));
    seen_equal(&seen, 2, (int64_t[]){5, 3});
    build_ok(store, store_list_videos(store, before, VIDEO_PROBING, 100000, video_see, &seen));
    seen_equal(&seen, 1, (int64_t[]){2});
    assert_int_equal(store_list_videos(store, none, VIDEO_READY, 0, video_see, &seen), SL_EINVAL);
}

static void test_live_videos_are_those_not_ready_in_id_order(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int status = VIDEO_STATUS_COUNT - 1; status >= 0; status--) {
        struct store_video video = build_video(status + 1);
        video.status = (enum video_status)status;
        build_ok(store, store_put_video(store, &video));
    }
    build_ok(store, store_commit(store));
    struct seen seen = {0};
    build_ok(store, store_walk_live_videos(store, video_see, &seen));
    seen_equal(&seen, 7, (int64_t[]){1, 2, 3, 4, 5, 7, 8});
    seen.stop_after = 2;
    assert_int_equal(store_walk_live_videos(store, video_see, &seen), 7);
    seen_equal(&seen, 2, (int64_t[]){1, 2});
}

static void test_counts_follow_every_change(void **state)
{
    struct store *store = store_of(state);
    int64_t counts[VIDEO_STATUS_COUNT];
    build_ok(store, store_count_videos(store, counts));
    assert_int_equal(counts[VIDEO_UPLOADED], 0);
    build_ok(store, store_begin(store));
    for (int64_t id = 1; id <= 5; id++)
        put_video(store, id);
    struct store_video video = build_video(2);
    video.status = VIDEO_READY;
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_delete_video(store, (struct video_id){1}));
    build_ok(store, store_delete_video(store, (struct video_id){1}));
    build_ok(store, store_commit(store));
    build_ok(store, store_count_videos(store, counts));
    assert_int_equal(counts[VIDEO_UPLOADED], 3);
    assert_int_equal(counts[VIDEO_READY], 1);
    build_ok(store, store_begin(store));
    put_video(store, 9);
    store_rollback(store);
    build_ok(store, store_count_videos(store, counts));
    assert_int_equal(counts[VIDEO_UPLOADED], 3);
}

/* ---- tasks and reports ---- */

static struct store_task full_task(void)
{
    return (struct store_task){
        .task = {INT64_MAX},
        .video = {3},
        .step = STEP_VERIFY,
        .piece = INT32_MAX,
        .wait_mask = UINT32_MAX,
        .codec = CODEC_VP9,
        .needs_codec = true,
        .order = INT64_MIN,
        .demand = {1, 2, 3, 4, 5, 6},
        .entry = 3,
        .kind = DEVICE_VAAPI,
        .sessions = 9,
        .state = TASK_CANCELLED,
        .attempts = 7,
        .losses = 8,
        .preroll = 15,
        .not_before_unix_ns = INT64_MAX,
        .token = {INT64_MAX},
        .node = {11},
        .granted_unix_ns = 12,
        .finished_unix_ns = 17,
        .avoid = {{13}, {14}, {15}, {16}},
        .lost_nodes = UINT64_MAX,
        .failure = {SL_ENOSPC, "scratch is full"},
    };
}

static int task_equal(void *arg, const struct store_task *b)
{
    const struct store_task *a = arg;
    assert_int_equal(a->task.v, b->task.v);
    assert_int_equal(a->video.v, b->video.v);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->piece, b->piece);
    assert_int_equal(a->wait_mask, b->wait_mask);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->needs_codec, b->needs_codec);
    assert_true(a->order == b->order);
    assert_memory_equal(&a->demand, &b->demand, sizeof a->demand);
    assert_int_equal(a->entry, b->entry);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->sessions, b->sessions);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->finished_unix_ns, b->finished_unix_ns);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->losses, b->losses);
    assert_int_equal(a->preroll, b->preroll);
    assert_int_equal(a->not_before_unix_ns, b->not_before_unix_ns);
    assert_int_equal(a->token.v, b->token.v);
    assert_int_equal(a->node.v, b->node.v);
    assert_int_equal(a->granted_unix_ns, b->granted_unix_ns);
    assert_memory_equal(a->avoid, b->avoid, sizeof a->avoid);
    assert_true(a->lost_nodes == b->lost_nodes);
    assert_int_equal(a->failure.code, b->failure.code);
    assert_string_equal(a->failure.message, b->failure.message);
    return 43;
}

static void test_task_comes_back_as_it_was_put(void **state)
{
    struct store *store = store_of(state);
    struct store_task task = full_task();
    build_ok(store, store_begin(store));
    build_ok(store, store_put_task(store, &task)); /* before its video, in one batch */
    put_video(store, 3);
    build_ok(store, store_commit(store));
    store = store_again(state);
    assert_int_equal(store_get_task(store, task.task, task_equal, &task), 43);
    assert_int_equal(store_get_task(store, (struct task_id){1}, task_equal, &task), SL_ENOENT);
    assert_string_equal(store_why(store), "there is no task t1");
}

static int finished_take(void *arg, const struct store_task *task)
{
    *(int64_t *)arg = task->finished_unix_ns;
    return 0;
}

static void test_task_keeps_when_it_ended(void **state)
{
    static const struct {
        enum task_state state;
        int64_t put, kept;
    } steps[] = {{TASK_RUNNING, 0, 0}, {TASK_DONE, 5, 5},   {TASK_DONE, 9, 5},
                 {TASK_QUEUED, 0, 0},  {TASK_DONE, 11, 11}, {TASK_CANCELLED, 12, 12}};
    struct store *store = store_of(state);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct store_task task = build_task(1, 1);
        task.state = steps[i].state;
        task.finished_unix_ns = steps[i].put;
        build_ok(store, store_begin(store));
        if (i == 0)
            put_video(store, 1);
        build_ok(store, store_put_task(store, &task));
        build_ok(store, store_commit(store));
        int64_t kept = -1;
        build_ok(store, store_get_task(store, task.task, finished_take, &kept));
        assert_int_equal(kept, steps[i].kept);
    }
}

static int route_equal(void *arg, const struct store_route *b)
{
    const struct store_route *a = arg;
    assert_memory_equal(a, b, sizeof *a);
    return 44;
}

static struct store_route full_route(int64_t video)
{
    struct store_route route;
    memset(&route, 0, sizeof route);
    route.video.v = video;
    route.codec = CODEC_AV1;
    route.count = 3;
    route.entries[0].kind = DEVICE_NVENC;
    route.entries[1].kind = DEVICE_VAAPI;
    route.entries[2].kind = DEVICE_CPU;
    route.entries[2].queue_longer_ns = INT64_C(600000000000);
    route.mix = true;
    route.ten_bit = true;
    route.device = (struct demand){500, 7, INT64_C(1) << 40, INT64_C(3) << 33, 0, 0};
    return route;
}

static void test_route_comes_back_and_goes_with_its_video(void **state)
{
    struct store *store = store_of(state);
    struct store_route route = full_route(9);
    build_ok(store, store_begin(store));
    build_ok(store, store_put_route(store, &route)); /* before its video, in one batch */
    put_video(store, 9);
    route.count = 2;
    build_ok(store, store_put_route(store, &route));
    build_ok(store, store_commit(store));
    assert_int_equal(store_walk_routes(store, (struct video_id){9}, route_equal, &route), 44);
    build_ok(store, store_walk_routes(store, (struct video_id){8}, route_equal, &route));
    build_ok(store, store_begin(store));
    build_ok(store, store_delete_video(store, (struct video_id){9}));
    build_ok(store, store_commit(store));
    build_ok(store, store_walk_routes(store, (struct video_id){9}, route_equal, &route));
    build_ok(store, store_begin(store));
    route.count = 0;
    assert_int_equal(store_put_route(store, &route), SL_EINVAL);
    store_rollback(store);
}

static void test_task_without_its_video_spoils_the_commit(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    put_video(store, 1);
    put_task(store, 1, 2);
    assert_int_equal(store_commit(store), SL_ECONFLICT);
    assert_false(build_has_video(store, 1));
    build_ok(store, store_begin(store));
    put_video(store, 2);
    put_task(store, 1, 2);
    build_ok(store, store_commit(store));
}

struct report_seen {
    struct store *store;
    int count;
    int64_t tasks[8];
    size_t bytes;
};

static int report_see(void *arg, struct task_id task, enum step step, int32_t piece,
                      const uint8_t *bytes, size_t length)
{
    struct report_seen *seen = arg;
    assert_int_equal(step, STEP_TRANSCODE);
    assert_int_equal(piece, task.v * 2);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], (uint8_t)task.v);
    seen->bytes += length;
    seen->tasks[seen->count++] = task.v;
    return 0;
}

static void put_report(struct store *store, int64_t task, size_t length)
{
    uint8_t *bytes = malloc(length ? length : 1);
    memset(bytes, (int)task, length);
    build_ok(store, store_put_report(store, (struct task_id){task}, bytes, length));
    free(bytes);
}

static void test_reports_are_walked_and_cleared_by_video(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int64_t video = 1; video <= 2; video++) {
        put_video(store, video);
        for (int64_t i = 0; i < 3; i++) {
            struct store_task task = build_task(10 * video + 2 - i, video);
            task.piece = (int32_t)task.task.v * 2;
            build_ok(store, store_put_task(store, &task));
        }
    }
    put_report(store, 12, 512 * 1024);
    put_report(store, 10, 0);
    put_report(store, 22, 100);
    build_ok(store, store_commit(store));
    struct report_seen seen = {0};
    build_ok(store, store_walk_reports(store, (struct video_id){1}, report_see, &seen));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.tasks[0], 10);
    assert_int_equal(seen.tasks[1], 12);
    assert_int_equal(seen.bytes, 512 * 1024);
    build_ok(store, store_begin(store));
    build_ok(store, store_clear_reports(store, (struct video_id){1}));
    build_ok(store, store_commit(store));
    seen = (struct report_seen){0};
    build_ok(store, store_walk_reports(store, (struct video_id){1}, report_see, &seen));
    assert_int_equal(seen.count, 0);
    build_ok(store, store_walk_reports(store, (struct video_id){2}, report_see, &seen));
    assert_int_equal(seen.count, 1);
    assert_int_equal(build_task_count(store, 1), 3);
}

static void test_deleting_takes_tasks_and_reports_along(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int64_t video = 1; video <= 2; video++) {
        put_video(store, video);
        for (int step = 0; step < STEP_COUNT; step++) {
            struct store_task task = build_task(10 * video + step, video);
            task.step = (enum step)step;
            build_ok(store, store_put_task(store, &task));
            put_report(store, task.task.v, 10);
        }
    }
    build_ok(store, store_commit(store));
    build_ok(store, store_begin(store));
    build_ok(store, store_delete_video(store, (struct video_id){1}));
    uint32_t mask = STEP_BIT(STEP_TRANSCODE) | STEP_BIT(STEP_VERIFY);
    build_ok(store, store_delete_tasks(store, (struct video_id){2}, mask));
    build_ok(store, store_commit(store));
    assert_false(build_has_video(store, 1));
    assert_int_equal(build_task_count(store, 1), 0);
    assert_int_equal(build_task_count(store, 2), STEP_COUNT - 2);
    struct store_task task = build_task(20 + STEP_VERIFY, 2);
    assert_int_equal(store_get_task(store, task.task, task_equal, &task), SL_ENOENT);
    /* The reports went too: a task of the same id starts without one. */
    build_ok(store, store_begin(store));
    put_video(store, 1);
    put_task(store, 10, 1);
    build_ok(store, store_commit(store));
    struct report_seen seen = {0};
    build_ok(store, store_walk_reports(store, (struct video_id){1}, report_see, &seen));
    assert_int_equal(seen.count, 0);
}

/* Only what is ready, beyond the newest, and no more of it than was asked for. */
static void test_pruning_takes_the_tasks_of_old_ready_videos(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int64_t id = 1; id <= 6; id++) {
        struct store_video video = build_video(id);
        video.status = id == 2 ? VIDEO_FAILED : VIDEO_READY;
        build_ok(store, store_put_video(store, &video));
        put_task(store, 10 * id, id);
        put_report(store, 10 * id, 10);
        struct store_route route = full_route(id);
        build_ok(store, store_put_route(store, &route));
    }
    build_ok(store, store_prune_tasks(store, 2, 1));
    build_ok(store, store_commit(store));
    static const int once[] = {1, 1, 1, 0, 1, 1};
    for (int64_t id = 1; id <= 6; id++)
        assert_int_equal(build_task_count(store, id), once[id - 1]);
    build_ok(store, store_begin(store));
    build_ok(store, store_prune_tasks(store, 2, -1));
    build_ok(store, store_commit(store));
    static const int all[] = {0, 1, 0, 0, 1, 1};
    for (int64_t id = 1; id <= 6; id++)
        assert_int_equal(build_task_count(store, id), all[id - 1]);
    for (int64_t id = 1; id <= 6; id++) {
        struct store_route route = full_route(id);
        assert_int_equal(store_walk_routes(store, (struct video_id){id}, route_equal, &route),
                         all[id - 1] ? 44 : 0);
    }
    assert_true(build_has_video(store, 1));
}

struct nested {
    struct store *store;
    int calls;
};

static int task_nested(void *arg, const struct store_task *task)
{
    struct nested *nested = arg;
    /* A walk of the same kind inside must not disturb the outer. */
    nested->calls += (int)build_task_count(nested->store, task->video.v);
    assert_true(build_has_video(nested->store, task->video.v));
    return 0;
}

static int video_nested(void *arg, const struct store_video *video)
{
    struct nested *nested = arg;
    char name[64];
    snprintf(name, sizeof name, "%s", video->name);
    build_ok(nested->store, store_walk_tasks(nested->store, video->video, task_nested, nested));
    assert_string_equal(video->name, name);
    return 0;
}

static void test_walks_may_be_nested(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    for (int64_t video = 1; video <= 3; video++) {
        struct store_video row = build_video(video);
        row.name = "a name";
        build_ok(store, store_put_video(store, &row));
        for (int64_t i = 0; i < 4; i++)
            put_task(store, 10 * video + i, video);
    }
    build_ok(store, store_commit(store));
    struct nested nested = {store, 0};
    build_ok(store, store_walk_live_videos(store, video_nested, &nested));
    assert_int_equal(nested.calls, 3 * 4 * 4);
}

/* ---- nodes, counters, identity ---- */

static int node_equal(void *arg, const struct store_node *b)
{
    const struct store_node *a = arg;
    assert_int_equal(a->node.v, b->node.v);
    assert_string_equal(a->uuid, b->uuid);
    text_equal(a->name, b->name);
    assert_int_equal(a->spot, b->spot);
    assert_int_equal(a->drain, b->drain);
    assert_int_equal(a->drain_deadline_unix_ns, b->drain_deadline_unix_ns);
    return 44;
}

static void test_nodes_and_counters_outlive_a_restart(void **state)
{
    struct store *store = store_of(state);
    struct store_counters counters;
    build_ok(store, store_load_counters(store, &counters));
    assert_int_equal(counters.next_task, 1);
    assert_int_equal(counters.next_token, 1);
    assert_int_equal(counters.next_node, 1);
    struct store_node node = {.node = {1},
                              .uuid = "6d9e2c4a-0000-4000-8000-000000000001",
                              .name = "alpha",
                              .spot = true,
                              .drain = true,
                              .drain_deadline_unix_ns = 99};
    build_ok(store, store_begin(store));
    build_ok(store, store_put_node(store, &node));
    counters = (struct store_counters){5, UINT64_C(1) << 40, 7};
    build_ok(store, store_put_counters(store, &counters));
    build_ok(store, store_commit(store));
    store = store_again(state);
    assert_int_equal(store_walk_nodes(store, node_equal, &node), 44);
    struct store_counters again;
    build_ok(store, store_load_counters(store, &again));
    assert_memory_equal(&again, &counters, sizeof again);
    node.node.v = 2;
    build_ok(store, store_begin(store));
    assert_int_equal(store_put_node(store, &node), SL_EEXIST);
    store_rollback(store);
}

static void test_identity_is_made_once_and_differs_between_stores(void **state)
{
    struct store *store = store_of(state);
    char id[NODE_UUID_BYTES];
    uint8_t secret[STORE_SECRET_BYTES];
    build_ok(store, store_farm_id(store, id));
    build_ok(store, store_secret(store, secret));
    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '4');
    store = store_again(state);
    char again[NODE_UUID_BYTES];
    build_ok(store, store_farm_id(store, again));
    assert_string_equal(id, again);
    char url[PLACE_URL_BYTES];
    place->make(url);
    struct store *other = build_open(url, false);
    uint8_t other_secret[STORE_SECRET_BYTES];
    build_ok(other, store_farm_id(other, again));
    build_ok(other, store_secret(other, other_secret));
    assert_string_not_equal(id, again);
    assert_memory_not_equal(secret, other_secret, sizeof secret);
    store_close(&other);
    place->remove(url);
}

/* ---- batches ---- */

static void test_rollback_and_close_leave_nothing_of_a_batch(void **state)
{
    struct store *store = store_of(state);
    build_ok(store, store_begin(store));
    put_video(store, 1);
    assert_true(build_has_video(store, 1)); /* seen by its own handle */
    store_rollback(store);
    assert_false(build_has_video(store, 1));
    build_ok(store, store_begin(store));
    put_video(store, 2);
    store = store_again(state);
    assert_false(build_has_video(store, 2));
}

static void test_rows_are_refused_outside_of_a_batch(void **state)
{
    struct store *store = store_of(state);
    struct store_video video = build_video(1);
    assert_int_equal(store_put_video(store, &video), SL_ECONFLICT);
    assert_int_equal(store_commit(store), SL_ECONFLICT);
    build_ok(store, store_begin(store));
    assert_int_equal(store_begin(store), SL_ECONFLICT);
    build_ok(store, store_put_video(store, &video));
    build_ok(store, store_commit(store));
}

static void test_rows_over_a_limit_spoil_their_batch(void **state)
{
    struct store *store = store_of(state);
    char *text = calloc(1, STORE_BLOB_BYTES + 2);
    memset(text, 'a', STORE_TEXT_BYTES - 1);
    struct store_video video = build_video(2);
    video.name = text;
    build_ok(store, store_begin(store));
    build_ok(store, store_put_video(store, &video)); /* just fits */
    build_ok(store, store_commit(store));
    text[STORE_TEXT_BYTES - 1] = 'a';
    build_ok(store, store_begin(store));
    put_video(store, 1);
    assert_int_equal(store_put_video(store, &video), SL_ELIMIT);
    assert_non_null(strstr(store_why(store), "the name"));
    struct store_task task = build_task(1, 1);
    assert_int_equal(store_put_task(store, &task), SL_ELIMIT);
    assert_int_equal(store_commit(store), SL_ELIMIT);
    assert_false(build_has_video(store, 1));
    build_ok(store, store_begin(store));
    assert_int_equal(store_put_report(store, task.task, (uint8_t *)text, STORE_BLOB_BYTES + 1),
                     SL_ELIMIT);
    store_rollback(store);
    free(text);
}

static void test_reader_sees_commits_and_cannot_write(void **state)
{
    struct store *store = store_of(state);
    struct store *reader = build_open(((struct fixture *)*state)->url, true);
    build_ok(store, store_begin(store));
    put_video(store, 1);
    assert_false(build_has_video(reader, 1));
    build_ok(store, store_commit(store));
    assert_true(build_has_video(reader, 1));
    assert_int_equal(store_begin(reader), SL_EACCES);
    char a[NODE_UUID_BYTES];
    char b[NODE_UUID_BYTES];
    build_ok(store, store_farm_id(store, a));
    build_ok(reader, store_farm_id(reader, b));
    assert_string_equal(a, b);
    store_close(&reader);
    assert_null(reader);
    build_ok(store, store_begin(store));
    put_video(store, 2);
    build_ok(store, store_commit(store));
}

/* ---- a model ---- */

#define MODEL_VIDEOS 6
#define MODEL_TASKS  24

/* attempts of each task, -1: none; a task belongs to video 1 + task % MODEL_VIDEOS. */
struct model {
    bool videos[MODEL_VIDEOS];
    int32_t tasks[MODEL_TASKS];
};

static int model_see(void *arg, const struct store_task *task)
{
    struct model *seen = arg;
    seen->tasks[task->task.v - 1] = task->attempts;
    return 0;
}

static void model_equal(struct store *store, const struct model *model)
{
    struct model seen = {0};
    memset(seen.tasks, 0xff, sizeof seen.tasks);
    for (int64_t v = 0; v < MODEL_VIDEOS; v++) {
        seen.videos[v] = build_has_video(store, v + 1);
        build_ok(store, store_walk_tasks(store, (struct video_id){v + 1}, model_see, &seen));
    }
    assert_memory_equal(&seen, model, sizeof seen);
}

static void model_step(struct store *store, struct model *model)
{
    int task = (int)(random() % MODEL_TASKS);
    int video = (int)(random() % MODEL_VIDEOS);
    switch (random() % 5) {
    case 0:
        put_video(store, video + 1);
        model->videos[video] = true;
        break;
    case 1:
        build_ok(store, store_delete_video(store, (struct video_id){video + 1}));
        model->videos[video] = false;
        for (int t = video; t < MODEL_TASKS; t += MODEL_VIDEOS)
            model->tasks[t] = -1;
        break;
    default:
        video = task % MODEL_VIDEOS;
        if (!model->videos[video])
            return;
        struct store_task row = build_task(task + 1, video + 1);
        row.attempts = (int32_t)(random() % 1000);
        build_ok(store, store_put_task(store, &row));
        model->tasks[task] = row.attempts;
        break;
    }
}

static void test_random_batches_leave_what_a_model_holds(void **state)
{
    struct store *store = store_of(state);
    const char *given = getenv("SLUICE_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    srandom(seed);
    struct model kept = {0};
    memset(kept.tasks, 0xff, sizeof kept.tasks);
    for (int batch = 0; batch < 200; batch++) {
        struct model next = kept;
        build_ok(store, store_begin(store));
        for (long i = random() % 12; i >= 0; i--)
            model_step(store, &next);
        model_equal(store, &next);
        long end = random() % 4;
        if (end == 0) {
            store_rollback(store);
        } else if (end == 1 && random() % 8 == 0) {
            store = store_again(state);
        } else {
            build_ok(store, store_commit(store));
            kept = next;
        }
        model_equal(store, &kept);
    }
}

int store_conformance_run(const struct store_place *given)
{
    place = given;
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        CASE(test_video_comes_back_as_it_was_put),
        CASE(test_putting_again_replaces_and_keeps_tasks),
        CASE(test_external_id_is_unique_and_refuses_one_row_only),
        CASE(test_listing_is_newest_first_by_status_and_page),
        CASE(test_live_videos_are_those_not_ready_in_id_order),
        CASE(test_counts_follow_every_change),
        CASE(test_route_comes_back_and_goes_with_its_video),
        CASE(test_task_comes_back_as_it_was_put),
        CASE(test_task_keeps_when_it_ended),
        CASE(test_task_without_its_video_spoils_the_commit),
        CASE(test_reports_are_walked_and_cleared_by_video),
        CASE(test_deleting_takes_tasks_and_reports_along),
        CASE(test_pruning_takes_the_tasks_of_old_ready_videos),
        CASE(test_walks_may_be_nested),
        CASE(test_nodes_and_counters_outlive_a_restart),
        CASE(test_identity_is_made_once_and_differs_between_stores),
        CASE(test_rollback_and_close_leave_nothing_of_a_batch),
        CASE(test_rows_are_refused_outside_of_a_batch),
        CASE(test_rows_over_a_limit_spoil_their_batch),
        CASE(test_reader_sees_commits_and_cannot_write),
        CASE(test_random_batches_leave_what_a_model_holds),
    };
#undef CASE
    return cmocka_run_group_tests_name(place->driver, tests, NULL, NULL);
}
