/* The stand-in libnvidia-encode: sessions, buffers, pictures. */
#include "tests/standin/nvenc_private.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/state.h"

#define SESSION_MAGIC 0x6e767331u
#define INPUT_MAGIC   0x6e766931u
#define OUTPUT_MAGIC  0x6e766f31u

/* What an old driver knows. */
#define OLD_MAJOR     8u

struct input {
    uint32_t magic;
    NV_ENC_BUFFER_FORMAT format;
    uint32_t width, height, pitch;
    uint8_t *data;
    bool own; /* made here; else the caller's device memory */
};

struct output {
    uint32_t magic;
    uint8_t *data;
    size_t bytes, room;
    bool key, locked;
    int qp;
    uint32_t number;
    uint64_t pts, duration;
};

/* ---- sessions ---- */

NVENCSTATUS nvenc_fail(struct nvenc_session *session, NVENCSTATUS code, const char *text)
{
    snprintf(session->error, sizeof session->error, "stand-in: %s", text);
    return code;
}

/* Also of a device that is lost. */
static struct nvenc_session *session_any(void *handle)
{
    struct nvenc_session *session = handle;
    return session && session->magic == SESSION_MAGIC ? session : NULL;
}

struct nvenc_session *nvenc_session_of(void *handle, NVENCSTATUS *rc)
{
    struct nvenc_session *session = session_any(handle);
    if (!session) {
        *rc = NV_ENC_ERR_INVALID_PTR;
        return NULL;
    }
    if (standin_cuda_dead(session->context)) {
        *rc = nvenc_fail(session, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
        return NULL;
    }
    *rc = NV_ENC_SUCCESS;
    return session;
}

#define SESSION(handle)                                                                            \
    NVENCSTATUS session_rc;                                                                        \
    struct nvenc_session *session = nvenc_session_of(handle, &session_rc);                         \
    if (!session)                                                                                  \
    return session_rc

#define VERSION(field, wanted)                                                                     \
    if ((field) != (wanted))                                                                       \
    return nvenc_fail(session, NV_ENC_ERR_INVALID_VERSION, #wanted)

static NVENCSTATUS open_session(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *params, void **out)
{
    *out = NULL;
    if (params->version != NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER)
        return NV_ENC_ERR_INVALID_VERSION;
    int device = standin_cuda_device(params->device);
    if (params->deviceType != NV_ENC_DEVICE_TYPE_CUDA || device < 0)
        return NV_ENC_ERR_INVALID_ENCODERDEVICE;
    if (standin_fault(FAULT_CRASH_AT_OPEN, device))
        raise(SIGSEGV);
    if (standin_fault(FAULT_OLD_DRIVER, device) || params->apiVersion != NVENCAPI_VERSION)
        return NV_ENC_ERR_INVALID_VERSION;
    if (standin_cuda_dead(params->device))
        return NV_ENC_ERR_DEVICE_NOT_EXIST;
    if (standin_fault(FAULT_NO_ENGINE, device))
        return NV_ENC_ERR_UNSUPPORTED_DEVICE;
    struct nvenc_session *session = calloc(1, sizeof *session);
    if (!session)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    if (!standin_session_take(device)) {
        const struct standin_fault *code = standin_fault(FAULT_LIMIT_CODE, device);
        free(session);
        return code ? (NVENCSTATUS)code->number : NV_ENC_ERR_OUT_OF_MEMORY;
    }
    session->magic = SESSION_MAGIC;
    session->context = params->device;
    session->device = device;
    *out = session;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS open_old(void *device, uint32_t type, void **out)
{
    (void)device;
    (void)type;
    *out = NULL;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS destroy(void *handle)
{
    struct nvenc_session *session = session_any(handle);
    if (!session)
        return NV_ENC_ERR_INVALID_PTR;
    soft_close(&session->encoder);
    standin_session_give(session->device);
    session->magic = 0;
    free(session->other);
    free(session);
    return NV_ENC_SUCCESS;
}

static const char *last_error(void *handle)
{
    struct nvenc_session *session = session_any(handle);
    return session ? session->error : "";
}

static NVENCSTATUS initialize(void *handle, NV_ENC_INITIALIZE_PARAMS *init)
{
    SESSION(handle);
    VERSION(init->version, NV_ENC_INITIALIZE_PARAMS_VER);
    if (session->encoder)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_CALL, "initialized already");
    int codec = nvenc_codec_of(session->device, &init->encodeGUID);
    if (codec < 0)
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "this device has no such codec");
    if (!init->encodeConfig || !init->enablePTD || init->enableEncodeAsync)
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM,
                          "a configuration and picture types by the encoder are needed");
    VERSION(init->encodeConfig->version, NV_ENC_CONFIG_VER);
    NVENCSTATUS rc = nvenc_params_take(session, init, codec, &session->params);
    if (rc)
        return rc;
    session->encoder = soft_open(&session->params);
    return session->encoder ? NV_ENC_SUCCESS
                            : nvenc_fail(session, NV_ENC_ERR_INVALID_PARAM,
                                         "the encoder behind does not take these parameters");
}

static NVENCSTATUS reconfigure(void *handle, NV_ENC_RECONFIGURE_PARAMS *params)
{
    struct soft_params wanted;
    SESSION(handle);
    VERSION(params->version, NV_ENC_RECONFIGURE_PARAMS_VER);
    if (!session->encoder)
        return nvenc_fail(session, NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not initialized");
    if (params->reInitEncodeParams.encodeConfig) {
        NVENCSTATUS rc = nvenc_params_take(session, &params->reInitEncodeParams,
                                           (int)session->params.codec, &wanted);
        if (rc)
            return rc;
        if (wanted.width != session->params.width || wanted.height != session->params.height)
            return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "the size stays as it was");
        if (!soft_reconfigure(session->encoder, &wanted))
            return nvenc_fail(session, NV_ENC_ERR_INVALID_PARAM, "the encoder behind refuses");
        session->params = wanted;
    }
    if (params->forceIDR || params->resetEncoder)
        session->key_next = true;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS sequence_params(void *handle, NV_ENC_SEQUENCE_PARAM_PAYLOAD *payload)
{
    size_t bytes;
    SESSION(handle);
    VERSION(payload->version, NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER);
    if (!session->encoder)
        return nvenc_fail(session, NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not initialized");
    const uint8_t *headers = soft_headers(session->encoder, &bytes);
    if (bytes > payload->inBufferSize)
        return nvenc_fail(session, NV_ENC_ERR_NOT_ENOUGH_BUFFER, "the parameter sets are larger");
    memcpy(payload->spsppsBuffer, headers, bytes);
    *payload->outSPSPPSPayloadSize = (uint32_t)bytes;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS set_streams(void *handle, NV_ENC_CUSTREAM_PTR in, NV_ENC_CUSTREAM_PTR out)
{
    (void)in;
    (void)out;
    SESSION(handle);
    return NV_ENC_SUCCESS;
}

/* ---- buffers ---- */

static uint32_t row_bytes(NV_ENC_BUFFER_FORMAT format, uint32_t width)
{
    return format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT ? 2 * width : width;
}

static bool format_known(NV_ENC_BUFFER_FORMAT format)
{
    return format == NV_ENC_BUFFER_FORMAT_NV12 || format == NV_ENC_BUFFER_FORMAT_YV12 ||
           format == NV_ENC_BUFFER_FORMAT_IYUV || format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT;
}

static NVENCSTATUS input_create(void *handle, NV_ENC_CREATE_INPUT_BUFFER *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_CREATE_INPUT_BUFFER_VER);
    if (!format_known(params->bufferFmt))
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM, "this format is not taken");
    struct input *input = calloc(1, sizeof *input);
    if (!input)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    *input = (struct input){.magic = INPUT_MAGIC,
                            .format = params->bufferFmt,
                            .width = params->width,
                            .height = params->height,
                            .pitch = (row_bytes(params->bufferFmt, params->width) + 255) & ~255u,
                            .own = true};
    input->data = calloc(input->height + (input->height + 1) / 2 + 1, input->pitch);
    if (!input->data) {
        free(input);
        return NV_ENC_ERR_OUT_OF_MEMORY;
    }
    params->inputBuffer = input;
    return NV_ENC_SUCCESS;
}

static struct input *input_of(void *pointer)
{
    struct input *input = pointer;
    return input && input->magic == INPUT_MAGIC ? input : NULL;
}

static NVENCSTATUS input_destroy(void *handle, NV_ENC_INPUT_PTR pointer)
{
    struct input *input = input_of(pointer);
    if (!session_any(handle) || !input || !input->own)
        return NV_ENC_ERR_INVALID_PTR;
    input->magic = 0;
    free(input->data);
    free(input);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS input_lock(void *handle, NV_ENC_LOCK_INPUT_BUFFER *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_LOCK_INPUT_BUFFER_VER);
    struct input *input = input_of(params->inputBuffer);
    if (!input || !input->own)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PTR, "no input buffer");
    params->bufferDataPtr = input->data;
    params->pitch = input->pitch;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS input_unlock(void *handle, NV_ENC_INPUT_PTR pointer)
{
    return session_any(handle) && input_of(pointer) ? NV_ENC_SUCCESS : NV_ENC_ERR_INVALID_PTR;
}

static NVENCSTATUS resource_register(void *handle, NV_ENC_REGISTER_RESOURCE *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_REGISTER_RESOURCE_VER);
    if (params->resourceType != NV_ENC_INPUT_RESOURCE_TYPE_CUDADEVICEPTR ||
        !format_known(params->bufferFormat))
        return nvenc_fail(session, NV_ENC_ERR_UNSUPPORTED_PARAM,
                          "only pitched device memory is taken");
    if (!params->resourceToRegister ||
        params->pitch < row_bytes(params->bufferFormat, params->width))
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PARAM, "the pitch is less than a row");
    struct input *input = calloc(1, sizeof *input);
    if (!input)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    *input = (struct input){.magic = INPUT_MAGIC,
                            .format = params->bufferFormat,
                            .width = params->width,
                            .height = params->height,
                            .pitch = params->pitch,
                            .data = params->resourceToRegister};
    params->registeredResource = input;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS resource_unregister(void *handle, NV_ENC_REGISTERED_PTR pointer)
{
    struct input *input = input_of(pointer);
    if (!session_any(handle) || !input || input->own)
        return NV_ENC_ERR_RESOURCE_NOT_REGISTERED;
    input->magic = 0;
    free(input);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS resource_map(void *handle, NV_ENC_MAP_INPUT_RESOURCE *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_MAP_INPUT_RESOURCE_VER);
    struct input *input = input_of(params->registeredResource);
    if (!input || input->own)
        return nvenc_fail(session, NV_ENC_ERR_RESOURCE_NOT_REGISTERED, "not registered");
    params->mappedResource = input;
    params->mappedBufferFmt = input->format;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS resource_unmap(void *handle, NV_ENC_INPUT_PTR pointer)
{
    return session_any(handle) && input_of(pointer) ? NV_ENC_SUCCESS
                                                    : NV_ENC_ERR_RESOURCE_NOT_MAPPED;
}

static NVENCSTATUS output_create(void *handle, NV_ENC_CREATE_BITSTREAM_BUFFER *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_CREATE_BITSTREAM_BUFFER_VER);
    struct output *output = calloc(1, sizeof *output);
    if (!output)
        return NV_ENC_ERR_OUT_OF_MEMORY;
    output->magic = OUTPUT_MAGIC;
    params->bitstreamBuffer = output;
    return NV_ENC_SUCCESS;
}

static struct output *output_of(void *pointer)
{
    struct output *output = pointer;
    return output && output->magic == OUTPUT_MAGIC ? output : NULL;
}

static NVENCSTATUS output_destroy(void *handle, NV_ENC_OUTPUT_PTR pointer)
{
    struct output *output = output_of(pointer);
    if (!session_any(handle) || !output)
        return NV_ENC_ERR_INVALID_PTR;
    output->magic = 0;
    free(output->data);
    free(output);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS output_lock(void *handle, NV_ENC_LOCK_BITSTREAM *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_LOCK_BITSTREAM_VER);
    struct output *output = output_of(params->outputBitstream);
    if (!output)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PTR, "no bitstream buffer");
    if (output->locked)
        return nvenc_fail(session, NV_ENC_ERR_LOCK_BUSY, "locked already");
    output->locked = true;
    params->bitstreamBufferPtr = output->data;
    params->bitstreamSizeInBytes = (uint32_t)output->bytes;
    params->pictureType = output->key ? NV_ENC_PIC_TYPE_IDR : NV_ENC_PIC_TYPE_P;
    params->pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
    params->frameAvgQP = (uint32_t)output->qp;
    params->frameIdx = output->number;
    params->outputTimeStamp = output->pts;
    params->outputDuration = output->duration;
    params->numSlices = 1;
    params->hwEncodeStatus = 2; /* done */
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS output_unlock(void *handle, NV_ENC_OUTPUT_PTR pointer)
{
    struct output *output = output_of(pointer);
    if (!session_any(handle) || !output)
        return NV_ENC_ERR_INVALID_PTR;
    output->locked = false;
    return NV_ENC_SUCCESS;
}

/* ---- pictures ---- */

static void picture_from(const struct input *input, const uint8_t *data, struct soft_picture *out)
{
    size_t luma = (size_t)input->pitch * input->height;
    size_t chroma = (size_t)(input->pitch / 2) * ((input->height + 1) / 2);
    out->planes[0] = data;
    out->planes[1] = data + luma;
    out->stride_bytes[0] = out->stride_bytes[1] = input->pitch;
    if (input->format == NV_ENC_BUFFER_FORMAT_NV12) {
        out->layout = SOFT_NV12;
    } else if (input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT) {
        out->layout = SOFT_P010;
    } else {
        out->layout = SOFT_I420;
        out->planes[2] = out->planes[1] + chroma;
        out->stride_bytes[1] = out->stride_bytes[2] = input->pitch / 2;
        if (input->format == NV_ENC_BUFFER_FORMAT_YV12) {
            const uint8_t *first = out->planes[1];
            out->planes[1] = out->planes[2];
            out->planes[2] = first;
        }
    }
}

/* A grey picture of the same layout. */
static const uint8_t *other_picture(struct nvenc_session *session, const struct input *input)
{
    size_t bytes = (size_t)input->pitch * (input->height + (input->height + 1) / 2 + 1);
    if (bytes > session->other_bytes) {
        free(session->other);
        session->other = malloc(bytes);
        session->other_bytes = session->other ? bytes : 0;
        if (session->other)
            memset(session->other, 0x80, bytes);
    }
    return session->other ? session->other : input->data;
}

static bool output_put(struct output *output, const struct soft_packet *packet)
{
    if (packet->bytes > output->room) {
        uint8_t *more = realloc(output->data, packet->bytes);
        if (!more)
            return false;
        output->data = more;
        output->room = packet->bytes;
    }
    memcpy(output->data, packet->data, packet->bytes);
    output->bytes = packet->bytes;
    output->key = packet->key;
    output->qp = packet->qp;
    return true;
}

static NVENCSTATUS encode(void *handle, NV_ENC_PIC_PARAMS *params)
{
    SESSION(handle);
    VERSION(params->version, NV_ENC_PIC_PARAMS_VER);
    if (!session->encoder)
        return nvenc_fail(session, NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "not initialized");
    if (params->encodePicFlags & NV_ENC_PIC_FLAG_EOS) {
        session->key_next = true; /* what follows stands for itself */
        return NV_ENC_SUCCESS;
    }
    struct input *input = input_of(params->inputBuffer);
    struct output *output = output_of(params->outputBitstream);
    if (!input || !output)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PTR, "no input or no bitstream buffer");
    if (input->width < (uint32_t)session->params.width ||
        input->height < (uint32_t)session->params.height)
        return nvenc_fail(session, NV_ENC_ERR_INVALID_PARAM, "the input is less than the picture");
    int64_t began_ns = standin_now_ns();
    int spoilt = standin_picture(session->device, ENGINE_ENCODE);
    if (standin_cuda_dead(session->context))
        return nvenc_fail(session, NV_ENC_ERR_DEVICE_NOT_EXIST, "the device is lost");
    struct soft_picture picture = {
        .pts = (int64_t)params->inputTimeStamp,
        .force_key =
            session->key_next ||
            (params->encodePicFlags & (NV_ENC_PIC_FLAG_FORCEIDR | NV_ENC_PIC_FLAG_FORCEINTRA)) != 0,
    };
    struct soft_packet packet;
    picture_from(input, spoilt == WRONG_PICTURE ? other_picture(session, input) : input->data,
                 &picture);
    if (!soft_encode(session->encoder, &picture, &packet) || !output_put(output, &packet))
        return nvenc_fail(session, NV_ENC_ERR_GENERIC, "the encoder behind failed");
    session->key_next = false;
    output->pts = params->inputTimeStamp;
    output->duration = params->inputDuration;
    output->number = params->frameIdx;
    for (size_t i = 8; spoilt == WRONG_GARBAGE && i < output->bytes; i++)
        output->data[i] ^= 0x5a;
    if (spoilt == WRONG_DROP)
        output->bytes = 0;
    standin_busy(session->device, standin_now_ns() - began_ns);
    return NV_ENC_SUCCESS;
}

/* ---- what it does without ---- */

static NVENCSTATUS event(void *handle, NV_ENC_EVENT_PARAMS *params)
{
    (void)handle;
    (void)params;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS stats(void *handle, NV_ENC_STAT *params)
{
    (void)handle;
    (void)params;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS invalidate(void *handle, uint64_t pts)
{
    (void)handle;
    (void)pts;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS motion_create(void *handle, NV_ENC_CREATE_MV_BUFFER *params)
{
    (void)handle;
    (void)params;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS motion_destroy(void *handle, NV_ENC_OUTPUT_PTR pointer)
{
    (void)handle;
    (void)pointer;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS motion_only(void *handle, NV_ENC_MEONLY_PARAMS *params)
{
    (void)handle;
    (void)params;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

static NVENCSTATUS sequence_params_ex(void *handle, NV_ENC_INITIALIZE_PARAMS *init,
                                      NV_ENC_SEQUENCE_PARAM_PAYLOAD *payload)
{
    (void)handle;
    (void)init;
    (void)payload;
    return NV_ENC_ERR_UNIMPLEMENTED;
}

/* ---- the library ---- */

STANDIN_EXPORT NVENCSTATUS NvEncodeAPIGetMaxSupportedVersion(uint32_t *version)
{
    standin_cuda_init();
    *version = standin_fault(FAULT_OLD_DRIVER, -1)
                   ? OLD_MAJOR << 4
                   : NVENCAPI_MAJOR_VERSION << 4 | NVENCAPI_MINOR_VERSION;
    return NV_ENC_SUCCESS;
}

STANDIN_EXPORT NVENCSTATUS NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *list)
{
    if (list->version != NV_ENCODE_API_FUNCTION_LIST_VER || standin_fault(FAULT_OLD_DRIVER, -1))
        return NV_ENC_ERR_INVALID_VERSION;
    *list = (NV_ENCODE_API_FUNCTION_LIST){
        .version = NV_ENCODE_API_FUNCTION_LIST_VER,
        .nvEncOpenEncodeSession = open_old,
        .nvEncGetEncodeGUIDCount = nvenc_guid_count,
        .nvEncGetEncodeProfileGUIDCount = nvenc_profile_count,
        .nvEncGetEncodeProfileGUIDs = nvenc_profiles,
        .nvEncGetEncodeGUIDs = nvenc_guids,
        .nvEncGetInputFormatCount = nvenc_format_count,
        .nvEncGetInputFormats = nvenc_formats,
        .nvEncGetEncodeCaps = nvenc_caps,
        .nvEncGetEncodePresetCount = nvenc_preset_count,
        .nvEncGetEncodePresetGUIDs = nvenc_presets,
        .nvEncGetEncodePresetConfig = nvenc_preset_config,
        .nvEncInitializeEncoder = initialize,
        .nvEncCreateInputBuffer = input_create,
        .nvEncDestroyInputBuffer = input_destroy,
        .nvEncCreateBitstreamBuffer = output_create,
        .nvEncDestroyBitstreamBuffer = output_destroy,
        .nvEncEncodePicture = encode,
        .nvEncLockBitstream = output_lock,
        .nvEncUnlockBitstream = output_unlock,
        .nvEncLockInputBuffer = input_lock,
        .nvEncUnlockInputBuffer = input_unlock,
        .nvEncGetEncodeStats = stats,
        .nvEncGetSequenceParams = sequence_params,
        .nvEncRegisterAsyncEvent = event,
        .nvEncUnregisterAsyncEvent = event,
        .nvEncMapInputResource = resource_map,
        .nvEncUnmapInputResource = resource_unmap,
        .nvEncDestroyEncoder = destroy,
        .nvEncInvalidateRefFrames = invalidate,
        .nvEncOpenEncodeSessionEx = open_session,
        .nvEncRegisterResource = resource_register,
        .nvEncUnregisterResource = resource_unregister,
        .nvEncReconfigureEncoder = reconfigure,
        .nvEncCreateMVBuffer = motion_create,
        .nvEncDestroyMVBuffer = motion_destroy,
        .nvEncRunMotionEstimationOnly = motion_only,
        .nvEncGetLastErrorString = last_error,
        .nvEncSetIOCudaStreams = set_streams,
        .nvEncGetEncodePresetConfigEx = nvenc_preset_config_ex,
        .nvEncGetSequenceParamEx = sequence_params_ex,
    };
    return NV_ENC_SUCCESS;
}
