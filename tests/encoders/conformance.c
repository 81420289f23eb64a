#include "tests/encoders/conformance.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hal/hal_sim.h"
#include "tests/encoders/clip.h"

#define TIMESCALE   24000
#define FRAME_TICKS 1001 /* 23.976 */
#define WIDTH       192
#define HEIGHT      112

bool conformance_find(struct conformance *c)
{
    struct hal_device devices[NODE_DEVICES_MAX];
    int32_t count = 0;
    struct sl_failure why = {0};
    if (hal_probe(c->backends, devices, NODE_DEVICES_MAX, &count, &why) < 0)
        return false;
    int chosen = hal_choose(devices, count, c->codec, c->encoder, &why);
    if (chosen < 0) {
        fprintf(stderr, "no encoder %s here: %s\n", c->encoder, why.message);
        return false;
    }
    c->device = devices[chosen];
    return true;
}

static struct hal_encode_params params_of(const struct conformance *c, const struct clip *clip)
{
    struct hal_encode_params params = clip_params(clip, c->codec, TIMESCALE);
    if (c->preset)
        snprintf(params.preset, sizeof params.preset, "%s", c->preset);
    return params;
}

static void encode_ok(struct conformance *c, const struct hal_encode_params *params,
                      const struct clip *clip, struct clip_encode *out)
{
    struct sl_failure why = {0};
    int rc = clip_encode(c->backends, &c->device, c->encoder, params, clip, out, &why);
    if (rc < 0)
        fail_msg("%s: %s", sl_error_word(rc), why.message);
    assert_int_equal(c->device.sessions.in_use, 0);
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* All presentation times of the clip, each once; and what labels tell. */
static void packets_check(const struct conformance *c, const struct clip *clip,
                          const struct clip_encode *encode)
{
    assert_int_equal(encode->count, clip->frames);
    int64_t pts[CLIP_FRAMES_MAX];
    for (int32_t i = 0; i < encode->count; i++) {
        pts[i] = encode->packets[i].pts;
        assert_true(encode->packets[i].bytes > 0);
    }
    qsort(pts, (size_t)encode->count, sizeof *pts, compare_i64);
    for (int32_t i = 0; i < encode->count; i++)
        assert_int_equal(pts[i], clip->pts[i]);
    if (!c->labels)
        return;
    uint8_t *buffer = malloc(clip_frame_bytes(clip));
    for (int32_t i = 0; i < encode->count; i++) {
        struct hal_sim_label label;
        assert_int_equal(
            hal_sim_label_read(encode->packets[i].data, encode->packets[i].bytes, &label), SL_OK);
        struct hal_frame frame;
        clip_paint(clip, label.frame, buffer, &frame);
        assert_int_equal(label.pts, frame.pts);
        assert_true(label.hash == hal_sim_hash(&frame));
        assert_int_equal(label.width, clip->width);
    }
    free(buffer);
}

void test_every_frame_comes_back_once_with_its_time(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    static const int32_t lengths[] = {2, 3, 5, 49, 121};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, lengths[i], FRAME_TICKS);
        struct hal_encode_params params = params_of(c, &clip);
        encode_ok(c, &params, &clip, &encode);
        packets_check(c, &clip, &encode);
        clip_encode_free(&encode);
    }
}

static void clip_vary(struct clip *clip)
{
    /* From 2 to 200 ms, as phones and screen recorders do. */
    static const int32_t steps[] = {1001, 1001, 48, 4800, 333, 334, 2500, 1001, 60, 3000};
    int64_t at = 17;
    for (int32_t i = 0; i < clip->frames; i++) {
        clip->pts[i] = at;
        at += steps[(i * 7 + i / 10) % 10];
    }
}

void test_variable_frame_rate_keeps_every_pts(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 130, FRAME_TICKS);
    clip_vary(&clip);
    clip.idr[40] = clip.idr[41] = true;
    struct hal_encode_params params = params_of(c, &clip);
    encode_ok(c, &params, &clip, &encode);
    packets_check(c, &clip, &encode);
    clip_encode_free(&encode);
}

static bool is_forced(const struct clip *clip, int64_t pts)
{
    for (int32_t i = 0; i < clip->frames; i++)
        if (clip->pts[i] == pts)
            return clip->idr[i];
    return false;
}

void test_key_frames_are_where_forced_and_nowhere_else(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    /* 300 frames with cuts: longer than any default GOP, and tempting. */
    clip_init(&clip, CLIP_CUTS, WIDTH, HEIGHT, 300, FRAME_TICKS);
    static const int32_t forced[] = {7, 8, 48, 50, 95, 299};
    for (size_t i = 0; i < sizeof forced / sizeof *forced; i++)
        clip.idr[forced[i]] = true;
    struct hal_encode_params params = params_of(c, &clip);
    params.gop_frames = 24;
    encode_ok(c, &params, &clip, &encode);
    packets_check(c, &clip, &encode);
    for (int32_t i = 0; i < encode.count; i++)
        if (encode.packets[i].idr != is_forced(&clip, encode.packets[i].pts))
            fail_msg("the packet at %lld is %s IDR", (long long)encode.packets[i].pts,
                     encode.packets[i].idr ? "an unwanted" : "no");
    clip_encode_free(&encode);
}

/* Packets are in coding order, so a GOP is what lies between two IDRs; in a closed one nothing before it is shown
 * after it, and it decodes without what came before. */
void test_each_gop_decodes_alone(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_CUTS, WIDTH, HEIGHT, 120, FRAME_TICKS);
    clip.idr[31] = clip.idr[62] = clip.idr[63] = clip.idr[90] = true;
    struct hal_encode_params params = params_of(c, &clip);
    encode_ok(c, &params, &clip, &encode);
    int64_t newest = INT64_MIN, idr_pts = INT64_MIN;
    for (int32_t i = 0; i < encode.count; i++) {
        const struct clip_packet *packet = &encode.packets[i];
        if (packet->idr) {
            assert_true(packet->pts > newest);
            idr_pts = packet->pts;
        }
        assert_true(packet->pts >= idr_pts);
        if (packet->pts > newest)
            newest = packet->pts;
    }
    if (c->labels) {
        clip_encode_free(&encode);
        return;
    }
    struct clip_decoded whole;
    clip_decode(&clip, c->codec, &encode, 0, encode.count, &whole);
    assert_int_equal(whole.count, clip.frames);
    int32_t shown = 0;
    for (int32_t first = 0; first < encode.count;) {
        int32_t next = first + 1;
        while (next < encode.count && !encode.packets[next].idr)
            next++;
        struct clip_decoded alone;
        clip_decode(&clip, c->codec, &encode, first, next - first, &alone);
        assert_int_equal(alone.count, next - first);
        for (int32_t i = 0; i < alone.count; i++, shown++) {
            assert_int_equal(alone.pts[i], clip.pts[shown]);
            assert_memory_equal(alone.luma[i], whole.luma[shown], (size_t)WIDTH * HEIGHT);
        }
        clip_decoded_free(&alone);
        first = next;
    }
    assert_int_equal(shown, clip.frames);
    clip_decoded_free(&whole);
    clip_encode_free(&encode);
}

void test_decode_times_rise_and_never_pass_presentation(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    for (int vary = 0; vary < 2; vary++) {
        clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 100, FRAME_TICKS);
        if (vary)
            clip_vary(&clip);
        struct hal_encode_params params = params_of(c, &clip);
        encode_ok(c, &params, &clip, &encode);
        for (int32_t i = 0; i < encode.count; i++) {
            assert_true(encode.packets[i].dts <= encode.packets[i].pts);
            if (i > 0)
                assert_true(encode.packets[i].dts > encode.packets[i - 1].dts);
        }
        clip_encode_free(&encode);
    }
}

/* The plan's reorder_ticks covers four frames (media facts, recipe 2): the i-th packet shows a frame that is not more
 * than four places earlier than the i-th frame. */
void test_reorder_depth_is_four_frames_at_most(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    const struct hal_row *row =
        hal_device_row(&c->device, c->codec, c->encoder, WIDTH, HEIGHT, NULL);
    for (int32_t bframes = -1; bframes <= 3 && bframes <= row->bframes_max; bframes++) {
        clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 100, FRAME_TICKS);
        struct hal_encode_params params = params_of(c, &clip);
        params.bframes = bframes;
        encode_ok(c, &params, &clip, &encode);
        for (int32_t i = 0; i < encode.count; i++)
            assert_true(encode.packets[i].pts / FRAME_TICKS >= i - 4);
        clip_encode_free(&encode);
    }
}

void test_parameter_sets_are_equal_in_two_sessions(void **state)
{
    struct conformance *c = *state;
    struct clip one, two;
    struct clip_encode first, second;
    clip_init(&one, CLIP_SMOOTH, WIDTH, HEIGHT, 30, FRAME_TICKS);
    clip_init(&two, CLIP_NOISE, WIDTH, HEIGHT, 7, FRAME_TICKS);
    clip_vary(&two);
    struct hal_encode_params params = params_of(c, &one);
    params.maxrate_kbps = 800;
    params.bufsize_kbit = 1600;
    encode_ok(c, &params, &one, &first);
    encode_ok(c, &params, &two, &second);
    assert_int_equal(first.extradata_bytes > 0, !c->no_parameter_sets);
    assert_int_equal(first.extradata_bytes, second.extradata_bytes);
    assert_memory_equal(first.extradata, second.extradata, first.extradata_bytes);
    static const uint8_t starts[CODEC_COUNT] = {
        [CODEC_H264] = 1, [CODEC_H265] = 1, [CODEC_AV1] = 0x81};
    if (!c->labels && !c->no_parameter_sets)
        assert_int_equal(first.extradata[0], starts[c->codec]); /* avcC, hvcC, av1C */
    clip_encode_free(&first);
    clip_encode_free(&second);
}

void test_a_single_frame_makes_a_single_packet(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 1, FRAME_TICKS);
    clip.pts[0] = 5 * FRAME_TICKS;
    struct hal_encode_params params = params_of(c, &clip);
    encode_ok(c, &params, &clip, &encode);
    packets_check(c, &clip, &encode);
    assert_true(encode.packets[0].idr);
    clip_encode_free(&encode);
}

void test_flush_without_frames_gives_nothing(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 0, FRAME_TICKS);
    struct hal_encode_params params = params_of(c, &clip);
    encode_ok(c, &params, &clip, &encode);
    assert_int_equal(encode.count, 0);
    clip_encode_free(&encode);
}

static struct hal_session *session_open(struct conformance *c, const struct clip *clip)
{
    struct hal_encode_params params = params_of(c, clip);
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    int rc = hal_encode_open(c->backends, &c->device, c->encoder, &params, &session, &why);
    if (rc < 0)
        fail_msg("%s", why.message);
    return session;
}

void test_flush_twice_is_flush_once_and_ends_the_input(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 4, FRAME_TICKS);
    struct hal_session *session = session_open(c, &clip);
    uint8_t *buffer = malloc(clip_frame_bytes(&clip));
    struct hal_frame frame;
    struct hal_packet packet;
    struct sl_failure why = {0};
    int32_t packets = 0;
    assert_int_equal(hal_encode_receive(session, &packet, &why), 0);
    for (int32_t i = 0; i < 3; i++) {
        clip_paint(&clip, i, buffer, &frame);
        assert_int_equal(hal_encode_submit(session, &frame, &why), SL_OK);
        while (hal_encode_receive(session, &packet, &why) == 1)
            packets++;
    }
    assert_int_equal(hal_encode_flush(session, &why), SL_OK);
    assert_int_equal(hal_encode_flush(session, &why), SL_OK);
    while (hal_encode_receive(session, &packet, &why) == 1)
        packets++;
    assert_int_equal(hal_encode_flush(session, &why), SL_OK);
    assert_int_equal(hal_encode_receive(session, &packet, &why), 0);
    assert_int_equal(packets, 3);
    clip_paint(&clip, 3, buffer, &frame);
    assert_int_equal(hal_encode_submit(session, &frame, &why), SL_ECONFLICT);
    free(buffer);
    hal_encode_close(&session);
    assert_null(session);
    hal_encode_close(&session);
}

void test_a_failed_open_gives_the_session_back(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 3, FRAME_TICKS);
    struct hal_encode_params params = params_of(c, &clip);
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    if (c->labels) {
        struct hal_sim_script script = hal_sim_script_default();
        script.open_code = SL_EENCODE;
        hal_sim_set(&script);
    } else {
        snprintf(params.preset, sizeof params.preset, "no-such-preset");
    }
    assert_true(hal_encode_open(c->backends, &c->device, c->encoder, &params, &session, &why) < 0);
    assert_null(session);
    assert_true(why.code < 0 && why.message[0]);
    assert_int_equal(c->device.sessions.in_use, 0);
    if (c->labels) {
        struct hal_sim_script script = hal_sim_script_default();
        hal_sim_set(&script);
    } else {
        assert_non_null(strstr(why.message, "no-such-preset"));
        params = params_of(c, &clip);
    }
    struct clip_encode encode;
    encode_ok(c, &params, &clip, &encode);
    clip_encode_free(&encode);
}

static void refused(struct conformance *c, struct hal_encode_params params, const char *says)
{
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    int rc = hal_encode_open(c->backends, &c->device, c->encoder, &params, &session, &why);
    assert_int_equal(rc, SL_EINVAL);
    assert_null(session);
    if (!strstr(why.message, says))
        fail_msg("\"%s\" does not tell about \"%s\"", why.message, says);
    assert_int_equal(c->device.sessions.in_use, 0);
}

void test_impossible_parameters_are_refused(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 1, FRAME_TICKS);
    const struct hal_encode_params good = params_of(c, &clip);
    struct hal_encode_params p;
    p = good, p.width = 191;
    refused(c, p, "191x112");
    p = good, p.height = 0;
    refused(c, p, "192x0");
    p = good, p.width = -192;
    refused(c, p, "-192");
    p = good, p.width = 1 << 20;
    refused(c, p, "1048576");
    const struct hal_row *row =
        hal_device_row(&c->device, c->codec, c->encoder, WIDTH, HEIGHT, NULL);
    for (int layout = 0; layout < HAL_LAYOUT_COUNT; layout++)
        if (!(row->layouts & 1u << layout)) {
            p = good, p.layout = (enum hal_layout)layout;
            refused(c, p, "layout");
        }
    p = good, p.time_base.den = 0;
    refused(c, p, "time base");
    p = good, p.frame_rate.num = 0;
    refused(c, p, "frame rate");
    p = good, p.crf_tenths = -1;
    refused(c, p, "quality");
    p = good, p.crf_tenths = 1000;
    refused(c, p, "quality");
    p = good, p.maxrate_kbps = 1000;
    refused(c, p, "bufsize");
    p = good, p.maxrate_kbps = p.bufsize_kbit = INT32_MAX;
    refused(c, p, "kbit");
    p = good, p.bframes = 99;
    refused(c, p, "B-frames");
    p = good, p.threads = 0;
    refused(c, p, "threads");
    struct hal_session *session = NULL;
    struct sl_failure why = {0};
    assert_int_equal(
        hal_encode_open(c->backends, &c->device, "no-such-encoder", &good, &session, &why),
        SL_ENOENCODER);
    assert_non_null(strstr(why.message, "no-such-encoder"));
}

void test_wrong_frames_are_refused(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 3, FRAME_TICKS);
    struct hal_session *session = session_open(c, &clip);
    uint8_t *buffer = malloc(clip_frame_bytes(&clip));
    struct hal_frame good, bad;
    struct sl_failure why = {0};
    clip_paint(&clip, 0, buffer, &good);
    bad = good, bad.width = WIDTH - 2;
    assert_int_equal(hal_encode_submit(session, &bad, &why), SL_EINVAL);
    bad = good, bad.layout = HAL_I420_10;
    assert_int_equal(hal_encode_submit(session, &bad, &why), SL_EINVAL);
    bad = good, bad.planes[2] = NULL;
    assert_int_equal(hal_encode_submit(session, &bad, &why), SL_EINVAL);
    bad = good, bad.stride_bytes[1] = WIDTH / 2 - 1;
    assert_int_equal(hal_encode_submit(session, &bad, &why), SL_EINVAL);
    assert_int_equal(hal_encode_submit(session, &good, &why), SL_OK);
    assert_int_equal(hal_encode_submit(session, &good, &why), SL_EINVAL); /* the same pts again */
    assert_non_null(strstr(why.message, "does not follow"));
    free(buffer);
    hal_encode_close(&session);
}

void test_maxrate_holds_over_noise(void **state)
{
    struct conformance *c = *state;
    if (c->labels) {
        print_message("labels have no rate\n");
        skip();
    }
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_NOISE, WIDTH, HEIGHT, 150, FRAME_TICKS);
    clip.idr[48] = clip.idr[96] = true;
    struct hal_encode_params params = params_of(c, &clip);
    params.maxrate_kbps = 600;
    params.bufsize_kbit = 1200;
    encode_ok(c, &params, &clip, &encode);
    packets_check(c, &clip, &encode);
    /* A decoder's buffer: filled at maxrate, emptied by each packet, full at the start. A tenth of it may be missing:
     * encoders predict sizes. Those that know no buffer say in their traits how much more. */
    double bits_per_frame = params.maxrate_kbps * 1000.0 * FRAME_TICKS / TIMESCALE;
    double full = params.bufsize_kbit * 1000.0, level = full, lowest = full;
    for (int32_t i = 0; i < encode.count; i++) {
        level -= (double)encode.packets[i].bytes * 8;
        lowest = level < lowest ? level : lowest;
        level += bits_per_frame;
        level = level > full ? full : level;
    }
    int missing_max = c->buffer_missing_percent ? c->buffer_missing_percent : 10;
    if (lowest < -full * missing_max / 100)
        fail_msg("the buffer of %.0f bits fell to %.0f", full, lowest);
    clip_encode_free(&encode);

    /* And it did something: without the cap noise takes far more. */
    params.maxrate_kbps = params.bufsize_kbit = 0;
    encode_ok(c, &params, &clip, &encode);
    double bits = 0;
    for (int32_t i = 0; i < encode.count; i++)
        bits += (double)encode.packets[i].bytes * 8;
    assert_true(bits > 2 * bits_per_frame * encode.count);
    clip_encode_free(&encode);
}

struct parallel {
    struct conformance *c;
    struct clip clip;
    struct clip_encode encode;
    int rc;
};

static void *parallel_run(void *arg)
{
    struct parallel *p = arg;
    struct hal_encode_params params = params_of(p->c, &p->clip);
    struct sl_failure why = {0};
    p->rc = clip_encode(p->c->backends, &p->c->device, p->c->encoder, &params, &p->clip, &p->encode,
                        &why);
    return NULL;
}

void test_two_sessions_run_in_parallel(void **state)
{
    struct conformance *c = *state;
    static struct parallel runs[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        runs[i] = (struct parallel){.c = c};
        clip_init(&runs[i].clip, CLIP_CUTS, WIDTH + 32 * i, HEIGHT, 100, FRAME_TICKS);
        runs[i].clip.idr[50] = true;
        assert_int_equal(pthread_create(&threads[i], NULL, parallel_run, &runs[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runs[i].rc, SL_OK);
        packets_check(c, &runs[i].clip, &runs[i].encode);
        clip_encode_free(&runs[i].encode);
    }
    assert_int_equal(c->device.sessions.in_use, 0);
}

static void pictures_check(struct conformance *c, struct clip *clip)
{
    struct clip_encode encode;
    struct hal_encode_params params = params_of(c, clip);
    encode_ok(c, &params, clip, &encode);
    packets_check(c, clip, &encode);
    struct clip_decoded decoded;
    clip_decode(clip, c->codec, &encode, 0, encode.count, &decoded);
    assert_int_equal(decoded.count, clip->frames);
    for (int32_t i = 0; i < decoded.count; i++) {
        assert_int_equal(decoded.pts[i], clip->pts[i]);
        double psnr = clip_psnr(clip, i, decoded.luma[i]);
        if (psnr < 32.0)
            fail_msg("frame %d came back at %.1f dB", i, psnr);
    }
    clip_decoded_free(&decoded);
    clip_encode_free(&encode);
}

void test_pictures_look_like_what_went_in(void **state)
{
    struct conformance *c = *state;
    if (c->labels) {
        print_message("labels hold no pictures\n");
        skip();
    }
    struct clip clip;
    clip_init(&clip, CLIP_CUTS, WIDTH, HEIGHT, 60, FRAME_TICKS);
    clip.idr[24] = true;
    pictures_check(c, &clip);
    /* Sizes that are no multiple of a macroblock. */
    clip_init(&clip, CLIP_SMOOTH, 178, 102, 20, FRAME_TICKS);
    pictures_check(c, &clip);
}

void test_ten_bit_pictures_look_like_what_went_in(void **state)
{
    struct conformance *c = *state;
    const struct hal_row *row =
        hal_device_row(&c->device, c->codec, c->encoder, WIDTH, HEIGHT, NULL);
    const uint32_t deep = 1u << HAL_I420_10 | 1u << HAL_P010;
    if (c->labels || !(row->layouts & deep)) {
        print_message("%s takes no 10-bit pictures here\n", c->encoder);
        skip();
    }
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 40, FRAME_TICKS);
    clip.layout = row->layouts & 1u << HAL_I420_10 ? HAL_I420_10 : HAL_P010;
    pictures_check(c, &clip);
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

void test_a_hundred_sessions_leave_no_memory_behind(void **state)
{
    struct conformance *c = *state;
#ifdef __SANITIZE_ADDRESS__
    print_message("this build keeps what is freed, and finds leaks by itself\n");
    skip();
#endif
    struct clip clip;
    struct clip_encode encode;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 3, FRAME_TICKS);
    struct hal_encode_params params = params_of(c, &clip);
    long before_kib = 0;
    for (int i = 0; i < 110; i++) {
        if (i == 10)
            before_kib = resident_kib();
        encode_ok(c, &params, &clip, &encode);
        clip_encode_free(&encode);
    }
    /* A session of this size has some 3 MiB; a leak of it would be 300. */
    assert_true(resident_kib() - before_kib < 32 * 1024);
}

void test_close_with_frames_inside_is_clean(void **state)
{
    struct conformance *c = *state;
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, WIDTH, HEIGHT, 20, FRAME_TICKS);
    struct hal_session *session = session_open(c, &clip);
    uint8_t *buffer = malloc(clip_frame_bytes(&clip));
    struct sl_failure why = {0};
    for (int32_t i = 0; i < clip.frames; i++) {
        struct hal_frame frame;
        clip_paint(&clip, i, buffer, &frame);
        assert_int_equal(hal_encode_submit(session, &frame, &why), SL_OK);
    }
    hal_encode_close(&session);
    free(buffer);
    assert_int_equal(c->device.sessions.in_use, 0);
}
