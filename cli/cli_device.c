#include <string.h>

#include "cli/cli.h"
#include "cli/cli_device.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"
#include "cli/cli_worker.h"

/* "37 % 61 °C", of what is known; of a GPU the busiest of its parts. */
static void load_put(const json_t *telemetry, char *out, size_t out_bytes)
{
    static const char *const parts[] = {"busy_percent", "encoder_percent", "decoder_percent"};
    json_int_t busy = -1;
    char heat[32] = "";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *part = json_object_get(telemetry, parts[i]);
        if (json_is_integer(part) && json_integer_value(part) > busy)
            busy = json_integer_value(part);
    }
    if (json_is_integer(json_object_get(telemetry, "temperature_c")))
        snprintf(heat, sizeof heat, "%s%" JSON_INTEGER_FORMAT " °C", busy >= 0 ? ", " : "",
                 cli_json_int(telemetry, "temperature_c"));
    out[0] = '\0';
    if (busy >= 0)
        snprintf(out, out_bytes, "%" JSON_INTEGER_FORMAT " %%", busy);
    strncat(out, heat, out_bytes - strlen(out) - 1);
}

/* What a GPU that encodes nothing is used for. */
static void feed_put(const json_t *row, char *out, size_t out_bytes)
{
    const char *const words[][2] = {
        {"faster", "decodes and scales for the CPU: "},
        {"always", "decodes and scales for the CPU, as configured"},
        {"slower", "not used: "},
        {"never", "not used, as configured"},
        {"unmeasured", json_is_true(json_object_get(row, "standin"))
                           ? "not used: a stand-in is not measured"
                           : "not used: not measured yet (sluice bench)"},
    };
    const char *feed = cli_json_text(row, "feed");
    double ratio = cli_json_real(row, "feed_ratio");
    out[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(feed, words[i][0]) == 0)
            snprintf(out, out_bytes, "%s", words[i][1]);
    size_t used = strlen(out);
    if (strcmp(feed, "faster") == 0)
        snprintf(out + used, out_bytes - used, "%.2f x", ratio);
    else if (strcmp(feed, "slower") == 0)
        snprintf(out + used, out_bytes - used, "%.2f x of the CPU alone", ratio);
    else if (used > 0 && ratio > 0)
        snprintf(out + used, out_bytes - used, ": %.2f x", ratio);
}

void cli_device_print(const struct cli_term *term, const json_t *rows)
{
    static const struct cli_column columns[] = {
        {"DEVICE", CLI_CUT, false},    {"KIND", CLI_KEEP, false},     {"HEALTH", CLI_STATE, false},
        {"ENCODES", CLI_SPARE, false}, {"SESSIONS", CLI_SPARE, true}, {"LOAD", CLI_SPARE, true},
        {"NODE", CLI_SPARE, false},    {"NAME", CLI_CUT, false},      {"REASON", CLI_CUT, false},
    };
    struct cli_table *table = cli_table_open(columns, 9);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        char encodes[128] = "", sessions[48], load[64], feed[96];
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
        load_put(json_object_get(row, "telemetry"), load, sizeof load);
        const char *node = cli_json_text(row, "node"),
                   *reason = cli_json_text(row, "health_reason");
        feed_put(row, feed, sizeof feed);
        const char *cells[] = {cli_json_text(row, "device_id"),
                               cli_json_text(row, "kind"),
                               cli_json_text(row, "health"),
                               encodes,
                               sessions,
                               load,
                               node[0] ? node : cli_json_text(row, "node_id"),
                               cli_json_text(row, "name"),
                               reason[0] ? reason : feed};
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
