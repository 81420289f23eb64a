/* package/webvtt.h: WebVTT files: a subtitle track whole and in segments, chapters, the map of thumbnails.
 *
 * A segment holds every cue that is seen within it, so that one which spans a boundary is in both; cues keep their number
 * as identifier, by which players know it for the same. Times are those of the whole time line everywhere. Segments carry
 * X-TIMESTAMP-MAP (RFC 8216, 3.5): zero of the MPEG clock is zero of the time line.
 *
 * Owns:    appends to the caller's buffer.
 * Errors:  SL_ENOMEM.
 */
#ifndef SL_PACKAGE_WEBVTT_H
#define SL_PACKAGE_WEBVTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/media_types.h"
#include "model/text_types.h"

int webvtt_whole(const struct text_cue *cues, size_t count, struct sl_buf *out,
                 struct sl_failure *why);

/* The cues seen in [start_ms, end_ms). cues are sorted by start; *first is the index of the first that may still be seen
 * and moves on with segments asked for in order: 0 for the first. *out_started: cues that start within. */
int webvtt_segment(const struct text_cue *cues, size_t count, int64_t start_ms, int64_t end_ms,
                   size_t *first, int32_t *out_started, struct sl_buf *out, struct sl_failure *why);

int webvtt_chapters(const struct media_chapter *chapters, int32_t count, struct sl_buf *out,
                    struct sl_failure *why);

/* One line "START --> END" and one with the uri, which must be of plain letters. */
void webvtt_head(struct sl_buf *out);
void webvtt_place(struct sl_buf *out, int64_t start_ms, int64_t end_ms, const char *uri, int32_t x,
                  int32_t y, int32_t width, int32_t height);

/* "00:00:01.500" */
void webvtt_time(struct sl_buf *out, int64_t ms);

#endif
