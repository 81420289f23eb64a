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

/* ---- namespaces ---- */

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

/* ---- Landlock ---- */

/* As linux/landlock.h has it since ABI 6; kernels that know less take the longer form as long as what they do not
 * know is zero. */
struct landlock_rules {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif
#define LANDLOCK_ASK_VERSION 1u

/* How many kinds of access to files each ABI knows, from 1 on. */
static const unsigned char landlock_files[] = {13, 14, 15, 15, 16};

/* Everything that the kernel can deny is denied. */
static int landlock_enter(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ASK_VERSION);
    if (abi < 0)
        return errno;
    size_t row = (size_t)abi < sizeof landlock_files ? (size_t)abi : sizeof landlock_files;
    struct landlock_rules rules = {
        .files = (UINT64_C(1) << landlock_files[row - 1]) - 1,
        .network = abi >= 4 ? 3 : 0, /* bind and connect over TCP */
        .scoped = abi >= 6 ? 3 : 0,  /* abstract sockets and signals */
    };
    long fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (fd < 0)
        return errno;
    int error = syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? errno : 0;
    close((int)fd);
    return error;
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
    "set_tid_address",
    /* signals that it handles itself */
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    /* time, and questions about itself */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64",
    "nanosleep", "gettimeofday", "time", "times", "getrusage", "sysinfo", "uname", "getrandom",
    "getuid", "geteuid", "getgid", "getegid", "getppid"};

/* Answered with EACCES: looking around, which libraries do and go on without. */
static const char *const refused[] = {
    "newfstatat", "fstatat64",     "stat",          "lstat",    "statx",
    "access",     "faccessat",     "faccessat2",    "readlink", "readlinkat",
    "getcwd",     "get_mempolicy", "set_mempolicy", "mbind",    "sched_setaffinity"};

/* Answered with ENOSYS, so that the C library takes the older call, whose arguments the filter can see. */
static const char *const unknown[] = {"clone3", "openat2", "futex_waitv", "mseal",
                                      "map_shadow_stack"};

/* What pthread_create asks of clone, and nothing more. */
#define THREAD_FLAGS                                                                               \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |            \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define SAME(n, value)       SCMP_CMP(n, SCMP_CMP_EQ, (uint64_t)(value))
#define BITS(n, mask, value) SCMP_CMP(n, SCMP_CMP_MASKED_EQ, (uint64_t)(mask), (uint64_t)(value))
/* Upper halves of int arguments are not defined. */
#define SAME_INT(n, value)   BITS(n, 0xffffffffu, (uint32_t)(value))

static int names_add(scmp_filter_ctx filter, const char *const *names, size_t count,
                     uint32_t action)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number >= 0)
            rc = seccomp_rule_add(filter, action, number, 0);
    }
    return rc;
}

/* The rules that look at arguments: up to two comparisons each. */
static int rules_add(scmp_filter_ctx filter)
{
    const uint32_t allow = SCMP_ACT_ALLOW;
    const struct {
        uint32_t action;
        int number;
        unsigned count;
        struct scmp_arg_cmp when[2];
    } rules[] = {
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
        /* Opening for reading is looking around; for writing it is not. */
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), 1, {BITS(1, O_ACCMODE | O_CREAT, O_RDONLY)}},
        {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1, {BITS(2, O_ACCMODE | O_CREAT, O_RDONLY)}},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && rc == 0; i++)
        if (rules[i].number >= 0)
            rc = seccomp_rule_add_array(filter, rules[i].action, rules[i].number, rules[i].count,
                                        rules[i].when);
    return rc;
}

/* Returns an errno. */
static int filter_load(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (!filter)
        return ENOMEM;
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a search by halves */
    if (rc == 0)
        rc = names_add(filter, allowed, sizeof allowed / sizeof allowed[0], SCMP_ACT_ALLOW);
    if (rc == 0)
        rc = names_add(filter, refused, sizeof refused / sizeof refused[0], SCMP_ACT_ERRNO(EACCES));
    if (rc == 0)
        rc = names_add(filter, unknown, sizeof unknown / sizeof unknown[0], SCMP_ACT_ERRNO(ENOSYS));
    if (rc == 0)
        rc = rules_add(filter);
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

static void capabilities_drop(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    syscall(SYS_capset, &head, none); /* always allowed: it only gives up */
}

int sandbox_enter(struct sandbox *sandbox, struct sl_failure *why)
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
    sandbox->landlock_error = landlock_enter();
    capabilities_drop();
    struct sigaction action = {.sa_sigaction = violated, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
    int error = filter_load();
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
