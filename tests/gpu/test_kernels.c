/* Tables and twins against what scaling should give, and the kernels' source against the twins. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu_measure_plan.h"
#include "gpu/gpu_scale.h"
#include "gpu/gpu_tone.h"
#include "gpu/gpu_twins.h"
#include "tests/gpu/emulate.h"

struct picture {
    enum hal_layout layout;
    int32_t width, height;
    uint8_t *bytes; /* all planes in one block */
    size_t length;
    uint8_t *planes[3];
    int32_t strides[3];
};

static size_t round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

static struct picture picture_make(enum hal_layout layout, int32_t width, int32_t height)
{
    struct picture p = {.layout = layout, .width = width, .height = height};
    size_t bytes = gpu_layout_is_wide(layout) ? 2 : 1;
    bool mixed = gpu_layout_is_interleaved(layout);
    size_t half = (size_t)(width + 1) / 2, rows = (size_t)(height + 1) / 2;
    p.strides[0] = (int32_t)round_up((size_t)width * bytes, 16);
    p.strides[1] = (int32_t)round_up(half * bytes * (mixed ? 2 : 1), 16);
    p.strides[2] = mixed ? 0 : p.strides[1];
    size_t luma = (size_t)p.strides[0] * (size_t)height, chroma = (size_t)p.strides[1] * rows;
    p.length = luma + chroma * (mixed ? 1 : 2);
    p.bytes = aligned_alloc(64, round_up(p.length, 64));
    assert_non_null(p.bytes);
    memset(p.bytes, 0xee, p.length);
    p.planes[0] = p.bytes;
    p.planes[1] = p.bytes + luma;
    p.planes[2] = p.bytes + luma + (mixed ? bytes : chroma);
    return p;
}

static void picture_free(struct picture *p)
{
    free(p->bytes);
    p->bytes = NULL;
}

static int32_t plane_width(const struct picture *p, int plane)
{
    return plane ? (p->width + 1) / 2 : p->width;
}

static int32_t plane_height(const struct picture *p, int plane)
{
    return plane ? (p->height + 1) / 2 : p->height;
}

static uint8_t *sample_at(const struct picture *p, int plane, int x, int y)
{
    bool mixed = plane && gpu_layout_is_interleaved(p->layout);
    int bytes = gpu_layout_is_wide(p->layout) ? 2 : 1;
    return p->planes[plane] + (ptrdiff_t)y * p->strides[plane && mixed ? 1 : plane] +
           (ptrdiff_t)x * bytes * (mixed ? 2 : 1);
}

static int32_t get(const struct picture *p, int plane, int x, int y)
{
    const uint8_t *at = sample_at(p, plane, x, y);
    if (!gpu_layout_is_wide(p->layout))
        return *at;
    return *(const uint16_t *)(const void *)at >> gpu_layout_shift(p->layout);
}

static void set(const struct picture *p, int plane, int x, int y, int32_t value)
{
    uint8_t *at = sample_at(p, plane, x, y);
    if (!gpu_layout_is_wide(p->layout))
        *at = (uint8_t)value;
    else
        *(uint16_t *)(void *)at = (uint16_t)(value << gpu_layout_shift(p->layout));
}

typedef double (*shade)(int plane, double x, double y);

/* Chroma of MPEG-2 sits half a luma sample to the left. */
static void paint(const struct picture *p, shade of)
{
    double top = gpu_layout_is_wide(p->layout) ? 1020 : 255;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < plane_height(p, plane); y++)
            for (int x = 0; x < plane_width(p, plane); x++) {
                double u = plane ? (2 * x + 0.5) / p->width : (x + 0.5) / p->width;
                double v = plane ? (2 * y + 1.0) / p->height : (y + 0.5) / p->height;
                set(p, plane, x, y, (int32_t)lrint(of(plane, u, v) * top));
            }
}

static double smooth(int plane, double x, double y)
{
    return 0.5 + 0.35 * sin(6.0 * x + 2.0 * plane) * cos(5.0 * y + plane);
}

static double flat(int plane, double x, double y)
{
    (void)x;
    (void)y;
    return 0.3 + 0.2 * plane;
}

static uint32_t noise_state = 1;

static double noise(int plane, double x, double y)
{
    (void)plane;
    (void)x;
    (void)y;
    noise_state = noise_state * 1664525u + 1013904223u;
    return (noise_state >> 8) / 16777215.0;
}

/* ---- runs ---- */

struct ladder_run {
    struct gpu_scale_params params;
    struct gpu_scale scale;
    struct picture source, targets[GPU_RUNGS_MAX];
    struct kernel_ladder_args args;
};

static void run_open(struct ladder_run *run, shade of)
{
    struct gpu_scale_params *params = &run->params;
    struct sl_failure why = {0};
    run->source = picture_make(params->layout, params->width, params->height);
    paint(&run->source, of);
    for (int r = 0; r < params->rung_count; r++) {
        struct gpu_scale_rung *rung = &params->rungs[r];
        run->targets[r] = picture_make(rung->layout, rung->width, rung->height);
        rung->strides[0] = run->targets[r].strides[0];
        rung->strides[1] = run->targets[r].strides[1];
    }
    params->chroma_left = true;
    if (gpu_scale_make(params, &run->scale, &why) != SL_OK)
        fail_msg("%s", why.message);
    gpu_scale_place(&run->scale, (uintptr_t)run->scale.blob);
    run->args = (struct kernel_ladder_args){.ladder = (uintptr_t)run->scale.blob};
    for (int plane = 0; plane < 3; plane++) {
        run->args.sources[0].planes[plane] = (uintptr_t)run->source.planes[plane];
        run->args.sources[0].strides[plane] = run->source.strides[plane];
        for (int r = 0; r < params->rung_count; r++) {
            bool mixed = gpu_layout_is_interleaved(params->rungs[r].layout);
            uint8_t *base = run->targets[r].planes[mixed && plane == 2 ? 1 : plane];
            run->args.targets[0][r][plane] =
                (uintptr_t)base + (uint64_t)run->scale.target_offsets[r][plane];
        }
    }
}

static void run_twin(struct ladder_run *run)
{
    const struct gpu_twin *twin = gpu_twin_find(run->scale.kernel);
    assert_non_null(twin);
    void *args[] = {&run->args};
    unsigned grid[3] = {run->scale.blocks, 1, 1}, block[3] = {run->scale.threads, 1, 1};
    twin->run(grid, block, args);
}

static bool run_kernel(struct ladder_run *run)
{
    emulated_ranges_forget();
    emulated_range(run->scale.blob, run->scale.blob_bytes, 0);
    emulated_range(run->source.bytes, run->source.length, 0);
    for (int r = 0; r < run->params.rung_count; r++)
        emulated_range(run->targets[r].bytes, run->targets[r].length, 1);
    unsigned grid[3] = {run->scale.blocks, 1, 1}, block[3] = {run->scale.threads, 1, 1};
    return emulated_launch(run->scale.kernel, grid, block, run->scale.shared_bytes, &run->args);
}

static void run_close(struct ladder_run *run)
{
    picture_free(&run->source);
    for (int r = 0; r < run->params.rung_count; r++)
        picture_free(&run->targets[r]);
    gpu_scale_free(&run->scale);
}

/* ---- the tables and the twin ---- */

static void test_a_flat_picture_stays_flat(void **state)
{
    (void)state;
    static const enum hal_layout layouts[] = {HAL_NV12, HAL_I420, HAL_P010, HAL_I420_10};
    for (size_t i = 0; i < 4; i++) {
        struct ladder_run run = {
            .params = {.layout = layouts[i],
                       .width = 322,
                       .height = 182,
                       .rung_count = 3,
                       .rungs = {{HAL_NV12, 214, 120}, {HAL_P010, 160, 90}, {HAL_NV12, 32, 18}}}};
        run_open(&run, flat);
        run_twin(&run);
        for (int r = 0; r < 3; r++)
            for (int plane = 0; plane < 3; plane++)
                for (int y = 0; y < plane_height(&run.targets[r], plane); y++)
                    for (int x = 0; x < plane_width(&run.targets[r], plane); x++) {
                        int32_t from = get(&run.source, plane, 0, 0);
                        int32_t value = get(&run.targets[r], plane, x, y);
                        int32_t up = gpu_layout_is_wide(layouts[i]) ? 0 : 2;
                        int32_t down = gpu_layout_is_wide(run.targets[r].layout) ? 0 : 2;
                        /* Dither may show the fraction that eight bits lose, and nothing else. */
                        int32_t low = from << up >> down;
                        bool exact = (low << down) == from << up;
                        if (value != low && (exact || value != low + 1))
                            fail_msg("layout %d, rung %d, plane %d: %d at %d,%d from %d",
                                     (int)layouts[i], r, plane, value, x, y, from);
                    }
        run_close(&run);
    }
}

static double error_max(const struct ladder_run *run, int r, shade of)
{
    const struct picture *p = &run->targets[r];
    double top = gpu_layout_is_wide(p->layout) ? 1020 : 255, worst = 0;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 2; y < plane_height(p, plane) - 2; y++)
            for (int x = 2; x < plane_width(p, plane) - 2; x++) {
                double u = plane ? (2 * x + 0.5) / p->width : (x + 0.5) / p->width;
                double v = plane ? (2 * y + 1.0) / p->height : (y + 0.5) / p->height;
                double a = u, b = v;
                if (run->params.rotation_degrees == 90) {
                    a = v;
                    b = 1 - u;
                } else if (run->params.rotation_degrees == 180) {
                    a = 1 - u;
                    b = 1 - v;
                } else if (run->params.rotation_degrees == 270) {
                    a = 1 - v;
                    b = u;
                }
                if (run->params.mirrored)
                    a = 1 - a;
                double error = fabs(get(p, plane, x, y) - of(plane, a, b) * top) * 255 / top;
                worst = error > worst ? error : worst;
            }
    return worst;
}

static void test_scaled_turned_and_mirrored_pictures_show_the_same_scene(void **state)
{
    (void)state;
    for (int turn = 0; turn < 8; turn++) {
        bool upright = turn % 4 % 2 == 0;
        struct ladder_run run = {.params = {.layout = turn < 4 ? HAL_NV12 : HAL_P010,
                                            .width = 640,
                                            .height = 360,
                                            .rotation_degrees = turn % 4 * 90,
                                            .mirrored = turn >= 4,
                                            .rung_count = 3}};
        static const int32_t sizes[3][2] = {{426, 240}, {320, 180}, {128, 72}};
        for (int r = 0; r < 3; r++)
            run.params.rungs[r] = (struct gpu_scale_rung){
                r == 1 ? HAL_P010 : HAL_NV12, sizes[r][!upright], sizes[r][upright], {0, 0}};
        run_open(&run, smooth);
        run_twin(&run);
        for (int r = 0; r < 3; r++) {
            /* Half a step of the source's rounding and of the target's, and dither; a quarter of a chroma sample off
             * would add 1.5 at the smallest rung. */
            double error = error_max(&run, r, smooth), most = r == 1 ? 0.7 : 1.2;
            if (error > most)
                fail_msg("turn %d%s, rung %d: off by %.2f", turn % 4 * 90,
                         run.params.mirrored ? " mirrored" : "", r, error);
        }
        run_close(&run);
    }
}

static void test_the_same_size_is_the_same_picture(void **state)
{
    (void)state;
    struct ladder_run run = {.params = {.layout = HAL_NV12,
                                        .width = 98,
                                        .height = 66,
                                        .rung_count = 1,
                                        .rungs = {{HAL_NV12, 98, 66}}}};
    run_open(&run, noise);
    run_twin(&run);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < plane_height(&run.source, plane); y++)
            for (int x = 0; x < plane_width(&run.source, plane); x++)
                assert_int_equal(get(&run.source, plane, x, y), get(&run.targets[0], plane, x, y));
    run_close(&run);
}

/* ---- the kernel ---- */

struct shape {
    enum hal_layout layout;
    int32_t width, height, crop[4], turn;
    bool mirrored;
    int32_t batch, rung_count;
    struct gpu_scale_rung rungs[GPU_RUNGS_MAX];
};

static const struct shape shapes[] = {
    /* the usual ladder, at a quarter of the size */
    {HAL_NV12,
     960,
     540,
     {0},
     0,
     false,
     1,
     4,
     {{HAL_NV12, 480, 270}, {HAL_NV12, 320, 180}, {HAL_NV12, 214, 120}, {HAL_NV12, 160, 90}}},
    /* as many blocks as a batch leaves; eight rungs of both depths */
    {HAL_NV12,
     640,
     360,
     {0},
     0,
     false,
     8,
     8,
     {{HAL_NV12, 640, 360},
      {HAL_P010, 480, 270},
      {HAL_NV12, 426, 240},
      {HAL_NV12, 320, 180},
      {HAL_I420, 256, 144},
      {HAL_I420_10, 192, 108},
      {HAL_NV12, 128, 72},
      {HAL_NV12, 64, 36}}},
    {HAL_P010,
     642,
     362,
     {0},
     0,
     false,
     1,
     3,
     {{HAL_NV12, 426, 240}, {HAL_P010, 320, 180}, {HAL_I420, 106, 60}}},
    {HAL_I420, 321, 183, {0}, 0, false, 2, 2, {{HAL_NV12, 160, 90}, {HAL_I420, 106, 60}}},
    {HAL_I420_10,
     330,
     190,
     {5, 3, 6, 2},
     0,
     false,
     2,
     2,
     {{HAL_P010, 160, 90}, {HAL_NV12, 80, 46}}},
    {HAL_NV12, 320, 180, {0}, 90, false, 1, 2, {{HAL_NV12, 90, 160}, {HAL_NV12, 66, 118}}},
    {HAL_NV12, 320, 180, {0, 2, 0, 2}, 270, true, 1, 2, {{HAL_NV12, 90, 160}, {HAL_P010, 66, 118}}},
    {HAL_P010, 320, 180, {0}, 180, false, 1, 2, {{HAL_P010, 160, 90}, {HAL_NV12, 118, 66}}},
    /* ratios of 15 and 11 */
    {HAL_NV12, 960, 540, {0}, 0, false, 1, 2, {{HAL_NV12, 64, 36}, {HAL_NV12, 88, 48}}},
    /* square samples of a narrow picture */
    {HAL_NV12, 352, 288, {0}, 0, false, 1, 2, {{HAL_NV12, 384, 288}, {HAL_NV12, 192, 144}}},
    /* few columns of few rungs, and a source wider than their threads could fetch a row of */
    {HAL_P010, 1920, 128, {0}, 0, false, 1, 1, {{HAL_P010, 128, 10}}},
    {HAL_NV12, 16, 16, {0}, 0, false, 1, 2, {{HAL_NV12, 16, 16}, {HAL_NV12, 2, 2}}},
};

static void test_the_kernel_does_what_its_twin_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *shape = &shapes[i];
        struct ladder_run run = {.params = {.layout = shape->layout,
                                            .width = shape->width,
                                            .height = shape->height,
                                            .crop_left = shape->crop[0],
                                            .crop_top = shape->crop[1],
                                            .crop_right = shape->crop[2],
                                            .crop_bottom = shape->crop[3],
                                            .rotation_degrees = shape->turn,
                                            .mirrored = shape->mirrored,
                                            .batch = shape->batch,
                                            .full_range = i % 3 == 2,
                                            .rung_count = shape->rung_count}};
        memcpy(run.params.rungs, shape->rungs, sizeof run.params.rungs);
        noise_state = (uint32_t)i + 1;
        run_open(&run, noise);
        run_twin(&run);
        uint8_t *truth[GPU_RUNGS_MAX];
        for (int r = 0; r < shape->rung_count; r++) {
            truth[r] = malloc(run.targets[r].length);
            memcpy(truth[r], run.targets[r].bytes, run.targets[r].length);
            memset(run.targets[r].bytes, 0xee, run.targets[r].length);
        }
        bool ran = run_kernel(&run);
        for (int r = 0; r < shape->rung_count; r++) {
            for (size_t b = 0; ran && b < run.targets[r].length; b++)
                if (truth[r][b] != run.targets[r].bytes[b])
                    fail_msg("shape %zu, rung %d of %dx%d: byte %zu is %d, the twin says %d (%s)",
                             i, r, shape->rungs[r].width, shape->rungs[r].height, b,
                             run.targets[r].bytes[b], truth[r][b], run.scale.kernel);
            free(truth[r]);
        }
        run_close(&run);
        if (!ran) {
            print_message("no C++ compiler was there to run the kernels on the host\n");
            skip();
        }
    }
}

static void test_what_it_cannot_scale_is_refused_by_name(void **state)
{
    (void)state;
    struct sl_failure why = {0};
    struct gpu_scale scale;
    struct gpu_scale_params params = {.layout = HAL_NV12,
                                      .width = 1920,
                                      .height = 1080,
                                      .rung_count = 1,
                                      .rungs = {{HAL_NV12, 64, 36, {64, 64}}}};
    assert_int_equal(gpu_scale_make(&params, &scale, &why), SL_EUNSUPPORTED);
    assert_string_equal(why.message,
                        "the GPU's scaler makes pictures up to 15 times smaller, not 30.0 times");
    params.rungs[0] = (struct gpu_scale_rung){HAL_NV12, 1920, 1440, {1920, 1920}};
    assert_int_equal(gpu_scale_make(&params, &scale, &why), SL_EUNSUPPORTED);
    assert_string_equal(why.message,
                        "the GPU's scaler makes no picture higher than its source's 1080 rows");
    params.rungs[0] = (struct gpu_scale_rung){HAL_NV12, 641, 360, {704, 704}};
    assert_int_equal(gpu_scale_make(&params, &scale, &why), SL_EINVAL);
}

/* Whatever the alignment, the step and the edges that no vector or window covers. */
static void test_the_measures_do_what_their_twins_do(void **state)
{
    (void)state;
    static const struct {
        int32_t width, height, step, depth, shift;
    } planes[] = {{322, 182, 1, 8, 0},  {256, 64, 1, 8, 0},  {161, 91, 2, 8, 0},
                  {322, 182, 1, 10, 6}, {161, 91, 2, 10, 6}, {133, 37, 1, 10, 0},
                  {7, 5, 1, 8, 0},      {3, 3, 1, 8, 0}};
    bool ran = true;
    for (size_t i = 0; ran && i < sizeof planes / sizeof *planes; i++) {
        struct kernel_measure_args args;
        unsigned grids[2][3], block[3] = {GPU_MEASURE_THREADS, 1, 1};
        int32_t bytes = planes[i].depth > 8 ? 2 : 1;
        int32_t stride = (planes[i].width * planes[i].step * bytes + 15) / 16 * 16;
        size_t length = (size_t)stride * (size_t)planes[i].height;
        gpu_measure_shape(planes[i].width, planes[i].height, planes[i].step, planes[i].depth,
                          planes[i].shift, &args);
        gpu_measure_grids(&args, 2, grids[0], grids[1]);
        uint8_t *pictures[4];
        emulated_ranges_forget();
        for (int p = 0; p < 4; p++) {
            pictures[p] = aligned_alloc(16, length);
            for (size_t b = 0; b < length; b++)
                pictures[p][b] = (uint8_t)(noise(0, 0, 0) * 255) &
                                 (planes[i].depth > 8 && !planes[i].shift && b % 2 ? 3 : 255);
            emulated_range(pictures[p], length, 0);
        }
        for (int p = 0; p < 2; p++) {
            args.a[p] = (uintptr_t)pictures[p];
            args.b[p] = (uintptr_t)pictures[2 + p];
        }
        args.stride_a = args.stride_b = stride;
        static const char *const names[] = {"sse", "ssim"};
        for (int k = 0; k < 2; k++) {
            uint64_t sums[2][2] = {{0}};
            void *params[] = {&args};
            emulated_range(sums[1], sizeof sums[1], 1);
            args.sums = (uintptr_t)sums[0];
            gpu_twin_find(names[k])->run(grids[k], block, params);
            args.sums = (uintptr_t)sums[1];
            ran = emulated_launch(names[k], grids[k], block, 0, &args);
            for (int p = 0; ran && p < 2; p++)
                if (sums[0][p] != sums[1][p])
                    fail_msg("%s of plane %zu: %lld, the twin says %lld", names[k], i,
                             (long long)sums[1][p], (long long)sums[0][p]);
        }
        for (int p = 0; p < 4; p++)
            free(pictures[p]);
    }
    if (!ran) {
        print_message("no C++ compiler was there to run the kernels on the host\n");
        skip();
    }
}

/* Both layouts, chroma at every place, odd sizes, a table of noise: kernel and twin byte by byte. */
static void test_the_tones_do_what_their_twin_does(void **state)
{
    (void)state;
    const size_t corners = (size_t)GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE;
    uint16_t *table = calloc(corners * 3, sizeof *table);
    assert_non_null(table);
    for (size_t i = 0; i < corners * 3; i++)
        table[i] = (uint16_t)(noise((int)(i % 3), 0, 0) * 65535);
    gpu_u32 *words = gpu_tone_pack(table);
    assert_non_null(words);
    for (int turn = 0; turn < 16; turn++) {
        static const enum hal_layout layouts[] = {HAL_I420_10, HAL_P010, HAL_I420, HAL_NV12};
        enum hal_layout layout = layouts[(turn & 1) + (turn >> 3) * 2];
        int32_t width = turn & 2 ? 275 : 34, height = turn & 4 ? 17 : 10;
        struct picture from = picture_make(layout, width, height);
        struct picture made[2] = {picture_make(HAL_P010, width, height),
                                  picture_make(HAL_P010, width, height)};
        paint(&from, noise);
        struct kernel_tone_args args = {
            .lumas = (uintptr_t)words,
            .chromas = (uintptr_t)(words + corners),
            .width = width,
            .height = height,
            .wide = gpu_layout_is_wide(layout),
            .interleaved = gpu_layout_is_interleaved(layout),
            .shift = gpu_layout_shift(layout),
            .chroma_left = turn >> 1 & 1,
            .chroma_top = turn >> 2 & 1,
        };
        for (int p = 0; p < 3; p++) {
            args.source.planes[p] = (uintptr_t)from.planes[p];
            args.source.strides[p] = from.strides[p];
        }
        const unsigned grid[3] = {((unsigned)width / 2 + GPU_TONE_WIDE) / GPU_TONE_WIDE,
                                  ((unsigned)height / 2 + GPU_TONE_HIGH) / GPU_TONE_HIGH, 1};
        const unsigned block[3] = {GPU_TONE_THREADS, 1, 1};
        emulated_ranges_forget();
        emulated_range(words, 2 * corners * sizeof *words, 0);
        emulated_range(from.bytes, from.length, 0);
        emulated_range(made[1].bytes, made[1].length, 1);
        int ran = 1;
        for (int i = 0; i < 2; i++) {
            for (int p = 0; p < 2; p++) {
                args.targets[p] = (uintptr_t)made[i].planes[p];
                args.target_strides[p] = made[i].strides[p];
            }
            void *params[] = {&args};
            if (i == 0)
                gpu_twin_find("tone")->run(grid, block, params);
            else
                ran = emulated_launch("tone", grid, block, 0, &args);
        }
        if (ran && memcmp(made[0].bytes, made[1].bytes, made[0].length) != 0)
            fail_msg("turn %d: the kernel's picture is not its twin's", turn);
        picture_free(&from);
        picture_free(&made[0]);
        picture_free(&made[1]);
    }
    free(words);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flat_picture_stays_flat),
        cmocka_unit_test(test_scaled_turned_and_mirrored_pictures_show_the_same_scene),
        cmocka_unit_test(test_the_same_size_is_the_same_picture),
        cmocka_unit_test(test_the_kernel_does_what_its_twin_does),
        cmocka_unit_test(test_what_it_cannot_scale_is_refused_by_name),
        cmocka_unit_test(test_the_measures_do_what_their_twins_do),
        cmocka_unit_test(test_the_tones_do_what_their_twin_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
