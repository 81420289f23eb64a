/* sluice-worker: does one lease's work. The agent starts it ahead of time, hands it one job over a socket, and
 * starts another when it is gone. It is the only program of the farm that opens media. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/cpu_pool.h"
#include "media/media_log.h"
#include "wire/wire_control.h"
#include "worker/calibrate.h"
#include "worker/probe_devices.h"
#include "worker/prove.h"
#include "worker/serve.h"
#include "worker/watch_devices.h"

#define EXIT_USAGE 2

static const char usage[] =
    "usage: sluice-worker [--control-fd N] [--device KIND:ID] [--probe-devices] [--version] "
    "[--help]\n"
    "\n"
    "The agent starts this program and talks to it over a socket at descriptor 3; it does one "
    "lease's\n"
    "work and ends, or with --device that of one video's leases on a GPU (with --feed: on CPUs "
    "that a "
    "GPU\n"
    "feeds), or with --watch-devices tells it of the devices' load. By hand only these are of "
    "use:\n"
    "  --probe-devices   print the devices of this machine as JSON\n"
    "  --calibrate KIND:DEVICE  measure how fast a device encodes (\"cpu:cpu\"); --quick: only a "
    "little\n"
    "  --prove KIND:DEVICE  encode a golden chunk on a device and read it back\n"
    "  --version         print the version\n"
    "  --help            print this\n";

static bool is_socket(int fd)
{
    int type;
    socklen_t length = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0;
}

/* "nvenc:GPU-…": a device's kind and id. */
static bool device_named(const char *name, struct calibrate_params *out)
{
    for (int kind = 0; kind < DEVICE_KIND_COUNT; kind++) {
        const char *word = device_kind_word((enum device_kind)kind);
        size_t length = strlen(word);
        if (strncmp(name, word, length) == 0 && name[length] == ':') {
            out->kind = (enum device_kind)kind;
            out->device_id = name + length + 1;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"control-fd", required_argument, NULL, 'c'},
        {"device", required_argument, NULL, 'd'},
        {"feed", required_argument, NULL, 'e'},
        {"probe-devices", no_argument, NULL, 'p'},
        {"watch-devices", no_argument, NULL, 'w'},
        {"calibrate", required_argument, NULL, 'm'},
        {"quick", no_argument, NULL, 'q'},
        {"full", no_argument, NULL, 'f'},
        {"into", required_argument, NULL, 'i'},
        {"quiet", no_argument, NULL, 's'},
        {"slot", required_argument, NULL, 'n'},
        {"prove", required_argument, NULL, 'g'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int control_fd = CONTROL_FD;
    const char *device = NULL;
    bool probe = false, watch = false, golden = false, feeds = false;
    struct calibrate_params measure = {.depth = CALIBRATE_NORMAL};
    sl_log_open("sluice-worker");
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        char *end;
        switch (option) {
        case 'c':
            errno = 0;
            long fd = strtol(optarg, &end, 10);
            if (errno || *end || end == optarg || fd < 0 || fd > 1000000) {
                fprintf(stderr,
                        "sluice-worker: --control-fd takes a descriptor's number, not '%s'\n",
                        optarg);
                return EXIT_USAGE;
            }
            control_fd = (int)fd;
            break;
        case 'd':
        case 'e':
            device = optarg;
            feeds = option == 'e';
            break;
        case 'p':
            probe = true;
            break;
        case 'w':
            watch = true;
            break;
        case 'g':
        case 'm':
            golden = option == 'g';
            if (!device_named(optarg, &measure)) {
                fprintf(stderr,
                        "sluice-worker: --%s takes a kind and a device, as in cpu:cpu, not '%s'; "
                        "--probe-devices lists them\n",
                        golden ? "prove" : "calibrate", optarg);
                return EXIT_USAGE;
            }
            break;
        case 'q':
            measure.depth = CALIBRATE_QUICK;
            break;
        case 'f':
            measure.depth = CALIBRATE_FULL;
            break;
        case 'n':
            cpu_pool_pin(atoi(optarg));
            break;
        case 's':
            measure.quiet = true;
            break;
        case 'i':
            measure.into = optarg;
            break;
        case 'v':
            printf("sluice-worker %s\n", SLUICE_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sluice-worker: '%s' is not expected here\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    media_log_start();
    if (golden)
        return prove(measure.kind, measure.device_id, is_socket(control_fd) ? control_fd : -1);
    if (measure.device_id)
        return calibrate(&measure);
    if (probe)
        return probe_devices(is_socket(control_fd) ? control_fd : -1);
    if (!is_socket(control_fd)) {
        fprintf(
            stderr,
            "sluice-worker: descriptor %d is no socket: this program is started by sluice-agent "
            "and "
            "does one lease's work; to encode a video use 'sluice submit', to see this machine's "
            "devices 'sluice-worker --probe-devices'\n",
            control_fd);
        return EXIT_USAGE;
    }
    return watch ? watch_devices(control_fd) : serve(control_fd, device, feeds);
}
