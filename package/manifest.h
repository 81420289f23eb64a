/* package/manifest.h: HLS and DASH manifests over one published set.
 *
 * HLS: RFC 8216 and draft-pantos-hls-rfc8216bis. DASH: ISO/IEC 23009-1, SegmentTimeline, one Period. Both name the
 * same segments. Bandwidths are measured from the segments' sizes: BANDWIDTH is the largest segment rate of
 * video plus the largest audio of the group, AVERAGE-BANDWIDTH the mean. Audio: a group for each entry of the policy,
 * in it all tracks; a variant for each picture and group; in DASH an adaptation set for each video codec, and for each
 * audio codec, track and channels. HDR is told by VIDEO-RANGE and by CICP properties.
 * Names in the set are escaped; keys are written relative to the manifest's own key.
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

/* Every EXTINF of a set, rounded to whole seconds, is at most this (RFC 8216, 4.3.3.1), and it is the same in all of its
 * playlists (6.2.4). Needs nothing but the segments' times. */
int64_t manifest_target_s(const struct published_set *set);

/* A playlist that grows (EVENT): its head, then the lines of segments as they come, two each, and the end when no more
 * will. Nothing that was once written changes. */
#define MANIFEST_HLS_END "#EXT-X-ENDLIST\n"
void manifest_hls_head(const struct published_rendition *rendition, const char *key,
                       int64_t target_s, struct sl_buf *out);
void manifest_hls_lines(const struct published_rendition *rendition, const char *key,
                        struct sl_buf *out);
/* The same, whole, over a complete set. */
int manifest_hls_event(const struct published_set *set, int32_t rendition, const char *key,
                       struct sl_buf *out, struct sl_failure *why);
/* Where a rendition's growing playlist lies: beside its segments, the same name in every version. */
int manifest_hls_event_key(const struct published_rendition *rendition, char out[JOB_NAME_BYTES]);
/* The media playlist of one subtitle track. */
int manifest_hls_text(const struct published_set *set, int32_t text, const char *key,
                      struct sl_buf *out, struct sl_failure *why);

/* The master playlist; every rendition's playlist_key must be set. Lies at the root of the version. */
int manifest_hls_master(const struct published_set *set, struct sl_buf *out,
                        struct sl_failure *why);

/* The MPD; lies at the root of the version. */
int manifest_dash(const struct published_set *set, struct sl_buf *out, struct sl_failure *why);

/* Rates of a rendition in bits per second: measured over its segments, or as declared. */
void manifest_bandwidth(const struct published_rendition *rendition, int64_t *peak_bps,
                        int64_t *average_bps);

#endif
