#include "media/media_audio.h"

#include <libavcodec/avcodec.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <string.h>

#include "media/media_audio_cut.h"
#include "media/media_audio_lay.h"
#include "media/media_loudness.h"

/* How often a gain is corrected for what the limiter takes, and from which loss on. */
#define CORRECTIONS_MAX 3
#define CORRECTION_DB   0.3

struct audio {
    const struct job_audio *job;
    const struct media_audio_sink *sink;
    struct media_loudness_graph *graph; /* the meter, then what levels; NULL: samples pass */
    AVCodecContext *encoder;
    AVFrame *planes; /* out of the fifo */
    AVFrame *block;  /* to the encoder, in its format */
    AVPacket *packet;
    AVAudioFifo *fifo;
    int64_t out_total; /* samples that the rendition will have */
    int64_t out_encoded;
    int64_t measured; /* samples that the meter has heard, in so many passes */
    int passes;
    struct media_audio_cut cut;
};

/* ---- the encoder ---- */

static AVFrame *frame_make(const AVCodecContext *c, enum AVSampleFormat format)
{
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        return NULL;
    frame->format = format;
    frame->nb_samples = c->frame_size;
    frame->sample_rate = c->sample_rate;
    if (av_channel_layout_copy(&frame->ch_layout, &c->ch_layout) < 0 ||
        av_frame_get_buffer(frame, 0) < 0)
        av_frame_free(&frame);
    return frame;
}

static int encoder_open(struct audio *a, struct sl_failure *why)
{
    const struct plan_audio *out = &a->job->out;
    const char *name = out->codec == AUDIO_OPUS ? "libopus" : "aac";
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (!codec)
        return sl_fail(why, SL_ENOENCODER, "this libavcodec has no encoder %s", name);
    a->encoder = avcodec_alloc_context3(codec);
    if (!a->encoder)
        return sl_fail(why, SL_ENOMEM, "no memory for an audio encoder");
    AVCodecContext *c = a->encoder;
    /* As each of the two takes it: floats together, or a plane per channel. */
    c->sample_fmt = out->codec == AUDIO_OPUS ? AV_SAMPLE_FMT_FLT : AV_SAMPLE_FMT_FLTP;
    c->sample_rate = out->sample_rate_hz;
    av_channel_layout_default(&c->ch_layout, out->channels);
    c->bit_rate = (int64_t)out->bitrate_kbps * 1000;
    c->time_base = (AVRational){1, out->sample_rate_hz};
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    int got = avcodec_open2(c, codec, NULL);
    if (got < 0)
        return media_fail(why, got, SL_EENCODE,
                          "the audio encoder does not accept what was planned");
    if (c->frame_size <= 0)
        return sl_fail(why, SL_EENCODE, "the audio encoder does not say how long its frames are");
    a->fifo = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, out->channels, c->frame_size * 4);
    a->planes = frame_make(c, AV_SAMPLE_FMT_FLTP);
    a->block = frame_make(c, c->sample_fmt);
    if (!a->fifo || !a->planes || !a->block)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    struct media_audio_track track = {
        .extradata = c->extradata,
        .extradata_bytes = (size_t)c->extradata_size,
        .priming = c->initial_padding,
        .sample_rate_hz = c->sample_rate,
        .channels = out->channels,
    };
    return a->sink->track(a->sink->arg, &track, why);
}

static void progress(const struct audio *a)
{
    if (a->sink->progress)
        a->sink->progress(a->sink->arg, a->measured + a->out_encoded,
                          (a->passes + 1) * a->out_total);
}

static int packets_take(struct audio *a, struct sl_failure *why)
{
    for (;;) {
        int got = avcodec_receive_packet(a->encoder, a->packet);
        if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
            return SL_OK;
        if (got < 0)
            return media_fail(why, got, SL_EENCODE, "the audio encoder failed");
        int code = media_audio_cut_take(&a->cut, a->packet->data, (size_t)a->packet->size, why);
        av_packet_unref(a->packet);
        if (code != SL_OK)
            return code;
    }
}

/* The planes as the encoder wants them: libopus takes the channels' samples in turn. */
static void block_fill(struct audio *a, int samples)
{
    int channels = a->encoder->ch_layout.nb_channels;
    for (int c = 0; c < channels; c++) {
        const float *from = (const float *)(const void *)a->planes->extended_data[c];
        if (av_sample_fmt_is_planar(a->encoder->sample_fmt)) {
            memcpy(a->block->extended_data[c], from, (size_t)samples * sizeof *from);
            continue;
        }
        float *to = (float *)(void *)a->block->data[0];
        for (int i = 0; i < samples; i++)
            to[i * channels + c] = from[i];
    }
}

/* Encodes what is in the fifo in whole frames; at the end the last may be short. */
static int encode(struct audio *a, bool at_end, struct sl_failure *why)
{
    int frame = a->encoder->frame_size;
    while (av_audio_fifo_size(a->fifo) >= frame || (at_end && av_audio_fifo_size(a->fifo) > 0)) {
        if (av_frame_make_writable(a->block) < 0)
            return sl_fail(why, SL_ENOMEM, "no memory for audio");
        int got = av_audio_fifo_read(a->fifo, (void **)a->planes->extended_data, frame);
        if (got <= 0)
            return sl_fail(why, SL_EINTERNAL, "audio samples got lost");
        block_fill(a, got);
        a->block->nb_samples = got;
        a->block->pts = a->out_encoded;
        a->out_encoded += got;
        int sent = avcodec_send_frame(a->encoder, a->block);
        a->block->nb_samples = frame;
        if (sent < 0)
            return media_fail(why, sent, SL_EENCODE, "the audio encoder failed");
        int code = packets_take(a, why);
        if (code != SL_OK)
            return code;
        progress(a);
    }
    return SL_OK;
}

/* ---- the two passes ---- */

static int meter_drain(struct audio *a, struct sl_failure *why)
{
    AVFrame *frame;
    int got;
    while ((got = media_loudness_get(a->graph, &frame, why)) > 0)
        a->measured += frame->nb_samples;
    progress(a);
    return got;
}

static int meter_take(void *arg, uint8_t **planes, int samples, struct sl_failure *why)
{
    struct audio *a = arg;
    int code = media_loudness_put(a->graph, planes, samples, why);
    return code == SL_OK ? meter_drain(a, why) : code;
}

/* A pass that only listens: how loud the rendition would be with this gain, mixed and cut as it will be. */
static int measure(struct audio *a, const struct media_input *input, const struct media_gain *gain,
                   struct media_loudness *heard, struct sl_failure *why)
{
    const struct plan_audio *out = &a->job->out;
    struct media_audio_lay_sink sink = {a, meter_take};
    a->passes++;
    int code = media_loudness_open(out->sample_rate_hz, out->channels, gain, true, &a->graph, why);
    if (code == SL_OK)
        code = media_audio_lay(input, a->job, a->out_total, &sink, why);
    if (code == SL_OK)
        code = media_loudness_put(a->graph, NULL, 0, why);
    if (code == SL_OK)
        code = meter_drain(a, why);
    if (code == SL_OK)
        *heard = media_loudness_measured(a->graph);
    media_loudness_close(&a->graph);
    return code;
}

/* Two passes do where no peak stands in the way: one to measure, one to encode. What a limiter takes away is heard in a
 * further pass and given back. */
static int gain_find(struct audio *a, const struct media_input *input, struct media_gain *gain,
                     struct sl_failure *why)
{
    const struct policy_loudness *wanted = &a->job->out.loudness;
    struct media_loudness heard;
    int code = measure(a, input, NULL, &heard, why);
    if (code == SL_OK)
        *gain = media_gain_to(wanted, &heard);
    for (int turn = 0; code == SL_OK && gain->limit && turn < CORRECTIONS_MAX; turn++) {
        code = measure(a, input, gain, &heard, why);
        double off_db = wanted->target_tenths / 10.0 - heard.integrated_lufs;
        if (code != SL_OK || off_db < CORRECTION_DB || gain->gain_db + off_db > MEDIA_GAIN_MAX_DB)
            break;
        gain->gain_db += off_db;
    }
    return code;
}

/* Of several channels summed into few the sum may be too large, whether or not loudness is asked for. */
static int level_open(struct audio *a, const struct media_input *input, struct sl_failure *why)
{
    const struct plan_audio *out = &a->job->out;
    struct media_gain gain = {
        .limit = a->job->source.channels > out->channels,
        .peak_db = out->loudness.peak_tenths / 10.0,
    };
    int code = out->loudness.on ? gain_find(a, input, &gain, why) : SL_OK;
    if (code != SL_OK || (gain.gain_db == 0 && !gain.limit))
        return code;
    return media_loudness_open(out->sample_rate_hz, out->channels, &gain, false, &a->graph, why);
}

static int queue(struct audio *a, uint8_t **planes, int samples, struct sl_failure *why)
{
    if (av_audio_fifo_write(a->fifo, (void **)planes, samples) < samples)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    return encode(a, false, why);
}

static int level_drain(struct audio *a, struct sl_failure *why)
{
    AVFrame *frame;
    int got;
    while ((got = media_loudness_get(a->graph, &frame, why)) > 0) {
        got = queue(a, frame->extended_data, frame->nb_samples, why);
        if (got < 0)
            break;
    }
    return got;
}

static int encode_take(void *arg, uint8_t **planes, int samples, struct sl_failure *why)
{
    struct audio *a = arg;
    if (!a->graph)
        return queue(a, planes, samples, why);
    int code = media_loudness_put(a->graph, planes, samples, why);
    return code == SL_OK ? level_drain(a, why) : code;
}

static int encode_all(struct audio *a, const struct media_input *input, struct sl_failure *why)
{
    struct media_audio_lay_sink sink = {a, encode_take};
    int code = media_audio_lay(input, a->job, a->out_total, &sink, why);
    if (code == SL_OK && a->graph) {
        code = media_loudness_put(a->graph, NULL, 0, why);
        if (code == SL_OK)
            code = level_drain(a, why);
    }
    if (code == SL_OK)
        code = encode(a, true, why);
    if (code == SL_OK && a->out_encoded != a->out_total)
        code = sl_fail(why, SL_EINTERNAL, "%lld of %lld audio samples were encoded",
                       (long long)a->out_encoded, (long long)a->out_total);
    if (code == SL_OK) {
        avcodec_send_frame(a->encoder, NULL);
        code = packets_take(a, why);
    }
    return code == SL_OK ? media_audio_cut_end(&a->cut, why) : code;
}

static int run(struct audio *a, const struct media_input *input, struct sl_failure *why)
{
    const struct job_audio *job = a->job;
    if (job->boundary_count < 2 || job->timescale <= 0 || job->out.sample_rate_hz <= 0 ||
        job->origin_time_base.num <= 0 || job->origin_time_base.den <= 0)
        return sl_fail(why, SL_EINVAL, "the audio job has %d boundaries in 1/%d s at %d Hz",
                       job->boundary_count, job->timescale, job->out.sample_rate_hz);
    a->packet = av_packet_alloc();
    if (!a->packet)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    a->out_total = av_rescale(job->boundary_ticks[job->boundary_count - 1], job->out.sample_rate_hz,
                              job->timescale);
    if (a->out_total <= 0)
        return sl_fail(why, SL_EINVAL, "the audio job has no length");
    int code = level_open(a, input, why);
    if (code == SL_OK)
        code = encoder_open(a, why);
    if (code == SL_OK)
        code = media_audio_cut_init(&a->cut, job, a->sink, a->encoder->frame_size,
                                    a->encoder->initial_padding, why);
    return code == SL_OK ? encode_all(a, input, why) : code;
}

int media_audio_run(const struct media_input *input, const struct job_audio *job,
                    const struct media_audio_sink *sink, struct sl_failure *why)
{
    struct audio a = {.job = job, .sink = sink};
    int code = run(&a, input, why);
    media_audio_cut_fini(&a.cut);
    media_loudness_close(&a.graph);
    if (a.fifo)
        av_audio_fifo_free(a.fifo);
    av_frame_free(&a.planes);
    av_frame_free(&a.block);
    av_packet_free(&a.packet);
    avcodec_free_context(&a.encoder);
    return code;
}
