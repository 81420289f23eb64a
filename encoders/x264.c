/* H.264 on the CPU, by libavcodec's "libx264".
 *
 * Key frames come from force_idr alone: the GOP is infinite and its minimum as large, so that a scene
 * cut becomes a plain I frame. Parameter sets depend on nothing but the parameters, so that every chunk
 * of a rung has the same ones.
 */
#include "encoders/encoders.h"

#include <libavutil/opt.h>
#include <string.h>

#include "encoders/nal.h"

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
    struct lavc lavc; /* first: lavc's functions take the state */
    bool first_i;     /* the next picture is the session's first and lacks the I-to-P ratio */
};

static bool is_listed(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

static int x264_probe(struct hal_device *device)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec)
        return SL_OK;
    struct hal_row *row = lavc_row_add(device, CODEC_H264, "x264");
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

/* x264 tells its version and options in an SEI of its own on the first picture of every session: some
 * 700 bytes a chunk that say nothing to a player. */
static int options_sei_drop(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    (void)lavc;
    (void)why;
    static const uint8_t uuid[16] = {0xdc, 0x45, 0xe9, 0xbd, 0xe6, 0xd9, 0x48, 0xb7,
                                     0x96, 0x2c, 0xd8, 0x20, 0xd9, 0x23, 0xee, 0xef};
    size_t bytes = (size_t)packet->size;
    const uint8_t *d = packet->data;
    if (bytes < 4)
        return SL_OK;
    size_t length = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3];
    if (length < 24 || length + 4 >= bytes || (d[4] & 31) != 6 || d[5] != 5)
        return SL_OK;
    size_t at = 6;
    while (at < 4 + length && d[at] == 0xff)
        at++;
    at++;
    if (at + sizeof uuid <= 4 + length && memcmp(d + at, uuid, sizeof uuid) == 0) {
        packet->data += 4 + length;
        packet->size -= (int)(4 + length);
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
    rc = lavc_init(&x->lavc, "libx264", p, why);
    if (rc < 0)
        return rc;
    AVCodecContext *c = x->lavc.codec;
    c->gop_size = GOP_INFINITE;
    c->keyint_min = GOP_INFINITE / 2;
    av_opt_set(c->priv_data, "preset", p->preset[0] ? p->preset : "medium", 0);
    if (p->profile[0])
        av_opt_set(c->priv_data, "profile", p->profile, 0);
    av_opt_set_double(c->priv_data, "crf", p->crf_tenths / 10.0, 0);
    av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
    av_opt_set(c->priv_data, "x264-params", "annexb=0:open-gop=0:scenecut=" SCENECUT, 0);
    x->lavc.packet_fix = options_sei_drop;
    rc = lavc_open(&x->lavc, NULL, why);
    if (rc < 0)
        return rc;
    /* The two fastest presets have no MB-tree, and there the first picture is like the others. */
    x->first_i = strcmp(p->preset, "ultrafast") != 0 && strcmp(p->preset, "superfast") != 0;
    const uint8_t *sets = c->extradata;
    size_t bytes = (size_t)c->extradata_size;
    if (bytes > 6 && sets[0] == 1) /* FFmpeg 6.1 and later make avcC themselves */
        return lavc_extradata_set(&x->lavc, sets, bytes, why);
    return nal_extradata_make(&x->lavc, CODEC_H264, sets, bytes, NAL_LENGTHS, why);
}

static int x264_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct x264 *x = state;
    int rc = lavc_frame_borrow(&x->lavc, in, why);
    if (rc == SL_OK && x->first_i)
        rc = lavc_frame_quality(&x->lavc, FIRST_I_QP, why);
    if (rc < 0)
        return rc;
    x->first_i = false;
    return lavc_send(&x->lavc, why);
}

const struct hal_encode_ops x264_encode_ops = {
    .name = "x264",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct x264),
    .probe = x264_probe,
    .open = x264_open,
    .extradata = lavc_extradata,
    .submit = x264_submit,
    .receive = lavc_receive,
    .flush = lavc_flush,
    .close = lavc_close,
};
