/* Reports come from nodes: every index and count in them is checked before it is used, and the first
 * difference from the plan is told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "model/published_types.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

#define FOLDER_BYTES      (POLICY_WORD_BYTES + 16)
/* An init segment and the segments of one chunk, in all rungs of a codec. */
#define CHUNK_OUTPUTS_MAX (PLAN_CODEC_RUNGS_MAX * (PLAN_CHUNK_SEGMENTS_MAX + 1))

/* What a rendition is held against, and who it is in a message. */
struct expect {
    const char *what; /* "h264 720p", "audio aac-128" */
    const char *folder;
    const struct report *report;
    uint8_t *used; /* bits of outputs taken already; NULL: too many to tell */
};

static bool word_equal(const char *a, const char *b, size_t bytes)
{
    return strncmp(a, b, bytes) == 0;
}

static bool key_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '/';
}

bool plan_key_is_under(const char *name, const char *folder)
{
    size_t length = strnlen(name, JOB_NAME_BYTES);
    size_t prefix = strlen(folder);
    if (length == JOB_NAME_BYTES || length <= prefix || memcmp(name, folder, prefix) != 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!key_letter(name[i]) ||
            (name[i] == '/' && (name[i + 1] == '/' || name[i + 1] == '\0')) ||
            (name[i] == '.' && (i == 0 || name[i - 1] == '/' || name[i - 1] == '.')))
            return false;
    return true;
}

static int report_shape_check(const struct report *report, enum step step, int32_t renditions,
                              int32_t outputs_max, struct sl_failure *why)
{
    if (report->step != step)
        return sl_fail(why, SL_EMISMATCH, "the report is about step number %d and the task's is %s",
                       (int)report->step, step_word(step));
    if (report->rendition_count != renditions || (renditions > 0 && !report->renditions))
        return sl_fail(why, SL_EMISMATCH, "the report has %d renditions and the plan %d",
                       (int)report->rendition_count, (int)renditions);
    if (report->output_count < 1 || report->output_count > outputs_max || !report->outputs)
        return sl_fail(why, SL_EMISMATCH, "the report names %d outputs; 1 to %d would fit the plan",
                       (int)report->output_count, (int)outputs_max);
    return SL_OK;
}

static int output_check(const struct expect *expect, const char *of, int32_t at,
                        struct sl_failure *why)
{
    if (at < 0 || at >= expect->report->output_count)
        return sl_fail(why, SL_EMISMATCH, "%s: %s is output %d of %d", expect->what, of, (int)at,
                       (int)expect->report->output_count);
    const struct report_output *output = &expect->report->outputs[at];
    if (!plan_key_is_under(output->name, expect->folder) ||
        !plan_key_is_under(output->key, expect->folder))
        return sl_fail(why, SL_EMISMATCH, "%s: %s has a name or key outside %s", expect->what, of,
                       expect->folder);
    if (output->bytes < 1)
        return sl_fail(why, SL_EMISMATCH, "%s: %s is empty", expect->what, of);
    if (expect->used) {
        if (expect->used[at / 8] & 1u << at % 8)
            return sl_fail(why, SL_EMISMATCH, "%s: %s is output %d, which is another's as well",
                           expect->what, of, (int)at);
        expect->used[at / 8] |= (uint8_t)(1u << at % 8);
    }
    return SL_OK;
}

/* What video and audio renditions have in common: words, init, outputs. */
static int rendition_check(const struct expect *expect, const struct report_rendition *rendition,
                           bool has_init, int32_t segment_count, int32_t segment_first,
                           struct sl_failure *why)
{
    static const uint8_t no_hash[SHA256_BYTES];
    if (strnlen(rendition->codecs, CODECS_BYTES) % CODECS_BYTES == 0)
        return sl_fail(why, SL_EMISMATCH, "%s: the report says no codecs string", expect->what);
    if (strnlen(rendition->encoder, POLICY_WORD_BYTES) % POLICY_WORD_BYTES == 0)
        return sl_fail(why, SL_EMISMATCH, "%s: the report names no encoder", expect->what);
    if (memcmp(rendition->init_sha256, no_hash, SHA256_BYTES) == 0)
        return sl_fail(why, SL_EMISMATCH, "%s: the report has no hash of the init segment",
                       expect->what);
    if (!has_init && rendition->init_output != -1)
        return sl_fail(why, SL_EMISMATCH, "%s: an init segment that the plan did not ask for",
                       expect->what);
    if (has_init) {
        int rc = output_check(expect, "the init segment", rendition->init_output, why);
        if (rc)
            return rc;
        if (memcmp(expect->report->outputs[rendition->init_output].sha256, rendition->init_sha256,
                   SHA256_BYTES) != 0)
            return sl_fail(why, SL_EMISMATCH, "%s: the init segment stored is not the one hashed",
                           expect->what);
    }
    if (rendition->segment_count != segment_count || !rendition->segments)
        return sl_fail(why, SL_EMISMATCH, "%s: %d segments reported and %d planned", expect->what,
                       (int)rendition->segment_count, (int)segment_count);
    for (int32_t i = 0; i < segment_count; i++) {
        const struct report_segment *segment = &rendition->segments[i];
        char of[32];
        snprintf(of, sizeof of, "segment %d", (int)(segment_first + i));
        if (segment->number != segment_first + i)
            return sl_fail(why, SL_EMISMATCH, "%s: segment %d reported where %d is planned",
                           expect->what, (int)segment->number, (int)(segment_first + i));
        int rc = output_check(expect, of, segment->output, why);
        if (rc)
            return rc;
        if (segment->frame_count < 1)
            return sl_fail(why, SL_EMISMATCH, "%s: %s has %d frames", expect->what, of,
                           (int)segment->frame_count);
        if (segment->last_ticks < segment->start_ticks || segment->last_ticks >= segment->end_ticks)
            return sl_fail(
                why, SL_EMISMATCH,
                "%s: the last frame of %s is at %" PRId64 ", outside %" PRId64 " to %" PRId64,
                expect->what, of, segment->last_ticks, segment->start_ticks, segment->end_ticks);
    }
    return SL_OK;
}

static const struct report_rendition *rendition_find(const struct report *report,
                                                     const struct plan_rung *rung, int32_t *found)
{
    const struct report_rendition *at = NULL;
    *found = 0;
    for (int32_t i = 0; i < report->rendition_count; i++)
        if (report->renditions[i].codec == rung->codec &&
            word_equal(report->renditions[i].name, rung->name, sizeof rung->name)) {
            at = &report->renditions[i];
            ++*found;
        }
    return at;
}

/* Segments of a rung against the plan's boundaries and against the first rung's frames. */
static int video_segments_check(const struct plan *plan, const struct plan_chunk *chunk,
                                const struct expect *expect,
                                const struct report_rendition *rendition,
                                const struct report_rendition *first, struct sl_failure *why)
{
    for (int32_t i = 0; i < chunk->segment_count; i++) {
        const struct plan_segment *planned = &plan->segments[chunk->segment_first + i];
        const struct report_segment *segment = &rendition->segments[i];
        int64_t start = plan_ticks(plan, planned->start_pts);
        int64_t end = plan_ticks(plan, planned->end_pts);
        if (segment->start_ticks != start || segment->end_ticks != end)
            return sl_fail(why, SL_EMISMATCH,
                           "%s: segment %d runs from %" PRId64 " to %" PRId64
                           " and was planned from %" PRId64 " to %" PRId64,
                           expect->what, (int)segment->number, segment->start_ticks,
                           segment->end_ticks, start, end);
        if (segment->frame_count != first->segments[i].frame_count)
            return sl_fail(why, SL_EMISMATCH,
                           "%s: segment %d has %d frames and %d in rung %.31s of the same decoding",
                           expect->what, (int)segment->number, (int)segment->frame_count,
                           (int)first->segments[i].frame_count, first->name);
        if (segment->last_ticks != first->segments[i].last_ticks)
            return sl_fail(why, SL_EMISMATCH,
                           "%s: the last frame of segment %d is at %" PRId64 " and at %" PRId64
                           " in rung %.31s",
                           expect->what, (int)segment->number, segment->last_ticks,
                           first->segments[i].last_ticks, first->name);
    }
    return SL_OK;
}

int plan_check_transcode(const struct plan *plan, int32_t piece, const struct report *report,
                         bool *is_predicted, struct sl_failure *why)
{
    int32_t chunk_at;
    enum codec codec;
    if (!plan_piece_split(plan, piece, &chunk_at, &codec))
        return sl_fail(why, SL_EMISMATCH, "the plan has no piece %d", (int)piece);
    const struct plan_chunk *chunk = &plan->chunks[chunk_at];
    int32_t rung_first = 0;
    int32_t rung_count = plan_codec_rungs(plan, codec, &rung_first);
    int rc = report_shape_check(report, STEP_TRANSCODE, rung_count,
                                rung_count * (chunk->segment_count + 1), why);
    if (rc)
        return rc;
    uint8_t used[CHUNK_OUTPUTS_MAX / 8 + 1] = {0};
    if (report->output_count > CHUNK_OUTPUTS_MAX)
        return sl_fail(why, SL_EMISMATCH, "the report names %d outputs; %d are the most",
                       (int)report->output_count, CHUNK_OUTPUTS_MAX);
    const struct report_rendition *first = NULL;
    for (int32_t r = 0; r < rung_count; r++) {
        const struct plan_rung *rung = &plan->rungs[rung_first + r];
        char what[FOLDER_BYTES], folder[FOLDER_BYTES];
        snprintf(what, sizeof what, "%s %.31s", codec_word(codec), rung->name);
        snprintf(folder, sizeof folder, "%s/%.31s/", codec_word(codec), rung->name);
        struct expect expect = {what, folder, report, used};
        int32_t found;
        const struct report_rendition *rendition = rendition_find(report, rung, &found);
        if (found != 1)
            return sl_fail(why, SL_EMISMATCH, "%s is in the report %d times; once is planned", what,
                           (int)found);
        if (rendition->width != rung->width || rendition->height != rung->height)
            return sl_fail(why, SL_EMISMATCH, "%s is %dx%d and was planned as %dx%d", what,
                           (int)rendition->width, (int)rendition->height, (int)rung->width,
                           (int)rung->height);
        if (rendition->timescale != plan->timescale)
            return sl_fail(why, SL_EMISMATCH, "%s counts in 1/%d s and was planned in 1/%d s", what,
                           (int)rendition->timescale, (int)plan->timescale);
        if (rung->encoder[0] &&
            !word_equal(rendition->encoder, rung->encoder, sizeof rung->encoder))
            return sl_fail(why, SL_EMISMATCH, "%s was made by %.31s and was planned for %.31s",
                           what, rendition->encoder, rung->encoder);
        rc = rendition_check(&expect, rendition, chunk_at == 0, chunk->segment_count,
                             chunk->segment_first, why);
        if (rc)
            return rc;
        if (!first)
            first = rendition;
        rc = video_segments_check(plan, chunk, &expect, rendition, first, why);
        if (rc)
            return rc;
    }
    int64_t frames = 0;
    bool predicted = true;
    for (int32_t i = 0; i < chunk->segment_count; i++) {
        frames += first->segments[i].frame_count;
        if (first->segments[i].frame_count != plan->segments[chunk->segment_first + i].frame_count)
            predicted = false;
    }
    if (report->transcode.frame_count != frames)
        return sl_fail(why, SL_EMISMATCH,
                       "the report counts %" PRId64 " frames and its segments %" PRId64,
                       report->transcode.frame_count, frames);
    bool last = chunk_at == plan->chunk_count - 1;
    if (report->transcode.seam_first == 0 || (!last && report->transcode.seam_next == 0))
        return sl_fail(why, SL_EMISMATCH, "chunk %d of %s has no seam hash at its %s",
                       (int)chunk_at, codec_word(codec),
                       report->transcode.seam_first ? "end" : "start");
    if (is_predicted)
        *is_predicted = predicted;
    return SL_OK;
}

int plan_check_audio(const struct plan *plan, int32_t piece, const struct report *report,
                     struct sl_failure *why)
{
    if (piece < 0 || piece >= plan->audio_count)
        return sl_fail(why, SL_EMISMATCH, "the plan has no audio piece %d", (int)piece);
    const struct plan_audio *audio = &plan->audio[piece];
    int rc = report_shape_check(report, STEP_AUDIO, 1, plan->segment_count + 1, why);
    if (rc)
        return rc;
    const struct report_rendition *rendition = &report->renditions[0];
    char what[FOLDER_BYTES];
    snprintf(what, sizeof what, "audio %.31s", audio->name);
    if (!word_equal(rendition->name, audio->name, sizeof audio->name))
        return sl_fail(why, SL_EMISMATCH, "%s is planned and %.31s reported", what,
                       rendition->name);
    if (rendition->timescale < 1)
        return sl_fail(why, SL_EMISMATCH, "%s counts in 1/%d s", what, (int)rendition->timescale);
    struct expect expect = {what, "audio/", report, NULL};
    rc = rendition_check(&expect, rendition, true, plan->segment_count, 0, why);
    if (rc)
        return rc;
    for (int32_t i = 0; i <= plan->segment_count; i++) {
        bool end = i == plan->segment_count;
        const struct report_segment *segments = rendition->segments;
        int64_t at = end ? segments[i - 1].end_ticks : segments[i].start_ticks;
        int64_t pts = end ? plan->end_pts : plan->segments[i].start_pts;
        int64_t at_ns = sl_muldiv_i64(at, SL_NS_PER_S, rendition->timescale);
        int64_t planned_ns = sl_muldiv_i64(plan_ticks(plan, pts), SL_NS_PER_S, plan->timescale);
        if (at_ns < planned_ns - PLAN_AUDIO_BOUNDARY_NS ||
            at_ns > planned_ns + PLAN_AUDIO_BOUNDARY_NS)
            return sl_fail(why, SL_EMISMATCH,
                           "%s: boundary %d is at %" PRId64 " ms and the video's at %" PRId64
                           " ms; %" PRId64 " ms apart are the most",
                           what, (int)i, SL_NS_TO_MS(at_ns), SL_NS_TO_MS(planned_ns),
                           SL_NS_TO_MS(PLAN_AUDIO_BOUNDARY_NS));
        if (i > 0 && !end && segments[i].start_ticks != segments[i - 1].end_ticks)
            return sl_fail(why, SL_EMISMATCH,
                           "%s: segment %d starts at %" PRId64
                           " and the one before ends at %" PRId64,
                           what, (int)i, segments[i].start_ticks, segments[i - 1].end_ticks);
    }
    return SL_OK;
}

int plan_check_text(const struct plan *plan, int32_t piece, const struct report *report,
                    struct sl_failure *why)
{
    if (piece < 0 || piece >= plan->text_count)
        return sl_fail(why, SL_EMISMATCH, "the plan has no subtitle track %d", (int)piece);
    const struct plan_text *text = &plan->texts[piece];
    int rc = report_shape_check(report, STEP_SUBTITLES, 1, plan->segment_count + 1, why);
    if (rc)
        return rc;
    const struct report_rendition *track = &report->renditions[0];
    char what[FOLDER_BYTES], folder[FOLDER_BYTES];
    snprintf(what, sizeof what, "subtitles %.31s", text->name);
    snprintf(folder, sizeof folder, "subtitles/%.31s/", text->name);
    struct expect expect = {what, folder, report, NULL};
    if (!word_equal(track->name, text->name, sizeof text->name))
        return sl_fail(why, SL_EMISMATCH, "%s are planned and %.31s reported", what, track->name);
    if (track->timescale != plan->timescale || track->segment_count != plan->segment_count)
        return sl_fail(why, SL_EMISMATCH, "%s: %d segments in 1/%d s; planned were %d in 1/%d s",
                       what, (int)track->segment_count, (int)track->timescale,
                       (int)plan->segment_count, (int)plan->timescale);
    rc = output_check(&expect, "the whole track", track->init_output, why);
    for (int32_t i = 0; i < plan->segment_count && rc == SL_OK; i++) {
        const struct report_segment *segment = &track->segments[i];
        char of[32];
        snprintf(of, sizeof of, "segment %d", (int)i);
        rc = output_check(&expect, of, segment->output, why);
        if (rc == SL_OK && (segment->number != i || segment->frame_count < 0 ||
                            segment->start_ticks != plan_ticks(plan, plan->segments[i].start_pts) ||
                            segment->end_ticks != plan_ticks(plan, plan->segments[i].end_pts)))
            rc = sl_fail(why, SL_EMISMATCH,
                         "%s: %s runs from %" PRId64 " to %" PRId64 ", not as planned", what, of,
                         segment->start_ticks, segment->end_ticks);
    }
    return rc;
}

int plan_check_images(const struct plan *plan, const struct report *report, struct sl_failure *why)
{
    const struct plan_images *images = &plan->images;
    const struct report_images *made = &report->images;
    int rc = report_shape_check(report, STEP_IMAGES, 0, 3 + PUBLISHED_SHEETS_MAX, why);
    if (rc)
        return rc;
    const struct {
        const char *what;
        int32_t output;
        bool wanted;
    } singles[] = {
        {"poster", made->poster_output, images->poster},
        {"thumbnails", made->thumbnails_output, images->interval_ns > 0},
        {"preview", made->preview_output, images->preview},
    };
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++) {
        struct expect expect = {"images", singles[i].what, report, NULL};
        if (singles[i].wanted != (singles[i].output >= 0))
            return sl_fail(why, SL_EMISMATCH, "images: there is %s %s, and the plan says otherwise",
                           singles[i].wanted ? "no" : "a", singles[i].what);
        if (singles[i].wanted &&
            (rc = output_check(&expect, singles[i].what, singles[i].output, why)))
            return rc;
    }
    if ((images->interval_ns > 0) != (made->sheet_count > 0) || made->sheet_count < 0 ||
        made->sheet_count > PUBLISHED_SHEETS_MAX)
        return sl_fail(why, SL_EMISMATCH, "images: %d sheets of thumbnails",
                       (int)made->sheet_count);
    struct expect expect = {"images", "images/", report, NULL};
    for (int32_t i = 0; i < made->sheet_count && rc == SL_OK; i++)
        rc = output_check(&expect, "a sheet", made->sheet_first_output + i, why);
    return rc;
}

int plan_check_seam(const struct report *earlier, const struct report *later,
                    struct sl_failure *why)
{
    if (earlier->step != STEP_TRANSCODE || later->step != STEP_TRANSCODE)
        return sl_fail(why, SL_ESEAM, "a seam lies between two transcode reports");
    if (earlier->transcode.seam_next != later->transcode.seam_first)
        return sl_fail(why, SL_ESEAM,
                       "the frame at the seam hashes to %016" PRIx64
                       " decoded from before and to %016" PRIx64
                       " decoded from there; a longer preroll of the later chunk may cure it",
                       earlier->transcode.seam_next, later->transcode.seam_first);
    return SL_OK;
}
