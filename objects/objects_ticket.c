/* A ticket's text is base64url(payload) "." base64url(HMAC-SHA256 of the first text). The payload is a
 * version byte, token and expiry in big-endian, and three prefixes, each behind its length in a byte.
 * The sum is taken over the text, so that no two texts are the same ticket. */
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "objects/objects.h"

#define TICKET_VERSION    1
#define TICKET_HMAC_BYTES 32
#define SECRET_BYTES_MIN  16
/* base64 of the payload, a dot, 43 characters and NUL are to fit. */
#define PAYLOAD_BYTES_MAX ((TICKET_BYTES - 1 - 43 - 1) / 4 * 3)

_Static_assert(OBJECT_KEY_BYTES - 1 <= UCHAR_MAX, "a prefix's length travels in one byte");

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t base64_write(const uint8_t *bytes, size_t length, char *text)
{
    size_t at = 0;
    for (size_t i = 0; i < length; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        size_t have = length - i < 3 ? length - i : 3;
        if (have > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (have > 2)
            group |= bytes[i + 2];
        for (size_t k = 0; k <= have; k++)
            text[at++] = alphabet[(group >> (18 - 6 * k)) & 63];
    }
    text[at] = '\0';
    return at;
}

/* Returns the count of bytes, or -1 for what base64_write would not have written. */
static int base64_read(const char *text, size_t length, uint8_t *bytes, size_t room)
{
    size_t at = 0;
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < length; i++) {
        const char *found = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!found)
            return -1;
        bits = bits << 6 | (uint32_t)(found - alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (at == room)
                return -1;
            bytes[at++] = (uint8_t)(bits >> held);
            bits &= (UINT32_C(1) << held) - 1;
        }
    }
    return held < 6 && bits == 0 ? (int)at : -1;
}

static bool text_sign(const uint8_t *secret, size_t secret_bytes, const char *text, size_t length,
                      uint8_t sum[TICKET_HMAC_BYTES])
{
    unsigned int got = 0;
    return HMAC(EVP_sha256(), secret, (int)secret_bytes, (const unsigned char *)text, length, sum,
                &got) &&
           got == TICKET_HMAC_BYTES;
}

static void u64_write(uint8_t *bytes, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t u64_read(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

int objects_ticket_make(const uint8_t *secret, size_t secret_bytes,
                        const struct objects_ticket *ticket, char text[TICKET_BYTES])
{
    if (secret_bytes < SECRET_BYTES_MIN || secret_bytes > INT_MAX || ticket->token == 0)
        return SL_EINVAL;
    uint8_t payload[PAYLOAD_BYTES_MAX];
    size_t at = 0;
    payload[at++] = TICKET_VERSION;
    u64_write(payload + at, ticket->token);
    u64_write(payload + at + 8, (uint64_t)ticket->expires_unix_ns);
    at += 16;
    const char *const prefixes[] = {ticket->read_prefix[0], ticket->read_prefix[1],
                                    ticket->write_prefix};
    for (int i = 0; i < 3; i++) {
        size_t length = strnlen(prefixes[i], OBJECT_KEY_BYTES);
        if (length >= OBJECT_KEY_BYTES)
            return SL_EINVAL;
        if (at + 1 + length > sizeof payload)
            return SL_ELIMIT;
        payload[at++] = (uint8_t)length;
        memcpy(payload + at, prefixes[i], length);
        at += length;
    }
    char made[TICKET_BYTES];
    size_t signed_length = base64_write(payload, at, made);
    uint8_t sum[TICKET_HMAC_BYTES];
    if (!text_sign(secret, secret_bytes, made, signed_length, sum))
        return SL_EINTERNAL;
    made[signed_length] = '.';
    size_t length = signed_length + 1 + base64_write(sum, sizeof sum, made + signed_length + 1);
    memcpy(text, made, length + 1);
    return SL_OK;
}

int objects_ticket_open(const uint8_t *secret, size_t secret_bytes, const char *text,
                        int64_t now_unix_ns, struct objects_ticket *out)
{
    size_t length = strnlen(text, TICKET_BYTES);
    const char *dot = memchr(text, '.', length);
    if (length >= TICKET_BYTES || !dot || secret_bytes < SECRET_BYTES_MIN || secret_bytes > INT_MAX)
        return SL_EACCES;
    size_t signed_length = (size_t)(dot - text);
    uint8_t sum[TICKET_HMAC_BYTES];
    uint8_t claimed[TICKET_HMAC_BYTES];
    if (!text_sign(secret, secret_bytes, text, signed_length, sum) ||
        base64_read(dot + 1, length - signed_length - 1, claimed, sizeof claimed) !=
            TICKET_HMAC_BYTES ||
        CRYPTO_memcmp(sum, claimed, sizeof sum) != 0)
        return SL_EACCES;

    uint8_t payload[PAYLOAD_BYTES_MAX];
    int bytes = base64_read(text, signed_length, payload, sizeof payload);
    if (bytes < 17 || payload[0] != TICKET_VERSION)
        return SL_EACCES;
    struct objects_ticket ticket = {.token = u64_read(payload + 1),
                                    .expires_unix_ns = (int64_t)u64_read(payload + 9)};
    char *const prefixes[] = {ticket.read_prefix[0], ticket.read_prefix[1], ticket.write_prefix};
    int at = 17;
    for (int i = 0; i < 3; i++) {
        if (at >= bytes || at + 1 + payload[at] > bytes)
            return SL_EACCES;
        memcpy(prefixes[i], payload + at + 1, payload[at]);
        at += 1 + payload[at];
    }
    if (at != bytes || now_unix_ns >= ticket.expires_unix_ns)
        return SL_EACCES;
    *out = ticket;
    return SL_OK;
}

/* The prefix itself, or what lies below it as a folder; never a neighbour that only starts alike. */
static bool below(const char *key, const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0 || strncmp(key, prefix, length) != 0)
        return false;
    return prefix[length - 1] == '/' || key[length] == '/' || key[length] == '\0';
}

bool objects_ticket_allows(const struct objects_ticket *ticket, const char *key, bool write)
{
    if (!objects_key_valid(key))
        return false;
    if (!write)
        return below(key, ticket->read_prefix[0]) || below(key, ticket->read_prefix[1]);
    return below(key, ticket->write_prefix) && ticket->token != 0 &&
           objects_key_token(key) == ticket->token;
}
