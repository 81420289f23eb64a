/* worker/sandbox.h: what a worker may do once it is ready for work, whatever its source makes it do.
 *
 * Entered in two stages, both before any byte of a source is read. First, while the process has one thread and
 * nothing is loaded yet: a user and a network namespace of its own. Then, when all is warm: no new privileges, no
 * capabilities, no core dump, no look from outside (dumpable 0), Landlock without a single rule, and a filter that
 * lists the system calls a worker needs. From there on a worker has its descriptors, its memory and its threads.
 *
 * The filter is the part that must be there; namespaces and Landlock are taken where the kernel and the container
 * allow them. Limits of memory, CPU time, file size and descriptors are set from outside, by the agent
 * (agent/worker_process.h), so that the process need not be trusted with them.
 *
 * A call to look around (open for reading, stat, access …) is answered with EACCES: libraries try such things and go
 * on without. Any other call not on the list never happens and ends the process with SIGSYS.
 *
 * A worker with a GPU's driver (worker/sandbox_driver.h) is allowed what the driver's device files need beside: to open
 * those again, their ioctls, their memory. Nothing else differs, and nothing at all where it has no device file open.
 *
 * Errors:  SL_EUNSUPPORTED: without the filter no media is opened; the sentence says what the kernel answered.
 * Threads: isolate and enter: the only thread there is. A handler of SIGSYS may run on any.
 */
#ifndef SL_WORKER_SANDBOX_H
#define SL_WORKER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "worker/sandbox_driver.h"

/* In builds with ASan or TSan, which look around, trace and map by themselves, there is no sandbox. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_BUILT 0
#else
#define SANDBOX_BUILT 1
#endif

/* Threads of a worker, counted where it has a user namespace of its own. */
#define SANDBOX_THREADS_MAX 4096

struct sandbox {
    int user_error; /* errno of the user and network namespaces; 0: entered */
    int net_error;  /* of a network namespace without a user's, tried where the first failed */
    int landlock_error;
    int driver_error; /* of the Landlock for loading a driver */
};

/* The first stage; never fails, what could not be had is in out. */
void sandbox_isolate(struct sandbox *out);
/* Of a worker that is going to load a driver. */
void sandbox_isolate_driver(struct sandbox *out);
/* The second. driver NULL: a worker without one. */
int sandbox_enter(struct sandbox *sandbox, const struct sandbox_driver *driver,
                  struct sl_failure *why);

/* Is every layer there? */
bool sandbox_is_whole(const struct sandbox *sandbox);
/* "system call filter, own network, no files (Landlock)", or what is missing and why. */
void sandbox_describe(const struct sandbox *sandbox, char *out, size_t out_bytes);

/* Called on the thread that tried a forbidden call, in its signal handler, right before the process is killed. */
void sandbox_on_violation(void (*fn)(void *arg, int number), void *arg);

#endif
