#include "tests/standin/state.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x534c5332u

struct standin_shared *standin_shared;
static struct standin_process *self;
static struct standin_fault faults[STANDIN_FAULTS_MAX];
static int fault_count;

int64_t standin_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ---- the script ---- */

/* What may follow the name, after '@device'. */
enum takes {
    TAKES_NOTHING,
    TAKES_NUMBER,
    TAKES_SCOPE,
    TAKES_PICTURE_TIME, /* :picture[:duration] */
    TAKES_PICTURE,      /* :picture */
    TAKES_RANGE_HOW,    /* :first[-last][:picture|garbage|drop|refuse] */
    TAKES_TIME,         /* :duration */
};

static const struct word {
    const char *name;
    enum standin_fault_kind kind;
    enum takes takes;
    bool decoding; /* "nvdec/" may stand before it */
} words[] = {
    {"limit", FAULT_LIMIT, TAKES_NUMBER, false},
    {"limit_code", FAULT_LIMIT_CODE, TAKES_NUMBER, false},
    {"limit_scope", FAULT_LIMIT_SCOPE, TAKES_SCOPE, false},
    {"no_engine", FAULT_NO_ENGINE, TAKES_NOTHING, true},
    {"old_driver", FAULT_OLD_DRIVER, TAKES_NOTHING, false},
    {"lost", FAULT_LOST, TAKES_PICTURE_TIME, true},
    {"hang", FAULT_HANG, TAKES_PICTURE, true},
    {"wrong", FAULT_WRONG, TAKES_RANGE_HOW, true},
    {"slow", FAULT_SLOW, TAKES_TIME, true},
    {"crash_at_init", FAULT_CRASH_AT_INIT, TAKES_NOTHING, false},
    {"hang_at_init", FAULT_HANG_AT_INIT, TAKES_NOTHING, false},
    {"crash_at_open", FAULT_CRASH_AT_OPEN, TAKES_NOTHING, false},
    {"cuinit", FAULT_INIT_CODE, TAKES_NUMBER, false},
    {"no_b", FAULT_NO_B, TAKES_NOTHING, false},
    {"no_ten", FAULT_NO_TEN, TAKES_NOTHING, true},
    {"no_av1", FAULT_NO_AV1, TAKES_NOTHING, false},
    {"no_h265", FAULT_NO_H265, TAKES_NOTHING, false},
    {"memory", FAULT_MEMORY, TAKES_NUMBER, false},
    {"real_sizes", FAULT_REAL_SIZES, TAKES_NOTHING, true},
};

static bool number_read(const char **at, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(*at, &end, 10);
    if (end == *at || errno || value < 0)
        return false;
    if (*end == 'm' && end[1] != 's') {
        value *= 1 << 20;
        end++;
    }
    *at = end;
    *out = value;
    return true;
}

static bool duration_read(const char **at, int64_t *out)
{
    if (strcmp(*at, "forever") == 0) {
        *out = INT64_MAX;
        *at += strlen(*at);
        return true;
    }
    if (!number_read(at, out))
        return false;
    if (strncmp(*at, "ms", 2) == 0) {
        *out *= 1000000;
        *at += 2;
        return true;
    }
    if (**at != 's')
        return false;
    *out *= 1000000000;
    *at += 1;
    return true;
}

static bool arguments_read(struct standin_fault *fault, enum takes takes, const char *at)
{
    static const char *const hows[] = {"picture", "garbage", "drop", "refuse"};
    int64_t number = 0;
    if (takes == TAKES_NOTHING)
        return *at == 0;
    if (takes == TAKES_NUMBER)
        return *at++ == '=' && number_read(&at, &fault->number) && *at == 0;
    if (takes == TAKES_SCOPE) {
        fault->number = strcmp(at, "=device") == 0;
        return fault->number || strcmp(at, "=system") == 0;
    }
    if (*at++ != ':')
        return false;
    if (takes == TAKES_TIME)
        return duration_read(&at, &fault->number) && *at == 0;
    if (!number_read(&at, &number))
        return false;
    fault->first = (uint64_t)number;
    fault->last = takes == TAKES_RANGE_HOW ? UINT64_MAX : fault->first;
    if (takes == TAKES_PICTURE || *at == 0)
        return *at == 0;
    if (takes == TAKES_PICTURE_TIME)
        return *at++ == ':' && duration_read(&at, &fault->number) && *at == 0;
    if (*at == '-') {
        at++;
        if (!number_read(&at, &number))
            return false;
        fault->last = (uint64_t)number;
    }
    if (*at == 0)
        return true;
    if (*at++ != ':')
        return false;
    for (unsigned i = 0; i < sizeof hows / sizeof hows[0]; i++)
        if (strcmp(at, hows[i]) == 0) {
            fault->how = (enum standin_wrong)i;
            return fault->how != WRONG_REFUSE || fault->engine == ENGINE_DECODE;
        }
    return false;
}

static bool fault_read(const char *text, bool decoding)
{
    size_t length = strcspn(text, "@:=");
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].name) != length || strncmp(text, words[i].name, length) != 0)
            continue;
        if (decoding && !words[i].decoding)
            return false;
        struct standin_fault fault = {.kind = words[i].kind,
                                      .engine = decoding ? ENGINE_DECODE : ENGINE_ENCODE,
                                      .device = -1};
        const char *at = text + length;
        if (*at == '@') {
            int64_t device;
            at++;
            if (!number_read(&at, &device) || device >= STANDIN_DEVICES_MAX)
                return false;
            fault.device = (int)device;
        }
        if (!arguments_read(&fault, words[i].takes, at))
            return false;
        faults[fault_count++] = fault;
        return true;
    }
    return false;
}

static const char *start_kind;

static bool script_read(void)
{
    const char *script = getenv("SLUICE_STANDIN_FAULTS");
    char text[2048], *rest = text;
    if (!script)
        return true;
    if (strlen(script) >= sizeof text) {
        fprintf(stderr, "stand-in: SLUICE_STANDIN_FAULTS is longer than %zu bytes\n", sizeof text);
        return false;
    }
    strcpy(text, script);
    for (char *item; (item = strsep(&rest, ", "));) {
        /* "vaapi/lost:40" is for one kind's devices alone, "nvdec/lost:40" for the engines that decode. */
        bool decoding = false;
        char *slash = strchr(item, '/');
        if (slash) {
            *slash = '\0';
            decoding = strcmp(item, "nvdec") == 0 && strcmp(start_kind, "nvenc") == 0;
            item = decoding || strcmp(item, start_kind) == 0 ? slash + 1 : slash;
        }
        if (!*item)
            continue;
        if (fault_count == STANDIN_FAULTS_MAX || !fault_read(item, decoding)) {
            fprintf(stderr,
                    "stand-in: SLUICE_STANDIN_FAULTS: \"%s\" is not understood; "
                    "tests/standin/README.md has the words\n",
                    item);
            return false;
        }
    }
    return true;
}

static const struct standin_fault *fault_find(enum standin_engine engine,
                                              enum standin_fault_kind kind, int device)
{
    for (int i = 0; i < fault_count; i++)
        if (faults[i].kind == kind && faults[i].engine == engine &&
            (faults[i].device < 0 || faults[i].device == device))
            return &faults[i];
    return NULL;
}

const struct standin_fault *standin_fault(enum standin_fault_kind kind, int device)
{
    return fault_find(ENGINE_ENCODE, kind, device);
}

const struct standin_fault *standin_fault_decoding(enum standin_fault_kind kind, int device)
{
    return fault_find(ENGINE_DECODE, kind, device);
}

/* ---- the shared part ---- */

static void mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static void shared_init(struct standin_shared *shared)
{
    if (shared->magic == MAGIC)
        return;
    mutex_init(&shared->lock);
    for (int i = 0; i < STANDIN_PROCESSES_MAX; i++)
        mutex_init(&shared->processes[i].alive);
    shared->magic = MAGIC;
}

static struct standin_shared *shared_map(const char *path, bool create)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd < 0)
        return NULL;
    struct standin_shared *shared = MAP_FAILED;
    struct stat file;
    if (flock(fd, LOCK_EX) == 0 && fstat(fd, &file) == 0 &&
        (file.st_size == (off_t)sizeof *shared ||
         (create && ftruncate(fd, (off_t)sizeof *shared) == 0)))
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED && create)
        shared_init(shared);
    flock(fd, LOCK_UN); /* closing would not: the mapping holds the file open */
    close(fd);
    return shared == MAP_FAILED ? NULL : shared;
}

struct standin_shared *standin_open(const char *path)
{
    standin_shared = shared_map(path, false);
    if (standin_shared && standin_shared->magic != MAGIC)
        standin_shared = NULL;
    return standin_shared;
}

void standin_lock(void)
{
    if (pthread_mutex_lock(&standin_shared->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&standin_shared->lock);
}

void standin_unlock(void)
{
    pthread_mutex_unlock(&standin_shared->lock);
}

/* Takes the mutex of a process that has ended. */
static bool process_ended(struct standin_process *process)
{
    int rc = pthread_mutex_trylock(&process->alive);
    if (rc == EOWNERDEAD)
        pthread_mutex_consistent(&process->alive);
    return rc == 0 || rc == EOWNERDEAD;
}

static void processes_sweep(void)
{
    for (int i = 0; i < STANDIN_PROCESSES_MAX; i++) {
        struct standin_process *process = &standin_shared->processes[i];
        if (!process->used || !process_ended(process))
            continue;
        memset(process->sessions, 0, sizeof process->sessions);
        memset(process->memory_bytes, 0, sizeof process->memory_bytes);
        process->used = false;
        pthread_mutex_unlock(&process->alive);
    }
}

/* Holds a place for as long as the process lives. */
static void *live(void *arg)
{
    sem_t *ready = arg, never;
    standin_lock();
    processes_sweep();
    for (int i = 0; i < STANDIN_PROCESSES_MAX && !self; i++) {
        struct standin_process *process = &standin_shared->processes[i];
        if (process->used || !process_ended(process))
            continue;
        process->used = true;
        self = process;
    }
    standin_unlock();
    sem_init(&never, 0, 0);
    sem_post(ready);
    while (self)
        sem_wait(&never);
    return NULL;
}

static bool place_take(void)
{
    sigset_t all, before;
    sem_t ready;
    pthread_t thread;
    pthread_attr_t attributes;
    sem_init(&ready, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attributes, live, &ready) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    while (started && sem_wait(&ready) < 0)
        continue;
    return started && self;
}

static bool started_well;

static void start_once(void)
{
    const char *folder = getenv("SLUICE_STANDIN_STATE");
    char path[1024];
    if (!script_read())
        return;
    if (folder && *folder) {
        snprintf(path, sizeof path, "%s/%s.state", folder, start_kind);
        standin_shared = shared_map(path, true);
        if (!standin_shared) {
            fprintf(stderr, "stand-in: SLUICE_STANDIN_STATE: %s: %s\n", path, strerror(errno));
            return;
        }
    } else {
        void *memory = mmap(NULL, sizeof *standin_shared, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return;
        standin_shared = memory;
        shared_init(standin_shared);
    }
    if (!place_take()) {
        fprintf(stderr, "stand-in: more than %d processes use %s\n", STANDIN_PROCESSES_MAX,
                start_kind);
        return;
    }
    started_well = true;
}

bool standin_start(const char *kind)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    start_kind = kind;
    pthread_once(&once, start_once);
    return started_well;
}

/* ---- sessions and memory ---- */

uint32_t standin_sessions(int device)
{
    uint32_t sum = 0;
    processes_sweep();
    for (int i = 0; i < STANDIN_PROCESSES_MAX; i++)
        for (int d = 0; d < STANDIN_DEVICES_MAX; d++)
            if (device < 0 || device == d)
                sum += standin_shared->processes[i].sessions[d];
    return sum;
}

uint64_t standin_memory(int device)
{
    uint64_t sum = 0;
    processes_sweep();
    for (int i = 0; i < STANDIN_PROCESSES_MAX; i++)
        sum += standin_shared->processes[i].memory_bytes[device];
    return sum;
}

bool standin_session_take(int device)
{
    const struct standin_fault *limit = standin_fault(FAULT_LIMIT, device);
    const struct standin_fault *scope = standin_fault(FAULT_LIMIT_SCOPE, device);
    struct standin_device *row = &standin_shared->devices[device];
    standin_lock();
    uint32_t all = standin_sessions(-1), here = standin_sessions(device);
    bool room = !limit || (scope && scope->number ? here : all) < (uint64_t)limit->number;
    if (room) {
        self->sessions[device]++;
        row->opened++;
        if (here + 1 > row->sessions_high)
            row->sessions_high = here + 1;
        if (all + 1 > standin_shared->sessions_high)
            standin_shared->sessions_high = all + 1;
    } else {
        row->refused++;
    }
    standin_unlock();
    return room;
}

void standin_session_give(int device)
{
    standin_lock();
    self->sessions[device]--;
    standin_unlock();
}

bool standin_memory_take(int device, int64_t bytes, uint64_t total_bytes)
{
    standin_lock();
    bool room = bytes < 0 || standin_memory(device) + (uint64_t)bytes <= total_bytes;
    if (room)
        self->memory_bytes[device] += (uint64_t)bytes;
    standin_unlock();
    return room;
}

/* ---- pictures ---- */

static void wait_ns(int64_t ns)
{
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        continue;
}

/* As a call into a driver that waits for an engine that never answers: no signal but the last ends it. */
static void hang(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;)
        wait_ns(INT64_C(1000000000));
}

int standin_picture(int device, enum standin_engine engine)
{
    struct standin_device *row = &standin_shared->devices[device];
    uint64_t *counter = engine == ENGINE_DECODE ? &row->decoded : &row->pictures;
    uint64_t number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    int spoilt = -1;
    for (int i = 0; i < fault_count; i++) {
        const struct standin_fault *fault = &faults[i];
        if (fault->engine != engine || (fault->device >= 0 && fault->device != device))
            continue;
        if (fault->kind == FAULT_SLOW)
            wait_ns(fault->number);
        if (number < fault->first || number > fault->last)
            continue;
        if (fault->kind == FAULT_WRONG)
            spoilt = (int)fault->how;
        if (fault->kind == FAULT_HANG) {
            __atomic_add_fetch(&row->hung, 1, __ATOMIC_SEQ_CST);
            hang();
        }
        if (fault->kind == FAULT_LOST) {
            int64_t now = standin_now_ns();
            standin_lock();
            row->lost++;
            row->lost_until_ns = fault->number > INT64_MAX - now ? INT64_MAX : now + fault->number;
            standin_unlock();
        }
    }
    return spoilt;
}

void standin_busy(int device, int64_t ns)
{
    __atomic_add_fetch(&standin_shared->devices[device].busy_ns, (uint64_t)ns, __ATOMIC_RELAXED);
}

void standin_host_bytes(int device, uint64_t bytes)
{
    __atomic_add_fetch(&standin_shared->devices[device].host_bytes, bytes, __ATOMIC_RELAXED);
}

bool standin_lost(int device)
{
    return standin_now_ns() <
           __atomic_load_n(&standin_shared->devices[device].lost_until_ns, __ATOMIC_SEQ_CST);
}

uint64_t standin_losses(int device)
{
    return __atomic_load_n(&standin_shared->devices[device].lost, __ATOMIC_SEQ_CST);
}
