/* What is due next for a live video.
 *
 *   due when                                        does
 *   a source is registered and not copied           WORK_INGEST
 *   the source is there, no probe task              adds the probe task
 *   probed, no plan                                 WORK_PLAN (builds it, or reads the plan object)
 *   planned, tasks missing                          adds at most SCHED_TASKS_ADD_MAX of them per batch
 *   planned, tasks there                            skips what has none, STEP_DONE plan
 *   transcoded, a seam does not hold                TASK_REDO with the next preroll (daemon_report.c)
 *   transcoded, all beside it done, no set          WORK_SET
 *   set there, no package task; packaged, no verify task   adds that task
 *   verified                                        WORK_FINISH, then the catalog moves
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

/* ---- own steps ---- */

void daemon_video_fail(struct daemon *d, struct daemon_video *video, const struct sl_failure *why)
{
    struct sched_video_view view;
    if (sched_video_find(d->sched, video->id, &view) != SL_OK)
        return;
    struct sched_event event = daemon_event(d, SCHED_VIDEO_FAIL);
    event.video = video->id;
    event.failure = *why;
    event.failed_step = STEP_PROBE;
    static const enum step order[] = {STEP_VERIFY, STEP_PACKAGE, STEP_TRANSCODE, STEP_PLAN};
    static const enum step before[] = {STEP_PACKAGE, STEP_TRANSCODE, STEP_PLAN, STEP_PROBE};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (view.steps[before[i]].finished) {
            event.failed_step = order[i];
            break;
        }
    if (why->code == SL_ESEAM)
        event.failed_step = STEP_TRANSCODE;
    video->waiting = (struct sl_failure){0};
    daemon_step(d, &event);
}

int daemon_video_again(struct daemon *d, struct daemon_video *video, enum step step)
{
    struct sched_event event = daemon_event(d, SCHED_VIDEO_RETRY);
    event.video = video->id;
    event.step = step;
    int code = daemon_step(d, &event);
    if (code != SL_OK)
        return code;
    if (step <= STEP_PLAN) {
        free(video->plan_key);
        video->plan_key = NULL;
        daemon_video_plan_drop(video);
    } else if (step < STEP_COUNT) {
        if (step == STEP_TRANSCODE)
            for (int32_t i = 0; i < video->piece_count; i++)
                video->pieces[i].done = false;
        if (step <= STEP_IMAGES)
            daemon_video_set_drop(video);
    }
    if (step <= STEP_AUDIO)
        daemon_live_stale(d, video);
    video->work_tries = 0;
    video->waiting = (struct sl_failure){0};
    daemon_video_dirty(d, video);
    daemon_video_touch(d, video);
    return SL_OK;
}

static struct daemon_work *work_begin(struct daemon *d, struct daemon_video *video,
                                      enum daemon_work_kind kind)
{
    struct daemon_work *work = daemon_work_new(kind, video);
    if (!work || !daemon_list_push(&d->batch.works, work)) {
        daemon_work_free(&work);
        return NULL;
    }
    work->version = video->version;
    video->work = work;
    return work;
}

static void work_again_later(struct daemon *d, struct daemon_video *video,
                             const struct sl_failure *why)
{
    struct sl_log_about about = daemon_about(video);
    if (video->waiting.code != why->code)
        sl_warn(&about, "%s; it is tried again every %d s", why->message,
                (int)(DAEMON_WORK_RETRY_NS / SL_NS_PER_S));
    video->waiting = *why;
    video->retry_at_ns = d->batch.now_ns + DAEMON_WORK_RETRY_NS;
    video->next_timed = d->timed;
    d->timed = video;
}

/* Whether the same work may go well later. A full disk is waited for as long as it takes. */
static bool is_passing(const struct daemon_video *video, int code)
{
    if (code == SL_ENOSPC)
        return true;
    enum sl_class cls = sl_error_class(code);
    return (cls == SL_CLASS_TRANSIENT || cls == SL_CLASS_CAPACITY) &&
           video->work_tries < DAEMON_WORK_TRIES;
}

/* ---- tasks ---- */

static int tasks_add(struct daemon *d, struct daemon_video *video,
                     const struct sched_task_spec *specs, int32_t count, struct task_id *ids)
{
    struct sched_event event = daemon_event(d, SCHED_TASKS_ADD);
    event.video = video->id;
    event.tasks.specs = specs;
    event.tasks.count = count;
    event.tasks.out_ids = ids;
    int code = daemon_step(d, &event);
    if (code != SL_OK && code != SL_ECONFLICT) {
        struct sl_failure why;
        sl_fail(&why, code, "the queue takes no more tasks (at most %d); let videos finish first",
                SCHED_TASKS_MAX);
        daemon_video_fail(d, video, &why);
    }
    return code;
}

static void step_task_add(struct daemon *d, struct daemon_video *video, enum step step,
                          uint32_t wait_mask)
{
    struct sched_task_spec spec = {
        .step = step, .wait_mask = wait_mask, .demand = plan_step_demand(step)};
    tasks_add(d, video, &spec, 1, NULL);
}

static struct sched_task_spec transcode_spec(const struct plan *plan, int32_t piece)
{
    return (struct sched_task_spec){
        .step = STEP_TRANSCODE,
        .piece = piece,
        .wait_mask = STEP_BIT(STEP_PLAN),
        .codec = plan_codec_at(plan, piece % plan->codec_count),
        .needs_codec = true,
        .order = plan_transcode_order(plan, piece),
        .demand = plan_transcode_demand(plan, piece),
    };
}

/* A task that runs beside the encodes. */
static struct sched_task_spec beside_spec(enum step step, int32_t piece)
{
    return (struct sched_task_spec){.step = step,
                                    .piece = piece,
                                    .wait_mask = STEP_BIT(STEP_PLAN),
                                    .order = PLAN_ORDER_AUDIO,
                                    .demand = plan_step_demand(step)};
}

/* At most one event's worth. True when every task of the plan is there. */
static bool pieces_insert(struct daemon *d, struct daemon_video *video)
{
    const struct plan *plan = video->plan;
    struct sched_task_spec *specs = calloc(SCHED_TASKS_ADD_MAX, sizeof *specs);
    struct task_id *ids = calloc(SCHED_TASKS_ADD_MAX, sizeof *ids);
    int32_t count = 0;
    bool all = false;
    if (!specs || !ids || daemon_routes_put(d, video) != SL_OK)
        goto done;
    for (int32_t a = 0; a < plan->audio_count; a++)
        if (!video->audio_tasks[a]) {
            specs[count++] = (struct sched_task_spec){.step = STEP_AUDIO,
                                                      .piece = a,
                                                      .wait_mask = STEP_BIT(STEP_PLAN),
                                                      .demand = plan_step_demand(STEP_AUDIO)};
            video->audio_tasks[a] = true;
        }
    for (int32_t t = 0; t < plan->text_count; t++)
        if (!(video->text_tasks & UINT32_C(1) << t)) {
            specs[count++] = beside_spec(STEP_SUBTITLES, t);
            video->text_tasks |= UINT32_C(1) << t;
        }
    if (plan->images.still_count > 0 && !video->images_task) {
        specs[count++] = beside_spec(STEP_IMAGES, 0);
        video->images_task = true;
    }
    for (; video->inserted < video->piece_count && count < SCHED_TASKS_ADD_MAX; video->inserted++)
        if (video->pieces[video->inserted].task.v == 0)
            specs[count++] = transcode_spec(plan, video->inserted);
    if (count > 0 && tasks_add(d, video, specs, count, ids) != SL_OK)
        goto done;
    for (int32_t i = 0; i < count; i++)
        if (specs[i].step == STEP_TRANSCODE)
            video->pieces[specs[i].piece].task = ids[i];
    all = video->inserted == video->piece_count;
done:
    free(specs);
    free(ids);
    return all;
}

static void step_mark(struct daemon *d, struct daemon_video *video, enum sched_event_kind kind,
                      enum step step)
{
    struct sched_event event = daemon_event(d, kind);
    event.video = video->id;
    event.step = step;
    daemon_step(d, &event);
}

static void plan_insert(struct daemon *d, struct daemon_video *video)
{
    if (!pieces_insert(d, video)) {
        /* The rest goes into the next batches, so that leases are renewed between them. */
        if (!daemon_list_push(&d->again, (void *)(intptr_t)video->id.v))
            abort();
        return;
    }
    if (video->piece_count == 0)
        step_mark(d, video, SCHED_STEP_SKIP, STEP_TRANSCODE);
    if (video->plan->audio_count == 0)
        step_mark(d, video, SCHED_STEP_SKIP, STEP_AUDIO);
    if (video->plan->text_count == 0)
        step_mark(d, video, SCHED_STEP_SKIP, STEP_SUBTITLES);
    if (video->plan->images.still_count == 0)
        step_mark(d, video, SCHED_STEP_SKIP, STEP_IMAGES);
    step_mark(d, video, SCHED_STEP_DONE, STEP_PLAN);
    struct sl_log_about about = daemon_about(video);
    sl_info(&about,
            "planned: %d chunks, %d segments, %d rungs, %d audio renditions, %d subtitle tracks",
            (int)video->plan->chunk_count, (int)video->plan->segment_count,
            (int)video->plan->rung_count, (int)video->plan->audio_count,
            (int)video->plan->text_count);
    if (video->plan->left_out[0])
        sl_warn(&about, "%s", video->plan->left_out);
}

/* ---- what is due ---- */

static bool any_task(const struct sched_step_view *step)
{
    return step->waiting + step->queued + step->running + step->done + step->dead +
               step->cancelled >
           0;
}

static bool step_over(const struct sched_step_view *step)
{
    return step->finished || step->skipped;
}

static int token_add(void *arg, const struct sched_task_row *row)
{
    struct daemon_work *work = arg;
    if (row->state != TASK_DONE || row->token.v == 0)
        return 0;
    uint64_t *tokens = realloc(work->tokens, (work->token_count + 1) * sizeof *tokens);
    if (!tokens)
        return SL_ENOMEM;
    work->tokens = tokens;
    work->tokens[work->token_count++] = row->token.v;
    return 0;
}

static int token_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void finish_begin(struct daemon *d, struct daemon_video *video)
{
    struct daemon_work *work = work_begin(d, video, WORK_FINISH);
    if (!work)
        return;
    sched_video_tasks_walk(d->sched, video->id, token_add, work);
    qsort(work->tokens, work->token_count, sizeof *work->tokens, token_compare);
    int32_t plays = daemon_video_published(video);
    work->old_version = plays != video->version ? plays : 0;
}

void daemon_video_advance(struct daemon *d, struct daemon_video *video)
{
    struct sched_video_view view;
    if (video->work || video->retry_at_ns || video->deleting ||
        sched_video_find(d->sched, video->id, &view) != SL_OK || view.status == VIDEO_FAILED ||
        view.status == VIDEO_CANCELLED)
        return;
    if (!video->has_original) {
        if (video->source_path)
            work_begin(d, video, WORK_INGEST);
        return;
    }
    const struct sched_step_view *steps = view.steps;
    if (!steps[STEP_PROBE].finished) {
        if (!any_task(&steps[STEP_PROBE]))
            step_task_add(d, video, STEP_PROBE, 0);
        return;
    }
    if (!video->plan) {
        work_begin(d, video, WORK_PLAN);
        return;
    }
    if (!steps[STEP_PLAN].finished) {
        plan_insert(d, video);
        return;
    }
    if (!step_over(&steps[STEP_TRANSCODE]) || !daemon_seams_hold(d, video) ||
        !step_over(&steps[STEP_AUDIO]) || !step_over(&steps[STEP_SUBTITLES]) ||
        !step_over(&steps[STEP_IMAGES]))
        return;
    if (!video->set) {
        work_begin(d, video, WORK_SET);
        return;
    }
    if (!steps[STEP_PACKAGE].finished) {
        if (!any_task(&steps[STEP_PACKAGE]))
            step_task_add(d, video, STEP_PACKAGE,
                          STEP_BIT(STEP_TRANSCODE) | STEP_BIT(STEP_AUDIO) |
                              STEP_BIT(STEP_SUBTITLES) | STEP_BIT(STEP_IMAGES));
        return;
    }
    if (!steps[STEP_VERIFY].finished) {
        if (!any_task(&steps[STEP_VERIFY]))
            step_task_add(d, video, STEP_VERIFY, STEP_BIT(STEP_PACKAGE));
        return;
    }
    finish_begin(d, video);
}

/* ---- results of own work ---- */

static int holder_wake(void *arg, const struct sched_task_row *row)
{
    struct daemon *d = arg;
    if (row->state == TASK_RUNNING &&
        !daemon_list_push(&d->batch.wake, (void *)(intptr_t)row->node.v))
        abort();
    return 0;
}

static void ingest_take(struct daemon *d, struct daemon_video *video, struct daemon_work *work)
{
    struct sl_log_about about = daemon_about(video);
    video->has_original = true;
    video->original_bytes = work->bytes;
    memcpy(video->original_sha256, work->sha256, SHA256_BYTES);
    free(video->source_path);
    video->source_path = NULL;
    daemon_video_dirty(d, video);
    sl_info(&about, "the source has arrived: %" PRId64 " bytes", work->bytes);
}

/* Which tasks of the plan are there already: from before a crash, or before the plan was read again. What a
 * done piece's neighbours would be held against is not known here; its seams held when it was done. */
static int piece_note(void *arg, const struct sched_task_row *row)
{
    struct daemon_video *video = arg;
    if (row->step == STEP_AUDIO && row->piece >= 0 && row->piece < PLAN_AUDIO_MAX)
        video->audio_tasks[row->piece] = true;
    if (row->step == STEP_SUBTITLES && row->piece >= 0 && row->piece < PLAN_TEXTS_MAX)
        video->text_tasks |= UINT32_C(1) << row->piece;
    video->images_task |= row->step == STEP_IMAGES;
    if (row->step == STEP_TRANSCODE && row->piece >= 0 && row->piece < video->piece_count) {
        video->pieces[row->piece].task = row->task;
        video->pieces[row->piece].preroll = row->preroll;
    }
    return 0;
}

void daemon_plan_take(struct daemon *d, struct daemon_video *video, struct daemon_work *work)
{
    daemon_video_plan_drop(video);
    int64_t count = (int64_t)work->plan->chunk_count * work->plan->codec_count;
    video->pieces = calloc((size_t)count + 1, sizeof *video->pieces);
    if (!video->pieces)
        abort();
    video->piece_count = (int32_t)count;
    video->plan_arena = work->arena;
    work->arena = (struct sl_arena){0};
    video->plan = work->plan;
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        video->routes[codec] = (struct daemon_route){.chosen = work->routes[codec]};
    sched_video_tasks_walk(d->sched, video->id, piece_note, video);
    if (!video->plan_key || strcmp(video->plan_key, work->plan_key) != 0) {
        free(video->plan_key);
        video->plan_key = strdup(work->plan_key);
        daemon_video_dirty(d, video);
    }
}

/* The catalog moves: one transaction makes the version the one that plays and takes the video out of
 * the queues. */
static void finish_take(struct daemon *d, struct daemon_video *video, struct daemon_work *work)
{
    struct sl_log_about about = daemon_about(video);
    char prefix[DAEMON_KEY_BYTES];
    daemon_video_prefix(video, prefix);
    prefix[strlen(prefix) - 1] = '\0';
    free(video->published_key);
    video->published_key = strdup(prefix);
    free(video->result);
    video->result = malloc(video->set->result_bytes);
    if (!video->published_key || !video->result)
        abort();
    memcpy(video->result, video->set->result, video->set->result_bytes);
    video->result_bytes = video->set->result_bytes;
    video->status = VIDEO_READY;
    video->completed_unix_ns = d->batch.now_unix_ns;
    daemon_video_dirty(d, video);
    daemon_op_add(d, (struct daemon_op){.kind = OP_CLEAR_REPORTS, .video_id = video->id});
    daemon_op_add(d, (struct daemon_op){.kind = OP_PRUNE_TASKS, .most = DAEMON_PRUNE_MAX});
    if (!daemon_list_push(&d->batch.news, video))
        abort();
    struct sched_event event = daemon_event(d, SCHED_VIDEO_FORGET);
    event.video = video->id;
    daemon_step(d, &event);
    struct daemon_work *clean = daemon_work_new(WORK_CLEAN, NULL);
    if (clean) {
        memcpy(clean->text, video->text, sizeof clean->text);
        clean->version = video->version;
        clean->old_version = work->old_version;
        struct daemon_stable stable[DAEMON_STABLE_MAX];
        int count = daemon_stable_list(video, stable);
        for (int i = 0; i < count; i++)
            memcpy(clean->manifests[i], stable[i].key, DAEMON_KEY_BYTES);
        if (!daemon_list_push(&d->batch.works, clean))
            daemon_work_free(&clean);
    }
    sl_info(&about, "ready");
    daemon_video_leave(d, video);
}

static void delete_take(struct daemon *d, struct daemon_video *video, struct daemon_work *work)
{
    struct daemon_call *call = video->delete_call;
    video->delete_call = NULL;
    if (work->code == SL_OK) {
        struct sl_log_about about = daemon_about(video);
        struct sched_event event = daemon_event(d, SCHED_VIDEO_FORGET);
        event.video = video->id;
        daemon_step(d, &event); /* a finished one has left the core already */
        daemon_op_add(d, (struct daemon_op){.kind = OP_DELETE_VIDEO, .video_id = video->id});
        daemon_deleted_add(d, video->text);
        sl_info(&about, "deleted");
        daemon_video_leave(d, video);
    } else {
        /* The row stays, cancelled, so that the deletion can be asked for again. */
        video->deleting = false;
        if (call) {
            call->api->failure = work->failure;
            call->api->code = work->code;
        }
    }
    if (call && !daemon_list_push(&d->batch.calls, call))
        abort();
}

void daemon_deleted_add(struct daemon *d, const char *text)
{
    struct daemon_deleted *deleted = calloc(1, sizeof *deleted);
    if (!deleted)
        return; /* its mark stays, and the next start finds it */
    snprintf(deleted->text, sizeof deleted->text, "%s", text);
    deleted->due_at_ns = sl_now_ns() + d->late_ns;
    *(d->deleted ? &d->deleted_last->next : &d->deleted) = deleted;
    d->deleted_last = deleted;
}

void daemon_deleted_sweep(struct daemon *d)
{
    for (struct daemon_deleted *due; (due = d->deleted) && due->due_at_ns <= d->batch.now_ns;) {
        struct daemon_work *work = daemon_work_new(WORK_LATE, NULL);
        d->deleted = due->next;
        if (work) {
            memcpy(work->text, due->text, sizeof work->text);
            if (!daemon_list_push(&d->batch.works, work))
                daemon_work_free(&work);
        }
        free(due);
    }
}

/* What an older release stored may say nothing to this one. The source is still there; once is enough, since what was
 * probed now can be read. */
static bool probe_anew(struct daemon *d, struct daemon_video *video, const struct daemon_work *work)
{
    if (work->kind != WORK_PLAN || work->code != SL_EPROTO || video->probed_anew ||
        daemon_video_again(d, video, STEP_PROBE) != SL_OK)
        return false;
    struct sl_log_about about = daemon_about(video);
    sl_warn(&about, "what its probe left cannot be read: %s; it begins again with the probe",
            work->failure.message);
    video->probed_anew = true;
    return true;
}

void daemon_work_result(struct daemon *d, struct daemon_work *work)
{
    struct daemon_video *video = work->video;
    if (!daemon_list_push(&d->batch.works_done, work))
        abort();
    if (!video)
        return;
    video->work = NULL;
    if (work->kind == WORK_DELETE) {
        delete_take(d, video, work);
        return;
    }
    if (video->deleting) {
        daemon_delete_begin(d, video);
        return;
    }
    /* The video took another turn while the work was under way. */
    if (work->is_void) {
        daemon_video_touch(d, video);
        return;
    }
    if (work->code != SL_OK) {
        if (probe_anew(d, video, work))
            return;
        video->work_tries++;
        if (is_passing(video, work->code)) {
            work_again_later(d, video, &work->failure);
        } else {
            video->work_tries = 0;
            daemon_video_fail(d, video, &work->failure);
        }
        return;
    }
    video->work_tries = 0;
    video->waiting = (struct sl_failure){0};
    switch (work->kind) {
    case WORK_INGEST:
        ingest_take(d, video, work);
        break;
    case WORK_PLAN:
        daemon_plan_take(d, video, work);
        break;
    case WORK_SET:
        daemon_set_free(&video->set);
        video->set = work->set;
        work->set = NULL;
        break;
    case WORK_FINISH:
        finish_take(d, video, work);
        return;
    case WORK_DELETE:
    case WORK_CLEAN:
    case WORK_LATE:
        break;
    }
    daemon_video_touch(d, video);
    /* Grants that were held back for want of a plan or set can be built now. */
    if (work->kind == WORK_PLAN || work->kind == WORK_SET)
        sched_video_tasks_walk(d->sched, video->id, holder_wake, d);
}

void daemon_delete_begin(struct daemon *d, struct daemon_video *video)
{
    struct daemon_work *work = work_begin(d, video, WORK_DELETE);
    if (work)
        work->with_original = video->delete_original;
}
