#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"
#include "objects/objects_local.h"

/* A folder may be pruned by a delete between its making and its use; then it is made again. */
#define MAKE_TRIES    16

/* RESOLVE_BENEATH gives up with EAGAIN while something is being renamed anywhere on the machine. */
#define RESOLVE_TRIES 128

static int open_by_parts(const struct objects_local *local, const char *path, int flags)
{
    int dir = fcntl(local->root_fd, F_DUPFD_CLOEXEC, 0);
    while (dir >= 0) {
        const char *slash = strchr(path, '/');
        char part[OBJECT_KEY_BYTES];
        snprintf(part, sizeof part, "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path);
        int next = openat(dir, part,
                          slash ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
                                : flags | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        /* O_DIRECTORY tells of a link as of any other file. */
        struct stat st;
        if (next < 0 && error == ENOTDIR && fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(st.st_mode))
            error = ELOOP;
        close(dir);
        errno = error;
        if (next < 0 || !slash)
            return next;
        dir = next;
        path = slash + 1;
    }
    return -1;
}

int local_open(const struct objects_local *local, const char *path, int flags)
{
    if (!local->openat2)
        return open_by_parts(local, path, flags);
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    for (int i = 0; i < RESOLVE_TRIES; i++) {
        long fd = syscall(SYS_openat2, local->root_fd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            return (int)fd;
    }
    return open_by_parts(local, path, flags);
}

int local_open_object(const struct objects_local *local, const char *key, int64_t *out_bytes)
{
    if (local_key_reserved(key)) {
        errno = ENOENT;
        return -1;
    }
    /* O_NONBLOCK changes nothing for files and keeps a stray FIFO from holding us. */
    int fd = local_open(local, key, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return -1;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    *out_bytes = st.st_size;
    return fd;
}

int local_parent_open(const struct objects_local *local, const char *key, const char **name)
{
    const char *slash = strrchr(key, '/');
    *name = slash ? slash + 1 : key;
    if (!slash)
        return fcntl(local->root_fd, F_DUPFD_CLOEXEC, 0);
    char folder[OBJECT_KEY_BYTES];
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - key), key);
    return local_open(local, folder, O_RDONLY | O_DIRECTORY);
}

/* ---- making folders ---- */

/* A folder's inode number may be used again for a new one; with its birth time it names it. */
static bool synced_name(int fd, struct local_synced *out)
{
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) != 0 ||
        !(stx.stx_mask & STATX_BTIME))
        return false;
    out->inode = stx.stx_ino;
    out->made_unix_ns = stx.stx_btime.tv_sec * SL_NS_PER_S + stx.stx_btime.tv_nsec;
    return true;
}

/* Somebody made the folder, perhaps just now or before a crash: its entry in parent may not be on
 * disk yet, and an object below it would not be either. Synced once per handle and folder. */
static int entry_sync(struct objects_local *local, int parent, int fd)
{
    struct local_synced name;
    bool named = synced_name(fd, &name);
    struct local_synced *slot =
        named ? &local->synced[(name.inode * UINT64_C(0x9e3779b97f4a7c15)) >> 54] : NULL;
    if (named) {
        pthread_mutex_lock(&local->synced_lock);
        bool known = slot->inode == name.inode && slot->made_unix_ns == name.made_unix_ns;
        pthread_mutex_unlock(&local->synced_lock);
        if (known)
            return 0;
    }
    if (fsync(parent) != 0)
        return -1;
    if (named) {
        pthread_mutex_lock(&local->synced_lock);
        *slot = name;
        pthread_mutex_unlock(&local->synced_lock);
    }
    return 0;
}

_Static_assert(LOCAL_SYNCED_FOLDERS == 1 << (64 - 54), "the hash's shift picks a slot");

static int parent_make_once(struct objects_local *local, const char *key)
{
    int dir = fcntl(local->root_fd, F_DUPFD_CLOEXEC, 0);
    const char *slash;
    while (dir >= 0 && (slash = strchr(key, '/')) != NULL) {
        char part[OBJECT_KEY_BYTES];
        snprintf(part, sizeof part, "%.*s", (int)(slash - key), key);
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int next = openat(dir, part, flags);
        if (next < 0 && errno == ENOENT && (mkdirat(dir, part, 0755) == 0 || errno == EEXIST))
            next = openat(dir, part, flags);
        struct stat st;
        if (next < 0 && errno == ENOTDIR) {
            bool link = fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
            errno = link ? ELOOP : ENOTDIR;
        }
        if (next >= 0 && entry_sync(local, dir, next) != 0) {
            int error = errno;
            close(next);
            next = -1;
            errno = error;
        }
        int error = errno;
        close(dir);
        errno = error;
        dir = next;
        key = slash + 1;
    }
    return dir;
}

int local_parent_make(struct objects_local *local, const char *key, const char **name)
{
    const char *slash = strrchr(key, '/');
    *name = slash ? slash + 1 : key;
    int fd = -1;
    for (int i = 0; i < MAKE_TRIES; i++) {
        fd = parent_make_once(local, key);
        if (fd >= 0 || errno != ENOENT)
            break;
    }
    return fd;
}

void local_parents_prune(const struct objects_local *local, const char *key)
{
    char path[OBJECT_KEY_BYTES];
    snprintf(path, sizeof path, "%s", key);
    char *slash;
    while ((slash = strrchr(path, '/')) != NULL) {
        *slash = '\0';
        const char *name;
        int parent = local_parent_open(local, path, &name);
        if (parent < 0)
            return;
        int rc = unlinkat(parent, name, AT_REMOVEDIR);
        close(parent);
        if (rc != 0)
            return;
    }
}

int local_fail(const struct objects_local *local, int errno_value, const char *doing,
               const char *key, struct sl_failure *why)
{
    const char *folder = local->folder;
    switch (errno_value) {
    case ENOENT:
        return sl_fail(why, SL_ENOENT, "there is no object %.80s in %.120s", key, folder);
    case ENOSPC:
    case EDQUOT:
        return sl_fail(why, SL_ENOSPC, "no space left to store %.80s in %.80s; free some there",
                       key, folder);
    case ELOOP:
        return sl_fail(why, SL_EACCES,
                       "%.80s/%.80s goes through a symbolic link, which the store does not follow; "
                       "mount the place instead",
                       folder, key);
    case EXDEV:
        return sl_fail(why, SL_ECONFLICT,
                       "%.80s/%.80s lies on another file system than %.60s; a store is on one",
                       folder, key, folder);
    case ENOTDIR:
    case EISDIR:
        return sl_fail(why, SL_ECONFLICT,
                       "%.80s/%.80s: an object and a folder cannot have one name", folder, key);
    case EACCES:
    case EPERM:
    case EROFS:
        return sl_fail(why, SL_EACCES,
                       "%s %.70s/%.70s: %s; its folder must be writable by this user", doing,
                       folder, key, strerror(errno_value));
    default:
        return sl_fail(why, sl_error_from_errno(errno_value), "%s %.80s/%.80s: %s", doing, folder,
                       key, strerror(errno_value));
    }
}

bool local_key_reserved(const char *key)
{
    return strcmp(key, LOCAL_TMP) == 0 || strncmp(key, LOCAL_TMP "/", sizeof LOCAL_TMP) == 0 ||
           strcmp(key, LOCAL_ID_FILE) == 0;
}
