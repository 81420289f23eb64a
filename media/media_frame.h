/* media/media_frame.h: decoded pictures, as the rest of the worker handles them.
 *
 * Owns:    what media_frame_make returns is the caller's (av_frame_free).
 * Errors:  NULL when there is no memory.
 * Threads: a frame is one thread's; references to its buffers may be held by others that only read.
 */
#ifndef SL_MEDIA_MEDIA_FRAME_H
#define SL_MEDIA_MEDIA_FRAME_H

#include <libavutil/frame.h>
#include <stdint.h>

#include "hal/hal.h"

/* Is the picture in a device's memory, without planes of its own here? */
bool media_frame_is_surface(const AVFrame *frame);

/* A surface as the picture that the CPU's decoder would have given, of the format samples; times and colours are kept. NULL when the
 * device does not give it back. */
AVFrame *media_frame_download(const AVFrame *surface, enum AVPixelFormat samples);

/* A hash of what can be seen: every plane's visible bytes, the size, the format and the time. The same on every
 * machine; never 0, which means "no frame". */
uint64_t media_frame_hash(const AVFrame *frame);

/* Does the decoder say that it holds two fields, and which of them is the earlier? */
bool media_frame_is_interlaced(const AVFrame *frame);
bool media_frame_is_top_first(const AVFrame *frame);
/* Says so of a picture. */
void media_frame_say_fields(AVFrame *frame, bool top_first);

/* The picture as encoders take it; points into frame. */
void media_frame_view(const AVFrame *frame, enum hal_layout layout, struct hal_frame *out);

/* A picture with buffers of its own. */
AVFrame *media_frame_make(enum hal_layout layout, int32_t width, int32_t height);

#endif
