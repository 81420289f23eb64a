#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/cpu_pool.h"

/* A made-up machine: a folder that looks like / as far as cpu_pool reads it. */
static char root[64];

static int machine_make(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/sluice-pool-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int machine_remove(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void put(const char *path, const char *text)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *c = full + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = '\0';
            assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
            *c = '/';
        }
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void machine_plain(void)
{
    put("/proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7,16,18-19\n");
    put("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
    put("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Example 9000 @ 3 GHz\n");
}

static void test_affinity_alone_counts_without_a_cgroup(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_plain();
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus, 11);
    assert_int_equal(pool.cpus_affinity, 11);
    assert_int_equal(pool.cpus_cgroup, 0);
    assert_int_equal(pool.memory_bytes, INT64_C(16384000) * 1024);
    assert_string_equal(pool.model, "Example 9000 @ 3 GHz");
}

static void test_the_least_limit_along_the_path_counts(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_plain();
    put("/proc/self/cgroup", "1:name=systemd:/x\n0::/farm.slice/agent.service\n");
    put("/sys/fs/cgroup/farm.slice/agent.service/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/farm.slice/agent.service/memory.max", "8589934592\n");
    put("/sys/fs/cgroup/farm.slice/cpu.max", "390000 100000\n");
    put("/sys/fs/cgroup/farm.slice/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus_cgroup, 3); /* rounded down */
    assert_int_equal(pool.cpus, 3);
    assert_int_equal(pool.memory_bytes, INT64_C(4294967296));
}

static void test_less_than_one_cpu_is_one(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_plain();
    put("/proc/self/cgroup", "0::/small\n");
    put("/sys/fs/cgroup/small/cpu.max", "50000 100000\n");
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus, 1);
}

static void test_a_quota_above_the_affinity_changes_nothing(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_plain();
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "6400000 100000\n");
    put("/sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus, 11);
    assert_int_equal(pool.cpus_cgroup, 64);
    assert_int_equal(pool.memory_bytes, INT64_C(16384000) * 1024);
}

static void test_garbage_is_taken_as_no_limit(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_plain();
    put("/proc/self/cgroup", "0::/odd\n");
    put("/sys/fs/cgroup/odd/cpu.max", "-5 x\n");
    put("/sys/fs/cgroup/odd/memory.max", "lots\n");
    put("/proc/cpuinfo", "Processor : none\n");
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus, 11);
    assert_string_equal(pool.model, "CPU");
    put("/proc/self/status", "Cpus_allowed_list:\t3-1\n");
    assert_int_equal(cpu_pool_read(root, &pool), SL_EIO);
}

static void machine_of_two_nodes(void)
{
    put("/proc/self/status", "Cpus_allowed_list:\t0-3,8-11\n");
    put("/proc/meminfo", "MemTotal: 16384000 kB\n");
    put("/sys/devices/system/node/online", "0-2\n");
    put("/sys/devices/system/node/node0/cpulist", "0-1,8-9\n");
    put("/sys/devices/system/node/node1/cpulist", "2-3,10-15\n");
    put("/sys/devices/system/node/node2/cpulist", "\n"); /* memory alone */
    for (int cpu = 0; cpu < 12; cpu++) {
        char path[96], text[16];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        snprintf(text, sizeof text, "%d,%d\n", cpu % 8, cpu % 8 + 8);
        put(path, text);
    }
}

static void test_hardware_threads_and_memory_nodes_are_told_apart(void **state)
{
    (void)state;
    struct cpu_pool pool;
    machine_of_two_nodes();
    assert_int_equal(cpu_pool_read(root, &pool), SL_OK);
    assert_int_equal(pool.cpus, 8);
    assert_int_equal(pool.cores, 4);
    assert_int_equal(pool.numa_nodes, 2);
}

static void test_slots_take_memory_nodes_in_turn(void **state)
{
    (void)state;
    struct cpu_list cpus;
    machine_of_two_nodes();
    assert_int_equal(cpu_pool_slot_cpus(root, 0, &cpus), SL_OK);
    assert_int_equal(cpus.bits[0], 0x303);
    assert_int_equal(cpu_pool_slot_cpus(root, 3, &cpus), SL_OK);
    assert_int_equal(cpus.bits[0], 0xc0c); /* not 12-15, which are others' */
    assert_int_equal(cpu_pool_slot_cpus(root, -1, &cpus), SL_ENOENT);
    put("/proc/self/status", "Cpus_allowed_list:\t0-1\n");
    assert_int_equal(cpu_pool_slot_cpus(root, 0, &cpus), SL_ENOENT); /* all of it is in one */
}

static void test_load_is_that_of_the_usable_cpus(void **state)
{
    (void)state;
    struct cpu_load first, second;
    put("/proc/self/status", "Cpus_allowed_list:\t0,2\n");
    assert_int_equal(cpu_load_read(root, &first), SL_EIO);
    put("/proc/stat", "cpu  900 0 900 900 0 0 0 0 0 0\n"
                      "cpu0 10 1 5 80 4 0 0 0 0 0\n"
                      "cpu1 99 0 0 0 0 0 0 0 0 0\n"
                      "cpu2 20 0 10 60 10 0 0 0 0 0\n"
                      "intr 1 2 3 4 5 6 7 8 9\n");
    assert_int_equal(cpu_load_read(root, &first), SL_OK);
    assert_int_equal(first.busy, 46);
    assert_int_equal(first.all, 200);
    assert_int_equal(cpu_load_percent(&(struct cpu_load){0}, &first), -1);
    assert_int_equal(cpu_load_percent(&first, &first), -1);
    put("/proc/stat", "cpu0 40 1 5 130 24 0 0 0 7 7\n"
                      "cpu1 999 0 0 0 0 0 0 0 0 0\n"
                      "cpu2 30 5 10 110 10 5 15 15 0 0\n");
    assert_int_equal(cpu_load_read(root, &second), SL_OK);
    assert_int_equal(cpu_load_percent(&first, &second), 40);
    assert_int_equal(cpu_load_percent(&second, &(struct cpu_load){second.busy - 2, second.all + 9}),
                     0);
}

static void test_this_machine_is_one_device(void **state)
{
    (void)state;
    struct hal_device device;
    int32_t count = 0;
    struct sl_failure why = {0};
    assert_int_equal(cpu_device_ops.probe(&device, 1, &count, &why), SL_OK);
    assert_int_equal(count, 1);
    assert_string_equal(device.device_id, "cpu");
    assert_true(device.cpus >= 1);
    assert_true(device.memory_bytes > 1 << 20);
    assert_non_null(strstr(device.name, "CPU"));
    assert_int_equal(device.sessions.limit, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_affinity_alone_counts_without_a_cgroup, machine_make,
                                        machine_remove),
        cmocka_unit_test_setup_teardown(test_the_least_limit_along_the_path_counts, machine_make,
                                        machine_remove),
        cmocka_unit_test_setup_teardown(test_less_than_one_cpu_is_one, machine_make,
                                        machine_remove),
        cmocka_unit_test_setup_teardown(test_a_quota_above_the_affinity_changes_nothing,
                                        machine_make, machine_remove),
        cmocka_unit_test_setup_teardown(test_garbage_is_taken_as_no_limit, machine_make,
                                        machine_remove),
        cmocka_unit_test_setup_teardown(test_hardware_threads_and_memory_nodes_are_told_apart,
                                        machine_make, machine_remove),
        cmocka_unit_test_setup_teardown(test_slots_take_memory_nodes_in_turn, machine_make,
                                        machine_remove),
        cmocka_unit_test_setup_teardown(test_load_is_that_of_the_usable_cpus, machine_make,
                                        machine_remove),
        cmocka_unit_test(test_this_machine_is_one_device),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
