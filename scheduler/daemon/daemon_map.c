#include "scheduler/daemon/daemon_map.h"

#include <stdlib.h>

static size_t home(const struct daemon_map *map, int64_t key)
{
    uint64_t hash = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 20) & (map->capacity - 1);
}

struct daemon_map_slot *daemon_map_find(const struct daemon_map *map, int64_t key)
{
    if (map->count == 0 || key == 0)
        return NULL;
    for (size_t i = home(map, key);; i = (i + 1) & (map->capacity - 1)) {
        if (map->slots[i].key == key)
            return &map->slots[i];
        if (map->slots[i].key == 0)
            return NULL;
    }
}

static bool grow(struct daemon_map *map)
{
    struct daemon_map wider = {.capacity = map->capacity ? map->capacity * 2 : 64};
    wider.slots = calloc(wider.capacity, sizeof *wider.slots);
    if (!wider.slots)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key == 0)
            continue;
        size_t at = home(&wider, map->slots[i].key);
        while (wider.slots[at].key != 0)
            at = (at + 1) & (wider.capacity - 1);
        wider.slots[at] = map->slots[i];
    }
    wider.count = map->count;
    free(map->slots);
    *map = wider;
    return true;
}

struct daemon_map_slot *daemon_map_put(struct daemon_map *map, int64_t key)
{
    struct daemon_map_slot *found = daemon_map_find(map, key);
    if (found)
        return found;
    if ((map->count + 1) * 4 > map->capacity * 3 && !grow(map))
        return NULL;
    size_t at = home(map, key);
    while (map->slots[at].key != 0)
        at = (at + 1) & (map->capacity - 1);
    map->slots[at] = (struct daemon_map_slot){.key = key};
    map->count++;
    return &map->slots[at];
}

void daemon_map_remove(struct daemon_map *map, int64_t key)
{
    struct daemon_map_slot *found = daemon_map_find(map, key);
    if (!found)
        return;
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(found - map->slots);
    /* What stands behind the hole moves up when the hole lies on its way from home. */
    for (size_t i = (hole + 1) & mask; map->slots[i].key != 0; i = (i + 1) & mask) {
        size_t from = home(map, map->slots[i].key);
        if (((i - from) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct daemon_map_slot){0};
    map->count--;
}

void daemon_map_fini(struct daemon_map *map)
{
    free(map->slots);
    *map = (struct daemon_map){0};
}
