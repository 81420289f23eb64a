/* hal/hal_table.h: the devices of one node over time: which leases hold sessions on them, what is known of their limits,
 * how they are.
 *
 * Made of rows as a worker's probe reports them, since an agent loads no driver itself. A lease that encodes makes a
 * claim before it starts and releases it at its end, so that all leases of the node together stay within each limit.
 *
 * Limits:   configured ones hold. One that no driver tells is learned when a worker is refused a session: what it had open
 *           and the most that others may have had beside it. That is never below the true one, and comes down to it with
 *           further refusals. It is forgotten after HAL_LEARNED_NS: some sessions may have been another program's.
 * Health:   hal_table_note; what leads a quarantined device back is work that began after its last fault.
 * Errors:   of hal_choose. Threads: one at a time; no clock, no I/O.
 */
#ifndef SL_HAL_HAL_TABLE_H
#define SL_HAL_HAL_TABLE_H

#include "hal/hal.h"
#include "hal/hal_speed.h"

#define HAL_CLAIMS_MAX 512 /* leases of a node */
#define HAL_LEARNED_NS (INT64_C(600) * 1000000000)
/* Of a GPU's memory for each worker that it feeds: its context, and pictures of 2160p. */
#define HAL_FEED_BYTES (INT64_C(1) << 30)

/* A claim that was not released yet. */
struct hal_live {
    int32_t device; /* index; -1: it went away */
    int32_t sessions;
    int32_t
        others_max; /* the most that others held beside it, of what counts against the same limit */
    bool used;
    bool faulted; /* its device has failed since it began: that it ends well says nothing */
};

struct hal_table {
    struct hal_device devices[NODE_DEVICES_MAX];
    int64_t learned_at_ns[NODE_DEVICES_MAX];
    int32_t count;
    struct hal_live live[HAL_CLAIMS_MAX];
};

/* What a lease holds. */
struct hal_claim {
    char device_id[DEVICE_ID_BYTES]; /* empty: nothing */
    enum device_kind kind;
    int32_t sessions;
    bool system_wide; /* the limit is one of all such devices */
    bool feeds;       /* it makes pictures for encoders on CPUs; no sessions */
    int32_t live;     /* the table's */
};

/* Takes what a probe found; devices that were there before keep their claims, health and what was learned. Disabled ones
 * are left out. A device's own setting goes before its kind's. */
void hal_table_fill(struct hal_table *table, const struct device_row *rows, int32_t count,
                    const struct device_setting *settings, int32_t setting_count);

/* Chooses a device (hal_choose) and gives min(wanted, free) sessions of it. prefer (may be NULL) is taken instead where it
 * is as well and as little used. */
int hal_table_claim(struct hal_table *table, int64_t now_ns, enum codec codec, const char *encoder,
                    int32_t wanted, const char *prefer, struct hal_claim *out,
                    struct sl_failure *why);
/* A healthy GPU to decode and scale for encoders on CPUs, with no session of it; the least used, prefer among equals. As many
 * at once as its memory has room for contexts. False: there is none. */
bool hal_table_feed(struct hal_table *table, const char *prefer, struct hal_claim *out);
/* One session of this very device, ill or not, for a proof of it: it counts beside what leases open. Nothing where the
 * device is not there. */
void hal_table_hold(struct hal_table *table, const char *device_id, struct hal_claim *out);
/* Clears it; an empty claim is none. */
void hal_table_release(struct hal_table *table, struct hal_claim *claim);
/* The device opened got sessions for the claim and refused the next. */
void hal_table_refused(struct hal_table *table, int64_t now_ns, const struct hal_claim *claim,
                       int32_t got);

/* hal_health_note of the device. claim: what ended so was a lease; NULL: a proof. A lease that ends well after its device has
 * failed others says nothing. */
enum device_health hal_table_note(struct hal_table *table, struct hal_device *device,
                                  const struct hal_claim *claim, int code, const char *detail);

/* Rates of devices as they were measured. */
void hal_table_speeds(struct hal_table *table, const struct hal_speeds *speeds);

/* Of the rows' devices that are there. */
void hal_table_telemetry(struct hal_table *table, const struct device_row *rows, int32_t count);

/* Of devices that encoded nothing when they were probed: ill, or without a free session. True: a later probe found what one
 * of them encodes. */
bool hal_table_encoders_take(struct hal_table *table, const struct device_row *rows, int32_t count);

/* NULL where it is not there. */
struct hal_device *hal_table_find(struct hal_table *table, const char *device_id);
void hal_table_rows(const struct hal_table *table, struct device_row rows[NODE_DEVICES_MAX]);

#endif
