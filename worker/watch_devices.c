#include "worker/watch_devices.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>

#include "base/time.h"
#include "wire/wire_control.h"
#include "worker/backends.h"

#define FIRST_NS SL_S_TO_NS(1) /* loads that are differences are known soon */
#define WATCH_NS SL_S_TO_NS(5)
#define ASKED_NS SL_S_TO_NS(30)

/* False: the agent has gone. */
static bool wait_for(int socket, int64_t ns)
{
    struct pollfd ended = {.fd = socket, .events = POLLIN};
    int ready;
    do
        ready = poll(&ended, 1, (int)SL_NS_TO_MS(ns));
    while (ready < 0 && errno == EINTR);
    return ready == 0;
}

int watch_devices(int socket)
{
    struct device_row rows[NODE_DEVICES_MAX];
    struct control_frame frame = {0};
    struct rlimit none = {0, 0};
    int32_t count = 0;
    setrlimit(RLIMIT_CORE, &none);
    int code = control_receive(socket, &frame, ASKED_NS);
    if (code == SL_OK)
        code = control_devices_parse(&frame, rows, NODE_DEVICES_MAX, &count);
    control_frame_fini(&frame);
    for (int64_t wait_ns = FIRST_NS; code == SL_OK; wait_ns = WATCH_NS) {
        for (int32_t i = 0; i < count; i++)
            hal_telemetry(&worker_backends, rows[i].kind, rows[i].device_id, &rows[i].telemetry);
        code = control_devices_send(socket, rows, count);
        if (code == SL_OK && !wait_for(socket, wait_ns))
            return 0;
    }
    return code == SL_EUNREACH ? 0 : 1;
}
