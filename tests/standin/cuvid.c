/* The stand-in libnvcuvid: decoders, their pictures, and surfaces to read them from. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/cuda.h"

#include <ffnvcodec/dynlink_nvcuvid.h>

#include "tests/standin/cuvid_h264.h"
#include "tests/standin/soft_decode.h"
#include "tests/standin/state.h"

#define DECODER_MAGIC 0x6e766431u

const char sluice_standin[] = "sluice stand-in for libnvcuvid";

/* Beyond it the vendor's decoder is not created. */
#define SURFACES_MAX    32
#define OUTPUTS_MAX     64
#define SIDE_MAX        8192
#define PITCH_ALIGN     512

/* Codes that ffnvcodec does not name. */
#define CUDA_MAP_FAILED ((CUresult)205)

/* H.265 and AV1 come without the parameter sets and headers that a decoder in software needs. */
static const struct codec {
    cudaVideoCodec number;
    const char *name; /* libavcodec's */
    bool ten_bit;
    unsigned short real_width_min, real_height_min; /* of GPUs that one buys */
} codecs[] = {
    {cudaVideoCodec_H264, "h264", false, 48, 16},
    {cudaVideoCodec_VP9, "vp9", true, 128, 128},
};

/* A picture where the decoder keeps it. */
struct picture {
    AVFrame *planes; /* NULL: nothing was decoded into it, or what did not decode */
    int spoilt;      /* enum standin_wrong, or -1 */
};

struct output {
    CUdeviceptr at;
    bool mapped;
};

struct decoder {
    uint32_t magic;
    CUcontext context;
    int device;
    CUVIDDECODECREATEINFO info;
    struct soft_decoder *soft;
    struct cuvid_h264 stream; /* what it is given, of H.264 */
    size_t memory_bytes;      /* of the surfaces that the vendor's would hold */
    struct picture pictures[SURFACES_MAX];
    pthread_mutex_t lock; /* of the outputs: they are given back by whoever read last */
    struct output outputs[OUTPUTS_MAX];
    unsigned output_count;
    size_t pitch;
    unsigned rows; /* of luma: an even number */
};

/* ---- what it decodes ---- */

static CUresult context_here(CUcontext *out, int *device)
{
    CUresult rc = cuCtxGetCurrent(out);
    if (rc == CUDA_SUCCESS && standin_cuda_device(*out) < 0)
        rc = CUDA_INVALID_CONTEXT;
    if (rc == CUDA_SUCCESS && standin_cuda_dead(*out))
        rc = CUDA_ERROR_UNKNOWN;
    if (rc == CUDA_SUCCESS)
        *device = standin_cuda_device(*out);
    return rc;
}

static const struct codec *codec_of(int device, cudaVideoCodec number, cudaVideoChromaFormat chroma,
                                    unsigned deeper)
{
    if (standin_fault_decoding(FAULT_NO_ENGINE, device) || chroma != cudaVideoChromaFormat_420)
        return NULL;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].number == number &&
            (deeper == 0 ||
             (deeper == 2 && codecs[i].ten_bit && !standin_fault_decoding(FAULT_NO_TEN, device))))
            return &codecs[i];
    return NULL;
}

static unsigned short size_min(int device, unsigned short real)
{
    return standin_fault_decoding(FAULT_REAL_SIZES, device) ? real : 32;
}

STANDIN_EXPORT CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS *caps)
{
    CUcontext context;
    int device;
    CUresult rc = context_here(&context, &device);
    if (rc != CUDA_SUCCESS)
        return rc;
    const struct codec *codec =
        codec_of(device, caps->eCodecType, caps->eChromaFormat, caps->nBitDepthMinus8);
    *caps = (CUVIDDECODECAPS){.eCodecType = caps->eCodecType,
                              .eChromaFormat = caps->eChromaFormat,
                              .nBitDepthMinus8 = caps->nBitDepthMinus8};
    if (!codec)
        return CUDA_SUCCESS;
    caps->bIsSupported = 1;
    caps->nNumNVDECs = 1;
    caps->nOutputFormatMask =
        (unsigned short)(caps->nBitDepthMinus8 ? 1u << cudaVideoSurfaceFormat_P016
                                               : 1u << cudaVideoSurfaceFormat_NV12);
    caps->nMaxWidth = caps->nMaxHeight = SIDE_MAX;
    caps->nMaxMBCount = SIDE_MAX / 16 * (SIDE_MAX / 16);
    caps->nMinWidth = size_min(device, codec->real_width_min);
    caps->nMinHeight = size_min(device, codec->real_height_min);
    return CUDA_SUCCESS;
}

/* ---- decoders ---- */

static struct decoder *decoder_any(CUvideodecoder handle)
{
    struct decoder *decoder = handle;
    return decoder && decoder->magic == DECODER_MAGIC ? decoder : NULL;
}

static struct decoder *decoder_of(CUvideodecoder handle, CUresult *rc)
{
    struct decoder *decoder = decoder_any(handle);
    *rc = !decoder                              ? CUDA_INVALID_HANDLE
          : standin_cuda_dead(decoder->context) ? CUDA_ERROR_UNKNOWN
                                                : CUDA_SUCCESS;
    return *rc == CUDA_SUCCESS ? decoder : NULL;
}

/* What is scaled, cropped, deinterlaced or of another layout on the way out is the vendor's alone. */
static bool info_taken(const CUVIDDECODECREATEINFO *info, const struct codec *codec, int device)
{
    cudaVideoSurfaceFormat format =
        info->bitDepthMinus8 ? cudaVideoSurfaceFormat_P016 : cudaVideoSurfaceFormat_NV12;
    return info->ulWidth >= size_min(device, codec->real_width_min) &&
           info->ulHeight >= size_min(device, codec->real_height_min) &&
           info->ulWidth <= SIDE_MAX && info->ulHeight <= SIDE_MAX &&
           info->ulTargetWidth == info->ulWidth && info->ulTargetHeight == info->ulHeight &&
           info->OutputFormat == format &&
           info->DeinterlaceMode == cudaVideoDeinterlaceMode_Weave &&
           info->ulNumDecodeSurfaces >= 1 && info->ulNumDecodeSurfaces <= SURFACES_MAX &&
           info->ulNumOutputSurfaces >= 1 && info->ulNumOutputSurfaces <= OUTPUTS_MAX;
}

static void decoder_free(struct decoder *decoder)
{
    for (unsigned i = 0; i < SURFACES_MAX; i++)
        av_frame_free(&decoder->pictures[i].planes);
    for (unsigned i = 0; i < decoder->output_count; i++)
        cuMemFree_v2(decoder->outputs[i].at);
    if (decoder->memory_bytes)
        standin_memory_take(decoder->device, -(int64_t)decoder->memory_bytes, 0);
    soft_decoder_close(&decoder->soft);
    cuvid_h264_free(&decoder->stream);
    pthread_mutex_destroy(&decoder->lock);
    decoder->magic = 0;
    free(decoder);
}

static CUresult surfaces_make(struct decoder *decoder)
{
    size_t sample = decoder->info.bitDepthMinus8 ? 2 : 1;
    decoder->pitch = (decoder->info.ulWidth * sample + PITCH_ALIGN - 1) / PITCH_ALIGN * PITCH_ALIGN;
    decoder->rows = ((unsigned)decoder->info.ulHeight + 1) & ~1u;
    size_t bytes = decoder->pitch * (decoder->rows + decoder->rows / 2);
    size_t kept = bytes * decoder->info.ulNumDecodeSurfaces;
    if (!standin_memory_take(decoder->device, (int64_t)kept,
                             standin_cuda_total_bytes(decoder->device)))
        return CUDA_OUT_OF_MEMORY;
    decoder->memory_bytes = kept;
    for (; decoder->output_count < decoder->info.ulNumOutputSurfaces; decoder->output_count++) {
        CUresult rc = cuMemAlloc_v2(&decoder->outputs[decoder->output_count].at, bytes);
        if (rc != CUDA_SUCCESS)
            return rc;
    }
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuvidCreateDecoder(CUvideodecoder *out, CUVIDDECODECREATEINFO *info)
{
    CUcontext context;
    int device;
    *out = NULL;
    CUresult rc = context_here(&context, &device);
    if (rc != CUDA_SUCCESS)
        return rc;
    if (standin_fault_decoding(FAULT_NO_ENGINE, device))
        return CUDA_NO_DEVICE;
    const struct codec *codec =
        codec_of(device, info->CodecType, info->ChromaFormat, (unsigned)info->bitDepthMinus8);
    if (!codec)
        return CUDA_NOT_SUPPORTED;
    if (!info_taken(info, codec, device))
        return CUDA_INVALID_VALUE;
    struct decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return CUDA_OUT_OF_MEMORY;
    *decoder = (struct decoder){
        .magic = DECODER_MAGIC, .context = context, .device = device, .info = *info};
    pthread_mutex_init(&decoder->lock, NULL);
    decoder->soft = soft_decoder_open(codec->name);
    rc = decoder->soft ? surfaces_make(decoder) : CUDA_OUT_OF_MEMORY;
    if (rc == CUDA_SUCCESS)
        *out = decoder;
    else
        decoder_free(decoder);
    return rc;
}

STANDIN_EXPORT CUresult cuvidDestroyDecoder(CUvideodecoder handle)
{
    struct decoder *decoder = decoder_any(handle);
    if (!decoder)
        return CUDA_INVALID_HANDLE;
    decoder_free(decoder);
    return CUDA_SUCCESS;
}

/* ---- pictures ---- */

/* Frames of VP9 come whole, of H.264 slices with fields of what parameter sets say. */
static bool bytes_find(struct decoder *decoder, const CUVIDPICPARAMS *params, const uint8_t **data,
                       size_t *bytes)
{
    *data = params->pBitstreamData;
    *bytes = params->nBitstreamDataLen;
    if (decoder->info.CodecType != cudaVideoCodec_H264)
        return true;
    if (!cuvid_h264_make(&decoder->stream, params))
        return false;
    if (cuvid_h264_begins(params))
        soft_decoder_flush(decoder->soft);
    *data = decoder->stream.bytes;
    *bytes = decoder->stream.length;
    return true;
}

/* As the vendor's, it shows something for whatever it was given: of what does not decode, grey. */
STANDIN_EXPORT CUresult cuvidDecodePicture(CUvideodecoder handle, CUVIDPICPARAMS *params)
{
    CUresult rc;
    struct decoder *decoder = decoder_of(handle, &rc);
    if (!decoder)
        return rc;
    if (params->CurrPicIdx < 0 ||
        (unsigned)params->CurrPicIdx >= decoder->info.ulNumDecodeSurfaces ||
        !params->nBitstreamDataLen || !params->pBitstreamData)
        return CUDA_INVALID_VALUE;
    int spoilt = standin_picture(decoder->device, ENGINE_DECODE);
    if (standin_cuda_dead(decoder->context))
        return CUDA_ERROR_UNKNOWN;
    const uint8_t *data;
    size_t bytes;
    if (spoilt == WRONG_REFUSE || !bytes_find(decoder, params, &data, &bytes))
        return CUDA_NOT_SUPPORTED;
    struct picture *picture = &decoder->pictures[params->CurrPicIdx];
    av_frame_free(&picture->planes);
    picture->planes = soft_decode(decoder->soft, data, bytes);
    picture->spoilt = spoilt;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuvidGetDecodeStatus(CUvideodecoder handle, int index,
                                             CUVIDGETDECODESTATUS *out)
{
    CUresult rc;
    struct decoder *decoder = decoder_of(handle, &rc);
    if (!decoder)
        return rc;
    if (index < 0 || (unsigned)index >= decoder->info.ulNumDecodeSurfaces)
        return CUDA_INVALID_VALUE;
    *out = (CUVIDGETDECODESTATUS){.decodeStatus = decoder->pictures[index].planes
                                                      ? cuvidDecodeStatus_Success
                                                      : cuvidDecodeStatus_Error};
    return CUDA_SUCCESS;
}

static bool planes_fit(const struct decoder *decoder, const AVFrame *planes)
{
    int wanted =
        decoder->info.bitDepthMinus8 ? (int)AV_PIX_FMT_YUV420P10LE : (int)AV_PIX_FMT_YUV420P;
    bool full = !decoder->info.bitDepthMinus8 && planes->format == AV_PIX_FMT_YUVJ420P;
    return (planes->format == wanted || full) && (unsigned)planes->width <= decoder->info.ulWidth &&
           (unsigned)planes->height <= decoder->info.ulHeight;
}

/* Rows of luma, then of chroma that lies U, V, U, V; ten bits lie high in their words. */
static void planes_lay(const AVFrame *planes, uint8_t *to, size_t pitch, unsigned rows, bool deep)
{
    for (int y = 0; y < planes->height; y++) {
        const uint8_t *from = planes->data[0] + (ptrdiff_t)y * planes->linesize[0];
        uint16_t *wide = (uint16_t *)(void *)(to + pitch * (size_t)y);
        if (!deep)
            memcpy(wide, from, (size_t)planes->width);
        for (int x = 0; deep && x < planes->width; x++)
            wide[x] = (uint16_t)(((const uint16_t *)(const void *)from)[x] << 6);
    }
    to += pitch * rows;
    for (int y = 0; y < (planes->height + 1) / 2; y++, to += pitch)
        for (int p = 1; p < 3; p++) {
            const uint8_t *from = planes->data[p] + (ptrdiff_t)y * planes->linesize[p];
            uint16_t *wide = (uint16_t *)(void *)to;
            for (int x = 0; x < (planes->width + 1) / 2; x++)
                if (deep)
                    wide[2 * x + p - 1] =
                        (uint16_t)(((const uint16_t *)(const void *)from)[x] << 6);
                else
                    to[2 * x + p - 1] = from[x];
        }
}

static void picture_show(const struct decoder *decoder, const struct picture *picture, uint8_t *to)
{
    size_t bytes = decoder->pitch * (decoder->rows + decoder->rows / 2);
    bool whole = picture->planes && planes_fit(decoder, picture->planes);
    if (picture->spoilt == WRONG_DROP)
        return; /* what was there before */
    if (!whole || picture->spoilt == WRONG_PICTURE) {
        memset(to, 0x80, bytes);
        return;
    }
    planes_lay(picture->planes, to, decoder->pitch, decoder->rows,
               decoder->info.bitDepthMinus8 > 0);
    for (size_t i = 0; picture->spoilt == WRONG_GARBAGE && i < bytes; i++)
        to[i] ^= 0x5a;
}

static struct output *output_take(struct decoder *decoder)
{
    struct output *found = NULL;
    pthread_mutex_lock(&decoder->lock);
    for (unsigned i = 0; !found && i < decoder->output_count; i++)
        if (!decoder->outputs[i].mapped)
            found = &decoder->outputs[i];
    if (found)
        found->mapped = true;
    pthread_mutex_unlock(&decoder->lock);
    return found;
}

STANDIN_EXPORT CUresult cuvidMapVideoFrame64(CUvideodecoder handle, int index,
                                             unsigned long long *at, unsigned *pitch,
                                             CUVIDPROCPARAMS *params)
{
    CUresult rc;
    (void)params;
    struct decoder *decoder = decoder_of(handle, &rc);
    if (!decoder)
        return rc;
    if (index < 0 || (unsigned)index >= decoder->info.ulNumDecodeSurfaces)
        return CUDA_INVALID_VALUE;
    struct output *output = output_take(decoder);
    if (!output)
        return CUDA_MAP_FAILED; /* more are mapped than were asked for */
    picture_show(decoder, &decoder->pictures[index], (uint8_t *)(uintptr_t)output->at);
    *at = output->at;
    *pitch = (unsigned)decoder->pitch;
    return CUDA_SUCCESS;
}

STANDIN_EXPORT CUresult cuvidUnmapVideoFrame64(CUvideodecoder handle, unsigned long long at)
{
    struct decoder *decoder = decoder_any(handle);
    CUresult rc = decoder ? CUDA_INVALID_VALUE : CUDA_INVALID_HANDLE;
    if (!decoder)
        return rc;
    pthread_mutex_lock(&decoder->lock);
    for (unsigned i = 0; i < decoder->output_count; i++)
        if (decoder->outputs[i].at == at && decoder->outputs[i].mapped) {
            decoder->outputs[i].mapped = false;
            rc = CUDA_SUCCESS;
        }
    pthread_mutex_unlock(&decoder->lock);
    return rc;
}

/* ---- what it does without: changes of size, locks, demuxers ---- */

#define ABSENT(name)                                                                               \
    STANDIN_EXPORT CUresult name(void);                                                            \
    CUresult name(void)                                                                            \
    {                                                                                              \
        return CUDA_NOT_SUPPORTED;                                                                 \
    }

ABSENT(cuvidReconfigureDecoder)
ABSENT(cuvidCtxLockCreate)
ABSENT(cuvidCtxLockDestroy)
ABSENT(cuvidCtxLock)
ABSENT(cuvidCtxUnlock)
ABSENT(cuvidCreateVideoSource)
ABSENT(cuvidCreateVideoSourceW)
ABSENT(cuvidDestroyVideoSource)
ABSENT(cuvidSetVideoSourceState)
ABSENT(cuvidGetVideoSourceState)
ABSENT(cuvidGetSourceVideoFormat)
ABSENT(cuvidGetSourceAudioFormat)
