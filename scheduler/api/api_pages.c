/* The pages of web/: read whole when the daemon starts, so that what is served is a fixed list of names and
 * no request can reach a file. They hold no data of the farm and are served to anyone; what they show
 * comes through the routes of the interface, which ask for a token. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "scheduler/api/api_http.h"

#define PAGES_MAX       64
#define PAGE_BYTES_MAX  (8 * 1024 * 1024)
#define PAGE_NAME_BYTES 64
#define PLAYER_LIBRARY  "hls.min.js"

struct api_page {
    char name[PAGE_NAME_BYTES];
    const char *type;
    char etag[API_ETAG_BYTES];
    struct sl_buf bytes;
};

struct api_pages {
    struct api_page items[PAGES_MAX];
    int count;
};

/* Scripts, styles and pictures of this server and nothing else; media also from memory, as hls.js feeds it, and from its empty data: track for
 * subtitles. */
static const char policy[] = "default-src 'self'; media-src 'self' blob: data:; object-src 'none'; "
                             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char *page_type(const char *name)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".svg", "image/svg+xml"},
    };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && ending != name && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return NULL;
}

static int file_read(int folder, const char *name, struct sl_buf *out)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int code = SL_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        code = sl_error_from_errno(errno);
    else if (!S_ISREG(st.st_mode))
        code = SL_EUNSUPPORTED;
    else if (st.st_size > PAGE_BYTES_MAX)
        code = SL_ETOOBIG;
    while (code == SL_OK) {
        char part[64 * 1024];
        ssize_t got = read(fd, part, sizeof part);
        if (got < 0)
            code = sl_error_from_errno(errno);
        if (got <= 0)
            break;
        sl_buf_append(out, part, (size_t)got);
        if (out->length > PAGE_BYTES_MAX)
            code = SL_ETOOBIG;
    }
    if (fd >= 0)
        close(fd);
    return out->failed ? SL_ENOMEM : code;
}

static void page_add(struct api_pages *pages, const char *folder, int fd, const char *name)
{
    const char *type = page_type(name);
    if (!type || strlen(name) >= PAGE_NAME_BYTES)
        return;
    if (pages->count == PAGES_MAX) {
        sl_warn(NULL, "pages: %s has more than %d files; %s is left out", folder, PAGES_MAX, name);
        return;
    }
    struct api_page *page = &pages->items[pages->count];
    *page = (struct api_page){.type = type};
    int code = file_read(fd, name, &page->bytes);
    if (code != SL_OK) {
        sl_warn(NULL, "pages: %s/%s is not served: %s", folder, name, sl_error_text(code));
        sl_buf_fini(&page->bytes);
        return;
    }
    snprintf(page->name, sizeof page->name, "%s", name);
    api_etag_make(page->bytes.data, page->bytes.length, page->etag);
    pages->count++;
}

static const struct api_page *page_find(const struct api_pages *pages, const char *name)
{
    for (int i = 0; pages && i < pages->count; i++)
        if (strcmp(pages->items[i].name, name) == 0)
            return &pages->items[i];
    return NULL;
}

int api_pages_open(const char *folder, struct api_pages **out)
{
    *out = NULL;
    DIR *entries = folder ? opendir(folder) : NULL;
    if (!entries) {
        sl_info(NULL, "there are no pages%s%s; the interface at /api/v1/ works without them",
                folder ? " in " : "", folder ? folder : "");
        return SL_OK;
    }
    struct api_pages *pages = calloc(1, sizeof *pages);
    if (!pages) {
        closedir(entries);
        return SL_ENOMEM;
    }
    for (struct dirent *entry; (entry = readdir(entries));)
        page_add(pages, folder, dirfd(entries), entry->d_name);
    closedir(entries);
    sl_info(NULL, "pages: %d files of %s", pages->count, folder);
    if (pages->count > 0 && !page_find(pages, PLAYER_LIBRARY))
        sl_warn(NULL,
                "the player library is missing: only browsers that play HLS themselves can watch; "
                "run `make web`, put %s into %s and start the daemon again",
                PLAYER_LIBRARY, folder);
    *out = pages;
    return SL_OK;
}

void api_pages_close(struct api_pages **pages_at)
{
    struct api_pages *pages = *pages_at;
    for (int i = 0; pages && i < pages->count; i++)
        sl_buf_fini(&pages->items[i].bytes);
    free(pages);
    *pages_at = NULL;
}

/* ---- routes ---- */

static void page_send(struct api_request *request, const char *name)
{
    const struct api_page *page = page_find(request->api->pages, name);
    if (!page) {
        api_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", NULL,
                        "%s: there is no such page here; the interface begins at /api/v1/",
                        request->path);
        return;
    }
    bool same = api_etag_named(api_header(request, "If-None-Match"), page->etag);
    /* The bytes live until the server has stopped. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        same ? 0 : page->bytes.length, same ? (void *)"" : page->bytes.data,
        MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, "Content-Type", page->type);
        MHD_add_response_header(response, "ETag", page->etag);
        MHD_add_response_header(response, "Cache-Control", "no-cache");
        MHD_add_response_header(response, "Content-Security-Policy", policy);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    api_reply(request, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response);
}

void api_page_list(struct api_request *request)
{
    page_send(request, "index.html");
}

void api_page_watch(struct api_request *request)
{
    page_send(request, "watch.html");
}

void api_page_video(struct api_request *request)
{
    page_send(request, "video.html");
}

void api_page_asset(struct api_request *request)
{
    page_send(request, request->params[0]);
}
