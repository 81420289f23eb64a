/* cpu/cpu_scale.h: one decoded picture to one rung's picture, on the CPU, by zimg.
 *
 * Bicubic with antialiasing, planar YUV of 8 to 16 bits and any chroma subsampling or planar RGB in, I420, NV12 or their 10-bit
 * kin out, colour matrix and range converted. Colour that the source leaves unspecified is taken to be the target's.
 * Where depth is lost, ordered dither; chroma is sited left. The filter graph is built once per source geometry.
 *
 * Owns:    the scaler and its scratch; pictures stay the caller's.
 * Errors:  SL_EUNSUPPORTED for a pixel format that zimg cannot read, naming it.
 * Threads: one thread per scaler.
 */
#ifndef SL_CPU_CPU_SCALE_H
#define SL_CPU_CPU_SCALE_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "hal/hal.h"

struct cpu_scale;

struct cpu_scale_target {
    enum hal_layout layout;
    int32_t width, height;
    int32_t color_primaries, color_transfer, color_matrix; /* 2: keep the source's */
    bool full_range;
};

/* like: a frame with the source's format, size and colour. */
int cpu_scale_open(const AVFrame *like, const struct cpu_scale_target *target,
                   struct cpu_scale **out, struct sl_failure *why);
/* Does the scaler still fit this frame? A source may change in mid-stream. */
bool cpu_scale_fits(const struct cpu_scale *scale, const AVFrame *frame);
/* Is the source's picture the target's already? Then cpu_scale_run only copies, and a caller that can
 * give the source frame itself to the encoder saves even that. */
bool cpu_scale_is_copy(const struct cpu_scale *scale);
/* into: a frame of the target's format and size with buffers (av_frame_get_buffer), written whole. */
int cpu_scale_run(struct cpu_scale *scale, const AVFrame *from, AVFrame *into,
                  struct sl_failure *why);
void cpu_scale_close(struct cpu_scale **scale);

#endif
