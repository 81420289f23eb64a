#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "objects/objects_http.h"
#include "tests/objects/http_server.h"
#include "tests/objects/objects_build.h"

#define TICKET "a-ticket"

struct fixture {
    char folder[200];
    struct server *server;
    struct objects *objects;
};

/* One second is the shortest that curl knows. */
static const struct objects_http_limits quick = {
    .connect_timeout_ns = SL_MS_TO_NS(300),
    .slow_bytes_per_s = 1024,
    .slow_timeout_ns = SL_S_TO_NS(1),
};

static int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    build_folder_make(f->folder);
    f->server = server_start(f->folder, TICKET);
    struct sl_failure why;
    if (objects_http_open(server_url(f->server), &quick, &f->objects, &why) != SL_OK)
        fail_msg("%s", why.message);
    *state = f;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    objects_close(&f->objects);
    server_stop(&f->server);
    build_folder_remove(f->folder);
    free(f);
    return 0;
}

static void ok(int rc, const struct sl_failure *why)
{
    if (rc != SL_OK)
        fail_msg("%s: %s", sl_error_word(rc), why->message);
}

static int get(struct fixture *f, const char *ticket, uint64_t offset, size_t length,
               struct sl_failure *why)
{
    uint8_t *into = malloc(length);
    size_t got = 0;
    int rc = objects_get_range(f->objects, ticket, "k", offset, into, length, &got, why);
    if (rc == SL_OK) {
        uint8_t *bytes = malloc(offset + got + 1);
        build_bytes(bytes, offset + got, 1);
        assert_memory_equal(into, bytes + offset, got);
        free(bytes);
    }
    free(into);
    return rc;
}

static void test_connections_are_kept(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 100000, 1, &why), &why);
    for (int i = 0; i < 20; i++) {
        build_expect(f->objects, TICKET, "k", 100000, 1);
        ok(objects_delete(f->objects, TICKET, "other", &why), &why);
        ok(build_put(f->objects, TICKET, "k", 100000, 1, &why), &why);
    }
    assert_true(server_requests(f->server) >= 80);
    assert_int_equal(server_connections(f->server), 1);
}

static void test_refusals_have_their_codes_and_say_the_answer(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 1000, 1, &why), &why);
    const struct {
        int status;
        int code;
    } answers[] = {{400, SL_EPROTO},   {401, SL_EACCES},   {403, SL_EACCES},   {404, SL_ENOENT},
                   {409, SL_EEXIST},   {422, SL_EIO},      {429, SL_EUNREACH}, {500, SL_EUNREACH},
                   {502, SL_EUNREACH}, {503, SL_EUNREACH}, {507, SL_ENOSPC},   {302, SL_EPROTO}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        int status = answers[i].status;
        char number[8];
        snprintf(number, sizeof number, "%d", status);
        server_fault_set(f->server, SERVER_STATUS, status, 1);
        assert_int_equal(get(f, TICKET, 0, 100, &why), answers[i].code);
        assert_int_equal(why.code, answers[i].code);
        assert_non_null(strstr(why.message, number));
        assert_non_null(strstr(why.message, "no, says the test"));
        assert_non_null(strstr(why.message, server_url(f->server)));
        server_fault_set(f->server, SERVER_STATUS, status, 1);
        assert_int_equal(build_put(f->objects, TICKET, "new", 1000, 1, &why), answers[i].code);
        int64_t bytes;
        server_fault_set(f->server, SERVER_STATUS, status, 1);
        assert_int_equal(objects_size(f->objects, TICKET, "k", &bytes, &why), answers[i].code);
        server_fault_set(f->server, SERVER_STATUS, status, 1);
        assert_int_equal(objects_delete(f->objects, TICKET, "k", &why),
                         status == 404 ? SL_OK : answers[i].code);
    }
    ok(get(f, TICKET, 0, 1000, &why), &why);
    server_fault_set(f->server, SERVER_STATUS, 416, 1);
    ok(get(f, TICKET, 5000, 10, &why), &why);
}

static void test_wrong_ticket_is_refused_and_no_ticket_is_ever_shown(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 1000, 1, &why), &why);
    const char *const tickets[] = {"other-ticket", NULL};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get(f, tickets[i], 0, 10, &why), SL_EACCES);
        assert_null(strstr(why.message, "other-ticket"));
        assert_int_equal(build_put(f->objects, tickets[i], "new", 10, 1, &why), SL_EACCES);
        /* A long body is refused before it is sent. */
        assert_int_equal(build_put(f->objects, tickets[i], "new", 5000000, 1, &why), SL_EACCES);
    }
    assert_int_equal(get(f, "a\r\nHost: evil", 0, 10, &why), SL_EINVAL);
}

static void test_broken_answers_are_failures_and_never_bytes(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 100000, 1, &why), &why);
    const struct {
        enum server_fault fault;
        int code;
    } faults[] = {{SERVER_RESET, SL_EUNREACH},  {SERVER_SHORT, SL_EUNREACH},
                  {SERVER_LONG, SL_EPROTO},     {SERVER_OTHER_RANGE, SL_EPROTO},
                  {SERVER_NO_RANGE, SL_EPROTO}, {SERVER_GARBAGE, SL_EPROTO},
                  {SERVER_REDIRECT, SL_EPROTO}, {SERVER_STALL, SL_ETIMEDOUT}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        server_fault_set(f->server, faults[i].fault, 0, 1);
        int rc = get(f, TICKET, 1000, 50000, &why);
        server_fault_set(f->server, SERVER_FINE, 0, 0);
        if (rc != faults[i].code)
            fail_msg("fault %d: %s: %s", faults[i].fault, sl_error_word(rc), why.message);
        ok(get(f, TICKET, 1000, 50000, &why), &why);
    }
    /* The whole object instead of its start is as good. */
    server_fault_set(f->server, SERVER_NO_RANGE, 0, 1);
    ok(get(f, TICKET, 0, 100000, &why), &why);
}

static void test_short_ranges_are_asked_for_again_until_complete(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 100000, 1, &why), &why);
    uint8_t into[2000];
    uint8_t bytes[2000];
    size_t got = 0;
    build_bytes(bytes, sizeof bytes, 1);
    server_fault_set(f->server, SERVER_SMALL, 300, 100);
    ok(objects_get_range(f->objects, TICKET, "k", 100, into, 1500, &got, &why), &why);
    assert_int_equal(got, 1500);
    assert_memory_equal(into, bytes + 100, 1500);
}

static void test_closed_idle_connection_is_replaced_without_a_word(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    for (uint32_t i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        server_fault_set(f->server, SERVER_CLOSE_IDLE, 0, 1);
        ok(build_put(f->objects, TICKET, key, 500000, i, &why), &why);
        usleep(i % 2 ? 0 : 20000);
        build_expect(f->objects, TICKET, key, 500000, i);
        /* Closed just when the request is under way: the body is sent again from its start. */
        snprintf(key, sizeof key, "again%u", i);
        server_fault_set(f->server, SERVER_DROP, 0, 1);
        ok(build_put(f->objects, TICKET, key, 500000, i, &why), &why);
        build_expect(f->objects, TICKET, key, 500000, i);
    }
}

static void test_put_broken_off_leaves_nothing_and_its_repeat_stores_once(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    int64_t bytes;
    server_fault_set(f->server, SERVER_RESET, 0, 1);
    assert_int_equal(build_put(f->objects, TICKET, "k", 3000000, 1, &why), SL_EUNREACH);
    assert_int_equal(objects_size(f->objects, TICKET, "k", &bytes, &why), SL_ENOENT);
    assert_int_equal(build_file_count(f->folder), 1);
    /* It was stored and only the answer was lost. */
    server_fault_set(f->server, SERVER_REPLY_LOST, 0, 1);
    assert_int_equal(build_put(f->objects, TICKET, "k", 3000000, 1, &why), SL_EUNREACH);
    ok(build_put(f->objects, TICKET, "k", 3000000, 1, &why), &why);
    assert_int_equal(build_put(f->objects, TICKET, "k", 3000000, 2, &why), SL_EEXIST);
    build_expect(f->objects, TICKET, "k", 3000000, 1);
}

static void test_nobody_there_is_unreachable_and_a_silent_one_times_out(void **state)
{
    (void)state;
    struct objects *objects = NULL;
    struct sl_failure why = {0};
    int64_t bytes;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    ok(objects_http_open(url, &quick, &objects, &why), &why);
    assert_int_equal(objects_size(objects, NULL, "k", &bytes, &why), SL_EUNREACH);
    assert_non_null(strstr(why.message, "127.0.0.1"));
    /* A full queue of connections: the handshake is never answered. */
    assert_int_equal(listen(listener, 0), 0);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&address, length);
    }
    int64_t start_ns = sl_now_ns();
    assert_int_equal(objects_size(objects, NULL, "k", &bytes, &why), SL_ETIMEDOUT);
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(30));
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
    objects_close(&objects);
}

static void test_addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"",
                               "127.0.0.1:8800",
                               "ftp://host",
                               "file:///etc",
                               "http://",
                               "http://user:pw@host",
                               "http://host/path",
                               "http://host?x",
                               "http://host\r\nX: y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct objects *objects = NULL;
        struct sl_failure why = {0};
        assert_int_equal(objects_open_http(bad[i], &objects, &why), SL_EINVAL);
        assert_non_null(strstr(why.message, "http://host:port"));
        assert_null(objects);
    }
    struct objects *objects = NULL;
    assert_int_equal(objects_open_http("http://[::1]:8800//", &objects, NULL), SL_OK);
    objects_close(&objects);
}

static atomic_int failures;

static void *many_run(void *arg)
{
    struct fixture *f = arg;
    uint8_t into[1000];
    size_t got;
    for (int i = 0; i < 20; i++)
        if (objects_get_range(f->objects, TICKET, "k", 0, into, sizeof into, &got, NULL) != SL_OK ||
            got != sizeof into)
            atomic_fetch_add(&failures, 1);
    return NULL;
}

static void test_requests_at_once_are_bounded_and_the_others_wait(void **state)
{
    struct fixture *f = *state;
    struct sl_failure why = {0};
    ok(build_put(f->objects, TICKET, "k", 1000, 1, &why), &why);
    pthread_t threads[48];
    for (int i = 0; i < 48; i++)
        pthread_create(&threads[i], NULL, many_run, f);
    for (int i = 0; i < 48; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
    assert_true(server_at_once_max(f->server) <= OBJECTS_HTTP_HANDLES_MAX);
    assert_true(server_connections(f->server) <= OBJECTS_HTTP_HANDLES_MAX);
}

int main(void)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not be asked */
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        CASE(test_connections_are_kept),
        CASE(test_refusals_have_their_codes_and_say_the_answer),
        CASE(test_wrong_ticket_is_refused_and_no_ticket_is_ever_shown),
        CASE(test_broken_answers_are_failures_and_never_bytes),
        CASE(test_short_ranges_are_asked_for_again_until_complete),
        CASE(test_closed_idle_connection_is_replaced_without_a_word),
        CASE(test_put_broken_off_leaves_nothing_and_its_repeat_stores_once),
        CASE(test_nobody_there_is_unreachable_and_a_silent_one_times_out),
        CASE(test_addresses_that_are_none_are_refused),
        CASE(test_requests_at_once_are_bounded_and_the_others_wait),
    };
#undef CASE
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
