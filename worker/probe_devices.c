#include "worker/probe_devices.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "wire/wire_control.h"
#include "worker/backends.h"
#include "worker/probe_kinds.h"
#include "worker/sandbox.h"

static void text_put(struct sl_buf *out, const char *name, const char *value)
{
    sl_buf_printf(out, "\"%s\": ", name);
    sl_buf_json_string(out, value, strlen(value));
    sl_buf_text(out, ", ");
}

static void rows_put(struct sl_buf *out, const struct hal_device *device)
{
    sl_buf_text(out, "\"encoders\": [");
    bool first = true;
    for (int32_t i = 0; i < device->row_count; i++) {
        const struct hal_row *row = &device->rows[i];
        if (row->direction != HAL_ENCODE)
            continue;
        sl_buf_text(out, first ? "{" : ", {");
        first = false;
        text_put(out, "encoder", row->encoder);
        text_put(out, "codec", codec_word(row->codec));
        sl_buf_printf(
            out,
            "\"width_max\": %d, \"height_max\": %d, \"ten_bit\": %s, \"mpix_per_s\": %" PRId64 "}",
            row->width_max, row->height_max,
            row->layouts & (1u << HAL_I420_10 | 1u << HAL_P010) ? "true" : "false",
            row->mpix_per_s);
    }
    sl_buf_text(out, "]");
}

static void codecs_put(struct sl_buf *out, const char *name, uint32_t codecs)
{
    const char *between = "";
    sl_buf_printf(out, "\"%s\": [", name);
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (codecs & 1u << codec) {
            sl_buf_printf(out, "%s\"%s\"", between, codec_word((enum codec)codec));
            between = ", ";
        }
    sl_buf_text(out, "], ");
}

static void rates_put(struct sl_buf *out, const struct device_row *row)
{
    const char *between = "";
    sl_buf_text(out, "\"mpix_per_s\": {");
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (row->encodes & 1u << codec && row->mpix_per_s[codec] > 0) {
            sl_buf_printf(out, "%s\"%s\": %" PRId64, between, codec_word((enum codec)codec),
                          row->mpix_per_s[codec]);
            between = ", ";
        }
    sl_buf_text(out, "}, ");
}

/* What is known; what is not is left out. */
static void telemetry_put(struct sl_buf *out, const struct device_telemetry *t)
{
    const struct {
        const char *name;
        int64_t value;
    } members[] = {{"busy_percent", t->busy_percent},
                   {"encoder_percent", t->encoder_percent},
                   {"decoder_percent", t->decoder_percent},
                   {"memory_used_bytes", t->memory_used_bytes},
                   {"temperature_c", t->temperature_c}};
    const char *between = "";
    sl_buf_text(out, "\"telemetry\": {");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value >= 0) {
            sl_buf_printf(out, "%s\"%s\": %" PRId64, between, members[i].name, members[i].value);
            between = ", ";
        }
    if (t->power_mw >= 0)
        sl_buf_printf(out, "%s\"power_watts\": %.15g", between, (double)t->power_mw / 1000);
    sl_buf_text(out, "}, ");
}

/* The members of /api/v1/devices (scheduler/api/api_farm.c), and more of what each can encode. */
static void device_put(struct sl_buf *out, const struct hal_device *device)
{
    struct device_row row;
    hal_device_report(device, &row);
    sl_buf_text(out, "{");
    text_put(out, "device_id", row.device_id);
    text_put(out, "kind", device_kind_word(row.kind));
    text_put(out, "name", row.name);
    text_put(out, "health", device_health_word(row.health));
    if (row.health_reason[0])
        text_put(out, "health_reason", row.health_reason);
    else
        sl_buf_text(out, "\"health_reason\": null, ");
    codecs_put(out, "encodes", row.encodes);
    codecs_put(out, "ten_bit", row.encodes_ten_bit);
    codecs_put(out, "decodes", row.decodes);
    sl_buf_printf(out, "\"sessions_in_use\": %d, \"session_limit\": %d, ", row.sessions_in_use,
                  row.session_limit);
    rates_put(out, &row);
    telemetry_put(out, &row.telemetry);
    sl_buf_text(out, "\"feed\": null, \"feed_ratio\": null, "); /* the agent's to say */
    text_put(out, "driver", device->driver);
    sl_buf_printf(out, "\"standin\": %s, ", device->standin ? "true" : "false");
    sl_buf_printf(out, "\"cpus\": %d, \"memory_bytes\": %" PRId64 ", ", device->cpus,
                  device->memory_bytes);
    rows_put(out, device);
    sl_buf_text(out, "}");
}

/* What a worker will be held by, and what this system lacks. False where no media could be opened at all. */
static bool sandbox_try(struct sandbox *sandbox, char *text, size_t text_bytes)
{
    struct sl_failure why = {0};
    if (sandbox_enter(sandbox, NULL, &why) != SL_OK) {
        sl_error(NULL, "%s", why.message);
        return false;
    }
    sandbox_describe(sandbox, text, text_bytes);
    return true;
}

/* An agent probes at its start, so this is said once in its log. */
static void sandbox_say(const struct sandbox *sandbox, const char *text)
{
    if (sandbox_is_whole(sandbox))
        sl_info(NULL, "sandbox of the workers: %s", text);
    else
        sl_warn(NULL, "sandbox of the workers: %s", text);
}

/* Two lines that a reader of the log can act upon are no alarm each time an agent starts without a GPU. */
static void notes_say(const struct probe_result *found)
{
    for (int32_t i = 0; i < found->note_count; i++)
        if (found->notes[i].fault)
            sl_warn(NULL, "%s", found->notes[i].text);
        else
            sl_info(NULL, "%s", found->notes[i].text);
}

static int rows_send(int socket, const struct probe_result *found)
{
    struct device_row rows[NODE_DEVICES_MAX] = {0};
    for (int32_t i = 0; i < found->device_count; i++)
        hal_device_report(&found->devices[i], &rows[i]);
    return control_devices_send(socket, rows, found->device_count);
}

int probe_devices(int socket)
{
    static struct probe_result found;
    struct sandbox sandbox;
    sandbox_isolate(&sandbox);
    probe_kinds(&worker_backends, PROBE_DEADLINE_NS, &found);
    char held_by[256];
    if (!sandbox_try(&sandbox, held_by, sizeof held_by))
        return 1; /* a node whose workers could open nothing offers nothing */
    if (socket >= 0) {
        sandbox_say(&sandbox, held_by);
        notes_say(&found);
        return rows_send(socket, &found) == SL_OK ? 0 : 1;
    }
    struct sl_buf out = {0};
    sl_buf_text(&out, "{\"devices\": [");
    for (int32_t i = 0; i < found.device_count; i++) {
        if (i)
            sl_buf_text(&out, ", ");
        device_put(&out, &found.devices[i]);
    }
    sl_buf_text(&out, "], \"notes\": [");
    for (int32_t i = 0; i < found.note_count; i++) {
        if (i)
            sl_buf_text(&out, ", ");
        sl_buf_json_string(&out, found.notes[i].text, strlen(found.notes[i].text));
    }
    sl_buf_text(&out, "], \"sandbox\": ");
    sl_buf_json_string(&out, held_by, strlen(held_by));
    sl_buf_text(&out, "}\n");
    bool written =
        !out.failed && fwrite(out.data, 1, out.length, stdout) == out.length && fflush(stdout) == 0;
    sl_buf_fini(&out);
    return written ? 0 : 1;
}
