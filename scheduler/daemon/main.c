/* sluiced: the daemon's program. Arguments and configuration in, signals out; the rest is daemon.h. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "base/time.h"
#include "scheduler/daemon/daemon.h"

enum { EXIT_USAGE = 2, EXIT_REFUSED = 5, EXIT_FAILED = 6 };

static const char usage[] =
    "usage: sluiced --data DIR [--config FILE] [--http ADDR:PORT] [--wire URL] [--store URL]\n"
    "\n"
    "The daemon of an encode farm: queues, leases, state, HTTP interface, objects.\n"
    "\n"
    "  --data DIR        state, originals and published videos; made if absent\n"
    "  --config FILE     settings as YAML; options given here win\n"
    "  --http ADDR:PORT  HTTP interface (127.0.0.1:8800)\n"
    "  --wire URL        where agents connect (tcp://127.0.0.1:8801)\n"
    "  --store URL       file:///FOLDER for objects, or sqlite:FILE for state, elsewhere than in "
    "DIR\n"
    "  --version, --help\n"
    "\n"
    "Addresses other than loopback need farm.secret_file or daemon.api.tokens in the "
    "configuration.\n"
    "Exit: 0 stopped by a signal, 2 a mistake in options or configuration, 5 refused (a port or "
    "folder that\n"
    "another has, a file that may not be read), 6 failed.\n";

struct args {
    const char *data;
    const char *config;
    const char *http;
    const char *wire;
    const char *store;
};

static int args_parse(int argc, char **argv, struct args *out)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},  {"config", required_argument, NULL, 'c'},
        {"http", required_argument, NULL, 'h'},  {"wire", required_argument, NULL, 'w'},
        {"store", required_argument, NULL, 's'}, {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'H'},        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            out->data = optarg;
            break;
        case 'c':
            out->config = optarg;
            break;
        case 'h':
            out->http = optarg;
            break;
        case 'w':
            out->wire = optarg;
            break;
        case 's':
            out->store = optarg;
            break;
        case 'V':
            puts("sluiced " SLUICE_VERSION);
            exit(0);
        case 'H':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs("sluiced: see sluiced --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sluiced: \"%s\" is not expected here; see sluiced --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!out->data || !out->data[0]) {
        fputs("sluiced: --data DIR is missing: the folder for state and videos\n", stderr);
        return EXIT_USAGE;
    }
    return 0;
}

/* "127.0.0.1:8800", "[::1]:8800", ":8800". */
static int http_parse(const char *text, struct config_daemon *out)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    char *end = NULL;
    errno = 0;
    long port = colon && colon[1] ? strtol(colon + 1, &end, 10) : -1;
    size_t length = colon ? (size_t)(colon - text) : 0;
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (port < 0 || port > 65535 || errno != 0 || *end != '\0' || length >= sizeof out->http_host) {
        fprintf(stderr, "sluiced: --http %s is not ADDR:PORT, for example 127.0.0.1:8800\n", text);
        return EXIT_USAGE;
    }
    memcpy(out->http_host, host, length);
    out->http_host[length] = '\0';
    out->http_port = (int32_t)port;
    return 0;
}

static int text_set(const char *option, const char *text, char *out, size_t bytes)
{
    if (strlen(text) >= bytes) {
        fprintf(stderr, "sluiced: %s: longer than %zu bytes\n", option, bytes - 1);
        return EXIT_USAGE;
    }
    snprintf(out, bytes, "%s", text);
    return 0;
}

static int config_load(const char *path, struct config *config)
{
    struct sl_buf file = {0}, lines = {0};
    struct sl_failure why = {0};
    struct config_mistakes mistakes = {0};
    int code = config_file_read(path, &file, &why);
    if (code != SL_OK) {
        fprintf(stderr, "sluiced: --config: %s\n", why.message);
    } else if ((code = config_parse(path, file.data ? (const char *)file.data : "", file.length,
                                    config, &mistakes)) != SL_OK) {
        config_mistakes_print(path, &mistakes, &lines);
        fprintf(stderr, "sluiced: the configuration has mistakes:\n%s",
                lines.data ? (const char *)lines.data : "");
    }
    sl_buf_fini(&file);
    sl_buf_fini(&lines);
    return code == SL_OK ? 0 : EXIT_USAGE;
}

/* What a person can put right in the command or the configuration is no fault of the daemon. */
static int exit_of(int code)
{
    switch (code) {
    case SL_EINVAL:
    case SL_ENOENT:
        return EXIT_USAGE;
    case SL_EVERSION:
    case SL_EACCES:
    case SL_EBUSY:
        return EXIT_REFUSED;
    default:
        return EXIT_FAILED;
    }
}

/* A farm has a descriptor per agent and per HTTP connection; the default of 1,024 is soon used up. */
static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    /* Originals may be what only the daemon could read. */
    umask(027);
    struct args args = {0};
    int code = args_parse(argc, argv, &args);
    if (code)
        return code;
    struct daemon_options options = {.data = args.data};
    config_default(&options.config);
    if (args.config && (code = config_load(args.config, &options.config)))
        return code;
    struct config_daemon *config = &options.config.daemon;
    if ((args.http && (code = http_parse(args.http, config))) ||
        (args.wire &&
         (code = text_set("--wire", args.wire, config->wire_url, sizeof config->wire_url))) ||
        (args.store &&
         (code = text_set("--store", args.store, config->store_url, sizeof config->store_url))))
        return code;

    sl_log_open("sluiced");
    if (sl_log_keep() != SL_OK)
        sl_warn(NULL, "not enough memory to keep log lines; pages will show none");
    descriptors_raise();
    signal(SIGPIPE, SIG_IGN);
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);

    struct daemon *daemon = NULL;
    struct sl_failure why = {0};
    code = daemon_open(&options, &daemon, &why);
    if (code != SL_OK) {
        fprintf(stderr, "sluiced: %s\n", why.message);
        return exit_of(code);
    }
    sl_info(NULL, "ready: http://%s:%d, agents at %s (port %d), data in %s", config->http_host,
            daemon_http_port(daemon), config->wire_url, daemon_wire_port(daemon), args.data);

    bool broken = false;
    for (;;) {
        struct timespec second = {.tv_sec = 1};
        int got = sigtimedwait(&stops, NULL, &second);
        broken = daemon_is_broken(daemon);
        if (broken || (got > 0 && got != SIGHUP))
            break;
    }
    if (!broken)
        sl_info(NULL, "stopping");
    daemon_close(&daemon);
    return broken ? EXIT_FAILED : 0;
}
