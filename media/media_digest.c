#include "media/media_digest.h"

#include <libavutil/mem.h>
#include <libavutil/sha.h>

#include "base/error.h"

int media_digest(const void *bytes, size_t length, uint8_t out[MEDIA_DIGEST_BYTES])
{
    struct AVSHA *sha = av_sha_alloc();
    if (!sha)
        return SL_ENOMEM;
    av_sha_init(sha, 256);
    av_sha_update(sha, bytes, length);
    av_sha_final(sha, out);
    av_free(sha);
    return SL_OK;
}
