#include "model/policy_types.h"

#include <string.h>

#include "base/error.h"

static const char *const codec_words[CODEC_COUNT] = {"h264", "h265", "av1", "vp9"};
static const char *const audio_words[AUDIO_CODEC_COUNT] = {"aac", "opus"};
static const char *const kind_words[DEVICE_KIND_COUNT] = {"cpu", "nvenc", "vaapi"};

static int word_find(const char *const *words, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

const char *codec_word(enum codec codec)
{
    return (unsigned)codec < CODEC_COUNT ? codec_words[codec] : NULL;
}

int codec_from_word(const char *word, enum codec *out)
{
    int found = word_find(codec_words, CODEC_COUNT, word);
    if (found < 0)
        return SL_EINVAL;
    *out = (enum codec)found;
    return SL_OK;
}

const char *audio_codec_word(enum audio_codec codec)
{
    return (unsigned)codec < AUDIO_CODEC_COUNT ? audio_words[codec] : NULL;
}

int audio_codec_from_word(const char *word, enum audio_codec *out)
{
    int found = word_find(audio_words, AUDIO_CODEC_COUNT, word);
    if (found < 0)
        return SL_EINVAL;
    *out = (enum audio_codec)found;
    return SL_OK;
}

const char *device_kind_word(enum device_kind kind)
{
    return (unsigned)kind < DEVICE_KIND_COUNT ? kind_words[kind] : NULL;
}

const struct policy_codec *policy_codec_find(const struct policy *policy, enum codec codec)
{
    for (int32_t i = 0; i < policy->codec_count; i++)
        if (policy->codecs[i].codec == codec)
            return &policy->codecs[i];
    return NULL;
}

#define BIT(codec) (1u << (codec))

const struct encoder_name encoder_names[ENCODER_NAMES] = {
    {"x264", DEVICE_CPU, BIT(CODEC_H264)},
    {"x265", DEVICE_CPU, BIT(CODEC_H265)},
    {"svtav1", DEVICE_CPU, BIT(CODEC_AV1)},
    {"vpx", DEVICE_CPU, BIT(CODEC_VP9)},
    {"nvenc", DEVICE_NVENC, BIT(CODEC_H264) | BIT(CODEC_H265) | BIT(CODEC_AV1)},
    {"vaapi", DEVICE_VAAPI, BIT(CODEC_H264) | BIT(CODEC_H265) | BIT(CODEC_AV1) | BIT(CODEC_VP9)},
};

const struct encoder_name *encoder_find(const char *name)
{
    for (int i = 0; i < ENCODER_NAMES; i++)
        if (strcmp(encoder_names[i].name, name) == 0)
            return &encoder_names[i];
    return NULL;
}
