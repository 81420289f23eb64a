// The kernels as host code; see emulate.h.
#define GPU_EMULATED "tests/gpu/emulate.h"
#include "gpu/kernels/kernels.cu"

#define RUNNER(name, type)                                                                         \
    static void run_##name(const void *args)                                                       \
    {                                                                                              \
        name(*(const type *)args);                                                                 \
    }
RUNNER(ladder8, kernel_ladder_args)
RUNNER(ladder8_far, kernel_ladder_args)
RUNNER(ladder16, kernel_ladder_args)
RUNNER(ladder16_far, kernel_ladder_args)
RUNNER(sse, kernel_measure_args)
RUNNER(ssim, kernel_measure_args)
RUNNER(tone, kernel_tone_args)
RUNNER(deinterlace, kernel_deinterlace_args)

extern "C" emulated_kernel emulated_find(const char *name)
{
    static const struct {
        const char *name;
        emulated_kernel run;
    } all[] = {
        {"ladder8", run_ladder8},   {"ladder8_far", run_ladder8_far},
        {"ladder16", run_ladder16}, {"ladder16_far", run_ladder16_far},
        {"sse", run_sse},           {"ssim", run_ssim},
        {"tone", run_tone},         {"deinterlace", run_deinterlace},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (__builtin_strcmp(all[i].name, name) == 0)
            return all[i].run;
    return 0;
}
