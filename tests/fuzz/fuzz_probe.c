/* Bytes as a source: probed as a worker does it, its index through the wire, and planned as the daemon does it. */
#include <libavutil/mem.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "config/config.h"
#include "media/media_limits.h"
#include "media/media_log.h"
#include "media/media_probe.h"
#include "scheduler/plan/plan.h"
#include "wire/wire_codec.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t size;
};

static int bytes_read(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    const struct bytes *bytes = arg;
    uint64_t left = offset < bytes->size ? bytes->size - offset : 0;
    *out_read = left < length ? (uint32_t)left : length;
    memcpy(into, bytes->data + (offset < bytes->size ? offset : 0), *out_read);
    return SL_OK;
}

static struct policy policy;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct limits limits;
    limits_default(&limits);
    limits.pixels = 1 << 18; /* speed, not safety */
    limits.packets = 4000;
    limits.frames = 2000;
    limits.streams = 16;
    media_limits_set(&limits);
    av_max_alloc(64 << 20); /* a worker has its process's limit instead */
    media_log_start();
    config_policy_default(&policy);
    return 0;
}

static void plan_it(const struct media_info *info, const struct media_index *index,
                    struct sl_arena *arena)
{
    struct sl_buf bytes = {0};
    struct media_index back;
    struct plan plan;
    struct sl_failure why = {0};
    if (wire_index_encode(index, &bytes) != SL_OK ||
        wire_index_decode(bytes.data, bytes.length, arena, &back, &why) != SL_OK ||
        back.count != index->count)
        abort(); /* what the probe makes, the daemon can read */
    if (plan_build(info, &back, &policy, arena, &plan, &why) != SL_OK && !why.message[0])
        abort(); /* every refusal has its sentence */
    sl_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    struct media_input input = {
        .fd = -1, .read = bytes_read, .arg = &bytes, .bytes = (int64_t)size};
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    struct sl_failure why = {0};
    int code = media_probe(&input, -1, &arena, NULL, &info, &index, &why);
    if (code == SL_OK)
        plan_it(&info, &index, &arena);
    else if (!why.message[0])
        abort();
    sl_arena_fini(&arena);
    return 0;
}
