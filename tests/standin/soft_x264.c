/* H.264 by x264, for the stand-in devices. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <x264.h>

#include "tests/standin/soft.h"

struct h264 {
    struct soft_encoder base;
    x264_t *x264;
    x264_param_t param;
};

static int kilobits(int64_t bits)
{
    return bits > 1000 ? (int)(bits / 1000) : 1;
}

static void rate_set(x264_param_t *param, const struct soft_params *p)
{
    param->rc.i_rc_method = p->rate == SOFT_QP        ? X264_RC_CQP
                            : p->rate == SOFT_BITRATE ? X264_RC_ABR
                                                      : X264_RC_CRF;
    param->rc.i_qp_constant = (int)p->quality;
    param->rc.f_rf_constant = (float)p->quality;
    param->rc.i_bitrate = p->rate == SOFT_BITRATE ? kilobits(p->bitrate) : 0;
    bool limited = p->maxrate > 0 && p->rate != SOFT_QP;
    param->rc.i_vbv_max_bitrate = limited ? kilobits(p->maxrate) : 0;
    param->rc.i_vbv_buffer_size = limited ? kilobits(soft_buffer(p)) : 0;
}

static struct soft_encoder *open_h264(const struct soft_params *p)
{
    struct h264 *h = calloc(1, sizeof *h);
    x264_param_t *param;
    x264_nal_t *nals;
    int count;
    if (!h)
        return NULL;
    h->base.ops = &soft_x264;
    h->base.params = *p;
    param = &h->param;
    x264_param_default_preset(param, "ultrafast", "zerolatency");
    param->i_log_level = X264_LOG_NONE;
    param->i_threads = 1;
    param->b_sliced_threads = 0;
    param->i_width = p->width;
    param->i_height = p->height;
    param->i_bitdepth = 8;
    param->i_csp = X264_CSP_I420;
    param->i_fps_num = (uint32_t)p->fps_num;
    param->i_fps_den = (uint32_t)p->fps_den;
    param->b_vfr_input = 0;
    param->i_keyint_max = p->gop > 0 ? p->gop : X264_KEYINT_MAX_INFINITE;
    param->i_scenecut_threshold = 0;
    param->b_repeat_headers = p->in_band;
    param->b_annexb = 1;
    param->b_aud = p->delimiters;
    param->b_cabac = !p->baseline;
    param->analyse.b_transform_8x8 = !p->baseline && !p->main_only;
    if (p->level)
        param->i_level_idc = p->level;
    param->vui.i_sar_width = p->sar_num;
    param->vui.i_sar_height = p->sar_den;
    if (p->colour_told) {
        param->vui.i_colorprim = p->primaries;
        param->vui.i_transfer = p->transfer;
        param->vui.i_colmatrix = p->matrix;
        param->vui.b_fullrange = p->full_range;
    }
    rate_set(param, p);
    h->x264 = x264_encoder_open(param);
    bool good =
        h->x264 && soft_planes_make(&h->base) && x264_encoder_headers(h->x264, &nals, &count) >= 0;
    for (int i = 0; good && i < count; i++)
        if (nals[i].i_type == NAL_SPS || nals[i].i_type == NAL_PPS)
            good = soft_header_add(&h->base, nals[i].p_payload, (size_t)nals[i].i_payload);
    struct soft_encoder *encoder = &h->base;
    if (!good)
        soft_close(&encoder);
    return encoder;
}

static bool encode_h264(struct soft_encoder *base, const struct soft_picture *picture,
                        struct soft_packet *out)
{
    struct h264 *h = (struct h264 *)base;
    x264_picture_t in, made;
    x264_nal_t *nals;
    int count;
    x264_picture_init(&in);
    soft_planes_fill(base, picture);
    in.img.i_csp = X264_CSP_I420;
    in.img.i_plane = 3;
    for (int i = 0; i < 3; i++) {
        in.img.plane[i] = base->planes[i];
        in.img.i_stride[i] = (int)base->stride_bytes[i];
    }
    in.i_pts = picture->pts;
    in.i_type = picture->force_key ? X264_TYPE_IDR : X264_TYPE_AUTO;
    int bytes = x264_encoder_encode(h->x264, &nals, &count, &in, &made);
    if (bytes <= 0)
        return false;
    /* The payloads of one picture follow each other. */
    *out =
        (struct soft_packet){nals[0].p_payload, (size_t)bytes, made.b_keyframe, made.i_qpplus1 - 1};
    return true;
}

static bool reconfigure_h264(struct soft_encoder *base)
{
    struct h264 *h = (struct h264 *)base;
    rate_set(&h->param, &base->params);
    return x264_encoder_reconfig(h->x264, &h->param) == 0;
}

static void close_h264(struct soft_encoder *base)
{
    struct h264 *h = (struct h264 *)base;
    if (h->x264)
        x264_encoder_close(h->x264);
}

const struct soft_ops soft_x264 = {open_h264, encode_h264, reconfigure_h264, close_h264};
