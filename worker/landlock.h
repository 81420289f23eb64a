/* worker/landlock.h: what this thread, and every thread and process that it starts from now on, may do with files.
 *
 * Everything that the kernel can deny is denied: files but those given, TCP, abstract sockets, signals to outside. Entered
 * again, only what both allow is left.
 *
 * Returns: an errno; ENOSYS, EOPNOTSUPP or EPERM where the kernel or a container does not offer it.
 */
#ifndef SL_WORKER_LANDLOCK_H
#define SL_WORKER_LANDLOCK_H

#include <stdbool.h>

/* A file, or a folder with all below it. */
struct landlock_path {
    const char *path;
    bool write;
};

/* Needs no_new_privs. Paths that are not there are left out. */
int landlock_enter(const struct landlock_path *paths, int count);

#endif
