/* media/media_tone.h: how HDR becomes SDR of BT.709, and SDR of other colours the plan's, at one place for all who do it.
 *
 * The CPU runs the filters; a GPU gets a table of what they make of every colour, asked of the filters themselves, so that both
 * show the same picture.
 *
 * Errors:  as media_graph.h.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_TONE_H
#define SL_MEDIA_MEDIA_TONE_H

#include <libavutil/frame.h>

#include "base/error.h"
#include "model/plan_types.h"

/* The filters, as ffmpeg's -vf takes them; pictures of the format named come out. Less than 256 bytes. */
void media_tone_chain(const struct plan_picture *how, const char *format, char *out, size_t size);

/* For pictures with the colours and the range of like (settled: media_color.h), which have depth bits a sample. out: uint16_t[Cr][Cb][Y][3] with side of each:
 * Y, Cb, Cr in 16 bits that become of the colour at step * i levels of 10 bits along each axis; a level of 8 bits is four of them. */
int media_tone_table(const AVFrame *like, int depth, const struct plan_picture *how, int side,
                     int step, uint16_t *out, struct sl_failure *why);

#endif
