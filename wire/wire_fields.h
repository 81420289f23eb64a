/* wire/wire_fields.h: how the codec turns one member into another. Private to wire/.
 *
 * A message's plain members are listed once, as a macro that takes one macro per kind of member:
 *     I(name)         number or bool          T(name)         text
 *     E(name, count)  enumeration, 0 … count  R(name)         struct rational
 * The list expanded with WIRE_PUT_* copies a model struct `from` into the generated `to`; expanded with
 * WIRE_GET_* it copies the generated `in` into the model's `out`, checks, and returns on the first fault.
 * One list for both directions cannot drift apart.
 *
 * Owns:    a decoder's scratch holds what protobuf-c unpacks, up to a limit that follows from the size of the
 *          message, so that a few hostile bytes cannot ask for much memory.
 * Threads: one thread per decoder or encoder.
 */
#ifndef SL_WIRE_WIRE_FIELDS_H
#define SL_WIRE_WIRE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "model/device_types.h"
#include "model/media_types.h"
#include "model/plan_types.h"
#include "wire/sluice.pb-c.h"

/* Memory for unpacking: the worst honest message (a list of short submessages) needs some 30 times its
 * own size, a column of one-byte varints 8 times. */
#define WIRE_SCRATCH_FACTOR      64
#define WIRE_SCRATCH_BYTES       (256 * 1024)
#define WIRE_PUBLISHED_BYTES_MAX (256 * 1024 * 1024)

struct wire_decoder {
    struct sl_arena *arena; /* the caller's, for results */
    struct sl_arena scratch;
    struct sl_failure *why;
    int code;
};

#define WIRE_PUT_I(f)        to->f = from->f;
#define WIRE_PUT_T(f)        to->f = (char *)from->f;
#define WIRE_PUT_E(f, count) to->f = (uint32_t)from->f;
#define WIRE_PUT_R(f)                                                                              \
    to->f##_num = from->f.num;                                                                     \
    to->f##_den = from->f.den;

#define WIRE_GET_I(f) out->f = in->f;
#define WIRE_GET_T(f)                                                                              \
    if (wire_text_get(d, #f, in->f, out->f, sizeof out->f))                                        \
        return d->code;
#define WIRE_GET_E(f, count)                                                                       \
    if (in->f >= (uint32_t)(count))                                                                \
        return wire_fail(d, #f, "a number outside its range");                                     \
    out->f = in->f;
#define WIRE_GET_R(f)                                                                              \
    out->f.num = in->f##_num;                                                                      \
    out->f.den = in->f##_den;

/* Sets code and sentence: "device_id: too long". Returns d->code. */
int wire_fail(struct wire_decoder *d, const char *member, const char *what);
int wire_no_memory(struct wire_decoder *d);
int wire_text_get(struct wire_decoder *d, const char *member, const char *text, char *out,
                  size_t out_bytes);
/* Is count within 0 … max? */
int wire_count_get(struct wire_decoder *d, const char *member, size_t count, size_t max,
                   int32_t *out);

/* NULL when the bytes are no such message; the sentence names what. */
void *wire_unpack(struct wire_decoder *d, const ProtobufCMessageDescriptor *type, const char *what,
                  const void *bytes, size_t length);
void wire_decoder_fini(struct wire_decoder *d);

/* Appends the packed message; SL_ELIMIT over max bytes. */
int wire_pack(const ProtobufCMessage *message, size_t max, struct sl_buf *out);

/* An array of count pointers into a new array of count elements, as protobuf-c wants repeated messages;
 * *first is the first element. NULL without memory. */
void *wire_repeated(struct sl_arena *arena, size_t count, size_t element_bytes, void **first);

/* ---- pieces that several messages share ---- */

void wire_device_put(const struct device_row *from, Sluice__V1__DeviceRow *to);
int wire_device_get(struct wire_decoder *d, const Sluice__V1__DeviceRow *in,
                    struct device_row *out);
void wire_failure_put(const struct sl_failure *from, Sluice__V1__Failure *to);
int wire_failure_get(struct wire_decoder *d, const Sluice__V1__Failure *in, struct sl_failure *out);
/* NULL in *to where it says nothing. */
int wire_hdr_put(const struct media_hdr *from, struct sl_arena *arena, Sluice__V1__MediaHdr **to);
int wire_hdr_get(struct wire_decoder *d, const Sluice__V1__MediaHdr *in, struct media_hdr *out);
int wire_video_put(const struct media_video *from, struct sl_arena *arena,
                   Sluice__V1__MediaVideo *to);
int wire_video_get(struct wire_decoder *d, const Sluice__V1__MediaVideo *in,
                   struct media_video *out);
void wire_audio_put(const struct media_audio *from, Sluice__V1__MediaAudio *to);
int wire_audio_get(struct wire_decoder *d, const Sluice__V1__MediaAudio *in,
                   struct media_audio *out);
int wire_picture_put(const struct plan_picture *from, struct sl_arena *arena,
                     Sluice__V1__PlanPicture *to);
int wire_picture_get(struct wire_decoder *d, const Sluice__V1__PlanPicture *in,
                     struct plan_picture *out);
/* A message with its streams, kept together because they point at each other. */
struct wire_info {
    Sluice__V1__MediaInfo info;
    Sluice__V1__MediaVideo video;
    Sluice__V1__MediaAudio audio[MEDIA_AUDIO_MAX];
    Sluice__V1__MediaAudio *audio_list[MEDIA_AUDIO_MAX];
    Sluice__V1__MediaStream streams[MEDIA_STREAMS_MAX];
    Sluice__V1__MediaStream *stream_list[MEDIA_STREAMS_MAX];
};
int wire_info_put(const struct media_info *from, struct sl_arena *arena, struct wire_info *to);
int wire_info_get(struct wire_decoder *d, const Sluice__V1__MediaInfo *in, struct media_info *out);
/* Lists of at most MEDIA_CHAPTERS_MAX and MEDIA_TEXTS_MAX; SL_ELIMIT, SL_ENOMEM. */
int wire_chapters_put(const struct media_chapter *from, int32_t count, struct sl_arena *arena,
                      size_t *n, Sluice__V1__MediaChapter ***to);
int wire_chapters_get(struct wire_decoder *d, size_t n, Sluice__V1__MediaChapter *const *in,
                      struct media_chapter **out, int32_t *out_count);
int wire_texts_put(const struct media_text *from, int32_t count, struct sl_arena *arena, size_t *n,
                   Sluice__V1__MediaText ***to);
int wire_texts_get(struct wire_decoder *d, size_t n, Sluice__V1__MediaText *const *in,
                   struct media_text **out, int32_t *out_count);
void wire_plan_text_put(const struct plan_text *from, Sluice__V1__PlanText *to);
int wire_plan_text_get(struct wire_decoder *d, const Sluice__V1__PlanText *in,
                       struct plan_text *out);
int wire_plan_images_put(const struct plan_images *from, struct sl_arena *arena,
                         Sluice__V1__PlanImages *to);
int wire_plan_images_get(struct wire_decoder *d, const Sluice__V1__PlanImages *in,
                         struct plan_images *out);
/* A column of differences, and back. */
int64_t *wire_differences_put(struct sl_arena *arena, const int64_t *from, size_t count);
int64_t *wire_differences_get(struct wire_decoder *d, const int64_t *in, size_t count);
void wire_rung_put(const struct plan_rung *from, Sluice__V1__Rung *to);
int wire_rung_get(struct wire_decoder *d, const Sluice__V1__Rung *in, struct plan_rung *out);
void wire_plan_audio_put(const struct plan_audio *from, Sluice__V1__PlanAudio *to);
int wire_plan_audio_get(struct wire_decoder *d, const Sluice__V1__PlanAudio *in,
                        struct plan_audio *out);

#endif
