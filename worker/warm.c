#include "worker/warm.h"

#include <string.h>

#include "media/media_frame.h"

#define WARM_FRAMES 2

static int32_t even_at_least(int32_t size, int32_t least)
{
    return ((size > least ? size : least) + 1) & ~1;
}

static int frames_encode(struct hal_session *session, AVFrame *frame, enum hal_layout layout,
                         struct sl_failure *why)
{
    struct hal_packet packet;
    int rc = SL_OK;
    for (int i = 0; i < WARM_FRAMES && rc >= 0; i++) {
        struct hal_frame view;
        media_frame_view(frame, layout, &view);
        view.pts = i;
        view.force_idr = i == 0;
        rc = hal_encode_submit(session, &view, why);
        while (rc >= 0 && (rc = hal_encode_receive(session, &packet, why)) > 0)
            continue;
    }
    if (rc >= 0)
        rc = hal_encode_flush(session, why);
    while (rc >= 0 && (rc = hal_encode_receive(session, &packet, why)) > 0)
        continue;
    return rc;
}

static int encode_a_little(const struct hal_backends *backends, struct hal_device *device,
                           const struct hal_row *row, struct sl_failure *why)
{
    enum hal_layout layout = row->layouts & 1u << HAL_I420 ? HAL_I420 : HAL_NV12;
    bool capped = !(row->rate_control & HAL_RATE_QUALITY);
    struct hal_encode_params params = {
        .codec = row->codec,
        .layout = layout,
        .width = even_at_least(row->width_min, device->kind == DEVICE_CPU ? 128 : 320),
        .height = even_at_least(row->height_min, device->kind == DEVICE_CPU ? 72 : 180),
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .sar = {1, 1},
        .crf_tenths = 230,
        .maxrate_kbps = capped ? 1000 : 0,
        .bufsize_kbit = capped ? 2000 : 0,
        .gop_frames = 50,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    struct hal_session *session = NULL;
    int rc = hal_encode_open(backends, device, row->encoder, &params, &session, why);
    AVFrame *frame = rc < 0 ? NULL : media_frame_make(layout, params.width, params.height);
    if (frame) {
        int planes = layout == HAL_I420 ? 3 : 2;
        for (int i = 0; i < planes; i++)
            memset(frame->data[i], 0x80,
                   (size_t)frame->linesize[i] * (size_t)(i ? params.height / 2 : params.height));
        rc = frames_encode(session, frame, layout, why);
    }
    av_frame_free(&frame);
    hal_encode_close(&session);
    return rc;
}

void worker_warm(const struct hal_backends *backends, struct hal_device *devices, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        for (int32_t r = 0; r < devices[i].row_count; r++)
            if (devices[i].kind == DEVICE_CPU && devices[i].rows[r].direction == HAL_ENCODE &&
                devices[i].rows[r].codec == CODEC_H264)
                encode_a_little(backends, &devices[i], &devices[i].rows[r], NULL);
}

int worker_warm_device(const struct hal_backends *backends, struct hal_device *device,
                       struct sl_failure *why)
{
    if (device->rows_code < 0)
        return sl_fail(why, device->rows_code,
                       "device %s cannot be warmed up: it could not be asked what it encodes: %s",
                       device->device_id, sl_error_text(device->rows_code));
    for (int32_t r = 0; r < device->row_count; r++) {
        struct sl_failure failure = {0};
        if (device->rows[r].direction != HAL_ENCODE)
            continue;
        int rc = encode_a_little(backends, device, &device->rows[r], &failure);
        if (rc == SL_ESESSIONS || (rc < 0 && sl_error_class(rc) == SL_CLASS_DEVICE))
            return sl_fail(why, rc, "device %s cannot be warmed up with %s: %.140s",
                           device->device_id, codec_word(device->rows[r].codec),
                           failure.code ? failure.message : sl_error_text(rc));
    }
    return SL_OK;
}
