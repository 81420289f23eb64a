#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/landlock.h"

/* ---- namespaces ---- */

static void capabilities_drop(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    syscall(SYS_capset, &head, none); /* always allowed: it only gives up */
}

void sandbox_isolate(struct sandbox *out)
{
    *out = (struct sandbox){0};
    if (!SANDBOX_BUILT)
        return;
    /* Nothing is mapped into the user namespace: whoever we are outside, we are nobody inside. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0)
        return;
    out->user_error = errno;
    /* Where user namespaces are switched off root can still have the other. */
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
        out->net_error = errno;
}

void sandbox_isolate_driver(struct sandbox *out)
{
    sandbox_isolate(out);
    if (!SANDBOX_BUILT)
        return;
    /* For the driver's own threads, which nothing reaches later. */
    capabilities_drop();
    out->driver_error =
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? errno : sandbox_driver_landlock();
}

/* ---- the filter ---- */

/* Calls whose arguments are of no concern. Names that this architecture or this libseccomp lacks are left out. */
static const char *const allowed[] = {
    /* memory; mmap and mprotect have rules of their own */
    "munmap", "mremap", "brk", "madvise",
    /* the descriptors it was given */
    "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "lseek",
    "_llseek", "fstat", "close", "recvmsg", "sendmsg", "poll", "ppoll", "ppoll_time64",
    /* threads; clone has a rule of its own */
    "futex", "futex_time64", "set_robust_list", "rseq", "exit", "exit_group", "gettid", "getpid",
    "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "membarrier",
    "sched_get_priority_max", "sched_get_priority_min", "set_tid_address",
    /* signals that it handles itself */
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    /* time, and questions about itself */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64",
    "nanosleep", "gettimeofday", "time", "times", "getrusage", "sysinfo", "uname", "getrandom",
    "getuid", "geteuid", "getgid", "getegid", "getppid"};

/* Answered with EACCES: looking around and asking for precedence (SVT-AV1 2 does, where it is root), which libraries do and
 * go on without. */
static const char *const refused[] = {"newfstatat",
                                      "fstatat64",
                                      "stat",
                                      "lstat",
                                      "statx",
                                      "access",
                                      "faccessat",
                                      "faccessat2",
                                      "readlink",
                                      "readlinkat",
                                      "getcwd",
                                      "set_mempolicy",
                                      "mbind",
                                      "sched_setaffinity",
                                      "getpriority",
                                      "setpriority",
                                      "sched_setscheduler",
                                      "sched_setparam"};

/* Answered with ENOSYS, so that the C library takes the older call, whose arguments the filter can see, and libnuma, on
 * which x265 builds, takes this for a machine without nodes of memory. */
static const char *const unknown[] = {"clone3", "openat2",          "futex_waitv",
                                      "mseal",  "map_shadow_stack", "get_mempolicy"};

/* What pthread_create asks of clone, and nothing more. */
#define THREAD_FLAGS                                                                               \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |            \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define SAME(n, value)       SCMP_CMP(n, SCMP_CMP_EQ, (uint64_t)(value))
#define BITS(n, mask, value) SCMP_CMP(n, SCMP_CMP_MASKED_EQ, (uint64_t)(mask), (uint64_t)(value))
/* Upper halves of int arguments are not defined. */
#define SAME_INT(n, value)   BITS(n, 0xffffffffu, (uint32_t)(value))

/* ---- what a driver with device files is allowed beside ---- */

/* Events, pages that the device reads by itself, and looking at what Landlock lets it open. */
static const char *const driver_allowed[] = {"eventfd2",  "dup",   "mlock", "mlock2", "munlock",
                                             "mincore",   "msync", "stat",  "lstat",  "newfstatat",
                                             "fstatat64", "statx", "access"};

static bool is_driver_allowed(const char *name)
{
    for (size_t i = 0; i < sizeof driver_allowed / sizeof driver_allowed[0]; i++)
        if (strcmp(name, driver_allowed[i]) == 0)
            return true;
    return false;
}

/* unless: those that a driver is allowed are left out. */
static int names_add(scmp_filter_ctx filter, const char *const *names, size_t count,
                     uint32_t action, bool unless)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (unless && is_driver_allowed(names[i]))
            continue;
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number >= 0)
            rc = seccomp_rule_add(filter, action, number, 0);
    }
    return rc;
}

/* A rule that looks at arguments: up to two comparisons. */
struct rule {
    uint32_t action;
    int number;
    unsigned count;
    struct scmp_arg_cmp when[2];
};

static int rules_put(scmp_filter_ctx filter, const struct rule *rules, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        if (rules[i].number >= 0)
            rc = seccomp_rule_add_array(filter, rules[i].action, rules[i].number, rules[i].count,
                                        rules[i].when);
    return rc;
}

#define RULES_PUT(filter, rules) rules_put(filter, rules, sizeof(rules) / sizeof(rules)[0])

static int rules_add(scmp_filter_ctx filter)
{
    const uint32_t allow = SCMP_ACT_ALLOW;
    const struct rule rules[] = {
        /* No code but what is loaded; no memory shared with a file that others read. */
        {allow, SCMP_SYS(mmap), 2, {BITS(2, PROT_EXEC, 0), BITS(3, MAP_SHARED, 0)}},
        {allow, SCMP_SYS(mprotect), 1, {BITS(2, PROT_EXEC, 0)}},
        /* CLONE_DETACHED has had no meaning for twenty years; some C libraries still set it. */
        {allow, SCMP_SYS(clone), 1, {BITS(0, ~(uint64_t)CLONE_DETACHED, THREAD_FLAGS)}},
        /* A signal to itself: abort. The handler of SIGSYS stays. */
        {allow, SCMP_SYS(tgkill), 1, {SAME_INT(0, getpid())}},
        {allow, SCMP_SYS(rt_sigaction), 1, {SCMP_CMP(0, SCMP_CMP_NE, SIGSYS)}},
        /* Limits may be read. */
        {allow, SCMP_SYS(prlimit64), 2, {SAME_INT(0, 0), SAME(2, 0)}},
        {allow, SCMP_SYS(getrlimit), 0, {{0}}},
        /* Names of threads, and of areas of memory, which newer C libraries give. */
        {allow, SCMP_SYS(prctl), 1, {SAME_INT(0, PR_SET_NAME)}},
        {SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, {SAME_INT(0, 0x53564d41)}},
        /* F_SETOWN and F_SETSIG would send signals to others. */
        {allow, SCMP_SYS(fcntl), 1, {SAME_INT(1, F_GETFD)}},
        {allow, SCMP_SYS(fcntl), 1, {SAME_INT(1, F_SETFD)}},
        {allow, SCMP_SYS(fcntl), 1, {SAME_INT(1, F_GETFL)}},
        {allow, SCMP_SYS(fcntl), 1, {SAME_INT(1, F_DUPFD_CLOEXEC)}},
        /* Is it a terminal? */
        {SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, {SAME_INT(1, TCGETS)}},
    };
    return RULES_PUT(filter, rules);
}

/* Opening for reading is looking around; for writing it is not. */
static int opening_add(scmp_filter_ctx filter)
{
    const struct rule rules[] = {
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), 1, {BITS(1, O_ACCMODE | O_CREAT, O_RDONLY)}},
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1, {BITS(2, O_ACCMODE | O_CREAT, O_RDONLY)}},
    };
    return RULES_PUT(filter, rules);
}

/* Every mapping of a device's memory opens its file again. Which files, Landlock says; without it, none. A driver that
 * wants to write a cache goes on without. */
static int driver_opening_add(scmp_filter_ctx filter, bool landlock)
{
    const uint32_t there = landlock ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES);
    const struct rule rules[] = {
        {there, SCMP_SYS(open), 1, {BITS(1, O_CREAT, 0)}},
        {there, SCMP_SYS(openat), 1, {BITS(2, O_CREAT, 0)}},
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), 1, {BITS(1, O_CREAT, O_CREAT)}},
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1, {BITS(2, O_CREAT, O_CREAT)}},
    };
    return RULES_PUT(filter, rules);
}

/* The letter of an ioctl. NVIDIA's own are of 'F'; those of its unified memory are plain numbers and two odd ones. */
#define LETTER(letter)   BITS(1, 0xff00, (unsigned)(letter) << 8)
#define UVM_INITIALIZE   0x30000001u
#define UVM_DEINITIALIZE 0x30000002u

static int driver_rules_add(scmp_filter_ctx filter, enum device_kind kind)
{
    const uint32_t allow = SCMP_ACT_ALLOW;
    const struct rule every[] = {
        {allow, SCMP_SYS(fcntl), 1, {SAME_INT(1, F_DUPFD)}},
        /* Memory of a descriptor: the device's. */
        {allow, SCMP_SYS(mmap), 2, {BITS(2, PROT_EXEC, 0), BITS(3, MAP_ANONYMOUS, 0)}},
    };
    const struct rule nvidia[] = {
        {allow, SCMP_SYS(ioctl), 1, {LETTER('F')}},
        {allow, SCMP_SYS(ioctl), 1, {BITS(1, 0xffffff00u, 0)}},
        {allow, SCMP_SYS(ioctl), 1, {SAME_INT(1, UVM_INITIALIZE)}},
        {allow, SCMP_SYS(ioctl), 1, {SAME_INT(1, UVM_DEINITIALIZE)}},
        /* Pinned memory is shared between this process and the device, and with nobody else: there is no child. */
        {allow, SCMP_SYS(mmap), 2, {BITS(2, PROT_EXEC, 0), BITS(3, MAP_ANONYMOUS, MAP_ANONYMOUS)}},
    };
    /* DRM, and the fences of its buffers. */
    const struct rule render[] = {
        {allow, SCMP_SYS(ioctl), 1, {LETTER('d')}},
        {allow, SCMP_SYS(ioctl), 1, {LETTER('b')}},
    };
    int rc = names_add(filter, driver_allowed, sizeof driver_allowed / sizeof driver_allowed[0],
                       SCMP_ACT_ALLOW, false);
    if (rc == 0)
        rc = RULES_PUT(filter, every);
    if (rc == 0)
        rc = kind == DEVICE_NVENC ? RULES_PUT(filter, nvidia) : RULES_PUT(filter, render);
    return rc;
}

/* Returns an errno. */
static int filter_load(const struct sandbox_driver *driver, bool landlock)
{
    bool files = driver && driver->count > 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (!filter)
        return ENOMEM;
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a search by halves */
    if (rc == 0)
        rc = names_add(filter, allowed, sizeof allowed / sizeof allowed[0], SCMP_ACT_ALLOW, false);
    if (rc == 0)
        rc = names_add(filter, refused, sizeof refused / sizeof refused[0], SCMP_ACT_ERRNO(EACCES),
                       files);
    if (rc == 0)
        rc = names_add(filter, unknown, sizeof unknown / sizeof unknown[0], SCMP_ACT_ERRNO(ENOSYS),
                       false);
    if (rc == 0)
        rc = rules_add(filter);
    if (rc == 0)
        rc = files ? driver_opening_add(filter, landlock) : opening_add(filter);
    if (rc == 0 && files)
        rc = driver_rules_add(filter, driver->kind);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return -rc;
}

/* ---- violations ---- */

static void (*violation_fn)(void *arg, int number);
static void *violation_arg;

void sandbox_on_violation(void (*fn)(void *arg, int number), void *arg)
{
    violation_arg = arg;
    violation_fn = fn;
}

static void violated(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (violation_fn)
        violation_fn(violation_arg, info->si_syscall);
    /* A second one while SIGSYS is blocked is the end: the kernel kills the process with the same signal. */
    for (;;)
        syscall(SYS_socket, 0, 0, 0);
}

/* ---- entering ---- */

/* What the driver has open may be opened again. */
static int files_restrict(const struct sandbox_driver *driver)
{
    struct landlock_path paths[SANDBOX_DRIVER_FILES_MAX + 1];
    int count = driver ? driver->count : 0;
    for (int i = 0; i < count; i++)
        paths[i] = (struct landlock_path){driver->paths[i], true};
    if (count && driver->kind == DEVICE_NVENC)
        paths[count++] = (struct landlock_path){"/proc/driver/nvidia/params", false};
    return landlock_enter(paths, count);
}

int sandbox_enter(struct sandbox *sandbox, const struct sandbox_driver *driver,
                  struct sl_failure *why)
{
    if (!SANDBOX_BUILT)
        return SL_OK;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (sandbox->user_error == 0) {
        /* Counted by namespace there; elsewhere it would count every process of the user. */
        struct rlimit threads = {SANDBOX_THREADS_MAX, SANDBOX_THREADS_MAX};
        setrlimit(RLIMIT_NPROC, &threads);
    }
    signal(SIGXFSZ, SIG_IGN); /* a file over its limit is EFBIG, which can be said */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return sl_fail(why, SL_EUNSUPPORTED, "the sandbox cannot be entered: prctl: %s",
                       strerror(errno));
    sandbox->landlock_error = files_restrict(driver);
    if (driver && sandbox->driver_error)
        sandbox->landlock_error = sandbox->driver_error;
    capabilities_drop();
    struct sigaction action = {.sa_sigaction = violated, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
    int error = filter_load(driver, sandbox->landlock_error == 0);
    if (error)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the sandbox cannot be entered, so no media is opened: seccomp: %s; it "
                       "needs a kernel with CONFIG_SECCOMP_FILTER and a container that allows it",
                       strerror(error));
    return SL_OK;
}

bool sandbox_is_whole(const struct sandbox *sandbox)
{
    return SANDBOX_BUILT && (sandbox->user_error == 0 || sandbox->net_error == 0) &&
           sandbox->landlock_error == 0;
}

void sandbox_describe(const struct sandbox *sandbox, char *out, size_t out_bytes)
{
    if (!SANDBOX_BUILT) {
        snprintf(out, out_bytes, "none: this build is for finding faults with a sanitizer");
        return;
    }
    bool alone = sandbox->user_error == 0 || sandbox->net_error == 0;
    char network[128], files[128];
    if (alone)
        snprintf(network, sizeof network, "own network");
    else
        snprintf(network, sizeof network, "no network namespace here (%s)",
                 strerror(sandbox->net_error));
    if (!sandbox->landlock_error)
        snprintf(files, sizeof files, "Landlock");
    else
        snprintf(files, sizeof files, "no Landlock here (%s)", strerror(sandbox->landlock_error));
    snprintf(out, out_bytes, "system call filter, %s, %s", network, files);
}
