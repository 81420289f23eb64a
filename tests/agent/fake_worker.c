/* A worker that does what the job's device_id says, so that an agent's handling of each end can be seen.
 * A scenario is a word, or a word and a number: "succeed", "slow:500". */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "hal/hal_speed.h"
#include "wire/wire_codec.h"
#include "wire/wire_control.h"

static void die(const char *what)
{
    fprintf(stderr, "fake worker: %s\n", what);
    _exit(9);
}

static struct report_output outputs[256];
static int32_t output_count;

static void hash(const void *bytes, size_t length, uint8_t out[SHA256_BYTES])
{
    size_t n = SHA256_BYTES;
    if (!EVP_Q_digest(NULL, "SHA256", NULL, bytes, length, out, &n))
        die("no SHA-256");
}

/* Opens outputs and closes none. */
static void outputs_hold(long count)
{
    for (long i = 0; i < count; i++) {
        struct control_frame frame = {0};
        char name[JOB_NAME_BYTES];
        snprintf(name, sizeof name, "h264/240p/%06ld.m4s", i);
        if (control_send(CONTROL_FD, CONTROL_OPEN, name, strlen(name), NULL, 0) ||
            control_receive(CONTROL_FD, &frame, -1))
            die("no file came");
        control_frame_fini(&frame);
    }
}

/* Writes one output; wrong_bytes and wrong_hash make it lie about it. */
static void output_write(const char *name, const void *bytes, size_t length, int64_t wrong_bytes,
                         int wrong_hash)
{
    struct control_frame frame = {0};
    if (control_send(CONTROL_FD, CONTROL_OPEN, name, strlen(name), NULL, 0) ||
        control_receive(CONTROL_FD, &frame, -1) || frame.kind != CONTROL_OUTPUT ||
        frame.fd_count != 1)
        die("no file came");
    uint32_t number;
    memcpy(&number, frame.body.data, sizeof number);
    if (write(frame.fds[0], bytes, length) != (ssize_t)length)
        die("cannot write");
    close(frame.fds[0]);
    control_frame_fini(&frame);
    struct report_output *output = &outputs[output_count++];
    snprintf(output->name, sizeof output->name, "%s", name);
    output->bytes = (int64_t)length + wrong_bytes;
    hash(bytes, length, output->sha256);
    output->sha256[0] ^= (uint8_t)wrong_hash;
    if (control_closed_send(CONTROL_FD, le32toh(number), output->bytes, output->sha256))
        die("cannot close");
}

static unsigned char *input_read(const struct control_job *job, int32_t n)
{
    size_t length = (size_t)job->inputs[n].bytes;
    unsigned char *bytes = malloc(length + 1);
    for (size_t done = 0; done < length;) {
        uint32_t got = 0;
        size_t want = length - done < 100000 ? length - done : 100000;
        if (job->inputs[n].fd >= 0) {
            ssize_t r = pread(job->inputs[n].fd, bytes + done, want, (off_t)done);
            if (r <= 0)
                die("an input cannot be read");
            got = (uint32_t)r;
        } else {
            int code = control_range_read(job->range_fd, (uint32_t)n, done, bytes + done,
                                          (uint32_t)want, &got);
            if (code) {
                struct sl_failure failure;
                sl_fail(&failure, code, "input %d cannot be read", n);
                control_failed_send(CONTROL_FD, &failure);
                _exit(1);
            }
        }
        done += got;
    }
    return bytes;
}

static void report_send(void)
{
    struct report_segment segments[256];
    memset(segments, 0, sizeof segments);
    for (int i = 0; i < output_count; i++)
        segments[i] = (struct report_segment){.number = i, .output = i};
    struct report_rendition rendition = {
        .name = "240p", .init_output = -1, .segments = segments, .segment_count = output_count};
    struct report report = {.step = STEP_AUDIO,
                            .outputs = outputs,
                            .output_count = output_count,
                            .renditions = &rendition,
                            .rendition_count = 1};
    struct sl_buf bytes = {0};
    if (wire_report_encode(&report, &bytes))
        die("no report");
    control_send(CONTROL_FD, CONTROL_REPORT, bytes.data, bytes.length, NULL, 0);
    sl_buf_fini(&bytes);
}

/* Copies every input to an output of its own. */
static void copy_inputs(const struct control_job *job)
{
    for (int32_t i = 0; i < job->input_count; i++) {
        char name[JOB_NAME_BYTES];
        unsigned char *bytes = input_read(job, i);
        snprintf(name, sizeof name, "h264/240p/%06d.m4s", i);
        output_write(name, bytes, (size_t)job->inputs[i].bytes, 0, 0);
        control_progress_send(CONTROL_FD, i + 1, job->input_count);
        free(bytes);
    }
}

static void steps(int64_t count, int grows)
{
    for (int64_t i = 0; i < count; i++) {
        if (control_progress_send(CONTROL_FD, grows ? i : 1, count))
            _exit(3);
        usleep(20000);
    }
}

/* Nothing of ours but what a worker may have. */
static void descriptors_check(void)
{
    for (int fd = CONTROL_FD + 1; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            die("it has a descriptor too many");
    if (getpgrp() != getpid() || getenv("HOME"))
        die("it is not set apart");
}

/* Keeps a file that it has handed over, and writes into it for a while after its last word. */
static _Noreturn void rewrite(void)
{
    struct control_frame frame = {0};
    static const char name[] = "h264/240p/000000.m4s";
    if (control_send(CONTROL_FD, CONTROL_OPEN, name, strlen(name), NULL, 0) ||
        control_receive(CONTROL_FD, &frame, -1) || frame.fd_count != 1)
        die("no file came");
    struct report_output *output = &outputs[output_count++];
    snprintf(output->name, sizeof output->name, "%s", name);
    output->bytes = 4;
    hash("good", 4, output->sha256);
    uint32_t number;
    memcpy(&number, frame.body.data, sizeof number);
    if (write(frame.fds[0], "good", 4) != 4 ||
        control_closed_send(CONTROL_FD, le32toh(number), 4, output->sha256))
        die("cannot write");
    usleep(200000); /* by now it lies in the store */
    report_send();
    for (int i = 0; i < 20; i++, usleep(10000))
        if (pwrite(frame.fds[0], "evil", 4, 0) != 4)
            die("cannot write again");
    _exit(0);
}

static struct limits limits; /* of the job */

static void limits_try(void)
{
    struct sl_failure failure = {0};
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    void *much = malloc((size_t)limits.probe_memory);
    void *some = malloc((size_t)limits.probe_memory / 2);
    int fd = memfd_create("x", 0), last = fd;
    for (int next; (next = dup(fd)) >= 0;)
        last = next;
    if (much || !some)
        sl_fail(&failure, SL_EINTERNAL, "memory is not limited as said");
    else if (last != limits.descriptors - 1)
        sl_fail(&failure, SL_EINTERNAL, "it may open %d files", last + 1);
    else if (pwrite(fd, "x", 1, limits.output_file) != -1 || errno != EFBIG ||
             pwrite(fd, "x", 1, limits.output_file - 1) != 1)
        sl_fail(&failure, SL_EINTERNAL, "files are not limited as said");
    else if (getrlimit(RLIMIT_CPU, &limit) ||
             limit.rlim_cur > (rlim_t)limits.probe_time / 1000000000 + 2)
        sl_fail(&failure, SL_EINTERNAL, "CPU time is not limited as said");
    free(much);
    free(some);
    if (!failure.code)
        return;
    control_failed_send(CONTROL_FD, &failure);
    _exit(1);
}

static void perform(const char *scenario, const struct control_job *job)
{
    const char *colon = strchr(scenario, ':');
    long number = colon ? strtol(colon + 1, NULL, 10) : 0;
    size_t length = colon ? (size_t)(colon - scenario) : strlen(scenario);
#define IS(word) (length == strlen(word) && memcmp(scenario, word, length) == 0)
    if (IS("crash")) {
        output_write("h264/240p/000000.m4s", "half", 4, 0, 0);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (IS("exit")) {
        _exit(7);
    } else if (IS("hang")) {
        output_write("h264/240p/000000.m4s", "half", 4, 0, 0);
        steps(1000000, 0);
    } else if (IS("lie_bytes")) {
        output_write("h264/240p/000000.m4s", "data", 4, 1, 0);
    } else if (IS("lie_hash")) {
        output_write("h264/240p/000000.m4s", "data", 4, 0, 1);
    } else if (IS("lie_report")) {
        output_write("h264/240p/000000.m4s", "data", 4, 0, 0);
        snprintf(outputs[output_count++].name, JOB_NAME_BYTES, "h264/240p/000001.m4s");
    } else if (IS("escape")) {
        output_write("../../secret", "data", 4, 0, 0);
    } else if (IS("garbage")) {
        if (write(CONTROL_FD, "this is no frame", 16) != 16)
            die("cannot write");
        pause();
    } else if (IS("fail")) {
        struct sl_failure failure = {SL_EDECODE, "no picture at 12.5 s"};
        control_failed_send(CONTROL_FD, &failure);
        _exit(1);
    } else if (IS("extra")) {
        copy_inputs(job);
        output_write("h264/240p/extra.m4s", "extra", 5, 0, 0);
        output_count--;
    } else if (IS("many")) {
        for (int i = 0; i < number; i++) {
            char name[JOB_NAME_BYTES];
            snprintf(name, sizeof name, "h264/240p/%06d.m4s", i);
            output_write(name, name, strlen(name), 0, 0);
        }
    } else if (IS("hold")) {
        outputs_hold(number);
    } else if (IS("refuse")) {
        struct sl_failure failure = {SL_ENOENCODER, "no such encoder"};
        control_failed_send(CONTROL_FD, &failure);
        _exit(1);
    } else if (IS("slow")) {
        steps(number, 1);
        copy_inputs(job);
    } else if (IS("rewrite")) {
        rewrite();
    } else if (IS("limits")) {
        limits_try();
    } else if (IS("sandbox")) {
        raise(SIGSYS);
    } else if (IS("spin")) {
        for (volatile long i = 0;; i++)
            continue;
    } else if (IS("burn")) {
        for (volatile long i = 0; i < number * 1000000; i++)
            continue;
        copy_inputs(job);
    } else {
        copy_inputs(job);
    }
    report_send();
}

/* ---- a worker of a GPU ---- */

static void failed_send(int code, const char *sentence)
{
    struct sl_failure failure = {.code = code};
    snprintf(failure.message, sizeof failure.message, "%s", sentence);
    control_failed_send(CONTROL_FD, &failure);
    _exit(1);
}

/* The scenario stands in the first rung's preset. The report tells who did it: its frames are the process's number. */
static void device_perform(const struct job *job)
{
    const char *scenario = job->transcode.rungs[0].preset;
    int32_t sessions = job->sessions;
    struct rlimit cpu;
    if (strcmp(scenario, "hang") == 0)
        for (;;)
            steps(1000000, 0);
    if (strcmp(scenario, "killed") == 0)
        raise(SIGKILL);
    if (strcmp(scenario, "lost") == 0)
        failed_send(SL_EDEVICELOST, "the encoder's device does not exist");
    if (strcmp(scenario, "none") == 0)
        failed_send(SL_ESESSIONS, "no session is free");
    if (strcmp(scenario, "slow") == 0)
        steps(25, 1);
    if (strcmp(scenario, "few") == 0)
        sessions--;
    if (strcmp(scenario, "burn") == 0)
        for (int64_t step = 0; step < 120;) /* small, for a machine that has much else to do */
            if (clock() > step * CLOCKS_PER_SEC / 100)
                control_progress_send(CONTROL_FD, ++step, 120);
    getrlimit(RLIMIT_CPU, &cpu);
    struct report report = {.step = STEP_TRANSCODE};
    snprintf(report.device_id, sizeof report.device_id, "%s", job->device_id);
    if (strcmp(scenario, "unfed") != 0)
        memcpy(report.feed_device_id, job->feed_device_id, sizeof report.feed_device_id);
    report.transcode.sessions = sessions;
    report.transcode.frame_count = getpid();
    report.transcode.seam_first = cpu.rlim_cur;
    struct sl_buf bytes = {0};
    if (wire_report_encode(&report, &bytes))
        die("no report");
    control_send(CONTROL_FD, CONTROL_REPORT, bytes.data, bytes.length, NULL, 0);
    sl_buf_fini(&bytes);
}

/* Devices with these names do not even start. */
static int device_serve(const char *device, int feeds)
{
    if (strcmp(device, "nvenc:crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (strcmp(device, "nvenc:gone") == 0)
        failed_send(SL_EDEVICELOST, "device gone: no context");
    control_send(CONTROL_FD, CONTROL_READY, NULL, 0, NULL, 0);
    for (;;) {
        static struct control_job control;
        struct control_frame frame = {0};
        struct sl_arena arena = {0};
        struct job job;
        if (control_receive(CONTROL_FD, &frame, -1) || frame.kind != CONTROL_JOB)
            return 0; /* the agent has gone, or wants this worker no more */
        if (control_job_parse(&frame, &control) ||
            wire_job_decode(control.job, control.job_bytes, &arena, &job, NULL))
            die("no job");
        if (strcmp(feeds ? job.feed_device_id : job.device_id, strchr(device, ':') + 1) != 0)
            die("a job for another device");
        for (int32_t i = 0; i < control.input_count; i++)
            close(control.inputs[i].fd);
        device_perform(&job);
        sl_arena_fini(&arena);
        control_frame_fini(&frame);
    }
}

static int feed_write(char **argv)
{
    struct hal_speed speed = {.encoder = "x264",
                              .codec = CODEC_H264,
                              .preset = "medium",
                              .class = "1080p",
                              .driver = "fake 1.0",
                              .depth = 8,
                              .sessions = 2,
                              .threads = 1,
                              .feed = HAL_SPEED_ALONE,
                              .mpix_per_s = 50,
                              .total_mpix_per_s = 100};
    snprintf(speed.device_id, sizeof speed.device_id, "%s", strchr(argv[2], ':') + 1);
    if (hal_speeds_put(argv[6], &speed, NULL))
        return 1;
    speed.feed = HAL_SPEED_FED;
    speed.total_mpix_per_s = 112;
    return hal_speeds_put(argv[6], &speed, NULL) == SL_OK ? 0 : 1;
}

/* --calibrate KIND:DEVICE --quick --quiet --into FILE: at once, with a figure that a test knows. */
static int calibrate_write(char **argv)
{
    if (strncmp(argv[2], "nvenc:", 6) == 0)
        return feed_write(argv);
    struct hal_speed speed = {.codec = CODEC_H264,
                              .depth = 8,
                              .sessions = 2,
                              .threads = 1,
                              .mpix_per_s = 123,
                              .total_mpix_per_s = 246};
    snprintf(speed.device_id, sizeof speed.device_id, "%s", strchr(argv[2], ':') + 1);
    snprintf(speed.driver, sizeof speed.driver, "fake 1.0");
    snprintf(speed.encoder, sizeof speed.encoder, "x264");
    snprintf(speed.preset, sizeof speed.preset, "medium");
    snprintf(speed.class, sizeof speed.class, "720p");
    return hal_speeds_put(argv[6], &speed, NULL) == SL_OK ? 0 : 1;
}

/* Every device is as busy as a test knows; its power is the process's number. */
static int devices_watch(void)
{
    struct device_row rows[NODE_DEVICES_MAX];
    struct control_frame frame = {0};
    int32_t count = 0;
    const char *faults = getenv("SLUICE_STANDIN_FAULTS");
    if (control_receive(CONTROL_FD, &frame, -1) ||
        control_devices_parse(&frame, rows, NODE_DEVICES_MAX, &count))
        die("no devices to watch");
    for (int32_t i = 0; i < count; i++)
        rows[i].telemetry = (struct device_telemetry){.busy_percent = 42, .power_mw = getpid()};
    if (control_devices_send(CONTROL_FD, rows, count))
        die("cannot send");
    if (faults && strcmp(faults, "watch_crash") == 0) {
        usleep(300000);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    control_receive(CONTROL_FD, &frame, -1); /* until the agent goes */
    control_frame_fini(&frame);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--probe-devices") == 0) {
        const char *faults = getenv("SLUICE_STANDIN_FAULTS");
        struct device_row rows[] = {
            {.device_id = "cpu",
             .kind = DEVICE_CPU,
             .name = "a fake pool",
             .driver = "fake 1.0",
             .encodes = 1u << CODEC_H264,
             .cpus = 2,
             .memory_bytes = 1 << 30},
            {.device_id = "g0", .kind = DEVICE_NVENC, .driver = "fake 1.0", .vram_bytes = 1 << 30}};
        int32_t count = faults && strcmp(faults, "no_engine") == 0 ? 2 : 1;
        return control_devices_send(CONTROL_FD, rows, count) ? 1 : 0;
    }
    if (argc == 7 && strcmp(argv[1], "--calibrate") == 0)
        return calibrate_write(argv);
    descriptors_check();
    if (argc > 1 && strcmp(argv[1], "--watch-devices") == 0)
        return devices_watch();
    if (argc > 1 && strncmp(argv[1], "--device=", 9) == 0)
        return device_serve(argv[1] + 9, 0);
    if (argc > 1 && strncmp(argv[1], "--feed=", 7) == 0)
        return device_serve(argv[1] + 7, 1);
    control_send(CONTROL_FD, CONTROL_READY, NULL, 0, NULL, 0);
    struct control_frame frame = {0};
    if (control_receive(CONTROL_FD, &frame, -1) || frame.kind != CONTROL_JOB)
        return 0; /* the agent has gone */
    static struct control_job control;
    struct sl_arena arena = {0};
    struct job job;
    if (control_job_parse(&frame, &control) ||
        wire_job_decode(control.job, control.job_bytes, &arena, &job, NULL))
        die("no job");
    limits = job.limits;
    perform(job.device_id, &control);
    _exit(0);
}
