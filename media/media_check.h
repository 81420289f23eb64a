/* media/media_check.h: reads a finished segment back, as a player would.
 *
 * Init and segment are demuxed as one file; times, count, keyframe, depth and colours are held against what was promised, and as much
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
#include "hal/hal.h"
#include "model/media_types.h"

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
    int32_t bit_depth; /* 0: nothing is asked of depth and colours */
    int32_t color_primaries, color_transfer, color_matrix; /* ITU-T H.273 */
    const struct media_hdr *hdr; /* what the sample entry has to say; NULL: nothing is asked */
    enum media_check_decode decode;
    /* Each decoded picture, numbered from 0 in the order in which they are shown, as planes of 4:2:0; NULL: nobody looks. */
    void (*shown)(void *arg, int64_t number, const struct hal_frame *picture);
    void *shown_arg;
};

/* *out_decoded: frames that were decoded. */
int media_check_segment(const void *init, size_t init_bytes, const void *segment,
                        size_t segment_bytes, const struct media_check_want *want,
                        int64_t *out_decoded, struct sl_failure *why);

#endif
