#include "worker/surfaces.h"

#include <stdlib.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_deinterlace.h"
#include "gpu/gpu_ladder.h"
#include "gpu/gpu_picture.h"
#include "gpu/gpu_scale.h"
#include "gpu/gpu_tone.h"
#include "gpu/gpu_va.h"
#include "gpu/gpu_va_ladder.h"
#include "media/media_color.h"
#include "media/media_filter.h"
#include "media/media_tone.h"

/* One of the two, which are alike. */
struct surfaces {
    struct gpu_ladder *cuda;
    struct gpu_va_ladder *va;
    struct gpu_deinterlace *fields; /* NULL: pictures are progressive, or were made so */
    AVFrame *progressive;           /* its latest picture */
    AVFrame *pictures[RING_READERS_MAX];
    int32_t count;
    bool fed;
};

static int params_fill(const struct ladder *ladder, const struct hal_device *device, int32_t count,
                       struct gpu_ladder_params *out, struct sl_failure *why)
{
    const struct plan_picture *picture = &ladder->job->picture;
    *out = (struct gpu_ladder_params){
        .rung_count = count,
        .to_host = ladder->fed,
        .color_primaries = picture->primaries,
        .color_transfer = picture->transfer,
        .color_matrix = picture->matrix,
        .mirrored = ladder->laid_later && ladder->job->source.mirrored,
        .rotation_degrees = ladder->laid_later ? ladder->job->source.rotation_degrees : 0,
    };
    for (int32_t i = 0; i < count; i++) {
        const struct plan_rung *rung = &ladder->job->rungs[ladder->rung_first + i];
        out->rungs[i].width = rung->width;
        out->rungs[i].height = rung->height;
        int code = rung_layout(ladder, rung, device, &out->rungs[i].layout, why);
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

/* Colours that become others on the GPU, HDR or not; *out stays NULL where nothing is to be mapped. What the CPU's filters make
 * no table of its scalers may yet make. */
static int tones_make(const struct ladder *ladder, const AVFrame *like, uint16_t **out,
                      struct sl_failure *why)
{
    const struct plan_picture *picture = &ladder->job->picture;
    enum hal_layout layout;
    if (!ladder->laid_later || media_color_keeps_hdr(picture) ||
        !media_color_differs(like, picture) ||
        !gpu_picture_layout(gpu_picture_format(like), &layout))
        return SL_OK;
    *out = malloc(sizeof(uint16_t[3]) * GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE);
    if (!*out)
        return sl_fail(why, SL_ENOMEM, "no memory for a table of tones");
    int code = media_tone_table(like, gpu_layout_is_wide(layout) ? 10 : 8, picture, GPU_TONE_SIDE,
                                GPU_TONE_STEP, *out, why);
    if (code != SL_OK && code != SL_ENOMEM)
        code = why->code = SL_EUNSUPPORTED;
    return code;
}

static int scaler_open(struct surfaces *s, const struct hal_device *device, const AVFrame *like,
                       bool fields, const struct gpu_ladder_params *params, struct sl_failure *why)
{
    AVBufferRef *context = NULL;
    bool cuda = device->kind == DEVICE_NVENC;
    int code = cuda ? gpu_context(device->device_id, &context, why)
                    : gpu_va_context(device->device_id, &context, why);
    if (code == SL_OK && fields && !(s->progressive = av_frame_alloc()))
        code = sl_fail(why, SL_ENOMEM, "no memory for surfaces");
    if (code == SL_OK && fields)
        code = gpu_deinterlace_open(context, like, media_filter_first_edges(), &s->fields, why);
    if (code != SL_OK)
        return code;
    return cuda ? gpu_ladder_open(context, like, params, &s->cuda, why)
                : gpu_va_ladder_open(context, like, params, &s->va, why);
}

/* A GPU that feeds has no sessions that might come free: where its memory is full, CPUs go on without. */
static int feed_judge(bool fed, int code)
{
    if (fed && sl_error_class(code) == SL_CLASS_DEVICE)
        return SL_EDEVICELOST;
    return fed && code == SL_ESESSIONS ? SL_EUNSUPPORTED : code;
}

int surfaces_open(const struct ladder *ladder, const struct hal_device *device, int32_t count,
                  const AVFrame *like, struct surfaces **out, struct sl_failure *why)
{
    struct gpu_ladder_params params;
    struct sl_failure failure = {0};
    if (ladder->maker->kind == DEVICE_CPU || ladder->on_cpu)
        return SL_OK;
    int code = params_fill(ladder, device, count, &params, why);
    if (code != SL_OK)
        return code;
    struct surfaces *surfaces = calloc(1, sizeof *surfaces);
    if (!surfaces)
        return sl_fail(why, SL_ENOMEM, "no memory for surfaces");
    surfaces->fed = ladder->fed;
    uint16_t *tones = NULL;
    code = tones_make(ladder, like, &tones, &failure);
    params.tones = tones;
    if (code == SL_OK)
        code = scaler_open(surfaces, ladder->maker, like, ladder->fields_later, &params, &failure);
    free(tones);
    while (code == SL_OK && surfaces->count < count) {
        AVFrame *picture = av_frame_alloc();
        if (picture)
            surfaces->pictures[surfaces->count++] = picture;
        else
            code = sl_fail(&failure, SL_ENOMEM, "no memory for surfaces");
    }
    if (code == SL_OK) {
        *out = surfaces;
        return SL_OK;
    }
    surfaces_close(&surfaces);
    code = feed_judge(ladder->fed, code);
    if (ladder->fed ? code == SL_EDEVICELOST : code != SL_EUNSUPPORTED)
        return sl_fail(why, code, "%s", failure.message);
    sl_info(&ladder->run->about, "the CPU scales for %s: %s", ladder->maker->device_id,
            failure.message);
    return SL_OK;
}

void *surfaces_pool(const struct surfaces *surfaces, int32_t i)
{
    if (!surfaces)
        return NULL;
    return surfaces->cuda ? gpu_ladder_surfaces(surfaces->cuda, i)
                          : gpu_va_ladder_surfaces(surfaces->va, i);
}

int surfaces_deinterlace(struct surfaces *surfaces, const AVFrame *frame, AVFrame **out,
                         struct sl_failure *why)
{
    av_frame_unref(surfaces->progressive);
    *out = surfaces->progressive;
    int got =
        gpu_deinterlace_run(surfaces->fields, frame, frame && media_frame_is_interlaced(frame),
                            frame && media_frame_is_top_first(frame), *out, why);
    return got < 0 ? feed_judge(surfaces->fed, got) : got;
}

int surfaces_run(struct surfaces *surfaces, const AVFrame *from, int32_t count,
                 AVFrame *const **pictures, struct sl_failure *why)
{
    AVFrame *into[RING_READERS_MAX] = {NULL};
    for (int32_t i = 0; i < count && i < surfaces->count; i++) {
        av_frame_unref(surfaces->pictures[i]);
        into[i] = surfaces->pictures[i];
    }
    int code = surfaces->cuda ? gpu_ladder_run(surfaces->cuda, from, into, why)
                              : gpu_va_ladder_run(surfaces->va, from, into, why);
    if (code == SL_OK)
        *pictures = surfaces->pictures;
    return feed_judge(surfaces->fed, code);
}

void surfaces_close(struct surfaces **surfaces)
{
    if (!surfaces || !*surfaces)
        return;
    struct surfaces *s = *surfaces;
    for (int32_t i = 0; i < s->count; i++)
        av_frame_free(&s->pictures[i]);
    gpu_ladder_close(&s->cuda);
    gpu_va_ladder_close(&s->va);
    av_frame_free(&s->progressive);
    gpu_deinterlace_close(&s->fields);
    free(s);
    *surfaces = NULL;
}
