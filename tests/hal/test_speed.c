/* What was measured of devices: kept by identity and driver, and read as the scheduler wants it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hal/hal_speed.h"

static char folder[64], path[96];

static int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sluice-speed-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/speeds", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static struct hal_speed speed(const char *device, const char *driver, const char *encoder,
                              enum codec codec, const char *class, int32_t sessions,
                              int32_t threads, double total)
{
    struct hal_speed s = {.codec = codec,
                          .depth = 8,
                          .sessions = sessions,
                          .threads = threads,
                          .mpix_per_s = total / sessions,
                          .total_mpix_per_s = total};
    snprintf(s.device_id, sizeof s.device_id, "%s", device);
    snprintf(s.driver, sizeof s.driver, "%s", driver);
    snprintf(s.encoder, sizeof s.encoder, "%s", encoder);
    snprintf(s.preset, sizeof s.preset, "medium");
    snprintf(s.class, sizeof s.class, "%s", class);
    return s;
}

static void put(struct hal_speed s)
{
    struct sl_failure why = {0};
    if (hal_speeds_put(path, &s, &why) != SL_OK)
        fail_msg("%s", why.message);
}

static struct hal_speeds load(void)
{
    struct hal_speeds speeds;
    struct sl_failure why = {0};
    assert_int_equal(hal_speeds_load(path, &speeds, &why), SL_OK);
    return speeds;
}

static struct device_row device(enum device_kind kind, const char *id, const char *driver)
{
    struct device_row row = {.kind = kind};
    snprintf(row.device_id, sizeof row.device_id, "%s", id);
    snprintf(row.driver, sizeof row.driver, "%s", driver);
    return row;
}

static void test_a_driver_that_changed_is_unknown(void **state)
{
    (void)state;
    struct hal_speeds speeds = load(); /* no file yet */
    struct device_row now = device(DEVICE_NVENC, "GPU-1", "550.1"),
                      then = device(DEVICE_NVENC, "GPU-1", "535.9");
    assert_int_equal(speeds.count, 0);
    assert_false(hal_speeds_know(&speeds, &now));
    hal_speeds_fini(&speeds);
    put(speed("GPU-1", "535.9", "nvenc", CODEC_H265, "720p", 3, 1, 900));
    put(speed("GPU-2", "535.9", "nvenc", CODEC_H265, "720p", 3, 1, 700));
    speeds = load();
    assert_true(hal_speeds_know(&speeds, &then));
    assert_false(hal_speeds_know(&speeds, &now));
    hal_speeds_fini(&speeds);
    put(speed("GPU-1", "550.1", "nvenc", CODEC_H265, "720p", 3, 1, 950));
    speeds = load();
    assert_int_equal(speeds.count, 2); /* the other device keeps its own */
    assert_false(hal_speeds_know(&speeds, &then));
    hal_speeds_fill(&speeds, &now);
    assert_int_equal(now.mpix_per_s[CODEC_H265], 950);
    assert_int_equal(now.mpix_per_s[CODEC_AV1], 0);
    hal_speeds_fini(&speeds);
}

static void test_rates_are_per_cpu_and_per_gpu(void **state)
{
    (void)state;
    put(speed("cpu", "Linux 6.1", "x264", CODEC_H264, "360p", 8, 1, 800));
    put(speed("cpu", "Linux 6.1", "x264", CODEC_H264, "720p", 1, 1, 150));
    put(speed("cpu", "Linux 6.1", "x264", CODEC_H264, "720p", 8, 1, 640));
    put(speed("cpu", "Linux 6.1", "x264", CODEC_H264, "720p", 4, 2, 660));
    put(speed("cpu", "Linux 6.1", "x264", CODEC_H264, "720p", 8, 1, 600)); /* measured again */
    put(speed("cpu", "Linux 6.1", "svtav1", CODEC_AV1, "1080p", 8, 1, 4));
    struct hal_speeds speeds = load();
    assert_int_equal(speeds.count, 5);
    struct device_row cpu = device(DEVICE_CPU, "cpu", "Linux 6.1");
    hal_speeds_fill(&speeds, &cpu);
    assert_int_equal(cpu.mpix_per_s[CODEC_H264], 75); /* 600 of eight at work */
    assert_int_equal(cpu.mpix_per_s[CODEC_AV1], 1);   /* not nothing */
    hal_speeds_fini(&speeds);
}

static void test_lines_of_garbage_are_left_out(void **state)
{
    (void)state;
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("hello\n"
          "cpu\td\tx264\th264\tmedium\t720p\t8\t2\t1\t10\t20\n"
          "cpu\td\tx264\th264\tmedium\t720p\t8\t2\t1\tnan\t20\n"
          "cpu\td\tx264\th264\tmedium\t720p\t8\t2\t1\t-4\t20\n"
          "cpu\td\tx264\th266\tmedium\t720p\t8\t2\t1\t10\t20\n"
          "\td\tx264\th264\tmedium\t720p\t8\t2\t1\t10\t20\n"
          "cpu\td\tx264\th264\tmedium\t720p\t8\t0\t1\t10\t20\n"
          "cpu\td\tx264\th264\tmedium\t720p\t8\t2\t1\t10",
          file);
    fclose(file);
    struct hal_speeds speeds = load();
    assert_int_equal(speeds.count, 1);
    hal_speeds_fini(&speeds);
}

static void test_a_folder_that_takes_nothing_is_named(void **state)
{
    (void)state;
    struct hal_speed s = speed("cpu", "d", "x264", CODEC_H264, "720p", 1, 1, 10);
    struct sl_failure why = {0};
    assert_int_equal(hal_speeds_put("/nonexistent/speeds", &s, &why), SL_EIO);
    assert_non_null(strstr(why.message, "/nonexistent/speeds"));
}

static struct hal_speed fed(struct hal_speed s, enum hal_speed_feed feed)
{
    s.feed = feed;
    return s;
}

static void test_what_feeding_brings_is_told_by_two_figures_of_one_measure(void **state)
{
    (void)state;
    struct device_row row = device(DEVICE_NVENC, "GPU-1", "550.1");
    put(fed(speed("GPU-1", "550.1", "x264", CODEC_H264, "1080p", 8, 1, 100), HAL_SPEED_ALONE));
    put(fed(speed("GPU-1", "550.1", "x264", CODEC_H264, "1080p", 4, 1, 500), HAL_SPEED_FED));
    struct hal_speeds speeds = load();
    hal_speeds_fill(&speeds, &row);
    assert_int_equal(row.feed_permille, 0); /* of other numbers of encodes at once */
    hal_speeds_fini(&speeds);
    put(fed(speed("GPU-1", "550.1", "x264", CODEC_H264, "1080p", 8, 1, 112), HAL_SPEED_FED));
    speeds = load();
    assert_int_equal(speeds.count, 3);
    hal_speeds_fill(&speeds, &row);
    assert_int_equal(row.feed_permille, 1120);
    assert_int_equal(row.mpix_per_s[CODEC_H264], 0); /* it encodes nothing itself */
    hal_speeds_fini(&speeds);
    /* Measured anew: the newest of each. */
    put(fed(speed("GPU-1", "550.1", "x264", CODEC_H264, "1080p", 8, 1, 120), HAL_SPEED_ALONE));
    speeds = load();
    assert_int_equal(speeds.count, 3);
    hal_speeds_fill(&speeds, &row);
    assert_int_equal(row.feed_permille, 933);
    hal_speeds_fini(&speeds);
    row = device(DEVICE_NVENC, "GPU-1", "560.1");
    speeds = load();
    hal_speeds_fill(&speeds, &row);
    assert_int_equal(row.feed_permille, 0);
    hal_speeds_fini(&speeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_driver_that_changed_is_unknown, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(test_rates_are_per_cpu_and_per_gpu, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(test_lines_of_garbage_are_left_out, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(
            test_what_feeding_brings_is_told_by_two_figures_of_one_measure, folder_make,
            folder_remove),
        cmocka_unit_test(test_a_folder_that_takes_nothing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
