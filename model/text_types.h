/* model/text_types.h: subtitles as cues, between what reads them (media/) and what writes them (package/).
 *
 * Owns: texts belong to the arena of whoever filled them.
 */
#ifndef SL_MODEL_TEXT_TYPES_H
#define SL_MODEL_TEXT_TYPES_H

#include <stdint.h>

/* What a track may ask of a player and of the store; past these it is refused by name. */
#define TEXT_CUES_MAX       50000
#define TEXT_CUES_SHOWN_MAX 500 /* at one moment */
#define TEXT_CUE_BYTES_MAX  8192
#define TEXT_BYTES_MAX      (8 * 1024 * 1024)

struct text_cue {
    int64_t start_ms; /* from the plan's zero */
    int64_t end_ms;   /* after start_ms */
    const char *text; /* WebVTT cue text: escaped, tags closed, lines without blank ones between */
    const char *settings; /* WebVTT cue settings, or empty */
};

#endif
