#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/plan/plan_kit.h"

struct world {
    struct kit_source source;
    struct policy policy;
    struct sl_arena arena;
    struct plan plan;
};

/* 60 s at 25 Hz, a keyframe each 4 s, times from 10 s on. */
static int setup(void **state)
{
    static struct world w;
    w = (struct world){.policy = kit_policy()};
    kit_source_cfr(&w.source, 1280, 720, (struct rational){1, 25}, 1, 1500, 100);
    for (size_t i = 0; i < w.source.index.count; i++)
        w.source.index.pts[i] += 250;
    w.source.index.end_pts += 250;
    w.policy.subtitles = true;
    w.policy.images = (struct policy_images){true, true, INT64_C(5000000000)};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_arena_fini(&w->arena);
    kit_source_close(&w->source);
    return 0;
}

static void build(struct world *w)
{
    struct sl_failure why = {0};
    if (plan_build(&w->source.info, &w->source.index, &w->policy, &w->arena, &w->plan, &why) !=
        SL_OK)
        fail_msg("%s", why.message);
}

static void test_tracks_have_names_of_their_own_and_one_default(void **state)
{
    struct world *w = *state;
    struct media_text texts[] = {
        {.stream_index = 2, .codec = "subrip", .language = "eng", .is_default = true},
        {.stream_index = 3, .codec = "ass", .language = "ENG", .is_default = true, .forced = true},
        {.stream_index = 4, .codec = "mov_text"},
    };
    struct plan_sidecar sidecars[] = {{.language = "eng", .bytes = 10},
                                      {.language = "pt-br", .bytes = 20}};
    w->source.info.texts = texts;
    w->source.info.text_count = 3;
    w->source.info.text_left_out = 1;
    build(w);
    assert_int_equal(plan_sidecars_add(sidecars, 2, &w->policy, &w->plan, NULL), SL_OK);
    static const char *const names[] = {"eng", "eng-2", "und", "eng-3", "pt-br"};
    assert_int_equal(w->plan.text_count, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(w->plan.texts[i].name, names[i]);
    assert_true(w->plan.texts[0].is_default && !w->plan.texts[1].is_default);
    assert_true(w->plan.texts[1].forced);
    assert_int_equal(w->plan.texts[4].stream_index, -1);
    assert_non_null(strstr(w->plan.left_out, "1 subtitle stream is left out"));
    struct plan_sidecar many[PLAN_TEXTS_MAX] = {0};
    struct sl_failure why = {0};
    assert_int_equal(plan_sidecars_add(many, PLAN_TEXTS_MAX, &w->policy, &w->plan, &why),
                     SL_ETOOBIG);

    w->policy.subtitles = false;
    build(w);
    assert_int_equal(plan_sidecars_add(sidecars, 2, &w->policy, &w->plan, NULL), SL_OK);
    assert_int_equal(w->plan.text_count, 0);
}

static void test_chapters_count_from_the_plans_zero_and_end_where_the_next_begins(void **state)
{
    struct world *w = *state;
    const int64_t s = INT64_C(1000000000);
    struct media_chapter chapters[] = {
        {5 * s, 20 * s, "from before"},
        {15 * s, 15 * s, "no end"},
        {40 * s, 500 * s, "too long"},
        {90 * s, 95 * s, "behind"},
    };
    w->source.info.chapters = chapters;
    w->source.info.chapter_count = 4;
    build(w);
    assert_int_equal(w->plan.chapter_count, 3);
    assert_true(w->plan.chapters[0].start_ns == 0 && w->plan.chapters[0].end_ns == 5 * s);
    assert_true(w->plan.chapters[1].start_ns == 5 * s && w->plan.chapters[1].end_ns == 30 * s);
    assert_true(w->plan.chapters[2].start_ns == 30 * s && w->plan.chapters[2].end_ns == 60 * s);
}

static void test_stills_are_keyframes_once_each(void **state)
{
    struct world *w = *state;
    build(w);
    const struct plan_images *images = &w->plan.images;
    assert_true(images->interval_ns == INT64_C(5000000000));
    assert_int_equal(images->still_count,
                     15); /* all of them: twelve tiles and the places of a poster */
    for (int32_t i = 0; i < images->still_count; i++) {
        assert_int_equal((images->stills[i] - 250) % 100, 0);
        assert_true(i == 0 || images->stills[i] > images->stills[i - 1]);
    }
    assert_int_equal(images->tile_width, 160);
    assert_int_equal(images->tile_height, 90);
    assert_int_equal(images->poster_width, 1280);
    assert_int_equal(images->preview_height, 180);
}

static void test_long_videos_get_longer_intervals(void **state)
{
    struct world *w = *state;
    kit_source_close(&w->source);
    kit_source_cfr(&w->source, 640, 360, (struct rational){1, 1}, 1, 36000, 2); /* ten hours */
    build(w);
    assert_true(w->plan.images.still_count <= PLAN_STILLS_MAX);
    assert_true(w->plan.images.still_count > PLAN_STILLS_MAX / 2);
    assert_true(w->plan.images.interval_ns > INT64_C(40000000000));
}

static void test_a_policy_without_images_has_none(void **state)
{
    struct world *w = *state;
    w->policy.images = (struct policy_images){0};
    build(w);
    assert_int_equal(w->plan.images.still_count, 0);
    struct job job;
    assert_int_equal(plan_images_job(&w->plan, &job), SL_EINVAL);
    w->policy.images.poster = true;
    build(w);
    assert_true(w->plan.images.still_count > 0 && w->plan.images.interval_ns == 0);
    /* Nothing but the first frame is a keyframe. */
    memset(w->source.index.key + 1, 0, w->source.index.count - 1);
    build(w);
    assert_int_equal(w->plan.images.still_count, 1);
}

static void test_reports_are_held_against_the_plan(void **state)
{
    struct world *w = *state;
    struct media_text text = {.stream_index = 2, .codec = "subrip", .language = "eng"};
    w->source.info.texts = &text;
    w->source.info.text_count = 1;
    build(w);
    int32_t count = w->plan.segment_count;
    struct report_output *outputs = sl_arena_array(&w->arena, (size_t)count + 1, sizeof *outputs);
    struct report_segment *segments = sl_arena_array(&w->arena, (size_t)count, sizeof *segments);
    for (int32_t i = 0; i <= count; i++) {
        strcpy(outputs[i].name, "subtitles/eng/x.vtt");
        strcpy(outputs[i].key, "subtitles/eng/x.t1.vtt");
        outputs[i].bytes = 8;
    }
    for (int32_t i = 0; i < count; i++)
        segments[i] = (struct report_segment){
            .number = i,
            .start_ticks = plan_ticks(&w->plan, w->plan.segments[i].start_pts),
            .end_ticks = plan_ticks(&w->plan, w->plan.segments[i].end_pts),
            .output = i + 1};
    struct report_rendition track = {.name = "eng",
                                     .timescale = w->plan.timescale,
                                     .segments = segments,
                                     .segment_count = count};
    struct report report = {.step = STEP_SUBTITLES,
                            .outputs = outputs,
                            .output_count = count + 1,
                            .renditions = &track,
                            .rendition_count = 1};
    assert_int_equal(plan_check_text(&w->plan, 0, &report, NULL), SL_OK);
    segments[1].end_ticks++;
    assert_int_equal(plan_check_text(&w->plan, 0, &report, NULL), SL_EMISMATCH);
    segments[1].end_ticks--;
    strcpy(outputs[1].key, "h264/x.t1.vtt");
    assert_int_equal(plan_check_text(&w->plan, 0, &report, NULL), SL_EMISMATCH);
    assert_int_equal(plan_check_text(&w->plan, 1, &report, NULL), SL_EMISMATCH);

    strcpy(outputs[0].name, "poster.jpg");
    strcpy(outputs[0].key, "poster.t1.jpg");
    strcpy(outputs[1].name, "thumbnails.vtt");
    strcpy(outputs[1].key, "thumbnails.t1.vtt");
    strcpy(outputs[2].name, "preview.webp");
    strcpy(outputs[2].key, "preview.t1.webp");
    strcpy(outputs[3].name, "images/sheet-000.jpg");
    strcpy(outputs[3].key, "images/sheet-000.t1.jpg");
    struct report images = {
        .step = STEP_IMAGES, .outputs = outputs, .output_count = 4, .images = {0, 1, 2, 3, 1, 12}};
    assert_int_equal(plan_check_images(&w->plan, &images, NULL), SL_OK);
    images.images.preview_output = -1;
    assert_int_equal(plan_check_images(&w->plan, &images, NULL), SL_EMISMATCH);
    images.images.preview_output = 0;
    assert_int_equal(plan_check_images(&w->plan, &images, NULL), SL_EMISMATCH);
    images.images = (struct report_images){0, 1, 2, 3, 2, 12};
    assert_int_equal(plan_check_images(&w->plan, &images, NULL), SL_EMISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tracks_have_names_of_their_own_and_one_default, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_chapters_count_from_the_plans_zero_and_end_where_the_next_begins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stills_are_keyframes_once_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_videos_get_longer_intervals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_policy_without_images_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports_are_held_against_the_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
