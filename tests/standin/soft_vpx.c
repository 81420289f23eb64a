/* VP9 by libvpx in its real-time mode, for the stand-in VA devices. */
#include <stdlib.h>
#include <string.h>

#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#include "tests/standin/soft.h"

struct vp9 {
    struct soft_encoder base;
    vpx_codec_ctx_t vpx;
    vpx_codec_enc_cfg_t config;
    bool open;
    int64_t count;
};

static unsigned kilobits(int64_t bits)
{
    return bits > 1000 ? (unsigned)(bits / 1000) : 1;
}

/* Quality below a limit is a constant rate, the limit's, that never spends more than the quality asks for. */
static void rate_set(vpx_codec_enc_cfg_t *config, const struct soft_params *p)
{
    bool limited = p->maxrate > 0 && p->rate != SOFT_QP;
    config->rc_end_usage = p->rate == SOFT_BITRATE || limited ? VPX_CBR : VPX_Q;
    config->rc_target_bitrate =
        kilobits(p->rate == SOFT_BITRATE ? p->bitrate : (limited ? p->maxrate : 1000000000));
    config->rc_min_quantizer = p->rate == SOFT_QUALITY && limited ? (unsigned)p->quality : 0;
    config->rc_max_quantizer = 63;
    if (limited) {
        config->rc_buf_sz = (unsigned)(soft_buffer(p) * 1000 / p->maxrate);
        config->rc_buf_initial_sz = config->rc_buf_sz / 2;
        config->rc_buf_optimal_sz = config->rc_buf_sz / 2;
    }
}

static bool controls_set(struct vp9 *v)
{
    const struct {
        int control, value;
    } controls[] = {
        {VP8E_SET_CPUUSED, 8},
        {VP8E_SET_CQ_LEVEL, (int)v->base.params.quality},
        {VP8E_SET_ENABLEAUTOALTREF, 0},
        {VP9E_SET_AQ_MODE, 0},
    };
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        if (vpx_codec_control_(&v->vpx, controls[i].control, controls[i].value) != VPX_CODEC_OK)
            return false;
    return true;
}

static struct soft_encoder *open_vp9(const struct soft_params *p)
{
    struct vp9 *v = calloc(1, sizeof *v);
    vpx_codec_iface_t *iface = vpx_codec_vp9_cx();
    if (!v)
        return NULL;
    struct soft_encoder *encoder = &v->base;
    vpx_codec_enc_cfg_t *config = &v->config;
    v->base.ops = &soft_vpx;
    v->base.params = *p;
    bool good = vpx_codec_enc_config_default(iface, config, 0) == VPX_CODEC_OK;
    config->g_w = (unsigned)p->width;
    config->g_h = (unsigned)p->height;
    config->g_profile = p->ten_bit ? 2 : 0;
    config->g_bit_depth = p->ten_bit ? VPX_BITS_10 : VPX_BITS_8;
    config->g_input_bit_depth = p->ten_bit ? 10 : 8;
    config->g_timebase.num = p->fps_den;
    config->g_timebase.den = p->fps_num;
    config->g_threads = 1;
    config->g_lag_in_frames = 0;
    config->kf_mode = p->gop > 0 ? VPX_KF_AUTO : VPX_KF_DISABLED;
    config->kf_max_dist = p->gop > 0 ? (unsigned)p->gop : 9999;
    rate_set(config, p);
    v->open =
        good && vpx_codec_enc_init(&v->vpx, iface, config,
                                   p->ten_bit ? VPX_CODEC_USE_HIGHBITDEPTH : 0) == VPX_CODEC_OK;
    if (!v->open || !controls_set(v) || !soft_planes_make(&v->base))
        soft_close(&encoder);
    return encoder;
}

static bool encode_vp9(struct soft_encoder *base, const struct soft_picture *picture,
                       struct soft_packet *out)
{
    struct vp9 *v = (struct vp9 *)base;
    vpx_codec_iter_t iterator = NULL;
    const vpx_codec_cx_pkt_t *packet;
    vpx_image_t image;
    soft_planes_fill(base, picture);
    memset(&image, 0, sizeof image);
    vpx_img_wrap(&image, base->params.ten_bit ? VPX_IMG_FMT_I42016 : VPX_IMG_FMT_I420,
                 (unsigned)base->params.width, (unsigned)base->params.height, 1, base->planes[0]);
    for (int i = 0; i < 3; i++) {
        image.planes[i] = base->planes[i];
        image.stride[i] = (int)base->stride_bytes[i];
    }
    image.bit_depth = base->params.ten_bit ? 10 : 8;
    if (vpx_codec_encode(&v->vpx, &image, v->count++, 1,
                         picture->force_key ? VPX_EFLAG_FORCE_KF : 0,
                         VPX_DL_REALTIME) != VPX_CODEC_OK)
        return false;
    while ((packet = vpx_codec_get_cx_data(&v->vpx, &iterator)))
        if (packet->kind == VPX_CODEC_CX_FRAME_PKT) {
            *out = (struct soft_packet){
                .data = packet->data.frame.buf,
                .bytes = packet->data.frame.sz,
                .key = (packet->data.frame.flags & VPX_FRAME_IS_KEY) != 0,
            };
            return true;
        }
    return false;
}

static bool reconfigure_vp9(struct soft_encoder *base)
{
    struct vp9 *v = (struct vp9 *)base;
    rate_set(&v->config, &base->params);
    return vpx_codec_enc_config_set(&v->vpx, &v->config) == VPX_CODEC_OK && controls_set(v);
}

static void close_vp9(struct soft_encoder *base)
{
    struct vp9 *v = (struct vp9 *)base;
    if (v->open)
        vpx_codec_destroy(&v->vpx);
}

const struct soft_ops soft_vpx = {open_vp9, encode_vp9, reconfigure_vp9, close_vp9};
