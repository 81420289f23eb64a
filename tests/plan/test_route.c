/* Which entries of a route a video may use, what they make of a job, and reports of mixed encoders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/plan/plan_kit.h"

struct planned {
    struct kit_source source;
    struct policy policy;
    struct plan plan;
    struct sl_arena arena;
};

/* H.264 of a 1280x720 source by nvenc, vaapi, x264. */
static void planned_open(struct planned *p)
{
    struct sl_failure why = {0};
    memset(p, 0, sizeof *p);
    kit_source_cfr(&p->source, 1280, 720, (struct rational){1, 25}, 1, 500, 50);
    p->policy = kit_policy();
    struct policy_codec *codec = &p->policy.codecs[0];
    codec->route_count = 3;
    memset(codec->route, 0, sizeof codec->route);
    static const char *const names[] = {"nvenc", "vaapi", "x264"};
    for (int i = 0; i < 3; i++) {
        strcpy(codec->route[i].encoder, names[i]);
        strcpy(codec->route[i].preset, "medium");
    }
    assert_int_equal(
        plan_build(&p->source.info, &p->source.index, &p->policy, &p->arena, &p->plan, &why), 0);
}

static void planned_close(struct planned *p)
{
    kit_source_close(&p->source);
    sl_arena_fini(&p->arena);
}

/* "0 2": the entries that are left; the reason where none is. */
static const char *chosen(struct planned *p, const char *provider, enum priority priority)
{
    static char text[SL_MESSAGE_BYTES];
    struct plan_who who = {provider, priority};
    struct plan_route route;
    struct sl_failure why = {0};
    text[0] = '\0';
    int code = plan_route_choose(&p->plan, &p->policy, CODEC_H264, &who, &route, &why);
    assert_int_equal(code == SL_OK, route.count > 0);
    if (code != SL_OK)
        snprintf(text, sizeof text, "%s", why.message);
    for (int32_t i = 0; i < route.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "",
                 (int)route.entries[i]);
    return text;
}

static void test_encoders_that_do_not_take_the_sizes_are_left_out(void **state)
{
    (void)state;
    struct planned p;
    planned_open(&p);
    struct plan_rung *rungs = p.plan.rungs;
    int32_t last = plan_codec_rungs(&p.plan, CODEC_H264, NULL) - 1;
    assert_true(last > 0);
    rungs[last].width = 144; /* 144p of a phone held upright */
    rungs[last].height = 256;
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "1 2");
    rungs[last].width = 146;
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "0 1 2");
    rungs[0].width = 7680;
    rungs[0].height = 4320;
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "2");
    p.policy.codecs[0].route_count = 2; /* with none left they say themselves what they take */
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "0 1");
    planned_close(&p);
}

static void test_conditions_are_those_of_the_largest_rung(void **state)
{
    (void)state;
    struct planned p;
    planned_open(&p);
    struct policy_when *when = &p.policy.codecs[0].route[0].when;
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "0 1 2");
    static const struct {
        struct policy_when when;
        bool holds;
    } cases[] = {
        {{.height_min = 720}, true},
        {{.height_min = 721}, false},
        {{.height_max = 720}, true},
        {{.height_max = 719}, false},
        {{.width_min = 1280, .width_max = 1280}, true},
        {{.width_max = 1279}, false},
        {{.depth = 8}, true},
        {{.depth = 10}, false},
        {{.queue_longer_ns = 1}, true}, /* the core's to decide */
        {{.priorities = 1u << PRIORITY_HIGH | 1u << PRIORITY_LOW}, true},
        {{.priorities = 1u << PRIORITY_HIGH}, false},
        {{.providers = {"a", "acme"}, .provider_count = 2}, true},
        {{.providers = {"a", "acme2"}, .provider_count = 2}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        *when = cases[i].when;
        assert_string_equal(chosen(&p, "acme", PRIORITY_LOW), cases[i].holds ? "0 1 2" : "1 2");
    }
    *when = (struct policy_when){.providers = {"acme"}, .provider_count = 1};
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "1 2");
    p.plan.pictures[CODEC_H264].bit_depth = 10;
    *when = (struct policy_when){.depth = 10};
    assert_string_equal(chosen(&p, NULL, PRIORITY_LOW), "0 1 2");
    planned_close(&p);
}

static void test_a_route_without_an_entry_says_what_it_looked_at(void **state)
{
    (void)state;
    struct planned p;
    planned_open(&p);
    for (int i = 0; i < 3; i++)
        p.policy.codecs[0].route[i].when.height_min = 1080;
    assert_string_equal(
        chosen(&p, "acme", PRIORITY_HIGH),
        "no condition of h264's route (nvenc, vaapi, x264) holds for this video: "
        "1280x720, 8 bits, provider \"acme\", priority high; add an encoder without "
        "a condition");
    planned_close(&p);
}

static void test_a_job_has_the_encoder_preset_and_quality_of_its_entry(void **state)
{
    (void)state;
    struct planned p;
    struct job job;
    planned_open(&p);
    /* The plan leaves it open, where there is a choice. */
    assert_string_equal(p.plan.rungs[0].encoder, "");
    assert_int_equal(plan_transcode_job(&p.plan, &p.policy, 0, PREROLL_NONE, &p.arena, &job),
                     SL_OK);
    struct policy_route *route = &p.policy.codecs[0].route[1];
    strcpy(route->preset, "slow");
    route->crf_offset_tenths = -300;
    assert_int_equal(plan_job_route(&p.policy, CODEC_H264, 1, &p.arena, &job), SL_OK);
    for (int32_t i = 0; i < job.transcode.rung_count; i++) {
        assert_string_equal(job.transcode.rungs[i].encoder, "vaapi");
        assert_string_equal(job.transcode.rungs[i].preset, "slow");
        assert_int_equal(job.transcode.rungs[i].crf_tenths, 0);
        assert_string_equal(job.transcode.rungs[i].name, p.plan.rungs[i].name);
    }
    route->crf_offset_tenths = 15;
    assert_int_equal(plan_transcode_job(&p.plan, &p.policy, 0, PREROLL_NONE, &p.arena, &job),
                     SL_OK);
    assert_int_equal(plan_job_route(&p.policy, CODEC_H264, 1, &p.arena, &job), SL_OK);
    assert_int_equal(job.transcode.rungs[0].crf_tenths, p.plan.rungs[0].crf_tenths + 15);
    assert_int_equal(plan_job_route(&p.policy, CODEC_H264, 3, &p.arena, &job), SL_EINVAL);
    assert_int_equal(plan_job_route(&p.policy, CODEC_AV1, 0, &p.arena, &job), SL_EINVAL);
    planned_close(&p);
}

static void test_what_a_device_is_asked_for_grows_with_the_ladder(void **state)
{
    (void)state;
    struct planned p;
    planned_open(&p);
    struct demand eight = plan_device_demand(&p.plan, CODEC_H264);
    assert_int_equal(eight.sessions, p.plan.rung_count);
    assert_true(eight.cpu_millicores < 1000 && eight.vram_bytes > 0);
    p.plan.pictures[CODEC_H264].bit_depth = 10;
    assert_true(plan_device_demand(&p.plan, CODEC_H264).vram_bytes > eight.vram_bytes);
    p.plan.rung_count--;
    assert_int_equal(plan_device_demand(&p.plan, CODEC_H264).sessions, eight.sessions - 1);
    planned_close(&p);
}

static void encoder_set(struct report *report, const char *encoder)
{
    for (int32_t i = 0; i < report->rendition_count; i++) {
        memset(report->renditions[i].encoder, 0, POLICY_WORD_BYTES);
        strcpy(report->renditions[i].encoder, encoder);
    }
}

static void test_a_mixed_rendition_names_all_its_encoders(void **state)
{
    (void)state;
    struct planned p;
    planned_open(&p);
    const struct report *video[64], *audio[4];
    struct published_set set;
    struct sl_failure why = {0};
    assert_in_range(p.plan.chunk_count, 3, 64);
    for (int32_t i = 0; i < p.plan.chunk_count; i++) {
        struct report *report = kit_report_transcode(&p.plan, i, &p.arena);
        encoder_set(report, i % 3 == 1 ? "x264" : "nvenc");
        assert_int_equal(plan_check_encoder(report, i % 3 == 1 ? "x264" : "nvenc", &why), SL_OK);
        assert_int_equal(plan_check_encoder(report, "vaapi", &why), SL_EMISMATCH);
        video[i] = report;
    }
    for (int32_t i = 0; i < p.plan.audio_count; i++)
        audio[i] = kit_report_audio(&p.plan, i, &p.arena);
    p.plan.images.still_count = 0;
    if (plan_publish(&p.plan, "v", video, audio, NULL, NULL, &p.arena, &set, &why) != SL_OK)
        fail_msg("%s", why.message);
    assert_string_equal(set.renditions[0].encoder, "nvenc+x264");
    /* With one encoder planned, another one is a mistake. */
    for (int32_t i = 0; i < p.plan.rung_count; i++)
        strcpy(p.plan.rungs[i].encoder, "nvenc");
    assert_int_equal(plan_publish(&p.plan, "v", video, audio, NULL, NULL, &p.arena, &set, &why),
                     SL_EMISMATCH);
    planned_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoders_that_do_not_take_the_sizes_are_left_out),
        cmocka_unit_test(test_conditions_are_those_of_the_largest_rung),
        cmocka_unit_test(test_a_route_without_an_entry_says_what_it_looked_at),
        cmocka_unit_test(test_a_job_has_the_encoder_preset_and_quality_of_its_entry),
        cmocka_unit_test(test_what_a_device_is_asked_for_grows_with_the_ladder),
        cmocka_unit_test(test_a_mixed_rendition_names_all_its_encoders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
