#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/cli_args.h"

static const struct cli_option options[] = {
    {"policy", "NAME", ""}, {"watch", NULL, ""}, {"priority", "LEVEL", ""}};

static int parse(int argc, const char *const *argv, struct cli_args *out, struct sl_failure *why)
{
    return cli_args_parse(argc, (char *const *)argv, options, 3, false, out, NULL, why);
}

static void test_words_and_options_mix_in_any_order(void **state)
{
    (void)state;
    const char *argv[] = {"--watch", "a.mp4", "--policy=fast", "--priority", "high"};
    struct cli_args args;
    struct sl_failure why;
    assert_int_equal(parse(5, argv, &args, &why), SL_OK);
    assert_int_equal(args.word_count, 1);
    assert_string_equal(args.words[0], "a.mp4");
    assert_string_equal(cli_args_text(&args, "policy"), "fast");
    assert_string_equal(cli_args_text(&args, "priority"), "high");
    assert_true(cli_args_has(&args, "watch"));
}

static void test_two_dashes_end_the_options(void **state)
{
    (void)state;
    const char *argv[] = {"--", "--watch", "-"};
    struct cli_args args;
    struct sl_failure why;
    assert_int_equal(parse(3, argv, &args, &why), SL_OK);
    assert_int_equal(args.word_count, 2);
    assert_string_equal(args.words[0], "--watch");
    assert_false(cli_args_has(&args, "watch"));
}

static void refused(int argc, const char *const *argv, const char *part)
{
    struct cli_args args;
    struct sl_failure why;
    assert_int_equal(parse(argc, argv, &args, &why), SL_EINVAL);
    if (!strstr(why.message, part))
        fail_msg("\"%s\" does not name \"%s\"", why.message, part);
}

static void test_mistakes_name_the_option_and_the_cure(void **state)
{
    (void)state;
    refused(1, (const char *[]){"--polcy"}, "--polcy");
    refused(1, (const char *[]){"--polcy"}, "did you mean --policy?");
    refused(1, (const char *[]){"--policy"}, "needs NAME");
    refused(1, (const char *[]){"--policy="}, "empty");
    refused(1, (const char *[]){"--watch=yes"}, "takes no value");
    refused(1, (const char *[]){"-w"}, "-w");
}

static void test_too_many_words_are_refused(void **state)
{
    (void)state;
    const char *argv[CLI_WORDS_MAX + 1];
    for (int i = 0; i <= CLI_WORDS_MAX; i++)
        argv[i] = "w";
    struct cli_args args;
    struct sl_failure why;
    assert_int_equal(parse(CLI_WORDS_MAX, argv, &args, &why), SL_OK);
    refused(CLI_WORDS_MAX + 1, argv, "too many words");
}

static void test_parsing_stops_at_the_command(void **state)
{
    (void)state;
    const char *argv[] = {"--watch", "submit", "--no-such"};
    struct cli_args args;
    struct sl_failure why;
    int used = 0;
    assert_int_equal(cli_args_parse(3, (char *const *)argv, options, 3, true, &args, &used, &why),
                     SL_OK);
    assert_int_equal(used, 1);
    assert_int_equal(args.word_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_and_options_mix_in_any_order),
        cmocka_unit_test(test_two_dashes_end_the_options),
        cmocka_unit_test(test_mistakes_name_the_option_and_the_cure),
        cmocka_unit_test(test_too_many_words_are_refused),
        cmocka_unit_test(test_parsing_stops_at_the_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
