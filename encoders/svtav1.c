/* AV1 on the CPU, by libavcodec's "libsvtav1".
 *
 * Quality:  SVT-AV1 counts from 1 to 63. A policy's crf is x264's, and q = 2.5 crf - 21.5 gave its SSIM: measured over
 *           four scenes (live action and animation, 640x360, crf 18 to 33), the line's mean is within 3 of it.
 * Presets:  the common words and SVT-AV1's own numbers, see speeds.
 * Key frames: libavcodec 5.1 does not pass them on, and what later versions do differs, so every GOP is an encoder of
 *           its own: a forced key frame ends one and starts the next, which costs 0.1 s at 1080p. A GOP then depends on
 *           its own pictures alone, wherever in a chunk it is.
 * Rates:    SVT-AV1 holds a maximum rate on average and knows no buffer; a GOP that overran it makes the next one
 *           coarser, until one stays below again.
 * Packets are temporal units: pictures that are not shown travel with the next one that is, so there is no reordering,
 * and decode times are presentation times.
 * Threads:  SVT-AV1 has one for each stage of its pipeline whatever it is told, some 16; with one asked for, the
 *           stages that do the work have one each.
 */
#include "encoders/encoders.h"

#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/obu.h"

#define QUALITY_MIN   1
#define QUALITY_MAX   63
#define SPEED_MAX     13

/* As in x265.c: no chunk is as long. */
#define GOP_INFINITE  10000000

/* Of quality, to half the bytes: between 8 and 12 over the four scenes. */
#define HALVING_STEPS 10

#define PARAMS_BYTES  512

/* Of the common words, from ultrafast on. */
static const int speeds[LAVC_PRESET_COUNT] = {12, 11, 10, 9, 8, 7, 6, 4, 2};

struct svtav1 {
    struct lavc lavc; /* first: lavc's functions take the state */
    struct hal_encode_params params;
    bool spent;      /* the encoder that is open got all its pictures */
    double coarser;  /* than the policy's quality, in steps of it: what the rate asked for */
    int64_t gop_pts; /* of the first picture in the encoder that is open, and what came out of it */
    int64_t gop_bytes;
};

static int svtav1_probe(struct hal_device *device)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libsvtav1");
    if (!codec)
        return SL_OK;
    /* It would tell its configuration with each encoder. Done here, where there is one thread. */
    setenv("SVT_LOG", "1", 0);
    struct hal_row *row = lavc_row_add(device, CODEC_AV1, "svtav1");
    if (!row)
        return SL_ELIMIT;
    row->layouts = lavc_layouts(codec) & (1u << HAL_I420 | 1u << HAL_I420_10);
    row->width_min = row->height_min = 64;
    row->width_max = row->height_max = 8192;
    row->rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED;
    row->forced_idr = row->closed_gop = row->lookahead = true;
    return SL_OK;
}

static int speed_of(const char *preset)
{
    int rank = lavc_preset_rank(preset);
    if (rank >= 0)
        return speeds[rank];
    char *end;
    long number = strtol(preset, &end, 10);
    return preset[0] >= '0' && preset[0] <= '9' && !*end && number <= SPEED_MAX ? (int)number : -1;
}

static int params_check(const struct hal_encode_params *p, struct sl_failure *why)
{
    if (speed_of(p->preset) < 0)
        return sl_fail(why, SL_EINVAL,
                       "svtav1 has no preset \"%s\"; it has ultrafast, superfast, veryfast, "
                       "faster, fast, medium, slow, slower, veryslow, and SVT-AV1's own 0 to %d",
                       p->preset, SPEED_MAX);
    if (p->profile[0] && strcmp(p->profile, "main") != 0)
        return sl_fail(why, SL_EINVAL, "svtav1 has no profile \"%s\"; it has main", p->profile);
    return SL_OK;
}

/* In SVT-AV1's words chromaticities are fractions and luminances cd/m2. */
static void hdr_params(const struct media_hdr *hdr, char *out, size_t room)
{
    const int32_t(*p)[2] = hdr->primaries;
    int length = 0;
    if (hdr->mastering)
        length = snprintf(out, room,
                          ":mastering-display=G(%.5f,%.5f)B(%.5f,%.5f)R(%.5f,%.5f)WP(%.5f,%.5f)"
                          "L(%.4f,%.4f)",
                          p[1][0] / 5e4, p[1][1] / 5e4, p[2][0] / 5e4, p[2][1] / 5e4, p[0][0] / 5e4,
                          p[0][1] / 5e4, hdr->white[0] / 5e4, hdr->white[1] / 5e4,
                          (double)hdr->luminance_max / 1e4, (double)hdr->luminance_min / 1e4);
    if (hdr->light)
        snprintf(out + length, room - (size_t)length, ":content-light=%d,%d", hdr->light_max_nits,
                 hdr->light_average_nits);
}

static int packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    struct svtav1 *s = (struct svtav1 *)lavc;
    s->gop_bytes += packet->size;
    return obu_packet_fix(lavc, packet, why);
}

/* After a GOP that ends at pts: the next one shall take as much less as this one took too much. */
static void rate_follow(struct svtav1 *s, int64_t pts)
{
    const struct hal_encode_params *p = &s->params;
    double seconds = (double)(pts - s->gop_pts) * p->time_base.num / p->time_base.den;
    double bits = (double)s->gop_bytes * 8;
    if (p->maxrate_kbps > 0 && seconds > 0 && bits > 0)
        s->coarser += HALVING_STEPS * log2(bits / (seconds * p->maxrate_kbps * 1000));
    s->coarser = fmin(fmax(s->coarser, 0), QUALITY_MAX);
}

static int encoder_open(struct svtav1 *s, struct sl_failure *why)
{
    const struct hal_encode_params *p = &s->params;
    int rc = lavc_init(&s->lavc, "libsvtav1", p, why);
    if (rc < 0)
        return rc;
    AVCodecContext *c = s->lavc.codec;
    double quality = 2.5 * p->crf_tenths / 10 - 21.5 + s->coarser;
    char params[PARAMS_BYTES];
    int length = snprintf(params, sizeof params, "lp=%d", p->threads);
    hdr_params(&p->hdr, params + length, sizeof params - (size_t)length);
    c->gop_size = GOP_INFINITE;
    /* A word that this SVT-AV1 does not know is an error, not a warning. */
    c->err_recognition = AV_EF_EXPLODE;
    av_opt_set_int(c->priv_data, "crf", lrint(fmin(fmax(quality, QUALITY_MIN), QUALITY_MAX)), 0);
    av_opt_set_int(c->priv_data, "preset", speed_of(p->preset), 0);
    av_opt_set(c->priv_data, "svtav1-params", params, 0);
    s->lavc.packet_fix = packet_fix;
    s->spent = false;
    s->gop_bytes = 0;
    return lavc_open(&s->lavc, NULL, why);
}

/* SVT-AV1 settles its sequence header with the first picture, and what it gives before differs from that, while MP4
 * wants the same in av1C. So an encoder of the same parameters makes one grey picture: 0.2 s at 1080p and medium. */
static int header_learn(struct svtav1 *s, struct sl_failure *why)
{
    AVFrame *frame = s->lavc.frame;
    frame->format = s->lavc.codec->pix_fmt;
    frame->width = s->params.width;
    frame->height = s->params.height;
    frame->pts = 0;
    if (av_frame_get_buffer(frame, 0) < 0)
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    for (int i = 0; i < 3; i++)
        memset(frame->data[i], 2,
               (size_t)frame->linesize[i] * (size_t)(frame->height / (i ? 2 : 1)));
    s->lavc.borrowed = false;
    int rc = lavc_send(&s->lavc, why);
    if (rc == SL_OK)
        rc = lavc_drain(&s->lavc, why);
    s->spent = true;
    struct hal_packet packet;
    bool made = false;
    while (rc == SL_OK && lavc_receive(&s->lavc, &packet, why) == 1) {
        if (!made)
            rc = obu_extradata_make(&s->lavc, packet.data, packet.bytes, s->params.layout, why);
        made = true;
    }
    if (rc == SL_OK && !made)
        rc = sl_fail(why, SL_EENCODE, "libsvtav1 made nothing of a picture");
    return rc;
}

static int svtav1_open(void *state, const struct hal_device *device,
                       const struct hal_encode_params *p, struct sl_failure *why)
{
    struct svtav1 *s = state;
    (void)device;
    int rc = params_check(p, why);
    s->params = *p;
    if (rc == SL_OK)
        rc = encoder_open(s, why);
    return rc == SL_OK ? header_learn(s, why) : rc;
}

static int svtav1_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct svtav1 *s = state;
    int rc = SL_OK;
    if (in->force_idr && !s->spent) {
        rc = lavc_drain(&s->lavc, why);
        s->spent = true;
        rate_follow(s, in->pts);
    }
    if (rc == SL_OK && s->spent) {
        rc = encoder_open(s, why);
        s->gop_pts = in->pts;
    }
    return rc == SL_OK ? lavc_submit_borrowed(&s->lavc, in, why) : rc;
}

static int svtav1_flush(void *state, struct sl_failure *why)
{
    struct svtav1 *s = state;
    return s->spent ? SL_OK : lavc_flush(&s->lavc, why);
}

/* SVT-AV1 1.4 waits for ever when it is closed before it gave all it has. */
static void svtav1_close(void *state)
{
    struct svtav1 *s = state;
    AVCodecContext *c = s->lavc.codec;
    AVPacket *packet = c && avcodec_is_open(c) && !s->spent ? av_packet_alloc() : NULL;
    if (packet) {
        avcodec_send_frame(c, NULL);
        while (avcodec_receive_packet(c, packet) == 0)
            av_packet_unref(packet);
        av_packet_free(&packet);
    }
    lavc_close(&s->lavc);
    *s = (struct svtav1){0};
}

const struct hal_encode_ops svtav1_encode_ops = {
    .name = "svtav1",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct svtav1),
    .probe = svtav1_probe,
    .open = svtav1_open,
    .extradata = lavc_extradata,
    .submit = svtav1_submit,
    .receive = lavc_receive,
    .flush = svtav1_flush,
    .close = svtav1_close,
};
