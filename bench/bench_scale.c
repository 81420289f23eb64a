/* The CPU ladder scaler beside libswscale: `make bench`, figure "scale".
 *
 *   bench_scale FILE.yuv WIDTH HEIGHT DEPTH ROUNDS quick|accurate RUNG_WIDTHxHEIGHT…
 *
 * Scales the pictures of a raw 4:2:0 file (8 or 10 bit, limited range) to every rung in 8 bit, with our scaler and with
 * libswscale, both with the same filter (Catmull-Rom, antialiased) in one thread, and turn and turn about, so that a
 * machine that slows down slows both. quick and accurate are libswscale's own roundings (SWS_ACCURATE_RND). How near each comes to the filter without rounding (computed here in double
 * precision) is the PSNR beside it. One JSON line: cpu_ns of each, their ratio, and the least PSNR of a rung for each.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cpu/cpu_scale.h"

#define RUNGS_MAX  8
#define FRAMES_MAX 64

static void die(const char *what)
{
    fprintf(stderr, "bench_scale: %s\n", what);
    exit(1);
}

static int64_t cpu_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static AVFrame *frame_make(enum AVPixelFormat format, int width, int height)
{
    AVFrame *frame = av_frame_alloc();
    if (!frame)
        die("no memory");
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->colorspace = AVCOL_SPC_BT709;
    frame->color_primaries = AVCOL_PRI_BT709;
    frame->color_trc = AVCOL_TRC_BT709;
    frame->chroma_location = AVCHROMA_LOC_LEFT;
    if (av_frame_get_buffer(frame, 64) < 0)
        die("no memory");
    return frame;
}

static int frames_read(const char *path, int width, int height, int depth, AVFrame **out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die("cannot open the raw file");
    size_t sample = depth > 8 ? 2 : 1;
    size_t bytes = (size_t)width * (size_t)height * 3 / 2 * sample;
    int count = (int)((size_t)st.st_size / bytes);
    count = count < FRAMES_MAX ? count : FRAMES_MAX;
    for (int f = 0; f < count; f++) {
        out[f] = frame_make(depth > 8 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P, width, height);
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (p ? height / 2 : height); y++) {
                size_t row = (size_t)(p ? width / 2 : width) * sample;
                if (read(fd, out[f]->data[p] + (ptrdiff_t)y * out[f]->linesize[p], row) !=
                    (ssize_t)row)
                    die("the raw file ends early");
            }
    }
    close(fd);
    return count;
}

/* ---- the filter without rounding ---- */

static double catmull_rom(double x)
{
    x = fabs(x);
    if (x < 1)
        return 1.5 * x * x * x - 2.5 * x * x + 1;
    return x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* shift: of the target's samples against the source's, in source samples (chroma sited left). */
static void row_scale(const double *from, int n, int from_step, double *into, int m, int into_step,
                      double shift)
{
    double ratio = (double)n / m, wide = ratio > 1 ? ratio : 1;
    for (int i = 0; i < m; i++) {
        double centre = (i + 0.5) * ratio - 0.5 + shift;
        double sum = 0, weights = 0;
        for (int k = (int)floor(centre - 2 * wide); k <= (int)ceil(centre + 2 * wide); k++) {
            double w = catmull_rom((k - centre) / wide);
            int at = k < 0 ? -1 - k : k >= n ? 2 * n - 1 - k : k; /* mirrored, as zimg does */
            at = at < 0 ? 0 : at >= n ? n - 1 : at;
            sum += w * from[(ptrdiff_t)at * from_step];
            weights += w;
        }
        into[(ptrdiff_t)i * into_step] = sum / weights;
    }
}

/* Squared error of a luma plane away from the edges, where the two mirror and repeat. */
static double error_of(const AVFrame *from, int depth, const AVFrame *scaled)
{
    int w = from->width, h = from->height, m = scaled->width, n = scaled->height;
    double *in = malloc(sizeof *in * (size_t)w * (size_t)h);
    double *mid = malloc(sizeof *mid * (size_t)m * (size_t)h);
    double *out = malloc(sizeof *out * (size_t)m * (size_t)n);
    if (!in || !mid || !out)
        die("no memory");
    for (int y = 0; y < h; y++) {
        const uint8_t *row = from->data[0] + (ptrdiff_t)y * from->linesize[0];
        for (int x = 0; x < w; x++)
            in[(ptrdiff_t)y * w + x] =
                depth > 8 ? ((const uint16_t *)(const void *)row)[x] / (double)(1 << (depth - 8))
                          : row[x];
    }
    for (int y = 0; y < h; y++)
        row_scale(in + (ptrdiff_t)y * w, w, 1, mid + (ptrdiff_t)y * m, m, 1, 0);
    for (int x = 0; x < m; x++)
        row_scale(mid + x, h, m, out + x, n, m, 0);
    double sum = 0;
    int64_t count = 0;
    for (int y = 4; y < n - 4; y++)
        for (int x = 4; x < m - 4; x++, count++) {
            double want = out[(ptrdiff_t)y * m + x];
            want = want < 0 ? 0 : want > 255 ? 255 : want;
            double d = scaled->data[0][(ptrdiff_t)y * scaled->linesize[0] + x] - want;
            sum += d * d;
        }
    free(in);
    free(mid);
    free(out);
    return sum / (double)count;
}

static double psnr(double error)
{
    return 10 * log10(255.0 * 255.0 / (error > 1e-9 ? error : 1e-9));
}

/* ---- the two ---- */

static void ours_run(struct cpu_scale **scalers, AVFrame *from, AVFrame **into, int count)
{
    struct sl_failure why = {0};
    for (int i = 0; i < count; i++)
        if (cpu_scale_run(scalers[i], from, into[i], &why) != SL_OK)
            die(why.message);
}

static void peer_run(struct SwsContext **scalers, AVFrame *from, AVFrame **into, int count)
{
    for (int i = 0; i < count; i++)
        sws_scale(scalers[i], (const uint8_t *const *)from->data, from->linesize, 0, from->height,
                  into[i]->data, into[i]->linesize);
}

int main(int argc, char **argv)
{
    if (argc < 8 || argc > 7 + RUNGS_MAX)
        die("usage: FILE.yuv WIDTH HEIGHT DEPTH ROUNDS quick|accurate RUNG_WIDTHxHEIGHT…");
    int width = atoi(argv[2]), height = atoi(argv[3]), depth = atoi(argv[4]);
    int rounds = atoi(argv[5]), rungs = argc - 7;
    int flags = SWS_BICUBIC | (strcmp(argv[6], "accurate") == 0 ? SWS_ACCURATE_RND : 0);
    AVFrame *frames[FRAMES_MAX];
    int count = frames_read(argv[1], width, height, depth, frames);
    if (count < 1 || rounds < 1)
        die("the raw file holds no picture");
    struct cpu_scale *ours[RUNGS_MAX];
    struct SwsContext *peer[RUNGS_MAX];
    AVFrame *ours_out[RUNGS_MAX], *peer_out[RUNGS_MAX];
    for (int i = 0; i < rungs; i++) {
        int w, h;
        if (sscanf(argv[7 + i], "%dx%d", &w, &h) != 2)
            die("a rung is WIDTHxHEIGHT");
        struct cpu_scale_target target = {.layout = HAL_I420,
                                          .width = w,
                                          .height = h,
                                          .color_primaries = 1,
                                          .color_transfer = 1,
                                          .color_matrix = 1};
        struct sl_failure why = {0};
        if (cpu_scale_open(frames[0], &target, &ours[i], &why) != SL_OK)
            die(why.message);
        const double catmull[2] = {0, 0.5};
        peer[i] = sws_getContext(width, height, (enum AVPixelFormat)frames[0]->format, w, h,
                                 AV_PIX_FMT_YUV420P, flags, NULL, NULL, catmull);
        if (!peer[i])
            die("libswscale does not scale this");
        ours_out[i] = frame_make(AV_PIX_FMT_YUV420P, w, h);
        peer_out[i] = frame_make(AV_PIX_FMT_YUV420P, w, h);
    }
    int64_t ours_ns = 0, peer_ns = 0;
    ours_run(ours, frames[0], ours_out, rungs);
    peer_run(peer, frames[0], peer_out, rungs);
    for (int r = 0; r < rounds; r++)
        for (int f = 0; f < count; f++) {
            int64_t from_ns = cpu_now_ns();
            ours_run(ours, frames[f], ours_out, rungs);
            int64_t middle_ns = cpu_now_ns();
            peer_run(peer, frames[f], peer_out, rungs);
            ours_ns += middle_ns - from_ns;
            peer_ns += cpu_now_ns() - middle_ns;
        }
    double ours_psnr = INFINITY, peer_psnr = INFINITY;
    for (int i = 0; i < rungs; i++) {
        double a = psnr(error_of(frames[count - 1], depth, ours_out[i]));
        double b = psnr(error_of(frames[count - 1], depth, peer_out[i]));
        ours_psnr = a < ours_psnr ? a : ours_psnr;
        peer_psnr = b < peer_psnr ? b : peer_psnr;
    }
    printf("{\"frames\": %d, \"ours_cpu_ns\": %" PRId64 ", \"swscale_cpu_ns\": %" PRId64
           ", \"times_faster\": %.3f, \"ours_psnr\": %.2f, \"swscale_psnr\": %.2f}\n",
           count * rounds, ours_ns, peer_ns, (double)peer_ns / (double)ours_ns, ours_psnr,
           peer_psnr);
    return 0;
}
