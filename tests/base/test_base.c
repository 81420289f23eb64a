/* base/ and model/ids: the small things that everything stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/policy_types.h"
#include "model/task_types.h"

static void test_error_words_are_distinct_and_lead_back(void **state)
{
    (void)state;
    static const int codes[] = {
#define CODE(code, number, word, text, cls) code,
        SL_ERROR_LIST(CODE)
#undef CODE
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_true(codes[i] < 0);
        assert_int_equal(sl_error_from_word(sl_error_word(codes[i])), codes[i]);
        assert_int_not_equal(sl_error_class(codes[i]), SL_CLASS_NONE);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(codes[i], codes[j]);
    }
    assert_string_equal(sl_error_word(0), "ok");
    assert_int_equal(sl_error_class(0), SL_CLASS_NONE);
    assert_int_equal(sl_error_from_errno(ENOSPC), SL_ENOSPC);
}

static void test_time_prints_rfc3339_before_and_after_the_epoch(void **state)
{
    (void)state;
    char text[SL_TIME_TEXT_BYTES];
    assert_string_equal(sl_time_format(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(sl_time_format(INT64_C(1767225599999000000), text),
                        "2025-12-31T23:59:59.999Z");
    assert_string_equal(sl_time_format(-SL_NS_PER_MS, text), "1969-12-31T23:59:59.999Z");
}

static void test_muldiv_keeps_128_bits_and_rounds_down(void **state)
{
    (void)state;
    assert_int_equal(sl_muldiv_i64(INT64_MAX, 1000, 1000), INT64_MAX);
    assert_int_equal(sl_muldiv_i64(INT64_MAX, 2, 1), INT64_MAX);
    assert_int_equal(sl_muldiv_i64(INT64_MIN, 2, 1), INT64_MIN);
    assert_int_equal(sl_muldiv_i64(7, 1, 2), 3);
    assert_int_equal(sl_muldiv_i64(-7, 1, 2), -4);
}

static void test_duration_parses_units_and_refuses_the_rest(void **state)
{
    (void)state;
    int64_t ns = 0;
    assert_int_equal(sl_duration_parse("1.5s", &ns), SL_OK);
    assert_int_equal(ns, 1500 * SL_NS_PER_MS);
    assert_int_equal(sl_duration_parse("250ms", &ns), SL_OK);
    assert_int_equal(ns, 250 * SL_NS_PER_MS);
    assert_int_equal(sl_duration_parse("2m", &ns), SL_OK);
    assert_int_equal(ns, SL_S_TO_NS(120));
    assert_int_equal(sl_duration_parse("3", &ns), SL_OK);
    assert_int_equal(ns, SL_S_TO_NS(3));
    static const char *const bad[] = {"", "s", "-1s", "1w", "nan", "inf", "1e300h", "1s "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sl_duration_parse(bad[i], &ns), SL_EINVAL);
    assert_int_equal(ns, SL_S_TO_NS(3));
}

static void test_arena_grows_resets_and_keeps_its_limit(void **state)
{
    (void)state;
    struct sl_arena arena = {.limit_bytes = 100000};
    char *small = sl_arena_strdup(&arena, "sluice");
    char *large = sl_arena_alloc(&arena, 50000);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal(large[49999], 0);
    assert_string_equal(small, "sluice");
    assert_null(sl_arena_alloc(&arena, 60000));
    assert_null(sl_arena_array(&arena, SIZE_MAX / 2, 4));
    sl_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(sl_arena_alloc(&arena, 60000));
    sl_arena_fini(&arena);
}

static void test_json_string_makes_hostile_text_one_value(void **state)
{
    (void)state;
    struct sl_buf buf = {0};
    static const char hostile[] = "a\"\\\n\x1b[31m\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x8e\xac\x7f";
    sl_buf_json_string(&buf, hostile, sizeof hostile - 1);
    assert_string_equal((char *)buf.data,
                        "\"a\\\"\\\\\\n\\u001b[31m\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                        "\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x8e\xac\\u007f\"");
    sl_buf_fini(&buf);
}

static void test_buf_printf_grows(void **state)
{
    (void)state;
    struct sl_buf buf = {0};
    for (int i = 0; i < 1000; i++)
        sl_buf_printf(&buf, "%04d,", i);
    assert_int_equal(buf.length, 5000);
    assert_memory_equal(buf.data + 4995, "0999,", 6);
    assert_null(sl_buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    sl_buf_fini(&buf);
}

static void test_video_ids_sort_by_time_and_round_trip(void **state)
{
    (void)state;
    struct video_id early = video_id_make(INT64_C(1767225600000000000), 0xffffffff);
    struct video_id late = video_id_make(INT64_C(1767225600001000000), 0);
    assert_true(early.v < late.v);
    char text[VIDEO_ID_TEXT_BYTES];
    struct video_id back;
    assert_int_equal(video_id_parse(video_id_format(early, text), &back), SL_OK);
    assert_int_equal(back.v, early.v);
    static const char *const bad[] = {"",
                                      "v",
                                      "v0000000000000",
                                      "x0123456789abc",
                                      "v0123456789abcd",
                                      "vzzzzzzzzzzzzz",
                                      "v01234567/9abc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(video_id_parse(bad[i], &back), SL_EINVAL);
}

static void test_time_parses_rfc3339_and_refuses_the_rest(void **state)
{
    (void)state;
    static const struct {
        const char *text, *same;
    } good[] = {
        {"2026-11-21T06:00:00Z", "2026-11-21T06:00:00.000Z"},
        {"2026-11-21T06:00:00.25z", "2026-11-21T06:00:00.250Z"},
        {"2026-11-21 06:00:00+01:30", "2026-11-21T04:30:00.000Z"},
        {"2026-11-21T23:00:00-02:00", "2026-11-22T01:00:00.000Z"},
        {"2028-02-29", "2028-02-29T00:00:00.000Z"},
    };
    static const char *const bad[] = {
        "",
        "now",
        "2026-02-30",
        "2026-13-01",
        "2026-1-1",
        "2026-11-21T",
        "2026-11-21T06:00",
        "2026-11-21T06:00:00",
        "2026-11-21Z",
        "-026-11-21",
        "2026-11-21T25:00:00Z",
        "2026-11-21T06:00:00.Z",
        "2026-11-21T06:00:00+1:30",
        "2026-11-21T06:00:00Zulu",
        "2026-11-21T06:61:00Z",
    };
    char text[SL_TIME_TEXT_BYTES];
    int64_t ns = 7;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(sl_time_parse(good[i].text, &ns), SL_OK);
        assert_string_equal(sl_time_format(ns, text), good[i].same);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sl_time_parse(bad[i], &ns) != SL_EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_task_ids_refuse_what_is_no_task(void **state)
{
    (void)state;
    struct task_id id;
    assert_int_equal(task_id_parse("t42", &id), SL_OK);
    assert_int_equal(id.v, 42);
    static const char *const bad[] = {"", "t", "t0", "t-1", "42", "t1x", "t99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(task_id_parse(bad[i], &id), SL_EINVAL);
}

static void test_words_lead_back_to_their_values(void **state)
{
    (void)state;
    for (int i = 0; i < STEP_COUNT; i++) {
        enum step step;
        assert_int_equal(step_from_word(step_word((enum step)i), &step), SL_OK);
        assert_int_equal(step, i);
    }
    for (int i = 0; i < VIDEO_STATUS_COUNT; i++) {
        enum video_status status;
        assert_int_equal(video_status_from_word(video_status_word((enum video_status)i), &status),
                         SL_OK);
        assert_int_equal(status, i);
    }
    enum priority priority;
    assert_int_equal(priority_from_word("urgent", &priority), SL_OK);
    assert_int_equal(priority_from_word("Urgent", &priority), SL_EINVAL);
    enum codec codec;
    assert_int_equal(codec_from_word("vp9", &codec), SL_OK);
    assert_int_equal(codec, CODEC_VP9);
    assert_null(codec_word(CODEC_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_words_are_distinct_and_lead_back),
        cmocka_unit_test(test_time_prints_rfc3339_before_and_after_the_epoch),
        cmocka_unit_test(test_time_parses_rfc3339_and_refuses_the_rest),
        cmocka_unit_test(test_muldiv_keeps_128_bits_and_rounds_down),
        cmocka_unit_test(test_duration_parses_units_and_refuses_the_rest),
        cmocka_unit_test(test_arena_grows_resets_and_keeps_its_limit),
        cmocka_unit_test(test_json_string_makes_hostile_text_one_value),
        cmocka_unit_test(test_buf_printf_grows),
        cmocka_unit_test(test_video_ids_sort_by_time_and_round_trip),
        cmocka_unit_test(test_task_ids_refuse_what_is_no_task),
        cmocka_unit_test(test_words_lead_back_to_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
