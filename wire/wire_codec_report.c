#include "wire/wire_codec.h"

#include <string.h>

#include "wire/wire_fields.h"

/* clang-format off */
#define REPORT_MEMBERS(I, T, E, R)                                                                 \
    E(step, STEP_COUNT) T(device_id) T(feed_device_id) I(cpu_ns) I(wall_ns) I(first_work_ns) I(memory_max_bytes)

#define RENDITION_MEMBERS(I, T, E, R)                                                              \
    T(name) E(codec, CODEC_COUNT) T(codecs) T(encoder) I(width) I(height) I(timescale)             \
    I(init_output)

#define TRANSCODE_MEMBERS(I, T, E, R)                                                              \
    I(seam_first) I(seam_next) I(frame_count) I(decode_cpu_ns) I(scale_cpu_ns) I(encode_cpu_ns) \
    I(sessions)

#define IMAGES_MEMBERS(I, T, E, R)                                                                 \
    I(poster_output) I(thumbnails_output) I(preview_output) I(sheet_first_output) I(sheet_count)   \
    I(tile_count)

#define VERIFY_MEMBERS(I, T, E, R)                                                                 \
    I(frames_decoded) I(av_drift_ns) I(duration_ns)
/* clang-format on */

#define REPORT_RENDITIONS_MAX POLICY_RUNGS_MAX
#define REPORT_OUTPUTS_MAX    (PLAN_SEGMENTS_MAX + 1)

static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* ---- outputs: names and keys repeat most of what stands before them ---- */

static size_t front_shared(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

static size_t back_shared(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t n = 0;
    while (n < a_length && n < b_length && a[a_length - 1 - n] == b[b_length - 1 - n])
        n++;
    return n;
}

static void name_append(struct sl_buf *names, const char *before, const char *name)
{
    size_t shared = front_shared(before, name);
    size_t rest = strlen(name) - shared;
    uint8_t head[2] = {(uint8_t)shared, (uint8_t)rest};
    sl_buf_append(names, head, sizeof head);
    sl_buf_append(names, name + shared, rest);
}

static void key_append(struct sl_buf *keys, const char *name, const char *key)
{
    size_t key_length = strlen(key), name_length = strlen(name);
    size_t front = front_shared(name, key);
    size_t back = back_shared(name + front, name_length - front, key + front, key_length - front);
    size_t between = key_length - front - back;
    uint8_t head[3] = {(uint8_t)front, (uint8_t)back, (uint8_t)between};
    sl_buf_append(keys, head, sizeof head);
    sl_buf_append(keys, key + front, between);
}

static int outputs_put(const struct report *from, struct sl_arena *arena,
                       Sluice__V1__ReportOutputs *to, struct sl_buf *names, struct sl_buf *keys)
{
    size_t count = (size_t)from->output_count;
    sluice__v1__report_outputs__init(to);
    to->n_bytes = count;
    to->bytes = sl_arena_array(arena, count, sizeof *to->bytes);
    to->sha256.len = count * SHA256_BYTES;
    to->sha256.data = sl_arena_array(arena, count, SHA256_BYTES);
    if (!to->bytes || !to->sha256.data)
        return SL_ENOMEM;
    const char *before = "";
    for (size_t i = 0; i < count; i++) {
        const struct report_output *output = &from->outputs[i];
        name_append(names, before, output->name);
        key_append(keys, output->name, output->key);
        before = output->name;
        to->bytes[i] = output->bytes;
        memcpy(to->sha256.data + i * SHA256_BYTES, output->sha256, SHA256_BYTES);
    }
    if (names->failed || keys->failed)
        return SL_ENOMEM;
    to->names = (ProtobufCBinaryData){names->length, names->data};
    to->keys = (ProtobufCBinaryData){keys->length, keys->data};
    return SL_OK;
}

/* The next length bytes, or NULL. */
static const uint8_t *column_take(ProtobufCBinaryData *column, size_t length)
{
    if (length > column->len)
        return NULL;
    const uint8_t *at = column->data;
    column->data += length;
    column->len -= length;
    return at;
}

static int name_take(struct wire_decoder *d, ProtobufCBinaryData *names, const char *before,
                     char name[JOB_NAME_BYTES])
{
    const uint8_t *head = column_take(names, 2);
    const uint8_t *rest = head ? column_take(names, head[1]) : NULL;
    if (!rest)
        return wire_fail(d, "outputs.names", "cut short");
    if (head[0] > strlen(before) || (size_t)head[0] + head[1] >= JOB_NAME_BYTES ||
        memchr(rest, '\0', head[1]))
        return wire_fail(d, "outputs.names", "not a name");
    memcpy(name, before, head[0]);
    memcpy(name + head[0], rest, head[1]);
    return SL_OK;
}

static int key_take(struct wire_decoder *d, ProtobufCBinaryData *keys, const char *name,
                    char key[JOB_NAME_BYTES])
{
    const uint8_t *head = column_take(keys, 3);
    const uint8_t *between = head ? column_take(keys, head[2]) : NULL;
    if (!between)
        return wire_fail(d, "outputs.keys", "cut short");
    size_t name_length = strlen(name), front = head[0], back = head[1], middle = head[2];
    if (front + back > name_length || front + back + middle >= JOB_NAME_BYTES ||
        memchr(between, '\0', middle))
        return wire_fail(d, "outputs.keys", "not a key");
    memcpy(key, name, front);
    memcpy(key + front, between, middle);
    memcpy(key + front + middle, name + name_length - back, back);
    return SL_OK;
}

static int outputs_get(struct wire_decoder *d, const Sluice__V1__ReportOutputs *in,
                       struct report *out)
{
    if (!in)
        return SL_OK;
    if (wire_count_get(d, "outputs", in->n_bytes, REPORT_OUTPUTS_MAX, &out->output_count))
        return d->code;
    if (in->sha256.len != in->n_bytes * SHA256_BYTES)
        return wire_fail(d, "outputs", "its columns differ in length");
    /* Each name takes two bytes at least, so this bounds the array by the message's size. */
    if (in->names.len < in->n_bytes * 2 || in->keys.len < in->n_bytes * 3)
        return wire_fail(d, "outputs.names", "cut short");
    out->outputs = sl_arena_array(d->arena, in->n_bytes, sizeof *out->outputs);
    if (!out->outputs)
        return wire_no_memory(d);
    ProtobufCBinaryData names = in->names, keys = in->keys;
    const char *before = "";
    for (size_t i = 0; i < in->n_bytes; i++) {
        struct report_output *output = &out->outputs[i];
        if (name_take(d, &names, before, output->name) ||
            key_take(d, &keys, output->name, output->key))
            return d->code;
        if (in->bytes[i] < 0)
            return wire_fail(d, "outputs.bytes", "a negative number");
        output->bytes = in->bytes[i];
        memcpy(output->sha256, in->sha256.data + i * SHA256_BYTES, SHA256_BYTES);
        before = output->name;
    }
    if (names.len || keys.len)
        return wire_fail(d, "outputs.names", "longer than its rows");
    return SL_OK;
}

/* ---- renditions ---- */

static int rendition_put(const struct report_rendition *from, struct sl_arena *arena,
                         Sluice__V1__ReportRendition *to)
{
    if (from->segment_count < 0 || from->segment_count > PLAN_SEGMENTS_MAX)
        return SL_ELIMIT;
    size_t count = (size_t)from->segment_count;
    sluice__v1__report_rendition__init(to);
    RENDITION_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->init_sha256 = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)from->init_sha256};
    to->n_number = to->n_frame_count = to->n_output = count;
    to->n_start_ticks = to->n_end_ticks = to->n_last_ticks = count;
    to->number = sl_arena_array(arena, count, sizeof *to->number);
    to->frame_count = sl_arena_array(arena, count, sizeof *to->frame_count);
    to->output = sl_arena_array(arena, count, sizeof *to->output);
    to->start_ticks = sl_arena_array(arena, count, sizeof *to->start_ticks);
    to->end_ticks = sl_arena_array(arena, count, sizeof *to->end_ticks);
    to->last_ticks = sl_arena_array(arena, count, sizeof *to->last_ticks);
    if (!to->number || !to->frame_count || !to->output || !to->start_ticks || !to->end_ticks ||
        !to->last_ticks)
        return SL_ENOMEM;
    struct report_segment before = {0};
    for (size_t i = 0; i < count; i++) {
        const struct report_segment *s = &from->segments[i];
        to->number[i] = (int32_t)((uint32_t)s->number - (uint32_t)before.number);
        to->frame_count[i] = s->frame_count;
        to->output[i] = (int32_t)((uint32_t)s->output - (uint32_t)before.output);
        to->start_ticks[i] = minus(s->start_ticks, before.end_ticks);
        to->end_ticks[i] = minus(s->end_ticks, s->start_ticks);
        to->last_ticks[i] = minus(s->last_ticks, s->start_ticks);
        before = *s;
    }
    return SL_OK;
}

static int segments_get(struct wire_decoder *d, const Sluice__V1__ReportRendition *in,
                        int32_t output_count, struct report_rendition *out)
{
    size_t count = in->n_number;
    if (wire_count_get(d, "segments", count, PLAN_SEGMENTS_MAX, &out->segment_count))
        return d->code;
    if (in->n_frame_count != count || in->n_output != count || in->n_start_ticks != count ||
        in->n_end_ticks != count || in->n_last_ticks != count)
        return wire_fail(d, "segments", "its columns differ in length");
    out->segments = sl_arena_array(d->arena, count, sizeof *out->segments);
    if (!out->segments)
        return wire_no_memory(d);
    struct report_segment before = {0};
    for (size_t i = 0; i < count; i++) {
        struct report_segment *s = &out->segments[i];
        s->number = (int32_t)((uint32_t)before.number + (uint32_t)in->number[i]);
        s->frame_count = in->frame_count[i];
        s->output = (int32_t)((uint32_t)before.output + (uint32_t)in->output[i]);
        s->start_ticks = plus(before.end_ticks, in->start_ticks[i]);
        s->end_ticks = plus(s->start_ticks, in->end_ticks[i]);
        s->last_ticks = plus(s->start_ticks, in->last_ticks[i]);
        if (s->output < 0 || s->output >= output_count)
            return wire_fail(d, "segment.output", "there is no such output");
        before = *s;
    }
    return SL_OK;
}

/* none: may it be -1? */
static int output_check(struct wire_decoder *d, const char *member, int32_t output, int32_t count,
                        bool none)
{
    if (output >= count || output < (none ? -1 : 0))
        return wire_fail(d, member, "there is no such output");
    return SL_OK;
}

static int rendition_get(struct wire_decoder *d, const Sluice__V1__ReportRendition *in,
                         int32_t output_count, struct report_rendition *out)
{
    RENDITION_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (in->init_sha256.len != SHA256_BYTES)
        return wire_fail(d, "init_sha256", "not a SHA-256");
    memcpy(out->init_sha256, in->init_sha256.data, SHA256_BYTES);
    if (output_check(d, "init_output", out->init_output, output_count, true))
        return d->code;
    return segments_get(d, in, output_count, out);
}

/* ---- what each step adds ---- */

/* Room for the one that the step needs. */
struct step_messages {
    struct wire_info info;
    Sluice__V1__ReportProbe probe;
    Sluice__V1__ReportTranscode transcode;
    Sluice__V1__ReportImages images;
    Sluice__V1__ReportPackage package;
    Sluice__V1__ReportVerify verify;
};

static void transcode_put(const struct report_transcode *from, Sluice__V1__ReportTranscode *to)
{
    sluice__v1__report_transcode__init(to);
    TRANSCODE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void verify_put(const struct report_verify *from, Sluice__V1__ReportVerify *to)
{
    sluice__v1__report_verify__init(to);
    VERIFY_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void images_put(const struct report_images *from, Sluice__V1__ReportImages *to)
{
    sluice__v1__report_images__init(to);
    IMAGES_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static int step_put(const struct report *from, struct sl_arena *arena, struct step_messages *room,
                    Sluice__V1__Report *to)
{
    switch (from->step) {
    case STEP_PROBE:
        sluice__v1__report_probe__init(&room->probe);
        if (wire_info_put(&from->probe.info, arena, &room->info))
            return SL_ELIMIT;
        room->probe.info = &room->info.info;
        room->probe.index_output = from->probe.index_output;
        to->probe = &room->probe;
        break;
    case STEP_TRANSCODE:
        transcode_put(&from->transcode, &room->transcode);
        to->transcode = &room->transcode;
        break;
    case STEP_IMAGES:
        images_put(&from->images, &room->images);
        to->images = &room->images;
        break;
    case STEP_PACKAGE:
        sluice__v1__report_package__init(&room->package);
        room->package.master_output = from->package.master_output;
        room->package.mpd_output = from->package.mpd_output;
        room->package.chapters_output = from->package.chapters_output;
        to->package = &room->package;
        break;
    case STEP_VERIFY:
        verify_put(&from->verify, &room->verify);
        to->verify = &room->verify;
        break;
    default:
        break;
    }
    return SL_OK;
}

static int report_put(const struct report *from, struct sl_arena *arena, Sluice__V1__Report *to)
{
    REPORT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    Sluice__V1__ReportRendition *renditions;
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

int wire_report_encode(const struct report *report, struct sl_buf *out)
{
    if (report->output_count < 0 || report->output_count > REPORT_OUTPUTS_MAX ||
        report->rendition_count < 0 || report->rendition_count > REPORT_RENDITIONS_MAX)
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    struct sl_buf names = {0}, keys = {0};
    struct step_messages room;
    Sluice__V1__Report message = SLUICE__V1__REPORT__INIT;
    Sluice__V1__ReportOutputs outputs;
    int code = outputs_put(report, &arena, &outputs, &names, &keys);
    message.outputs = &outputs;
    if (!code)
        code = report_put(report, &arena, &message);
    if (!code)
        code = step_put(report, &arena, &room, &message);
    if (!code)
        code = wire_pack(&message.base, REPORT_BYTES_MAX, out);
    sl_buf_fini(&names);
    sl_buf_fini(&keys);
    sl_arena_fini(&arena);
    return code;
}

static int transcode_get(struct wire_decoder *d, const Sluice__V1__ReportTranscode *in,
                         struct report_transcode *out)
{
    if (!in)
        return wire_fail(d, "report.transcode", "missing");
    TRANSCODE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int verify_get(struct wire_decoder *d, const Sluice__V1__ReportVerify *in,
                      struct report_verify *out)
{
    if (!in)
        return wire_fail(d, "report.verify", "missing");
    VERIFY_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    return SL_OK;
}

static int images_get(struct wire_decoder *d, const Sluice__V1__ReportImages *in, int32_t count,
                      struct report_images *out)
{
    if (!in)
        return wire_fail(d, "report.images", "missing");
    IMAGES_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (output_check(d, "poster_output", out->poster_output, count, true) ||
        output_check(d, "thumbnails_output", out->thumbnails_output, count, true) ||
        output_check(d, "preview_output", out->preview_output, count, true) ||
        output_check(d, "sheet_first_output", out->sheet_first_output, count, true))
        return d->code;
    if (out->sheet_count < 0 || out->sheet_count > PUBLISHED_SHEETS_MAX ||
        (out->sheet_count > 0 &&
         (out->sheet_first_output < 0 || out->sheet_count > count - out->sheet_first_output)))
        return wire_fail(d, "sheet_count", "there are no such outputs");
    return SL_OK;
}

static int step_get(struct wire_decoder *d, const Sluice__V1__Report *in, struct report *out)
{
    switch (out->step) {
    case STEP_PROBE:
        if (!in->probe)
            return wire_fail(d, "report.probe", "missing");
        out->probe.index_output = in->probe->index_output;
        if (wire_info_get(d, in->probe->info, &out->probe.info))
            return d->code;
        return output_check(d, "index_output", out->probe.index_output, out->output_count, false);
    case STEP_TRANSCODE:
        return transcode_get(d, in->transcode, &out->transcode);
    case STEP_IMAGES:
        return images_get(d, in->images, out->output_count, &out->images);
    case STEP_PACKAGE:
        if (!in->package)
            return wire_fail(d, "report.package", "missing");
        out->package.master_output = in->package->master_output;
        out->package.mpd_output = in->package->mpd_output;
        out->package.chapters_output = in->package->chapters_output;
        if (output_check(d, "master_output", out->package.master_output, out->output_count,
                         false) ||
            output_check(d, "chapters_output", out->package.chapters_output, out->output_count,
                         true))
            return d->code;
        return output_check(d, "mpd_output", out->package.mpd_output, out->output_count, true);
    case STEP_VERIFY:
        return verify_get(d, in->verify, &out->verify);
    default:
        return SL_OK;
    }
}

static int report_get(struct wire_decoder *d, const Sluice__V1__Report *in, struct report *out)
{
    REPORT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (outputs_get(d, in->outputs, out) ||
        wire_count_get(d, "renditions", in->n_renditions, REPORT_RENDITIONS_MAX,
                       &out->rendition_count))
        return d->code;
    out->renditions = sl_arena_array(d->arena, in->n_renditions, sizeof *out->renditions);
    if (!out->renditions)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_renditions; i++)
        if (rendition_get(d, in->renditions[i], out->output_count, &out->renditions[i]))
            return d->code;
    return step_get(d, in, out);
}

int wire_report_decode(const void *bytes, size_t length, struct sl_arena *arena, struct report *out,
                       struct sl_failure *why)
{
    if (length > REPORT_BYTES_MAX)
        return sl_fail(why, SL_EPROTO, "a report of %zu bytes; at most %d are taken", length,
                       REPORT_BYTES_MAX);
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__Report *in =
        wire_unpack(&d, &sluice__v1__report__descriptor, "report", bytes, length);
    struct report report = {0};
    if (in)
        report_get(&d, in, &report);
    if (!d.code)
        *out = report;
    wire_decoder_fini(&d);
    return d.code;
}
