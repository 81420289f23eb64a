#include "agent/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "wire/wire_control.h"

#define SEND_TIMEOUT_S 10
/* Descriptors below this may be the targets of a worker's own, so none of ours is among them. */
#define OWN_FD_MIN     10

/* What a worker is told of our environment. */
static const char *const passed_on[] = {
    "PATH",         "TZ",           "SLUICE_LOG",   "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};
#define PASSED_ON_COUNT (sizeof passed_on / sizeof passed_on[0])

struct environment {
    char texts[PASSED_ON_COUNT][4096];
    char *pointers[PASSED_ON_COUNT + 2];
};

static void environment_fill(struct environment *e)
{
    static char language[] = "LC_ALL=C.UTF-8";
    size_t count = 0;
    for (size_t i = 0; i < PASSED_ON_COUNT; i++) {
        const char *value = getenv(passed_on[i]);
        if (value && snprintf(e->texts[count], sizeof e->texts[0], "%s=%s", passed_on[i], value) <
                         (int)sizeof e->texts[0]) {
            e->pointers[count] = e->texts[count];
            count++;
        }
    }
    e->pointers[count++] = language;
    e->pointers[count] = NULL;
}

static int spawn(const char *program, const char *argument, int socket, pid_t *out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    struct environment *environment = malloc(sizeof *environment);
    if (!environment)
        return ENOMEM;
    environment_fill(environment);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, socket, CONTROL_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, CONTROL_FD + 1);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    char *const arguments[] = {(char *)program, (char *)argument, NULL};
    int error = posix_spawn(out, program, &files, &attributes, arguments, environment->pointers);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    free(environment);
    return error;
}

int worker_process_start(const char *program, const char *argument, struct worker_process *out,
                         struct sl_failure *why)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sl_fail(why, SL_EWORKER, "cannot start a worker: %s", strerror(errno));
    int socket = fcntl(pair[1], F_DUPFD_CLOEXEC, OWN_FD_MIN);
    close(pair[1]);
    if (socket < 0) {
        close(pair[0]);
        return sl_fail(why, SL_EWORKER, "cannot start a worker: %s", strerror(errno));
    }
    pid_t pid = 0;
    int error = spawn(program, argument, socket, &pid);
    close(socket);
    if (error) {
        close(pair[0]);
        return sl_fail(why, SL_EWORKER, "cannot start %s: %s", program, strerror(error));
    }
    /* A worker that hangs before it reads must not hold a thread of ours in a send. */
    struct timeval limit = {.tv_sec = SEND_TIMEOUT_S};
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    *out = (struct worker_process){.pid = pid, .socket = pair[0]};
    return SL_OK;
}

int worker_process_ready(struct worker_process *worker, struct sl_failure *why)
{
    struct control_frame frame = {0};
    int code = control_receive(worker->socket, &frame, WORKER_START_NS);
    for (int i = 0; i < frame.fd_count && !code; i++)
        close(frame.fds[i]);
    if (!code && frame.kind != CONTROL_READY)
        code = SL_EPROTO;
    control_frame_fini(&frame);
    return code ? sl_fail(why, code, "a new worker did not get ready: %s", sl_error_text(code))
                : SL_OK;
}

static int64_t cpu_now_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return (int64_t)spent.tv_sec * SL_NS_PER_S + spent.tv_nsec;
}

void worker_process_mark(struct worker_process *worker)
{
    worker->cpu_before_ns = cpu_now_ns(worker->pid);
}

static void limit_set(pid_t pid, __rlimit_resource_t what, int64_t soft, int64_t hard)
{
    struct rlimit limit = {(rlim_t)soft, (rlim_t)hard};
    if (prlimit(pid, what, &limit, NULL) < 0 && errno != ESRCH)
        sl_warn(NULL, "limit %d of worker %ld cannot be set: %s", (int)what, (long)pid,
                strerror(errno));
}

void worker_process_limit(const struct worker_process *worker, const struct limits *limits,
                          int64_t memory_bytes, int64_t cpu_ns)
{
    int64_t cpu_s = (worker->cpu_before_ns + cpu_ns) / SL_NS_PER_S + 1;
    /* Writable private memory: what a worker can have, for its sandbox lets it map no other. RLIMIT_AS would count the
     * libraries and what is only reserved. Sanitizers keep their books in such memory. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    limit_set(worker->pid, RLIMIT_DATA, memory_bytes, memory_bytes);
#else
    (void)memory_bytes;
#endif
    limit_set(worker->pid, RLIMIT_CPU, cpu_s, cpu_s + 5);
    limit_set(worker->pid, RLIMIT_FSIZE, limits->output_file, limits->output_file);
    limit_set(worker->pid, RLIMIT_NOFILE, limits->descriptors, limits->descriptors);
}

void worker_process_kill(const struct worker_process *worker)
{
    /* The group is the worker's own since before its program ran; the pid is ours until it is reaped. */
    kill(-worker->pid, SIGKILL);
    kill(worker->pid, SIGKILL);
}

static int64_t timeval_ns(struct timeval t)
{
    return (int64_t)t.tv_sec * SL_NS_PER_S + (int64_t)t.tv_usec * 1000;
}

/* Waits until it has ended, not longer than patience_ns. */
static bool exit_wait(pid_t pid, int64_t patience_ns)
{
    if (patience_ns <= 0)
        return false;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return false;
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    int n;
    do
        n = poll(&waiting, 1, (int)SL_NS_TO_MS(patience_ns));
    while (n < 0 && errno == EINTR);
    close(fd);
    return n > 0;
}

void worker_process_reap(struct worker_process *worker, int64_t patience_ns,
                         struct worker_costs *out)
{
    if (!exit_wait(worker->pid, patience_ns))
        worker_process_kill(worker);
    struct rusage usage = {0};
    int status = 0;
    while (wait4(worker->pid, &status, 0, &usage) < 0 && errno == EINTR)
        continue;
    close(worker->socket);
    worker->socket = -1;
    if (!out)
        return;
    int64_t cpu_ns =
        timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime) - worker->cpu_before_ns;
    *out = (struct worker_costs){
        .cpu_ns = cpu_ns > 0 ? cpu_ns : 0,
        .memory_max_bytes = (int64_t)usage.ru_maxrss * 1024,
        .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
    };
}

int worker_process_explain(const struct worker_costs *costs, struct sl_failure *out)
{
    const char *name = costs->signal ? sigabbrev_np(costs->signal) : NULL;
    if (costs->signal == SIGKILL)
        return sl_fail(out, SL_ECRASH,
                       "worker killed by signal 9 (SIGKILL): by the memory limit or by a person; "
                       "it had used %lld MiB",
                       (long long)(costs->memory_max_bytes >> 20));
    if (costs->signal == SIGXCPU)
        return sl_fail(out, SL_ETOOBIG,
                       "the source took more than the %lld s of CPU time that it may have "
                       "(limits.probe_time for a probe, else limits.cpu)",
                       (long long)(costs->cpu_ns / SL_NS_PER_S));
    if (costs->signal == SIGSYS)
        return sl_fail(out, SL_ECRASH,
                       "worker killed by the sandbox (SIGSYS): it tried a system call that no "
                       "worker may make");
    if (costs->signal)
        return sl_fail(out, SL_ECRASH, "worker killed by signal %d (SIG%s)", costs->signal,
                       name ? name : "?");
    return sl_fail(out, SL_EWORKER, "worker ended with exit status %d and without a report",
                   costs->exit_code);
}

int worker_process_probe(const char *program, struct device_row *rows, int32_t max, int32_t *count,
                         struct sl_failure *why)
{
    struct worker_process worker;
    int code = worker_process_start(program, "--probe-devices", &worker, why);
    if (code)
        return code;
    struct control_frame frame = {0};
    code = control_receive(worker.socket, &frame, WORKER_START_NS);
    bool answered = code == SL_OK;
    for (int i = 0; i < frame.fd_count && answered; i++)
        close(frame.fds[i]);
    if (answered)
        code = control_devices_parse(&frame, rows, max, count);
    control_frame_fini(&frame);
    struct worker_costs costs;
    worker_process_reap(&worker, code == SL_ETIMEDOUT ? 0 : WORKER_EXIT_NS, &costs);
    if (code == SL_ETIMEDOUT)
        return sl_fail(why, SL_EHANG, "%s --probe-devices did not answer within %d s", program,
                       (int)(WORKER_START_NS / SL_NS_PER_S));
    if (!answered) {
        struct sl_failure end;
        worker_process_explain(&costs, &end);
        return sl_fail(why, end.code, "probing the devices failed: %.200s", end.message);
    }
    return code ? sl_fail(why, code,
                          "%s --probe-devices sent an unreadable list; install the same "
                          "release of agent and worker",
                          program)
                : SL_OK;
}
