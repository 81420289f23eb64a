/* base/log.h: one JSON object per line on standard error.
 *
 * Every line has time, level, program and message; a line about a video carries "video", which is
 * the id that follows the work through daemon, agent and worker, and where known "task", "token"
 * and "node". On a terminal the same line is printed for people instead.
 *
 * A daemon may keep the newest lines about videos in memory, to show them.
 *
 * Threads: any. A line is one write(2).
 */
#ifndef SL_BASE_LOG_H
#define SL_BASE_LOG_H

#include <stdint.h>

enum sl_log_level { SL_LOG_DEBUG, SL_LOG_INFO, SL_LOG_WARN, SL_LOG_ERROR };

/* What a line is about; any member may be NULL or 0. Texts are borrowed for the call. */
struct sl_log_about {
    const char *video;
    const char *node;
    int64_t task;
    uint64_t token;
};

/* program is kept, not copied. The level comes from SLUICE_LOG (debug, info, warn, error), else
 * info. Call once, before threads start. */
void sl_log_open(const char *program);

void sl_log(enum sl_log_level level, const struct sl_log_about *about, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* One kept line. Texts are valid during the call. */
struct sl_log_line {
    int64_t unix_ns;
    enum sl_log_level level;
    int64_t task; /* 0: none */
    const char *message;
};

#define SL_LOG_KEPT                                                                                \
    4096 /* lines about videos, the newest; longer ones are cut to SL_LOG_KEPT_BYTES */
#define SL_LOG_KEPT_BYTES 240

/* Begins to keep lines about videos (info and above, whatever the sink shows). Call once, before
 * threads start. SL_ENOMEM. */
int sl_log_keep(void);
/* The kept lines about a video, oldest first; fn must not log. */
void sl_log_kept(const char *video, void (*fn)(void *arg, const struct sl_log_line *line),
                 void *arg);
const char *sl_log_level_word(enum sl_log_level level);

#define sl_debug(about, ...) sl_log(SL_LOG_DEBUG, about, __VA_ARGS__)
#define sl_info(about, ...)  sl_log(SL_LOG_INFO, about, __VA_ARGS__)
#define sl_warn(about, ...)  sl_log(SL_LOG_WARN, about, __VA_ARGS__)
#define sl_error(about, ...) sl_log(SL_LOG_ERROR, about, __VA_ARGS__)

#endif
