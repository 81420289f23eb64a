#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <locale.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "cli/cli_term.h"
#include "cli/cli_view.h"
#include "cli/cli_watch.h"

static const struct cli_term utf8 = {.utf8 = true};

static const char *made_harmless(const char *text, int columns)
{
    static struct sl_buf out;
    sl_buf_reset(&out);
    cli_term_text(&utf8, &out, text, columns);
    return out.length ? (const char *)out.data : "";
}

static void test_hostile_names_reach_no_terminal(void **state)
{
    (void)state;
    static const char *const hostile[] = {"\033[2J\033]0;owned\007",
                                          "a\nb\rc\tb\b",
                                          "\x7F",
                                          "\xC2\x9B"
                                          "31m", /* CSI as one C1 character */
                                          "\xE2\x80\xAE"
                                          "4pm.exe",
                                          "\xE2\x81\xA6",
                                          "\xE2\x80\xA8",
                                          "\xFF\xFE", /* bidi, line separator, no UTF-8 */
                                          "\xC0\xAF",
                                          "\xED\xA0\x80",
                                          "\xF4\x90\x80\x80",
                                          "\xE2\x82"};
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *shown = made_harmless(hostile[i], -1);
        for (const unsigned char *at = (const unsigned char *)shown; *at; at++)
            assert_true(*at >= 0x20 && *at != 0x7F);
        assert_null(strstr(shown, "\xC2\x9B"));
        assert_null(strstr(shown, "\xE2\x80\xAE"));
        assert_null(strstr(shown, "\xE2\x80\xA8"));
        json_t *valid = json_string(shown);
        assert_non_null(valid);
        json_decref(valid);
    }
    assert_string_equal(made_harmless("Größe 映画.mp4", -1), "Größe 映画.mp4");
}

static void test_text_is_cut_at_columns_not_bytes(void **state)
{
    (void)state;
    assert_string_equal(made_harmless("abcdef", 6), "abcdef");
    assert_string_equal(made_harmless("abcdef", 4), "abc\xE2\x80\xA6");
    assert_string_equal(made_harmless("äöüß", 3), "äö\xE2\x80\xA6");
    assert_string_equal(made_harmless("abc", 0), "");
    assert_int_equal(cli_term_columns(&utf8, "映画"), 4);
    assert_string_equal(made_harmless("映画映画", 4), "映\xE2\x80\xA6");
}

/* A table printed on a terminal of so many columns. */
static char *table_on_terminal(int columns)
{
    static char text[8192];
    int master, slave;
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = 24};
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    FILE *file = fdopen(slave, "w");
    struct cli_term term;
    cli_term_open(&term, file);
    assert_true(term.terminal);
    term.colour = false;
    static const struct cli_column shape[] = {{"VIDEO", CLI_KEEP, false},
                                              {"STATUS", CLI_STATE, false},
                                              {"NAME", CLI_CUT, false},
                                              {"BYTES", CLI_SPARE, true}};
    struct cli_table *table = cli_table_open(shape, 4);
    cli_table_row(table,
                  (const char *[]){"v0000000000001", "ready", "a name that is rather long", "12"});
    cli_table_row(table,
                  (const char *[]){"v0000000000002", "transcoding", "\033[31mred\n", "1234567"});
    cli_table_print(table, &term);
    fcntl(master, F_SETFL, O_NONBLOCK);
    size_t used = 0;
    ssize_t got;
    while ((got = read(master, text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)got;
    assert_true(used > 0);
    text[used] = '\0';
    fclose(file);
    close(master);
    return text;
}

static void test_table_fits_every_width(void **state)
{
    (void)state;
    for (int columns = 20; columns <= 130; columns++) {
        char *text = table_on_terminal(columns);
        int lines = 0;
        for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n")) {
            lines++;
            int used = cli_term_columns(&utf8, line);
            if (used > columns)
                fail_msg("%d columns on a terminal of %d: \"%s\"", used, columns, line);
        }
        assert_int_equal(lines, 3);
    }
    char *wide = table_on_terminal(100);
    assert_non_null(strstr(wide, "a name that is rather long"));
    assert_non_null(strstr(wide, "1234567"));
    char *narrow = table_on_terminal(40);
    assert_non_null(strstr(narrow, "v0000000000002  transcoding"));
}

static json_t *status_made(const char *status, int completed, int total)
{
    return json_pack("{s:s,s:s,s:f,s:s,s:{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:i,s:i,s:i}}}", "video_id",
                     "v0000000000001", "status", status, "playable_seconds", 12.0,
                     "estimated_completion", "2026-11-21T06:01:20.500Z", "pipeline_progress",
                     "probe", "completed", "audio", "running", "subtitles", "skipped", "images",
                     "skipped", "package", "pending", "verify", "pending", "transcode", "completed",
                     completed, "total", total, "percent", 0);
}

static void test_picture_fits_every_width(void **state)
{
    (void)state;
    json_t *status = status_made("transcoding", 45, 60);
    int64_t now_ns = cli_view_time_parse("2026-11-21T06:00:00.500Z");
    for (int width = CLI_WIDTH_MIN; width <= 200; width++) {
        struct sl_buf out = {0};
        int lines = 0, seen = 0;
        cli_watch_draw(&utf8, status, width, now_ns, false, &out, &lines);
        for (char *line = strtok((char *)out.data, "\n"); line; line = strtok(NULL, "\n")) {
            seen++;
            assert_true(cli_term_columns(&utf8, line) < width);
        }
        assert_int_equal(seen, lines);
        assert_int_equal(lines, 7); /* title, five stages, estimate */
        sl_buf_fini(&out);
    }
    struct sl_buf out = {0};
    int lines;
    cli_watch_draw(&utf8, status, 80, now_ns, false, &out, &lines);
    assert_non_null(strstr((char *)out.data, "45/60 75 %"));
    assert_non_null(strstr((char *)out.data, "about 1 min 20 s left, 12 s playable"));
    sl_buf_reset(&out);
    cli_watch_draw(&utf8, status, 80, now_ns, true, &out, &lines);
    assert_non_null(strstr((char *)out.data, "waiting for the daemon"));
    sl_buf_fini(&out);
    json_decref(status);
}

static void test_picture_survives_odd_documents(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "{}",
        "{\"pipeline_progress\":7}",
        "{\"pipeline_progress\":{\"transcode\":{}}}",
        "{\"pipeline_progress\":{\"transcode\":{\"completed\":9,\"total\":3}}}",
        "{\"pipeline_progress\":{\"transcode\":{\"completed\":-9,\"total\":-3}}}",
        "{\"pipeline_progress\":{\"probe\":\"\\u001b[31m\",\"audio\":null}}",
        "{\"estimated_completion\":\"soon\",\"playable_seconds\":\"many\",\"status\":5}"};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        json_t *status = json_loads(documents[i], 0, NULL);
        struct sl_buf out = {0};
        int lines = 0;
        assert_non_null(status);
        cli_watch_draw(&utf8, status, 33, 0, false, &out, &lines);
        assert_true(lines >= 2);
        assert_null(strchr((char *)out.data, '\033'));
        sl_buf_fini(&out);
        json_decref(status);
    }
}

static void test_durations_read_well(void **state)
{
    (void)state;
    char text[CLI_DURATION_BYTES];
    assert_string_equal(cli_view_duration(0.44, text), "0.4 s");
    assert_string_equal(cli_view_duration(9.96, text), "10 s");
    assert_string_equal(cli_view_duration(80, text), "1 min 20 s");
    assert_string_equal(cli_view_duration(4800, text), "1 h 20 min");
    assert_string_equal(cli_view_bytes(999, text), "999 B");
    assert_string_equal(cli_view_bytes(7608204, text), "7.6 MB");
    assert_int_equal(cli_view_time_parse("1970-01-01T00:00:01.250Z"), 1250000000);
    assert_int_equal(cli_view_time_parse("yesterday"), 0);
}

static void test_addresses_are_checked(void **state)
{
    (void)state;
    char api[CLI_API_BYTES];
    struct sl_failure why;
    assert_int_equal(cli_http_api_parse("http://127.0.0.1:8800//", api, &why), SL_OK);
    assert_string_equal(api, "http://127.0.0.1:8800");
    static const char *const wrong[] = {"",        "127.0.0.1:8800",     "ftp://x",
                                        "http://", "file:///etc/passwd", "http://x/?a=b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(cli_http_api_parse(wrong[i], api, &why), SL_EINVAL);
    assert_true(cli_http_api_is_loopback("http://127.0.0.2:1"));
    assert_true(cli_http_api_is_loopback("http://[::1]:8800"));
    assert_true(cli_http_api_is_loopback("http://localhost"));
    assert_false(cli_http_api_is_loopback("http://10.0.0.1:8800"));
    assert_false(cli_http_api_is_loopback("http://127.0.0.1.example.org"));
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_names_reach_no_terminal),
        cmocka_unit_test(test_text_is_cut_at_columns_not_bytes),
        cmocka_unit_test(test_table_fits_every_width),
        cmocka_unit_test(test_picture_fits_every_width),
        cmocka_unit_test(test_picture_survives_odd_documents),
        cmocka_unit_test(test_durations_read_well),
        cmocka_unit_test(test_addresses_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
