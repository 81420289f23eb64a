/* scheduler/plan/plan.h: media info and policy to a plan, and reports held against it.
 *
 * Pure: no I/O, no clock; the same input gives the same plan.
 * Owns:    what is built lives in the arena given.
 * Units:   pts in the source's time base; ticks are 1/timescale from the plan's zero.
 * Errors:  SL_E* with a sentence in `why`: the limit passed, the value found, what would work.
 * Threads: any, each with its own arena.
 */
#ifndef SL_SCHEDULER_PLAN_PLAN_H
#define SL_SCHEDULER_PLAN_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/job_types.h"
#include "model/media_types.h"
#include "model/plan_types.h"
#include "model/policy_types.h"
#include "model/published_types.h"
#include "model/report_types.h"
#include "model/task_types.h"

/* Order of a video's tasks among themselves, smaller first: the opening chunk, then audio, then the first half of the
 * chunks as they will be watched, all of the codec that plays first; then the others, and those of other codecs, from the
 * longest down, so that no long one is left for the end.
 * Subtitles and images go with the audio. */
#define PLAN_ORDER_FIRST 0
#define PLAN_ORDER_AUDIO 1

/* Decides rungs, segments, chunks, time scale and reorder depth.
 *
 * Rungs: each policy rung is the box height*16/9 x height (turned for portrait) that the upright,
 * square-pixel picture fits into; never larger than the source; even sizes, rounded to nearest; equal
 * sizes once; at least one rung for sources below the smallest. Chunk boundaries lie on source keyframes;
 * segment boundaries inside are frames. A final stub shorter than half a segment joins its neighbour. The opening
 * of a video is a chunk of one short segment, wherever the next keyframe is: it is what plays first.
 *
 * Audio: a rendition for each entry of the policy and each stream of the source, as far as PLAN_AUDIO_MAX reaches.
 * Without a picture the plan has segments of the policy's length and nothing to transcode. */
int plan_build(const struct media_info *info, const struct media_index *index,
               const struct policy *policy, struct sl_arena *arena, struct plan *out,
               struct sl_failure *why);

/* An uploaded subtitle file, as it lies beside the original. */
struct plan_sidecar {
    char language[MEDIA_WORD_BYTES];
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
};

/* Adds a track for each to a plan just built, unless the policy wants no subtitles. */
int plan_sidecars_add(const struct plan_sidecar *sidecars, int32_t count,
                      const struct policy *policy, struct plan *plan, struct sl_failure *why);

/* What a person should know of how the source was taken and changed: one sentence each. */
#define PLAN_NOTES_MAX      20
#define PLAN_SENTENCE_BYTES 512

struct plan_notes {
    int32_t count;
    char text[PLAN_NOTES_MAX][PLAN_SENTENCE_BYTES];
};

void plan_notes_make(const struct media_info *info, const struct policy *policy,
                     struct plan_notes *out);

/* Source pts to ticks of the plan's time line, rounded to nearest with halves away from zero, as
 * av_rescale_q does with (pts - origin_pts) from time_base to 1/timescale. */
int64_t plan_ticks(const struct plan *plan, int64_t pts);

/* Rungs of one codec: index of the first and their number; 0 when the plan has none of it. */
int32_t plan_codec_rungs(const struct plan *plan, enum codec codec, int32_t *out_first);

/* The n-th codec of the plan: transcode piece = chunk * codec_count + n. */
enum codec plan_codec_at(const struct plan *plan, int32_t n);

/* What the pieces ask of a node, and their order within the video.
 * Zero demand and INT64_MAX for a piece that the plan does not have; zero for steps never leased. */
struct demand plan_transcode_demand(const struct plan *plan, int32_t piece);
int64_t plan_transcode_order(const struct plan *plan, int32_t piece);
struct demand plan_step_demand(enum step step);

/* Whose video it is, as conditions of a route ask. */
struct plan_who {
    const char *provider; /* may be NULL */
    enum priority priority;
};

/* The entries of a codec's route in the policy that a video may use, in order. */
struct plan_route {
    int32_t entries[POLICY_ROUTE_MAX]; /* index into the policy's route */
    int32_t count;
};

/* Sizes are looked at of the largest rung. SL_EINVAL when no entry is left. */
int plan_route_choose(const struct plan *plan, const struct policy *policy, enum codec codec,
                      const struct plan_who *who, struct plan_route *out, struct sl_failure *why);

/* What any piece of the codec asks of a node where its encoder is a device of its own, beside its work. */
struct demand plan_device_demand(const struct plan *plan, enum codec codec);

/* Gives the rungs of a transcode job the encoder, preset and quality of an entry of the policy's route. */
int plan_job_route(const struct policy *policy, enum codec codec, int32_t entry,
                   struct sl_arena *arena, struct job *job);

/* Was every rendition made by this encoder? */
int plan_check_encoder(const struct report *report, const char *encoder, struct sl_failure *why);

/* Jobs of the pieces. Borrowed arrays point into the plan or the arena. The caller fills video, task, token and,
 * for audio, watchdog_ns. SL_EINVAL for a piece or preroll out of range. */
int plan_transcode_job(const struct plan *plan, const struct policy *policy, int32_t piece,
                       int32_t preroll, struct sl_arena *arena, struct job *out);
int plan_audio_job(const struct plan *plan, int32_t piece, struct sl_arena *arena, struct job *out);
int plan_text_job(const struct plan *plan, int32_t piece, struct sl_arena *arena, struct job *out);
int plan_images_job(const struct plan *plan, struct job *out);

/* How far an audio boundary may lie from the video's. */
#define PLAN_AUDIO_BOUNDARY_NS INT64_C(50000000)

/* Holds a report against the plan: every rung and segment there, frames as decoded equal in all rungs,
 * boundaries where planned, one init hash. SL_EMISMATCH with the first difference in why. A frame count that
 * differs from the index's prediction is accepted only when all rungs agree and the segment's ends are right;
 * is_predicted tells. Names and keys of outputs lie under "<codec>/<rung>/" and "audio/"; the first chunk, and
 * only it, has the init segments; the audio covers the video from its zero to its end. */
int plan_check_transcode(const struct plan *plan, int32_t piece, const struct report *report,
                         bool *is_predicted, struct sl_failure *why);
int plan_check_audio(const struct plan *plan, int32_t piece, const struct report *report,
                     struct sl_failure *why);

int plan_check_text(const struct plan *plan, int32_t piece, const struct report *report,
                    struct sl_failure *why);
int plan_check_images(const struct plan *plan, const struct report *report, struct sl_failure *why);

/* Do two neighbouring chunks of one codec meet? SL_ESEAM with the reason when not. */
int plan_check_seam(const struct report *earlier, const struct report *later,
                    struct sl_failure *why);

/* The set that manifests are written from, out of all committed reports: transcode[piece], audio[piece].
 * texts and images may be NULL where the plan has none of them.
 * Refuses with SL_EMISMATCH when chunks of a rendition disagree on init or on the one encoder that was planned, or a
 * segment is missing. Several encoders of a mixed rendition are named together: "nvenc+x265".
 * frame_count is what the reports say, equal in all renditions. */
int plan_publish(const struct plan *plan, const char *video, const struct report *const *transcode,
                 const struct report *const *audio, const struct report *const *texts,
                 const struct report *images, struct sl_arena *arena, struct published_set *out,
                 struct sl_failure *why);

/* What a committed report adds to the set, for playlists that grow: the rungs of the piece's codec with the segments of
 * its chunk only (init keys are in chunk 0), one audio rendition whole. Rungs have their declared rate. The report has
 * passed its check. */
int plan_publish_chunk(const struct plan *plan, int32_t piece, const struct report *report,
                       struct sl_arena *arena, struct published_rendition **out, int32_t *count);
int plan_publish_audio(const struct plan *plan, int32_t piece, const struct report *report,
                       struct sl_arena *arena, struct published_rendition *out,
                       struct sl_failure *why);

/* Which segments the verify step reads back: per rendition the first and a seeded one. Fills the samples'
 * rendition and segment; inputs are numbered by the caller, and fit JOB_INPUTS_MAX. */
int plan_verify_samples(const struct published_set *set, uint64_t seed, struct sl_arena *arena,
                        struct job_sample **out, int32_t *out_count);

#endif
