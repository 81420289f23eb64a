#include <string.h>

#include "cli/cli.h"
#include "cli/cli_device.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "cli/cli_worker.h"

void cli_device_print(const struct cli_term *term, const json_t *rows)
{
    static const struct cli_column columns[] = {
        {"DEVICE", CLI_CUT, false},    {"KIND", CLI_KEEP, false},     {"HEALTH", CLI_STATE, false},
        {"ENCODES", CLI_SPARE, false}, {"SESSIONS", CLI_SPARE, true}, {"NODE", CLI_SPARE, false},
        {"NAME", CLI_CUT, false},      {"REASON", CLI_CUT, false},
    };
    struct cli_table *table = cli_table_open(columns, 8);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        char encodes[128] = "", sessions[48];
        size_t at;
        json_t *codec;
        json_array_foreach(json_object_get(row, "encodes"), at, codec)
        {
            size_t used = strlen(encodes);
            if (json_is_string(codec))
                snprintf(encodes + used, sizeof encodes - used, "%s%s", used ? " " : "",
                         json_string_value(codec));
        }
        json_int_t limit = cli_json_int(row, "session_limit");
        if (limit > 0)
            snprintf(sessions, sizeof sessions, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT,
                     cli_json_int(row, "sessions_in_use"), limit);
        else
            snprintf(sessions, sizeof sessions, "%" JSON_INTEGER_FORMAT,
                     cli_json_int(row, "sessions_in_use"));
        const char *node = cli_json_text(row, "node");
        const char *cells[] = {cli_json_text(row, "device_id"),
                               cli_json_text(row, "kind"),
                               cli_json_text(row, "health"),
                               encodes,
                               sessions,
                               node[0] ? node : cli_json_text(row, "node_id"),
                               cli_json_text(row, "name"),
                               cli_json_text(row, "health_reason")};
        cli_table_row(table, cells);
    }
    cli_table_print(table, term);
}

static int devices_show(struct cli *cli, const json_t *document)
{
    const json_t *rows = json_object_get(document, "devices");
    if (cli->json)
        cli_json_print(cli, document, false);
    else if (json_array_size(rows) == 0)
        cli_note(cli, "no devices");
    else
        cli_device_print(&cli->out, rows);
    return CLI_OK;
}

int cli_device_list(struct cli *cli, const struct cli_args *args)
{
    (void)args;
    struct cli_reply reply;
    int code = cli_http_get(cli, "/api/v1/devices", &reply);
    if (code != CLI_OK)
        cli_reply_fail(cli, &reply);
    else
        devices_show(cli, reply.body);
    cli_reply_fini(&reply);
    return code;
}

/* What is not there, or not in order, and why. */
static void notes_show(struct cli *cli, const json_t *notes)
{
    size_t i;
    json_t *text;
    if (!cli->json)
        json_array_foreach(notes, i, text) cli_note(cli, "%s", json_string_value(text));
}

int cli_device_hw(struct cli *cli, const struct cli_args *args)
{
    (void)args;
    json_t *document;
    int code = cli_worker_devices(cli, &document);
    if (code != CLI_OK)
        return code;
    devices_show(cli, document);
    notes_show(cli, json_object_get(document, "notes"));
    if (!cli->json && cli_json_text(document, "sandbox")[0])
        cli_note(cli, "sandbox of the workers: %s", cli_json_text(document, "sandbox"));
    json_decref(document);
    return CLI_OK;
}
