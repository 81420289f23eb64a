#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "scheduler/api/api_http.h"

/* ---- one request ---- */

static void request_free(struct api_request *request)
{
    if (request->route && request->route->stream && request->state)
        request->route->stream->drop(request);
    if (request->pending)
        MHD_destroy_response(request->pending);
    sl_buf_fini(&request->body);
    free(request->path_copy);
    free(request);
}

static bool request_has_body(struct api_request *request)
{
    return request->content_length > 0 || api_header(request, "Transfer-Encoding") != NULL;
}

static struct api_request *request_new(struct api *api, struct MHD_Connection *connection,
                                       const char *url, const char *method)
{
    struct api_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->path_copy = strdup(url);
    if (!request->path_copy) {
        free(request);
        return NULL;
    }
    request->api = api;
    request->connection = connection;
    request->path = url;
    request->method = method;
    request->content_length = -1;
    request->began_ns = sl_now_ns();
    const char *length = api_header(request, "Content-Length");
    if (length)
        request->content_length = strtoll(length, NULL, 10);
    return request;
}

/* Whether a refusal waits until the body has been read, so that the client gets to see it. */
static bool refusal_waits(struct api_request *request)
{
    return request_has_body(request) && !api_header(request, "Expect") &&
           request->content_length <= API_DISCARD_BYTES;
}

/* The largest body that is held whole for this route. */
static int64_t body_bytes_max(const struct api_request *request)
{
    int64_t own = request->route->body_bytes_max;
    return own ? own : request->api->config.limits.body_bytes_max;
}

/* False after having replied 429. Whoever has a token is counted by it, else by the address; agents are
 * known by their tickets, and not counted. */
static bool rate_check(struct api_request *request)
{
    const struct api *api = request->api;
    uint8_t client[API_CLIENT_BYTES];
    int wait_s = 1;
    bool exempt = (request->local && !api->config.limits.on_loopback) ||
                  (request->route && request->route->scopes & API_TICKET);
    if (exempt)
        return true;
    if (request->who.scopes)
        memcpy(client, request->who.sha256, sizeof client);
    else
        api_guard_client_of(
            MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                ->client_addr,
            client);
    if (api_guard_request(api->guard, client, &wait_s))
        return true;
    request->retry_after_s = wait_s;
    api_reply_error(request, MHD_HTTP_TOO_MANY_REQUESTS, "limit",
                    json_pack("{s:i}", "retry_after_seconds", wait_s),
                    "more than %d requests a second (daemon.api.rate); come again in %d s",
                    api->config.limits.requests_per_s, wait_s);
    return false;
}

static enum MHD_Result request_begin(struct api_request *request)
{
    api_who_find(request);
    request->route = api_route_find(request);
    bool goes_on =
        !request->replied && !request->refused && rate_check(request) && api_access_check(request);
    if (goes_on && !request->route->stream && request->content_length > body_bytes_max(request)) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the body has %lld bytes; at most %lld are taken here",
                        (long long)request->content_length, (long long)body_bytes_max(request));
        goes_on = false;
    }
    if (goes_on && request->route->stream)
        goes_on = request->route->stream->begin(request);
    if (request->refused || (goes_on && !request->route->stream))
        api_guard_wants_body(request->api->guard, request->connection);
    else if (goes_on)
        api_guard_wants_stream(request->api->guard, request->connection);
    return goes_on ? MHD_YES : request->queued;
}

static enum MHD_Result request_data(struct api_request *request, const char *data, size_t *length)
{
    size_t take = *length;
    *length = 0;
    api_guard_got(request->api->guard, request->connection, take);
    if (request->refused || request->overflow) {
        request->discarded += take;
        return request->discarded <= (uint64_t)4 * API_DISCARD_BYTES ? MHD_YES : MHD_NO;
    }
    if (request->route->stream) {
        request->holding = true;
        request->route->stream->data(request, data, take);
    } else if (request->body.length + take > (size_t)body_bytes_max(request)) {
        request->overflow = true;
        sl_buf_reset(&request->body);
    } else {
        sl_buf_append(&request->body, data, take);
    }
    return MHD_YES;
}

static enum MHD_Result request_end(struct api_request *request)
{
    request->holding = false;
    api_guard_answers(request->api->guard, request->connection);
    if (request->refused) {
        struct MHD_Response *response = request->pending;
        request->pending = NULL;
        api_reply(request, request->pending_status, response);
    } else if (request->overflow) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the body is larger than the %lld bytes that are taken here",
                        (long long)body_bytes_max(request));
    } else if (request->route->stream) {
        request->route->stream->end(request);
    } else {
        request->route->run(request);
    }
    return request->replied ? request->queued : MHD_NO;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *length, void **state)
{
    (void)version;
    struct api_request *request = *state;
    if (!request) {
        request = request_new(arg, connection, url, method);
        if (!request)
            return MHD_NO;
        *state = request;
        request->holding = refusal_waits(request);
        enum MHD_Result result = request_begin(request);
        request->holding = false;
        return request->refused ? MHD_YES : result;
    }
    if (*length > 0)
        return request_data(request, data, length);
    return request_end(request);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct api *api = arg;
    (void)code;
    if (*state)
        request_free(*state);
    *state = NULL;
    api_guard_idles(api->guard, connection);
}

static enum MHD_Result on_accept(void *arg, const struct sockaddr *address, socklen_t length)
{
    struct api *api = arg;
    (void)length;
    return api_guard_admit(api->guard, address) ? MHD_YES : MHD_NO;
}

static void on_log(void *arg, const char *fmt, va_list args)
{
    (void)arg;
    char line[512];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    sl_debug(NULL, "http: %s", line);
}

/* ---- life ---- */

static int listener_open(const struct api_config *config, int *out_fd, int *out_port,
                         struct sl_failure *why)
{
    char service[16];
    snprintf(service, sizeof service, "%d", config->port);
    bool any = config->host[0] == '\0' || strcmp(config->host, "*") == 0;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    if (any)
        hints.ai_family = AF_INET;
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(any ? NULL : config->host, service, &hints, &list);
    if (failed)
        return sl_fail(why, SL_EINVAL, "--http %s:%d: %s; give an address of this machine",
                       config->host, config->port, gai_strerror(failed));
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_storage bound;
    socklen_t bound_bytes = sizeof bound;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_bytes) != 0) {
        int error = errno;
        freeaddrinfo(list);
        if (fd >= 0)
            close(fd);
        if (error == EADDRINUSE)
            return sl_fail(why, SL_EBUSY,
                           "--http %s:%d: the port is taken by another program; stop it or "
                           "choose another port",
                           config->host, config->port);
        if (error == EADDRNOTAVAIL)
            return sl_fail(why, SL_EUNREACH, /* while a machine boots it may come yet */
                           "--http %s:%d: this machine does not have that address; see `ip "
                           "address`",
                           config->host, config->port);
        if (error == EACCES)
            return sl_fail(why, SL_EACCES,
                           "--http %s:%d: ports below 1024 are for root; choose another port",
                           config->host, config->port);
        return sl_fail(why, sl_error_from_errno(error), "--http %s:%d: %s", config->host,
                       config->port, strerror(error));
    }
    freeaddrinfo(list);
    *out_port = bound.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port)
                                            : ntohs(((struct sockaddr_in *)&bound)->sin_port);
    *out_fd = fd;
    return SL_OK;
}

int api_start(const struct api_config *config, struct api **out, struct sl_failure *why)
{
    if (!config->secret && !config->tokens_file && !api_host_is_loopback(config->host))
        return sl_fail(why, SL_EACCES,
                       "--http %s:%d is open to other machines, and the farm has no secret; set "
                       "farm.secret_file or daemon.api.tokens in the configuration, or listen on "
                       "127.0.0.1",
                       config->host, config->port);
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return sl_fail(why, SL_ENOMEM, "not enough memory for the HTTP side");
    api->config = *config;
    api->listener = -1;
    /* Ids go on rising over restarts, so that a follower's Last-Event-ID keeps its meaning. */
    api->event_first = api->event_next = (uint64_t)time(NULL) << 20;
    pthread_mutex_init(&api->readers_lock, NULL);
    pthread_cond_init(&api->readers_free, NULL);
    pthread_mutex_init(&api->events_lock, NULL);
    pthread_mutex_init(&api->live_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&api->events_new, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&api->traffic.lock, NULL);

    int code =
        api_tokens_open(config->tokens_file, config->secret, config->secret_bytes,
                        config->ticket_secret, config->ticket_secret_bytes, &api->tokens, why);
    if (code == SL_OK && (code = api_guard_open(&config->limits, &api->guard)) != SL_OK)
        sl_fail(why, code, "not enough memory for the HTTP side");
    if (code == SL_OK && (code = api_pages_open(config->web_dir, &api->pages)) != SL_OK)
        sl_fail(why, code, "not enough memory for the pages");
    if (code == SL_OK)
        code = listener_open(config, &api->listener, &api->port, why);
    if (code != SL_OK)
        goto fail;
    api->http = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, on_accept, api, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, api->listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
        MHD_OPTION_NOTIFY_CONNECTION, api_guard_connection, api->guard, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(config->limits.connections + API_GUARD_LEAVING), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((config->limits.idle_ns + SL_NS_PER_S - 1) / SL_NS_PER_S),
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)512 * 1024, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)64 * 1024, MHD_OPTION_END);
    if (!api->http) {
        code = sl_fail(why, SL_EIO, "the HTTP side does not start: %s", strerror(errno));
        goto fail;
    }
    api->listener = -1;
    *out = api;
    return SL_OK;
fail:
    api_stop(&api);
    return code;
}

int api_port(const struct api *api)
{
    return api->port;
}

void api_stop(struct api **api_at)
{
    struct api *api = *api_at;
    if (!api)
        return;
    *api_at = NULL;
    atomic_store(&api->stopping, true);
    pthread_mutex_lock(&api->events_lock);
    pthread_cond_broadcast(&api->events_new);
    pthread_mutex_unlock(&api->events_lock);
    if (api->http)
        MHD_stop_daemon(api->http);
    if (api->listener >= 0)
        close(api->listener);
    for (int i = 0; i < api->reader_idle; i++)
        store_close(&api->readers[i]);
    api_guard_close(&api->guard);
    api_tokens_close(&api->tokens);
    pthread_mutex_destroy(&api->traffic.lock);
    api_pages_close(&api->pages);
    api_live_fini(api);
    pthread_cond_destroy(&api->events_new);
    pthread_mutex_destroy(&api->events_lock);
    pthread_cond_destroy(&api->readers_free);
    pthread_mutex_destroy(&api->readers_lock);
    free(api);
}
