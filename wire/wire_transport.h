/* wire/wire_transport.h: sync messages over nng.
 *
 * The daemon listens with a raw REP socket: requests are answered in any order, and a parked one costs a
 * message header, not a context or thread. The agent asks over REQ contexts with the socket's own resending
 * switched off: the agent owns its retries. One address is dialed at a time.
 * With a farm secret every message is prefixed by HMAC-SHA256 over its bytes and a direction byte; without, the daemon
 * listens on loopback only. A message over SYNC_BYTES_MAX, with a wrong MAC, or of another version is
 * refused, counted, and logged once per peer address.
 *
 * Threads: wire_server: one receiving thread of its own calls on_request; wire_server_reply may be called
 *          from any thread. wire_client: calls from any thread, at most two outstanding.
 */
#ifndef SL_WIRE_WIRE_TRANSPORT_H
#define SL_WIRE_WIRE_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct wire_server;
struct wire_client;

/* Where to send the answer; good for one reply. Dropping one without replying needs wire_pending_drop. */
struct wire_pending;

struct wire_secret {
    uint8_t bytes[64];
    size_t length; /* 0: none */
};

struct wire_server_stats {
    uint64_t requests, replies, refused_mac, refused_size;
};

/* bytes are valid during the call; pending is the callee's. */
typedef void wire_request_fn(void *arg, struct wire_pending *pending, const void *bytes,
                             size_t length);

/* url: "tcp://host:port". SL_EBUSY when the port is taken, SL_EACCES when the host is not loopback and
 * there is no secret; the sentence says what to do. Port 0 is chosen by the system. */
int wire_server_open(const char *url, const struct wire_secret *secret, wire_request_fn *on_request,
                     void *arg, struct wire_server **out, struct sl_failure *why);
/* The port it listens on. */
int wire_server_port(const struct wire_server *server);
void wire_server_stats(const struct wire_server *server, struct wire_server_stats *out);
/* Takes pending. A reply to a peer that has gone is dropped silently. */
void wire_server_reply(struct wire_pending *pending, const void *bytes, size_t length);
void wire_pending_drop(struct wire_pending *pending);
/* on_request is not called any more once this returns, unless a call runs on for longer than some seconds. */
void wire_server_close(struct wire_server **server);

/* Dials urls[0]; moves to the next one when it cannot be reached (wire_client_next). */
int wire_client_open(const char *const *urls, int url_count, const struct wire_secret *secret,
                     struct wire_client **out, struct sl_failure *why);
/* The host of the address in use, for the daemon's HTTP side. */
const char *wire_client_host(const struct wire_client *client);
/* Sends and waits for the answer: malloc'd bytes, the caller's. lane 0 or 1: one request each at a time.
 * SL_EUNREACH, SL_ETIMEDOUT, SL_ECANCELLED (wire_client_interrupt). */
int wire_client_ask(struct wire_client *client, int lane, const void *bytes, size_t length,
                    int64_t timeout_ns, void **out, size_t *out_length, struct sl_failure *why);
/* Ends the wait of one lane, or, when it is not waiting, its next one. The socket is replaced, so the other lane's
 * wait may end as SL_EUNREACH. */
void wire_client_interrupt(struct wire_client *client, int lane);
int wire_client_next(struct wire_client *client, struct sl_failure *why);
/* No lane may begin to ask while this runs. */
void wire_client_close(struct wire_client **client);

#endif
