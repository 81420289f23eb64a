#include "model/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define ID_EPOCH_UNIX_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define ID_RANDOM_BITS   21
#define ID_DIGITS        13

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

struct video_id video_id_make(int64_t unix_ns, uint32_t random)
{
    int64_t ms = unix_ns / 1000000 - ID_EPOCH_UNIX_MS;
    if (ms < 1)
        ms = 1;
    ms &= (INT64_C(1) << 42) - 1;
    return (struct video_id){ms << ID_RANDOM_BITS |
                             (int64_t)(random & ((UINT32_C(1) << ID_RANDOM_BITS) - 1))};
}

char *video_id_format(struct video_id id, char text[VIDEO_ID_TEXT_BYTES])
{
    uint64_t left = (uint64_t)id.v;
    text[0] = 'v';
    for (int i = ID_DIGITS; i >= 1; i--) {
        text[i] = digits[left & 31];
        left >>= 5;
    }
    text[ID_DIGITS + 1] = '\0';
    return text;
}

int video_id_parse(const char *text, struct video_id *out)
{
    if (text[0] != 'v' || strlen(text) != ID_DIGITS + 1)
        return SL_EINVAL;
    uint64_t value = 0;
    for (int i = 1; i <= ID_DIGITS; i++) {
        const char *at = strchr(digits, text[i]);
        if (!at)
            return SL_EINVAL;
        value = value << 5 | (uint64_t)(at - digits);
    }
    if (value == 0 || value > INT64_MAX)
        return SL_EINVAL;
    out->v = (int64_t)value;
    return SL_OK;
}

char *task_id_format(struct task_id id, char text[TASK_ID_TEXT_BYTES])
{
    snprintf(text, TASK_ID_TEXT_BYTES, "t%" PRId64, id.v);
    return text;
}

int task_id_parse(const char *text, struct task_id *out)
{
    if (text[0] != 't' || text[1] < '1' || text[1] > '9')
        return SL_EINVAL;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text + 1, &end, 10);
    if (errno != 0 || *end != '\0')
        return SL_EINVAL;
    out->v = value;
    return SL_OK;
}
