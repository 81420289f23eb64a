/* What plays before a video is ready: held against the committed chunks, over HTTP, through redo, failure and restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "tests/daemon/farm_kit.h"

struct world {
    struct farm farm;
    struct agent agent;
    char video[VIDEO_ID_TEXT_BYTES];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    farm_open(&w->farm);
    farm_start(&w->farm);
    agent_open(&w->agent, &w->farm, 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    agent_close(&w->agent);
    farm_close(&w->farm);
    free(w);
    return 0;
}

/* The text below /media/<video>/<version>/, or NULL; the caller's. */
static char *media_get(struct world *w, int version, const char *name)
{
    char path[160];
    struct reply reply;
    snprintf(path, sizeof path, "/media/%s/%d/%s", w->video, version, name);
    farm_http(&w->farm, "GET", path, NULL, NULL, 0, &reply);
    char *text = NULL;
    if (reply.status == 200) {
        assert_true(reply_has_header(&reply, "content-type: application/vnd.apple.mpegurl"));
        assert_true(reply_has_header(&reply, "cache-control: no-cache"));
        assert_true(reply_has_header(&reply, "access-control-allow-origin: *"));
        text = strndup((const char *)reply.body.data, reply.body.length);
    } else {
        assert_int_equal(reply.status, 404);
    }
    reply_free(&reply);
    return text;
}

static const char *const playlists[] = {"h264/240p/playlist.m3u8", "h264/360p/playlist.m3u8",
                                        "audio/aac-128/playlist.m3u8"};
#define PLAYLISTS 3

static int lines_with(const char *text, const char *start)
{
    int count = 0;
    for (const char *at = text; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        count += strncmp(at, start, strlen(start)) == 0;
    return count;
}

static double playable(struct world *w, char hls[200], char dash[200])
{
    json_t *status = farm_status(&w->farm, w->video);
    json_t *manifests = json_object_get(status, "manifests");
    const char *text = json_string_value(json_object_get(manifests, "hls"));
    snprintf(hls, 200, "%s", text ? text : "");
    text = json_string_value(json_object_get(manifests, "dash"));
    snprintf(dash, 200, "%s", text ? text : "");
    double seconds = json_real_value(json_object_get(status, "playable_seconds"));
    json_decref(status);
    return seconds;
}

/* Does the work of one held lease and reports it. */
static void one_do(struct world *w, struct agent_held *held)
{
    agent_work(&w->agent, held);
    assert_int_equal(agent_sync(&w->agent, false), SL_OK);
}

/* Waits for a lease and does nothing else meanwhile; segment: the first of a transcode. */
static struct agent_held *lease_of(struct world *w, enum step step, int32_t segment)
{
    for (int i = 0; i < 100; i++) {
        for (int32_t n = 0; n < w->agent.held_count; n++) {
            struct agent_held *held = &w->agent.held[n];
            if (held->step == step && held->state == HELD_RUNNING &&
                (step != STEP_TRANSCODE || held->piece_start == segment))
                return held;
        }
        assert_int_equal(agent_sync(&w->agent, true), SL_OK);
    }
    fail_msg("no lease of %s at segment %d came", step_word(step), (int)segment);
    return NULL;
}

static struct agent_held *transcode_from(struct world *w, int32_t segment)
{
    return lease_of(w, STEP_TRANSCODE, segment);
}

static struct agent_held *sound(struct world *w)
{
    return lease_of(w, STEP_AUDIO, 0);
}

static void planned(struct world *w)
{
    w->agent.total.cpu_millicores = 64000; /* all chunks at once */
    farm_submit(&w->farm, w->video);
    one_do(w, lease_of(w, STEP_PROBE, 0));
}

static void test_opening_plays_as_soon_as_it_and_the_sound_are_there(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200];
    planned(w);
    one_do(w, transcode_from(w, 0));
    assert_true(playable(w, hls, dash) == 0);
    assert_string_equal(hls, "");
    assert_null(media_get(w, 1, "master.m3u8"));
    one_do(w, sound(w));
    assert_true(playable(w, hls, dash) == 2);
    assert_string_equal(dash, "");
    char ending[64];
    snprintf(ending, sizeof ending, "/media/%s/1/master.m3u8", w->video);
    assert_non_null(strstr(hls, ending));

    char *master = media_get(w, 1, "master.m3u8");
    assert_non_null(master);
    assert_int_equal(lines_with(master, "#EXT-X-STREAM-INF:"), 2);
    assert_int_equal(lines_with(master, "h264/360p/playlist.m3u8"), 1);
    assert_non_null(strstr(master, "URI=\"audio/aac-128/playlist.m3u8\""));
    assert_null(strstr(master, "ENDLIST"));
    /* maxrate 400k, buffer 800k, 11 segments in 60 s; and the sound as measured. */
    long rate = strtol(strstr(master, "BANDWIDTH=") + 10, NULL, 10);
    const char *second = strstr(strstr(master, "BANDWIDTH=") + 1, "#EXT-X-STREAM-INF:BANDWIDTH=");
    long low = strtol(strstr(second, "=") + 1, NULL, 10);
    assert_true(low < rate);
    assert_in_range(low, 400000 + 132000, 400000 + 132000 + 200000);
    free(master);
    for (int p = 0; p < PLAYLISTS; p++) {
        char *text = media_get(w, 1, playlists[p]);
        assert_non_null(text);
        assert_int_equal(lines_with(text, "#EXTINF:2.0"), 1);
        assert_int_equal(lines_with(text, "#EXTINF:"), 1);
        assert_int_equal(lines_with(text, "#EXT-X-PLAYLIST-TYPE:EVENT"), 1);
        assert_int_equal(lines_with(text, "#EXT-X-START:TIME-OFFSET=0"), 1);
        assert_int_equal(lines_with(text, "#EXT-X-INDEPENDENT-SEGMENTS"), 1);
        assert_int_equal(lines_with(text, "#EXT-X-TARGETDURATION:6"), 1);
        assert_null(strstr(text, "ENDLIST"));
        free(text);
    }
}

/* Every playlist at every moment is the beginning of the last one; and what plays never becomes less. */
static void test_playlists_only_grow_and_end_as_they_were(void **state)
{
    struct world *w = *state;
    char *last[PLAYLISTS] = {0};
    char hls[200], dash[200];
    double most = 0;
    int growths = 0;
    planned(w);
    one_do(w, sound(w));
    while (!farm_status_is(&w->farm, w->video, "ready")) {
        if (w->agent.held_count > 0)
            one_do(w, &w->agent.held[0]);
        else
            agent_sync(&w->agent, true);
        double seconds = playable(w, hls, dash);
        assert_true(seconds >= most);
        growths += seconds > most;
        most = seconds;
        for (int p = 0; p < PLAYLISTS; p++) {
            char *text = media_get(w, 1, playlists[p]);
            if (!last[p]) {
                last[p] = text;
                continue;
            }
            assert_non_null(text);
            assert_int_equal(strncmp(text, last[p], strlen(last[p])), 0);
            free(last[p]);
            last[p] = text;
        }
    }
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
    assert_true(growths >= FARM_CHUNKS - 2);
    assert_string_not_equal(dash, "");
    for (int p = 0; p < PLAYLISTS; p++) {
        assert_int_equal(lines_with(last[p], "#EXTINF:"), FARM_CHUNKS);
        assert_int_equal(lines_with(last[p], "#EXT-X-ENDLIST"), 1);
        free(last[p]);
    }
    /* The master names the final playlists now, with the rates measured. */
    char *master = media_get(w, 1, "master.m3u8");
    assert_null(strstr(master, "playlist.m3u8"));
    free(master);
}

static void test_chunk_waits_for_the_one_before_and_for_the_seam_behind(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200];
    planned(w);
    one_do(w, sound(w));
    one_do(w, transcode_from(w, 2));
    assert_true(playable(w, hls, dash) == 0);
    one_do(w, transcode_from(w, 0));
    assert_true(playable(w, hls, dash) == 2);
    /* Segment 2 is there: both seams of 1 hold now, not those of 2. */
    one_do(w, transcode_from(w, 1));
    assert_true(playable(w, hls, dash) == 6);
    one_do(w, transcode_from(w, 3));
    assert_true(playable(w, hls, dash) == 12);
}

/* What a seam makes to be done again was never announced. */
static void test_what_is_done_again_was_not_announced(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200];
    w->agent.seam_lie = 5;
    w->agent.seam_cure = 2;
    planned(w);
    one_do(w, sound(w));
    one_do(w, transcode_from(w, 0));
    one_do(w, transcode_from(w, 1)); /* lies about its start */
    one_do(w, transcode_from(w, 2));
    assert_true(playable(w, hls, dash) == 2);
    one_do(w, transcode_from(w, 1));
    assert_true(playable(w, hls, dash) == 2);
    agent_run(&w->agent, w->video, "ready");
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
}

static void test_growing_playlists_come_back_after_a_kill(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200], *before[PLAYLISTS];
    farm_stop(&w->farm);
    farm_spawn(&w->farm);
    agent_close(&w->agent);
    agent_open(&w->agent, &w->farm, 1);
    planned(w);
    one_do(w, sound(w));
    for (int32_t segment = 0; segment < 4; segment++)
        one_do(w, transcode_from(w, segment));
    assert_true(playable(w, hls, dash) == 12);
    for (int p = 0; p < PLAYLISTS; p++)
        before[p] = media_get(w, 1, playlists[p]);
    farm_kill(&w->farm);
    farm_spawn(&w->farm);
    assert_true(playable(w, hls, dash) == 12);
    for (int p = 0; p < PLAYLISTS; p++) {
        char *text = media_get(w, 1, playlists[p]);
        assert_string_equal(text, before[p]);
        free(text);
        free(before[p]);
    }
    agent_run(&w->agent, w->video, "ready");
}

static void test_failure_ends_the_playlists_and_cancel_takes_them_away(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200], path[80];
    planned(w);
    one_do(w, sound(w));
    one_do(w, transcode_from(w, 0));
    struct agent_held *held = transcode_from(w, 1);
    held->state = HELD_FAILED;
    sl_fail(&held->failure, SL_EINVAL, "the job is not understood"); /* final */
    agent_sync(&w->agent, false);
    farm_status_wait(&w->farm, w->video, "failed");
    assert_true(playable(w, hls, dash) == 2);
    char *text = media_get(w, 1, playlists[0]);
    assert_int_equal(lines_with(text, "#EXT-X-ENDLIST"), 1);
    free(text);
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{}", 200));
    text = media_get(w, 1, playlists[0]);
    assert_int_equal(lines_with(text, "#EXT-X-ENDLIST"), 0);
    free(text);
    snprintf(path, sizeof path, "/api/v1/videos/%s/cancel", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{}", 200));
    assert_true(playable(w, hls, dash) == 0);
    assert_string_equal(hls, "");
    assert_null(media_get(w, 1, playlists[0]));
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{}", 200));
    assert_true(playable(w, hls, dash) == 2);
    agent_run(&w->agent, w->video, "ready");
}

/* From a step that makes segments anew, the playlists begin anew as well. */
static void test_retry_from_transcode_begins_again(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200], path[80];
    planned(w);
    one_do(w, sound(w));
    one_do(w, transcode_from(w, 0));
    assert_true(playable(w, hls, dash) == 2);
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{\"from\":\"transcode\"}", 200));
    assert_true(playable(w, hls, dash) == 0);
    assert_null(media_get(w, 1, playlists[0]));
    agent_run(&w->agent, w->video, "ready");
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
}

/* While another version is made the old one is what status names. */
static void test_old_version_plays_until_the_new_is_ready(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200], path[80];
    w->agent.total.cpu_millicores = 64000;
    farm_submit(&w->farm, w->video);
    agent_run(&w->agent, w->video, "ready");
    snprintf(path, sizeof path, "/api/v1/videos/%s/retry", w->video);
    json_decref(farm_json(&w->farm, "POST", path, "{\"from\":\"probe\"}", 200));
    one_do(w, lease_of(w, STEP_PROBE, 0));
    one_do(w, sound(w));
    one_do(w, transcode_from(w, 0));
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
    assert_non_null(strstr(hls, "/1/master.m3u8"));
    assert_string_not_equal(dash, "");
    agent_run(&w->agent, w->video, "ready");
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
    assert_non_null(strstr(hls, "/2/master.m3u8"));
}

/* Written the other way round: H.264 is what plays first all the same. */
static const char two_codecs[] = "name: two\n"
                                 "codecs:\n"
                                 "- codec: h265\n"
                                 "  route: [x265]\n"
                                 "  rungs: [{name: 360p, height: 360, crf: 25, maxrate: 500k}]\n"
                                 "- codec: h264\n"
                                 "  route: [x264]\n"
                                 "  rungs: [{name: 240p, height: 240, crf: 23, maxrate: 400k}]\n";

static void test_of_several_codecs_h264_plays_while_it_grows(void **state)
{
    struct world *w = *state;
    char hls[200], dash[200];
    bool seen = false;
    w->agent.total.cpu_millicores = 64000;
    farm_submit_policy(&w->farm, two_codecs, w->video);
    while (!farm_status_is(&w->farm, w->video, "ready")) {
        if (w->agent.held_count > 0)
            one_do(w, &w->agent.held[w->agent.held_count - 1]);
        else
            agent_sync(&w->agent, true);
        if (playable(w, hls, dash) <= 0 || dash[0])
            continue;
        char *master = media_get(w, 1, "master.m3u8");
        assert_non_null(master);
        assert_int_equal(lines_with(master, "#EXT-X-STREAM-INF:"), 1);
        assert_int_equal(lines_with(master, "h264/240p/playlist.m3u8"), 1);
        seen = true;
        free(master);
    }
    assert_true(seen);
    assert_true(playable(w, hls, dash) == FARM_SECONDS);
    char *grown = media_get(w, 1, "h264/240p/playlist.m3u8");
    assert_int_equal(lines_with(grown, "#EXT-X-ENDLIST"), 1);
    free(grown);
}

#define LIVE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE_TEST(test_opening_plays_as_soon_as_it_and_the_sound_are_there),
        LIVE_TEST(test_playlists_only_grow_and_end_as_they_were),
        LIVE_TEST(test_chunk_waits_for_the_one_before_and_for_the_seam_behind),
        LIVE_TEST(test_what_is_done_again_was_not_announced),
        LIVE_TEST(test_growing_playlists_come_back_after_a_kill),
        LIVE_TEST(test_failure_ends_the_playlists_and_cancel_takes_them_away),
        LIVE_TEST(test_retry_from_transcode_begins_again),
        LIVE_TEST(test_old_version_plays_until_the_new_is_ready),
        LIVE_TEST(test_of_several_codecs_h264_plays_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
