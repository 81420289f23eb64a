#include "objects/objects_http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/time.h"
#include "objects/objects_http_pool.h"
#include "objects/objects_ops.h"

#define URL_BYTES          (STORE_URL_BYTES + OBJECT_KEY_BYTES + 16)
#define ANSWER_TEXT_BYTES  100 /* of a refusal, for people */
/* Shorter bodies are sent without asking first (Expect: 100-continue): the question would cost a
 * round trip, and a late refusal costs less. */
#define ASK_FIRST_BYTES    (1024 * 1024)
/* The first answers may be shorter than asked for; each must bring bytes. */
#define RANGE_REQUESTS_MAX 10000

const struct objects_http_limits objects_http_limits_default = {
    .connect_timeout_ns = SL_S_TO_NS(5),
    .slow_bytes_per_s = 1024,
    .slow_timeout_ns = SL_S_TO_NS(20),
};

struct objects_http {
    struct objects base;
    struct objects_http_limits limits;
    char base_url[STORE_URL_BYTES];
    struct http_pool pool;
};

/* One request and what came back. */
struct exchange {
    struct objects_http *http;
    CURL *curl;
    struct curl_slist *headers;
    const char *method;
    const char *key;
    /* The body of an answer that is a success goes here. */
    char *into;
    size_t into_bytes;
    size_t got;
    bool too_long;
    /* Content-Range of a 206. */
    bool has_range;
    uint64_t range_start;
    uint64_t range_total; /* UINT64_MAX: the daemon does not say */
    char text[ANSWER_TEXT_BYTES];
    size_t text_length;
    /* What is sent. */
    int fd; /* -1: from bytes */
    const char *from;
    int64_t from_bytes;
    int64_t sent;
    struct objects_hash *hash; /* NULL: bytes that were hashed before */
    const uint8_t *sha256;
    bool read_failed;
    struct sl_failure read_why;
    long status;
};

static struct objects_http *http_of(struct objects *objects)
{
    return (struct objects_http *)objects;
}

/* ---- callbacks of curl ---- */

static size_t body_take(char *bytes, size_t one, size_t length, void *arg)
{
    (void)one;
    struct exchange *x = arg;
    long status = 0;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206) {
        for (size_t i = 0; i < length && x->text_length < sizeof x->text - 1; i++)
            x->text[x->text_length++] = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : ' ';
        return length;
    }
    if (length > x->into_bytes - x->got) {
        x->too_long = true;
        return 0;
    }
    memcpy(x->into + x->got, bytes, length);
    x->got += length;
    return length;
}

static size_t header_take(char *line, size_t one, size_t length, void *arg)
{
    (void)one;
    struct exchange *x = arg;
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)(length < sizeof text ? length : sizeof text - 1),
             line);
    uint64_t first;
    uint64_t last;
    char total[32];
    if (strncasecmp(text, "HTTP/", 5) == 0) {
        x->has_range = false; /* a new answer, after 100 Continue for one */
    } else if (strncasecmp(text, "content-range:", 14) == 0 &&
               sscanf(text + 14, " bytes %" SCNu64 "-%" SCNu64 "/%31[0-9*]", &first, &last,
                      total) == 3) {
        x->has_range = true;
        x->range_start = first;
        x->range_total = total[0] == '*' ? UINT64_MAX : strtoull(total, NULL, 10);
    }
    return length;
}

static size_t body_give(char *into, size_t one, size_t length, void *arg)
{
    (void)one;
    struct exchange *x = arg;
    int64_t left = x->from_bytes - x->sent;
    size_t want = left < (int64_t)length ? (size_t)left : length;
    if (want == 0)
        return 0;
    if (x->fd < 0) {
        memcpy(into, x->from + x->sent, want);
        x->sent += (int64_t)want;
        return want;
    }
    ssize_t got;
    do
        got = pread(x->fd, into, want, x->sent);
    while (got < 0 && errno == EINTR);
    x->read_failed = true;
    if (got < 0) {
        sl_fail(&x->read_why, SL_EIO, "the bytes to store cannot be read: %s", strerror(errno));
        return CURL_READFUNC_ABORT;
    }
    if (got == 0) {
        sl_fail(&x->read_why, SL_EIO, "the bytes to store end at %" PRId64 " of %" PRId64, x->sent,
                x->from_bytes);
        return CURL_READFUNC_ABORT;
    }
    objects_hash_add(x->hash, into, (size_t)got);
    x->sent += got;
    if (x->sent == x->from_bytes) {
        uint8_t found[OBJECTS_SHA256_BYTES];
        objects_hash_take(x->hash, found);
        /* The last block is withheld, so the daemon stores nothing either. */
        if (memcmp(found, x->sha256, sizeof found) != 0) {
            sl_fail(&x->read_why, SL_EIO,
                    "%.120s: the bytes are not those of the promised SHA-256; nothing was stored",
                    x->key);
            return CURL_READFUNC_ABORT;
        }
    }
    x->read_failed = false;
    return (size_t)got;
}

/* curl starts over when a kept connection turns out to be closed. */
static int body_rewind(void *arg, curl_off_t offset, int origin)
{
    struct exchange *x = arg;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    uint8_t unused[OBJECTS_SHA256_BYTES];
    if (x->hash)
        objects_hash_take(x->hash, unused);
    x->sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- one exchange ---- */

static int header_add(struct exchange *x, const char *name, const char *value)
{
    char line[TICKET_BYTES + 64];
    if (snprintf(line, sizeof line, "%s: %s", name, value) >= (int)sizeof line)
        return SL_EINVAL;
    struct curl_slist *grown = curl_slist_append(x->headers, line);
    if (!grown)
        return SL_ENOMEM;
    x->headers = grown;
    return SL_OK;
}

static int exchange_open(struct exchange *x, struct objects *objects, const char *method,
                         const char *ticket, const char *key, struct sl_failure *why)
{
    struct objects_http *http = http_of(objects);
    *x = (struct exchange){.http = http, .method = method, .key = key, .fd = -1};
    if (ticket && (strpbrk(ticket, "\r\n") || strlen(ticket) >= TICKET_BYTES))
        return sl_fail(why, SL_EINVAL, "%s %.100s: the ticket is none", method, key);
    x->curl = http_pool_take(&http->pool);
    if (!x->curl)
        return sl_fail(why, SL_ENOMEM, "not enough memory to ask for %.100s", key);

    char url[URL_BYTES];
    snprintf(url, sizeof url, "%s/objects/%s", http->base_url, key);
    curl_easy_setopt(x->curl, CURLOPT_URL, url);
    curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(x->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(x->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(x->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(x->curl, CURLOPT_USERAGENT, "sluice");
    curl_easy_setopt(x->curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)SL_NS_TO_MS(http->limits.connect_timeout_ns));
    curl_easy_setopt(x->curl, CURLOPT_LOW_SPEED_LIMIT, (long)http->limits.slow_bytes_per_s);
    curl_easy_setopt(x->curl, CURLOPT_LOW_SPEED_TIME,
                     (long)(http->limits.slow_timeout_ns / SL_NS_PER_S));
    curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, body_take);
    curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(x->curl, CURLOPT_HEADERFUNCTION, header_take);
    curl_easy_setopt(x->curl, CURLOPT_HEADERDATA, x);

    int rc = SL_OK;
    if (ticket) {
        char value[TICKET_BYTES + 16];
        snprintf(value, sizeof value, "Sluice-Ticket %s", ticket);
        rc = header_add(x, "Authorization", value);
    }
    return rc == SL_OK ? rc : sl_fail(why, rc, "not enough memory to ask for %.100s", key);
}

static void exchange_close(struct exchange *x)
{
    if (x->curl)
        http_pool_give(&x->http->pool, x->curl);
    curl_slist_free_all(x->headers);
    objects_hash_close(&x->hash);
}

static int curl_fail(const struct exchange *x, CURLcode rc, struct sl_failure *why)
{
    int code;
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        code = SL_ETIMEDOUT;
        break;
    case CURLE_OUT_OF_MEMORY:
        code = SL_ENOMEM;
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
        code = SL_EACCES;
        break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_SSL_CONNECT_ERROR:
        code = SL_EUNREACH;
        break;
    default:
        code = SL_EPROTO;
        break;
    }
    return sl_fail(why, code, "%s %.70s from the daemon at %.60s: %s", x->method, x->key,
                   x->http->base_url, curl_easy_strerror(rc));
}

static int status_code(long status)
{
    switch (status) {
    case 200:
    case 201:
    case 204:
    case 206:
        return SL_OK;
    case 404:
        return SL_ENOENT;
    case 409:
        return SL_EEXIST;
    case 401:
    case 403:
        return SL_EACCES;
    case 408:
        return SL_ETIMEDOUT;
    case 507:
        return SL_ENOSPC;
    case 429:
        return SL_EUNREACH;
    case 422: /* the sum was not that of the bytes */
        return SL_EIO;
    default:
        return status >= 500 ? SL_EUNREACH : SL_EPROTO;
    }
}

static int status_fail(const struct exchange *x, struct sl_failure *why)
{
    int code = status_code(x->status);
    return sl_fail(why, code, "%s %.70s: the daemon at %.50s answered %ld (%s)%s%.60s", x->method,
                   x->key, x->http->base_url, x->status, sl_error_text(code),
                   x->text_length > 0 ? ": " : "", x->text);
}

/* Runs the request. SL_OK: an answer came, see status. */
static int exchange_run(struct exchange *x, struct sl_failure *why)
{
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, x->headers);
    CURLcode rc = curl_easy_perform(x->curl);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
    if (x->too_long)
        return sl_fail(why, SL_EPROTO,
                       "GET %.100s: the daemon at %.80s sent more than was asked for", x->key,
                       x->http->base_url);
    if (rc == CURLE_ABORTED_BY_CALLBACK && x->read_failed) {
        *why = x->read_why;
        return x->read_why.code;
    }
    /* A daemon that refuses a body may answer and hang up before it has read all of it. */
    if (rc != CURLE_OK && !(rc == CURLE_SEND_ERROR && x->status >= 400))
        return curl_fail(x, rc, why);
    return SL_OK;
}

/* ---- the driver ---- */

/* One request for at most length bytes; *out_end: nothing follows. */
static int range_get(struct objects *objects, const char *ticket, const char *key, uint64_t offset,
                     char *into, size_t length, size_t *out_read, bool *out_end,
                     struct sl_failure *why)
{
    struct exchange x;
    int rc = exchange_open(&x, objects, "GET", ticket, key, why);
    if (rc == SL_OK) {
        char range[64];
        snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, offset, offset + length - 1);
        curl_easy_setopt(x.curl, CURLOPT_RANGE, range);
        x.into = into;
        x.into_bytes = length;
        rc = exchange_run(&x, why);
    }
    size_t got = x.got;
    bool end = true;
    if (rc == SL_OK && x.status == 416) {
        got = 0;
    } else if (rc == SL_OK && x.status == 206) {
        if (!x.has_range || x.range_start != offset)
            rc = sl_fail(why, SL_EPROTO, "GET %.100s: the daemon at %.80s sent another range", key,
                         x.http->base_url);
        end = got == length || (x.range_total != UINT64_MAX && offset + got >= x.range_total);
    } else if (rc == SL_OK && x.status == 200) {
        /* The whole object: fine when it starts where we do. */
        if (offset != 0)
            rc = sl_fail(why, SL_EPROTO, "GET %.100s: the daemon at %.80s ignores ranges", key,
                         x.http->base_url);
    } else if (rc == SL_OK) {
        rc = status_fail(&x, why);
    }
    exchange_close(&x);
    if (rc == SL_OK) {
        *out_read = got;
        *out_end = end;
    }
    return rc;
}

static int http_size(struct objects *objects, const char *ticket, const char *key,
                     int64_t *out_bytes, struct sl_failure *why)
{
    struct exchange x;
    int rc = exchange_open(&x, objects, "HEAD", ticket, key, why);
    if (rc == SL_OK) {
        curl_easy_setopt(x.curl, CURLOPT_NOBODY, 1L);
        rc = exchange_run(&x, why);
    }
    if (rc == SL_OK && x.status != 200)
        rc = status_code(x.status) == SL_OK
                 ? sl_fail(why, SL_EPROTO, "HEAD %.100s: the daemon answered %ld", key, x.status)
                 : status_fail(&x, why);
    curl_off_t bytes = -1;
    if (rc == SL_OK)
        curl_easy_getinfo(x.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &bytes);
    if (rc == SL_OK && bytes < 0)
        rc = sl_fail(why, SL_EPROTO, "HEAD %.100s: the daemon at %.80s gave no length", key,
                     x.http->base_url);
    exchange_close(&x);
    if (rc == SL_OK)
        *out_bytes = bytes;
    return rc;
}

static int http_get_range(struct objects *objects, const char *ticket, const char *key,
                          uint64_t offset, void *into, size_t length, size_t *out_read,
                          struct sl_failure *why)
{
    size_t at = 0;
    bool end = false;
    if (length == 0) { /* still an error where there is no object */
        int64_t bytes;
        int rc = http_size(objects, ticket, key, &bytes, why);
        if (rc == SL_OK)
            *out_read = 0;
        return rc;
    }
    for (int i = 0; !end; i++) {
        size_t got = 0;
        int rc = range_get(objects, ticket, key, offset + at, (char *)into + at, length - at, &got,
                           &end, why);
        if (rc != SL_OK)
            return rc;
        if (!end && (got == 0 || i == RANGE_REQUESTS_MAX))
            return sl_fail(why, SL_EPROTO, "GET %.100s: the daemon sends empty ranges", key);
        at += got;
    }
    *out_read = at;
    return SL_OK;
}

static int put_run(struct exchange *x, const uint8_t *sha256, struct sl_failure *why)
{
    char hex[2 * OBJECTS_SHA256_BYTES + 1];
    for (size_t i = 0; i < OBJECTS_SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
    if (header_add(x, "X-Sluice-Sha256", hex) != SL_OK ||
        header_add(x, "Content-Type", "application/octet-stream") != SL_OK ||
        (x->from_bytes < ASK_FIRST_BYTES && header_add(x, "Expect", "") != SL_OK))
        return sl_fail(why, SL_ENOMEM, "not enough memory to store %.100s", x->key);
    curl_easy_setopt(x->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(x->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->from_bytes);
    curl_easy_setopt(x->curl, CURLOPT_READFUNCTION, body_give);
    curl_easy_setopt(x->curl, CURLOPT_READDATA, x);
    curl_easy_setopt(x->curl, CURLOPT_SEEKFUNCTION, body_rewind);
    curl_easy_setopt(x->curl, CURLOPT_SEEKDATA, x);
    int rc = exchange_run(x, why);
    if (rc == SL_OK && status_code(x->status) != SL_OK)
        rc = status_fail(x, why);
    return rc;
}

static int http_put_new(struct objects *objects, const char *ticket, const char *key, int fd,
                        int64_t bytes, const uint8_t *sha256, struct sl_failure *why)
{
    /* Nothing to read: the callback that checks the sum would not be asked. */
    if (bytes == 0) {
        uint8_t found[OBJECTS_SHA256_BYTES];
        int rc = objects_hash_fd(fd, 0, found, why);
        if (rc == SL_OK && memcmp(found, sha256, sizeof found) != 0)
            rc = sl_fail(why, SL_EIO, "%.150s: an empty object has another SHA-256", key);
        if (rc != SL_OK)
            return rc;
    }
    struct exchange x;
    int rc = exchange_open(&x, objects, "PUT", ticket, key, why);
    if (rc == SL_OK && !(x.hash = objects_hash_open()))
        rc = sl_fail(why, SL_ENOMEM, "not enough memory to store %.100s", key);
    if (rc == SL_OK) {
        x.fd = fd;
        x.from_bytes = bytes;
        x.sha256 = sha256;
        rc = put_run(&x, sha256, why);
    }
    exchange_close(&x);
    return rc;
}

static int http_put_bytes(struct objects *objects, const char *ticket, const char *key,
                          const void *data, size_t length, bool replace, struct sl_failure *why)
{
    if (replace)
        return sl_fail(why, SL_EUNSUPPORTED, "%.150s: over HTTP objects are never replaced", key);
    struct objects_hash *hash = objects_hash_open();
    if (!hash)
        return sl_fail(why, SL_ENOMEM, "not enough memory to store %.100s", key);
    uint8_t sha256[OBJECTS_SHA256_BYTES];
    objects_hash_add(hash, data, length);
    objects_hash_take(hash, sha256);
    objects_hash_close(&hash);
    struct exchange x;
    int rc = exchange_open(&x, objects, "PUT", ticket, key, why);
    if (rc == SL_OK) {
        x.from = data;
        x.from_bytes = (int64_t)length;
        rc = put_run(&x, sha256, why);
    }
    exchange_close(&x);
    return rc;
}

static int http_remove(struct objects *objects, const char *ticket, const char *key,
                       struct sl_failure *why)
{
    struct exchange x;
    int rc = exchange_open(&x, objects, "DELETE", ticket, key, why);
    if (rc == SL_OK) {
        curl_easy_setopt(x.curl, CURLOPT_CUSTOMREQUEST, "DELETE");
        rc = exchange_run(&x, why);
    }
    if (rc == SL_OK && x.status != 404 && status_code(x.status) != SL_OK)
        rc = status_fail(&x, why);
    exchange_close(&x);
    return rc;
}

static void http_close(struct objects *objects)
{
    struct objects_http *http = http_of(objects);
    http_pool_fini(&http->pool);
    free(http);
}

static const struct objects_ops http_ops = {
    .name = "the daemon",
    .close = http_close,
    .get_range = http_get_range,
    .size = http_size,
    .put_new = http_put_new,
    .put_bytes = http_put_bytes,
    .remove = http_remove,
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* "http://host:port" and nothing behind it but slashes. */
static bool base_url_valid(const char *url)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0)
        return false;
    size_t host = strspn(url + scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789.-_:[]");
    const char *rest = url + scheme + host;
    return host > 0 && rest[strspn(rest, "/")] == '\0';
}

int objects_http_open(const char *base_url, const struct objects_http_limits *limits,
                      struct objects **out, struct sl_failure *why)
{
    if (!base_url_valid(base_url) || strlen(base_url) >= STORE_URL_BYTES)
        return sl_fail(why, SL_EINVAL,
                       "\"%.100s\" is no address of a daemon; write http://host:port", base_url);
    pthread_once(&curl_once, curl_start);
    struct objects_http *http = calloc(1, sizeof *http);
    if (!http)
        return sl_fail(why, SL_ENOMEM, "not enough memory to reach %.100s", base_url);
    http->base.ops = &http_ops;
    http->limits = *limits;
    size_t length = strlen(base_url);
    while (base_url[length - 1] == '/')
        length--;
    memcpy(http->base_url, base_url, length);
    http_pool_init(&http->pool);
    *out = &http->base;
    return SL_OK;
}

int objects_open_http(const char *base_url, struct objects **out, struct sl_failure *why)
{
    return objects_http_open(base_url, &objects_http_limits_default, out, why);
}
