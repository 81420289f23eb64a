/* Routes of a video's codecs: from its policy and plan to the core, and from the core's grants back to encoders. */
#include <string.h>

#include "scheduler/daemon/daemon_internal.h"

int daemon_routes_choose(const struct daemon_video *video, const struct plan *plan,
                         struct plan_route routes[CODEC_COUNT], struct sl_failure *why)
{
    struct plan_who who = {.provider = video->provider, .priority = video->priority};
    int code = SL_OK;
    for (int codec = 0; codec < CODEC_COUNT && code == SL_OK; codec++)
        if (plan_codec_rungs(plan, (enum codec)codec, NULL) > 0)
            code = plan_route_choose(plan, &video->policy->policy, (enum codec)codec, &who,
                                     &routes[codec], why);
    return code;
}

static void route_fill(const struct daemon_video *video, enum codec codec, struct sched_route *out)
{
    const struct policy_codec *said = policy_codec_find(&video->policy->policy, codec);
    const struct plan_route *chosen = &video->routes[codec].chosen;
    *out = (struct sched_route){
        .codec = codec,
        .count = chosen->count,
        .mix = said->mix,
        .ten_bit = video->plan->pictures[codec].bit_depth > 8,
        .device = plan_device_demand(video->plan, codec),
    };
    for (int32_t i = 0; i < chosen->count; i++) {
        const struct policy_route *entry = &said->route[chosen->entries[i]];
        const struct encoder_name *name = encoder_find(entry->encoder);
        out->entries[i] = (struct sched_route_entry){
            .kind = name ? name->kind : DEVICE_CPU,
            .queue_longer_ns = entry->when.queue_longer_ns,
        };
    }
}

int daemon_routes_put(struct daemon *d, struct daemon_video *video)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        struct daemon_route *route = &video->routes[codec];
        if (route->chosen.count == 0 || route->put)
            continue;
        struct sched_event event = daemon_event(d, SCHED_ROUTE_PUT);
        event.video = video->id;
        route_fill(video, (enum codec)codec, &event.route);
        int code = daemon_step(d, &event);
        /* Tasks of an older build are there already: they go on as they were. */
        if (code != SL_OK && code != SL_ECONFLICT)
            return code;
        route->put = true;
    }
    return SL_OK;
}

const struct policy_route *daemon_route_entry(const struct daemon_video *video, enum codec codec,
                                              int32_t entry)
{
    const struct policy_codec *said = policy_codec_find(&video->policy->policy, codec);
    const struct plan_route *chosen = &video->routes[codec].chosen;
    return video->plan && said && entry >= 0 && entry < chosen->count
               ? &said->route[chosen->entries[entry]]
               : NULL;
}

void daemon_route_again(struct daemon *d, struct daemon_video *video, struct task_id task)
{
    struct sl_log_about about = daemon_about(video);
    for (int32_t i = 0; i < video->piece_count; i++) {
        struct daemon_piece *piece = &video->pieces[i];
        if (piece->task.v != task.v || !piece->done)
            continue;
        sl_info(&about, "chunk %d of %s is made again: its encoder is gone from the farm",
                (int)(i / video->plan->codec_count),
                codec_word(plan_codec_at(video->plan, i % video->plan->codec_count)));
        piece->done = false;
        daemon_video_set_drop(video);
        daemon_live_redo(d, video, i);
        return;
    }
}
