#include "media/media_limits.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct limits limits;
static bool is_set;

void media_limits_set(const struct limits *from)
{
    limits = *from;
    is_set = true;
}

static void limits_init(void)
{
    if (!is_set)
        limits_default(&limits);
}

const struct limits *media_limits(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, limits_init);
    return &limits;
}

/* ---- limits ---- */

int media_limit_streams(unsigned found, struct sl_failure *why)
{
    int64_t most = media_limits()->streams;
    if (found <= most)
        return SL_OK;
    return sl_fail(why, SL_ETOOBIG, "the file has %u streams; limits.streams allows %lld", found,
                   (long long)most);
}

int media_limit_picture(int64_t width, int64_t height, struct sl_failure *why)
{
    const struct limits *most = media_limits();
    if (width > most->width)
        return sl_fail(why, SL_ETOOBIG,
                       "the picture is %lldx%lld; limits.width allows a width of %lld",
                       (long long)width, (long long)height, (long long)most->width);
    if (height > most->height)
        return sl_fail(why, SL_ETOOBIG,
                       "the picture is %lldx%lld; limits.height allows a height of %lld",
                       (long long)width, (long long)height, (long long)most->height);
    if (width * height > most->pixels)
        return sl_fail(why, SL_ETOOBIG,
                       "the picture is %lldx%lld, which is %lld pixels; limits.pixels allows %lld",
                       (long long)width, (long long)height, (long long)(width * height),
                       (long long)most->pixels);
    return SL_OK;
}

int media_limit_packets(size_t found, struct sl_failure *why)
{
    int64_t most = media_limits()->packets;
    if (found <= (size_t)most)
        return SL_OK;
    return sl_fail(why, SL_ETOOBIG,
                   "the file has more than the %lld packets that limits.packets "
                   "allows",
                   (long long)most);
}

int media_limit_frames(size_t found, struct sl_failure *why)
{
    int64_t most = media_limits()->frames;
    if (found <= (size_t)most)
        return SL_OK;
    return sl_fail(why, SL_ETOOBIG,
                   "the video has more than the %lld frames that limits.frames allows",
                   (long long)most);
}

int media_limit_duration(int64_t found_ns, struct sl_failure *why)
{
    int64_t most_ns = media_limits()->duration;
    if (found_ns <= most_ns)
        return SL_OK;
    return sl_fail(why, SL_ETOOBIG, "the video lasts %.1f s; limits.duration allows %.1f s",
                   (double)found_ns / 1e9, (double)most_ns / 1e9);
}

/* ---- codecs ---- */

/* What cameras, phones, screen recorders and editors write. None of these opens anything but its packets. */
static const enum AVCodecID codecs[] = {
    AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_VP9, AV_CODEC_ID_AV1, AV_CODEC_ID_VP8,
    AV_CODEC_ID_MPEG4, AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_MPEG1VIDEO, AV_CODEC_ID_H263,
    AV_CODEC_ID_H263P, AV_CODEC_ID_H263I, AV_CODEC_ID_FLV1, AV_CODEC_ID_VP6, AV_CODEC_ID_VP6F,
    AV_CODEC_ID_VP6A, AV_CODEC_ID_MSMPEG4V1, AV_CODEC_ID_MSMPEG4V2, AV_CODEC_ID_MSMPEG4V3,
    AV_CODEC_ID_WMV1, AV_CODEC_ID_WMV2, AV_CODEC_ID_WMV3, AV_CODEC_ID_VC1, AV_CODEC_ID_THEORA,
    AV_CODEC_ID_MJPEG, AV_CODEC_ID_PRORES, AV_CODEC_ID_DNXHD, AV_CODEC_ID_CFHD, AV_CODEC_ID_FFV1,
    AV_CODEC_ID_HUFFYUV, AV_CODEC_ID_FFVHUFF, AV_CODEC_ID_UTVIDEO, AV_CODEC_ID_DVVIDEO,
    AV_CODEC_ID_RAWVIDEO, AV_CODEC_ID_V210, AV_CODEC_ID_PNG, AV_CODEC_ID_QTRLE, AV_CODEC_ID_CINEPAK,
    /* sound */
    AV_CODEC_ID_AAC, AV_CODEC_ID_AAC_LATM, AV_CODEC_ID_MP3, AV_CODEC_ID_MP2, AV_CODEC_ID_MP1,
    AV_CODEC_ID_AC3, AV_CODEC_ID_EAC3, AV_CODEC_ID_DTS, AV_CODEC_ID_TRUEHD, AV_CODEC_ID_OPUS,
    AV_CODEC_ID_VORBIS, AV_CODEC_ID_FLAC, AV_CODEC_ID_ALAC, AV_CODEC_ID_WMAV1, AV_CODEC_ID_WMAV2,
    AV_CODEC_ID_WMAPRO, AV_CODEC_ID_AMR_NB, AV_CODEC_ID_AMR_WB, AV_CODEC_ID_SPEEX,
    AV_CODEC_ID_ADPCM_MS, AV_CODEC_ID_ADPCM_IMA_WAV, AV_CODEC_ID_ADPCM_IMA_QT,
    AV_CODEC_ID_ADPCM_SWF, AV_CODEC_ID_NELLYMOSER, AV_CODEC_ID_GSM, AV_CODEC_ID_GSM_MS,
    AV_CODEC_ID_PCM_S16LE, AV_CODEC_ID_PCM_S16BE, AV_CODEC_ID_PCM_S24LE, AV_CODEC_ID_PCM_S24BE,
    AV_CODEC_ID_PCM_S32LE, AV_CODEC_ID_PCM_S32BE, AV_CODEC_ID_PCM_S8, AV_CODEC_ID_PCM_U8,
    AV_CODEC_ID_PCM_F32LE, AV_CODEC_ID_PCM_F32BE, AV_CODEC_ID_PCM_F64LE, AV_CODEC_ID_PCM_F64BE,
    AV_CODEC_ID_PCM_ALAW, AV_CODEC_ID_PCM_MULAW, AV_CODEC_ID_PCM_BLURAY, AV_CODEC_ID_PCM_DVD,
    /* texts */
    AV_CODEC_ID_SUBRIP, AV_CODEC_ID_ASS, AV_CODEC_ID_SSA, AV_CODEC_ID_WEBVTT, AV_CODEC_ID_MOV_TEXT,
    AV_CODEC_ID_TEXT};

static bool is_listed(enum AVCodecID id)
{
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        if (codecs[i] == id)
            return true;
    return false;
}

/* The first one, as libavcodec orders them, that needs no hardware. libavcodec's own decoder of AV1 is a frame for
 * hardware and opens without it; what decodes is libdav1d or libaom. */
const AVCodec *media_codec_on_cpu(enum AVCodecID id)
{
    void *at = NULL;
    for (const AVCodec *codec; (codec = av_codec_iterate(&at));)
        if (codec->id == id && av_codec_is_decoder(codec) &&
            !(codec->capabilities & (AV_CODEC_CAP_HARDWARE | AV_CODEC_CAP_EXPERIMENTAL)) &&
            strcmp(codec->name, "av1") != 0)
            return codec;
    return NULL;
}

int media_codec_find(const AVCodecParameters *par, const AVCodec **out, struct sl_failure *why)
{
    const AVCodec *codec = media_codec_on_cpu(par->codec_id);
    if (codec && is_listed(par->codec_id)) {
        *out = codec;
        return SL_OK;
    }
    char tag[AV_FOURCC_MAX_STRING_SIZE];
    av_fourcc_make_string(tag, par->codec_tag);
    const char *kind = av_get_media_type_string(par->codec_type);
    const char *send = par->codec_type == AVMEDIA_TYPE_AUDIO ? "AAC, Opus, MP3, FLAC or PCM"
                                                             : "H.264, H.265, VP9 or AV1";
    kind = kind ? kind : "unknown";
    if (par->codec_id == AV_CODEC_ID_NONE)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "there is no decoder for the %s codec with the tag '%s': send %s", kind, tag,
                       send);
    return sl_fail(why, SL_EUNSUPPORTED,
                   codec ? "the %s codec '%s' (tag '%s') is not one that is opened here: send %s"
                         : "there is no decoder for the %s codec '%s' (tag '%s'): send %s",
                   kind, avcodec_get_name(par->codec_id), tag, send);
}

static char names[4096];

static void names_fill(void)
{
    size_t used = 0;
    void *at = NULL;
    for (const AVCodec *codec; (codec = av_codec_iterate(&at));)
        if (av_codec_is_decoder(codec) && is_listed(codec->id) && used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? "," : "",
                                     codec->name);
}

const char *media_codec_names(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, names_fill);
    return names;
}
