/* media/media_audio.h: one audio rendition over the whole length of a video.
 *
 * The source's audio is laid on the plan's time line (media_audio_lay.h) and encoded without a break, so that every
 * video segment has its audio segment. Segments are cut at the encoder frame nearest to the video's boundary. Where the
 * plan asks for a loudness, a first pass over the same samples measures it (media_loudness.h).
 *
 * Owns:     packets are lent to the sink for its call.
 * Units:    ticks are samples of the output rate from the plan's zero; the first packet starts at -priming.
 * Errors:   as media_source.h; SL_EDECODE when nothing of the stream decodes; SL_ENOENCODER; SL_EENCODE; what the sink
 *           returns.
 * Threads:  the caller's.
 */
#ifndef SL_MEDIA_MEDIA_AUDIO_H
#define SL_MEDIA_MEDIA_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "media/media_source.h"
#include "model/job_types.h"

/* Known once the encoder is open. */
struct media_audio_track {
    const uint8_t *extradata; /* AudioSpecificConfig, OpusHead */
    size_t extradata_bytes;
    int32_t priming; /* samples before the first audible one */
    int32_t sample_rate_hz;
    int32_t channels;
};

struct media_audio_packet {
    const uint8_t *data;
    size_t bytes;
    int64_t pts;
};

struct media_audio_segment {
    int32_t number;
    const struct media_audio_packet *packets;
    size_t packet_count;
    int64_t start_ticks;
    int64_t end_ticks;
    int64_t last_ticks;
};

struct media_audio_sink {
    void *arg;
    int (*track)(void *arg, const struct media_audio_track *track, struct sl_failure *why);
    int (*segment)(void *arg, const struct media_audio_segment *segment, struct sl_failure *why);
    void (*progress)(void *arg, int64_t done_ticks, int64_t total_ticks); /* NULL: not told */
};

int media_audio_run(const struct media_input *input, const struct job_audio *job,
                    const struct media_audio_sink *sink, struct sl_failure *why);

#endif
