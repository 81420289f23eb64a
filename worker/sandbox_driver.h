/* worker/sandbox_driver.h: what a GPU's driver needs of the system, before the sandbox and in it.
 *
 * A driver is loaded, starts threads of its own and opens its device files before the sandbox is entered. Landlock does not
 * reach threads that are there already, so a worker with a driver enters it twice: first, alone, for what loading a driver
 * takes (libraries, /proc, /sys and devices; not the farm's data, secrets, home folders or /tmp), then for the device files
 * that the driver turned out to have open.
 */
#ifndef SL_WORKER_SANDBOX_DRIVER_H
#define SL_WORKER_SANDBOX_DRIVER_H

#include "model/policy_types.h"

#define SANDBOX_DRIVER_FILES_MAX 16
#define SANDBOX_DRIVER_PATH      64

/* count 0: a driver without device files, as a stand-in: it gets no more than any worker. */
struct sandbox_driver {
    enum device_kind kind;
    int count;
    char paths[SANDBOX_DRIVER_FILES_MAX][SANDBOX_DRIVER_PATH];
};

/* The first Landlock, for loading a driver. Returns an errno. Needs no_new_privs. */
int sandbox_driver_landlock(void);

/* The device files that this process has open by now. */
void sandbox_driver_find(enum device_kind kind, struct sandbox_driver *out);

#endif
