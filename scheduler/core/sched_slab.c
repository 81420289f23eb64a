#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/core/sched_internal.h"

#define CHUNK_ITEMS (UINT32_C(1) << SLAB_SHIFT)

/* What a free item holds: id 0 and the next free slot. */
struct free_item {
    int64_t id;
    uint32_t next;
};

void slab_init(struct slab *slab, size_t item_bytes)
{
    assert(item_bytes >= sizeof(struct free_item));
    *slab = (struct slab){.item_bytes = item_bytes, .free_first = SLOT_NONE};
}

void slab_fini(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++)
        free(slab->chunks[i]);
    free(slab->chunks);
    slab_init(slab, slab->item_bytes);
}

static void *item_at(const struct slab *slab, uint32_t slot)
{
    return slab->chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK) * slab->item_bytes;
}

bool slab_reach(struct slab *slab, uint32_t end)
{
    while (end > slab->chunk_count << SLAB_SHIFT) {
        if (slab->chunk_count == slab->chunk_capacity) {
            uint32_t capacity = slab->chunk_capacity ? slab->chunk_capacity * 2 : 16;
            char **chunks = realloc(slab->chunks, capacity * sizeof *chunks);
            if (!chunks)
                return false;
            slab->chunks = chunks;
            slab->chunk_capacity = capacity;
        }
        char *chunk = aligned_alloc(64, (size_t)CHUNK_ITEMS * slab->item_bytes);
        if (!chunk)
            return false;
        slab->chunks[slab->chunk_count++] = chunk;
    }
    for (; slab->end < end; slab->end++)
        memset(item_at(slab, slab->end), 0, slab->item_bytes);
    return true;
}

uint32_t slab_take(struct slab *slab)
{
    uint32_t slot = slab->free_first;
    if (slot != SLOT_NONE) {
        struct free_item *item = item_at(slab, slot);
        slab->free_first = item->next;
        memset(item, 0, slab->item_bytes);
    } else {
        slot = slab->end;
        if (!slab_reach(slab, slot + 1))
            return SLOT_NONE;
    }
    slab->live++;
    return slot;
}

void slab_give(struct slab *slab, uint32_t slot)
{
    struct free_item *item = item_at(slab, slot);
    assert(item->id != 0);
    memset(item, 0, slab->item_bytes);
    item->next = slab->free_first;
    slab->free_first = slot;
    slab->live--;
}

size_t slab_bytes(const struct slab *slab)
{
    return (size_t)slab->chunk_count * CHUNK_ITEMS * slab->item_bytes +
           slab->chunk_capacity * sizeof *slab->chunks;
}

/* ---- ids ---- */

static uint32_t map_home(const struct id_map *map, int64_t key)
{
    uint64_t mixed = (uint64_t)key * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & (map->capacity - 1);
}

static bool map_grow(struct id_map *map)
{
    struct id_map wider = {.capacity = map->capacity ? map->capacity * 2 : 64};
    wider.keys = calloc(wider.capacity, sizeof *wider.keys);
    wider.slots = malloc(wider.capacity * sizeof *wider.slots);
    if (!wider.keys || !wider.slots) {
        id_map_fini(&wider);
        return false;
    }
    for (uint32_t i = 0; i < map->capacity; i++)
        if (map->keys[i])
            id_map_put(&wider, map->keys[i], map->slots[i]);
    id_map_fini(map);
    *map = wider;
    return true;
}

bool id_map_put(struct id_map *map, int64_t key, uint32_t slot)
{
    assert(key != 0);
    if ((uint64_t)map->count * 4 >= (uint64_t)map->capacity * 3 && !map_grow(map))
        return false;
    uint32_t at = map_home(map, key);
    while (map->keys[at]) {
        assert(map->keys[at] != key);
        at = (at + 1) & (map->capacity - 1);
    }
    map->keys[at] = key;
    map->slots[at] = slot;
    map->count++;
    return true;
}

uint32_t id_map_get(const struct id_map *map, int64_t key)
{
    if (!map->capacity || key == 0)
        return SLOT_NONE;
    uint32_t at = map_home(map, key);
    while (map->keys[at]) {
        if (map->keys[at] == key)
            return map->slots[at];
        at = (at + 1) & (map->capacity - 1);
    }
    return SLOT_NONE;
}

/* Closes the gap by moving later entries of the same run back, so no tombstones pile up. */
void id_map_remove(struct id_map *map, int64_t key)
{
    if (!map->capacity)
        return;
    uint32_t mask = map->capacity - 1;
    uint32_t at = map_home(map, key);
    while (map->keys[at] && map->keys[at] != key)
        at = (at + 1) & mask;
    if (!map->keys[at])
        return;
    map->count--;
    for (uint32_t next = (at + 1) & mask; map->keys[next]; next = (next + 1) & mask) {
        uint32_t home = map_home(map, map->keys[next]);
        if (((next - home) & mask) >= ((next - at) & mask)) {
            map->keys[at] = map->keys[next];
            map->slots[at] = map->slots[next];
            at = next;
        }
    }
    map->keys[at] = 0;
}

void id_map_fini(struct id_map *map)
{
    free(map->keys);
    free(map->slots);
    *map = (struct id_map){0};
}

/* ---- lists ---- */

bool slots_push(struct slots *list, uint32_t slot)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 64;
        uint32_t *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = slot;
    return true;
}

void slots_fini(struct slots *list)
{
    free(list->items);
    *list = (struct slots){0};
}
