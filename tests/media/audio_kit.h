/* tests/media/audio_kit.h: one audio rendition made and decoded again.
 *
 * Shapes: samples[i * channels + c], the first at the zero of the time line; priming is left out.
 */
#ifndef SL_TESTS_MEDIA_AUDIO_KIT_H
#define SL_TESTS_MEDIA_AUDIO_KIT_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>

#include "media/media_audio.h"
#include "tests/media/media_kit.h"

#define RATE             48000
#define KIT_SEGMENTS_MAX 16

struct made {
    enum audio_codec codec;
    AVCodecContext *decoder;
    AVFrame *frame;
    int channels;
    float *samples;
    int64_t count, room; /* samples of each channel */
    int32_t priming;
    int32_t frame_samples;
    int32_t segment_count;
    int64_t starts[KIT_SEGMENTS_MAX], ends[KIT_SEGMENTS_MAX];
    int64_t next_pts;
};

/* The first audio stream of the clip from origin_ms to end_ms, in two segments. */
void made_run(struct made *made, const struct kit_clip *clip, const struct plan_audio *out,
              int64_t origin_ms, int64_t end_ms);
void made_fini(struct made *made);

float made_at(const struct made *made, int64_t sample, int channel);
/* Root mean square of a channel between two instants. */
double made_level(const struct made *made, int channel, int64_t from_ms, int64_t to_ms);
float made_peak(const struct made *made);

/* A clip made by ffmpeg out of what stands between "ffmpeg" and the name of the output; false without ffmpeg. */
bool made_clip(struct kit_clip *clip, const char *suffix, const char *arguments);

#endif
