#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_table.h"

#define DRAIN_POLL_NS     SL_MS_TO_NS(300)
/* After the deadline the node still has to hand back what it runs. */
#define DRAIN_GRACE_NS    SL_S_TO_NS(20)
#define DRAIN_PATIENCE_NS SL_S_TO_NS(120) /* for a daemon that is away meanwhile */

static int nodes_get(struct cli *cli, struct cli_reply *reply)
{
    return cli_http_get(cli, "/api/v1/nodes", reply);
}

int cli_node_list(struct cli *cli, const struct cli_args *args)
{
    (void)args;
    static const struct cli_column columns[] = {
        {"NODE", CLI_KEEP, false},    {"NAME", CLI_CUT, false},   {"STATE", CLI_STATE, false},
        {"RUNNING", CLI_SPARE, true}, {"SPOT", CLI_SPARE, false}, {"DEVICES", CLI_SPARE, false},
    };
    struct cli_reply reply;
    int code = nodes_get(cli, &reply);
    if (code != CLI_OK) {
        cli_reply_fail(cli, &reply);
    } else if (cli->json) {
        cli_json_print(cli, reply.body, false);
    } else {
        struct cli_table *table = cli_table_open(columns, 6);
        size_t i, d;
        json_t *row, *device;
        json_array_foreach(json_object_get(reply.body, "nodes"), i, row)
        {
            char running[24], devices[512] = "";
            snprintf(running, sizeof running, "%" JSON_INTEGER_FORMAT,
                     cli_json_int(row, "running"));
            json_array_foreach(json_object_get(row, "devices"), d, device)
            {
                size_t used = strlen(devices);
                const char *health = cli_json_text(device, "health");
                bool sick = health[0] && strcmp(health, "healthy") != 0;
                snprintf(devices + used, sizeof devices - used, "%s%s%s%s%s", used ? ", " : "",
                         cli_json_text(device, "device_id"), sick ? " (" : "", sick ? health : "",
                         sick ? ")" : "");
            }
            const char *cells[] = {cli_json_text(row, "node_id"),
                                   cli_json_text(row, "name"),
                                   cli_json_text(row, "state"),
                                   running,
                                   json_is_true(json_object_get(row, "spot")) ? "spot" : "",
                                   devices};
            cli_table_row(table, cells);
        }
        if (cli_table_rows(table) == 0)
            cli_note(cli, "no node has joined yet: start sluice-agent on a machine");
        cli_table_print(table, &cli->out);
    }
    cli_reply_fini(&reply);
    return code;
}

/* A node by its id, or by a name that only one has. */
static int node_find(struct cli *cli, const char *text, char *node_id, size_t node_id_bytes)
{
    struct cli_reply reply;
    int code = nodes_get(cli, &reply);
    if (code != CLI_OK) {
        cli_reply_fail(cli, &reply);
        cli_reply_fini(&reply);
        return code;
    }
    const json_t *rows = json_object_get(reply.body, "nodes");
    const char *found = NULL;
    int named = 0;
    char names[512] = "";
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const char *id = cli_json_text(row, "node_id");
        const char *name = cli_json_text(row, "name");
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", name);
        if (strcmp(id, text) == 0) {
            found = id;
            named = 1;
            break;
        }
        if (strcmp(name, text) == 0) {
            found = id;
            named++;
        }
    }
    if (named == 1)
        snprintf(node_id, node_id_bytes, "%s", found);
    else if (named > 1)
        code = cli_fail(cli, CLI_USAGE, "invalid",
                        "%d nodes are named \"%s\": give the id of the one you mean, see `sluice "
                        "nodes`",
                        named, text);
    else
        code = cli_fail(cli, CLI_NOT_FOUND, "not_found", "there is no node \"%s\"; there are: %s",
                        text, names[0] ? names : "none");
    cli_reply_fini(&reply);
    return code;
}

static int node_ask(struct cli *cli, const char *node_id, const char *action, const json_t *send,
                    struct cli_reply *reply)
{
    struct sl_buf path = {0};
    sl_buf_text(&path, "/api/v1/nodes/");
    cli_http_escape(&path, node_id);
    sl_buf_text(&path, action);
    int code = cli_http_post(cli, (const char *)path.data, send, reply);
    if (code != CLI_OK)
        cli_reply_fail(cli, reply);
    sl_buf_fini(&path);
    return code;
}

static json_t *node_row(const struct cli_reply *reply, const char *node_id)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(reply->body, "nodes"), i, row)
    {
        if (strcmp(cli_json_text(row, "node_id"), node_id) == 0)
            return row;
    }
    return NULL;
}

static void node_say(struct cli *cli, const char *node_id, const char *state)
{
    if (cli->json) {
        json_t *document = json_pack("{s:s,s:s}", "node_id", node_id, "state", state);
        cli_json_print(cli, document, false);
        json_decref(document);
        return;
    }
    struct sl_buf line = {0};
    cli_term_text(&cli->out, &line, node_id, -1);
    sl_buf_printf(&line, " is %s\n", state);
    cli_term_write(&cli->out, &line);
    sl_buf_fini(&line);
}

/* Stays until the node is drained; deadline_ns 0: without limit. */
static int drain_wait(struct cli *cli, const char *node_id, int64_t deadline_ns)
{
    int64_t away_since_ns = 0;
    json_int_t last_running = -1;
    for (;;) {
        struct cli_reply reply;
        int code = nodes_get(cli, &reply);
        if (code == CLI_OK) {
            away_since_ns = 0;
            const json_t *row = node_row(&reply, node_id);
            const char *state = cli_json_text(row, "state");
            json_int_t running = cli_json_int(row, "running");
            bool gone = !row || strcmp(state, "lost") == 0;
            bool late = deadline_ns && sl_now_ns() > deadline_ns + DRAIN_GRACE_NS;
            if (strcmp(state, "drained") == 0) {
                bool forced = deadline_ns && sl_now_ns() > deadline_ns;
                cli_reply_fini(&reply);
                if (forced)
                    return cli_fail(cli, CLI_FAILED, "timed_out",
                                    "node %s is drained, but its deadline had passed: what still "
                                    "ran was handed back to the queue",
                                    node_id);
                node_say(cli, node_id, "drained");
                return CLI_OK;
            }
            if (gone || late) {
                code =
                    cli_fail(cli, CLI_FAILED, gone ? "node_lost" : "timed_out",
                             gone ? "node %s fell silent while draining: its work is queued "
                                    "again, nothing is lost"
                                  : "node %s was not drained by its deadline: see `sluice nodes`",
                             node_id);
                cli_reply_fini(&reply);
                return code;
            }
            if (running != last_running)
                cli_note(cli, "draining: %" JSON_INTEGER_FORMAT " running", running);
            last_running = running;
        } else if (code != CLI_UNREACHABLE ||
                   (away_since_ns && sl_now_ns() - away_since_ns > DRAIN_PATIENCE_NS)) {
            cli_reply_fail(cli, &reply);
            cli_reply_fini(&reply);
            return code;
        } else if (!away_since_ns) {
            away_since_ns = sl_now_ns();
            cli_note(cli, "waiting for the daemon");
        }
        cli_reply_fini(&reply);
        const struct timespec pause = {.tv_nsec = DRAIN_POLL_NS};
        nanosleep(&pause, NULL);
    }
}

int cli_node_drain(struct cli *cli, const struct cli_args *args)
{
    const char *deadline = cli_args_text(args, "deadline");
    char node_id[128];
    int64_t duration_ns = 0;
    if (deadline && (sl_duration_parse(deadline, &duration_ns) != SL_OK || duration_ns <= 0))
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "--deadline: \"%s\" is no duration: write it like 90s, 10m or 1h",
                        deadline);
    int code = node_find(cli, args->words[0], node_id, sizeof node_id);
    if (code != CLI_OK)
        return code;
    json_t *send = json_object();
    if (deadline)
        json_object_set_new(send, "deadline", json_real((double)duration_ns / 1e9));
    int64_t deadline_ns = deadline ? sl_now_ns() + duration_ns : 0;
    struct cli_reply reply;
    code = node_ask(cli, node_id, "/drain", send, &reply);
    json_decref(send);
    if (code == CLI_OK && cli_args_has(args, "wait")) {
        code = drain_wait(cli, node_id, deadline_ns);
    } else if (code == CLI_OK) {
        const char *state = cli_json_text(reply.body, "state");
        node_say(cli, node_id, state[0] ? state : "draining");
    }
    cli_reply_fini(&reply);
    return code;
}

int cli_node_undrain(struct cli *cli, const struct cli_args *args)
{
    char node_id[128];
    struct cli_reply reply;
    int code = node_find(cli, args->words[0], node_id, sizeof node_id);
    if (code != CLI_OK)
        return code;
    code = node_ask(cli, node_id, "/undrain", NULL, &reply);
    if (code == CLI_OK) {
        const char *state = cli_json_text(reply.body, "state");
        node_say(cli, node_id, state[0] ? state : "ready");
    }
    cli_reply_fini(&reply);
    return code;
}
