/* Calls of the HTTP side: taken in a batch (what they change), answered after its commit (what they show). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "scheduler/daemon/daemon_internal.h"

/* ---- on the HTTP threads ---- */

struct daemon_call *daemon_call_new(enum daemon_call_kind kind)
{
    struct daemon_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->kind = kind;
    pthread_mutex_init(&call->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&call->answered, &attr);
    pthread_condattr_destroy(&attr);
    return call;
}

/* Leaves call->api alone. */
void daemon_call_free(struct daemon_call **call_at)
{
    struct daemon_call *call = *call_at;
    if (!call)
        return;
    pthread_cond_destroy(&call->answered);
    pthread_mutex_destroy(&call->lock);
    free(call->policy_text);
    free(call);
    *call_at = NULL;
}

int daemon_call_wait(struct daemon *d, struct daemon_call **call_at, int64_t timeout_ns)
{
    struct daemon_call *call = *call_at;
    int code = daemon_inbox_post(&d->inbox, ITEM_CALL, call, false);
    if (code != SL_OK) {
        atomic_fetch_add(&d->inbox_refused, 1);
        return code;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at_ns = (int64_t)until.tv_sec * SL_NS_PER_S + until.tv_nsec + timeout_ns;
    until.tv_sec = (time_t)(at_ns / SL_NS_PER_S);
    until.tv_nsec = (long)(at_ns % SL_NS_PER_S);
    pthread_mutex_lock(&call->lock);
    int waited = 0;
    while (!call->is_answered && waited == 0)
        waited = pthread_cond_timedwait(&call->answered, &call->lock, &until);
    bool answered = call->is_answered;
    call->is_abandoned = !answered;
    pthread_mutex_unlock(&call->lock);
    if (answered)
        return SL_OK;
    *call_at = NULL;
    return SL_EBUSY;
}

static int submit_prepare(struct daemon *d, struct daemon_call *call)
{
    struct api_submit *submit = &call->api->submit;
    int code = daemon_policy_load(d, call->api, &call->policy, &call->policy_text);
    if (code == SL_OK && submit->path)
        code = daemon_source_check(d, submit->path, &call->api->failure);
    if (code == SL_OK)
        code = daemon_sidecars_prepare(d, call->api);
    if (code == SL_OK && submit->external_id && !submit->provider)
        submit->provider = "";
    return code;
}

int daemon_api_call(void *arg, struct api_call **api, struct sl_failure *why)
{
    struct daemon *d = arg;
    struct daemon_call *call = daemon_call_new(CALL_API);
    if (!call)
        return sl_fail(why, SL_ENOMEM, "not enough memory; try again");
    call->api = *api;
    if (call->api->kind == API_CALL_SUBMIT) {
        call->api->code = submit_prepare(d, call);
        if (call->api->code != SL_OK) {
            daemon_call_free(&call);
            return SL_OK;
        }
    }
    if (call->api->kind == API_CALL_SIDECAR) {
        call->api->code = daemon_sidecars_prepare(d, call->api);
        if (call->api->code != SL_OK) {
            daemon_call_free(&call);
            return SL_OK;
        }
    }
    bool deletes = call->api->kind == API_CALL_DELETE;
    int code = daemon_call_wait(d, &call, deletes ? DAEMON_DELETE_WAIT_NS : DAEMON_CALL_WAIT_NS);
    if (code == SL_OK || call) {
        daemon_call_free(&call);
        if (code != SL_OK) {
            api_call_free(api);
            return sl_fail(why, SL_EBUSY, "the daemon has too many requests waiting; try again");
        }
        return SL_OK;
    }
    *api = NULL;
    if (daemon_health(d, why) != SL_OK)
        return why->code;
    return sl_fail(why, SL_EBUSY,
                   "the daemon did not answer in time; what was asked may still happen");
}

/* ---- in the batch ---- */

static int call_fail(struct api_call *call, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int call_fail(struct api_call *call, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(call->failure.message, sizeof call->failure.message, fmt, args);
    va_end(args);
    call->failure.code = code;
    call->code = code;
    return code;
}

static int no_video(struct api_call *call)
{
    char id[VIDEO_ID_TEXT_BYTES];
    return call_fail(call, SL_ENOENT, "there is no video %s; `sluice list` shows those there are",
                     video_id_format(call->video, id));
}

/* Submitted a moment ago, in this very batch: not in the store yet. */
static bool batch_find_external(struct daemon *d, const struct api_submit *submit,
                                struct video_id *out)
{
    for (size_t i = 0; i < d->batch.calls.count; i++) {
        const struct daemon_call *other = d->batch.calls.items[i];
        if (other->kind != CALL_API || other->api->kind != API_CALL_SUBMIT ||
            !other->api->submit.created || !other->api->submit.external_id)
            continue;
        if (strcmp(other->api->submit.external_id, submit->external_id) == 0 &&
            strcmp(other->api->submit.provider, submit->provider) == 0) {
            *out = other->api->video;
            return true;
        }
    }
    return false;
}

static struct video_id id_make(struct daemon *d)
{
    struct video_id id;
    do {
        uint32_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = (uint32_t)sl_now_ns();
        id = video_id_make(d->batch.now_unix_ns, random);
    } while (daemon_video_find(d, id));
    return id;
}

static const char *name_of(const struct api_submit *submit)
{
    if (submit->name)
        return submit->name;
    if (!submit->path)
        return NULL;
    const char *slash = strrchr(submit->path, '/');
    return slash ? slash + 1 : submit->path;
}

/* At most what the store takes. */
static char *name_copy(const char *name)
{
    return name ? strndup(name, STORE_TEXT_BYTES - 1) : NULL;
}

static int core_add(struct daemon *d, struct daemon_video *video)
{
    struct sched_event event = daemon_event(d, SCHED_VIDEO_ADD);
    event.video = video->id;
    event.video_row = (struct sched_video_row){.video = video->id,
                                               .priority = video->priority,
                                               .created_unix_ns = video->created_unix_ns,
                                               .attempts_max = video->policy->policy.attempts_max};
    return daemon_step(d, &event);
}

/* What came with a video that is known already: the same files again are fine. */
static void known_sidecars_handle(struct daemon *d, struct api_call *api)
{
    char text[VIDEO_ID_TEXT_BYTES];
    api->code = daemon_sidecars_take(d, video_id_format(api->video, text),
                                     daemon_video_find(d, api->video), api);
}

static void submit_handle(struct daemon *d, struct daemon_call *call)
{
    struct api_call *api = call->api;
    struct api_submit *submit = &api->submit;
    if (submit->external_id && (batch_find_external(d, submit, &api->video) ||
                                store_find_external(d->store, submit->provider, submit->external_id,
                                                    &api->video) == SL_OK)) {
        const struct daemon_video *same = daemon_video_find(d, api->video);
        if (same && same->deleting)
            call_fail(
                api, SL_ECONFLICT,
                "video %s, which has this external id, is just being deleted; submit it again "
                "in a moment",
                same->text);
        else
            known_sidecars_handle(d, api);
        return;
    }
    struct video_id id = id_make(d);
    char text[VIDEO_ID_TEXT_BYTES];
    video_id_format(id, text);
    /* The path outlives a crash beside the place where its copy will lie. */
    if (submit->path &&
        (api->code = daemon_source_path_put(d, text, submit->path, &api->failure)) != SL_OK)
        return;
    if ((api->code = daemon_sidecars_take(d, text, NULL, api)) != SL_OK) {
        daemon_source_path_drop(d, text);
        return;
    }
    struct daemon_video *video = daemon_video_new(d, id);
    if (!video)
        abort();
    const char *policy_name = submit->policy_text ? call->policy.name : submit->policy;
    video->policy = daemon_policy_ref(d, policy_name && policy_name[0] ? policy_name : "default",
                                      call->policy_text, &call->policy);
    video->priority = submit->priority;
    video->stream_asked = submit->stream_asked;
    video->created_unix_ns = d->batch.now_unix_ns;
    video->provider = submit->provider ? strdup(submit->provider) : NULL;
    video->external_id = submit->external_id ? strdup(submit->external_id) : NULL;
    video->name = name_copy(name_of(submit));
    video->source_path = submit->path ? strdup(submit->path) : NULL;
    if (!video->policy)
        abort();
    int code = core_add(d, video);
    if (code != SL_OK) {
        daemon_source_path_drop(d, text);
        daemon_video_leave(d, video);
        call_fail(api, code, "the daemon holds as many unfinished videos as it can (%d)",
                  SCHED_VIDEOS_MAX);
        return;
    }
    daemon_video_dirty(d, video);
    daemon_video_touch(d, video);
    if (!daemon_list_push(&d->batch.news, video))
        abort();
    api->video = id;
    submit->created = true;
    struct sl_log_about about = daemon_about(video);
    sl_info(&about, "submitted: %s, policy %s, priority %s", video->name ? video->name : "no name",
            video->policy->name, priority_word(video->priority));
}

struct load {
    struct daemon *d;
    struct daemon_video *video;
};

static int video_load(void *arg, const struct store_video *row)
{
    struct load *load = arg;
    load->video = daemon_video_load(load->d, row);
    return 0;
}

static int status_look(void *arg, const struct store_video *row)
{
    *(enum video_status *)arg = row->status;
    return 0;
}

/* The status of a video that is not live; VIDEO_STATUS_COUNT: there is none. */
static enum video_status stored_status(struct daemon *d, struct video_id id)
{
    enum video_status status = VIDEO_STATUS_COUNT;
    store_get_video(d->store, id, status_look, &status);
    return status;
}

static void cancel_handle(struct daemon *d, struct api_call *call)
{
    struct daemon_video *video = daemon_video_find(d, call->video);
    if (!video) {
        if (stored_status(d, call->video) == VIDEO_STATUS_COUNT)
            no_video(call);
        else
            call_fail(call, SL_ECONFLICT,
                      "the video is ready, so there is nothing to cancel; `sluice delete` removes "
                      "it");
        return;
    }
    struct sched_event event = daemon_event(d, SCHED_VIDEO_CANCEL);
    event.video = video->id;
    int code = daemon_step(d, &event);
    if (code != SL_OK)
        call_fail(call, code, "the video is just being finished; there is nothing left to cancel");
    else if (video->work && video->work->kind != WORK_INGEST)
        video->work->is_void = true;
}

/* A finished video gets another version, made from scratch; the old one plays until then. */
static void version_begin(struct daemon *d, struct api_call *call)
{
    struct load load = {.d = d};
    store_get_video(d->store, call->video, video_load, &load);
    struct daemon_video *video = load.video;
    if (!video) {
        call_fail(call, SL_EINTERNAL, "the video's row cannot be read; see the daemon's log");
        return;
    }
    free(video->info);
    free(video->index_key);
    free(video->plan_key);
    video->info = NULL;
    video->info_bytes = 0;
    video->index_key = NULL;
    video->plan_key = NULL;
    video->version++;
    video->status = VIDEO_UPLOADED;
    video->started_unix_ns = 0;
    video->completed_unix_ns = 0;
    int code = core_add(d, video);
    if (code != SL_OK) {
        call_fail(call, code, "the daemon holds as many unfinished videos as it can (%d)",
                  SCHED_VIDEOS_MAX);
        daemon_video_leave(d, video);
        return;
    }
    daemon_op_add(d, (struct daemon_op){.kind = OP_DELETE_TASKS,
                                        .video_id = video->id,
                                        .step_mask = STEP_BIT(STEP_COUNT) - 1});
    daemon_video_dirty(d, video);
    daemon_video_touch(d, video);
}

static void retry_handle(struct daemon *d, struct api_call *call)
{
    struct daemon_video *video = daemon_video_find(d, call->video);
    if (!video) {
        if (stored_status(d, call->video) == VIDEO_STATUS_COUNT)
            no_video(call);
        else if (call->step == STEP_COUNT)
            call_fail(call, SL_ECONFLICT,
                      "the video is ready; say from which step to make a new version, for example "
                      "--from probe");
        else
            version_begin(d, call);
        return;
    }
    if (video->work || video->deleting) {
        call_fail(call, SL_EBUSY, "the daemon is at work on this video; try again in a moment");
        return;
    }
    int code = daemon_video_again(d, video, call->step);
    if (code != SL_OK && call->step == STEP_COUNT)
        call_fail(call, code, "the video is %s and has not failed, so there is nothing to retry",
                  video_status_word(video->status));
    else if (code != SL_OK)
        call_fail(call, code, "the video has not come to the step %s yet", step_word(call->step));
}

static void sidecar_handle(struct daemon *d, struct api_call *call)
{
    const struct daemon_video *video = daemon_video_find(d, call->video);
    char text[VIDEO_ID_TEXT_BYTES];
    if (!video && stored_status(d, call->video) == VIDEO_STATUS_COUNT)
        no_video(call);
    else
        call->code = daemon_sidecars_take(d, video_id_format(call->video, text), video, call);
}

static void delete_handle(struct daemon *d, struct daemon_call *call)
{
    struct api_call *api = call->api;
    struct daemon_video *video = daemon_video_find(d, api->video);
    if (video && video->deleting) {
        call_fail(api, SL_EBUSY, "the video is being deleted already");
        return;
    }
    if (!video) {
        struct load load = {.d = d};
        store_get_video(d->store, api->video, video_load, &load);
        video = load.video;
        if (!video) {
            if (stored_status(d, api->video) == VIDEO_STATUS_COUNT)
                no_video(api);
            else
                call_fail(api, SL_EINTERNAL, "the video's row cannot be read; see the log");
            return;
        }
    } else {
        struct sched_event event = daemon_event(d, SCHED_VIDEO_CANCEL);
        event.video = video->id;
        daemon_step(d, &event);
    }
    /* The catalog lets go first, then the objects go, then the row. */
    free(video->published_key);
    video->published_key = NULL;
    video->status = VIDEO_CANCELLED;
    video->row.cancelled = true;
    video->deleting = true;
    video->delete_original = api->with_original;
    video->delete_call = call;
    call->held_back = true;
    daemon_video_dirty(d, video);
    if (!api->with_original && video->has_original)
        api->original_key = sl_arena_strdup(&api->arena, video->original_key);
    if (!video->work)
        daemon_delete_begin(d, video);
}

/* ---- nodes ---- */

struct node_search {
    const char *text;
    struct node_id found;
    int count;
};

static int node_match(void *arg, const struct sched_node_view *view)
{
    struct node_search *search = arg;
    if (strcmp(view->row.uuid, search->text) == 0) {
        search->found = view->row.node;
        search->count = 1;
        return 1;
    }
    if (strcmp(view->row.name, search->text) == 0) {
        search->found = view->row.node;
        search->count++;
    }
    return 0;
}

static void drain_handle(struct daemon *d, struct api_call *call)
{
    struct node_search search = {.text = call->node};
    sched_nodes_walk(d->sched, node_match, &search);
    if (search.count == 0) {
        call_fail(call, SL_ENOENT,
                  "there is no node \"%.100s\"; `sluice nodes` shows those there are", call->node);
        return;
    }
    if (search.count > 1) {
        call_fail(call, SL_ECONFLICT, "%d nodes have the name \"%.100s\"; use the node_id",
                  search.count, call->node);
        return;
    }
    struct sched_event event =
        daemon_event(d, call->kind == API_CALL_DRAIN ? SCHED_NODE_DRAIN : SCHED_NODE_UNDRAIN);
    event.node = search.found;
    if (call->kind == API_CALL_DRAIN)
        event.drain_deadline_ns = call->deadline_ns;
    int code = daemon_step(d, &event);
    if (code != SL_OK) {
        call_fail(call, code, "the node's state does not allow it");
        return;
    }
    /* The agent shall hear of it now, not with its next sync. */
    if (!daemon_list_push(&d->batch.wake, (void *)(intptr_t)search.found.v))
        abort();
    call->nodes = sl_arena_array(&call->arena, 1, sizeof *call->nodes);
    if (!call->nodes)
        abort();
    struct sched_node_view view;
    sched_node_find(d->sched, search.found, &view);
    call->nodes[0] = (struct api_node){
        .uuid = sl_arena_strdup(&call->arena, view.row.uuid),
        .name = sl_arena_strdup(&call->arena, view.row.name),
        .state = view.state,
        .running = view.running,
    };
    call->node_count = 1;
}

static void dead_handle(struct daemon *d, struct api_call *call)
{
    struct sched_task_row row;
    if (sched_task_find(d->sched, call->task, &row) != SL_OK) {
        call_fail(call, SL_ENOENT,
                  "there is no task t%" PRId64 "; `sluice dlq` shows those there are",
                  call->task.v);
        return;
    }
    bool redrive = call->kind == API_CALL_REDRIVE;
    struct sched_event event = daemon_event(d, redrive ? SCHED_TASK_REDRIVE : SCHED_TASK_DROP);
    event.task = call->task;
    int code = daemon_step(d, &event);
    if (code != SL_OK) {
        call_fail(call, code, "task t%" PRId64 " is %s, not dead", call->task.v,
                  task_state_word(row.state));
        return;
    }
    call->video = row.video;
    if (sched_task_find(d->sched, call->task, &row) == SL_OK)
        call->state = task_state_word(row.state);
    struct daemon_video *video = daemon_video_find(d, row.video);
    if (video)
        daemon_video_touch(d, video);
}

/* ---- sources ---- */

static void source_handle(struct daemon *d, struct daemon_call *call)
{
    char id[VIDEO_ID_TEXT_BYTES];
    struct daemon_video *video = daemon_video_find(d, call->video);
    if (!video) {
        if (stored_status(d, call->video) == VIDEO_STATUS_COUNT) {
            call->code = sl_fail(&call->failure, SL_ENOENT,
                                 "there is no video %s; POST /api/v1/videos first",
                                 video_id_format(call->video, id));
            return;
        }
        call->arrived = true;
        return;
    }
    call->arrived = video->has_original;
    if (video->has_original) {
        call->bytes = video->original_bytes;
        return;
    }
    if (video->source_path || video->deleting || video->row.cancelled) {
        call->code =
            sl_fail(&call->failure, SL_ECONFLICT, "%s",
                    video->source_path ? "the source is being copied from the path that was "
                                         "registered"
                    : video->deleting  ? "the video is being deleted"
                                       : "the video is cancelled; retry it first");
        return;
    }
    if (call->kind != CALL_SOURCE_ARRIVED)
        return;
    video->has_original = true;
    video->original_bytes = call->bytes;
    memcpy(video->original_sha256, call->sha256, SHA256_BYTES);
    daemon_video_dirty(d, video);
    daemon_video_touch(d, video);
    struct sl_log_about about = daemon_about(video);
    sl_info(&about, "the source has arrived: %" PRId64 " bytes", call->bytes);
}

void daemon_call_handle(struct daemon *d, struct daemon_call *call)
{
    if (call->kind != CALL_API) {
        source_handle(d, call);
    } else {
        switch (call->api->kind) {
        case API_CALL_SUBMIT:
            submit_handle(d, call);
            break;
        case API_CALL_CANCEL:
            cancel_handle(d, call->api);
            break;
        case API_CALL_RETRY:
            retry_handle(d, call->api);
            break;
        case API_CALL_SIDECAR:
            sidecar_handle(d, call->api);
            break;
        case API_CALL_DELETE:
            delete_handle(d, call);
            break;
        case API_CALL_DRAIN:
        case API_CALL_UNDRAIN:
            drain_handle(d, call->api);
            break;
        case API_CALL_REDRIVE:
        case API_CALL_DROP:
            dead_handle(d, call->api);
            break;
        default:
            break;
        }
    }
    if (!call->held_back && !daemon_list_push(&d->batch.calls, call))
        abort();
}

void daemon_call_answer(struct daemon *d, struct daemon_call *call)
{
    if (call->kind == CALL_API && call->api->code == SL_OK)
        daemon_view_call(d, call->api);
    pthread_mutex_lock(&call->lock);
    bool abandoned = call->is_abandoned;
    call->is_answered = true;
    pthread_cond_signal(&call->answered);
    pthread_mutex_unlock(&call->lock);
    if (!abandoned)
        return;
    if (call->api)
        api_call_free(&call->api);
    daemon_call_free(&call);
}
