/* scheduler/api/api_guard.h: what one client may take from the others: connections, time, requests.
 *
 * A connection has a deadline whenever it is the client's turn: to send its headers, then its body. Whoever
 * is late is cut off by a thread that looks four times a second; while most of the connections are
 * taken, whoever has not even sent its headers is cut off after a second, and when all are, the one of
 * those that has waited for the longest makes room for the next. Requests of one client are
 * counted by a bucket of tokens that fills with time.
 *
 * Threads: all but open and close may be called from any.
 */
#ifndef SL_SCHEDULER_API_API_GUARD_H
#define SL_SCHEDULER_API_API_GUARD_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "scheduler/api/api.h"

#define API_CLIENT_BYTES  16 /* an address, or a part of a token's hash */
#define API_GUARD_LEAVING 64 /* connections that were cut off and are not quite gone */

struct api_guard;

int api_guard_open(const struct api_limits *limits, struct api_guard **out);
void api_guard_close(struct api_guard **guard);

/* May this address have one more connection? May end another one to make room. */
bool api_guard_admit(struct api_guard *guard, const struct sockaddr *address);
/* For MHD_OPTION_NOTIFY_CONNECTION. */
void api_guard_connection(void *guard, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code);

/* Whose turn it is from here on. */
void api_guard_wants_body(struct api_guard *guard, struct MHD_Connection *connection);
/* A body of any length: only so slow as that is it cut off (API_STREAM_*). */
void api_guard_wants_stream(struct api_guard *guard, struct MHD_Connection *connection);
void api_guard_got(struct api_guard *guard, struct MHD_Connection *connection, size_t bytes);
void api_guard_answers(struct api_guard *guard, struct MHD_Connection *connection);
void api_guard_idles(struct api_guard *guard, struct MHD_Connection *connection);

/* One more request of this client. False when there were too many; *wait_s says when to come again. */
bool api_guard_request(struct api_guard *guard, const uint8_t client[API_CLIENT_BYTES],
                       int *wait_s);
void api_guard_client_of(const struct sockaddr *address, uint8_t client[API_CLIENT_BYTES]);

/* Connections open, and cut off or turned away since the start. */
void api_guard_counts(struct api_guard *guard, int64_t *open, int64_t *late, int64_t *turned_away);

bool api_address_is_loopback(const struct sockaddr *address);

#endif
