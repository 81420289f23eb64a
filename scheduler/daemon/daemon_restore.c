/* From the store to the core and the records, before any thread runs. What was under way is found again
 * by daemon_video_advance; a report's part that is kept in memory is read from the stored reports. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

struct restore {
    struct daemon *d;
    struct sl_failure *why;
    int64_t now_ns;
    int64_t now_unix_ns;
    struct daemon_video *video;
    struct daemon_list videos;
    int64_t tasks;
};

static int node_restore(void *arg, const struct store_node *node)
{
    struct restore *r = arg;
    struct sched_node_row row = {
        .node = node->node,
        .spot = node->spot,
        .drain = node->drain,
        .drain_deadline_unix_ns = node->drain_deadline_unix_ns,
    };
    snprintf(row.uuid, sizeof row.uuid, "%s", node->uuid);
    snprintf(row.name, sizeof row.name, "%s", node->name ? node->name : "");
    return sched_restore_node(r->d->sched, &row);
}

static int video_restore(void *arg, const struct store_video *row)
{
    struct restore *r = arg;
    struct daemon_video *video = daemon_video_load(r->d, row);
    if (!video)
        return 0; /* its row stays; the log has said why */
    int code = sched_restore_video(r->d->sched, &video->row);
    if (code != SL_OK)
        return code;
    return daemon_list_push(&r->videos, video) ? 0 : SL_ENOMEM;
}

static void task_note(struct daemon_video *video, const struct store_task *task)
{
    if (task->step == STEP_AUDIO && task->piece >= 0 && task->piece < PLAN_AUDIO_MAX)
        video->audio_tasks[task->piece] = true;
    if (task->step == STEP_SUBTITLES && task->piece >= 0 && task->piece < PLAN_TEXTS_MAX)
        video->text_tasks |= UINT32_C(1) << task->piece;
    video->images_task |= task->step == STEP_IMAGES;
    if (task->step != STEP_TRANSCODE || task->piece < 0 || task->piece >= video->piece_count)
        return;
    struct daemon_piece *piece = &video->pieces[task->piece];
    piece->task = task->task;
    piece->preroll = task->preroll;
    piece->done = task->state == TASK_DONE;
}

static int route_restore(void *arg, const struct store_route *route)
{
    struct restore *r = arg;
    struct sched_route_row row = {
        .video = route->video,
        .route = {.codec = route->codec,
                  .count = route->count,
                  .mix = route->mix,
                  .ten_bit = route->ten_bit,
                  .device = route->device},
    };
    for (int32_t i = 0; i < route->count; i++) {
        row.route.entries[i].kind = route->entries[i].kind;
        row.route.entries[i].queue_longer_ns = route->entries[i].queue_longer_ns;
    }
    return sched_restore_route(r->d->sched, &row);
}

static int task_restore(void *arg, const struct store_task *task)
{
    struct restore *r = arg;
    struct sched_task_row row = {
        .task = task->task,
        .video = task->video,
        .step = task->step,
        .piece = task->piece,
        .wait_mask = task->wait_mask,
        .codec = task->codec,
        .needs_codec = task->needs_codec,
        .order = task->order,
        .demand = task->demand,
        .entry = task->entry,
        .kind = task->kind,
        .sessions = task->sessions,
        .state = task->state,
        .attempts = task->attempts,
        .losses = task->losses,
        .preroll = task->preroll,
        .not_before_unix_ns = task->not_before_unix_ns,
        .token = task->token,
        .node = task->node,
        .granted_unix_ns = task->granted_unix_ns,
        .lost_nodes = task->lost_nodes,
        .failure = task->failure,
    };
    memcpy(row.avoid, task->avoid, sizeof row.avoid);
    task_note(r->video, task);
    r->tasks++;
    return sched_restore_task(r->d->sched, &row, r->now_ns, r->now_unix_ns);
}

static int report_restore(void *arg, struct task_id task, enum step step, int32_t piece,
                          const uint8_t *bytes, size_t length)
{
    struct restore *r = arg;
    struct daemon_video *video = r->video;
    struct sched_task_row row;
    if (step != STEP_PACKAGE && step != STEP_AUDIO &&
        (step != STEP_TRANSCODE || piece < 0 || piece >= video->piece_count))
        return 0;
    struct sl_arena arena = {0};
    struct report report;
    int code = wire_report_decode(bytes, length, &arena, &report, r->why);
    if (code == SL_OK && sched_task_find(r->d->sched, task, &row) == SL_OK &&
        row.state == TASK_DONE)
        daemon_live_note(r->d, video, step, piece, &report, bytes, length);
    if (code == SL_OK && step == STEP_PACKAGE) {
        code = daemon_package_keep(video, &report);
    } else if (code == SL_OK && step == STEP_TRANSCODE) {
        video->pieces[piece].seam_first = report.transcode.seam_first;
        video->pieces[piece].seam_next = report.transcode.seam_next;
    }
    sl_arena_fini(&arena);
    return code;
}

/* The plan is wanted before the first lease of the video is answered. A plan that is gone is made again from
 * the index, by the same function, when the video is looked at; with one of another release the work begins again. */
static void plan_restore(struct restore *r)
{
    struct daemon_video *video = r->video;
    struct daemon_work *work = daemon_work_new(WORK_PLAN, video);
    if (!work)
        return;
    daemon_work_run(r->d, work, r->d->store);
    if (work->code == SL_OK) {
        daemon_plan_take(r->d, video, work);
    } else {
        struct sl_log_about about = daemon_about(video);
        sl_warn(&about, "its plan cannot be read: %s", work->failure.message);
        free(video->plan_key);
        video->plan_key = NULL;
        if (work->code == SL_EPROTO) {
            free(video->index_key);
            video->index_key = NULL;
        }
        daemon_video_dirty(r->d, video);
    }
    daemon_work_free(&work);
}

static int one_restore(struct restore *r)
{
    struct daemon *d = r->d;
    struct daemon_video *video = r->video;
    int64_t bytes;
    if (!video->has_original) {
        video->source_path = daemon_source_path_get(d, video->text);
        /* It took its name, and the daemon ended before the row knew. */
        if (!video->source_path && daemon_original_find(d, video->text, &bytes) == SL_OK)
            video->source_path = strdup("");
    }
    if (video->plan_key)
        plan_restore(r);
    int code = store_walk_routes(d->store, video->id, route_restore, r);
    if (code == SL_OK)
        code = store_walk_tasks(d->store, video->id, task_restore, r);
    if (code == SL_OK && (video->plan || (video->row.steps_done && video->index_key)))
        code = store_walk_reports(d->store, video->id, report_restore, r);
    daemon_video_touch(d, video);
    return code;
}

/* Likewise the published set of a video that has come to packaging: its leases are answered from it. */
static void set_restore(struct daemon *d, struct daemon_video *video)
{
    struct sched_video_view view;
    if (!video->plan || sched_video_find(d->sched, video->id, &view) != SL_OK ||
        view.status < VIDEO_PACKAGING || view.status > VIDEO_READY)
        return;
    struct daemon_work *work = daemon_work_new(WORK_SET, video);
    if (!work)
        return;
    work->version = video->version;
    daemon_work_run(d, work, d->store);
    video->set = work->set;
    work->set = NULL;
    if (work->code != SL_OK)
        daemon_set_free(&video->set); /* made again, and its failure told, when it is looked at */
    daemon_work_free(&work);
}

int daemon_restore(struct daemon *d, struct sl_failure *why)
{
    struct restore r = {.d = d, .why = why, .now_ns = sl_now_ns(), .now_unix_ns = sl_now_unix_ns()};
    struct store_counters counters;
    int code = store_load_counters(d->store, &counters);
    if (code == SL_OK) {
        sched_restore_counters(
            d->sched,
            &(struct sched_counters){counters.next_task, counters.next_token, counters.next_node});
        code = store_walk_nodes(d->store, node_restore, &r);
    }
    if (code == SL_OK)
        code = store_walk_live_videos(d->store, video_restore, &r);
    daemon_batch_begin(d);
    for (size_t i = 0; i < r.videos.count && code == SL_OK; i++) {
        r.video = r.videos.items[i];
        code = one_restore(&r);
    }
    daemon_op_add(d, (struct daemon_op){.kind = OP_PRUNE_TASKS, .most = -1});
    if (code == SL_OK) {
        code = sched_restore_done(d->sched, d->batch.now_ns, &d->batch.actions);
        daemon_actions_handle(d);
    }
    for (size_t i = 0; i < r.videos.count && code == SL_OK; i++)
        set_restore(d, r.videos.items[i]);
    if (code == SL_OK && r.videos.count > 0)
        sl_info(NULL, "%zu unfinished videos with %" PRId64 " tasks are taken up again",
                r.videos.count, r.tasks);
    daemon_list_fini(&r.videos);
    if (code != SL_OK && !why->message[0])
        sl_fail(why, code, "the state in %s cannot be read: %s", d->data, store_why(d->store));
    return code;
}

/* ---- leftovers ---- */

/* What WORK_CLEAN had not come to the end of: work/<video>/<version>/ goes last, so that whatever else was to
 * go is still found by it. */
struct leftovers {
    struct daemon *d;
    struct leftover {
        char text[VIDEO_ID_TEXT_BYTES];
        struct video_id video;
        int version;
    } * items;
    size_t count;
    size_t capacity;
};

static int leftover_look(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct leftovers *l = arg;
    struct leftover found = {.version = 0};
    if (sscanf(key, "work/%14[a-z0-9]/%d/", found.text, &found.version) != 2 ||
        video_id_parse(found.text, &found.video) != SL_OK || daemon_video_find(l->d, found.video))
        return 0;
    const struct leftover *last = l->count ? &l->items[l->count - 1] : NULL;
    if (last && last->video.v == found.video.v && last->version == found.version)
        return 0;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 16;
        struct leftover *items = realloc(l->items, capacity * sizeof *items);
        if (!items)
            return SL_ENOMEM;
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = found;
    return 0;
}

static int published_version(void *arg, const struct store_video *row)
{
    *(int *)arg = row->status == VIDEO_READY ? (int)row->version : 0;
    return 0;
}

/* Manifests and pictures under the names of the leases that wrote them; their stable copies stay. */
static int manifest_look(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct daemon *d = arg;
    const char *name = strrchr(key, '/') + 1;
    static const char *const stems[] = {"master.t",     "manifest.t", "chapters.t",
                                        "thumbnails.t", "poster.t",   "preview.t"};
    for (size_t i = 0; i < sizeof stems / sizeof stems[0]; i++)
        if (strncmp(name, stems[i], strlen(stems[i])) == 0)
            return objects_delete(d->objects, NULL, key, NULL);
    return 0;
}

static void leftover_clear(struct daemon *d, const struct leftover *left)
{
    char prefix[DAEMON_KEY_BYTES];
    int version = -1;
    int found = store_get_video(d->store, left->video, published_version, &version);
    if (found != SL_OK && found != SL_ENOENT)
        return;
    int code = SL_OK;
    /* Of a video without a row only the work goes: an older database may have been put back. */
    if (version > 0) {
        snprintf(prefix, sizeof prefix, "published/%s/%d/", left->text, version);
        code = objects_list(d->objects, prefix, manifest_look, d, NULL);
        for (int old = version - 1; old > 0 && code == SL_OK; old--) {
            snprintf(prefix, sizeof prefix, "published/%s/%d/", left->text, old);
            code = objects_delete_prefix(d->objects, prefix, NULL);
        }
    }
    daemon_work_prefix(left->text, left->version, prefix);
    if (code == SL_OK)
        objects_delete_prefix(d->objects, prefix, NULL);
}

/* Of a video whose row is there nothing goes: an older database may have been put back. */
static int mark_look(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct daemon *d = arg;
    struct video_id video;
    int version;
    const char *text = strrchr(key, '/') + 1;
    if (video_id_parse(text, &video) == SL_OK &&
        store_get_video(d->store, video, published_version, &version) == SL_ENOENT)
        daemon_deleted_add(d, text);
    return 0;
}

void daemon_leftovers_sweep(struct daemon *d)
{
    objects_list(d->objects, "work/deleted/", mark_look, d, NULL);
    struct leftovers l = {.d = d};
    objects_list(d->objects, "work/", leftover_look, &l, NULL);
    for (size_t i = 0; i < l.count; i++)
        leftover_clear(d, &l.items[i]);
    if (l.count > 0)
        sl_info(NULL, "what %zu finished videos had left behind was removed", l.count);
    free(l.items);
}
