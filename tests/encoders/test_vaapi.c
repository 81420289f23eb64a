/* The VA-API back end on tests/standin's driver, which encodes in software: libavcodec's whole hardware path runs on a
 * machine without a GPU. Not shown here, because the stand-in has none of it: B-frames, packed headers, low power. */
#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "encoders/encoders.h"
#include "gpu/gpu_va.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"

#define STANDIN "build/standin"

static const struct hal_backends backends = {
    .devices = {&gpu_va_device_ops},
    .device_count = 1,
    .encoders = {&vaapi_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {.backends = &backends, .encoder = "vaapi"};

static int setup(void **state)
{
    *state = &conformance;
    return 0;
}

static int suite_run(const char *name, enum codec codec)
{
    conformance.codec = codec;
    if (codec == CODEC_AV1 && !avcodec_find_encoder_by_name("av1_vaapi")) {
        print_message("SKIP: this libavcodec has no av1_vaapi\n");
        return 0;
    }
    if (!conformance_find(&conformance))
        return 1;
    conformance.no_parameter_sets = codec == CODEC_VP9;
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, setup, NULL);
}

/* ---- what the conformance suite does not ask ---- */

/* Noise, whose two planes of chroma differ. */
static void clip_make(struct clip *clip, enum hal_layout layout, int32_t frames)
{
    clip_init(clip, CLIP_NOISE, 192, 112, frames, 1001);
    clip->layout = layout;
}

static int encode(enum codec codec, enum hal_layout layout, struct clip_encode *out,
                  struct sl_failure *why)
{
    struct clip clip;
    clip_make(&clip, layout, 12);
    struct hal_encode_params params = clip_params(&clip, codec, 24000);
    return clip_encode(&backends, &conformance.device, "vaapi", &params, &clip, out, why);
}

static int device_find(void **state)
{
    (void)state;
    conformance.codec = CODEC_H264;
    return conformance_find(&conformance) ? 0 : -1;
}

static void test_colour_and_shape_are_in_the_parameter_sets(void **state)
{
    (void)state;
    static const struct {
        enum codec codec;
        enum AVCodecID id;
        enum hal_layout layout;
    } cases[] = {{CODEC_H264, AV_CODEC_ID_H264, HAL_NV12},
                 {CODEC_H265, AV_CODEC_ID_HEVC, HAL_P010}};
    for (size_t i = 0; i < 2; i++) {
        struct clip clip;
        struct clip_encode out;
        struct sl_failure why = {0};
        clip_make(&clip, cases[i].layout, 2);
        struct hal_encode_params params = clip_params(&clip, cases[i].codec, 24000);
        params.color_primaries = 9;
        params.color_transfer = 16;
        params.color_matrix = 9;
        params.full_range = true;
        params.sar.num = 4;
        params.sar.den = 3;
        assert_int_equal(
            clip_encode(&backends, &conformance.device, "vaapi", &params, &clip, &out, &why),
            SL_OK);
        AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(cases[i].id));
        decoder->extradata = av_mallocz(out.extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
        memcpy(decoder->extradata, out.extradata, out.extradata_bytes);
        decoder->extradata_size = (int)out.extradata_bytes;
        decoder->thread_count = 1;
        AVPacket *packet = av_packet_alloc();
        AVFrame *frame = av_frame_alloc();
        assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
        assert_int_equal(av_new_packet(packet, (int)out.packets[0].bytes), 0);
        memcpy(packet->data, out.packets[0].data, out.packets[0].bytes);
        assert_int_equal(avcodec_send_packet(decoder, packet), 0);
        assert_int_equal(avcodec_send_packet(decoder, NULL), 0);
        assert_int_equal(avcodec_receive_frame(decoder, frame), 0);
        assert_int_equal(frame->color_primaries, 9);
        assert_int_equal(frame->color_trc, 16);
        assert_int_equal(frame->colorspace, 9);
        assert_int_equal(frame->color_range, AVCOL_RANGE_JPEG);
        assert_int_equal(frame->sample_aspect_ratio.num * 3, frame->sample_aspect_ratio.den * 4);
        av_frame_free(&frame);
        av_packet_free(&packet);
        avcodec_free_context(&decoder);
        clip_encode_free(&out);
    }
}

static void test_planes_and_pairs_make_the_same_bytes(void **state)
{
    (void)state;
    static const enum hal_layout layouts[2][2] = {{HAL_I420, HAL_NV12}, {HAL_I420_10, HAL_P010}};
    for (int deep = 0; deep < 2; deep++) {
        struct clip_encode one, two;
        struct sl_failure why = {0};
        assert_int_equal(encode(CODEC_H265, layouts[deep][0], &one, &why), SL_OK);
        assert_int_equal(encode(CODEC_H265, layouts[deep][1], &two, &why), SL_OK);
        assert_int_equal(one.count, two.count);
        for (int32_t i = 0; i < one.count; i++) {
            assert_int_equal(one.packets[i].bytes, two.packets[i].bytes);
            assert_memory_equal(one.packets[i].data, two.packets[i].data, one.packets[i].bytes);
        }
        clip_encode_free(&one);
        clip_encode_free(&two);
    }
}

static void test_wrong_profiles_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        enum codec codec;
        enum hal_layout layout;
        const char *profile, *says;
    } cases[] = {
        {CODEC_H264, HAL_NV12, "high10", "it has high, main, baseline"},
        {CODEC_H265, HAL_NV12, "main10", "no 8-bit pictures"},
        {CODEC_H265, HAL_P010, "main", "no 10-bit pictures"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip clip;
        struct clip_encode out;
        struct sl_failure why = {0};
        clip_make(&clip, cases[i].layout, 1);
        struct hal_encode_params params = clip_params(&clip, cases[i].codec, 24000);
        snprintf(params.profile, sizeof params.profile, "%s", cases[i].profile);
        assert_int_equal(
            clip_encode(&backends, &conformance.device, "vaapi", &params, &clip, &out, &why),
            SL_EINVAL);
        if (!strstr(why.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", why.message, cases[i].says);
    }
}

/* ---- faults: each in a process of its own, because a driver reads its script once ---- */

static void test_a_device_that_is_lost_is_told_as_lost_and_works_again(void **state)
{
    (void)state;
    struct clip_encode out;
    struct sl_failure why = {0};
    /* The first picture is the one that parameter sets are learned from. */
    assert_int_equal(encode(CODEC_H264, HAL_NV12, &out, &why), SL_EDEVICELOST);
    clip_encode_free(&out);
    assert_int_equal(conformance.device.sessions.in_use, 0);
    assert_int_equal(encode(CODEC_H264, HAL_NV12, &out, &why), SL_OK);
    clip_encode_free(&out);
}

static void test_a_device_that_stays_lost_opens_nothing(void **state)
{
    (void)state;
    struct clip_encode out;
    struct sl_failure why = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(encode(CODEC_H265, HAL_NV12, &out, &why), SL_EDEVICELOST);
        clip_encode_free(&out);
    }
    assert_non_null(strstr(why.message, "standin-va0"));
}

static void test_a_full_device_is_no_fault(void **state)
{
    (void)state;
    struct clip clip;
    struct clip_encode out;
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    clip_make(&clip, HAL_NV12, 1);
    struct hal_encode_params params = clip_params(&clip, CODEC_H264, 24000);
    assert_int_equal(
        hal_encode_open(&backends, &conformance.device, "vaapi", &params, &session, &why), SL_OK);
    assert_int_equal(encode(CODEC_H264, HAL_NV12, &out, &why), SL_ESESSIONS);
    clip_encode_free(&out);
    assert_int_equal(conformance.device.sessions.limit, 1);
    hal_encode_close(&session);
    assert_int_equal(encode(CODEC_H264, HAL_NV12, &out, &why), SL_OK);
    clip_encode_free(&out);
}

static void test_a_device_whose_pictures_do_not_decode_opens_nothing(void **state)
{
    (void)state;
    struct clip_encode out;
    struct sl_failure why = {0};
    assert_int_equal(encode(CODEC_H265, HAL_NV12, &out, &why), SL_EENCODE);
    assert_non_null(strstr(why.message, "does not decode"));
    clip_encode_free(&out);
}

static void test_rows_follow_the_driver(void **state)
{
    (void)state;
    const uint32_t deep = 1u << HAL_P010 | 1u << HAL_I420_10;
    struct hal_device devices[NODE_DEVICES_MAX];
    int32_t count = 0;
    struct sl_failure why = {0};
    assert_int_equal(hal_probe(&backends, devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_int_equal(count, 3);
    for (int32_t i = 0; i < count; i++) {
        char id[DEVICE_ID_BYTES];
        snprintf(id, sizeof id, "standin-va%d", i);
        assert_string_equal(devices[i].device_id, id);
        assert_true(devices[i].standin);
        const struct hal_row *row = hal_device_row(&devices[i], CODEC_H265, "vaapi", 0, 0, NULL);
        assert_true((row != NULL) == (i != 1));
        if (row)
            assert_true(((row->layouts & deep) != 0) == (i != 0));
    }
}

static void probe_says(const char *text)
{
    struct hal_device devices[NODE_DEVICES_MAX];
    int32_t count = 0;
    struct sl_failure why = {0};
    assert_int_equal(hal_probe(&backends, devices, NODE_DEVICES_MAX, &count, &why), SL_OK);
    assert_int_equal(count, 0);
    if (!strstr(why.message, text))
        fail_msg("\"%s\" does not say \"%s\"", why.message, text);
}

static void test_a_driver_that_fails_is_one_sentence(void **state)
{
    (void)state;
    probe_says("standin-va0: no VA driver opens");
}

static void test_an_absent_stand_in_says_how_to_get_it(void **state)
{
    (void)state;
    setenv("LD_LIBRARY_PATH", "/nonexistent", 1);
    probe_says("make standin builds it");
    setenv("LD_LIBRARY_PATH", STANDIN, 1);
}

static void test_a_node_without_permission_names_the_group(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-node-XXXXXX";
    AVBufferRef *context;
    struct sl_failure why = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(gpu_va_context(path, &context, &why), SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "no VA display"));
    if (geteuid() == 0) { /* as root may read anything, as nobody not this */
        assert_int_equal(seteuid(65534), 0);
        assert_int_equal(gpu_va_context(path, &context, &why), SL_EDEVICELOST);
        assert_int_equal(seteuid(0), 0);
        if (!strstr(why.message, "permission denied: put the user of sluice-agent into the group"))
            fail_msg("\"%s\"", why.message);
    }
    unlink(path);
    assert_int_equal(gpu_va_context(path, &context, &why), SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "No such file"));
}

static int child_run(const char *faults, const char *devices, const struct CMUnitTest *tests,
                     size_t count, CMFixtureFunction before)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("SLUICE_STANDIN_FAULTS", faults, 1);
        setenv("SLUICE_STANDIN_VAAPI", devices, 1);
        int failed = _cmocka_run_group_tests("vaapi faults", tests, count, before, NULL);
        fflush(NULL);
        _exit(failed);
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : 1;
}

#define CHILD(faults, devices, before, test)                                                       \
    child_run(faults, devices, (const struct CMUnitTest[]){cmocka_unit_test(test)}, 1, before)

static int own_run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colour_and_shape_are_in_the_parameter_sets),
        cmocka_unit_test(test_planes_and_pairs_make_the_same_bytes),
        cmocka_unit_test(test_wrong_profiles_are_refused_by_name),
        cmocka_unit_test(test_a_node_without_permission_names_the_group),
    };
    return _cmocka_run_group_tests("vaapi", tests, sizeof tests / sizeof *tests, device_find, NULL);
}

static int faults_run(void)
{
    return CHILD("vaapi/lost:5,nvenc/nothing", "1", device_find,
                 test_a_device_that_is_lost_is_told_as_lost_and_works_again) +
           CHILD("lost:5:1000s", "1", device_find, test_a_device_that_stays_lost_opens_nothing) +
           CHILD("limit=1", "1", device_find, test_a_full_device_is_no_fault) +
           CHILD("wrong:1:garbage", "1", device_find,
                 test_a_device_whose_pictures_do_not_decode_opens_nothing) +
           CHILD("no_ten@0,no_h265@1", "3", NULL, test_rows_follow_the_driver) +
           CHILD("old_driver", "1", NULL, test_a_driver_that_fails_is_one_sentence) +
           CHILD("", "1", NULL, test_an_absent_stand_in_says_how_to_get_it);
}

int main(void)
{
    av_log_set_level(AV_LOG_FATAL);
    if (access(STANDIN "/sluice_drv_video.so", R_OK) != 0) {
        printf("SKIP: make standin has not built " STANDIN "/sluice_drv_video.so\n");
        return 77;
    }
    setenv("LD_LIBRARY_PATH", STANDIN, 1);
    setenv("SLUICE_STANDIN_VAAPI", "1", 1);
    return faults_run() + suite_run("vaapi h264", CODEC_H264) +
           suite_run("vaapi h265", CODEC_H265) + suite_run("vaapi av1", CODEC_AV1) +
           suite_run("vaapi vp9", CODEC_VP9) + own_run();
}
