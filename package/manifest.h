/* package/manifest.h: HLS and DASH manifests over one published set.
 *
 * HLS: RFC 8216 and draft-pantos-hls-rfc8216bis. DASH: ISO/IEC 23009-1, SegmentTimeline, one Period. Both name the
 * same segments. Bandwidths are measured from the segments' sizes: BANDWIDTH is the largest segment rate of
 * video plus audio, AVERAGE-BANDWIDTH the mean. Names in the set are escaped; keys are written relative to
 * the manifest's own key.
 *
 * Errors:  SL_EMISMATCH for a set that no manifest can describe (a gap, no rendition).
 * Threads: any.
 */
#ifndef SL_PACKAGE_MANIFEST_H
#define SL_PACKAGE_MANIFEST_H

#include "base/buf.h"
#include "base/error.h"
#include "model/published_types.h"

/* The media playlist of one rendition (VOD). key is where it will lie: "h264/720p/playlist.t9.m3u8". */
int manifest_hls_media(const struct published_set *set, int32_t rendition, const char *key,
                       struct sl_buf *out, struct sl_failure *why);

/* The master playlist; every rendition's playlist_key must be set. Lies at the root of the version. */
int manifest_hls_master(const struct published_set *set, struct sl_buf *out,
                        struct sl_failure *why);

/* The MPD; lies at the root of the version. */
int manifest_dash(const struct published_set *set, struct sl_buf *out, struct sl_failure *why);

/* Measured rates of a rendition over its segments, bits per second. */
void manifest_bandwidth(const struct published_rendition *rendition, int64_t *peak_bps,
                        int64_t *average_bps);

#endif
