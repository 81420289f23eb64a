#include "agent/lease_run.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/lease_outputs.h"
#include "agent/lease_ranges.h"
#include "agent/lease_worker.h"
#include "base/log.h"
#include "base/time.h"
#include "wire/wire_codec.h"
#include "wire/wire_control.h"

struct lease_run {
    struct lease_place place;
    const struct sync_grant *grant;
    lease_progress_fn *progress;
    void *arg;
    int stop_fd; /* readable once stopped */
    struct lease_outputs *outputs;
    struct lease_ranges ranges;
    struct sl_log_about about;
    char video[VIDEO_ID_TEXT_BYTES];

    /* while it goes */
    struct sl_arena arena; /* of the job */
    struct job job;
    struct lease_worker worker;
    int32_t sessions; /* that its report tells of */
    bool fed;         /* the same */
    int64_t start_ns, end_ns;
    int64_t progress_at_ns, done, total;
    int input_fds[JOB_INPUTS_MAX];
};

int lease_run_open(const struct lease_place *place, const struct sync_grant *grant,
                   lease_progress_fn *progress, void *arg, struct lease_run **out,
                   struct sl_failure *why)
{
    struct lease_run *run = calloc(1, sizeof *run);
    if (!run)
        return sl_fail(why, SL_ENOMEM, "not enough memory for a lease");
    run->place = *place;
    run->grant = grant;
    run->progress = progress;
    run->arg = arg;
    run->done = -1;
    run->about = (struct sl_log_about){.video = video_id_format(grant->video, run->video),
                                       .task = grant->task.v,
                                       .token = grant->token.v};
    run->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code =
        run->stop_fd < 0
            ? sl_fail(why, sl_error_from_errno(errno), "cannot start a lease: %s", strerror(errno))
            : lease_outputs_open(place->store, place->leases_fd, grant->output_prefix, grant->token,
                                 grant->ticket, &run->outputs, why);
    if (code) {
        if (run->stop_fd >= 0)
            close(run->stop_fd);
        free(run);
        return code;
    }
    lease_ranges_init(&run->ranges, place->cache, place->store, grant);
    run->place.store = agent_store_ref(place->store);
    *out = run;
    return SL_OK;
}

void lease_run_stop(struct lease_run *run)
{
    eventfd_write(run->stop_fd, 1);
    lease_ranges_stop(&run->ranges);
    lease_outputs_stop(run->outputs);
}

void lease_run_delete_outputs(struct lease_run *run)
{
    lease_outputs_delete(run->outputs);
}

void lease_run_close(struct lease_run **at)
{
    struct lease_run *run = *at;
    if (!run)
        return;
    *at = NULL;
    lease_outputs_close(&run->outputs);
    agent_store_unref(&run->place.store);
    close(run->stop_fd);
    free(run);
}

/* ---- inputs ---- */

static int input_open(struct lease_run *run, const struct sync_input *input, int *out,
                      struct sl_failure *why)
{
    int fd = -1;
    struct stat st;
    int code = objects_open_fd(agent_store_objects(run->place.store), input->key, &fd);
    if (code)
        return sl_fail(why, code, "the input %s cannot be opened: %s", input->key,
                       sl_error_text(code));
    if (fstat(fd, &st) == 0 && st.st_size != input->bytes) {
        close(fd);
        return sl_fail(why, SL_ECHANGED,
                       "the input %s has %lld bytes; it had %lld when it was taken in", input->key,
                       (long long)st.st_size, (long long)input->bytes);
    }
    *out = fd;
    return SL_OK;
}

static void inputs_close(struct lease_run *run, int count)
{
    for (int i = 0; i < count; i++)
        if (run->input_fds[i] >= 0)
            close(run->input_fds[i]);
}

/* A probe's CPU time grows with what it has to read. */
#define PROBE_BYTES_PER_S (INT64_C(8) << 20)

static void worker_limit(const struct lease_run *run)
{
    const struct limits *limits = &run->job.limits;
    bool probe = run->job.step == STEP_PROBE;
    int64_t planned = 2 * run->grant->demand.memory_bytes;
    int64_t memory_bytes = probe                      ? limits->probe_memory
                           : limits->memory > planned ? limits->memory
                                                      : planned;
    int64_t cpu_ns = limits->cpu;
    if (probe)
        cpu_ns = limits->probe_time +
                 SL_S_TO_NS(
                     run->grant->input_count ? run->grant->inputs[0].bytes / PROBE_BYTES_PER_S : 0);
    worker_process_limit(&run->worker.process, limits, memory_bytes, cpu_ns);
}

static int job_send(struct lease_run *run, struct control_job *job, struct sl_failure *why)
{
    const struct sync_grant *grant = run->grant;
    bool local = agent_store_is_local(run->place.store);
    bool ranges = false;
    int code = SL_OK;
    job->range_fd = -1;
    job->input_count = grant->input_count;
    int opened = 0;
    for (; opened < grant->input_count && !code; opened++) {
        int *fd = &run->input_fds[opened];
        *fd = -1;
        if (local && opened < LEASE_INPUT_FDS_MAX)
            code = input_open(run, &grant->inputs[opened], fd, why);
        else
            ranges = true;
        job->inputs[opened] = (struct control_input){grant->inputs[opened].bytes, *fd};
    }
    if (!code && ranges)
        code = lease_ranges_start(&run->ranges, &job->range_fd, why);
    struct sl_buf bytes = {0};
    if (!code && wire_job_encode(&run->job, &bytes))
        code = sl_fail(why, SL_EINTERNAL, "the job cannot be encoded");
    if (!code) {
        worker_limit(run);
        job->job = bytes.data;
        job->job_bytes = bytes.length;
        code = control_job_send(run->worker.process.socket, job);
        if (code == SL_EUNREACH)
            code = SL_EWORKER;
        if (code)
            sl_fail(why, code, "the job could not be handed to its worker: %s",
                    sl_error_text(code));
    }
    sl_buf_fini(&bytes);
    inputs_close(run, opened);
    if (job->range_fd >= 0)
        close(job->range_fd);
    return code;
}

/* ---- frames ---- */

static void progressed(struct lease_run *run)
{
    run->progress_at_ns = sl_now_ns();
}

static int64_t watchdog_of(const struct lease_run *run)
{
    return run->grant->watchdog_ns > 0 ? run->grant->watchdog_ns : LEASE_WATCHDOG_DEFAULT_NS;
}

static int on_open(struct lease_run *run, const struct control_frame *frame, struct sl_failure *why)
{
    char name[JOB_NAME_BYTES];
    if (frame->body.length >= sizeof name || memchr(frame->body.data, '\0', frame->body.length))
        return sl_fail(why, SL_EPROTO, "the worker asked for an output with an overlong name");
    memcpy(name, frame->body.data, frame->body.length);
    name[frame->body.length] = '\0';
    uint32_t number = 0;
    int fd = -1;
    int code = lease_outputs_new(run->outputs, name, watchdog_of(run), &number, &fd, why);
    if (code)
        return code;
    number = htole32(number);
    code = control_send(run->worker.process.socket, CONTROL_OUTPUT, &number, sizeof number, &fd, 1);
    progressed(run);
    return code == SL_EUNREACH ? SL_OK /* its end will be seen */
           : code              ? sl_fail(why, code, "output %s could not be handed over: %s", name,
                                         sl_error_text(code))
                               : SL_OK;
}

static int on_closed(struct lease_run *run, const struct control_frame *frame,
                     struct sl_failure *why)
{
    uint32_t number;
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
    if (control_closed_parse(frame, &number, &bytes, sha256))
        return sl_fail(why, SL_EPROTO, "the worker sent an unreadable CLOSED");
    progressed(run);
    return lease_outputs_closed(run->outputs, number, bytes, sha256, why);
}

static int on_progress(struct lease_run *run, const struct control_frame *frame,
                       struct sl_failure *why)
{
    int64_t done, total;
    if (control_progress_parse(frame, &done, &total))
        return sl_fail(why, SL_EPROTO, "the worker sent an unreadable PROGRESS");
    if (done > run->done) { /* saying the same again is no progress */
        run->done = done;
        progressed(run);
    }
    run->total = total;
    run->progress(run->arg, done, total);
    return SL_OK;
}

enum word { WORD_NONE, WORD_REPORT, WORD_FAILED, WORD_GONE };

/* One frame. A code other than 0 ends the lease with it. */
static int frame_take(struct lease_run *run, struct control_frame *frame, enum word *last,
                      struct sl_failure *why)
{
    int code = control_receive(run->worker.process.socket, frame, 0);
    if (code == SL_ETIMEDOUT)
        return SL_OK;
    if (code == SL_EUNREACH) {
        *last = WORD_GONE;
        return SL_OK;
    }
    if (code)
        return sl_fail(why, code == SL_EPROTO ? SL_EWORKER : code,
                       "the worker's talk became unreadable: %s", sl_error_text(code));
    for (int i = 0; i < frame->fd_count; i++)
        close(frame->fds[i]);
    switch (frame->kind) {
    case CONTROL_OPEN:
        return on_open(run, frame, why);
    case CONTROL_CLOSED:
        return on_closed(run, frame, why);
    case CONTROL_PROGRESS:
        return on_progress(run, frame, why);
    case CONTROL_REPORT:
        *last = WORD_REPORT;
        return SL_OK;
    case CONTROL_FAILED:
        *last = WORD_FAILED;
        return SL_OK;
    default:
        return sl_fail(why, SL_EWORKER,
                       "the worker sent a frame of kind %d, which is not its to "
                       "send",
                       (int)frame->kind);
    }
}

static int watchdog_fail(const struct lease_run *run, int64_t watchdog_ns, struct sl_failure *why)
{
    const char *device = lease_worker_driver(&run->worker);
    return sl_fail(why, SL_EHANG,
                   "no progress for %.1f s at %" PRId64 " of %" PRId64
                   "%s%s; the worker was killed",
                   (double)watchdog_ns / 1e9, run->done < 0 ? 0 : run->done, run->total,
                   device[0] ? " on device " : "", device);
}

/* Until the worker's last word, which is then in frame. SL_ECANCELLED when stopped. */
static int talk(struct lease_run *run, struct control_frame *frame, enum word *last,
                struct sl_failure *why)
{
    int64_t watchdog_ns = watchdog_of(run);
    progressed(run);
    while (*last == WORD_NONE) {
        int64_t left_ns = run->progress_at_ns + watchdog_ns - sl_now_ns();
        if (left_ns <= 0)
            return watchdog_fail(run, watchdog_ns, why);
        int64_t left_ms = SL_NS_TO_MS(left_ns) + 1;
        struct pollfd waiting[] = {
            {.fd = run->stop_fd, .events = POLLIN},
            {.fd = lease_outputs_fault_fd(run->outputs), .events = POLLIN},
            {.fd = run->worker.process.socket, .events = POLLIN},
        };
        if (poll(waiting, 3, left_ms > 60000 ? 60000 : (int)left_ms) < 0 && errno != EINTR)
            return sl_fail(why, sl_error_from_errno(errno), "waiting for the worker failed");
        if (waiting[0].revents)
            return sl_fail(why, SL_ECANCELLED, "the lease was stopped");
        if (waiting[1].revents)
            return lease_outputs_wait(run->outputs, why);
        if (waiting[2].revents) {
            int code = frame_take(run, frame, last, why);
            if (code)
                return code;
        }
    }
    return SL_OK;
}

/* ---- the end ---- */

static int report_make(struct lease_run *run, const struct control_frame *frame,
                       const struct worker_costs *costs, struct lease_result *out,
                       struct sl_failure *why)
{
    struct sl_arena arena = {0};
    struct report report;
    int code = wire_report_decode(frame->body.data, frame->body.length, &arena, &report, why);
    if (code)
        sl_fail(why, SL_EWORKER, "the worker's report is unreadable");
    else
        code = lease_outputs_match(run->outputs, &report, why);
    if (!code) {
        if (!report.device_id[0])
            memcpy(report.device_id, out->device_id, sizeof report.device_id);
        if (report.step == STEP_TRANSCODE)
            run->sessions = report.transcode.sessions;
        run->fed = report.feed_device_id[0] != '\0';
        memcpy(out->device_id, report.device_id, sizeof out->device_id);
        report.cpu_ns = costs->cpu_ns;
        report.wall_ns = run->end_ns - run->start_ns;
        report.memory_max_bytes = costs->memory_max_bytes;
        code = wire_report_encode(&report, &out->report);
        if (code)
            sl_fail(why, code, "the report of %d outputs is over its %d bytes", report.output_count,
                    REPORT_BYTES_MAX);
    }
    sl_arena_fini(&arena);
    return why->code;
}

/* What a node lacks or may not do is the node's fault: it must not end the task for all nodes, as the same
 * code does when a worker gives it as its verdict on the job. */
static void own_failure_soften(struct sl_failure *failure)
{
    if (sl_error_class(failure->code) == SL_CLASS_CONFIG)
        failure->code = SL_EIO;
}

/* With a worker. Leaves failure.code 0 only when all is stored and reported. */
static void work(struct lease_run *run, struct lease_result *out)
{
    static const struct control_job nothing = {.range_fd = -1};
    struct sl_failure *why = &out->failure;
    struct control_frame frame = {0};
    struct worker_costs costs;
    enum word last = WORD_NONE;
    struct control_job *job = malloc(sizeof *job);
    int code = job ? SL_OK : sl_fail(why, SL_ENOMEM, "not enough memory for a job");
    if (!code) {
        *job = nothing;
        code = job_send(run, job, why);
    }
    free(job);
    worker_pool_refill(run->place.pool);
    if (!code)
        code = talk(run, &frame, &last, why);
    run->end_ns = sl_now_ns();
    if (!code && last == WORD_REPORT)
        code = lease_outputs_wait(run->outputs, why);
    bool stays = run->worker.process.serves_more && !code && last == WORD_REPORT;
    if (stays)
        worker_process_costs(&run->worker.process, &costs);
    else
        lease_worker_end(&run->worker, code ? 0 : WORKER_EXIT_NS, &costs);
    lease_ranges_end(&run->ranges);
    if (!code && last == WORD_GONE)
        code = worker_process_explain(&costs, why);
    else if (code == SL_EWORKER && costs.signal && costs.signal != SIGKILL)
        code = worker_process_explain(&costs, why);
    bool verdict = !code && last == WORD_FAILED;
    if (verdict) {
        code = control_failed_parse(&frame, why);
        code = code ? sl_fail(why, SL_EWORKER, "the worker's failure is unreadable") : why->code;
    }
    if (!code)
        report_make(run, &frame, &costs, out, why);
    if (stays)
        lease_worker_give(&run->worker, why->code == SL_OK, run->fed);
    if (!verdict)
        own_failure_soften(why);
    control_frame_fini(&frame);
}

static int job_read(struct lease_run *run, struct sl_failure *why)
{
    int code = wire_job_decode(run->grant->job, run->grant->job_bytes, &run->arena, &run->job, why);
    if (!code && run->job.token.v != run->grant->token.v)
        code = sl_fail(why, SL_EPROTO, "the job is one of another lease");
    return code;
}

void lease_run_go(struct lease_run *run, struct lease_result *out)
{
    *out = (struct lease_result){0};
    memcpy(out->device_id, run->place.device_id, sizeof out->device_id);
    run->start_ns = sl_now_ns();
    int code = job_read(run, &out->failure);
    if (!code)
        code = lease_worker_take(&run->worker, &run->place, run->grant->video, &run->job,
                                 &out->no_worker, &out->failure);
    if (run->worker.claim.device_id[0])
        memcpy(out->device_id, run->worker.claim.device_id, sizeof out->device_id);
    if (code)
        own_failure_soften(&out->failure);
    else
        work(run, out);
    lease_worker_settle(&run->worker, &out->failure, run->sessions);
    sl_arena_fini(&run->arena);
    uint64_t stops;
    out->stopped = eventfd_read(run->stop_fd, &stops) == 0;
    if (out->stopped)
        out->failure = (struct sl_failure){SL_ECANCELLED, "the lease was stopped"};
    if (!out->failure.code)
        return;
    sl_buf_fini(&out->report);
    lease_outputs_delete(run->outputs);
    if (!out->stopped)
        sl_warn(&run->about, "%s failed: %s", step_word(run->grant->step), out->failure.message);
}
