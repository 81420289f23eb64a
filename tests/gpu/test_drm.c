/* Telemetry of AMD and Intel devices, from trees of files as their kernel drivers lay them out (kernel documentation:
 * gpu/amdgpu, gpu/drm-usage-stats, hwmon/sysfs-interface). No such device is needed. */
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

#include "base/time.h"
#include "gpu/gpu_drm.h"

static char root[64];

static void folders_make(const char *path)
{
    char part[512];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        mkdir(part, 0755);
        *at = '/';
    }
}

static void file_put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    folders_make(full);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void link_put(const char *path, const char *to)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    folders_make(full);
    unlink(full);
    assert_int_equal(symlink(to, full), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/sluice-drm-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

#define AMD   "sys/devices/pci0000:00/0000:03:00.0"
#define INTEL "sys/devices/pci0000:00/0000:00:02.0"

static void nodes_put(void)
{
    file_put("dev/dri/renderD129", "");
    file_put("dev/dri/renderD128", "");
    file_put("dev/dri/card0", "");
    link_put("sys/class/drm/renderD128/device", "../../../devices/pci0000:00/0000:03:00.0");
    link_put("sys/class/drm/renderD129/device", "../../../devices/pci0000:00/0000:00:02.0");
    file_put(AMD "/uevent", "");
    link_put(AMD "/driver", "../../../../bus/pci/drivers/amdgpu");
    file_put(INTEL "/uevent", "");
    link_put(INTEL "/driver", "../../../../bus/pci/drivers/i915");
}

static void test_nodes_come_sorted_with_driver_and_address(void **state)
{
    (void)state;
    char nodes[GPU_DRM_NODES_MAX][GPU_DRM_NODE_BYTES], word[GPU_DRM_WORD_BYTES];
    assert_int_equal(gpu_drm_nodes(root, nodes, GPU_DRM_NODES_MAX), 0);
    nodes_put();
    assert_int_equal(gpu_drm_nodes(root, nodes, GPU_DRM_NODES_MAX), 2);
    assert_string_equal(nodes[0], "renderD128");
    assert_string_equal(nodes[1], "renderD129");
    gpu_drm_driver(root, "renderD128", word);
    assert_string_equal(word, "amdgpu");
    gpu_drm_address(root, "renderD129", word);
    assert_string_equal(word, "0000:00:02.0");
    gpu_drm_driver(root, "renderD200", word);
    assert_string_equal(word, "");
}

static void test_amd_tells_load_memory_heat_and_power_in_files(void **state)
{
    (void)state;
    struct device_telemetry t;
    nodes_put();
    gpu_drm_telemetry(root, "renderD128", NULL, NULL, &t);
    assert_int_equal(t.busy_percent, -1);
    assert_int_equal(t.temperature_c, -1);
    file_put(AMD "/gpu_busy_percent", "37\n");
    file_put(AMD "/mem_info_vram_total", "17163091968\n");
    file_put(AMD "/mem_info_vram_used", "1234567168\n");
    file_put(AMD "/hwmon/hwmon4/temp1_input", "61000\n");
    file_put(AMD "/hwmon/hwmon4/power1_average", "143000000\n");
    gpu_drm_telemetry(root, "renderD128", NULL, NULL, &t);
    assert_int_equal(t.busy_percent, 37);
    assert_int_equal(t.memory_used_bytes, 1234567168);
    assert_int_equal(t.temperature_c, 61);
    assert_int_equal(t.power_mw, 143000);
    assert_int_equal(t.encoder_percent, -1);
    assert_int_equal(gpu_drm_memory_bytes(root, "renderD128"), 17163091968);
    assert_int_equal(gpu_drm_memory_bytes(root, "renderD129"), 0);
    file_put(AMD "/gpu_busy_percent", "not a number\n");
    gpu_drm_telemetry(root, "renderD128", NULL, NULL, &t);
    assert_int_equal(t.busy_percent, -1);
}

/* pid: of a process with the node open as descriptors 7 and 8, which are one client, and another file as 9. */
static void client_put(const char *pid, const char *node, const char *address, int client,
                       const char *engines)
{
    char path[128], to[64], text[512];
    for (int fd = 7; fd <= 9; fd++) {
        snprintf(path, sizeof path, "proc/%s/fd/%d", pid, fd);
        snprintf(to, sizeof to, fd < 9 ? "/dev/dri/%s" : "/tmp/%s", node);
        link_put(path, to);
        snprintf(path, sizeof path, "proc/%s/fdinfo/%d", pid, fd);
        snprintf(
            text, sizeof text,
            "pos:\t0\nflags:\t02100002\ndrm-driver:\ti915\ndrm-client-id:\t%d\ndrm-pdev:\t%s\n%s",
            client, address, engines);
        file_put(path, text);
    }
}

static void test_intel_tells_load_by_the_clocks_of_its_clients(void **state)
{
    (void)state;
    struct gpu_drm_sample before, after;
    struct device_telemetry t;
    nodes_put();
    file_put(INTEL "/hwmon/hwmon2/energy1_input", "5000000\n");
    client_put("100", "renderD129", "0000:00:02.0", 5,
               "drm-engine-render:\t1000000000 ns\ndrm-engine-video:\t4000000000 ns\n"
               "drm-engine-capacity-video:\t2\n");
    client_put("101", "renderD129", "0000:00:02.0", 6, "drm-engine-video:\t1000000000 ns\n");
    client_put("102", "renderD128", "0000:03:00.0", 7, "drm-engine-enc:\t9000000000 ns\n");
    gpu_drm_sample(root, "renderD129", 0, &before);
    assert_true(before.any);
    assert_int_equal(before.encode_ns, 3000000000);
    assert_int_equal(before.all_ns, 3000000000);

    /* A second later: one engine of two was busy for 0.5 s, the single one for 0.25 s; 15 J were used. */
    file_put(INTEL "/hwmon/hwmon2/energy1_input", "20000000\n");
    client_put("100", "renderD129", "0000:00:02.0", 5,
               "drm-engine-render:\t1100000000 ns\ndrm-engine-video:\t4500000000 ns\n"
               "drm-engine-capacity-video:\t2\n");
    client_put("101", "renderD129", "0000:00:02.0", 6, "drm-engine-video:\t1250000000 ns\n");
    gpu_drm_sample(root, "renderD129", SL_S_TO_NS(1), &after);
    gpu_drm_telemetry(root, "renderD129", &before, &after, &t);
    assert_int_equal(t.encoder_percent, 50);
    assert_int_equal(t.decoder_percent, 50);
    assert_int_equal(t.busy_percent, 50);
    assert_int_equal(t.power_mw, 15000);

    /* AMD tells the two ways apart. */
    gpu_drm_sample(root, "renderD128", 0, &before);
    client_put("102", "renderD128", "0000:03:00.0", 7,
               "drm-engine-enc:\t9900000000 ns\ndrm-engine-dec:\t100000000 ns\n");
    gpu_drm_sample(root, "renderD128", SL_S_TO_NS(1), &after);
    gpu_drm_telemetry(root, "renderD128", &before, &after, &t);
    assert_int_equal(t.encoder_percent, 90);
    assert_int_equal(t.decoder_percent, 10);
    assert_int_equal(t.busy_percent, 90);

    /* A client that ended takes its clock along: no load is below nothing. */
    client_put("102", "renderD128", "0000:03:00.0", 8, "drm-engine-enc:\t0 ns\n");
    gpu_drm_telemetry(root, "renderD128", &after, &before, &t);
    assert_int_equal(t.encoder_percent, -1);
    gpu_drm_sample(root, "renderD128", SL_S_TO_NS(2), &before);
    gpu_drm_telemetry(root, "renderD128", &after, &before, &t);
    assert_int_equal(t.encoder_percent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nodes_come_sorted_with_driver_and_address, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_amd_tells_load_memory_heat_and_power_in_files, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_intel_tells_load_by_the_clocks_of_its_clients, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("drm", tests, NULL, NULL);
}
