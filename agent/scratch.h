/* agent/scratch.h: the folder that is an agent's own: its identity and its temporary files.
 *
 *   node-id   the node's UUID, made once: the node's identity outlives restarts
 *   lock      held while an agent runs, with its pid inside
 *   leases/   files being written by workers     cache/   ranges of sources
 *
 * Files of both have no name where the file system can do that, so that they vanish with their process.
 *
 * Errors:  SL_EBUSY when another agent uses the folder, SL_EINVAL for a node-id that is none; else what the
 *          system said. The sentence says what to do.
 * Threads: scratch_file from any.
 */
#ifndef SL_AGENT_SCRATCH_H
#define SL_AGENT_SCRATCH_H

#include "base/error.h"
#include "model/ids.h"

struct scratch {
    char node_uuid[NODE_UUID_BYTES];
    int folder_fd;
    int lock_fd;
    int leases_fd;
    int cache_fd;
};

/* Makes the folder if need be, takes its lock, reads or makes the identity, and sweeps what an earlier
 * agent left. */
int scratch_open(const char *path, struct scratch *out, struct sl_failure *why);
void scratch_close(struct scratch *scratch);

/* An empty file, read-write, without a name, in the folder given (leases_fd or cache_fd). SL_ENOSPC … */
int scratch_file(int folder_fd, int *out_fd, struct sl_failure *why);

#endif
