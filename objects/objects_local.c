#include "objects/objects_local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"

/* Of the names in one folder: some 2 million of the usual length. */
#define LIST_NAMES_BYTES_MAX (128u * 1024 * 1024)

static struct objects_local *local_of(struct objects *objects)
{
    return (struct objects_local *)objects;
}

static void local_close(struct objects *objects)
{
    struct objects_local *local = local_of(objects);
    if (local->tmp_fd >= 0)
        close(local->tmp_fd);
    if (local->root_fd >= 0)
        close(local->root_fd);
    pthread_mutex_destroy(&local->synced_lock);
    free(local);
}

static int local_get_range(struct objects *objects, const char *ticket, const char *key,
                           uint64_t offset, void *into, size_t length, size_t *out_read,
                           struct sl_failure *why)
{
    (void)ticket;
    struct objects_local *local = local_of(objects);
    int64_t bytes;
    int fd = local_open_object(local, key, &bytes);
    if (fd < 0)
        return local_fail(local, errno, "reading", key, why);
    size_t at = 0;
    ssize_t got = 1;
    while (at < length && got != 0) {
        got = pread(fd, (char *)into + at, length - at, (off_t)(offset + at));
        if (got < 0 && errno != EINTR)
            break;
        at += got > 0 ? (size_t)got : 0;
    }
    int rc = got < 0 ? local_fail(local, errno, "reading", key, why) : SL_OK;
    close(fd);
    if (rc == SL_OK)
        *out_read = at;
    return rc;
}

static int local_size(struct objects *objects, const char *ticket, const char *key,
                      int64_t *out_bytes, struct sl_failure *why)
{
    (void)ticket;
    struct objects_local *local = local_of(objects);
    int fd = local_open_object(local, key, out_bytes);
    if (fd < 0)
        return local_fail(local, errno, "reading", key, why);
    close(fd);
    return SL_OK;
}

static int local_open_fd(struct objects *objects, const char *key, int *out_fd)
{
    int64_t bytes;
    int fd = local_open_object(local_of(objects), key, &bytes);
    if (fd < 0)
        return errno == ELOOP ? SL_EACCES : sl_error_from_errno(errno);
    *out_fd = fd;
    return SL_OK;
}

static int local_remove(struct objects *objects, const char *ticket, const char *key,
                        struct sl_failure *why)
{
    (void)ticket;
    struct objects_local *local = local_of(objects);
    if (local_key_reserved(key))
        return sl_fail(why, SL_EINVAL, "\"%.100s\": the store keeps that name for itself", key);
    const char *name;
    int dir = local_parent_open(local, key, &name);
    if (dir < 0)
        return errno == ENOENT || errno == ENOTDIR ? SL_OK
                                                   : local_fail(local, errno, "deleting", key, why);
    int rc = unlinkat(dir, name, 0);
    int error = errno;
    close(dir);
    /* EISDIR: a folder is no object, so there is nothing to delete. */
    if (rc != 0 && error != ENOENT && error != EISDIR)
        return local_fail(local, error, "deleting", key, why);
    local_parents_prune(local, key);
    return SL_OK;
}

static int local_path(struct objects *objects, const char *key, char *path, size_t path_bytes)
{
    int length = snprintf(path, path_bytes, "%s/%s", local_of(objects)->folder, key);
    return length >= 0 && (size_t)length < path_bytes ? SL_OK : SL_ELIMIT;
}

/* ---- listing ---- */

struct listing {
    struct objects_local *local;
    objects_list_fn *fn;
    void *arg;
    struct sl_failure *why;
};

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All names of a folder in the byte order of the keys below it: a folder sorts as its name with a
 * slash. Read whole before the first is handed out, so that fn may delete. */
static int names_read(struct listing *listing, const char *folder, struct sl_arena *arena,
                      char ***out, size_t *out_count)
{
    struct objects_local *local = listing->local;
    int fd = local_open(local, folder[0] ? folder : ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        *out_count = 0;
        if (error == ENOENT || error == ENOTDIR)
            return SL_OK;
        return local_fail(local, error, "listing", folder, listing->why);
    }
    size_t count = 0;
    size_t room = 0;
    char **names = NULL;
    int rc = SL_OK;
    struct dirent *entry;
    while (rc == SL_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (folder[0] == '\0' && local_key_reserved(entry->d_name)) ||
            !objects_key_valid(entry->d_name) ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
            continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            char **grown = sl_arena_array(arena, room, sizeof *grown);
            if (grown && count > 0)
                memcpy(grown, names, count * sizeof *grown);
            names = grown;
        }
        char name[NAME_MAX + 2];
        snprintf(name, sizeof name, "%s%s", entry->d_name, S_ISDIR(st.st_mode) ? "/" : "");
        if (!names || !(names[count] = sl_arena_strdup(arena, name)))
            rc = sl_fail(listing->why, SL_ELIMIT, "%.100s/%.100s holds too many objects to list",
                         local->folder, folder);
        else
            count++;
    }
    if (rc == SL_OK && errno != 0)
        rc = local_fail(local, errno, "listing", folder, listing->why);
    closedir(dir);
    if (rc != SL_OK)
        return rc;
    if (count > 1)
        qsort(names, count, sizeof *names, name_compare);
    *out = names;
    *out_count = count;
    return SL_OK;
}

/* The depth is bounded by the length of a key. */
static int folder_list(struct listing *listing, const char *folder)
{
    struct sl_arena arena = {.limit_bytes = LIST_NAMES_BYTES_MAX};
    char **names = NULL;
    size_t count = 0;
    int rc = names_read(listing, folder, &arena, &names, &count);
    for (size_t i = 0; i < count && rc == SL_OK; i++) {
        char key[OBJECT_KEY_BYTES];
        int length = snprintf(key, sizeof key, "%s%s%s", folder, folder[0] ? "/" : "", names[i]);
        if (length < 1 || (size_t)length >= sizeof key)
            continue;
        if (key[length - 1] == '/') {
            key[length - 1] = '\0';
            rc = folder_list(listing, key);
            continue;
        }
        int64_t bytes;
        int fd = local_open_object(listing->local, key, &bytes);
        if (fd < 0)
            continue; /* deleted meanwhile */
        close(fd);
        rc = listing->fn(listing->arg, key, bytes);
    }
    sl_arena_fini(&arena);
    return rc;
}

static int local_list(struct objects *objects, const char *prefix, objects_list_fn *fn, void *arg,
                      struct sl_failure *why)
{
    struct listing listing = {.local = local_of(objects), .fn = fn, .arg = arg, .why = why};
    return local_key_reserved(prefix) ? SL_OK : folder_list(&listing, prefix);
}

static const struct objects_ops local_ops = {
    .name = "a local folder",
    .close = local_close,
    .get_range = local_get_range,
    .size = local_size,
    .put_new = local_put_new,
    .put_bytes = local_put_bytes,
    .remove = local_remove,
    .alias = local_alias,
    .sync_folder = local_sync_folder,
    .open_fd = local_open_fd,
    .list = local_list,
    .open_scratch = local_open_scratch,
    .path = local_path,
};

/* ---- opening ---- */

/* Makes the folder and its missing parents, and syncs each new one's parent. */
static int folder_make(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return 0;
    for (char *p = path + 1; errno == ENOENT && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
        errno = ENOENT;
        *p = '/';
    }
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

static void parent_sync(const char *folder)
{
    char path[PATH_MAX + 4];
    snprintf(path, sizeof path, "%s/..", folder);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

static int id_make(struct objects_local *local, struct sl_failure *why)
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return sl_fail(why, SL_EIO, "the kernel gave no random bytes for the store's id");
    /* A version 4 UUID. */
    random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
    random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
    char text[NODE_UUID_BYTES + 1];
    size_t at = 0;
    for (size_t i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", random[i]);
    snprintf(text + at, sizeof text - at, "\n");
    return local_put_text(local, LOCAL_ID_FILE, text, why);
}

static int id_read(struct objects_local *local, char store_id[NODE_UUID_BYTES],
                   struct sl_failure *why)
{
    char text[NODE_UUID_BYTES] = "";
    int fd = local_open(local, LOCAL_ID_FILE, O_RDONLY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return sl_fail(why, SL_ENOENT, "%.150s is no object store: it has no " LOCAL_ID_FILE,
                       local->folder);
    if (fd < 0)
        return local_fail(local, errno, "reading", LOCAL_ID_FILE, why);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got != NODE_UUID_BYTES - 1 || strspn(text, "0123456789abcdef-") != (size_t)got)
        return sl_fail(why, SL_EIO, "%.150s/" LOCAL_ID_FILE " holds no id; restore it from a copy",
                       local->folder);
    memcpy(store_id, text, sizeof text);
    return SL_OK;
}

/* Opens tmp/ and learns what kernel and file system offer here. */
static void tmp_open(struct objects_local *local)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    long fd = syscall(SYS_openat2, local->root_fd, ".", &how, sizeof how);
    local->openat2 = fd >= 0;
    if (fd >= 0)
        close((int)fd);
    local->tmp_fd = local_open(local, LOCAL_TMP, O_RDONLY | O_DIRECTORY);
    if (local->tmp_fd < 0)
        return;
    int file = openat(local->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    local->unnamed = file >= 0 && access("/proc/self/fd", X_OK) == 0;
    if (file >= 0)
        close(file);
}

int objects_open_local(const char *folder, bool create, struct objects **out,
                       char store_id[NODE_UUID_BYTES], struct sl_failure *why)
{
    if (create && folder_make(folder) != 0)
        return sl_fail(why, sl_error_from_errno(errno), "%.150s cannot be made: %s", folder,
                       strerror(errno));
    struct objects_local *local = calloc(1, sizeof *local);
    if (!local)
        return sl_fail(why, SL_ENOMEM, "not enough memory to open %.150s", folder);
    local->base.ops = &local_ops;
    local->tmp_fd = -1;
    local->root_fd = -1;
    pthread_mutex_init(&local->synced_lock, NULL);
    struct objects *objects = &local->base;

    int rc = SL_OK;
    if (!realpath(folder, local->folder) ||
        (local->root_fd = open(local->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = sl_fail(why, sl_error_from_errno(errno), "%.150s cannot be opened: %s", folder,
                     strerror(errno));
    if (rc == SL_OK && create && mkdirat(local->root_fd, LOCAL_TMP, 0755) != 0 && errno != EEXIST)
        rc = local_fail(local, errno, "making", LOCAL_TMP, why);
    if (rc == SL_OK)
        tmp_open(local);
    if (rc == SL_OK && create) {
        if (local->tmp_fd < 0)
            rc = local_fail(local, errno, "opening", LOCAL_TMP, why);
        struct stat st;
        if (rc == SL_OK && fstatat(local->root_fd, LOCAL_ID_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            parent_sync(local->folder);
            rc = id_make(local, why);
        }
        if (rc == SL_OK)
            local_tmp_sweep(local);
    }
    char id[NODE_UUID_BYTES];
    if (rc == SL_OK)
        rc = id_read(local, id, why);
    if (rc != SL_OK) {
        objects_close(&objects);
        return rc;
    }
    if (store_id)
        memcpy(store_id, id, sizeof id);
    *out = objects;
    return SL_OK;
}
