/* objects/objects_ops.h: what a driver of the object store fills.
 *
 * objects.c checks keys and arguments once; drivers assume them. A driver's handle starts with struct
 * objects. An entry that is NULL is not offered by the driver: the call is SL_EUNSUPPORTED.
 *
 * Errors:  0 or a negative SL_E*; why (never NULL here) gets a sentence with the key and the place.
 * Threads: every entry may be called by several threads at once, close by one alone.
 */
#ifndef SL_OBJECTS_OBJECTS_OPS_H
#define SL_OBJECTS_OBJECTS_OPS_H

#include "objects/objects.h"

typedef int objects_list_fn(void *arg, const char *key, int64_t bytes);

struct objects_ops {
    const char *name; /* for messages: "local folder" */
    void (*close)(struct objects *objects);
    int (*get_range)(struct objects *objects, const char *ticket, const char *key, uint64_t offset,
                     void *into, size_t length, size_t *out_read, struct sl_failure *why);
    int (*size)(struct objects *objects, const char *ticket, const char *key, int64_t *out_bytes,
                struct sl_failure *why);
    int (*put_new)(struct objects *objects, const char *ticket, const char *key, int fd,
                   int64_t bytes, const uint8_t *sha256, struct sl_failure *why);
    int (*put_bytes)(struct objects *objects, const char *ticket, const char *key, const void *data,
                     size_t length, bool replace, struct sl_failure *why);
    int (*remove)(struct objects *objects, const char *ticket, const char *key,
                  struct sl_failure *why);
    int (*alias)(struct objects *objects, const char *key, const char *alias,
                 struct sl_failure *why);
    int (*sync_folder)(struct objects *objects, const char *key, struct sl_failure *why);
    int (*open_fd)(struct objects *objects, const char *key, int *out_fd);
    int (*list)(struct objects *objects, const char *prefix, objects_list_fn *fn, void *arg,
                struct sl_failure *why);
    int (*open_scratch)(struct objects *objects, int *out_fd, struct sl_failure *why);
    int (*path)(struct objects *objects, const char *key, char *path, size_t path_bytes);
};

/* The head of every driver's handle. */
struct objects {
    const struct objects_ops *ops;
};

/* A running SHA-256. */
struct objects_hash;
struct objects_hash *objects_hash_open(void); /* NULL: no memory */
void objects_hash_add(struct objects_hash *hash, const void *bytes, size_t length);
/* Gives the sum and starts anew. */
void objects_hash_take(struct objects_hash *hash, uint8_t sha256[OBJECTS_SHA256_BYTES]);
void objects_hash_close(struct objects_hash **hash);

/* Of the first bytes of fd. SL_EIO when it is shorter or cannot be read. */
int objects_hash_fd(int fd, int64_t bytes, uint8_t sha256[OBJECTS_SHA256_BYTES],
                    struct sl_failure *why);

#endif
