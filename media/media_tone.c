#include "media/media_tone.h"

#include <stdio.h>

#include "media/media_color.h"
#include "media/media_graph.h"

#define CHAIN_BYTES 256

void media_tone_chain(const struct plan_picture *how, const char *format, char *out, size_t size)
{
    /* The peak is the plan's: left alone, the filter would take each frame's own. */
    snprintf(out, size,
             "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=bt709,"
             "tonemap=tonemap=hable:desat=0:peak=%.2f,"
             "zscale=transfer=bt709:matrix=bt709:range=limited,format=%s",
             how->tonemap_peak_nits / 100.0, format);
}

/* SDR is zimg's, as it is on the CPU (cpu/cpu_scale.h): by exact curves, which go on beyond black and white, so that colours which the
 * target lacks come out alike. */
static void colors_chain(const AVFrame *like, const struct plan_picture *how, const char *format,
                         char *out, size_t size)
{
    if (media_color_is_hdr(like))
        media_tone_chain(how, format, out, size);
    else
        snprintf(out, size,
                 "zscale=primaries=%d:transfer=%d:matrix=%d:range=limited:agamma=0,format=%s",
                 how->primaries, how->transfer, how->matrix, format);
}

static uint16_t *row_of(const AVFrame *frame, int plane, int row)
{
    return (uint16_t *)(void *)(frame->data[plane] + (ptrdiff_t)row * frame->linesize[plane]);
}

/* In 16 bits, what is at a level of 10. Of full range the highest of both depths is one and the same. */
static uint16_t sixteen_of(int level, int plane, bool full_range, int depth)
{
    double unit = full_range ? 65535.0 / (((1 << depth) - 1) << (10 - depth)) : 64;
    double value = plane ? 32768 + (level - 512) * unit : level * unit;
    return value < 0 ? 0 : value > UINT16_MAX ? UINT16_MAX : (uint16_t)(value + 0.5);
}

/* All colours of the table as one picture: Y along its rows, Cb and Cr down its columns. */
static AVFrame *colors_make(const AVFrame *like, int depth, int side, int step)
{
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        return NULL;
    frame->format = AV_PIX_FMT_YUV444P16LE;
    frame->width = side;
    frame->height = side * side;
    frame->color_primaries = like->color_primaries;
    frame->color_trc = like->color_trc;
    frame->colorspace = like->colorspace;
    frame->color_range = like->color_range;
    frame->pts = 0;
    if (av_frame_get_buffer(frame, 0) < 0) {
        av_frame_free(&frame);
        return NULL;
    }
    for (int row = 0; row < side * side; row++)
        for (int plane = 0; plane < 3; plane++)
            for (int x = 0; x < side; x++) {
                int at = plane == 0 ? x : plane == 1 ? row % side : row / side;
                row_of(frame, plane, row)[x] =
                    sixteen_of(at * step, plane, like->color_range == AVCOL_RANGE_JPEG, depth);
            }
    return frame;
}

int media_tone_table(const AVFrame *like, int depth, const struct plan_picture *how, int side,
                     int step, uint16_t *out, struct sl_failure *why)
{
    const struct rational time_base = {1, 1};
    char chain[CHAIN_BYTES];
    colors_chain(like, how, "yuv444p16le", chain, sizeof chain);
    struct media_graph *graph = NULL;
    AVFrame *made = av_frame_alloc(), *colors = colors_make(like, depth, side, step);
    int code = made && colors ? media_graph_open(chain, colors, time_base, &graph, why)
                              : sl_fail(why, SL_ENOMEM, "no memory for a table of tones");
    if (code == SL_OK)
        code = media_graph_push(graph, colors, why);
    if (code == SL_OK)
        code = media_graph_push(graph, NULL, why);
    int got = code == SL_OK ? media_graph_pull(graph, made, why) : code;
    if (got == 0)
        code = sl_fail(why, SL_EDECODE, "the filters gave no picture");
    else if (got < 0)
        code = got;
    for (int row = 0; code == SL_OK && row < side * side; row++)
        for (int x = 0; x < side; x++)
            for (int plane = 0; plane < 3; plane++)
                *out++ = row_of(made, plane, row)[x];
    media_graph_close(&graph);
    av_frame_free(&made);
    av_frame_free(&colors);
    return code;
}
