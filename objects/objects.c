#include "objects/objects.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects/objects_ops.h"

#define HASH_BLOCK_BYTES (256 * 1024)

/* ---- keys ---- */

static bool key_char_valid(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool objects_key_valid(const char *key)
{
    size_t part = 0;
    size_t dots = 0;
    size_t length = strnlen(key, OBJECT_KEY_BYTES);
    if (length >= OBJECT_KEY_BYTES)
        return false;
    for (size_t i = 0; i <= length; i++) {
        if (i == length || key[i] == '/') {
            if (part == 0 || (part <= 2 && dots == part))
                return false;
            part = dots = 0;
            continue;
        }
        if (!key_char_valid(key[i]))
            return false;
        part++;
        dots += key[i] == '.';
    }
    return true;
}

int objects_token_key(const char *prefix, const char *name, uint64_t token, char *key,
                      size_t key_bytes)
{
    /* A name that carries a token already could pass for another lease's. */
    if (token == 0 || !objects_key_valid(name) || objects_key_token(name) != 0)
        return SL_EINVAL;
    size_t prefix_length = prefix ? strlen(prefix) : 0;
    const char *slash = prefix_length > 0 && prefix[prefix_length - 1] != '/' ? "/" : "";
    const char *last = strrchr(name, '/');
    last = last ? last + 1 : name;
    const char *dot = strrchr(last, '.');
    char made[2 * OBJECT_KEY_BYTES];
    int length;
    if (dot)
        length = snprintf(made, sizeof made, "%s%s%.*s.t%" PRIu64 "%s", prefix ? prefix : "", slash,
                          (int)(dot - name), name, token, dot);
    else
        length = snprintf(made, sizeof made, "%s%s%.*st%" PRIu64 "/%s", prefix ? prefix : "", slash,
                          (int)(last - name), name, token, last);
    if (length < 0 || (size_t)length >= sizeof made || (size_t)length >= key_bytes ||
        !objects_key_valid(made))
        return SL_EINVAL;
    memcpy(key, made, (size_t)length + 1);
    return SL_OK;
}

int objects_plain_key(const char *key, char *plain, size_t plain_bytes)
{
    const char *last = strrchr(key, '/');
    const char *dot = strrchr(last ? last : key, '.');
    const char *token = dot;
    while (token && token > key && token[-1] >= '0' && token[-1] <= '9')
        token--;
    if (!token || token == dot || token - key < 3 || token[-1] != 't' || token[-2] != '.' ||
        token[-3] == '/')
        return SL_EINVAL;
    size_t head = (size_t)(token - 2 - key), tail = strlen(dot);
    if (head + tail >= plain_bytes)
        return SL_EINVAL;
    memcpy(plain, key, head);
    memcpy(plain + head, dot, tail + 1);
    return SL_OK;
}

uint64_t objects_key_token(const char *key)
{
    uint64_t found = 0;
    for (const char *p = key; *p != '\0'; p++) {
        if (*p != 't' || p[1] < '1' || p[1] > '9')
            continue;
        char before = p == key ? '/' : p[-1];
        errno = 0;
        char *end;
        uint64_t token = strtoull(p + 1, &end, 10);
        if (errno != 0 || !((before == '.' && *end == '.') || (before == '/' && *end == '/')))
            continue;
        /* Two different ones: nobody's. */
        if (found != 0 && found != token)
            return 0;
        found = token;
    }
    return found;
}

/* ---- hashing ---- */

struct objects_hash {
    EVP_MD_CTX *context;
};

struct objects_hash *objects_hash_open(void)
{
    struct objects_hash *hash = calloc(1, sizeof *hash);
    if (!hash)
        return NULL;
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1)
        objects_hash_close(&hash);
    return hash;
}

void objects_hash_add(struct objects_hash *hash, const void *bytes, size_t length)
{
    EVP_DigestUpdate(hash->context, bytes, length);
}

void objects_hash_take(struct objects_hash *hash, uint8_t sha256[OBJECTS_SHA256_BYTES])
{
    EVP_DigestFinal_ex(hash->context, sha256, NULL);
    EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL);
}

void objects_hash_close(struct objects_hash **hash)
{
    if (!*hash)
        return;
    EVP_MD_CTX_free((*hash)->context);
    free(*hash);
    *hash = NULL;
}

int objects_hash_fd(int fd, int64_t bytes, uint8_t sha256[OBJECTS_SHA256_BYTES],
                    struct sl_failure *why)
{
    struct objects_hash *hash = objects_hash_open();
    uint8_t *block = malloc(HASH_BLOCK_BYTES);
    int rc = hash && block ? SL_OK : sl_fail(why, SL_ENOMEM, "not enough memory to hash a file");
    int64_t at = 0;
    while (rc == SL_OK && at < bytes) {
        size_t want = bytes - at < HASH_BLOCK_BYTES ? (size_t)(bytes - at) : HASH_BLOCK_BYTES;
        ssize_t got = pread(fd, block, want, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = sl_fail(why, SL_EIO, "the bytes to store cannot be read: %s", strerror(errno));
        else if (got == 0)
            rc = sl_fail(why, SL_EIO, "the bytes to store end at %" PRId64 " of %" PRId64, at,
                         bytes);
        else
            objects_hash_add(hash, block, (size_t)got);
        at += got;
    }
    if (rc == SL_OK)
        objects_hash_take(hash, sha256);
    free(block);
    objects_hash_close(&hash);
    return rc;
}

/* ---- dispatch ---- */

static int unsupported(const struct objects *objects, const char *what, struct sl_failure *why)
{
    return sl_fail(why, SL_EUNSUPPORTED, "objects in %s cannot be %s", objects->ops->name, what);
}

static int key_check(const char *key, struct sl_failure *why)
{
    if (objects_key_valid(key))
        return SL_OK;
    return sl_fail(why, SL_EINVAL,
                   "\"%.100s\" is no key of an object: parts of letters, digits, '.', '_' and '-' "
                   "between slashes, %d bytes at most",
                   key, OBJECT_KEY_BYTES - 1);
}

void objects_close(struct objects **objects)
{
    if (!*objects)
        return;
    (*objects)->ops->close(*objects);
    *objects = NULL;
}

int objects_get_range(struct objects *objects, const char *ticket, const char *key, uint64_t offset,
                      void *into, size_t length, size_t *out_read, struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    if (rc != SL_OK)
        return rc;
    if (offset > INT64_MAX || length > (uint64_t)INT64_MAX - offset)
        return sl_fail(why, SL_EINVAL, "%.150s: no object is that long", key);
    return objects->ops->get_range(objects, ticket, key, offset, into, length, out_read, why);
}

int objects_size(struct objects *objects, const char *ticket, const char *key, int64_t *out_bytes,
                 struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    return rc != SL_OK ? rc : objects->ops->size(objects, ticket, key, out_bytes, why);
}

int objects_open_fd(struct objects *objects, const char *key, int *out_fd)
{
    if (!objects->ops->open_fd)
        return SL_EUNSUPPORTED;
    return objects_key_valid(key) ? objects->ops->open_fd(objects, key, out_fd) : SL_EINVAL;
}

int objects_put_new(struct objects *objects, const char *ticket, const char *key, int fd,
                    int64_t bytes, const uint8_t sha256[OBJECTS_SHA256_BYTES],
                    struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    if (rc != SL_OK)
        return rc;
    if (bytes < 0)
        return sl_fail(why, SL_EINVAL, "%.150s: an object of fewer than no bytes", key);
    return objects->ops->put_new(objects, ticket, key, fd, bytes, sha256, why);
}

int objects_put_bytes(struct objects *objects, const char *ticket, const char *key,
                      const void *data, size_t length, bool replace, struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    if (rc != SL_OK)
        return rc;
    return objects->ops->put_bytes(objects, ticket, key, data, length, replace, why);
}

int objects_delete(struct objects *objects, const char *ticket, const char *key,
                   struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    return rc != SL_OK ? rc : objects->ops->remove(objects, ticket, key, why);
}

int objects_alias(struct objects *objects, const char *key, const char *alias,
                  struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    if (rc == SL_OK)
        rc = key_check(alias, why);
    if (rc != SL_OK)
        return rc;
    if (!objects->ops->alias)
        return sl_fail(why, SL_EUNSUPPORTED, "%s gives no object a second name",
                       objects->ops->name);
    return objects->ops->alias(objects, key, alias, why);
}

int objects_sync_folder(struct objects *objects, const char *key, struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    int rc = key_check(key, why);
    return rc != SL_OK || !objects->ops->sync_folder ? rc
                                                     : objects->ops->sync_folder(objects, key, why);
}

/* A prefix is a folder: "a/b" and "a/b/" are both what lies below a/b, never "a/bc". Empty is all. */
static int prefix_check(const char *prefix, char folder[OBJECT_KEY_BYTES], struct sl_failure *why)
{
    size_t length = strnlen(prefix, OBJECT_KEY_BYTES);
    if (length > 0 && length < OBJECT_KEY_BYTES && prefix[length - 1] == '/')
        length--;
    if (length < OBJECT_KEY_BYTES) {
        memcpy(folder, prefix, length);
        folder[length] = '\0';
        if (prefix[0] == '\0' || objects_key_valid(folder))
            return SL_OK;
    }
    return sl_fail(why, SL_EINVAL, "\"%.100s\" is no folder of objects", prefix);
}

int objects_list(struct objects *objects, const char *prefix,
                 int (*fn)(void *arg, const char *key, int64_t bytes), void *arg,
                 struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    if (!objects->ops->list)
        return unsupported(objects, "listed", why);
    char folder[OBJECT_KEY_BYTES];
    int rc = prefix_check(prefix, folder, why);
    return rc != SL_OK ? rc : objects->ops->list(objects, folder, fn, arg, why);
}

struct deleting {
    struct objects *objects;
    struct sl_failure *why;
};

static int delete_one(void *arg, const char *key, int64_t bytes)
{
    (void)bytes;
    struct deleting *deleting = arg;
    return deleting->objects->ops->remove(deleting->objects, NULL, key, deleting->why);
}

int objects_delete_prefix(struct objects *objects, const char *prefix, struct sl_failure *why)
{
    /* An empty text from a caller's slip must not empty the store. */
    if (prefix[0] == '\0')
        return sl_fail(why, SL_EINVAL,
                       "deleting everything in the store is refused; name a folder");
    struct sl_failure unread = {0};
    struct deleting deleting = {objects, why ? why : &unread};
    return objects_list(objects, prefix, delete_one, &deleting, why);
}

int objects_open_scratch(struct objects *objects, int *out_fd, struct sl_failure *why)
{
    struct sl_failure unread = {0};
    why = why ? why : &unread;
    if (!objects->ops->open_scratch)
        return unsupported(objects, "moved into place", why);
    return objects->ops->open_scratch(objects, out_fd, why);
}

int objects_path(struct objects *objects, const char *key, char *path, size_t path_bytes)
{
    if (!objects->ops->path)
        return SL_EUNSUPPORTED;
    return objects_key_valid(key) ? objects->ops->path(objects, key, path, path_bytes) : SL_EINVAL;
}
