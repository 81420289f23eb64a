/* Which entries of a codec's route a video may use. What does not change while it is encoded is decided here: sizes,
 * depth, provider and priority. What depends on queues is the core's. */
#include <stdio.h>
#include <string.h>

#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

#define MIB                  INT64_C(1048576)

/* A worker that feeds a GPU decodes on the CPU where the GPU does not, and writes fragments. */
#define DEVICE_MILLICORES    500
#define DEVICE_BASE_BYTES    (448 * MIB) /* a CUDA context and the driver's own memory */
/* On the device: pictures for references, lookahead and what is under way, each with its alignment. */
#define DEVICE_PICTURES      24
#define DEVICE_CONTEXT_BYTES (256 * MIB)

static bool within(int32_t value, int32_t min, int32_t max)
{
    return value >= min && (max == 0 || value <= max);
}

static bool provider_is(const struct policy_when *when, const char *provider)
{
    for (int32_t i = 0; i < when->provider_count; i++)
        if (provider && strcmp(when->providers[i], provider) == 0)
            return true;
    return when->provider_count == 0;
}

static bool when_holds(const struct policy_when *when, const struct plan_rung *largest,
                       int32_t depth, const struct plan_who *who)
{
    return within(largest->width, when->width_min, when->width_max) &&
           within(largest->height, when->height_min, when->height_max) &&
           (when->depth == 0 || when->depth == depth) && provider_is(when, who->provider) &&
           (when->priorities == 0 || when->priorities & UINT32_C(1) << who->priority);
}

/* What GPUs take at least and at most; one that takes less says so itself. 0: not known of all. */
static const struct size_row {
    enum device_kind kind;
    enum codec codec;
    int32_t width_min, height_min, side_max;
} sizes[] = {
    {DEVICE_NVENC, CODEC_H264, 145, 49, 4096}, {DEVICE_NVENC, CODEC_H265, 129, 33, 8192},
    {DEVICE_NVENC, CODEC_AV1, 192, 128, 8192}, {DEVICE_VAAPI, CODEC_H264, 0, 0, 4096},
    {DEVICE_VAAPI, CODEC_H265, 0, 0, 8192},    {DEVICE_VAAPI, CODEC_VP9, 0, 0, 8192},
    {DEVICE_VAAPI, CODEC_AV1, 0, 0, 8192},
};

/* Every rung of the codec is of a size that the encoder's devices take. */
static bool sizes_fit(const struct plan_rung *rungs, int32_t count, enum codec codec,
                      const char *encoder)
{
    const struct encoder_name *name = encoder_find(encoder);
    const struct size_row *row = NULL;
    for (size_t i = 0; name && i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].kind == name->kind && sizes[i].codec == codec)
            row = &sizes[i];
    for (int32_t i = 0; row && i < count; i++)
        if (!within(rungs[i].width, row->width_min, row->side_max) ||
            !within(rungs[i].height, row->height_min, row->side_max))
            return false;
    return true;
}

/* Entries whose devices do not take these pictures would fail the video: others go before them. Where none is left they
 * stay, and say what they take. */
static void sizes_keep(const struct plan_rung *rungs, int32_t count,
                       const struct policy_codec *said, struct plan_route *out)
{
    struct plan_route kept = {.count = 0};
    for (int32_t i = 0; i < out->count; i++)
        if (sizes_fit(rungs, count, said->codec, said->route[out->entries[i]].encoder))
            kept.entries[kept.count++] = out->entries[i];
    if (kept.count > 0)
        *out = kept;
}

static void names_of(const struct policy_codec *codec, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < codec->route_count && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i ? ", " : "",
                                 codec->route[i].encoder);
}

int plan_route_choose(const struct plan *plan, const struct policy *policy, enum codec codec,
                      const struct plan_who *who, struct plan_route *out, struct sl_failure *why)
{
    const struct policy_codec *said = policy_codec_find(policy, codec);
    int32_t first = 0;
    memset(out, 0, sizeof *out);
    int32_t rungs = plan_codec_rungs(plan, codec, &first);
    if (!said || rungs == 0)
        return sl_fail(why, SL_EINVAL, "the policy's snapshot has no %s, which the plan has",
                       codec_word(codec));
    const struct plan_rung *largest = &plan->rungs[first];
    int32_t depth = plan->pictures[codec].bit_depth;
    for (int32_t i = 0; i < said->route_count; i++)
        if (when_holds(&said->route[i].when, largest, depth, who))
            out->entries[out->count++] = i;
    sizes_keep(largest, rungs, said, out);
    if (out->count > 0)
        return SL_OK;
    char names[POLICY_ROUTE_MAX * POLICY_WORD_BYTES];
    names_of(said, names, sizeof names);
    return sl_fail(why, SL_EINVAL,
                   "no condition of %s's route (%.80s) holds for this video: %dx%d, %d bits, "
                   "provider \"%.31s\", priority %s; add an encoder without a condition",
                   codec_word(codec), names, (int)largest->width, (int)largest->height, (int)depth,
                   who->provider ? who->provider : "", priority_word(who->priority));
}

struct demand plan_device_demand(const struct plan *plan, enum codec codec)
{
    int64_t source_pix = (int64_t)plan->video.width * plan->video.height;
    int64_t frame_pix = plan_frame_pix(plan, codec);
    int64_t sample_bytes = plan->pictures[codec].bit_depth > 8 ? 2 : 1;
    return (struct demand){
        .cpu_millicores = DEVICE_MILLICORES,
        .sessions = plan_codec_rungs(plan, codec, NULL),
        .memory_bytes = DEVICE_BASE_BYTES + source_pix * PLAN_DECODE_BYTES_PER_PIX,
        .vram_bytes = DEVICE_CONTEXT_BYTES + frame_pix * 3 / 2 * sample_bytes * DEVICE_PICTURES,
    };
}

int plan_job_route(const struct policy *policy, enum codec codec, int32_t entry,
                   struct sl_arena *arena, struct job *job)
{
    const struct policy_codec *said = policy_codec_find(policy, codec);
    struct job_transcode *t = &job->transcode;
    if (!said || entry < 0 || entry >= said->route_count)
        return SL_EINVAL;
    const struct policy_route *by = &said->route[entry];
    struct plan_rung *rungs = sl_arena_array(arena, (size_t)t->rung_count, sizeof *rungs);
    if (!rungs)
        return SL_ENOMEM;
    for (int32_t i = 0; i < t->rung_count; i++) {
        int32_t crf_tenths = t->rungs[i].crf_tenths + by->crf_offset_tenths;
        rungs[i] = t->rungs[i];
        rungs[i].crf_tenths = crf_tenths < 0                       ? 0
                              : crf_tenths > POLICY_CRF_MAX_TENTHS ? POLICY_CRF_MAX_TENTHS
                                                                   : crf_tenths;
        memcpy(rungs[i].encoder, by->encoder, sizeof rungs[i].encoder);
        memcpy(rungs[i].preset, by->preset, sizeof rungs[i].preset);
    }
    t->rungs = rungs;
    return SL_OK;
}

int plan_check_encoder(const struct report *report, const char *encoder, struct sl_failure *why)
{
    for (int32_t i = 0; i < report->rendition_count; i++)
        if (strncmp(report->renditions[i].encoder, encoder, POLICY_WORD_BYTES) != 0)
            return sl_fail(why, SL_EMISMATCH, "%.31s was made by %.31s and was granted to %.31s",
                           report->renditions[i].name, report->renditions[i].encoder, encoder);
    return SL_OK;
}
