/* worker/measure_feed.h: what CPUs make of a source, decoding and scaling it themselves or fed by a GPU.
 *
 * A chunk of golden pictures is made into a ladder by real workers, one for each CPU, all at once: first by such as serve
 * CPU slots, then by such as a GPU feeds (worker/serve.h), as many as its memory is enough for; each in its sandbox and, what
 * matters, with a context of its own on the GPU. The clock runs from the first job to the last report; workers are ready before.
 *
 * Errors:   SL_EUNSUPPORTED: the GPU makes no pictures here (its worker's log says why); or what a worker said; SL_EHANG.
 * Blocking: some seconds, at most two minutes for each of the two.
 */
#ifndef SL_WORKER_MEASURE_FEED_H
#define SL_WORKER_MEASURE_FEED_H

#include "hal/hal.h"

#define MEASURE_JOBS_MAX 256

struct measure_feed_params {
    const char *program; /* sluice-worker */
    const struct hal_device *gpu;
    int32_t width, height, frames; /* of the source */
    int32_t jobs;                  /* at once; 0: as many as there are CPUs */
};

struct measure_feed {
    int32_t jobs;
    double alone_mpix_per_s, fed_mpix_per_s; /* of all rungs of all jobs */
};

int measure_feed(const struct measure_feed_params *params, struct measure_feed *out,
                 struct sl_failure *why);

#endif
