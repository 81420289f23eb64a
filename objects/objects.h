/* objects/objects.h: bytes by key, wherever they lie. The only way to bytes.
 *
 * Keys are relative paths: letters, digits, '.', '_', '-', '/'; no empty, "." or ".." part; at most
 * OBJECT_KEY_BYTES. Others are refused (SL_EINVAL).
 * Drivers: a local folder (objects_local.c) and the daemon over HTTP (objects_http.c). A third joins by
 * filling struct objects_ops; one conformance suite runs over all.
 * An object appears whole or not at all, is on disk when put returns, and put-new never overwrites.
 *
 * Errors:  SL_ENOENT, SL_EEXIST, SL_ENOSPC, SL_EUNREACH, SL_ETIMEDOUT, SL_EACCES, SL_EIO.
 * Threads: a handle may be used by several threads at once.
 */
#ifndef SL_OBJECTS_OBJECTS_H
#define SL_OBJECTS_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/sync_types.h"

struct objects;

#define OBJECTS_SHA256_BYTES 32

/* Folder made if absent, with ".sluice-store" holding its id (a UUID) so that agents recognise it. */
int objects_open_local(const char *folder, bool create, struct objects **out,
                       char store_id[NODE_UUID_BYTES], struct sl_failure *why);

/* base_url: "http://host:port". */
int objects_open_http(const char *base_url, struct objects **out, struct sl_failure *why);
void objects_close(struct objects **objects);

/* ticket opens an object of a lease at drivers that ask for one (HTTP); NULL elsewhere. */

/* At most length bytes from offset; *out_read is shorter only at the object's end. */
int objects_get_range(struct objects *objects, const char *ticket, const char *key, uint64_t offset,
                      void *into, size_t length, size_t *out_read, struct sl_failure *why);

int objects_size(struct objects *objects, const char *ticket, const char *key, int64_t *out_bytes,
                 struct sl_failure *why);

/* A readable descriptor of the object where the driver has one (local), else SL_EUNSUPPORTED. */
int objects_open_fd(struct objects *objects, const char *key, int *out_fd);

/* From the start of fd, bytes long. Durable on return. SL_EEXIST when there is one with other bytes; a
 * repeat with the same size and sha256 is SL_OK. sha256 is checked on the way: SL_EIO when the bytes are
 * not those promised. fd is only read; a scratch that was put must not be written afterwards. */
int objects_put_new(struct objects *objects, const char *ticket, const char *key, int fd,
                    int64_t bytes, const uint8_t sha256[OBJECTS_SHA256_BYTES],
                    struct sl_failure *why);
int objects_put_bytes(struct objects *objects, const char *ticket, const char *key,
                      const void *data, size_t length, bool replace, struct sl_failure *why);

/* A second name of an object that is there, in the place of what the name meant before; on disk once its folder
 * is synced. SL_EUNSUPPORTED where the driver has no such names (HTTP). */
int objects_alias(struct objects *objects, const char *key, const char *alias,
                  struct sl_failure *why);
/* What was named in the folder of the key is on disk on return. */
int objects_sync_folder(struct objects *objects, const char *key, struct sl_failure *why);

/* Removing what is not there is SL_OK. */
int objects_delete(struct objects *objects, const char *ticket, const char *key,
                   struct sl_failure *why);

/* Local only: every key below prefix in byte order; deletion inside fn is allowed. A prefix is a folder,
 * its slash at the end optional ("v1" is not "v10"); empty is the whole store, for listing only. */
int objects_list(struct objects *objects, const char *prefix,
                 int (*fn)(void *arg, const char *key, int64_t bytes), void *arg,
                 struct sl_failure *why);
int objects_delete_prefix(struct objects *objects, const char *prefix, struct sl_failure *why);

/* An empty file for writing, in the store's own file system where that is local, so that put_new can
 * move instead of copy: give its fd to put_new. unlink-on-close. SL_EUNSUPPORTED over HTTP. */
int objects_open_scratch(struct objects *objects, int *out_fd, struct sl_failure *why);

/* The absolute path of a key, for people and manifests. Local only. */
int objects_path(struct objects *objects, const char *key, char *path, size_t path_bytes);

bool objects_key_valid(const char *key);

/* ---- tickets: what a lease may do over HTTP ---- */

/* Signed by the daemon (HMAC-SHA256, key from the store), verified by its HTTP side; opaque to agents. */
struct objects_ticket {
    uint64_t token; /* the lease */
    int64_t expires_unix_ns;
    char read_prefix[2]
                    [OBJECT_KEY_BYTES]; /* readable below these, or the key itself; empty: none */
    char write_prefix
        [OBJECT_KEY_BYTES]; /* put-new and delete below this, keys naming the token only */
};

int objects_ticket_make(const uint8_t *secret, size_t secret_bytes,
                        const struct objects_ticket *ticket, char text[TICKET_BYTES]);
/* SL_EACCES for a bad signature or an expired one. */
int objects_ticket_open(const uint8_t *secret, size_t secret_bytes, const char *text,
                        int64_t now_unix_ns, struct objects_ticket *out);
/* Does the ticket allow it? write keys must contain ".t<token>." or "/t<token>/". */
bool objects_ticket_allows(const struct objects_ticket *ticket, const char *key, bool write);

/* "h264/720p/000012.m4s" and token 57 to "h264/720p/000012.t57.m4s"; a name without a dot, "h264/index",
 * to "h264/t57/index". SL_EINVAL when too long, or when name carries a token already. */
int objects_token_key(const char *prefix, const char *name, uint64_t token, char *key,
                      size_t key_bytes);
/* "h264/720p/000012.t57.m4s" to "h264/720p/000012.m4s". SL_EINVAL when its last part has no token. */
int objects_plain_key(const char *key, char *plain, size_t plain_bytes);
/* The token in a key, or 0: none, or several that differ. */
uint64_t objects_key_token(const char *key);

#endif
