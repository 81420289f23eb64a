#include "agent/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

const char options_usage[] =
    "usage: sluice-agent --wire URL[,URL...] --scratch DIR [--config FILE] [--name NAME]\n"
    "                    [--cpus N] [--spot] [--worker PATH]\n"
    "\n"
    "Takes leases from a sluice daemon and runs workers for them.\n"
    "\n"
    "  --wire URL,...  the daemon's wire address, tcp://HOST:PORT; several are tried in turn\n"
    "  --scratch DIR   this node's own folder: identity and temporary files\n"
    "  --config FILE   YAML; its agent and farm parts are used\n"
    "  --name NAME     what people call this node (the host name)\n"
    "  --cpus N        CPUs to offer (those of the cgroup and affinity)\n"
    "  --spot          this node may be taken away at short notice\n"
    "  --worker PATH   sluice-worker (the one beside this program)\n"
    "  --version, --help\n"
    "\n"
    "Exit status: 0 left as asked; 2 bad usage; 5 refused by the daemon; 6 a fault here. A daemon "
    "that\n"
    "cannot be reached may come yet: the agent goes on asking for it.\n"
    "The first SIGTERM or SIGINT hands running leases back, the second ends at once.\n";

#define CPUS_MAX 4096

static int wires_split(struct options *o, const char *text, struct sl_failure *why)
{
    if (snprintf(o->wires, sizeof o->wires, "%s", text) >= (int)sizeof o->wires)
        return sl_fail(why, SL_EINVAL, "--wire: the list of addresses is too long");
    o->agent.wire_count = 0;
    for (char *rest = o->wires, *one; (one = strsep(&rest, ","));) {
        if (o->agent.wire_count == AGENT_WIRES_MAX)
            return sl_fail(why, SL_EINVAL, "--wire takes at most %d addresses", AGENT_WIRES_MAX);
        o->agent.wires[o->agent.wire_count++] = one;
    }
    return SL_OK;
}

static int config_load(struct options *o, const char *path, struct sl_failure *why)
{
    struct sl_buf text = {0}, lines = {0};
    struct config *config = malloc(sizeof *config);
    struct config_mistakes *mistakes = calloc(1, sizeof *mistakes);
    int code = config && mistakes ? SL_OK : sl_fail(why, SL_ENOMEM, "not enough memory to start");
    if (!code && path)
        code = config_file_read(path, &text, why);
    if (!code && path) {
        code = config_parse(path, (const char *)text.data, text.length, config, mistakes);
        if (code) {
            config_mistakes_print(path, mistakes, &lines);
            fprintf(stderr, "%s", lines.data ? (const char *)lines.data : "");
            sl_fail(why, code, "%s has mistakes; see above", path);
        }
    } else if (!code) {
        config_default(config);
    }
    if (!code)
        o->agent.config = config->agent;
    free(config);
    free(mistakes);
    sl_buf_fini(&text);
    sl_buf_fini(&lines);
    return code;
}

static int cpus_parse(const char *text, int32_t *out, struct sl_failure *why)
{
    char *end;
    long cpus = strtol(text, &end, 10);
    if (end == text || *end || cpus < 1 || cpus > CPUS_MAX)
        return sl_fail(why, SL_EINVAL, "--cpus takes a number from 1 to %d, not \"%.40s\"",
                       CPUS_MAX, text);
    *out = (int32_t)cpus;
    return SL_OK;
}

static void defaults_fill(struct options *o, const char *own_path, const char *worker)
{
    if (worker) {
        snprintf(o->worker, sizeof o->worker, "%s", worker);
    } else {
        const char *slash = strrchr(own_path, '/');
        snprintf(o->worker, sizeof o->worker, "%.*s/sluice-worker",
                 slash ? (int)(slash - own_path) : 1, slash ? own_path : ".");
    }
    o->agent.worker = o->worker;
    if (!o->agent.name[0] && gethostname(o->agent.name, sizeof o->agent.name - 1) != 0)
        snprintf(o->agent.name, sizeof o->agent.name, "node");
}

int options_parse(int argc, char **argv, const char *own_path, struct options *out,
                  struct sl_failure *why)
{
    enum { WIRE = 1, SCRATCH, CONFIG, NAME, CPUS, SPOT, WORKER, VERSION, HELP };
    static const struct option known[] = {
        {"wire", required_argument, NULL, WIRE},     {"scratch", required_argument, NULL, SCRATCH},
        {"config", required_argument, NULL, CONFIG}, {"name", required_argument, NULL, NAME},
        {"cpus", required_argument, NULL, CPUS},     {"spot", no_argument, NULL, SPOT},
        {"worker", required_argument, NULL, WORKER}, {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},           {0},
    };
    const char *wire = NULL, *config = NULL, *worker = NULL;
    int32_t cpus = 0;
    bool spot = false;
    int code = SL_OK;
    *out = (struct options){0};
    optind = 0;
    opterr = 0;
    for (int got; !code && (got = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (got) {
        case WIRE:
            wire = optarg;
            break;
        case SCRATCH:
            out->agent.scratch = optarg;
            break;
        case CONFIG:
            config = optarg;
            break;
        case NAME:
            if (!optarg[0] || snprintf(out->agent.name, sizeof out->agent.name, "%s", optarg) >=
                                  (int)sizeof out->agent.name)
                code = sl_fail(why, SL_EINVAL, "--name takes 1 to %d bytes", NODE_NAME_BYTES - 1);
            break;
        case CPUS:
            code = cpus_parse(optarg, &cpus, why);
            break;
        case SPOT:
            spot = true;
            break;
        case WORKER:
            worker = optarg;
            break;
        case VERSION:
            out->version = true;
            break;
        case HELP:
            out->help = true;
            break;
        default:
            code = sl_fail(why, SL_EINVAL, "%s: no such option, or it lacks its value",
                           argv[optind - 1]);
        }
    }
    if (code || out->help || out->version)
        return code;
    if (optind < argc)
        return sl_fail(why, SL_EINVAL, "\"%.80s\": no such argument", argv[optind]);
    if (!wire || !out->agent.scratch)
        return sl_fail(why, SL_EINVAL, "--wire and --scratch are needed");
    code = config_load(out, config, why);
    if (!code)
        code = wires_split(out, wire, why);
    if (code)
        return code;
    if (cpus)
        out->agent.config.cpus = cpus;
    out->agent.config.spot |= spot;
    defaults_fill(out, own_path, worker);
    return SL_OK;
}
