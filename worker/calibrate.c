#include "worker/calibrate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "hal/hal_golden.h"
#include "hal/hal_speed.h"
#include "worker/backends.h"
#include "worker/measure_feed.h"

#define PICTURES     8 /* painted before the clock runs, and shown there and back */
#define FRAMES_LEAST 8
#define FRAMES_MOST  900
#define BUDGET_NS    SL_MS_TO_NS(400)
#define SESSIONS_MAX 64
#define SEVERAL      3 /* sessions of a GPU */

struct class
{
    const char *name;
    int32_t width, height;
};

static const struct class classes[] = {
    {"360p", 640, 360},
    {"720p", 1280, 720},
    {"1080p", 1920, 1080},
    {"2160p", 3840, 2160},
};

#define CLASS_QUICK 1
#define CLASS_FULL  2 /* where threads and ten bits are measured */

static const char *const presets[] = {"fast", "medium", "slow"};

#define PRESET_QUICK "medium"

/* What is encoded: pictures of one size, in the layout that the row takes. */
struct pictures {
    enum hal_layout layout;
    struct hal_golden *golden[PICTURES];
    const struct hal_frame *frames[PICTURES];
};

static void pictures_close(struct pictures *p)
{
    for (int i = 0; i < PICTURES; i++)
        hal_golden_close(&p->golden[i]);
}

static int pictures_open(const struct hal_row *row, bool ten_bit, const struct class *class,
                         struct pictures *out)
{
    *out = (struct pictures){0};
    enum hal_layout planar = ten_bit ? HAL_I420_10 : HAL_I420;
    out->layout = row->layouts & 1u << planar ? planar : ten_bit ? HAL_P010 : HAL_NV12;
    for (int i = 0; i < PICTURES; i++) {
        int code = hal_golden_open(out->layout, class->width, class->height, &out->golden[i]);
        if (code != SL_OK) {
            pictures_close(out);
            return code;
        }
        out->frames[i] = hal_golden_frame(out->golden[i], i);
    }
    return SL_OK;
}

/* One session of a measurement and its thread. */
struct run {
    const struct pictures *pictures;
    struct hal_session *session;
    pthread_t thread;
    bool started;
    int64_t budget_ns;
    int32_t frames;
    int64_t took_ns;
    struct sl_failure why;
};

static int packets_drop(struct hal_session *session, struct sl_failure *why)
{
    struct hal_packet packet;
    int got;
    while ((got = hal_encode_receive(session, &packet, why)) > 0)
        continue;
    return got;
}

static void *run_encode(void *arg)
{
    struct run *run = arg;
    int64_t began_ns = sl_now_ns();
    int code = SL_OK;
    for (run->frames = 0; code >= 0 && run->frames < FRAMES_MOST; run->frames++) {
        if (run->frames >= FRAMES_LEAST && sl_now_ns() - began_ns >= run->budget_ns)
            break;
        int32_t at = run->frames % (2 * PICTURES - 2);
        struct hal_frame frame = *run->pictures->frames[at < PICTURES ? at : 2 * PICTURES - 2 - at];
        frame.pts = run->frames;
        frame.force_idr = run->frames % 48 == 0;
        code = hal_encode_submit(run->session, &frame, &run->why);
        if (code >= 0)
            code = packets_drop(run->session, &run->why);
    }
    if (code >= 0)
        code = hal_encode_flush(run->session, &run->why);
    if (code >= 0)
        code = packets_drop(run->session, &run->why);
    run->why.code = code < 0 ? code : SL_OK;
    run->took_ns = sl_now_ns() - began_ns;
    return NULL;
}

struct measure {
    const struct calibrate_params *params;
    struct hal_device *device;
    const struct hal_row *row;
    const struct class *class;
    const char *preset;
    bool ten_bit;
    int32_t sessions, threads;
};

static int sessions_open(const struct measure *m, const struct pictures *pictures, struct run *runs,
                         struct sl_failure *why)
{
    struct hal_encode_params params = {
        .codec = m->row->codec,
        .layout = pictures->layout,
        .width = m->class->width,
        .height = m->class->height,
        .time_base = {1, 24},
        .frame_rate = {24, 1},
        .sar = {1, 1},
        .crf_tenths = 230,
        .gop_frames = 48,
        .bframes = -1,
        .threads = m->threads,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
    snprintf(params.preset, sizeof params.preset, "%s", m->preset);
    for (int32_t i = 0; i < m->sessions; i++) {
        runs[i] = (struct run){.pictures = pictures, .budget_ns = BUDGET_NS};
        int code = hal_encode_open(&worker_backends, m->device, m->row->encoder, &params,
                                   &runs[i].session, why);
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

static int speed_give(const struct calibrate_params *params, const struct hal_device *device,
                      const struct hal_speed *speed, struct sl_failure *why)
{
    char line[512];
    if (hal_speed_print(speed, line, sizeof line) < 0)
        return sl_fail(why, SL_ELIMIT, "the name of a device is too long");
    if (!params->quiet && (printf("%s\n", line) < 0 || fflush(stdout) != 0))
        return sl_fail(why, SL_EIO, "nobody reads the figures");
    if (!params->into || device->standin)
        return SL_OK;
    return hal_speeds_put(params->into, speed, why);
}

static int figure_give(const struct measure *m, int32_t sessions, double total,
                       struct sl_failure *why)
{
    struct hal_speed speed = {
        .codec = m->row->codec,
        .depth = m->ten_bit ? 10 : 8,
        .sessions = sessions,
        .threads = m->threads,
        .mpix_per_s = total / sessions,
        .total_mpix_per_s = total,
    };
    memcpy(speed.device_id, m->device->device_id, sizeof speed.device_id);
    memcpy(speed.driver, m->device->driver, sizeof speed.driver);
    memcpy(speed.encoder, m->row->encoder, sizeof speed.encoder);
    snprintf(speed.preset, sizeof speed.preset, "%s", m->preset);
    snprintf(speed.class, sizeof speed.class, "%s", m->class->name);
    return speed_give(m->params, m->device, &speed, why);
}

/* A driver that allows fewer sessions than are wanted is measured with those. */
static int measure_do(const struct measure *m, struct sl_failure *why)
{
    struct pictures pictures;
    struct run runs[SESSIONS_MAX] = {0};
    int code = pictures_open(m->row, m->ten_bit, m->class, &pictures);
    if (code != SL_OK)
        return sl_fail(why, code, "no memory for pictures of %s", m->class->name);
    code = sessions_open(m, &pictures, runs, why);
    int32_t open = 0;
    while (open < m->sessions && runs[open].session)
        open++;
    if (code == SL_ESESSIONS && open > 0)
        code = SL_OK;
    for (int32_t i = 0; i < open && code == SL_OK; i++) {
        runs[i].started = pthread_create(&runs[i].thread, NULL, run_encode, &runs[i]) == 0;
        if (!runs[i].started)
            code = sl_fail(why, SL_ENOMEM, "no thread for session %d", i + 1);
    }
    double total = 0;
    for (int32_t i = 0; i < open; i++) {
        if (runs[i].started)
            pthread_join(runs[i].thread, NULL);
        if (runs[i].why.code < 0 && code == SL_OK) {
            code = runs[i].why.code;
            *why = runs[i].why;
        }
        if (runs[i].took_ns > 0)
            total += (double)runs[i].frames * m->class->width * m->class->height * 1e3 /
                     (double)runs[i].took_ns;
        hal_encode_close(&runs[i].session);
    }
    pictures_close(&pictures);
    if (code != SL_OK)
        return code;
    return figure_give(m, open, total, why);
}

/* One that fails is said and the others go on: the exit status is of the worst. */
static int measure(struct measure m)
{
    struct sl_failure why = {0};
    if (m.row->width_max < m.class->width || m.row->height_max < m.class->height)
        return 0;
    if (m.sessions > SESSIONS_MAX)
        m.sessions = SESSIONS_MAX;
    if (m.sessions < 1)
        m.sessions = 1;
    int code = measure_do(&m, &why);
    if (code == SL_OK)
        return 0;
    sl_error(NULL, "%s on %s, %s %s at %s: %s", m.row->encoder, m.device->device_id,
             codec_word(m.row->codec), m.preset, m.class->name,
             why.message[0] ? why.message : sl_error_text(code));
    return 1;
}

static int row_measure(const struct calibrate_params *params, struct hal_device *device,
                       const struct hal_row *row)
{
    bool cpu = device->kind == DEVICE_CPU;
    int32_t all = cpu ? device->cpus : SEVERAL;
    struct measure m = {
        .params = params,
        .device = device,
        .row = row,
        .class = &classes[CLASS_QUICK],
        .preset = PRESET_QUICK,
        .sessions = all,
        .threads = 1,
    };
    if (params->depth == CALIBRATE_QUICK)
        return measure(m);
    int status = 0;
    for (size_t c = 0; c < sizeof classes / sizeof *classes - cpu; c++)
        for (size_t p = 0; p < sizeof presets / sizeof *presets; p++) {
            m.class = &classes[c];
            m.preset = presets[p];
            if (params->depth != CALIBRATE_FULL && strcmp(m.preset, PRESET_QUICK) != 0)
                continue;
            m.sessions = all;
            status |= measure(m);
            m.sessions = 1;
            if (all > 1 && params->depth == CALIBRATE_FULL)
                status |= measure(m);
        }
    m.class = &classes[CLASS_FULL];
    m.preset = PRESET_QUICK;
    m.sessions = all;
    if (row->layouts & (1u << HAL_I420_10 | 1u << HAL_P010)) {
        m.ten_bit = true;
        status |= measure(m);
        m.ten_bit = false;
    }
    for (m.threads = 2; cpu && m.threads <= 4 && m.threads <= device->cpus; m.threads *= 2) {
        m.sessions = device->cpus / m.threads;
        status |= measure(m);
    }
    return status;
}

/* ---- a GPU that encodes nothing ---- */

#define FEED_WIDTH        1920
#define FEED_HEIGHT       1080
#define FEED_FRAMES       96
#define FEED_FRAMES_QUICK 48

static int feed_give(const struct calibrate_params *params, const struct hal_device *gpu,
                     const struct measure_feed *found, enum hal_speed_feed feed,
                     struct sl_failure *why)
{
    double total = feed == HAL_SPEED_FED ? found->fed_mpix_per_s : found->alone_mpix_per_s;
    struct hal_speed speed = {
        .encoder = "x264",
        .codec = CODEC_H264,
        .preset = "medium",
        .class = "1080p",
        .depth = 8,
        .sessions = found->jobs,
        .threads = 1,
        .feed = feed,
        .mpix_per_s = total / found->jobs,
        .total_mpix_per_s = total,
    };
    memcpy(speed.device_id, gpu->device_id, sizeof speed.device_id);
    memcpy(speed.driver, gpu->driver, sizeof speed.driver);
    return speed_give(params, gpu, &speed, why);
}

/* Both figures or none: one without the other says nothing. */
static int feed_measure(const struct calibrate_params *params, const struct hal_device *gpu)
{
    char program[4096] = "";
    struct measure_feed found;
    struct sl_failure why = {0};
    struct measure_feed_params how = {
        .program = program,
        .gpu = gpu,
        .width = FEED_WIDTH,
        .height = FEED_HEIGHT,
        .frames = params->depth == CALIBRATE_QUICK ? FEED_FRAMES_QUICK : FEED_FRAMES,
    };
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        snprintf(program, sizeof program, "sluice-worker");
    int code = measure_feed(&how, &found, &why);
    if (code == SL_OK)
        code = feed_give(params, gpu, &found, HAL_SPEED_ALONE, &why);
    if (code == SL_OK)
        code = feed_give(params, gpu, &found, HAL_SPEED_FED, &why);
    if (code == SL_OK)
        return 0;
    sl_error(NULL, "%s decodes and scales for CPUs: not measured: %s", gpu->device_id,
             why.message[0] ? why.message : sl_error_text(code));
    return 1;
}

int calibrate(const struct calibrate_params *params)
{
    static struct hal_device device;
    struct sl_failure why = {0};
    int code = hal_probe_one(&worker_backends, params->kind, params->device_id, &device, &why);
    if (code != SL_OK) {
        sl_error(NULL, "%s cannot be measured: %s", params->device_id,
                 why.message[0] ? why.message : sl_error_text(code));
        return 1;
    }
    int status = 0;
    bool encodes = false;
    for (int32_t i = 0; i < device.row_count; i++)
        if (device.rows[i].direction == HAL_ENCODE) {
            encodes = true;
            status |= row_measure(params, &device, &device.rows[i]);
        }
    return encodes || device.kind != DEVICE_NVENC ? status : feed_measure(params, &device);
}
