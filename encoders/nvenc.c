/* H.264, H.265 and AV1 on NVIDIA's encode engines, by libavcodec's *_nvenc, always in the HAL's own CUDA context.
 *
 * Quality:   constant quality (CQ) under variable rate, capped by maxrate. In this mode the driver takes no bufsize: it
 *            holds maxrate over its own window.
 * Presets:   the common words and p1 … p7; preset_find says what each has.
 * Key frames come from force_idr alone: the GOP is infinite, scene cuts make no key frames.
 * Failures:  what an open that fails means is asked of the driver (gpu/gpu_nvenc_probe.h), because libavcodec answers
 *            a full GPU, an old driver and a wrong parameter with the same numbers.
 */
#include "encoders/encoders.h"

#include <libavutil/hwcontext.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "encoders/nal.h"
#include "encoders/obu.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_nvenc_probe.h"

#define GOP_INFINITE       (1 << 30)

/* A plan holds four frames of reordering: three B-frames with the middle one as reference need two. */
#define BFRAMES_MAX        3

/* Between two tries an own probe saw a free session: another worker's probe or close came between. */
#define OPEN_TRIES         4
#define OPEN_WAIT_US       30000

#define OPTIONS_BYTES      320
#define NV_ENC_RC_VBR_MODE 2u /* of rate_modes */

struct nvenc_codec {
    enum codec codec;
    const char *codec_name;
    const char *profiles[3];
    /* CQ for the policy's crf: CQ counts like crf, but at the same number NVENC spends more bits than x264 and x265 at
     * medium, for about the same picture; and AV1's scale is a longer one, to 63. So many steps more make up for that
     * (published comparisons at the middle of the scale; a farm's own taste belongs into the policy's crf). */
    int32_t cq_offset_tenths;
};

static const struct nvenc_codec codecs[] = {
    {CODEC_H264, "h264_nvenc", {"baseline", "main", "high"}, 30},
    {CODEC_H265, "hevc_nvenc", {"main", "main10"}, 20},
    {CODEC_AV1, "av1_nvenc", {"main"}, 70},
};

#define CQ_TENTHS_MAX 510

/* What a preset has; each is also limited to what the GPU can do. */
struct preset {
    const char *word; /* NVENC's own */
    int32_t bframes;
    int32_t lookahead;
    const char *multipass;
    bool temporal_aq;
};

static const struct preset presets[] = {
    {"p1", 0, 0, "disabled", false}, {"p2", 2, 0, "disabled", false},
    {"p3", 3, 8, "disabled", false}, {"p4", 3, 16, "disabled", true},
    {"p5", 3, 20, "qres", true},     {"p6", 3, 24, "qres", true},
    {"p7", 3, 32, "fullres", true},
};

/* From ultrafast to veryslow. */
static const int8_t preset_ranks[LAVC_PRESET_COUNT] = {0, 0, 1, 2, 3, 4, 5, 6, 6};

struct nvenc {
    struct lavc lavc; /* first: lavc's functions take the state */
    enum codec codec;
    char device_id[DEVICE_ID_BYTES];
};

static const struct nvenc_codec *codec_find(enum codec codec)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].codec == codec)
            return &codecs[i];
    return NULL;
}

static const struct preset *preset_find(const char *word)
{
    int rank = lavc_preset_rank(word);
    if (rank >= 0)
        return &presets[preset_ranks[rank]];
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].word, word) == 0)
            return &presets[i];
    return NULL;
}

/* ---- probing ---- */

static int row_put(struct hal_device *device, const struct nvenc_codec *of,
                   const struct gpu_nvenc_codec *cap)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(of->codec_name);
    if (!codec || !cap->present)
        return SL_OK;
    struct hal_row *row = lavc_row_add(device, of->codec, "nvenc");
    if (!row)
        return SL_ELIMIT;
    uint32_t layouts = 1u << HAL_NV12 | 1u << HAL_I420;
    if (cap->ten_bit && of->codec != CODEC_H264)
        layouts |= 1u << HAL_P010;
    row->layouts = lavc_layouts(codec) & layouts;
    row->width_min = cap->width_min > 16 ? cap->width_min : 16;
    row->height_min = cap->height_min > 16 ? cap->height_min : 16;
    row->width_max = cap->width_max;
    row->height_max = cap->height_max;
    row->bframes_max = cap->bframes_max < BFRAMES_MAX ? cap->bframes_max : BFRAMES_MAX;
    if (cap->rate_modes & NV_ENC_RC_VBR_MODE)
        row->rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED;
    row->forced_idr = row->closed_gop = true;
    row->lookahead = cap->lookahead;
    return SL_OK;
}

/* What the driver says of its encoders stands beside its version: a sentence up to what would help. */
static void note(struct hal_device *device, const char *text, size_t bytes)
{
    size_t length = strlen(device->driver);
    snprintf(device->driver + length, sizeof device->driver - length, ", %.*s", (int)bytes, text);
}

static int nvenc_probe(struct hal_device *device)
{
    struct gpu_nvenc_caps caps;
    struct sl_failure why = {0};
    int code = gpu_nvenc_caps(device->device_id, &caps, &why);
    for (int i = 1; i < OPEN_TRIES && code == SL_ESESSIONS; i++) {
        usleep(OPEN_WAIT_US);
        code = gpu_nvenc_caps(device->device_id, &caps, &why);
    }
    if (code != SL_OK) {
        /* The device stays, for decoding and for kernels. */
        note(device, why.message, strcspn(why.message, "(;"));
        if (sl_error_class(code) == SL_CLASS_CAPACITY)
            return code;
        snprintf(device->note, sizeof device->note, "it encodes nothing: %s", why.message);
        return SL_OK;
    }
    char version[32];
    note(device, version,
         (size_t)snprintf(version, sizeof version, "NVENC %d.%d", caps.api_major, caps.api_minor));
    for (size_t i = 0; code == SL_OK && i < sizeof codecs / sizeof *codecs; i++)
        code = row_put(device, &codecs[i], &caps.codecs[codecs[i].codec]);
    return code;
}

/* ---- opening ---- */

static bool is_ten_bit(const struct hal_encode_params *p)
{
    return p->layout == HAL_P010 || p->layout == HAL_I420_10;
}

static int params_check(const struct nvenc_codec *of, const struct hal_encode_params *p,
                        struct sl_failure *why)
{
    bool known = !p->profile[0];
    for (size_t i = 0; i < 3 && of->profiles[i]; i++)
        known |= strcmp(of->profiles[i], p->profile) == 0;
    if (!preset_find(p->preset))
        return sl_fail(why, SL_EINVAL,
                       "nvenc has no preset \"%s\"; it has p1 to p7 and ultrafast, superfast, "
                       "veryfast, faster, fast, medium, slow, slower, veryslow",
                       p->preset);
    if (!known)
        return sl_fail(why, SL_EINVAL, "nvenc has no %s profile \"%s\"; it has %s%s%s%s%s",
                       codec_word(of->codec), p->profile, of->profiles[0],
                       of->profiles[1] ? ", " : "", of->profiles[1] ? of->profiles[1] : "",
                       of->profiles[2] ? ", " : "", of->profiles[2] ? of->profiles[2] : "");
    if (of->codec == CODEC_H265 && p->profile[0] &&
        is_ten_bit(p) != (strcmp(p->profile, "main10") == 0))
        return sl_fail(why, SL_EINVAL, "H.265 profile %s has no %d-bit pictures", p->profile,
                       is_ten_bit(p) ? 10 : 8);
    return SL_OK;
}

static void options_print(const struct nvenc_codec *of, const struct gpu_nvenc_codec *cap,
                          const struct hal_encode_params *p, AVCodecContext *c,
                          char out[OPTIONS_BYTES])
{
    const struct preset *preset = preset_find(p->preset);
    int32_t bframes = p->bframes >= 0 ? p->bframes : preset->bframes;
    if (bframes > cap->bframes_max)
        bframes = cap->bframes_max;
    if (strcmp(p->profile, "baseline") == 0)
        bframes = 0;
    int32_t cq = p->crf_tenths + of->cq_offset_tenths;
    if (cq > CQ_TENTHS_MAX)
        cq = CQ_TENTHS_MAX;
    c->max_b_frames = bframes;
    c->gop_size = GOP_INFINITE;
    int n = snprintf(out, OPTIONS_BYTES,
                     "preset=%s:tune=hq:rc=vbr:cq=%d.%d:multipass=%s:forced-idr=1:no-scenecut=1:"
                     "spatial-aq=1:temporal-aq=%d:b_ref_mode=%s",
                     preset->word, cq / 10, cq % 10, preset->multipass,
                     preset->temporal_aq && cap->temporal_aq,
                     bframes > 1 && cap->b_middle ? "middle" : "disabled");
    if (cap->lookahead && preset->lookahead > 0)
        n += snprintf(out + n, (size_t)(OPTIONS_BYTES - n), ":rc-lookahead=%d", preset->lookahead);
    if (p->profile[0])
        snprintf(out + n, (size_t)(OPTIONS_BYTES - n), ":profile=%s", p->profile);
}

/* One try; what it leaves is for nvenc_close. */
static int session_try(struct nvenc *n, const struct nvenc_codec *of,
                       const struct gpu_nvenc_codec *cap, AVBufferRef *context,
                       const struct hal_encode_params *p, struct sl_failure *why)
{
    char options[OPTIONS_BYTES];
    int rc = lavc_init(&n->lavc, of->codec_name, p, why);
    if (rc < 0)
        return rc;
    AVCodecContext *c = n->lavc.codec;
    options_print(of, cap, p, c, options);
    if (p->surfaces) {
        c->sw_pix_fmt = c->pix_fmt;
        c->pix_fmt = AV_PIX_FMT_CUDA;
        c->hw_frames_ctx = av_buffer_ref(p->surfaces);
    } else {
        c->hw_device_ctx = av_buffer_ref(context);
    }
    if (!c->hw_frames_ctx && !c->hw_device_ctx)
        return sl_fail(why, SL_ENOMEM, "no memory for a session of %s", of->codec_name);
    return lavc_open(&n->lavc, options, why);
}

/* An open that failed: 0 where another try is worth it. */
static int failure_classify(const struct nvenc *n, int tries, const struct sl_failure *opening,
                            struct sl_failure *why)
{
    struct sl_failure seen = {0};
    int code = gpu_nvenc_probe(n->device_id, NULL, &seen);
    if (code != SL_OK)
        return sl_fail(why, code, "%s", seen.message);
    if (tries < OPEN_TRIES)
        return SL_OK;
    return sl_fail(why, SL_EINVAL,
                   "%.120s; the GPU opens sessions, so it does not take these parameters",
                   opening->message);
}

static int session_open(struct nvenc *n, const struct nvenc_codec *of,
                        const struct gpu_nvenc_codec *cap, AVBufferRef *context,
                        const struct hal_encode_params *p, struct sl_failure *why)
{
    for (int tries = 1;; tries++) {
        struct sl_failure opening = {0};
        int rc = session_try(n, of, cap, context, p, &opening);
        if (rc == SL_OK)
            return SL_OK;
        lavc_close(&n->lavc);
        rc = failure_classify(n, tries, &opening, why);
        if (rc < 0)
            return rc;
        usleep(OPEN_WAIT_US);
    }
}

/* What an error in mid-encode means. libavcodec makes an I/O error of NV_ENC_ERR_DEVICE_NOT_EXIST; a GPU that was reset may
 * be there again when it is asked. */
static int error_classify(const struct lavc *lavc, int av)
{
    const struct nvenc *n = (const struct nvenc *)(const void *)lavc;
    struct sl_failure seen = {0};
    int code = gpu_nvenc_probe(n->device_id, NULL, &seen);
    if (code == SL_EDEVICELOST)
        sl_warn(NULL, "device %s: %s", n->device_id, seen.message);
    if (code == SL_EDEVICELOST || av == AVERROR(EIO))
        return SL_EDEVICELOST;
    return code == SL_ENOMEM ? code : 0;
}

static int packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    const struct nvenc *n = (const struct nvenc *)(const void *)lavc;
    if (n->codec == CODEC_AV1)
        return obu_packet_fix(lavc, packet, why);
    return nal_packet_fix(lavc, packet, n->codec, NAL_START_CODES, why);
}

/* The row has what hal checks; B references and AQ are asked for again, with the session's own limits. */
static int nvenc_open(void *state, const struct hal_device *device,
                      const struct hal_encode_params *p, struct sl_failure *why)
{
    struct nvenc *n = state;
    const struct nvenc_codec *of = codec_find(p->codec);
    AVBufferRef *context = NULL;
    struct gpu_nvenc_caps caps;
    if (!of)
        return sl_fail(why, SL_ENOENCODER, "nvenc makes no %s", codec_word(p->codec));
    n->codec = p->codec;
    snprintf(n->device_id, sizeof n->device_id, "%s", device->device_id);
    int rc = params_check(of, p, why);
    if (rc == SL_OK)
        rc = gpu_context(device->device_id, &context, why);
    if (rc == SL_OK)
        rc = gpu_nvenc_caps(device->device_id, &caps, why);
    if (rc == SL_OK)
        rc = session_open(n, of, &caps.codecs[p->codec], context, p, why);
    if (rc < 0)
        return rc;
    n->lavc.packet_fix = packet_fix;
    n->lavc.error_code = error_classify;
    const AVCodecContext *c = n->lavc.codec;
    const size_t bytes = (size_t)c->extradata_size;
    if (p->codec == CODEC_AV1)
        return obu_extradata_make(&n->lavc, c->extradata, bytes, p->layout, why);
    return nal_extradata_make(&n->lavc, p->codec, c->extradata, bytes, NAL_START_CODES, why);
}

static int nvenc_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct nvenc *n = state;
    int rc =
        in->surface ? lavc_frame_surface(&n->lavc, in, why) : lavc_frame_borrow(&n->lavc, in, why);
    return rc < 0 ? rc : lavc_send(&n->lavc, why);
}

/* A session serves one run of pictures: a flush leaves the engine's rate control as the pictures before have made it, and a chunk's bytes would
 * depend on the one before. The context, which is what takes long to open, stays. */
const struct hal_encode_ops nvenc_encode_ops = {
    .name = "nvenc",
    .kind = DEVICE_NVENC,
    .session_bytes = sizeof(struct nvenc),
    .probe = nvenc_probe,
    .open = nvenc_open,
    .extradata = lavc_extradata,
    .submit = nvenc_submit,
    .receive = lavc_receive,
    .flush = lavc_flush,
    .close = lavc_close,
};
