/* tests/plan/plan_kit.h: synthetic sources, and reports as a faithful worker would send them. */
#ifndef SL_TESTS_PLAN_PLAN_KIT_H
#define SL_TESTS_PLAN_PLAN_KIT_H

#include <stddef.h>
#include <stdint.h>

#include "scheduler/plan/plan.h"

struct kit_source {
    struct media_info info;
    struct media_index index;
};

/* frames of a constant rate with a keyframe every key_every frames (0: only the first). */
void kit_source_cfr(struct kit_source *source, int32_t width, int32_t height,
                    struct rational time_base, int64_t pts_step, size_t frames, size_t key_every);

/* Room for frames; pts, keys and bytes are the caller's to fill (bytes are filled in order). */
void kit_source_open(struct kit_source *source, int32_t width, int32_t height,
                     struct rational time_base, size_t frames);
void kit_source_close(struct kit_source *source);

/* H.264 with the default ladder, AAC. */
struct policy kit_policy(void);
void kit_policy_codec_add(struct policy *policy, enum codec codec);

/* A report of a faithful worker for a piece. */
struct report *kit_report_transcode(const struct plan *plan, int32_t piece, struct sl_arena *arena);
struct report *kit_report_audio(const struct plan *plan, int32_t piece, struct sl_arena *arena);

#endif
