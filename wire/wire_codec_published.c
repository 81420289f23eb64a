#include "wire/wire_codec.h"

#include "wire/wire_fields.h"

/* clang-format off */
#define SET_MEMBERS(I, T, E, R)                                                                    \
    T(video) R(frame_rate) I(duration_ticks) I(timescale) I(frame_count)

#define RENDITION_MEMBERS(I, T, E, R)                                                              \
    I(audio) E(codec, CODEC_COUNT) E(audio_codec, AUDIO_CODEC_COUNT) T(name) T(codecs)             \
    T(encoder) T(language) I(width) I(height) I(channels) I(sample_rate_hz) I(maxrate_kbps)        \
    I(timescale) T(init_key) I(init_bytes) T(playlist_key) T(group) T(label) I(track)              \
    E(role, AUDIO_ROLE_COUNT)

#define SEGMENT_MEMBERS(I, T, E, R)                                                                \
    T(key) I(bytes) I(frame_count) I(start_ticks) I(end_ticks) I(last_ticks)
/* clang-format on */

#define PUBLISHED_RENDITIONS_MAX (POLICY_RUNGS_MAX * CODEC_COUNT + PLAN_AUDIO_MAX)

static void segment_put(const struct published_segment *from, Sluice__V1__PublishedSegment *to)
{
    sluice__v1__published_segment__init(to);
    SEGMENT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int rendition_put(const struct published_rendition *from, struct sl_arena *arena,
                         Sluice__V1__PublishedRendition *to)
{
    if (from->segment_count < 0 || from->segment_count > PLAN_SEGMENTS_MAX)
        return SL_ELIMIT;
    sluice__v1__published_rendition__init(to);
    RENDITION_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    Sluice__V1__PublishedSegment *segments;
    to->n_segments = (size_t)from->segment_count;
    to->segments = wire_repeated(arena, to->n_segments, sizeof *segments, (void **)&segments);
    if (!to->segments)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_segments; i++)
        segment_put(&from->segments[i], &segments[i]);
    return SL_OK;
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
    return SL_OK;
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

static int rendition_get(struct wire_decoder *d, const Sluice__V1__PublishedRendition *in,
                         struct published_rendition *out)
{
    RENDITION_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_count_get(d, "segments", in->n_segments, PLAN_SEGMENTS_MAX, &out->segment_count))
        return d->code;
    out->segments = sl_arena_array(d->arena, in->n_segments, sizeof *out->segments);
    if (!out->segments)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_segments; i++)
        if (segment_get(d, in->segments[i], &out->segments[i]))
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
    return SL_OK;
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
