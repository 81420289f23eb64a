#include "cli/cli_view.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/cli_table.h"

char *cli_view_duration(double seconds, char text[CLI_DURATION_BYTES])
{
    long whole = (long)(seconds + 0.5);
    if (seconds < 0)
        snprintf(text, CLI_DURATION_BYTES, "0 s");
    else if (seconds < 9.95)
        snprintf(text, CLI_DURATION_BYTES, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(text, CLI_DURATION_BYTES, "%ld s", whole);
    else if (whole < 3600)
        snprintf(text, CLI_DURATION_BYTES, "%ld min %ld s", whole / 60, whole % 60);
    else
        snprintf(text, CLI_DURATION_BYTES, "%ld h %ld min", whole / 3600, whole % 3600 / 60);
    return text;
}

char *cli_view_bytes(double bytes, char text[CLI_BYTES_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1000;
        unit++;
    }
    snprintf(text, CLI_BYTES_BYTES, unit && bytes < 99.95 ? "%.1f %s" : "%.0f %s", bytes,
             units[unit]);
    return text;
}

int64_t cli_view_time_parse(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return 0;
    int64_t unix_ns = SL_S_TO_NS(timegm(&tm));
    if (*rest == '.') {
        int64_t scale = SL_NS_PER_S / 10;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            unix_ns += (*rest - '0') * scale;
    }
    return *rest == 'Z' ? unix_ns : 0;
}

static void field(const struct cli_term *term, struct sl_buf *out, const char *name,
                  const char *value)
{
    if (!value[0])
        return;
    int width = cli_term_width(term);
    cli_term_colour(term, out, CLI_DIM);
    sl_buf_printf(out, "%-11s ", name);
    cli_term_colour(term, out, CLI_PLAIN);
    enum cli_colour colour = strcmp(name, "status") == 0 ? cli_term_state_colour(value) : CLI_PLAIN;
    if (colour != CLI_PLAIN)
        cli_term_colour(term, out, colour);
    /* Addresses and sentences are copied by people: never cut, the terminal wraps them. */
    (void)width;
    cli_term_text(term, out, value, -1);
    if (colour != CLI_PLAIN)
        cli_term_colour(term, out, CLI_PLAIN);
    sl_buf_text(out, "\n");
}

void cli_view_farm(const struct cli_term *term, const json_t *status)
{
    struct sl_buf out = {0};
    char text[256];
    const char *leader = json_is_true(json_object_get(status, "leader")) ? "yes"
                         : json_is_false(json_object_get(status, "leader"))
                             ? "no"
                             : cli_json_text(status, "leader");
    field(term, &out, "leader", leader);
    field(term, &out, "version", cli_json_text(status, "version"));
    const json_t *nodes = json_object_get(status, "nodes");
    if (json_is_object(nodes)) {
        const char *state;
        json_t *count;
        text[0] = '\0';
        json_object_foreach((json_t *)nodes, state, count)
        {
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%s%" JSON_INTEGER_FORMAT " %s",
                     used ? ", " : "", json_integer_value(count), state);
        }
    } else {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, cli_json_int(status, "nodes"));
    }
    field(term, &out, "nodes", text);
    snprintf(text, sizeof text,
             "%" JSON_INTEGER_FORMAT " queued, %" JSON_INTEGER_FORMAT
             " running, %" JSON_INTEGER_FORMAT " dead",
             cli_json_int(status, "queued"), cli_json_int(status, "running"),
             cli_json_int(status, "dead"));
    field(term, &out, "tasks", text);
    text[0] = '\0';
    const char *state;
    json_t *count;
    json_object_foreach(json_object_get(status, "videos"), state, count)
    {
        size_t used = strlen(text);
        if (json_integer_value(count) > 0)
            snprintf(text + used, sizeof text - used, "%s%" JSON_INTEGER_FORMAT " %s",
                     used ? ", " : "", json_integer_value(count), state);
    }
    field(term, &out, "videos", text[0] ? text : "none");
    cli_term_write(term, &out);
    sl_buf_fini(&out);
}

static void source_text(const json_t *source, char *text, size_t text_bytes)
{
    char duration[CLI_DURATION_BYTES];
    text[0] = '\0';
    if (!json_is_object(source))
        return;
    snprintf(text, text_bytes,
             "%s %" JSON_INTEGER_FORMAT "x%" JSON_INTEGER_FORMAT ", %s, %" JSON_INTEGER_FORMAT
             " frames",
             cli_json_text(source, "codec"), cli_json_int(source, "width"),
             cli_json_int(source, "height"),
             cli_view_duration(cli_json_real(source, "duration_seconds"), duration),
             cli_json_int(source, "frames"));
}

static void progress_fields(const struct cli_term *term, struct sl_buf *out, const json_t *progress)
{
    static const char *const steps[] = {"probe",     "plan",   "transcode", "audio",
                                        "subtitles", "images", "package",   "verify"};
    char text[512] = "";
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const json_t *state = json_object_get(progress, steps[i]);
        size_t used = strlen(text);
        if (json_is_object(state))
            snprintf(text + used, sizeof text - used,
                     "%s%s %" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, used ? ", " : "",
                     steps[i], cli_json_int(state, "completed"), cli_json_int(state, "total"));
        else if (json_is_string(state) && strcmp(json_string_value(state), "skipped") != 0)
            snprintf(text + used, sizeof text - used, "%s%s %s", used ? ", " : "", steps[i],
                     json_string_value(state));
    }
    field(term, out, "progress", text);
}

static void renditions_print(const struct cli_term *term, const json_t *renditions)
{
    static const struct cli_column columns[] = {
        {"CODEC", CLI_KEEP, false},    {"NAME", CLI_KEEP, false},   {"SIZE", CLI_SPARE, false},
        {"FRAMES", CLI_SPARE, true},   {"KBIT/S", CLI_SPARE, true}, {"BYTES", CLI_SPARE, true},
        {"ENCODER", CLI_SPARE, false}, {"DEVICES", CLI_CUT, false},
    };
    if (json_array_size(renditions) == 0)
        return;
    struct cli_table *table = cli_table_open(columns, 8);
    size_t i;
    json_t *row;
    json_array_foreach(renditions, i, row)
    {
        char size[48], frames[24], rate[24], bytes[CLI_BYTES_BYTES], devices[512] = "";
        size_t d;
        json_t *device;
        snprintf(size, sizeof size, "%" JSON_INTEGER_FORMAT "x%" JSON_INTEGER_FORMAT,
                 cli_json_int(row, "width"), cli_json_int(row, "height"));
        snprintf(frames, sizeof frames, "%" JSON_INTEGER_FORMAT, cli_json_int(row, "frames"));
        snprintf(rate, sizeof rate, "%" JSON_INTEGER_FORMAT, cli_json_int(row, "bitrate_kbps"));
        cli_view_bytes(cli_json_real(row, "bytes"), bytes);
        json_array_foreach(json_object_get(row, "devices"), d, device)
        {
            size_t used = strlen(devices);
            if (json_is_string(device))
                snprintf(devices + used, sizeof devices - used, "%s%s", used ? ", " : "",
                         json_string_value(device));
        }
        const char *cells[] = {cli_json_text(row, "codec"),
                               cli_json_text(row, "name"),
                               size,
                               frames,
                               rate,
                               bytes,
                               cli_json_text(row, "encoder"),
                               devices};
        cli_table_row(table, cells);
    }
    cli_table_print(table, term);
}

void cli_view_video(const struct cli_term *term, const json_t *status)
{
    struct sl_buf out = {0};
    char text[1024];
    field(term, &out, "video", cli_json_text(status, "video_id"));
    field(term, &out, "status", cli_json_text(status, "status"));
    const json_t *error = json_object_get(status, "error");
    if (json_is_object(error)) {
        snprintf(text, sizeof text, "%s (%s, %s, in %s)", cli_json_text(error, "message"),
                 cli_json_text(error, "class"), cli_json_text(error, "code"),
                 cli_json_text(error, "step"));
        field(term, &out, "error", text);
    }
    field(term, &out, "priority", cli_json_text(status, "priority"));
    field(term, &out, "policy", cli_json_text(status, "policy"));
    field(term, &out, "created", cli_json_text(status, "created_at"));
    field(term, &out, "started", cli_json_text(status, "started_at"));
    field(term, &out, "completed", cli_json_text(status, "completed_at"));
    if (!cli_json_text(status, "completed_at")[0])
        field(term, &out, "expected", cli_json_text(status, "estimated_completion"));
    source_text(json_object_get(status, "source"), text, sizeof text);
    field(term, &out, "source", text);
    size_t i;
    json_t *source_note;
    json_array_foreach(json_object_get(json_object_get(status, "source"), "notes"), i, source_note)
    {
        field(term, &out, i ? "" : "notes",
              json_string_value(source_note) ? json_string_value(source_note) : "");
    }
    progress_fields(term, &out, json_object_get(status, "pipeline_progress"));
    double playable = cli_json_real(status, "playable_seconds");
    if (playable > 0) {
        char duration[CLI_DURATION_BYTES];
        field(term, &out, "playable", cli_view_duration(playable, duration));
    }
    const json_t *manifests = json_object_get(status, "manifests");
    field(term, &out, "HLS", cli_json_text(manifests, "hls"));
    field(term, &out, "DASH", cli_json_text(manifests, "dash"));
    cli_term_write(term, &out);
    sl_buf_fini(&out);
    renditions_print(term, json_object_get(status, "renditions"));
}

void cli_view_list(const struct cli_term *term, const json_t *videos)
{
    static const struct cli_column columns[] = {
        {"VIDEO", CLI_KEEP, false},     {"STATUS", CLI_STATE, false}, {"DONE", CLI_SPARE, true},
        {"PRIORITY", CLI_SPARE, false}, {"POLICY", CLI_CUT, false},   {"CREATED", CLI_SPARE, false},
    };
    struct cli_table *table = cli_table_open(columns, 6);
    size_t i;
    json_t *row;
    json_array_foreach(videos, i, row)
    {
        char percent[24];
        snprintf(percent, sizeof percent, "%" JSON_INTEGER_FORMAT " %%",
                 cli_json_int(row, "percent"));
        const char *cells[] = {cli_json_text(row, "video_id"),
                               cli_json_text(row, "status"),
                               percent,
                               cli_json_text(row, "priority"),
                               cli_json_text(row, "policy"),
                               cli_json_text(row, "created_at")};
        cli_table_row(table, cells);
    }
    cli_table_print(table, term);
}

void cli_view_explain(const struct cli_term *term, const json_t *document)
{
    struct sl_buf out = {0};
    cli_term_text(term, &out, cli_json_text(document, "subject"), -1);
    sl_buf_text(&out, ": ");
    const char *state = cli_json_text(document, "state");
    cli_term_colour(term, &out, cli_term_state_colour(state));
    cli_term_text(term, &out, state, -1);
    cli_term_colour(term, &out, CLI_PLAIN);
    sl_buf_text(&out, "\n");
    size_t i;
    json_t *reason;
    json_array_foreach(json_object_get(document, "reasons"), i, reason)
    {
        sl_buf_text(&out, "  - ");
        cli_term_text(term, &out, json_is_string(reason) ? json_string_value(reason) : "", -1);
        sl_buf_text(&out, "\n");
    }
    cli_term_write(term, &out);
    sl_buf_fini(&out);
}
