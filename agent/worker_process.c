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
/* What a GPU's driver takes for itself beside a job. */
#define DRIVER_BYTES   (INT64_C(1) << 30)
#define DRIVER_FILES   128
/* Descriptors below this may be the targets of a worker's own, so none of ours is among them. */
#define OWN_FD_MIN     10

/* What a worker is told of our environment: words, and beginnings of words. */
static const char *const passed_on[] = {
    "PATH", "TZ", "SLUICE_LOG", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"};
static const char *const passed_on_all[] = {"CUDA_", "NVIDIA_", "LIBVA_", "SLUICE_STANDIN_"};

#define PASSED_ON_MAX 64

static bool is_passed_on(const char *entry)
{
    size_t length = strcspn(entry, "=");
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        if (strlen(passed_on[i]) == length && memcmp(entry, passed_on[i], length) == 0)
            return true;
    for (size_t i = 0; i < sizeof passed_on_all / sizeof passed_on_all[0]; i++)
        if (strncmp(entry, passed_on_all[i], strlen(passed_on_all[i])) == 0)
            return true;
    return false;
}

/* Pointers into our own environment, which nothing changes. */
static void environment_fill(char *out[PASSED_ON_MAX + 2])
{
    static char language[] = "LC_ALL=C.UTF-8";
    int count = 0;
    for (char **entry = environ; *entry && count < PASSED_ON_MAX; entry++)
        if (is_passed_on(*entry))
            out[count++] = *entry;
    out[count++] = language;
    out[count] = NULL;
}

static int spawn(const char *program, const char *const *arguments, int socket, pid_t *out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    char *environment[PASSED_ON_MAX + 2];
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
    char *argv[WORKER_ARGUMENTS_MAX + 2] = {(char *)program};
    for (int i = 0; arguments && arguments[i] && i < WORKER_ARGUMENTS_MAX; i++)
        argv[i + 1] = (char *)arguments[i];
    int error = posix_spawn(out, program, &files, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

int worker_process_start(const char *program, const char *const *arguments,
                         struct worker_process *out, struct sl_failure *why)
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
    int error = spawn(program, arguments, socket, &pid);
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

int worker_process_ready(struct worker_process *worker, int64_t patience_ns, struct sl_failure *why)
{
    struct control_frame frame = {0};
    int code = control_receive(worker->socket, &frame, patience_ns);
    for (int i = 0; i < frame.fd_count && !code; i++)
        close(frame.fds[i]);
    bool told = !code && frame.kind == CONTROL_FAILED && control_failed_parse(&frame, why) == SL_OK;
    if (!code && frame.kind != CONTROL_READY)
        code = SL_EPROTO;
    control_frame_fini(&frame);
    return told   ? why->code
           : code ? sl_fail(why, code, "a new worker did not get ready: %s", sl_error_text(code))
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

/* The sandbox lets nobody change a limit from inside, so the soft one holds. A hard one could not be raised again for the
 * next lease of a process. */
static void limit_set(const struct worker_process *worker, __rlimit_resource_t what, int64_t soft,
                      int64_t hard)
{
    pid_t pid = worker->pid;
    struct rlimit limit = {(rlim_t)soft, (rlim_t)hard};
    struct rlimit now;
    if (worker->serves_more && prlimit(pid, what, NULL, &now) == 0) {
        limit.rlim_max = now.rlim_max;
        if (limit.rlim_cur > limit.rlim_max)
            limit.rlim_cur = limit.rlim_max;
    }
    if (prlimit(pid, what, &limit, NULL) < 0 && errno != ESRCH)
        sl_warn(NULL, "limit %d of worker %ld cannot be set: %s", (int)what, (long)pid,
                strerror(errno));
}

void worker_process_limit(const struct worker_process *worker, const struct limits *limits,
                          int64_t memory_bytes, int64_t cpu_ns)
{
    int64_t cpu_s = (worker->cpu_before_ns + cpu_ns) / SL_NS_PER_S + 1;
    if (worker->serves_more)
        memory_bytes += DRIVER_BYTES;
        /* Writable private memory: what a worker can have, for its sandbox lets it map no other. RLIMIT_AS would count the
     * libraries and what is only reserved. Sanitizers keep their books in such memory. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    limit_set(worker, RLIMIT_DATA, memory_bytes, memory_bytes);
#else
    (void)memory_bytes;
#endif
    limit_set(worker, RLIMIT_CPU, cpu_s, cpu_s + 5);
    limit_set(worker, RLIMIT_FSIZE, limits->output_file, limits->output_file);
    int64_t files = limits->descriptors + (worker->serves_more ? DRIVER_FILES : 0);
    limit_set(worker, RLIMIT_NOFILE, files, files);
}

void worker_process_kill(const struct worker_process *worker)
{
    /* The group is the worker's own since before its program ran; the pid is ours until it is reaped. */
    kill(-worker->pid, SIGKILL);
    kill(worker->pid, SIGKILL);
}

int worker_process_wait(const struct worker_process *worker, int64_t patience_ns)
{
    /* Its end of the socket closes with it. */
    struct pollfd ended = {.fd = worker->socket, .events = POLLIN};
    int ready = poll(&ended, 1, (int)SL_NS_TO_MS(patience_ns));
    return ready > 0 ? SL_OK : SL_ETIMEDOUT;
}

/* The most memory that it ever had; anybody may read that. */
static int64_t memory_max(pid_t pid)
{
    char path[64], line[128];
    long long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib * 1024;
}

void worker_process_costs(const struct worker_process *worker, struct worker_costs *out)
{
    int64_t cpu_ns = cpu_now_ns(worker->pid) - worker->cpu_before_ns;
    *out = (struct worker_costs){.cpu_ns = cpu_ns > 0 ? cpu_ns : 0,
                                 .memory_max_bytes = memory_max(worker->pid)};
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
    static const char *const arguments[] = {"--probe-devices", NULL};
    int code = worker_process_start(program, arguments, &worker, why);
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
