/* An ordered set as a treap. Invariants, checked by tree_valid:
 *  1. in-order, tree_before holds between neighbours;
 *  2. a parent's weight is at least its children's;
 *  3. size and the minima are those of the subtree;
 *  4. parent links mirror child links, and `first` is the leftmost node.
 */
#include <assert.h>

#include "scheduler/core/sched_internal.h"

static_assert(sizeof(struct tree_node) == 64, "a tree node is one cache line");

static struct tree_node *at(const struct tree *tree, uint32_t slot)
{
    return (struct tree_node *)tree->nodes->chunks[slot >> SLAB_SHIFT] + (slot & SLAB_MASK);
}

/* Fixed for a slot: the shape depends on what is in the tree, not on how it came there. */
static uint32_t weight(uint32_t slot)
{
    uint32_t x = slot + UINT32_C(0x9E3779B9);
    x = (x ^ (x >> 16)) * UINT32_C(0x85EBCA6B);
    x = (x ^ (x >> 13)) * UINT32_C(0xC2B2AE35);
    return x ^ (x >> 16);
}

void tree_init(struct tree *tree, struct slab *nodes)
{
    *tree = (struct tree){.nodes = nodes, .root = SLOT_NONE, .first = SLOT_NONE};
}

static uint16_t coarse(int64_t value, int64_t unit)
{
    int64_t units = value / unit;
    return units < 0 ? 0 : units > UINT16_MAX ? UINT16_MAX : (uint16_t)units;
}

void tree_demand_set(struct tree_node *node, const struct demand *demand)
{
    node->own_cpu = coarse(demand->cpu_millicores, TREE_CPU_UNIT);
    node->own_memory = coarse(demand->memory_bytes, TREE_MEMORY_UNIT);
    node->own_sessions = coarse(demand->sessions, 1);
}

bool tree_before(const struct tree_node *a, const struct tree_node *b)
{
    if (a->key != b->key)
        return a->key < b->key;
    if (a->group != b->group)
        return a->group < b->group;
    if (a->order != b->order)
        return a->order < b->order;
    return a->id < b->id;
}

static uint32_t size_of(const struct tree *tree, uint32_t slot)
{
    return slot == SLOT_NONE ? 0 : at(tree, slot)->size;
}

static void minima_take(struct tree_node *node, const struct tree_node *child)
{
    if (child->min_cpu < node->min_cpu)
        node->min_cpu = child->min_cpu;
    if (child->min_memory < node->min_memory)
        node->min_memory = child->min_memory;
    if (child->min_sessions < node->min_sessions)
        node->min_sessions = child->min_sessions;
}

static void minima_set(const struct tree *tree, struct tree_node *node)
{
    node->min_cpu = node->own_cpu;
    node->min_memory = node->own_memory;
    node->min_sessions = node->own_sessions;
    if (node->left != SLOT_NONE)
        minima_take(node, at(tree, node->left));
    if (node->right != SLOT_NONE)
        minima_take(node, at(tree, node->right));
}

static void child_replace(struct tree *tree, uint32_t parent, uint32_t from, uint32_t to)
{
    if (parent == SLOT_NONE)
        tree->root = to;
    else if (at(tree, parent)->left == from)
        at(tree, parent)->left = to;
    else
        at(tree, parent)->right = to;
    if (to != SLOT_NONE)
        at(tree, to)->parent = parent;
}

/* Lifts slot above its parent. */
static void rotate_up(struct tree *tree, uint32_t slot)
{
    struct tree_node *node = at(tree, slot);
    uint32_t above = node->parent;
    struct tree_node *parent = at(tree, above);
    child_replace(tree, parent->parent, above, slot);
    uint32_t moved;
    if (parent->left == slot) {
        moved = node->right;
        parent->left = moved;
        node->right = above;
    } else {
        moved = node->left;
        parent->right = moved;
        node->left = above;
    }
    parent->parent = slot;
    if (moved != SLOT_NONE)
        at(tree, moved)->parent = above;
    node->size = parent->size;
    parent->size = 1 + size_of(tree, parent->left) + size_of(tree, parent->right);
    node->min_cpu = parent->min_cpu;
    node->min_memory = parent->min_memory;
    node->min_sessions = parent->min_sessions;
    minima_set(tree, parent);
}

void tree_insert(struct tree *tree, uint32_t slot)
{
    struct tree_node *node = at(tree, slot);
    assert(node->size == 0);
    node->left = node->right = node->parent = SLOT_NONE;
    node->size = 1;
    node->min_cpu = node->own_cpu;
    node->min_memory = node->own_memory;
    node->min_sessions = node->own_sessions;
    if (tree->first == SLOT_NONE || tree_before(node, at(tree, tree->first)))
        tree->first = slot;
    uint32_t *link = &tree->root;
    while (*link != SLOT_NONE) {
        struct tree_node *above = at(tree, *link);
        node->parent = *link;
        above->size++;
        minima_take(above, node);
        link = tree_before(node, above) ? &above->left : &above->right;
    }
    *link = slot;
    uint32_t own = weight(slot);
    while (node->parent != SLOT_NONE && weight(node->parent) < own)
        rotate_up(tree, slot);
}

static bool minima_own(const struct tree_node *node)
{
    return node->min_cpu == node->own_cpu && node->min_memory == node->own_memory &&
           node->min_sessions == node->own_sessions;
}

void tree_remove(struct tree *tree, uint32_t slot)
{
    struct tree_node *node = at(tree, slot);
    assert(node->size > 0);
    if (tree->first == slot)
        tree->first = tree_next(tree, slot);
    while (node->left != SLOT_NONE && node->right != SLOT_NONE)
        rotate_up(tree, weight(node->left) > weight(node->right) ? node->left : node->right);
    uint32_t child = node->left != SLOT_NONE ? node->left : node->right;
    child_replace(tree, node->parent, slot, child);
    for (uint32_t up = node->parent; up != SLOT_NONE; up = at(tree, up)->parent) {
        struct tree_node *above = at(tree, up);
        above->size--;
        /* Equal demands are the rule: then the children need not be fetched. */
        if (!minima_own(above))
            minima_set(tree, above);
    }
    node->size = 0;
}

uint32_t tree_next(const struct tree *tree, uint32_t slot)
{
    const struct tree_node *node = at(tree, slot);
    if (node->right != SLOT_NONE) {
        slot = node->right;
        while (at(tree, slot)->left != SLOT_NONE)
            slot = at(tree, slot)->left;
        return slot;
    }
    uint32_t up = node->parent;
    while (up != SLOT_NONE && at(tree, up)->right == slot) {
        slot = up;
        up = at(tree, up)->parent;
    }
    return up;
}

uint32_t tree_from(const struct tree *tree, const struct tree_node *place)
{
    uint32_t found = SLOT_NONE;
    for (uint32_t slot = tree->root; slot != SLOT_NONE;) {
        const struct tree_node *node = at(tree, slot);
        if (tree_before(node, place)) {
            slot = node->right;
        } else {
            found = slot;
            slot = node->left;
        }
    }
    return found;
}

uint32_t tree_rank(const struct tree *tree, const struct tree_node *place)
{
    uint32_t rank = 0;
    for (uint32_t slot = tree->root; slot != SLOT_NONE;) {
        const struct tree_node *node = at(tree, slot);
        if (tree_before(node, place)) {
            rank += 1 + size_of(tree, node->left);
            slot = node->right;
        } else {
            slot = node->left;
        }
    }
    return rank;
}

uint32_t tree_count(const struct tree *tree)
{
    return size_of(tree, tree->root);
}

static bool subtree_valid(const struct tree *tree, uint32_t slot)
{
    if (slot == SLOT_NONE)
        return true;
    const struct tree_node *node = at(tree, slot);
    uint32_t children[2] = {node->left, node->right};
    for (int i = 0; i < 2; i++)
        if (children[i] != SLOT_NONE &&
            (at(tree, children[i])->parent != slot || weight(children[i]) > weight(slot) ||
             !subtree_valid(tree, children[i])))
            return false;
    if (node->size != 1 + size_of(tree, node->left) + size_of(tree, node->right))
        return false;
    struct tree_node probe = *node;
    minima_set(tree, &probe);
    return probe.min_cpu == node->min_cpu && probe.min_memory == node->min_memory &&
           probe.min_sessions == node->min_sessions;
}

bool tree_valid(const struct tree *tree)
{
    if (tree->root == SLOT_NONE)
        return tree->first == SLOT_NONE;
    uint32_t leftmost = tree->root;
    while (at(tree, leftmost)->left != SLOT_NONE)
        leftmost = at(tree, leftmost)->left;
    if (leftmost != tree->first || at(tree, tree->root)->parent != SLOT_NONE ||
        !subtree_valid(tree, tree->root))
        return false;
    uint32_t seen = 1;
    for (uint32_t slot = leftmost, next; (next = tree_next(tree, slot)) != SLOT_NONE; slot = next) {
        if (!tree_before(at(tree, slot), at(tree, next)))
            return false;
        seen++;
    }
    return seen == tree_count(tree);
}
