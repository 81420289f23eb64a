/* media/media_exact.h: does a device's decoder give the very pictures that the CPU's gives?
 *
 * Chunks of one video may be decoded on any node; their seams are held against each other by hash, so a device whose
 * pictures differ by one bit is no decoder for a farm.
 *
 * Errors:  SL_EUNSUPPORTED: it does not decode this; SL_EMISMATCH: it gives other pictures.
 * Threads: any.
 */
#ifndef SL_MEDIA_MEDIA_EXACT_H
#define SL_MEDIA_MEDIA_EXACT_H

#include "base/error.h"
#include "model/policy_types.h"

#include <stddef.h>
#include <stdint.h>

struct media_exact_packet {
    uint8_t *data; /* with AV_INPUT_BUFFER_PADDING_SIZE of room behind it */
    size_t bytes;
    int64_t pts;
};

#define MEDIA_EXACT_ROOM 64 /* behind a packet's bytes */

/* device: AVBufferRef of its context. extradata and packets in their MP4 form, in coding order. */
int media_exact(void *device, enum codec codec, const uint8_t *extradata, size_t extradata_bytes,
                const struct media_exact_packet *packets, int32_t count, struct sl_failure *why);

#endif
