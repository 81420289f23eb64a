#include "media/media_graph.h"

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mem.h>
#include <stdio.h>
#include <stdlib.h>

#include "media/media_source.h"

struct media_graph {
    AVFilterGraph *graph;
    AVFilterContext *source;
    AVFilterContext *sink;
    AVRational time_base;
    AVFrame *like; /* properties only */
};

/* Opens the source filter for pictures like this one. */
static int source_make(struct media_graph *g)
{
    g->source = avfilter_graph_alloc_filter(g->graph, avfilter_get_by_name("buffer"), "in");
    AVBufferSrcParameters *params = av_buffersrc_parameters_alloc();
    if (!g->source || !params) {
        av_free(params);
        return AVERROR(ENOMEM);
    }
    params->format = g->like->format;
    params->width = g->like->width;
    params->height = g->like->height;
    params->time_base = g->time_base;
    params->sample_aspect_ratio = g->like->sample_aspect_ratio;
#if LIBAVFILTER_VERSION_MAJOR >= 10
    params->color_space = g->like->colorspace;
    params->color_range = g->like->color_range;
#endif
    int got = av_buffersrc_parameters_set(g->source, params);
    av_free(params);
    return got < 0 ? got : avfilter_init_str(g->source, NULL);
}

static int chain_make(struct media_graph *g, const char *chain)
{
    AVFilterInOut *outputs = avfilter_inout_alloc();
    AVFilterInOut *inputs = avfilter_inout_alloc();
    int got = AVERROR(ENOMEM);
    if (outputs && inputs) {
        *outputs = (AVFilterInOut){.name = av_strdup("in"), .filter_ctx = g->source};
        *inputs = (AVFilterInOut){.name = av_strdup("out"), .filter_ctx = g->sink};
        got = avfilter_graph_parse_ptr(g->graph, chain, &inputs, &outputs, NULL);
    }
    avfilter_inout_free(&outputs);
    avfilter_inout_free(&inputs);
    return got < 0 ? got : avfilter_graph_config(g->graph, NULL);
}

int media_graph_open(const char *chain, const AVFrame *like, struct rational time_base,
                     struct media_graph **out, struct sl_failure *why)
{
    struct media_graph *g = calloc(1, sizeof *g);
    if (!g)
        return sl_fail(why, SL_ENOMEM, "no memory for a filter graph");
    g->time_base = (AVRational){time_base.num, time_base.den};
    g->graph = avfilter_graph_alloc();
    g->like = av_frame_alloc();
    int got = AVERROR(ENOMEM);
    if (g->graph && g->like) {
        g->graph->nb_threads = 1;
        g->graph->scale_sws_opts = av_strdup("flags=bicubic+accurate_rnd+bitexact");
        g->like->format = like->format;
        g->like->width = like->width;
        g->like->height = like->height;
        got = av_frame_copy_props(g->like, like);
    }
    if (got >= 0)
        got = source_make(g);
    if (got >= 0)
        got = avfilter_graph_create_filter(&g->sink, avfilter_get_by_name("buffersink"), "out",
                                           NULL, NULL, g->graph);
    if (got >= 0)
        got = chain_make(g, chain);
    if (got < 0) {
        media_graph_close(&g);
        char what[160];
        snprintf(what, sizeof what, "the filters '%.120s' do not take such pictures", chain);
        return media_fail(why, got, SL_EUNSUPPORTED, what);
    }
    *out = g;
    return SL_OK;
}

bool media_graph_fits(const struct media_graph *graph, const AVFrame *frame)
{
    const AVFrame *like = graph->like;
    return frame->format == like->format && frame->width == like->width &&
           frame->height == like->height && frame->colorspace == like->colorspace &&
           frame->color_primaries == like->color_primaries && frame->color_trc == like->color_trc &&
           frame->color_range == like->color_range &&
           av_cmp_q(frame->sample_aspect_ratio, like->sample_aspect_ratio) == 0;
}

int media_graph_push(struct media_graph *graph, const AVFrame *frame, struct sl_failure *why)
{
    int got = av_buffersrc_write_frame(graph->source, frame);
    return got < 0 ? media_fail(why, got, SL_EDECODE, "a filter failed on a picture") : SL_OK;
}

int media_graph_pull(struct media_graph *graph, AVFrame *into, struct sl_failure *why)
{
    int got = av_buffersink_get_frame(graph->sink, into);
    if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
        return 0;
    if (got < 0)
        return media_fail(why, got, SL_EDECODE, "a filter failed on a picture");
    into->pts = av_rescale_q(into->pts, av_buffersink_get_time_base(graph->sink), graph->time_base);
    return 1;
}

void media_graph_close(struct media_graph **graph)
{
    struct media_graph *g = *graph;
    if (!g)
        return;
    avfilter_graph_free(&g->graph);
    av_frame_free(&g->like);
    free(g);
    *graph = NULL;
}
