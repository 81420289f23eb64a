/* A beep at a known time must come out at that time, to the sample's neighbourhood; and as loud as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "media/media_loudness.h"
#include "tests/media/audio_kit.h"

/* AAC smears an onset over a good part of a frame of 1024. */
#define ONSET_SLACK 400

static const struct plan_audio aac = {
    .codec = AUDIO_AAC, .bitrate_kbps = 128, .channels = 2, .sample_rate_hz = RATE};
static const struct plan_audio opus = {
    .codec = AUDIO_OPUS, .bitrate_kbps = 96, .channels = 2, .sample_rate_hz = RATE};

static bool clip_or_skip(struct kit_clip *clip, const char *suffix, const char *arguments)
{
    if (made_clip(clip, suffix, arguments))
        return true;
    print_message("no ffmpeg to make a clip\n");
    skip();
    return false;
}

/* Where it first becomes loud at or behind `from`; -1: never. */
static int64_t onset(const struct made *made, int64_t from)
{
    for (int64_t i = from; i < made->count; i++)
        if (fabsf(made_at(made, i, 0)) > 0.1f)
            return i;
    return -1;
}

/* Four seconds with a beep of 0.1 s at each full second from the first on. */
static void beeps_open(struct kit_clip *clip, const char *before_audio, const char *layout,
                       int rate)
{
    char arguments[1024];
    snprintf(arguments, sizeof arguments,
             "-f lavfi -i color=size=64x64:rate=25:duration=4 %s "
             "-f lavfi -i \"aevalsrc='if(gte(t,1)*lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':"
             "s=%d:d=4:c=%s\" -map 0:v -map 1:a -c:v libx264 -preset ultrafast -c:a flac",
             before_audio, rate, layout);
    clip_or_skip(clip, "mkv", arguments);
}

static void beeps_at(const struct made *made, int64_t first_ms, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t want = (first_ms + i * 1000) * RATE / 1000;
        int64_t got = onset(made, want - RATE / 2 > 0 ? want - RATE / 2 : 0);
        if (llabs(got - want) > ONSET_SLACK)
            fail_msg("beep %d came at %lld, not at %lld", i, (long long)got, (long long)want);
    }
}

static void beeps_come_in_time(const char *before_audio, const char *layout, int rate,
                               int64_t origin_ms, int64_t end_ms, int64_t first_ms, int count)
{
    struct kit_clip clip;
    beeps_open(&clip, before_audio, layout, rate);
    const struct plan_audio *outs[] = {&aac, &opus};
    for (int i = 0; i < 2; i++) {
        struct made made;
        made_run(&made, &clip, outs[i], origin_ms, end_ms);
        beeps_at(&made, first_ms, count);
        made_fini(&made);
    }
    kit_clip_close(&clip);
}

static void test_beeps_stay_where_they_are(void **state)
{
    (void)state;
    beeps_come_in_time("", "stereo", 48000, 0, 4000, 1000, 3);
}

static void test_beeps_stay_when_resampled_and_mixed(void **state)
{
    (void)state;
    beeps_come_in_time("", "mono", 44100, 0, 4000, 1000, 3);
    beeps_come_in_time("", "5.1", 8000, 0, 4000, 1000, 3);
    beeps_come_in_time("", "7.1", 96000, 0, 4000, 1000, 3);
}

static void test_audio_before_zero_is_cut(void **state)
{
    (void)state;
    beeps_come_in_time("", "stereo", 44100, 640, 3360, 360, 3);
}

static void test_audio_that_starts_late_waits_in_silence(void **state)
{
    (void)state;
    beeps_come_in_time("-itsoffset 0.35", "stereo", 48000, 0, 4000, 1350, 3);
    beeps_come_in_time("", "stereo", 48000, -250, 4250, 1250, 3);
}

static void test_the_end_is_filled_with_silence(void **state)
{
    (void)state;
    struct kit_clip clip;
    beeps_open(&clip, "", "stereo", 48000);
    struct made made;
    made_run(&made, &clip, &aac, 0, 7000);
    beeps_at(&made, 1000, 3);
    assert_int_equal(onset(&made, 4 * RATE), -1);
    assert_true(made.count >= 7 * RATE);
    made_fini(&made);
    kit_clip_close(&clip);
}

static void test_what_lies_behind_the_video_is_cut(void **state)
{
    (void)state;
    struct kit_clip clip;
    beeps_open(&clip, "", "stereo", 48000);
    struct made made;
    made_run(&made, &clip, &aac, 0, 2500);
    beeps_at(&made, 1000, 2);
    made_fini(&made);
    kit_clip_close(&clip);
}

/* The second second is missing: what comes behind it stays where it was. */
static void test_a_hole_is_filled_with_silence(void **state)
{
    (void)state;
    struct kit_clip clip;
    clip_or_skip(&clip, "mkv",
                 "-f lavfi -i color=size=64x64:rate=25:duration=4 -f lavfi -i "
                 "\"aevalsrc='if(gte(t,1)*lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':s=48000:d=4:"
                 "c=stereo,aselect='lt(t,1.3)+gt(t,2.5)'\" -map 0:v -map 1:a -c:v libx264 -preset "
                 "ultrafast -c:a flac");
    struct made made;
    made_run(&made, &clip, &aac, 0, 4000);
    beeps_at(&made, 1000, 1);
    int64_t next = onset(&made, RATE * 3 / 2);
    assert_true(llabs(next - 3 * RATE) <= ONSET_SLACK);
    made_fini(&made);
    kit_clip_close(&clip);
}

/* Priming that a source's codec brings along is no sound of the source. */
static void test_the_priming_of_the_source_is_cut(void **state)
{
    (void)state;
    static const struct {
        const char *suffix, *codec;
    } kinds[] = {{"mp4", "aac"}, {"webm", "libopus"}, {"mp3", "libmp3lame"}, {"mka", "libopus"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i \"aevalsrc='if(gte(t,1)*lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':"
                 "s=48000:d=4:c=stereo\" -c:a %s -b:a 128k",
                 kinds[i].codec);
        struct kit_clip clip;
        struct made made;
        clip_or_skip(&clip, kinds[i].suffix, arguments);
        struct sl_arena arena = {0};
        struct media_info info;
        struct media_index index;
        kit_probe(&clip, &arena, &info, &index);
        const struct media_audio *audio = &info.audio[0];
        double first = (double)audio->first_pts * audio->time_base.num / audio->time_base.den;
        if (fabs(first) > 0.002 && i != 2)
            fail_msg("%s begins at %.4f s", kinds[i].suffix, first);
        assert_true(llabs(info.duration_ns - INT64_C(4000000000)) < 60000000);
        sl_arena_fini(&arena);
        made_run(&made, &clip, &aac, (int64_t)lround(first * 1000), 4000);
        beeps_at(&made, 1000, 3);
        made_fini(&made);
        kit_clip_close(&clip);
    }
}

/* ---- levels ---- */

/* One second each with a tone in one channel alone, in the order of the layout. */
static void tones_open(struct kit_clip *clip, const char *layout, int channels, const char *codec)
{
    char arguments[1500], *at = arguments;
    at += sprintf(at, "-f lavfi -i \"aevalsrc='");
    for (int c = 0; c < channels; c++)
        at += sprintf(at, "%s0.5*sin(2*PI*440*t)*between(t,%d.1,%d.9)", c ? "|" : "", c, c);
    sprintf(at, "':s=48000:d=%d:c=%s\" -c:a %s", channels, layout, codec);
    clip_or_skip(clip, "mkv", arguments);
}

static void level_is(const struct made *made, int second, int channel, double share)
{
    double want = 0.5 / sqrt(2) * share;
    double got = made_level(made, channel, second * 1000 + 300, second * 1000 + 700);
    if (fabs(got - want) > 0.02)
        fail_msg("second %d, channel %d: %.3f, not %.3f", second, channel, got, want);
}

/* ITU-R BS.775: centre and surrounds at -3 dB, the LFE left out. Opus and AAC sound alike. */
static void test_surround_is_mixed_as_itu_says(void **state)
{
    (void)state;
    static const double left[] = {1, 0, 0.7071, 0, 0.7071, 0};
    static const double right[] = {0, 1, 0.7071, 0, 0, 0.7071};
    const struct plan_audio *outs[] = {&aac, &opus};
    for (int i = 0; i < 2; i++) {
        struct kit_clip clip;
        struct made made;
        tones_open(&clip, i ? "5.1" : "5.1(side)", 6, "flac");
        made_run(&made, &clip, outs[i], 0, 6000);
        for (int c = 0; c < 6; c++) {
            level_is(&made, c, 0, left[c]);
            level_is(&made, c, 1, right[c]);
        }
        made_fini(&made);
        kit_clip_close(&clip);
    }
}

static void test_surround_is_kept_where_it_is_wanted(void **state)
{
    (void)state;
    static const struct plan_audio outs[] = {
        {.codec = AUDIO_AAC, .bitrate_kbps = 384, .channels = 6, .sample_rate_hz = RATE},
        {.codec = AUDIO_OPUS, .bitrate_kbps = 256, .channels = 6, .sample_rate_hz = RATE}};
    for (int i = 0; i < 2; i++) {
        struct kit_clip clip;
        struct made made;
        tones_open(&clip, "5.1", 6, "flac");
        made_run(&made, &clip, &outs[i], 0, 6000);
        for (int second = 0; second < 6; second++)
            for (int c = 0; c < 6; c++)
                if (second != 3) /* the LFE's band is far below the tone */
                    level_is(&made, second, c, second == c);
        made_fini(&made);
        kit_clip_close(&clip);
    }
}

static void test_one_channel_is_as_loud_in_two(void **state)
{
    (void)state;
    struct kit_clip clip;
    struct made made;
    tones_open(&clip, "mono", 1, "flac");
    made_run(&made, &clip, &aac, 0, 1000);
    level_is(&made, 0, 0, 1);
    level_is(&made, 0, 1, 1);
    made_fini(&made);
    kit_clip_close(&clip);
    /* And two in one are their mean. */
    struct plan_audio mono = aac;
    mono.channels = 1;
    tones_open(&clip, "stereo", 2, "flac");
    made_run(&made, &clip, &mono, 0, 2000);
    level_is(&made, 0, 0, 0.5);
    level_is(&made, 1, 0, 0.5);
    made_fini(&made);
    kit_clip_close(&clip);
}

static void test_unusual_layouts_are_mixed(void **state)
{
    (void)state;
    static const struct {
        const char *layout;
        int channels;
    } layouts[] = {{"7.1", 8}, {"quad", 4}, {"2.1", 3}, {"6.1", 7}, {"5.0", 5}};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        struct kit_clip clip;
        struct made made;
        tones_open(&clip, layouts[i].layout, layouts[i].channels, "pcm_s16le");
        made_run(&made, &clip, &aac, 0, layouts[i].channels * 1000);
        level_is(&made, 0, 0, 1);
        level_is(&made, 1, 1, 1);
        level_is(&made, 0, 1, 0);
        made_fini(&made);
        kit_clip_close(&clip);
    }
}

/* Full scale in every channel sums to 2.4: held below the peak, without a wrap or a clip. */
static void test_a_loud_sum_does_not_clip(void **state)
{
    (void)state;
    struct kit_clip clip;
    struct made made;
    clip_or_skip(&clip, "mkv",
                 "-f lavfi -i \"aevalsrc='0.98*sin(2*PI*440*t)|0.98*sin(2*PI*440*t)|0.98*sin(2*PI*"
                 "440*t)|0|0.98*sin(2*PI*440*t)|0.98*sin(2*PI*440*t)':s=48000:d=2:c=5.1\" -c:a "
                 "pcm_s16le");
    struct plan_audio out = aac;
    out.loudness.peak_tenths = -10;
    made_run(&made, &clip, &out, 0, 2000);
    assert_true(made_peak(&made) < 0.95f);
    assert_true(made_level(&made, 0, 500, 1500) > 0.55); /* a sine of 0.89 has 0.63 */
    made_fini(&made);
    kit_clip_close(&clip);
}

/* ---- loudness ---- */

static struct media_loudness heard_of(const struct made *made)
{
    struct media_loudness_graph *meter = NULL;
    AVFrame *frame;
    uint8_t *planes[2];
    float *split = malloc((size_t)made->count * 2 * sizeof *split);
    for (int64_t i = 0; i < made->count; i++)
        for (int c = 0; c < 2; c++)
            split[c * made->count + i] = made_at(made, i, c);
    planes[0] = (uint8_t *)split;
    planes[1] = (uint8_t *)(split + made->count);
    assert_int_equal(media_loudness_open(RATE, 2, NULL, true, &meter, NULL), SL_OK);
    assert_int_equal(media_loudness_put(meter, planes, (int)made->count, NULL), SL_OK);
    assert_int_equal(media_loudness_put(meter, NULL, 0, NULL), SL_OK);
    while (media_loudness_get(meter, &frame, NULL) > 0)
        continue;
    struct media_loudness heard = media_loudness_measured(meter);
    media_loudness_close(&meter);
    free(split);
    return heard;
}

/* A sine of 997 Hz at -23 dBFS in both channels is -23 LUFS (EBU Tech 3341, case 1 is 1 kHz stereo at -23). */
static void test_the_meter_agrees_with_ebu(void **state)
{
    (void)state;
    struct made tone = {.channels = 2, .count = 10 * RATE};
    tone.samples = malloc((size_t)tone.count * 2 * sizeof *tone.samples);
    for (int64_t i = 0; i < tone.count * 2; i++)
        tone.samples[i] =
            (float)(pow(10, -23 / 20.0) * sin(2 * M_PI * 997 * (double)(i / 2) / RATE));
    struct media_loudness heard = heard_of(&tone);
    print_message("a tone of -23 dBFS: %.2f LUFS, %.2f dBTP\n", heard.integrated_lufs,
                  heard.true_peak_db);
    assert_true(fabs(heard.integrated_lufs + 23) < 0.1);
    assert_true(fabs(heard.true_peak_db + 23) < 0.3);
    free(tone.samples);
}

static void test_loudness_comes_to_the_target(void **state)
{
    (void)state;
    static const struct {
        const char *what, *source;
        double target, peak;
    } rows[] = {
        /* quiet noise lifted, loud noise lowered, quiet tone with loud clicks: lifted against its peaks */
        {"quiet noise", "anoisesrc=r=48000:d=8:a=0.02:c=pink:s=1", -23, -1},
        {"loud noise", "anoisesrc=r=48000:d=8:a=0.9:c=pink:s=2", -23, -1},
        {"to -16", "anoisesrc=r=48000:d=8:a=0.05:c=pink:s=3", -16, -1.5},
        {"clicks",
         "aevalsrc='0.04*sin(2*PI*500*t)+0.7*sin(2*PI*1000*t)*lt(mod(t,1),0.003)':s=48000:d=8", -18,
         -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int o = 0; o < 2; o++) {
            char arguments[512];
            struct kit_clip clip;
            struct made made;
            snprintf(arguments, sizeof arguments, "-f lavfi -i \"%s\" -ac 2 -c:a flac",
                     rows[i].source);
            clip_or_skip(&clip, "mkv", arguments);
            struct plan_audio out = o ? opus : aac;
            out.bitrate_kbps = 192;
            out.loudness = (struct policy_loudness){true, (int32_t)lround(rows[i].target * 10),
                                                    (int32_t)lround(rows[i].peak * 10)};
            made_run(&made, &clip, &out, 0, 8000);
            struct media_loudness heard = heard_of(&made);
            print_message("%s, %s: %.2f LUFS of %.1f, peak %.2f dBTP of %.1f\n", rows[i].what,
                          o ? "opus" : "aac", heard.integrated_lufs, rows[i].target,
                          heard.true_peak_db, rows[i].peak);
            assert_true(fabs(heard.integrated_lufs - rows[i].target) <= 1);
            /* The codec may add a little to what the limiter let through. */
            assert_true(heard.true_peak_db <= rows[i].peak + 1);
            made_fini(&made);
            kit_clip_close(&clip);
        }
    }
}

static void test_silence_is_not_lifted(void **state)
{
    (void)state;
    struct kit_clip clip;
    struct made made;
    clip_or_skip(&clip, "mkv", "-f lavfi -i anullsrc=r=48000:cl=stereo:d=3 -c:a flac");
    struct plan_audio out = aac;
    out.loudness = (struct policy_loudness){true, -230, -10};
    made_run(&made, &clip, &out, 0, 3000);
    assert_true(made_peak(&made) < 0.001f);
    made_fini(&made);
    kit_clip_close(&clip);
    struct media_loudness faint = {-65, -40};
    assert_true(media_gain_to(&out.loudness, &faint).gain_db == MEDIA_GAIN_MAX_DB);
}

static int no_track(void *arg, const struct media_audio_track *track, struct sl_failure *why)
{
    (void)arg;
    (void)track;
    (void)why;
    return SL_OK;
}

static void test_another_stream_than_the_probed_is_refused(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_made_open(&clip)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    int64_t boundaries[] = {0, 3000};
    struct job_audio job = {
        .source = {.stream_index = 0}, /* the video */
        .out = opus,
        .origin_time_base = {1, 1000},
        .timescale = 1000,
        .boundary_ticks = boundaries,
        .boundary_count = 2,
    };
    struct media_audio_sink sink = {.track = no_track};
    struct sl_failure why = {0};
    assert_int_equal(media_audio_run(&clip.input, &job, &sink, &why), SL_ECHANGED);
    kit_clip_close(&clip);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beeps_stay_where_they_are),
        cmocka_unit_test(test_beeps_stay_when_resampled_and_mixed),
        cmocka_unit_test(test_audio_before_zero_is_cut),
        cmocka_unit_test(test_audio_that_starts_late_waits_in_silence),
        cmocka_unit_test(test_the_end_is_filled_with_silence),
        cmocka_unit_test(test_what_lies_behind_the_video_is_cut),
        cmocka_unit_test(test_a_hole_is_filled_with_silence),
        cmocka_unit_test(test_the_priming_of_the_source_is_cut),
        cmocka_unit_test(test_surround_is_mixed_as_itu_says),
        cmocka_unit_test(test_surround_is_kept_where_it_is_wanted),
        cmocka_unit_test(test_one_channel_is_as_loud_in_two),
        cmocka_unit_test(test_unusual_layouts_are_mixed),
        cmocka_unit_test(test_a_loud_sum_does_not_clip),
        cmocka_unit_test(test_the_meter_agrees_with_ebu),
        cmocka_unit_test(test_loudness_comes_to_the_target),
        cmocka_unit_test(test_silence_is_not_lifted),
        cmocka_unit_test(test_another_stream_than_the_probed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
