/* Packets as samples: what avc1, hvc1 and av01 allow in them (ISO/IEC 14496-15; AV1 codec ISO media file format
 * binding, 2.4). Encoders differ in what they put into a packet beside the picture.
 */
#include <string.h>

#include "package/boxes.h"
#include "package/cmaf_internal.h"

enum {
    AVC_SPS = 7,
    AVC_PPS = 8,
    AVC_SPS_EXTENSION = 13,
    HEVC_VPS = 32,
    HEVC_PPS = 34,
    OBU_TEMPORAL_DELIMITER = 2,
    OBU_TILE_LIST = 8,
    OBU_PADDING = 15,
};

bool cmaf_has_start_code(const uint8_t *data, size_t bytes)
{
    return bytes >= 4 && data[0] == 0 && data[1] == 0 &&
           (data[2] == 1 || (data[2] == 0 && data[3] == 1));
}

static bool is_parameter_set(enum codec codec, uint8_t header)
{
    int type = codec == CODEC_H264 ? header & 31 : header >> 1 & 63;
    return codec == CODEC_H264 ? type == AVC_SPS || type == AVC_PPS || type == AVC_SPS_EXTENSION
                               : type >= HEVC_VPS && type <= HEVC_PPS;
}

static int nal_put(const struct cmaf_track *t, int64_t pts, const uint8_t *nal, size_t bytes,
                   struct sl_buf *out, struct sl_failure *why)
{
    if (!is_parameter_set(t->codec, nal[0])) {
        box_u32(out, (uint32_t)bytes);
        sl_buf_append(out, nal, bytes);
        return SL_OK;
    }
    if (memmem(t->extradata, t->extradata_bytes, nal, bytes))
        return SL_OK; /* the sample entry has it */
    return sl_fail(why, SL_EMISMATCH,
                   "the packet at %lld brings parameter sets other than those it began with",
                   (long long)pts);
}

static int annexb_put(const struct cmaf_track *t, const struct cmaf_packet *packet,
                      struct sl_buf *out, struct sl_failure *why)
{
    const uint8_t *data = packet->data;
    size_t bytes = packet->bytes, at = 0;
    int rc = SL_OK;
    while (at + 3 <= bytes && !(data[at] == 0 && data[at + 1] == 0 && data[at + 2] == 1))
        at++;
    while (rc == SL_OK && at + 3 <= bytes) {
        size_t start = at + 3, end = start;
        while (end + 3 <= bytes && !(data[end] == 0 && data[end + 1] == 0 && data[end + 2] == 1))
            end++;
        at = end;
        if (end + 3 > bytes)
            at = end = bytes;
        while (end > start && data[end - 1] == 0)
            end--;
        if (end > start)
            rc = nal_put(t, packet->pts, data + start, end - start, out, why);
    }
    return rc;
}

static int lengths_put(const struct cmaf_track *t, const struct cmaf_packet *packet,
                       struct sl_buf *out, struct sl_failure *why)
{
    size_t at = 0;
    int rc = SL_OK;
    while (rc == SL_OK && at < packet->bytes) {
        size_t left = packet->bytes - at;
        size_t length = left > 4 ? box_read_u32(packet->data + at) : 0;
        if (length == 0 || length > left - 4)
            return sl_fail(why, SL_EMISMATCH, "the packet at %lld is no row of NAL units",
                           (long long)packet->pts);
        rc = nal_put(t, packet->pts, packet->data + at + 4, length, out, why);
        at += 4 + length;
    }
    return rc;
}

/* Bytes of the OBU at data, header included; 0: it is none. */
static size_t obu_length(const uint8_t *data, size_t bytes)
{
    size_t at = data[0] & 4 ? 2 : 1; /* the extension flag */
    uint64_t length = 0;
    if (data[0] & 0x80)
        return 0;
    if (!(data[0] & 2)) /* without a size it reaches to the end */
        return at <= bytes ? bytes : 0;
    for (int i = 0; i < 8; i++) {
        if (at >= bytes)
            return 0;
        length |= (uint64_t)(data[at] & 127) << (7 * i);
        if (!(data[at++] & 128))
            return length <= bytes - at ? at + (size_t)length : 0;
    }
    return 0;
}

static int obus_put(const struct cmaf_packet *packet, struct sl_buf *out, struct sl_failure *why)
{
    for (size_t at = 0; at < packet->bytes;) {
        const uint8_t *obu = packet->data + at;
        size_t length = obu_length(obu, packet->bytes - at);
        if (length == 0)
            return sl_fail(why, SL_EMISMATCH, "the packet at %lld is no row of OBUs",
                           (long long)packet->pts);
        int type = obu[0] >> 3 & 15;
        if (type != OBU_TEMPORAL_DELIMITER && type != OBU_TILE_LIST && type != OBU_PADDING)
            sl_buf_append(out, obu, length);
        at += length;
    }
    return SL_OK;
}

int cmaf_sample_put(const struct cmaf_track *track, const struct cmaf_packet *packet,
                    struct sl_buf *out, struct sl_failure *why)
{
    if (!track->audio && track->codec == CODEC_AV1)
        return obus_put(packet, out, why);
    if (!track->audio && track->codec != CODEC_VP9)
        return cmaf_has_start_code(track->extradata, track->extradata_bytes)
                   ? annexb_put(track, packet, out, why)
                   : lengths_put(track, packet, out, why);
    sl_buf_append(out, packet->data, packet->bytes);
    return SL_OK;
}
