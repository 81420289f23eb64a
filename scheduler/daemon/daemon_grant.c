/* From a grant of the core to what an agent gets: the job, the keys of its inputs, and a ticket. */
#include <stdio.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

static int input_add(struct sync_grant *grant, const char *key, int64_t bytes)
{
    if (grant->input_count >= JOB_INPUTS_MAX)
        return SL_ELIMIT;
    struct sync_input *input = &grant->inputs[grant->input_count++];
    snprintf(input->key, sizeof input->key, "%s", key);
    input->bytes = bytes;
    return SL_OK;
}

/* The rendition's media playlist among what package reported. */
static const struct sync_input *playlist_of(const struct daemon_package *package,
                                            const char *prefix, const char *folder)
{
    size_t prefix_length = strlen(prefix), folder_length = strlen(folder);
    for (int32_t i = 0; i < package->playlist_count; i++) {
        const char *key = package->playlists[i].key;
        if (strncmp(key, prefix, prefix_length) == 0 &&
            strncmp(key + prefix_length, folder, folder_length) == 0 &&
            key[prefix_length + folder_length] == '/')
            return &package->playlists[i];
    }
    return NULL;
}

static int verify_fill(const struct daemon_video *video, struct sync_grant *grant, struct job *job)
{
    const struct daemon_set *set = video->set;
    const struct daemon_package *package = video->package;
    if (!set || !package)
        return SL_EBUSY;
    char prefix[DAEMON_KEY_BYTES];
    daemon_video_prefix(video, prefix);
    int code = input_add(grant, set->key, set->bytes);
    if (code == SL_OK)
        code = input_add(grant, package->master, package->master_bytes);
    if (code == SL_OK)
        code = input_add(grant, package->mpd, package->mpd_bytes);
    for (int32_t r = 0; r < set->playlist_count && code == SL_OK; r++) {
        const struct sync_input *playlist = playlist_of(package, prefix, set->folders[r]);
        code = playlist ? input_add(grant, playlist->key, playlist->bytes) : SL_EMISMATCH;
    }
    for (int32_t i = 0; i < set->extra_input_count && code == SL_OK; i++)
        code = input_add(grant, set->extra_inputs[i].key, set->extra_inputs[i].bytes);
    for (int32_t i = 0; i < set->sample_input_count && code == SL_OK; i++)
        code = input_add(grant, set->sample_inputs[i].key, set->sample_inputs[i].bytes);
    job->verify.package_token.v = objects_key_token(package->master);
    job->verify.samples = set->samples;
    job->verify.sample_count = set->sample_count;
    return code;
}

static int text_input_add(const struct daemon_video *video, const struct plan_text *text,
                          struct sync_grant *grant)
{
    char key[DAEMON_KEY_BYTES];
    if (text->stream_index >= 0)
        return input_add(grant, video->original_key, video->original_bytes);
    daemon_sidecar_key(video->text, text->language, key);
    return input_add(grant, key, text->sidecar_bytes);
}

/* Encoder, preset and quality are those of the entry that the grant is under. */
static int transcode_fill(const struct daemon_video *video, const struct sched_grant_view *view,
                          struct sl_arena *arena, struct job *job)
{
    const struct policy *policy = &video->policy->policy;
    int code = plan_transcode_job(video->plan, policy, view->piece, view->preroll, arena, job);
    if (code != SL_OK)
        return code;
    enum codec codec = job->transcode.rungs[0].codec;
    const struct policy_route *by = daemon_route_entry(video, codec, view->entry);
    if (!by)
        return SL_EMISMATCH;
    code = plan_job_route(policy, codec, (int32_t)(by - policy_codec_find(policy, codec)->route),
                          arena, job);
    job->sessions = view->kind == DEVICE_CPU ? 0 : view->demand.sessions;
    return code;
}

static int job_fill(const struct daemon_video *video, const struct sched_grant_view *view,
                    struct sl_arena *arena, struct sync_grant *grant, struct job *job)
{
    int code = SL_OK;
    switch (view->step) {
    case STEP_PROBE:
        job->probe.stream_asked = video->stream_asked;
        return input_add(grant, video->original_key, video->original_bytes);
    case STEP_TRANSCODE:
        if (!video->plan)
            return SL_EBUSY;
        code = transcode_fill(video, view, arena, job);
        return code ? code : input_add(grant, video->original_key, video->original_bytes);
    case STEP_AUDIO:
        if (!video->plan)
            return SL_EBUSY;
        code = plan_audio_job(video->plan, view->piece, arena, job);
        return code ? code : input_add(grant, video->original_key, video->original_bytes);
    case STEP_SUBTITLES:
        if (!video->plan)
            return SL_EBUSY;
        code = plan_text_job(video->plan, view->piece, arena, job);
        return code ? code : text_input_add(video, &job->text.text, grant);
    case STEP_IMAGES:
        if (!video->plan)
            return SL_EBUSY;
        code = plan_images_job(video->plan, job);
        return code ? code : input_add(grant, video->original_key, video->original_bytes);
    case STEP_PACKAGE:
        if (!video->set)
            return SL_EBUSY;
        memcpy(job->package.video, video->text, sizeof job->package.video);
        return input_add(grant, video->set->key, video->set->bytes);
    case STEP_VERIFY:
        return verify_fill(video, grant, job);
    default:
        return SL_EINTERNAL;
    }
}

static int ticket_fill(struct daemon *d, const struct daemon_video *video,
                       const struct sched_grant_view *view, struct sync_grant *grant)
{
    struct objects_ticket ticket = {
        .token = view->token.v,
        .expires_unix_ns = sl_now_unix_ns() + DAEMON_TICKET_NS,
    };
    if (view->step == STEP_PACKAGE || view->step == STEP_VERIFY) {
        snprintf(ticket.read_prefix[0], sizeof ticket.read_prefix[0], "work/%s/", video->text);
        daemon_video_prefix(video, ticket.read_prefix[1]);
    } else {
        snprintf(ticket.read_prefix[0], sizeof ticket.read_prefix[0], "originals/%s/", video->text);
    }
    memcpy(ticket.write_prefix, grant->output_prefix, sizeof ticket.write_prefix);
    return objects_ticket_make(d->ticket_secret, d->ticket_secret_bytes, &ticket, grant->ticket);
}

int daemon_grant_build(struct daemon *d, const struct sched_grant_view *view,
                       struct sl_arena *arena, struct sync_grant *out)
{
    struct daemon_video *video = daemon_video_find(d, view->video);
    if (!video)
        return SL_EBUSY;
    struct job *job = sl_arena_alloc(arena, sizeof *job);
    *out = (struct sync_grant){
        .token = view->token,
        .task = view->task,
        .video = view->video,
        .step = view->step,
        .demand = view->demand,
        .watchdog_ns = video->policy->policy.watchdog_ns,
        .inputs = sl_arena_array(arena, view->step == STEP_VERIFY ? JOB_INPUTS_MAX : 1,
                                 sizeof *out->inputs),
    };
    if (!job || !out->inputs)
        return SL_ENOMEM;
    int code = job_fill(video, view, arena, out, job);
    if (code != SL_OK)
        return code;
    job->step = view->step;
    memcpy(job->video, video->text, sizeof job->video);
    job->task = view->task;
    job->token = view->token;
    job->watchdog_ns = out->watchdog_ns;
    job->limits = d->config.daemon.limits;
    if (view->step == STEP_PROBE || view->step == STEP_VERIFY)
        daemon_work_prefix(video->text, (int)video->version, out->output_prefix);
    else
        daemon_video_prefix(video, out->output_prefix);
    if (view->step == STEP_TRANSCODE && video->transcode_begun_unix_ns == 0)
        video->transcode_begun_unix_ns = sl_now_unix_ns();

    struct sl_buf bytes = {0};
    code = wire_job_encode(job, &bytes);
    if (code == SL_OK) {
        out->job = sl_arena_memdup(arena, bytes.data, bytes.length);
        out->job_bytes = bytes.length;
        code = out->job ? SL_OK : SL_ENOMEM;
    }
    sl_buf_fini(&bytes);
    return code ? code : ticket_fill(d, video, view, out);
}
