/* Whole sets on disk, read through HLS and through DASH by ffprobe: a reader that shares nothing with the writers but
 * the formats. */
#include <inttypes.h>
#include <libavformat/version.h>
#include <libavutil/log.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "package/manifest.h"
#include "package/manifest_read.h"
#include "tests/package/set.h"

static const int32_t starts[] = {0, 36, 60, 61, 110};

#define FRAMES 150

struct published {
    char folder[64];
    struct published_set set;
    struct published_rendition renditions[3];
    struct track tracks[3];
};

static void file_put(const struct published *p, const char *key, const void *data, size_t bytes)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", p->folder, key);
    for (char *c = path + strlen(p->folder) + 1; *c; c++)
        if (*c == '/') {
            *c = '\0';
            mkdir(path, 0700);
            *c = '/';
        }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void rendition_put(struct published *p, int32_t index, const char *where)
{
    char folder[32];
    snprintf(folder, sizeof folder, "%s", where);
    struct published_rendition *r = &p->renditions[index];
    struct track *t = &p->tracks[index];
    snprintf(r->name, sizeof r->name, "%s", strrchr(folder, '/') + 1);
    memcpy(r->codecs, t->codecs, sizeof r->codecs);
    snprintf(r->init_key, sizeof r->init_key, "%s/init.t5.mp4", folder);
    snprintf(r->playlist_key, sizeof r->playlist_key, "%s/playlist.t9.m3u8", folder);
    r->timescale = t->timescale;
    r->init_bytes = (int64_t)t->init.length;
    r->segments = t->published;
    r->segment_count = t->count;
    file_put(p, r->init_key, t->init.data, t->init.length);
    for (int32_t i = 0; i < t->count; i++) {
        snprintf(t->published[i].key, JOB_NAME_BYTES, "%s/%06d.t%d.m4s", folder, i, 57 + i);
        file_put(p, t->published[i].key, t->segments[i].data, t->segments[i].length);
        /* As the daemon names it when it publishes. */
        char plain[JOB_NAME_BYTES];
        snprintf(plain, sizeof plain, "%s/%06d.m4s", folder, i);
        file_put(p, plain, t->segments[i].data, t->segments[i].length);
    }
}

static void publish(struct published *p, const struct clip *clip, int32_t timescale,
                    int32_t frame_ticks)
{
    *p = (struct published){0};
    snprintf(p->folder, sizeof p->folder, "/tmp/sluice-players-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    static const int32_t sizes[][2] = {{256, 144}, {192, 112}};
    static const char *const folders[] = {"h264/144p", "h264/112p"};
    for (int32_t i = 0; i < 2; i++) {
        track_video(clip, timescale, sizes[i][0], sizes[i][1], starts, 5, 1u << 1 | 1u << 3,
                    &p->tracks[i]);
        p->renditions[i].width = sizes[i][0];
        p->renditions[i].height = sizes[i][1];
        rendition_put(p, i, folders[i]);
    }
    track_audio(6, 48000, 96000, &p->tracks[2]);
    p->renditions[2].audio = true;
    p->renditions[2].channels = 2;
    snprintf(p->renditions[2].group, sizeof p->renditions[2].group, "aac-128");
    snprintf(p->renditions[2].label, sizeof p->renditions[2].label, "Audio");
    p->renditions[2].sample_rate_hz = 48000;
    rendition_put(p, 2, "audio/aac-128");
    p->set = (struct published_set){.video = "v1",
                                    .frame_rate = {timescale, frame_ticks},
                                    .renditions = p->renditions,
                                    .rendition_count = 3};
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    for (int32_t i = 0; i < 3; i++) {
        const char *key = p->renditions[i].playlist_key;
        assert_int_equal(manifest_hls_media(&p->set, i, key, &out, &why), SL_OK);
        assert_int_equal(manifest_hls_check(&p->set, i, key, (char *)out.data, out.length, &why),
                         SL_OK);
        file_put(p, key, out.data, out.length);
        sl_buf_reset(&out);
    }
    assert_int_equal(manifest_hls_master(&p->set, &out, &why), SL_OK);
    file_put(p, "master.m3u8", out.data, out.length);
    sl_buf_reset(&out);
    assert_int_equal(manifest_dash(&p->set, &out, &why), SL_OK);
    file_put(p, "manifest.mpd", out.data, out.length);
    sl_buf_fini(&out);
}

static void unpublish(struct published *p)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", p->folder);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < 3; i++)
        track_free(&p->tracks[i]);
}

/* Presentation times, in seconds and ascending, of what ffprobe decodes of one stream. */
static int32_t probe(const struct published *p, const char *manifest, const char *stream,
                     double *times, int32_t max)
{
    char command[512];
    snprintf(command, sizeof command,
             "ffprobe -v error -allowed_extensions ALL -select_streams %s -show_entries "
             "frame=pts_time -of csv=p=0 '%s/%s' </dev/null 2>'%s/log'",
             stream, p->folder, manifest, p->folder);
    if (strstr(manifest, ".mpd"))
        snprintf(command, sizeof command,
                 "ffprobe -v error -select_streams %s -show_entries frame=pts_time -of csv=p=0 "
                 "'%s/%s' </dev/null 2>'%s/log'",
                 stream, p->folder, manifest, p->folder);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    char line[256];
    int32_t count = 0;
    while (fgets(line, sizeof line, pipe)) {
        char *end;
        double at = strtod(line, &end);
        if (end == line)
            continue;
        assert_true(count < max);
        times[count++] = at;
    }
    assert_int_equal(pclose(pipe), 0);
    return count;
}

static bool have_ffprobe(void)
{
    return system("command -v ffprobe >/dev/null 2>&1") == 0;
}

static void need_tools(void)
{
    if (!set_has_x264() || !have_ffprobe()) {
        print_message("ffprobe or libx264 is not installed\n");
        skip();
    }
}

static void video_check(const struct published *p, const char *manifest, const char *stream,
                        const struct clip *clip, int32_t timescale)
{
    double times[FRAMES + 50];
    int32_t count = probe(p, manifest, stream, times, FRAMES + 50);
    if (count != clip->frames)
        fail_msg("%s %s has %d frames of %d", manifest, stream, count, clip->frames);
    for (int32_t i = 0; i < count; i++) {
        double want = (double)clip->pts[i] / timescale;
        if (times[i] < want - 2e-6 || times[i] > want + 2e-6)
            fail_msg("%s %s: frame %d is at %.6f, not at %.6f", manifest, stream, i, times[i],
                     want);
    }
}

static void audio_check(const struct published *p, const char *manifest)
{
    double times[400];
    int32_t count = probe(p, manifest, "a:0", times, 400);
    /* libavformat 7.1's DASH reader takes the first frame of each segment for priming, of its own sets too. */
    int32_t lost = 0;
    for (int32_t i = 1; i < count; i++) {
        double step = times[i] - times[i - 1] - 1024.0 / 48000;
        bool seam = LIBAVFORMAT_VERSION_MAJOR >= 61 && strstr(manifest, ".mpd") &&
                    fmod(times[i - 1], 2) > 1.95;
        if (seam && step > 0.021) {
            step -= 1024.0 / 48000;
            lost++;
        }
        if (step < -2e-6 || step > 2e-6)
            fail_msg("%s: audio frame %d comes %.6f s after the one before", manifest, i,
                     times[i] - times[i - 1]);
    }
    assert_in_range(lost, 0, 2);
    assert_in_range(count + lost, 281, 284);
    /* The first is the priming, whether the reader shows it or not. */
    assert_true(times[0] > -0.0215 && times[0] < 0.0001);
}

static void set_check(struct clip *clip, int32_t timescale, int32_t frame_ticks)
{
    struct published p;
    publish(&p, clip, timescale, frame_ticks);
    video_check(&p, p.renditions[0].playlist_key, "v:0", clip, timescale);
    video_check(&p, p.renditions[1].playlist_key, "v:0", clip, timescale);
    video_check(&p, "master.m3u8", "v:0", clip, timescale);
    video_check(&p, "master.m3u8", "v:1", clip, timescale);
    audio_check(&p, "master.m3u8");
    video_check(&p, "manifest.mpd", "v:0", clip, timescale);
    video_check(&p, "manifest.mpd", "v:1", clip, timescale);
    audio_check(&p, "manifest.mpd");
    unpublish(&p);
}

static void test_a_set_of_23_976_reads_through_hls_and_dash(void **state)
{
    (void)state;
    need_tools();
    struct clip clip;
    clip_init(&clip, CLIP_CUTS, 256, 144, FRAMES, 1001);
    set_check(&clip, 24000, 1001);
}

static void test_a_set_of_a_variable_rate_reads_through_hls_and_dash(void **state)
{
    (void)state;
    need_tools();
    struct clip clip;
    clip_init(&clip, CLIP_SMOOTH, 256, 144, FRAMES, 3000);
    static const int32_t steps[] = {3000, 3000, 1500, 9000, 3000, 45000, 100, 3000};
    int64_t at = 0;
    for (int32_t i = 0; i < FRAMES; i++) {
        clip.pts[i] = at;
        at += steps[(i * 5 + i / 8) % 8];
    }
    set_check(&clip, 90000, 3000);
}

int main(void)
{
    av_log_set_level(AV_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_of_23_976_reads_through_hls_and_dash),
        cmocka_unit_test(test_a_set_of_a_variable_rate_reads_through_hls_and_dash),
    };
    return cmocka_run_group_tests_name("players", tests, NULL, NULL);
}
