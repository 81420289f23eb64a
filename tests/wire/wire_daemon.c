#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/wire/wire_daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

void on_request(void *arg, struct wire_pending *pending, const void *bytes, size_t length)
{
    struct daemon *d = arg;
    atomic_fetch_add(&d->requests, 1);
    if (length >= 4 && memcmp(bytes, "hold", 4) == 0) {
        pthread_mutex_lock(&d->lock);
        assert_true(d->held_count < PENDING_MAX);
        memset(d->held_bytes[d->held_count], 0, sizeof d->held_bytes[0]);
        memcpy(d->held_bytes[d->held_count], bytes, length < 63 ? length : 63);
        d->held[d->held_count++] = pending;
        pthread_mutex_unlock(&d->lock);
    } else if (length >= 4 && memcmp(bytes, "drop", 4) == 0) {
        wire_pending_drop(pending);
    } else {
        wire_server_reply(pending, bytes, length);
    }
}

void daemon_start(struct daemon *d, int port, const struct wire_secret *secret)
{
    char url[64];
    struct sl_failure why = {0};
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    pthread_mutex_init(&d->lock, NULL);
    int code = wire_server_open(url, secret, on_request, d, &d->server, &why);
    if (code)
        fail_msg("%s", why.message);
    d->port = wire_server_port(d->server);
    assert_true(d->port > 0);
}

struct wire_client *client_start(int port, const struct wire_secret *secret)
{
    char url[64];
    const char *urls[] = {url};
    struct wire_client *client;
    struct sl_failure why = {0};
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    int code = wire_client_open(urls, 1, secret, &client, &why);
    if (code)
        fail_msg("%s", why.message);
    return client;
}

void asks(struct wire_client *client, int lane, const char *text)
{
    void *answer;
    size_t length;
    struct sl_failure why = {0};
    int code =
        wire_client_ask(client, lane, text, strlen(text), SL_S_TO_NS(10), &answer, &length, &why);
    if (code)
        fail_msg("%s", why.message);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(answer, text, length);
    free(answer);
}
