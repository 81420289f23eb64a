/* tests/wire/wire_daemon.h: the wire side of a daemon that echoes, holds or drops what it is sent. */
#ifndef SL_TESTS_WIRE_DAEMON_H
#define SL_TESTS_WIRE_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "wire/wire_transport.h"

#define PENDING_MAX 64

/* Answers "hold..." when told to, "drop" never, anything else at once with the same bytes. */
struct daemon {
    struct wire_server *server;
    pthread_mutex_t lock;
    struct wire_pending *held[PENDING_MAX];
    char held_bytes[PENDING_MAX][64];
    int held_count;
    atomic_int requests;
    int port;
};

wire_request_fn on_request;
/* port 0: any. Zero-initialised d. */
void daemon_start(struct daemon *d, int port, const struct wire_secret *secret);
struct wire_client *client_start(int port, const struct wire_secret *secret);
/* Sends text and expects it back. */
void asks(struct wire_client *client, int lane, const char *text);

#endif
