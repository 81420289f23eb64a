/* The ladder kernel's truth: row by row and rung by rung, over whole pictures. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_twins.h"

static const void *at(gpu_u64 address)
{
    return (const void *)(uintptr_t)address;
}

/* A row of samples as the kernel's threads see it. */
struct row {
    const uint8_t *bytes;
    int step, shift, width;
    bool wide;
};

static int32_t row_sample(const struct row *row, int x)
{
    if (!row->wide)
        return row->bytes[x * row->step];
    return ((const uint16_t *)(const void *)row->bytes)[x * row->step] >> row->shift;
}

/* The weighted sum for one column, in samples. */
static float row_sum(const struct row *row, const struct kernel_rung *rung, int x)
{
    const gpu_i32 *starts = at(rung->starts);
    const gpu_u32 *weights = at(rung->weights);
    int pair = x / 2, start = starts[pair] & ~3;
    int32_t sums[2] = {0};
    for (int plane = 0; plane < rung->planes; plane++)
        for (int k = 0; k < rung->words * 4; k++) {
            size_t index = ((size_t)(plane * rung->words + k / 4) * 2 + (size_t)(x % 2)) *
                               (size_t)rung->pairs +
                           (size_t)pair;
            int32_t weight = (int8_t)(weights[index] >> (k % 4 * 8));
            if (weight && start + k < row->width)
                sums[plane] += weight * row_sample(row, start + k);
        }
    if (rung->planes == 2)
        return (float)(sums[0] * 64 + sums[1]) / 4096;
    return (float)sums[0] / (float)(64 << (starts[pair] & 3));
}

static float dither_at(int x, int y)
{
    static const uint8_t bayer[8][8] = {
        {0, 32, 8, 40, 2, 34, 10, 42},  {48, 16, 56, 24, 50, 18, 58, 26},
        {12, 44, 4, 36, 14, 46, 6, 38}, {60, 28, 52, 20, 62, 30, 54, 22},
        {3, 35, 11, 43, 1, 33, 9, 41},  {51, 19, 59, 27, 49, 17, 57, 25},
        {15, 47, 7, 39, 13, 45, 5, 37}, {63, 31, 55, 23, 61, 29, 53, 21},
    };
    return (float)(2 * bayer[y & 7][x & 7] + 1) / 128 - 0.5f;
}

static void sample_store(const struct kernel_rung *rung, gpu_u64 target, int x, int y, float value)
{
    if (rung->dither)
        value += dither_at(x, y);
    long limit = (1L << rung->depth) - 1;
    long whole = lrintf(value);
    whole = whole < 0 ? 0 : whole > limit ? limit : whole;
    int64_t offset = (int64_t)y * rung->step_y + (int64_t)x * rung->step_x;
    if (rung->depth > 8)
        ((uint16_t *)(uintptr_t)target)[offset] = (uint16_t)(whole << rung->shift);
    else
        ((uint8_t *)(uintptr_t)target)[offset] = (uint8_t)whole;
}

static void plane_scale(const struct kernel_plane *plane, const struct kernel_rung *rung,
                        struct row row, int stride, gpu_u64 target)
{
    const gpu_i32 *ends = at(rung->ends);
    const float *weights = at(rung->rows);
    size_t width = (size_t)rung->width;
    float *open = calloc(width * 4, sizeof *open); /* four rows, the oldest first */
    if (!open)
        abort();
    int y = 0;
    for (int i = 0; i < plane->height && y < rung->height; i++, row.bytes += stride) {
        const float *w = weights + (ptrdiff_t)i * 4;
        for (int x = 0; x < rung->width; x++) {
            float sum = row_sum(&row, rung, x);
            for (size_t s = 0; s < 4; s++)
                open[s * width + (size_t)x] = fmaf(w[s], sum, open[s * width + (size_t)x]);
        }
        while (i == ends[y]) {
            for (int x = 0; x < rung->width; x++)
                sample_store(rung, target, x, y, open[x]);
            memmove(open, open + width, 3 * width * sizeof *open);
            memset(open + 3 * width, 0, width * sizeof *open);
            y++;
        }
    }
    free(open);
}

static void ladder_run(uint32_t frames, const struct kernel_ladder_args *args, bool wide)
{
    const struct kernel_ladder *ladder = at(args->ladder);
    for (uint32_t frame = 0; frame < frames; frame++)
        for (int channel = 0; channel < 3; channel++) {
            const struct kernel_plane *plane = &ladder->planes[channel > 0];
            const struct kernel_source *source = &args->sources[frame];
            int from = channel == 2 && plane->interleaved ? 1 : channel;
            struct row row = {
                .bytes = (const uint8_t *)at(source->planes[from]) +
                         (from != channel ? (wide ? 2 : 1) : 0),
                .step = plane->interleaved ? 2 : 1,
                .shift = ladder->shift,
                .width = plane->width,
                .wide = wide,
            };
            for (int r = 0; r < plane->rung_count; r++)
                plane_scale(plane, &plane->rungs[r], row, source->strides[from],
                            args->targets[frame][r][channel]);
        }
}

void twin_ladder8(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)block;
    ladder_run(grid[2], args[0], false);
}

void twin_ladder16(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)block;
    ladder_run(grid[2], args[0], true);
}
