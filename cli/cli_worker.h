/* cli/cli_worker.h: sluice-worker started by hand, for what this machine's devices are and how fast they are.
 *
 * Owns:     a started worker until cli_worker_end.
 * Errors:   exit codes of the command line, said by cli_fail.
 * Blocking: until a line, the end or the deadline.
 */
#ifndef SL_CLI_CLI_WORKER_H
#define SL_CLI_CLI_WORKER_H

#include <sys/types.h>

#include "base/buf.h"
#include "cli/cli.h"

#define CLI_WORKER_ARGS_MAX 8

struct cli_worker {
    pid_t pid;
    int fd; /* its standard output */
    struct sl_buf bytes;
    size_t taken;
};

/* args: what comes after the program's name, ended by NULL. */
int cli_worker_start(struct cli *cli, const char *const *args, struct cli_worker *out);
/* 1: a line without its end, valid until the next; 0: there are no more; SL_ETIMEDOUT, SL_EIO, SL_ELIMIT. */
int cli_worker_line(struct cli_worker *worker, int64_t patience_ns, const char **line);
/* Kills it where it has not ended by itself (kill), and returns its wait status. */
int cli_worker_end(struct cli_worker *worker, bool kill);

/* The document of --probe-devices, the caller's to decref. */
int cli_worker_devices(struct cli *cli, json_t **out);

#endif
