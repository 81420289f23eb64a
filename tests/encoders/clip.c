#include "tests/encoders/clip.h"

#include <libavcodec/avcodec.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In builds with ASan: x265 3.5 leaves parts of its frame filter and of its options behind at every close. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libx265.so\n";
}

void clip_init(struct clip *clip, enum clip_picture picture, int32_t width, int32_t height,
               int32_t frames, int32_t frame_ticks)
{
    assert_true(frames <= CLIP_FRAMES_MAX);
    *clip = (struct clip){
        .picture = picture,
        .layout = HAL_I420,
        .width = width,
        .height = height,
        .frames = frames,
        .frame_ticks = frame_ticks,
    };
    for (int32_t i = 0; i < frames; i++)
        clip->pts[i] = (int64_t)i * frame_ticks;
    clip->idr[0] = true;
}

static int sample_bytes(const struct clip *clip)
{
    return clip->layout == HAL_I420_10 || clip->layout == HAL_P010 ? 2 : 1;
}

size_t clip_frame_bytes(const struct clip *clip)
{
    return (size_t)clip->width * (size_t)clip->height * 3 / 2 * (size_t)sample_bytes(clip);
}

static unsigned sample(const struct clip *clip, int32_t number, int plane, int x, int y)
{
    int scene = clip->picture == CLIP_CUTS ? number / 10 : 0;
    if (clip->picture == CLIP_NOISE) {
        uint32_t h = (uint32_t)number * 2654435761u ^ (uint32_t)(plane + 1) * 40503u ^
                     (uint32_t)x * 2246822519u ^ (uint32_t)y * 3266489917u;
        h ^= h >> 15;
        h *= 2246822519u;
        h ^= h >> 13;
        return 16 + h % 220;
    }
    if (plane > 0)
        return 96u + (unsigned)((x + y + number + 31 * scene) / 4 % 64);
    int left = (number * 3 + scene * 41) % (clip->width > 40 ? clip->width - 40 : 1);
    int top = (number * 2 + scene * 23) % (clip->height > 40 ? clip->height - 40 : 1);
    if (x >= left && x < left + 40 && y >= top && y < top + 40)
        return 220u - (unsigned)(scene % 4) * 20u;
    return 30u +
           (unsigned)((x * (1 + scene % 3) + y * (1 + scene % 2) + number + scene * 57) / 3 % 150);
}

void clip_paint(const struct clip *clip, int32_t number, uint8_t *buffer, struct hal_frame *out)
{
    size_t wide = (size_t)sample_bytes(clip);
    uint8_t *at = buffer;
    int32_t picture = clip->period ? number % clip->period : number;
    *out = (struct hal_frame){
        .layout = clip->layout,
        .width = clip->width,
        .height = clip->height,
        .pts = clip->pts[number],
        .force_idr = clip->idr[number],
    };
    bool packed = clip->layout == HAL_NV12 || clip->layout == HAL_P010;
    int shift =
        clip->layout == HAL_P010 ? 8 : 2; /* ten bits lie at the top of sixteen, or at their end */
    for (int plane = 0; plane < (packed ? 2 : 3); plane++) {
        int w = plane && !packed ? clip->width / 2 : clip->width;
        int h = plane ? clip->height / 2 : clip->height;
        out->planes[plane] = at;
        out->stride_bytes[plane] = (size_t)w * wide;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                unsigned value = plane && packed ? sample(clip, picture, 1 + x % 2, x / 2, y)
                                                 : sample(clip, picture, plane, x, y);
                if (wide == 1) {
                    *at++ = (uint8_t)value;
                } else {
                    *at++ = (uint8_t)(value << shift);
                    *at++ = (uint8_t)(value >> (8 - shift));
                }
            }
    }
}

struct hal_encode_params clip_params(const struct clip *clip, enum codec codec, int32_t timescale)
{
    return (struct hal_encode_params){
        .codec = codec,
        .layout = clip->layout,
        .width = clip->width,
        .height = clip->height,
        .time_base = {1, timescale},
        .frame_rate = {timescale, clip->frame_ticks ? clip->frame_ticks : timescale / 24},
        .sar = {1, 1},
        .crf_tenths = 200,
        .gop_frames = 48,
        .bframes = -1,
        .threads = 1,
        .color_primaries = 1,
        .color_transfer = 1,
        .color_matrix = 1,
    };
}

static int packets_take(struct hal_session *session, struct clip_encode *out,
                        struct sl_failure *why)
{
    struct hal_packet packet;
    int rc;
    while ((rc = hal_encode_receive(session, &packet, why)) == 1) {
        assert_true(out->count < CLIP_FRAMES_MAX);
        struct clip_packet *p = &out->packets[out->count++];
        *p = (struct clip_packet){.bytes = packet.bytes,
                                  .pts = packet.pts,
                                  .dts = packet.dts,
                                  .idr = packet.idr,
                                  .data = malloc(packet.bytes)};
        assert_non_null(p->data);
        memcpy(p->data, packet.data, packet.bytes);
    }
    return rc;
}

static int encode_in(struct hal_session *session, const struct clip *clip, struct clip_encode *out,
                     struct sl_failure *why)
{
    const uint8_t *extradata;
    *out = (struct clip_encode){0};
    int rc = hal_encode_extradata(session, &extradata, &out->extradata_bytes);
    uint8_t *buffer = malloc(clip_frame_bytes(clip));
    out->extradata = malloc(out->extradata_bytes + 1);
    assert_non_null(buffer);
    assert_non_null(out->extradata);
    if (out->extradata_bytes > 0)
        memcpy(out->extradata, extradata, out->extradata_bytes);
    for (int32_t i = 0; i < clip->frames && rc == SL_OK; i++) {
        struct hal_frame frame;
        clip_paint(clip, i, buffer, &frame);
        rc = hal_encode_submit(session, &frame, why);
        memset(buffer, 0xa5, clip_frame_bytes(clip));
        if (rc == SL_OK)
            rc = packets_take(session, out, why);
    }
    if (rc == SL_OK)
        rc = hal_encode_flush(session, why);
    if (rc == SL_OK)
        rc = packets_take(session, out, why);
    free(buffer);
    return rc;
}

int clip_encode(const struct hal_backends *backends, struct hal_device *device, const char *encoder,
                const struct hal_encode_params *params, const struct clip *clip,
                struct clip_encode *out, struct sl_failure *why)
{
    struct hal_session *session = NULL;
    *out = (struct clip_encode){0};
    int rc = hal_encode_open(backends, device, encoder, params, &session, why);
    if (rc == SL_OK)
        rc = encode_in(session, clip, out, why);
    hal_encode_close(&session);
    return rc;
}

void clip_encode_free(struct clip_encode *encode)
{
    for (int32_t i = 0; i < encode->count; i++)
        free(encode->packets[i].data);
    free(encode->extradata);
    *encode = (struct clip_encode){0};
}

static void frames_take(const struct clip *clip, AVCodecContext *codec, AVFrame *frame,
                        struct clip_decoded *out)
{
    while (avcodec_receive_frame(codec, frame) >= 0) {
        assert_true(out->count < CLIP_FRAMES_MAX);
        assert_int_equal(frame->width, clip->width);
        assert_int_equal(frame->height, clip->height);
        assert_false(frame->flags & AV_FRAME_FLAG_CORRUPT);
        size_t row = (size_t)clip->width * (size_t)sample_bytes(clip);
        uint8_t *luma = malloc(row * (size_t)clip->height);
        assert_non_null(luma);
        for (int y = 0; y < clip->height; y++)
            memcpy(luma + (size_t)y * row, frame->data[0] + (ptrdiff_t)y * frame->linesize[0], row);
        out->pts[out->count] = frame->pts;
        out->luma[out->count++] = luma;
        av_frame_unref(frame);
    }
}

void clip_decode(const struct clip *clip, enum codec codec_of, const struct clip_encode *encode,
                 int32_t first, int32_t count, struct clip_decoded *out)
{
    static const enum AVCodecID ids[CODEC_COUNT] = {
        [CODEC_H264] = AV_CODEC_ID_H264,
        [CODEC_H265] = AV_CODEC_ID_HEVC,
        [CODEC_AV1] = AV_CODEC_ID_AV1,
        [CODEC_VP9] = AV_CODEC_ID_VP9,
    };
    *out = (struct clip_decoded){0};
    AVCodecContext *codec = avcodec_alloc_context3(avcodec_find_decoder(ids[codec_of]));
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    assert_non_null(codec);
    codec->extradata = av_mallocz(encode->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(codec->extradata, encode->extradata, encode->extradata_bytes);
    codec->extradata_size = (int)encode->extradata_bytes;
    codec->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK;
    codec->thread_count = 1;
    assert_int_equal(avcodec_open2(codec, NULL, NULL), 0);
    for (int32_t i = first; i < first + count; i++) {
        assert_int_equal(av_new_packet(packet, (int)encode->packets[i].bytes), 0);
        memcpy(packet->data, encode->packets[i].data, encode->packets[i].bytes);
        packet->pts = encode->packets[i].pts;
        packet->dts = encode->packets[i].dts;
        assert_int_equal(avcodec_send_packet(codec, packet), 0);
        av_packet_unref(packet);
        frames_take(clip, codec, frame, out);
    }
    assert_int_equal(avcodec_send_packet(codec, NULL), 0);
    frames_take(clip, codec, frame, out);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&codec);
}

void clip_decoded_free(struct clip_decoded *decoded)
{
    for (int32_t i = 0; i < decoded->count; i++)
        free(decoded->luma[i]);
    decoded->count = 0;
}

double clip_psnr(const struct clip *clip, int32_t number, const uint8_t *luma)
{
    double sum = 0;
    int wide = sample_bytes(clip);
    for (int y = 0; y < clip->height; y++)
        for (int x = 0; x < clip->width; x++) {
            size_t at = ((size_t)y * (size_t)clip->width + (size_t)x) * (size_t)wide;
            double got = wide == 1 ? luma[at] : (luma[at] | luma[at + 1] << 8) / 4.0;
            double d = got - sample(clip, number, 0, x, y);
            sum += d * d;
        }
    double mse = sum / ((double)clip->width * clip->height);
    return mse <= 0 ? 100.0 : 10 * log10(255.0 * 255.0 / mse);
}
