/* The tone table's truth: pixel by pixel, each from the eight corners around its colour. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_twins.h"

static int32_t clamp(int32_t x, int32_t most)
{
    return x < 0 ? 0 : x > most ? most : x;
}

/* channel: 0 luma, 1 and 2 chroma; places outside are the border's. */
static int32_t sample(const struct kernel_tone_args *t, int channel, int32_t x, int32_t y)
{
    int plane = channel == 2 && t->interleaved ? 1 : channel;
    int32_t wide = channel ? (t->width + 1) / 2 : t->width;
    int32_t high = channel ? (t->height + 1) / 2 : t->height;
    x = clamp(x, wide - 1);
    y = clamp(y, high - 1);
    if (channel && t->interleaved)
        x = 2 * x + (channel == 2);
    const uint8_t *row = (const uint8_t *)(uintptr_t)t->source.planes[plane] +
                         (ptrdiff_t)y * t->source.strides[plane];
    if (!t->wide)
        return row[x] << 2;
    return ((const uint16_t *)(const void *)row)[x] >> t->shift & 1023;
}

/* In 1/16 levels, what lies a quarter, half or no sample from where it was taken. x, y: of luma. */
static int32_t chroma_at(const struct kernel_tone_args *t, int channel, int32_t x, int32_t y)
{
    int32_t other_x = x / 2 + (x % 2 ? 1 : -1), other_y = y / 2 + (y % 2 ? 1 : -1);
    int32_t far_x = t->chroma_left ? x % 2 * 2 : 1, far_y = t->chroma_top ? y % 2 * 2 : 1;
    int32_t above =
        sample(t, channel, x / 2, y / 2) * (4 - far_x) + sample(t, channel, other_x, y / 2) * far_x;
    int32_t below = sample(t, channel, x / 2, other_y) * (4 - far_x) +
                    sample(t, channel, other_x, other_y) * far_x;
    return above * (4 - far_y) + below * far_y;
}

static uint32_t between(uint32_t a, uint32_t b, int32_t f)
{
    return (a * (256 - (uint32_t)f) + b * (uint32_t)f + 128) >> 8;
}

/* The new sample of channel, in 16 bits, for a colour in 1/16 levels, along Y, then Cb, then Cr. */
static uint32_t mapped(const struct kernel_tone_args *t, int channel, const int32_t color[3])
{
    const uint32_t *lumas = (const uint32_t *)(uintptr_t)t->lumas;
    const uint32_t *chromas = (const uint32_t *)(uintptr_t)t->chromas;
    uint32_t values[8];
    for (int i = 0; i < 8; i++) {
        int32_t y = (color[0] >> 8) + (i & 1), cb = (color[1] >> 8) + (i >> 1 & 1);
        int32_t cr = (color[2] >> 8) + (i >> 2);
        ptrdiff_t at = ((ptrdiff_t)cr * GPU_TONE_SIDE + cb) * GPU_TONE_SIDE + y;
        values[i] = (channel ? chromas[at] >> (channel == 2 ? 16 : 0) : lumas[at]) & 0xffff;
    }
    for (int axis = 0, count = 4; axis < 3; axis++, count /= 2)
        for (int i = 0; i < count; i++)
            values[i] = between(values[2 * i], values[2 * i + 1], color[axis] & 255);
    return values[0];
}

static uint16_t word_of(uint32_t sixteen)
{
    uint32_t ten = (sixteen + 32) >> 6;
    return (uint16_t)((ten > 1023 ? 1023 : ten) << 6);
}

/* New chroma of the pixels around its place, weighed by a triangle. made: of every pixel. */
static uint16_t chroma_made(const struct kernel_tone_args *t, const uint16_t *made, int32_t cx,
                            int32_t cy)
{
    static const uint32_t weights[2][4] = {{1, 3, 3, 1}, {2, 4, 2, 0}};
    uint32_t sum = 32;
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++) {
            int32_t x = clamp(2 * cx + i - 1, t->width - 1);
            int32_t y = clamp(2 * cy + j - 1, t->height - 1);
            sum += made[(ptrdiff_t)y * t->width + x] * weights[t->chroma_left][i] *
                   weights[t->chroma_top][j];
        }
    return word_of(sum >> 6);
}

static uint16_t *row_of(const struct kernel_tone_args *t, int plane, int32_t y)
{
    uint8_t *first = (uint8_t *)(uintptr_t)t->targets[plane];
    return (uint16_t *)(void *)(first + (ptrdiff_t)y * t->target_strides[plane]);
}

void twin_tone(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)grid;
    (void)block;
    const struct kernel_tone_args *t = args[0];
    const size_t pixels = (size_t)t->width * (size_t)t->height;
    uint16_t *made = malloc(2 * pixels * sizeof *made);
    if (!made)
        abort();
    for (int32_t y = 0; y < t->height; y++)
        for (int32_t x = 0; x < t->width; x++) {
            const int32_t color[3] = {sample(t, 0, x, y) * 16, chroma_at(t, 1, x, y),
                                      chroma_at(t, 2, x, y)};
            size_t at = (size_t)y * (size_t)t->width + (size_t)x;
            row_of(t, 0, y)[x] = word_of(mapped(t, 0, color));
            made[at] = (uint16_t)mapped(t, 1, color);
            made[pixels + at] = (uint16_t)mapped(t, 2, color);
        }
    for (int32_t y = 0; y < (t->height + 1) / 2; y++)
        for (int32_t x = 0; x < (t->width + 1) / 2; x++)
            for (int c = 0; c < 2; c++)
                row_of(t, 1, y)[2 * x + c] = chroma_made(t, made + (size_t)c * pixels, x, y);
    free(made);
}
