/* The routes: this table is the only place where one is made. docs/openapi.json describes each of them, and
 * tests/api/test_openapi.c holds the two against each other. */
#include <stdio.h>
#include <string.h>

#include "scheduler/api/api_http.h"

#define SMALL_BYTES (16 * 1024) /* a few members */

const struct api_route api_routes[] = {
    {"POST", "/api/v1/videos", API_SUBMIT, api_videos_submit},
    {"GET", "/api/v1/videos", API_READ, api_videos_list},
    {"PUT", "/api/v1/videos/{video}/source", API_SUBMIT, .stream = &api_upload_stream},
    {"GET", "/api/v1/videos/{video}/source", API_READ | API_SUBMIT, api_source_offset},
    {"PUT", "/api/v1/videos/{video}/subtitles/{language}", API_SUBMIT, api_sidecar_put,
     API_SIDECAR_BYTES_MAX},
    {"DELETE", "/api/v1/videos/{video}/subtitles/{language}", API_SUBMIT, api_sidecar_delete,
     SMALL_BYTES},
    {"GET", "/api/v1/videos/{video}/status", API_READ, api_video_status},
    {"GET", "/api/v1/videos/{video}/tasks", API_READ, api_video_tasks},
    {"GET", "/api/v1/videos/{video}/log", API_READ, api_video_log},
    {"POST", "/api/v1/videos/{video}/retry", API_OPERATE, api_video_retry, SMALL_BYTES},
    {"POST", "/api/v1/videos/{video}/cancel", API_OPERATE, api_video_cancel, SMALL_BYTES},
    {"DELETE", "/api/v1/videos/{video}", API_ADMIN, api_video_delete, SMALL_BYTES},
    {"GET", "/api/v1/nodes", API_READ, api_nodes_list},
    {"POST", "/api/v1/nodes/{node}/drain", API_OPERATE, api_node_drain, SMALL_BYTES},
    {"POST", "/api/v1/nodes/{node}/undrain", API_OPERATE, api_node_undrain, SMALL_BYTES},
    {"GET", "/api/v1/devices", API_READ, api_devices_list},
    {"GET", "/api/v1/explain/{subject}", API_READ, api_explain},
    {"GET", "/api/v1/dlq", API_READ, api_dead_list},
    {"GET", "/api/v1/dlq/{task}", API_READ, api_dead_show},
    {"POST", "/api/v1/dlq/{task}/redrive", API_OPERATE, api_dead_redrive, SMALL_BYTES},
    {"POST", "/api/v1/dlq/{task}/drop", API_OPERATE, api_dead_drop, SMALL_BYTES},
    {"GET", "/api/v1/status", API_READ, api_farm_status},
    {"GET", "/api/v1/events", API_READ, api_events_follow},
    {"POST", "/api/v1/session", API_ANY, api_session_begin, SMALL_BYTES},
    {"GET", "/api/v1/session", API_ANY, api_session_show},
    {"DELETE", "/api/v1/session", API_OPEN, api_session_end, SMALL_BYTES},
    {"GET", "/api/v1/openapi.json", API_OPEN, api_openapi_show},
    {"GET", "/metrics", API_READ, api_metrics_show},
    {"GET", "/healthz", API_OPEN, api_health},
    {"GET", "/", API_OPEN, api_page_list},
    {"GET", "/watch/{video}", API_OPEN, api_page_watch},
    {"GET", "/videos/{video}", API_OPEN, api_page_video},
    {"GET", "/assets/{file}", API_OPEN, api_page_asset},
    {"GET", "/media/{path...}", API_READ, api_media_get},
    {"OPTIONS", "/media/{path...}", API_OPEN, api_media_options},
    {"GET", "/objects/{key...}", API_TICKET, api_object_get},
    {"PUT", "/objects/{key...}", API_TICKET, .stream = &api_object_stream},
    {"DELETE", "/objects/{key...}", API_TICKET, api_object_delete, SMALL_BYTES},
};

const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];

_Static_assert(sizeof api_routes / sizeof api_routes[0] <= API_ROUTES_MAX,
               "the counters of routes have room for all");

/* Fills params with pointers into path; "{x...}" takes the rest, "{x}" is one part that runs on until
 * params_cut. */
static bool pattern_match(const char *pattern, char *path, char *params[API_PARAMS_MAX])
{
    int found = 0;
    while (*pattern == '/') {
        pattern++;
        if (*path != '/')
            return false;
        path++;
        size_t length = strcspn(pattern, "/");
        size_t part = strcspn(path, "/");
        if (pattern[0] == '{') {
            if (found == API_PARAMS_MAX || *path == '\0' || part == 0)
                return false;
            params[found++] = path;
            if (pattern[length - 2] == '.')
                return true;
        } else if (part != length || memcmp(path, pattern, part) != 0) {
            return false;
        }
        path += part;
        pattern += length;
    }
    return *path == '\0';
}

static void params_cut(const char *pattern, char *params[API_PARAMS_MAX])
{
    if (strstr(pattern, "...}"))
        return;
    for (int i = 0; i < API_PARAMS_MAX; i++)
        if (params[i])
            params[i][strcspn(params[i], "/")] = '\0';
}

static bool method_is(const struct api_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

const struct api_route *api_route_find(struct api_request *request)
{
    char allowed[64] = "";
    for (size_t i = 0; i < api_route_count; i++) {
        char *params[API_PARAMS_MAX] = {0};
        if (!pattern_match(api_routes[i].pattern, request->path_copy, params))
            continue;
        if (method_is(&api_routes[i], request->method)) {
            memcpy(request->params, params, sizeof params);
            params_cut(api_routes[i].pattern, request->params);
            return &api_routes[i];
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s%s", used ? ", " : "",
                 api_routes[i].method, strcmp(api_routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (!allowed[0]) {
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "there is nothing at %.128s; GET /api/v1/openapi.json tells what there is",
                        request->path);
        return NULL;
    }
    request->allowed = allowed;
    api_reply_error(request, MHD_HTTP_METHOD_NOT_ALLOWED, "invalid", NULL,
                    "%.32s is not possible here; possible are: %s", request->method, allowed);
    request->allowed = NULL;
    return NULL;
}
