#include "gpu/gpu_ladder.h"

#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_host.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_picture.h"
#include "gpu/gpu_scale.h"
#include "gpu/gpu_tone.h"

#define H273_UNSPECIFIED 2

/* What of a source decides the tables. */
struct geometry {
    int format; /* of the samples, wherever they are */
    int width, height;
    int primaries, transfer, matrix;
    int chroma_location;
    int crop_left, crop_top, crop_right, crop_bottom;
    bool full_range;
};

/* Rungs that one launch makes. */
struct group {
    struct gpu_scale scale;
    CUdeviceptr tables;
    int32_t rungs[GPU_RUNGS_MAX];
    int32_t count;
};

struct gpu_ladder {
    const struct gpu_driver *driver;
    const struct gpu_kernels *kernels;
    AVBufferRef *context;
    struct gpu_ladder_params params;
    AVBufferRef *pools[POLICY_RUNGS_MAX];     /* of surfaces, or … */
    struct gpu_host *hosts[POLICY_RUNGS_MAX]; /* … of pictures in host memory */
    int32_t strides[POLICY_RUNGS_MAX][2];
    struct geometry from;
    enum hal_layout source; /* how decoded pictures lie */
    enum hal_layout layout; /* of what is scaled: the source, or what tones made of it */
    struct gpu_tone *tones;
    struct geometry toned; /* with tones: the colours that they are for */
    uint32_t wanted;       /* bit per rung that the tables are for */
    uint32_t copied;       /* bit per rung that is the source itself */
    struct group groups[POLICY_RUNGS_MAX];
    int32_t group_count;
    struct gpu_room upload;
};

/* ---- what a source is ---- */

static struct geometry geometry_of(const AVFrame *frame)
{
    int format = gpu_picture_format(frame);
    return (struct geometry){
        .format = format,
        .width = frame->width,
        .height = frame->height,
        .primaries = (int)frame->color_primaries,
        .transfer = (int)frame->color_trc,
        .matrix = (int)frame->colorspace,
        .chroma_location = (int)frame->chroma_location,
        .crop_left = (int)frame->crop_left,
        .crop_top = (int)frame->crop_top,
        .crop_right = (int)frame->crop_right,
        .crop_bottom = (int)frame->crop_bottom,
        .full_range = frame->color_range == AVCOL_RANGE_JPEG || format == AV_PIX_FMT_YUVJ420P,
    };
}

static bool geometry_equal(const struct geometry *a, const struct geometry *b)
{
    return a->format == b->format && a->width == b->width && a->height == b->height &&
           a->primaries == b->primaries && a->transfer == b->transfer && a->matrix == b->matrix &&
           a->chroma_location == b->chroma_location && a->full_range == b->full_range &&
           a->crop_left == b->crop_left && a->crop_top == b->crop_top &&
           a->crop_right == b->crop_right && a->crop_bottom == b->crop_bottom;
}

static bool differs(int source, int target)
{
    return source != H273_UNSPECIFIED && target != H273_UNSPECIFIED && source != target;
}

static int known(int source, int target)
{
    return target == H273_UNSPECIFIED ? source : target;
}

/* Are these the colours that the tones are for? */
static bool is_toned(const struct gpu_ladder *ladder, const struct geometry *from)
{
    return ladder->tones && from->primaries == ladder->toned.primaries &&
           from->transfer == ladder->toned.transfer && from->matrix == ladder->toned.matrix &&
           from->full_range == ladder->toned.full_range;
}

/* What the GPU cannot do is the CPU's. */
static int source_judge(const struct gpu_ladder *ladder, const struct geometry *from,
                        enum hal_layout *layout, struct sl_failure *why)
{
    const struct gpu_ladder_params *params = &ladder->params;
    if (!gpu_picture_layout(from->format, layout)) {
        const char *name = av_get_pix_fmt_name((enum AVPixelFormat)from->format);
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU scales 4:2:0 of 8 and 10 bits, not pictures of the kind %s",
                       name ? name : "unknown");
    }
    if (is_toned(ladder, from))
        return SL_OK;
    if (ladder->tones)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU maps the colours that the source began with, and no others");
    if (params->full_range && !from->full_range)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU's scaler leaves a picture in its limited range");
    if (differs(from->primaries, params->color_primaries) ||
        differs(from->transfer, params->color_transfer) ||
        differs(from->matrix, params->color_matrix))
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU's scaler leaves a picture in its colours: %d, %d, %d, not %d, %d, "
                       "%d (ITU-T H.273)",
                       from->primaries, from->transfer, from->matrix, params->color_primaries,
                       params->color_transfer, params->color_matrix);
    return SL_OK;
}

/* ---- tables ---- */

static void groups_free(struct gpu_ladder *ladder)
{
    for (int32_t i = 0; i < ladder->group_count; i++) {
        if (ladder->groups[i].tables)
            ladder->driver->cuda->cuMemFree(ladder->groups[i].tables);
        gpu_scale_free(&ladder->groups[i].scale);
    }
    ladder->group_count = 0;
}

static int tables_upload(struct gpu_ladder *ladder, struct group *group, struct sl_failure *why)
{
    const CudaFunctions *cuda = ladder->driver->cuda;
    CUresult result = cuda->cuMemAlloc(&group->tables, group->scale.blob_bytes);
    if (result == CUDA_SUCCESS) {
        gpu_scale_place(&group->scale, group->tables);
        result = cuda->cuMemcpyHtoD(group->tables, group->scale.blob, group->scale.blob_bytes);
    }
    return result == CUDA_SUCCESS
               ? SL_OK
               : gpu_fail(why, GPU_CUDA, (int)result, "the scaler's tables do not reach the GPU");
}

static bool chroma_left(const struct geometry *from)
{
    int sited = from->chroma_location;
    return sited != AVCHROMA_LOC_CENTER && sited != AVCHROMA_LOC_TOP &&
           sited != AVCHROMA_LOC_BOTTOM;
}

static bool chroma_top(const struct geometry *from)
{
    return from->chroma_location == AVCHROMA_LOC_TOP ||
           from->chroma_location == AVCHROMA_LOC_TOPLEFT;
}

/* What tones made is limited already. */
static bool changes_range(const struct gpu_ladder *ladder)
{
    return ladder->from.full_range && !ladder->params.full_range && !ladder->tones;
}

static void scale_params_fill(const struct gpu_ladder *ladder, const int32_t *rungs, int32_t count,
                              struct gpu_scale_params *out)
{
    const struct geometry *from = &ladder->from;
    *out = (struct gpu_scale_params){
        .layout = ladder->layout,
        .width = from->width,
        .height = from->height,
        .crop_left = from->crop_left,
        .crop_top = from->crop_top,
        .crop_right = from->crop_right,
        .crop_bottom = from->crop_bottom,
        .mirrored = ladder->params.mirrored,
        .rotation_degrees = ladder->params.rotation_degrees,
        .chroma_left = chroma_left(from),
        .chroma_top = chroma_top(from),
        .full_range = changes_range(ladder),
        .rung_count = count,
        .batch = 1,
    };
    for (int32_t i = 0; i < count; i++) {
        const struct gpu_ladder_rung *rung = &ladder->params.rungs[rungs[i]];
        out->rungs[i] = (struct gpu_scale_rung){
            .layout = rung->layout,
            .width = rung->width,
            .height = rung->height,
            .strides = {ladder->strides[rungs[i]][0], ladder->strides[rungs[i]][1]},
        };
    }
}

/* One launch for as many rungs as fit into a block of threads; what does not fit is halved. */
static int group_make(struct gpu_ladder *ladder, const int32_t *rungs, int32_t count,
                      struct sl_failure *why)
{
    int code = SL_EUNSUPPORTED;
    if (count <= GPU_RUNGS_MAX) {
        struct gpu_scale_params params;
        struct group *group = &ladder->groups[ladder->group_count];
        *group = (struct group){.count = count};
        memcpy(group->rungs, rungs, (size_t)count * sizeof *rungs);
        scale_params_fill(ladder, rungs, count, &params);
        code = gpu_scale_make(&params, &group->scale, why);
        if (code == SL_OK) {
            ladder->group_count++;
            return tables_upload(ladder, group, why);
        }
    }
    if (code != SL_EUNSUPPORTED || count == 1)
        return code;
    code = group_make(ladder, rungs, count / 2, why);
    return code == SL_OK ? group_make(ladder, rungs + count / 2, count - count / 2, why) : code;
}

static bool is_copy(const struct gpu_ladder *ladder, const struct gpu_ladder_rung *rung)
{
    const struct geometry *from = &ladder->from;
    if (ladder->params.mirrored || ladder->params.rotation_degrees || changes_range(ladder) ||
        from->crop_left || from->crop_top || from->crop_right || from->crop_bottom)
        return false;
    return rung->width == ladder->from.width && rung->height == ladder->from.height &&
           rung->layout == ladder->layout &&
           (ladder->from.chroma_location == AVCHROMA_LOC_LEFT ||
            ladder->from.chroma_location == AVCHROMA_LOC_UNSPECIFIED);
}

static int tables_make(struct gpu_ladder *ladder, const struct geometry *from, uint32_t wanted,
                       struct sl_failure *why)
{
    enum hal_layout layout = HAL_NV12;
    int code = source_judge(ladder, from, &layout, why);
    if (code != SL_OK)
        return code;
    groups_free(ladder);
    ladder->from = *from;
    ladder->source = layout;
    ladder->layout = ladder->tones ? HAL_P010 : layout;
    ladder->wanted = wanted;
    ladder->copied = 0;
    int32_t rungs[POLICY_RUNGS_MAX], count = 0;
    for (int32_t i = 0; i < ladder->params.rung_count; i++) {
        if (!(wanted >> i & 1))
            continue;
        if (is_copy(ladder, &ladder->params.rungs[i]))
            ladder->copied |= UINT32_C(1) << i;
        else
            rungs[count++] = i;
    }
    code = count ? group_make(ladder, rungs, count, why) : SL_OK;
    if (code != SL_OK)
        ladder->wanted = 0; /* made anew when asked again */
    return code;
}

/* ---- surfaces ---- */

/* The pool and, from a first surface, how its planes lie. */
static int pool_open(struct gpu_ladder *ladder, int32_t i, struct sl_failure *why)
{
    const struct gpu_ladder_rung *rung = &ladder->params.rungs[i];
    if (ladder->params.to_host) {
        int code = gpu_host_open(ladder->driver, ladder->context, rung->layout, rung->width,
                                 rung->height, &ladder->hosts[i], why);
        for (int kind = 0; code == SL_OK && kind < 2; kind++)
            ladder->strides[i][kind] = gpu_host_stride(ladder->hosts[i], kind);
        return code;
    }
    if (rung->layout != HAL_NV12 && rung->layout != HAL_P010)
        return sl_fail(why, SL_EINVAL, "a GPU's picture is NV12 or P010");
    AVBufferRef *pool = NULL;
    int code = gpu_picture_pool(ladder->driver, ladder->context, rung->layout, rung->width,
                                rung->height, &pool, why);
    if (code != SL_OK)
        return code;
    ladder->pools[i] = pool;
    AVFrame *first = av_frame_alloc();
    int rc = first ? av_hwframe_get_buffer(pool, first, 0) : AVERROR(ENOMEM);
    if (rc >= 0) {
        ladder->strides[i][0] = first->linesize[0];
        ladder->strides[i][1] = first->linesize[1];
    }
    av_frame_free(&first);
    return rc >= 0 ? SL_OK
                   : gpu_picture_missing(ladder->driver, rung->width, rung->height, rc, why);
}

int gpu_ladder_open(AVBufferRef *context, const AVFrame *like,
                    const struct gpu_ladder_params *params, struct gpu_ladder **out,
                    struct sl_failure *why)
{
    if (params->rung_count < 1 || params->rung_count > POLICY_RUNGS_MAX)
        return sl_fail(why, SL_EINVAL, "a ladder has 1 to %d rungs, not %d", POLICY_RUNGS_MAX,
                       params->rung_count);
    struct gpu_ladder *ladder = calloc(1, sizeof *ladder);
    if (!ladder)
        return sl_fail(why, SL_ENOMEM, "no memory for a scaler");
    ladder->params = *params;
    ladder->context = av_buffer_ref(context);
    int code = ladder->context ? gpu_driver_load(&ladder->driver, why)
                               : sl_fail(why, SL_ENOMEM, "no memory for a scaler");
    if (code == SL_OK)
        code = gpu_context_enter(context, why);
    if (code != SL_OK) {
        av_buffer_unref(&ladder->context);
        free(ladder);
        return code;
    }
    code = gpu_kernels_open(context, &ladder->kernels, why);
    for (int32_t i = 0; code == SL_OK && i < params->rung_count; i++)
        code = pool_open(ladder, i, why);
    struct geometry from = geometry_of(like);
    ladder->toned = from;
    if (code == SL_OK && params->tones)
        code = gpu_tone_open(ladder->kernels, params->tones, &ladder->tones, why);
    ladder->params.tones = NULL;
    if (code == SL_OK)
        code = tables_make(ladder, &from, (UINT32_C(1) << params->rung_count) - 1, why);
    gpu_context_leave(context);
    if (code == SL_OK)
        *out = ladder;
    else
        gpu_ladder_close(&ladder);
    return code;
}

AVBufferRef *gpu_ladder_surfaces(const struct gpu_ladder *ladder, int32_t rung)
{
    return ladder->pools[rung];
}

/* ---- pictures ---- */

static int source_find(struct gpu_ladder *ladder, const AVFrame *from, struct gpu_picture *picture,
                       struct sl_failure *why)
{
    gpu_picture_shape(ladder->source, from->width, from->height, picture);
    return from->format == AV_PIX_FMT_CUDA
               ? gpu_picture_lend(from, picture, why)
               : gpu_picture_copy(ladder->driver, from, &ladder->upload, picture, why);
}

static int tones_map(struct gpu_ladder *ladder, struct gpu_picture *picture, struct sl_failure *why)
{
    const struct geometry *from = &ladder->from;
    const struct gpu_tone_shape shape = {
        .width = from->width,
        .height = from->height,
        .wide = gpu_layout_is_wide(ladder->source),
        .interleaved = gpu_layout_is_interleaved(ladder->source),
        .shift = gpu_layout_shift(ladder->source),
        .chroma_left = chroma_left(from),
        .chroma_top = chroma_top(from),
    };
    struct kernel_source made = picture->at;
    int code = gpu_tone_run(ladder->tones, &shape, &made, why);
    gpu_picture_shape(ladder->layout, from->width, from->height, picture);
    picture->at = made;
    return code;
}

/* Where plane p of rung i is made. */
static CUdeviceptr target_plane(const struct gpu_ladder *ladder, int32_t i, const AVFrame *into,
                                int p)
{
    return ladder->hosts[i] ? gpu_host_plane(ladder->hosts[i], p)
                            : (CUdeviceptr)(uintptr_t)into->data[p ? 1 : 0];
}

static int surface_copy(struct gpu_ladder *ladder, const struct gpu_picture *from, int32_t i,
                        const AVFrame *into, struct sl_failure *why)
{
    for (int p = 0; p < 3 && from->rows[p]; p++) {
        CUDA_MEMCPY2D copy = {
            .srcMemoryType = CU_MEMORYTYPE_DEVICE,
            .srcDevice = from->at.planes[p],
            .srcPitch = (size_t)from->at.strides[p],
            .dstMemoryType = CU_MEMORYTYPE_DEVICE,
            .dstDevice = target_plane(ladder, i, into, p),
            .dstPitch = (size_t)ladder->strides[i][p ? 1 : 0],
            .WidthInBytes = (size_t)from->bytes[p],
            .Height = (size_t)from->rows[p],
        };
        CUresult result = ladder->driver->cuda->cuMemcpy2DAsync(&copy, NULL);
        if (result != CUDA_SUCCESS)
            return gpu_fail(why, GPU_CUDA, (int)result, "a picture is not copied on the GPU");
    }
    return SL_OK;
}

static int group_run(struct gpu_ladder *ladder, const struct group *group,
                     const struct gpu_picture *from, AVFrame *const *out, struct sl_failure *why)
{
    struct kernel_ladder_args args = {.ladder = group->tables, .sources = {from->at}};
    for (int32_t i = 0; i < group->count; i++) {
        const AVFrame *into = out[group->rungs[i]];
        for (int p = 0; p < 3; p++)
            args.targets[0][i][p] = (gpu_u64)target_plane(ladder, group->rungs[i], into, p) +
                                    (gpu_u64)group->scale.target_offsets[i][p];
    }
    const unsigned grid[3] = {group->scale.blocks, 1, 1};
    return gpu_kernels_launch(ladder->kernels, group->scale.kernel, grid, group->scale.threads,
                              group->scale.shared_bytes, &args, why);
}

/* The source itself, in host memory: nothing has to be made. */
static bool is_passed(const struct gpu_ladder *ladder, int32_t i, const AVFrame *from)
{
    return ladder->hosts[i] && !ladder->tones && ladder->copied >> i & 1 &&
           from->format != AV_PIX_FMT_CUDA;
}

static int surface_take(struct gpu_ladder *ladder, int32_t i, const AVFrame *from, AVFrame *into,
                        struct sl_failure *why)
{
    if (is_passed(ladder, i, from))
        return av_frame_ref(into, from) >= 0 ? SL_OK
                                             : sl_fail(why, SL_ENOMEM, "no memory for a frame");
    if (ladder->hosts[i])
        return gpu_host_take(ladder->hosts[i], into, why);
    int rc = av_hwframe_get_buffer(ladder->pools[i], into, 0);
    const struct gpu_ladder_rung *rung = &ladder->params.rungs[i];
    return rc >= 0 ? SL_OK
                   : gpu_picture_missing(ladder->driver, rung->width, rung->height, rc, why);
}

static int surfaces_take(struct gpu_ladder *ladder, const AVFrame *from, AVFrame *const *out,
                         struct sl_failure *why)
{
    for (int32_t i = 0; i < ladder->params.rung_count; i++) {
        AVFrame *into = out[i];
        if (!into)
            continue;
        int code = surface_take(ladder, i, from, into, why);
        if (code != SL_OK)
            return code;
        if (!is_passed(ladder, i, from) && (into->linesize[0] != ladder->strides[i][0] ||
                                            into->linesize[1] != ladder->strides[i][1]))
            return sl_fail(why, SL_EINTERNAL, "surfaces of one pool lie differently");
        const struct gpu_ladder_params *params = &ladder->params;
        into->color_primaries =
            (enum AVColorPrimaries)known((int)from->color_primaries, params->color_primaries);
        into->color_trc =
            (enum AVColorTransferCharacteristic)known((int)from->color_trc, params->color_transfer);
        into->colorspace = (enum AVColorSpace)known((int)from->colorspace, params->color_matrix);
        into->color_range = params->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
        into->chroma_location = AVCHROMA_LOC_LEFT;
    }
    return SL_OK;
}

static bool all_passed(const struct gpu_ladder *ladder, const AVFrame *from)
{
    return ladder->group_count == 0 && ladder->params.to_host && !ladder->tones &&
           from->format != AV_PIX_FMT_CUDA;
}

static int run(struct gpu_ladder *ladder, const AVFrame *from, AVFrame *const *out,
               struct sl_failure *why)
{
    struct geometry geometry = geometry_of(from);
    uint32_t wanted = 0;
    for (int32_t i = 0; i < ladder->params.rung_count; i++)
        wanted |= (uint32_t)(out[i] != NULL) << i;
    int code = SL_OK;
    if (wanted != ladder->wanted || !geometry_equal(&geometry, &ladder->from))
        code = tables_make(ladder, &geometry, wanted, why);
    struct gpu_picture picture;
    if (code == SL_OK)
        code = surfaces_take(ladder, from, out, why);
    if (code == SL_OK && all_passed(ladder, from))
        return SL_OK;
    if (code == SL_OK)
        code = source_find(ladder, from, &picture, why);
    if (code == SL_OK && ladder->tones)
        code = tones_map(ladder, &picture, why);
    for (int32_t g = 0; code == SL_OK && g < ladder->group_count; g++)
        code = group_run(ladder, &ladder->groups[g], &picture, out, why);
    for (int32_t i = 0; code == SL_OK && i < ladder->params.rung_count; i++)
        if (ladder->copied >> i & 1 && !is_passed(ladder, i, from))
            code = surface_copy(ladder, &picture, i, out[i], why);
    for (int32_t i = 0; code == SL_OK && i < ladder->params.rung_count; i++)
        if (out[i] && ladder->hosts[i] && !is_passed(ladder, i, from))
            code = gpu_host_fetch(ladder->hosts[i], out[i], why);
    if (code != SL_OK)
        return code;
    CUresult result = ladder->driver->cuda->cuStreamSynchronize(NULL);
    return result == CUDA_SUCCESS
               ? SL_OK
               : gpu_fail(why, GPU_CUDA, (int)result, "scaling on the GPU failed");
}

int gpu_ladder_run(struct gpu_ladder *ladder, const AVFrame *from, AVFrame *const *out,
                   struct sl_failure *why)
{
    int code = gpu_context_enter(ladder->context, why);
    if (code != SL_OK)
        return code;
    code = run(ladder, from, out, why);
    gpu_context_leave(ladder->context);
    for (int32_t i = 0; code != SL_OK && i < ladder->params.rung_count; i++)
        if (out[i])
            av_frame_unref(out[i]);
    return code;
}

void gpu_ladder_close(struct gpu_ladder **ladder)
{
    struct gpu_ladder *l = ladder ? *ladder : NULL;
    if (!l)
        return;
    struct sl_failure why = {0};
    if (gpu_context_enter(l->context, &why) == SL_OK) {
        groups_free(l);
        gpu_tone_close(&l->tones);
        gpu_room_free(l->driver, &l->upload);
        for (int32_t i = 0; i < l->params.rung_count; i++)
            gpu_host_close(&l->hosts[i]);
        gpu_context_leave(l->context);
    }
    for (int32_t i = 0; i < l->params.rung_count; i++)
        av_buffer_unref(&l->pools[i]);
    av_buffer_unref(&l->context);
    free(l);
    *ladder = NULL;
}
