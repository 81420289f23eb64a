#include "worker/warm.h"

#include <string.h>

#include "media/media_frame.h"

#define WARM_WIDTH  128
#define WARM_HEIGHT 72
#define WARM_FRAMES 2

static void encode_a_little(const struct hal_backends *backends, struct hal_device *device,
                            const struct hal_row *row)
{
    struct hal_encode_params params = {
        .codec = row->codec,
        .layout = HAL_I420,
        .width = WARM_WIDTH,
        .height = WARM_HEIGHT,
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .sar = {1, 1},
        .crf_tenths = 230,
        .gop_frames = 50,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    struct hal_session *session = NULL;
    if (hal_encode_open(backends, device, row->encoder, &params, &session, NULL) != SL_OK)
        return;
    AVFrame *frame = media_frame_make(HAL_I420, WARM_WIDTH, WARM_HEIGHT);
    struct hal_packet packet;
    if (frame) {
        for (int i = 0; i < 3; i++)
            memset(frame->data[i], 0x80,
                   (size_t)frame->linesize[i] * (i ? WARM_HEIGHT / 2 : WARM_HEIGHT));
        for (int i = 0; i < WARM_FRAMES; i++) {
            struct hal_frame view;
            media_frame_view(frame, HAL_I420, &view);
            view.pts = i;
            view.force_idr = i == 0;
            if (hal_encode_submit(session, &view, NULL) != SL_OK)
                break;
            while (hal_encode_receive(session, &packet, NULL) > 0)
                continue;
        }
        if (hal_encode_flush(session, NULL) == SL_OK)
            while (hal_encode_receive(session, &packet, NULL) > 0)
                continue;
    }
    av_frame_free(&frame);
    hal_encode_close(&session);
}

void worker_warm(const struct hal_backends *backends, struct hal_device *devices, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        for (int32_t r = 0; r < devices[i].row_count; r++)
            if (devices[i].kind == DEVICE_CPU && devices[i].rows[r].direction == HAL_ENCODE)
                encode_a_little(backends, &devices[i], &devices[i].rows[r]);
}
