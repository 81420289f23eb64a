#include <curl/curl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"

#define API_DEFAULT "http://127.0.0.1:8800"

/* What every command takes; they come after a command's own options. */
static const struct cli_option common_options[] = {
    {"json", NULL, "print one JSON document on standard output and nothing else there"},
    {"api", "URL", "the daemon's address (default: SLUICE_API, else " API_DEFAULT ")"},
    {"token-file", "FILE",
     "the token a daemon elsewhere asks for (default: SLUICE_TOKEN, SLUICE_TOKEN_FILE)"},
    {"help", NULL, "say how this command is used"},
};
#define COMMON_COUNT ((int)(sizeof common_options / sizeof common_options[0]))

static const struct cli_option up_options[] = {
    {"data", "DIR",
     "where everything is kept (default: $XDG_DATA_HOME/sluice or ~/.local/share/sluice)"},
    {"http", "ADDR:PORT",
     "where the daemon serves HTTP (default: the configuration's, else 127.0.0.1:8800)"},
    {"wire", "URL",
     "where agents reach the daemon (default: the configuration's, else tcp://127.0.0.1:8801)"},
    {"config", "FILE", "configuration for daemon and agent"},
    {"cpus", "N", "CPUs that the agent may use (default: what the cgroup allows)"},
    {"standin", "KIND=N,…",
     "devices that are not there, made of software, to try policies with (nvenc=2,vaapi=1)"},
};
static const struct cli_option submit_options[] = {
    {"policy", "NAME|FILE", "what to make of it: a policy's name, or a YAML file"},
    {"priority", "LEVEL", "low, normal, high or urgent (default: normal)"},
    {"provider", "ID", "who it comes from"},
    {"external-id", "ID", "its id there; the same two again give the same video"},
    {"subtitles", "LANG:FILE", "an SRT, ASS or WebVTT file that belongs to it; may be given again"},
    {"stream", "N",
     "which video stream to take, by its index (default: the best; status says which)"},
    {"watch", NULL, "stay and show it until its end"},
};
static const struct cli_option list_options[] = {
    {"status", "S", "only videos in this state (ready, failed, transcoding, …)"},
    {"priority", "LEVEL", "only of this priority"},
    {"policy", "NAME", "only of this policy"},
    {"provider", "ID", "only of this provider"},
    {"query", "TEXT", "only with this text in the name or external id"},
    {"created-after", "TIME", "only created then or later (2026-11-21, 2026-11-21T06:00:00Z)"},
    {"created-before", "TIME", "only created earlier"},
    {"limit", "N", "at most so many, newest first (default: 100)"},
    {"after", "CURSOR", "go on where \"next\" of an earlier answer pointed"},
};
static const struct cli_option retry_options[] = {
    {"from", "STEP",
     "do again from this step on (probe, plan, transcode, audio, "
     "subtitles, images, package, verify)"},
};
static const struct cli_option delete_options[] = {
    {"original", NULL, "delete the original too; without it the uploaded bytes stay"},
};
static const struct cli_option token_options[] = {
    {"scope", "LIST", "what it may, by comma: read, submit, operate, admin (default: read)"},
    {"expires", "WHEN", "until a time (2027-01-31) or for a duration (90d)"},
};
static const struct cli_option drain_options[] = {
    {"deadline", "DURATION", "hand back what still runs after so long (90s, 10m, 1h)"},
    {"wait", NULL, "stay until it is drained; exit 1 when the deadline passes first"},
};

static const struct cli_option bench_options[] = {
    {"device", "ID", "only this one, as `sluice hw` names it"},
    {"quick", NULL, "one preset and one size for each encoder"},
    {"full", NULL, "three presets, and one session beside all at once"},
    {"scratch", "DIR", "keep the figures for the agent whose scratch folder this is"},
};

#define OPTIONS(list) list, (int)(sizeof list / sizeof list[0])
#define NO_OPTIONS    NULL, 0

static int version_run(struct cli *cli, const struct cli_args *args);
static int help_run(struct cli *cli, const struct cli_args *args);

static const struct cli_command commands[] = {
    {"up", "", "run a whole farm here: the daemon and one agent",
     "Stays in the foreground and prints \"ready http://…\" once videos can be submitted. A daemon "
     "or agent\n"
     "that dies is started again. Ctrl-C or SIGTERM stops both; work goes on at the next start.",
     OPTIONS(up_options), 0, 0, cli_up_run},
    {"submit", "FILE", "give a video to the farm",
     "With the daemon on this machine it reads the file where it lies; otherwise, or where it may "
     "not read\n"
     "it, the file is uploaded. With --watch the exit code is 1 when the video fails.",
     OPTIONS(submit_options), 1, 1, cli_submit_run},
    {"status", "[VIDEO]", "show one video, or the farm", NULL, NO_OPTIONS, 0, 1, cli_video_status},
    {"list", "", "list videos, newest first", NULL, OPTIONS(list_options), 0, 0, cli_video_list},
    {"watch", "VIDEO", "show a video's progress until its end",
     "Exit 0 when it is ready, 1 when it failed or was cancelled.", NO_OPTIONS, 1, 1,
     cli_watch_run},
    {"delete", "VIDEO", "remove a video and what was published of it", NULL,
     OPTIONS(delete_options), 1, 1, cli_video_delete},
    {"cancel", "VIDEO", "stop work on a video", NULL, NO_OPTIONS, 1, 1, cli_video_cancel},
    {"retry", "VIDEO", "take up a failed or cancelled video again", NULL, OPTIONS(retry_options), 1,
     1, cli_video_retry},
    {"nodes", "", "list the machines of the farm", NULL, NO_OPTIONS, 0, 0, cli_node_list},
    {"drain", "NODE", "let a node finish what it runs and give it nothing new",
     "NODE is an id or a name of `sluice nodes`. Without --wait it returns when the daemon has "
     "agreed.",
     OPTIONS(drain_options), 1, 1, cli_node_drain},
    {"undrain", "NODE", "give a drained node work again", NULL, NO_OPTIONS, 1, 1, cli_node_undrain},
    {"devices", "", "list the farm's devices", NULL, NO_OPTIONS, 0, 0, cli_device_list},
    {"explain", "VIDEO|TASK", "say why it waits, runs or failed", NULL, NO_OPTIONS, 1, 1,
     cli_video_explain},
    {"dlq", "[list|show|redrive|drop] [TASK]", "work that was given up and waits for a person",
     "redrive queues the task again with its attempts forgotten; drop lets its video fail for "
     "good.",
     NO_OPTIONS, 0, 2, cli_dlq_run},
    {"policy", "check FILE", "check a policy file", "Exit 1 when it has mistakes.", NO_OPTIONS, 2,
     2, cli_check_policy},
    {"config", "check FILE", "check a configuration file", "Exit 1 when it has mistakes.",
     NO_OPTIONS, 2, 2, cli_check_config},
    {"token", "new NAME", "make a token for the interface from elsewhere",
     "Prints the token, which is shown nowhere else, and the line for the daemon's file of tokens\n"
     "(daemon.api.tokens in its configuration). Needs no daemon.",
     OPTIONS(token_options), 2, 2, cli_token_run},
    {"hw", "", "list what this machine offers for encoding", "Asks sluice-worker; needs no daemon.",
     NO_OPTIONS, 0, 0, cli_device_hw},
    {"bench", "", "measure how fast this machine's devices encode",
     "Encodes moving pictures that it paints itself, with every encoder of every device, and needs "
     "no daemon.\n"
     "An agent measures a little of that by itself when it first has nothing to do; with --scratch "
     "it takes\n"
     "these figures instead. While other work runs they come out too low.",
     OPTIONS(bench_options), 0, 0, cli_bench_run},
    {"version", "", "print the version", NULL, NO_OPTIONS, 0, 0, version_run},
    {"help", "[COMMAND]", "say how sluice or a command is used", NULL, NO_OPTIONS, 0, 1, help_run},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct cli_command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int command_unknown(struct cli *cli, const char *name)
{
    char names[512] = "";
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", commands[i].name);
    }
    return cli_fail(cli, CLI_USAGE, "invalid", "there is no command \"%s\"; there are %s", name,
                    names);
}

static void help_print(FILE *file)
{
    fputs("sluice: turns uploaded video into streamable video on a farm\n\n"
          "usage: sluice COMMAND [options]\n\n",
          file);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(file, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    fputs("\nEvery command takes --json, --api URL and --help.\n"
          "Exit codes: 0 done, 1 the thing asked about failed, 2 bad usage, 3 not found,\n"
          "4 cannot reach the daemon, 5 refused, 6 the daemon failed.\n"
          "Environment: SLUICE_API, the daemon's address; for a daemon on another machine "
          "SLUICE_TOKEN\n"
          "or SLUICE_TOKEN_FILE (see `sluice token --help`), or SLUICE_SECRET_FILE with the farm's "
          "secret.\n",
          file);
}

static void options_print(FILE *file, const struct cli_option *options, int count)
{
    for (int i = 0; i < count; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        fprintf(file, "  %-22s  %s\n", left, options[i].help);
    }
}

static void command_print(FILE *file, const struct cli_command *command)
{
    fprintf(file, "sluice %s: %s\n\nusage: sluice %s%s%s [options]\n\n", command->name,
            command->summary, command->name, command->words[0] ? " " : "", command->words);
    if (command->details)
        fprintf(file, "%s\n\n", command->details);
    options_print(file, command->options, command->option_count);
    options_print(file, common_options, COMMON_COUNT);
}

/* Of one command, or of all for NULL; with --json as the one document {"help": …}. */
static int help_show(struct cli *cli, const struct cli_command *command)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = cli->json ? open_memstream(&text, &length) : stdout;
    if (!file)
        return cli_fail(cli, CLI_FAILED, "out_of_memory", "not enough memory");
    if (command)
        command_print(file, command);
    else
        help_print(file);
    if (cli->json) {
        fclose(file);
        json_t *document = json_pack("{s:s}", "help", text);
        cli_json_print(cli, document, false);
        json_decref(document);
        free(text);
    }
    return CLI_OK;
}

static int help_run(struct cli *cli, const struct cli_args *args)
{
    const struct cli_command *command = args->word_count ? command_find(args->words[0]) : NULL;
    return command || !args->word_count ? help_show(cli, command)
                                        : command_unknown(cli, args->words[0]);
}

static int version_run(struct cli *cli, const struct cli_args *args)
{
    (void)args;
    if (cli->json) {
        json_t *document = json_pack("{s:s}", "version", SLUICE_VERSION);
        cli_json_print(cli, document, false);
        json_decref(document);
    } else {
        printf("sluice %s\n", SLUICE_VERSION);
    }
    return CLI_OK;
}

/* Takes --api and --token-file from one set of parsed options. */
static int common_take(struct cli *cli, const struct cli_args *args, char api[CLI_API_BYTES])
{
    struct sl_failure why;
    const char *token_file = cli_args_text(args, "token-file");
    if (token_file && cli_http_secret_read(token_file, cli->secret, &why) != SL_OK)
        return cli_fail(cli, CLI_USAGE, "invalid", "--token-file: %s", why.message);
    const char *url = cli_args_text(args, "api");
    if (url && cli_http_api_parse(url, api, &why) != SL_OK)
        return cli_fail(cli, CLI_USAGE, "invalid", "--api: %s", why.message);
    return CLI_OK;
}

static int command_run(struct cli *cli, const struct cli_command *command, int argc,
                       char *const *argv, char api[CLI_API_BYTES])
{
    struct cli_option options[CLI_OPTIONS_MAX];
    struct cli_args args;
    struct sl_failure why;
    int count = command->option_count;
    if (count)
        memcpy(options, command->options, (size_t)count * sizeof *options);
    memcpy(options + count, common_options, sizeof common_options);
    count += COMMON_COUNT;
    if (cli_args_parse(argc, argv, options, count, false, &args, NULL, &why) != SL_OK)
        return cli_fail(cli, CLI_USAGE, "invalid", "%s: %s; see `sluice %s --help`", command->name,
                        why.message, command->name);
    int code = common_take(cli, &args, api);
    if (code)
        return code;
    if (cli_args_has(&args, "help"))
        return help_show(cli, command);
    if (args.word_count < command->words_min)
        return cli_fail(cli, CLI_USAGE, "invalid", "%s needs %s: sluice %s %s", command->name,
                        command->words, command->name, command->words);
    if (args.word_count > command->words_max)
        return cli_fail(cli, CLI_USAGE, "invalid", "%s: \"%s\" is one word too many: sluice %s%s%s",
                        command->name, args.words[command->words_max], command->name,
                        command->words[0] ? " " : "", command->words);
    return command->run(cli, &args);
}

/* What the environment says of the daemon's address and of the token for it. */
static int environment_take(struct cli *cli, char api[CLI_API_BYTES])
{
    static const char *const files[] = {"SLUICE_TOKEN_FILE", "SLUICE_SECRET_FILE"};
    struct sl_failure why;
    const char *url = getenv("SLUICE_API");
    const char *token = getenv("SLUICE_TOKEN");
    if (url && url[0] && cli_http_api_parse(url, api, &why) != SL_OK)
        return cli_fail(cli, CLI_USAGE, "invalid", "SLUICE_API: %s", why.message);
    if (token && token[0]) {
        size_t length = strlen(token);
        for (const char *at = token; *at; at++)
            if (*at <= 0x20 || *at >= 0x7F || length >= CLI_SECRET_BYTES)
                return cli_fail(cli, CLI_USAGE, "invalid",
                                "SLUICE_TOKEN holds no token: one word of printable characters");
        memcpy(cli->secret, token, length + 1);
        return CLI_OK;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *file = getenv(files[i]);
        if (!file || !file[0])
            continue;
        if (cli_http_secret_read(file, cli->secret, &why) != SL_OK)
            return cli_fail(cli, CLI_USAGE, "invalid", "%s: %s", files[i], why.message);
        break;
    }
    return CLI_OK;
}

int main(int argc, char **argv)
{
    static const struct cli_option first_options[] = {{"json", NULL, ""},
                                                      {"api", "URL", ""},
                                                      {"token-file", "FILE", ""},
                                                      {"help", NULL, ""},
                                                      {"version", NULL, ""}};
    static const int first_count = sizeof first_options / sizeof first_options[0];
    struct cli cli = {0};
    struct cli_args first;
    struct sl_failure why;
    char api[CLI_API_BYTES] = API_DEFAULT;
    char secret[CLI_SECRET_BYTES] = "";
    int used = 0;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cli_term_open(&cli.out, stdout);
    cli_term_open(&cli.err, stderr);
    cli.api = api;
    cli.secret = secret;

    /* Wherever it stands, --json decides how mistakes in the rest are told. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            cli.json = true;
    int code = environment_take(&cli, api);
    if (code == CLI_OK && cli_args_parse(argc - 1, argv + 1, first_options, first_count, true,
                                         &first, &used, &why) != SL_OK)
        code = cli_fail(&cli, CLI_USAGE, "invalid", "%s; see `sluice --help`", why.message);
    if (code == CLI_OK)
        code = common_take(&cli, &first, api);
    if (code)
        goto done;
    argc -= 1 + used;
    argv += 1 + used;
    if (cli_args_has(&first, "version")) {
        code = version_run(&cli, &first);
    } else if (cli_args_has(&first, "help")) {
        code = help_show(&cli, NULL);
    } else if (argc == 0 && cli.json) {
        code = cli_fail(&cli, CLI_USAGE, "invalid", "a command is missing; see `sluice --help`");
    } else if (argc == 0) {
        help_print(stderr);
        code = CLI_USAGE;
    } else {
        const struct cli_command *command = command_find(argv[0]);
        code = command ? command_run(&cli, command, argc - 1, argv + 1, api)
                       : command_unknown(&cli, argv[0]);
    }
done:
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (code == CLI_OK)
            code = CLI_FAILED;
    }
    curl_global_cleanup();
    return code;
}
