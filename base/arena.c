#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES ((size_t)16 * 1024)

struct sl_arena_block {
    struct sl_arena_block *next;
    size_t size_bytes;
    size_t used_bytes;
    alignas(max_align_t) unsigned char data[];
};

static size_t round_up(size_t bytes)
{
    const size_t align = alignof(max_align_t);
    return (bytes + align - 1) & ~(align - 1);
}

void *sl_arena_alloc(struct sl_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t need = round_up(bytes ? bytes : 1);
    if (arena->limit_bytes && arena->used_bytes + need > arena->limit_bytes)
        return NULL;
    struct sl_arena_block *block = arena->first;
    if (!block || block->size_bytes - block->used_bytes < need) {
        size_t size = need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;
        block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->next = arena->first;
        block->size_bytes = size;
        block->used_bytes = 0;
        arena->first = block;
    }
    void *at = block->data + block->used_bytes;
    block->used_bytes += need;
    arena->used_bytes += need;
    return memset(at, 0, need);
}

void *sl_arena_array(struct sl_arena *arena, size_t count, size_t element_bytes)
{
    if (element_bytes && count > SIZE_MAX / element_bytes)
        return NULL;
    return sl_arena_alloc(arena, count * element_bytes);
}

char *sl_arena_strndup(struct sl_arena *arena, const char *text, size_t length)
{
    char *copy = sl_arena_alloc(arena, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

char *sl_arena_strdup(struct sl_arena *arena, const char *text)
{
    return sl_arena_strndup(arena, text, strlen(text));
}

void *sl_arena_memdup(struct sl_arena *arena, const void *bytes, size_t length)
{
    void *copy = sl_arena_alloc(arena, length);
    if (copy && length)
        memcpy(copy, bytes, length);
    return copy;
}

void sl_arena_reset(struct sl_arena *arena)
{
    struct sl_arena_block *keep = arena->first;
    if (!keep)
        return;
    for (struct sl_arena_block *block = keep->next; block;) {
        struct sl_arena_block *next = block->next;
        free(block);
        block = next;
    }
    keep->next = NULL;
    keep->used_bytes = 0;
    arena->used_bytes = 0;
}

void sl_arena_fini(struct sl_arena *arena)
{
    for (struct sl_arena_block *block = arena->first; block;) {
        struct sl_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->first = NULL;
    arena->used_bytes = 0;
}
