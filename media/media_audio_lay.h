/* media/media_audio_lay.h: a stream's sound, decoded, mixed to the channels asked for and laid on the plan's time line.
 *
 * What lies before zero is cut; where the source has nothing (it starts late, has a hole longer than
 * MEDIA_AUDIO_SLACK_NS, ends early) there is silence; what overlaps is cut; exactly total_samples come out.
 * Mixing follows ITU-R BS.775: centre and surrounds at -3 dB, no LFE; one channel becomes two of its own level. Sums
 * may pass full scale: samples are float, and media_loudness.h limits them.
 *
 * Shapes:   samples are AV_SAMPLE_FMT_FLTP.
 * Owns:     blocks are lent to the sink for its call.
 * Errors:   as media_source.h; SL_EDECODE when nothing of the stream decodes; SL_EUNSUPPORTED for a layout that cannot
 *           be mixed; what the sink returns.
 * Threads:  the caller's.
 */
#ifndef SL_MEDIA_MEDIA_AUDIO_LAY_H
#define SL_MEDIA_MEDIA_AUDIO_LAY_H

#include <stdint.h>

#include "base/error.h"
#include "media/media_source.h"
#include "model/job_types.h"

/* Packet times of a container are rounded (Matroska: to 1 ms) and are only followed where they leave what the samples
 * themselves say by more than this. */
#define MEDIA_AUDIO_SLACK_NS INT64_C(10000000)

struct media_audio_lay_sink {
    void *arg;
    int (*take)(void *arg, uint8_t **planes, int samples, struct sl_failure *why);
};

int media_audio_lay(const struct media_input *input, const struct job_audio *job,
                    int64_t total_samples, const struct media_audio_lay_sink *sink,
                    struct sl_failure *why);

#endif
