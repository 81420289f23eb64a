#include "agent/device_table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

struct device_table {
    pthread_mutex_t lock; /* table */
    struct hal_table table;
    const struct device_setting *settings;
    int32_t setting_count;
    device_changed_fn *changed;
    void *arg;
};

int device_table_open(const struct device_setting *settings, int32_t setting_count,
                      device_changed_fn *changed, void *arg, struct device_table **out)
{
    struct device_table *t = calloc(1, sizeof *t);
    if (!t)
        return SL_ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    t->settings = settings;
    t->setting_count = setting_count;
    t->changed = changed;
    t->arg = arg;
    *out = t;
    return SL_OK;
}

void device_table_close(struct device_table **at)
{
    struct device_table *t = *at;
    if (!t)
        return;
    *at = NULL;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool names_a_kind(const char *word)
{
    for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++)
        if (strcmp(word, device_kind_word((enum device_kind)kind)) == 0)
            return true;
    return false;
}

static void settings_judge(const struct device_table *t, const struct device_row *rows,
                           int32_t count)
{
    for (int32_t i = 0; i < t->setting_count; i++) {
        bool found = names_a_kind(t->settings[i].device);
        for (int32_t j = 0; j < count && !found; j++)
            found = strcmp(t->settings[i].device, rows[j].device_id) == 0;
        if (!found)
            sl_warn(NULL,
                    "agent.devices.%s: there is no such device here; sluice hw names those there "
                    "are",
                    t->settings[i].device);
    }
}

void device_table_fill(struct device_table *t, const struct device_row *rows, int32_t count)
{
    settings_judge(t, rows, count);
    pthread_mutex_lock(&t->lock);
    hal_table_fill(&t->table, rows, count, t->settings, t->setting_count);
    for (int32_t i = 0; i < count; i++)
        if (!hal_table_find(&t->table, rows[i].device_id))
            sl_info(NULL, "device %s is disabled by agent.devices", rows[i].device_id);
    pthread_mutex_unlock(&t->lock);
}

bool device_table_encoders_take(struct device_table *t, const struct device_row *rows,
                                int32_t count)
{
    pthread_mutex_lock(&t->lock);
    bool taken = hal_table_encoders_take(&t->table, rows, count);
    pthread_mutex_unlock(&t->lock);
    return taken;
}

void device_table_speeds(struct device_table *t, const struct hal_speeds *speeds)
{
    pthread_mutex_lock(&t->lock);
    hal_table_speeds(&t->table, speeds);
    pthread_mutex_unlock(&t->lock);
}

int device_table_claim(struct device_table *t, enum codec codec, const char *encoder,
                       int32_t wanted, const char *prefer, struct hal_claim *out,
                       struct sl_failure *why)
{
    pthread_mutex_lock(&t->lock);
    int code = hal_table_claim(&t->table, sl_now_ns(), codec, encoder, wanted, prefer, out, why);
    pthread_mutex_unlock(&t->lock);
    return code;
}

bool device_table_feed(struct device_table *t, const char *prefer, struct hal_claim *out)
{
    pthread_mutex_lock(&t->lock);
    bool given = hal_table_feed(&t->table, prefer, out);
    pthread_mutex_unlock(&t->lock);
    return given;
}

void device_table_hold(struct device_table *t, const char *device_id, struct hal_claim *out)
{
    pthread_mutex_lock(&t->lock);
    hal_table_hold(&t->table, device_id, out);
    pthread_mutex_unlock(&t->lock);
}

void device_table_release(struct device_table *t, struct hal_claim *claim)
{
    pthread_mutex_lock(&t->lock);
    hal_table_release(&t->table, claim);
    pthread_mutex_unlock(&t->lock);
}

void device_table_refused(struct device_table *t, const struct hal_claim *claim, int32_t got)
{
    pthread_mutex_lock(&t->lock);
    const struct hal_device *device = hal_table_find(&t->table, claim->device_id);
    int32_t before = device ? device->sessions.limit : 0;
    hal_table_refused(&t->table, sl_now_ns(), claim, got);
    int32_t after = device ? device->sessions.limit : 0;
    pthread_mutex_unlock(&t->lock);
    if (before == after)
        return;
    sl_info(NULL, "device %s refused a session; it is taken to have %d%s", claim->device_id, after,
            claim->system_wide ? ", for all such devices together" : "");
    t->changed(t->arg);
}

static void note(struct device_table *t, const char *device_id, const struct hal_claim *claim,
                 int code, const char *detail)
{
    pthread_mutex_lock(&t->lock);
    struct hal_device *device = hal_table_find(&t->table, device_id);
    enum device_health before = device ? device->health : HEALTH_HEALTHY;
    enum device_health after =
        device ? hal_table_note(&t->table, device, claim, code, detail) : before;
    pthread_mutex_unlock(&t->lock);
    if (before == after)
        return;
    if (code == SL_OK)
        sl_info(NULL, "device %s is %s", device_id, device_health_word(after));
    else
        sl_warn(NULL, "device %s is %s: %s: %s", device_id, device_health_word(after),
                sl_error_word(code), detail ? detail : "");
    t->changed(t->arg);
}

void device_table_note(struct device_table *t, const char *device_id, int code, const char *detail)
{
    note(t, device_id, NULL, code, detail);
}

void device_table_note_lease(struct device_table *t, const struct hal_claim *claim, int code,
                             const char *detail)
{
    note(t, claim->device_id, claim, code, detail);
}

void device_table_quarantine(struct device_table *t, const char *device_id, const char *reason)
{
    pthread_mutex_lock(&t->lock);
    struct hal_device *device = hal_table_find(&t->table, device_id);
    if (device && device->health == HEALTH_HEALTHY) {
        device->health = HEALTH_QUARANTINED;
        snprintf(device->health_reason, sizeof device->health_reason, "%s",
                 reason[0] ? reason : "an earlier agent did not say why");
        sl_warn(NULL, "device %s is quarantined since before this start: %s", device_id, reason);
    }
    pthread_mutex_unlock(&t->lock);
}

void device_table_telemetry(struct device_table *t, const struct device_row *rows, int32_t count)
{
    pthread_mutex_lock(&t->lock);
    hal_table_telemetry(&t->table, rows, count);
    pthread_mutex_unlock(&t->lock);
}

int32_t device_table_rows(struct device_table *t, struct device_row rows[NODE_DEVICES_MAX])
{
    pthread_mutex_lock(&t->lock);
    int32_t count = t->table.count;
    hal_table_rows(&t->table, rows);
    pthread_mutex_unlock(&t->lock);
    return count;
}
