/* cpu/cpu_pool.h: how much CPU and memory this process may use.
 *
 * The least of sched_getaffinity, cgroup v2 cpu.max (rounded down, at least 1) and an explicit count; memory is the
 * least of MemTotal and the cgroup's memory.max along the path to the root.
 *
 * Threads: any.
 */
#ifndef SL_CPU_CPU_POOL_H
#define SL_CPU_CPU_POOL_H

#include <stdint.h>

#include "hal/hal.h"

struct cpu_pool {
    int32_t cpus;
    int32_t cpus_affinity; /* what each source said; 0 unknown */
    int32_t cpus_cgroup;
    int64_t memory_bytes;
    char model[DEVICE_NAME_BYTES]; /* of the processor */
};

/* root: "" for this machine; tests point it at a made-up /proc and /sys. */
int cpu_pool_read(const char *root, struct cpu_pool *out);

/* The CPU pool as a device: id "cpu". */
extern const struct hal_device_ops cpu_device_ops;

#endif
