/* media/media_limits.h: what a source may be and cost, wherever media opens one.
 *
 * The limits are the process's: a worker serves one lease, and its job brings them (model/limit_types.h).
 * Refusals are one sentence: the limit's key, what was found, what is allowed.
 *
 * Errors:  SL_ETOOBIG over a limit, SL_EUNSUPPORTED for a codec that is not on the list.
 * Threads: set before the first source is opened; reading from any.
 */
#ifndef SL_MEDIA_MEDIA_LIMITS_H
#define SL_MEDIA_MEDIA_LIMITS_H

#include <libavcodec/avcodec.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/limit_types.h"

void media_limits_set(const struct limits *limits);
/* The defaults until set. */
const struct limits *media_limits(void);

int media_limit_streams(unsigned found, struct sl_failure *why);
int media_limit_picture(int64_t width, int64_t height, struct sl_failure *why);
int media_limit_packets(size_t found, struct sl_failure *why);
int media_limit_frames(size_t found, struct sl_failure *why);
int media_limit_duration(int64_t found_ns, struct sl_failure *why);

/* The decoder for a codec, where the codec is on the list of those that are opened. SL_EUNSUPPORTED with the reason. */
int media_codec_find(const AVCodecParameters *par, const AVCodec **out, struct sl_failure *why);
/* The decoder for a codec that works on the CPU, listed or not; NULL: there is none. */
const AVCodec *media_codec_on_cpu(enum AVCodecID id);
/* The names of all decoders of all codecs on the list, by comma, as libav's codec_whitelist takes them. */
const char *media_codec_names(void);

#endif
