#include "encoders/lavc.h"

#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <stdlib.h>
#include <string.h>

static const enum AVPixelFormat formats[HAL_LAYOUT_COUNT] = {
    [HAL_I420] = AV_PIX_FMT_YUV420P,
    [HAL_I420_10] = AV_PIX_FMT_YUV420P10LE,
    [HAL_NV12] = AV_PIX_FMT_NV12,
    [HAL_P010] = AV_PIX_FMT_P010LE,
};

static const char *const presets[LAVC_PRESET_COUNT] = {
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"};

int lavc_fail(const struct lavc *lavc, struct sl_failure *why, int code, int av, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(av, text, sizeof text);
    int told = lavc->error_code ? lavc->error_code(lavc, av) : 0;
    if (told < 0)
        code = told;
    else if (av == AVERROR(ENOMEM))
        code = SL_ENOMEM;
    return sl_fail(why, code, "%s: %s: %s (%d)", lavc->codec_name, what, text, av);
}

enum AVPixelFormat lavc_format(enum hal_layout layout)
{
    return formats[layout];
}

uint32_t lavc_layouts(const AVCodec *codec)
{
    const enum AVPixelFormat *list = NULL;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
    const void *all = NULL;
    if (avcodec_get_supported_config(NULL, codec, AV_CODEC_CONFIG_PIX_FORMAT, 0, &all, NULL) == 0)
        list = all;
#else
    list = codec->pix_fmts;
#endif
    uint32_t layouts = 0;
    for (; list && *list != AV_PIX_FMT_NONE; list++)
        for (int i = 0; i < HAL_LAYOUT_COUNT; i++)
            if (formats[i] == *list)
                layouts |= 1u << i;
    return layouts;
}

struct hal_row *lavc_row_add(struct hal_device *device, enum codec codec, const char *encoder)
{
    if (device->row_count >= HAL_ROWS_MAX)
        return NULL;
    struct hal_row *row = &device->rows[device->row_count++];
    *row = (struct hal_row){.codec = codec, .direction = HAL_ENCODE};
    strncpy(row->encoder, encoder, sizeof row->encoder - 1);
    return row;
}

int lavc_preset_rank(const char *preset)
{
    if (!preset[0])
        preset = "medium";
    for (int i = 0; i < LAVC_PRESET_COUNT; i++)
        if (strcmp(presets[i], preset) == 0)
            return i;
    return -1;
}

/* ---- opening ---- */

int lavc_init(struct lavc *l, const char *codec_name, const struct hal_encode_params *p,
              struct sl_failure *why)
{
    l->codec_name = codec_name;
    const AVCodec *codec = avcodec_find_encoder_by_name(codec_name);
    if (!codec)
        return sl_fail(why, SL_ENOENCODER, "this libavcodec has no %s", codec_name);
    avcodec_free_context(&l->codec);
    l->codec = avcodec_alloc_context3(codec);
    if (!l->frame)
        l->frame = av_frame_alloc();
    if (!l->current)
        l->current = av_packet_alloc();
    if (!l->codec || !l->frame || !l->current)
        return sl_fail(why, SL_ENOMEM, "no memory for a session of %s", codec_name);

    AVCodecContext *c = l->codec;
    c->width = p->width;
    c->height = p->height;
    c->pix_fmt = lavc_format(p->layout);
    c->time_base = (AVRational){p->time_base.num, p->time_base.den};
    c->framerate = (AVRational){p->frame_rate.num, p->frame_rate.den};
    c->sample_aspect_ratio = (AVRational){p->sar.num, p->sar.den};
    c->color_primaries = (enum AVColorPrimaries)p->color_primaries;
    c->color_trc = (enum AVColorTransferCharacteristic)p->color_transfer;
    c->colorspace = (enum AVColorSpace)p->color_matrix;
    c->color_range = p->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    c->thread_count = p->threads;
    if (p->bframes >= 0)
        c->max_b_frames = p->bframes;
    c->rc_max_rate = (int64_t)p->maxrate_kbps * 1000;
    c->rc_buffer_size = p->bufsize_kbit * 1000;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    return SL_OK;
}

int lavc_open(struct lavc *l, const char *options, struct sl_failure *why)
{
    AVDictionary *dict = NULL;
    int rc = options ? av_dict_parse_string(&dict, options, "=", ":", 0) : 0;
    if (rc >= 0)
        rc = avcodec_open2(l->codec, l->codec->codec, &dict);
    const AVDictionaryEntry *left = av_dict_get(dict, "", NULL, AV_DICT_IGNORE_SUFFIX);
    int code = SL_OK;
    if (rc < 0)
        code = lavc_fail(l, why, SL_EENCODE, rc, "cannot open an encoder");
    else if (left)
        code = sl_fail(why, SL_EENCODE, "%s of this libavcodec knows no option %s", l->codec_name,
                       left->key);
    av_dict_free(&dict);
    return code;
}

int lavc_extradata_set(struct lavc *l, const uint8_t *bytes, size_t count, struct sl_failure *why)
{
    uint8_t *copy = malloc(count ? count : 1);
    if (!copy)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of parameter sets", count);
    memcpy(copy, bytes, count);
    free(l->extradata);
    l->extradata = copy;
    l->extradata_bytes = count;
    return SL_OK;
}

int lavc_extradata(void *state, const uint8_t **out, size_t *out_bytes)
{
    struct lavc *l = state;
    *out = l->extradata;
    *out_bytes = l->extradata_bytes;
    return SL_OK;
}

/* ---- pictures ---- */

static void planes_keep(void *opaque, uint8_t *data)
{
    (void)opaque;
    (void)data;
}

static void frame_time(struct lavc *l, const struct hal_frame *in)
{
    l->frame->pts = in->pts;
    l->frame->pict_type = in->force_idr ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
}

int lavc_frame_borrow(struct lavc *l, const struct hal_frame *in, struct sl_failure *why)
{
    AVFrame *frame = l->frame;
    frame->format = lavc_format(in->layout);
    frame->width = in->width;
    frame->height = in->height;
    for (int i = 0; i < 3; i++) {
        frame->data[i] = (uint8_t *)(uintptr_t)in->planes[i];
        frame->linesize[i] = (int)in->stride_bytes[i];
    }
    /* A reference that owns nothing spares libavcodec's copy. */
    frame->buf[0] = av_buffer_create(frame->data[0], in->stride_bytes[0], planes_keep, NULL,
                                     AV_BUFFER_FLAG_READONLY);
    if (!frame->buf[0]) {
        av_frame_unref(frame);
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    }
    frame_time(l, in);
    l->borrowed = true;
    return SL_OK;
}

int lavc_frame_copy(struct lavc *l, const struct hal_frame *in, struct sl_failure *why)
{
    AVFrame *frame = l->frame;
    frame->format = lavc_format(in->layout);
    frame->width = in->width;
    frame->height = in->height;
    int rc = av_frame_get_buffer(frame, 0);
    if (rc < 0) {
        av_frame_unref(frame);
        return lavc_fail(l, why, SL_ENOMEM, rc, "no memory for a frame");
    }
    const uint8_t *planes[4] = {in->planes[0], in->planes[1], in->planes[2]};
    int strides[4] = {(int)in->stride_bytes[0], (int)in->stride_bytes[1], (int)in->stride_bytes[2]};
    av_image_copy(frame->data, frame->linesize, planes, strides, (enum AVPixelFormat)frame->format,
                  frame->width, frame->height);
    frame_time(l, in);
    l->borrowed = false;
    return SL_OK;
}

int lavc_frame_surface(struct lavc *l, const struct hal_frame *in, struct sl_failure *why)
{
    int rc = av_frame_ref(l->frame, in->surface);
    if (rc < 0)
        return lavc_fail(l, why, SL_EENCODE, rc, "a surface cannot be held");
    frame_time(l, in);
    l->borrowed = false;
    return SL_OK;
}

int lavc_frame_quality(struct lavc *l, double qp, struct sl_failure *why)
{
    AVFrameSideData *side = av_frame_new_side_data(l->frame, AV_FRAME_DATA_REGIONS_OF_INTEREST,
                                                   sizeof(AVRegionOfInterest));
    if (!side) {
        av_frame_unref(l->frame);
        return sl_fail(why, SL_ENOMEM, "no memory for a frame");
    }
    double range = l->codec->pix_fmt == AV_PIX_FMT_YUV420P10LE ? 63 : 51;
    *(AVRegionOfInterest *)side->data = (AVRegionOfInterest){
        .self_size = sizeof(AVRegionOfInterest),
        .bottom = l->codec->height,
        .right = l->codec->width,
        .qoffset = av_d2q(qp / range, 100000),
    };
    return SL_OK;
}

/* ---- packets ---- */

int lavc_packet_push(struct lavc *l, AVPacket *packet, struct sl_failure *why)
{
    if (l->pending_count == LAVC_PENDING_MAX) {
        av_packet_free(&packet);
        return sl_fail(why, SL_ELIMIT, "%d packets wait; receive them before the next frame",
                       LAVC_PENDING_MAX);
    }
    l->pending[(l->pending_first + l->pending_count++) % LAVC_PENDING_MAX] = packet;
    return SL_OK;
}

/* Takes what is finished, so that libavcodec never has to hold a picture back. */
static int pending_fill(struct lavc *l, int most, struct sl_failure *why)
{
    while (l->pending_count < most) {
        AVPacket *packet = av_packet_alloc();
        if (!packet)
            return sl_fail(why, SL_ENOMEM, "no memory for a packet");
        int rc = avcodec_receive_packet(l->codec, packet);
        if (rc < 0) {
            av_packet_free(&packet);
            if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
                return SL_OK;
            return lavc_fail(l, why, SL_EENCODE, rc, "encoding failed");
        }
        rc = l->packet_fix ? l->packet_fix(l, packet, why) : SL_OK;
        if (rc < 0) {
            av_packet_free(&packet);
            return rc;
        }
        lavc_packet_push(l, packet, why);
    }
    return SL_OK;
}

int lavc_send(struct lavc *l, struct sl_failure *why)
{
    AVFrame *frame = l->frame;
    if (l->pending_count >= LAVC_PENDING_MAX / 2) {
        av_frame_unref(frame);
        return sl_fail(why, SL_ELIMIT, "%d packets wait; receive them before the next frame",
                       l->pending_count);
    }
    av_packet_unref(l->current);
    int rc = avcodec_send_frame(l->codec, frame);
    if (rc < 0) {
        av_frame_unref(frame);
        return lavc_fail(l, why, SL_EENCODE, rc, "a frame was refused");
    }
    rc = pending_fill(l, LAVC_PENDING_MAX, why);
    bool kept = l->borrowed && av_buffer_get_ref_count(frame->buf[0]) != 1;
    av_frame_unref(frame);
    if (rc == SL_OK && kept)
        return sl_fail(why, SL_EINTERNAL, "%s keeps a frame that is not its own", l->codec_name);
    return rc;
}

int lavc_submit_borrowed(void *state, const struct hal_frame *in, struct sl_failure *why)
{
    int rc = lavc_frame_borrow(state, in, why);
    return rc < 0 ? rc : lavc_send(state, why);
}

int lavc_receive(void *state, struct hal_packet *out, struct sl_failure *why)
{
    struct lavc *l = state;
    if (l->pending_count == 0 && l->flushed) {
        int rc = pending_fill(l, 1, why);
        if (rc < 0)
            return rc;
    }
    if (l->pending_count == 0)
        return 0;
    av_packet_free(&l->current);
    l->current = l->pending[l->pending_first];
    l->pending_first = (l->pending_first + 1) % LAVC_PENDING_MAX;
    l->pending_count--;
    *out = (struct hal_packet){
        .data = l->current->data,
        .bytes = (size_t)l->current->size,
        .pts = l->current->pts,
        .dts = l->current->dts,
        .idr = (l->current->flags & AV_PKT_FLAG_KEY) != 0,
    };
    return 1;
}

int lavc_flush(void *state, struct sl_failure *why)
{
    struct lavc *l = state;
    if (l->flushed)
        return SL_OK;
    int rc = avcodec_send_frame(l->codec, NULL);
    if (rc < 0 && rc != AVERROR_EOF)
        return lavc_fail(l, why, SL_EENCODE, rc, "flushing failed");
    l->flushed = true;
    return SL_OK;
}

int lavc_drain(struct lavc *l, struct sl_failure *why)
{
    int rc = avcodec_send_frame(l->codec, NULL);
    if (rc < 0 && rc != AVERROR_EOF)
        return lavc_fail(l, why, SL_EENCODE, rc, "flushing failed");
    rc = pending_fill(l, LAVC_PENDING_MAX, why);
    if (rc == SL_OK && l->pending_count == LAVC_PENDING_MAX)
        return sl_fail(why, SL_ELIMIT, "%s held more than %d packets back", l->codec_name,
                       LAVC_PENDING_MAX);
    return rc;
}

void lavc_close(void *state)
{
    struct lavc *l = state;
    while (l->pending_count > 0) {
        av_packet_free(&l->pending[l->pending_first]);
        l->pending_first = (l->pending_first + 1) % LAVC_PENDING_MAX;
        l->pending_count--;
    }
    av_packet_free(&l->current);
    av_frame_free(&l->frame);
    avcodec_free_context(&l->codec);
    free(l->extradata);
    *l = (struct lavc){0};
}
