/* scheduler/api/api_http.h: one HTTP request on its way through the routes.
 *
 * Owns:    struct api_request, from the first header to the end of the reply.
 * Shapes:  a route either gets its whole body in request->body (at most its body_bytes_max), or takes it
 *          in pieces through its struct api_stream.
 * Threads: a request belongs to its connection's thread; struct api is shared and guards itself.
 */
#ifndef SL_SCHEDULER_API_API_HTTP_H
#define SL_SCHEDULER_API_API_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "model/report_types.h"
#include "scheduler/api/api.h"
#include "scheduler/api/api_guard.h"
#include "scheduler/api/api_tokens.h"

#define API_PARAMS_MAX    2
#define API_ROUTES_MAX    64
#define API_STATUSES_MAX  32 /* different ones */
#define API_ETAG_BYTES    56
#define API_READERS_MAX   8
#define API_EVENTS_MAX    1024 /* remembered for those who reconnect */
#define API_EVENT_BYTES   256
#define API_DISCARD_BYTES (8 * 1024 * 1024) /* of a refused body, read so that the reply arrives */
#define API_LIVE_BUCKETS  4096

struct api_event {
    uint64_t id;
    char text[API_EVENT_BYTES];
};

/* What was answered, by route; the last row is for what is no route. */
struct api_traffic {
    pthread_mutex_t lock;
    struct {
        int64_t answers[API_STATUSES_MAX];
        struct api_histogram duration;
    } routes[API_ROUTES_MAX + 1];
    int statuses[API_STATUSES_MAX]; /* which status each column of answers is; 0: free */
};

struct api {
    struct api_config config;
    struct MHD_Daemon *http;
    int listener;
    int port;
    atomic_bool stopping;
    atomic_int streams;
    struct api_guard *guard;
    struct api_tokens *tokens;
    struct api_traffic traffic;
    struct api_pages *pages;

    pthread_mutex_t readers_lock;
    pthread_cond_t readers_free;
    struct store *readers[API_READERS_MAX];
    int reader_count; /* opened */
    int reader_idle;  /* the first of readers[] that are idle */

    pthread_mutex_t events_lock;
    pthread_cond_t events_new;
    struct api_event events[API_EVENTS_MAX]; /* ring: id % API_EVENTS_MAX */
    uint64_t event_first;
    uint64_t event_next;

    pthread_mutex_t live_lock;
    struct api_live *live[API_LIVE_BUCKETS]; /* by video */
};

struct api_request;

/* A body that is too large to hold. begin may reply at once (return false), data gets the pieces, end
 * replies; drop frees what is left when the client went away. */
struct api_stream {
    bool (*begin)(struct api_request *request);
    void (*data)(struct api_request *request, const char *bytes, size_t length);
    void (*end)(struct api_request *request);
    void (*drop)(struct api_request *request);
};

/* Beside the scopes of tokens: */
#define API_OPEN   0x100 /* anybody may */
#define API_TICKET 0x200 /* a lease's ticket is asked for, by the route itself */

struct api_route {
    const char *method;
    const char *pattern; /* "{x}" is one part of the path, a final "{x...}" the rest */
    unsigned scopes;     /* of a token; one of them is enough */
    void (*run)(struct api_request *request);
    int64_t body_bytes_max; /* 0: limits.body_bytes_max */
    const struct api_stream *stream;
};

extern const struct api_route api_routes[];
extern const size_t api_route_count;

struct api_request {
    struct api *api;
    struct MHD_Connection *connection;
    const struct api_route *route;
    const char *path;
    const char *method;
    char *params[API_PARAMS_MAX]; /* what "{x}" and "{x...}" stood for */
    char *path_copy;
    struct sl_buf body;
    bool overflow; /* body over its limit */
    bool replied;
    bool local;            /* from this machine, which needs no token */
    bool by_cookie;        /* the token came by the cookie of a session */
    struct api_token who;  /* scopes 0: nobody we know */
    const char *allowed;   /* of the header Allow, for a 405 */
    const char *challenge; /* of the header WWW-Authenticate, for a 401 or 403 */
    int retry_after_s;     /* of the header Retry-After; 0: as usual */
    int64_t began_ns;
    enum MHD_Result queued;
    bool holding; /* a reply made now waits for the end of the body */
    bool refused; /* it waits in `pending` */
    int pending_status;
    struct MHD_Response *pending;
    uint64_t discarded;
    int64_t content_length; /* -1: not given */
    void *state;            /* of a stream */
};

/* ---- replies ---- */

/* Takes the response. */
void api_reply(struct api_request *request, int status, struct MHD_Response *response);
/* Takes the value. */
void api_reply_json(struct api_request *request, int status, json_t *value);
void api_reply_text(struct api_request *request, int status, const char *type, struct sl_buf *text);
/* details may be NULL; taken. */
void api_reply_error(struct api_request *request, int status, const char *code, json_t *details,
                     const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* With the status that fits the code. */
void api_reply_failure(struct api_request *request, const struct sl_failure *failure);
int api_status_of(int code);

/* A reply to GET with its ETag; 304 when the client has it already. Takes text, which malloc made. */
void api_reply_tagged(struct api_request *request, const char *type, const char *cache, char *text,
                      size_t length);
/* Whether a header If-None-Match or If-Match names the tag. */
bool api_etag_named(const char *header, const char *etag);
void api_etag_make(const void *bytes, size_t length, char etag[API_ETAG_BYTES]);

/* ---- reading the request ---- */

/* NULL after having replied 404 or 405. */
const struct api_route *api_route_find(struct api_request *request);
/* Fills request->who, by_cookie and local. */
void api_who_find(struct api_request *request);
/* False after having replied 401 or 403. */
bool api_access_check(struct api_request *request);
/* May this request do what is for administrators alone? */
bool api_is_admin(const struct api_request *request);

const char *api_header(struct api_request *request, const char *name);
/* Did the client come by https, as a proxy before us says? */
bool api_is_https(struct api_request *request);
const char *api_query(struct api_request *request, const char *name);
/* The body as a JSON object; NULL after having replied 400 with the place of the mistake. An empty body is
 * an empty object. */
json_t *api_body_json(struct api_request *request);
/* False after having replied 404. */
bool api_param_video(struct api_request *request, int n, struct video_id *out);
/* False after having replied 400: the object has a member that is none of the names. */
bool api_members_known(struct api_request *request, json_t *object, const char *const *names);

/* Decimal digits at *text, which is moved behind them; a number too large is INT64_MAX. */
bool api_digits_parse(const char **text, int64_t *out);
/* 64 hexadecimal digits. */
bool api_sha256_parse(const char *text, uint8_t out[SHA256_BYTES]);

/* ---- values ---- */

/* A text as JSON, whatever bytes it has; null for NULL. */
json_t *api_text(const char *text);
json_t *api_time(int64_t unix_ns); /* null for 0 */

/* Runs a call of the backend. False after having replied with its failure; the call is freed then. */
bool api_ask(struct api_request *request, struct api_call **call);

/* Counts an answer given. */
void api_traffic_add(struct api_request *request, int status);

/* ---- read-only store handles ---- */

struct store *api_reader_take(struct api *api, struct sl_failure *why);
void api_reader_give(struct api *api, struct store *store);

/* ---- the routes, by file ---- */

extern const struct api_stream api_upload_stream;
extern const struct api_stream api_object_stream;

void api_videos_submit(struct api_request *request);
void api_videos_list(struct api_request *request);
void api_sidecar_put(struct api_request *request);
void api_sidecar_delete(struct api_request *request);
void api_video_status(struct api_request *request);
void api_video_delete(struct api_request *request);
void api_video_retry(struct api_request *request);
void api_video_cancel(struct api_request *request);
void api_source_offset(struct api_request *request);
void api_nodes_list(struct api_request *request);
void api_node_drain(struct api_request *request);
void api_node_undrain(struct api_request *request);
void api_devices_list(struct api_request *request);
void api_explain(struct api_request *request);
void api_dead_list(struct api_request *request);
void api_dead_show(struct api_request *request);
void api_dead_redrive(struct api_request *request);
void api_dead_drop(struct api_request *request);
void api_farm_status(struct api_request *request);
void api_events_follow(struct api_request *request);
void api_session_begin(struct api_request *request);
void api_session_show(struct api_request *request);
void api_session_end(struct api_request *request);
void api_openapi_show(struct api_request *request);
void api_health(struct api_request *request);
void api_metrics_show(struct api_request *request);
void api_media_get(struct api_request *request);
void api_media_options(struct api_request *request);
void api_video_tasks(struct api_request *request);
void api_video_log(struct api_request *request);
void api_page_list(struct api_request *request);
void api_page_watch(struct api_request *request);
void api_page_video(struct api_request *request);
void api_page_asset(struct api_request *request);
void api_object_get(struct api_request *request);
void api_object_delete(struct api_request *request);

/* What of the folder is served, read into memory: nothing that a request says can name a file. */
int api_pages_open(const char *folder, struct api_pages **out);
void api_pages_close(struct api_pages **pages);

/* The text of a growing playlist, appended to out; false when there is none at that path below /media/. */
bool api_live_read(struct api *api, const char *path, struct sl_buf *out);
void api_live_fini(struct api *api);

/* Serves one object with Range; replies in every case. */
void api_object_send(struct api_request *request, const char *key, const char *type,
                     bool is_public);

json_t *api_video_json(struct api_request *request, const struct api_video *video);
json_t *api_failure_json(const struct sl_failure *failure);

#endif
