/* media/media_picture.h: single pictures and short animations as files for browsers.
 *
 * Frames are I420 in BT.601: full range for JPEG (JFIF knows nothing else), limited range for WebP.
 *
 * Owns:    appends to the caller's buffer.
 * Errors:  SL_EUNSUPPORTED when this libavcodec has no such encoder, SL_EENCODE, SL_ENOMEM.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_PICTURE_H
#define SL_MEDIA_MEDIA_PICTURE_H

#include <libavutil/frame.h>

#include "base/buf.h"
#include "base/error.h"

/* quality: 2 is the finest, 31 the coarsest. */
int media_picture_jpeg(const AVFrame *frame, int quality, struct sl_buf *out,
                       struct sl_failure *why);

/* Shown one after another, each for frame_ms, for ever. All of one size. */
int media_picture_webp(AVFrame *const *frames, int count, int frame_ms, struct sl_buf *out,
                       struct sl_failure *why);

/* Reads a JPEG or WebP file back: its size, and whether it decodes. */
int media_picture_check(const void *bytes, size_t length, int32_t *out_width, int32_t *out_height,
                        struct sl_failure *why);

#endif
