#include "media/media_source.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/avstring.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/media_limits.h"

struct media_source {
    struct media_input input;
    AVFormatContext *format;
    AVIOContext *io;
    uint64_t at;
    int io_code; /* first failure of a read; libav's own codes lose it */
};

/* Names as libavformat has them, one per demuxer. None of these opens anything but its input. */
static const char formats_allowed[] = "mov,matroska,avi,mpegts,mpeg,flv,ogg,h264,hevc,mpegvideo,"
                                      "wav,aac,mp3,flac";
static const char formats_told[] = "MP4/MOV, Matroska/WebM, AVI, MPEG-TS, MPEG-PS, FLV or Ogg, "
                                   "and of sound also WAV, FLAC, MP3 or AAC";

int media_fail(struct sl_failure *why, int averror, int otherwise, const char *what)
{
    int code = averror == AVERROR(ENOMEM)  ? SL_ENOMEM
               : averror == AVERROR(EIO)   ? SL_EIO
               : averror == AVERROR(EPERM) ? SL_EFORMAT
                                           : otherwise;
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(averror, text, sizeof text);
    return sl_fail(why, code, "%s: %s", what, text);
}

int media_input_read(const struct media_input *input, uint64_t offset, void *into, uint32_t length,
                     uint32_t *out_read)
{
    if (input->fd < 0)
        return input->read(input->arg, offset, into, length, out_read);
    for (;;) {
        ssize_t got = pread(input->fd, into, length, (off_t)offset);
        if (got >= 0) {
            *out_read = (uint32_t)got;
            return SL_OK;
        }
        if (errno != EINTR)
            return sl_error_from_errno(errno);
    }
}

static int io_read(void *opaque, uint8_t *into, int length)
{
    struct media_source *source = opaque;
    if (source->at >= (uint64_t)source->input.bytes)
        return AVERROR_EOF;
    uint64_t left = (uint64_t)source->input.bytes - source->at;
    uint32_t want = length > MEDIA_READ_BYTES ? MEDIA_READ_BYTES : (uint32_t)length;
    if (want > left)
        want = (uint32_t)left;
    uint32_t got = 0;
    int code = media_input_read(&source->input, source->at, into, want, &got);
    if (code == SL_OK && got == 0)
        code = SL_ECHANGED; /* the end came before the promised size */
    if (code != SL_OK) {
        if (source->io_code == SL_OK)
            source->io_code = code;
        return AVERROR(EIO);
    }
    source->at += got;
    return (int)got;
}

static int64_t io_seek(void *opaque, int64_t offset, int whence)
{
    struct media_source *source = opaque;
    int64_t to;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return source->input.bytes;
    case SEEK_SET:
        to = offset;
        break;
    case SEEK_CUR:
        to = (int64_t)source->at + offset;
        break;
    case SEEK_END:
        to = source->input.bytes + offset;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (to < 0)
        return AVERROR(EINVAL);
    source->at = (uint64_t)to;
    return to;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format;
    (void)url;
    (void)flags;
    (void)options;
    *io = NULL;
    return AVERROR(EPERM);
}

static int io_failed(const struct media_source *source, struct sl_failure *why)
{
    if (source->io_code == SL_ECHANGED)
        return sl_fail(why, SL_ECHANGED,
                       "the source ended at byte %llu, but was %lld bytes long when it came in",
                       (unsigned long long)source->at, (long long)source->input.bytes);
    return sl_fail(why, source->io_code, "the source cannot be read at byte %llu: %s",
                   (unsigned long long)source->at, sl_error_text(source->io_code));
}

static int find_format(struct media_source *source, const AVInputFormat **out,
                       struct sl_failure *why)
{
    /* Since libavformat 7.1 an HLS playlist is one only under such a name; that of the source is not known here. */
    int got = av_probe_input_buffer2(source->io, out, "any.m3u8", NULL, 0, 0);
    if (source->io_code)
        return io_failed(source, why);
    if (got < 0 || !*out)
        return sl_fail(
            why, SL_EFORMAT,
            "the file is not readable as media: its first bytes fit no container; send %s",
            formats_told);
    char name[64];
    snprintf(name, sizeof name, "%s", (*out)->name);
    name[strcspn(name, ",")] = '\0';
    if (av_match_list(name, formats_allowed, ',') <= 0)
        return sl_fail(why, SL_EFORMAT, "a file of the kind '%s' is refused: send %s", name,
                       formats_told);
    return SL_OK;
}

/* Looks into the streams, decoding a little where a header is not enough: each decoder under the limit of pixels, for
 * a few bytes can ask for gigabytes. *got is libav's word. */
static int streams_look(struct media_source *source, int *got, struct sl_failure *why)
{
    AVFormatContext *format = source->format;
    unsigned count = format->nb_streams;
    int code = media_limit_streams(count, why);
    if (code != SL_OK)
        return code;
    AVDictionary **options = av_calloc(count ? count : 1, sizeof(AVDictionary *));
    if (!options)
        return sl_fail(why, SL_ENOMEM, "no memory to open the source");
    for (unsigned i = 0; i < count; i++)
        av_dict_set_int(&options[i], "max_pixels", media_limits()->pixels, 0);
    *got = avformat_find_stream_info(format, options);
    for (unsigned i = 0; i < count; i++)
        av_dict_free(&options[i]);
    av_free(options);
    return media_limit_streams(format->nb_streams, why);
}

/* format NULL: found out. */
static int source_open(const struct media_input *input, const char *format,
                       struct media_source **out, struct sl_failure *why)
{
    if (input->bytes <= 0)
        return sl_fail(why, SL_EFORMAT, "the file is empty");
    if (input->fd >= 0) {
        /* Not fstat: the C library may ask it of the kernel by a path, which a sandbox does not allow. */
        off_t length = lseek(input->fd, 0, SEEK_END);
        if (length < 0)
            return sl_fail(why, SL_EIO, "the source cannot be looked at: %s", strerror(errno));
        if (length != input->bytes)
            return sl_fail(why, SL_ECHANGED,
                           "the source is %lld bytes long, but was %lld when it came in",
                           (long long)length, (long long)input->bytes);
    }
    struct media_source *source = calloc(1, sizeof *source);
    if (!source)
        return sl_fail(why, SL_ENOMEM, "no memory to open the source");
    source->input = *input;

    int code = SL_ENOMEM;
    uint8_t *buffer = av_malloc(MEDIA_READ_BYTES);
    if (buffer)
        source->io =
            avio_alloc_context(buffer, MEDIA_READ_BYTES, 0, source, io_read, NULL, io_seek);
    if (!source->io)
        av_free(buffer);
    source->format = avformat_alloc_context();
    if (!source->io || !source->format) {
        code = sl_fail(why, SL_ENOMEM, "no memory to open the source");
        goto fail;
    }
    const AVInputFormat *kind = NULL;
    if (format) {
        kind = av_find_input_format(format);
        code =
            kind ? SL_OK : sl_fail(why, SL_EUNSUPPORTED, "this node has no reader for %s", format);
    } else {
        code = find_format(source, &kind, why);
    }
    if (code != SL_OK)
        goto fail;
    source->format->pb = source->io;
    source->format->io_open = refuse_open;
    source->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    source->format->protocol_whitelist = av_strdup("none");
    source->format->codec_whitelist = av_strdup(media_codec_names());
    int got = avformat_open_input(&source->format, NULL, kind, NULL);
    if (got >= 0 && (code = streams_look(source, &got, why)) != SL_OK)
        goto fail;
    if (source->io_code) {
        code = io_failed(source, why);
        goto fail;
    }
    if (got < 0) {
        char what[96];
        snprintf(what, sizeof what, "the file begins like %.32s but is not readable as that",
                 kind->name);
        code = media_fail(why, got, SL_EFORMAT, what);
        goto fail;
    }
    *out = source;
    return SL_OK;
fail:
    media_source_close(&source);
    return code;
}

int media_source_open(const struct media_input *input, struct media_source **out,
                      struct sl_failure *why)
{
    return source_open(input, NULL, out, why);
}

int media_source_open_as(const struct media_input *input, const char *format,
                         struct media_source **out, struct sl_failure *why)
{
    return source_open(input, format, out, why);
}

void media_source_close(struct media_source **source)
{
    if (!*source)
        return;
    avformat_close_input(&(*source)->format);
    if ((*source)->io) {
        av_freep(&(*source)->io->buffer);
        avio_context_free(&(*source)->io);
    }
    free(*source);
    *source = NULL;
}

AVFormatContext *media_source_format(struct media_source *source)
{
    return source->format;
}

int media_source_read(struct media_source *source, AVPacket *packet, struct sl_failure *why)
{
    int got = av_read_frame(source->format, packet);
    if (got >= 0)
        return 1;
    if (source->io_code)
        return io_failed(source, why);
    if (got == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory for a packet of the source");
    return 0;
}

void media_source_only(struct media_source *source, int stream_index)
{
    for (unsigned i = 0; i < source->format->nb_streams; i++)
        source->format->streams[i]->discard =
            (int)i == stream_index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
}

int media_source_video(struct media_source *source, const struct media_video *video, AVStream **out,
                       struct sl_failure *why)
{
    AVFormatContext *format = source->format;
    if (video->stream_index < 0 || (unsigned)video->stream_index >= format->nb_streams)
        return sl_fail(why, SL_ECHANGED, "the source has %u streams, stream %d was probed",
                       format->nb_streams, video->stream_index);
    AVStream *stream = format->streams[video->stream_index];
    const char *codec = avcodec_get_name(stream->codecpar->codec_id);
    if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO || strcmp(codec, video->codec) != 0 ||
        stream->time_base.num != video->time_base.num ||
        stream->time_base.den != video->time_base.den)
        return sl_fail(
            why, SL_ECHANGED, "stream %d is %s in 1/%d s, but was %s in 1/%d s when it was probed",
            video->stream_index, codec, stream->time_base.den, video->codec, video->time_base.den);
    *out = stream;
    return SL_OK;
}

/* Called again without the surfaces when the driver refuses the stream. */
static enum AVPixelFormat samples_choose(AVCodecContext *decoder, const enum AVPixelFormat *offered)
{
    struct media_device *device = decoder->opaque;
    bool surfaces = false;
    device->samples = AV_PIX_FMT_NONE;
    for (; *offered != AV_PIX_FMT_NONE; offered++) {
        const AVPixFmtDescriptor *shape = av_pix_fmt_desc_get(*offered);
        surfaces = surfaces || *offered == device->surface;
        if (shape && !(shape->flags & AV_PIX_FMT_FLAG_HWACCEL))
            device->samples = *offered;
    }
    bool planar = device->samples == AV_PIX_FMT_YUV420P || device->samples == AV_PIX_FMT_YUVJ420P ||
                  device->samples == AV_PIX_FMT_YUV420P10LE;
    device->resized |=
        device->width && (decoder->width != device->width || decoder->height != device->height);
    device->width = decoder->width;
    device->height = decoder->height;
    bool exact = !(decoder->properties & FF_CODEC_PROPERTY_FILM_GRAIN);
    return surfaces && planar && exact ? device->surface : device->samples;
}

/* libavcodec's default for AV1 is dav1d or libaom, which no device helps; its own decoder does nothing without one. */
const AVCodec *media_decoder_on_device(const AVCodec *codec)
{
    const AVCodec *helped =
        codec->id == AV_CODEC_ID_AV1 ? avcodec_find_decoder_by_name("av1") : NULL;
    return helped ? helped : codec;
}

/* Surfaces that wait for filters, beside those that the decoder itself needs. */
#define SURFACES_WAITING 6

static int device_attach(AVCodecContext *decoder, struct media_device *device)
{
    if (!device || !device->context)
        return 0;
    decoder->hw_device_ctx = av_buffer_ref(device->context);
    if (!decoder->hw_device_ctx)
        return AVERROR(ENOMEM);
    device->width = device->height = 0;
    device->resized = false;
    decoder->opaque = device;
    decoder->get_format = samples_choose;
    decoder->extra_hw_frames = SURFACES_WAITING;
    return 0;
}

int media_decoder_open(const AVStream *stream, AVCodecContext **out, struct sl_failure *why)
{
    return media_decoder_open_on(stream, NULL, out, why);
}

int media_decoder_open_on(const AVStream *stream, struct media_device *device, AVCodecContext **out,
                          struct sl_failure *why)
{
    const AVCodec *codec = NULL;
    int code = media_codec_find(stream->codecpar, &codec, why);
    if (code != SL_OK)
        return code;
    if (device && device->context)
        codec = media_decoder_on_device(codec);
    AVCodecContext *decoder = avcodec_alloc_context3(codec);
    if (!decoder)
        return sl_fail(why, SL_ENOMEM, "no memory for a decoder");
    int got = avcodec_parameters_to_context(decoder, stream->codecpar);
    decoder->pkt_timebase = stream->time_base;
    decoder->thread_count = 1;
    decoder->flags |= AV_CODEC_FLAG_BITEXACT;
    decoder->max_pixels = media_limits()->pixels;
    if (got >= 0)
        got = device_attach(decoder, device);
    if (got >= 0)
        got = avcodec_open2(decoder, codec, NULL);
    if (got < 0) {
        avcodec_free_context(&decoder);
        return media_fail(why, got, SL_EDECODE, "the decoder does not accept the stream");
    }
    *out = decoder;
    return SL_OK;
}
