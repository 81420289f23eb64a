#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/worker/worker_kit.h"

#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "media/media_digest.h"
#include "wire/wire_codec.h"

#define PATIENCE_NS (120 * SL_NS_PER_S)

/* build/tests/worker/test_x -> build/sluice-worker */
void kit_worker_path(char *out, size_t room)
{
    char self[512] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(out, room, "%s/../../sluice-worker", dirname(self));
}

void kit_worker_spawn(struct kit_worker *worker, const char *argument)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    char path[640];
    kit_worker_path(path, sizeof path);
    if (access(path, X_OK) != 0)
        fail_msg("%s is missing: make build/sluice-worker", path);
    worker->pid = fork();
    assert_true(worker->pid >= 0);
    if (worker->pid == 0) {
        if (pair[1] == CONTROL_FD)
            fcntl(pair[1], F_SETFD, 0);
        else
            dup2(pair[1], CONTROL_FD);
        execl(path, "sluice-worker", argument, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    worker->socket = pair[0];
}

void kit_worker_start(struct kit_worker *worker)
{
    kit_worker_spawn(worker, NULL);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(worker->socket, &frame, PATIENCE_NS), SL_OK);
    assert_int_equal(frame.kind, CONTROL_READY);
    control_frame_fini(&frame);
}

static int status_wait(pid_t pid)
{
    int64_t until_ns = sl_now_ns() + 20 * SL_NS_PER_S;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (sl_now_ns() > until_ns) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            fail_msg("the worker did not end");
        }
        usleep(2000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int kit_worker_end(struct kit_worker *worker)
{
    if (worker->socket >= 0)
        close(worker->socket);
    worker->socket = -1;
    return status_wait(worker->pid);
}

/* ---- the agent's side of a job ---- */

struct ranges {
    int socket;
    const struct kit_file *inputs;
    int32_t input_count;
    int32_t requests;
    int64_t bytes;
};

static void *ranges_serve(void *arg)
{
    struct ranges *ranges = arg;
    struct control_range_request request;
    /* Not a variable of the thread: so large a one leaves threads with small stacks none, as SVT-AV1 2.3 makes them. */
    char *bytes = malloc(CONTROL_RANGE_MAX);
    while (control_range_receive(ranges->socket, &request) == SL_OK) {
        ssize_t got = -1;
        if (request.input < (uint32_t)ranges->input_count && bytes &&
            request.length <= CONTROL_RANGE_MAX)
            got = pread(ranges->inputs[request.input].fd, bytes, request.length,
                        (off_t)request.offset);
        ranges->requests++;
        ranges->bytes += got > 0 ? got : 0;
        if (control_range_reply(ranges->socket, got < 0 ? SL_EIO : SL_OK, bytes,
                                got < 0 ? 0 : (uint32_t)got) != SL_OK)
            break;
    }
    free(bytes);
    return NULL;
}

static void output_open(struct kit_result *result, const struct control_frame *frame, int socket)
{
    assert_true(result->output_count < KIT_OUTPUTS_MAX);
    assert_true(frame->body.length > 0 && frame->body.length < JOB_NAME_BYTES);
    uint32_t number = (uint32_t)result->output_count;
    struct kit_output *output = &result->outputs[result->output_count++];
    memcpy(output->name, frame->body.data, frame->body.length);
    output->name[frame->body.length] = '\0';
    output->file.fd = memfd_create("output", MFD_CLOEXEC);
    assert_true(output->file.fd >= 0);
    uint8_t body[4] = {(uint8_t)number, (uint8_t)(number >> 8), 0, 0};
    assert_int_equal(control_send(socket, CONTROL_OUTPUT, body, sizeof body, &output->file.fd, 1),
                     SL_OK);
}

static void output_closed(struct kit_result *result, const struct control_frame *frame)
{
    uint32_t number;
    int64_t bytes;
    uint8_t told[SHA256_BYTES], found[SHA256_BYTES];
    assert_int_equal(control_closed_parse(frame, &number, &bytes, told), SL_OK);
    assert_true(number < (uint32_t)result->output_count);
    struct kit_output *output = &result->outputs[number];
    assert_false(output->closed);
    output->closed = true;
    output->file.bytes = bytes;
    struct sl_buf content = {0};
    kit_read(&output->file, &content);
    assert_int_equal(media_digest(content.data, content.length, found), SL_OK);
    assert_memory_equal(told, found, SHA256_BYTES);
    sl_buf_fini(&content);
}

/* Answers until the last word. */
static void serve(struct kit_worker *worker, struct kit_result *result, struct sl_arena *arena)
{
    struct control_frame frame = {0};
    bool last = false;
    while (!last) {
        int code = control_receive(worker->socket, &frame, PATIENCE_NS);
        if (code != SL_OK)
            fail_msg("the worker fell silent: %s", sl_error_text(code));
        switch (frame.kind) {
        case CONTROL_OPEN:
            output_open(result, &frame, worker->socket);
            break;
        case CONTROL_CLOSED:
            output_closed(result, &frame);
            break;
        case CONTROL_PROGRESS:
            assert_int_equal(
                control_progress_parse(&frame, &result->progress_done, &result->progress_total),
                SL_OK);
            result->progress_count++;
            break;
        case CONTROL_REPORT:
            sl_buf_append(&result->report_bytes, frame.body.data, frame.body.length);
            assert_int_equal(wire_report_decode(frame.body.data, frame.body.length, arena,
                                                &result->report, &result->failure),
                             SL_OK);
            last = true;
            break;
        case CONTROL_FAILED:
            assert_int_equal(control_failed_parse(&frame, &result->failure), SL_OK);
            last = true;
            break;
        default:
            fail_msg("the worker sent frame %d", frame.kind);
        }
    }
    control_frame_fini(&frame);
}

void kit_job_on(struct kit_worker *worker, const struct job *job, const struct kit_file *inputs,
                int32_t input_count, enum kit_way way, struct sl_arena *arena,
                struct kit_result *out)
{
    memset(out, 0, sizeof *out);
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(job, &bytes), SL_OK);
    struct control_job control = {
        .input_count = input_count, .range_fd = -1, .job = bytes.data, .job_bytes = bytes.length};
    for (int32_t i = 0; i < input_count; i++)
        control.inputs[i] =
            (struct control_input){inputs[i].bytes, way == KIT_FILES ? inputs[i].fd : -1};
    int pair[2] = {-1, -1};
    struct ranges ranges = {.inputs = inputs, .input_count = input_count};
    pthread_t thread;
    if (way == KIT_RANGES) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ranges.socket = pair[0];
        control.range_fd = pair[1];
        assert_int_equal(pthread_create(&thread, NULL, ranges_serve, &ranges), 0);
    }
    assert_int_equal(control_job_send(worker->socket, &control), SL_OK);
    if (way == KIT_RANGES)
        close(pair[1]);
    sl_buf_fini(&bytes);
    serve(worker, out, arena);
    if (way == KIT_RANGES) {
        pthread_join(thread, NULL);
        close(pair[0]);
        out->range_requests = ranges.requests;
        out->range_bytes = ranges.bytes;
    }
    if (out->failure.code == SL_OK)
        for (int32_t i = 0; i < out->output_count; i++)
            assert_true(out->outputs[i].closed);
}

void kit_job(const struct job *job, const struct kit_file *inputs, int32_t input_count,
             enum kit_way way, struct sl_arena *arena, struct kit_result *out)
{
    struct kit_worker worker;
    kit_worker_start(&worker);
    kit_job_on(&worker, job, inputs, input_count, way, arena, out);
    out->exit_status = kit_worker_end(&worker);
}

void kit_result_fini(struct kit_result *result)
{
    for (int32_t i = 0; i < result->output_count; i++)
        close(result->outputs[i].file.fd);
    sl_buf_fini(&result->report_bytes);
    memset(result, 0, sizeof *result);
}

void kit_must_pass(const struct kit_result *result)
{
    if (result->failure.code != SL_OK)
        fail_msg("%s: %s", sl_error_word(result->failure.code), result->failure.message);
    assert_int_equal(result->exit_status, 0);
}

const struct kit_output *kit_output_by_key(const struct kit_result *result, const char *key)
{
    for (int32_t i = 0; i < result->report.output_count; i++)
        if (strcmp(result->report.outputs[i].key, key) == 0)
            for (int32_t o = 0; o < result->output_count; o++)
                if (strcmp(result->outputs[o].name, result->report.outputs[i].name) == 0)
                    return &result->outputs[o];
    return NULL;
}

/* ---- files ---- */

void kit_read(const struct kit_file *file, struct sl_buf *out)
{
    struct stat status;
    assert_int_equal(fstat(file->fd, &status), 0);
    assert_int_equal(status.st_size, file->bytes);
    if (file->bytes == 0)
        return;
    void *into = sl_buf_reserve(out, (size_t)file->bytes);
    assert_non_null(into);
    assert_int_equal(pread(file->fd, into, (size_t)file->bytes, 0), file->bytes);
    out->length += (size_t)file->bytes;
}

struct kit_file kit_file_of(const void *bytes, size_t length)
{
    struct kit_file file = {memfd_create("input", MFD_CLOEXEC), (int64_t)length};
    assert_true(file.fd >= 0);
    assert_int_equal(write(file.fd, bytes, length), (ssize_t)length);
    return file;
}

static bool file_open(const char *path, struct kit_file *out)
{
    struct stat status;
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0)
        return false;
    assert_int_equal(fstat(out->fd, &status), 0);
    out->bytes = status.st_size;
    return true;
}

bool kit_clip(const char *name, struct kit_file *out)
{
    const char *folder = getenv("SLUICE_MEDIA");
    char path[512];
    snprintf(path, sizeof path, "%s/clips/%s", folder ? folder : "../shared/media", name);
    return file_open(path, out);
}

bool kit_clip_made(struct kit_file *out)
{
    char path[] = "/tmp/sluice-test-XXXXXX.mp4";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    close(fd);
    char command[1024];
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=25 "
             "-f lavfi -i sine=frequency=440:sample_rate=44100 -t 4 -pix_fmt yuv420p -c:v libx264 "
             "-preset veryfast -g 50 -bf 2 -c:a aac -ac 1 %s",
             path);
    bool made = system(command) == 0 && file_open(path, out);
    unlink(path);
    return made;
}

/* ---- a video ---- */

struct policy kit_policy_small(void)
{
    return (struct policy){
        .name = "kit",
        .gop_ns = SL_S_TO_NS(1),
        .segment_ns = SL_S_TO_NS(2),
        .chunk_ns = SL_S_TO_NS(4),
        .attempts_max = 5,
        .check = CHECK_ALL,
        .watchdog_ns = SL_S_TO_NS(60),
        .audio = {{AUDIO_AAC, 96, 2, 48000}},
        .audio_count = 1,
        .codecs = {{.codec = CODEC_H264,
                    .profile = "high",
                    .route = {{.encoder = "x264", .preset = "ultrafast"}},
                    .route_count = 1,
                    .rungs = {{"90p", 90, 280, 200, 400}, {"180p", 180, 280, 300, 600}},
                    .rung_count = 2}},
        .codec_count = 1,
    };
}

static void job_sign(struct job *job, uint64_t token)
{
    snprintf(job->video, sizeof job->video, "v0000000000001");
    snprintf(job->device_id, sizeof job->device_id, "cpu");
    job->task.v = 7;
    job->token.v = token;
}

void kit_video_probe(struct kit_video *video, enum kit_way way)
{
    struct job job = {.step = STEP_PROBE};
    job_sign(&job, 50);
    kit_job(&job, &video->source, 1, way, &video->arena, &video->probe);
    if (video->probe.failure.code != SL_OK)
        return;
    const struct report_probe *report = &video->probe.report.probe;
    video->info = report->info;
    struct sl_buf bytes = {0};
    struct sl_failure why = {0};
    kit_read(&video->probe.outputs[report->index_output].file, &bytes);
    if (wire_index_decode(bytes.data, bytes.length, &video->arena, &video->index, &why) != SL_OK)
        fail_msg("%s", why.message);
    sl_buf_fini(&bytes);
}

void kit_video_plan(struct kit_video *video)
{
    struct sl_failure why = {0};
    if (plan_build(&video->info, &video->index, &video->policy, &video->arena, &video->plan,
                   &why) != SL_OK)
        fail_msg("plan: %s", why.message);
    video->transcode = calloc((size_t)(video->plan.chunk_count * video->plan.codec_count),
                              sizeof *video->transcode);
    assert_non_null(video->transcode);
}

void kit_video_transcode_job(struct kit_video *video, int32_t piece, const char *device_id,
                             struct job *out)
{
    assert_int_equal(
        plan_transcode_job(&video->plan, &video->policy, piece, PREROLL_NONE, &video->arena, out),
        SL_OK);
    job_sign(out, 100 + (uint64_t)piece);
    snprintf(out->device_id, sizeof out->device_id, "%s", device_id);
}

void kit_video_transcode(struct kit_video *video, enum kit_way way)
{
    const struct plan *plan = &video->plan;
    for (int32_t piece = 0; piece < plan->chunk_count * plan->codec_count; piece++) {
        struct job job;
        struct sl_failure why = {0};
        kit_video_transcode_job(video, piece, "cpu", &job);
        job.sessions = video->sessions;
        struct kit_result *result = &video->transcode[piece];
        kit_job(&job, &video->source, 1, way, &video->arena, result);
        kit_must_pass(result);
        bool predicted = false;
        if (plan_check_transcode(plan, piece, &result->report, &predicted, &why) != SL_OK)
            fail_msg("piece %d: %s", piece, why.message);
        assert_true(predicted);
        if (piece > 0 &&
            plan_check_seam(&video->transcode[piece - 1].report, &result->report, &why) != SL_OK)
            fail_msg("seam before piece %d: %s", piece, why.message);
    }
}

void kit_video_audio(struct kit_video *video, enum kit_way way)
{
    struct job job;
    struct sl_failure why = {0};
    if (video->plan.audio_count == 0)
        return;
    assert_int_equal(plan_audio_job(&video->plan, 0, &video->arena, &job), SL_OK);
    job_sign(&job, 200);
    kit_job(&job, &video->source, 1, way, &video->arena, &video->audio);
    kit_must_pass(&video->audio);
    if (plan_check_audio(&video->plan, 0, &video->audio.report, &why) != SL_OK)
        fail_msg("audio: %s", why.message);
}

static struct kit_file set_file(const struct published_set *set)
{
    struct sl_buf bytes = {0};
    assert_int_equal(wire_published_encode(set, &bytes), SL_OK);
    struct kit_file file = kit_file_of(bytes.data, bytes.length);
    sl_buf_fini(&bytes);
    return file;
}

void kit_video_package(struct kit_video *video)
{
    const struct plan *plan = &video->plan;
    int32_t pieces = plan->chunk_count * plan->codec_count;
    const struct report **reports = calloc((size_t)pieces, sizeof *reports);
    for (int32_t i = 0; i < pieces; i++)
        reports[i] = &video->transcode[i].report;
    const struct report *audio = &video->audio.report;
    struct sl_failure why = {0};
    if (plan_publish(plan, "v0000000000001", reports, &audio, NULL, NULL, &video->arena,
                     &video->set, &why) != SL_OK)
        fail_msg("publish: %s", why.message);
    free(reports);
    struct job job = {.step = STEP_PACKAGE};
    job_sign(&job, 300);
    struct kit_file file = set_file(&video->set);
    kit_job(&job, &file, 1, KIT_FILES, &video->arena, &video->package);
    close(file.fd);
    kit_must_pass(&video->package);
}

struct kit_file kit_video_file(const struct kit_video *video, const char *key)
{
    const struct kit_output *found = NULL;
    for (int32_t i = 0; !found && i < video->plan.chunk_count * video->plan.codec_count; i++)
        found = kit_output_by_key(&video->transcode[i], key);
    if (!found)
        found = kit_output_by_key(&video->audio, key);
    if (!found)
        fail_msg("nothing was made under the key %s", key);
    return found->file;
}

void kit_video_verify(struct kit_video *video, struct kit_result *out)
{
    const struct published_set *set = &video->set;
    struct kit_file inputs[JOB_INPUTS_MAX];
    int32_t count = 0;
    inputs[count++] = set_file(set);
    inputs[count++] = video->package.outputs[video->package.report.package.master_output].file;
    inputs[count++] = video->package.outputs[video->package.report.package.mpd_output].file;
    for (int32_t i = 0; i < set->rendition_count; i++)
        inputs[count++] = video->package.outputs[i].file; /* playlists are written first */
    struct job job = {.step = STEP_VERIFY, .verify.package_token.v = 300};
    job_sign(&job, 400);
    assert_int_equal(
        plan_verify_samples(set, 5, &video->arena, &job.verify.samples, &job.verify.sample_count),
        SL_OK);
    for (int32_t i = 0; i < job.verify.sample_count; i++) {
        struct job_sample *sample = &job.verify.samples[i];
        const struct published_rendition *r = &set->renditions[sample->rendition];
        sample->init_input = count;
        inputs[count++] = kit_video_file(video, r->init_key);
        sample->segment_input = count;
        inputs[count++] = kit_video_file(video, r->segments[sample->segment].key);
    }
    /* More inputs than descriptors fit into one frame: they travel over the range socket. */
    kit_job(&job, inputs, count, KIT_RANGES, &video->arena, out);
    close(inputs[0].fd);
}

void kit_video_fini(struct kit_video *video)
{
    for (int32_t i = 0; video->transcode && i < video->plan.chunk_count * video->plan.codec_count;
         i++)
        kit_result_fini(&video->transcode[i]);
    free(video->transcode);
    kit_result_fini(&video->probe);
    kit_result_fini(&video->audio);
    kit_result_fini(&video->package);
    close(video->source.fd);
    sl_arena_fini(&video->arena);
}
