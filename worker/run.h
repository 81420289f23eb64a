/* worker/run.h: one lease's run: its job, its inputs and outputs, and the report that it builds.
 *
 * Owns:    texts and arrays of the job and of the report live in the run's arena; input descriptors are closed with it.
 * Threads: outputs and progress may be used by several threads of a job; all else belongs to the main thread.
 * Errors:  SL_E* with a sentence in why; the sentence is what an operator reads in the task's record.
 */
#ifndef SL_WORKER_RUN_H
#define SL_WORKER_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "hal/hal.h"
#include "media/media_source.h"
#include "model/job_types.h"
#include "model/report_types.h"
#include "wire/wire_control.h"
#include "worker/link.h"

#define RUN_DEVICES_MAX      NODE_DEVICES_MAX
/* Outputs of one lease: an init and PLAN_CHUNK_SEGMENTS_MAX segments for each of the largest ladder's rungs make 780;
 * audio has one per segment of the whole video. The bytes of the report (REPORT_BYTES_MAX) end before this. */
#define RUN_OUTPUTS_MAX      16384
/* An object that is read whole: published sets, playlists, segments to check. */
#define RUN_OBJECT_BYTES_MAX (512 * 1024 * 1024)
/* Progress reports are at least so far apart. */
#define RUN_PROGRESS_NS      SL_MS_TO_NS(250)

/* What an input's read function needs to know. */
struct run_range {
    int range_fd;
    uint32_t input;
};

struct worker_run {
    struct worker_link *link;
    const struct hal_backends *backends;
    struct hal_device *devices;
    int32_t device_count;

    struct sl_arena arena;
    struct job job;
    struct control_job control; /* inputs */
    struct run_range ranges[JOB_INPUTS_MAX];
    struct sl_log_about about;

    int64_t received_ns;
    int64_t received_cpu_ns;
    atomic_int_fast64_t first_work_ns; /* instant; 0: nothing yet */
    atomic_int_fast64_t progress_ns;   /* of the last progress report */

    pthread_mutex_t output_lock; /* one output is asked for at a time, and the report's list */
    struct report report;
    int32_t output_room;
};

/* The control frame of the job, whose descriptors the run takes. SL_EPROTO for one that cannot be a job. */
int run_open(struct worker_run *run, const struct control_frame *frame, struct sl_failure *why);
void run_close(struct worker_run *run);

/* Does the job and sends its last word. */
int run_finish(struct worker_run *run);

/* ---- inputs ---- */

/* Input n as media. */
int run_input(struct worker_run *run, int32_t n, struct media_input *out, struct sl_failure *why);
/* Input n whole. */
int run_input_whole(struct worker_run *run, int32_t n, struct sl_buf *out, struct sl_failure *why);

/* ---- outputs ---- */

/* Writes an output object and puts it on the report's list; *out_index is its place there. */
int run_output(struct worker_run *run, const char *name, const void *bytes, size_t length,
               int32_t *out_index, struct sl_failure *why);

/* The key that the agent makes of an output's name: the token before the last extension. */
int run_output_key(const char *name, struct lease_token token, char out[JOB_NAME_BYTES]);

/* ---- the rest ---- */

void run_progress(struct worker_run *run, int64_t done, int64_t total);
/* Call at the first packet read or decoded. */
void run_first_work(struct worker_run *run);

/* CPU time of the process and of the calling thread. */
int64_t run_process_cpu_ns(void);
int64_t run_thread_cpu_ns(void);

#endif
