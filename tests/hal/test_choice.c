#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hal/hal.h"
#include "hal/hal_sim.h"

static struct hal_device device(const char *id, int32_t in_use, int32_t limit)
{
    struct hal_device d = {.kind = DEVICE_CPU, .row_count = 1};
    snprintf(d.device_id, sizeof d.device_id, "%s", id);
    d.rows[0] = (struct hal_row){.codec = CODEC_H264,
                                 .direction = HAL_ENCODE,
                                 .encoder = "sim",
                                 .width_min = 16,
                                 .height_min = 16,
                                 .width_max = 1920,
                                 .height_max = 1080,
                                 .mpix_per_s = 7};
    d.sessions = (struct hal_sessions){.in_use = in_use, .limit = limit};
    return d;
}

static void test_the_least_used_device_is_chosen_and_ties_go_by_id(void **state)
{
    (void)state;
    struct hal_device d[] = {device("c", 1, 0), device("b", 0, 4), device("a", 0, 4)};
    struct sl_failure why = {0};
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), 2);
    d[2].sessions.in_use = 1;
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), 1);
}

static void test_full_devices_are_passed_over_and_all_full_is_capacity(void **state)
{
    (void)state;
    struct hal_device d[] = {device("a", 3, 3), device("b", 5, 8)};
    struct sl_failure why = {0};
    assert_int_equal(hal_choose(d, 2, CODEC_H264, "sim", &why), 1);
    d[1].sessions.in_use = 8;
    assert_int_equal(hal_choose(d, 2, CODEC_H264, "sim", &why), SL_ESESSIONS);
    assert_int_equal(sl_error_class(why.code), SL_CLASS_CAPACITY);
}

static void test_a_system_wide_limit_counts_all_its_devices(void **state)
{
    (void)state;
    struct hal_device d[] = {device("a", 2, 3), device("b", 1, 3)};
    struct sl_failure why = {0};
    assert_int_equal(hal_choose(d, 2, CODEC_H264, "sim", &why), 1);
    d[0].sessions.scope = d[1].sessions.scope = SCOPE_SYSTEM;
    assert_int_equal(hal_choose(d, 2, CODEC_H264, "sim", &why), SL_ESESSIONS);
}

static void test_health_decides_before_load(void **state)
{
    (void)state;
    struct hal_device d[] = {device("a", 0, 0), device("b", 2, 0), device("c", 0, 0)};
    struct sl_failure why = {0};
    d[0].health = HEALTH_SUSPECT;
    d[2].health = HEALTH_PROVING;
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), 1);
    d[1].health = HEALTH_QUARANTINED;
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), 0);
    d[0].health = HEALTH_QUARANTINED;
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), 2);
    d[2].sessions.in_use = 1;
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), SL_ESESSIONS);
    d[2].health = HEALTH_QUARANTINED;
    snprintf(d[2].health_reason, sizeof d[2].health_reason, "hang: no packet");
    assert_int_equal(hal_choose(d, 3, CODEC_H264, "sim", &why), SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "hang: no packet"));
}

static void test_an_unknown_encoder_is_named(void **state)
{
    (void)state;
    struct hal_device d[] = {device("a", 0, 0)};
    struct sl_failure why = {0};
    assert_int_equal(hal_choose(d, 1, CODEC_H264, "nvenc", &why), SL_ENOENCODER);
    assert_non_null(strstr(why.message, "nvenc"));
    assert_int_equal(hal_choose(d, 1, CODEC_AV1, "sim", &why), SL_ENOENCODER);
    assert_int_equal(hal_choose(d, 0, CODEC_H264, "sim", &why), SL_ENOENCODER);
    assert_int_equal(hal_choose(d, 1, CODEC_H264, "", &why), 0);
}

static void test_a_row_that_is_too_small_tells_its_range(void **state)
{
    (void)state;
    struct hal_device d = device("a", 0, 0);
    struct sl_failure why = {0};
    assert_non_null(hal_device_row(&d, CODEC_H264, "sim", 1920, 1080, &why));
    assert_null(hal_device_row(&d, CODEC_H264, "sim", 3840, 2160, &why));
    assert_non_null(strstr(why.message, "16x16 to 1920x1080, not 3840x2160"));
}

static void test_probing_joins_devices_and_encoder_rows(void **state)
{
    (void)state;
    struct hal_sim_script script = hal_sim_script_default();
    script.devices = 3;
    script.limit_told = true;
    script.session_limit = 5;
    hal_sim_set(&script);
    const struct hal_backends backends = {.devices = {&hal_sim_device_ops},
                                          .device_count = 1,
                                          .encoders = {&hal_sim_encode_ops},
                                          .encoder_count = 1};
    struct hal_device d[2];
    int32_t count = 0;
    struct sl_failure why = {0};
    assert_int_equal(hal_probe(&backends, d, 2, &count, &why), SL_OK);
    assert_int_equal(count, 2); /* no more than there is room for */
    assert_string_equal(d[1].device_id, "sim1");
    assert_int_equal(d[1].row_count, 1);

    struct device_row row;
    d[1].sessions.in_use = 2;
    hal_device_report(&d[1], &row);
    assert_string_equal(row.device_id, "sim1");
    assert_int_equal(row.encodes, 1u << CODEC_H264);
    assert_int_equal(row.decodes, 0);
    assert_int_equal(row.session_limit, 5);
    assert_int_equal(row.sessions_in_use, 2);
    assert_int_equal(row.mpix_per_s[CODEC_H264], 1000);
    assert_int_equal(row.vram_bytes, 0);

    script.devices = 0;
    hal_sim_set(&script);
    assert_int_equal(hal_probe(&backends, d, 2, &count, &why), SL_OK);
    assert_int_equal(count, 0);
    assert_true(why.message[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_used_device_is_chosen_and_ties_go_by_id),
        cmocka_unit_test(test_full_devices_are_passed_over_and_all_full_is_capacity),
        cmocka_unit_test(test_a_system_wide_limit_counts_all_its_devices),
        cmocka_unit_test(test_health_decides_before_load),
        cmocka_unit_test(test_an_unknown_encoder_is_named),
        cmocka_unit_test(test_a_row_that_is_too_small_tells_its_range),
        cmocka_unit_test(test_probing_joins_devices_and_encoder_rows),
    };
    return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
