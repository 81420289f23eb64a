/* wire/wire_mac.h: the farm secret's mark on a message. Private to wire/.
 *
 * A marked message is HMAC-SHA256(secret, direction byte || bytes) and then the bytes. The direction keeps a
 * request from passing as an answer.
 * Threads: any.
 */
#ifndef SL_WIRE_WIRE_MAC_H
#define SL_WIRE_WIRE_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire_transport.h"

#define WIRE_MAC_BYTES 32

enum wire_direction { WIRE_TO_DAEMON = 1, WIRE_TO_AGENT = 2 };

/* What a message grows by: 0 without a secret. */
size_t wire_mac_bytes(const struct wire_secret *secret);
/* SL_ENOMEM. */
int wire_mac_make(const struct wire_secret *secret, enum wire_direction direction,
                  const void *bytes, size_t length, uint8_t mac[WIRE_MAC_BYTES]);
/* Constant in time. */
bool wire_mac_valid(const struct wire_secret *secret, enum wire_direction direction,
                    const void *bytes, size_t length, const uint8_t mac[WIRE_MAC_BYTES]);

#endif
