/* base/arena.h: memory that is given back all at once.
 *
 * Owns:    every block handed out; a pointer from an arena lives until the arena is reset or freed.
 * Errors:  NULL when the system has no memory, or when the arena's limit would be passed.
 * Threads: one thread per arena.
 */
#ifndef SL_BASE_ARENA_H
#define SL_BASE_ARENA_H

#include <stddef.h>

struct sl_arena_block;

/* Zero-initialised is empty and unlimited. */
struct sl_arena {
    struct sl_arena_block *first;
    size_t used_bytes;  /* handed out since the last reset */
    size_t limit_bytes; /* 0: no limit */
};

/* Zeroed memory, aligned for any type. */
void *sl_arena_alloc(struct sl_arena *arena, size_t bytes);

/* Zeroed room for count elements; NULL when the product overflows. count 0 gives a valid pointer. */
void *sl_arena_array(struct sl_arena *arena, size_t count, size_t element_bytes);

/* A copy that ends in NUL. */
char *sl_arena_strndup(struct sl_arena *arena, const char *text, size_t length);
char *sl_arena_strdup(struct sl_arena *arena, const char *text);

void *sl_arena_memdup(struct sl_arena *arena, const void *bytes, size_t length);

/* Keeps the newest block for reuse. */
void sl_arena_reset(struct sl_arena *arena);
void sl_arena_fini(struct sl_arena *arena);

#endif
