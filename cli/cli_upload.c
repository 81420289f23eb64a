#include "cli/cli_upload.h"

#include <time.h>

#include "base/time.h"
#include "cli/cli_http.h"
#include "cli/cli_view.h"

#define RETRY_PAUSE_NS SL_MS_TO_NS(500)

static void progress_show(const struct cli *cli, int64_t done, int64_t total, bool last)
{
    if (cli->json || !cli->err.terminal)
        return;
    char done_text[CLI_BYTES_BYTES], total_text[CLI_BYTES_BYTES], line[128];
    struct sl_buf out = {0};
    snprintf(line, sizeof line, "uploading: %s of %s (%d %%)",
             cli_view_bytes((double)done, done_text), cli_view_bytes((double)total, total_text),
             total > 0 ? (int)sl_muldiv_i64(done, 100, total) : 100);
    sl_buf_text(&out, "\r");
    cli_term_text(&cli->err, &out, line, cli_term_width(&cli->err) - 1);
    sl_buf_text(&out, last ? "\033[K\n" : "\033[K");
    cli_term_write(&cli->err, &out);
    sl_buf_fini(&out);
}

/* Where the daemon stands by its answer, or -1 when it does not say. */
static int64_t reply_offset(const struct cli_reply *reply, int64_t total_bytes)
{
    const json_t *body = reply->body;
    if (json_is_true(json_object_get(body, "complete")))
        return total_bytes;
    const json_t *offset = json_object_get(body, "offset");
    if (!offset)
        offset =
            json_object_get(json_object_get(json_object_get(body, "error"), "details"), "offset");
    int64_t value = json_is_integer(offset) ? (int64_t)json_integer_value(offset) : -1;
    return value <= total_bytes ? value : -1;
}

int cli_upload_file(struct cli *cli, const char *video, int fd, int64_t total_bytes, bool resume)
{
    struct sl_buf path = {0};
    int64_t offset = 0;
    int64_t broken_since_ns = 0;
    bool ask = resume;
    int code = CLI_OK;
    sl_buf_text(&path, "/api/v1/videos/");
    cli_http_escape(&path, video);
    sl_buf_text(&path, "/source");
    while (code == CLI_OK && offset < total_bytes) {
        struct cli_reply reply;
        int64_t length = total_bytes - offset;
        if (length > CLI_UPLOAD_PIECE_BYTES)
            length = CLI_UPLOAD_PIECE_BYTES;
        progress_show(cli, offset, total_bytes, false);
        code = ask ? cli_http_get(cli, (const char *)path.data, &reply)
                   : cli_http_put_piece(cli, (const char *)path.data, fd, offset, length,
                                        total_bytes, &reply);
        int64_t known = reply_offset(&reply, total_bytes);
        if (code == CLI_OK) {
            offset = known >= 0 ? known : ask ? offset : offset + length;
            ask = false;
            broken_since_ns = 0;
        } else if (reply.status == 409 && known >= 0 && known != offset) {
            offset = known;
            code = CLI_OK;
        } else if ((code == CLI_UNREACHABLE || reply.status == 503 || reply.status == 429) &&
                   (!broken_since_ns ||
                    sl_now_ns() - broken_since_ns < SL_S_TO_NS(UPLOAD_PATIENCE_SECONDS))) {
            if (!broken_since_ns)
                broken_since_ns = sl_now_ns();
            ask = true;
            code = CLI_OK;
            const struct timespec pause = {.tv_nsec = RETRY_PAUSE_NS};
            nanosleep(&pause, NULL);
        } else {
            cli_reply_fail(cli, &reply);
        }
        cli_reply_fini(&reply);
    }
    if (code == CLI_OK)
        progress_show(cli, total_bytes, total_bytes, true);
    sl_buf_fini(&path);
    return code;
}
