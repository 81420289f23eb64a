/* One REQ socket with a context per lane.
 *
 * nng 1.5.2 can crash or leak when a receive is cancelled while its send runs. So nothing is ever cancelled
 * here: a wait that ends early abandons the whole connection, and the next question opens a fresh one. The
 * other lane's wait then ends as unreachable, which its caller treats as any lost connection.
 * Closing a socket may never return either: see WIRE_QUIET_NS. So a thread of its own closes each, and nobody
 * waits for it but wire_client_close, for a while.
 *
 * Lock order: `lock` is never held while nng is called, because nng calls back with its own locks held.
 */
#include "wire/wire_transport.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "base/log.h"
#include "base/time.h"
#include "model/sync_types.h"
#include "wire/wire_mac.h"
#include "wire/wire_url.h"

#define LANES             2
#define URLS_MAX          16
#define CONNECT_NS        (5 * SL_NS_PER_S)
#define CLOSE_NS          (2 * SL_NS_PER_S)
#define RECONNECT_MIN_MS  100
#define RECONNECT_MAX_MS  2000
#define RECEIVE_BYTES_MAX (SYNC_BYTES_MAX + WIRE_MAC_BYTES + 1024)

enum lane_state { LANE_IDLE, LANE_SENDING, LANE_RECEIVING, LANE_DONE };

struct lane {
    struct connection *connection;
    nng_ctx context;
    nng_aio *aio;
    enum lane_state state;
    int result;
    int pipe; /* that took the question; 0: not known yet */
};

/* A socket and what belongs to it; replaced as a whole. Freed by its closing thread. */
struct connection {
    struct wire_client *client;
    nng_socket socket;
    int pipe;    /* id of its pipe; 0: not connected */
    int users;   /* lanes that wait on it */
    bool broken; /* being closed; waits on it end */
    struct lane lanes[LANES];
};

struct wire_client {
    struct wire_url urls[URLS_MAX];
    int url_count;
    struct wire_secret secret;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int url_at;
    bool opening;               /* a thread makes a connection */
    struct connection *current; /* or NULL */
    int askers;                 /* threads inside wire_client_ask */
    int closers;                /* connections being closed */
    bool interrupted[LANES];
};

static void pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct connection *connection = arg;
    struct wire_client *client = connection->client;
    int id = nng_pipe_id(pipe);
    pthread_mutex_lock(&client->lock);
    /* A pipe that failed early is removed without having been added, hence ids and not a count. */
    if (event == NNG_PIPE_EV_ADD_POST)
        connection->pipe = id;
    else if (connection->pipe == id)
        connection->pipe = 0;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

/* The end of a send or of a receive; runs on a thread of nng's. */
static void lane_step(void *arg)
{
    struct lane *lane = arg;
    struct wire_client *client = lane->connection->client;
    int result = nng_aio_result(lane->aio);
    pthread_mutex_lock(&client->lock);
    bool sent = lane->state == LANE_SENDING && result == 0;
    if (sent) {
        lane->state = LANE_RECEIVING;
        lane->pipe = lane->connection->pipe;
    } else {
        lane->state = LANE_DONE;
        lane->result = result;
    }
    pthread_cond_broadcast(&client->changed);
    nng_ctx context = lane->context;
    pthread_mutex_unlock(&client->lock);
    if (sent)
        nng_ctx_recv(context, lane->aio);
}

static void connection_free(struct connection *connection)
{
    for (int i = 0; i < LANES; i++) {
        struct lane *lane = &connection->lanes[i];
        /* A question that never left, or an answer that nobody waited for any more. */
        nng_msg *message = lane->aio ? nng_aio_get_msg(lane->aio) : NULL;
        if (message)
            nng_msg_free(message);
        nng_aio_free(lane->aio);
    }
    free(connection);
}

static struct connection *connection_open(struct wire_client *client, const struct wire_url *url,
                                          struct sl_failure *why)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        goto no_memory;
    connection->client = client;
    for (int i = 0; i < LANES; i++) {
        connection->lanes[i].connection = connection;
        if (nng_aio_alloc(&connection->lanes[i].aio, lane_step, &connection->lanes[i]) != 0)
            goto no_memory;
    }
    nng_socket socket;
    nng_dialer dialer;
    if (nng_req0_open(&socket) != 0)
        goto no_memory;
    int result;
    if ((result = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, RECEIVE_BYTES_MAX)) ||
        (result = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) ||
        (result = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, pipe_changed, connection)) ||
        (result = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, pipe_changed, connection)) ||
        (result = nng_dialer_create(&dialer, socket, url->text)) ||
        (result = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS)) ||
        (result = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS)) ||
        (result = nng_ctx_open(&connection->lanes[0].context, socket)) ||
        (result = nng_ctx_open(&connection->lanes[1].context, socket)) ||
        (result = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK))) {
        nng_close(socket);
        connection_free(connection);
        sl_fail(why, SL_EUNREACH, "cannot dial %s: %s", url->text, nng_strerror(result));
        return NULL;
    }
    connection->socket = socket;
    return connection;
no_memory:
    if (connection)
        connection_free(connection);
    sl_fail(why, SL_ENOMEM, "not enough memory to dial %s", url->text);
    return NULL;
}

/* With the lock held on entry and on return: a connection that may be asked over, used once more. */
static struct connection *connection_use(struct wire_client *client, struct sl_failure *why)
{
    while (client->opening)
        pthread_cond_wait(&client->changed, &client->lock);
    if (!client->current) {
        client->opening = true;
        const struct wire_url *url = &client->urls[client->url_at];
        pthread_mutex_unlock(&client->lock);
        struct connection *connection = connection_open(client, url, why);
        pthread_mutex_lock(&client->lock);
        client->opening = false;
        client->current = connection;
        pthread_cond_broadcast(&client->changed);
    }
    if (client->current)
        client->current->users++;
    return client->current;
}

static void *connection_close(void *arg)
{
    static const struct timespec quiet = {.tv_nsec = WIRE_QUIET_NS};
    struct connection *connection = arg;
    struct wire_client *client = connection->client;
    nanosleep(&quiet, NULL);
    nng_close(connection->socket);
    pthread_mutex_lock(&client->lock);
    while (connection->users)
        pthread_cond_wait(&client->changed, &client->lock);
    pthread_mutex_unlock(&client->lock);
    connection_free(connection);
    pthread_mutex_lock(&client->lock);
    client->closers--;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

/* With the lock held: ends every wait on the connection. */
static void connection_break(struct connection *connection)
{
    struct wire_client *client = connection->client;
    if (connection->broken)
        return;
    connection->broken = true;
    if (client->current == connection)
        client->current = NULL;
    client->closers++;
    pthread_cond_broadcast(&client->changed);
    pthread_t thread;
    if (pthread_create(&thread, NULL, connection_close, connection) == 0)
        pthread_detach(thread);
    else
        sl_warn(NULL, "a connection stays open: no thread can be started to close it");
}

int wire_client_open(const char *const *urls, int url_count, const struct wire_secret *secret,
                     struct wire_client **out, struct sl_failure *why)
{
    if (url_count < 1 || url_count > URLS_MAX)
        return sl_fail(why, SL_EINVAL, "between 1 and %d wire addresses are taken, not %d",
                       URLS_MAX, url_count);
    struct wire_client *client = calloc(1, sizeof *client);
    if (!client)
        return sl_fail(why, SL_ENOMEM, "not enough memory to dial");
    int code = SL_OK;
    for (int i = 0; i < url_count && !code; i++)
        code = wire_url_parse(urls[i], &client->urls[i], why);
    client->url_count = url_count;
    if (secret)
        client->secret = *secret;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
    if (code) {
        wire_client_close(&client);
        return code;
    }
    *out = client;
    return SL_OK;
}

const char *wire_client_host(const struct wire_client *client)
{
    struct wire_client *c = (struct wire_client *)client;
    pthread_mutex_lock(&c->lock);
    const char *host = c->urls[c->url_at].host; /* never changes */
    pthread_mutex_unlock(&c->lock);
    return host;
}

/* Waits for a change until deadline_ns of sl_now_ns. */
static void changed_wait(struct wire_client *client, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - sl_now_ns();
    if (left_ns < 0)
        left_ns = 0;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + left_ns % SL_NS_PER_S;
    until.tv_sec += (time_t)(left_ns / SL_NS_PER_S + ns / SL_NS_PER_S);
    until.tv_nsec = (long)(ns % SL_NS_PER_S);
    pthread_cond_timedwait(&client->changed, &client->lock, &until);
}

/* With the lock held: until the lane is done, or why it will not be. */
static int lane_wait(struct lane *lane, const bool *interrupted, const struct wire_url *url,
                     int64_t timeout_ns, struct sl_failure *why)
{
    struct connection *connection = lane->connection;
    int64_t start_ns = sl_now_ns();
    int64_t deadline_ns = start_ns + timeout_ns;
    int64_t connected_ns = start_ns; /* when a connection was last there */
    while (lane->state != LANE_DONE) {
        int64_t now_ns = sl_now_ns();
        bool connected = connection->pipe != 0;
        if (connected)
            connected_ns = now_ns;
        if (*interrupted)
            return sl_fail(why, SL_ECANCELLED, "the wait was ended");
        if (connection->broken)
            return sl_fail(why, SL_EUNREACH, "the connection to %s was replaced", url->text);
        if (lane->state == LANE_RECEIVING && lane->pipe == 0)
            lane->pipe = connection->pipe; /* added only after its first message */
        /* With its resending switched off nng would wait for ever for the answer to a lost question. */
        if (lane->state == LANE_RECEIVING && lane->pipe && lane->pipe != connection->pipe)
            return sl_fail(why, SL_EUNREACH, "the connection to %s was lost", url->text);
        if (!connected && (now_ns - connected_ns >= CONNECT_NS || now_ns >= deadline_ns))
            return sl_fail(why, SL_EUNREACH, "no daemon answers at %s", url->text);
        if (now_ns >= deadline_ns)
            return sl_fail(why, SL_ETIMEDOUT,
                           "the daemon at %s took the request but did not answer in time",
                           url->text);
        int64_t until_ns = connected ? deadline_ns : connected_ns + CONNECT_NS;
        changed_wait(connection->client, until_ns < deadline_ns ? until_ns : deadline_ns);
    }
    return lane->result == 0 ? SL_OK
                             : sl_fail(why, SL_EUNREACH, "the connection to %s was lost: %s",
                                       url->text, nng_strerror(lane->result));
}

/* Takes the answer out of the lane's aio. */
static int answer_take(struct wire_client *client, struct lane *lane, void **out,
                       size_t *out_length, struct sl_failure *why)
{
    nng_msg *message = nng_aio_get_msg(lane->aio);
    nng_aio_set_msg(lane->aio, NULL);
    const uint8_t *body = nng_msg_body(message);
    size_t length = nng_msg_len(message), mac_bytes = wire_mac_bytes(&client->secret);
    int code = SL_OK;
    if (length < mac_bytes ||
        (mac_bytes && !wire_mac_valid(&client->secret, WIRE_TO_AGENT, body + mac_bytes,
                                      length - mac_bytes, body)))
        code = sl_fail(why, SL_EPROTO,
                       "the answer does not carry this farm's secret; daemon and agent need the "
                       "same farm.secret_file");
    length -= code ? 0 : mac_bytes;
    void *copy = code ? NULL : malloc(length + 1);
    if (!code && !copy)
        code = sl_fail(why, SL_ENOMEM, "not enough memory for an answer");
    if (!code) {
        memcpy(copy, body + mac_bytes, length);
        *out = copy;
        *out_length = length;
    }
    nng_msg_free(message);
    return code;
}

static int message_make(struct wire_client *client, const void *bytes, size_t length, nng_msg **out)
{
    size_t mac_bytes = wire_mac_bytes(&client->secret);
    nng_msg *message;
    if (nng_msg_alloc(&message, mac_bytes + length) != 0)
        return SL_ENOMEM;
    uint8_t *body = nng_msg_body(message);
    if (length)
        memcpy(body + mac_bytes, bytes, length);
    if (mac_bytes && wire_mac_make(&client->secret, WIRE_TO_DAEMON, bytes, length, body)) {
        nng_msg_free(message);
        return SL_ENOMEM;
    }
    *out = message;
    return SL_OK;
}

int wire_client_ask(struct wire_client *client, int lane_number, const void *bytes, size_t length,
                    int64_t timeout_ns, void **out, size_t *out_length, struct sl_failure *why)
{
    if (length > SYNC_BYTES_MAX)
        return sl_fail(why, SL_ELIMIT, "a request of %zu bytes; at most %d are sent", length,
                       SYNC_BYTES_MAX);
    nng_msg *message = NULL;
    if (message_make(client, bytes, length, &message))
        return sl_fail(why, SL_ENOMEM, "not enough memory for a request");
    bool *interrupted = &client->interrupted[lane_number];
    pthread_mutex_lock(&client->lock);
    client->askers++;
    int code = *interrupted ? sl_fail(why, SL_ECANCELLED, "the wait was ended") : SL_OK;
    struct connection *connection = code ? NULL : connection_use(client, why);
    struct lane *lane = connection ? &connection->lanes[lane_number] : NULL;
    const struct wire_url *url = &client->urls[client->url_at];
    if (lane) {
        *lane = (struct lane){.connection = connection,
                              .context = lane->context,
                              .aio = lane->aio,
                              .state = LANE_SENDING};
        pthread_mutex_unlock(&client->lock);
        nng_aio_set_msg(lane->aio, message);
        nng_ctx_send(lane->context, lane->aio);
        pthread_mutex_lock(&client->lock);
        code = lane_wait(lane, interrupted, url, timeout_ns, why);
        if (lane->state == LANE_DONE && lane->result == 0) {
            pthread_mutex_unlock(&client->lock);
            nng_aio_wait(lane->aio); /* its callback has said so and is about to return */
            code = answer_take(client, lane, out, out_length, why);
            pthread_mutex_lock(&client->lock);
        } else {
            connection_break(connection);
        }
        connection->users--;
    } else {
        nng_msg_free(message);
        code = code ? code : SL_EUNREACH;
    }
    *interrupted = false;
    client->askers--;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    return code;
}

void wire_client_interrupt(struct wire_client *client, int lane)
{
    pthread_mutex_lock(&client->lock);
    client->interrupted[lane] = true;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

int wire_client_next(struct wire_client *client, struct sl_failure *why)
{
    (void)why;
    pthread_mutex_lock(&client->lock);
    if (client->url_count > 1) {
        while (client->opening)
            pthread_cond_wait(&client->changed, &client->lock);
        client->url_at = (client->url_at + 1) % client->url_count;
        if (client->current)
            connection_break(client->current);
    }
    pthread_mutex_unlock(&client->lock);
    return SL_OK;
}

void wire_client_close(struct wire_client **at)
{
    struct wire_client *client = *at;
    if (!client)
        return;
    *at = NULL;
    pthread_mutex_lock(&client->lock);
    for (int i = 0; i < LANES; i++)
        client->interrupted[i] = true;
    pthread_cond_broadcast(&client->changed);
    while (client->askers)
        pthread_cond_wait(&client->changed, &client->lock);
    if (client->current)
        connection_break(client->current);
    int64_t deadline_ns = sl_now_ns() + CLOSE_NS;
    while (client->closers && sl_now_ns() < deadline_ns)
        changed_wait(client, deadline_ns);
    int closers = client->closers;
    pthread_mutex_unlock(&client->lock);
    if (closers) {
        sl_debug(NULL, "%d connections would not close; they are left to the end of the process",
                 closers);
        return;
    }
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}
