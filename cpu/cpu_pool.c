#include "cpu/cpu_pool.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define CPUS_MAX 4096

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

/* "Cpus_allowed_list: 0-3,8" as a count; 0 when unreadable. */
static int32_t list_count(const char *list)
{
    int64_t count = 0;
    while (*list) {
        char *end;
        long first = strtol(list, &end, 10);
        if (end == list || first < 0)
            return 0;
        long last = first;
        if (*end == '-') {
            list = end + 1;
            last = strtol(list, &end, 10);
            if (end == list || last < first)
                return 0;
        }
        count += (int64_t)last - first + 1;
        if (*end == ',')
            end++;
        else if (*end)
            return 0;
        list = end;
    }
    return count > CPUS_MAX ? CPUS_MAX : (int32_t)count;
}

static int32_t affinity_count(const char *root)
{
    if (root[0]) {
        char list[256];
        return field_read(root, "/proc/self/status", "Cpus_allowed_list", list, sizeof list)
                   ? list_count(list)
                   : 0;
    }
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    if (!set)
        return 0;
    size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    int32_t count = 0;
    if (sched_getaffinity(0, bytes, set) == 0)
        count = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    return count;
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
    return cpus > CPUS_MAX ? CPUS_MAX : (int32_t)cpus;
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
    pool.cpus_affinity = affinity_count(root);
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
    };
    snprintf(out->name, sizeof out->name, "%.*s, %d CPU%s", DEVICE_NAME_BYTES - 16, pool.model,
             pool.cpus, pool.cpus == 1 ? "" : "s");
    struct utsname system;
    if (uname(&system) == 0)
        snprintf(out->driver, sizeof out->driver, "%.30s %.60s", system.sysname, system.release);
    *count = 1;
    return SL_OK;
}

const struct hal_device_ops cpu_device_ops = {
    .kind = DEVICE_CPU,
    .probe = cpu_device_probe,
};
