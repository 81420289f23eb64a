/* Tries, from inside the sandbox, what a worker taken over by its source would try. Each attempt is a process of its
 * own, isolated and entered as a worker is; what became of it is printed as a table. The whole runs as the user that
 * runs the tests, and where that is root also as an ordinary user, and as in a container that gives no namespaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/sandbox.h"

#define NOBODY 65534

/* How an attempt may end. REFUSED: an error of EACCES, EPERM, ENOSYS or the like, and the process goes on. */
enum end { KILLED, REFUSED, WORKS };

static char canary[64]; /* a file that must stay as it is */
static pid_t outside;   /* the process that a worker could want to harm: its parent */
static char buffer[4096];

/* ---- attempts: what the call gave, as the kernel says it: negative with errno ---- */

static long read_a_file(void)
{
    return open("/etc/passwd", O_RDONLY);
}
static long write_a_file(void)
{
    return open(canary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}
static long open_by_another_way(void)
{
    return openat(AT_FDCWD, canary, O_RDWR);
}
static long open_its_memory(void)
{
    return open("/proc/self/mem", O_RDWR);
}
static long stat_a_file(void)
{
    struct stat st;
    return stat("/etc/passwd", &st);
}
static long look_at_a_link(void)
{
    return readlink("/proc/self/exe", buffer, sizeof buffer);
}
static long remove_a_file(void)
{
    return unlink(canary);
}
static long rename_a_file(void)
{
    return rename(canary, "/tmp/sluice-sandbox-other");
}
static long make_a_folder(void)
{
    return mkdir("/tmp/sluice-sandbox-folder", 0700);
}
static long change_folder(void)
{
    return chdir("/");
}
static long truncate_a_file(void)
{
    return truncate(canary, 0);
}
static long make_a_memory_file(void)
{
    return memfd_create("x", 0);
}
static long open_by_handle(void)
{
    return syscall(SYS_open_by_handle_at, AT_FDCWD, buffer, O_RDONLY);
}

static long tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}
static long udp_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}
static long unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long netlink_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long pair_of_sockets(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}
static long connect_somewhere(void)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(18999), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(0, (struct sockaddr *)&to, sizeof to);
}
static long bind_somewhere(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/tmp/sluice-sandbox-bind"};
    return bind(0, (struct sockaddr *)&to, sizeof to);
}

static long fork_itself(void)
{
    return syscall(SYS_fork);
}
static long fork_by_clone(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static long vfork_itself(void)
{
    return syscall(SYS_vfork);
}
static long fork_by_clone3(void)
{
    uint64_t arguments[8] = {[4] = SIGCHLD};
    return syscall(SYS_clone3, arguments, sizeof arguments);
}
static long run_a_program(void)
{
    char *const argv[] = {"/bin/true", NULL};
    return execve(argv[0], argv, argv + 1);
}
static long run_a_descriptor(void)
{
    char *const argv[] = {"true", NULL};
    return syscall(SYS_execveat, 0, "", argv, argv + 1, AT_EMPTY_PATH);
}

static long trace_the_parent(void)
{
    return ptrace(PTRACE_ATTACH, outside, 0, 0);
}
static long kill_the_parent(void)
{
    return kill(outside, SIGKILL);
}
static long kill_a_thread_of_the_parent(void)
{
    return syscall(SYS_tgkill, outside, outside, SIGKILL);
}
static long queue_a_signal(void)
{
    return syscall(SYS_rt_sigqueueinfo, outside, SIGKILL, buffer);
}
static long own_a_descriptor_for_the_parent(void)
{
    return fcntl(0, F_SETOWN, outside);
}
static long open_the_parent(void)
{
    return syscall(SYS_pidfd_open, outside, 0);
}
static long read_the_parent(void)
{
    struct iovec mine = {buffer, 16}, theirs = {buffer, 16};
    return process_vm_readv(outside, &mine, 1, &theirs, 1, 0);
}
static long write_the_parent(void)
{
    struct iovec mine = {buffer, 16}, theirs = {buffer, 16};
    return process_vm_writev(outside, &mine, 1, &theirs, 1, 0);
}
static long take_a_descriptor(void)
{
    return syscall(SYS_pidfd_getfd, 0, 0, 0);
}
static long limit_the_parent(void)
{
    struct rlimit none = {0, 0};
    return prlimit(outside, RLIMIT_CPU, &none, NULL);
}

static long mount_something(void)
{
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}
static long change_the_root(void)
{
    return chroot("/");
}
static long new_user(void)
{
    return unshare(CLONE_NEWUSER);
}
static long new_mounts(void)
{
    return unshare(CLONE_NEWNS);
}
static long join_a_namespace(void)
{
    return setns(0, 0);
}
static long become_another_user(void)
{
    return syscall(SYS_setuid, 0);
}
static long take_capabilities(void)
{
    return syscall(SYS_capset, buffer, buffer);
}

static long run_what_it_wrote(void)
{
    return (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
}
static long make_memory_run(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
static long share_memory(void)
{
    return (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}
static long share_memory_by_key(void)
{
    return shmget(IPC_PRIVATE, 4096, 0600);
}
static long a_queue_of_messages(void)
{
    return msgget(IPC_PRIVATE, 0600);
}

static long raise_a_limit(void)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_CPU, &all);
}
static long lower_a_limit(void)
{
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none);
}
static long be_looked_at(void)
{
    return prctl(PR_SET_DUMPABLE, 1);
}
static long load_a_filter(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
}
static long take_over_sigsys(void)
{
    return (long)signal(SIGSYS, SIG_IGN) == -1 ? -1 : 0;
}
static long a_keyring(void)
{
    return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}
static long add_a_key(void)
{
    return syscall(SYS_add_key, "user", "x", "y", 1, 0);
}
static long a_bpf_program(void)
{
    return syscall(SYS_bpf, 0, buffer, 64);
}
static long userfaultfd_open(void)
{
    return syscall(SYS_userfaultfd, 0);
}
static long an_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, buffer);
}
static long perf_open(void)
{
    return syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0);
}
static long an_ioctl(void)
{
    return syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, buffer);
}
static long an_inotify(void)
{
    return syscall(SYS_inotify_init1, 0);
}
static long a_personality(void)
{
    return syscall(SYS_personality, 0x0400000);
}
static long a_module(void)
{
    return syscall(SYS_init_module, buffer, 10, "");
}
static long the_clock(void)
{
    struct timespec t = {1, 0};
    return clock_settime(CLOCK_REALTIME, &t);
}
static long the_name(void)
{
    return sethostname("x", 1);
}
static long reboot_it(void)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL);
}
#ifdef __x86_64__
/* The other doors into a 64-bit kernel. */
static long an_i386_call(void)
{
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20) : "memory"); /* getpid */
    return rc;
}
static long an_x32_call(void)
{
    return syscall(0x40000000 | SYS_getpid);
}
#endif

/* What a worker must still be able to do. */
static void *thread_end(void *arg)
{
    return arg;
}
static long start_a_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_end, NULL) != 0)
        return -1;
    return pthread_join(thread, NULL);
}
static long use_memory(void)
{
    char *bytes = malloc(64 << 20);
    if (!bytes)
        return -1;
    memset(bytes, 1, 64 << 20);
    free(bytes);
    return 0;
}
static long see_its_limits(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_DATA, &limit);
}
static long tell_the_time(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
}
static long look_for_a_terminal(void)
{
    return isatty(0) ? -1 : 0;
}
static long count_cpus(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > 0 ? 0 : -1;
}
static long a_local_time(void)
{
    time_t now = 1700000000;
    struct tm tm;
    return localtime_r(&now, &tm) ? 0 : -1;
}

/* ---- beside, with a driver: its device file is DRIVER_FILE ---- */

#define DRIVER_FILE "/dev/zero"

/* The call passed: what the file itself says to it is another matter. */
static long passed(long got)
{
    return got == -1 && errno != EACCES && errno != EPERM && errno != ENOSYS ? 0 : got;
}
static long open_its_device(void)
{
    return open(DRIVER_FILE, O_RDWR | O_CLOEXEC);
}
static long map_its_device(void)
{
    int fd = open(DRIVER_FILE, O_RDWR | O_CLOEXEC);
    return fd < 0                                                                    ? -1
           : (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == -1 ? -1
                                                                                     : 0;
}
static long map_its_device_to_run(void)
{
    int fd = open(DRIVER_FILE, O_RDWR | O_CLOEXEC);
    return (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
}
static long an_ioctl_of_nvidia(void)
{
    return passed(syscall(SYS_ioctl, 0, 0xc020462a, buffer));
}
static long an_ioctl_of_unified_memory(void)
{
    return passed(syscall(SYS_ioctl, 0, 37, buffer));
}
static long an_ioctl_of_drm(void)
{
    return passed(syscall(SYS_ioctl, 0, 0xc0406400, buffer));
}
static long an_ioctl_of_files(void)
{
    return syscall(SYS_ioctl, 0, 0x40086602 /* FS_IOC_SETFLAGS */, buffer);
}

/* A thread that was there before the sandbox, as drivers have them, and opens what it is told to. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *path;
    int flags;
    int error; /* 0: not yet; -1: it is open */
} old = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *old_thread(void *arg)
{
    pthread_mutex_lock(&old.lock);
    while (!old.path)
        pthread_cond_wait(&old.changed, &old.lock);
    old.error = open(old.path, old.flags) < 0 ? errno : -1;
    pthread_cond_broadcast(&old.changed);
    pthread_mutex_unlock(&old.lock);
    return arg;
}
static long old_thread_opens(const char *path, int flags)
{
    pthread_mutex_lock(&old.lock);
    old.path = path;
    old.flags = flags;
    pthread_cond_broadcast(&old.changed);
    while (!old.error)
        pthread_cond_wait(&old.changed, &old.lock);
    errno = old.error;
    pthread_mutex_unlock(&old.lock);
    return old.error == -1 ? 0 : -1;
}
static long an_old_thread_reads_a_file(void)
{
    return old_thread_opens("/etc/passwd", O_RDONLY);
}
static long an_old_thread_writes_a_file(void)
{
    return old_thread_opens(canary, O_RDWR);
}
static long an_old_thread_opens_the_device(void)
{
    return old_thread_opens(DRIVER_FILE, O_RDWR);
}

struct attempt {
    const char *what;
    enum end end;
    long (*fn)(void);
};

static const struct attempt attempts[] = {
    {"open a file to read", REFUSED, read_a_file},
    {"open a file to write", KILLED, write_a_file},
    {"openat a file read-write", KILLED, open_by_another_way},
    {"open /proc/self/mem", KILLED, open_its_memory},
    {"open by handle", KILLED, open_by_handle},
    {"stat a file", REFUSED, stat_a_file},
    {"readlink", REFUSED, look_at_a_link},
    {"unlink", KILLED, remove_a_file},
    {"rename", KILLED, rename_a_file},
    {"mkdir", KILLED, make_a_folder},
    {"chdir", KILLED, change_folder},
    {"truncate", KILLED, truncate_a_file},
    {"memfd_create", KILLED, make_a_memory_file},
    {"socket: TCP", KILLED, tcp_socket},
    {"socket: UDP", KILLED, udp_socket},
    {"socket: unix", KILLED, unix_socket},
    {"socket: netlink", KILLED, netlink_socket},
    {"socketpair", KILLED, pair_of_sockets},
    {"connect", KILLED, connect_somewhere},
    {"bind", KILLED, bind_somewhere},
    {"fork", KILLED, fork_itself},
    {"fork by clone", KILLED, fork_by_clone},
    {"fork by clone3", REFUSED, fork_by_clone3},
    {"vfork", KILLED, vfork_itself},
    {"execve", KILLED, run_a_program},
    {"execveat", KILLED, run_a_descriptor},
    {"ptrace the parent", KILLED, trace_the_parent},
    {"kill the parent", KILLED, kill_the_parent},
    {"tgkill the parent", KILLED, kill_a_thread_of_the_parent},
    {"sigqueue to the parent", KILLED, queue_a_signal},
    {"F_SETOWN to the parent", KILLED, own_a_descriptor_for_the_parent},
    {"pidfd_open the parent", KILLED, open_the_parent},
    {"pidfd_getfd", KILLED, take_a_descriptor},
    {"process_vm_readv", KILLED, read_the_parent},
    {"process_vm_writev", KILLED, write_the_parent},
    {"prlimit the parent", KILLED, limit_the_parent},
    {"mount", KILLED, mount_something},
    {"chroot", KILLED, change_the_root},
    {"unshare: user", KILLED, new_user},
    {"unshare: mounts", KILLED, new_mounts},
    {"setns", KILLED, join_a_namespace},
    {"setuid", KILLED, become_another_user},
    {"capset", KILLED, take_capabilities},
    {"mmap writable and executable", KILLED, run_what_it_wrote},
    {"mprotect executable", KILLED, make_memory_run},
    {"mmap shared", KILLED, share_memory},
    {"shmget", KILLED, share_memory_by_key},
    {"msgget", KILLED, a_queue_of_messages},
    {"raise a limit", KILLED, raise_a_limit},
    {"set a limit at all", KILLED, lower_a_limit},
    {"prctl: dumpable", KILLED, be_looked_at},
    {"prctl: seccomp", KILLED, load_a_filter},
    {"ignore SIGSYS", KILLED, take_over_sigsys},
    {"keyctl", KILLED, a_keyring},
    {"add_key", KILLED, add_a_key},
    {"bpf", KILLED, a_bpf_program},
    {"userfaultfd", KILLED, userfaultfd_open},
    {"io_uring_setup", KILLED, an_io_uring},
    {"perf_event_open", KILLED, perf_open},
    {"ioctl TIOCSTI", KILLED, an_ioctl},
    {"inotify", KILLED, an_inotify},
    {"personality", KILLED, a_personality},
    {"init_module", KILLED, a_module},
    {"clock_settime", KILLED, the_clock},
    {"sethostname", KILLED, the_name},
    {"reboot", KILLED, reboot_it},
#ifdef __x86_64__
    {"a call by the i386 door", KILLED, an_i386_call},
    {"a call by the x32 door", KILLED, an_x32_call},
#endif
    {"start a thread", WORKS, start_a_thread},
    {"use 64 MiB", WORKS, use_memory},
    {"see a limit", WORKS, see_its_limits},
    {"tell its CPU time", WORKS, tell_the_time},
    {"ask whether stdin is a terminal", WORKS, look_for_a_terminal},
    {"count the CPUs", WORKS, count_cpus},
    {"a local time", WORKS, a_local_time},
};
#define ATTEMPT_COUNT (sizeof attempts / sizeof attempts[0])

/* What a driver makes of some of them. */
static const struct {
    const char *what;
    enum end nvenc, vaapi;
} differing[] = {
    {"open a file to write", REFUSED, REFUSED},
    {"openat a file read-write", REFUSED, REFUSED},
    {"open /proc/self/mem", REFUSED, REFUSED},
    {"stat a file", WORKS, WORKS},
    {"mmap shared", WORKS, KILLED},
};

/* And what it has beside; landlock: where the kernel offers none, it opens nothing. */
static const struct driver_attempt {
    const char *what;
    enum end nvenc, vaapi;
    bool landlock;
    long (*fn)(void);
} driver_attempts[] = {
    {"open its device again", WORKS, WORKS, true, open_its_device},
    {"share memory with its device", WORKS, WORKS, true, map_its_device},
    {"run memory of its device", KILLED, KILLED, false, map_its_device_to_run},
    {"an ioctl of NVIDIA's", WORKS, KILLED, false, an_ioctl_of_nvidia},
    {"an ioctl of unified memory", WORKS, KILLED, false, an_ioctl_of_unified_memory},
    {"an ioctl of DRM", KILLED, WORKS, false, an_ioctl_of_drm},
    {"an ioctl of file systems", KILLED, KILLED, false, an_ioctl_of_files},
    {"an older thread opens the device", WORKS, WORKS, true, an_old_thread_opens_the_device},
    {"an older thread reads a file", REFUSED, REFUSED, false, an_old_thread_reads_a_file},
    {"an older thread writes a file", REFUSED, REFUSED, false, an_old_thread_writes_a_file},
};
#define DRIVER_ATTEMPT_COUNT (sizeof driver_attempts / sizeof driver_attempts[0])

/* ---- surroundings ---- */

/* As the default profile of common container engines: no new namespaces, no Landlock. */
static void as_in_a_container(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 444 /* landlock_create_ruleset */, 2, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(100);
}

static void as_an_ordinary_user(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0)
        _exit(101);
}

struct surroundings {
    const char *name;
    bool ordinary, container;
    enum device_kind driver; /* DEVICE_CPU: none */
};

/* What the child tells of itself before it tries. */
struct word {
    struct sandbox sandbox;
    int number; /* the call that the sandbox stopped */
};

static int word_fd;

static void violated(void *arg, int number)
{
    struct word *w = arg;
    w->number = number;
    (void)!write(word_fd, w, sizeof *w);
}

static _Noreturn void child(const struct surroundings *s, long (*fn)(void), int fd)
{
    static struct word told;
    struct sl_failure why = {0};
    word_fd = fd;
    if (s->ordinary)
        as_an_ordinary_user();
    if (s->container)
        as_in_a_container();
    struct sandbox_driver driver = {.kind = s->driver, .count = 1, .paths = {DRIVER_FILE}};
    bool has_driver = s->driver != DEVICE_CPU;
    pthread_t thread;
    if (has_driver)
        sandbox_isolate_driver(&told.sandbox);
    else
        sandbox_isolate(&told.sandbox);
    if (has_driver && pthread_create(&thread, NULL, old_thread, NULL) != 0)
        _exit(103);
    tzset(); /* as a worker's first log line does */
    sandbox_on_violation(violated, &told);
    if (sandbox_enter(&told.sandbox, has_driver ? &driver : NULL, &why) != SL_OK) {
        fprintf(stderr, "%s\n", why.message);
        _exit(102);
    }
    (void)!write(word_fd, &told, sizeof told);
    errno = 0;
    long got = fn();
    _exit(got == -1 || got < -4096 ? (errno < 90 ? errno : 90) : got < 0 ? 91 : 0);
}

/* Sets what was told and how it ended: an exit status, or the negative signal. */
static int attempt_run(const struct surroundings *s, long (*fn)(void), struct word *told)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(s, fn, pipes[1]);
    close(pipes[1]);
    *told = (struct word){.number = -1};
    struct word next;
    while (read(pipes[0], &next, sizeof next) == sizeof next)
        *told = next;
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static enum end end_expected(const struct surroundings *s, const struct attempt *a)
{
    for (size_t i = 0; i < sizeof differing / sizeof differing[0]; i++)
        if (s->driver != DEVICE_CPU && strcmp(differing[i].what, a->what) == 0)
            return s->driver == DEVICE_NVENC ? differing[i].nvenc : differing[i].vaapi;
    return a->end;
}

static bool attempt_ends(const struct surroundings *s, const char *what, long (*fn)(void),
                         enum end expected)
{
    struct word told;
    int ended = attempt_run(s, fn, &told);
    enum end end = ended == -SIGSYS ? KILLED : ended == 0 ? WORKS : REFUSED;
    bool well =
        end == expected && (end != REFUSED || ended == EACCES || ended == EPERM || ended == ENOSYS);
    char how[64];
    if (ended == -SIGSYS && told.number > 0)
        snprintf(how, sizeof how, "killed, system call %d", told.number);
    else if (ended < 0)
        snprintf(how, sizeof how, "killed, %s", strsignal(-ended));
    else
        snprintf(how, sizeof how, "%s", ended ? strerror(ended) : "works");
    print_message("  %-32s %s%s\n", what, how, well ? "" : "   <-- WRONG");
    return well;
}

static void table(const struct surroundings *s)
{
    struct word told;
    char described[256];
    size_t wrong = 0;
    int ended = attempt_run(s, tell_the_time, &told);
    if (ended != 0)
        fail_msg("the sandbox cannot be entered: %d", ended);
    sandbox_describe(&told.sandbox, described, sizeof described);
    print_message("%s: %s\n", s->name, described);
    if (s->container)
        assert_false(sandbox_is_whole(&told.sandbox));
    for (size_t i = 0; i < ATTEMPT_COUNT; i++)
        wrong += !attempt_ends(s, attempts[i].what, attempts[i].fn, end_expected(s, &attempts[i]));
    for (size_t i = 0; i < DRIVER_ATTEMPT_COUNT && s->driver != DEVICE_CPU; i++) {
        const struct driver_attempt *a = &driver_attempts[i];
        enum end end = s->driver == DEVICE_NVENC ? a->nvenc : a->vaapi;
        if (a->landlock && s->container)
            end = REFUSED;
        wrong += !attempt_ends(s, a->what, a->fn, end);
    }
    struct stat st;
    assert_int_equal(stat(canary, &st), 0);
    assert_int_equal(st.st_size, 6);
    assert_int_not_equal(access("/tmp/sluice-sandbox-folder", F_OK), 0);
    if (wrong)
        fail_msg("%zu attempts ended otherwise than they should", wrong);
}

static void canary_make(void)
{
    snprintf(canary, sizeof canary, "/tmp/sluice-sandbox-canary-%ld", (long)getpid());
    unlink(canary);
    int fd = open(canary, O_WRONLY | O_CREAT | O_EXCL, 0666);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0666), 0);
    assert_int_equal(write(fd, "canary", 6), 6);
    close(fd);
    outside = getpid();
}

static void sandbox_or_skip(void)
{
    if (!SANDBOX_BUILT) {
        print_message("no sandbox in builds with a sanitizer\n");
        skip();
    }
}

static void test_what_is_forbidden_is_stopped_for_this_user(void **state)
{
    (void)state;
    sandbox_or_skip();
    canary_make();
    table(&(struct surroundings){.name = geteuid() == 0 ? "as root" : "as this user"});
}

static void test_what_is_forbidden_is_stopped_for_an_ordinary_user(void **state)
{
    (void)state;
    sandbox_or_skip();
    if (geteuid() != 0) {
        print_message("not root: the test before ran as an ordinary user\n");
        skip();
    }
    canary_make();
    table(&(struct surroundings){.name = "as nobody", .ordinary = true});
}

static void test_what_is_forbidden_is_stopped_without_namespaces_and_landlock(void **state)
{
    (void)state;
    sandbox_or_skip();
    canary_make();
    table(&(struct surroundings){.name = "without namespaces and Landlock", .container = true});
    if (geteuid() == 0)
        table(&(struct surroundings){.name = "as nobody without namespaces and Landlock",
                                     .ordinary = true,
                                     .container = true});
}

static void test_a_driver_gets_its_device_files_and_nothing_more(void **state)
{
    (void)state;
    sandbox_or_skip();
    canary_make();
    table(&(struct surroundings){.name = "with NVIDIA's driver", .driver = DEVICE_NVENC});
    table(&(struct surroundings){.name = "with a VA driver", .driver = DEVICE_VAAPI});
    table(&(struct surroundings){.name = "with NVIDIA's driver, without namespaces and Landlock",
                                 .container = true,
                                 .driver = DEVICE_NVENC});
    if (geteuid() == 0)
        table(&(struct surroundings){
            .name = "with a VA driver, as nobody", .ordinary = true, .driver = DEVICE_VAAPI});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_forbidden_is_stopped_for_this_user),
        cmocka_unit_test(test_what_is_forbidden_is_stopped_for_an_ordinary_user),
        cmocka_unit_test(test_what_is_forbidden_is_stopped_without_namespaces_and_landlock),
        cmocka_unit_test(test_a_driver_gets_its_device_files_and_nothing_more),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(canary);
    return failed;
}
