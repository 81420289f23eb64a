/* The VA-API back end on tests/standin's driver, which encodes in software: libavcodec's whole hardware path runs on a
 * machine without a GPU. Not shown here, because the stand-in has none of it: B-frames, packed headers, low power. */
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
    if (!conformance_find(&conformance))
        return 1;
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, setup, NULL);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    if (access(STANDIN "/sluice_drv_video.so", R_OK) != 0) {
        printf("SKIP: make standin has not built " STANDIN "/sluice_drv_video.so\n");
        return 77;
    }
    setenv("LD_LIBRARY_PATH", STANDIN, 1);
    setenv("SLUICE_STANDIN_VAAPI", "1", 1);
    return suite_run("vaapi h264", CODEC_H264) + suite_run("vaapi h265", CODEC_H265);
}
