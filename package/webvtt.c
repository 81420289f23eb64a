#include "package/webvtt.h"

#include <inttypes.h>

void webvtt_time(struct sl_buf *out, int64_t ms)
{
    sl_buf_printf(out, "%02" PRId64 ":%02d:%02d.%03d", ms / 3600000, (int)(ms / 60000 % 60),
                  (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static void span_put(struct sl_buf *out, int64_t start_ms, int64_t end_ms)
{
    webvtt_time(out, start_ms);
    sl_buf_text(out, " --> ");
    webvtt_time(out, end_ms);
}

static void cue_put(struct sl_buf *out, const struct text_cue *cue, size_t number)
{
    sl_buf_printf(out, "%zu\n", number + 1);
    span_put(out, cue->start_ms, cue->end_ms);
    if (cue->settings[0]) {
        sl_buf_text(out, " ");
        sl_buf_text(out, cue->settings);
    }
    sl_buf_text(out, "\n");
    sl_buf_text(out, cue->text);
    sl_buf_text(out, "\n\n");
}

static int done(const struct sl_buf *out, struct sl_failure *why)
{
    return out->failed ? sl_fail(why, SL_ENOMEM, "no memory for a WebVTT file") : SL_OK;
}

void webvtt_head(struct sl_buf *out)
{
    sl_buf_text(out, "WEBVTT\n\n");
}

int webvtt_whole(const struct text_cue *cues, size_t count, struct sl_buf *out,
                 struct sl_failure *why)
{
    webvtt_head(out);
    for (size_t i = 0; i < count; i++)
        cue_put(out, &cues[i], i);
    return done(out, why);
}

int webvtt_segment(const struct text_cue *cues, size_t count, int64_t start_ms, int64_t end_ms,
                   size_t *first, int32_t *out_started, struct sl_buf *out, struct sl_failure *why)
{
    sl_buf_text(out, "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n");
    *out_started = 0;
    while (*first < count && cues[*first].end_ms <= start_ms)
        (*first)++;
    for (size_t i = *first; i < count && cues[i].start_ms < end_ms; i++) {
        if (cues[i].end_ms <= start_ms)
            continue;
        cue_put(out, &cues[i], i);
        *out_started += cues[i].start_ms >= start_ms;
    }
    return done(out, why);
}

/* Titles are text, not markup. */
static void title_put(struct sl_buf *out, const char *title)
{
    for (const char *c = title; *c; c++) {
        if (*c == '&')
            sl_buf_text(out, "&amp;");
        else if (*c == '<')
            sl_buf_text(out, "&lt;");
        else if (*c == '>')
            sl_buf_text(out, "&gt;");
        else
            sl_buf_append(out, (unsigned char)*c < 0x20 ? "_" : c, 1);
    }
}

int webvtt_chapters(const struct media_chapter *chapters, int32_t count, struct sl_buf *out,
                    struct sl_failure *why)
{
    webvtt_head(out);
    for (int32_t i = 0; i < count; i++) {
        sl_buf_printf(out, "%d\n", i + 1);
        span_put(out, chapters[i].start_ns / 1000000, (chapters[i].end_ns + 999999) / 1000000);
        sl_buf_text(out, "\n");
        if (chapters[i].title[0])
            title_put(out, chapters[i].title);
        else
            sl_buf_printf(out, "Chapter %d", i + 1);
        sl_buf_text(out, "\n\n");
    }
    return done(out, why);
}

void webvtt_place(struct sl_buf *out, int64_t start_ms, int64_t end_ms, const char *uri, int32_t x,
                  int32_t y, int32_t width, int32_t height)
{
    span_put(out, start_ms, end_ms);
    sl_buf_printf(out, "\n%s#xywh=%d,%d,%d,%d\n\n", uri, x, y, width, height);
}
