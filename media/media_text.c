#include "media/media_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "media/media_ass.h"
#include "media/media_charset.h"

/* Of one packet; a line of text needs a hundredth of it, a line of drawings may need much. */
#define PACKET_BYTES_MAX  (1024 * 1024)
/* A cue without an end lasts until the next, and at most so long. */
#define CUE_OPEN_MS       5000
#define SNIFF_BYTES       4096
#define MS_OF_UNKNOWN_END INT64_MIN

static const AVRational milliseconds = {1, 1000};
static const AVRational microseconds = {1, 1000000};

struct reader {
    const struct job_text *job;
    struct sl_arena *arena;
    struct media_ass ass;
    struct sl_buf text;
    struct text_cue *cues;
    size_t count, room;
    size_t bytes;
    int64_t zero_us; /* of the plan, on the clock of the packets */
    int64_t end_ms;  /* of the time line */
    char what[64];   /* the track, in messages */
};

bool media_text_codec(enum AVCodecID codec)
{
    return codec == AV_CODEC_ID_SUBRIP || codec == AV_CODEC_ID_ASS ||
           codec == AV_CODEC_ID_MOV_TEXT || codec == AV_CODEC_ID_WEBVTT ||
           codec == AV_CODEC_ID_TEXT;
}

/* ---- reads that tell how far they are, whichever packets they lead to ---- */

struct watched {
    struct media_input input;
    const struct media_progress *progress;
};

static int watched_read(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    const struct watched *w = arg;
    if (w->progress && w->progress->note)
        w->progress->note(w->progress->arg, (int64_t)offset, w->input.bytes);
    return media_input_read(&w->input, offset, into, length, out_read);
}

/* ---- an uploaded file, made UTF-8 in memory ---- */

static int memory_read(void *arg, uint64_t offset, void *into, uint32_t length, uint32_t *out_read)
{
    const struct sl_buf *text = arg;
    size_t left = offset < text->length ? text->length - (size_t)offset : 0;
    *out_read = left < length ? (uint32_t)left : length;
    if (*out_read)
        memcpy(into, text->data + offset, *out_read);
    return SL_OK;
}

static int whole_read(const struct media_input *input, struct sl_buf *out, struct sl_failure *why)
{
    if (input->bytes <= 0 || input->bytes > MEDIA_SIDECAR_BYTES_MAX)
        return sl_fail(why, input->bytes > 0 ? SL_ETOOBIG : SL_EFORMAT,
                       "the subtitle file has %" PRId64 " bytes; 1 to %d are taken", input->bytes,
                       MEDIA_SIDECAR_BYTES_MAX);
    while (out->length < (size_t)input->bytes) {
        size_t left = (size_t)input->bytes - out->length;
        uint32_t want = left < MEDIA_READ_BYTES ? (uint32_t)left : MEDIA_READ_BYTES, got = 0;
        unsigned char *into = sl_buf_reserve(out, want);
        if (!into)
            return sl_fail(why, SL_ENOMEM, "no memory for the subtitle file");
        int code = media_input_read(input, out->length, into, want, &got);
        if (code != SL_OK || got == 0)
            return sl_fail(why, code ? code : SL_ECHANGED,
                           "the subtitle file cannot be read at byte %zu", out->length);
        out->length += got;
    }
    return SL_OK;
}

/* By what stands at its head; SRT begins with nothing of its own but a number and an arrow. */
static const char *kind_of(const struct sl_buf *text)
{
    char head[SNIFF_BYTES];
    size_t length = text->length < sizeof head - 1 ? text->length : sizeof head - 1;
    memcpy(head, text->data, length);
    head[length] = '\0';
    const char *at = head + strspn(head, " \t\r\n");
    if (strncmp(at, "WEBVTT", 6) == 0)
        return "webvtt";
    if (strncmp(at, "[Script Info]", 13) == 0 || strstr(head, "\n[Events]") ||
        strncmp(at, "Dialogue:", 9) == 0)
        return "ass";
    return strstr(head, "-->") ? "srt" : NULL;
}

/* ---- cues ---- */

static char *clock_text(int64_t ms, char text[32])
{
    snprintf(text, 32, "%02d:%02d:%02d", (int)(ms / 3600000), (int)(ms / 60000 % 60),
             (int)(ms / 1000 % 60));
    return text;
}

static int cue_add(struct reader *r, int64_t start_ms, int64_t end_ms, const char *settings,
                   struct sl_failure *why)
{
    char at[32];
    if (r->text.length > TEXT_CUE_BYTES_MAX)
        return sl_fail(why, SL_ETOOBIG, "%s: the cue at %s has %zu bytes of text; %d are the most",
                       r->what, clock_text(start_ms, at), r->text.length, TEXT_CUE_BYTES_MAX);
    r->bytes += r->text.length;
    if (r->count == TEXT_CUES_MAX || r->bytes > TEXT_BYTES_MAX)
        return sl_fail(why, SL_ETOOBIG,
                       "%s has more than %d cues or %d bytes of text, as many as are taken",
                       r->what, TEXT_CUES_MAX, TEXT_BYTES_MAX);
    if (r->count == r->room) {
        size_t room = r->room ? r->room * 2 : 256;
        struct text_cue *grown = realloc(r->cues, room * sizeof *grown);
        if (!grown)
            return sl_fail(why, SL_ENOMEM, "no memory for %zu cues", room);
        r->cues = grown;
        r->room = room;
    }
    struct text_cue *cue = &r->cues[r->count];
    *cue = (struct text_cue){
        .start_ms = start_ms,
        .end_ms = end_ms,
        .text = sl_arena_strndup(r->arena, (const char *)r->text.data, r->text.length),
        .settings = sl_arena_strdup(r->arena, settings),
    };
    if (!cue->text || !cue->settings)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu cues", r->count);
    r->count++;
    return SL_OK;
}

static int event_take(struct reader *r, const AVSubtitle *subtitle, int64_t start_ms,
                      int64_t end_ms, struct sl_failure *why)
{
    for (unsigned i = 0; i < subtitle->num_rects; i++) {
        const AVSubtitleRect *rect = subtitle->rects[i];
        if (rect->type != SUBTITLE_ASS || !rect->ass)
            continue;
        char settings[MEDIA_ASS_SETTINGS_BYTES];
        sl_buf_reset(&r->text);
        media_ass_event(&r->ass, rect->ass, &r->text, settings);
        if (r->text.failed)
            return sl_fail(why, SL_ENOMEM, "no memory for a cue");
        if (r->text.length == 0)
            continue;
        int code = cue_add(r, start_ms, end_ms, settings, why);
        if (code != SL_OK)
            return code;
    }
    return SL_OK;
}

/* Old files hold Latin-1 where the container promises UTF-8. */
static int packet_utf8(const struct reader *r, AVPacket *packet, struct sl_failure *why)
{
    if (media_utf8_valid(packet->data, (size_t)packet->size) ||
        strcmp(r->job->text.codec, "mov_text") == 0)
        return SL_OK;
    struct sl_buf text = {0};
    int code = media_utf8_make(packet->data, (size_t)packet->size, &text, why);
    uint8_t *data = NULL;
    if (code == SL_OK)
        data = av_mallocz(text.length + AV_INPUT_BUFFER_PADDING_SIZE);
    if (code == SL_OK && !data)
        code = sl_fail(why, SL_ENOMEM, "no memory for a cue");
    if (code == SL_OK) {
        memcpy(data, text.data, text.length);
        av_buffer_unref(&packet->buf);
        packet->buf =
            av_buffer_create(data, text.length + AV_INPUT_BUFFER_PADDING_SIZE, NULL, NULL, 0);
        packet->data = data;
        packet->size = (int)text.length;
        if (!packet->buf) {
            av_free(data);
            packet->data = NULL;
            packet->size = 0;
            code = sl_fail(why, SL_ENOMEM, "no memory for a cue");
        }
    }
    sl_buf_fini(&text);
    return code;
}

static int packet_take(struct reader *r, AVCodecContext *decoder, AVPacket *packet,
                       AVRational time_base, struct sl_failure *why)
{
    if (packet->pts == AV_NOPTS_VALUE || packet->size == 0 || (packet->flags & AV_PKT_FLAG_DISCARD))
        return SL_OK;
    if (packet->size > PACKET_BYTES_MAX)
        return sl_fail(why, SL_ETOOBIG, "%s has a packet of %d bytes; %d are the most", r->what,
                       packet->size, PACKET_BYTES_MAX);
    int code = packet_utf8(r, packet, why);
    if (code != SL_OK)
        return code;
    int64_t start_us = av_rescale_q(packet->pts, time_base, microseconds) - r->zero_us;
    int64_t end_us = start_us + av_rescale_q(packet->duration, time_base, microseconds);
    AVSubtitle subtitle = {0};
    int found = 0;
    int got = avcodec_decode_subtitle2(decoder, &subtitle, &found, packet);
    if (got == AVERROR(ENOMEM))
        return sl_fail(why, SL_ENOMEM, "no memory to decode a cue");
    /* A cue that cannot be read takes no other with it. */
    if (got < 0 || !found)
        return SL_OK;
    int64_t start_ms = av_rescale_q(start_us, microseconds, milliseconds);
    int64_t end_ms = packet->duration > 0 ? av_rescale_q(end_us, microseconds, milliseconds)
                     : subtitle.end_display_time && subtitle.end_display_time != UINT32_MAX
                         ? start_ms + subtitle.end_display_time
                         : MS_OF_UNKNOWN_END;
    code = event_take(r, &subtitle, start_ms, end_ms, why);
    avsubtitle_free(&subtitle);
    return code;
}

/* ---- on the time line ---- */

static int cue_compare(const void *a, const void *b)
{
    const struct text_cue *x = a, *y = b;
    if (x->start_ms != y->start_ms)
        return x->start_ms < y->start_ms ? -1 : 1;
    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    int order = strcmp(x->text, y->text);
    return order ? order : strcmp(x->settings, y->settings);
}

static void ends_settle(struct reader *r)
{
    int64_t next_ms = r->end_ms;
    for (size_t i = r->count; i-- > 0;) {
        struct text_cue *cue = &r->cues[i];
        if (cue->end_ms == MS_OF_UNKNOWN_END)
            cue->end_ms =
                next_ms - cue->start_ms < CUE_OPEN_MS ? next_ms : cue->start_ms + CUE_OPEN_MS;
        if (i > 0 && r->cues[i - 1].start_ms < cue->start_ms)
            next_ms = cue->start_ms;
    }
}

static void cues_cut(struct reader *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct text_cue cue = r->cues[i];
        if (cue.start_ms < 0)
            cue.start_ms = 0;
        if (cue.end_ms > r->end_ms)
            cue.end_ms = r->end_ms;
        if (cue.end_ms <= cue.start_ms)
            continue;
        r->cues[kept++] = cue;
    }
    r->count = kept;
}

static void twins_drop(struct reader *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++)
        if (kept == 0 || cue_compare(&r->cues[kept - 1], &r->cues[i]) != 0)
            r->cues[kept++] = r->cues[i];
    r->count = kept;
}

static int number_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A player lays out all cues of a moment at once. */
static int shown_judge(const struct reader *r, struct sl_failure *why)
{
    int64_t *ends = malloc((r->count + 1) * sizeof *ends);
    if (!ends)
        return sl_fail(why, SL_ENOMEM, "no memory for %zu cues", r->count);
    for (size_t i = 0; i < r->count; i++)
        ends[i] = r->cues[i].end_ms;
    qsort(ends, r->count, sizeof *ends, number_compare);
    size_t over = 0;
    int code = SL_OK;
    char at[32];
    for (size_t i = 0; i < r->count && code == SL_OK; i++) {
        while (ends[over] <= r->cues[i].start_ms)
            over++;
        if (i + 1 - over > TEXT_CUES_SHOWN_MAX)
            code = sl_fail(why, SL_ETOOBIG,
                           "%s shows more than %d cues at once at %s, as many as "
                           "are taken",
                           r->what, TEXT_CUES_SHOWN_MAX, clock_text(r->cues[i].start_ms, at));
    }
    free(ends);
    return code;
}

static int cues_settle(struct reader *r, struct sl_failure *why)
{
    if (r->count == 0)
        return SL_OK;
    qsort(r->cues, r->count, sizeof *r->cues, cue_compare);
    ends_settle(r);
    cues_cut(r);
    qsort(r->cues, r->count, sizeof *r->cues, cue_compare);
    twins_drop(r);
    return shown_judge(r, why);
}

/* ---- the whole ---- */

static int stream_find(struct reader *r, struct media_source *source, AVStream **out,
                       struct sl_failure *why)
{
    AVFormatContext *format = media_source_format(source);
    const struct plan_text *text = &r->job->text;
    if (text->stream_index < 0) {
        for (unsigned i = 0; i < format->nb_streams; i++)
            if (media_text_codec(format->streams[i]->codecpar->codec_id)) {
                *out = format->streams[i];
                return SL_OK;
            }
        return sl_fail(why, SL_EFORMAT, "%s has no cue that can be read", r->what);
    }
    if ((unsigned)text->stream_index >= format->nb_streams)
        return sl_fail(why, SL_ECHANGED, "the source has %u streams, stream %d was probed",
                       format->nb_streams, (int)text->stream_index);
    AVStream *stream = format->streams[text->stream_index];
    const char *codec = avcodec_get_name(stream->codecpar->codec_id);
    if (!media_text_codec(stream->codecpar->codec_id) || strcmp(codec, text->codec) != 0)
        return sl_fail(why, SL_ECHANGED, "stream %d is %s, but was %s when it was probed",
                       (int)text->stream_index, codec, text->codec);
    *out = stream;
    return SL_OK;
}

static int track_read(struct reader *r, struct media_source *source, struct sl_failure *why)
{
    AVStream *stream = NULL;
    AVCodecContext *decoder = NULL;
    AVPacket *packet = av_packet_alloc();
    int code = packet ? stream_find(r, source, &stream, why)
                      : sl_fail(why, SL_ENOMEM, "no memory for a packet");
    if (code == SL_OK)
        code = media_decoder_open(stream, &decoder, why);
    if (code == SL_OK) {
        media_source_only(source, stream->index);
        if (decoder->subtitle_header)
            media_ass_header(&r->ass, (const char *)decoder->subtitle_header,
                             (size_t)decoder->subtitle_header_size);
    }
    while (code == SL_OK) {
        int got = media_source_read(source, packet, why);
        if (got <= 0) {
            code = got;
            break;
        }
        if (packet->stream_index == stream->index)
            code = packet_take(r, decoder, packet, stream->time_base, why);
        av_packet_unref(packet);
    }
    avcodec_free_context(&decoder);
    av_packet_free(&packet);
    return code;
}

static int sidecar_open(const struct media_input *input, struct sl_buf *text,
                        struct media_source **out, struct sl_failure *why)
{
    struct sl_buf raw = {0};
    int code = whole_read(input, &raw, why);
    if (code == SL_OK)
        code = media_utf8_make(raw.data, raw.length, text, why);
    sl_buf_fini(&raw);
    if (code != SL_OK)
        return code;
    const char *kind = text->length ? kind_of(text) : NULL;
    if (!kind)
        return sl_fail(
            why, SL_EFORMAT,
            "the subtitle file is neither SRT, ASS nor WebVTT: no \"-->\", \"WEBVTT\" or "
            "\"[Script Info]\" stands in its first lines");
    struct media_input memory = {
        .fd = -1, .read = memory_read, .arg = text, .bytes = (int64_t)text->length};
    return media_source_open_as(&memory, kind, out, why);
}

int media_text_read(const struct media_input *input, const struct job_text *job,
                    struct sl_arena *arena, const struct media_progress *progress,
                    struct text_cue **out, size_t *out_count, struct sl_failure *why)
{
    if (job->boundary_count < 2 || job->timescale <= 0 || job->origin_time_base.num <= 0 ||
        job->origin_time_base.den <= 0)
        return sl_fail(why, SL_EINVAL, "the job names %d boundaries and no time scale",
                       (int)job->boundary_count);
    bool sidecar = job->text.stream_index < 0;
    struct reader r = {
        .job = job,
        .arena = arena,
        .end_ms = av_rescale_rnd(job->boundary_ticks[job->boundary_count - 1], 1000, job->timescale,
                                 AV_ROUND_DOWN),
    };
    if (sidecar)
        snprintf(r.what, sizeof r.what, "the subtitle file for %s", job->text.language);
    else
        snprintf(r.what, sizeof r.what, "subtitle stream %d", (int)job->text.stream_index);
    struct sl_buf text = {0};
    struct watched watched = {.input = *input, .progress = progress};
    struct media_input through = {
        .fd = -1, .read = watched_read, .arg = &watched, .bytes = input->bytes};
    struct media_source *source = NULL;
    if (!sidecar) {
        AVRational base = {job->origin_time_base.num, job->origin_time_base.den};
        r.zero_us = av_rescale_q(job->origin_pts, base, microseconds);
    }
    int code = sidecar ? sidecar_open(input, &text, &source, why)
                       : media_source_open(&through, &source, why);
    if (code == SL_OK)
        code = track_read(&r, source, why);
    if (code == SL_OK && sidecar && r.count == 0)
        code = sl_fail(why, SL_EFORMAT, "%s has no cue that can be read", r.what);
    if (code == SL_OK)
        code = cues_settle(&r, why);
    struct text_cue *kept = code == SL_OK ? sl_arena_array(arena, r.count + 1, sizeof *kept) : NULL;
    if (code == SL_OK && !kept)
        code = sl_fail(why, SL_ENOMEM, "no memory for %zu cues", r.count);
    if (code == SL_OK) {
        if (r.count)
            memcpy(kept, r.cues, r.count * sizeof *kept);
        *out = kept;
        *out_count = r.count;
    }
    media_source_close(&source);
    sl_buf_fini(&r.text);
    sl_buf_fini(&text);
    free(r.cues);
    return code;
}
