#include "gpu/gpu_tone.h"

#include <stdlib.h>

#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"
#include "gpu/gpu_picture.h"

#define CORNERS    ((size_t)GPU_TONE_SIDE * GPU_TONE_SIDE * GPU_TONE_SIDE)
#define ROWS_ALIGN 256

struct gpu_tone {
    const struct gpu_driver *driver;
    const struct gpu_kernels *kernels;
    CUdeviceptr table;
    struct gpu_room made;
};

gpu_u32 *gpu_tone_pack(const uint16_t *table)
{
    gpu_u32 *words = malloc(2 * CORNERS * sizeof *words);
    for (size_t i = 0; words && i < CORNERS; i++) {
        const uint16_t *here = table + i * 3;
        const uint16_t *next = (i + 1) % GPU_TONE_SIDE ? here + 3 : here;
        words[i] = here[0] | (gpu_u32)next[0] << 16;
        words[CORNERS + i] = here[1] | (gpu_u32)here[2] << 16;
    }
    return words;
}

int gpu_tone_open(const struct gpu_kernels *kernels, const uint16_t *table, struct gpu_tone **out,
                  struct sl_failure *why)
{
    const struct gpu_driver *driver;
    const size_t bytes = 2 * CORNERS * sizeof(gpu_u32);
    int code = gpu_driver_load(&driver, why);
    if (code != SL_OK)
        return code;
    struct gpu_tone *tone = calloc(1, sizeof *tone);
    gpu_u32 *words = gpu_tone_pack(table);
    if (!tone || !words) {
        free(tone);
        free(words);
        return sl_fail(why, SL_ENOMEM, "no memory for a table of tones");
    }
    tone->driver = driver;
    tone->kernels = kernels;
    CUresult result = driver->cuda->cuMemAlloc(&tone->table, bytes);
    if (result == CUDA_SUCCESS)
        result = driver->cuda->cuMemcpyHtoD(tone->table, words, bytes);
    free(words);
    *out = tone;
    if (result == CUDA_SUCCESS)
        return SL_OK;
    gpu_tone_close(out);
    return gpu_fail(why, GPU_CUDA, (int)result, "a table of tones does not reach the GPU");
}

int gpu_tone_run(struct gpu_tone *tone, const struct gpu_tone_shape *shape,
                 struct kernel_source *picture, struct sl_failure *why)
{
    int32_t wide = (shape->width + 1) / 2, high = (shape->height + 1) / 2;
    int32_t stride = (wide * 4 + ROWS_ALIGN - 1) / ROWS_ALIGN * ROWS_ALIGN;
    size_t luma = (size_t)stride * (size_t)shape->height;
    int code = gpu_room_need(tone->driver, &tone->made, luma + (size_t)stride * (size_t)high, why);
    if (code != SL_OK)
        return code;
    struct kernel_tone_args args = {
        .lumas = tone->table,
        .chromas = tone->table + CORNERS * sizeof(gpu_u32),
        .source = *picture,
        .targets = {tone->made.at, tone->made.at + luma},
        .target_strides = {stride, stride},
        .width = shape->width,
        .height = shape->height,
        .wide = shape->wide,
        .interleaved = shape->interleaved,
        .shift = shape->shift,
        .chroma_left = shape->chroma_left,
        .chroma_top = shape->chroma_top,
    };
    const unsigned grid[3] = {((unsigned)wide + GPU_TONE_WIDE - 1) / GPU_TONE_WIDE,
                              ((unsigned)high + GPU_TONE_HIGH - 1) / GPU_TONE_HIGH, 1};
    *picture = (struct kernel_source){.planes = {args.targets[0], args.targets[1], 0},
                                      .strides = {stride, stride, 0}};
    return gpu_kernels_launch(tone->kernels, "tone", grid, GPU_TONE_THREADS, 0, &args, why);
}

void gpu_tone_close(struct gpu_tone **tone)
{
    struct gpu_tone *t = tone ? *tone : NULL;
    if (!t)
        return;
    if (t->table)
        t->driver->cuda->cuMemFree(t->table);
    gpu_room_free(t->driver, &t->made);
    free(t);
    *tone = NULL;
}
