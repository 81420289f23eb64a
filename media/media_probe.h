/* media/media_probe.h: reads every packet header of a source once.
 *
 * Fills the facts about the source and the index: one row per presented video frame in presentation order. What an
 * edit list hides is not presented; frames before the first keyframe of H.264 and H.265 cannot be decoded and are not
 * rows. The last frame lasts as its packet says, else as long as the one before it.
 *
 * Owns:    index columns live in the arena.
 * Errors:  SL_EFORMAT, SL_ENOVIDEO, SL_EDECODE, SL_EUNSUPPORTED (packets without usable times, no decoder),
 *          SL_ETOOBIG past MEDIA_INDEX_ROWS_MAX, SL_EIO, SL_ENOMEM; the sentence says what would work.
 * Threads: any, each with its own arena.
 */
#ifndef SL_MEDIA_MEDIA_PROBE_H
#define SL_MEDIA_MEDIA_PROBE_H

#include "base/arena.h"
#include "base/error.h"
#include "media/media_source.h"
#include "model/media_types.h"

/* Called now and then with the bytes passed so far and the size; may be NULL. */
struct media_progress {
    void (*note)(void *arg, int64_t done, int64_t total);
    void *arg;
};

/* stream_asked: index of the video stream to take; -1: the one that av_find_best_stream takes. */
int media_probe(const struct media_input *input, int32_t stream_asked, struct sl_arena *arena,
                const struct media_progress *progress, struct media_info *info,
                struct media_index *index, struct sl_failure *why);

#endif
