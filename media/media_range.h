/* media/media_range.h: exactly the frames of a half-open range of presentation time.
 *
 * A range is decoded from a keyframe: the one at its start, or with preroll some keyframes earlier, or from the start
 * of the source (linear). Decoders that keep what they learned from the first packet (old x264 4:4:4) are shown
 * it first and flushed. Where the seek lands is checked by time and key flag; when it lands late the source is
 * walked from its start. Frames before the range are dropped; decoding goes on until the first frame behind it came out,
 * so that every frame inside did, and that frame's hash is the seam to the next chunk.
 *
 * On a device (NVDEC) pictures are surfaces of its memory; H.264, H.265, VP9 and AV1 say exactly what a decoder has to
 * give, so that frames and hashes are those of the CPU. What the device refuses, and what it does not show as the CPU does (film
 * grain, a change of size), is decoded on the CPU from there on: surfaces may be followed by pictures in memory.
 *
 * Owns:     the demuxer and the decoder; a frame is lent until the next call.
 * Units:    pts in the video stream's time base.
 * Errors:   as media_source.h; SL_EDECODE for frames that come out of order; SL_ECHANGED.
 * Threads:  one thread per range.
 * Blocking: as the input's reads do.
 */
#ifndef SL_MEDIA_MEDIA_RANGE_H
#define SL_MEDIA_MEDIA_RANGE_H

#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "media/media_source.h"
#include "model/job_types.h"
#include "model/media_types.h"

struct media_range;

struct media_range_params {
    const struct media_video *video; /* as probed */
    int64_t start_pts;
    int64_t end_pts;
    int32_t preroll; /* PREROLL_NONE, keyframes, PREROLL_LINEAR */
    bool
        context; /* give the frame before the range and the one behind it as well, for filters that look around */
    AVBufferRef *
        device; /* decode there where it can: an AVHWDeviceContext, which has to outlive the range; NULL: on the CPU */
    enum AVPixelFormat surface; /* as its pictures are labelled */
};

struct media_range_stats {
    int64_t frames;         /* given out, context not counted */
    int64_t frames_dropped; /* decoded before the start */
    int64_t
        errors; /* packets inside the range that the decoder refused, and frames it marked corrupt */
    bool linear;         /* walked from the start of the source */
    bool device_left;    /* the device was: what came since it refused something is the CPU's */
    uint64_t seam_first; /* hash of the first frame; 0 before it */
    uint64_t seam_next;  /* of the first frame behind the range; 0 where the source ends */
};

int media_range_open(const struct media_input *input, const struct media_range_params *params,
                     struct media_range **out, struct sl_failure *why);

/* The next frame: 1; 0 when the range is complete; SL_E*. Its pts is set: by it context is told from the range. */
int media_range_next(struct media_range *range, AVFrame **out, struct sl_failure *why);

/* What a surface's samples would be on the CPU (media_frame_download). */
enum AVPixelFormat media_range_samples(const struct media_range *range);

const struct media_range_stats *media_range_stats(const struct media_range *range);

void media_range_close(struct media_range **range);

#endif
