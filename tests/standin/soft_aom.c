/* AV1 by libaom in its real-time mode, for the stand-in devices. */
#include <stdlib.h>
#include <string.h>

#include <aom/aom_encoder.h>
#include <aom/aomcx.h>

#include "tests/standin/soft.h"

struct av1 {
    struct soft_encoder base;
    aom_codec_ctx_t aom;
    aom_codec_enc_cfg_t config;
    bool open;
    int64_t count;
    uint8_t *packet;
    size_t packet_room;
};

static unsigned kilobits(int64_t bits)
{
    return bits > 1000 ? (unsigned)(bits / 1000) : 1;
}

/* Quality below a limit is a constant rate, the limit's, that never spends more than the quality asks for. */
static void rate_set(aom_codec_enc_cfg_t *config, const struct soft_params *p)
{
    bool limited = p->maxrate > 0 && p->rate != SOFT_QP;
    config->rc_end_usage = p->rate == SOFT_BITRATE || limited ? AOM_CBR : AOM_Q;
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

static struct soft_encoder *open_av1(const struct soft_params *p)
{
    struct av1 *a = calloc(1, sizeof *a);
    aom_codec_iface_t *iface = aom_codec_av1_cx();
    if (!a)
        return NULL;
    struct soft_encoder *encoder = &a->base;
    aom_codec_enc_cfg_t *config = &a->config;
    a->base.ops = &soft_aom;
    a->base.params = *p;
    bool good = aom_codec_enc_config_default(iface, config, AOM_USAGE_REALTIME) == AOM_CODEC_OK;
    config->g_w = (unsigned)p->width;
    config->g_h = (unsigned)p->height;
    config->g_timebase.num = p->fps_den;
    config->g_timebase.den = p->fps_num;
    config->g_threads = 1;
    config->g_lag_in_frames = 0;
    config->g_bit_depth = p->ten_bit ? AOM_BITS_10 : AOM_BITS_8;
    config->g_input_bit_depth = p->ten_bit ? 10 : 8;
    config->kf_mode = p->gop > 0 ? AOM_KF_AUTO : AOM_KF_DISABLED;
    config->kf_min_dist = 0;
    config->kf_max_dist = p->gop > 0 ? (unsigned)p->gop : 9999;
    rate_set(config, p);
    good = good && aom_codec_enc_init(&a->aom, iface, config,
                                      p->ten_bit ? AOM_CODEC_USE_HIGHBITDEPTH : 0) == AOM_CODEC_OK;
    a->open = good;
    good = good && aom_codec_control(&a->aom, AOME_SET_CPUUSED, 9) == AOM_CODEC_OK &&
           aom_codec_control(&a->aom, AOME_SET_CQ_LEVEL, (unsigned)p->quality) == AOM_CODEC_OK &&
           aom_codec_control(&a->aom, AV1E_SET_AQ_MODE, 0) == AOM_CODEC_OK;
    if (good && p->colour_told) {
        aom_codec_control(&a->aom, AV1E_SET_COLOR_PRIMARIES, p->primaries);
        aom_codec_control(&a->aom, AV1E_SET_TRANSFER_CHARACTERISTICS, p->transfer);
        aom_codec_control(&a->aom, AV1E_SET_MATRIX_COEFFICIENTS, p->matrix);
        aom_codec_control(&a->aom, AV1E_SET_COLOR_RANGE, (int)p->full_range);
    }
    if (good) {
        aom_fixed_buf_t *header = aom_codec_get_global_headers(&a->aom);
        good = header && soft_header_add(&a->base, header->buf, header->sz);
        if (header) {
            free(header->buf);
            free(header);
        }
    }
    if (!good || !soft_planes_make(&a->base))
        soft_close(&encoder);
    return encoder;
}

static bool packet_add(struct av1 *a, size_t at, const void *data, size_t bytes)
{
    if (at + bytes > a->packet_room) {
        uint8_t *more = realloc(a->packet, at + bytes);
        if (!more)
            return false;
        a->packet = more;
        a->packet_room = at + bytes;
    }
    memcpy(a->packet + at, data, bytes);
    return true;
}

static bool encode_av1(struct soft_encoder *base, const struct soft_picture *picture,
                       struct soft_packet *out)
{
    struct av1 *a = (struct av1 *)base;
    aom_codec_iter_t iterator = NULL;
    const aom_codec_cx_pkt_t *packet;
    aom_image_t image;
    size_t bytes = 0;
    bool key = false;
    soft_planes_fill(base, picture);
    memset(&image, 0, sizeof image);
    aom_img_wrap(&image, base->params.ten_bit ? AOM_IMG_FMT_I42016 : AOM_IMG_FMT_I420,
                 (unsigned)base->params.width, (unsigned)base->params.height, 1, base->planes[0]);
    for (int i = 0; i < 3; i++) {
        image.planes[i] = base->planes[i];
        image.stride[i] = (int)base->stride_bytes[i];
    }
    image.bit_depth = base->params.ten_bit ? 10 : 8;
    if (aom_codec_encode(&a->aom, &image, a->count++, 1,
                         picture->force_key ? AOM_EFLAG_FORCE_KF : 0) != AOM_CODEC_OK)
        return false;
    while ((packet = aom_codec_get_cx_data(&a->aom, &iterator)))
        if (packet->kind == AOM_CODEC_CX_FRAME_PKT) {
            if (!packet_add(a, bytes, packet->data.frame.buf, packet->data.frame.sz))
                return false;
            bytes += packet->data.frame.sz;
            key |= (packet->data.frame.flags & AOM_FRAME_IS_KEY) != 0;
        }
    int qp = 0;
    aom_codec_control(&a->aom, AOME_GET_LAST_QUANTIZER, &qp);
    *out = (struct soft_packet){a->packet, bytes, key, qp};
    return bytes > 0;
}

static bool reconfigure_av1(struct soft_encoder *base)
{
    struct av1 *a = (struct av1 *)base;
    rate_set(&a->config, &base->params);
    return aom_codec_enc_config_set(&a->aom, &a->config) == AOM_CODEC_OK &&
           aom_codec_control(&a->aom, AOME_SET_CQ_LEVEL, (unsigned)base->params.quality) ==
               AOM_CODEC_OK;
}

static void close_av1(struct soft_encoder *base)
{
    struct av1 *a = (struct av1 *)base;
    if (a->open)
        aom_codec_destroy(&a->aom);
    free(a->packet);
}

const struct soft_ops soft_aom = {open_av1, encode_av1, reconfigure_av1, close_av1};
