#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"

#define LOG_MESSAGE_BYTES 2048

static struct {
    const char *program;
    enum sl_log_level level;
    bool for_people;
} sink = {.program = "sluice", .level = SL_LOG_INFO};

static const char *const level_words[] = {"debug", "info", "warn", "error"};

void sl_log_open(const char *program)
{
    sink.program = program;
    sink.for_people = isatty(STDERR_FILENO) == 1;
    const char *wanted = getenv("SLUICE_LOG");
    for (size_t i = 0; wanted && i < sizeof level_words / sizeof level_words[0]; i++)
        if (strcmp(wanted, level_words[i]) == 0)
            sink.level = (enum sl_log_level)i;
}

static void line_json(struct sl_buf *line, enum sl_log_level level,
                      const struct sl_log_about *about, const char *when, const char *message)
{
    sl_buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":", when, level_words[level]);
    sl_buf_json_string(line, sink.program, strlen(sink.program));
    if (about && about->video) {
        sl_buf_text(line, ",\"video\":");
        sl_buf_json_string(line, about->video, strlen(about->video));
    }
    if (about && about->node) {
        sl_buf_text(line, ",\"node\":");
        sl_buf_json_string(line, about->node, strlen(about->node));
    }
    if (about && about->task)
        sl_buf_printf(line, ",\"task\":\"t%" PRId64 "\"", about->task);
    if (about && about->token)
        sl_buf_printf(line, ",\"token\":%" PRIu64, about->token);
    sl_buf_text(line, ",\"message\":");
    sl_buf_json_string(line, message, strlen(message));
    sl_buf_text(line, "}\n");
}

static void line_people(struct sl_buf *line, enum sl_log_level level,
                        const struct sl_log_about *about, const char *when, const char *message)
{
    /* The quoted form keeps control bytes of a hostile name from reaching the terminal. */
    struct sl_buf quoted = {0};
    sl_buf_json_string(&quoted, message, strlen(message));
    sl_buf_printf(line, "%.8s %-5s %s: ", when + 11, level_words[level], sink.program);
    if (about && about->video)
        sl_buf_printf(line, "%s ", about->video);
    if (about && about->task)
        sl_buf_printf(line, "t%" PRId64 " ", about->task);
    if (!quoted.failed && quoted.length >= 2)
        sl_buf_append(line, quoted.data + 1, quoted.length - 2);
    sl_buf_text(line, "\n");
    sl_buf_fini(&quoted);
}

void sl_log(enum sl_log_level level, const struct sl_log_about *about, const char *fmt, ...)
{
    if (level < sink.level)
        return;
    char message[LOG_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);

    char when[SL_TIME_TEXT_BYTES];
    sl_time_format(sl_now_unix_ns(), when);
    struct sl_buf line = {0};
    if (sink.for_people)
        line_people(&line, level, about, when, message);
    else
        line_json(&line, level, about, when, message);
    if (!line.failed) {
        ssize_t written = write(STDERR_FILENO, line.data, line.length);
        (void)written; /* nowhere is left to complain to */
    }
    sl_buf_fini(&line);
}
