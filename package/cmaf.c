/* Fragments are written here: libavformat's muxer carries state from one to the next, and for fragments that start
 * anywhere it drops the priming of audio.
 *
 * Times of a fragment (video): S is the sorted presentation times and then the segment's end. The i-th
 * packet in decoding order has decode time S[i] - D, duration S[i+1] - S[i] and composition offset
 * pts - (S[i] - D). The edit list's media time is D and tfdt counts from -D, so tfdt = S[0], and the
 * presentation is tfdt + offset - D = pts.
 */
#include "package/cmaf.h"

#include <stdlib.h>
#include <string.h>

#include "package/boxes.h"
#include "package/cmaf_internal.h"

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
    int64_t *sorted;
    size_t sorted_room;
    struct sl_buf media; /* of the segment being written */
};

int cmaf_open(const struct cmaf_track *track, struct cmaf_writer **out, struct sl_failure *why)
{
    bool needless = !track->audio && track->codec == CODEC_VP9;
    if ((!needless && (!track->extradata || track->extradata_bytes == 0)) ||
        track->extradata_bytes > 65536)
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
    uint8_t *extradata = malloc(track->extradata_bytes + 1);
    if (!w || !extradata) {
        free(w);
        free(extradata);
        return sl_fail(why, SL_ENOMEM, "no memory for a CMAF track");
    }
    w->track = *track;
    if (track->extradata_bytes)
        memcpy(extradata, track->extradata, track->extradata_bytes);
    w->extradata = extradata;
    w->track.extradata = w->extradata;
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

int cmaf_init(struct cmaf_writer *writer, struct sl_buf *out, struct sl_failure *why)
{
    return cmaf_init_make(&writer->track, out, why);
}

/* ---- fragments ---- */

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
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

/* Puts the payload as its sample entry promises it into w->media and each sample's size into sizes. */
static int media_collect(struct cmaf_writer *w, int32_t number, const struct cmaf_packet *packets,
                         size_t count, uint32_t *sizes, struct sl_failure *why)
{
    sl_buf_reset(&w->media);
    for (size_t i = 0; i < count; i++) {
        size_t before = w->media.length;
        int rc = cmaf_sample_put(&w->track, &packets[i], &w->media, why);
        if (rc < 0)
            return rc;
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
