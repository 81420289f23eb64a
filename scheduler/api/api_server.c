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
#include "scheduler/api/api_http.h"

static const struct api_route routes[] = {
    {"POST", "/api/v1/videos", api_videos_submit},
    {"GET", "/api/v1/videos", api_videos_list},
    {"PUT", "/api/v1/videos/*/source", .stream = &api_upload_stream},
    {"GET", "/api/v1/videos/*/source", api_source_offset},
    {"GET", "/api/v1/videos/*/status", api_video_status},
    {"POST", "/api/v1/videos/*/retry", api_video_retry},
    {"POST", "/api/v1/videos/*/cancel", api_video_cancel},
    {"DELETE", "/api/v1/videos/*", api_video_delete},
    {"GET", "/api/v1/nodes", api_nodes_list},
    {"POST", "/api/v1/nodes/*/drain", api_node_drain},
    {"POST", "/api/v1/nodes/*/undrain", api_node_undrain},
    {"GET", "/api/v1/devices", api_devices_list},
    {"GET", "/api/v1/explain/*", api_explain},
    {"GET", "/api/v1/dlq", api_dead_list},
    {"GET", "/api/v1/dlq/*", api_dead_show},
    {"POST", "/api/v1/dlq/*/redrive", api_dead_redrive},
    {"POST", "/api/v1/dlq/*/drop", api_dead_drop},
    {"GET", "/api/v1/status", api_farm_status},
    {"GET", "/api/v1/events", api_events_follow},
    {"GET", "/metrics", api_metrics_show},
    {"GET", "/healthz", api_health, .open = true},
    {"GET", "/media/**", api_media_get},
    {"OPTIONS", "/media/**", api_media_options},
    {"GET", "/objects/**", api_object_get, .open = true},
    {"PUT", "/objects/**", .stream = &api_object_stream, .open = true},
    {"DELETE", "/objects/**", api_object_delete, .open = true},
};

#define ROUTE_COUNT (sizeof routes / sizeof routes[0])

/* ---- matching ---- */

/* Fills params with pointers into path, which is cut into its parts. */
static bool pattern_match(const char *pattern, char *path, char *params[API_PARAMS_MAX])
{
    int found = 0;
    while (*pattern == '/') {
        pattern++;
        if (*path != '/')
            return false;
        path++;
        size_t length = strcspn(pattern, "/");
        if (strcmp(pattern, "**") == 0) {
            if (*path == '\0')
                return false;
            params[found] = path;
            return true;
        }
        size_t part = strcspn(path, "/");
        if (length == 1 && pattern[0] == '*') {
            if (part == 0 || found == API_PARAMS_MAX)
                return false;
            params[found++] = path;
        } else if (part != length || memcmp(path, pattern, part) != 0) {
            return false;
        }
        path += part;
        pattern += length;
    }
    return *path == '\0';
}

/* "*" parts run on to the end of the path until they are cut. */
static void params_cut(const char *pattern, char *params[API_PARAMS_MAX])
{
    if (strstr(pattern, "**"))
        return;
    for (int i = 0; i < API_PARAMS_MAX; i++)
        if (params[i])
            params[i][strcspn(params[i], "/")] = '\0';
}

static bool method_is(const struct api_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* NULL after having replied. */
static const struct api_route *route_find(struct api_request *request)
{
    char allowed[64] = "";
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        char *params[API_PARAMS_MAX] = {0};
        if (!pattern_match(routes[i].pattern, request->path_copy, params))
            continue;
        if (method_is(&routes[i], request->method)) {
            memcpy(request->params, params, sizeof params);
            params_cut(routes[i].pattern, request->params);
            return &routes[i];
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s%s", used ? ", " : "",
                 routes[i].method, strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (!allowed[0]) {
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "there is nothing at %.128s; the interface begins at /api/v1/",
                        request->path);
        return NULL;
    }
    json_t *value = json_pack(
        "{s:{s:s,s:o,s:n}}", "error", "code", "invalid", "message",
        json_sprintf("%s is not possible here; possible are: %s", request->method, allowed),
        "details");
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response) {
        MHD_add_response_header(response, "Content-Type", "application/json");
        MHD_add_response_header(response, "Allow", allowed);
    }
    api_reply(request, MHD_HTTP_METHOD_NOT_ALLOWED, response);
    return NULL;
}

/* ---- who may ---- */

static bool address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        if (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
            return true;
        return IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127;
    }
    return false;
}

static bool peer_is_local(struct api_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info && info->client_addr && address_is_loopback(info->client_addr);
}

/* Equal in a time that does not depend on where they differ. */
static bool secret_equal(const uint8_t *secret, size_t secret_bytes, const char *given)
{
    size_t length = strlen(given);
    unsigned difference = length != secret_bytes;
    for (size_t i = 0; i < secret_bytes; i++)
        difference |= (unsigned)secret[i] ^ (unsigned char)(i < length ? given[i] : 0);
    return difference == 0;
}

/* A name that a stranger's DNS points at 127.0.0.1 is not this machine's name: without this, a page from
 * elsewhere could read and steer the farm through a browser here (DNS rebinding). */
static bool host_is_ours(const struct api_config *config, const char *host)
{
    char name[256];
    if (!host)
        return true;
    snprintf(name, sizeof name, "%s", host);
    char *port = strrchr(name, ':');
    if (port && !strchr(port, ']'))
        *port = '\0';
    size_t length = strlen(name);
    if (name[0] == '[' && length > 2 && name[length - 1] == ']') {
        name[length - 1] = '\0';
        memmove(name, name + 1, length - 1);
    }
    return api_host_is_loopback(name) || strcmp(name, config->host) == 0;
}

static bool access_check(struct api_request *request)
{
    const struct api_config *config = &request->api->config;
    /* A page from elsewhere, open in a browser on this machine, must not steer the farm. */
    const char *origin = api_header(request, "Origin");
    const char *host = api_header(request, "Host");
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0 ||
                 strcmp(request->method, "OPTIONS") == 0;
    if (origin && !reads) {
        const char *name = strstr(origin, "://");
        if (!name || !host || strcmp(name + 3, host) != 0) {
            api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", NULL,
                            "requests from pages of another origin (%.100s) are refused", origin);
            return false;
        }
    }
    bool local = peer_is_local(request);
    if (request->route->open || (local && host_is_ours(config, host)))
        return true;
    const char *given = api_header(request, "Authorization");
    if (given && strncmp(given, "Bearer ", 7) == 0 && config->secret_bytes > 0 &&
        secret_equal(config->secret, config->secret_bytes, given + 7))
        return true;
    if (local) {
        api_reply_error(
            request, MHD_HTTP_FORBIDDEN, "refused", NULL,
            "the host %.100s is not this machine's: ask for 127.0.0.1 or localhost, or send the "
            "header \"Authorization: Bearer SECRET\"",
            host);
        return false;
    }
    api_reply_error(request, MHD_HTTP_UNAUTHORIZED, "refused", NULL,
                    "from another machine this needs the farm's secret: send the header "
                    "\"Authorization: Bearer SECRET\"");
    return false;
}

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

static enum MHD_Result request_begin(struct api_request *request)
{
    request->route = route_find(request);
    bool goes_on = request->route && access_check(request);
    if (goes_on && !request->route->stream && request->content_length > API_BODY_BYTES_MAX) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the body has %lld bytes; at most %d are taken here",
                        (long long)request->content_length, API_BODY_BYTES_MAX);
        goes_on = false;
    }
    if (goes_on && request->route->stream)
        goes_on = request->route->stream->begin(request);
    return goes_on ? MHD_YES : request->queued;
}

static enum MHD_Result request_data(struct api_request *request, const char *data, size_t *length)
{
    size_t take = *length;
    *length = 0;
    if (request->refused || request->overflow) {
        request->discarded += take;
        return request->discarded <= (uint64_t)4 * API_DISCARD_BYTES ? MHD_YES : MHD_NO;
    }
    if (request->route->stream) {
        request->holding = true;
        request->route->stream->data(request, data, take);
    } else if (request->body.length + take > API_BODY_BYTES_MAX) {
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
    if (request->refused) {
        struct MHD_Response *response = request->pending;
        request->pending = NULL;
        api_reply(request, request->pending_status, response);
    } else if (request->overflow) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the body is larger than the %d bytes that are taken here",
                        API_BODY_BYTES_MAX);
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
    (void)arg;
    (void)connection;
    (void)code;
    if (*state)
        request_free(*state);
    *state = NULL;
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

bool api_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

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
            return sl_fail(why, SL_EINVAL,
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
    if (!config->secret && !api_host_is_loopback(config->host))
        return sl_fail(why, SL_EACCES,
                       "--http %s:%d is open to other machines, and the farm has no secret; set "
                       "farm.secret_file in the configuration, or listen on 127.0.0.1",
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
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&api->events_new, &attr);
    pthread_condattr_destroy(&attr);

    int code = listener_open(config, &api->listener, &api->port, why);
    if (code != SL_OK)
        goto fail;
    api->http = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, api->listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_PER_IP_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)API_IDLE_S, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)512 * 1024, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 * 1024, MHD_OPTION_END);
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
    pthread_cond_destroy(&api->events_new);
    pthread_mutex_destroy(&api->events_lock);
    pthread_cond_destroy(&api->readers_free);
    pthread_mutex_destroy(&api->readers_lock);
    free(api);
}
