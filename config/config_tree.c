#include "config/config_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

void config_mistake_add(struct config_mistakes *mistakes, int32_t line, int32_t column,
                        const char *fmt, ...)
{
    if (mistakes->count >= CONFIG_MISTAKES_MAX)
        return;
    struct config_mistake *mistake = &mistakes->items[mistakes->count++];
    mistake->line = line;
    mistake->column = column;
    va_list args;
    va_start(args, fmt);
    vsnprintf(mistake->message, sizeof mistake->message, fmt, args);
    va_end(args);
}

const char *config_text_safe(const char *text, char safe[CONFIG_SAFE_BYTES])
{
    static const char cut[] = "...";
    size_t length = strnlen(text, CONFIG_SAFE_BYTES);
    bool whole = length < CONFIG_SAFE_BYTES;
    if (!whole) {
        length = CONFIG_SAFE_BYTES - sizeof cut;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        safe[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    memcpy(safe + length, whole ? "" : cut, whole ? 1 : sizeof cut);
    return safe;
}

/* Bytes that libyaml would take or explain badly. True when there were none. */
static bool bytes_check(struct config_reader *reader, const char *text, size_t length)
{
    int32_t before = reader->mistakes->count;
    int32_t line = 1, column = 1;
    for (size_t i = 0; i < length && reader->mistakes->count < CONFIG_MISTAKES_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            line++;
            column = 1;
            continue;
        }
        if (c == '\t')
            config_mistake_add(reader->mistakes, line, column, "a tab; write spaces");
        if (c == '\0') {
            config_mistake_add(reader->mistakes, line, column,
                               "a NUL byte; the file must be plain text in UTF-8");
            break;
        }
        column += (c & 0xc0) != 0x80;
    }
    return reader->mistakes->count == before;
}

struct walk {
    struct config_reader *reader;
    yaml_parser_t parser;
    int32_t nodes;
    int32_t depth;
    struct config_node *root;
    struct config_node *open; /* mapping or list that children go to; NULL: the document */
    const char *key;          /* seen, its value is awaited */
    int32_t key_line;
    int32_t key_column;
    bool key_is_duplicate;
    bool stop;
};

static void walk_stop(struct walk *walk, yaml_mark_t mark, const char *what)
{
    config_mistake_add(walk->reader->mistakes, (int32_t)mark.line + 1, (int32_t)mark.column + 1,
                       "%s", what);
    walk->stop = true;
}

static void syntax_mistake(struct walk *walk, const char *text, size_t length)
{
    const yaml_parser_t *parser = &walk->parser;
    char safe[CONFIG_SAFE_BYTES];
    if (parser->error == YAML_MEMORY_ERROR) {
        config_mistake_add(walk->reader->mistakes, 0, 0, "not enough memory to read it");
    } else if (parser->error == YAML_READER_ERROR) {
        int32_t line = 1, column = 1;
        for (size_t i = 0; i < parser->problem_offset && i < length; i++) {
            if (text[i] == '\n') {
                line++;
                column = 1;
            } else {
                column += ((unsigned char)text[i] & 0xc0) != 0x80;
            }
        }
        config_mistake_add(walk->reader->mistakes, line, column,
                           "not plain text in UTF-8: %s; save the file as UTF-8",
                           config_text_safe(parser->problem, safe));
    } else {
        config_mistake_add(walk->reader->mistakes, (int32_t)parser->problem_mark.line + 1,
                           (int32_t)parser->problem_mark.column + 1,
                           "not valid YAML: %s; check indentation, quotes and colons near here",
                           parser->problem ? config_text_safe(parser->problem, safe)
                                           : "it ends early");
    }
    walk->stop = true;
}

static struct config_node *node_add(struct walk *walk, enum config_kind kind, yaml_mark_t mark)
{
    if (++walk->nodes > CONFIG_NODES_MAX) {
        walk_stop(walk, mark, "more values than a settings file can have; 20000 are the most");
        return NULL;
    }
    struct config_node *node = sl_arena_alloc(walk->reader->arena, sizeof *node);
    if (!node) {
        walk_stop(walk, mark, "not enough memory to read it");
        return NULL;
    }
    node->kind = kind;
    node->line = (int32_t)mark.line + 1;
    node->column = (int32_t)mark.column + 1;
    struct config_node *parent = walk->open;
    node->parent = parent;
    if (!parent) {
        walk->root = node;
        return node;
    }
    node->index = parent->count;
    if (parent->kind == CONFIG_MAP) {
        node->key = walk->key;
        node->key_line = walk->key_line;
        node->key_column = walk->key_column;
        walk->key = NULL;
        /* Its value is walked, so that the rest is read, and then forgotten. */
        if (walk->key_is_duplicate) {
            walk->key_is_duplicate = false;
            return node;
        }
    }
    parent->count++;
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return node;
}

static bool is_key_place(const struct walk *walk)
{
    return walk->open && walk->open->kind == CONFIG_MAP && !walk->key;
}

static void key_take(struct walk *walk, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    char safe[CONFIG_SAFE_BYTES];
    if (walk->open->count >= CONFIG_KEYS_MAX) {
        walk_stop(walk, event->start_mark, "more keys than a mapping can have; 256 are the most");
        return;
    }
    if (strcmp(text, "<<") == 0 && event->data.scalar.plain_implicit) {
        walk_stop(walk, event->start_mark, "<<: merge keys are not read; write the keys out");
        return;
    }
    if (memchr(text, '\0', event->data.scalar.length)) {
        walk_stop(walk, event->start_mark, "a NUL in a text; take it out");
        return;
    }
    walk->key = sl_arena_strdup(walk->reader->arena, text);
    if (!walk->key) {
        walk_stop(walk, event->start_mark, "not enough memory to read it");
        return;
    }
    walk->key_line = (int32_t)event->start_mark.line + 1;
    walk->key_column = (int32_t)event->start_mark.column + 1;
    for (const struct config_node *other = walk->open->first; other; other = other->next)
        if (strcmp(other->key, text) == 0) {
            config_mistake_add(walk->reader->mistakes, walk->key_line, walk->key_column,
                               "%s: the key is there already, in line %d; keep one of them",
                               config_text_safe(text, safe), (int)other->key_line);
            walk->key_is_duplicate = true;
            break;
        }
}

static void scalar_take(struct walk *walk, const yaml_event_t *event)
{
    if (is_key_place(walk)) {
        key_take(walk, event);
        return;
    }
    struct config_node *node = node_add(walk, CONFIG_SCALAR, event->start_mark);
    if (!node)
        return;
    const char *text = (const char *)event->data.scalar.value;
    if (memchr(text, '\0', event->data.scalar.length)) {
        walk_stop(walk, event->start_mark, "a NUL in a text; take it out");
        return;
    }
    node->text = sl_arena_strndup(walk->reader->arena, text, event->data.scalar.length);
    if (!node->text)
        walk_stop(walk, event->start_mark, "not enough memory to read it");
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

static void collection_open(struct walk *walk, const yaml_event_t *event, enum config_kind kind)
{
    if (is_key_place(walk)) {
        walk_stop(walk, event->start_mark, "a key must be a word, not a list or mapping");
        return;
    }
    if (++walk->depth > CONFIG_DEPTH_MAX) {
        walk_stop(walk, event->start_mark, "nested too deep; 16 levels are the most");
        return;
    }
    struct config_node *node = node_add(walk, kind, event->start_mark);
    if (node)
        walk->open = node;
}

static void collection_close(struct walk *walk)
{
    walk->depth--;
    walk->open = (struct config_node *)walk->open->parent;
}

/* True when the event carries something that settings files do not use. */
static bool feature_refused(struct walk *walk, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        walk_stop(walk, event->start_mark, "aliases (*) are not read; write the value out");
        return true;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        return false;
    }
    if (anchor)
        walk_stop(walk, event->start_mark, "anchors (&) are not read; write the value out");
    else if (tag)
        walk_stop(walk, event->start_mark, "tags (!) are not read; leave it out");
    return anchor || tag;
}

static void event_take(struct walk *walk, const yaml_event_t *event)
{
    if (feature_refused(walk, event))
        return;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        scalar_take(walk, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        collection_open(walk, event, CONFIG_LIST);
        break;
    case YAML_MAPPING_START_EVENT:
        collection_open(walk, event, CONFIG_MAP);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        collection_close(walk);
        break;
    case YAML_DOCUMENT_START_EVENT:
        if (walk->root)
            walk_stop(walk, event->start_mark, "a second document; one file holds one");
        break;
    case YAML_STREAM_END_EVENT:
        walk->stop = true;
        break;
    default:
        break;
    }
}

struct config_node *config_tree_build(struct config_reader *reader, const char *text, size_t length)
{
    if (length > CONFIG_BYTES_MAX) {
        config_mistake_add(reader->mistakes, 0, 0, "the file has %zu bytes; %d are the most",
                           length, CONFIG_BYTES_MAX);
        return NULL;
    }
    /* libyaml counts a byte order mark as a column, which moves the first key out of line. */
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    if (!bytes_check(reader, text, length))
        return NULL;
    struct walk walk = {.reader = reader};
    if (!yaml_parser_initialize(&walk.parser)) {
        config_mistake_add(reader->mistakes, 0, 0, "not enough memory to read it");
        return NULL;
    }
    yaml_parser_set_encoding(&walk.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text, length);
    bool complete = false;
    while (!walk.stop) {
        yaml_event_t event;
        if (!yaml_parser_parse(&walk.parser, &event)) {
            syntax_mistake(&walk, text, length);
            break;
        }
        complete = event.type == YAML_STREAM_END_EVENT;
        event_take(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&walk.parser);
    return complete ? walk.root : NULL;
}
