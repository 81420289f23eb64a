/* encoders/obu.h: AV1 as MP4 wants it (AV1 codec ISO media file format binding): the sequence header in av1C, samples
 * without temporal delimiters.
 *
 * Errors: 0 or a negative SL_E* with why.
 * Bad input: a size that leaves the buffer ends the walk.
 */
#ifndef SL_ENCODERS_OBU_H
#define SL_ENCODERS_OBU_H

#include "encoders/lavc.h"

enum obu_type { OBU_SEQUENCE_HEADER = 1, OBU_TEMPORAL_DELIMITER = 2, OBU_METADATA = 5 };

struct obu {
    int type;
    const uint8_t *data; /* its header first */
    size_t bytes;
    size_t payload; /* where it begins in data */
};

/* The OBU at *at, which moves behind it. False at the end. */
bool obu_next(const uint8_t *data, size_t bytes, size_t *at, struct obu *out);

/* The session's extradata, av1C, from the sequence header among the OBUs, or from an av1C as it is. */
int obu_extradata_make(struct lavc *lavc, const uint8_t *data, size_t bytes, enum hal_layout layout,
                       struct sl_failure *why);

/* Takes temporal delimiters off the front of a packet, and lets it be decoded when it is shown: a temporal unit has one
 * shown picture. */
int obu_packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why);

#endif
