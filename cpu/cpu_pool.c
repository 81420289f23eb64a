#include "cpu/cpu_pool.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/log.h"

/* The first line of root + path; false when there is none. */
static bool line_read(const char *root, const char *path, char *line, int line_bytes)
{
    char full[PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    FILE *file = fopen(full, "re");
    if (!file)
        return false;
    bool got = fgets(line, line_bytes, file) != NULL;
    fclose(file);
    if (got)
        line[strcspn(line, "\n")] = '\0';
    return got;
}

/* The value of "key : value" in a file of such lines. */
static bool field_read(const char *root, const char *path, const char *key, char *value,
                       size_t value_bytes)
{
    char full[PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    FILE *file = fopen(full, "re");
    if (!file)
        return false;
    char line[512];
    bool found = false;
    size_t key_length = strlen(key);
    while (!found && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, key_length) != 0)
            continue;
        const char *at = line + key_length;
        at += strspn(at, " \t");
        if (*at != ':')
            continue;
        at += 1 + strspn(at + 1, " \t");
        snprintf(value, value_bytes, "%.*s", (int)strcspn(at, "\n"), at);
        found = true;
    }
    fclose(file);
    return found;
}

static void bit_set(struct cpu_list *list, long cpu)
{
    if (cpu < CPU_SET_MAX)
        list->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

static bool bit_is(const struct cpu_list *list, long cpu)
{
    return list->bits[cpu / 64] >> (cpu % 64) & 1;
}

static int32_t bits_count(const struct cpu_list *list)
{
    int32_t count = 0;
    for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
        count += __builtin_popcountll(list->bits[i]);
    return count;
}

/* "0-3,8"; false when it is no such list. */
static bool list_read(const char *text, struct cpu_list *out)
{
    *out = (struct cpu_list){0};
    while (*text) {
        char *end;
        long first = strtol(text, &end, 10);
        if (end == text || first < 0)
            return false;
        long last = first;
        if (*end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
            if (end == text || last < first)
                return false;
        }
        for (long cpu = first; cpu <= last && cpu < CPU_SET_MAX; cpu++)
            bit_set(out, cpu);
        if (*end == ',')
            end++;
        else if (*end)
            return false;
        text = end;
    }
    return true;
}

void cpu_pool_usable(const char *root, struct cpu_list *out)
{
    char text[1024];
    *out = (struct cpu_list){0};
    if (root[0]) {
        if (!field_read(root, "/proc/self/status", "Cpus_allowed_list", text, sizeof text) ||
            !list_read(text, out))
            *out = (struct cpu_list){0};
        return;
    }
    cpu_set_t *set = CPU_ALLOC(CPU_SET_MAX);
    if (!set)
        return;
    size_t bytes = CPU_ALLOC_SIZE(CPU_SET_MAX);
    if (sched_getaffinity(0, bytes, set) == 0)
        for (int cpu = 0; cpu < CPU_SET_MAX; cpu++)
            if (CPU_ISSET_S(cpu, bytes, set))
                bit_set(out, cpu);
    CPU_FREE(set);
}

/* A core is counted at the first of its hardware threads that may be used; one that the kernel does not describe is
 * a core of its own. */
static int32_t cores_count(const char *root, const struct cpu_list *usable)
{
    int32_t cores = 0;
    for (long cpu = 0; cpu < CPU_SET_MAX; cpu++) {
        if (!bit_is(usable, cpu))
            continue;
        char path[128], text[256];
        struct cpu_list threads;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list",
                 cpu);
        bool first = true;
        if (line_read(root, path, text, sizeof text) && list_read(text, &threads))
            for (long other = 0; other < cpu && first; other++)
                first = !(bit_is(&threads, other) && bit_is(usable, other));
        cores += first;
    }
    return cores;
}

/* The usable CPUs of memory node number `wanted` among those that have any (counted from 0); returns how many there
 * are. */
static int32_t numa_read(const char *root, const struct cpu_list *usable, int32_t wanted,
                         struct cpu_list *out)
{
    char text[1024];
    struct cpu_list online;
    int32_t count = 0;
    if (!line_read(root, "/sys/devices/system/node/online", text, sizeof text) ||
        !list_read(text, &online))
        return 0;
    for (long node = 0; node < CPU_SET_MAX; node++) {
        char path[96];
        struct cpu_list cpus;
        if (!bit_is(&online, node))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/node/node%ld/cpulist", node);
        if (!line_read(root, path, text, sizeof text) || !list_read(text, &cpus))
            continue;
        for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
            cpus.bits[i] &= usable->bits[i];
        if (bits_count(&cpus) == 0)
            continue; /* memory without CPUs, or none of ours */
        if (count++ == wanted)
            *out = cpus;
    }
    return count;
}

int cpu_pool_slot_cpus(const char *root, int32_t slot, struct cpu_list *out)
{
    struct cpu_list usable, cpus;
    cpu_pool_usable(root, &usable);
    int32_t count = numa_read(root, &usable, -1, &cpus);
    if (slot < 0 || count < 2)
        return SL_ENOENT;
    numa_read(root, &usable, slot % count, out);
    return SL_OK;
}

void cpu_pool_pin(int32_t slot)
{
    struct cpu_list cpus;
    if (cpu_pool_slot_cpus("", slot, &cpus) != SL_OK)
        return;
    cpu_set_t *set = CPU_ALLOC(CPU_SET_MAX);
    if (!set)
        return;
    size_t bytes = CPU_ALLOC_SIZE(CPU_SET_MAX);
    CPU_ZERO_S(bytes, set);
    for (int cpu = 0; cpu < CPU_SET_MAX; cpu++)
        if (bit_is(&cpus, cpu))
            CPU_SET_S(cpu, bytes, set);
    if (sched_setaffinity(0, bytes, set) < 0)
        sl_debug(NULL, "this worker runs on all memory nodes: %s", strerror(errno));
    CPU_FREE(set);
}

/* cpu.max is "quota period" or "max period", in microseconds; 0 means no limit. */
static int32_t quota_count(const char *line)
{
    char *end;
    errno = 0;
    long long quota = strtoll(line, &end, 10);
    if (end == line || errno || quota <= 0 || *end != ' ')
        return 0;
    long long period = strtoll(end + 1, NULL, 10);
    if (period <= 0)
        return 0;
    long long cpus = quota / period;
    if (cpus < 1)
        return 1;
    return cpus > CPU_SET_MAX ? CPU_SET_MAX : (int32_t)cpus;
}

static int64_t limit_bytes(const char *line)
{
    char *end;
    errno = 0;
    long long bytes = strtoll(line, &end, 10);
    return end == line || errno || bytes <= 0 ? 0 : bytes;
}

/* Walks from this process's cgroup up to the root: every level limits those below it. */
static void cgroup_read(const char *root, int32_t *cpus, int64_t *memory)
{
    char line[PATH_MAX];
    char path[PATH_MAX] = "";
    /* The unified hierarchy's line is "0::/path"; with other hierarchies beside it, it is the last. */
    char full[PATH_MAX];
    if (snprintf(full, sizeof full, "%s/proc/self/cgroup", root) < (int)sizeof full) {
        FILE *file = fopen(full, "re");
        while (file && fgets(line, sizeof line, file))
            if (strncmp(line, "0::", 3) == 0)
                snprintf(path, sizeof path, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
        if (file)
            fclose(file);
    }
    for (;;) {
        char name[PATH_MAX + 64];
        snprintf(name, sizeof name, "/sys/fs/cgroup%s/cpu.max", path);
        if (line_read(root, name, line, sizeof line)) {
            int32_t count = quota_count(line);
            if (count > 0 && (*cpus == 0 || count < *cpus))
                *cpus = count;
        }
        snprintf(name, sizeof name, "/sys/fs/cgroup%s/memory.max", path);
        if (line_read(root, name, line, sizeof line)) {
            int64_t bytes = limit_bytes(line);
            if (bytes > 0 && (*memory == 0 || bytes < *memory))
                *memory = bytes;
        }
        char *slash = strrchr(path, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

int cpu_pool_read(const char *root, struct cpu_pool *out)
{
    struct cpu_pool pool = {0};
    struct cpu_list usable, ignored;
    cpu_pool_usable(root, &usable);
    pool.cpus_affinity = bits_count(&usable);
    pool.cores = cores_count(root, &usable);
    pool.numa_nodes = numa_read(root, &usable, -1, &ignored);
    if (pool.numa_nodes < 1)
        pool.numa_nodes = 1;
    cgroup_read(root, &pool.cpus_cgroup, &pool.memory_bytes);
    pool.cpus = pool.cpus_affinity;
    if (pool.cpus_cgroup > 0 && (pool.cpus == 0 || pool.cpus_cgroup < pool.cpus))
        pool.cpus = pool.cpus_cgroup;
    if (pool.cpus == 0)
        return SL_EIO;

    char text[DEVICE_NAME_BYTES];
    if (field_read(root, "/proc/meminfo", "MemTotal", text, sizeof text)) {
        int64_t total = limit_bytes(text) * 1024;
        if (total > 0 && (pool.memory_bytes == 0 || total < pool.memory_bytes))
            pool.memory_bytes = total;
    }
    /* Arm's kernels name no model there. */
    if (!field_read(root, "/proc/cpuinfo", "model name", pool.model, sizeof pool.model))
        snprintf(pool.model, sizeof pool.model, "CPU");
    *out = pool;
    return SL_OK;
}

/* "EPYC 9354, 64 CPUs of 32 cores, 2 NUMA nodes": what is as on any small machine is not said. */
static void name_make(const struct cpu_pool *pool, char *name, size_t name_bytes)
{
    char cores[24] = "", nodes[32] = "";
    if (pool->cores < pool->cpus_affinity)
        snprintf(cores, sizeof cores, " of %d cores", pool->cores);
    if (pool->numa_nodes > 1)
        snprintf(nodes, sizeof nodes, ", %d NUMA nodes", pool->numa_nodes);
    snprintf(name, name_bytes, "%.*s, %d CPU%s%s%s", (int)name_bytes - 52, pool->model, pool->cpus,
             pool->cpus == 1 ? "" : "s", cores, nodes);
}

static int cpu_device_probe(struct hal_device *out, int32_t max, int32_t *count,
                            struct sl_failure *why)
{
    struct cpu_pool pool;
    *count = 0;
    if (max < 1)
        return sl_fail(why, SL_ELIMIT, "no room for the CPU pool among the devices");
    int rc = cpu_pool_read("", &pool);
    if (rc < 0)
        return sl_fail(why, rc,
                       "neither the affinity of this process nor its cgroup says how many "
                       "CPUs it has; is /proc mounted?");
    *out = (struct hal_device){
        .kind = DEVICE_CPU,
        .device_id = "cpu",
        .memory_bytes = pool.memory_bytes,
        .cpus = pool.cpus,
        .sessions = {.scope = SCOPE_NONE},
        .telemetry = device_telemetry_unknown,
    };
    name_make(&pool, out->name, sizeof out->name);
    struct utsname system;
    if (uname(&system) == 0)
        snprintf(out->driver, sizeof out->driver, "%.30s %.60s", system.sysname, system.release);
    *count = 1;
    return SL_OK;
}

static void cpu_device_telemetry(const char *device_id, struct device_telemetry *out)
{
    static struct cpu_load before;
    struct cpu_load now;
    (void)device_id;
    if (cpu_load_read("", &now) != SL_OK)
        return;
    out->busy_percent = cpu_load_percent(&before, &now);
    before = now;
}

const struct hal_device_ops cpu_device_ops = {
    .kind = DEVICE_CPU,
    .probe = cpu_device_probe,
    .telemetry = cpu_device_telemetry,
};
