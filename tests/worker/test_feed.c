/* Encoders on CPUs, fed by a GPU that encodes nothing: tests/standin's without an engine, whose kernels are their C twins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavutil/log.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "gpu/gpu_kernels.h"
#include "media/media_check.h"
#include "tests/worker/standin_kit.h"
#include "worker/measure_feed.h"

#define PATIENCE_NS (60 * SL_NS_PER_S)
#define FRAMES_MAX  128
#define WIDTH_MAX   320
#define HEIGHT_MAX  180

static char state_folder[] = "/tmp/sluice-test-feed-XXXXXX";
static char device_id[DEVICE_ID_BYTES];
static struct kit_video video;

static int group_open(void **state)
{
    (void)state;
    av_log_set_level(AV_LOG_QUIET);
    standin_open(state_folder, "no_engine", device_id);
    video.policy = kit_policy_small();
    /* So good that what differs differed before it was encoded. */
    for (int i = 0; i < 2; i++) {
        video.policy.codecs[0].rungs[i].crf_tenths = 60;
        video.policy.codecs[0].rungs[i].maxrate_kbps = 20000;
        video.policy.codecs[0].rungs[i].bufsize_kbit = 40000;
    }
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

static void need_kernels(void)
{
    if (!gpu_kernels_available()) {
        print_message("this program was built without GPU kernels\n");
        skip();
    }
}

static void feeder_start(struct kit_worker *worker)
{
    struct sl_failure why = {0};
    char id[DEVICE_ID_BYTES + 8];
    snprintf(id, sizeof id, "nvenc:%s", device_id);
    if (standin_worker_start(worker, "--feed", id, &why) != CONTROL_READY)
        fail_msg("%s", why.message);
}

static void job_make(bool fed, struct job *job)
{
    kit_video_transcode_job(&video, 0, "cpu", job);
    if (fed)
        snprintf(job->feed_device_id, sizeof job->feed_device_id, "%s", device_id);
}

/* ---- pictures of what was made ---- */

struct pictures {
    uint8_t luma[FRAMES_MAX][WIDTH_MAX * HEIGHT_MAX];
    int64_t count;
};

static struct pictures seen[2];

static void keep(void *arg, int64_t number, const struct hal_frame *picture)
{
    struct pictures *into = arg;
    assert_true(number < FRAMES_MAX && picture->width <= WIDTH_MAX);
    into->count = number + 1;
    for (int32_t y = 0; y < picture->height; y++)
        memcpy(into->luma[number] + (ptrdiff_t)y * picture->width,
               picture->planes[0] + (size_t)y * picture->stride_bytes[0], (size_t)picture->width);
}

static void output_read(const struct kit_result *result, int32_t output, struct sl_buf *out)
{
    for (int32_t o = 0; o < result->output_count; o++)
        if (strcmp(result->outputs[o].name, result->report.outputs[output].name) == 0) {
            kit_read(&result->outputs[o].file, out);
            return;
        }
    fail_msg("output %d was not written", output);
}

static void pictures_of(const struct kit_result *result, int32_t rung, int32_t segment,
                        struct pictures *out)
{
    const struct report_rendition *r = &result->report.renditions[rung];
    const struct report_segment *s = &r->segments[segment];
    struct sl_buf init = {0}, bytes = {0};
    struct sl_failure why = {0};
    struct media_check_want want = {
        .timescale = r->timescale,
        .frame_count = s->frame_count,
        .start_ticks = s->start_ticks,
        .last_ticks = s->last_ticks,
        .width = r->width,
        .height = r->height,
        .decode = MEDIA_CHECK_WHOLE,
        .shown = keep,
        .shown_arg = out,
    };
    out->count = 0;
    output_read(result, r->init_output, &init);
    output_read(result, s->output, &bytes);
    if (media_check_segment(init.data, init.length, bytes.data, bytes.length, &want, NULL, &why))
        fail_msg("%s", why.message);
    sl_buf_fini(&init);
    sl_buf_fini(&bytes);
}

static double worst_psnr(int32_t pix)
{
    double worst = INFINITY;
    assert_true(seen[0].count > 0);
    assert_int_equal(seen[0].count, seen[1].count);
    for (int64_t n = 0; n < seen[0].count; n++) {
        double squares = 0;
        for (int32_t i = 0; i < pix; i++) {
            double d = seen[0].luma[n][i] - seen[1].luma[n][i];
            squares += d * d;
        }
        double psnr = squares > 0 ? 10 * log10(255.0 * 255 * pix / squares) : INFINITY;
        worst = psnr < worst ? psnr : worst;
    }
    return worst;
}

static void reports_compare(const struct report *a, const struct report *b)
{
    assert_int_equal(a->transcode.frame_count, b->transcode.frame_count);
    assert_true(a->transcode.seam_first == b->transcode.seam_first);
    assert_true(a->transcode.seam_next == b->transcode.seam_next);
    assert_int_equal(a->rendition_count, b->rendition_count);
    for (int32_t r = 0; r < a->rendition_count; r++) {
        const struct report_rendition *of[] = {&a->renditions[r], &b->renditions[r]};
        assert_string_equal(of[1]->encoder, "x264");
        assert_memory_equal(of[0]->init_sha256, of[1]->init_sha256, SHA256_BYTES);
        assert_int_equal(of[0]->segment_count, of[1]->segment_count);
        for (int32_t s = 0; s < of[0]->segment_count; s++) {
            struct report_segment one = of[0]->segments[s], other = of[1]->segments[s];
            one.output = other.output = 0;
            assert_memory_equal(&one, &other, sizeof one);
        }
    }
}

/* ---- tests ---- */

static void test_what_a_gpu_feeds_is_what_the_cpu_makes_alone(void **state)
{
    (void)state;
    static struct kit_result alone, fed, again;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    struct job job;
    need_kernels();
    job_make(false, &job);
    kit_job(&job, &video.source, 1, KIT_FILES, &arena, &alone);
    kit_must_pass(&alone);
    assert_string_equal(alone.report.feed_device_id, "");
    feeder_start(&worker);
    long before = standin_counted(state_folder, "pictures");
    job_make(true, &job);
    kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &fed);
    kit_must_pass(&fed);
    assert_string_equal(fed.report.device_id, "cpu");
    assert_string_equal(fed.report.feed_device_id, device_id);
    assert_int_equal(standin_counted(state_folder, "pictures") - before,
                     fed.report.transcode.frame_count);
    reports_compare(&alone.report, &fed.report);
    /* The larger rung is of the source's size: it goes into the encoder as it is. */
    const struct report_rendition *same[] = {&alone.report.renditions[0],
                                             &fed.report.renditions[0]};
    const struct report_rendition *scaled = &alone.report.renditions[1];
    assert_int_equal(scaled->height, 90);
    for (int32_t s = 0; s < scaled->segment_count; s++) {
        pictures_of(&alone, 1, s, &seen[0]);
        pictures_of(&fed, 1, s, &seen[1]);
        double near = worst_psnr(scaled->width * scaled->height);
        print_message("segment %d: %.1f dB of the CPU's own at the worst\n", s, near);
        assert_true(near > 42 && near < 90);
        assert_memory_equal(alone.report.outputs[same[0]->segments[s].output].sha256,
                            fed.report.outputs[same[1]->segments[s].output].sha256, SHA256_BYTES);
    }
    /* It goes on: a job without the GPU is the CPU's to the byte. */
    job_make(false, &job);
    kit_job_on(&worker, &job, &video.source, 1, KIT_RANGES, &arena, &again);
    kit_must_pass(&again);
    assert_string_equal(again.report.feed_device_id, "");
    assert_memory_equal(alone.report.outputs[alone.report.renditions[1].segments[0].output].sha256,
                        again.report.outputs[again.report.renditions[1].segments[0].output].sha256,
                        SHA256_BYTES);
    assert_int_equal(kit_worker_end(&worker), 0);
    kit_result_fini(&alone);
    kit_result_fini(&fed);
    kit_result_fini(&again);
    sl_arena_fini(&arena);
}

static void test_what_the_gpu_cannot_scale_goes_the_cpus_way(void **state)
{
    (void)state;
    static struct kit_result result;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    struct job job;
    feeder_start(&worker);
    job_make(true, &job);
    /* More than the kernel's ratio of 15. */
    struct plan_rung rungs[2] = {job.transcode.rungs[0], job.transcode.rungs[1]};
    rungs[1].width = rungs[1].height = 16;
    job.transcode.rungs = rungs;
    kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
    kit_must_pass(&result);
    assert_string_equal(result.report.feed_device_id, "");
    assert_int_equal(result.report.transcode.frame_count, 50);
    assert_int_equal(kit_worker_end(&worker), 0);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
}

/* Whether it is opening or the first picture that finds no room: the CPU scales. */
static void test_a_gpu_whose_memory_is_full_leaves_the_cpu_to_scale(void **state)
{
    (void)state;
    static struct kit_result result;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    struct job job;
    char faults[64];
    bool fed = false;
    need_kernels();
    job_make(true, &job);
    job.transcode.picture.deinterlace = true;
    /* Three pictures of 138 KB come after the ladder is open. */
    for (int kib = 128; kib <= 1024 && !fed; kib += 128) {
        snprintf(faults, sizeof faults, "no_engine,nvdec/no_engine,memory=%d", kib << 10);
        standin_set(state_folder, faults);
        feeder_start(&worker);
        kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
        kit_must_pass(&result);
        fed = result.report.feed_device_id[0];
        print_message("%d KiB: %s\n", kib, fed ? "fed" : "the CPU");
        assert_true(fed <= (kib > 128));
        assert_int_equal(kit_worker_end(&worker), 0);
        kit_result_fini(&result);
    }
    assert_true(fed);
    sl_arena_fini(&arena);
    standin_set(state_folder, "no_engine");
}

static void test_a_gpu_lost_in_mid_chunk_is_said_to_be_lost(void **state)
{
    (void)state;
    static struct kit_result result;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    struct job job;
    char faults[64];
    need_kernels();
    snprintf(faults, sizeof faults, "no_engine,lost:%ld",
             standin_counted(state_folder, "pictures") + 30);
    standin_set(state_folder, faults);
    feeder_start(&worker);
    job_make(true, &job);
    kit_job_on(&worker, &job, &video.source, 1, KIT_FILES, &arena, &result);
    assert_int_equal(result.failure.code, SL_EDEVICELOST);
    print_message("%s\n", result.failure.message);
    struct control_frame frame = {0};
    assert_int_equal(control_receive(worker.socket, &frame, PATIENCE_NS), SL_EUNREACH);
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 1);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
    standin_set(state_folder, "no_engine");
}

/* ---- decoded there as well ---- */

static void vp9_open(struct kit_video *out)
{
    char path[] = "/tmp/sluice-test-XXXXXX.webm", command[512];
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    snprintf(command, sizeof command,
             "ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=10 -t 2 "
             "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 20 %s",
             path);
    assert_int_equal(system(command), 0);
    out->source.fd = fd;
    out->source.bytes = lseek(fd, 0, SEEK_END);
    unlink(path);
    out->policy = video.policy;
    kit_video_probe(out, KIT_FILES);
    kit_video_plan(out);
}

static void test_what_a_gpu_decodes_comes_back_scaled_and_in_planes(void **state)
{
    (void)state;
    static struct kit_result alone, fed;
    static struct kit_video vp9;
    struct kit_worker worker;
    struct sl_arena arena = {0};
    struct job job;
    char faults[64];
    need_kernels();
    vp9_open(&vp9);
    kit_video_transcode_job(&vp9, 0, "cpu", &job);
    kit_job(&job, &vp9.source, 1, KIT_FILES, &arena, &alone);
    kit_must_pass(&alone);
    feeder_start(&worker);
    long decoded = standin_counted(state_folder, "decoded");
    memcpy(job.feed_device_id, device_id, sizeof job.feed_device_id);
    kit_job_on(&worker, &job, &vp9.source, 1, KIT_FILES, &arena, &fed);
    kit_must_pass(&fed);
    assert_int_equal(kit_worker_end(&worker), 0);
    assert_string_equal(fed.report.feed_device_id, device_id);
    assert_true(standin_counted(state_folder, "decoded") - decoded >= 20);
    reports_compare(&alone.report, &fed.report);
    const struct report *of[] = {&alone.report, &fed.report};
    int32_t same[2];
    for (int i = 0; i < 2; i++)
        same[i] = of[i]->renditions[0].segments[0].output;
    /* Of the decoder's pictures in pairs of chroma the kernel makes planes, and changes nothing. */
    assert_memory_equal(of[0]->outputs[same[0]].sha256, of[1]->outputs[same[1]].sha256,
                        SHA256_BYTES);
    pictures_of(&alone, 1, 0, &seen[0]);
    pictures_of(&fed, 1, 0, &seen[1]);
    double near = worst_psnr(160 * 90);
    print_message("%.1f dB of the CPU's own at the worst\n", near);
    assert_true(near > 42);
    kit_result_fini(&fed);
    /* Lost where it decodes. */
    snprintf(faults, sizeof faults, "no_engine,nvdec/lost:%ld",
             standin_counted(state_folder, "decoded") + 40);
    standin_set(state_folder, faults);
    feeder_start(&worker); /* which tries the decoder with pictures of its own */
    kit_job_on(&worker, &job, &vp9.source, 1, KIT_FILES, &arena, &fed);
    assert_int_equal(fed.failure.code, SL_EDEVICELOST);
    kit_worker_end(&worker);
    standin_set(state_folder, "no_engine");
    kit_result_fini(&alone);
    kit_result_fini(&fed);
    kit_video_fini(&vp9);
    sl_arena_fini(&arena);
}

static int proof(char message[SL_MESSAGE_BYTES])
{
    struct kit_worker worker;
    struct sl_failure why = {0};
    char id[DEVICE_ID_BYTES + 8];
    snprintf(id, sizeof id, "nvenc:%s", device_id);
    enum control_kind kind = standin_worker_start(&worker, "--prove", id, &why);
    snprintf(message, SL_MESSAGE_BYTES, "%s", why.message);
    int status = kit_worker_end(&worker);
    assert_int_equal(status == 0, kind == CONTROL_READY);
    return why.code;
}

static void test_golden_pictures_prove_a_gpu_that_encodes_nothing(void **state)
{
    (void)state;
    char message[SL_MESSAGE_BYTES];
    need_kernels();
    assert_int_equal(proof(message), SL_OK);
    standin_set(state_folder, "no_engine,wrong:1");
    assert_int_equal(proof(message), SL_EMISMATCH);
    print_message("%s\n", message);
    assert_non_null(strstr(message, "comes back from the GPU's scaler at"));
    standin_set(state_folder, "no_engine");
}

static void test_feeding_is_measured_with_workers_as_they_are(void **state)
{
    (void)state;
    static struct hal_device gpu;
    struct measure_feed found = {0};
    struct sl_failure why = {0};
    char program[640];
    need_kernels();
    kit_worker_path(program, sizeof program);
    gpu.kind = DEVICE_NVENC;
    gpu.memory_bytes = INT64_C(1) << 30; /* room for one of the two */
    memcpy(gpu.device_id, device_id, sizeof gpu.device_id);
    struct measure_feed_params params = {
        .program = program, .gpu = &gpu, .width = 320, .height = 180, .frames = 24, .jobs = 2};
    long before = standin_counted(state_folder, "pictures");
    if (measure_feed(&params, &found, &why) != SL_OK)
        fail_msg("%s", why.message);
    print_message("%.1f Mpix/s alone, %.1f fed by the stand-in\n", found.alone_mpix_per_s,
                  found.fed_mpix_per_s);
    assert_int_equal(found.jobs, 2);
    assert_true(found.alone_mpix_per_s > 0 && found.fed_mpix_per_s > 0);
    assert_int_equal(standin_counted(state_folder, "pictures") - before, 24);
    strcpy(gpu.device_id, "GPU-1");
    assert_int_equal(measure_feed(&params, &found, &why), SL_EDEVICELOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_gpu_feeds_is_what_the_cpu_makes_alone),
        cmocka_unit_test(test_what_the_gpu_cannot_scale_goes_the_cpus_way),
        cmocka_unit_test(test_a_gpu_whose_memory_is_full_leaves_the_cpu_to_scale),
        cmocka_unit_test(test_a_gpu_lost_in_mid_chunk_is_said_to_be_lost),
        cmocka_unit_test(test_what_a_gpu_decodes_comes_back_scaled_and_in_planes),
        cmocka_unit_test(test_golden_pictures_prove_a_gpu_that_encodes_nothing),
        cmocka_unit_test(test_feeding_is_measured_with_workers_as_they_are),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
