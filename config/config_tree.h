/* config/config_tree.h: a YAML text as a tree whose every node knows its line and column.
 *
 * One document of mappings, lists and scalars; keys are plain words. Anchors, aliases, tags, merge keys, tabs, NUL
 * bytes and duplicate keys are mistakes.
 *
 * Owns:    nodes live in the arena given.
 * Units:   line and column count from 1, columns in characters.
 * Errors:  mistakes, up to CONFIG_MISTAKES_MAX; a mistake of syntax ends the walk.
 */
#ifndef SL_CONFIG_CONFIG_TREE_H
#define SL_CONFIG_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "config/config.h"

#define CONFIG_DEPTH_MAX 16
#define CONFIG_NODES_MAX 20000
#define CONFIG_KEYS_MAX  256 /* of one mapping */

enum config_kind { CONFIG_SCALAR, CONFIG_MAP, CONFIG_LIST };

struct config_node {
    enum config_kind kind;
    int32_t line;
    int32_t column;
    const char *text; /* of a scalar; no NUL inside */
    bool quoted;
    /* Where it hangs: its key in a mapping, or its index in a list. */
    const struct config_node *parent;
    const char *key;
    int32_t key_line;
    int32_t key_column;
    int32_t index;
    struct config_node *first; /* children in their order */
    struct config_node *last;
    struct config_node *next;
    int32_t count;
};

struct config_reader {
    struct sl_arena *arena;
    struct config_mistakes *mistakes;
};

/* NULL where there is no document (an empty text, or only comments) and after mistakes of syntax, which
 * are noted. */
struct config_node *config_tree_build(struct config_reader *reader, const char *text,
                                      size_t length);

/* Notes a mistake at a place. Beyond CONFIG_MISTAKES_MAX they are dropped. */
void config_mistake_add(struct config_mistakes *mistakes, int32_t line, int32_t column,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The longest text of config_text_safe, its NUL included. */
#define CONFIG_SAFE_BYTES 64

/* What a file said, fit for one line of a message: control bytes replaced, long texts cut. Returns safe. */
const char *config_text_safe(const char *text, char safe[CONFIG_SAFE_BYTES]);

#endif
