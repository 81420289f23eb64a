/* VP9 on the CPU, by libvpx itself: libavcodec's wrapper cannot change the quality of a session, and libvpx's own
 * limited modes take half as many bytes again for the same picture as constant quality does.
 *
 * Quality:  libvpx counts from 0 to 63. A policy's crf is x264's, and q = 2.1 crf - 19.5 gave its SSIM: measured over
 *           four scenes (live action and animation, 640x360, crf 18 to 33), the line's mean is within 2 of it.
 * Rates:    the decoder's buffer is followed here, and below three fifths of it pictures become coarser.
 * Presets:  the common words and libvpx's own numbers (cpu-used), see speeds; from 6 up its realtime mode.
 * Key frames come from force_idr alone. One pass has no use for pictures to come (0 and 25 of them gave the same
 * bytes), so a picture comes out as it goes in: no reordering, no delay, and decode times are presentation times.
 * Threads:  with one, all work is done in the caller's.
 */
#include "encoders/encoders.h"

#include <math.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#include "encoders/lavc.h"

#define QUALITY_MAX  63
#define SPEED_MAX    8
#define SPEED_REAL   6 /* from here on realtime */

/* As in x265.c: no chunk is as long. */
#define GOP_INFINITE 10000000

/* Of the buffer: where pictures begin to become coarser, and where they are as coarse as can be. */
#define BUFFER_EASY  0.6
#define BUFFER_SHORT 0.1
#define BUFFER_START 0.9 /* as x264 has it */

/* Of the common words, from ultrafast on. */
static const int speeds[LAVC_PRESET_COUNT] = {8, 6, 5, 4, 3, 2, 1, 0, 0};

struct vpx {
    struct lavc lavc; /* first: lavc's queue of packets, and nothing else of it */
    vpx_codec_ctx_t codec;
    bool open;
    vpx_image_t image; /* of the caller's planes */
    struct hal_encode_params params;
    unsigned long deadline;
    int quality;       /* the policy's */
    int quality_now;   /* what the codec was told last */
    double room_bits;  /* in the decoder's buffer */
    double level_bits; /* what is in it */
    bool any;          /* picture came; the last one's time */
    int64_t last_pts;
};

static int vpx_probe(struct hal_device *device)
{
    struct hal_row *row = lavc_row_add(device, CODEC_VP9, "vpx");
    if (!row)
        return SL_ELIMIT;
    row->layouts = 1u << HAL_I420;
    if (vpx_codec_get_caps(vpx_codec_vp9_cx()) & VPX_CODEC_CAP_HIGHBITDEPTH)
        row->layouts |= 1u << HAL_I420_10;
    row->width_min = row->height_min = 16;
    row->width_max = row->height_max = 8192;
    row->rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED;
    row->forced_idr = row->closed_gop = true;
    return SL_OK;
}

static int speed_of(const char *preset)
{
    int rank = lavc_preset_rank(preset);
    if (rank >= 0)
        return speeds[rank];
    bool digit = preset[0] >= '0' && preset[0] <= '0' + SPEED_MAX && !preset[1];
    return digit ? preset[0] - '0' : -1;
}

static int params_check(const struct hal_encode_params *p, struct sl_failure *why)
{
    if (speed_of(p->preset) < 0)
        return sl_fail(why, SL_EINVAL,
                       "vpx has no preset \"%s\"; it has ultrafast, superfast, veryfast, faster, "
                       "fast, medium, slow, slower, veryslow, and libvpx's own 0 to %d",
                       p->preset, SPEED_MAX);
    const char *fits = p->layout == HAL_I420_10 ? "2" : "0";
    if (p->profile[0] && strcmp(p->profile, fits) != 0)
        return sl_fail(why, SL_EINVAL,
                       "VP9 has profile %s for pictures of %d bits, not \"%s\"; leave the profile "
                       "out of the policy",
                       fits, p->layout == HAL_I420_10 ? 10 : 8, p->profile);
    return SL_OK;
}

static int fail_vpx(struct vpx *v, struct sl_failure *why, vpx_codec_err_t rc, const char *what)
{
    const char *detail = v->open ? vpx_codec_error_detail(&v->codec) : NULL;
    return sl_fail(why, rc == VPX_CODEC_MEM_ERROR ? SL_ENOMEM : SL_EENCODE,
                   "libvpx: %s: %s%s%s (%d)", what, vpx_codec_err_to_string(rc), detail ? ": " : "",
                   detail ? detail : "", (int)rc);
}

/* Of ITU-T H.273; VP9 knows fewer. */
static int color_space(int32_t matrix)
{
    switch (matrix) {
    case 1:
        return VPX_CS_BT_709;
    case 5:
    case 6:
        return VPX_CS_BT_601;
    case 7:
        return VPX_CS_SMPTE_240;
    case 9:
        return VPX_CS_BT_2020;
    default:
        return VPX_CS_UNKNOWN;
    }
}

static int vpx_open(void *state, const struct hal_device *device, const struct hal_encode_params *p,
                    struct sl_failure *why)
{
    struct vpx *v = state;
    (void)device;
    int rc = params_check(p, why);
    if (rc < 0)
        return rc;
    bool deep = p->layout == HAL_I420_10;
    int speed = speed_of(p->preset);
    v->lavc.codec_name = "libvpx";
    v->params = *p;
    v->deadline = speed >= SPEED_REAL ? VPX_DL_REALTIME : VPX_DL_GOOD_QUALITY;
    v->quality = (int)lrint(fmin(fmax(2.1 * p->crf_tenths / 10 - 19.5, 0), QUALITY_MAX));
    v->quality_now = v->quality;
    v->room_bits = p->bufsize_kbit * 1000.0;
    v->level_bits = v->room_bits * BUFFER_START;

    vpx_codec_enc_cfg_t cfg;
    vpx_codec_err_t vpx = vpx_codec_enc_config_default(vpx_codec_vp9_cx(), &cfg, 0);
    if (vpx != VPX_CODEC_OK)
        return fail_vpx(v, why, vpx, "there are no defaults");
    cfg.g_w = (unsigned)p->width;
    cfg.g_h = (unsigned)p->height;
    cfg.g_profile = deep ? 2 : 0;
    cfg.g_bit_depth = deep ? VPX_BITS_10 : VPX_BITS_8;
    cfg.g_input_bit_depth = deep ? 10 : 8;
    cfg.g_threads = (unsigned)p->threads;
    cfg.g_timebase.num = p->time_base.num;
    cfg.g_timebase.den = p->time_base.den;
    cfg.g_lag_in_frames = 0;
    cfg.rc_end_usage = VPX_Q;
    cfg.rc_min_quantizer = 0;
    cfg.rc_max_quantizer = QUALITY_MAX;
    cfg.kf_mode = VPX_KF_DISABLED;
    cfg.kf_max_dist = GOP_INFINITE;
    vpx = vpx_codec_enc_init(&v->codec, vpx_codec_vp9_cx(), &cfg,
                             deep ? VPX_CODEC_USE_HIGHBITDEPTH : 0);
    if (vpx != VPX_CODEC_OK)
        return fail_vpx(v, why, vpx, "cannot open an encoder");
    v->open = true;
    const struct {
        int control, value;
    } controls[] = {
        {VP8E_SET_CPUUSED, speed},
        {VP8E_SET_CQ_LEVEL, v->quality},
        {VP8E_SET_ENABLEAUTOALTREF, 0},
        {VP9E_SET_FRAME_PARALLEL_DECODING, 0},
        {VP9E_SET_ROW_MT, p->threads > 1},
        {VP9E_SET_COLOR_SPACE, color_space(p->color_matrix)},
        {VP9E_SET_COLOR_RANGE, p->full_range ? VPX_CR_FULL_RANGE : VPX_CR_STUDIO_RANGE},
    };
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        vpx = vpx_codec_control_(&v->codec, controls[i].control, controls[i].value);
        if (vpx != VPX_CODEC_OK)
            return fail_vpx(v, why, vpx, "a setting was refused");
    }
    if (!vpx_img_wrap(&v->image, deep ? VPX_IMG_FMT_I42016 : VPX_IMG_FMT_I420, cfg.g_w, cfg.g_h, 1,
                      (unsigned char *)v))
        return sl_fail(why, SL_EENCODE, "libvpx takes no picture of %dx%d", p->width, p->height);
    v->image.bit_depth = deep ? 10 : 8;
    return SL_OK;
}

/* ---- the decoder's buffer ---- */

static void buffer_fill(struct vpx *v, int64_t pts)
{
    const struct hal_encode_params *p = &v->params;
    double seconds = (double)(pts - v->last_pts) * p->time_base.num / p->time_base.den;
    v->level_bits = fmin(v->level_bits + seconds * p->maxrate_kbps * 1000, v->room_bits);
}

/* The policy's while the buffer has enough, and from there on in a straight line to the coarsest. */
static int buffer_quality(const struct vpx *v)
{
    if (v->room_bits <= 0)
        return v->quality;
    double full = v->level_bits / v->room_bits;
    double need = (BUFFER_EASY - full) / (BUFFER_EASY - BUFFER_SHORT);
    return v->quality + (int)lrint((QUALITY_MAX - v->quality) * fmin(fmax(need, 0), 1));
}

/* ---- pictures ---- */

static int packets_take(struct vpx *v, int64_t pts, struct sl_failure *why)
{
    vpx_codec_iter_t at = NULL;
    const vpx_codec_cx_pkt_t *from;
    while ((from = vpx_codec_get_cx_data(&v->codec, &at))) {
        if (from->kind != VPX_CODEC_CX_FRAME_PKT)
            continue;
        AVPacket *packet = av_packet_alloc();
        if (!packet || from->data.frame.sz > INT32_MAX / 2 ||
            av_new_packet(packet, (int)from->data.frame.sz) < 0) {
            av_packet_free(&packet);
            return sl_fail(why, SL_ENOMEM, "no memory for a packet of %zu bytes",
                           from->data.frame.sz);
        }
        memcpy(packet->data, from->data.frame.buf, from->data.frame.sz);
        packet->pts = packet->dts = pts;
        if (from->data.frame.flags & VPX_FRAME_IS_KEY)
            packet->flags |= AV_PKT_FLAG_KEY;
        v->level_bits -= (double)from->data.frame.sz * 8;
        int rc = lavc_packet_push(&v->lavc, packet, why);
        if (rc < 0)
            return rc;
    }
    return SL_OK;
}

static int vpx_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct vpx *v = state;
    if (v->any)
        buffer_fill(v, in->pts);
    v->any = true;
    v->last_pts = in->pts;
    for (int i = 0; i < 3; i++) {
        v->image.planes[i] = (unsigned char *)(uintptr_t)in->planes[i];
        v->image.stride[i] = (int)in->stride_bytes[i];
    }
    vpx_codec_err_t vpx = VPX_CODEC_OK;
    int quality = buffer_quality(v);
    if (quality != v->quality_now)
        vpx = vpx_codec_control(&v->codec, VP8E_SET_CQ_LEVEL, (unsigned)quality);
    v->quality_now = quality;
    if (vpx == VPX_CODEC_OK)
        vpx = vpx_codec_encode(&v->codec, &v->image, in->pts, 1,
                               in->force_idr ? VPX_EFLAG_FORCE_KF : 0, v->deadline);
    if (vpx != VPX_CODEC_OK)
        return fail_vpx(v, why, vpx, "a frame was refused");
    return packets_take(v, in->pts, why);
}

/* Nothing is held back. */
static int vpx_flush(void *state, struct sl_failure *why)
{
    (void)state;
    (void)why;
    return SL_OK;
}

static void vpx_close(void *state)
{
    struct vpx *v = state;
    if (v->open)
        vpx_codec_destroy(&v->codec);
    lavc_close(&v->lavc);
    *v = (struct vpx){0};
}

const struct hal_encode_ops vpx_encode_ops = {
    .name = "vpx",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct vpx),
    .probe = vpx_probe,
    .open = vpx_open,
    .extradata = lavc_extradata,
    .submit = vpx_submit,
    .receive = lavc_receive,
    .flush = vpx_flush,
    .close = vpx_close,
};
