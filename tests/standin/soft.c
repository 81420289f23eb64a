#include "tests/standin/soft.h"

#include <stdlib.h>
#include <string.h>

static const struct soft_ops *ops_of(enum soft_codec codec)
{
    switch (codec) {
    case SOFT_H264:
        return &soft_x264;
    case SOFT_H265:
        return &soft_x265;
    case SOFT_AV1:
#ifdef STANDIN_AV1
        return &soft_aom;
#else
        return NULL;
#endif
    case SOFT_VP9:
        return &soft_vpx;
    }
    return NULL;
}

bool soft_codec_built(enum soft_codec codec)
{
    return ops_of(codec) != NULL;
}

struct soft_encoder *soft_open(const struct soft_params *params)
{
    const struct soft_ops *ops = ops_of(params->codec);
    struct soft_params whole = *params;
    if (!ops || whole.width <= 0 || whole.height <= 0)
        return NULL;
    if (whole.fps_num <= 0 || whole.fps_den <= 0) {
        whole.fps_num = 25;
        whole.fps_den = 1;
    }
    return ops->open(&whole);
}

const uint8_t *soft_headers(const struct soft_encoder *encoder, size_t *bytes)
{
    *bytes = encoder->header_bytes;
    return encoder->headers;
}

bool soft_encode(struct soft_encoder *encoder, const struct soft_picture *picture,
                 struct soft_packet *out)
{
    return encoder->ops->encode(encoder, picture, out);
}

bool soft_reconfigure(struct soft_encoder *encoder, const struct soft_params *params)
{
    encoder->params.rate = params->rate;
    encoder->params.quality = params->quality;
    encoder->params.bitrate = params->bitrate;
    encoder->params.maxrate = params->maxrate;
    encoder->params.buffer = params->buffer;
    return encoder->ops->reconfigure(encoder);
}

void soft_close(struct soft_encoder **encoder)
{
    if (!*encoder)
        return;
    for (int i = 0; i < 3; i++)
        free((*encoder)->planes[i]);
    (*encoder)->ops->close(*encoder);
    free(*encoder);
    *encoder = NULL;
}

bool soft_header_add(struct soft_encoder *encoder, const uint8_t *data, size_t bytes)
{
    if (bytes > sizeof encoder->headers - encoder->header_bytes)
        return false;
    memcpy(encoder->headers + encoder->header_bytes, data, bytes);
    encoder->header_bytes += bytes;
    return true;
}

int64_t soft_buffer(const struct soft_params *params)
{
    return params->buffer ? params->buffer : params->maxrate;
}

/* ---- planes ---- */

bool soft_planes_make(struct soft_encoder *encoder)
{
    size_t sample = encoder->params.ten_bit ? 2 : 1;
    for (int i = 0; i < 3; i++) {
        int width = i ? (encoder->params.width + 1) / 2 : encoder->params.width;
        int height = i ? (encoder->params.height + 1) / 2 : encoder->params.height;
        encoder->stride_bytes[i] = ((size_t)width * sample + 63) / 64 * 64;
        encoder->planes[i] = calloc((size_t)height, encoder->stride_bytes[i]);
        if (!encoder->planes[i])
            return false;
    }
    return true;
}

/* One row: width samples, from every step-th of the source. */
static void row_fill(uint8_t *to, const uint8_t *from, int width, int step, bool from_ten,
                     bool to_ten)
{
    for (int x = 0; x < width; x++) {
        unsigned value = from_ten ? ((const uint16_t *)from)[x * step] >> 6 : from[x * step];
        if (to_ten)
            ((uint16_t *)to)[x] = (uint16_t)(from_ten ? value : value << 2);
        else
            to[x] = (uint8_t)(from_ten ? value >> 2 : value);
    }
}

void soft_planes_fill(struct soft_encoder *encoder, const struct soft_picture *picture)
{
    bool from_ten = picture->layout == SOFT_P010, packed = picture->layout != SOFT_I420;
    size_t sample = from_ten ? 2 : 1;
    for (int i = 0; i < 3; i++) {
        int source = i && packed ? 1 : i, step = i && packed ? 2 : 1;
        int width = i ? (encoder->params.width + 1) / 2 : encoder->params.width;
        int height = i ? (encoder->params.height + 1) / 2 : encoder->params.height;
        const uint8_t *from = picture->planes[source] + (i == 2 && packed ? sample : 0);
        for (int y = 0; y < height; y++)
            row_fill(encoder->planes[i] + (size_t)y * encoder->stride_bytes[i],
                     from + (size_t)y * picture->stride_bytes[source], width, step, from_ten,
                     encoder->params.ten_bit);
    }
}
