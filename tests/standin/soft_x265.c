/* H.265 by x265, for the stand-in devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <x265.h>

#include "tests/standin/soft.h"

struct h265 {
    struct soft_encoder base;
    const x265_api *api; /* of the depth */
    x265_encoder *x265;
    x265_param *param;
    x265_picture *in;
    uint8_t *packet;
    size_t packet_room;
};

static int kilobits(int64_t bits)
{
    return bits > 1000 ? (int)(bits / 1000) : 1;
}

static void rate_set(x265_param *param, const struct soft_params *p)
{
    param->rc.rateControlMode = p->rate == SOFT_QP        ? X265_RC_CQP
                                : p->rate == SOFT_BITRATE ? X265_RC_ABR
                                                          : X265_RC_CRF;
    param->rc.qp = (int)p->quality;
    param->rc.rfConstant = p->quality;
    param->rc.bitrate = p->rate == SOFT_BITRATE ? kilobits(p->bitrate) : 0;
    bool limited = p->maxrate > 0 && p->rate != SOFT_QP;
    param->rc.vbvMaxBitrate = limited ? kilobits(p->maxrate) : 0;
    param->rc.vbvBufferSize = limited ? kilobits(soft_buffer(p)) : 0;
}

static struct soft_encoder *open_h265(const struct soft_params *p)
{
    struct h265 *h = calloc(1, sizeof *h);
    x265_nal *nals;
    uint32_t count;
    if (!h)
        return NULL;
    struct soft_encoder *encoder = &h->base;
    h->base.ops = &soft_x265;
    h->base.params = *p;
    h->api = x265_api_get(p->ten_bit ? 10 : 8);
    x265_param *param = h->param = h->api ? h->api->param_alloc() : NULL;
    if (!param || h->api->param_default_preset(param, "ultrafast", "zerolatency") < 0) {
        soft_close(&encoder);
        return NULL;
    }
    param->logLevel = X265_LOG_NONE;
    param->sourceWidth = p->width;
    param->sourceHeight = p->height;
    param->internalCsp = X265_CSP_I420;
    param->fpsNum = (uint32_t)p->fps_num;
    param->fpsDenom = (uint32_t)p->fps_den;
    param->frameNumThreads = 1;
    param->bEnableWavefront = 0;
    h->api->param_parse(param, "pools", "none");
    param->keyframeMax = p->gop > 0 ? p->gop : -1;
    param->keyframeMin = 1;
    param->bOpenGOP = 0;
    param->scenecutThreshold = 0;
    param->bRepeatHeaders = p->in_band;
    param->bAnnexB = 1;
    param->bEmitInfoSEI = 0;
    param->bEnableAccessUnitDelimiters = p->delimiters;
    param->levelIdc = p->level;
    if (p->sar_num > 0 && p->sar_den > 0) {
        char text[32];
        snprintf(text, sizeof text, "%d:%d", p->sar_num, p->sar_den);
        h->api->param_parse(param, "sar", text);
    }
    if (p->colour_told) {
        param->vui.bEnableVideoSignalTypePresentFlag = 1;
        param->vui.bEnableColorDescriptionPresentFlag = 1;
        param->vui.bEnableVideoFullRangeFlag = p->full_range;
        param->vui.colorPrimaries = p->primaries;
        param->vui.transferCharacteristics = p->transfer;
        param->vui.matrixCoeffs = p->matrix;
    }
    rate_set(param, p);
    h->x265 = h->api->encoder_open(param);
    h->in = h->api->picture_alloc();
    bool good = h->x265 && h->in && soft_planes_make(&h->base) &&
                h->api->encoder_headers(h->x265, &nals, &count) >= 0;
    for (uint32_t i = 0; good && i < count; i++)
        if (nals[i].type >= NAL_UNIT_VPS && nals[i].type <= NAL_UNIT_PPS)
            good = soft_header_add(&h->base, nals[i].payload, nals[i].sizeBytes);
    if (!good)
        soft_close(&encoder);
    return encoder;
}

static bool packet_keep(struct h265 *h, const x265_nal *nals, uint32_t count, size_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        *bytes += nals[i].sizeBytes;
    if (*bytes > h->packet_room) {
        uint8_t *more = realloc(h->packet, *bytes);
        if (!more)
            return false;
        h->packet = more;
        h->packet_room = *bytes;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(h->packet + at, nals[i].payload, nals[i].sizeBytes);
        at += nals[i].sizeBytes;
    }
    return *bytes > 0;
}

static bool encode_h265(struct soft_encoder *base, const struct soft_picture *picture,
                        struct soft_packet *out)
{
    struct h265 *h = (struct h265 *)base;
    x265_picture made;
    x265_nal *nals = NULL;
    uint32_t count = 0;
    size_t bytes;
    memset(&made, 0, sizeof made);
    h->api->picture_init(h->param, h->in);
    h->api->picture_init(h->param, &made);
    soft_planes_fill(base, picture);
    for (int i = 0; i < 3; i++) {
        h->in->planes[i] = base->planes[i];
        h->in->stride[i] = (int)base->stride_bytes[i];
    }
    h->in->bitDepth = base->params.ten_bit ? 10 : 8;
    h->in->colorSpace = X265_CSP_I420;
    h->in->pts = picture->pts;
    h->in->sliceType = picture->force_key ? X265_TYPE_IDR : X265_TYPE_AUTO;
    if (h->api->encoder_encode(h->x265, &nals, &count, h->in, &made) < 1 ||
        !packet_keep(h, nals, count, &bytes))
        return false;
    *out = (struct soft_packet){h->packet, bytes, made.sliceType == X265_TYPE_IDR,
                                (int)made.frameData.qp};
    return true;
}

static bool reconfigure_h265(struct soft_encoder *base)
{
    struct h265 *h = (struct h265 *)base;
    rate_set(h->param, &base->params);
    return h->api->encoder_reconfig(h->x265, h->param) >= 0;
}

static void close_h265(struct soft_encoder *base)
{
    struct h265 *h = (struct h265 *)base;
    if (h->x265)
        h->api->encoder_close(h->x265);
    if (h->in)
        h->api->picture_free(h->in);
    if (h->param)
        h->api->param_free(h->param);
    free(h->packet);
}

const struct soft_ops soft_x265 = {open_h265, encode_h265, reconfigure_h265, close_h265};
