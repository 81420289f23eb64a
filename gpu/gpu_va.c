#include "gpu/gpu_va.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <va/va_backend.h>
#include <va/va_drm.h>

#include "base/log.h"
#include "base/time.h"
#include "gpu/gpu_drm.h"

#define STANDINS_MAX   8
#define STANDIN_PREFIX "standin-va"
#define STANDIN_DRIVER "sluice"
#define NODE_PREFIX    "/dev/dri/"

/* Between two looks at the engines' clocks, where the kernel has no figure of its own. */
#define SAMPLE_NS      SL_MS_TO_NS(50)

/* libva exports these two and declares them nowhere. */
VADisplayContextP va_newDisplayContext(void);
VADriverContextP va_newDriverContext(VADisplayContextP display);

/* Those that opened, for the life of the process. */
static struct opened {
    char device_id[DEVICE_ID_BYTES];
    VADisplay display;
    AVBufferRef *context;
} opened[NODE_DEVICES_MAX];
static int32_t opened_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- libva's messages ---- */

static void message_keep(void *context, const char *message)
{
    char *text = context;
    snprintf(text, SL_MESSAGE_BYTES / 2, "%s", message);
    text[strcspn(text, "\n")] = '\0';
    sl_debug(NULL, "libva: %s", text);
}

static void message_drop(void *context, const char *message)
{
    (void)context, (void)message;
}

static void message_log(void *context, const char *message)
{
    (void)context;
    sl_debug(NULL, "libva: %.*s", (int)strcspn(message, "\n"), message);
}

/* ---- displays ---- */

static int given_is_valid(VADisplayContextP display)
{
    return display->pDriverContext != NULL;
}

static void given_destroy(VADisplayContextP display)
{
    free(display->pDriverContext->native_dpy); /* ours, and libva's to look at */
    free(display->pDriverContext);
    free(display);
}

#if VA_CHECK_VERSION(1, 20, 0)
static VAStatus given_names(VADisplayContextP display, char **names, unsigned *count)
{
    (void)display, (void)names;
    *count = 0; /* vaSetDriverName gives it */
    return VA_STATUS_SUCCESS;
}
#else
static VAStatus given_name(VADisplayContextP display, char **name)
{
    *name = strdup(display->pDriverContext->override_driver_name);
    return *name ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_ALLOCATION_FAILED;
}
#endif

/* A display without node and X server; the driver learns from native_dpy which of its devices is meant. */
static VADisplay given_display(const char *driver, const char *device_id)
{
    VADisplayContextP display = va_newDisplayContext();
    VADriverContextP context = display ? va_newDriverContext(display) : NULL;
    if (!context) {
        free(display);
        return NULL;
    }
    context->native_dpy = strdup(device_id);
    display->vaIsValid = given_is_valid;
    display->vaDestroy = given_destroy;
#if VA_CHECK_VERSION(1, 20, 0)
    display->vaGetDriverNames = given_names;
#else
    display->vaGetDriverName = given_name;
#endif
    char name[GPU_DRM_WORD_BYTES];
    snprintf(name, sizeof name, "%s", driver);
    if (vaSetDriverName(display, name) != VA_STATUS_SUCCESS) {
        given_destroy(display);
        /* cppcheck-suppress memleak ; it was given to context, which is gone */
        return NULL;
    }
    return display;
}

static int initialize(VADisplay display, const char *device_id, const char *kernel_driver,
                      struct sl_failure *why)
{
    int major, minor;
    char said[SL_MESSAGE_BYTES / 2] = "";
    if (!display)
        return sl_fail(why, SL_EDEVICELOST, "%s: no VA display can be made of it", device_id);
    vaSetErrorCallback(display, message_keep, said);
    vaSetInfoCallback(display, message_drop, NULL);
    VAStatus status = vaInitialize(display, &major, &minor);
    vaSetErrorCallback(display, message_log, NULL);
    if (status == VA_STATUS_SUCCESS)
        return SL_OK;
    /* The display is left as it is: a driver that failed half-way may not survive its own end. */
    return sl_fail(why, SL_EDEVICELOST,
                   "%s: no VA driver opens%s%s: %s (%d)%s%.100s; install the one of this GPU "
                   "(intel-media-va-driver for Intel, mesa-va-drivers for AMD)",
                   device_id, kernel_driver[0] ? " for the kernel's " : "", kernel_driver,
                   vaErrorStr(status), status, said[0] ? ": " : "", said);
}

static int node_open(const char *path, int *out, struct sl_failure *why)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        *out = fd;
        return SL_OK;
    }
    int error = errno;
    struct stat file;
    const struct group *group = stat(path, &file) == 0 ? getgrgid(file.st_gid) : NULL;
    if (error == EACCES || error == EPERM)
        return sl_fail(why, SL_EDEVICELOST,
                       "%s: permission denied: put the user of sluice-agent into the group \"%s\" "
                       "(usermod -aG %s sluice) and restart it; in a container, pass the device in",
                       path, group ? group->gr_name : "render", group ? group->gr_name : "render");
    return sl_fail(why, SL_EDEVICELOST, "%s: %s", path, strerror(error));
}

static int node_display(const char *device_id, VADisplay *out, struct sl_failure *why)
{
    int fd = -1;
    char driver[GPU_DRM_WORD_BYTES];
    int code = node_open(device_id, &fd, why);
    if (code != SL_OK)
        return code;
    gpu_drm_driver("", device_id + strlen(NODE_PREFIX), driver);
    *out = vaGetDisplayDRM(fd);
    code = initialize(*out, device_id, driver, why);
    if (code != SL_OK)
        close(fd);
    return code;
}

/* Where LD_LIBRARY_PATH, which the other stand-ins are found by, has the driver; libva looks elsewhere. */
static bool standin_folder(char *out, size_t out_bytes)
{
    char list[4096], *rest = list;
    const char *path = getenv("LD_LIBRARY_PATH");
    snprintf(list, sizeof list, "%s", path ? path : "");
    for (const char *folder; (folder = strsep(&rest, ":"));) {
        char file[4200];
        snprintf(file, sizeof file, "%s/" STANDIN_DRIVER "_drv_video.so", folder);
        snprintf(out, out_bytes, "%s", folder);
        if (folder[0] && access(file, R_OK) == 0)
            return true;
    }
    return false;
}

static int standin_display(const char *device_id, VADisplay *out, struct sl_failure *why)
{
    char folder[4096];
    bool ours = !getenv("LIBVA_DRIVERS_PATH");
    if (ours && !standin_folder(folder, sizeof folder))
        return sl_fail(why, SL_EDEVICELOST,
                       "%s: SLUICE_STANDIN_VAAPI asks for it, and no folder of LD_LIBRARY_PATH "
                       "has " STANDIN_DRIVER
                       "_drv_video.so; make standin builds it in build/standin",
                       device_id);
    if (ours)
        setenv("LIBVA_DRIVERS_PATH", folder, 1);
    *out = given_display(STANDIN_DRIVER, device_id);
    int code = initialize(*out, device_id, "", why);
    if (ours)
        unsetenv("LIBVA_DRIVERS_PATH");
    return code;
}

static bool is_standin(const char *device_id)
{
    return strncmp(device_id, STANDIN_PREFIX, strlen(STANDIN_PREFIX)) == 0;
}

/* libav's context over a display. */
static AVBufferRef *context_make(VADisplay display)
{
    AVBufferRef *ref = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_VAAPI);
    if (!ref)
        return NULL;
    AVHWDeviceContext *context = (AVHWDeviceContext *)(void *)ref->data;
    ((AVVAAPIDeviceContext *)context->hwctx)->display = display;
    if (av_hwdevice_ctx_init(ref) < 0)
        av_buffer_unref(&ref);
    return ref;
}

/* The lock is held. */
static int opened_get(const char *device_id, struct opened **out, struct sl_failure *why)
{
    for (int32_t i = 0; i < opened_count; i++)
        if (strcmp(opened[i].device_id, device_id) == 0) {
            *out = &opened[i];
            return SL_OK;
        }
    if (opened_count == NODE_DEVICES_MAX)
        return sl_fail(why, SL_ELIMIT, "%s: %d VA devices are open already", device_id,
                       NODE_DEVICES_MAX);
    struct opened *made = &opened[opened_count];
    int code = is_standin(device_id) ? standin_display(device_id, &made->display, why)
                                     : node_display(device_id, &made->display, why);
    if (code != SL_OK)
        return code;
    made->context = context_make(made->display);
    if (!made->context)
        return sl_fail(why, SL_EDEVICELOST, "%s: libavutil cannot use its VA driver \"%s\"",
                       device_id, vaQueryVendorString(made->display));
    snprintf(made->device_id, sizeof made->device_id, "%s", device_id);
    opened_count++;
    *out = made;
    return SL_OK;
}

int gpu_va_context(const char *device_id, AVBufferRef **out, struct sl_failure *why)
{
    struct opened *device;
    pthread_mutex_lock(&lock);
    int code = opened_get(device_id, &device, why);
    pthread_mutex_unlock(&lock);
    if (code == SL_OK)
        *out = device->context;
    return code;
}

VADisplay gpu_va_display(const AVBufferRef *context)
{
    const AVHWDeviceContext *device = (const AVHWDeviceContext *)(const void *)context->data;
    return ((const AVVAAPIDeviceContext *)device->hwctx)->display;
}

/* ---- what a driver says ---- */

static bool has_profile(VADisplay display, VAProfile profile)
{
    int count = vaMaxNumProfiles(display);
    VAProfile *list = calloc((size_t)(count > 0 ? count : 1), sizeof *list);
    bool found = false;
    if (list && vaQueryConfigProfiles(display, list, &count) == VA_STATUS_SUCCESS)
        for (int i = 0; i < count; i++)
            found |= list[i] == profile;
    free(list);
    return found;
}

static bool has_entrypoint(VADisplay display, VAProfile profile, VAEntrypoint entrypoint)
{
    if (!has_profile(display, profile))
        return false;
    int count = vaMaxNumEntrypoints(display);
    VAEntrypoint *list = calloc((size_t)(count > 0 ? count : 1), sizeof *list);
    bool found = false;
    if (list && vaQueryConfigEntrypoints(display, profile, list, &count) == VA_STATUS_SUCCESS)
        for (int i = 0; i < count; i++)
            found |= list[i] == entrypoint;
    free(list);
    return found;
}

static uint32_t told(const VAConfigAttrib *attribute, uint32_t otherwise)
{
    return attribute->value == VA_ATTRIB_NOT_SUPPORTED ? otherwise : attribute->value;
}

bool gpu_va_encodes(VADisplay display, VAProfile profile, struct gpu_va_encode *out)
{
    VAEntrypoint entrypoint = VAEntrypointEncSlice;
    if (!has_entrypoint(display, profile, entrypoint))
        entrypoint = VAEntrypointEncSliceLP;
    if (!has_entrypoint(display, profile, entrypoint))
        return false;
    VAConfigAttrib a[] = {{VAConfigAttribRTFormat, 0},         {VAConfigAttribRateControl, 0},
                          {VAConfigAttribEncMaxRefFrames, 0},  {VAConfigAttribMaxPictureWidth, 0},
                          {VAConfigAttribMaxPictureHeight, 0}, {VAConfigAttribEncQualityRange, 0}};
    if (vaGetConfigAttributes(display, profile, entrypoint, a, sizeof a / sizeof a[0]) !=
        VA_STATUS_SUCCESS)
        return false;
    *out = (struct gpu_va_encode){
        .entrypoint = entrypoint,
        .rt_formats = told(&a[0], VA_RT_FORMAT_YUV420),
        /* As libavcodec assumes of a driver that says nothing. */
        .rate_modes = told(&a[1], VA_RC_CQP),
        .refs_future = (int32_t)(told(&a[2], 0) >> 16),
        .width_max = (int32_t)told(&a[3], 4096),
        .height_max = (int32_t)told(&a[4], 4096),
        .quality_levels = (int32_t)told(&a[5], 0),
    };
    return (told(&a[2], 0) & 0xffff) > 0;
}

bool gpu_va_decodes(VADisplay display, VAProfile profile)
{
    return has_entrypoint(display, profile, VAEntrypointVLD);
}

bool gpu_va_scales(VADisplay display)
{
    return has_entrypoint(display, VAProfileNone, VAEntrypointVideoProc);
}

bool gpu_va_alive(VADisplay display)
{
    VASurfaceID surface;
    VAStatus status =
        vaCreateSurfaces(display, VA_RT_FORMAT_YUV420, 128, 128, &surface, 1, NULL, 0);
    if (status == VA_STATUS_SUCCESS)
        vaDestroySurfaces(display, &surface, 1);
    return status == VA_STATUS_SUCCESS;
}

VAStatus gpu_va_encoder_try(VADisplay display, VAProfile profile, const struct gpu_va_encode *with,
                            int32_t width, int32_t height)
{
    VAConfigID config;
    VAContextID context;
    VAStatus status = vaCreateConfig(display, profile, with->entrypoint, NULL, 0, &config);
    if (status != VA_STATUS_SUCCESS)
        return status;
    status = vaCreateContext(display, config, width, height, VA_PROGRESSIVE, NULL, 0, &context);
    if (status == VA_STATUS_SUCCESS)
        vaDestroyContext(display, context);
    vaDestroyConfig(display, config);
    return status;
}

/* ---- devices ---- */

static void decode_rows(VADisplay display, struct hal_device *device)
{
    static const struct {
        enum codec codec;
        VAProfile profile;
        uint32_t layouts;
    } profiles[] = {
        {CODEC_H264, VAProfileH264High, 1u << HAL_NV12},
        {CODEC_H265, VAProfileHEVCMain, 1u << HAL_NV12},
        {CODEC_H265, VAProfileHEVCMain10, 1u << HAL_P010},
        {CODEC_VP9, VAProfileVP9Profile0, 1u << HAL_NV12},
        {CODEC_VP9, VAProfileVP9Profile2, 1u << HAL_P010},
        {CODEC_AV1, VAProfileAV1Profile0, 1u << HAL_NV12 | 1u << HAL_P010},
    };
    struct hal_row *row = NULL;
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (!gpu_va_decodes(display, profiles[i].profile))
            continue;
        if (!row || row->codec != profiles[i].codec) {
            if (device->row_count == HAL_ROWS_MAX)
                return;
            VAConfigAttrib size[] = {{VAConfigAttribMaxPictureWidth, VA_ATTRIB_NOT_SUPPORTED},
                                     {VAConfigAttribMaxPictureHeight, VA_ATTRIB_NOT_SUPPORTED}};
            vaGetConfigAttributes(display, profiles[i].profile, VAEntrypointVLD, size, 2);
            row = &device->rows[device->row_count++];
            *row = (struct hal_row){
                .codec = profiles[i].codec,
                .direction = HAL_DECODE,
                .width_min = 16,
                .height_min = 16,
                .width_max = (int32_t)told(&size[0], 4096),
                .height_max = (int32_t)told(&size[1], 4096),
            };
        }
        row->layouts |= profiles[i].layouts;
    }
}

/* "Mesa Gallium driver 22.3.6 for AMD Radeon RX 6800 (navi21, LLVM …)", "Intel iHD driver for Intel(R) Gen Graphics -
 * 23.1.1 ()": the part between is the device's name. */
static void names_put(VADisplay display, struct hal_device *out)
{
    const char *vendor = vaQueryVendorString(display);
    vendor = vendor ? vendor : "a VA driver without a name";
    const char *device = strstr(vendor, " for ");
    device = device ? device + strlen(" for ") : vendor;
    const char *end = strstr(device, " (");
    const char *dash = strstr(device, " - ");
    if (!end || (dash && dash < end))
        end = dash;
    int length = end ? (int)(end - device) : (int)strlen(device);
    out->standin = strstr(vendor, "stand-in") != NULL;
    snprintf(out->name, sizeof out->name, "%.*s%s", length < 60 ? length : 60, device,
             out->standin ? " (stand-in)" : "");
    snprintf(out->driver, sizeof out->driver, "%.80s, VA-API %d.%d", vendor, VA_MAJOR_VERSION,
             VA_MINOR_VERSION);
}

static void node_look(const char *node, struct hal_device *out)
{
    struct gpu_drm_sample before, after;
    struct timespec wait = {0, SAMPLE_NS};
    out->memory_bytes = gpu_drm_memory_bytes("", node);
    gpu_drm_telemetry("", node, NULL, NULL, &out->telemetry);
    if (out->telemetry.busy_percent >= 0)
        return;
    gpu_drm_sample("", node, sl_now_ns(), &before);
    nanosleep(&wait, NULL);
    gpu_drm_sample("", node, sl_now_ns(), &after);
    gpu_drm_telemetry("", node, &before, &after, &out->telemetry);
}

static int device_read(const char *device_id, struct hal_device *out, struct sl_failure *why)
{
    struct opened *device;
    pthread_mutex_lock(&lock);
    int code = opened_get(device_id, &device, why);
    pthread_mutex_unlock(&lock);
    if (code != SL_OK)
        return code;
    *out = (struct hal_device){
        .kind = DEVICE_VAAPI,
        .sessions = {.scope = SCOPE_NONE},
        .health = HEALTH_HEALTHY,
        .telemetry = device_telemetry_unknown,
    };
    snprintf(out->device_id, sizeof out->device_id, "%s", device_id);
    names_put(device->display, out);
    decode_rows(device->display, out);
    if (!is_standin(device_id))
        node_look(device_id + strlen(NODE_PREFIX), out);
    return SL_OK;
}

/* All that did not open go into one sentence. */
static void reasons_join(struct sl_failure *why, const struct sl_failure *more)
{
    if (!why || !more->code)
        return;
    struct sl_failure before = *why;
    if (before.code)
        sl_fail(why, before.code, "%s; %.200s", before.message, more->message);
    else
        *why = *more;
}

static void device_add(const char *device_id, struct hal_device *out, int32_t max, int32_t *count,
                       struct sl_failure *why)
{
    struct sl_failure absent = {0};
    if (*count < max && device_read(device_id, &out[*count], &absent) == SL_OK)
        (*count)++;
    reasons_join(why, &absent);
}

static int devices_probe(struct hal_device *out, int32_t max, int32_t *count,
                         struct sl_failure *why)
{
    char nodes[GPU_DRM_NODES_MAX][GPU_DRM_NODE_BYTES], device_id[DEVICE_ID_BYTES];
    char driver[GPU_DRM_WORD_BYTES];
    int32_t node_count = gpu_drm_nodes("", nodes, GPU_DRM_NODES_MAX);
    const char *asked = getenv("SLUICE_STANDIN_VAAPI");
    int standins = asked ? atoi(asked) : 0;
    *count = 0;
    for (int32_t i = 0; i < node_count; i++) {
        gpu_drm_driver("", nodes[i], driver);
        if (strncmp(driver, "nvidia", strlen("nvidia")) == 0)
            continue;
        snprintf(device_id, sizeof device_id, NODE_PREFIX "%s", nodes[i]);
        device_add(device_id, out, max, count, why);
    }
    for (int i = 0; i < standins && i < STANDINS_MAX; i++) {
        snprintf(device_id, sizeof device_id, STANDIN_PREFIX "%d", i);
        device_add(device_id, out, max, count, why);
    }
    if (node_count == 0 && standins <= 0 && why && !why->code)
        sl_fail(why, SL_ENOENT, "there is no render node in /dev/dri");
    return SL_OK;
}

static int device_prepare(const struct hal_device *device, struct sl_failure *why)
{
    AVBufferRef *context;
    return gpu_va_context(device->device_id, &context, why);
}

static void device_telemetry(const char *device_id, struct device_telemetry *out)
{
    static struct watched {
        char device_id[DEVICE_ID_BYTES];
        struct gpu_drm_sample sample;
    } watched[NODE_DEVICES_MAX];
    struct gpu_drm_sample now;
    int i = 0;
    if (is_standin(device_id))
        return;
    while (i < NODE_DEVICES_MAX - 1 && watched[i].device_id[0] &&
           strcmp(watched[i].device_id, device_id) != 0)
        i++;
    bool known = strcmp(watched[i].device_id, device_id) == 0;
    const char *node = device_id + strlen(NODE_PREFIX);
    gpu_drm_sample("", node, sl_now_ns(), &now);
    gpu_drm_telemetry("", node, known ? &watched[i].sample : NULL, &now, out);
    snprintf(watched[i].device_id, sizeof watched[i].device_id, "%s", device_id);
    watched[i].sample = now;
}

const struct hal_device_ops gpu_va_device_ops = {
    .kind = DEVICE_VAAPI,
    .probe = devices_probe,
    .prepare = device_prepare,
    .telemetry = device_telemetry,
};
