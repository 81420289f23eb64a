/* What the HTTP side shows: read from the core and the records after a batch's commit, or from a row. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

/* ---- the result of a finished video: a summary of its published set ---- */

#define RESULT_MAGIC "SLR1"

static void put_u64(struct sl_buf *out, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    sl_buf_append(out, bytes, sizeof bytes);
}

static bool get_u64(const uint8_t **at, size_t *left, uint64_t *value)
{
    if (*left < 8)
        return false;
    *value = 0;
    for (int i = 0; i < 8; i++)
        *value |= (uint64_t)(*at)[i] << (8 * i);
    *at += 8;
    *left -= 8;
    return true;
}

/* Magic, duration, transcode tasks, length of the set, the set with each rendition's segments summed up in
 * one, then a line of devices per rendition. */
int daemon_result_encode(const struct published_set *set, int64_t duration_ns, int32_t transcodes,
                         char *const *devices, struct sl_buf *out)
{
    struct sl_arena arena = {0};
    struct sl_buf bytes = {0};
    struct published_set sum = *set;
    sum.renditions = sl_arena_array(&arena, (size_t)set->rendition_count, sizeof *sum.renditions);
    sum.texts = sl_arena_array(&arena, (size_t)set->text_count, sizeof *sum.texts);
    sum.images.sheet_count = 0;
    int code = sum.renditions && sum.texts ? SL_OK : SL_ENOMEM;
    for (int32_t t = 0; t < set->text_count && code == SL_OK; t++) {
        sum.texts[t] = set->texts[t];
        sum.texts[t].segments = NULL;
        sum.texts[t].segment_count = 0;
    }
    for (int32_t r = 0; r < set->rendition_count && code == SL_OK; r++) {
        const struct published_rendition *rendition = &set->renditions[r];
        struct published_segment *all = sl_arena_alloc(&arena, sizeof *all);
        if (!all) {
            code = SL_ENOMEM;
            break;
        }
        all->bytes = rendition->init_bytes;
        for (int32_t i = 0; i < rendition->segment_count; i++) {
            all->bytes += rendition->segments[i].bytes;
            all->frame_count += rendition->segments[i].frame_count;
            all->end_ticks = rendition->segments[i].end_ticks;
            all->last_ticks = rendition->segments[i].last_ticks;
        }
        sum.renditions[r] = *rendition;
        sum.renditions[r].segments = all;
        sum.renditions[r].segment_count = 1;
        snprintf(all->key, sizeof all->key, "%s", rendition->init_key);
    }
    if (code == SL_OK)
        code = wire_published_encode(&sum, &bytes);
    sl_buf_append(out, RESULT_MAGIC, 4);
    put_u64(out, (uint64_t)duration_ns);
    put_u64(out, (uint64_t)transcodes);
    put_u64(out, bytes.length);
    sl_buf_append(out, bytes.data, bytes.length);
    for (int32_t r = 0; r < set->rendition_count; r++)
        sl_buf_printf(out, "%s\n", devices[r] ? devices[r] : "");
    if (code == SL_OK && (out->failed || bytes.failed))
        code = SL_ENOMEM;
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
    return code;
}

static int devices_split(struct sl_arena *arena, const char *line, size_t length,
                         struct api_rendition *out)
{
    char *copy = sl_arena_strndup(arena, line, length);
    int32_t count = length > 0;
    for (size_t i = 0; i < length; i++)
        count += line[i] == '\t';
    out->devices = sl_arena_array(arena, (size_t)count, sizeof *out->devices);
    if (!copy || !out->devices)
        return SL_ENOMEM;
    char *save = NULL;
    for (char *word = strtok_r(copy, "\t", &save); word; word = strtok_r(NULL, "\t", &save))
        out->devices[out->device_count++] = word;
    return SL_OK;
}

static void rendition_show(const struct published_rendition *from, int64_t duration_ns,
                           struct sl_arena *arena, struct api_rendition *to)
{
    const struct published_segment *all = &from->segments[0];
    *to = (struct api_rendition){
        .codec = from->codec,
        .name = sl_arena_strdup(arena, from->name),
        .encoder = sl_arena_strdup(arena, from->encoder),
        .width = from->width,
        .height = from->height,
        .frames = all->frame_count,
        .bytes = all->bytes,
        .bitrate_kbps = duration_ns > 0 ? (int32_t)sl_muldiv_i64(all->bytes * 8, SL_NS_PER_S / 1000,
                                                                 duration_ns)
                                        : 0,
    };
}

static int extras_show(const struct published_set *set, struct sl_arena *arena,
                       struct api_video *out)
{
    out->has_poster = set->images.poster.key[0] != '\0';
    out->has_thumbnails = set->images.thumbnails.key[0] != '\0';
    out->has_preview = set->images.preview.key[0] != '\0';
    out->texts = sl_arena_array(arena, (size_t)set->text_count, sizeof *out->texts);
    out->chapters = sl_arena_array(arena, (size_t)set->chapter_count, sizeof *out->chapters);
    if (!out->texts || !out->chapters)
        return SL_ENOMEM;
    for (int32_t t = 0; t < set->text_count; t++) {
        const struct published_text *text = &set->texts[t];
        out->texts[out->text_count++] = (struct api_text_track){
            .language = sl_arena_strdup(arena, text->language),
            .title = sl_arena_strdup(arena, text->title),
            .key = sl_arena_strdup(arena, text->whole_key),
            .cues = text->cue_count,
            .is_default = text->is_default,
            .forced = text->forced,
        };
    }
    for (int32_t c = 0; c < set->chapter_count; c++)
        out->chapters[out->chapter_count++] = (struct api_chapter){
            .start_seconds = (double)set->chapters[c].start_ns / 1e9,
            .end_seconds = (double)set->chapters[c].end_ns / 1e9,
            .title = sl_arena_strdup(arena, set->chapters[c].title),
        };
    return SL_OK;
}

static int result_show(const uint8_t *bytes, size_t length, struct sl_arena *arena,
                       struct api_video *out)
{
    uint64_t duration_ns, transcodes, set_length;
    if (length < 4 || memcmp(bytes, RESULT_MAGIC, 4) != 0)
        return SL_EPROTO;
    bytes += 4;
    length -= 4;
    struct published_set set;
    if (!get_u64(&bytes, &length, &duration_ns) || !get_u64(&bytes, &length, &transcodes) ||
        !get_u64(&bytes, &length, &set_length) || set_length > length ||
        wire_published_decode(bytes, (size_t)set_length, arena, &set, NULL) != SL_OK)
        return SL_EPROTO;
    const char *line = (const char *)bytes + set_length;
    size_t left = length - (size_t)set_length;
    out->renditions = sl_arena_array(arena, (size_t)set.rendition_count, sizeof *out->renditions);
    if (!out->renditions)
        return SL_ENOMEM;
    out->playable_seconds = (double)duration_ns / 1e9;
    out->transcode_total = out->transcode_completed = (int32_t)transcodes;
    for (int32_t r = 0; r < set.rendition_count; r++) {
        const char *end = memchr(line, '\n', left);
        size_t line_length = end ? (size_t)(end - line) : left;
        const struct published_rendition *rendition = &set.renditions[r];
        if (!rendition->audio && rendition->segment_count == 1) {
            struct api_rendition *row = &out->renditions[out->rendition_count++];
            rendition_show(rendition, (int64_t)duration_ns, arena, row);
            if (devices_split(arena, line, line_length, row) != SL_OK)
                return SL_ENOMEM;
        }
        left -= end ? line_length + 1 : line_length;
        line += end ? line_length + 1 : line_length;
    }
    return extras_show(&set, arena, out);
}

/* ---- a row ---- */

static void source_show(const struct store_video *row, struct sl_arena *arena,
                        struct api_source *out)
{
    const uint8_t *bytes = row->info;
    size_t length = row->info_bytes;
    struct media_info info;
    if (!bytes || wire_info_decode(bytes, length, arena, &info, NULL) != SL_OK)
        return;
    out->known = true;
    out->duration_seconds = (double)info.duration_ns / 1e9;
    out->width = info.video.width;
    out->height = info.video.height;
    out->frames = info.video.frame_count;
    out->codec = sl_arena_strdup(
        arena, info.has_video || info.audio_count < 1 ? info.video.codec : info.audio[0].codec);
    struct plan_notes notes;
    struct policy policy;
    struct config_mistakes mistakes;
    const char *text = row->policy_text ? row->policy_text : config_policy_default_text();
    if (config_policy_parse(row->policy_name ? row->policy_name : "default", text, strlen(text),
                            &policy, &mistakes) != SL_OK)
        return;
    plan_notes_make(&info, &policy, &notes);
    out->notes = sl_arena_array(arena, (size_t)notes.count, sizeof *out->notes);
    for (int32_t i = 0; out->notes && i < notes.count; i++)
        out->notes[out->note_count++] = sl_arena_strdup(arena, notes.text[i]);
}

static const char *hex_text(struct sl_arena *arena, const uint8_t *bytes, size_t length)
{
    char *text = sl_arena_alloc(arena, length * 2 + 1);
    for (size_t i = 0; text && i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

int daemon_video_read(void *arg, const struct store_video *row, struct sl_arena *arena,
                      struct api_video *out)
{
    (void)arg;
    *out = (struct api_video){
        .video = row->video,
        .status = row->status,
        .priority = row->priority,
        .policy = sl_arena_strdup(arena, row->policy_name ? row->policy_name : "default"),
        .name = row->name ? sl_arena_strdup(arena, row->name) : NULL,
        .created_unix_ns = row->created_unix_ns,
        .started_unix_ns = row->started_unix_ns,
        .completed_unix_ns = row->completed_unix_ns,
        .failure = row->failure,
        .failure_step = row->failure_step,
        .published_key = row->published_key ? sl_arena_strdup(arena, row->published_key) : NULL,
        .sha256 = row->original_sha256 ? hex_text(arena, row->original_sha256, SHA256_BYTES) : NULL,
    };
    source_show(row, arena, &out->source);
    for (int step = 0; step < STEP_COUNT; step++) {
        out->steps[step] = row->status == VIDEO_READY ? API_COMPLETED : API_PENDING;
        if (row->steps_skipped & STEP_BIT(step))
            out->steps[step] = API_SKIPPED;
    }
    if (row->published_key && row->result)
        return result_show(row->result, row->result_bytes, arena, out);
    return SL_OK;
}

/* ---- a live video ---- */

static enum api_progress progress_of(const struct sched_video_view *view, enum step step)
{
    const struct sched_step_view *s = &view->steps[step];
    if (view->status == VIDEO_FAILED && view->failure_step == step)
        return API_FAILED;
    if (s->skipped)
        return API_SKIPPED;
    if (s->finished)
        return API_COMPLETED;
    return s->running > 0 || s->done > 0 ? API_RUNNING : API_PENDING;
}

static int64_t estimate(const struct daemon_video *video)
{
    int64_t left_mpix = 0;
    if (!video->plan || video->transcode_begun_unix_ns == 0 || video->work_mpix_done <= 0)
        return 0;
    for (int32_t i = 0; i < video->piece_count; i++)
        if (!video->pieces[i].done)
            left_mpix += plan_transcode_demand(video->plan, i).work_mpix;
    int64_t now_ns = sl_now_unix_ns();
    return now_ns +
           sl_muldiv_i64(left_mpix, now_ns - video->transcode_begun_unix_ns, video->work_mpix_done);
}

static void live_fill(struct daemon *d, const struct daemon_video *video, struct sl_arena *arena,
                      struct api_video *out)
{
    struct store_video row;
    struct sched_video_view view;
    daemon_video_row(video, &row);
    daemon_video_read(d, &row, arena, out);
    if (sched_video_find(d->sched, video->id, &view) != SL_OK)
        return;
    for (int step = 0; step < STEP_COUNT; step++)
        out->steps[step] = progress_of(&view, (enum step)step);
    if (video->work && video->work->kind == WORK_PLAN && !view.steps[STEP_PLAN].finished)
        out->steps[STEP_PLAN] = API_RUNNING;
    const struct sched_step_view *t = &view.steps[STEP_TRANSCODE];
    out->transcode_completed = t->done;
    out->transcode_total = t->waiting + t->queued + t->running + t->done + t->dead + t->cancelled;
    if (video->piece_count > out->transcode_total)
        out->transcode_total = video->piece_count;
    out->failure = view.status == VIDEO_FAILED ? view.failure : (struct sl_failure){0};
    out->failure_step = view.failure_step;
    if (view.status == VIDEO_CANCELLED) {
        sl_fail(&out->failure, SL_ECANCELLED, "cancelled by a person");
        out->failure_step = view.failure_step;
    }
    int64_t playable_ns = daemon_live_playable_ns(video);
    if (!video->published_key && playable_ns > 0 && view.status != VIDEO_CANCELLED) {
        out->playable_seconds = (double)playable_ns / 1e9;
        char prefix[DAEMON_KEY_BYTES];
        daemon_video_prefix(video, prefix);
        out->live_key = sl_arena_strdup(arena, prefix);
    }
    if (video->status == VIDEO_TRANSCODING)
        out->estimated_unix_ns = estimate(video);
}

static void percents_fill(struct daemon *d, struct api_call *call)
{
    for (int32_t i = 0; i < call->percent_count; i++) {
        struct sched_video_view view;
        struct api_percent *percent = &call->percents[i];
        const struct daemon_video *video = daemon_video_find(d, percent->video);
        if (!video || sched_video_find(d->sched, percent->video, &view) != SL_OK)
            continue;
        const struct sched_step_view *t = &view.steps[STEP_TRANSCODE];
        int32_t total = t->waiting + t->queued + t->running + t->done + t->dead + t->cancelled;
        struct api_video shown = {.status = video->status,
                                  .transcode_completed = t->done,
                                  .transcode_total =
                                      total > video->piece_count ? total : video->piece_count};
        percent->percent = api_video_percent(&shown);
    }
}

/* ---- nodes ---- */

struct nodes_walk {
    struct api_call *call;
    int32_t max;
    bool failed;
};

static int node_count(void *arg, const struct sched_node_view *view)
{
    (void)view;
    (*(int32_t *)arg)++;
    return 0;
}

static int node_add(void *arg, const struct sched_node_view *view)
{
    struct nodes_walk *walk = arg;
    struct api_call *call = walk->call;
    struct sl_arena *arena = &call->arena;
    if (call->node_count == walk->max)
        return 1;
    struct api_node *node = &call->nodes[call->node_count++];
    *node = (struct api_node){
        .uuid = sl_arena_strdup(arena, view->row.uuid),
        .name = sl_arena_strdup(arena, view->row.name),
        .state = view->state,
        .spot = view->row.spot,
        .running = view->running,
        .total = view->total,
        .used = view->used,
        .devices = sl_arena_memdup(arena, view->devices,
                                   (size_t)view->device_count * sizeof *view->devices),
    };
    node->device_count = node->devices ? view->device_count : 0;
    return 0;
}

static void nodes_fill(struct daemon *d, struct api_call *call)
{
    struct nodes_walk walk = {.call = call};
    sched_nodes_walk(d->sched, node_count, &walk.max);
    call->nodes = sl_arena_array(&call->arena, (size_t)walk.max, sizeof *call->nodes);
    if (call->nodes)
        sched_nodes_walk(d->sched, node_add, &walk);
}

/* ---- the dead-letter queue ---- */

static int dead_add(void *arg, const struct sched_task_row *row)
{
    struct api_call *call = arg;
    if (call->task.v && call->task.v != row->task.v)
        return 0;
    if (call->dead_count == API_LIST_MAX)
        return 1;
    call->dead[call->dead_count++] = (struct api_dead){
        .task = row->task,
        .video = row->video,
        .step = row->step,
        .piece = row->piece,
        .attempts = row->attempts,
        .failure = row->failure,
    };
    return 0;
}

static void dead_fill(struct daemon *d, struct api_call *call)
{
    call->dead = sl_arena_array(&call->arena, API_LIST_MAX, sizeof *call->dead);
    if (call->dead)
        sched_dead_tasks_walk(d->sched, dead_add, call);
}

/* ---- explanations ---- */

static void reason_add(struct api_call *call, const char *text)
{
    if (!call->reasons)
        call->reasons = sl_arena_array(&call->arena, API_REASONS_MAX, sizeof *call->reasons);
    if (call->reasons && call->reason_count < API_REASONS_MAX && text[0])
        call->reasons[call->reason_count++] = sl_arena_strdup(&call->arena, text);
}

static void task_explain(struct daemon *d, struct api_call *call, struct task_id task,
                         const char *prefix)
{
    char reasons[8][SL_MESSAGE_BYTES];
    size_t count = sched_explain(d->sched, task, sl_now_ns(), reasons, 8);
    for (size_t i = 0; i < count; i++) {
        char line[SL_MESSAGE_BYTES + 64];
        snprintf(line, sizeof line, "%s%s", prefix, reasons[i]);
        reason_add(call, line);
    }
}

struct explain_walk {
    struct daemon *d;
    struct api_call *call;
    bool codecs; /* there are several, so they are named */
    int shown[STEP_COUNT][CODEC_COUNT];
};

/* One task of each step, codec and state speaks for the others. */
static int explain_task(void *arg, const struct sched_task_row *row)
{
    struct explain_walk *walk = arg;
    int bit = 1 << row->state;
    if (row->state == TASK_DONE || row->state == TASK_CANCELLED ||
        walk->shown[row->step][row->codec] & bit)
        return 0;
    walk->shown[row->step][row->codec] |= bit;
    char id[TASK_ID_TEXT_BYTES], prefix[64];
    bool named = walk->codecs && row->needs_codec;
    snprintf(prefix, sizeof prefix, "%s %s%s%s%s: ", step_word(row->step),
             task_id_format(row->task, id), named ? " (" : "", named ? codec_word(row->codec) : "",
             named ? ")" : "");
    task_explain(walk->d, walk->call, row->task, prefix);
    return walk->call->reason_count >= API_REASONS_MAX;
}

static const char *work_sentence(enum daemon_work_kind kind)
{
    switch (kind) {
    case WORK_INGEST:
        return "the daemon copies the source";
    case WORK_PLAN:
        return "the daemon plans the chunks";
    case WORK_SET:
        return "the daemon puts the published set together";
    case WORK_FINISH:
        return "the daemon moves the catalog to the finished version";
    case WORK_DELETE:
    case WORK_CLEAN:
    case WORK_LATE:
        return "the daemon deletes its objects";
    }
    return "";
}

static void video_explain(struct daemon *d, struct api_call *call)
{
    const struct daemon_video *video = daemon_video_find(d, call->video);
    struct sched_video_view view;
    if (!video || sched_video_find(d->sched, call->video, &view) != SL_OK)
        return;
    call->state = video_status_word(video->status);
    char line[SL_MESSAGE_BYTES * 2];
    if (view.status == VIDEO_FAILED) {
        snprintf(line, sizeof line, "%s failed (%s): %s", step_word(view.failure_step),
                 sl_error_word(view.failure.code), view.failure.message);
        reason_add(call, line);
    }
    if (view.status == VIDEO_CANCELLED)
        reason_add(call, "it was cancelled by a person; `sluice retry` takes it up again");
    if (video->waiting.code) {
        snprintf(line, sizeof line, "%s; it is tried again every %d s", video->waiting.message,
                 (int)(DAEMON_WORK_RETRY_NS / SL_NS_PER_S));
        reason_add(call, line);
    }
    if (video->work)
        reason_add(call, work_sentence(video->work->kind));
    if (!video->has_original && !video->source_path)
        reason_add(call, "its source has not arrived yet; PUT /api/v1/videos/{id}/source");
    if (video->plan)
        reason_add(call, video->plan->left_out);
    struct explain_walk walk = {
        .d = d, .call = call, .codecs = video->plan && video->plan->codec_count > 1};
    sched_video_tasks_walk(d->sched, call->video, explain_task, &walk);
    if (call->reason_count == 0)
        reason_add(call, "its next step is just being prepared");
    struct media_info info;
    struct plan_notes notes;
    if (video->info &&
        wire_info_decode(video->info, video->info_bytes, &call->arena, &info, NULL) == SL_OK) {
        plan_notes_make(&info, &video->policy->policy, &notes);
        for (int32_t i = 0; i < notes.count; i++) {
            snprintf(line, sizeof line, "source: %s", notes.text[i]);
            reason_add(call, line);
        }
    }
}

static void task_show(struct daemon *d, struct api_call *call)
{
    struct sched_task_row row;
    if (sched_task_find(d->sched, call->task, &row) != SL_OK) {
        call->code = sl_fail(
            &call->failure, SL_ENOENT,
            "there is no task t%" PRId64 " in the queues; its video may be finished", call->task.v);
        return;
    }
    call->state = task_state_word(row.state);
    task_explain(d, call, call->task, "");
}

/* ---- metrics ---- */

static int node_state_count(void *arg, const struct sched_node_view *view)
{
    struct api_metrics *metrics = arg;
    metrics->nodes[view->state]++;
    return 0;
}

static void metrics_fill(struct daemon *d, struct api_call *call)
{
    struct sched_totals totals;
    sched_totals(d->sched, &totals);
    struct api_metrics *m = sl_arena_memdup(&call->arena, &d->metrics, sizeof d->metrics);
    if (!m)
        abort();
    struct sched_kind_view kinds[DEVICE_KIND_COUNT];
    sched_kinds(d->sched, kinds);
    for (int i = 0; i < DEVICE_KIND_COUNT; i++)
        m->kinds[i] = (struct api_kind){.devices = kinds[i].devices,
                                        .sessions = kinds[i].sessions,
                                        .session_limit = kinds[i].session_limit,
                                        .queued = kinds[i].queued,
                                        .running = kinds[i].running,
                                        .wait_ns = kinds[i].wait_ns};
    m->queued = totals.queued;
    m->waiting = totals.waiting;
    m->running = totals.running;
    m->dead = totals.dead;
    m->nodes_live = totals.nodes_live;
    m->videos_live = totals.videos;
    memcpy(m->by_priority, totals.by_priority, sizeof m->by_priority);
    m->grants = totals.grants;
    m->completions = totals.completions;
    m->failures = totals.failures;
    m->lapses = totals.lapses;
    m->stale += totals.stale; /* the shell says it of videos that have left the core */
    m->syncs_refused = atomic_load(&d->syncs_refused);
    m->inbox_refused = atomic_load(&d->inbox_refused);
    sched_nodes_walk(d->sched, node_state_count, m);
    call->metrics = m;
}

void daemon_view_call(struct daemon *d, struct api_call *call)
{
    const struct daemon_video *video;
    switch (call->kind) {
    case API_CALL_VIDEO:
        video = daemon_video_find(d, call->video);
        if (video) {
            call->view = sl_arena_alloc(&call->arena, sizeof *call->view);
            if (call->view)
                live_fill(d, video, &call->arena, call->view);
        }
        break;
    case API_CALL_PROGRESS:
        percents_fill(d, call);
        break;
    case API_CALL_CANCEL:
    case API_CALL_RETRY:
        video = daemon_video_find(d, call->video);
        call->state = video_status_word(video ? video->status : VIDEO_READY);
        break;
    case API_CALL_NODES:
        nodes_fill(d, call);
        break;
    case API_CALL_DEAD:
        dead_fill(d, call);
        break;
    case API_CALL_EXPLAIN_VIDEO:
        video_explain(d, call);
        break;
    case API_CALL_EXPLAIN_TASK:
        task_show(d, call);
        break;
    case API_CALL_METRICS:
        metrics_fill(d, call);
        break;
    default:
        break;
    }
}
