/* A lease whose source a GPU decodes, on tests/standin's driver: NVDEC, the ladder's kernel, NVENC, and no picture in between that
 * leaves the device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"
#include "gpu/gpu_kernels.h"
#include "tests/worker/standin_kit.h"
#include "wire/wire_codec.h"

#define PATIENCE_NS   (60 * SL_NS_PER_S)
#define WIDTH         320
#define HEIGHT        180
#define RATE          10
#define SECONDS       4
/* As fetched: rows may be padded to the next multiple. */
#define PICTURE_BYTES ((WIDTH + 64) * HEIGHT * 3 / 2)

static char state_folder[] = "/tmp/sluice-test-decode-XXXXXX";
static char device_id[DEVICE_ID_BYTES];
static struct kit_video video;

/* What the stand-in counted. */
static long counted(const char *word)
{
    return standin_counted(state_folder, word);
}

static void worker_start(struct kit_worker *worker)
{
    struct sl_failure why = {0};
    assert_int_equal(standin_worker_start(worker, "--device", device_id, &why), CONTROL_READY);
}

static bool clip_made(struct kit_file *out)
{
    static uint8_t bytes[4 << 20];
    char path[] = "/tmp/sluice-test-XXXXXX.webm", command[512];
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=%dx%d:rate=%d -t %d "
             "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 400k -g %d %s",
             WIDTH, HEIGHT, RATE, SECONDS, RATE, path);
    bool made = system(command) == 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    *out = kit_file_of(bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
    unlink(path);
    return made;
}

static int group_open(void **state)
{
    (void)state;
    standin_open(state_folder, "", device_id);
    video.policy = kit_policy_small();
    video.policy.codecs[0].route[0] = (struct policy_route){.encoder = "nvenc", .preset = "p1"};
    assert_true(clip_made(&video.source));
    kit_video_probe(&video, KIT_FILES);
    kit_must_pass(&video.probe);
    kit_video_plan(&video);
    return 0;
}

static int group_close(void **state)
{
    (void)state;
    return standin_close(state_folder, &video);
}

struct seams {
    int64_t frames;
    uint64_t first, next;
};

/* All chunks, one after the other. */
static void chunks_do(struct kit_worker *worker, const char *device, struct seams *out)
{
    for (int32_t i = 0; i < video.plan.chunk_count; i++) {
        struct sl_arena arena = {0};
        static struct kit_result result;
        struct job job;
        struct plan_rung rungs[POLICY_RUNGS_MAX];
        kit_video_transcode_job(&video, i, device, &job);
        job.sessions = 2;
        for (int32_t r = 0; r < job.transcode.rung_count && !worker; r++) {
            rungs[r] = job.transcode.rungs[r];
            snprintf(rungs[r].encoder, sizeof rungs[r].encoder, "x264");
            snprintf(rungs[r].preset, sizeof rungs[r].preset, "ultrafast");
        }
        if (!worker)
            job.transcode.rungs = rungs;
        if (worker)
            kit_job_on(worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
        else
            kit_job(&job, &video.source, 1, KIT_FILES, &arena, &result);
        kit_must_pass(&result);
        out[i] =
            (struct seams){result.report.transcode.frame_count, result.report.transcode.seam_first,
                           result.report.transcode.seam_next};
        kit_result_fini(&result);
        sl_arena_fini(&arena);
    }
}

/* What leaves the device: the picture at either end of a chunk, for its seams, and each rung's first of each segment, which are
 * compared with what was encoded. */
static void test_pictures_stay_on_the_device(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct seams there[16], here[16];
    int32_t chunks = video.plan.chunk_count, segments = 0;
    if (!gpu_kernels_available()) { /* then all of them are fetched, for the CPU to scale */
        print_message("this program was built without GPU kernels\n");
        skip();
    }
    assert_in_range(chunks, 1, 16);
    worker_start(&worker);
    long decoded = counted("decoded"), fetched = counted("host_bytes"),
         encoded = counted("pictures");
    chunks_do(&worker, device_id, there);
    assert_int_equal(kit_worker_end(&worker), 0);
    decoded = counted("decoded") - decoded;
    fetched = counted("host_bytes") - fetched;
    encoded = counted("pictures") - encoded;
    chunks_do(NULL, "cpu", here);
    int64_t frames = 0;
    for (int32_t i = 0; i < chunks; i++) {
        struct job job;
        assert_int_equal(there[i].frames, here[i].frames);
        assert_true(there[i].first == here[i].first && there[i].next == here[i].next);
        kit_video_transcode_job(&video, i, device_id, &job);
        segments += job.transcode.segment_count;
        frames += there[i].frames;
    }
    assert_int_equal(frames, RATE * SECONDS);
    assert_true(decoded >= frames);
    assert_true(encoded >= 2 * frames);
    /* The rungs' own pictures are at most as large as the source's. */
    long most = (long)PICTURE_BYTES * (2 * chunks + 2 * segments);
    print_message("%ld pictures decoded, %ld encoded, %ld KiB fetched; all of them are %ld KiB\n",
                  decoded, encoded, fetched / 1024, (long)frames * PICTURE_BYTES / 1024);
    assert_in_range(fetched, 1, most);
    assert_true(most < (long)frames * PICTURE_BYTES / 2);
}

/* Pictures that a worker has decoded before it is ready. */
static long trial_pictures(void)
{
    struct kit_worker worker;
    long before = counted("decoded");
    worker_start(&worker);
    long trial = counted("decoded") - before;
    kit_worker_end(&worker);
    assert_true(trial > 0);
    return trial;
}

/* With "nvdec/word:picture" where the picture is the eighth that a job decodes. */
static void fault_set(const char *word, const char *how)
{
    char faults[64];
    long trial = trial_pictures();
    snprintf(faults, sizeof faults, "nvdec/%s:%ld%s", word, counted("decoded") + trial + 8, how);
    standin_set(state_folder, faults);
}

/* The CPU goes on in mid-chunk, and the GPU scales what both of them decoded. */
static void test_what_the_decoder_refuses_is_decoded_by_the_cpu(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct seams there[16], here[16];
    fault_set("wrong", "-100000:refuse");
    worker_start(&worker);
    long decoded = counted("decoded");
    chunks_do(&worker, device_id, there);
    assert_int_equal(kit_worker_end(&worker), 0);
    assert_true(counted("decoded") - decoded < 8 + 2 * video.plan.chunk_count);
    chunks_do(NULL, "cpu", here);
    assert_memory_equal(there, here, (size_t)video.plan.chunk_count * sizeof *here);
    standin_set(state_folder, "");
}

static void test_a_device_that_is_lost_in_decoding_is_said_to_be(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    static struct kit_result result;
    struct job job;
    fault_set("lost", "");
    worker_start(&worker);
    kit_video_transcode_job(&video, 0, device_id, &job);
    kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
    assert_int_equal(result.failure.code, SL_EDEVICELOST);
    print_message("%s\n", result.failure.message);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(worker.socket, &frame, PATIENCE_NS), SL_EUNREACH);
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 1);
    assert_int_equal(counted("lost"), 1);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
    standin_set(state_folder, "");
}

static void job_send(const struct kit_worker *worker, const struct job *job)
{
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(job, &bytes), SL_OK);
    struct control_job control = {.inputs = {{video.source.bytes, video.source.fd}},
                                  .input_count = 1,
                                  .range_fd = -1,
                                  .job = bytes.data,
                                  .job_bytes = bytes.length};
    assert_int_equal(control_job_send(worker->socket, &control), SL_OK);
    sl_buf_fini(&bytes);
}

/* The worker says nothing more of its own accord, which is what an agent's watchdog looks for. */
static void test_a_decoder_that_hangs_is_silent(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct control_frame frame = {0};
    struct job job;
    fault_set("hang", "");
    worker_start(&worker);
    kit_video_transcode_job(&video, 0, device_id, &job);
    job.transcode.write_init = false; /* nobody opens an output */
    job_send(&worker, &job);
    for (int i = 0; counted("hung") == 0; i++, usleep(20000))
        assert_true(i < 1000);
    int code = SL_OK;
    while (code == SL_OK) {
        code = control_receive(worker.socket, &frame, SL_S_TO_NS(1));
        assert_true(code != SL_OK ||
                    (frame.kind != CONTROL_REPORT && frame.kind != CONTROL_FAILED));
        control_frame_fini(&frame);
        frame = (struct control_frame){0};
    }
    assert_int_equal(code, SL_ETIMEDOUT);
    kill(worker.pid, SIGKILL);
    assert_int_equal(kit_worker_end(&worker), -SIGKILL);
    standin_set(state_folder, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_stay_on_the_device),
        cmocka_unit_test(test_what_the_decoder_refuses_is_decoded_by_the_cpu),
        cmocka_unit_test(test_a_device_that_is_lost_in_decoding_is_said_to_be),
        cmocka_unit_test(test_a_decoder_that_hangs_is_silent),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
