#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

/* A picture this little smaller than a rung's box still counts as that rung: 1916x1080 is 1080p. */
#define BOX_SLACK_PERCENT 4
/* A source this much above its last rung gets one of its own size. */
#define TOP_RUNG_PERCENT  125

/* num/den to the nearest even number, halves upwards. */
static int64_t even_nearest(int64_t num, int64_t den)
{
    return (num + den) / (2 * den) * 2;
}

static int32_t even_clamp(int64_t value, int32_t source)
{
    int32_t most = source & ~1;
    if (value > most)
        value = most;
    return value < 2 ? 2 : (int32_t)value;
}

int64_t plan_stretched_width(const struct media_video *video)
{
    int64_t width = video->width - video->crop_left - video->crop_right;
    if (video->sar.num <= 0 || video->sar.den <= 0)
        return width;
    int64_t twice = sl_muldiv_i64(2 * width, video->sar.num, video->sar.den);
    int64_t stretched = twice / 2 + (twice & 1);
    return stretched >= 2 && stretched <= PLAN_SIDE_MAX ? stretched : 0;
}

struct plan_size plan_upright_size(const struct media_video *video)
{
    int64_t width = plan_stretched_width(video);
    int32_t height = video->height - video->crop_top - video->crop_bottom;
    if (width == 0)
        width = video->width - video->crop_left - video->crop_right;
    struct plan_size size = {(int32_t)width, height};
    if (video->rotation_degrees == 90 || video->rotation_degrees == 270)
        size = (struct plan_size){height, (int32_t)width};
    return size;
}

/* The height of the 16:9 box, turned for portrait, that the picture just fills, times 16 so that it stays
 * a whole number. */
static int64_t box_height_16(struct plan_size source)
{
    int64_t wide = source.width, high = source.height;
    if (high > wide) {
        wide = source.height;
        high = source.width;
    }
    return high * 16 > wide * 9 ? high * 16 : wide * 9;
}

struct plan_size plan_box_size(struct plan_size source, int64_t box_height)
{
    bool portrait = source.height > source.width;
    int64_t wide = portrait ? source.height : source.width;
    int64_t high = portrait ? source.width : source.height;
    int64_t fit_wide, fit_high;
    if (box_height * 16 >= box_height_16(source)) {
        fit_wide = wide & ~INT64_C(1);
        fit_high = high & ~INT64_C(1);
    } else if (high * 16 > wide * 9) {
        fit_wide = even_nearest(wide * box_height, high);
        fit_high = even_nearest(box_height, 1);
    } else {
        fit_wide = even_nearest(box_height * 16, 9);
        fit_high = even_nearest(box_height * 16 * high, 9 * wide);
    }
    struct plan_size size = {even_clamp(portrait ? fit_high : fit_wide, source.width),
                             even_clamp(portrait ? fit_wide : fit_high, source.height)};
    return size;
}

static int32_t between(int32_t low, int32_t high, int64_t at, int64_t from, int64_t to)
{
    return (int32_t)(low + ((int64_t)high - low) * (at - from) / (to - from));
}

/* The rung of the source's own size: named like its neighbours, rates between theirs;
 * those of high where there is nothing lower. */
static struct policy_rung source_rung(struct plan_size source, const struct policy_rung *low,
                                      const struct policy_rung *high)
{
    int64_t at = box_height_16(source);
    struct policy_rung rung = *high;
    if (low) {
        int64_t from = (int64_t)low->height * 16, to = (int64_t)high->height * 16;
        rung.crf_tenths = between(low->crf_tenths, high->crf_tenths, at, from, to);
        rung.maxrate_kbps = between(low->maxrate_kbps, high->maxrate_kbps, at, from, to);
        rung.bufsize_kbit = between(low->bufsize_kbit, high->bufsize_kbit, at, from, to);
    }
    rung.height = (int32_t)((at + 8) / 16);
    snprintf(rung.name, sizeof rung.name, "%dp", (int)rung.height);
    return rung;
}

static bool name_taken(const struct policy_codec *codec, const char *name)
{
    for (int32_t i = 0; i < codec->rung_count; i++)
        if (strcmp(codec->rungs[i].name, name) == 0)
            return true;
    return false;
}

/* Ascending by height into out; returns how many. */
static int32_t ladder_sort(const struct policy_codec *codec, struct policy_rung *out)
{
    int32_t count = 0;
    for (int32_t i = 0; i < codec->rung_count; i++) {
        int32_t at = count++;
        for (; at > 0 && out[at - 1].height > codec->rungs[i].height; at--)
            out[at] = out[at - 1];
        out[at] = codec->rungs[i];
    }
    return count;
}

/* Ascending rungs of one codec that the source can fill. */
static int32_t ladder_choose(const struct policy_codec *codec, struct plan_size source,
                             struct policy_rung *out)
{
    struct policy_rung ladder[POLICY_RUNGS_MAX];
    int32_t rung_count = ladder_sort(codec, ladder);
    int64_t source_16 = box_height_16(source);
    int32_t count = 0;
    while (count < rung_count &&
           (int64_t)ladder[count].height * 16 * 100 <= source_16 * (100 + BOX_SLACK_PERCENT)) {
        out[count] = ladder[count];
        count++;
    }
    if (count == rung_count)
        return count;
    const struct policy_rung *low = count ? &ladder[count - 1] : NULL;
    if (low && source_16 * 100 < (int64_t)low->height * 16 * TOP_RUNG_PERCENT)
        return count;
    struct policy_rung own = source_rung(source, low, &ladder[count]);
    if (name_taken(codec, own.name))
        snprintf(own.name, sizeof own.name, "%dp-source", (int)own.height);
    out[count++] = own;
    return count;
}

static int codec_rungs_add(const struct policy_codec *codec, struct plan *plan,
                           struct sl_failure *why)
{
    if ((unsigned)codec->codec >= CODEC_COUNT || codec->rung_count < 1 ||
        codec->rung_count > POLICY_RUNGS_MAX || codec->route_count < 1 ||
        codec->route_count > POLICY_ROUTE_MAX)
        return sl_fail(why, SL_EINVAL,
                       "the policy has a codec with %d rungs and %d encoders; "
                       "each needs at least one of both",
                       (int)codec->rung_count, (int)codec->route_count);
    for (int32_t i = 0; i < codec->rung_count; i++)
        if (codec->rungs[i].height < 2 || codec->rungs[i].height > PLAN_SIDE_MAX)
            return sl_fail(why, SL_EINVAL,
                           "rung %.31s of the policy is %d samples high; 2 to %d would do",
                           codec->rungs[i].name, (int)codec->rungs[i].height, PLAN_SIDE_MAX);
    struct plan_size source = plan_upright_size(&plan->video);
    struct policy_rung chosen[PLAN_CODEC_RUNGS_MAX];
    int32_t count = ladder_choose(codec, source, chosen);
    struct plan_rung *first = plan->rungs + plan->rung_count;
    int32_t made = 0;
    /* Highest first; of equal sizes the lower rung stays, which is the cheaper one. */
    for (int32_t i = count - 1; i >= 0; i--) {
        const struct policy_rung *rung = &chosen[i];
        struct plan_size size = plan_box_size(source, rung->height);
        bool thin = size.width < PLAN_SIDE_MIN || size.height < PLAN_SIDE_MIN;
        if (thin && (made || i > 0))
            continue; /* a strip of a picture: its small rungs are below what encoders take */
        if (thin)
            size = (struct plan_size){source.width & ~1, source.height & ~1};
        if (made && first[made - 1].width == size.width && first[made - 1].height == size.height)
            made--;
        struct plan_rung *out = &first[made++];
        *out = (struct plan_rung){
            .codec = codec->codec,
            .width = size.width,
            .height = size.height,
            .crf_tenths = rung->crf_tenths,
            .maxrate_kbps = rung->maxrate_kbps,
            .bufsize_kbit = rung->bufsize_kbit,
        };
        memcpy(out->name, rung->name, sizeof out->name);
        if (codec->route_count == 1) {
            memcpy(out->encoder, codec->route[0].encoder, sizeof out->encoder);
            memcpy(out->preset, codec->route[0].preset, sizeof out->preset);
        }
        memcpy(out->profile, codec->profile, sizeof out->profile);
    }
    plan->rung_count += made;
    return SL_OK;
}

int plan_rungs_choose(const struct policy *policy, struct sl_arena *arena, struct plan *plan,
                      struct sl_failure *why)
{
    if (policy->codec_count < 1 || policy->codec_count > CODEC_COUNT)
        return sl_fail(why, SL_EINVAL, "policy %.63s names %d codecs; 1 to %d would do",
                       policy->name, (int)policy->codec_count, CODEC_COUNT);
    plan->rungs = sl_arena_array(arena, (size_t)policy->codec_count * PLAN_CODEC_RUNGS_MAX,
                                 sizeof *plan->rungs);
    if (!plan->rungs)
        return sl_fail(why, SL_ENOMEM, "no memory for the rungs of the plan");
    uint32_t seen = 0;
    for (int32_t i = 0; i < policy->codec_count; i++) {
        enum codec codec = policy->codecs[i].codec;
        if ((unsigned)codec < CODEC_COUNT && seen & UINT32_C(1) << codec)
            return sl_fail(why, SL_EINVAL, "policy %.63s names codec %s twice", policy->name,
                           codec_word(codec));
        seen |= (unsigned)codec < CODEC_COUNT ? UINT32_C(1) << codec : 0;
    }
    for (enum codec codec = 0; codec < CODEC_COUNT; codec++) {
        const struct policy_codec *said = policy_codec_find(policy, codec);
        int rc = said ? codec_rungs_add(said, plan, why) : SL_OK;
        if (rc)
            return rc;
    }
    plan->codec_count = policy->codec_count;
    return SL_OK;
}

int32_t plan_codec_rungs(const struct plan *plan, enum codec codec, int32_t *out_first)
{
    int32_t count = 0;
    for (int32_t i = 0; i < plan->rung_count; i++) {
        if (plan->rungs[i].codec != codec)
            continue;
        if (count++ == 0 && out_first)
            *out_first = i;
    }
    return count;
}

enum codec plan_codec_at(const struct plan *plan, int32_t n)
{
    for (int32_t i = 0; i < plan->rung_count; i++)
        if (i == 0 || plan->rungs[i].codec != plan->rungs[i - 1].codec)
            if (n-- == 0)
                return plan->rungs[i].codec;
    return CODEC_COUNT;
}

int64_t plan_frame_pix(const struct plan *plan, enum codec codec)
{
    int64_t pix = (int64_t)plan->video.width * plan->video.height;
    for (int32_t i = 0; i < plan->rung_count; i++)
        if (plan->rungs[i].codec == codec)
            pix += (int64_t)plan->rungs[i].width * plan->rungs[i].height;
    return pix;
}
