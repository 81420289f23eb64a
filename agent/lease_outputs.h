/* agent/lease_outputs.h: the files that one lease's worker writes, and their way into the object store.
 *
 * A worker asks for a file, writes it, says its size and hash; a thread of the lease puts it under a key that
 * carries the lease's token, while the worker goes on. A store that cannot be reached is asked again for
 * STORE_PATIENCE_NS.
 *
 * Owns:    open files, the list of keys, the thread.
 * Errors:  SL_ENOSPC, SL_EMISMATCH (the file is not what the worker said), SL_EPROTO (it asked for what it may
 *          not), or what the store said.
 * Threads: new, closed, wait, match, delete: one thread, the lease's. stop: any.
 */
#ifndef SL_AGENT_LEASE_OUTPUTS_H
#define SL_AGENT_LEASE_OUTPUTS_H

#include <stdint.h>

#include "agent/store.h"
#include "model/report_types.h"

#define LEASE_OUTPUTS_MAX      16384
#define LEASE_OUTPUTS_OPEN_MAX 64 /* files not yet stored; a worker that asks for more waits */

struct lease_outputs;

/* prefix and ticket are borrowed until close. */
int lease_outputs_open(struct agent_store *store, int leases_fd, const char *prefix,
                       struct lease_token token, const char *ticket, struct lease_outputs **out,
                       struct sl_failure *why);
/* Ends the thread; what was stored stays. */
void lease_outputs_close(struct lease_outputs **outputs);

/* A file for the worker; fd stays the outputs' own. With LEASE_OUTPUTS_OPEN_MAX unstored it waits for the
 * oldest: SL_EWORKER when the worker has not closed that one, SL_EHANG when storing it takes wait_ns (the time
 * of a store that cannot be reached does not count: that has its own patience). */
int lease_outputs_new(struct lease_outputs *outputs, const char *name, int64_t wait_ns,
                      uint32_t *number, int *fd, struct sl_failure *why);
int lease_outputs_closed(struct lease_outputs *outputs, uint32_t number, int64_t bytes,
                         const uint8_t sha256[SHA256_BYTES], struct sl_failure *why);
/* Readable once storing one of them has failed for good; the reason comes from wait. */
int lease_outputs_fault_fd(const struct lease_outputs *outputs);
/* Until all that were closed are stored. */
int lease_outputs_wait(struct lease_outputs *outputs, struct sl_failure *why);
/* Storing ends soon with SL_ECANCELLED. */
void lease_outputs_stop(struct lease_outputs *outputs);

/* Is everything that the report names stored, as it says? Fills in the keys, and deletes what was stored
 * and is not named. */
int lease_outputs_match(struct lease_outputs *outputs, struct report *report,
                        struct sl_failure *why);
/* Everything stored or half stored; what cannot be deleted is left to the daemon's sweep. */
void lease_outputs_delete(struct lease_outputs *outputs);

#endif
