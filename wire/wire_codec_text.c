/* Subtitles, chapters and images, as they stand in media info, plans, jobs and published sets. */
#include <string.h>

#include "wire/wire_fields.h"

/* clang-format off */
#define TEXT_MEMBERS(I, T, E, R)                                                                   \
    I(stream_index) T(codec) T(language) T(title) I(is_default) I(forced) I(impaired)

#define CHAPTER_MEMBERS(I, T, E, R)                                                                \
    I(start_ns) I(end_ns) T(title)

#define PLAN_TEXT_MEMBERS(I, T, E, R)                                                              \
    T(name) T(language) T(title) I(is_default) I(forced) I(impaired) I(stream_index) T(codec)      \
    I(sidecar_bytes)

#define PLAN_IMAGES_MEMBERS(I, T, E, R)                                                            \
    I(poster) I(preview) I(interval_ns) I(poster_width) I(poster_height) I(tile_width)             \
    I(tile_height) I(preview_width) I(preview_height)
/* clang-format on */

int64_t *wire_differences_put(struct sl_arena *arena, const int64_t *from, size_t count)
{
    int64_t *to = sl_arena_array(arena, count, sizeof *to);
    uint64_t before = 0;
    for (size_t i = 0; to && i < count; i++) {
        to[i] = (int64_t)((uint64_t)from[i] - before);
        before = (uint64_t)from[i];
    }
    return to;
}

int64_t *wire_differences_get(struct wire_decoder *d, const int64_t *in, size_t count)
{
    int64_t *out = sl_arena_array(d->arena, count, sizeof *out);
    uint64_t before = 0;
    for (size_t i = 0; out && i < count; i++) {
        before += (uint64_t)in[i];
        out[i] = (int64_t)before;
    }
    if (!out)
        wire_no_memory(d);
    return out;
}

static void chapter_put(const struct media_chapter *from, Sluice__V1__MediaChapter *to)
{
    sluice__v1__media_chapter__init(to);
    CHAPTER_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

int wire_chapters_put(const struct media_chapter *from, int32_t count, struct sl_arena *arena,
                      size_t *n, Sluice__V1__MediaChapter ***to)
{
    if (count < 0 || count > MEDIA_CHAPTERS_MAX)
        return SL_ELIMIT;
    Sluice__V1__MediaChapter *rows;
    *n = (size_t)count;
    *to = wire_repeated(arena, *n, sizeof *rows, (void **)&rows);
    for (size_t i = 0; *to && i < *n; i++)
        chapter_put(&from[i], &rows[i]);
    return *to ? SL_OK : SL_ENOMEM;
}

static int chapter_get(struct wire_decoder *d, const Sluice__V1__MediaChapter *in,
                       struct media_chapter *out)
{
    CHAPTER_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

int wire_chapters_get(struct wire_decoder *d, size_t n, Sluice__V1__MediaChapter *const *in,
                      struct media_chapter **out, int32_t *out_count)
{
    if (wire_count_get(d, "chapters", n, MEDIA_CHAPTERS_MAX, out_count))
        return d->code;
    *out = sl_arena_array(d->arena, n, sizeof **out);
    if (!*out)
        return wire_no_memory(d);
    for (size_t i = 0; i < n; i++)
        if (chapter_get(d, in[i], &(*out)[i]))
            return d->code;
    return SL_OK;
}

static void text_put(const struct media_text *from, Sluice__V1__MediaText *to)
{
    sluice__v1__media_text__init(to);
    TEXT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

int wire_texts_put(const struct media_text *from, int32_t count, struct sl_arena *arena, size_t *n,
                   Sluice__V1__MediaText ***to)
{
    if (count < 0 || count > MEDIA_TEXTS_MAX)
        return SL_ELIMIT;
    Sluice__V1__MediaText *rows;
    *n = (size_t)count;
    *to = wire_repeated(arena, *n, sizeof *rows, (void **)&rows);
    for (size_t i = 0; *to && i < *n; i++)
        text_put(&from[i], &rows[i]);
    return *to ? SL_OK : SL_ENOMEM;
}

static int text_get(struct wire_decoder *d, const Sluice__V1__MediaText *in, struct media_text *out)
{
    TEXT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

int wire_texts_get(struct wire_decoder *d, size_t n, Sluice__V1__MediaText *const *in,
                   struct media_text **out, int32_t *out_count)
{
    if (wire_count_get(d, "texts", n, MEDIA_TEXTS_MAX, out_count))
        return d->code;
    *out = sl_arena_array(d->arena, n, sizeof **out);
    if (!*out)
        return wire_no_memory(d);
    for (size_t i = 0; i < n; i++)
        if (text_get(d, in[i], &(*out)[i]))
            return d->code;
    return SL_OK;
}

void wire_plan_text_put(const struct plan_text *from, Sluice__V1__PlanText *to)
{
    sluice__v1__plan_text__init(to);
    PLAN_TEXT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->sidecar_sha256.data = (uint8_t *)from->sidecar_sha256;
    to->sidecar_sha256.len = SHA256_BYTES;
}

int wire_plan_text_get(struct wire_decoder *d, const Sluice__V1__PlanText *in,
                       struct plan_text *out)
{
    if (!in)
        return wire_fail(d, "text", "missing");
    PLAN_TEXT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (in->sidecar_sha256.len != SHA256_BYTES)
        return wire_fail(d, "sidecar_sha256", "not a SHA-256");
    memcpy(out->sidecar_sha256, in->sidecar_sha256.data, SHA256_BYTES);
    return SL_OK;
}

int wire_plan_images_put(const struct plan_images *from, struct sl_arena *arena,
                         Sluice__V1__PlanImages *to)
{
    if (from->still_count < 0 || from->still_count > PLAN_STILLS_MAX)
        return SL_ELIMIT;
    sluice__v1__plan_images__init(to);
    PLAN_IMAGES_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->n_stills = (size_t)from->still_count;
    to->stills = wire_differences_put(arena, from->stills, to->n_stills);
    return to->stills ? SL_OK : SL_ENOMEM;
}

int wire_plan_images_get(struct wire_decoder *d, const Sluice__V1__PlanImages *in,
                         struct plan_images *out)
{
    if (!in)
        return SL_OK;
    PLAN_IMAGES_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_count_get(d, "images.stills", in->n_stills, PLAN_STILLS_MAX, &out->still_count))
        return d->code;
    out->stills = wire_differences_get(d, in->stills, in->n_stills);
    return d->code;
}
