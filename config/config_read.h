/* config/config_read.h: typed values out of a tree.
 *
 * Each reader notes a mistake with the path of the key ("codecs[0].rungs[2].crf") and what would be valid.
 * Errors:  false after a mistake; the out-parameter then keeps its value. An absent key (node NULL) is no
 *          mistake and keeps it as well, unless the key is required.
 */
#ifndef SL_CONFIG_CONFIG_READ_H
#define SL_CONFIG_CONFIG_READ_H

#include "config/config_tree.h"

#define CONFIG_READ_PATH_BYTES 128

/* A key of a mapping. */
struct config_key {
    const char *name;
    bool required;
};

/* "codecs[0].rungs[2].crf". Returns path. */
const char *config_node_path(const struct config_node *node, char path[CONFIG_READ_PATH_BYTES]);

/* A mistake at the node's value, opened with its path. */
void config_node_mistake(const struct config_reader *reader, const struct config_node *node,
                         const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Is node a mapping of these keys (ended by a NULL name)? Notes unknown and missing ones; false only when it is
 * no mapping at all. Nothing is an empty mapping. */
bool config_map_check(const struct config_reader *reader, const struct config_node *node,
                      const struct config_key *keys);

/* The value of a key, or NULL; node may be NULL. */
const struct config_node *config_map_find(const struct config_node *node, const char *key);

/* A list with min to max items? */
bool config_list_check(const struct config_reader *reader, const struct config_node *node,
                       int32_t min, int32_t max);

bool config_read_int(const struct config_reader *reader, const struct config_node *node,
                     int64_t min, int64_t max, int32_t *out);

/* "2s", "1.5m"; min_ns and max_ns are told in the same form. */
bool config_read_duration(const struct config_reader *reader, const struct config_node *node,
                          int64_t min_ns, int64_t max_ns, int64_t *out_ns);

/* "400k", "2.5M": kilobits, of 1000 bits, with no more than one unit. */
bool config_read_kbit(const struct config_reader *reader, const struct config_node *node,
                      int32_t min, int32_t max, int32_t *out_kbit);

/* "0", "512M", "100G": powers of 1024. */
bool config_read_bytes(const struct config_reader *reader, const struct config_node *node,
                       int64_t min, int64_t max, int64_t *out_bytes);

/* A number with at most one decimal, in tenths. */
bool config_read_tenths(const struct config_reader *reader, const struct config_node *node,
                        int32_t min_tenths, int32_t max_tenths, int32_t *out_tenths);

bool config_read_bool(const struct config_reader *reader, const struct config_node *node,
                      bool *out);

/* Any text that fits. */
bool config_read_text(const struct config_reader *reader, const struct config_node *node, char *out,
                      size_t out_bytes);

/* Letters, digits, dot, dash and underscore; neither empty nor starting with a dot or dash. */
bool config_read_word(const struct config_reader *reader, const struct config_node *node, char *out,
                      size_t out_bytes);

/* One of words (ended by NULL); its index. */
bool config_read_choice(const struct config_reader *reader, const struct config_node *node,
                        const char *const *words, int32_t *out);

#endif
