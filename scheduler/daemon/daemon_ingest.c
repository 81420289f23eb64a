/* Sources: copied from a registered path, or uploaded in pieces. Both grow in originals/<video>/source.part
 * and take the name `source` once they are whole, checked and on disk; nothing ever writes to that. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "objects/objects_ops.h"
#include "scheduler/daemon/daemon_internal.h"

#define INGEST_BLOCK_BYTES ((size_t)1024 * 1024)
#define INGEST_PATH_BYTES  (CONFIG_PATH_BYTES + 128)
#define ARRIVED_TEXT       "the source has arrived whole and is never overwritten; submit another video"

struct api_upload {
    struct api_upload *next;
    struct daemon *daemon;
    struct video_id video;
    char text[VIDEO_ID_TEXT_BYTES];
    int fd;
    int64_t have;
    int64_t total;             /* -1: not known yet */
    struct objects_hash *hash; /* NULL when the upload was resumed */
};

/* ---- places ---- */

static int source_path(struct daemon *d, const char *video, const char *name,
                       char path[INGEST_PATH_BYTES], struct sl_failure *why)
{
    char key[DAEMON_KEY_BYTES];
    snprintf(key, sizeof key, "originals/%s/%s", video, name);
    int code = objects_path(d->objects, key, path, INGEST_PATH_BYTES);
    if (code != SL_OK)
        return sl_fail(why, code, "the original of %s has no path in this store", video);
    return SL_OK;
}

static int folder_make(struct daemon *d, const char *video, struct sl_failure *why)
{
    char path[INGEST_PATH_BYTES];
    int code = source_path(d, video, "source", path, why);
    if (code != SL_OK)
        return code;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    char *parent = strrchr(path, '/');
    *parent = '\0';
    bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
    *parent = '/';
    made = made && (mkdir(path, 0755) == 0 || errno == EEXIST);
    if (!made)
        return sl_fail(why, sl_error_from_errno(errno), "the folder %s cannot be made: %s", path,
                       strerror(errno));
    return SL_OK;
}

static int folder_sync(const char *path)
{
    char folder[INGEST_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    for (int levels = 0; levels < 2; levels++) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
            break;
        *slash = '\0';
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0) {
            int code = sl_error_from_errno(errno);
            if (fd >= 0)
                close(fd);
            return code;
        }
        close(fd);
    }
    return SL_OK;
}

/* The length that an upload was announced with lies beside what has arrived, in digits; -1: not known. A
 * lost one only means that the next piece's announcement is believed. */
static void total_put(struct daemon *d, const char *video, int64_t total)
{
    char at[INGEST_PATH_BYTES];
    if (source_path(d, video, "source.total", at, NULL) != SL_OK)
        return;
    FILE *file = total >= 0 ? fopen(at, "we") : NULL;
    if (file) {
        fprintf(file, "%" PRId64 "\n", total);
        fclose(file);
    } else {
        unlink(at);
    }
}

static int64_t total_get(struct daemon *d, const char *video)
{
    char at[INGEST_PATH_BYTES];
    int64_t total = -1;
    FILE *file = source_path(d, video, "source.total", at, NULL) == SL_OK ? fopen(at, "re") : NULL;
    if (file) {
        if (fscanf(file, "%" SCNd64, &total) != 1)
            total = -1;
        fclose(file);
    }
    return total;
}

/* From source.part, whole and checked, to source. */
static int source_publish(struct daemon *d, const char *video, int fd, struct sl_failure *why)
{
    char part[INGEST_PATH_BYTES], path[INGEST_PATH_BYTES];
    if (source_path(d, video, "source.part", part, why) != SL_OK ||
        source_path(d, video, "source", path, why) != SL_OK)
        return why ? why->code : SL_EINTERNAL;
    if (fchmod(fd, 0444) != 0 || fsync(fd) != 0 ||
        renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        return sl_fail(why, sl_error_from_errno(errno), "%s cannot be made durable: %s", path,
                       strerror(errno));
    total_put(d, video, -1);
    int code = folder_sync(path);
    if (code != SL_OK)
        return sl_fail(why, code, "%s cannot be made durable: %s", path, sl_error_text(code));
    return SL_OK;
}

int daemon_original_find(struct daemon *d, const char *video, int64_t *bytes)
{
    char path[INGEST_PATH_BYTES];
    struct stat st;
    int code = source_path(d, video, "source", path, NULL);
    if (code != SL_OK)
        return code;
    if (stat(path, &st) != 0)
        return sl_error_from_errno(errno);
    *bytes = st.st_size;
    return SL_OK;
}

/* ---- the registered path, kept until its copy is there ---- */

int daemon_source_path_put(struct daemon *d, const char *video, const char *path,
                           struct sl_failure *why)
{
    char at[INGEST_PATH_BYTES];
    if (folder_make(d, video, why) != SL_OK ||
        source_path(d, video, "source.path", at, why) != SL_OK)
        return why->code;
    int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t length = strlen(path);
    bool good = fd >= 0 && write(fd, path, length) == (ssize_t)length && fsync(fd) == 0;
    int code = good ? SL_OK : sl_error_from_errno(errno);
    if (fd >= 0)
        close(fd);
    if (code == SL_OK)
        code = folder_sync(at);
    if (code != SL_OK) {
        unlink(at);
        return sl_fail(why, code, "the data folder %s cannot be written: %s%s", d->data,
                       sl_error_text(code), code == SL_ENOSPC ? "; free some space there" : "");
    }
    return SL_OK;
}

char *daemon_source_path_get(struct daemon *d, const char *video)
{
    char at[INGEST_PATH_BYTES];
    if (source_path(d, video, "source.path", at, NULL) != SL_OK)
        return NULL;
    int fd = open(at, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = calloc(1, STORE_PATH_BYTES * 4 + 1);
    ssize_t got = text ? read(fd, text, STORE_PATH_BYTES * 4) : -1;
    close(fd);
    if (got > 0)
        return text;
    free(text);
    return NULL;
}

void daemon_source_path_drop(struct daemon *d, const char *video)
{
    static const char *const names[] = {"source.path", "source.part", "source.total"};
    char at[INGEST_PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (source_path(d, video, names[i], at, NULL) == SL_OK)
            unlink(at);
}

/* ---- copies ---- */

static int regular_open(struct daemon *d, const char *path, int *out_fd, struct stat *st,
                        struct sl_failure *why)
{
    if (path[0] != '/')
        return sl_fail(why, SL_EINVAL, "\"%.150s\" is not an absolute path on the daemon's machine",
                       path);
    /* A FIFO without a writer must not hold anybody up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int error = errno;
        int code = sl_error_from_errno(error);
        if (error == ENXIO)
            code = SL_EUNSUPPORTED;
        return sl_fail(why, code, "%.150s: %s%s", path, strerror(error),
                       code == SL_ENOENT   ? "; the path is looked for on the daemon's machine"
                       : code == SL_EACCES ? "; let the daemon's user read it, or upload it"
                                           : "");
    }
    int64_t max = d->config.daemon.upload_bytes_max;
    int code = SL_OK;
    if (fstat(fd, st) != 0)
        code = sl_fail(why, sl_error_from_errno(errno), "%.150s: %s", path, strerror(errno));
    else if (!S_ISREG(st->st_mode))
        code = sl_fail(why, SL_EUNSUPPORTED, "%.150s is %s, not a regular file", path,
                       S_ISDIR(st->st_mode)    ? "a folder"
                       : S_ISFIFO(st->st_mode) ? "a FIFO"
                                               : "a device");
    else if (max > 0 && st->st_size > max)
        code = sl_fail(why, SL_ETOOBIG,
                       "%.150s has %" PRId64 " bytes; daemon.upload_max allows %" PRId64, path,
                       (int64_t)st->st_size, max);
    if (code != SL_OK) {
        close(fd);
        return code;
    }
    *out_fd = fd;
    return SL_OK;
}

int daemon_source_check(struct daemon *d, const char *path, struct sl_failure *why)
{
    int fd;
    struct stat st;
    int code = regular_open(d, path, &fd, &st, why);
    if (code == SL_OK)
        close(fd);
    return code;
}

static int copy_bytes(struct daemon *d, int from, int to, struct objects_hash *hash, int64_t *bytes)
{
    unsigned char *block = malloc(INGEST_BLOCK_BYTES);
    int code = block ? SL_OK : SL_ENOMEM;
    *bytes = 0;
    while (code == SL_OK) {
        ssize_t got = read(from, block, INGEST_BLOCK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            code = got < 0 ? sl_error_from_errno(errno) : SL_OK;
            break;
        }
        if (atomic_load(&d->stopping)) {
            code = SL_ECANCELLED;
            break;
        }
        objects_hash_add(hash, block, (size_t)got);
        for (ssize_t done = 0; done < got && code == SL_OK;) {
            ssize_t wrote = write(to, block + done, (size_t)(got - done));
            if (wrote < 0 && errno != EINTR)
                code = sl_error_from_errno(errno);
            done += wrote > 0 ? wrote : 0;
        }
        *bytes += got;
    }
    free(block);
    return code;
}

static bool stat_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ino == b->st_ino;
}

static int copy_into(struct daemon *d, const char *video, const char *path, int from,
                     const struct stat *before, int to, int64_t *bytes,
                     uint8_t sha256[SHA256_BYTES], struct sl_failure *why)
{
    struct objects_hash *hash = objects_hash_open();
    if (!hash)
        return sl_fail(why, SL_ENOMEM, "not enough memory to copy %.150s", path);
    int code = copy_bytes(d, from, to, hash, bytes);
    objects_hash_take(hash, sha256);
    objects_hash_close(&hash);
    struct stat after, named;
    if (code != SL_OK)
        return sl_fail(why, code, "%.100s cannot be copied into the data folder: %s%s", path,
                       sl_error_text(code),
                       code == SL_ENOSPC ? "; free some space there and it goes on" : "");
    if (fstat(from, &after) != 0 || stat(path, &named) != 0 || !stat_same(before, &after) ||
        !stat_same(before, &named) || *bytes != before->st_size)
        return sl_fail(why, SL_ECHANGED,
                       "%.100s changed while it was copied; submit it again when it is finished",
                       path);
    return source_publish(d, video, to, why);
}

/* The original is there, and the row does not know it yet: the daemon ended in between. */
static int original_take(struct daemon *d, const char *video, int64_t *bytes,
                         uint8_t sha256[SHA256_BYTES], struct sl_failure *why)
{
    char path[INGEST_PATH_BYTES];
    int code = source_path(d, video, "source", path, why);
    if (code != SL_OK)
        return code;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sl_fail(why, sl_error_from_errno(errno), "%s: %s", path, strerror(errno));
    code = objects_hash_fd(fd, *bytes, sha256, why);
    close(fd);
    return code;
}

int daemon_ingest_copy(struct daemon *d, const char *video, const char *path, int64_t *bytes,
                       uint8_t sha256[SHA256_BYTES], struct sl_failure *why)
{
    if (daemon_original_find(d, video, bytes) == SL_OK)
        return original_take(d, video, bytes, sha256, why);
    struct stat before;
    int from = -1, to = -1;
    int code = regular_open(d, path, &from, &before, why);
    if (code != SL_OK)
        return code;
    char part[INGEST_PATH_BYTES];
    code = folder_make(d, video, why);
    if (code == SL_OK)
        code = source_path(d, video, "source.part", part, why);
    if (code == SL_OK) {
        to = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (to < 0)
            code = sl_fail(why, sl_error_from_errno(errno), "%s: %s", part, strerror(errno));
    }
    if (code == SL_OK) {
        code = copy_into(d, video, path, from, &before, to, bytes, sha256, why);
        if (code != SL_OK)
            unlink(part); /* its room is wanted */
    }
    if (to >= 0)
        close(to);
    close(from);
    return code;
}

/* ---- uploads ---- */

/* Whether a source may be put; *arrived when it is there already. */
static int source_ask(struct daemon *d, enum daemon_call_kind kind, struct video_id video,
                      int64_t bytes, const uint8_t *sha256, bool *arrived, int64_t *have,
                      struct sl_failure *why)
{
    struct daemon_call *call = daemon_call_new(kind);
    if (!call)
        return sl_fail(why, SL_ENOMEM, "not enough memory; try again");
    call->video = video;
    call->bytes = bytes;
    if (sha256)
        memcpy(call->sha256, sha256, SHA256_BYTES);
    int code = daemon_call_wait(d, &call, DAEMON_CALL_WAIT_NS);
    if (code == SL_OK) {
        code = call->code;
        *arrived = call->arrived;
        *have = call->bytes;
        if (code != SL_OK && why)
            *why = call->failure;
    } else if (daemon_health(d, why) == SL_OK) {
        sl_fail(why, SL_EBUSY, "the daemon did not answer in time; try again");
        code = SL_EBUSY;
    } else {
        code = SL_EBUSY;
    }
    daemon_call_free(&call);
    return code;
}

static bool uploads_enter(struct daemon *d, struct api_upload *upload)
{
    pthread_mutex_lock(&d->uploads_lock);
    bool free_now = true;
    for (struct api_upload *other = d->uploads; other; other = other->next)
        if (other->video.v == upload->video.v)
            free_now = false;
    if (free_now) {
        upload->next = d->uploads;
        d->uploads = upload;
    }
    pthread_mutex_unlock(&d->uploads_lock);
    return free_now;
}

static void uploads_leave(struct daemon *d, struct api_upload *upload)
{
    pthread_mutex_lock(&d->uploads_lock);
    for (struct api_upload **at = &d->uploads; *at; at = &(*at)->next)
        if (*at == upload) {
            *at = upload->next;
            break;
        }
    pthread_mutex_unlock(&d->uploads_lock);
}

static void upload_free(struct api_upload **upload_at)
{
    struct api_upload *upload = *upload_at;
    *upload_at = NULL;
    uploads_leave(upload->daemon, upload);
    if (upload->fd >= 0)
        close(upload->fd);
    objects_hash_close(&upload->hash);
    free(upload);
}

static int part_open(struct api_upload *upload, int64_t offset, int64_t *have,
                     struct sl_failure *why)
{
    struct daemon *d = upload->daemon;
    char part[INGEST_PATH_BYTES];
    struct stat st;
    int code = folder_make(d, upload->text, why);
    if (code == SL_OK)
        code = source_path(d, upload->text, "source.part", part, why);
    if (code != SL_OK)
        return code;
    upload->fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (upload->fd < 0 || fstat(upload->fd, &st) != 0)
        return sl_fail(why, sl_error_from_errno(errno), "%s: %s", part, strerror(errno));
    if (offset < 0) {
        offset = 0;
        if (ftruncate(upload->fd, 0) != 0)
            return sl_fail(why, sl_error_from_errno(errno), "%s: %s", part, strerror(errno));
        st.st_size = 0;
    }
    if (st.st_size != offset) {
        *have = st.st_size;
        return sl_fail(why, SL_ECONFLICT,
                       "%" PRId64 " bytes of the source have arrived; go on from there",
                       (int64_t)st.st_size);
    }
    int64_t announced = offset > 0 ? total_get(d, upload->text) : -1;
    if (announced >= 0 && upload->total >= 0 && announced != upload->total) {
        *have = st.st_size;
        return sl_fail(why, SL_ECONFLICT,
                       "the upload began as one of %" PRId64 " bytes, and this piece is of one of "
                       "%" PRId64 "; send the whole again, without Content-Range",
                       announced, upload->total);
    }
    if (announced < 0)
        total_put(d, upload->text, upload->total);
    upload->have = offset;
    if (offset == 0)
        upload->hash = objects_hash_open();
    return SL_OK;
}

/* A source that is whole and of which its video does not know: the answer to its upload never came. Told now.
 * SL_ENOENT: there is none. */
static int orphan_adopt(struct daemon *d, struct video_id video, const char *text, int64_t *bytes,
                        struct sl_failure *why)
{
    uint8_t sha256[SHA256_BYTES];
    bool arrived = false;
    int64_t have = 0;
    if (daemon_original_find(d, text, bytes) != SL_OK)
        return SL_ENOENT;
    int code = original_take(d, text, bytes, sha256, why);
    return code == SL_OK
               ? source_ask(d, CALL_SOURCE_ARRIVED, video, *bytes, sha256, &arrived, &have, why)
               : code;
}

int daemon_upload_open(void *arg, struct video_id video, int64_t offset, int64_t total,
                       struct api_upload **out, int64_t *have, struct sl_failure *why)
{
    struct daemon *d = arg;
    bool arrived = false;
    int code = source_ask(d, CALL_SOURCE_CHECK, video, 0, NULL, &arrived, have, why);
    if (code != SL_OK)
        return code;
    if (arrived)
        return sl_fail(why, SL_ECONFLICT, ARRIVED_TEXT);
    struct api_upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        return sl_fail(why, SL_ENOMEM, "not enough memory; try again");
    upload->daemon = d;
    upload->video = video;
    upload->fd = -1;
    upload->total = total;
    video_id_format(video, upload->text);
    if (!uploads_enter(d, upload)) {
        free(upload);
        return sl_fail(why, SL_EBUSY, "another upload of this source is under way");
    }
    code = orphan_adopt(d, video, upload->text, have, why);
    if (code == SL_OK)
        code = sl_fail(why, SL_ECONFLICT, ARRIVED_TEXT);
    else if (code == SL_ENOENT)
        code = part_open(upload, offset, have, why);
    if (code != SL_OK) {
        upload_free(&upload);
        return code;
    }
    *out = upload;
    return SL_OK;
}

int daemon_upload_write(struct api_upload *upload, const void *bytes, size_t length,
                        struct sl_failure *why)
{
    const char *from = bytes;
    for (size_t done = 0; done < length;) {
        ssize_t wrote =
            pwrite(upload->fd, from + done, length - done, upload->have + (int64_t)done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            int code = wrote < 0 ? sl_error_from_errno(errno) : SL_EIO;
            return sl_fail(why, code, "the source cannot be stored in %s: %s%s",
                           upload->daemon->data, sl_error_text(code),
                           code == SL_ENOSPC ? "; free some space there and resume the upload"
                                             : "");
        }
        done += (size_t)wrote;
    }
    if (upload->hash)
        objects_hash_add(upload->hash, bytes, length);
    upload->have += (int64_t)length;
    return SL_OK;
}

static int upload_finish(struct api_upload *upload, const uint8_t *sha256, struct sl_failure *why)
{
    struct daemon *d = upload->daemon;
    uint8_t found[SHA256_BYTES];
    char path[INGEST_PATH_BYTES];
    bool arrived = false;
    int64_t have;
    int code = SL_OK;
    if (upload->have == 0)
        return sl_fail(why, SL_EINVAL, "the body is empty; send the source as the body");
    if (upload->hash)
        objects_hash_take(upload->hash, found);
    else
        code = objects_hash_fd(upload->fd, upload->have, found, why);
    if (code != SL_OK)
        return code;
    if (sha256 && memcmp(sha256, found, SHA256_BYTES) != 0) {
        if (source_path(d, upload->text, "source.part", path, why) == SL_OK)
            unlink(path);
        total_put(d, upload->text, -1);
        return sl_fail(why, SL_ECHANGED,
                       "what arrived does not have the SHA-256 that was announced; send it again");
    }
    code = source_publish(d, upload->text, upload->fd, why);
    if (code != SL_OK)
        return code;
    code = source_ask(d, CALL_SOURCE_ARRIVED, upload->video, upload->have, found, &arrived, &have,
                      why);
    /* Deleted or cancelled meanwhile: nobody waits for these bytes. */
    if ((code == SL_ENOENT || code == SL_ECONFLICT) &&
        source_path(d, upload->text, "source", path, NULL) == SL_OK)
        unlink(path);
    return code;
}

int daemon_upload_close(struct api_upload **upload_at, bool finish, const uint8_t *sha256,
                        int64_t *have, struct sl_failure *why)
{
    struct api_upload *upload = *upload_at;
    int code = SL_OK;
    *have = upload->have;
    if (finish)
        code = upload_finish(upload, sha256, why);
    else if (fdatasync(upload->fd) != 0)
        code = sl_fail(why, sl_error_from_errno(errno), "the source cannot be stored: %s",
                       strerror(errno));
    upload_free(upload_at);
    return code;
}

int daemon_upload_offset(void *arg, struct video_id video, int64_t *have, bool *complete,
                         struct sl_failure *why)
{
    struct daemon *d = arg;
    char text[VIDEO_ID_TEXT_BYTES], part[INGEST_PATH_BYTES];
    bool arrived = false;
    int64_t bytes = 0;
    int code = source_ask(d, CALL_SOURCE_CHECK, video, 0, NULL, &arrived, &bytes, why);
    if (code != SL_OK && code != SL_ECONFLICT)
        return code;
    video_id_format(video, text);
    /* An upload that just ends tells the video itself. */
    struct api_upload entry = {.daemon = d, .video = video};
    if (!arrived && code == SL_OK && daemon_original_find(d, text, &bytes) == SL_OK &&
        uploads_enter(d, &entry)) {
        code = orphan_adopt(d, video, text, &bytes, why);
        uploads_leave(d, &entry);
        arrived = code == SL_OK;
        if (code != SL_OK && code != SL_ENOENT)
            return code;
    }
    if (arrived) {
        if (daemon_original_find(d, text, &bytes) != SL_OK)
            bytes = 0;
    } else {
        struct stat st;
        code = source_path(d, text, "source.part", part, why);
        if (code != SL_OK)
            return code;
        bytes = stat(part, &st) == 0 ? (int64_t)st.st_size : 0;
    }
    *have = bytes;
    *complete = arrived;
    return SL_OK;
}
