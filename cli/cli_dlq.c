#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"

static void error_text(const json_t *error, char *text, size_t text_bytes)
{
    if (json_is_string(error))
        snprintf(text, text_bytes, "%s", json_string_value(error));
    else
        snprintf(text, text_bytes, "%s (%s, %s)", cli_json_text(error, "message"),
                 cli_json_text(error, "class"), cli_json_text(error, "code"));
}

static int dlq_list(struct cli *cli, const json_t *document)
{
    static const struct cli_column columns[] = {
        {"TASK", CLI_KEEP, false},     {"VIDEO", CLI_SPARE, false}, {"STEP", CLI_SPARE, false},
        {"ATTEMPTS", CLI_SPARE, true}, {"ERROR", CLI_CUT, false},
    };
    const json_t *rows = json_object_get(document, "tasks");
    if (cli->json) {
        cli_json_print(cli, document, false);
        return CLI_OK;
    }
    if (json_array_size(rows) == 0) {
        cli_note(cli, "no dead tasks");
        return CLI_OK;
    }
    struct cli_table *table = cli_table_open(columns, 5);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        char attempts[24], error[1024];
        snprintf(attempts, sizeof attempts, "%" JSON_INTEGER_FORMAT, cli_json_int(row, "attempts"));
        error_text(json_object_get(row, "error"), error, sizeof error);
        const char *cells[] = {cli_json_text(row, "task_id"), cli_json_text(row, "video_id"),
                               cli_json_text(row, "step"), attempts, error};
        cli_table_row(table, cells);
    }
    cli_table_print(table, &cli->out);
    return CLI_OK;
}

static int dlq_show(struct cli *cli, const json_t *document, const char *task)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(document, "tasks"), i, row)
    {
        if (strcmp(cli_json_text(row, "task_id"), task) != 0)
            continue;
        if (cli->json) {
            cli_json_print(cli, row, false);
            return CLI_OK;
        }
        char error[1024], attempts[24];
        error_text(json_object_get(row, "error"), error, sizeof error);
        snprintf(attempts, sizeof attempts, "%" JSON_INTEGER_FORMAT, cli_json_int(row, "attempts"));
        const char *const lines[][2] = {{"task", task},
                                        {"video", cli_json_text(row, "video_id")},
                                        {"step", cli_json_text(row, "step")},
                                        {"attempts", attempts},
                                        {"error", error}};
        struct sl_buf out = {0};
        for (size_t line = 0; line < sizeof lines / sizeof lines[0]; line++) {
            sl_buf_printf(&out, "%-9s ", lines[line][0]);
            cli_term_text(&cli->out, &out, lines[line][1], -1);
            sl_buf_text(&out, "\n");
        }
        cli_term_write(&cli->out, &out);
        sl_buf_fini(&out);
        return CLI_OK;
    }
    return cli_fail(cli, CLI_NOT_FOUND, "not_found",
                    "no dead task is named \"%s\": see `sluice dlq`", task);
}

static int dlq_act(struct cli *cli, const char *task, const char *action)
{
    struct sl_buf path = {0};
    struct cli_reply reply;
    bool redrive = strcmp(action, "redrive") == 0;
    sl_buf_text(&path, "/api/v1/dlq/");
    cli_http_escape(&path, task);
    sl_buf_printf(&path, "/%s", action);
    int code = cli_http_post(cli, (const char *)path.data, NULL, &reply);
    if (code != CLI_OK) {
        cli_reply_fail(cli, &reply);
    } else if (cli->json) {
        json_t *document = json_is_object(reply.body) ? json_incref(reply.body)
                                                      : json_pack("{s:s}", "task_id", task);
        cli_json_print(cli, document, false);
        json_decref(document);
    } else {
        struct sl_buf line = {0};
        cli_term_text(&cli->out, &line, task, -1);
        sl_buf_text(&line, redrive ? " queued again\n" : " dropped\n");
        cli_term_write(&cli->out, &line);
        sl_buf_fini(&line);
    }
    cli_reply_fini(&reply);
    sl_buf_fini(&path);
    return code;
}

int cli_dlq_run(struct cli *cli, const struct cli_args *args)
{
    const char *action = args->word_count > 0 ? args->words[0] : "list";
    const char *task = args->word_count > 1 ? args->words[1] : NULL;
    bool list = strcmp(action, "list") == 0;
    bool show = strcmp(action, "show") == 0;
    if (!list && !show && strcmp(action, "redrive") != 0 && strcmp(action, "drop") != 0)
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "dlq: \"%s\" is none of list, show, redrive, drop", action);
    if (list && task)
        return cli_fail(cli, CLI_USAGE, "invalid", "dlq list takes no task: dlq show %s", task);
    if (!list && !task)
        return cli_fail(cli, CLI_USAGE, "invalid", "dlq %s needs TASK: sluice dlq %s TASK", action,
                        action);
    if (!list && !show)
        return dlq_act(cli, task, action);
    struct cli_reply reply;
    int code = cli_http_get(cli, "/api/v1/dlq", &reply);
    if (code != CLI_OK)
        cli_reply_fail(cli, &reply);
    else
        code = list ? dlq_list(cli, reply.body) : dlq_show(cli, reply.body, task);
    cli_reply_fini(&reply);
    return code;
}
