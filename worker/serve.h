/* worker/serve.h: a worker's life between its start and its end: devices, warm-up, sandbox, then jobs.
 *
 * One for CPU slots does one job. One for a GPU opens that device's driver and its context, encodes a little on it, and
 * then does one job after another until the agent closes the socket; the agent hands it jobs of one video only. Whatever
 * fails ends it. One for CPUs that a GPU feeds lives like it, and encodes on CPUs what the GPU decoded and scaled. The agent is told of a driver that does not open in a FAILED in place of READY.
 *
 * Returns the exit status, or does not return.
 */
#ifndef SL_WORKER_SERVE_H
#define SL_WORKER_SERVE_H

#include <stdbool.h>

/* device: NULL, or "nvenc:GPU-…": kind and id; an id alone is looked for among all kinds but the CPU. feeds: it makes
 * pictures for the CPUs, and encodes nothing. */
int serve(int socket, const char *device, bool feeds);

#endif
