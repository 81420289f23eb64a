/* Subtitles to cues: what ASS says, what codings are read, where cues lie, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "media/media_ass.h"
#include "media/media_charset.h"
#include "media/media_text.h"
#include "tests/media/media_kit.h"

static const char header[] =
    "[Script Info]\r\nPlayResX: 1280\r\nPlayResY: 720\r\n\r\n[V4+ Styles]\r\n"
    "Format: Name, Fontname, Bold, Italic, Underline, Alignment\r\n"
    "Style: Default,Arial,0,0,0,2\r\nStyle: Sign,Arial,-1,0,0,8\r\n";

static void expect_event(const char *style, const char *said, const char *text,
                         const char *settings)
{
    struct media_ass ass = {0};
    struct sl_buf out = {0};
    char event[1024], got[MEDIA_ASS_SETTINGS_BYTES];
    media_ass_header(&ass, header, sizeof header - 1);
    snprintf(event, sizeof event, "0,0,%s,,0,0,0,,%s", style, said);
    sl_buf_text(&out, "before ");
    media_ass_event(&ass, event, &out, got);
    assert_string_equal((const char *)out.data + 7, text);
    assert_string_equal(got, settings);
    sl_buf_fini(&out);
}

static void test_marks_and_places_are_kept(void **state)
{
    (void)state;
    expect_event("Default", "plain", "plain", "");
    expect_event("Default", "{\\i1}a{\\i0} {\\b700}b{\\b0}\\N{\\u1}c",
                 "<i>a</i> <b>b</b>\n<u>c</u>", "");
    expect_event("Default", "{\\b1\\i1}both{\\i0} bold", "<b><i>both</i></b> <b>bold</b>", "");
    expect_event("Sign", "a sign", "<b>a sign</b>", "line:0");
    expect_event("Sign", "{\\rDefault}plain", "plain", "line:0");
    expect_event("Default", "{\\an5}middle", "middle", "line:50%");
    expect_event("Default", "{\\an9}corner", "corner", "line:0 align:right");
    expect_event("Default", "{\\a6}old top", "old top", "line:0");
    expect_event("Default", "{\\pos(640,100)}up", "up", "line:0");
    expect_event("Default", "{\\pos(100,700)}left", "left", "align:left");
}

static void test_what_is_left_is_inert_text(void **state)
{
    (void)state;
    expect_event("Default", "<script>&--> x", "&lt;script&gt;&amp;--&gt; x", "");
    expect_event("Default", "one\\N\\N \\Ntwo\\N", "one\ntwo", "");
    expect_event("Default", "\x1b[31mred\x07\x7f", "[31mred", "");
    expect_event("Default",
                 "a\xe2\x80\xae"
                 "b\xe2\x81\xa6"
                 "c\xc2\x85"
                 "d",
                 "abcd", "");
    expect_event("Default", "{\\p1}m 0 0 l 100 0{\\p0}", "", "");
    expect_event("Default", "{\\blur3\\bord2\\iclip(1)\\alpha&H80&}x", "x", "");
    expect_event("Default", "{unfinished", "{unfinished", "");
    expect_event("Default", "  \\h ", "\xc2\xa0", "");
}

static void expect_utf8(const char *bytes, size_t length, const char *text)
{
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    int code = media_utf8_make(bytes, length, &out, &why);
    if (text) {
        assert_int_equal(code, SL_OK);
        assert_string_equal((const char *)out.data, text);
    } else {
        assert_int_equal(code, SL_EFORMAT);
        assert_non_null(strstr(why.message, "text"));
    }
    sl_buf_fini(&out);
}

static void test_codings_are_told_apart(void **state)
{
    (void)state;
    expect_utf8("\xef\xbb\xbfGr\xc3\xbc\xc3\x9f", 9, "Gr\xc3\xbc\xc3\x9f");
    expect_utf8("Gr\xc3\xbc\xc3\x9f", 6, "Gr\xc3\xbc\xc3\x9f");
    expect_utf8("Gr\xfc\xdf", 4, "Gr\xc3\xbc\xc3\x9f");
    expect_utf8("\x93so\x94 \x80", 6, "\xe2\x80\x9cso\xe2\x80\x9d \xe2\x82\xac");
    expect_utf8("\xff\xfe"
                "G\0\xfc\0\x3d\xd8\x00\xde",
                10, "G\xc3\xbc\xf0\x9f\x98\x80");
    expect_utf8("\xfe\xff\0G\0\xfc", 6, "G\xc3\xbc");
    expect_utf8("\xff\xfe\x3d\xd8"
                "G\0",
                6, NULL);
    expect_utf8("\xff\xfeG", 3, NULL);
    expect_utf8("a\0b", 3, NULL);
    expect_utf8("\x81\x8d", 2, NULL);
    expect_utf8("a\x1b[0m", 5, NULL);
    assert_false(media_utf8_valid("\xc0\xaf", 2));
    assert_false(media_utf8_valid("\xed\xa0\x80", 3));
    assert_false(media_utf8_valid("\xf4\x90\x80\x80", 4));
}

/* ---- whole files ---- */

static int64_t boundaries[] = {0, 6000, 12000, 20000};

static struct job_text sidecar_job(void)
{
    return (struct job_text){
        .text = {.name = "en", .language = "en", .stream_index = -1},
        .origin_time_base = {1, 1000},
        .timescale = 1000,
        .boundary_ticks = boundaries,
        .boundary_count = 4,
    };
}

static int file_read(const char *bytes, size_t length, struct sl_arena *arena,
                     struct text_cue **cues, size_t *count, struct sl_failure *why)
{
    struct kit_clip file;
    struct job_text job = sidecar_job();
    kit_bytes_open(&file, bytes, length);
    int code = media_text_read(&file.input, &job, arena, NULL, cues, count, why);
    kit_clip_close(&file);
    return code;
}

static void expect_cues(const char *file, const char *expected)
{
    struct sl_arena arena = {0};
    struct text_cue *cues = NULL;
    struct sl_failure why = {0};
    size_t count = 0;
    char text[2048] = "";
    if (file_read(file, strlen(file), &arena, &cues, &count, &why) != SL_OK)
        fail_msg("%s", why.message);
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%d-%d[%s]%s;", (int)cues[i].start_ms,
                 (int)cues[i].end_ms, cues[i].settings, cues[i].text);
    }
    assert_string_equal(text, expected);
    sl_arena_fini(&arena);
}

static void test_kinds_are_told_apart_by_their_heads(void **state)
{
    (void)state;
    expect_cues("1\n00:00:01,000 --> 00:00:02,500\n<i>one</i>\ntwo\n\n",
                "1000-2500[]<i>one</i>\ntwo;");
    expect_cues("WEBVTT\n\n00:01.000 --> 00:02.000\none & two\n\n", "1000-2000[]one &amp; two;");
    expect_cues(
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Italic, Alignment\n"
        "Style: S,-1,8\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, "
        "MarginV, Effect, Text\nDialogue: 0,0:00:01.00,0:00:02.00,S,,0,0,0,,up\n",
        "1000-2000[line:0]<i>up</i>;");
}

static void test_cues_lie_in_the_video_and_in_order(void **state)
{
    (void)state;
    expect_cues(
        "1\n00:00:19,000 --> 00:00:30,000\nlast\n\n2\n00:00:01,000 --> 00:00:02,000\nfirst\n\n"
        "3\n00:01:00,000 --> 00:01:01,000\nbehind\n\n4\n00:00:01,000 --> 00:00:02,000\nfirst\n\n",
        "1000-2000[]first;19000-20000[]last;");
}

static void refused(const char *bytes, size_t length, int code, const char *word)
{
    struct sl_arena arena = {0};
    struct text_cue *cues = NULL;
    struct sl_failure why = {0};
    size_t count = 0;
    assert_int_equal(file_read(bytes, length, &arena, &cues, &count, &why), code);
    if (!strstr(why.message, word))
        fail_msg("\"%s\" does not say %s", why.message, word);
    assert_int_equal(sl_error_class(code), SL_CLASS_INPUT);
    sl_arena_fini(&arena);
}

static void test_bad_files_are_refused_with_a_sentence(void **state)
{
    (void)state;
    refused("just words\n", 11, SL_EFORMAT, "neither SRT, ASS nor WebVTT");
    refused("\x89PNG\r\n\x1a\n\0\0\0", 11, SL_EFORMAT, "no text");
    refused("x --> y\n", 8, SL_EFORMAT, "no cue");
    struct sl_buf many = {0};
    for (int i = 0; i < 600; i++)
        sl_buf_printf(&many, "%d\n00:00:01,%03d --> 00:00:10,000\nline %d\n\n", i + 1, i, i);
    refused((const char *)many.data, many.length, SL_ETOOBIG, "at once at 00:00:01");
    sl_buf_reset(&many);
    sl_buf_text(&many, "1\n00:00:01,000 --> 00:00:02,000\n");
    for (int i = 0; i < 1200; i++)
        sl_buf_text(&many, "many words ");
    sl_buf_text(&many, "\n\n");
    refused((const char *)many.data, many.length, SL_ETOOBIG, "bytes of text");
    sl_buf_fini(&many);
}

static void test_streams_of_a_clip_are_found_and_read(void **state)
{
    (void)state;
    struct kit_clip clip;
    if (!kit_clip_open(&clip, "sintel-subs-2srt-ass-chapters.mkv"))
        skip();
    struct sl_arena arena = {0};
    struct media_info info;
    struct media_index index;
    kit_probe(&clip, &arena, &info, &index);
    assert_int_equal(info.text_count, 3);
    assert_string_equal(info.texts[0].language, "eng");
    assert_true(info.texts[0].is_default);
    assert_string_equal(info.texts[1].language, "ger");
    assert_string_equal(info.texts[2].title, "Styled");
    assert_int_equal(info.chapter_count, 2);
    assert_string_equal(info.chapters[1].title, "Snow \xe2\x80\x93 Schnee");
    assert_true(info.chapters[1].start_ns == INT64_C(6000000000));
    /* The same stream, on a time line whose zero is a second later. */
    for (int shift = 0; shift <= 1000; shift += 1000) {
        struct job_text job = sidecar_job();
        job.text.stream_index = info.texts[1].stream_index;
        memcpy(job.text.codec, info.texts[1].codec, sizeof job.text.codec);
        job.origin_pts = shift;
        struct text_cue *cues = NULL;
        size_t count = 0;
        assert_int_equal(media_text_read(&clip.input, &job, &arena, NULL, &cues, &count, NULL),
                         SL_OK);
        assert_int_equal(count, 2);
        assert_int_equal(cues[0].start_ms, 1000 - shift);
        assert_int_equal(cues[0].end_ms, 4200 - shift);
        assert_non_null(strstr(cues[1].text, "&amp; du &lt;3"));
    }
    sl_arena_fini(&arena);
    kit_clip_close(&clip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_and_places_are_kept),
        cmocka_unit_test(test_what_is_left_is_inert_text),
        cmocka_unit_test(test_codings_are_told_apart),
        cmocka_unit_test(test_kinds_are_told_apart_by_their_heads),
        cmocka_unit_test(test_cues_lie_in_the_video_and_in_order),
        cmocka_unit_test(test_bad_files_are_refused_with_a_sentence),
        cmocka_unit_test(test_streams_of_a_clip_are_found_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
