#include "gpu/gpu_driver.h"

#include <pthread.h>
#include <string.h>

#include "gpu/gpu_error.h"
#include "gpu/gpu_loader.h"

/* Of the driver that first had all that these headers ask for. */
#if NVENCAPI_MAJOR_VERSION > 12 || (NVENCAPI_MAJOR_VERSION == 12 && NVENCAPI_MINOR_VERSION >= 2)
#define DRIVER_NEEDED "550.54.14"
#elif NVENCAPI_MAJOR_VERSION == 12 && NVENCAPI_MINOR_VERSION == 1
#define DRIVER_NEEDED "530.41.03"
#elif NVENCAPI_MAJOR_VERSION == 12
#define DRIVER_NEEDED "520.56.06"
#else
#define DRIVER_NEEDED "470.57.02"
#endif

const char gpu_driver_needed[] = DRIVER_NEEDED;

static struct gpu_driver driver;
static struct sl_failure verdict;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *loader_said(struct gpu_loader_log *log)
{
    log->text[strcspn(log->text, "\n")] = '\0';
    return log->text;
}

/* CUDA_VISIBLE_DEVICES is read by the driver itself. */
static void devices_count(const CudaFunctions *cuda)
{
    int count = 0;
    CUresult result = cuda->cuInit(0);
    if (result == CUDA_SUCCESS)
        result = cuda->cuDeviceGetCount(&count);
    if (result == (CUresult)GPU_CUDA_NO_DEVICE || (result == CUDA_SUCCESS && count == 0)) {
        const char *shown = getenv("CUDA_VISIBLE_DEVICES");
        sl_fail(&verdict, SL_ENOENT, "the NVIDIA driver shows no GPU%s%.64s%s",
                shown ? " (CUDA_VISIBLE_DEVICES is \"" : "", shown ? shown : "",
                shown ? "\")" : "");
    } else if (result != CUDA_SUCCESS) {
        gpu_fail(&verdict, GPU_CUDA, (int)result, "the NVIDIA driver does not start");
    }
    driver.device_count = count;
}

static void load(void)
{
    struct gpu_loader_log log = {""};
    CudaFunctions *cuda = NULL;
    NvencFunctions *nvenc = NULL;
    CuvidFunctions *cuvid = NULL;
    if (cuda_load_functions(&cuda, &log) != 0) {
        bool absent = strstr(log.text, "libcuda") != NULL;
        sl_fail(&verdict, absent ? SL_ENOENT : SL_ENOENCODER,
                absent ? "there is no NVIDIA driver here (%.80s); %s or newer would be used"
                       : "the NVIDIA driver is not whole or too old (%.80s); %s or newer is needed",
                loader_said(&log), DRIVER_NEEDED);
        return;
    }
    nvenc_load_functions(&nvenc, &log);
    cuvid_load_functions(&cuvid, &log);
    driver.cuda = cuda;
    driver.nvenc = nvenc;
    driver.cuvid = cuvid;
    driver.standin = dlsym(cuda->lib, "sluice_standin") != NULL;
    *(void **)&driver.memory_total = dlsym(cuda->lib, "cuDeviceTotalMem_v2");
    *(void **)&driver.memory_info = dlsym(cuda->lib, "cuMemGetInfo_v2");
    *(void **)&driver.host_alloc = dlsym(cuda->lib, "cuMemAllocHost_v2");
    *(void **)&driver.host_free = dlsym(cuda->lib, "cuMemFreeHost");
    devices_count(cuda);
    CUresult (*version)(int *);
    *(void **)&version = dlsym(cuda->lib, "cuDriverGetVersion");
    int number = 0;
    if (version && version(&number) == CUDA_SUCCESS)
        driver.cuda_version = number;
}

int gpu_driver_load(const struct gpu_driver **out, struct sl_failure *why)
{
    pthread_once(&once, load);
    if (verdict.code < 0)
        return sl_fail(why, verdict.code, "%s", verdict.message);
    *out = &driver;
    return SL_OK;
}
