#include "worker/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/backends.h"
#include "worker/prove_decode.h"
#include "worker/run.h"
#include "worker/sandbox.h"
#include "worker/warm.h"

static void violated(void *link, int number)
{
    worker_link_violation(link, number);
}

static int cpu_open(struct hal_device *devices, int32_t *count, struct sl_failure *why)
{
    int code = hal_probe_kind(&worker_backends, DEVICE_CPU, devices, RUN_DEVICES_MAX, count, why);
    if (code != SL_OK)
        return code;
    worker_warm(&worker_backends, devices, *count);
    return SL_OK;
}

/* "nvenc:GPU-…" or "GPU-…". */
static int device_open(const char *device, struct hal_device *out, struct sl_failure *why)
{
    int code = SL_EDEVICELOST;
    for (int kind = DEVICE_CPU + 1; kind < DEVICE_KIND_COUNT; kind++) {
        const char *word = device_kind_word((enum device_kind)kind);
        size_t length = strlen(word);
        bool named = strncmp(device, word, length) == 0 && device[length] == ':';
        if (named || !strchr(device, ':')) {
            const char *id = named ? device + length + 1 : device;
            code = hal_probe_one(&worker_backends, (enum device_kind)kind, id, out, why);
        }
        if (named || code == SL_OK)
            return code;
    }
    return why->code ? code
                     : sl_fail(why, code,
                               "no device is called %.100s here; sluice hw names those "
                               "there are",
                               device);
}

/* A GPU, into which sessions will be opened, or that makes pictures for the CPU before it. */
static int driver_open(const char *device, bool feeds, struct hal_device *devices, int32_t *count,
                       struct sl_failure *why)
{
    int code = feeds ? cpu_open(devices, count, why) : SL_OK;
    struct hal_device *gpu = &devices[*count];
    if (code == SL_OK)
        code = device_open(device, gpu, why);
    if (code == SL_OK && gpu->note[0] && !feeds)
        sl_warn(NULL, "device %s: %s", gpu->device_id, gpu->note);
    if (code == SL_OK && !feeds)
        code = worker_warm_device(&worker_backends, gpu, why);
    if (code == SL_OK)
        prove_decode(&worker_backends, gpu);
    *count += 1;
    return code;
}

/* Up to here nothing of any source has come near this process. */
static int prepare(const char *device, bool feeds, struct hal_device *devices, int32_t *count,
                   struct sl_failure *why)
{
    struct sandbox sandbox;
    struct sandbox_driver driver = {.count = 0};
    int code = SL_OK;
    if (device) {
        /* Shaders and kernels are compiled anew rather than looked for in files. */
        setenv("CUDA_CACHE_DISABLE", "1", 1);
        setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
        sandbox_isolate_driver(&sandbox);
        code = driver_open(device, feeds, devices, count, why);
        if (code == SL_OK)
            sandbox_driver_find(devices[*count - 1].kind, &driver);
    } else {
        sandbox_isolate(&sandbox);
        code = cpu_open(devices, count, why);
    }
    return code == SL_OK ? sandbox_enter(&sandbox, device ? &driver : NULL, why) : code;
}

/* One job, from its frame to its last word. */
static int job_serve(struct worker_run *run, struct control_frame *frame)
{
    struct sl_failure why = {0};
    int code = run_open(run, frame, &why);
    if (code == SL_OK) {
        code = run_finish(run);
    } else {
        sl_warn(NULL, "%s", why.message);
        worker_link_finish(run->link);
        worker_link_failed(run->link, &why);
    }
    run_close(run);
    control_frame_fini(frame);
    return code;
}

int serve(int socket, const char *device, bool feeds)
{
    static struct hal_device devices[RUN_DEVICES_MAX];
    static struct worker_run run;
    struct sl_failure why = {0};
    int32_t device_count = 0;
    int code = prepare(device, feeds, devices, &device_count, &why);
    if (code != SL_OK) {
        sl_error(NULL, "%s", why.message[0] ? why.message : sl_error_text(code));
        if (device && why.code)
            control_failed_send(socket, &why);
        return 1;
    }
    struct worker_link *link = NULL;
    code = worker_link_open(socket, device != NULL, &link);
    if (code == SL_OK) {
        sandbox_on_violation(violated, link);
        code = worker_link_send(link, CONTROL_READY, NULL, 0);
    }
    if (code != SL_OK) {
        sl_error(NULL, "the agent cannot be reached over descriptor %d: %s", socket,
                 sl_error_text(code));
        return 1;
    }
    const struct hal_sessions probed = devices[0].sessions;
    do {
        struct control_frame frame = {0};
        /* What one job learned of limits was what other workers left it at that moment; the agent sees all of them. */
        devices[0].sessions = probed;
        code = worker_link_take(link, &frame);
        run = (struct worker_run){.link = link,
                                  .backends = &worker_backends,
                                  .devices = devices,
                                  .device_count = device_count};
        if (code == SL_OK)
            code = job_serve(&run, &frame);
    } while (device && code == SL_OK);
    /* The reader thread may sit in a read; nothing it holds matters any more. */
    fflush(NULL);
    _exit(code == SL_OK ? 0 : 1);
}
