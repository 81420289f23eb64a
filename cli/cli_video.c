#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "cli/cli_view.h"
#include "model/task_types.h"

#define LIST_LIMIT_DEFAULT 100
#define LIST_LIMIT_MAX     100000
#define LIST_PAGE_MAX      1000

static void path_make(struct sl_buf *path, const char *before, const char *name, const char *after)
{
    sl_buf_text(path, before);
    cli_http_escape(path, name);
    sl_buf_text(path, after);
}

static const char *path_text(const struct sl_buf *path)
{
    return (const char *)path->data;
}

/* Asks for one document and shows it. */
static int document_show(struct cli *cli, const char *path,
                         void (*view)(const struct cli_term *term, const json_t *document))
{
    struct cli_reply reply;
    int code = cli_http_get(cli, path, &reply);
    if (code != CLI_OK)
        cli_reply_fail(cli, &reply);
    else if (cli->json)
        cli_json_print(cli, reply.body, false);
    else
        view(&cli->out, reply.body);
    cli_reply_fini(&reply);
    return code;
}

int cli_video_status(struct cli *cli, const struct cli_args *args)
{
    if (args->word_count == 0)
        return document_show(cli, "/api/v1/status", cli_view_farm);
    struct sl_buf path = {0};
    path_make(&path, "/api/v1/videos/", args->words[0], "/status");
    int code = document_show(cli, path_text(&path), cli_view_video);
    sl_buf_fini(&path);
    return code;
}

/* The options of list that go to the daemon as they are. */
static void filters_add(struct sl_buf *path, const struct cli_args *args)
{
    static const struct {
        const char *option, *query;
    } filters[] = {
        {"status", "&status="},
        {"priority", "&priority="},
        {"policy", "&policy="},
        {"provider", "&provider="},
        {"query", "&q="},
        {"created-after", "&created_after="},
        {"created-before", "&created_before="},
    };
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (cli_args_has(args, filters[i].option))
            path_make(path, filters[i].query, cli_args_text(args, filters[i].option), "");
}

/* Collects pages until the limit is reached or there are no more. */
static int list_collect(struct cli *cli, const struct cli_args *args, long limit, json_t *videos,
                        json_t **next)
{
    const char *after = cli_args_text(args, "after");
    char cursor[512] = "";
    int code = CLI_OK;
    if (after)
        snprintf(cursor, sizeof cursor, "%s", after);
    *next = json_null();
    while (code == CLI_OK && (long)json_array_size(videos) < limit) {
        struct cli_reply reply;
        struct sl_buf path = {0};
        long page = limit - (long)json_array_size(videos);
        sl_buf_printf(&path, "/api/v1/videos?limit=%ld",
                      page < LIST_PAGE_MAX ? page : LIST_PAGE_MAX);
        filters_add(&path, args);
        if (cursor[0])
            path_make(&path, "&next=", cursor, "");
        code = cli_http_get(cli, path_text(&path), &reply);
        sl_buf_fini(&path);
        if (code != CLI_OK) {
            cli_reply_fail(cli, &reply);
            cli_reply_fini(&reply);
            break;
        }
        const json_t *rows = json_object_get(reply.body, "videos");
        json_array_extend(videos, (json_t *)rows);
        snprintf(cursor, sizeof cursor, "%s", cli_json_text(reply.body, "next"));
        cli_reply_fini(&reply);
        if (!cursor[0])
            break;
    }
    if (code == CLI_OK && cursor[0])
        *next = json_string(cursor);
    return code;
}

int cli_video_list(struct cli *cli, const struct cli_args *args)
{
    const char *status = cli_args_text(args, "status");
    const char *limit_text = cli_args_text(args, "limit");
    enum video_status parsed;
    long limit = LIST_LIMIT_DEFAULT;
    if (status && video_status_from_word(status, &parsed) != SL_OK) {
        struct sl_buf words = {0};
        for (int i = 0; i < VIDEO_STATUS_COUNT; i++)
            sl_buf_printf(&words, "%s%s", i ? ", " : "", video_status_word((enum video_status)i));
        int code =
            cli_fail(cli, CLI_USAGE, "invalid", "--status: there is no state \"%s\"; there are %s",
                     status, path_text(&words));
        sl_buf_fini(&words);
        return code;
    }
    if (limit_text) {
        char *end;
        limit = strtol(limit_text, &end, 10);
        if (*end || limit < 1 || limit > LIST_LIMIT_MAX)
            return cli_fail(cli, CLI_USAGE, "invalid", "--limit: \"%s\" is no number from 1 to %d",
                            limit_text, LIST_LIMIT_MAX);
    }
    json_t *videos = json_array();
    json_t *next = NULL;
    int code = list_collect(cli, args, limit, videos, &next);
    if (code == CLI_OK && cli->json) {
        json_t *document = json_pack("{s:O,s:O}", "videos", videos, "next", next);
        cli_json_print(cli, document, false);
        json_decref(document);
    } else if (code == CLI_OK) {
        cli_view_list(&cli->out, videos);
        if (json_is_string(next))
            cli_note(cli, "more with --after %s", json_string_value(next));
    }
    json_decref(videos);
    json_decref(next);
    return code;
}

/* A request about one video whose answer is only confirmed. */
static int video_ask(struct cli *cli, const char *video, const char *action, const json_t *send,
                     const char *done)
{
    struct sl_buf path = {0};
    struct cli_reply reply;
    path_make(&path, "/api/v1/videos/", video, action);
    int code = cli_http_post(cli, path_text(&path), send, &reply);
    if (code != CLI_OK) {
        cli_reply_fail(cli, &reply);
    } else if (cli->json) {
        cli_json_print(cli, reply.body, false);
    } else {
        struct sl_buf line = {0};
        cli_term_text(&cli->out, &line, video, -1);
        sl_buf_printf(&line, " %s\n", done);
        cli_term_write(&cli->out, &line);
        sl_buf_fini(&line);
    }
    cli_reply_fini(&reply);
    sl_buf_fini(&path);
    return code;
}

int cli_video_delete(struct cli *cli, const struct cli_args *args)
{
    struct sl_buf path = {0};
    struct cli_reply reply;
    path_make(&path, "/api/v1/videos/", args->words[0],
              cli_args_has(args, "original") ? "?original=1" : "");
    int code = cli_http_delete(cli, path_text(&path), &reply);
    if (code != CLI_OK) {
        cli_reply_fail(cli, &reply);
    } else if (cli->json) {
        cli_json_print(cli, reply.body, false);
    } else {
        const char *kept = cli_json_text(reply.body, "original_kept");
        struct sl_buf line = {0};
        cli_term_text(&cli->out, &line, args->words[0], -1);
        sl_buf_text(&line, " deleted");
        if (kept[0]) {
            sl_buf_text(&line, "; its original stays at ");
            cli_term_text(&cli->out, &line, kept, -1);
            sl_buf_text(&line, " in the data folder");
        }
        sl_buf_text(&line, "\n");
        cli_term_write(&cli->out, &line);
        sl_buf_fini(&line);
    }
    cli_reply_fini(&reply);
    sl_buf_fini(&path);
    return code;
}

int cli_video_cancel(struct cli *cli, const struct cli_args *args)
{
    return video_ask(cli, args->words[0], "/cancel", NULL, "cancelled");
}

int cli_video_retry(struct cli *cli, const struct cli_args *args)
{
    const char *from = cli_args_text(args, "from");
    enum step step;
    if (from && step_from_word(from, &step) != SL_OK) {
        struct sl_buf words = {0};
        for (int i = 0; i < STEP_COUNT; i++)
            sl_buf_printf(&words, "%s%s", i ? ", " : "", step_word((enum step)i));
        int code =
            cli_fail(cli, CLI_USAGE, "invalid", "--from: there is no step \"%s\"; there are %s",
                     from, path_text(&words));
        sl_buf_fini(&words);
        return code;
    }
    json_t *send = json_object();
    if (from)
        json_object_set_new(send, "from", json_string(from));
    int code = video_ask(cli, args->words[0], "/retry", send, "queued again");
    json_decref(send);
    return code;
}

int cli_video_explain(struct cli *cli, const struct cli_args *args)
{
    struct sl_buf path = {0};
    path_make(&path, "/api/v1/explain/", args->words[0], "");
    int code = document_show(cli, path_text(&path), cli_view_explain);
    sl_buf_fini(&path);
    return code;
}
