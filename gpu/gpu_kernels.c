#include "gpu/gpu_kernels.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"

#define CONTEXTS_MAX NODE_DEVICES_MAX

/* GPU_IMAGE is a file, GPU_MADE_BY what compiled it: the Makefile's. A text of PTX ends at the zero behind it. */
#ifdef GPU_IMAGE
__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "gpu_kernels_file:\n"
        ".incbin \"" GPU_IMAGE "\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char gpu_kernels_file[] __attribute__((visibility("hidden")));
#else
#define GPU_MADE_BY      NULL
#define gpu_kernels_file NULL
#endif

static const char *const names[] = {"ladder8", "ladder8_far", "ladder16", "ladder16_far",
                                    "sse",     "ssim",        "tone",     "deinterlace"};
#define KERNEL_COUNT (sizeof names / sizeof *names)

struct gpu_kernels {
    CUcontext context;
    struct sl_failure refused; /* code is not 0: the driver or the GPU cannot run them, ever */
    CUmodule module;
    CUfunction functions[KERNEL_COUNT];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gpu_kernels opened[CONTEXTS_MAX];
static int32_t opened_count;

const char *gpu_kernels_made_by(const char **why_not)
{
    *why_not = GPU_MADE_BY ? NULL
                           : "this program was built without GPU kernels: neither nvcc nor clang "
                             "was there";
    return GPU_MADE_BY;
}

const void *gpu_kernels_image(void)
{
    return gpu_kernels_file;
}

static int load(const struct gpu_driver *driver, struct gpu_kernels *kernels,
                struct sl_failure *why)
{
    CUresult result = driver->cuda->cuModuleLoadData(&kernels->module, gpu_kernels_image());
    if (result != CUDA_SUCCESS)
        return gpu_fail(why, GPU_CUDA, (int)result, "the driver does not take the GPU kernels");
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        result =
            driver->cuda->cuModuleGetFunction(&kernels->functions[i], kernels->module, names[i]);
        if (result != CUDA_SUCCESS) {
            driver->cuda->cuModuleUnload(kernels->module);
            return gpu_fail(why, GPU_CUDA, (int)result, "a GPU kernel is not in its module");
        }
    }
    return SL_OK;
}

int gpu_kernels_open(AVBufferRef *context, const struct gpu_kernels **out, struct sl_failure *why)
{
    const struct gpu_driver *driver;
    const char *why_not;
    if (!gpu_kernels_made_by(&why_not))
        return sl_fail(why, SL_EUNSUPPORTED, "%s", why_not);
    int code = gpu_driver_load(&driver, why);
    if (code != SL_OK)
        return code;
    pthread_mutex_lock(&lock);
    CUcontext cuda = gpu_context_cuda(context);
    struct gpu_kernels *found = NULL;
    for (int32_t i = 0; i < opened_count; i++)
        if (opened[i].context == cuda)
            found = &opened[i];
    if (!found && opened_count == CONTEXTS_MAX)
        code = sl_fail(why, SL_ELIMIT, "kernels are loaded on %d GPUs at most", CONTEXTS_MAX);
    if (!found && code == SL_OK) {
        struct gpu_kernels fresh = {.context = cuda};
        code = load(driver, &fresh, why);
        if (code == SL_EUNSUPPORTED)
            sl_fail(&fresh.refused, code, "%s", why->message);
        if (code == SL_OK || code == SL_EUNSUPPORTED) {
            found = &opened[opened_count++];
            *found = fresh;
        }
    } else if (found && found->refused.code != SL_OK) {
        code = sl_fail(why, found->refused.code, "%s", found->refused.message);
    }
    pthread_mutex_unlock(&lock);
    if (code == SL_OK)
        *out = found;
    return code;
}

int gpu_kernels_launch(const struct gpu_kernels *kernels, const char *name, const unsigned grid[3],
                       unsigned threads, unsigned shared_bytes, const void *args,
                       struct sl_failure *why)
{
    const struct gpu_driver *driver;
    int code = gpu_driver_load(&driver, why);
    if (code != SL_OK)
        return code;
    void *params[] = {(void *)(uintptr_t)args};
    for (size_t i = 0; i < KERNEL_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            CUresult result =
                driver->cuda->cuLaunchKernel(kernels->functions[i], grid[0], grid[1], grid[2],
                                             threads, 1, 1, shared_bytes, NULL, params, NULL);
            return result == CUDA_SUCCESS
                       ? SL_OK
                       : gpu_fail(why, GPU_CUDA, (int)result, "a GPU kernel does not start");
        }
    return sl_fail(why, SL_EINTERNAL, "there is no GPU kernel %s", name);
}
