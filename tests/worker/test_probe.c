/* Drivers that are absent, broken, crash or hang when they are asked, each in its own kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/probe_kinds.h"

typedef int probe_fn(struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why);

static int two_devices(struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why)
{
    (void)max;
    (void)why;
    printf("a driver's own line\n"); /* goes nowhere near the document */
    for (int i = 0; i < 2; i++) {
        out[i].kind = DEVICE_CPU;
        snprintf(out[i].device_id, sizeof out[i].device_id, "cpu%d", i);
        out[i].memory_bytes = 1 << 30;
    }
    *count = 2;
    return SL_OK;
}

static int absent(struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why)
{
    (void)out;
    (void)max;
    *count = 0;
    sl_fail(why, SL_ENOENT, "nvenc: libcuda.so.1 is not installed");
    return SL_OK;
}

static int crash(struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why)
{
    two_devices(out, max, count, why);
    signal(SIGSEGV, SIG_DFL); /* a sanitizer would turn it into an exit */
    raise(SIGSEGV);
    return SL_OK;
}

_Noreturn static int hang(struct hal_device *out, int32_t max, int32_t *count,
                          struct sl_failure *why)
{
    (void)out, (void)max, (void)count, (void)why;
    for (;;)
        pause();
}

_Noreturn static int leave(struct hal_device *out, int32_t max, int32_t *count,
                           struct sl_failure *why)
{
    (void)out, (void)max, (void)count, (void)why;
    _exit(7);
}

static int one_without_encoders(struct hal_device *out, int32_t max, int32_t *count,
                                struct sl_failure *why)
{
    (void)max;
    out[0].kind = DEVICE_NVENC;
    snprintf(out[0].device_id, sizeof out[0].device_id, "GPU-1");
    *count = 1;
    snprintf(out[0].note, sizeof out[0].note, "it encodes nothing: %s", "no encode library");
    sl_fail(why, SL_ENOENT, "libnvidia-encode.so.1 is not installed");
    return SL_OK;
}

static struct probe_result found;

static void probe_with(probe_fn *nvenc, probe_fn *vaapi, int64_t deadline_ns)
{
    struct hal_device_ops cpu_ops = {DEVICE_CPU, .probe = two_devices};
    struct hal_device_ops nvenc_ops = {DEVICE_NVENC, .probe = nvenc};
    struct hal_device_ops vaapi_ops = {DEVICE_VAAPI, .probe = vaapi};
    struct hal_backends backends = {.devices = {&nvenc_ops, &cpu_ops, &vaapi_ops},
                                    .device_count = 3};
    probe_kinds(&backends, deadline_ns, &found);
}

static void cpus_are_found(void)
{
    assert_true(found.device_count >= 2);
    assert_string_equal(found.devices[0].device_id, "cpu0");
    assert_string_equal(found.devices[1].device_id, "cpu1");
    assert_int_equal(found.devices[1].memory_bytes, 1 << 30);
}

static void test_a_crash_costs_one_line_and_its_own_devices(void **state)
{
    (void)state;
    probe_with(crash, leave, SL_S_TO_NS(10));
    cpus_are_found();
    assert_int_equal(found.device_count, 2);
    assert_int_equal(found.note_count, 2);
    assert_string_equal(found.notes[0].text,
                        "nvenc: the driver crashed at probe (signal 11, SIGSEGV); its devices are "
                        "left out: look into dmesg for Xid lines, update or reinstall the NVIDIA "
                        "driver, then restart the agent");
    assert_true(found.notes[0].fault);
    assert_non_null(strstr(found.notes[1].text,
                           "vaapi: the driver ended its process at probe (exit status 7); "));
}

static void test_a_hang_ends_at_the_deadline(void **state)
{
    (void)state;
    int64_t before_ns = sl_now_ns();
    probe_with(hang, hang, SL_MS_TO_NS(500));
    assert_true(sl_now_ns() - before_ns < SL_S_TO_NS(2)); /* all at once, not one after another */
    cpus_are_found();
    assert_int_equal(found.device_count, 2);
    assert_int_equal(found.note_count, 2);
    assert_non_null(strstr(found.notes[0].text, "nvenc: the driver did not answer within 0.5 s; "));
    assert_non_null(strstr(found.notes[1].text, "vainfo"));
}

static void test_what_is_absent_or_half_there_is_said_once(void **state)
{
    (void)state;
    probe_with(absent, one_without_encoders, SL_S_TO_NS(10));
    cpus_are_found();
    assert_int_equal(found.device_count, 3);
    assert_string_equal(found.devices[2].device_id, "GPU-1");
    assert_int_equal(found.note_count, 3);
    assert_string_equal(found.notes[0].text, "nvenc: libcuda.so.1 is not installed");
    assert_false(found.notes[0].fault);
    assert_string_equal(found.notes[1].text, "nvenc: GPU-1: it encodes nothing: no encode library");
    assert_string_equal(found.notes[2].text, "vaapi: libnvidia-encode.so.1 is not installed");
    assert_true(found.notes[2].fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_crash_costs_one_line_and_its_own_devices),
        cmocka_unit_test(test_a_hang_ends_at_the_deadline),
        cmocka_unit_test(test_what_is_absent_or_half_there_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
