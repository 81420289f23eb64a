/* make gpu-check: kernels against their twins, and their times, on a real GPU; gpu-report.json says what was seen.
 *
 * gpu_check IMAGE MADE_BY REPORT: the kernels' image, its compiler's name, the report to write.
 * Exit: 0 all that was seen is right; 1 something is wrong; 77 there is no GPU.
 */
#include "bench/gpu_check.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu/gpu_measure_plan.h"
#include "gpu/gpu_scale.h"
#include "gpu/gpu_twins.h"

#define SKIPPED         77
#define TIMES_MAX       64
#define SETS_BYTES      (768u << 20) /* pictures that are rotated through: far more than any cache */
#define COPY_BYTES      (1u << 30)
#define ATTRIBUTE_MAJOR 75
#define ATTRIBUTE_MINOR 76
#define ATTRIBUTE_CORES 16
#define ATTRIBUTE_L2    38

struct check_cuda cuda;

static void *module;
int check_wrong;
static int rounds; /* of each timing */

void check_must(int result, const char *call)
{
    if (result == 0)
        return;
    fprintf(stderr, "gpu-check: %s failed with CUDA error %d\n", call, result);
    exit(1);
}

double check_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- the driver ---- */

static bool driver_load(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib)
        return false;
    const struct {
        const char *name;
        void *to;
    } all[] = {
        {"cuInit", &cuda.init},
        {"cuDriverGetVersion", &cuda.driver_version},
        {"cuDeviceGetCount", &cuda.count},
        {"cuDeviceGet", &cuda.device},
        {"cuDeviceGetName", &cuda.name},
        {"cuDeviceGetAttribute", &cuda.attribute},
        {"cuDeviceTotalMem_v2", &cuda.memory},
        {"cuCtxCreate_v2", &cuda.context},
        {"cuModuleLoadData", &cuda.module},
        {"cuModuleGetFunction", &cuda.function},
        {"cuLaunchKernel", &cuda.launch},
        {"cuMemAlloc_v2", &cuda.alloc},
        {"cuMemFree_v2", &cuda.release},
        {"cuMemcpyHtoD_v2", &cuda.upload},
        {"cuMemcpyDtoH_v2", &cuda.download},
        {"cuMemcpyDtoDAsync_v2", &cuda.copy},
        {"cuMemsetD8_v2", &cuda.fill},
        {"cuEventCreate", &cuda.event},
        {"cuEventRecord", &cuda.record},
        {"cuEventSynchronize", &cuda.wait},
        {"cuEventElapsedTime", &cuda.elapsed},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(lib, all[i].name);
        if (!symbol) {
            fprintf(stderr, "gpu-check: libcuda.so.1 has no %s\n", all[i].name);
            return false;
        }
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    cuda.standin = dlsym(lib, "sluice_standin") != NULL;
    return true;
}

static void *image_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    rewind(file);
    char *image = calloc(1, (size_t)bytes + 1);
    if (image && fread(image, 1, (size_t)bytes, file) != (size_t)bytes) {
        free(image);
        image = NULL;
    }
    fclose(file);
    return image;
}

void check_launch(const char *name, const unsigned grid[3], unsigned threads, unsigned shared,
                  void *args)
{
    static struct {
        const char *name;
        void *function;
    } known[16];
    void *params[] = {args};
    int i = 0;
    while (known[i].name && strcmp(known[i].name, name) != 0)
        i++;
    if (!known[i].name) {
        MUST(cuda.function(&known[i].function, module, name));
        known[i].name = name;
    }
    MUST(cuda.launch(known[i].function, grid[0], grid[1], grid[2], threads, 1, 1, shared, NULL,
                     params, NULL));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time of work(arg, turn), in milliseconds. */
double check_time(void (*work)(void *arg, int turn), void *arg)
{
    static void *from, *to;
    double times[TIMES_MAX];
    if (!from) {
        MUST(cuda.event(&from, 0));
        MUST(cuda.event(&to, 0));
    }
    for (int i = -3; i < rounds; i++) {
        float ms = 0;
        MUST(cuda.record(from, NULL));
        work(arg, i + 3);
        MUST(cuda.record(to, NULL));
        MUST(cuda.wait(to));
        MUST(cuda.elapsed(&ms, from, to));
        if (i >= 0)
            times[i] = ms;
    }
    qsort(times, (size_t)rounds, sizeof *times, by_size);
    return times[rounds / 2];
}

/* ---- pictures ---- */

struct shape {
    enum hal_layout layout;
    int32_t width, height, strides[2];
    size_t chroma, bytes; /* where chroma begins, and all of it */
};

static struct shape shape_of(enum hal_layout layout, int32_t width, int32_t height)
{
    struct shape s = {.layout = layout, .width = width, .height = height};
    int32_t sample = gpu_layout_is_wide(layout) ? 2 : 1;
    s.strides[0] = s.strides[1] = (width * sample + 255) / 256 * 256;
    s.chroma = (size_t)s.strides[0] * (size_t)height;
    s.bytes = s.chroma + (size_t)s.strides[1] * (size_t)((height + 1) / 2);
    return s;
}

/* Bytes that a picture has, without what lies between rows. */
static double shape_samples(const struct shape *s)
{
    return 1.5 * s->width * s->height * (gpu_layout_is_wide(s->layout) ? 2 : 1);
}

void check_noise(uint8_t *bytes, size_t count, bool ten_bit, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
        if (ten_bit && i % 2 == 0)
            bytes[i] &= 0xc0;
    }
}

/* ---- the ladder ---- */

struct ladder {
    struct gpu_scale_params params;
    struct gpu_scale scale;
    struct shape source, targets[GPU_RUNGS_MAX];
    device_address tables;
};

static bool ladder_open(struct ladder *l)
{
    struct sl_failure why = {0};
    l->source = shape_of(l->params.layout, l->params.width, l->params.height);
    l->params.chroma_left = true;
    for (int r = 0; r < l->params.rung_count; r++) {
        struct gpu_scale_rung *rung = &l->params.rungs[r];
        l->targets[r] = shape_of(rung->layout, rung->width, rung->height);
        memcpy(rung->strides, l->targets[r].strides, sizeof rung->strides);
    }
    if (gpu_scale_make(&l->params, &l->scale, &why) != SL_OK) {
        fprintf(stderr, "gpu-check: %s\n", why.message);
        check_wrong++;
        return false;
    }
    return true;
}

static void ladder_args(const struct ladder *l, uint64_t tables, uint64_t source,
                        const uint64_t *targets, int frame, struct kernel_ladder_args *out)
{
    out->ladder = tables;
    for (int p = 0; p < 2; p++) {
        out->sources[frame].planes[p] = source + (p ? l->source.chroma : 0);
        out->sources[frame].strides[p] = l->source.strides[p];
    }
    for (int r = 0; r < l->params.rung_count; r++)
        for (int p = 0; p < 3; p++)
            out->targets[frame][r][p] = targets[r] + (p ? l->targets[r].chroma : 0) +
                                        (uint64_t)l->scale.target_offsets[r][p];
}

/* Kernel and twin over one noisy picture; every byte of every rung, also those between rows. */
static bool ladder_true(const struct gpu_scale_params *params, double *twin_ms)
{
    struct ladder l = {.params = *params};
    if (!ladder_open(&l))
        return false;
    struct gpu_scale host = l.scale;
    host.blob = malloc(l.scale.blob_bytes);
    uint8_t *source = malloc(l.source.bytes);
    uint8_t *truth[GPU_RUNGS_MAX], *got[GPU_RUNGS_MAX];
    uint64_t host_targets[GPU_RUNGS_MAX], targets[GPU_RUNGS_MAX], from = 0;
    memcpy(host.blob, l.scale.blob, l.scale.blob_bytes);
    gpu_scale_place(&host, (uintptr_t)host.blob);
    check_noise(source, l.source.bytes, gpu_layout_is_wide(params->layout), 7);
    MUST(cuda.alloc(&l.tables, l.scale.blob_bytes));
    gpu_scale_place(&l.scale, l.tables);
    MUST(cuda.upload(l.tables, l.scale.blob, l.scale.blob_bytes));
    MUST(cuda.alloc(&from, l.source.bytes));
    MUST(cuda.upload(from, source, l.source.bytes));
    for (int r = 0; r < params->rung_count; r++) {
        truth[r] = malloc(l.targets[r].bytes);
        got[r] = malloc(l.targets[r].bytes);
        memset(truth[r], 0xee, l.targets[r].bytes);
        host_targets[r] = (uintptr_t)truth[r];
        MUST(cuda.alloc(&targets[r], l.targets[r].bytes));
        MUST(cuda.fill(targets[r], 0xee, l.targets[r].bytes));
    }
    struct kernel_ladder_args args = {0}, host_args = {0};
    unsigned grid[3] = {l.scale.blocks, 1, 1}, block[3] = {l.scale.threads, 1, 1};
    void *host_params[] = {&host_args};
    ladder_args(&l, (uintptr_t)host.blob, (uintptr_t)source, host_targets, 0, &host_args);
    double before = check_now_ms();
    gpu_twin_find(l.scale.kernel)->run(grid, block, host_params);
    *twin_ms = check_now_ms() - before;
    ladder_args(&l, l.tables, from, targets, 0, &args);
    check_launch(l.scale.kernel, grid, l.scale.threads, l.scale.shared_bytes, &args);
    bool same = true;
    for (int r = 0; r < params->rung_count; r++) {
        MUST(cuda.download(got[r], targets[r], l.targets[r].bytes));
        size_t differs = 0;
        for (size_t i = 0; i < l.targets[r].bytes; i++)
            differs += got[r][i] != truth[r][i];
        if (differs) {
            fprintf(stderr, "gpu-check: %s, %dx%d to %dx%d: %zu bytes are not the twin's\n",
                    l.scale.kernel, params->width, params->height, params->rungs[r].width,
                    params->rungs[r].height, differs);
            same = false;
        }
        MUST(cuda.release(targets[r]));
        free(truth[r]);
        free(got[r]);
    }
    MUST(cuda.release(from));
    MUST(cuda.release(l.tables));
    free(host.blob);
    free(source);
    gpu_scale_free(&l.scale);
    check_wrong += !same;
    return same;
}

/* Batches of frames, in turn from sets that no cache holds. */
struct ladder_work {
    struct ladder ladders[GPU_RUNGS_MAX + 1]; /* all rungs, then each alone */
    struct kernel_ladder_args *args[GPU_RUNGS_MAX + 1];
    int sets, first, end; /* of the ladders that one turn runs */
};

static void ladder_turn(void *arg, int turn)
{
    struct ladder_work *work = arg;
    for (int i = work->first; i < work->end; i++) {
        const struct gpu_scale *scale = &work->ladders[i].scale;
        unsigned grid[3] = {scale->blocks, 1, (unsigned)work->ladders[0].params.batch};
        check_launch(scale->kernel, grid, scale->threads, scale->shared_bytes,
                     &work->args[i][turn % work->sets]);
    }
}

struct ladder_times {
    double fused_ms, apart_ms; /* of one frame */
    double fused_gb_per_s;     /* every picture's bytes once */
    double apart_each_ms[GPU_RUNGS_MAX];
};

static bool ladder_time(const struct gpu_scale_params *params, struct ladder_times *out)
{
    struct ladder_work *work = calloc(1, sizeof *work);
    int rungs = params->rung_count, batch = params->batch;
    size_t bytes = 0;
    for (int i = 0; i <= rungs; i++) {
        struct ladder *l = &work->ladders[i];
        l->params = *params;
        if (i) {
            l->params.rung_count = 1;
            l->params.rungs[0] = params->rungs[i - 1];
        }
        if (!ladder_open(l))
            return false;
        MUST(cuda.alloc(&l->tables, l->scale.blob_bytes));
        gpu_scale_place(&l->scale, l->tables);
        MUST(cuda.upload(l->tables, l->scale.blob, l->scale.blob_bytes));
    }
    const struct ladder *all = &work->ladders[0];
    size_t offsets[GPU_RUNGS_MAX], frame = (all->source.bytes + 255) & ~(size_t)255;
    for (int r = 0; r < rungs; r++) {
        offsets[r] = frame;
        frame += (all->targets[r].bytes + 255) & ~(size_t)255;
        bytes += (size_t)shape_samples(&all->targets[r]);
    }
    bytes += (size_t)shape_samples(&all->source);
    work->sets = cuda.standin ? 1 : (int)(SETS_BYTES / (frame * (size_t)batch)) + 1;
    device_address pool;
    MUST(cuda.alloc(&pool, frame * (size_t)batch * (size_t)work->sets));
    uint8_t *noise = malloc(all->source.bytes);
    check_noise(noise, all->source.bytes, gpu_layout_is_wide(params->layout), 3);
    for (int i = 0; i <= rungs; i++)
        work->args[i] = calloc((size_t)work->sets, sizeof *work->args[i]);
    for (int s = 0; s < work->sets; s++)
        for (int f = 0; f < batch; f++) {
            device_address base = pool + frame * (size_t)(s * batch + f);
            uint64_t targets[GPU_RUNGS_MAX];
            MUST(cuda.upload(base, noise, all->source.bytes));
            for (int r = 0; r < rungs; r++)
                targets[r] = base + offsets[r];
            for (int i = 0; i <= rungs; i++)
                ladder_args(&work->ladders[i], work->ladders[i].tables, base,
                            i ? &targets[i - 1] : targets, f, &work->args[i][s]);
        }
    work->first = 0;
    work->end = 1;
    out->fused_ms = check_time(ladder_turn, work) / batch;
    work->first = 1;
    work->end = rungs + 1;
    out->apart_ms = check_time(ladder_turn, work) / batch;
    for (int r = 0; r < rungs; r++) {
        work->first = r + 1;
        work->end = r + 2;
        out->apart_each_ms[r] = check_time(ladder_turn, work) / batch;
    }
    out->fused_gb_per_s = (double)bytes / out->fused_ms / 1e6;
    MUST(cuda.release(pool));
    for (int i = 0; i <= rungs; i++) {
        MUST(cuda.release(work->ladders[i].tables));
        gpu_scale_free(&work->ladders[i].scale);
        free(work->args[i]);
    }
    free(noise);
    free(work);
    return true;
}

/* ---- the measures ---- */

struct measure_work {
    struct kernel_measure_args args;
    unsigned grids[2][3];
    int which;
};

static void measure_turn(void *arg, int turn)
{
    struct measure_work *work = arg;
    (void)turn;
    check_launch(work->which ? "ssim" : "sse", work->grids[work->which], GPU_MEASURE_THREADS, 0,
                 &work->args);
}

/* Luma of a batch of pairs: the kernels' figures, the twins', and both times for one picture. */
static void measures_check(FILE *report, int32_t width, int32_t height)
{
    struct measure_work work = {0};
    const int batch = GPU_BATCH_MAX;
    size_t bytes = (size_t)width * (size_t)height;
    uint8_t *pictures[2];
    device_address device[2 * GPU_BATCH_MAX], sums;
    gpu_measure_shape(width, height, 1, 8, 0, &work.args);
    gpu_measure_grids(&work.args, (unsigned)batch, work.grids[0], work.grids[1]);
    work.args.stride_a = work.args.stride_b = width;
    for (int p = 0; p < 2; p++) {
        pictures[p] = malloc(bytes);
        check_noise(pictures[p], bytes, false, 11);
        for (size_t i = 0; p && i < bytes; i++)
            pictures[p][i] = (uint8_t)((pictures[p][i] * 3 + (i * 7 % 64)) / 4);
        for (int f = 0; f < batch; f++) {
            MUST(cuda.alloc(&device[p * batch + f], bytes));
            MUST(cuda.upload(device[p * batch + f], pictures[p], bytes));
            (p ? work.args.b : work.args.a)[f] = device[p * batch + f];
        }
    }
    MUST(cuda.alloc(&sums, 8 * GPU_BATCH_MAX));
    work.args.sums = sums;
    static const char *const names[] = {"psnr", "ssim"};
    double difference[2], ratio[2], gpu_ms[2], twin_ms[2];
    for (int k = 0; k < 2; k++) {
        uint64_t got[GPU_BATCH_MAX], truth = 0;
        struct kernel_measure_args host = work.args;
        unsigned one[3] = {work.grids[k][0], work.grids[k][1], 1},
                 block[3] = {GPU_MEASURE_THREADS, 1, 1};
        void *params[] = {&host};
        host.a[0] = (uintptr_t)pictures[0];
        host.b[0] = (uintptr_t)pictures[1];
        host.sums = (uintptr_t)&truth;
        double before = check_now_ms();
        gpu_twin_find(k ? "ssim" : "sse")->run(one, block, params);
        twin_ms[k] = check_now_ms() - before;
        work.which = k;
        MUST(cuda.fill(sums, 0, sizeof got));
        measure_turn(&work, 0);
        MUST(cuda.download(got, sums, sizeof got));
        double windows = (double)(width / 4 - 1) * (height / 4 - 1), worst = 0;
        for (int f = 0; f < batch; f++) {
            double d =
                k ? fabs((double)((int64_t)got[f] - (int64_t)truth)) / GPU_SSIM_UNIT / windows
                  : fabs(10 * log10((double)(got[f] + 1) / (double)(truth + 1)));
            worst = d > worst ? d : worst;
        }
        difference[k] = worst;
        gpu_ms[k] = check_time(measure_turn, &work) / batch;
        ratio[k] = twin_ms[k] / gpu_ms[k];
        if (worst > 1e-4) {
            fprintf(stderr, "gpu-check: %s is %.6f off its twin\n", names[k], worst);
            check_wrong++;
        }
        printf("%s %dx%d: %.4f ms on the GPU, %.1f ms by one core: %.0f times; off by %.2g\n",
               names[k], width, height, gpu_ms[k], twin_ms[k], ratio[k], worst);
    }
    fprintf(report, "  \"measures\": {\"width\": %d, \"height\": %d", width, height);
    for (int k = 0; k < 2; k++)
        fprintf(report,
                ", \"%s\": {\"difference\": %.9f, \"gpu_ms\": %.5f, \"one_core_ms\": %.3f, "
                "\"ratio\": %.1f}",
                names[k], difference[k], gpu_ms[k], twin_ms[k], ratio[k]);
    fprintf(report, "},\n");
    for (int i = 0; i < 2 * batch; i++)
        MUST(cuda.release(device[i]));
    MUST(cuda.release(sums));
    free(pictures[0]);
    free(pictures[1]);
}

/* ---- memory ---- */

static device_address copy_ends[2];
static size_t copy_bytes;

static void copy_turn(void *arg, int turn)
{
    (void)arg;
    MUST(cuda.copy(copy_ends[turn % 2], copy_ends[1 - turn % 2], copy_bytes, NULL));
}

/* Gigabytes read and written in a second. */
static double copy_speed(void)
{
    copy_bytes = cuda.standin ? 1u << 22 : COPY_BYTES;
    for (int i = 0; i < 2; i++) {
        MUST(cuda.alloc(&copy_ends[i], copy_bytes));
        MUST(cuda.fill(copy_ends[i], (unsigned char)(17 + i), copy_bytes));
    }
    double ms = check_time(copy_turn, NULL);
    for (int i = 0; i < 2; i++)
        MUST(cuda.release(copy_ends[i]));
    return 2.0 * (double)copy_bytes / ms / 1e6;
}

/* ---- all of it ---- */

static void truths_check(FILE *report, int scale)
{
    const struct gpu_scale_params cases[] = {
        {.layout = HAL_NV12,
         .width = 3840 / scale,
         .height = 2160 / scale,
         .batch = 8,
         .rung_count = 4,
         .rungs = {{HAL_NV12, 1920 / scale, 1080 / scale},
                   {HAL_NV12, 1280 / scale, 720 / scale},
                   {HAL_NV12, 856 / scale, 480 / scale},
                   {HAL_NV12, 640 / scale, 360 / scale}}},
        {.layout = HAL_P010,
         .width = 1920 / scale,
         .height = 1080 / scale,
         .batch = 1,
         .rung_count = 3,
         .rungs = {{HAL_P010, 1280 / scale, 720 / scale},
                   {HAL_NV12, 856 / scale, 480 / scale},
                   {HAL_NV12, 320 / scale, 184 / scale}}},
        {.layout = HAL_NV12,
         .width = 642,
         .height = 362,
         .crop_left = 3,
         .crop_top = 1,
         .batch = 1,
         .rotation_degrees = 90,
         .full_range = true,
         .mirrored = true,
         .rung_count = 2,
         .rungs = {{HAL_NV12, 180, 320}, {HAL_P010, 90, 160}}},
        {.layout = HAL_P010,
         .width = 960,
         .height = 540,
         .batch = 1,
         .rotation_degrees = 180,
         .rung_count = 2,
         .rungs = {{HAL_NV12, 64, 36}, {HAL_P010, 88, 48}}},
        {.layout = HAL_NV12,
         .width = 960,
         .height = 540,
         .batch = 1,
         .rung_count = 8,
         .rungs = {{HAL_NV12, 960, 540},
                   {HAL_NV12, 640, 360},
                   {HAL_NV12, 480, 270},
                   {HAL_P010, 320, 180},
                   {HAL_NV12, 256, 144},
                   {HAL_NV12, 192, 108},
                   {HAL_NV12, 128, 72},
                   {HAL_NV12, 64, 36}}},
    };
    fprintf(report, "  \"truth\": [");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gpu_scale_params params = cases[i];
        double twin_ms = 0;
        for (int r = 0; r < params.rung_count; r++) {
            params.rungs[r].width &= ~1;
            params.rungs[r].height &= ~1;
        }
        bool same = ladder_true(&params, &twin_ms);
        fprintf(report,
                "%s{\"source\": \"%dx%d\", \"rungs\": %d, \"equal\": %s, \"twin_ms\": %.1f}",
                i ? ", " : "", params.width, params.height, params.rung_count,
                same ? "true" : "false", twin_ms);
        printf("truth %zu, %dx%d to %d rungs: %s\n", i + 1, params.width, params.height,
               params.rung_count, same ? "equal to the twin" : "DIFFERS");
    }
    fprintf(report, "],\n");
}

static double ladders_time(FILE *report, int scale, double copy)
{
    double fused_ms = 0;
    fprintf(report, "  \"ladders\": [");
    for (int i = 0; i < 3; i++) {
        bool ten = i == 2;
        struct gpu_scale_params params = {.layout = ten ? HAL_P010 : HAL_NV12,
                                          .width = 3840 / scale,
                                          .height = 2160 / scale,
                                          .batch = i == 1 ? 1 : GPU_BATCH_MAX,
                                          .rung_count = 4};
        static const int32_t sizes[4][2] = {{1920, 1080}, {1280, 720}, {854, 480}, {640, 360}};
        for (int r = 0; r < 4; r++)
            params.rungs[r] = (struct gpu_scale_rung){
                params.layout, sizes[r][0] / scale & ~1, sizes[r][1] / scale & ~1, {0, 0}};
        struct ladder_times t;
        if (!ladder_time(&params, &t))
            continue;
        if (i == 0)
            fused_ms = t.fused_ms;
        fprintf(report,
                "%s{\"source\": \"%dx%d\", \"bits\": %d, \"batch\": %d, \"fused_ms\": %.5f, "
                "\"one_pass_per_rung_ms\": %.5f, \"ratio\": %.3f, \"gb_per_s\": %.1f, "
                "\"share_of_copy\": %.3f}",
                i ? ", " : "", params.width, params.height, ten ? 10 : 8, params.batch, t.fused_ms,
                t.apart_ms, t.apart_ms / t.fused_ms, t.fused_gb_per_s, t.fused_gb_per_s / copy);
        printf("ladder %dx%d, %d bits, %d at once: fused %.4f ms a frame, a pass per rung %.4f ms "
               "(%.4f %.4f %.4f %.4f): %.2f times; %.0f GB/s, %.0f %% of a copy\n",
               params.width, params.height, ten ? 10 : 8, params.batch, t.fused_ms, t.apart_ms,
               t.apart_each_ms[0], t.apart_each_ms[1], t.apart_each_ms[2], t.apart_each_ms[3],
               t.apart_ms / t.fused_ms, t.fused_gb_per_s, 100 * t.fused_gb_per_s / copy);
    }
    fprintf(report, "],\n");
    return fused_ms;
}

static void device_tell(FILE *report, int device, const char *made_by)
{
    char name[256] = "";
    int major = 0, minor = 0, cores = 0, l2 = 0, version = 0;
    size_t memory = 0;
    cuda.name(name, sizeof name, device);
    cuda.attribute(&major, ATTRIBUTE_MAJOR, device);
    cuda.attribute(&minor, ATTRIBUTE_MINOR, device);
    cuda.attribute(&cores, ATTRIBUTE_CORES, device);
    cuda.attribute(&l2, ATTRIBUTE_L2, device);
    cuda.memory(&memory, device);
    cuda.driver_version(&version);
    for (char *c = name; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = ' ';
    fprintf(report,
            "  \"standin\": %s,\n  \"device\": {\"name\": \"%s\", \"compute\": \"%d.%d\", "
            "\"multiprocessors\": %d, \"l2_bytes\": %d, \"memory_bytes\": %zu, \"cuda\": "
            "\"%d.%d\"},\n  \"kernels_made_by\": \"%s\",\n",
            cuda.standin ? "true" : "false", name, major, minor, cores, l2, memory, version / 1000,
            version % 1000 / 10, made_by);
    printf("%s, compute %d.%d, %d multiprocessors, CUDA %d.%d; kernels by %s%s\n", name, major,
           minor, cores, version / 1000, version % 1000 / 10, made_by,
           cuda.standin ? "; a STAND-IN: its times mean nothing" : "");
}

int main(int argc, char **argv)
{
    int devices = 0, device = 0;
    void *context = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: gpu_check IMAGE MADE_BY REPORT\n");
        return 2;
    }
    if (!driver_load() || cuda.init(0) != 0 || cuda.count(&devices) != 0 || devices < 1) {
        printf("no NVIDIA GPU here: nothing was checked\n");
        return SKIPPED;
    }
    void *image = image_read(argv[1]);
    FILE *report = fopen(argv[3], "w");
    if (!image || !report) {
        fprintf(stderr, "gpu-check: cannot %s %s\n", image ? "write" : "read", argv[image ? 3 : 1]);
        return 1;
    }
    MUST(cuda.device(&device, 0));
    MUST(cuda.context(&context, 0, device));
    fprintf(report, "{\n");
    device_tell(report, device, argv[2]);
    double before = check_now_ms();
    MUST(cuda.module(&module, image));
    printf("kernels loaded in %.0f ms\n", check_now_ms() - before);
    fprintf(report, "  \"load_ms\": %.1f,\n", check_now_ms() - before);
    int scale = cuda.standin ? 8 : 1;
    rounds = cuda.standin ? 1 : 31;
    double copy = copy_speed();
    printf("copy: %.0f GB/s read and written\n", copy);
    fprintf(report, "  \"copy_gb_per_s\": %.1f,\n", copy);
    truths_check(report, scale);
    double fused_ms = ladders_time(report, scale, copy);
    measures_check(report, 3840 / scale, 2160 / scale / 16 * 16);
    check_filters(report, 3840 / scale / 64 * 64, 2160 / scale / 16 * 16);
    check_nvenc(report, context);
    double nvdec_ms =
        check_nvdec(report, context, 3840 / scale, 2160 / scale / 16 * 16, 240 / scale);
    fprintf(report, "  \"fused_share_of_nvdec\": ");
    if (nvdec_ms > 0) {
        fprintf(report, "%.4f,\n", fused_ms / nvdec_ms);
        printf("the fused ladder takes %.1f %% of NVDEC's time per frame\n",
               100 * fused_ms / nvdec_ms);
    } else {
        fprintf(report, "null,\n");
    }
    fprintf(report, "  \"wrong\": %d\n}\n", check_wrong);
    fclose(report);
    printf("%s: %s\n", argv[3],
           check_wrong ? "something is WRONG" : "all that was checked is right");
    return check_wrong != 0;
}
