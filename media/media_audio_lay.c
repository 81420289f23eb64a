#include "media/media_audio_lay.h"

#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>
#include <libavutil/samplefmt.h>
#include <libswresample/swresample.h>
#include <stdbool.h>

#include "base/time.h"

/* Samples handled at once when laying down silence. */
#define BLOCK_SAMPLES 4096
#define CHANNELS_MAX  64 /* swresample's */

struct lay {
    const struct job_audio *job;
    const struct media_audio_lay_sink *sink;
    struct media_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    AVFrame *decoded;
    AVPacket *packet;
    /* From the source's samples to the rendition's. */
    SwrContext *swr;
    int in_rate;
    enum AVSampleFormat in_format;
    AVChannelLayout in_layout;
    AVChannelLayout out_layout;
    int64_t in_at; /* samples of the source laid on the time line, at in_rate */
    int64_t total; /* samples that come out */
    int64_t made;
    int64_t frames_decoded; /* whether or not they lie on the time line */
    int64_t frames_laid;
    uint8_t **scratch; /* output of swr */
    int scratch_samples;
};

/* ---- samples onto the time line ---- */

static int scratch_grow(struct lay *l, int samples, struct sl_failure *why)
{
    if (samples <= l->scratch_samples)
        return SL_OK;
    if (l->scratch)
        av_freep(&l->scratch[0]);
    av_freep(&l->scratch);
    l->scratch_samples = 0;
    if (av_samples_alloc_array_and_samples(&l->scratch, NULL, l->out_layout.nb_channels, samples,
                                           AV_SAMPLE_FMT_FLTP, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    l->scratch_samples = samples;
    return SL_OK;
}

static int put(struct lay *l, int samples, struct sl_failure *why)
{
    if (samples > l->total - l->made)
        samples = (int)(l->total - l->made);
    if (samples <= 0)
        return SL_OK;
    l->made += samples;
    return l->sink->take(l->sink->arg, l->scratch, samples, why);
}

/* data NULL: what the resampler still holds. */
static int resample(struct lay *l, const uint8_t **data, int samples, struct sl_failure *why)
{
    int room = swr_get_out_samples(l->swr, samples);
    int code = scratch_grow(l, room > 0 ? room : 1, why);
    if (code != SL_OK)
        return code;
    int got = swr_convert(l->swr, l->scratch, l->scratch_samples, data, samples);
    if (got < 0)
        return media_fail(why, got, SL_EINTERNAL, "resampling failed");
    if (data)
        l->in_at += samples;
    return put(l, got, why);
}

static int silence_in(struct lay *l, int64_t samples, struct sl_failure *why)
{
    uint8_t **zero = NULL;
    if (av_samples_alloc_array_and_samples(&zero, NULL, l->in_layout.nb_channels, BLOCK_SAMPLES,
                                           l->in_format, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    av_samples_set_silence(zero, 0, BLOCK_SAMPLES, l->in_layout.nb_channels, l->in_format);
    int code = SL_OK;
    while (code == SL_OK && samples > 0 && l->made < l->total) {
        int n = samples < BLOCK_SAMPLES ? (int)samples : BLOCK_SAMPLES;
        code = resample(l, (const uint8_t **)zero, n, why);
        samples -= n;
    }
    av_freep(&zero[0]);
    av_freep(&zero);
    return code;
}

static int silence_out(struct lay *l, struct sl_failure *why)
{
    int code = scratch_grow(l, BLOCK_SAMPLES, why);
    while (code == SL_OK && l->made < l->total) {
        av_samples_set_silence(l->scratch, 0, BLOCK_SAMPLES, l->out_layout.nb_channels,
                               AV_SAMPLE_FMT_FLTP);
        code = put(l, BLOCK_SAMPLES, why);
    }
    return code;
}

/* ---- mixing ---- */

/* swresample's own matrix, but for one channel: what was mono is as loud in two as it was in one, and a sum of all into
 * one is their mean. Where no limiter waits behind, because the probe saw fewer channels, the sum is scaled instead. */
static int matrix_set(SwrContext *swr, const AVChannelLayout *from, const AVChannelLayout *to,
                      bool limited)
{
    double matrix[CHANNELS_MAX * CHANNELS_MAX] = {0};
    int in = from->nb_channels, out = to->nb_channels;
    int got = swr_build_matrix2(from, to, M_SQRT1_2, M_SQRT1_2, 0, limited ? INT32_MAX : 1, 1,
                                matrix, in, AV_MATRIX_ENCODING_NONE, NULL);
    if (got < 0)
        return got;
    for (int o = 0; o < out; o++) {
        double sum = 0;
        for (int i = 0; i < in; i++)
            sum += matrix[o * in + i];
        for (int i = 0; i < in && sum > 0 && (in == 1 || out == 1); i++)
            matrix[o * in + i] /= sum;
    }
    return swr_set_matrix(swr, matrix, in);
}

/* A resampler for this frame's kind; a source may change its kind on the way. */
static int swr_fit(struct lay *l, const AVFrame *frame, struct sl_failure *why)
{
    if (l->swr && frame->sample_rate == l->in_rate && frame->format == l->in_format &&
        av_channel_layout_compare(&frame->ch_layout, &l->in_layout) == 0)
        return SL_OK;
    if (l->swr) {
        int code = resample(l, NULL, 0, why);
        if (code != SL_OK)
            return code;
        l->in_at = av_rescale(l->in_at, frame->sample_rate, l->in_rate);
    }
    swr_free(&l->swr);
    l->in_rate = frame->sample_rate;
    l->in_format = frame->format;
    AVChannelLayout from = {0};
    int channels = frame->ch_layout.nb_channels;
    int got = av_channel_layout_copy(&l->in_layout, &frame->ch_layout);
    /* Where the file names no places, those usual for the count. */
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, channels);
    else if (got >= 0)
        got = av_channel_layout_copy(&from, &frame->ch_layout);
    if (got >= 0 && (from.order != AV_CHANNEL_ORDER_NATIVE || channels > CHANNELS_MAX)) {
        char layout[64];
        av_channel_layout_describe(&from, layout, sizeof layout);
        av_channel_layout_uninit(&from);
        return sl_fail(why, SL_EUNSUPPORTED,
                       "audio of %d channels (%.40s) cannot be mixed: send mono, stereo, 5.1, 7.1 "
                       "or another layout of speakers",
                       channels, layout);
    }
    if (got >= 0)
        got = swr_alloc_set_opts2(&l->swr, &l->out_layout, AV_SAMPLE_FMT_FLTP,
                                  l->job->out.sample_rate_hz, &from, l->in_format, l->in_rate, 0,
                                  NULL);
    if (got >= 0 && av_channel_layout_compare(&from, &l->out_layout) != 0)
        got = matrix_set(l->swr, &from, &l->out_layout, channels <= l->job->source.channels);
    if (got >= 0)
        got = swr_init(l->swr);
    av_channel_layout_uninit(&from);
    if (got < 0)
        return media_fail(why, got, SL_EUNSUPPORTED, "audio of this kind cannot be resampled");
    return SL_OK;
}

/* Where a time of the source lies on the time line, in samples at in_rate. */
static int64_t place(const struct lay *l, int64_t pts)
{
    AVRational rate = {1, l->in_rate};
    AVRational zero_base = {l->job->origin_time_base.num, l->job->origin_time_base.den};
    return av_rescale_q(pts, l->stream->time_base, rate) -
           av_rescale_q(l->job->origin_pts, zero_base, rate);
}

static int frame_lay(struct lay *l, AVFrame *frame, struct sl_failure *why)
{
    if (frame->sample_rate <= 0 || frame->nb_samples <= 0)
        return SL_OK;
    int code = swr_fit(l, frame, why);
    if (code != SL_OK)
        return code;
    int64_t pts = frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->best_effort_timestamp;
    int64_t skip = 0;
    if (pts != AV_NOPTS_VALUE) {
        int64_t want = place(l, pts);
        int64_t slack = sl_muldiv_i64(MEDIA_AUDIO_SLACK_NS, l->in_rate, SL_NS_PER_S);
        /* The first frame is placed to the sample; later ones follow it. */
        if (l->frames_laid == 0)
            slack = 0;
        if (want - l->in_at > slack)
            code = silence_in(l, want - l->in_at, why);
        else if (l->in_at - want > slack)
            skip = l->in_at - want;
    }
    if (code != SL_OK || skip >= frame->nb_samples)
        return code;
    l->frames_laid++;
    bool planar = av_sample_fmt_is_planar(frame->format);
    int channels = frame->ch_layout.nb_channels;
    size_t step = (size_t)av_get_bytes_per_sample(frame->format) * (planar ? 1 : (size_t)channels);
    const uint8_t *data[CHANNELS_MAX] = {0};
    for (int i = 0; i < (planar ? channels : 1); i++)
        data[i] = frame->extended_data[i] + (size_t)skip * step;
    return resample(l, data, frame->nb_samples - (int)skip, why);
}

/* ---- decoding ---- */

static int take_frames(struct lay *l, struct sl_failure *why)
{
    for (;;) {
        int got = avcodec_receive_frame(l->decoder, l->decoded);
        if (got == AVERROR(ENOMEM))
            return sl_fail(why, SL_ENOMEM, "no memory to decode audio");
        if (got < 0)
            return SL_OK; /* more wanted, drained, or a damaged packet, which leaves a hole */
        l->frames_decoded++;
        int code = frame_lay(l, l->decoded, why);
        av_frame_unref(l->decoded);
        if (code != SL_OK)
            return code;
    }
}

static int decode_all(struct lay *l, struct sl_failure *why)
{
    int code = SL_OK;
    while (code == SL_OK && l->made < l->total) {
        int got = media_source_read(l->source, l->packet, why);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        if (l->packet->stream_index == l->stream->index) {
            avcodec_send_packet(l->decoder, l->packet);
            code = take_frames(l, why);
        }
        av_packet_unref(l->packet);
    }
    if (code == SL_OK && l->made < l->total) {
        avcodec_send_packet(l->decoder, NULL);
        code = take_frames(l, why);
        if (code == SL_OK && l->swr)
            code = resample(l, NULL, 0, why);
    }
    if (code == SL_OK && l->frames_decoded == 0)
        return sl_fail(why, SL_EDECODE, "nothing of the audio stream (%s) decodes",
                       l->job->source.codec);
    return code;
}

static int source_open(struct lay *l, const struct media_input *input, struct sl_failure *why)
{
    int code = media_source_open(input, &l->source, why);
    if (code != SL_OK)
        return code;
    AVFormatContext *format = media_source_format(l->source);
    int index = l->job->source.stream_index;
    if (index < 0 || (unsigned)index >= format->nb_streams ||
        format->streams[index]->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
        return sl_fail(why, SL_ECHANGED, "stream %d of the source is not the audio that was probed",
                       index);
    l->stream = format->streams[index];
    media_source_only(l->source, index);
    return media_decoder_open(l->stream, &l->decoder, why);
}

int media_audio_lay(const struct media_input *input, const struct job_audio *job,
                    int64_t total_samples, const struct media_audio_lay_sink *sink,
                    struct sl_failure *why)
{
    struct lay l = {.job = job, .sink = sink, .total = total_samples};
    av_channel_layout_default(&l.out_layout, job->out.channels);
    l.packet = av_packet_alloc();
    l.decoded = av_frame_alloc();
    int code = l.packet && l.decoded ? SL_OK : sl_fail(why, SL_ENOMEM, "no memory for audio");
    if (code == SL_OK)
        code = source_open(&l, input, why);
    if (code == SL_OK)
        code = decode_all(&l, why);
    if (code == SL_OK)
        code = silence_out(&l, why);
    if (l.scratch)
        av_freep(&l.scratch[0]);
    av_freep(&l.scratch);
    swr_free(&l.swr);
    av_channel_layout_uninit(&l.in_layout);
    av_channel_layout_uninit(&l.out_layout);
    av_frame_free(&l.decoded);
    av_packet_free(&l.packet);
    avcodec_free_context(&l.decoder);
    media_source_close(&l.source);
    return code;
}
