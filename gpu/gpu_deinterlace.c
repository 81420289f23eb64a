#include "gpu/gpu_deinterlace.h"

#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_picture.h"
#include "gpu/gpu_scale.h"

/* Where rows around a row are missing on both sides bwdif has no answer either. */
#define SIDE_MIN 16
/* The one before, the one to be made, the one behind. */
#define HELD     3

struct held {
    struct gpu_room room;
    struct gpu_picture picture;
    AVFrame *about; /* times and colours */
    bool interlaced, top_first;
};

struct gpu_deinterlace {
    const struct gpu_driver *driver;
    const struct gpu_kernels *kernels;
    AVBufferRef *context;
    AVBufferRef *pool;
    AVFrame *like; /* format, size and colours that all have to have */
    enum hal_layout layout;
    struct held held[HELD];
    struct held *before, *here, *after; /* of these; NULL: none yet; two may be one */
    bool edges;
    bool alone; /* the next one to be made is the first */
};

static int like_take(struct gpu_deinterlace *d, const AVFrame *like, struct sl_failure *why)
{
    int format = gpu_picture_format(like);
    if (!gpu_picture_layout(format, &d->layout)) {
        const char *name = av_get_pix_fmt_name((enum AVPixelFormat)format);
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU deinterlaces 4:2:0 of 8 and 10 bits, not pictures of the kind %s",
                       name ? name : "unknown");
    }
    if (like->width < SIDE_MIN || like->height < SIDE_MIN)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU deinterlaces no pictures of less than %dx%d, as this of %dx%d is",
                       SIDE_MIN, SIDE_MIN, like->width, like->height);
    d->like->format = format;
    d->like->width = like->width;
    d->like->height = like->height;
    if (av_frame_copy_props(d->like, like) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for a deinterlacer");
    return gpu_picture_pool(d->driver, d->context,
                            gpu_layout_is_wide(d->layout) ? HAL_P010 : HAL_NV12, like->width,
                            like->height, &d->pool, why);
}

int gpu_deinterlace_open(AVBufferRef *context, const AVFrame *like, bool edges,
                         struct gpu_deinterlace **out, struct sl_failure *why)
{
    struct gpu_deinterlace *d = calloc(1, sizeof *d);
    if (!d)
        return sl_fail(why, SL_ENOMEM, "no memory for a deinterlacer");
    d->edges = edges;
    bool room = (d->context = av_buffer_ref(context)) && (d->like = av_frame_alloc());
    for (int i = 0; i < HELD && room; i++)
        room = (d->held[i].about = av_frame_alloc()) != NULL;
    int code = room ? gpu_driver_load(&d->driver, why)
                    : sl_fail(why, SL_ENOMEM, "no memory for a deinterlacer");
    if (code == SL_OK)
        code = gpu_context_enter(context, why);
    if (code == SL_OK) {
        code = gpu_kernels_open(context, &d->kernels, why);
        if (code == SL_OK)
            code = like_take(d, like, why);
        gpu_context_leave(context);
    }
    if (code == SL_OK)
        *out = d;
    else
        gpu_deinterlace_close(&d);
    return code;
}

/* What makes the CPU's graph of filters another one (media/media_graph.h) does so here. */
static bool is_alike(const AVFrame *a, const AVFrame *b)
{
    return gpu_picture_format(a) == gpu_picture_format(b) && a->width == b->width &&
           a->height == b->height && a->colorspace == b->colorspace &&
           a->color_primaries == b->color_primaries && a->color_trc == b->color_trc &&
           a->color_range == b->color_range &&
           av_cmp_q(a->sample_aspect_ratio, b->sample_aspect_ratio) == 0;
}

static int held_take(struct gpu_deinterlace *d, const AVFrame *frame, struct held *held,
                     struct sl_failure *why)
{
    av_frame_unref(held->about);
    if (av_frame_copy_props(held->about, frame) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for a picture's properties");
    gpu_picture_shape(d->layout, frame->width, frame->height, &held->picture);
    return gpu_picture_copy(d->driver, frame, &held->room, &held->picture, why);
}

/* Progressive pictures pass, and so does what stands beside one that its decoder has shown longer: film in fields. */
static bool passes(const struct gpu_deinterlace *d)
{
    return !d->here->interlaced || (!d->before->interlaced && d->before->about->repeat_pict) ||
           (!d->after->interlaced && d->after->about->repeat_pict);
}

static int made_take(struct gpu_deinterlace *d, AVFrame *out, struct sl_failure *why)
{
    int rc = av_hwframe_get_buffer(d->pool, out, 0);
    if (rc >= 0)
        rc = av_frame_copy_props(out, d->here->about);
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    out->flags &= ~AV_FRAME_FLAG_INTERLACED;
#else
    out->interlaced_frame = 0;
#endif
    return rc >= 0 ? SL_OK
                   : gpu_picture_missing(d->driver, d->like->width, d->like->height, rc, why);
}

static int make(struct gpu_deinterlace *d, AVFrame *out, struct sl_failure *why)
{
    int code = made_take(d, out, why);
    if (code != SL_OK)
        return code;
    struct kernel_deinterlace_args args = {
        .before = d->before->picture.at,
        .here = d->here->picture.at,
        .after = d->after->picture.at,
        .width = d->like->width,
        .height = d->like->height,
        .wide = gpu_layout_is_wide(d->layout),
        .interleaved = gpu_layout_is_interleaved(d->layout),
        .shift = gpu_layout_shift(d->layout),
        .fields = GPU_FIELDS_WHOLE,
        .made = d->here->top_first,
        .edges = d->edges,
    };
    for (int p = 0; p < 2; p++) {
        args.targets[p] = (gpu_u64)(uintptr_t)out->data[p];
        args.target_strides[p] = out->linesize[p];
    }
    if (!passes(d)) {
        args.fields = d->alone ? GPU_FIELDS_ALONE : GPU_FIELDS_BETWEEN;
        d->alone = false;
    }
    const unsigned width = ((unsigned)args.width + 1) / 2 * 2;
    const unsigned lumas = ((unsigned)args.height + 1) / 2, chromas = (lumas + 1) / 2;
    const unsigned grid[3] = {(width + GPU_FIELDS_THREADS - 1) / GPU_FIELDS_THREADS,
                              lumas + chromas, 1};
    return gpu_kernels_launch(d->kernels, "deinterlace", grid, GPU_FIELDS_THREADS, 0, &args, why);
}

static struct held *held_free(struct gpu_deinterlace *d)
{
    struct held *held = d->held;
    while (held == d->before || held == d->here)
        held++;
    return held;
}

static int run(struct gpu_deinterlace *d, const AVFrame *frame, bool interlaced, bool top_first,
               AVFrame *out, struct sl_failure *why)
{
    struct held *last = d->after;
    d->before = d->here;
    d->here = last;
    if (frame) {
        d->after = held_free(d);
        d->after->interlaced = interlaced;
        d->after->top_first = top_first;
        int code = held_take(d, frame, d->after, why);
        if (code != SL_OK)
            return code;
    } else {
        d->alone = false; /* as bwdif has it, also of a single picture */
    }
    if (!d->here && frame) {
        d->here = d->after;
        d->alone = true;
    }
    int code = d->before ? make(d, out, why) : SL_OK;
    CUresult result = code == SL_OK ? d->driver->cuda->cuStreamSynchronize(NULL) : CUDA_SUCCESS;
    if (result != CUDA_SUCCESS)
        code = gpu_fail(why, GPU_CUDA, (int)result, "deinterlacing on the GPU failed");
    return code != SL_OK ? code : d->before != NULL;
}

int gpu_deinterlace_run(struct gpu_deinterlace *d, const AVFrame *frame, bool interlaced,
                        bool top_first, AVFrame *out, struct sl_failure *why)
{
    if (frame && !is_alike(frame, d->like))
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU deinterlaces no source that changes its pictures in mid-stream");
    int code = gpu_context_enter(d->context, why);
    if (code != SL_OK)
        return code;
    code = run(d, frame, interlaced, top_first, out, why);
    gpu_context_leave(d->context);
    if (code < 0)
        av_frame_unref(out);
    return code;
}

void gpu_deinterlace_close(struct gpu_deinterlace **deinterlace)
{
    struct gpu_deinterlace *d = deinterlace ? *deinterlace : NULL;
    struct sl_failure why = {0};
    if (!d)
        return;
    if (d->driver && gpu_context_enter(d->context, &why) == SL_OK) {
        for (int i = 0; i < HELD; i++)
            gpu_room_free(d->driver, &d->held[i].room);
        gpu_context_leave(d->context);
    }
    for (int i = 0; i < HELD; i++)
        av_frame_free(&d->held[i].about);
    av_frame_free(&d->like);
    av_buffer_unref(&d->pool);
    av_buffer_unref(&d->context);
    free(d);
    *deinterlace = NULL;
}
