#include <stdlib.h>
#include <string.h>

#include "hal/hal.h"

#define THREADS_MAX    256
#define CRF_TENTHS_MAX 630 /* AV1 and VP9 count to 63 */

struct hal_session {
    const struct hal_encode_ops *ops;
    struct hal_device *device;
    struct hal_encode_params params;
    bool any_frame;
    bool flushed;
    int64_t last_pts;
    _Alignas(max_align_t) unsigned char state[];
};

static int params_check(const struct hal_device *device, const char *encoder,
                        const struct hal_encode_params *p, struct sl_failure *why)
{
    if (p->width <= 0 || p->height <= 0 || p->width % 2 || p->height % 2)
        return sl_fail(why, SL_EINVAL, "a picture of %dx%d cannot be encoded; sizes are even",
                       p->width, p->height);
    struct sl_failure none = {0};
    const struct hal_row *row =
        hal_device_row(device, p->codec, encoder, p->width, p->height, &none);
    if (!row)
        return sl_fail(why, none.code, "%s", none.message);
    if (p->layout < 0 || p->layout >= HAL_LAYOUT_COUNT || !(row->layouts & 1u << p->layout))
        return sl_fail(why, SL_EINVAL, "%s on %s does not read picture layout %d", row->encoder,
                       device->device_id, (int)p->layout);
    if (p->time_base.num <= 0 || p->time_base.den <= 0 || p->frame_rate.num <= 0 ||
        p->frame_rate.den <= 0)
        return sl_fail(why, SL_EINVAL, "time base %d/%d and frame rate %d/%d must be above zero",
                       p->time_base.num, p->time_base.den, p->frame_rate.num, p->frame_rate.den);
    if (p->crf_tenths < 0 || p->crf_tenths > CRF_TENTHS_MAX)
        return sl_fail(why, SL_EINVAL, "quality %d.%d is outside 0 to %d", p->crf_tenths / 10,
                       p->crf_tenths % 10, CRF_TENTHS_MAX / 10);
    if (p->maxrate_kbps < 0 || p->bufsize_kbit < 0 ||
        (p->maxrate_kbps > 0) != (p->bufsize_kbit > 0))
        return sl_fail(why, SL_EINVAL,
                       "maxrate %d kbit/s and bufsize %d kbit go together: both or none",
                       p->maxrate_kbps, p->bufsize_kbit);
    /* Bits per second must fit the 32-bit numbers of every library below. */
    if (p->maxrate_kbps > INT32_MAX / 1000 || p->bufsize_kbit > INT32_MAX / 1000)
        return sl_fail(why, SL_EINVAL, "maxrate %d kbit/s or bufsize %d kbit is over %d",
                       p->maxrate_kbps, p->bufsize_kbit, INT32_MAX / 1000);
    uint32_t rate = p->maxrate_kbps > 0 ? HAL_RATE_QUALITY_CAPPED : HAL_RATE_QUALITY;
    if (!(row->rate_control & rate))
        return sl_fail(why, SL_EINVAL, "%s on %s has no constant quality%s", row->encoder,
                       device->device_id, p->maxrate_kbps > 0 ? " with maxrate" : "");
    if (!row->forced_idr || !row->closed_gop)
        return sl_fail(why, SL_EINVAL, "%s on %s cannot place key frames where the plan wants them",
                       row->encoder, device->device_id);
    if (p->bframes < -1 || p->bframes > row->bframes_max)
        return sl_fail(why, SL_EINVAL, "%s on %s has at most %d B-frames, not %d", row->encoder,
                       device->device_id, row->bframes_max, p->bframes);
    if (p->threads < 1 || p->threads > THREADS_MAX)
        return sl_fail(why, SL_EINVAL, "an encoder has 1 to %d threads, not %d", THREADS_MAX,
                       p->threads);
    if (p->gop_frames < 0 || p->sar.num < 0 || p->sar.den < 0)
        return sl_fail(why, SL_EINVAL, "GOP length %d or sample aspect %d:%d is below zero",
                       p->gop_frames, p->sar.num, p->sar.den);
    return SL_OK;
}

/* Counted before the back end is called, because sessions of one device may open in parallel. */
static int slot_take(struct hal_device *device, struct sl_failure *why)
{
    int32_t used = __atomic_add_fetch(&device->sessions.in_use, 1, __ATOMIC_ACQ_REL);
    int32_t limit = __atomic_load_n(&device->sessions.limit, __ATOMIC_ACQUIRE);
    if (limit == 0 || used <= limit)
        return SL_OK;
    __atomic_sub_fetch(&device->sessions.in_use, 1, __ATOMIC_ACQ_REL);
    return sl_fail(why, SL_ESESSIONS, "all %d encoder sessions of %s are in use", limit,
                   device->device_id);
}

static void slot_return(struct hal_device *device)
{
    __atomic_sub_fetch(&device->sessions.in_use, 1, __ATOMIC_ACQ_REL);
}

/* No driver tells its limit; a refused open with others running shows it. With none running the sessions are
 * another program's and nothing is learned. */
static void limit_learn(struct hal_device *device)
{
    int32_t others = __atomic_load_n(&device->sessions.in_use, __ATOMIC_ACQUIRE) - 1;
    int32_t unknown = 0;
    if (others > 0 && __atomic_compare_exchange_n(&device->sessions.limit, &unknown, others, false,
                                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        __atomic_store_n(&device->sessions.source, HAL_LIMIT_LEARNED, __ATOMIC_RELEASE);
}

int hal_encode_open(const struct hal_backends *backends, struct hal_device *device,
                    const char *encoder, const struct hal_encode_params *params,
                    struct hal_session **out, struct sl_failure *why)
{
    const struct hal_encode_ops *ops = NULL;
    for (int32_t i = 0; i < backends->encoder_count && !ops; i++)
        if (backends->encoders[i]->kind == device->kind &&
            strcmp(backends->encoders[i]->name, encoder) == 0)
            ops = backends->encoders[i];
    if (!ops)
        return sl_fail(why, SL_ENOENCODER, "this program has no encoder %s for a %s device",
                       encoder, device_kind_word(device->kind));
    int rc = params_check(device, encoder, params, why);
    if (rc < 0)
        return rc;
    struct hal_session *session = calloc(1, sizeof *session + ops->session_bytes);
    if (!session)
        return sl_fail(why, SL_ENOMEM, "no memory for a session of %s", encoder);
    rc = slot_take(device, why);
    if (rc < 0) {
        free(session);
        return rc;
    }
    session->ops = ops;
    session->device = device;
    session->params = *params;
    rc = ops->open(session->state, device, params, why);
    if (rc < 0) {
        if (rc == SL_ESESSIONS)
            limit_learn(device);
        hal_encode_close(&session);
        return rc;
    }
    *out = session;
    return SL_OK;
}

int hal_encode_extradata(struct hal_session *session, const uint8_t **out, size_t *out_bytes)
{
    return session->ops->extradata(session->state, out, out_bytes);
}

static int frame_check(const struct hal_session *session, const struct hal_frame *frame,
                       struct sl_failure *why)
{
    const struct hal_encode_params *p = &session->params;
    if (session->flushed)
        return sl_fail(why, SL_ECONFLICT, "a flushed session takes no more frames");
    if (frame->layout != p->layout || frame->width != p->width || frame->height != p->height)
        return sl_fail(
            why, SL_EINVAL, "a frame of layout %d, %dx%d came to a session of layout %d, %dx%d",
            (int)frame->layout, frame->width, frame->height, (int)p->layout, p->width, p->height);
    if (session->any_frame && frame->pts <= session->last_pts)
        return sl_fail(why, SL_EINVAL, "the frame at %lld does not follow the one at %lld",
                       (long long)frame->pts, (long long)session->last_pts);
    if ((p->surfaces != NULL) != (frame->surface != NULL))
        return sl_fail(why, SL_EINVAL, "a frame %s came to a session that takes %s",
                       frame->surface ? "in the device's memory" : "of planes",
                       p->surfaces ? "the device's surfaces" : "planes");
    if (frame->surface)
        return SL_OK;
    bool deep = p->layout == HAL_I420_10 || p->layout == HAL_P010;
    bool paired = p->layout == HAL_NV12 || p->layout == HAL_P010;
    size_t luma = (size_t)p->width * (deep ? 2 : 1);
    for (int i = 0; i < (paired ? 2 : 3); i++) {
        size_t row = i == 0 || paired ? luma : luma / 2;
        if (!frame->planes[i] || frame->stride_bytes[i] < row || frame->stride_bytes[i] > INT32_MAX)
            return sl_fail(why, SL_EINVAL, "plane %d has rows of %zu bytes; %zu are needed", i,
                           frame->stride_bytes[i], row);
    }
    return SL_OK;
}

int hal_encode_submit(struct hal_session *session, const struct hal_frame *frame,
                      struct sl_failure *why)
{
    int rc = frame_check(session, frame, why);
    if (rc < 0)
        return rc;
    rc = session->ops->submit(session->state, frame, why);
    if (rc < 0)
        return rc;
    session->any_frame = true;
    session->last_pts = frame->pts;
    return SL_OK;
}

int hal_encode_receive(struct hal_session *session, struct hal_packet *out, struct sl_failure *why)
{
    return session->ops->receive(session->state, out, why);
}

int hal_encode_flush(struct hal_session *session, struct sl_failure *why)
{
    if (session->flushed)
        return SL_OK;
    int rc = session->ops->flush(session->state, why);
    if (rc == SL_OK)
        session->flushed = true;
    return rc;
}

void hal_encode_close(struct hal_session **session)
{
    if (!session || !*session)
        return;
    struct hal_session *s = *session;
    s->ops->close(s->state);
    slot_return(s->device);
    free(s);
    *session = NULL;
}
