#include "media/media_extras.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "media/media_streams.h"
#include "media/media_text.h"

static const char *tag_of(const AVDictionary *tags, const char *name)
{
    const AVDictionaryEntry *entry = av_dict_get(tags, name, NULL, 0);
    return entry ? entry->value : NULL;
}

/* Letters, digits and '-': anything else is no language. */
static void language_copy(const char *text, char out[MEDIA_WORD_BYTES])
{
    size_t length = text ? strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789-")
                         : 0;
    bool good = length >= 2 && length < MEDIA_WORD_BYTES && text[length] == '\0' &&
                strcmp(text, "und") != 0;
    snprintf(out, MEDIA_WORD_BYTES, "%s", good ? text : "");
}

static void title_copy(const AVDictionary *tags, char out[MEDIA_TITLE_BYTES])
{
    const char *title = tag_of(tags, "title");
    if (title)
        media_text_clean(title, out, MEDIA_TITLE_BYTES);
}

static void text_fill(const AVStream *stream, struct media_text *text)
{
    text->stream_index = stream->index;
    snprintf(text->codec, sizeof text->codec, "%s", avcodec_get_name(stream->codecpar->codec_id));
    language_copy(tag_of(stream->metadata, "language"), text->language);
    title_copy(stream->metadata, text->title);
    text->is_default = (stream->disposition & AV_DISPOSITION_DEFAULT) != 0;
    text->forced = (stream->disposition & AV_DISPOSITION_FORCED) != 0;
    text->impaired = (stream->disposition & AV_DISPOSITION_HEARING_IMPAIRED) != 0;
}

static int chapter_compare(const void *a, const void *b)
{
    const struct media_chapter *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    return 0;
}

int media_extras_find(const AVFormatContext *format, struct sl_arena *arena,
                      struct media_info *info, struct sl_failure *why)
{
    info->texts = sl_arena_array(arena, MEDIA_TEXTS_MAX, sizeof *info->texts);
    info->chapters = sl_arena_array(arena, MEDIA_CHAPTERS_MAX, sizeof *info->chapters);
    if (!info->texts || !info->chapters)
        return sl_fail(why, SL_ENOMEM, "no memory for subtitle streams and chapters");
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_SUBTITLE)
            continue;
        if (media_text_codec(stream->codecpar->codec_id) && info->text_count < MEDIA_TEXTS_MAX)
            text_fill(stream, &info->texts[info->text_count++]);
        else
            info->text_left_out++;
    }
    for (unsigned i = 0; i < format->nb_chapters && info->chapter_count < MEDIA_CHAPTERS_MAX; i++) {
        const AVChapter *from = format->chapters[i];
        struct media_chapter *to = &info->chapters[info->chapter_count];
        if (from->time_base.num <= 0 || from->time_base.den <= 0 || from->start == AV_NOPTS_VALUE)
            continue;
        const AVRational ns = {1, (int)SL_NS_PER_S};
        to->start_ns = av_rescale_q(from->start, from->time_base, ns);
        to->end_ns = from->end == AV_NOPTS_VALUE ? to->start_ns
                                                 : av_rescale_q(from->end, from->time_base, ns);
        if (to->start_ns == INT64_MIN || to->end_ns == INT64_MIN)
            continue;
        title_copy(from->metadata, to->title);
        info->chapter_count++;
    }
    qsort(info->chapters, (size_t)info->chapter_count, sizeof *info->chapters, chapter_compare);
    return SL_OK;
}
