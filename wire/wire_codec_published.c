#include "wire/wire_codec.h"

#include "wire/wire_fields.h"

/* clang-format off */
#define SET_MEMBERS(I, T, E, R)                                                                    \
    T(video) R(frame_rate) I(duration_ticks) I(timescale) I(frame_count)

#define RENDITION_MEMBERS(I, T, E, R)                                                              \
    I(audio) E(codec, CODEC_COUNT) E(audio_codec, AUDIO_CODEC_COUNT) T(name) T(codecs)             \
    T(encoder) T(language) I(width) I(height) I(channels) I(sample_rate_hz) I(maxrate_kbps)        \
    I(timescale) T(init_key) I(init_bytes) T(playlist_key) T(group) T(label) I(track)              \
    E(role, AUDIO_ROLE_COUNT) I(bit_depth) I(color_primaries) I(color_transfer) I(color_matrix)

#define TEXT_MEMBERS(I, T, E, R)                                                                   \
    T(name) T(language) T(title) I(is_default) I(forced) I(impaired) I(timescale) I(cue_count)     \
    T(whole_key) I(whole_bytes) T(playlist_key)

#define IMAGE_MEMBERS(I, T, E, R)                                                                  \
    T(key) I(bytes)

#define SEGMENT_MEMBERS(I, T, E, R)                                                                \
    T(key) I(bytes) I(frame_count) I(start_ticks) I(end_ticks) I(last_ticks)
/* clang-format on */

#define PUBLISHED_RENDITIONS_MAX (POLICY_RUNGS_MAX * CODEC_COUNT + PLAN_AUDIO_MAX)

static void segment_put(const struct published_segment *from, Sluice__V1__PublishedSegment *to)
{
    sluice__v1__published_segment__init(to);
    SEGMENT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int segments_put(const struct published_segment *from, int32_t count, struct sl_arena *arena,
                        size_t *n, Sluice__V1__PublishedSegment ***to)
{
    if (count < 0 || count > PLAN_SEGMENTS_MAX)
        return SL_ELIMIT;
    Sluice__V1__PublishedSegment *rows;
    *n = (size_t)count;
    *to = wire_repeated(arena, *n, sizeof *rows, (void **)&rows);
    for (size_t i = 0; *to && i < *n; i++)
        segment_put(&from[i], &rows[i]);
    return *to ? SL_OK : SL_ENOMEM;
}

static int rendition_put(const struct published_rendition *from, struct sl_arena *arena,
                         Sluice__V1__PublishedRendition *to)
{
    sluice__v1__published_rendition__init(to);
    RENDITION_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    int code = wire_hdr_put(&from->hdr, arena, &to->hdr);
    return code ? code
                : segments_put(from->segments, from->segment_count, arena, &to->n_segments,
                               &to->segments);
}

static int text_put(const struct published_text *from, struct sl_arena *arena,
                    Sluice__V1__PublishedText *to)
{
    sluice__v1__published_text__init(to);
    TEXT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    return segments_put(from->segments, from->segment_count, arena, &to->n_segments, &to->segments);
}

static void image_put(const struct published_image *from, Sluice__V1__PublishedImage *to)
{
    sluice__v1__published_image__init(to);
    IMAGE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

/* The message and its fixed parts, one after another. */
struct images_room {
    Sluice__V1__PublishedImages images;
    Sluice__V1__PublishedImage poster, thumbnails, preview;
};

static int images_put(const struct published_images *from, struct sl_arena *arena,
                      Sluice__V1__PublishedSet *to)
{
    struct images_room *room = sl_arena_alloc(arena, sizeof *room);
    if (from->sheet_count < 0 || from->sheet_count > PUBLISHED_SHEETS_MAX)
        return SL_ELIMIT;
    if (!room)
        return SL_ENOMEM;
    sluice__v1__published_images__init(&room->images);
    image_put(&from->poster, &room->poster);
    image_put(&from->thumbnails, &room->thumbnails);
    image_put(&from->preview, &room->preview);
    room->images.poster = &room->poster;
    room->images.thumbnails = &room->thumbnails;
    room->images.preview = &room->preview;
    Sluice__V1__PublishedImage *sheets;
    room->images.n_sheets = (size_t)from->sheet_count;
    room->images.sheets =
        wire_repeated(arena, room->images.n_sheets, sizeof *sheets, (void **)&sheets);
    if (!room->images.sheets)
        return SL_ENOMEM;
    for (int32_t i = 0; i < from->sheet_count; i++)
        image_put(&from->sheets[i], &sheets[i]);
    to->images = &room->images;
    return SL_OK;
}

static int texts_put(const struct published_set *from, struct sl_arena *arena,
                     Sluice__V1__PublishedSet *to)
{
    if (from->text_count < 0 || from->text_count > PLAN_TEXTS_MAX)
        return SL_ELIMIT;
    Sluice__V1__PublishedText *texts;
    to->n_texts = (size_t)from->text_count;
    to->texts = wire_repeated(arena, to->n_texts, sizeof *texts, (void **)&texts);
    int code = to->texts ? SL_OK : SL_ENOMEM;
    for (size_t i = 0; i < to->n_texts && !code; i++)
        code = text_put(&from->texts[i], arena, &texts[i]);
    return code;
}

static int set_put(const struct published_set *from, struct sl_arena *arena,
                   Sluice__V1__PublishedSet *to)
{
    SET_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    Sluice__V1__PublishedRendition *renditions;
    to->n_renditions = (size_t)from->rendition_count;
    to->renditions =
        wire_repeated(arena, to->n_renditions, sizeof *renditions, (void **)&renditions);
    if (!to->renditions)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_renditions; i++) {
        int code = rendition_put(&from->renditions[i], arena, &renditions[i]);
        if (code)
            return code;
    }
    int code = texts_put(from, arena, to);
    if (!code)
        code = images_put(&from->images, arena, to);
    if (!code)
        code = wire_chapters_put(from->chapters, from->chapter_count, arena, &to->n_chapters,
                                 &to->chapters);
    return code;
}

int wire_published_encode(const struct published_set *set, struct sl_buf *out)
{
    if (set->rendition_count < 0 || set->rendition_count > PUBLISHED_RENDITIONS_MAX)
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    Sluice__V1__PublishedSet message = SLUICE__V1__PUBLISHED_SET__INIT;
    int code = set_put(set, &arena, &message);
    if (!code)
        code = wire_pack(&message.base, WIRE_PUBLISHED_BYTES_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

static int segment_get(struct wire_decoder *d, const Sluice__V1__PublishedSegment *in,
                       struct published_segment *out)
{
    SEGMENT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int segments_get(struct wire_decoder *d, size_t n, Sluice__V1__PublishedSegment *const *in,
                        struct published_segment **out, int32_t *out_count)
{
    if (wire_count_get(d, "segments", n, PLAN_SEGMENTS_MAX, out_count))
        return d->code;
    *out = sl_arena_array(d->arena, n, sizeof **out);
    if (!*out)
        return wire_no_memory(d);
    for (size_t i = 0; i < n; i++)
        if (segment_get(d, in[i], &(*out)[i]))
            return d->code;
    return SL_OK;
}

static int rendition_get(struct wire_decoder *d, const Sluice__V1__PublishedRendition *in,
                         struct published_rendition *out)
{
    RENDITION_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_hdr_get(d, in->hdr, &out->hdr))
        return d->code;
    return segments_get(d, in->n_segments, in->segments, &out->segments, &out->segment_count);
}

static int text_get(struct wire_decoder *d, const Sluice__V1__PublishedText *in,
                    struct published_text *out)
{
    TEXT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return segments_get(d, in->n_segments, in->segments, &out->segments, &out->segment_count);
}

static int image_get(struct wire_decoder *d, const Sluice__V1__PublishedImage *in,
                     struct published_image *out)
{
    if (!in)
        return SL_OK;
    IMAGE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int images_get(struct wire_decoder *d, const Sluice__V1__PublishedImages *in,
                      struct published_images *out)
{
    if (!in)
        return SL_OK;
    if (image_get(d, in->poster, &out->poster) || image_get(d, in->thumbnails, &out->thumbnails) ||
        image_get(d, in->preview, &out->preview) ||
        wire_count_get(d, "sheets", in->n_sheets, PUBLISHED_SHEETS_MAX, &out->sheet_count))
        return d->code;
    for (size_t i = 0; i < in->n_sheets; i++)
        if (image_get(d, in->sheets[i], &out->sheets[i]))
            return d->code;
    return SL_OK;
}

static int set_get(struct wire_decoder *d, const Sluice__V1__PublishedSet *in,
                   struct published_set *out)
{
    SET_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_count_get(d, "renditions", in->n_renditions, PUBLISHED_RENDITIONS_MAX,
                       &out->rendition_count))
        return d->code;
    out->renditions = sl_arena_array(d->arena, in->n_renditions, sizeof *out->renditions);
    if (!out->renditions)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_renditions; i++)
        if (rendition_get(d, in->renditions[i], &out->renditions[i]))
            return d->code;
    if (wire_count_get(d, "texts", in->n_texts, PLAN_TEXTS_MAX, &out->text_count))
        return d->code;
    out->texts = sl_arena_array(d->arena, in->n_texts, sizeof *out->texts);
    if (!out->texts)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_texts; i++)
        if (text_get(d, in->texts[i], &out->texts[i]))
            return d->code;
    if (images_get(d, in->images, &out->images))
        return d->code;
    return wire_chapters_get(d, in->n_chapters, in->chapters, &out->chapters, &out->chapter_count);
}

int wire_published_decode(const void *bytes, size_t length, struct sl_arena *arena,
                          struct published_set *out, struct sl_failure *why)
{
    if (length > WIRE_PUBLISHED_BYTES_MAX)
        return sl_fail(why, SL_EPROTO, "a published set of %zu bytes; at most %d are taken", length,
                       WIRE_PUBLISHED_BYTES_MAX);
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__PublishedSet *in =
        wire_unpack(&d, &sluice__v1__published_set__descriptor, "published set", bytes, length);
    struct published_set set = {0};
    if (in)
        set_get(&d, in, &set);
    if (!d.code)
        *out = set;
    wire_decoder_fini(&d);
    return d.code;
}
