/* objects/objects_local.h: shared by the files of the local folder driver.
 *
 * Layout: an object lies at <folder>/<key>, read-only. <folder>/tmp/ holds what is being written and
 * <folder>/.sluice-store the store's id; neither is a key. The folder is one file system.
 * No symbolic link below the folder is followed.
 */
#ifndef SL_OBJECTS_OBJECTS_LOCAL_H
#define SL_OBJECTS_OBJECTS_LOCAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "objects/objects_ops.h"

#define LOCAL_TMP            "tmp"
#define LOCAL_ID_FILE        ".sluice-store"
#define LOCAL_TMP_AGE_S      3600 /* older leftovers in tmp/ are swept */
#define LOCAL_SYNCED_FOLDERS 1024

/* A folder whose entry in its parent this handle has seen on disk. */
struct local_synced {
    uint64_t inode;
    int64_t made_unix_ns;
};

struct objects_local {
    struct objects base;
    int root_fd;
    int tmp_fd;   /* -1: not there, nothing can be put */
    bool unnamed; /* O_TMPFILE and linking through /proc work here */
    bool openat2; /* the kernel resolves beneath; else part by part */
    atomic_uint_fast64_t temp_next;
    char folder[PATH_MAX];
    pthread_mutex_t synced_lock; /* guards synced */
    struct local_synced synced[LOCAL_SYNCED_FOLDERS];
};

/* Maps errno to a code and a sentence that names the key's path and a remedy. */
int local_fail(const struct objects_local *local, int errno_value, const char *doing,
               const char *key, struct sl_failure *why);

/* Opens relative to the folder without leaving it or following links; -1 with errno. ELOOP: a link. */
int local_open(const struct objects_local *local, const char *path, int flags);

/* Opens a regular file; other kinds are ENOENT. */
int local_open_object(const struct objects_local *local, const char *key, int64_t *out_bytes);

/* The folder of key, without and with making what is missing; -1 with errno. Made folders, and
 * found ones that this handle has not seen yet, are on disk on return. name is the key's last part. */
int local_parent_open(const struct objects_local *local, const char *key, const char **name);
int local_parent_make(struct objects_local *local, const char *key, const char **name);

/* Removes the folders of key that are empty now. */
void local_parents_prune(const struct objects_local *local, const char *key);

/* objects_local_put.c */
int local_put_new(struct objects *objects, const char *ticket, const char *key, int fd,
                  int64_t bytes, const uint8_t *sha256, struct sl_failure *why);
int local_put_bytes(struct objects *objects, const char *ticket, const char *key, const void *data,
                    size_t length, bool replace, struct sl_failure *why);
int local_alias(struct objects *objects, const char *key, const char *alias,
                struct sl_failure *why);
int local_sync_folder(struct objects *objects, const char *key, struct sl_failure *why);
int local_open_scratch(struct objects *objects, int *out_fd, struct sl_failure *why);
/* The same without a check of the key, for the store's own id. */
int local_put_text(struct objects_local *local, const char *name, const char *text,
                   struct sl_failure *why);
void local_tmp_sweep(struct objects_local *local);

/* Is the key one of the driver's own names? */
bool local_key_reserved(const char *key);

#endif
