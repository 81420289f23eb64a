/* What the probe says of a driver that is whole, old, half there, full or gone; on tests/standin's. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu_cuda.h"
#include "gpu/gpu_error.h"
#include "gpu/gpu_nvenc_probe.h"
#include "gpu/gpu_nvml.h"
#include "tests/standin/standin_run.h"

static int32_t devices_find(struct hal_device *out, struct sl_failure *why)
{
    int32_t count = -1;
    memset(out, 0, NODE_DEVICES_MAX * sizeof *out);
    assert_int_equal(gpu_device_ops.probe(out, NODE_DEVICES_MAX, &count, why), SL_OK);
    return count;
}

/* The first device's verdict. */
static void verdict(int code, const char *says, const char *also)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct gpu_nvenc_caps caps;
    struct sl_failure why = {0};
    assert_true(devices_find(devices, &why) > 0);
    why = (struct sl_failure){0};
    assert_int_equal(gpu_nvenc_probe(devices[0].device_id, &caps, &why), code);
    print_message("%s\n", why.message);
    assert_int_equal(why.code, code);
    if (!strstr(why.message, says) || !strstr(why.message, also))
        fail_msg("\"%s\" does not tell about \"%s\" and \"%s\"", why.message, says, also);
}

static void test_every_gpu_is_a_device(void **state)
{
    (void)state;
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    assert_int_equal(devices_find(devices, &why), 2);
    assert_string_not_equal(devices[0].device_id, devices[1].device_id);
    for (int i = 0; i < 2; i++) {
        const struct hal_device *d = &devices[i];
        assert_int_equal(d->kind, DEVICE_NVENC);
        assert_memory_equal(d->device_id, "GPU-", 4);
        assert_int_equal(strlen(d->device_id), 40);
        assert_true(d->standin && strstr(d->name, "stand-in"));
        assert_non_null(strstr(d->driver, "CUDA"));
        assert_non_null(strstr(d->driver, ":00.0"));
        assert_true(d->memory_bytes > 0);
        assert_int_equal(d->sessions.scope, SCOPE_SYSTEM);
        assert_int_equal(d->sessions.limit, 0);
    }
}

static void test_capabilities_come_from_the_driver(void **state)
{
    (void)state;
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct gpu_nvenc_caps caps;
    struct sl_failure why = {0};
    devices_find(devices, &why);
    assert_int_equal(gpu_nvenc_caps(devices[1].device_id, &caps, &why), SL_OK);
    const struct gpu_nvenc_codec *h264 = &caps.codecs[CODEC_H264], *h265 = &caps.codecs[CODEC_H265];
    assert_true(h264->present && h265->present);
    assert_true(!caps.codecs[CODEC_VP9].present);
    assert_true(h264->width_max >= 4096 && h264->height_max >= 4096 && h264->width_min > 0);
    assert_true(h265->ten_bit && !h264->ten_bit);
    assert_true(h264->rate_modes & 2);
    assert_true(caps.api_major >= 11);
}

static void test_contexts_are_one_for_each_gpu(void **state)
{
    (void)state;
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    AVBufferRef *one = NULL, *again = NULL, *other = NULL;
    devices_find(devices, &why);
    assert_int_equal(gpu_device_ops.prepare(&devices[0], &why), SL_OK);
    assert_int_equal(gpu_context(devices[0].device_id, &one, &why), SL_OK);
    assert_int_equal(gpu_context(devices[0].device_id, &again, &why), SL_OK);
    assert_int_equal(gpu_context(devices[1].device_id, &other, &why), SL_OK);
    assert_ptr_equal(one, again);
    assert_ptr_not_equal(gpu_context_cuda(one), gpu_context_cuda(other));
    assert_int_equal(gpu_context_enter(one, &why), SL_OK);
    gpu_context_leave(one);
    assert_int_equal(gpu_context("GPU-none", &one, &why), SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "GPU-none"));
}

static void test_telemetry_is_the_drivers(void **state)
{
    (void)state;
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    struct device_telemetry seen;
    devices_find(devices, &why);
    gpu_nvml_read(devices[0].device_id, &seen);
    assert_in_range(seen.busy_percent, 0, 100);
    assert_in_range(seen.encoder_percent, 0, 100);
    assert_in_range(seen.decoder_percent, 0, 100);
    assert_in_range(seen.memory_used_bytes, 0, devices[0].memory_bytes);
    assert_in_range(seen.temperature_c, 1, 120);
    assert_in_range(seen.power_mw, 1, 1000000);
    assert_true(gpu_nvml_driver_version()[0]);
    gpu_nvml_read("GPU-none", &seen);
    assert_int_equal(seen.busy_percent, -1);
    assert_int_equal(seen.power_mw, -1);
}

static void test_no_engine_is_told(void **state)
{
    (void)state;
    verdict(SL_ENOENCODER, "no encode engine", "NV_ENC_ERR_UNSUPPORTED_DEVICE, 2");
}

static void test_an_old_driver_is_told_with_the_version_needed(void **state)
{
    (void)state;
    verdict(SL_ENOENCODER, "too old: NVENC 8.0", gpu_driver_needed);
}

static void test_half_a_driver_is_told(void **state)
{
    (void)state;
    verdict(SL_ENOENCODER, "libnvidia-encode.so.1", gpu_driver_needed);
}

static void test_an_old_drivers_session_limit_is_told(void **state)
{
    (void)state;
    verdict(SL_ESESSIONS, "no encoder session is free", "NV_ENC_ERR_OUT_OF_MEMORY, 10");
}

static void test_a_new_drivers_session_limit_is_told(void **state)
{
    (void)state;
    verdict(SL_ESESSIONS, "no encoder session is free", "21");
}

static void test_full_memory_is_no_session_limit(void **state)
{
    (void)state;
    verdict(SL_ENOMEM, "memory", "10");
}

static void nothing_found(const char *says)
{
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    struct device_telemetry seen;
    assert_int_equal(devices_find(devices, &why), 0);
    print_message("%s\n", why.message);
    assert_int_equal(why.code, SL_ENOENT);
    assert_non_null(strstr(why.message, says));
    gpu_nvml_read("GPU-none", &seen);
    assert_int_equal(seen.temperature_c, -1);
}

static void test_no_gpu_is_no_fault(void **state)
{
    (void)state;
    nothing_found("shows no GPU");
}

static void test_hidden_gpus_are_named_as_hidden(void **state)
{
    (void)state;
    nothing_found("CUDA_VISIBLE_DEVICES is \"\"");
}

static void test_no_driver_is_no_fault(void **state)
{
    (void)state;
    void *real = dlopen("libcuda.so.1", RTLD_LAZY);
    if (real) {
        print_message("this machine has an NVIDIA driver\n");
        skip();
    }
    nothing_found(gpu_driver_needed);
}

static void test_only_visible_gpus_are_devices(void **state)
{
    (void)state;
    static struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure why = {0};
    AVBufferRef *context;
    assert_int_equal(devices_find(devices, &why), 1);
    /* The last byte of a stand-in's UUID is its number. */
    assert_string_equal(devices[0].device_id + 38, "31");
    assert_int_equal(gpu_context(devices[0].device_id, &context, &why), SL_OK);
}

static void test_error_tables_are_whole(void **state)
{
    (void)state;
    static const struct {
        enum gpu_interface interface;
        int number, code;
    } wanted[] = {
        {GPU_NVENC, 2, SL_ENOENCODER},  {GPU_NVENC, 5, SL_EDEVICELOST},
        {GPU_NVENC, 8, SL_EINVAL},      {GPU_NVENC, 10, SL_ESESSIONS},
        {GPU_NVENC, 12, SL_EINVAL},     {GPU_NVENC, 15, SL_ENOENCODER},
        {GPU_NVENC, 21, SL_ESESSIONS},  {GPU_NVENC, 4711, SL_EENCODE},
        {GPU_CUDA, 2, SL_ESESSIONS},    {GPU_CUDA, 46, SL_EBUSY},
        {GPU_CUDA, 100, SL_ENOENT},     {GPU_CUDA, 719, SL_EDEVICELOST},
        {GPU_CUDA, 803, SL_ENOENCODER}, {GPU_CUDA, 4711, SL_EENCODE},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct sl_failure why = {0};
        char number[16];
        snprintf(number, sizeof number, ", %d)", wanted[i].number);
        assert_int_equal(gpu_fail(&why, wanted[i].interface, wanted[i].number, "asked"),
                         wanted[i].code);
        assert_int_equal(why.code, wanted[i].code);
        assert_non_null(strstr(why.message, number));
    }
}

static const struct CMUnitTest whole[] = {
    cmocka_unit_test(test_every_gpu_is_a_device),
    cmocka_unit_test(test_capabilities_come_from_the_driver),
    cmocka_unit_test(test_contexts_are_one_for_each_gpu),
    cmocka_unit_test(test_telemetry_is_the_drivers),
    cmocka_unit_test(test_error_tables_are_whole),
};

/* Each in a process of its own, because a driver is loaded once. */
static const struct {
    struct standin_run run;
    struct CMUnitTest test;
} cases[] = {
    {{.name = "engine", .faults = "no_engine"}, cmocka_unit_test(test_no_engine_is_told)},
    {{.name = "old", .faults = "old_driver"},
     cmocka_unit_test(test_an_old_driver_is_told_with_the_version_needed)},
    {{.name = "half", .folder = "half"}, cmocka_unit_test(test_half_a_driver_is_told)},
    {{.name = "limit10", .faults = "limit=0"},
     cmocka_unit_test(test_an_old_drivers_session_limit_is_told)},
    {{.name = "limit21", .faults = "limit=0,limit_code=21"},
     cmocka_unit_test(test_a_new_drivers_session_limit_is_told)},
    {{.name = "memory", .faults = "limit=0,memory=32m"},
     cmocka_unit_test(test_full_memory_is_no_session_limit)},
    {{.name = "none", .faults = "cuinit=100"}, cmocka_unit_test(test_no_gpu_is_no_fault)},
    {{.name = "hidden", .visible = ""}, cmocka_unit_test(test_hidden_gpus_are_named_as_hidden)},
    {{.name = "absent", .folder = "none"}, cmocka_unit_test(test_no_driver_is_no_fault)},
    {{.name = "visible", .gpus = "3", .visible = "1"},
     cmocka_unit_test(test_only_visible_gpus_are_devices)},
};

#define CASES (sizeof cases / sizeof *cases)

int main(int argc, char **argv)
{
    struct standin_run runs[1 + CASES] = {{.name = "whole", .gpus = "2"}};
    for (size_t i = 0; i < CASES; i++)
        runs[1 + i] = cases[i].run;
    if (argc < 2)
        return standin_run_all(argv[0], runs, 1 + CASES);
    if (strcmp(argv[1], "whole") == 0)
        return cmocka_run_group_tests_name("probe", whole, NULL, NULL);
    for (size_t i = 0; i < CASES; i++)
        if (strcmp(argv[1], cases[i].run.name) == 0) {
            const struct CMUnitTest tests[] = {cases[i].test};
            return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
        }
    return 2;
}
