#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/cli_device.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"

#define PROBE_BYTES_MAX (1024 * 1024)
#define PROBE_NS        SL_S_TO_NS(30)

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

/* Reads the worker's standard output until it ends, is too long, or time is up. */
static int probe_read(int fd, struct sl_buf *out)
{
    int64_t end_ns = sl_now_ns() + PROBE_NS;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left_ns = end_ns - sl_now_ns();
        if (left_ns <= 0 || poll(&wait, 1, (int)SL_NS_TO_MS(left_ns) + 1) == 0)
            return SL_ETIMEDOUT;
        char bytes[4096];
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? SL_OK : SL_EIO;
        if (out->length + (size_t)got > PROBE_BYTES_MAX)
            return SL_ELIMIT;
        sl_buf_append(out, bytes, (size_t)got);
    }
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
    char worker[4096];
    int ends[2];
    if (cli_sibling_path("sluice-worker", worker, sizeof worker) != SL_OK)
        return cli_fail(cli, CLI_NOT_FOUND, "not_found",
                        "there is no sluice-worker beside this program: install all four programs "
                        "in one folder");
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cli_fail(cli, CLI_FAILED, "limit", "cannot start sluice-worker: %s",
                        strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {worker, "--probe-devices", NULL};
        dup2(ends[1], STDOUT_FILENO);
        execv(worker, argv);
        _exit(127);
    }
    close(ends[1]);
    struct sl_buf out = {0};
    int status = 0;
    int result = pid < 0 ? SL_ELIMIT : probe_read(ends[0], &out);
    if (pid > 0) {
        if (result != SL_OK)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    close(ends[0]);
    json_t *document = out.length ? json_loadb((const char *)out.data, out.length, 0, NULL) : NULL;
    int code = CLI_OK;
    if (result == SL_ETIMEDOUT)
        code = cli_fail(cli, CLI_FAILED, "hang",
                        "sluice-worker --probe-devices did not end within 30 s: a driver hangs");
    else if (pid > 0 && WIFSIGNALED(status) && result == SL_OK)
        code = cli_fail(cli, CLI_FAILED, "worker_crashed",
                        "sluice-worker --probe-devices was killed by signal %d (%s): a driver "
                        "crashes when it is asked",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (result != SL_OK || status != 0 || !json_is_array(json_object_get(document, "devices")))
        code = cli_fail(cli, CLI_FAILED, "worker_failed",
                        "sluice-worker --probe-devices gave no list of devices; its own message is "
                        "above");
    else {
        devices_show(cli, document);
        notes_show(cli, json_object_get(document, "notes"));
        if (!cli->json && cli_json_text(document, "sandbox")[0])
            cli_note(cli, "sandbox of the workers: %s", cli_json_text(document, "sandbox"));
    }
    json_decref(document);
    sl_buf_fini(&out);
    return code;
}
