#include "worker/measure_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"
#include "hal/hal_golden.h"
#include "package/cmaf.h"
#include "worker/backends.h"

#define TIMESCALE 24
#define REORDER   4
#define GOP       48

struct made {
    struct sl_buf bytes;
    struct cmaf_packet *packets;
    size_t *offsets;
    int32_t count, room;
};

static int packets_take(struct hal_session *session, struct made *made, struct sl_failure *why)
{
    struct hal_packet packet;
    int got;
    while ((got = hal_encode_receive(session, &packet, why)) > 0) {
        if (made->count == made->room)
            return sl_fail(why, SL_EMISMATCH, "more packets came than %d pictures", made->room);
        made->offsets[made->count] = made->bytes.length;
        made->packets[made->count++] =
            (struct cmaf_packet){.bytes = packet.bytes, .pts = packet.pts, .idr = packet.idr};
        sl_buf_append(&made->bytes, packet.data, packet.bytes);
    }
    return made->bytes.failed ? sl_fail(why, SL_ENOMEM, "no memory for a source") : got;
}

static int pictures_encode(struct hal_session *session, const struct measure_source *source,
                           struct made *made, struct sl_failure *why)
{
    struct hal_golden *golden = NULL;
    int code = hal_golden_open(HAL_I420, source->width, source->height, &golden);
    if (code != SL_OK)
        return sl_fail(why, code, "no memory for golden pictures");
    for (int32_t i = 0; i < source->frames && code == SL_OK; i++) {
        struct hal_frame frame = *hal_golden_frame(golden, i);
        frame.force_idr = i % GOP == 0;
        code = hal_encode_submit(session, &frame, why);
        if (code == SL_OK)
            code = packets_take(session, made, why);
    }
    if (code == SL_OK)
        code = hal_encode_flush(session, why);
    if (code == SL_OK)
        code = packets_take(session, made, why);
    hal_golden_close(&golden);
    for (int32_t i = 0; i < made->count; i++)
        made->packets[i].data = made->bytes.data + made->offsets[i];
    return code;
}

static int file_make(struct measure_source *source, const struct sl_buf *init,
                     const struct sl_buf *segment, struct sl_failure *why)
{
    const struct sl_buf *parts[] = {init, segment};
    source->fd = memfd_create("source", MFD_CLOEXEC);
    for (int i = 0; i < 2 && source->fd >= 0; i++) {
        if (pwrite(source->fd, parts[i]->data, parts[i]->length, source->bytes) !=
            (ssize_t)parts[i]->length)
            measure_source_close(source);
        source->bytes += (int64_t)parts[i]->length;
    }
    return source->fd >= 0 ? SL_OK : sl_fail(why, SL_EIO, "no file in memory for a source");
}

static int wrap(struct hal_session *session, struct measure_source *source, const struct made *made,
                struct sl_failure *why)
{
    struct cmaf_track track = {
        .codec = CODEC_H264,
        .timescale = TIMESCALE,
        .reorder_ticks = REORDER,
        .width = source->width,
        .height = source->height,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
        .bit_depth = 8,
        .frame_rate = {TIMESCALE, 1},
    };
    struct cmaf_writer *writer = NULL;
    struct sl_buf init = {0}, segment = {0};
    int code = hal_encode_extradata(session, &track.extradata, &track.extradata_bytes);
    if (code == SL_OK)
        code = cmaf_open(&track, &writer, why);
    if (code == SL_OK)
        code = cmaf_init(writer, &init, why);
    if (code == SL_OK)
        code = cmaf_segment(writer, 0, made->packets, (size_t)made->count, 0, source->frames,
                            &segment, why);
    if (code == SL_OK)
        code = file_make(source, &init, &segment, why);
    cmaf_close(&writer);
    sl_buf_fini(&init);
    sl_buf_fini(&segment);
    return code;
}

static void rungs_fill(struct measure_source *source)
{
    static const int32_t parts[MEASURE_RUNGS][2] = {{2, 3}, {4, 9}, {1, 3}};
    for (int i = 0; i < MEASURE_RUNGS; i++) {
        struct plan_rung *rung = &source->rungs[i];
        *rung = (struct plan_rung){
            .codec = CODEC_H264,
            .width = source->width * parts[i][0] / parts[i][1] & ~1,
            .height = source->height * parts[i][0] / parts[i][1] & ~1,
            .crf_tenths = 230,
            .encoder = "x264",
            .preset = "medium",
            .profile = "high",
        };
        snprintf(rung->name, sizeof rung->name, "%dp", rung->height);
        source->rung_pix += (int64_t)rung->width * rung->height;
    }
}

int measure_source_open(struct hal_device *cpu, int32_t width, int32_t height, int32_t frames,
                        struct measure_source *out, struct sl_failure *why)
{
    struct hal_session *session = NULL;
    struct made made = {.room = frames};
    struct hal_encode_params params = {
        .codec = CODEC_H264,
        .layout = HAL_I420,
        .width = width,
        .height = height,
        .time_base = {1, TIMESCALE},
        .frame_rate = {TIMESCALE, 1},
        .sar = {1, 1},
        .crf_tenths = 200,
        .preset = "veryfast",
        .gop_frames = GOP,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    *out = (struct measure_source){.fd = -1, .width = width, .height = height, .frames = frames};
    made.packets = calloc((size_t)frames, sizeof *made.packets);
    made.offsets = calloc((size_t)frames, sizeof *made.offsets);
    int code =
        made.packets && made.offsets ? SL_OK : sl_fail(why, SL_ENOMEM, "no memory for a source");
    if (code == SL_OK)
        code = hal_encode_open(&worker_backends, cpu, "x264", &params, &session, why);
    if (code == SL_OK)
        code = pictures_encode(session, out, &made, why);
    if (code == SL_OK)
        code = wrap(session, out, &made, why);
    hal_encode_close(&session);
    sl_buf_fini(&made.bytes);
    free(made.packets);
    free(made.offsets);
    rungs_fill(out);
    return code;
}

void measure_source_job(struct measure_source *source, const struct media_video *video,
                        struct job *out)
{
    source->segment = (struct job_segment){
        .start_pts = video->first_pts, .end_pts = video->end_pts, .frame_count = source->frames};
    *out = (struct job){
        .step = STEP_TRANSCODE,
        .video = "measure",
        .device_id = "cpu",
        .transcode =
            {
                .source = *video,
                .picture = {.source_primaries = 1,
                            .source_transfer = 1,
                            .source_matrix = 1,
                            .primaries = 1,
                            .transfer = 1,
                            .matrix = 1,
                            .bit_depth = 8},
                .start_pts = video->first_pts,
                .end_pts = video->end_pts,
                .origin_pts = video->first_pts,
                .byte_first = -1,
                .timescale = TIMESCALE,
                .reorder_ticks = REORDER,
                .gop_ns = 2 * SL_NS_PER_S,
                .frame_rate = {TIMESCALE, 1},
                .last_chunk = true,
                .write_init = true,
                .segments = &source->segment,
                .segment_count = 1,
                .rungs = source->rungs,
                .rung_count = MEASURE_RUNGS,
            },
    };
}

void measure_source_close(struct measure_source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
}
