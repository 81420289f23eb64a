/* H.264 on the CPU, by libavcodec's "libx264".
 *
 * Key frames come from force_idr alone: the GOP is infinite and its minimum as large, so that a scene
 * cut becomes a plain I frame. Parameter sets depend on nothing but the parameters, so that every chunk
 * of a rung has the same ones.
 */
#include "encoders/encoders.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Packets that wait for receive; x264 gives about one per frame, so a caller that takes them after each
 * submit never sees the end of it. */
#define PENDING_MAX  64

/* x264 clips a GOP to 1 << 30 and its minimum to half of that. */
#define GOP_INFINITE (1 << 30)

/* With the minimum GOP out of reach x264 takes a quarter of its lowest scene cut threshold; this gives
 * back what the default of 40 means shortly after a key frame. */
#define SCENECUT     "160"

/* The first picture of a session gets the quantiser of a P picture: under CRF with MB-tree x264 takes an I
 * picture's from the P pictures before it, less the I-to-P ratio (1.4, so 6 log2 1.4 = 2.92 steps), and leaves
 * the ratio out where there are none. A chunk is a session, so every seam would open with a picture
 * worse than the same one inside a longer encode: 1.6 % of the bits at equal SSIM on the Sintel trailer. A region of
 * interest over the whole first picture gives the ratio back. */
#define FIRST_I_QP   (-2.92)

static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster",   "fast",
                                      "medium",    "slow",      "slower",   "veryslow", "placebo"};
static const char *const profiles[] = {"baseline", "main", "high", "high10"};

struct x264 {
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *pending[PENDING_MAX];
    int pending_first;
    int pending_count;
    AVPacket *current; /* lent to the caller by receive */
    uint8_t *extradata;
    size_t extradata_bytes;
    bool first_i; /* the next picture is the session's first and lacks the I-to-P ratio */
    bool flushed;
};

static bool is_listed(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

static int fail_av(struct sl_failure *why, int code, int av, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(av, text, sizeof text);
    if (av == AVERROR(ENOMEM))
        code = SL_ENOMEM;
    return sl_fail(why, code, "libx264: %s: %s (%d)", what, text, av);
}

static int x264_probe(struct hal_device *device)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec)
        return SL_OK;
    if (device->row_count >= HAL_ROWS_MAX)
        return SL_ELIMIT;
    struct hal_row *row = &device->rows[device->row_count++];
    *row = (struct hal_row){
        .codec = CODEC_H264,
        .direction = HAL_ENCODE,
        .encoder = "x264",
        .width_min = 16,
        .height_min = 16,
        /* Level 6.2 ends near 8192x4352; portrait counts as well. */
        .width_max = 8192,
        .height_max = 8192,
        .bframes_max = 16,
        .rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED,
        .forced_idr = true,
        .closed_gop = true,
        .lookahead = true,
    };
    for (const enum AVPixelFormat *f = codec->pix_fmts; f && *f != AV_PIX_FMT_NONE; f++) {
        if (*f == AV_PIX_FMT_YUV420P)
            row->layouts |= 1u << HAL_I420;
        else if (*f == AV_PIX_FMT_YUV420P10LE)
            row->layouts |= 1u << HAL_I420_10;
    }
    return SL_OK;
}

/* avcC (ISO/IEC 14496-15, 5.3.3.1) from parameter sets with four-byte lengths. */
static int extradata_make(struct x264 *x, enum hal_layout layout, struct sl_failure *why)
{
    const uint8_t *in = x->codec->extradata;
    size_t in_bytes = (size_t)x->codec->extradata_size;
    if (in_bytes > 6 && in[0] == 1) { /* FFmpeg 6.1 and later make it themselves */
        x->extradata = malloc(in_bytes);
        if (!x->extradata)
            return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of parameter sets", in_bytes);
        memcpy(x->extradata, in, in_bytes);
        x->extradata_bytes = in_bytes;
        return SL_OK;
    }

    const uint8_t *sps = NULL, *pps = NULL;
    size_t sps_bytes = 0, pps_bytes = 0;
    for (size_t at = 0; at + 4 < in_bytes;) {
        size_t length =
            (size_t)in[at] << 24 | (size_t)in[at + 1] << 16 | (size_t)in[at + 2] << 8 | in[at + 3];
        at += 4;
        if (length > in_bytes - at)
            break;
        if ((in[at] & 31) == 7) {
            sps = in + at;
            sps_bytes = length;
        } else if ((in[at] & 31) == 8) {
            pps = in + at;
            pps_bytes = length;
        }
        at += length;
    }
    if (!sps || !pps || sps_bytes < 4 || sps_bytes > UINT16_MAX || pps_bytes > UINT16_MAX)
        return sl_fail(why, SL_EENCODE, "libx264 gave %zu bytes of extradata without SPS and PPS",
                       in_bytes);
    bool high = sps[1] == 100 || sps[1] == 110;
    x->extradata_bytes = 6 + 2 + sps_bytes + 1 + 2 + pps_bytes + (high ? 4 : 0);
    uint8_t *out = x->extradata = malloc(x->extradata_bytes);
    if (!out)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of parameter sets",
                       x->extradata_bytes);
    *out++ = 1;
    memcpy(out, sps + 1, 3);
    out += 3;
    *out++ = 0xff; /* lengths of four bytes */
    *out++ = 0xe1; /* one SPS */
    *out++ = (uint8_t)(sps_bytes >> 8);
    *out++ = (uint8_t)sps_bytes;
    memcpy(out, sps, sps_bytes);
    out += sps_bytes;
    *out++ = 1;
    *out++ = (uint8_t)(pps_bytes >> 8);
    *out++ = (uint8_t)pps_bytes;
    memcpy(out, pps, pps_bytes);
    out += pps_bytes;
    if (high) {
        uint8_t depth = layout == HAL_I420_10 ? 2 : 0;
        *out++ = 0xfc | 1; /* 4:2:0 */
        *out++ = 0xf8 | depth;
        *out++ = 0xf8 | depth;
        *out++ = 0; /* no SPS extension */
    }
    return SL_OK;
}

static int params_check(const struct hal_encode_params *p, struct sl_failure *why)
{
    if (!is_listed(p->preset[0] ? p->preset : "medium", presets, sizeof presets / sizeof *presets))
        return sl_fail(why, SL_EINVAL,
                       "x264 has no preset \"%s\"; it has ultrafast, superfast, veryfast, faster, "
                       "fast, medium, slow, slower, veryslow, placebo",
                       p->preset);
    if (p->profile[0] && !is_listed(p->profile, profiles, sizeof profiles / sizeof *profiles))
        return sl_fail(why, SL_EINVAL,
                       "x264 has no profile \"%s\"; it has baseline, main, high, high10",
                       p->profile);
    if (p->profile[0] && (strcmp(p->profile, "high10") != 0) && p->layout == HAL_I420_10)
        return sl_fail(why, SL_EINVAL, "H.264 profile %s has no 10-bit pictures; high10 has",
                       p->profile);
    return SL_OK;
}

static int x264_open(void *state, const struct hal_device *device,
                     const struct hal_encode_params *p, struct sl_failure *why)
{
    struct x264 *x = state;
    (void)device;
    int rc = params_check(p, why);
    if (rc < 0)
        return rc;
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec)
        return sl_fail(why, SL_ENOENCODER, "this libavcodec has no libx264");
    x->codec = avcodec_alloc_context3(codec);
    x->frame = av_frame_alloc();
    x->current = av_packet_alloc();
    if (!x->codec || !x->frame || !x->current)
        return sl_fail(why, SL_ENOMEM, "no memory for an x264 session");

    AVCodecContext *c = x->codec;
    c->width = p->width;
    c->height = p->height;
    c->pix_fmt = p->layout == HAL_I420_10 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){p->time_base.num, p->time_base.den};
    c->framerate = (AVRational){p->frame_rate.num, p->frame_rate.den};
    c->sample_aspect_ratio = (AVRational){p->sar.num, p->sar.den};
    c->color_primaries = (enum AVColorPrimaries)p->color_primaries;
    c->color_trc = (enum AVColorTransferCharacteristic)p->color_transfer;
    c->colorspace = (enum AVColorSpace)p->color_matrix;
    c->color_range = p->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    c->thread_count = p->threads;
    c->gop_size = GOP_INFINITE;
    c->keyint_min = GOP_INFINITE / 2;
    if (p->bframes >= 0)
        c->max_b_frames = p->bframes;
    c->rc_max_rate = (int64_t)p->maxrate_kbps * 1000;
    c->rc_buffer_size = p->bufsize_kbit * 1000;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    av_opt_set(c->priv_data, "preset", p->preset[0] ? p->preset : "medium", 0);
    if (p->profile[0])
        av_opt_set(c->priv_data, "profile", p->profile, 0);
    av_opt_set_double(c->priv_data, "crf", p->crf_tenths / 10.0, 0);
    av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
    av_opt_set(c->priv_data, "x264-params", "annexb=0:open-gop=0:scenecut=" SCENECUT, 0);
    rc = avcodec_open2(c, codec, NULL);
    if (rc < 0)
        return fail_av(why, SL_EENCODE, rc, "cannot open an encoder");
    /* The two fastest presets have no MB-tree, and there the first picture is like the others. */
    x->first_i = strcmp(p->preset, "ultrafast") != 0 && strcmp(p->preset, "superfast") != 0;
    return extradata_make(x, p->layout, why);
}

static int x264_extradata(void *state, const uint8_t **out, size_t *out_bytes)
{
    struct x264 *x = state;
    *out = x->extradata;
    *out_bytes = x->extradata_bytes;
    return SL_OK;
}

/* x264 tells its version and options in an SEI of its own on the first picture of every session: some
 * 700 bytes a chunk that say nothing to a player. */
static void options_sei_drop(AVPacket *packet)
{
    static const uint8_t uuid[16] = {0xdc, 0x45, 0xe9, 0xbd, 0xe6, 0xd9, 0x48, 0xb7,
                                     0x96, 0x2c, 0xd8, 0x20, 0xd9, 0x23, 0xee, 0xef};
    size_t bytes = (size_t)packet->size;
    const uint8_t *d = packet->data;
    if (bytes < 4)
        return;
    size_t length = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3];
    if (length < 24 || length + 4 >= bytes || (d[4] & 31) != 6 || d[5] != 5)
        return;
    size_t at = 6;
    while (at < 4 + length && d[at] == 0xff)
        at++;
    at++;
    if (at + sizeof uuid <= 4 + length && memcmp(d + at, uuid, sizeof uuid) == 0) {
        packet->data += 4 + length;
        packet->size -= (int)(4 + length);
    }
}

/* Takes everything that is finished, so that libavcodec holds no reference to the caller's planes. */
static int pending_fill(struct x264 *x, int most, struct sl_failure *why)
{
    while (x->pending_count < most) {
        AVPacket *packet = av_packet_alloc();
        if (!packet)
            return sl_fail(why, SL_ENOMEM, "no memory for a packet");
        int rc = avcodec_receive_packet(x->codec, packet);
        if (rc < 0) {
            av_packet_free(&packet);
            if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
                return SL_OK;
            return fail_av(why, SL_EENCODE, rc, "encoding failed");
        }
        options_sei_drop(packet);
        x->pending[(x->pending_first + x->pending_count++) % PENDING_MAX] = packet;
    }
    return SL_OK;
}

static int first_i_mark(struct x264 *x, struct sl_failure *why)
{
    AVFrameSideData *side = av_frame_new_side_data(x->frame, AV_FRAME_DATA_REGIONS_OF_INTEREST,
                                                   sizeof(AVRegionOfInterest));
    if (!side)
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    double range = x->codec->pix_fmt == AV_PIX_FMT_YUV420P10LE ? 63 : 51;
    *(AVRegionOfInterest *)side->data = (AVRegionOfInterest){
        .self_size = sizeof(AVRegionOfInterest),
        .bottom = x->codec->height,
        .right = x->codec->width,
        .qoffset = av_d2q(FIRST_I_QP / range, 100000),
    };
    return SL_OK;
}

static void planes_keep(void *opaque, uint8_t *data)
{
    (void)opaque;
    (void)data;
}

static int x264_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct x264 *x = state;
    if (x->pending_count >= PENDING_MAX / 2)
        return sl_fail(why, SL_ELIMIT, "%d packets wait; receive them before the next frame",
                       x->pending_count);
    av_packet_unref(x->current);
    AVFrame *frame = x->frame;
    frame->format = x->codec->pix_fmt;
    frame->width = in->width;
    frame->height = in->height;
    frame->pts = in->pts;
    frame->pict_type = in->force_idr ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    for (int i = 0; i < 3; i++) {
        frame->data[i] = (uint8_t *)(uintptr_t)in->planes[i];
        frame->linesize[i] = (int)in->stride_bytes[i];
    }
    /* A reference that owns nothing spares libavcodec's copy; x264 makes its own before send returns. */
    frame->buf[0] = av_buffer_create(frame->data[0], in->stride_bytes[0], planes_keep, NULL,
                                     AV_BUFFER_FLAG_READONLY);
    if (!frame->buf[0])
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    int rc = x->first_i ? first_i_mark(x, why) : SL_OK;
    x->first_i = false;
    if (rc < 0) {
        av_frame_unref(frame);
        return rc;
    }
    rc = avcodec_send_frame(x->codec, frame);
    if (rc < 0) {
        av_frame_unref(frame);
        return fail_av(why, SL_EENCODE, rc, "a frame was refused");
    }
    rc = pending_fill(x, PENDING_MAX, why);
    bool kept = av_buffer_get_ref_count(frame->buf[0]) != 1;
    av_frame_unref(frame);
    if (rc == SL_OK && kept)
        return sl_fail(why, SL_EINTERNAL, "libavcodec keeps a frame that is not its own");
    return rc;
}

static int x264_receive(void *state, struct hal_packet *out, struct sl_failure *why)
{
    struct x264 *x = state;
    if (x->pending_count == 0 && x->flushed) {
        int rc = pending_fill(x, 1, why);
        if (rc < 0)
            return rc;
    }
    if (x->pending_count == 0)
        return 0;
    av_packet_free(&x->current);
    x->current = x->pending[x->pending_first];
    x->pending_first = (x->pending_first + 1) % PENDING_MAX;
    x->pending_count--;
    *out = (struct hal_packet){
        .data = x->current->data,
        .bytes = (size_t)x->current->size,
        .pts = x->current->pts,
        .dts = x->current->dts,
        .idr = (x->current->flags & AV_PKT_FLAG_KEY) != 0,
    };
    return 1;
}

static int x264_flush(void *state, struct sl_failure *why)
{
    struct x264 *x = state;
    if (x->flushed)
        return SL_OK;
    int rc = avcodec_send_frame(x->codec, NULL);
    if (rc < 0 && rc != AVERROR_EOF)
        return fail_av(why, SL_EENCODE, rc, "flushing failed");
    x->flushed = true;
    return SL_OK;
}

static void x264_close(void *state)
{
    struct x264 *x = state;
    while (x->pending_count > 0) {
        av_packet_free(&x->pending[x->pending_first]);
        x->pending_first = (x->pending_first + 1) % PENDING_MAX;
        x->pending_count--;
    }
    av_packet_free(&x->current);
    av_frame_free(&x->frame);
    avcodec_free_context(&x->codec);
    free(x->extradata);
    *x = (struct x264){0};
}

const struct hal_encode_ops x264_encode_ops = {
    .name = "x264",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct x264),
    .probe = x264_probe,
    .open = x264_open,
    .extradata = x264_extradata,
    .submit = x264_submit,
    .receive = x264_receive,
    .flush = x264_flush,
    .close = x264_close,
};
