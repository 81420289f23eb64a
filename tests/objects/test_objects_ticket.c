#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "objects/objects.h"

static const uint8_t secret[32] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct objects_ticket ticket_build(void)
{
    return (struct objects_ticket){.token = 57,
                                   .expires_unix_ns = 1000,
                                   .read_prefix = {"originals/v1/source.mkv", "published/v1/"},
                                   .write_prefix = "published/v1/2/"};
}

static void test_ticket_opens_as_it_was_made(void **state)
{
    (void)state;
    struct objects_ticket ticket = ticket_build();
    for (int i = 0; i < 60; i++) {
        /* Every length modulo three, with and without prefixes. */
        memset(ticket.read_prefix[1], 0, sizeof ticket.read_prefix[1]);
        memset(ticket.read_prefix[1], 'p', (size_t)i);
        ticket.token = UINT64_MAX - (uint64_t)i;
        ticket.expires_unix_ns = INT64_MAX - i;
        char text[TICKET_BYTES];
        assert_int_equal(objects_ticket_make(secret, sizeof secret, &ticket, text), SL_OK);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-_."),
                         strlen(text));
        struct objects_ticket out;
        assert_int_equal(objects_ticket_open(secret, sizeof secret, text, 999, &out), SL_OK);
        assert_int_equal(out.token, ticket.token);
        assert_int_equal(out.expires_unix_ns, ticket.expires_unix_ns);
        assert_string_equal(out.read_prefix[0], ticket.read_prefix[0]);
        assert_string_equal(out.read_prefix[1], ticket.read_prefix[1]);
        assert_string_equal(out.write_prefix, ticket.write_prefix);
    }
}

static void test_ticket_is_refused_when_expired_or_touched(void **state)
{
    (void)state;
    struct objects_ticket ticket = ticket_build();
    char text[TICKET_BYTES];
    struct objects_ticket out = {.token = 5};
    assert_int_equal(objects_ticket_make(secret, sizeof secret, &ticket, text), SL_OK);
    assert_int_equal(objects_ticket_open(secret, sizeof secret, text, 1000, &out), SL_EACCES);
    uint8_t other[32] = {9};
    assert_int_equal(objects_ticket_open(other, sizeof other, text, 0, &out), SL_EACCES);
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        char touched[TICKET_BYTES + 8];
        for (const char *c = "A_x.=/+ \x80"; *c; c++) {
            strcpy(touched, text);
            if (touched[i] == *c)
                continue;
            touched[i] = *c;
            assert_int_equal(objects_ticket_open(secret, sizeof secret, touched, 0, &out),
                             SL_EACCES);
        }
        snprintf(touched, i + 1, "%s", text); /* cut short */
        assert_int_equal(objects_ticket_open(secret, sizeof secret, touched, 0, &out), SL_EACCES);
        snprintf(touched, sizeof touched, "%.*sA%s", (int)i, text, text + i); /* one more */
        if (strcmp(touched, text) != 0 && strlen(touched) < TICKET_BYTES)
            assert_int_equal(objects_ticket_open(secret, sizeof secret, touched, 0, &out),
                             SL_EACCES);
    }
    assert_int_equal(out.token, 5);
    assert_int_equal(objects_ticket_open(secret, sizeof secret, text, 999, &out), SL_OK);
}

static void test_ticket_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct objects_ticket ticket = ticket_build();
    char text[TICKET_BYTES];
    int made = 0;
    for (size_t length = 1; length < OBJECT_KEY_BYTES; length++) {
        memset(ticket.read_prefix[0], 'a', length);
        int rc = objects_ticket_make(secret, sizeof secret, &ticket, text);
        made += rc == SL_OK;
        assert_true(rc == SL_OK ? strlen(text) < TICKET_BYTES : rc == SL_ELIMIT);
    }
    assert_true(made >= 200);
    memset(ticket.write_prefix, 'a', OBJECT_KEY_BYTES - 1);
    assert_int_equal(objects_ticket_make(secret, sizeof secret, &ticket, text), SL_ELIMIT);
    ticket = ticket_build();
    assert_int_equal(objects_ticket_make(secret, 8, &ticket, text), SL_EINVAL);
    ticket.token = 0;
    assert_int_equal(objects_ticket_make(secret, sizeof secret, &ticket, text), SL_EINVAL);
}

static void test_ticket_allows_its_folders_only(void **state)
{
    (void)state;
    struct objects_ticket ticket = ticket_build();
    const struct {
        const char *key;
        bool read;
        bool write;
    } keys[] = {
        {"originals/v1/source.mkv", true, false},
        {"originals/v1/source.mkv2", false, false},
        {"originals/v1", false, false},
        {"published/v1/1/x.t56.m4s", true, false},
        {"published/v10/1/x.t57.m4s", false, false},
        {"published/v1/2/h264/0.t57.m4s", true, true},
        {"published/v1/2/t57/master", true, true},
        {"published/v1/2/h264/0.t58.m4s", true, false},
        {"published/v1/2/h264/0.t570.m4s", true, false},
        {"published/v1/2/h264/0.t57.t58.m4s", true, false},
        {"published/v1/2/h264/0.m4s", true, false},
        {"published/v1/1/0.t57.m4s", true, false},
        {"published/v1/2/../../v2/0.t57.m4s", false, false},
        {"/published/v1/2/0.t57.m4s", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (objects_ticket_allows(&ticket, keys[i].key, false) != keys[i].read ||
            objects_ticket_allows(&ticket, keys[i].key, true) != keys[i].write)
            fail_msg("%s", keys[i].key);
    }
    struct objects_ticket none = {.token = 57};
    assert_false(objects_ticket_allows(&none, "a/x.t57.m", false));
    assert_false(objects_ticket_allows(&none, "a/x.t57.m", true));
}

static void test_keys_carry_their_token(void **state)
{
    (void)state;
    char key[OBJECT_KEY_BYTES];
    const struct {
        const char *prefix;
        const char *name;
        const char *key;
    } keys[] = {
        {"", "h264/720p/000012.m4s", "h264/720p/000012.t57.m4s"},
        {NULL, "a.b", "a.t57.b"},
        {"published/v1/1/", "master.m3u8", "published/v1/1/master.t57.m3u8"},
        {"published/v1/1", "audio/x.tar.gz", "published/v1/1/audio/x.tar.t57.gz"},
        {"p", "a.b/index", "p/a.b/t57/index"},
        {"", "index", "t57/index"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(objects_token_key(keys[i].prefix, keys[i].name, 57, key, sizeof key),
                         SL_OK);
        assert_string_equal(key, keys[i].key);
        assert_int_equal(objects_key_token(key), 57);
    }
    assert_int_equal(objects_token_key("p", "x.m4s", UINT64_MAX, key, sizeof key), SL_OK);
    assert_true(objects_key_token(key) == UINT64_MAX);
    strcpy(key, "kept");
    char name[OBJECT_KEY_BYTES] = "";
    memset(name, 'n', OBJECT_KEY_BYTES - 5);
    strcpy(name + OBJECT_KEY_BYTES - 7, ".m4s");
    assert_int_equal(objects_token_key("", name, 57, key, sizeof key), SL_EINVAL);
    assert_int_equal(objects_token_key("p", "0.m4s", 57, key, 11), SL_EINVAL);
    assert_int_equal(objects_token_key("p", "../0.m4s", 57, key, sizeof key), SL_EINVAL);
    char plain[OBJECT_KEY_BYTES] = "kept";
    assert_int_equal(objects_plain_key("p/0.t57.m4s", plain, 7), SL_EINVAL);
    assert_string_equal(plain, "kept");
    assert_int_equal(objects_plain_key("p/0.t57.m4s", plain, 8), SL_OK);
    assert_string_equal(plain, "p/0.m4s");
    static const char *const no_token[] = {"p/0.m4s",    "p/0.t.m4s", "p.t5.q/0.m4s", "p/.t5.m4s",
                                           "p/t5/0.m4s", "p/0.t57",   "p/0.x57.m4s"};
    for (size_t i = 0; i < sizeof no_token / sizeof no_token[0]; i++)
        assert_int_equal(objects_plain_key(no_token[i], plain, sizeof plain), SL_EINVAL);
    assert_int_equal(objects_token_key("p", "0.m4s", 0, key, sizeof key), SL_EINVAL);
    assert_int_equal(objects_token_key("p", "0.t9.m4s", 57, key, sizeof key), SL_EINVAL);
    assert_string_equal(key, "kept");
    assert_int_equal(objects_token_key("p", "0.m4s", 57, key, 12), SL_OK);
    const char *const without[] = {"a/b.m4s", "a.t.b",   "a.t0.b",  "a.t1",
                                   "t1",      "a/t1",    "a.t1/b",  "a/t1.b",
                                   "a.t01.b", "a.t1x.b", "at1.b",   "a.t99999999999999999999.b",
                                   "t3.b",    "a.t-1.b", "a.t 1.b", "a.t11.b.t2.c"};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        if (objects_key_token(without[i]) != 0)
            fail_msg("%s", without[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticket_opens_as_it_was_made),
        cmocka_unit_test(test_ticket_is_refused_when_expired_or_touched),
        cmocka_unit_test(test_ticket_that_does_not_fit_is_refused),
        cmocka_unit_test(test_ticket_allows_its_folders_only),
        cmocka_unit_test(test_keys_carry_their_token),
    };
    return cmocka_run_group_tests_name("tickets", tests, NULL, NULL);
}
