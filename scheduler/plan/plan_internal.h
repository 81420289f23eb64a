/* scheduler/plan/plan_internal.h: what the planner's own files share.
 *
 * Threads: any; everything here is pure.
 */
#ifndef SL_SCHEDULER_PLAN_PLAN_INTERNAL_H
#define SL_SCHEDULER_PLAN_PLAN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/plan_types.h"
#include "model/report_types.h"

#define PLAN_SIDE_MAX        16384                  /* of a picture, in samples */
#define PLAN_SIDE_MIN        16                     /* the least that encoders take */
#define PLAN_CODEC_RUNGS_MAX (POLICY_RUNGS_MAX + 1) /* the policy's and one of the source's size */

/* Keeps every product of the plan far inside 64 bits. */
#define PLAN_PTS_LIMIT       (INT64_C(1) << 60)
#define PLAN_AUDIO_RATE      48000 /* time base of a plan without a picture */

struct plan_size {
    int32_t width;
    int32_t height;
};

/* The picture upright with square samples: height kept, width stretched. A sample aspect that would
 * give an absurd width is taken for damage and ignored. */
struct plan_size plan_upright_size(const struct media_video *video);

/* Of the picture as coded, in square samples; 0 where the shape of the samples is nonsense: they are taken for square. */
int64_t plan_stretched_width(const struct media_video *video);

/* The upright source within the box of box_height*16/9 x box_height, turned for portrait; never above the source. */
struct plan_size plan_box_size(struct plan_size source, int64_t box_height);

/* Colours, fields and light of the whole video in one codec, once for all chunks. codec NULL: as for H.264. */
void plan_picture_choose(const struct media_video *video, const struct policy_codec *codec,
                         struct plan_picture *out);

/* Fills plan->rungs, rung_count and codec_count. Needs plan->video. Whatever the policy's order, codecs come as enum
 * codec counts: what plays first, and what a master playlist names first, is H.264 where there is any. */
int plan_rungs_choose(const struct policy *policy, struct sl_arena *arena, struct plan *plan,
                      struct sl_failure *why);

/* Fills segments and chunks. Needs plan->video, origin_pts, end_pts and the rungs. */
int plan_cut(const struct media_index *index, const struct policy *policy, struct sl_arena *arena,
             struct plan *plan, struct sl_failure *why);

/* Fills sources, audio and left_out. */
int plan_audio_choose(const struct media_info *info, const struct policy *policy,
                      struct sl_arena *arena, struct plan *plan, struct sl_failure *why);

/* Without a picture: the time line from the earliest sound to the latest, and segments of the policy's length.
 * Needs the sources. */
int plan_audio_time_line(const struct policy *policy, struct sl_arena *arena, struct plan *plan,
                         struct sl_failure *why);

/* Fill texts, chapters and images. Need the time line; images need the rungs. */
int plan_texts_choose(const struct media_info *info, const struct policy *policy,
                      struct sl_arena *arena, struct plan *plan, struct sl_failure *why);
int plan_chapters_choose(const struct media_info *info, struct sl_arena *arena, struct plan *plan,
                         struct sl_failure *why);
int plan_images_choose(const struct media_index *index, const struct policy *policy,
                       struct sl_arena *arena, struct plan *plan, struct sl_failure *why);

/* Luma samples of the source's frame and of all rungs of a codec, for one frame. */
int64_t plan_frame_pix(const struct plan *plan, enum codec codec);

/* frames * pix in whole Mpix, rounded up. */
int64_t plan_work_mpix(int64_t frames, int64_t pix);

/* Chunk and n-th codec of a piece; false when there is no such piece. */
bool plan_piece_split(const struct plan *plan, int32_t piece, int32_t *chunk, enum codec *codec);

/* A duration in the video's time base, at least 1. */
int64_t plan_ns_to_pts(const struct plan *plan, int64_t ns);

/* Is name a key that a worker may have asked for inside folder ("h264/720p/")? Relative, of plain letters,
 * without "..", and ended within its bytes. */
bool plan_key_is_under(const char *name, const char *folder);

/* Memory of a decoder, per sample of the source's picture. */
#define PLAN_DECODE_BYTES_PER_PIX 48

#endif
