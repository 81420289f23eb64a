/* media/media_text.h: one subtitle track, a stream of the source or an uploaded file, as cues on the plan's time line.
 *
 * Streams: the whole source is walked once for its packets; edit lists are the demuxer's. Uploaded files: SRT, ASS/SSA or
 * WebVTT, told apart by their first lines, in any coding of media_charset.h, of at most MEDIA_SIDECAR_BYTES_MAX. All go through
 * libavcodec's decoders, which speak ASS (media_ass.h). Cues are cut to the time line, sorted, and one that says the same
 * at the same time as another is left out.
 *
 * Owns:    cues live in the arena.
 * Units:   milliseconds from the plan's zero.
 * Errors:  SL_EFORMAT, SL_EDECODE, SL_EUNSUPPORTED, SL_ETOOBIG past a limit of model/text_types.h; as media_source.h.
 * Threads: any, each with its own arena.
 */
#ifndef SL_MEDIA_MEDIA_TEXT_H
#define SL_MEDIA_MEDIA_TEXT_H

#include "base/arena.h"
#include "media/media_probe.h"
#include "media/media_source.h"
#include "model/job_types.h"
#include "model/text_types.h"

#define MEDIA_SIDECAR_BYTES_MAX (8 * 1024 * 1024)

/* Is this a codec of text that media_text_read takes? */
bool media_text_codec(enum AVCodecID codec);

int media_text_read(const struct media_input *input, const struct job_text *job,
                    struct sl_arena *arena, const struct media_progress *progress,
                    struct text_cue **out, size_t *out_count, struct sl_failure *why);

#endif
