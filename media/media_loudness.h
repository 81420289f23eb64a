/* media/media_loudness.h: how loud sound is, and making it as loud as wanted (EBU R128, ITU-R BS.1770).
 *
 * A meter takes all of a rendition and tells its integrated loudness and true peak. A gain then moves every sample by
 * the same amount, and a limiter with look-ahead holds down only what would pass the peak; where nothing would, none
 * is put in. Both are libavfilter's. The limiter gives as many samples as it takes, without delay.
 *
 * Shapes:   blocks are AV_SAMPLE_FMT_FLTP, of the rate and channels that the graph was opened with.
 * Owns:     a block given out is lent until the next call.
 * Errors:   SL_ENOMEM, SL_EINTERNAL with libavfilter's words.
 * Threads:  one thread per graph.
 */
#ifndef SL_MEDIA_MEDIA_LOUDNESS_H
#define SL_MEDIA_MEDIA_LOUDNESS_H

#include <libavutil/frame.h>
#include <stdbool.h>

#include "base/error.h"
#include "model/policy_types.h"

struct media_loudness {
    double integrated_lufs; /* -70 and below is silence */
    double true_peak_db;
};

struct media_loudness_graph;

/* What is to be done to reach a target. */
struct media_gain {
    double gain_db;
    bool limit;     /* holds peaks below peak_db */
    bool true_peak; /* between the samples too */
    double peak_db;
};

/* gain NULL: samples pass. With meter what comes out is measured. */
int media_loudness_open(int rate, int channels, const struct media_gain *gain, bool meter,
                        struct media_loudness_graph **out, struct sl_failure *why);
void media_loudness_close(struct media_loudness_graph **graph);

/* planes NULL: the end. */
int media_loudness_put(struct media_loudness_graph *graph, uint8_t **planes, int samples,
                       struct sl_failure *why);

/* The next block: 1 with *out, 0 when more is wanted or all is out, SL_E*. */
int media_loudness_get(struct media_loudness_graph *graph, AVFrame **out, struct sl_failure *why);

/* What a meter has heard, once all is out of it. */
struct media_loudness media_loudness_measured(const struct media_loudness_graph *graph);

/* The gain from what was heard to the policy's target. Silence is not lifted, and nothing by more than
 * MEDIA_GAIN_MAX_DB. */
#define MEDIA_GAIN_MAX_DB 30
struct media_gain media_gain_to(const struct policy_loudness *policy,
                                const struct media_loudness *heard);

#endif
