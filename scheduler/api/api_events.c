/* Server-sent events: what changes, as it changes. A ring remembers the newest, so that a follower that
 * reconnects with Last-Event-ID misses nothing; one that was away for too long is told to start over. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "scheduler/api/api_http.h"

#define EVENT_PINGS 3 /* in the time after which a silent connection ends */

static void event_post(struct api *api, const char *kind, const char *data)
{
    pthread_mutex_lock(&api->events_lock);
    struct api_event *event = &api->events[api->event_next % API_EVENTS_MAX];
    event->id = api->event_next;
    int length = snprintf(event->text, sizeof event->text, "id: %llu\nevent: %s\ndata: %s\n\n",
                          (unsigned long long)event->id, kind, data);
    /* The members are bounded so that this holds; a cut event would break the stream. */
    if (length > 0 && (size_t)length < sizeof event->text) {
        api->event_next++;
        if (api->event_next - api->event_first > API_EVENTS_MAX)
            api->event_first = api->event_next - API_EVENTS_MAX;
        pthread_cond_broadcast(&api->events_new);
    }
    pthread_mutex_unlock(&api->events_lock);
}

void api_event_video(struct api *api, struct video_id video, enum video_status status,
                     double playable_seconds)
{
    char data[128], id[VIDEO_ID_TEXT_BYTES];
    snprintf(data, sizeof data, "{\"video_id\":\"%s\",\"status\":\"%s\",\"playable_seconds\":%.3f}",
             video_id_format(video, id), video_status_word(status), playable_seconds);
    event_post(api, "video", data);
}

void api_event_node(struct api *api, const char *uuid, enum node_state state)
{
    struct sl_buf data = {0};
    sl_buf_text(&data, "{\"node_id\":");
    sl_buf_json_string(&data, uuid, strnlen(uuid, NODE_UUID_BYTES));
    sl_buf_printf(&data, ",\"state\":\"%s\"}", node_state_word(state));
    if (!data.failed)
        event_post(api, "node", (const char *)data.data);
    sl_buf_fini(&data);
}

struct follower {
    struct api *api;
    uint64_t next;
    bool hello;
    char left[API_EVENT_BYTES]; /* of an event that did not fit */
    size_t left_length;
};

/* Until there is an event from next on, or it is time for a ping. */
static void wait_event(struct api *api, uint64_t next)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(api->config.limits.idle_ns / EVENT_PINGS / 1000000000);
    while (!atomic_load(&api->stopping) && next >= api->event_next)
        if (pthread_cond_timedwait(&api->events_new, &api->events_lock, &until) != 0)
            break;
}

static size_t give(struct follower *follower, char *into, size_t max)
{
    size_t length = follower->left_length < max ? follower->left_length : max;
    memcpy(into, follower->left, length);
    memmove(follower->left, follower->left + length, follower->left_length - length);
    follower->left_length -= length;
    return length;
}

static ssize_t follow(void *arg, uint64_t position, char *into, size_t max)
{
    (void)position;
    struct follower *follower = arg;
    struct api *api = follower->api;
    if (follower->left_length > 0)
        return (ssize_t)give(follower, into, max);
    const char *text = NULL;
    pthread_mutex_lock(&api->events_lock);
    if (!follower->hello) {
        follower->hello = true;
        text = "retry: 2000\n\n";
    } else if (follower->next < api->event_first) {
        follower->next = api->event_next;
        text = "event: reset\ndata: {}\n\n";
    } else {
        if (follower->next >= api->event_next)
            wait_event(api, follower->next);
        if (follower->next >= api->event_next)
            text = ": ping\n\n";
        else if (follower->next >= api->event_first)
            text = api->events[follower->next++ % API_EVENTS_MAX].text;
        else
            text = ": late\n\n";
    }
    follower->left_length = strlen(text);
    memcpy(follower->left, text, follower->left_length);
    pthread_mutex_unlock(&api->events_lock);
    if (atomic_load(&api->stopping))
        return MHD_CONTENT_READER_END_OF_STREAM;
    return (ssize_t)give(follower, into, max);
}

static void follow_end(void *arg)
{
    struct follower *follower = arg;
    atomic_fetch_sub(&follower->api->streams, 1);
    free(follower);
}

void api_events_follow(struct api_request *request)
{
    struct api *api = request->api;
    if (atomic_fetch_add(&api->streams, 1) >= API_STREAMS_MAX) {
        atomic_fetch_sub(&api->streams, 1);
        api_reply_error(request, MHD_HTTP_TOO_MANY_REQUESTS, "limit", NULL,
                        "%d clients follow the events already; poll GET /api/v1/videos instead",
                        API_STREAMS_MAX);
        return;
    }
    struct follower *follower = calloc(1, sizeof *follower);
    if (!follower) {
        atomic_fetch_sub(&api->streams, 1);
        api_reply(request, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return;
    }
    follower->api = api;
    const char *last = api_header(request, "Last-Event-ID");
    pthread_mutex_lock(&api->events_lock);
    follower->next = api->event_next;
    if (last) {
        /* What is no id of ours, or of a time that is yet to come, is as good as a long absence: 0. */
        char *end = NULL;
        uint64_t id = strtoull(last, &end, 10);
        bool known = end != last && *end == '\0' && id < api->event_next;
        follower->next = known ? id + 1 : 0;
    }
    pthread_mutex_unlock(&api->events_lock);
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, API_EVENT_BYTES, follow, follower, follow_end);
    if (!response) {
        follow_end(follower);
    } else {
        MHD_add_response_header(response, "Content-Type", "text/event-stream");
        MHD_add_response_header(response, "Cache-Control", "no-store");
    }
    api_reply(request, MHD_HTTP_OK, response);
}
