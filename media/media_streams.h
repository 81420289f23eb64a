/* media/media_streams.h: the audio streams of a source, as the probe describes them.
 *
 * The stream that goes with the picture comes first, the others in the file's order. What belongs to another program,
 * what no decoder is there for and what never comes is left out, and named in the note. Texts of the container are
 * hostile: titles lose control characters and what is no UTF-8, languages that are no word are none.
 *
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_STREAMS_H
#define SL_MEDIA_MEDIA_STREAMS_H

#include <libavformat/avformat.h>

#include "base/error.h"
#include "model/media_types.h"

/* Fills info->audio, audio_count and audio_note. video is the stream chosen, or NULL. SL_EUNSUPPORTED when there is
 * sound and none of it can be decoded: the picture alone would be a quiet loss. */
int media_streams_find(AVFormatContext *format, const AVStream *video, struct media_info *info,
                       struct sl_failure *why);

/* Takes note of one packet of any stream. */
void media_streams_note(const AVPacket *packet, struct media_info *info);

/* After the last packet: drops what was declared and never came. */
void media_streams_settle(struct media_info *info);

/* Text of a container, fit to be shown: valid UTF-8 of at most out_bytes - 1 bytes, without controls and without
 * characters that turn the direction of writing. */
void media_text_clean(const char *text, char *out, size_t out_bytes);

#endif
