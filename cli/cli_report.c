#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_fail(struct cli *cli, enum cli_exit exit_code, const char *code, const char *fmt, ...)
{
    char message[2048];
    va_list list;
    va_start(list, fmt);
    vsnprintf(message, sizeof message, fmt, list);
    va_end(list);
    struct sl_buf out = {0};
    cli_term_colour(&cli->err, &out, CLI_RED);
    sl_buf_text(&out, "sluice: ");
    cli_term_colour(&cli->err, &out, CLI_PLAIN);
    cli_term_text(&cli->err, &out, message, -1);
    sl_buf_text(&out, "\n");
    cli_term_write(&cli->err, &out);
    if (cli->json && !cli->quiet_json) {
        /* The message may quote bytes that are no UTF-8, which JSON cannot hold. */
        const struct cli_term whole = {.utf8 = true};
        cli_term_text(&whole, &out, message, -1);
        json_t *document = json_pack("{s:{s:s,s:s}}", "error", "code", code, "message",
                                     out.data ? (const char *)out.data : "");
        cli_json_print(cli, document, true);
        json_decref(document);
    }
    sl_buf_fini(&out);
    return exit_code;
}

void cli_note(const struct cli *cli, const char *fmt, ...)
{
    char message[2048];
    va_list list;
    if (cli->json)
        return;
    va_start(list, fmt);
    vsnprintf(message, sizeof message, fmt, list);
    va_end(list);
    struct sl_buf out = {0};
    cli_term_text(&cli->err, &out, message, -1);
    sl_buf_text(&out, "\n");
    cli_term_write(&cli->err, &out);
    sl_buf_fini(&out);
}

void cli_json_print(const struct cli *cli, const json_t *document, bool line)
{
    size_t flags = line ? JSON_COMPACT : JSON_INDENT(2);
    if (cli->out.terminal) /* C1 controls and turned text would pass as raw UTF-8 */
        flags |= JSON_ENSURE_ASCII;
    char *text = json_dumps(document, flags | JSON_ENCODE_ANY);
    fprintf(cli->out.file, "%s\n", text ? text : "null");
    fflush(cli->out.file);
    free(text);
}

const char *cli_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

json_int_t cli_json_int(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_real(value))
        return (json_int_t)json_real_value(value);
    return json_integer_value(value);
}

double cli_json_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

int cli_sibling_path(const char *program, char *path, size_t path_bytes)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return SL_ENOENT;
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return SL_ENOENT;
    *slash = '\0';
    if ((size_t)snprintf(path, path_bytes, "%s/%s", self, program) >= path_bytes ||
        access(path, X_OK) != 0)
        return SL_ENOENT;
    return SL_OK;
}
