/* media/media_source.h: an input's bytes, opened as media.
 *
 * The worker gets descriptors, never paths or URLs: a file, or a function that answers reads. The demuxer is chosen
 * from an allow-list (nothing that opens other files: no playlists, no image sequences, no concat), as are decoders,
 * and every attempt of a demuxer to open something else is refused. Limits are those of media/media_limits.h.
 *
 * Owns:     the demuxer and its buffer; the descriptor stays the caller's.
 * Units:    bytes.
 * Errors:   SL_EFORMAT (not media, or not of an allowed kind), SL_EIO and what the read function returned,
 *           SL_ECHANGED (the file is not as long as promised), SL_ENOMEM.
 * Threads:  one thread per source.
 * Blocking: as the descriptor or the read function does.
 */
#ifndef SL_MEDIA_MEDIA_SOURCE_H
#define SL_MEDIA_MEDIA_SOURCE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/media_types.h"

/* One read of a remote input; small enough not to fetch much in vain, large enough to hide the round trip. */
#define MEDIA_READ_BYTES (256 * 1024)

/* Where the bytes are. */
struct media_input {
    int fd; /* a file, read at offsets; -1: read() answers */
    /* 0 or SL_E*; *out_read is short only at the end and 0 there. length is at most MEDIA_READ_BYTES. */
    int (*read)(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read);
    void *arg;
    int64_t bytes;
};

/* Reads at an offset, from the file or through read(). length is at most MEDIA_READ_BYTES. */
int media_input_read(const struct media_input *input, uint64_t offset, void *into, uint32_t length,
                     uint32_t *out_read);

struct media_source;

/* Finds the container and its streams. input is copied. */
int media_source_open(const struct media_input *input, struct media_source **out,
                      struct sl_failure *why);
/* As this kind and no other: "srt", "ass" or "webvtt", which are no kinds of video and so not found out. */
int media_source_open_as(const struct media_input *input, const char *format,
                         struct media_source **out, struct sl_failure *why);
void media_source_close(struct media_source **source);

/* The demuxer, valid until close. */
AVFormatContext *media_source_format(struct media_source *source);

/* The next packet of any stream that is not discarded: 1, 0 at the end, or SL_E*. A container that breaks off is
 * an end; bytes that cannot be had are an error. */
int media_source_read(struct media_source *source, AVPacket *packet, struct sl_failure *why);

/* Lets only this stream's packets through. */
void media_source_only(struct media_source *source, int stream_index);

/* The stream that an earlier look (media_probe) described as this; SL_ECHANGED when it is not that any more. */
int media_source_video(struct media_source *source, const struct media_video *video, AVStream **out,
                       struct sl_failure *why);

/* What an AVERROR means here: SL_ENOMEM, SL_EIO or `otherwise`, with libav's own words behind the sentence. */
int media_fail(struct sl_failure *why, int averror, int otherwise, const char *what);

/* A decoder for a stream: one thread, bit-exact. SL_EUNSUPPORTED when this libavcodec has none. */
int media_decoder_open(const AVStream *stream, AVCodecContext **out, struct sl_failure *why);

/* The decoder that devices help with where this one decodes on the CPU. */
const AVCodec *media_decoder_on_device(const AVCodec *codec);

/* A device whose memory a decoder fills with pictures. */
struct media_device {
    AVBufferRef *context;       /* an AVHWDeviceContext; NULL: there is none */
    enum AVPixelFormat surface; /* as its pictures are labelled */
    /* Set by the decoder: */
    enum AVPixelFormat samples; /* what it would give on the CPU */
    int width, height;          /* of the pictures that its surfaces were made for; 0: none yet */
    bool resized;               /* the stream goes over to another size */
};

/* Pictures come out as surfaces of the device where its driver decodes such a stream in 4:2:0, else as from media_decoder_open: a
 * picture's own format tells. device stays where it is while the decoder is open. AV1 whose driver refuses it, or with film
 * grain, which only one decoder makes the same of everywhere, is refused with its first packet. */
int media_decoder_open_on(const AVStream *stream, struct media_device *device, AVCodecContext **out,
                          struct sl_failure *why);

#endif
