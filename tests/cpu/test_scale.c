#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu_scale.h"

#define KEEP 2

static AVFrame *frame_make(enum AVPixelFormat format, int width, int height)
{
    AVFrame *frame = av_frame_alloc();
    assert_non_null(frame);
    frame->format = format;
    frame->width = width;
    frame->height = height;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    return frame;
}

/* Smooth, so that a good scaler of another make comes to nearly the same; value 0 … 1 by place. */
static double shade(int plane, double x, double y)
{
    return 0.5 + 0.35 * sin(6.0 * x + 2.0 * plane) * cos(5.0 * y + plane);
}

static void frame_paint(AVFrame *frame)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    int depth = desc->comp[0].depth;
    for (int p = 0; p < (desc->nb_components < 3 ? 1 : 3); p++) {
        int w = p ? AV_CEIL_RSHIFT(frame->width, desc->log2_chroma_w) : frame->width;
        int h = p ? AV_CEIL_RSHIFT(frame->height, desc->log2_chroma_h) : frame->height;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                double v = 16 + 219 * shade(p, (x + 0.5) / w, (y + 0.5) / h);
                uint8_t *row = frame->data[p] + (ptrdiff_t)y * frame->linesize[p];
                if (depth == 8)
                    row[x] = (uint8_t)lrint(v);
                else
                    ((uint16_t *)(void *)row)[x] = (uint16_t)lrint(v * (1 << (depth - 8)));
            }
    }
}

static double value_at(const AVFrame *frame, int plane, int x, int y)
{
    const uint8_t *row = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
    return frame->format == AV_PIX_FMT_YUV420P10LE ? ((const uint16_t *)(const void *)row)[x] / 4.0
                                                   : row[x];
}

/* The largest distance from what the picture's formula says, away from the edges. */
static double error_max(const AVFrame *frame)
{
    double worst = 0;
    for (int p = 0; p < 3; p++) {
        int w = p ? frame->width / 2 : frame->width, h = p ? frame->height / 2 : frame->height;
        for (int y = 2; y < h - 2; y++)
            for (int x = 2; x < w - 2; x++) {
                /* Chroma is sited left: half a luma sample before the middle of its pair. */
                double cx = p ? (x + 0.25) / w : (x + 0.5) / w;
                double want = 16 + 219 * shade(p, cx, (y + 0.5) / h);
                double d = fabs(value_at(frame, p, x, y) - want);
                worst = d > worst ? d : worst;
            }
    }
    return worst;
}

static struct cpu_scale_target target_of(int width, int height)
{
    return (struct cpu_scale_target){HAL_I420, width, height, KEEP, KEEP, KEEP, false};
}

static void scale_once(AVFrame *from, const struct cpu_scale_target *target, AVFrame *into)
{
    struct cpu_scale *scale = NULL;
    struct sl_failure why = {0};
    if (cpu_scale_open(from, target, &scale, &why) < 0)
        fail_msg("%s", why.message);
    assert_true(cpu_scale_fits(scale, from));
    if (cpu_scale_run(scale, from, into, &why) < 0)
        fail_msg("%s", why.message);
    cpu_scale_close(&scale);
    assert_null(scale);
}

static void test_every_planar_format_comes_out_right(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {
        AV_PIX_FMT_YUV444P,
        AV_PIX_FMT_YUV444P10LE,
        AV_PIX_FMT_YUV444P12LE,
        AV_PIX_FMT_YUVA444P,
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        AVFrame *from = frame_make(formats[i], 640, 360);
        AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 426, 240);
        struct cpu_scale_target target = target_of(426, 240);
        frame_paint(from);
        scale_once(from, &target, into);
        double error = error_max(into);
        /* Dither adds half a step; chroma a quarter of a sample off would add 0.4. */
        if (error >
            (formats[i] == AV_PIX_FMT_YUV444P || formats[i] == AV_PIX_FMT_YUVA444P ? 0.9 : 1.25))
            fail_msg("%s is off by %.2f", av_get_pix_fmt_name(formats[i]), error);
        av_frame_free(&from);
        av_frame_free(&into);
    }
}

/* VP9 and AV1 have pictures of any size; their last chroma samples then lie half outside. */
static void test_odd_sizes_come_out_whole(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10LE,
                                                 AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV411P};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(formats[i]);
        AVFrame *from = frame_make(formats[i], 641, 363);
        AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 426, 240);
        struct cpu_scale_target target = target_of(426, 240);
        for (int p = 0; p < 3; p++) {
            int w = p ? 1 << desc->log2_chroma_w : 1, h = p ? 1 << desc->log2_chroma_h : 1;
            int rows = (from->height + h - 1) / h;
            /* What stands beside a picture is none of it. */
            memset(from->data[p], 0, (size_t)(from->linesize[p] * rows));
            for (int y = 0; y < rows; y++)
                for (int x = 0; x < (from->width + w - 1) / w; x++) {
                    double v = 16 + 219 * shade(p, (x * w + 0.5) / from->width,
                                                (y + 0.5) * h / from->height);
                    uint8_t *row = from->data[p] + (ptrdiff_t)y * from->linesize[p];
                    if (desc->comp[0].depth == 8)
                        row[x] = (uint8_t)lrint(v);
                    else
                        ((uint16_t *)(void *)row)[x] = (uint16_t)lrint(v * 4);
                }
        }
        scale_once(from, &target, into);
        double error = error_max(into);
        if (error > 1.25)
            fail_msg("%s is off by %.2f", desc->name, error);
        for (int y = 0; y < into->height; y++)
            for (int x = y < into->height - 1 ? into->width - 1 : 0; x < into->width; x++) {
                double want =
                    16 + 219 * shade(0, (x + 0.5) / into->width, (y + 0.5) / into->height);
                assert_true(fabs(value_at(into, 0, x, y) - want) < 3);
            }
        av_frame_free(&from);
        av_frame_free(&into);
    }
}

/* Subsampled sources: their own samples are sited left already, as painted here half a sample off; compare with
 * another scaler instead of the formula. */
static void test_scaling_agrees_with_another_scaler(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV422P,
                                                 AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUV422P10LE,
                                                 AV_PIX_FMT_YUV410P};
    static const int sizes[][2] = {{426, 240}, {256, 144}, {960, 540}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            int w = sizes[j][0], h = sizes[j][1];
            AVFrame *from = frame_make(formats[i], 640, 360);
            AVFrame *mine = frame_make(AV_PIX_FMT_YUV420P, w, h);
            AVFrame *other = frame_make(AV_PIX_FMT_YUV420P, w, h);
            frame_paint(from);
            struct cpu_scale_target target = target_of(w, h);
            scale_once(from, &target, mine);
            struct SwsContext *sws = sws_getContext(
                640, 360, formats[i], w, h, AV_PIX_FMT_YUV420P,
                SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
            sws_scale(sws, (const uint8_t *const *)from->data, from->linesize, 0, 360, other->data,
                      other->linesize);
            sws_freeContext(sws);
            double worst = 0;
            for (int p = 0; p < 3; p++)
                for (int y = 3; y < h / (p ? 2 : 1) - 3; y++)
                    for (int x = 3; x < w / (p ? 2 : 1) - 3; x++) {
                        double d = fabs(value_at(mine, p, x, y) - value_at(other, p, x, y));
                        worst = d > worst ? d : worst;
                    }
            if (worst > 4.0)
                fail_msg("%s to %dx%d differs by %.1f", av_get_pix_fmt_name(formats[i]), w, h,
                         worst);
            av_frame_free(&from);
            av_frame_free(&mine);
            av_frame_free(&other);
        }
}

static void test_the_targets_own_picture_is_only_copied(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_YUV420P, 320, 180);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 320, 180);
    frame_paint(from);
    struct cpu_scale_target target = target_of(320, 180);
    struct cpu_scale *scale = NULL;
    struct sl_failure why = {0};
    assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_OK);
    assert_true(cpu_scale_is_copy(scale));
    assert_int_equal(cpu_scale_run(scale, from, into, &why), SL_OK);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? 90 : 180); y++)
            assert_memory_equal(from->data[p] + (ptrdiff_t)y * from->linesize[p],
                                into->data[p] + (ptrdiff_t)y * into->linesize[p], p ? 160u : 320u);
    cpu_scale_close(&scale);

    /* Another range, depth or place of chroma is another picture. */
    from->color_range = AVCOL_RANGE_JPEG;
    assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_OK);
    assert_false(cpu_scale_is_copy(scale));
    cpu_scale_close(&scale);
    from->color_range = AVCOL_RANGE_UNSPECIFIED;
    from->chroma_location = AVCHROMA_LOC_TOPLEFT;
    assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_OK);
    assert_false(cpu_scale_is_copy(scale));
    cpu_scale_close(&scale);
    av_frame_free(&from);
    av_frame_free(&into);
}

static void flat(AVFrame *frame, int luma, int cb, int cr)
{
    int values[] = {luma, cb, cr};
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < frame->height / (p ? 2 : 1); y++)
            memset(frame->data[p] + (ptrdiff_t)y * frame->linesize[p], values[p],
                   (size_t)frame->width / (p ? 2 : 1));
}

static void test_full_range_becomes_limited(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_YUVJ420P, 64, 64);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 32, 32);
    struct cpu_scale_target target = target_of(32, 32);
    flat(from, 255, 128, 128);
    scale_once(from, &target, into);
    assert_int_equal(into->data[0][5 * into->linesize[0] + 5], 235);
    flat(from, 0, 0, 255);
    scale_once(from, &target, into);
    assert_int_equal(into->data[0][5 * into->linesize[0] + 5], 16);
    assert_in_range(into->data[1][5 * into->linesize[1] + 5], 15, 17);
    assert_in_range(into->data[2][5 * into->linesize[2] + 5], 239, 241);
    av_frame_free(&from);
    av_frame_free(&into);
}

static void test_a_colour_matrix_is_converted(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_YUV420P, 64, 64);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 64, 64);
    struct cpu_scale_target target = target_of(64, 64);
    target.color_matrix = AVCOL_SPC_BT709;
    /* Pure red in BT.601 is (81, 90, 240), in BT.709 (63, 102, 240). */
    flat(from, 81, 90, 240);
    from->colorspace = AVCOL_SPC_SMPTE170M;
    scale_once(from, &target, into);
    assert_in_range(into->data[0][20 * into->linesize[0] + 20], 62, 64);
    assert_in_range(into->data[1][20 * into->linesize[1] + 20], 101, 103);
    /* Where the source does not say, nothing is converted. */
    from->colorspace = AVCOL_SPC_UNSPECIFIED;
    scale_once(from, &target, into);
    assert_int_equal(into->data[0][20 * into->linesize[0] + 20], 81);
    av_frame_free(&from);
    av_frame_free(&into);
}

static void test_ten_bit_targets_keep_their_depth(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_YUV444P10LE, 640, 360);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P10LE, 320, 180);
    struct cpu_scale_target target = target_of(320, 180);
    target.layout = HAL_I420_10;
    frame_paint(from);
    scale_once(from, &target, into);
    assert_true(error_max(into) < 1.0);
    av_frame_free(&from);
    av_frame_free(&into);
}

/* What encoders of devices read holds the samples of its planar twin, scaled or only copied. */
static void test_packed_layouts_hold_the_samples_of_planar_ones(void **state)
{
    (void)state;
    static const struct {
        enum hal_layout planar, packed;
        enum AVPixelFormat planar_format, packed_format;
    } cases[] = {{HAL_I420, HAL_NV12, AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12},
                 {HAL_I420_10, HAL_P010, AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_P010LE}};
    for (int i = 0; i < 4; i++) {
        bool deep = i % 2, copied = i / 2;
        AVFrame *from =
            frame_make(deep ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P, copied ? 210 : 320, 118);
        frame_paint(from);
        AVFrame *into[2] = {frame_make(cases[deep].planar_format, 210, 118),
                            frame_make(cases[deep].packed_format, 210, 118)};
        for (int j = 0; j < 2; j++) {
            struct cpu_scale_target target = {.layout = j ? cases[deep].packed : cases[deep].planar,
                                              .width = 210,
                                              .height = 118,
                                              .color_primaries = 1,
                                              .color_transfer = 1,
                                              .color_matrix = 1};
            struct cpu_scale *scale = NULL;
            struct sl_failure why = {0};
            assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_OK);
            assert_int_equal(cpu_scale_is_copy(scale), copied && !j);
            assert_int_equal(cpu_scale_run(scale, from, into[j], &why), SL_OK);
            cpu_scale_close(&scale);
        }
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (p ? 59 : 118); y++)
                for (int x = 0; x < (p ? 105 : 210); x++) {
                    const uint8_t *a = into[0]->data[p] + (ptrdiff_t)y * into[0]->linesize[p];
                    const uint8_t *b =
                        into[1]->data[p > 0] + (ptrdiff_t)y * into[1]->linesize[p > 0];
                    int at = p ? 2 * x + (p - 1) : x;
                    if (deep)
                        assert_int_equal(((const uint16_t *)(const void *)a)[x] << 6,
                                         ((const uint16_t *)(const void *)b)[at]);
                    else
                        assert_int_equal(a[x], b[at]);
                }
        av_frame_free(&into[0]);
        av_frame_free(&into[1]);
        av_frame_free(&from);
    }
}

static void test_grey_gets_neutral_chroma(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_GRAY8, 128, 64);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 64, 32);
    struct cpu_scale_target target = target_of(64, 32);
    frame_paint(from);
    scale_once(from, &target, into);
    assert_int_equal(into->data[1][3 * into->linesize[1] + 31], 128);
    assert_int_equal(into->data[2][15 * into->linesize[2]], 128);
    av_frame_free(&from);
    av_frame_free(&into);
}

/* A decoder that crops moves the planes' starts by some bytes. */
static void test_unaligned_planes_give_the_same_picture(void **state)
{
    (void)state;
    AVFrame *wide = frame_make(AV_PIX_FMT_YUV420P, 656, 360);
    AVFrame *plain = frame_make(AV_PIX_FMT_YUV420P, 640, 360);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 320, 180);
    AVFrame *again = frame_make(AV_PIX_FMT_YUV420P, 320, 180);
    frame_paint(plain);
    AVFrame *moved = av_frame_alloc();
    assert_int_equal(av_frame_ref(moved, wide), 0);
    moved->width = 640;
    for (int p = 0; p < 3; p++) {
        moved->data[p] += p ? 5 : 10;
        for (int y = 0; y < (p ? 180 : 360); y++)
            memcpy(moved->data[p] + (ptrdiff_t)y * moved->linesize[p],
                   plain->data[p] + (ptrdiff_t)y * plain->linesize[p], p ? 320 : 640);
    }
    struct cpu_scale_target target = target_of(320, 180);
    scale_once(plain, &target, into);
    scale_once(moved, &target, again);
    for (int y = 0; y < 180; y++)
        assert_memory_equal(into->data[0] + (ptrdiff_t)y * into->linesize[0],
                            again->data[0] + (ptrdiff_t)y * again->linesize[0], 320);
    av_frame_free(&moved);
    av_frame_free(&wide);
    av_frame_free(&plain);
    av_frame_free(&into);
    av_frame_free(&again);
}

static void test_a_source_that_changes_no_longer_fits(void **state)
{
    (void)state;
    AVFrame *from = frame_make(AV_PIX_FMT_YUV420P, 640, 360);
    AVFrame *smaller = frame_make(AV_PIX_FMT_YUV420P, 320, 180);
    AVFrame *into = frame_make(AV_PIX_FMT_YUV420P, 160, 90);
    struct cpu_scale_target target = target_of(160, 90);
    struct cpu_scale *scale = NULL;
    struct sl_failure why = {0};
    assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_OK);
    assert_false(cpu_scale_fits(scale, smaller));
    assert_int_equal(cpu_scale_run(scale, smaller, into, &why), SL_EINVAL);
    assert_int_equal(cpu_scale_run(scale, from, smaller, &why), SL_EINVAL);
    smaller->colorspace = AVCOL_SPC_BT709;
    cpu_scale_close(&scale);
    av_frame_free(&from);
    av_frame_free(&smaller);
    av_frame_free(&into);
}

static void test_formats_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_NV12,        AV_PIX_FMT_P010LE,
                                                 AV_PIX_FMT_YUYV422,     AV_PIX_FMT_PAL8,
                                                 AV_PIX_FMT_YUV420P10BE, AV_PIX_FMT_VAAPI};
    struct cpu_scale_target target = target_of(160, 90);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        AVFrame *from = av_frame_alloc();
        from->format = formats[i];
        from->width = 640;
        from->height = 360;
        struct cpu_scale *scale = NULL;
        struct sl_failure why = {0};
        assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_EUNSUPPORTED);
        assert_null(scale);
        assert_non_null(strstr(why.message, av_get_pix_fmt_name(formats[i])));
        av_frame_free(&from);
    }
    AVFrame *from = frame_make(AV_PIX_FMT_YUV420P, 64, 64);
    struct cpu_scale *scale = NULL;
    struct sl_failure why = {0};
    target.width = 161;
    assert_int_equal(cpu_scale_open(from, &target, &scale, &why), SL_EINVAL);
    av_frame_free(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_planar_format_comes_out_right),
        cmocka_unit_test(test_odd_sizes_come_out_whole),
        cmocka_unit_test(test_scaling_agrees_with_another_scaler),
        cmocka_unit_test(test_the_targets_own_picture_is_only_copied),
        cmocka_unit_test(test_full_range_becomes_limited),
        cmocka_unit_test(test_a_colour_matrix_is_converted),
        cmocka_unit_test(test_ten_bit_targets_keep_their_depth),
        cmocka_unit_test(test_packed_layouts_hold_the_samples_of_planar_ones),
        cmocka_unit_test(test_grey_gets_neutral_chroma),
        cmocka_unit_test(test_unaligned_planes_give_the_same_picture),
        cmocka_unit_test(test_a_source_that_changes_no_longer_fits),
        cmocka_unit_test(test_formats_that_cannot_be_read_are_named),
    };
    return cmocka_run_group_tests_name("scale", tests, NULL, NULL);
}
