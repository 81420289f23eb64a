/* The ladder kernel's truth: row by row and rung by rung, over whole pictures. */
#ifndef __clang__
#pragma GCC optimize("O3")
#endif

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

/* Weights of every column of a rung, put together from the kernel's pairs, words and planes. */
struct columns {
    int16_t *weights; /* [width][taps] */
    int *firsts;
    float *scales;
    int taps;
};

static void columns_free(struct columns *columns)
{
    free(columns->weights);
    free(columns->firsts);
    free(columns->scales);
}

static void columns_make(const struct kernel_rung *rung, struct columns *columns)
{
    const gpu_i32 *starts = at(rung->starts);
    const gpu_u32 *weights = at(rung->weights);
    size_t width = (size_t)rung->width;
    columns->taps = rung->words * 4;
    columns->weights = calloc(width * (size_t)columns->taps, sizeof *columns->weights);
    columns->firsts = calloc(width, sizeof *columns->firsts);
    columns->scales = calloc(width, sizeof *columns->scales);
    if (!columns->weights || !columns->firsts || !columns->scales)
        abort();
    for (int x = 0; x < rung->width; x++) {
        int start = starts[x / 2];
        columns->firsts[x] = start & ~3;
        columns->scales[x] = rung->planes == 2 ? 4096 : (float)(64 << (start & 3));
        for (int plane = 0; plane < rung->planes; plane++)
            for (int k = 0; k < columns->taps; k++) {
                size_t index = ((size_t)(plane * rung->words + k / 4) * 2 + (size_t)(x % 2)) *
                                   (size_t)rung->pairs +
                               (size_t)(x / 2);
                int weight = (int8_t)(weights[index] >> (k % 4 * 8));
                int times = rung->planes == 2 && plane == 0 ? 64 : 1;
                columns->weights[(ptrdiff_t)x * columns->taps + k] += (int16_t)(weight * times);
            }
    }
}

static void row_read(const struct row *row, int16_t *out)
{
    const uint16_t *words = (const uint16_t *)(const void *)row->bytes;
    for (int x = 0; x < row->width; x++)
        out[x] =
            (int16_t)(row->wide ? words[x * row->step] >> row->shift : row->bytes[x * row->step]);
}

/* One row's weighted sums, in samples, added to the four open rows. */
static inline __attribute__((always_inline)) void row_add_body(const struct columns *columns,
                                                               const int16_t *samples,
                                                               const float *w, float *sums,
                                                               float *open, int width)
{
    for (int x = 0; x < width; x++) {
        const int16_t *weights = columns->weights + (ptrdiff_t)x * columns->taps;
        const int16_t *from = samples + columns->firsts[x];
        int32_t sum = 0;
        for (int k = 0; k < columns->taps; k++)
            sum += weights[k] * from[k];
        sums[x] = (float)sum / columns->scales[x];
    }
    for (int s = 0; s < 4; s++, open += width)
        for (int x = 0; x < width; x++)
            open[x] = fmaf(w[s], sums[x], open[x]);
}

static void row_add_plain(const struct columns *columns, const int16_t *samples, const float *w,
                          float *sums, float *open, int width)
{
    row_add_body(columns, samples, w, sums, open, width);
}

/* A stand-in has to make whole pictures in this way; fmaf is a call where the processor is not known to have it. */
#if defined __x86_64__
__attribute__((target("avx2,fma"))) static void row_add_fast(const struct columns *columns,
                                                             const int16_t *samples, const float *w,
                                                             float *sums, float *open, int width)
{
    row_add_body(columns, samples, w, sums, open, width);
}
#endif

typedef void (*row_add)(const struct columns *columns, const int16_t *samples, const float *w,
                        float *sums, float *open, int width);

static row_add row_add_choose(void)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return row_add_fast;
#endif
    return row_add_plain;
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

/* To the nearest integer, ties to even: below 2^22 the sum with 1.5 * 2^23 has it in its lowest bits. */
static inline int32_t nearest(float value)
{
    union {
        float value;
        int32_t bits;
    } both = {.value = value + GPU_MAGIC};
    return both.bits - GPU_MAGIC_BITS;
}

static void row_store(const struct kernel_rung *rung, gpu_u64 target, int y, const float *values)
{
    const int32_t limit = (1 << rung->depth) - 1;
    uint8_t *bytes = (uint8_t *)(uintptr_t)target;
    uint16_t *words = (uint16_t *)(uintptr_t)target;
    int64_t place = (int64_t)y * rung->step_y;
    for (int x = 0; x < rung->width; x++, place += rung->step_x) {
        const float more = rung->dither ? dither_at(x, y) + rung->offset : rung->offset;
        int32_t whole = nearest(values[x] + more);
        whole = whole < 0 ? 0 : whole > limit ? limit : whole;
        if (rung->depth > 8)
            words[place] = (uint16_t)(whole << rung->shift);
        else
            bytes[place] = (uint8_t)whole;
    }
}

static void plane_scale(const struct kernel_plane *plane, const struct kernel_rung *rung,
                        struct row row, int stride, gpu_u64 target)
{
    const gpu_i32 *ends = at(rung->ends);
    const float *weights = at(rung->rows);
    const row_add add = row_add_choose();
    size_t width = (size_t)rung->width;
    struct columns columns;
    columns_make(rung, &columns);
    /* Weights behind the last sample are 0. */
    int16_t *samples = calloc((size_t)(row.width + columns.taps), sizeof *samples);
    float *sums = calloc(width * 5, sizeof *sums);
    if (!samples || !sums)
        abort();
    float *open = sums + width; /* the oldest first */
    int y = 0;
    for (int i = 0; i < plane->height && y < rung->height; i++, row.bytes += stride) {
        row_read(&row, samples);
        add(&columns, samples, weights + (ptrdiff_t)i * 4, sums, open, rung->width);
        while (i == ends[y]) {
            row_store(rung, target, y, open);
            memmove(open, open + width, 3 * width * sizeof *open);
            memset(open + 3 * width, 0, width * sizeof *open);
            y++;
        }
    }
    free(samples);
    free(sums);
    columns_free(&columns);
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
