/* Routes about videos: submit, list, status, cancel, retry, delete. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/api/api_http.h"

#define POLICY_TEXT_BYTES_MAX (256 * 1024)

static const char *const progress_words[] = {"pending", "running", "completed", "failed",
                                             "skipped"};

/* ---- rendering ---- */

static json_t *steps_json(const struct api_video *video)
{
    json_t *steps = json_object();
    static const enum step shown[] = {STEP_PROBE,  STEP_PLAN,    STEP_AUDIO, STEP_SUBTITLES,
                                      STEP_IMAGES, STEP_PACKAGE, STEP_VERIFY};
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        json_object_set_new(steps, step_word(shown[i]),
                            json_string(progress_words[video->steps[shown[i]]]));
    int32_t total = video->transcode_total;
    int percent = total ? (int)((int64_t)video->transcode_completed * 100 / total) : 0;
    if (video->status == VIDEO_READY)
        percent = 100;
    json_object_set_new(steps, "transcode",
                        json_pack("{s:i,s:i,s:i}", "completed", video->transcode_completed, "total",
                                  total, "percent", percent));
    return steps;
}

static json_t *rendition_json(const struct api_rendition *row)
{
    json_t *devices = json_array();
    for (int32_t i = 0; i < row->device_count; i++)
        json_array_append_new(devices, api_text(row->devices[i]));
    return json_pack("{s:s,s:o,s:i,s:i,s:I,s:I,s:i,s:o,s:o}", "codec", codec_word(row->codec),
                     "name", api_text(row->name), "width", row->width, "height", row->height,
                     "frames", (json_int_t)row->frames, "bytes", (json_int_t)row->bytes,
                     "bitrate_kbps", row->bitrate_kbps, "encoder", api_text(row->encoder),
                     "devices", devices);
}

static json_t *source_json(const struct api_video *video)
{
    const struct api_source *source = &video->source;
    json_t *value = json_object();
    json_object_set_new(value, "duration_seconds",
                        source->known ? json_real(source->duration_seconds) : json_null());
    json_object_set_new(value, "width", source->known ? json_integer(source->width) : json_null());
    json_object_set_new(value, "height",
                        source->known ? json_integer(source->height) : json_null());
    json_object_set_new(value, "frames",
                        source->known ? json_integer(source->frames) : json_null());
    json_object_set_new(value, "codec", api_text(source->known ? source->codec : NULL));
    json_object_set_new(value, "sha256", api_text(video->sha256));
    json_t *notes = json_array();
    for (int32_t i = 0; i < source->note_count; i++)
        json_array_append_new(notes, api_text(source->notes[i]));
    json_object_set_new(value, "notes", notes);
    return value;
}

/* The address under which the client reached us, so that what it gets back works for it too. */
static void base_url(struct api_request *request, char *url, size_t bytes)
{
    const char *host = api_header(request, "Host");
    bool plain =
        host && host[0] && strlen(host) < 256 &&
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") ==
            strlen(host);
    if (plain)
        snprintf(url, bytes, "%s://%s", api_is_https(request) ? "https" : "http", host);
    else
        snprintf(url, bytes, "http://127.0.0.1:%d", api_port(request->api));
}

static json_t *manifests_json(struct api_request *request, const struct api_video *video)
{
    const char *below = "published/";
    const char *key = video->published_key ? video->published_key : video->live_key;
    if (!key || strncmp(key, below, strlen(below)) != 0)
        return json_null();
    char base[300];
    base_url(request, base, sizeof base);
    const char *folder = key + strlen(below);
    int length = (int)strlen(folder);
    while (length > 0 && folder[length - 1] == '/')
        length--;
    /* DASH comes with the whole. */
    json_t *dash = video->published_key
                       ? json_sprintf("%s/media/%.*s/manifest.mpd", base, length, folder)
                       : json_null();
    return json_pack("{s:o,s:o}", "hls",
                     json_sprintf("%s/media/%.*s/master.m3u8", base, length, folder), "dash", dash);
}

/* Where the version that plays has this file; NULL without one. */
static json_t *media_json(struct api_request *request, const struct api_video *video,
                          const char *name)
{
    const char *below = "published/";
    if (!video->published_key || strncmp(video->published_key, below, strlen(below)) != 0)
        return json_null();
    char base[300];
    base_url(request, base, sizeof base);
    const char *folder = video->published_key + strlen(below);
    int length = (int)strlen(folder);
    while (length > 0 && folder[length - 1] == '/')
        length--;
    return json_sprintf("%s/media/%.*s/%s", base, length, folder, name);
}

/* What the version that plays has beside its renditions. */
static void extras_json(struct api_request *request, const struct api_video *video, json_t *value)
{
    json_t *texts = json_array(), *chapters = json_array(), *images = json_object();
    for (int32_t i = 0; i < video->text_count; i++) {
        const struct api_text_track *text = &video->texts[i];
        json_array_append_new(
            texts, json_pack("{s:o,s:o,s:b,s:b,s:I,s:o}", "language",
                             api_text(text->language[0] ? text->language : NULL), "title",
                             api_text(text->title[0] ? text->title : NULL), "default",
                             (int)text->is_default, "forced", (int)text->forced, "cues",
                             (json_int_t)text->cues, "url", media_json(request, video, text->key)));
    }
    for (int32_t i = 0; i < video->chapter_count; i++) {
        const struct api_chapter *chapter = &video->chapters[i];
        json_array_append_new(chapters,
                              json_pack("{s:f,s:f,s:o}", "start_seconds", chapter->start_seconds,
                                        "end_seconds", chapter->end_seconds, "title",
                                        api_text(chapter->title)));
    }
    const struct {
        const char *member;
        const char *file;
        bool there;
    } files[] = {
        {"poster", "poster.jpg", video->has_poster},
        {"thumbnails", "thumbnails.vtt", video->has_thumbnails},
        {"preview", "preview.webp", video->has_preview},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        json_object_set_new(images, files[i].member,
                            files[i].there ? media_json(request, video, files[i].file)
                                           : json_null());
    json_object_set_new(value, "subtitles", texts);
    json_object_set_new(value, "images", images);
    json_object_set_new(value, "chapters", chapters);
}

static json_t *video_error_json(const struct api_video *video)
{
    json_t *value = api_failure_json(&video->failure);
    if (json_is_object(value))
        json_object_set_new(value, "step", json_string(step_word(video->failure_step)));
    return value;
}

json_t *api_video_json(struct api_request *request, const struct api_video *video)
{
    char id[VIDEO_ID_TEXT_BYTES];
    json_t *renditions = json_array();
    for (int32_t i = 0; i < video->rendition_count; i++)
        json_array_append_new(renditions, rendition_json(&video->renditions[i]));
    json_t *value = json_object();
    json_object_set_new(value, "video_id", json_string(video_id_format(video->video, id)));
    json_object_set_new(value, "status", json_string(video_status_word(video->status)));
    json_object_set_new(value, "name", api_text(video->name));
    json_object_set_new(value, "priority", json_string(priority_word(video->priority)));
    json_object_set_new(value, "policy", api_text(video->policy));
    json_object_set_new(value, "created_at", api_time(video->created_unix_ns));
    json_object_set_new(value, "started_at", api_time(video->started_unix_ns));
    json_object_set_new(value, "completed_at", api_time(video->completed_unix_ns));
    json_object_set_new(value, "estimated_completion", api_time(video->estimated_unix_ns));
    json_object_set_new(value, "playable_seconds", json_real(video->playable_seconds));
    json_object_set_new(value, "pipeline_progress", steps_json(video));
    json_object_set_new(value, "source", source_json(video));
    json_object_set_new(value, "renditions", renditions);
    json_object_set_new(value, "manifests", manifests_json(request, video));
    extras_json(request, video, value);
    json_object_set_new(value, "error", video_error_json(video));
    return value;
}

/* ---- submit ---- */

/* Copies a text member into the arena; false after having replied. */
static bool member_text(struct api_request *request, json_t *body, const char *name,
                        size_t bytes_max, struct sl_arena *arena, const char **out)
{
    json_t *value = json_object_get(body, name);
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value)) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL, "\"%s\" must be a string",
                        name);
        return false;
    }
    size_t length = json_string_length(value);
    if (length >= bytes_max) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"%s\" has %zu bytes; at most %zu are taken", name, length, bytes_max - 1);
        return false;
    }
    if (strlen(json_string_value(value)) != length) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"%s\" has a zero byte in it", name);
        return false;
    }
    *out = sl_arena_strndup(arena, json_string_value(value), length);
    return true;
}

/* "subtitles": [{"language", "path"}]; false after having replied. */
static bool sidecars_read(struct api_request *request, json_t *body, struct api_call *call)
{
    static const char *const known[] = {"language", "path", NULL};
    json_t *list = json_object_get(body, "subtitles"), *item;
    if (!list || json_is_null(list))
        return true;
    size_t count = json_array_size(list), i;
    if (!json_is_array(list) || count > API_SIDECARS_MAX || !call->submit.path) {
        api_reply_error(
            request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
            "\"subtitles\" is a list of at most %d {\"language\", \"path\"} beside a "
            "\"path\"; upload others with PUT /api/v1/videos/{video}/subtitles/{language}",
            API_SIDECARS_MAX);
        return false;
    }
    call->sidecars = sl_arena_array(&call->arena, count, sizeof *call->sidecars);
    if (!call->sidecars)
        return false;
    json_array_foreach(list, i, item)
    {
        struct api_sidecar *sidecar = &call->sidecars[call->sidecar_count++];
        if (!json_is_object(item)) {
            api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                            "each of \"subtitles\" is {\"language\", \"path\"}");
            return false;
        }
        if (!api_members_known(request, item, known) ||
            !member_text(request, item, "language", STORE_TEXT_BYTES, &call->arena,
                         &sidecar->language) ||
            !member_text(request, item, "path", STORE_PATH_BYTES * 4, &call->arena, &sidecar->path))
            return false;
        if (!sidecar->language || !sidecar->path) {
            api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                            "each of \"subtitles\" needs \"language\" and \"path\"");
            return false;
        }
    }
    return true;
}

void api_videos_submit(struct api_request *request)
{
    static const char *const known[] = {"path",     "name",     "policy",      "policy_text",
                                        "priority", "provider", "external_id", "subtitles",
                                        "stream",   NULL};
    json_t *body = api_body_json(request);
    if (!body)
        return;
    struct api_call *call = api_call_new(API_CALL_SUBMIT);
    const char *priority = NULL;
    if (!call || !api_members_known(request, body, known))
        goto done;
    struct api_submit *submit = &call->submit;
    struct sl_arena *arena = &call->arena;
    if (!member_text(request, body, "path", STORE_PATH_BYTES * 4, arena, &submit->path) ||
        !member_text(request, body, "name", STORE_TEXT_BYTES, arena, &submit->name) ||
        !member_text(request, body, "policy", POLICY_NAME_BYTES, arena, &submit->policy) ||
        !member_text(request, body, "policy_text", POLICY_TEXT_BYTES_MAX, arena,
                     &submit->policy_text) ||
        !member_text(request, body, "priority", 16, arena, &priority) ||
        !member_text(request, body, "provider", STORE_TEXT_BYTES, arena, &submit->provider) ||
        !member_text(request, body, "external_id", STORE_TEXT_BYTES, arena, &submit->external_id))
        goto done;
    if (!sidecars_read(request, body, call))
        goto done;
    submit->stream_asked = -1;
    const json_t *stream = json_object_get(body, "stream");
    if (stream && !json_is_null(stream)) {
        json_int_t number = json_integer_value(stream);
        if (!json_is_integer(stream) || number < 0 || number > INT16_MAX) {
            api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                            "\"stream\" is the index of a video stream in the source, as ffprobe "
                            "counts them: 0 or more");
            goto done;
        }
        submit->stream_asked = (int32_t)number;
    }
    submit->priority = PRIORITY_NORMAL;
    if (priority && priority_from_word(priority, &submit->priority) != SL_OK) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"priority\" is low, normal, high or urgent, not \"%s\"", priority);
        goto done;
    }
    if (submit->path && !api_is_admin(request)) {
        request->challenge =
            "Bearer realm=\"sluice\", error=\"insufficient_scope\", scope=\"admin\"";
        api_reply_error(request, MHD_HTTP_FORBIDDEN, "refused", NULL,
                        "\"path\" lets the daemon read its own machine's files, which needs the "
                        "scope admin; give \"name\" and upload the source instead");
        goto done;
    }
    if (submit->policy && submit->policy_text) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "give \"policy\" (a name) or \"policy_text\" (YAML), not both");
        goto done;
    }
    if (!api_ask(request, &call))
        goto done;
    char id[VIDEO_ID_TEXT_BYTES];
    api_reply_json(request, call->submit.created ? MHD_HTTP_CREATED : MHD_HTTP_OK,
                   json_pack("{s:s,s:b}", "video_id", video_id_format(call->video, id), "created",
                             (int)call->submit.created));
done:
    api_call_free(&call);
    json_decref(body);
}

/* ---- list ---- */

#define SCAN_MAX                                                                                   \
    20000 /* rows looked at for one page; then the page ends, and next goes on from there */

struct list_query {
    enum video_status status; /* VIDEO_STATUS_COUNT: any */
    enum priority priority;   /* PRIORITY_COUNT: any */
    const char *policy;       /* NULL: any; so for the next two */
    const char *provider;
    const char *text;       /* in the name or external id; letters' case does not matter */
    struct video_id before; /* only older ones */
    int64_t after_unix_ns;  /* created then or later */
    int64_t before_unix_ns; /* created earlier; 0: any */
    int32_t limit;
};

struct list_row {
    struct video_id video;
    enum video_status status;
    enum priority priority;
    int64_t created_unix_ns;
    char *policy;
    char *name;
    char *provider;
    char *external_id;
};

struct list_walk {
    const struct list_query *query;
    struct sl_arena *arena;
    struct list_row *rows;
    int32_t count;
    int32_t scanned;
    struct video_id last; /* looked at */
    bool more;            /* the page is full, or the work for one is done */
    bool over;            /* all older ones are too old */
};

static char *text_keep(struct sl_arena *arena, const char *text)
{
    return text ? sl_arena_strdup(arena, text) : NULL;
}

static bool row_wanted(const struct list_query *query, const struct store_video *row)
{
    const char *policy = row->policy_name ? row->policy_name : "default";
    if (query->priority < PRIORITY_COUNT && row->priority != query->priority)
        return false;
    if (query->policy && strcmp(policy, query->policy) != 0)
        return false;
    if (query->provider && strcmp(row->provider ? row->provider : "", query->provider) != 0)
        return false;
    if (query->before_unix_ns && row->created_unix_ns >= query->before_unix_ns)
        return false;
    return !query->text || (row->name && strcasestr(row->name, query->text)) ||
           (row->external_id && strcasestr(row->external_id, query->text));
}

/* Ids rise with the time of creation, so older ones follow. */
static int list_add(void *arg, const struct store_video *row)
{
    struct list_walk *walk = arg;
    const struct list_query *query = walk->query;
    bool wanted = row->created_unix_ns >= query->after_unix_ns && row_wanted(query, row);
    /* Within one millisecond ids have no order. */
    if (row->created_unix_ns < query->after_unix_ns - SL_NS_PER_MS) {
        walk->over = true;
        return 1;
    }
    if ((wanted && walk->count == query->limit) || walk->scanned == SCAN_MAX) {
        walk->more = true;
        return 1;
    }
    walk->scanned++;
    walk->last = row->video;
    if (!wanted)
        return 0;
    walk->rows[walk->count++] = (struct list_row){
        .video = row->video,
        .status = row->status,
        .priority = row->priority,
        .created_unix_ns = row->created_unix_ns,
        .policy = sl_arena_strdup(walk->arena, row->policy_name ? row->policy_name : "default"),
        .name = text_keep(walk->arena, row->name),
        .provider = text_keep(walk->arena, row->provider),
        .external_id = text_keep(walk->arena, row->external_id),
    };
    return 0;
}

/* Page by page of the store until ours is full. */
static int list_walk(struct store *store, struct list_walk *walk)
{
    const struct list_query *query = walk->query;
    walk->last = query->before;
    for (;;) {
        int32_t scanned = walk->scanned;
        int code =
            store_list_videos(store, walk->last, query->status, STORE_LIST_MAX, list_add, walk);
        if (code < 0 || walk->more || walk->over || walk->scanned - scanned < STORE_LIST_MAX)
            return code < 0 ? code : SL_OK;
    }
}

static bool status_is_final(enum video_status status)
{
    return status == VIDEO_READY || status == VIDEO_FAILED || status == VIDEO_CANCELLED;
}

/* A time of the query; false after having replied. */
static bool query_time(struct api_request *request, const char *name, int64_t *out)
{
    const char *text = api_query(request, name);
    if (!text || sl_time_parse(text, out) == SL_OK)
        return true;
    api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                    "\"%s\" is a time like 2026-11-21 or 2026-11-21T06:00:00Z, not \"%.40s\"", name,
                    text);
    return false;
}

static bool list_query_read(struct api_request *request, struct list_query *query)
{
    *query = (struct list_query){.status = VIDEO_STATUS_COUNT,
                                 .priority = PRIORITY_COUNT,
                                 .policy = api_query(request, "policy"),
                                 .provider = api_query(request, "provider"),
                                 .text = api_query(request, "q"),
                                 .limit = 100};
    const char *text = api_query(request, "status");
    if (text && video_status_from_word(text, &query->status) != SL_OK) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "there is no status \"%.32s\"; there are uploaded, probing, transcoding, "
                        "packaging, verifying, ready, failed and cancelled",
                        text);
        return false;
    }
    text = api_query(request, "priority");
    if (text && priority_from_word(text, &query->priority) != SL_OK) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"priority\" is low, normal, high or urgent, not \"%.32s\"", text);
        return false;
    }
    text = api_query(request, "limit");
    if (text) {
        char *end = NULL;
        long value = strtol(text, &end, 10);
        if (*text == '\0' || *end != '\0' || value < 1 || value > API_LIST_MAX) {
            api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                            "\"limit\" is a number from 1 to %d, not \"%.32s\"", API_LIST_MAX,
                            text);
            return false;
        }
        query->limit = (int32_t)value;
    }
    text = api_query(request, "next");
    if (text && video_id_parse(text, &query->before) != SL_OK) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"next\" is what the last page said, not \"%.32s\"", text);
        return false;
    }
    if (!query_time(request, "created_after", &query->after_unix_ns) ||
        !query_time(request, "created_before", &query->before_unix_ns))
        return false;
    /* Ids say when they were made: no need to look at those that are too new. */
    if (query->before_unix_ns) {
        struct video_id bound = video_id_make(query->before_unix_ns, UINT32_MAX);
        bound.v++;
        if (query->before.v == 0 || bound.v < query->before.v)
            query->before = bound;
    }
    return true;
}

static json_t *list_row_json(const struct list_row *row, int percent)
{
    char id[VIDEO_ID_TEXT_BYTES];
    return json_pack("{s:s,s:o,s:s,s:s,s:o,s:o,s:o,s:o,s:i}", "video_id",
                     video_id_format(row->video, id), "name", api_text(row->name), "status",
                     video_status_word(row->status), "priority", priority_word(row->priority),
                     "policy", api_text(row->policy), "provider", api_text(row->provider),
                     "external_id", api_text(row->external_id), "created_at",
                     api_time(row->created_unix_ns), "percent", percent);
}

void api_videos_list(struct api_request *request)
{
    struct list_query query;
    if (!list_query_read(request, &query))
        return;
    struct sl_failure why = {0};
    struct store *store = api_reader_take(request->api, &why);
    if (!store) {
        api_reply_failure(request, &why);
        return;
    }
    struct api_call *call = api_call_new(API_CALL_PROGRESS);
    struct list_walk walk = {.query = &query};
    if (call) {
        walk.arena = &call->arena;
        walk.rows = sl_arena_array(&call->arena, (size_t)query.limit, sizeof *walk.rows);
        call->percents = sl_arena_array(&call->arena, (size_t)query.limit, sizeof *call->percents);
    }
    int code = call && walk.rows && call->percents ? list_walk(store, &walk) : SL_ENOMEM;
    if (code < 0)
        sl_fail(&why, code, "%s", code == SL_ENOMEM ? sl_error_text(code) : store_why(store));
    api_reader_give(request->api, store);
    if (code < 0) {
        api_reply_failure(request, &why);
        api_call_free(&call);
        return;
    }
    for (int32_t i = 0; i < walk.count; i++)
        if (!status_is_final(walk.rows[i].status))
            call->percents[call->percent_count++] = (struct api_percent){walk.rows[i].video, -1};
    if (call->percent_count > 0 && !api_ask(request, &call))
        return;

    json_t *videos = json_array();
    char id[VIDEO_ID_TEXT_BYTES];
    int32_t asked = 0;
    for (int32_t i = 0; i < walk.count; i++) {
        const struct list_row *row = &walk.rows[i];
        int percent = row->status == VIDEO_READY ? 100 : 0;
        if (asked < call->percent_count && call->percents[asked].video.v == row->video.v) {
            int32_t live = call->percents[asked++].percent;
            percent = live >= 0 ? live : percent;
        }
        json_array_append_new(videos, list_row_json(row, percent));
    }
    json_t *next = walk.more ? json_string(video_id_format(walk.last, id)) : json_null();
    api_reply_json(request, MHD_HTTP_OK, json_pack("{s:o,s:o}", "videos", videos, "next", next));
    api_call_free(&call);
}

/* ---- one video ---- */

struct row_read {
    struct api_request *request;
    struct sl_arena *arena;
    struct api_video *out;
};

static int row_take(void *arg, const struct store_video *row)
{
    struct row_read *read = arg;
    const struct api_backend *backend = &read->request->api->config.backend;
    return backend->video_read(backend->arg, row, read->arena, read->out);
}

/* A video that has left the core. False after having replied. */
static bool stored_video(struct api_request *request, struct video_id video, struct sl_arena *arena,
                         struct api_video *out)
{
    struct sl_failure why = {0};
    struct store *store = api_reader_take(request->api, &why);
    if (!store) {
        api_reply_failure(request, &why);
        return false;
    }
    struct row_read read = {request, arena, out};
    int code = store_get_video(store, video, row_take, &read);
    if (code != SL_OK && code != SL_ENOENT)
        sl_fail(&why, code, "%s", store_why(store));
    api_reader_give(request->api, store);
    if (code == SL_OK)
        return true;
    if (code == SL_ENOENT) {
        char id[VIDEO_ID_TEXT_BYTES];
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "there is no video %s; `sluice list` shows those there are",
                        video_id_format(video, id));
    } else {
        api_reply_failure(request, &why);
    }
    return false;
}

void api_video_status(struct api_request *request)
{
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return;
    struct api_call *call = api_call_new(API_CALL_VIDEO);
    if (call)
        call->video = video;
    if (!api_ask(request, &call))
        return;
    struct api_video stored = {0};
    const struct api_video *view = call->view;
    if (!view && stored_video(request, video, &call->arena, &stored))
        view = &stored;
    if (view)
        api_reply_json(request, MHD_HTTP_OK, api_video_json(request, view));
    api_call_free(&call);
}

/* Asks and answers {"video_id", "status"}. */
static void video_act(struct api_request *request, struct api_call *call)
{
    char id[VIDEO_ID_TEXT_BYTES];
    if (!api_ask(request, &call))
        return;
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:s,s:s}", "video_id", video_id_format(call->video, id), "status",
                             call->state ? call->state : "unknown"));
    api_call_free(&call);
}

void api_video_cancel(struct api_request *request)
{
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return;
    struct api_call *call = api_call_new(API_CALL_CANCEL);
    if (call)
        call->video = video;
    video_act(request, call);
}

static void sidecar_act(struct api_request *request, bool remove)
{
    struct video_id video;
    char id[VIDEO_ID_TEXT_BYTES];
    if (!api_param_video(request, 0, &video))
        return;
    struct api_call *call = api_call_new(API_CALL_SIDECAR);
    struct api_sidecar *sidecar = call ? sl_arena_alloc(&call->arena, sizeof *sidecar) : NULL;
    if (sidecar) {
        sidecar->language = sl_arena_strdup(&call->arena, request->params[1]);
        sidecar->bytes = request->body.length ? sl_arena_memdup(&call->arena, request->body.data,
                                                                request->body.length)
                                              : "";
        sidecar->length = sidecar->bytes ? request->body.length : 0;
        call->video = video;
        call->sidecars = sidecar;
        call->sidecar_count = sidecar->language ? 1 : 0;
        call->sidecar_remove = remove;
    }
    if (!api_ask(request, &call))
        return;
    api_reply_json(request, call->sidecar_created ? MHD_HTTP_CREATED : MHD_HTTP_OK,
                   json_pack("{s:s,s:s,s:b}", "video_id", video_id_format(video, id), "language",
                             call->sidecars[0].language, "created", (int)call->sidecar_created));
    api_call_free(&call);
}

void api_sidecar_put(struct api_request *request)
{
    sidecar_act(request, false);
}

void api_sidecar_delete(struct api_request *request)
{
    sidecar_act(request, true);
}

void api_video_retry(struct api_request *request)
{
    static const char *const known[] = {"from", NULL};
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return;
    json_t *body = api_body_json(request);
    if (!body)
        return;
    if (!api_members_known(request, body, known)) {
        json_decref(body);
        return;
    }
    const char *word = json_string_value(json_object_get(body, "from"));
    if (!word)
        word = api_query(request, "from");
    enum step from = STEP_COUNT;
    if (word && step_from_word(word, &from) != SL_OK) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "there is no step \"%.32s\"; there are probe, plan, transcode, audio, "
                        "subtitles, images, package and verify",
                        word);
        json_decref(body);
        return;
    }
    json_decref(body);
    struct api_call *call = api_call_new(API_CALL_RETRY);
    if (call) {
        call->video = video;
        call->step = from;
    }
    video_act(request, call);
}

void api_video_delete(struct api_request *request)
{
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return;
    const char *original = api_query(request, "original");
    if (original && strcmp(original, "0") != 0 && strcmp(original, "1") != 0) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "\"original\" is 1 (the original is deleted too) or 0 (it is kept)");
        return;
    }
    struct api_call *call = api_call_new(API_CALL_DELETE);
    if (call) {
        call->video = video;
        call->with_original = original && strcmp(original, "1") == 0;
    }
    if (!api_ask(request, &call))
        return;
    char id[VIDEO_ID_TEXT_BYTES];
    api_reply_json(request, MHD_HTTP_OK,
                   json_pack("{s:s,s:b,s:o}", "video_id", video_id_format(video, id), "deleted", 1,
                             "original_kept", api_text(call->original_key)));
    api_call_free(&call);
}
