#include "media/media_streams.h"

#include <libavcodec/avcodec.h>
#include <libavutil/avstring.h>
#include <libavutil/channel_layout.h>
#include <libavutil/intreadwrite.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "media/media_limits.h"

/* ---- texts ---- */

static bool is_shown(uint32_t code)
{
    return code >= 0x20 && !(code >= 0x7f && code < 0xa0) &&
           !(code >= 0x200b && code <= 0x200f) && /* invisible, marks of direction */
           !(code >= 0x2028 && code <= 0x202e) && /* line ends, embeddings */
           !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff && /* isolates, byte order mark */
           !(code >= 0xd800 && code <= 0xdfff);
}

void media_text_clean(const char *text, char *out, size_t out_bytes)
{
    size_t length = 0;
    const uint8_t *at = (const uint8_t *)text, *end = at + strlen(text);
    while (at < end) {
        const uint8_t *start = at;
        int32_t code = 0;
        bool valid = av_utf8_decode(&code, &at, end, 0) >= 0;
        if (at == start)
            at++;
        if (!valid || !is_shown((uint32_t)code))
            continue;
        size_t bytes = (size_t)(at - start);
        if (length + bytes >= out_bytes)
            break;
        memcpy(out + length, start, bytes);
        length += bytes;
    }
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
}

static void note_add(struct media_info *info, const char *text)
{
    size_t length = strlen(info->audio_note);
    snprintf(info->audio_note + length, sizeof info->audio_note - length, "%s%s",
             length ? "; " : "", text);
}

/* ---- streams ---- */

/* Streams of one program belong together; in a container without programs all do. */
static bool same_program(AVFormatContext *format, const AVStream *video, unsigned index)
{
    const AVProgram *program =
        video ? av_find_program_from_stream(format, NULL, video->index) : NULL;
    if (!program)
        return true;
    for (unsigned i = 0; i < program->nb_stream_indexes; i++)
        if (program->stream_index[i] == index)
            return true;
    return false;
}

static void fill(const AVStream *stream, struct media_audio *audio)
{
    const AVCodecParameters *par = stream->codecpar;
    *audio = (struct media_audio){
        .stream_index = stream->index,
        .channels = par->ch_layout.nb_channels,
        .sample_rate_hz = par->sample_rate,
        .time_base = {stream->time_base.num, stream->time_base.den},
        .first_pts = INT64_MAX,
        .end_pts = INT64_MIN,
    };
    snprintf(audio->codec, sizeof audio->codec, "%s", avcodec_get_name(par->codec_id));
    if (par->ch_layout.order != AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_describe(&par->ch_layout, audio->layout, sizeof audio->layout);
    const AVDictionaryEntry *language = av_dict_get(stream->metadata, "language", NULL, 0);
    if (language && strlen(language->value) == 3 && strcmp(language->value, "und") != 0 &&
        strspn(language->value, "abcdefghijklmnopqrstuvwxyz") == 3)
        snprintf(audio->language, sizeof audio->language, "%s", language->value);
    const AVDictionaryEntry *title = av_dict_get(stream->metadata, "title", NULL, 0);
    if (title)
        media_text_clean(title->value, audio->title, sizeof audio->title);
    if (stream->disposition & AV_DISPOSITION_VISUAL_IMPAIRED)
        audio->role = AUDIO_ROLE_DESCRIPTION;
    else if (stream->disposition & AV_DISPOSITION_COMMENT)
        audio->role = AUDIO_ROLE_COMMENTARY;
}

int media_streams_find(AVFormatContext *format, const AVStream *video, struct media_info *info,
                       struct sl_failure *why)
{
    int best =
        av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, video ? video->index : -1, NULL, 0);
    int32_t elsewhere = 0, beyond = 0, undecodable = 0;
    const AVCodec *codec;
    char text[MEDIA_NOTE_BYTES];
    for (int turn = -1; turn < (int)format->nb_streams; turn++) {
        /* The best one goes first. */
        int index = turn < 0 ? best : turn;
        if (index < 0 || (turn >= 0 && index == best))
            continue;
        const AVStream *stream = format->streams[index];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
            continue;
        if (turn >= 0 && !same_program(format, video, (unsigned)index)) {
            elsewhere++;
        } else if (media_codec_find(stream->codecpar, &codec, NULL) != SL_OK ||
                   stream->codecpar->sample_rate <= 0 ||
                   stream->codecpar->ch_layout.nb_channels <= 0) {
            snprintf(text, sizeof text, "audio stream %d (%s) cannot be decoded here", index,
                     avcodec_get_name(stream->codecpar->codec_id));
            note_add(info, text);
            undecodable++;
        } else if (info->audio_count == MEDIA_AUDIO_MAX) {
            beyond++;
        } else {
            fill(stream, &info->audio[info->audio_count++]);
        }
    }
    snprintf(text, sizeof text,
             elsewhere == 1 ? "%d audio stream belongs to another program"
                            : "%d audio streams belong to other programs",
             elsewhere);
    if (elsewhere > 0)
        note_add(info, text);
    snprintf(text, sizeof text,
             beyond == 1 ? "%d audio stream is left out: %d are looked at"
                         : "%d audio streams are left out: %d are looked at",
             beyond, MEDIA_AUDIO_MAX);
    if (beyond > 0)
        note_add(info, text);
    if (info->audio_count == 0 && undecodable > 0)
        return sl_fail(why, SL_EUNSUPPORTED, "%s: send AAC, Opus, MP3, AC-3, FLAC or PCM",
                       info->audio_note);
    return SL_OK;
}

void media_streams_note(const AVPacket *packet, struct media_info *info)
{
    struct media_audio *audio = NULL;
    for (int32_t i = 0; i < info->audio_count && !audio; i++)
        if (info->audio[i].stream_index == packet->stream_index)
            audio = &info->audio[i];
    if (!audio || packet->pts == AV_NOPTS_VALUE || (packet->flags & AV_PKT_FLAG_DISCARD))
        return;
    int64_t first = packet->pts, end = packet->pts + packet->duration;
    size_t bytes = 0;
    const uint8_t *skip = av_packet_get_side_data(packet, AV_PKT_DATA_SKIP_SAMPLES, &bytes);
    if (skip && bytes >= 8) {
        AVRational rate = {1, audio->sample_rate_hz};
        AVRational base = {audio->time_base.num, audio->time_base.den};
        first += av_rescale_q(AV_RL32(skip), rate, base);
        end -= av_rescale_q(AV_RL32(skip + 4), rate, base);
    } else if (first < 0) {
        first = 0; /* priming that the decoder takes away by itself (Opus in Matroska) */
    }
    if (first < audio->first_pts)
        audio->first_pts = first;
    if (end > audio->end_pts)
        audio->end_pts = end;
}

void media_streams_settle(struct media_info *info)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < info->audio_count; i++) {
        const struct media_audio *audio = &info->audio[i];
        if (audio->end_pts > audio->first_pts) {
            info->audio[kept++] = *audio;
            continue;
        }
        char text[64];
        snprintf(text, sizeof text, "audio stream %d has no packets", audio->stream_index);
        note_add(info, text);
    }
    info->audio_count = kept;
}
