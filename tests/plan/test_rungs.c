#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/plan/plan_kit.h"

struct shape {
    int32_t width;
    int32_t height;
    struct rational sar;
    int32_t rotation_degrees;
};

/* "854x480:480p 640x360:360p …" of the plan for a picture. */
static const char *ladder(struct shape shape, const struct policy *policy)
{
    static char text[512];
    struct kit_source source;
    struct sl_arena arena = {0};
    struct plan plan;
    struct sl_failure why = {0};
    kit_source_cfr(&source, shape.width, shape.height, (struct rational){1, 25}, 1, 50, 25);
    if (shape.sar.den)
        source.info.video.sar = shape.sar;
    source.info.video.rotation_degrees = shape.rotation_degrees;
    int rc = plan_build(&source.info, &source.index, policy, &arena, &plan, &why);
    assert_int_equal(rc, SL_OK);
    text[0] = '\0';
    for (int32_t i = 0; i < plan.rung_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%dx%d:%s", i ? " " : "", plan.rungs[i].width,
                 plan.rungs[i].height, plan.rungs[i].name);
    }
    sl_arena_fini(&arena);
    kit_source_close(&source);
    return text;
}

static void expect_ladder(int32_t width, int32_t height, const char *expected)
{
    struct policy policy = kit_policy();
    assert_string_equal(ladder((struct shape){.width = width, .height = height}, &policy),
                        expected);
}

static void test_ladder_goes_up_to_the_source(void **state)
{
    (void)state;
    expect_ladder(1280, 720, "1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(1920, 1080,
                  "1920x1080:1080p 1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(854, 480, "854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(640, 360, "640x360:360p 426x240:240p");
    expect_ladder(3840, 2160,
                  "3840x2160:2160p 2560x1440:1440p 1920x1080:1080p 1280x720:720p 854x480:480p "
                  "640x360:360p 426x240:240p");
}

static void test_ladder_stops_at_the_policys_last_rung(void **state)
{
    (void)state;
    expect_ladder(7680, 4320,
                  "3840x2160:2160p 2560x1440:1440p 1920x1080:1080p 1280x720:720p 854x480:480p "
                  "640x360:360p 426x240:240p");
}

static void test_source_clearly_above_its_last_rung_gets_its_own(void **state)
{
    (void)state;
    expect_ladder(960, 540, "854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(1706, 960, "1706x960:960p 1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(768, 432, "640x360:360p 426x240:240p");
    expect_ladder(1080, 608, "1080x608:608p 852x480:480p 640x360:360p 426x240:240p");
}

static void test_own_rung_has_rates_between_its_neighbours(void **state)
{
    (void)state;
    struct kit_source source;
    struct sl_arena arena = {0};
    struct plan plan;
    struct policy policy = kit_policy();
    policy.codecs[0].rungs[4].crf_tenths = 210;
    kit_source_cfr(&source, 1600, 900, (struct rational){1, 25}, 1, 50, 25);
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &plan, NULL), SL_OK);
    assert_string_equal(plan.rungs[0].name, "900p");
    assert_int_equal(plan.rungs[0].maxrate_kbps, 3900);
    assert_int_equal(plan.rungs[0].bufsize_kbit, 7800);
    assert_int_equal(plan.rungs[0].crf_tenths, 220);
    assert_string_equal(plan.rungs[0].encoder, "x264");
    assert_string_equal(plan.rungs[0].preset, "medium");
    assert_string_equal(plan.rungs[0].profile, "high");
    sl_arena_fini(&arena);
    kit_source_close(&source);
}

static void test_slightly_small_source_still_counts_as_its_rung(void **state)
{
    (void)state;
    expect_ladder(1270, 714, "1270x714:720p 854x480:480p 640x360:360p 426x240:240p");
    expect_ladder(1920, 800, "1920x800:1080p 1280x534:720p 854x356:480p 640x266:360p 426x178:240p");
    expect_ladder(1440, 1080,
                  "1440x1080:1080p 960x720:720p 640x480:480p 480x360:360p 320x240:240p");
}

static void test_portrait_turns_the_box(void **state)
{
    (void)state;
    expect_ladder(720, 1280, "720x1280:720p 480x854:480p 360x640:360p 240x426:240p");
    struct policy policy = kit_policy();
    assert_string_equal(ladder((struct shape){1280, 720, {1, 1}, 90}, &policy),
                        "720x1280:720p 480x854:480p 360x640:360p 240x426:240p");
    assert_string_equal(ladder((struct shape){1280, 720, {1, 1}, 270}, &policy),
                        "720x1280:720p 480x854:480p 360x640:360p 240x426:240p");
    assert_string_equal(ladder((struct shape){1280, 720, {1, 1}, 180}, &policy),
                        "1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
}

static void test_sample_aspect_gives_square_pixels(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    assert_string_equal(ladder((struct shape){720, 576, {16, 15}, 0}, &policy),
                        "640x480:480p 480x360:360p 320x240:240p");
    assert_string_equal(ladder((struct shape){1440, 1080, {4, 3}, 0}, &policy),
                        "1920x1080:1080p 1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
    /* 32:27 is 853.3 wide; it turns with the picture. */
    assert_string_equal(ladder((struct shape){720, 480, {32, 27}, 0}, &policy),
                        "852x480:480p 640x360:360p 426x240:240p");
    assert_string_equal(ladder((struct shape){720, 480, {32, 27}, 90}, &policy),
                        "480x852:480p 360x640:360p 240x426:240p");
    /* Nonsense is ignored. */
    assert_string_equal(ladder((struct shape){640, 360, {1, 100000}, 0}, &policy),
                        "640x360:360p 426x240:240p");
    assert_string_equal(ladder((struct shape){640, 360, {-4, 3}, 0}, &policy),
                        "640x360:360p 426x240:240p");
}

static void test_tiny_sources_get_one_rung(void **state)
{
    (void)state;
    expect_ladder(160, 120, "160x120:120p");
    expect_ladder(16, 16, "16x16:16p");
}

static void test_pictures_below_what_encoders_take_are_refused(void **state)
{
    (void)state;
    struct kit_source source;
    struct sl_arena arena = {0};
    struct plan plan;
    struct sl_failure why = {0};
    struct policy policy = kit_policy();
    kit_source_cfr(&source, 320, 15, (struct rational){1, 25}, 1, 50, 25);
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &plan, &why),
                     SL_EUNSUPPORTED);
    assert_non_null(strstr(why.message, "320x15"));
    sl_arena_fini(&arena);
    kit_source_close(&source);
}

/* A strip's small rungs would be a few lines high. */
static void test_a_strip_has_only_rungs_that_encoders_take(void **state)
{
    (void)state;
    expect_ladder(1920, 40, "1920x40:1080p 1280x26:720p 854x18:480p");
    expect_ladder(3000, 16, "3000x16:240p");
}

static void test_a_containers_crop_counts(void **state)
{
    (void)state;
    struct kit_source source;
    struct sl_arena arena = {0};
    struct plan plan;
    struct sl_failure why = {0};
    struct policy policy = kit_policy();
    kit_source_cfr(&source, 700, 500, (struct rational){1, 25}, 1, 50, 25);
    source.info.video.crop_left = 40;
    source.info.video.crop_right = 20;
    source.info.video.crop_top = 130;
    source.info.video.crop_bottom = 10;
    source.info.video.rotation_degrees = 90;
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &plan, &why), SL_OK);
    assert_int_equal(plan.rungs[0].width, 360);
    assert_int_equal(plan.rungs[0].height, 640);
    source.info.video.crop_right = 660;
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &plan, &why),
                     SL_EUNSUPPORTED);
    sl_arena_fini(&arena);
    kit_source_close(&source);
}

static void test_odd_sizes_become_even_without_growing(void **state)
{
    (void)state;
    expect_ladder(853, 479, "852x478:480p 640x360:360p 426x240:240p");
    expect_ladder(321, 241, "320x240:240p");
    expect_ladder(641, 361, "640x360:360p 426x240:240p");
}

static void test_equal_sizes_are_made_once(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    struct policy_codec *codec = &policy.codecs[0];
    codec->rung_count = 2;
    codec->rungs[0] = (struct policy_rung){"low", 714, 230, 2000, 4000};
    codec->rungs[1] = (struct policy_rung){"high", 720, 230, 3000, 6000};
    assert_string_equal(ladder((struct shape){1260, 708, {1, 1}, 0}, &policy), "1260x708:low");
}

static void test_own_rungs_name_is_never_taken(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    strcpy(policy.codecs[0].rungs[0].name, "900p");
    assert_string_equal(
        ladder((struct shape){1600, 900, {1, 1}, 0}, &policy),
        "1600x900:900p-source 1280x720:720p 854x480:480p 640x360:360p 426x240:900p");
}

static void test_rungs_in_any_order_come_out_descending(void **state)
{
    (void)state;
    struct policy policy = kit_policy();
    struct policy_rung first = policy.codecs[0].rungs[0];
    policy.codecs[0].rungs[0] = policy.codecs[0].rungs[3];
    policy.codecs[0].rungs[3] = first;
    assert_string_equal(ladder((struct shape){1280, 720, {1, 1}, 0}, &policy),
                        "1280x720:720p 854x480:480p 640x360:360p 426x240:240p");
}

static void test_h264_comes_first_whatever_the_policys_order(void **state)
{
    (void)state;
    struct kit_source source;
    struct sl_arena arena = {0};
    struct plan plan;
    struct policy policy = kit_policy();
    kit_policy_codec_add(&policy, CODEC_AV1);
    policy.codecs[1].rung_count = 2;
    struct policy_codec first_said = policy.codecs[0];
    policy.codecs[0] = policy.codecs[1];
    policy.codecs[1] = first_said;
    kit_source_cfr(&source, 1280, 720, (struct rational){1, 25}, 1, 500, 50);
    assert_int_equal(plan_build(&source.info, &source.index, &policy, &arena, &plan, NULL), SL_OK);
    int32_t first = -1;
    assert_int_equal(plan.codec_count, 2);
    assert_int_equal(plan_codec_at(&plan, 0), CODEC_H264);
    assert_int_equal(plan_codec_at(&plan, 1), CODEC_AV1);
    assert_int_equal(plan_codec_rungs(&plan, CODEC_H264, &first), 4);
    assert_int_equal(first, 0);
    /* AV1's ladder ends at 360p: nothing above it is added. */
    assert_int_equal(plan_codec_rungs(&plan, CODEC_AV1, &first), 2);
    assert_int_equal(first, 4);
    assert_int_equal(plan_codec_rungs(&plan, CODEC_VP9, &first), 0);
    sl_arena_fini(&arena);
    kit_source_close(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ladder_goes_up_to_the_source),
        cmocka_unit_test(test_ladder_stops_at_the_policys_last_rung),
        cmocka_unit_test(test_source_clearly_above_its_last_rung_gets_its_own),
        cmocka_unit_test(test_own_rung_has_rates_between_its_neighbours),
        cmocka_unit_test(test_slightly_small_source_still_counts_as_its_rung),
        cmocka_unit_test(test_portrait_turns_the_box),
        cmocka_unit_test(test_sample_aspect_gives_square_pixels),
        cmocka_unit_test(test_tiny_sources_get_one_rung),
        cmocka_unit_test(test_pictures_below_what_encoders_take_are_refused),
        cmocka_unit_test(test_a_strip_has_only_rungs_that_encoders_take),
        cmocka_unit_test(test_a_containers_crop_counts),
        cmocka_unit_test(test_odd_sizes_become_even_without_growing),
        cmocka_unit_test(test_equal_sizes_are_made_once),
        cmocka_unit_test(test_own_rungs_name_is_never_taken),
        cmocka_unit_test(test_rungs_in_any_order_come_out_descending),
        cmocka_unit_test(test_h264_comes_first_whatever_the_policys_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
