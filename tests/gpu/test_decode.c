/* Decoding beside a GPU: surfaces hash as the CPU's pictures do, and a driver that decodes nothing changes nothing. */
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_decode.h"
#include "media/media_frame.h"
#include "media/media_range.h"
#include "tests/media/media_kit.h"
#include "tests/standin/standin_run.h"

static struct hal_device devices[NODE_DEVICES_MAX];

static AVBufferRef *context_open(void)
{
    AVBufferRef *context = NULL;
    struct sl_failure why = {0};
    int32_t count = 0;
    assert_int_equal(gpu_device_ops.probe(devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_true(count > 0);
    if (gpu_context(devices[0].device_id, &context, &why) != SL_OK)
        fail_msg("%s", why.message);
    return context;
}

static AVFrame *frame_make(enum AVPixelFormat format)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = format;
    frame->width = 322;
    frame->height = 182;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    frame->pts = 4711;
    frame->colorspace = AVCOL_SPC_BT709;
    return frame;
}

static int level(int plane, int x, int y, bool deep)
{
    return (plane * 50 + x * 3 + y * 5 + x * y / 16) % (deep ? 1024 : 256);
}

/* One picture as the CPU's decoder lays it and as the GPU's does. */
static void both_make(bool deep, AVFrame **planar, AVFrame **mixed)
{
    *planar = frame_make(deep ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P);
    *mixed = frame_make(deep ? AV_PIX_FMT_P010LE : AV_PIX_FMT_NV12);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? 91 : 182); y++)
            for (int x = 0; x < (plane ? 161 : 322); x++) {
                int value = level(plane, x, y, deep);
                int at = plane ? x * 2 + plane - 1 : x, lies = plane ? 1 : 0;
                uint8_t *p = (*planar)->data[plane] + (ptrdiff_t)y * (*planar)->linesize[plane];
                uint8_t *m = (*mixed)->data[lies] + (ptrdiff_t)y * (*mixed)->linesize[lies];
                if (deep) {
                    ((uint16_t *)(void *)p)[x] = (uint16_t)value;
                    ((uint16_t *)(void *)m)[at] = (uint16_t)(value << 6);
                } else {
                    p[x] = (uint8_t)value;
                    m[at] = (uint8_t)value;
                }
            }
}

static void test_a_surface_is_the_picture_of_the_cpu(void **state)
{
    (void)state;
    AVBufferRef *context = context_open();
    for (int deep = 0; deep < 2; deep++) {
        AVFrame *planar, *mixed, *surface = av_frame_alloc();
        both_make(deep, &planar, &mixed);
        AVBufferRef *pool = av_hwframe_ctx_alloc(context);
        AVHWFramesContext *frames = (AVHWFramesContext *)(void *)pool->data;
        frames->format = AV_PIX_FMT_CUDA;
        frames->sw_format = mixed->format;
        frames->width = mixed->width;
        frames->height = mixed->height;
        assert_int_equal(av_hwframe_ctx_init(pool), 0);
        assert_int_equal(av_hwframe_get_buffer(pool, surface, 0), 0);
        assert_int_equal(av_hwframe_transfer_data(surface, mixed, 0), 0);
        assert_int_equal(av_frame_copy_props(surface, mixed), 0);
        assert_true(media_frame_is_surface(surface) && !media_frame_is_surface(planar));
        AVFrame *fetched = media_frame_download(surface, planar->format);
        assert_non_null(fetched);
        assert_int_equal(fetched->pts, 4711);
        assert_int_equal(fetched->colorspace, AVCOL_SPC_BT709);
        assert_true(media_frame_hash(fetched) == media_frame_hash(planar));
        /* A picture of the other depth is not taken for it. */
        AVFrame *other =
            media_frame_download(surface, deep ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUV420P10LE);
        assert_null(other);
        av_frame_free(&fetched);
        av_frame_free(&surface);
        av_frame_free(&planar);
        av_frame_free(&mixed);
        av_buffer_unref(&pool);
    }
}

/* libavcodec finds no libnvcuvid, and decodes on the CPU: the same frames, times and seams. */
static void test_without_nvdec_the_cpu_decodes(void **state)
{
    (void)state;
    struct kit_clip clip;
    AVBufferRef *context = context_open();
    if (!kit_made_open(&clip))
        skip();
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    size_t count = 0, seen = 0;
    uint64_t first, next;
    int64_t end = info.video.end_pts - (info.video.end_pts - info.video.first_pts) / 3;
    struct kit_frame *want = kit_range(&clip.input, &info.video, info.video.first_pts, end,
                                       PREROLL_NONE, &count, &first, &next, NULL);
    struct media_range_params params = {.video = &info.video,
                                        .start_pts = info.video.first_pts,
                                        .end_pts = end,
                                        .device = context,
                                        .surface = AV_PIX_FMT_CUDA};
    struct media_range *range = NULL;
    struct sl_failure why = {0};
    if (media_range_open(&clip.input, &params, &range, &why) != SL_OK)
        fail_msg("%s", why.message);
    AVFrame *frame;
    int got;
    while ((got = media_range_next(range, &frame, &why)) > 0) {
        assert_true(seen < count && !media_frame_is_surface(frame));
        assert_int_equal(frame->pts, want[seen].pts);
        assert_true(media_frame_hash(frame) == want[seen].hash);
        seen++;
    }
    assert_int_equal(got, 0);
    assert_int_equal(seen, count);
    assert_true(media_range_stats(range)->seam_first == first && first);
    assert_true(media_range_stats(range)->seam_next == next && next);
    media_range_close(&range);
    free(want);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_a_row_says_which_sources_are_decoded(void **state)
{
    (void)state;
    struct hal_device device = {
        .rows = {{.codec = CODEC_H265,
                  .direction = HAL_ENCODE,
                  .layouts = ~0u,
                  .width_max = 9999,
                  .height_max = 9999},
                 {.codec = CODEC_H264,
                  .direction = HAL_DECODE,
                  .layouts = 1u << HAL_NV12,
                  .width_min = 48,
                  .height_min = 16,
                  .width_max = 4096,
                  .height_max = 4096}},
        .row_count = 2,
    };
    struct media_video video = {.codec = "h264", .pix_fmt = "yuv420p", .width = 640, .height = 360};
    assert_true(gpu_decodes(&device, &video));
    video.width = 8192;
    assert_false(gpu_decodes(&device, &video));
    video.width = 32;
    assert_false(gpu_decodes(&device, &video));
    video.width = 640;
    strcpy(video.pix_fmt, "yuv420p10le");
    assert_false(gpu_decodes(&device, &video));
    strcpy(video.pix_fmt, "yuv444p");
    assert_false(gpu_decodes(&device, &video));
    strcpy(video.pix_fmt, "yuv420p");
    strcpy(video.codec, "hevc"); /* which it encodes */
    assert_false(gpu_decodes(&device, &video));
    /* The stand-in has no NVDEC. */
    context_open();
    for (int32_t i = 0; i < devices[0].row_count; i++)
        assert_true(devices[0].rows[i].direction != HAL_DECODE);
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {{.name = "whole", .gpus = "1"}};
    av_log_set_level(AV_LOG_QUIET);
    if (argc < 2)
        return standin_run_all(argv[0], runs, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_surface_is_the_picture_of_the_cpu),
        cmocka_unit_test(test_without_nvdec_the_cpu_decodes),
        cmocka_unit_test(test_a_row_says_which_sources_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
