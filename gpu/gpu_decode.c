#include "gpu/gpu_decode.h"

#include <string.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_va.h"

/* MPEG-2 stays the CPU's: it leaves the inverse transform's rounding to the decoder, so that no two need agree on a sample. */
static const struct {
    enum codec codec;
    cudaVideoCodec number;
    const char *name; /* libavcodec's */
} codecs[] = {
    {CODEC_H264, cudaVideoCodec_H264, "h264"},
    {CODEC_H265, cudaVideoCodec_HEVC, "hevc"},
    {CODEC_VP9, cudaVideoCodec_VP9, "vp9"},
    {CODEC_AV1, cudaVideoCodec_AV1, "av1"},
};
#define CODECS (sizeof codecs / sizeof *codecs)

static void row_add(const struct gpu_driver *driver, size_t i, struct hal_device *device)
{
    struct hal_row row = {.codec = codecs[i].codec, .direction = HAL_DECODE};
    for (unsigned deeper = 0; deeper <= 2; deeper += 2) {
        CUVIDDECODECAPS caps = {.eCodecType = codecs[i].number,
                                .eChromaFormat = cudaVideoChromaFormat_420,
                                .nBitDepthMinus8 = deeper};
        if (driver->cuvid->cuvidGetDecoderCaps(&caps) != CUDA_SUCCESS || !caps.bIsSupported)
            continue;
        /* The sizes of eight bits hold for ten as well. */
        if (!row.layouts) {
            row.width_min = caps.nMinWidth;
            row.height_min = caps.nMinHeight;
            row.width_max = (int32_t)caps.nMaxWidth;
            row.height_max = (int32_t)caps.nMaxHeight;
        }
        row.layouts |= 1u << (deeper ? HAL_P010 : HAL_NV12);
    }
    if (row.layouts && device->row_count < HAL_ROWS_MAX)
        device->rows[device->row_count++] = row;
}

void gpu_decode_rows(const struct gpu_driver *driver, struct hal_device *device)
{
    AVBufferRef *context;
    struct sl_failure why = {0};
    if (!driver->cuvid || !driver->cuvid->cuvidGetDecoderCaps ||
        gpu_context(device->device_id, &context, &why) != SL_OK ||
        gpu_context_enter(context, &why) != SL_OK)
        return;
    for (size_t i = 0; i < CODECS; i++)
        row_add(driver, i, device);
    gpu_context_leave(context);
}

bool gpu_decodes(const struct hal_device *device, const struct media_video *video)
{
    uint32_t wanted = 0;
    /* NVDEC rounds odd sizes up, and libavcodec looks for the chroma where it would lie if they were not. */
    if (video->width % 2 || video->height % 2)
        return false;
    if (strcmp(video->pix_fmt, "yuv420p") == 0 || strcmp(video->pix_fmt, "yuvj420p") == 0)
        wanted = 1u << HAL_NV12;
    else if (strcmp(video->pix_fmt, "yuv420p10le") == 0)
        wanted = 1u << HAL_P010;
    for (int32_t r = 0; r < device->row_count; r++) {
        const struct hal_row *row = &device->rows[r];
        for (size_t i = 0; i < CODECS; i++)
            if (row->direction == HAL_DECODE && row->codec == codecs[i].codec &&
                strcmp(codecs[i].name, video->codec) == 0 && row->layouts & wanted)
                return video->width >= row->width_min && video->width <= row->width_max &&
                       video->height >= row->height_min && video->height <= row->height_max;
    }
    return false;
}

int gpu_decode_context(const struct hal_device *device, AVBufferRef **out,
                       enum AVPixelFormat *surface, struct sl_failure *why)
{
    switch (device->kind) {
    case DEVICE_NVENC:
        *surface = AV_PIX_FMT_CUDA;
        return gpu_context(device->device_id, out, why);
    case DEVICE_VAAPI:
        *surface = AV_PIX_FMT_VAAPI;
        return gpu_va_context(device->device_id, out, why);
    default:
        return sl_fail(why, SL_EUNSUPPORTED, "%s is no device with surfaces", device->device_id);
    }
}
