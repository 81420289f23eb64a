/* The init segment comes from libavformat's mp4 muxer, which knows the sample entries; it is made from a
 * stand-in packet, so that no property of a chunk can reach it. Names for players follow from what is in it.
 */
#include <libavformat/avformat.h>
#include <libavutil/mastering_display_metadata.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "package/boxes.h"
#include "package/cmaf_internal.h"

/* Samples of an access unit. */
static int audio_frame(const struct cmaf_track *t)
{
    return t->audio_codec == AUDIO_OPUS ? 960 : 1024;
}

static const enum AVCodecID codec_ids[CODEC_COUNT] = {
    AV_CODEC_ID_H264,
    AV_CODEC_ID_HEVC,
    AV_CODEC_ID_AV1,
    AV_CODEC_ID_VP9,
};

/* The least that the muxer takes for a packet: a NAL unit of filler, an OBU that it passes on, a shown VP9 frame. */
#define STAND_IN_BYTES 16
static const uint8_t stand_ins[CODEC_COUNT][STAND_IN_BYTES] = {
    [CODEC_H264] = {0, 0, 0, 12, 0x0c},
    [CODEC_H265] = {0, 0, 0, 12, 38 << 1, 1},
    [CODEC_AV1] = {6 << 3 | 2, 14},
    [CODEC_VP9] = {0x82},
};

/* What the VP9 bitstream specification (annex A) allows at most at each level. */
static const struct vp9_limit {
    int level;
    int64_t samples_per_s, picture;
    int32_t kbps, side;
} vp9_limits[] = {
    {10, 829440, 36864, 200, 512},
    {11, 2764800, 73728, 800, 768},
    {20, 4608000, 122880, 1800, 960},
    {21, 9216000, 245760, 3600, 1344},
    {30, 20736000, 552960, 7200, 2048},
    {31, 36864000, 983040, 12000, 2752},
    {40, 83558400, 2228224, 18000, 4160},
    {41, 160432128, 2228224, 30000, 4160},
    {50, 311951360, 8912896, 60000, 8384},
    {51, 588251136, 8912896, 120000, 8384},
    {52, 1176502272, 8912896, 180000, 8384},
    {60, 1176502272, 35651584, 180000, 16832},
    {61, 2353004544, 35651584, 240000, 16832},
    {62, 4706009088, 35651584, 480000, 16832},
};
#define VP9_LIMITS (sizeof vp9_limits / sizeof *vp9_limits)

/* The stream does not say its level, so it is the lowest that what was planned fits into. */
static int vp9_level(const struct cmaf_track *t)
{
    int64_t picture = (int64_t)t->width * t->height;
    int64_t per_s =
        t->frame_rate.den > 0 ? sl_muldiv_i64(picture, t->frame_rate.num, t->frame_rate.den) : 0;
    for (size_t i = 0; i < VP9_LIMITS; i++) {
        const struct vp9_limit *most = &vp9_limits[i];
        if (per_s <= most->samples_per_s && picture <= most->picture && t->width <= most->side &&
            t->height <= most->side && t->maxrate_kbps <= most->kbps)
            return most->level;
    }
    return vp9_limits[VP9_LIMITS - 1].level;
}

/* The stream takes the data over. */
static int side_add(AVStream *stream, enum AVPacketSideDataType type, void *data, size_t bytes)
{
    if (!data)
        return AVERROR(ENOMEM);
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    AVCodecParameters *par = stream->codecpar;
    bool added = av_packet_side_data_add(&par->coded_side_data, &par->nb_coded_side_data, type,
                                         data, bytes, 0) != NULL;
#else
    bool added = av_stream_add_side_data(stream, type, data, bytes) >= 0;
#endif
    if (!added)
        av_free(data);
    return added ? 0 : AVERROR(ENOMEM);
}

/* The muxer makes mdcv and clli of it. */
static int hdr_fill(const struct cmaf_track *t, AVStream *stream)
{
    const struct media_hdr *hdr = &t->hdr;
    int rc = 0;
    if (hdr->mastering) {
        AVMasteringDisplayMetadata *mastering = av_mastering_display_metadata_alloc();
        for (int i = 0; mastering && i < 6; i++)
            mastering->display_primaries[i / 2][i % 2] =
                (AVRational){hdr->primaries[i / 2][i % 2], 50000};
        if (mastering) {
            mastering->white_point[0] = (AVRational){hdr->white[0], 50000};
            mastering->white_point[1] = (AVRational){hdr->white[1], 50000};
            mastering->max_luminance = av_make_q((int)hdr->luminance_max, 10000);
            mastering->min_luminance = av_make_q((int)hdr->luminance_min, 10000);
            mastering->has_primaries = mastering->has_luminance = 1;
        }
        rc = side_add(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, mastering, sizeof *mastering);
    }
    if (rc >= 0 && hdr->light) {
        size_t bytes = 0;
        AVContentLightMetadata *light = av_content_light_metadata_alloc(&bytes);
        if (light) {
            light->MaxCLL = (unsigned)hdr->light_max_nits;
            light->MaxFALL = (unsigned)hdr->light_average_nits;
        }
        rc = side_add(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, light, bytes);
    }
    return rc;
}

static int stream_fill(const struct cmaf_track *t, AVStream *stream)
{
    AVCodecParameters *par = stream->codecpar;
    bool needless = !t->audio && t->codec == CODEC_VP9;
    if (!needless) {
        par->extradata = av_mallocz(t->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
        if (!par->extradata)
            return AVERROR(ENOMEM);
        memcpy(par->extradata, t->extradata, t->extradata_bytes);
        par->extradata_size = (int)t->extradata_bytes;
    }
    stream->time_base = (AVRational){1, t->timescale};
    if (t->language[0])
        av_dict_set(&stream->metadata, "language", t->language, 0);
    if (t->audio) {
        par->codec_type = AVMEDIA_TYPE_AUDIO;
        par->codec_id = t->audio_codec == AUDIO_OPUS ? AV_CODEC_ID_OPUS : AV_CODEC_ID_AAC;
        par->sample_rate = t->sample_rate_hz;
        par->frame_size = audio_frame(t);
        par->initial_padding = (int)t->reorder_ticks;
        av_channel_layout_default(&par->ch_layout, t->channels);
        return 0;
    }
    par->codec_type = AVMEDIA_TYPE_VIDEO;
    par->codec_id = codec_ids[t->codec];
    if (t->codec == CODEC_H265)
        par->codec_tag = MKTAG('h', 'v', 'c', '1'); /* parameter sets in hvcC and nowhere else */
    if (t->codec == CODEC_VP9) {
        par->profile = t->bit_depth > 8 ? 2 : 0;
        par->level = vp9_level(t);
    }
    par->format = t->bit_depth > 8 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
    par->chroma_location = AVCHROMA_LOC_LEFT;
    par->width = t->width;
    par->height = t->height;
    par->sample_aspect_ratio = (AVRational){1, 1};
    par->color_primaries = (enum AVColorPrimaries)t->color_primaries;
    par->color_trc = (enum AVColorTransferCharacteristic)t->color_transfer;
    par->color_space = (enum AVColorSpace)t->color_matrix;
    par->color_range = t->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    return hdr_fill(t, stream);
}

/* The moov is written at the first flush after one packet, which tells the muxer the edit list. */
static int moov_mux(const struct cmaf_track *t, AVFormatContext *mux)
{
    AVStream *stream = avformat_new_stream(mux, NULL);
    AVPacket *packet = av_packet_alloc();
    AVDictionary *options = NULL;
    int rc = stream && packet ? stream_fill(t, stream) : AVERROR(ENOMEM);
    if (rc < 0)
        goto done;
    mux->flags |= AVFMT_FLAG_BITEXACT;
    mux->avoid_negative_ts = 0;
    av_dict_set(&options, "movflags",
                "+empty_moov+default_base_moof+delay_moov+frag_custom+skip_trailer", 0);
    av_dict_set(&options, "use_editlist", "1", 0);
    av_dict_set_int(&options, "video_track_timescale", t->timescale, 0);
    rc = avformat_write_header(mux, &options);
    if (rc < 0)
        goto done;
    rc = av_new_packet(packet, STAND_IN_BYTES);
    if (rc < 0)
        goto done;
    memcpy(packet->data, t->audio ? stand_ins[CODEC_H264] : stand_ins[t->codec], STAND_IN_BYTES);
    packet->dts = -t->reorder_ticks;
    packet->pts = t->audio ? packet->dts : 0;
    packet->duration = t->audio ? audio_frame(t) : t->timescale;
    packet->flags = AV_PKT_FLAG_KEY;
    rc = av_write_frame(mux, packet);
    if (rc >= 0)
        rc = av_write_frame(mux, NULL);
    avio_flush(mux->pb);
done:
    av_dict_free(&options);
    av_packet_free(&packet);
    return rc;
}

static void ftyp_put(const struct cmaf_track *t, struct sl_buf *out)
{
    size_t box = box_open(out, "ftyp");
    sl_buf_append(out, "iso6", 4);
    box_u32(out, 0);
    sl_buf_append(out, "iso6cmfcmp41", 12);
    if (!t->audio && t->codec == CODEC_AV1)
        sl_buf_append(out, "av01", 4);
    box_close(out, box);
}

int cmaf_init_make(const struct cmaf_track *track, struct sl_buf *out, struct sl_failure *why)
{
    AVFormatContext *mux = NULL;
    uint8_t *bytes = NULL;
    int rc = avformat_alloc_output_context2(&mux, NULL, "mp4", NULL);
    if (rc >= 0)
        rc = avio_open_dyn_buf(&mux->pb);
    if (rc >= 0)
        rc = moov_mux(track, mux);
    int length = 0;
    if (mux && mux->pb)
        length = avio_close_dyn_buf(mux->pb, &bytes);
    if (mux)
        mux->pb = NULL;
    avformat_free_context(mux);

    const uint8_t *moov = NULL;
    size_t moov_bytes = 0;
    if (rc >= 0 && length > 0)
        moov = box_find(bytes, (size_t)length, "moov", &moov_bytes);
    if (rc < 0) {
        char text[AV_ERROR_MAX_STRING_SIZE] = "";
        av_strerror(rc, text, sizeof text);
        rc = sl_fail(why,
                     rc == AVERROR(ENOMEM)       ? SL_ENOMEM
                     : rc == AVERROR_INVALIDDATA ? SL_EMISMATCH
                                                 : SL_EINTERNAL,
                     "libavformat cannot write the init segment: %s", text);
    } else if (!moov) {
        rc = sl_fail(why, SL_EINTERNAL, "libavformat wrote %d bytes without a moov", length);
    } else {
        ftyp_put(track, out);
        sl_buf_append(out, moov, moov_bytes);
        rc = out->failed ? sl_fail(why, SL_ENOMEM, "no memory for an init segment") : SL_OK;
    }
    av_free(bytes);
    return rc;
}

/* ---- names ---- */

/* The configuration box of the first sample entry: what lies behind its header. */
static const uint8_t *config_box(const struct sl_buf *init, const char type[4], size_t *bytes)
{
    /* Bytes of each box before the boxes in it: of stsd a count, of a visual sample entry its fields. */
    static const struct {
        const char *type;
        size_t skip;
    } path[] = {{"moov", 8}, {"trak", 8}, {"mdia", 8}, {"minf", 8}, {"stbl", 8}, {"stsd", 16}};
    const uint8_t *at = init->data;
    size_t length = init->length;
    for (size_t i = 0; at && i < sizeof path / sizeof *path; i++) {
        at = box_find(at, length, path[i].type, &length);
        if (!at || length < path[i].skip)
            return NULL;
        at += path[i].skip;
        length -= path[i].skip;
    }
    if (length < 86 || box_read_u32(at) < 86 || box_read_u32(at) > length)
        return NULL;
    at = box_find(at + 86, box_read_u32(at) - 86, type, bytes);
    if (!at)
        return NULL;
    *bytes -= 8;
    return at + 8;
}

/* ISO/IEC 14496-15, annex E.3: profile, compatibility with its bits turned round, tier and level, constraints without
 * their trailing zeros. */
void cmaf_hvc1_name(const uint8_t *hvcc, char out[CODECS_BYTES])
{
    static const char spaces[4][2] = {"", "A", "B", "C"};
    uint32_t flags = box_read_u32(hvcc + 2), turned = 0;
    for (int bit = 0; bit < 32; bit++)
        turned |= (flags >> bit & 1) << (31 - bit);
    int last = 12; /* six bytes of constraints begin at 6 */
    while (last > 6 && hvcc[last - 1] == 0)
        last--;
    int n = snprintf(out, CODECS_BYTES, "hvc1.%s%d.%X.%c%d", spaces[hvcc[1] >> 6], hvcc[1] & 31,
                     turned, hvcc[1] & 32 ? 'H' : 'L', hvcc[12]);
    for (int i = 6; i < last; i++)
        n += snprintf(out + n, (size_t)(CODECS_BYTES - n), ".%X", hvcc[i]);
}

/* AV1 codec ISO media file format binding, 5. Always with the optional part, so that a player never guesses. */
static void av01_string(const struct cmaf_track *t, const uint8_t *av1c, char out[CODECS_BYTES])
{
    int depth = !(av1c[2] & 64) ? 8 : av1c[2] & 32 ? 12 : 10;
    snprintf(out, CODECS_BYTES, "av01.%d.%02d%c.%02d.%d.%d%d%d.%02d.%02d.%02d.%d", av1c[1] >> 5,
             av1c[1] & 31, av1c[2] & 128 ? 'H' : 'M', depth, av1c[2] >> 4 & 1, av1c[2] >> 3 & 1,
             av1c[2] >> 2 & 1, av1c[2] & 3, t->color_primaries, t->color_transfer, t->color_matrix,
             t->full_range);
}

/* VP codec ISO media file format binding: all of vpcC, behind its version and flags. */
static void vp09_string(const uint8_t *vpcc, char out[CODECS_BYTES])
{
    snprintf(out, CODECS_BYTES, "vp09.%02d.%02d.%02d.%02d.%02d.%02d.%02d.%02d", vpcc[4], vpcc[5],
             vpcc[6] >> 4, vpcc[6] >> 1 & 7, vpcc[7], vpcc[8], vpcc[9], vpcc[6] & 1);
}

/* Read from the init segment, so that the string and the box that a player opens say the same. */
static int box_codecs(const struct cmaf_track *track, char out[CODECS_BYTES],
                      struct sl_failure *why)
{
    static const struct {
        const char *type;
        size_t least;
    } boxes[CODEC_COUNT] = {
        [CODEC_H265] = {"hvcC", 23}, [CODEC_AV1] = {"av1C", 4}, [CODEC_VP9] = {"vpcC", 12}};
    struct sl_buf init = {0};
    size_t bytes = 0;
    int rc = cmaf_init_make(track, &init, why);
    const uint8_t *box = rc == SL_OK ? config_box(&init, boxes[track->codec].type, &bytes) : NULL;
    if (rc == SL_OK && (!box || bytes < boxes[track->codec].least))
        rc = sl_fail(why, SL_EMISMATCH, "%zu bytes of %s parameter sets make no %s",
                     track->extradata_bytes, codec_word(track->codec), boxes[track->codec].type);
    if (rc == SL_OK && track->codec == CODEC_H265)
        cmaf_hvc1_name(box, out);
    else if (rc == SL_OK && track->codec == CODEC_AV1)
        av01_string(track, box, out);
    else if (rc == SL_OK)
        vp09_string(box, out);
    sl_buf_fini(&init);
    return rc;
}

int cmaf_codecs(const struct cmaf_track *track, char out[CODECS_BYTES], struct sl_failure *why)
{
    const uint8_t *e = track->extradata;
    size_t bytes = track->extradata_bytes;
    if (track->audio) {
        if (track->audio_codec == AUDIO_OPUS) {
            /* RFC 7845: the pre-skip tells players what not to show, and must be the edit list's. */
            if (bytes < 19 || memcmp(e, "OpusHead", 8) != 0 ||
                (e[10] | e[11] << 8) != track->reorder_ticks || track->sample_rate_hz != 48000)
                return sl_fail(why, SL_EMISMATCH,
                               "%zu bytes are no OpusHead of %lld samples at %d Hz", bytes,
                               (long long)track->reorder_ticks, track->sample_rate_hz);
            snprintf(out, CODECS_BYTES, "opus");
            return SL_OK;
        }
        /* ISO/IEC 14496-3, 1.6.2.1: five bits of object type, 31 escapes to six more. */
        unsigned type = bytes >= 2 ? e[0] >> 3 : 0;
        if (type == 31)
            type = 32 + ((e[0] & 7u) << 3 | e[1] >> 5);
        if (type == 0)
            return sl_fail(why, SL_EMISMATCH, "%zu bytes are no AudioSpecificConfig", bytes);
        snprintf(out, CODECS_BYTES, "mp4a.40.%u", type);
        return SL_OK;
    }
    if (track->codec != CODEC_H264)
        return box_codecs(track, out, why);
    const uint8_t *sps = NULL;
    if (bytes >= 7 && e[0] == 1)
        sps = e + 1;
    else if (cmaf_has_start_code(e, bytes))
        for (size_t at = 0; at + 7 <= bytes && !sps; at++)
            if (e[at] == 0 && e[at + 1] == 0 && e[at + 2] == 1 && (e[at + 3] & 31) == 7)
                sps = e + at + 4;
    if (!sps)
        return sl_fail(why, SL_EMISMATCH, "%zu bytes of H.264 parameter sets hold no SPS", bytes);
    snprintf(out, CODECS_BYTES, "avc1.%02X%02X%02X", sps[0], sps[1], sps[2]);
    return SL_OK;
}
