/* H.265 on the CPU, by libavcodec's "libx265".
 *
 * Quality:  a policy's crf is x265's own.
 * Presets:  x265's own words, which are the common ones and placebo.
 * Key frames come from force_idr alone, as in x264.c. Parameter sets are in hvcC only (hvc1); what an HDR source says
 * of its mastering is in SEI messages of every IDR.
 * Threads:  x265 encodes in one thread beside the caller's, which prepares the next picture meanwhile; with more, as
 * many share the rows of each picture.
 */
#include "encoders/encoders.h"

#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>

#include "encoders/nal.h"

/* Ten times what any chunk holds; x265 counts the distance of key frames in an int and multiplies it. */
#define GOP_INFINITE 10000000

/* As in x264.c, whose scene cut x265 has. */
#define SCENECUT     160

/* The first picture of a session lacks the I-to-P ratio, for the reason told in x264.c: it is 8 to 16 % smaller, and
 * worse, than the same one inside a longer encode. So many steps of the quantiser even that out, measured over four
 * scenes of 48 pictures, each three times in a row. */
#define FIRST_I_QP   (-1.75)

#define PARAMS_BYTES 512

static const char *const profiles[] = {"main", "main10"};

struct x265 {
    struct lavc lavc; /* first: lavc's functions take the state */
    bool offsets;     /* quantisers can be offset: the preset has adaptive quantisation */
    bool any;         /* picture was sent */
};

static int x265_probe(struct hal_device *device)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx265");
    if (!codec)
        return SL_OK;
    struct hal_row *row = lavc_row_add(device, CODEC_H265, "x265");
    if (!row)
        return SL_ELIMIT;
    row->layouts = lavc_layouts(codec) & (1u << HAL_I420 | 1u << HAL_I420_10);
    row->width_min = row->height_min = 16;
    /* Level 6.2 ends near 8192x4352; portrait counts as well. */
    row->width_max = row->height_max = 8192;
    row->bframes_max = 16;
    row->rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED;
    row->forced_idr = row->closed_gop = row->lookahead = true;
    return SL_OK;
}

static int params_check(const struct hal_encode_params *p, struct sl_failure *why)
{
    if (lavc_preset_rank(p->preset) < 0 && strcmp(p->preset, "placebo") != 0)
        return sl_fail(why, SL_EINVAL,
                       "x265 has no preset \"%s\"; it has ultrafast, superfast, veryfast, faster, "
                       "fast, medium, slow, slower, veryslow, placebo",
                       p->preset);
    if (p->profile[0] && strcmp(p->profile, profiles[0]) != 0 &&
        strcmp(p->profile, profiles[1]) != 0)
        return sl_fail(why, SL_EINVAL, "x265 has no profile \"%s\"; it has main, main10",
                       p->profile);
    if (strcmp(p->profile, profiles[0]) == 0 && p->layout == HAL_I420_10)
        return sl_fail(why, SL_EINVAL, "H.265 profile main has no 10-bit pictures; main10 has");
    if (strcmp(p->profile, profiles[1]) == 0 && p->layout == HAL_I420)
        return sl_fail(why, SL_EINVAL,
                       "x265 makes profile main10 of 10-bit pictures, and these have 8 bits");
    if (p->crf_tenths > 510)
        return sl_fail(why, SL_EINVAL, "quality %d.%d is outside x265's 0 to 51",
                       p->crf_tenths / 10, p->crf_tenths % 10);
    return SL_OK;
}

static int packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    return nal_packet_fix(lavc, packet, CODEC_H265, NAL_LENGTHS, why);
}

/* x265 repeats the SEI messages with the parameter sets, and those packet_fix leaves out again. */
static size_t hdr_params(const struct media_hdr *hdr, char *out, size_t room)
{
    int length = 0;
    const int32_t(*p)[2] = hdr->primaries;
    if (hdr->mastering)
        length =
            snprintf(out, room,
                     ":repeat-headers=1:master-display="
                     "G(%d,%d)B(%d,%d)R(%d,%d)WP(%d,%d)L(%lld,%lld)",
                     p[1][0], p[1][1], p[2][0], p[2][1], p[0][0], p[0][1], hdr->white[0],
                     hdr->white[1], (long long)hdr->luminance_max, (long long)hdr->luminance_min);
    if (hdr->light)
        length += snprintf(out + length, room - (size_t)length, ":repeat-headers=1:max-cll=%d,%d",
                           hdr->light_max_nits, hdr->light_average_nits);
    return (size_t)length;
}

static int x265_open(void *state, const struct hal_device *device,
                     const struct hal_encode_params *p, struct sl_failure *why)
{
    struct x265 *x = state;
    struct lavc *lavc = &x->lavc;
    (void)device;
    int rc = params_check(p, why);
    if (rc == SL_OK)
        rc = lavc_init(lavc, "libx265", p, why);
    if (rc < 0)
        return rc;
    AVCodecContext *c = lavc->codec;
    /* No info: an SEI message of options says nothing to a player. */
    char params[PARAMS_BYTES];
    int length = snprintf(params, sizeof params,
                          "annexb=0:info=0:log-level=error:open-gop=0:keyint=%d:min-keyint=%d:"
                          "scenecut=%d:frame-threads=1",
                          GOP_INFINITE, GOP_INFINITE / 2, SCENECUT);
    if (p->threads == 1)
        length += snprintf(params + length, sizeof params - (size_t)length, ":pools=none:wpp=0");
    else
        length += snprintf(params + length, sizeof params - (size_t)length, ":pools=%d:wpp=1",
                           p->threads);
    hdr_params(&p->hdr, params + length, sizeof params - (size_t)length);
    av_opt_set(c->priv_data, "preset", p->preset[0] ? p->preset : "medium", 0);
    if (p->profile[0])
        av_opt_set(c->priv_data, "profile", p->profile, 0);
    av_opt_set_double(c->priv_data, "crf", p->crf_tenths / 10.0, 0);
    av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
    av_opt_set(c->priv_data, "x265-params", params, 0);
    lavc->packet_fix = packet_fix;
    rc = lavc_open(lavc, NULL, why);
    if (rc < 0)
        return rc;
    x->offsets = strcmp(p->preset, "ultrafast") != 0 && strcmp(p->preset, "superfast") != 0;
    return nal_extradata_make(lavc, CODEC_H265, c->extradata, (size_t)c->extradata_size,
                              NAL_LENGTHS, why);
}

static int x265_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct x265 *x = state;
    int rc = lavc_frame_borrow(&x->lavc, in, why);
    /* x265 uses the memory of pictures again with the offsets of those it held before: each brings its own. */
    if (rc == SL_OK && x->offsets)
        rc = lavc_frame_quality(&x->lavc, x->any ? 0 : FIRST_I_QP, why);
    if (rc < 0)
        return rc;
    x->any = true;
    return lavc_send(&x->lavc, why);
}

const struct hal_encode_ops x265_encode_ops = {
    .name = "x265",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct x265),
    .probe = x265_probe,
    .open = x265_open,
    .extradata = lavc_extradata,
    .submit = x265_submit,
    .receive = lavc_receive,
    .flush = lavc_flush,
    .close = lavc_close,
};
