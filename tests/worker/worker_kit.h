/* tests/worker/worker_kit.h: a small agent: starts the real sluice-worker, hands it one job and takes what it makes.
 *
 * Outputs are anonymous files, so that they can be inputs of the next step.
 */
#ifndef SL_TESTS_WORKER_WORKER_KIT_H
#define SL_TESTS_WORKER_WORKER_KIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "model/job_types.h"
#include "model/published_types.h"
#include "model/report_types.h"
#include "scheduler/plan/plan.h"
#include "wire/wire_control.h"

#define KIT_OUTPUTS_MAX 512

struct kit_worker {
    pid_t pid;
    int socket;
};

/* Of the program under test. */
void kit_worker_path(char *out, size_t room);
/* Up to READY. */
void kit_worker_start(struct kit_worker *worker);
/* With an argument (NULL: none); its first frame is left to be read. */
void kit_worker_spawn(struct kit_worker *worker, const char *argument);
/* Closes the socket and waits; the exit status, or -signal. */
int kit_worker_end(struct kit_worker *worker);

struct kit_file {
    int fd;
    int64_t bytes;
};

struct kit_output {
    char name[JOB_NAME_BYTES];
    struct kit_file file;
    bool closed;
};

struct kit_result {
    struct sl_failure failure; /* code 0: a report came */
    struct report report;
    struct sl_buf report_bytes; /* as it came */
    struct kit_output outputs[KIT_OUTPUTS_MAX];
    int32_t output_count;
    int32_t progress_count;
    int64_t progress_done, progress_total;
    int32_t range_requests;
    int64_t range_bytes;
    int exit_status;
};

enum kit_way { KIT_FILES, KIT_RANGES };

/* Starts a worker, has it do the job, and ends it. What it made is the caller's until kit_result_fini. */
void kit_job(const struct job *job, const struct kit_file *inputs, int32_t input_count,
             enum kit_way way, struct sl_arena *arena, struct kit_result *out);
/* The same on a worker that is ready, which goes on afterwards. */
void kit_job_on(struct kit_worker *worker, const struct job *job, const struct kit_file *inputs,
                int32_t input_count, enum kit_way way, struct sl_arena *arena,
                struct kit_result *out);
void kit_result_fini(struct kit_result *result);

/* Fails the test with the worker's sentence when the job failed. */
void kit_must_pass(const struct kit_result *result);

/* The output whose key is given; NULL for none. */
const struct kit_output *kit_output_by_key(const struct kit_result *result, const char *key);

void kit_read(const struct kit_file *file, struct sl_buf *out);
struct kit_file kit_file_of(const void *bytes, size_t length);

/* $SLUICE_MEDIA/clips/name; false when it is not there. */
bool kit_clip(const char *name, struct kit_file *out);
/* Made on the spot by ffmpeg: 4 s of 320x180 with a tone; false without it. */
bool kit_clip_made(struct kit_file *out);

/* H.264 at 90p and 180p, ultrafast, GOPs of 1 s, segments of 2 s: quick to make. */
struct policy kit_policy_small(void);

/* A video on its way through all steps. */
struct kit_video {
    int32_t sessions; /* of a transcode's device; 0: as many as rungs */
    struct kit_file source;
    struct policy policy;
    struct sl_arena arena;
    struct media_info info;
    struct media_index index;
    struct plan plan;
    struct kit_result probe;
    struct kit_result *transcode; /* one per piece */
    struct kit_result audio;
    struct published_set set;
    struct kit_result package;
};

/* Job n of the transcode step, signed for a device. */
void kit_video_transcode_job(struct kit_video *video, int32_t piece, const char *device_id,
                             struct job *out);
void kit_video_probe(struct kit_video *video, enum kit_way way);
void kit_video_plan(struct kit_video *video);
void kit_video_transcode(struct kit_video *video, enum kit_way way);
void kit_video_audio(struct kit_video *video, enum kit_way way);
void kit_video_package(struct kit_video *video);
/* The verify job with all samples of the plan; the set may have been changed before. */
void kit_video_verify(struct kit_video *video, struct kit_result *out);
void kit_video_fini(struct kit_video *video);

/* The file behind a key of the set. */
struct kit_file kit_video_file(const struct kit_video *video, const char *key);

#endif
