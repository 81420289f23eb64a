/* tests/wire/wire_random.h: model values with every member set, from a seed. */
#ifndef SL_TESTS_WIRE_RANDOM_H
#define SL_TESTS_WIRE_RANDOM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "wire/wire_codec.h"

struct random {
    uint64_t state;
    struct sl_arena arena; /* of what it makes */
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t x = r->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* From SLUICE_SEED, else fresh; printed so that a failure can be replayed. */
static inline struct random random_start(void)
{
    const char *text = getenv("SLUICE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)(uintptr_t)&text * 31 + 7;
    if (!text) {
        FILE *f = fopen("/dev/urandom", "rb");
        if (f) {
            size_t n = fread(&seed, sizeof seed, 1, f);
            (void)n;
            fclose(f);
        }
    }
    printf("SLUICE_SEED=%" PRIu64 "\n", seed);
    return (struct random){.state = seed};
}

static inline size_t random_below(struct random *r, size_t n)
{
    return (size_t)(random_next(r) % n);
}

/* Never 0, so that a member that the codec forgets shows. */
static inline int64_t random_i64(struct random *r)
{
    int64_t value = (int64_t)(random_next(r) >> random_below(r, 60));
    return value ? value : 1;
}

static inline int64_t random_size(struct random *r)
{
    int64_t value = (int64_t)(random_next(r) >> (1 + random_below(r, 60)));
    return value ? value : 1;
}

static inline int32_t random_i32(struct random *r)
{
    int32_t value = (int32_t)random_i64(r);
    return value ? value : 1;
}

static inline struct rational random_rational(struct random *r)
{
    return (struct rational){random_i32(r), random_i32(r)};
}

static inline void random_text(struct random *r, char *out, size_t out_bytes)
{
    size_t length = 1 + random_below(r, out_bytes - 1);
    for (size_t i = 0; i < length; i++)
        out[i] = (char)(1 + random_below(r, 255));
    out[length] = '\0';
}

#define TEXT(r, member) random_text(r, member, sizeof member)

static inline uint8_t *random_bytes(struct random *r, size_t length)
{
    uint8_t *bytes = sl_arena_alloc(&r->arena, length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)random_next(r);
    return bytes;
}

void random_device(struct random *r, struct device_row *out);
void random_request(struct random *r, struct sync_request *out);
void random_answer(struct random *r, struct sync_answer *out);
void random_info(struct random *r, struct media_info *out);
void random_index(struct random *r, size_t count, struct media_index *out);
void random_plan(struct random *r, struct plan *out);
void random_job(struct random *r, enum step step, struct job *out);
void random_report(struct random *r, enum step step, struct report *out);
void random_published(struct random *r, struct published_set *out);

#endif
