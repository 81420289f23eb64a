/* scheduler/api/api.h: the HTTP side of the daemon, over libmicrohttpd.
 *
 * Routes: api_routes.c and docs/openapi.json. One thread per connection, so a slow client holds nobody
 * up; connections, requests, body sizes and times are bounded (struct api_limits). What is live comes from
 * the backend (api_calls.h), what is finished from read-only handles of the store, bytes from objects.
 *
 * Access: a peer on this machine needs nothing, unless the configuration says otherwise; any other peer
 *         needs "Authorization: Bearer TOKEN" (or a session's cookie) with a token whose scopes the route
 *         asks for, or the farm's secret, which may everything. docs/security.md has the whole of it.
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

#define API_OBJECT_BYTES_MAX (INT64_C(16) << 30)
#define API_STREAMS_MAX      64 /* of events */

struct api_limits {
    int connections;
    int connections_per_address;
    int64_t header_ns; /* from connecting, or the end of an idle time, to the last header */
    int64_t body_ns;   /* for a body that is held whole */
    int64_t idle_ns;   /* between requests, and for a client that does not read its answer */
    int64_t body_bytes_max;
    int requests_per_s; /* of one token or address; 0: any number */
    int burst;          /* so many at once */
    bool on_loopback;   /* limits by address and token count on this machine too */
};

/* Borrowed until api_stop. */
struct api_config {
    const char *host;      /* an address or name to listen on; "" or "*": all */
    int port;              /* 0: the system chooses */
    const uint8_t *secret; /* the farm's; NULL: none */
    size_t secret_bytes;
    const char *tokens_file; /* NULL: none */
    bool tokens_on_loopback; /* peers on this machine need a token as well */
    struct api_limits limits;
    const uint8_t *ticket_secret;
    size_t ticket_secret_bytes;
    const char *store_url; /* opened read-only */
    struct objects *objects;
    int64_t upload_bytes_max;
    const char *web_dir; /* read whole at the start; NULL: no pages */
    struct api_backend backend;
};

/* SL_EBUSY when the port is taken, SL_EACCES for an address that is not loopback without secret and tokens,
 * SL_EINVAL for a file of tokens with mistakes. */
int api_start(const struct api_config *config, struct api **out, struct sl_failure *why);
int api_port(const struct api *api);
void api_stop(struct api **api);

/* Does the text name this machine's loopback only? */
bool api_host_is_loopback(const char *host);

/* To everyone who follows /api/v1/events. */
void api_event_video(struct api *api, struct video_id video, enum video_status status,
                     double playable_seconds);
void api_event_node(struct api *api, const char *uuid, enum node_state state);

/* Playlists served below /media/<video>/<version>/ while the video is not ready: text is added to the one of that name,
 * and seen by whoever asks next. Those that grow get their end while `ended`. */
void api_live_append(struct api *api, struct video_id video, int32_t version, const char *name,
                     bool grows, const char *bytes, size_t length);
void api_live_end(struct api *api, struct video_id video, bool ended);
void api_live_drop(struct api *api, struct video_id video);

#endif
