#include "gpu/gpu_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Blocks that keep the largest GPUs busy for a few rounds. */
#define BLOCKS_WANTED    800
#define SHARED_BYTES_MAX 40960
/* Warps of a block, of which some may only fetch. */
#define WARPS_MIN        4
#define CHUNK_ROWS       16
/* Vectors that a thread fetches for a chunk: as many as it has under way. */
#define CHUNK_FETCHES    4
#define WORDS_PLANES2    4
/* Below this ratio weights are so large that seven bits of them would show. */
#define RATIO_PLANES1    1.95
#define TAPS_MAX         (GPU_WORDS_MAX * 4)

bool gpu_layout_is_wide(enum hal_layout layout)
{
    return layout == HAL_P010 || layout == HAL_I420_10;
}

bool gpu_layout_is_interleaved(enum hal_layout layout)
{
    return layout == HAL_P010 || layout == HAL_NV12;
}

int32_t gpu_layout_shift(enum hal_layout layout)
{
    return layout == HAL_P010 ? 6 : 0;
}

/* ---- the blob ---- */

struct blob {
    unsigned char *bytes;
    size_t length, room;
    bool failed;
};

/* Room for count things, zeroed; the offset. Earlier pointers into the blob are void. */
static gpu_u64 blob_add(struct blob *blob, size_t bytes)
{
    size_t at = (blob->length + 15) & ~(size_t)15;
    if (at + bytes > blob->room) {
        size_t room = (at + bytes) * 2;
        unsigned char *more = realloc(blob->bytes, room);
        if (!more) {
            blob->failed = true;
            return 0;
        }
        memset(more + blob->room, 0, room - blob->room);
        blob->bytes = more;
        blob->room = room;
    }
    blob->length = at + bytes;
    return at;
}

static gpu_u64 blob_put(struct blob *blob, const void *from, size_t bytes)
{
    gpu_u64 at = blob_add(blob, bytes);
    if (!blob->failed)
        memcpy(blob->bytes + at, from, bytes);
    return at;
}

/* ---- filters ---- */

/* One direction of one kind of plane. */
struct axis {
    int32_t low, high; /* source samples that may be read */
    double first;      /* where the shown part begins */
    double ratio;      /* source samples for one of the target */
    double source_site, target_site;
    int32_t target;
};

struct taps {
    int32_t first, count;
    double weights[TAPS_MAX];
};

static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* What lies outside counts as the sample at the edge. */
static bool taps_make(const struct axis *axis, int32_t j, struct taps *out)
{
    double widen = axis->ratio > 1 ? axis->ratio : 1;
    double at = (j + axis->target_site) * axis->ratio + axis->first - axis->source_site;
    int32_t from = (int32_t)floor(at - 2 * widen) + 1;
    int32_t to = (int32_t)ceil(at + 2 * widen) - 1;
    out->first = clamp(from, axis->low, axis->high);
    out->count = clamp(to, axis->low, axis->high) - out->first + 1;
    if (out->count > TAPS_MAX)
        return false;
    double sum = 0;
    memset(out->weights, 0, (size_t)out->count * sizeof *out->weights);
    for (int32_t i = from; i <= to; i++) {
        double w = cubic((i - at) / widen);
        out->weights[clamp(i, axis->low, axis->high) - out->first] += w;
        sum += w;
    }
    for (int32_t i = 0; i < out->count; i++)
        out->weights[i] /= sum;
    return true;
}

/* Whole numbers that add up to total exactly; what rounding leaves goes where it hurts least. */
static void taps_round(const struct taps *taps, int32_t total, int32_t limit, int32_t *out)
{
    int32_t left = total;
    for (int32_t i = 0; i < taps->count; i++) {
        out[i] = clamp((int32_t)lrint(taps->weights[i] * total), -limit, limit);
        left -= out[i];
    }
    while (left != 0) {
        int32_t sign = left > 0 ? 1 : -1, best = -1;
        double worst = -1e9;
        for (int32_t i = 0; i < taps->count; i++) {
            double error = (taps->weights[i] * total - out[i]) * sign;
            if (error > worst && abs(out[i] + sign) <= limit) {
                worst = error;
                best = i;
            }
        }
        if (best < 0)
            return;
        out[best] += sign;
        left -= sign;
    }
}

/* ---- along rows: integer weights for pairs of columns ---- */

struct pairs {
    struct taps *taps; /* of every column */
    int32_t *starts, *ends;
    int32_t count, words, planes;
};

static int32_t words_round(int32_t words)
{
    static const int32_t known[] = {3, 5, 7, 9, 12, 16, GPU_WORDS_MAX};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (words <= known[i])
            return known[i];
    return 0;
}

static void pairs_free(struct pairs *pairs)
{
    free(pairs->taps);
    free(pairs->starts);
    free(pairs->ends);
}

static int pairs_make(const struct axis *axis, struct pairs *pairs, struct sl_failure *why)
{
    pairs->count = (axis->target + 1) / 2;
    pairs->taps = calloc((size_t)axis->target, sizeof *pairs->taps);
    pairs->starts = calloc((size_t)pairs->count, sizeof *pairs->starts);
    pairs->ends = calloc((size_t)pairs->count, sizeof *pairs->ends);
    if (!pairs->taps || !pairs->starts || !pairs->ends)
        return sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    int32_t words = 0;
    bool fits = true;
    for (int32_t j = 0; j < axis->target && fits; j++)
        fits = taps_make(axis, j, &pairs->taps[j]);
    for (int32_t p = 0; p < pairs->count && fits; p++) {
        const struct taps *a = &pairs->taps[2 * p];
        const struct taps *b = 2 * p + 1 < axis->target ? a + 1 : a;
        int32_t start = (a->first < b->first ? a->first : b->first) & ~3;
        int32_t end = a->first + a->count;
        if (b->first + b->count > end)
            end = b->first + b->count;
        pairs->starts[p] = start;
        words = (end - start + 3) / 4 > words ? (end - start + 3) / 4 : words;
    }
    pairs->planes = axis->ratio < RATIO_PLANES1 && words <= WORDS_PLANES2 ? 2 : 1;
    pairs->words = pairs->planes == 2 ? WORDS_PLANES2 : words_round(words);
    if (!fits || !pairs->words)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU's scaler makes pictures up to 15 times smaller, not %.1f times",
                       axis->ratio);
    for (int32_t p = 0; p < pairs->count; p++)
        pairs->ends[p] = pairs->starts[p] + pairs->words * 4;
    return SL_OK;
}

static void pair_encode(const struct pairs *pairs, int32_t p, int32_t columns, gpu_u32 *weights,
                        gpu_i32 *start)
{
    int32_t scale = 3; /* 64 << scale */
    const struct taps *taps[2] = {&pairs->taps[2 * p],
                                  2 * p + 1 < columns ? &pairs->taps[2 * p + 1] : NULL};
    double peak = 0;
    for (int c = 0; c < 2 && taps[c]; c++)
        for (int32_t i = 0; i < taps[c]->count; i++)
            peak = fmax(peak, fabs(taps[c]->weights[i]));
    while (scale > 0 && peak * (64 << scale) > 128.4)
        scale--;
    *start = pairs->starts[p] | (pairs->planes == 1 ? scale : 0);
    int32_t total = pairs->planes == 2 ? 4096 : 64 << scale;
    for (int c = 0; c < 2 && taps[c]; c++) {
        int32_t whole[TAPS_MAX];
        taps_round(taps[c], total, pairs->planes == 2 ? 127 * 64 : 127, whole);
        for (int32_t i = 0; i < taps[c]->count; i++) {
            int32_t at = taps[c]->first + i - pairs->starts[p];
            int32_t parts[2] = {whole[i], 0};
            if (pairs->planes == 2) {
                parts[1] = whole[i] & 63;
                parts[0] = (whole[i] - parts[1]) / 64;
            }
            for (int32_t plane = 0; plane < pairs->planes; plane++)
                weights[((size_t)(plane * pairs->words + at / 4) * 2 + (size_t)c) *
                            (size_t)pairs->count +
                        (size_t)p] |= (gpu_u32)(parts[plane] & 0xff) << (at % 4 * 8);
        }
    }
}

/* ---- down columns: float weights for the rows of the source ---- */

struct column {
    gpu_i32 *ends;   /* [target + 1] */
    gpu_i32 *firsts; /* [target] */
    gpu_i32 *open;   /* [rows]: the oldest output row that a source row adds to */
    float *rows;     /* [rows][4] */
};

static void column_free(struct column *column)
{
    free(column->ends);
    free(column->firsts);
    free(column->open);
    free(column->rows);
}

static int column_make(const struct axis *axis, int32_t rows, double gain, struct column *column,
                       struct sl_failure *why)
{
    size_t target = (size_t)axis->target;
    column->ends = calloc(target + 1, sizeof *column->ends);
    column->firsts = calloc(target, sizeof *column->firsts);
    column->open = calloc((size_t)rows, sizeof *column->open);
    column->rows = calloc((size_t)rows * 4, sizeof *column->rows);
    struct taps *taps = calloc(target, sizeof *taps);
    int code = column->ends && column->firsts && column->open && column->rows && taps
                   ? SL_OK
                   : sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    for (int32_t j = 0; code == SL_OK && j < axis->target; j++) {
        if (!taps_make(axis, j, &taps[j]))
            code = sl_fail(why, SL_EUNSUPPORTED,
                           "the GPU's scaler makes pictures up to 15 times smaller, not %.1f times",
                           axis->ratio);
        column->firsts[j] = taps[j].first;
        column->ends[j] = taps[j].first + taps[j].count - 1;
    }
    column->ends[target] = -1;
    int32_t open = 0;
    for (int32_t i = 0; code == SL_OK && i < rows; i++) {
        while (open < axis->target && column->ends[open] < i)
            open++;
        column->open[i] = open;
        for (int32_t j = open; j < axis->target && column->firsts[j] <= i; j++) {
            if (j - open >= 4) {
                code = sl_fail(why, SL_EUNSUPPORTED,
                               "the GPU's scaler makes no picture higher than its source's %d rows",
                               rows);
                break;
            }
            column->rows[i * 4 + j - open] = (float)(taps[j].weights[i - column->firsts[j]] * gain);
        }
    }
    free(taps);
    return code;
}

/* ---- a kind of plane ---- */

/* Where the samples of a target go. */
struct turn {
    bool swapped;        /* the source's columns become rows */
    bool back_x, back_y; /* the source's columns (rows) run backwards in the target */
};

static struct turn turn_of(const struct gpu_scale_params *params)
{
    struct turn turn = {.back_x = params->mirrored};
    switch (params->rotation_degrees) {
    case 90: /* (x, y) goes to (height - 1 - y, x) */
        turn.swapped = true;
        turn.back_y = true;
        break;
    case 180:
        turn.back_x = !turn.back_x;
        turn.back_y = true;
        break;
    case 270: /* to (y, width - 1 - x) */
        turn.swapped = true;
        turn.back_x = !turn.back_x;
        break;
    default:
        break;
    }
    return turn;
}

/* Where a target's chroma sits along one of the source's directions. */
static double target_site(bool is_column, bool back)
{
    return !is_column ? 0.5 : back ? 0.75 : 0.25;
}

struct maker {
    const struct gpu_scale_params *params;
    struct turn turn;
    struct blob blob;
    struct pairs pairs[2][GPU_RUNGS_MAX];
    struct column columns[2][GPU_RUNGS_MAX];
    struct kernel_ladder ladder;
    int32_t threads;
    size_t shared_bytes;
    struct gpu_scale *out;
};

static void axes_make(const struct maker *m, int kind, const struct gpu_scale_rung *rung,
                      struct axis *x, struct axis *y)
{
    const struct gpu_scale_params *p = m->params;
    int32_t div = kind + 1;
    int32_t shown_x = p->width - p->crop_left - p->crop_right;
    int32_t shown_y = p->height - p->crop_top - p->crop_bottom;
    int32_t wide = m->turn.swapped ? rung->height : rung->width;
    int32_t high = m->turn.swapped ? rung->width : rung->height;
    *x = (struct axis){
        .low = p->crop_left / div,
        .high = (p->crop_left + shown_x - 1) / div,
        .first = (double)p->crop_left / div,
        .ratio = (double)shown_x / wide,
        .source_site = kind && p->chroma_left ? 0.25 : 0.5,
        .target_site = kind ? target_site(!m->turn.swapped, m->turn.back_x) : 0.5,
        .target = wide / div,
    };
    *y = (struct axis){
        .low = p->crop_top / div,
        .high = (p->crop_top + shown_y - 1) / div,
        .first = (double)p->crop_top / div,
        .ratio = (double)shown_y / high,
        .source_site = kind && p->chroma_top ? 0.25 : 0.5,
        .target_site = kind ? target_site(m->turn.swapped, m->turn.back_y) : 0.5,
        .target = high / div,
    };
}

/* Steps from sample to sample of the target, and where the first one is. */
static void target_lay(struct maker *m, int kind, int number, struct kernel_rung *k)
{
    const struct gpu_scale_rung *rung = &m->params->rungs[number];
    bool interleaved = gpu_layout_is_interleaved(rung->layout);
    int32_t bytes = gpu_layout_is_wide(rung->layout) ? 2 : 1;
    int32_t beside = kind && interleaved ? 2 : 1;
    int32_t below = rung->strides[kind] / bytes;
    k->step_x = (m->turn.swapped ? below : beside) * (m->turn.back_x ? -1 : 1);
    k->step_y = (m->turn.swapped ? beside : below) * (m->turn.back_y ? -1 : 1);
    int64_t first = 0;
    if (m->turn.back_x)
        first -= (int64_t)(k->width - 1) * k->step_x;
    if (m->turn.back_y)
        first -= (int64_t)(k->height - 1) * k->step_y;
    k->store = GPU_STORE_PLAIN;
    if (k->step_x == beside && rung->strides[kind] % 8 == 0)
        k->store = beside == 2 ? GPU_STORE_QUAD : GPU_STORE_PAIR;
    for (int plane = kind; plane <= 2 * kind; plane++)
        m->out->target_offsets[number][plane] =
            (first + (plane == 2 && interleaved ? 1 : 0)) * bytes;
}

/* Full range to limited: black and white, or the most of both colours, from where they are to where they belong. */
static void range_make(int kind, int32_t from_depth, int32_t depth, double *gain, float *offset)
{
    double unit = ldexp(1, depth - 8), whole = ldexp(1, from_depth) - 1;
    *gain = (kind ? 224 : 219) * unit / whole;
    *offset = (float)(kind ? 128 * unit - *gain * ldexp(1, from_depth - 1) : 16 * unit);
}

static int rung_make(struct maker *m, int kind, int number, struct sl_failure *why)
{
    const struct gpu_scale_params *params = m->params;
    const struct gpu_scale_rung *rung = &params->rungs[number];
    struct kernel_plane *plane = &m->ladder.planes[kind];
    struct kernel_rung *k = &plane->rungs[number];
    struct pairs *pairs = &m->pairs[kind][number];
    struct column *column = &m->columns[kind][number];
    struct axis x, y;
    axes_make(m, kind, rung, &x, &y);
    int32_t from_depth = gpu_layout_is_wide(params->layout) ? 10 : 8;
    int32_t depth = gpu_layout_is_wide(rung->layout) ? 10 : 8;
    double gain = ldexp(1, depth - from_depth);
    if (params->full_range)
        range_make(kind, from_depth, depth, &gain, &k->offset);
    int code = pairs_make(&x, pairs, why);
    if (code == SL_OK)
        code = column_make(&y, plane->height, gain, column, why);
    if (code != SL_OK)
        return code;
    k->pairs = pairs->count;
    k->width = x.target;
    k->height = y.target;
    k->words = pairs->words;
    k->planes = pairs->planes;
    k->depth = depth;
    k->shift = gpu_layout_shift(rung->layout);
    k->dither = from_depth > depth;
    target_lay(m, kind, number, k);

    size_t weights_bytes =
        (size_t)pairs->planes * (size_t)pairs->words * 2 * (size_t)pairs->count * sizeof(gpu_u32);
    k->weights = blob_add(&m->blob, weights_bytes);
    k->starts = blob_add(&m->blob, (size_t)pairs->count * sizeof(gpu_i32));
    k->rows = blob_put(&m->blob, column->rows, (size_t)plane->height * 4 * sizeof(float));
    k->ends = blob_put(&m->blob, column->ends, ((size_t)y.target + 1) * sizeof(gpu_i32));
    if (m->blob.failed)
        return sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    for (int32_t p = 0; p < pairs->count; p++)
        pair_encode(pairs, p, x.target, (gpu_u32 *)(void *)(m->blob.bytes + k->weights),
                    (gpu_i32 *)(void *)(m->blob.bytes + k->starts) + p);
    return SL_OK;
}

/* ---- strips and segments ---- */

static int32_t part(int32_t whole, int32_t i, int32_t parts)
{
    return (int32_t)((int64_t)whole * i / parts);
}

/* The samples that a strip's tile covers. */
static void strip_reach(const struct maker *m, int kind, int32_t strip, int32_t strips,
                        int32_t *first, int32_t *end)
{
    *first = INT32_MAX;
    *end = 0;
    for (int32_t r = 0; r < m->params->rung_count; r++) {
        const struct pairs *pairs = &m->pairs[kind][r];
        for (int32_t p = part(pairs->count, strip, strips);
             p < part(pairs->count, strip + 1, strips); p++) {
            if (pairs->starts[p] < *first)
                *first = pairs->starts[p];
            if (pairs->ends[p] > *end)
                *end = pairs->ends[p];
        }
    }
    *first = *first == INT32_MAX ? 0 : *first & ~15;
}

static int32_t jobs_of(const struct pairs *pairs, int32_t strips)
{
    int32_t most = (pairs->count + strips - 1) / strips;
    return (most + GPU_LANES - 1) / GPU_LANES;
}

static int32_t jobs_all(const struct maker *m, int kind, int32_t strips)
{
    int32_t jobs = 0;
    for (int32_t r = 0; r < m->params->rung_count; r++)
        jobs += jobs_of(&m->pairs[kind][r], strips);
    return jobs;
}

static int32_t threads_for(int32_t jobs)
{
    return (jobs < WARPS_MIN ? WARPS_MIN : jobs) * GPU_LANES;
}

/* Could the threads of a block fetch a row of such a strip at once, and keep some? */
static bool strip_fits(const struct maker *m, int kind, double width, double ratio, int32_t threads)
{
    double tile = width + 8 * ratio + 40;
    double bytes = tile * (gpu_layout_is_wide(m->params->layout) ? 2 : 1) * (kind + 1);
    return bytes / 16 <= threads && 4 * bytes <= SHARED_BYTES_MAX;
}

/* How many strips keep most lanes at work that is not done twice. threads: of a block; 0: as many as the strips ask for. */
static int32_t strips_choose(const struct maker *m, int kind, int32_t threads)
{
    int32_t pairs = 0, most = 1;
    double ratio = 1;
    for (int32_t r = 0; r < m->params->rung_count; r++) {
        const struct pairs *p = &m->pairs[kind][r];
        pairs += p->count;
        most = p->count > most ? p->count : most;
        double own = (double)m->ladder.planes[kind].width / (2 * p->count);
        ratio = own > ratio ? own : ratio;
    }
    int32_t best = 0;
    double best_score = 0;
    for (int32_t strips = 1; strips <= most; strips++) {
        int32_t jobs = jobs_all(m, kind, strips);
        double width = (double)m->ladder.planes[kind].width / strips;
        if (jobs > (threads ? threads / GPU_LANES : GPU_WARPS_MAX) ||
            !strip_fits(m, kind, width, ratio, threads ? threads : threads_for(jobs)))
            continue;
        double busy = (double)pairs / ((double)strips * jobs * GPU_LANES);
        double score = busy * width / (width + 5 * ratio + 16);
        if (jobs < WARPS_MIN && strips > 1)
            score *= 0.8;
        if (score > best_score) {
            best_score = score;
            best = strips;
        }
    }
    return best;
}

static int strips_make(struct maker *m, int kind, int32_t strips, struct sl_failure *why)
{
    struct kernel_plane *plane = &m->ladder.planes[kind];
    plane->strip_count = strips;
    plane->strips = blob_add(&m->blob, (size_t)strips * sizeof(gpu_i32));
    if (m->blob.failed)
        return sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    for (int32_t s = 0; s < strips; s++) {
        int32_t first, end;
        strip_reach(m, kind, s, strips, &first, &end);
        ((gpu_i32 *)(void *)(m->blob.bytes + plane->strips))[s] = first;
        int32_t tile = (end - first + 15) & ~15;
        plane->tile = tile > plane->tile ? tile : plane->tile;
    }
    for (int32_t r = 0; r < plane->rung_count; r++)
        plane->rungs[r].jobs = jobs_of(&m->pairs[kind][r], strips);
    int32_t bytes = gpu_layout_is_wide(m->params->layout) ? 2 : 1;
    int32_t row_bytes = plane->tile * bytes * (kind + 1);
    plane->fetch_rows = m->threads / (row_bytes / 16);
    if (plane->fetch_rows < 1)
        return sl_fail(why, SL_EUNSUPPORTED, "a strip of %d samples is too wide for a block",
                       plane->tile);
    int32_t fetches = CHUNK_ROWS / plane->fetch_rows;
    int32_t room = SHARED_BYTES_MAX / 2 / row_bytes / plane->fetch_rows;
    fetches = clamp(fetches, 1, CHUNK_FETCHES);
    fetches = clamp(fetches, 1, room);
    plane->chunk = fetches * plane->fetch_rows;
    size_t shared = 2 * (size_t)plane->chunk * (size_t)row_bytes;
    if (shared > SHARED_BYTES_MAX + 8192)
        return sl_fail(why, SL_EUNSUPPORTED, "a strip of %d samples is too wide for a block",
                       plane->tile);
    m->shared_bytes = shared > m->shared_bytes ? shared : m->shared_bytes;
    return SL_OK;
}

static int segments_make(struct maker *m, int kind, int32_t segments, struct sl_failure *why)
{
    struct kernel_plane *plane = &m->ladder.planes[kind];
    plane->segment_count = segments;
    plane->segments = blob_add(&m->blob, (size_t)segments * 2 * sizeof(gpu_i32));
    for (int32_t r = 0; r < plane->rung_count; r++)
        plane->rungs[r].segments = blob_add(&m->blob, (size_t)segments * 4 * sizeof(gpu_i32));
    if (m->blob.failed)
        return sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    for (int32_t s = 0; s < segments; s++) {
        int32_t from = INT32_MAX, end = 0;
        for (int32_t r = 0; r < plane->rung_count; r++) {
            const struct column *column = &m->columns[kind][r];
            struct kernel_rung *rung = &plane->rungs[r];
            int32_t own = part(rung->height, s, segments);
            int32_t own_end = part(rung->height, s + 1, segments);
            gpu_i32 *out = (gpu_i32 *)(void *)(m->blob.bytes + rung->segments) + s * 4;
            out[2] = own;
            out[3] = own_end;
            if (own == own_end)
                continue;
            out[0] = column->firsts[own];
            out[1] = column->open[out[0]];
            from = out[0] < from ? out[0] : from;
            end = column->ends[own_end - 1] + 1 > end ? column->ends[own_end - 1] + 1 : end;
        }
        gpu_i32 *out = (gpu_i32 *)(void *)(m->blob.bytes + plane->segments) + s * 2;
        out[0] = from == INT32_MAX ? 0 : from;
        out[1] = end;
    }
    return SL_OK;
}

static int32_t segments_choose(const struct maker *m, int32_t strips)
{
    double ratio = 1;
    for (int32_t r = 0; r < m->params->rung_count; r++) {
        double own = (double)m->ladder.planes[0].height / m->ladder.planes[0].rungs[r].height;
        ratio = own > ratio ? own : ratio;
    }
    /* What a segment reads beyond its own rows should stay under a fifth of them. */
    int32_t most = (int32_t)(m->ladder.planes[1].height / (4 * ratio * 5));
    int32_t batch = m->params->batch > 0 ? m->params->batch : 1;
    int32_t wanted = (BLOCKS_WANTED + strips * batch - 1) / (strips * batch);
    return clamp(wanted, 1, most < 1 ? 1 : most);
}

/* ---- all of it ---- */

static int params_judge(const struct gpu_scale_params *p, struct sl_failure *why)
{
    int32_t wide = p->width - p->crop_left - p->crop_right;
    int32_t high = p->height - p->crop_top - p->crop_bottom;
    if (p->width < 1 || p->height < 1 || wide < 2 || high < 2 || p->crop_left < 0 ||
        p->crop_top < 0 || p->crop_right < 0 || p->crop_bottom < 0)
        return sl_fail(why, SL_EINVAL, "a picture of %dx%d cannot be scaled", wide, high);
    if (p->rung_count < 1 || p->rung_count > GPU_RUNGS_MAX)
        return sl_fail(why, SL_EINVAL, "the GPU's scaler makes 1 to %d pictures at once, not %d",
                       GPU_RUNGS_MAX, p->rung_count);
    for (int32_t r = 0; r < p->rung_count; r++) {
        const struct gpu_scale_rung *rung = &p->rungs[r];
        if (rung->width < 2 || rung->height < 2 || rung->width % 2 || rung->height % 2)
            return sl_fail(why, SL_EINVAL, "a scaled picture has an even size, not %dx%d",
                           rung->width, rung->height);
    }
    return SL_OK;
}

static int ladder_make(struct maker *m, struct sl_failure *why)
{
    const struct gpu_scale_params *params = m->params;
    struct kernel_ladder *ladder = &m->ladder;
    bool far = false;
    ladder->shift = gpu_layout_shift(params->layout);
    blob_add(&m->blob, sizeof *ladder);
    int code = SL_OK;
    for (int kind = 0; kind < 2; kind++) {
        struct kernel_plane *plane = &ladder->planes[kind];
        plane->rung_count = params->rung_count;
        plane->width = (params->width + kind) >> kind;
        plane->height = (params->height + kind) >> kind;
        plane->interleaved = kind && gpu_layout_is_interleaved(params->layout);
        for (int r = 0; code == SL_OK && r < params->rung_count; r++) {
            code = rung_make(m, kind, r, why);
            far = far || plane->rungs[r].words > GPU_WORDS_SMALL;
        }
    }
    if (code != SL_OK)
        return code;
    int32_t strips[2];
    strips[0] = strips_choose(m, 0, 0);
    m->threads = strips[0] ? threads_for(jobs_all(m, 0, strips[0])) : 0;
    strips[1] = strips[0] ? strips_choose(m, 1, m->threads) : 0;
    if (!strips[0] || !strips[1])
        return sl_fail(why, SL_EUNSUPPORTED, "%d pictures are too many for one block of threads",
                       params->rung_count);
    int32_t segments = segments_choose(m, strips[0] + strips[1]);
    for (int kind = 0; code == SL_OK && kind < 2; kind++) {
        code = strips_make(m, kind, strips[kind], why);
        if (code == SL_OK)
            code = segments_make(m, kind, segments, why);
    }
    static const char *const names[2][2] = {{"ladder8", "ladder8_far"},
                                            {"ladder16", "ladder16_far"}};
    m->out->kernel = names[gpu_layout_is_wide(params->layout)][far];
    m->out->blocks = (uint32_t)((strips[0] + strips[1]) * segments);
    m->out->threads = (uint32_t)m->threads;
    m->out->shared_bytes = (uint32_t)m->shared_bytes;
    return code;
}

int gpu_scale_make(const struct gpu_scale_params *params, struct gpu_scale *out,
                   struct sl_failure *why)
{
    int code = params_judge(params, why);
    struct maker *m = code == SL_OK ? calloc(1, sizeof *m) : NULL;
    if (code != SL_OK)
        return code;
    if (!m)
        return sl_fail(why, SL_ENOMEM, "no memory for the tables of a scaler");
    *out = (struct gpu_scale){0};
    m->params = params;
    m->turn = turn_of(params);
    m->out = out;
    code = ladder_make(m, why);
    if (code == SL_OK) {
        memcpy(m->blob.bytes, &m->ladder, sizeof m->ladder);
        out->blob = m->blob.bytes;
        out->blob_bytes = m->blob.length;
    } else {
        free(m->blob.bytes);
    }
    for (int kind = 0; kind < 2; kind++)
        for (int r = 0; r < GPU_RUNGS_MAX; r++) {
            pairs_free(&m->pairs[kind][r]);
            column_free(&m->columns[kind][r]);
        }
    free(m);
    return code;
}

void gpu_scale_place(struct gpu_scale *scale, uint64_t base)
{
    struct kernel_ladder *ladder = (struct kernel_ladder *)(void *)scale->blob;
    for (int kind = 0; kind < 2; kind++) {
        struct kernel_plane *plane = &ladder->planes[kind];
        plane->strips += base;
        plane->segments += base;
        for (int r = 0; r < plane->rung_count; r++) {
            struct kernel_rung *rung = &plane->rungs[r];
            rung->starts += base;
            rung->weights += base;
            rung->rows += base;
            rung->ends += base;
            rung->segments += base;
        }
    }
}

void gpu_scale_free(struct gpu_scale *scale)
{
    free(scale->blob);
    *scale = (struct gpu_scale){0};
}
