/* gpu/gpu_picture.h: a decoded picture as kernels read it, from wherever it comes.
 *
 * Owns:    a room's memory is its owner's (gpu_room_free, in the context); the picture in it is there until the next one.
 * Shapes:  planes as gpu/gpu_abi.h has them; planes that are not there have no rows.
 * Errors:  gpu/gpu_error.h.
 * Threads: one thread; the context is entered by the caller.
 */
#ifndef SL_GPU_GPU_PICTURE_H
#define SL_GPU_GPU_PICTURE_H

#include <libavutil/frame.h>

#include "gpu/gpu_abi.h"
#include "gpu/gpu_driver.h"
#include "hal/hal.h"

struct gpu_picture {
    struct kernel_source at;
    int32_t bytes[3], rows[3]; /* of a row, without what lies between rows; of the plane */
};

/* The GPU's memory for one picture; grows with it. */
struct gpu_room {
    gpu_u64 at;
    size_t bytes;
};

/* Of the samples, also where the frame is a surface: AV_PIX_FMT_NONE for one without a pool. */
int gpu_picture_format(const AVFrame *frame);
/* false: kernels do not read such pictures. */
bool gpu_picture_layout(int format, enum hal_layout *out);

/* Bytes and rows; nothing of where it is. */
void gpu_picture_shape(enum hal_layout layout, int32_t width, int32_t height,
                       struct gpu_picture *out);
/* A surface where it lies. SL_EUNSUPPORTED: kernels cannot fetch it from there. */
int gpu_picture_lend(const AVFrame *surface, struct gpu_picture *shaped, struct sl_failure *why);
/* A copy of a picture of the host or of a surface; of the latter it is queued on the context's stream. */
int gpu_picture_copy(const struct gpu_driver *driver, const AVFrame *from, struct gpu_room *room,
                     struct gpu_picture *shaped, struct sl_failure *why);

/* An AVHWFramesContext for surfaces of that layout, NV12 or P010. */
int gpu_picture_pool(const struct gpu_driver *driver, AVBufferRef *context, enum hal_layout layout,
                     int32_t width, int32_t height, AVBufferRef **out, struct sl_failure *why);

/* libavutil (rc) says no more than that there was no memory: of a GPU that is gone it is as little heard. One that is full has
 * room when other sessions have ended, as when it has no session: SL_ESESSIONS. */
int gpu_picture_missing(const struct gpu_driver *driver, int32_t width, int32_t height, int rc,
                        struct sl_failure *why);

int gpu_room_need(const struct gpu_driver *driver, struct gpu_room *room, size_t bytes,
                  struct sl_failure *why);
void gpu_room_free(const struct gpu_driver *driver, struct gpu_room *room);

#endif
