/* Published media, objects of leases, and uploads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
    char path[128];
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    farm_open(&world->farm);
    world->farm.options.config.daemon.upload_bytes_max = 4 << 20;
    farm_start(&world->farm);
    agent_open(&world->agent, &world->farm, 1);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    agent_close(&world->agent);
    farm_close(&world->farm);
    free(world);
    return 0;
}

static void hex_header(const void *bytes, size_t length, char header[96])
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256(bytes, length, sum);
    int used = snprintf(header, 96, "X-Sluice-Sha256: ");
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        used += snprintf(header + used, 96 - (size_t)used, "%02x", sum[i]);
}

/* ---- media ---- */

static void range_check(struct world *w, const char *range, long status, const char *body,
                        const char *content_range)
{
    struct reply reply;
    const char *headers[] = {range, NULL};
    farm_http(&w->farm, "GET", w->path, headers, NULL, 0, &reply);
    if (reply.status != status)
        fail_msg("%s: %ld", range, reply.status);
    assert_int_equal(reply.body.length, strlen(body));
    if (reply.body.length)
        assert_memory_equal(reply.body.data, body, strlen(body));
    if (content_range)
        assert_true(reply_has_header(&reply, content_range));
    assert_true(reply_has_header(&reply, "Access-Control-Allow-Origin: *"));
    reply_free(&reply);
}

static void test_media_is_served_with_ranges(void **state)
{
    struct world *w = *state;
    const char *text = "0123456789";
    assert_int_equal(
        objects_put_bytes(w->farm.objects, NULL, "published/x/1/a.t5.m4s", text, 10, true, NULL),
        SL_OK);
    strcpy(w->path, "/media/x/1/a.t5.m4s");
    range_check(w, "X-None: 1", 200, text, NULL);
    range_check(w, "Range: bytes=2-4", 206, "234", "Content-Range: bytes 2-4/10");
    range_check(w, "Range: bytes=7-", 206, "789", "Content-Range: bytes 7-9/10");
    range_check(w, "Range: bytes=-2", 206, "89", "Content-Range: bytes 8-9/10");
    range_check(w, "Range: bytes=-99", 206, text, "Content-Range: bytes 0-9/10");
    range_check(w, "Range: bytes=5-99999999999999999999", 206, "56789",
                "Content-Range: bytes 5-9/10");
    range_check(w, "Range: bytes=10-", 416, "", "Content-Range: bytes */10");
    range_check(w, "Range: bytes=-0", 416, "", "Content-Range: bytes */10");
    /* What is no single range gives the whole. */
    range_check(w, "Range: bytes=4-2", 200, text, NULL);
    range_check(w, "Range: bytes=0-1,4-5", 200, text, NULL);
    range_check(w, "Range: lines=1-2", 200, text, NULL);
    struct reply reply;
    farm_http(&w->farm, "HEAD", w->path, NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(reply_has_header(&reply, "Content-Length: 10"));
    assert_true(reply_has_header(&reply, "Content-Type: video/iso.segment"));
    assert_true(reply_has_header(&reply, "immutable"));
    char etag[64], same[96];
    const char *tag = strcasestr((char *)reply.headers.data, "\nETag: ");
    assert_non_null(tag);
    snprintf(etag, sizeof etag, "%.*s", (int)strcspn(tag + 7, "\r"), tag + 7);
    reply_free(&reply);
    /* Who has it gets no bytes; who has something else gets all of them, whatever the range. */
    snprintf(same, sizeof same, "If-None-Match: \"x\", W/%s", etag);
    range_check(w, same, 304, "", etag);
    snprintf(same, sizeof same, "If-Range: %s", etag);
    const char *ranged[] = {"Range: bytes=2-4", same, NULL};
    farm_http(&w->farm, "GET", w->path, ranged, NULL, 0, &reply);
    assert_int_equal(reply.status, 206);
    reply_free(&reply);
    ranged[1] = "If-Range: \"other\"";
    farm_http(&w->farm, "GET", w->path, ranged, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    farm_http(&w->farm, "OPTIONS", w->path, NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 204);
    reply_free(&reply);
}

static void test_media_types_and_places(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *key, *type;
    } types[] = {
        {"published/x/master.m3u8", "application/vnd.apple.mpegurl"},
        {"published/x/manifest.mpd", "application/dash+xml"},
        {"published/x/init.mp4", "video/mp4"},
        {"published/x/other", "application/octet-stream"},
    };
    struct reply reply;
    char header[96];
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        objects_put_bytes(w->farm.objects, NULL, types[i].key, "x", 1, true, NULL);
        snprintf(w->path, sizeof w->path, "/media/%s", types[i].key + strlen("published/"));
        farm_http(&w->farm, "GET", w->path, NULL, NULL, 0, &reply);
        assert_int_equal(reply.status, 200);
        snprintf(header, sizeof header, "Content-Type: %s", types[i].type);
        assert_true(reply_has_header(&reply, header));
        assert_true(reply_has_header(&reply, "Cache-Control: no-cache"));
        assert_true(reply_has_header(&reply, "ETag: \""));
        reply_free(&reply);
    }
    /* A manifest made anew has another tag. */
    char same[96];
    const char *tagged[] = {same, NULL};
    farm_http(&w->farm, "GET", "/media/x/master.m3u8", NULL, NULL, 0, &reply);
    const char *tag = strcasestr((char *)reply.headers.data, "\nETag: ");
    assert_non_null(tag);
    snprintf(same, sizeof same, "If-None-Match: %.*s", (int)strcspn(tag + 7, "\r"), tag + 7);
    reply_free(&reply);
    farm_http(&w->farm, "GET", "/media/x/master.m3u8", tagged, NULL, 0, &reply);
    assert_int_equal(reply.status, 304);
    reply_free(&reply);
    objects_put_bytes(w->farm.objects, NULL, types[0].key, "y", 1, true, NULL);
    farm_http(&w->farm, "GET", "/media/x/master.m3u8", tagged, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    /* Nothing outside published/ can be reached. */
    static const char *const outside[] = {
        "/media/../sluice.db",
        "/media/%2e%2e/sluice.db",
        "/media/x/../../sluice.db",
        "/media/..%2fsluice.db",
        "/media//etc/passwd",
        "/media/x",
        "/media/x/nope.m4s",
        "/media/x/master.m3u8/",
        "/media/\xff",
        "/media/x/./master.m3u8",
        "/media/x/%00",
        "/media/",
    };
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        farm_http(&w->farm, "GET", outside[i], NULL, NULL, 0, &reply);
        if (reply.status != 404)
            fail_msg("%s: %ld", outside[i], reply.status);
        reply_free(&reply);
    }
}

/* ---- objects ---- */

static void test_objects_are_put_once_by_their_lease(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char ticket[TICKET_BYTES + 64], sum[96], path[OBJECT_KEY_BYTES + 16], key[OBJECT_KEY_BYTES];
    farm_submit(&w->farm, w->video);
    struct agent_held *held = agent_wait(&w->agent, STEP_TRANSCODE);
    snprintf(ticket, sizeof ticket, "Authorization: Sluice-Ticket %s", held->ticket);
    objects_token_key(held->output_prefix, "h264/240p/000009.m4s", held->token.v, key, sizeof key);
    snprintf(path, sizeof path, "/objects/%s", key);
    hex_header("bytes", 5, sum);
    const char *headers[] = {ticket, sum, NULL};

    farm_http(&w->farm, "PUT", path, headers, "bytes", 5, &reply);
    assert_int_equal(reply.status, 201);
    reply_free(&reply);
    /* The same again is the same; other bytes are refused. */
    farm_http(&w->farm, "PUT", path, headers, "bytes", 5, &reply);
    assert_int_equal(reply.status, 201);
    reply_free(&reply);
    hex_header("other", 5, sum);
    farm_http(&w->farm, "PUT", path, headers, "other", 5, &reply);
    assert_int_equal(reply.status, 409);
    reply_free(&reply);
    /* Bytes that are not what was announced are not kept. */
    objects_token_key(held->output_prefix, "h264/240p/000008.m4s", held->token.v, key, sizeof key);
    snprintf(path, sizeof path, "/objects/%s", key);
    farm_http(&w->farm, "PUT", path, headers, "wrong", 5, &reply);
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr((char *)reply.body.data, "X-Sluice-Sha256"));
    reply_free(&reply);
    int64_t bytes;
    assert_int_equal(objects_size(w->farm.objects, NULL, key, &bytes, NULL), SL_ENOENT);
    const char *no_sum[] = {ticket, NULL};
    farm_http(&w->farm, "PUT", path, no_sum, "wrong", 5, &reply);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);

    /* Reading the source, a part of it, beyond it. */
    snprintf(path, sizeof path, "/objects/originals/%s/source", w->video);
    const char *part[] = {ticket, "Range: bytes=0-9", NULL};
    farm_http(&w->farm, "GET", path, part, NULL, 0, &reply);
    assert_int_equal(reply.status, 206);
    assert_int_equal(reply.body.length, 10);
    assert_memory_equal(reply.body.data, "0 no media", 10);
    reply_free(&reply);
    const char *beyond[] = {ticket, "Range: bytes=99999999-", NULL};
    farm_http(&w->farm, "GET", path, beyond, NULL, 0, &reply);
    assert_int_equal(reply.status, 416);
    reply_free(&reply);
    farm_http(&w->farm, "HEAD", path, no_sum, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);

    /* What the lease may not. */
    static const struct {
        const char *method, *path;
        long status;
    } cases[] = {
        {"GET", "/objects/sluice.db", 403},
        {"GET", "/objects/originals/v0000000000001/source", 403},
        {"PUT", "/objects/published/x/1/a.t1.m4s", 403},
        {"DELETE", "/objects/published/x/1/a.t1.m4s", 403},
        {"GET", "/objects/../sluice.db", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        farm_http(&w->farm, cases[i].method, cases[i].path, headers, "", 0, &reply);
        if (reply.status != cases[i].status)
            fail_msg("%s %s: %ld", cases[i].method, cases[i].path, reply.status);
        reply_free(&reply);
    }
    /* Overwriting the original or another token's output. */
    farm_http(&w->farm, "PUT", path, headers, "other", 5, &reply);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    snprintf(path, sizeof path, "/objects/%sh264/240p/000001.t99999.m4s", held->output_prefix);
    farm_http(&w->farm, "PUT", path, headers, "other", 5, &reply);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    /* No ticket, a forged one. */
    farm_http(&w->farm, "PUT", path, NULL, "other", 5, &reply);
    assert_int_equal(reply.status, 401);
    reply_free(&reply);
    ticket[strlen(ticket) - 3] ^= 1;
    farm_http(&w->farm, "PUT", path, headers, "other", 5, &reply);
    assert_int_equal(reply.status, 401);
    reply_free(&reply);
}

static void test_leases_of_remote_agents_delete_their_outputs(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char ticket[TICKET_BYTES + 64], path[OBJECT_KEY_BYTES + 16], key[OBJECT_KEY_BYTES];
    farm_submit(&w->farm, w->video);
    struct agent_held *held = agent_wait(&w->agent, STEP_TRANSCODE);
    snprintf(ticket, sizeof ticket, "Authorization: Sluice-Ticket %s", held->ticket);
    objects_token_key(held->output_prefix, "h264/240p/000009.m4s", held->token.v, key, sizeof key);
    snprintf(path, sizeof path, "/objects/%s", key);
    objects_put_bytes(w->farm.objects, NULL, key, "x", 1, true, NULL);
    const char *headers[] = {ticket, NULL};
    for (int i = 0; i < 2; i++) {
        farm_http(&w->farm, "DELETE", path, headers, NULL, 0, &reply);
        assert_int_equal(reply.status, 204);
        reply_free(&reply);
    }
    farm_http(&w->farm, "GET", path, headers, NULL, 0, &reply);
    assert_true(reply.status == 404 || reply.status == 403);
    reply_free(&reply);
}

/* ---- uploads ---- */

static void upload_begin(struct world *w)
{
    json_t *value = farm_json(&w->farm, "POST", "/api/v1/videos", "{\"name\":\"up.mp4\"}", 201);
    snprintf(w->video, sizeof w->video, "%s",
             json_string_value(json_object_get(value, "video_id")));
    json_decref(value);
    snprintf(w->path, sizeof w->path, "/api/v1/videos/%s/source", w->video);
}

static int64_t offset_of(struct world *w, bool *complete)
{
    json_t *value = farm_json(&w->farm, "GET", w->path, NULL, 200);
    int64_t offset = json_integer_value(json_object_get(value, "offset"));
    *complete = json_is_true(json_object_get(value, "complete"));
    json_decref(value);
    return offset;
}

static void original_check(struct world *w, const char *bytes, size_t length)
{
    char key[64], *got = malloc(length);
    size_t count = 0;
    int64_t size = 0;
    snprintf(key, sizeof key, "originals/%s/source", w->video);
    assert_int_equal(objects_size(w->farm.objects, NULL, key, &size, NULL), SL_OK);
    assert_int_equal(size, length);
    assert_int_equal(objects_get_range(w->farm.objects, NULL, key, 0, got, length, &count, NULL),
                     SL_OK);
    assert_memory_equal(got, bytes, length);
    free(got);
}

static void test_upload_in_one_piece_starts_the_video(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char sum[96];
    bool complete;
    upload_begin(w);
    assert_int_equal(offset_of(w, &complete), 0);
    assert_false(complete);
    /* Announced otherwise: refused, and nothing is kept. */
    hex_header("else", 4, sum);
    const char *wrong[] = {sum, NULL};
    farm_http(&w->farm, "PUT", w->path, wrong, "the source", 10, &reply);
    assert_int_equal(reply.status, 422);
    reply_free(&reply);
    assert_int_equal(offset_of(w, &complete), 0);
    farm_error(&w->farm, "PUT", w->path, "", 400, "invalid", "empty");
    hex_header("the source", 10, sum);
    farm_http(&w->farm, "PUT", w->path, wrong, "the source", 10, &reply);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    original_check(w, "the source", 10);
    assert_int_equal(offset_of(w, &complete), 10);
    assert_true(complete);
    farm_status_wait(&w->farm, w->video, "probing");
    /* Written once. */
    farm_error(&w->farm, "PUT", w->path, "other", 409, "conflict", "never overwritten");
    original_check(w, "the source", 10);
    agent_run(&w->agent, w->video, "ready");
    farm_error(&w->farm, "PUT", w->path, "other", 409, "conflict", "never overwritten");
    assert_int_equal(offset_of(w, &complete), 10);
    assert_true(complete);
}

static void piece_put(struct world *w, const char *bytes, size_t first, size_t last, size_t total,
                      long status)
{
    struct reply reply;
    char range[96];
    snprintf(range, sizeof range, "Content-Range: bytes %zu-%zu/%zu", first, last, total);
    const char *headers[] = {range, NULL};
    farm_http(&w->farm, "PUT", w->path, headers, bytes + first, last - first + 1, &reply);
    if (reply.status != status)
        fail_msg("%s: %ld %s", range, reply.status, (char *)reply.body.data);
    reply_free(&reply);
}

static void test_upload_goes_on_where_it_stopped_and_over_a_restart(void **state)
{
    struct world *w = *state;
    size_t total = 300000;
    char *bytes = malloc(total);
    bool complete;
    for (size_t i = 0; i < total; i++)
        bytes[i] = (char)(i * 7 + i / 1000);
    upload_begin(w);
    piece_put(w, bytes, 0, 99999, total, 200);
    assert_int_equal(offset_of(w, &complete), 100000);
    /* A piece that leaves a gap, one that was sent already. */
    piece_put(w, bytes, 150000, 199999, total, 409);
    piece_put(w, bytes, 0, 99999, total, 409);
    farm_stop(&w->farm);
    farm_start(&w->farm);
    assert_int_equal(offset_of(w, &complete), 100000);
    piece_put(w, bytes, 100000, 199999, total, 200);
    assert_int_equal(offset_of(w, &complete), 200000);
    assert_false(complete);
    piece_put(w, bytes, 200000, total - 1, total, 200);
    assert_int_equal(offset_of(w, &complete), total);
    assert_true(complete);
    original_check(w, bytes, total);
    json_t *status = farm_status(&w->farm, w->video);
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char hex[SHA256_DIGEST_LENGTH * 2 + 1];
    SHA256((unsigned char *)bytes, total, sum);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(status, "source"), "sha256")), hex);
    json_decref(status);
    free(bytes);
}

/* A piece without Content-Length: its length is only known at its end. */
static void chunked_put(struct world *w, const char *range, const char *body, long status,
                        const char *says)
{
    struct reply reply;
    const char *headers[] = {range, "Transfer-Encoding: chunked", NULL};
    farm_http(&w->farm, "PUT", w->path, headers, body, strlen(body), &reply);
    if (reply.status != status || !strstr((char *)reply.body.data, says))
        fail_msg("%s: %ld %s", range, reply.status, (char *)reply.body.data);
    reply_free(&reply);
}

static void test_pieces_are_what_their_content_range_says(void **state)
{
    struct world *w = *state;
    bool complete;
    upload_begin(w);
    chunked_put(w, "Content-Range: bytes 0-3/10", "0123456", 422, "beyond byte 3");
    assert_int_equal(offset_of(w, &complete), 0);
    chunked_put(w, "Content-Range: bytes 0-3/10", "01", 422, "names 3 as its last");
    assert_int_equal(offset_of(w, &complete), 2);
    chunked_put(w, "Content-Range: bytes 2-3/10", "23", 200, "\"offset\":4");
    /* Of another whole than the one it began as; over a restart as well. */
    farm_stop(&w->farm);
    farm_start(&w->farm);
    piece_put(w, "0123456789ab", 4, 9, 12, 409);
    piece_put(w, "01234", 4, 4, 5, 409);
    assert_int_equal(offset_of(w, &complete), 4);
    piece_put(w, "0123456789", 4, 9, 10, 200);
    assert_int_equal(offset_of(w, &complete), 10);
    assert_true(complete);
    original_check(w, "0123456789", 10);
    char path[160];
    snprintf(path, sizeof path, "%s/originals/%s/source.total", w->farm.data, w->video);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* As when the daemon had no time to take note of it: the file is there, the video does not know. */
static void orphan_make(struct world *w)
{
    char path[160];
    upload_begin(w);
    farm_error(&w->farm, "PUT", w->path, "", 400, "invalid", "empty"); /* makes the folder */
    snprintf(path, sizeof path, "%s/originals/%s/source", w->farm.data, w->video);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("the source", file);
    fclose(file);
}

static void test_a_source_that_nobody_was_told_of_is_found(void **state)
{
    struct world *w = *state;
    bool complete;
    orphan_make(w);
    farm_error(&w->farm, "PUT", w->path, "the source", 409, "conflict", "arrived whole");
    farm_status_wait(&w->farm, w->video, "probing");
    orphan_make(w);
    assert_int_equal(offset_of(w, &complete), 10);
    assert_true(complete);
    farm_status_wait(&w->farm, w->video, "probing");
    original_check(w, "the source", 10);
}

static void test_upload_that_breaks_off_keeps_what_arrived(void **state)
{
    struct world *w = *state;
    char head[256], block[50000];
    bool complete;
    memset(block, 'x', sizeof block);
    upload_begin(w);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)w->farm.http_port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    snprintf(head, sizeof head,
             "PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n", w->path);
    assert_int_equal(send(fd, head, strlen(head), 0), strlen(head));
    assert_int_equal(send(fd, block, sizeof block, 0), sizeof block);
    for (int i = 0; i < 500 && offset_of(w, &complete) < (int64_t)sizeof block; i++)
        usleep(10000);
    /* Another one at the same time is sent away. */
    farm_error(&w->farm, "PUT", w->path, "mine", 503, "busy", "under way");
    close(fd);
    usleep(100000);
    assert_int_equal(offset_of(w, &complete), sizeof block);
    assert_false(complete);
    /* Without Content-Range it starts anew. */
    struct reply reply = {0};
    for (int i = 0; i < 100 && reply.status != 200; i++) {
        reply_free(&reply);
        usleep(10000);
        farm_http(&w->farm, "PUT", w->path, NULL, "whole", 5, &reply);
    }
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    original_check(w, "whole", 5);
}

static void test_upload_over_the_limit_is_refused(void **state)
{
    struct world *w = *state;
    struct reply reply;
    size_t length = 5 << 20;
    char *bytes = calloc(1, length);
    bool complete;
    upload_begin(w);
    farm_http(&w->farm, "PUT", w->path, NULL, bytes, length, &reply);
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr((char *)reply.body.data, "daemon.upload_max"));
    reply_free(&reply);
    assert_int_equal(offset_of(w, &complete), 0);
    const char *chunked[] = {"Transfer-Encoding: chunked", NULL};
    farm_http(&w->farm, "PUT", w->path, chunked, bytes, length, &reply);
    assert_int_equal(reply.status, 413);
    reply_free(&reply);
    const char *wild[] = {"Content-Range: bytes 0-4/3", NULL};
    farm_http(&w->farm, "PUT", w->path, wild, "12345", 5, &reply);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);
    free(bytes);
    farm_submit(&w->farm, w->video);
    snprintf(w->path, sizeof w->path, "/api/v1/videos/%s/source", w->video);
    farm_error(&w->farm, "PUT", w->path, "mine", 409, "conflict", "");
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD(test_media_is_served_with_ranges),
        WORLD(test_media_types_and_places),
        WORLD(test_objects_are_put_once_by_their_lease),
        WORLD(test_leases_of_remote_agents_delete_their_outputs),
        WORLD(test_upload_in_one_piece_starts_the_video),
        WORLD(test_upload_goes_on_where_it_stopped_and_over_a_restart),
        WORLD(test_pieces_are_what_their_content_range_says),
        WORLD(test_a_source_that_nobody_was_told_of_is_found),
        WORLD(test_upload_that_breaks_off_keeps_what_arrived),
        WORLD(test_upload_over_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
