/* media/media_try.h: a short decode before anything is spent on a source.
 *
 * Packet headers say nothing about whether a picture can be had: a stream may be encrypted, its data missing, its
 * frames of another size than announced. So the probe decodes a few frames at the start and at the last keyframe.
 * Damage in between is for the chunks to find; damage that still gives frames is no reason to refuse.
 *
 * Errors:  SL_EDECODE, SL_EUNSUPPORTED, SL_ETOOBIG; what the source's reads return.
 * Threads: the source's.
 */
#ifndef SL_MEDIA_MEDIA_TRY_H
#define SL_MEDIA_MEDIA_TRY_H

#include "media/media_source.h"

/* last_key_pts: of the last keyframe; AV_NOPTS_VALUE where the source cannot be sought in: the start is tried alone.
 * The source is somewhere else afterwards, and lets only this stream through. */
int media_try_video(struct media_source *source, const AVStream *stream, int64_t first_pts,
                    int64_t last_key_pts, struct sl_failure *why);

#endif
