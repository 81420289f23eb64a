/* worker/measure_source.h: a small source made of golden pictures, and the lease's job that makes a ladder of it.
 *
 * Owns:    the file in memory, until close; what a job points to.
 * Threads: one.
 */
#ifndef SL_WORKER_MEASURE_SOURCE_H
#define SL_WORKER_MEASURE_SOURCE_H

#include "hal/hal.h"
#include "model/job_types.h"

#define MEASURE_RUNGS 3

struct measure_source {
    int fd; /* an MP4 of H.264; -1: none */
    int64_t bytes;
    int32_t width, height, frames;
    struct job_segment segment;
    struct plan_rung rungs[MEASURE_RUNGS]; /* two thirds of its size, four ninths, one third */
    int64_t rung_pix;                      /* of a frame of all rungs */
};

/* Encoded by x264 of the CPU. */
int measure_source_open(struct hal_device *cpu, int32_t width, int32_t height, int32_t frames,
                        struct measure_source *out, struct sl_failure *why);
/* H.264 by x264 at preset medium, of the source as a probe saw it. */
void measure_source_job(struct measure_source *source, const struct media_video *video,
                        struct job *out);
void measure_source_close(struct measure_source *source);

#endif
