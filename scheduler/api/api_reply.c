#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base/time.h"
#include "scheduler/api/api_http.h"

int api_status_of(int code)
{
    switch (code) {
    case SL_OK:
        return MHD_HTTP_OK;
    case SL_EINVAL:
        return MHD_HTTP_BAD_REQUEST;
    case SL_EACCES:
        return MHD_HTTP_FORBIDDEN;
    case SL_ENOENT:
        return MHD_HTTP_NOT_FOUND;
    case SL_EEXIST:
    case SL_ECONFLICT:
        return MHD_HTTP_CONFLICT;
    case SL_ETOOBIG:
        return MHD_HTTP_CONTENT_TOO_LARGE;
    case SL_EUNSUPPORTED:
    case SL_ECHANGED:
    case SL_EMISMATCH:
    case SL_ENOENCODER:
        return MHD_HTTP_UNPROCESSABLE_CONTENT;
    case SL_ELIMIT:
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case SL_ENOSPC:
    case SL_EBUSY:
    case SL_ENOMEM:
    case SL_ETIMEDOUT:
    case SL_EUNREACH:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void api_reply(struct api_request *request, int status, struct MHD_Response *response)
{
    if (response && request->holding) {
        request->refused = true;
        request->pending = response;
        request->pending_status = status;
        return;
    }
    request->replied = true;
    if (!response) {
        request->queued = MHD_NO;
        return;
    }
    api_traffic_add(request, status);
    api_guard_answers(request->api->guard, request->connection);
    MHD_add_response_header(response, "Server", "sluice/" SLUICE_VERSION);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    request->queued = MHD_queue_response(request->connection, (unsigned)status, response);
    MHD_destroy_response(response);
}

void api_reply_text(struct api_request *request, int status, const char *type, struct sl_buf *text)
{
    struct MHD_Response *response = NULL;
    if (!text->failed)
        response = MHD_create_response_from_buffer(
            text->length, text->length ? text->data : (void *)"", MHD_RESPMEM_MUST_COPY);
    sl_buf_fini(text);
    if (response)
        MHD_add_response_header(response, "Content-Type", type);
    api_reply(request, status, response);
}

/* Takes text. */
static struct MHD_Response *bytes_response(const char *type, char *text, size_t length)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response)
        MHD_add_response_header(response, "Content-Type", type);
    else
        free(text);
    return response;
}

void api_etag_make(const void *bytes, size_t length, char etag[API_ETAG_BYTES])
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    EVP_Digest(bytes, length, sum, NULL, EVP_sha256(), NULL);
    etag[0] = '"';
    for (int i = 0; i < 16; i++)
        snprintf(etag + 1 + 2 * i, 3, "%02x", sum[i]);
    strcpy(etag + 33, "\"");
}

/* RFC 9110, section 13.1.2: a list of tags, or "*"; whether they are weak does not matter for a GET. */
bool api_etag_named(const char *header, const char *etag)
{
    size_t length = strlen(etag);
    while (header && *header) {
        header += strspn(header, " \t,");
        if (*header == '*')
            return true;
        if (strncmp(header, "W/", 2) == 0)
            header += 2;
        if (strncmp(header, etag, length) == 0 && strchr(" \t,", header[length]))
            return true;
        header += strcspn(header, ",");
    }
    return false;
}

void api_reply_tagged(struct api_request *request, const char *type, const char *cache, char *text,
                      size_t length)
{
    char etag[API_ETAG_BYTES];
    int status = MHD_HTTP_OK;
    struct MHD_Response *response = NULL;
    if (text) {
        api_etag_make(text, length, etag);
        if (api_etag_named(api_header(request, "If-None-Match"), etag)) {
            free(text);
            status = MHD_HTTP_NOT_MODIFIED;
            response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        } else {
            response = bytes_response(type, text, length);
        }
    }
    if (response) {
        MHD_add_response_header(response, "ETag", etag);
        MHD_add_response_header(response, "Cache-Control", cache);
    }
    api_reply(request, status, response);
}

static struct MHD_Response *json_response(json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    struct MHD_Response *response =
        bytes_response("application/json", text, text ? strlen(text) : 0);
    if (response)
        MHD_add_response_header(response, "Cache-Control", "no-store");
    return response;
}

void api_reply_json(struct api_request *request, int status, json_t *value)
{
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (status != MHD_HTTP_OK || !reads) {
        api_reply(request, status, json_response(value));
        return;
    }
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    /* Whoever keeps it asks each time whether it still holds. */
    api_reply_tagged(request, "application/json", "private, no-cache", text,
                     text ? strlen(text) : 0);
}

static void reply_error(struct api_request *request, int status, const char *code, json_t *details,
                        const char *message)
{
    json_t *value = json_pack("{s:{s:s,s:o,s:o}}", "error", "code", code, "message",
                              api_text(message), "details", details ? details : json_null());
    struct MHD_Response *response = json_response(value);
    if (response && request->challenge)
        MHD_add_response_header(response, "WWW-Authenticate", request->challenge);
    if (response && request->allowed)
        MHD_add_response_header(response, "Allow", request->allowed);
    if (response &&
        (status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_SERVICE_UNAVAILABLE)) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d",
                 request->retry_after_s ? request->retry_after_s : 5);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    api_reply(request, status, response);
}

void api_reply_error(struct api_request *request, int status, const char *code, json_t *details,
                     const char *fmt, ...)
{
    char message[SL_MESSAGE_BYTES * 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    reply_error(request, status, code, details, message);
}

void api_reply_failure(struct api_request *request, const struct sl_failure *failure)
{
    const char *message = failure->message[0] ? failure->message : sl_error_text(failure->code);
    reply_error(request, api_status_of(failure->code), sl_error_word(failure->code), NULL, message);
}

const char *api_header(struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool api_is_https(struct api_request *request)
{
    const char *scheme = api_header(request, "X-Forwarded-Proto");
    return scheme && strcasecmp(scheme, "https") == 0;
}

const char *api_query(struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

json_t *api_body_json(struct api_request *request)
{
    if (request->body.length == 0)
        return json_object();
    json_error_t at;
    json_t *value = json_loadb((const char *)request->body.data, request->body.length,
                               JSON_REJECT_DUPLICATES, &at);
    if (!value) {
        api_reply_error(
            request, MHD_HTTP_BAD_REQUEST, "invalid",
            json_pack("{s:i,s:i,s:i}", "line", at.line, "column", at.column, "offset", at.position),
            "the body is not valid JSON: %s at line %d, column %d", at.text, at.line, at.column);
        return NULL;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "the body must be a JSON object: {…}");
        return NULL;
    }
    return value;
}

bool api_param_video(struct api_request *request, int n, struct video_id *out)
{
    if (video_id_parse(request->params[n], out) == SL_OK)
        return true;
    api_reply_error(
        request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
        "there is no video \"%.64s\"; its id is v and 13 digits, see GET /api/v1/videos",
        request->params[n]);
    return false;
}

bool api_members_known(struct api_request *request, json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *const *name = names;
        while (*name && strcmp(*name, key) != 0)
            name++;
        if (*name)
            continue;
        struct sl_buf valid = {0};
        for (name = names; *name; name++)
            sl_buf_printf(&valid, "%s%s", name == names ? "" : ", ", *name);
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "unknown member \"%.64s\"; valid are: %s", key,
                        valid.failed ? "" : (const char *)valid.data);
        sl_buf_fini(&valid);
        return false;
    }
    return true;
}

json_t *api_text(const char *text)
{
    if (!text)
        return json_null();
    json_t *value = json_string(text);
    if (value)
        return value;
    struct sl_buf quoted = {0};
    sl_buf_json_string(&quoted, text, strlen(text));
    if (!quoted.failed)
        value = json_loadb((const char *)quoted.data, quoted.length, JSON_DECODE_ANY, NULL);
    sl_buf_fini(&quoted);
    return value ? value : json_null();
}

json_t *api_time(int64_t unix_ns)
{
    char text[SL_TIME_TEXT_BYTES];
    return unix_ns ? json_string(sl_time_format(unix_ns, text)) : json_null();
}

json_t *api_failure_json(const struct sl_failure *failure)
{
    if (failure->code == SL_OK)
        return json_null();
    return json_pack(
        "{s:s,s:s,s:o}", "class", sl_class_word(sl_error_class(failure->code)), "code",
        sl_error_word(failure->code), "message",
        api_text(failure->message[0] ? failure->message : sl_error_text(failure->code)));
}

static json_t *mistakes_json(const struct api_call *call)
{
    if (call->mistake_count == 0)
        return NULL;
    json_t *list = json_array();
    for (int32_t i = 0; i < call->mistake_count; i++)
        json_array_append_new(list, json_pack("{s:i,s:i,s:o}", "line", call->mistakes[i].line,
                                              "column", call->mistakes[i].column, "message",
                                              api_text(call->mistakes[i].message)));
    return json_pack("{s:o}", "mistakes", list);
}

bool api_ask(struct api_request *request, struct api_call **call)
{
    struct sl_failure why = {.code = SL_ENOMEM,
                             .message = "the daemon is out of memory; try again"};
    if (!*call) {
        api_reply_failure(request, &why);
        return false;
    }
    const struct api_backend *backend = &request->api->config.backend;
    int code = backend->call(backend->arg, call, &why);
    if (code != SL_OK) {
        why.code = code;
        api_reply_failure(request, &why);
        return false;
    }
    if ((*call)->code == SL_OK)
        return true;
    struct sl_failure *failure = &(*call)->failure;
    failure->code = (*call)->code;
    int status = api_status_of(failure->code);
    if ((*call)->mistake_count > 0)
        status = MHD_HTTP_UNPROCESSABLE_CONTENT;
    reply_error(request, status, sl_error_word(failure->code), mistakes_json(*call),
                failure->message[0] ? failure->message : sl_error_text(failure->code));
    api_call_free(call);
    return false;
}

struct store *api_reader_take(struct api *api, struct sl_failure *why)
{
    pthread_mutex_lock(&api->readers_lock);
    for (;;) {
        if (api->reader_idle > 0) {
            struct store *store = api->readers[--api->reader_idle];
            pthread_mutex_unlock(&api->readers_lock);
            return store;
        }
        if (api->reader_count < API_READERS_MAX)
            break;
        pthread_cond_wait(&api->readers_free, &api->readers_lock);
    }
    api->reader_count++;
    pthread_mutex_unlock(&api->readers_lock);

    struct store *store = NULL;
    int code = store_open(api->config.store_url, true, &store, why);
    if (code == SL_OK)
        return store;
    why->code = code;
    pthread_mutex_lock(&api->readers_lock);
    api->reader_count--;
    pthread_cond_signal(&api->readers_free);
    pthread_mutex_unlock(&api->readers_lock);
    return NULL;
}

void api_reader_give(struct api *api, struct store *store)
{
    pthread_mutex_lock(&api->readers_lock);
    api->readers[api->reader_idle++] = store;
    pthread_cond_signal(&api->readers_free);
    pthread_mutex_unlock(&api->readers_lock);
}
