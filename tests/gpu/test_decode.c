/* Decoding on tests/standin's NVDEC: the frames, times and seams of the CPU, and what is the CPU's after all. */
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>

#include "base/buf.h"
#include "gpu/gpu_cuda.h"
#include "gpu/gpu_decode.h"
#include "media/media_frame.h"
#include "media/media_range.h"
#include "tests/media/media_kit.h"
#include "tests/standin/standin_run.h"
#include "tests/standin/state.h"

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

/* ---- ranges ---- */

#define VP9       "-c:v libvpx-vp9 -b:v 200k -g 20 -deadline good -cpu-used 5 "
/* Pictures that are predicted from before they are shown, as they are or not. */
#define HIDDEN    VP9 "-auto-alt-ref 6 -lag-in-frames 19 "
#define DEEP      "-pix_fmt yuv420p10le -profile:v 2 "
#define MOVING    "testsrc2=size=202x118:rate=20:duration=2.5"
#define KEYFRAMES 20
#define HELD_MAX  64

struct source {
    struct kit_clip clip;
    struct sl_arena arena;
    struct media_info info;
    struct media_index index;
};

static void source_open(struct source *source, const char *kind, const char *input,
                        const char *args)
{
    *source = (struct source){0};
    if (!kit_trait_open(&source->clip, kind, input, args)) { /* without the ffmpeg program */
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    kit_probe(&source->clip, &source->arena, &source->info, &source->index);
}

/* libvpx hides pictures in a second pass alone. */
static void hidden_open(struct source *source, const char *input, const char *args)
{
    char folder[] = "/tmp/sluice-test-XXXXXX", both[700];
    assert_non_null(mkdtemp(folder));
    snprintf(both, sizeof both,
             "%s -pass 1 -passlogfile %s/log -f null - && ffmpeg -nostdin -loglevel error -y -f "
             "lavfi -i '%s' -pix_fmt yuv420p %s -pass 2 -passlogfile %s/log",
             args, folder, input, args, folder);
    *source = (struct source){0};
    bool made = kit_trait_open(&source->clip, "webm", input, both);
    snprintf(both, sizeof both, "rm -r %s", folder);
    assert_int_equal(system(both), 0);
    if (!made) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    kit_probe(&source->clip, &source->arena, &source->info, &source->index);
}

static void source_close(struct source *source)
{
    sl_arena_fini(&source->arena);
    kit_clip_close(&source->clip);
}

struct asked {
    int64_t start_pts, end_pts;
    int32_t preroll;
    size_t held; /* surfaces that somebody keeps */
};

/* The range on the device is the CPU's, frame by frame; how many were surfaces. */
static size_t same_as_cpu(const struct source *source, const struct asked *asked, bool *left)
{
    size_t count = 0, seen = 0, surfaces = 0;
    uint64_t first, next;
    const struct media_video *video = &source->info.video;
    struct kit_frame *want = kit_range(&source->clip.input, video, asked->start_pts, asked->end_pts,
                                       asked->preroll, &count, &first, &next, NULL);
    struct media_range_params params = {.video = video,
                                        .start_pts = asked->start_pts,
                                        .end_pts = asked->end_pts,
                                        .preroll = asked->preroll,
                                        .device = context_open(),
                                        .surface = AV_PIX_FMT_CUDA};
    struct media_range *range = NULL;
    struct sl_failure why = {0};
    AVFrame *frame, *held[HELD_MAX] = {NULL};
    if (media_range_open(&source->clip.input, &params, &range, &why) != SL_OK)
        fail_msg("%s", why.message);
    int got;
    while ((got = media_range_next(range, &frame, &why)) > 0) {
        assert_true(seen < count);
        assert_int_equal(frame->pts, want[seen].pts);
        AVFrame *host = frame;
        if (media_frame_is_surface(frame)) {
            host = media_frame_download(frame, media_range_samples(range));
            assert_non_null(host);
            if (surfaces < asked->held)
                held[surfaces] = av_frame_clone(frame);
            surfaces++;
        }
        if (media_frame_hash(host) != want[seen].hash)
            fail_msg("frame %zu (a surface: %d) is another one", seen, host != frame);
        if (host != frame)
            av_frame_free(&host);
        seen++;
    }
    if (got < 0)
        fail_msg("%s", why.message);
    const struct media_range_stats *stats = media_range_stats(range);
    assert_int_equal(seen, count);
    assert_int_equal(stats->frames, count);
    assert_int_equal(stats->errors, 0);
    assert_true(stats->seam_first == first && first);
    assert_true(stats->seam_next == next);
    *left = stats->device_left;
    media_range_close(&range);
    for (size_t i = 0; i < HELD_MAX; i++)
        av_frame_free(&held[i]);
    free(want);
    return surfaces;
}

static struct asked whole(const struct source *source)
{
    return (struct asked){.start_pts = source->info.video.first_pts,
                          .end_pts = source->info.video.end_pts};
}

/* From the second keyframe on, to two frames before the end. */
static struct asked middle(const struct source *source)
{
    const struct media_index *index = &source->index;
    size_t keys = 0;
    for (size_t i = 0; i < index->count; i++)
        if (index->key[i] && ++keys == 2)
            return (struct asked){.start_pts = index->pts[i],
                                  .end_pts = index->pts[index->count - 2]};
    fail_msg("the clip has %zu keyframes", keys);
    return (struct asked){0};
}

/* What the stand-in counted of the device. */
static const struct standin_device *counted(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    struct standin_shared **shared = dlsym(library, "standin_shared");
    assert_non_null(shared);
    return &(*shared)->devices[0];
}

/* Packets of VP9 that hold a hidden picture, and those that only say which one is shown. */
static void hidden_count(const struct source *source, int *hidden, int *again)
{
    struct media_source *opened = NULL;
    struct sl_failure why = {0};
    AVPacket *packet = av_packet_alloc();
    assert_int_equal(media_source_open(&source->clip.input, &opened, &why), SL_OK);
    for (*hidden = *again = 0; media_source_read(opened, packet, &why) > 0;
         av_packet_unref(packet)) {
        *hidden += (packet->data[packet->size - 1] & 0xe0) == 0xc0;
        *again += (packet->data[0] & 8) != 0;
    }
    av_packet_free(&packet);
    media_source_close(&opened);
}

static void test_nvdec_gives_the_frames_of_the_cpu(void **state)
{
    (void)state;
    const struct {
        const char *input, *args;
        bool hidden;
    } clips[] = {
        {MOVING, HIDDEN, true},
        {MOVING, HIDDEN DEEP, true},
        {"testsrc2=size=64x64:rate=20:duration=1.5", VP9 "-auto-alt-ref 0 -lag-in-frames 0 ",
         false},
    };
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        struct source source;
        bool left = false;
        if (clips[i].hidden)
            hidden_open(&source, clips[i].input, clips[i].args);
        else
            source_open(&source, "webm", clips[i].input, clips[i].args);
        int hidden, again;
        hidden_count(&source, &hidden, &again);
        assert_true(clips[i].hidden ? hidden > 0 && again > 0 : !hidden && !again);
        struct asked asked = whole(&source);
        context_open();
        assert_true(gpu_decodes(&devices[0], &source.info.video));
        uint64_t before = counted()->decoded;
        size_t frames = same_as_cpu(&source, &asked, &left);
        assert_int_equal(frames, source.index.count);
        assert_false(left);
        uint64_t decoded = counted()->decoded - before;
        assert_true(decoded >= frames + (size_t)hidden - (size_t)again);
        asked = middle(&source);
        assert_int_equal(same_as_cpu(&source, &asked, &left), source.index.count - 2 - KEYFRAMES);
        asked.preroll = 1;
        assert_int_equal(same_as_cpu(&source, &asked, &left), source.index.count - 2 - KEYFRAMES);
        asked.preroll = PREROLL_LINEAR;
        assert_int_equal(same_as_cpu(&source, &asked, &left), source.index.count - 2 - KEYFRAMES);
        assert_false(left);
        source_close(&source);
    }
}

/* B-pictures that are referred to, open GOPs, weights, fields by macroblocks, scaling lists, slices, no keyframes at all. */
static void test_h264_is_what_the_cpu_decodes(void **state)
{
    (void)state;
    static const struct {
        const char *input, *args;
    } clips[] = {
        {MOVING, "-g 20 -x264-params open-gop=1:bframes=3:b-pyramid=normal:weightp=2:ref=4"},
        {MOVING, "-g 20 -x264-params cqm=jvt:bframes=2:direct=temporal:weightb=1:cabac=0"},
        {MOVING, "-g 20 -profile:v baseline -x264-params slices=4:ref=2"},
        {MOVING, "-x264-params keyint=20:intra-refresh=1:bframes=0"},
        {MOVING, "-g 20 -qp 0 -preset ultrafast"},
        {"testsrc2=size=192x128:rate=40:duration=2.5,tinterlace=interleave_top",
         "-g 20 -flags +ildct+ilme -x264-params tff=1:bframes=2"},
    };
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        struct source source;
        char args[256];
        bool left = false;
        snprintf(args, sizeof args, "-c:v libx264 -crf 30 %s", clips[i].args);
        source_open(&source, "mkv", clips[i].input, args);
        struct asked asked = whole(&source);
        context_open();
        assert_true(gpu_decodes(&devices[0], &source.info.video));
        assert_int_equal(same_as_cpu(&source, &asked, &left), source.index.count);
        assert_false(left);
        asked = middle(&source);
        size_t rest = same_as_cpu(&source, &asked, &left);
        assert_true(rest > 10 && rest < source.index.count);
        asked.preroll = 1;
        assert_int_equal(same_as_cpu(&source, &asked, &left), rest);
        assert_false(left);
        source_close(&source);
    }
}

/* A few wait in filters; whoever kept more than the decoder has would stop it, and the CPU goes on. */
static void test_surfaces_that_are_kept_do_not_stop_a_range(void **state)
{
    (void)state;
    struct source source;
    bool left = false;
    source_open(&source, "webm", MOVING, VP9);
    struct asked asked = whole(&source);
    asked.held = 4;
    assert_int_equal(same_as_cpu(&source, &asked, &left), source.index.count);
    assert_false(left);
    asked.held = HELD_MAX;
    size_t surfaces = same_as_cpu(&source, &asked, &left);
    /* Since libavcodec copies its surfaces (version 60) any number may be kept. */
    assert_true(left ? surfaces > 4 && surfaces < source.index.count
                     : surfaces == source.index.count);
    source_close(&source);
}

/* libavcodec begins a new decoder for the new size, which has none of the pictures before. */
static void test_after_a_change_of_size_the_cpu_goes_on(void **state)
{
    (void)state;
    char folder[] = "/tmp/sluice-test-XXXXXX", command[2048];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command,
             "cd %s && for size in 202x118 160x96; do ffmpeg -nostdin -loglevel error -f lavfi -i "
             "testsrc2=size=$size:rate=20:duration=1 -pix_fmt yuv420p " VP9
             "$size.webm && echo \"file $size.webm\" >>list || exit; done && ffmpeg -nostdin "
             "-loglevel error -f concat -i list -c copy both.webm",
             folder);
    struct source source = {0};
    if (system(command) == 0) {
        struct sl_buf bytes = {0};
        char path[64];
        snprintf(path, sizeof path, "%s/both.webm", folder);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        uint8_t *into = sl_buf_reserve(&bytes, 1 << 20);
        kit_bytes_open(&source.clip, into, fread(into, 1, 1 << 20, file));
        fclose(file);
        sl_buf_fini(&bytes);
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (!source.clip.input.bytes) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    kit_probe(&source.clip, &source.arena, &source.info, &source.index);
    struct asked asked = whole(&source);
    bool left = false;
    assert_int_equal(same_as_cpu(&source, &asked, &left), 20);
    assert_true(left);
    source_close(&source);
}

/* What dav1d decodes is decoded by libavcodec's own decoder where a device may help; the stand-in's does not. */
static void test_av1_that_the_device_refuses_is_decoded_by_the_cpu(void **state)
{
    (void)state;
    struct source source;
    bool left = false;
    source_open(&source, "mp4", "testsrc2=size=128x96:rate=10:duration=1",
                "-c:v libsvtav1 -preset 12 -crf 50 2>/dev/null");
    struct asked asked = whole(&source);
    context_open();
    assert_false(gpu_decodes(&devices[0], &source.info.video));
    assert_int_equal(same_as_cpu(&source, &asked, &left), 0);
    assert_true(left);
    source_close(&source);
}

static struct {
    enum AVPixelFormat (*choose)(AVCodecContext *, const enum AVPixelFormat *);
    enum AVPixelFormat chosen; /* first */
    int offered;               /* CUDA's surfaces, how often */
} formats;

static enum AVPixelFormat format_watch(AVCodecContext *decoder, const enum AVPixelFormat *offered)
{
    enum AVPixelFormat chosen = formats.choose(decoder, offered);
    for (; *offered != AV_PIX_FMT_NONE; offered++)
        formats.offered += *offered == AV_PIX_FMT_CUDA;
    if (formats.chosen == AV_PIX_FMT_NONE)
        formats.chosen = chosen;
    return chosen;
}

/* The sequence header says it before the first picture. */
static void test_film_grain_is_left_to_the_cpu(void **state)
{
    (void)state;
    static const char *const args[] = {
        "-c:v libsvtav1 -preset 12 -crf 50 2>/dev/null",
        "-c:v libsvtav1 -preset 12 -crf 50 -svtav1-params film-grain=20 2>/dev/null",
    };
    for (int grain = 0; grain < 2; grain++) {
        struct source source;
        struct media_source *opened = NULL;
        struct media_device device = {.context = context_open(), .surface = AV_PIX_FMT_CUDA};
        struct sl_failure why = {0};
        AVCodecContext *decoder = NULL;
        AVStream *stream = NULL;
        AVPacket *packet = av_packet_alloc();
        source_open(&source, "mp4", "testsrc2=size=128x96:rate=10:duration=0.5", args[grain]);
        assert_int_equal(media_source_open(&source.clip.input, &opened, &why), SL_OK);
        assert_int_equal(media_source_video(opened, &source.info.video, &stream, &why), SL_OK);
        assert_int_equal(media_decoder_open_on(stream, &device, &decoder, &why), SL_OK);
        formats.choose = decoder->get_format;
        formats.chosen = AV_PIX_FMT_NONE;
        formats.offered = 0;
        decoder->get_format = format_watch;
        assert_int_equal(media_source_read(opened, packet, &why), 1);
        assert_true(avcodec_send_packet(decoder, packet) < 0);
        assert_true(formats.offered >= 1);
        assert_int_equal(formats.chosen, grain ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_CUDA);
        av_packet_free(&packet);
        avcodec_free_context(&decoder);
        media_source_close(&opened);
        source_close(&source);
    }
}

/* The pictures that came before are right, and none comes twice or is missing. */
static void test_what_a_lost_device_leaves_is_decoded_by_the_cpu(void **state)
{
    (void)state;
    struct source source;
    bool left = false;
    source_open(&source, "webm", MOVING, VP9);
    struct asked asked = middle(&source);
    asked.preroll = PREROLL_LINEAR; /* all are decoded, and those before the range dropped */
    size_t surfaces = same_as_cpu(&source, &asked, &left);
    assert_true(left && surfaces > 0 && surfaces < source.index.count - 2 - KEYFRAMES);
    source_close(&source);
}

static void test_without_nvdec_the_cpu_decodes(void **state)
{
    (void)state;
    struct source source;
    bool left = false;
    source_open(&source, "webm", MOVING, VP9);
    struct asked asked = whole(&source);
    assert_int_equal(same_as_cpu(&source, &asked, &left), 0);
    assert_false(left);
    for (int32_t i = 0; i < devices[0].row_count; i++)
        assert_true(devices[0].rows[i].direction != HAL_DECODE);
    source_close(&source);
}

static const struct hal_row *row_of(enum codec codec)
{
    for (int32_t i = 0; i < devices[0].row_count; i++)
        if (devices[0].rows[i].direction == HAL_DECODE && devices[0].rows[i].codec == codec)
            return &devices[0].rows[i];
    return NULL;
}

static void test_the_driver_says_what_it_decodes(void **state)
{
    (void)state;
    context_open();
    const struct hal_row *row = row_of(CODEC_VP9);
    assert_non_null(row);
    assert_int_equal(row->layouts, 1u << HAL_NV12); /* this one has no ten bits */
    assert_int_equal(row->width_min, 128);
    assert_int_equal(row->width_max, 8192);
    assert_non_null(row_of(CODEC_H264));
    assert_null(row_of(CODEC_H265));
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
    video.width = 641;
    assert_false(gpu_decodes(&device, &video));
    video.width = 640;
    strcpy(video.pix_fmt, "yuv420p10le");
    assert_false(gpu_decodes(&device, &video));
    strcpy(video.pix_fmt, "yuv444p");
    assert_false(gpu_decodes(&device, &video));
    strcpy(video.pix_fmt, "yuv420p");
    strcpy(video.codec, "hevc"); /* which it encodes */
    assert_false(gpu_decodes(&device, &video));
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {
        {.name = "whole"},
        {.name = "lost", .faults = "nvdec/lost:30"},
        {.name = "none", .faults = "nvdec/no_engine"},
        {.name = "old", .faults = "nvdec/no_ten,nvdec/real_sizes"},
    };
    const struct CMUnitTest whole_tests[] = {
        cmocka_unit_test(test_a_surface_is_the_picture_of_the_cpu),
        cmocka_unit_test(test_nvdec_gives_the_frames_of_the_cpu),
        cmocka_unit_test(test_h264_is_what_the_cpu_decodes),
        cmocka_unit_test(test_surfaces_that_are_kept_do_not_stop_a_range),
        cmocka_unit_test(test_after_a_change_of_size_the_cpu_goes_on),
        cmocka_unit_test(test_av1_that_the_device_refuses_is_decoded_by_the_cpu),
        cmocka_unit_test(test_film_grain_is_left_to_the_cpu),
        cmocka_unit_test(test_a_row_says_which_sources_are_decoded),
    };
    const struct CMUnitTest lost_tests[] = {
        cmocka_unit_test(test_what_a_lost_device_leaves_is_decoded_by_the_cpu),
    };
    const struct CMUnitTest none_tests[] = {
        cmocka_unit_test(test_without_nvdec_the_cpu_decodes),
    };
    const struct CMUnitTest old_tests[] = {
        cmocka_unit_test(test_the_driver_says_what_it_decodes),
    };
    av_log_set_level(AV_LOG_QUIET);
    if (argc < 2)
        return standin_run_all(argv[0], runs, sizeof runs / sizeof *runs);
    if (strcmp(argv[1], "lost") == 0)
        return cmocka_run_group_tests_name("lost", lost_tests, NULL, NULL);
    if (strcmp(argv[1], "none") == 0)
        return cmocka_run_group_tests_name("none", none_tests, NULL, NULL);
    if (strcmp(argv[1], "old") == 0)
        return cmocka_run_group_tests_name("old", old_tests, NULL, NULL);
    return cmocka_run_group_tests_name("whole", whole_tests, NULL, NULL);
}
