/* agent/store.h: the object store that the daemon named, as this node reaches it.
 *
 * Its folder directly where the node sees it (the ".sluice-store" in it bears the daemon's id, and it can be
 * written), else the daemon's HTTP side.
 *
 * Owns:    a counted reference each; the last one closes.
 * Threads: any.
 */
#ifndef SL_AGENT_STORE_H
#define SL_AGENT_STORE_H

#include <stdbool.h>

#include "model/sync_types.h"
#include "objects/objects.h"

/* A daemon that restarts is back within this; fencing makes waiting safe. */
#define STORE_PATIENCE_NS SL_S_TO_NS(300)

struct agent_store;

/* wire_host: where the wire side was reached, used when the answer names no host. */
int agent_store_open(const struct sync_answer *answer, const char *wire_host, bool http,
                     struct agent_store **out, struct sl_failure *why);
/* Was it opened for what this answer says? */
bool agent_store_matches(const struct agent_store *store, const struct sync_answer *answer,
                         const char *wire_host);
struct agent_store *agent_store_ref(struct agent_store *store);
void agent_store_unref(struct agent_store **store);

struct objects *agent_store_objects(struct agent_store *store);
bool agent_store_is_local(const struct agent_store *store);

#endif
