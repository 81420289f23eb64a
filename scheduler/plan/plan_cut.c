/* Where a video is cut. A boundary is a row of the index: the frame that comes after it, or the number of
 * rows for the end. The cut is walked twice, first to count and then to fill, so that the arena holds
 * exactly what the plan needs. */
#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

/* A chunk prefers keyframes between half and five quarters of its target: smaller chunks balance better than
 * large ones, and a start costs a chunk little. */
#define CHUNK_OVER_NUM        5
#define CHUNK_OVER_DEN        4
/* A policy's chunk target beyond this many segments would pass the limit of a chunk before its keyframe. */
#define CHUNK_TARGET_SEGMENTS (PLAN_CHUNK_SEGMENTS_MAX / 2)
/* A video of fewer segments is ready about as soon as it plays; it gets no opening of its own. */
#define OPENING_SEGMENTS_MIN  3

struct cut {
    const struct media_index *index;
    int64_t segment_pts;
    int64_t target_pts;
    int64_t opening_pts; /* length of the opening chunk; 0: as others */
    int64_t snap_pts;    /* how far a segment boundary moves to a keyframe */
    bool seekable;
    int64_t pix;                   /* per frame, the costliest codec */
    struct plan_segment *segments; /* NULL: only count */
    struct plan_chunk *chunks;
    int64_t segment_count;
    int64_t chunk_count;
};

static int64_t pts_at(const struct cut *cut, size_t row)
{
    return row < cut->index->count ? cut->index->pts[row] : cut->index->end_pts;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

/* The row where the chunk that starts at row ends. */
static size_t span_end(const struct cut *cut, size_t start)
{
    const struct media_index *index = cut->index;
    int64_t from = pts_at(cut, start);
    int64_t most =
        cut->target_pts + cut->target_pts / CHUNK_OVER_DEN * (CHUNK_OVER_NUM - CHUNK_OVER_DEN);
    size_t best = index->count;
    bool found = false;
    for (size_t row = start + 1; cut->seekable && row < index->count; row++) {
        int64_t length = index->pts[row] - from;
        if (length > most && found)
            break;
        if (!index->key[row] || length < cut->target_pts - cut->target_pts / 2)
            continue;
        if (!found ||
            distance(length, cut->target_pts) < distance(index->pts[best] - from, cut->target_pts))
            best = row;
        found = true;
    }
    if (index->end_pts - pts_at(cut, best) < cut->segment_pts - cut->segment_pts / 2)
        return index->count;
    return best;
}

/* The frame nearest to an instant within (first, last), moved to a keyframe where one is close. */
static size_t boundary_near(const struct cut *cut, size_t first, size_t last, int64_t at)
{
    const struct media_index *index = cut->index;
    size_t low = first, high = last;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->pts[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == last || (low > first && at - index->pts[low - 1] < index->pts[low] - at))
        low--;
    size_t best = low;
    bool found = false;
    if (!cut->seekable)
        return best;
    for (size_t row = low; row < last && index->pts[row] - at <= cut->snap_pts; row++)
        if (index->key[row]) {
            best = row;
            found = true;
            break;
        }
    for (size_t row = low; row > first && at - index->pts[row] <= cut->snap_pts; row--)
        if (index->key[row]) {
            if (!found || distance(index->pts[row], at) < distance(index->pts[best], at))
                best = row;
            break;
        }
    return best;
}

static void segment_add(struct cut *cut, size_t first, size_t last)
{
    if (cut->segments) {
        struct plan_segment *segment = &cut->segments[cut->segment_count];
        segment->start_pts = pts_at(cut, first);
        segment->end_pts = pts_at(cut, last);
        segment->frame_count = (int32_t)(last - first);
        segment->chunk = (int32_t)cut->chunk_count;
    }
    cut->segment_count++;
}

/* Bytes of a span's rows as they are walked: the lowest belongs to the keyframe that every chunk of the span
 * decodes from. */
struct byte_range {
    int64_t first;
    int64_t end;
    bool unknown;
};

static void chunk_add(struct cut *cut, size_t first, size_t last, int64_t segment_first,
                      struct byte_range *bytes)
{
    const struct media_index *index = cut->index;
    if (cut->chunks) {
        bytes->end = 0;
        for (size_t row = first; row < last; row++) {
            int64_t offset = index->byte_offset ? index->byte_offset[row] : -1;
            if (offset < 0)
                bytes->unknown = true;
            if (offset < bytes->first)
                bytes->first = offset;
            int64_t end = offset + (index->byte_length ? index->byte_length[row] : 0);
            if (end > bytes->end)
                bytes->end = end;
        }
        struct plan_chunk *chunk = &cut->chunks[cut->chunk_count];
        chunk->start_pts = pts_at(cut, first);
        chunk->end_pts = pts_at(cut, last);
        chunk->segment_first = (int32_t)segment_first;
        chunk->segment_count = (int32_t)(cut->segment_count - segment_first);
        chunk->frame_count = (int64_t)(last - first);
        chunk->byte_first = bytes->unknown ? -1 : bytes->first;
        chunk->byte_end = bytes->unknown ? -1 : bytes->end;
        chunk->work_mpix = plan_work_mpix(chunk->frame_count, cut->pix);
    }
    cut->chunk_count++;
}

/* The row where the opening ends, within the span [0, last): one GOP, so short that all its rungs are there to be
 * played long before the rest. `last` where a span so short or frames so far apart gain nothing by it. */
static size_t opening_end(const struct cut *cut, size_t last)
{
    int64_t start_pts = pts_at(cut, 0), end_pts = pts_at(cut, last);
    if (last < 2 || cut->opening_pts == 0 ||
        cut->index->end_pts - start_pts < OPENING_SEGMENTS_MIN * cut->segment_pts)
        return last;
    size_t row = boundary_near(cut, 1, last, start_pts + cut->opening_pts);
    int64_t opening = pts_at(cut, row) - start_pts, left = end_pts - pts_at(cut, row);
    return opening <= left && left >= cut->segment_pts / 2 ? row : last;
}

/* Divides rows [first, last), which start and end where chunks may, into segments, and them into chunks: one,
 * unless that would hold too many segments. bytes are of the span's rows before first. */
static void span_add(struct cut *cut, size_t first, size_t last, struct byte_range bytes)
{
    int64_t start_pts = pts_at(cut, first), end_pts = pts_at(cut, last);
    int64_t length = end_pts - start_pts;
    int64_t half = cut->segment_pts / 2;
    int64_t parts = (length + half) / cut->segment_pts;
    if (parts < 1 || length - cut->segment_pts <= half)
        parts = 1;
    if (parts > (int64_t)(last - first))
        parts = (int64_t)(last - first);
    int64_t groups = (parts + PLAN_CHUNK_SEGMENTS_MAX - 1) / PLAN_CHUNK_SEGMENTS_MAX;
    int64_t group_parts = (parts + groups - 1) / groups;
    size_t chunk_start = first, segment_start = first;
    int64_t segment_first = cut->segment_count;
    for (int64_t part = 1; part < parts; part++) {
        int64_t at = start_pts + sl_muldiv_i64(length, part, parts);
        size_t row = boundary_near(cut, segment_start + 1, last, at);
        if (row <= segment_start || row >= last ||
            pts_at(cut, row) - pts_at(cut, segment_start) < half ||
            end_pts - pts_at(cut, row) < half)
            continue;
        segment_add(cut, segment_start, row);
        segment_start = row;
        if (cut->segment_count - segment_first >= group_parts) {
            chunk_add(cut, chunk_start, row, segment_first, &bytes);
            chunk_start = row;
            segment_first = cut->segment_count;
        }
    }
    segment_add(cut, segment_start, last);
    chunk_add(cut, chunk_start, last, segment_first, &bytes);
}

static void cut_walk(struct cut *cut)
{
    const struct byte_range nothing = {.first = INT64_MAX};
    cut->segment_count = 0;
    cut->chunk_count = 0;
    size_t row = 0, end = span_end(cut, 0), opening = opening_end(cut, end);
    if (opening < end) {
        struct byte_range bytes = nothing;
        segment_add(cut, 0, opening);
        chunk_add(cut, 0, opening, 0, &bytes);
        row = opening;
        /* What follows decodes from the opening's keyframe, unless it has one itself. */
        if (!cut->seekable || !cut->index->key[opening]) {
            span_add(cut, opening, end, bytes);
            row = end;
        }
    }
    while (row < cut->index->count) {
        end = span_end(cut, row);
        span_add(cut, row, end, nothing);
        row = end;
    }
}

int plan_cut(const struct media_index *index, const struct policy *policy, struct sl_arena *arena,
             struct plan *plan, struct sl_failure *why)
{
    int64_t target_ns =
        policy->chunk_ns > policy->segment_ns ? policy->chunk_ns : policy->segment_ns;
    if (target_ns / CHUNK_TARGET_SEGMENTS > policy->segment_ns)
        target_ns = policy->segment_ns * CHUNK_TARGET_SEGMENTS;
    struct cut cut = {
        .index = index,
        .segment_pts = plan_ns_to_pts(plan, policy->segment_ns),
        .target_pts = plan_ns_to_pts(plan, target_ns),
        .opening_pts = policy->opening_ns > 0 ? plan_ns_to_pts(plan, policy->opening_ns) : 0,
        .snap_pts = plan_ns_to_pts(plan, policy->gop_ns) / 2,
        .seekable = plan->video.seekable,
    };
    if (cut.snap_pts > cut.segment_pts / 4)
        cut.snap_pts = cut.segment_pts / 4;
    for (int32_t i = 0; i < plan->rung_count; i++) {
        int64_t pix = plan_frame_pix(plan, plan->rungs[i].codec);
        if (pix > cut.pix)
            cut.pix = pix;
    }
    cut_walk(&cut);
    if (cut.segment_count > PLAN_SEGMENTS_MAX)
        return sl_fail(
            why, SL_ETOOBIG,
            "the video would have %lld segments and %d are the most; a policy with segments "
            "longer than %lld s makes fewer",
            (long long)cut.segment_count, PLAN_SEGMENTS_MAX,
            (long long)(policy->segment_ns / SL_NS_PER_S));
    cut.segments = sl_arena_array(arena, (size_t)cut.segment_count, sizeof *cut.segments);
    cut.chunks = sl_arena_array(arena, (size_t)cut.chunk_count, sizeof *cut.chunks);
    if (!cut.segments || !cut.chunks)
        return sl_fail(why, SL_ENOMEM, "no memory for the %lld segments of the plan",
                       (long long)cut.segment_count);
    cut_walk(&cut);
    plan->segments = cut.segments;
    plan->segment_count = (int32_t)cut.segment_count;
    plan->chunks = cut.chunks;
    plan->chunk_count = (int32_t)cut.chunk_count;
    return SL_OK;
}
