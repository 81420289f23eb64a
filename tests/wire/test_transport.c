#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "model/sync_types.h"
#include "tests/wire/wire_daemon.h"
#include "wire/wire_transport.h"

static int held_wait(struct daemon *d, int count)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&d->lock);
        int held = d->held_count;
        pthread_mutex_unlock(&d->lock);
        if (held >= count)
            return held;
        usleep(2000);
    }
    fail_msg("only some of %d requests arrived", count);
    return 0;
}

static void held_release(struct daemon *d)
{
    pthread_mutex_lock(&d->lock);
    for (int i = d->held_count; i-- > 0;) /* out of order on purpose */
        wire_server_reply(d->held[i], d->held_bytes[i], strlen(d->held_bytes[i]));
    d->held_count = 0;
    pthread_mutex_unlock(&d->lock);
}

struct asker {
    struct wire_client *client;
    const char *text;
    int lane, code;
    int64_t timeout_ns;
    struct sl_failure why;
    pthread_t thread;
};

static void *asker_run(void *arg)
{
    struct asker *a = arg;
    void *answer = NULL;
    size_t length = 0;
    a->code = wire_client_ask(a->client, a->lane, a->text, strlen(a->text), a->timeout_ns, &answer,
                              &length, &a->why);
    if (!a->code && (length != strlen(a->text) || memcmp(answer, a->text, length) != 0))
        a->code = SL_EINTERNAL;
    free(answer);
    return NULL;
}

static void asker_start(struct asker *a, struct wire_client *client, int lane, const char *text,
                        int64_t timeout_ns)
{
    *a = (struct asker){.client = client, .lane = lane, .text = text, .timeout_ns = timeout_ns};
    assert_int_equal(pthread_create(&a->thread, NULL, asker_run, a), 0);
}

static void test_a_parked_request_does_not_hold_up_the_other_lane(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *client = client_start(d.port, NULL);
    assert_string_equal(wire_client_host(client), "127.0.0.1");
    struct asker parked;
    asker_start(&parked, client, 0, "hold this", SL_S_TO_NS(10));
    held_wait(&d, 1);
    for (int i = 0; i < 100; i++) {
        char text[32];
        snprintf(text, sizeof text, "report %d", i);
        asks(client, 1, text);
    }
    held_release(&d);
    pthread_join(parked.thread, NULL);
    assert_int_equal(parked.code, SL_OK);
    wire_client_close(&client);
    wire_server_close(&d.server);
}

static void test_many_requests_are_answered_out_of_order(void **state)
{
    (void)state;
    enum { CLIENTS = 20 };
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *clients[CLIENTS];
    struct asker askers[CLIENTS];
    char texts[CLIENTS][32];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_start(d.port, NULL);
        snprintf(texts[i], sizeof texts[i], "hold %d", i);
        asker_start(&askers[i], clients[i], i % 2, texts[i], SL_S_TO_NS(10));
    }
    held_wait(&d, CLIENTS);
    held_release(&d);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].code, SL_OK);
        wire_client_close(&clients[i]);
    }
    wire_server_close(&d.server);
}

static void test_a_wait_can_be_interrupted_and_the_lane_used_again(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *client = client_start(d.port, NULL);
    for (int round = 0; round < 5; round++) {
        struct asker parked;
        asker_start(&parked, client, 0, "hold this", SL_S_TO_NS(30));
        held_wait(&d, round + 1);
        wire_client_interrupt(client, 0);
        pthread_join(parked.thread, NULL);
        assert_int_equal(parked.code, SL_ECANCELLED);
        asks(client, 0, "again");
        asks(client, 1, "and the other");
    }
    held_release(&d); /* to askers that have gone: dropped */
    asks(client, 0, "still here");
    wire_client_close(&client);
    wire_server_close(&d.server);
}

static void test_silence_times_out_and_absence_is_unreachable(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *client = client_start(d.port, NULL);
    void *answer;
    size_t length;
    struct sl_failure why = {0};
    assert_int_equal(
        wire_client_ask(client, 0, "drop", 4, SL_MS_TO_NS(300), &answer, &length, &why),
        SL_ETIMEDOUT);
    asks(client, 0, "a fresh socket");
    wire_server_close(&d.server);
    assert_int_equal(wire_client_ask(client, 0, "x", 1, SL_MS_TO_NS(300), &answer, &length, &why),
                     SL_EUNREACH);
    assert_non_null(strstr(why.message, "127.0.0.1"));
    wire_client_close(&client);
}

static void test_lanes_recover_when_the_daemon_restarts(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    int port = d.port;
    struct wire_client *client = client_start(port, NULL);
    asks(client, 0, "before");
    struct asker parked;
    asker_start(&parked, client, 0, "hold", SL_S_TO_NS(20));
    held_wait(&d, 1);
    int64_t start_ns = sl_now_ns();
    wire_server_close(&d.server);
    held_release(&d); /* after the close: dropped, and the last one frees the server */
    pthread_join(parked.thread, NULL);
    assert_int_equal(parked.code, SL_EUNREACH);
    assert_true(sl_now_ns() - start_ns < SL_S_TO_NS(2)); /* not at its timeout */
    struct daemon again = {0};
    daemon_start(&again, port, NULL);
    asks(client, 1, "after");
    asks(client, 0, "after");
    wire_client_close(&client);
    wire_server_close(&again.server);
}

static void test_a_client_that_left_before_its_answer_harms_nobody(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    for (int i = 0; i < 5; i++) {
        struct wire_client *client = client_start(d.port, NULL);
        struct asker parked;
        asker_start(&parked, client, 0, "hold", SL_S_TO_NS(20));
        held_wait(&d, i + 1);
        wire_client_interrupt(client, 0);
        pthread_join(parked.thread, NULL);
        wire_client_close(&client);
    }
    held_release(&d);
    struct wire_client *client = client_start(d.port, NULL);
    asks(client, 0, "alive");
    wire_client_close(&client);
    wire_server_close(&d.server);
}

static void test_a_wrong_secret_is_refused_and_counted(void **state)
{
    (void)state;
    struct wire_secret right = {.bytes = "the right secret of this farm", .length = 29};
    struct wire_secret wrong = {.bytes = "the wrong secret of this farm", .length = 29};
    struct daemon d = {0};
    daemon_start(&d, 0, &right);
    struct wire_client *good = client_start(d.port, &right);
    struct wire_client *bad = client_start(d.port, &wrong);
    struct wire_client *none = client_start(d.port, NULL);
    void *answer;
    size_t length;
    asks(good, 0, "hello");
    assert_int_equal(wire_client_ask(bad, 0, "hello", 5, SL_S_TO_NS(2), &answer, &length, NULL),
                     SL_ETIMEDOUT);
    assert_int_equal(wire_client_ask(none, 0, "hello", 5, SL_S_TO_NS(2), &answer, &length, NULL),
                     SL_ETIMEDOUT);
    asks(good, 0, "hello again");
    struct wire_server_stats stats;
    wire_server_stats(d.server, &stats);
    assert_int_equal(stats.requests, 2);
    assert_int_equal(stats.replies, 2);
    assert_int_equal(stats.refused_mac, 2);
    assert_int_equal(atomic_load(&d.requests), 2);
    wire_client_close(&good);
    wire_client_close(&bad);
    wire_client_close(&none);
    wire_server_close(&d.server);
}

static void test_an_answer_without_the_secret_is_not_believed(void **state)
{
    (void)state;
    struct wire_secret secret = {.bytes = "secret", .length = 6};
    struct daemon d = {0};
    daemon_start(&d, 0, NULL); /* an impostor: echoes, mark and all, without knowing the secret */
    struct wire_client *client = client_start(d.port, &secret);
    void *answer;
    size_t length;
    struct sl_failure why = {0};
    assert_int_equal(wire_client_ask(client, 0, "hello", 5, SL_S_TO_NS(5), &answer, &length, &why),
                     SL_EPROTO);
    assert_non_null(strstr(why.message, "farm.secret_file"));
    wire_client_close(&client);
    wire_server_close(&d.server);
}

/* ---- addresses ---- */

static void test_other_machines_are_served_only_with_a_secret(void **state)
{
    (void)state;
    struct wire_server *server = NULL;
    struct wire_secret secret = {.bytes = "secret", .length = 6};
    struct sl_failure why = {0};
    assert_int_equal(wire_server_open("tcp://0.0.0.0:0", NULL, on_request, NULL, &server, &why),
                     SL_EACCES);
    assert_non_null(strstr(why.message, "farm.secret_file"));
    assert_null(server);
    assert_int_equal(wire_server_open("tcp://0.0.0.0:0", &secret, on_request, NULL, &server, &why),
                     SL_OK);
    wire_server_close(&server);
}

static void test_a_taken_port_is_named(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    char url[64], port[16];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", d.port);
    snprintf(port, sizeof port, "port %d", d.port);
    struct wire_server *second = NULL;
    struct sl_failure why = {0};
    assert_int_equal(wire_server_open(url, NULL, on_request, &d, &second, &why), SL_EBUSY);
    assert_non_null(strstr(why.message, port));
    wire_server_close(&d.server);
}

static void test_addresses_of_another_kind_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "127.0.0.1:8801",
                                      "ipc:///tmp/x",
                                      "tcp://",
                                      "tcp://host",
                                      "tcp://host:",
                                      "tcp://host:99999",
                                      "tcp://host:12x",
                                      "tcp://:8801",
                                      "http://host:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wire_client *client = NULL;
        struct sl_failure why = {0};
        assert_int_equal(wire_client_open(&bad[i], 1, NULL, &client, &why), SL_EINVAL);
        assert_null(client);
        assert_non_null(strstr(why.message, "tcp://HOST:PORT"));
    }
}

static void test_the_next_address_is_dialed_when_the_first_is_dead(void **state)
{
    (void)state;
    struct daemon dead = {0}, d = {0};
    daemon_start(&dead, 0, NULL);
    int dead_port = dead.port;
    wire_server_close(&dead.server);
    daemon_start(&d, 0, NULL);
    char first[64], second[64];
    snprintf(first, sizeof first, "tcp://127.0.0.1:%d", dead_port);
    snprintf(second, sizeof second, "tcp://localhost:%d", d.port);
    const char *urls[] = {first, second};
    struct wire_client *client;
    assert_int_equal(wire_client_open(urls, 2, NULL, &client, NULL), SL_OK);
    void *answer;
    size_t length;
    assert_int_equal(wire_client_ask(client, 0, "x", 1, SL_MS_TO_NS(200), &answer, &length, NULL),
                     SL_EUNREACH);
    assert_int_equal(wire_client_next(client, NULL), SL_OK);
    assert_string_equal(wire_client_host(client), "localhost");
    asks(client, 0, "found");
    wire_client_close(&client);
    wire_server_close(&d.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_parked_request_does_not_hold_up_the_other_lane),
        cmocka_unit_test(test_many_requests_are_answered_out_of_order),
        cmocka_unit_test(test_a_wait_can_be_interrupted_and_the_lane_used_again),
        cmocka_unit_test(test_silence_times_out_and_absence_is_unreachable),
        cmocka_unit_test(test_lanes_recover_when_the_daemon_restarts),
        cmocka_unit_test(test_a_client_that_left_before_its_answer_harms_nobody),
        cmocka_unit_test(test_a_wrong_secret_is_refused_and_counted),
        cmocka_unit_test(test_an_answer_without_the_secret_is_not_believed),
        cmocka_unit_test(test_other_machines_are_served_only_with_a_secret),
        cmocka_unit_test(test_a_taken_port_is_named),
        cmocka_unit_test(test_addresses_of_another_kind_are_refused),
        cmocka_unit_test(test_the_next_address_is_dialed_when_the_first_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
