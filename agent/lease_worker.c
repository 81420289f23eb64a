#include "agent/lease_worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* What a policy calls an encoder says on which kind of device it runs. */
static bool encodes_on_gpu(const struct job *job)
{
    if (job->step != STEP_TRANSCODE || job->transcode.rung_count < 1)
        return false;
    const struct encoder_name *name = encoder_find(job->transcode.rungs[0].encoder);
    return name && name->kind != DEVICE_CPU;
}

static int claim_make(struct lease_worker *w, const struct job *job, struct sl_failure *why)
{
    const struct lease_place *place = w->place;
    const struct plan_rung *rung = &job->transcode.rungs[0];
    char prefer[DEVICE_ID_BYTES] = "";
    if (w->on_gpu)
        worker_warm_device(place->warm, w->video, false, prefer);
    int32_t wanted = job->transcode.rung_count;
    if (job->sessions > 0 && job->sessions < wanted)
        wanted = job->sessions;
    int code = device_table_claim(place->devices, rung->codec, rung->encoder, wanted, prefer,
                                  &w->claim, why);
    if (!w->on_gpu)
        why->code = SL_OK; /* a CPU worker says itself what it lacks */
    if (!code || !w->on_gpu)
        return SL_OK;
    /* The daemon granted on what it knew a moment ago. An ill device takes nothing now, as a full one; one that went
     * away is a failure of this node. */
    if (code == SL_EDEVICELOST)
        why->code = SL_ESESSIONS;
    else if (code == SL_ENOENCODER)
        why->code = SL_EDEVICELOST;
    return why->code;
}

static int64_t patience_of(const struct job *job)
{
    return job->watchdog_ns > 0 && job->watchdog_ns < WORKER_START_NS ? job->watchdog_ns
                                                                      : WORKER_START_NS;
}

/* Pictures of other kinds are the CPU's to scale (gpu/gpu_ladder.h). */
static bool can_be_fed(const struct job *job)
{
    const char *format = job->transcode.source.pix_fmt;
    return strcmp(format, "yuv420p") == 0 || strcmp(format, "yuvj420p") == 0 ||
           strcmp(format, "yuv420p10le") == 0;
}

/* False: the lease goes on without; what is wrong with the GPU is the GPU's. */
static bool feed_take(struct lease_worker *w, struct job *job)
{
    const struct lease_place *place = w->place;
    char prefer[DEVICE_ID_BYTES];
    struct sl_failure why = {0};
    if (!w->claim.device_id[0] || !can_be_fed(job) || worker_warm_is_unfed(place->warm, w->video))
        return false;
    worker_warm_device(place->warm, w->video, true, prefer);
    if (!device_table_feed(place->devices, prefer, &w->feed))
        return false;
    int code =
        worker_warm_take(place->warm, w->video, &w->feed, patience_of(job), &w->process, &why);
    if (code == SL_OK) {
        memcpy(job->feed_device_id, w->feed.device_id, sizeof job->feed_device_id);
        worker_pool_lend(place->pool);
        return true;
    }
    sl_warn(NULL, "device %s feeds no CPU now: %s", w->feed.device_id, why.message);
    if (sl_error_class(code) == SL_CLASS_DEVICE) {
        worker_warm_clear(place->warm, w->feed.device_id);
        device_table_note_lease(place->devices, &w->feed, code, why.message);
    }
    device_table_release(place->devices, &w->feed);
    return false;
}

int lease_worker_take(struct lease_worker *w, const struct lease_place *place,
                      struct video_id video, struct job *job, bool *no_worker,
                      struct sl_failure *why)
{
    *w = (struct lease_worker){
        .place = place, .video = video, .process.socket = -1, .on_gpu = encodes_on_gpu(job)};
    *no_worker = false;
    bool named = job->device_id[0];
    int code = SL_OK;
    if (place->devices && !named && job->step == STEP_TRANSCODE && job->transcode.rung_count > 0) {
        w->rungs = job->transcode.rung_count;
        code = claim_make(w, job, why);
    }
    if (code)
        return code;
    if (w->claim.device_id[0])
        memcpy(job->device_id, w->claim.device_id, sizeof job->device_id);
    else if (!named)
        memcpy(job->device_id, place->device_id, sizeof job->device_id);
    w->on_gpu = w->on_gpu && w->claim.device_id[0];
    if (w->on_gpu) {
        job->sessions = w->claim.sessions;
        return worker_warm_take(place->warm, video, &w->claim, patience_of(job), &w->process, why);
    }
    if (feed_take(w, job))
        return SL_OK;
    code = worker_pool_take(place->pool, &w->process, why);
    *no_worker = code != SL_OK;
    return code;
}

void lease_worker_end(struct lease_worker *w, int64_t patience_ns, struct worker_costs *out)
{
    worker_process_reap(&w->process, patience_ns, out);
    w->killed = out->signal == SIGKILL;
    if (!w->on_gpu)
        worker_pool_done(w->place->pool);
}

void lease_worker_give(struct lease_worker *w, bool well, bool fed)
{
    bool in_vain = w->feed.device_id[0] && !fed;
    if (well && in_vain)
        worker_warm_unfed(w->place->warm, w->video);
    if (well && !in_vain)
        worker_warm_give(w->place->warm, w->video, w->on_gpu ? &w->claim : &w->feed, &w->process);
    else
        worker_process_reap(&w->process, 0, NULL);
    if (!w->on_gpu)
        worker_pool_done(w->place->pool);
}

const char *lease_worker_driver(const struct lease_worker *w)
{
    return w->on_gpu ? w->claim.device_id : w->feed.device_id;
}

static void device_name(const char *device_id, struct sl_failure *failure)
{
    char message[SL_MESSAGE_BYTES];
    if (strstr(failure->message, device_id))
        return;
    snprintf(message, sizeof message, "device %s: %s", device_id, failure->message);
    memcpy(failure->message, message, sizeof message);
}

/* What its encoders say is the source's doing or ours, but a lost device is no CPU; and where a driver may have hung or crashed
 * the worker, the next try is made without, until its golden pictures have come back right. What was killed says nothing of the device, but its
 * memory may have been too much. */
static void feed_settle(struct lease_worker *w, struct sl_failure *failure)
{
    struct device_table *devices = w->place->devices;
    bool crashed = failure->code == SL_ECRASH && !w->killed;
    if (failure->code == SL_ECRASH && w->killed)
        worker_warm_unfed(w->place->warm, w->video);
    if (crashed || failure->code == SL_EDEVICELOST || failure->code == SL_EHANG) {
        device_name(w->feed.device_id, failure);
        worker_warm_clear(w->place->warm, w->feed.device_id);
        device_table_note_lease(devices, &w->feed, crashed ? SL_EDEVICELOST : failure->code,
                                failure->message);
    }
    device_table_release(devices, &w->feed);
}

void lease_worker_settle(struct lease_worker *w, struct sl_failure *failure, int32_t sessions)
{
    if (w->feed.device_id[0])
        feed_settle(w, failure);
    if (!w->claim.device_id[0])
        return;
    struct device_table *devices = w->place->devices;
    int32_t could = w->claim.sessions < w->rungs ? w->claim.sessions : w->rungs;
    bool ill = failure->code && sl_error_class(failure->code) == SL_CLASS_DEVICE;
    bool refused = failure->code == SL_ESESSIONS ||
                   (failure->code == SL_OK && sessions > 0 && sessions < could);
    /* What goes wrong on CPUs is the source's doing or ours; a node without its CPU has nothing left. */
    if (w->on_gpu && ill)
        worker_warm_clear(w->place->warm, w->claim.device_id);
    if (w->on_gpu && refused)
        device_table_refused(devices, &w->claim, failure->code ? 0 : sessions);
    if (w->on_gpu && (ill || failure->code == SL_ESESSIONS))
        device_name(w->claim.device_id, failure);
    if (w->on_gpu && (ill || failure->code == SL_OK))
        device_table_note_lease(devices, &w->claim, failure->code, failure->message);
    device_table_release(devices, &w->claim);
}
