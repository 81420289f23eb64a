#include <limits.h>
#include <stdio.h>

#include "cpu/cpu_pool.h"

static bool is_usable(const struct cpu_list *usable, int cpu)
{
    return cpu >= 0 && cpu < CPU_SET_MAX && usable->bits[cpu / 64] >> (cpu % 64) & 1;
}

/* "cpu3 user nice system idle iowait irq softirq steal …"; what guests took is in user already. */
int cpu_load_read(const char *root, struct cpu_load *out)
{
    char path[PATH_MAX], line[512];
    struct cpu_list usable;
    *out = (struct cpu_load){0};
    if (snprintf(path, sizeof path, "%s/proc/stat", root) >= (int)sizeof path)
        return SL_ELIMIT;
    FILE *file = fopen(path, "re");
    if (!file)
        return SL_EIO;
    cpu_pool_usable(root, &usable);
    while (fgets(line, sizeof line, file)) {
        int cpu;
        long long user, nice, system, idle, waiting, irq, softirq, steal;
        if (sscanf(line, "cpu%d %lld %lld %lld %lld %lld %lld %lld %lld", &cpu, &user, &nice,
                   &system, &idle, &waiting, &irq, &softirq, &steal) != 9 ||
            !is_usable(&usable, cpu))
            continue;
        int64_t busy = user + nice + system + irq + softirq + steal;
        out->busy += busy;
        out->all += busy + idle + waiting;
    }
    fclose(file);
    return out->all > 0 ? SL_OK : SL_EIO;
}

int64_t cpu_load_percent(const struct cpu_load *before, const struct cpu_load *after)
{
    int64_t all = after->all - before->all, busy = after->busy - before->busy;
    if (before->all <= 0 || all <= 0)
        return -1;
    /* The kernel's waiting time may step back a little. */
    return busy <= 0 ? 0 : busy >= all ? 100 : busy * 100 / all;
}
