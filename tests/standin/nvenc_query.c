/* The stand-in libnvidia-encode: what it says it can. It says what the encoders behind it do, and about B-frames,
 * look-ahead and adaptive quantization what a GPU of its kind would: it takes them and does without. */
#include <string.h>

#include "tests/standin/nvenc_private.h"
#include "tests/standin/state.h"

bool nvenc_guid_same(const GUID *a, const GUID *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static const struct codec_row {
    const GUID *guid;
    const GUID *profiles[NVENC_PROFILES];
    int b_max, size_max, level_min, level_max;
    int real_width_min, real_height_min; /* of the GPUs that one buys */
    bool ten_bit;
} codecs[NVENC_CODECS] = {
    [SOFT_H264] = {&NV_ENC_CODEC_H264_GUID,
                   {&NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID, &NV_ENC_H264_PROFILE_BASELINE_GUID,
                    &NV_ENC_H264_PROFILE_MAIN_GUID, &NV_ENC_H264_PROFILE_HIGH_GUID},
                   4,
                   4096,
                   10,
                   62,
                   145,
                   49,
                   false},
    [SOFT_H265] = {&NV_ENC_CODEC_HEVC_GUID,
                   {&NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID, &NV_ENC_HEVC_PROFILE_MAIN_GUID,
                    &NV_ENC_HEVC_PROFILE_MAIN10_GUID},
                   5,
                   8192,
                   30,
                   186,
                   129,
                   33,
                   true},
#if NVENC_HAS_AV1
    [SOFT_AV1] = {&NV_ENC_CODEC_AV1_GUID,
                  {&NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID, &NV_ENC_AV1_PROFILE_MAIN_GUID},
                  7,
                  8192,
                  0,
                  23,
                  192,
                  128,
                  true},
#endif
};

static const NV_ENC_BUFFER_FORMAT formats[NVENC_FORMATS] = {
    NV_ENC_BUFFER_FORMAT_NV12, NV_ENC_BUFFER_FORMAT_YV12, NV_ENC_BUFFER_FORMAT_IYUV,
    NV_ENC_BUFFER_FORMAT_YUV420_10BIT};

static const GUID *const presets[NVENC_PRESETS] = {
    &NV_ENC_PRESET_P1_GUID, &NV_ENC_PRESET_P2_GUID, &NV_ENC_PRESET_P3_GUID, &NV_ENC_PRESET_P4_GUID,
    &NV_ENC_PRESET_P5_GUID, &NV_ENC_PRESET_P6_GUID, &NV_ENC_PRESET_P7_GUID};

static bool codec_there(int device, int codec)
{
    if (!codecs[codec].guid || !soft_codec_built((enum soft_codec)codec))
        return false;
    return !(codec == SOFT_H265 && standin_fault(FAULT_NO_H265, device)) &&
           !(codec == SOFT_AV1 && standin_fault(FAULT_NO_AV1, device));
}

int nvenc_codec_of(int device, const GUID *guid)
{
    for (int i = 0; i < NVENC_CODECS; i++)
        if (codec_there(device, i) && nvenc_guid_same(codecs[i].guid, guid))
            return i;
    return -1;
}

int nvenc_b_max(int device, int codec)
{
    return standin_fault(FAULT_NO_B, device) ? 0 : codecs[codec].b_max;
}

int nvenc_cap(int device, int codec, NV_ENC_CAPS cap)
{
    const struct codec_row *row = &codecs[codec];
    bool real = standin_fault(FAULT_REAL_SIZES, device) != NULL;
    switch (cap) {
    case NV_ENC_CAPS_NUM_MAX_BFRAMES:
        return nvenc_b_max(device, codec);
    case NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE:
        return nvenc_b_max(device, codec) ? 3 : 0;
    case NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES:
        return NV_ENC_PARAMS_RC_VBR | NV_ENC_PARAMS_RC_CBR;
    case NV_ENC_CAPS_SUPPORT_CABAC:
    case NV_ENC_CAPS_SUPPORT_ADAPTIVE_TRANSFORM:
        return codec == SOFT_H264;
    case NV_ENC_CAPS_SUPPORT_10BIT_ENCODE:
        return row->ten_bit && !standin_fault(FAULT_NO_TEN, device);
    case NV_ENC_CAPS_LEVEL_MAX:
        return row->level_max;
    case NV_ENC_CAPS_LEVEL_MIN:
        return row->level_min;
    case NV_ENC_CAPS_WIDTH_MAX:
    case NV_ENC_CAPS_HEIGHT_MAX:
        return row->size_max;
    case NV_ENC_CAPS_WIDTH_MIN:
        return real ? row->real_width_min : 32;
    case NV_ENC_CAPS_HEIGHT_MIN:
        return real ? row->real_height_min : 32;
    case NV_ENC_CAPS_MB_NUM_MAX:
        return row->size_max / 16 * (row->size_max / 16);
    case NV_ENC_CAPS_MB_PER_SEC_MAX:
        return 983040;
    case NV_ENC_CAPS_DYNAMIC_QUERY_ENCODER_CAPACITY:
        return 100; /* as on Linux always */
    case NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE:
    case NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE:
    case NV_ENC_CAPS_SUPPORT_LOOKAHEAD:
    case NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ:
    case NV_ENC_CAPS_SUPPORT_WEIGHTED_PREDICTION:
    case NV_ENC_CAPS_SUPPORT_MULTIPLE_REF_FRAMES:
    case NV_ENC_CAPS_NUM_ENCODER_ENGINES:
        return 1;
    default:
        return 0;
    }
}

/* ---- the calls ---- */

NVENCSTATUS nvenc_guid_count(void *handle, uint32_t *count)
{
    NVENCSTATUS rc;
    struct nvenc_session *session = nvenc_session_of(handle, &rc);
    if (!session)
        return rc;
    *count = 0;
    for (int i = 0; i < NVENC_CODECS; i++)
        *count += codec_there(session->device, i);
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_guids(void *handle, GUID *out, uint32_t room, uint32_t *count)
{
    NVENCSTATUS rc;
    struct nvenc_session *session = nvenc_session_of(handle, &rc);
    if (!session)
        return rc;
    *count = 0;
    for (int i = 0; i < NVENC_CODECS && *count < room; i++)
        if (codec_there(session->device, i))
            out[(*count)++] = *codecs[i].guid;
    return NV_ENC_SUCCESS;
}

/* The codec's number for a query, or -1 with the answer in rc. */
static int asked(void *handle, const GUID *guid, struct nvenc_session **session, NVENCSTATUS *rc)
{
    *session = nvenc_session_of(handle, rc);
    if (!*session)
        return -1;
    int codec = nvenc_codec_of((*session)->device, guid);
    if (codec < 0)
        *rc = nvenc_fail(*session, NV_ENC_ERR_INVALID_PARAM, "this device does not encode that");
    return codec;
}

NVENCSTATUS nvenc_profiles(void *handle, GUID guid, GUID *out, uint32_t room, uint32_t *count)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    int codec = asked(handle, &guid, &session, &rc);
    if (codec < 0)
        return rc;
    *count = 0;
    for (int i = 0; i < NVENC_PROFILES && codecs[codec].profiles[i] && *count < room; i++)
        if (!nvenc_guid_same(codecs[codec].profiles[i], &NV_ENC_HEVC_PROFILE_MAIN10_GUID) ||
            nvenc_cap(session->device, codec, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE))
            out[(*count)++] = *codecs[codec].profiles[i];
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_profile_count(void *handle, GUID guid, uint32_t *count)
{
    GUID out[NVENC_PROFILES];
    return nvenc_profiles(handle, guid, out, NVENC_PROFILES, count);
}

NVENCSTATUS nvenc_formats(void *handle, GUID guid, NV_ENC_BUFFER_FORMAT *out, uint32_t room,
                          uint32_t *count)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    int codec = asked(handle, &guid, &session, &rc);
    if (codec < 0)
        return rc;
    *count = 0;
    for (int i = 0; i < NVENC_FORMATS && *count < room; i++)
        if (formats[i] != NV_ENC_BUFFER_FORMAT_YUV420_10BIT ||
            nvenc_cap(session->device, codec, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE))
            out[(*count)++] = formats[i];
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_format_count(void *handle, GUID guid, uint32_t *count)
{
    NV_ENC_BUFFER_FORMAT out[NVENC_FORMATS];
    return nvenc_formats(handle, guid, out, NVENC_FORMATS, count);
}

NVENCSTATUS nvenc_caps(void *handle, GUID guid, NV_ENC_CAPS_PARAM *param, int *out)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    int codec = asked(handle, &guid, &session, &rc);
    if (codec < 0)
        return rc;
    if (param->version != NV_ENC_CAPS_PARAM_VER)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_VERSION, "NV_ENC_CAPS_PARAM_VER");
    *out = nvenc_cap(session->device, codec, param->capsToQuery);
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_preset_count(void *handle, GUID guid, uint32_t *count)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    if (asked(handle, &guid, &session, &rc) < 0)
        return rc;
    *count = NVENC_PRESETS;
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_presets(void *handle, GUID guid, GUID *out, uint32_t room, uint32_t *count)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    if (asked(handle, &guid, &session, &rc) < 0)
        return rc;
    for (*count = 0; *count < NVENC_PRESETS && *count < room; (*count)++)
        out[*count] = *presets[*count];
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_preset_config(void *handle, GUID guid, GUID preset, NV_ENC_PRESET_CONFIG *out)
{
    struct nvenc_session *session;
    NVENCSTATUS rc;
    int codec = asked(handle, &guid, &session, &rc), known = 0;
    if (codec < 0)
        return rc;
    if (out->version != NV_ENC_PRESET_CONFIG_VER || out->presetCfg.version != NV_ENC_CONFIG_VER)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_VERSION, "NV_ENC_PRESET_CONFIG_VER");
    for (int i = 0; i < NVENC_PRESETS; i++)
        known |= nvenc_guid_same(&preset, presets[i]);
    if (!known)
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "only the presets P1 to P7");
    NV_ENC_CONFIG *config = &out->presetCfg;
    memset(config, 0, sizeof *config);
    config->version = NV_ENC_CONFIG_VER;
    config->profileGUID = NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID;
    config->gopLength = 250;
    config->frameIntervalP = 1;
    config->frameFieldMode = NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME;
    config->mvPrecision = NV_ENC_MV_PRECISION_QUARTER_PEL;
    config->rcParams.version = NV_ENC_RC_PARAMS_VER;
    config->rcParams.rateControlMode = NV_ENC_PARAMS_RC_VBR;
    config->rcParams.constQP = (NV_ENC_QP){28, 31, 25};
    if (codec == SOFT_H264) {
        config->encodeCodecConfig.h264Config.idrPeriod = 250;
        config->encodeCodecConfig.h264Config.chromaFormatIDC = 1;
        config->encodeCodecConfig.h264Config.repeatSPSPPS = 1;
    } else if (codec == SOFT_H265) {
        config->encodeCodecConfig.hevcConfig.idrPeriod = 250;
        config->encodeCodecConfig.hevcConfig.chromaFormatIDC = 1;
        config->encodeCodecConfig.hevcConfig.repeatSPSPPS = 1;
    }
#if NVENC_HAS_AV1
    else {
        config->encodeCodecConfig.av1Config.idrPeriod = 250;
        config->encodeCodecConfig.av1Config.chromaFormatIDC = 1;
        config->encodeCodecConfig.av1Config.repeatSeqHdr = 1;
    }
#endif
    return NV_ENC_SUCCESS;
}

NVENCSTATUS nvenc_preset_config_ex(void *handle, GUID guid, GUID preset, NV_ENC_TUNING_INFO tuning,
                                   NV_ENC_PRESET_CONFIG *out)
{
    (void)tuning;
    return nvenc_preset_config(handle, guid, preset, out);
}

/* ---- what a caller configured ---- */

static void colour_take(struct soft_params *out, const NV_ENC_CONFIG_H264_VUI_PARAMETERS *vui)
{
    out->colour_told = vui->videoSignalTypePresentFlag != 0;
    out->full_range = vui->videoFullRangeFlag != 0;
    out->primaries = out->transfer = out->matrix = 2;
    if (vui->colourDescriptionPresentFlag) {
        out->primaries = (int)vui->colourPrimaries;
        out->transfer = (int)vui->transferCharacteristics;
        out->matrix = (int)vui->colourMatrix;
    }
}

/* Whether the picture asked for is as wide as it should be shown: darWidth:darHeight over width:height. */
static void shape_take(struct soft_params *out, const NV_ENC_INITIALIZE_PARAMS *init)
{
    uint64_t num = (uint64_t)init->darWidth * init->encodeHeight;
    uint64_t den = (uint64_t)init->darHeight * init->encodeWidth;
    if (!num || !den || num == den)
        return;
    uint64_t a = num, b = den;
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    if (num / a <= 65535 && den / a <= 65535) {
        out->sar_num = (int)(num / a);
        out->sar_den = (int)(den / a);
    }
}

static void rate_take(struct soft_params *out, const NV_ENC_RC_PARAMS *rc)
{
    double quality = rc->targetQuality + rc->targetQualityLSB / 256.0;
    out->maxrate = rc->maxBitRate;
    out->buffer = rc->vbvBufferSize;
    out->bitrate = rc->averageBitRate;
    if (rc->rateControlMode == NV_ENC_PARAMS_RC_CONSTQP) {
        out->rate = SOFT_QP;
        out->quality = rc->constQP.qpInterP;
        if (out->codec == SOFT_AV1)
            out->quality /= 4; /* 0..255 there */
    } else if (rc->rateControlMode == NV_ENC_PARAMS_RC_VBR && (quality > 0 || !out->bitrate)) {
        out->rate = SOFT_QUALITY;
        out->quality = quality > 0 ? quality : 28;
    } else {
        out->rate = SOFT_BITRATE;
        if (!out->bitrate)
            out->bitrate = out->maxrate ? out->maxrate : 2000000;
        if (rc->rateControlMode != NV_ENC_PARAMS_RC_VBR)
            out->maxrate = out->bitrate;
    }
}

NVENCSTATUS nvenc_params_take(struct nvenc_session *session, const NV_ENC_INITIALIZE_PARAMS *init,
                              int codec, struct soft_params *out)
{
    const NV_ENC_CONFIG *config = init->encodeConfig;
    const GUID *profile = &config->profileGUID;
    int chroma = 1, depth = 8;
    *out = (struct soft_params){.codec = (enum soft_codec)codec,
                                .width = (int)init->encodeWidth,
                                .height = (int)init->encodeHeight,
                                .fps_num = (int)init->frameRateNum,
                                .fps_den = (int)init->frameRateDen};
    shape_take(out, init);
    rate_take(out, &config->rcParams);
    out->gop = config->gopLength == NVENC_INFINITE_GOPLENGTH || config->gopLength > 100000
                   ? 0
                   : (int)config->gopLength;
    if (codec == SOFT_H264) {
        const NV_ENC_CONFIG_H264 *h264 = &config->encodeCodecConfig.h264Config;
        chroma = (int)h264->chromaFormatIDC;
        out->in_band = !h264->disableSPSPPS;
        out->delimiters = h264->outputAUD;
        out->level = (int)h264->level;
        out->baseline = nvenc_guid_same(profile, &NV_ENC_H264_PROFILE_BASELINE_GUID);
        out->main_only = nvenc_guid_same(profile, &NV_ENC_H264_PROFILE_MAIN_GUID);
        colour_take(out, &h264->h264VUIParameters);
    } else if (codec == SOFT_H265) {
        const NV_ENC_CONFIG_HEVC *hevc = &config->encodeCodecConfig.hevcConfig;
        chroma = (int)hevc->chromaFormatIDC;
        out->in_band = !hevc->disableSPSPPS;
        out->delimiters = hevc->outputAUD;
        out->level = (int)hevc->level / 3;
#if NVENCAPI_MAJOR_VERSION > 12 || (NVENCAPI_MAJOR_VERSION == 12 && NVENCAPI_MINOR_VERSION >= 2)
        depth = hevc->outputBitDepth == NV_ENC_BIT_DEPTH_10 ? 10 : 8;
#else
        depth = 8 + (int)hevc->pixelBitDepthMinus8;
#endif
        if (nvenc_guid_same(profile, &NV_ENC_HEVC_PROFILE_MAIN10_GUID))
            depth = 10;
        colour_take(out, &hevc->hevcVUIParameters);
    }
#if NVENC_HAS_AV1
    else {
        const NV_ENC_CONFIG_AV1 *av1 = &config->encodeCodecConfig.av1Config;
        chroma = (int)av1->chromaFormatIDC;
        out->in_band = !av1->disableSeqHdr;
#if NVENCAPI_MAJOR_VERSION > 12 || (NVENCAPI_MAJOR_VERSION == 12 && NVENCAPI_MINOR_VERSION >= 2)
        depth = av1->outputBitDepth == NV_ENC_BIT_DEPTH_10 ? 10 : 8;
#else
        depth = 8 + (int)av1->pixelBitDepthMinus8;
#endif
        out->colour_told = true;
        out->primaries = (int)av1->colorPrimaries;
        out->transfer = (int)av1->transferCharacteristics;
        out->matrix = (int)av1->matrixCoefficients;
        out->full_range = av1->colorRange != 0;
    }
#endif
    out->ten_bit = depth == 10;
    if (chroma != 1)
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "only 4:2:0 is encoded here");
    if (out->ten_bit && !nvenc_cap(session->device, codec, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE))
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "ten bits are not encoded here");
    if (config->frameIntervalP - 1 > nvenc_b_max(session->device, codec))
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "too many B-frames");
    if (config->frameFieldMode > NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME)
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "fields are not encoded here");
    if (out->width < nvenc_cap(session->device, codec, NV_ENC_CAPS_WIDTH_MIN) ||
        out->height < nvenc_cap(session->device, codec, NV_ENC_CAPS_HEIGHT_MIN) ||
        out->width > nvenc_cap(session->device, codec, NV_ENC_CAPS_WIDTH_MAX) ||
        out->height > nvenc_cap(session->device, codec, NV_ENC_CAPS_HEIGHT_MAX))
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PARAM, "the picture's size is out of range");
    return NV_ENC_SUCCESS;
}
