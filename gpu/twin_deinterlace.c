/* The deinterlacer's truth: row by row of every channel, as libavfilter's bwdif has it with one picture out for each in. */
#ifndef __clang__
#pragma GCC optimize("O3")
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_twins.h"

enum picture { BEFORE, HERE, AFTER };

/* Y, Cb or Cr of the three pictures. */
struct channel {
    const uint8_t *first[3]; /* samples of the pictures */
    ptrdiff_t strides[3];
    uint8_t *target;
    ptrdiff_t target_stride;
    int32_t width, height;
    int32_t target_step; /* in samples */
};

/* How samples lie; known when a row's loop is compiled. */
struct lie {
    bool wide;
    int step, shift;
};

static inline int32_t get(struct lie lie, const uint8_t *row, int32_t x)
{
    return lie.wide ? ((const uint16_t *)(const void *)row)[x * lie.step] >> lie.shift
                    : row[x * lie.step];
}

static inline int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t distance(int32_t a, int32_t b)
{
    return a > b ? a - b : b - a;
}

static const uint8_t *row_of(const struct channel *c, enum picture picture, int32_t y)
{
    return c->first[picture] + (ptrdiff_t)y * c->strides[picture];
}

/* Rows beside row y, and those three away. libavfilter counts bytes of a sample where it asks whether they are in the
 * picture, so that of 16-bit samples more rows are taken for the edge's. */
static void beside(int32_t y, int32_t height, bool wide, int32_t near[2], int32_t far[2])
{
    int32_t by = wide ? 2 : 1;
    near[0] = y >= by ? y - 1 : y + 1;
    near[1] = y + by < height ? y + 1 : y - 1;
    far[0] = y >= 3 * by ? y - 3 : y + 1;
    far[1] = y + 3 * by < height ? y + 3 : y - 1;
}

static inline int32_t limited(int32_t value, bool wide)
{
    return smaller(larger(value, 0), wide ? 1023 : 255);
}

static inline __attribute__((always_inline)) void row_alone(const struct channel *c, struct lie lie,
                                                            int32_t y, int32_t *out)
{
    int32_t near[2], far[2];
    const uint8_t *ones[2], *threes[2];
    beside(y, c->height, lie.wide, near, far);
    for (int i = 0; i < 2; i++) {
        ones[i] = row_of(c, HERE, near[i]);
        threes[i] = row_of(c, HERE, far[i]);
    }
    for (int32_t x = 0; x < c->width; x++) {
        int32_t one = get(lie, ones[0], x) + get(lie, ones[1], x);
        int32_t three = get(lie, threes[0], x) + get(lie, threes[1], x);
        int32_t sum = GPU_FIELDS_NEAR_1 * one - GPU_FIELDS_NEAR_3 * three;
        out[x] = limited(sum >> GPU_FIELDS_ONE, lie.wide);
    }
}

/* The field that goes was filmed between the picture before and this one: what it has at these places in both, and how much
 * there is of movement, bounds what the rows around would have it be. */
static inline __attribute__((always_inline)) void
row_between(const struct channel *c, struct lie lie, int32_t y, int32_t *out)
{
    const bool has_two = y >= 2 && y + 3 <= c->height, has_four = y >= 4 && y + 5 <= c->height;
    int32_t near[2], far[2];
    beside(y, c->height, lie.wide, near, far);
    const uint8_t *ones[3][2], *threes[2], *twos[2][2], *fours[2][2];
    const uint8_t *then[2] = {row_of(c, BEFORE, y), row_of(c, HERE, y)};
    for (int i = 0; i < 2; i++) {
        for (int p = BEFORE; p <= AFTER; p++)
            ones[p][i] = row_of(c, (enum picture)p, near[i]);
        threes[i] = row_of(c, HERE, has_four ? (i ? y + 3 : y - 3) : y);
        for (int p = BEFORE; p <= HERE; p++) {
            twos[p][i] = row_of(c, (enum picture)p, has_two ? (i ? y + 2 : y - 2) : y);
            fours[p][i] = row_of(c, (enum picture)p, has_four ? (i ? y + 4 : y - 4) : y);
        }
    }
    for (int32_t x = 0; x < c->width; x++) {
        int32_t above = get(lie, ones[HERE][0], x), below = get(lie, ones[HERE][1], x);
        int32_t early = get(lie, then[0], x), late = get(lie, then[1], x);
        int32_t middle = (early + late) >> 1, moved = distance(early, late);
        int32_t was = (distance(get(lie, ones[BEFORE][0], x), above) +
                       distance(get(lie, ones[BEFORE][1], x), below)) >>
                      1;
        int32_t will = (distance(get(lie, ones[AFTER][0], x), above) +
                        distance(get(lie, ones[AFTER][1], x), below)) >>
                       1;
        int32_t room = larger(moved >> 1, larger(was, will));
        if (room == 0) {
            out[x] = middle;
            continue;
        }
        int32_t two[2];
        for (int i = 0; i < 2; i++)
            two[i] = get(lie, twos[BEFORE][i], x) + get(lie, twos[HERE][i], x);
        if (has_two) {
            int32_t up = (two[0] >> 1) - above, down = (two[1] >> 1) - below;
            int32_t from_above = middle - above, from_below = middle - below;
            int32_t most = larger(larger(from_above, from_below), smaller(up, down));
            int32_t least = smaller(smaller(from_above, from_below), larger(up, down));
            room = larger(room, larger(least, -most));
        }
        int32_t guess = (above + below) >> 1;
        if (has_four) {
            int32_t one = above + below, three = get(lie, threes[0], x) + get(lie, threes[1], x);
            int32_t four = get(lie, fours[BEFORE][0], x) + get(lie, fours[HERE][0], x) +
                           get(lie, fours[BEFORE][1], x) + get(lie, fours[HERE][1], x);
            int32_t fine = GPU_FIELDS_FINE_0 * (early + late) -
                           GPU_FIELDS_FINE_2 * (two[0] + two[1]) + GPU_FIELDS_FINE_4 * four;
            guess = distance(above, below) > moved
                        ? (fine >> 2) + GPU_FIELDS_COARSE_1 * one - GPU_FIELDS_COARSE_3 * three
                        : GPU_FIELDS_NEAR_1 * one - GPU_FIELDS_NEAR_3 * three;
            guess >>= GPU_FIELDS_ONE;
        }
        guess = larger(smaller(guess, middle + room), middle - room);
        out[x] = limited(guess, lie.wide);
    }
}

static inline __attribute__((always_inline)) void
channel_make(const struct channel *c, const struct kernel_deinterlace_args *args, struct lie lie)
{
    int32_t values[256]; /* a stretch of a row at a time */
    for (int32_t y = 0; y < c->height; y++) {
        const bool at_edge = args->edges && (y < 3 || y + 3 >= c->height);
        for (int32_t left = 0; left < c->width; left += 256) {
            struct channel part = *c;
            part.width = smaller(256, c->width - left);
            for (int p = BEFORE; p <= AFTER; p++)
                part.first[p] += (ptrdiff_t)left * lie.step * (lie.wide ? 2 : 1);
            if (args->fields == GPU_FIELDS_WHOLE || (y & 1) != args->made)
                for (int32_t x = 0; x < part.width; x++)
                    values[x] = get(lie, row_of(&part, HERE, y), x);
            else if (args->fields == GPU_FIELDS_ALONE && !at_edge)
                row_alone(&part, lie, y, values);
            else
                row_between(&part, lie, y, values);
            uint8_t *row = c->target + (ptrdiff_t)y * c->target_stride;
            uint16_t *words = (uint16_t *)(void *)row;
            for (int32_t x = 0; x < part.width; x++)
                if (lie.wide)
                    words[(left + x) * c->target_step] = (uint16_t)(values[x] << 6);
                else
                    row[(left + x) * c->target_step] = (uint8_t)values[x];
        }
    }
}

void twin_deinterlace(const unsigned grid[3], const unsigned block[3], void **args)
{
    (void)grid;
    (void)block;
    const struct kernel_deinterlace_args *d = args[0];
    const struct kernel_source *pictures[3] = {&d->before, &d->here, &d->after};
    for (int number = 0; number < 3; number++) {
        const int plane = number == 2 && d->interleaved ? 1 : number;
        const ptrdiff_t bytes = d->wide ? 2 : 1, second = number == 2 ? bytes : 0;
        struct channel c = {
            .target = (uint8_t *)(uintptr_t)d->targets[number > 0] + second,
            .target_stride = d->target_strides[number > 0],
            .width = number ? (d->width + 1) / 2 : d->width,
            .height = number ? (d->height + 1) / 2 : d->height,
            .target_step = number ? 2 : 1,
        };
        for (int p = BEFORE; p <= AFTER; p++) {
            c.first[p] = (const uint8_t *)(uintptr_t)pictures[p]->planes[plane] +
                         (d->interleaved ? second : 0);
            c.strides[p] = pictures[p]->strides[plane];
        }
        const bool pairs = number && d->interleaved;
        if (d->wide && pairs)
            channel_make(&c, d, (struct lie){true, 2, d->shift});
        else if (d->wide)
            channel_make(&c, d, (struct lie){true, 1, d->shift});
        else if (pairs)
            channel_make(&c, d, (struct lie){false, 2, 0});
        else
            channel_make(&c, d, (struct lie){false, 1, 0});
    }
}
