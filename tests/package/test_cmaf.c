#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "package/boxes.h"
#include "package/cmaf.h"
#include "tests/package/set.h"

/* ---- reading back with libavformat ---- */

struct memory {
    const uint8_t *data;
    size_t length, at;
};

static int memory_read(void *opaque, uint8_t *into, int room)
{
    struct memory *m = opaque;
    size_t left = m->length - m->at;
    if (left == 0)
        return AVERROR_EOF;
    size_t take = left < (size_t)room ? left : (size_t)room;
    memcpy(into, m->data + m->at, take);
    m->at += take;
    return (int)take;
}

struct reader {
    struct memory memory;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
};

static void reader_open(struct reader *r, const struct sl_buf *file)
{
    *r = (struct reader){.memory = {file->data, file->length, 0}};
    r->io = avio_alloc_context(av_malloc(4096), 4096, 0, &r->memory, memory_read, NULL, NULL);
    r->format = avformat_alloc_context();
    r->format->pb = r->io;
    assert_int_equal(avformat_open_input(&r->format, NULL, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(r->format, NULL) >= 0);
    assert_int_equal(r->format->nb_streams, 1);
    AVCodecParameters *par = r->format->streams[0]->codecpar;
    r->codec = avcodec_alloc_context3(avcodec_find_decoder(par->codec_id));
    avcodec_parameters_to_context(r->codec, par);
    r->codec->pkt_timebase = r->format->streams[0]->time_base;
    assert_int_equal(avcodec_open2(r->codec, NULL, NULL), 0);
}

static void reader_close(struct reader *r)
{
    avcodec_free_context(&r->codec);
    avformat_close_input(&r->format);
    av_freep(&r->io->buffer);
    avio_context_free(&r->io);
}

/* Calls take for each decoded frame. */
static int32_t frames_read(struct reader *r, int64_t *pts, void (*take)(void *, const AVFrame *),
                           void *arg)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int64_t last_dts = INT64_MIN;
    int32_t count = 0;
    for (bool more = true; more;) {
        more = av_read_frame(r->format, packet) >= 0;
        if (more) {
            assert_true(packet->dts > last_dts);
            assert_true(packet->pts >= packet->dts);
            last_dts = packet->dts;
        }
        assert_int_equal(avcodec_send_packet(r->codec, more ? packet : NULL), 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(r->codec, frame) >= 0) {
            assert_true(count < CLIP_FRAMES_MAX);
            if (take)
                take(arg, frame);
            pts[count++] = frame->pts;
            av_frame_unref(frame);
        }
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    return count;
}

/* ---- boxes ---- */

static const uint8_t *box_down(const uint8_t *bytes, size_t length, const char *path, size_t *size)
{
    const uint8_t *at = bytes;
    *size = length;
    size_t header = 0;
    for (const char *p = path; *p; p += p[4] ? 5 : 4) {
        at = box_find(at + header, *size - header, p, size);
        assert_non_null(at);
        header = memcmp(p, "stsd", 4) == 0 ? 16 : memcmp(p, "meta", 4) == 0 ? 12 : 8;
    }
    return at;
}

/* libavformat 5.1 tells no durations where there are composition offsets, so they are read from the boxes: none is 0,
 * and those of a segment end where the next one starts. */
static void durations_check(const struct track *track)
{
    for (int32_t i = 0; i < track->count; i++) {
        const struct sl_buf *s = &track->segments[i];
        size_t size;
        const uint8_t *box = box_down(s->data, s->length, "moof/traf/tfhd", &size);
        uint32_t fallback = box_read_u32(box + 8) & 8 ? box_read_u32(box + 16) : 0;
        box = box_down(s->data, s->length, "moof/traf/trun", &size);
        uint32_t flags = box_read_u32(box + 8) & 0xffffff;
        uint32_t count = box_read_u32(box + 12);
        const uint8_t *at = box + 16 + (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0);
        int64_t sum = 0;
        for (uint32_t k = 0; k < count; k++) {
            uint32_t duration = flags & 0x100 ? box_read_u32(at) : fallback;
            assert_true(duration > 0);
            sum += duration;
            for (uint32_t bit = 0x100; bit <= 0x800; bit <<= 1)
                at += flags & bit ? 4 : 0;
        }
        assert_ptr_equal(at, box + size);
        assert_int_equal(sum, track->published[i].end_ticks - track->published[i].start_ticks);
    }
}

/* ---- joins ---- */

static const int32_t starts[] = {0, 36, 60, 61, 110};

static void join_check(struct clip *clip, int32_t timescale)
{
    struct track track;
    /* Three chunks: segments 0; 1 and 2; 3 and 4. */
    clip->idr[20] = true; /* a second GOP inside a segment */
    track_video(clip, timescale, 192, 112, starts, 5, 1u << 1 | 1u << 3, &track);
    durations_check(&track);
    struct sl_buf file = {0};
    track_join(&track, &file);
    struct reader r;
    reader_open(&r, &file);
    assert_int_equal(r.format->streams[0]->time_base.den, timescale);
    int64_t pts[CLIP_FRAMES_MAX];
    int32_t count = frames_read(&r, pts, NULL, NULL);
    assert_int_equal(count, clip->frames);
    for (int32_t i = 0; i < count; i++)
        if (pts[i] != clip->pts[i])
            fail_msg("frame %d is at %lld, not at %lld", i, (long long)pts[i],
                     (long long)clip->pts[i]);
    reader_close(&r);
    sl_buf_fini(&file);
    track_free(&track);
}

static void need_x264(void)
{
    if (!set_has_x264()) {
        print_message("this libavcodec has no libx264\n");
        skip();
    }
}

static void test_chunks_of_a_constant_rate_join(void **state)
{
    (void)state;
    need_x264();
    struct clip clip;
    clip_init(&clip, CLIP_CUTS, 192, 112, 150, 512);
    join_check(&clip, 12800);
}

static void test_chunks_of_23_976_join(void **state)
{
    (void)state;
    need_x264();
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 150, 1001);
    join_check(&clip, 24000);
}

static void test_chunks_in_a_time_scale_of_whole_frames_join(void **state)
{
    (void)state;
    need_x264();
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 150, 1);
    join_check(&clip, 24);
}

static void test_chunks_of_a_variable_rate_join(void **state)
{
    (void)state;
    need_x264();
    const char *text = getenv("SLUICE_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);
    print_message("SLUICE_SEED=%u\n", seed);
    struct clip clip;
    for (int run = 0; run < 5; run++) {
        clip_init(&clip, CLIP_CUTS, 192, 112, 150, 3000);
        int64_t at = 0;
        for (int32_t i = 0; i < clip.frames; i++) {
            clip.pts[i] = at;
            /* From one tick to half a second. */
            at += 1 + rand_r(&seed) % (rand_r(&seed) % 4 ? 4000 : 45000);
        }
        join_check(&clip, 90000);
    }
}

static void test_a_video_that_starts_late_stays_late(void **state)
{
    (void)state;
    need_x264();
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 150, 512);
    for (int32_t i = 0; i < clip.frames; i++)
        clip.pts[i] += 12345;
    join_check(&clip, 12800);
}

static void test_boxes_are_those_of_cmaf(void **state)
{
    (void)state;
    need_x264();
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, 192, 112, 150, 1001);
    struct track track;
    track_video(&clip, 24000, 192, 112, starts, 5, 1u << 2, &track);
    size_t size;
    const uint8_t *box = box_down(track.init.data, track.init.length, "ftyp", &size);
    assert_non_null(memmem(box + 16, size - 16, "cmfc", 4));
    assert_ptr_equal(box, track.init.data);
    box = box_down(track.init.data, track.init.length, "moov/trak/edts/elst", &size);
    assert_int_equal(box_read_u32(box + 12), 1);                   /* one edit */
    assert_int_equal(box_read_u32(box + 20), track.reorder_ticks); /* its media time */
    box_down(track.init.data, track.init.length, "moov/mvex/trex", &size);
    box = box_down(track.init.data, track.init.length, "moov/trak/mdia/minf/stbl/stsd", &size);
    assert_non_null(memmem(box, size, "avc1", 4));
    assert_non_null(memmem(box, size, "avcC", 4));
    for (int32_t i = 0; i < track.count; i++) {
        const struct sl_buf *s = &track.segments[i];
        box = box_down(s->data, s->length, "styp", &size);
        assert_ptr_equal(box, s->data);
        assert_non_null(memmem(box + 16, size - 16, "cmfs", 4));
        box = box_down(s->data, s->length, "moof/mfhd", &size);
        assert_int_equal(box_read_u32(box + 12), i + 1);
        box = box_down(s->data, s->length, "moof/traf/tfdt", &size);
        assert_int_equal(box_read_u64(box + 12), clip.pts[starts[i]]);
        box = box_down(s->data, s->length, "moof/traf/trun", &size);
        int32_t next = i < 4 ? starts[i + 1] : clip.frames;
        assert_int_equal(box_read_u32(box + 12), next - starts[i]);
        size_t moof_bytes;
        const uint8_t *moof = box_find(s->data, s->length, "moof", &moof_bytes);
        assert_int_equal(box_read_u32(box + 16), moof_bytes + 8); /* data offset */
        assert_memory_equal(moof + moof_bytes + 4, "mdat", 4);
    }
    char codecs[CODECS_BYTES];
    box = memmem(track.init.data, track.init.length, "avcC", 4);
    snprintf(codecs, sizeof codecs, "avc1.%02X%02X%02X", box[5], box[6], box[7]);
    assert_string_equal(track.codecs, codecs);
    track_free(&track);
}

/* ---- what does not fit ---- */

static const uint8_t avcc[] = {1,    0x64, 0,    0x0c, 0xff, 0xe1, 0,    4,   0x67,
                               0x64, 0,    0x0c, 1,    0,    2,    0x68, 0xee};

static struct cmaf_writer *writer_make(const uint8_t *extradata, size_t bytes)
{
    struct cmaf_track track = {.codec = CODEC_H264,
                               .extradata = extradata,
                               .extradata_bytes = bytes,
                               .timescale = 1000,
                               .reorder_ticks = 100,
                               .width = 64,
                               .height = 64};
    struct cmaf_writer *writer = NULL;
    struct sl_failure why = {0};
    if (cmaf_open(&track, &writer, &why) < 0)
        fail_msg("%s", why.message);
    return writer;
}

static const uint8_t nal[] = {0, 0, 0, 2, 0x65, 0x88};

static int segment_try(const int64_t *pts, size_t count, int64_t start, int64_t end, int idr,
                       struct sl_failure *why)
{
    struct cmaf_packet packets[8];
    for (size_t i = 0; i < count; i++)
        packets[i] = (struct cmaf_packet){nal, sizeof nal, pts[i], (int)i == idr};
    struct cmaf_writer *writer = writer_make(avcc, sizeof avcc);
    struct sl_buf out = {0};
    int rc = cmaf_segment(writer, 3, packets, count, start, end, &out, why);
    sl_buf_fini(&out);
    cmaf_close(&writer);
    return rc;
}

static void test_packets_that_do_not_fit_their_segment_are_refused(void **state)
{
    (void)state;
    struct sl_failure why = {0};
    const int64_t good[] = {1000, 1120, 1040, 1080};
    assert_int_equal(segment_try(good, 4, 1000, 1160, 0, &why), SL_OK);
    assert_int_equal(segment_try(good, 4, 990, 1160, 0, &why), SL_EMISMATCH);
    assert_int_equal(segment_try(good, 4, 1000, 1120, 0, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "segment 3 spans 1000 to 1120"));
    assert_int_equal(segment_try(good, 4, 1000, 1160, 1, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "IDR"));
    const int64_t twice[] = {1000, 1040, 1040, 1080};
    assert_int_equal(segment_try(twice, 4, 1000, 1160, 0, &why), SL_EMISMATCH);
    const int64_t leading[] = {1000, 960, 1040, 1080};
    assert_int_equal(segment_try(leading, 4, 960, 1160, 0, &why), SL_EMISMATCH);
    const int64_t deep[] = {1000, 1200, 1160, 1120, 1080, 1040};
    assert_int_equal(segment_try(deep, 6, 1000, 1240, 0, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "reorders"));
    assert_int_equal(segment_try(good, 0, 1000, 1160, 0, &why), SL_EMISMATCH);
    assert_int_equal(segment_try(good, 4, -1000, 1160, 0, &why), SL_EMISMATCH);
}

static void test_start_codes_become_lengths(void **state)
{
    (void)state;
    static const uint8_t annexb[] = {0, 0, 0, 1, 0x67, 0x64, 0, 0x0c, 0xac, 0, 0, 0, 1, 0x68, 0xee};
    static const uint8_t packet[] = {0,    0,    0,    1, 6, 5, 0x80, 0,    0, 1,
                                     0x65, 0x88, 0x84, 0, 0, 3, 1,    0x40, 0};
    static const uint8_t want[] = {0, 0,    0,    3,    6, 5, 0x80, 0, 0,   0,
                                   8, 0x65, 0x88, 0x84, 0, 0, 3,    1, 0x40};
    struct cmaf_writer *writer = writer_make(annexb, sizeof annexb);
    struct cmaf_packet one = {packet, sizeof packet, 0, true};
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(cmaf_segment(writer, 0, &one, 1, 0, 40, &out, &why), SL_OK);
    size_t size;
    const uint8_t *mdat = box_find(out.data, out.length, "mdat", &size);
    assert_non_null(mdat);
    assert_int_equal(size - 8, sizeof want);
    assert_memory_equal(mdat + 8, want, sizeof want);
    sl_buf_reset(&out);
    assert_int_equal(cmaf_init(writer, &out, &why), SL_OK);
    assert_non_null(memmem(out.data, out.length, "avcC\1\x64\0\x0c", 8));
    sl_buf_fini(&out);
    cmaf_close(&writer);
    cmaf_close(&writer);
}

static void test_tracks_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct cmaf_track track = {.codec = CODEC_H264,
                               .extradata = avcc,
                               .extradata_bytes = sizeof avcc,
                               .timescale = 1000,
                               .width = 64,
                               .height = 64};
    struct cmaf_writer *writer = NULL;
    struct sl_failure why = {0};
    struct cmaf_track t;
    t = track, t.timescale = 0;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EINVAL);
    t = track, t.extradata_bytes = 0;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EINVAL);
    t = track, t.width = 0;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EINVAL);
    t = track, t.codec = CODEC_AV1;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EMISMATCH); /* an avcC is no av1C */
    t = track, t.extradata_bytes = 3;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EMISMATCH);
    t = track, t.audio = true;
    assert_int_equal(cmaf_open(&t, &writer, &why), SL_EINVAL);
    assert_null(writer);
}

/* ---- audio ---- */

struct clicks {
    int32_t rate;
    int64_t where[64]; /* of the loudest sample around each click */
    float loudest;
    int32_t count;
};

static void clicks_take(void *arg, const AVFrame *frame)
{
    struct clicks *c = arg;
    const float *samples = (const float *)(const void *)frame->data[0];
    for (int i = 0; i < frame->nb_samples; i++) {
        int64_t at = frame->pts + i; /* priming is before 0 */
        if (at < 0)
            continue;
        int32_t second = (int32_t)(at / c->rate);
        if (second >= c->count) {
            c->count = second + 1;
            c->loudest = 0;
        }
        float level = samples[i] < 0 ? -samples[i] : samples[i];
        if (level > c->loudest && second < 64) {
            c->loudest = level;
            c->where[second] = at;
        }
    }
}

static void test_audio_is_where_it_was_to_the_sample(void **state)
{
    (void)state;
    static const int32_t rates[] = {48000, 44100};
    for (size_t i = 0; i < 2; i++) {
        struct track track;
        track_audio(5, rates[i], rates[i], &track);
        assert_string_equal(track.codecs, "mp4a.40.2");
        assert_int_equal(track.published[0].start_ticks, -track.reorder_ticks);
        size_t size;
        const uint8_t *box =
            box_down(track.init.data, track.init.length, "moov/trak/edts/elst", &size);
        assert_int_equal(box_read_u32(box + 20), track.reorder_ticks);
        for (int32_t s = 0; s < track.count; s++) {
            box =
                box_down(track.segments[s].data, track.segments[s].length, "moof/traf/tfdt", &size);
            assert_int_equal(box_read_u64(box + 12),
                             track.published[s].start_ticks + track.reorder_ticks);
        }
        struct sl_buf file = {0};
        track_join(&track, &file);
        struct reader r;
        reader_open(&r, &file);
        struct clicks clicks = {.rate = rates[i]};
        static int64_t pts[CLIP_FRAMES_MAX];
        int32_t count = frames_read(&r, pts, clicks_take, &clicks);
        assert_true(count > 200);
        /* Since 7.1 libavformat keeps the priming to itself. */
        assert_int_equal(pts[0], LIBAVFORMAT_VERSION_MAJOR >= 61 ? 0 : -track.reorder_ticks);
        for (int32_t f = 1; f < count; f++)
            assert_int_equal(pts[f] - pts[f - 1], 1024);
        for (int32_t s = 0; s < 5; s++)
            assert_int_equal(clicks.where[s], (int64_t)s * rates[i] + rates[i] / 2);
        reader_close(&r);
        sl_buf_fini(&file);
        track_free(&track);
    }
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_of_a_constant_rate_join),
        cmocka_unit_test(test_chunks_of_23_976_join),
        cmocka_unit_test(test_chunks_in_a_time_scale_of_whole_frames_join),
        cmocka_unit_test(test_chunks_of_a_variable_rate_join),
        cmocka_unit_test(test_a_video_that_starts_late_stays_late),
        cmocka_unit_test(test_boxes_are_those_of_cmaf),
        cmocka_unit_test(test_packets_that_do_not_fit_their_segment_are_refused),
        cmocka_unit_test(test_start_codes_become_lengths),
        cmocka_unit_test(test_tracks_that_cannot_be_are_refused),
        cmocka_unit_test(test_audio_is_where_it_was_to_the_sample),
    };
    return cmocka_run_group_tests_name("cmaf", tests, NULL, NULL);
}
