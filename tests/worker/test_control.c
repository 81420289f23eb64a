/* What a worker does when the job, its inputs or its agent are not what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/worker/worker_kit.h"
#include "wire/wire_codec.h"
#include "worker/frame_ring.h"
#include "worker/link.h"
#include "worker/run.h"

static void made_video(struct kit_video *video)
{
    video->policy = kit_policy_small();
    if (!kit_clip_made(&video->source)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    kit_video_probe(video, KIT_FILES);
    kit_must_pass(&video->probe);
    kit_video_plan(video);
}

static struct job transcode_job(struct kit_video *video)
{
    struct job job;
    assert_int_equal(
        plan_transcode_job(&video->plan, &video->policy, 0, PREROLL_NONE, &video->arena, &job),
        SL_OK);
    snprintf(job.video, sizeof job.video, "v0000000000001");
    snprintf(job.device_id, sizeof job.device_id, "cpu");
    job.token.v = 9;
    return job;
}

static void job_fails(const struct job *job, const struct kit_file *inputs, int32_t count, int code,
                      const char *part)
{
    struct sl_arena arena = {0};
    struct kit_result result;
    kit_job(job, inputs, count, KIT_FILES, &arena, &result);
    print_message("%s\n", result.failure.message);
    assert_int_equal(result.failure.code, code);
    assert_non_null(strstr(result.failure.message, part));
    assert_int_equal(result.exit_status, 1);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
}

/* ---- the agent ---- */

static void test_worker_ends_when_its_agent_closes_before_a_job(void **state)
{
    (void)state;
    struct kit_worker worker;
    kit_worker_start(&worker);
    assert_int_equal(kit_worker_end(&worker), LINK_EXIT_ORPHAN);
}

static void test_worker_ends_when_its_agent_closes_in_mid_job(void **state)
{
    (void)state;
    struct kit_video video = {0};
    made_video(&video);
    struct job job = transcode_job(&video);
    for (int32_t i = 0; i < job.transcode.rung_count; i++)
        snprintf(job.transcode.rungs[i].preset, POLICY_WORD_BYTES, "placebo");
    struct kit_worker worker;
    kit_worker_start(&worker);
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(&job, &bytes), SL_OK);
    struct control_job control = {.inputs = {{video.source.bytes, video.source.fd}},
                                  .input_count = 1,
                                  .range_fd = -1,
                                  .job = bytes.data,
                                  .job_bytes = bytes.length};
    assert_int_equal(control_job_send(worker.socket, &control), SL_OK);
    /* It asks for the file of the first init segment, and gets none. */
    struct control_frame frame = {0};
    assert_int_equal(control_receive(worker.socket, &frame, 20 * SL_NS_PER_S), SL_OK);
    assert_int_equal(frame.kind, CONTROL_OPEN);
    int64_t from_ns = sl_now_ns();
    assert_int_equal(kit_worker_end(&worker), LINK_EXIT_ORPHAN);
    assert_true(sl_now_ns() - from_ns < 2 * SL_NS_PER_S);
    control_frame_fini(&frame);
    sl_buf_fini(&bytes);
    kit_video_fini(&video);
}

static void garbage_is_refused(const void *bytes, size_t length, enum control_kind kind)
{
    struct kit_worker worker;
    kit_worker_start(&worker);
    assert_int_equal(control_send(worker.socket, kind, bytes, length, NULL, 0), SL_OK);
    struct control_frame frame = {0};
    struct sl_failure why = {0};
    assert_int_equal(control_receive(worker.socket, &frame, 20 * SL_NS_PER_S), SL_OK);
    assert_int_equal(frame.kind, CONTROL_FAILED);
    assert_int_equal(control_failed_parse(&frame, &why), SL_OK);
    assert_true(why.code == SL_EPROTO || why.code == SL_EVERSION);
    assert_true(why.message[0]);
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 1);
}

static void test_a_job_of_garbage_is_refused(void **state)
{
    (void)state;
    const char *seed_text = getenv("SLUICE_SEED");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)sl_now_ns();
    print_message("SLUICE_SEED=%u\n", seed);
    srand(seed);
    unsigned char bytes[200];
    for (int round = 0; round < 8; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)rand();
        garbage_is_refused(bytes, sizeof bytes, CONTROL_JOB);
        /* A head that says "no inputs", so that the noise reaches the job's own reader. */
        memset(bytes, 0, 8);
        garbage_is_refused(bytes, sizeof bytes, CONTROL_JOB);
    }
    garbage_is_refused("", 0, CONTROL_JOB);
    garbage_is_refused("hello", 5, CONTROL_REPORT);
}

static void test_a_broken_frame_ends_the_worker(void **state)
{
    (void)state;
    struct kit_worker worker;
    kit_worker_start(&worker);
    unsigned char head[8];
    memset(head, 0xff, sizeof head);
    assert_int_equal(send(worker.socket, head, sizeof head, MSG_NOSIGNAL), (ssize_t)sizeof head);
    char byte;
    assert_int_equal(recv(worker.socket, &byte, 1, 0), 0); /* it hung up */
    assert_int_equal(kit_worker_end(&worker), LINK_EXIT_ORPHAN);
}

/* ---- inputs ---- */

static void test_a_missing_input_is_named(void **state)
{
    (void)state;
    struct job probe = {.step = STEP_PROBE};
    job_fails(&probe, NULL, 0, SL_EPROTO, "needs input 0");
    struct job verify = {.step = STEP_VERIFY};
    job_fails(&verify, NULL, 0, SL_EPROTO, "needs input 0");
}

static void test_an_unknown_step_is_refused(void **state)
{
    (void)state;
    struct job job = {.step = STEP_PLAN};
    struct sl_arena arena = {0};
    struct kit_result result;
    kit_job(&job, NULL, 0, KIT_FILES, &arena, &result);
    assert_true(result.failure.code == SL_EVERSION || result.failure.code == SL_EPROTO);
    kit_result_fini(&result);
    sl_arena_fini(&arena);
}

static void test_a_source_that_is_no_media_fails_with_class_input(void **state)
{
    (void)state;
    struct job job = {.step = STEP_PROBE};
    struct kit_file text = kit_file_of("just some words\n", 16);
    job_fails(&job, &text, 1, SL_EFORMAT, "not readable as media");
    assert_int_equal(sl_error_class(SL_EFORMAT), SL_CLASS_INPUT);
    close(text.fd);
}

static void test_a_published_set_of_garbage_is_refused(void **state)
{
    (void)state;
    struct job job = {.step = STEP_PACKAGE};
    struct kit_file noise = kit_file_of("\xff\xff\xff\xff\xff\xff", 6);
    job_fails(&job, &noise, 1, SL_EPROTO, "");
    close(noise.fd);
}

static void test_a_source_that_breaks_off_is_a_lost_segment(void **state)
{
    (void)state;
    struct kit_video video = {0};
    made_video(&video);
    struct job job;
    assert_int_equal(plan_transcode_job(&video.plan, &video.policy, video.plan.chunk_count - 1,
                                        PREROLL_NONE, &video.arena, &job),
                     SL_OK);
    /* A plan that promises more than the source has. */
    struct job_segment more[PLAN_CHUNK_SEGMENTS_MAX];
    int32_t count = job.transcode.segment_count;
    memcpy(more, job.transcode.segments, sizeof *more * (size_t)count);
    const struct job_segment *last = &more[count - 1];
    more[count] = (struct job_segment){last->number + 1, last->end_pts,
                                       2 * last->end_pts - last->start_pts, 50};
    job.transcode.segments = more;
    job.transcode.segment_count++;
    job.transcode.end_pts = more[count].end_pts;
    job_fails(&job, &video.source, 1, SL_EDECODE, "the source ended");

    /* A segment that starts where no frame is. */
    job = transcode_job(&video);
    assert_int_equal(job.transcode.segment_count, 1);
    more[1] = more[0] = job.transcode.segments[0];
    more[0].end_pts = more[1].start_pts = more[0].end_pts / 2 + 1;
    more[1].number++;
    job.transcode.segments = more;
    job.transcode.segment_count = 2;
    job_fails(&job, &video.source, 1, SL_EDECODE, "did not come out");
    kit_video_fini(&video);
}

static void test_a_source_that_changed_is_told(void **state)
{
    (void)state;
    struct kit_video video = {0};
    made_video(&video);
    struct job job = transcode_job(&video);
    struct kit_file longer = video.source;
    longer.bytes += 10;
    job_fails(&job, &longer, 1, SL_ECHANGED, "bytes long");
    kit_video_fini(&video);
}

static void test_unknown_devices_and_encoders_are_named(void **state)
{
    (void)state;
    struct kit_video video = {0};
    made_video(&video);
    struct job job = transcode_job(&video);
    snprintf(job.device_id, sizeof job.device_id, "GPU-7");
    job_fails(&job, &video.source, 1, SL_EDEVICELOST, "GPU-7");
    job = transcode_job(&video);
    snprintf(job.transcode.rungs[0].encoder, POLICY_WORD_BYTES, "y264");
    job_fails(&job, &video.source, 1, SL_ENOENCODER, "y264");
    snprintf(job.transcode.rungs[0].encoder, POLICY_WORD_BYTES, "x264");
    snprintf(job.transcode.rungs[0].preset, POLICY_WORD_BYTES, "hasty");
    job_fails(&job, &video.source, 1, SL_EINVAL, "hasty");
    kit_video_fini(&video);
}

static void test_a_stream_that_is_no_video_is_refused_with_those_there_are(void **state)
{
    (void)state;
    struct kit_file file;
    if (!kit_clip("nasa-2video-2audio-2movtext.mp4", &file)) {
        print_message("there is no clip with two video streams\n");
        skip();
    }
    struct job job = {.step = STEP_PROBE, .probe.stream_asked = 1};
    job_fails(
        &job, &file, 1, SL_EUNSUPPORTED,
        "stream 1 is audio; the file's video streams are: 0 (h264 320x180), 3 (h264 480x270)");
    job.probe.stream_asked = 9;
    job_fails(&job, &file, 1, SL_EUNSUPPORTED, "stream 9 is not there, of 6");
    close(file.fd);
}

/* ---- outputs ---- */

static void test_a_full_scratch_is_a_matter_of_capacity(void **state)
{
    (void)state;
    struct kit_video video = {0};
    made_video(&video);
    struct job job = transcode_job(&video);
    struct kit_worker worker;
    kit_worker_start(&worker);
    struct sl_buf bytes = {0};
    assert_int_equal(wire_job_encode(&job, &bytes), SL_OK);
    struct control_job control = {.inputs = {{video.source.bytes, video.source.fd}},
                                  .input_count = 1,
                                  .range_fd = -1,
                                  .job = bytes.data,
                                  .job_bytes = bytes.length};
    assert_int_equal(control_job_send(worker.socket, &control), SL_OK);
    struct control_frame frame = {0};
    struct sl_failure why = {0};
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    int fd = fileno(full);
    for (;;) {
        assert_int_equal(control_receive(worker.socket, &frame, 20 * SL_NS_PER_S), SL_OK);
        if (frame.kind == CONTROL_FAILED)
            break;
        if (frame.kind != CONTROL_OPEN)
            continue;
        uint8_t number[4] = {0};
        assert_int_equal(control_send(worker.socket, CONTROL_OUTPUT, number, 4, &fd, 1), SL_OK);
    }
    fclose(full);
    assert_int_equal(control_failed_parse(&frame, &why), SL_OK);
    assert_int_equal(why.code, SL_ENOSPC);
    assert_non_null(strstr(why.message, "init.mp4"));
    control_frame_fini(&frame);
    assert_int_equal(kit_worker_end(&worker), 1);
    sl_buf_fini(&bytes);
    kit_video_fini(&video);
}

static void test_the_token_goes_before_the_last_extension(void **state)
{
    (void)state;
    struct lease_token token = {57};
    char key[JOB_NAME_BYTES];
    assert_int_equal(run_output_key("h264/720p/playlist.m3u8", token, key), SL_OK);
    assert_string_equal(key, "h264/720p/playlist.t57.m3u8");
    assert_int_equal(run_output_key("a.b/index", token, key), SL_OK);
    assert_string_equal(key, "a.b/index.t57");
    char name[JOB_NAME_BYTES];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(run_output_key(name, token, key), SL_ELIMIT);
}

/* ---- the ring ---- */

struct reader {
    struct frame_ring *ring;
    int number;
    int64_t sum;
    int count;
    int last;
};

static void *reader_run(void *arg)
{
    struct reader *reader = arg;
    const struct ring_slot *slot;
    while ((reader->last = frame_ring_take(reader->ring, reader->number, &slot)) > 0) {
        assert_int_equal(slot->ticks, reader->count);
        assert_int_equal(slot->frame->width, reader->count + 1);
        reader->count++;
        frame_ring_release(reader->ring, reader->number);
    }
    return NULL;
}

static void test_every_reader_of_the_ring_sees_every_frame(void **state)
{
    (void)state;
    struct frame_ring ring;
    struct reader readers[4];
    pthread_t threads[4];
    assert_int_equal(frame_ring_init(&ring, 4), SL_OK);
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){.ring = &ring, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0);
    }
    AVFrame *frame = av_frame_alloc();
    for (int i = 0; i < 1000; i++) {
        frame->width = i + 1;
        assert_int_equal(frame_ring_put(&ring, frame, NULL, i, 0, false), SL_OK);
    }
    frame_ring_end(&ring);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].count, 1000);
        assert_int_equal(readers[i].last, 0);
    }
    av_frame_free(&frame);
    frame_ring_fini(&ring);
    assert_int_equal(frame_ring_init(&ring, RING_READERS_MAX + 1), SL_ELIMIT);
}

static void *abort_soon(void *arg)
{
    usleep(20000);
    frame_ring_abort(arg);
    return NULL;
}

static void test_a_full_ring_waits_until_it_is_aborted(void **state)
{
    (void)state;
    struct frame_ring ring;
    pthread_t thread;
    assert_int_equal(frame_ring_init(&ring, 1), SL_OK);
    AVFrame *frame = av_frame_alloc();
    for (int i = 0; i < RING_FRAMES; i++)
        assert_int_equal(frame_ring_put(&ring, frame, NULL, i, 0, false), SL_OK);
    assert_int_equal(pthread_create(&thread, NULL, abort_soon, &ring), 0);
    assert_int_equal(frame_ring_put(&ring, frame, NULL, RING_FRAMES, 0, false), SL_ECANCELLED);
    pthread_join(thread, NULL);
    const struct ring_slot *slot;
    assert_int_equal(frame_ring_take(&ring, 0, &slot), SL_ECANCELLED);
    av_frame_free(&frame);
    frame_ring_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_ends_when_its_agent_closes_before_a_job),
        cmocka_unit_test(test_worker_ends_when_its_agent_closes_in_mid_job),
        cmocka_unit_test(test_a_job_of_garbage_is_refused),
        cmocka_unit_test(test_a_broken_frame_ends_the_worker),
        cmocka_unit_test(test_a_missing_input_is_named),
        cmocka_unit_test(test_an_unknown_step_is_refused),
        cmocka_unit_test(test_a_source_that_is_no_media_fails_with_class_input),
        cmocka_unit_test(test_a_published_set_of_garbage_is_refused),
        cmocka_unit_test(test_a_source_that_breaks_off_is_a_lost_segment),
        cmocka_unit_test(test_a_source_that_changed_is_told),
        cmocka_unit_test(test_unknown_devices_and_encoders_are_named),
        cmocka_unit_test(test_a_stream_that_is_no_video_is_refused_with_those_there_are),
        cmocka_unit_test(test_a_full_scratch_is_a_matter_of_capacity),
        cmocka_unit_test(test_the_token_goes_before_the_last_extension),
        cmocka_unit_test(test_every_reader_of_the_ring_sees_every_frame),
        cmocka_unit_test(test_a_full_ring_waits_until_it_is_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
