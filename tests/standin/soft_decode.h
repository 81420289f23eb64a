/* tests/standin/soft_decode.h: the decoder behind the stand-in NVDEC: libavcodec's own, in an instance of its own.
 *
 * A GPU's decoder is asked for any picture as soon as it was given, in whatever order pictures are shown and whether they are
 * shown at all. So the picture is not what the decoder behind gives out, but the buffer that it decoded into: with one thread
 * a picture is whole when its bytes have been taken.
 *
 * Owns:    a decoder its references; a picture is the caller's.
 * Errors:  NULL; libavcodec's own words are not passed on.
 * Threads: one thread per decoder; separate ones may run in parallel.
 */
#ifndef SL_TESTS_STANDIN_SOFT_DECODE_H
#define SL_TESTS_STANDIN_SOFT_DECODE_H

#include <libavutil/frame.h>
#include <stddef.h>
#include <stdint.h>

struct soft_decoder;

/* name: libavcodec's. */
struct soft_decoder *soft_decoder_open(const char *name);

/* What these bytes, one coded picture, decode to: planar, of the size that they say. NULL: they do not decode. */
AVFrame *soft_decode(struct soft_decoder *decoder, const uint8_t *data, size_t bytes);

/* What comes has nothing to do with what came. */
void soft_decoder_flush(struct soft_decoder *decoder);

void soft_decoder_close(struct soft_decoder **decoder);

#endif
