/* The agent's side of a worker's talk, as much of it as a measurement needs. */
#include "worker/measure_feed.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "hal/hal_table.h"
#include "wire/wire_codec.h"
#include "wire/wire_control.h"
#include "worker/backends.h"
#include "worker/measure_source.h"

#define READY_NS (30 * SL_NS_PER_S)
#define ROUND_NS (120 * SL_NS_PER_S)

struct hand {
    pid_t pid; /* 0: none */
    int socket;
    uint32_t outputs;
    bool done;
};

/* What reports said. */
struct told {
    struct media_video video; /* of the probe's */
    bool fed;                 /* of the others' */
};

static int hand_start(const char *program, const char *feed, int32_t slot, struct hand *out,
                      struct sl_failure *why)
{
    char numbered[32];
    int pair[2];
    snprintf(numbered, sizeof numbered, "--slot=%d", slot);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sl_fail(why, sl_error_from_errno(errno), "no socket for a worker: %s",
                       strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        if (pair[1] == CONTROL_FD)
            fcntl(pair[1], F_SETFD, 0);
        else
            dup2(pair[1], CONTROL_FD);
        execl(program, "sluice-worker", numbered, feed[0] ? feed : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return sl_fail(why, sl_error_from_errno(errno), "no worker can be started: %s",
                       strerror(errno));
    }
    *out = (struct hand){.pid = pid, .socket = pair[0]};
    return SL_OK;
}

static void hands_end(struct hand *hands, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (hands[i].pid > 0) {
            close(hands[i].socket);
            kill(hands[i].pid, SIGKILL);
        }
    for (int32_t i = 0; i < count; i++)
        if (hands[i].pid > 0)
            waitpid(hands[i].pid, NULL, 0);
}

static int hand_ready(const struct hand *hand, struct sl_failure *why)
{
    struct control_frame frame = {0};
    int code = control_receive(hand->socket, &frame, READY_NS);
    if (code == SL_OK && frame.kind == CONTROL_FAILED)
        code = control_failed_parse(&frame, why) ? SL_EPROTO : why->code;
    else if (code == SL_OK && frame.kind != CONTROL_READY)
        code = SL_EPROTO;
    control_frame_fini(&frame);
    if (code != SL_OK && why->code == SL_OK)
        sl_fail(why, code == SL_ETIMEDOUT ? SL_EHANG : SL_EWORKER, "a worker does not start: %s",
                sl_error_text(code));
    return why->code;
}

static int job_send(const struct hand *hand, const struct measure_source *source,
                    const struct job *job, struct sl_failure *why)
{
    struct sl_buf bytes = {0};
    struct control_job *control = calloc(1, sizeof *control);
    int code = control ? wire_job_encode(job, &bytes) : SL_ENOMEM;
    if (code == SL_OK) {
        control->inputs[0] = (struct control_input){source->bytes, source->fd};
        control->input_count = 1;
        control->range_fd = -1;
        control->job = bytes.data;
        control->job_bytes = bytes.length;
        code = control_job_send(hand->socket, control);
    }
    free(control);
    sl_buf_fini(&bytes);
    return code == SL_OK ? SL_OK
                         : sl_fail(why, code, "a worker takes no job: %s", sl_error_text(code));
}

/* A file that is gone when the worker closes it. */
static int output_give(struct hand *hand)
{
    uint32_t number = htole32(hand->outputs++);
    int fd = memfd_create("output", MFD_CLOEXEC);
    if (fd < 0)
        return sl_error_from_errno(errno);
    int code = control_send(hand->socket, CONTROL_OUTPUT, &number, sizeof number, &fd, 1);
    close(fd);
    return code;
}

static int report_take(const struct control_frame *frame, struct told *told, struct sl_failure *why)
{
    struct sl_arena arena = {0};
    struct report report;
    int code = wire_report_decode(frame->body.data, frame->body.length, &arena, &report, why);
    if (code == SL_OK) {
        told->fed |= report.feed_device_id[0] != '\0';
        if (report.step == STEP_PROBE)
            told->video = report.probe.info.video;
    }
    sl_arena_fini(&arena);
    return code;
}

static int hand_serve(struct hand *hand, struct told *told, struct sl_failure *why)
{
    struct control_frame frame = {0};
    int code = control_receive(hand->socket, &frame, READY_NS);
    if (code == SL_OK && frame.kind == CONTROL_OPEN)
        code = output_give(hand);
    else if (code == SL_OK && frame.kind == CONTROL_REPORT) {
        code = report_take(&frame, told, why);
        hand->done = true;
    } else if (code == SL_OK && frame.kind == CONTROL_FAILED)
        code = control_failed_parse(&frame, why) ? SL_EPROTO : why->code;
    control_frame_fini(&frame);
    if (code != SL_OK && why->code == SL_OK)
        sl_fail(why, code == SL_EUNREACH ? SL_EWORKER : code, "a worker fell silent: %s",
                sl_error_text(code));
    return why->code;
}

static int hands_serve(struct hand *hands, int32_t count, struct told *told, struct sl_failure *why)
{
    struct pollfd waiting[MEASURE_JOBS_MAX];
    int64_t until_ns = sl_now_ns() + ROUND_NS;
    for (int32_t left = count; left > 0;) {
        int64_t left_ns = until_ns - sl_now_ns();
        if (left_ns <= 0)
            return sl_fail(why, SL_EHANG, "%d of %d workers were not done within %d s", left, count,
                           (int)(ROUND_NS / SL_NS_PER_S));
        for (int32_t i = 0; i < count; i++)
            waiting[i] =
                (struct pollfd){.fd = hands[i].done ? -1 : hands[i].socket, .events = POLLIN};
        if (poll(waiting, (nfds_t)count, (int)SL_NS_TO_MS(left_ns) + 1) < 0 && errno != EINTR)
            return sl_fail(why, sl_error_from_errno(errno), "waiting for workers failed");
        left = 0;
        for (int32_t i = 0; i < count; i++) {
            int code = waiting[i].revents ? hand_serve(&hands[i], told, why) : SL_OK;
            if (code != SL_OK)
                return code;
            left += !hands[i].done;
        }
    }
    return SL_OK;
}

/* All jobs at once, the first of them fed; how long they took. */
static int round_do(const struct measure_feed_params *params, const struct measure_source *source,
                    struct job *job, int32_t count, int32_t fed, struct told *told,
                    int64_t *took_ns, struct sl_failure *why)
{
    static struct hand hands[MEASURE_JOBS_MAX];
    char feed[DEVICE_ID_BYTES + 32];
    memset(hands, 0, sizeof hands);
    snprintf(feed, sizeof feed, "--feed=%s:%s", device_kind_word(params->gpu->kind),
             params->gpu->device_id);
    int code = SL_OK;
    for (int32_t i = 0; i < count && code == SL_OK; i++)
        code = hand_start(params->program, i < fed ? feed : "", i, &hands[i], why);
    for (int32_t i = 0; i < count && code == SL_OK; i++)
        code = hand_ready(&hands[i], why);
    int64_t began_ns = sl_now_ns();
    for (int32_t i = 0; i < count && code == SL_OK; i++) {
        snprintf(job->feed_device_id, sizeof job->feed_device_id, "%s",
                 i < fed ? params->gpu->device_id : "");
        code = job_send(&hands[i], source, job, why);
    }
    if (code == SL_OK)
        code = hands_serve(hands, count, told, why);
    *took_ns = sl_now_ns() - began_ns;
    hands_end(hands, count);
    return code;
}

static int rounds_do(const struct measure_feed_params *params, struct measure_source *source,
                     struct measure_feed *out, struct sl_failure *why)
{
    struct job job = {.step = STEP_PROBE, .video = "measure"};
    struct told told = {0};
    int64_t took_ns[2] = {0};
    int64_t room = params->gpu->memory_bytes / HAL_FEED_BYTES;
    int32_t fed = room < 1 ? 1 : room < out->jobs ? (int32_t)room : out->jobs;
    int code = round_do(params, source, &job, 1, 0, &told, &took_ns[0], why);
    measure_source_job(source, &told.video, &job);
    if (code == SL_OK)
        code = round_do(params, source, &job, out->jobs, 0, &told, &took_ns[0], why);
    if (code == SL_OK)
        code = round_do(params, source, &job, out->jobs, fed, &told, &took_ns[1], why);
    if (code != SL_OK)
        return code;
    if (!told.fed)
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the GPU makes no pictures for CPUs: see what its worker said above");
    double work = (double)source->rung_pix * source->frames * out->jobs * 1e3;
    out->alone_mpix_per_s = work / (double)took_ns[0];
    out->fed_mpix_per_s = work / (double)took_ns[1];
    return SL_OK;
}

int measure_feed(const struct measure_feed_params *params, struct measure_feed *out,
                 struct sl_failure *why)
{
    static struct hal_device cpu[1];
    struct measure_source source;
    int32_t found = 0;
    int code = hal_probe_kind(&worker_backends, DEVICE_CPU, cpu, 1, &found, why);
    if (code != SL_OK || found == 0)
        return sl_fail(why, code ? code : SL_ENOENT, "there is no CPU pool to be fed");
    out->jobs = params->jobs > 0 ? params->jobs : cpu->cpus;
    if (out->jobs > MEASURE_JOBS_MAX)
        out->jobs = MEASURE_JOBS_MAX;
    code = measure_source_open(cpu, params->width, params->height, params->frames, &source, why);
    if (code == SL_OK)
        code = rounds_do(params, &source, out, why);
    measure_source_close(&source);
    return code;
}
