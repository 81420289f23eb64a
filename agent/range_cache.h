/* agent/range_cache.h: ranges of remote objects, fetched once and kept on disk.
 *
 * One nameless sparse file per object, in blocks of RANGE_BLOCK_BYTES. Leases on the same source share it. A
 * block that several ask for at once is fetched once; a miss fetches the next blocks with it. The least
 * recently used blocks give way (second chance: a queue in order of fetching, in which a block that was read
 * since it came to the front goes to the back once more).
 *
 * Owns:     the files and what is known about them.
 * Errors:   what the fetch said; SL_ENOSPC when the scratch folder is full; SL_ECHANGED when the object is
 *           shorter than it was said to be; SL_ELIMIT over RANGE_OBJECTS_MAX objects being read at once.
 * Threads:  any.
 * Blocking: as long as the fetch does.
 */
#ifndef SL_AGENT_RANGE_CACHE_H
#define SL_AGENT_RANGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define RANGE_BLOCK_BYTES (256 * 1024)
#define RANGE_AHEAD       4   /* blocks of one fetch */
#define RANGE_OBJECTS_MAX 256 /* open files; the one not read for longest gives way */

struct range_cache;

/* length bytes from offset, as many as there are; called without locks held. */
typedef int range_fetch_fn(void *arg, const char *key, uint64_t offset, void *into, size_t length,
                           size_t *out_read, struct sl_failure *why);

struct range_source {
    const char *key;
    int64_t bytes;
    range_fetch_fn *fetch;
    void *arg;
};

/* folder_fd stays the caller's. bytes_max is rounded up to one fetch. */
int range_cache_open(int folder_fd, int64_t bytes_max, struct range_cache **out);
void range_cache_close(struct range_cache **cache);

/* *out_read is shorter than length only at the object's end. */
int range_cache_read(struct range_cache *cache, const struct range_source *source, uint64_t offset,
                     void *into, size_t length, size_t *out_read, struct sl_failure *why);

int64_t range_cache_bytes(struct range_cache *cache);

#endif
