/* worker/jobs.h: the steps that a worker can do, one function each.
 *
 * Each fills its part of run->report and writes its outputs. 0 or SL_E* with the sentence in why.
 */
#ifndef SL_WORKER_JOBS_H
#define SL_WORKER_JOBS_H

#include "model/published_types.h"
#include "worker/run.h"

int job_probe(struct worker_run *run, struct sl_failure *why);
int job_transcode(struct worker_run *run, struct sl_failure *why);
int job_audio(struct worker_run *run, struct sl_failure *why);
int job_text(struct worker_run *run, struct sl_failure *why);
int job_images(struct worker_run *run, struct sl_failure *why);
int job_package(struct worker_run *run, struct sl_failure *why);
int job_verify(struct worker_run *run, struct sl_failure *why);

/* The name under which package writes a rendition's media playlist, and verify looks for it. */
int job_playlist_name(const struct published_rendition *rendition, char out[JOB_NAME_BYTES],
                      struct sl_failure *why);
int job_text_playlist_name(const struct published_text *text, char out[JOB_NAME_BYTES],
                           struct sl_failure *why);

#endif
