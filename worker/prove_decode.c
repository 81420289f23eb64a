#include "worker/prove_decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gpu/gpu_decode.h"
#include "hal/hal_golden.h"
#include "media/media_exact.h"

#define WIDTH   320
#define HEIGHT  192
#define FRAMES  12
#define PACKETS (FRAMES + 4)

struct sample {
    struct media_exact_packet packets[PACKETS];
    int32_t count;
    uint8_t *extradata;
    size_t extradata_bytes;
};

static void sample_free(struct sample *sample)
{
    for (int32_t i = 0; i < sample->count; i++)
        free(sample->packets[i].data);
    free(sample->extradata);
    *sample = (struct sample){0};
}

static int packets_take(struct hal_session *session, struct sample *out)
{
    struct hal_packet packet;
    int got;
    while ((got = hal_encode_receive(session, &packet, NULL)) > 0 && out->count < PACKETS) {
        uint8_t *copy = calloc(1, packet.bytes + MEDIA_EXACT_ROOM);
        if (!copy)
            return SL_ENOMEM;
        memcpy(copy, packet.data, packet.bytes);
        out->packets[out->count++] = (struct media_exact_packet){copy, packet.bytes, packet.pts};
    }
    return got;
}

static int sample_encode(struct hal_session *session, struct hal_golden *golden, struct sample *out)
{
    const uint8_t *extradata = NULL;
    int code = hal_encode_extradata(session, &extradata, &out->extradata_bytes);
    if (code == SL_OK && !(out->extradata = malloc(out->extradata_bytes + 1)))
        code = SL_ENOMEM;
    if (code == SL_OK && out->extradata_bytes > 0)
        memcpy(out->extradata, extradata, out->extradata_bytes);
    for (int32_t i = 0; code == SL_OK && i < FRAMES; i++) {
        code = hal_encode_submit(session, hal_golden_frame(golden, i), NULL);
        if (code == SL_OK)
            code = packets_take(session, out);
    }
    if (code == SL_OK)
        code = hal_encode_flush(session, NULL);
    return code == SL_OK ? packets_take(session, out) : code;
}

/* By the CPU's own encoder, whose pictures predict from both sides and whose sessions are not the device's. */
static int sample_make(const struct hal_backends *backends, struct hal_device *cpu,
                       const struct hal_row *row, enum hal_layout layout, struct sample *out)
{
    struct hal_session *session = NULL;
    struct hal_golden *golden = NULL;
    struct hal_encode_params params = {
        .codec = row->codec,
        .layout = layout,
        .width = WIDTH,
        .height = HEIGHT,
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .sar = {1, 1},
        .crf_tenths = 280,
        .preset = "superfast",
        .gop_frames = FRAMES,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    int code = hal_golden_open(layout, WIDTH, HEIGHT, &golden);
    if (code == SL_OK)
        code = hal_encode_open(backends, cpu, row->encoder, &params, &session, NULL);
    if (code == SL_OK)
        code = sample_encode(session, golden, out);
    hal_encode_close(&session);
    hal_golden_close(&golden);
    return code;
}

static const struct hal_row *encoding(const struct hal_device *cpu, enum codec codec,
                                      enum hal_layout layout)
{
    for (int32_t i = 0; i < cpu->row_count; i++)
        if (cpu->rows[i].direction == HAL_ENCODE && cpu->rows[i].codec == codec &&
            cpu->rows[i].layouts & 1u << layout)
            return &cpu->rows[i];
    return NULL;
}

/* How the device lays what the CPU has in this layout. */
static enum hal_layout layout_there(enum hal_layout layout)
{
    return layout == HAL_I420_10 ? HAL_P010 : HAL_NV12;
}

static bool is_exact(const struct hal_backends *backends, const struct hal_device *device,
                     AVBufferRef *context, struct hal_device *cpu, enum codec codec,
                     enum hal_layout layout)
{
    struct sample sample = {0};
    struct sl_failure why = {0};
    const struct hal_row *row = encoding(cpu, codec, layout);
    int code = row ? sample_make(backends, cpu, row, layout, &sample) : SL_ENOENCODER;
    if (code != SL_OK)
        sl_fail(&why, code, "its decoder of %s cannot be tried, since nothing here makes any",
                codec_word(codec));
    else
        code = media_exact(context, codec, sample.extradata, sample.extradata_bytes, sample.packets,
                           sample.count, &why);
    if (code != SL_OK)
        sl_warn(NULL, "device %s: %s (%d bits); the CPU decodes it", device->device_id, why.message,
                layout == HAL_I420_10 ? 10 : 8);
    sample_free(&sample);
    return code == SL_OK;
}

void prove_decode(const struct hal_backends *backends, struct hal_device *device)
{
    static struct hal_device cpu;
    AVBufferRef *context = NULL;
    enum AVPixelFormat surface;
    int32_t cpus = 0;
    bool any = false;
    for (int32_t i = 0; i < device->row_count; i++)
        any |= device->rows[i].direction == HAL_DECODE;
    if (!any || gpu_decode_context(device, &context, &surface, NULL) != SL_OK)
        return;
    hal_probe_kind(backends, DEVICE_CPU, &cpu, 1, &cpus, NULL);
    for (int32_t i = 0; i < device->row_count; i++) {
        struct hal_row *row = &device->rows[i];
        for (int layout = HAL_I420; row->direction == HAL_DECODE && layout <= HAL_I420_10;
             layout++) {
            uint32_t bit = 1u << layout_there((enum hal_layout)layout);
            if (row->layouts & bit &&
                !is_exact(backends, device, context, &cpu, row->codec, (enum hal_layout)layout))
                row->layouts &= ~bit;
        }
    }
}
