#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/time.h"

#define LOG_MESSAGE_BYTES 2048

static struct {
    const char *program;
    enum sl_log_level level;
    bool for_people;
} sink = {.program = "sluice", .level = SL_LOG_INFO};

struct kept {
    int64_t unix_ns;
    int64_t task;
    enum sl_log_level level;
    char video[24];
    char message[SL_LOG_KEPT_BYTES];
};

/* A ring: line n lies at n % SL_LOG_KEPT. */
static struct {
    pthread_mutex_t lock;
    struct kept *lines; /* NULL: nothing is kept */
    uint64_t next;
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

const char *sl_log_level_word(enum sl_log_level level)
{
    return level_words[level];
}

int sl_log_keep(void)
{
    if (!ring.lines)
        ring.lines = calloc(SL_LOG_KEPT, sizeof *ring.lines);
    return ring.lines ? SL_OK : SL_ENOMEM;
}

static void line_keep(enum sl_log_level level, const struct sl_log_about *about, int64_t unix_ns,
                      const char *message)
{
    pthread_mutex_lock(&ring.lock);
    struct kept *line = &ring.lines[ring.next++ % SL_LOG_KEPT];
    *line = (struct kept){.unix_ns = unix_ns, .task = about->task, .level = level};
    snprintf(line->video, sizeof line->video, "%s", about->video);
    snprintf(line->message, sizeof line->message, "%s", message);
    pthread_mutex_unlock(&ring.lock);
}

void sl_log_kept(const char *video, void (*fn)(void *arg, const struct sl_log_line *line),
                 void *arg)
{
    pthread_mutex_lock(&ring.lock);
    uint64_t first = ring.next > SL_LOG_KEPT ? ring.next - SL_LOG_KEPT : 0;
    for (uint64_t n = first; ring.lines && n < ring.next; n++) {
        const struct kept *line = &ring.lines[n % SL_LOG_KEPT];
        if (strcmp(line->video, video) == 0)
            fn(arg, &(struct sl_log_line){line->unix_ns, line->level, line->task, line->message});
    }
    pthread_mutex_unlock(&ring.lock);
}

void sl_log(enum sl_log_level level, const struct sl_log_about *about, const char *fmt, ...)
{
    bool keeps = ring.lines && level >= SL_LOG_INFO && about && about->video;
    if (level < sink.level && !keeps)
        return;
    char message[LOG_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);

    int64_t now_unix_ns = sl_now_unix_ns();
    if (keeps)
        line_keep(level, about, now_unix_ns, message);
    if (level < sink.level)
        return;
    char when[SL_TIME_TEXT_BYTES];
    sl_time_format(now_unix_ns, when);
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
