/* The measures' truth, sample by sample. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_twins.h"

static int32_t sample(const struct kernel_measure_args *args, const uint8_t *plane, int stride,
                      int x, int y)
{
    const uint8_t *row = plane + (ptrdiff_t)y * stride;
    if (args->wide)
        return ((const uint16_t *)(const void *)row)[x * args->step] >> args->shift;
    return row[x * args->step];
}

void twin_sse(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)block;
    const struct kernel_measure_args *m = args[0];
    uint64_t *sums = (uint64_t *)(uintptr_t)m->sums;
    for (uint32_t frame = 0; frame < grid[2]; frame++) {
        const uint8_t *a = (const uint8_t *)(uintptr_t)m->a[frame];
        const uint8_t *b = (const uint8_t *)(uintptr_t)m->b[frame];
        for (int y = 0; y < m->height; y++)
            for (int x = 0; x < m->width; x++) {
                int64_t d = sample(m, a, m->stride_a, x, y) - sample(m, b, m->stride_b, x, y);
                sums[frame] += (uint64_t)(d * d);
            }
    }
}

/* Sums over the square of 4x4 samples at column x of squares and row y of them. */
struct square {
    int64_t a, b, aa_bb, ab;
};

static void squares_row(const struct kernel_measure_args *m, uint32_t frame, int y,
                        struct square *out)
{
    const uint8_t *a = (const uint8_t *)(uintptr_t)m->a[frame];
    const uint8_t *b = (const uint8_t *)(uintptr_t)m->b[frame];
    for (int x = 0; x < m->width / 4; x++) {
        struct square s = {0};
        for (int i = 0; i < 16; i++) {
            int32_t p = sample(m, a, m->stride_a, x * 4 + i % 4, y * 4 + i / 4);
            int32_t q = sample(m, b, m->stride_b, x * 4 + i % 4, y * 4 + i / 4);
            s.a += p;
            s.b += q;
            s.aa_bb += p * p + q * q;
            s.ab += p * q;
        }
        out[x] = s;
    }
}

static float window(const struct square *above, const struct square *below, int64_t c1, int64_t c2)
{
    int64_t a = above[0].a + above[1].a + below[0].a + below[1].a;
    int64_t b = above[0].b + above[1].b + below[0].b + below[1].b;
    int64_t aa_bb = above[0].aa_bb + above[1].aa_bb + below[0].aa_bb + below[1].aa_bb;
    int64_t ab = above[0].ab + above[1].ab + below[0].ab + below[1].ab;
    int64_t variances = aa_bb * 64 - a * a - b * b;
    int64_t covariance = ab * 64 - a * b;
    return (float)(2 * a * b + c1) * (float)(2 * covariance + c2) /
           ((float)(a * a + b * b + c1) * (float)(variances + c2));
}

void twin_ssim(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)block;
    const struct kernel_measure_args *m = args[0];
    uint64_t *sums = (uint64_t *)(uintptr_t)m->sums;
    size_t wide = (size_t)m->width / 4;
    struct square *rows = calloc(wide * 2 + 1, sizeof *rows);
    if (!rows)
        abort();
    for (uint32_t frame = 0; frame < grid[2]; frame++)
        for (int y = 0; y < m->height / 4; y++) {
            struct square *here = rows + (size_t)(y % 2) * wide;
            struct square *above = rows + (size_t)(1 - y % 2) * wide;
            squares_row(m, frame, y, here);
            for (size_t x = 0; y > 0 && x + 1 < wide; x++) {
                float value = window(above + x, here + x, (int64_t)m->c1, (int64_t)m->c2);
                sums[frame] += (uint64_t)(int64_t)(value * GPU_SSIM_UNIT);
            }
        }
    free(rows);
}
