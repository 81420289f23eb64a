/* Which audio is made: each entry of the policy times each stream of the source. An entry makes a group, in which a
 * player chooses among the streams. */
#include <stdio.h>
#include <string.h>

#include "base/language.h"
#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

/* Sources with fewer channels have nothing behind the listener, and get no surround rendition. */
#define SURROUND_CHANNELS_MIN 5
#define SURROUND_CHANNELS     6

static bool entry_fits(const struct policy_audio *entry, const struct media_audio *source)
{
    return entry->channels < SURROUND_CHANNELS || source->channels >= SURROUND_CHANNELS_MIN;
}

static int32_t entries_fitting(const struct policy *policy, const struct media_audio *source)
{
    int32_t count = 0;
    for (int32_t i = 0; i < policy->audio_count; i++)
        count += entry_fits(&policy->audio[i], source);
    /* A policy of surround alone still makes sound of a stereo source. */
    return count ? count : 1;
}

/* How many streams, in their order, have room for all their renditions. */
static int32_t tracks_choose(const struct media_info *info, const struct policy *policy,
                             struct plan *plan)
{
    int32_t tracks = 0, renditions = 0;
    for (; tracks < info->audio_count; tracks++) {
        renditions += entries_fitting(policy, &info->audio[tracks]);
        if (renditions > PLAN_AUDIO_MAX)
            break;
    }
    int32_t beyond = info->audio_count - tracks;
    int at = snprintf(plan->left_out, sizeof plan->left_out, "%s", info->audio_note);
    if (beyond > 0)
        snprintf(plan->left_out + at, sizeof plan->left_out - (size_t)at,
                 "%s%d audio stream%s left out: %d audio renditions are the most", at ? "; " : "",
                 (int)beyond, beyond == 1 ? " is" : "s are", PLAN_AUDIO_MAX);
    return tracks;
}

static void label_choose(const struct plan *plan, int32_t track, char label[MEDIA_TITLE_BYTES])
{
    const struct media_audio *source = &plan->sources[track];
    const char *name = sl_language_name(source->language);
    if (source->title[0])
        memcpy(label, source->title, MEDIA_TITLE_BYTES);
    else
        snprintf(label, MEDIA_TITLE_BYTES, "%s",
                 name                  ? name
                 : source->language[0] ? source->language
                                       : "Audio");
}

/* Two streams never go by one label: the later one's ends with its number. */
static void label_settle(const struct plan *plan, int32_t track, char label[MEDIA_TITLE_BYTES])
{
    label_choose(plan, track, label);
    for (int32_t earlier = 0; earlier < track; earlier++) {
        char other[MEDIA_TITLE_BYTES];
        label_choose(plan, earlier, other);
        if (strcmp(other, label) != 0)
            continue;
        char number[16];
        int length = snprintf(number, sizeof number, " %d", (int)track + 1);
        size_t keep = strnlen(label, MEDIA_TITLE_BYTES - 1 - (size_t)length);
        /* Not into the middle of a character of UTF-8. */
        while (keep > 0 && ((unsigned char)label[keep] & 0xc0) == 0x80)
            keep--;
        memcpy(label + keep, number, (size_t)length + 1);
        return;
    }
}

static bool language_is_word(const char *language)
{
    size_t length = 0;
    while (language[length] >= 'a' && language[length] <= 'z')
        length++;
    return language[length] == '\0' && length >= 2 && length <= 3;
}

/* What tells a stream's folders from the others': nothing, its language, or its number. */
static void suffix_choose(const struct plan *plan, int32_t track, char suffix[16])
{
    const char *language = plan->sources[track].language;
    suffix[0] = '\0';
    if (plan->source_count == 1)
        return;
    if (!language_is_word(language)) {
        snprintf(suffix, 16, "-%d", (int)track + 1);
        return;
    }
    bool taken = false;
    for (int32_t earlier = 0; earlier < track; earlier++)
        taken = taken || strcmp(plan->sources[earlier].language, language) == 0;
    if (taken)
        snprintf(suffix, 16, "-%.3s-%d", language, (int)track + 1);
    else
        snprintf(suffix, 16, "-%.3s", language);
}

static void rendition_add(const struct policy *policy, const struct policy_audio *entry,
                          int32_t channels, int32_t track, struct plan *plan)
{
    struct plan_audio *out = &plan->audio[plan->audio_count++];
    char suffix[16];
    *out = (struct plan_audio){
        .codec = entry->codec,
        .bitrate_kbps = entry->bitrate_kbps,
        .channels = channels,
        .sample_rate_hz = entry->sample_rate_hz,
        .track = track,
        .loudness = policy->loudness,
    };
    int at = snprintf(out->group, sizeof out->group, "%s-%d", audio_codec_word(entry->codec),
                      (int)entry->bitrate_kbps);
    if (entry->channels != 2)
        snprintf(out->group + at, sizeof out->group - (size_t)at, "-%dch", (int)entry->channels);
    suffix_choose(plan, track, suffix);
    snprintf(out->name, sizeof out->name, "%.16s%s", out->group, suffix);
    label_settle(plan, track, out->label);
}

int plan_audio_choose(const struct media_info *info, const struct policy *policy,
                      struct sl_arena *arena, struct plan *plan, struct sl_failure *why)
{
    if (info->audio_count < 1 || policy->audio_count < 1)
        return SL_OK;
    if (policy->audio_count > POLICY_AUDIO_MAX || info->audio_count > MEDIA_AUDIO_MAX)
        return sl_fail(why, SL_EINVAL, "policy %.63s names %d audio renditions; %d are the most",
                       policy->name, (int)policy->audio_count, POLICY_AUDIO_MAX);
    for (int32_t i = 0; i < policy->audio_count; i++)
        if (!audio_codec_word(policy->audio[i].codec))
            return sl_fail(why, SL_EINVAL, "policy %.63s names an audio codec of number %d",
                           policy->name, (int)policy->audio[i].codec);
    plan->source_count = tracks_choose(info, policy, plan);
    plan->sources = sl_arena_array(arena, (size_t)plan->source_count, sizeof *plan->sources);
    plan->audio = sl_arena_array(arena, PLAN_AUDIO_MAX, sizeof *plan->audio);
    if (!plan->sources || !plan->audio)
        return sl_fail(why, SL_ENOMEM, "no memory for the audio of the plan");
    memcpy(plan->sources, info->audio, (size_t)plan->source_count * sizeof *plan->sources);
    for (int32_t track = 0; track < plan->source_count; track++) {
        const struct media_audio *source = &plan->sources[track];
        int32_t before = plan->audio_count;
        /* What a player may switch between stands together. */
        uint32_t added = 0;
        for (int32_t i = 0; i < policy->audio_count; i++)
            for (int32_t k = i; k < policy->audio_count; k++) {
                const struct policy_audio *entry = &policy->audio[k];
                if (added & UINT32_C(1) << k || !entry_fits(entry, source) ||
                    entry->codec != policy->audio[i].codec ||
                    entry->channels != policy->audio[i].channels)
                    continue;
                rendition_add(policy, entry, entry->channels, track, plan);
                added |= UINT32_C(1) << k;
            }
        if (plan->audio_count == before)
            rendition_add(policy, &policy->audio[0], 2, track, plan);
    }
    return SL_OK;
}

/* ---- a source without a picture ---- */

static int64_t rescale(int64_t pts, struct rational base, int32_t rate)
{
    return sl_muldiv_i64(pts, (int64_t)base.num * rate, base.den);
}

int plan_audio_time_line(const struct policy *policy, struct sl_arena *arena, struct plan *plan,
                         struct sl_failure *why)
{
    if (plan->source_count < 1)
        return sl_fail(
            why, SL_ENOVIDEO,
            "the file has sound only, and policy %.63s makes no audio: use one that does",
            policy->name);
    int32_t rate = PLAN_AUDIO_RATE;
    plan->video = (struct media_video){.stream_index = -1, .time_base = {1, rate}};
    plan->timescale = rate;
    for (int32_t i = 0; i < plan->source_count; i++) {
        const struct media_audio *source = &plan->sources[i];
        if (source->time_base.num < 1 || source->time_base.den < 1)
            return sl_fail(why, SL_EFORMAT, "audio stream %d counts in %d/%d s",
                           (int)source->stream_index, (int)source->time_base.num,
                           (int)source->time_base.den);
        int64_t first = rescale(source->first_pts, source->time_base, rate);
        int64_t end = rescale(source->end_pts, source->time_base, rate);
        if (i == 0 || first < plan->origin_pts)
            plan->origin_pts = first;
        if (i == 0 || end > plan->end_pts)
            plan->end_pts = end;
    }
    if (plan->origin_pts < -PLAN_PTS_LIMIT || plan->end_pts > PLAN_PTS_LIMIT ||
        plan->end_pts <= plan->origin_pts)
        return sl_fail(why, SL_EFORMAT, "the audio runs from %lld to %lld samples",
                       (long long)plan->origin_pts, (long long)plan->end_pts);
    int64_t length = plan->end_pts - plan->origin_pts;
    int64_t segment = plan_ns_to_pts(plan, policy->segment_ns);
    int64_t count = (length + segment / 2) / segment;
    count = count < 1 ? 1 : count;
    if (count > PLAN_SEGMENTS_MAX)
        return sl_fail(why, SL_ETOOBIG, "the audio would have %lld segments and %d are the most",
                       (long long)count, PLAN_SEGMENTS_MAX);
    plan->segments = sl_arena_array(arena, (size_t)count, sizeof *plan->segments);
    if (!plan->segments)
        return sl_fail(why, SL_ENOMEM, "no memory for the %lld segments of the plan",
                       (long long)count);
    for (int64_t i = 0; i < count; i++)
        plan->segments[i] = (struct plan_segment){
            .start_pts = plan->origin_pts + i * segment,
            .end_pts = i == count - 1 ? plan->end_pts : plan->origin_pts + (i + 1) * segment,
            .chunk = -1,
        };
    plan->segment_count = (int32_t)count;
    return SL_OK;
}
