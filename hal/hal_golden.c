#include "hal/hal_golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The ground is this much larger than the picture and pans within it. */
#define MARGIN      128
#define PATCHES     4
#define PATCH       96
#define GRAIN_BYTES 4096 /* a power of two */

struct hal_golden {
    enum hal_layout layout;
    int32_t width, height;
    int32_t ground_width; /* the ground is (width + MARGIN) x (height + MARGIN), 10 bit */
    uint16_t *ground;
    int8_t grain[GRAIN_BYTES];
    uint8_t *picture;
    int32_t number; /* of the picture painted last; -1: none */
    struct hal_frame frame;
};

static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* Value noise: corners of a grid of cells are random, what lies between is bilinear. 0 … 255. */
static int32_t noise(int32_t x, int32_t y, int32_t cell, uint32_t octave)
{
    int32_t cx = x / cell, cy = y / cell, fx = x % cell, fy = y % cell;
    int32_t corner[4];
    for (int32_t i = 0; i < 4; i++)
        corner[i] = (int32_t)(mix((uint32_t)(cx + (i & 1)) * 0x9e3779b1u ^
                                  (uint32_t)(cy + (i >> 1)) * 0x85ebca77u ^ octave) &
                              255);
    int32_t top = corner[0] * (cell - fx) + corner[1] * fx;
    int32_t bottom = corner[2] * (cell - fx) + corner[3] * fx;
    return (top * (cell - fy) + bottom * fy) / (cell * cell);
}

static void ground_paint(struct hal_golden *g, int32_t ground_height)
{
    for (int32_t y = 0; y < ground_height; y++)
        for (int32_t x = 0; x < g->ground_width; x++) {
            int32_t value = 0;
            /* 4 + 4 * 3 shares of 0 … 255 make 0 … 4080. */
            for (int32_t cell = 64; cell >= 4; cell /= 2)
                value += noise(x, y, cell, (uint32_t)cell) * (cell == 64 ? 4 : 3);
            g->ground[(ptrdiff_t)y * g->ground_width + x] = (uint16_t)(80 + value / 5);
        }
}

static int sample_bytes(enum hal_layout layout)
{
    return layout == HAL_I420_10 || layout == HAL_P010 ? 2 : 1;
}

static bool is_interleaved(enum hal_layout layout)
{
    return layout == HAL_NV12 || layout == HAL_P010;
}

int hal_golden_open(enum hal_layout layout, int32_t width, int32_t height, struct hal_golden **out)
{
    if ((unsigned)layout >= HAL_LAYOUT_COUNT || width < 16 || height < 16 || width > 8192 ||
        height > 8192 || width % 2 || height % 2)
        return SL_EINVAL;
    struct hal_golden *g = calloc(1, sizeof *g);
    if (!g)
        return SL_ENOMEM;
    g->layout = layout;
    g->width = width;
    g->height = height;
    g->ground_width = width + MARGIN;
    g->number = -1;
    size_t samples = (size_t)width * (size_t)height;
    g->ground = malloc((size_t)g->ground_width * (size_t)(height + MARGIN) * sizeof *g->ground);
    g->picture = malloc(samples * 3 / 2 * (size_t)sample_bytes(layout));
    if (!g->ground || !g->picture) {
        hal_golden_close(&g);
        return SL_ENOMEM;
    }
    ground_paint(g, height + MARGIN);
    for (uint32_t i = 0; i < GRAIN_BYTES; i++)
        g->grain[i] = (int8_t)((int32_t)(mix(i + 0x51u) % 13) - 6);

    size_t wide = (size_t)sample_bytes(layout);
    g->frame = (struct hal_frame){.layout = layout, .width = width, .height = height};
    g->frame.planes[0] = g->picture;
    g->frame.stride_bytes[0] = (size_t)width * wide;
    g->frame.planes[1] = g->picture + samples * wide;
    if (is_interleaved(layout)) {
        g->frame.stride_bytes[1] = (size_t)width * wide;
    } else {
        g->frame.planes[2] = g->picture + samples * 5 / 4 * wide;
        g->frame.stride_bytes[1] = g->frame.stride_bytes[2] = (size_t)width / 2 * wide;
    }
    *out = g;
    return SL_OK;
}

void hal_golden_close(struct hal_golden **golden)
{
    if (!golden || !*golden)
        return;
    free((*golden)->ground);
    free((*golden)->picture);
    free(*golden);
    *golden = NULL;
}

/* There and back again over 0 … most, step a frame. */
static int32_t swing(int32_t at, int32_t most)
{
    if (most <= 0)
        return 0;
    at %= 2 * most;
    return at < most ? at : 2 * most - at;
}

/* value: 10 bit, of plane (0 luma, 1 and 2 chroma). P010 keeps them in the upper bits. */
static void sample_put(struct hal_golden *g, int plane, int32_t x, int32_t y, int32_t value)
{
    bool together = plane > 0 && is_interleaved(g->layout);
    uint8_t *row = (uint8_t *)(uintptr_t)g->frame.planes[together ? 1 : plane] +
                   (size_t)y * g->frame.stride_bytes[together ? 1 : plane];
    size_t at = together ? (size_t)x * 2 + (size_t)(plane - 1) : (size_t)x;
    if (sample_bytes(g->layout) == 1)
        row[at] = (uint8_t)(value >> 2);
    else
        ((uint16_t *)(void *)row)[at] = (uint16_t)(g->layout == HAL_P010 ? value << 6 : value);
}

static void luma_paint(struct hal_golden *g, int32_t number)
{
    int32_t pan_x = swing(number * 3, MARGIN - 1), pan_y = swing(number, MARGIN - 1);
    int32_t left[PATCHES], top[PATCHES];
    for (int32_t i = 0; i < PATCHES; i++) {
        left[i] = swing(number * (2 + i) + i * 251, g->width - PATCH);
        top[i] = swing(number * (3 - i % 3) + i * 173, g->height - PATCH);
    }
    uint32_t grain = mix((uint32_t)number + 7);
    for (int32_t y = 0; y < g->height; y++) {
        const uint16_t *from = g->ground + (ptrdiff_t)(y + pan_y) * g->ground_width + pan_x;
        uint32_t at = grain + mix((uint32_t)y);
        for (int32_t x = 0; x < g->width; x++) {
            int32_t value = from[x];
            for (int32_t i = 0; i < PATCHES; i++)
                if (x >= left[i] && x < left[i] + PATCH && y >= top[i] && y < top[i] + PATCH)
                    value = 1000 - value + ((x - left[i]) & 8) * 4;
            value += g->grain[(at + (uint32_t)x) & (GRAIN_BYTES - 1)];
            sample_put(g, 0, x, y, value < 64 ? 64 : value > 940 ? 940 : value);
        }
    }
}

static void chroma_paint(struct hal_golden *g, int32_t number)
{
    for (int plane = 1; plane < 3; plane++)
        for (int32_t y = 0; y < g->height / 2; y++)
            for (int32_t x = 0; x < g->width / 2; x++)
                sample_put(g, plane, x, y,
                           384 + swing(plane == 1 ? x + number : y + 2 * number, 256));
}

const struct hal_frame *hal_golden_frame(struct hal_golden *g, int32_t number)
{
    if (g->number != number) {
        luma_paint(g, number);
        chroma_paint(g, number);
        g->number = number;
    }
    g->frame.pts = number;
    g->frame.force_idr = number == 0;
    return &g->frame;
}

static int32_t sample_get(const struct hal_frame *frame, const uint8_t *row, int32_t x)
{
    if (sample_bytes(frame->layout) == 1)
        return row[x];
    int32_t value = ((const uint16_t *)(const void *)row)[x];
    return frame->layout == HAL_P010 ? value >> 6 : value;
}

double hal_golden_psnr(struct hal_golden *g, int32_t number, const struct hal_frame *got)
{
    if (got->width != g->width || got->height != g->height ||
        sample_bytes(got->layout) != sample_bytes(g->layout))
        return 0;
    const struct hal_frame *want = hal_golden_frame(g, number);
    int64_t sum = 0;
    for (int32_t y = 0; y < g->height; y++) {
        const uint8_t *a = want->planes[0] + (size_t)y * want->stride_bytes[0];
        const uint8_t *b = got->planes[0] + (size_t)y * got->stride_bytes[0];
        for (int32_t x = 0; x < g->width; x++) {
            int64_t d = sample_get(want, a, x) - sample_get(got, b, x);
            sum += d * d;
        }
    }
    if (sum == 0)
        return 100;
    double peak = sample_bytes(g->layout) == 1 ? 255 : 1023;
    return 10 * log10(peak * peak * g->width * g->height / (double)sum);
}
