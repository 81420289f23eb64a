#include "media/media_loudness.h"

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/channel_layout.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "media/media_source.h"

#define SILENCE_LUFS (-70.0)
/* True peaks show at four times the rate (ITU-R BS.1770, annex 2). */
#define OVERSAMPLING 4

struct media_loudness_graph {
    AVFilterGraph *graph;
    AVFilterContext *in, *outlet;
    AVFrame *given; /* to the graph */
    AVFrame *got;
    int rate, channels;
    AVChannelLayout layout;
    int64_t at;
    struct media_loudness heard;
};

static void chain_text(const struct media_gain *gain, bool meter, int rate, struct sl_buf *text)
{
    if (gain) {
        sl_buf_printf(text, ",volume=volume=%.4fdB:precision=float", gain->gain_db);
        if (gain->limit && gain->true_peak)
            sl_buf_printf(text, ",aresample=%d", rate * OVERSAMPLING);
        if (gain->limit)
            sl_buf_printf(text, ",alimiter=limit=%.6f:level=0:latency=1",
                          pow(10, gain->peak_db / 20));
        if (gain->limit && gain->true_peak)
            sl_buf_printf(text, ",aresample=%d", rate);
    }
    if (meter)
        sl_buf_text(text, ",ebur128=metadata=1:peak=true:framelog=verbose");
}

static int graph_make(struct media_loudness_graph *g, const struct media_gain *gain, bool meter,
                      struct sl_failure *why)
{
    char layout[64];
    struct sl_buf text = {0};
    av_channel_layout_describe(&g->layout, layout, sizeof layout);
    sl_buf_printf(&text,
                  "abuffer@in=time_base=1/%d:sample_rate=%d:sample_fmt=fltp:channel_layout=%s",
                  g->rate, g->rate, layout);
    chain_text(gain, meter, g->rate, &text);
    sl_buf_printf(&text, ",aformat=sample_fmts=fltp:sample_rates=%d,abuffersink@out", g->rate);
    AVFilterInOut *inputs = NULL, *outputs = NULL;
    int got = text.failed
                  ? AVERROR(ENOMEM)
                  : avfilter_graph_parse2(g->graph, (const char *)text.data, &inputs, &outputs);
    sl_buf_fini(&text);
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (got >= 0)
        got = avfilter_graph_config(g->graph, NULL);
    if (got < 0)
        return media_fail(why, got, SL_EINTERNAL, "libavfilter does not take the loudness graph");
    g->in = avfilter_graph_get_filter(g->graph, "abuffer@in");
    g->outlet = avfilter_graph_get_filter(g->graph, "abuffersink@out");
    return g->in && g->outlet ? SL_OK
                              : sl_fail(why, SL_EINTERNAL, "the loudness graph has no ends");
}

int media_loudness_open(int rate, int channels, const struct media_gain *gain, bool meter,
                        struct media_loudness_graph **out, struct sl_failure *why)
{
    struct media_loudness_graph *g = calloc(1, sizeof *g);
    if (!g)
        return sl_fail(why, SL_ENOMEM, "no memory to measure audio");
    g->rate = rate;
    g->channels = channels;
    av_channel_layout_default(&g->layout, channels);
    g->heard = (struct media_loudness){SILENCE_LUFS, -INFINITY};
    g->graph = avfilter_graph_alloc();
    g->given = av_frame_alloc();
    g->got = av_frame_alloc();
    int code = g->graph && g->given && g->got
                   ? SL_OK
                   : sl_fail(why, SL_ENOMEM, "no memory to measure audio");
    if (code == SL_OK) {
        g->graph->nb_threads = 1;
        code = graph_make(g, gain, meter, why);
    }
    if (code != SL_OK)
        media_loudness_close(&g);
    *out = g;
    return code;
}

void media_loudness_close(struct media_loudness_graph **graph)
{
    if (!graph || !*graph)
        return;
    struct media_loudness_graph *g = *graph;
    avfilter_graph_free(&g->graph);
    av_frame_free(&g->given);
    av_frame_free(&g->got);
    av_channel_layout_uninit(&g->layout);
    free(g);
    *graph = NULL;
}

int media_loudness_put(struct media_loudness_graph *g, uint8_t **planes, int samples,
                       struct sl_failure *why)
{
    if (planes) {
        AVFrame *frame = g->given;
        frame->format = AV_SAMPLE_FMT_FLTP;
        frame->sample_rate = g->rate;
        frame->nb_samples = samples;
        frame->pts = g->at;
        g->at += samples;
        if (av_channel_layout_copy(&frame->ch_layout, &g->layout) < 0 ||
            av_frame_get_buffer(frame, 0) < 0 ||
            av_samples_copy(frame->extended_data, planes, 0, 0, samples, g->channels,
                            AV_SAMPLE_FMT_FLTP) < 0)
            return sl_fail(why, SL_ENOMEM, "no memory to measure audio");
    }
    int got = av_buffersrc_add_frame(g->in, planes ? g->given : NULL);
    av_frame_unref(g->given);
    return got < 0 ? media_fail(why, got, SL_EINTERNAL, "libavfilter does not take audio") : SL_OK;
}

static double number_of(const AVFrame *frame, const char *key, double otherwise)
{
    const AVDictionaryEntry *entry = av_dict_get(frame->metadata, key, NULL, 0);
    return entry ? strtod(entry->value, NULL) : otherwise;
}

int media_loudness_get(struct media_loudness_graph *g, AVFrame **out, struct sl_failure *why)
{
    av_frame_unref(g->got);
    int got = av_buffersink_get_frame(g->outlet, g->got);
    if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
        return 0;
    if (got < 0)
        return media_fail(why, got, SL_EINTERNAL, "libavfilter failed on audio");
    g->heard.integrated_lufs = number_of(g->got, "lavfi.r128.I", g->heard.integrated_lufs);
    for (int c = 0; c < g->channels; c++) {
        char key[48];
        snprintf(key, sizeof key, "lavfi.r128.true_peaks_ch%d", c);
        double peak = number_of(g->got, key, 0);
        if (peak > 0 && 20 * log10(peak) > g->heard.true_peak_db)
            g->heard.true_peak_db = 20 * log10(peak);
    }
    *out = g->got;
    return 1;
}

struct media_loudness media_loudness_measured(const struct media_loudness_graph *graph)
{
    return graph->heard;
}

struct media_gain media_gain_to(const struct policy_loudness *policy,
                                const struct media_loudness *heard)
{
    struct media_gain gain = {.true_peak = true, .peak_db = policy->peak_tenths / 10.0};
    if (heard->integrated_lufs > SILENCE_LUFS)
        gain.gain_db = policy->target_tenths / 10.0 - heard->integrated_lufs;
    if (gain.gain_db > MEDIA_GAIN_MAX_DB)
        gain.gain_db = MEDIA_GAIN_MAX_DB;
    gain.limit = heard->true_peak_db + gain.gain_db > gain.peak_db;
    return gain;
}
