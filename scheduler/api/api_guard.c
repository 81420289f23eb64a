#include "scheduler/api/api_guard.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"

#define LOOK_NS           SL_MS_TO_NS(250)
#define CROWDED_NS        SL_S_TO_NS(1)  /* for the headers while most connections are taken */
#define STREAM_NS         SL_S_TO_NS(60) /* in which an upload brings at least */
#define STREAM_BYTES      (64 * 1024)
#define BUCKETS           4096 /* clients remembered */
#define BUCKET_NEIGHBOURS 8

enum turn { TURN_HEADERS, TURN_BODY, TURN_STREAM, TURN_OURS };

struct connection {
    struct connection *next;
    struct connection **at; /* what points to it */
    int fd;
    uint8_t client[API_CLIENT_BYTES];
    enum turn turn;
    int64_t since_ns;
    int64_t until_ns;
    int64_t bytes; /* of a stream since since_ns */
};

struct bucket {
    uint8_t client[API_CLIENT_BYTES];
    int64_t full_at_ns; /* when it has all its tokens back; 0: never used */
};

struct api_guard {
    struct api_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t stop_asked;
    bool stopping;
    bool started;
    pthread_t thread;
    struct connection *connections;
    int count;
    int64_t late;
    int64_t turned_away;
    struct bucket buckets[BUCKETS];
};

/* ---- deadlines ---- */

/* The socket is MHD's; shut down, it ends the connection in MHD's own thread. */
static void connection_cut(struct api_guard *guard, struct connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    c->turn = TURN_OURS;
    guard->late++;
}

/* Under the lock. */
static void late_cut(struct api_guard *guard)
{
    int64_t now_ns = sl_now_ns();
    bool crowded = guard->count > guard->limits.connections / 4 * 3;
    for (struct connection *c = guard->connections; c; c = c->next) {
        if (c->turn == TURN_OURS)
            continue;
        int64_t until_ns = c->until_ns;
        if (crowded && c->turn == TURN_HEADERS && c->since_ns + CROWDED_NS < until_ns)
            until_ns = c->since_ns + CROWDED_NS;
        if (now_ns < until_ns)
            continue;
        if (c->turn == TURN_STREAM && c->bytes >= STREAM_BYTES) {
            c->bytes = 0;
            c->until_ns = now_ns + STREAM_NS;
            continue;
        }
        connection_cut(guard, c);
    }
}

/* Under the lock: with no room left, who has been idle or at its headers for the longest goes. */
static bool room_make(struct api_guard *guard)
{
    struct connection *oldest = NULL;
    if (guard->count < guard->limits.connections)
        return true;
    for (struct connection *c = guard->connections; c; c = c->next)
        if (c->turn == TURN_HEADERS && (!oldest || c->since_ns < oldest->since_ns))
            oldest = c;
    if (oldest)
        connection_cut(guard, oldest);
    return oldest != NULL;
}

static void *guard_run(void *arg)
{
    struct api_guard *guard = arg;
    pthread_mutex_lock(&guard->lock);
    while (!guard->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t at_ns = (int64_t)until.tv_sec * SL_NS_PER_S + until.tv_nsec + LOOK_NS;
        until.tv_sec = (time_t)(at_ns / SL_NS_PER_S);
        until.tv_nsec = (long)(at_ns % SL_NS_PER_S);
        pthread_cond_timedwait(&guard->stop_asked, &guard->lock, &until);
        late_cut(guard);
    }
    pthread_mutex_unlock(&guard->lock);
    return NULL;
}

int api_guard_open(const struct api_limits *limits, struct api_guard **out)
{
    struct api_guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return SL_ENOMEM;
    guard->limits = *limits;
    pthread_mutex_init(&guard->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&guard->stop_asked, &attr);
    pthread_condattr_destroy(&attr);
    guard->started = pthread_create(&guard->thread, NULL, guard_run, guard) == 0;
    if (!guard->started) {
        api_guard_close(&guard);
        return SL_ENOMEM;
    }
    *out = guard;
    return SL_OK;
}

void api_guard_close(struct api_guard **guard_at)
{
    struct api_guard *guard = *guard_at;
    if (!guard)
        return;
    *guard_at = NULL;
    pthread_mutex_lock(&guard->lock);
    guard->stopping = true;
    pthread_cond_signal(&guard->stop_asked);
    pthread_mutex_unlock(&guard->lock);
    if (guard->started)
        pthread_join(guard->thread, NULL);
    while (guard->connections) {
        struct connection *c = guard->connections;
        guard->connections = c->next;
        free(c);
    }
    pthread_cond_destroy(&guard->stop_asked);
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

/* ---- connections ---- */

/* Whoever has one IPv6 address has a whole /64 of them. */
void api_guard_client_of(const struct sockaddr *address, uint8_t client[API_CLIENT_BYTES])
{
    memset(client, 0, API_CLIENT_BYTES);
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        client[0] = 4;
        memcpy(client + 1, &in->sin_addr, sizeof in->sin_addr);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        client[0] = mapped ? 4 : 6;
        memcpy(client + 1, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    }
}

bool api_guard_admit(struct api_guard *guard, const struct sockaddr *address)
{
    uint8_t client[API_CLIENT_BYTES];
    bool bounded = guard->limits.on_loopback || !api_address_is_loopback(address);
    int count = 0;
    api_guard_client_of(address, client);
    pthread_mutex_lock(&guard->lock);
    for (const struct connection *c = guard->connections; c && bounded; c = c->next)
        count += memcmp(c->client, client, sizeof client) == 0;
    bool admitted = count < guard->limits.connections_per_address && room_make(guard);
    if (!admitted)
        guard->turned_away++;
    pthread_mutex_unlock(&guard->lock);
    return admitted;
}

static void turn_give(struct connection *c, enum turn turn, int64_t patience_ns)
{
    c->turn = turn;
    c->since_ns = sl_now_ns();
    c->until_ns = c->since_ns + patience_ns;
    c->bytes = 0;
}

void api_guard_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct api_guard *guard = arg;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct connection *c = *context;
        *context = NULL;
        if (!c)
            return;
        pthread_mutex_lock(&guard->lock);
        *c->at = c->next;
        if (c->next)
            c->next->at = c->at;
        guard->count--;
        pthread_mutex_unlock(&guard->lock);
        free(c);
        return;
    }
    struct connection *c = calloc(1, sizeof *c);
    *context = c;
    if (!c)
        return;
    /* Each answer lies where the last one lay: it is read before the next question. */
    c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (address && address->client_addr)
        api_guard_client_of(address->client_addr, c->client);
    pthread_mutex_lock(&guard->lock);
    turn_give(c, TURN_HEADERS, guard->limits.header_ns);
    c->next = guard->connections;
    c->at = &guard->connections;
    if (c->next)
        c->next->at = &c->next;
    guard->connections = c;
    guard->count++;
    pthread_mutex_unlock(&guard->lock);
}

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void turn_set(struct api_guard *guard, struct MHD_Connection *connection, enum turn turn,
                     int64_t patience_ns)
{
    struct connection *c = connection_of(connection);
    if (!c)
        return;
    pthread_mutex_lock(&guard->lock);
    turn_give(c, turn, patience_ns);
    pthread_mutex_unlock(&guard->lock);
}

void api_guard_wants_body(struct api_guard *guard, struct MHD_Connection *connection)
{
    turn_set(guard, connection, TURN_BODY, guard->limits.body_ns);
}

void api_guard_wants_stream(struct api_guard *guard, struct MHD_Connection *connection)
{
    turn_set(guard, connection, TURN_STREAM, STREAM_NS);
}

void api_guard_got(struct api_guard *guard, struct MHD_Connection *connection, size_t bytes)
{
    struct connection *c = connection_of(connection);
    if (!c)
        return;
    pthread_mutex_lock(&guard->lock);
    c->bytes += (int64_t)bytes;
    pthread_mutex_unlock(&guard->lock);
}

void api_guard_answers(struct api_guard *guard, struct MHD_Connection *connection)
{
    turn_set(guard, connection, TURN_OURS, 0);
}

void api_guard_idles(struct api_guard *guard, struct MHD_Connection *connection)
{
    turn_set(guard, connection, TURN_HEADERS, guard->limits.idle_ns + guard->limits.header_ns);
}

void api_guard_counts(struct api_guard *guard, int64_t *open, int64_t *late, int64_t *turned_away)
{
    pthread_mutex_lock(&guard->lock);
    *open = guard->count;
    *late = guard->late;
    *turned_away = guard->turned_away;
    pthread_mutex_unlock(&guard->lock);
}

/* ---- requests ---- */

/* The client's bucket, or the one among its neighbours that has been full for the longest. */
static struct bucket *bucket_find(struct api_guard *guard, const uint8_t *client)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < API_CLIENT_BYTES; i++)
        hash = (hash ^ client[i]) * UINT64_C(0x100000001b3);
    struct bucket *fullest = NULL;
    for (int i = 0; i < BUCKET_NEIGHBOURS; i++) {
        struct bucket *bucket = &guard->buckets[((hash >> 20) + (uint64_t)i) % BUCKETS];
        if (memcmp(bucket->client, client, API_CLIENT_BYTES) == 0)
            return bucket;
        if (!fullest || bucket->full_at_ns < fullest->full_at_ns)
            fullest = bucket;
    }
    memcpy(fullest->client, client, API_CLIENT_BYTES);
    fullest->full_at_ns = 0;
    return fullest;
}

bool api_guard_request(struct api_guard *guard, const uint8_t client[API_CLIENT_BYTES], int *wait_s)
{
    if (guard->limits.requests_per_s <= 0)
        return true;
    int64_t one_ns = SL_NS_PER_S / guard->limits.requests_per_s;
    int64_t all_ns = one_ns * (guard->limits.burst > 0 ? guard->limits.burst : 1);
    int64_t now_ns = sl_now_ns();
    pthread_mutex_lock(&guard->lock);
    struct bucket *bucket = bucket_find(guard, client);
    int64_t full_at_ns = bucket->full_at_ns > now_ns ? bucket->full_at_ns : now_ns;
    bool may = full_at_ns + one_ns <= now_ns + all_ns;
    if (may)
        bucket->full_at_ns = full_at_ns + one_ns;
    pthread_mutex_unlock(&guard->lock);
    if (!may)
        *wait_s = (int)((full_at_ns + one_ns - now_ns - all_ns + SL_NS_PER_S - 1) / SL_NS_PER_S);
    return may;
}
