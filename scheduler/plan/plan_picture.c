/* How the source's pictures become what is encoded, and how that is told. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "scheduler/plan/plan.h"
#include "scheduler/plan/plan_internal.h"

/* ITU-T H.273. Frames of unknown colour have 2, and so have numbers that the probe does not know. */
enum {
    H273_RGB = 0,
    H273_BT709 = 1,
    H273_UNSPECIFIED = 2,
    H273_BT470M = 4,
    H273_BT470BG = 5,
    H273_SMPTE170M = 6,
    H273_BT2020 = 9,
    H273_SRGB = 13,
    H273_BT2020_10 = 14,
    H273_BT2020_12 = 15,
    H273_PQ = 16,
    H273_HLG = 18,
};

/* What HDR is taken to hold at most where it does not say: the peak that most of it is graded for, and that HLG is
 * defined with. */
#define HDR_PEAK_NITS     1000
#define HDR_PEAK_NITS_MAX 10000

static bool is_hdr(const struct media_video *video)
{
    return video->color_transfer == H273_PQ || video->color_transfer == H273_HLG;
}

/* Players guess what a stream leaves unsaid by its size, and would guess differently for each rung. So the guess is made
 * once, from the source's size, and said in all of them. */
static void source_color_guess(const struct media_video *video, struct plan_picture *out)
{
    bool hd = video->width >= 1280 || video->height > 576;
    bool pal = video->height == 576 || video->height == 288;
    bool wide = is_hdr(video) || video->color_primaries == H273_BT2020 ||
                video->color_matrix == H273_BT2020;
    int32_t sd = pal ? H273_BT470BG : H273_SMPTE170M;
    out->source_primaries = video->color_primaries;
    out->source_transfer = video->color_transfer;
    out->source_matrix = video->color_matrix;
    if (out->source_primaries == H273_UNSPECIFIED)
        out->source_primaries = wide ? H273_BT2020 : hd ? H273_BT709 : sd;
    if (out->source_transfer == H273_UNSPECIFIED)
        out->source_transfer = wide ? H273_BT2020_10 : hd ? H273_BT709 : H273_SMPTE170M;
    if (out->source_matrix == H273_UNSPECIFIED)
        out->source_matrix = wide ? H273_BT2020 : hd ? H273_BT709 : H273_SMPTE170M;
}

static bool primaries_kept(int32_t primaries)
{
    return primaries == H273_BT709 || primaries == H273_BT470BG || primaries == H273_SMPTE170M;
}

static bool transfer_kept(int32_t transfer)
{
    return transfer == H273_BT709 || transfer == H273_BT470M || transfer == H273_BT470BG ||
           transfer == H273_SMPTE170M || transfer == H273_SRGB;
}

static bool matrix_kept(int32_t matrix)
{
    return matrix == H273_BT709 || matrix == H273_BT470BG || matrix == H273_SMPTE170M;
}

static bool hdr_is_kept(const struct media_video *video, const struct policy_codec *codec)
{
    return codec && codec->codec != CODEC_H264 && codec->hdr_keep && is_hdr(video);
}

/* Nothing plays H.264 of more than 8 bits. */
static int32_t depth_choose(const struct media_video *video, const struct policy_codec *codec)
{
    if (!codec || codec->codec == CODEC_H264)
        return 8;
    if (codec->depth)
        return codec->depth;
    return video->bit_depth > 8 ? 10 : 8;
}

/* What every player shows rightly is kept as it is, and so is HDR where the policy asks for it; all else becomes
 * BT.709. */
void plan_picture_choose(const struct media_video *video, const struct policy_codec *codec,
                         struct plan_picture *out)
{
    *out = (struct plan_picture){.deinterlace = video->interlaced,
                                 .bit_depth = depth_choose(video, codec)};
    source_color_guess(video, out);
    if (hdr_is_kept(video, codec)) {
        out->bit_depth = 10;
        out->hdr = video->hdr;
        out->primaries = H273_BT2020;
        out->transfer = video->color_transfer;
        out->matrix = H273_BT2020;
        return;
    }
    if (is_hdr(video)) {
        int32_t peak = video->hdr_peak_nits > 0 ? video->hdr_peak_nits : HDR_PEAK_NITS;
        out->tonemap_peak_nits = peak > HDR_PEAK_NITS_MAX ? HDR_PEAK_NITS_MAX : peak;
        if (out->tonemap_peak_nits < 100)
            out->tonemap_peak_nits = 100; /* as bright as SDR: nothing to compress */
    }
    bool kept = !out->tonemap_peak_nits && primaries_kept(out->source_primaries) &&
                transfer_kept(out->source_transfer) && matrix_kept(out->source_matrix);
    out->primaries = kept ? out->source_primaries : H273_BT709;
    out->transfer = kept ? out->source_transfer : H273_BT709;
    out->matrix = kept ? out->source_matrix : H273_BT709;
}

/* ---- for people ---- */

/* Sound cut for lack of a picture is told from here on; less of it is how files are. */
#define SOUND_LOSS_SAID_NS (SL_NS_PER_S / 2)

__attribute__((format(printf, 2, 3))) static void note(struct plan_notes *notes, const char *format,
                                                       ...)
{
    if (notes->count == PLAN_NOTES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(notes->text[notes->count++], PLAN_SENTENCE_BYTES, format, args);
    va_end(args);
}

static void streams_note(const struct media_info *info, struct plan_notes *out)
{
    if (info->video_stream_count < 2 && info->stream_asked < 0)
        return;
    char list[PLAN_SENTENCE_BYTES / 2] = "";
    for (int32_t i = 0; i < info->stream_count; i++) {
        const struct media_stream *stream = &info->streams[i];
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%d: %s %dx%d", i ? ", " : "", stream->index,
                 stream->codec, stream->width, stream->height);
        used = strlen(list);
        if (stream->program >= 0)
            snprintf(list + used, sizeof list - used, " of program %d", stream->program);
    }
    if (info->stream_asked >= 0)
        note(out, "video stream %d was asked for; the file has %s", info->video.stream_index, list);
    else
        note(out,
             "video stream %d was taken of %d (%s), as av_find_best_stream does: the default one, "
             "then "
             "the one with more frames and a higher bit rate; submit --stream N takes another",
             info->video.stream_index, info->video_stream_count, list);
}

static void shape_notes(const struct media_video *video, struct plan_notes *out)
{
    struct plan_size size = plan_upright_size(video);
    if (video->crop_left || video->crop_top || video->crop_right || video->crop_bottom)
        note(out, "cropped as the container says: %d left, %d top, %d right, %d bottom",
             video->crop_left, video->crop_top, video->crop_right, video->crop_bottom);
    if (plan_stretched_width(video) == 0)
        note(out, "samples of %d:%d are nonsense for %dx%d, and are taken for square",
             video->sar.num, video->sar.den, video->width, video->height);
    else if (video->sar.num > 0 && video->sar.num != video->sar.den)
        note(out, "samples of %d:%d made square: shown as %dx%d", video->sar.num, video->sar.den,
             size.width, size.height);
    if (video->mirrored)
        note(out, "mirrored left to right, as the container says");
    if (video->rotation_degrees)
        note(out, "turned upright by %d degrees clockwise, as the container says",
             video->rotation_degrees);
}

/* " for h264, vp9" of the codecs whose picture is made in one way; nothing where that is all of them. */
static const char *codecs_of(const struct policy *policy, const struct media_video *video,
                             bool (*is)(const struct plan_picture *), char out[64])
{
    int32_t count = 0;
    out[0] = '\0';
    for (enum codec codec = 0; codec < CODEC_COUNT; codec++) {
        struct plan_picture picture;
        const struct policy_codec *said = policy_codec_find(policy, codec);
        plan_picture_choose(video, said, &picture);
        if (!said || !is(&picture))
            continue;
        size_t used = strlen(out);
        snprintf(out + used, 64 - used, "%s%s", count ? ", " : " for ", codec_word(codec));
        count++;
    }
    if (count == policy->codec_count)
        out[0] = '\0';
    return count ? out : NULL;
}

static bool maps_tones(const struct plan_picture *picture)
{
    return picture->tonemap_peak_nits > 0;
}

static bool keeps_hdr(const struct plan_picture *picture)
{
    return picture->transfer == H273_PQ || picture->transfer == H273_HLG;
}

static bool has_8_bits(const struct plan_picture *picture)
{
    return picture->bit_depth == 8;
}

static void light_notes(const struct media_video *video, const struct policy *policy,
                        struct plan_notes *out)
{
    char which[64];
    struct plan_picture picture;
    plan_picture_choose(video, NULL, &picture);
    const char *curve = video->color_transfer == H273_PQ ? "PQ" : "HLG";
    if (video->dolby_vision)
        note(out, "Dolby Vision of profile %d: its base layer is taken, the rest is left out",
             video->dolby_vision);
    if (picture.tonemap_peak_nits && codecs_of(policy, video, maps_tones, which))
        note(out, "HDR (%s, up to %d nits%s) tone-mapped to BT.709 SDR%s", curve,
             picture.tonemap_peak_nits, video->hdr_peak_nits > 0 ? "" : " assumed", which);
    if (is_hdr(video) && codecs_of(policy, video, keeps_hdr, which))
        note(out, "HDR (%s) kept%s, %s", curve, which,
             video->hdr.mastering || video->hdr.light ? "with what it says of its mastering"
                                                      : "which says nothing of its mastering");
    if (!is_hdr(video) &&
        (picture.matrix != picture.source_matrix || picture.primaries != picture.source_primaries ||
         picture.transfer != picture.source_transfer))
        note(out, "colours converted from primaries %d, transfer %d, matrix %d (H.273) to BT.709",
             picture.source_primaries, picture.source_transfer, picture.source_matrix);
    if (video->full_range)
        note(out, "full range made limited");
    if (video->bit_depth > 8 && codecs_of(policy, video, has_8_bits, which))
        note(out, "%d bits a sample made 8, with dither%s", video->bit_depth, which);
}

/* Far inside 64 bits, so that differences stay there as well. */
static int64_t ns_of(int64_t pts, const struct rational *base)
{
    const int64_t most = INT64_MAX / 4;
    int64_t ns = base->den > 0 ? sl_muldiv_i64(pts, base->num * SL_NS_PER_S, base->den) : 0;
    return ns > most ? most : ns < -most ? -most : ns;
}

/* Of each kind one sentence, about the stream that loses most. */
static void sound_notes(const struct media_info *info, struct plan_notes *out)
{
    const struct media_video *video = &info->video;
    int64_t from = ns_of(video->first_pts, &video->time_base);
    int64_t to = ns_of(video->end_pts, &video->time_base);
    int64_t before = SOUND_LOSS_SAID_NS, behind = SOUND_LOSS_SAID_NS;
    const struct media_audio *first = NULL, *last = NULL;
    for (int32_t i = 0; i < info->audio_count; i++) {
        const struct media_audio *audio = &info->audio[i];
        if (audio->end_pts <= audio->first_pts)
            continue;
        int64_t early = from - ns_of(audio->first_pts, &audio->time_base);
        int64_t late = ns_of(audio->end_pts, &audio->time_base) - to;
        if (early > before) {
            before = early;
            first = audio;
        }
        if (late > behind) {
            behind = late;
            last = audio;
        }
    }
    if (first)
        note(out, "sound of stream %d begins %.1f s before the first picture: that is cut",
             first->stream_index, (double)before / SL_NS_PER_S);
    if (last)
        note(out, "sound of stream %d goes on for %.1f s behind the last picture: that is cut",
             last->stream_index, (double)behind / SL_NS_PER_S);
}

void plan_notes_make(const struct media_info *info, const struct policy *policy,
                     struct plan_notes *out)
{
    out->count = 0;
    if (!info->has_video)
        return;
    const struct media_video *video = &info->video;
    streams_note(info, out);
    shape_notes(video, out);
    if (video->interlaced)
        note(out, "interlaced (%s field first): deinterlaced, one frame for each frame",
             video->top_field_first ? "top" : "bottom");
    if (video->telecined)
        note(out,
             "film in 2:3 pulldown: deinterlaced, but every fifth frame or so is a repetition; "
             "an inverse telecine made before keeps 24 frames a second");
    light_notes(video, policy, out);
    if (video->times == FRAME_TIMES_DECODED)
        note(out, "some packets carry no time: decoded in one piece, times made up by the decoder");
    else if (video->times == FRAME_TIMES_COUNTED)
        note(out, "the stream carries no times: decoded in one piece at %d/%d frames a second",
             video->frame_rate.num, video->frame_rate.den);
    else if (video->variable_frame_rate)
        note(out, "variable frame rate: every frame keeps its time");
    sound_notes(info, out);
}
