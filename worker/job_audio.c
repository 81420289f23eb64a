#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/media_audio.h"
#include "media/media_digest.h"
#include "package/cmaf.h"
#include "worker/jobs.h"

struct audio_run {
    struct worker_run *run;
    const struct job_audio *job;
    struct report_rendition *rendition;
    struct cmaf_writer *cmaf;
    struct sl_buf out;
    struct cmaf_packet *packets;
    size_t packet_room;
};

static int output_put(struct audio_run *a, const char *file, int32_t *out_index,
                      struct sl_failure *why)
{
    char name[JOB_NAME_BYTES];
    int n = snprintf(name, sizeof name, "audio/%s/%s", a->job->out.name, file);
    if (n < 0 || (size_t)n >= sizeof name)
        return sl_fail(why, SL_ELIMIT, "the name of rendition %s is too long", a->job->out.name);
    return run_output(a->run, name, a->out.data, a->out.length, out_index, why);
}

static int take_track(void *arg, const struct media_audio_track *from, struct sl_failure *why)
{
    struct audio_run *a = arg;
    run_first_work(a->run);
    struct cmaf_track track = {
        .audio = true,
        .audio_codec = a->job->out.codec,
        .extradata = from->extradata,
        .extradata_bytes = from->extradata_bytes,
        .timescale = from->sample_rate_hz,
        .reorder_ticks = from->priming,
        .channels = from->channels,
        .sample_rate_hz = from->sample_rate_hz,
    };
    snprintf(track.language, sizeof track.language, "%.3s", a->job->source.language);
    a->rendition->timescale = from->sample_rate_hz;
    int code = cmaf_open(&track, &a->cmaf, why);
    if (code == SL_OK)
        code = cmaf_codecs(&track, a->rendition->codecs, why);
    if (code == SL_OK)
        code = cmaf_init(a->cmaf, &a->out, why);
    if (code == SL_OK)
        code = media_digest(a->out.data, a->out.length, a->rendition->init_sha256);
    return code == SL_OK ? output_put(a, "init.mp4", &a->rendition->init_output, why) : code;
}

static int take_segment(void *arg, const struct media_audio_segment *segment,
                        struct sl_failure *why)
{
    struct audio_run *a = arg;
    if (segment->packet_count > a->packet_room) {
        struct cmaf_packet *grown = realloc(a->packets, segment->packet_count * sizeof *grown);
        if (!grown)
            return sl_fail(why, SL_ENOMEM, "no memory for an audio segment");
        a->packets = grown;
        a->packet_room = segment->packet_count;
    }
    for (size_t i = 0; i < segment->packet_count; i++)
        a->packets[i] = (struct cmaf_packet){.data = segment->packets[i].data,
                                             .bytes = segment->packets[i].bytes,
                                             .pts = segment->packets[i].pts,
                                             .idr = true};
    sl_buf_reset(&a->out);
    int code = cmaf_segment(a->cmaf, segment->number, a->packets, segment->packet_count,
                            segment->start_ticks, segment->end_ticks, &a->out, why);
    int32_t output = -1;
    char file[24];
    snprintf(file, sizeof file, "%06d.m4s", segment->number);
    if (code == SL_OK)
        code = output_put(a, file, &output, why);
    if (code == SL_OK)
        a->rendition->segments[a->rendition->segment_count++] = (struct report_segment){
            .number = segment->number,
            .frame_count = (int32_t)segment->packet_count,
            .start_ticks = segment->start_ticks,
            .end_ticks = segment->end_ticks,
            .last_ticks = segment->last_ticks,
            .output = output,
        };
    return code;
}

static void take_progress(void *arg, int64_t done_ticks, int64_t total_ticks)
{
    struct audio_run *a = arg;
    run_progress(a->run, done_ticks, total_ticks);
}

int job_audio(struct worker_run *run, struct sl_failure *why)
{
    const struct job_audio *job = &run->job.audio;
    struct media_input input;
    int code = run_input(run, 0, &input, why);
    if (code != SL_OK)
        return code;
    if (job->boundary_count < 2)
        return sl_fail(why, SL_EINVAL, "the audio job names %d boundaries; two are the least",
                       job->boundary_count);
    struct report_rendition *rendition = sl_arena_alloc(&run->arena, sizeof *rendition);
    if (rendition)
        rendition->segments = sl_arena_array(&run->arena, (size_t)job->boundary_count - 1,
                                             sizeof *rendition->segments);
    if (!rendition || !rendition->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for a report");
    memcpy(rendition->name, job->out.name, sizeof rendition->name);
    snprintf(rendition->encoder, sizeof rendition->encoder, "%s", audio_codec_word(job->out.codec));
    struct audio_run a = {.run = run, .job = job, .rendition = rendition};
    struct media_audio_sink sink = {
        .arg = &a, .track = take_track, .segment = take_segment, .progress = take_progress};
    code = media_audio_run(&input, job, &sink, why);
    if (code == SL_OK) {
        run->report.renditions = rendition;
        run->report.rendition_count = 1;
    }
    cmaf_close(&a.cmaf);
    sl_buf_fini(&a.out);
    free(a.packets);
    return code;
}
