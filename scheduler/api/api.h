/* scheduler/api/api.h: the HTTP side of the daemon, over libmicrohttpd.
 *
 * Routes: docs/architecture.md, "HTTP". One thread per connection, so a slow client holds nobody up;
 * connections, per-address connections, body sizes and idle times are bounded. What is live comes from
 * the backend (api_calls.h), what is finished from read-only handles of the store, bytes from objects.
 *
 * Access: a peer on this machine needs nothing; any other peer needs "Authorization: Bearer SECRET" with
 *         the farm's secret, except for /healthz and for /objects, where a lease's ticket counts.
 * Errors: {"error": {"code", "message", "details"}} with a fitting status.
 * Threads: api_start and api_stop from one thread, events from any.
 */
#ifndef SL_SCHEDULER_API_API_H
#define SL_SCHEDULER_API_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "objects/objects.h"
#include "scheduler/api/api_calls.h"

struct api;

#define API_CONNECTIONS_MAX        512
#define API_CONNECTIONS_PER_IP_MAX 256
#define API_BODY_BYTES_MAX         (1024 * 1024)
#define API_OBJECT_BYTES_MAX       (INT64_C(16) << 30)
#define API_IDLE_S                 30
#define API_STREAMS_MAX            64 /* of events */

/* Borrowed until api_stop. */
struct api_config {
    const char *host;      /* an address or name to listen on; "" or "*": all */
    int port;              /* 0: the system chooses */
    const uint8_t *secret; /* the farm's; NULL: only peers on this machine are served */
    size_t secret_bytes;
    const uint8_t *ticket_secret;
    size_t ticket_secret_bytes;
    const char *store_url; /* opened read-only */
    struct objects *objects;
    int64_t upload_bytes_max;
    struct api_backend backend;
};

/* SL_EBUSY when the port is taken, SL_EACCES for an address that is not loopback without a secret. */
int api_start(const struct api_config *config, struct api **out, struct sl_failure *why);
int api_port(const struct api *api);
void api_stop(struct api **api);

/* Does the text name this machine's loopback only? */
bool api_host_is_loopback(const char *host);

/* To everyone who follows /api/v1/events. */
void api_event_video(struct api *api, struct video_id video, enum video_status status);
void api_event_node(struct api *api, const char *uuid, enum node_state state);

#endif
