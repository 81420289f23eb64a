/* Uploaded subtitle files: originals/<video>/subtitles/<language>, one per language, beside the original.
 *
 * They can be put, replaced and removed until the video is planned; the plan records size and SHA-256 of each, and from
 * then on the same bytes again are welcome and others refused, so that what is published is what was planned. A
 * finished or failed video takes others: the next version is planned with them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects/objects_ops.h"
#include "scheduler/daemon/daemon_internal.h"

/* ---- any thread ---- */

void daemon_sidecar_key(const char *video, const char *language, char key[DAEMON_KEY_BYTES])
{
    snprintf(key, DAEMON_KEY_BYTES, "originals/%s/subtitles/%s", video, language);
}

/* RFC 5646 as far as its form goes: "en", "pt-BR", "zh-Hans-CN"; lower case, for it is a file's name. */
static int language_make(const char *text, char out[MEDIA_WORD_BYTES], struct sl_failure *why)
{
    size_t length = strlen(text), part = 0;
    bool good = length < MEDIA_WORD_BYTES;
    for (size_t i = 0; good && i <= length; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool first = memchr(text, '-', i) == NULL;
        if (letter || (c >= '0' && c <= '9' && !first)) {
            part++;
            out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
            continue;
        }
        good = (c == '-' || c == '\0') && part >= (first ? 2 : 1) && part <= 8;
        out[i] = c;
        part = 0;
    }
    if (!good)
        return sl_fail(why, SL_EINVAL,
                       "\"%.40s\" is no language: give a tag such as en, de or pt-BR", text);
    return SL_OK;
}

static bool bytes_find(const uint8_t *bytes, size_t length, const char *word)
{
    return memmem(bytes, length, word, strlen(word)) != NULL;
}

/* What can be seen without reading it as a format, which only workers do: that it is text, and that some line could
 * be a cue's. */
static int bytes_judge(const struct api_sidecar *sidecar, struct sl_failure *why)
{
    const uint8_t *b = sidecar->bytes;
    size_t length = sidecar->length;
    if (length == 0)
        return sl_fail(why, SL_EINVAL, "the subtitle file for %.31s is empty", sidecar->language);
    if (length > API_SIDECAR_BYTES_MAX)
        return sl_fail(why, SL_ETOOBIG,
                       "the subtitle file for %.31s has %zu bytes; at most %d are "
                       "taken",
                       sidecar->language, length, API_SIDECAR_BYTES_MAX);
    bool wide = length >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff));
    if (wide)
        return SL_OK;
    if (memchr(b, 0, length))
        return sl_fail(why, SL_EUNSUPPORTED,
                       "the file for %.31s is no text: it has zero bytes; send SRT, ASS or WebVTT",
                       sidecar->language);
    if (!bytes_find(b, length, "-->") && !bytes_find(b, length, "Dialogue:"))
        return sl_fail(
            why, SL_EUNSUPPORTED,
            "the file for %.31s is neither SRT, ASS nor WebVTT: it has no \"-->\" and no "
            "\"Dialogue:\"",
            sidecar->language);
    return SL_OK;
}

static int path_read(struct daemon *d, struct sl_arena *arena, struct api_sidecar *sidecar,
                     struct sl_failure *why)
{
    int code = daemon_source_check(d, sidecar->path, why);
    if (code != SL_OK)
        return code;
    int fd = open(sidecar->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sl_fail(why, sl_error_from_errno(errno), "%.150s: %s", sidecar->path,
                       strerror(errno));
    const size_t room = API_SIDECAR_BYTES_MAX + 1;
    uint8_t *bytes = sl_arena_alloc(arena, room);
    ssize_t got = bytes ? 1 : -1;
    while (bytes && got > 0 && sidecar->length < room) {
        got = read(fd, bytes + sidecar->length, room - sidecar->length);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            sidecar->length += (size_t)got;
    }
    code = !bytes ? SL_ENOMEM : got < 0 ? sl_error_from_errno(errno) : SL_OK;
    close(fd);
    sidecar->bytes = bytes;
    return code
               ? sl_fail(why, code, "%.150s cannot be read: %s", sidecar->path, sl_error_text(code))
               : SL_OK;
}

int daemon_sidecars_prepare(struct daemon *d, struct api_call *call)
{
    for (int32_t i = 0; i < call->sidecar_count; i++) {
        struct api_sidecar *sidecar = &call->sidecars[i];
        char language[MEDIA_WORD_BYTES];
        int code = language_make(sidecar->language, language, &call->failure);
        if (code == SL_OK && !(sidecar->language = sl_arena_strdup(&call->arena, language)))
            code = SL_ENOMEM;
        if (code == SL_OK && sidecar->path)
            code = path_read(d, &call->arena, sidecar, &call->failure);
        if (code == SL_OK && !call->sidecar_remove)
            code = bytes_judge(sidecar, &call->failure);
        for (int32_t j = 0; j < i && code == SL_OK; j++)
            if (strcmp(call->sidecars[j].language, sidecar->language) == 0)
                code = sl_fail(&call->failure, SL_EINVAL,
                               "two subtitle files are given for %s; a language has one", language);
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

static int sidecar_digest(struct daemon *d, const char *key, int64_t bytes,
                          uint8_t sha256[SHA256_BYTES], struct sl_failure *why)
{
    int fd = -1;
    int code = objects_open_fd(d->objects, key, &fd);
    if (code != SL_OK)
        return sl_fail(why, code, "%s cannot be read: %s", key, sl_error_text(code));
    code = objects_hash_fd(fd, bytes, sha256, why);
    close(fd);
    return code;
}

struct listing {
    struct daemon *d;
    struct plan_sidecar *rows;
    int32_t count;
    struct sl_failure *why;
};

static int sidecar_list(void *arg, const char *key, int64_t bytes)
{
    struct listing *l = arg;
    if (l->count == PLAN_TEXTS_MAX)
        return 0;
    struct plan_sidecar *row = &l->rows[l->count++];
    *row = (struct plan_sidecar){.bytes = bytes};
    snprintf(row->language, sizeof row->language, "%s", strrchr(key, '/') + 1);
    return sidecar_digest(l->d, key, bytes, row->sha256, l->why);
}

int daemon_sidecars_plan(struct daemon *d, const char *video, const struct policy *policy,
                         struct plan *plan, struct sl_failure *why)
{
    char prefix[DAEMON_KEY_BYTES];
    struct plan_sidecar rows[PLAN_TEXTS_MAX];
    struct listing l = {.d = d, .rows = rows, .why = why};
    daemon_sidecar_key(video, "", prefix);
    int code = objects_list(d->objects, prefix, sidecar_list, &l, why);
    return code == SL_OK ? plan_sidecars_add(rows, l.count, policy, plan, why) : code;
}

/* ---- the shell's thread ---- */

static int others_count(void *arg, const char *key, int64_t bytes)
{
    (void)key;
    (void)bytes;
    (*(int *)arg)++;
    return 0;
}

/* May the files of this video change? */
static int change_judge(struct daemon *d, const struct daemon_video *video, struct sl_failure *why)
{
    struct sched_video_view view;
    if (!video) /* it has left the core: ready */
        return SL_OK;
    if (video->deleting)
        return sl_fail(why, SL_ECONFLICT, "the video is being deleted");
    if (sched_video_find(d->sched, video->id, &view) == SL_OK &&
        (view.status == VIDEO_FAILED || view.status == VIDEO_CANCELLED) && !video->work)
        return SL_OK;
    if (video->plan || video->plan_key || (video->work && video->work->kind == WORK_PLAN))
        return sl_fail(
            why, SL_ECONFLICT,
            "the video is being made with the subtitles that it was planned with; put these "
            "when it is ready, then `sluice retry VIDEO --from plan`");
    return SL_OK;
}

static bool is_same(struct daemon *d, const char *key, const struct api_sidecar *sidecar)
{
    int64_t bytes = 0;
    uint8_t had[SHA256_BYTES], has[SHA256_BYTES];
    struct objects_hash *hash = NULL;
    if (objects_size(d->objects, NULL, key, &bytes, NULL) != SL_OK ||
        bytes != (int64_t)sidecar->length || sidecar_digest(d, key, bytes, had, NULL) != SL_OK ||
        !(hash = objects_hash_open()))
        return false;
    objects_hash_add(hash, sidecar->bytes, sidecar->length);
    objects_hash_take(hash, has);
    objects_hash_close(&hash);
    return memcmp(had, has, SHA256_BYTES) == 0;
}

int daemon_sidecars_take(struct daemon *d, const char *text, const struct daemon_video *video,
                         struct api_call *call)
{
    struct sl_failure *why = &call->failure;
    for (int32_t i = 0; i < call->sidecar_count; i++) {
        const struct api_sidecar *sidecar = &call->sidecars[i];
        char key[DAEMON_KEY_BYTES], prefix[DAEMON_KEY_BYTES];
        int64_t bytes = 0;
        int count = 0;
        daemon_sidecar_key(text, sidecar->language, key);
        daemon_sidecar_key(text, "", prefix);
        bool there = objects_size(d->objects, NULL, key, &bytes, NULL) == SL_OK;
        if (call->sidecar_remove && !there)
            return sl_fail(why, SL_ENOENT, "the video has no subtitle file for %s",
                           sidecar->language);
        if (!call->sidecar_remove && is_same(d, key, sidecar))
            continue;
        int code = change_judge(d, video, why);
        if (code == SL_OK && call->sidecar_remove) {
            code = objects_delete(d->objects, NULL, key, why);
        } else if (code == SL_OK) {
            if (!there)
                code = objects_list(d->objects, prefix, others_count, &count, why);
            if (code == SL_OK && count >= PLAN_TEXTS_MAX)
                code = sl_fail(why, SL_ECONFLICT,
                               "the video has %d subtitle files, as many as are taken", count);
            if (code == SL_OK)
                code = objects_put_bytes(d->objects, NULL, key, sidecar->bytes, sidecar->length,
                                         true, why);
            call->sidecar_created |= !there;
        }
        if (code != SL_OK)
            return code;
        struct sl_log_about about = {.video = text};
        sl_info(&about, "subtitle file for %s %s", sidecar->language,
                call->sidecar_remove ? "removed"
                : there              ? "replaced"
                                     : "has arrived");
    }
    return SL_OK;
}
