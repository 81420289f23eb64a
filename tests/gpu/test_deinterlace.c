/* The GPU's deinterlacer through a driver against libavfilter's bwdif, sample by sample, and its kernel's source against the twin. */
#include <libavutil/hwcontext.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_deinterlace.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_picture.h"
#include "gpu/gpu_twins.h"
#include "media/media_filter.h"
#include "media/media_frame.h"
#include "media/media_graph.h"
#include "tests/gpu/emulate.h"
#include "tests/standin/standin_run.h"

#define FRAMES_MAX 16

static AVBufferRef *context;

static void need_kernels(void)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    if (!gpu_kernels_available()) {
        print_message("this program was built without GPU kernels\n");
        skip();
    }
    assert_int_equal(gpu_device_ops.probe(devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_true(count > 0);
    if (gpu_context(devices[0].device_id, &context, &why) != SL_OK)
        fail_msg("%s", why.message);
}

/* ---- pictures ---- */

static void fields_say(AVFrame *frame, char kind)
{
    if (kind == 't' || kind == 'b')
        media_frame_say_fields(frame, kind == 't');
    frame->repeat_pict = kind == 'r';
}

static uint32_t noise_state;

static int noise(int most)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (int)((noise_state >> 8) % (uint32_t)(most + 1));
}

static uint8_t *sample_at(const AVFrame *frame, int channel, int x, int y)
{
    const AVComponentDescriptor *comp =
        &av_pix_fmt_desc_get((enum AVPixelFormat)frame->format)->comp[channel];
    return frame->data[comp->plane] + (ptrdiff_t)y * frame->linesize[comp->plane] +
           (ptrdiff_t)x * comp->step;
}

static int get(const AVFrame *frame, int channel, int x, int y)
{
    const AVComponentDescriptor *comp =
        &av_pix_fmt_desc_get((enum AVPixelFormat)frame->format)->comp[channel];
    const uint8_t *at = sample_at(frame, channel, x, y) + comp->offset;
    return comp->depth > 8 ? *(const uint16_t *)(const void *)at >> comp->shift : *at;
}

static void set(AVFrame *frame, int channel, int x, int y, int value)
{
    const AVComponentDescriptor *comp =
        &av_pix_fmt_desc_get((enum AVPixelFormat)frame->format)->comp[channel];
    uint8_t *at = sample_at(frame, channel, x, y) + comp->offset;
    if (comp->depth > 8)
        *(uint16_t *)(void *)at = (uint16_t)(value << comp->shift);
    else
        *at = (uint8_t)value;
}

static int plane_size(int size, int channel)
{
    return channel ? (size + 1) / 2 : size;
}

/* Stillness, slow and fast movement, edges, and noise over the whole range, each somewhere. */
static AVFrame *frame_make(enum AVPixelFormat format, int width, int height, int number, char kind)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->pts = number;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    fields_say(frame, kind);
    int depth = av_pix_fmt_desc_get(format)->comp[0].depth, top = (1 << depth) - 1;
    noise_state = (uint32_t)number * 77u + (uint32_t)width;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < plane_size(height, c); y++)
            for (int x = 0; x < plane_size(width, c); x++) {
                int part = (x / 8 + y / 8) % 4, at = number * 2 + (y & 1);
                int value = (x * 37 + y * 91 + c * 50) % (top + 1);
                if (part == 1)
                    value = (int)(top * (0.5 + 0.4 * sin(0.3 * x + 0.2 * y + 0.1 * at)));
                else if (part == 2)
                    value = (x + 3 * at) / 5 % 2 ? top : 0;
                else if (part == 3)
                    value = noise(top);
                set(frame, c, x, y, value);
            }
    return frame;
}

/* libavutil's own transfer leaves out the last row of chroma of pictures with an odd height. */
static void planes_copy(const AVFrame *host, const AVFrame *surface, bool up)
{
    const struct gpu_driver *driver;
    struct sl_failure why = {0};
    assert_int_equal(gpu_driver_load(&driver, &why), SL_OK);
    assert_int_equal(gpu_context_enter(context, &why), SL_OK);
    for (int p = 0; p < 2; p++)
        for (int y = 0; y < plane_size(host->height, p); y++) {
            uint8_t *row = host->data[p] + (ptrdiff_t)y * host->linesize[p];
            CUdeviceptr at = (CUdeviceptr)(uintptr_t)surface->data[p] +
                             (CUdeviceptr)y * (CUdeviceptr)surface->linesize[p];
            size_t bytes =
                (size_t)av_image_get_linesize((enum AVPixelFormat)host->format, host->width, p);
            CUresult result = up ? driver->cuda->cuMemcpyHtoD(at, row, bytes)
                                 : driver->cuda->cuMemcpyDtoH(row, at, bytes);
            assert_int_equal(result, CUDA_SUCCESS);
        }
    gpu_context_leave(context);
}

static AVFrame *upload(const AVFrame *frame)
{
    AVBufferRef *pool = av_hwframe_ctx_alloc(context);
    AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
    frames->format = AV_PIX_FMT_CUDA;
    frames->sw_format = frame->format;
    frames->width = frame->width;
    frames->height = frame->height;
    assert_int_equal(av_hwframe_ctx_init(pool), 0);
    AVFrame *surface = av_frame_alloc();
    assert_int_equal(av_hwframe_get_buffer(pool, surface, 0), 0);
    planes_copy(frame, surface, true);
    av_frame_copy_props(surface, frame);
    av_buffer_unref(&pool);
    return surface;
}

static AVFrame *download(const AVFrame *surface)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = gpu_picture_format(surface);
    frame->width = surface->width;
    frame->height = surface->height;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    planes_copy(frame, surface, false);
    assert_int_equal(av_frame_copy_props(frame, surface), 0);
    return frame;
}

static void frames_free(AVFrame **frames, int count)
{
    for (int i = 0; i < count; i++)
        av_frame_free(&frames[i]);
}

/* ---- the two ---- */

/* A picture for each letter: t, b: its upper or lower field first; p: progressive; r: and shown longer. */
static int cpu_run(enum AVPixelFormat format, int width, int height, const char *kinds,
                   AVFrame **out)
{
    const struct rational time_base = {1, 25};
    struct media_graph *graph = NULL;
    struct sl_failure why = {0};
    int count = 0, got;
    for (int i = 0; i <= (int)strlen(kinds); i++) {
        AVFrame *frame = kinds[i] ? frame_make(format, width, height, i, kinds[i]) : NULL;
        if (i == 0)
            assert_int_equal(media_graph_open("bwdif=mode=send_frame:parity=auto:deint=interlaced",
                                              frame, time_base, &graph, &why),
                             SL_OK);
        assert_int_equal(media_graph_push(graph, frame, &why), SL_OK);
        av_frame_free(&frame);
        do {
            out[count] = av_frame_alloc();
            got = media_graph_pull(graph, out[count], &why);
            assert_true(got >= 0 && count < FRAMES_MAX);
            if (got > 0)
                count++;
            else
                av_frame_free(&out[count]);
        } while (got > 0);
    }
    media_graph_close(&graph);
    return count;
}

static int gpu_run(enum AVPixelFormat format, bool surfaces, int width, int height,
                   const char *kinds, int first, AVFrame **out)
{
    struct gpu_deinterlace *d = NULL;
    struct sl_failure why = {0};
    int count = 0;
    for (int i = 0; i <= (int)strlen(kinds); i++) {
        AVFrame *made = av_frame_alloc();
        AVFrame *frame = kinds[i] ? frame_make(format, width, height, first + i, kinds[i]) : NULL;
        if (frame && surfaces) {
            AVFrame *surface = upload(frame);
            av_frame_free(&frame);
            frame = surface;
        }
        if (frame)
            frame->crop_left = 2;
        if (i == 0 &&
            gpu_deinterlace_open(context, frame, media_filter_first_edges(), &d, &why) != SL_OK)
            fail_msg("%s", why.message);
        int got = gpu_deinterlace_run(d, frame, frame && media_frame_is_interlaced(frame),
                                      frame && media_frame_is_top_first(frame), made, &why);
        if (got < 0)
            fail_msg("%s", why.message);
        av_frame_free(&frame);
        assert_true(count < FRAMES_MAX);
        if (got > 0) {
            assert_int_equal(made->crop_left, 2);
            out[count++] = download(made);
        }
        av_frame_free(&made);
    }
    gpu_deinterlace_close(&d);
    assert_null(d);
    return count;
}

static void frames_equal(AVFrame *const *gpu, AVFrame *const *cpu, int count, const char *kinds)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(gpu[i]->pts, cpu[i]->pts);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < plane_size(cpu[i]->height, c); y++)
                for (int x = 0; x < plane_size(cpu[i]->width, c); x++)
                    if (get(gpu[i], c, x, y) != get(cpu[i], c, x, y))
                        fail_msg("%s, %dx%d of \"%s\": picture %d, channel %d: %d at %d,%d, and "
                                 "%d by bwdif",
                                 av_get_pix_fmt_name((enum AVPixelFormat)cpu[i]->format),
                                 cpu[i]->width, cpu[i]->height, kinds, i, c, get(gpu[i], c, x, y),
                                 x, y, get(cpu[i], c, x, y));
    }
}

static void test_pictures_are_those_of_bwdif(void **state)
{
    (void)state;
    need_kernels();
    static const struct {
        int width, height;
        const char *kinds;
    } cases[] = {{64, 48, "ttttt"},     {64, 48, "bbbbb"},  {67, 53, "tttbbb"}, {16, 16, "bbb"},
                 {18, 17, "ttt"},       {130, 34, "t"},     {34, 34, "b"},      {34, 36, "p"},
                 {34, 38, "pptttpbpp"}, {34, 40, "rtrtprt"}};
    static const struct {
        enum AVPixelFormat planar, given;
        bool surfaces;
    } ways[] = {{AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P, false},
                {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12, true},
                {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV420P10LE, false},
                {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int w = 0; w < 4; w++) {
            AVFrame *cpu[FRAMES_MAX], *gpu[FRAMES_MAX];
            int wanted =
                cpu_run(ways[w].planar, cases[i].width, cases[i].height, cases[i].kinds, cpu);
            int count = gpu_run(ways[w].given, ways[w].surfaces, cases[i].width, cases[i].height,
                                cases[i].kinds, 0, gpu);
            assert_int_equal(wanted, strlen(cases[i].kinds));
            assert_int_equal(count, wanted);
            frames_equal(gpu, cpu, count, cases[i].kinds);
            assert_false(media_frame_is_interlaced(gpu[0]));
            frames_free(cpu, wanted);
            frames_free(gpu, count);
        }
}

/* Chunks that were given the frames around them. */
static void test_chunks_meet(void **state)
{
    (void)state;
    need_kernels();
    AVFrame *whole[FRAMES_MAX], *part[FRAMES_MAX];
    int all = gpu_run(AV_PIX_FMT_NV12, true, 64, 48, "tttttttttt", 0, whole);
    int count = gpu_run(AV_PIX_FMT_YUV420P, false, 64, 48, "tttttt", 3, part);
    assert_int_equal(all, 10);
    assert_int_equal(count, 6);
    frames_equal(part + 1, whole + 4, 4, "tttttt");
    frames_free(whole, all);
    frames_free(part, count);
}

static void test_what_is_the_cpus_is_refused_by_name(void **state)
{
    (void)state;
    need_kernels();
    struct gpu_deinterlace *d = NULL;
    struct sl_failure why = {0};
    AVFrame *out = av_frame_alloc();
    AVFrame *frames[] = {frame_make(AV_PIX_FMT_YUV422P, 64, 48, 0, 't'),
                         frame_make(AV_PIX_FMT_YUV420P, 64, 14, 0, 't'),
                         frame_make(AV_PIX_FMT_YUV420P, 64, 48, 0, 't'),
                         frame_make(AV_PIX_FMT_YUV420P, 64, 48, 0, 't')};
    assert_int_equal(gpu_deinterlace_open(context, frames[0], media_filter_first_edges(), &d, &why),
                     SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "not pictures of the kind yuv422p"));
    assert_int_equal(gpu_deinterlace_open(context, frames[1], media_filter_first_edges(), &d, &why),
                     SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "64x14"));
    assert_int_equal(gpu_deinterlace_open(context, frames[2], media_filter_first_edges(), &d, &why),
                     SL_OK);
    assert_int_equal(gpu_deinterlace_run(d, frames[2], true, true, out, &why), 0);
    frames[3]->colorspace = AVCOL_SPC_BT709;
    assert_int_equal(gpu_deinterlace_run(d, frames[3], true, true, out, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "changes its pictures"));
    assert_null(out->buf[0]);
    gpu_deinterlace_close(&d);
    frames_free(frames, 4);
    av_frame_free(&out);
}

/* ---- the kernel ---- */

static void source_of(AVFrame *frame, struct kernel_source *out)
{
    *out = (struct kernel_source){0};
    for (int p = 0; p < 3 && frame->data[p]; p++) {
        out->planes[p] = (uintptr_t)frame->data[p];
        out->strides[p] = frame->linesize[p];
        emulated_range(frame->data[p],
                       (gpu_u64)frame->linesize[p] * (gpu_u64)plane_size(frame->height, p), 0);
    }
}

static void test_the_kernel_does_what_its_twin_does(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12,
                                                 AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE};
    static const int sizes[][2] = {{131, 19}, {16, 16}, {64, 34}};
    int ran = 1;
    for (int i = 0; ran && i < 4 * 3 * 12; i++) {
        enum AVPixelFormat format = formats[i % 4];
        int width = sizes[i / 4 % 3][0], height = sizes[i / 4 % 3][1], way = i / 12;
        bool wide = i % 4 >= 2, mixed = i % 2;
        AVFrame *from[3], *made[2];
        struct kernel_deinterlace_args args = {.width = width,
                                               .height = height,
                                               .wide = wide,
                                               .interleaved = mixed,
                                               .shift = wide && mixed ? 6 : 0,
                                               .fields = way % 3,
                                               .made = way / 3 % 2,
                                               .edges = way / 6};
        struct kernel_source *const sources[] = {&args.before, &args.here, &args.after};
        emulated_ranges_forget();
        for (int p = 0; p < 3; p++) {
            from[p] = frame_make(format, width, height, p, 't');
            source_of(from[p], sources[p]);
        }
        const unsigned lumas = ((unsigned)height + 1) / 2;
        const unsigned grid[3] = {((unsigned)width + GPU_FIELDS_THREADS) / GPU_FIELDS_THREADS,
                                  lumas + (lumas + 1) / 2, 1};
        const unsigned block[3] = {GPU_FIELDS_THREADS, 1, 1};
        for (int k = 0; k < 2; k++) {
            made[k] = frame_make(wide ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12, width, height, 9, 'p');
            for (int p = 0; p < 2; p++) {
                size_t bytes = (size_t)made[k]->linesize[p] * (size_t)plane_size(height, p);
                memset(made[k]->data[p], 0xee, bytes);
                emulated_range(made[k]->data[p], bytes, 1);
                args.targets[p] = (uintptr_t)made[k]->data[p];
                args.target_strides[p] = made[k]->linesize[p];
            }
            void *params[] = {&args};
            if (k == 0)
                gpu_twin_find("deinterlace")->run(grid, block, params);
            else
                ran = emulated_launch("deinterlace", grid, block, 0, &args);
        }
        for (int p = 0; ran && p < 2; p++)
            if (memcmp(made[0]->data[p], made[1]->data[p],
                       (size_t)made[0]->linesize[p] * (size_t)plane_size(height, p)) != 0)
                fail_msg("%s, %dx%d, way %d: plane %d of the kernel's picture is not its twin's",
                         av_get_pix_fmt_name(format), width, height, way, p);
        frames_free(from, 3);
        frames_free(made, 2);
    }
    if (!ran) {
        print_message("no C++ compiler was there to run the kernels on the host\n");
        skip();
    }
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {{.name = "whole", .gpus = "1"}};
    av_log_set_level(AV_LOG_QUIET);
    if (argc < 2)
        return standin_run_all(argv[0], runs, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_are_those_of_bwdif),
        cmocka_unit_test(test_chunks_meet),
        cmocka_unit_test(test_what_is_the_cpus_is_refused_by_name),
        cmocka_unit_test(test_the_kernel_does_what_its_twin_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
