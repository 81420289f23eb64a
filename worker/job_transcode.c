/* The fused ladder: one decoder on this thread, one thread per rung behind a ring of frames; all rungs in one pass, or in
 * several where the device has fewer sessions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "gpu/gpu_decode.h"
#include "gpu/gpu_kernels.h"
#include "media/media_filter.h"
#include "media/media_range.h"
#include "worker/jobs.h"
#include "worker/rung.h"
#include "worker/surfaces.h"

/* Of so many chunks one is looked at when a policy asks for a sample. */
#define CHECK_ONE_CHUNK_IN 4

static int64_t ticks_of(const struct job_transcode *job, int64_t pts)
{
    const struct rational *base = &job->source.time_base;
    __int128 scaled = ((__int128)pts - job->origin_pts) * base->num * job->timescale;
    __int128 half = scaled < 0 ? -(__int128)base->den : base->den;
    return (int64_t)((2 * scaled + half) / (2 * (__int128)base->den));
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Which segment of which rung is decoded back: with "sample" one, in one chunk of four, and in each that a GPU encodes;
 * chosen by token and segment number, so that a chunk done twice is not looked at in the same place. */
static void check_decide(struct ladder *ladder, const struct hal_device *device)
{
    const struct job_transcode *job = ladder->job;
    ladder->check_rung = -1;
    if (job->check == CHECK_ALL) {
        ladder->check_rung = -2;
    } else if (job->check == CHECK_SAMPLE) {
        uint64_t dice = mix(ladder->run->job.token.v + mix((uint64_t)job->segments[0].number));
        if (dice % CHECK_ONE_CHUNK_IN != 0 && device->kind == DEVICE_CPU)
            return;
        dice = mix(dice);
        ladder->check_rung = (int32_t)(dice % (uint64_t)job->rung_count);
        ladder->check_segment = (int32_t)(mix(dice) % (uint64_t)job->segment_count);
    }
}

static int job_judge(const struct job_transcode *job, struct sl_failure *why)
{
    if (job->segment_count < 1 || job->rung_count < 1 || job->rung_count > RING_READERS_MAX)
        return sl_fail(why, SL_EINVAL, "the job has %d segments and %d rungs", job->segment_count,
                       job->rung_count);
    if (job->timescale <= 0 || job->gop_ns <= 0 || job->frame_rate.num <= 0 ||
        job->frame_rate.den <= 0 || job->source.time_base.num <= 0 ||
        job->source.time_base.den <= 0)
        return sl_fail(why, SL_EINVAL, "the job has no time scale, GOP length or frame rate");
    for (int32_t i = 0; i < job->segment_count; i++) {
        const struct job_segment *segment = &job->segments[i];
        int64_t from = i ? job->segments[i - 1].end_pts : job->start_pts;
        if (segment->start_pts != from || segment->end_pts <= segment->start_pts)
            return sl_fail(why, SL_EINVAL, "segment %d does not follow the one before it",
                           segment->number);
    }
    if (job->segments[job->segment_count - 1].end_pts != job->end_pts)
        return sl_fail(why, SL_EINVAL, "the segments end before the chunk does");
    return SL_OK;
}

/* ---- the decoding side ---- */

/* The chunk's pictures, from its start. */
struct source {
    struct media_range *range;
    struct media_filter *pictures;
    AVFrame *first; /* lent until the next is asked for, which source_next gives first */
    bool ended;
};

/* Decoding on the device that makes the pictures, where its driver says that it does; what it then refuses is decoded on the
 * CPU, and so is a chunk that is done again because it did not meet its neighbour. */
static AVBufferRef *decoder_device(const struct ladder *ladder, const struct hal_device *device,
                                   enum AVPixelFormat *surface)
{
    const struct job_transcode *job = ladder->job;
    AVBufferRef *context = NULL;
    struct sl_failure why = {0};
    *surface = AV_PIX_FMT_NONE;
    if (ladder->on_cpu || job->preroll != PREROLL_NONE || !gpu_decodes(device, &job->source))
        return NULL;
    return gpu_decode_context(device, &context, surface, &why) == SL_OK ? context : NULL;
}

static int source_open(struct ladder *ladder, struct source *source, struct sl_failure *why)
{
    const struct job_transcode *job = ladder->job;
    ladder->laid_later =
        ladder->maker->kind == DEVICE_NVENC && gpu_kernels_available() && !ladder->on_cpu;
    ladder->fields_later = ladder->laid_later && job->picture.deinterlace;
    struct media_input input;
    struct media_range_params params = {
        .video = &job->source,
        .start_pts = job->start_pts,
        .end_pts = job->end_pts,
        .preroll = job->preroll,
        .context = job->picture.deinterlace,
    };
    params.device = decoder_device(ladder, ladder->maker, &params.surface);
    struct media_filter_params how = {
        .video = &job->source,
        .how = &job->picture,
        .start_pts = job->start_pts,
        .end_pts = job->end_pts,
        .laid_later = ladder->laid_later,
        .fields_later = ladder->fields_later,
    };
    int code = run_input(ladder->run, 0, &input, why);
    if (code == SL_OK)
        code = media_range_open(&input, &params, &source->range, why);
    if (code == SL_OK)
        code = media_filter_open(source->range, &how, &source->pictures, why);
    if (code != SL_OK)
        return code;
    run_first_work(ladder->run);
    int got = media_filter_next(source->pictures, &source->first, why);
    if (got == 0)
        return sl_fail(why, SL_EDECODE, "no frame of the chunk from %" PRId64 " decodes",
                       job->start_pts);
    return got < 0 ? got : SL_OK;
}

/* Fetches what the device is not to make pictures of after all. */
static int source_to_host(struct ladder *ladder, struct source *source, struct sl_failure *why)
{
    ladder->laid_later = ladder->fields_later = false;
    return media_filter_to_host(source->pictures, why);
}

/* The next picture of the chunk: 1; 0 at the end. Where the device deinterlaces, frames around the chunk go there as well, and the
 * last picture comes behind the last frame. */
static int source_next(const struct ladder *ladder, struct source *source, AVFrame **out,
                       struct sl_failure *why)
{
    while (!source->ended) {
        int got = 1;
        *out = source->first;
        source->first = NULL;
        if (!*out)
            got = media_filter_next(source->pictures, out, why);
        source->ended = got == 0;
        if (got < 0 || !ladder->fields_later)
            return got;
        got = surfaces_deinterlace(ladder->surfaces, got ? *out : NULL, out, why);
        if (got < 0 || (got > 0 && (*out)->pts >= ladder->job->start_pts &&
                        (*out)->pts < ladder->job->end_pts))
            return got;
    }
    return 0;
}

static void source_close(struct source *source)
{
    media_filter_close(&source->pictures);
    media_range_close(&source->range);
}

struct feeder {
    struct ladder *ladder;
    int32_t segment;  /* of the latest frame */
    int64_t gop_next; /* k of the next forced IDR in it */
    int64_t last_ticks;
    int64_t frame_count;
    int64_t scale_cpu_ns; /* of this thread */
};

/* The rule of model/job_types.h. */
static bool wants_idr(struct feeder *feeder, const struct job_segment *segment, int64_t pts)
{
    const struct job_transcode *job = feeder->ladder->job;
    int64_t unit_ns = job->source.time_base.num * SL_NS_PER_S;
    int64_t since_ns = sl_muldiv_i64(pts - segment->start_pts, unit_ns, job->source.time_base.den);
    int64_t left_ns = sl_muldiv_i64(segment->end_pts - pts, unit_ns, job->source.time_base.den);
    if (since_ns / job->gop_ns < feeder->gop_next)
        return false;
    feeder->gop_next = since_ns / job->gop_ns + 1;
    return left_ns * 2 >= job->gop_ns;
}

static int frame_feed(struct feeder *feeder, AVFrame *frame, struct sl_failure *why)
{
    struct ladder *ladder = feeder->ladder;
    const struct job_transcode *job = ladder->job;
    bool force_idr = false;
    int64_t pts = frame->pts;
    if (feeder->segment < 0 || pts >= job->segments[feeder->segment].end_pts) {
        int32_t next = feeder->segment + 1;
        if (next >= job->segment_count || pts != job->segments[next].start_pts)
            return sl_fail(why, SL_EDECODE,
                           "the frame at %" PRId64
                           " (1/%d s) that starts segment %d did not come out "
                           "of the decoder; the next is at %" PRId64,
                           next < job->segment_count ? job->segments[next].start_pts : job->end_pts,
                           job->source.time_base.den,
                           job->segments[next < job->segment_count ? next : next - 1].number, pts);
        feeder->segment = next;
        feeder->gop_next = 1;
        force_idr = true;
    } else {
        force_idr = wants_idr(feeder, &job->segments[feeder->segment], pts);
    }
    int64_t ticks = ticks_of(job, pts);
    if (feeder->frame_count && ticks <= feeder->last_ticks)
        return sl_fail(why, SL_EMISMATCH, "two frames fall on tick %" PRId64 " of 1/%d s", ticks,
                       job->timescale);
    struct ladder_segment *segment = &ladder->segments[feeder->segment];
    segment->frame_count++;
    segment->idr_count += force_idr;
    segment->last_ticks = ticks;
    feeder->last_ticks = ticks;
    feeder->frame_count++;
    AVFrame *const *pictures = NULL;
    if (ladder->surfaces) {
        int64_t before_ns = run_thread_cpu_ns();
        int code = surfaces_run(ladder->surfaces, frame, ladder->rung_count, &pictures, why);
        feeder->scale_cpu_ns += run_thread_cpu_ns() - before_ns;
        /* The decoder needs its picture back, however long the rungs' stay in their encoders. */
        av_frame_unref(frame);
        if (code != SL_OK)
            return code;
    }
    return frame_ring_put(&ladder->ring, frame, pictures, ticks, feeder->segment, force_idr);
}

/* Frames missing where the decoder complained are lost frames, not a wrong prediction of the index. */
static int counts_judge(const struct feeder *feeder, const struct media_range_stats *stats,
                        struct sl_failure *why)
{
    const struct job_transcode *job = feeder->ladder->job;
    if (feeder->segment != job->segment_count - 1)
        return sl_fail(why, SL_EDECODE, "the source ended in segment %d, before segment %d",
                       feeder->segment < 0 ? job->segments[0].number
                                           : job->segments[feeder->segment].number,
                       job->segments[job->segment_count - 1].number);
    int64_t expected = 0;
    for (int32_t i = 0; i < job->segment_count; i++)
        expected += job->segments[i].frame_count;
    if (feeder->frame_count < expected && stats->errors > 0)
        return sl_fail(why, SL_EDECODE,
                       "%" PRId64 " of %" PRId64 " frames from %" PRId64
                       " on are lost: the decoder "
                       "refused or lost %" PRId64 " packets",
                       expected - feeder->frame_count, expected, job->start_pts, stats->errors);
    return SL_OK;
}

static int feed_all(struct ladder *ladder, struct source *source, struct feeder *feeder,
                    struct sl_failure *why)
{
    AVFrame *frame;
    int got;
    while ((got = source_next(ladder, source, &frame, why)) > 0) {
        int code = frame_feed(feeder, frame, why);
        if (code != SL_OK)
            return code;
    }
    if (got < 0)
        return got;
    int code = counts_judge(feeder, media_range_stats(source->range), why);
    if (code == SL_OK)
        frame_ring_end(&ladder->ring);
    return code;
}

/* ---- one pass ---- */

/* Opens the rungs from rung_first on, as many as the device has sessions for. */
static int rungs_open(struct ladder *ladder, struct rung *rungs, struct hal_device *device,
                      struct report_rendition *renditions, const AVFrame *like,
                      struct sl_failure *why)
{
    const int32_t left = ladder->job->rung_count - ladder->rung_first;
    const int32_t sessions = ladder->run->job.sessions;
    const int32_t most = sessions > 0 && sessions < left ? sessions : left;
    ladder->rung_count = 0;
    int opening = surfaces_open(ladder, device, most, like, &ladder->surfaces, why);
    if (opening != SL_OK)
        return opening;
    while (ladder->rung_count < most) {
        int32_t index = ladder->rung_first + ladder->rung_count;
        struct rung *rung = &rungs[ladder->rung_count];
        int code = rung_open(rung, ladder, index, device, &renditions[index], why);
        if (code == SL_ESESSIONS && ladder->rung_count > 0) {
            rung_close(rung);
            break; /* the others come in the next pass */
        }
        if (code != SL_OK)
            return code;
        ladder->rung_count++;
    }
    return SL_OK;
}

static int rungs_start(struct ladder *ladder, struct rung *rungs, struct sl_failure *why)
{
    for (int32_t i = 0; i < ladder->rung_count; i++) {
        if (pthread_create(&rungs[i].thread, NULL, rung_run, &rungs[i]) != 0)
            return sl_fail(why, SL_ENOMEM, "no thread for rung %s", rungs[i].plan->name);
        rungs[i].started = true;
    }
    return SL_OK;
}

static int pass_encode(struct ladder *ladder, struct rung *rungs, struct source *source,
                       struct feeder *feeder, struct sl_failure *why)
{
    for (int32_t i = 0; i < ladder->job->segment_count; i++)
        ladder->segments[i].frame_count = ladder->segments[i].idr_count = 0;
    if (frame_ring_init(&ladder->ring, ladder->rung_count) != SL_OK)
        return sl_fail(why, SL_ENOMEM, "no memory for frames");
    int code = rungs_start(ladder, rungs, why);
    if (code == SL_OK)
        code = feed_all(ladder, source, feeder, why);
    if (code != SL_OK)
        frame_ring_abort(&ladder->ring);
    for (int32_t i = 0; i < ladder->rung_count; i++)
        if (rungs[i].started)
            pthread_join(rungs[i].thread, NULL);
    frame_ring_fini(&ladder->ring);
    /* A rung's failure comes before the decoder's, which was only woken by it. */
    if (ladder->failure.code != SL_OK) {
        *why = ladder->failure;
        return ladder->failure.code;
    }
    return code;
}

/* Every pass has to see the same frames. */
static int pass_report(struct ladder *ladder, const struct source *source,
                       const struct feeder *feeder, struct sl_failure *why)
{
    const struct media_range_stats *stats = media_range_stats(source->range);
    struct report_transcode *report = &ladder->run->report.transcode;
    uint64_t seam_next = ladder->job->last_chunk ? 0 : stats->seam_next;
    if (ladder->rung_first > 0 &&
        (report->frame_count != feeder->frame_count || report->seam_first != stats->seam_first ||
         report->seam_next != seam_next))
        return sl_fail(why, SL_EDECODE,
                       "the source decoded to other frames when it was decoded again");
    report->frame_count = feeder->frame_count;
    report->seam_first = stats->seam_first;
    report->seam_next = seam_next;
    if (ladder->rung_count > report->sessions)
        report->sessions = ladder->rung_count;
    if (ladder->fed && ladder->surfaces)
        memcpy(ladder->run->report.feed_device_id, ladder->maker->device_id,
               sizeof ladder->run->report.feed_device_id);
    if (stats->device_left)
        sl_info(&ladder->run->about,
                "device %s did not decode the %s source to its end; the CPU did",
                ladder->maker->device_id, ladder->job->source.codec);
    if (stats->errors)
        sl_warn(&ladder->run->about,
                "the decoder complained %" PRId64 " times, and all frames came", stats->errors);
    return SL_OK;
}

/* CPU time of this thread goes to decoding, but for what opening the encoders took. */
static int pass_run(struct ladder *ladder, struct hal_device *device,
                    struct report_rendition *renditions, struct sl_failure *why)
{
    struct report_transcode *report = &ladder->run->report.transcode;
    struct rung rungs[POLICY_RUNGS_MAX] = {0};
    struct source source = {0};
    struct feeder feeder = {.ladder = ladder, .segment = -1};
    int64_t from_ns = run_thread_cpu_ns(), opening_ns = 0;
    int code = source_open(ladder, &source, why);
    if (code == SL_OK) {
        opening_ns = run_thread_cpu_ns();
        code = rungs_open(ladder, rungs, device, renditions, source.first, why);
        if (code == SL_OK && !ladder->surfaces)
            code = source_to_host(ladder, &source, why);
        opening_ns = run_thread_cpu_ns() - opening_ns;
    }
    if (code == SL_OK)
        code = pass_encode(ladder, rungs, &source, &feeder, why);
    if (code == SL_OK)
        code = pass_report(ladder, &source, &feeder, why);
    report->encode_cpu_ns += opening_ns;
    report->scale_cpu_ns += feeder.scale_cpu_ns;
    report->decode_cpu_ns += run_thread_cpu_ns() - from_ns - opening_ns - feeder.scale_cpu_ns;
    for (int32_t i = 0; i < POLICY_RUNGS_MAX; i++) {
        report->scale_cpu_ns += rungs[i].scale_cpu_ns;
        report->encode_cpu_ns += rungs[i].encode_cpu_ns;
        rung_close(&rungs[i]);
    }
    surfaces_close(&ladder->surfaces);
    source_close(&source);
    return code;
}

/* A source may become in mid-stream what the device cannot make pictures of: then the pass is done again, and the others
 * too, with the CPU's decoder, filters and scalers. Encoding stays where it is. */
static void pass_undo(struct ladder *ladder, int64_t done_before, const struct sl_failure *why)
{
    sl_info(&ladder->run->about, "the CPU scales for %s, from the chunk's start again: %s",
            ladder->maker->device_id, why->message);
    ladder->on_cpu = true;
    ladder->failure = (struct sl_failure){0};
    /* What was done in vain is work as well: whoever watches wants to see more of it all the time. */
    ladder->frame_total += atomic_load(&ladder->frames_done) - done_before;
}

/* ---- the ladder ---- */

static int device_choose(struct worker_run *run, const struct job_transcode *job,
                         struct hal_device **out, struct sl_failure *why)
{
    for (int32_t i = 0; i < run->device_count; i++)
        if (strcmp(run->devices[i].device_id, run->job.device_id) == 0) {
            *out = &run->devices[i];
            return SL_OK;
        }
    if (run->job.device_id[0])
        return sl_fail(why, SL_EDEVICELOST, "the device %s is not on this node any more",
                       run->job.device_id);
    int chosen = hal_choose(run->devices, run->device_count, job->rungs[0].codec,
                            job->rungs[0].encoder, why);
    if (chosen < 0)
        return chosen;
    *out = &run->devices[chosen];
    return SL_OK;
}

/* A GPU that feeds the CPUs of this worker. */
static int maker_choose(struct ladder *ladder, const struct hal_device *device,
                        struct sl_failure *why)
{
    const struct worker_run *run = ladder->run;
    const char *wanted = run->job.feed_device_id;
    ladder->maker = device;
    if (!wanted[0])
        return SL_OK;
    if (device->kind != DEVICE_CPU)
        return sl_fail(why, SL_EINVAL, "%s feeds encoders on CPUs alone, not %s", wanted,
                       device->device_id);
    for (int32_t i = 0; i < run->device_count; i++)
        if (strcmp(run->devices[i].device_id, wanted) == 0)
            ladder->maker = &run->devices[i];
    ladder->fed = ladder->maker != device;
    return ladder->fed ? SL_OK
                       : sl_fail(why, SL_EDEVICELOST, "the device %s is not open here", wanted);
}

static int ladder_prepare(struct ladder *ladder, const struct hal_device *device,
                          struct sl_failure *why)
{
    const struct job_transcode *job = ladder->job;
    ladder->segments =
        sl_arena_array(&ladder->run->arena, (size_t)job->segment_count, sizeof *ladder->segments);
    if (!ladder->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for %d segments", job->segment_count);
    for (int32_t i = 0; i < job->segment_count; i++) {
        ladder->segments[i].start_ticks = ticks_of(job, job->segments[i].start_pts);
        ladder->segments[i].end_ticks = ticks_of(job, job->segments[i].end_pts);
        ladder->frame_total += (int64_t)job->segments[i].frame_count * job->rung_count;
    }
    pthread_mutex_init(&ladder->lock, NULL);
    check_decide(ladder, device);
    return SL_OK;
}

int job_transcode(struct worker_run *run, struct sl_failure *why)
{
    const struct job_transcode *job = &run->job.transcode;
    struct ladder ladder = {.run = run, .job = job};
    struct hal_device *device = NULL;
    int code = job_judge(job, why);
    if (code != SL_OK)
        return code;
    struct report_rendition *renditions =
        sl_arena_array(&run->arena, (size_t)job->rung_count, sizeof *renditions);
    if (!renditions)
        return sl_fail(why, SL_ENOMEM, "no memory for a report");
    code = device_choose(run, job, &device, why);
    if (code == SL_OK)
        code = maker_choose(&ladder, device, why);
    if (code == SL_OK)
        code = ladder_prepare(&ladder, device, why);
    while (code == SL_OK && ladder.rung_first < job->rung_count) {
        int64_t done_before = atomic_load(&ladder.frames_done);
        code = pass_run(&ladder, device, renditions, why);
        if (code == SL_EUNSUPPORTED && ladder.maker->kind != DEVICE_CPU && !ladder.on_cpu) {
            pass_undo(&ladder, done_before, why);
            code = SL_OK;
            continue;
        }
        ladder.rung_first += ladder.rung_count;
    }
    if (code != SL_OK)
        return code;
    run->report.renditions = renditions;
    run->report.rendition_count = job->rung_count;
    memcpy(run->report.device_id, device->device_id, sizeof run->report.device_id);
    return SL_OK;
}
