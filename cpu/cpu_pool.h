/* cpu/cpu_pool.h: how much CPU and memory this process may use.
 *
 * The least of sched_getaffinity (which cpusets narrow) and cgroup v2 cpu.max (rounded down, at least 1); memory is the
 * least of MemTotal and the cgroup's memory.max along the path to the root. Two hardware threads of one core count as two
 * CPUs: what they are worth together is measured (worker/calibrate.h), not assumed.
 *
 * NUMA: a worker keeps to one memory node, so that its pictures lie beside the CPUs that work on them. Which one follows
 * from its slot: the agent numbers its workers in turn, so that the nodes fill evenly.
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
    int32_t cores;      /* that those of the affinity belong to */
    int32_t numa_nodes; /* likewise; at least 1 */
    int64_t memory_bytes;
    char model[DEVICE_NAME_BYTES]; /* of the processor */
};

/* root: "" for this machine; tests point it at a made-up /proc and /sys. */
int cpu_pool_read(const char *root, struct cpu_pool *out);

#define CPU_SET_MAX 4096

struct cpu_list {
    uint64_t bits[CPU_SET_MAX / 64];
};

/* The CPUs that this process may run on; empty when nothing says. */
void cpu_pool_usable(const char *root, struct cpu_list *out);

/* Ticks of the usable CPUs since the system's start. */
struct cpu_load {
    int64_t busy; /* with whatever, of whomever; what a hypervisor took away as well */
    int64_t all;
};

int cpu_load_read(const char *root, struct cpu_load *out);
/* -1: nothing is known, or no tick lies between them. */
int64_t cpu_load_percent(const struct cpu_load *before, const struct cpu_load *after);

/* The CPUs of the memory node that a slot works on, those that this process may use. SL_ENOENT where there is but one
 * node, or none is known. */
int cpu_pool_slot_cpus(const char *root, int32_t slot, struct cpu_list *out);
/* Keeps this process to them; call before it has threads. Where that cannot be, it runs everywhere, which is no error. */
void cpu_pool_pin(int32_t slot);

/* The CPU pool as a device: id "cpu". */
extern const struct hal_device_ops cpu_device_ops;

#endif
