/* Routes of bytes that the farm made: published media for players, objects for agents. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "objects/objects_ops.h"
#include "scheduler/api/api_http.h"

/* ---- one object, with Range ---- */

enum range_kind { RANGE_NONE, RANGE_PART, RANGE_BEYOND };

bool api_digits_parse(const char **text, int64_t *out)
{
    if (**text < '0' || **text > '9')
        return false;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(*text, &end, 10);
    if (errno != 0)
        value = INT64_MAX;
    *text = end;
    *out = value;
    return true;
}

/* RFC 9110, section 14: one byte range; several, or what cannot be read, give the whole. */
static enum range_kind range_parse(const char *text, int64_t size, int64_t *first, int64_t *length)
{
    if (!text || strncmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    int64_t from = 0, to = size - 1;
    if (*text == '-') {
        text++;
        int64_t count;
        if (!api_digits_parse(&text, &count) || *text != '\0')
            return RANGE_NONE;
        if (count == 0 || size == 0)
            return RANGE_BEYOND;
        from = count >= size ? 0 : size - count;
    } else {
        if (!api_digits_parse(&text, &from) || *text++ != '-')
            return RANGE_NONE;
        int64_t end;
        if (*text != '\0') {
            if (!api_digits_parse(&text, &end) || *text != '\0' || end < from)
                return RANGE_NONE;
            if (end < to)
                to = end;
        }
        if (from >= size)
            return RANGE_BEYOND;
    }
    *first = from;
    *length = to - from + 1;
    return RANGE_PART;
}

struct object_reader {
    struct objects *objects;
    char key[OBJECT_KEY_BYTES];
    int64_t first;
    int64_t length;
};

static ssize_t object_read(void *arg, uint64_t position, char *into, size_t max)
{
    struct object_reader *reader = arg;
    if ((int64_t)position >= reader->length)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t want = max;
    if ((int64_t)want > reader->length - (int64_t)position)
        want = (size_t)(reader->length - (int64_t)position);
    size_t got = 0;
    int code = objects_get_range(reader->objects, NULL, reader->key,
                                 (uint64_t)reader->first + position, into, want, &got, NULL);
    return code == SL_OK && got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_WITH_ERROR;
}

/* From the file itself where the store has one, else through the driver. */
static struct MHD_Response *object_response(struct objects *objects, const char *key, int64_t first,
                                            int64_t length)
{
    int fd = -1;
    if (objects_open_fd(objects, key, &fd) == SL_OK) {
        struct MHD_Response *response =
            MHD_create_response_from_fd_at_offset64((uint64_t)length, fd, (uint64_t)first);
        if (!response)
            close(fd);
        return response;
    }
    struct object_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->objects = objects;
    snprintf(reader->key, sizeof reader->key, "%s", key);
    reader->first = first;
    reader->length = length;
    return MHD_create_response_from_callback((uint64_t)length, 64 * 1024, object_read, reader,
                                             free);
}

static void public_headers(struct MHD_Response *response)
{
    MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "Content-Length, Content-Range, ETag");
}

/* A published segment is never made anew under its name, with a token in it or without: a new version has another
 * folder. What may be made anew are the manifests. */
static bool key_is_final(const char *key)
{
    size_t length = strlen(key);
    return objects_key_token(key) || (length > 4 && strcmp(key + length - 4, ".m4s") == 0);
}

/* A key with a token in it never gets other bytes, so that its own numbers are its tag; another object is
 * known by its file, which is replaced and never written to. "" where the store has no files. */
static void object_etag(struct objects *objects, const char *key, int64_t size,
                        char etag[API_ETAG_BYTES])
{
    uint64_t token = objects_key_token(key);
    struct stat st;
    int fd = -1;
    etag[0] = '\0';
    if (token) {
        snprintf(etag, API_ETAG_BYTES, "\"%llx-%llx\"", (unsigned long long)token,
                 (unsigned long long)size);
    } else if (objects_open_fd(objects, key, &fd) == SL_OK) {
        if (fstat(fd, &st) == 0)
            snprintf(etag, API_ETAG_BYTES, "\"%llx.%llx.%llx\"", (unsigned long long)st.st_ino,
                     (unsigned long long)st.st_size,
                     (unsigned long long)st.st_mtim.tv_sec * 1000000000 +
                         (unsigned long long)st.st_mtim.tv_nsec);
        close(fd);
    }
}

/* What every answer about an object says of it. */
static void object_headers(struct MHD_Response *response, const char *key, const char *etag,
                           bool is_public)
{
    if (etag[0])
        MHD_add_response_header(response, "ETag", etag);
    if (!is_public)
        return;
    public_headers(response);
    MHD_add_response_header(response, "Cache-Control",
                            key_is_final(key) ? "public, max-age=31536000, immutable" : "no-cache");
}

void api_object_send(struct api_request *request, const char *key, const char *type, bool is_public)
{
    struct objects *objects = request->api->config.objects;
    int64_t size = 0;
    struct sl_failure why = {0};
    int code = objects_size(objects, NULL, key, &size, &why);
    if (code != SL_OK) {
        if (code == SL_ENOENT || code == SL_EINVAL)
            api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL, "there is no %.200s",
                            request->path);
        else
            api_reply_failure(request, &why);
        return;
    }
    int64_t first = 0, length = size;
    char text[96], etag[API_ETAG_BYTES];
    struct MHD_Response *response;
    object_etag(objects, key, size, etag);
    if (etag[0] && api_etag_named(api_header(request, "If-None-Match"), etag)) {
        response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        if (response)
            object_headers(response, key, etag, is_public);
        api_reply(request, MHD_HTTP_NOT_MODIFIED, response);
        return;
    }
    /* A range of other bytes than the client has the rest of would be of no use to it. */
    const char *if_range = api_header(request, "If-Range");
    bool same = !if_range || (etag[0] && strcmp(if_range, etag) == 0);
    enum range_kind kind =
        range_parse(same ? api_header(request, "Range") : NULL, size, &first, &length);
    if (kind == RANGE_BEYOND) {
        response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        snprintf(text, sizeof text, "bytes */%lld", (long long)size);
        if (response) {
            MHD_add_response_header(response, "Content-Range", text);
            if (is_public)
                public_headers(response);
        }
        api_reply(request, MHD_HTTP_RANGE_NOT_SATISFIABLE, response);
        return;
    }
    response = object_response(objects, key, first, length);
    if (response) {
        MHD_add_response_header(response, "Content-Type", type);
        MHD_add_response_header(response, "Accept-Ranges", "bytes");
        if (kind == RANGE_PART) {
            snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)first,
                     (long long)(first + length - 1), (long long)size);
            MHD_add_response_header(response, "Content-Range", text);
        }
        object_headers(response, key, etag, is_public);
    }
    api_reply(request, kind == RANGE_PART ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
}

/* ---- published media ---- */

static const char *media_type(const char *key)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".m3u8", "application/vnd.apple.mpegurl"},
        {".mpd", "application/dash+xml"},
        {".m4s", "video/iso.segment"},
        {".mp4", "video/mp4"},
        {".vtt", "text/vtt; charset=utf-8"},
        {".jpg", "image/jpeg"},
        {".webp", "image/webp"},
    };
    size_t length = strlen(key);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t ending = strlen(types[i].ending);
        if (length > ending && strcmp(key + length - ending, types[i].ending) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* While a video is encoded its playlists come from memory; once it is ready they are objects of the same names. */
static bool live_send(struct api_request *request)
{
    struct sl_buf text = {0};
    struct MHD_Response *response = NULL;
    char etag[API_ETAG_BYTES];
    int status = MHD_HTTP_OK;
    if (!api_live_read(request->api, request->params[0], &text))
        return false;
    if (!text.failed) {
        api_etag_make(text.data, text.length, etag);
        if (api_etag_named(api_header(request, "If-None-Match"), etag)) {
            status = MHD_HTTP_NOT_MODIFIED;
            text.length = 0;
        }
        response = MHD_create_response_from_buffer(text.length, text.data, MHD_RESPMEM_MUST_COPY);
    }
    sl_buf_fini(&text);
    if (response) {
        MHD_add_response_header(response, "Content-Type", media_type(request->params[0]));
        object_headers(response, "", etag, true);
    }
    api_reply(request, status, response);
    return true;
}

void api_media_get(struct api_request *request)
{
    if (live_send(request))
        return;
    char key[OBJECT_KEY_BYTES];
    int length = snprintf(key, sizeof key, "published/%s", request->params[0]);
    if (length < 0 || (size_t)length >= sizeof key || !objects_key_valid(key)) {
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL, "there is no %.200s",
                        request->path);
        return;
    }
    api_object_send(request, key, media_type(key), true);
}

void api_media_options(struct api_request *request)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (response) {
        public_headers(response);
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                "Authorization, If-None-Match, If-Range, Range");
        MHD_add_response_header(response, "Access-Control-Max-Age", "86400");
    }
    api_reply(request, MHD_HTTP_NO_CONTENT, response);
}

/* ---- objects for agents ---- */

/* False after having replied. */
static bool ticket_check(struct api_request *request, bool write)
{
    const struct api_config *config = &request->api->config;
    const char *given = api_header(request, "Authorization");
    const char *scheme = "Sluice-Ticket ";
    request->challenge = "Sluice-Ticket";
    if (!given || strncmp(given, scheme, strlen(scheme)) != 0) {
        api_reply_error(request, MHD_HTTP_UNAUTHORIZED, "refused", NULL,
                        "objects are for leases: send \"Authorization: Sluice-Ticket …\"");
        return false;
    }
    struct objects_ticket ticket;
    if (objects_ticket_open(config->ticket_secret, config->ticket_secret_bytes,
                            given + strlen(scheme), sl_now_unix_ns(), &ticket) != SL_OK) {
        api_reply_error(request, MHD_HTTP_UNAUTHORIZED, "refused", NULL,
                        "the ticket is not valid or has expired; the next sync brings a new one");
        return false;
    }
    request->challenge = NULL;
    if (!objects_key_valid(request->params[0])) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"%.200s\" is no key: letters, digits, '.', '_', '-', '/'",
                        request->params[0]);
        return false;
    }
    if (!objects_ticket_allows(&ticket, request->params[0], write)) {
        api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", NULL,
                        "the ticket does not allow %s %.200s", write ? "writing" : "reading",
                        request->params[0]);
        return false;
    }
    return true;
}

void api_object_get(struct api_request *request)
{
    if (ticket_check(request, false))
        api_object_send(request, request->params[0], "application/octet-stream", false);
}

void api_object_delete(struct api_request *request)
{
    if (!ticket_check(request, true))
        return;
    struct sl_failure why = {0};
    int code = objects_delete(request->api->config.objects, NULL, request->params[0], &why);
    if (code != SL_OK) {
        api_reply_failure(request, &why);
        return;
    }
    api_reply(request, MHD_HTTP_NO_CONTENT,
              MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

struct object_put {
    int fd;
    int64_t bytes;
    uint8_t sha256[SHA256_BYTES];
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool api_sha256_parse(const char *text, uint8_t out[SHA256_BYTES])
{
    if (strlen(text) != SHA256_BYTES * 2)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Disk full is worth a status of its own here: agents hand the lease back for it. */
static void object_failure(struct api_request *request, const struct sl_failure *why)
{
    if (why->code == SL_ENOSPC)
        api_reply_error(request, MHD_HTTP_INSUFFICIENT_STORAGE, "disk_full", NULL, "%s",
                        why->message);
    else
        api_reply_failure(request, why);
}

static bool object_begin(struct api_request *request)
{
    if (!ticket_check(request, true))
        return false;
    const char *sum = api_header(request, "X-Sluice-Sha256");
    struct object_put *put = calloc(1, sizeof *put);
    if (!put)
        return false;
    put->fd = -1;
    if (!sum || !api_sha256_parse(sum, put->sha256)) {
        free(put);
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "the header X-Sluice-Sha256 must have the 64 digits of the body's SHA-256");
        return false;
    }
    if (request->content_length > API_OBJECT_BYTES_MAX) {
        free(put);
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "an object has at most %lld bytes", (long long)API_OBJECT_BYTES_MAX);
        return false;
    }
    struct sl_failure why = {0};
    int code = objects_open_scratch(request->api->config.objects, &put->fd, &why);
    if (code != SL_OK) {
        free(put);
        why.code = code;
        object_failure(request, &why);
        return false;
    }
    request->state = put;
    return true;
}

static int fd_append(int fd, const char *bytes, size_t length, int64_t offset)
{
    while (length > 0) {
        ssize_t wrote = pwrite(fd, bytes, length, offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return sl_error_from_errno(wrote < 0 ? errno : EIO);
        bytes += wrote;
        length -= (size_t)wrote;
        offset += wrote;
    }
    return SL_OK;
}

static void object_data(struct api_request *request, const char *bytes, size_t length)
{
    struct object_put *put = request->state;
    if (put->bytes + (int64_t)length > API_OBJECT_BYTES_MAX) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "an object has at most %lld bytes", (long long)API_OBJECT_BYTES_MAX);
        return;
    }
    int code = fd_append(put->fd, bytes, length, put->bytes);
    if (code != SL_OK) {
        struct sl_failure why;
        sl_fail(&why, code, "%.150s was not stored: %s", request->params[0], sl_error_text(code));
        object_failure(request, &why);
        return;
    }
    put->bytes += (int64_t)length;
}

/* False when the client's bytes are not what it promised: its fault, and not the store's. */
static bool sum_holds(const struct object_put *put)
{
    uint8_t found[SHA256_BYTES];
    return objects_hash_fd(put->fd, put->bytes, found, NULL) != SL_OK ||
           memcmp(found, put->sha256, sizeof found) == 0;
}

static void object_end(struct api_request *request)
{
    struct object_put *put = request->state;
    struct sl_failure why = {0};
    int code = objects_put_new(request->api->config.objects, NULL, request->params[0], put->fd,
                               put->bytes, put->sha256, &why);
    if (code == SL_EIO && !sum_holds(put)) {
        api_reply_error(
            request, MHD_HTTP_UNPROCESSABLE_CONTENT, "source_changed", NULL,
            "the body does not have the SHA-256 of X-Sluice-Sha256; nothing was stored");
        return;
    }
    if (code != SL_OK) {
        why.code = code;
        object_failure(request, &why);
        return;
    }
    api_reply_json(
        request, MHD_HTTP_CREATED,
        json_pack("{s:s,s:I}", "key", request->params[0], "bytes", (json_int_t)put->bytes));
}

static void object_drop(struct api_request *request)
{
    struct object_put *put = request->state;
    if (put->fd >= 0)
        close(put->fd);
    free(put);
    request->state = NULL;
}

const struct api_stream api_object_stream = {object_begin, object_data, object_end, object_drop};
