#include "media/media_filter.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/media_color.h"
#include "media/media_frame.h"
#include "media/media_graph.h"
#include "media/media_tone.h"

#define DEINTERLACER "bwdif=mode=send_frame:parity=auto:deint=interlaced"
#define CHAIN_BYTES  512
/* A picture whose proportions differ by less than this from the planned ones is scaled to them. */
#define ASPECT_SLACK 0.01

struct media_filter {
    struct media_range *range;
    struct media_filter_params params;
    struct media_graph *graph; /* NULL: frames pass */
    AVFrame *held;             /* came while the graph before it was still giving pictures */
    AVFrame *out;
    enum AVChromaLocation sited; /* chroma of what the graph gives; unspecified: as it says */
    bool on_host;                /* surfaces are of no use to whom the pictures are for */
    bool draining;               /* the graph has been told that no more will come */
    bool ended;                  /* so has the range */
};

/* ---- which filters a frame needs ---- */

struct chain {
    char text[CHAIN_BYTES];
    size_t length;
    enum AVChromaLocation sited; /* as struct media_filter's */
};

__attribute__((format(printf, 2, 3))) static void add(struct chain *chain, const char *format, ...)
{
    va_list args;
    if (chain->length)
        chain->text[chain->length++] = ',';
    va_start(args, format);
    int n =
        vsnprintf(chain->text + chain->length, sizeof chain->text - chain->length, format, args);
    va_end(args);
    chain->length += n > 0 ? (size_t)n : 0;
}

/* A planar format that holds all of the frame's, or its own where the scaler reads that. */
static enum AVPixelFormat readable(enum AVPixelFormat format)
{
    static const enum AVPixelFormat planar[] = {
        AV_PIX_FMT_YUV420P,     AV_PIX_FMT_YUV422P,     AV_PIX_FMT_YUV444P,
        AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV422P10LE, AV_PIX_FMT_YUV444P10LE,
        AV_PIX_FMT_YUV420P12LE, AV_PIX_FMT_YUV422P12LE, AV_PIX_FMT_YUV444P12LE,
        AV_PIX_FMT_YUV420P16LE, AV_PIX_FMT_YUV422P16LE, AV_PIX_FMT_YUV444P16LE,
        AV_PIX_FMT_GBRP,        AV_PIX_FMT_GBRP10LE,    AV_PIX_FMT_GBRP12LE,
        AV_PIX_FMT_GBRP16LE,    AV_PIX_FMT_GRAY8,       AV_PIX_FMT_GRAY16LE,
        AV_PIX_FMT_NONE};
    const uint64_t never = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                           AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get(format);
    bool fine =
        shape && !(shape->flags & never) && shape->comp[0].depth >= 8 && shape->comp[0].shift == 0;
    if (fine && shape->nb_components == 1)
        return format;
    bool apart = fine && shape->nb_components >= 3 && shape->flags & AV_PIX_FMT_FLAG_PLANAR &&
                 shape->comp[0].plane != shape->comp[1].plane &&
                 shape->comp[1].plane != shape->comp[2].plane;
    if (apart)
        return format;
    return avcodec_find_best_pix_fmt_of_list(planar, format, 0, NULL);
}

/* Where chroma sits in a picture that was mirrored and then turned; unspecified: at the right, which nothing can say. */
static enum AVChromaLocation site_turned(const struct media_video *video,
                                         enum AVChromaLocation site)
{
    static const enum AVChromaLocation sites[3][2] = {
        {AVCHROMA_LOC_TOPLEFT, AVCHROMA_LOC_TOP},
        {AVCHROMA_LOC_LEFT, AVCHROMA_LOC_CENTER},
        {AVCHROMA_LOC_BOTTOMLEFT, AVCHROMA_LOC_BOTTOM}};
    int row = 1, column = 0; /* H.273: unsaid, it sits at the left */
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 2; x++)
            if (sites[y][x] == site) {
                row = y;
                column = x;
            }
    column = video->mirrored ? 2 - column : column;
    for (int turned = 0; turned < video->rotation_degrees; turned += 90) {
        int before = row;
        row = column;
        column = 2 - before;
    }
    return column < 2 ? sites[row][column] : AVCHROMA_LOC_UNSPECIFIED;
}

/* Filters that turn pictures leave the chroma's place as it was said; the scaler would shift it by half a sample. */
static void orientation_add(struct chain *chain, const struct media_video *video,
                            const AVFrame *frame)
{
    const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    const bool odd = (video->width - video->crop_left - video->crop_right) % 2 ||
                     (video->height - video->crop_top - video->crop_bottom) % 2;
    if (!video->mirrored && !video->rotation_degrees)
        return;
    if (shape && shape->log2_chroma_w == 1 && shape->log2_chroma_h == 1 && !odd) {
        chain->sited = site_turned(video, frame->chroma_location);
        if (chain->sited == AVCHROMA_LOC_UNSPECIFIED) {
            add(chain, "zscale=chromal=center");
            chain->sited = AVCHROMA_LOC_CENTER;
        }
    }
    /* libavfilter's clock_flip turns clockwise and then mirrors top to bottom, which is the mirror left to right
     * followed by the turn; cclock_flip likewise. vflip gives rows that run backwards, which only filters read. */
    switch (video->rotation_degrees) {
    case 90:
        add(chain, "transpose=%s", video->mirrored ? "clock_flip" : "clock");
        break;
    case 180:
        add(chain, video->mirrored ? "vflip,copy" : "vflip,hflip");
        break;
    case 270:
        add(chain, "transpose=%s", video->mirrored ? "cclock_flip" : "cclock");
        break;
    default:
        if (video->mirrored)
            add(chain, "hflip");
    }
}

static double aspect_of(int width, int height, struct rational sar)
{
    double square = sar.num > 0 && sar.den > 0 ? (double)sar.num / sar.den : 1;
    return square * width / height;
}

/* Is the frame not of the planned shape? Then it is fitted into it, in square samples. */
static void fit_add(struct chain *chain, const struct media_video *video, const AVFrame *frame)
{
    struct rational sar = {frame->sample_aspect_ratio.num, frame->sample_aspect_ratio.den};
    bool same_sar = sar.num <= 0 || (int64_t)sar.num * video->frame_sar.den ==
                                        (int64_t)sar.den * video->frame_sar.num;
    if (frame->width == video->width && frame->height == video->height && same_sar)
        return;
    if (same_sar)
        sar = video->sar;
    int width = video->width - video->crop_left - video->crop_right;
    int height = video->height - video->crop_top - video->crop_bottom;
    double planned = aspect_of(width, height, video->sar);
    double found = aspect_of(frame->width, frame->height, sar);
    if (found / planned < 1 + ASPECT_SLACK && planned / found < 1 + ASPECT_SLACK)
        return; /* scaling alone makes it right */
    int high = height & ~1;
    int wide = (int)(planned * height + 0.5) & ~1;
    int fit_wide = wide, fit_high = high;
    if (found > planned)
        fit_high = (int)(wide / found + 0.5) & ~1;
    else
        fit_wide = (int)(high * found + 0.5) & ~1;
    add(chain, "zscale=w=%d:h=%d:f=bicubic,setsar=1,pad=w=%d:h=%d:x=(ow-iw)/2:y=(oh-ih)/2",
        fit_wide < 2 ? 2 : fit_wide, fit_high < 2 ? 2 : fit_high, wide, high);
}

static int chain_make(const struct media_filter *filter, const AVFrame *frame, struct chain *chain,
                      struct sl_failure *why)
{
    const struct media_video *video = filter->params.video;
    const struct plan_picture *how = filter->params.how;
    *chain = (struct chain){0};
    if (how->deinterlace && !filter->params.fields_later)
        add(chain, DEINTERLACER);
    else if (!how->deinterlace && media_frame_is_interlaced(frame))
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the frame at %lld (1/%d s) is interlaced, and none of those that the probe "
                       "looked at was: send a version that is the one or the other throughout",
                       (long long)frame->pts, video->time_base.den);
    bool planned_size = frame->width == video->width && frame->height == video->height;
    if (planned_size && !filter->params.laid_later &&
        (video->crop_left || video->crop_top || video->crop_right || video->crop_bottom))
        add(chain, "crop=w=%d:h=%d:x=%d:y=%d:exact=1",
            video->width - video->crop_left - video->crop_right,
            video->height - video->crop_top - video->crop_bottom, video->crop_left,
            video->crop_top);
    bool is_hdr = media_color_is_hdr(frame), keeps_hdr = media_color_keeps_hdr(how);
    if (is_hdr ? !how->tonemap_peak_nits && !keeps_hdr : keeps_hdr)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the frame at %lld (1/%d s) is %s, and the video began as %s: send a "
                       "version that is the one or the other throughout",
                       (long long)frame->pts, video->time_base.den, is_hdr ? "HDR" : "SDR",
                       is_hdr ? "SDR" : "HDR");
    if (is_hdr && !keeps_hdr && !filter->params.laid_later) {
        char tones[CHAIN_BYTES / 2];
        media_tone_chain(how, "yuv420p10le", tones, sizeof tones);
        add(chain, "%s", tones);
    } else if (readable((enum AVPixelFormat)frame->format) != (enum AVPixelFormat)frame->format) {
        const char *name = av_get_pix_fmt_name(readable((enum AVPixelFormat)frame->format));
        if (!name)
            return sl_fail(why, SL_EUNSUPPORTED, "pictures of the kind %s cannot be read here",
                           video->pix_fmt);
        add(chain, "format=%s", name);
    }
    fit_add(chain, video, frame);
    if (!filter->params.laid_later)
        orientation_add(chain, video, frame);
    if (filter->params.fields_later && chain->length)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the frame at %lld (1/%d s) needs the CPU's filters (%.60s) once its fields "
                       "are one picture",
                       (long long)frame->pts, video->time_base.den, chain->text);
    return chain->length < sizeof chain->text
               ? SL_OK
               : sl_fail(why, SL_EINTERNAL, "the filters' text is too long");
}

/* ---- frames through them ---- */

int media_filter_open(struct media_range *range, const struct media_filter_params *params,
                      struct media_filter **out, struct sl_failure *why)
{
    struct media_filter *filter = calloc(1, sizeof *filter);
    if (!filter)
        return sl_fail(why, SL_ENOMEM, "no memory for pictures");
    filter->range = range;
    filter->params = *params;
    filter->held = av_frame_alloc();
    filter->out = av_frame_alloc();
    if (!filter->held || !filter->out) {
        media_filter_close(&filter);
        return sl_fail(why, SL_ENOMEM, "no memory for pictures");
    }
    *out = filter;
    return SL_OK;
}

static bool is_inside(const struct media_filter *filter, const AVFrame *frame)
{
    if (filter->params.fields_later)
        return true; /* context is for who looks around */
    return frame->pts >= filter->params.start_pts && frame->pts < filter->params.end_pts;
}

/* For who lays pictures later. Pictures of another shape were fitted into what the crop leaves. */
static void crop_tell(const struct media_filter *filter, AVFrame *out)
{
    const struct media_video *video = filter->params.video;
    if (!filter->params.laid_later || out->width != video->width || out->height != video->height)
        return;
    out->crop_left = (size_t)video->crop_left;
    out->crop_top = (size_t)video->crop_top;
    out->crop_right = (size_t)video->crop_right;
    out->crop_bottom = (size_t)video->crop_bottom;
}

/* 1: a picture in filter->out; 0: the graph wants a frame, or is gone. */
static int pull(struct media_filter *filter, struct sl_failure *why)
{
    while (filter->graph) {
        av_frame_unref(filter->out);
        int got = media_graph_pull(filter->graph, filter->out, why);
        if (got < 0)
            return got;
        if (got > 0 && filter->sited != AVCHROMA_LOC_UNSPECIFIED)
            filter->out->chroma_location = filter->sited;
        if (got > 0)
            crop_tell(filter, filter->out);
        if (got > 0 && is_inside(filter, filter->out))
            return 1;
        if (got > 0)
            continue;
        if (!filter->draining)
            return 0;
        media_graph_close(&filter->graph);
        filter->draining = false;
    }
    return 0;
}

static int fetch(const struct media_filter *filter, AVFrame *frame, struct sl_failure *why)
{
    AVFrame *host = media_frame_download(frame, media_range_samples(filter->range));
    if (!host)
        return sl_fail(why, SL_EDEVICELOST,
                       "a decoded picture cannot be read back from its device");
    av_frame_unref(frame);
    av_frame_move_ref(frame, host);
    av_frame_free(&host);
    return SL_OK;
}

/* Filters are the CPU's: a surface that needs one, or would follow others into the graph, is fetched from its device. */
static int surface_settle(const struct media_filter *filter, AVFrame *frame, struct sl_failure *why)
{
    if (!media_frame_is_surface(frame))
        return SL_OK;
    struct chain chain = {0};
    int format = frame->format;
    frame->format = media_range_samples(filter->range);
    int code = chain_make(filter, frame, &chain, why);
    frame->format = format;
    if (code != SL_OK)
        return code;
    return filter->on_host || filter->graph || chain.length ? fetch(filter, frame, why) : SL_OK;
}

int media_filter_to_host(struct media_filter *filter, struct sl_failure *why)
{
    AVFrame *out = filter->out;
    bool lay = filter->params.laid_later, fields = filter->params.fields_later;
    filter->on_host = true;
    filter->params.laid_later = filter->params.fields_later = false;
    if (lay)
        media_graph_close(&filter->graph);
    if (!out->buf[0])
        return SL_OK;
    int code = media_frame_is_surface(out) ? fetch(filter, out, why) : SL_OK;
    out->crop_left = out->crop_top = out->crop_right = out->crop_bottom = 0;
    if (code == SL_OK && fields) {
        /* The first of the deinterlacer, which gives the picture that is lent from now on. */
        av_frame_move_ref(filter->held, out);
        int got = media_filter_next(filter, &out, why);
        return got == 0  ? sl_fail(why, SL_EDECODE, "the filters gave no picture")
               : got < 0 ? got
                         : SL_OK;
    }
    return code == SL_OK && lay ? media_filter_frame(&filter->params, out, why) : code;
}

/* The next frame of the range: 1 with it, 0 at the end. */
static int take(struct media_filter *filter, AVFrame **out, struct sl_failure *why)
{
    if (filter->held->buf[0]) {
        *out = filter->held;
        return 1;
    }
    if (filter->ended)
        return 0;
    int got = media_range_next(filter->range, out, why);
    if (got > 0)
        media_color_settle(*out, filter->params.how);
    filter->ended = got == 0;
    if (got > 0) {
        int code = surface_settle(filter, *out, why);
        if (code != SL_OK)
            return code;
    }
    return got;
}

static int drain(struct media_filter *filter, struct sl_failure *why)
{
    filter->draining = true;
    return media_graph_push(filter->graph, NULL, why);
}

int media_filter_next(struct media_filter *filter, AVFrame **out, struct sl_failure *why)
{
    *out = filter->out;
    for (;;) {
        int got = pull(filter, why);
        if (got != 0)
            return got;
        AVFrame *frame = NULL;
        got = take(filter, &frame, why);
        if (got < 0)
            return got;
        int code = SL_OK;
        if (got == 0) {
            if (!filter->graph)
                return 0;
            code = drain(filter, why);
        } else if (filter->graph && !media_graph_fits(filter->graph, frame)) {
            av_frame_move_ref(filter->held, frame);
            code = drain(filter, why);
        } else {
            struct chain chain = {0};
            /* Of a surface that is still one it is settled that it needs no filter. */
            if (!filter->graph && !media_frame_is_surface(frame))
                code = chain_make(filter, frame, &chain, why);
            if (code == SL_OK && !filter->graph && chain.length == 0) {
                av_frame_unref(filter->out);
                av_frame_move_ref(filter->out, frame);
                crop_tell(filter, filter->out);
                if (is_inside(filter, filter->out))
                    return 1;
                continue;
            }
            if (code == SL_OK && !filter->graph)
                filter->sited = chain.sited;
            if (code == SL_OK && !filter->graph)
                code = media_graph_open(chain.text, frame, filter->params.video->time_base,
                                        &filter->graph, why);
            if (code == SL_OK)
                code = media_graph_push(filter->graph, frame, why);
            av_frame_unref(filter->held);
        }
        if (code != SL_OK)
            return code;
    }
}

int media_filter_frame(const struct media_filter_params *params, AVFrame *frame,
                       struct sl_failure *why)
{
    struct media_filter alone = {.params = *params};
    struct chain chain;
    media_color_settle(frame, params->how);
    int code = chain_make(&alone, frame, &chain, why);
    if (code != SL_OK || chain.length == 0)
        return code;
    code = media_graph_open(chain.text, frame, params->video->time_base, &alone.graph, why);
    if (code == SL_OK)
        code = media_graph_push(alone.graph, frame, why);
    if (code == SL_OK)
        code = media_graph_push(alone.graph, NULL, why);
    av_frame_unref(frame);
    int got = code == SL_OK ? media_graph_pull(alone.graph, frame, why) : code;
    media_graph_close(&alone.graph);
    if (got > 0 && chain.sited != AVCHROMA_LOC_UNSPECIFIED)
        frame->chroma_location = chain.sited;
    return got == 0  ? sl_fail(why, SL_EDECODE, "the filters gave no picture")
           : got < 0 ? got
                     : SL_OK;
}

/* A picture of which only row 1 is bright, and that picture again: what looks at both leaves a row that does not move. */
bool media_filter_first_edges(void)
{
    const struct rational time_base = {1, 25};
    struct media_graph *graph = NULL;
    struct sl_failure why = {0};
    AVFrame *out = av_frame_alloc(), *frame = media_frame_make(HAL_I420, 16, 16);
    bool found = false;
    if (out && frame) {
        for (int plane = 0; plane < 3; plane++)
            memset(frame->data[plane], 0, (size_t)frame->linesize[plane] * (plane ? 8 : 16));
        memset(frame->data[0] + frame->linesize[0], 255, 16);
        media_frame_say_fields(frame, true);
        int code = media_graph_open(DEINTERLACER, frame, time_base, &graph, &why);
        for (int i = 0; i < 2 && code == SL_OK; i++) {
            frame->pts = i;
            code = media_graph_push(graph, frame, &why);
        }
        found = code == SL_OK && media_graph_pull(graph, out, &why) > 0 &&
                out->data[0][out->linesize[0] + 8] == 255;
    }
    media_graph_close(&graph);
    av_frame_free(&frame);
    av_frame_free(&out);
    return found;
}

void media_filter_close(struct media_filter **filter)
{
    struct media_filter *p = *filter;
    if (!p)
        return;
    media_graph_close(&p->graph);
    av_frame_free(&p->held);
    av_frame_free(&p->out);
    free(p);
    *filter = NULL;
}
