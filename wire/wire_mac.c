#include "wire/wire_mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

size_t wire_mac_bytes(const struct wire_secret *secret)
{
    return secret->length ? WIRE_MAC_BYTES : 0;
}

int wire_mac_make(const struct wire_secret *secret, enum wire_direction direction,
                  const void *bytes, size_t length, uint8_t mac[WIRE_MAC_BYTES])
{
    unsigned char side = (unsigned char)direction;
    size_t mac_length = 0;
    EVP_MAC *type = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = type ? EVP_MAC_CTX_new(type) : NULL;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", (char[]){"SHA256"}, 0),
                           OSSL_PARAM_construct_end()};
    bool made = context && EVP_MAC_init(context, secret->bytes, secret->length, params) &&
                EVP_MAC_update(context, &side, 1) && EVP_MAC_update(context, bytes, length) &&
                EVP_MAC_final(context, mac, &mac_length, WIRE_MAC_BYTES) &&
                mac_length == WIRE_MAC_BYTES;
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(type);
    return made ? SL_OK : SL_ENOMEM;
}

bool wire_mac_valid(const struct wire_secret *secret, enum wire_direction direction,
                    const void *bytes, size_t length, const uint8_t mac[WIRE_MAC_BYTES])
{
    uint8_t expected[WIRE_MAC_BYTES];
    return wire_mac_make(secret, direction, bytes, length, expected) == SL_OK &&
           CRYPTO_memcmp(expected, mac, sizeof expected) == 0;
}
