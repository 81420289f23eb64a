/* package/cmaf.h: one track's CMAF init segment and fragments, straight from encoder packets.
 *
 * Chunks of one rendition are written by different workers and join without a gap: the init segment is the
 * same bytes in all of them, and every fragment's times come from the plan (docs/architecture.md, "Fragments
 * that join"; shared recipe: decode times are the sorted presentation times minus reorder_ticks).
 *
 * Shapes:  a segment's packets arrive in coding order, its first an IDR (video).
 * Units:   ticks are 1/timescale from the plan's zero. Audio: 1/sample_rate.
 * Owns:    output buffers are the caller's; packet bytes are copied.
 * Errors:  SL_EMISMATCH when packets do not fit the segment (times outside, two frames at one time), SL_ENOMEM …
 * Threads: one per writer.
 */
#ifndef SL_PACKAGE_CMAF_H
#define SL_PACKAGE_CMAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/policy_types.h"
#include "model/report_types.h"

struct cmaf_writer;

struct cmaf_track {
    bool audio;
    enum codec codec;
    enum audio_codec audio_codec;
    const uint8_t *
        extradata; /* avcC, hvcC or Annex B parameter sets, av1C or a sequence header; of VP9 nothing is read; AudioSpecificConfig, OpusHead */
    size_t extradata_bytes;
    int32_t timescale;
    int64_t
        reorder_ticks; /* video: D; audio: the encoder's priming in samples (edit list media time) */
    int32_t width, height;
    int32_t color_primaries, color_transfer, color_matrix;
    bool full_range;
    int32_t bit_depth;          /* video: 8 or 10 */
    struct media_hdr hdr;       /* mdcv and clli, where it says something */
    struct rational frame_rate; /* with maxrate_kbps what the level of VP9 follows from */
    int32_t maxrate_kbps;
    int32_t channels;
    int32_t sample_rate_hz;
    char language[4]; /* ISO 639-2, or empty: und */
};

struct cmaf_packet {
    const uint8_t *data;
    size_t bytes;
    int64_t pts; /* ticks */
    bool idr;
};

int cmaf_open(const struct cmaf_track *track, struct cmaf_writer **out, struct sl_failure *why);
void cmaf_close(struct cmaf_writer **writer);

/* The init segment: ftyp (with cmfc) and moov. */
int cmaf_init(struct cmaf_writer *writer, struct sl_buf *out, struct sl_failure *why);

/* One segment: styp, moof, mdat. number is the plan's index (sequence number = number + 1). All packets of
 * the segment; start_ticks is its first frame's time, end_ticks where the next segment starts. */
int cmaf_segment(struct cmaf_writer *writer, int32_t number, const struct cmaf_packet *packets,
                 size_t count, int64_t start_ticks, int64_t end_ticks, struct sl_buf *out,
                 struct sl_failure *why);

/* RFC 6381 and the bindings of the codecs: "avc1.64001F", "hvc1.2.4.L93.90", "av01.0.04M.08.0.110.01.01.01.0",
 * "vp09.00.30.08.00.01.01.01.00", "mp4a.40.2", "opus". */
int cmaf_codecs(const struct cmaf_track *track, char out[CODECS_BYTES], struct sl_failure *why);

#endif
