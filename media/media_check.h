/* media/media_check.h: reads a finished segment back, as a player would.
 *
 * Init and segment are demuxed as one file; times, count and keyframe are held against what was promised, and as much
 * of it as asked for is decoded.
 *
 * Units:   ticks of the rendition's time scale, from the plan's zero.
 * Errors:  SL_EMISMATCH with what was found and what was promised; SL_ENOMEM.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_CHECK_H
#define SL_MEDIA_MEDIA_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum media_check_decode { MEDIA_CHECK_FIRST_GOP, MEDIA_CHECK_WHOLE };

struct media_check_want {
    bool audio;
    int32_t timescale;
    int32_t frame_count;  /* audio: access units */
    int64_t start_ticks;  /* of the first frame */
    int64_t last_ticks;   /* of the last */
    const int64_t *ticks; /* every frame's, ascending; NULL: not known */
    int32_t width;
    int32_t height;
    enum media_check_decode decode;
};

/* *out_decoded: frames that were decoded. */
int media_check_segment(const void *init, size_t init_bytes, const void *segment,
                        size_t segment_bytes, const struct media_check_want *want,
                        int64_t *out_decoded, struct sl_failure *why);

#endif
