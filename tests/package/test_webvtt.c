#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "package/webvtt.h"
#include "package/webvtt_read.h"

static const struct text_cue cues[] = {
    {500, 2000, "one", ""},
    {5000, 13000, "over two boundaries", "line:0"},
    {6000, 7000, "at the boundary", ""},
    {INT64_C(3600000) * 11, INT64_C(3600000) * 11 + 1, "late", ""},
};

static void expect_segment(int64_t start_ms, int64_t end_ms, size_t *first, int32_t started,
                           const char *numbers)
{
    struct sl_buf out = {0};
    int32_t got = -1;
    char found[64] = "";
    assert_int_equal(webvtt_segment(cues, 4, start_ms, end_ms, first, &got, &out, NULL), SL_OK);
    assert_int_equal(got, started);
    const char *head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n";
    assert_memory_equal(out.data, head, strlen(head));
    for (const char *at = (const char *)out.data; (at = strstr(at, "\n\n")); at += 2)
        if (at[2])
            strncat(found, at + 2, 1);
    assert_string_equal(found, numbers);
    sl_buf_fini(&out);
}

static void test_a_cue_is_in_every_segment_that_it_is_seen_in(void **state)
{
    (void)state;
    size_t first = 0;
    expect_segment(0, 6000, &first, 2, "12");
    expect_segment(6000, 12000, &first, 1, "23");
    expect_segment(12000, 18000, &first, 0, "2");
    expect_segment(18000, 24000, &first, 0, "");
    first = 0;
    expect_segment(2000, 5000, &first, 0, "");
}

static int read_back(const char *text, int64_t most_ms, int64_t *count, struct sl_failure *why)
{
    return webvtt_read(text, strlen(text), most_ms, NULL, NULL, count, why);
}

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    struct sl_buf out = {0};
    int64_t count = 0;
    assert_int_equal(webvtt_whole(cues, 4, &out, NULL), SL_OK);
    assert_non_null(
        strstr((const char *)out.data, "\n2\n00:00:05.000 --> 00:00:13.000 line:0\nover"));
    assert_non_null(strstr((const char *)out.data, "11:00:00.000 --> 11:00:00.001"));
    assert_int_equal(read_back((const char *)out.data, INT64_C(3600000) * 12, &count, NULL), SL_OK);
    assert_int_equal(count, 4);
    struct sl_failure why = {0};
    assert_int_equal(read_back((const char *)out.data, 60000, &count, &why), SL_EVERIFY);
    sl_buf_fini(&out);
}

static void test_faults_are_found_when_read_back(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *word;
    } rows[] = {
        {"WEBVT\n\n", "begin with"},
        {"WEBVTT\n\n1\n00:00:01.000 -> 00:00:02.000\nx\n\n", "no time"},
        {"WEBVTT\n\n1\n00:00:02.000 --> 00:00:01.000\nx\n\n", "lasts"},
        {"WEBVTT\n\n1\n00:00:02.000 --> 00:00:03.000\nx\n\n2\n00:00:01.000 --> 00:00:03.000\nx\n\n",
         "behind"},
        {"WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\n\n", "empty"},
        {"WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\nx\n00:00:03.000 --> 00:00:04.000\ny\n\n",
         "arrow"},
        {"WEBVTT\n\n1\n", "ends within"},
        {"WEBVTT\n\n00:00:01.000 --> 00:61:02.000\nx\n", "no time"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_failure why = {0};
        int64_t count;
        assert_int_equal(read_back(rows[i].text, 60000, &count, &why), SL_EVERIFY);
        if (!strstr(why.message, rows[i].word))
            fail_msg("\"%s\" does not say %s", why.message, rows[i].word);
    }
}

static void test_chapters_are_text(void **state)
{
    (void)state;
    struct media_chapter chapters[] = {{0, INT64_C(1500000000), "<b>A & B --> C"},
                                       {INT64_C(1500000000), INT64_C(2000000001), ""}};
    struct sl_buf out = {0};
    int64_t count = 0;
    assert_int_equal(webvtt_chapters(chapters, 2, &out, NULL), SL_OK);
    assert_string_equal(
        (const char *)out.data,
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.500\n&lt;b&gt;A &amp; B --&gt; C\n\n"
        "2\n00:00:01.500 --> 00:00:02.001\nChapter 2\n\n");
    assert_int_equal(read_back((const char *)out.data, 2001, &count, NULL), SL_OK);
    sl_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cue_is_in_every_segment_that_it_is_seen_in),
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_faults_are_found_when_read_back),
        cmocka_unit_test(test_chapters_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
