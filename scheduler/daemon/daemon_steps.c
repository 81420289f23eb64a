/* The daemon's own steps, on a work thread. They read the video's record (invariant 3: it stays as it is
 * meanwhile), the store through a reading handle, and objects; all of them may be run again at any time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/manifest.h"
#include "scheduler/daemon/daemon_internal.h"

#define OBJECT_READ_MAX ((int64_t)512 * 1024 * 1024)

static int object_read(struct daemon *d, const char *key, struct sl_buf *out,
                       struct sl_failure *why)
{
    int64_t bytes = 0;
    int code = objects_size(d->objects, NULL, key, &bytes, why);
    if (code != SL_OK)
        return code;
    if (bytes > OBJECT_READ_MAX)
        return sl_fail(why, SL_ETOOBIG, "object %s has %" PRId64 " bytes", key, bytes);
    void *into = sl_buf_reserve(out, (size_t)bytes);
    size_t got = 0;
    if (!into)
        return sl_fail(why, SL_ENOMEM, "not enough memory for object %s", key);
    code = objects_get_range(d->objects, NULL, key, 0, into, (size_t)bytes, &got, why);
    if (code != SL_OK)
        return code;
    if ((int64_t)got != bytes)
        return sl_fail(why, SL_EIO, "object %s ends after %zu of %" PRId64 " bytes", key, got,
                       bytes);
    out->length += got;
    return SL_OK;
}

/* ---- plan ---- */

static int plan_read(struct daemon *d, struct daemon_work *work)
{
    struct sl_buf bytes = {0};
    int code = object_read(d, work->video->plan_key, &bytes, &work->failure);
    if (code == SL_OK)
        code = wire_plan_decode(bytes.data, bytes.length, &work->arena, work->plan, &work->failure);
    sl_buf_fini(&bytes);
    if (code == SL_OK)
        snprintf(work->plan_key, sizeof work->plan_key, "%s", work->video->plan_key);
    return code;
}

static int plan_make(struct daemon *d, struct daemon_work *work)
{
    const struct daemon_video *video = work->video;
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    struct media_index index;
    struct media_info info;
    int code =
        video->index_key && video->info
            ? object_read(d, video->index_key, &bytes, &work->failure)
            : sl_fail(&work->failure, SL_EPROTO, "the probe left no index; retry from probe");
    if (code == SL_OK)
        code = wire_info_decode(video->info, video->info_bytes, &arena, &info, &work->failure);
    if (code == SL_OK)
        code = wire_index_decode(bytes.data, bytes.length, &arena, &index, &work->failure);
    if (code == SL_OK)
        code = plan_build(&info, &index, &video->policy->policy, &work->arena, work->plan,
                          &work->failure);
    if (code == SL_OK)
        code = daemon_sidecars_plan(d, video->text, &video->policy->policy, work->plan,
                                    &work->failure);
    sl_arena_fini(&arena);
    sl_buf_reset(&bytes);
    if (code == SL_OK)
        code = wire_plan_encode(work->plan, &bytes);
    if (code == SL_OK) {
        snprintf(work->plan_key, sizeof work->plan_key, "work/%s/%d/plan", video->text,
                 (int)video->version);
        code = objects_put_bytes(d->objects, NULL, work->plan_key, bytes.data, bytes.length, true,
                                 &work->failure);
    }
    sl_buf_fini(&bytes);
    return code;
}

static int work_plan(struct daemon *d, struct daemon_work *work)
{
    work->plan = sl_arena_alloc(&work->arena, sizeof *work->plan);
    if (!work->plan)
        return SL_ENOMEM;
    int code = work->video->plan_key ? plan_read(d, work) : plan_make(d, work);
    return code == SL_OK
               ? daemon_routes_choose(work->video, work->plan, work->routes, &work->failure)
               : code;
}

/* ---- the published set ---- */

struct reports {
    struct sl_arena arena;
    const struct plan *plan;
    const struct report **transcode;
    const struct report **audio;
    const struct report **texts;
    const struct report *images;
    struct sl_failure *why;
};

static int report_take(void *arg, struct task_id task, enum step step, int32_t piece,
                       const uint8_t *bytes, size_t length)
{
    (void)task;
    struct reports *all = arg;
    const struct report **to = NULL;
    if (step == STEP_TRANSCODE && piece >= 0 &&
        piece < all->plan->chunk_count * all->plan->codec_count)
        to = &all->transcode[piece];
    else if (step == STEP_AUDIO && piece >= 0 && piece < all->plan->audio_count)
        to = &all->audio[piece];
    else if (step == STEP_SUBTITLES && piece >= 0 && piece < all->plan->text_count)
        to = &all->texts[piece];
    else if (step == STEP_IMAGES)
        to = &all->images;
    if (!to)
        return 0;
    struct report *report = sl_arena_alloc(&all->arena, sizeof *report);
    if (!report)
        return SL_ENOMEM;
    *to = report;
    return wire_report_decode(bytes, length, &all->arena, report, all->why);
}

static int folders_fill(struct daemon_set *set, const struct published_set *published)
{
    int32_t renditions = published->rendition_count;
    set->playlist_count = renditions + published->text_count;
    set->folders = sl_arena_array(&set->arena, (size_t)set->playlist_count, sizeof *set->folders);
    if (!set->folders)
        return SL_ENOMEM;
    for (int32_t r = 0; r < set->playlist_count; r++) {
        snprintf(set->folders[r], sizeof set->folders[r], "%s",
                 r < renditions ? published->renditions[r].init_key
                                : published->texts[r - renditions].whole_key);
        char *slash = strrchr(set->folders[r], '/');
        if (slash)
            *slash = '\0';
    }
    return SL_OK;
}

static int32_t sample_input(struct daemon_set *set, const char *prefix, const char *key,
                            int64_t bytes)
{
    char whole[DAEMON_KEY_BYTES];
    snprintf(whole, sizeof whole, "%s%s", prefix, key);
    for (int32_t i = 0; i < set->sample_input_count; i++)
        if (strcmp(set->sample_inputs[i].key, whole) == 0)
            return i;
    struct sync_input *input = &set->sample_inputs[set->sample_input_count];
    memcpy(input->key, whole, sizeof input->key);
    input->bytes = bytes;
    return set->sample_input_count++;
}

static void extra_add(struct daemon_set *set, const char *prefix, const char *key, int64_t bytes)
{
    struct sync_input *input = &set->extra_inputs[set->extra_input_count];
    if (!key[0])
        return;
    snprintf(input->key, sizeof input->key, "%s%s", prefix, key);
    input->bytes = bytes;
    set->extra_input_count++;
}

/* In the order of model/job_types.h, struct job_verify. */
static int extras_fill(struct daemon_set *set, const struct published_set *published,
                       const char *prefix)
{
    const struct published_images *images = &published->images;
    set->extra_inputs =
        sl_arena_array(&set->arena, (size_t)published->text_count + 4, sizeof *set->extra_inputs);
    if (!set->extra_inputs)
        return SL_ENOMEM;
    for (int32_t t = 0; t < published->text_count; t++)
        extra_add(set, prefix, published->texts[t].whole_key, published->texts[t].whole_bytes);
    extra_add(set, prefix, images->poster.key, images->poster.bytes);
    extra_add(set, prefix, images->thumbnails.key, images->thumbnails.bytes);
    extra_add(set, prefix, images->preview.key, images->preview.bytes);
    if (images->sheet_count > 0)
        extra_add(set, prefix, images->sheets[0].key, images->sheets[0].bytes);
    set->images = *images;
    return SL_OK;
}

/* Inputs of verify: the set, master, MPD, the playlists, the extras, then these. */
static int samples_fill(struct daemon_set *set, const struct published_set *published,
                        const char *prefix, uint64_t seed)
{
    int code = plan_verify_samples(published, seed, &set->arena, &set->samples, &set->sample_count);
    if (code != SL_OK)
        return code;
    int32_t first = 3 + set->playlist_count + set->extra_input_count;
    set->sample_inputs =
        sl_arena_array(&set->arena, (size_t)set->sample_count * 2, sizeof *set->sample_inputs);
    if (!set->sample_inputs)
        return SL_ENOMEM;
    for (int32_t i = 0; i < set->sample_count; i++) {
        struct job_sample *sample = &set->samples[i];
        const struct published_rendition *rendition = &published->renditions[sample->rendition];
        const struct published_segment *segment = &rendition->segments[sample->segment];
        sample->init_input =
            first + sample_input(set, prefix, rendition->init_key, rendition->init_bytes);
        sample->segment_input = first + sample_input(set, prefix, segment->key, segment->bytes);
    }
    return first + set->sample_input_count <= JOB_INPUTS_MAX ? SL_OK : SL_ELIMIT;
}

static int device_add(struct sl_buf *devices, const char *device)
{
    size_t length = strlen(device);
    for (const char *at = devices->data ? (const char *)devices->data : ""; *at;) {
        size_t part = strcspn(at, "\t");
        if (part == length && memcmp(at, device, length) == 0)
            return SL_OK;
        at += part + (at[part] == '\t');
    }
    if (length == 0)
        return SL_OK;
    sl_buf_printf(devices, "%s%s", devices->length ? "\t" : "", device);
    return devices->failed ? SL_ENOMEM : SL_OK;
}

/* The device that encoded, and the one that made its pictures. */
static int hands_add(struct sl_buf *devices, const struct report *report)
{
    int code = device_add(devices, report->device_id);
    return code == SL_OK ? device_add(devices, report->feed_device_id) : code;
}

/* Which devices had a hand in each rendition. */
static int result_make(const struct plan *plan, const struct reports *all,
                       const struct published_set *published, struct daemon_set *set)
{
    size_t count = (size_t)published->rendition_count;
    struct sl_buf *devices = calloc(count, sizeof *devices);
    char **texts = calloc(count, sizeof *texts);
    int32_t pieces = plan->chunk_count * plan->codec_count;
    int code = devices && texts ? SL_OK : SL_ENOMEM;
    for (size_t r = 0; r < count && code == SL_OK; r++) {
        const struct published_rendition *rendition = &published->renditions[r];
        for (int32_t piece = 0; piece < pieces && !rendition->audio && code == SL_OK; piece++)
            if (plan_codec_at(plan, piece % plan->codec_count) == rendition->codec)
                code = hands_add(&devices[r], all->transcode[piece]);
        if (rendition->audio && code == SL_OK)
            code = device_add(&devices[r], all->audio[(int32_t)r - plan->rung_count]->device_id);
        texts[r] = (char *)devices[r].data;
    }
    struct sl_buf result = {0};
    if (code == SL_OK)
        code = daemon_result_encode(published, set->duration_ns, pieces, texts, &result);
    set->result = result.data;
    set->result_bytes = result.length;
    for (size_t r = 0; devices && r < count; r++)
        sl_buf_fini(&devices[r]);
    free(devices);
    free(texts);
    return code;
}

static int set_write(struct daemon *d, struct daemon_work *work,
                     const struct published_set *published)
{
    struct daemon_set *set = work->set;
    struct sl_buf bytes = {0};
    int code = wire_published_encode(published, &bytes);
    snprintf(set->key, sizeof set->key, "work/%s/%d/set", work->text, (int)work->version);
    set->bytes = (int64_t)bytes.length;
    if (code == SL_OK)
        code = objects_put_bytes(d->objects, NULL, set->key, bytes.data, bytes.length, true,
                                 &work->failure);
    sl_buf_fini(&bytes);
    return code;
}

/* The playlists that grew while the video was encoded, whole: whoever began with them plays on to the end. */
static int events_write(struct daemon *d, struct daemon_work *work, const char *prefix,
                        const struct published_set *published)
{
    struct sl_buf text = {0};
    int code = SL_OK;
    enum codec first = published->renditions[0].codec;
    for (int32_t r = 0; r < published->rendition_count && code == SL_OK; r++) {
        const struct published_rendition *rendition = &published->renditions[r];
        char name[JOB_NAME_BYTES], key[DAEMON_KEY_BYTES];
        if (!rendition->audio && rendition->codec != first)
            continue;
        sl_buf_reset(&text);
        code = manifest_hls_event_key(rendition, name);
        if (code == SL_OK)
            code = manifest_hls_event(published, r, name, &text, &work->failure);
        snprintf(key, sizeof key, "%.*s%s", (int)(sizeof key - sizeof name - 1), prefix, name);
        if (code == SL_OK)
            code = objects_put_bytes(d->objects, NULL, key, text.data, text.length, true,
                                     &work->failure);
    }
    sl_buf_fini(&text);
    return code;
}

static int work_set(struct daemon *d, struct daemon_work *work, struct store *reader)
{
    const struct daemon_video *video = work->video;
    const struct plan *plan = video->plan;
    struct reports all = {.plan = plan, .why = &work->failure};
    struct published_set published;
    char prefix[DAEMON_KEY_BYTES];
    daemon_video_prefix(video, prefix);
    work->set = calloc(1, sizeof *work->set);
    all.transcode = sl_arena_array(
        &all.arena, (size_t)plan->chunk_count * (size_t)plan->codec_count, sizeof *all.transcode);
    all.audio = sl_arena_array(&all.arena, (size_t)plan->audio_count, sizeof *all.audio);
    all.texts = sl_arena_array(&all.arena, (size_t)plan->text_count, sizeof *all.texts);
    int code = work->set && all.transcode && all.audio && all.texts ? SL_OK : SL_ENOMEM;
    if (code == SL_OK)
        code = store_walk_reports(reader, video->id, report_take, &all);
    if (code == SL_OK)
        code = plan_publish(plan, video->text, all.transcode, all.audio, all.texts, all.images,
                            &all.arena, &published, &work->failure);
    if (code == SL_OK) {
        work->set->duration_ns =
            sl_muldiv_i64(published.duration_ticks, SL_NS_PER_S, published.timescale);
        code = folders_fill(work->set, &published);
    }
    if (code == SL_OK)
        code = extras_fill(work->set, &published, prefix);
    if (code == SL_OK)
        code = samples_fill(work->set, &published, prefix, (uint64_t)video->id.v);
    if (code == SL_OK)
        code = result_make(plan, &all, &published, work->set);
    if (code == SL_OK)
        code = set_write(d, work, &published);
    if (code == SL_OK)
        code = events_write(d, work, prefix, &published);
    sl_arena_fini(&all.arena);
    return code;
}

/* ---- finish ---- */

static int object_copy(struct daemon *d, const char *from, const char *to, struct sl_failure *why)
{
    struct sl_buf bytes = {0};
    int code = object_read(d, from, &bytes, why);
    if (code == SL_OK)
        code = objects_put_bytes(d->objects, NULL, to, bytes.data, bytes.length, true, why);
    sl_buf_fini(&bytes);
    return code;
}

static void stable_add(struct daemon_stable *list, int *count, const char *name, const char *prefix,
                       const char *key)
{
    if (!key[0])
        return;
    list[*count].name = name;
    snprintf(list[*count].key, sizeof list[*count].key, "%s%s", prefix, key);
    (*count)++;
}

int daemon_stable_list(const struct daemon_video *video,
                       struct daemon_stable list[DAEMON_STABLE_MAX])
{
    char prefix[DAEMON_KEY_BYTES];
    int count = 0;
    daemon_video_prefix(video, prefix);
    if (video->package) {
        stable_add(list, &count, "master.m3u8", "", video->package->master);
        stable_add(list, &count, "manifest.mpd", "", video->package->mpd);
        stable_add(list, &count, "chapters.vtt", "", video->package->chapters);
    }
    if (video->set) {
        const struct published_images *images = &video->set->images;
        stable_add(list, &count, "poster.jpg", prefix, images->poster.key);
        stable_add(list, &count, "thumbnails.vtt", prefix, images->thumbnails.key);
        stable_add(list, &count, "preview.webp", prefix, images->preview.key);
    }
    return count;
}

struct sweep {
    struct daemon *daemon;
    const struct daemon_work *work;
    struct sl_failure *why;
    char stable[DAEMON_STABLE_MAX][DAEMON_KEY_BYTES];
    int stable_count;
    int64_t count;
    char named[DAEMON_KEY_BYTES]; /* the last alias, whose folder is to be synced */
};

static int token_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int aliases_sync(struct sweep *sweep)
{
    char folder[DAEMON_KEY_BYTES];
    snprintf(folder, sizeof folder, "%s", sweep->named);
    sweep->named[0] = '\0';
    return folder[0] ? objects_sync_folder(sweep->daemon->objects, folder, sweep->why) : SL_OK;
}

/* A committed segment gets the name without its token too, which the MPD's template makes: dash.js cannot play
 * a list of names with a time line. Now that only the committed one is left, the name has one meaning. */
static int segment_alias(struct sweep *sweep, const char *key)
{
    char plain[DAEMON_KEY_BYTES];
    size_t length = strlen(key);
    if (length < 4 || strcmp(key + length - 4, ".m4s") != 0 ||
        objects_plain_key(key, plain, sizeof plain) != SL_OK)
        return SL_OK;
    size_t folder = (size_t)(strrchr(plain, '/') - plain) + 1;
    int code = SL_OK;
    if (strncmp(plain, sweep->named, folder) != 0)
        code = aliases_sync(sweep);
    if (code == SL_OK)
        code = objects_alias(sweep->daemon->objects, key, plain, sweep->why);
    snprintf(sweep->named, sizeof sweep->named, "%s", plain);
    return code;
}

static bool is_committed(const struct daemon_work *work, uint64_t token)
{
    return token && work->token_count > 0 &&
           bsearch(&token, work->tokens, work->token_count, sizeof *work->tokens, token_compare);
}

static int orphan_sweep(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct sweep *sweep = arg;
    const char *name = strrchr(key, '/');
    if (name && strcmp(name, "/playlist.m3u8") == 0)
        return 0;
    for (int i = 0; i < sweep->stable_count; i++)
        if (strcmp(key, sweep->stable[i]) == 0)
            return 0;
    if (is_committed(sweep->work, objects_key_token(key)))
        return segment_alias(sweep, key);
    sweep->count++;
    return objects_delete(sweep->daemon->objects, NULL, key, NULL);
}

static int work_finish(struct daemon *d, struct daemon_work *work)
{
    char prefix[DAEMON_KEY_BYTES];
    struct daemon_stable stable[DAEMON_STABLE_MAX];
    struct sweep sweep = {.daemon = d, .work = work, .why = &work->failure};
    if (!work->video->package || !work->video->set)
        return sl_fail(&work->failure, SL_EINTERNAL,
                       "the package report is gone; retry from package");
    daemon_video_prefix(work->video, prefix);
    sweep.stable_count = daemon_stable_list(work->video, stable);
    int code = SL_OK;
    for (int i = 0; i < sweep.stable_count && code == SL_OK; i++) {
        snprintf(sweep.stable[i], sizeof sweep.stable[i], "%s%s", prefix, stable[i].name);
        code = object_copy(d, stable[i].key, sweep.stable[i], &work->failure);
    }
    if (code != SL_OK)
        return code;
    code = objects_list(d->objects, prefix, orphan_sweep, &sweep, &work->failure);
    if (code == SL_OK)
        code = aliases_sync(&sweep);
    if (sweep.count > 0) {
        struct sl_log_about about = {.video = work->text};
        sl_info(&about, "%" PRId64 " objects of lapsed leases were removed", sweep.count);
    }
    return code;
}

/* ---- removal ---- */

static int folder_delete(struct daemon *d, struct daemon_work *work, const char *root)
{
    char prefix[DAEMON_KEY_BYTES];
    snprintf(prefix, sizeof prefix, "%s/%s/", root, work->text);
    return objects_delete_prefix(d->objects, prefix, &work->failure);
}

static int work_delete(struct daemon *d, struct daemon_work *work)
{
    int code = folder_delete(d, work, "published");
    if (code == SL_OK)
        code = folder_delete(d, work, "work");
    if (code == SL_OK && work->with_original)
        code = folder_delete(d, work, "originals");
    if (code == SL_OK)
        daemon_source_path_drop(d, work->text);
    /* That it was deleted outlives a restart; a disk too full for a mark is no reason to keep the video. */
    char mark[DAEMON_KEY_BYTES];
    snprintf(mark, sizeof mark, "work/deleted/%s", work->text);
    if (code == SL_OK)
        objects_put_bytes(d->objects, NULL, mark, "\n", 1, true, NULL);
    return code;
}

static int work_late(struct daemon *d, struct daemon_work *work)
{
    char mark[DAEMON_KEY_BYTES];
    snprintf(mark, sizeof mark, "work/deleted/%s", work->text);
    int code = folder_delete(d, work, "published");
    if (code == SL_OK)
        code = folder_delete(d, work, "work");
    return code == SL_OK ? objects_delete(d->objects, NULL, mark, &work->failure) : code;
}

static int work_clean(struct daemon *d, struct daemon_work *work)
{
    int code = SL_OK;
    char prefix[DAEMON_KEY_BYTES];
    if (work->old_version > 0) {
        snprintf(prefix, sizeof prefix, "published/%s/%d/", work->text, work->old_version);
        code = objects_delete_prefix(d->objects, prefix, &work->failure);
    }
    for (size_t i = 0; i < DAEMON_STABLE_MAX && code == SL_OK; i++)
        if (work->manifests[i][0])
            code = objects_delete(d->objects, NULL, work->manifests[i], &work->failure);
    /* Last: while it is there, a restart knows that this was not finished. */
    daemon_work_prefix(work->text, (int)work->version, prefix);
    if (code == SL_OK)
        code = objects_delete_prefix(d->objects, prefix, &work->failure);
    daemon_source_path_drop(d, work->text);
    return code;
}

void daemon_work_run(struct daemon *d, struct daemon_work *work, struct store *reader)
{
    switch (work->kind) {
    case WORK_INGEST:
        work->code = daemon_ingest_copy(d, work->text, work->video->source_path, &work->bytes,
                                        work->sha256, &work->failure);
        break;
    case WORK_PLAN:
        work->code = work_plan(d, work);
        break;
    case WORK_SET:
        work->code = work_set(d, work, reader);
        break;
    case WORK_FINISH:
        work->code = work_finish(d, work);
        break;
    case WORK_DELETE:
        work->code = work_delete(d, work);
        break;
    case WORK_CLEAN:
        work->code = work_clean(d, work);
        break;
    case WORK_LATE:
        work->code = work_late(d, work);
        break;
    }
    if (work->code > 0) /* of a walk that was stopped */
        work->code = SL_EINTERNAL;
    if (work->code == SL_OK)
        return;
    work->failure.code = work->code;
    if (!work->failure.message[0])
        snprintf(work->failure.message, sizeof work->failure.message, "%s",
                 sl_error_text(work->code));
}
