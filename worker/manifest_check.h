/* worker/manifest_check.h: reads written manifests back and holds them against the published set.
 *
 * A reader of its own, not the writer again: it looks for what a player would fetch, in order.
 *
 * Errors:  SL_EVERIFY, naming the rendition and the first difference.
 * Threads: any.
 */
#ifndef SL_WORKER_MANIFEST_CHECK_H
#define SL_WORKER_MANIFEST_CHECK_H

#include "base/buf.h"
#include "base/error.h"
#include "model/published_types.h"

/* A media playlist: init, exactly the rendition's segments, their durations, the end. */
int manifest_check_media(const struct published_set *set, int32_t rendition,
                         const struct sl_buf *text, struct sl_failure *why);
/* The master: a variant for each video rendition, an entry for each audio rendition. */
int manifest_check_master(const struct published_set *set, const struct sl_buf *text,
                          struct sl_failure *why);
/* The MPD: every init and every segment, in order. */
int manifest_check_mpd(const struct published_set *set, const struct sl_buf *text,
                       struct sl_failure *why);

#endif
