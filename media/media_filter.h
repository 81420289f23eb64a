/* media/media_filter.h: the frames of a range, made into pictures that rungs can scale.
 *
 * What comes out is upright, progressive, of square or of the planned sample shape, SDR unless the plan keeps HDR, and planar as cpu/cpu_scale.h reads
 * it; one picture for each frame of the range, with its time. A frame that needs nothing passes through
 * untouched. What a frame becomes depends on it, its neighbours and the plan alone, so that chunks meet: a
 * deinterlacer gets the frames around the range as well (media_range_params.context).
 *
 * A surface of a device's memory that needs nothing stays one, until media_filter_to_host; others are fetched from the device.
 *
 * A frame whose shape differs from the planned one (a source that changes in mid-stream) is fitted into the planned
 * shape, with bars where the proportions differ.
 *
 * Owns:     filters; the range stays the caller's. A picture is lent until the next call.
 * Errors:   as media_range.h and media_graph.h; SL_EUNSUPPORTED for fields or HDR that the plan knows nothing of.
 * Threads:  one thread.
 */
#ifndef SL_MEDIA_MEDIA_FILTER_H
#define SL_MEDIA_MEDIA_FILTER_H

#include "media/media_range.h"
#include "model/plan_types.h"

struct media_filter;

struct media_filter_params {
    const struct media_video *video;
    const struct plan_picture *how;
    int64_t start_pts; /* of the range: pictures outside are context */
    int64_t end_pts;
    /* Who scales the pictures also maps HDR to SDR, crops, mirrors and turns them: what is to be cropped is in the frames' crop members, the
     * rest in video. */
    bool laid_later;
    /* With laid_later, and also makes one picture of two fields: frames come as they are, those around the range too.
     * SL_EUNSUPPORTED: one that would have to be filtered after that. */
    bool fields_later;
};

int media_filter_open(struct media_range *range, const struct media_filter_params *params,
                      struct media_filter **out, struct sl_failure *why);

/* The next picture: 1; 0 when there are no more; SL_E*. */
int media_filter_next(struct media_filter *filter, AVFrame **out, struct sl_failure *why);

/* From now on pictures are in host memory, laid (laid_later) and progressive (fields_later), also the one that is lent. To be
 * called after the first, or between any two without fields_later. */
int media_filter_to_host(struct media_filter *filter, struct sl_failure *why);

/* One frame by itself, turned into its picture in place. */
int media_filter_frame(const struct media_filter_params *params, AVFrame *frame,
                       struct sl_failure *why);

/* Whether the deinterlacer here makes the rows at the edges of its first picture of more than that picture: some releases of
 * libavfilter do, others do not, whatever their number. */
bool media_filter_first_edges(void);

void media_filter_close(struct media_filter **filter);

#endif
