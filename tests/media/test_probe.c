#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "media/media_probe.h"
#include "media/media_streams.h"
#include "tests/media/audio_kit.h"

struct expected {
    const char *name;
    const char *codec;
    int32_t width, height;
    int64_t frames;
    double seconds; /* of the video */
    struct rational frame_rate;
    bool variable;
    bool audio;
};

static void clip_is(const struct expected *want)
{
    struct kit_clip clip;
    if (!kit_clip_open(&clip, want->name)) {
        print_message("%s is not there\n", want->name);
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    print_message("%s: %lld frames, %.3f s, %d/%d\n", want->name, (long long)info.video.frame_count,
                  (double)info.duration_ns / 1e9, info.video.frame_rate.num,
                  info.video.frame_rate.den);
    assert_true(info.has_video);
    assert_string_equal(info.video.codec, want->codec);
    assert_int_equal(info.video.width, want->width);
    assert_int_equal(info.video.height, want->height);
    assert_int_equal(info.video.frame_count, want->frames);
    assert_int_equal(info.size_bytes, clip.input.bytes);
    assert_true(llabs(info.duration_ns - (int64_t)(want->seconds * 1e9)) < SL_MS_TO_NS(50));
    assert_int_equal(info.video.variable_frame_rate, want->variable);
    if (!want->variable) {
        assert_int_equal(info.video.frame_rate.num, want->frame_rate.num);
        assert_int_equal(info.video.frame_rate.den, want->frame_rate.den);
    }
    assert_int_equal(info.audio_count > 0, want->audio);
    assert_true(info.video.seekable);
    assert_int_equal(info.video.rotation_degrees, 0);
    assert_string_equal(info.video.pix_fmt, "yuv420p");
    assert_int_equal(info.video.bit_depth, 8);

    assert_int_equal(index.count, info.video.frame_count);
    assert_int_equal(index.pts[0], info.video.first_pts);
    assert_int_equal(index.end_pts, info.video.end_pts);
    assert_true(index.key[0]);
    int64_t bytes = 0;
    for (size_t i = 0; i < index.count; i++) {
        assert_true(index.pts[i] < (i + 1 < index.count ? index.pts[i + 1] : index.end_pts));
        assert_true(index.byte_length[i] > 0);
        assert_true(index.byte_offset[i] > 0);
        assert_true(index.byte_offset[i] + index.byte_length[i] <= info.size_bytes);
        bytes += index.byte_length[i];
    }
    assert_int_equal(bytes, info.video.bytes);
    if (want->audio) {
        double audio_end = (double)info.audio[0].end_pts * info.audio[0].time_base.num /
                           info.audio[0].time_base.den;
        assert_true(audio_end > want->seconds - 1.0 && audio_end < want->seconds + 1.0);
        assert_true(info.audio[0].channels >= 1 && info.audio[0].sample_rate_hz >= 8000);
    }
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

#define CLIP(test, ...)                                                                            \
    static void test(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        clip_is(&(struct expected){__VA_ARGS__});                                                  \
    }

CLIP(test_probe_of_sintel, "sintel-trailer-720p24-h264-aac.mp4", "h264", 1280, 720, 1253, 52.208,
     {24, 1}, false, true)
CLIP(test_probe_of_bbb_480p, "bbb-480p24-h264-aac51.mp4", "h264", 854, 480, 720, 30.0, {24, 1},
     false, true)
CLIP(test_probe_of_webm, "sintel-720p-vp9-opus-derived.webm", "vp9", 1280, 720, 288, 12.0, {24, 1},
     false, true)
CLIP(test_probe_of_cars, "cars-768x432-baseline-12_5fps.mp4", "h264", 768, 432, 377, 30.16, {25, 2},
     false, true)
CLIP(test_probe_of_vfr, "sintel-vfr-derived.mp4", "h264", 1280, 720, 278, 17.958, {0}, true, true)
CLIP(test_probe_of_bottles, "bottles-video-only-179-6fps.mp4", "h264", 640, 360, 1189, 39.855,
     {179, 6}, false, false)

/* What an edit list hides is no frame of the video. */
static void test_hidden_preroll_is_not_counted(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_clip_open(&clip, "sintel-editlist-cut-audio-delay-derived.mp4")) {
        print_message("the clip is not there\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    assert_true(llabs(info.duration_ns - 9 * SL_NS_PER_S) < SL_MS_TO_NS(250));
    assert_int_equal(index.pts[0], info.video.first_pts);
    assert_true(info.video.first_pts >= 0);
    assert_false(index.key[0]); /* its keyframe lies in the hidden part */
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void refused(const struct kit_clip *clip, int code, const char *part)
{
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    struct sl_failure why = {0};
    assert_int_equal(media_probe(&clip->input, -1, &arena, NULL, &info, &index, &why), code);
    assert_int_equal(why.code, code);
    print_message("%s\n", why.message);
    assert_non_null(strstr(why.message, part));
    sl_arena_fini(&arena);
}

static bool sound_probed(const char *name, struct media_info *info)
{
    struct kit_clip clip;
    if (!kit_clip_open(&clip, name)) {
        print_message("%s is not there\n", name);
        return false;
    }
    struct sl_arena arena = {0};
    struct media_index index;
    kit_probe(&clip, &arena, info, &index);
    assert_false(info->has_video);
    assert_int_equal(index.count, 0);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
    return true;
}

static void test_sound_alone_is_described_stream_by_stream(void **state)
{
    (void)state;
    struct media_info info;
    if (!sound_probed("audio-only-aac2-ac3_51.mp4", &info))
        skip();
    assert_int_equal(info.audio_count, 2);
    assert_true(llabs(info.duration_ns - SL_S_TO_NS(10)) < SL_MS_TO_NS(50));
    assert_string_equal(info.audio[0].codec, "aac");
    assert_string_equal(info.audio[0].layout, "stereo");
    assert_string_equal(info.audio[1].codec, "ac3");
    assert_int_equal(info.audio[1].channels, 6);
    assert_string_equal(info.audio[1].layout, "5.1(side)");
}

static void test_cover_art_is_no_video(void **state)
{
    (void)state;
    struct media_info info;
    if (!sound_probed("../hostile/audio-with-cover-art.mp4", &info))
        skip();
    assert_int_equal(info.video_stream_count, 0);
    assert_int_equal(info.audio_count, 1);
}

/* Sound of another program is not the picture's. */
static void test_another_programs_sound_is_left_out(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!made_clip(&clip, "ts",
                   "-f lavfi -i testsrc2=s=64x64:r=25:d=1 -f lavfi -i sine=d=1 -f lavfi -i "
                   "sine=d=1:frequency=880 -f lavfi -i testsrc2=s=32x32:r=25:d=1 -map 0:v -map 1:a "
                   "-map 2:a -map 3:v -c:v libx264 -preset ultrafast -c:a mp2 -metadata:s:a:0 "
                   "language=deu -program title=one:st=0:st=1 -program title=two:st=2:st=3")) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    assert_int_equal(info.video.width, 64);
    assert_int_equal(info.audio_stream_count, 2);
    assert_int_equal(info.audio_count, 1);
    assert_string_equal(info.audio[0].language, "deu");
    assert_string_equal(info.audio_note, "1 audio stream belongs to another program");
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

static void test_titles_are_cleaned(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"Director's cut", "Director's cut"},
        {"a\nb\r\t\x1b[31mc\x7f", "ab[31mc"},
        {"\xff\xfe"
         "K\xc3\xb6ln\xc3",
         "K\xc3\xb6ln"},
        {"x\xe2\x80\xaey\xe2\x80\xa8z", "xyz"}, /* turned direction, line separator */
        {"   ", ""},
        /* 64 bytes: the last character that fits whole stays. */
        {"012345678901234567890123456789012345678901234567890123456789ab\xc3\xb6",
         "012345678901234567890123456789012345678901234567890123456789ab"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[MEDIA_TITLE_BYTES];
        media_text_clean(rows[i][0], out, sizeof out);
        assert_string_equal(out, rows[i][1]);
    }
    struct media_info info;
    if (!sound_probed("../hostile/metadata-injection.mkv", &info))
        skip();
    for (const char *c = info.audio[0].title; *c; c++)
        assert_true((unsigned char)*c >= 0x20);
    assert_true(info.audio[0].language[0] == '\0' || strlen(info.audio[0].language) == 3);
}

static void test_text_is_refused_as_unreadable(void **state)
{
    (void)state;
    static const char text[] = "This is a letter, and has never been anything else.\n";
    struct kit_clip clip;
    kit_bytes_open(&clip, text, sizeof text - 1);
    refused(&clip, SL_EFORMAT, "send MP4");
    kit_clip_close(&clip);
}

static void test_an_empty_file_is_refused(void **state)
{
    (void)state;
    struct kit_clip clip;
    kit_bytes_open(&clip, "", 0);
    refused(&clip, SL_EFORMAT, "empty");
    kit_clip_close(&clip);
}

/* A playlist would make the demuxer open what it names. */
static void test_playlists_are_refused_by_kind(void **state)
{
    (void)state;
    static const char hls[] = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"
                              "#EXT-X-ENDLIST\n";
    static const char concat[] = "ffconcat version 1.0\nfile /etc/passwd\n";
    static const char dash[] =
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
        "profiles=\"urn:mpeg:dash:profile:isoff-main:2011\"></MPD>";
    const char *texts[] = {hls, concat, dash};
    for (int i = 0; i < 3; i++) {
        struct kit_clip clip;
        kit_bytes_open(&clip, texts[i], strlen(texts[i]));
        refused(&clip, SL_EFORMAT, "is refused");
        kit_clip_close(&clip);
    }
}

static void test_a_truncated_mp4_is_refused_as_unreadable(void **state)
{
    (void)state;
    struct kit_clip clip, cut;
    if (!kit_made_open(&clip)) {
        print_message("no ffmpeg to make a clip\n");
        skip();
    }
    char bytes[20000];
    assert_int_equal(pread(clip.fd, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    kit_bytes_open(&cut, bytes, sizeof bytes);
    refused(&cut, SL_EFORMAT, "not readable");
    kit_clip_close(&cut);
    kit_clip_close(&clip);
}

struct seen {
    int64_t last, total;
    int calls;
};

static void note(void *arg, int64_t done, int64_t total)
{
    struct seen *seen = arg;
    seen->last = done;
    seen->total = total;
    seen->calls++;
}

static void test_progress_reaches_the_size(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_clip_open(&clip, "sintel-trailer-720p24-h264-aac.mp4")) {
        print_message("the clip is not there\n");
        skip();
    }
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    struct seen seen = {0};
    struct media_progress progress = {note, &seen};
    assert_int_equal(media_probe(&clip.input, -1, &arena, &progress, &info, &index, NULL), SL_OK);
    assert_true(seen.calls > 3);
    assert_int_equal(seen.total, clip.input.bytes);
    assert_true(seen.last > seen.total / 2 && seen.last <= seen.total);
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_of_sintel),
        cmocka_unit_test(test_probe_of_bbb_480p),
        cmocka_unit_test(test_probe_of_webm),
        cmocka_unit_test(test_probe_of_cars),
        cmocka_unit_test(test_probe_of_vfr),
        cmocka_unit_test(test_probe_of_bottles),
        cmocka_unit_test(test_hidden_preroll_is_not_counted),
        cmocka_unit_test(test_sound_alone_is_described_stream_by_stream),
        cmocka_unit_test(test_cover_art_is_no_video),
        cmocka_unit_test(test_another_programs_sound_is_left_out),
        cmocka_unit_test(test_titles_are_cleaned),
        cmocka_unit_test(test_text_is_refused_as_unreadable),
        cmocka_unit_test(test_an_empty_file_is_refused),
        cmocka_unit_test(test_playlists_are_refused_by_kind),
        cmocka_unit_test(test_a_truncated_mp4_is_refused_as_unreadable),
        cmocka_unit_test(test_progress_reaches_the_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
