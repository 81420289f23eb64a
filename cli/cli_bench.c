/* sluice bench: how fast this machine's devices encode. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/cli_table.h"
#include "cli/cli_worker.h"
#include "model/device_types.h"

/* One measurement of a slow encoder at 2160p takes so long at the most. */
#define LINE_NS SL_S_TO_NS(300)
#define CELLS   9

/* A line of worker/calibrate.h as an object; NULL when it is none. */
static json_t *figure_read(const char *line, const json_t *device)
{
    char copy[512], *cells[CELLS + 1] = {NULL};
    int count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = copy; at && count < CELLS + 1; count++) {
        cells[count] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
    }
    if (count < CELLS)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:f, s:s?, s:b}", "device_id",
                     cli_json_text(device, "device_id"), "encoder", cells[0], "codec", cells[1],
                     "preset", cells[2], "size", cells[3], "depth", atoi(cells[4]), "sessions",
                     atoi(cells[5]), "threads", atoi(cells[6]), "mpix_per_s", atof(cells[7]),
                     "total_mpix_per_s", atof(cells[8]), "feed", cells[CELLS], "standin",
                     json_is_true(json_object_get(device, "standin")));
}

/* Behind the figure of CPUs that a GPU feeds, which follows that of the CPUs alone. */
static void feed_print(struct sl_buf *text, const json_t *figure, double alone)
{
    const char *feed = cli_json_text(figure, "feed");
    double ratio = alone > 0 ? cli_json_real(figure, "total_mpix_per_s") / alone : 0;
    if (strcmp(feed, "alone") == 0)
        sl_buf_printf(text, "  the CPUs alone");
    else if (strcmp(feed, "fed") == 0)
        sl_buf_printf(text, "  the GPU decodes and scales for them: %.2f x%s", ratio,
                      json_is_true(json_object_get(figure, "standin")) ? ""
                      : 1000 * ratio >= DEVICE_FEED_PERMILLE           ? ", it will be used"
                                                                       : ", it will not be used");
}

static void figure_print(struct cli *cli, const json_t *figure, double before)
{
    struct sl_buf text = {0};
    sl_buf_printf(&text, "%-7s %-5s %-7s %-6s %2d bit  %2d at once",
                  cli_json_text(figure, "encoder"), cli_json_text(figure, "codec"),
                  cli_json_text(figure, "preset"), cli_json_text(figure, "size"),
                  (int)cli_json_int(figure, "depth"), (int)cli_json_int(figure, "sessions"));
    if (cli_json_int(figure, "threads") > 1)
        sl_buf_printf(&text, " of %d threads", (int)cli_json_int(figure, "threads"));
    else
        sl_buf_printf(&text, "             ");
    double total = cli_json_real(figure, "total_mpix_per_s");
    sl_buf_printf(&text, " %9.1f Mpix/s", total);
    feed_print(&text, figure, before);
    sl_buf_printf(&text, "\n");
    cli_term_write(&cli->out, &text);
    sl_buf_fini(&text);
}

/* What encodes, and what may feed what does. */
static bool is_measured(const json_t *device)
{
    return json_array_size(json_object_get(device, "encodes")) > 0 ||
           strcmp(cli_json_text(device, "kind"), "nvenc") == 0;
}

static int device_measure(struct cli *cli, const json_t *device, const char *depth,
                          const char *into, json_t *figures)
{
    char name[192];
    snprintf(name, sizeof name, "%s:%s", cli_json_text(device, "kind"),
             cli_json_text(device, "device_id"));
    const char *args[CLI_WORKER_ARGS_MAX] = {"--calibrate", name};
    int count = 2;
    if (depth)
        args[count++] = depth;
    if (into) {
        args[count++] = "--into";
        args[count++] = into;
    }
    struct cli_worker worker;
    int code = cli_worker_start(cli, args, &worker);
    if (code != CLI_OK)
        return code;
    if (!cli->json)
        printf("%s: %s%s\n", cli_json_text(device, "device_id"), cli_json_text(device, "name"),
               json_is_true(json_object_get(device, "standin"))
                   ? " (a stand-in: its figures say nothing of a GPU and are not kept)"
                   : "");
    const char *line;
    double before = 0;
    int got;
    while ((got = cli_worker_line(&worker, LINE_NS, &line)) > 0) {
        json_t *figure = figure_read(line, device);
        if (!figure)
            continue;
        if (!cli->json)
            figure_print(cli, figure, before);
        before = cli_json_real(figure, "total_mpix_per_s");
        json_array_append_new(figures, figure);
    }
    int status = cli_worker_end(&worker, got != 0);
    if (got == SL_ETIMEDOUT)
        cli_note(cli, "%s: no figure for %d s: the device hangs", name,
                 (int)(LINE_NS / SL_NS_PER_S));
    else if (WIFSIGNALED(status))
        cli_note(cli, "%s: killed by signal %d (%s): its driver crashes", name, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    return got == 0 && status == 0 ? CLI_OK : CLI_FAILED;
}

int cli_bench_run(struct cli *cli, const struct cli_args *args)
{
    const char *wanted = cli_args_text(args, "device"), *scratch = cli_args_text(args, "scratch");
    const char *depth = cli_args_has(args, "quick")  ? "--quick"
                        : cli_args_has(args, "full") ? "--full"
                                                     : NULL;
    char into[4200] = "";
    if (scratch)
        snprintf(into, sizeof into, "%s/speeds", scratch);
    json_t *document;
    int code = cli_worker_devices(cli, &document);
    if (code != CLI_OK)
        return code;
    json_t *figures = json_array();
    bool found = false;
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(document, "devices"), i, device)
    {
        if ((wanted && strcmp(wanted, cli_json_text(device, "device_id")) != 0) ||
            !is_measured(device))
            continue;
        found = true;
        int one = device_measure(cli, device, depth, scratch ? into : NULL, figures);
        code = one != CLI_OK ? one : code;
    }
    json_decref(document);
    if (!found && wanted)
        code = cli_fail(cli, CLI_NOT_FOUND, "not_found",
                        "there is no device %s here that encodes; `sluice hw` lists them", wanted);
    else if (cli->json) {
        json_t *out = json_pack("{s:O}", "figures", figures);
        cli_json_print(cli, out, false);
        json_decref(out);
    }
    json_decref(figures);
    return code;
}
