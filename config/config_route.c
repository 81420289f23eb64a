#include "config/config_route.h"

#include <string.h>

#include "base/time.h"

#define SIDE_MIN             16
#define SIDE_MAX             16384
#define QUEUE_MIN_NS         SL_S_TO_NS(1)
#define QUEUE_MAX_NS         SL_S_TO_NS(7 * 86400)
#define CRF_OFFSET_MAX_TENTH 200

/* The words that every encoder takes, and an encoder's own behind them. */
#define COMMON_PRESETS                                                                             \
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
#define PRESET_DEFAULT "medium"

static const char *const common_presets[] = {COMMON_PRESETS, NULL};
static const char *const nvenc_presets[] = {COMMON_PRESETS, "p1", "p2", "p3", "p4",
                                            "p5",           "p6", "p7", NULL};
static const char *const svtav1_presets[] = {
    COMMON_PRESETS, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", NULL};

static const char *const vpx_presets[] = {
    COMMON_PRESETS, "0", "1", "2", "3", "4", "5", "6", "7", "8", NULL};

static const char *const *presets_of(const char *encoder)
{
    if (strcmp(encoder, "nvenc") == 0)
        return nvenc_presets;
    if (strcmp(encoder, "svtav1") == 0)
        return svtav1_presets;
    if (strcmp(encoder, "vpx") == 0)
        return vpx_presets;
    return common_presets;
}

static const struct config_key route_keys[] = {
    {"encoder", true}, {"when", false}, {"preset", false}, {"crf_offset", false}, {NULL, false},
};
static const struct config_key when_keys[] = {
    {"min_width", false}, {"max_width", false}, {"min_height", false}, {"max_height", false},
    {"depth", false},     {"provider", false},  {"priority", false},   {"queue_longer_than", false},
    {NULL, false},
};
static const char *const depth_words[] = {"8", "10", NULL};
static const int32_t depths[] = {8, 10};

static bool read_encoder(const struct config_reader *reader, const struct config_node *node,
                         enum codec codec, struct policy_route *out)
{
    const char *words[ENCODER_NAMES + 1] = {0};
    int32_t count = 0, at = -1;
    for (int i = 0; i < ENCODER_NAMES; i++)
        if (encoder_names[i].codecs & UINT32_C(1) << codec)
            words[count++] = encoder_names[i].name;
    if (!node || !config_read_choice(reader, node, words, &at))
        return false;
    strncpy(out->encoder, words[at], sizeof out->encoder - 1);
    return true;
}

/* One word, or a list of them. */
static void read_words(const struct config_reader *reader, const struct config_node *node,
                       int32_t max,
                       void (*take)(const struct config_reader *reader,
                                    const struct config_node *node, struct policy_when *when),
                       struct policy_when *when)
{
    if (!node)
        return;
    if (node->kind != CONFIG_LIST) {
        take(reader, node, when);
        return;
    }
    if (config_list_check(reader, node, 1, max))
        for (const struct config_node *item = node->first; item; item = item->next)
            take(reader, item, when);
}

static void provider_take(const struct config_reader *reader, const struct config_node *node,
                          struct policy_when *when)
{
    char *into = when->providers[when->provider_count];
    if (config_read_text(reader, node, into, sizeof when->providers[0]))
        when->provider_count++;
}

static void priority_take(const struct config_reader *reader, const struct config_node *node,
                          struct policy_when *when)
{
    const char *words[PRIORITY_COUNT + 1] = {0};
    int32_t at = 0;
    for (int i = 0; i < PRIORITY_COUNT; i++)
        words[i] = priority_word((enum priority)i);
    if (config_read_choice(reader, node, words, &at))
        when->priorities |= UINT32_C(1) << at;
}

static void read_range(const struct config_reader *reader, const struct config_node *node,
                       const char *least, const char *most, int32_t *min, int32_t *max)
{
    const struct config_node *most_node = config_map_find(node, most);
    config_read_int(reader, config_map_find(node, least), SIDE_MIN, SIDE_MAX, min);
    if (config_read_int(reader, most_node, SIDE_MIN, SIDE_MAX, max) && *max && *max < *min)
        config_node_mistake(reader, most_node, "%d is below %s %d; no picture is both", (int)*max,
                            least, (int)*min);
}

static void read_when(const struct config_reader *reader, const struct config_node *node,
                      bool is_first, struct policy_when *when)
{
    if (!node || !config_map_check(reader, node, when_keys))
        return;
    read_range(reader, node, "min_width", "max_width", &when->width_min, &when->width_max);
    read_range(reader, node, "min_height", "max_height", &when->height_min, &when->height_max);
    const struct config_node *depth = config_map_find(node, "depth");
    int32_t at = 0;
    if (depth && config_read_choice(reader, depth, depth_words, &at))
        when->depth = depths[at];
    read_words(reader, config_map_find(node, "provider"), POLICY_TENANTS_MAX, provider_take, when);
    read_words(reader, config_map_find(node, "priority"), PRIORITY_COUNT, priority_take, when);
    const struct config_node *queue = config_map_find(node, "queue_longer_than");
    config_read_duration(reader, queue, QUEUE_MIN_NS, QUEUE_MAX_NS, &when->queue_longer_ns);
    if (queue && is_first)
        config_node_mistake(reader, queue,
                            "no encoder stands before this one to wait for; name that one first");
}

static bool has_condition(const struct policy_when *when)
{
    static const struct policy_when none;
    return memcmp(when, &none, sizeof none) != 0;
}

static const struct config_node *encoder_node(const struct config_node *item)
{
    return item->kind == CONFIG_MAP ? config_map_find(item, "encoder") : item;
}

/* An encoder's name, or a mapping. */
static void read_entry(const struct config_reader *reader, const struct config_node *item,
                       const struct config_node *preset, struct policy_codec *codec)
{
    struct policy_route *out = &codec->route[codec->route_count];
    bool is_map = item->kind == CONFIG_MAP;
    memset(out, 0, sizeof *out);
    if (is_map)
        config_map_check(reader, item, route_keys);
    if (!read_encoder(reader, encoder_node(item), codec->codec, out))
        return;
    if (is_map)
        read_when(reader, config_map_find(item, "when"), item->index == 0, &out->when);
    for (int32_t i = 0; i < codec->route_count; i++)
        if (strcmp(codec->route[i].encoder, out->encoder) == 0 &&
            !has_condition(&codec->route[i].when)) {
            config_node_mistake(reader, encoder_node(item),
                                "\"%s\" is in the route already; name each once, or give the one "
                                "before a condition",
                                out->encoder);
            break;
        }
    const struct config_node *own = is_map ? config_map_find(item, "preset") : NULL;
    const char *const *words = presets_of(out->encoder);
    int32_t at = -1;
    strncpy(out->preset, PRESET_DEFAULT, sizeof out->preset - 1);
    if (own || preset) {
        config_read_choice(reader, own ? own : preset, words, &at);
        if (at >= 0) {
            memset(out->preset, 0, sizeof out->preset);
            strncpy(out->preset, words[at], sizeof out->preset - 1);
        }
    }
    if (is_map)
        config_read_tenths(reader, config_map_find(item, "crf_offset"), -CRF_OFFSET_MAX_TENTH,
                           CRF_OFFSET_MAX_TENTH, &out->crf_offset_tenths);
    codec->route_count++;
}

void config_route_read(const struct config_reader *reader, const struct config_node *node,
                       struct policy_codec *codec)
{
    const struct config_node *route = config_map_find(node, "route");
    const struct config_node *preset = config_map_find(node, "preset");
    config_read_bool(reader, config_map_find(node, "mix"), &codec->mix);
    if (!route || !config_list_check(reader, route, 1, POLICY_ROUTE_MAX))
        return;
    for (const struct config_node *item = route->first; item; item = item->next) {
        int32_t before = reader->mistakes->count;
        read_entry(reader, item, preset, codec);
        /* Said once of the codec's preset, not once for each encoder. */
        if (reader->mistakes->count > before)
            preset = NULL;
    }
}
