/* media/media_color.h: colours of decoded pictures as numbers that everyone downstream understands.
 *
 * Units: ITU-T H.273 numbers; 2 is unspecified. What zimg does not know counts as unspecified.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_COLOR_H
#define SL_MEDIA_MEDIA_COLOR_H

#include <libavutil/frame.h>
#include <libavutil/mastering_display_metadata.h>

#include "model/plan_types.h"

enum { MEDIA_COLOR_UNSPECIFIED = 2, MEDIA_COLOR_PQ = 16, MEDIA_COLOR_HLG = 18 };

int32_t media_color_primaries(int number);
int32_t media_color_transfer(int number);
int32_t media_color_matrix(int number);

/* Writes into the frame what the plan says of colours that it leaves unsaid, and RGB for RGB. */
void media_color_settle(AVFrame *frame, const struct plan_picture *how);

/* Are they, settled, others than what the plan makes of them? The range does not matter here. */
bool media_color_differs(const AVFrame *frame, const struct plan_picture *how);

bool media_color_is_hdr(const AVFrame *frame);
/* Is what the plan makes of the source HDR still? */
bool media_color_keeps_hdr(const struct plan_picture *how);

/* Adds what mastering display and light levels say, where they make sense and out says nothing yet. Either may be NULL. */
void media_color_hdr(const AVMasteringDisplayMetadata *mastering,
                     const AVContentLightMetadata *light, struct media_hdr *out);
void media_color_frame_hdr(const AVFrame *frame, struct media_hdr *out);

#endif
