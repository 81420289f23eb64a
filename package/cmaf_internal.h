/* package/cmaf_internal.h: what the files of the CMAF writer share.
 *
 * Threads: any; nothing here keeps state.
 */
#ifndef SL_PACKAGE_CMAF_INTERNAL_H
#define SL_PACKAGE_CMAF_INTERNAL_H

#include "package/cmaf.h"

int cmaf_init_make(const struct cmaf_track *track, struct sl_buf *out, struct sl_failure *why);

/* Appends a packet as the sample that its sample entry promises: NAL units behind lengths and without parameter sets, OBUs
 * without temporal delimiters. SL_EMISMATCH for what is neither, and for parameter sets that are not those of the
 * sample entry. Lost memory shows in out. */
int cmaf_sample_put(const struct cmaf_track *track, const struct cmaf_packet *packet,
                    struct sl_buf *out, struct sl_failure *why);

/* The name of what an hvcC of 23 bytes or more describes. */
void cmaf_hvc1_name(const uint8_t *hvcc, char out[CODECS_BYTES]);

bool cmaf_has_start_code(const uint8_t *data, size_t bytes);

#endif
