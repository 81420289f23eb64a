/* media/media_audio_cut.h: cuts a run of audio packets into segments at the frames nearest to the video's boundaries.
 *
 * Every packet is one encoder frame, so that packet i lies at i * frame_samples - priming.
 *
 * Owns:    the packets of the segment being collected.
 * Errors:  SL_EMISMATCH for a boundary that leaves a segment without a packet; what the sink returns.
 */
#ifndef SL_MEDIA_MEDIA_AUDIO_CUT_H
#define SL_MEDIA_MEDIA_AUDIO_CUT_H

#include "base/buf.h"
#include "media/media_audio.h"

struct media_audio_cut {
    const struct job_audio *job;
    const struct media_audio_sink *sink;
    int32_t frame_samples;
    int32_t priming;
    int32_t segment;      /* being collected */
    int64_t packet_first; /* index of its first packet */
    int64_t packet_count; /* all packets so far */
    struct sl_buf bytes;  /* of the segment's packets, one after another */
    size_t *lengths;
    struct media_audio_packet *packets;
    size_t held, room;
};

int media_audio_cut_init(struct media_audio_cut *cut, const struct job_audio *job,
                         const struct media_audio_sink *sink, int32_t frame_samples,
                         int32_t priming, struct sl_failure *why);
int media_audio_cut_take(struct media_audio_cut *cut, const void *data, size_t bytes,
                         struct sl_failure *why);
/* The last segment. */
int media_audio_cut_end(struct media_audio_cut *cut, struct sl_failure *why);
void media_audio_cut_fini(struct media_audio_cut *cut);

#endif
