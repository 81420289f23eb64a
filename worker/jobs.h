/* worker/jobs.h: the steps that a worker can do, one function each.
 *
 * Each fills its part of run->report and writes its outputs. 0 or SL_E* with the sentence in why.
 */
#ifndef SL_WORKER_JOBS_H
#define SL_WORKER_JOBS_H

#include "worker/run.h"

int job_probe(struct worker_run *run, struct sl_failure *why);
int job_transcode(struct worker_run *run, struct sl_failure *why);
int job_audio(struct worker_run *run, struct sl_failure *why);
int job_package(struct worker_run *run, struct sl_failure *why);
int job_verify(struct worker_run *run, struct sl_failure *why);

#endif
