/* What the HAL costs: the same pictures through the same h264_nvenc, once by bare calls of libavcodec, once by hal_encode_*.
 *
 *   bench_nvenc WIDTH HEIGHT FRAMES ROUNDS
 *
 * To be run with the stand-in driver first in LD_LIBRARY_PATH, whose work (x264's fastest preset) is part of both sides. A round
 * does both, in turns first, each from opening the encoder to closing it; painting is not timed. Prints one JSON line:
 * the CPU time of each in the middle round, and the middle of the rounds' ratios.
 */
#include <inttypes.h>
#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encoders/encoders.h"
#include "gpu/gpu_cuda.h"
#include "hal/hal_golden.h"

#define PICTURES   32
#define ROUNDS_MAX 64
#define IDR_EVERY  48
#define CRF_TENTHS 230
#define CQ         "26.0" /* what encoders/nvenc.c makes of it */

static int width, height, frames;
static uint8_t *pictures[PICTURES]; /* NV12 */

static void die(const char *what)
{
    fprintf(stderr, "bench_nvenc: %s\n", what);
    exit(1);
}

static int64_t cpu_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void paint(void)
{
    struct hal_golden *golden = NULL;
    size_t luma = (size_t)width * (size_t)height;
    if (hal_golden_open(HAL_NV12, width, height, &golden) != SL_OK)
        die("pictures of this size cannot be painted");
    for (int i = 0; i < PICTURES; i++) {
        const struct hal_frame *frame = hal_golden_frame(golden, i);
        pictures[i] = malloc(luma * 3 / 2);
        if (!pictures[i])
            die("no memory");
        for (int plane = 0; plane < 2; plane++)
            for (int y = 0; y < (plane ? height / 2 : height); y++)
                memcpy(pictures[i] + (plane ? luma : 0) + (size_t)y * (size_t)width,
                       frame->planes[plane] + (size_t)y * frame->stride_bytes[plane],
                       (size_t)width);
    }
    hal_golden_close(&golden);
}

/* ---- bare ---- */

static void keep(void *opaque, uint8_t *data)
{
    (void)opaque;
    (void)data;
}

static int64_t packets_drop(AVCodecContext *codec, AVPacket *packet)
{
    int64_t count = 0;
    while (avcodec_receive_packet(codec, packet) == 0) {
        count++;
        av_packet_unref(packet);
    }
    return count;
}

static AVCodecContext *bare_open(AVBufferRef *context)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("h264_nvenc");
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    AVDictionary *options = NULL;
    if (!c)
        die("this libavcodec has no h264_nvenc");
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_NV12;
    c->time_base = (AVRational){1, 24};
    c->framerate = (AVRational){24, 1};
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->gop_size = 1 << 30;
    c->max_b_frames = 0;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    c->hw_device_ctx = av_buffer_ref(context);
    av_dict_parse_string(&options,
                         "preset=p1:tune=hq:rc=vbr:cq=" CQ ":forced-idr=1:no-scenecut=1:"
                         "spatial-aq=1",
                         "=", ":", 0);
    if (avcodec_open2(c, codec, &options) < 0)
        die("h264_nvenc does not open: is the stand-in first in LD_LIBRARY_PATH?");
    av_dict_free(&options);
    return c;
}

static int64_t bare_run(AVBufferRef *context)
{
    AVCodecContext *c = bare_open(context);
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    int64_t count = 0;
    for (int i = 0; i < frames; i++) {
        uint8_t *at = pictures[i % PICTURES];
        frame->format = AV_PIX_FMT_NV12;
        frame->width = width;
        frame->height = height;
        frame->data[0] = at;
        frame->data[1] = at + (size_t)width * (size_t)height;
        frame->linesize[0] = frame->linesize[1] = width;
        frame->buf[0] = av_buffer_create(at, (size_t)width, keep, NULL, AV_BUFFER_FLAG_READONLY);
        frame->pts = i;
        frame->pict_type = i % IDR_EVERY ? AV_PICTURE_TYPE_NONE : AV_PICTURE_TYPE_I;
        if (avcodec_send_frame(c, frame) < 0)
            die("h264_nvenc refused a picture");
        av_frame_unref(frame);
        count += packets_drop(c, packet);
    }
    avcodec_send_frame(c, NULL);
    count += packets_drop(c, packet);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&c);
    return count;
}

/* ---- by the HAL ---- */

static const struct hal_backends backends = {
    .devices = {&gpu_device_ops},
    .device_count = 1,
    .encoders = {&nvenc_encode_ops},
    .encoder_count = 1,
};

static int64_t packets_take(struct hal_session *session, struct sl_failure *why)
{
    struct hal_packet packet;
    int64_t count = 0;
    int got;
    while ((got = hal_encode_receive(session, &packet, why)) > 0)
        count++;
    if (got < 0)
        die(why->message);
    return count;
}

static int64_t hal_run(struct hal_device *device)
{
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    struct hal_encode_params params = {
        .codec = CODEC_H264,
        .layout = HAL_NV12,
        .width = width,
        .height = height,
        .time_base = {1, 24},
        .frame_rate = {24, 1},
        .sar = {1, 1},
        .crf_tenths = CRF_TENTHS,
        .preset = "p1",
        .gop_frames = IDR_EVERY,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 2,
        .color_transfer = 2,
        .color_matrix = 2,
    };
    int64_t count = 0;
    if (hal_encode_open(&backends, device, "nvenc", &params, &session, &why) != SL_OK)
        die(why.message);
    for (int i = 0; i < frames; i++) {
        uint8_t *at = pictures[i % PICTURES];
        struct hal_frame frame = {
            .layout = HAL_NV12,
            .width = width,
            .height = height,
            .planes = {at, at + (size_t)width * (size_t)height},
            .stride_bytes = {(size_t)width, (size_t)width},
            .pts = i,
            .force_idr = i % IDR_EVERY == 0,
        };
        if (hal_encode_submit(session, &frame, &why) != SL_OK)
            die(why.message);
        count += packets_take(session, &why);
    }
    if (hal_encode_flush(session, &why) != SL_OK)
        die(why.message);
    count += packets_take(session, &why);
    hal_encode_close(&session);
    return count;
}

/* ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("usage: WIDTH HEIGHT FRAMES ROUNDS");
    width = atoi(argv[1]);
    height = atoi(argv[2]);
    frames = atoi(argv[3]);
    int rounds = atoi(argv[4]);
    if (width < 64 || height < 64 || frames < 1 || rounds < 1 || rounds > ROUNDS_MAX)
        die("sizes of 64 and more, one picture and one to 64 rounds");
    struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    AVBufferRef *context = NULL;
    int32_t count = 0;
    if (hal_probe(&backends, devices, NODE_DEVICES_MAX, &count, &why) != SL_OK || count == 0)
        die(why.message);
    if (gpu_context(devices[0].device_id, &context, &why) != SL_OK)
        die(why.message);
    paint();
    double bare_ms[ROUNDS_MAX], hal_ms[ROUNDS_MAX], ratios[ROUNDS_MAX];
    for (int round = -1; round < rounds; round++) { /* the first warms up */
        int64_t spent_ns[2];
        for (int turn = 0; turn < 2; turn++) {
            bool hal = (turn + round) % 2 != 0;
            int64_t from_ns = cpu_now_ns();
            if ((hal ? hal_run(&devices[0]) : bare_run(context)) != frames)
                die("packets are missing");
            spent_ns[hal] = cpu_now_ns() - from_ns;
        }
        if (round < 0)
            continue;
        bare_ms[round] = (double)spent_ns[0] / 1e6;
        hal_ms[round] = (double)spent_ns[1] / 1e6;
        ratios[round] = (double)spent_ns[1] / (double)spent_ns[0];
    }
    qsort(bare_ms, (size_t)rounds, sizeof *bare_ms, compare);
    qsort(hal_ms, (size_t)rounds, sizeof *hal_ms, compare);
    qsort(ratios, (size_t)rounds, sizeof *ratios, compare);
    printf(
        "{\"frames\": %d, \"bare_ms\": %.1f, \"hal_ms\": %.1f, \"ratio\": %.4f, \"least\": %.4f, "
        "\"most\": %.4f}\n",
        frames, bare_ms[rounds / 2], hal_ms[rounds / 2], ratios[rounds / 2], ratios[0],
        ratios[rounds - 1]);
    for (int i = 0; i < PICTURES; i++)
        free(pictures[i]);
    return 0;
}
