/* Reports of finished leases: held against the plan before the core hears of them, taken in once the core
 * has committed them. An exit code proves nothing; what counts is what lies in the store and how it
 * meets its neighbours. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

#define DURATION_TOLERANCE_NS SL_MS_TO_NS(500)
#define DRIFT_MAX_NS          SL_MS_TO_NS(50)

/* Where a step's outputs lie. */
static void step_prefix(const struct daemon_video *video, enum step step,
                        char prefix[DAEMON_KEY_BYTES])
{
    if (step == STEP_PROBE || step == STEP_VERIFY)
        daemon_work_prefix(video->text, (int)video->version, prefix);
    else
        daemon_video_prefix(video, prefix);
}

static int key_join(const char *prefix, const char *key, char out[DAEMON_KEY_BYTES])
{
    size_t before = strlen(prefix), length = strnlen(key, JOB_NAME_BYTES);
    if (length == 0 || before + length >= DAEMON_KEY_BYTES)
        return SL_EINVAL;
    memcpy(out, prefix, before);
    memcpy(out + before, key, length);
    out[before + length] = '\0';
    return SL_OK;
}

static int outputs_check(struct daemon *d, const char *prefix, uint64_t token,
                         const struct report *report, struct sl_failure *why)
{
    for (int32_t i = 0; i < report->output_count; i++) {
        const struct report_output *output = &report->outputs[i];
        char key[DAEMON_KEY_BYTES];
        int64_t bytes = 0;
        if (key_join(prefix, output->key, key) != SL_OK || !objects_key_valid(key) ||
            objects_key_token(key) != token)
            return sl_fail(why, SL_EMISMATCH, "output %s does not carry the lease's token",
                           output->key);
        int code = objects_size(d->objects, NULL, key, &bytes, NULL);
        if (code != SL_OK)
            return sl_fail(why, code == SL_ENOENT ? SL_EMISMATCH : code,
                           "output %s was reported and is not in the store: %s", key,
                           sl_error_text(code));
        if (bytes != output->bytes)
            return sl_fail(why, SL_EMISMATCH,
                           "output %s has %" PRId64 " bytes in the store and %" PRId64
                           " in the report",
                           key, bytes, output->bytes);
    }
    return SL_OK;
}

static bool output_is(const struct report *report, int32_t output)
{
    return output >= 0 && output < report->output_count;
}

static int probe_check(const struct report *report, struct sl_failure *why)
{
    const struct report_probe *probe = &report->probe;
    if (!output_is(report, probe->index_output))
        return sl_fail(why, SL_EMISMATCH, "the probe reported no index");
    if (probe->info.has_video &&
        (probe->info.video.width <= 0 || probe->info.video.height <= 0 ||
         probe->info.video.time_base.num <= 0 || probe->info.video.time_base.den <= 0))
        return sl_fail(why, SL_EMISMATCH, "the probe reported a picture of %dx%d",
                       (int)probe->info.video.width, (int)probe->info.video.height);
    for (int32_t i = 0; i < probe->info.audio_count; i++) {
        const struct media_audio *audio = &probe->info.audio[i];
        if (audio->channels <= 0 || audio->sample_rate_hz <= 0 || audio->time_base.num <= 0 ||
            audio->time_base.den <= 0)
            return sl_fail(why, SL_EMISMATCH, "the probe reported audio of %d channels at %d Hz",
                           (int)audio->channels, (int)audio->sample_rate_hz);
    }
    return SL_OK;
}

static bool folder_is(const char *key, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(key, folder, length) == 0 && key[length] == '/' &&
           strchr(key + length + 1, '/') == NULL;
}

/* The playlist among the outputs that lies in a rendition's folder; -1 when it is not exactly one. */
static int32_t playlist_find(const struct report *report, const char *folder)
{
    int32_t found = -1;
    for (int32_t i = 0; i < report->output_count; i++) {
        if (i == report->package.master_output || i == report->package.mpd_output ||
            i == report->package.chapters_output || !folder_is(report->outputs[i].key, folder))
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

static int package_check(const struct daemon_video *video, const struct report *report,
                         struct sl_failure *why)
{
    const struct report_package *package = &report->package;
    if (!output_is(report, package->master_output))
        return sl_fail(why, SL_EMISMATCH, "package reported no master playlist");
    if (package->mpd_output >= 0 && !output_is(report, package->mpd_output))
        return sl_fail(why, SL_EMISMATCH, "package reported an MPD that is not among its outputs");
    const struct daemon_set *set = video->set;
    if (package->chapters_output >= 0 && !output_is(report, package->chapters_output))
        return sl_fail(why, SL_EMISMATCH,
                       "package reported chapters that are not among its outputs");
    for (int32_t r = 0; set && r < set->playlist_count; r++)
        if (playlist_find(report, set->folders[r]) < 0)
            return sl_fail(why, SL_EMISMATCH, "package reported no single playlist in %s",
                           set->folders[r]);
    return SL_OK;
}

static int verify_check(const struct daemon_video *video, const struct report *report,
                        struct sl_failure *why)
{
    const struct report_verify *verify = &report->verify;
    int64_t planned_ns = video->set ? video->set->duration_ns : verify->duration_ns;
    int64_t off_ns = verify->duration_ns - planned_ns;
    if (off_ns > DURATION_TOLERANCE_NS || off_ns < -DURATION_TOLERANCE_NS)
        return sl_fail(why, SL_EVERIFY,
                       "the published set lasts %" PRId64 " ms, the source %" PRId64 " ms",
                       SL_NS_TO_MS(verify->duration_ns), SL_NS_TO_MS(planned_ns));
    if (verify->av_drift_ns > DRIFT_MAX_NS || verify->av_drift_ns < -DRIFT_MAX_NS)
        return sl_fail(why, SL_EVERIFY, "audio and video drift apart by %" PRId64 " ms",
                       SL_NS_TO_MS(verify->av_drift_ns));
    return SL_OK;
}

static int transcode_check(const struct daemon_video *video, const struct sched_task_row *task,
                           const struct report *report, struct sl_failure *why)
{
    const struct policy_route *by = daemon_route_entry(video, task->codec, task->entry);
    int code = plan_check_transcode(video->plan, task->piece, report, NULL, why);
    return code == SL_OK && by ? plan_check_encoder(report, by->encoder, why) : code;
}

void daemon_report_check(struct daemon *d, const struct sched_task_row *task, uint64_t token,
                         const struct report *report, struct sl_failure *failure)
{
    const struct daemon_video *video = daemon_video_find(d, task->video);
    if (!video)
        return;
    if (report->step != task->step) {
        sl_fail(failure, SL_EMISMATCH, "the report is of %s, the lease of %s",
                step_word(report->step), step_word(task->step));
        return;
    }
    char prefix[DAEMON_KEY_BYTES];
    step_prefix(video, task->step, prefix);
    if (outputs_check(d, prefix, token, report, failure) != SL_OK)
        return;
    switch (task->step) {
    case STEP_PROBE:
        probe_check(report, failure);
        break;
    case STEP_TRANSCODE:
    case STEP_AUDIO:
    case STEP_SUBTITLES:
    case STEP_IMAGES:
        if (!video->plan)
            sl_fail(failure, SL_EBUSY, "the plan is being read");
        else if (task->step == STEP_TRANSCODE)
            transcode_check(video, task, report, failure);
        else if (task->step == STEP_AUDIO)
            plan_check_audio(video->plan, task->piece, report, failure);
        else if (task->step == STEP_SUBTITLES)
            plan_check_text(video->plan, task->piece, report, failure);
        else
            plan_check_images(video->plan, report, failure);
        break;
    case STEP_PACKAGE:
        package_check(video, report, failure);
        break;
    case STEP_VERIFY:
        verify_check(video, report, failure);
        break;
    case STEP_PLAN:
    case STEP_COUNT:
        break;
    }
}

/* ---- seams ---- */

static struct report seam_report(const struct daemon_piece *piece)
{
    return (struct report){
        .step = STEP_TRANSCODE,
        .transcode = {.seam_first = piece->seam_first, .seam_next = piece->seam_next}};
}

static bool piece_redo(struct daemon *d, struct daemon_video *video, struct daemon_piece *piece,
                       int32_t preroll)
{
    struct sched_event event = daemon_event(d, SCHED_TASK_REDO);
    event.task = piece->task;
    event.preroll = preroll;
    if (daemon_step(d, &event) != SL_OK)
        return false;
    piece->done = false;
    daemon_video_set_drop(video);
    daemon_live_redo(d, video, (int32_t)(piece - video->pieces));
    return true;
}

static int32_t preroll_next(int32_t preroll)
{
    if (preroll == PREROLL_NONE)
        return 1;
    return preroll * 2 > PREROLL_KEYS_MAX ? PREROLL_LINEAR : preroll * 2;
}

/* The seam behind a piece. What does not hold is decoded again from further back: the later chunk first,
 * since a chunk that starts at a keyframe which is none is the usual cause. */
static bool seam_settle(struct daemon *d, struct daemon_video *video, int32_t at)
{
    int32_t next = at + video->plan->codec_count;
    if (at < 0 || next >= video->piece_count)
        return true;
    struct daemon_piece *earlier = &video->pieces[at], *later = &video->pieces[next];
    if (!earlier->done || !later->done)
        return true;
    struct report before = seam_report(earlier), after = seam_report(later);
    struct sl_failure why = {0};
    if (plan_check_seam(&before, &after, &why) == SL_OK)
        return true;
    struct sl_log_about about = {.video = video->text, .task = later->task.v};
    sl_warn(&about, "chunks %d and %d do not meet: %s", (int)(at / video->plan->codec_count),
            (int)(next / video->plan->codec_count), why.message);
    if (later->preroll != PREROLL_LINEAR)
        piece_redo(d, video, later, preroll_next(later->preroll));
    else if (earlier->preroll != PREROLL_LINEAR)
        piece_redo(d, video, earlier, PREROLL_LINEAR);
    else
        daemon_video_fail(d, video, &why);
    return false;
}

bool daemon_seams_hold(struct daemon *d, struct daemon_video *video)
{
    for (int32_t at = 0; at < video->piece_count; at++)
        if (!seam_settle(d, video, at))
            return false;
    return true;
}

/* ---- commits ---- */

static void probe_commit(struct daemon *d, struct daemon_video *video, const struct report *report)
{
    struct sl_buf info = {0};
    char key[DAEMON_KEY_BYTES], prefix[DAEMON_KEY_BYTES];
    step_prefix(video, STEP_PROBE, prefix);
    if (wire_info_encode(&report->probe.info, &info) != SL_OK ||
        key_join(prefix, report->outputs[report->probe.index_output].key, key) != SL_OK)
        abort();
    free(video->info);
    video->info = info.data;
    video->info_bytes = info.length;
    free(video->index_key);
    free(video->plan_key);
    video->index_key = strdup(key);
    video->plan_key = NULL;
    daemon_video_plan_drop(video);
    daemon_live_touch(d, video);
    daemon_video_dirty(d, video);
    struct sl_log_about about = daemon_about(video);
    struct plan_notes notes;
    plan_notes_make(&report->probe.info, &video->policy->policy, &notes);
    for (int32_t i = 0; i < notes.count; i++)
        sl_info(&about, "source: %s", notes.text[i]);
}

int daemon_package_keep(struct daemon_video *video, const struct report *report)
{
    struct daemon_package *package = calloc(1, sizeof *package);
    char prefix[DAEMON_KEY_BYTES];
    daemon_video_prefix(video, prefix);
    if (!package)
        return SL_ENOMEM;
    package->playlists = calloc((size_t)report->output_count + 1, sizeof *package->playlists);
    if (!package->playlists) {
        free(package);
        return SL_ENOMEM;
    }
    for (int32_t i = 0; i < report->output_count; i++) {
        const struct report_output *output = &report->outputs[i];
        if (i == report->package.master_output) {
            key_join(prefix, output->key, package->master);
            package->master_bytes = output->bytes;
        } else if (i == report->package.mpd_output) {
            key_join(prefix, output->key, package->mpd);
            package->mpd_bytes = output->bytes;
        } else if (i == report->package.chapters_output) {
            key_join(prefix, output->key, package->chapters);
        } else {
            struct sync_input *playlist = &package->playlists[package->playlist_count++];
            key_join(prefix, output->key, playlist->key);
            playlist->bytes = output->bytes;
        }
    }
    if (video->package)
        free(video->package->playlists);
    free(video->package);
    video->package = package;
    return SL_OK;
}

static void transcode_commit(struct daemon *d, struct daemon_video *video,
                             const struct sched_task_row *task, const struct report *report,
                             const uint8_t *bytes, size_t length)
{
    if (!video->plan || task->piece < 0 || task->piece >= video->piece_count)
        return;
    daemon_live_note(d, video, STEP_TRANSCODE, task->piece, report, bytes, length);
    struct daemon_piece *piece = &video->pieces[task->piece];
    piece->done = true;
    piece->preroll = task->preroll;
    piece->seam_first = report->transcode.seam_first;
    piece->seam_next = report->transcode.seam_next;
    video->work_mpix_done += task->demand.work_mpix;
    seam_settle(d, video, task->piece - video->plan->codec_count);
    if (piece->done)
        seam_settle(d, video, task->piece);
}

void daemon_report_commit(struct daemon *d, struct daemon_video *video,
                          const struct sched_task_row *task, const struct report *report,
                          const uint8_t *bytes, size_t length)
{
    struct sl_log_about about = {
        .video = video->text, .task = task->task.v, .token = task->token.v};
    sl_info(&about,
            "lease done: step=%s piece=%d device=%s wall_ms=%" PRId64 " cpu_ms=%" PRId64
            " memory_bytes=%" PRId64,
            step_word(task->step), (int)task->piece, report->device_id,
            SL_NS_TO_MS(report->wall_ns), SL_NS_TO_MS(report->cpu_ns), report->memory_max_bytes);
    daemon_op_add(d, (struct daemon_op){
                         .kind = OP_REPORT, .task = task->task, .bytes = bytes, .length = length});
    if (task->step == STEP_PROBE)
        probe_commit(d, video, report);
    else if (task->step == STEP_TRANSCODE)
        transcode_commit(d, video, task, report, bytes, length);
    else if (task->step == STEP_AUDIO)
        daemon_live_note(d, video, STEP_AUDIO, task->piece, report, bytes, length);
    else if (task->step == STEP_PACKAGE && daemon_package_keep(video, report) != SL_OK)
        abort();
    daemon_video_touch(d, video);
}
