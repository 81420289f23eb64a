/* media/media_look.h: a short decode before anything is spent on a source.
 *
 * Packet headers say nothing about whether a picture can be had: a stream may be encrypted, its data missing. So the
 * probe decodes a few frames at the start and at the last keyframe, and takes from the first what headers leave open
 * or say wrongly: size, pixel format, colours, light, orientation. Where fields are possible it looks at more frames, at
 * several places, for which field comes first and for 2:3 pulldown. Damage in between is for the chunks to find;
 * damage that still gives frames is no reason to refuse.
 *
 * Errors:  SL_EDECODE, SL_EUNSUPPORTED, SL_ETOOBIG; what the source's reads return.
 * Threads: the source's.
 */
#ifndef SL_MEDIA_MEDIA_LOOK_H
#define SL_MEDIA_MEDIA_LOOK_H

#include "media/media_source.h"
#include "model/media_types.h"

/* video: as headers have it, with first_pts, end_pts and seekable; completed here. index: where keyframes are. The source
 * is somewhere else afterwards, and lets only this stream through. */
int media_look(struct media_source *source, const AVStream *stream, const struct media_index *index,
               struct media_video *video, struct sl_failure *why);

#endif
