/* The init segment comes from libavformat's mp4 muxer, which knows the sample entries; it is made from a
 * stand-in packet, so that no property of a chunk can reach it. Fragments are written here: the muxer
 * carries state from one to the next, and for fragments that start anywhere it drops the priming of audio.
 *
 * Times of a fragment (video): S is the sorted presentation times and then the segment's end. The i-th
 * packet in decoding order has decode time S[i] - D, duration S[i+1] - S[i] and composition offset
 * pts - (S[i] - D). The edit list's media time is D and tfdt counts from -D, so tfdt = S[0], and the
 * presentation is tfdt + offset - D = pts.
 */
#include "package/cmaf.h"

#include <libavformat/avformat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/boxes.h"

#define SAMPLE_FLAGS_SYNC     0x02000000u /* depends on no other */
#define SAMPLE_FLAGS_DELTA    0x01010000u /* depends on others, no sync sample */

#define TFHD_DEFAULT_DURATION 0x000008u
#define TFHD_DEFAULT_FLAGS    0x000020u
#define TFHD_BASE_IS_MOOF     0x020000u
#define TRUN_DATA_OFFSET      0x000001u
#define TRUN_FIRST_FLAGS      0x000004u
#define TRUN_DURATION         0x000100u
#define TRUN_SIZE             0x000200u
#define TRUN_FLAGS            0x000400u
#define TRUN_OFFSET           0x000800u

/* A segment is some seconds; far above this something else is wrong. */
#define SEGMENT_PACKETS_MAX   100000
#define SEGMENT_BYTES_MAX     (INT64_C(1) << 31)

struct cmaf_writer {
    struct cmaf_track track;
    uint8_t *extradata;
    bool annexb; /* packets have start codes and get lengths */
    int64_t *sorted;
    size_t sorted_room;
    struct sl_buf media; /* of the segment being written */
};

static bool has_start_code(const uint8_t *data, size_t bytes)
{
    return bytes >= 4 && data[0] == 0 && data[1] == 0 &&
           (data[2] == 1 || (data[2] == 0 && data[3] == 1));
}

int cmaf_open(const struct cmaf_track *track, struct cmaf_writer **out, struct sl_failure *why)
{
    if (!track->extradata || track->extradata_bytes == 0 || track->extradata_bytes > 65536)
        return sl_fail(why, SL_EINVAL,
                       "a CMAF track needs the codec's parameter sets, not %zu bytes",
                       track->extradata_bytes);
    if (track->timescale <= 0 || track->reorder_ticks < 0)
        return sl_fail(why, SL_EINVAL, "a CMAF track has no time scale %d with offset %lld",
                       track->timescale, (long long)track->reorder_ticks);
    if (!track->audio && (track->width <= 0 || track->height <= 0))
        return sl_fail(why, SL_EINVAL, "a CMAF video track cannot be %dx%d", track->width,
                       track->height);
    if (track->audio && (track->channels <= 0 || track->sample_rate_hz <= 0))
        return sl_fail(why, SL_EINVAL, "a CMAF audio track cannot have %d channels at %d Hz",
                       track->channels, track->sample_rate_hz);
    char codecs[CODECS_BYTES];
    int rc = cmaf_codecs(track, codecs, why);
    if (rc < 0)
        return rc;

    struct cmaf_writer *w = calloc(1, sizeof *w);
    uint8_t *extradata = malloc(track->extradata_bytes);
    if (!w || !extradata) {
        free(w);
        free(extradata);
        return sl_fail(why, SL_ENOMEM, "no memory for a CMAF track");
    }
    w->track = *track;
    memcpy(extradata, track->extradata, track->extradata_bytes);
    w->extradata = extradata;
    w->track.extradata = w->extradata;
    w->annexb = !track->audio && has_start_code(w->extradata, track->extradata_bytes);
    *out = w;
    return SL_OK;
}

void cmaf_close(struct cmaf_writer **writer)
{
    if (!writer || !*writer)
        return;
    struct cmaf_writer *w = *writer;
    free(w->extradata);
    free(w->sorted);
    sl_buf_fini(&w->media);
    free(w);
    *writer = NULL;
}

/* ---- init ---- */

/* Samples of an access unit. */
static int audio_frame(const struct cmaf_track *t)
{
    return t->audio_codec == AUDIO_OPUS ? 960 : 1024;
}

static int stream_fill(const struct cmaf_track *t, AVStream *stream)
{
    AVCodecParameters *par = stream->codecpar;
    par->extradata = av_mallocz(t->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!par->extradata)
        return AVERROR(ENOMEM);
    memcpy(par->extradata, t->extradata, t->extradata_bytes);
    par->extradata_size = (int)t->extradata_bytes;
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
    par->codec_id = AV_CODEC_ID_H264;
    par->width = t->width;
    par->height = t->height;
    par->sample_aspect_ratio = (AVRational){1, 1};
    par->color_primaries = (enum AVColorPrimaries)t->color_primaries;
    par->color_trc = (enum AVColorTransferCharacteristic)t->color_transfer;
    par->color_space = (enum AVColorSpace)t->color_matrix;
    par->color_range = t->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    return 0;
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
    static const uint8_t nothing[16] = {0, 0, 0, 12, 0x0c};
    rc = av_new_packet(packet, sizeof nothing);
    if (rc < 0)
        goto done;
    memcpy(packet->data, nothing, sizeof nothing);
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

static void ftyp_put(struct sl_buf *out)
{
    size_t box = box_open(out, "ftyp");
    sl_buf_append(out, "iso6", 4);
    box_u32(out, 0);
    sl_buf_append(out, "iso6cmfcmp41", 12);
    box_close(out, box);
}

int cmaf_init(struct cmaf_writer *writer, struct sl_buf *out, struct sl_failure *why)
{
    AVFormatContext *mux = NULL;
    uint8_t *bytes = NULL;
    int rc = avformat_alloc_output_context2(&mux, NULL, "mp4", NULL);
    if (rc >= 0)
        rc = avio_open_dyn_buf(&mux->pb);
    if (rc >= 0)
        rc = moov_mux(&writer->track, mux);
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
        rc = sl_fail(why, rc == AVERROR(ENOMEM) ? SL_ENOMEM : SL_EINTERNAL,
                     "libavformat cannot write the init segment: %s", text);
    } else if (!moov) {
        rc = sl_fail(why, SL_EINTERNAL, "libavformat wrote %d bytes without a moov", length);
    } else {
        ftyp_put(out);
        sl_buf_append(out, moov, moov_bytes);
        rc = out->failed ? sl_fail(why, SL_ENOMEM, "no memory for an init segment") : SL_OK;
    }
    av_free(bytes);
    return rc;
}

/* ---- fragments ---- */

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Start codes to four-byte lengths (H.264 and H.265 alike). */
static void lengths_put(struct sl_buf *out, const uint8_t *data, size_t bytes)
{
    size_t at = 0;
    while (at + 3 <= bytes && !(data[at] == 0 && data[at + 1] == 0 && data[at + 2] == 1))
        at++;
    while (at + 3 <= bytes) {
        size_t start = at + 3, end = start;
        while (end + 3 <= bytes && !(data[end] == 0 && data[end + 1] == 0 && data[end + 2] == 1))
            end++;
        at = end;
        if (end + 3 > bytes)
            at = end = bytes;
        while (end > start && data[end - 1] == 0)
            end--;
        if (end == start)
            continue;
        box_u32(out, (uint32_t)(end - start));
        sl_buf_append(out, data + start, end - start);
    }
}

static int times_sort(struct cmaf_writer *w, int32_t number, const struct cmaf_packet *packets,
                      size_t count, int64_t start_ticks, int64_t end_ticks, struct sl_failure *why)
{
    const struct cmaf_track *t = &w->track;
    if (count == 0 || count > SEGMENT_PACKETS_MAX)
        return sl_fail(why, SL_EMISMATCH, "segment %d has %zu packets", number, count);
    if (count + 1 > w->sorted_room) {
        int64_t *more = realloc(w->sorted, (count + 1) * sizeof *more);
        if (!more)
            return sl_fail(why, SL_ENOMEM, "no memory for %zu packet times", count);
        w->sorted = more;
        w->sorted_room = count + 1;
    }
    int64_t *sorted = w->sorted;
    for (size_t i = 0; i < count; i++)
        sorted[i] = packets[i].pts;
    sorted[count] = end_ticks;
    if (t->audio) {
        for (size_t i = 0; i < count; i++)
            if (sorted[i] >= sorted[i + 1])
                return sl_fail(why, SL_EMISMATCH,
                               "segment %d: audio at %lld is not before what follows at %lld",
                               number, (long long)sorted[i], (long long)sorted[i + 1]);
    } else {
        qsort(sorted, count, sizeof *sorted, compare_i64);
        if (!packets[0].idr || packets[0].pts != sorted[0])
            return sl_fail(why, SL_EMISMATCH, "segment %d does not begin with its IDR", number);
    }
    if (sorted[0] != start_ticks || sorted[count - 1] >= end_ticks)
        return sl_fail(why, SL_EMISMATCH,
                       "segment %d spans %lld to %lld but holds frames from %lld to %lld", number,
                       (long long)start_ticks, (long long)end_ticks, (long long)sorted[0],
                       (long long)sorted[count - 1]);
    /* What tfdt counts from, so that it is never negative. */
    int64_t base = t->audio ? t->reorder_ticks : 0;
    if (start_ticks + base < 0)
        return sl_fail(why, SL_EMISMATCH, "segment %d starts %lld ticks before the time line",
                       number, (long long)-(start_ticks + base));
    for (size_t i = 0; i < count; i++) {
        int64_t duration = sorted[i + 1] - sorted[i];
        int64_t offset = packets[i].pts - sorted[i] + t->reorder_ticks;
        if (duration <= 0 || duration > INT32_MAX)
            return sl_fail(why, SL_EMISMATCH, "segment %d has a frame of %lld ticks at %lld",
                           number, (long long)duration, (long long)sorted[i]);
        if (!t->audio && (offset < 0 || offset > INT32_MAX))
            return sl_fail(why, SL_EMISMATCH,
                           "segment %d: the encoder reorders frames by more than the planned %lld "
                           "ticks at %lld",
                           number, (long long)t->reorder_ticks, (long long)packets[i].pts);
    }
    return SL_OK;
}

/* Puts the payload into w->media and each sample's size into sizes. */
static int media_collect(struct cmaf_writer *w, int32_t number, const struct cmaf_packet *packets,
                         size_t count, uint32_t *sizes, struct sl_failure *why)
{
    sl_buf_reset(&w->media);
    for (size_t i = 0; i < count; i++) {
        size_t before = w->media.length;
        if (w->annexb)
            lengths_put(&w->media, packets[i].data, packets[i].bytes);
        else
            sl_buf_append(&w->media, packets[i].data, packets[i].bytes);
        if (w->media.failed)
            return sl_fail(why, SL_ENOMEM, "no memory for segment %d", number);
        if (w->media.length == before)
            return sl_fail(why, SL_EMISMATCH, "segment %d has an empty packet at %lld", number,
                           (long long)packets[i].pts);
        if (w->media.length > SEGMENT_BYTES_MAX)
            return sl_fail(why, SL_EMISMATCH, "segment %d is larger than %lld bytes", number,
                           (long long)SEGMENT_BYTES_MAX);
        sizes[i] = (uint32_t)(w->media.length - before);
    }
    return SL_OK;
}

static void styp_put(struct sl_buf *out)
{
    size_t box = box_open(out, "styp");
    sl_buf_append(out, "msdh", 4);
    box_u32(out, 0);
    sl_buf_append(out, "msdhcmfs", 8);
    box_close(out, box);
}

static void moof_put(const struct cmaf_writer *w, int32_t number, const struct cmaf_packet *packets,
                     const uint32_t *sizes, size_t count, struct sl_buf *out)
{
    const struct cmaf_track *t = &w->track;
    const int64_t *sorted = w->sorted;
    bool one_duration = true, one_sync = !t->audio, reordered = false;
    for (size_t i = 0; i < count; i++) {
        one_duration &= sorted[i + 1] - sorted[i] == sorted[1] - sorted[0];
        one_sync &= i == 0 || !packets[i].idr;
        reordered |= !t->audio && (packets[i].pts != sorted[i] || t->reorder_ticks > 0);
    }

    size_t moof = box_open(out, "moof");
    size_t box = box_open_full(out, "mfhd", 0, 0);
    box_u32(out, (uint32_t)number + 1);
    box_close(out, box);
    size_t traf = box_open(out, "traf");
    box = box_open_full(out, "tfhd", 0,
                        TFHD_BASE_IS_MOOF | TFHD_DEFAULT_FLAGS |
                            (one_duration ? TFHD_DEFAULT_DURATION : 0));
    box_u32(out, 1);
    if (one_duration)
        box_u32(out, (uint32_t)(sorted[1] - sorted[0]));
    box_u32(out, t->audio ? SAMPLE_FLAGS_SYNC : SAMPLE_FLAGS_DELTA);
    box_close(out, box);
    box = box_open_full(out, "tfdt", 1, 0);
    box_u64(out, (uint64_t)(sorted[0] + (t->audio ? t->reorder_ticks : 0)));
    box_close(out, box);

    uint32_t flags = TRUN_DATA_OFFSET | TRUN_SIZE | (one_duration ? 0 : TRUN_DURATION) |
                     (reordered ? TRUN_OFFSET : 0);
    if (!t->audio)
        flags |= one_sync ? TRUN_FIRST_FLAGS : TRUN_FLAGS;
    box = box_open_full(out, "trun", 0, flags);
    box_u32(out, (uint32_t)count);
    size_t data_offset_at = out->length;
    box_u32(out, 0);
    if (flags & TRUN_FIRST_FLAGS)
        box_u32(out, SAMPLE_FLAGS_SYNC);
    for (size_t i = 0; i < count; i++) {
        if (flags & TRUN_DURATION)
            box_u32(out, (uint32_t)(sorted[i + 1] - sorted[i]));
        box_u32(out, sizes[i]);
        if (flags & TRUN_FLAGS)
            box_u32(out, packets[i].idr ? SAMPLE_FLAGS_SYNC : SAMPLE_FLAGS_DELTA);
        if (flags & TRUN_OFFSET)
            box_u32(out, (uint32_t)(packets[i].pts - sorted[i] + t->reorder_ticks));
    }
    box_close(out, box);
    box_close(out, traf);
    box_close(out, moof);
    box_u32_at(out, data_offset_at, (uint32_t)(out->length - moof) + 8);
}

int cmaf_segment(struct cmaf_writer *writer, int32_t number, const struct cmaf_packet *packets,
                 size_t count, int64_t start_ticks, int64_t end_ticks, struct sl_buf *out,
                 struct sl_failure *why)
{
    if (number < 0)
        return sl_fail(why, SL_EINVAL, "there is no segment %d", number);
    int rc = times_sort(writer, number, packets, count, start_ticks, end_ticks, why);
    if (rc < 0)
        return rc;
    uint32_t *sizes = malloc(count * sizeof *sizes);
    if (!sizes)
        return sl_fail(why, SL_ENOMEM, "no memory for segment %d", number);
    rc = media_collect(writer, number, packets, count, sizes, why);
    if (rc == SL_OK) {
        styp_put(out);
        moof_put(writer, number, packets, sizes, count, out);
        size_t mdat = box_open(out, "mdat");
        sl_buf_append(out, writer->media.data, writer->media.length);
        box_close(out, mdat);
        if (out->failed)
            rc = sl_fail(why, SL_ENOMEM, "no memory for segment %d", number);
    }
    free(sizes);
    return rc;
}

/* ---- names ---- */

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
        return sl_fail(why, SL_EUNSUPPORTED, "CMAF video of codec %s is not written",
                       codec_word(track->codec));
    const uint8_t *sps = NULL;
    if (bytes >= 7 && e[0] == 1)
        sps = e + 1;
    else if (has_start_code(e, bytes))
        for (size_t at = 0; at + 7 <= bytes && !sps; at++)
            if (e[at] == 0 && e[at + 1] == 0 && e[at + 2] == 1 && (e[at + 3] & 31) == 7)
                sps = e + at + 4;
    if (!sps)
        return sl_fail(why, SL_EMISMATCH, "%zu bytes of H.264 parameter sets hold no SPS", bytes);
    snprintf(out, CODECS_BYTES, "avc1.%02X%02X%02X", sps[0], sps[1], sps[2]);
    return SL_OK;
}
