#include "cli/cli_http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONNECT_SECONDS 5L

struct upload {
    int fd;
    int64_t offset;
    int64_t end;
    bool failed;
};

static size_t answer_write(char *bytes, size_t size, size_t count, void *arg)
{
    struct sl_buf *answer = arg;
    size_t length = size * count;
    if (answer->length + length > CLI_ANSWER_BYTES_MAX)
        return 0;
    sl_buf_append(answer, bytes, length);
    return answer->failed ? 0 : length;
}

static size_t upload_read(char *into, size_t size, size_t count, void *arg)
{
    struct upload *upload = arg;
    int64_t want = (int64_t)(size * count);
    if (want > upload->end - upload->offset)
        want = upload->end - upload->offset;
    ssize_t got = want ? pread(upload->fd, into, (size_t)want, upload->offset) : 0;
    if (got < 0 || (got == 0 && want > 0)) {
        upload->failed = true;
        return CURL_READFUNC_ABORT;
    }
    upload->offset += got;
    return (size_t)got;
}

static void reply_set(struct cli_reply *reply, enum cli_exit exit_code, const char *code,
                      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void reply_set(struct cli_reply *reply, enum cli_exit exit_code, const char *code,
                      const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    vsnprintf(reply->message, sizeof reply->message, fmt, list);
    va_end(list);
    snprintf(reply->code, sizeof reply->code, "%s", code);
    reply->exit_code = exit_code;
}

static void unreachable_set(CURL *curl, const struct cli *cli, CURLcode result,
                            struct cli_reply *reply)
{
    long os_errno = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    char reason[128];
    if (result == CURLE_COULDNT_RESOLVE_HOST)
        snprintf(reason, sizeof reason, "the host's name is not known");
    else if (result == CURLE_OPERATION_TIMEDOUT)
        snprintf(reason, sizeof reason, "no answer in time");
    else if (os_errno == ECONNREFUSED)
        snprintf(reason, sizeof reason, "connection refused");
    else if (os_errno)
        snprintf(reason, sizeof reason, "%s", strerror((int)os_errno));
    else
        snprintf(reason, sizeof reason, "%s", curl_easy_strerror(result));
    reply_set(reply, CLI_UNREACHABLE, "unreachable",
              "cannot reach the daemon at %s (%s): start it with `sluice up` or name another with "
              "--api URL",
              cli->api, reason);
}

static enum cli_exit exit_from_status(long status)
{
    switch (status) {
    case 400:
        return CLI_USAGE;
    case 404:
        return CLI_NOT_FOUND;
    case 401:
    case 403:
    case 409:
    case 413:
    case 422:
    case 429:
        return CLI_REFUSED;
    default:
        return CLI_DAEMON;
    }
}

/* Reads the answer into the reply: JSON, an error document, or something that is not sluice's. */
static void answer_take(const struct cli *cli, struct sl_buf *answer, struct cli_reply *reply)
{
    json_error_t mistake;
    if (answer->length)
        reply->body = json_loadb((const char *)answer->data, answer->length, JSON_REJECT_DUPLICATES,
                                 &mistake);
    bool fine = reply->status >= 200 && reply->status < 300;
    if (fine && (reply->body || !answer->length)) {
        reply->exit_code = CLI_OK;
        return;
    }
    const json_t *error = json_object_get(reply->body, "error");
    if (!fine && json_is_object(error)) {
        const char *code = cli_json_text(error, "code");
        const char *message = cli_json_text(error, "message");
        reply_set(reply, exit_from_status(reply->status), code[0] ? code : "internal", "%s",
                  message[0] ? message : "the daemon gave no reason");
        return;
    }
    reply_set(reply, CLI_DAEMON, "protocol",
              "what answers at %s is no sluice daemon (HTTP %ld, not JSON): name the daemon with "
              "--api URL",
              cli->api, reply->status);
}

static int request(const struct cli *cli, const char *method, const char *path, const json_t *send,
                   struct upload *upload, int64_t total, struct cli_reply *reply)
{
    *reply = (struct cli_reply){.exit_code = CLI_DAEMON};
    struct sl_buf answer = {0};
    struct sl_buf url = {0};
    struct curl_slist *headers = NULL;
    char *text = send ? json_dumps(send, JSON_COMPACT) : NULL;
    char range[96];
    CURL *curl = curl_easy_init();
    if (!curl || (send && !text)) {
        reply_set(reply, CLI_DAEMON, "out_of_memory", "not enough memory for a request");
        goto done;
    }
    sl_buf_printf(&url, "%s%s", cli->api, path);
    headers = curl_slist_append(headers, "Accept: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (text)
        headers = curl_slist_append(headers, "Content-Type: application/json");
    if (cli->secret && cli->secret[0]) {
        char bearer[CLI_SECRET_BYTES + 32];
        snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", cli->secret);
        headers = curl_slist_append(headers, bearer);
    }
    curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.data);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                     cli->http_seconds ? (long)cli->http_seconds : (long)CLI_HTTP_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (upload) {
        snprintf(range, sizeof range, "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64,
                 upload->offset, upload->end - 1, total);
        headers = curl_slist_append(headers, range);
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, upload_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, upload);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
                         (curl_off_t)(upload->end - upload->offset));
        /* A slow line is fine, a dead one is not. */
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 0L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)CLI_HTTP_SECONDS);
    } else if (text) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
    } else if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (upload && upload->failed)
        reply_set(reply, CLI_FAILED, "source_changed",
                  "the file became shorter or unreadable while it was sent: submit it again");
    else if (result == CURLE_WRITE_ERROR)
        reply_set(reply, CLI_DAEMON, "over_limit", "the answer of %s is over %d MiB", cli->api,
                  CLI_ANSWER_BYTES_MAX / (1024 * 1024));
    else if (result != CURLE_OK && (reply->status < 400 || !answer.length))
        unreachable_set(curl, cli, result, reply);
    else
        answer_take(cli, &answer, reply);
done:
    curl_slist_free_all(headers);
    if (curl)
        curl_easy_cleanup(curl);
    free(text);
    sl_buf_fini(&url);
    sl_buf_fini(&answer);
    return reply->exit_code;
}

int cli_http_get(const struct cli *cli, const char *path, struct cli_reply *reply)
{
    return request(cli, "GET", path, NULL, NULL, 0, reply);
}

int cli_http_post(const struct cli *cli, const char *path, const json_t *send,
                  struct cli_reply *reply)
{
    return request(cli, "POST", path, send, NULL, 0, reply);
}

int cli_http_delete(const struct cli *cli, const char *path, struct cli_reply *reply)
{
    return request(cli, "DELETE", path, NULL, NULL, 0, reply);
}

int cli_http_put_piece(const struct cli *cli, const char *path, int fd, int64_t offset,
                       int64_t length, int64_t total, struct cli_reply *reply)
{
    struct upload upload = {.fd = fd, .offset = offset, .end = offset + length};
    return request(cli, "PUT", path, NULL, &upload, total, reply);
}

int cli_reply_fail(struct cli *cli, const struct cli_reply *reply)
{
    return cli_fail(cli, reply->exit_code, reply->code, "%s", reply->message);
}

void cli_reply_fini(struct cli_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
}

void cli_http_escape(struct sl_buf *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (strchr(plain, *at))
            sl_buf_append(out, at, 1);
        else
            sl_buf_printf(out, "%%%02X", *at);
    }
}

int cli_http_api_parse(const char *text, char api[CLI_API_BYTES], struct sl_failure *why)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    char *host = NULL;
    int code = SL_OK;
    if (!url || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) ||
        strlen(text) >= CLI_API_BYTES || strpbrk(text, "?#"))
        code =
            sl_fail(why, SL_EINVAL,
                    "\"%s\" is no address of a daemon: write it like http://127.0.0.1:8800", text);
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    if (code)
        return code;
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '/')
        length--;
    memcpy(api, text, length);
    api[length] = '\0';
    return SL_OK;
}

int cli_http_secret_read(const char *path, char secret[CLI_SECRET_BYTES], struct sl_failure *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sl_fail(why, SL_EACCES, "cannot read %.160s: %s", path, strerror(errno));
    ssize_t length = read(fd, secret, CLI_SECRET_BYTES - 1);
    close(fd);
    while (length > 0 && (secret[length - 1] == '\n' || secret[length - 1] == '\r'))
        length--;
    secret[length > 0 ? length : 0] = '\0';
    bool plain = length > 0 && length < CLI_SECRET_BYTES - 2;
    for (ssize_t i = 0; i < length; i++)
        plain = plain && secret[i] >= 0x20 && secret[i] < 0x7F;
    if (!plain) {
        secret[0] = '\0';
        return sl_fail(why, SL_EINVAL,
                       "%.160s holds no token or secret: one line of printable characters", path);
    }
    return SL_OK;
}

bool cli_http_api_is_loopback(const char *api)
{
    CURLU *url = curl_url();
    char *host = NULL;
    bool loopback = false;
    struct in_addr address;
    if (url && curl_url_set(url, CURLUPART_URL, api, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        loopback = strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                   (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
    curl_free(host);
    curl_url_cleanup(url);
    return loopback;
}
