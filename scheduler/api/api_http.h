/* scheduler/api/api_http.h: one HTTP request on its way through the routes.
 *
 * Owns:    struct api_request, from the first header to the end of the reply.
 * Shapes:  a route either gets its whole body in request->body (at most API_BODY_BYTES_MAX), or takes it
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

#define API_PARAMS_MAX     2
#define API_READERS_MAX    8
#define API_EVENTS_MAX     1024 /* remembered for those who reconnect */
#define API_EVENT_BYTES    256
#define API_DISCARD_BYTES  (8 * 1024 * 1024) /* of a refused body, read so that the reply arrives */
#define API_STATUS_CLASSES 6

struct api_event {
    uint64_t id;
    char text[API_EVENT_BYTES];
};

struct api {
    struct api_config config;
    struct MHD_Daemon *http;
    int listener;
    int port;
    atomic_bool stopping;
    atomic_llong requests[API_STATUS_CLASSES]; /* by status / 100 */
    atomic_int streams;

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

struct api_route {
    const char *method;
    const char *pattern; /* "*" is one part of the path, a final "**" the rest */
    void (*run)(struct api_request *request);
    const struct api_stream *stream;
    bool open; /* no bearer secret asked */
};

struct api_request {
    struct api *api;
    struct MHD_Connection *connection;
    const struct api_route *route;
    const char *path;
    const char *method;
    char *params[API_PARAMS_MAX]; /* what "*" and "**" stood for */
    char *path_copy;
    struct sl_buf body;
    bool overflow; /* body over its limit */
    bool replied;
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

/* ---- reading the request ---- */

const char *api_header(struct api_request *request, const char *name);
const char *api_query(struct api_request *request, const char *name);
/* The body as a JSON object; NULL after having replied 400 with the place of the mistake. An empty body is
 * an empty object. */
json_t *api_body_json(struct api_request *request);
/* False after having replied 404. */
bool api_param_video(struct api_request *request, int n, struct video_id *out);
/* False after having replied 400: the object has a member that is none of the names. */
bool api_members_known(struct api_request *request, json_t *object, const char *const *names);

/* ---- values ---- */

/* A text as JSON, whatever bytes it has; null for NULL. */
json_t *api_text(const char *text);
json_t *api_time(int64_t unix_ns); /* null for 0 */

/* Runs a call of the backend. False after having replied with its failure; the call is freed then. */
bool api_ask(struct api_request *request, struct api_call **call);

/* ---- read-only store handles ---- */

struct store *api_reader_take(struct api *api, struct sl_failure *why);
void api_reader_give(struct api *api, struct store *store);

/* ---- the routes, by file ---- */

extern const struct api_stream api_upload_stream;
extern const struct api_stream api_object_stream;

void api_videos_submit(struct api_request *request);
void api_videos_list(struct api_request *request);
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
void api_health(struct api_request *request);
void api_metrics_show(struct api_request *request);
void api_media_get(struct api_request *request);
void api_media_options(struct api_request *request);
void api_object_get(struct api_request *request);
void api_object_delete(struct api_request *request);

/* Serves one object with Range; replies in every case. */
void api_object_send(struct api_request *request, const char *key, const char *type,
                     bool is_public);

json_t *api_video_json(struct api_request *request, const struct api_video *video);
json_t *api_failure_json(const struct sl_failure *failure);

#endif
