#include "tests/drivers/drive.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/opt.h>

#include "worker/sandbox.h"

/* ---- pictures ---- */

/* A ramp that moves; flat enough that any encoder comes close to it. */
static int luma_at(int number, int x, int y)
{
    return 40 + (x + 2 * y + 6 * number) % 160;
}

static void paint(AVFrame *frame, int number)
{
    bool deep = frame->format == AV_PIX_FMT_P010LE,
         packed = deep || frame->format == AV_PIX_FMT_NV12;
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            uint8_t *row = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
            if (deep)
                ((uint16_t *)row)[x] = (uint16_t)(luma_at(number, x, y) << 8);
            else
                row[x] = (uint8_t)luma_at(number, x, y);
        }
    for (int plane = 1; plane < (packed ? 2 : 3); plane++)
        for (int y = 0; y < (frame->height + 1) / 2; y++)
            memset(frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane], 0x80,
                   (size_t)(frame->width + 1) / 2 * (packed ? 2 : 1) * (deep ? 2 : 1));
}

/* A decoded picture; its time is its number. */
static bool looks_like(const AVFrame *frame, bool deep)
{
    int64_t sum = 0;
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            const uint8_t *row = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
            int got = deep ? ((const uint16_t *)row)[x] >> 2 : row[x];
            sum += abs(got - luma_at((int)frame->pts, x, y));
        }
    return sum < (int64_t)6 * frame->width * frame->height;
}

/* ---- one encode ---- */

struct encode {
    const struct drive_ask *ask;
    AVBufferRef *device;
    AVCodecContext *encoder, *decoder;
    int go_fd, held_fd;
    struct drive_answer answer;
};

static int decode(struct encode *e, const AVPacket *packet)
{
    AVFrame *frame = av_frame_alloc();
    int rc = avcodec_send_packet(e->decoder, packet);
    while (rc >= 0 && (rc = avcodec_receive_frame(e->decoder, frame)) >= 0) {
        e->answer.decoded++;
        if (!looks_like(frame, e->ask->format == AV_PIX_FMT_P010LE))
            e->answer.other++;
    }
    av_frame_free(&frame);
    return rc;
}

static int receive(struct encode *e)
{
    AVPacket *packet = av_packet_alloc();
    int rc;
    while ((rc = avcodec_receive_packet(e->encoder, packet)) >= 0) {
        e->answer.packets++;
        e->answer.keys += (packet->flags & AV_PKT_FLAG_KEY) != 0;
        e->answer.empty += packet->size == 0;
        e->answer.bytes += packet->size;
        if (packet->size)
            decode(e, packet);
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    return rc;
}

static int options_set(struct encode *e)
{
    AVCodecContext *c = e->encoder;
    const struct drive_ask *ask = e->ask;
    c->width = ask->width;
    c->height = ask->height;
    c->time_base = (AVRational){1, 25};
    c->framerate = (AVRational){25, 1};
    c->pix_fmt = ask->surfaces ? AV_PIX_FMT_CUDA : ask->format;
    c->sw_pix_fmt = ask->surfaces ? ask->format : AV_PIX_FMT_NONE;
    c->gop_size = 1000;
    c->max_b_frames = ask->b_frames;
    c->rc_max_rate = ask->maxrate;
    if (av_opt_set(c->priv_data, "cq", "20", 0) < 0 ||
        av_opt_set(c->priv_data, "forced-idr", "1", 0) < 0)
        return AVERROR(EINVAL);
    if (e->device)
        c->hw_device_ctx = av_buffer_ref(e->device);
    if (ask->surfaces) {
        c->hw_frames_ctx = av_hwframe_ctx_alloc(e->device);
        AVHWFramesContext *frames = (AVHWFramesContext *)c->hw_frames_ctx->data;
        frames->format = AV_PIX_FMT_CUDA;
        frames->sw_format = ask->format;
        frames->width = ask->width;
        frames->height = ask->height;
        return av_hwframe_ctx_init(c->hw_frames_ctx);
    }
    return 0;
}

static int submit(struct encode *e, AVFrame *frame, int number)
{
    AVFrame *sent = frame, *surface = NULL;
    frame->pts = number;
    frame->pict_type = e->ask->key_every && number % e->ask->key_every == 0 ? AV_PICTURE_TYPE_I
                                                                            : AV_PICTURE_TYPE_NONE;
    int rc = 0;
    if (e->ask->surfaces) {
        sent = surface = av_frame_alloc();
        rc = av_hwframe_get_buffer(e->encoder->hw_frames_ctx, surface, 0);
        if (rc >= 0)
            rc = av_hwframe_transfer_data(surface, frame, 0);
        surface->pts = frame->pts;
        surface->pict_type = frame->pict_type;
    }
    if (rc >= 0)
        rc = avcodec_send_frame(e->encoder, sent);
    av_frame_free(&surface);
    return rc;
}

static void encode_run(struct encode *e)
{
    const struct drive_ask *ask = e->ask;
    const AVCodec *codec = avcodec_find_encoder_by_name(ask->codec_name);
    AVDictionary *options = NULL;
    AVFrame *frame = av_frame_alloc();
    e->encoder = avcodec_alloc_context3(codec);
    e->decoder = avcodec_alloc_context3(avcodec_find_decoder(codec->id));
    if (ask->options)
        av_dict_parse_string(&options, ask->options, "=", ":", 0);
    e->answer.open_rc = options_set(e);
    e->decoder->thread_count = 1; /* a sandboxed process has no files to ask how many there are */
    if (avcodec_open2(e->decoder, NULL, NULL) < 0)
        abort();
    if (e->answer.open_rc == 0)
        e->answer.open_rc = avcodec_open2(e->encoder, codec, &options);
    frame->format = ask->format;
    frame->width = ask->width;
    frame->height = ask->height;
    if (av_frame_get_buffer(frame, 0) < 0)
        abort();
    for (int i = 0; i < ask->pictures && e->answer.open_rc == 0 && e->answer.send_rc == 0; i++) {
        if (ask->hold_picture && i + 1 == ask->hold_picture) {
            char byte = 0;
            if (write(e->held_fd, &byte, 1) != 1 || read(e->go_fd, &byte, 1) != 1)
                abort();
        }
        if (av_frame_make_writable(frame) < 0)
            abort();
        paint(frame, i);
        e->answer.send_rc = submit(e, frame, i);
        receive(e);
    }
    if (e->answer.open_rc == 0) {
        e->answer.drain_rc = avcodec_send_frame(e->encoder, NULL);
        int rc = receive(e);
        if (e->answer.drain_rc == 0 && rc != AVERROR_EOF)
            e->answer.drain_rc = rc;
        decode(e, NULL);
    }
    av_dict_free(&options);
    av_frame_free(&frame);
    avcodec_free_context(&e->encoder);
    avcodec_free_context(&e->decoder);
}

static void *encode_thread(void *arg)
{
    encode_run(arg);
    return NULL;
}

/* ---- the process ---- */

static void environment_set(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* Whoever asks for these names afterwards gets these libraries. */
static void drivers_load(bool half)
{
    const char *cuda = half ? STANDIN_FOLDER "/half/libcuda.so.1" : STANDIN_FOLDER "/libcuda.so.1";
    if (!dlopen(cuda, RTLD_NOW) ||
        (!half && !dlopen(STANDIN_FOLDER "/libnvidia-encode.so.1", RTLD_NOW))) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
}

#define THREADS_MAX 8
#define PATIENCE_MS 60000

static void child(const struct drive_ask *ask, int answer_fd, int go_fd, int held_fd)
{
    static struct encode encodes[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    int count = ask->threads ? ask->threads : 1;
    struct sandbox sandbox;
    struct sl_failure why;
    AVBufferRef *device = NULL;
    struct drive_answer *sum = &encodes[0].answer;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGSEGV, SIG_DFL); /* the test's own would go on in the child */
    environment_set("SLUICE_STANDIN_FAULTS", ask->faults);
    environment_set("SLUICE_STANDIN_STATE", ask->state);
    environment_set("SLUICE_STANDIN_NVENC", ask->devices);
    environment_set("CUDA_VISIBLE_DEVICES", ask->visible);
    av_log_set_level(AV_LOG_QUIET);
    if (ask->sandbox)
        sandbox_isolate(&sandbox);
    drivers_load(ask->half);
    if (ask->device)
        sum->device_rc =
            av_hwdevice_ctx_create(&device, AV_HWDEVICE_TYPE_CUDA, ask->device, NULL, 0);
    if (ask->sandbox && sandbox_enter(&sandbox, NULL, &why) != SL_OK)
        abort();
    for (int i = 0; i < count && sum->device_rc == 0; i++) {
        encodes[i].ask = ask;
        encodes[i].device = device;
        encodes[i].go_fd = go_fd;
        encodes[i].held_fd = held_fd;
        if (count > 1)
            pthread_create(&threads[i], NULL, encode_thread, &encodes[i]);
        else
            encode_run(&encodes[i]);
    }
    for (int i = 0; i < count && count > 1 && sum->device_rc == 0; i++) {
        pthread_join(threads[i], NULL);
        if (i == 0)
            continue;
        sum->packets += encodes[i].answer.packets;
        sum->decoded += encodes[i].answer.decoded;
        sum->other += encodes[i].answer.other;
        sum->keys += encodes[i].answer.keys;
    }
    av_buffer_unref(&device);
    if (write(answer_fd, sum, sizeof *sum) != (ssize_t)sizeof *sum)
        abort();
    _exit(0);
}

void drive_start(const struct drive_ask *ask, struct drive *out)
{
    int answer[2], go[2], held[2];
    if (pipe(answer) < 0 || pipe(go) < 0 || pipe(held) < 0)
        abort();
    fflush(NULL);
    out->pid = fork();
    if (out->pid < 0)
        abort();
    if (out->pid == 0) {
        close(answer[0]);
        close(go[1]);
        close(held[0]);
        child(ask, answer[1], go[0], held[1]);
    }
    close(answer[1]);
    close(go[0]);
    close(held[1]);
    out->answer_fd = answer[0];
    out->go_fd = go[1];
    out->held_fd = held[0];
}

void drive_finish(struct drive *drive, struct drive_answer *out)
{
    struct pollfd answer = {.fd = drive->answer_fd, .events = POLLIN};
    memset(out, 0, sizeof *out);
    if (poll(&answer, 1, PATIENCE_MS) <= 0)
        kill(drive->pid, SIGKILL);
    ssize_t got = read(drive->answer_fd, out, sizeof *out);
    int status = 0;
    while (waitpid(drive->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    out->status = status ? status : (got == (ssize_t)sizeof *out ? 0 : -1);
    close(drive->answer_fd);
    close(drive->go_fd);
    close(drive->held_fd);
}

void drive_wait_held(struct drive *drive)
{
    char byte;
    if (read(drive->held_fd, &byte, 1) != 1)
        abort();
}

void drive_go(struct drive *drive)
{
    char byte = 0;
    if (write(drive->go_fd, &byte, 1) != 1)
        abort();
}

struct drive_answer drive_run(const struct drive_ask *ask)
{
    struct drive drive;
    struct drive_answer answer;
    drive_start(ask, &drive);
    drive_finish(&drive, &answer);
    return answer;
}

int64_t drive_stat(const char *state, int device, const char *key)
{
    char command[1024], text[4096], wanted[64];
    snprintf(command, sizeof command, STANDIN_FOLDER "/standin-stat %s", state);
    FILE *pipe = popen(command, "r");
    size_t bytes = pipe ? fread(text, 1, sizeof text - 1, pipe) : 0;
    if (!pipe || pclose(pipe) != 0)
        return -1;
    text[bytes] = 0;
    const char *at = text;
    if (device >= 0)
        at = strchr(at, '[');
    for (int i = 0; i < device && at; i++)
        at = strchr(at + 1, '}');
    snprintf(wanted, sizeof wanted, "\"%s\": ", key);
    at = at ? strstr(at, wanted) : NULL;
    return at ? atoll(at + strlen(wanted)) : -1;
}
