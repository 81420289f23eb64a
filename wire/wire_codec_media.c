#include "wire/wire_codec.h"

#include <string.h>

#include "wire/wire_fields.h"

/* clang-format off */
#define VIDEO_MEMBERS(I, T, E, R)                                                                  \
    I(stream_index) T(codec) T(profile) T(pix_fmt) I(width) I(height) I(rotation_degrees)          \
    I(bit_depth) R(sar) R(time_base) R(frame_rate) I(variable_frame_rate) I(interlaced)            \
    I(color_primaries) I(color_transfer) I(color_matrix) I(full_range) I(seekable) I(first_pts)    \
    I(end_pts) I(frame_count) I(bytes) I(crop_left) I(crop_top) I(crop_right) I(crop_bottom)       \
    I(mirrored) I(top_field_first) I(telecined) I(hdr_peak_nits) E(times, FRAME_TIMES_COUNT)      \
    R(frame_sar) I(dolby_vision)

#define HDR_MEMBERS(I, T, E, R)                                                                    \
    I(mastering) I(luminance_max) I(luminance_min) I(light) I(light_max_nits) I(light_average_nits)

#define STREAM_MEMBERS(I, T, E, R)                                                                 \
    I(index) I(program) T(codec) I(width) I(height) I(is_default)

#define AUDIO_MEMBERS(I, T, E, R)                                                                  \
    I(stream_index) T(codec) T(layout) I(channels) I(sample_rate_hz) R(time_base) I(first_pts)     \
    I(end_pts) T(language) T(title) E(role, AUDIO_ROLE_COUNT)

#define INFO_MEMBERS(I, T, E, R)                                                                   \
    T(container) I(size_bytes) I(duration_ns) I(video_stream_count) I(audio_stream_count)          \
    I(subtitle_stream_count) I(has_video) T(audio_note) I(text_left_out) I(stream_asked)
/* clang-format on */

#define CHROMATICITIES 8

int wire_hdr_put(const struct media_hdr *from, struct sl_arena *arena, Sluice__V1__MediaHdr **out)
{
    *out = NULL;
    if (!from->mastering && !from->light)
        return SL_OK;
    Sluice__V1__MediaHdr *to = sl_arena_alloc(arena, sizeof *to);
    int32_t *chromaticity = sl_arena_array(arena, CHROMATICITIES, sizeof *chromaticity);
    if (!to || !chromaticity)
        return SL_ENOMEM;
    sluice__v1__media_hdr__init(to);
    HDR_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    memcpy(chromaticity, from->primaries, sizeof from->primaries);
    memcpy(chromaticity + 6, from->white, sizeof from->white);
    to->chromaticity = chromaticity;
    to->n_chromaticity = CHROMATICITIES;
    *out = to;
    return SL_OK;
}

int wire_hdr_get(struct wire_decoder *d, const Sluice__V1__MediaHdr *in, struct media_hdr *out)
{
    *out = (struct media_hdr){0};
    if (!in)
        return SL_OK;
    HDR_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (in->n_chromaticity != CHROMATICITIES)
        return wire_fail(d, "hdr.chromaticity", "not eight numbers");
    memcpy(out->primaries, in->chromaticity, sizeof out->primaries);
    memcpy(out->white, in->chromaticity + 6, sizeof out->white);
    return SL_OK;
}

int wire_video_put(const struct media_video *from, struct sl_arena *arena,
                   Sluice__V1__MediaVideo *to)
{
    sluice__v1__media_video__init(to);
    VIDEO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    return wire_hdr_put(&from->hdr, arena, &to->hdr);
}

int wire_video_get(struct wire_decoder *d, const Sluice__V1__MediaVideo *in,
                   struct media_video *out)
{
    if (!in)
        return wire_fail(d, "video", "missing");
    VIDEO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return wire_hdr_get(d, in->hdr, &out->hdr);
}

void wire_audio_put(const struct media_audio *from, Sluice__V1__MediaAudio *to)
{
    sluice__v1__media_audio__init(to);
    AUDIO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

int wire_audio_get(struct wire_decoder *d, const Sluice__V1__MediaAudio *in,
                   struct media_audio *out)
{
    if (!in)
        return wire_fail(d, "audio", "missing");
    AUDIO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static void info_members_put(const struct media_info *from, Sluice__V1__MediaInfo *to)
{
    sluice__v1__media_info__init(to);
    INFO_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void stream_put(const struct media_stream *from, Sluice__V1__MediaStream *to)
{
    sluice__v1__media_stream__init(to);
    STREAM_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int stream_get(struct wire_decoder *d, const Sluice__V1__MediaStream *in,
                      struct media_stream *out)
{
    STREAM_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

int wire_info_put(const struct media_info *from, struct sl_arena *arena, struct wire_info *to)
{
    info_members_put(from, &to->info);
    int code = wire_video_put(&from->video, arena, &to->video);
    if (code)
        return code;
    to->info.video = &to->video;
    to->info.n_audio = (size_t)from->audio_count;
    to->info.audio = to->audio_list;
    for (int32_t i = 0; i < from->audio_count; i++) {
        wire_audio_put(&from->audio[i], &to->audio[i]);
        to->audio_list[i] = &to->audio[i];
    }
    to->info.n_streams = (size_t)from->stream_count;
    to->info.streams = to->stream_list;
    for (size_t i = 0; i < to->info.n_streams; i++) {
        stream_put(&from->streams[i], &to->streams[i]);
        to->stream_list[i] = &to->streams[i];
    }
    code = wire_texts_put(from->texts, from->text_count, arena, &to->info.n_texts, &to->info.texts);
    return code ? code
                : wire_chapters_put(from->chapters, from->chapter_count, arena,
                                    &to->info.n_chapters, &to->info.chapters);
}

int wire_info_get(struct wire_decoder *d, const Sluice__V1__MediaInfo *in, struct media_info *out)
{
    if (!in)
        return wire_fail(d, "info", "missing");
    INFO_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_video_get(d, in->video, &out->video) ||
        wire_count_get(d, "audio", in->n_audio, MEDIA_AUDIO_MAX, &out->audio_count) ||
        wire_count_get(d, "info.streams", in->n_streams, MEDIA_STREAMS_MAX, &out->stream_count))
        return d->code;
    for (size_t i = 0; i < in->n_audio; i++)
        if (wire_audio_get(d, in->audio[i], &out->audio[i]))
            return d->code;
    for (size_t i = 0; i < in->n_streams; i++)
        if (stream_get(d, in->streams[i], &out->streams[i]))
            return d->code;
    if (wire_texts_get(d, in->n_texts, in->texts, &out->texts, &out->text_count))
        return d->code;
    return wire_chapters_get(d, in->n_chapters, in->chapters, &out->chapters, &out->chapter_count);
}

int wire_info_encode(const struct media_info *info, struct sl_buf *out)
{
    struct wire_info message;
    struct sl_arena arena = {0};
    int code = wire_info_put(info, &arena, &message);
    if (!code)
        code = wire_pack(&message.info.base, REPORT_BYTES_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

int wire_info_decode(const void *bytes, size_t length, struct sl_arena *arena,
                     struct media_info *out, struct sl_failure *why)
{
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__MediaInfo *in =
        wire_unpack(&d, &sluice__v1__media_info__descriptor, "media info", bytes, length);
    struct media_info info = {0};
    if (in)
        wire_info_get(&d, in, &info);
    if (!d.code)
        *out = info;
    wire_decoder_fini(&d);
    return d.code;
}

/* ---- the index ---- */

/* Differences are taken modulo 2^64, which is exact whatever the values are. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

int wire_index_encode(const struct media_index *index, struct sl_buf *out)
{
    size_t count = index->count;
    if (count > MEDIA_INDEX_ROWS_MAX)
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    Sluice__V1__MediaIndex message = SLUICE__V1__MEDIA_INDEX__INIT;
    int64_t *pts = sl_arena_array(&arena, count, sizeof *pts);
    int64_t *offset = sl_arena_array(&arena, count, sizeof *offset);
    uint8_t *key = sl_arena_alloc(&arena, (count + 7) / 8);
    int code = SL_ENOMEM;
    if (!pts || !offset || !key)
        goto end;
    int64_t pts_before = 0, offset_expected = 0;
    for (size_t i = 0; i < count; i++) {
        pts[i] = minus(index->pts[i], pts_before);
        pts_before = index->pts[i];
        offset[i] = minus(index->byte_offset[i], offset_expected);
        offset_expected = plus(index->byte_offset[i], index->byte_length[i]);
        if (index->key[i])
            key[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    message.time_base_num = index->time_base.num;
    message.time_base_den = index->time_base.den;
    message.end_pts = index->end_pts;
    message.count = count;
    message.n_pts = message.n_byte_offset = message.n_byte_length = count;
    message.pts = pts;
    message.byte_offset = offset;
    message.byte_length = index->byte_length;
    message.key = (ProtobufCBinaryData){(count + 7) / 8, key};
    code = wire_pack(&message.base, SIZE_MAX, out);
end:
    sl_arena_fini(&arena);
    return code;
}

static int index_get(struct wire_decoder *d, const Sluice__V1__MediaIndex *in,
                     struct media_index *out)
{
    size_t count = in->n_pts;
    if (count > MEDIA_INDEX_ROWS_MAX)
        return wire_fail(d, "index", "more rows than allowed");
    if (in->count != count || in->n_byte_offset != count || in->n_byte_length != count ||
        in->key.len != (count + 7) / 8)
        return wire_fail(d, "index", "its columns differ in length");
    out->time_base = (struct rational){in->time_base_num, in->time_base_den};
    out->end_pts = in->end_pts;
    out->count = count;
    out->pts = sl_arena_array(d->arena, count, sizeof *out->pts);
    out->key = sl_arena_array(d->arena, count, sizeof *out->key);
    out->byte_offset = sl_arena_array(d->arena, count, sizeof *out->byte_offset);
    out->byte_length = sl_arena_array(d->arena, count, sizeof *out->byte_length);
    if (!out->pts || !out->key || !out->byte_offset || !out->byte_length)
        return wire_no_memory(d);
    int64_t offset_expected = 0;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(i ? out->pts[i - 1] : 0, in->pts[i], &out->pts[i]) ||
            (i && in->pts[i] <= 0))
            return wire_fail(d, "index.pts", "not ascending");
        if (in->byte_length[i] < 0)
            return wire_fail(d, "index.byte_length", "a negative number");
        out->byte_offset[i] = plus(in->byte_offset[i], offset_expected);
        if (out->byte_offset[i] < -1 || out->byte_offset[i] > INT64_MAX - in->byte_length[i])
            return wire_fail(d, "index.byte_offset", "a number that is no place in a file");
        offset_expected = plus(out->byte_offset[i], in->byte_length[i]);
        out->key[i] = (in->key.data[i / 8] >> (i % 8)) & 1;
    }
    if (count)
        memcpy(out->byte_length, in->byte_length, count * sizeof *out->byte_length);
    return SL_OK;
}

int wire_index_decode(const void *bytes, size_t length, struct sl_arena *arena,
                      struct media_index *out, struct sl_failure *why)
{
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__MediaIndex *in =
        wire_unpack(&d, &sluice__v1__media_index__descriptor, "source index", bytes, length);
    struct media_index index = {0};
    if (in)
        index_get(&d, in, &index);
    if (!d.code)
        *out = index;
    wire_decoder_fini(&d);
    return d.code;
}
