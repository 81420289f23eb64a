/* encoders/nal.h: H.264 and H.265 as MP4 wants them: NAL units behind four-byte lengths, parameter sets in avcC or
 * hvcC (ISO/IEC 14496-15) and nowhere else.
 *
 * Errors: 0 or a negative SL_E* with why.
 * Bad input: what an encoder gives is measured against its size; a length that leaves the buffer ends the walk.
 */
#ifndef SL_ENCODERS_NAL_H
#define SL_ENCODERS_NAL_H

#include "encoders/lavc.h"

enum nal_form { NAL_LENGTHS, NAL_START_CODES };

struct nal {
    const uint8_t *data; /* its header first */
    size_t bytes;
};

/* The NAL unit at *at, which moves behind it. False at the end. */
bool nal_next(const uint8_t *data, size_t bytes, enum nal_form form, size_t *at, struct nal *out);

/* nal_unit_type of either codec. */
int nal_type(const struct nal *nal, enum codec codec);

/* Which form parameter sets are in: with 00 00 01 or 00 00 00 01 at their start they are no lengths, because no set
 * has one byte and none has 256 or more. */
enum nal_form nal_form_of(const uint8_t *sets, size_t bytes);

/* The session's extradata from the parameter sets among the NAL units of sets: avcC or hvcC. */
int nal_extradata_make(struct lavc *lavc, enum codec codec, const uint8_t *sets, size_t bytes,
                       enum nal_form form, struct sl_failure *why);

/* Gives a packet lengths and leaves out parameter sets, access unit delimiters and filler. */
int nal_packet_fix(struct lavc *lavc, AVPacket *packet, enum codec codec, enum nal_form form,
                   struct sl_failure *why);

#endif
