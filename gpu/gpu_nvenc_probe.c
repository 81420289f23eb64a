#include "gpu/gpu_nvenc_probe.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"

/* An open that fails with less memory free than this failed for that: a 1080p session takes some 100 MiB. */
#define MEMORY_FULL_BYTES ((int64_t)64 << 20)

#define GUIDS_MAX         32

/* NV_ENC_CAPS_NUM_ENCODER_ENGINES came with 12.0. */
#if NVENCAPI_MAJOR_VERSION >= 12
#define CAPS_ENGINES NV_ENC_CAPS_NUM_ENCODER_ENGINES
#endif

struct session {
    NV_ENCODE_API_FUNCTION_LIST api;
    void *encoder; /* also to be destroyed after a failed open */
};

/* ---- the library ---- */

static int version_check(const struct gpu_driver *driver, struct gpu_nvenc_caps *caps,
                         struct sl_failure *why)
{
    uint32_t version = 0;
    if (!driver->nvenc)
        return sl_fail(why, SL_ENOENCODER,
                       "libnvidia-encode.so.1 is not installed; the encode library of driver %s or "
                       "newer is needed beside libcuda.so.1",
                       gpu_driver_needed);
    NVENCSTATUS status = driver->nvenc->NvEncodeAPIGetMaxSupportedVersion(&version);
    if (status != NV_ENC_SUCCESS)
        return gpu_fail(why, GPU_NVENC, (int)status, "the encode library tells no version");
    caps->api_major = (int32_t)(version >> 4);
    caps->api_minor = (int32_t)(version & 15);
    if (version < (NVENCAPI_MAJOR_VERSION << 4 | NVENCAPI_MINOR_VERSION))
        return sl_fail(why, SL_ENOENCODER,
                       "the driver is too old: NVENC %d.%d, not %d.%d (driver %s or newer is "
                       "needed)",
                       caps->api_major, caps->api_minor, NVENCAPI_MAJOR_VERSION,
                       NVENCAPI_MINOR_VERSION, gpu_driver_needed);
    return SL_OK;
}

/* ---- a session ---- */

static int session_open(const struct gpu_driver *driver, AVBufferRef *context, struct session *s,
                        struct sl_failure *why)
{
    s->api.version = NV_ENCODE_API_FUNCTION_LIST_VER;
    NVENCSTATUS status = driver->nvenc->NvEncodeAPICreateInstance(&s->api);
    if (status != NV_ENC_SUCCESS)
        return gpu_fail(why, GPU_NVENC, (int)status, "the encode library does not start");
    NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS params = {
        .version = NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER,
        .deviceType = NV_ENC_DEVICE_TYPE_CUDA,
        .device = gpu_context_cuda(context),
        .apiVersion = NVENCAPI_VERSION,
    };
    status = s->api.nvEncOpenEncodeSessionEx(&params, &s->encoder);
    if (status == NV_ENC_SUCCESS)
        return SL_OK;
    int64_t left = gpu_memory_free_bytes(context);
    if (status == NV_ENC_ERR_OUT_OF_MEMORY && left >= 0 && left < MEMORY_FULL_BYTES)
        return sl_fail(
            why, SL_ENOMEM, "NVENC opens no session: %d MiB of the GPU's memory are left (%s, %d)",
            (int)(left >> 20), gpu_error_find(GPU_NVENC, (int)status)->name, (int)status);
    return gpu_fail(why, GPU_NVENC, (int)status, "NVENC opens no session");
}

static void session_close(struct session *s)
{
    if (s->encoder && s->api.nvEncDestroyEncoder)
        s->api.nvEncDestroyEncoder(s->encoder);
    s->encoder = NULL;
}

/* ---- capabilities ---- */

static int32_t cap(const struct session *s, GUID codec, NV_ENC_CAPS which)
{
    NV_ENC_CAPS_PARAM param = {.version = NV_ENC_CAPS_PARAM_VER, .capsToQuery = which};
    int value = 0;
    return s->api.nvEncGetEncodeCaps(s->encoder, codec, &param, &value) == NV_ENC_SUCCESS ? value
                                                                                          : 0;
}

static void codec_read(const struct session *s, GUID guid, struct gpu_nvenc_codec *out)
{
    *out = (struct gpu_nvenc_codec){
        .present = true,
        .ten_bit = cap(s, guid, NV_ENC_CAPS_SUPPORT_10BIT_ENCODE) > 0,
        .lookahead = cap(s, guid, NV_ENC_CAPS_SUPPORT_LOOKAHEAD) > 0,
        .temporal_aq = cap(s, guid, NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ) > 0,
        /* 1: each, 2: the middle one, 3: both. */
        .b_middle = (cap(s, guid, NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE) & 2) != 0,
        .width_min = cap(s, guid, NV_ENC_CAPS_WIDTH_MIN),
        .height_min = cap(s, guid, NV_ENC_CAPS_HEIGHT_MIN),
        .width_max = cap(s, guid, NV_ENC_CAPS_WIDTH_MAX),
        .height_max = cap(s, guid, NV_ENC_CAPS_HEIGHT_MAX),
        .bframes_max = cap(s, guid, NV_ENC_CAPS_NUM_MAX_BFRAMES),
        .mb_per_s = cap(s, guid, NV_ENC_CAPS_MB_PER_SEC_MAX),
        .rate_modes = (uint32_t)cap(s, guid, NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES),
    };
    uint32_t count = 0;
    if (s->api.nvEncGetEncodeProfileGUIDCount &&
        s->api.nvEncGetEncodeProfileGUIDCount(s->encoder, guid, &count) == NV_ENC_SUCCESS)
        out->profile_count = count;
}

static const struct {
    const GUID *guid;
    enum codec codec;
} codecs[] = {
    {&NV_ENC_CODEC_H264_GUID, CODEC_H264},
    {&NV_ENC_CODEC_HEVC_GUID, CODEC_H265},
#if NVENCAPI_MAJOR_VERSION >= 12
    {&NV_ENC_CODEC_AV1_GUID, CODEC_AV1},
#endif
};

static int caps_read(const struct session *s, struct gpu_nvenc_caps *out, struct sl_failure *why)
{
    GUID guids[GUIDS_MAX];
    uint32_t count = 0;
    NVENCSTATUS status = s->api.nvEncGetEncodeGUIDCount(s->encoder, &count);
    if (status == NV_ENC_SUCCESS)
        status = s->api.nvEncGetEncodeGUIDs(s->encoder, guids, GUIDS_MAX, &count);
    if (status != NV_ENC_SUCCESS)
        return gpu_fail(why, GPU_NVENC, (int)status, "the driver lists no codecs");
    for (uint32_t i = 0; i < count && i < GUIDS_MAX; i++)
        for (size_t j = 0; j < sizeof codecs / sizeof *codecs; j++)
            if (memcmp(&guids[i], codecs[j].guid, sizeof guids[i]) == 0)
                codec_read(s, guids[i], &out->codecs[codecs[j].codec]);
#ifdef CAPS_ENGINES
    if (count > 0)
        out->engines = cap(s, guids[0], CAPS_ENGINES);
#endif
    return SL_OK;
}

int gpu_nvenc_probe(const char *device_id, struct gpu_nvenc_caps *out, struct sl_failure *why)
{
    const struct gpu_driver *driver;
    struct gpu_nvenc_caps caps = {0};
    struct session session = {0};
    AVBufferRef *context = NULL;
    int code = gpu_driver_load(&driver, why);
    if (code == SL_OK)
        code = version_check(driver, &caps, why);
    if (code == SL_OK)
        code = gpu_context(device_id, &context, why);
    if (code == SL_OK)
        code = gpu_context_enter(context, why);
    if (code != SL_OK)
        return code;
    code = session_open(driver, context, &session, why);
    if (code == SL_OK && out)
        code = caps_read(&session, &caps, why);
    session_close(&session);
    gpu_context_leave(context);
    if (code == SL_OK && out)
        *out = caps;
    return code;
}

/* ---- what was asked before ---- */

struct known {
    char device_id[DEVICE_ID_BYTES];
    struct gpu_nvenc_caps caps;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known known[NODE_DEVICES_MAX];
static int32_t known_count;

int gpu_nvenc_caps(const char *device_id, struct gpu_nvenc_caps *out, struct sl_failure *why)
{
    int code = SL_OK;
    pthread_mutex_lock(&lock);
    int32_t i = 0;
    while (i < known_count && strcmp(known[i].device_id, device_id) != 0)
        i++;
    if (i < known_count) {
        *out = known[i].caps;
    } else {
        code = gpu_nvenc_probe(device_id, out, why);
        if (code == SL_OK && i < NODE_DEVICES_MAX) {
            snprintf(known[i].device_id, sizeof known[i].device_id, "%s", device_id);
            known[i].caps = *out;
            known_count++;
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}
