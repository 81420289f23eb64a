#include "wire/wire_codec.h"

#include "wire/wire_fields.h"

/* clang-format off */
#define JOB_MEMBERS(I, T, E, R)                                                                    \
    E(step, STEP_COUNT) T(video) I(watchdog_ns) T(device_id) T(feed_device_id) I(sessions)

#define TRANSCODE_MEMBERS(I, T, E, R)                                                              \
    I(start_pts) I(end_pts) I(origin_pts) I(byte_first) I(timescale) I(reorder_ticks) I(gop_ns)    \
    R(frame_rate) I(preroll) I(last_chunk) I(write_init) E(check, CHECK_ALL + 1)

#define PROBE_MEMBERS(I, T, E, R)                                                                  \
    I(stream_asked)

#define SEGMENT_MEMBERS(I, T, E, R)                                                                \
    I(number) I(start_pts) I(end_pts) I(frame_count)

#define AUDIO_MEMBERS(I, T, E, R)                                                                  \
    I(origin_pts) R(origin_time_base) I(timescale)

#define IMAGES_MEMBERS(I, T, E, R)                                                                 \
    I(origin_pts) I(end_pts)

#define PACKAGE_MEMBERS(I, T, E, R)                                                                \
    T(video)

#define SAMPLE_MEMBERS(I, T, E, R)                                                                 \
    I(rendition) I(segment) I(init_input) I(segment_input)
/* clang-format on */

#define JOB_BYTES_MAX   SYNC_BYTES_MAX
#define JOB_SAMPLES_MAX JOB_INPUTS_MAX /* each has an input of its own */

static void segment_put(const struct job_segment *from, Sluice__V1__JobSegment *to)
{
    sluice__v1__job_segment__init(to);
    SEGMENT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int transcode_put(const struct job_transcode *from, struct sl_arena *arena,
                         Sluice__V1__JobTranscode *to)
{
    if (from->segment_count < 0 || from->segment_count > PLAN_CHUNK_SEGMENTS_MAX ||
        from->rung_count < 0 || from->rung_count > POLICY_RUNGS_MAX)
        return SL_ELIMIT;
    sluice__v1__job_transcode__init(to);
    TRANSCODE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    Sluice__V1__JobSegment *segments;
    Sluice__V1__Rung *rungs;
    to->source = sl_arena_alloc(arena, sizeof *to->source);
    to->picture = sl_arena_alloc(arena, sizeof *to->picture);
    to->n_segments = (size_t)from->segment_count;
    to->segments = wire_repeated(arena, to->n_segments, sizeof *segments, (void **)&segments);
    to->n_rungs = (size_t)from->rung_count;
    to->rungs = wire_repeated(arena, to->n_rungs, sizeof *rungs, (void **)&rungs);
    if (!to->source || !to->picture || !to->segments || !to->rungs)
        return SL_ENOMEM;
    int code = wire_video_put(&from->source, arena, to->source);
    if (!code)
        code = wire_picture_put(&from->picture, arena, to->picture);
    if (code)
        return code;
    for (size_t i = 0; i < to->n_segments; i++)
        segment_put(&from->segments[i], &segments[i]);
    for (size_t i = 0; i < to->n_rungs; i++)
        wire_rung_put(&from->rungs[i], &rungs[i]);
    return SL_OK;
}

static int audio_put(const struct job_audio *from, struct sl_arena *arena, Sluice__V1__JobAudio *to)
{
    if (from->boundary_count < 0 || from->boundary_count > PLAN_SEGMENTS_MAX + 1)
        return SL_ELIMIT;
    sluice__v1__job_audio__init(to);
    AUDIO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->source = sl_arena_alloc(arena, sizeof *to->source);
    to->out = sl_arena_alloc(arena, sizeof *to->out);
    to->n_boundary_ticks = (size_t)from->boundary_count;
    to->boundary_ticks = wire_differences_put(arena, from->boundary_ticks, to->n_boundary_ticks);
    if (!to->source || !to->out || !to->boundary_ticks)
        return SL_ENOMEM;
    wire_audio_put(&from->source, to->source);
    wire_plan_audio_put(&from->out, to->out);
    return SL_OK;
}

static int text_put(const struct job_text *from, struct sl_arena *arena, Sluice__V1__JobText *to)
{
    if (from->boundary_count < 0 || from->boundary_count > PLAN_SEGMENTS_MAX + 1)
        return SL_ELIMIT;
    sluice__v1__job_text__init(to);
    AUDIO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->text = sl_arena_alloc(arena, sizeof *to->text);
    to->n_boundary_ticks = (size_t)from->boundary_count;
    to->boundary_ticks = wire_differences_put(arena, from->boundary_ticks, to->n_boundary_ticks);
    if (!to->text || !to->boundary_ticks)
        return SL_ENOMEM;
    wire_plan_text_put(&from->text, to->text);
    return SL_OK;
}

static int images_put(const struct job_images *from, struct sl_arena *arena,
                      Sluice__V1__JobImages *to)
{
    sluice__v1__job_images__init(to);
    IMAGES_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->source = sl_arena_alloc(arena, sizeof *to->source);
    to->images = sl_arena_alloc(arena, sizeof *to->images);
    to->picture = sl_arena_alloc(arena, sizeof *to->picture);
    if (!to->source || !to->images || !to->picture)
        return SL_ENOMEM;
    int code = wire_picture_put(&from->picture, arena, to->picture);
    if (!code)
        code = wire_video_put(&from->source, arena, to->source);
    return code ? code : wire_plan_images_put(&from->images, arena, to->images);
}

static void probe_put(const struct job_probe *from, Sluice__V1__JobProbe *to)
{
    sluice__v1__job_probe__init(to);
    PROBE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void package_put(const struct job_package *from, Sluice__V1__JobPackage *to)
{
    sluice__v1__job_package__init(to);
    PACKAGE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void sample_put(const struct job_sample *from, Sluice__V1__JobSample *to)
{
    sluice__v1__job_sample__init(to);
    SAMPLE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int verify_put(const struct job_verify *from, struct sl_arena *arena,
                      Sluice__V1__JobVerify *to)
{
    if (from->sample_count < 0 || from->sample_count > JOB_SAMPLES_MAX)
        return SL_ELIMIT;
    sluice__v1__job_verify__init(to);
    to->package_token = from->package_token.v;
    Sluice__V1__JobSample *samples;
    to->n_samples = (size_t)from->sample_count;
    to->samples = wire_repeated(arena, to->n_samples, sizeof *samples, (void **)&samples);
    if (!to->samples)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_samples; i++)
        sample_put(&from->samples[i], &samples[i]);
    return SL_OK;
}

static void limits_put(const struct limits *from, Sluice__V1__Limits *to)
{
    sluice__v1__limits__init(to);
#define LIMIT_PUT(name, kind, least, most, otherwise) to->name = from->name;
    LIMIT_LIST(LIMIT_PUT)
#undef LIMIT_PUT
}

static int job_put(const struct job *from, struct sl_arena *arena, Sluice__V1__Job *to)
{
    to->limits = sl_arena_alloc(arena, sizeof *to->limits);
    if (!to->limits)
        return SL_ENOMEM;
    limits_put(&from->limits, to->limits);
    JOB_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->task = from->task.v;
    to->token = from->token.v;
    switch (from->step) {
    case STEP_TRANSCODE:
        to->transcode = sl_arena_alloc(arena, sizeof *to->transcode);
        return to->transcode ? transcode_put(&from->transcode, arena, to->transcode) : SL_ENOMEM;
    case STEP_AUDIO:
        to->audio = sl_arena_alloc(arena, sizeof *to->audio);
        return to->audio ? audio_put(&from->audio, arena, to->audio) : SL_ENOMEM;
    case STEP_SUBTITLES:
        to->text = sl_arena_alloc(arena, sizeof *to->text);
        return to->text ? text_put(&from->text, arena, to->text) : SL_ENOMEM;
    case STEP_IMAGES:
        to->images = sl_arena_alloc(arena, sizeof *to->images);
        return to->images ? images_put(&from->images, arena, to->images) : SL_ENOMEM;
    case STEP_PROBE:
        to->probe = sl_arena_alloc(arena, sizeof *to->probe);
        if (!to->probe)
            return SL_ENOMEM;
        probe_put(&from->probe, to->probe);
        return SL_OK;
    case STEP_PACKAGE:
        to->package = sl_arena_alloc(arena, sizeof *to->package);
        if (!to->package)
            return SL_ENOMEM;
        package_put(&from->package, to->package);
        return SL_OK;
    case STEP_VERIFY:
        to->verify = sl_arena_alloc(arena, sizeof *to->verify);
        return to->verify ? verify_put(&from->verify, arena, to->verify) : SL_ENOMEM;
    default:
        return SL_OK; /* other steps need nothing but the source */
    }
}

int wire_job_encode(const struct job *job, struct sl_buf *out)
{
    struct sl_arena arena = {0};
    Sluice__V1__Job message = SLUICE__V1__JOB__INIT;
    int code = job_put(job, &arena, &message);
    if (!code)
        code = wire_pack(&message.base, JOB_BYTES_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

static void segment_get(const Sluice__V1__JobSegment *in, struct job_segment *out)
{
    SEGMENT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
}

static int transcode_get(struct wire_decoder *d, const Sluice__V1__JobTranscode *in,
                         struct job_transcode *out)
{
    if (!in)
        return wire_fail(d, "job.transcode", "missing");
    TRANSCODE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_video_get(d, in->source, &out->source) ||
        wire_picture_get(d, in->picture, &out->picture) ||
        wire_count_get(d, "job.segments", in->n_segments, PLAN_CHUNK_SEGMENTS_MAX,
                       &out->segment_count) ||
        wire_count_get(d, "job.rungs", in->n_rungs, POLICY_RUNGS_MAX, &out->rung_count))
        return d->code;
    out->segments = sl_arena_array(d->arena, in->n_segments, sizeof *out->segments);
    out->rungs = sl_arena_array(d->arena, in->n_rungs, sizeof *out->rungs);
    if (!out->segments || !out->rungs)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_segments; i++)
        segment_get(in->segments[i], &out->segments[i]);
    for (size_t i = 0; i < in->n_rungs; i++)
        if (wire_rung_get(d, in->rungs[i], &out->rungs[i]))
            return d->code;
    return SL_OK;
}

static int audio_get(struct wire_decoder *d, const Sluice__V1__JobAudio *in, struct job_audio *out)
{
    if (!in)
        return wire_fail(d, "job.audio", "missing");
    AUDIO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_audio_get(d, in->source, &out->source) || wire_plan_audio_get(d, in->out, &out->out) ||
        wire_count_get(d, "job.boundary_ticks", in->n_boundary_ticks, PLAN_SEGMENTS_MAX + 1,
                       &out->boundary_count))
        return d->code;
    out->boundary_ticks = wire_differences_get(d, in->boundary_ticks, in->n_boundary_ticks);
    return d->code;
}

static int text_get(struct wire_decoder *d, const Sluice__V1__JobText *in, struct job_text *out)
{
    if (!in)
        return wire_fail(d, "job.text", "missing");
    AUDIO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_plan_text_get(d, in->text, &out->text) ||
        wire_count_get(d, "job.boundary_ticks", in->n_boundary_ticks, PLAN_SEGMENTS_MAX + 1,
                       &out->boundary_count))
        return d->code;
    out->boundary_ticks = wire_differences_get(d, in->boundary_ticks, in->n_boundary_ticks);
    return d->code;
}

static int images_get(struct wire_decoder *d, const Sluice__V1__JobImages *in,
                      struct job_images *out)
{
    if (!in)
        return wire_fail(d, "job.images", "missing");
    IMAGES_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_video_get(d, in->source, &out->source) ||
        wire_picture_get(d, in->picture, &out->picture))
        return d->code;
    return wire_plan_images_get(d, in->images, &out->images);
}

static int probe_get(struct wire_decoder *d, const Sluice__V1__JobProbe *in, struct job_probe *out)
{
    if (!in)
        return wire_fail(d, "job.probe", "missing");
    PROBE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int package_get(struct wire_decoder *d, const Sluice__V1__JobPackage *in,
                       struct job_package *out)
{
    if (!in)
        return wire_fail(d, "job.package", "missing");
    PACKAGE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int sample_get(struct wire_decoder *d, const Sluice__V1__JobSample *in,
                      struct job_sample *out)
{
    SAMPLE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (out->init_input < 0 || out->init_input >= JOB_INPUTS_MAX || out->segment_input < 0 ||
        out->segment_input >= JOB_INPUTS_MAX || out->rendition < 0 || out->segment < 0)
        return wire_fail(d, "job.samples", "a number outside its range");
    return SL_OK;
}

static int verify_get(struct wire_decoder *d, const Sluice__V1__JobVerify *in,
                      struct job_verify *out)
{
    if (!in)
        return wire_fail(d, "job.verify", "missing");
    out->package_token.v = in->package_token;
    if (wire_count_get(d, "job.samples", in->n_samples, JOB_SAMPLES_MAX, &out->sample_count))
        return d->code;
    out->samples = sl_arena_array(d->arena, in->n_samples, sizeof *out->samples);
    if (!out->samples)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_samples; i++)
        if (sample_get(d, in->samples[i], &out->samples[i]))
            return d->code;
    return SL_OK;
}

/* A worker is never without limits: what is not said, or is no limit, is the default. */
static void limits_get(const Sluice__V1__Limits *in, struct limits *out)
{
    limits_default(out);
#define LIMIT_GET(name, kind, least, most, otherwise)                                              \
    if (in && in->name >= (least) && in->name <= (most))                                           \
        out->name = in->name;
    LIMIT_LIST(LIMIT_GET)
#undef LIMIT_GET
}

static int job_get(struct wire_decoder *d, const Sluice__V1__Job *in, struct job *out)
{
    limits_get(in->limits, &out->limits);
    JOB_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    out->task.v = in->task;
    out->token.v = in->token;
    switch (out->step) {
    case STEP_TRANSCODE:
        return transcode_get(d, in->transcode, &out->transcode);
    case STEP_AUDIO:
        return audio_get(d, in->audio, &out->audio);
    case STEP_SUBTITLES:
        return text_get(d, in->text, &out->text);
    case STEP_IMAGES:
        return images_get(d, in->images, &out->images);
    case STEP_PROBE:
        return probe_get(d, in->probe, &out->probe);
    case STEP_PACKAGE:
        return package_get(d, in->package, &out->package);
    case STEP_VERIFY:
        return verify_get(d, in->verify, &out->verify);
    default:
        return SL_OK;
    }
}

int wire_job_decode(const void *bytes, size_t length, struct sl_arena *arena, struct job *out,
                    struct sl_failure *why)
{
    if (length > JOB_BYTES_MAX)
        return sl_fail(why, SL_EPROTO, "a job of %zu bytes; at most %d are taken", length,
                       JOB_BYTES_MAX);
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__Job *in = wire_unpack(&d, &sluice__v1__job__descriptor, "job", bytes, length);
    struct job job = {0};
    if (in)
        job_get(&d, in, &job);
    if (!d.code)
        *out = job;
    wire_decoder_fini(&d);
    return d.code;
}
