#include "agent/range_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/scratch.h"

enum block_state {
    BLOCK_ABSENT,
    BLOCK_FETCHING,
    BLOCK_PRESENT,
    BLOCK_READ /* since it was queued */
};

struct object {
    struct object *next;
    char *key;
    int64_t bytes;
    int fd;
    uint8_t *blocks; /* enum block_state */
    size_t block_count;
    size_t present;
    int users; /* reads under way */
};

struct queued {
    struct object *object;
    size_t block;
};

struct range_cache {
    pthread_mutex_t lock;
    pthread_cond_t fetched;
    int folder_fd;
    struct object *objects; /* the one read last first */
    int object_count;
    /* Ring of the blocks present, the oldest first. */
    struct queued *queue;
    size_t queue_max, queue_first, queue_count;
};

int range_cache_open(int folder_fd, int64_t bytes_max, struct range_cache **out)
{
    struct range_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return SL_ENOMEM;
    cache->folder_fd = folder_fd;
    cache->queue_max = bytes_max > 0 ? (size_t)(bytes_max / RANGE_BLOCK_BYTES) : 0;
    if (cache->queue_max < RANGE_AHEAD)
        cache->queue_max = RANGE_AHEAD;
    cache->queue = calloc(cache->queue_max, sizeof *cache->queue);
    if (!cache->queue) {
        free(cache);
        return SL_ENOMEM;
    }
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->fetched, NULL);
    *out = cache;
    return SL_OK;
}

static void object_free(struct object *object)
{
    if (object->fd >= 0)
        close(object->fd);
    free(object->blocks);
    free(object->key);
    free(object);
}

void range_cache_close(struct range_cache **at)
{
    struct range_cache *cache = *at;
    if (!cache)
        return;
    *at = NULL;
    while (cache->objects) {
        struct object *object = cache->objects;
        cache->objects = object->next;
        object_free(object);
    }
    pthread_cond_destroy(&cache->fetched);
    pthread_mutex_destroy(&cache->lock);
    free(cache->queue);
    free(cache);
}

/* An object without blocks that nobody reads need not be known. */
static void object_release(struct range_cache *cache, struct object *object)
{
    if (object->users || object->present)
        return;
    struct object **at = &cache->objects;
    while (*at != object)
        at = &(*at)->next;
    *at = object->next;
    cache->object_count--;
    object_free(object);
}

/* The least recently read object that nobody reads now gives way, with all its blocks. */
static bool object_evict(struct range_cache *cache)
{
    struct object *oldest = NULL;
    for (struct object *object = cache->objects; object; object = object->next)
        if (!object->users)
            oldest = object;
    if (!oldest)
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < cache->queue_count; i++) {
        struct queued queued = cache->queue[(cache->queue_first + i) % cache->queue_max];
        if (queued.object != oldest)
            cache->queue[(cache->queue_first + kept++) % cache->queue_max] = queued;
    }
    cache->queue_count = kept;
    oldest->present = 0;
    object_release(cache, oldest);
    return true;
}

static int object_take(struct range_cache *cache, const struct range_source *source,
                       struct object **out, struct sl_failure *why)
{
    for (struct object **at = &cache->objects; *at; at = &(*at)->next) {
        struct object *object = *at;
        if (object->bytes == source->bytes && strcmp(object->key, source->key) == 0) {
            *at = object->next;
            object->next = cache->objects;
            cache->objects = object;
            object->users++;
            *out = object;
            return SL_OK;
        }
    }
    if (cache->object_count == RANGE_OBJECTS_MAX && !object_evict(cache))
        return sl_fail(why, SL_ELIMIT, "more than %d sources at once are read through the cache",
                       RANGE_OBJECTS_MAX);
    struct object *object = calloc(1, sizeof *object);
    if (!object)
        return sl_fail(why, SL_ENOMEM, "not enough memory to read %s", source->key);
    object->fd = -1;
    object->bytes = source->bytes;
    object->block_count = (size_t)((source->bytes + RANGE_BLOCK_BYTES - 1) / RANGE_BLOCK_BYTES);
    object->key = strdup(source->key);
    object->blocks = calloc(object->block_count ? object->block_count : 1, 1);
    int code = object->key && object->blocks
                   ? scratch_file(cache->folder_fd, &object->fd, why)
                   : sl_fail(why, SL_ENOMEM, "not enough memory to read %s", source->key);
    if (code) {
        object_free(object);
        return code;
    }
    object->users = 1;
    object->next = cache->objects;
    cache->objects = object;
    cache->object_count++;
    *out = object;
    return SL_OK;
}

static off_t block_offset(size_t block)
{
    return (off_t)block * RANGE_BLOCK_BYTES;
}

/* Makes room for one block. */
static void block_evict(struct range_cache *cache)
{
    for (;;) {
        struct queued oldest = cache->queue[cache->queue_first];
        cache->queue_first = (cache->queue_first + 1) % cache->queue_max;
        struct object *object = oldest.object;
        if (object->blocks[oldest.block] == BLOCK_READ) {
            object->blocks[oldest.block] = BLOCK_PRESENT;
            cache->queue[(cache->queue_first + cache->queue_count - 1) % cache->queue_max] = oldest;
            continue;
        }
        cache->queue_count--;
        object->blocks[oldest.block] = BLOCK_ABSENT;
        object->present--;
        fallocate(object->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  block_offset(oldest.block), RANGE_BLOCK_BYTES);
        object_release(cache, object);
        return;
    }
}

static void block_enqueue(struct range_cache *cache, struct object *object, size_t block)
{
    if (cache->queue_count == cache->queue_max)
        block_evict(cache);
    cache->queue[(cache->queue_first + cache->queue_count++) % cache->queue_max] =
        (struct queued){object, block};
    object->blocks[block] = BLOCK_PRESENT;
    object->present++;
}

static size_t length_from(const struct object *object, size_t block, size_t count)
{
    int64_t left = object->bytes - (int64_t)block_offset(block);
    int64_t want = (int64_t)count * RANGE_BLOCK_BYTES;
    return (size_t)(left < want ? left : want);
}

static int file_write(int fd, const unsigned char *bytes, size_t length, off_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, bytes + done, length - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_error_from_errno(errno);
        done += (size_t)n;
    }
    return SL_OK;
}

/* With the lock held; gives it up while it fetches. Blocks first … are absent. */
static int blocks_fetch(struct range_cache *cache, struct object *object,
                        const struct range_source *source, size_t first, struct sl_failure *why)
{
    size_t count = 0;
    while (count < RANGE_AHEAD && first + count < object->block_count &&
           object->blocks[first + count] == BLOCK_ABSENT)
        object->blocks[first + count++] = BLOCK_FETCHING;
    pthread_mutex_unlock(&cache->lock);

    size_t length = length_from(object, first, count), got = 0;
    unsigned char *bytes = malloc(length);
    int code = bytes ? source->fetch(source->arg, source->key, (uint64_t)block_offset(first), bytes,
                                     length, &got, why)
                     : sl_fail(why, SL_ENOMEM, "not enough memory to read %s", source->key);
    if (!code && got != length)
        code = sl_fail(why, SL_ECHANGED, "%s ends before its %lld bytes: it was cut short",
                       source->key, (long long)source->bytes);
    if (!code) {
        code = file_write(object->fd, bytes, length, block_offset(first));
        if (code)
            sl_fail(why, code, "cannot keep a range of %s in the scratch folder: %s", source->key,
                    sl_error_text(code));
    }
    free(bytes);

    pthread_mutex_lock(&cache->lock);
    for (size_t i = first; i < first + count; i++) {
        if (code)
            object->blocks[i] = BLOCK_ABSENT;
        else
            block_enqueue(cache, object, i);
    }
    pthread_cond_broadcast(&cache->fetched);
    return code;
}

static int file_read(int fd, unsigned char *into, size_t length, off_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pread(fd, into + done, length - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return SL_EIO;
        done += (size_t)n;
    }
    return SL_OK;
}

/* With the lock held: the part of one block that the range covers. Copied under the lock, because the block
 * may give way as soon as it is let go. */
static int block_copy(struct object *object, size_t block, uint64_t offset, uint64_t end,
                      unsigned char *into, struct sl_failure *why)
{
    uint64_t from = (uint64_t)block_offset(block), to = from + RANGE_BLOCK_BYTES;
    from = from < offset ? offset : from;
    to = to > end ? end : to;
    object->blocks[block] = BLOCK_READ;
    int code = file_read(object->fd, into + (from - offset), (size_t)(to - from), (off_t)from);
    return code ? sl_fail(why, code, "cannot read a kept range of %s back", object->key) : SL_OK;
}

int range_cache_read(struct range_cache *cache, const struct range_source *source, uint64_t offset,
                     void *into, size_t length, size_t *out_read, struct sl_failure *why)
{
    if (offset >= (uint64_t)source->bytes || length == 0) {
        *out_read = 0;
        return SL_OK;
    }
    uint64_t end =
        (uint64_t)source->bytes - offset < length ? (uint64_t)source->bytes : offset + length;
    struct object *object = NULL;
    pthread_mutex_lock(&cache->lock);
    int code = object_take(cache, source, &object, why);
    if (code) {
        pthread_mutex_unlock(&cache->lock);
        return code;
    }
    size_t last = (size_t)((end - 1) / RANGE_BLOCK_BYTES);
    for (size_t block = (size_t)(offset / RANGE_BLOCK_BYTES); block <= last && !code;) {
        switch ((enum block_state)object->blocks[block]) {
        case BLOCK_ABSENT:
            code = blocks_fetch(cache, object, source, block, why);
            break;
        case BLOCK_FETCHING:
            pthread_cond_wait(&cache->fetched, &cache->lock);
            break;
        case BLOCK_PRESENT:
        case BLOCK_READ:
            code = block_copy(object, block, offset, end, into, why);
            block++;
            break;
        }
    }
    object->users--;
    object_release(cache, object);
    pthread_mutex_unlock(&cache->lock);
    if (!code)
        *out_read = (size_t)(end - offset);
    return code;
}

int64_t range_cache_bytes(struct range_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    int64_t bytes = (int64_t)cache->queue_count * RANGE_BLOCK_BYTES;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}
