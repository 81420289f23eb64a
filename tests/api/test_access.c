/* Who may what, and what one client may take: tokens, sessions, other origins, rates, slow connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "scheduler/daemon/daemon_internal.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct config_api *api;
    char tokens[128];
};

/* Tokens are asked for on this machine too, so that tests need no other. Nothing runs yet. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    farm_open(&w->farm);
    w->api = &w->farm.options.config.daemon.api;
    snprintf(w->tokens, sizeof w->tokens, "%s/tokens", w->farm.folder);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    farm_close(&w->farm);
    free(w);
    return 0;
}

static void token_line(FILE *file, const char *name, const char *scopes, const char *token,
                       const char *expiry)
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token, strlen(token), sum);
    fprintf(file, "%s %s sha256:", name, scopes);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        fprintf(file, "%02x", sum[i]);
    fprintf(file, " %s\n", expiry);
}

static void tokens_write(struct world *w)
{
    FILE *file = fopen(w->tokens, "w");
    assert_non_null(file);
    fputs("# who may what\n\n", file);
    token_line(file, "reader", "read", "read-token", "");
    token_line(file, "studio", "submit,read", "submit-token", "2190-01-01");
    token_line(file, "ops", "operate", "operate-token", "# on call");
    token_line(file, "boss", "admin", "admin-token", "");
    token_line(file, "gone", "admin", "expired-token", "2020-01-01T00:00:00Z");
    fclose(file);
    chmod(w->tokens, 0600);
    strcpy(w->api->tokens_file, w->tokens);
    w->api->tokens_on_loopback = true;
}

/* With "Authorization: Bearer TOKEN" unless NULL; the reply is the caller's to free. */
static void ask(struct world *w, const char *token, const char *method, const char *path,
                struct reply *reply)
{
    char bearer[128];
    const char *headers[] = {bearer, NULL};
    snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", token ? token : "");
    farm_http(&w->farm, method, path, token ? headers : NULL,
              strcmp(method, "GET") == 0 ? NULL : "", 0, reply);
}

static long status_of(struct world *w, const char *token, const char *method, const char *path)
{
    struct reply reply;
    ask(w, token, method, path, &reply);
    reply_free(&reply);
    return reply.status;
}

/* ---- tokens ---- */

static void test_tokens_open_what_their_scopes_name(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method, *path;
        const char *allowed, *refused; /* by comma */
    } cases[] = {
        {"GET", "/api/v1/videos", "read submit admin", "operate"},
        {"GET", "/metrics", "read admin", "operate"},
        {"POST", "/api/v1/videos", "submit admin", "read operate"},
        {"POST", "/api/v1/nodes/nobody/drain", "operate admin", "read submit"},
        {"POST", "/api/v1/videos/v0cmyh4af51zfg/cancel", "operate admin", "read submit"},
        {"DELETE", "/api/v1/videos/v0cmyh4af51zfg", "admin", "read submit operate"},
        {"GET", "/media/x/y.m3u8", "read admin", "operate"},
    };
    tokens_write(w);
    farm_start(&w->farm);
    static const char *const scopes[] = {"read", "submit", "operate", "admin"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(status_of(w, NULL, cases[i].method, cases[i].path), 401);
        assert_int_equal(status_of(w, "expired-token", cases[i].method, cases[i].path), 401);
        assert_int_equal(status_of(w, "read-tokem", cases[i].method, cases[i].path), 401);
        for (size_t k = 0; k < 4; k++) {
            char token[32];
            snprintf(token, sizeof token, "%s-token", scopes[k]);
            long status = status_of(w, token, cases[i].method, cases[i].path);
            bool refused = strstr(cases[i].refused, scopes[k]) != NULL;
            if (refused != (status == 403) || status == 401)
                fail_msg("%s %s with %s: %ld", cases[i].method, cases[i].path, scopes[k], status);
        }
    }
    /* What is open stays open. */
    assert_int_equal(status_of(w, NULL, "GET", "/healthz"), 200);
    assert_int_equal(status_of(w, NULL, "GET", "/api/v1/openapi.json"), 200);
    struct reply reply;
    ask(w, NULL, "GET", "/api/v1/videos", &reply);
    assert_true(reply_has_header(&reply, "WWW-Authenticate: Bearer realm=\"sluice\"\r\n"));
    assert_non_null(strstr((char *)reply.body.data, "sluice token new"));
    reply_free(&reply);
    ask(w, "wrong", "GET", "/api/v1/videos", &reply);
    assert_true(reply_has_header(&reply, "error=\"invalid_token\""));
    reply_free(&reply);
    ask(w, "read-token", "POST", "/api/v1/videos", &reply);
    assert_true(reply_has_header(&reply, "error=\"insufficient_scope\", scope=\"submit\""));
    reply_free(&reply);
}

static void test_paths_of_the_daemons_machine_are_for_admins(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char body[160];
    const char *submit[] = {"Authorization: Bearer submit-token", NULL};
    const char *admin[] = {"Authorization: Bearer admin-token", NULL};
    tokens_write(w);
    farm_start(&w->farm);
    snprintf(body, sizeof body, "{\"path\":\"%s\"}", w->farm.source);
    farm_http(&w->farm, "POST", "/api/v1/videos", submit, body, strlen(body), &reply);
    assert_int_equal(reply.status, 403);
    assert_non_null(strstr((char *)reply.body.data, "upload the source instead"));
    reply_free(&reply);
    farm_http(&w->farm, "POST", "/api/v1/videos", admin, body, strlen(body), &reply);
    assert_int_equal(reply.status, 201);
    reply_free(&reply);
}

static void test_the_file_is_followed_and_mistakes_let_nobody_in(void **state)
{
    struct world *w = *state;
    tokens_write(w);
    farm_start(&w->farm);
    assert_int_equal(status_of(w, "admin-token", "GET", "/api/v1/videos"), 200);
    FILE *file = fopen(w->tokens, "w");
    fputs("boss everything sha256:00\n", file);
    token_line(file, "new", "read", "new-token", "");
    fclose(file);
    usleep(1200000); /* it is looked at once a second */
    assert_int_equal(status_of(w, "new-token", "GET", "/api/v1/videos"), 200);
    assert_int_equal(status_of(w, "admin-token", "GET", "/api/v1/videos"), 401);
    unlink(w->tokens);
    usleep(1200000);
    assert_int_equal(status_of(w, "new-token", "GET", "/api/v1/videos"), 401);
}

static void test_a_file_with_mistakes_is_no_start(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"one read\n", "tokens:1: a line is NAME SCOPES"},
        {"\none read sha256:12\n", "tokens:2: the third word"},
        {"one write sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000\n",
         "scopes are read"},
        {"one read sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000 soon\n",
         "the expiry is a time"},
    };
    struct sl_failure why = {0};
    tokens_write(w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FILE *file = fopen(w->tokens, "w");
        fputs(cases[i].line, file);
        fclose(file);
        assert_int_equal(daemon_open(&w->farm.options, &w->farm.daemon, &why), SL_EINVAL);
        if (!strstr(why.message, cases[i].says))
            fail_msg("%s", why.message);
    }
    chmod(w->tokens, 0666);
    assert_int_equal(daemon_open(&w->farm.options, &w->farm.daemon, &why), SL_EINVAL);
    assert_non_null(strstr(why.message, "chmod"));
    unlink(w->tokens);
    assert_int_equal(daemon_open(&w->farm.options, &w->farm.daemon, &why), SL_ENOENT);
}

/* ---- sessions ---- */

/* "Cookie: sluice_session=…" out of the answer. */
static void session_begin(struct world *w, const char *token, char cookie[320])
{
    struct reply reply;
    ask(w, token, "POST", "/api/v1/session", &reply);
    assert_int_equal(reply.status, 200);
    assert_true(reply_has_header(&reply, "HttpOnly; SameSite=Strict; Max-Age="));
    const char *set = strcasestr((char *)reply.headers.data, "Set-Cookie: ");
    assert_non_null(set);
    set += strlen("Set-Cookie: ");
    snprintf(cookie, 320, "Cookie: %.*s", (int)strcspn(set, ";"), set);
    reply_free(&reply);
}

static long status_with(struct world *w, const char *method, const char *path, const char *first,
                        const char *second)
{
    struct reply reply;
    const char *headers[] = {first, second, NULL};
    farm_http(&w->farm, method, path, headers, strcmp(method, "GET") == 0 ? NULL : "", 0, &reply);
    reply_free(&reply);
    return reply.status;
}

static void test_a_session_stands_for_its_token(void **state)
{
    struct world *w = *state;
    char cookie[320], forged[320], own[64];
    tokens_write(w);
    farm_start(&w->farm);
    session_begin(w, "submit-token", cookie);
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", cookie, NULL), 200);
    assert_int_equal(status_with(w, "GET", "/media/x/y", cookie, NULL), 404);
    /* Changes only from pages of our own. */
    snprintf(own, sizeof own, "Origin: http://127.0.0.1:%d", w->farm.http_port);
    assert_int_equal(status_with(w, "POST", "/api/v1/videos", cookie, NULL), 403);
    assert_int_equal(status_with(w, "POST", "/api/v1/videos", cookie, own), 201);
    assert_int_equal(
        status_with(w, "POST", "/api/v1/videos", cookie, "Sec-Fetch-Site: same-origin"), 201);
    assert_int_equal(status_with(w, "POST", "/api/v1/videos", cookie, "Sec-Fetch-Site: cross-site"),
                     403);
    assert_int_equal(
        status_with(w, "POST", "/api/v1/videos", cookie, "Origin: http://evil.example"), 403);
    assert_int_equal(status_with(w, "POST", "/api/v1/videos", cookie, "Origin: null"), 403);
    /* It has its token's scopes, and cannot be forged: neither its sum, nor its time, nor its token. */
    assert_int_equal(status_with(w, "DELETE", "/api/v1/videos/v0cmyh4af51zfg", cookie, own), 403);
    for (size_t at = strlen("Cookie: sluice_session=s1."); cookie[at]; at += 7) {
        strcpy(forged, cookie);
        forged[at] = forged[at] == '1' ? '2' : '1';
        if (strcmp(forged, cookie) != 0 &&
            status_with(w, "GET", "/api/v1/videos", forged, NULL) != 401)
            fail_msg("a forged cookie was taken: %s", forged);
    }
    /* And it dies with the token. */
    FILE *file = fopen(w->tokens, "w");
    token_line(file, "reader", "read", "read-token", "");
    fclose(file);
    usleep(1200000);
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", cookie, NULL), 401);
}

static void test_this_machine_needs_no_token_unless_told_so(void **state)
{
    struct world *w = *state;
    tokens_write(w);
    w->api->tokens_on_loopback = false;
    farm_start(&w->farm);
    assert_int_equal(status_of(w, NULL, "GET", "/api/v1/videos"), 200);
    /* What a proxy on this machine hands on is not from this machine. */
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", "X-Forwarded-For: 203.0.113.5", NULL),
                     401);
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", "X-Forwarded-For: 203.0.113.5",
                                 "Authorization: Bearer read-token"),
                     200);
    /* Nor is what asks for another name; with a token it is welcome. */
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", "Host: farm.example", NULL), 403);
    assert_int_equal(status_with(w, "GET", "/api/v1/videos", "Host: farm.example",
                                 "Authorization: Bearer read-token"),
                     200);
    json_t *session = farm_json(&w->farm, "GET", "/api/v1/session", NULL, 200);
    assert_true(json_is_true(json_object_get(session, "local")));
    assert_int_equal(json_array_size(json_object_get(session, "scopes")), 4);
    json_decref(session);
}

/* ---- rate ---- */

static void test_requests_over_the_rate_are_told_when_to_come_again(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};
    tokens_write(w);
    w->api->limits_on_loopback = true;
    w->api->rate = 2;
    w->api->burst = 5;
    farm_start(&w->farm);
    int taken = 0;
    for (; taken < 50 && status_of(w, "read-token", "GET", "/api/v1/videos") == 200; taken++)
        continue;
    /* The machine may be slow: five at once, and two for each second that has passed. */
    assert_in_range(taken, 5, 40);
    ask(w, "read-token", "GET", "/api/v1/videos", &reply);
    assert_int_equal(reply.status, 429);
    assert_true(reply_has_header(&reply, "Retry-After: 1"));
    assert_non_null(strstr((char *)reply.body.data, "daemon.api.rate"));
    reply_free(&reply);
    /* Another token is another client; so is who has none. */
    assert_int_equal(status_of(w, "admin-token", "GET", "/api/v1/videos"), 200);
    assert_int_equal(status_of(w, NULL, "GET", "/healthz"), 200);
    sleep(2);
    assert_int_equal(status_of(w, "read-token", "GET", "/api/v1/videos"), 200);
}

static void test_this_machine_has_no_rate_by_itself(void **state)
{
    struct world *w = *state;
    w->api->rate = 1;
    w->api->burst = 1;
    farm_start(&w->farm);
    for (int i = 0; i < 20; i++)
        assert_int_equal(status_of(w, NULL, "GET", "/api/v1/videos"), 200);
}

/* ---- slow ones ---- */

static int connect_here(const struct farm *farm)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)farm->http_port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Sends the text a byte at a time, 50 ms apart; true when the other side hung up before its end. */
static bool trickle_ends(int fd, const char *text)
{
    char answer[256];
    for (; *text; text++) {
        if (send(fd, text, 1, MSG_NOSIGNAL) != 1)
            return true;
        if (recv(fd, answer, sizeof answer, MSG_DONTWAIT) == 0)
            return true;
        usleep(50000);
    }
    return false;
}

static const char endless[] =
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-One: "
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
    "X-Two: "
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void test_headers_that_trickle_are_cut_off(void **state)
{
    struct world *w = *state;
    w->api->header_timeout_ns = SL_MS_TO_NS(1000);
    farm_start(&w->farm);
    int64_t began_ns = sl_now_ns();
    int fd = connect_here(&w->farm);
    assert_true(trickle_ends(fd, endless));
    assert_true(sl_now_ns() - began_ns > SL_MS_TO_NS(900));
    close(fd);
    struct reply reply;
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    assert_non_null(strstr((char *)reply.body.data, "\nsluice_http_late_total 1\n"));
    reply_free(&reply);
}

static void test_bodies_that_trickle_are_cut_off(void **state)
{
    struct world *w = *state;
    static const char head[] =
        "POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    w->api->body_timeout_ns = SL_MS_TO_NS(1000);
    farm_start(&w->farm);
    int fd = connect_here(&w->farm);
    assert_int_equal(send(fd, head, strlen(head), 0), strlen(head));
    assert_true(trickle_ends(fd, endless));
    close(fd);
}

static void test_a_crowd_of_slow_connections_does_not_shut_others_out(void **state)
{
    struct world *w = *state;
    enum { CROWD = 200 };
    int fds[CROWD];
    w->api->connections = 64;
    w->api->header_timeout_ns = SL_S_TO_NS(60);
    farm_start(&w->farm);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = connect_here(&w->farm);
        send(fds[i], "GET / HTTP/1.1\r\nX: ", 19, MSG_NOSIGNAL);
        if (i % 10 == 9)
            usleep(20000); /* for those that make room to go */
    }
    /* At once, and not only when the crowd's second is over. */
    long status = 0;
    for (int i = 0; i < 3 && status != 200; i++) {
        usleep(20000);
        status = status_of(w, NULL, "GET", "/healthz");
    }
    assert_int_equal(status, 200);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
}

static void test_connections_of_one_address_are_bounded(void **state)
{
    struct world *w = *state;
    int fds[12];
    w->api->limits_on_loopback = true;
    w->api->connections_per_address = 8;
    farm_start(&w->farm);
    int refused = 0;
    for (int i = 0; i < 12; i++)
        fds[i] = connect_here(&w->farm);
    usleep(300000);
    for (int i = 0; i < 12; i++) {
        char byte;
        ssize_t got = recv(fds[i], &byte, 1, MSG_DONTWAIT);
        refused += got == 0 || (got < 0 && errno == ECONNRESET);
    }
    assert_int_equal(refused, 4);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
    struct reply reply = {0};
    for (int i = 0; i < 100 && reply.status != 200; i++) {
        reply_free(&reply);
        usleep(50000);
        farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    }
    assert_int_equal(reply.status, 200);
    assert_null(strstr((char *)reply.body.data, "\nsluice_http_turned_away_total 0\n"));
    reply_free(&reply);
}

/* ---- followers who do not read ---- */

static int64_t metric_of(struct world *w, const char *name)
{
    struct reply reply;
    char line[96];
    farm_http(&w->farm, "GET", "/metrics", NULL, NULL, 0, &reply);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr((char *)reply.body.data, line);
    assert_non_null(at);
    int64_t value = strtoll(at + strlen(line), NULL, 10);
    reply_free(&reply);
    return value;
}

static void test_a_follower_that_does_not_read_holds_up_nobody(void **state)
{
    struct world *w = *state;
    static const char follow[] = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const char *uuid = "11111111-2222-3333-4444-555555555555";
    static char got[64 * 1024];
    w->api->idle_timeout_ns = SL_S_TO_NS(3);
    farm_start(&w->farm);
    int fds[2]; /* the first one reads */
    for (int i = 0; i < 2; i++) {
        fds[i] = connect_here(&w->farm);
        int bytes = 4096;
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &bytes, i == 1 ? sizeof bytes : 0);
        assert_int_equal(send(fds[i], follow, strlen(follow), 0), strlen(follow));
    }
    for (int i = 0; i < 500 && metric_of(w, "sluice_http_followers") < 2; i++)
        usleep(10000);
    /* Who reads gets events and pings, or is told that it has missed some; who does not is dropped when
     * its socket is full and stays so. Posting waits for neither. */
    bool told = false;
    int64_t began_ns = sl_now_ns(), posting_ns = 0;
    while (!told || metric_of(w, "sluice_http_followers") > 1) {
        int64_t from_ns = sl_now_ns();
        if (from_ns - began_ns > SL_S_TO_NS(60))
            fail_msg("%lld followers are left", (long long)metric_of(w, "sluice_http_followers"));
        for (int i = 0; i < 1000; i++)
            api_event_node(w->farm.daemon->api, uuid, NODE_READY);
        posting_ns += sl_now_ns() - from_ns;
        for (ssize_t part; (part = recv(fds[0], got, sizeof got - 1, MSG_DONTWAIT)) > 0;) {
            got[part] = '\0';
            told = told || strstr(got, "event: node") || strstr(got, "event: reset");
        }
        usleep(10000);
    }
    assert_true(posting_ns < SL_S_TO_NS(10));
    /* With nothing new a ping shows that the line is there. */
    bool pinged = false;
    while (!pinged) {
        ssize_t part = recv(fds[0], got, sizeof got - 1, 0);
        assert_true(part > 0);
        got[part] = '\0';
        pinged = strstr(got, ": ping\n\n") != NULL;
    }
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD(test_tokens_open_what_their_scopes_name),
        WORLD(test_paths_of_the_daemons_machine_are_for_admins),
        WORLD(test_the_file_is_followed_and_mistakes_let_nobody_in),
        WORLD(test_a_file_with_mistakes_is_no_start),
        WORLD(test_a_session_stands_for_its_token),
        WORLD(test_this_machine_needs_no_token_unless_told_so),
        WORLD(test_requests_over_the_rate_are_told_when_to_come_again),
        WORLD(test_this_machine_has_no_rate_by_itself),
        WORLD(test_headers_that_trickle_are_cut_off),
        WORLD(test_bodies_that_trickle_are_cut_off),
        WORLD(test_a_crowd_of_slow_connections_does_not_shut_others_out),
        WORLD(test_connections_of_one_address_are_bounded),
        WORLD(test_a_follower_that_does_not_read_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
