#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/time.h"
#include "tests/wire/wire_random.h"

#define ROUNDS     40

/* Values are made in zeroed memory and decoded into zeroed memory, so that whole structs compare;
 * what a struct points to compares apart. */
#define SAME(a, b) assert_memory_equal(&(a), &(b), sizeof(a))
#define SAME_ARRAY(a, b, count)                                                                    \
    if ((count) > 0)                                                                               \
    assert_memory_equal((a), (b), (size_t)(count) * sizeof *(a))

/* Pointers differ; once what they lead to has been compared, the copy takes the original's. */
#define SAME_POINTED(to, from, member, count)                                                      \
    do {                                                                                           \
        SAME_ARRAY((to).member, (from).member, count);                                             \
        (to).member = (from).member;                                                               \
    } while (0)

static void request_same(struct sync_request *back, const struct sync_request *sent)
{
    assert_int_equal(back->held_count, sent->held_count);
    for (int i = 0; i < sent->held_count; i++) {
        assert_int_equal(back->held[i].report_bytes, sent->held[i].report_bytes);
        SAME_POINTED(back->held[i], sent->held[i], report, sent->held[i].report_bytes);
    }
    SAME_POINTED(*back, *sent, held, sent->held_count);
    SAME(*back, *sent);
}

static void answer_same(struct sync_answer *back, const struct sync_answer *sent)
{
    assert_int_equal(back->grant_count, sent->grant_count);
    for (int i = 0; i < sent->grant_count; i++) {
        struct sync_grant *to = &back->grants[i];
        const struct sync_grant *from = &sent->grants[i];
        assert_int_equal(to->job_bytes, from->job_bytes);
        assert_int_equal(to->input_count, from->input_count);
        SAME_POINTED(*to, *from, job, from->job_bytes);
        SAME_POINTED(*to, *from, inputs, from->input_count);
    }
    SAME_POINTED(*back, *sent, grants, sent->grant_count);
    assert_int_equal(back->verdict_count, sent->verdict_count);
    SAME_POINTED(*back, *sent, verdicts, sent->verdict_count);
    SAME(*back, *sent);
}

static void job_same(struct job *back, const struct job *sent)
{
    if (sent->step == STEP_TRANSCODE) {
        assert_int_equal(back->transcode.segment_count, sent->transcode.segment_count);
        assert_int_equal(back->transcode.rung_count, sent->transcode.rung_count);
        SAME_POINTED(back->transcode, sent->transcode, segments, sent->transcode.segment_count);
        SAME_POINTED(back->transcode, sent->transcode, rungs, sent->transcode.rung_count);
    } else if (sent->step == STEP_AUDIO) {
        assert_int_equal(back->audio.boundary_count, sent->audio.boundary_count);
        SAME_POINTED(back->audio, sent->audio, boundary_ticks, sent->audio.boundary_count);
    } else if (sent->step == STEP_SUBTITLES) {
        SAME_POINTED(back->text, sent->text, boundary_ticks, sent->text.boundary_count);
    } else if (sent->step == STEP_IMAGES) {
        SAME_POINTED(back->images.images, sent->images.images, stills,
                     sent->images.images.still_count);
    } else if (sent->step == STEP_VERIFY) {
        assert_int_equal(back->verify.sample_count, sent->verify.sample_count);
        SAME_POINTED(back->verify, sent->verify, samples, sent->verify.sample_count);
    }
    SAME(*back, *sent);
}

static void info_same(struct media_info *back, const struct media_info *sent)
{
    SAME_POINTED(*back, *sent, texts, sent->text_count);
    SAME_POINTED(*back, *sent, chapters, sent->chapter_count);
    SAME(*back, *sent);
}

static void report_same(struct report *back, const struct report *sent)
{
    assert_int_equal(back->output_count, sent->output_count);
    SAME_POINTED(*back, *sent, outputs, sent->output_count);
    assert_int_equal(back->rendition_count, sent->rendition_count);
    for (int i = 0; i < sent->rendition_count; i++) {
        assert_int_equal(back->renditions[i].segment_count, sent->renditions[i].segment_count);
        SAME_POINTED(back->renditions[i], sent->renditions[i], segments,
                     sent->renditions[i].segment_count);
    }
    SAME_POINTED(*back, *sent, renditions, sent->rendition_count);
    if (sent->step == STEP_PROBE)
        info_same(&back->probe.info, &sent->probe.info);
    SAME(*back, *sent);
}

static void plan_same(struct plan *back, const struct plan *sent)
{
    assert_int_equal(back->rung_count, sent->rung_count);
    assert_int_equal(back->audio_count, sent->audio_count);
    assert_int_equal(back->segment_count, sent->segment_count);
    assert_int_equal(back->chunk_count, sent->chunk_count);
    SAME_POINTED(*back, *sent, rungs, sent->rung_count);
    assert_int_equal(back->source_count, sent->source_count);
    SAME_POINTED(*back, *sent, sources, sent->source_count);
    SAME_POINTED(*back, *sent, audio, sent->audio_count);
    SAME_POINTED(*back, *sent, segments, sent->segment_count);
    SAME_POINTED(*back, *sent, chunks, sent->chunk_count);
    SAME_POINTED(*back, *sent, texts, sent->text_count);
    SAME_POINTED(back->images, sent->images, stills, sent->images.still_count);
    SAME_POINTED(*back, *sent, chapters, sent->chapter_count);
    SAME(*back, *sent);
}

static void published_same(struct published_set *back, const struct published_set *sent)
{
    assert_int_equal(back->rendition_count, sent->rendition_count);
    for (int i = 0; i < sent->rendition_count; i++) {
        assert_int_equal(back->renditions[i].segment_count, sent->renditions[i].segment_count);
        SAME_POINTED(back->renditions[i], sent->renditions[i], segments,
                     sent->renditions[i].segment_count);
    }
    SAME_POINTED(*back, *sent, renditions, sent->rendition_count);
    for (int i = 0; i < sent->text_count; i++)
        SAME_POINTED(back->texts[i], sent->texts[i], segments, sent->texts[i].segment_count);
    SAME_POINTED(*back, *sent, texts, sent->text_count);
    SAME_POINTED(*back, *sent, chapters, sent->chapter_count);
    SAME(*back, *sent);
}

static void index_same(struct media_index *back, const struct media_index *sent)
{
    assert_int_equal(back->count, sent->count);
    SAME_POINTED(*back, *sent, pts, sent->count);
    SAME_POINTED(*back, *sent, key, sent->count);
    SAME_POINTED(*back, *sent, byte_offset, sent->count);
    SAME_POINTED(*back, *sent, byte_length, sent->count);
    SAME(*back, *sent);
}

/* ---- one row per message, so that every attack below meets every message ---- */

union value {
    struct sync_request request;
    struct sync_answer answer;
    struct job job;
    struct report report;
    struct media_index index;
    struct media_info info;
    struct plan plan;
    struct published_set published;
};

static const enum step steps[] = {STEP_PROBE,  STEP_TRANSCODE, STEP_AUDIO, STEP_SUBTITLES,
                                  STEP_IMAGES, STEP_PACKAGE,   STEP_VERIFY};

static enum step random_step(struct random *r)
{
    return steps[random_below(r, sizeof steps / sizeof steps[0])];
}

/* clang-format off */
static void make_request(struct random *r, union value *v) { random_request(r, &v->request); }
static void make_answer(struct random *r, union value *v) { random_answer(r, &v->answer); }
static void make_job(struct random *r, union value *v) { random_job(r, random_step(r), &v->job); }
static void make_report(struct random *r, union value *v) { random_report(r, random_step(r), &v->report); }
static void make_index(struct random *r, union value *v) { random_index(r, random_below(r, 200), &v->index); }
static void make_info(struct random *r, union value *v) { random_info(r, &v->info); }
static void make_plan(struct random *r, union value *v) { random_plan(r, &v->plan); }
static void make_published(struct random *r, union value *v) { random_published(r, &v->published); }

static int put_request(const union value *v, struct sl_buf *b) { return wire_request_encode(&v->request, b); }
static int put_answer(const union value *v, struct sl_buf *b) { return wire_answer_encode(&v->answer, b); }
static int put_job(const union value *v, struct sl_buf *b) { return wire_job_encode(&v->job, b); }
static int put_report(const union value *v, struct sl_buf *b) { return wire_report_encode(&v->report, b); }
static int put_index(const union value *v, struct sl_buf *b) { return wire_index_encode(&v->index, b); }
static int put_info(const union value *v, struct sl_buf *b) { return wire_info_encode(&v->info, b); }
static int put_plan(const union value *v, struct sl_buf *b) { return wire_plan_encode(&v->plan, b); }
static int put_published(const union value *v, struct sl_buf *b) { return wire_published_encode(&v->published, b); }

#define GET(what, member)                                                                           \
    static int get_##what(const void *p, size_t n, struct sl_arena *a, union value *v, struct sl_failure *why) \
    { return wire_##what##_decode(p, n, a, &v->member, why); }
GET(request, request)
GET(answer, answer)
GET(job, job)
GET(report, report)
GET(index, index)
GET(plan, plan)
GET(published, published)
static int get_info(const void *p, size_t n, struct sl_arena *a, union value *v, struct sl_failure *why)
{ return wire_info_decode(p, n, a, &v->info, why); }

static void same_request(union value *b, const union value *s) { request_same(&b->request, &s->request); }
static void same_answer(union value *b, const union value *s) { answer_same(&b->answer, &s->answer); }
static void same_job(union value *b, const union value *s) { job_same(&b->job, &s->job); }
static void same_report(union value *b, const union value *s) { report_same(&b->report, &s->report); }
static void same_index(union value *b, const union value *s) { index_same(&b->index, &s->index); }
static void same_info(union value *b, const union value *s) { info_same(&b->info, &s->info); }
static void same_plan(union value *b, const union value *s) { plan_same(&b->plan, &s->plan); }
static void same_published(union value *b, const union value *s) { published_same(&b->published, &s->published); }
/* clang-format on */

static const struct message {
    const char *name;
    void (*make)(struct random *r, union value *v);
    int (*put)(const union value *v, struct sl_buf *b);
    int (*get)(const void *p, size_t n, struct sl_arena *a, union value *v, struct sl_failure *why);
    void (*same)(union value *back, const union value *sent);
} messages[] = {
#define ROW(what)                                                                                  \
    {                                                                                              \
#what, make_##what, put_##what, get_##what, same_##what                                    \
    }
    ROW(request), ROW(answer), ROW(job),  ROW(report),
    ROW(index),   ROW(info),   ROW(plan), ROW(published),
};
#define MESSAGE_COUNT (sizeof messages / sizeof messages[0])

static void test_every_message_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    struct random r = random_start();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t m = 0; m < MESSAGE_COUNT; m++) {
            static union value sent, back;
            memset(&sent, 0, sizeof sent);
            memset(&back, 0, sizeof back);
            messages[m].make(&r, &sent);
            struct sl_buf bytes = {0};
            struct sl_arena arena = {0};
            struct sl_failure why = {0};
            assert_int_equal(messages[m].put(&sent, &bytes), SL_OK);
            int code = messages[m].get(bytes.data, bytes.length, &arena, &back, &why);
            if (code)
                fail_msg("%s: %s", messages[m].name, why.message);
            messages[m].same(&back, &sent);
            sl_buf_fini(&bytes);
            sl_arena_fini(&arena);
        }
        sl_arena_reset(&r.arena);
    }
    sl_arena_fini(&r.arena);
}

/* Whatever the bytes, decoding ends, within its memory, with success or a named failure. */
static void attack(const struct message *m, const unsigned char *bytes, size_t length)
{
    /* A copy of exact size, so that a sanitizer sees a read past the end. */
    unsigned char *copy = malloc(length ? length : 1);
    if (length)
        memcpy(copy, bytes, length);
    static union value out;
    struct sl_arena arena = {.limit_bytes = 64 * 1024 * 1024};
    struct sl_failure why = {0};
    int code = m->get(copy, length, &arena, &out, &why);
    if (code) {
        assert_true(code == SL_EPROTO || code == SL_EVERSION || code == SL_ENOMEM);
        assert_int_equal(why.code, code);
        assert_true(why.message[0] != '\0');
    }
    sl_arena_fini(&arena);
    free(copy);
}

static void test_truncation_at_each_byte_is_harmless(void **state)
{
    (void)state;
    struct random r = random_start();
    for (size_t m = 0; m < MESSAGE_COUNT; m++) {
        static union value sent;
        memset(&sent, 0, sizeof sent);
        messages[m].make(&r, &sent);
        struct sl_buf bytes = {0};
        assert_int_equal(messages[m].put(&sent, &bytes), SL_OK);
        size_t step = 1 + bytes.length / 4000;
        for (size_t length = 0; length < bytes.length; length += step)
            attack(&messages[m], bytes.data, length);
        sl_buf_fini(&bytes);
    }
    sl_arena_fini(&r.arena);
}

static void test_flipped_bits_are_harmless(void **state)
{
    (void)state;
    struct random r = random_start();
    for (size_t m = 0; m < MESSAGE_COUNT; m++) {
        static union value sent;
        memset(&sent, 0, sizeof sent);
        messages[m].make(&r, &sent);
        struct sl_buf bytes = {0};
        assert_int_equal(messages[m].put(&sent, &bytes), SL_OK);
        for (int i = 0; i < 1500 && bytes.length; i++) {
            size_t at = random_below(&r, bytes.length);
            unsigned char before = bytes.data[at];
            bytes.data[at] ^= (unsigned char)(1u << random_below(&r, 8));
            attack(&messages[m], bytes.data, bytes.length);
            bytes.data[at] = before;
        }
        sl_buf_fini(&bytes);
    }
    sl_arena_fini(&r.arena);
}

static void test_random_bytes_are_harmless(void **state)
{
    (void)state;
    struct random r = random_start();
    for (int i = 0; i < 3000; i++) {
        size_t length = random_below(&r, 400);
        const uint8_t *bytes = random_bytes(&r, length);
        for (size_t m = 0; m < MESSAGE_COUNT; m++)
            attack(&messages[m], bytes, length);
        sl_arena_reset(&r.arena);
    }
    sl_arena_fini(&r.arena);
}

/* ---- bounds ---- */

static void refused(int code, const struct sl_failure *why, const char *word)
{
    assert_int_equal(code, SL_EPROTO);
    if (!strstr(why->message, word))
        fail_msg("\"%s\" does not name %s", why->message, word);
}

static void test_few_bytes_cannot_ask_for_much_memory(void **state)
{
    (void)state;
    /* 300,000 empty rungs in a plan of 600 kB would unpack to 40 MB and more. */
    struct sl_buf bytes = {0};
    for (int i = 0; i < 300000; i++)
        sl_buf_append(&bytes, "\x5a\x00", 2); /* member 11, length 0 */
    struct sl_arena arena = {0};
    struct plan plan;
    struct sl_failure why = {0};
    refused(wire_plan_decode(bytes.data, bytes.length, &arena, &plan, &why), &why, "plan");
    assert_true(arena.used_bytes < 1024 * 1024);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

static void test_another_version_is_named(void **state)
{
    (void)state;
    struct sync_request request = {.version = SYNC_VERSION + 1};
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    struct sl_failure why = {0};
    assert_int_equal(wire_request_encode(&request, &bytes), SL_OK);
    assert_int_equal(wire_request_decode(bytes.data, bytes.length, &arena, &request, &why),
                     SL_EVERSION);
    assert_non_null(strstr(why.message, "version 2"));
    sl_buf_reset(&bytes);
    struct sync_answer answer = {.version = 0};
    assert_int_equal(wire_answer_encode(&answer, &bytes), SL_OK);
    assert_int_equal(wire_answer_decode(bytes.data, bytes.length, &arena, &answer, &why),
                     SL_EVERSION);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

static void test_members_of_a_newer_release_are_ignored(void **state)
{
    (void)state;
    struct sync_request request = {.version = SYNC_VERSION, .seq = 7}, back;
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    assert_int_equal(wire_request_encode(&request, &bytes), SL_OK);
    sl_buf_append(&bytes, "\xfa\x07\x03new", 6); /* member 127, three bytes */
    assert_int_equal(wire_request_decode(bytes.data, bytes.length, &arena, &back, NULL), SL_OK);
    assert_int_equal(back.seq, 7);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

static void test_more_than_the_maximum_is_refused_on_both_sides(void **state)
{
    (void)state;
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    struct sl_failure why = {0};
    struct sync_held *held = calloc(SYNC_HELD_MAX + 1, sizeof *held);
    struct sync_request request = {.version = SYNC_VERSION, .held = held};
    request.held_count = SYNC_HELD_MAX + 1;
    assert_int_equal(wire_request_encode(&request, &bytes), SL_ELIMIT);

    /* The same by a sender that does not check, byte by byte: version is member 1, held 12. */
    sl_buf_append(&bytes, "\x08\x01", 2);
    for (int i = 0; i < SYNC_HELD_MAX; i++)
        sl_buf_append(&bytes, "\x62\x02\x08\x01", 4); /* token 1 */
    assert_int_equal(wire_request_decode(bytes.data, bytes.length, &arena, &request, &why), SL_OK);
    sl_buf_append(&bytes, "\x62\x02\x08\x01", 4);
    refused(wire_request_decode(bytes.data, bytes.length, &arena, &request, &why), &why, "held");

    /* Texts without room are an error, not a truncation: node_name is member 3. */
    for (int length = NODE_NAME_BYTES - 1; length <= NODE_NAME_BYTES; length++) {
        unsigned char head[] = {0x08, 0x01, 0x1a, (unsigned char)length};
        sl_buf_reset(&bytes);
        sl_buf_append(&bytes, head, sizeof head);
        for (int i = 0; i < length; i++)
            sl_buf_append(&bytes, "n", 1);
        int code = wire_request_decode(bytes.data, bytes.length, &arena, &request, &why);
        if (length < NODE_NAME_BYTES)
            assert_int_equal(code, SL_OK);
        else
            refused(code, &why, "node_name");
    }

    /* Enumerations stay in their range: a held's state is its member 4. */
    unsigned char held_state[] = {0x08, 0x01, 0x62, 0x04, 0x08, 0x01, 0x20, HELD_STATE_COUNT};
    refused(wire_request_decode(held_state, sizeof held_state, &arena, &request, &why), &why,
            "state");

    unsigned char *large = calloc(1, SYNC_BYTES_MAX + 1);
    assert_int_equal(wire_request_decode(large, SYNC_BYTES_MAX + 1, &arena, &request, &why),
                     SL_EPROTO);
    free(large);
    free(held);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

static void test_a_report_points_only_at_its_own_outputs(void **state)
{
    (void)state;
    struct report_output output = {.name = "a"};
    struct report_segment segment = {.output = 1};
    struct report_rendition rendition = {
        .init_output = -1, .segments = &segment, .segment_count = 1};
    struct report report = {.step = STEP_TRANSCODE,
                            .outputs = &output,
                            .output_count = 1,
                            .renditions = &rendition,
                            .rendition_count = 1};
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    struct sl_failure why = {0};
    struct report back;
    assert_int_equal(wire_report_encode(&report, &bytes), SL_OK);
    refused(wire_report_decode(bytes.data, bytes.length, &arena, &back, &why), &why, "output");
    sl_buf_reset(&bytes);
    segment.output = 0;
    rendition.init_output = 1;
    assert_int_equal(wire_report_encode(&report, &bytes), SL_OK);
    refused(wire_report_decode(bytes.data, bytes.length, &arena, &back, &why), &why, "init_output");
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

/* Design section 6: a ten-hour video must finish like a short one; audio is one lease over all of it. */
static void test_the_audio_report_of_ten_hours_fits(void **state)
{
    (void)state;
    enum { SEGMENTS = 6000 };
    struct random r = random_start();
    struct report report = {.step = STEP_AUDIO, .output_count = SEGMENTS + 1, .rendition_count = 1};
    report.outputs = sl_arena_array(&r.arena, SEGMENTS + 1, sizeof *report.outputs);
    report.renditions = sl_arena_array(&r.arena, 1, sizeof *report.renditions);
    struct report_rendition *rendition = report.renditions;
    rendition->segments = sl_arena_array(&r.arena, SEGMENTS, sizeof *rendition->segments);
    rendition->segment_count = SEGMENTS;
    for (int i = 0; i <= SEGMENTS; i++) {
        struct report_output *output = &report.outputs[i];
        snprintf(output->name, sizeof output->name, "audio/aac-128/%06d.m4s", i);
        snprintf(output->key, sizeof output->key, "audio/aac-128/%06d.t123456789.m4s", i);
        output->bytes = 90000 + (int64_t)random_below(&r, 10000);
        memcpy(output->sha256, random_bytes(&r, SHA256_BYTES), SHA256_BYTES);
    }
    for (int i = 0; i < SEGMENTS; i++)
        rendition->segments[i] = (struct report_segment){
            i,    281, i * INT64_C(288000), (i + 1) * INT64_C(288000), i * INT64_C(288000) + 287000,
            i + 1};
    struct sl_buf bytes = {0};
    assert_int_equal(wire_report_encode(&report, &bytes), SL_OK);
    print_message("6,000 audio segments: %zu bytes of at most %d\n", bytes.length,
                  REPORT_BYTES_MAX);
    struct sl_arena arena = {0};
    struct report back;
    memset(&back, 0, sizeof back);
    assert_int_equal(wire_report_decode(bytes.data, bytes.length, &arena, &back, NULL), SL_OK);
    report_same(&back, &report);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
    sl_arena_fini(&r.arena);
}

static void test_the_index_of_ten_hours_is_small_and_exact(void **state)
{
    (void)state;
    enum { ROWS = 2160000 }; /* ten hours at 60 Hz */
    struct random r = random_start();
    struct media_index index = {0}, back;
    random_index(&r, ROWS, &index);
    int64_t at = 48;
    for (size_t i = 0; i < ROWS; i++) {
        index.pts[i] = (int64_t)i * 1500;
        index.byte_length[i] = (int32_t)(2000 + random_below(&r, 20000));
        index.byte_offset[i] = at;
        at += index.byte_length[i];
    }
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    int64_t start_ns = sl_now_ns();
    assert_int_equal(wire_index_encode(&index, &bytes), SL_OK);
    int64_t encoded_ns = sl_now_ns();
    memset(&back, 0, sizeof back);
    assert_int_equal(wire_index_decode(bytes.data, bytes.length, &arena, &back, NULL), SL_OK);
    print_message("%d rows: %.1f MB, encoded in %.0f ms, decoded in %.0f ms\n", ROWS,
                  (double)bytes.length / 1e6, (double)(encoded_ns - start_ns) / 1e6,
                  (double)(sl_now_ns() - encoded_ns) / 1e6);
    index_same(&back, &index);
    assert_true(bytes.length < 16 * 1024 * 1024);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
    sl_arena_fini(&r.arena);
}

static void test_an_index_that_goes_back_in_time_is_refused(void **state)
{
    (void)state;
    int64_t pts[2] = {10, 10}, offset[2] = {0, 5};
    int32_t length[2] = {5, 5};
    uint8_t key[2] = {1, 0};
    struct media_index index = {{1, 90000}, 20, 2, pts, key, offset, length}, back;
    struct sl_buf bytes = {0};
    struct sl_arena arena = {0};
    struct sl_failure why = {0};
    assert_int_equal(wire_index_encode(&index, &bytes), SL_OK);
    refused(wire_index_decode(bytes.data, bytes.length, &arena, &back, &why), &why, "pts");
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
}

static void test_decoding_without_memory_says_so(void **state)
{
    (void)state;
    struct random r = random_start();
    struct plan plan = {0}, back;
    random_plan(&r, &plan);
    struct sl_buf bytes = {0};
    struct sl_arena arena = {.limit_bytes = 64};
    struct sl_failure why = {0};
    assert_int_equal(wire_plan_encode(&plan, &bytes), SL_OK);
    assert_int_equal(wire_plan_decode(bytes.data, bytes.length, &arena, &back, &why), SL_ENOMEM);
    sl_buf_fini(&bytes);
    sl_arena_fini(&arena);
    sl_arena_fini(&r.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_comes_back_as_it_was_sent),
        cmocka_unit_test(test_truncation_at_each_byte_is_harmless),
        cmocka_unit_test(test_flipped_bits_are_harmless),
        cmocka_unit_test(test_random_bytes_are_harmless),
        cmocka_unit_test(test_few_bytes_cannot_ask_for_much_memory),
        cmocka_unit_test(test_another_version_is_named),
        cmocka_unit_test(test_members_of_a_newer_release_are_ignored),
        cmocka_unit_test(test_more_than_the_maximum_is_refused_on_both_sides),
        cmocka_unit_test(test_a_report_points_only_at_its_own_outputs),
        cmocka_unit_test(test_the_audio_report_of_ten_hours_fits),
        cmocka_unit_test(test_the_index_of_ten_hours_is_small_and_exact),
        cmocka_unit_test(test_an_index_that_goes_back_in_time_is_refused),
        cmocka_unit_test(test_decoding_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
