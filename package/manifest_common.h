/* package/manifest_common.h: what HLS and DASH writers share: checks of a set, names, presented times, rates.
 *
 * Units:   *_us microseconds, rounded from the start of the time line, so that durations never drift.
 * Threads: any.
 */
#ifndef SL_PACKAGE_MANIFEST_COMMON_H
#define SL_PACKAGE_MANIFEST_COMMON_H

#include "package/manifest.h"

/* SL_EMISMATCH, naming rendition and segment, unless every rendition is without gap or overlap and all video
 * renditions have the same segment boundaries. */
int manifest_set_check(const struct published_set *set, struct sl_failure *why);

/* Presented start of a segment: the priming of audio lies before the time line and is not presented. */
int64_t manifest_start_ticks(const struct published_segment *segment);
int64_t manifest_ticks_us(int64_t ticks, int32_t timescale);
int64_t manifest_duration_us(const struct published_rendition *rendition, int32_t segment);
int64_t manifest_longest_us(const struct published_rendition *rendition);

/* A key as seen from a manifest at from, percent-encoded (RFC 3986). */
void manifest_uri_put(struct sl_buf *out, const char *from, const char *key);

/* What a person reads in a menu of subtitle tracks: title or language, and no two alike. Not escaped. */
#define MANIFEST_LABEL_BYTES (MEDIA_TITLE_BYTES + 16)
void manifest_text_label(const struct published_set *set, int32_t text,
                         char label[MANIFEST_LABEL_BYTES]);

/* RFC 5646 wants the two-letter code where there is one; others pass, and "und" for none. */
const char *manifest_language(const char *iso639_2);

#endif
