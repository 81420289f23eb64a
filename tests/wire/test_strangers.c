#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "model/sync_types.h"
#include "tests/wire/wire_daemon.h"

/* When a listener closes, nng 1.5.2 forgets what it had allocated for peers that never got through their greeting
 * (while it listens, 20,000 such peers leave its memory as it was). This program makes such peers, so what nng
 * allocated is not counted here; test_transport counts everything. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libnng.so\n";
}

/* ---- strangers on a plain socket ---- */

static int stranger_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* The greeting of an nng REQ peer (RFC-like: 00 'S' 'P' 00, protocol 48), then a length and a body. */
static void stranger_send(int fd, uint64_t claimed, const void *bytes, size_t length)
{
    unsigned char head[16] = {0, 'S', 'P', 0, 0, 48, 0, 0};
    for (int i = 0; i < 8; i++)
        head[8 + i] = (unsigned char)(claimed >> (56 - 8 * i));
    ssize_t n = send(fd, head, sizeof head, MSG_NOSIGNAL);
    for (size_t at = 0; n > 0 && at < length; at += (size_t)n)
        n = send(fd, (const char *)bytes + at, length - at, MSG_NOSIGNAL);
}

static void test_garbage_and_false_lengths_harm_nobody(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *client = client_start(d.port, NULL);
    asks(client, 0, "before");
    for (int i = 0; i < 20; i++) {
        int fd = stranger_connect(d.port);
        const char *garbage = "GET / HTTP/1.1\r\nHost: sluice\r\n\r\n";
        send(fd, garbage, strlen(garbage), MSG_NOSIGNAL);
        close(fd);
        fd = stranger_connect(d.port);
        stranger_send(fd, UINT64_C(1) << 32, "x", 1); /* 4 GiB claimed */
        close(fd);
        fd = stranger_connect(d.port);
        stranger_send(fd, 3, "abc", 3); /* too short for a request's number */
        close(fd);
        fd = stranger_connect(d.port);
        close(fd);
    }
    asks(client, 0, "after");
    asks(client, 1, "after");
    wire_client_close(&client);
    wire_server_close(&d.server);
}

static void test_a_message_over_its_limit_is_refused_and_counted(void **state)
{
    (void)state;
    struct daemon d = {0};
    daemon_start(&d, 0, NULL);
    struct wire_client *client = client_start(d.port, NULL);
    size_t length = SYNC_BYTES_MAX;
    char *bytes = malloc(length + 8);
    memset(bytes, 'b', length + 8);
    void *answer;
    size_t answer_length;
    assert_int_equal(
        wire_client_ask(client, 0, bytes, length, SL_S_TO_NS(10), &answer, &answer_length, NULL),
        SL_OK);
    assert_int_equal(answer_length, length);
    free(answer);
    assert_int_equal(
        wire_client_ask(client, 0, bytes, length + 1, SL_S_TO_NS(1), &answer, &answer_length, NULL),
        SL_ELIMIT);
    memcpy(bytes, "\x80\x00\x00\x01", 4); /* a request's number */
    int fd = stranger_connect(d.port);
    stranger_send(fd, length + 5, bytes, length + 5);
    struct wire_server_stats stats = {0};
    for (int i = 0; i < 1000 && stats.refused_size == 0; i++) {
        usleep(2000);
        wire_server_stats(d.server, &stats);
    }
    close(fd);
    assert_int_equal(stats.refused_size, 1);
    assert_int_equal(atomic_load(&d.requests), 1);
    free(bytes);
    wire_client_close(&client);
    wire_server_close(&d.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_and_false_lengths_harm_nobody),
        cmocka_unit_test(test_a_message_over_its_limit_is_refused_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
