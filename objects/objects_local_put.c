/* Writing into the local folder.
 *
 * 1. The bytes go to a file without a name (or one in tmp/, where the file system has no such files).
 * 2. Their sum is compared with the promised one, and the file is synced.
 * 3. Its name is made by link, which fails where there is one: an object appears whole or not at all.
 * 4. The folder is synced, so that the name is on disk as well.
 * A crash before 3 leaves nothing but a file in tmp/, which is swept after an hour.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "objects/objects_local.h"

#define COPY_BLOCK_BYTES (256 * 1024)
#define LINK_TRIES       16

/* Objects are never changed once they are there. */
#define OBJECT_MODE      0444

/* A file being written; name is empty where it has none. */
struct temp {
    int fd;
    char name[64];
};

static int temp_open(struct objects_local *local, bool named, struct temp *out)
{
    if (local->tmp_fd < 0) {
        errno = EROFS;
        return -1;
    }
    out->name[0] = '\0';
    if (local->unnamed && !named) {
        out->fd = openat(local->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        return out->fd < 0 ? -1 : 0;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(out->name, sizeof out->name, "%lld.%09ld.%ld.%" PRIuFAST64, (long long)now.tv_sec,
             now.tv_nsec, (long)getpid(), atomic_fetch_add(&local->temp_next, 1));
    out->fd =
        openat(local->tmp_fd, out->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return out->fd < 0 ? -1 : 0;
}

static void temp_close(struct objects_local *local, struct temp *temp)
{
    if (temp->name[0] != '\0')
        unlinkat(local->tmp_fd, temp->name, 0);
    close(temp->fd);
}

/* Makes the name in the folder dir; never over another. */
static int temp_link(struct objects_local *local, const struct temp *temp, int dir,
                     const char *name)
{
    if (temp->name[0] != '\0')
        return linkat(local->tmp_fd, temp->name, dir, name, 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", temp->fd);
    return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW);
}

static int bytes_write(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        bytes += put;
        length -= (size_t)put;
    }
    return 0;
}

/* Copies in the kernel where it can, else through memory. Returns -1 with errno; a source that ends
 * early is found by the sum afterwards. */
static int bytes_copy(int from, int to, int64_t bytes)
{
    off_t at = 0;
    while (at < bytes) {
        ssize_t got = copy_file_range(from, &at, to, NULL, (size_t)(bytes - at), 0);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
            return -1;
        if (got < 0)
            break;
    }
    uint8_t *block = at < bytes ? malloc(COPY_BLOCK_BYTES) : NULL;
    if (at < bytes && !block)
        return -1;
    int rc = 0;
    while (rc == 0 && at < bytes) {
        size_t want = bytes - at < COPY_BLOCK_BYTES ? (size_t)(bytes - at) : COPY_BLOCK_BYTES;
        ssize_t got = pread(from, block, want, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = (int)got;
            break;
        }
        rc = bytes_write(to, block, (size_t)got);
        at += got;
    }
    int error = errno;
    free(block);
    errno = error;
    return rc;
}

static int sum_check(int fd, int64_t bytes, const uint8_t *sha256, const char *key,
                     struct sl_failure *why)
{
    uint8_t found[OBJECTS_SHA256_BYTES];
    int rc = objects_hash_fd(fd, bytes, found, why);
    if (rc != SL_OK)
        return rc;
    if (memcmp(found, sha256, sizeof found) == 0)
        return SL_OK;
    return sl_fail(why, SL_EIO,
                   "%.150s: the bytes are not those of the promised SHA-256; nothing was stored",
                   key);
}

/* SL_OK: the same object is there, on disk. SL_ENOENT: none is. */
static int present_check(struct objects_local *local, const char *key, int64_t bytes,
                         const uint8_t *sha256, struct sl_failure *why)
{
    int64_t present_bytes;
    int fd = local_open_object(local, key, &present_bytes);
    if (fd < 0) {
        if (errno == ENOENT)
            return SL_ENOENT;
        return local_fail(local, errno, "reading", key, why);
    }
    uint8_t present[OBJECTS_SHA256_BYTES] = {0};
    int rc = SL_OK;
    if (present_bytes == bytes)
        rc = objects_hash_fd(fd, bytes, present, why);
    if (rc == SL_OK && (present_bytes != bytes || memcmp(present, sha256, sizeof present) != 0))
        rc = sl_fail(why, SL_EEXIST, "%.150s is there already with other bytes", key);
    /* Whoever wrote it may have been killed before it was on disk. */
    const char *name;
    int dir = rc == SL_OK ? local_parent_make(local, key, &name) : -1;
    if (rc == SL_OK && (dir < 0 || fsync(fd) != 0 || fsync(dir) != 0))
        rc = local_fail(local, errno, "syncing", key, why);
    if (dir >= 0)
        close(dir);
    close(fd);
    return rc;
}

/* Publishes a checked file. */
static int temp_publish(struct objects_local *local, const struct temp *temp, const char *key,
                        int64_t bytes, const uint8_t *sha256, struct sl_failure *why)
{
    if (fchmod(temp->fd, OBJECT_MODE) != 0 || fsync(temp->fd) != 0)
        return local_fail(local, errno, "writing", key, why);
    for (int i = 0; i < LINK_TRIES; i++) {
        const char *name;
        int dir = local_parent_make(local, key, &name);
        if (dir < 0)
            return local_fail(local, errno, "making the folder of", key, why);
        int rc = temp_link(local, temp, dir, name);
        if (rc == 0)
            rc = fsync(dir);
        int error = errno;
        close(dir);
        if (rc == 0)
            return SL_OK;
        if (error == EEXIST) {
            int code = present_check(local, key, bytes, sha256, why);
            /* A folder has the name, or the object went away just now. */
            if (code != SL_ENOENT)
                return code;
            if (i == LINK_TRIES - 1)
                return local_fail(local, EISDIR, "writing", key, why);
        } else if (error != ENOENT) { /* ENOENT: the folder was pruned meanwhile */
            return local_fail(local, error, "writing", key, why);
        }
    }
    return local_fail(local, EBUSY, "writing", key, why);
}

/* Is fd a nameless file of this file system, as objects_open_scratch gives, and just that long? */
static bool fd_linkable(const struct objects_local *local, int fd, int64_t bytes)
{
    struct stat st;
    struct stat root;
    return local->unnamed && fstat(fd, &st) == 0 && fstat(local->tmp_fd, &root) == 0 &&
           S_ISREG(st.st_mode) && st.st_nlink == 0 && st.st_dev == root.st_dev &&
           st.st_size == bytes;
}

static int reserved_refuse(const char *key, struct sl_failure *why)
{
    return sl_fail(why, SL_EINVAL, "\"%.100s\": the store keeps that name for itself", key);
}

int local_put_new(struct objects *objects, const char *ticket, const char *key, int fd,
                  int64_t bytes, const uint8_t *sha256, struct sl_failure *why)
{
    (void)ticket;
    struct objects_local *local = (struct objects_local *)objects;
    if (local_key_reserved(key))
        return reserved_refuse(key, why);
    int rc = present_check(local, key, bytes, sha256, why);
    if (rc != SL_ENOENT)
        return rc;

    struct temp temp = {.fd = fd};
    if (fd_linkable(local, fd, bytes)) {
        rc = sum_check(fd, bytes, sha256, key, why);
        if (rc != SL_OK)
            return rc;
        rc = temp_publish(local, &temp, key, bytes, sha256, why);
        /* A nameless file that was once linked and removed cannot be linked again: copied below. */
        if (rc != SL_EBUSY && rc != SL_ENOENT)
            return rc;
    }
    if (temp_open(local, false, &temp) != 0)
        return local_fail(local, errno, "writing", key, why);
    /* The copy is what is hashed: the source may change under the copying. */
    if (bytes_copy(fd, temp.fd, bytes) != 0)
        rc = local_fail(local, errno, "writing", key, why);
    else
        rc = sum_check(temp.fd, bytes, sha256, key, why);
    if (rc == SL_OK)
        rc = temp_publish(local, &temp, key, bytes, sha256, why);
    temp_close(local, &temp);
    return rc;
}

/* Over whatever is there. */
static int temp_replace(struct objects_local *local, struct temp *temp, const char *key,
                        struct sl_failure *why)
{
    if (fchmod(temp->fd, OBJECT_MODE) != 0 || fsync(temp->fd) != 0)
        return local_fail(local, errno, "writing", key, why);
    for (int i = 0; i < LINK_TRIES; i++) {
        const char *name;
        int dir = local_parent_make(local, key, &name);
        if (dir < 0)
            return local_fail(local, errno, "making the folder of", key, why);
        int rc = renameat(local->tmp_fd, temp->name, dir, name);
        if (rc == 0) {
            temp->name[0] = '\0';
            rc = fsync(dir);
        }
        int error = errno;
        close(dir);
        if (rc == 0)
            return SL_OK;
        if (error != ENOENT)
            return local_fail(local, error, "writing", key, why);
    }
    return local_fail(local, EBUSY, "writing", key, why);
}

static int bytes_put(struct objects_local *local, const char *key, const void *data, size_t length,
                     bool replace, struct sl_failure *why)
{
    uint8_t sha256[OBJECTS_SHA256_BYTES];
    struct objects_hash *hash = objects_hash_open();
    if (!hash)
        return sl_fail(why, SL_ENOMEM, "not enough memory to store %.150s", key);
    objects_hash_add(hash, data, length);
    objects_hash_take(hash, sha256);
    objects_hash_close(&hash);

    int rc = replace ? SL_ENOENT : present_check(local, key, (int64_t)length, sha256, why);
    if (rc != SL_ENOENT)
        return rc;
    struct temp temp;
    if (temp_open(local, replace, &temp) != 0)
        return local_fail(local, errno, "writing", key, why);
    if (bytes_write(temp.fd, data, length) != 0)
        rc = local_fail(local, errno, "writing", key, why);
    else if (replace)
        rc = temp_replace(local, &temp, key, why);
    else
        rc = temp_publish(local, &temp, key, (int64_t)length, sha256, why);
    temp_close(local, &temp);
    return rc;
}

int local_put_bytes(struct objects *objects, const char *ticket, const char *key, const void *data,
                    size_t length, bool replace, struct sl_failure *why)
{
    (void)ticket;
    if (local_key_reserved(key))
        return reserved_refuse(key, why);
    return bytes_put((struct objects_local *)objects, key, data, length, replace, why);
}

int local_put_text(struct objects_local *local, const char *name, const char *text,
                   struct sl_failure *why)
{
    struct temp temp;
    if (temp_open(local, true, &temp) != 0)
        return local_fail(local, errno, "writing", name, why);
    int rc = SL_OK;
    /* Another opener's file is as good as ours. */
    if (bytes_write(temp.fd, (const uint8_t *)text, strlen(text)) != 0 ||
        fchmod(temp.fd, OBJECT_MODE) != 0 || fsync(temp.fd) != 0 ||
        (temp_link(local, &temp, local->root_fd, name) != 0 && errno != EEXIST) ||
        fsync(local->root_fd) != 0)
        rc = local_fail(local, errno, "writing", name, why);
    temp_close(local, &temp);
    return rc;
}

int local_open_scratch(struct objects *objects, int *out_fd, struct sl_failure *why)
{
    struct objects_local *local = (struct objects_local *)objects;
    struct temp temp;
    if (temp_open(local, false, &temp) != 0)
        return local_fail(local, errno, "writing", LOCAL_TMP, why);
    if (temp.name[0] != '\0')
        unlinkat(local->tmp_fd, temp.name, 0);
    *out_fd = temp.fd;
    return SL_OK;
}

void local_tmp_sweep(struct objects_local *local)
{
    int fd = openat(local->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    time_t now = time(NULL);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        if (fstatat(local->tmp_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && now - st.st_mtime > LOCAL_TMP_AGE_S)
            unlinkat(local->tmp_fd, entry->d_name, 0);
    }
    closedir(dir);
}

/* Both names are of one folder or of two that are there; nobody else makes this alias meanwhile. */
int local_alias(struct objects *objects, const char *key, const char *alias, struct sl_failure *why)
{
    struct objects_local *local = (struct objects_local *)objects;
    const char *from, *to;
    if (local_key_reserved(key) || local_key_reserved(alias))
        return reserved_refuse(alias, why);
    int source = local_parent_open(local, key, &from);
    if (source < 0)
        return local_fail(local, errno, "reading", key, why);
    int dir = local_parent_make(local, alias, &to);
    int rc = dir < 0 ? -1 : linkat(source, from, dir, to, 0);
    struct stat have, want;
    if (rc != 0 && dir >= 0 && errno == EEXIST &&
        fstatat(dir, to, &have, AT_SYMLINK_NOFOLLOW) == 0 &&
        fstatat(source, from, &want, AT_SYMLINK_NOFOLLOW) == 0) {
        rc = 0;
        if (have.st_ino != want.st_ino || have.st_dev != want.st_dev)
            rc = unlinkat(dir, to, 0) != 0 ? -1 : linkat(source, from, dir, to, 0);
    }
    int error = errno;
    if (dir >= 0)
        close(dir);
    close(source);
    return rc == 0 ? SL_OK : local_fail(local, error, "naming", alias, why);
}

int local_sync_folder(struct objects *objects, const char *key, struct sl_failure *why)
{
    struct objects_local *local = (struct objects_local *)objects;
    const char *name;
    int dir = local_parent_open(local, key, &name);
    if (dir < 0 || fsync(dir) != 0) {
        int error = errno;
        if (dir >= 0)
            close(dir);
        return local_fail(local, error, "syncing", key, why);
    }
    close(dir);
    return SL_OK;
}
