/* Device rows and failures: what sync and control messages share. */
#include <string.h>

#include "wire/wire_fields.h"

/* clang-format off */
#define DEVICE_MEMBERS(I, T, E, R)                                                                 \
    T(device_id) E(kind, DEVICE_KIND_COUNT) T(name) E(health, HEALTH_COUNT) T(health_reason)       \
    I(encodes) I(decodes) I(sessions_in_use) I(session_limit) I(vram_bytes) I(cpus)                \
    I(memory_bytes) T(driver) I(standin) I(encodes_ten_bit) E(session_scope, SCOPE_COUNT)             \
    E(feed, FEED_COUNT) I(feed_permille)
/* clang-format on */

void wire_device_put(const struct device_row *from, Sluice__V1__DeviceRow *to)
{
    sluice__v1__device_row__init(to);
    DEVICE_MEMBERS(WIRE_PUT_I, WIRE_PUT_T, WIRE_PUT_E, WIRE_PUT_R)
    to->mpix_per_s = (int64_t *)from->mpix_per_s;
    to->n_mpix_per_s = CODEC_COUNT;
    to->codec_leases = (int32_t *)from->codec_leases;
    to->n_codec_leases = CODEC_COUNT;
    to->telemetry = (int64_t *)&from->telemetry;
    to->n_telemetry = DEVICE_TELEMETRY_MEMBERS;
}

int wire_device_get(struct wire_decoder *d, const Sluice__V1__DeviceRow *in, struct device_row *out)
{
    DEVICE_MEMBERS(WIRE_GET_I, WIRE_GET_T, WIRE_GET_E, WIRE_GET_R)
    if (in->n_mpix_per_s > CODEC_COUNT)
        return wire_fail(d, "mpix_per_s", "more elements than codecs");
    for (size_t i = 0; i < in->n_mpix_per_s; i++)
        out->mpix_per_s[i] = in->mpix_per_s[i];
    if (in->n_codec_leases > CODEC_COUNT)
        return wire_fail(d, "codec_leases", "more elements than codecs");
    for (size_t i = 0; i < in->n_codec_leases; i++)
        out->codec_leases[i] = in->codec_leases[i];
    out->telemetry = device_telemetry_unknown;
    if (in->n_telemetry > DEVICE_TELEMETRY_MEMBERS)
        return wire_fail(d, "telemetry", "more elements than there are members");
    if (in->n_telemetry)
        memcpy(&out->telemetry, in->telemetry, in->n_telemetry * sizeof *in->telemetry);
    return SL_OK;
}

void wire_failure_put(const struct sl_failure *from, Sluice__V1__Failure *to)
{
    sluice__v1__failure__init(to);
    to->code = from->code;
    to->message = (char *)from->message;
}

int wire_failure_get(struct wire_decoder *d, const Sluice__V1__Failure *in, struct sl_failure *out)
{
    if (!in)
        return SL_OK;
    if (in->code > 0)
        return wire_fail(d, "failure.code", "a positive number");
    out->code = in->code;
    return wire_text_get(d, "failure.message", in->message, out->message, sizeof out->message);
}
