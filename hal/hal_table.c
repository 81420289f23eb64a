#include "hal/hal_table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Of rows that say which codecs, but not which sizes. */
#define SIZE_ANY INT32_MAX

static void rows_make(const struct device_row *from, struct hal_device *to)
{
    to->row_count = 0;
    for (int i = 0; i < ENCODER_NAMES; i++)
        for (int codec = 0; codec < CODEC_COUNT; codec++) {
            const struct encoder_name *name = &encoder_names[i];
            uint32_t bit = 1u << codec;
            if (name->kind != from->kind || !(name->codecs & from->encodes & bit) ||
                to->row_count == HAL_ROWS_MAX)
                continue;
            struct hal_row *row = &to->rows[to->row_count++];
            *row = (struct hal_row){
                .codec = (enum codec)codec,
                .direction = HAL_ENCODE,
                .layouts = 1u << HAL_I420 | (from->encodes_ten_bit & bit ? 1u << HAL_I420_10 : 0u),
                .width_min = 2,
                .height_min = 2,
                .width_max = SIZE_ANY,
                .height_max = SIZE_ANY,
                .mpix_per_s = from->mpix_per_s[codec],
            };
            snprintf(row->encoder, sizeof row->encoder, "%s", name->name);
        }
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (from->decodes & 1u << codec && to->row_count < HAL_ROWS_MAX)
            to->rows[to->row_count++] =
                (struct hal_row){.codec = (enum codec)codec, .direction = HAL_DECODE};
}

static struct hal_device device_make(const struct device_row *row)
{
    struct hal_device device = {
        .kind = row->kind,
        .standin = row->standin,
        .sessions = {.limit = row->session_limit, .scope = row->session_scope},
        .health = row->health,
        .feed_asked = row->kind == DEVICE_NVENC ? FEED_UNMEASURED : FEED_NONE,
        .memory_bytes = row->kind == DEVICE_CPU ? row->memory_bytes : row->vram_bytes,
        .cpus = row->cpus,
        .telemetry = row->telemetry,
    };
    memcpy(device.device_id, row->device_id, sizeof device.device_id);
    memcpy(device.name, row->name, sizeof device.name);
    memcpy(device.driver, row->driver, sizeof device.driver);
    memcpy(device.health_reason, row->health_reason, sizeof device.health_reason);
    rows_make(row, &device);
    return device;
}

static const struct device_setting *setting_find(const struct device_setting *settings,
                                                 int32_t count, const char *device)
{
    for (int32_t i = 0; i < count; i++)
        if (strcmp(settings[i].device, device) == 0)
            return &settings[i];
    return NULL;
}

/* False: it is disabled. */
static bool settings_take(struct hal_device *device, const struct device_setting *settings,
                          int32_t count)
{
    const struct device_setting *of[] = {
        setting_find(settings, count, device_kind_word(device->kind)),
        setting_find(settings, count, device->device_id)};
    for (int i = 0; i < 2; i++) {
        if (of[i] && of[i]->disable)
            return false;
        if (of[i] && of[i]->feed && device->kind == DEVICE_NVENC)
            device->feed_asked = of[i]->feed;
        if (!of[i] || of[i]->sessions <= 0)
            continue;
        device->sessions.limit = of[i]->sessions;
        device->sessions.source = HAL_LIMIT_CONFIGURED;
        if (device->sessions.scope == SCOPE_NONE)
            device->sessions.scope = SCOPE_DEVICE;
    }
    return true;
}

/* What happened here stays true when a device is probed again. */
static void past_keep(const struct hal_device *old, struct hal_device *device)
{
    device->sessions.in_use = old->sessions.in_use;
    if (device->sessions.limit == 0 && old->sessions.source == HAL_LIMIT_LEARNED)
        device->sessions = old->sessions;
    device->health = old->health;
    memcpy(device->health_reason, old->health_reason, sizeof device->health_reason);
    device->health_faults = old->health_faults;
    device->health_successes = old->health_successes;
    device->feed_permille = old->feed_permille;
}

/* To the device being filled in. */
static void live_move(const struct hal_table *from, struct hal_table *to, int32_t old)
{
    for (int32_t i = 0; i < HAL_CLAIMS_MAX; i++)
        if (from->live[i].used && from->live[i].device == old)
            to->live[i].device = to->count;
}

void hal_table_fill(struct hal_table *table, const struct device_row *rows, int32_t count,
                    const struct device_setting *settings, int32_t setting_count)
{
    static const struct hal_table empty;
    struct hal_table next = empty;
    memcpy(next.live, table->live, sizeof next.live);
    for (int32_t i = 0; i < HAL_CLAIMS_MAX; i++)
        next.live[i].device = -1;
    for (int32_t i = 0; i < count && next.count < NODE_DEVICES_MAX; i++) {
        struct hal_device *device = &next.devices[next.count];
        *device = device_make(&rows[i]);
        if (!settings_take(device, settings, setting_count))
            continue;
        const struct hal_device *old = hal_table_find(table, device->device_id);
        if (old) {
            past_keep(old, device);
            next.learned_at_ns[next.count] = table->learned_at_ns[old - table->devices];
            live_move(table, &next, (int32_t)(old - table->devices));
        }
        next.count++;
    }
    *table = next;
}

void hal_table_speeds(struct hal_table *table, const struct hal_speeds *speeds)
{
    for (int32_t i = 0; i < table->count; i++) {
        struct hal_device *device = &table->devices[i];
        struct device_row row;
        hal_device_report(device, &row);
        hal_speeds_fill(speeds, &row);
        device->feed_permille = row.feed_permille;
        for (int32_t r = 0; r < device->row_count; r++)
            if (device->rows[r].direction == HAL_ENCODE)
                device->rows[r].mpix_per_s = row.mpix_per_s[device->rows[r].codec];
    }
}

bool hal_table_encoders_take(struct hal_table *table, const struct device_row *rows, int32_t count)
{
    bool taken = false;
    for (int32_t i = 0; i < count; i++) {
        struct hal_device *device = hal_table_find(table, rows[i].device_id);
        struct device_row now;
        if (!device || !rows[i].encodes)
            continue;
        hal_device_report(device, &now);
        if (now.encodes)
            continue;
        rows_make(&rows[i], device);
        taken = true;
    }
    return taken;
}

struct hal_device *hal_table_find(struct hal_table *table, const char *device_id)
{
    for (int32_t i = 0; i < table->count; i++)
        if (strcmp(table->devices[i].device_id, device_id) == 0)
            return &table->devices[i];
    return NULL;
}

void hal_table_telemetry(struct hal_table *table, const struct device_row *rows, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        struct hal_device *device = hal_table_find(table, rows[i].device_id);
        if (device)
            device->telemetry = rows[i].telemetry;
    }
}

/* ---- claims ---- */

static void learned_forget(struct hal_table *table, int64_t now_ns)
{
    for (int32_t i = 0; i < table->count; i++) {
        struct hal_sessions *sessions = &table->devices[i].sessions;
        if (sessions->source != HAL_LIMIT_LEARNED ||
            now_ns - table->learned_at_ns[i] < HAL_LEARNED_NS)
            continue;
        sessions->limit = 0;
        sessions->source = HAL_LIMIT_UNKNOWN;
    }
}

static bool count_together(const struct hal_device *a, const struct hal_device *b)
{
    return a == b || (a->kind == b->kind && a->sessions.scope == SCOPE_SYSTEM &&
                      b->sessions.scope == SCOPE_SYSTEM);
}

/* Notes what each claim has beside it from now on. Returns its place, or -1. */
static int32_t live_add(struct hal_table *table, struct hal_device *device, int32_t sessions)
{
    int32_t place = -1;
    int32_t counted = hal_sessions_counted(table->devices, table->count, device);
    for (int32_t i = 0; i < HAL_CLAIMS_MAX; i++) {
        struct hal_live *live = &table->live[i];
        if (!live->used) {
            place = place < 0 ? i : place;
        } else if (live->device >= 0 && count_together(&table->devices[live->device], device)) {
            int32_t others = counted + sessions - live->sessions;
            live->others_max = others > live->others_max ? others : live->others_max;
        }
    }
    if (place >= 0)
        table->live[place] =
            (struct hal_live){(int32_t)(device - table->devices), sessions, counted, true, false};
    return place;
}

static bool claim_add(struct hal_table *table, struct hal_device *device, int32_t sessions,
                      struct hal_claim *out)
{
    int32_t place = live_add(table, device, sessions);
    if (place < 0)
        return false;
    device->sessions.in_use += sessions;
    *out = (struct hal_claim){
        .live = place,
        .kind = device->kind,
        .sessions = sessions,
        .system_wide = device->sessions.scope == SCOPE_SYSTEM,
    };
    memcpy(out->device_id, device->device_id, sizeof out->device_id);
    return true;
}

static bool takes(const struct hal_table *table, const struct hal_device *device, enum codec codec,
                  const char *encoder)
{
    return hal_device_row(device, codec, encoder, 0, 0, NULL) &&
           hal_sessions_free(table->devices, table->count, device) > 0;
}

int hal_table_claim(struct hal_table *table, int64_t now_ns, enum codec codec, const char *encoder,
                    int32_t wanted, const char *prefer, struct hal_claim *out,
                    struct sl_failure *why)
{
    learned_forget(table, now_ns);
    int chosen = hal_choose(table->devices, table->count, codec, encoder, why);
    if (chosen < 0)
        return chosen;
    struct hal_device *device = &table->devices[chosen];
    struct hal_device *other = prefer ? hal_table_find(table, prefer) : NULL;
    if (other && other->kind == device->kind && other->health == device->health &&
        other->sessions.in_use <= device->sessions.in_use && takes(table, other, codec, encoder))
        device = other;
    int32_t room = hal_sessions_free(table->devices, table->count, device);
    int32_t given = wanted < room ? wanted : room;
    if (device->health == HEALTH_PROVING || given < 1)
        given = 1;
    return claim_add(table, device, given, out)
               ? SL_OK
               : sl_fail(why, SL_ELIMIT, "%d leases hold devices of this node", HAL_CLAIMS_MAX);
}

static int32_t claims_of(const struct hal_table *table, const struct hal_device *device)
{
    int32_t count = 0;
    for (int32_t i = 0; i < HAL_CLAIMS_MAX; i++)
        count += table->live[i].used && table->live[i].device == device - table->devices;
    return count;
}

bool hal_table_feed(struct hal_table *table, const char *prefer, struct hal_claim *out)
{
    struct hal_device *best = NULL;
    int32_t least = 0;
    *out = (struct hal_claim){0};
    for (int32_t i = 0; i < table->count; i++) {
        struct hal_device *device = &table->devices[i];
        if (device->health != HEALTH_HEALTHY || !device_feeds(hal_device_feed(device)))
            continue;
        int32_t claims = claims_of(table, device);
        int64_t most = device->memory_bytes / HAL_FEED_BYTES;
        if (claims >= (most < 1 ? 1 : most))
            continue;
        bool preferred = prefer && strcmp(prefer, device->device_id) == 0;
        if (!best || claims < least || (claims == least && preferred)) {
            best = device;
            least = claims;
        }
    }
    if (!best || !claim_add(table, best, 0, out))
        return false;
    out->feeds = true;
    return true;
}

void hal_table_hold(struct hal_table *table, const char *device_id, struct hal_claim *out)
{
    struct hal_device *device = hal_table_find(table, device_id);
    *out = (struct hal_claim){0};
    if (device)
        claim_add(table, device, 1, out);
}

void hal_table_release(struct hal_table *table, struct hal_claim *claim)
{
    struct hal_device *device =
        claim->device_id[0] ? hal_table_find(table, claim->device_id) : NULL;
    if (device) {
        device->sessions.in_use -= claim->sessions;
        assert(device->sessions.in_use >= 0);
    }
    if (claim->device_id[0])
        table->live[claim->live].used = false;
    *claim = (struct hal_claim){0};
}

static void limit_learn(struct hal_table *table, int32_t at, int64_t now_ns, int32_t works)
{
    struct hal_sessions *sessions = &table->devices[at].sessions;
    if (sessions->source == HAL_LIMIT_CONFIGURED ||
        (sessions->limit > 0 && sessions->limit <= works))
        return;
    sessions->limit = works;
    sessions->source = HAL_LIMIT_LEARNED;
    if (sessions->scope == SCOPE_NONE)
        sessions->scope = SCOPE_DEVICE;
    table->learned_at_ns[at] = now_ns;
}

void hal_table_refused(struct hal_table *table, int64_t now_ns, const struct hal_claim *claim,
                       int32_t got)
{
    struct hal_device *device = hal_table_find(table, claim->device_id);
    if (!device)
        return;
    int32_t works = table->live[claim->live].others_max + got;
    if (works <= 0)
        return; /* another program has them all: that tells nothing of the limit */
    for (int32_t i = 0; i < table->count; i++)
        if (count_together(&table->devices[i], device))
            limit_learn(table, i, now_ns, works);
}

enum device_health hal_table_note(struct hal_table *table, struct hal_device *device,
                                  const struct hal_claim *claim, int code, const char *detail)
{
    if (code == SL_OK && claim && table->live[claim->live].faulted)
        return device->health;
    for (int32_t i = 0; i < HAL_CLAIMS_MAX && sl_error_class(code) == SL_CLASS_DEVICE; i++)
        if (table->live[i].used && table->live[i].device == device - table->devices)
            table->live[i].faulted = true;
    return hal_health_note(device, code, detail);
}

void hal_table_rows(const struct hal_table *table, struct device_row rows[NODE_DEVICES_MAX])
{
    for (int32_t i = 0; i < table->count; i++)
        hal_device_report(&table->devices[i], &rows[i]);
}
