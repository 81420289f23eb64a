#include "cli/cli_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"

#define OUTPUT_BYTES_MAX (1024 * 1024)
#define PROBE_NS         SL_S_TO_NS(30)

int cli_worker_start(struct cli *cli, const char *const *args, struct cli_worker *out)
{
    char program[4096];
    char *argv[CLI_WORKER_ARGS_MAX + 2] = {program};
    int ends[2];
    if (cli_sibling_path("sluice-worker", program, sizeof program) != SL_OK)
        return cli_fail(cli, CLI_NOT_FOUND, "not_found",
                        "there is no sluice-worker beside this program: install all four programs "
                        "in one folder");
    for (int i = 0; i < CLI_WORKER_ARGS_MAX && args[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)args[i];
    pid_t pid = -1;
    if (pipe2(ends, O_CLOEXEC) == 0 && (pid = fork()) == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execv(program, argv);
        _exit(127);
    }
    if (pid < 0)
        return cli_fail(cli, CLI_FAILED, "limit", "cannot start sluice-worker: %s",
                        strerror(errno));
    close(ends[1]);
    *out = (struct cli_worker){.pid = pid, .fd = ends[0]};
    return CLI_OK;
}

/* More of its output: 1, 0 at the end, SL_E*. */
static int more_read(struct cli_worker *worker, int64_t end_ns)
{
    for (;;) {
        struct pollfd wait = {.fd = worker->fd, .events = POLLIN};
        int64_t left_ns = end_ns - sl_now_ns();
        if (left_ns <= 0 || poll(&wait, 1, (int)SL_NS_TO_MS(left_ns) + 1) == 0)
            return SL_ETIMEDOUT;
        char bytes[4096];
        ssize_t got = read(worker->fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? 0 : SL_EIO;
        if (worker->bytes.length + (size_t)got > OUTPUT_BYTES_MAX)
            return SL_ELIMIT;
        sl_buf_append(&worker->bytes, bytes, (size_t)got);
        return worker->bytes.failed ? SL_ENOMEM : 1;
    }
}

int cli_worker_line(struct cli_worker *worker, int64_t patience_ns, const char **line)
{
    int64_t end_ns = sl_now_ns() + patience_ns;
    for (;;) {
        char *from = (char *)worker->bytes.data + worker->taken;
        size_t left = worker->bytes.length - worker->taken;
        char *end = left ? memchr(from, '\n', left) : NULL;
        if (end) {
            *end = '\0';
            worker->taken += (size_t)(end - from) + 1;
            *line = from;
            return 1;
        }
        int got = more_read(worker, end_ns);
        if (got <= 0)
            return got;
    }
}

int cli_worker_end(struct cli_worker *worker, bool kill_it)
{
    int status = 0;
    if (kill_it)
        kill(worker->pid, SIGKILL);
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(worker->fd);
    sl_buf_fini(&worker->bytes);
    return status;
}

int cli_worker_devices(struct cli *cli, json_t **out)
{
    static const char *const args[] = {"--probe-devices", NULL};
    struct cli_worker worker;
    int code = cli_worker_start(cli, args, &worker);
    if (code != CLI_OK)
        return code;
    int64_t end_ns = sl_now_ns() + PROBE_NS;
    int got;
    while ((got = more_read(&worker, end_ns)) > 0)
        continue;
    json_t *document = worker.bytes.length ? json_loadb((const char *)worker.bytes.data,
                                                        worker.bytes.length, 0, NULL)
                                           : NULL;
    int status = cli_worker_end(&worker, got != 0);
    if (got == SL_ETIMEDOUT)
        code = cli_fail(cli, CLI_FAILED, "hang",
                        "sluice-worker --probe-devices did not end within 30 s: a driver hangs");
    else if (got == 0 && WIFSIGNALED(status))
        code = cli_fail(cli, CLI_FAILED, "worker_crashed",
                        "sluice-worker --probe-devices was killed by signal %d (%s): a driver "
                        "crashes when it is asked",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (got != 0 || status != 0 || !json_is_array(json_object_get(document, "devices")))
        code = cli_fail(cli, CLI_FAILED, "worker_failed",
                        "sluice-worker --probe-devices gave no list of devices; its own message is "
                        "above");
    if (code == CLI_OK)
        *out = document;
    else
        json_decref(document);
    return code;
}
