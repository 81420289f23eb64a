/* A live video's record: made, read from its row, written to its row, freed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

struct daemon_video *daemon_video_find(const struct daemon *d, struct video_id id)
{
    struct daemon_map_slot *slot = daemon_map_find(&d->videos, id.v);
    return slot ? slot->pointer : NULL;
}

struct daemon_video *daemon_video_new(struct daemon *d, struct video_id id)
{
    struct daemon_video *video = calloc(1, sizeof *video);
    struct daemon_map_slot *slot = video ? daemon_map_put(&d->videos, id.v) : NULL;
    if (!slot) {
        free(video);
        return NULL;
    }
    slot->pointer = video;
    video->id = id;
    video_id_format(id, video->text);
    video->version = 1;
    video->status = VIDEO_UPLOADED;
    snprintf(video->original_key, sizeof video->original_key, "originals/%s/source", video->text);
    return video;
}

static bool text_copy(char **to, const char *from)
{
    if (!from)
        return true;
    *to = strdup(from);
    return *to != NULL;
}

static bool bytes_copy(uint8_t **to, size_t *to_length, const uint8_t *from, size_t length)
{
    if (!from)
        return true;
    *to = malloc(length + 1);
    if (!*to)
        return false;
    memcpy(*to, from, length);
    *to_length = length;
    return true;
}

struct daemon_video *daemon_video_load(struct daemon *d, const struct store_video *row)
{
    struct policy policy;
    struct config_mistakes mistakes = {0};
    const char *text = row->policy_text ? row->policy_text : config_policy_default_text();
    const char *name = row->policy_name ? row->policy_name : "default";
    if (config_policy_parse(name, text, strlen(text), &policy, &mistakes) != SL_OK) {
        char id[VIDEO_ID_TEXT_BYTES];
        struct sl_log_about about = {.video = video_id_format(row->video, id)};
        sl_error(&about, "its policy's snapshot is not readable any more: %s",
                 mistakes.items[0].message);
        return NULL;
    }
    struct daemon_video *video = daemon_video_new(d, row->video);
    if (!video)
        return NULL;
    video->policy = daemon_policy_ref(d, name, text, &policy);
    if (!video->policy || !text_copy(&video->provider, row->provider) ||
        !text_copy(&video->external_id, row->external_id) || !text_copy(&video->name, row->name) ||
        !text_copy(&video->index_key, row->index_key) ||
        !text_copy(&video->plan_key, row->plan_key) ||
        !text_copy(&video->published_key, row->published_key) ||
        !bytes_copy(&video->info, &video->info_bytes, row->info, row->info_bytes) ||
        !bytes_copy(&video->result, &video->result_bytes, row->result, row->result_bytes)) {
        daemon_map_remove(&d->videos, row->video.v);
        daemon_video_free(d, video);
        return NULL;
    }
    video->priority = row->priority;
    video->status = row->status;
    video->stream_asked = row->stream_asked;
    video->has_original = row->original_key != NULL;
    video->original_bytes = row->original_bytes;
    if (row->original_sha256)
        memcpy(video->original_sha256, row->original_sha256, SHA256_BYTES);
    video->created_unix_ns = row->created_unix_ns;
    video->started_unix_ns = row->started_unix_ns;
    video->completed_unix_ns = row->completed_unix_ns;
    video->version = row->version > 0 ? row->version : 1;
    video->row = (struct sched_video_row){
        .video = row->video,
        .priority = row->priority,
        .created_unix_ns = row->created_unix_ns,
        .attempts_max = policy.attempts_max,
        .cancelled = row->cancelled,
        .steps_skipped = row->steps_skipped,
        .steps_done = row->steps_done,
        .failed = row->failure.code != SL_OK,
        .failure_step = row->failure_step,
        .failure = row->failure,
    };
    return video;
}

int32_t daemon_video_published(const struct daemon_video *video)
{
    const char *slash = video->published_key ? strrchr(video->published_key, '/') : NULL;
    return slash ? (int32_t)strtol(slash + 1, NULL, 10) : 0;
}

void daemon_video_set_drop(struct daemon_video *video)
{
    daemon_set_free(&video->set);
    if (video->package)
        free(video->package->playlists);
    free(video->package);
    video->package = NULL;
}

void daemon_video_plan_drop(struct daemon_video *video)
{
    daemon_video_set_drop(video);
    daemon_live_free(video);
    sl_arena_fini(&video->plan_arena);
    video->plan = NULL;
    free(video->pieces);
    video->pieces = NULL;
    video->piece_count = 0;
    video->inserted = 0;
    memset(video->audio_tasks, 0, sizeof video->audio_tasks);
    video->text_tasks = 0;
    video->images_task = false;
    video->work_mpix_done = 0;
    video->transcode_begun_unix_ns = 0;
}

static void timed_remove(struct daemon *d, struct daemon_video *video)
{
    for (struct daemon_video **at = &d->timed; *at; at = &(*at)->next_timed)
        if (*at == video) {
            *at = video->next_timed;
            video->next_timed = NULL;
            return;
        }
}

void daemon_video_free(struct daemon *d, struct daemon_video *video)
{
    timed_remove(d, video);
    daemon_video_plan_drop(video);
    daemon_policy_unref(d, &video->policy);
    free(video->provider);
    free(video->external_id);
    free(video->name);
    free(video->source_path);
    free(video->info);
    free(video->index_key);
    free(video->plan_key);
    free(video->published_key);
    free(video->result);
    free(video);
}

void daemon_video_leave(struct daemon *d, struct daemon_video *video)
{
    video->gone = true;
    timed_remove(d, video);
    daemon_map_remove(&d->videos, video->id.v);
    if (!daemon_list_push(&d->batch.gone, video))
        abort();
}

void daemon_video_prefix(const struct daemon_video *video, char prefix[DAEMON_KEY_BYTES])
{
    snprintf(prefix, DAEMON_KEY_BYTES, "published/%s/%d/", video->text, (int)video->version);
}

void daemon_work_prefix(const char *text, int version, char prefix[DAEMON_KEY_BYTES])
{
    snprintf(prefix, DAEMON_KEY_BYTES, "work/%s/%d/", text, version);
}

struct sl_log_about daemon_about(const struct daemon_video *video)
{
    return (struct sl_log_about){.video = video->text};
}

void daemon_video_row(const struct daemon_video *video, struct store_video *row)
{
    *row = (struct store_video){
        .video = video->id,
        .provider = video->provider,
        .external_id = video->external_id,
        .priority = video->priority,
        .status = video->status,
        .name = video->name,
        .policy_name = video->policy->name,
        .policy_text = video->policy->text,
        .stream_asked = video->stream_asked,
        .original_key = video->has_original ? video->original_key : NULL,
        .original_bytes = video->original_bytes,
        .original_sha256 = video->has_original ? video->original_sha256 : NULL,
        .created_unix_ns = video->created_unix_ns,
        .started_unix_ns = video->started_unix_ns,
        .completed_unix_ns = video->completed_unix_ns,
        .info = video->info,
        .info_bytes = video->info_bytes,
        .index_key = video->index_key,
        .plan_key = video->plan_key,
        .version = video->version,
        .published_key = video->published_key,
        .result = video->result,
        .result_bytes = video->result_bytes,
        .cancelled = video->row.cancelled,
        .steps_done = video->row.steps_done,
        .steps_skipped = video->row.steps_skipped,
        .failure_step = video->row.failure_step,
        .failure = video->row.failed ? video->row.failure : (struct sl_failure){0},
    };
}
