/* media/media_digest.h: SHA-256 of bytes in memory, by libavutil. */
#ifndef SL_MEDIA_MEDIA_DIGEST_H
#define SL_MEDIA_MEDIA_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define MEDIA_DIGEST_BYTES 32

/* 0 or SL_ENOMEM. */
int media_digest(const void *bytes, size_t length, uint8_t out[MEDIA_DIGEST_BYTES]);

#endif
