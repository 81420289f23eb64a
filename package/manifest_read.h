/* package/manifest_read.h: reads back the manifests that manifest.h writes, to hold them against a published set.
 *
 * A reader of its own, which shares no code with the writers beyond the set: playlists are read line by line, the MPD
 * tag by tag. It knows what sluice writes, not all that the formats allow; anything else is SL_EVERIFY.
 *
 * Owns:    texts of a playlist belong to the arena.
 * Errors:  SL_EVERIFY with the line or segment at fault; SL_ENOMEM.
 * Threads: any.
 */
#ifndef SL_PACKAGE_MANIFEST_READ_H
#define SL_PACKAGE_MANIFEST_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/published_types.h"

#define MANIFEST_BYTES_MAX (64 * 1024 * 1024)

struct manifest_entry {
    const char *uri; /* as written: relative and percent-encoded */
    int64_t duration_us;
};

struct manifest_playlist {
    const char *map_uri; /* NULL: there is none */
    int64_t target_s;
    bool ended;
    struct manifest_entry *entries;
    int32_t count;
    int64_t total_us;
};

/* A media playlist. */
int manifest_hls_read(const char *text, size_t bytes, struct sl_arena *arena,
                      struct manifest_playlist *out, struct sl_failure *why);

/* Does the media playlist at key name exactly the rendition's objects, with durations that sum to its length and no
 * boundary off by more than a microsecond? */
int manifest_hls_check(const struct published_set *set, int32_t rendition, const char *key,
                       const char *text, size_t bytes, struct sl_failure *why);

/* Likewise for the playlist of a subtitle track. */
int manifest_text_check(const struct published_set *set, int32_t text, const char *key,
                        const char *bytes, size_t length, struct sl_failure *why);

/* Does the master playlist name every rendition's playlist, with size, codecs and bandwidths of each variant? */
int manifest_master_check(const struct published_set *set, const char *text, size_t bytes,
                          struct sl_failure *why);

/* Does the MPD name exactly the set's objects, with a time line that meets every boundary? */
int manifest_dash_check(const struct published_set *set, const char *text, size_t bytes,
                        struct sl_failure *why);

#endif
