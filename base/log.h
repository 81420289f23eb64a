/* base/log.h: one JSON object per line on standard error.
 *
 * Every line has time, level, program and message; a line about a video carries "video", which is
 * the id that follows the work through daemon, agent and worker, and where known "task", "token"
 * and "node". On a terminal the same line is printed for people instead.
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

#define sl_debug(about, ...) sl_log(SL_LOG_DEBUG, about, __VA_ARGS__)
#define sl_info(about, ...)  sl_log(SL_LOG_INFO, about, __VA_ARGS__)
#define sl_warn(about, ...)  sl_log(SL_LOG_WARN, about, __VA_ARGS__)
#define sl_error(about, ...) sl_log(SL_LOG_ERROR, about, __VA_ARGS__)

#endif
