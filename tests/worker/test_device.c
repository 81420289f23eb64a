/* Workers of a GPU, on tests/standin's driver: one process, one video, job after job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/worker/standin_kit.h"
#include "wire/wire_codec.h"
#include "worker/sandbox.h"

#define PATIENCE_NS (60 * SL_NS_PER_S)
#define JOBS        30

static char state_folder[] = "/tmp/sluice-test-device-XXXXXX";
static char device_id[DEVICE_ID_BYTES];
static struct kit_video video;

static int group_open(void **state)
{
    (void)state;
    standin_open(state_folder, "", device_id);
    video.policy = kit_policy_small();
    video.policy.codecs[0].route[0] = (struct policy_route){.encoder = "nvenc", .preset = "p1"};
    assert_true(kit_clip_made(&video.source));
    kit_video_probe(&video, KIT_FILES);
    kit_video_plan(&video);
    return 0;
}

static int group_close(void **state)
{
    (void)state;
    return standin_close(state_folder, &video);
}

static int64_t rss_bytes(pid_t pid)
{
    char path[64], line[128];
    long long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %lld kB", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024;
}

/* A descriptor lost with each job would be missing at the end. */
static void descriptors_limit(pid_t pid)
{
    struct rlimit few = {JOBS + 16, JOBS + 16};
    assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &few, NULL), 0);
}

static void test_thirty_jobs_in_one_worker_leave_nothing_behind(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct sl_failure why = {0};
    char id[DEVICE_ID_BYTES + 8];
    snprintf(id, sizeof id, "nvenc:%s", device_id);
    assert_int_equal(standin_worker_start(&worker, "--device", id, &why), CONTROL_READY);
    descriptors_limit(worker.pid);
    uint8_t first[SHA256_BYTES];
    int64_t early = 0, slowest_ns = 0;
    for (int i = 0; i < JOBS; i++) {
        struct sl_arena arena = {0};
        static struct kit_result result;
        struct job job;
        kit_video_transcode_job(&video, 0, device_id, &job);
        job.sessions = 2;
        kit_job_on(&worker, &job, &video.source, 1, i % 2 ? KIT_RANGES : KIT_FILES, &arena,
                   &result);
        kit_must_pass(&result);
        assert_string_equal(result.report.device_id, device_id);
        assert_string_equal(result.report.renditions[0].encoder, "nvenc");
        assert_int_equal(result.report.transcode.sessions, 2);
        /* The same work gives the same bytes, whatever the process did before. */
        int32_t made = result.report.renditions[0].segments[0].output;
        if (i == 0)
            memcpy(first, result.report.outputs[made].sha256, sizeof first);
        assert_memory_equal(first, result.report.outputs[made].sha256, sizeof first);
        if (i > 0 && result.report.first_work_ns > slowest_ns)
            slowest_ns = result.report.first_work_ns;
        if (i == 5)
            early = rss_bytes(worker.pid);
        kit_result_fini(&result);
        sl_arena_fini(&arena);
    }
    int64_t late = rss_bytes(worker.pid);
    print_message(
        "resident after 6 jobs %lld KiB, after %d jobs %lld KiB; first work after %.1f ms "
        "at most\n",
        (long long)early / 1024, JOBS, (long long)late / 1024, (double)slowest_ns / 1e6);
#if SANDBOX_BUILT
    /* The stand-in's encoders keep a little of each session (x265 4.1: 70 KiB); a picture kept of each would be more. */
    assert_true(late - early < 8 << 20);
#endif
    /* The agent goes away between two jobs, which is no fault. */
    assert_int_equal(kit_worker_end(&worker), 0);
}

static void test_a_job_that_fails_ends_the_worker(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct sl_failure why = {0};
    struct sl_arena arena = {0};
    struct job job;
    static struct kit_result result;
    assert_int_equal(standin_worker_start(&worker, "--device", device_id, &why), CONTROL_READY);
    kit_video_transcode_job(&video, 0, "GPU-of-another-node", &job);
    kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
    assert_int_equal(result.failure.code, SL_EDEVICELOST);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(worker.socket, &frame, PATIENCE_NS), SL_EUNREACH);
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 1);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
}

static void test_a_device_that_is_not_there_is_said_in_place_of_ready(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct sl_failure why = {0};
    assert_int_equal(standin_worker_start(&worker, "--device", "nvenc:GPU-1", &why),
                     CONTROL_FAILED);
    assert_int_equal(why.code, SL_EDEVICELOST);
    assert_non_null(strstr(why.message, "GPU-1"));
    assert_int_equal(kit_worker_end(&worker), 1);
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

static int32_t sessions_of_job(struct kit_worker *worker, struct job *job)
{
    struct sl_arena arena = {0};
    static struct kit_result result;
    kit_job_on(worker, job, &video.source, 1, KIT_FILES, &arena, &result);
    kit_must_pass(&result);
    int32_t sessions = result.report.transcode.sessions;
    kit_result_fini(&result);
    sl_arena_fini(&arena);
    return sessions;
}

static void test_what_others_held_during_one_job_is_no_limit_of_the_next(void **state)
{
    (void)state;
    struct kit_worker holder, worker;
    struct sl_failure why = {0};
    struct job job;
    char faults[64];
    /* The holder stops in mid-job with both of its sessions, of the three that there are. */
    snprintf(faults, sizeof faults, "limit=3,hang:%ld",
             standin_counted(state_folder, "pictures") + 40);
    standin_set(state_folder, faults);
    assert_int_equal(standin_worker_start(&holder, "--device", device_id, &why), CONTROL_READY);
    kit_video_transcode_job(&video, 0, device_id, &job);
    job.transcode.write_init = false;
    job_send(&holder, &job);
    for (int i = 0; standin_counted(state_folder, "hung") == 0; i++, usleep(20000))
        assert_true(i < 1000);
    assert_int_equal(standin_counted(state_folder, "sessions"), 2);
    assert_int_equal(standin_worker_start(&worker, "--device", device_id, &why), CONTROL_READY);
    job.transcode.write_init = true;
    assert_int_equal(sessions_of_job(&worker, &job), 1); /* in two passes */
    kill(holder.pid, SIGKILL);
    assert_int_equal(kit_worker_end(&holder), -SIGKILL);
    assert_int_equal(sessions_of_job(&worker, &job), 2);
    assert_int_equal(kit_worker_end(&worker), 0);
    standin_set(state_folder, "");
}

/* Made by a command that writes to %s; false without ffmpeg. */
static bool clip_by(const char *command, struct kit_file *out)
{
    char path[] = "/tmp/sluice-test-XXXXXX.ts", line[2048];
    int fd = mkstemps(path, 3);
    assert_true(fd >= 0);
    snprintf(line, sizeof line, "(%s) >%s", command, path);
    bool made = system(line) == 0;
    unlink(path);
    *out = (struct kit_file){fd, made ? lseek(fd, 0, SEEK_END) : 0};
    return made && out->bytes > 0;
}

/* What the GPU makes no pictures of, from the start or from somewhere on, the CPU filters and scales; the GPU encodes it all the
 * same, and nothing is written twice. */
static void test_what_the_gpu_cannot_scale_it_encodes_nevertheless(void **state)
{
    (void)state;
#define MADE "ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=320x180:rate="
#define AS   " -c:v libx264 -preset ultrafast -g 25 -f mpegts "
    static const char *const commands[] = {
        /* other colours after two of four seconds, of which the first chunk has three */
        MADE "25 -t 2 -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709" AS
             "- && " MADE "25 -t 2 -pix_fmt yuv420p -colorspace bt470bg -color_primaries bt709 "
             "-color_trc bt709 -output_ts_offset 2" AS "-",
        /* fields of 4:2:2 */
        MADE "50 -t 2 -vf tinterlace=interleave_top -pix_fmt yuv422p -flags +ildct+ilme "
             "-x264opts tff=1" AS "-",
    };
    for (int i = 0; i < 2; i++) {
        struct kit_video other = {.policy = video.policy};
        struct kit_worker worker;
        struct sl_failure why = {0};
        struct sl_arena arena = {0};
        struct job job;
        static struct kit_result result;
        if (!clip_by(commands[i], &other.source)) {
            print_message("no ffmpeg to make a clip\n");
            skip();
        }
        other.policy.segment_ns = SL_S_TO_NS(1);
        other.policy.audio_count = 0;
        kit_video_probe(&other, KIT_FILES);
        kit_video_plan(&other);
        assert_int_equal(standin_worker_start(&worker, "--device", device_id, &why), CONTROL_READY);
        kit_video_transcode_job(&other, 0, device_id, &job);
        assert_int_equal(job.transcode.picture.deinterlace, i == 1);
        kit_job_on(&worker, &job, &other.source, 1, KIT_FILES, &arena, &result);
        kit_must_pass(&result);
        assert_int_equal(result.report.transcode.frame_count, i ? 50 : 75);
        for (int r = 0; r < 2; r++) {
            assert_string_equal(result.report.renditions[r].encoder, "nvenc");
            assert_int_equal(result.report.renditions[r].segment_count, i ? 2 : 3);
        }
        for (int a = 0; a < result.output_count; a++)
            for (int b = 0; b < a; b++)
                assert_string_not_equal(result.outputs[a].name, result.outputs[b].name);
        assert_int_equal(kit_worker_end(&worker), 0);
        kit_result_fini(&result);
        sl_arena_fini(&arena);
        kit_video_fini(&other);
    }
}

static void test_a_driver_that_crashes_takes_its_worker_along_before_any_job(void **state)
{
    (void)state;
    struct kit_worker worker;
    struct sl_failure why = {0};
    standin_set(state_folder, "crash_at_open");
    assert_int_equal(standin_worker_start(&worker, "--device", device_id, &why), 0);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    assert_int_not_equal(kit_worker_end(&worker), 0); /* they make an exit status of a signal */
#else
    assert_int_equal(kit_worker_end(&worker), -11);
#endif
    standin_set(state_folder, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thirty_jobs_in_one_worker_leave_nothing_behind),
        cmocka_unit_test(test_a_job_that_fails_ends_the_worker),
        cmocka_unit_test(test_a_device_that_is_not_there_is_said_in_place_of_ready),
        cmocka_unit_test(test_what_others_held_during_one_job_is_no_limit_of_the_next),
        cmocka_unit_test(test_what_the_gpu_cannot_scale_it_encodes_nevertheless),
        cmocka_unit_test(test_a_driver_that_crashes_takes_its_worker_along_before_any_job),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
