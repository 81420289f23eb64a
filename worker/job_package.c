#include <stdio.h>
#include <string.h>

#include "package/manifest.h"
#include "package/webvtt.h"
#include "wire/wire_codec.h"
#include "worker/jobs.h"

int job_playlist_name(const struct published_rendition *rendition, char out[JOB_NAME_BYTES],
                      struct sl_failure *why)
{
    const char *folder = rendition->audio ? "audio" : codec_word(rendition->codec);
    int n = snprintf(out, JOB_NAME_BYTES, "%s/%s/playlist.m3u8", folder, rendition->name);
    if (n < 0 || n >= JOB_NAME_BYTES)
        return sl_fail(why, SL_ELIMIT, "the name of rendition %s is too long", rendition->name);
    return SL_OK;
}

int job_text_playlist_name(const struct published_text *text, char out[JOB_NAME_BYTES],
                           struct sl_failure *why)
{
    int n = snprintf(out, JOB_NAME_BYTES, "subtitles/%s/playlist.m3u8", text->name);
    if (n < 0 || n >= JOB_NAME_BYTES)
        return sl_fail(why, SL_ELIMIT, "the name of track %s is too long", text->name);
    return SL_OK;
}

static int text_playlists_write(struct worker_run *run, struct published_set *set,
                                struct sl_buf *text, struct sl_failure *why)
{
    int code = SL_OK;
    for (int32_t i = 0; code == SL_OK && i < set->text_count; i++) {
        struct published_text *track = &set->texts[i];
        char name[JOB_NAME_BYTES];
        int32_t output;
        code = job_text_playlist_name(track, name, why);
        if (code == SL_OK && run_output_key(name, run->job.token, track->playlist_key) != SL_OK)
            code = sl_fail(why, SL_ELIMIT, "the name of track %s is too long", track->name);
        sl_buf_reset(text);
        if (code == SL_OK)
            code = manifest_hls_text(set, i, track->playlist_key, text, why);
        if (code == SL_OK)
            code = run_output(run, name, text->data, text->length, &output, why);
    }
    return code;
}

/* The master names the media playlists by the keys that they will get. */
static int playlists_write(struct worker_run *run, struct published_set *set, struct sl_buf *text,
                           struct sl_failure *why)
{
    int code = SL_OK;
    for (int32_t i = 0; code == SL_OK && i < set->rendition_count; i++) {
        struct published_rendition *rendition = &set->renditions[i];
        char name[JOB_NAME_BYTES];
        int32_t output;
        code = job_playlist_name(rendition, name, why);
        if (code == SL_OK && run_output_key(name, run->job.token, rendition->playlist_key) != SL_OK)
            code = sl_fail(why, SL_ELIMIT, "the name of rendition %s is too long", rendition->name);
        sl_buf_reset(text);
        if (code == SL_OK)
            code = manifest_hls_media(set, i, rendition->playlist_key, text, why);
        if (code == SL_OK)
            code = run_output(run, name, text->data, text->length, &output, why);
        run_progress(run, i + 1, set->rendition_count + 2);
    }
    return code;
}

int job_package(struct worker_run *run, struct sl_failure *why)
{
    struct report_package *report = &run->report.package;
    report->master_output = report->mpd_output = report->chapters_output = -1;
    struct sl_buf text = {0};
    struct published_set set;
    int code = run_input_whole(run, 0, &text, why);
    run_first_work(run);
    if (code == SL_OK)
        code = wire_published_decode(text.data, text.length, &run->arena, &set, why);
    if (code == SL_OK)
        code = playlists_write(run, &set, &text, why);
    if (code == SL_OK)
        code = text_playlists_write(run, &set, &text, why);
    sl_buf_reset(&text);
    if (code == SL_OK && set.chapter_count > 0)
        code = webvtt_chapters(set.chapters, set.chapter_count, &text, why);
    if (code == SL_OK && set.chapter_count > 0)
        code =
            run_output(run, "chapters.vtt", text.data, text.length, &report->chapters_output, why);
    sl_buf_reset(&text);
    if (code == SL_OK)
        code = manifest_hls_master(&set, &text, why);
    if (code == SL_OK)
        code = run_output(run, "master.m3u8", text.data, text.length, &report->master_output, why);
    sl_buf_reset(&text);
    if (code == SL_OK)
        code = manifest_dash(&set, &text, why);
    if (code == SL_OK)
        code = run_output(run, "manifest.mpd", text.data, text.length, &report->mpd_output, why);
    sl_buf_fini(&text);
    return code;
}
