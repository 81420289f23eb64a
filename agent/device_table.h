/* agent/device_table.h: this node's devices as its leases share them (hal/hal_table.h), for all threads of the agent.
 *
 * Health:   leases note how work on a device ended. Whoever is told by `changed` can look for quarantined devices with
 *           device_table_rows, prove one with work of its own (device_table_hold), and note the outcome: SL_OK lets
 *           leases on it again, one session at a time.
 * Threads:  any. changed is called with no lock of the table held, on the thread that noted.
 */
#ifndef SL_AGENT_DEVICE_TABLE_H
#define SL_AGENT_DEVICE_TABLE_H

#include "hal/hal_table.h"

struct device_table;

typedef void device_changed_fn(void *arg);

/* settings are borrowed until close. */
int device_table_open(const struct device_setting *settings, int32_t setting_count,
                      device_changed_fn *changed, void *arg, struct device_table **out);
void device_table_close(struct device_table **table);

/* What a probe found. Settings that name a device that is not there are said in the log. */
void device_table_fill(struct device_table *table, const struct device_row *rows, int32_t count);

/* hal_table_encoders_take. */
bool device_table_encoders_take(struct device_table *table, const struct device_row *rows,
                                int32_t count);
void device_table_speeds(struct device_table *table, const struct hal_speeds *speeds);

int device_table_claim(struct device_table *table, enum codec codec, const char *encoder,
                       int32_t wanted, const char *prefer, struct hal_claim *out,
                       struct sl_failure *why);
/* hal_table_feed. */
bool device_table_feed(struct device_table *table, const char *prefer, struct hal_claim *out);
/* A proof's session (hal_table_hold). */
void device_table_hold(struct device_table *table, const char *device_id, struct hal_claim *out);
void device_table_release(struct device_table *table, struct hal_claim *claim);
/* The claim's device opened got sessions and refused the next: a limit is learned. */
void device_table_refused(struct device_table *table, const struct hal_claim *claim, int32_t got);

/* The outcome of work on a device: SL_OK or a code; those of other classes than device change nothing. */
void device_table_note(struct device_table *table, const char *device_id, int code,
                       const char *detail);
/* The same of a lease, which says nothing when it ends well on a device that has failed since it began. */
void device_table_note_lease(struct device_table *table, const struct hal_claim *claim, int code,
                             const char *detail);

/* One that is healthy as far as is known here, but was not when an earlier agent ended. */
void device_table_quarantine(struct device_table *table, const char *device_id, const char *reason);

/* What the rows say of their devices' load. Nobody is told by changed: it is stated when something else is. */
void device_table_telemetry(struct device_table *table, const struct device_row *rows,
                            int32_t count);

/* Rows as they are now; how many. */
int32_t device_table_rows(struct device_table *table, struct device_row rows[NODE_DEVICES_MAX]);

#endif
