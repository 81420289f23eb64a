#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal/hal_sim.h"
#include "tests/encoders/conformance.h"

static const struct hal_backends backends = {
    .devices = {&hal_sim_device_ops},
    .device_count = 1,
    .encoders = {&hal_sim_encode_ops},
    .encoder_count = 1,
};

static struct conformance conformance = {
    .backends = &backends, .encoder = "sim", .codec = CODEC_H264, .labels = true};

static int setup(void **state)
{
    *state = &conformance;
    return conformance_find(&conformance) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};
    return cmocka_run_group_tests_name("sim", tests, setup, NULL);
}
