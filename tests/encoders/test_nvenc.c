/* The NVENC back end on tests/standin's driver, which encodes in software: libavcodec's whole hardware path runs on a
 * machine without a GPU. The program starts itself again with the stand-in's libraries first. */
#include <libavutil/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "encoders/encoders.h"
#include "gpu/gpu_cuda.h"
#include "tests/encoders/clip.h"
#include "tests/encoders/conformance.h"

static const struct hal_backends backends = {
    .devices = {&gpu_device_ops},
    .device_count = 1,
    .encoders = {&nvenc_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {.backends = &backends, .encoder = "nvenc"};

static int setup(void **state)
{
    *state = &conformance;
    return 0;
}

static int suite_run(const char *name, enum codec codec)
{
    conformance.codec = codec;
    if (!conformance_find(&conformance))
        return 1;
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, setup, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    av_log_set_level(AV_LOG_ERROR);
    return suite_run("nvenc h264", CODEC_H264) + suite_run("nvenc h265", CODEC_H265);
}
