/* media/media_stills.h: single keyframes of a source, decoded alone.
 *
 * Sources that seek are read only around the keyframes asked for; others are walked once. Nothing but keyframes is
 * decoded, except by media_stills_on, and where a keyframe gives no picture by itself.
 *
 * Owns:    the demuxer and the decoder; a frame is lent until the next call.
 * Units:   pts in the video stream's time base.
 * Errors:  as media_source.h.
 * Threads: one thread per reader.
 */
#ifndef SL_MEDIA_MEDIA_STILLS_H
#define SL_MEDIA_MEDIA_STILLS_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "media/media_source.h"
#include "model/media_types.h"

struct media_stills;

/* Keeps input for when the source is to be read again from its start. */
int media_stills_open(const struct media_input *input, const struct media_video *video,
                      struct media_stills **out, struct sl_failure *why);

/* The keyframe at pts, or the first whole picture behind one that gives none: 1; 0 when it is not there or does not
 * decode; SL_E*. */
int media_stills_at(struct media_stills *stills, int64_t pts, AVFrame **out,
                    struct sl_failure *why);

/* The frame behind the one given last, keyframe or not: 1; 0 at the end; SL_E*. */
int media_stills_on(struct media_stills *stills, AVFrame **out, struct sl_failure *why);

void media_stills_close(struct media_stills **stills);

#endif
