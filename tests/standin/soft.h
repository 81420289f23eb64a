/* tests/standin/soft.h: the encoders behind the stand-in devices: x264, x265, libvpx and, where asked for, libaom.
 *
 * One picture in, its packet out: no B-frames, no look-ahead, no threads of their own, so that a driver can answer
 * each call when it is made.
 *
 * Owns:     the encoder, its parameter sets, the last packet (until the next picture).
 * Shapes:   pictures are NV12, P010 (ten bits above) or planar of 8 bits, of the size of the encoder.
 * Errors:   false or NULL; the libraries' own words are not passed on.
 * Threads:  one thread per encoder; separate ones may run in parallel.
 */
#ifndef SL_TESTS_STANDIN_SOFT_H
#define SL_TESTS_STANDIN_SOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum soft_codec { SOFT_H264, SOFT_H265, SOFT_AV1, SOFT_VP9 };
enum soft_rate { SOFT_QP, SOFT_QUALITY, SOFT_BITRATE };

struct soft_params {
    enum soft_codec codec;
    int width, height;
    bool ten_bit; /* of the stream; P010 then */
    int fps_num, fps_den;
    int sar_num, sar_den; /* 0: not told */
    enum soft_rate rate;
    double quality;   /* x264's and x265's scale, 0..51; a QP with SOFT_QP; AV1, VP9: 0..63 */
    int64_t bitrate;  /* bits per second, with SOFT_BITRATE */
    int64_t maxrate;  /* with it a buffer, 0: no limit */
    int64_t buffer;   /* bits; 0: one second of maxrate */
    int gop;          /* pictures; 0: only where forced */
    bool in_band;     /* parameter sets before each key frame */
    bool delimiters;  /* access unit delimiters */
    bool baseline;    /* H.264 without CABAC and 8x8 transforms */
    bool main_only;   /* H.264 without 8x8 transforms */
    int level;        /* H.264 and H.265 times ten (41); 0: as found */
    bool colour_told; /* the three below */
    int primaries, transfer, matrix;
    bool full_range;
};

enum soft_layout { SOFT_NV12, SOFT_I420, SOFT_P010 };

struct soft_picture {
    enum soft_layout layout;
    const uint8_t *planes[3];
    size_t stride_bytes[3];
    int64_t pts;
    bool force_key;
};

struct soft_packet {
    const uint8_t *data;
    size_t bytes;
    bool key;
    int qp;
};

struct soft_encoder;

bool soft_codec_built(enum soft_codec codec);
struct soft_encoder *soft_open(const struct soft_params *params);
/* Annex B parameter sets, or AV1's sequence header; they stay the encoder's. */
const uint8_t *soft_headers(const struct soft_encoder *encoder, size_t *bytes);
bool soft_encode(struct soft_encoder *encoder, const struct soft_picture *picture,
                 struct soft_packet *out);
/* New rate and quality for the pictures that follow. */
bool soft_reconfigure(struct soft_encoder *encoder, const struct soft_params *params);
void soft_close(struct soft_encoder **encoder);

/* What each codec's file gives. An encoder starts with its struct soft_encoder. */
struct soft_ops {
    struct soft_encoder *(*open)(const struct soft_params *params);
    bool (*encode)(struct soft_encoder *encoder, const struct soft_picture *picture,
                   struct soft_packet *out);
    bool (*reconfigure)(struct soft_encoder *encoder);
    void (*close)(struct soft_encoder *encoder);
};

struct soft_encoder {
    const struct soft_ops *ops;
    struct soft_params params;
    uint8_t headers[1024];
    size_t header_bytes;
    uint8_t *planes
        [3]; /* a planar copy, for libraries that take nothing else; 16 bit samples with ten_bit */
    size_t stride_bytes[3];
};

extern const struct soft_ops soft_x264, soft_x265, soft_aom, soft_vpx;

bool soft_planes_make(struct soft_encoder *encoder);
void soft_planes_fill(struct soft_encoder *encoder, const struct soft_picture *picture);
bool soft_header_add(struct soft_encoder *encoder, const uint8_t *data, size_t bytes);
/* Bits; the buffer that goes with maxrate. */
int64_t soft_buffer(const struct soft_params *params);

#endif
