/* worker/probe_kinds.h: which devices there are, asked of each kind's driver in a process of its own.
 *
 * A driver that crashes, hangs or ends the process that asks it costs one line and its own kind's devices. The caller
 * itself loads no driver. All kinds are asked at once and have the same deadline.
 *
 * Errors:   none: what could not be found out is a note.
 * Threads:  the only thread there is.
 * Blocking: until the deadline, and a second more where a driver does not let go of its process.
 */
#ifndef SL_WORKER_PROBE_KINDS_H
#define SL_WORKER_PROBE_KINDS_H

#include "base/time.h"
#include "hal/hal.h"

#define PROBE_DEADLINE_NS SL_S_TO_NS(10)

#define PROBE_NOTES_MAX   (DEVICE_KIND_COUNT + NODE_DEVICES_MAX)

/* "nvenc: the driver crashed at probe (signal 11, SEGV); …" */
struct probe_note {
    enum device_kind kind;
    bool fault; /* the driver's; else something is not there */
    char text[SL_MESSAGE_BYTES + DEVICE_ID_BYTES];
};

struct probe_result {
    struct hal_device devices[NODE_DEVICES_MAX];
    int32_t device_count;
    struct probe_note notes[PROBE_NOTES_MAX]; /* one at most for each kind and for each device */
    int32_t note_count;
};

void probe_kinds(const struct hal_backends *backends, int64_t deadline_ns,
                 struct probe_result *out);

#endif
