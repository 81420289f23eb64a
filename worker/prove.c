#include "worker/prove.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "gpu/gpu_agree.h"
#include "hal/hal_golden.h"
#include "media/media_check.h"
#include "package/cmaf.h"
#include "wire/wire_control.h"
#include "worker/backends.h"
#include "worker/prove_feed.h"

#define WIDTH      320
#define HEIGHT     180
#define FRAMES     30
#define TIMESCALE  24
#define CRF_TENTHS 200
/* The next picture comes to 27 dB, what encoders make of the right one at this quality to 36 and more. */
#define PSNR_LEAST 31.0
#define REORDER    4

struct chunk {
    struct sl_buf bytes;
    struct cmaf_packet packets[FRAMES];
    size_t offsets[FRAMES];
    size_t count;
};

static int packets_take(struct hal_session *session, struct chunk *chunk, struct sl_failure *why)
{
    struct hal_packet packet;
    int got;
    while ((got = hal_encode_receive(session, &packet, why)) > 0) {
        if (chunk->count == FRAMES)
            return sl_fail(why, SL_EMISMATCH, "more than %d packets came of %d pictures", FRAMES,
                           FRAMES);
        chunk->offsets[chunk->count] = chunk->bytes.length;
        chunk->packets[chunk->count++] =
            (struct cmaf_packet){.bytes = packet.bytes, .pts = packet.pts, .idr = packet.idr};
        sl_buf_append(&chunk->bytes, packet.data, packet.bytes);
        if (chunk->bytes.failed)
            return sl_fail(why, SL_ENOMEM, "no memory for a golden chunk");
    }
    return got;
}

static int encode(struct hal_session *session, struct hal_golden *golden, struct chunk *chunk,
                  struct sl_failure *why)
{
    int code = SL_OK;
    for (int32_t i = 0; i < FRAMES && code == SL_OK; i++) {
        code = hal_encode_submit(session, hal_golden_frame(golden, i), why);
        if (code == SL_OK)
            code = packets_take(session, chunk, why);
    }
    if (code == SL_OK)
        code = hal_encode_flush(session, why);
    if (code == SL_OK)
        code = packets_take(session, chunk, why);
    for (size_t i = 0; i < chunk->count; i++)
        chunk->packets[i].data = chunk->bytes.data + chunk->offsets[i];
    return code;
}

struct looked {
    struct hal_golden *golden;
    int64_t worst_at;
    double worst;
    struct gpu_agree *measure;
    struct sl_failure measuring;
};

static void look(void *arg, int64_t number, const struct hal_frame *picture)
{
    struct looked *looked = arg;
    double psnr = hal_golden_psnr(looked->golden, (int32_t)number, picture);
    if (psnr < looked->worst) {
        looked->worst = psnr;
        looked->worst_at = number;
    }
    if (looked->measuring.code == SL_OK)
        gpu_agree_on(looked->measure, hal_golden_frame(looked->golden, (int32_t)number), picture,
                     psnr, &looked->measuring);
}

static int read_back(struct hal_session *session, const struct hal_device *device,
                     const struct hal_row *row, const struct chunk *chunk,
                     struct hal_golden *planar, struct sl_failure *why)
{
    struct cmaf_track track = {
        .codec = row->codec,
        .timescale = TIMESCALE,
        .reorder_ticks = REORDER,
        .width = WIDTH,
        .height = HEIGHT,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
        .bit_depth = 8,
        .frame_rate = {TIMESCALE, 1},
    };
    struct looked looked = {.golden = planar, .worst = INFINITY};
    struct media_check_want want = {
        .timescale = TIMESCALE,
        .frame_count = FRAMES,
        .last_ticks = FRAMES - 1,
        .width = WIDTH,
        .height = HEIGHT,
        .decode = MEDIA_CHECK_WHOLE,
        .shown = look,
        .shown_arg = &looked,
    };
    struct cmaf_writer *writer = NULL;
    struct sl_buf init = {0}, segment = {0};
    int code = hal_encode_extradata(session, &track.extradata, &track.extradata_bytes);
    if (code == SL_OK)
        code = gpu_agree_open(device, WIDTH, HEIGHT, &looked.measure, why);
    if (code == SL_OK)
        code = cmaf_open(&track, &writer, why);
    if (code == SL_OK)
        code = cmaf_init(writer, &init, why);
    if (code == SL_OK)
        code = cmaf_segment(writer, 0, chunk->packets, chunk->count, 0, FRAMES, &segment, why);
    if (code == SL_OK)
        code = media_check_segment(init.data, init.length, segment.data, segment.length, &want,
                                   NULL, why);
    if (code == SL_OK && looked.worst < PSNR_LEAST)
        code = sl_fail(why, SL_EMISMATCH,
                       "picture %lld comes back at %.1f dB of what went in; at least %.0f is right",
                       (long long)looked.worst_at, looked.worst, PSNR_LEAST);
    if (code == SL_OK && looked.measuring.code != SL_OK)
        code = sl_fail(why, looked.measuring.code, "%s", looked.measuring.message);
    gpu_agree_close(&looked.measure);
    cmaf_close(&writer);
    sl_buf_fini(&init);
    sl_buf_fini(&segment);
    return code;
}

static int row_prove(struct hal_device *device, const struct hal_row *row, struct sl_failure *why)
{
    struct hal_encode_params params = {
        .codec = row->codec,
        .layout = row->layouts & 1u << HAL_I420 ? HAL_I420 : HAL_NV12,
        .width = WIDTH,
        .height = HEIGHT,
        .time_base = {1, TIMESCALE},
        .frame_rate = {TIMESCALE, 1},
        .sar = {1, 1},
        .crf_tenths = CRF_TENTHS,
        .gop_frames = FRAMES,
        .bframes = -1,
        .preset = "fast",
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    struct hal_golden *golden = NULL, *planar = NULL;
    struct hal_session *session = NULL;
    struct chunk chunk = {.count = 0};
    int code = hal_golden_open(params.layout, WIDTH, HEIGHT, &golden);
    if (code == SL_OK)
        code = hal_golden_open(HAL_I420, WIDTH, HEIGHT, &planar);
    if (code != SL_OK)
        sl_fail(why, code, "no memory for golden pictures");
    if (code == SL_OK)
        code = hal_encode_open(&worker_backends, device, row->encoder, &params, &session, why);
    if (code == SL_OK)
        code = encode(session, golden, &chunk, why);
    if (code == SL_OK)
        code = read_back(session, device, row, &chunk, planar, why);
    hal_encode_close(&session);
    hal_golden_close(&golden);
    hal_golden_close(&planar);
    sl_buf_fini(&chunk.bytes);
    if (code == SL_OK)
        return SL_OK;
    struct sl_failure found = *why;
    return sl_fail(why, code, "the golden chunk in %s: %.180s", codec_word(row->codec),
                   found.message[0] ? found.message : sl_error_text(code));
}

int prove(enum device_kind kind, const char *device_id, int socket)
{
    static struct hal_device device;
    struct sl_failure why = {0};
    int code = hal_probe_one(&worker_backends, kind, device_id, &device, &why);
    bool encodes = false;
    for (int32_t i = 0; i < device.row_count; i++)
        encodes |= device.rows[i].direction == HAL_ENCODE;
    if (code == SL_OK && !encodes)
        code = prove_feed(&device, &why);
    for (int32_t i = 0; i < device.row_count && code == SL_OK; i++)
        if (device.rows[i].direction == HAL_ENCODE)
            code = row_prove(&device, &device.rows[i], &why);
    if (code != SL_OK && why.code == SL_OK)
        sl_fail(&why, code, "%s", sl_error_text(code));
    if (socket < 0)
        printf("%s: %s\n", device_id,
               code == SL_OK ? "the golden chunk came back right" : why.message);
    else if (code == SL_OK)
        control_send(socket, CONTROL_READY, NULL, 0, NULL, 0);
    else
        control_failed_send(socket, &why);
    return code == SL_OK ? 0 : 1;
}
