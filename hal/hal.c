#include "hal/hal.h"

#include <stdio.h>
#include <string.h>

static int encoders_probe(const struct hal_backends *backends, struct hal_device *device,
                          struct sl_failure *why)
{
    for (int32_t i = 0; i < backends->encoder_count; i++) {
        const struct hal_encode_ops *ops = backends->encoders[i];
        if (ops->kind != device->kind)
            continue;
        int32_t before = device->row_count;
        int rc = ops->probe(device);
        if (rc < 0) {
            /* One broken driver leaves the others their rows. */
            device->row_count = before;
            if (sl_error_class(rc) == SL_CLASS_CAPACITY)
                device->rows_code = rc;
            sl_fail(why, rc, "probing %s on %s failed: %s", ops->name, device->device_id,
                    sl_error_text(rc));
        }
    }
    return SL_OK;
}

/* Those of one back end, without rows. */
static int32_t devices_find(const struct hal_device_ops *ops, struct hal_device *out, int32_t max,
                            struct sl_failure *why)
{
    int32_t count = 0;
    memset(out, 0, (size_t)max * sizeof *out);
    for (int32_t i = 0; i < max; i++)
        out[i].telemetry = device_telemetry_unknown;
    return ops->probe(out, max, &count, why) < 0 ? 0 : count;
}

static int probe(const struct hal_backends *backends, const enum device_kind *kind,
                 struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why)
{
    if (max <= 0 || max > NODE_DEVICES_MAX)
        return sl_fail(why, SL_EINVAL, "room for %d devices; 1 to %d are possible", max,
                       NODE_DEVICES_MAX);
    int32_t found = 0;
    for (int32_t i = 0; i < backends->device_count && found < max; i++) {
        if (kind && backends->devices[i]->kind != *kind)
            continue;
        int32_t more = devices_find(backends->devices[i], out + found, max - found, why);
        for (int32_t j = found; j < found + more; j++)
            encoders_probe(backends, &out[j], why);
        found += more;
    }
    *count = found;
    return SL_OK;
}

int hal_probe(const struct hal_backends *backends, struct hal_device *out, int32_t max,
              int32_t *count, struct sl_failure *why)
{
    return probe(backends, NULL, out, max, count, why);
}

int hal_probe_kind(const struct hal_backends *backends, enum device_kind kind,
                   struct hal_device *out, int32_t max, int32_t *count, struct sl_failure *why)
{
    return probe(backends, &kind, out, max, count, why);
}

int hal_probe_one(const struct hal_backends *backends, enum device_kind kind, const char *device_id,
                  struct hal_device *out, struct sl_failure *why)
{
    struct hal_device devices[NODE_DEVICES_MAX];
    struct sl_failure absent = {0};
    for (int32_t i = 0; i < backends->device_count; i++) {
        const struct hal_device_ops *ops = backends->devices[i];
        if (ops->kind != kind)
            continue;
        int32_t count = devices_find(ops, devices, NODE_DEVICES_MAX, &absent);
        for (int32_t j = 0; j < count; j++) {
            if (strcmp(devices[j].device_id, device_id) != 0)
                continue;
            int rc = ops->prepare ? ops->prepare(&devices[j], why) : SL_OK;
            if (rc < 0)
                return rc;
            encoders_probe(backends, &devices[j], why);
            *out = devices[j];
            return SL_OK;
        }
    }
    return sl_fail(why, SL_EDEVICELOST, "the device %s is not on this node any more%s%.120s",
                   device_id, absent.code ? ": " : "", absent.message);
}

void hal_telemetry(const struct hal_backends *backends, enum device_kind kind,
                   const char *device_id, struct device_telemetry *out)
{
    *out = device_telemetry_unknown;
    for (int32_t i = 0; i < backends->device_count; i++)
        if (backends->devices[i]->kind == kind && backends->devices[i]->telemetry)
            backends->devices[i]->telemetry(device_id, out);
}

enum device_feed hal_device_feed(const struct hal_device *device)
{
    for (int32_t i = 0; i < device->row_count; i++)
        if (device->rows[i].direction == HAL_ENCODE)
            return FEED_NONE;
    if (device->feed_asked != FEED_UNMEASURED || device->feed_permille == 0)
        return device->feed_asked;
    return device->feed_permille >= DEVICE_FEED_PERMILLE ? FEED_FASTER : FEED_SLOWER;
}

void hal_device_report(const struct hal_device *device, struct device_row *out)
{
    *out = (struct device_row){
        .kind = device->kind,
        .health = device->health,
        .sessions_in_use = device->sessions.in_use,
        .session_limit = device->sessions.limit,
        .session_scope = device->sessions.scope,
        .standin = device->standin,
        .feed = hal_device_feed(device),
        .feed_permille = device->feed_permille,
        .telemetry = device->telemetry,
        .vram_bytes = device->kind == DEVICE_CPU ? 0 : device->memory_bytes,
        .cpus = device->kind == DEVICE_CPU ? device->cpus : 0,
        .memory_bytes = device->kind == DEVICE_CPU ? device->memory_bytes : 0,
    };
    snprintf(out->device_id, sizeof out->device_id, "%s", device->device_id);
    snprintf(out->name, sizeof out->name, "%s", device->name);
    snprintf(out->driver, sizeof out->driver, "%s", device->driver);
    snprintf(out->health_reason, sizeof out->health_reason, "%s", device->health_reason);
    for (int32_t i = 0; i < device->row_count; i++) {
        const struct hal_row *row = &device->rows[i];
        if (row->direction == HAL_DECODE) {
            out->decodes |= 1u << row->codec;
            continue;
        }
        out->encodes |= 1u << row->codec;
        if (row->layouts & (1u << HAL_I420_10 | 1u << HAL_P010))
            out->encodes_ten_bit |= 1u << row->codec;
        if (row->mpix_per_s > out->mpix_per_s[row->codec])
            out->mpix_per_s[row->codec] = row->mpix_per_s;
    }
}

static bool row_takes(const struct hal_row *row, enum codec codec, const char *encoder)
{
    return row->direction == HAL_ENCODE && row->codec == codec &&
           (!encoder || !encoder[0] || strcmp(row->encoder, encoder) == 0);
}

const struct hal_row *hal_device_row(const struct hal_device *device, enum codec codec,
                                     const char *encoder, int32_t width, int32_t height,
                                     struct sl_failure *why)
{
    const struct hal_row *nearest = NULL;
    for (int32_t i = 0; i < device->row_count; i++) {
        const struct hal_row *row = &device->rows[i];
        if (!row_takes(row, codec, encoder))
            continue;
        if (width == 0 || (width >= row->width_min && width <= row->width_max &&
                           height >= row->height_min && height <= row->height_max))
            return row;
        nearest = row;
    }
    if (nearest)
        sl_fail(why, SL_EINVAL, "%s on %s encodes %dx%d to %dx%d, not %dx%d", nearest->encoder,
                device->device_id, nearest->width_min, nearest->height_min, nearest->width_max,
                nearest->height_max, width, height);
    else if (device->rows_code < 0)
        sl_fail(why, device->rows_code, "device %s could not be asked what it encodes: %s",
                device->device_id, sl_error_text(device->rows_code));
    else
        sl_fail(why, SL_ENOENCODER, "device %s has no encoder %s for %s", device->device_id,
                encoder && encoder[0] ? encoder : "at all", codec_word(codec));
    return NULL;
}

int32_t hal_sessions_counted(const struct hal_device *devices, int32_t count,
                             const struct hal_device *device)
{
    if (device->sessions.scope != SCOPE_SYSTEM)
        return device->sessions.in_use;
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++)
        if (devices[i].kind == device->kind && devices[i].sessions.scope == SCOPE_SYSTEM)
            sum += devices[i].sessions.in_use;
    return sum;
}

int32_t hal_sessions_free(const struct hal_device *devices, int32_t count,
                          const struct hal_device *device)
{
    if (device->sessions.limit <= 0)
        return INT32_MAX;
    int32_t left = device->sessions.limit - hal_sessions_counted(devices, count, device);
    return left > 0 ? left : 0;
}

/* Healthy first, then suspect, then proving. */
static int health_rank(const struct hal_device *device)
{
    switch (device->health) {
    case HEALTH_HEALTHY:
        return 0;
    case HEALTH_SUSPECT:
        return 1;
    case HEALTH_PROVING:
        return device->sessions.in_use == 0 ? 2 : -1;
    default:
        return -1;
    }
}

static bool is_better(const struct hal_device *a, const struct hal_device *b)
{
    if (health_rank(a) != health_rank(b))
        return health_rank(a) < health_rank(b);
    if (a->sessions.in_use != b->sessions.in_use)
        return a->sessions.in_use < b->sessions.in_use;
    return strcmp(a->device_id, b->device_id) < 0;
}

int hal_choose(const struct hal_device *devices, int32_t count, enum codec codec,
               const char *encoder, struct sl_failure *why)
{
    const struct hal_device *best = NULL;
    const struct hal_device *full = NULL, *ill = NULL;
    for (int32_t i = 0; i < count; i++) {
        const struct hal_device *device = &devices[i];
        if (!hal_device_row(device, codec, encoder, 0, 0, NULL))
            continue;
        if (hal_sessions_free(devices, count, device) == 0)
            full = device;
        else if (health_rank(device) < 0)
            ill = device;
        else if (!best || is_better(device, best))
            best = device;
    }
    if (best)
        return (int)(best - devices);
    if (full)
        return sl_fail(why, SL_ESESSIONS, "all %d encoder sessions of %s are in use",
                       full->sessions.limit, full->device_id);
    if (ill && ill->health == HEALTH_PROVING)
        return sl_fail(why, SL_ESESSIONS, "device %s is proving itself with one session",
                       ill->device_id);
    if (ill)
        return sl_fail(why, SL_EDEVICELOST, "device %s is quarantined: %s", ill->device_id,
                       ill->health_reason);
    return sl_fail(why, SL_ENOENCODER, "no device of this node has encoder %s for %s",
                   encoder && encoder[0] ? encoder : "(any)", codec_word(codec));
}
