/* base/time.h: instants and durations.
 *
 * Units:   int64 nanoseconds throughout; the name of a value ends in its unit.
 *          *_at_ns and now_ns are monotonic instants of one process and never leave it;
 *          *_unix_ns is wall clock, for people and for storage only.
 * Threads: everything here may be called from any thread. The deterministic cores
 *          (scheduler/core, scheduler/plan, agent/core) use the conversions, never the clocks.
 */
#ifndef SL_BASE_TIME_H
#define SL_BASE_TIME_H

#include <stddef.h>
#include <stdint.h>

#define SL_NS_PER_S     INT64_C(1000000000)
#define SL_NS_PER_MS    INT64_C(1000000)

#define SL_S_TO_NS(s)   ((int64_t)(s)*SL_NS_PER_S)
#define SL_MS_TO_NS(ms) ((int64_t)(ms)*SL_NS_PER_MS)
#define SL_NS_TO_MS(ns) ((int64_t)(ns) / SL_NS_PER_MS)

/* CLOCK_BOOTTIME, so that a suspended machine notices the time it missed. */
int64_t sl_now_ns(void);

/* CLOCK_REALTIME. */
int64_t sl_now_unix_ns(void);

/* The longest text of sl_time_format, its NUL included. */
#define SL_TIME_TEXT_BYTES 32

/* RFC 3339 in UTC with milliseconds: "2026-11-21T06:00:00.000Z". Returns text. */
char *sl_time_format(int64_t unix_ns, char text[SL_TIME_TEXT_BYTES]);

/* RFC 3339: "2026-11-21T06:00:00Z", with a fraction or another offset than Z, or a day alone (its begin in
 * UTC). SL_EINVAL otherwise. */
int sl_time_parse(const char *text, int64_t *out_unix_ns);

/* a * b / c through 128 bits, rounded towards minus infinity; c > 0; saturates at int64. */
int64_t sl_muldiv_i64(int64_t a, int64_t b, int64_t c);

/* "1.5s", "2m", "30", "1h" (a bare number is seconds) to nanoseconds; SL_EINVAL otherwise. */
int sl_duration_parse(const char *text, int64_t *out_ns);

#endif
