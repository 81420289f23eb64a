/* package/webvtt_read.h: reads back the WebVTT files that webvtt.h writes, for verify.
 *
 * A reader of its own, which shares no code with the writer: line by line, as a player would.
 *
 * Owns:    nothing; texts point into the file.
 * Errors:  SL_EVERIFY with the line at fault.
 */
#ifndef SL_PACKAGE_WEBVTT_READ_H
#define SL_PACKAGE_WEBVTT_READ_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct webvtt_cue {
    int64_t start_ms;
    int64_t end_ms;
    const char *text; /* first line of it; not ended */
    size_t text_bytes;
};

/* Calls take for each cue; what it returns stops when it is not 0. arg and take may be NULL. Cues must end after they
 * start, not after most_ms, and start in order. */
int webvtt_read(const char *text, size_t bytes, int64_t most_ms,
                int (*take)(void *arg, const struct webvtt_cue *cue, struct sl_failure *why),
                void *arg, int64_t *out_count, struct sl_failure *why);

#endif
