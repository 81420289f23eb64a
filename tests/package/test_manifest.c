#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "package/manifest.h"
#include "package/manifest_common.h"
#include "package/manifest_read.h"

/* Two rungs and audio, three segments: 144, 144 and 24 frames of 23.976. */
struct small {
    struct published_set set;
    struct published_rendition renditions[3];
    struct published_segment segments[3][3];
};

static void small_make(struct small *s)
{
    *s = (struct small){0};
    static const int64_t ends[2][4] = {{0, 144144, 288288, 312312},
                                       {-1024, 287744, 576512, 624640}};
    static const int64_t bytes[3][3] = {
        {1500000, 750000, 400000}, {600000, 300000, 100000}, {96000, 96000, 16000}};
    static const char *const folders[] = {"h264/720p", "h264/360p", "audio/aac-128"};
    for (int r = 0; r < 3; r++) {
        struct published_rendition *out = &s->renditions[r];
        out->audio = r == 2;
        out->timescale = r == 2 ? 48000 : 24000;
        out->width = r == 0 ? 1280 : r == 1 ? 640 : 0;
        out->height = r == 0 ? 720 : r == 1 ? 360 : 0;
        out->channels = 2;
        out->sample_rate_hz = 48000;
        snprintf(out->name, sizeof out->name, "%s", strrchr(folders[r], '/') + 1);
        snprintf(out->codecs, sizeof out->codecs, "%s",
                 r == 2   ? "mp4a.40.2"
                 : r == 0 ? "avc1.64001F"
                          : "avc1.64001E");
        snprintf(out->language, sizeof out->language, "%s", r == 2 ? "eng" : "");
        snprintf(out->group, sizeof out->group, "%s", r == 2 ? "aac-128" : "");
        snprintf(out->label, sizeof out->label, "%s", r == 2 ? "English" : "");
        snprintf(out->init_key, sizeof out->init_key, "%s/init.t5.mp4", folders[r]);
        snprintf(out->playlist_key, sizeof out->playlist_key, "%s/playlist.t9.m3u8", folders[r]);
        out->segments = s->segments[r];
        out->segment_count = 3;
        for (int i = 0; i < 3; i++) {
            struct published_segment *seg = &s->segments[r][i];
            snprintf(seg->key, sizeof seg->key, "%s/%06d.t%d.m4s", folders[r], i, 57 + i);
            seg->bytes = bytes[r][i];
            seg->start_ticks = ends[r == 2][i];
            seg->end_ticks = ends[r == 2][i + 1];
        }
    }
    s->set = (struct published_set){.video = "v0000000000001",
                                    .frame_rate = {24000, 1001},
                                    .duration_ticks = 312312,
                                    .timescale = 24000,
                                    .renditions = s->renditions,
                                    .rendition_count = 3};
}

static void same(const struct sl_buf *got, const char *want)
{
    assert_false(got->failed);
    assert_string_equal((const char *)got->data, want);
}

static void test_media_playlist_is_exactly_this(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_hls_media(&s.set, 0, s.renditions[0].playlist_key, &out, &why),
                     SL_OK);
    same(&out, "#EXTM3U\n"
               "#EXT-X-VERSION:7\n"
               "#EXT-X-TARGETDURATION:6\n"
               "#EXT-X-MEDIA-SEQUENCE:0\n"
               "#EXT-X-PLAYLIST-TYPE:VOD\n"
               "#EXT-X-INDEPENDENT-SEGMENTS\n"
               "#EXT-X-MAP:URI=\"init.t5.mp4\"\n"
               "#EXTINF:6.006000,\n"
               "000000.t57.m4s\n"
               "#EXTINF:6.006000,\n"
               "000001.t58.m4s\n"
               "#EXTINF:1.001000,\n"
               "000002.t59.m4s\n"
               "#EXT-X-ENDLIST\n");
    sl_buf_fini(&out);
}

/* A growing playlist, put together piece by piece, ends as the whole one; only its head tells it from the final one. */
static void test_event_playlist_grows_into_the_whole(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    struct sl_buf parts = {0}, whole = {0}, final = {0};
    struct sl_failure why = {0};
    char key[JOB_NAME_BYTES];
    struct published_rendition piece = s.renditions[0];
    assert_int_equal(manifest_hls_event_key(&piece, key), SL_OK);
    assert_string_equal(key, "h264/720p/playlist.m3u8");
    manifest_hls_head(&piece, key, manifest_target_s(&s.set), &parts);
    piece.segment_count = 1;
    manifest_hls_lines(&piece, key, &parts);
    piece.segments++;
    piece.segment_count = s.renditions[0].segment_count - 1;
    manifest_hls_lines(&piece, key, &parts);
    sl_buf_text(&parts, MANIFEST_HLS_END);
    assert_int_equal(manifest_hls_event(&s.set, 0, key, &whole, &why), SL_OK);
    same(&parts, (const char *)whole.data);
    assert_non_null(strstr((const char *)whole.data,
                           "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-START:TIME-OFFSET=0\n"));
    assert_int_equal(manifest_hls_media(&s.set, 0, key, &final, &why), SL_OK);
    assert_string_equal(strstr((const char *) final.data, "#EXT-X-INDEPENDENT"),
                        strstr((const char *)whole.data, "#EXT-X-INDEPENDENT"));
    sl_buf_fini(&parts);
    sl_buf_fini(&whole);
    sl_buf_fini(&final);
}

static void test_declared_rates_stand_in_for_measured_ones(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    int64_t peak, average;
    s.renditions[0].maxrate_kbps = 2800;
    s.renditions[0].declared_bps = 3640000;
    manifest_bandwidth(&s.renditions[0], &peak, &average);
    assert_int_equal(peak, 3640000);
    assert_int_equal(average, 2800000);
}

static void test_master_playlist_is_exactly_this(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
    /* 720p: 1,500,000 bytes in 6.006 s; 2,650,000 in 13.013 s. Audio: 96,000 in 5.994667 s, its priming not shown;
     * 208,000 in 13.013333 s. */
    same(&out,
         "#EXTM3U\n"
         "#EXT-X-VERSION:7\n"
         "#EXT-X-INDEPENDENT-SEGMENTS\n"
         "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac-128\",NAME=\"English\",LANGUAGE=\"en\","
         "DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/aac-128/playlist.t9.m3u8\"\n"
         "#EXT-X-STREAM-INF:BANDWIDTH=2126116,AVERAGE-BANDWIDTH=1757008,"
         "CODECS=\"avc1.64001F,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=23.976,VIDEO-RANGE=SDR,"
         "AUDIO=\"aac-128\"\n"
         "h264/720p/playlist.t9.m3u8\n"
         "#EXT-X-STREAM-INF:BANDWIDTH=927315,AVERAGE-BANDWIDTH=742637,"
         "CODECS=\"avc1.64001E,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=23.976,VIDEO-RANGE=SDR,"
         "AUDIO=\"aac-128\"\n"
         "h264/360p/playlist.t9.m3u8\n");
    sl_buf_fini(&out);
}

static void test_mpd_is_exactly_this(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    s.set.renditions = s.renditions + 1; /* one rung and audio */
    s.set.rendition_count = 2;
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_dash(&s.set, &out, &why), SL_OK);
    same(&out,
         "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
         "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
         "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" "
         "mediaPresentationDuration=\"PT13.014S\" maxSegmentDuration=\"PT6.016S\" "
         "minBufferTime=\"PT6.016S\">\n"
         "  <Period id=\"0\" start=\"PT0S\">\n"
         "    <AdaptationSet id=\"0\" contentType=\"video\" mimeType=\"video/mp4\" "
         "segmentAlignment=\"true\" startWithSAP=\"1\">\n"
         "      <Representation id=\"h264-360p\" bandwidth=\"799201\" codecs=\"avc1.64001E\" "
         "width=\"640\" height=\"360\" sar=\"1:1\" frameRate=\"24000/1001\">\n"
         "        <SegmentTemplate timescale=\"24000\" presentationTimeOffset=\"0\" "
         "startNumber=\"0\" initialization=\"h264/360p/init.t5.mp4\" "
         "media=\"h264/360p/$Number%06d$.m4s\">\n"
         "          <SegmentTimeline>\n"
         "            <S t=\"0\" d=\"144144\" r=\"1\"/>\n"
         "            <S t=\"288288\" d=\"24024\"/>\n"
         "          </SegmentTimeline>\n"
         "        </SegmentTemplate>\n"
         "      </Representation>\n"
         "    </AdaptationSet>\n"
         "    <AdaptationSet id=\"1\" contentType=\"audio\" mimeType=\"audio/mp4\" "
         "segmentAlignment=\"true\" startWithSAP=\"1\" lang=\"en\">\n"
         "      <Label>English</Label>\n"
         "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n"
         "      <Representation id=\"aac-aac-128\" bandwidth=\"128114\" codecs=\"mp4a.40.2\" "
         "audioSamplingRate=\"48000\">\n"
         "        <AudioChannelConfiguration "
         "schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"2\"/>\n"
         "        <SegmentTemplate timescale=\"48000\" presentationTimeOffset=\"0\" "
         "startNumber=\"0\" initialization=\"audio/aac-128/init.t5.mp4\" "
         "media=\"audio/aac-128/$Number%06d$.m4s\">\n"
         "          <SegmentTimeline>\n"
         "            <S t=\"0\" d=\"287744\"/>\n"
         "            <S t=\"287744\" d=\"288768\"/>\n"
         "            <S t=\"576512\" d=\"48128\"/>\n"
         "          </SegmentTimeline>\n"
         "        </SegmentTemplate>\n"
         "      </Representation>\n"
         "    </AdaptationSet>\n"
         "  </Period>\n"
         "</MPD>\n");
    sl_buf_fini(&out);
}

static void test_hostile_names_stay_inside_their_quotes(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    for (int r = 0; r < 3; r++) {
        snprintf(s.renditions[r].name, sizeof s.renditions[r].name, "a\"b\n<&%d", r);
        snprintf(s.renditions[r].group, sizeof s.renditions[r].group, "a\"b\n<&%d", r);
        snprintf(s.renditions[r].label, sizeof s.renditions[r].label, "l\"b\n</Label><x>");
        snprintf(s.renditions[r].playlist_key, JOB_NAME_BYTES, "x %d/p\"l\n#&<>ü.m3u8", r);
        snprintf(s.renditions[r].init_key, JOB_NAME_BYTES, "x %d/i\"<&%%.mp4", r);
        snprintf(s.renditions[r].language, MEDIA_WORD_BYTES, "\"><x>");
        for (int i = 0; i < 3; i++)
            snprintf(s.segments[r][i].key, JOB_NAME_BYTES, "y%d?$#\"'</%06d.t7.m4s", r, i);
    }
    struct sl_buf master = {0}, mpd = {0}, media = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_hls_master(&s.set, &master, &why), SL_OK);
    assert_int_equal(manifest_dash(&s.set, &mpd, &why), SL_OK);
    assert_int_equal(manifest_hls_media(&s.set, 0, s.renditions[0].playlist_key, &media, &why),
                     SL_OK);
    assert_non_null(strstr((char *)master.data, "GROUP-ID=\"a_b_<&2\",NAME=\"l_b_</Label><x>\""));
    assert_non_null(strstr((char *)master.data, "\nx%200/p%22l%0A%23%26%3C%3E%C3%BC.m3u8\n"));
    assert_non_null(strstr((char *)media.data, "URI=\"i%22%3C%26%25.mp4\""));
    assert_non_null(strstr((char *)media.data, "\n../y0%3F%24%23%22%27%3C/000000.t7.m4s\n"));
    assert_non_null(strstr((char *)mpd.data, "id=\"h264-a_b___0\""));
    assert_non_null(strstr((char *)mpd.data, "lang=\"und\""));
    assert_null(strstr((char *)mpd.data, "<x>"));
    /* And the reader gets the same keys back. */
    if (manifest_master_check(&s.set, (char *)master.data, master.length, &why) < 0 ||
        manifest_dash_check(&s.set, (char *)mpd.data, mpd.length, &why) < 0 ||
        manifest_hls_check(&s.set, 0, s.renditions[0].playlist_key, (char *)media.data,
                           media.length, &why) < 0)
        fail_msg("%s", why.message);
    sl_buf_fini(&master);
    sl_buf_fini(&mpd);
    sl_buf_fini(&media);
}

static void refused(struct small *s, const char *says)
{
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_dash(&s->set, &out, &why), SL_EMISMATCH);
    if (!strstr(why.message, says))
        fail_msg("\"%s\" does not tell about \"%s\"", why.message, says);
    assert_int_equal(manifest_hls_media(&s->set, 0, "p", &out, &why), SL_EMISMATCH);
    assert_int_equal(manifest_hls_master(&s->set, &out, &why), SL_EMISMATCH);
    assert_int_equal(out.length, 0);
    sl_buf_fini(&out);
    small_make(s);
}

static void test_sets_that_no_manifest_can_describe_are_refused(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    s.set.rendition_count = 0;
    refused(&s, "no renditions");
    s.segments[0][1].start_ticks++;
    refused(&s, "segment 1 of 720p starts at 144145");
    s.segments[1][1].end_ticks++;
    s.segments[1][2].start_ticks++;
    refused(&s, "segment 2 of 360p starts elsewhere");
    s.renditions[1].segment_count = 2;
    refused(&s, "has 2 segments");
    s.renditions[2].segment_count = 0;
    refused(&s, "lacks segments");
    s.renditions[0].init_key[0] = '\0';
    refused(&s, "lacks an init segment");
    s.renditions[0].codecs[0] = '\0';
    refused(&s, "lacks a codecs string");
    s.segments[0][2].end_ticks = s.segments[0][2].start_ticks;
    refused(&s, "segment 2 of 720p lasts");
    s.segments[0][2].bytes = 0;
    refused(&s, "has no object");
    s.renditions[0].width = 0;
    refused(&s, "no size");
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    s.renditions[1].playlist_key[0] = '\0';
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_EMISMATCH);
    assert_non_null(strstr(why.message, "no playlist"));
    static const char *const keys[] = {"h264/720p/000002.t58.m4s", "h264/720p/1.t58.m4s",
                                       "h264/360p/000001.t58.m4s", "h264/720p/000001.m4s",
                                       "h264/720p/000001.t58.mp4"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        small_make(&s);
        snprintf(s.segments[0][1].key, JOB_NAME_BYTES, "%s", keys[i]);
        assert_int_equal(manifest_dash(&s.set, &out, &why), SL_EMISMATCH);
        assert_non_null(strstr(why.message, "is not named by its number"));
    }
    sl_buf_fini(&out);
}

static void test_video_without_audio_and_audio_without_video(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    s.set.rendition_count = 2;
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
    assert_null(strstr((char *)out.data, "AUDIO"));
    assert_non_null(strstr((char *)out.data, "CODECS=\"avc1.64001F\""));
    sl_buf_reset(&out);
    s.set.renditions = s.renditions + 2;
    s.set.rendition_count = 1;
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
    assert_non_null(strstr((char *)out.data, "CODECS=\"mp4a.40.2\",AUDIO=\"aac-128\""));
    sl_buf_fini(&out);
}

/* English in stereo AAC, Opus and 5.1, German in stereo AAC and Opus, a commentary in English in AAC alone. */
static void test_groups_offer_every_track(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    static const struct {
        const char *name, *group, *label, *language;
        enum audio_codec codec;
        int32_t channels, track;
        enum audio_role role;
    } rows[] = {
        {"aac-128-eng", "aac-128", "English", "eng", AUDIO_AAC, 2, 0, AUDIO_ROLE_MAIN},
        {"aac-384-6ch-eng", "aac-384-6ch", "English", "eng", AUDIO_AAC, 6, 0, AUDIO_ROLE_MAIN},
        {"opus-96-eng", "opus-96", "English", "eng", AUDIO_OPUS, 2, 0, AUDIO_ROLE_MAIN},
        {"aac-128-deu", "aac-128", "German", "deu", AUDIO_AAC, 2, 1, AUDIO_ROLE_MAIN},
        {"opus-96-deu", "opus-96", "German", "deu", AUDIO_OPUS, 2, 1, AUDIO_ROLE_MAIN},
        {"aac-128-eng-3", "aac-128", "Director", "eng", AUDIO_AAC, 2, 2, AUDIO_ROLE_COMMENTARY},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    struct published_rendition all[2 + ROWS];
    memcpy(all, s.renditions, 2 * sizeof *all);
    for (int i = 0; i < ROWS; i++) {
        struct published_rendition *r = &all[2 + i];
        *r = s.renditions[2];
        snprintf(r->name, sizeof r->name, "%s", rows[i].name);
        snprintf(r->group, sizeof r->group, "%s", rows[i].group);
        snprintf(r->label, sizeof r->label, "%s", rows[i].label);
        snprintf(r->language, sizeof r->language, "%s", rows[i].language);
        snprintf(r->playlist_key, sizeof r->playlist_key, "audio/%s/p.m3u8", rows[i].name);
        snprintf(r->codecs, sizeof r->codecs, "%s",
                 rows[i].codec == AUDIO_OPUS ? "opus" : "mp4a.40.2");
        r->audio_codec = rows[i].codec;
        r->channels = rows[i].channels;
        r->track = rows[i].track;
        r->role = rows[i].role;
    }
    s.set.renditions = all;
    s.set.rendition_count = 2 + ROWS;
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
    const char *text = (const char *)out.data;
    static const char *const lines[] = {
        "GROUP-ID=\"aac-128\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="
        "\"2\","
        "URI=\"audio/aac-128-eng/p.m3u8\"\n",
        "GROUP-ID=\"aac-128\",NAME=\"German\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="
        "\"2\","
        "URI=\"audio/aac-128-deu/p.m3u8\"\n",
        "GROUP-ID=\"aac-128\",NAME=\"Director\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,",
        "GROUP-ID=\"aac-384-6ch\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,"
        "CHANNELS=\"6\",URI=\"audio/aac-384-6ch-eng/p.m3u8\"\n",
        /* What a group does not have of its own it borrows. */
        "GROUP-ID=\"aac-384-6ch\",NAME=\"German\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,"
        "CHANNELS=\"2\",URI=\"audio/aac-128-deu/p.m3u8\"\n",
        "GROUP-ID=\"opus-96\",NAME=\"German\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="
        "\"2\","
        "URI=\"audio/opus-96-deu/p.m3u8\"\n",
        "GROUP-ID=\"opus-96\",NAME=\"Director\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS="
        "\"2\","
        "URI=\"audio/aac-128-eng-3/p.m3u8\"\n",
        "CODECS=\"avc1.64001F,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=23.976,VIDEO-RANGE=SDR,"
        "AUDIO=\"aac-"
        "128\"\n",
        "CODECS=\"avc1.64001E,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=23.976,VIDEO-RANGE=SDR,"
        "AUDIO=\"aac-384-"
        "6ch\"\n",
        "CODECS=\"avc1.64001F,opus,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=23.976,VIDEO-RANGE="
        "SDR,"
        "AUDIO=\"opus-96\"\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("\"%s\" is not in\n%s", lines[i], text);
    /* The policy's first group comes first, and every picture goes with every group. */
    assert_true(strstr(text, "AUDIO=\"aac-128\"") < strstr(text, "AUDIO=\"aac-384-6ch\""));
    int variants = 0;
    for (const char *at = text; (at = strstr(at, "#EXT-X-STREAM-INF")); at++)
        variants++;
    assert_int_equal(variants, 2 * 3);
    if (manifest_master_check(&s.set, text, out.length, &why) < 0)
        fail_msg("%s", why.message);
    sl_buf_reset(&out);
    /* Sound alone: one variant for each group. */
    s.set.renditions = all + 2;
    s.set.rendition_count = ROWS;
    assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
    text = (const char *)out.data;
    assert_non_null(strstr(text, "CODECS=\"opus,mp4a.40.2\",AUDIO=\"opus-96\"\n"
                                 "audio/opus-96-eng/p.m3u8\n"));
    variants = 0;
    for (const char *at = text; (at = strstr(at, "#EXT-X-STREAM-INF")); at++)
        variants++;
    assert_int_equal(variants, 3);
    sl_buf_reset(&out);
    s.set.renditions = all;
    s.set.rendition_count = 2 + ROWS;
    assert_int_equal(manifest_dash(&s.set, &out, &why), SL_OK);
    text = (const char *)out.data;
    int sets = 0;
    for (const char *at = text; (at = strstr(at, "<AdaptationSet ")); at++)
        sets++;
    assert_int_equal(sets, 1 + ROWS);
    static const char *const roles[] = {
        "lang=\"de\">\n      <Label>German</Label>\n      <Role "
        "schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"dub\"/>",
        "<Label>Director</Label>\n      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" "
        "value=\"commentary\"/>",
    };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        assert_non_null(strstr(text, roles[i]));
    sl_buf_reset(&out);
    /* Two rates of one track are switched between. */
    all[3] = all[2];
    all[3].channels = 2;
    assert_int_equal(manifest_dash(&s.set, &out, &why), SL_OK);
    sets = 0;
    for (const char *at = (const char *)out.data; (at = strstr(at, "<AdaptationSet ")); at++)
        sets++;
    assert_int_equal(sets, ROWS);
    sl_buf_fini(&out);
}

static void test_a_short_last_segment_does_not_make_the_peak(void **state)
{
    (void)state;
    struct small s;
    small_make(&s);
    s.segments[0][2].bytes = 800000; /* in one second: 6.4 Mbit/s */
    int64_t peak, average;
    manifest_bandwidth(&s.renditions[0], &peak, &average);
    assert_int_equal(peak, 1500000LL * 8000000 / 6006000 + 1);
    assert_int_equal(average, 3050000LL * 8000000 / 13013000);
}

/* ---- long sets ---- */

static struct published_segment long_segments[6000];

static void long_make(struct published_set *set, struct published_rendition *r)
{
    *r = (struct published_rendition){.name = "720p",
                                      .codecs = "avc1.64001F",
                                      .width = 1280,
                                      .height = 720,
                                      .timescale = 90000,
                                      .init_key = "h264/720p/init.t5.mp4",
                                      .playlist_key = "h264/720p/playlist.t9.m3u8",
                                      .segments = long_segments,
                                      .segment_count = 6000};
    int64_t at = 0;
    for (int i = 0; i < 6000; i++) {
        struct published_segment *s = &long_segments[i];
        snprintf(s->key, sizeof s->key, "h264/720p/%06d.t%d.m4s", i, 57 + i / 3);
        s->bytes = 1000000 + i;
        s->start_ticks = at;
        /* Steps that are no whole microseconds: 6.000011… s and others. */
        at += 540001 + i % 7;
        s->end_ticks = at;
    }
    *set = (struct published_set){
        .video = "v1", .frame_rate = {30, 1}, .renditions = r, .rendition_count = 1};
}

static void test_ten_hours_do_not_drift(void **state)
{
    (void)state;
    struct published_set set;
    struct published_rendition r;
    long_make(&set, &r);
    struct sl_buf out = {0};
    struct sl_failure why = {0};
    assert_int_equal(manifest_hls_media(&set, 0, r.playlist_key, &out, &why), SL_OK);
    struct sl_arena arena = {0};
    struct manifest_playlist list;
    if (manifest_hls_read((char *)out.data, out.length, &arena, &list, &why) < 0)
        fail_msg("%s", why.message);
    assert_int_equal(list.count, 6000);
    assert_true(list.ended);
    int64_t end_us = (long_segments[5999].end_ticks * 1000000 + 45000) / 90000;
    assert_int_equal(list.total_us, end_us);
    if (manifest_hls_check(&set, 0, r.playlist_key, (char *)out.data, out.length, &why) < 0)
        fail_msg("%s", why.message);
    sl_arena_fini(&arena);
    sl_buf_reset(&out);
    assert_int_equal(manifest_dash(&set, &out, &why), SL_OK);
    if (manifest_dash_check(&set, (char *)out.data, out.length, &why) < 0)
        fail_msg("%s", why.message);
    sl_buf_fini(&out);
}

/* ---- the reader finds what is wrong ---- */

static void replace(struct sl_buf *text, const char *from, const char *to)
{
    char *at = strstr((char *)text->data, from);
    if (!at)
        fail_msg("\"%s\" is not in the manifest", from);
    struct sl_buf out = {0};
    sl_buf_append(&out, text->data, (size_t)(at - (char *)text->data));
    sl_buf_text(&out, to);
    sl_buf_text(&out, at + strlen(from));
    sl_buf_fini(text);
    *text = out;
}

static void test_changed_playlists_are_found(void **state)
{
    (void)state;
    static const char *const changes[][3] = {
        {"000001.t58.m4s", "000001.t99.m4s", "segment 1 of 720p"},
        {"#EXTINF:6.006000,\n000001.t58.m4s\n", "", "2 segments of 3"},
        {"#EXTINF:6.006000", "#EXTINF:6.006002", "ends at"},
        {"#EXTINF:1.001000", "#EXTINF:x.1", "line 12"},
        {"#EXTINF:1.001000,\n", "", "line 12"},
        {"init.t5.mp4", "init.t6.mp4", "begins with"},
        {"init.t5.mp4", "../../../init.t5.mp4", "begins with"},
        {"TARGETDURATION:6", "TARGETDURATION:5", "TARGETDURATION"},
        {"#EXT-X-ENDLIST\n", "", "no end"},
        {"#EXTM3U\n", "#EXTM3\n", "does not begin"},
        {"#EXT-X-MAP:URI=\"init.t5.mp4\"\n", "", "no init segment"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct small s;
        small_make(&s);
        struct sl_buf out = {0};
        struct sl_failure why = {0};
        const char *key = s.renditions[0].playlist_key;
        assert_int_equal(manifest_hls_media(&s.set, 0, key, &out, &why), SL_OK);
        assert_int_equal(manifest_hls_check(&s.set, 0, key, (char *)out.data, out.length, &why),
                         SL_OK);
        replace(&out, changes[i][0], changes[i][1]);
        assert_int_equal(manifest_hls_check(&s.set, 0, key, (char *)out.data, out.length, &why),
                         SL_EVERIFY);
        if (!strstr(why.message, changes[i][2]))
            fail_msg("\"%s\" does not tell about \"%s\"", why.message, changes[i][2]);
        sl_buf_fini(&out);
    }
}

static void test_changed_masters_and_mpds_are_found(void **state)
{
    (void)state;
    static const char *const masters[][2] = {
        {"h264/360p/playlist.t9.m3u8", "h264/360p/playlist.t8.m3u8"},
        {"RESOLUTION=640x360", "RESOLUTION=640x361"},
        {"avc1.64001F,", "avc1.4D001F,"},
        {"URI=\"audio/", "URI=\"other/"},
        {"BANDWIDTH=2126116", "BANDWIDTH=1"},
        {"AUDIO=\"aac-128\"", "AUDIO=\"aac-12\""},
        {"DEFAULT=YES", "DEFAULT=NO"},
        {"NAME=\"English\"", "NAME=\"\""},
        {"VIDEO-RANGE=SDR", "VIDEO-RANGE=PQ"},
        {",VIDEO-RANGE=SDR", ""},
    };
    static const char *const mpds[][2] = {
        {"$Number%06d$", "$Number%05d$"},
        {"$Number%06d$", "000000"},
        {"h264/720p/$Number", "h264/360p/$Number"},
        {"startNumber=\"0\"", "startNumber=\"1\""},
        {"<S t=\"288288\"", "<S t=\"288289\""},
        {" r=\"1\"", " r=\"2\""},
        {" r=\"1\"", ""},
        {"timescale=\"24000\"", "timescale=\"25000\""},
        {"initialization=\"h264/720p/init.t5.mp4\"", "initialization=\"h264/720p/init.t6.mp4\""},
        {"avc1.64001E", "avc1.64001D"},
        {"</MPD>\n", ""},
    };
    struct small s;
    struct sl_failure why = {0};
    for (size_t i = 0; i < sizeof masters / sizeof *masters; i++) {
        struct sl_buf out = {0};
        small_make(&s);
        assert_int_equal(manifest_hls_master(&s.set, &out, &why), SL_OK);
        assert_int_equal(manifest_master_check(&s.set, (char *)out.data, out.length, &why), SL_OK);
        replace(&out, masters[i][0], masters[i][1]);
        assert_int_equal(manifest_master_check(&s.set, (char *)out.data, out.length, &why),
                         SL_EVERIFY);
        sl_buf_fini(&out);
    }
    for (size_t i = 0; i < sizeof mpds / sizeof *mpds; i++) {
        struct sl_buf out = {0};
        small_make(&s);
        assert_int_equal(manifest_dash(&s.set, &out, &why), SL_OK);
        assert_int_equal(manifest_dash_check(&s.set, (char *)out.data, out.length, &why), SL_OK);
        replace(&out, mpds[i][0], mpds[i][1]);
        if (manifest_dash_check(&s.set, (char *)out.data, out.length, &why) != SL_EVERIFY)
            fail_msg("\"%s\" for \"%s\" was not seen", mpds[i][1], mpds[i][0]);
        sl_buf_fini(&out);
    }
}

/* The small set, and its pictures again as HDR10 in AV1 and as SDR in H.265. */
struct tiers {
    struct small small;
    struct published_set set;
    struct published_rendition renditions[5];
    struct published_segment segments[2][3];
};

static void tiers_make(struct tiers *t)
{
    small_make(&t->small);
    static const char *const folders[] = {"h265/720p", "av1/720p"};
    t->renditions[0] = t->small.renditions[0];
    t->renditions[1] = t->small.renditions[1];
    t->renditions[4] = t->small.renditions[2];
    for (int r = 0; r < 2; r++) {
        struct published_rendition *out = &t->renditions[2 + r];
        *out = t->renditions[0];
        out->codec = r ? CODEC_AV1 : CODEC_H265;
        out->color_primaries = out->color_matrix = r ? 9 : 1;
        out->color_transfer = r ? 16 : 1;
        snprintf(out->codecs, sizeof out->codecs, "%s",
                 r ? "av01.0.05M.10.0.110.09.16.09.0" : "hvc1.1.6.L93.90");
        snprintf(out->init_key, sizeof out->init_key, "%s/init.t5.mp4", folders[r]);
        snprintf(out->playlist_key, sizeof out->playlist_key, "%s/playlist.t9.m3u8", folders[r]);
        out->segments = t->segments[r];
        for (int i = 0; i < 3; i++) {
            t->segments[r][i] = t->small.segments[0][i];
            snprintf(t->segments[r][i].key, sizeof t->segments[r][i].key, "%s/%06d.t%d.m4s",
                     folders[r], i, 57 + i);
        }
    }
    t->set = t->small.set;
    t->set.renditions = t->renditions;
    t->set.rendition_count = 5;
}

static void test_codecs_and_ranges_are_told_apart(void **state)
{
    (void)state;
    struct tiers t;
    struct sl_buf master = {0}, mpd = {0};
    struct sl_failure why = {0};
    tiers_make(&t);
    assert_int_equal(manifest_hls_master(&t.set, &master, &why), SL_OK);
    assert_int_equal(manifest_dash(&t.set, &mpd, &why), SL_OK);
    const char *text = (const char *)master.data;
    const char *h264 = strstr(text, "CODECS=\"avc1.64001F,mp4a.40.2\"");
    const char *h265 = strstr(text, "CODECS=\"hvc1.1.6.L93.90,mp4a.40.2\"");
    const char *av1 = strstr(text, "CODECS=\"av01.0.05M.10.0.110.09.16.09.0,mp4a.40.2\",RESOLUTION="
                                   "1280x720,FRAME-RATE=23.976,VIDEO-RANGE=PQ,");
    assert_true(h264 && h265 && av1 && h264 < h265 && h265 < av1);
    text = (const char *)mpd.data;
    int sets = 0;
    for (const char *at = text; (at = strstr(at, "<AdaptationSet ")); at++)
        sets++;
    assert_int_equal(sets, 4);
    const char *hdr = strstr(text, "      <EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:"
                                   "ColourPrimaries\" value=\"9\"/>\n"
                                   "      <EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:"
                                   "TransferCharacteristics\" value=\"16\"/>\n"
                                   "      <EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:"
                                   "MatrixCoefficients\" value=\"9\"/>\n"
                                   "      <Representation id=\"av1-720p\"");
    assert_non_null(hdr);
    assert_null(strstr(hdr + 300, "EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:Col"));
    assert_int_equal(manifest_master_check(&t.set, (char *)master.data, master.length, &why),
                     SL_OK);
    assert_int_equal(manifest_dash_check(&t.set, (char *)mpd.data, mpd.length, &why), SL_OK);
    sl_buf_fini(&master);
    sl_buf_fini(&mpd);
}

static void test_mixed_up_codecs_and_ranges_are_found(void **state)
{
    (void)state;
    static const char *const mpds[][2] = {
        {"cicp:TransferCharacteristics\" value=\"16\"",
         "cicp:TransferCharacteristics\" value=\"18\""},
        {"cicp:TransferCharacteristics", "cicp:Transfer"},
        {"av01.0.05M.10.0.110.09.16.09.0", "av01.0.05M.10.0.110.09.18.09.0"},
        {"codecs=\"hvc1.", "codecs=\"hev1."},
    };
    struct tiers t;
    struct sl_failure why = {0};
    tiers_make(&t);
    for (size_t i = 0; i < sizeof mpds / sizeof *mpds; i++) {
        struct sl_buf out = {0};
        assert_int_equal(manifest_dash(&t.set, &out, &why), SL_OK);
        replace(&out, mpds[i][0], mpds[i][1]);
        if (manifest_dash_check(&t.set, (char *)out.data, out.length, &why) != SL_EVERIFY)
            fail_msg("\"%s\" for \"%s\" was not seen", mpds[i][1], mpds[i][0]);
        sl_buf_fini(&out);
    }
    /* One set for two codecs: players would switch between what they cannot. */
    struct sl_buf out = {0};
    assert_int_equal(manifest_dash(&t.set, &out, &why), SL_OK);
    char *first = strstr((char *)out.data, "    </AdaptationSet>");
    char *next = strstr(first, "      <Representation");
    memset(first, ' ', (size_t)(next - first));
    assert_int_equal(manifest_dash_check(&t.set, (char *)out.data, out.length, &why), SL_EVERIFY);
    assert_non_null(strstr(why.message, "of two codecs"));
    sl_buf_fini(&out);
    out = (struct sl_buf){0};
    assert_int_equal(manifest_hls_master(&t.set, &out, &why), SL_OK);
    replace(&out, "VIDEO-RANGE=PQ", "VIDEO-RANGE=HLG");
    assert_int_equal(manifest_master_check(&t.set, (char *)out.data, out.length, &why), SL_EVERIFY);
    sl_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_media_playlist_is_exactly_this),
        cmocka_unit_test(test_event_playlist_grows_into_the_whole),
        cmocka_unit_test(test_declared_rates_stand_in_for_measured_ones),
        cmocka_unit_test(test_master_playlist_is_exactly_this),
        cmocka_unit_test(test_mpd_is_exactly_this),
        cmocka_unit_test(test_hostile_names_stay_inside_their_quotes),
        cmocka_unit_test(test_sets_that_no_manifest_can_describe_are_refused),
        cmocka_unit_test(test_video_without_audio_and_audio_without_video),
        cmocka_unit_test(test_groups_offer_every_track),
        cmocka_unit_test(test_a_short_last_segment_does_not_make_the_peak),
        cmocka_unit_test(test_ten_hours_do_not_drift),
        cmocka_unit_test(test_changed_playlists_are_found),
        cmocka_unit_test(test_changed_masters_and_mpds_are_found),
        cmocka_unit_test(test_codecs_and_ranges_are_told_apart),
        cmocka_unit_test(test_mixed_up_codecs_and_ranges_are_found),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
