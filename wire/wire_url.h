/* wire/wire_url.h: "tcp://host:port". Private to wire/. Threads: any. */
#ifndef SL_WIRE_WIRE_URL_H
#define SL_WIRE_WIRE_URL_H

#include <stdbool.h>

#include "base/error.h"

#define WIRE_URL_BYTES  512
#define WIRE_HOST_BYTES 256

struct wire_url {
    char text[WIRE_URL_BYTES];
    char host[WIRE_HOST_BYTES]; /* without the brackets of an IPv6 address */
    int port;
    bool loopback;
};

/* SL_EINVAL with the sentence. */
int wire_url_parse(const char *text, struct wire_url *out, struct sl_failure *why);

#endif
