/* media/media_extras.h: what a source has beside picture and sound: subtitle streams and chapters, as its header says.
 *
 * Names come from strangers: cleaned (media_text_clean) and bounded, as the lists are.
 *
 * Owns:    arrays live in the arena.
 * Errors:  SL_ENOMEM.
 */
#ifndef SL_MEDIA_MEDIA_EXTRAS_H
#define SL_MEDIA_MEDIA_EXTRAS_H

#include <libavformat/avformat.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/media_types.h"

/* Fills texts, text_left_out and chapters. */
int media_extras_find(const AVFormatContext *format, struct sl_arena *arena,
                      struct media_info *info, struct sl_failure *why);

#endif
