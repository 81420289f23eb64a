#include "gpu/gpu_twins.h"

#include <stddef.h>
#include <string.h>

const struct gpu_twin gpu_twins[] = {
    {"ladder8", twin_ladder8},
    {"ladder8_far", twin_ladder8},
    {"ladder16", twin_ladder16},
    {"ladder16_far", twin_ladder16},
    {"sse", twin_sse},
    {"ssim", twin_ssim},
    {"tone", twin_tone},
    {"deinterlace", twin_deinterlace},
    {NULL, NULL},
};

const struct gpu_twin *gpu_twin_find(const char *name)
{
    for (const struct gpu_twin *twin = gpu_twins; twin->name; twin++)
        if (strcmp(twin->name, name) == 0)
            return twin;
    return NULL;
}
