#include "config/config_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

/* ---- places and words ---- */

const char *config_node_path(const struct config_node *node, char path[CONFIG_READ_PATH_BYTES])
{
    const struct config_node *chain[CONFIG_DEPTH_MAX + 1];
    int32_t depth = 0;
    for (; node && node->parent && depth <= CONFIG_DEPTH_MAX; node = node->parent)
        chain[depth++] = node;
    size_t used = 0;
    path[0] = '\0';
    while (depth-- > 0) {
        char safe[CONFIG_SAFE_BYTES];
        size_t room = CONFIG_READ_PATH_BYTES - used;
        int more = chain[depth]->key
                       ? snprintf(path + used, room, "%s%s", used ? "." : "",
                                  config_text_safe(chain[depth]->key, safe))
                       : snprintf(path + used, room, "[%d]", (int)chain[depth]->index);
        if (more < 0 || (size_t)more >= room)
            break;
        used += (size_t)more;
    }
    return path;
}

void config_node_mistake(const struct config_reader *reader, const struct config_node *node,
                         const char *fmt, ...)
{
    char path[CONFIG_READ_PATH_BYTES];
    char text[SL_MESSAGE_BYTES * 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    config_node_path(node, path);
    config_mistake_add(reader->mistakes, node->line, node->column, "%s%s%s", path,
                       path[0] ? ": " : "", text);
}

/* Edits from a to b, for words of up to WORD_MAX letters; larger otherwise. */
static int32_t edit_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 32 };
    size_t a_length = strnlen(a, WORD_MAX + 1), b_length = strnlen(b, WORD_MAX + 1);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    int32_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (int32_t)j;
    for (size_t i = 1; i <= a_length; i++) {
        int32_t corner = row[0];
        row[0] = (int32_t)i;
        for (size_t j = 1; j <= b_length; j++) {
            int32_t best = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

struct word_list {
    char text[256];
    const char *nearest; /* NULL when none is near */
    int32_t distance;
};

/* Who writes h265 does not mean h264. */
static bool digits_equal(const char *a, const char *b)
{
    for (;;) {
        while (*a && (*a < '0' || *a > '9'))
            a++;
        while (*b && (*b < '0' || *b > '9'))
            b++;
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static void word_list_add(struct word_list *list, const char *word, const char *meant)
{
    size_t used = strlen(list->text);
    snprintf(list->text + used, sizeof list->text - used, "%s%s", used ? ", " : "", word);
    int32_t distance = edit_distance(meant, word);
    int32_t most = strlen(word) > 4 ? 2 : 1;
    if (distance <= most && digits_equal(word, meant) &&
        (!list->nearest || distance < list->distance)) {
        list->nearest = word;
        list->distance = distance;
    }
}

static const char *kind_text(const struct config_node *node)
{
    switch (node->kind) {
    case CONFIG_MAP:
        return "a mapping";
    case CONFIG_LIST:
        return "a list";
    default:
        return node->text[0] || node->quoted ? "a single value" : "empty";
    }
}

/* ---- collections ---- */

bool config_map_check(const struct config_reader *reader, const struct config_node *node,
                      const struct config_key *keys)
{
    /* A section whose keys are all commented out is an empty one. */
    bool empty = node->kind == CONFIG_SCALAR && !node->text[0] && !node->quoted;
    if (node->kind != CONFIG_MAP && !empty) {
        struct word_list list = {0};
        for (const struct config_key *key = keys; key->name; key++)
            word_list_add(&list, key->name, "");
        config_node_mistake(reader, node, "is %s; expected a mapping with the keys %s",
                            kind_text(node), list.text);
        return false;
    }
    for (const struct config_node *child = node->first; child; child = child->next) {
        struct word_list list = {0};
        bool known = false;
        for (const struct config_key *key = keys; key->name && !known; key++) {
            known = strcmp(key->name, child->key) == 0;
            word_list_add(&list, key->name, child->key);
        }
        if (known)
            continue;
        char path[CONFIG_READ_PATH_BYTES];
        config_mistake_add(reader->mistakes, child->key_line, child->key_column,
                           "%s: unknown key; %s%s%svalid keys are %s",
                           config_node_path(child, path), list.nearest ? "did you mean " : "",
                           list.nearest ? list.nearest : "", list.nearest ? "? " : "", list.text);
    }
    for (const struct config_key *key = keys; key->name; key++)
        if (key->required && !config_map_find(node, key->name)) {
            char path[CONFIG_READ_PATH_BYTES];
            config_node_path(node, path);
            config_mistake_add(reader->mistakes, node->line, node->column,
                               "%s%s%s: the key is missing; it has no default", path,
                               path[0] ? "." : "", key->name);
        }
    return true;
}

const struct config_node *config_map_find(const struct config_node *node, const char *key)
{
    if (!node || node->kind != CONFIG_MAP)
        return NULL;
    for (const struct config_node *child = node->first; child; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

bool config_list_check(const struct config_reader *reader, const struct config_node *node,
                       int32_t min, int32_t max)
{
    if (node->kind != CONFIG_LIST) {
        config_node_mistake(reader, node, "is %s; expected a list of %d to %d items",
                            kind_text(node), (int)min, (int)max);
        return false;
    }
    if (node->count < min || node->count > max) {
        config_node_mistake(reader, node, "has %d items; %d to %d would be valid", (int)node->count,
                            (int)min, (int)max);
        return false;
    }
    return true;
}

/* ---- scalars ---- */

/* The text of a scalar with something in it; NULL after noting a mistake. */
static const char *scalar_text(const struct config_reader *reader, const struct config_node *node,
                               const char *expected)
{
    if (node->kind == CONFIG_SCALAR && node->text[0])
        return node->text;
    config_node_mistake(reader, node, "is %s; expected %s",
                        node->kind == CONFIG_SCALAR ? "empty" : kind_text(node), expected);
    return NULL;
}

static bool all_in(const char *text, const char *letters)
{
    return text[strspn(text, letters)] == '\0';
}

bool config_read_int(const struct config_reader *reader, const struct config_node *node,
                     int64_t min, int64_t max, int32_t *out)
{
    if (!node)
        return true;
    char expected[96], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "a whole number from %" PRId64 " to %" PRId64, min, max);
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || !all_in(text + (text[0] == '-'), "0123456789") || value < min ||
        value > max) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    *out = (int32_t)value;
    return true;
}

static const char *duration_text(int64_t ns, char text[32])
{
    static const struct {
        int64_t ns;
        const char *unit;
    } units[] = {{SL_S_TO_NS(86400), "d"},
                 {SL_S_TO_NS(3600), "h"},
                 {SL_S_TO_NS(60), "m"},
                 {SL_NS_PER_S, "s"},
                 {SL_NS_PER_MS, "ms"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (ns >= units[i].ns && ns % units[i].ns == 0) {
            snprintf(text, 32, "%" PRId64 "%s", ns / units[i].ns, units[i].unit);
            return text;
        }
    snprintf(text, 32, "%.3fs", (double)ns / 1e9);
    return text;
}

bool config_read_duration(const struct config_reader *reader, const struct config_node *node,
                          int64_t min_ns, int64_t max_ns, int64_t *out_ns)
{
    if (!node)
        return true;
    char expected[96], low[32], high[32], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "a duration from %s to %s, like 500ms, 6s, 2m or 1h",
             min_ns ? duration_text(min_ns, low) : "0s", duration_text(max_ns, high));
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    int64_t ns;
    /* Digits first: strtod would take hexadecimal and exponents too. */
    size_t digits = strspn(text, "0123456789.");
    bool plain = digits > 0 && all_in(text + digits, "mshdin");
    if (!plain || sl_duration_parse(text, &ns) || ns < min_ns || ns > max_ns) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    *out_ns = ns;
    return true;
}

/* "2.5" to 2500: a decimal with at most three places, in thousandths. */
static bool thousandths_parse(const char *text, size_t length, int64_t *out)
{
    int64_t value = 0;
    int32_t places = -1;
    size_t digits = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' && places < 0 && digits > 0) {
            places = 0;
            continue;
        }
        if (text[i] < '0' || text[i] > '9' || ++digits > 12 || places == 3)
            return false;
        value = value * 10 + (text[i] - '0');
        if (places >= 0)
            places++;
    }
    if (digits == 0 || places == 0)
        return false;
    for (int32_t i = places < 0 ? 0 : places; i < 3; i++)
        value *= 10;
    *out = value;
    return true;
}

bool config_read_kbit(const struct config_reader *reader, const struct config_node *node,
                      int32_t min, int32_t max, int32_t *out_kbit)
{
    if (!node)
        return true;
    char expected[96], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "%dk to %dk, with its unit, like 800k or 2.5M", (int)min,
             (int)max);
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    size_t length = strlen(text);
    char unit = text[length - 1];
    int64_t thousandths;
    int64_t kbit = -1;
    if ((unit == 'k' || unit == 'M') && thousandths_parse(text, length - 1, &thousandths))
        kbit = unit == 'M' ? thousandths : thousandths % 1000 ? -1 : thousandths / 1000;
    if (kbit < min || kbit > max) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    *out_kbit = (int32_t)kbit;
    return true;
}

static const char *bytes_text(int64_t bytes, char text[32])
{
    static const char units[] = "TGMK";
    for (int i = 0; i < 4; i++) {
        int64_t unit = INT64_C(1) << (40 - 10 * i);
        if (bytes >= unit && bytes % unit == 0) {
            snprintf(text, 32, "%" PRId64 "%c", bytes / unit, units[i]);
            return text;
        }
    }
    snprintf(text, 32, "%" PRId64, bytes);
    return text;
}

bool config_read_bytes(const struct config_reader *reader, const struct config_node *node,
                       int64_t min, int64_t max, int64_t *out_bytes)
{
    if (!node)
        return true;
    char expected[96], low[32], high[32], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "a size from %s to %s, like 512M or 100G",
             bytes_text(min, low), bytes_text(max, high));
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    size_t digits = strspn(text, "0123456789");
    int64_t value = -1;
    if (digits > 0 && digits <= 15) {
        static const char units[] = "KMGT";
        char unit = text[digits];
        const char *at = unit ? strchr(units, unit) : NULL;
        bool unit_ends = at && text[digits + 1] == '\0';
        if (unit == '\0' || unit_ends) {
            value = strtoll(text, NULL, 10);
            int64_t scale = at ? INT64_C(1) << (10 * (at - units + 1)) : 1;
            value = sl_muldiv_i64(value, scale, 1);
        }
    }
    if (value < min || value > max) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    *out_bytes = value;
    return true;
}

bool config_read_tenths(const struct config_reader *reader, const struct config_node *node,
                        int32_t min_tenths, int32_t max_tenths, int32_t *out_tenths)
{
    if (!node)
        return true;
    char expected[96], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "a number from %d to %d with at most one decimal, like %s",
             (int)(min_tenths / 10), (int)(max_tenths / 10),
             min_tenths < 0 ? "-23 or -22.5" : "23 or 22.5");
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    int64_t thousandths;
    bool minus = min_tenths < 0 && text[0] == '-';
    bool parsed = thousandths_parse(text + minus, strlen(text + minus), &thousandths);
    if (parsed && minus)
        thousandths = -thousandths;
    if (!parsed || thousandths % 100 || thousandths / 100 < min_tenths ||
        thousandths / 100 > max_tenths) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    *out_tenths = (int32_t)(thousandths / 100);
    return true;
}

bool config_read_bool(const struct config_reader *reader, const struct config_node *node, bool *out)
{
    static const char *const words[] = {"false", "true", NULL};
    int32_t at = *out;
    if (!node)
        return true;
    if (!config_read_choice(reader, node, words, &at))
        return false;
    *out = at == 1;
    return true;
}

bool config_read_text(const struct config_reader *reader, const struct config_node *node, char *out,
                      size_t out_bytes)
{
    if (!node)
        return true;
    if (node->kind != CONFIG_SCALAR || (!node->quoted && !node->text[0])) {
        config_node_mistake(reader, node, "is %s; expected a text (\"\" for none)",
                            kind_text(node));
        return false;
    }
    size_t length = strlen(node->text);
    if (length >= out_bytes) {
        config_node_mistake(reader, node, "has %zu bytes; %zu are the most", length, out_bytes - 1);
        return false;
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)node->text[i] < 0x20 || node->text[i] == 0x7f) {
            config_node_mistake(reader, node, "has a control character in it; plain text is valid");
            return false;
        }
    memset(out, 0, out_bytes);
    memcpy(out, node->text, length);
    return true;
}

bool config_read_word(const struct config_reader *reader, const struct config_node *node, char *out,
                      size_t out_bytes)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (!node)
        return true;
    char expected[96], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected,
             "a word of up to %zu letters, digits, dots, dashes or underscores", out_bytes - 1);
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    if (!all_in(text, letters) || text[0] == '.' || text[0] == '-' || strlen(text) >= out_bytes) {
        config_node_mistake(reader, node, "\"%s\"; expected %s", config_text_safe(text, safe),
                            expected);
        return false;
    }
    memset(out, 0, out_bytes);
    memcpy(out, text, strlen(text));
    return true;
}

bool config_read_choice(const struct config_reader *reader, const struct config_node *node,
                        const char *const *words, int32_t *out)
{
    if (!node)
        return true;
    struct word_list list = {0};
    const char *said = node->kind == CONFIG_SCALAR ? node->text : "";
    for (const char *const *word = words; *word; word++)
        word_list_add(&list, *word, said);
    char expected[280], safe[CONFIG_SAFE_BYTES];
    snprintf(expected, sizeof expected, "one of %s", list.text);
    const char *text = scalar_text(reader, node, expected);
    if (!text)
        return false;
    for (int32_t i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    config_node_mistake(reader, node, "\"%s\"; %s%s%sexpected %s", config_text_safe(text, safe),
                        list.nearest ? "did you mean " : "", list.nearest ? list.nearest : "",
                        list.nearest ? "? " : "", expected);
    return false;
}
