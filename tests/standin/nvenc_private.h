/* tests/standin/nvenc_private.h: the stand-in libnvidia-encode's own. */
#ifndef SL_TESTS_STANDIN_NVENC_PRIVATE_H
#define SL_TESTS_STANDIN_NVENC_PRIVATE_H

#include "tests/standin/cuda.h"
#include "tests/standin/soft.h"

#include <ffnvcodec/nvEncodeAPI.h>

#define NVENC_HAS_AV1  (NVENCAPI_MAJOR_VERSION >= 12)
#define NVENC_CODECS   3
#define NVENC_FORMATS  4
#define NVENC_PRESETS  7
#define NVENC_PROFILES 5

struct nvenc_session {
    uint32_t magic;
    CUcontext context;
    int device;
    struct soft_encoder *encoder; /* NULL: not initialized */
    struct soft_params params;
    NV_ENC_BUFFER_FORMAT format; /* that was told; the input's own counts */
    bool key_next;
    uint8_t *other; /* what a device that works wrongly sees instead */
    size_t other_bytes;
    char error[192];
};

/* The session, or NULL with its code in rc: a bad handle, a device that was lost. */
struct nvenc_session *nvenc_session_of(void *handle, NVENCSTATUS *rc);
/* Keeps the text for nvEncGetLastErrorString. */
NVENCSTATUS nvenc_fail(struct nvenc_session *session, NVENCSTATUS code, const char *text);

bool nvenc_guid_same(const GUID *a, const GUID *b);
/* A codec that this device encodes; -1: none. */
int nvenc_codec_of(int device, const GUID *guid);
int nvenc_cap(int device, int codec, NV_ENC_CAPS cap);
/* How many pictures may lie between two references. */
int nvenc_b_max(int device, int codec);

/* Parameters of the encoder behind from what the caller configured. */
NVENCSTATUS nvenc_params_take(struct nvenc_session *session, const NV_ENC_INITIALIZE_PARAMS *init,
                              int codec, struct soft_params *out);

NVENCSTATUS nvenc_guid_count(void *handle, uint32_t *count);
NVENCSTATUS nvenc_guids(void *handle, GUID *out, uint32_t room, uint32_t *count);
NVENCSTATUS nvenc_profile_count(void *handle, GUID codec, uint32_t *count);
NVENCSTATUS nvenc_profiles(void *handle, GUID codec, GUID *out, uint32_t room, uint32_t *count);
NVENCSTATUS nvenc_format_count(void *handle, GUID codec, uint32_t *count);
NVENCSTATUS nvenc_formats(void *handle, GUID codec, NV_ENC_BUFFER_FORMAT *out, uint32_t room,
                          uint32_t *count);
NVENCSTATUS nvenc_caps(void *handle, GUID codec, NV_ENC_CAPS_PARAM *param, int *out);
NVENCSTATUS nvenc_preset_count(void *handle, GUID codec, uint32_t *count);
NVENCSTATUS nvenc_presets(void *handle, GUID codec, GUID *out, uint32_t room, uint32_t *count);
NVENCSTATUS nvenc_preset_config(void *handle, GUID codec, GUID preset, NV_ENC_PRESET_CONFIG *out);
NVENCSTATUS nvenc_preset_config_ex(void *handle, GUID codec, GUID preset, NV_ENC_TUNING_INFO tuning,
                                   NV_ENC_PRESET_CONFIG *out);

#endif
