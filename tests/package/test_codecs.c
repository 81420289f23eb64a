/* Sample entries, samples and names of H.265, AV1 and VP9, read back by libavformat and decoded. */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/opt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "package/boxes.h"
#include "package/cmaf_internal.h"

#define FRAMES 12
#define WIDTH  128
#define HEIGHT 96

static const struct media_hdr hdr10 = {
    .mastering = true,
    .primaries = {{34000, 16000}, {13250, 34500}, {7500, 3000}},
    .white = {15635, 16450},
    .luminance_max = 10000000,
    .luminance_min = 50,
    .light = true,
    .light_max_nits = 1000,
    .light_average_nits = 400,
};

struct made {
    struct cmaf_track track;
    uint8_t extradata[4096];
    struct sl_buf init, segment;
    char codecs[CODECS_BYTES];
};

struct how {
    enum codec codec;
    const char *library, *options;
    int depth;
    bool hdr;
    bool annexb;
};

static const AVCodec *need(const char *library)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(library);
    if (!codec) {
        print_message("this libavcodec has no %s\n", library);
        skip();
    }
    return codec;
}

static AVFrame *picture(int number, int depth)
{
    AVFrame *frame = av_frame_alloc();
    frame->format = depth > 8 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
    frame->width = WIDTH;
    frame->height = HEIGHT;
    frame->pts = number;
    assert_int_equal(av_frame_get_buffer(frame, 0), 0);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? HEIGHT / 2 : HEIGHT); y++)
            for (int x = 0; x < (plane ? WIDTH / 2 : WIDTH); x++) {
                int value = 40 + (x + 2 * y + 5 * number * (plane + 1)) % 160;
                uint8_t *row = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
                if (depth > 8)
                    ((uint16_t *)(void *)row)[x] = (uint16_t)(value * 4);
                else
                    row[x] = (uint8_t)value;
            }
    frame->pict_type = number == 0 ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    return frame;
}

/* One segment of FRAMES frames by libavcodec itself. */
static void make(const struct how *how, struct made *out)
{
    const AVCodec *library = need(how->library);
    AVCodecContext *c = avcodec_alloc_context3(library);
    c->width = WIDTH;
    c->height = HEIGHT;
    c->pix_fmt = how->depth > 8 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, 25};
    c->framerate = (AVRational){25, 1};
    c->gop_size = 100;
    c->thread_count = 1;
    c->color_primaries = how->hdr ? AVCOL_PRI_BT2020 : AVCOL_PRI_BT709;
    c->color_trc = how->hdr ? AVCOL_TRC_SMPTE2084 : AVCOL_TRC_BT709;
    c->colorspace = how->hdr ? AVCOL_SPC_BT2020_NCL : AVCOL_SPC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    c->flags |= AV_CODEC_FLAG_CLOSED_GOP | (how->annexb ? 0 : AV_CODEC_FLAG_GLOBAL_HEADER);
    AVDictionary *options = NULL;
    av_dict_parse_string(&options, how->options, "=", ";", 0);
    assert_int_equal(avcodec_open2(c, library, &options), 0);
    av_dict_free(&options);

    *out = (struct made){0};
    static uint8_t bytes[1 << 20];
    size_t used = 0;
    struct cmaf_packet packets[FRAMES];
    size_t count = 0;
    AVPacket *packet = av_packet_alloc();
    for (int i = 0; i <= FRAMES; i++) {
        AVFrame *frame = i < FRAMES ? picture(i, how->depth) : NULL;
        assert_int_equal(avcodec_send_frame(c, frame), 0);
        av_frame_free(&frame);
        while (avcodec_receive_packet(c, packet) >= 0) {
            assert_true(count < FRAMES && used + (size_t)packet->size < sizeof bytes);
            memcpy(bytes + used, packet->data, (size_t)packet->size);
            packets[count++] = (struct cmaf_packet){bytes + used, (size_t)packet->size, packet->pts,
                                                    (packet->flags & AV_PKT_FLAG_KEY) != 0};
            used += (size_t)packet->size;
            av_packet_unref(packet);
        }
    }
    av_packet_free(&packet);
    assert_int_equal(count, FRAMES);
    size_t extradata = (size_t)c->extradata_size;
    assert_true(extradata <= sizeof out->extradata);
    if (extradata)
        memcpy(out->extradata, c->extradata, extradata);
    if (how->annexb) { /* parameter sets are in the first packet alone: what is before its first slice */
        extradata = packets[0].bytes < 200 ? packets[0].bytes : 200;
        memcpy(out->extradata, packets[0].data, extradata);
    }
    out->track = (struct cmaf_track){
        .codec = how->codec,
        .extradata = out->extradata,
        .extradata_bytes = extradata,
        .timescale = 25,
        .reorder_ticks = 4,
        .width = WIDTH,
        .height = HEIGHT,
        .color_primaries = (int32_t)c->color_primaries,
        .color_transfer = (int32_t)c->color_trc,
        .color_matrix = (int32_t)c->colorspace,
        .bit_depth = how->depth,
        .frame_rate = {25, 1},
        .maxrate_kbps = 500,
    };
    if (how->hdr)
        out->track.hdr = hdr10;
    avcodec_free_context(&c);
    struct sl_failure why = {0};
    struct cmaf_writer *writer = NULL;
    if (cmaf_open(&out->track, &writer, &why) != SL_OK ||
        cmaf_init(writer, &out->init, &why) != SL_OK ||
        cmaf_segment(writer, 0, packets, count, 0, FRAMES, &out->segment, &why) != SL_OK ||
        cmaf_codecs(&out->track, out->codecs, &why) != SL_OK)
        fail_msg("%s: %s", how->library, why.message);
    cmaf_close(&writer);
}

static void unmake(struct made *made)
{
    sl_buf_fini(&made->init);
    sl_buf_fini(&made->segment);
}

struct memory {
    const uint8_t *data;
    size_t length, at;
};

static int memory_read(void *opaque, uint8_t *into, int room)
{
    struct memory *m = opaque;
    size_t take = m->length - m->at < (size_t)room ? m->length - m->at : (size_t)room;
    memcpy(into, m->data + m->at, take);
    m->at += take;
    return take ? (int)take : AVERROR_EOF;
}

static const uint8_t *side(const AVStream *stream, enum AVPacketSideDataType type)
{
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *found = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, type);
    return found ? found->data : NULL;
#else
    return av_stream_get_side_data(stream, type, NULL);
#endif
}

/* Demuxes and decodes it all; stream_check sees the stream before that. */
static void read_back(const struct made *made, const char *decoder,
                      void (*stream_check)(const AVStream *stream))
{
    struct sl_buf file = {0};
    sl_buf_append(&file, made->init.data, made->init.length);
    sl_buf_append(&file, made->segment.data, made->segment.length);
    struct memory memory = {file.data, file.length, 0};
    AVIOContext *io =
        avio_alloc_context(av_malloc(4096), 4096, 0, &memory, memory_read, NULL, NULL);
    AVFormatContext *format = avformat_alloc_context();
    format->pb = io;
    assert_int_equal(avformat_open_input(&format, NULL, NULL, NULL), 0);
    assert_int_equal(format->nb_streams, 1);
    const AVStream *stream = format->streams[0];
    assert_int_equal(stream->codecpar->color_trc, made->track.color_transfer);
    assert_int_equal(stream->codecpar->color_space, made->track.color_matrix);
    if (stream_check)
        stream_check(stream);
    AVCodecContext *c = avcodec_alloc_context3(avcodec_find_decoder_by_name(decoder));
    assert_non_null(c);
    avcodec_parameters_to_context(c, stream->codecpar);
    assert_int_equal(avcodec_open2(c, NULL, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int64_t next = 0;
    int packets = 0;
    for (bool more = true; more;) {
        more = av_read_frame(format, packet) >= 0;
        packets += more;
        assert_true(!more || (packets == 1) == ((packet->flags & AV_PKT_FLAG_KEY) != 0));
        assert_int_equal(avcodec_send_packet(c, more ? packet : NULL), 0);
        av_packet_unref(packet);
        while (avcodec_receive_frame(c, frame) >= 0) {
            assert_int_equal(frame->pts, next++);
            assert_int_equal(frame->width, WIDTH);
            assert_int_equal((int)frame->color_trc, made->track.color_transfer);
            av_frame_unref(frame);
        }
    }
    assert_int_equal(next, FRAMES);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&c);
    avformat_close_input(&format);
    av_freep(&io->buffer);
    avio_context_free(&io);
    sl_buf_fini(&file);
}

static void hdr_check(const AVStream *stream)
{
    const AVMasteringDisplayMetadata *mastering =
        (const void *)side(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA);
    const AVContentLightMetadata *light =
        (const void *)side(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL);
    assert_non_null(mastering);
    assert_non_null(light);
    assert_int_equal(light->MaxCLL, 1000);
    assert_int_equal(light->MaxFALL, 400);
    const AVRational red = {34000, 50000}, blue = {3000, 50000}, white = {15635, 50000},
                     brightest = {1000, 1}, darkest = {50, 10000};
    assert_int_equal(av_cmp_q(mastering->display_primaries[0][0], red), 0);
    assert_int_equal(av_cmp_q(mastering->display_primaries[2][1], blue), 0);
    assert_int_equal(av_cmp_q(mastering->white_point[0], white), 0);
    assert_int_equal(av_cmp_q(mastering->max_luminance, brightest), 0);
    assert_int_equal(av_cmp_q(mastering->min_luminance, darkest), 0);
}

static void no_hdr_check(const AVStream *stream)
{
    assert_null(side(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA));
    assert_null(side(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL));
}

static bool holds(const struct sl_buf *buf, const void *bytes, size_t length)
{
    return memmem(buf->data, buf->length, bytes, length) != NULL;
}

#define X265 "preset=ultrafast;x265-params=log-level=none:pools=none:frame-threads=1"

static void test_h265_has_its_parameter_sets_in_hvcc_alone(void **state)
{
    (void)state;
    struct made made;
    static const bool annexb[] = {false, true};
    for (int i = 0; i < 2; i++) {
        make(&(struct how){CODEC_H265, "libx265", X265, 8, false, annexb[i]}, &made);
        assert_string_equal(made.codecs, "hvc1.1.6.L30.90");
        assert_true(holds(&made.init, "hvc1", 4));
        assert_false(holds(&made.init, "hev1", 4));
        read_back(&made, "hevc", no_hdr_check);
        size_t size;
        const uint8_t *mdat = box_find(made.segment.data, made.segment.length, "mdat", &size);
        for (size_t at = 8; at < size; at += 4 + box_read_u32(mdat + at)) {
            int type = mdat[at + 4] >> 1 & 63;
            assert_true(type < 32 || type > 34);
        }
        unmake(&made);
    }
}

static void test_hdr_of_h265_is_in_the_sample_entry(void **state)
{
    (void)state;
    struct made made;
    make(&(struct how){CODEC_H265, "libx265", X265 ":hdr10=1", 10, true, false}, &made);
    assert_string_equal(made.codecs, "hvc1.2.4.L30.90");
    read_back(&made, "hevc", hdr_check);
    unmake(&made);
}

static void test_av1_samples_have_no_temporal_delimiters(void **state)
{
    (void)state;
    struct made made;
    make(&(struct how){CODEC_AV1, "libsvtav1", "preset=12;svtav1-params=pred-struct=2", 8, false,
                       false},
         &made);
    assert_string_equal(made.codecs, "av01.0.00M.08.0.110.01.01.01.0");
    size_t size;
    const uint8_t *ftyp = box_find(made.init.data, made.init.length, "ftyp", &size);
    assert_non_null(memmem(ftyp, size, "av01", 4));
    static const uint8_t delimiter[] = {2 << 3 | 2, 0};
    const uint8_t *mdat = box_find(made.segment.data, made.segment.length, "mdat", &size);
    assert_memory_not_equal(mdat + 8, delimiter, sizeof delimiter);
    assert_int_equal(mdat[8] >> 3, 1); /* the sequence header comes first */
    read_back(&made, "libdav1d", no_hdr_check);
    unmake(&made);
    make(&(struct how){CODEC_AV1, "libsvtav1", "preset=12", 10, true, false}, &made);
    assert_string_equal(made.codecs, "av01.0.00M.10.0.110.09.16.09.0");
    read_back(&made, "libdav1d", hdr_check);
    unmake(&made);
}

static void test_vp9_says_its_level_and_colours(void **state)
{
    (void)state;
    struct made made;
    const char *options = "deadline=realtime;cpu-used=8;lag-in-frames=0";
    make(&(struct how){CODEC_VP9, "libvpx-vp9", options, 8, false, false}, &made);
    assert_string_equal(made.codecs, "vp09.00.11.08.00.01.01.01.00");
    read_back(&made, "vp9", no_hdr_check);
    unmake(&made);
    make(&(struct how){CODEC_VP9, "libvpx-vp9", "profile=2;deadline=realtime;cpu-used=8", 10, true,
                       false},
         &made);
    assert_string_equal(made.codecs, "vp09.02.11.10.00.09.16.09.00");
    read_back(&made, "vp9", hdr_check);
    unmake(&made);
}

static void test_vp9_levels_follow_from_size_rate_and_bits(void **state)
{
    (void)state;
    static const struct {
        int32_t width, height, fps, kbps;
        const char *level;
    } rows[] = {
        {256, 144, 15, 150, "10"},      {426, 240, 30, 400, "20"},
        {640, 360, 30, 800, "21"},      {854, 480, 30, 1400, "30"},
        {1280, 720, 30, 2800, "31"},    {1920, 1080, 30, 5000, "40"},
        {1920, 1080, 60, 5000, "41"},   {1920, 1080, 30, 29000, "41"},
        {3840, 2160, 30, 16000, "50"},  {2160, 3840, 60, 16000, "51"},
        {3840, 2160, 120, 16000, "52"}, {16000, 16000, 240, 1, "62"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cmaf_track track = {.codec = CODEC_VP9,
                                   .timescale = 1000,
                                   .width = rows[i].width,
                                   .height = rows[i].height,
                                   .frame_rate = {rows[i].fps, 1},
                                   .maxrate_kbps = rows[i].kbps,
                                   .bit_depth = 8,
                                   .color_primaries = 1,
                                   .color_transfer = 1,
                                   .color_matrix = 1};
        char codecs[CODECS_BYTES], want[CODECS_BYTES];
        struct sl_failure why = {0};
        snprintf(want, sizeof want, "vp09.00.%s.08.00.01.01.01.00", rows[i].level);
        assert_int_equal(cmaf_codecs(&track, codecs, &why), SL_OK);
        assert_string_equal(codecs, want);
    }
}

/* A made-up hvcC with every field in use. */
static void test_every_field_of_hvcc_is_in_the_name(void **state)
{
    (void)state;
    uint8_t hvcc[] = {1,    0x62, 0x60, 0,    0, 0,    0xb0, 0, 0x10, 0, 0, 0,
                      0x99, 0xf0, 0,    0xfc, 1, 0xf8, 0xf8, 0, 0,    3, 0, 0};
    char codecs[CODECS_BYTES];
    cmaf_hvc1_name(hvcc, codecs);
    assert_string_equal(codecs, "hvc1.A2.6.H153.B0.0.10");
    memset(hvcc + 1, 255, 12);
    cmaf_hvc1_name(hvcc, codecs);
    assert_string_equal(codecs, "hvc1.C31.FFFFFFFF.H255.FF.FF.FF.FF.FF.FF");
}

static int sample_try(enum codec codec, const uint8_t *extradata, size_t extradata_bytes,
                      const uint8_t *data, size_t bytes, struct sl_failure *why)
{
    struct cmaf_track track = {.codec = codec,
                               .extradata = extradata,
                               .extradata_bytes = extradata_bytes,
                               .timescale = 1000,
                               .width = 64,
                               .height = 64};
    struct cmaf_writer *writer = NULL;
    struct sl_buf out = {0};
    int rc = cmaf_open(&track, &writer, why);
    assert_int_equal(rc, SL_OK);
    struct cmaf_packet packet = {data, bytes, 0, true};
    rc = cmaf_segment(writer, 0, &packet, 1, 0, 40, &out, why);
    cmaf_close(&writer);
    sl_buf_fini(&out);
    return rc;
}

static void test_samples_that_a_sample_entry_does_not_allow_are_refused(void **state)
{
    (void)state;
    static const uint8_t avcc[] = {1,    0x64, 0,    0x0c, 0xff, 0xe1, 0,    4,   0x67,
                                   0x64, 0,    0x0c, 1,    0,    2,    0x68, 0xee};
    static const uint8_t same[] = {0, 0, 0, 2, 0x68, 0xee, 0, 0, 0, 2, 0x65, 0x88};
    static const uint8_t other[] = {0, 0, 0, 2, 0x68, 0xef, 0, 0, 0, 2, 0x65, 0x88};
    static const uint8_t cut[] = {0, 0, 0, 9, 0x65, 0x88};
    struct sl_failure why = {0};
    assert_int_equal(sample_try(CODEC_H264, avcc, sizeof avcc, same, sizeof same, &why), SL_OK);
    assert_int_equal(sample_try(CODEC_H264, avcc, sizeof avcc, other, sizeof other, &why),
                     SL_EMISMATCH);
    assert_non_null(strstr(why.message, "parameter sets other than those"));
    assert_int_equal(sample_try(CODEC_H264, avcc, sizeof avcc, cut, sizeof cut, &why),
                     SL_EMISMATCH);
    assert_non_null(strstr(why.message, "no row of NAL units"));
    static const uint8_t av1c[] = {0x81, 0, 0x0c, 0};
    static const uint8_t frame[] = {2 << 3 | 2, 0, 6 << 3 | 2, 2, 1, 2};
    static const uint8_t only_delimiter[] = {2 << 3 | 2, 0};
    static const uint8_t past_its_end[] = {6 << 3 | 2, 3, 1, 2};
    assert_int_equal(sample_try(CODEC_AV1, av1c, sizeof av1c, frame, sizeof frame, &why), SL_OK);
    assert_int_equal(
        sample_try(CODEC_AV1, av1c, sizeof av1c, only_delimiter, sizeof only_delimiter, &why),
        SL_EMISMATCH);
    assert_int_equal(
        sample_try(CODEC_AV1, av1c, sizeof av1c, past_its_end, sizeof past_its_end, &why),
        SL_EMISMATCH);
    assert_non_null(strstr(why.message, "no row of OBUs"));
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    setenv("SVT_LOG", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h265_has_its_parameter_sets_in_hvcc_alone),
        cmocka_unit_test(test_hdr_of_h265_is_in_the_sample_entry),
        cmocka_unit_test(test_av1_samples_have_no_temporal_delimiters),
        cmocka_unit_test(test_vp9_says_its_level_and_colours),
        cmocka_unit_test(test_vp9_levels_follow_from_size_rate_and_bits),
        cmocka_unit_test(test_every_field_of_hvcc_is_in_the_name),
        cmocka_unit_test(test_samples_that_a_sample_entry_does_not_allow_are_refused),
    };
    return cmocka_run_group_tests_name("codecs", tests, NULL, NULL);
}
