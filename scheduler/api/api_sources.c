/* Routes of a video's source: uploaded whole or in pieces, and how far it has come. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/api/api_http.h"

struct source_put {
    struct api_upload *upload;
    struct video_id video;
    int64_t offset; /* where the next byte goes */
    int64_t end;    /* where the piece ends by its Content-Range; -1: it has none */
    int64_t total;  /* -1: the end of the body is the end */
    bool ranged;
    bool has_sha256;
    uint8_t sha256[SHA256_BYTES];
};

/* "bytes 0-99/200" or "bytes 0-99/\*". */
static bool content_range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total)
{
    if (strncmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    if (!api_digits_parse(&text, first) || *text++ != '-' || !api_digits_parse(&text, last) ||
        *text++ != '/')
        return false;
    *total = -1;
    if (strcmp(text, "*") == 0)
        return *last >= *first;
    return api_digits_parse(&text, total) && *text == '\0' && *last >= *first && *total > *last;
}

static json_t *offset_json(struct video_id video, int64_t have, bool complete)
{
    char id[VIDEO_ID_TEXT_BYTES];
    return json_pack("{s:s,s:I,s:b}", "video_id", video_id_format(video, id), "offset",
                     (json_int_t)have, "complete", (int)complete);
}

static bool source_begin(struct api_request *request)
{
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return false;
    struct source_put *put = calloc(1, sizeof *put);
    if (!put)
        return false;
    put->video = video;
    put->end = -1;
    put->total = request->content_length;
    const char *sum = api_header(request, "X-Sluice-Sha256");
    const char *range = api_header(request, "Content-Range");
    int64_t last = -1;
    int64_t max = request->api->config.upload_bytes_max;
    put->has_sha256 = sum != NULL;
    if (sum && !api_sha256_parse(sum, put->sha256)) {
        api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                        "X-Sluice-Sha256 must have the 64 digits of the whole source's SHA-256");
        goto fail;
    }
    if (range) {
        put->ranged = true;
        if (!content_range_parse(range, &put->offset, &last, &put->total) ||
            (request->content_length >= 0 && last - put->offset + 1 != request->content_length)) {
            api_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid", NULL,
                            "Content-Range is \"bytes FIRST-LAST/TOTAL\" and agrees with "
                            "Content-Length, not \"%.64s\"",
                            range);
            goto fail;
        }
        put->end = last + 1;
    }
    if (max > 0 && (put->total > max || last >= max)) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the source has %lld bytes; daemon.upload_max allows %lld",
                        (long long)put->total, (long long)max);
        goto fail;
    }
    const struct api_backend *backend = &request->api->config.backend;
    struct sl_failure why = {0};
    int64_t have = 0;
    int code = backend->upload_open(backend->arg, video, range ? put->offset : -1, put->total,
                                    &put->upload, &have, &why);
    if (code == SL_ECONFLICT) {
        api_reply_error(request, MHD_HTTP_CONFLICT, "conflict",
                        offset_json(video, have, put->total > 0 && have >= put->total), "%s",
                        why.message);
        goto fail;
    }
    if (code != SL_OK) {
        why.code = code;
        api_reply_failure(request, &why);
        goto fail;
    }
    request->state = put;
    return true;
fail:
    free(put);
    return false;
}

/* What arrived is kept. Done before a refusal is told, so that the client may go on at once. */
static void source_drop(struct api_request *request)
{
    struct source_put *put = request->state;
    const struct api_backend *backend = &request->api->config.backend;
    int64_t have;
    if (put->upload)
        backend->upload_close(&put->upload, false, NULL, &have, NULL);
    free(put);
    request->state = NULL;
}

static void source_data(struct api_request *request, const char *bytes, size_t length)
{
    struct source_put *put = request->state;
    const struct api_backend *backend = &request->api->config.backend;
    int64_t max = request->api->config.upload_bytes_max;
    struct sl_failure why = {0};
    if (max > 0 && put->offset + (int64_t)length > max) {
        api_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "over_limit", NULL,
                        "the source is larger than the %lld bytes that daemon.upload_max "
                        "allows",
                        (long long)max);
        return;
    }
    if (put->end >= 0 && put->offset + (int64_t)length > put->end) {
        int64_t end = put->end;
        source_drop(request);
        api_reply_error(request, MHD_HTTP_UNPROCESSABLE_CONTENT, "source_changed", NULL,
                        "the body goes on beyond byte %lld, which Content-Range names as its last",
                        (long long)end - 1);
        return;
    }
    int code = backend->upload_write(put->upload, bytes, length, &why);
    if (code != SL_OK) {
        why.code = code;
        api_reply_failure(request, &why);
        return;
    }
    put->offset += (int64_t)length;
}

static void source_end(struct api_request *request)
{
    struct source_put *put = request->state;
    const struct api_backend *backend = &request->api->config.backend;
    bool finish = put->ranged ? put->offset == put->total : true;
    struct sl_failure why = {0};
    int64_t have = 0;
    if (put->end >= 0 && put->offset != put->end) {
        int64_t offset = put->offset, end = put->end;
        source_drop(request);
        api_reply_error(request, MHD_HTTP_UNPROCESSABLE_CONTENT, "source_changed", NULL,
                        "the body ended before byte %lld and Content-Range names %lld as its "
                        "last; GET this address for where to go on",
                        (long long)offset, (long long)end - 1);
        return;
    }
    int code = backend->upload_close(&put->upload, finish, put->has_sha256 ? put->sha256 : NULL,
                                     &have, &why);
    if (code != SL_OK) {
        why.code = code;
        api_reply_failure(request, &why);
        return;
    }
    api_reply_json(request, MHD_HTTP_OK, offset_json(put->video, have, finish));
}

const struct api_stream api_upload_stream = {source_begin, source_data, source_end, source_drop};

void api_source_offset(struct api_request *request)
{
    struct video_id video;
    if (!api_param_video(request, 0, &video))
        return;
    const struct api_backend *backend = &request->api->config.backend;
    struct sl_failure why = {0};
    int64_t have = 0;
    bool complete = false;
    int code = backend->upload_offset(backend->arg, video, &have, &complete, &why);
    if (code != SL_OK) {
        why.code = code;
        api_reply_failure(request, &why);
        return;
    }
    api_reply_json(request, MHD_HTTP_OK, offset_json(video, have, complete));
}
