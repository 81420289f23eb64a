/* media/media_video.h: which picture of a file is taken, and what headers say of it.
 *
 * Errors:  SL_ENOVIDEO, SL_EUNSUPPORTED (a stream that is no video, no decoder), SL_EDECODE.
 * Threads: one per source.
 */
#ifndef SL_MEDIA_MEDIA_VIDEO_H
#define SL_MEDIA_MEDIA_VIDEO_H

#include <libavformat/avformat.h>

#include "base/error.h"
#include "model/media_types.h"

/* Counts streams by kind and lists the video streams. */
void media_video_list(AVFormatContext *format, struct media_info *info);

/* *out stays NULL for a source without a picture. The stream asked for by info->stream_asked, or the one that av_find_best_stream takes. */
int media_video_choose(AVFormatContext *format, const struct media_info *info, AVStream **out,
                       struct sl_failure *why);

/* What headers say. sar is 0:0 where they say nothing. SL_EUNSUPPORTED for what cannot be shown rightly. */
int media_video_fill(AVFormatContext *format, AVStream *stream, struct media_video *video,
                     struct sl_failure *why);

/* What the container says of the display it was mastered on, and of its light. */
void media_video_hdr(const AVStream *stream, struct media_hdr *out);

/* The eight ways to show a picture as a mirror and a turn: false for any other angle. */
bool media_video_orientation(const uint8_t *matrix, size_t bytes, struct media_video *video);

#endif
