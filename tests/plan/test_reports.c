#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/time.h"
#include "tests/plan/plan_kit.h"

static struct sl_arena arena;
static struct kit_source source;
static struct policy policy;
static struct plan plan;

/* A minute of 720p in two codecs, ten chunks; and one keyframe span of two segments among them. */
static int setup(void **state)
{
    (void)state;
    memset(&arena, 0, sizeof arena);
    policy = kit_policy();
    kit_policy_codec_add(&policy, CODEC_H265);
    kit_source_cfr(&source, 1280, 720, (struct rational){1, 12800}, 512, 1500, 50);
    for (size_t i = 301; i < 600; i++)
        source.index.key[i] = 0;
    return plan_build(&source.info, &source.index, &policy, &arena, &plan, NULL);
}

static int teardown(void **state)
{
    (void)state;
    sl_arena_fini(&arena);
    kit_source_close(&source);
    return 0;
}

static void test_jobs_repeat_the_plan(void **state)
{
    (void)state;
    struct job job;
    assert_int_equal(plan.chunk_count, 9);
    assert_int_equal(plan.chunks[2].segment_count, 2);
    assert_int_equal(plan_transcode_job(&plan, &policy, 2 * 2 + 1, 1, &arena, &job), SL_OK);
    assert_int_equal(job.step, STEP_TRANSCODE);
    assert_int_equal(job.watchdog_ns, policy.watchdog_ns);
    assert_int_equal(job.transcode.preroll, 1);
    assert_int_equal(job.transcode.rung_count, 4);
    assert_int_equal(job.transcode.rungs[0].codec, CODEC_H265);
    assert_int_equal(job.transcode.start_pts, 300 * 512);
    assert_int_equal(job.transcode.end_pts, 600 * 512);
    assert_int_equal(job.transcode.byte_first, 48 + 300 * 1000);
    assert_int_equal(job.transcode.segment_count, 2);
    assert_int_equal(job.transcode.segments[0].number, 2);
    assert_int_equal(job.transcode.segments[1].start_pts, 450 * 512);
    assert_int_equal(job.transcode.segments[1].frame_count, 150);
    assert_false(job.transcode.write_init);
    assert_false(job.transcode.last_chunk);
    assert_int_equal(plan_transcode_job(&plan, &policy, 1, 0, &arena, &job), SL_OK);
    assert_true(job.transcode.write_init);
    assert_int_equal(plan_transcode_job(&plan, &policy, 17, 0, &arena, &job), SL_OK);
    assert_true(job.transcode.last_chunk);

    assert_int_equal(plan_audio_job(&plan, 0, &arena, &job), SL_OK);
    assert_int_equal(job.audio.boundary_count, 11);
    assert_int_equal(job.audio.boundary_ticks[3], 450 * 512);
    assert_int_equal(job.audio.boundary_ticks[10], 1500 * 512);
    assert_string_equal(job.audio.out.name, "aac-128");
}

static void test_pieces_out_of_range_are_refused(void **state)
{
    (void)state;
    struct job job;
    assert_int_equal(plan_transcode_job(&plan, &policy, -1, 0, &arena, &job), SL_EINVAL);
    assert_int_equal(plan_transcode_job(&plan, &policy, 18, 0, &arena, &job), SL_EINVAL);
    assert_int_equal(plan_transcode_job(&plan, &policy, 0, 16, &arena, &job), SL_EINVAL);
    assert_int_equal(plan_audio_job(&plan, 1, &arena, &job), SL_EINVAL);
    assert_int_equal(plan_transcode_demand(&plan, 18).cpu_millicores, 0);
    struct report *report = kit_report_transcode(&plan, 0, &arena);
    assert_int_equal(plan_check_transcode(&plan, 18, report, NULL, NULL), SL_EMISMATCH);
    assert_int_equal(plan_check_audio(&plan, 1, report, NULL), SL_EMISMATCH);
}

static void test_first_chunk_goes_first_then_audio_then_half_in_time_then_the_longest(void **state)
{
    (void)state;
    assert_int_equal(plan_transcode_order(&plan, 0), PLAN_ORDER_FIRST);
    assert_true(PLAN_ORDER_FIRST < PLAN_ORDER_AUDIO);
    int64_t before = PLAN_ORDER_AUDIO;
    int32_t half = plan.chunk_count / 2;
    for (int32_t chunk = 1; chunk <= half; chunk++) {
        assert_true(plan_transcode_order(&plan, chunk * plan.codec_count) > before);
        before = plan_transcode_order(&plan, chunk * plan.codec_count);
    }
    /* The second codec plays nothing yet: its opening waits like its other chunks. */
    for (int32_t chunk = 0; chunk < plan.chunk_count; chunk++)
        assert_true(plan_transcode_order(&plan, chunk * plan.codec_count + 1) > before);
    for (int32_t a = half + 1; a < plan.chunk_count; a++) {
        int64_t order = plan_transcode_order(&plan, a * plan.codec_count);
        assert_true(order > before);
        for (int32_t b = half + 1; b < plan.chunk_count; b++)
            if (plan.chunks[a].frame_count > plan.chunks[b].frame_count)
                assert_true(order < plan_transcode_order(&plan, b * plan.codec_count));
    }
}

static void test_demand_grows_with_the_picture_and_stays_under_a_gigabyte_at_1080p(void **state)
{
    (void)state;
    struct demand demand = plan_transcode_demand(&plan, 2);
    assert_int_equal(demand.cpu_millicores, 1000);
    assert_int_equal(demand.fetch_bytes, 150 * 1000);
    /* 150 frames of source, 720p, 480p, 360p and 240p. */
    int64_t pix = 2 * 1280 * 720 + 854 * 480 + 640 * 360 + 426 * 240;
    assert_int_equal(demand.work_mpix, (150 * pix + 999999) / 1000000);
    assert_int_equal(plan.chunks[1].work_mpix, demand.work_mpix);
    source.info.video.width = 1920;
    source.info.video.height = 1080;
    struct plan large;
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &large, NULL), SL_OK);
    assert_true(plan_transcode_demand(&large, 2).memory_bytes > demand.memory_bytes);
    assert_true(plan_transcode_demand(&large, 2).memory_bytes < 1000000000);
    /* Ten bits take more. */
    int64_t eight = plan_transcode_demand(&large, 2).memory_bytes;
    large.pictures[CODEC_H264].bit_depth = 10;
    assert_true(plan_transcode_demand(&large, 2).memory_bytes > eight * 5 / 4);
    /* Where the container does not tell offsets, the share of the stream's bytes. */
    source.index.byte_offset[170] = -1;
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &large, NULL), SL_OK);
    assert_int_equal(large.chunks[1].byte_first, -1);
    assert_int_equal(plan_transcode_demand(&large, 2).fetch_bytes, 150 * 1000);
    assert_true(plan_step_demand(STEP_PROBE).cpu_millicores > 0);
    assert_true(plan_step_demand(STEP_AUDIO).cpu_millicores > 0);
    assert_true(plan_step_demand(STEP_PACKAGE).memory_bytes > 0);
    assert_true(plan_step_demand(STEP_VERIFY).memory_bytes > 0);
    assert_int_equal(plan_step_demand(STEP_PLAN).cpu_millicores, 0);
}

static void test_faithful_reports_pass(void **state)
{
    (void)state;
    for (int32_t piece = 0; piece < plan.chunk_count * plan.codec_count; piece++) {
        bool predicted = false;
        struct sl_failure why = {0};
        int rc = plan_check_transcode(&plan, piece, kit_report_transcode(&plan, piece, &arena),
                                      &predicted, &why);
        if (rc)
            print_error("%s\n", why.message);
        assert_int_equal(rc, SL_OK);
        assert_true(predicted);
    }
    assert_int_equal(plan_check_audio(&plan, 0, kit_report_audio(&plan, 0, &arena), NULL), SL_OK);
}

/* Each spoils one thing in a faithful report of a first chunk (piece 0) or of chunk 2 (piece 4). */
static void spoil_step(struct report *r)
{
    r->step = STEP_AUDIO;
}
static void spoil_rendition_count(struct report *r)
{
    r->rendition_count = 3;
}
static void spoil_rendition_null(struct report *r)
{
    r->renditions = NULL;
}
static void spoil_outputs_null(struct report *r)
{
    r->outputs = NULL;
}
static void spoil_outputs_many(struct report *r)
{
    r->output_count = 1000000;
}
static void spoil_name(struct report *r)
{
    strcpy(r->renditions[1].name, "720p");
}
static void spoil_codec(struct report *r)
{
    r->renditions[1].codec = CODEC_AV1;
}
static void spoil_width(struct report *r)
{
    r->renditions[0].width += 2;
}
static void spoil_timescale(struct report *r)
{
    r->renditions[0].timescale++;
}
static void spoil_encoder(struct report *r)
{
    strcpy(r->renditions[0].encoder, "nvenc");
}
static void spoil_codecs_string(struct report *r)
{
    r->renditions[0].codecs[0] = '\0';
}
static void spoil_codecs_endless(struct report *r)
{
    memset(r->renditions[0].codecs, 'a', CODECS_BYTES);
}
static void spoil_init_hash(struct report *r)
{
    memset(r->renditions[2].init_sha256, 0, SHA256_BYTES);
}
static void spoil_init_other(struct report *r)
{
    r->renditions[2].init_sha256[0] ^= 1;
}
static void spoil_init_missing(struct report *r)
{
    r->renditions[2].init_output = -1;
}
static void spoil_init_unasked(struct report *r)
{
    r->renditions[2].init_output = 0;
}
static void spoil_segment_count(struct report *r)
{
    r->renditions[2].segment_count = 1;
}
static void spoil_segment_count_huge(struct report *r)
{
    r->renditions[2].segment_count = INT32_MAX;
}
static void spoil_segments_null(struct report *r)
{
    r->renditions[2].segments = NULL;
}
static void spoil_segment_number(struct report *r)
{
    r->renditions[2].segments[0].number++;
}
static void spoil_output_high(struct report *r)
{
    r->renditions[2].segments[0].output = r->output_count;
}
static void spoil_output_negative(struct report *r)
{
    r->renditions[2].segments[0].output = -7;
}
static void spoil_output_shared(struct report *r)
{
    r->renditions[2].segments[1].output = r->renditions[2].segments[0].output;
}
static void spoil_output_of_other_rung(struct report *r)
{
    r->renditions[2].segments[0].output = r->renditions[1].segments[0].output;
}
static void spoil_output_empty(struct report *r)
{
    r->outputs[r->renditions[2].segments[0].output].bytes = 0;
}
static void spoil_key_escapes(struct report *r)
{
    strcpy(r->outputs[r->renditions[0].segments[0].output].key, "h264/720p/../../other/1.m4s");
}
static void spoil_key_absolute(struct report *r)
{
    strcpy(r->outputs[r->renditions[0].segments[0].output].key, "/etc/passwd");
}
static void spoil_key_endless(struct report *r)
{
    struct report_output *output = &r->outputs[r->renditions[0].segments[0].output];
    memset(output->key + 10, 'a', JOB_NAME_BYTES - 10);
}
static void spoil_key_newline(struct report *r)
{
    strcpy(r->outputs[r->renditions[0].segments[0].output].key, "h264/720p/1\n#EXT.m4s");
}
static void spoil_start(struct report *r)
{
    r->renditions[0].segments[0].start_ticks++;
}
static void spoil_end(struct report *r)
{
    r->renditions[0].segments[1].end_ticks += 512;
}
static void spoil_last_outside(struct report *r)
{
    r->renditions[0].segments[0].last_ticks = r->renditions[0].segments[0].end_ticks;
}
static void spoil_last_differs(struct report *r)
{
    r->renditions[3].segments[1].last_ticks--;
}
static void spoil_frames_differ(struct report *r)
{
    r->renditions[3].segments[1].frame_count--;
}
static void spoil_frames_none(struct report *r)
{
    for (int i = 0; i < 4; i++)
        r->renditions[i].segments[0].frame_count = 0;
}
static void spoil_frame_sum(struct report *r)
{
    r->transcode.frame_count++;
}
static void spoil_seam_first(struct report *r)
{
    r->transcode.seam_first = 0;
}
static void spoil_seam_next(struct report *r)
{
    r->transcode.seam_next = 0;
}

static void test_every_difference_of_a_transcode_report_is_found(void **state)
{
    (void)state;
    static const struct {
        void (*spoil)(struct report *);
        int32_t piece;
        const char *says;
    } cases[] = {
        {spoil_step, 4, "the task's is transcode"},
        {spoil_rendition_count, 4, "has 3 renditions and the plan 4"},
        {spoil_rendition_null, 4, "renditions"},
        {spoil_outputs_null, 4, "outputs"},
        {spoil_outputs_many, 4, "names 1000000 outputs; 1 to 12"},
        {spoil_name, 4, "h264 720p is in the report 2 times"},
        {spoil_codec, 4, "h264 480p is in the report 0 times"},
        {spoil_width, 4, "h264 720p is 1282x720 and was planned as 1280x720"},
        {spoil_timescale, 4, "counts in 1/12801 s"},
        {spoil_encoder, 4, "made by nvenc and was planned for x264"},
        {spoil_codecs_string, 4, "no codecs string"},
        {spoil_codecs_endless, 4, "no codecs string"},
        {spoil_init_hash, 4, "h264 360p: the report has no hash of the init"},
        {spoil_init_other, 0, "not the one hashed"},
        {spoil_init_missing, 0, "the init segment is output -1"},
        {spoil_init_unasked, 4, "did not ask for"},
        {spoil_segment_count, 4, "1 segments reported and 2 planned"},
        {spoil_segment_count_huge, 4, "2 planned"},
        {spoil_segments_null, 4, "2 planned"},
        {spoil_segment_number, 4, "segment 3 reported where 2 is planned"},
        {spoil_output_high, 4, "segment 2 is output 8 of 8"},
        {spoil_output_negative, 4, "segment 2 is output -7"},
        {spoil_output_shared, 4, "another's as well"},
        {spoil_output_of_other_rung, 4, "outside h264/360p/"},
        {spoil_output_empty, 4, "segment 2 is empty"},
        {spoil_key_escapes, 4, "outside h264/720p/"},
        {spoil_key_absolute, 4, "outside h264/720p/"},
        {spoil_key_endless, 4, "outside h264/720p/"},
        {spoil_key_newline, 4, "outside h264/720p/"},
        {spoil_start, 4, "runs from 153601 to 230400 and was planned from 153600"},
        {spoil_end, 4, "was planned from 230400 to 307200"},
        {spoil_last_outside, 4, "the last frame of segment 2"},
        {spoil_last_differs, 4, "the last frame of segment 3"},
        {spoil_frames_differ, 4, "has 149 frames and 150 in rung 720p"},
        {spoil_frames_none, 4, "has 0 frames"},
        {spoil_frame_sum, 4, "counts 301 frames and its segments 300"},
        {spoil_seam_first, 4, "no seam hash at its start"},
        {spoil_seam_next, 4, "no seam hash at its end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report *report = kit_report_transcode(&plan, cases[i].piece, &arena);
        struct sl_failure why = {0};
        bool predicted = true;
        cases[i].spoil(report);
        int rc = plan_check_transcode(&plan, cases[i].piece, report, &predicted, &why);
        if (rc != SL_EMISMATCH || !strstr(why.message, cases[i].says))
            print_error("case %zu \"%s\": %d, \"%s\"\n", i, cases[i].says, rc, why.message);
        assert_int_equal(rc, SL_EMISMATCH);
        assert_non_null(strstr(why.message, cases[i].says));
    }
}

static void test_other_frame_count_is_taken_when_all_rungs_agree(void **state)
{
    (void)state;
    struct report *report = kit_report_transcode(&plan, 4, &arena);
    for (int i = 0; i < 4; i++)
        report->renditions[i].segments[1].frame_count = 149;
    report->transcode.frame_count = 299;
    bool predicted = true;
    assert_int_equal(plan_check_transcode(&plan, 4, report, &predicted, NULL), SL_OK);
    assert_false(predicted);
}

static void test_renditions_may_come_in_any_order(void **state)
{
    (void)state;
    struct report *report = kit_report_transcode(&plan, 4, &arena);
    struct report_rendition first = report->renditions[0];
    report->renditions[0] = report->renditions[3];
    report->renditions[3] = first;
    assert_int_equal(plan_check_transcode(&plan, 4, report, NULL, NULL), SL_OK);
}

static void expect_audio(struct report *report, const char *says)
{
    struct sl_failure why = {0};
    assert_int_equal(plan_check_audio(&plan, 0, report, &why), SL_EMISMATCH);
    if (!strstr(why.message, says))
        print_error("\"%s\" is not in \"%s\"\n", says, why.message);
    assert_non_null(strstr(why.message, says));
}

static void test_every_difference_of_an_audio_report_is_found(void **state)
{
    (void)state;
    struct report *report = kit_report_audio(&plan, 0, &arena);
    strcpy(report->renditions[0].name, "aac-96");
    expect_audio(report, "audio aac-128 is planned and aac-96 reported");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].segment_count--;
    expect_audio(report, "9 segments reported and 10 planned");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].timescale = 0;
    expect_audio(report, "counts in 1/0 s");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].segments[4].start_ticks += 1024;
    expect_audio(report, "segment 4 starts at");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].segments[4].end_ticks += 4096;
    report->renditions[0].segments[5].start_ticks += 4096;
    expect_audio(report, "boundary 5 is at");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].segments[9].end_ticks -= 48000;
    report->renditions[0].segments[9].last_ticks -= 48000;
    expect_audio(report, "boundary 10 is at");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].segments[9].frame_count = 0;
    expect_audio(report, "segment 9 has 0 frames");
    report = kit_report_audio(&plan, 0, &arena);
    strcpy(report->outputs[3].key, "h264/720p/000001.m4s");
    expect_audio(report, "outside audio/");
    report = kit_report_audio(&plan, 0, &arena);
    report->renditions[0].init_output = 99;
    expect_audio(report, "the init segment is output 99");
    report = kit_report_audio(&plan, 0, &arena);
    report->step = STEP_TRANSCODE;
    expect_audio(report, "the task's is audio");
}

static void test_seam_holds_when_the_hashes_meet(void **state)
{
    (void)state;
    struct report *earlier = kit_report_transcode(&plan, 2, &arena);
    struct report *later = kit_report_transcode(&plan, 4, &arena);
    struct sl_failure why = {0};
    assert_int_equal(plan_check_seam(earlier, later, &why), SL_OK);
    later->transcode.seam_first ^= 1;
    assert_int_equal(plan_check_seam(earlier, later, &why), SL_ESEAM);
    assert_non_null(strstr(why.message, "preroll"));
}

static const struct report **transcodes(void)
{
    int32_t count = plan.chunk_count * plan.codec_count;
    const struct report **reports = sl_arena_array(&arena, (size_t)count, sizeof *reports);
    for (int32_t i = 0; i < count; i++)
        reports[i] = kit_report_transcode(&plan, i, &arena);
    return reports;
}

static struct report *edit(const struct report **reports, int32_t piece)
{
    struct report *report = kit_report_transcode(&plan, piece, &arena);
    reports[piece] = report;
    return report;
}

static void test_published_set_holds_every_rendition_in_order(void **state)
{
    (void)state;
    const struct report **video = transcodes();
    const struct report *audio[] = {kit_report_audio(&plan, 0, &arena)};
    struct published_set set;
    struct sl_failure why = {0};
    int rc = plan_publish(&plan, "v0123456789ABC", video, audio, NULL, NULL, &arena, &set, &why);
    assert_int_equal(rc, SL_OK);
    assert_string_equal(set.video, "v0123456789ABC");
    assert_int_equal(set.rendition_count, 9);
    assert_int_equal(set.frame_count, 1500);
    assert_int_equal(set.duration_ticks, 1500 * 512);
    assert_string_equal(set.renditions[0].name, "720p");
    assert_string_equal(set.renditions[0].init_key, "h264/720p/init.t57.m4s");
    assert_string_equal(set.renditions[0].segments[9].key, "h264/720p/000009.t57.m4s");
    assert_int_equal(set.renditions[4].codec, CODEC_H265);
    assert_string_equal(set.renditions[4].segments[3].key, "h265/720p/000003.t57.m4s");
    assert_true(set.renditions[8].audio);
    assert_string_equal(set.renditions[8].language, "eng");
    assert_int_equal(set.renditions[8].timescale, 48000);
    for (int32_t r = 0; r < 9; r++)
        for (int32_t i = 1; i < 10; i++)
            assert_int_equal(set.renditions[r].segments[i].start_ticks,
                             set.renditions[r].segments[i - 1].end_ticks);
}

static void expect_unpublished(const struct report **video, const char *says)
{
    const struct report *audio[] = {kit_report_audio(&plan, 0, &arena)};
    struct published_set set;
    struct sl_failure why = {0};
    assert_int_equal(plan_publish(&plan, "v", video, audio, NULL, NULL, &arena, &set, &why),
                     SL_EMISMATCH);
    if (!strstr(why.message, says))
        print_error("\"%s\" is not in \"%s\"\n", says, why.message);
    assert_non_null(strstr(why.message, says));
}

static void test_chunks_that_disagree_are_not_published(void **state)
{
    (void)state;
    const struct report **video = transcodes();
    video[7] = NULL;
    expect_unpublished(video, "chunk 3 of h265 has no report");
    video = transcodes();
    edit(video, 6)->renditions[1].init_sha256[3] ^= 1;
    expect_unpublished(video, "h264 480p: chunk 3 has another init segment");
    video = transcodes();
    strcpy(edit(video, 6)->renditions[1].codecs, "avc1.640020");
    expect_unpublished(video, "another codecs string");
    video = transcodes();
    edit(video, 6)->renditions[1].segments[0].end_ticks += 1;
    expect_unpublished(video, "segment 4 runs from");
    /* The codecs decode the same source: different sums mean that one lost frames. */
    video = transcodes();
    struct report *report = edit(video, 7);
    for (int i = 0; i < 4; i++)
        report->renditions[i].segments[0].frame_count--;
    report->transcode.frame_count--;
    expect_unpublished(video, "h265 720p has 1499 frames and h264 720p has 1500");
    video = transcodes();
    struct published_set set;
    assert_int_equal(plan_publish(&plan, "v", video, NULL, NULL, NULL, &arena, &set, NULL),
                     SL_EMISMATCH);
}

static void test_samples_are_the_first_and_a_seeded_segment(void **state)
{
    (void)state;
    const struct report **video = transcodes();
    const struct report *audio[] = {kit_report_audio(&plan, 0, &arena)};
    struct published_set set;
    assert_int_equal(plan_publish(&plan, "v", video, audio, NULL, NULL, &arena, &set, NULL), SL_OK);
    struct job_sample *samples, *again;
    int32_t count, count_again;
    bool differ = false;
    int32_t first_choice = -1;
    for (uint64_t seed = 0; seed < 20; seed++) {
        assert_int_equal(plan_verify_samples(&set, seed, &arena, &samples, &count), SL_OK);
        assert_int_equal(count, 18);
        for (int32_t r = 0; r < 9; r++) {
            assert_int_equal(samples[2 * r].rendition, r);
            assert_int_equal(samples[2 * r].segment, 0);
            assert_int_equal(samples[2 * r + 1].rendition, r);
            assert_in_range(samples[2 * r + 1].segment, 1, 9);
        }
        differ = differ || (first_choice >= 0 && samples[1].segment != first_choice);
        first_choice = samples[1].segment;
        assert_int_equal(plan_verify_samples(&set, seed, &arena, &again, &count_again), SL_OK);
        assert_memory_equal(samples, again, (size_t)count * sizeof *samples);
    }
    assert_true(differ);
    for (int32_t r = 0; r < 9; r++)
        set.renditions[r].segment_count = 1;
    assert_int_equal(plan_verify_samples(&set, 1, &arena, &samples, &count), SL_OK);
    assert_int_equal(count, 9);
}

#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_jobs_repeat_the_plan),
        REPORT_TEST(test_pieces_out_of_range_are_refused),
        REPORT_TEST(test_first_chunk_goes_first_then_audio_then_half_in_time_then_the_longest),
        REPORT_TEST(test_demand_grows_with_the_picture_and_stays_under_a_gigabyte_at_1080p),
        REPORT_TEST(test_faithful_reports_pass),
        REPORT_TEST(test_every_difference_of_a_transcode_report_is_found),
        REPORT_TEST(test_other_frame_count_is_taken_when_all_rungs_agree),
        REPORT_TEST(test_renditions_may_come_in_any_order),
        REPORT_TEST(test_every_difference_of_an_audio_report_is_found),
        REPORT_TEST(test_seam_holds_when_the_hashes_meet),
        REPORT_TEST(test_published_set_holds_every_rendition_in_order),
        REPORT_TEST(test_chunks_that_disagree_are_not_published),
        REPORT_TEST(test_samples_are_the_first_and_a_seeded_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
