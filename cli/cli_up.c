/* cli/cli_up.c: a farm of one: sluiced and one sluice-agent as children of this process.
 *
 * Invariants
 *  1. A child lives no longer than this process: the kernel kills it when we are gone.
 *  2. A child that died is started again after a delay that grows while it keeps dying.
 *  3. A child that refuses its first start (exit 2, 5 or 6: a mistake, a taken port, data in use) ends us with
 *     its code: trying again would only repeat its sentence. Later the same end is a fault like others.
 *  4. On SIGTERM and SIGINT the agent stops first, so that it can hand its leases back to the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/cli_http.h"
#include "config/config.h"

#define DELAY_FIRST_NS SL_MS_TO_NS(100)
#define DELAY_MAX_NS   SL_S_TO_NS(10)
#define DELAY_RESET_NS SL_S_TO_NS(30) /* alive for so long: the next delay is the first again */
#define STOP_AGENT_NS  SL_S_TO_NS(15)
#define STOP_DAEMON_NS SL_S_TO_NS(15)
#define READY_NS       SL_S_TO_NS(120)
#define REFUSAL_NS                                                                                 \
    SL_S_TO_NS(10) /* a first start that ends so soon with such a code is a refusal */
#define TICK_NS  SL_MS_TO_NS(50)
#define ARGV_MAX 16

struct child {
    const char *program;
    char path[PATH_MAX];
    const char *argv[ARGV_MAX];
    int argc;
    pid_t pid; /* 0: not running */
    int64_t started_at_ns;
    int64_t start_again_at_ns; /* when pid is 0 */
    int64_t delay_ns;
    int starts;
};

struct up {
    struct cli *cli;
    struct child daemon;
    struct child agent;
    char data[PATH_MAX];
    char scratch[PATH_MAX];
    char wire[CONFIG_URL_BYTES];
    char api[CLI_API_BYTES];
    sigset_t signals;
};

static void argv_add(struct child *child, const char *name, const char *value)
{
    child->argv[child->argc++] = name;
    child->argv[child->argc++] = value;
}

static int folder_make(struct cli *cli, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", folder);
    for (char *at = path + 1;; at++) {
        char kept = *at;
        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0750) != 0 && errno != EEXIST)
            return cli_fail(cli, CLI_REFUSED, sl_error_word(sl_error_from_errno(errno)),
                            "cannot make the folder %s: %s; name another with --data DIR", path,
                            strerror(errno));
        *at = kept;
        if (!kept)
            break;
    }
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return cli_fail(cli, CLI_REFUSED, "invalid",
                        "%s is no folder: name another with --data DIR", folder);
    return CLI_OK;
}

static int data_choose(struct up *up, const char *given)
{
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    char folder[PATH_MAX];
    int length;
    if (given)
        length = snprintf(folder, sizeof folder, "%s", given);
    else if (xdg && xdg[0] == '/')
        length = snprintf(folder, sizeof folder, "%s/sluice", xdg);
    else if (home && home[0] == '/')
        length = snprintf(folder, sizeof folder, "%s/.local/share/sluice", home);
    else
        return cli_fail(up->cli, CLI_USAGE, "invalid",
                        "HOME is not set: say where to keep everything with --data DIR");
    if (length >= PATH_MAX - 64)
        return cli_fail(up->cli, CLI_USAGE, "invalid", "--data: the path is too long");
    int code = folder_make(up->cli, folder);
    if (code == CLI_OK && !realpath(folder, up->data))
        return cli_fail(up->cli, CLI_REFUSED, "io_error", "cannot use %s: %s", folder,
                        strerror(errno));
    return code;
}

/* Where the daemon will serve: options over the configuration over the defaults. */
static int addresses_choose(struct up *up, const struct cli_args *args)
{
    const char *file = cli_args_text(args, "config");
    const char *http = cli_args_text(args, "http");
    const char *wire = cli_args_text(args, "wire");
    struct config *config = calloc(1, sizeof *config);
    struct config_mistakes mistakes = {0};
    struct sl_buf text = {0};
    struct sl_failure why;
    char host[128];
    int port = 0;
    int code = CLI_OK;
    if (!config)
        return cli_fail(up->cli, CLI_FAILED, "out_of_memory", "not enough memory");
    config_default(config);
    if (file) {
        int result = config_file_read(file, &text, &why);
        if (result != SL_OK) {
            code = cli_fail(up->cli, result == SL_ENOENT ? CLI_NOT_FOUND : CLI_USAGE,
                            sl_error_word(result), "%s", why.message);
        } else if (config_parse(file, (const char *)text.data, text.length, config, &mistakes) !=
                   SL_OK) {
            struct sl_buf lines = {0};
            config_mistakes_print(file, &mistakes, &lines);
            if (lines.length)
                lines.data[lines.length - 1] = '\0';
            code = cli_fail(up->cli, CLI_USAGE, "invalid", "%s",
                            lines.data ? (const char *)lines.data : file);
            sl_buf_fini(&lines);
        }
    }
    snprintf(host, sizeof host, "%s", config->daemon.http_host);
    port = config->daemon.http_port;
    snprintf(up->wire, sizeof up->wire, "%s", wire ? wire : config->daemon.wire_url);
    if (code == CLI_OK && http) {
        const char *colon = strrchr(http, ':');
        char *end = NULL;
        long number = colon ? strtol(colon + 1, &end, 10) : 0;
        size_t length = colon ? (size_t)(colon - http) : 0;
        if (!colon || *end || number < 1 || number > 65535 || length >= sizeof host)
            code = cli_fail(up->cli, CLI_USAGE, "invalid",
                            "--http: \"%s\" is no ADDR:PORT: write it like 127.0.0.1:8800", http);
        else
            snprintf(host, sizeof host, "%.*s", (int)length, http);
        port = (int)number;
    }
    /* What listens everywhere is asked here. */
    if (!host[0] || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    else if (strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0)
        snprintf(host, sizeof host, "[::1]");
    bool bare_v6 = strchr(host, ':') && host[0] != '[';
    snprintf(up->api, sizeof up->api, bare_v6 ? "http://[%s]:%d" : "http://%s:%d", host, port);
    /* The agent dials this machine where the daemon listens everywhere. */
    static const char *const everywhere[] = {"tcp://0.0.0.0:", "tcp://*:", "tcp://:"};
    for (size_t i = 0; i < sizeof everywhere / sizeof everywhere[0]; i++) {
        size_t length = strlen(everywhere[i]);
        if (strncmp(up->wire, everywhere[i], length) == 0) {
            char rest[CONFIG_URL_BYTES];
            snprintf(rest, sizeof rest, "%s", up->wire + length);
            snprintf(up->wire, sizeof up->wire, "tcp://127.0.0.1:%.*s", (int)(sizeof up->wire - 32),
                     rest);
        }
    }
    sl_buf_fini(&text);
    free(config);
    return code;
}

static int children_prepare(struct up *up, const struct cli_args *args)
{
    const char *config = cli_args_text(args, "config");
    const char *cpus = cli_args_text(args, "cpus");
    struct child *const children[] = {&up->daemon, &up->agent};
    up->daemon.program = "sluiced";
    up->agent.program = "sluice-agent";
    for (int i = 0; i < 2; i++) {
        struct child *child = children[i];
        if (cli_sibling_path(child->program, child->path, sizeof child->path) != SL_OK)
            return cli_fail(up->cli, CLI_NOT_FOUND, "not_found",
                            "there is no %s beside this program: install all four programs in one "
                            "folder",
                            child->program);
        child->argv[child->argc++] = child->path;
        child->delay_ns = DELAY_FIRST_NS;
    }
    snprintf(up->scratch, sizeof up->scratch, "%.*s/agent", PATH_MAX - 16, up->data);
    argv_add(&up->daemon, "--data", up->data);
    argv_add(&up->agent, "--wire", up->wire);
    argv_add(&up->agent, "--scratch", up->scratch);
    if (config) {
        argv_add(&up->daemon, "--config", config);
        argv_add(&up->agent, "--config", config);
    }
    if (cli_args_has(args, "http"))
        argv_add(&up->daemon, "--http", cli_args_text(args, "http"));
    if (cli_args_has(args, "wire"))
        argv_add(&up->daemon, "--wire", cli_args_text(args, "wire"));
    if (cpus) {
        char *end;
        long number = strtol(cpus, &end, 10);
        if (*end || number < 1 || number > 4096)
            return cli_fail(up->cli, CLI_USAGE, "invalid",
                            "--cpus: \"%s\" is no number from 1 to 4096", cpus);
        argv_add(&up->agent, "--cpus", cpus);
    }
    return CLI_OK;
}

static void child_start(struct up *up, struct child *child)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        setpgid(0, 0); /* Ctrl-C reaches us alone: the order of stopping is ours */
        sigprocmask(SIG_UNBLOCK, &up->signals, NULL);
        signal(SIGPIPE, SIG_DFL);
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0)
            dup2(null, STDIN_FILENO);
        dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is for "ready" alone */
        execv(child->path, (char *const *)child->argv);
        fprintf(stderr, "sluice: cannot start %s: %s\n", child->path, strerror(errno));
        _exit(127);
    }
    child->started_at_ns = sl_now_ns();
    child->starts++;
    if (pid > 0) {
        child->pid = pid;
        return;
    }
    cli_note(up->cli, "cannot start %s: %s", child->program, strerror(errno));
    child->start_again_at_ns = child->started_at_ns + child->delay_ns;
}

/* How a child ended, for people. */
static void end_text(int status, char *text, size_t text_bytes)
{
    if (WIFSIGNALED(status))
        snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, text_bytes, "ended with exit code %d", WEXITSTATUS(status));
}

/* Returns an exit code when the end of this child is the end of us, else -1. */
static int child_ended(struct up *up, struct child *child, int status)
{
    int64_t now_ns = sl_now_ns();
    char how[96];
    end_text(status, how, sizeof how);
    child->pid = 0;
    if (now_ns - child->started_at_ns > DELAY_RESET_NS)
        child->delay_ns = DELAY_FIRST_NS;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool first = child->starts == 1 && now_ns - child->started_at_ns < REFUSAL_NS;
    if (first && (code == CLI_USAGE || code == CLI_REFUSED || code == CLI_DAEMON || code == 127))
        return cli_fail(up->cli, code == 127 ? CLI_DAEMON : (enum cli_exit)code, "refused",
                        "%s would not start (exit code %d): its reason is the line above",
                        child->program, code);
    cli_note(up->cli, "%s %s: starting it again in %.1f s", child->program, how,
             (double)child->delay_ns / 1e9);
    child->start_again_at_ns = now_ns + child->delay_ns;
    child->delay_ns *= 2;
    if (child->delay_ns > DELAY_MAX_NS)
        child->delay_ns = DELAY_MAX_NS;
    return -1;
}

static int children_reap(struct up *up)
{
    int status;
    pid_t pid;
    int code = -1;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == up->daemon.pid)
            code = child_ended(up, &up->daemon, status);
        else if (pid == up->agent.pid)
            code = child_ended(up, &up->agent, status);
        if (code >= 0)
            break;
    }
    return code;
}

static void child_stop(struct child *child, int64_t patience_ns)
{
    if (!child->pid)
        return;
    int64_t end_ns = sl_now_ns() + patience_ns;
    int status;
    kill(child->pid, SIGTERM);
    while (waitpid(child->pid, &status, WNOHANG) == 0) {
        if (sl_now_ns() > end_ns) {
            kill(child->pid, SIGKILL);
            waitpid(child->pid, &status, 0);
            break;
        }
        const struct timespec pause = {.tv_nsec = SL_MS_TO_NS(10)};
        nanosleep(&pause, NULL);
    }
    child->pid = 0;
}

static bool daemon_is_well(const struct up *up, struct cli *asker)
{
    struct cli_reply reply;
    asker->api = up->api;
    int code = cli_http_get(asker, "/healthz", &reply);
    bool well = code == CLI_OK || (reply.status >= 200 && reply.status < 300);
    cli_reply_fini(&reply);
    return well;
}

/* A node that has joined counts even when it is drained: that was somebody's wish. */
static bool node_has_joined(const struct up *up, struct cli *asker)
{
    struct cli_reply reply;
    bool joined = false;
    asker->api = up->api;
    int code = cli_http_get(asker, "/api/v1/nodes", &reply);
    /* A daemon that asks this machine for a token as well does not tell: it is well, and an agent runs. */
    if (reply.status == 401 || reply.status == 403)
        joined = true;
    if (code == CLI_OK) {
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(reply.body, "nodes"), i, row)
        {
            const char *state = cli_json_text(row, "state");
            joined = joined || (state[0] && strcmp(state, "lost") != 0);
        }
    }
    cli_reply_fini(&reply);
    return joined;
}

/* Another daemon at our address would answer in ours' place and look well. */
static int address_check(struct up *up)
{
    struct cli asker = *up->cli;
    struct cli_reply reply;
    asker.http_seconds = 2;
    asker.api = up->api;
    int code = cli_http_get(&asker, "/healthz", &reply);
    bool taken = code != CLI_UNREACHABLE || reply.status != 0;
    cli_reply_fini(&reply);
    if (!taken)
        return CLI_OK;
    return cli_fail(up->cli, CLI_REFUSED, "busy",
                    "%s is taken: something listens there already; stop it, or choose another "
                    "address with --http ADDR:PORT and --wire URL",
                    up->api);
}

static void ready_say(const struct up *up)
{
    if (up->cli->json) {
        json_t *document = json_pack("{s:s,s:s}", "ready", up->api, "data", up->data);
        cli_json_print(up->cli, document, true);
        json_decref(document);
    } else {
        printf("ready %s\n", up->api);
        fflush(stdout);
    }
}

/* Runs until a signal or a refusal; returns the exit code. */
static int farm_run(struct up *up)
{
    struct cli asker = *up->cli;
    asker.json = false;
    asker.http_seconds = 2;
    bool ready = false;
    bool slow_said = false;
    int64_t began_ns = sl_now_ns();
    child_start(up, &up->daemon);
    for (;;) {
        const struct timespec tick = {.tv_nsec = TICK_NS};
        int signal_number = sigtimedwait(&up->signals, NULL, &tick);
        if (signal_number == SIGTERM || signal_number == SIGINT || signal_number == SIGHUP)
            return CLI_OK;
        int code = children_reap(up);
        if (code >= 0)
            return code;
        int64_t now_ns = sl_now_ns();
        if (!up->daemon.pid && now_ns >= up->daemon.start_again_at_ns)
            child_start(up, &up->daemon);
        bool agent_due = !up->agent.pid && now_ns >= up->agent.start_again_at_ns;
        if (agent_due && up->daemon.pid && daemon_is_well(up, &asker))
            child_start(up, &up->agent);
        if (!ready && up->daemon.pid && up->agent.pid && node_has_joined(up, &asker)) {
            ready = true;
            ready_say(up);
        }
        if (!ready && !slow_said && now_ns - began_ns > READY_NS) {
            cli_note(up->cli, "not ready after %d s: the log above says what it waits for",
                     (int)(READY_NS / SL_NS_PER_S));
            slow_said = true;
        }
    }
}

int cli_up_run(struct cli *cli, const struct cli_args *args)
{
    struct up *up = calloc(1, sizeof *up);
    if (!up)
        return cli_fail(cli, CLI_FAILED, "out_of_memory", "not enough memory");
    up->cli = cli;
    int code = addresses_choose(up, args);
    if (code == CLI_OK)
        code = data_choose(up, cli_args_text(args, "data"));
    if (code == CLI_OK && cli_args_has(args, "standin"))
        code = cli_standin_prepare(cli, cli_args_text(args, "standin"), up->data);
    if (code == CLI_OK)
        code = children_prepare(up, args);
    if (code == CLI_OK)
        code = address_check(up);
    if (code == CLI_OK) {
        sigemptyset(&up->signals);
        sigaddset(&up->signals, SIGTERM);
        sigaddset(&up->signals, SIGINT);
        sigaddset(&up->signals, SIGHUP);
        sigaddset(&up->signals, SIGCHLD);
        sigprocmask(SIG_BLOCK, &up->signals, NULL);
        code = farm_run(up);
        child_stop(&up->agent, STOP_AGENT_NS);
        child_stop(&up->daemon, STOP_DAEMON_NS);
    }
    free(up);
    return code;
}
