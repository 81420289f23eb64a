/* What a GPU's driver says that it decodes is tried before it is relied upon; on tests/standin's NVDEC, which decodes H.264 and VP9, and its
 * VA driver, which decodes nothing. */
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
#include "gpu/gpu_agree.h"
#include "gpu/gpu_decode.h"
#include "hal/hal_golden.h"
#include "media/media_exact.h"
#include "tests/standin/standin_run.h"
#include "worker/backends.h"
#include "worker/prove_decode.h"

#define WIDTH  178 /* no multiple of any alignment */
#define HEIGHT 98
#define FRAMES 8

/* x265, which the stand-ins encode with, keeps a little of every encoder. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libx265\n";
}

static enum device_kind kind;
static struct hal_device device;
static AVBufferRef *context;
static enum AVPixelFormat surface;

static int setup(void **state)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    int32_t count = 0;
    (void)state;
    if (hal_probe_kind(&worker_backends, kind, devices, NODE_DEVICES_MAX, &count, &why) != SL_OK ||
        count == 0)
        return -1;
    device = devices[0];
    return gpu_decode_context(&device, &context, &surface, &why);
}

/* The stand-ins do not decode H.265: libavcodec, given its context, decodes on the CPU, and every picture comes. */
static void test_a_device_that_cannot_decode_is_found_out(void **state)
{
    (void)state;
    struct hal_golden *golden = NULL;
    struct hal_session *session = NULL;
    struct media_exact_packet packets[FRAMES] = {{0}};
    struct hal_packet packet;
    struct sl_failure why = {0};
    const uint8_t *extradata = NULL;
    size_t extradata_bytes = 0;
    int32_t count = 0;
    struct hal_encode_params params = {
        .codec = CODEC_H265,
        .layout = HAL_NV12,
        .width = WIDTH,
        .height = HEIGHT,
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .sar = {1, 1},
        .crf_tenths = 250,
        .bframes = -1,
        .threads = 1,
    };
    assert_int_equal(hal_golden_open(HAL_NV12, WIDTH, HEIGHT, &golden), SL_OK);
    if (hal_encode_open(&worker_backends, &device, kind == DEVICE_NVENC ? "nvenc" : "vaapi",
                        &params, &session, &why) != SL_OK)
        fail_msg("%s", why.message);
    assert_int_equal(hal_encode_extradata(session, &extradata, &extradata_bytes), SL_OK);
    for (int32_t i = 0; i <= FRAMES; i++) {
        if (i < FRAMES)
            assert_int_equal(hal_encode_submit(session, hal_golden_frame(golden, i), &why), SL_OK);
        else
            assert_int_equal(hal_encode_flush(session, &why), SL_OK);
        while (hal_encode_receive(session, &packet, &why) > 0) {
            assert_true(count < FRAMES);
            packets[count].data = calloc(1, packet.bytes + MEDIA_EXACT_ROOM);
            memcpy(packets[count].data, packet.data, packet.bytes);
            packets[count].bytes = packet.bytes;
            packets[count++].pts = packet.pts;
        }
    }
    assert_int_equal(count, FRAMES);
    assert_int_equal(
        media_exact(context, CODEC_H265, extradata, extradata_bytes, packets, count, &why),
        SL_EUNSUPPORTED);
    memset(packets[0].data, 0xff, 8); /* the length of its first unit */
    assert_int_equal(
        media_exact(context, CODEC_H265, extradata, extradata_bytes, packets, count, &why),
        SL_EDECODE);
    for (int32_t i = 0; i < count; i++)
        free(packets[i].data);
    hal_encode_close(&session);
    hal_golden_close(&golden);
}

static uint32_t decodes(const struct hal_device *of, enum codec codec)
{
    for (int32_t i = 0; i < of->row_count; i++)
        if (of->rows[i].direction == HAL_DECODE && of->rows[i].codec == codec)
            return of->rows[i].layouts;
    return 0;
}

#define BOTH (1u << HAL_NV12 | 1u << HAL_P010)

/* A driver that promises what it does not do loses the promise, and the CPU decodes. */
static void test_a_promise_to_decode_is_tried(void **state)
{
    (void)state;
    struct hal_device promising = device;
    promising.rows[promising.row_count++] =
        (struct hal_row){.codec = CODEC_H265, .direction = HAL_DECODE, .layouts = BOTH};
    /* Of VA's AV1 that does not open libavcodec 5.1 keeps the frames, which is no leak of ours. */
    if (kind == DEVICE_NVENC)
        promising.rows[promising.row_count++] = (struct hal_row){
            .codec = CODEC_AV1, .direction = HAL_DECODE, .layouts = 1u << HAL_NV12};
    prove_decode(&worker_backends, &promising);
    assert_int_equal(decodes(&promising, CODEC_H265), 0);
    assert_int_equal(decodes(&promising, CODEC_AV1), 0);
    /* What it does keeps its row. */
    assert_int_equal(decodes(&promising, CODEC_VP9), kind == DEVICE_NVENC ? BOTH : 0);
    assert_int_equal(decodes(&promising, CODEC_H264), kind == DEVICE_NVENC ? 1u << HAL_NV12 : 0);
    assert_int_equal(promising.rows[0].layouts, device.rows[0].layouts);
}

/* H.264 comes first in the trial, with one wrong picture. */
static void test_wrong_pictures_are_found_out(void **state)
{
    (void)state;
    struct hal_device wrong = device;
    assert_int_equal(decodes(&wrong, CODEC_H264), 1u << HAL_NV12);
    prove_decode(&worker_backends, &wrong);
    assert_int_equal(decodes(&wrong, CODEC_H264), 0);
    assert_int_equal(decodes(&wrong, CODEC_VP9), BOTH);
}

/* Without an encoder there is nothing to try it with, and the CPU decodes. */
static void test_what_cannot_be_tried_is_not_relied_upon(void **state)
{
    (void)state;
    struct hal_backends none = worker_backends;
    struct hal_device untried = device;
    none.encoder_count = 0;
    prove_decode(&none, &untried);
    assert_int_equal(decodes(&untried, CODEC_VP9), 0);
}

/* A proof asks the GPU's kernel what each picture is at, and takes no other answer than the CPU's. */
static void test_the_kernels_measure_is_the_cpus(void **state)
{
    (void)state;
    struct gpu_agree *measure = NULL;
    struct hal_golden *want = NULL, *got = NULL;
    struct sl_failure why = {0};
    if (gpu_agree_open(&device, WIDTH, HEIGHT, &measure, &why) != SL_OK)
        fail_msg("%s", why.message);
    if (kind == DEVICE_NVENC && !measure) { /* built without kernels */
        print_message("this program was built without GPU kernels\n");
        skip();
    }
    assert_int_equal(hal_golden_open(HAL_I420, WIDTH, HEIGHT, &want), SL_OK);
    assert_int_equal(hal_golden_open(HAL_I420, WIDTH, HEIGHT, &got), SL_OK);
    for (int32_t i = 0; i < 3; i++) {
        const struct hal_frame *picture = hal_golden_frame(got, i);
        double psnr = hal_golden_psnr(want, 1, picture);
        const struct hal_frame *right = hal_golden_frame(want, 1);
        assert_int_equal(gpu_agree_on(measure, right, picture, psnr, &why), SL_OK);
        assert_int_equal(gpu_agree_on(measure, right, picture, psnr + 0.05, &why),
                         kind == DEVICE_NVENC ? SL_EMISMATCH : SL_OK);
    }
    hal_golden_close(&want);
    hal_golden_close(&got);
    gpu_agree_close(&measure);
}

int main(int argc, char **argv)
{
    static const struct standin_run runs[] = {
        {.name = "nvenc"}, {.name = "vaapi"}, {.name = "wrong", .faults = "nvdec/wrong:7-7"}};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_device_that_cannot_decode_is_found_out),
        cmocka_unit_test(test_a_promise_to_decode_is_tried),
        cmocka_unit_test(test_the_kernels_measure_is_the_cpus),
        cmocka_unit_test(test_what_cannot_be_tried_is_not_relied_upon),
    };
    const struct CMUnitTest wrong_tests[] = {
        cmocka_unit_test(test_wrong_pictures_are_found_out),
    };
    if (argc < 2)
        return standin_run_all(argv[0], runs, sizeof runs / sizeof *runs);
    av_log_set_level(AV_LOG_QUIET);
    kind = strcmp(argv[1], "vaapi") == 0 ? DEVICE_VAAPI : DEVICE_NVENC;
    setenv("SLUICE_STANDIN_VAAPI", "1", 1);
    if (strcmp(argv[1], "wrong") == 0)
        return cmocka_run_group_tests_name(argv[1], wrong_tests, setup, NULL);
    return cmocka_run_group_tests_name(argv[1], tests, setup, NULL);
}
