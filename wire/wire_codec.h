/* wire/wire_codec.h: model types to bytes and back. Apart from any transport.
 *
 * Bytes are protobuf messages of wire/sluice.proto. Decoding takes bytes from strangers: every array is
 * bounded by the model's named maximum, every text is cut off where the model has no room (an error, not a
 * truncation), enums outside their range are refused, unknown fields are ignored.
 *
 * Owns:    encode appends to the caller's buffer; decode places arrays and texts in the arena.
 * Errors:  SL_EPROTO with the member at fault in why; SL_EVERSION for another version; SL_ENOMEM.
 * Threads: any.
 */
#ifndef SL_WIRE_WIRE_CODEC_H
#define SL_WIRE_WIRE_CODEC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "model/job_types.h"
#include "model/media_types.h"
#include "model/plan_types.h"
#include "model/published_types.h"
#include "model/report_types.h"
#include "model/sync_types.h"

int wire_request_encode(const struct sync_request *request, struct sl_buf *out);
int wire_request_decode(const void *bytes, size_t length, struct sl_arena *arena,
                        struct sync_request *out, struct sl_failure *why);
int wire_answer_encode(const struct sync_answer *answer, struct sl_buf *out);
int wire_answer_decode(const void *bytes, size_t length, struct sl_arena *arena,
                       struct sync_answer *out, struct sl_failure *why);

int wire_job_encode(const struct job *job, struct sl_buf *out);
int wire_job_decode(const void *bytes, size_t length, struct sl_arena *arena, struct job *out,
                    struct sl_failure *why);
int wire_report_encode(const struct report *report, struct sl_buf *out);
int wire_report_decode(const void *bytes, size_t length, struct sl_arena *arena, struct report *out,
                       struct sl_failure *why);

/* Objects. The index of ten hours at 60 Hz is about 15 MB: columns are packed and delta-coded. */
int wire_index_encode(const struct media_index *index, struct sl_buf *out);
int wire_index_decode(const void *bytes, size_t length, struct sl_arena *arena,
                      struct media_index *out, struct sl_failure *why);
int wire_info_encode(const struct media_info *info, struct sl_buf *out);
int wire_info_decode(const void *bytes, size_t length, struct sl_arena *arena,
                     struct media_info *out, struct sl_failure *why);
int wire_plan_encode(const struct plan *plan, struct sl_buf *out);
int wire_plan_decode(const void *bytes, size_t length, struct sl_arena *arena, struct plan *out,
                     struct sl_failure *why);
int wire_published_encode(const struct published_set *set, struct sl_buf *out);
int wire_published_decode(const void *bytes, size_t length, struct sl_arena *arena,
                          struct published_set *out, struct sl_failure *why);

#endif
