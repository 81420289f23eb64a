/* A VA-API device's scaler on tests/standin's driver: pictures in host memory become surfaces of every rung. */
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpu/gpu_va.h"
#include "gpu/gpu_va_ladder.h"
#include "gpu/gpu_va_upload.h"

#define STANDIN "build/standin"

/* A slope of luma to the right and downwards, and one of U to the right; V is flat. */
static AVFrame *picture_make(enum AVPixelFormat format, int width, int height)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = width;
    frame->height = height;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->color_primaries = AVCOL_PRI_BT709;
    frame->color_trc = AVCOL_TRC_BT709;
    frame->colorspace = AVCOL_SPC_BT709;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    bool deep = format == AV_PIX_FMT_YUV420P10LE;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? height / 2 : height); y++)
            for (int x = 0; x < (plane ? width / 2 : width); x++) {
                int value = plane == 0   ? 20 + 100 * x / width + 100 * y / height
                            : plane == 1 ? 60 + 200 * x / width
                                         : 170;
                uint8_t *row = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
                if (deep)
                    ((uint16_t *)(void *)row)[x] = (uint16_t)(value << 2);
                else
                    row[x] = (uint8_t)value;
            }
    return frame;
}

/* Of 8 bits; P010 has ten at the top of sixteen. */
static int sample(const AVFrame *frame, int plane, int x, int y)
{
    const uint8_t *row = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
    return frame->format == AV_PIX_FMT_P010LE ? ((const uint16_t *)(const void *)row)[x] >> 8
                                              : row[x];
}

static void picture_check(const AVFrame *surface, int width, int height)
{
    AVFrame *host = av_frame_alloc();
    assert_int_equal(surface->format, AV_PIX_FMT_VAAPI);
    assert_int_equal(av_hwframe_transfer_data(host, surface, 0), 0);
    assert_int_equal(host->width, width);
    assert_int_equal(host->height, height);
    for (int y = 4; y < height / 2 - 4; y += 5)
        for (int x = 4; x < width / 2 - 4; x += 7) {
            assert_in_range(sample(host, 0, 2 * x, 2 * y) + 3 -
                                (20 + 200 * x / width + 200 * y / height),
                            0, 6);
            assert_in_range(sample(host, 1, 2 * x, y) + 4 - (60 + 200 * x / width), 0, 8);
            assert_in_range(sample(host, 1, 2 * x + 1, y), 168, 172);
        }
    av_frame_free(&host);
}

static struct gpu_ladder_params params_of(enum hal_layout layout)
{
    return (struct gpu_ladder_params){
        .rungs = {{layout, 320, 180}, {layout, 160, 90}, {layout, 128, 72}},
        .rung_count = 3,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
}

static int open_ladder(const AVFrame *like, enum hal_layout layout, struct gpu_va_ladder **out,
                       struct sl_failure *why)
{
    AVBufferRef *context;
    struct gpu_ladder_params params = params_of(layout);
    assert_int_equal(gpu_va_context("standin-va0", &context, why), SL_OK);
    return gpu_va_ladder_open(context, like, &params, out, why);
}

static void run_check(struct gpu_va_ladder *ladder, const AVFrame *from)
{
    AVFrame *out[POLICY_RUNGS_MAX] = {av_frame_alloc(), NULL, av_frame_alloc()};
    struct sl_failure why = {0};
    int code = gpu_va_ladder_run(ladder, from, out, &why);
    if (code != SL_OK)
        fail_msg("%s", why.message);
    picture_check(out[0], 320, 180);
    picture_check(out[2], 128, 72);
    assert_ptr_equal(out[2]->hw_frames_ctx->data, gpu_va_ladder_surfaces(ladder, 2)->data);
    av_frame_free(&out[0]);
    av_frame_free(&out[2]);
}

static void test_every_rung_gets_the_picture_in_its_size(void **state)
{
    (void)state;
    static const struct {
        enum AVPixelFormat format;
        enum hal_layout layout;
    } cases[] = {{AV_PIX_FMT_YUV420P, HAL_NV12}, {AV_PIX_FMT_YUV420P10LE, HAL_P010}};
    for (size_t i = 0; i < 2; i++) {
        struct gpu_va_ladder *ladder = NULL;
        struct sl_failure why = {0};
        AVFrame *same = picture_make(cases[i].format, 320, 180);
        AVFrame *larger = picture_make(cases[i].format, 402, 226);
        assert_int_equal(open_ladder(same, cases[i].layout, &ladder, &why), SL_OK);
        run_check(ladder, same);
        run_check(ladder, larger); /* a source may change its size */
        run_check(ladder, same);
        gpu_va_ladder_close(&ladder);
        av_frame_free(&same);
        av_frame_free(&larger);
    }
}

/* The last chroma samples of an odd picture lie half outside, and belong to it. */
static void test_an_odd_picture_goes_up_whole(void **state)
{
    (void)state;
    static const struct {
        enum AVPixelFormat format;
        enum hal_layout layout;
    } cases[] = {{AV_PIX_FMT_YUV420P, HAL_I420}, {AV_PIX_FMT_NV12, HAL_NV12}};
    for (size_t i = 0; i < 2; i++) {
        struct sl_failure why = {0};
        AVBufferRef *context, *pool = NULL;
        AVFrame *from = av_frame_alloc(), *up = av_frame_alloc(), *down = av_frame_alloc();
        from->format = cases[i].format;
        from->width = 129;
        from->height = 97;
        assert_int_equal(av_frame_get_buffer(from, 0), 0);
        for (int plane = 0; plane < (i ? 2 : 3); plane++)
            memset(from->data[plane], 77, (size_t)from->linesize[plane] * (plane ? 49 : 97));
        struct hal_frame view = {.layout = cases[i].layout, .width = 129, .height = 97};
        for (int plane = 0; plane < 3; plane++) {
            view.planes[plane] = from->data[plane];
            view.stride_bytes[plane] = (size_t)from->linesize[plane];
        }
        assert_int_equal(gpu_va_context("standin-va0", &context, &why), SL_OK);
        assert_int_equal(gpu_va_pool_make(context, HAL_NV12, 129, 97, &pool, &why), SL_OK);
        assert_int_equal(gpu_va_upload(pool, &view, up, &why), SL_OK);
        assert_int_equal(av_hwframe_transfer_data(down, up, 0), 0);
        for (int y = 0; y < 49; y++)
            for (int x = 0; x < 130; x++)
                assert_int_equal(down->data[1][y * down->linesize[1] + x], 77);
        av_frame_free(&from);
        av_frame_free(&up);
        av_frame_free(&down);
        av_buffer_unref(&pool);
    }
}

static void test_a_surface_is_scaled_where_it_is(void **state)
{
    (void)state;
    struct gpu_va_ladder *ladder = NULL;
    struct sl_failure why = {0};
    AVFrame *host = picture_make(AV_PIX_FMT_YUV420P, 320, 180);
    AVFrame *out[POLICY_RUNGS_MAX] = {av_frame_alloc()};
    assert_int_equal(open_ladder(host, HAL_NV12, &ladder, &why), SL_OK);
    assert_int_equal(gpu_va_ladder_run(ladder, host, out, &why), SL_OK);
    out[0]->color_range = AVCOL_RANGE_MPEG;
    run_check(ladder, out[0]);
    av_frame_free(&out[0]);
    av_frame_free(&host);
    gpu_va_ladder_close(&ladder);
}

static void test_what_needs_a_conversion_is_left_to_the_cpu(void **state)
{
    (void)state;
    struct gpu_va_ladder *ladder = NULL;
    struct sl_failure why = {0};
    AVFrame *frame = picture_make(AV_PIX_FMT_YUV420P, 320, 180);
    assert_int_equal(open_ladder(frame, HAL_P010, &ladder, &why), SL_EUNSUPPORTED);
    frame->colorspace = AVCOL_SPC_BT470BG;
    assert_int_equal(open_ladder(frame, HAL_NV12, &ladder, &why), SL_EUNSUPPORTED);
    frame->colorspace = AVCOL_SPC_BT709;
    frame->color_range = AVCOL_RANGE_JPEG;
    assert_int_equal(open_ladder(frame, HAL_NV12, &ladder, &why), SL_EUNSUPPORTED);
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->format = AV_PIX_FMT_YUV444P;
    assert_int_equal(open_ladder(frame, HAL_NV12, &ladder, &why), SL_EUNSUPPORTED);
    assert_null(ladder);
    av_frame_free(&frame);
}

int main(void)
{
    av_log_set_level(AV_LOG_FATAL);
    if (access(STANDIN "/sluice_drv_video.so", R_OK) != 0) {
        printf("SKIP: make standin has not built " STANDIN "/sluice_drv_video.so\n");
        return 77;
    }
    setenv("LD_LIBRARY_PATH", STANDIN, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rung_gets_the_picture_in_its_size),
        cmocka_unit_test(test_an_odd_picture_goes_up_whole),
        cmocka_unit_test(test_a_surface_is_scaled_where_it_is),
        cmocka_unit_test(test_what_needs_a_conversion_is_left_to_the_cpu),
    };
    return cmocka_run_group_tests_name("va ladder", tests, NULL, NULL);
}
