/* agent/options.h: the command line of sluice-agent. Threads: one. */
#ifndef SL_AGENT_OPTIONS_H
#define SL_AGENT_OPTIONS_H

#include <stdbool.h>

#include "agent/agent.h"

struct options {
    struct agent_options agent;
    bool help, version;
    char wires[CONFIG_URL_BYTES * 2]; /* what agent.wires points into */
    char worker[4096];
};

/* Reads the configuration file as well; its mistakes are printed to standard error. SL_EINVAL with a sentence
 * for a wrong command line. own_path: this program's file. */
int options_parse(int argc, char **argv, const char *own_path, struct options *out,
                  struct sl_failure *why);

extern const char options_usage[];

#endif
