#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "hal/hal.h"
#include "hal/hal_sim.h"

#define WIDTH  32
#define HEIGHT 16

static const struct hal_backends backends = {.devices = {&hal_sim_device_ops},
                                             .device_count = 1,
                                             .encoders = {&hal_sim_encode_ops},
                                             .encoder_count = 1};

static uint8_t picture[WIDTH * HEIGHT * 3 / 2];

static struct hal_device device_probe(const struct hal_sim_script *script)
{
    struct hal_device device[1];
    int32_t count = 0;
    struct sl_failure why = {0};
    hal_sim_set(script);
    assert_int_equal(hal_probe(&backends, device, 1, &count, &why), SL_OK);
    assert_int_equal(count, 1);
    return device[0];
}

static int open_one(struct hal_device *device, struct hal_session **out, struct sl_failure *why)
{
    struct hal_encode_params params = {.codec = CODEC_H264,
                                       .layout = HAL_I420,
                                       .width = WIDTH,
                                       .height = HEIGHT,
                                       .time_base = {1, 24},
                                       .frame_rate = {24, 1},
                                       .bframes = 2,
                                       .threads = 1};
    return hal_encode_open(&backends, device, "sim", &params, out, why);
}

static int submit(struct hal_session *session, int32_t number, struct sl_failure *why)
{
    memset(picture, number, sizeof picture);
    struct hal_frame frame = {
        .layout = HAL_I420,
        .width = WIDTH,
        .height = HEIGHT,
        .planes = {picture, picture + WIDTH * HEIGHT, picture + WIDTH * HEIGHT * 5 / 4},
        .stride_bytes = {WIDTH, WIDTH / 2, WIDTH / 2},
        .pts = number,
    };
    return hal_encode_submit(session, &frame, why);
}

static void test_the_told_session_limit_refuses_the_next_open(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.session_limit = 2;
    script.limit_told = true;
    struct hal_device device = device_probe(&script);
    struct hal_session *s[3] = {0};
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s[0], &why), SL_OK);
    assert_int_equal(open_one(&device, &s[1], &why), SL_OK);
    assert_int_equal(open_one(&device, &s[2], &why), SL_ESESSIONS);
    assert_null(s[2]);
    assert_int_equal(device.sessions.in_use, 2);
    assert_int_equal(hal_sim_sessions(), 2);
    hal_encode_close(&s[0]);
    assert_int_equal(open_one(&device, &s[2], &why), SL_OK);
    hal_encode_close(&s[1]);
    hal_encode_close(&s[2]);
    assert_int_equal(device.sessions.in_use, 0);
    assert_int_equal(hal_sim_sessions(), 0);
}

static void test_an_unknown_session_limit_is_learned_from_a_refusal(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.session_limit = 2;
    struct hal_device device = device_probe(&script);
    assert_int_equal(device.sessions.limit, 0);
    struct hal_session *s[3] = {0};
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s[0], &why), SL_OK);
    assert_int_equal(open_one(&device, &s[1], &why), SL_OK);
    assert_int_equal(open_one(&device, &s[2], &why), SL_ESESSIONS);
    assert_int_equal(device.sessions.limit, 2);
    assert_int_equal(device.sessions.source, HAL_LIMIT_LEARNED);
    assert_int_equal(device.sessions.in_use, 2);
    assert_int_equal(hal_health_note(&device, why.code, why.message), HEALTH_HEALTHY);
    hal_encode_close(&s[0]);
    hal_encode_close(&s[1]);
}

static void test_a_refusal_with_no_session_of_ours_teaches_nothing(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.open_code = SL_ESESSIONS; /* another program holds them all */
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s, &why), SL_ESESSIONS);
    assert_int_equal(device.sessions.limit, 0);
    assert_int_equal(device.sessions.source, HAL_LIMIT_UNKNOWN);
    assert_int_equal(device.sessions.in_use, 0);
}

static void test_a_fault_comes_at_its_frame_and_makes_the_device_suspect(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.fault_frame = 3;
    script.fault_code = SL_EDEVICELOST;
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s, &why), SL_OK);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(submit(s, i, &why), SL_OK);
    assert_int_equal(submit(s, 3, &why), SL_EDEVICELOST);
    assert_int_equal(hal_health_note(&device, why.code, why.message), HEALTH_QUARANTINED);
    hal_encode_close(&s);
    assert_int_equal(hal_sim_sessions(), 0);
}

static int32_t packets_count(struct hal_session *s, int32_t *wrong_size)
{
    struct hal_packet packet;
    struct sl_failure why = {0};
    int32_t count = 0;
    while (hal_encode_receive(s, &packet, &why) == 1) {
        struct hal_sim_label label;
        assert_int_equal(hal_sim_label_read(packet.data, packet.bytes, &label), SL_OK);
        *wrong_size += label.width != WIDTH;
        count++;
    }
    return count;
}

static void test_a_dropped_frame_and_a_wrong_size_can_be_seen(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.drop_frame = 5;
    script.resize_frame = 7;
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    int32_t count = 0, wrong = 0;
    assert_int_equal(open_one(&device, &s, &why), SL_OK);
    for (int32_t i = 0; i < 20; i++) {
        assert_int_equal(submit(s, i, &why), SL_OK);
        count += packets_count(s, &wrong);
    }
    assert_int_equal(hal_encode_flush(s, &why), SL_OK);
    count += packets_count(s, &wrong);
    assert_int_equal(count, 19);
    assert_int_equal(wrong, 1);
    hal_encode_close(&s);
}

static void test_a_caller_that_takes_no_packets_is_stopped(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s, &why), SL_OK);
    int rc = SL_OK;
    for (int32_t i = 0; i < 1000 && rc == SL_OK; i++)
        rc = submit(s, i, &why);
    assert_int_equal(rc, SL_ELIMIT);
    hal_encode_close(&s);
}

static char prepared[DEVICE_ID_BYTES];
static int prepare_code;
static int32_t encoders_probed;

static int prepare_note(const struct hal_device *device, struct sl_failure *why)
{
    snprintf(prepared, sizeof prepared, "%s", device->device_id);
    return prepare_code ? sl_fail(why, prepare_code, "the driver does not start") : SL_OK;
}

static int probe_count(struct hal_device *device)
{
    encoders_probed++;
    return hal_sim_encode_ops.probe(device);
}

static void test_one_device_is_probed_and_prepared_alone(void **state)
{
    (void)state;
    struct hal_device_ops devices = hal_sim_device_ops;
    struct hal_encode_ops encoders = hal_sim_encode_ops;
    devices.prepare = prepare_note;
    encoders.probe = probe_count;
    struct hal_backends counted = backends;
    counted.devices[0] = &devices;
    counted.encoders[0] = &encoders;
    struct hal_sim_script script = hal_sim_script_default();
    script.devices = 4;
    hal_sim_set(&script);
    struct hal_device device;
    struct sl_failure why = {0};
    assert_int_equal(hal_probe_one(&counted, DEVICE_CPU, "sim2", &device, &why), SL_OK);
    assert_string_equal(device.device_id, "sim2");
    assert_string_equal(prepared, "sim2");
    assert_int_equal(device.row_count, 1);
    assert_int_equal(encoders_probed, 1);
    assert_int_equal(hal_probe_one(&counted, DEVICE_CPU, "sim4", &device, &why), SL_EDEVICELOST);
    assert_string_equal(why.message, "the device sim4 is not on this node any more");
    assert_int_equal(hal_probe_one(&counted, DEVICE_VAAPI, "sim2", &device, &why), SL_EDEVICELOST);
    prepare_code = SL_EENCODE;
    assert_int_equal(hal_probe_one(&counted, DEVICE_CPU, "sim1", &device, &why), SL_EENCODE);
    assert_string_equal(device.device_id, "sim2"); /* as it was */
    int32_t count = -1;
    struct hal_device found[NODE_DEVICES_MAX];
    assert_int_equal(hal_probe_kind(&counted, DEVICE_VAAPI, found, NODE_DEVICES_MAX, &count, &why),
                     SL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(hal_probe_kind(&counted, DEVICE_CPU, found, NODE_DEVICES_MAX, &count, &why),
                     SL_OK);
    assert_int_equal(count, 4);
}

static void *hang_run(void *arg)
{
    struct sl_failure why = {0};
    int *rc = malloc(sizeof *rc);
    *rc = submit(arg, 0, &why);
    return rc;
}

static void test_a_hang_blocks_until_it_is_released(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.hang_frame = 0;
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s, &why), SL_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hang_run, s), 0);
    struct timespec pause = {.tv_nsec = 1000000};
    while (hal_sim_hanging() == 0)
        nanosleep(&pause, NULL);
    assert_int_equal(hal_sim_sessions(), 1);
    hal_sim_release();
    void *rc;
    pthread_join(thread, &rc);
    assert_int_equal(*(int *)rc, SL_EHANG);
    free(rc);
    hal_encode_close(&s);
}

static void test_latency_is_felt(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.latency_ns = SL_MS_TO_NS(3);
    struct hal_device device = device_probe(&script);
    struct hal_session *s = NULL;
    struct sl_failure why = {0};
    assert_int_equal(open_one(&device, &s, &why), SL_OK);
    int64_t before_ns = sl_now_ns();
    for (int32_t i = 0; i < 5; i++)
        assert_int_equal(submit(s, i, &why), SL_OK);
    assert_true(sl_now_ns() - before_ns >= SL_MS_TO_NS(15));
    hal_encode_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_told_session_limit_refuses_the_next_open),
        cmocka_unit_test(test_an_unknown_session_limit_is_learned_from_a_refusal),
        cmocka_unit_test(test_a_refusal_with_no_session_of_ours_teaches_nothing),
        cmocka_unit_test(test_a_fault_comes_at_its_frame_and_makes_the_device_suspect),
        cmocka_unit_test(test_a_dropped_frame_and_a_wrong_size_can_be_seen),
        cmocka_unit_test(test_a_caller_that_takes_no_packets_is_stopped),
        cmocka_unit_test(test_one_device_is_probed_and_prepared_alone),
        cmocka_unit_test(test_a_hang_blocks_until_it_is_released),
        cmocka_unit_test(test_latency_is_felt),
    };
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
