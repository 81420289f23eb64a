/* encoders/lavc.h: what every back end over a libavcodec encoder does alike: a context filled from the session's
 * parameters, pictures sent, packets queued, extradata kept, errors told.
 *
 * A back end puts struct lavc first into its session state and goes
 *   lavc_init, its own options on lavc->codec, lavc_open, lavc_extradata_set,
 *   then per picture lavc_frame_borrow (or _copy, or _surface), side data of its own on lavc->frame, lavc_send.
 *
 * Owns:     the context, the packets not yet received, the parameter sets. Pictures stay the caller's.
 * Errors:   0 or a negative SL_E*, with the library, libavcodec's text and its number in why.
 * Threads:  one thread per session.
 * Blocking: send may take as long as an encode takes.
 */
#ifndef SL_ENCODERS_LAVC_H
#define SL_ENCODERS_LAVC_H

#include <libavcodec/avcodec.h>

#include "hal/hal.h"

/* Packets that wait for receive. Encoders give about one per frame, and at the end as many as they looked ahead, so a
 * caller that takes them after each submit never sees the end of it. */
#define LAVC_PENDING_MAX 256

struct lavc {
    const char *codec_name; /* as libavcodec names the encoder: "libx264" */
    AVCodecContext *codec;
    AVFrame *frame; /* the next one to be sent */
    bool borrowed;  /* its planes are the caller's */
    AVPacket *pending[LAVC_PENDING_MAX];
    int pending_first;
    int pending_count;
    AVPacket *current; /* lent to the caller by receive */
    uint8_t *extradata;
    size_t extradata_bytes;
    bool flushed;
    /* Gives a finished packet its MP4 form; NULL: it has it. */
    int (*packet_fix)(struct lavc *lavc, AVPacket *packet, struct sl_failure *why);
    /* What an error of libavcodec means for this library; NULL, or 0 from it: SL_EENCODE. */
    int (*error_code)(const struct lavc *lavc, int av);
};

/* Makes a context with everything in it that the parameters alone tell: size, format (of planes), times, colour,
 * threads, B-frames, rates, global headers and closed GOPs. A context that was there is closed: after lavc_drain a
 * session goes on with another one. SL_ENOENCODER where libavcodec lacks the library. */
int lavc_init(struct lavc *lavc, const char *codec_name, const struct hal_encode_params *params,
              struct sl_failure *why);

/* Opens it. With private options that libavcodec does not know this fails, where av_opt_set would keep quiet: they
 * come as "key=value:key=value", or NULL. */
int lavc_open(struct lavc *lavc, const char *options, struct sl_failure *why);

/* Keeps a copy as the session's extradata. */
int lavc_extradata_set(struct lavc *lavc, const uint8_t *bytes, size_t count,
                       struct sl_failure *why);

/* lavc->frame becomes the picture: by reference to the caller's planes, for a library that copies them before send
 * returns (lavc_send finds out when it did not); with planes of its own; or as another reference to a surface.
 * Time and forced key frame are set too. */
int lavc_frame_borrow(struct lavc *lavc, const struct hal_frame *in, struct sl_failure *why);
int lavc_frame_copy(struct lavc *lavc, const struct hal_frame *in, struct sl_failure *why);
int lavc_frame_surface(struct lavc *lavc, const struct hal_frame *in, struct sl_failure *why);

/* Asks for other quantisers over the whole of lavc->frame, by a region of interest: qp steps of 6 to the double. Unrefs
 * the frame on failure. */
int lavc_frame_quality(struct lavc *lavc, double qp, struct sl_failure *why);

/* Sends lavc->frame, clears it, and takes all packets that are finished. */
int lavc_send(struct lavc *lavc, struct sl_failure *why);

/* Takes the packet and lets it wait for receive; where too many do it is freed: SL_ELIMIT. */
int lavc_packet_push(struct lavc *lavc, AVPacket *packet, struct sl_failure *why);

/* Ends the context, whose last packets then wait for receive. */
int lavc_drain(struct lavc *lavc, struct sl_failure *why);

/* Of struct hal_encode_ops, for a state that begins with struct lavc. */
int lavc_extradata(void *state, const uint8_t **out, size_t *out_bytes);
int lavc_submit_borrowed(void *state, const struct hal_frame *in, struct sl_failure *why);
int lavc_receive(void *state, struct hal_packet *out, struct sl_failure *why);
int lavc_flush(void *state, struct sl_failure *why);
void lavc_close(void *state);

/* Names the library, what failed, and libavcodec's text and number. code: where error_code tells nothing. */
int lavc_fail(const struct lavc *lavc, struct sl_failure *why, int code, int av, const char *what);

/* The host layouts among an encoder's formats, as bits of a row. */
uint32_t lavc_layouts(const AVCodec *codec);
enum AVPixelFormat lavc_format(enum hal_layout layout);

/* Appends an empty row of this encoder to a device; NULL where all HAL_ROWS_MAX are taken. */
struct hal_row *lavc_row_add(struct hal_device *device, enum codec codec, const char *encoder);

/* The presets that policies may name for any encoder, from the fastest: ultrafast … veryslow. An empty name is
 * "medium". Returns 0 … LAVC_PRESET_COUNT - 1, or -1 for another word. */
#define LAVC_PRESET_COUNT 9
int lavc_preset_rank(const char *preset);

#endif
