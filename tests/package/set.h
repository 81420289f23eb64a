/* tests/package/set.h: a whole set made the way workers make it: chunks by separate sessions, fragments by separate
 * writers, then joined.
 */
#ifndef SL_TESTS_PACKAGE_SET_H
#define SL_TESTS_PACKAGE_SET_H

#include <stdbool.h>

#include "base/buf.h"
#include "model/published_types.h"
#include "tests/encoders/clip.h"

#define SET_SEGMENTS_MAX 32

/* One rendition's bytes and what the daemon would know about them. */
struct track {
    struct sl_buf init;
    struct sl_buf segments[SET_SEGMENTS_MAX];
    struct published_segment published[SET_SEGMENTS_MAX];
    int32_t count;
    char codecs[CODECS_BYTES];
    int32_t timescale;
    int64_t reorder_ticks;
};

bool set_has_x264(void);

/* Segments start at the given frames, starts[0] being 0; chunks at those whose bit is set in chunk_bits. */
void track_video(const struct clip *clip, int32_t timescale, int32_t width, int32_t height,
                 const int32_t *starts, int32_t segments, uint32_t chunk_bits, struct track *out);
/* A click at every whole second over silence, in segments of about segment_samples. */
void track_audio(int32_t seconds, int32_t rate, int32_t segment_samples, struct track *out);
void track_free(struct track *track);
/* init and all segments, one after another. */
void track_join(const struct track *track, struct sl_buf *out);

/* D of the plan for this clip: the most that four frames last. */
int64_t clip_reorder_ticks(const struct clip *clip);

#endif
