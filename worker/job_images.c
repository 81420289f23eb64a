/* Poster, thumbnails and preview, out of keyframes that are decoded one by one.
 *
 * Each keyframe is looked at once: scaled to a tile, which goes into a sheet and tells how dark and how plain the picture
 * is; some are scaled for the preview as well. The poster is decoded again, at its full size. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cpu/cpu_scale.h"
#include "media/media_filter.h"
#include "media/media_frame.h"
#include "media/media_picture.h"
#include "media/media_stills.h"
#include "package/webvtt.h"
#include "worker/jobs.h"

#define SHEET_COLUMNS    10
#define SHEET_TILES      (SHEET_COLUMNS * SHEET_COLUMNS)
#define SHEET_QUALITY    6
#define POSTER_QUALITY   3
#define PREVIEW_FRAME_MS 500
/* Where the poster should come from, and what it should not be: darker than this on average, or all of one shade. */
#define POSTER_PERCENT   10
#define DARK_LUMA        28
#define PLAIN_SPREAD     6
/* Frames decoded on from a dark keyframe, where no keyframe is any better. */
#define POSTER_ON_MAX    160
#define POSTER_ON_STEP   4 /* of which so many are looked at */
/* Good enough to look no further. */
#define LIVELY_LUMA      56
#define LIVELY_SPREAD    16

enum { H273_SMPTE170M = 6 };

/* What one keyframe is like. */
struct still {
    int64_t pts;
    int32_t tile; /* in the sheets; -1: it did not decode */
    int luma;     /* mean of the tile */
    int spread;   /* mean distance from that */
};

struct images_run {
    struct worker_run *run;
    const struct job_images *job;
    const struct plan_images *plan;
    struct media_stills *reader;
    struct cpu_scale *tile_scale, *preview_scale;
    AVFrame *tile;
    AVFrame *sheet;
    int32_t tile_count; /* in all sheets */
    AVFrame *preview[PLAN_PREVIEW_STILLS];
    int32_t preview_count;
    struct still *stills;
    struct sl_buf out;
};

static int64_t pts_ms(const struct job_images *job, int64_t pts)
{
    return sl_muldiv_i64(pts - job->origin_pts, job->source.time_base.num * INT64_C(1000),
                         job->source.time_base.den);
}

/* ---- pictures ---- */

/* The frame as the rungs show it: upright, square or planned samples, SDR. */
static int picture_settle(const struct images_run *r, AVFrame *frame, struct sl_failure *why)
{
    const struct media_filter_params params = {.video = &r->job->source,
                                               .how = &r->job->picture,
                                               .start_pts = INT64_MIN,
                                               .end_pts = INT64_MAX};
    return media_filter_frame(&params, frame, why);
}

static int scale_into(const struct images_run *r, struct cpu_scale **scale, const AVFrame *frame,
                      AVFrame *into, bool full_range, struct sl_failure *why)
{
    struct cpu_scale_target target = {
        .layout = HAL_I420,
        .width = into->width,
        .height = into->height,
        .color_primaries = r->job->picture.primaries,
        .color_transfer = r->job->picture.transfer,
        .color_matrix = H273_SMPTE170M,
        .full_range = full_range,
    };
    if (*scale && !cpu_scale_fits(*scale, frame))
        cpu_scale_close(scale);
    int code = *scale ? SL_OK : cpu_scale_open(frame, &target, scale, why);
    return code == SL_OK ? cpu_scale_run(*scale, frame, into, why) : code;
}

static AVFrame *picture_make(int32_t width, int32_t height, struct sl_failure *why)
{
    AVFrame *frame = media_frame_make(HAL_I420, width, height);
    if (!frame)
        sl_fail(why, SL_ENOMEM, "no memory for a picture of %dx%d", (int)width, (int)height);
    return frame;
}

static void picture_fill(AVFrame *frame)
{
    for (int plane = 0; plane < 3; plane++)
        memset(frame->data[plane], plane ? 128 : 0,
               (size_t)frame->linesize[plane] *
                   (size_t)(plane ? (frame->height + 1) / 2 : frame->height));
}

static void tile_look(const AVFrame *tile, struct still *still)
{
    int64_t sum = 0, off = 0, count = (int64_t)tile->width * tile->height;
    for (int y = 0; y < tile->height; y++)
        for (int x = 0; x < tile->width; x++)
            sum += tile->data[0][y * tile->linesize[0] + x];
    still->luma = (int)(sum / count);
    for (int y = 0; y < tile->height; y++)
        for (int x = 0; x < tile->width; x++)
            off += abs(tile->data[0][y * tile->linesize[0] + x] - still->luma);
    still->spread = (int)(off / count);
}

static bool still_is_dull(const struct still *still)
{
    return still->luma < DARK_LUMA || still->spread < PLAIN_SPREAD;
}

/* ---- sheets ---- */

static int sheet_put(struct images_run *r, struct sl_failure *why)
{
    int32_t in_sheet = (r->tile_count - 1) % SHEET_TILES + 1;
    int32_t number = (r->tile_count - 1) / SHEET_TILES;
    int32_t columns = in_sheet < SHEET_COLUMNS ? in_sheet : SHEET_COLUMNS;
    int32_t rows = (in_sheet + SHEET_COLUMNS - 1) / SHEET_COLUMNS;
    struct report_images *report = &r->run->report.images;
    char name[JOB_NAME_BYTES];
    int32_t output;
    AVFrame *used = av_frame_clone(r->sheet);
    if (!used)
        return sl_fail(why, SL_ENOMEM, "no memory for a sheet of thumbnails");
    used->width = columns * r->plan->tile_width;
    used->height = rows * r->plan->tile_height;
    sl_buf_reset(&r->out);
    int code = media_picture_jpeg(used, SHEET_QUALITY, &r->out, why);
    av_frame_free(&used);
    snprintf(name, sizeof name, "images/sheet-%03d.jpg", (int)number);
    if (code == SL_OK)
        code = run_output(r->run, name, r->out.data, r->out.length, &output, why);
    if (code == SL_OK && report->sheet_count++ == 0)
        report->sheet_first_output = output;
    picture_fill(r->sheet);
    return code;
}

static void tile_place(const struct plan_images *plan, int32_t tile, int32_t *x, int32_t *y)
{
    *x = tile % SHEET_COLUMNS * plan->tile_width;
    *y = tile % SHEET_TILES / SHEET_COLUMNS * plan->tile_height;
}

static int tile_add(struct images_run *r, struct still *still, struct sl_failure *why)
{
    int32_t x, y;
    tile_place(r->plan, r->tile_count, &x, &y);
    for (int plane = 0; plane < 3; plane++) {
        int shift = plane ? 1 : 0;
        uint8_t *to =
            r->sheet->data[plane] + (y >> shift) * r->sheet->linesize[plane] + (x >> shift);
        const uint8_t *from = r->tile->data[plane];
        for (int row = 0; row < r->tile->height >> shift; row++) {
            memcpy(to, from, (size_t)(r->tile->width >> shift));
            to += r->sheet->linesize[plane];
            from += r->tile->linesize[plane];
        }
    }
    still->tile = r->tile_count++;
    return r->tile_count % SHEET_TILES == 0 ? sheet_put(r, why) : SL_OK;
}

/* The still that stands for an instant: the last that decoded at or before it, else the first that did. */
static const struct still *still_at(const struct images_run *r, int64_t ms)
{
    const struct still *found = NULL;
    for (int32_t i = 0; i < r->plan->still_count; i++) {
        const struct still *still = &r->stills[i];
        if (still->tile >= 0 && (!found || pts_ms(r->job, still->pts) <= ms))
            found = still;
    }
    return found;
}

/* The map names the sheets by the keys that they have. Neighbours that show one picture are one entry. */
static int map_put(struct images_run *r, struct sl_failure *why)
{
    const struct plan_images *plan = r->plan;
    int64_t end_ms = pts_ms(r->job, r->job->end_pts);
    struct report_images *report = &r->run->report.images;
    sl_buf_reset(&r->out);
    webvtt_head(&r->out);
    const struct still *shown = NULL;
    int64_t since_ms = 0;
    for (int64_t at_ns = 0; since_ms < end_ms; at_ns += plan->interval_ns) {
        int64_t at_ms = at_ns / 1000000 < end_ms ? at_ns / 1000000 : end_ms;
        const struct still *now =
            at_ms < end_ms ? still_at(r, (at_ns + plan->interval_ns / 2) / 1000000) : NULL;
        if (shown && now != shown) {
            char name[JOB_NAME_BYTES], key[JOB_NAME_BYTES];
            int32_t x, y;
            snprintf(name, sizeof name, "images/sheet-%03d.jpg", (int)(shown->tile / SHEET_TILES));
            if (run_output_key(name, r->run->job.token, key) != SL_OK)
                return sl_fail(why, SL_ELIMIT, "the name of a sheet is too long");
            tile_place(plan, shown->tile, &x, &y);
            webvtt_place(&r->out, since_ms, at_ms, key, x, y, plan->tile_width, plan->tile_height);
            since_ms = at_ms;
        }
        shown = now;
        if (!now)
            break;
    }
    return run_output(r->run, "thumbnails.vtt", r->out.data, r->out.length,
                      &report->thumbnails_output, why);
}

/* ---- the walk over the keyframes ---- */

/* The n-th of the preview's pictures is the last keyframe at or before the middle of the n-th tenth. */
static bool preview_wants(const struct images_run *r, int32_t at)
{
    int64_t end_ms = pts_ms(r->job, r->job->end_pts);
    int64_t from_ms = pts_ms(r->job, r->stills[at].pts);
    bool last = at + 1 == r->plan->still_count;
    int64_t to_ms = last ? INT64_MAX : pts_ms(r->job, r->stills[at + 1].pts);
    for (int64_t i = 0; i < PLAN_PREVIEW_STILLS; i++) {
        int64_t ms = end_ms * (2 * i + 1) / (2 * PLAN_PREVIEW_STILLS);
        if (ms >= from_ms && ms < to_ms)
            return true;
    }
    return false;
}

static int still_take(struct images_run *r, int32_t at, AVFrame *frame, struct sl_failure *why)
{
    struct still *still = &r->stills[at];
    int code = picture_settle(r, frame, why);
    if (code == SL_OK)
        code = scale_into(r, &r->tile_scale, frame, r->tile, true, why);
    if (code != SL_OK)
        return code;
    tile_look(r->tile, still);
    if (r->plan->preview && r->preview_count < PLAN_PREVIEW_STILLS && preview_wants(r, at)) {
        AVFrame *picture = picture_make(r->plan->preview_width, r->plan->preview_height, why);
        if (!picture)
            return SL_ENOMEM;
        r->preview[r->preview_count++] = picture;
        code = scale_into(r, &r->preview_scale, frame, picture, false, why);
        if (code != SL_OK)
            return code;
    }
    if (r->plan->interval_ns > 0)
        return tile_add(r, still, why);
    still->tile = 0;
    return SL_OK;
}

static int stills_walk(struct images_run *r, struct sl_failure *why)
{
    int32_t good = 0;
    for (int32_t i = 0; i < r->plan->still_count; i++) {
        r->stills[i] = (struct still){.pts = r->plan->stills[i], .tile = -1};
        if (i + 1 < r->plan->still_count)
            r->stills[i + 1].pts = r->plan->stills[i + 1];
        AVFrame *frame = NULL;
        int got = media_stills_at(r->reader, r->stills[i].pts, &frame, why);
        if (got < 0)
            return got;
        run_first_work(r->run);
        if (got > 0) {
            int code = still_take(r, i, frame, why);
            if (code != SL_OK)
                return code;
            good++;
        }
        run_progress(r->run, i + 1, r->plan->still_count);
    }
    if (good == 0)
        return sl_fail(why, SL_EDECODE, "none of %d keyframes of the video decodes",
                       (int)r->plan->still_count);
    if (good < r->plan->still_count)
        sl_warn(&r->run->about, "%d of %d keyframes do not decode alone",
                (int)(r->plan->still_count - good), (int)r->plan->still_count);
    bool open_sheet = r->plan->interval_ns > 0 && r->tile_count % SHEET_TILES != 0;
    int code = open_sheet ? sheet_put(r, why) : SL_OK;
    r->run->report.images.tile_count = r->tile_count;
    return code;
}

/* ---- the poster ---- */

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* The keyframe nearest to the place wanted that is worth looking at; failing that the least plain. */
static const struct still *poster_choose(const struct images_run *r)
{
    int64_t wanted_ms = pts_ms(r->job, r->job->end_pts) * POSTER_PERCENT / 100;
    const struct still *best = NULL;
    for (int32_t i = 0; i < r->plan->still_count; i++) {
        const struct still *still = &r->stills[i];
        if (still->tile < 0)
            continue;
        bool dull = still_is_dull(still);
        bool better = !best || (still_is_dull(best) && !dull);
        if (best && still_is_dull(best) == dull)
            better = dull ? still->spread > best->spread
                          : distance(pts_ms(r->job, still->pts), wanted_ms) <
                                distance(pts_ms(r->job, best->pts), wanted_ms);
        if (better)
            best = still;
    }
    return best;
}

/* All keyframes are dark: the liveliest of the frames behind one of them, looked at now and then. *best is the
 * caller's. */
static int poster_go_on(struct images_run *r, AVFrame **best, struct sl_failure *why)
{
    int most = 0;
    for (int i = 0; i < POSTER_ON_MAX; i++) {
        AVFrame *next = NULL;
        struct still look = {0};
        int got = media_stills_on(r->reader, &next, why);
        if (got <= 0)
            return got;
        if (i % POSTER_ON_STEP != 0)
            continue;
        int code = picture_settle(r, next, why);
        if (code == SL_OK)
            code = scale_into(r, &r->tile_scale, next, r->tile, true, why);
        if (code != SL_OK)
            return code;
        tile_look(r->tile, &look);
        if (!still_is_dull(&look) && look.luma + look.spread > most) {
            most = look.luma + look.spread;
            av_frame_free(best);
            if (!(*best = av_frame_clone(next)))
                return sl_fail(why, SL_ENOMEM, "no memory for a picture");
        }
        if (look.luma >= LIVELY_LUMA && look.spread >= LIVELY_SPREAD)
            break;
        run_progress(r->run, i, POSTER_ON_MAX);
    }
    return SL_OK;
}

static int poster_put(struct images_run *r, struct sl_failure *why)
{
    const struct still *still = poster_choose(r);
    AVFrame *frame = NULL, *later = NULL;
    int got = media_stills_at(r->reader, still->pts, &frame, why);
    if (got > 0 && still_is_dull(still)) {
        int code = poster_go_on(r, &later, why);
        if (code == SL_OK && !later) /* dark throughout, and the reader has gone on */
            code = media_stills_at(r->reader, still->pts, &frame, why);
        got = code < 0 ? code : 1;
        frame = later ? later : frame;
    }
    if (got <= 0) {
        av_frame_free(&later);
        return got < 0 ? got
                       : sl_fail(why, SL_EDECODE,
                                 "the keyframe at %" PRId64 " ms does not decode "
                                 "a second time",
                                 pts_ms(r->job, still->pts));
    }
    struct cpu_scale *scale = NULL;
    AVFrame *poster = picture_make(r->plan->poster_width, r->plan->poster_height, why);
    int code = poster ? SL_OK : SL_ENOMEM;
    if (code == SL_OK && frame != later)
        code = picture_settle(r, frame, why);
    if (code == SL_OK)
        code = scale_into(r, &scale, frame, poster, true, why);
    sl_buf_reset(&r->out);
    if (code == SL_OK)
        code = media_picture_jpeg(poster, POSTER_QUALITY, &r->out, why);
    if (code == SL_OK)
        code = run_output(r->run, "poster.jpg", r->out.data, r->out.length,
                          &r->run->report.images.poster_output, why);
    cpu_scale_close(&scale);
    av_frame_free(&poster);
    av_frame_free(&later);
    return code;
}

static int preview_put(struct images_run *r, struct sl_failure *why)
{
    sl_buf_reset(&r->out);
    int code = media_picture_webp(r->preview, r->preview_count, PREVIEW_FRAME_MS, &r->out, why);
    if (code == SL_OK)
        code = run_output(r->run, "preview.webp", r->out.data, r->out.length,
                          &r->run->report.images.preview_output, why);
    return code;
}

/* ---- the whole ---- */

static int job_judge(const struct job_images *job, struct sl_failure *why)
{
    const struct plan_images *plan = &job->images;
    const int32_t sizes[] = {plan->poster_width, plan->poster_height, plan->tile_width,
                             plan->tile_height,  plan->preview_width, plan->preview_height};
    bool good = plan->still_count > 0 && job->source.time_base.num > 0 &&
                job->source.time_base.den > 0 && job->end_pts > job->origin_pts &&
                plan->interval_ns >= 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        good = good && sizes[i] >= 2 && sizes[i] <= 16384 && sizes[i] % 2 == 0;
    return good ? SL_OK
                : sl_fail(why, SL_EINVAL, "the job of images names %d keyframes or no good sizes",
                          (int)plan->still_count);
}

static int images_make(struct images_run *r, struct sl_failure *why)
{
    const struct plan_images *plan = r->plan;
    r->stills = sl_arena_array(&r->run->arena, (size_t)plan->still_count, sizeof *r->stills);
    r->tile = picture_make(plan->tile_width, plan->tile_height, why);
    r->sheet = plan->interval_ns > 0 ? picture_make(SHEET_COLUMNS * plan->tile_width,
                                                    SHEET_COLUMNS * plan->tile_height, why)
                                     : NULL;
    if (!r->stills || !r->tile || (plan->interval_ns > 0 && !r->sheet))
        return sl_fail(why, SL_ENOMEM, "no memory for %d pictures", (int)plan->still_count);
    if (r->sheet)
        picture_fill(r->sheet);
    int code = stills_walk(r, why);
    if (code == SL_OK && plan->interval_ns > 0)
        code = map_put(r, why);
    if (code == SL_OK && plan->preview)
        code = preview_put(r, why);
    if (code == SL_OK && plan->poster)
        code = poster_put(r, why);
    return code;
}

int job_images(struct worker_run *run, struct sl_failure *why)
{
    struct images_run r = {.run = run, .job = &run->job.images, .plan = &run->job.images.images};
    run->report.images = (struct report_images){-1, -1, -1, -1, 0, 0};
    struct media_input input;
    int code = job_judge(r.job, why);
    if (code == SL_OK)
        code = run_input(run, 0, &input, why);
    if (code == SL_OK)
        code = media_stills_open(&input, &r.job->source, &r.reader, why);
    if (code == SL_OK)
        code = images_make(&r, why);
    media_stills_close(&r.reader);
    cpu_scale_close(&r.tile_scale);
    cpu_scale_close(&r.preview_scale);
    av_frame_free(&r.tile);
    av_frame_free(&r.sheet);
    for (int32_t i = 0; i < r.preview_count; i++)
        av_frame_free(&r.preview[i]);
    sl_buf_fini(&r.out);
    return code;
}
