/* tests/media/media_kit.h: clips to try, and what a plain walk from the start makes of them.
 *
 * Clips come from $SLUICE_MEDIA/clips (default ../shared/media/clips). Where they are absent the ffmpeg program makes one
 * small clip in their place; where that is absent too, tests skip.
 */
#ifndef SL_TESTS_MEDIA_MEDIA_KIT_H
#define SL_TESTS_MEDIA_MEDIA_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "media/media_source.h"
#include "model/media_types.h"

struct kit_clip {
    int fd;
    struct media_input input;
};

/* false: there is no such clip. */
bool kit_clip_open(struct kit_clip *clip, const char *name);
void kit_clip_close(struct kit_clip *clip);

/* A clip made on the spot (H.264, B-frames, 3 s of 320x180 at 25 Hz with a tone); false without ffmpeg. */
bool kit_made_open(struct kit_clip *clip);

/* A clip of ffmpeg's test picture, made with these arguments into a container of this kind ("ts"). */
bool kit_trait_open(struct kit_clip *clip, const char *kind, const char *input, const char *args);

/* A file of these bytes. */
void kit_bytes_open(struct kit_clip *clip, const void *bytes, size_t length);

void kit_probe(const struct kit_clip *clip, struct sl_arena *arena, struct media_info *info,
               struct media_index *index);

struct kit_frame {
    int64_t pts;
    uint64_t hash;
};

/* Every frame of a range; the caller frees. */
struct kit_frame *kit_range(const struct media_input *input, const struct media_video *video,
                            int64_t start_pts, int64_t end_pts, int32_t preroll, size_t *out_count,
                            uint64_t *out_seam_first, uint64_t *out_seam_next, bool *out_linear);

#endif
