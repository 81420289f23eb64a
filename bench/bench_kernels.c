/* GPU kernels beside what the CPU does in their place: `make bench`, figure "kernels".
 *
 *   bench_kernels ROUNDS
 *
 * Makes of pictures of 2160p, in memory already, what a chunk would have made of them: four rungs, SDR of HDR10, progressive ones of
 * fields; by the kernels on the first GPU that the driver shows, and by zimg and libavfilter in one thread. On tests/standin's
 * driver the kernels' C twins run. One JSON line: standin, and milliseconds of a picture (median of the rounds) of both. Exit 77,
 * with the reason: there is no GPU, or no kernel in this program.
 */
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cpu/cpu_scale.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_deinterlace.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_ladder.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_picture.h"
#include "gpu/gpu_tone.h"
#include "media/media_frame.h"
#include "media/media_graph.h"
#include "media/media_tone.h"

#define WIDE       3840
#define HIGH       2160
#define RUNGS      4
#define ROUNDS_MAX 64
#define SKIPPED    77

static const int32_t sizes[RUNGS][2] = {{1920, 1080}, {1280, 720}, {854, 480}, {640, 360}};
static AVBufferRef *context;

static void die(const char *what)
{
    fprintf(stderr, "bench_kernels: %s\n", what);
    exit(1);
}

static void must(int code, const struct sl_failure *why)
{
    if (code < 0)
        die(why->message);
}

static AVFrame *frame_make(enum AVPixelFormat format, bool hdr)
{
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        die("no memory");
    frame->format = format;
    frame->width = WIDE;
    frame->height = HIGH;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->colorspace = hdr ? AVCOL_SPC_BT2020_NCL : AVCOL_SPC_BT709;
    frame->color_primaries = hdr ? AVCOL_PRI_BT2020 : AVCOL_PRI_BT709;
    frame->color_trc = hdr ? AVCOL_TRC_SMPTE2084 : AVCOL_TRC_BT709;
    frame->chroma_location = AVCHROMA_LOC_LEFT;
    if (av_frame_get_buffer(frame, 64) < 0)
        die("no memory");
    return frame;
}

/* Slopes, edges and noise, which move with number. */
static void frame_paint(AVFrame *frame, int number)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    uint32_t seed = 1;
    for (int c = 0; c < 3; c++) {
        const AVComponentDescriptor *comp = &desc->comp[c];
        int w = c ? WIDE / 2 : WIDE, h = c ? HIGH / 2 : HIGH;
        for (int y = 0; y < h; y++) {
            uint8_t *row = frame->data[comp->plane] + (ptrdiff_t)y * frame->linesize[comp->plane];
            for (int x = 0; x < w; x++) {
                seed = seed * 1664525u + 1013904223u;
                int part = (x / 64 + y / 64) % 3, at = x + (part ? 6 * number + 3 * (y & 1) : 0);
                int level = c ? 108 + at / 16 % 40
                              : 40 + at / 8 % 100 + (part == 2 ? (int)(seed >> 27) : 0);
                uint8_t *to = row + (ptrdiff_t)x * comp->step + comp->offset;
                if (comp->depth > 8)
                    *(uint16_t *)(void *)to = (uint16_t)(level * 4 << comp->shift);
                else
                    *to = (uint8_t)level;
            }
        }
    }
}

static AVFrame *upload(const AVFrame *frame)
{
    AVBufferRef *pool = av_hwframe_ctx_alloc(context);
    AVFrame *surface = av_frame_alloc();
    if (!pool || !surface)
        die("no memory");
    AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
    frames->format = AV_PIX_FMT_CUDA;
    frames->sw_format = (enum AVPixelFormat)frame->format;
    frames->width = WIDE;
    frames->height = HIGH;
    if (av_hwframe_ctx_init(pool) < 0 || av_hwframe_get_buffer(pool, surface, 0) < 0 ||
        av_hwframe_transfer_data(surface, frame, 0) < 0 || av_frame_copy_props(surface, frame) < 0)
        die("a picture does not reach the GPU");
    av_buffer_unref(&pool);
    return surface;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of work(arg, turn), in milliseconds; the first two turns do not count. */
static double time_of(void (*work)(void *arg, int turn), void *arg, int rounds)
{
    double times[ROUNDS_MAX];
    for (int i = -2; i < rounds; i++) {
        int64_t from_ns = sl_now_ns();
        work(arg, i + 2);
        if (i >= 0)
            times[i] = (double)(sl_now_ns() - from_ns) / 1e6;
    }
    qsort(times, (size_t)rounds, sizeof *times, by_size);
    return times[rounds / 2];
}

/* ---- what is timed ---- */

struct work {
    struct sl_failure why;
    AVFrame *planar[3], *surfaces[3], *hdr, *hdr_surface;
    struct cpu_scale *scalers[RUNGS];
    AVFrame *scaled[RUNGS];
    struct gpu_ladder *ladder;
    struct media_graph *graph;
    struct gpu_tone *tone;
    struct gpu_deinterlace *fields;
};

static void ladder_by_cpu(void *arg, int turn)
{
    struct work *w = arg;
    for (int r = 0; r < RUNGS; r++)
        must(cpu_scale_run(w->scalers[r], w->planar[turn % 3], w->scaled[r], &w->why), &w->why);
}

static void ladder_by_gpu(void *arg, int turn)
{
    struct work *w = arg;
    AVFrame *out[RUNGS];
    for (int r = 0; r < RUNGS; r++)
        out[r] = av_frame_alloc();
    must(gpu_ladder_run(w->ladder, w->surfaces[turn % 3], out, &w->why), &w->why);
    for (int r = 0; r < RUNGS; r++)
        av_frame_free(&out[r]);
}

/* One picture into the graph, and what comes of it. */
static void graph_turn(struct work *w, AVFrame *frame, int turn)
{
    AVFrame *out = av_frame_alloc();
    frame->pts = turn;
    must(media_graph_push(w->graph, frame, &w->why), &w->why);
    must(media_graph_pull(w->graph, out, &w->why), &w->why);
    av_frame_free(&out);
}

static void tone_by_cpu(void *arg, int turn)
{
    struct work *w = arg;
    graph_turn(w, w->hdr, turn);
}

static void tone_by_gpu(void *arg, int turn)
{
    struct work *w = arg;
    const struct gpu_driver *driver;
    const struct gpu_tone_shape shape = {WIDE, HIGH, true, true, 6, true, false};
    struct gpu_picture picture;
    (void)turn;
    gpu_picture_shape(HAL_P010, WIDE, HIGH, &picture);
    must(gpu_driver_load(&driver, &w->why), &w->why);
    must(gpu_context_enter(context, &w->why), &w->why);
    must(gpu_picture_lend(w->hdr_surface, &picture, &w->why), &w->why);
    must(gpu_tone_run(w->tone, &shape, &picture.at, &w->why), &w->why);
    if (driver->cuda->cuStreamSynchronize(NULL) != CUDA_SUCCESS)
        die("the tone kernel failed");
    gpu_context_leave(context);
}

static void fields_by_cpu(void *arg, int turn)
{
    struct work *w = arg;
    graph_turn(w, w->planar[turn % 3], turn);
}

static void fields_by_gpu(void *arg, int turn)
{
    struct work *w = arg;
    AVFrame *out = av_frame_alloc();
    must(gpu_deinterlace_run(w->fields, w->surfaces[turn % 3], true, true, out, &w->why), &w->why);
    av_frame_free(&out);
}

/* ---- */

static void pictures_make(struct work *w)
{
    for (int i = 0; i < 3; i++) {
        AVFrame *mixed = frame_make(AV_PIX_FMT_NV12, false);
        w->planar[i] = frame_make(AV_PIX_FMT_YUV420P, false);
        frame_paint(mixed, i);
        frame_paint(w->planar[i], i);
        media_frame_say_fields(w->planar[i], true);
        w->surfaces[i] = upload(mixed);
        av_frame_free(&mixed);
    }
    AVFrame *mixed = frame_make(AV_PIX_FMT_P010LE, true);
    w->hdr = frame_make(AV_PIX_FMT_YUV420P10LE, true);
    frame_paint(mixed, 0);
    frame_paint(w->hdr, 0);
    w->hdr_surface = upload(mixed);
    av_frame_free(&mixed);
}

static void ladder_time(struct work *w, int rounds, double ms[2])
{
    struct gpu_ladder_params params = {
        .rung_count = RUNGS, .color_primaries = 1, .color_transfer = 1, .color_matrix = 1};
    for (int r = 0; r < RUNGS; r++) {
        const struct cpu_scale_target target = {HAL_NV12, sizes[r][0], sizes[r][1], 1, 1, 1, false};
        params.rungs[r] = (struct gpu_ladder_rung){HAL_NV12, sizes[r][0], sizes[r][1]};
        must(cpu_scale_open(w->planar[0], &target, &w->scalers[r], &w->why), &w->why);
        w->scaled[r] = av_frame_alloc();
        w->scaled[r]->format = AV_PIX_FMT_NV12;
        w->scaled[r]->width = sizes[r][0];
        w->scaled[r]->height = sizes[r][1];
        if (av_frame_get_buffer(w->scaled[r], 64) < 0)
            die("no memory");
    }
    must(gpu_ladder_open(context, w->surfaces[0], &params, &w->ladder, &w->why), &w->why);
    ms[0] = time_of(ladder_by_gpu, w, rounds);
    ms[1] = time_of(ladder_by_cpu, w, rounds);
    for (int r = 0; r < RUNGS; r++) {
        cpu_scale_close(&w->scalers[r]);
        av_frame_free(&w->scaled[r]);
    }
    gpu_ladder_close(&w->ladder);
}

static void tone_time(struct work *w, int rounds, double ms[2])
{
    const struct plan_picture how = {
        .tonemap_peak_nits = 1000, .primaries = 1, .transfer = 1, .matrix = 1, .bit_depth = 8};
    const struct rational time_base = {1, 25};
    const struct gpu_kernels *kernels;
    uint16_t *table = malloc(sizeof(uint16_t[3]) * GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE);
    char chain[256];
    if (!table)
        die("no memory");
    must(media_tone_table(w->hdr, 10, &how, GPU_TONE_SIDE, GPU_TONE_STEP, table, &w->why), &w->why);
    must(gpu_context_enter(context, &w->why), &w->why);
    must(gpu_kernels_open(context, &kernels, &w->why), &w->why);
    must(gpu_tone_open(kernels, table, &w->tone, &w->why), &w->why);
    free(table);
    ms[0] = time_of(tone_by_gpu, w, rounds);
    gpu_tone_close(&w->tone);
    gpu_context_leave(context);
    media_tone_chain(&how, "yuv420p10le", chain, sizeof chain);
    must(media_graph_open(chain, w->hdr, time_base, &w->graph, &w->why), &w->why);
    ms[1] = time_of(tone_by_cpu, w, rounds);
    media_graph_close(&w->graph);
}

static void fields_time(struct work *w, int rounds, double ms[2])
{
    const struct rational time_base = {1, 25};
    must(gpu_deinterlace_open(context, w->surfaces[0], false, &w->fields, &w->why), &w->why);
    ms[0] = time_of(fields_by_gpu, w, rounds);
    gpu_deinterlace_close(&w->fields);
    must(media_graph_open("bwdif=mode=send_frame:parity=auto:deint=interlaced", w->planar[0],
                          time_base, &w->graph, &w->why),
         &w->why);
    ms[1] = time_of(fields_by_cpu, w, rounds);
    media_graph_close(&w->graph);
}

int main(int argc, char **argv)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct work work = {0};
    int32_t count = 0;
    const char *why_not;
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        die("usage: bench_kernels ROUNDS");
    av_log_set_level(AV_LOG_QUIET);
    if (!gpu_kernels_made_by(&why_not)) {
        printf("%s\n", why_not);
        return SKIPPED;
    }
    if (gpu_device_ops.probe(devices, NODE_DEVICES_MAX, &count, &work.why) != SL_OK || count < 1) {
        printf("there is no NVIDIA GPU here\n");
        return SKIPPED;
    }
    must(gpu_context(devices[0].device_id, &context, &work.why), &work.why);
    double ladder[2], tone[2], fields[2];
    pictures_make(&work);
    ladder_time(&work, rounds, ladder);
    tone_time(&work, rounds, tone);
    fields_time(&work, rounds, fields);
    printf("{\"device\": \"%s\", \"standin\": %s, \"ladder\": {\"ms\": %.4f, \"cpu_ms\": %.3f}, "
           "\"tone\": {\"ms\": %.4f, \"cpu_ms\": %.3f}, "
           "\"deinterlace\": {\"ms\": %.4f, \"cpu_ms\": %.3f}}\n",
           devices[0].device_id, devices[0].standin ? "true" : "false", ladder[0], ladder[1],
           tone[0], tone[1], fields[0], fields[1]);
    for (int i = 0; i < 3; i++) {
        av_frame_free(&work.planar[i]);
        av_frame_free(&work.surfaces[i]);
    }
    av_frame_free(&work.hdr);
    av_frame_free(&work.hdr_surface);
    return 0;
}
