/* The NVENC back end on tests/standin's driver, which encodes in software: libavcodec's whole hardware path runs on a
 * machine without a GPU. */
#include <libavutil/hwcontext.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encoders/encoders.h"
#include "gpu/gpu_cuda.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"
#include "tests/standin/standin_run.h"

#define WIDTH     192
#define HEIGHT    112
#define TIMESCALE 24000

static const struct hal_backends backends = {
    .devices = {&gpu_device_ops},
    .device_count = 1,
    .encoders = {&nvenc_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {
    .backends = &backends, .encoder = "nvenc", .codec = CODEC_H264};

static int setup(void **state)
{
    *state = &conformance;
    return conformance_find(&conformance) ? 0 : -1;
}

static void clip_good(struct clip *clip, enum hal_layout layout)
{
    clip_init(clip, CLIP_SMOOTH, WIDTH, HEIGHT, 24, 1001);
    clip->layout = layout;
    clip->idr[12] = true;
}

static void pictures_check(const struct clip *clip, enum codec codec,
                           const struct clip_encode *encode)
{
    struct clip_decoded decoded;
    assert_int_equal(encode->count, clip->frames);
    clip_decode(clip, codec, encode, 0, encode->count, &decoded);
    assert_int_equal(decoded.count, clip->frames);
    for (int32_t i = 0; i < decoded.count; i++) {
        assert_int_equal(decoded.pts[i], clip->pts[i]);
        assert_true(clip_psnr(clip, i, decoded.luma[i]) > 32);
    }
    clip_decoded_free(&decoded);
}

static void test_paired_chroma_is_encoded(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    struct sl_failure why = {0};
    clip_good(&clip, HAL_NV12);
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
    if (clip_encode(c->backends, &c->device, "nvenc", &params, &clip, &encode, &why) != SL_OK)
        fail_msg("%s", why.message);
    pictures_check(&clip, CODEC_H264, &encode);
    clip_encode_free(&encode);
}

/* ---- surfaces ---- */

static AVBufferRef *surfaces_make(const struct hal_device *device, enum AVPixelFormat format)
{
    AVBufferRef *context = NULL;
    struct sl_failure why = {0};
    assert_int_equal(gpu_context(device->device_id, &context, &why), SL_OK);
    AVBufferRef *ref = av_hwframe_ctx_alloc(context);
    assert_non_null(ref);
    AVHWFramesContext *frames = (AVHWFramesContext *)(void *)ref->data;
    frames->format = AV_PIX_FMT_CUDA;
    frames->sw_format = format;
    frames->width = WIDTH;
    frames->height = HEIGHT;
    assert_int_equal(av_hwframe_ctx_init(ref), 0);
    return ref;
}

static AVFrame *surface_paint(AVBufferRef *surfaces, enum AVPixelFormat format,
                              const struct hal_frame *from)
{
    AVFrame *host = av_frame_alloc(), *surface = av_frame_alloc();
    host->format = format;
    host->width = WIDTH;
    host->height = HEIGHT;
    for (int i = 0; i < 2; i++) {
        host->data[i] = (uint8_t *)(uintptr_t)from->planes[i];
        host->linesize[i] = (int)from->stride_bytes[i];
    }
    assert_int_equal(av_hwframe_get_buffer(surfaces, surface, 0), 0);
    assert_int_equal(av_hwframe_transfer_data(surface, host, 0), 0);
    av_frame_free(&host);
    return surface;
}

static void surfaces_encode(struct conformance *c, enum codec codec, enum hal_layout layout,
                            enum AVPixelFormat format)
{
    struct clip clip;
    static struct clip_encode encode;
    struct sl_failure why = {0};
    struct hal_session *session = NULL;
    struct hal_packet packet;
    const uint8_t *extradata;
    clip_good(&clip, layout);
    AVBufferRef *surfaces = surfaces_make(&c->device, format);
    struct hal_encode_params params = clip_params(&clip, codec, TIMESCALE);
    params.surfaces = surfaces;
    if (hal_encode_open(c->backends, &c->device, "nvenc", &params, &session, &why) != SL_OK)
        fail_msg("%s", why.message);
    encode = (struct clip_encode){0};
    assert_int_equal(hal_encode_extradata(session, &extradata, &encode.extradata_bytes), SL_OK);
    encode.extradata = malloc(encode.extradata_bytes);
    memcpy(encode.extradata, extradata, encode.extradata_bytes);
    uint8_t *buffer = malloc(clip_frame_bytes(&clip));
    for (int32_t i = 0; i <= clip.frames; i++) {
        struct hal_frame view;
        if (i < clip.frames) {
            clip_paint(&clip, i, buffer, &view);
            assert_int_equal(hal_encode_submit(session, &view, &why), SL_EINVAL); /* planes */
            AVFrame *surface = surface_paint(surfaces, format, &view);
            memset(view.planes, 0, sizeof view.planes);
            view.surface = surface;
            if (hal_encode_submit(session, &view, &why) != SL_OK)
                fail_msg("%s", why.message);
            av_frame_free(&surface);
        } else {
            assert_int_equal(hal_encode_flush(session, &why), SL_OK);
        }
        while (hal_encode_receive(session, &packet, &why) > 0) {
            struct clip_packet *to = &encode.packets[encode.count++];
            *to = (struct clip_packet){.data = malloc(packet.bytes),
                                       .bytes = packet.bytes,
                                       .pts = packet.pts,
                                       .dts = packet.dts,
                                       .idr = packet.idr};
            memcpy(to->data, packet.data, packet.bytes);
        }
    }
    hal_encode_close(&session);
    av_buffer_unref(&surfaces);
    free(buffer);
    pictures_check(&clip, codec, &encode);
    clip_encode_free(&encode);
}

static void test_surfaces_are_encoded_without_planes(void **state)
{
    surfaces_encode(*state, CODEC_H264, HAL_NV12, AV_PIX_FMT_NV12);
    surfaces_encode(*state, CODEC_H265, HAL_P010, AV_PIX_FMT_P010LE);
}

/* ---- what an open that fails means ---- */

static int open_one(struct conformance *c, struct hal_session **session, struct sl_failure *why)
{
    struct clip clip;
    clip_good(&clip, HAL_NV12);
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
    return hal_encode_open(c->backends, &c->device, "nvenc", &params, session, why);
}

static void test_a_session_limit_is_learned(void **state)
{
    struct conformance *c = *state;
    struct hal_session *sessions[3] = {NULL};
    struct sl_failure why = {0};
    assert_int_equal(open_one(c, &sessions[0], &why), SL_OK);
    assert_int_equal(open_one(c, &sessions[1], &why), SL_OK);
    assert_int_equal(c->device.sessions.limit, 0);
    assert_int_equal(open_one(c, &sessions[2], &why), SL_ESESSIONS);
    print_message("%s\n", why.message);
    assert_int_equal(c->device.sessions.limit, 2);
    assert_int_equal(c->device.sessions.source, HAL_LIMIT_LEARNED);
    assert_int_equal(c->device.health, HEALTH_HEALTHY);
    hal_encode_close(&sessions[1]);
    assert_int_equal(open_one(c, &sessions[1], &why), SL_OK);
    hal_encode_close(&sessions[0]);
    hal_encode_close(&sessions[1]);
}

/* The row promises a size that the driver refuses, which libavcodec tells with the number of a full GPU. */
static void test_bad_parameters_are_no_session_limit(void **state)
{
    struct conformance *c = *state;
    struct hal_device device = c->device;
    struct clip clip;
    struct sl_failure why = {0};
    struct hal_session *session = NULL;
    for (int32_t i = 0; i < device.row_count; i++)
        device.rows[i].width_max = 16384;
    clip_good(&clip, HAL_NV12);
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
    params.width = 16384;
    assert_int_equal(hal_encode_open(c->backends, &device, "nvenc", &params, &session, &why),
                     SL_EINVAL);
    print_message("%s\n", why.message);
    assert_non_null(strstr(why.message, "does not take these parameters"));
    assert_int_equal(device.sessions.limit, 0);
}

static void test_presets_and_profiles_are_checked_by_name(void **state)
{
    struct conformance *c = *state;
    static const struct {
        const char *preset, *profile, *says;
    } bad[] = {{"p8", "", "p1 to p7"}, {"", "main10", "baseline, main, high"}};
    for (size_t i = 0; i < 2; i++) {
        struct clip clip;
        struct sl_failure why = {0};
        struct hal_session *session = NULL;
        clip_good(&clip, HAL_NV12);
        struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
        snprintf(params.preset, sizeof params.preset, "%s", bad[i].preset);
        snprintf(params.profile, sizeof params.profile, "%s", bad[i].profile);
        assert_int_equal(hal_encode_open(c->backends, &c->device, "nvenc", &params, &session, &why),
                         SL_EINVAL);
        assert_non_null(strstr(why.message, bad[i].says));
    }
    static const char *const good[] = {"p1", "p4", "p7", "ultrafast", "fast", "veryslow"};
    static const char *const profiles[] = {"baseline", "main", "high"};
    for (size_t i = 0; i < 6; i++) {
        struct clip clip;
        static struct clip_encode encode;
        struct sl_failure why = {0};
        clip_good(&clip, HAL_NV12);
        struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
        snprintf(params.preset, sizeof params.preset, "%s", good[i]);
        snprintf(params.profile, sizeof params.profile, "%s", profiles[i / 2]);
        if (clip_encode(c->backends, &c->device, "nvenc", &params, &clip, &encode, &why) != SL_OK)
            fail_msg("%s %s: %s", good[i], profiles[i / 2], why.message);
        clip_encode_free(&encode);
    }
}

/* ---- faults ---- */

static void test_a_lost_device_is_told_as_lost(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    static struct clip_encode encode;
    struct sl_failure why = {0};
    clip_good(&clip, HAL_NV12);
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, TIMESCALE);
    assert_int_equal(clip_encode(c->backends, &c->device, "nvenc", &params, &clip, &encode, &why),
                     SL_EDEVICELOST);
    print_message("%s\n", why.message);
    assert_true(encode.count < clip.frames);
    clip_encode_free(&encode);
}

static int32_t encode_rows(const struct hal_device *device)
{
    int32_t count = 0;
    for (int32_t i = 0; i < device->row_count; i++)
        count += device->rows[i].direction == HAL_ENCODE;
    return count;
}

/* A GPU that cannot encode is there for other work, and says why. */
static void test_a_gpu_without_engine_stays_a_device(void **state)
{
    (void)state;
    struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    assert_int_equal(hal_probe(&backends, devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(encode_rows(&devices[0]), 0);
    print_message("%s\n", devices[0].driver);
    assert_non_null(strstr(devices[0].driver, "no encode engine"));
    assert_int_equal(hal_choose(devices, count, CODEC_H264, "nvenc", &why), SL_ENOENCODER);
}

/* A full GPU cannot be asked; that is no lack of encoders. */
static void test_a_full_gpu_is_no_gpu_without_encoders(void **state)
{
    (void)state;
    struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    assert_int_equal(hal_probe(&backends, devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(encode_rows(&devices[0]), 0);
    assert_int_equal(devices[0].rows_code, SL_ESESSIONS);
    why = (struct sl_failure){0};
    assert_null(hal_device_row(&devices[0], CODEC_H264, "nvenc", 0, 0, &why));
    print_message("%s\n", why.message);
    assert_int_equal(why.code, SL_ESESSIONS);
}

static void test_rows_say_what_the_gpu_lacks(void **state)
{
    struct conformance *c = *state;
    const struct hal_device *d = &c->device;
    struct sl_failure why = {0};
    const struct hal_row *row = hal_device_row(d, CODEC_H264, "nvenc", WIDTH, HEIGHT, &why);
    assert_non_null(row);
    assert_int_equal(row->bframes_max, 0);
    assert_null(hal_device_row(d, CODEC_H265, "nvenc", 0, 0, &why));
    test_paired_chroma_is_encoded(state);
}

static const struct CMUnitTest suite[] = {CONFORMANCE_TESTS};
static const struct CMUnitTest own[] = {
    cmocka_unit_test(test_paired_chroma_is_encoded),
    cmocka_unit_test(test_surfaces_are_encoded_without_planes),
    cmocka_unit_test(test_bad_parameters_are_no_session_limit),
    cmocka_unit_test(test_presets_and_profiles_are_checked_by_name),
};
static const struct CMUnitTest limit[] = {cmocka_unit_test(test_a_session_limit_is_learned)};
static const struct CMUnitTest lost[] = {cmocka_unit_test(test_a_lost_device_is_told_as_lost)};
static const struct CMUnitTest engine[] = {
    cmocka_unit_test(test_a_gpu_without_engine_stays_a_device)};
static const struct CMUnitTest full[] = {
    cmocka_unit_test(test_a_full_gpu_is_no_gpu_without_encoders)};
static const struct CMUnitTest lacks[] = {cmocka_unit_test(test_rows_say_what_the_gpu_lacks)};

static int suite_run(const char *name, enum codec codec)
{
    conformance.codec = codec;
    return cmocka_run_group_tests_name(name, suite, setup, NULL);
}

static bool has_av1(void)
{
    conformance.codec = CODEC_AV1;
    return conformance_find(&conformance);
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {
        {.name = "suite"},
        {.name = "own"},
        {.name = "limit", .faults = "limit=2"},
        {.name = "limit", .faults = "limit=2,limit_code=21"},
        {.name = "lost", .faults = "lost:10"},
        {.name = "lost", .faults = "lost:10:30s"},
        {.name = "engine", .faults = "no_engine"},
        {.name = "full", .faults = "limit=0"},
        {.name = "lacks", .faults = "no_b,no_h265"},
    };
    if (argc < 2)
        return standin_run_all(argv[0], runs, sizeof runs / sizeof *runs);
    av_log_set_level(AV_LOG_QUIET);
    if (strcmp(argv[1], "own") == 0)
        return cmocka_run_group_tests_name("nvenc", own, setup, NULL);
    if (strcmp(argv[1], "limit") == 0)
        return cmocka_run_group_tests_name("nvenc limit", limit, setup, NULL);
    if (strcmp(argv[1], "lost") == 0)
        return cmocka_run_group_tests_name("nvenc lost", lost, setup, NULL);
    if (strcmp(argv[1], "engine") == 0)
        return cmocka_run_group_tests_name("nvenc no engine", engine, NULL, NULL);
    if (strcmp(argv[1], "full") == 0)
        return cmocka_run_group_tests_name("nvenc full", full, NULL, NULL);
    if (strcmp(argv[1], "lacks") == 0)
        return cmocka_run_group_tests_name("nvenc lacks", lacks, setup, NULL);
    int failed = suite_run("nvenc h264", CODEC_H264) + suite_run("nvenc h265", CODEC_H265);
    return failed + (has_av1() ? suite_run("nvenc av1", CODEC_AV1) : 0);
}
