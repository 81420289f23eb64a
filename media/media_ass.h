/* media/media_ass.h: ASS events, which is what libavcodec makes of every kind of text subtitle, as WebVTT cue text.
 *
 * Kept: bold, italic, underline, line breaks, and where on the picture a line stands (nine places). Everything else that
 * an override says is dropped, drawings too. What is left is text: escaped, so that no player takes it for more.
 *
 * Owns:    nothing beyond the struct.
 * Threads: any, each with its own.
 */
#ifndef SL_MEDIA_MEDIA_ASS_H
#define SL_MEDIA_MEDIA_ASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define MEDIA_ASS_STYLES_MAX     64
#define MEDIA_ASS_STYLE_BYTES    48
#define MEDIA_ASS_SETTINGS_BYTES 32

struct media_ass_style {
    char name[MEDIA_ASS_STYLE_BYTES];
    bool bold, italic, underline;
    int place; /* as the keys of a number pad: 2 is the bottom's middle */
};

struct media_ass {
    struct media_ass_style styles[MEDIA_ASS_STYLES_MAX];
    int style_count;
    int width, height; /* of the picture that places are meant for */
};

/* The styles of a script's header; further ones, and what cannot be read, look like the plain style. */
void media_ass_header(struct media_ass *ass, const char *header, size_t bytes);

/* event: "ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text" in UTF-8. Appends the cue's text, which is
 * empty where nothing would be seen. */
void media_ass_event(const struct media_ass *ass, const char *event, struct sl_buf *text,
                     char settings[MEDIA_ASS_SETTINGS_BYTES]);

#endif
