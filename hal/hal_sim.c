#include "hal/hal_sim.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/time.h"

#define HELD_MAX    64 /* lookahead and B-frames together */
#define BFRAMES_MAX 4
#define PTS_MAX     (2 * HELD_MAX)
#define LABEL_BYTES 64
#define LABEL_MAGIC "SIMPKT01"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static struct hal_sim_script current;
static bool current_set;
static int32_t sessions_open;
static int32_t hanging;
static uint64_t releases;

struct sim {
    struct hal_sim_script script;
    struct hal_encode_params params;
    bool counted;
    bool flushed;
    int32_t submitted;         /* frames */
    int32_t emitted;           /* packets, dropped ones included */
    int64_t first_step;        /* between the first two frames; 0 unknown */
    int64_t pts_ring[PTS_MAX]; /* of submitted frames, by number */
    struct hal_sim_label held[HELD_MAX];
    int32_t held_count;
    struct hal_sim_label order[HELD_MAX]; /* the mini GOP being emitted */
    int32_t order_first, order_count;
    uint8_t extradata[32];
    uint8_t packet[LABEL_BYTES];
};

struct hal_sim_script hal_sim_script_default(void)
{
    return (struct hal_sim_script){
        .devices = 1,
        .lookahead = 4,
        .fault_frame = HAL_SIM_NEVER,
        .hang_frame = HAL_SIM_NEVER,
        .drop_frame = HAL_SIM_NEVER,
        .resize_frame = HAL_SIM_NEVER,
    };
}

static struct hal_sim_script script_now(void)
{
    pthread_mutex_lock(&lock);
    struct hal_sim_script script = current_set ? current : hal_sim_script_default();
    pthread_mutex_unlock(&lock);
    return script;
}

void hal_sim_set(const struct hal_sim_script *script)
{
    pthread_mutex_lock(&lock);
    current = *script;
    current_set = true;
    pthread_mutex_unlock(&lock);
    hal_sim_release();
}

void hal_sim_release(void)
{
    pthread_mutex_lock(&lock);
    releases++;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

int32_t hal_sim_sessions(void)
{
    pthread_mutex_lock(&lock);
    int32_t count = sessions_open;
    pthread_mutex_unlock(&lock);
    return count;
}

int32_t hal_sim_hanging(void)
{
    pthread_mutex_lock(&lock);
    int32_t count = hanging;
    pthread_mutex_unlock(&lock);
    return count;
}

/* ---- labels ---- */

static void number_put(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t number_get(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void label_write(const struct hal_sim_label *label, uint8_t out[LABEL_BYTES])
{
    memset(out, 0, LABEL_BYTES);
    memcpy(out, LABEL_MAGIC, 8);
    number_put(out + 8, (uint64_t)label->frame);
    number_put(out + 16, (uint64_t)label->width);
    number_put(out + 24, (uint64_t)label->height);
    number_put(out + 32, (uint64_t)label->pts);
    number_put(out + 40, label->hash);
    out[48] = label->idr;
}

int hal_sim_label_read(const uint8_t *data, size_t bytes, struct hal_sim_label *out)
{
    if (bytes != LABEL_BYTES || memcmp(data, LABEL_MAGIC, 8) != 0)
        return SL_EMISMATCH;
    *out = (struct hal_sim_label){
        .frame = (int32_t)number_get(data + 8),
        .width = (int32_t)number_get(data + 16),
        .height = (int32_t)number_get(data + 24),
        .pts = (int64_t)number_get(data + 32),
        .hash = number_get(data + 40),
        .idr = data[48] != 0,
    };
    return SL_OK;
}

uint64_t hal_sim_hash(const struct hal_frame *frame)
{
    bool deep = frame->layout == HAL_I420_10 || frame->layout == HAL_P010;
    bool paired = frame->layout == HAL_NV12 || frame->layout == HAL_P010;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < (paired ? 2 : 3); i++) {
        size_t row = (size_t)frame->width * (deep ? 2 : 1) / (i > 0 && !paired ? 2 : 1);
        for (int32_t y = 0; y < frame->height / (i > 0 ? 2 : 1); y++)
            for (size_t x = 0; x < row; x++)
                hash = (hash ^ frame->planes[i][(size_t)y * frame->stride_bytes[i] + x]) *
                       UINT64_C(0x100000001b3);
    }
    return hash;
}

/* ---- devices ---- */

static int sim_device_probe(struct hal_device *out, int32_t max, int32_t *count,
                            struct sl_failure *why)
{
    struct hal_sim_script script = script_now();
    *count = 0;
    if (script.devices <= 0) {
        sl_fail(why, SL_ENOENT, "the simulated driver has no devices");
        return SL_OK;
    }
    int32_t devices = script.devices < HAL_SIM_DEVICES_MAX ? script.devices : HAL_SIM_DEVICES_MAX;
    for (int32_t i = 0; i < devices && i < max; i++) {
        out[i] = (struct hal_device){.kind = DEVICE_CPU, .memory_bytes = 1 << 30};
        snprintf(out[i].device_id, sizeof out[i].device_id, "sim%d", (int)i);
        snprintf(out[i].name, sizeof out[i].name, "simulated encoder %d", (int)i);
        snprintf(out[i].driver, sizeof out[i].driver, "simulated 1.0");
        if (script.limit_told)
            out[i].sessions = (struct hal_sessions){
                .limit = script.session_limit,
                .scope = SCOPE_SYSTEM,
                .source = HAL_LIMIT_CONFIGURED,
            };
        else
            out[i].sessions.scope = SCOPE_DEVICE;
        (*count)++;
    }
    return SL_OK;
}

static int sim_probe(struct hal_device *device)
{
    if (device->row_count >= HAL_ROWS_MAX)
        return SL_ELIMIT;
    device->rows[device->row_count++] = (struct hal_row){
        .codec = CODEC_H264,
        .direction = HAL_ENCODE,
        .encoder = "sim",
        .layouts = 1u << HAL_I420 | 1u << HAL_I420_10 | 1u << HAL_NV12,
        .width_min = 16,
        .height_min = 16,
        .width_max = 4096,
        .height_max = 4096,
        .bframes_max = BFRAMES_MAX,
        .rate_control = HAL_RATE_QUALITY | HAL_RATE_QUALITY_CAPPED,
        .forced_idr = true,
        .closed_gop = true,
        .lookahead = true,
        .mpix_per_s = 1000,
    };
    return SL_OK;
}

/* ---- sessions ---- */

static int sim_open(void *state, const struct hal_device *device,
                    const struct hal_encode_params *params, struct sl_failure *why)
{
    struct sim *sim = state;
    sim->script = script_now();
    sim->params = *params;
    if (sim->params.bframes < 0)
        sim->params.bframes = 2;
    if (sim->script.lookahead > HELD_MAX / 2)
        return sl_fail(why, SL_EINVAL, "lookahead %d is over %d", sim->script.lookahead,
                       HELD_MAX / 2);
    if (sim->script.open_code)
        return sl_fail(why, sim->script.open_code, "%s refuses to open a session, as scripted",
                       device->device_id);
    pthread_mutex_lock(&lock);
    bool room = sim->script.session_limit == 0 || sessions_open < sim->script.session_limit;
    sim->counted = room;
    sessions_open += room;
    pthread_mutex_unlock(&lock);
    if (!room)
        return sl_fail(why, SL_ESESSIONS, "%s has no more than %d sessions", device->device_id,
                       sim->script.session_limit);
    memcpy(sim->extradata, "SIMHEAD1", 8);
    number_put(sim->extradata + 8, (uint64_t)params->width);
    number_put(sim->extradata + 16, (uint64_t)params->height);
    number_put(sim->extradata + 24, (uint64_t)params->codec);
    return SL_OK;
}

static int sim_extradata(void *state, const uint8_t **out, size_t *out_bytes)
{
    struct sim *sim = state;
    *out = sim->extradata;
    *out_bytes = sizeof sim->extradata;
    return SL_OK;
}

static void hang(void)
{
    pthread_mutex_lock(&lock);
    uint64_t seen = releases;
    hanging++;
    while (seen == releases)
        pthread_cond_wait(&released, &lock);
    hanging--;
    pthread_mutex_unlock(&lock);
}

static int sim_submit(void *state, const struct hal_frame *frame, struct sl_failure *why)
{
    struct sim *sim = state;
    const struct hal_sim_script *script = &sim->script;
    int32_t number = sim->submitted;
    if (sim->held_count >= HELD_MAX)
        return sl_fail(why, SL_ELIMIT, "%d frames wait; receive packets before the next frame",
                       sim->held_count);
    if (script->latency_ns > 0) {
        struct timespec pause = {.tv_sec = script->latency_ns / SL_NS_PER_S,
                                 .tv_nsec = script->latency_ns % SL_NS_PER_S};
        nanosleep(&pause, NULL);
    }
    if (number == script->hang_frame) {
        hang();
        return sl_fail(why, SL_EHANG, "the simulated driver hung at frame %d", number);
    }
    if (number == script->fault_frame)
        return sl_fail(why, script->fault_code ? script->fault_code : SL_EENCODE,
                       "the simulated device failed at frame %d", number);
    sim->held[sim->held_count++] = (struct hal_sim_label){
        .frame = number,
        .width = frame->width - (number == script->resize_frame ? 2 : 0),
        .height = frame->height,
        .pts = frame->pts,
        .hash = hal_sim_hash(frame),
        .idr = frame->force_idr || number == 0,
    };
    sim->pts_ring[number % PTS_MAX] = frame->pts;
    if (number == 1)
        sim->first_step = frame->pts - sim->pts_ring[0];
    sim->submitted++;
    return SL_OK;
}

/* Moves the next mini GOP from held to order: an IDR alone, or B-frames behind the frame that ends them. A group
 * never reaches over an IDR: GOPs are closed. */
static bool group_form(struct sim *sim)
{
    int32_t group = 0;
    if (sim->held_count > 0 && sim->held[0].idr) {
        group = 1;
    } else {
        while (group < sim->held_count && group <= sim->params.bframes && !sim->held[group].idr)
            group++;
        bool closed = group > sim->params.bframes || group < sim->held_count || sim->flushed;
        if (!closed)
            return false;
    }
    if (group == 0 || (!sim->flushed && sim->held_count < group + sim->script.lookahead))
        return false;
    sim->order[0] = sim->held[group - 1];
    memcpy(sim->order + 1, sim->held, (size_t)(group - 1) * sizeof *sim->held);
    sim->held_count -= group;
    memmove(sim->held, sim->held + group, (size_t)sim->held_count * sizeof *sim->held);
    sim->order_first = 0;
    sim->order_count = group;
    return true;
}

static int sim_receive(void *state, struct hal_packet *out, struct sl_failure *why)
{
    struct sim *sim = state;
    (void)why;
    for (;;) {
        if (sim->order_first == sim->order_count && !group_form(sim))
            return 0;
        struct hal_sim_label label = sim->order[sim->order_first++];
        int32_t place = sim->emitted++;
        if (label.frame == sim->script.drop_frame)
            continue;
        label_write(&label, sim->packet);
        *out = (struct hal_packet){
            .data = sim->packet,
            .bytes = LABEL_BYTES,
            .pts = label.pts,
            /* The times before, one step late: a B-frame waits for one frame at most. */
            .dts = place == 0 ? label.pts - (sim->first_step ? sim->first_step : 1)
                              : sim->pts_ring[(place - 1) % PTS_MAX],
            .idr = label.idr,
        };
        return 1;
    }
}

static int sim_flush(void *state, struct sl_failure *why)
{
    struct sim *sim = state;
    (void)why;
    sim->flushed = true;
    return SL_OK;
}

static void sim_close(void *state)
{
    struct sim *sim = state;
    pthread_mutex_lock(&lock);
    if (sim->counted)
        sessions_open--;
    sim->counted = false;
    pthread_mutex_unlock(&lock);
}

const struct hal_device_ops hal_sim_device_ops = {
    .kind = DEVICE_CPU,
    .probe = sim_device_probe,
};

const struct hal_encode_ops hal_sim_encode_ops = {
    .name = "sim",
    .kind = DEVICE_CPU,
    .session_bytes = sizeof(struct sim),
    .probe = sim_probe,
    .open = sim_open,
    .extradata = sim_extradata,
    .submit = sim_submit,
    .receive = sim_receive,
    .flush = sim_flush,
    .close = sim_close,
};
