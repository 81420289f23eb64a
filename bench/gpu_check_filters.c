/* The kernels that make pictures before they are scaled: tones and fields, against their twins, and their times. */
#include <stdlib.h>
#include <string.h>

#include "bench/gpu_check.h"
#include "gpu/gpu_abi.h"
#include "gpu/gpu_twins.h"

/* Pictures that the deinterlacer is turned through: more than any cache holds. */
#define FIELD_PICTURES 16

struct tone_work {
    struct kernel_tone_args args;
    unsigned grid[3];
};

static void tone_turn(void *arg, int turn)
{
    struct tone_work *work = arg;
    (void)turn;
    check_launch("tone", work->grid, GPU_TONE_THREADS, 0, &work->args);
}

/* A noisy picture of P010 through a smooth table: every byte against the twin, and the time of one picture. */
static void tones_check(FILE *report, int32_t width, int32_t height)
{
    const size_t side = GPU_TONE_SIDE, corners = side * side * side;
    const size_t luma = (size_t)width * (size_t)height * 2, bytes = luma + luma / 2;
    uint32_t *table = malloc(corners * 8);
    uint8_t *source = malloc(bytes), *truth = calloc(1, bytes), *got = malloc(bytes);
    uint64_t on_gpu[3] = {0};
    const size_t sizes[3] = {corners * 8, bytes, bytes};
    for (size_t i = 0; i < corners; i++) {
        size_t y = i % side, cb = i / side % side, cr = i / side / side;
        uint32_t low = (uint32_t)(y * 900 + cb * 90), high = low + 900;
        table[i] = (low > 65535 ? 65535 : low) | (high > 65535 ? 65535 : high) << 16;
        table[corners + i] = (uint32_t)(cb * 1000) | (uint32_t)(cr * 1000) << 16;
    }
    check_noise(source, bytes, true, 5);
    for (int i = 0; i < 3; i++)
        MUST(cuda.alloc(&on_gpu[i], sizes[i]));
    MUST(cuda.upload(on_gpu[0], table, sizes[0]));
    MUST(cuda.upload(on_gpu[1], source, bytes));
    struct tone_work work = {
        .args = {.lumas = on_gpu[0],
                 .chromas = on_gpu[0] + corners * 4,
                 .source = {.planes = {on_gpu[1], on_gpu[1] + luma},
                            .strides = {width * 2, width * 2}},
                 .targets = {on_gpu[2], on_gpu[2] + luma},
                 .target_strides = {width * 2, width * 2},
                 .width = width,
                 .height = height,
                 .wide = 1,
                 .interleaved = 1,
                 .shift = 6,
                 .chroma_left = 1},
        .grid = {((unsigned)width / 2 + GPU_TONE_WIDE - 1) / GPU_TONE_WIDE,
                 ((unsigned)height / 2 + GPU_TONE_HIGH - 1) / GPU_TONE_HIGH, 1},
    };
    struct kernel_tone_args host = work.args;
    const unsigned block[3] = {GPU_TONE_THREADS, 1, 1};
    void *params[] = {&host};
    host.lumas = (uintptr_t)table;
    host.chromas = (uintptr_t)(table + corners);
    for (int p = 0; p < 2; p++) {
        host.source.planes[p] = (uintptr_t)source + (p ? luma : 0);
        host.targets[p] = (uintptr_t)truth + (p ? luma : 0);
    }
    double before = check_now_ms();
    gpu_twin_find("tone")->run(work.grid, block, params);
    double twin_ms = check_now_ms() - before;
    tone_turn(&work, 0);
    MUST(cuda.download(got, on_gpu[2], bytes));
    bool same = memcmp(got, truth, bytes) == 0;
    if (!same)
        fprintf(stderr, "gpu-check: tone, %dx%d: not the twin's picture\n", width, height);
    check_wrong += !same;
    double gpu_ms = check_time(tone_turn, &work);
    printf("tone %dx%d: %s, %.4f ms on the GPU\n", width, height,
           same ? "equal to the twin" : "DIFFERS", gpu_ms);
    fprintf(report,
            "  \"tones\": {\"width\": %d, \"height\": %d, \"equal\": %s, \"gpu_ms\": %.5f, "
            "\"twin_ms\": %.1f},\n",
            width, height, same ? "true" : "false", gpu_ms, twin_ms);
    for (int i = 0; i < 3; i++)
        MUST(cuda.release(on_gpu[i]));
    free(table);
    free(source);
    free(truth);
    free(got);
}

/* ---- fields ---- */

struct field_work {
    struct kernel_deinterlace_args args[FIELD_PICTURES];
    unsigned grid[3];
};

static void field_turn(void *arg, int turn)
{
    struct field_work *work = arg;
    check_launch("deinterlace", work->grid, GPU_FIELDS_THREADS, 0,
                 &work->args[turn % FIELD_PICTURES]);
}

/* NV12 or P010, all of one stride; wide is 0 or 1. */
static void field_args(struct kernel_deinterlace_args *args, const uint64_t sources[3],
                       uint64_t target, int32_t width, int32_t height, int32_t wide)
{
    const int32_t stride = width << wide;
    struct kernel_source *const to[] = {&args->before, &args->here, &args->after};
    *args = (struct kernel_deinterlace_args){
        .targets = {target, target + (uint64_t)stride * (uint64_t)height},
        .target_strides = {stride, stride},
        .width = width,
        .height = height,
        .wide = wide,
        .interleaved = 1,
        .shift = wide ? 6 : 0,
        .fields = GPU_FIELDS_BETWEEN,
        .made = 1,
    };
    for (int p = 0; p < 3; p++)
        *to[p] = (struct kernel_source){
            .planes = {sources[p], sources[p] + (uint64_t)stride * (uint64_t)height},
            .strides = {stride, stride}};
}

/* Three noisy pictures, each way that fields are made: every byte against the twin; and the time of one picture. */
static void fields_check(FILE *report, int32_t width, int32_t height, int32_t wide)
{
    const size_t bytes = (size_t)width * (size_t)height * 3 / 2 << wide;
    const int count = cuda.standin ? 4 : FIELD_PICTURES;
    uint8_t *source[3], *truth = malloc(bytes), *got = malloc(bytes);
    uint64_t on_gpu[FIELD_PICTURES], made;
    struct field_work *work = calloc(1, sizeof *work);
    bool same = true;
    double twin_ms = 0;
    MUST(cuda.alloc(&made, bytes));
    for (int p = 0; p < 3; p++) {
        source[p] = malloc(bytes);
        check_noise(source[p], bytes, wide, 21);
        /* Pictures move in part: else one rule of three would be tried. */
        for (size_t i = 0; i < bytes; i += 2)
            if (i / 64 % 3 == (size_t)p)
                source[p][i + (size_t)wide] ^= 0x15;
    }
    for (int p = 0; p < count; p++) {
        MUST(cuda.alloc(&on_gpu[p], bytes));
        MUST(cuda.upload(on_gpu[p], source[p % 3], bytes));
    }
    work->grid[0] = ((unsigned)width + GPU_FIELDS_THREADS - 1) / GPU_FIELDS_THREADS;
    work->grid[1] = ((unsigned)height + 1) / 2 + ((unsigned)height / 2 + 1) / 2;
    work->grid[2] = 1;
    for (int t = 0; t < FIELD_PICTURES; t++) {
        const uint64_t sources[3] = {on_gpu[t % count], on_gpu[(t + 1) % count],
                                     on_gpu[(t + 2) % count]};
        field_args(&work->args[t], sources, made, width, height, wide);
    }
    for (int way = 0; way < 6; way++) {
        const uint64_t sources[3] = {(uintptr_t)source[0], (uintptr_t)source[1],
                                     (uintptr_t)source[2]};
        const unsigned block[3] = {GPU_FIELDS_THREADS, 1, 1};
        struct kernel_deinterlace_args host, there = work->args[0];
        void *params[] = {&host};
        field_args(&host, sources, (uintptr_t)truth, width, height, wide);
        host.fields = there.fields = GPU_FIELDS_BETWEEN - way % 3;
        host.made = there.made = 1 - way / 3;
        host.edges = there.edges = way % 2;
        double before = check_now_ms();
        gpu_twin_find("deinterlace")->run(work->grid, block, params);
        if (way == 0)
            twin_ms = check_now_ms() - before;
        MUST(cuda.fill(made, 0xee, bytes));
        check_launch("deinterlace", work->grid, GPU_FIELDS_THREADS, 0, &there);
        MUST(cuda.download(got, made, bytes));
        if (memcmp(got, truth, bytes) != 0) {
            fprintf(stderr, "gpu-check: deinterlace, %dx%d, %d bits, way %d: not the twin's\n",
                    width, height, wide ? 10 : 8, way);
            same = false;
        }
    }
    check_wrong += !same;
    double gpu_ms = check_time(field_turn, work);
    printf("deinterlace %dx%d, %d bits: %s, %.4f ms on the GPU, %.0f GB/s\n", width, height,
           wide ? 10 : 8, same ? "equal to the twin" : "DIFFERS", gpu_ms,
           4 * (double)bytes / gpu_ms / 1e6);
    fprintf(report,
            "%s{\"width\": %d, \"height\": %d, \"bits\": %d, \"equal\": %s, \"gpu_ms\": %.5f, "
            "\"twin_ms\": %.1f}",
            wide ? ", " : "", width, height, wide ? 10 : 8, same ? "true" : "false", gpu_ms,
            twin_ms);
    for (int p = 0; p < count; p++)
        MUST(cuda.release(on_gpu[p]));
    MUST(cuda.release(made));
    for (int p = 0; p < 3; p++)
        free(source[p]);
    free(truth);
    free(got);
    free(work);
}

void check_filters(FILE *report, int32_t width, int32_t height)
{
    tones_check(report, width, height);
    fprintf(report, "  \"deinterlaced\": [");
    for (int32_t wide = 0; wide < 2; wide++)
        fields_check(report, width, height, wide);
    fprintf(report, "],\n");
}
