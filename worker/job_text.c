/* One subtitle track: read whole, written as one file and as segments that end where the video's do. */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "media/media_digest.h"
#include "media/media_text.h"
#include "package/webvtt.h"
#include "worker/jobs.h"

/* All segments of a track: a cue that lasts for hours is in each of them. */
#define TRACK_BYTES_MAX (INT64_C(256) * 1024 * 1024)

static void note(void *arg, int64_t done, int64_t total)
{
    struct worker_run *run = arg;
    run_first_work(run);
    run_progress(run, done, total);
}

static int output_put(struct worker_run *run, const char *file, const struct sl_buf *bytes,
                      int32_t *out_index, struct sl_failure *why)
{
    char name[JOB_NAME_BYTES];
    int n = snprintf(name, sizeof name, "subtitles/%s/%s", run->job.text.text.name, file);
    if (n < 0 || (size_t)n >= sizeof name)
        return sl_fail(why, SL_ELIMIT, "the name of track %s is too long", run->job.text.text.name);
    return run_output(run, name, bytes->data, bytes->length, out_index, why);
}

static int64_t ticks_ms(const struct job_text *job, int64_t ticks)
{
    return sl_muldiv_i64(ticks, 1000, job->timescale);
}

static int segments_put(struct worker_run *run, const struct text_cue *cues, size_t count,
                        struct report_rendition *track, struct sl_buf *out, struct sl_failure *why)
{
    const struct job_text *job = &run->job.text;
    size_t first = 0;
    int64_t bytes = 0;
    int code = SL_OK;
    for (int32_t i = 0; i + 1 < job->boundary_count && code == SL_OK; i++) {
        int64_t start = job->boundary_ticks[i], end = job->boundary_ticks[i + 1];
        struct report_segment *segment = &track->segments[track->segment_count];
        char file[24];
        snprintf(file, sizeof file, "%06d.vtt", (int)i);
        sl_buf_reset(out);
        code = webvtt_segment(cues, count, ticks_ms(job, start), ticks_ms(job, end), &first,
                              &segment->frame_count, out, why);
        bytes += (int64_t)out->length;
        if (code == SL_OK && bytes > TRACK_BYTES_MAX)
            code = sl_fail(why, SL_ETOOBIG,
                           "subtitles %s: so many cues last over so many segments that they would "
                           "take more than %d MiB",
                           job->text.name, (int)(TRACK_BYTES_MAX >> 20));
        if (code == SL_OK)
            code = output_put(run, file, out, &segment->output, why);
        segment->number = i;
        segment->start_ticks = start;
        segment->end_ticks = end;
        segment->last_ticks = end - 1;
        track->segment_count++;
    }
    return code;
}

/* The daemon recorded what was uploaded when it planned. */
static int sidecar_judge(struct worker_run *run, struct sl_failure *why)
{
    const struct plan_text *text = &run->job.text.text;
    struct sl_buf bytes = {0};
    uint8_t sha256[SHA256_BYTES];
    int code = run_input_whole(run, 0, &bytes, why);
    if (code == SL_OK)
        code = media_digest(bytes.data, bytes.length, sha256);
    if (code == SL_OK && ((int64_t)bytes.length != text->sidecar_bytes ||
                          memcmp(sha256, text->sidecar_sha256, SHA256_BYTES) != 0))
        code = sl_fail(
            why, SL_ECHANGED,
            "the subtitle file for %s is not the one that was planned with: retry from plan",
            text->language);
    sl_buf_fini(&bytes);
    return code;
}

int job_text(struct worker_run *run, struct sl_failure *why)
{
    const struct job_text *job = &run->job.text;
    struct media_input input;
    int code = run_input(run, 0, &input, why);
    if (code == SL_OK && job->text.stream_index < 0)
        code = sidecar_judge(run, why);
    if (code != SL_OK)
        return code;
    struct media_progress progress = {note, run};
    struct text_cue *cues = NULL;
    size_t count = 0;
    code = media_text_read(&input, job, &run->arena, &progress, &cues, &count, why);
    if (code != SL_OK)
        return code;
    struct report_rendition *track = sl_arena_alloc(&run->arena, sizeof *track);
    if (track)
        track->segments =
            sl_arena_array(&run->arena, (size_t)job->boundary_count - 1, sizeof *track->segments);
    if (!track || !track->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for a report");
    memcpy(track->name, job->text.name, sizeof track->name);
    snprintf(track->codecs, sizeof track->codecs, "wvtt");
    snprintf(track->encoder, sizeof track->encoder, "webvtt");
    track->timescale = job->timescale;
    struct sl_buf out = {0};
    code = webvtt_whole(cues, count, &out, why);
    if (code == SL_OK)
        code = media_digest(out.data, out.length, track->init_sha256);
    if (code == SL_OK)
        code = output_put(run, "subtitles.vtt", &out, &track->init_output, why);
    if (code == SL_OK)
        code = segments_put(run, cues, count, track, &out, why);
    sl_buf_fini(&out);
    if (code == SL_OK) {
        run->report.renditions = track;
        run->report.rendition_count = 1;
        sl_info(&run->about, "%zu cues in %d segments", count, (int)track->segment_count);
    }
    return code;
}
