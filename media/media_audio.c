#include "media/media_audio.h"

#include <libavcodec/avcodec.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/time.h"
#include "media/media_audio_cut.h"

/* Samples handled at once when laying down silence. */
#define BLOCK_SAMPLES 4096

struct audio {
    const struct job_audio *job;
    const struct media_audio_sink *sink;
    struct media_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    AVCodecContext *encoder;
    AVFrame *decoded;
    AVFrame *block; /* to the encoder */
    AVPacket *packet;
    /* From the source's samples to the rendition's. */
    SwrContext *swr;
    int in_rate;
    enum AVSampleFormat in_format;
    AVChannelLayout in_layout;
    int64_t in_at; /* samples of the source laid on the time line, at in_rate */
    AVAudioFifo *fifo;
    int64_t out_total; /* samples that the rendition will have */
    int64_t out_made;  /* samples put into the fifo */
    int64_t out_encoded;
    int64_t frames_decoded; /* whether or not they lie on the time line */
    int64_t frames_laid;
    uint8_t **scratch; /* output of swr */
    int scratch_samples;
    struct media_audio_cut cut;
};

/* ---- the encoder ---- */

static int encoder_open(struct audio *a, struct sl_failure *why)
{
    const struct plan_audio *out = &a->job->out;
    if (out->codec != AUDIO_AAC)
        return sl_fail(why, SL_ENOENCODER,
                       "this worker has no encoder for audio codec '%s': use aac",
                       audio_codec_word(out->codec));
    const AVCodec *codec = avcodec_find_encoder_by_name("aac");
    if (!codec)
        return sl_fail(why, SL_ENOENCODER, "this libavcodec has no AAC encoder");
    a->encoder = avcodec_alloc_context3(codec);
    if (!a->encoder)
        return sl_fail(why, SL_ENOMEM, "no memory for an audio encoder");
    AVCodecContext *c = a->encoder;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->sample_rate = out->sample_rate_hz;
    av_channel_layout_default(&c->ch_layout, out->channels);
    c->bit_rate = (int64_t)out->bitrate_kbps * 1000;
    c->time_base = (AVRational){1, out->sample_rate_hz};
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    int got = avcodec_open2(c, codec, NULL);
    if (got < 0)
        return media_fail(why, got, SL_EENCODE, "the AAC encoder does not accept what was planned");
    if (c->frame_size <= 0)
        return sl_fail(why, SL_EENCODE, "the AAC encoder does not say how long its frames are");
    a->block = av_frame_alloc();
    a->fifo = av_audio_fifo_alloc(c->sample_fmt, out->channels, c->frame_size * 4);
    if (!a->block || !a->fifo)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    a->block->format = c->sample_fmt;
    a->block->nb_samples = c->frame_size;
    a->block->sample_rate = c->sample_rate;
    av_channel_layout_copy(&a->block->ch_layout, &c->ch_layout);
    if (av_frame_get_buffer(a->block, 0) < 0)
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

static int packets_take(struct audio *a, struct sl_failure *why)
{
    for (;;) {
        int got = avcodec_receive_packet(a->encoder, a->packet);
        if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
            return SL_OK;
        if (got < 0)
            return media_fail(why, got, SL_EENCODE, "the AAC encoder failed");
        int code = media_audio_cut_take(&a->cut, a->packet->data, (size_t)a->packet->size, why);
        av_packet_unref(a->packet);
        if (code != SL_OK)
            return code;
    }
}

/* Encodes what is in the fifo in whole frames; at the end the last may be short. */
static int encode(struct audio *a, bool at_end, struct sl_failure *why)
{
    int frame = a->encoder->frame_size;
    while (av_audio_fifo_size(a->fifo) >= frame || (at_end && av_audio_fifo_size(a->fifo) > 0)) {
        if (av_frame_make_writable(a->block) < 0)
            return sl_fail(why, SL_ENOMEM, "no memory for audio");
        int got = av_audio_fifo_read(a->fifo, (void **)a->block->data, frame);
        if (got <= 0)
            return sl_fail(why, SL_EINTERNAL, "audio samples got lost");
        a->block->nb_samples = got;
        a->block->pts = a->out_encoded;
        a->out_encoded += got;
        int sent = avcodec_send_frame(a->encoder, a->block);
        a->block->nb_samples = frame;
        if (sent < 0)
            return media_fail(why, sent, SL_EENCODE, "the AAC encoder failed");
        int code = packets_take(a, why);
        if (code != SL_OK)
            return code;
        if (a->sink->progress)
            a->sink->progress(a->sink->arg, a->out_encoded, a->out_total);
    }
    return SL_OK;
}

/* ---- samples onto the time line ---- */

static int scratch_grow(struct audio *a, int samples, struct sl_failure *why)
{
    if (samples <= a->scratch_samples)
        return SL_OK;
    if (a->scratch)
        av_freep(&a->scratch[0]);
    av_freep(&a->scratch);
    a->scratch_samples = 0;
    if (av_samples_alloc_array_and_samples(&a->scratch, NULL, a->job->out.channels, samples,
                                           AV_SAMPLE_FMT_FLTP, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    a->scratch_samples = samples;
    return SL_OK;
}

static int put(struct audio *a, int samples, struct sl_failure *why)
{
    if (samples > a->out_total - a->out_made)
        samples = (int)(a->out_total - a->out_made);
    if (samples <= 0)
        return SL_OK;
    if (av_audio_fifo_write(a->fifo, (void **)a->scratch, samples) < samples)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    a->out_made += samples;
    return encode(a, false, why);
}

/* data NULL: what the resampler still holds. */
static int resample(struct audio *a, const uint8_t **data, int samples, struct sl_failure *why)
{
    int room = swr_get_out_samples(a->swr, samples);
    int code = scratch_grow(a, room > 0 ? room : 1, why);
    if (code != SL_OK)
        return code;
    int got = swr_convert(a->swr, a->scratch, a->scratch_samples, data, samples);
    if (got < 0)
        return media_fail(why, got, SL_EINTERNAL, "resampling failed");
    if (data)
        a->in_at += samples;
    return put(a, got, why);
}

static int silence_in(struct audio *a, int64_t samples, struct sl_failure *why)
{
    uint8_t **zero = NULL;
    if (av_samples_alloc_array_and_samples(&zero, NULL, a->in_layout.nb_channels, BLOCK_SAMPLES,
                                           a->in_format, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    av_samples_set_silence(zero, 0, BLOCK_SAMPLES, a->in_layout.nb_channels, a->in_format);
    int code = SL_OK;
    while (code == SL_OK && samples > 0 && a->out_made < a->out_total) {
        int n = samples < BLOCK_SAMPLES ? (int)samples : BLOCK_SAMPLES;
        code = resample(a, (const uint8_t **)zero, n, why);
        samples -= n;
    }
    av_freep(&zero[0]);
    av_freep(&zero);
    return code;
}

static int silence_out(struct audio *a, struct sl_failure *why)
{
    int code = scratch_grow(a, BLOCK_SAMPLES, why);
    while (code == SL_OK && a->out_made < a->out_total) {
        av_samples_set_silence(a->scratch, 0, BLOCK_SAMPLES, a->job->out.channels,
                               AV_SAMPLE_FMT_FLTP);
        code = put(a, BLOCK_SAMPLES, why);
    }
    return code;
}

/* A resampler for this frame's kind; a source may change its kind on the way. */
static int swr_fit(struct audio *a, const AVFrame *frame, struct sl_failure *why)
{
    if (a->swr && frame->sample_rate == a->in_rate && frame->format == a->in_format &&
        av_channel_layout_compare(&frame->ch_layout, &a->in_layout) == 0)
        return SL_OK;
    if (a->swr) {
        int code = resample(a, NULL, 0, why);
        if (code != SL_OK)
            return code;
        a->in_at = av_rescale(a->in_at, frame->sample_rate, a->in_rate);
    }
    swr_free(&a->swr);
    a->in_rate = frame->sample_rate;
    a->in_format = frame->format;
    AVChannelLayout from = {0};
    int got = av_channel_layout_copy(&a->in_layout, &frame->ch_layout);
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, frame->ch_layout.nb_channels);
    else if (got >= 0)
        got = av_channel_layout_copy(&from, &frame->ch_layout);
    if (got >= 0)
        got =
            swr_alloc_set_opts2(&a->swr, &a->encoder->ch_layout, AV_SAMPLE_FMT_FLTP,
                                a->encoder->sample_rate, &from, a->in_format, a->in_rate, 0, NULL);
    if (got >= 0)
        got = swr_init(a->swr);
    av_channel_layout_uninit(&from);
    if (got < 0)
        return media_fail(why, got, SL_EUNSUPPORTED, "audio of this kind cannot be resampled");
    return SL_OK;
}

/* Where a time of the source lies on the time line, in samples at in_rate. */
static int64_t place(const struct audio *a, int64_t pts)
{
    AVRational rate = {1, a->in_rate};
    AVRational zero_base = {a->job->origin_time_base.num, a->job->origin_time_base.den};
    return av_rescale_q(pts, a->stream->time_base, rate) -
           av_rescale_q(a->job->origin_pts, zero_base, rate);
}

static int lay(struct audio *a, AVFrame *frame, struct sl_failure *why)
{
    if (frame->sample_rate <= 0 || frame->nb_samples <= 0)
        return SL_OK;
    int code = swr_fit(a, frame, why);
    if (code != SL_OK)
        return code;
    int64_t pts = frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->best_effort_timestamp;
    int64_t skip = 0;
    if (pts != AV_NOPTS_VALUE) {
        int64_t want = place(a, pts);
        int64_t slack = sl_muldiv_i64(MEDIA_AUDIO_SLACK_NS, a->in_rate, SL_NS_PER_S);
        /* The first frame is placed to the sample; later ones follow it. */
        if (a->frames_laid == 0)
            slack = 0;
        if (want - a->in_at > slack)
            code = silence_in(a, want - a->in_at, why);
        else if (a->in_at - want > slack)
            skip = a->in_at - want;
    }
    if (code != SL_OK || skip >= frame->nb_samples)
        return code;
    a->frames_laid++;
    bool planar = av_sample_fmt_is_planar(frame->format);
    int channels = frame->ch_layout.nb_channels;
    size_t step = (size_t)av_get_bytes_per_sample(frame->format) * (planar ? 1 : (size_t)channels);
    const uint8_t *data[AV_NUM_DATA_POINTERS] = {0};
    if (planar && channels > AV_NUM_DATA_POINTERS)
        return sl_fail(why, SL_EUNSUPPORTED, "audio with %d channels: %d are the most", channels,
                       AV_NUM_DATA_POINTERS);
    for (int i = 0; i < (planar ? channels : 1); i++)
        data[i] = frame->extended_data[i] + (size_t)skip * step;
    return resample(a, data, frame->nb_samples - (int)skip, why);
}

/* ---- the run ---- */

static int take_frames(struct audio *a, struct sl_failure *why)
{
    for (;;) {
        int got = avcodec_receive_frame(a->decoder, a->decoded);
        if (got == AVERROR(ENOMEM))
            return sl_fail(why, SL_ENOMEM, "no memory to decode audio");
        if (got < 0)
            return SL_OK; /* more wanted, drained, or a damaged packet, which leaves a hole */
        a->frames_decoded++;
        int code = lay(a, a->decoded, why);
        av_frame_unref(a->decoded);
        if (code != SL_OK)
            return code;
    }
}

static int decode_all(struct audio *a, struct sl_failure *why)
{
    int code = SL_OK;
    while (code == SL_OK && a->out_made < a->out_total) {
        int got = media_source_read(a->source, a->packet, why);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        if (a->packet->stream_index == a->stream->index) {
            avcodec_send_packet(a->decoder, a->packet);
            code = take_frames(a, why);
        }
        av_packet_unref(a->packet);
    }
    if (code == SL_OK && a->out_made < a->out_total) {
        avcodec_send_packet(a->decoder, NULL);
        code = take_frames(a, why);
        if (code == SL_OK && a->swr)
            code = resample(a, NULL, 0, why);
    }
    if (code == SL_OK && a->frames_decoded == 0)
        return sl_fail(why, SL_EDECODE, "nothing of the audio stream (%s) decodes",
                       a->job->source.codec);
    return code;
}

static int source_open(struct audio *a, const struct media_input *input, struct sl_failure *why)
{
    int code = media_source_open(input, &a->source, why);
    if (code != SL_OK)
        return code;
    AVFormatContext *format = media_source_format(a->source);
    int index = a->job->source.stream_index;
    if (index < 0 || (unsigned)index >= format->nb_streams ||
        format->streams[index]->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
        return sl_fail(why, SL_ECHANGED, "stream %d of the source is not the audio that was probed",
                       index);
    a->stream = format->streams[index];
    media_source_only(a->source, index);
    return media_decoder_open(a->stream, &a->decoder, why);
}

static int run(struct audio *a, const struct media_input *input, struct sl_failure *why)
{
    const struct job_audio *job = a->job;
    if (job->boundary_count < 2 || job->timescale <= 0 || job->out.sample_rate_hz <= 0 ||
        job->origin_time_base.num <= 0 || job->origin_time_base.den <= 0)
        return sl_fail(why, SL_EINVAL, "the audio job has %d boundaries in 1/%d s at %d Hz",
                       job->boundary_count, job->timescale, job->out.sample_rate_hz);
    a->packet = av_packet_alloc();
    a->decoded = av_frame_alloc();
    if (!a->packet || !a->decoded)
        return sl_fail(why, SL_ENOMEM, "no memory for audio");
    a->out_total = av_rescale(job->boundary_ticks[job->boundary_count - 1], job->out.sample_rate_hz,
                              job->timescale);
    if (a->out_total <= 0)
        return sl_fail(why, SL_EINVAL, "the audio job has no length");
    int code = source_open(a, input, why);
    if (code == SL_OK)
        code = encoder_open(a, why);
    if (code == SL_OK)
        code = media_audio_cut_init(&a->cut, job, a->sink, a->encoder->frame_size,
                                    a->encoder->initial_padding, why);
    if (code == SL_OK)
        code = decode_all(a, why);
    if (code == SL_OK)
        code = silence_out(a, why);
    if (code == SL_OK)
        code = encode(a, true, why);
    if (code == SL_OK) {
        avcodec_send_frame(a->encoder, NULL);
        code = packets_take(a, why);
    }
    return code == SL_OK ? media_audio_cut_end(&a->cut, why) : code;
}

int media_audio_run(const struct media_input *input, const struct job_audio *job,
                    const struct media_audio_sink *sink, struct sl_failure *why)
{
    struct audio a = {.job = job, .sink = sink};
    int code = run(&a, input, why);
    media_audio_cut_fini(&a.cut);
    if (a.scratch)
        av_freep(&a.scratch[0]);
    av_freep(&a.scratch);
    if (a.fifo)
        av_audio_fifo_free(a.fifo);
    swr_free(&a.swr);
    av_channel_layout_uninit(&a.in_layout);
    av_frame_free(&a.decoded);
    av_frame_free(&a.block);
    av_packet_free(&a.packet);
    avcodec_free_context(&a.encoder);
    avcodec_free_context(&a.decoder);
    media_source_close(&a.source);
    return code;
}
