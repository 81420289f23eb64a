/* H.264, H.265, VP9 and AV1 on VA-API devices, by libavcodec's *_vaapi, always on the HAL's own display.
 *
 * Quality:   a policy's crf is the quality of ICQ and QVBR, 1 to 51 for every codec, and as the QP of CQP what qp_of says.
 *            Without maxrate: ICQ where the driver has it, else CQP. With maxrate: QVBR where it has that, else VBR that
 *            aims at maxrate and never goes below the QP of the crf. A driver with neither says in its row that it cannot.
 * Presets:   the common words, spread over the driver's quality levels where it tells how many it has, and those levels
 *            themselves ("1" is the best).
 * Key frames come from force_idr alone.
 * Parameter sets are those in the stream: only some drivers take libavcodec's (packed headers), and some change them.
 * One throw-away picture of the same parameters tells them when a session opens, once per process; colour and sample
 * shape, which VA-API does not tell a driver, are written into them.
 * Pictures come as planes, which are copied into a surface each, or as surfaces of the device.
 */
#include "encoders/encoders.h"

#include <libavcodec/bsf.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/opt.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/nal.h"
#include "encoders/obu.h"
#include "gpu/gpu_va.h"
#include "gpu/gpu_va_upload.h"

/* Longer than any chunk; some drivers keep it in 16 bits. */
#define GOP_PICTURES    32768

/* A plan holds four frames of reordering; VA-API's B-frames are no references here, so they need one. */
#define BFRAMES_MAX     3
#define BFRAMES_DEFAULT 2

/* A range beyond this is no scale but a set of bits (AMD's drivers); their own default is taken. */
#define LEVELS_MAX      16

#define OPTIONS_BYTES   128
#define KEY_BYTES       320
#define EXTRADATA_KEPT  64
#define EXTRADATA_BYTES 512

#define EIGHT_BIT       (1u << HAL_NV12 | 1u << HAL_I420)
#define TEN_BIT         (1u << HAL_P010 | 1u << HAL_I420_10)

static const struct vaapi_codec {
    enum codec codec;
    const char *codec_name;
    enum AVCodecID id;
    const char *patch; /* the bitstream filter that rewrites parameter sets; NULL: they tell all */
    int32_t size_min;
    int32_t bframes_max;
    struct {
        const char *word; /* as policies name it */
        VAProfile profile;
        int av;
        uint32_t layouts;
    } profiles[4];
} codecs[] = {
    {CODEC_H264,
     "h264_vaapi",
     AV_CODEC_ID_H264,
     "h264_metadata",
     32,
     BFRAMES_MAX,
     {{"high", VAProfileH264High, FF_PROFILE_H264_HIGH, EIGHT_BIT},
      {"main", VAProfileH264Main, FF_PROFILE_H264_MAIN, EIGHT_BIT},
      {"baseline", VAProfileH264ConstrainedBaseline, FF_PROFILE_H264_CONSTRAINED_BASELINE,
       EIGHT_BIT}}},
    {CODEC_H265,
     "hevc_vaapi",
     AV_CODEC_ID_HEVC,
     "hevc_metadata",
     64,
     BFRAMES_MAX,
     {{"main", VAProfileHEVCMain, FF_PROFILE_HEVC_MAIN, EIGHT_BIT},
      {"main10", VAProfileHEVCMain10, FF_PROFILE_HEVC_MAIN_10, TEN_BIT}}},
    /* B-frames of these two would be pictures that are not shown, which libavcodec leaves to filters to pack. */
    {CODEC_AV1,
     "av1_vaapi",
     AV_CODEC_ID_AV1,
     NULL,
     64,
     0,
     {{"main", VAProfileAV1Profile0, FF_PROFILE_AV1_MAIN, EIGHT_BIT | TEN_BIT}}},
    {CODEC_VP9,
     "vp9_vaapi",
     AV_CODEC_ID_VP9,
     NULL,
     64,
     0,
     {{"0", VAProfileVP9Profile0, FF_PROFILE_VP9_0, EIGHT_BIT},
      {"2", VAProfileVP9Profile2, FF_PROFILE_VP9_2, TEN_BIT}}},
};

/* Parameter sets of one combination of parameters. */
struct kept {
    char key[KEY_BYTES];
    uint8_t sets[EXTRADATA_BYTES]; /* as they are in the stream, behind start codes */
    size_t set_bytes;
    uint8_t patched[EXTRADATA_BYTES]; /* the same with colour and sample shape */
    size_t patched_bytes;
};

static struct kept kept[EXTRADATA_KEPT];
static int kept_next;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

struct vaapi {
    struct lavc lavc; /* first: lavc's functions take the state */
    enum codec codec;
    VADisplay display;
    struct media_hdr hdr;
    AVBufferRef *frames; /* where surfaces for planes come from; NULL: the caller has its own */
    AVFrame *surface;
    bool any; /* picture was sent */
    struct kept kept;
};

static const struct vaapi_codec *codec_find(enum codec codec)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].codec == codec)
            return &codecs[i];
    return NULL;
}

static bool is_ten_bit(enum hal_layout layout)
{
    return layout == HAL_P010 || layout == HAL_I420_10;
}

/* ---- probing ---- */

/* ICQ and CQP hold a quality; QVBR and VBR do so below a rate. */
static uint32_t rates_of(uint32_t modes)
{
    uint32_t rates = 0;
    if (modes & (VA_RC_ICQ | VA_RC_CQP))
        rates |= HAL_RATE_QUALITY;
    if (modes & (VA_RC_QVBR | VA_RC_VBR))
        rates |= HAL_RATE_QUALITY_CAPPED;
    return rates;
}

static uint32_t layouts_of(uint32_t rt_formats)
{
    return (rt_formats & VA_RT_FORMAT_YUV420 ? EIGHT_BIT : 0) |
           (rt_formats & VA_RT_FORMAT_YUV420_10 ? TEN_BIT : 0);
}

static int row_put(struct hal_device *device, const struct vaapi_codec *of, VADisplay display)
{
    struct gpu_va_encode caps, best = {0};
    uint32_t layouts = 0;
    for (int i = 0; i < 4 && of->profiles[i].word; i++) {
        if (!gpu_va_encodes(display, of->profiles[i].profile, &caps))
            continue;
        if (!layouts)
            best = caps;
        layouts |= of->profiles[i].layouts & layouts_of(caps.rt_formats);
    }
    if (!layouts || !avcodec_find_encoder_by_name(of->codec_name))
        return SL_OK;
    struct hal_row *row = lavc_row_add(device, of->codec, "vaapi");
    if (!row)
        return SL_ELIMIT;
    row->layouts = layouts;
    row->width_min = row->height_min = of->size_min;
    row->width_max = best.width_max;
    row->height_max = best.height_max;
    row->bframes_max = best.refs_future > 0 ? of->bframes_max : 0;
    row->rate_control = rates_of(best.rate_modes);
    row->forced_idr = row->closed_gop = true;
    return SL_OK;
}

static int vaapi_probe(struct hal_device *device)
{
    AVBufferRef *context;
    struct sl_failure why = {0};
    int code = gpu_va_context(device->device_id, &context, &why);
    for (size_t i = 0; code == SL_OK && i < sizeof codecs / sizeof *codecs; i++)
        code = row_put(device, &codecs[i], gpu_va_display(context));
    return code;
}

/* ---- parameters ---- */

struct choice {
    const char *word;
    VAProfile profile;
    int av;
    struct gpu_va_encode caps;
};

static int profile_choose(const struct vaapi_codec *of, VADisplay display,
                          const struct hal_encode_params *p, struct choice *out,
                          struct sl_failure *why)
{
    char words[64] = "";
    for (int i = 0; i < 4 && of->profiles[i].word; i++) {
        size_t length = strlen(words);
        snprintf(words + length, sizeof words - length, "%s%s", i ? ", " : "",
                 of->profiles[i].word);
        if (p->profile[0] && strcmp(p->profile, of->profiles[i].word) != 0)
            continue;
        *out = (struct choice){
            .word = of->profiles[i].word,
            .profile = of->profiles[i].profile,
            .av = of->profiles[i].av,
        };
        bool there = gpu_va_encodes(display, out->profile, &out->caps);
        if (p->profile[0] && !there)
            return sl_fail(why, SL_EINVAL, "the driver of this VA-API device makes no %s %s",
                           codec_word(of->codec), p->profile);
        if (p->profile[0] && !(of->profiles[i].layouts & 1u << p->layout))
            return sl_fail(why, SL_EINVAL, "%s profile %s has no %d-bit pictures",
                           codec_word(of->codec), p->profile, is_ten_bit(p->layout) ? 10 : 8);
        if (there && of->profiles[i].layouts & 1u << p->layout)
            return SL_OK;
    }
    return sl_fail(why, SL_EINVAL, "vaapi has no %s profile \"%s\"; it has %s",
                   codec_word(of->codec), p->profile, words);
}

/* The driver's level for a preset, 0: its own choice; -1: there is no such preset. */
static int level_of(const char *preset, int32_t levels)
{
    bool scale = levels > 1 && levels <= LEVELS_MAX;
    int rank = lavc_preset_rank(preset);
    if (rank >= 0)
        return scale ? levels - (rank * (levels - 1) + 4) / (LAVC_PRESET_COUNT - 1) : 0;
    char *end;
    long own = strtol(preset, &end, 10);
    return *end == '\0' && scale && own >= 1 && own <= levels ? (int)own : -1;
}

static int preset_check(const struct hal_encode_params *p, int32_t levels, struct sl_failure *why)
{
    char own[48] = "";
    if (level_of(p->preset, levels) >= 0)
        return SL_OK;
    if (levels > 1 && levels <= LEVELS_MAX)
        snprintf(own, sizeof own, ", and this driver's own 1 to %d", levels);
    return sl_fail(why, SL_EINVAL,
                   "vaapi has no preset \"%s\"; it has ultrafast, superfast, veryfast, faster, "
                   "fast, medium, slow, slower, veryslow%s",
                   p->preset, own);
}

/* 0 would mean "none given". */
static int quality_of(const struct hal_encode_params *p)
{
    int quality = (p->crf_tenths + 5) / 10;
    return quality < 1 ? 1 : quality > 51 ? 51 : quality;
}

/* The quantiser that stands for the crf: H.264's and H.265's own scale, or 255 steps, of which the encoders' common scale
 * to 63 has every fourth (encoders/svtav1.c and vpx.c have the lines). */
static int qp_of(const struct hal_encode_params *p)
{
    if (p->codec == CODEC_H264 || p->codec == CODEC_H265)
        return quality_of(p);
    double crf = p->crf_tenths / 10.0;
    double q = 4 * (p->codec == CODEC_AV1 ? 2.5 * crf - 21.5 : 2.1 * crf - 19.5);
    return (int)fmin(fmax(q, 1), 255);
}

static void rate_set(AVCodecContext *c, const struct hal_encode_params *p,
                     const struct choice *choice, char out[OPTIONS_BYTES])
{
    uint32_t modes = choice->caps.rate_modes;
    const char *mode;
    c->global_quality = quality_of(p);
    if (p->maxrate_kbps == 0) {
        mode = modes & VA_RC_ICQ ? "ICQ" : "CQP";
        if (!(modes & VA_RC_ICQ))
            c->global_quality = qp_of(p);
    } else {
        mode = modes & VA_RC_QVBR ? "QVBR" : "VBR";
        c->bit_rate = c->rc_max_rate;
        if (!(modes & VA_RC_QVBR))
            c->qmin = qp_of(p);
    }
    snprintf(out, OPTIONS_BYTES, "rc_mode=%s:low_power=%d%s", mode,
             choice->caps.entrypoint == VAEntrypointEncSliceLP,
             /* An SEI message that names libavcodec and the driver says nothing to a player. */
             c->codec_id == AV_CODEC_ID_H264 ? ":sei=0" : "");
}

/* ---- sessions ---- */

static int session_start(struct vaapi *v, const struct vaapi_codec *of, AVBufferRef *context,
                         const struct hal_encode_params *p, const struct choice *choice,
                         struct sl_failure *why)
{
    char options[OPTIONS_BYTES];
    v->codec = p->codec;
    v->display = gpu_va_display(context);
    v->hdr = p->hdr;
    int rc = lavc_init(&v->lavc, of->codec_name, p, why);
    if (rc == SL_OK && !p->surfaces) {
        v->surface = av_frame_alloc();
        rc = v->surface ? gpu_va_pool_make(context, p->layout, p->width, p->height, &v->frames, why)
                        : sl_fail(why, SL_ENOMEM, "no memory for a frame");
    }
    if (rc < 0)
        return rc;
    AVCodecContext *c = v->lavc.codec;
    c->pix_fmt = AV_PIX_FMT_VAAPI;
    c->hw_frames_ctx = av_buffer_ref(p->surfaces ? p->surfaces : v->frames);
    if (!c->hw_frames_ctx)
        return sl_fail(why, SL_ENOMEM, "no memory for a session of %s", of->codec_name);
    c->flags &= ~AV_CODEC_FLAG_GLOBAL_HEADER;
    c->profile = choice->av;
    c->gop_size = GOP_PICTURES;
    c->compression_level = level_of(p->preset, choice->caps.quality_levels);
    if (p->bframes < 0)
        c->max_b_frames = choice->caps.refs_future > 0 && of->bframes_max > 0 ? BFRAMES_DEFAULT : 0;
    rate_set(c, p, choice, options);
    return lavc_open(&v->lavc, options, why);
}

static void vaapi_close(void *state)
{
    struct vaapi *v = state;
    lavc_close(&v->lavc);
    av_frame_free(&v->surface);
    av_buffer_unref(&v->frames);
}

/* libavcodec makes an I/O error of whatever a driver answers in mid-encode. It took the parameters, so the device is at
 * fault, even where it answers again by the time it is asked. */
static int error_classify(const struct lavc *lavc, int av)
{
    const struct vaapi *v = (const struct vaapi *)(const void *)lavc;
    return av == AVERROR(EIO) || !gpu_va_alive(v->display) ? SL_EDEVICELOST : 0;
}

/* Why an open failed: no room for another encoder, or parameters that the driver does not take. */
static int open_classify(const struct hal_device *device, VADisplay display,
                         const struct choice *choice, const struct hal_encode_params *p,
                         const struct sl_failure *opening, struct sl_failure *why)
{
    VAStatus status =
        gpu_va_encoder_try(display, choice->profile, &choice->caps, p->width, p->height);
    if (!gpu_va_alive(display))
        return sl_fail(why, SL_EDEVICELOST, "the VA-API device %s is gone: %.160s",
                       device->device_id, opening->message);
    if (status == VA_STATUS_ERROR_MAX_NUM_EXCEEDED || status == VA_STATUS_ERROR_ALLOCATION_FAILED)
        return sl_fail(why, SL_ESESSIONS, "%s takes no more encoders now: %s (%d)",
                       device->device_id, vaErrorStr(status), status);
    return sl_fail(why, opening->code, "%s", opening->message);
}

/* ---- pictures ---- */

/* What a picture of a PQ source says of its mastering; libavcodec writes it where the driver takes packed headers. */
static int hdr_put(struct vaapi *v, struct sl_failure *why)
{
    const struct media_hdr *hdr = &v->hdr;
    AVFrame *frame = v->lavc.frame;
    if (hdr->mastering) {
        AVMasteringDisplayMetadata *m = av_mastering_display_metadata_create_side_data(frame);
        if (!m)
            return sl_fail(why, SL_ENOMEM, "no memory for a frame");
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 2; j++)
                m->display_primaries[i][j] = (AVRational){hdr->primaries[i][j], 50000};
        for (int j = 0; j < 2; j++)
            m->white_point[j] = (AVRational){hdr->white[j], 50000};
        m->max_luminance = (AVRational){(int)hdr->luminance_max, 10000};
        m->min_luminance = (AVRational){(int)hdr->luminance_min, 10000};
        m->has_primaries = m->has_luminance = 1;
    }
    if (hdr->light) {
        AVContentLightMetadata *light = av_content_light_metadata_create_side_data(frame);
        if (!light)
            return sl_fail(why, SL_ENOMEM, "no memory for a frame");
        light->MaxCLL = (unsigned)hdr->light_max_nits;
        light->MaxFALL = (unsigned)hdr->light_average_nits;
    }
    return SL_OK;
}

static int vaapi_submit(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    struct vaapi *v = state;
    struct hal_frame view = *in;
    int rc = SL_OK;
    if (!in->surface) {
        rc = gpu_va_upload(v->frames, in, v->surface, why);
        view.surface = v->surface;
    }
    if (rc == SL_OK)
        rc = lavc_frame_surface(&v->lavc, &view, why);
    if (v->surface)
        av_frame_unref(v->surface);
    if (rc == SL_OK)
        rc = hdr_put(v, why);
    if (rc < 0) {
        av_frame_unref(v->lavc.frame);
        return rc;
    }
    v->any = true;
    return lavc_send(&v->lavc, why);
}

/* libavcodec's VA-API encoders look at their last picture at the end, and up to 7.1 also where there was none. */
static int vaapi_flush(void *state, struct sl_failure *why)
{
    struct vaapi *v = state;
    if (v->any)
        return lavc_flush(v, why);
    v->lavc.flushed = true;
    return SL_OK;
}

/* ---- parameter sets ---- */

/* The parameter sets of a packet: NAL units behind start codes, or AV1's sequence header. 0: there are none, or they do
 * not fit. */
static size_t sets_collect(const AVPacket *packet, enum codec codec, uint8_t out[EXTRADATA_BYTES])
{
    static const uint8_t start[] = {0, 0, 0, 1};
    const size_t bytes = (size_t)packet->size;
    struct nal nal;
    struct obu obu;
    size_t count = 0;
    if (codec == CODEC_AV1) {
        for (size_t at = 0; count == 0 && obu_next(packet->data, bytes, &at, &obu);)
            if (obu.type == OBU_SEQUENCE_HEADER && obu.bytes <= EXTRADATA_BYTES) {
                memcpy(out, obu.data, obu.bytes);
                count = obu.bytes;
            }
        return count;
    }
    for (size_t at = 0; nal_next(packet->data, bytes, NAL_START_CODES, &at, &nal);) {
        int type = nal_type(&nal, codec);
        bool set = codec == CODEC_H264 ? type == 7 || type == 8 : type >= 32 && type <= 34;
        if (!set)
            continue;
        if (sizeof start + nal.bytes > EXTRADATA_BYTES - count)
            return 0;
        memcpy(out + count, start, sizeof start);
        memcpy(out + count + sizeof start, nal.data, nal.bytes);
        count += sizeof start + nal.bytes;
    }
    return count;
}

static int packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    const struct vaapi *v = (const struct vaapi *)(const void *)lavc;
    uint8_t sets[EXTRADATA_BYTES];
    size_t count = 0;
    if (v->codec == CODEC_VP9)
        return SL_OK;
    if (packet->flags & AV_PKT_FLAG_KEY)
        count = sets_collect(packet, v->codec, sets);
    if (count > 0 && (count != v->kept.set_bytes || memcmp(sets, v->kept.sets, count) != 0))
        return sl_fail(why, SL_EENCODE, "%s: the driver changed its parameter sets within a stream",
                       lavc->codec_name);
    return v->codec == CODEC_AV1 ? obu_packet_fix(lavc, packet, why)
                                 : nal_packet_fix(lavc, packet, v->codec, NAL_START_CODES, why);
}

/* Colour and sample shape go into the sets by libavcodec's own filter. */
static int sets_patch(const struct vaapi_codec *of, const struct hal_encode_params *p,
                      struct kept *kept_sets, struct sl_failure *why)
{
    AVBSFContext *filter = NULL;
    if (!of->patch) {
        memcpy(kept_sets->patched, kept_sets->sets, kept_sets->set_bytes);
        kept_sets->patched_bytes = kept_sets->set_bytes;
        return SL_OK;
    }
    const AVBitStreamFilter *kind = av_bsf_get_by_name(of->patch);
    int rc = kind ? av_bsf_alloc(kind, &filter) : AVERROR_BSF_NOT_FOUND;
    if (rc >= 0) {
        filter->par_in->codec_id = of->id;
        filter->par_in->extradata = av_mallocz(kept_sets->set_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
        rc = filter->par_in->extradata ? 0 : AVERROR(ENOMEM);
    }
    if (rc >= 0) {
        memcpy(filter->par_in->extradata, kept_sets->sets, kept_sets->set_bytes);
        filter->par_in->extradata_size = (int)kept_sets->set_bytes;
        av_opt_set_int(filter->priv_data, "colour_primaries", p->color_primaries, 0);
        av_opt_set_int(filter->priv_data, "transfer_characteristics", p->color_transfer, 0);
        av_opt_set_int(filter->priv_data, "matrix_coefficients", p->color_matrix, 0);
        av_opt_set_int(filter->priv_data, "video_full_range_flag", p->full_range, 0);
        if (p->sar.num > 0 && p->sar.den > 0)
            av_opt_set_q(filter->priv_data, "sample_aspect_ratio",
                         (AVRational){p->sar.num, p->sar.den}, 0);
        rc = av_bsf_init(filter);
    }
    if (rc >= 0 && filter->par_out->extradata_size > EXTRADATA_BYTES)
        rc = AVERROR(ENOSPC);
    if (rc >= 0) {
        kept_sets->patched_bytes = (size_t)filter->par_out->extradata_size;
        memcpy(kept_sets->patched, filter->par_out->extradata, kept_sets->patched_bytes);
    }
    av_bsf_free(&filter);
    if (rc >= 0)
        return SL_OK;
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(rc, text, sizeof text);
    return sl_fail(why, SL_EENCODE, "the parameter sets of %s cannot be read: %s (%d)",
                   of->codec_name, text, rc);
}

/* Some drivers do not crop what they pad: a decoder tells the size that a player would see. */
static int size_check(const struct vaapi_codec *of, const struct hal_encode_params *p,
                      const AVPacket *packet, struct sl_failure *why)
{
    const AVCodec *kind = avcodec_find_decoder(of->id);
    if (!kind)
        return SL_OK;
    AVFrame *frame = av_frame_alloc();
    AVCodecContext *decoder = avcodec_alloc_context3(kind);
    int rc = AVERROR(ENOMEM);
    if (frame && decoder) {
        decoder->thread_count = 1;
        rc = avcodec_open2(decoder, NULL, NULL);
    }
    if (rc >= 0)
        rc = avcodec_send_packet(decoder, packet);
    if (rc >= 0)
        rc = avcodec_send_packet(decoder, NULL);
    if (rc >= 0)
        rc = avcodec_receive_frame(decoder, frame);
    int width = rc >= 0 ? frame->width : 0, height = rc >= 0 ? frame->height : 0;
    avcodec_free_context(&decoder);
    av_frame_free(&frame);
    if (rc < 0)
        return sl_fail(why, SL_EENCODE, "%s: the driver's first packet does not decode (%d)",
                       of->codec_name, rc);
    if (width != p->width || height != p->height)
        return sl_fail(why, SL_EENCODE,
                       "%s: this driver makes pictures of %dx%d where %dx%d are wanted; choose "
                       "another encoder for this rung, or a newer driver",
                       of->codec_name, width, height, p->width, p->height);
    return SL_OK;
}

/* Encodes one grey picture and keeps what sets came with it. */
static int sets_learn(const struct vaapi_codec *of, AVBufferRef *context,
                      const struct hal_encode_params *like, const struct choice *choice,
                      struct kept *out, struct sl_failure *why)
{
    struct vaapi v = {0};
    struct hal_encode_params p = *like;
    p.surfaces = NULL;
    p.layout = is_ten_bit(like->layout) ? HAL_P010 : HAL_NV12;
    size_t row_bytes = (size_t)p.width * (is_ten_bit(p.layout) ? 2 : 1);
    uint8_t *grey = malloc(row_bytes * (size_t)p.height);
    if (!grey)
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    memset(grey, 0x80, row_bytes * (size_t)p.height);
    const struct hal_frame frame = {
        .layout = p.layout,
        .width = p.width,
        .height = p.height,
        .planes = {grey, grey},
        .stride_bytes = {row_bytes, row_bytes},
        .force_idr = true,
    };
    struct hal_packet packet;
    int rc = session_start(&v, of, context, &p, choice, why);
    v.lavc.error_code = error_classify;
    if (rc == SL_OK)
        rc = vaapi_submit(&v, &frame, why);
    if (rc == SL_OK)
        rc = vaapi_flush(&v, why);
    int got = rc == SL_OK ? lavc_receive(&v, &packet, why) : rc;
    if (got > 0) {
        out->set_bytes = sets_collect(v.lavc.current, of->codec, out->sets);
        rc = size_check(of, &p, v.lavc.current, why);
    }
    vaapi_close(&v);
    free(grey);
    if (got < 0 || rc < 0)
        return got < 0 ? got : rc;
    if (out->set_bytes == 0)
        return sl_fail(why, SL_EENCODE, "%s: the driver's first packet has no parameter sets",
                       of->codec_name);
    return sets_patch(of, &p, out, why);
}

static void key_print(const struct hal_device *device, const struct hal_encode_params *p,
                      char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s %d %d %dx%d %d/%d %d/%d %d:%d %d %d %d %s %s %d %d %d %d %d %d",
             device->device_id, (int)p->codec, is_ten_bit(p->layout), p->width, p->height,
             p->time_base.num, p->time_base.den, p->frame_rate.num, p->frame_rate.den, p->sar.num,
             p->sar.den, p->crf_tenths, p->maxrate_kbps, p->bufsize_kbit, p->preset, p->profile,
             p->gop_frames, p->bframes, p->color_primaries, p->color_transfer, p->color_matrix,
             p->full_range);
}

/* The sets of these parameters, from an earlier session's or from a picture of their own. */
static int sets_get(const struct hal_device *device, const struct vaapi_codec *of,
                    AVBufferRef *context, const struct hal_encode_params *p,
                    const struct choice *choice, struct kept *out, struct sl_failure *why)
{
    char key[KEY_BYTES];
    bool found = false;
    if (of->codec == CODEC_VP9) /* every key frame tells all */
        return SL_OK;
    key_print(device, p, key);
    pthread_mutex_lock(&kept_lock);
    for (int i = 0; i < EXTRADATA_KEPT && !found; i++)
        if (strcmp(kept[i].key, key) == 0) {
            *out = kept[i];
            found = true;
        }
    pthread_mutex_unlock(&kept_lock);
    if (found)
        return SL_OK;
    int rc = sets_learn(of, context, p, choice, out, why);
    if (rc < 0)
        return rc;
    memcpy(out->key, key, sizeof key);
    pthread_mutex_lock(&kept_lock);
    kept[kept_next] = *out;
    kept_next = (kept_next + 1) % EXTRADATA_KEPT;
    pthread_mutex_unlock(&kept_lock);
    return SL_OK;
}

/* ---- the back end ---- */

static int vaapi_open(void *state, const struct hal_device *device,
                      const struct hal_encode_params *p, struct sl_failure *why)
{
    struct vaapi *v = state;
    const struct vaapi_codec *of = codec_find(p->codec);
    AVBufferRef *context = NULL;
    struct choice choice;
    struct sl_failure opening = {0};
    if (!of)
        return sl_fail(why, SL_ENOENCODER, "vaapi makes no %s", codec_word(p->codec));
    int rc = gpu_va_context(device->device_id, &context, why);
    if (rc == SL_OK)
        rc = profile_choose(of, gpu_va_display(context), p, &choice, why);
    if (rc == SL_OK)
        rc = preset_check(p, choice.caps.quality_levels, why);
    if (rc < 0)
        return rc;
    rc = sets_get(device, of, context, p, &choice, &v->kept, &opening);
    if (rc == SL_OK)
        rc = session_start(v, of, context, p, &choice, &opening);
    if (rc < 0)
        return open_classify(device, gpu_va_display(context), &choice, p, &opening, why);
    v->lavc.packet_fix = packet_fix;
    v->lavc.error_code = error_classify;
    if (p->codec == CODEC_VP9)
        return SL_OK;
    if (p->codec == CODEC_AV1)
        return obu_extradata_make(&v->lavc, v->kept.patched, v->kept.patched_bytes, p->layout, why);
    return nal_extradata_make(&v->lavc, p->codec, v->kept.patched, v->kept.patched_bytes,
                              NAL_START_CODES, why);
}

const struct hal_encode_ops vaapi_encode_ops = {
    .name = "vaapi",
    .kind = DEVICE_VAAPI,
    .session_bytes = sizeof(struct vaapi),
    .probe = vaapi_probe,
    .open = vaapi_open,
    .extradata = lavc_extradata,
    .submit = vaapi_submit,
    .receive = lavc_receive,
    .flush = vaapi_flush,
    .close = vaapi_close,
};
