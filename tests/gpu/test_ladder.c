/* The fused ladder and the measures through a driver: pictures in, surfaces out, as the CPU's scaler and libavfilter have it. */
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/dict.h>
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_scale.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_kernels.h"
#include "gpu/gpu_ladder.h"
#include "gpu/gpu_measure.h"
#include "gpu/gpu_tone.h"
#include "media/media_filter.h"
#include "media/media_frame.h"
#include "media/media_tone.h"
#include "tests/standin/standin_run.h"

static AVBufferRef *context;

static void context_open(void)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    assert_int_equal(gpu_device_ops.probe(devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_true(count > 0);
    if (gpu_context(devices[0].device_id, &context, &why) != SL_OK)
        fail_msg("%s", why.message);
}

static AVFrame *frame_make(enum AVPixelFormat format, int width, int height)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->color_range = AVCOL_RANGE_MPEG;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    return frame;
}

/* Edges and textures; not so fine that filters of another make show. */
static void frame_paint(AVFrame *frame, int turn)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    for (int c = 0; c < 3; c++) {
        int w = c ? AV_CEIL_RSHIFT(frame->width, 1) : frame->width;
        int h = c ? AV_CEIL_RSHIFT(frame->height, 1) : frame->height;
        const AVComponentDescriptor *comp = &desc->comp[c];
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                double u = (x + (c ? 0.25 : 0.5)) / w, v = (y + 0.5) / h;
                double value = 0.5 + 0.2 * sin(40 * u + turn) * cos(30 * v) +
                               0.15 * sin(90 * u * v + c) +
                               (fmod(u * 3 + v * 2 + turn, 1) < 0.3 ? 0.1 : 0);
                int level = (int)lrint((16 + 219 * value) * (1 << (comp->depth - 8)));
                uint8_t *at = frame->data[comp->plane] +
                              (ptrdiff_t)y * frame->linesize[comp->plane] +
                              (ptrdiff_t)x * comp->step + comp->offset;
                if (comp->depth > 8)
                    *(uint16_t *)(void *)at = (uint16_t)(level << comp->shift);
                else
                    *at = (uint8_t)level;
            }
    }
}

static AVFrame *download(const AVFrame *surface)
{
    AVFrame *frame = av_frame_alloc();
    assert_int_equal(av_hwframe_transfer_data(frame, surface, 0), 0);
    return frame;
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
    assert_int_equal(av_hwframe_transfer_data(surface, frame, 0), 0);
    av_frame_copy_props(surface, frame);
    av_buffer_unref(&pool);
    return surface;
}

static double psnr(const AVFrame *a, const AVFrame *b)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(a->format);
    double squares = 0, samples = 0;
    for (int p = 0; p < 2; p++)
        for (int y = 0; y < (p ? a->height / 2 : a->height); y++)
            for (int x = 0; x < a->width; x++) {
                const uint8_t *i = a->data[p] + (ptrdiff_t)y * a->linesize[p];
                const uint8_t *j = b->data[p] + (ptrdiff_t)y * b->linesize[p];
                double d = desc->comp[0].depth > 8
                               ? (((const uint16_t *)(const void *)i)[x] >> 6) / 4.0 -
                                     (((const uint16_t *)(const void *)j)[x] >> 6) / 4.0
                               : i[x] - j[x];
                squares += d * d;
                samples++;
            }
    return squares > 0 ? 10 * log10(255.0 * 255 * samples / squares) : INFINITY;
}

/* color: H.273's primaries, transfer and matrix, all of one number; 2: as they are. */
static AVFrame *cpu_scaled_to(const AVFrame *from, const struct gpu_ladder_rung *rung, int color)
{
    struct cpu_scale *scale = NULL;
    struct sl_failure why = {0};
    struct cpu_scale_target target = {rung->layout, rung->width, rung->height, color,
                                      color,        color,       false};
    AVFrame *into = frame_make(rung->layout == HAL_P010 ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12,
                               rung->width, rung->height);
    if (cpu_scale_open(from, &target, &scale, &why) != SL_OK ||
        cpu_scale_run(scale, from, into, &why) != SL_OK)
        fail_msg("%s", why.message);
    cpu_scale_close(&scale);
    return into;
}

static AVFrame *cpu_scaled(const AVFrame *from, const struct gpu_ladder_rung *rung)
{
    return cpu_scaled_to(from, rung, 2);
}

static void need_kernels(void)
{
    if (!gpu_kernels_available()) {
        print_message("this program was built without GPU kernels\n");
        skip();
    }
    context_open();
}

static const struct gpu_ladder_params usual = {
    .rungs = {{HAL_NV12, 640, 360},
              {HAL_NV12, 428, 240},
              {HAL_P010, 320, 180},
              {HAL_NV12, 214, 120},
              {HAL_NV12, 160, 90}},
    .rung_count = 5,
    .color_primaries = 2,
    .color_transfer = 2,
    .color_matrix = 2,
};

/* Every rung, from host memory and from a surface, against the CPU's scaler. */
static void test_rungs_are_those_of_the_cpu(void **state)
{
    (void)state;
    need_kernels();
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12,
                                                 AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE};
    for (size_t turn = 0; turn < 8; turn++) {
        size_t f = turn % 4;
        AVFrame *host = frame_make(formats[f], 640, 360);
        AVFrame *planar = frame_make(f < 2 ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUV420P10LE, 640, 360);
        host->color_range = planar->color_range = turn < 4 ? AVCOL_RANGE_MPEG : AVCOL_RANGE_JPEG;
        frame_paint(host, 0);
        frame_paint(planar, 0);
        AVFrame *from = formats[f] == AV_PIX_FMT_NV12 || formats[f] == AV_PIX_FMT_P010LE
                            ? upload(host)
                            : av_frame_clone(host);
        AVFrame *out[5];
        for (int i = 0; i < 5; i++)
            out[i] = av_frame_alloc();
        struct gpu_ladder *ladder = NULL;
        struct sl_failure why = {0};
        if (gpu_ladder_open(context, from, &usual, &ladder, &why) != SL_OK ||
            gpu_ladder_run(ladder, from, out, &why) != SL_OK)
            fail_msg("%s", why.message);
        for (int i = 0; i < 5; i++) {
            AVFrame *made = download(out[i]);
            AVFrame *truth = cpu_scaled(planar, &usual.rungs[i]);
            assert_ptr_equal(out[i]->hw_frames_ctx->data, gpu_ladder_surfaces(ladder, i)->data);
            assert_int_equal(out[i]->format, AV_PIX_FMT_CUDA);
            double near = psnr(made, truth);
            print_message("%s%s to %dx%d %s: %.1f dB of the CPU's\n",
                          av_get_pix_fmt_name(formats[f]), turn < 4 ? "" : " of full range",
                          out[i]->width, out[i]->height, av_get_pix_fmt_name(made->format), near);
            assert_int_equal(out[i]->color_range, AVCOL_RANGE_MPEG);
            /* Two dithers of different patterns stand against each other where 10 bits become 8. */
            if (near < (f >= 2 && made->format == AV_PIX_FMT_NV12 ? 50 : 52))
                fail_msg("rung %d is %.1f dB from the CPU's", i, near);
            av_frame_free(&made);
            av_frame_free(&truth);
            av_frame_free(&out[i]);
        }
        gpu_ladder_close(&ladder);
        assert_null(ladder);
        av_frame_free(&host);
        av_frame_free(&planar);
        av_frame_free(&from);
    }
}

static double psnr_planar(const AVFrame *a, const AVFrame *b)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(a->format);
    bool deep = desc->comp[0].depth > 8;
    double squares = 0, samples = 0;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? a->height / 2 : a->height); y++)
            for (int x = 0; x < (p ? a->width / 2 : a->width); x++, samples++) {
                const uint8_t *i = a->data[p] + (ptrdiff_t)y * a->linesize[p];
                const uint8_t *j = b->data[p] + (ptrdiff_t)y * b->linesize[p];
                double d = deep ? ((const uint16_t *)(const void *)i)[x] / 4.0 -
                                      ((const uint16_t *)(const void *)j)[x] / 4.0
                                : i[x] - j[x];
                squares += d * d;
            }
    return squares > 0 ? 10 * log10(255.0 * 255 * samples / squares) : INFINITY;
}

static const struct gpu_ladder_params for_cpus = {
    .rungs = {{HAL_I420, 640, 360}, {HAL_I420, 426, 240}, {HAL_I420, 106, 60}},
    .rung_count = 3,
    .to_host = true,
    .color_primaries = 2,
    .color_transfer = 2,
    .color_matrix = 2,
};

/* From host memory and from a surface, in planes, as encoders on CPUs read them; and in buffers that are used again. */
static void test_pictures_for_cpus_come_back_in_planes(void **state)
{
    (void)state;
    need_kernels();
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12,
                                                 AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE};
    for (size_t f = 0; f < 4; f++) {
        struct gpu_ladder_params params = for_cpus;
        for (int i = 0; i < 3; i++)
            params.rungs[i].layout = f < 2 ? HAL_I420 : HAL_I420_10;
        AVFrame *host = frame_make(formats[f], 640, 360), *out[3];
        AVFrame *planar = frame_make(f < 2 ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUV420P10LE, 640, 360);
        struct gpu_ladder *ladder = NULL;
        struct sl_failure why = {0};
        const uint8_t *seen[3][2] = {{NULL}};
        frame_paint(host, 0);
        if (gpu_ladder_open(context, host, &params, &ladder, &why) != SL_OK)
            fail_msg("%s", why.message);
        assert_null(gpu_ladder_surfaces(ladder, 0));
        for (int turn = 0; turn < 6; turn++) {
            frame_paint(host, turn);
            frame_paint(planar, turn);
            bool up = formats[f] == AV_PIX_FMT_NV12 || formats[f] == AV_PIX_FMT_P010LE;
            AVFrame *from = up ? upload(host) : av_frame_clone(host);
            for (int i = 0; i < 3; i++)
                out[i] = av_frame_alloc();
            if (gpu_ladder_run(ladder, from, out, &why) != SL_OK)
                fail_msg("%s", why.message);
            /* The source itself passes where it is. */
            assert_int_equal(out[0]->data[0] == host->data[0], !up);
            for (int i = 0; i < 3; i++) {
                AVFrame *truth = media_frame_make(params.rungs[i].layout, params.rungs[i].width,
                                                  params.rungs[i].height);
                struct cpu_scale_target target = {
                    params.rungs[i].layout, truth->width, truth->height, 2, 2, 2, false};
                struct cpu_scale *scale = NULL;
                if (cpu_scale_open(planar, &target, &scale, &why) != SL_OK ||
                    cpu_scale_run(scale, planar, truth, &why) != SL_OK)
                    fail_msg("%s", why.message);
                assert_int_equal(out[i]->format, truth->format);
                assert_int_equal(out[i]->width, truth->width);
                double near = psnr_planar(out[i], truth);
                if (near < 52)
                    fail_msg("rung %d of %s is %.1f dB from the CPU's", i,
                             av_get_pix_fmt_name(formats[f]), near);
                if (i > 0 && turn < 2)
                    seen[i][turn % 2] = out[i]->data[0];
                else if (i > 0)
                    assert_true(out[i]->data[0] == seen[i][0] || out[i]->data[0] == seen[i][1]);
                cpu_scale_close(&scale);
                av_frame_free(&truth);
                av_frame_free(&out[i]);
            }
            av_frame_free(&from);
        }
        gpu_ladder_close(&ladder);
        av_frame_free(&host);
        av_frame_free(&planar);
    }
}

/* What an encoder still holds outlives the ladder. */
static void test_pictures_for_cpus_outlive_their_ladder(void **state)
{
    (void)state;
    need_kernels();
    AVFrame *host = frame_make(AV_PIX_FMT_YUV420P, 640, 360), *kept[3];
    struct gpu_ladder *ladder = NULL;
    struct sl_failure why = {0};
    frame_paint(host, 0);
    for (int i = 0; i < 3; i++)
        kept[i] = av_frame_alloc();
    if (gpu_ladder_open(context, host, &for_cpus, &ladder, &why) != SL_OK ||
        gpu_ladder_run(ladder, host, kept, &why) != SL_OK)
        fail_msg("%s", why.message);
    uint8_t sample = kept[1]->data[2][0];
    gpu_ladder_close(&ladder);
    assert_int_equal(kept[1]->data[2][0], sample);
    for (int i = 0; i < 3; i++)
        av_frame_free(&kept[i]);
    av_frame_free(&host);
}

/* An encoder that looks ahead keeps many pictures; a source changes in mid-stream; a pass leaves rungs out. */
static void test_surfaces_wait_while_sources_change(void **state)
{
    (void)state;
    need_kernels();
    enum { KEPT = 24 };
    AVFrame *kept[KEPT], *small = frame_make(AV_PIX_FMT_YUV420P10LE, 322, 182);
    AVFrame *large = frame_make(AV_PIX_FMT_NV12, 640, 360);
    frame_paint(small, 0);
    frame_paint(large, 0);
    struct gpu_ladder_params params = {.rungs = {{HAL_NV12, 160, 90}, {HAL_NV12, 80, 46}},
                                       .rung_count = 2,
                                       .color_primaries = 2,
                                       .color_transfer = 2,
                                       .color_matrix = 2};
    struct gpu_ladder *ladder = NULL;
    struct sl_failure why = {0};
    if (gpu_ladder_open(context, large, &params, &ladder, &why) != SL_OK)
        fail_msg("%s", why.message);
    for (int i = 0; i < KEPT; i++) {
        kept[i] = av_frame_alloc();
        AVFrame *other = i % 3 ? av_frame_alloc() : NULL;
        AVFrame *const out[2] = {kept[i], other};
        if (gpu_ladder_run(ladder, i % 4 < 2 ? large : small, out, &why) != SL_OK)
            fail_msg("%s", why.message);
        av_frame_free(&other);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(kept[i]->data[0], kept[j]->data[0]);
    }
    AVFrame *first = download(kept[0]), *last = download(kept[KEPT - 4]),
            *changed = download(kept[2]);
    assert_true(isinf(psnr(first, last)));
    assert_true(psnr(first, changed) > 25); /* the same scene */
    av_frame_free(&first);
    av_frame_free(&last);
    av_frame_free(&changed);
    gpu_ladder_close(&ladder);
    for (int i = 0; i < KEPT; i++)
        av_frame_free(&kept[i]); /* surfaces outlive the ladder */
    av_frame_free(&small);
    av_frame_free(&large);
}

static void refused(AVFrame *like, const struct gpu_ladder_params *params, const char *says)
{
    struct gpu_ladder *ladder = NULL;
    struct sl_failure why = {0};
    assert_int_equal(gpu_ladder_open(context, like, params, &ladder, &why), SL_EUNSUPPORTED);
    assert_null(ladder);
    if (!strstr(why.message, says))
        fail_msg("\"%s\" does not say \"%s\"", why.message, says);
    av_frame_free(&like);
}

static void test_what_is_the_cpus_is_refused_by_name(void **state)
{
    (void)state;
    need_kernels();
    struct gpu_ladder_params params = {.rungs = {{HAL_NV12, 160, 90}},
                                       .rung_count = 1,
                                       .color_primaries = 1,
                                       .color_transfer = 1,
                                       .color_matrix = 1};
    refused(frame_make(AV_PIX_FMT_YUV444P, 640, 360), &params, "not pictures of the kind yuv444p");
    refused(frame_make(AV_PIX_FMT_YUV420P12LE, 640, 360), &params, "yuv420p12le");
    params.full_range = true;
    refused(frame_make(AV_PIX_FMT_YUV420P, 640, 360), &params,
            "leaves a picture in its limited range");
    params.full_range = false;
    AVFrame *other = frame_make(AV_PIX_FMT_YUV420P, 640, 360);
    other->colorspace = AVCOL_SPC_BT470BG;
    refused(other, &params, "leaves a picture in its colours");
    static uint16_t table[GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE * 3];
    params.tones = table;
    struct gpu_ladder *ladder = NULL;
    struct sl_failure why = {0};
    AVFrame *from = frame_make(AV_PIX_FMT_NV12, 640, 360), *out[1] = {av_frame_alloc()};
    assert_int_equal(gpu_ladder_open(context, from, &params, &ladder, &why), SL_OK);
    assert_int_equal(gpu_ladder_run(ladder, from, out, &why), SL_OK);
    av_frame_unref(out[0]);
    from->colorspace = AVCOL_SPC_BT470BG;
    assert_int_equal(gpu_ladder_run(ladder, from, out, &why), SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "maps the colours that the source began with"));
    gpu_ladder_close(&ladder);
    av_frame_free(&out[0]);
    av_frame_free(&from);
}

/* A phone held upright, its picture cropped: against the CPU's scaler over the picture that was turned before. */
static void test_pictures_are_turned_and_cropped_on_the_way(void **state)
{
    (void)state;
    need_kernels();
    enum { WIDE = 640, HIGH = 360, LEFT = 32, TOP = 16 };
    AVFrame *from = frame_make(AV_PIX_FMT_YUV420P, WIDE, HIGH);
    AVFrame *turned = frame_make(AV_PIX_FMT_YUV420P, HIGH - TOP, WIDE - LEFT);
    frame_paint(from, 0);
    from->crop_left = LEFT;
    from->crop_top = TOP;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? turned->height / 2 : turned->height); y++)
            for (int x = 0; x < (p ? turned->width / 2 : turned->width); x++) {
                int fx = (p ? LEFT / 2 : LEFT) + y, fy = (p ? HIGH / 2 : HIGH) - 1 - x;
                turned->data[p][y * turned->linesize[p] + x] =
                    from->data[p][fy * from->linesize[p] + fx];
            }
    struct gpu_ladder_params params = {.rungs = {{HAL_NV12, 172, 304}},
                                       .rung_count = 1,
                                       .color_primaries = 2,
                                       .color_transfer = 2,
                                       .color_matrix = 2,
                                       .rotation_degrees = 90};
    struct gpu_ladder *ladder = NULL;
    struct sl_failure why = {0};
    AVFrame *out[1] = {av_frame_alloc()};
    if (gpu_ladder_open(context, from, &params, &ladder, &why) != SL_OK ||
        gpu_ladder_run(ladder, from, out, &why) != SL_OK)
        fail_msg("%s", why.message);
    AVFrame *made = download(out[0]), *truth = cpu_scaled(turned, &params.rungs[0]);
    double near = psnr(made, truth);
    print_message("turned and cropped: %.1f dB of the CPU's\n", near);
    /* The CPU takes the turned chroma to sit where it sat before; half a sample of it makes the difference. */
    if (near < 38)
        fail_msg("the turned picture is %.1f dB from the CPU's", near);
    av_frame_free(&made);
    av_frame_free(&truth);
    av_frame_free(&out[0]);
    gpu_ladder_close(&ladder);
    av_frame_free(&from);
    av_frame_free(&turned);
}

/* Colours that there are; of HDR10 no brighter than 1000 nits. */
static void frame_dim(AVFrame *frame)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < (c ? frame->height / 2 : frame->height); y++)
            for (int x = 0; x < (c ? frame->width / 2 : frame->width); x++) {
                const AVComponentDescriptor *comp = &desc->comp[c];
                uint8_t *at = frame->data[comp->plane] +
                              (ptrdiff_t)y * frame->linesize[comp->plane] +
                              (ptrdiff_t)x * comp->step + comp->offset;
                uint16_t *word = (uint16_t *)(void *)at;
                int grey = 1 << (comp->depth - 1);
                int level = comp->depth > 8 ? *word >> comp->shift : *at;
                level = c ? grey + (level - grey) / 4 : level * 3 / 4;
                if (comp->depth > 8)
                    *word = (uint16_t)(level << comp->shift);
                else
                    *at = (uint8_t)level;
            }
}

/* HDR10 and HLG, decoded on the CPU and on the GPU, against the CPU's own filters: with a rung of the source's size (which is
 * what the tones make) and a smaller one. */
static void test_hdr_becomes_sdr_as_the_cpus_filters_make_it(void **state)
{
    (void)state;
    need_kernels();
    uint16_t *table = malloc(sizeof(uint16_t[3]) * GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE);
    assert_non_null(table);
    const struct gpu_ladder_rung rungs[] = {{HAL_P010, 320, 180}, {HAL_NV12, 160, 90}};
    for (int turn = 0; turn < 4; turn++) {
        bool hlg = turn & 1, surface = turn & 2;
        enum AVPixelFormat format = surface ? AV_PIX_FMT_P010LE : AV_PIX_FMT_YUV420P10LE;
        struct sl_failure why = {0};
        struct plan_picture how = {.tonemap_peak_nits = 1000, .bit_depth = 8};
        how.source_primaries = how.source_matrix = 9;
        how.source_transfer = hlg ? 18 : 16;
        how.primaries = how.transfer = how.matrix = 1;
        struct media_video video = {.width = 320, .height = 180, .time_base = {1, 25}};
        struct media_filter_params filter = {.video = &video, .how = &how, .end_pts = 1};
        AVFrame *host = frame_make(format, 320, 180);
        AVFrame *truth = frame_make(AV_PIX_FMT_YUV420P10LE, 320, 180);
        frame_paint(host, turn);
        frame_paint(truth, turn);
        AVFrame *both[2] = {host, truth};
        for (int i = 0; i < 2; i++) {
            frame_dim(both[i]);
            both[i]->color_primaries = AVCOL_PRI_BT2020;
            both[i]->colorspace = AVCOL_SPC_BT2020_NCL;
            both[i]->color_trc = hlg ? AVCOL_TRC_ARIB_STD_B67 : AVCOL_TRC_SMPTE2084;
            both[i]->chroma_location = AVCHROMA_LOC_LEFT;
            both[i]->pts = 0;
        }
        if (media_tone_table(host, 10, &how, GPU_TONE_SIDE, GPU_TONE_STEP, table, &why) != SL_OK ||
            media_filter_frame(&filter, truth, &why) != SL_OK)
            fail_msg("%s", why.message);
        struct gpu_ladder_params params = {.rungs = {rungs[0], rungs[1]},
                                           .rung_count = 2,
                                           .color_primaries = 1,
                                           .color_transfer = 1,
                                           .color_matrix = 1,
                                           .tones = table};
        AVFrame *from = surface ? upload(host) : av_frame_clone(host);
        AVFrame *out[2] = {av_frame_alloc(), av_frame_alloc()};
        struct gpu_ladder *ladder = NULL;
        if (gpu_ladder_open(context, from, &params, &ladder, &why) != SL_OK ||
            gpu_ladder_run(ladder, from, out, &why) != SL_OK)
            fail_msg("%s", why.message);
        for (int i = 0; i < 2; i++) {
            AVFrame *made = download(out[i]), *wanted = cpu_scaled(truth, &rungs[i]);
            double near = psnr(made, wanted);
            print_message("%s, %s, rung %d: %.1f dB of the CPU's\n", hlg ? "HLG" : "HDR10",
                          surface ? "surface" : "host", i, near);
            assert_int_equal(out[i]->color_trc, AVCOL_TRC_BT709);
            if (near < 45)
                fail_msg("rung %d is %.1f dB from the CPU's", i, near);
            av_frame_free(&made);
            av_frame_free(&wanted);
            av_frame_free(&out[i]);
        }
        gpu_ladder_close(&ladder);
        av_frame_free(&from);
        av_frame_free(&host);
        av_frame_free(&truth);
    }
    free(table);
}

/* BT.601, BT.2020 and full range as BT.709, decoded on the CPU and on the GPU, against the CPU's scaler. */
static void test_colours_become_those_of_the_cpus_scaler(void **state)
{
    (void)state;
    need_kernels();
    uint16_t *table = malloc(sizeof(uint16_t[3]) * GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE);
    assert_non_null(table);
    const struct gpu_ladder_rung rungs[] = {
        {HAL_NV12, 320, 180}, {HAL_NV12, 160, 90}, {HAL_P010, 160, 90}};
    static const struct {
        enum AVPixelFormat planar, given;
        int primaries, transfer, matrix;
        enum AVColorRange range;
        bool dimmer; /* else BT.2020 has colours that BT.709 has not */
    } cases[] = {
        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12, 5, 6, 5, AVCOL_RANGE_MPEG, false},
        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P, 6, 6, 6, AVCOL_RANGE_JPEG, false},
        {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P, 1, 1, 7, AVCOL_RANGE_MPEG, false},
        {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE, 9, 14, 9, AVCOL_RANGE_MPEG, true},
        {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE, 9, 14, 9, AVCOL_RANGE_MPEG, false},
        {AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV420P10LE, 9, 14, 9, AVCOL_RANGE_JPEG, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sl_failure why = {0};
        struct plan_picture how = {.primaries = 1, .transfer = 1, .matrix = 1};
        AVFrame *both[2] = {frame_make(cases[i].given, 320, 180),
                            frame_make(cases[i].planar, 320, 180)};
        for (int b = 0; b < 2; b++) {
            frame_paint(both[b], (int)i);
            frame_dim(both[b]);
            if (cases[i].dimmer)
                frame_dim(both[b]);
            both[b]->color_primaries = cases[i].primaries;
            both[b]->color_trc = cases[i].transfer;
            both[b]->colorspace = cases[i].matrix;
            both[b]->color_range = cases[i].range;
            both[b]->chroma_location = AVCHROMA_LOC_LEFT;
        }
        bool surface = cases[i].given != cases[i].planar;
        AVFrame *from = surface ? upload(both[0]) : av_frame_clone(both[0]);
        AVFrame *out[3] = {av_frame_alloc(), av_frame_alloc(), av_frame_alloc()};
        struct gpu_ladder_params params = {.rungs = {rungs[0], rungs[1], rungs[2]},
                                           .rung_count = 3,
                                           .color_primaries = 1,
                                           .color_transfer = 1,
                                           .color_matrix = 1,
                                           .tones = table};
        struct gpu_ladder *ladder = NULL;
        if (media_tone_table(from, av_pix_fmt_desc_get(cases[i].planar)->comp[0].depth, &how,
                             GPU_TONE_SIDE, GPU_TONE_STEP, table, &why) != SL_OK ||
            gpu_ladder_open(context, from, &params, &ladder, &why) != SL_OK ||
            gpu_ladder_run(ladder, from, out, &why) != SL_OK)
            fail_msg("%s", why.message);
        for (int r = 0; r < 3; r++) {
            AVFrame *made = download(out[r]), *wanted = cpu_scaled_to(both[1], &rungs[r], 1);
            double near = psnr(made, wanted);
            print_message("%s of %d, %d, %d%s, rung %d: %.1f dB of the CPU's\n",
                          av_get_pix_fmt_name(cases[i].given), cases[i].primaries,
                          cases[i].transfer, cases[i].matrix,
                          cases[i].range == AVCOL_RANGE_JPEG ? " in full range" : "", r, near);
            assert_int_equal(out[r]->colorspace, AVCOL_SPC_BT709);
            assert_int_equal(out[r]->color_range, AVCOL_RANGE_MPEG);
            if (near < 50)
                fail_msg("rung %d is %.1f dB from the CPU's", r, near);
            av_frame_free(&made);
            av_frame_free(&wanted);
            av_frame_free(&out[r]);
        }
        gpu_ladder_close(&ladder);
        av_frame_free(&from);
        av_frame_free(&both[0]);
        av_frame_free(&both[1]);
    }
    free(table);
}

/* ---- measures ---- */

static double filter_value(const AVFrame *a, const AVFrame *b, const char *filter, const char *key)
{
    AVFilterGraph *graph = avfilter_graph_alloc();
    AVFilterContext *sources[2], *measure, *sink;
    char args[128];
    snprintf(args, sizeof args, "width=%d:height=%d:pix_fmt=%d:time_base=1/25", a->width, a->height,
             a->format);
    for (int i = 0; i < 2; i++)
        assert_int_equal(avfilter_graph_create_filter(&sources[i], avfilter_get_by_name("buffer"),
                                                      i ? "b" : "a", args, NULL, graph),
                         0);
    assert_int_equal(avfilter_graph_create_filter(&measure, avfilter_get_by_name(filter), "m", NULL,
                                                  NULL, graph),
                     0);
    assert_int_equal(avfilter_graph_create_filter(&sink, avfilter_get_by_name("buffersink"), "s",
                                                  NULL, NULL, graph),
                     0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(avfilter_link(sources[i], 0, measure, i), 0);
    assert_int_equal(avfilter_link(measure, 0, sink, 0), 0);
    assert_true(avfilter_graph_config(graph, NULL) >= 0);
    const AVFrame *both[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        AVFrame *frame = av_frame_clone(both[i]);
        frame->pts = 0;
        assert_int_equal(av_buffersrc_add_frame(sources[i], frame), 0);
        assert_int_equal(av_buffersrc_add_frame(sources[i], NULL), 0);
        av_frame_free(&frame);
    }
    AVFrame *out = av_frame_alloc();
    assert_true(av_buffersink_get_frame(sink, out) >= 0);
    const AVDictionaryEntry *entry = av_dict_get(out->metadata, key, NULL, 0);
    assert_non_null(entry);
    double value = strtod(entry->value, NULL);
    av_frame_free(&out);
    avfilter_graph_free(&graph);
    return value;
}

static void test_psnr_and_ssim_are_libavfilters(void **state)
{
    (void)state;
    need_kernels();
    static const enum AVPixelFormat formats[][2] = {{AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P},
                                                    {AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P10LE}};
    for (int f = 0; f < 2; f++) {
        AVFrame *planar[2], *surfaces[2];
        for (int i = 0; i < 2; i++) {
            AVFrame *mixed = frame_make(formats[f][0], 322, 182);
            planar[i] = frame_make(formats[f][1], 322, 182);
            frame_paint(mixed, i);
            frame_paint(planar[i], i);
            surfaces[i] = upload(mixed);
            av_frame_free(&mixed);
        }
        struct gpu_measure found;
        struct sl_failure why = {0};
        if (gpu_measure_run(context, surfaces[0], surfaces[1], &found, &why) != SL_OK)
            fail_msg("%s", why.message);
        static const char *const keys[] = {
            "lavfi.ssim.Y",      "lavfi.ssim.U",      "lavfi.ssim.V",      "lavfi.ssim.All",
            "lavfi.psnr.psnr.y", "lavfi.psnr.psnr.u", "lavfi.psnr.psnr.v", "lavfi.psnr.psnr_avg"};
        const double mine[] = {found.ssim[0], found.ssim[1], found.ssim[2], found.ssim_all,
                               found.psnr[0], found.psnr[1], found.psnr[2], found.psnr_all};
        for (int k = 0; k < 8; k++) {
            double theirs = filter_value(planar[0], planar[1], k < 4 ? "ssim" : "psnr", keys[k]);
            print_message("%s: %.6f, libavfilter %.6f\n", keys[k], mine[k], theirs);
            /* libavfilter prints six digits of SSIM and two of decibels. */
            if (fabs(mine[k] - theirs) > (k < 4 ? 1e-4 : 0.011))
                fail_msg("%s is %.6f, and %.6f by libavfilter", keys[k], mine[k], theirs);
        }
        assert_int_equal(gpu_measure_run(context, surfaces[0], surfaces[0], &found, &why), SL_OK);
        assert_true(isinf(found.psnr_all) && fabs(found.ssim_all - 1) < 1e-6);
        for (int i = 0; i < 2; i++) {
            av_frame_free(&planar[i]);
            av_frame_free(&surfaces[i]);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {{.name = "whole", .gpus = "1"}};
    av_log_set_level(AV_LOG_QUIET);
    if (argc < 2)
        return standin_run_all(argv[0], runs, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rungs_are_those_of_the_cpu),
        cmocka_unit_test(test_pictures_are_turned_and_cropped_on_the_way),
        cmocka_unit_test(test_hdr_becomes_sdr_as_the_cpus_filters_make_it),
        cmocka_unit_test(test_pictures_for_cpus_come_back_in_planes),
        cmocka_unit_test(test_pictures_for_cpus_outlive_their_ladder),
        cmocka_unit_test(test_colours_become_those_of_the_cpus_scaler),
        cmocka_unit_test(test_surfaces_wait_while_sources_change),
        cmocka_unit_test(test_what_is_the_cpus_is_refused_by_name),
        cmocka_unit_test(test_psnr_and_ssim_are_libavfilters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
