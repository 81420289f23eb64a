#include "tests/objects/http_server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define HEAD_BYTES_MAX  8192

struct server {
    struct objects *objects;
    char ticket[TICKET_BYTES];
    char url[64];
    int listener;
    pthread_t acceptor;
    pthread_t threads[CONNECTIONS_MAX];
    int sockets[CONNECTIONS_MAX];
    atomic_int connections;
    atomic_int requests;
    atomic_int at_once;
    atomic_int at_once_max;
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    enum server_fault fault;
    int number;
    int left;
};

struct connection {
    struct server *server;
    int socket;
};

struct request {
    char method[8];
    char key[OBJECT_KEY_BYTES];
    char ticket[TICKET_BYTES];
    char sum[80];
    bool ranged;
    uint64_t first;
    uint64_t last;
    int64_t body_bytes;
    bool expects;
    enum server_fault fault;
    int number;
};

static bool all_send(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t put = send(fd, at, length, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        length -= (size_t)put;
    }
    return true;
}

static bool head_send(int fd, int status, int64_t length, const char *more)
{
    char head[512];
    int bytes =
        snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %" PRId64 "\r\n%s\r\n",
                 status, length, more);
    return all_send(fd, head, (size_t)bytes);
}

static bool text_send(int fd, int status, const char *text, bool body)
{
    return head_send(fd, status, (int64_t)strlen(text), "") &&
           (!body || all_send(fd, text, strlen(text)));
}

static bool reset(int fd)
{
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return false;
}

/* Up to the empty line, byte by byte: what follows stays in the socket. */
static bool head_read(int fd, char head[HEAD_BYTES_MAX])
{
    size_t length = 0;
    while (length < HEAD_BYTES_MAX - 1 && recv(fd, head + length, 1, 0) == 1) {
        head[++length] = '\0';
        if (length >= 4 && memcmp(head + length - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool request_parse(const char *head, struct request *r)
{
    *r = (struct request){0};
    if (sscanf(head, "%7s /objects/%255s HTTP/1.1", r->method, r->key) != 2)
        return false;
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (sscanf(line, "Range: bytes=%" SCNu64 "-%" SCNu64, &r->first, &r->last) == 2)
            r->ranged = true;
        sscanf(line, "Content-Length: %" SCNd64, &r->body_bytes);
        sscanf(line, "Authorization: Sluice-Ticket %511s", r->ticket);
        sscanf(line, "X-Sluice-Sha256: %64s", r->sum);
        if (strncasecmp(line, "Expect: 100-continue", 20) == 0)
            r->expects = true;
    }
    return true;
}

static int status_of(int code)
{
    switch (code) {
    case SL_OK:
        return 200;
    case SL_ENOENT:
        return 404;
    case SL_EEXIST:
        return 409;
    case SL_EACCES:
        return 403;
    case SL_ENOSPC:
        return 507;
    case SL_EINVAL:
        return 400;
    case SL_EIO:
        return 422;
    default:
        return 500;
    }
}

static bool get_answer(struct server *server, int fd, const struct request *r)
{
    int64_t bytes = 0;
    struct sl_failure why;
    int rc = objects_size(server->objects, NULL, r->key, &bytes, &why);
    bool body = strcmp(r->method, "HEAD") != 0;
    if (rc != SL_OK)
        return text_send(fd, status_of(rc), why.message, body);
    if (!body)
        return head_send(fd, 200, bytes, "Accept-Ranges: bytes\r\n");
    uint64_t first = r->ranged && r->fault != SERVER_NO_RANGE ? r->first : 0;
    uint64_t last = r->ranged && r->fault != SERVER_NO_RANGE ? r->last : (uint64_t)bytes - 1;
    if (r->ranged && r->fault != SERVER_NO_RANGE && first >= (uint64_t)bytes)
        return text_send(fd, 416, "", true);
    if (r->fault == SERVER_OTHER_RANGE)
        first++;
    if (last >= (uint64_t)bytes)
        last = (uint64_t)bytes - 1;
    if (r->fault == SERVER_SMALL && last - first >= (uint64_t)r->number)
        last = first + (uint64_t)r->number - 1;
    size_t length = bytes > 0 ? last - first + 1 : 0;
    char *data = calloc(1, length + 100);
    size_t got = 0;
    objects_get_range(server->objects, NULL, r->key, first, data, length, &got, NULL);
    char range[128] = "";
    int status = 200;
    if (r->ranged && r->fault != SERVER_NO_RANGE) {
        snprintf(range, sizeof range,
                 "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRId64 "\r\n", first, last,
                 bytes);
        status = 206;
    }
    bool going = head_send(fd, status, (int64_t)(r->fault == SERVER_LONG ? got + 100 : got), range);
    if (r->fault == SERVER_RESET) {
        going = all_send(fd, data, got / 2) && reset(fd);
    } else if (r->fault == SERVER_SHORT) {
        going = all_send(fd, data, got / 2) && false;
    } else if (going) {
        going = all_send(fd, data, r->fault == SERVER_LONG ? got + 100 : got);
    }
    free(data);
    return going;
}

static bool put_answer(struct server *server, int fd, const struct request *r)
{
    if (r->expects && !all_send(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
        return false;
    int file = memfd_create("put", MFD_CLOEXEC);
    static const size_t block_bytes = 65536;
    char *block = malloc(block_bytes);
    int64_t left = r->body_bytes;
    while (left > 0) {
        if (r->fault == SERVER_RESET && left <= r->body_bytes / 2)
            break;
        size_t want = left < (int64_t)block_bytes ? (size_t)left : block_bytes;
        ssize_t got = recv(fd, block, want, 0);
        if (got <= 0 || write(file, block, (size_t)got) != got)
            break;
        left -= got;
    }
    free(block);
    if (left > 0) {
        close(file);
        return reset(fd);
    }
    uint8_t sum[OBJECTS_SHA256_BYTES] = {0};
    for (size_t i = 0; i < sizeof sum; i++) {
        unsigned value = 0;
        sscanf(r->sum + 2 * i, "%2x", &value);
        sum[i] = (uint8_t)value;
    }
    struct sl_failure why = {0};
    int rc = objects_put_new(server->objects, NULL, r->key, file, r->body_bytes, sum, &why);
    close(file);
    if (r->fault == SERVER_REPLY_LOST)
        return reset(fd);
    return text_send(fd, rc == SL_OK ? 201 : status_of(rc), why.message, true);
}

static bool body_skip(int fd, int64_t bytes)
{
    while (bytes > 0) {
        char block[4096];
        ssize_t got = recv(fd, block, bytes < 4096 ? (size_t)bytes : 4096, 0);
        if (got <= 0)
            return false;
        bytes -= got;
    }
    return true;
}

static bool request_serve(struct server *server, int fd, struct request *r)
{
    switch (r->fault) {
    case SERVER_STATUS:
        /* The body is read first, as a daemon would, so that the connection can be kept. */
        if (!body_skip(fd, r->expects ? 0 : r->body_bytes))
            return false;
        return text_send(fd, r->number, "no, says\nthe test", strcmp(r->method, "HEAD") != 0) &&
               !r->expects;
    case SERVER_DROP:
        body_skip(fd, r->body_bytes);
        return false;
    case SERVER_STALL:
        while (!atomic_load(&server->stopping))
            usleep(10000);
        return false;
    case SERVER_GARBAGE:
        return all_send(fd, "\x16\x03\x01 what?\r\n\r\n", 14) && false;
    case SERVER_REDIRECT:
        return head_send(fd, 302, 0, "Location: /objects/elsewhere\r\n");
    default:
        break;
    }
    if (strcmp(r->ticket, server->ticket) != 0)
        return text_send(fd, 403, "the ticket does not allow it", strcmp(r->method, "HEAD") != 0) &&
               r->body_bytes == 0;
    bool going;
    if (strcmp(r->method, "PUT") == 0) {
        going = put_answer(server, fd, r);
    } else if (strcmp(r->method, "DELETE") == 0) {
        int rc = objects_delete(server->objects, NULL, r->key, NULL);
        going = head_send(fd, rc == SL_OK ? 204 : status_of(rc), 0, "");
    } else {
        going = get_answer(server, fd, r);
    }
    return going && r->fault != SERVER_CLOSE_IDLE;
}

static void fault_take(struct server *server, struct request *r)
{
    pthread_mutex_lock(&server->lock);
    if (server->left > 0) {
        server->left--;
        r->fault = server->fault;
        r->number = server->number;
    }
    pthread_mutex_unlock(&server->lock);
}

static void *connection_run(void *arg)
{
    struct connection connection = *(struct connection *)arg;
    free(arg);
    struct server *server = connection.server;
    char head[HEAD_BYTES_MAX];
    struct request r;
    bool going = true;
    while (going && head_read(connection.socket, head) && request_parse(head, &r)) {
        atomic_fetch_add(&server->requests, 1);
        int now = atomic_fetch_add(&server->at_once, 1) + 1;
        int most = atomic_load(&server->at_once_max);
        while (now > most && !atomic_compare_exchange_weak(&server->at_once_max, &most, now))
            ;
        fault_take(server, &r);
        going = request_serve(server, connection.socket, &r);
        atomic_fetch_sub(&server->at_once, 1);
    }
    shutdown(connection.socket, SHUT_WR);
    struct linger linger;
    socklen_t bytes = sizeof linger;
    getsockopt(connection.socket, SOL_SOCKET, SO_LINGER, &linger, &bytes);
    /* The number stays taken until the server stops, so that no other file is shut down then. */
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (linger.l_onoff)
        connect(connection.socket, &none, sizeof none); /* sends the reset */
    return NULL;
}

static void *accept_run(void *arg)
{
    struct server *server = arg;
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        int i = atomic_load(&server->connections);
        if (i == CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        struct connection *connection = malloc(sizeof *connection);
        *connection = (struct connection){server, fd};
        server->sockets[i] = fd;
        pthread_create(&server->threads[i], NULL, connection_run, connection);
        atomic_store(&server->connections, i + 1);
    }
}

struct server *server_start(const char *folder, const char *ticket)
{
    struct server *server = calloc(1, sizeof *server);
    if (objects_open_local(folder, true, &server->objects, NULL, NULL) != SL_OK)
        abort();
    snprintf(server->ticket, sizeof server->ticket, "%s", ticket ? ticket : "");
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    if (bind(server->listener, (struct sockaddr *)&address, bytes) != 0 ||
        listen(server->listener, 128) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &bytes) != 0)
        abort();
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    pthread_create(&server->acceptor, NULL, accept_run, server);
    return server;
}

void server_stop(struct server **server)
{
    struct server *s = *server;
    atomic_store(&s->stopping, true);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    for (int i = 0; i < atomic_load(&s->connections); i++) {
        shutdown(s->sockets[i], SHUT_RDWR);
        pthread_join(s->threads[i], NULL);
        close(s->sockets[i]);
    }
    pthread_mutex_destroy(&s->lock);
    objects_close(&s->objects);
    free(s);
    *server = NULL;
}

const char *server_url(const struct server *server)
{
    return server->url;
}

void server_fault_set(struct server *server, enum server_fault fault, int number, int count)
{
    pthread_mutex_lock(&server->lock);
    server->fault = fault;
    server->number = number;
    server->left = count;
    pthread_mutex_unlock(&server->lock);
}

int server_connections(const struct server *server)
{
    return atomic_load(&server->connections);
}

int server_requests(const struct server *server)
{
    return atomic_load(&server->requests);
}

int server_at_once_max(const struct server *server)
{
    return atomic_load(&server->at_once_max);
}
