#include "wire/wire_codec.h"

#include <inttypes.h>

#include "wire/wire_fields.h"

/* clang-format off */
#define DEMAND_MEMBERS(I, T, E, R)                                                                 \
    I(cpu_millicores) I(sessions) I(memory_bytes) I(vram_bytes) I(work_mpix) I(fetch_bytes)

#define REQUEST_MEMBERS(I, T, E, R)                                                                \
    I(version) T(node_uuid) T(node_name) I(session) I(seq) I(spot) I(park) I(leaving)              \
    I(notice_remaining_ns)

#define HELD_MEMBERS(I, T, E, R)                                                                   \
    E(state, HELD_STATE_COUNT) I(done_units) I(total_units) T(device_id)

#define ANSWER_MEMBERS(I, T, E, R)                                                                 \
    I(version) I(seq) I(wait_ns) I(lease_timeout_ns) E(node_state, NODE_STATE_COUNT) T(store_id)   \
    T(store_path) T(http_host) I(http_port)

#define GRANT_MEMBERS(I, T, E, R)                                                                  \
    E(step, STEP_COUNT) I(watchdog_ns) T(output_prefix) T(ticket)
/* clang-format on */

static void demand_put(const struct demand *from, Sluice__V1__Demand *to)
{
    sluice__v1__demand__init(to);
    DEMAND_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
}

static void demand_get(const Sluice__V1__Demand *in, struct demand *out)
{
    if (!in)
        return;
    DEMAND_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
}

static int bytes_get(struct wire_decoder *d, const char *member, ProtobufCBinaryData in, size_t max,
                     const uint8_t **out, size_t *out_length)
{
    if (in.len > max)
        return wire_fail(d, member, "more bytes than allowed");
    *out = NULL;
    *out_length = in.len;
    if (in.len == 0)
        return SL_OK;
    *out = sl_arena_memdup(d->arena, in.data, in.len);
    return *out ? SL_OK : wire_no_memory(d);
}

/* ---- request ---- */

static int request_put(const struct sync_request *from, struct sl_arena *arena,
                       Sluice__V1__SyncRequest *to, Sluice__V1__Demand *total)
{
    REQUEST_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    demand_put(&from->total, total);
    to->total = total;

    Sluice__V1__DeviceRow *rows;
    to->n_devices = (size_t)from->device_count;
    to->devices = wire_repeated(arena, to->n_devices, sizeof *rows, (void **)&rows);
    if (!to->devices)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_devices; i++)
        wire_device_put(&from->devices[i], &rows[i]);

    Sluice__V1__Held *held;
    Sluice__V1__Failure *failures;
    to->n_held = (size_t)from->held_count;
    to->held = wire_repeated(arena, to->n_held, sizeof *held, (void **)&held);
    failures = sl_arena_array(arena, to->n_held, sizeof *failures);
    if (!to->held || !failures)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_held; i++) {
        const struct sync_held *one = &from->held[i];
        sluice__v1__held__init(&held[i]);
        held[i].token = one->token.v;
        held[i].task = one->task.v;
        held[i].video = one->video.v;
        held[i].state = (uint32_t)one->state;
        held[i].done_units = one->done_units;
        held[i].total_units = one->total_units;
        held[i].device_id = (char *)one->device_id;
        held[i].report = (ProtobufCBinaryData){one->report_bytes, (uint8_t *)one->report};
        if (one->failure.code) {
            wire_failure_put(&one->failure, &failures[i]);
            held[i].failure = &failures[i];
        }
    }
    return SL_OK;
}

int wire_request_encode(const struct sync_request *request, struct sl_buf *out)
{
    if (request->device_count < 0 || request->device_count > NODE_DEVICES_MAX ||
        request->held_count < 0 || request->held_count > SYNC_HELD_MAX)
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    Sluice__V1__SyncRequest message = SLUICE__V1__SYNC_REQUEST__INIT;
    Sluice__V1__Demand total;
    int code = request_put(request, &arena, &message, &total);
    if (!code)
        code = wire_pack(&message.base, SYNC_BYTES_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

static int held_get(struct wire_decoder *d, const Sluice__V1__Held *in, struct sync_held *out)
{
    HELD_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    out->token.v = in->token;
    out->task.v = in->task;
    out->video.v = in->video;
    if (in->token == 0)
        return wire_fail(d, "held.token", "missing");
    if (wire_failure_get(d, in->failure, &out->failure))
        return d->code;
    return bytes_get(d, "held.report", in->report, REPORT_BYTES_MAX, &out->report,
                     &out->report_bytes);
}

static int request_get(struct wire_decoder *d, const Sluice__V1__SyncRequest *in,
                       struct sync_request *out)
{
    REQUEST_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    demand_get(in->total, &out->total);
    if (wire_count_get(d, "devices", in->n_devices, NODE_DEVICES_MAX, &out->device_count) ||
        wire_count_get(d, "held", in->n_held, SYNC_HELD_MAX, &out->held_count))
        return d->code;
    for (size_t i = 0; i < in->n_devices; i++)
        if (wire_device_get(d, in->devices[i], &out->devices[i]))
            return d->code;
    out->held = sl_arena_array(d->arena, in->n_held, sizeof *out->held);
    if (!out->held)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_held; i++)
        if (held_get(d, in->held[i], &out->held[i]))
            return d->code;
    return SL_OK;
}

int wire_request_decode(const void *bytes, size_t length, struct sl_arena *arena,
                        struct sync_request *out, struct sl_failure *why)
{
    if (length > SYNC_BYTES_MAX)
        return sl_fail(why, SL_EPROTO, "a sync of %zu bytes; at most %d are taken", length,
                       SYNC_BYTES_MAX);
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__SyncRequest *in =
        wire_unpack(&d, &sluice__v1__sync_request__descriptor, "sync request", bytes, length);
    struct sync_request request = {0};
    if (in && in->version != SYNC_VERSION)
        d.code =
            sl_fail(why, SL_EVERSION,
                    "the agent speaks version %" PRIu32 " of the sync, this daemon version %d; "
                    "install the same release on both",
                    in->version, SYNC_VERSION);
    else if (in)
        request_get(&d, in, &request);
    if (!d.code)
        *out = request;
    wire_decoder_fini(&d);
    return d.code;
}

/* ---- answer ---- */

static int grant_put(const struct sync_grant *from, struct sl_arena *arena, Sluice__V1__Grant *to)
{
    if (from->input_count < 0 || from->input_count > JOB_INPUTS_MAX)
        return SL_ELIMIT;
    sluice__v1__grant__init(to);
    GRANT_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->token = from->token.v;
    to->task = from->task.v;
    to->video = from->video.v;
    to->job = (ProtobufCBinaryData){from->job_bytes, (uint8_t *)from->job};
    to->demand = sl_arena_alloc(arena, sizeof *to->demand);
    Sluice__V1__Input *inputs;
    to->n_inputs = (size_t)from->input_count;
    to->inputs = wire_repeated(arena, to->n_inputs, sizeof *inputs, (void **)&inputs);
    if (!to->demand || !to->inputs)
        return SL_ENOMEM;
    demand_put(&from->demand, to->demand);
    for (size_t i = 0; i < to->n_inputs; i++) {
        sluice__v1__input__init(&inputs[i]);
        inputs[i].key = from->inputs[i].key;
        inputs[i].bytes = from->inputs[i].bytes;
    }
    return SL_OK;
}

static int answer_put(const struct sync_answer *from, struct sl_arena *arena,
                      Sluice__V1__SyncAnswer *to, Sluice__V1__Failure *refused)
{
    ANSWER_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    if (from->refused.code) {
        wire_failure_put(&from->refused, refused);
        to->refused = refused;
    }
    Sluice__V1__Grant *grants;
    to->n_grants = (size_t)from->grant_count;
    to->grants = wire_repeated(arena, to->n_grants, sizeof *grants, (void **)&grants);
    Sluice__V1__Verdict *verdicts;
    to->n_verdicts = (size_t)from->verdict_count;
    to->verdicts = wire_repeated(arena, to->n_verdicts, sizeof *verdicts, (void **)&verdicts);
    if (!to->grants || !to->verdicts)
        return SL_ENOMEM;
    for (size_t i = 0; i < to->n_grants; i++) {
        int code = grant_put(&from->grants[i], arena, &grants[i]);
        if (code)
            return code;
    }
    for (size_t i = 0; i < to->n_verdicts; i++) {
        sluice__v1__verdict__init(&verdicts[i]);
        verdicts[i].token = from->verdicts[i].token.v;
        verdicts[i].kind = (uint32_t)from->verdicts[i].kind;
    }
    return SL_OK;
}

int wire_answer_encode(const struct sync_answer *answer, struct sl_buf *out)
{
    if (answer->grant_count < 0 || answer->grant_count > SYNC_GRANTS_MAX ||
        answer->verdict_count < 0 || answer->verdict_count > SYNC_HELD_MAX)
        return SL_ELIMIT;
    struct sl_arena arena = {0};
    Sluice__V1__SyncAnswer message = SLUICE__V1__SYNC_ANSWER__INIT;
    Sluice__V1__Failure refused;
    int code = answer_put(answer, &arena, &message, &refused);
    if (!code)
        code = wire_pack(&message.base, SYNC_BYTES_MAX, out);
    sl_arena_fini(&arena);
    return code;
}

static int grant_get(struct wire_decoder *d, const Sluice__V1__Grant *in, struct sync_grant *out)
{
    GRANT_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    out->token.v = in->token;
    out->task.v = in->task;
    out->video.v = in->video;
    if (in->token == 0)
        return wire_fail(d, "grant.token", "missing");
    demand_get(in->demand, &out->demand);
    if (wire_count_get(d, "grant.inputs", in->n_inputs, JOB_INPUTS_MAX, &out->input_count))
        return d->code;
    out->inputs = sl_arena_array(d->arena, in->n_inputs, sizeof *out->inputs);
    if (!out->inputs)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_inputs; i++) {
        struct sync_input *input = &out->inputs[i];
        if (in->inputs[i]->bytes < 0)
            return wire_fail(d, "input.bytes", "a negative number");
        input->bytes = in->inputs[i]->bytes;
        if (wire_text_get(d, "input.key", in->inputs[i]->key, input->key, sizeof input->key))
            return d->code;
    }
    return bytes_get(d, "grant.job", in->job, SYNC_BYTES_MAX, &out->job, &out->job_bytes);
}

static int answer_get(struct wire_decoder *d, const Sluice__V1__SyncAnswer *in,
                      struct sync_answer *out)
{
    ANSWER_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (wire_failure_get(d, in->refused, &out->refused) ||
        wire_count_get(d, "grants", in->n_grants, SYNC_GRANTS_MAX, &out->grant_count) ||
        wire_count_get(d, "verdicts", in->n_verdicts, SYNC_HELD_MAX, &out->verdict_count))
        return d->code;
    out->grants = sl_arena_array(d->arena, in->n_grants, sizeof *out->grants);
    out->verdicts = sl_arena_array(d->arena, in->n_verdicts, sizeof *out->verdicts);
    if (!out->grants || !out->verdicts)
        return wire_no_memory(d);
    for (size_t i = 0; i < in->n_grants; i++)
        if (grant_get(d, in->grants[i], &out->grants[i]))
            return d->code;
    for (size_t i = 0; i < in->n_verdicts; i++) {
        if (in->verdicts[i]->kind > VERDICT_STALE)
            return wire_fail(d, "verdict.kind", "a number outside its range");
        out->verdicts[i].token.v = in->verdicts[i]->token;
        out->verdicts[i].kind = (enum verdict_kind)in->verdicts[i]->kind;
    }
    return SL_OK;
}

int wire_answer_decode(const void *bytes, size_t length, struct sl_arena *arena,
                       struct sync_answer *out, struct sl_failure *why)
{
    if (length > SYNC_BYTES_MAX)
        return sl_fail(why, SL_EPROTO, "an answer of %zu bytes; at most %d are taken", length,
                       SYNC_BYTES_MAX);
    struct wire_decoder d = {.arena = arena, .why = why};
    const Sluice__V1__SyncAnswer *in =
        wire_unpack(&d, &sluice__v1__sync_answer__descriptor, "sync answer", bytes, length);
    struct sync_answer answer = {0};
    if (in && in->version != SYNC_VERSION)
        d.code =
            sl_fail(why, SL_EVERSION,
                    "the daemon speaks version %" PRIu32 " of the sync, this agent version %d; "
                    "install the same release on both",
                    in->version, SYNC_VERSION);
    else if (in)
        answer_get(&d, in, &answer);
    if (!d.code)
        *out = answer;
    wire_decoder_fini(&d);
    return d.code;
}
