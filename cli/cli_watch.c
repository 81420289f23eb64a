#include "cli/cli_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "cli/cli_http.h"
#include "cli/cli_view.h"

#define POLL_MIN_NS  SL_MS_TO_NS(250)
#define POLL_MAX_NS  SL_MS_TO_NS(1000)
#define BAR_MAX      40
#define NAME_COLUMNS 10
#define NOTE_COLUMNS 16

static const char *const stages[] = {"probe",  "transcode", "audio", "subtitles",
                                     "images", "package",   "verify"};
#define STAGE_COUNT (sizeof stages / sizeof stages[0])

static bool status_is_final(const char *status)
{
    return strcmp(status, "ready") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "cancelled") == 0;
}

/* How a stage stands: permille done, and the words beside its bar. Returns false for one that is not shown. */
static bool stage_read(const json_t *progress, const char *stage, int *permille, char *note,
                       size_t note_bytes, const char **state)
{
    const json_t *entry = json_object_get(progress, stage);
    if (json_is_object(entry)) {
        json_int_t completed = cli_json_int(entry, "completed");
        json_int_t total = cli_json_int(entry, "total");
        if (completed < 0)
            completed = 0;
        if (completed > total)
            completed = total;
        *permille = total > 0 ? (int)sl_muldiv_i64(completed, 1000, total) : 0;
        *state = total > 0 && completed == total ? "completed"
                 : completed > 0                 ? "running"
                                                 : "pending";
        if (total > 0)
            snprintf(note, note_bytes, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT " %d %%",
                     completed, total, *permille / 10);
        else
            snprintf(note, note_bytes, "pending");
        return true;
    }
    const char *word = json_string_value(entry);
    if (!word)
        return false;
    bool optional = strcmp(stage, "subtitles") == 0 || strcmp(stage, "images") == 0;
    if (optional && (strcmp(word, "skipped") == 0 || strcmp(word, "pending") == 0))
        return false;
    *permille = strcmp(word, "completed") == 0 ? 1000 : strcmp(word, "running") == 0 ? 500 : 0;
    *state = word;
    snprintf(note, note_bytes, "%s", word);
    return true;
}

static void bar_draw(const struct cli_term *term, struct sl_buf *out, const char *state,
                     int permille, int columns)
{
    int full = columns * permille / 1000;
    cli_term_colour(term, out, cli_term_state_colour(state));
    for (int i = 0; i < columns; i++) {
        if (i == full) {
            cli_term_colour(term, out, CLI_PLAIN);
            cli_term_colour(term, out, CLI_DIM);
        }
        if (i < full)
            sl_buf_text(out, term->utf8 ? "\xE2\x96\x88" : "#");
        else
            sl_buf_text(out, term->utf8 ? "\xE2\x96\x91" : ".");
    }
    cli_term_colour(term, out, CLI_PLAIN);
}

static void estimate_text(const json_t *status, int64_t now_unix_ns, bool waiting, char *text,
                          size_t text_bytes)
{
    char left[CLI_DURATION_BYTES], playable[CLI_DURATION_BYTES];
    const char *word = cli_json_text(status, "status");
    int64_t end_unix_ns = cli_view_time_parse(cli_json_text(status, "estimated_completion"));
    double seconds = cli_json_real(status, "playable_seconds");
    if (waiting)
        snprintf(text, text_bytes, "waiting for the daemon");
    else if (status_is_final(word))
        snprintf(text, text_bytes, "%s", word);
    else if (strcmp(word, "uploaded") == 0 && !cli_json_text(status, "started_at")[0])
        snprintf(text, text_bytes, "waiting for its turn");
    else if (end_unix_ns > now_unix_ns)
        snprintf(text, text_bytes, "about %s left",
                 cli_view_duration((double)(end_unix_ns - now_unix_ns) / 1e9, left));
    else if (end_unix_ns)
        snprintf(text, text_bytes, "nearly done");
    else
        snprintf(text, text_bytes, "no estimate yet");
    size_t used = strlen(text);
    if (seconds > 0 && !status_is_final(word))
        snprintf(text + used, text_bytes - used, ", %s playable",
                 cli_view_duration(seconds, playable));
}

void cli_watch_draw(const struct cli_term *term, const json_t *status, int width,
                    int64_t now_unix_ns, bool waiting, struct sl_buf *out, int *out_lines)
{
    char text[256];
    int lines = 0;
    /* The last column stays free: some terminals wrap as soon as it is written. */
    int columns = width - 1;
    snprintf(text, sizeof text, "%s  %s", cli_json_text(status, "video_id"),
             cli_json_text(status, "status"));
    cli_term_text(term, out, text, columns);
    sl_buf_text(out, "\n");
    lines++;
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        int permille = 0;
        const char *state = "";
        char note[64], name[24];
        if (!stage_read(json_object_get(status, "pipeline_progress"), stages[i], &permille, note,
                        sizeof note, &state))
            continue;
        snprintf(name, sizeof name, "%-*s", NAME_COLUMNS, stages[i]);
        int bar = columns - NAME_COLUMNS - 1 - NOTE_COLUMNS;
        if (bar > BAR_MAX)
            bar = BAR_MAX;
        int used = cli_term_text(term, out, name, columns);
        if (bar >= 4) {
            bar_draw(term, out, state, permille, bar);
            sl_buf_text(out, " ");
            used += bar + 1;
        }
        bool plain = cli_term_state_colour(state) == CLI_PLAIN || bar >= 4;
        if (!plain)
            cli_term_colour(term, out, cli_term_state_colour(state));
        cli_term_text(term, out, note, columns - used);
        if (!plain)
            cli_term_colour(term, out, CLI_PLAIN);
        sl_buf_text(out, "\n");
        lines++;
    }
    estimate_text(status, now_unix_ns, waiting, text, sizeof text);
    cli_term_text(term, out, text, columns);
    sl_buf_text(out, "\n");
    *out_lines = lines + 1;
}

/* What was last shown, so that only changes are. */
struct watch {
    struct cli *cli;
    int lines_drawn;
    char *last_document; /* --json */
    char last_lines[STAGE_COUNT][96];
    char last_status[32];
    char last_playable[CLI_DURATION_BYTES];
    bool said_waiting;
};

static void picture_show(struct watch *watch, const json_t *status, bool waiting)
{
    const struct cli_term *term = &watch->cli->out;
    struct sl_buf picture = {0};
    struct sl_buf out = {0};
    int lines = 0;
    cli_watch_draw(term, status, cli_term_width(term), sl_now_unix_ns(), waiting, &picture, &lines);
    if (watch->lines_drawn)
        sl_buf_printf(&out, "\033[%dA\r\033[J", watch->lines_drawn);
    sl_buf_append(&out, picture.data, picture.length);
    cli_term_write(term, &out);
    watch->lines_drawn = lines;
    sl_buf_fini(&picture);
    sl_buf_fini(&out);
}

static void lines_show(struct watch *watch, const json_t *status)
{
    struct sl_buf out = {0};
    const char *word = cli_json_text(status, "status");
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        int permille;
        const char *state;
        char note[64];
        if (!stage_read(json_object_get(status, "pipeline_progress"), stages[i], &permille, note,
                        sizeof note, &state) ||
            strcmp(note, watch->last_lines[i]) == 0)
            continue;
        snprintf(watch->last_lines[i], sizeof watch->last_lines[i], "%s", note);
        if (strcmp(note, "pending") == 0)
            continue;
        sl_buf_printf(&out, "%s: ", stages[i]);
        cli_term_text(&watch->cli->out, &out, note, -1);
        sl_buf_text(&out, "\n");
    }
    double seconds = cli_json_real(status, "playable_seconds");
    char playable[CLI_DURATION_BYTES];
    cli_view_duration(seconds, playable);
    if (seconds > 0 && !status_is_final(word) && strcmp(playable, watch->last_playable) != 0) {
        /* Where it plays is said once. */
        const char *hls = cli_json_text(json_object_get(status, "manifests"), "hls");
        sl_buf_printf(&out, "playable: %s%s", playable, watch->last_playable[0] ? "" : " at ");
        if (!watch->last_playable[0])
            cli_term_text(&watch->cli->out, &out, hls, -1);
        sl_buf_text(&out, "\n");
        memcpy(watch->last_playable, playable, sizeof playable);
    }
    if (strcmp(word, watch->last_status) != 0) {
        snprintf(watch->last_status, sizeof watch->last_status, "%s", word);
        if (!status_is_final(word)) {
            sl_buf_text(&out, "status: ");
            cli_term_text(&watch->cli->out, &out, word, -1);
            sl_buf_text(&out, "\n");
        }
    }
    cli_term_write(&watch->cli->out, &out);
    sl_buf_fini(&out);
}

/* The estimate moves all the time and is no change. */
static bool document_show(struct watch *watch, const json_t *status)
{
    json_t *copy = json_copy((json_t *)status);
    json_object_del(copy, "estimated_completion");
    char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(copy);
    bool changed = !watch->last_document || !text || strcmp(text, watch->last_document) != 0;
    free(watch->last_document);
    watch->last_document = text;
    if (changed)
        cli_json_print(watch->cli, status, true);
    return changed;
}

/* Returns whether something changed, which keeps the polling quick. */
static bool status_show(struct watch *watch, const json_t *status)
{
    if (watch->cli->json)
        return document_show(watch, status);
    if (watch->cli->out.terminal)
        picture_show(watch, status, false);
    else
        lines_show(watch, status);
    return true;
}

static void waiting_show(struct watch *watch, const json_t *last, const struct cli_reply *reply)
{
    if (!watch->cli->json && watch->cli->out.terminal) {
        picture_show(watch, last, true);
    } else if (!watch->said_waiting) {
        cli_note(watch->cli, "waiting for the daemon: %s", reply->message);
        watch->said_waiting = true;
    }
}

/* The last words: what came of it. */
static int end_say(struct cli *cli, const json_t *status)
{
    const char *word = cli_json_text(status, "status");
    if (strcmp(word, "ready") == 0) {
        const json_t *manifests = json_object_get(status, "manifests");
        int64_t from = cli_view_time_parse(cli_json_text(status, "created_at"));
        int64_t to = cli_view_time_parse(cli_json_text(status, "completed_at"));
        char took[CLI_DURATION_BYTES];
        struct sl_buf out = {0};
        if (cli->json)
            return CLI_OK;
        if (from && to > from)
            sl_buf_printf(&out, "ready after %s\n",
                          cli_view_duration((double)(to - from) / 1e9, took));
        else
            sl_buf_text(&out, "ready\n");
        static const char *const kinds[][2] = {{"hls", "HLS   "}, {"dash", "DASH  "}};
        for (int i = 0; i < 2; i++) {
            const char *address = cli_json_text(manifests, kinds[i][0]);
            if (!address[0])
                continue;
            sl_buf_text(&out, kinds[i][1]);
            cli_term_text(&cli->out, &out, address, -1);
            sl_buf_text(&out, "\n");
        }
        cli_term_write(&cli->out, &out);
        sl_buf_fini(&out);
        return CLI_OK;
    }
    const json_t *error = json_object_get(status, "error");
    const char *message = cli_json_text(error, "message");
    cli->quiet_json = true; /* the last status document says it all */
    return cli_fail(cli, CLI_FAILED, word, "video %s %s%s%s%s", cli_json_text(status, "video_id"),
                    strcmp(word, "failed") == 0 ? "failed" : "was cancelled",
                    message[0] ? ": " : "", message,
                    message[0] ? "; `sluice retry` takes it up again once the cause is gone" : "");
}

static void pause_ns(int64_t ns)
{
    struct timespec wait = {.tv_sec = ns / SL_NS_PER_S, .tv_nsec = ns % SL_NS_PER_S};
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {
    }
}

int cli_watch_video(struct cli *cli, const char *video)
{
    struct watch watch = {.cli = cli};
    struct sl_buf path = {0};
    json_t *last = NULL;
    int64_t silent_since_ns = 0;
    int64_t poll_ns = POLL_MIN_NS;
    int code = CLI_OK;
    sl_buf_text(&path, "/api/v1/videos/");
    cli_http_escape(&path, video);
    sl_buf_text(&path, "/status");
    for (;;) {
        struct cli_reply reply;
        code = cli_http_get(cli, (const char *)path.data, &reply);
        bool away = code == CLI_UNREACHABLE || reply.status == 503;
        if (code == CLI_OK) {
            silent_since_ns = 0;
            watch.said_waiting = false;
            json_decref(last);
            last = json_incref(reply.body);
            bool changed = status_show(&watch, last);
            poll_ns = changed && cli->json ? POLL_MIN_NS : poll_ns * 5 / 4;
        } else if (away && last &&
                   (!silent_since_ns ||
                    sl_now_ns() - silent_since_ns < SL_S_TO_NS(WATCH_PATIENCE_SECONDS))) {
            if (!silent_since_ns)
                silent_since_ns = sl_now_ns();
            waiting_show(&watch, last, &reply);
            poll_ns = POLL_MIN_NS;
        } else {
            cli_reply_fail(cli, &reply);
            cli_reply_fini(&reply);
            break;
        }
        cli_reply_fini(&reply);
        if (code == CLI_OK && status_is_final(cli_json_text(last, "status"))) {
            code = end_say(cli, last);
            break;
        }
        if (poll_ns > POLL_MAX_NS)
            poll_ns = POLL_MAX_NS;
        pause_ns(poll_ns);
    }
    json_decref(last);
    free(watch.last_document);
    sl_buf_fini(&path);
    return code;
}

int cli_watch_run(struct cli *cli, const struct cli_args *args)
{
    return cli_watch_video(cli, args->words[0]);
}
