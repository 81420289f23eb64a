/* tests/agent/place.h: a folder, a local store and a place for leases, all temporary. */
#ifndef SL_TESTS_AGENT_PLACE_H
#define SL_TESTS_AGENT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/lease_run.h"
#include "agent/scratch.h"

struct test_place {
    char folder[64];
    char store_path[96];
    char scratch_path[96];
    struct objects *objects; /* the test's own handle */
    char store_id[NODE_UUID_BYTES];
};

/* build/tests/agent/fake_worker */
const char *fake_worker_path(void);

void test_place_open(struct test_place *place);
void test_place_close(struct test_place *place);
/* An object of length pseudo-random bytes. */
void test_place_put(struct test_place *place, const char *key, size_t length);
int test_place_count(struct test_place *place, const char *prefix);

/* A grant whose job is the scenario (fake_worker.c). Free with grant_free. */
/* What its job may cost; 0 is the default. */
extern struct limits grant_limits;
struct sync_grant *grant_make(uint64_t token, const char *scenario, const char *const *inputs,
                              const int64_t *input_bytes, int input_count);
/* One whose job encodes H.264 with the encoder at so many rungs, for a video. */
struct sync_grant *grant_encoder_make(uint64_t token, int64_t video, const char *encoder,
                                      const char *scenario, int32_t rungs);
void grant_free(struct sync_grant *grant);

#endif
