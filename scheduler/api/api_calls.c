#include "scheduler/api/api_calls.h"

#include <stdlib.h>

struct api_call *api_call_new(enum api_call_kind kind)
{
    struct api_call *call = calloc(1, sizeof *call);
    if (call) {
        call->kind = kind;
        call->step = STEP_COUNT;
    }
    return call;
}

void api_call_free(struct api_call **call)
{
    if (!*call)
        return;
    sl_arena_fini(&(*call)->arena);
    free(*call);
    *call = NULL;
}

void api_histogram_add(struct api_histogram *histogram, int64_t value_ns)
{
    int bucket = 0;
    for (int64_t bound = API_BUCKET_FIRST_NS; bucket < API_BUCKETS && value_ns > bound; bound *= 2)
        bucket++;
    histogram->counts[bucket]++;
    histogram->sum_ns += value_ns;
}

int api_video_percent(const struct api_video *video)
{
    switch (video->status) {
    case VIDEO_READY:
        return 100;
    case VIDEO_VERIFYING:
        return 98;
    case VIDEO_PACKAGING:
        return 96;
    default:
        break;
    }
    /* The encodes are nearly all of the work; 2 stands for probe and plan. */
    if (video->transcode_total == 0)
        return 0;
    return 2 + (int)((int64_t)video->transcode_completed * 93 / video->transcode_total);
}
