/* What goes beside picture and sound: subtitle tracks, images, chapters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

#define TILE_HEIGHT    90
#define PREVIEW_HEIGHT 180
#define PREVIEW_STILLS PLAN_PREVIEW_STILLS
/* Where a poster is looked for, in parts of a hundred: near 10 first, and elsewhere where all is dark there. */
static const int32_t poster_places[] = {2, 5, 8, 10, 12, 15, 20, 30, 40, 50, 60, 75};
#define POSTER_PLACES ((int32_t)(sizeof poster_places / sizeof poster_places[0]))
#define TILES_MAX     (PLAN_STILLS_MAX - POSTER_PLACES - PREVIEW_STILLS)

static int64_t pts_ns(const struct plan *plan, int64_t pts)
{
    return sl_muldiv_i64(pts - plan->origin_pts, plan->video.time_base.num * SL_NS_PER_S,
                         plan->video.time_base.den);
}

/* ---- subtitles ---- */

static bool name_taken(const struct plan *plan, const char *name)
{
    for (int32_t i = 0; i < plan->text_count; i++)
        if (strcmp(plan->texts[i].name, name) == 0)
            return true;
    return false;
}

/* "eng", "eng-2" …: a folder's name, of letters that a language is made of. */
static void name_choose(const struct plan *plan, const char *language, char name[POLICY_WORD_BYTES])
{
    char base[POLICY_WORD_BYTES - 4];
    snprintf(base, sizeof base, "%.*s", (int)sizeof base - 1, language[0] ? language : "und");
    for (char *c = base; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') && *c != '-')
            *c = '_';
    }
    snprintf(name, POLICY_WORD_BYTES, "%s", base);
    for (int number = 2; name_taken(plan, name) && number < 100; number++)
        snprintf(name, POLICY_WORD_BYTES, "%s-%d", base, number);
}

int plan_texts_choose(const struct media_info *info, const struct policy *policy,
                      struct sl_arena *arena, struct plan *plan, struct sl_failure *why)
{
    plan->texts = sl_arena_array(arena, PLAN_TEXTS_MAX, sizeof *plan->texts);
    if (!plan->texts)
        return sl_fail(why, SL_ENOMEM, "no memory for the subtitles of the plan");
    bool any_default = false;
    size_t at = strlen(plan->left_out);
    if (policy->subtitles && info->text_left_out > 0)
        snprintf(plan->left_out + at, sizeof plan->left_out - at,
                 "%s%d subtitle stream%s left out: pictures, of an unknown kind, or beyond %d",
                 at ? "; " : "", (int)info->text_left_out,
                 info->text_left_out == 1 ? " is" : "s are", MEDIA_TEXTS_MAX);
    for (int32_t i = 0; policy->subtitles && i < info->text_count && i < PLAN_TEXTS_MAX; i++) {
        const struct media_text *from = &info->texts[i];
        struct plan_text text = {.forced = from->forced,
                                 .impaired = from->impaired,
                                 .is_default = from->is_default && !any_default,
                                 .stream_index = from->stream_index};
        memcpy(text.language, from->language, sizeof text.language);
        memcpy(text.title, from->title, sizeof text.title);
        memcpy(text.codec, from->codec, sizeof text.codec);
        name_choose(plan, text.language, text.name);
        any_default |= text.is_default;
        plan->texts[plan->text_count++] = text;
    }
    return SL_OK;
}

int plan_sidecars_add(const struct plan_sidecar *sidecars, int32_t count,
                      const struct policy *policy, struct plan *plan, struct sl_failure *why)
{
    if (!policy->subtitles)
        return SL_OK;
    if (count > PLAN_TEXTS_MAX - plan->text_count)
        return sl_fail(
            why, SL_ETOOBIG,
            "%d subtitle files and %d subtitle streams are more than the %d tracks that a "
            "video may have",
            (int)count, (int)plan->text_count, PLAN_TEXTS_MAX);
    for (int32_t i = 0; i < count; i++) {
        struct plan_text text = {.stream_index = -1, .sidecar_bytes = sidecars[i].bytes};
        memcpy(text.language, sidecars[i].language, sizeof text.language);
        memcpy(text.sidecar_sha256, sidecars[i].sha256, SHA256_BYTES);
        name_choose(plan, text.language, text.name);
        plan->texts[plan->text_count++] = text;
    }
    return SL_OK;
}

/* ---- chapters ---- */

int plan_chapters_choose(const struct media_info *info, struct sl_arena *arena, struct plan *plan,
                         struct sl_failure *why)
{
    int64_t end_ns = pts_ns(plan, plan->end_pts);
    int64_t zero_ns = sl_muldiv_i64(plan->origin_pts, plan->video.time_base.num * SL_NS_PER_S,
                                    plan->video.time_base.den);
    plan->chapters = sl_arena_array(arena, (size_t)info->chapter_count, sizeof *plan->chapters);
    if (!plan->chapters)
        return sl_fail(why, SL_ENOMEM, "no memory for the chapters of the plan");
    for (int32_t i = 0; i < info->chapter_count; i++) {
        const struct media_chapter *from = &info->chapters[i];
        struct media_chapter chapter = *from;
        bool last = i + 1 == info->chapter_count;
        int64_t next_ns = last ? INT64_MAX : info->chapters[i + 1].start_ns;
        if (chapter.end_ns <= chapter.start_ns || chapter.end_ns > next_ns)
            chapter.end_ns = next_ns;
        chapter.start_ns = chapter.start_ns > zero_ns ? chapter.start_ns - zero_ns : 0;
        chapter.end_ns = chapter.end_ns == INT64_MAX ? end_ns : chapter.end_ns - zero_ns;
        if (chapter.end_ns > end_ns)
            chapter.end_ns = end_ns;
        if (chapter.end_ns > chapter.start_ns)
            plan->chapters[plan->chapter_count++] = chapter;
    }
    return SL_OK;
}

/* ---- images ---- */

static int number_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The last keyframe at or before each instant, the first where there is none before. wanted is ascending. */
static int32_t keyframes_find(const struct media_index *index, const int64_t *wanted, int32_t count,
                              int64_t *stills)
{
    size_t at = 0;
    int64_t key = 0, first = 0;
    bool any = false;
    for (size_t i = 0; i < index->count && !any; i++)
        if (index->key[i]) {
            first = index->pts[i];
            any = true;
        }
    if (!any)
        return 0;
    key = first;
    int32_t found = 0;
    for (int32_t i = 0; i < count; i++) {
        for (; at < index->count && index->pts[at] <= wanted[i]; at++)
            if (index->key[at])
                key = index->pts[at];
        if (found == 0 || stills[found - 1] != key)
            stills[found++] = key;
    }
    return found;
}

int plan_images_choose(const struct media_index *index, const struct policy *policy,
                       struct sl_arena *arena, struct plan *plan, struct sl_failure *why)
{
    const struct policy_images *want = &policy->images;
    struct plan_images images = {.poster = want->poster, .preview = want->preview};
    if (!want->poster && !want->preview && want->thumbnails_ns <= 0)
        return SL_OK;
    int64_t duration_ns = pts_ns(plan, plan->end_pts);
    int64_t *wanted = sl_arena_array(arena, PLAN_STILLS_MAX, sizeof *wanted);
    images.stills = sl_arena_array(arena, PLAN_STILLS_MAX, sizeof *images.stills);
    if (!wanted || !images.stills)
        return sl_fail(why, SL_ENOMEM, "no memory for the images of the plan");
    int32_t count = 0;
    if (want->thumbnails_ns > 0) {
        int64_t least_ns = (duration_ns + TILES_MAX - 1) / TILES_MAX;
        images.interval_ns = want->thumbnails_ns > least_ns ? want->thumbnails_ns : least_ns;
        for (int64_t ns = 0; ns < duration_ns && count < TILES_MAX; ns += images.interval_ns)
            wanted[count++] = ns + images.interval_ns / 2;
    }
    for (int32_t i = 0; want->poster && i < POSTER_PLACES; i++)
        wanted[count++] = sl_muldiv_i64(duration_ns, poster_places[i], 100);
    for (int32_t i = 0; want->preview && i < PREVIEW_STILLS; i++)
        wanted[count++] = sl_muldiv_i64(duration_ns, 2 * i + 1, INT64_C(2) * PREVIEW_STILLS);
    for (int32_t i = 0; i < count; i++)
        wanted[i] = plan->origin_pts + plan_ns_to_pts(plan, wanted[i]);
    qsort(wanted, (size_t)count, sizeof *wanted, number_compare);
    images.still_count = keyframes_find(index, wanted, count, images.stills);
    struct plan_size upright = plan_upright_size(&plan->video);
    struct plan_size tile = plan_box_size(upright, TILE_HEIGHT);
    struct plan_size preview = plan_box_size(upright, PREVIEW_HEIGHT);
    images.tile_width = tile.width;
    images.tile_height = tile.height;
    images.preview_width = preview.width;
    images.preview_height = preview.height;
    images.poster_width = plan->rungs[0].width;
    images.poster_height = plan->rungs[0].height;
    plan->images = images;
    return SL_OK;
}
