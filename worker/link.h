/* worker/link.h: the worker's end of the talk with its agent (wire/wire_control.h).
 *
 * A thread of its own reads the socket, so that an agent's death is noticed at any time: the worker then ends at once,
 * whatever its other threads do, and its slot is free. Frames wait in a short queue until asked for.
 *
 * Owns:     the thread, the queue and the socket.
 * Threads:  any may send; one at a time takes.
 * Errors:   SL_EUNREACH, SL_EPROTO, SL_ELIMIT.
 */
#ifndef SL_WORKER_LINK_H
#define SL_WORKER_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "wire/wire_control.h"

/* A job and the answers to the outputs being asked for: one each at a time. */
#define LINK_QUEUE_MAX   8

/* Exit status of a worker whose agent went away in the middle of a job. */
#define LINK_EXIT_ORPHAN 3

struct worker_link;

/* lasting: it is given more than one job, and ends when the agent goes away between them. */
int worker_link_open(int socket, bool lasting, struct worker_link **out);

/* Waits for the next frame. The caller frees its body (control_frame_fini) and closes its descriptors. */
int worker_link_take(struct worker_link *link, struct control_frame *out);

int worker_link_send(struct worker_link *link, enum control_kind kind, const void *body,
                     size_t length);
int worker_link_closed(struct worker_link *link, uint32_t output, int64_t bytes,
                       const uint8_t sha256[SHA256_BYTES]);
int worker_link_progress(struct worker_link *link, int64_t done, int64_t total);
int worker_link_failed(struct worker_link *link, const struct sl_failure *failure);

/* Says which system call the sandbox stopped, from the signal handler that saw it: nothing is allocated, and a frame
 * that another thread is sending at that moment is not broken (the agent then learns of the signal alone). */
void worker_link_violation(struct worker_link *link, int number);

/* A job begins: from here on an agent that goes away is a loss … */
void worker_link_begin(struct worker_link *link);
/* … and from here on it is none: the last word is about to be said. */
void worker_link_finish(struct worker_link *link);

#endif
