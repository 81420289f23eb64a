#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_upload.h"
#include "cli/cli_watch.h"
#include "config/config.h"
#include "model/task_types.h"

#define SIDECARS_MAX 12 /* as many as the daemon takes */

/* A file that can be a video: regular, readable. An empty one is for the probe to refuse, like any other. The descriptor is the caller's. */
static int source_open(struct cli *cli, const char *name, int *out_fd, int64_t *out_bytes)
{
    struct stat info;
    if (stat(name, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return cli_fail(cli, CLI_NOT_FOUND, "not_found", "there is no file %s: check the path",
                            name);
        return cli_fail(cli, CLI_NOT_FOUND, "not_found", "cannot look at %s: %s", name,
                        strerror(errno));
    }
    if (!S_ISREG(info.st_mode))
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "%s is %s, not a file: name the video file itself", name,
                        S_ISDIR(info.st_mode)    ? "a folder"
                        : S_ISFIFO(info.st_mode) ? "a pipe"
                                                 : "a device or socket");
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return cli_fail(cli, CLI_USAGE, "refused", "cannot read %s: %s", name, strerror(errno));
    *out_fd = fd;
    *out_bytes = info.st_size;
    return CLI_OK;
}

/* Adds "policy" by name, or "policy_text" from a YAML file that holds. */
static int policy_add(struct cli *cli, const char *policy, json_t *send)
{
    size_t length = strlen(policy);
    bool yaml = (length > 5 && strcmp(policy + length - 5, ".yaml") == 0) ||
                (length > 4 && strcmp(policy + length - 4, ".yml") == 0);
    if (!yaml && !strchr(policy, '/')) {
        json_object_set_new(send, "policy", json_string(policy));
        return CLI_OK;
    }
    struct sl_buf text = {0};
    struct sl_failure why;
    struct config_mistakes mistakes = {0};
    struct policy parsed;
    int code = CLI_OK;
    int result = config_file_read(policy, &text, &why);
    if (result != SL_OK) {
        code = cli_fail(cli, result == SL_ENOENT ? CLI_NOT_FOUND : CLI_USAGE, sl_error_word(result),
                        "--policy: %s", why.message);
    } else if (config_policy_parse(NULL, (const char *)text.data, text.length, &parsed,
                                   &mistakes) != SL_OK) {
        struct sl_buf lines = {0};
        char others[64] = "";
        if (mistakes.count > 1)
            snprintf(others, sizeof others, " (`sluice policy check` shows %d more)",
                     (int)mistakes.count - 1);
        mistakes.count = mistakes.count > 0;
        config_mistakes_print(policy, &mistakes, &lines);
        if (lines.length)
            lines.data[lines.length - 1] = '\0';
        code = cli_fail(cli, CLI_USAGE, "invalid", "--policy: %s%s",
                        lines.data ? (const char *)lines.data : policy, others);
        sl_buf_fini(&lines);
    } else {
        json_object_set_new(send, "policy_text",
                            json_stringn((const char *)text.data, text.length));
    }
    sl_buf_fini(&text);
    return code;
}

static int options_add(struct cli *cli, const struct cli_args *args, json_t *send)
{
    const char *priority = cli_args_text(args, "priority");
    const char *provider = cli_args_text(args, "provider");
    const char *external = cli_args_text(args, "external-id");
    const char *policy = cli_args_text(args, "policy");
    enum priority parsed;
    if (priority && priority_from_word(priority, &parsed) != SL_OK)
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "--priority: \"%s\" is none of low, normal, high, urgent", priority);
    if (external && !provider)
        return cli_fail(cli, CLI_USAGE, "invalid",
                        "--external-id needs --provider beside it: the two together name a video");
    const char *stream = cli_args_text(args, "stream");
    if (stream) {
        char *end = NULL;
        errno = 0;
        long number = strtol(stream, &end, 10);
        if (errno || end == stream || *end || number < 0 || number > INT16_MAX)
            return cli_fail(cli, CLI_USAGE, "invalid",
                            "--stream: \"%s\" is no index of a stream (0 or more, as ffprobe "
                            "counts them)",
                            stream);
        json_object_set_new(send, "stream", json_integer(number));
    }
    if (priority)
        json_object_set_new(send, "priority", json_string(priority));
    if (provider && json_object_set_new(send, "provider", json_string(provider)) != 0)
        return cli_fail(cli, CLI_USAGE, "invalid", "--provider: not UTF-8");
    if (external && json_object_set_new(send, "external_id", json_string(external)) != 0)
        return cli_fail(cli, CLI_USAGE, "invalid", "--external-id: not UTF-8");
    return policy ? policy_add(cli, policy, send) : CLI_OK;
}

/* The file's last name as valid UTF-8: it is for people only. */
static json_t *name_json(const char *path)
{
    const char *slash = strrchr(path, '/');
    const struct cli_term whole = {.utf8 = true};
    struct sl_buf name = {0};
    cli_term_text(&whole, &name, slash ? slash + 1 : path, -1);
    json_t *json = json_stringn((const char *)name.data, name.length);
    sl_buf_fini(&name);
    return json;
}

/* A subtitle file of the command line. */
struct sidecar {
    char language[32];
    const char *file;
    int fd;
    int64_t bytes;
};

struct sidecars {
    struct sidecar list[SIDECARS_MAX];
    int count;
};

static int sidecars_open(struct cli *cli, const struct cli_args *args, struct sidecars *all)
{
    const char *value;
    for (int n = 0; (value = cli_args_nth(args, "subtitles", n)); n++) {
        const char *colon = strchr(value, ':');
        size_t length = colon ? (size_t)(colon - value) : 0;
        if (all->count == SIDECARS_MAX)
            return cli_fail(cli, CLI_USAGE, "invalid", "--subtitles: %d files are the most",
                            SIDECARS_MAX);
        struct sidecar *sidecar = &all->list[all->count];
        *sidecar = (struct sidecar){.fd = -1, .file = colon ? colon + 1 : NULL};
        if (length < 2 || length >= sizeof sidecar->language || !sidecar->file[0])
            return cli_fail(cli, CLI_USAGE, "invalid",
                            "--subtitles: \"%s\" is not LANG:FILE, such as en:film.en.srt", value);
        memcpy(sidecar->language, value, length);
        int code = source_open(cli, sidecar->file, &sidecar->fd, &sidecar->bytes);
        if (code != CLI_OK)
            return code;
        all->count++;
    }
    return CLI_OK;
}

/* Adds "subtitles" with the paths as the daemon would see them. False when one cannot be written in JSON. */
static bool sidecars_by_path(const struct sidecars *all, json_t *send)
{
    json_t *list = all->count > 0 ? json_array() : NULL;
    bool good = true;
    for (int i = 0; i < all->count && good; i++) {
        char path[PATH_MAX];
        json_t *item = realpath(all->list[i].file, path)
                           ? json_pack("{s:s,s:s}", "language", all->list[i].language, "path", path)
                           : NULL;
        good = item && json_array_append_new(list, item) == 0;
    }
    if (list && good)
        json_object_set_new(send, "subtitles", list);
    else
        json_decref(list);
    return good;
}

/* Before the source, whose arrival lets the video be planned. */
static int sidecars_upload(struct cli *cli, const char *video, const struct sidecars *all)
{
    int code = CLI_OK;
    for (int i = 0; i < all->count && code == CLI_OK; i++) {
        const struct sidecar *sidecar = &all->list[i];
        struct sl_buf path = {0};
        struct cli_reply reply;
        sl_buf_text(&path, "/api/v1/videos/");
        cli_http_escape(&path, video);
        sl_buf_text(&path, "/subtitles/");
        cli_http_escape(&path, sidecar->language);
        if (cli_http_put_piece(cli, (const char *)path.data, sidecar->fd, 0, sidecar->bytes,
                               sidecar->bytes, &reply) != CLI_OK)
            code = cli_reply_fail(cli, &reply);
        cli_reply_fini(&reply);
        sl_buf_fini(&path);
    }
    return code;
}

/* Registers the path where the daemon can read it; else registers a name and uploads. */
static int source_give(struct cli *cli, const char *file, int fd, int64_t bytes,
                       const struct sidecars *all, json_t *send, struct cli_reply *reply)
{
    char path[PATH_MAX];
    bool by_path = cli_http_api_is_loopback(cli->api) && realpath(file, path) &&
                   json_object_set_new(send, "path", json_string(path)) == 0 &&
                   sidecars_by_path(all, send);
    if (by_path) {
        int code = cli_http_post(cli, "/api/v1/videos", send, reply);
        if (code == CLI_OK)
            return code;
        if (reply->status != 403)
            return cli_reply_fail(cli, reply);
        cli_note(cli, "the daemon may not read %s itself: uploading it", path);
        cli_reply_fini(reply);
    }
    if (bytes == 0) /* there is nothing that could be uploaded */
        return cli_fail(cli, CLI_FAILED, "unreadable", "%s is empty: there is nothing to encode",
                        file);
    json_object_del(send, "path");
    json_object_del(send, "subtitles");
    json_object_set_new(send, "name", name_json(file));
    if (cli_http_post(cli, "/api/v1/videos", send, reply) != CLI_OK)
        return cli_reply_fail(cli, reply);
    bool known = !json_is_true(json_object_get(reply->body, "created"));
    const char *video = cli_json_text(reply->body, "video_id");
    int code = sidecars_upload(cli, video, all);
    return code == CLI_OK ? cli_upload_file(cli, video, fd, bytes, known) : code;
}

int cli_submit_run(struct cli *cli, const struct cli_args *args)
{
    const char *file = args->words[0];
    int fd = -1;
    int64_t bytes = 0;
    json_t *send = json_object();
    struct cli_reply reply = {0};
    struct sidecars sidecars = {0};
    int code = source_open(cli, file, &fd, &bytes);
    if (code == CLI_OK)
        code = sidecars_open(cli, args, &sidecars);
    if (code == CLI_OK)
        code = options_add(cli, args, send);
    if (code == CLI_OK)
        code = source_give(cli, file, fd, bytes, &sidecars, send, &reply);
    if (code == CLI_OK) {
        const char *video = cli_json_text(reply.body, "video_id");
        bool watch = cli_args_has(args, "watch");
        bool created = json_is_true(json_object_get(reply.body, "created"));
        if (cli->json) {
            json_t *document = json_pack("{s:s,s:b}", "video_id", video, "created", created);
            cli_json_print(cli, document, true);
            json_decref(document);
        } else {
            struct sl_buf line = {0};
            cli_term_text(&cli->out, &line, video, -1);
            sl_buf_text(&line, created ? "\n" : " (known already)\n");
            cli_term_write(&cli->out, &line);
            sl_buf_fini(&line);
        }
        if (watch)
            code = cli_watch_video(cli, video);
    }
    cli_reply_fini(&reply);
    json_decref(send);
    for (int i = 0; i < sidecars.count; i++)
        close(sidecars.list[i].fd);
    if (fd >= 0)
        close(fd);
    return code;
}
