/* scheduler/daemon/daemon_map.h: from a number to a pointer or a number. Key 0 is no key. */
#ifndef SL_SCHEDULER_DAEMON_DAEMON_MAP_H
#define SL_SCHEDULER_DAEMON_DAEMON_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon_map_slot {
    int64_t key;
    union {
        void *pointer;
        int64_t number;
    };
};

/* Zero-initialised is empty. */
struct daemon_map {
    struct daemon_map_slot *slots;
    size_t capacity; /* a power of two */
    size_t count;
};

/* The slot of a key, or NULL; until the next put or remove. */
struct daemon_map_slot *daemon_map_find(const struct daemon_map *map, int64_t key);
/* The slot of a key, made when absent; NULL when memory is out. */
struct daemon_map_slot *daemon_map_put(struct daemon_map *map, int64_t key);
void daemon_map_remove(struct daemon_map *map, int64_t key);
void daemon_map_fini(struct daemon_map *map);

#endif
