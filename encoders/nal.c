#include "encoders/nal.h"

#include <stdlib.h>
#include <string.h>

#define H264_SPS    7
#define H264_PPS    8
#define H264_AUD    9
#define H264_FILLER 12
#define H265_VPS    32
#define H265_SPS    33
#define H265_PPS    34
#define H265_AUD    35
#define H265_FILLER 38

/* Of an SPS only the start is read; what is looked for ends long before. */
#define RBSP_BYTES  256

/* ---- walking ---- */

/* Three bytes at a time where the third can be no part of a start code: all of a picture's bytes pass here. */
static size_t start_code_find(const uint8_t *data, size_t bytes, size_t at)
{
    while (at + 3 <= bytes) {
        if (data[at + 2] > 1)
            at += 3;
        else if (data[at + 2] == 0)
            at++;
        else if (data[at] == 0 && data[at + 1] == 0)
            return at;
        else
            at += 3;
    }
    return bytes;
}

bool nal_next(const uint8_t *data, size_t bytes, enum nal_form form, size_t *at, struct nal *out)
{
    if (form == NAL_LENGTHS) {
        if (*at > bytes || bytes - *at < 5)
            return false;
        const uint8_t *d = data + *at;
        size_t length = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3];
        if (length == 0 || length > bytes - *at - 4)
            return false;
        *out = (struct nal){d + 4, length};
        *at += 4 + length;
        return true;
    }
    size_t start = start_code_find(data, bytes, *at) + 3;
    if (start >= bytes)
        return false;
    size_t end = start_code_find(data, bytes, start);
    *at = end;
    while (end > start && data[end - 1] == 0)
        end--; /* trailing zeros, and the first byte of a longer start code */
    *out = (struct nal){data + start, end - start};
    return end > start;
}

int nal_type(const struct nal *nal, enum codec codec)
{
    return codec == CODEC_H264 ? nal->data[0] & 31 : nal->data[0] >> 1 & 63;
}

enum nal_form nal_form_of(const uint8_t *sets, size_t bytes)
{
    bool code = bytes >= 4 && sets[0] == 0 && sets[1] == 0 &&
                (sets[2] == 1 || (sets[2] == 0 && sets[3] == 1));
    return code ? NAL_START_CODES : NAL_LENGTHS;
}

/* ---- what an SPS says ---- */

struct bits {
    uint8_t data[RBSP_BYTES];
    size_t count; /* of bits */
    size_t at;
    bool over;
};

/* Without the bytes that keep start codes out of the payload. */
static void bits_open(struct bits *b, const struct nal *nal, size_t skip)
{
    *b = (struct bits){0};
    size_t filled = 0;
    for (size_t i = skip, zeros = 0; i < nal->bytes && filled < RBSP_BYTES; i++) {
        if (zeros >= 2 && nal->data[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal->data[i] == 0 ? zeros + 1 : 0;
        b->data[filled++] = nal->data[i];
    }
    b->count = filled * 8;
}

static unsigned bits_take(struct bits *b, int count)
{
    unsigned value = 0;
    for (int i = 0; i < count; i++, b->at++) {
        b->over |= b->at >= b->count;
        value = value << 1 | (b->over ? 0u : b->data[b->at / 8] >> (7 - b->at % 8) & 1u);
    }
    return value;
}

static unsigned bits_golomb(struct bits *b)
{
    int zeros = 0;
    while (zeros < 31 && !b->over && bits_take(b, 1) == 0)
        zeros++;
    return (1u << zeros) - 1 + bits_take(b, zeros);
}

/* What avcC and hvcC repeat from an SPS. */
struct sps_facts {
    unsigned chroma_format;
    unsigned luma_depth; /* less 8 */
    unsigned chroma_depth;
    unsigned layers; /* temporal ones, less 1 */
    bool nested;
    uint8_t profile_tier_level[12];
};

static bool h264_sps_read(const struct nal *sps, struct sps_facts *out)
{
    struct bits b;
    bits_open(&b, sps, 4); /* header, profile, constraints, level */
    bits_golomb(&b);
    out->chroma_format = bits_golomb(&b);
    if (out->chroma_format == 3)
        bits_take(&b, 1);
    out->luma_depth = bits_golomb(&b);
    out->chroma_depth = bits_golomb(&b);
    return !b.over;
}

static bool h265_sps_read(const struct nal *sps, struct sps_facts *out)
{
    struct bits b;
    bits_open(&b, sps, 2);
    bits_take(&b, 4);
    out->layers = bits_take(&b, 3);
    out->nested = bits_take(&b, 1);
    for (size_t i = 0; i < sizeof out->profile_tier_level; i++)
        out->profile_tier_level[i] = (uint8_t)bits_take(&b, 8);
    unsigned present = 0;
    for (unsigned i = 0; i < 8 && out->layers > 0; i++)
        present |= bits_take(&b, 2) << 2 * i;
    for (unsigned i = 0; i < out->layers; i++) {
        /* The flag of the profile was read first, so it is the upper bit of the two. */
        for (int skip = (present >> 2 * i & 2 ? 88 : 0) + (present >> 2 * i & 1 ? 8 : 0); skip > 0;
             skip -= 8)
            bits_take(&b, 8);
    }
    bits_golomb(&b);
    out->chroma_format = bits_golomb(&b);
    if (out->chroma_format == 3)
        bits_take(&b, 1);
    bits_golomb(&b);
    bits_golomb(&b);
    if (bits_take(&b, 1))
        for (int i = 0; i < 4; i++)
            bits_golomb(&b);
    out->luma_depth = bits_golomb(&b);
    out->chroma_depth = bits_golomb(&b);
    return !b.over;
}

/* ---- records ---- */

static uint8_t *put(uint8_t *at, const struct nal *nal)
{
    at[0] = (uint8_t)(nal->bytes >> 8);
    at[1] = (uint8_t)nal->bytes;
    memcpy(at + 2, nal->data, nal->bytes);
    return at + 2 + nal->bytes;
}

/* ISO/IEC 14496-15, 5.3.3.1. */
static size_t avcc_put(uint8_t *out, const struct nal sets[3], const struct sps_facts *facts)
{
    uint8_t *at = out;
    *at++ = 1;
    memcpy(at, sets[1].data + 1, 3);
    at += 3;
    *at++ = 0xff; /* lengths of four bytes */
    *at++ = 0xe1; /* one SPS */
    at = put(at, &sets[1]);
    *at++ = 1;
    at = put(at, &sets[2]);
    int profile = sets[1].data[1];
    if (profile == 100 || profile == 110 || profile == 122 || profile == 144) {
        *at++ = (uint8_t)(0xfc | facts->chroma_format);
        *at++ = (uint8_t)(0xf8 | facts->luma_depth);
        *at++ = (uint8_t)(0xf8 | facts->chroma_depth);
        *at++ = 0; /* no SPS extension */
    }
    return (size_t)(at - out);
}

/* ISO/IEC 14496-15, 8.3.3.1. */
static size_t hvcc_put(uint8_t *out, const struct nal sets[3], const struct sps_facts *facts)
{
    uint8_t *at = out;
    *at++ = 1;
    memcpy(at, facts->profile_tier_level, sizeof facts->profile_tier_level);
    at += sizeof facts->profile_tier_level;
    *at++ = 0xf0; /* segments of pictures: not said */
    *at++ = 0;
    *at++ = 0xfc; /* parallel decoding: not said */
    *at++ = (uint8_t)(0xfc | facts->chroma_format);
    *at++ = (uint8_t)(0xf8 | facts->luma_depth);
    *at++ = (uint8_t)(0xf8 | facts->chroma_depth);
    *at++ = 0; /* average frame rate: not said */
    *at++ = 0;
    *at++ = (uint8_t)((facts->layers + 1) << 3 | (facts->nested ? 4 : 0) | 3);
    *at++ = 3; /* arrays */
    for (int i = 0; i < 3; i++) {
        *at++ = (uint8_t)(0x80 | (H265_VPS + i)); /* all of them are here, none in the stream */
        *at++ = 0;
        *at++ = 1;
        at = put(at, &sets[i]);
    }
    return (size_t)(at - out);
}

int nal_extradata_make(struct lavc *lavc, enum codec codec, const uint8_t *data, size_t bytes,
                       enum nal_form form, struct sl_failure *why)
{
    struct nal sets[3] = {{0}}; /* VPS, SPS, PPS; the last of each */
    struct nal nal;
    int first = codec == CODEC_H264 ? H264_SPS - 1 : H265_VPS;
    for (size_t at = 0; nal_next(data, bytes, form, &at, &nal);) {
        int type = nal_type(&nal, codec);
        if (type >= first && type < first + 3 && nal.bytes <= UINT16_MAX)
            sets[type - first] = nal;
    }
    struct sps_facts facts = {.chroma_format = 1};
    bool whole = sets[1].bytes >= 4 && sets[2].data;
    if (codec == CODEC_H264) {
        /* Before High 4:2:0 and 8 bits go without saying. */
        if (whole && sets[1].data[1] >= 100)
            whole = h264_sps_read(&sets[1], &facts);
    } else {
        whole = whole && sets[0].data && h265_sps_read(&sets[1], &facts);
    }
    if (!whole || facts.chroma_format > 3 || facts.luma_depth > 7 || facts.chroma_depth > 7)
        return sl_fail(
            why, SL_EENCODE, "%s gave %zu bytes of extradata without %s that can be read",
            lavc->codec_name, bytes, codec == CODEC_H264 ? "SPS and PPS" : "VPS, SPS and PPS");
    uint8_t *out = malloc(64 + sets[0].bytes + sets[1].bytes + sets[2].bytes);
    if (!out)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of parameter sets", bytes);
    size_t length = codec == CODEC_H264 ? avcc_put(out, sets, &facts) : hvcc_put(out, sets, &facts);
    int rc = lavc_extradata_set(lavc, out, length, why);
    free(out);
    return rc;
}

/* ---- packets ---- */

static bool is_left_out(const struct nal *nal, enum codec codec)
{
    int type = nal_type(nal, codec);
    if (codec == CODEC_H264)
        return type == H264_SPS || type == H264_PPS || type == H264_AUD || type == H264_FILLER;
    return (type >= H265_VPS && type <= H265_AUD) || type == H265_FILLER;
}

static uint8_t *put_length(uint8_t *at, const struct nal *nal)
{
    at[0] = (uint8_t)(nal->bytes >> 24);
    at[1] = (uint8_t)(nal->bytes >> 16);
    at[2] = (uint8_t)(nal->bytes >> 8);
    at[3] = (uint8_t)nal->bytes;
    memcpy(at + 4, nal->data, nal->bytes);
    return at + 4 + nal->bytes;
}

int nal_packet_fix(struct lavc *lavc, AVPacket *packet, enum codec codec, enum nal_form form,
                   struct sl_failure *why)
{
    size_t bytes = (size_t)packet->size, length = 0, units = 0;
    struct nal nal;
    for (size_t at = 0; nal_next(packet->data, bytes, form, &at, &nal);)
        if (!is_left_out(&nal, codec)) {
            length += 4 + nal.bytes;
            units++;
        }
    if (units == 0 || length > INT32_MAX - AV_INPUT_BUFFER_PADDING_SIZE)
        return sl_fail(why, SL_EENCODE, "%s gave a packet of %zu bytes without a picture",
                       lavc->codec_name, bytes);
    if (form == NAL_LENGTHS && length == bytes)
        return SL_OK;
    AVBufferRef *buffer = av_buffer_alloc(length + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!buffer)
        return sl_fail(why, SL_ENOMEM, "no memory for a packet of %zu bytes", length);
    uint8_t *out = buffer->data;
    for (size_t at = 0; nal_next(packet->data, bytes, form, &at, &nal);)
        if (!is_left_out(&nal, codec))
            out = put_length(out, &nal);
    memset(out, 0, AV_INPUT_BUFFER_PADDING_SIZE);
    av_buffer_unref(&packet->buf);
    packet->buf = buffer;
    packet->data = buffer->data;
    packet->size = (int)length;
    return SL_OK;
}
