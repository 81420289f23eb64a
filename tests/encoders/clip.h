/* tests/encoders/clip.h: made-up pictures, a whole encode of them, and decoding back.
 *
 * Owns:    what the functions return belongs to the caller; free with the matching call.
 * Errors:  helpers assert through cmocka.
 */
#ifndef SL_TESTS_ENCODERS_CLIP_H
#define SL_TESTS_ENCODERS_CLIP_H

#include "hal/hal.h"

#define CLIP_FRAMES_MAX 600

enum clip_picture {
    CLIP_SMOOTH, /* a moving gradient with a moving square */
    CLIP_CUTS,   /* the same, another scene every 10 frames */
    CLIP_NOISE,  /* nothing predicts anything */
};

struct clip {
    enum clip_picture picture;
    enum hal_layout layout;
    int32_t width, height;
    int32_t frames;
    int32_t frame_ticks;          /* of a constant rate; 0: pts says */
    int64_t pts[CLIP_FRAMES_MAX]; /* filled by clip_init for a constant rate */
    bool idr[CLIP_FRAMES_MAX];    /* forced; frame 0 always is */
    int32_t period;               /* pictures repeat after so many; 0: never */
};

struct clip_packet {
    uint8_t *data;
    size_t bytes;
    int64_t pts, dts;
    bool idr;
};

struct clip_encode {
    struct clip_packet packets[CLIP_FRAMES_MAX];
    int32_t count;
    uint8_t *extradata;
    size_t extradata_bytes;
};

void clip_init(struct clip *clip, enum clip_picture picture, int32_t width, int32_t height,
               int32_t frames, int32_t frame_ticks);
/* The picture of a frame in planes of its own, in any layout. */
void clip_paint(const struct clip *clip, int32_t number, uint8_t *buffer, struct hal_frame *out);
size_t clip_frame_bytes(const struct clip *clip);

struct hal_encode_params clip_params(const struct clip *clip, enum codec codec, int32_t timescale);

/* Encodes all of it; the picture's memory is overwritten after each submit. Returns what hal returned. */
int clip_encode(const struct hal_backends *backends, struct hal_device *device, const char *encoder,
                const struct hal_encode_params *params, const struct clip *clip,
                struct clip_encode *out, struct sl_failure *why);
void clip_encode_free(struct clip_encode *encode);

/* One decoded luma plane per frame, in presentation order. */
struct clip_decoded {
    int32_t count;
    int64_t pts[CLIP_FRAMES_MAX];
    uint8_t *luma[CLIP_FRAMES_MAX]; /* width * height samples of the layout's size */
};

void clip_decode(const struct clip *clip, enum codec codec, const struct clip_encode *encode,
                 int32_t first, int32_t count, struct clip_decoded *out);
void clip_decoded_free(struct clip_decoded *decoded);
/* Of the luma against the painted picture, in dB. */
double clip_psnr(const struct clip *clip, int32_t number, const uint8_t *luma);

#endif
