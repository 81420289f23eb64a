#include <string.h>

#include "base/time.h"
#include "config/config_read.h"
#include "config/config_route.h"

#define GOP_MIN_NS          SL_MS_TO_NS(500)
#define GOP_MAX_NS          SL_S_TO_NS(10)
#define SEGMENT_MIN_NS      SL_S_TO_NS(1)
#define SEGMENT_MAX_NS      SL_S_TO_NS(30)
#define CHUNK_MIN_NS        SL_S_TO_NS(1)
#define CHUNK_MAX_NS        SL_S_TO_NS(600)
#define THUMBNAILS_MIN_NS   SL_S_TO_NS(1)
#define THUMBNAILS_MAX_NS   SL_S_TO_NS(600)
#define WATCHDOG_MIN_NS     SL_S_TO_NS(5)
#define WATCHDOG_MAX_NS     SL_S_TO_NS(3600)
#define HEIGHT_MIN          96
#define HEIGHT_MAX          4320
#define RATE_MIN_KBIT       50
#define LOUDNESS_MIN_TENTHS (-360)
#define LOUDNESS_MAX_TENTHS (-80)
#define PEAK_MIN_TENTHS     (-90)
#define PEAK_MAX_TENTHS     0
#define RATE_MAX_KBIT       400000
/* What either audio codec can use of one channel. */
#define CHANNEL_MAX_KBIT    256

/* Profiles of each codec, as its encoders name them; those without have none to choose. */
static const char *const h264_profiles[] = {"baseline", "main", "high", NULL};
static const char *const h265_profiles[] = {"main", "main10", NULL};
static const char *const *const codec_profiles[CODEC_COUNT] = {
    [CODEC_H264] = h264_profiles, [CODEC_H265] = h265_profiles};

static const char *const depth_words[] = {"8", "10", "source", NULL};
static const int32_t depths[] = {8, 10, 0};
static const char *const hdr_words[] = {"sdr", "keep", NULL};
static const char *const check_words[] = {"none", "sample", "all", NULL};
static const char *const audio_words[] = {"aac", "opus", NULL};
static const enum audio_codec audio_codecs[] = {AUDIO_AAC, AUDIO_OPUS};
static const char *const channel_words[] = {"1", "2", "6", NULL};
static const int32_t channel_counts[] = {1, 2, 6};
static const char *const sample_rate_words[] = {"44100", "48000", NULL};
static const int32_t sample_rates[] = {44100, 48000};

static const struct config_key policy_keys[] = {
    {"name", true},    {"gop", false},      {"segment", false},   {"chunk", false},
    {"check", false},  {"attempts", false}, {"watchdog", false},  {"codecs", true},
    {"audio", false},  {"loudness", false}, {"true_peak", false}, {"subtitles", false},
    {"images", false}, {"tiers", false},    {NULL, false},
};
static const struct config_key tier_keys[] = {{"name", true}, {"codecs", true}, {NULL, false}};
static const struct config_key images_keys[] = {
    {"poster", false},
    {"thumbnails", false},
    {"preview", false},
    {NULL, false},
};
static const struct config_key codec_keys[] = {
    {"codec", true},  {"route", true}, {"preset", false}, {"mix", false}, {"profile", false},
    {"depth", false}, {"hdr", false},  {"rungs", true},   {NULL, false},
};
static const struct config_key rung_keys[] = {
    {"name", true},    {"height", true},   {"crf", true},
    {"maxrate", true}, {"bufsize", false}, {NULL, false},
};
static const struct config_key audio_keys[] = {
    {"codec", true}, {"bitrate", true}, {"channels", false}, {"sample_rate", false}, {NULL, false},
};

static bool read_codec(const struct config_reader *reader, const struct config_node *node,
                       enum codec *out)
{
    const char *words[CODEC_COUNT + 1] = {0};
    int32_t at = 0;
    for (int i = 0; i < CODEC_COUNT; i++)
        words[i] = codec_word((enum codec)i);
    if (!node || !config_read_choice(reader, node, words, &at))
        return false;
    *out = (enum codec)at;
    return true;
}

static void read_rung(const struct config_reader *reader, const struct config_node *node,
                      struct policy_rung *rung)
{
    if (!config_map_check(reader, node, rung_keys))
        return;
    config_read_word(reader, config_map_find(node, "name"), rung->name, sizeof rung->name);
    const struct config_node *height = config_map_find(node, "height");
    if (config_read_int(reader, height, HEIGHT_MIN, HEIGHT_MAX, &rung->height) && rung->height % 2)
        config_node_mistake(reader, height, "%d is odd; %d or %d would be valid", (int)rung->height,
                            (int)rung->height - 1, (int)rung->height + 1);
    config_read_tenths(reader, config_map_find(node, "crf"), 0, POLICY_CRF_MAX_TENTHS,
                       &rung->crf_tenths);
    bool rated = config_read_kbit(reader, config_map_find(node, "maxrate"), RATE_MIN_KBIT,
                                  RATE_MAX_KBIT, &rung->maxrate_kbps);
    rung->bufsize_kbit = 2 * rung->maxrate_kbps;
    const struct config_node *bufsize = config_map_find(node, "bufsize");
    if (config_read_kbit(reader, bufsize, RATE_MIN_KBIT, 4 * RATE_MAX_KBIT, &rung->bufsize_kbit) &&
        rated && rung->bufsize_kbit * 2 < rung->maxrate_kbps)
        config_node_mistake(
            reader, bufsize,
            "%dk holds less than half a second of maxrate %dk; %dk or more would be valid",
            (int)rung->bufsize_kbit, (int)rung->maxrate_kbps, (int)(rung->maxrate_kbps + 1) / 2);
}

static void read_rungs(const struct config_reader *reader, const struct config_node *list,
                       struct policy_codec *codec)
{
    if (!list || !config_list_check(reader, list, 1, POLICY_RUNGS_MAX))
        return;
    for (const struct config_node *node = list->first; node; node = node->next) {
        struct policy_rung *rung = &codec->rungs[codec->rung_count];
        read_rung(reader, node, rung);
        for (int32_t i = 0; i < codec->rung_count; i++) {
            const struct policy_rung *other = &codec->rungs[i];
            if (rung->name[0] && strcmp(other->name, rung->name) == 0)
                config_node_mistake(reader, config_map_find(node, "name"),
                                    "\"%s\" is the name of rung %d already; names must differ",
                                    rung->name, (int)i);
            if (rung->height && other->height == rung->height)
                config_node_mistake(reader, config_map_find(node, "height"),
                                    "%d is the height of rung %d already; heights must differ",
                                    (int)rung->height, (int)i);
        }
        codec->rung_count++;
    }
}

static void read_profile(const struct config_reader *reader, const struct config_node *node,
                         struct policy_codec *codec)
{
    const char *const *words = codec_profiles[codec->codec];
    int32_t at = 0;
    if (node && !words)
        config_node_mistake(reader, node, "%s has no profiles to choose from; leave it out",
                            codec_word(codec->codec));
    else if (node && config_read_choice(reader, node, words, &at))
        strncpy(codec->profile, words[at], POLICY_WORD_BYTES - 1);
}

/* Depth, what becomes of HDR, and whether the profile has room for them. */
static void read_depth(const struct config_reader *reader, const struct config_node *node,
                       struct policy_codec *codec)
{
    const struct config_node *depth = config_map_find(node, "depth");
    const struct config_node *hdr = config_map_find(node, "hdr");
    const struct config_node *profile = config_map_find(node, "profile");
    int32_t at = 0;
    if (hdr && config_read_choice(reader, hdr, hdr_words, &at))
        codec->hdr_keep = at == 1;
    codec->depth = codec->hdr_keep ? 0 : 8;
    if (depth && config_read_choice(reader, depth, depth_words, &at))
        codec->depth = depths[at];
    if (codec->codec == CODEC_H264) {
        if (codec->depth != 8 && depth)
            config_node_mistake(reader, depth,
                                "h264 has 8 bits always, since hardly anything plays more; leave "
                                "it out");
        if (codec->hdr_keep)
            config_node_mistake(reader, hdr, "h264 is SDR always; leave it out");
        codec->depth = 8;
        codec->hdr_keep = false;
    } else if (codec->hdr_keep && codec->depth == 8) {
        config_node_mistake(reader, depth,
                            "8 bits are too few for hdr: keep; 10 or source would be valid");
    } else if (profile && codec->codec == CODEC_H265) {
        const char *wanted = codec->depth == 8 ? "main" : codec->depth == 10 ? "main10" : "";
        if (codec->profile[0] && strcmp(codec->profile, wanted) != 0)
            config_node_mistake(reader, profile,
                                wanted[0] ? "%s is not of the depth of this codec, %d; leave it "
                                            "out, or say %s"
                                          : "%s: the depth follows from the source, and the "
                                            "profile from the depth; leave it out",
                                codec->profile, (int)codec->depth, wanted);
    }
}

static void read_policy_codec(const struct config_reader *reader, const struct config_node *node,
                              struct policy_codec *codec)
{
    if (!config_map_check(reader, node, codec_keys))
        return;
    if (read_codec(reader, config_map_find(node, "codec"), &codec->codec)) {
        config_route_read(reader, node, codec);
        read_profile(reader, config_map_find(node, "profile"), codec);
        read_depth(reader, node, codec);
    }
    read_rungs(reader, config_map_find(node, "rungs"), codec);
}

static void read_codecs(const struct config_reader *reader, const struct config_node *list,
                        struct policy *policy)
{
    if (!list || !config_list_check(reader, list, 1, CODEC_COUNT))
        return;
    for (const struct config_node *node = list->first; node; node = node->next) {
        struct policy_codec *codec = &policy->codecs[policy->codec_count];
        codec->codec = CODEC_COUNT;
        read_policy_codec(reader, node, codec);
        for (int32_t i = 0; i < policy->codec_count; i++)
            if (codec->codec != CODEC_COUNT && policy->codecs[i].codec == codec->codec)
                config_node_mistake(reader, config_map_find(node, "codec"),
                                    "\"%s\" is codec %d of the policy already; name each once",
                                    codec_word(codec->codec), (int)i);
        policy->codec_count++;
    }
}

static void read_audio_entry(const struct config_reader *reader, const struct config_node *node,
                             struct policy_audio *audio)
{
    int32_t at = 0;
    config_read_choice(reader, config_map_find(node, "codec"), audio_words, &at);
    audio->codec = audio_codecs[at];
    const struct config_node *channels = config_map_find(node, "channels");
    if (channels && config_read_choice(reader, channels, channel_words, &at))
        audio->channels = channel_counts[at];
    const struct config_node *bitrate = config_map_find(node, "bitrate");
    if (config_read_kbit(reader, bitrate, 32, 512, &audio->bitrate_kbps) &&
        audio->bitrate_kbps > CHANNEL_MAX_KBIT * audio->channels)
        config_node_mistake(reader, bitrate, "%dk is more than %s uses for %d channel%s; %dk is",
                            (int)audio->bitrate_kbps, audio_codec_word(audio->codec),
                            (int)audio->channels, audio->channels == 1 ? "" : "s",
                            CHANNEL_MAX_KBIT * (int)audio->channels);
    const struct config_node *rate = config_map_find(node, "sample_rate");
    if (rate && config_read_choice(reader, rate, sample_rate_words, &at))
        audio->sample_rate_hz = sample_rates[at];
    if (audio->codec == AUDIO_OPUS && audio->sample_rate_hz != 48000)
        config_node_mistake(reader, rate, "opus always runs at 48000; leave it out");
}

static void read_audio(const struct config_reader *reader, const struct config_node *list,
                       struct policy *policy)
{
    if (!list) {
        policy->audio[0] = (struct policy_audio){AUDIO_AAC, 128, 2, 48000};
        policy->audio_count = 1;
        return;
    }
    if (!config_list_check(reader, list, 0, POLICY_AUDIO_MAX))
        return;
    for (const struct config_node *node = list->first; node; node = node->next) {
        struct policy_audio *audio = &policy->audio[policy->audio_count];
        *audio = (struct policy_audio){.channels = 2, .sample_rate_hz = 48000};
        if (!config_map_check(reader, node, audio_keys))
            continue;
        read_audio_entry(reader, node, audio);
        for (int32_t i = 0; i < policy->audio_count; i++)
            if (policy->audio[i].codec == audio->codec &&
                policy->audio[i].bitrate_kbps == audio->bitrate_kbps &&
                policy->audio[i].channels == audio->channels)
                config_node_mistake(reader, node, "is the same as audio %d; leave one out", (int)i);
        policy->audio_count++;
    }
}

static void read_loudness(const struct config_reader *reader, const struct config_node *target,
                          const struct config_node *peak, struct policy_loudness *out)
{
    if (target && !(target->kind == CONFIG_SCALAR && strcmp(target->text, "off") == 0))
        out->on = config_read_tenths(reader, target, LOUDNESS_MIN_TENTHS, LOUDNESS_MAX_TENTHS,
                                     &out->target_tenths);
    config_read_tenths(reader, peak, PEAK_MIN_TENTHS, PEAK_MAX_TENTHS, &out->peak_tenths);
}

/* "thumbnails" is a duration, or "none". */
static void read_images(const struct config_reader *reader, const struct config_node *node,
                        struct policy_images *images)
{
    if (!node || !config_map_check(reader, node, images_keys))
        return;
    config_read_bool(reader, config_map_find(node, "poster"), &images->poster);
    config_read_bool(reader, config_map_find(node, "preview"), &images->preview);
    const struct config_node *thumbnails = config_map_find(node, "thumbnails");
    if (thumbnails && thumbnails->text && strcmp(thumbnails->text, "none") == 0)
        images->thumbnails_ns = 0;
    else
        config_read_duration(reader, thumbnails, THUMBNAILS_MIN_NS, THUMBNAILS_MAX_NS,
                             &images->thumbnails_ns);
}

/* ---- tiers ---- */

/* Its codecs as bits. */
static uint32_t read_tier_codecs(const struct config_reader *reader, const struct config_node *list,
                                 const struct policy *policy)
{
    const char *words[CODEC_COUNT + 1] = {0};
    enum codec codecs[CODEC_COUNT];
    uint32_t bits = 0;
    int32_t count = 0, at = 0;
    for (enum codec codec = 0; codec < CODEC_COUNT; codec++)
        if (policy_codec_find(policy, codec)) {
            codecs[count] = codec;
            words[count++] = codec_word(codec);
        }
    if (!list || count == 0 || !config_list_check(reader, list, 1, CODEC_COUNT))
        return 0;
    for (const struct config_node *item = list->first; item; item = item->next) {
        if (!config_read_choice(reader, item, words, &at))
            continue;
        if (bits & UINT32_C(1) << codecs[at])
            config_node_mistake(reader, item, "\"%s\" is in the tier already; name each once",
                                words[at]);
        bits |= UINT32_C(1) << codecs[at];
    }
    return bits;
}

static void codecs_keep(struct policy *policy, uint32_t bits)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < policy->codec_count; i++)
        if (policy->codecs[i].codec < CODEC_COUNT && bits & UINT32_C(1) << policy->codecs[i].codec)
            policy->codecs[kept++] = policy->codecs[i];
    policy->codec_count = kept;
}

/* wanted: the tier that the policy becomes; NULL or no tier's name: all of it. */
static void read_tiers(const struct config_reader *reader, const struct config_node *list,
                       const char *wanted, struct policy *policy)
{
    uint32_t chosen = 0;
    if (!list || !config_list_check(reader, list, 1, POLICY_TIERS_MAX))
        return;
    for (const struct config_node *node = list->first; node; node = node->next) {
        char *name = policy->tiers[policy->tier_count];
        if (!config_map_check(reader, node, tier_keys))
            continue;
        const struct config_node *said = config_map_find(node, "name");
        bool named = said && config_read_word(reader, said, name, sizeof policy->tiers[0]);
        uint32_t bits = read_tier_codecs(reader, config_map_find(node, "codecs"), policy);
        if (named && strcmp(name, policy->name) == 0)
            config_node_mistake(reader, said, "\"%s\" is the policy's own name, with all codecs",
                                name);
        for (int32_t i = 0; named && i < policy->tier_count; i++)
            if (strcmp(policy->tiers[i], name) == 0)
                config_node_mistake(reader, said,
                                    "\"%s\" is the name of tier %d already; names must differ",
                                    name, (int)i);
        if (named && wanted && strcmp(name, wanted) == 0)
            chosen = bits;
        policy->tier_count++;
    }
    if (chosen && reader->mistakes->count == 0) {
        codecs_keep(policy, chosen);
        strncpy(policy->name, wanted, sizeof policy->name - 1);
        policy->name[sizeof policy->name - 1] = '\0';
    }
}

static void read_policy(const struct config_reader *reader, const struct config_node *root,
                        const char *wanted, struct policy *policy)
{
    if (!config_map_check(reader, root, policy_keys))
        return;
    config_read_word(reader, config_map_find(root, "name"), policy->name, sizeof policy->name);
    const struct config_node *segment = config_map_find(root, "segment");
    bool gop = config_read_duration(reader, config_map_find(root, "gop"), GOP_MIN_NS, GOP_MAX_NS,
                                    &policy->gop_ns);
    if (config_read_duration(reader, segment, SEGMENT_MIN_NS, SEGMENT_MAX_NS,
                             &policy->segment_ns) &&
        gop && policy->segment_ns % policy->gop_ns)
        config_node_mistake(
            reader, segment ? segment : config_map_find(root, "gop"),
            "segments of %g s are no whole number of GOPs of %g s; segments of %g s "
            "or %g s would be valid",
            (double)policy->segment_ns / 1e9, (double)policy->gop_ns / 1e9,
            (double)(policy->segment_ns < policy->gop_ns
                         ? policy->gop_ns
                         : policy->segment_ns / policy->gop_ns * policy->gop_ns) /
                1e9,
            (double)(policy->segment_ns < policy->gop_ns
                         ? 2 * policy->gop_ns
                         : (policy->segment_ns / policy->gop_ns + 1) * policy->gop_ns) /
                1e9);
    config_read_duration(reader, config_map_find(root, "chunk"), CHUNK_MIN_NS, CHUNK_MAX_NS,
                         &policy->chunk_ns);
    config_read_duration(reader, config_map_find(root, "watchdog"), WATCHDOG_MIN_NS,
                         WATCHDOG_MAX_NS, &policy->watchdog_ns);
    config_read_int(reader, config_map_find(root, "attempts"), 1, 100, &policy->attempts_max);
    int32_t check = CHECK_SAMPLE;
    config_read_choice(reader, config_map_find(root, "check"), check_words, &check);
    policy->check = (enum check_amount)check;
    policy->opening_ns = policy->gop_ns;
    read_codecs(reader, config_map_find(root, "codecs"), policy);
    read_audio(reader, config_map_find(root, "audio"), policy);
    read_loudness(reader, config_map_find(root, "loudness"), config_map_find(root, "true_peak"),
                  &policy->loudness);
    config_read_bool(reader, config_map_find(root, "subtitles"), &policy->subtitles);
    read_images(reader, config_map_find(root, "images"), &policy->images);
    read_tiers(reader, config_map_find(root, "tiers"), wanted, policy);
}

int config_policy_parse(const char *name, const char *text, size_t length, struct policy *out,
                        struct config_mistakes *mistakes)
{
    mistakes->count = 0;
    struct sl_arena arena = {0};
    struct config_reader reader = {&arena, mistakes};
    struct policy policy = {
        .gop_ns = SL_S_TO_NS(2),
        .segment_ns = SL_S_TO_NS(6),
        .chunk_ns = SL_S_TO_NS(6),
        .check = CHECK_SAMPLE,
        .watchdog_ns = SL_S_TO_NS(60),
        .loudness = {.target_tenths = -230, .peak_tenths = -10},
        .subtitles = true,
        .images = {.poster = true, .preview = true, .thumbnails_ns = SL_S_TO_NS(5)},
    };
    const struct config_node *root = config_tree_build(&reader, text, length);
    if (root)
        read_policy(&reader, root, name, &policy);
    else if (mistakes->count == 0)
        config_mistake_add(mistakes, 0, 0, "the file is empty; a policy needs name and codecs");
    sl_arena_fini(&arena);
    if (mistakes->count)
        return SL_EINVAL;
    *out = policy;
    return SL_OK;
}
