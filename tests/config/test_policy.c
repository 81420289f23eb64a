#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "config/config.h"

#define HEAD "name: p\n"
#define RUNG "  rungs: [{name: a, height: 240, crf: 23, maxrate: 400k}]\n"
#define CODECS                                                                                     \
    "codecs:\n"                                                                                    \
    "- codec: h264\n"                                                                              \
    "  route: [x264]\n" RUNG

static struct policy policy;
static struct config_mistakes mistakes;

static int parse(const char *text)
{
    return config_policy_parse("p.yaml", text, strlen(text), &policy, &mistakes);
}

/* Exactly these mistakes, one a line. */
static void expect(const char *text, const char *lines)
{
    struct sl_buf buf = {0};
    int rc = parse(text);
    sl_buf_text(&buf, "");
    config_mistakes_print("p.yaml", &mistakes, &buf);
    assert_string_equal((const char *)buf.data, lines);
    assert_int_equal(rc, *lines ? SL_EINVAL : SL_OK);
    sl_buf_fini(&buf);
}

static void test_default_policy_is_that_of_the_contract(void **state)
{
    (void)state;
    config_policy_default(&policy);
    assert_string_equal(policy.name, "default");
    assert_int_equal(policy.gop_ns, SL_S_TO_NS(2));
    assert_int_equal(policy.segment_ns, SL_S_TO_NS(6));
    assert_int_equal(policy.chunk_ns, SL_S_TO_NS(6));
    assert_int_equal(policy.attempts_max, 0);
    assert_int_equal(policy.check, CHECK_SAMPLE);
    assert_int_equal(policy.watchdog_ns, SL_S_TO_NS(60));
    assert_int_equal(policy.codec_count, 1);
    const struct policy_codec *codec = &policy.codecs[0];
    assert_int_equal(codec->codec, CODEC_H264);
    assert_string_equal(codec->profile, "high");
    assert_int_equal(codec->route_count, 1);
    assert_false(codec->mix);
    assert_string_equal(codec->route[0].encoder, "x264");
    assert_string_equal(codec->route[0].preset, "medium");
    static const int32_t heights[] = {240, 360, 480, 720, 1080, 1440, 2160};
    assert_int_equal(codec->rung_count, 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(codec->rungs[i].height, heights[i]);
        assert_int_equal(codec->rungs[i].crf_tenths, 230);
        assert_int_equal(codec->rungs[i].bufsize_kbit, 2 * codec->rungs[i].maxrate_kbps);
    }
    assert_int_equal(codec->rungs[4].maxrate_kbps, 5000);
    assert_int_equal(policy.audio_count, 1);
    assert_int_equal(policy.audio[0].bitrate_kbps, 128);
    assert_int_equal(policy.audio[0].channels, 2);
    assert_int_equal(policy.audio[0].sample_rate_hz, 48000);
}

static void test_shipped_default_is_the_built_in_one(void **state)
{
    (void)state;
    struct sl_buf buf = {0};
    struct sl_failure why = {0};
    int rc = config_file_read("config/policies/default.yaml", &buf, &why);
    if (rc)
        print_error("%s\n", why.message);
    assert_int_equal(rc, SL_OK);
    assert_string_equal((const char *)buf.data, config_policy_default_text());
    sl_buf_fini(&buf);
}

static void test_shipped_examples_are_valid(void **state)
{
    (void)state;
    static const char *const files[] = {
        "config/examples/policy-web-h264.yaml", "config/examples/policy-archive-h264.yaml",
        "config/examples/policy-surround-h264.yaml", "config/policies/tiers.yaml"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct sl_buf buf = {0}, lines = {0};
        assert_int_equal(config_file_read(files[i], &buf, NULL), SL_OK);
        int rc =
            config_policy_parse(files[i], (const char *)buf.data, buf.length, &policy, &mistakes);
        config_mistakes_print(files[i], &mistakes, &lines);
        if (rc)
            print_error("%s\n", (const char *)lines.data);
        assert_int_equal(rc, SL_OK);
        sl_buf_fini(&buf);
        sl_buf_fini(&lines);
    }
}

static void test_left_out_keys_have_the_documented_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse(HEAD CODECS), SL_OK);
    assert_int_equal(policy.segment_ns, SL_S_TO_NS(6));
    assert_string_equal(policy.codecs[0].route[0].preset, "medium");
    assert_string_equal(policy.codecs[0].profile, "");
    assert_int_equal(policy.codecs[0].rungs[0].bufsize_kbit, 800);
    assert_int_equal(policy.audio_count, 1);
    assert_int_equal(parse(HEAD CODECS "audio: []\n"), SL_OK);
    assert_int_equal(policy.audio_count, 0);
    assert_false(policy.loudness.on);
    assert_int_equal(policy.loudness.peak_tenths, -10);
    assert_int_equal(parse(HEAD CODECS "loudness: off\n"), SL_OK);
    assert_false(policy.loudness.on);
    assert_int_equal(parse(HEAD CODECS "loudness: -16.5\ntrue_peak: -2\n"), SL_OK);
    assert_true(policy.loudness.on);
    assert_int_equal(policy.loudness.target_tenths, -165);
    assert_int_equal(policy.loudness.peak_tenths, -20);
    /* A byte order mark and Windows line ends are no mistake. */
    assert_int_equal(
        parse("\xEF\xBB\xBFname: p\r\ncodecs:\r\n- {codec: h264, route: [x264], rungs: "
              "[{name: a, height: 240, crf: 22.5, maxrate: 0.4M}]}\r\n"),
        SL_OK);
    assert_int_equal(policy.codecs[0].rungs[0].crf_tenths, 225);
    assert_int_equal(policy.codecs[0].rungs[0].maxrate_kbps, 400);
}

static void test_unknown_key_names_its_place_and_the_valid_ones(void **state)
{
    (void)state;
    expect(HEAD "segmnt: 6s\n" CODECS,
           "p.yaml:2:1: segmnt: unknown key; did you mean segment? valid keys are name, gop, "
           "segment, chunk, check, attempts, watchdog, codecs, audio, loudness, true_peak, "
           "subtitles, images, tiers\n");
    expect(HEAD CODECS "colour: red\n",
           "p.yaml:6:1: colour: unknown key; valid keys are name, gop, segment, chunk, check, "
           "attempts, watchdog, codecs, audio, loudness, true_peak, "
           "subtitles, images, tiers\n");
    expect(HEAD "codecs:\n- codec: h264\n  route: [x264]\n  rungs:\n  - {name: a, height: 240, "
                "crf: 23, maxrat: 400k}\n",
           "p.yaml:6:37: codecs[0].rungs[0].maxrat: unknown key; did you mean maxrate? valid keys "
           "are name, height, crf, maxrate, bufsize\n"
           "p.yaml:6:5: codecs[0].rungs[0].maxrate: the key is missing; it has no default\n");
}

static void test_missing_keys_are_named(void **state)
{
    (void)state;
    expect("gop: 2s\n", "p.yaml:1:1: name: the key is missing; it has no default\n"
                        "p.yaml:1:1: codecs: the key is missing; it has no default\n");
    expect("", "p.yaml: the file is empty; a policy needs name and codecs\n");
    expect("# only this\n", "p.yaml: the file is empty; a policy needs name and codecs\n");
}

static void test_duplicate_key_points_to_the_first(void **state)
{
    (void)state;
    expect(HEAD "gop: 2s\n" CODECS "gop: 3s\n",
           "p.yaml:7:1: gop: the key is there already, in line 2; keep one of them\n");
    expect(
        HEAD CODECS "hue: 1\nhue: 2\n",
        "p.yaml:7:1: hue: the key is there already, in line 6; keep one of them\n"
        "p.yaml:6:1: hue: unknown key; valid keys are name, gop, segment, chunk, check, attempts, "
        "watchdog, codecs, audio, loudness, true_peak, "
        "subtitles, images, tiers\n");
    expect(HEAD CODECS "codecs: {a: [1, 2]}\n",
           "p.yaml:6:1: codecs: the key is there already, in line 2; keep one of them\n");
}

static void test_wrong_types_say_what_was_found(void **state)
{
    (void)state;
    expect("- a\n", "p.yaml:1:1: is a list; expected a mapping with the keys name, gop, segment, "
                    "chunk, check, attempts, watchdog, codecs, audio, loudness, true_peak, "
                    "subtitles, images, tiers\n");
    expect(HEAD "gop: [2s]\n" CODECS,
           "p.yaml:2:6: gop: is a list; expected a duration from 500ms to 10s, like 500ms, 6s, 2m "
           "or 1h\n");
    expect(HEAD "attempts: {a: b}\n" CODECS,
           "p.yaml:2:11: attempts: is a mapping; expected a whole number from 1 to 100\n");
    expect(HEAD "attempts:\n" CODECS,
           "p.yaml:2:10: attempts: is empty; expected a whole number from 1 to 100\n");
    expect(HEAD "codecs: h264\n",
           "p.yaml:2:9: codecs: is a single value; expected a list of 1 to 4 items\n");
    expect(HEAD "codecs:\n- h264\n",
           "p.yaml:3:3: codecs[0]: is a single value; expected a mapping with the keys codec, "
           "route, preset, mix, profile, depth, hdr, rungs\n");
    expect(HEAD "codecs: []\n", "p.yaml:2:9: codecs: has 0 items; 1 to 4 would be valid\n");
}

static void test_values_out_of_range_say_the_range(void **state)
{
    (void)state;
    expect(HEAD "attempts: 0\n" CODECS,
           "p.yaml:2:11: attempts: \"0\"; expected a whole number from 1 to 100\n");
    expect(HEAD "attempts: 99999999999999999999\n" CODECS,
           "p.yaml:2:11: attempts: \"99999999999999999999\"; expected a whole number from 1 to "
           "100\n");
    expect(HEAD "attempts: 5x\n" CODECS,
           "p.yaml:2:11: attempts: \"5x\"; expected a whole number from 1 to 100\n");
    expect(HEAD "watchdog: 1d\n" CODECS,
           "p.yaml:2:11: watchdog: \"1d\"; expected a duration from 5s to 1h, like 500ms, 6s, 2m "
           "or 1h\n");
    expect(HEAD "watchdog: 0x40\n" CODECS,
           "p.yaml:2:11: watchdog: \"0x40\"; expected a duration from 5s to 1h, like 500ms, 6s, 2m "
           "or 1h\n");
    expect(HEAD "watchdog: -5s\n" CODECS,
           "p.yaml:2:11: watchdog: \"-5s\"; expected a duration from 5s to 1h, like 500ms, 6s, 2m "
           "or 1h\n");
    expect("name: a b\n" CODECS, "p.yaml:1:7: name: \"a b\"; expected a word of up to 63 letters, "
                                 "digits, dots, dashes or underscores\n");
    expect("name: ../x\n" CODECS, "p.yaml:1:7: name: \"../x\"; expected a word of up to 63 "
                                  "letters, digits, dots, dashes or underscores\n");
}

static void test_words_are_listed_and_the_nearest_suggested(void **state)
{
    (void)state;
    expect(HEAD "check: sampel\n" CODECS, "p.yaml:2:8: check: \"sampel\"; did you mean sample? "
                                          "expected one of none, sample, all\n");
    expect(HEAD "check: often\n" CODECS,
           "p.yaml:2:8: check: \"often\"; expected one of none, sample, all\n");
    expect(HEAD "codecs:\n- codec: hevc\n  route: [x265]\n" RUNG,
           "p.yaml:3:10: codecs[0].codec: \"hevc\"; expected one of h264, h265, av1, vp9\n");
    expect(HEAD "codecs:\n- codec: h264\n  route: [nvenk, x265]\n" RUNG,
           "p.yaml:4:11: codecs[0].route[0]: \"nvenk\"; did you mean nvenc? expected one of x264, "
           "nvenc, vaapi\n"
           "p.yaml:4:18: codecs[0].route[1]: \"x265\"; expected one of x264, nvenc, vaapi\n");
    expect(HEAD "codecs:\n- codec: vp9\n  route: [nvenc]\n  profile: main\n" RUNG,
           "p.yaml:4:11: codecs[0].route[0]: \"nvenc\"; expected one of vpx, vaapi\n"
           "p.yaml:5:12: codecs[0].profile: vp9 has no profiles to choose from; leave it out\n");
    expect(HEAD
           "codecs:\n- codec: h264\n  route: [x264]\n  preset: mediun\n  profile: high10\n" RUNG,
           "p.yaml:5:11: codecs[0].preset: \"mediun\"; did you mean medium? expected one of "
           "ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow\n"
           "p.yaml:6:12: codecs[0].profile: \"high10\"; expected one of "
           "baseline, main, high\n");
}

static void test_a_route_is_read_with_its_conditions(void **state)
{
    (void)state;
    assert_int_equal(
        parse(HEAD "codecs:\n"
                   "- codec: h265\n"
                   "  preset: slow\n"
                   "  mix: true\n"
                   "  route:\n"
                   "  - nvenc\n"
                   "  - {encoder: vaapi, when: {depth: 8, max_height: 2160, provider: acme}}\n"
                   "  - encoder: x265\n"
                   "    preset: faster\n"
                   "    crf_offset: -1.5\n"
                   "    when: {queue_longer_than: 10m, min_width: 640, provider: [acme, \"b c\"],\n"
                   "           priority: [high, urgent]}\n"
                   "  - {encoder: x265, crf_offset: 2}\n" RUNG),
        SL_OK);
    const struct policy_codec *codec = &policy.codecs[0];
    assert_true(codec->mix);
    assert_int_equal(codec->route_count, 4);
    assert_string_equal(codec->route[0].encoder, "nvenc");
    assert_string_equal(codec->route[0].preset, "slow");
    assert_int_equal(codec->route[0].when.queue_longer_ns, 0);
    const struct policy_when *vaapi = &codec->route[1].when;
    assert_int_equal(vaapi->depth, 8);
    assert_int_equal(vaapi->height_max, 2160);
    assert_int_equal(vaapi->provider_count, 1);
    assert_string_equal(vaapi->providers[0], "acme");
    const struct policy_route *x265 = &codec->route[2];
    assert_string_equal(x265->preset, "faster");
    assert_int_equal(x265->crf_offset_tenths, -15);
    assert_int_equal(x265->when.queue_longer_ns, SL_S_TO_NS(600));
    assert_int_equal(x265->when.width_min, 640);
    assert_int_equal(x265->when.provider_count, 2);
    assert_string_equal(x265->when.providers[1], "b c");
    assert_int_equal(x265->when.priorities, 1u << PRIORITY_HIGH | 1u << PRIORITY_URGENT);
    assert_string_equal(codec->route[3].preset, "slow");
    assert_int_equal(codec->route[3].crf_offset_tenths, 20);
}

#define OTHER(codec, encoder, keys)                                                                \
    "- codec: " codec "\n"                                                                         \
    "  route: [" encoder "]\n" keys RUNG

static void test_depth_and_hdr_of_a_codec(void **state)
{
    (void)state;
    assert_int_equal(parse(HEAD CODECS OTHER("h265", "x265", "")
                               OTHER("av1", "svtav1", "  hdr: keep\n")
                                   OTHER("vp9", "vpx", "  depth: source\n")),
                     SL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(policy.codecs[i].depth, 8);
        assert_false(policy.codecs[i].hdr_keep);
    }
    assert_int_equal(policy.codecs[2].depth, 0);
    assert_true(policy.codecs[2].hdr_keep);
    assert_int_equal(policy.codecs[3].depth, 0);
    assert_false(policy.codecs[3].hdr_keep);
    assert_int_equal(
        parse(HEAD "codecs:\n" OTHER("h265", "x265", "  depth: 10\n  profile: main10\n")), SL_OK);
    assert_int_equal(policy.codecs[0].depth, 10);
}

static void test_depths_that_cannot_be_are_explained(void **state)
{
    (void)state;
    expect(HEAD "codecs:\n" OTHER("h264", "x264", "  depth: 10\n"),
           "p.yaml:5:10: codecs[0].depth: h264 has 8 bits always, since hardly anything plays "
           "more; leave it out\n");
    expect(HEAD "codecs:\n" OTHER("h264", "x264", "  hdr: keep\n"),
           "p.yaml:5:8: codecs[0].hdr: h264 is SDR always; leave it out\n");
    expect(HEAD "codecs:\n" OTHER("av1", "svtav1", "  hdr: keep\n  depth: 8\n"),
           "p.yaml:6:10: codecs[0].depth: 8 bits are too few for hdr: keep; 10 or source would be "
           "valid\n");
    expect(HEAD "codecs:\n" OTHER("vp9", "vpx", "  depth: 12\n"),
           "p.yaml:5:10: codecs[0].depth: \"12\"; expected one of 8, 10, source\n");
    expect(HEAD "codecs:\n" OTHER("h265", "x265", "  profile: main10\n"),
           "p.yaml:5:12: codecs[0].profile: main10 is not of the depth of this codec, 8; leave it "
           "out, or say main\n");
    expect(HEAD "codecs:\n" OTHER("h265", "x265", "  profile: main\n  depth: 10\n"),
           "p.yaml:5:12: codecs[0].profile: main is not of the depth of this codec, 10; leave it "
           "out, or say main10\n");
    expect(HEAD "codecs:\n" OTHER("h265", "x265", "  profile: main\n  depth: source\n"),
           "p.yaml:5:12: codecs[0].profile: main: the depth follows from the source, and the "
           "profile from the depth; leave it out\n");
}

#define TIERS                                                                                      \
    HEAD CODECS OTHER("h265", "x265", "")                                                          \
        OTHER("av1", "svtav1", "") "tiers:\n"                                                      \
                                   "- {name: a, codecs: [h264]}\n"                                 \
                                   "- {name: b, codecs: [av1, h264]}\n"

static void test_a_tier_has_some_of_the_codecs(void **state)
{
    (void)state;
    static const char text[] = TIERS;
    assert_int_equal(parse(text), SL_OK);
    assert_string_equal(policy.name, "p");
    assert_int_equal(policy.codec_count, 3);
    assert_int_equal(policy.tier_count, 2);
    assert_string_equal(policy.tiers[1], "b");
    assert_int_equal(config_policy_parse(NULL, text, strlen(text), &policy, &mistakes), SL_OK);
    assert_int_equal(policy.codec_count, 3);
    assert_int_equal(config_policy_parse("a", text, strlen(text), &policy, &mistakes), SL_OK);
    assert_string_equal(policy.name, "a");
    assert_int_equal(policy.codec_count, 1);
    assert_int_equal(policy.codecs[0].codec, CODEC_H264);
    assert_int_equal(config_policy_parse("b", text, strlen(text), &policy, &mistakes), SL_OK);
    assert_string_equal(policy.name, "b");
    assert_int_equal(policy.codec_count, 2);
    assert_int_equal(policy.codecs[1].codec, CODEC_AV1);
    assert_string_equal(policy.codecs[1].route[0].encoder, "svtav1");
}

static void test_mistakes_in_tiers_have_their_place(void **state)
{
    (void)state;
    expect(HEAD CODECS "tiers:\n- {name: p, codecs: [h264]}\n",
           "p.yaml:7:10: tiers[0].name: \"p\" is the policy's own name, with all codecs\n");
    expect(HEAD CODECS "tiers:\n- {name: a, codecs: [h264]}\n- {name: a, codecs: [h264]}\n",
           "p.yaml:8:10: tiers[1].name: \"a\" is the name of tier 0 already; names must differ\n");
    expect(HEAD CODECS "tiers:\n- {name: a, codecs: [h264, h264, av1]}\n",
           "p.yaml:7:28: tiers[0].codecs[1]: \"h264\" is in the tier already; name each once\n"
           "p.yaml:7:34: tiers[0].codecs[2]: \"av1\"; expected one of h264\n");
    expect(HEAD CODECS "tiers:\n- {name: a, codecs: []}\n- {codec: h264}\n",
           "p.yaml:7:21: tiers[0].codecs: has 0 items; 1 to 4 would be valid\n"
           "p.yaml:8:4: tiers[1].codec: unknown key; did you mean codecs? valid keys are name, "
           "codecs\n"
           "p.yaml:8:3: tiers[1].name: the key is missing; it has no default\n"
           "p.yaml:8:3: tiers[1].codecs: the key is missing; it has no default\n");
}

static void route(const char *text, const char *lines)
{
    char policy_text[512];
    snprintf(policy_text, sizeof policy_text,
             HEAD "codecs:\n- codec: h265\n  route:\n  - %s\n" RUNG, text);
    expect(policy_text, lines);
}

static void test_mistakes_in_a_route_have_their_place(void **state)
{
    (void)state;
    route("{when: {depth: 8}}",
          "p.yaml:5:5: codecs[0].route[0].encoder: the key is missing; it has no default\n");
    route("{encoder: x265, wen: {}}",
          "p.yaml:5:21: codecs[0].route[0].wen: unknown key; did you mean when? valid keys are "
          "encoder, when, preset, crf_offset\n");
    route("{encoder: x265, when: {height: 5}}",
          "p.yaml:5:28: codecs[0].route[0].when.height: unknown key; valid keys are min_width, "
          "max_width, min_height, max_height, depth, provider, priority, queue_longer_than\n");
    route(
        "{encoder: x265, when: {depth: 12, priority: hi}}",
        "p.yaml:5:35: codecs[0].route[0].when.depth: \"12\"; expected one of 8, 10\n"
        "p.yaml:5:49: codecs[0].route[0].when.priority: \"hi\"; expected one of low, normal, high, "
        "urgent\n");
    route("{encoder: x265, when: {min_height: 1080, max_height: 720}}",
          "p.yaml:5:58: codecs[0].route[0].when.max_height: 720 is below min_height 1080; no "
          "picture is both\n");
    route("{encoder: x265, when: {queue_longer_than: 10m}}",
          "p.yaml:5:47: codecs[0].route[0].when.queue_longer_than: no encoder stands before this "
          "one to wait for; name that one first\n");
    route("nvenc\n  - {encoder: x265, preset: p5}\n  - {encoder: vaapi, crf_offset: 30}",
          "p.yaml:6:29: codecs[0].route[1].preset: \"p5\"; expected one of ultrafast, superfast, "
          "veryfast, faster, fast, medium, slow, slower, veryslow\n"
          "p.yaml:7:34: codecs[0].route[2].crf_offset: \"30\"; expected a number from -20 to 20 "
          "with at most one decimal, like -23 or -22.5\n");
    /* The codec's preset has to suit every encoder that has none of its own. */
    route("{encoder: nvenc, preset: p6}\n  preset: p5", "");
    route("nvenc\n  preset: p5", "");
    assert_string_equal(policy.codecs[0].route[0].preset, "p5");
    route("nvenc\n  - x265\n  - vaapi\n  preset: p5",
          "p.yaml:8:11: codecs[0].preset: \"p5\"; expected one of ultrafast, superfast, veryfast, "
          "faster, fast, medium, slow, slower, veryslow\n");
}

static void rung(const char *rung_text, const char *lines)
{
    char text[512];
    snprintf(text, sizeof text,
             "name: p\ncodecs:\n- codec: h264\n  route: [x264]\n  rungs:\n  - {%s}\n", rung_text);
    expect(text, lines);
}

static void test_rungs_are_checked(void **state)
{
    (void)state;
    rung("name: a, height: 241, crf: 23, maxrate: 400k",
         "p.yaml:6:23: codecs[0].rungs[0].height: 241 is odd; 240 or 242 would be valid\n");
    rung("name: a, height: 240, crf: 52, maxrate: 400k",
         "p.yaml:6:33: codecs[0].rungs[0].crf: \"52\"; expected a number from 0 to 51 with at most "
         "one decimal, like 23 or 22.5\n");
    rung("name: a, height: 240, crf: 22.55, maxrate: 400k",
         "p.yaml:6:33: codecs[0].rungs[0].crf: \"22.55\"; expected a number from 0 to 51 with at "
         "most one decimal, like 23 or 22.5\n");
    rung("name: a, height: 240, crf: 23, maxrate: 400",
         "p.yaml:6:46: codecs[0].rungs[0].maxrate: \"400\"; expected 50k to 400000k, with its "
         "unit, like 800k or 2.5M\n");
    rung("name: a, height: 240, crf: 23, maxrate: 1000M",
         "p.yaml:6:46: codecs[0].rungs[0].maxrate: \"1000M\"; expected 50k to 400000k, with its "
         "unit, like 800k or 2.5M\n");
    rung("name: a, height: 240, crf: 23, maxrate: 400k, bufsize: 100k",
         "p.yaml:6:61: codecs[0].rungs[0].bufsize: 100k holds less than half a second of maxrate "
         "400k; 200k or more would be valid\n");
    expect(HEAD "codecs:\n- codec: h264\n  route: [x264]\n  rungs:\n"
                "  - {name: a, height: 240, crf: 23, maxrate: 400k}\n"
                "  - {name: a, height: 240, crf: 23, maxrate: 400k}\n",
           "p.yaml:7:12: codecs[0].rungs[1].name: \"a\" is the name of rung 0 already; names must "
           "differ\n"
           "p.yaml:7:23: codecs[0].rungs[1].height: 240 is the height of rung 0 already; heights "
           "must differ\n");
}

static void test_segments_hold_whole_gops(void **state)
{
    (void)state;
    expect(HEAD "gop: 4s\nsegment: 6s\n" CODECS,
           "p.yaml:3:10: segment: segments of 6 s are no whole number of GOPs of 4 s; segments of "
           "4 s or 8 s would be valid\n");
    expect(HEAD "gop: 4s\n" CODECS,
           "p.yaml:2:6: gop: segments of 6 s are no whole number of GOPs of 4 s; segments of 4 s "
           "or 8 s would be valid\n");
    expect(HEAD "gop: 4s\nsegment: 2s\n" CODECS,
           "p.yaml:3:10: segment: segments of 2 s are no whole number of GOPs of 4 s; segments of "
           "4 s or 8 s would be valid\n");
    expect(HEAD "gop: 500ms\nsegment: 1.5s\n" CODECS, "");
}

static void test_things_named_twice_are_mistakes(void **state)
{
    (void)state;
    expect(HEAD CODECS "- codec: h264\n  route: [x264, x264]\n" RUNG,
           "p.yaml:7:17: codecs[1].route[1]: \"x264\" is in the route already; name each once, or "
           "give the one before a condition\n"
           "p.yaml:6:10: codecs[1].codec: \"h264\" is codec 0 of the policy already; name each "
           "once\n");
    expect(HEAD CODECS "audio:\n- {codec: aac, bitrate: 128k}\n- {codec: aac, bitrate: 128k}\n",
           "p.yaml:8:3: audio[1]: is the same as audio 0; leave one out\n");
    expect(HEAD CODECS "audio:\n- {codec: opus, bitrate: 5k, channels: 5, sample_rate: 22050}\n",
           "p.yaml:7:40: audio[0].channels: \"5\"; expected one of 1, 2, 6\n"
           "p.yaml:7:26: audio[0].bitrate: \"5k\"; expected 32k to 512k, with its unit, like 800k "
           "or 2.5M\n"
           "p.yaml:7:56: audio[0].sample_rate: \"22050\"; expected one of 44100, 48000\n");
    expect(HEAD CODECS "audio:\n- {codec: opus, bitrate: 96k, sample_rate: 44100}\n",
           "p.yaml:7:44: audio[0].sample_rate: opus always runs at 48000; leave it out\n");
    expect(HEAD CODECS "audio:\n- {codec: aac, bitrate: 300k, channels: 1}\n",
           "p.yaml:7:25: audio[0].bitrate: 300k is more than aac uses for 1 channel; 256k is\n");
}

static void test_yaml_beyond_plain_settings_is_refused(void **state)
{
    (void)state;
    expect("name: &x p\n" CODECS, "p.yaml:1:7: anchors (&) are not read; write the value out\n");
    expect("name: *x\n" CODECS, "p.yaml:1:7: aliases (*) are not read; write the value out\n");
    expect("name: !!str p\n" CODECS, "p.yaml:1:7: tags (!) are not read; leave it out\n");
    expect("<<: {name: p}\n" CODECS,
           "p.yaml:1:1: <<: merge keys are not read; write the keys out\n");
    expect("[a, b]: c\n", "p.yaml:1:1: a key must be a word, not a list or mapping\n");
    expect(HEAD CODECS "---\nname: q\n", "p.yaml:6:1: a second document; one file holds one\n");
    expect("name:\tp\n\tgop: 2s\n", "p.yaml:1:6: a tab; write spaces\n"
                                    "p.yaml:2:1: a tab; write spaces\n");
    expect(
        "name: p\ngop: [2s\ncodecs: x\n",
        "p.yaml:3:7: not valid YAML: did not find expected ',' or ']'; check indentation, quotes "
        "and colons near here\n");
    expect("name: \"p\n", "p.yaml:2:1: not valid YAML: found unexpected end of stream; check "
                          "indentation, quotes and colons near here\n");
    expect("name: p\ngop: \xff\n",
           "p.yaml:2:6: not plain text in UTF-8: invalid leading UTF-8 octet; save the file as "
           "UTF-8\n");
    char nul[] = "name: p\ngop: x2s\n";
    nul[13] = '\0';
    assert_int_equal(config_policy_parse("p", nul, sizeof nul - 1, &policy, &mistakes), SL_EINVAL);
    assert_int_equal(mistakes.count, 1);
    assert_int_equal(mistakes.items[0].line, 2);
    assert_int_equal(mistakes.items[0].column, 6);
    assert_string_equal(mistakes.items[0].message,
                        "a NUL byte; the file must be plain text in UTF-8");
    expect("name: \"a\\0b\"\n" CODECS, "p.yaml:1:7: a NUL in a text; take it out\n");
    expect("\"na\\0me\": p\n" CODECS, "p.yaml:1:1: a NUL in a text; take it out\n");
}

static void test_columns_count_characters(void **state)
{
    (void)state;
    expect("{name: \"\xC3\xA4\xC3\xB6\", gop: 0s, codecs: 1}\n",
           "p.yaml:1:8: name: \"\xC3\xA4\xC3\xB6\"; expected a word of up to 63 letters, digits, "
           "dots, dashes or underscores\n"
           "p.yaml:1:19: gop: \"0s\"; expected a duration from 500ms to 10s, like 500ms, 6s, 2m or "
           "1h\n"
           "p.yaml:1:31: codecs: is a single value; expected a list of 1 to 4 items\n");
}

static void test_limits_are_errors(void **state)
{
    (void)state;
    char *large = malloc(CONFIG_BYTES_MAX + 1);
    assert_non_null(large);
    memset(large, '#', CONFIG_BYTES_MAX + 1);
    assert_int_equal(config_policy_parse("p", large, CONFIG_BYTES_MAX + 1, &policy, &mistakes),
                     SL_EINVAL);
    assert_string_equal(mistakes.items[0].message,
                        "the file has 1048577 bytes; 1048576 are the most");
    /* Nested deep, wide and with many keys. */
    memset(large, '[', CONFIG_BYTES_MAX);
    assert_int_equal(config_policy_parse("p", large, CONFIG_BYTES_MAX, &policy, &mistakes),
                     SL_EINVAL);
    assert_string_equal(mistakes.items[0].message, "nested too deep; 16 levels are the most");
    for (size_t i = 0; i < CONFIG_BYTES_MAX; i += 2)
        memcpy(large + i, i ? "a," : "[ ", 2);
    assert_int_equal(config_policy_parse("p", large, CONFIG_BYTES_MAX, &policy, &mistakes),
                     SL_EINVAL);
    assert_string_equal(mistakes.items[0].message,
                        "more values than a settings file can have; 20000 are the most");
    size_t used = 0;
    for (int i = 0; i < 300; i++)
        used += (size_t)snprintf(large + used, CONFIG_BYTES_MAX - used, "k%d: 1\n", i);
    assert_int_equal(config_policy_parse("p", large, used, &policy, &mistakes), SL_EINVAL);
    assert_string_equal(mistakes.items[0].message,
                        "more keys than a mapping can have; 256 are the most");
    /* Many mistakes: the first ones are kept. */
    used = 0;
    for (int i = 0; i < 100; i++)
        used += (size_t)snprintf(large + used, CONFIG_BYTES_MAX - used, "k%d: 1\n", i);
    assert_int_equal(config_policy_parse("p", large, used, &policy, &mistakes), SL_EINVAL);
    assert_int_equal(mistakes.count, CONFIG_MISTAKES_MAX);
    assert_int_equal(mistakes.items[19].line, 20);
    free(large);
}

static void test_hostile_words_stay_on_their_line(void **state)
{
    (void)state;
    expect(
        "name: \"a\\nb\\e[31m\"\n" CODECS,
        "p.yaml:1:7: name: \"a?b?[31m\"; expected a word of up to 63 letters, digits, dots, dashes "
        "or underscores\n");
    char text[4000] = "name: ", *at = text + 6;
    memset(at, 'x', 3000);
    strcpy(at + 3000, "\n" CODECS);
    assert_int_equal(parse(text), SL_EINVAL);
    assert_non_null(strstr(mistakes.items[0].message, "xxx...\"; expected"));
}

static void test_failed_parse_leaves_the_policy_alone(void **state)
{
    (void)state;
    config_policy_default(&policy);
    struct policy before = policy;
    assert_int_equal(parse("name: x\n"), SL_EINVAL);
    assert_memory_equal(&before, &policy, sizeof policy);
}

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static void test_random_bytes_never_crash(void **state)
{
    (void)state;
    const char *text = getenv("SLUICE_SEED");
    seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)seed);
    static const char letters[] = "{}[]:,-?&*!|>'\"%@`#\n \\ak0.";
    const char *base = config_policy_default_text();
    size_t base_length = strlen(base);
    char *bytes = malloc(base_length + 64);
    struct config config;
    assert_non_null(bytes);
    for (int round = 0; round < 4000; round++) {
        size_t length;
        if (round % 2) {
            /* The default with a few bytes changed or cut. */
            length = base_length;
            memcpy(bytes, base, length);
            for (uint32_t i = 1 + dice(6); i > 0; i--)
                bytes[dice((uint32_t)length)] =
                    dice(3) ? letters[dice(sizeof letters - 1)] : (char)dice(256);
            if (dice(3) == 0)
                length = dice((uint32_t)length);
        } else {
            length = dice((uint32_t)base_length);
            for (size_t i = 0; i < length; i++)
                bytes[i] = dice(8) ? letters[dice(sizeof letters - 1)] : (char)dice(256);
        }
        int rc = config_policy_parse("p", bytes, length, &policy, &mistakes);
        assert_true((rc == SL_OK) == (mistakes.count == 0));
        for (int32_t i = 0; i < mistakes.count; i++) {
            assert_true(strlen(mistakes.items[i].message) > 0);
            for (const char *c = mistakes.items[i].message; *c; c++)
                assert_true((unsigned char)*c >= 0x20);
        }
        rc = config_parse("c", bytes, length, &config, &mistakes);
        assert_true((rc == SL_OK) == (mistakes.count == 0));
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_policy_is_that_of_the_contract),
        cmocka_unit_test(test_shipped_default_is_the_built_in_one),
        cmocka_unit_test(test_shipped_examples_are_valid),
        cmocka_unit_test(test_left_out_keys_have_the_documented_defaults),
        cmocka_unit_test(test_unknown_key_names_its_place_and_the_valid_ones),
        cmocka_unit_test(test_missing_keys_are_named),
        cmocka_unit_test(test_duplicate_key_points_to_the_first),
        cmocka_unit_test(test_wrong_types_say_what_was_found),
        cmocka_unit_test(test_values_out_of_range_say_the_range),
        cmocka_unit_test(test_words_are_listed_and_the_nearest_suggested),
        cmocka_unit_test(test_a_route_is_read_with_its_conditions),
        cmocka_unit_test(test_mistakes_in_a_route_have_their_place),
        cmocka_unit_test(test_depth_and_hdr_of_a_codec),
        cmocka_unit_test(test_depths_that_cannot_be_are_explained),
        cmocka_unit_test(test_a_tier_has_some_of_the_codecs),
        cmocka_unit_test(test_mistakes_in_tiers_have_their_place),
        cmocka_unit_test(test_rungs_are_checked),
        cmocka_unit_test(test_segments_hold_whole_gops),
        cmocka_unit_test(test_things_named_twice_are_mistakes),
        cmocka_unit_test(test_yaml_beyond_plain_settings_is_refused),
        cmocka_unit_test(test_columns_count_characters),
        cmocka_unit_test(test_limits_are_errors),
        cmocka_unit_test(test_hostile_words_stay_on_their_line),
        cmocka_unit_test(test_failed_parse_leaves_the_policy_alone),
        cmocka_unit_test(test_random_bytes_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
