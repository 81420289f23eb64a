/* objects/objects_http.h: the daemon's objects over HTTP.
 *
 * GET, HEAD, PUT and DELETE of <base>/objects/<key> with "Authorization: Sluice-Ticket <ticket>";
 * GET with Range, PUT with "X-Sluice-Sha256: <hex>". No redirect is followed, no proxy asked. A ticket
 * never stands in a message. Nothing is retried here, except that curl repeats a request on a fresh
 * connection when a kept one turns out to be closed; the caller owns its retries, and every request may
 * be repeated.
 */
#ifndef SL_OBJECTS_OBJECTS_HTTP_H
#define SL_OBJECTS_OBJECTS_HTTP_H

#include "objects/objects.h"

#define OBJECTS_HTTP_HANDLES_MAX 16 /* requests at once; more wait for one to end */

struct objects_http_limits {
    int64_t connect_timeout_ns;
    int64_t slow_bytes_per_s; /* a transfer below this … */
    int64_t slow_timeout_ns;  /* … for so long is given up, SL_ETIMEDOUT */
};

/* 5 s, 1 KiB/s for 20 s. */
extern const struct objects_http_limits objects_http_limits_default;

/* objects_open_http with other limits. */
int objects_http_open(const char *base_url, const struct objects_http_limits *limits,
                      struct objects **out, struct sl_failure *why);

#endif
