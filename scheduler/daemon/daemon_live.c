/* What plays of a video before it is ready: the chunks of the first codec from the start on, with all audio, as HLS
 * playlists that only grow. Their texts lie with the HTTP side and are made from committed reports; none of it is stored,
 * a restart makes it from the same reports again.
 *
 *  1. Nothing is announced before its commit: daemon_live_tell runs after it.
 *  2. A chunk is announced when all before it are, and no seam can have it done again: the seams at both its ends hold.
 *     The opening chunk, which is decoded from the start of the source, and chunks in linear mode are right as they
 *     are and wait for no seam behind them.
 *  3. All renditions name the same stretch of time, and every segment by the key under which it is published.
 *  4. What was announced changes only when a person has it made anew, when the seam behind the opening chunk turns out not
 *     to hold however its neighbour is decoded, or when the devices that made it are gone from the farm and others make
 *     it again: then the playlists start again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/manifest.h"
#include "scheduler/daemon/daemon_internal.h"

struct daemon_live {
    int32_t announced; /* chunks */
    int64_t playable_ns;
    bool broken;                   /* its playlists cannot be made; the log has said why */
    int32_t rung_count;            /* of the first codec */
    struct sl_buf opening;         /* the report of chunk 0, until the playlists begin; likewise */
    struct sl_buf *audio;          /* of each audio piece; from then on its lines */
    size_t *audio_at;              /* announced of them */
    char (*names)[JOB_NAME_BYTES]; /* of the playlists: rungs, then audio */
};

void daemon_live_free(struct daemon_video *video)
{
    struct daemon_live *live = video->live;
    for (int32_t i = 0; i < video->piece_count; i++) {
        free(video->pieces[i].lines);
        video->pieces[i].lines = NULL;
    }
    if (!live)
        return;
    for (int32_t i = 0; live->audio && i < video->plan->audio_count; i++)
        sl_buf_fini(&live->audio[i]);
    sl_buf_fini(&live->opening);
    free(live->audio);
    free(live->audio_at);
    free(live->names);
    free(live);
    video->live = NULL;
}

void daemon_live_touch(struct daemon *d, struct daemon_video *video)
{
    if (video->live_touched)
        return;
    video->live_touched = true;
    if (!daemon_list_push(&d->batch.live, video))
        abort();
}

void daemon_live_stale(struct daemon *d, struct daemon_video *video)
{
    video->live_stale = true;
    daemon_live_touch(d, video);
}

int64_t daemon_live_playable_ns(const struct daemon_video *video)
{
    return video->live ? video->live->playable_ns : 0;
}

static struct daemon_live *live_of(struct daemon_video *video)
{
    if (video->live)
        return video->live;
    const struct plan *plan = video->plan;
    struct daemon_live *live = calloc(1, sizeof *live);
    if (!live)
        abort();
    live->rung_count = plan_codec_rungs(plan, plan_codec_at(plan, 0), NULL);
    live->audio = calloc((size_t)plan->audio_count + 1, sizeof *live->audio);
    live->audio_at = calloc((size_t)plan->audio_count + 1, sizeof *live->audio_at);
    live->names = calloc((size_t)(live->rung_count + plan->audio_count), sizeof *live->names);
    if (!live->audio || !live->audio_at || !live->names)
        abort();
    video->live = live;
    return live;
}

/* ---- reports ---- */

/* The lines that a chunk adds to its rungs' playlists, a NUL behind each rung's. */
static char *chunk_lines(const struct plan *plan, int32_t piece, const struct report *report)
{
    struct sl_arena arena = {0};
    struct sl_buf lines = {0};
    struct published_rendition *rungs;
    int32_t count;
    char name[JOB_NAME_BYTES];
    if (plan_publish_chunk(plan, piece, report, &arena, &rungs, &count) != SL_OK)
        abort();
    for (int32_t r = 0; r < count; r++) {
        manifest_hls_event_key(&rungs[r], name);
        manifest_hls_lines(&rungs[r], name, &lines);
        sl_buf_append(&lines, "", 1);
    }
    sl_arena_fini(&arena);
    if (lines.failed)
        abort();
    return (char *)lines.data;
}

void daemon_live_note(struct daemon *d, struct daemon_video *video, enum step step, int32_t piece,
                      const struct report *report, const uint8_t *bytes, size_t length)
{
    const struct plan *plan = video->plan;
    if (!plan || plan->chunk_count == 0)
        return;
    if (step == STEP_TRANSCODE && piece >= 0 && piece < video->piece_count &&
        piece % plan->codec_count == 0) {
        struct daemon_live *live = live_of(video);
        free(video->pieces[piece].lines);
        video->pieces[piece].lines = chunk_lines(plan, piece, report);
        if (piece == 0) {
            sl_buf_reset(&live->opening);
            sl_buf_append(&live->opening, bytes, length);
        }
    } else if (step == STEP_AUDIO && piece >= 0 && piece < plan->audio_count) {
        struct daemon_live *live = live_of(video);
        sl_buf_reset(&live->audio[piece]);
        sl_buf_append(&live->audio[piece], bytes, length);
    } else {
        return;
    }
    daemon_live_touch(d, video);
}

void daemon_live_redo(struct daemon *d, struct daemon_video *video, int32_t piece)
{
    int32_t step = video->plan->codec_count;
    free(video->pieces[piece].lines);
    video->pieces[piece].lines = NULL;
    if (video->live && piece % step == 0 && piece / step < video->live->announced)
        daemon_live_stale(d, video);
}

struct reload {
    struct daemon *d;
    struct daemon_video *video;
};

static int reload_take(void *arg, struct task_id task, enum step step, int32_t piece,
                       const uint8_t *bytes, size_t length)
{
    struct reload *reload = arg;
    struct sched_task_row row;
    if ((step != STEP_TRANSCODE && step != STEP_AUDIO) ||
        sched_task_find(reload->d->sched, task, &row) != SL_OK || row.state != TASK_DONE)
        return 0;
    struct sl_arena arena = {0};
    struct report report;
    int code = wire_report_decode(bytes, length, &arena, &report, NULL);
    if (code == SL_OK)
        daemon_live_note(reload->d, reload->video, step, piece, &report, bytes, length);
    sl_arena_fini(&arena);
    return code;
}

static void live_reload(struct daemon *d, struct daemon_video *video)
{
    struct reload reload = {d, video};
    video->live_stale = false;
    daemon_live_free(video);
    api_live_drop(d->api, video->id);
    if (store_walk_reports(d->store, video->id, reload_take, &reload) != SL_OK) {
        struct sl_log_about about = daemon_about(video);
        sl_warn(&about, "what plays of it already cannot be told: %s", store_why(d->store));
    }
}

/* ---- the playlists begin ---- */

/* What all playlists of the video will say: the longest segment of the whole plan. */
static int target_find(const struct plan *plan, const struct published_set *set,
                       struct sl_arena *arena, int64_t *target_s)
{
    struct published_set whole = *set;
    struct published_segment *segments =
        sl_arena_array(arena, (size_t)plan->segment_count, sizeof *segments);
    whole.renditions = sl_arena_memdup(arena, set->renditions,
                                       (size_t)set->rendition_count * sizeof *set->renditions);
    if (!segments || !whole.renditions)
        return SL_ENOMEM;
    for (int32_t i = 0; i < plan->segment_count; i++) {
        segments[i].start_ticks = plan_ticks(plan, plan->segments[i].start_pts);
        segments[i].end_ticks = plan_ticks(plan, plan->segments[i].end_pts);
    }
    whole.renditions[0].segments = segments;
    whole.renditions[0].segment_count = plan->segment_count;
    *target_s = manifest_target_s(&whole);
    return SL_OK;
}

static int set_begin(const struct daemon_video *video, struct sl_arena *arena,
                     struct published_set *set, struct sl_failure *why)
{
    const struct plan *plan = video->plan;
    const struct daemon_live *live = video->live;
    struct report report;
    struct published_rendition *rungs;
    int32_t count = 0;
    *set = (struct published_set){.frame_rate = plan->frame_rate, .timescale = plan->timescale};
    memcpy(set->video, video->text, sizeof set->video);
    set->renditions = sl_arena_array(arena, (size_t)(live->rung_count + plan->audio_count),
                                     sizeof *set->renditions);
    int code = set->renditions ? wire_report_decode(live->opening.data, live->opening.length, arena,
                                                    &report, why)
                               : SL_ENOMEM;
    if (code == SL_OK)
        code = plan_publish_chunk(plan, 0, &report, arena, &rungs, &count);
    if (code == SL_OK)
        memcpy(set->renditions, rungs, (size_t)count * sizeof *rungs);
    for (int32_t a = 0; a < plan->audio_count && code == SL_OK; a++) {
        code = wire_report_decode(live->audio[a].data, live->audio[a].length, arena, &report, why);
        if (code == SL_OK)
            code = plan_publish_audio(plan, a, &report, arena, &set->renditions[count + a], why);
    }
    set->rendition_count = count + plan->audio_count;
    for (int32_t r = 0; r < set->rendition_count && code == SL_OK; r++)
        code = manifest_hls_event_key(&set->renditions[r], set->renditions[r].playlist_key);
    return code;
}

static void text_put(struct daemon *d, const struct daemon_video *video, const char *name,
                     bool grows, const void *bytes, size_t length)
{
    api_live_append(d->api, video->id, video->version, name, grows, bytes, length);
}

/* Heads of all playlists; the master's text, which is put once they have lines. */
static int live_begin(struct daemon *d, struct daemon_video *video, struct sl_buf *master,
                      struct sl_failure *why)
{
    struct daemon_live *live = video->live;
    struct sl_arena arena = {0};
    struct published_set set;
    int64_t target_s = 0;
    int code = set_begin(video, &arena, &set, why);
    if (code == SL_OK)
        code = target_find(video->plan, &set, &arena, &target_s);
    if (code == SL_OK)
        code = manifest_hls_master(&set, master, why);
    for (int32_t r = 0; r < set.rendition_count && code == SL_OK; r++) {
        const struct published_rendition *rendition = &set.renditions[r];
        struct sl_buf text = {0};
        memcpy(live->names[r], rendition->playlist_key, sizeof live->names[r]);
        manifest_hls_head(rendition, live->names[r], target_s, &text);
        text_put(d, video, live->names[r], true, text.data, text.length);
        sl_buf_reset(&text);
        if (rendition->audio) {
            manifest_hls_lines(rendition, live->names[r], &text);
            sl_buf_fini(&live->audio[r - live->rung_count]);
            live->audio[r - live->rung_count] = text;
        } else {
            sl_buf_fini(&text);
        }
    }
    sl_buf_fini(&live->opening);
    sl_arena_fini(&arena);
    return code;
}

/* ---- growing ---- */

/* Invariant 2, but for the chunks before it. */
static bool chunk_settled(const struct daemon_video *video, int32_t chunk)
{
    int32_t step = video->plan->codec_count;
    const struct daemon_piece *piece = &video->pieces[chunk * step];
    if (!piece->done || !piece->lines)
        return false;
    if (chunk > 0 && piece[-step].seam_next != piece->seam_first)
        return false;
    if (chunk == 0 || chunk == video->plan->chunk_count - 1 || piece->preroll == PREROLL_LINEAR)
        return true;
    return piece[step].done && piece->seam_next == piece[step].seam_first;
}

static bool audio_there(const struct daemon_video *video)
{
    for (int32_t a = 0; a < video->plan->audio_count; a++)
        if (video->live->audio[a].length == 0)
            return false;
    return true;
}

static void chunk_announce(struct daemon *d, struct daemon_video *video, int32_t chunk)
{
    const struct plan *plan = video->plan;
    struct daemon_live *live = video->live;
    struct daemon_piece *piece = &video->pieces[chunk * plan->codec_count];
    const char *lines = piece->lines;
    for (int32_t r = 0; r < live->rung_count; r++) {
        text_put(d, video, live->names[r], true, lines, strlen(lines));
        lines += strlen(lines) + 1;
    }
    for (int32_t a = 0; a < plan->audio_count; a++) {
        const char *from = (const char *)live->audio[a].data + live->audio_at[a];
        size_t left = live->audio[a].length - live->audio_at[a], length = 0;
        for (int32_t n = 2 * plan->chunks[chunk].segment_count; n > 0 && length < left; length++)
            n -= from[length] == '\n';
        text_put(d, video, live->names[live->rung_count + a], true, from, length);
        live->audio_at[a] += length;
    }
    free(piece->lines);
    piece->lines = NULL;
    live->announced = chunk + 1;
    live->playable_ns =
        sl_muldiv_i64(plan_ticks(plan, plan->chunks[chunk].end_pts), SL_NS_PER_S, plan->timescale);
}

static void first_announce(struct daemon *d, struct daemon_video *video)
{
    struct sl_log_about about = daemon_about(video);
    struct sl_buf master = {0};
    struct sl_failure why = {0};
    int code = live_begin(d, video, &master, &why);
    if (code == SL_OK) {
        chunk_announce(d, video, 0);
        text_put(d, video, "master.m3u8", false, master.data, master.length);
        sl_info(&about, "the first %" PRId64 " ms play, %" PRId64 " ms after it was submitted",
                SL_NS_TO_MS(video->live->playable_ns),
                SL_NS_TO_MS(d->batch.now_unix_ns - video->created_unix_ns));
    } else {
        video->live->broken = true;
        api_live_drop(d->api, video->id);
        sl_warn(&about, "it does not play before it is ready: %s",
                why.message[0] ? why.message : sl_error_text(code));
    }
    sl_buf_fini(&master);
}

/* live_touched stays set meanwhile, so that a reload does not touch again. */
static void live_tell(struct daemon *d, struct daemon_video *video)
{
    if (!d->api)
        return;
    if (!video->plan || video->gone || video->deleting || video->status == VIDEO_CANCELLED) {
        api_live_drop(d->api, video->id);
        video->live_stale = video->live_stale || video->live;
        daemon_live_free(video);
        return;
    }
    if (video->live_stale)
        live_reload(d, video);
    struct daemon_live *live = video->live;
    if (!live || live->broken)
        return;
    int64_t before_ns = live->playable_ns;
    if (live->announced == 0 && chunk_settled(video, 0) && audio_there(video))
        first_announce(d, video);
    while (live->announced > 0 && live->announced < video->plan->chunk_count &&
           chunk_settled(video, live->announced))
        chunk_announce(d, video, live->announced);
    api_live_end(d->api, video->id,
                 video->status == VIDEO_FAILED || live->announced == video->plan->chunk_count);
    if (live->playable_ns != before_ns)
        api_event_video(d->api, video->id, video->status, (double)live->playable_ns / 1e9);
}

void daemon_live_tell(struct daemon *d, struct daemon_video *video)
{
    video->live_touched = true;
    live_tell(d, video);
    video->live_touched = false;
}
