/* standin-stat [FOLDER [KIND]]: what the stand-in devices of a kind (nvenc, vaapi) counted, as JSON. The folder is that
 * of SLUICE_STANDIN_STATE. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/standin/state.h"

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : getenv("SLUICE_STANDIN_STATE");
    const char *kind = argc > 2 ? argv[2] : "nvenc";
    char path[1024];
    if (argc > 3 || !folder) {
        fprintf(stderr,
                "usage: standin-stat FOLDER [nvenc|vaapi] (or SLUICE_STANDIN_STATE=FOLDER)\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/%s.state", folder, kind);
    struct standin_shared *shared = standin_open(path);
    if (!shared) {
        fprintf(stderr, "standin-stat: %s: no stand-in has run there\n", path);
        return 1;
    }
    standin_lock();
    printf("{\"sessions\": %u, \"sessions_high\": %u, \"devices\": [", standin_sessions(-1),
           shared->sessions_high);
    for (int i = 0; i < STANDIN_DEVICES_MAX; i++) {
        const struct standin_device *row = &shared->devices[i];
        printf("%s{\"sessions\": %u, \"sessions_high\": %u, \"opened\": %" PRIu64
               ", \"refused\": %" PRIu64 ", \"pictures\": %" PRIu64 ", \"lost\": %" PRIu64
               ", \"hung\": %" PRIu64 ", \"memory_bytes\": %" PRIu64 ", \"decoded\": %" PRIu64
               ", \"host_bytes\": %" PRIu64 "}",
               i ? ", " : "", standin_sessions(i), row->sessions_high, row->opened, row->refused,
               row->pictures, row->lost, row->hung, standin_memory(i), row->decoded,
               row->host_bytes);
    }
    printf("]}\n");
    standin_unlock();
    return 0;
}
