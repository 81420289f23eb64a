/* Playlists of videos that are still being encoded: texts in memory, put by the daemon's thread after the commit that
 * they tell of, read by any HTTP thread. Players ask for them again and again; that must not reach the scheduler. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/api/api_http.h"

struct api_live_text {
    struct api_live_text *next;
    char name[JOB_NAME_BYTES]; /* below the version's folder */
    bool grows;
    struct sl_buf bytes;
};

struct api_live {
    struct api_live *next;
    struct video_id video;
    int32_t version;
    bool ended;
    struct api_live_text *texts;
};

static struct api_live **live_find(struct api *api, struct video_id video)
{
    struct api_live **at = &api->live[(uint64_t)video.v % API_LIVE_BUCKETS];
    while (*at && (*at)->video.v != video.v)
        at = &(*at)->next;
    return at;
}

static void live_free(struct api_live *live)
{
    for (struct api_live_text *text = live->texts, *next; text; text = next) {
        next = text->next;
        sl_buf_fini(&text->bytes);
        free(text);
    }
    free(live);
}

static struct api_live_text *text_of(struct api_live *live, const char *name)
{
    struct api_live_text *text = live->texts;
    while (text && strcmp(text->name, name) != 0)
        text = text->next;
    return text;
}

static struct api_live_text *text_make(struct api *api, struct video_id video, int32_t version,
                                       const char *name, bool grows)
{
    struct api_live **at = live_find(api, video);
    if (!*at && (*at = calloc(1, sizeof **at)))
        **at = (struct api_live){.video = video, .version = version};
    if (!*at)
        return NULL;
    struct api_live_text *text = text_of(*at, name);
    if (text || !(text = calloc(1, sizeof *text)))
        return text;
    snprintf(text->name, sizeof text->name, "%s", name);
    text->grows = grows;
    text->next = (*at)->texts;
    (*at)->texts = text;
    return text;
}

void api_live_append(struct api *api, struct video_id video, int32_t version, const char *name,
                     bool grows, const char *bytes, size_t length)
{
    pthread_mutex_lock(&api->live_lock);
    struct api_live_text *text = text_make(api, video, version, name, grows);
    if (text)
        sl_buf_append(&text->bytes, bytes, length);
    pthread_mutex_unlock(&api->live_lock);
}

void api_live_end(struct api *api, struct video_id video, bool ended)
{
    pthread_mutex_lock(&api->live_lock);
    struct api_live *live = *live_find(api, video);
    if (live)
        live->ended = ended;
    pthread_mutex_unlock(&api->live_lock);
}

void api_live_drop(struct api *api, struct video_id video)
{
    pthread_mutex_lock(&api->live_lock);
    struct api_live **at = live_find(api, video), *live = *at;
    if (live)
        *at = live->next;
    pthread_mutex_unlock(&api->live_lock);
    if (live)
        live_free(live);
}

/* path: "<video>/<version>/<name>". */
bool api_live_read(struct api *api, const char *path, struct sl_buf *out)
{
    char id[VIDEO_ID_TEXT_BYTES];
    struct video_id video;
    size_t length = strcspn(path, "/");
    if (length >= sizeof id || path[length] != '/')
        return false;
    memcpy(id, path, length);
    id[length] = '\0';
    if (video_id_parse(id, &video) != SL_OK)
        return false;
    char *name = NULL;
    long version = strtol(path + length + 1, &name, 10);
    pthread_mutex_lock(&api->live_lock);
    struct api_live *live = *live_find(api, video);
    const struct api_live_text *text =
        live && live->version == version && *name == '/' ? text_of(live, name + 1) : NULL;
    if (text) {
        sl_buf_append(out, text->bytes.data, text->bytes.length);
        if (text->grows && live->ended)
            sl_buf_text(out, "#EXT-X-ENDLIST\n");
        out->failed = out->failed || text->bytes.failed;
    }
    pthread_mutex_unlock(&api->live_lock);
    return text != NULL;
}

void api_live_fini(struct api *api)
{
    for (size_t i = 0; i < API_LIVE_BUCKETS; i++)
        for (struct api_live *live = api->live[i], *next; live; live = next) {
            next = live->next;
            live_free(live);
        }
    pthread_mutex_destroy(&api->live_lock);
}
