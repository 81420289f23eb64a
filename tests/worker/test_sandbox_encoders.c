/* Every encoder of the CPU works inside the sandbox, opened there for the first time: nothing of it was warmed up. */
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

#include <libavutil/log.h>

#include "cpu/cpu_pool.h"
#include "encoders/encoders.h"
#include "hal/hal_golden.h"
#include "worker/sandbox.h"

#define FRAMES 24

static const struct hal_backends backends = {
    .devices = {&cpu_device_ops},
    .device_count = 1,
    .encoders = {&x264_encode_ops, &x265_encode_ops, &svtav1_encode_ops, &vpx_encode_ops},
    .encoder_count = 4,
};

static void violated(void *arg, int number)
{
    (void)arg;
    char text[64];
    int length = snprintf(text, sizeof text, "system call %d was stopped\n", number);
    if (write(STDERR_FILENO, text, (size_t)length) < 0)
        _exit(3);
    _exit(2);
}

static int encode(struct hal_device *device, const struct hal_row *row, enum hal_layout layout,
                  int32_t threads, struct sl_failure *why)
{
    const struct hal_encode_params params = {
        .codec = row->codec,
        .layout = layout,
        .width = 160,
        .height = 96,
        .time_base = {1, 25},
        .frame_rate = {25, 1},
        .sar = {1, 1},
        .crf_tenths = 280,
        .gop_frames = FRAMES / 2,
        .bframes = -1,
        .threads = threads,
        .preset = "veryfast",
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    struct hal_session *session = NULL;
    struct hal_golden *golden = NULL;
    struct hal_packet packet;
    int packets = 0;
    int rc = hal_golden_open(layout, params.width, params.height, &golden);
    if (rc == SL_OK)
        rc = hal_encode_open(&backends, device, row->encoder, &params, &session, why);
    for (int32_t i = 0; i < FRAMES && rc == SL_OK; i++) {
        struct hal_frame frame = *hal_golden_frame(golden, i);
        frame.force_idr = i % (FRAMES / 2) == 0;
        rc = hal_encode_submit(session, &frame, why);
        while (rc == SL_OK && hal_encode_receive(session, &packet, why) == 1)
            packets++;
    }
    if (rc == SL_OK)
        rc = hal_encode_flush(session, why);
    while (rc == SL_OK && hal_encode_receive(session, &packet, why) == 1)
        packets++;
    hal_encode_close(&session);
    hal_golden_close(&golden);
    return rc == SL_OK && packets != FRAMES ? SL_EINTERNAL : rc;
}

static void child(const char *encoder, enum hal_layout layout, int32_t threads)
{
    struct sandbox sandbox;
    struct hal_device device;
    struct sl_failure why = {0};
    int32_t count = 0;
    sandbox_isolate(&sandbox);
    if (hal_probe(&backends, &device, 1, &count, &why) < 0 || count != 1)
        _exit(4);
    if (sandbox_enter(&sandbox, NULL, &why) != SL_OK) {
        fprintf(stderr, "%s\n", why.message);
        _exit(5);
    }
    sandbox_on_violation(violated, NULL);
    for (int32_t i = 0; i < device.row_count; i++)
        if (strcmp(device.rows[i].encoder, encoder) == 0) {
            int rc = encode(&device, &device.rows[i], layout, threads, &why);
            if (rc != SL_OK)
                fprintf(stderr, "%s: %s\n", sl_error_word(rc), why.message);
            _exit(rc == SL_OK ? 0 : 1);
        }
    _exit(77);
}

static void test_encoders_open_and_work_inside(void **state)
{
    (void)state;
    static const enum hal_layout layouts[] = {HAL_I420, HAL_I420_10};
    int missing = 0;
    for (int32_t i = 0; i < backends.encoder_count; i++)
        for (int run = 0; run < 3; run++) {
            const char *encoder = backends.encoders[i]->name;
            int32_t threads = run == 2 ? 2 : 1;
            fflush(NULL);
            pid_t pid = fork();
            assert_true(pid >= 0);
            if (pid == 0)
                child(encoder, layouts[run % 2], threads);
            int status;
            assert_int_equal(waitpid(pid, &status, 0), pid);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
                print_message("no encoder %s here\n", encoder);
                missing++;
                break;
            }
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("%s with %d threads, layout %d, ended with status %#x", encoder, threads,
                         (int)layouts[run % 2], (unsigned)status);
        }
    assert_true(missing < backends.encoder_count);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (!SANDBOX_BUILT) {
        /* And ThreadSanitizer takes x265's own threads, which it does not know, for races. */
        printf("SKIP: there is no sandbox in a build with a sanitizer\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoders_open_and_work_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
