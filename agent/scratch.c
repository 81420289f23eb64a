#include "agent/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static int system_fail(struct sl_failure *why, const char *what, const char *path)
{
    int code = sl_error_from_errno(errno);
    return sl_fail(why, code, "cannot %s %s: %s", what, path, strerror(errno));
}

/* Every folder on the way. */
static int folders_make(const char *path, struct sl_failure *why)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return sl_fail(why, SL_EINVAL, "the path of the scratch folder is too long");
    for (char *at = part + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return system_fail(why, "make the folder", part);
        *at = '/';
    }
    if (mkdir(part, 0700) < 0 && errno != EEXIST)
        return system_fail(why, "make the folder", part);
    return SL_OK;
}

static int lock_take(struct scratch *s, const char *path, struct sl_failure *why)
{
    s->lock_fd = openat(s->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return system_fail(why, "write in the scratch folder", path);
    char text[32] = "";
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(s->lock_fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        return sl_fail(why, SL_EBUSY,
                       "another sluice-agent (pid %ld) uses the scratch folder %s; stop it, or "
                       "give this one a folder of its own with --scratch",
                       strtol(text, NULL, 10), path);
    }
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, (size_t)length, 0) != length)
        return system_fail(why, "write in the scratch folder", path);
    return SL_OK;
}

static bool uuid_valid(const char *text)
{
    if (strlen(text) != NODE_UUID_BYTES - 1)
        return false;
    for (int i = 0; text[i]; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
            return false;
    }
    return true;
}

static void uuid_make(char out[NODE_UUID_BYTES])
{
    uint8_t b[16] = {0};
    while (getrandom(b, sizeof b, 0) != sizeof b)
        continue;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, NODE_UUID_BYTES,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* Written whole under another name first: half an identity would be another node. */
static int identity_make(struct scratch *s, const char *path, struct sl_failure *why)
{
    uuid_make(s->node_uuid);
    int fd = openat(s->folder_fd, "node-id.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return system_fail(why, "write the node's identity in", path);
    char line[NODE_UUID_BYTES + 1];
    int length = snprintf(line, sizeof line, "%s\n", s->node_uuid);
    bool written = write(fd, line, (size_t)length) == length && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    if (!written || renameat(s->folder_fd, "node-id.new", s->folder_fd, "node-id") < 0 ||
        fsync(s->folder_fd) < 0)
        return system_fail(why, "write the node's identity in", path);
    return SL_OK;
}

static int identity_read(struct scratch *s, const char *path, struct sl_failure *why)
{
    int fd = openat(s->folder_fd, "node-id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return identity_make(s, path, why);
    if (fd < 0)
        return system_fail(why, "read the node's identity in", path);
    char text[64] = "";
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (!uuid_valid(text))
        return sl_fail(why, SL_EINVAL,
                       "%s/node-id does not hold a UUID; restore it, or delete it to make this a "
                       "new node",
                       path);
    memcpy(s->node_uuid, text, sizeof s->node_uuid);
    return SL_OK;
}

/* Deletes the files of a folder; adds up what they took. */
static void folder_sweep(int folder_fd, int *files, int64_t *bytes)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(folder_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            unlinkat(folder_fd, entry->d_name, 0) < 0)
            continue;
        ++*files;
        *bytes += (int64_t)st.st_blocks * 512;
    }
    closedir(folder);
}

static int subfolder_open(struct scratch *s, const char *name, const char *path, int *out,
                          struct sl_failure *why)
{
    if (mkdirat(s->folder_fd, name, 0700) < 0 && errno != EEXIST)
        return system_fail(why, "write in the scratch folder", path);
    *out = openat(s->folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out < 0 ? system_fail(why, "open a folder in", path) : SL_OK;
}

int scratch_open(const char *path, struct scratch *out, struct sl_failure *why)
{
    struct scratch s = {.folder_fd = -1, .lock_fd = -1, .leases_fd = -1, .cache_fd = -1};
    int code = folders_make(path, why);
    if (!code) {
        s.folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s.folder_fd < 0)
            code = system_fail(why, "open the scratch folder", path);
    }
    if (!code)
        code = lock_take(&s, path, why);
    if (!code)
        code = identity_read(&s, path, why);
    if (!code)
        code = subfolder_open(&s, "leases", path, &s.leases_fd, why);
    if (!code)
        code = subfolder_open(&s, "cache", path, &s.cache_fd, why);
    if (code) {
        scratch_close(&s);
        return code;
    }
    int files = 0;
    int64_t bytes = 0;
    folder_sweep(s.leases_fd, &files, &bytes);
    folder_sweep(s.cache_fd, &files, &bytes);
    if (files)
        sl_info(NULL, "swept %d files (%" PRId64 " bytes) that an earlier agent left in %s", files,
                bytes, path);
    *out = s;
    return SL_OK;
}

void scratch_close(struct scratch *s)
{
    const int fds[] = {s->leases_fd, s->cache_fd, s->lock_fd, s->folder_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    s->leases_fd = s->cache_fd = s->lock_fd = s->folder_fd = -1;
}

int scratch_file(int folder_fd, int *out_fd, struct sl_failure *why)
{
    int fd = openat(folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        static atomic_uint number;
        char name[64];
        snprintf(name, sizeof name, "%ld-%u", (long)getpid(), atomic_fetch_add(&number, 1));
        fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            unlinkat(folder_fd, name, 0);
    }
    if (fd < 0)
        return system_fail(why, "make a file in", "the scratch folder");
    *out_fd = fd;
    return SL_OK;
}
