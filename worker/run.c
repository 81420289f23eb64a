#include "worker/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "media/media_limits.h"
#include "wire/wire_codec.h"
#include "worker/jobs.h"

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return SL_S_TO_NS(now.tv_sec) + now.tv_nsec;
}

int64_t run_process_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t run_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void descriptors_close(const struct control_frame *frame)
{
    for (int i = 0; i < frame->fd_count; i++)
        close(frame->fds[i]);
}

int run_open(struct worker_run *run, const struct control_frame *frame, struct sl_failure *why)
{
    worker_link_begin(run->link);
    run->received_ns = sl_now_ns();
    run->received_cpu_ns = run_process_cpu_ns();
    run->control.range_fd = -1;
    pthread_mutex_init(&run->output_lock, NULL);
    if (frame->kind != CONTROL_JOB || control_job_parse(frame, &run->control) != SL_OK) {
        descriptors_close(frame);
        run->control = (struct control_job){.range_fd = -1};
        return sl_fail(why, SL_EPROTO, "the agent sent frame %d, which is no readable job",
                       (int)frame->kind);
    }
    int code =
        wire_job_decode(run->control.job, run->control.job_bytes, &run->arena, &run->job, why);
    if (code != SL_OK)
        return code;
    media_limits_set(&run->job.limits);
    run->about = (struct sl_log_about){
        .video = run->job.video, .task = run->job.task.v, .token = run->job.token.v};
    run->report.step = run->job.step;
    snprintf(run->report.device_id, sizeof run->report.device_id, "%s", run->job.device_id);
    return SL_OK;
}

void run_close(struct worker_run *run)
{
    for (int32_t i = 0; i < run->control.input_count; i++)
        if (run->control.inputs[i].fd >= 0)
            close(run->control.inputs[i].fd);
    if (run->control.range_fd >= 0)
        close(run->control.range_fd);
    pthread_mutex_destroy(&run->output_lock);
    sl_arena_fini(&run->arena);
}

/* ---- inputs ---- */

static int range_read(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    const struct run_range *range = arg;
    return control_range_read(range->range_fd, range->input, offset, into, length, out_read);
}

int run_input(struct worker_run *run, int32_t n, struct media_input *out, struct sl_failure *why)
{
    if (n < 0 || n >= run->control.input_count)
        return sl_fail(why, SL_EPROTO, "the job needs input %d and came with %d", n,
                       run->control.input_count);
    const struct control_input *input = &run->control.inputs[n];
    if (input->fd < 0 && run->control.range_fd < 0)
        return sl_fail(why, SL_EPROTO, "input %d is no file, and no range socket came along", n);
    run->ranges[n] = (struct run_range){run->control.range_fd, (uint32_t)n};
    *out = (struct media_input){
        .fd = input->fd, .read = range_read, .arg = &run->ranges[n], .bytes = input->bytes};
    return SL_OK;
}

int run_input_whole(struct worker_run *run, int32_t n, struct sl_buf *out, struct sl_failure *why)
{
    struct media_input input;
    int code = run_input(run, n, &input, why);
    if (code != SL_OK)
        return code;
    if (input.bytes < 0 || input.bytes > RUN_OBJECT_BYTES_MAX)
        return sl_fail(why, SL_ELIMIT, "input %d has %" PRId64 " bytes; %d are the most", n,
                       input.bytes, RUN_OBJECT_BYTES_MAX);
    for (uint64_t at = 0; at < (uint64_t)input.bytes;) {
        uint64_t left = (uint64_t)input.bytes - at;
        uint32_t want = left < MEDIA_READ_BYTES ? (uint32_t)left : MEDIA_READ_BYTES, got = 0;
        unsigned char *into = sl_buf_reserve(out, want);
        if (!into)
            return sl_fail(why, SL_ENOMEM, "no memory for the %" PRId64 " bytes of input %d",
                           input.bytes, n);
        code = media_input_read(&input, at, into, want, &got);
        if (code != SL_OK || got == 0)
            return sl_fail(why, code ? code : SL_ECHANGED,
                           "input %d of %" PRId64 " bytes cannot be read at byte %" PRIu64 ": %s",
                           n, input.bytes, at, code ? sl_error_text(code) : "it ends there");
        out->length += got;
        at += got;
    }
    return SL_OK;
}

/* ---- progress ---- */

void run_progress(struct worker_run *run, int64_t done, int64_t total)
{
    int64_t now_ns = sl_now_ns();
    int_fast64_t last_ns = atomic_load(&run->progress_ns);
    if (now_ns - last_ns < RUN_PROGRESS_NS ||
        !atomic_compare_exchange_strong(&run->progress_ns, &last_ns, now_ns))
        return;
    worker_link_progress(run->link, done, total);
}

void run_first_work(struct worker_run *run)
{
    int_fast64_t none = 0;
    int64_t now_ns = sl_now_ns();
    if (atomic_compare_exchange_strong(&run->first_work_ns, &none, now_ns))
        sl_debug(&run->about, "first packet at %" PRId64 " in process %ld", now_ns, (long)getpid());
}

/* ---- the last word ---- */

static int job_do(struct worker_run *run, struct sl_failure *why)
{
    switch (run->job.step) {
    case STEP_PROBE:
        return job_probe(run, why);
    case STEP_TRANSCODE:
        return job_transcode(run, why);
    case STEP_AUDIO:
        return job_audio(run, why);
    case STEP_SUBTITLES:
        return job_text(run, why);
    case STEP_IMAGES:
        return job_images(run, why);
    case STEP_PACKAGE:
        return job_package(run, why);
    case STEP_VERIFY:
        return job_verify(run, why);
    default:
        return sl_fail(why, SL_EVERSION, "this worker does not know step %d: update the node",
                       (int)run->job.step);
    }
}

static int report_send(struct worker_run *run, struct sl_failure *why)
{
    struct report *report = &run->report;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    int64_t first_ns = atomic_load(&run->first_work_ns);
    report->cpu_ns = run_process_cpu_ns() - run->received_cpu_ns;
    report->wall_ns = sl_now_ns() - run->received_ns;
    report->first_work_ns = first_ns ? first_ns - run->received_ns : 0;
    report->memory_max_bytes = (int64_t)usage.ru_maxrss * 1024;
    struct sl_buf bytes = {0};
    int code = wire_report_encode(report, &bytes);
    if (code == SL_OK && bytes.failed)
        code = SL_ENOMEM;
    if (code == SL_OK && bytes.length > REPORT_BYTES_MAX)
        code = sl_fail(why, SL_ELIMIT, "the report has %zu bytes; %d are the most", bytes.length,
                       REPORT_BYTES_MAX);
    else if (code != SL_OK)
        code = sl_fail(why, code, "the report cannot be written: %s", sl_error_text(code));
    if (code == SL_OK) {
        worker_link_finish(run->link);
        sl_debug(&run->about, "last word at %" PRId64 " of process %ld", sl_now_ns(),
                 (long)getpid());
        code = worker_link_send(run->link, CONTROL_REPORT, bytes.data, bytes.length);
    }
    sl_buf_fini(&bytes);
    return code;
}

/* Memory is refused to this process by its own limit long before a machine refuses it; to go on asking other nodes would
 * be in vain. */
static void memory_explain(const struct worker_run *run, struct sl_failure *why)
{
    struct rlimit limit;
    if (why->code == SL_ENOMEM && getrlimit(RLIMIT_DATA, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY)
        sl_fail(why, SL_ETOOBIG,
                "the source needs more memory than the %lld MiB that limits.%s allows",
                (long long)(limit.rlim_cur >> 20),
                run->job.step == STEP_PROBE ? "probe_memory" : "memory");
}

int run_finish(struct worker_run *run)
{
    struct sl_failure why = {0};
    int code = job_do(run, &why);
    if (code == SL_OK)
        code = report_send(run, &why);
    if (code == SL_OK)
        return SL_OK;
    if (why.code == SL_OK)
        sl_fail(&why, code, "%s", sl_error_text(code));
    memory_explain(run, &why);
    sl_warn(&run->about, "%s: %s", step_word(run->job.step), why.message);
    worker_link_finish(run->link);
    worker_link_failed(run->link, &why);
    return code;
}
