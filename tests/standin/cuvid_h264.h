/* tests/standin/cuvid_h264.h: H.264 as a stream again, of what NVDEC is told of a picture.
 *
 * NVDEC gets slices as they are, and what they need of their parameter sets in fields; a decoder in software wants the sets. All that
 * decides samples is told, but the tables of one way to count pictures (type 1), which is refused. So are pictures that are
 * fields: nothing at hand makes such a stream, so that none was ever tried.
 *
 * Owns:   the bytes, from picture to picture.
 * Errors: false.
 */
#ifndef SL_TESTS_STANDIN_CUVID_H264_H
#define SL_TESTS_STANDIN_CUVID_H264_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/standin/cuda.h"

#include <ffnvcodec/dynlink_nvcuvid.h>

struct cuvid_h264 {
    uint8_t *bytes;
    size_t length, room;
    bool
        adaptive; /* frames of the stream may code fields by macroblocks; pictures that are fields do not say it */
    bool failed; /* for lack of memory */
    uint32_t part;
    int count, zeros;
};

/* A unit's bits, what guards start codes taken out; 1 and then zeros behind its end. */
struct cuvid_bits {
    const uint8_t *at, *end;
    int zeros, left;
    uint8_t byte;
};

uint32_t cuvid_bits_get(struct cuvid_bits *bits, int count);
/* Exp-Golomb. */
uint32_t cuvid_bits_ue(struct cuvid_bits *bits);
int cuvid_bits_se(struct cuvid_bits *bits);

/* The parameter sets of a picture and its slices, in Annex B. */
bool cuvid_h264_make(struct cuvid_h264 *stream, const CUVIDPICPARAMS *params);

/* Does the caller know no picture before this one? Then it was flushed, or the stream begins anew. */
bool cuvid_h264_begins(const CUVIDPICPARAMS *params);

void cuvid_h264_free(struct cuvid_h264 *stream);

#endif
