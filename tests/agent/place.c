#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/agent/place.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/wire_codec.h"

const char *fake_worker_path(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    assert_true(n > 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, "fake_worker");
    return path;
}

void test_place_open(struct test_place *place)
{
    memset(place, 0, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/sluice-test-agent-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->store_path, sizeof place->store_path, "%s/store", place->folder);
    snprintf(place->scratch_path, sizeof place->scratch_path, "%s/scratch", place->folder);
    struct sl_failure why = {0};
    if (objects_open_local(place->store_path, true, &place->objects, place->store_id, &why))
        fail_msg("%s", why.message);
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_place_close(struct test_place *place)
{
    objects_close(&place->objects);
    nftw(place->folder, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

void test_place_put(struct test_place *place, const char *key, size_t length)
{
    unsigned char *bytes = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    struct sl_failure why = {0};
    if (objects_put_bytes(place->objects, NULL, key, bytes, length, true, &why))
        fail_msg("%s", why.message);
    free(bytes);
}

static int one_more(void *arg, const char *key, int64_t bytes)
{
    (void)key;
    (void)bytes;
    ++*(int *)arg;
    return SL_OK;
}

int test_place_count(struct test_place *place, const char *prefix)
{
    int count = 0;
    objects_list(place->objects, prefix, one_more, &count, NULL);
    return count;
}

struct limits grant_limits;

struct sync_grant *grant_make(uint64_t token, const char *scenario, const char *const *inputs,
                              const int64_t *input_bytes, int input_count)
{
    struct sync_grant *grant = calloc(1, sizeof *grant);
    grant->token.v = token;
    grant->task.v = (int64_t)token * 10;
    grant->video.v = 1;
    grant->step = STEP_TRANSCODE;
    grant->watchdog_ns = 1000000000;
    snprintf(grant->output_prefix, sizeof grant->output_prefix, "published/v1/1/");
    grant->input_count = input_count;
    grant->inputs = calloc((size_t)input_count + 1, sizeof *grant->inputs);
    for (int i = 0; i < input_count; i++) {
        snprintf(grant->inputs[i].key, OBJECT_KEY_BYTES, "%s", inputs[i]);
        grant->inputs[i].bytes = input_bytes[i];
    }
    struct job job = {
        .step = STEP_PROBE, .token = {token}, .task = grant->task, .limits = grant_limits};
    snprintf(job.device_id, sizeof job.device_id, "%s", scenario);
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(&job, &bytes), SL_OK);
    grant->job = bytes.data; /* freed as the buffer's memory */
    grant->job_bytes = bytes.length;
    return grant;
}

struct sync_grant *grant_encoder_make(uint64_t token, int64_t video, const char *encoder,
                                      const char *scenario, int32_t rungs)
{
    struct sync_grant *grant = grant_make(token, "", NULL, NULL, 0);
    struct job job = {.step = STEP_TRANSCODE, .token = {token}, .task = grant->task};
    struct plan_rung ladder[POLICY_RUNGS_MAX] = {0};
    assert_true(rungs <= POLICY_RUNGS_MAX);
    for (int32_t i = 0; i < rungs; i++) {
        snprintf(ladder[i].encoder, sizeof ladder[i].encoder, "%s", encoder);
        snprintf(ladder[i].preset, sizeof ladder[i].preset, "%s", scenario);
    }
    strcpy(job.transcode.source.pix_fmt, "yuv420p");
    job.transcode.rungs = ladder;
    job.transcode.rung_count = rungs;
    grant->video.v = video;
    free((void *)grant->job);
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(&job, &bytes), SL_OK);
    grant->job = bytes.data;
    grant->job_bytes = bytes.length;
    return grant;
}

void grant_free(struct sync_grant *grant)
{
    free((void *)grant->job);
    free(grant->inputs);
    free(grant);
}
