#include "encoders/obu.h"

#include <stdlib.h>
#include <string.h>

bool obu_next(const uint8_t *data, size_t bytes, size_t *at, struct obu *out)
{
    if (*at >= bytes)
        return false;
    const uint8_t *d = data + *at;
    size_t left = bytes - *at;
    size_t head = d[0] & 4 ? 2 : 1; /* with an extension */
    size_t size = left - (head < left ? head : left);
    if (d[0] & 2) { /* has a size: leb128, of which 32 bits are allowed */
        size = 0;
        for (int shift = 0;; shift += 7) {
            if (head >= left || shift > 28)
                return false;
            size |= (size_t)(d[head] & 127) << shift;
            if (!(d[head++] & 128))
                break;
        }
    }
    if (head > left || size > left - head)
        return false;
    *out = (struct obu){.type = d[0] >> 3 & 15, .data = d, .bytes = head + size, .payload = head};
    *at += head + size;
    return true;
}

/* The bits of a sequence header up to its first operating point (AV1 specification, 5.5.1). False where something
 * stands before that which no encoder here writes. */
static bool level_read(const struct obu *header, unsigned *profile, unsigned *level, unsigned *tier)
{
    const uint8_t *d = header->data + header->payload;
    if (header->bytes - header->payload < 4)
        return false;
    *profile = d[0] >> 5;
    bool still = d[0] & 16, reduced = d[0] & 8, timing = d[0] & 4;
    if (still || reduced || timing)
        return false;
    /* initial_display_delay_present_flag, operating_points_cnt_minus_1 (5), idc (12), level (5), tier from 4.0 on */
    unsigned bits = (unsigned)d[0] << 24 | (unsigned)d[1] << 16 | (unsigned)d[2] << 8 | d[3];
    *level = bits >> 3 & 31;
    *tier = *level > 7 ? bits >> 2 & 1 : 0;
    return true;
}

int obu_extradata_make(struct lavc *lavc, const uint8_t *data, size_t bytes, enum hal_layout layout,
                       struct sl_failure *why)
{
    if (bytes > 4 && data[0] == 0x81) /* marker and version: it is av1C */
        return lavc_extradata_set(lavc, data, bytes, why);
    struct obu obu, header = {0};
    unsigned profile = 0, level = 0, tier = 0;
    for (size_t at = 0; obu_next(data, bytes, &at, &obu);)
        if (obu.type == OBU_SEQUENCE_HEADER)
            header = obu;
    if (!header.data || !level_read(&header, &profile, &level, &tier))
        return sl_fail(why, SL_EENCODE,
                       "%s gave %zu bytes of extradata without a sequence header that can be read",
                       lavc->codec_name, bytes);
    bool deep = layout == HAL_I420_10 || layout == HAL_P010;
    uint8_t *out = malloc(4 + header.bytes);
    if (!out)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu bytes of parameter sets", bytes);
    out[0] = 0x81;
    out[1] = (uint8_t)(profile << 5 | level);
    /* Colour and 4:2:0, its samples where the stream says. */
    out[2] = (uint8_t)(tier << 7 | (deep ? 1u << 6 : 0) | 1u << 3 | 1u << 2);
    out[3] = 0; /* nothing said of a delay before the first picture */
    memcpy(out + 4, header.data, header.bytes);
    int rc = lavc_extradata_set(lavc, out, 4 + header.bytes, why);
    free(out);
    return rc;
}

int obu_packet_fix(struct lavc *lavc, AVPacket *packet, struct sl_failure *why)
{
    struct obu obu;
    size_t at = 0;
    while (obu_next(packet->data, (size_t)packet->size, &at, &obu) &&
           obu.type == OBU_TEMPORAL_DELIMITER) {
        packet->data += obu.bytes;
        packet->size -= (int)obu.bytes;
        at = 0;
    }
    if (packet->size <= 0)
        return sl_fail(why, SL_EENCODE, "%s gave a packet without a picture", lavc->codec_name);
    packet->dts = packet->pts;
    return SL_OK;
}
