/* gpu/gpu_loader.h: the function tables of ffnvcodec's loader, whose complaints are kept instead of printed.
 *
 * The one way to dynlink_loader.h in this tree.
 */
#ifndef SL_GPU_GPU_LOADER_H
#define SL_GPU_GPU_LOADER_H

#include <stdio.h>

struct gpu_loader_log {
    char text[128];
};

#define FFNV_LOG_FUNC(logctx, ...)                                                                 \
    do {                                                                                           \
        struct gpu_loader_log *gpu_log = (logctx);                                                 \
        if (gpu_log)                                                                               \
            snprintf(gpu_log->text, sizeof gpu_log->text, __VA_ARGS__);                            \
    } while (0)
#define FFNV_DEBUG_LOG_FUNC(logctx, ...)                                                           \
    do {                                                                                           \
        (void)(logctx);                                                                            \
    } while (0)

#include <ffnvcodec/dynlink_loader.h>

#endif
