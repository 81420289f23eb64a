/* Messages from strangers. The first byte says which; then either raw bytes, or a seed of a valid message and changes to
 * it, so that the decoders' insides are reached at once. What is taken can be sent again, and is then the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/wire/wire_random.h"
#include "wire/wire_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUEST, ANSWER, JOB, REPORT, INDEX, INFO, PLAN, PUBLISHED, KINDS };

static void message_make(int kind, uint64_t seed, struct sl_buf *out)
{
    struct random r = {.state = seed};
    union {
        struct sync_request request;
        struct sync_answer answer;
        struct job job;
        struct report report;
        struct media_index index;
        struct media_info info;
        struct plan plan;
        struct published_set published;
    } *m = calloc(1, sizeof *m);
    static const enum step steps[] = {STEP_PROBE, STEP_TRANSCODE, STEP_AUDIO, STEP_PACKAGE,
                                      STEP_VERIFY};
    enum step step = steps[seed % 5];
    switch (kind) {
    case REQUEST:
        random_request(&r, &m->request);
        wire_request_encode(&m->request, out);
        break;
    case ANSWER:
        random_answer(&r, &m->answer);
        wire_answer_encode(&m->answer, out);
        break;
    case JOB:
        random_job(&r, step, &m->job);
        wire_job_encode(&m->job, out);
        break;
    case REPORT:
        random_report(&r, step, &m->report);
        wire_report_encode(&m->report, out);
        break;
    case INDEX:
        random_index(&r, 1 + seed % 200, &m->index);
        wire_index_encode(&m->index, out);
        break;
    case INFO:
        random_info(&r, &m->info);
        wire_info_encode(&m->info, out);
        break;
    case PLAN:
        random_plan(&r, &m->plan);
        wire_plan_encode(&m->plan, out);
        break;
    default:
        random_published(&r, &m->published);
        wire_published_encode(&m->published, out);
    }
    free(m);
    sl_arena_fini(&r.arena);
}

/* Each three bytes: a place, and what becomes of the byte there. */
static void message_change(struct sl_buf *bytes, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 4 <= size && bytes->length; i += 4) {
        size_t at = ((size_t)data[i] << 8 | data[i + 1]) % bytes->length;
        switch (data[i + 2] % 4) {
        case 0:
            bytes->data[at] ^= data[i + 3];
            break;
        case 1:
            bytes->data[at] = data[i + 3];
            break;
        case 2:
            bytes->length = at;
            break;
        default:
            memset(bytes->data + at, data[i + 3], bytes->length - at < 9 ? bytes->length - at : 9);
        }
    }
}

/* Decodes, and what was taken goes round once more. */
#define ROUND(type, name, ...)                                                                     \
    do {                                                                                           \
        struct type *one = calloc(1, sizeof *one);                                                 \
        if (wire_##name##_decode(data, size, __VA_ARGS__ one, &why) == SL_OK) {                    \
            struct sl_buf again = {0};                                                             \
            if (wire_##name##_encode(one, &again) == SL_OK &&                                      \
                wire_##name##_decode(again.data, again.length, __VA_ARGS__ one, &why) != SL_OK)    \
                abort();                                                                           \
            sl_buf_fini(&again);                                                                   \
        } else if (!why.message[0]) {                                                              \
            abort();                                                                               \
        }                                                                                          \
        free(one);                                                                                 \
    } while (0)

static void message_take(int kind, const uint8_t *data, size_t size)
{
    struct sl_arena arena = {0};
    struct sl_failure why = {0};
    switch (kind) {
    case REQUEST:
        ROUND(sync_request, request, &arena, );
        break;
    case ANSWER:
        ROUND(sync_answer, answer, &arena, );
        break;
    case JOB:
        ROUND(job, job, &arena, );
        break;
    case REPORT:
        ROUND(report, report, &arena, );
        break;
    case INDEX:
        ROUND(media_index, index, &arena, );
        break;
    case INFO:
        ROUND(media_info, info, &arena, );
        break;
    case PLAN:
        ROUND(plan, plan, &arena, );
        break;
    default:
        ROUND(published_set, published, &arena, );
    }
    sl_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int kind = data[0] % KINDS;
    bool raw = data[0] & 0x80;
    data++;
    size--;
    if (raw) {
        message_take(kind, data, size);
        return 0;
    }
    uint64_t seed = 0;
    size_t n = size < sizeof seed ? size : sizeof seed;
    memcpy(&seed, data, n);
    struct sl_buf bytes = {0};
    message_make(kind, seed, &bytes);
    message_change(&bytes, data + n, size - n);
    /* A copy of just that length, so that a read past its end is seen. */
    uint8_t *exact = malloc(bytes.length ? bytes.length : 1);
    if (bytes.length)
        memcpy(exact, bytes.data, bytes.length);
    message_take(kind, exact, bytes.length);
    free(exact);
    sl_buf_fini(&bytes);
    return 0;
}
