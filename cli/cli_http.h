/* cli/cli_http.h: one request to the daemon's HTTP API, answered as JSON.
 *
 * Owns:    a reply's body; given back by cli_reply_fini. Zero-initialised is empty.
 * Errors:  cli_http_* fill the reply and return its exit code; nothing is printed before cli_reply_fail.
 *          A daemon that cannot be reached is CLI_UNREACHABLE with the remedy in the message.
 * Blocking: a request ends after CLI_HTTP_SECONDS at the latest.
 * Threads: one.
 */
#ifndef SL_CLI_CLI_HTTP_H
#define SL_CLI_CLI_HTTP_H

#include <jansson.h>
#include <stdint.h>

#include "cli/cli.h"

#define CLI_HTTP_SECONDS       60
#define CLI_ANSWER_BYTES_MAX   (64 * 1024 * 1024)
#define CLI_UPLOAD_PIECE_BYTES (8 * 1024 * 1024)
#define CLI_API_BYTES          512
#define CLI_SECRET_BYTES       264

struct cli_reply {
    enum cli_exit exit_code;
    long status;        /* HTTP; 0: no answer */
    json_t *body;       /* NULL when the answer had none */
    char code[64];      /* the error's word */
    char message[1024]; /* its sentence */
};

/* path begins with "/"; send NULL: no body. */
int cli_http_get(const struct cli *cli, const char *path, struct cli_reply *reply);
int cli_http_post(const struct cli *cli, const char *path, const json_t *send,
                  struct cli_reply *reply);
int cli_http_delete(const struct cli *cli, const char *path, struct cli_reply *reply);

/* Puts bytes [offset, offset + length) of fd, which is total bytes long. */
int cli_http_put_piece(const struct cli *cli, const char *path, int fd, int64_t offset,
                       int64_t length, int64_t total, struct cli_reply *reply);

/* Prints the reply's failure as cli_fail does and returns its exit code. */
int cli_reply_fail(struct cli *cli, const struct cli_reply *reply);
void cli_reply_fini(struct cli_reply *reply);

/* Appends text percent-encoded for a path segment or a query value. */
void cli_http_escape(struct sl_buf *out, const char *text);

/* "http://host:port" checked and copied without trailing slashes; SL_EINVAL with the sentence. */
int cli_http_api_parse(const char *text, char api[CLI_API_BYTES], struct sl_failure *why);

/* A token or the farm's secret from a file of one line. */
int cli_http_secret_read(const char *path, char secret[CLI_SECRET_BYTES], struct sl_failure *why);

/* Is the daemon on this machine, so that a path means the same file there? */
bool cli_http_api_is_loopback(const char *api);

#endif
