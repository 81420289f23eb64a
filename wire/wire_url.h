/* wire/wire_url.h: "tcp://host:port". Private to wire/. Threads: any. */
#ifndef SL_WIRE_WIRE_URL_H
#define SL_WIRE_WIRE_URL_H

#include <stdbool.h>

#include "base/error.h"

#define WIRE_URL_BYTES  512
#define WIRE_HOST_BYTES 256

/* nng 1.5.2 hangs for ever in closing a socket on which a message arrives within the same few hundred
 * microseconds, and with it every later close of the process: its one reaping thread waits for a callback
 * that does not come. Measured: 8 of 40 closes right after a reply, 0 of 400 closes 20 ms after one. So a socket
 * is left in silence for so long before it is closed. */
#define WIRE_QUIET_NS   100000000

struct wire_url {
    char text[WIRE_URL_BYTES];
    char host[WIRE_HOST_BYTES]; /* without the brackets of an IPv6 address */
    int port;
    bool loopback;
};

/* SL_EINVAL with the sentence. */
int wire_url_parse(const char *text, struct wire_url *out, struct sl_failure *why);

#endif
