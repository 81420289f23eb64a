/* cli/cli.h: what every command of the program `sluice` shares.
 *
 * Owns:    struct cli lives in main; commands borrow it and the parsed words.
 * Errors:  a command returns an exit code of enum cli_exit and has said why: one sentence on standard
 *          error, and with --json one document {"error": …} on standard output.
 * Threads: one.
 */
#ifndef SL_CLI_CLI_H
#define SL_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/cli_args.h"
#include "cli/cli_term.h"

/* The exit codes that scripts rely on. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED =
        1, /* the thing asked about failed: a video, a drain out of time, a policy with mistakes */
    CLI_USAGE = 2,       /* bad usage */
    CLI_NOT_FOUND = 3,   /* no such video, node, task or file */
    CLI_UNREACHABLE = 4, /* no daemon there */
    CLI_REFUSED = 5,     /* the daemon said no */
    CLI_DAEMON = 6       /* the daemon failed */
};

struct cli {
    const char *api; /* "http://127.0.0.1:8800", no slash at the end */
    char *secret;    /* a token or the farm's secret, CLI_SECRET_BYTES of room; "" none */
    bool json;
    int http_seconds; /* the longest that a request may take; 0: CLI_HTTP_SECONDS */
    bool quiet_json;  /* a failure prints no JSON document: the command has printed its own */
    struct cli_term out;
    struct cli_term err;
};

struct cli_command {
    const char *name;
    const char *words;   /* as usage shows them: "FILE" */
    const char *summary; /* one line */
    const char *details; /* more for its own help, or NULL */
    const struct cli_option *options;
    int option_count;
    int words_min;
    int words_max;
    int (*run)(struct cli *cli, const struct cli_args *args);
};

/* Says why on standard error, prints the error document with --json, and returns exit_code. code is the
 * word of the error ("not_found"). */
int cli_fail(struct cli *cli, enum cli_exit exit_code, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A remark on standard error, unless --json. */
void cli_note(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The one document of a --json command, indented, or with line one line of it. */
void cli_json_print(const struct cli *cli, const json_t *document, bool line);

/* Members of a JSON object as a careful reader wants them: "" or 0 where absent or of another type. */
const char *cli_json_text(const json_t *object, const char *key);
json_int_t cli_json_int(const json_t *object, const char *key);
double cli_json_real(const json_t *object, const char *key);

/* The path of a program that lies beside this one; SL_ENOENT. */
int cli_sibling_path(const char *program, char *path, size_t path_bytes);

/* cli_video.c */
int cli_video_status(struct cli *cli, const struct cli_args *args);
int cli_video_list(struct cli *cli, const struct cli_args *args);
int cli_video_delete(struct cli *cli, const struct cli_args *args);
int cli_video_cancel(struct cli *cli, const struct cli_args *args);
int cli_video_retry(struct cli *cli, const struct cli_args *args);
int cli_video_explain(struct cli *cli, const struct cli_args *args);
/* cli_submit.c */
int cli_submit_run(struct cli *cli, const struct cli_args *args);
/* cli_watch.c */
int cli_watch_run(struct cli *cli, const struct cli_args *args);
/* cli_node.c */
int cli_node_list(struct cli *cli, const struct cli_args *args);
int cli_node_drain(struct cli *cli, const struct cli_args *args);
int cli_node_undrain(struct cli *cli, const struct cli_args *args);
/* cli_device.c */
int cli_device_list(struct cli *cli, const struct cli_args *args);
int cli_device_hw(struct cli *cli, const struct cli_args *args);
/* cli_bench.c */
int cli_bench_run(struct cli *cli, const struct cli_args *args);
/* cli_dlq.c */
int cli_dlq_run(struct cli *cli, const struct cli_args *args);
/* cli_check.c */
int cli_check_policy(struct cli *cli, const struct cli_args *args);
int cli_check_config(struct cli *cli, const struct cli_args *args);
/* cli_token.c */
int cli_token_run(struct cli *cli, const struct cli_args *args);
/* cli_standin.c: reads "nvenc=2,vaapi=1", finds the drivers and sets the environment of the programs that are started
 * from here on. What they share is kept in data. */
int cli_standin_prepare(struct cli *cli, const char *text, const char *data);
/* cli_up.c */
int cli_up_run(struct cli *cli, const struct cli_args *args);

#endif
