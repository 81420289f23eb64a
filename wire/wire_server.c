#include "wire/wire_transport.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "base/log.h"
#include "model/sync_types.h"
#include "wire/wire_mac.h"
#include "wire/wire_url.h"

/* nng itself cuts a peer off that announces more, without a word to us. The margin lets a message that is
 * only a little over its limit arrive, be counted and be named in the log. */
#define RECEIVE_BYTES_MAX (SYNC_BYTES_MAX + WIRE_MAC_BYTES + 64 * 1024)
#define HEADER_BYTES_MAX  128
#define STRANGERS_MAX     64
#define REPLY_TIMEOUT_MS  1000
#define CLOSE_S           2

struct wire_server {
    nng_socket socket;
    nng_aio *aio;
    struct wire_secret secret;
    wire_request_fn *on_request;
    void *arg;
    int port;
    /* One for the owner and one for each pending answer: an answer may come after the close. */
    atomic_int refs;
    atomic_bool closing;
    atomic_uint_least64_t requests, replies, refused_mac, refused_size;
    /* Addresses already complained about; only the receiving thread uses them. */
    char strangers[STRANGERS_MAX][INET6_ADDRSTRLEN];
    int stranger_count;
};

struct wire_pending {
    struct wire_server *server;
    size_t header_length;
    uint8_t header[HEADER_BYTES_MAX];
};

static void server_unref(struct wire_server *server)
{
    if (atomic_fetch_sub(&server->refs, 1) == 1)
        free(server);
}

static void address_text(nng_pipe pipe, char out[INET6_ADDRSTRLEN])
{
    nng_sockaddr address;
    strcpy(out, "?");
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &address) != 0)
        return;
    if (address.s_family == NNG_AF_INET)
        inet_ntop(AF_INET, &address.s_in.sa_addr, out, INET6_ADDRSTRLEN);
    else if (address.s_family == NNG_AF_INET6)
        inet_ntop(AF_INET6, &address.s_in6.sa_addr, out, INET6_ADDRSTRLEN);
}

static void stranger_log(struct wire_server *server, nng_msg *message, const char *what)
{
    char address[INET6_ADDRSTRLEN];
    address_text(nng_msg_get_pipe(message), address);
    for (int i = 0; i < server->stranger_count; i++)
        if (strcmp(server->strangers[i], address) == 0)
            return;
    if (server->stranger_count == STRANGERS_MAX)
        return;
    memcpy(server->strangers[server->stranger_count++], address, sizeof address);
    sl_warn(NULL, "refused a message from %s: %s (said once for this address)", address, what);
}

/* Hands one message on, or refuses it. */
static void message_take(struct wire_server *server, nng_msg *message)
{
    size_t length = nng_msg_len(message), mac_bytes = wire_mac_bytes(&server->secret);
    const uint8_t *body = nng_msg_body(message);
    size_t header_length = nng_msg_header_len(message);
    if (length > SYNC_BYTES_MAX + mac_bytes || header_length > HEADER_BYTES_MAX) {
        atomic_fetch_add(&server->refused_size, 1);
        stranger_log(server, message, "it is over 1 MiB");
        return;
    }
    if (mac_bytes &&
        (length < mac_bytes || !wire_mac_valid(&server->secret, WIRE_TO_DAEMON, body + mac_bytes,
                                               length - mac_bytes, body))) {
        atomic_fetch_add(&server->refused_mac, 1);
        stranger_log(server, message,
                     "it does not carry this farm's secret; give the agent the same "
                     "farm.secret_file");
        return;
    }
    struct wire_pending *pending = malloc(sizeof *pending);
    if (!pending)
        return; /* the agent asks again */
    pending->server = server;
    pending->header_length = header_length;
    memcpy(pending->header, nng_msg_header(message), header_length);
    atomic_fetch_add(&server->refs, 1);
    atomic_fetch_add(&server->requests, 1);
    server->on_request(server->arg, pending, body + mac_bytes, length - mac_bytes);
}

static void on_receive(void *arg)
{
    struct wire_server *server = arg;
    int result = nng_aio_result(server->aio);
    bool closing = atomic_load(&server->closing);
    if (result == 0) {
        nng_msg *message = nng_aio_get_msg(server->aio);
        nng_aio_set_msg(server->aio, NULL);
        if (!closing)
            message_take(server, message);
        nng_msg_free(message);
    }
    if (!closing && result != NNG_ECLOSED && result != NNG_ECANCELED)
        nng_recv_aio(server->socket, server->aio);
}

static int listen_failed(const struct wire_url *url, int result, struct sl_failure *why)
{
    switch (result) {
    case NNG_EADDRINUSE:
        return sl_fail(why, SL_EBUSY,
                       "port %d of %s is taken by another program; stop it or choose another with "
                       "--wire",
                       url->port, url->host);
    case NNG_EPERM:
        return sl_fail(why, SL_EACCES, "not allowed to listen on port %d of %s", url->port,
                       url->host);
    case NNG_EADDRINVAL:
        return sl_fail(why, SL_EINVAL, "cannot listen on %s: this machine has no such address",
                       url->text);
    case NNG_ENOMEM:
        return sl_fail(why, SL_ENOMEM, "cannot listen on %s: not enough memory", url->text);
    default:
        return sl_fail(why, SL_EIO, "cannot listen on %s: %s", url->text, nng_strerror(result));
    }
}

int wire_server_open(const char *url_text, const struct wire_secret *secret,
                     wire_request_fn *on_request, void *arg, struct wire_server **out,
                     struct sl_failure *why)
{
    struct wire_url url;
    int code = wire_url_parse(url_text, &url, why);
    if (code)
        return code;
    if (!url.loopback && (!secret || secret->length == 0))
        return sl_fail(why, SL_EACCES,
                       "listening on %s needs a farm secret, or anyone could take leases: name a "
                       "file with it as farm.secret_file in the configuration, or listen on "
                       "tcp://127.0.0.1:%d",
                       url.text, url.port);
    struct wire_server *server = calloc(1, sizeof *server);
    if (!server)
        return sl_fail(why, SL_ENOMEM, "not enough memory to listen on %s", url.text);
    atomic_init(&server->refs, 1);
    if (secret)
        server->secret = *secret;
    server->on_request = on_request;
    server->arg = arg;

    nng_listener listener;
    int result = nng_rep0_open_raw(&server->socket);
    if (result) {
        free(server);
        return listen_failed(&url, result, why);
    }
    if ((result = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, RECEIVE_BYTES_MAX)) ||
        (result = nng_socket_set_ms(server->socket, NNG_OPT_SENDTIMEO, REPLY_TIMEOUT_MS)) ||
        (result = nng_aio_alloc(&server->aio, on_receive, server)) ||
        (result = nng_listener_create(&listener, server->socket, url.text)) ||
        (result = nng_listener_start(listener, 0)) ||
        (result = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &server->port))) {
        nng_close(server->socket);
        nng_aio_free(server->aio);
        free(server);
        return listen_failed(&url, result, why);
    }
    nng_recv_aio(server->socket, server->aio);
    *out = server;
    return SL_OK;
}

int wire_server_port(const struct wire_server *server)
{
    return server->port;
}

void wire_server_stats(const struct wire_server *server, struct wire_server_stats *out)
{
    *out = (struct wire_server_stats){
        .requests = atomic_load(&server->requests),
        .replies = atomic_load(&server->replies),
        .refused_mac = atomic_load(&server->refused_mac),
        .refused_size = atomic_load(&server->refused_size),
    };
}

void wire_server_reply(struct wire_pending *pending, const void *bytes, size_t length)
{
    struct wire_server *server = pending->server;
    size_t mac_bytes = wire_mac_bytes(&server->secret);
    nng_msg *message;
    if (!atomic_load(&server->closing) && nng_msg_alloc(&message, mac_bytes + length) == 0) {
        uint8_t *body = nng_msg_body(message);
        if (length)
            memcpy(body + mac_bytes, bytes, length);
        bool ready = nng_msg_header_append(message, pending->header, pending->header_length) == 0 &&
                     (!mac_bytes ||
                      wire_mac_make(&server->secret, WIRE_TO_AGENT, bytes, length, body) == SL_OK);
        /* Counted first: its receiver may ask for the count before the send returns. */
        atomic_fetch_add(&server->replies, 1);
        if (!ready || nng_sendmsg(server->socket, message, 0) != 0) {
            atomic_fetch_sub(&server->replies, 1);
            nng_msg_free(message);
        }
    }
    wire_pending_drop(pending);
}

void wire_pending_drop(struct wire_pending *pending)
{
    server_unref(pending->server);
    free(pending);
}

/* For a socket whose closing does not come back; its owner goes on. */
struct closing {
    struct wire_server *server;
    sem_t done;
    atomic_int refs;
};

static void closing_unref(struct closing *closing)
{
    if (atomic_fetch_sub(&closing->refs, 1) != 1)
        return;
    sem_destroy(&closing->done);
    free(closing);
}

static void *socket_close(void *arg)
{
    static const struct timespec quiet = {.tv_nsec = WIRE_QUIET_NS};
    struct closing *closing = arg;
    nanosleep(&quiet, NULL);
    nng_close(closing->server->socket);
    nng_aio_free(closing->server->aio); /* waits for a callback that runs */
    server_unref(closing->server);
    sem_post(&closing->done);
    closing_unref(closing);
    return NULL;
}

void wire_server_close(struct wire_server **at)
{
    struct wire_server *server = *at;
    if (!server)
        return;
    *at = NULL;
    atomic_store(&server->closing, true);
    struct closing *closing = calloc(1, sizeof *closing);
    pthread_t thread;
    if (!closing || sem_init(&closing->done, 0, 0) < 0)
        return;
    closing->server = server;
    atomic_init(&closing->refs, 2);
    if (pthread_create(&thread, NULL, socket_close, closing) != 0)
        return;
    pthread_detach(thread);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSE_S;
    while (sem_timedwait(&closing->done, &until) < 0 && errno == EINTR)
        continue;
    closing_unref(closing);
}
