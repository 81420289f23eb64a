#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/worker/standin_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

#define PATIENCE_NS (60 * SL_NS_PER_S)

void standin_set(const char *state, const char *faults)
{
    char folder[4096];
    assert_non_null(realpath("build/standin", folder));
    setenv("LD_LIBRARY_PATH", folder, 1);
    setenv("SLUICE_STANDIN_NVENC", "1", 1);
    setenv("SLUICE_STANDIN_STATE", state, 1);
    setenv("SLUICE_STANDIN_FAULTS", faults, 1);
}

static void find(char device_id[DEVICE_ID_BYTES])
{
    device_id[0] = '\0';
    struct kit_worker worker;
    struct control_frame frame = {0};
    static struct device_row rows[NODE_DEVICES_MAX];
    int32_t count = 0;
    kit_worker_spawn(&worker, "--probe-devices");
    assert_int_equal(control_receive(worker.socket, &frame, PATIENCE_NS), SL_OK);
    assert_int_equal(control_devices_parse(&frame, rows, NODE_DEVICES_MAX, &count), SL_OK);
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 0);
    for (int32_t i = 0; i < count; i++)
        if (rows[i].kind == DEVICE_NVENC) {
            assert_true(rows[i].standin);
            memcpy(device_id, rows[i].device_id, DEVICE_ID_BYTES);
        }
    assert_true(device_id[0]);
}

void standin_open(char *folder, const char *faults, char device_id[DEVICE_ID_BYTES])
{
    assert_non_null(mkdtemp(folder));
    standin_set(folder, faults);
    find(device_id);
}

int standin_close(const char *folder, struct kit_video *video)
{
    char command[128];
    kit_video_fini(video);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

enum control_kind standin_worker_start(struct kit_worker *worker, const char *option,
                                       const char *device, struct sl_failure *why)
{
    char argument[DEVICE_ID_BYTES + 16];
    struct control_frame frame = {0};
    snprintf(argument, sizeof argument, "%s=%s", option, device);
    kit_worker_spawn(worker, argument);
    int code = control_receive(worker->socket, &frame, PATIENCE_NS);
    enum control_kind kind = code ? 0 : frame.kind;
    if (kind == CONTROL_FAILED)
        control_failed_parse(&frame, why);
    control_frame_fini(&frame);
    return kind;
}

long standin_counted(const char *state, const char *word)
{
    char command[256], text[4096] = "", key[64];
    snprintf(command, sizeof command, "build/standin/standin-stat %s", state);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t length = fread(text, 1, sizeof text - 1, out);
    text[length] = '\0';
    pclose(out);
    snprintf(key, sizeof key, "\"%s\": ", word);
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtol(at + strlen(key), NULL, 10);
}
